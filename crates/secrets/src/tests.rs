//! The engines over a real store: what is written is read, raced writes lose nothing, nothing lies open.

mod database;
mod pki;
mod systems;

use crate::engine::Engine;
use crate::mounts::Side;
use crate::*;
use credentialflow_model::{Actor, ActorKind, SecretValue};
use credentialflow_store::Store;
use credentialflow_vault::{SealInput, Vault};
use serde_json::{Map, Value, json};

struct World {
    store: Store,
    vault: Vault,
    mounts: Mounts,
    dir: tempfile::TempDir,
}

fn actor() -> Actor {
    Actor { kind: ActorKind::Client, name: "token".into(), source: None }
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::connect(&format!("sqlite:{}", dir.path().join("s.db").display())).await.unwrap();
        store.migrate().await.unwrap();
        let input = SealInput::Environment(SecretValue::from("a passphrase of a test"));
        let vault = Vault::init(&store, &Actor::operator(), input).await.unwrap().vault;
        let world = Self { store, vault, mounts: Mounts::default(), dir };
        // The first commit of a process learns where the database stands.
        world.txn().commit().await.unwrap();
        world
    }

    fn txn(&self) -> Txn {
        let mut txn = Txn::new(&self.vault, &self.store, actor());
        txn.audit("test.run", "vault/test", json!({}));
        txn
    }

    async fn mount(&self, path: &str, kind: &str) {
        let mut txn = self.txn();
        let mut mount = Mount::new(path, kind, txn.now()).unwrap();
        Engine::normalize(&mut mount).unwrap();
        self.mounts.add(&mut txn, Side::Secret, mount).await.unwrap();
        txn.commit().await.unwrap();
    }

    async fn call_as(&self, who: &str, operation: Operation, path: &str, data: Value) -> Result<Value> {
        let Value::Object(data) = data else { panic!("an object") };
        let client = Client { accessor: who.to_owned(), actor: actor() };
        loop {
            let mut txn = self.txn();
            let table = self.mounts.table(&mut txn).await?;
            let (mount, rest) = table.find(Side::Secret, path).ok_or(SecretsError::NotFound)?;
            let call = Call { operation, path: rest, data: &data, mount, client: &client, now: txn.now() };
            let reply = Engine::of(mount).unwrap().handle(&call, &mut txn).await?;
            match txn.commit().await {
                Ok(_) => {}
                Err(SecretsError::Raced) => continue,
                Err(other) => return Err(other),
            }
            let value = match reply.data {
                None => Value::Null,
                Some(Payload::Open(value)) => value,
                Some(Payload::Secret(text)) => serde_json::from_slice(text.expose()).unwrap(),
            };
            return Ok(if reply.status == Some(404) { json!({ "gone": value }) } else { value });
        }
    }

    async fn call(&self, operation: Operation, path: &str, data: Value) -> Result<Value> {
        self.call_as("accessor-1", operation, path, data).await
    }

    async fn ok(&self, operation: Operation, path: &str, data: Value) -> Value {
        self.call(operation, path, data).await.unwrap()
    }
}

use Operation::{Delete, List, Patch, Read, Write};

#[tokio::test]
async fn version_1_keeps_the_last_value() {
    let w = World::new().await;
    w.mount("old", "kv").await;
    assert!(matches!(w.call(Read, "old/a", json!({})).await, Err(SecretsError::NotFound)));
    w.ok(Write, "old/a", json!({"x": "1", "ttl": "5m"})).await;
    w.ok(Write, "old/a", json!({"x": "2"})).await;
    w.ok(Write, "old/dir/ä b", json!({"x": "3"})).await;
    assert_eq!(w.ok(Read, "old/a", json!({})).await, json!({"x": "2"}));
    assert_eq!(w.ok(List, "old", json!({})).await, json!({"keys": ["a", "dir/"]}));
    assert_eq!(w.ok(List, "old/dir/", json!({})).await, json!({"keys": ["ä b"]}));
    w.ok(Delete, "old/a", json!({})).await;
    assert_eq!(w.ok(List, "old/", json!({})).await, json!({"keys": ["dir/"]}));
    assert!(matches!(w.call(List, "old/none", json!({})).await, Err(SecretsError::NotFound)));
    for path in ["old/", "old/a//b", "old/../x", "old/a\u{7}", "old/x/"] {
        assert!(matches!(w.call(Write, path, json!({"x": 1})).await, Err(SecretsError::Invalid(_))), "{path}");
    }
    assert!(w.call(Write, "old/a", json!({})).await.is_err());
}

