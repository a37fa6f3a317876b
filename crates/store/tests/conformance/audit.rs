//! The chain: whatever is done to it behind the store's back is found, and the first place is named.

use crate::{Database, Fresh, admin, on_both};
use credentialflow_model::{Actor, Timestamp};
use credentialflow_store::audit::{self, verify_lines};
use credentialflow_store::{AuditFilter, VerifyError};
use proptest::prelude::*;
use serde_json::json;
use std::{collections::HashMap, sync::OnceLock};

on_both!(
    every_changed_field_is_found,
    every_removed_inserted_or_moved_row_is_found,
    a_cut_end_is_found_by_head_and_checkpoint,
    a_rewritten_chain_contradicts_its_checkpoint,
    an_exported_copy_verifies,
    events_are_found_by_action_and_subject,
);

async fn five(db: Database) -> Fresh {
    let f = db.fresh().await;
    for i in 1..=5 {
        let actor = if i == 4 { Actor::system("rotation") } else { admin() };
        let mut tx = f.store.begin(&actor).await.unwrap();
        tx.audit("key.create", &format!("keys/k{i}"), json!({ "n": i, "ratio": 0.1, "text": "ünï\u{0}\"\\\n" }));
        tx.commit().await.unwrap();
    }
    f
}

/// Verifies and answers the first broken event.
async fn broken(f: &Fresh) -> Option<u64> {
    match audit::verify(&f.store, None).await {
        Ok(_) => None,
        Err(VerifyError::Broken(at)) => Some(at.seq),
        Err(e) => panic!("{e}"),
    }
}

async fn every_changed_field_is_found(db: Database) {
    let f = five(db).await;
    assert_eq!(broken(&f).await, None);
    for (change, undo) in [
        ("time = time + 1", "time = time - 1"),
        ("actor_kind = 'system'", "actor_kind = 'administrator'"),
        ("actor_kind = 'nobody'", "actor_kind = 'administrator'"),
        ("actor_name = 'admiN'", "actor_name = 'admin'"),
        ("actor_source = NULL", "actor_source = '127.0.0.1'"),
        ("actor_source = ''", "actor_source = '127.0.0.1'"),
        ("action = 'key.createx'", "action = 'key.create'"),
        ("action = 'key.createk', subject = 'eys/k3'", "action = 'key.create', subject = 'keys/k3'"),
        ("detail = replace(detail, '3', '4')", "detail = replace(detail, '4', '3')"),
        ("detail = detail || ' '", "detail = trim(detail)"),
    ] {
        f.raw(&format!("UPDATE audit SET {change} WHERE seq = 3")).await;
        assert_eq!(broken(&f).await, Some(3), "{change}");
        f.raw(&format!("UPDATE audit SET {undo} WHERE seq = 3")).await;
        assert_eq!(broken(&f).await, None, "{undo}");
    }
    f.raw("UPDATE audit SET hash = (SELECT hash FROM audit WHERE seq = 1) WHERE seq = 3").await;
    assert_eq!(broken(&f).await, Some(3));
    f.raw("UPDATE audit SET hash = (SELECT previous_hash FROM audit WHERE seq = 4) WHERE seq = 3").await;
    f.raw("UPDATE audit SET previous_hash = (SELECT hash FROM audit WHERE seq = 1) WHERE seq = 3").await;
    assert_eq!(broken(&f).await, Some(3));
}

async fn every_removed_inserted_or_moved_row_is_found(db: Database) {
    let f = five(db).await;
    f.raw("UPDATE audit SET seq = 99 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 4; UPDATE audit SET seq = 4 WHERE seq = 99")
        .await;
    assert_eq!(broken(&f).await, Some(2), "swapped");
    let f = five(db).await;
    f.raw("DELETE FROM audit WHERE seq = 3").await;
    assert_eq!(broken(&f).await, Some(3), "removed");
    let f = five(db).await;
    f.raw("DELETE FROM audit WHERE seq = 3; UPDATE audit SET seq = seq - 1 WHERE seq = 4; UPDATE audit SET seq = 4 WHERE seq = 5")
        .await;
    assert_eq!(broken(&f).await, Some(3), "removed and closed up");
    let f = five(db).await;
    f.raw(
        "INSERT INTO audit (seq, time, actor_kind, actor_name, actor_source, action, subject, detail, previous_hash, hash)
         SELECT 6, time, actor_kind, actor_name, actor_source, action, subject, detail, previous_hash, hash FROM audit WHERE seq = 5",
    )
    .await;
    assert_eq!(broken(&f).await, Some(6), "inserted");
}

