//! Files and batches of callers: whose they are, how they are listed, and what is borrowed for them.

use crate::{Database, admin, on_both};
use credentialflow_model::{
    Timestamp,
    ledger::Turn,
    objects::{Hold, ModelObject, ObjectFacts, ObjectKind, ObjectState},
};
use credentialflow_store::{BudgetEnd, BudgetItem, ModelObjectPage};
use std::time::Duration;

on_both!(
    objects_are_known_to_their_application_alone,
    files_are_forgotten_when_their_provider_forgets_them,
    states_follow_one_another_once,
    what_is_borrowed_for_a_batch_stays_until_it_is_over
);

fn object(id: &str, kind: ObjectKind, application: &str, made: i64) -> ModelObject {
    let state = if kind == ObjectKind::File { ObjectState::There } else { ObjectState::Asked };
    ModelObject {
        id: id.into(),
        kind,
        application: application.into(),
        made: Timestamp::from_secs(made),
        state,
        purpose: if kind == ObjectKind::File { "batch".into() } else { String::new() },
        upstream_id: "there".into(),
        body: "{}".into(),
        facts: ObjectFacts { model: "ü".into(), most: Some(50), ..ObjectFacts::default() },
    }
}

async fn objects_are_known_to_their_application_alone(db: Database) {
    let f = db.fresh().await;
    for (n, made) in [(1, 10), (2, 30), (3, 20), (4, 20)] {
        let file = object(&format!("file-{n}"), ObjectKind::File, "a", made);
        assert!(f.store.add_model_object(&file, Duration::ZERO).await.unwrap());
        assert!(!f.store.add_model_object(&file, Duration::ZERO).await.unwrap(), "it is there");
    }
    f.store.add_model_object(&object("batch_1", ObjectKind::Batch, "a", 40), Duration::ZERO).await.unwrap();
    f.store.add_model_object(&object("file-5", ObjectKind::File, "b", 40), Duration::ZERO).await.unwrap();
    assert_eq!(
        f.store.model_object("a", "file-1").await.unwrap().unwrap(),
        object("file-1", ObjectKind::File, "a", 10)
    );
    assert_eq!(f.store.model_object("b", "file-1").await.unwrap(), None);
    let page = async |page: ModelObjectPage<'static>| {
        let (found, more) = f.store.model_objects("a", ObjectKind::File, page).await.unwrap();
        (found.into_iter().map(|one| one.id).collect::<Vec<_>>(), more)
    };
    let ids = async |after: Option<&'static str>, before: Option<&'static str>, most| {
        page(ModelObjectPage { after, before, most, bytes: 1 << 20, purpose: None }).await.0
    };
    assert_eq!(ids(None, None, 9).await, ["file-2", "file-4", "file-3", "file-1"], "the newest first");
    assert_eq!(ids(Some("file-4"), None, 1).await, ["file-3"]);
    assert_eq!(ids(Some("file-1"), None, 9).await, [""; 0]);
    assert_eq!(ids(None, Some("file-3"), 1).await, ["file-4"]);
    assert_eq!(ids(None, Some("file-1"), 9).await, ["file-2", "file-4", "file-3"]);
    assert_eq!(ids(Some("file-5"), None, 9).await, [""; 0], "another application's is no place");
    for (most, bytes, expect, more) in
        [(4, 1 << 20, 4, false), (3, 1 << 20, 3, true), (4, 1, 1, true), (4, 120, 2, true), (1, 1, 1, true)]
    {
        let (found, told) = page(ModelObjectPage { most, bytes, ..ModelObjectPage::default() }).await;
        assert_eq!((found.len(), told), (expect, more), "{most} of {bytes} bytes");
    }
    let newer = ModelObjectPage { before: Some("file-1"), most: 9, bytes: 1, ..ModelObjectPage::default() };
    assert_eq!(page(newer).await, (vec!["file-3".into()], true), "those that are next to it");
    let data = ModelObject { purpose: "user_data".into(), ..object("file-6", ObjectKind::File, "a", 5) };
    f.store.add_model_object(&data, Duration::ZERO).await.unwrap();
    let of =
        |purpose| ModelObjectPage { purpose: Some(purpose), most: 3, bytes: 1 << 20, ..ModelObjectPage::default() };
    assert_eq!(page(of("user_data")).await, (vec!["file-6".into()], false));
    assert_eq!((page(of("batch")).await.1, page(of("other")).await), (true, (vec![], false)));
    assert_eq!(f.store.model_object("a", "file-6").await.unwrap(), Some(data));
    let ids = ["file-1", "file-6", "file-5", "batch_1", "file-none"].map(str::to_owned);
    let mut found = f.store.model_objects_by_ids("a", &ids).await.unwrap();
    found.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(found.iter().map(|one| &*one.id).collect::<Vec<_>>(), ["batch_1", "file-1", "file-6"], "none of b's");
    assert_eq!(f.store.model_objects_by_ids("a", &[]).await.unwrap(), []);
    assert!(f.store.knows_model_object(ObjectKind::File, "there").await.unwrap());
    assert!(!f.store.knows_model_object(ObjectKind::MessageBatch, "there").await.unwrap());
    assert!(!f.store.knows_model_object(ObjectKind::File, "elsewhere").await.unwrap());
    assert!(f.store.delete_model_object("file-1").await.unwrap());
    assert!(!f.store.delete_model_object("file-1").await.unwrap());
}

