//! AppRole, by the steps of hvac's suite and beyond them.

use super::world::*;
use crate::{Mount, Operation, Response, Result};
use credentialflow_model::Actor;
use credentialflow_store::{Expect, Op, Unit};
use serde_json::{Value, json};

struct Role<'a> {
    world: &'a World,
    mount: Mount,
}

impl<'a> Role<'a> {
    async fn new(world: &'a World, settings: Value) -> Self {
        let role = Self { world, mount: mount("approle-test/") };
        role.write("role/testrole", settings).await.unwrap();
        role.write("role/testrole/role-id", json!({"role_id": "test_role_id"})).await.unwrap();
        role
    }
    async fn ask(&self, operation: Operation, path: &str, body: Value) -> Result<Response> {
        self.world
            .ask("approle", &self.mount, Some(&self.world.root), operation, path, body, "127.0.0.1".parse().ok())
            .await
    }
    async fn write(&self, path: &str, body: Value) -> Result<Response> {
        self.ask(Operation::Update, path, body).await
    }
    async fn secret(&self, body: Value) -> Value {
        data(&self.write("role/testrole/secret-id", body).await.unwrap())
    }
    async fn login(&self, secret: &Value, source: &str) -> Result<Response> {
        let body = json!({"role_id": "test_role_id", "secret_id": secret["secret_id"]});
        self.world.ask("approle", &self.mount, None, Operation::Update, "login", body, source.parse().ok()).await
    }
}

