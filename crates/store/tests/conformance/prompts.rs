//! Runs of the tests of prompts.

use crate::{Database, admin, name};
use credentialflow_model::{Timestamp, resource::Kind};
use credentialflow_store::{Expect, PromptRunRow};
use serde_json::json;

crate::on_both!(the_newest_run_decides_and_older_ones_go);

fn run(version: u32, digest: &str, passed: bool, secs: i64) -> PromptRunRow {
    PromptRunRow {
        prompt: "sentiment".into(),
        version,
        run: 0,
        digest: digest.into(),
        passed,
        time: Timestamp::from_secs(secs),
        actor: "admin".into(),
        body: r#"[{"ä":1}]"#.into(),
    }
}

async fn the_newest_run_decides_and_older_ones_go(on: Database) {
    let fresh = on.fresh().await;
    let mut tx = fresh.store.begin(&admin()).await.unwrap();
    tx.put_resource(Kind::Prompts, &name("sentiment"), "{}", Expect::Absent).await.unwrap();
    tx.put_resource(Kind::Prompts, &name("other"), "{}", Expect::Absent).await.unwrap();
    assert_eq!(tx.prompt_passed("sentiment", 1, "a").await.unwrap(), None);
    for (number, row) in [run(1, "a", true, 1), run(1, "a", false, 2), run(1, "b", true, 3)].iter().enumerate() {
        assert_eq!(tx.add_prompt_run(row).await.unwrap(), number as u64 + 1);
    }
    assert_eq!(tx.add_prompt_run(&run(2, "a", true, 4)).await.unwrap(), 1);
    let of_other = PromptRunRow { prompt: "other".into(), ..run(1, "a", true, 5) };
    assert_eq!(tx.add_prompt_run(&of_other).await.unwrap(), 1);
    for (version, digest, passed) in [(1, "a", Some(false)), (1, "b", Some(true)), (2, "a", Some(true)), (2, "b", None)]
    {
        assert_eq!(tx.prompt_passed("sentiment", version, digest).await.unwrap(), passed, "{version} {digest}");
    }
    tx.audit("prompt.test", "prompts/sentiment", json!({}));
    tx.commit().await.unwrap();

    let told = async |version, limit| {
        let rows = fresh.store.prompt_runs("sentiment", version, limit).await.unwrap();
        rows.into_iter().map(|row| (row.version, row.run)).collect::<Vec<_>>()
    };
    assert_eq!(told(None, 9).await, [(2, 1), (1, 3), (1, 2), (1, 1)]);
    assert_eq!(told(Some(1), 2).await, [(1, 3), (1, 2)]);
    let rows = fresh.store.prompt_runs("sentiment", Some(2), 9).await.unwrap();
    assert_eq!(rows, [PromptRunRow { run: 1, ..run(2, "a", true, 4) }]);

    let mut tx = fresh.store.begin(&admin()).await.unwrap();
    for secs in 10..40 {
        tx.add_prompt_run(&run(1, "c", true, secs)).await.unwrap();
    }
    tx.audit("prompt.test", "prompts/sentiment", json!({}));
    tx.commit().await.unwrap();
    let kept = told(Some(1), 100).await;
    assert_eq!((kept.len(), kept[0], kept[19]), (20, (1, 33), (1, 14)));

    let mut tx = fresh.store.begin(&admin()).await.unwrap();
    tx.delete_resource(Kind::Prompts, "sentiment", Expect::Present).await.unwrap();
    tx.audit("prompt.delete", "prompts/sentiment", json!({}));
    tx.commit().await.unwrap();
    assert!(told(None, 100).await.is_empty());
    assert_eq!(fresh.store.prompt_runs("other", None, 9).await.unwrap().len(), 1, "others keep theirs");
}
