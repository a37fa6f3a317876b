//! What an application or an entity holds is taken away by who administers the installation. The logins themselves are
//! in `secrets` and in the suite `e2e/66-leases`.

use super::*;
use crate::{Held, NotRevoked, Revoked};
use credentialflow_model::{Actor, resource::Kind};
use credentialflow_store::{Expect, LeaseRow, LeaseState, Op, Unit};

impl World {
    async fn logged_in(&self, name: &str, application: &str) -> String {
        let body = json!({"password": "correct horse", "application": application});
        self.ok("POST", &format!("auth/userpass/users/{name}"), body).await;
        let login = format!("auth/userpass/login/{name}");
        let (status, told) = self.send("POST", &login, With::default(), json!({"password": "correct horse"})).await;
        assert_eq!(status, 200, "{told}");
        told["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    async fn lives(&self, token: &str) -> bool {
        self.send("GET", "auth/token/lookup-self", With { token, wrap: "" }, json!({})).await.0 == 200
    }
}

#[tokio::test]
async fn an_applications_tokens_and_leases_end_with_one_recorded_word() {
    let w = World::new().await;
    w.ok("POST", "sys/auth/userpass", json!({"type": "userpass"})).await;
    let mut tx = w.store.begin(&Actor::operator()).await.unwrap();
    for name in ["checkout", "billing"] {
        let body = json!({"name": name}).to_string();
        tx.put_resource(Kind::Applications, &name.parse().unwrap(), &body, Expect::Absent).await.unwrap();
    }
    tx.audit("application.create", "applications", json!({}));
    tx.commit().await.unwrap();
    let (first, second) = (w.logged_in("a", "checkout").await, w.logged_in("b", "checkout").await);
    let other = w.logged_in("c", "billing").await;
    // A lease whose seal nobody can open: it is told, and the others are not kept waiting.
    let broken = LeaseRow {
        id: "database/creds/a/1".into(),
        mount: "database/".into(),
        token: None,
        entity: None,
        application: Some("checkout".into()),
        place: String::new(),
        issued: w.store.now(),
        expires_at: None,
        state: LeaseState::Active,
        attempts: 0,
        next_attempt: None,
        sealed: vec![1],
        revision: 0,
    };
    let mut unit = Unit::new(Actor::operator());
    unit.audit("test.lease", "leases", json!({}));
    unit.ops.push(Op::PutLease(broken, Expect::Absent));
    w.store.submit(unit).await.unwrap();

    let before = w.store.audit_events_before(0, 1, &AuditFilter::default()).await.unwrap()[0].seq;
    let actor = Actor { name: "ada".into(), ..Actor::operator() };
    let told = w.api.revoke_held(&actor, &Held::Application("checkout".into())).await.unwrap();
    assert_eq!((told.tokens, told.leases, told.left), (2, 1, 1));
    assert!(told.problem.is_some());
    assert_eq!(w.store.lease("database/creds/a/1").await.unwrap().unwrap().state, LeaseState::Revoking);
    assert!(!w.lives(&first).await && !w.lives(&second).await && w.lives(&other).await);
    let events = w.store.audit_events(before, 1000, &AuditFilter::default()).await.unwrap();
    let asked = &events[0];
    assert_eq!((asked.action.as_str(), asked.subject.as_str()), ("lease.revoke_application", "applications/checkout"));
    assert_eq!(asked.actor.name, "ada", "recorded before anything is done");
    assert!(events[1..].iter().any(|e| e.action == "token.revoke" && e.actor.name == "ada"));

    let entity = w.send("GET", "auth/token/lookup-self", With { token: &other, wrap: "" }, json!({})).await.1;
    let entity = entity["data"]["entity_id"].as_str().unwrap().to_owned();
    let told = w.api.revoke_held(&actor, &Held::Entity(entity)).await.unwrap();
    assert_eq!(told, Revoked { tokens: 1, ..Revoked::default() });
    assert!(!w.lives(&other).await);
    let third = w.logged_in("a", "billing").await;
    let told = w.api.revoke_held(&actor, &Held::Prefix("auth/userpass".into())).await.unwrap();
    assert_eq!((told.tokens, w.lives(&third).await), (1, false));
    let nobody = w.api.revoke_held(&actor, &Held::Application(String::new())).await.unwrap_err();
    assert!(matches!(nobody, NotRevoked::Invalid(_)));
    w.ok("PUT", "sys/seal", json!({})).await;
    let sealed = w.api.revoke_held(&actor, &Held::Application("billing".into())).await.unwrap_err();
    assert_eq!(sealed, NotRevoked::Sealed);
}

#[tokio::test]
async fn of_a_sealed_vault_nothing_is_told() {
    use crate::{NotTold, Sort};
    let w = World::new().await;
    w.ok("POST", "sys/auth/userpass", json!({"type": "userpass"})).await;
    w.logged_in("ada", "").await;
    let users = w.api.standings(Sort::Users, "", 10).await.unwrap();
    let [ada] = &users.items[..] else { panic!("{users:?}") };
    assert!(ada.name == "auth/userpass/users/ada" && ada.last_used.is_some(), "{ada:?}");
    assert!(w.api.kept_secrets().await.unwrap().iter().all(|mount| mount.count == 0));
    w.ok("PUT", "sys/seal", json!({})).await;
    assert_eq!(w.api.standings(Sort::Users, "", 10).await, Err(NotTold::Sealed));
    assert_eq!(w.api.kept_logins("", 1).await, Err(NotTold::Sealed));
    assert_eq!(w.api.kept_secrets().await, Err(NotTold::Sealed));
}