#[tokio::test]
async fn version_2_keeps_versions() {
    let w = World::new().await;
    w.mount("kv", "kv-v2").await;
    for n in 1..=3 {
        let written = w.ok(Write, "kv/data/a/b", json!({"data": {"n": n}, "options": {"cas": n - 1}})).await;
        assert_eq!(written["version"], n);
    }
    let refused = w.call(Write, "kv/data/a/b", json!({"data": {}, "options": {"cas": 1}})).await.unwrap_err();
    assert_eq!(refused.to_string(), "check-and-set parameter did not match the current version");
    let read = w.ok(Read, "kv/data/a/b", json!({})).await;
    assert_eq!((&read["data"], &read["metadata"]["version"]), (&json!({"n": 3}), &json!(3)));
    assert_eq!(w.ok(Read, "kv/data/a/b", json!({"version": "1"})).await["data"], json!({"n": 1}));
    w.ok(Delete, "kv/data/a/b", json!({})).await;
    assert_eq!(w.ok(Read, "kv/data/a/b", json!({})).await["gone"]["data"], Value::Null);
    w.ok(Write, "kv/undelete/a/b", json!({"versions": [3]})).await;
    assert_eq!(w.ok(Read, "kv/data/a/b", json!({})).await["data"], json!({"n": 3}));
    w.ok(Write, "kv/destroy/a/b", json!({"versions": [2]})).await;
    w.ok(Write, "kv/undelete/a/b", json!({"versions": [2]})).await;
    assert_eq!(w.ok(Read, "kv/data/a/b", json!({"version": 2})).await["gone"]["metadata"]["destroyed"], true);
    w.ok(Write, "kv/delete/a/b", json!({"versions": "1"})).await;
    let meta = w.ok(Read, "kv/metadata/a/b", json!({})).await;
    assert_eq!((&meta["current_version"], &meta["oldest_version"]), (&json!(3), &json!(0)));
    assert_ne!(meta["versions"]["1"]["deletion_time"], "");
    assert_eq!(w.ok(List, "kv/metadata/", json!({})).await, json!({"keys": ["a/"]}));
    assert_eq!(w.ok(List, "kv/metadata/a", json!({})).await, json!({"keys": ["b"]}));
    w.ok(Delete, "kv/metadata/a/b", json!({})).await;
    assert!(matches!(w.call(Read, "kv/data/a/b", json!({})).await, Err(SecretsError::NotFound)));
    assert!(matches!(w.call(List, "kv/metadata", json!({})).await, Err(SecretsError::NotFound)));
    let mut txn = w.txn();
    let table = w.mounts.table(&mut txn).await.unwrap();
    let space = table.secret["kv/"].uuid.clone();
    assert_eq!(txn.entries(&space).paths("", "", 10).await.unwrap(), [""; 0], "no version stays behind");
}

#[tokio::test]
async fn version_2_patches_limits_and_requires() {
    let w = World::new().await;
    w.mount("kv", "kv-v2").await;
    assert!(matches!(w.call(Patch, "kv/data/a", json!({"data": {"x": 1}})).await, Err(SecretsError::NotFound)));
    w.ok(Write, "kv/data/a", json!({"data": {"x": {"y": 1, "z": 2}, "k": "v"}})).await;
    w.ok(Patch, "kv/data/a", json!({"data": {"x": {"y": null}, "n": 1}})).await;
    assert_eq!(w.ok(Read, "kv/data/a", json!({})).await["data"], json!({"x": {"z": 2}, "k": "v", "n": 1}));
    let shape = w.ok(Read, "kv/subkeys/a", json!({"depth": 1})).await;
    assert_eq!(shape["subkeys"], json!({"x": null, "k": null, "n": null}));
    w.ok(Write, "kv/metadata/a", json!({"max_versions": 2, "custom_metadata": {"owner": "web"}})).await;
    w.ok(Patch, "kv/metadata/a", json!({"custom_metadata": {"tier": "1", "owner": null}})).await;
    w.ok(Write, "kv/data/a", json!({"data": {"last": true}})).await;
    let meta = w.ok(Read, "kv/metadata/a", json!({})).await;
    assert_eq!(meta["oldest_version"], 2);
    assert_eq!(meta["versions"].as_object().unwrap().keys().collect::<Vec<_>>(), ["2", "3"]);
    assert_eq!(meta["custom_metadata"], json!({"tier": "1"}));
    assert!(matches!(w.call(Read, "kv/data/a", json!({"version": 1})).await, Err(SecretsError::NotFound)));
    w.ok(Write, "kv/config", json!({"cas_required": true, "delete_version_after": "1h"})).await;
    assert!(w.call(Write, "kv/data/b", json!({"data": {}})).await.is_err());
    let written = w.ok(Write, "kv/data/b", json!({"data": {}, "options": {"cas": "0"}})).await;
    assert_ne!(written["deletion_time"], "");
    // What was to end by itself still does when it was deleted and brought back.
    w.ok(Delete, "kv/data/b", json!({})).await;
    w.ok(Write, "kv/undelete/b", json!({"versions": [1]})).await;
    let back = w.ok(Read, "kv/data/b", json!({})).await;
    assert_eq!(back["data"], json!({}));
    assert_ne!(back["metadata"]["deletion_time"], "");
    assert_eq!(w.ok(Read, "kv/config", json!({})).await["delete_version_after"], "1h0m0s");
    for body in [json!({}), json!({"data": "text"}), json!({"data": {}, "options": 1})] {
        assert!(matches!(w.call(Write, "kv/data/c", body).await, Err(SecretsError::Invalid(_))));
    }
    assert!(matches!(w.call(Read, "kv/nothing/x", json!({})).await, Err(SecretsError::UnknownPath)));
}

