//! Many who write the same at one moment: nobody is refused because another one was first.

use super::{With, World};
use crate::VaultApi;
use credentialflow_identity::ports::NoWeb;
use credentialflow_store::{Store, audit};
use credentialflow_testkit::postgres::Cluster;
use credentialflow_vault::Vault;
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const WRITERS: u64 = 64;

#[derive(Clone, Copy)]
enum Database {
    Sqlite,
    Postgres,
}

impl Database {
    async fn world(self) -> (Arc<World>, String) {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        let dir = tempfile::tempdir().unwrap();
        let url = match self {
            Self::Sqlite => format!("sqlite:{}", dir.path().join("v.db").display()),
            Self::Postgres => CLUSTER.get_or_init(|| Cluster::start().unwrap()).create_database().unwrap(),
        };
        (Arc::new(World::on(&url, dir).await), url)
    }
}

impl World {
    /// Another node on the same database, unsealed.
    async fn beside(&self, url: &str) -> Arc<Self> {
        let store = Store::connect(url).await.unwrap();
        let api = VaultApi::new(store.clone(), Arc::new(NoWeb));
        api.attach(Vault::open_sealed(&store).await.unwrap()).await.unwrap();
        let (root, keys) = (self.root.clone(), self.keys.clone());
        let other = Self { api, store, root, keys, _dir: tempfile::tempdir().unwrap() };
        other.unseal().await;
        Arc::new(other)
    }
}

/// Sends everything at the same time, each request in turn to one of the nodes; answers in the same order.
async fn all(nodes: &[Arc<World>], method: &'static str, path: &str, bodies: Vec<Value>) -> Vec<(u16, Value)> {
    let sent: Vec<_> = bodies
        .into_iter()
        .enumerate()
        .map(|(i, body)| {
            let (node, path) = (nodes[i % nodes.len()].clone(), path.to_owned());
            tokio::spawn(async move { node.root(method, &path, body).await })
        })
        .collect();
    let mut answers = Vec::new();
    for one in sent {
        answers.push(one.await.unwrap());
    }
    answers
}

/// Every writer succeeds, and every version is somebody's.
async fn without_cas(nodes: &[Arc<World>]) {
    let bodies = (0..WRITERS).map(|i| json!({"data": {"writer": i}})).collect();
    let answers = all(nodes, "POST", "kv/data/hot", bodies).await;
    let mut versions = Vec::new();
    for (i, (status, told)) in answers.iter().enumerate() {
        assert_eq!(*status, 200, "{told}");
        let version = told["data"]["version"].as_u64().unwrap();
        versions.push(version);
        let read = nodes[0].ok("GET", &format!("kv/data/hot?version={version}"), json!({})).await;
        assert_eq!(read["data"]["data"]["writer"], i, "version {version} is what its writer wrote");
    }
    versions.sort_unstable();
    assert_eq!(versions, (1..=WRITERS).collect::<Vec<_>>());
}

/// Of those who say that they follow the same version one wins, and the others are told why they did not.
async fn with_cas(nodes: &[Arc<World>]) {
    for follows in 0..6 {
        let body = json!({"data": {"x": follows}, "options": {"cas": follows}});
        let answers = all(nodes, "POST", "kv/data/careful", vec![body; WRITERS as usize]).await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(status, _)| *status == 200);
        assert_eq!(won.len(), 1);
        assert_eq!(won[0].1["data"]["version"], follows + 1);
        for (status, told) in lost {
            let told = told["errors"][0].as_str().unwrap_or_default().to_owned();
            assert_eq!((status, told.as_str()), (400, "check-and-set parameter did not match the current version"));
        }
    }
}

async fn prepare(world: &World) {
    world.ok("POST", "sys/mounts/kv", json!({"type": "kv-v2"})).await;
    world.ok("POST", "kv/metadata/hot", json!({"max_versions": WRITERS})).await;
}