/// Stands in for the installation's signing key.
fn sign(bytes: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &[b"test key", bytes].concat()).as_ref().to_vec()
}

fn signed(bytes: &[u8], signature: &[u8]) -> bool {
    sign(bytes) == signature
}

async fn a_cut_end_is_found_by_head_and_checkpoint(db: Database) {
    let f = five(db).await;
    let checkpoint = f.store.checkpoint(sign).await.unwrap().unwrap();
    assert_eq!(checkpoint.seq, 5);
    assert_eq!(f.store.checkpoint(sign).await.unwrap(), None, "nothing new to sign");
    let report = audit::verify(&f.store, Some(&signed)).await.unwrap();
    assert_eq!((report.events, report.checkpoints, report.signatures_checked), (5, 1, true));
    f.raw("DELETE FROM audit WHERE seq = 5").await;
    assert_eq!(broken(&f).await, Some(5), "the head knows");
    f.raw("UPDATE head SET audit_seq = 4, audit_hash = (SELECT hash FROM audit WHERE seq = 4)").await;
    assert_eq!(broken(&f).await, Some(5), "the checkpoint knows");
    f.raw("UPDATE audit_checkpoints SET seq = 4, hash = (SELECT hash FROM audit WHERE seq = 4)").await;
    assert_eq!(broken(&f).await, None, "without its signature a forged checkpoint passes");
    assert!(matches!(audit::verify(&f.store, Some(&signed)).await, Err(VerifyError::Broken(at)) if at.seq == 4));
}

async fn a_rewritten_chain_contradicts_its_checkpoint(db: Database) {
    let (original, forged) = (five(db).await, db.fresh().await);
    original.store.checkpoint(sign).await.unwrap();
    for i in 1..=6 {
        let mut tx = forged.store.begin(&admin()).await.unwrap();
        tx.audit("key.create", &format!("keys/forged{i}"), json!({}));
        tx.commit().await.unwrap();
    }
    let (mut lines, mut good) = (Vec::new(), Vec::new());
    forged.store.export_audit(&mut lines).await.unwrap();
    original.store.export_audit(&mut good).await.unwrap();
    assert!(verify_lines(lines.as_slice(), Some(&signed)).is_ok());
    let checkpoint = good.split_inclusive(|b| *b == b'\n').next_back().unwrap();
    lines.extend_from_slice(checkpoint);
    assert!(matches!(verify_lines(lines.as_slice(), Some(&signed)), Err(VerifyError::Broken(at)) if at.seq == 5));
}

async fn an_exported_copy_verifies(db: Database) {
    let f = five(db).await;
    f.store.checkpoint(sign).await.unwrap();
    let mut copy = Vec::new();
    assert_eq!(f.store.export_audit(&mut copy).await.unwrap(), 5);
    let offline = verify_lines(copy.as_slice(), Some(&signed)).unwrap();
    assert_eq!(offline, audit::verify(&f.store, Some(&signed)).await.unwrap());
    assert_eq!((offline.events, offline.checkpoints), (5, 1));
    let lines: Vec<_> = copy.split_inclusive(|b| *b == b'\n').collect();
    let cut = [&lines[..4], &lines[5..]].concat().concat();
    assert!(matches!(verify_lines(cut.as_slice(), None), Err(VerifyError::Broken(at)) if at.seq == 5));
    let swapped = [lines[0], lines[2], lines[1], lines[3], lines[4]].concat();
    assert!(matches!(verify_lines(swapped.as_slice(), None), Err(VerifyError::Broken(at)) if at.seq == 2));
    let missing = [lines[0], lines[2]].concat();
    assert!(matches!(verify_lines(missing.as_slice(), None), Err(VerifyError::Broken(at)) if at.seq == 2));
}