#[tokio::test]
async fn racing_writers_each_get_a_version_of_their_own() {
    let w = std::sync::Arc::new(World::new().await);
    w.mount("kv", "kv-v2").await;
    w.ok(Write, "kv/metadata/hot", json!({"max_versions": 100})).await;
    let tasks: Vec<_> = (0..30)
        .map(|i| {
            let w = w.clone();
            tokio::spawn(async move { w.ok(Write, "kv/data/hot", json!({"data": {"i": i}})).await["version"].as_u64() })
        })
        .collect();
    let mut versions = Vec::new();
    for task in tasks {
        versions.push(task.await.unwrap().unwrap());
    }
    versions.sort_unstable();
    assert_eq!(versions, (1..=30).collect::<Vec<_>>());
    credentialflow_store::audit::verify(&w.store, None).await.unwrap();
}

#[tokio::test]
async fn who_is_alone_is_never_told_that_another_was_first() {
    let w = World::new().await;
    w.mount("kv", "kv-v2").await;
    let client = Client { accessor: "accessor-1".to_owned(), actor: actor() };
    let Value::Object(data) = json!({"data": {"x": 1}}) else { panic!("an object") };
    // More writes than versions are kept, so that old ones go; enough keys that some share a shard of the cache.
    for round in 1..=14 {
        for key in 0..60 {
            let mut txn = w.txn();
            let table = w.mounts.table(&mut txn).await.unwrap();
            let path = format!("kv/data/app/{key}");
            let (mount, path) = table.find(Side::Secret, &path).unwrap();
            let call = Call { operation: Write, path, data: &data, mount, client: &client, now: txn.now() };
            let reply = Engine::Kv2.handle(&call, &mut txn).await.unwrap();
            let Some(Payload::Open(told)) = reply.data else { panic!("open data") };
            assert_eq!(told["version"], round);
            txn.commit().await.unwrap();
        }
    }
}