async fn one_node(database: Database) {
    let (world, _) = database.world().await;
    prepare(&world).await;
    let nodes = [world];
    without_cas(&nodes).await;
    with_cas(&nodes).await;
    audit::verify(&nodes[0].store, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_one_secret_on_sqlite() {
    one_node(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_one_secret_on_postgresql() {
    one_node(Database::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_one_secret_on_two_nodes() {
    let (world, url) = Database::Postgres.world().await;
    prepare(&world).await;
    let nodes = [world.clone(), world.beside(&url).await];
    without_cas(&nodes).await;
    with_cas(&nodes).await;
    audit::verify(&world.store, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn different_changes_of_one_secret_meet_and_all_succeed() {
    let (world, _) = Database::Sqlite.world().await;
    prepare(&world).await;
    let mut sent = Vec::new();
    for i in 0..WRITERS {
        let world = world.clone();
        sent.push(tokio::spawn(async move {
            match i % 4 {
                0 => world.root("POST", "kv/metadata/hot", json!({"custom_metadata": {"i": i.to_string()}})).await,
                1 => world.root("POST", "kv/delete/hot", json!({"versions": [1]})).await,
                _ => world.root("POST", "kv/data/hot", json!({"data": {"i": i}})).await,
            }
        }));
    }
    for one in sent {
        let (status, told) = one.await.unwrap();
        assert!(status < 300, "{status} {told}");
    }
    let meta = world.ok("GET", "kv/metadata/hot", json!({})).await;
    assert_eq!(meta["data"]["current_version"], WRITERS / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_use_of_a_counted_token_and_secret_id_counts_once() {
    let (world, _) = Database::Sqlite.world().await;
    prepare(&world).await;
    let uses = WRITERS + 20;
    // As many writes of one secret as the token has uses: a use that counted twice would leave one without.
    let made =
        world.ok("POST", "auth/token/create", json!({"policies": ["root"], "num_uses": uses, "ttl": "1h"})).await;
    let token = made["auth"]["client_token"].as_str().unwrap().to_owned();
    world.ok("POST", "sys/auth/approle", json!({"type": "approle"})).await;
    world.ok("POST", "auth/approle/role/r", json!({"secret_id_num_uses": uses, "token_ttl": "1m"})).await;
    let role = world.ok("GET", "auth/approle/role/r/role-id", json!({})).await;
    let secret = world.ok("POST", "auth/approle/role/r/secret-id", json!({})).await;
    let login = json!({"role_id": role["data"]["role_id"], "secret_id": secret["data"]["secret_id"]});
    let mut sent = Vec::new();
    for i in 0..uses {
        let (world, token, login) = (world.clone(), token.clone(), login.clone());
        sent.push(tokio::spawn(async move {
            let with = With { token: &token, ..With::default() };
            let written = world.send("POST", "kv/data/hot", with, json!({"data": {"i": i}})).await;
            (written, world.send("POST", "auth/approle/login", With::default(), login).await)
        }));
    }
    for one in sent {
        let (written, login) = one.await.unwrap();
        assert_eq!((written.0, login.0), (200, 200), "{} {}", written.1, login.1);
    }
    let with = With { token: &token, ..With::default() };
    assert_eq!(world.send("GET", "kv/data/hot", with, json!({})).await.0, 403);
    assert_eq!(world.send("POST", "auth/approle/login", With::default(), login).await.0, 400);
}

/// Whoever logs in while a method is unmounted is refused, or logged out with the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_outlives_its_auth_method() {
    let (world, _) = Database::Sqlite.world().await;
    for _ in 0..4 {
        world.ok("POST", "sys/auth/approle", json!({"type": "approle"})).await;
        world.ok("POST", "auth/approle/role/r", json!({"token_ttl": "1h"})).await;
        let role = world.ok("GET", "auth/approle/role/r/role-id", json!({})).await;
        let secret = world.ok("POST", "auth/approle/role/r/secret-id", json!({})).await;
        let login = json!({"role_id": role["data"]["role_id"], "secret_id": secret["data"]["secret_id"]});
        let callers: Vec<_> = (0..24)
            .map(|_| {
                let (world, login) = (world.clone(), login.clone());
                tokio::spawn(async move {
                    let mut tokens = Vec::new();
                    loop {
                        let (status, told) =
                            world.send("POST", "auth/approle/login", With::default(), login.clone()).await;
                        match told["auth"]["client_token"].as_str() {
                            Some(token) => tokens.push(token.to_owned()),
                            None => return (tokens, status, told),
                        }
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(60)).await;
        let unmounted = world.ok("DELETE", "sys/auth/approle", json!({}));
        tokio::time::timeout(Duration::from_secs(180), unmounted).await.expect("it ends while they log in");
        for caller in callers {
            let (tokens, status, told) = caller.await.unwrap();
            assert!(matches!(status, 400 | 403), "{status} {told}");
            for token in tokens {
                let with = With { token: &token, ..With::default() };
                let (status, told) = world.send("GET", "auth/token/lookup-self", with, json!({})).await;
                assert_eq!(status, 403, "it outlives its method: {told}");
            }
        }
    }
    // Tokens themselves are no method that could be unmounted.
    let (status, told) = world.root("DELETE", "sys/auth/token", json!({})).await;
    assert!(status == 400 && told.to_string().contains("protected"), "{status} {told}");
    world.ok("GET", "auth/token/lookup-self", json!({})).await;
}