async fn files_are_forgotten_when_their_provider_forgets_them(db: Database) {
    let f = db.fresh().await;
    let file = |id: &str, expires: Option<i64>| {
        let mut file = object(id, ObjectKind::File, "a", 1);
        file.facts.expires = expires.map(Timestamp::from_secs);
        file
    };
    let (gone, later, never) = (file("file-1", Some(2)), file("file-2", Some(4_000_000_000)), file("file-3", None));
    for file in [&gone, &later, &never] {
        f.store.add_model_object(file, Duration::ZERO).await.unwrap();
    }
    let known = async || {
        let all = ["file-1", "file-2", "file-3"];
        let mut known = Vec::new();
        for id in all {
            known.extend(f.store.model_object("a", id).await.unwrap().map(|file| file.id));
        }
        let page = ModelObjectPage { most: 9, bytes: 1 << 20, ..ModelObjectPage::default() };
        let (mut listed, _) = f.store.model_objects("a", ObjectKind::File, page).await.unwrap();
        listed.reverse();
        assert_eq!(listed.into_iter().map(|file| file.id).collect::<Vec<_>>(), known);
        let mut named = f.store.model_objects_by_ids("a", &all.map(str::to_owned)).await.unwrap();
        named.sort_by(|a, b| a.id.cmp(&b.id));
        assert_eq!(named.into_iter().map(|file| file.id).collect::<Vec<_>>(), known);
        known
    };
    assert_eq!(known().await, ["file-2", "file-3"], "also before it is taken away");
    assert_eq!(f.store.forget_expired_model_objects().await.unwrap(), 1);
    assert_eq!(f.store.forget_expired_model_objects().await.unwrap(), 0);
    assert_eq!(known().await, ["file-2", "file-3"]);
    assert!(f.store.add_model_object(&gone, Duration::ZERO).await.unwrap(), "it is away");
    for (id, kind) in [("batch_1", ObjectKind::Batch), ("msgbatch_1", ObjectKind::MessageBatch)] {
        let mut batch = object(id, kind, "a", 1);
        batch.facts.expires = Some(Timestamp::from_secs(2));
        f.store.add_model_object(&batch, Duration::ZERO).await.unwrap();
        f.store.forget_expired_model_objects().await.unwrap();
        assert_eq!(f.store.model_object("a", id).await.unwrap(), Some(batch), "batches are never forgotten");
    }
}