#[tokio::test]
async fn ten_thousand_versions_are_kept_and_found() {
    let w = World::new().await;
    w.mount("kv", "kv-v2").await;
    w.ok(Write, "kv/metadata/many", json!({"max_versions": 10_000})).await;
    // Written past the API, as ten thousand commits would take a while: one with ten thousand entries.
    let mut txn = w.txn();
    let space = w.mounts.table(&mut txn).await.unwrap().secret["kv/"].uuid.clone();
    let mut entries = txn.entries(&space);
    let mut meta: Map<String, Value> = entries.get_json("m/many").await.unwrap().unwrap();
    let versions: Vec<Value> = (1..=10_000).map(|n| json!([n, 0, false])).collect();
    meta.insert("versions".into(), Value::Array(versions));
    meta.insert("oldest".into(), json!(1));
    entries.put_json("m/many", &meta).unwrap();
    for n in 1..=10_000 {
        entries.put_json(&format!("v/many//{n}"), &json!({ "n": n })).unwrap();
    }
    txn.commit().await.unwrap();
    let started = std::time::Instant::now();
    assert_eq!(w.ok(Write, "kv/data/many", json!({"data": {"n": 10_001}})).await["version"], 10_001);
    assert_eq!(w.ok(Read, "kv/data/many", json!({"version": 5000})).await["data"], json!({"n": 5000}));
    assert!(matches!(w.call(Read, "kv/data/many", json!({"version": 1})).await, Err(SecretsError::NotFound)));
    assert_eq!(w.ok(Read, "kv/metadata/many", json!({})).await["versions"].as_object().unwrap().len(), 10_000);
    assert!(started.elapsed() < std::time::Duration::from_secs(120));
    w.ok(Delete, "kv/metadata/many", json!({})).await;
    assert_eq!(w.txn().entries(&space).paths("", "", 10).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_cubbyhole_is_one_tokens_own() {
    let w = World::new().await;
    w.ok(Write, "cubbyhole/x", json!({"a": 1})).await;
    assert_eq!(w.ok(Read, "cubbyhole/x", json!({})).await, json!({"a": 1}));
    assert!(matches!(w.call_as("other", Read, "cubbyhole/x", json!({})).await, Err(SecretsError::NotFound)));
    assert!(matches!(w.call_as("", Write, "cubbyhole/x", json!({"a": 1})).await, Err(SecretsError::Denied(_))));
}

#[tokio::test]
async fn mounts_are_moved_with_their_data_and_removed_with_it() {
    let w = World::new().await;
    w.mount("a/b", "kv").await;
    w.ok(Write, "a/b/x", json!({"v": 1})).await;
    let mut txn = w.txn();
    for taken in ["a/b", "a", "a/b/c", "sys/x", "cubbyhole", "", "x/../y"] {
        let mount = Mount::new(taken, "kv", txn.now());
        let refused = match mount {
            Ok(mount) => w.mounts.add(&mut txn, Side::Secret, mount).await.is_err(),
            Err(_) => true,
        };
        assert!(refused, "{taken:?}");
    }
    w.mounts.remount(&mut txn, Side::Secret, "a/b", "c").await.unwrap();
    txn.commit().await.unwrap();
    assert_eq!(w.ok(Read, "c/x", json!({})).await, json!({"v": 1}));
    assert!(matches!(w.call(Read, "a/b/x", json!({})).await, Err(SecretsError::NotFound)));
    let mut txn = w.txn();
    let gone = w.mounts.remove(&mut txn, Side::Secret, "c/").await.unwrap().unwrap();
    txn.commit().await.unwrap();
    w.mount("c", "kv").await;
    assert!(matches!(w.call(Read, "c/x", json!({})).await, Err(SecretsError::NotFound)));
    assert_eq!(w.store.entry_paths(&gone.uuid, "", "", 10).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_wrapped_answer_opens_once() {
    let w = World::new().await;
    let about = |txn: &Txn, ttl| wrapping::Wrapped {
        accessor: "a".into(),
        creation_path: "kv/data/x".into(),
        created: txn.now(),
        ttl,
        wrapped_accessor: None,
    };
    let mut txn = w.txn();
    let wrapped = about(&txn, 60);
    let token = wrapping::wrap(&mut txn, &SecretValue::from("{\"data\":1}"), wrapped).unwrap();
    let old = wrapping::Wrapped { created: credentialflow_model::Timestamp::from_secs(5), ..about(&txn, 1) };
    let expired = wrapping::wrap(&mut txn, &SecretValue::from("{}"), old).unwrap();
    txn.commit().await.unwrap();
    let mut txn = w.txn();
    assert_eq!(wrapping::lookup(&mut txn, &token).await.unwrap().unwrap().creation_path, "kv/data/x");
    assert_eq!(wrapping::lookup(&mut txn, &expired).await.unwrap(), None);
    assert!(wrapping::unwrap(&mut txn, &expired).await.unwrap().is_none());
    assert!(wrapping::lookup(&mut txn, &SecretValue::from("hvs.other")).await.unwrap().is_none());
    // Two open it at the same moment: one is told that the other was there.
    let (mut one, mut two) = (w.txn(), w.txn());
    let (_, answer) = wrapping::unwrap(&mut one, &token).await.unwrap().unwrap();
    assert_eq!(answer.expose(), b"{\"data\":1}");
    assert!(wrapping::unwrap(&mut two, &token).await.unwrap().is_some());
    let (a, b) = (one.commit().await, two.commit().await);
    assert!(a.is_ok() && matches!(b, Err(SecretsError::Raced)));
    let mut txn = w.txn();
    assert!(wrapping::unwrap(&mut txn, &token).await.unwrap().is_none());
    assert_eq!(wrapping::sweep(&mut txn).await.unwrap(), 1);
    txn.commit().await.unwrap();
    assert_eq!(w.store.entry_paths("wrapping", "", "", 10).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn nothing_lies_open_and_a_moved_value_does_not_open() {
    let w = World::new().await;
    w.mount("kv", "kv-v2").await;
    w.ok(Write, "kv/data/a", json!({"data": {"p": "canary-77aa1c"}, "options": {}})).await;
    for file in std::fs::read_dir(w.dir.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(13).any(|at| at == b"canary-77aa1c"));
    }
    let mut txn = w.txn();
    let space = w.mounts.table(&mut txn).await.unwrap().secret["kv/"].uuid.clone();
    let stolen = w.store.entry(&space, "v/a//1").await.unwrap().unwrap().sealed.to_vec();
    let mut tx = w.store.begin(&actor()).await.unwrap();
    let (space2, path) = (space.clone(), "v/b//1".to_owned());
    let expect = credentialflow_store::Expect::Absent;
    tx.apply(vec![credentialflow_store::Op::PutEntry { space: space2, path, sealed: stolen, expect }]).await.unwrap();
    tx.audit("test.move", "vault/test", json!({}));
    tx.commit().await.unwrap();
    assert!(w.txn().entries(&space).get("v/b//1").await.is_err());
}
