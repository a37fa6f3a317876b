//! The engine `database` at systems that are no SQL databases, and the engine `rabbitmq`: what is
//! written is told back without secrets, what is missing is named, and a described API's keys are
//! found again by their names. The systems themselves are asked in the suite `e2e/66-leases`.

mod guarded;
mod held;

use super::*;
use crate::lease::{Done, Fault, Holder, Leases};
use credentialflow_egress::PrivateHosts;
use credentialflow_testkit::upstream::FakeUpstream;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

fn holder(accessor: &str) -> Holder {
    Holder {
        actor: actor(),
        accessor: accessor.into(),
        token: None,
        entity: String::new(),
        application: String::new(),
        origin: String::new(),
        display_name: "token-web".into(),
    }
}

struct Place {
    world: World,
    leases: Arc<Leases>,
}

impl Place {
    async fn new(kind: &str, private: &str) -> Self {
        let world = World::new().await;
        world.mount("at", kind).await;
        let private: PrivateHosts = private.parse().unwrap();
        let leases = Arc::new(Leases::new(world.vault.clone(), world.store.clone(), private));
        Self { world, leases }
    }

    async fn call(&self, operation: Operation, path: &str, data: Value) -> Result<Value> {
        let mut txn = self.world.txn();
        let mount = self.world.mounts.table(&mut txn).await?.secret["at/"].clone();
        let Some(deed) = Engine::of(&mount).unwrap().deed(operation, path) else {
            return self.world.call(operation, &format!("at/{path}"), data).await;
        };
        let Value::Object(data) = data else { panic!("an object") };
        let holder = holder("accessor-1");
        match self.leases.perform(&holder, &mount, &deed, &data, &json!({})).await? {
            Done::Issued(issued) => {
                let mut told: Value = serde_json::from_slice(issued.data.expose()).unwrap();
                told["lease"] = issued.id.into();
                told["ttl"] = issued.ttl.into();
                Ok(told)
            }
            Done::Reply(_) => Ok(Value::Null),
        }
    }