#[tokio::test]
async fn a_machine_logs_in_and_its_token_is_as_the_role_says() {
    let world = World::new().await;
    world.policy("app", r#"path "kv/app" { capabilities = ["read"] }"#).await;
    let role = Role::new(&world, json!({"token_policies": ["app"], "token_ttl": "10m", "token_max_ttl": "15m"})).await;
    let secret = role.secret(json!({"cidr_list": ["127.0.0.1/32"], "metadata": "{\"a\": \"val1\"}"})).await;
    let login = role.login(&secret, "127.0.0.1").await.unwrap();
    let auth = login.auth.as_ref().unwrap();
    assert_eq!(auth.policies, ["app", "default"]);
    let meta = auth.metadata.as_ref().unwrap();
    assert_eq!((meta["role_name"].as_str(), meta["a"].as_str()), ("testrole", "val1"));
    assert_eq!((auth.lease_duration, auth.renewable), (600, true));
    let token = client_token(&login);
    let seen = data(&world.token(&token, "lookup-self", json!({})).await.unwrap());
    assert_eq!((&seen["path"], &seen["display_name"]), (&json!("auth/approle-test/login"), &json!("approle-test")));
    assert!(role.login(&secret, "127.0.0.2").await.is_err());
    world.pass(500);
    assert_eq!(world.token(&token, "renew-self", json!({})).await.unwrap().auth.unwrap().lease_duration, 400);
    role.ask(Operation::Delete, "role/testrole", json!({})).await.unwrap();
    assert_eq!(refusal(world.token(&token, "renew-self", json!({})).await).0, 400);
    assert_eq!(refusal(role.login(&secret, "127.0.0.1").await), (400, "invalid role or secret ID".into()));
    let actions = world.actions().await;
    assert!(actions.contains(&"auth.login".to_owned()) && actions.contains(&"auth.refuse".to_owned()));
}

#[tokio::test]
async fn every_property_is_read_written_and_reset() {
    let world = World::new().await;
    let role = Role::new(&world, json!({"token_policies": ["default"]})).await;
    let seen = data(&role.ask(Operation::Read, "role/testrole", json!({})).await.unwrap());
    assert_eq!(
        (&seen["token_type"], &seen["token_policies"], &seen["bind_secret_id"]),
        (&json!("default"), &json!(["default"]), &json!(true))
    );
    for (path, field, value, shown) in [
        ("policies", "policies", json!("x,y"), json!(["x", "y"])),
        ("token-ttl", "token_ttl", json!("5m"), json!(300)),
        ("token-max-ttl", "token_max_ttl", json!(900), json!(900)),
        ("token-num-uses", "token_num_uses", json!(3), json!(3)),
        ("token-period", "token_period", json!("1h"), json!(3600)),
        ("secret-id-num-uses", "secret_id_num_uses", json!("7"), json!(7)),
        ("secret-id-ttl", "secret_id_ttl", json!("1d"), json!(86400)),
        ("secret-id-bound-cidrs", "secret_id_bound_cidrs", json!("127.0.0.0/8"), json!(["127.0.0.0/8"])),
        ("token-bound-cidrs", "token_bound_cidrs", json!(["127.0.0.0/8"]), json!(["127.0.0.0/8"])),
        ("bind-secret-id", "bind_secret_id", json!(true), json!(true)),
    ] {
        let at = format!("role/testrole/{path}");
        role.write(&at, json!({ field: value })).await.unwrap();
        let read = data(&role.ask(Operation::Read, &at, json!({})).await.unwrap());
        assert_eq!(read.as_object().unwrap().values().next(), Some(&shown), "{path}");
        role.ask(Operation::Delete, &at, json!({})).await.unwrap();
    }
    assert_eq!(
        data(&role.ask(Operation::Read, "role/testrole/role-id", json!({})).await.unwrap())["role_id"],
        "test_role_id"
    );
    let fresh = data(&role.ask(Operation::Read, "role/testrole", json!({})).await.unwrap());
    assert_eq!((&fresh["token_ttl"], &fresh["token_policies"]), (&json!(0), &json!([])));
    assert_eq!(data(&role.ask(Operation::List, "role", json!({})).await.unwrap())["keys"], json!(["testrole"]));
    for (path, body) in [
        ("role/testrole/role-id", json!({})),
        ("role/testrole", json!({"token_type": "bad"})),
        ("role/testrole", json!({"bind_secret_id": false})),
        ("role/testrole", json!({"token_policies": ["root"]})),
        ("role/testrole", json!({"token_ttl": "2h", "token_max_ttl": "1h"})),
    ] {
        assert_eq!(refusal(role.write(path, body).await).0, 400, "{path}");
    }
    assert_eq!(refusal(role.write("role/none/token-ttl", json!({"token_ttl": 1})).await).0, 404);
    role.write("role/other", json!({})).await.unwrap();
    let taken = role.write("role/other/role-id", json!({"role_id": "test_role_id"})).await;
    assert_eq!(refusal(taken).1, "role_id is already in use by another role");
}

#[tokio::test]
async fn secret_ids_are_looked_up_and_destroyed_by_both_names() {
    let world = World::new().await;
    let role = Role::new(&world, json!({})).await;
    let secret = role.secret(json!({"cidr_list": ["127.0.0.1/32"]})).await;
    let id = json!({"secret_id": secret["secret_id"]});
    let accessor = json!({"secret_id_accessor": secret["secret_id_accessor"]});
    let seen = data(&role.write("role/testrole/secret-id/lookup", id.clone()).await.unwrap());
    assert_eq!((&seen["secret_id_num_uses"], &seen["cidr_list"]), (&json!(0), &json!(["127.0.0.1/32"])));
    let by_accessor = data(&role.write("role/testrole/secret-id-accessor/lookup", accessor.clone()).await.unwrap());
    assert_eq!(by_accessor, seen);
    let keys = data(&role.ask(Operation::List, "role/testrole/secret-id", json!({})).await.unwrap());
    assert_eq!(keys["keys"], json!([secret["secret_id_accessor"]]));
    role.write("role/testrole/secret-id/destroy", id.clone()).await.unwrap();
    assert!(role.write("role/testrole/secret-id/lookup", id).await.unwrap().data.is_none());
    assert_eq!(refusal(role.write("role/testrole/secret-id-accessor/lookup", accessor).await).0, 404);
    assert!(role.login(&secret, "127.0.0.1").await.is_err());
    let custom = json!({"secret_id": "custom_secret", "num_uses": 2});
    let mine = data(&role.write("role/testrole/custom-secret-id", custom.clone()).await.unwrap());
    assert_eq!(mine["secret_id"], "custom_secret");
    role.write("role/testrole/custom-secret-id", custom).await.unwrap();
    assert_eq!(
        data(&role.ask(Operation::List, "role/testrole/secret-id", json!({})).await.unwrap())["keys"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert!(role.login(&mine, "127.0.0.1").await.is_ok());
    assert!(role.login(&mine, "127.0.0.1").await.is_ok());
    assert!(role.login(&mine, "127.0.0.1").await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_secret_id_is_used_as_often_as_it_may_also_in_parallel() {
    let world = World::new().await;
    let role = Role::new(&world, json!({"secret_id_num_uses": 5, "secret_id_ttl": "1m"})).await;
    let secret = role.secret(json!({})).await;
    let all = (0..12).map(|_| role.login(&secret, "127.0.0.1"));
    let mut good = 0;
    let mut running: Vec<_> = all.map(Box::pin).collect();
    // Polled together, so that they meet.
    std::future::poll_fn(|cx| {
        running.retain_mut(|login| match login.as_mut().poll(cx) {
            std::task::Poll::Ready(result) => {
                good += usize::from(result.is_ok());
                false
            }
            std::task::Poll::Pending => true,
        });
        if running.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    assert_eq!(good, 5);
    let short = role.secret(json!({"ttl": 10})).await;
    world.pass(10);
    // Five failures lock a source, so another asks.
    assert_eq!(refusal(role.login(&short, "127.0.0.9").await).0, 400);
    assert_eq!(refusal(role.login(&short, "127.0.0.1").await).0, 403);
    role.write("tidy/secret-id", json!({})).await.unwrap();
    assert_eq!(refusal(role.ask(Operation::List, "role/testrole/secret-id", json!({})).await).0, 404);
}

#[tokio::test]
async fn a_new_pepper_locks_no_machine_out() {
    let world = World::new().await;
    let role = Role::new(&world, json!({})).await;
    let secret = role.secret(json!({})).await;
    let custom = json!({"secret_id": "custom_secret"});
    let mine = data(&role.write("role/testrole/custom-secret-id", custom.clone()).await.unwrap());
    let token = client_token(&role.login(&secret, "127.0.0.1").await.unwrap());
    world.vault.rotate_pepper(&Actor::operator()).await.unwrap();
    assert!(world.accepts(&token).await);
    assert!(role.login(&secret, "127.0.0.1").await.is_ok());
    assert!(role.login(&mine, "127.0.0.1").await.is_ok());

    // A role id is still one role's alone.
    role.write("role/other", json!({})).await.unwrap();
    let taken = role.write("role/other/role-id", json!({"role_id": "test_role_id"})).await;
    assert_eq!(refusal(taken).1, "role_id is already in use by another role");

    // A secret id brought along again is still one, and ends whole.
    role.write("role/testrole/custom-secret-id", custom.clone()).await.unwrap();
    let keys = data(&role.ask(Operation::List, "role/testrole/secret-id", json!({})).await.unwrap());
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
    role.write("role/testrole/secret-id/destroy", custom).await.unwrap();
    assert!(role.login(&mine, "127.0.0.1").await.is_err());

    // Written again, the role is found under the newest pepper alone; given up, its role id leads nowhere.
    role.write("role/testrole", json!({"token_ttl": "1m"})).await.unwrap();
    assert!(role.login(&secret, "127.0.0.1").await.is_ok());
    world.vault.rotate_pepper(&Actor::operator()).await.unwrap();
    role.write("role/testrole/role-id", json!({"role_id": "changed"})).await.unwrap();
    assert!(role.login(&secret, "127.0.0.2").await.is_err());
    let body = json!({"role_id": "changed", "secret_id": secret["secret_id"]});
    let login = world.ask("approle", &role.mount, None, Operation::Update, "login", body.clone(), None);
    assert!(login.await.is_ok());
    role.write("role/other/role-id", json!({"role_id": "test_role_id"})).await.unwrap();
    role.ask(Operation::Delete, "role/testrole", json!({})).await.unwrap();
    let login = world.ask("approle", &role.mount, None, Operation::Update, "login", body, None);
    assert_eq!(refusal(login.await), (400, "invalid role or secret ID".into()));
    let left = world.store.entry_paths(&role.mount.id, "role_id/", "", 10).await.unwrap();
    assert_eq!(left.len(), 1, "only the other role's index is left");
}

#[tokio::test]
async fn what_led_to_a_role_before_leads_nowhere_once_it_has_another_id() {
    let world = World::new().await;
    let role = Role::new(&world, json!({})).await;
    let secret = role.secret(json!({})).await;
    let index = world.store.entry_paths(&role.mount.id, "role_id/", "", 10).await.unwrap().remove(0);
    let kept: crate::shelf::Kept<Value> = shelf(&world, &role).get(&index).await.unwrap().unwrap();
    role.write("role/testrole/role-id", json!({"role_id": "changed"})).await.unwrap();
    // As one that was left when the pepper was changed in between.
    let mut unit = Unit::new(Actor::operator());
    unit.audit("test.write", "test", json!({}));
    shelf(&world, &role).put(&mut unit, &index, &kept.value, Expect::Absent).unwrap();
    world.store.submit(unit).await.unwrap();
    assert_eq!(refusal(role.login(&secret, "127.0.0.1").await).1, "invalid role or secret ID");
    role.write("role/other", json!({})).await.unwrap();
    role.write("role/other/role-id", json!({"role_id": "test_role_id"})).await.unwrap();
}

fn shelf(world: &World, role: &Role<'_>) -> crate::Shelf {
    crate::Shelf::new(world.store.clone(), world.vault.clone(), role.mount.id.clone())
}

#[tokio::test]
async fn a_login_on_its_way_ends_with_what_it_rests_on() {
    let world = World::new().await;
    let role = Role::new(&world, json!({})).await;
    let destroyed = world.overtaken(async || {
        let secret = role.secret(json!({})).await;
        let destroy = role.write("role/testrole/secret-id/destroy", json!({"secret_id": secret["secret_id"]}));
        let (destroyed, login) = tokio::join!(destroy, role.login(&secret, "127.0.0.1"));
        destroyed.unwrap();
        login
    });
    assert_eq!(destroyed.await.1, "invalid role or secret ID");
    // A role that asks for no secret id.
    let secret = role.secret(json!({})).await;
    let narrowed = world.overtaken(async || {
        let wide = json!({"bind_secret_id": false, "secret_id_bound_cidrs": "127.0.0.0/8"});
        role.write("role/testrole", wide).await.unwrap();
        let narrowed = role.write("role/testrole", json!({"secret_id_bound_cidrs": "127.0.0.2/32"}));
        let (narrowed, login) = tokio::join!(narrowed, role.login(&secret, "127.0.0.1"));
        narrowed.unwrap();
        login
    });
    assert!(narrowed.await.1.contains("source address unauthorized"));
    let mut gone = false;
    let deleted = world.overtaken(async || {
        if std::mem::replace(&mut gone, true) {
            Role::new(&world, json!({"bind_secret_id": false, "secret_id_bound_cidrs": "127.0.0.2/32"})).await;
        }
        let deleted = role.ask(Operation::Delete, "role/testrole", json!({}));
        let (deleted, login) = tokio::join!(deleted, role.login(&secret, "127.0.0.2"));
        deleted.unwrap();
        login
    });
    assert_eq!(deleted.await.1, "invalid role or secret ID");
}

#[tokio::test]
async fn a_login_on_its_way_ends_with_its_mount() {
    let world = World::new().await;
    let role = Role::new(&world, json!({})).await;
    let secret = role.secret(json!({})).await;
    let change = || {
        let (space, path) = ("sys".to_owned(), "mounts/auth".to_owned());
        let mut unit = Unit::new(Actor::operator());
        unit.audit("test.write", "test", json!({}));
        unit.ops.push(Op::PutEntry { space, path, sealed: b"a list".to_vec(), expect: Expect::Anything });
        world.store.submit(unit)
    };
    let (space, path) = ("sys".to_owned(), "mounts/auth".to_owned());
    let unchanged = Op::CheckEntry { space, path, expect: Expect::Revision(change().await.unwrap()) };
    let body = json!({"role_id": "test_role_id", "secret_id": secret["secret_id"]});
    let call = crate::Call {
        mount: &role.mount,
        operation: Operation::Update,
        path: "login",
        data: body.as_object().unwrap(),
        caller: None,
        presented: None,
        source: None,
        rests_on: Some(&unchanged),
    };
    world.identity.login_method("approle", &call).await.unwrap();
    let (changed, login) = tokio::join!(change(), world.identity.login_method("approle", &call));
    changed.unwrap();
    assert!(matches!(login, Err(crate::IdentityError::Conflict)));
    assert_eq!(world.actions().await.iter().filter(|a| *a == "auth.login").count(), 1);
}
