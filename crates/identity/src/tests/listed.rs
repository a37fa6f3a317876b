//! What lets somebody in is told for an inventory: each once, page by page, without what is presented.

use super::world::*;
use crate::{Mount, Operation, Sort, Standing};
use credentialflow_model::{Actor, Timestamp, resource::Kind};
use credentialflow_store::Expect;
use serde_json::{Value, json};

impl World {
    async fn put(&self, kind: &str, at: &str, path: &str, body: Value) -> Value {
        let asked = self.ask(kind, &mount(at), Some(&self.root), Operation::Update, path, body, None).await.unwrap();
        asked.expose_data().map_or(Value::Null, Value::Object)
    }

    async fn enters(&self, kind: &str, at: &str, path: &str, body: Value) -> bool {
        self.ask(kind, &mount(at), None, Operation::Update, path, body, None).await.is_ok()
    }

    /// All of a sort, so many a page.
    async fn all(&self, sort: Sort, most: u32) -> Vec<Standing> {
        let kinds = [("approle", "approle-2/"), ("approle", "approle/"), ("userpass", "people/"), ("jwt", "ci/")];
        let mounts: Vec<(String, Mount)> = kinds.map(|(kind, path)| (kind.to_owned(), mount(path))).into();
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.identity.standings(sort, &mounts, &after, most).await.unwrap();
            all.extend(page.items);
            let Some(next) = page.next else { return all };
            assert!(next > after, "{next}");
            after = next;
        }
    }

    async fn names(&self, sort: Sort, most: u32) -> Vec<String> {
        self.all(sort, most).await.into_iter().map(|one| one.name).collect()
    }
}

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp::from_secs(START + seconds))
}

#[tokio::test]
async fn secret_ids_are_told_with_their_last_login_to_within_an_hour() {
    let w = World::new().await;
    let mut tx = w.store.begin(&Actor::operator()).await.unwrap();
    tx.put_resource(Kind::Applications, &"checkout".parse().unwrap(), "{}", Expect::Absent).await.unwrap();
    tx.audit("application.create", "applications/checkout", json!({}));
    tx.commit().await.unwrap();
    let role = json!({"token_policies": "orders", "application": "checkout"});
    w.put("approle", "approle/", "role/web", role).await;
    // In this order by their bytes: a hyphen comes before a slash.
    w.put("approle", "approle/", "role/web-2", json!({"secret_id_num_uses": 2})).await;
    w.put("approle", "approle-2/", "role/ü", json!({})).await;
    let made = w.put("approle", "approle/", "role/web/secret-id", json!({"ttl": "10h"})).await;
    let counted = w.put("approle", "approle/", "role/web-2/secret-id", json!({})).await;
    w.put("approle", "approle-2/", "role/ü/secret-id", json!({})).await;
    let accessor = |made: &Value| made["secret_id_accessor"].as_str().unwrap().to_owned();
    let first = format!("auth/approle/role/web/secret-id/{}", accessor(&made));
    let second = format!("auth/approle/role/web-2/secret-id/{}", accessor(&counted));
    for most in [1, 2, 500] {
        let names = w.names(Sort::SecretIds, most).await;
        assert!(names[0].starts_with("auth/approle-2/role/ü/secret-id/"), "{names:?}");
        assert_eq!(names[1..], [second.clone(), first.clone()], "{most} a page");
    }
    let of = async |name: &str| w.all(Sort::SecretIds, 9).await.into_iter().find(|one| one.name == name).unwrap();
    let told = of(&first).await;
    assert_eq!(
        (told.application.as_deref(), told.policies.as_slice()),
        (Some("checkout"), &["default".to_owned(), "orders".to_owned()][..])
    );
    assert_eq!((told.made, told.expires, told.last_used, told.counted), (at(0), at(36_000), None, true));
    assert!(told.made_by.unwrap().starts_with("root "));
    let texts = format!("{:?}", w.all(Sort::SecretIds, 9).await);
    assert!(!texts.contains(made["secret_id"].as_str().unwrap()));

    let ids = async |role: &str, made: &Value| {
        let answer = w.ask("approle", &mount("approle/"), Some(&w.root), Operation::Read, role, json!({}), None).await;
        json!({"role_id": data(&answer.unwrap())["role_id"], "secret_id": made["secret_id"]})
    };
    let (web, web_2) = (ids("role/web/role-id", &made).await, ids("role/web-2/role-id", &counted).await);
    w.pass(100);
    assert!(w.enters("approle", "approle/", "login", web.clone()).await);
    assert_eq!(of(&first).await.last_used, at(100));
    // A flood writes it down once an hour.
    w.pass(100);
    assert!(w.enters("approle", "approle/", "login", web.clone()).await);
    assert_eq!(of(&first).await.last_used, at(100));
    w.pass(3600);
    assert!(w.enters("approle", "approle/", "login", web.clone()).await);
    assert_eq!(of(&first).await.last_used, at(3800));
    // One whose logins are counted is written each time anyway, and is gone with its last.
    assert!(w.enters("approle", "approle/", "login", web_2.clone()).await);
    let told = of(&second).await;
    assert_eq!(told.last_used, at(3800));
    assert!(told.description.ends_with("for one more login"), "{}", told.description);
    assert!(w.enters("approle", "approle/", "login", web_2.clone()).await);
    assert!(!w.names(Sort::SecretIds, 9).await.contains(&second));
    // What has ended is no way in any more.
    w.pass(36_000);
    assert!(!w.enters("approle", "approle/", "login", web).await);
    assert!(!w.names(Sort::SecretIds, 1).await.contains(&first));
}

