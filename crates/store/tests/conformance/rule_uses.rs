//! Uses of rules: added up, kept since a moment that is known, forgotten after very long.

use crate::{Database, on_both};
use credentialflow_model::Timestamp;
use credentialflow_store::{FORGOTTEN, RuleUse};

on_both!(uses_of_rules_are_added_up, what_was_left_out_is_told, old_uses_are_forgotten);

fn used(holder: &str, rule: &str, used: u32, seconds: i64) -> RuleUse {
    RuleUse { holder: holder.into(), rule: rule.into(), used, last_time: Timestamp::from_secs(seconds) }
}

async fn uses_of_rules_are_added_up(db: Database) {
    let f = db.fresh().await;
    let now = f.store.now().secs();
    let all = [String::from("m/web"), "m/ü".into(), "nobody knows".into()];
    assert_eq!(f.store.rule_uses_since().await.unwrap(), None);
    assert_eq!(f.store.rule_uses(&all).await.unwrap(), []);
    // One row twice in a batch, and more rows than a statement takes.
    let mut batch = vec![used("m/web", "kv/*", 1, now), used("m/web", "kv/*", 4, now - 5)];
    batch.extend((0..100).map(|n| used("m/ü", &format!("rule {n:03}"), 32, now)));
    f.store.record_rule_uses(&batch, None).await.unwrap();
    f.store.record_rule_uses(&[used("m/web", "kv/*", 128, now - 9), used("other", "x", 1, now)], None).await.unwrap();
    f.store.record_rule_uses(&[], None).await.unwrap();
    let found = f.store.rule_uses(&all).await.unwrap();
    assert_eq!((found.len(), found[0].clone()), (101, used("m/web", "kv/*", 1 | 4 | 128, now)));
    assert_eq!((found[1].rule.as_str(), found[100].rule.as_str()), ("rule 000", "rule 099"));
    assert_eq!(f.store.rule_uses(&[]).await.unwrap(), []);
}

async fn what_was_left_out_is_told(db: Database) {
    let f = db.fresh().await;
    f.store.record_rule_uses(&[], None).await.unwrap();
    let begun = f.store.rule_uses_since().await.unwrap().unwrap();
    f.store.record_rule_uses(&[], None).await.unwrap();
    assert_eq!(f.store.rule_uses_since().await.unwrap(), Some(begun), "it began once");
    let gap = Timestamp::from_secs(begun.secs() + 60);
    f.store.record_rule_uses(&[], Some(gap)).await.unwrap();
    f.store.record_rule_uses(&[], Some(Timestamp::from_secs(begun.secs() + 30))).await.unwrap();
    assert_eq!(f.store.rule_uses_since().await.unwrap(), Some(gap));
    assert_eq!(f.store.rule_uses(&[String::new()]).await.unwrap(), [], "nobody holds anything");
}

async fn old_uses_are_forgotten(db: Database) {
    let f = db.fresh().await;
    let now = f.store.now().secs();
    let days = i64::try_from(FORGOTTEN.as_duration().as_secs()).unwrap();
    f.store
        .record_rule_uses(&[used("a", "old", 1, now - days - 60), used("a", "new", 1, now - days + 600)], None)
        .await
        .unwrap();
    assert_eq!(f.store.forget_rule_uses().await.unwrap(), 1);
    assert_eq!(f.store.forget_rule_uses().await.unwrap(), 0);
    assert_eq!(f.store.rule_uses(&["a".into()]).await.unwrap()[0].rule, "new");
    assert!(f.store.rule_uses_since().await.unwrap().is_some());
}