    async fn ok(&self, operation: Operation, path: &str, data: Value) -> Value {
        self.call(operation, path, data).await.unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    async fn refused(&self, operation: Operation, path: &str, data: Value, why: &str) {
        let error = self.call(operation, path, data).await.unwrap_err().to_string();
        assert!(error.contains(why), "{path}: {error}");
    }
}

#[tokio::test]
async fn a_redis_is_written_by_host_and_port_and_told_back_without_its_password() {
    let p = Place::new("database", "").await;
    let base = json!({"plugin_name": "redis-database-plugin", "username": "default", "password": "canary-771"});
    let with = |more: Value| {
        let mut data = base.clone();
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        data
    };
    p.refused(Write, "config/r", base.clone(), "host cannot be empty").await;
    p.refused(Write, "config/r", with(json!({"host": "127.0.0.1"})), "port cannot be empty").await;
    p.refused(Write, "config/r", with(json!({"host": "127.0.0.1", "port": 70000})), "port is a number").await;
    p.refused(Write, "config/r", with(json!({"host": "127.0.0.1", "port": 1})), "error verifying connection").await;
    let at = json!({"host": "127.0.0.1", "port": "1", "verify_connection": false, "allowed_roles": "a"});
    p.refused(Write, "config/r", with(json!({"insecure_tls": true, "host": "h", "port": 1})), "insecure_tls").await;
    p.ok(Write, "config/r", with(at)).await;
    let told = p.ok(Read, "config/r", json!({})).await;
    let expected = json!({"host": "127.0.0.1", "port": 1, "tls": false, "username": "default"});
    assert_eq!(told["connection_details"], expected);
    assert!(!told.to_string().contains("canary-771"));
    // Rules of its own are the server's default; a name that is not allowed is refused before it is asked.
    p.ok(Write, "roles/a", json!({"db_name": "r"})).await;
    p.ok(Write, "roles/b", json!({"db_name": "r", "creation_statements": "[\"~*\"]"})).await;
    p.refused(Read, "creds/b", json!({}), "not an allowed role").await;
    p.refused(Read, "creds/a", json!({}), "did not make the login").await;
    p.refused(Write, "reset/none", json!({}), "no database named").await;
    p.ok(Write, "reset/r", json!({})).await;
    p.refused(Write, "config/x", json!({"plugin_name": "mongodb-database-plugin"}), "plugin_name is").await;
}

#[tokio::test]
async fn a_broker_has_an_engine_of_its_own_as_in_vault() {
    let p = Place::new("rabbitmq", "127.0.0.1").await;
    let uri = json!({"connection_uri": "http://127.0.0.1:1", "username": "guest", "password": "canary-772"});
    p.refused(Write, "config/connection", json!({}), "missing connection_uri").await;
    let half = json!({"connection_uri": "http://127.0.0.1:1", "username": "guest"});
    p.refused(Write, "config/connection", half, "missing password").await;
    p.refused(Write, "config/connection", uri.clone(), "error verifying connection").await;
    let mut untried = uri;
    untried["verify_connection"] = false.into();
    p.ok(Write, "config/connection", untried).await;
    assert!(matches!(p.call(Read, "config/connection", json!({})).await, Err(SecretsError::Unsupported)));
    assert!(matches!(p.call(Read, "config/lease", json!({})).await, Err(SecretsError::NotFound)));
    p.ok(Write, "config/lease", json!({"ttl": "5m", "max_ttl": "1h"})).await;
    assert_eq!(p.ok(Read, "config/lease", json!({})).await, json!({"ttl": 300, "max_ttl": 3600}));
    p.refused(Write, "roles/a", json!({}), "both tags and vhosts not specified").await;
    p.refused(Write, "roles/a", json!({"vhosts": "nonsense"}), "failed to unmarshal vhosts").await;
    p.refused(Write, "roles/a", json!({"vhosts": {"/": {"fly": ".*"}}}), "the template cannot be used").await;
    let rights = json!({"/": {"configure": "", "write": ".*", "read": ".*"}});
    p.ok(Write, "roles/a", json!({"tags": "monitoring", "vhosts": rights.to_string()})).await;
    let told = p.ok(Read, "roles/a", json!({})).await;
    assert_eq!(told, json!({"tags": "monitoring", "vhosts": rights, "vhost_topics": {}}));
    assert_eq!(p.ok(List, "roles", json!({})).await, json!({"keys": ["a"]}));
    p.refused(Read, "creds/none", json!({}), "unknown role: none").await;
    p.refused(Read, "creds/a", json!({}), "did not make the login").await;
    for path in ["static-roles/a", "rotate-root/connection", "config/other"] {
        assert!(matches!(p.call(Write, path, json!({})).await, Err(SecretsError::UnknownPath)), "{path}");
    }
}

type Keys = Arc<Mutex<BTreeMap<String, String>>>;

/// Keeps keys under ids of its own.
async fn provider(keys: Keys) -> FakeUpstream {
    static MADE: AtomicUsize = AtomicUsize::new(1);
    FakeUpstream::start(move |mut peer| {
        let keys = keys.clone();
        async move {
            while let Some(request) = peer.request().await {
                let (status, body) = match (request.method(), request.target().split_at(5)) {
                    ("POST", _) => {
                        let asked: Value = serde_json::from_slice(&request.body).unwrap();
                        let id = format!("id-{}", MADE.fetch_add(1, Ordering::SeqCst));
                        keys.lock().unwrap().insert(id.clone(), asked["name"].as_str().unwrap().to_owned());
                        (201, json!({"id": id, "secret": format!("key-of-{id}")}))
                    }
                    ("GET", _) => {
                        let keys = keys.lock().unwrap();
                        let all: Vec<Value> = keys.iter().map(|(id, name)| json!({"id": id, "name": name})).collect();
                        (200, json!(all))
                    }
                    ("DELETE", (_, id)) => {
                        let gone = keys.lock().unwrap().remove(id.trim_start_matches('/'));
                        (if gone.is_some() { 204 } else { 404 }, json!({}))
                    }
                    _ => (400, json!({})),
                };
                let body = body.to_string();
                peer.send(format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_described_apis_keys_end_by_their_ids_also_where_nobody_was_told_them() {
    let keys = Keys::default();
    let provider = provider(keys.clone()).await;
    let description = json!({
        "base_url": provider.url(),
        "headers": {"authorization": "Bearer {{admin}}"},
        "create": {"method": "POST", "path": "/keys", "json": {"name": "{{name}}"}, "expect": [201]},
        "take": {"handle": "/id", "password": "/secret"},
        "delete": {"method": "DELETE", "path": "/keys/{{handle}}"},
        "list": {"method": "GET", "path": "/keys", "name": "/name", "handle": "/id"},
    });
    let config = json!({
        "plugin_name": "http-database-plugin", "description": description, "password": "canary-773",
        "allowed_roles": "*",
    });
    // Who writes it need not run this server.
    let p = Place::new("database", "").await;
    p.refused(Write, "config/api", config.clone(), "private").await;
    p.refused(Write, "config/api", json!({"plugin_name": "http-database-plugin"}), "description cannot be empty").await;

    let p = Place::new("database", "127.0.0.1").await;
    let mut as_text = config.clone();
    as_text["description"] = description.to_string().into();
    p.ok(Write, "config/api", as_text).await;
    p.ok(Write, "config/api", config).await;
    assert!(!p.ok(Read, "config/api", json!({})).await.to_string().contains("canary-773"));
    p.ok(Write, "roles/a", json!({"db_name": "api", "default_ttl": "1h"})).await;
    let told = p.ok(Read, "creds/a", json!({})).await;
    assert!(told["password"].as_str().unwrap().starts_with("key-of-id-"), "{told}");
    assert_eq!(keys.lock().unwrap().values().cloned().collect::<Vec<_>>(), [told["username"].as_str().unwrap()]);
    assert!(p.leases.revoke(&actor(), told["lease"].as_str().unwrap()).await.unwrap());
    assert!(keys.lock().unwrap().is_empty());
    p.refused(Write, "rotate-root/api", json!({}), "where it was made").await;

    // It made a key, and nobody was there to hear its id.
    p.leases.crash_at(Fault::LoginMade);
    assert!(p.call(Read, "creds/a", json!({})).await.is_err());
    assert_eq!(keys.lock().unwrap().len(), 1);
    let row = p.world.store.leases_by_prefix("at/", "", 1).await.unwrap().pop().unwrap();
    assert!(p.leases.revoke(&actor(), &row.id).await.unwrap());
    assert!(keys.lock().unwrap().is_empty());
}