async fn events_are_found_by_action_and_subject(db: Database) {
    let f = five(db).await;
    let by = |action: Option<&str>, subject: Option<&str>| AuditFilter {
        action: action.map(Into::into),
        subject: subject.map(Into::into),
    };
    let found = f.store.audit_events(0, 10, &by(None, Some("keys/k4"))).await.unwrap();
    assert_eq!((found.len(), found[0].seq, found[0].actor.clone()), (1, 4, Actor::system("rotation")));
    assert_eq!(found[0].detail["ratio"], "0.1", "fractions are kept as text");
    assert!(found[0].time > Timestamp::from_secs(1_700_000_000));
    let count = async |filter| f.store.audit_events(0, 10, &filter).await.unwrap().len();
    assert_eq!(count(by(Some("key.create"), None)).await, 5);
    assert_eq!(count(by(Some("key.create"), Some("keys/k2"))).await, 1);
    assert_eq!(count(by(Some("key.revoke"), Some("keys/k2"))).await, 0);
    assert_eq!(f.store.audit_events(3, 1, &by(None, None)).await.unwrap()[0].seq, 4);
    let newest = f.store.audit_events_before(0, 2, &by(None, None)).await.unwrap();
    assert_eq!(newest.iter().map(|e| e.seq).collect::<Vec<_>>(), [5, 4]);
    assert_eq!(f.store.audit_events_before(2, 9, &by(None, None)).await.unwrap()[0].seq, 1);
    // The last of each of many, in one look.
    let mut tx = f.store.begin(&admin()).await.unwrap();
    tx.audit("key.revoke", "keys/k1", json!({}));
    tx.audit("key.create", "keys/k2", json!({}));
    tx.commit().await.unwrap();
    let times: Vec<_> = f.store.audit_events(0, 10, &by(None, None)).await.unwrap().iter().map(|e| e.time).collect();
    let subjects: Vec<String> = (0..300).map(|i| format!("keys/k{i}")).collect();
    let last = f.store.last_done("key.create", &subjects).await.unwrap();
    let expected: HashMap<String, Timestamp> = [(1, 1), (2, 7), (3, 3), (4, 4), (5, 5)]
        .map(|(key, seq): (usize, usize)| (format!("keys/k{key}"), times[seq - 1]))
        .into();
    assert_eq!(last, expected);
    assert_eq!(f.store.last_done("key.create", &[]).await.unwrap(), HashMap::new());
}

fn copy() -> &'static (Vec<u8>, Vec<u64>) {
    static COPY: OnceLock<(Vec<u8>, Vec<u64>)> = OnceLock::new();
    COPY.get_or_init(|| {
        crate::block_on(async {
            let f = five(Database::Sqlite).await;
            let mut copy = Vec::new();
            f.store.export_audit(&mut copy).await.unwrap();
            let mut line = 1;
            let lines = copy
                .iter()
                .map(|b| {
                    let at = line;
                    line += u64::from(*b == b'\n');
                    at
                })
                .collect();
            (copy, lines)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Any byte of any field, and any byte between them; the broken event is the line's own.
    #[test]
    fn any_flipped_byte_of_a_copy_is_found(at in any::<prop::sample::Index>(), flip in 1u8..=255) {
        let (copy, lines) = copy();
        let at = at.index(copy.len());
        let mut changed = copy.clone();
        changed[at] ^= flip;
        match verify_lines(changed.as_slice(), None) {
            Err(VerifyError::Broken(broken)) => prop_assert_eq!(broken.seq, lines[at]),
            other => prop_assert!(false, "byte {} passed: {:?}", at, other),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Any byte of any text or blob in the table itself.
    #[test]
    fn any_flipped_byte_of_a_row_is_found(
        seq in 1i64..=5,
        field in prop::sample::select(vec!["actor_kind", "actor_name", "actor_source", "action", "subject", "detail", "previous_hash", "hash"]),
        at in any::<prop::sample::Index>(),
        flip in 1u8..=127,
    ) {
        use sqlx::{Connection, Row};
        let broken = crate::block_on(async {
            let f = five(Database::Sqlite).await;
            let mut c = sqlx::AnyConnection::connect(&f.url.replace(' ', "%20")).await.unwrap();
            let select = format!("SELECT CAST(COALESCE({field}, '') AS BLOB) FROM audit WHERE seq = $1");
            let row = sqlx::query(sqlx::AssertSqlSafe(select)).bind(seq).fetch_one(&mut c).await.unwrap();
            let mut bytes: Vec<u8> = row.try_get::<Option<Vec<u8>>, _>(0).unwrap().unwrap_or_default();
            if bytes.is_empty() {
                bytes.push(flip);
            } else {
                let at = at.index(bytes.len());
                bytes[at] ^= flip;
            }
            let kind = if field.ends_with("hash") { "BLOB" } else { "TEXT" };
            let update = format!("UPDATE audit SET {field} = CAST($1 AS {kind}) WHERE seq = $2");
            sqlx::query(sqlx::AssertSqlSafe(update)).bind(bytes).bind(seq).execute(&mut c).await.unwrap();
            c.close().await.unwrap();
            broken(&f).await
        });
        prop_assert_eq!(broken, Some(seq as u64), "{}", field);
    }
}
