//! Everything that an application or an entity holds, ended with one word; and what is refused.

use super::guarded::{slow, until};
use super::*;
use crate::lease::{Ended, Held};
use credentialflow_model::Actor;
use credentialflow_store::{AuditFilter, LeaseState};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(60);

impl Place {
    /// A login of an application and an entity; its name.
    async fn login(&self, application: &str, entity: &str, role: &str) -> String {
        let mount = self.world.mounts.table(&mut self.world.txn()).await.unwrap().secret["at/"].clone();
        let holder = Holder { application: application.into(), entity: entity.into(), ..holder("accessor-1") };
        let issued = self.leases.issue(&holder, &mount, role).await.unwrap();
        let data: Value = serde_json::from_slice(issued.data.expose()).unwrap();
        data["username"].as_str().unwrap().to_owned()
    }

    async fn revoke(&self, held: Held, patience: Duration) -> Ended {
        self.leases.revoke_held(&Actor::operator(), &held, patience).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_application_holds_ends_and_nothing_else() {
    let keys = Keys::default();
    let provider = slow(keys.clone(), watch::channel(true).1, Duration::ZERO).await;
    let p = Place::with_keys(&provider).await;
    for _ in 0..3 {
        p.login("checkout", "e1", "a").await;
    }
    // A name that begins alike, another application of the same entity, and nobody's.
    let others =
        [p.login("checkout2", "e2", "a").await, p.login("billing", "e1", "a").await, p.login("", "", "a").await];
    let row = p.world.store.leases_of_application("checkout", "", 10).await.unwrap().remove(0);
    assert_eq!((row.entity.as_deref(), row.token.as_deref()), (Some("e1"), Some("accessor-1")));
    assert!(!row.place.is_empty() && !row.place.contains("127.0.0.1"), "{}", row.place);
    let ended = p.revoke(Held::Application("checkout".into()), PATIENCE).await;
    assert_eq!(ended, Ended { leases: 3, left: 0, problem: None });
    let left = || keys.lock().unwrap().values().cloned().collect::<BTreeSet<_>>();
    assert_eq!(left(), others.iter().cloned().collect());
    assert_eq!(p.revoke(Held::Application("checkout".into()), PATIENCE).await, Ended::default());
    // By entity what is left of it; by prefix the rest.
    assert_eq!(p.revoke(Held::Entity("e1".into()), PATIENCE).await.leases, 1);
    assert_eq!(left(), [others[0].clone(), others[2].clone()].into());
    assert_eq!(p.revoke(Held::Prefix("at/creds/a/".into()), PATIENCE).await.leases, 2);
    assert!(left().is_empty());
    let filter = AuditFilter { action: Some("lease.end_prefix".into()), ..AuditFilter::default() };
    let told = p.world.store.audit_events(0, 100, &filter).await.unwrap();
    let told: Vec<_> = told.iter().map(|e| (e.subject.as_str(), e.detail["count"].clone())).collect();
    let expected = [("applications/checkout", 3), ("entities/e1", 1), ("leases/at/creds/a/", 2)];
    assert_eq!(told, expected.map(|(subject, count)| (subject, json!(count))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_long_is_written_down_told_and_goes_on() {
    let keys = Keys::default();
    let provider = slow(keys.clone(), watch::channel(true).1, Duration::from_secs(12)).await;
    let p = Place::with_keys(&provider).await;
    p.login("checkout", "e1", "a").await;
    p.login("checkout", "e1", "a").await;
    let ended = p.revoke(Held::Application("checkout".into()), Duration::ZERO).await;
    assert_eq!(ended, Ended { leases: 2, left: 2, problem: Some("it takes longer".into()) });
    let rows = p.world.store.leases_of_application("checkout", "", 10).await.unwrap();
    assert!(rows.iter().all(|row| row.state == LeaseState::Revoking));
    until(|| keys.lock().unwrap().is_empty()).await;
}

#[tokio::test]
async fn what_is_refused_is_recorded() {
    let keys = Keys::default();
    let provider = slow(keys.clone(), watch::channel(true).1, Duration::ZERO).await;
    let p = Place::with_keys(&provider).await;
    for (path, operation) in [("creds/none", Read), ("rotate-root/none", Write), ("config/none", Write)] {
        p.call(operation, path, json!({})).await.unwrap_err();
    }
    let batch = Holder { accessor: String::new(), ..holder("x") };
    let mount = p.world.mounts.table(&mut p.world.txn()).await.unwrap().secret["at/"].clone();
    let deed = Engine::of(&mount).unwrap().deed(Read, "creds/a").unwrap();
    p.leases.perform(&batch, &mount, &deed, &Default::default(), &json!({"request_id": "r"})).await.unwrap_err();
    let told = p.world.store.audit_events(0, 1000, &AuditFilter::default()).await.unwrap();
    let told: Vec<_> = told.iter().filter(|e| e.action.ends_with(".refuse")).collect();
    let subjects: Vec<_> = told.iter().map(|e| (e.action.as_str(), e.subject.as_str())).collect();
    let expected = [
        ("lease.refuse", "vault/at/creds/none"),
        ("database.refuse", "vault/at/rotate-root/none"),
        ("database.refuse", "vault/at/config/none"),
        ("lease.refuse", "vault/at/creds/a"),
    ];
    assert_eq!(subjects, expected);
    assert_eq!(told[3].detail, json!({"request_id": "r", "reason": "invalid"}));
}

#[tokio::test]
async fn a_list_that_is_cut_says_so() {
    let keys = Keys::default();
    let provider = slow(keys.clone(), watch::channel(true).1, Duration::ZERO).await;
    let p = Place::with_keys(&provider).await;
    for _ in 0..3 {
        p.login("", "", "a").await;
    }
    let told = async |most| p.leases.list_at_most("at/creds/a", most).await.map(|(names, more)| (names.len(), more));
    assert_eq!(told(3).await.unwrap(), (3, false));
    assert_eq!(told(2).await.unwrap(), (2, true));
}