#[tokio::test]
async fn logins_at_the_same_moment_all_succeed_where_the_first_is_written_down() {
    let w = World::new().await;
    w.put("approle", "approle/", "role/web", json!({})).await;
    let made = w.put("approle", "approle/", "role/web/secret-id", json!({})).await;
    let (place, read) = (mount("approle/"), Operation::Read);
    let id = w.ask("approle", &place, Some(&w.root), read, "role/web/role-id", json!({}), None).await.unwrap();
    let ids = json!({"role_id": data(&id)["role_id"], "secret_id": made["secret_id"]});
    let enter = || w.enters("approle", "approle/", "login", ids.clone());
    assert_eq!(tokio::join!(enter(), enter(), enter(), enter(), enter()), (true, true, true, true, true));
    assert_eq!(w.all(Sort::SecretIds, 9).await[0].last_used, at(0));
}

#[tokio::test]
async fn users_are_told_with_the_age_of_their_password_and_their_last_login() {
    let w = World::new().await;
    for name in ["ada", "Grace"] {
        let body = json!({"password": "correct horse", "token_policies": "orders"});
        w.put("userpass", "people/", &format!("users/{name}"), body).await;
    }
    assert_eq!(w.names(Sort::Users, 1).await, ["auth/people/users/ada", "auth/people/users/grace"]);
    w.pass(50);
    assert!(!w.enters("userpass", "people/", "login/ada", json!({"password": "wrong"})).await);
    // However it is spelled, it is one user.
    assert!(w.enters("userpass", "people/", "login/GRACE", json!({"password": "correct horse"})).await);
    w.put("userpass", "people/", "users/ada/password", json!({"password": "another horse"})).await;
    let all = w.all(Sort::Users, 9).await;
    assert_eq!((all[0].made, all[0].since, all[0].last_used.is_some()), (at(0), at(50), false));
    assert_eq!((all[1].made, all[1].since, all[1].last_used.is_some()), (at(0), at(0), true));
    assert!(!format!("{all:?}").contains("horse"));
}

#[tokio::test]
async fn tokens_that_stay_are_told_one_by_one() {
    let w = World::new().await;
    w.create(&w.root, json!({"ttl": "10m", "display_name": "brief"})).await;
    w.create(&w.root, json!({"period": "1h", "display_name": "renewed"})).await;
    let mut told = Vec::new();
    for most in [1, 2, 500] {
        told = w.all(Sort::LastingTokens, most).await;
        assert_eq!(told.len(), 2, "{told:?}");
    }
    told.sort_by_key(|one| one.expires.is_none());
    assert!(told[0].description.starts_with("token-renewed, made at auth/token/create; renewed by 3600 s"), "{told:?}");
    assert_eq!((told[1].policies.as_slice(), told[1].expires), (&["root".to_owned()][..], None));
    assert!(!format!("{told:?}").contains(&w.root));
    // The newest of them is told until its time is over.
    w.pass(3600);
    assert_eq!(w.all(Sort::LastingTokens, 9).await.len(), 1);
}