async fn states_follow_one_another_once(db: Database) {
    let f = db.fresh().await;
    let mut batch = object("batch_1", ObjectKind::Batch, "a", 1);
    f.store.add_model_object(&batch, Duration::from_secs(900)).await.unwrap();
    f.store.add_model_object(&object("file-1", ObjectKind::File, "a", 1), Duration::ZERO).await.unwrap();
    assert_eq!(f.store.due_model_objects(9).await.unwrap(), [], "files are not looked after, and the batch not yet");
    batch.state = ObjectState::Runs;
    assert!(f.store.change_model_object(ObjectState::Asked, &batch, Duration::ZERO).await.unwrap());
    assert!(!f.store.change_model_object(ObjectState::Asked, &batch, Duration::ZERO).await.unwrap());
    assert_eq!(f.store.due_model_objects(9).await.unwrap(), [batch.clone()]);
    assert!(
        f.store.tell_model_object("batch_1", ObjectState::Runs, "{\"a\":1}", Duration::from_secs(60)).await.unwrap()
    );
    assert_eq!(f.store.due_model_objects(9).await.unwrap(), []);
    f.store.postpone_model_objects(&["batch_0", "batch_1"], Duration::ZERO).await.unwrap();
    assert_eq!(f.store.due_model_objects(9).await.unwrap()[0].body, "{\"a\":1}");
    // With its audit event, or not at all.
    let billed = ModelObject { state: ObjectState::Billed, ..batch.clone() };
    for commits in [false, true] {
        let mut tx = f.store.begin(&admin()).await.unwrap();
        assert!(tx.change_model_object(ObjectState::Runs, &billed, Duration::ZERO).await.unwrap());
        tx.audit("batch.charge_most", "batches/batch_1", serde_json::json!({}));
        if commits {
            tx.commit().await.unwrap();
        }
    }
    let state = async || f.store.model_object("a", "batch_1").await.unwrap().unwrap().state;
    assert_eq!(state().await, ObjectState::Billed);
    assert!(f.store.change_model_object(ObjectState::Billed, &batch, Duration::ZERO).await.unwrap());
    batch.state = ObjectState::Settled;
    assert!(f.store.change_model_object(ObjectState::Runs, &batch, Duration::ZERO).await.unwrap());
    assert!(!f.store.tell_model_object("batch_1", ObjectState::Runs, "late", Duration::ZERO).await.unwrap());
    assert_eq!(f.store.due_model_objects(9).await.unwrap(), []);
}

async fn what_is_borrowed_for_a_batch_stays_until_it_is_over(db: Database) {
    let f = db.fresh().await;
    let hold = Hold {
        budget: "applications/a/month".into(),
        started: Timestamp::from_secs(0),
        ends: Timestamp::from_secs(9),
        limit: Some(70),
    };
    let item =
        |turn| BudgetItem { budget: hold.budget.clone(), started: hold.started, ends: hold.ends, turn, unlogged: 0 };
    let ask = |most| item(Turn { limit: Some(70), need: most, least: most, ..Turn::default() });
    f.store.enter_budget_node("batch_1", "batch_1", 0, "").await.unwrap();
    let held = f.store.budget_turn("batch_1", 1, None, &[ask(50)]).await.unwrap();
    assert_eq!((held[0].lease, held[0].totals.leased), (50, 50));
    f.store.add_model_object(&object("batch_1", ObjectKind::Batch, "a", 1), Duration::ZERO).await.unwrap();
    f.store.enter_budget_node("batch_2", "batch_2", 0, "").await.unwrap();
    assert_eq!(f.store.budget_turn("batch_2", 1, None, &[ask(21)]).await.unwrap()[0].lease, 0, "all or nothing");
    tokio::time::sleep(Duration::from_millis(20)).await;
    // Whoever borrowed and is silent is given up, but not for a batch that is kept.
    assert_eq!(f.store.silent_budget_nodes(Duration::ZERO).await.unwrap(), ["batch_2"]);
    let end = item(Turn { charge: 20, back: 50, ..Turn::default() });
    for _ in 0..2 {
        let ended = f.store.budget_turn("batch_1", 2, None, std::slice::from_ref(&end)).await.unwrap();
        assert_eq!((ended[0].lease, ended[0].totals.spent, ended[0].totals.leased), (0, 20, 0), "charged once");
    }
    let known = ("batch_1", 0, "");
    f.store.end_budget_node("batch_1", known, &[], BudgetEnd::Settled).await.unwrap();
    let again = f.store.budget_turn("batch_1", 2, None, std::slice::from_ref(&end)).await;
    assert!(again.is_err(), "it has ended");
    let charges = [(hold.budget.clone(), hold.started, 20)];
    let settled = f.store.end_budget_node("batch_1", known, &charges, BudgetEnd::Settled).await.unwrap();
    assert_eq!(settled, [], "nor is it charged with its end once more");
}
