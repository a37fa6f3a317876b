//! What a caller cannot bring about: requests to private hosts, a password sent to somebody else, a login
//! that outlives its token, others' leases waiting for a slow system.

use super::*;
use credentialflow_store::{Expect, LeaseState, Op, TokenRow};
use std::time::Duration;
use tokio::sync::watch;

#[tokio::test]
async fn a_broker_at_a_private_host_is_asked_only_where_the_operator_named_it() {
    let broker = FakeUpstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
    let by_name = broker.url().replace("127.0.0.1", "localhost");
    for kind in ["rabbitmq", "database"] {
        let at = |uri: &str| match kind {
            "rabbitmq" => ("config/connection", json!({"connection_uri": uri, "username": "u", "password": "p"})),
            _ => (
                "config/b",
                json!({"plugin_name": "rabbitmq-database-plugin", "connection_uri": uri, "username": "u", "password": "p"}),
            ),
        };
        let p = Place::new(kind, "").await;
        for uri in [&broker.url(), &by_name] {
            let (path, data) = at(uri);
            p.refused(Write, path, data, "private_hosts").await;
        }
        assert!(broker.requests().is_empty(), "{kind}");
    }
    let p = Place::new("rabbitmq", "localhost").await;
    let data = json!({"connection_uri": by_name, "username": "u", "password": "p"});
    let _ = p.call(Write, "config/connection", data).await;
    assert!(!broker.requests().is_empty(), "named, it is asked");
}

#[tokio::test]
async fn a_stored_password_goes_nowhere_else() {
    let p = Place::new("database", "127.0.0.1").await;
    let again = "password must be given again";
    let with = |mut data: Value, more: &[(&str, Value)]| {
        data["verify_connection"] = false.into();
        more.iter().for_each(|(name, value)| data[*name] = value.clone());
        data
    };
    let redis = json!({"plugin_name": "redis-database-plugin", "host": "10.1.1.1", "port": 1, "username": "u",
        "password": "stored", "allowed_roles": "*"});
    let call = json!({"method": "GET", "path": "/", "expect": [200]});
    let api = json!({"base_url": "https://127.0.0.1:1", "create": call, "delete": call});
    let described = json!({"plugin_name": "http-database-plugin", "description": api, "password": "stored"});
    let broker = json!({"plugin_name": "rabbitmq-database-plugin", "connection_uri": "http://127.0.0.1:1",
        "username": "u", "password": "stored"});
    let url = "postgresql://{{username}}:{{password}}@127.0.0.1:1/x?sslmode=disable";
    let sql = json!({"plugin_name": "postgresql-database-plugin", "connection_url": url, "username": "u",
        "password": "stored"});
    let mut elsewhere = api.clone();
    elsewhere["base_url"] = "https://127.0.0.1:2".into();
    let cases = [
        (redis, ("host", json!("10.1.1.2"))),
        (json!({"host": "10.1.1.1"}), ("port", json!(2))),
        (json!({}), ("tls", json!(true))),
        (json!({}), ("plugin_name", json!("valkey-database-plugin"))),
        (described, ("description", elsewhere)),
        (broker, ("connection_uri", json!("http://127.0.0.1:2"))),
        (json!({}), ("ca_cert", json!("other"))),
        (sql, ("connection_url", json!(url.replace(":1/", ":2/")))),
        // Without TLS checked is also another way.
        (json!({}), ("connection_url", json!(url.replace("disable", "require")))),
    ];
    for (whole, (field, other)) in cases {
        p.ok(Write, "config/x", with(whole, &[])).await;
        p.refused(Write, "config/x", with(json!({}), &[(field, other.clone())]), again).await;
        p.refused(Write, "config/x", with(json!({}), &[(field, other.clone()), ("password", Value::Null)]), again)
            .await;
        // What stays as it is may be written without.
        p.ok(Write, "config/x", with(json!({"allowed_roles": "a"}), &[])).await;
    }
    let whole = [("connection_url", json!(url.replace(":1/", ":3/"))), ("password", json!("new"))];
    p.ok(Write, "config/x", with(json!({}), &whole)).await;
    let told = p.ok(Read, "config/x", json!({})).await.to_string();
    assert!(told.contains(":3/") && !told.contains("stored"), "{told}");
}

/// Answers who makes a key while this is open, and ends keys slowly.
pub(super) async fn slow(keys: Keys, answers: watch::Receiver<bool>, end: Duration) -> FakeUpstream {
    FakeUpstream::start(move |mut peer| {
        let (keys, mut answers) = (keys.clone(), answers.clone());
        async move {
            while let Some(request) = peer.request().await {
                let (status, body) = if request.method() == "POST" {
                    let asked: Value = serde_json::from_slice(&request.body).unwrap();
                    let name = asked["name"].as_str().unwrap().to_owned();
                    keys.lock().unwrap().insert(name.clone(), name.clone());
                    let _ = answers.wait_for(|open| *open).await;
                    (201, json!({"id": name, "secret": "s"}))
                } else {
                    tokio::time::sleep(end).await;
                    keys.lock().unwrap().remove(request.target().trim_start_matches("/keys/"));
                    (204, json!({}))
                };
                let body = if status == 204 { String::new() } else { body.to_string() };
                peer.send(format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
            }
        }
    })
    .await
}

impl Place {
    pub(super) async fn with_keys(provider: &FakeUpstream) -> Arc<Self> {
        let p = Self::new("database", "127.0.0.1").await;
        let description = json!({
            "base_url": provider.url(),
            "create": {"method": "POST", "path": "/keys", "json": {"name": "{{name}}"}, "expect": [201]},
            "take": {"handle": "/id", "password": "/secret"},
            "delete": {"method": "DELETE", "path": "/keys/{{handle}}", "expect": [204]},
        });
        let config = json!({"plugin_name": "http-database-plugin", "description": description, "password": "x",
            "allowed_roles": "*", "verify_connection": false, "username_template": "k{{random 20}}"});
        p.ok(Write, "config/api", config).await;
        p.ok(Write, "roles/a", json!({"db_name": "api", "default_ttl": "1h"})).await;
        p.ok(Write, "roles/brief", json!({"db_name": "api", "default_ttl": "1s"})).await;
        Arc::new(p)
    }

    async fn issue(&self, token: Option<&[u8]>, role: &str) -> Result<crate::lease::Issued> {
        let mount = self.world.mounts.table(&mut self.world.txn()).await?.secret["at/"].clone();
        let token = token.map(<[u8]>::to_vec);
        let holder = Holder { token, ..holder("accessor-1") };
        self.leases.issue(&holder, &mount, role).await
    }

    async fn op(&self, op: Op) {
        let mut txn = self.world.txn();
        txn.op(op);
        txn.commit().await.unwrap();
    }
}

pub(super) async fn until(mut reached: impl FnMut() -> bool) {
    for _ in 0..12_000 {
        if reached() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it never came to be");
}

#[tokio::test]
async fn a_token_that_ends_while_its_login_is_made_leaves_no_login() {
    let keys = Keys::default();
    let (answers, asked) = watch::channel(true);
    let provider = slow(keys.clone(), asked, Duration::ZERO).await;
    let p = Place::with_keys(&provider).await;
    let hash = [7u8; 32];
    let row = TokenRow {
        id_hash: hash.to_vec(),
        accessor: "accessor-1".into(),
        parent: None,
        path: "auth/token/create".into(),
        entity: None,
        application: None,
        expires_at: None,
        sealed: vec![1],
        revision: 0,
    };
    p.op(Op::PutToken(row.clone(), Expect::Absent)).await;
    p.issue(Some(&hash), "a").await.unwrap();
    assert_eq!(keys.lock().unwrap().len(), 1);
    for ended in [false, true] {
        answers.send_replace(false);
        let before = keys.lock().unwrap().len();
        let making = tokio::spawn({
            let p = p.clone();
            async move { p.issue(Some(&hash), "a").await }
        });
        until(|| keys.lock().unwrap().len() > before).await;
        // As one who looked for its leases a moment too early.
        let change = if ended {
            Op::DeleteToken(hash.to_vec(), Expect::Anything)
        } else {
            Op::PutToken(row.clone(), Expect::Anything)
        };
        p.op(change).await;
        answers.send_replace(true);
        let made = making.await.unwrap();
        assert_eq!(made.is_err(), ended, "a token that was renewed is still there");
        if let Err(error) = made {
            assert!(error.to_string().contains("token was revoked while"), "{error}");
        }
        let held = p.leases.list("at/creds/a").await.unwrap().0.len();
        assert_eq!((keys.lock().unwrap().len(), held), (2, 2));
    }
    assert!(p.issue(Some(&hash), "a").await.is_err());
    assert_eq!(keys.lock().unwrap().len(), 2, "nothing is made for a token that is gone");
}

#[tokio::test]
async fn an_engine_that_is_about_to_go_makes_no_logins() {
    let keys = Keys::default();
    let provider = slow(keys.clone(), watch::channel(true).1, Duration::ZERO).await;
    let p = Place::with_keys(&provider).await;
    let closed = async |seconds: i64| {
        let mut txn = p.world.txn();
        let until = Some(crate::lease::after(txn.now(), seconds));
        p.world.mounts.tune(&mut txn, Side::Secret, "at", |mount| mount.closed_until = until).await.unwrap();
        txn.commit().await.unwrap();
    };
    p.issue(None, "a").await.unwrap();
    closed(60).await;
    let refused = p.issue(None, "a").await.unwrap_err();
    assert!(refused.to_string().contains("being unmounted or moved"), "{refused}");
    assert_eq!(keys.lock().unwrap().len(), 1);
    // What a crash left closed opens by itself, and so does what was moved.
    closed(0).await;
    p.issue(None, "a").await.unwrap();
    closed(60).await;
    let mut txn = p.world.txn();
    p.world.mounts.remount(&mut txn, Side::Secret, "at", "there").await.unwrap();
    let moved = p.world.mounts.table(&mut p.world.txn()).await.unwrap().secret["at/"].clone();
    txn.commit().await.unwrap();
    let holder = holder("a");
    let refused = p.leases.issue(&holder, &moved, "a").await.unwrap_err();
    assert!(refused.to_string().contains("being unmounted or moved"), "who found it under its old name: {refused}");
    let moved = p.world.mounts.table(&mut p.world.txn()).await.unwrap().secret["there/"].clone();
    p.leases.issue(&holder, &moved, "a").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_of_a_slow_system_are_not_looked_at_over_and_over() {
    let keys = Keys::default();
    let provider = slow(keys.clone(), watch::channel(true).1, Duration::from_secs(600)).await;
    let p = Place::with_keys(&provider).await;
    for _ in 0..6 {
        p.issue(None, "brief").await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(p.leases.work(2).await.unwrap(), 2, "these are begun");
    assert_eq!(p.leases.work(2).await.unwrap(), 0, "these wait for them");
    assert_eq!(p.leases.work(2).await.unwrap(), 0);
    assert_eq!(keys.lock().unwrap().len(), 6);
}

impl Place {
    /// Another system beside the one of [`Place::with_keys`], with a role of the same name.
    async fn add(&self, name: &str, provider: &FakeUpstream) {
        let told = self.ok(Read, "config/api", json!({})).await;
        let mut description = told["connection_details"]["description"].clone();
        description["base_url"] = provider.url().into();
        let config = json!({"plugin_name": "http-database-plugin", "description": description, "password": "x",
            "allowed_roles": "*", "verify_connection": false, "username_template": "k{{random 20}}"});
        self.ok(Write, &format!("config/{name}"), config).await;
        self.ok(Write, &format!("roles/{name}"), json!({"db_name": name, "default_ttl": "1s"})).await;
    }

    /// So many logins, each for a caller of its own.
    async fn many(self: &Arc<Self>, role: &'static str, count: usize) {
        let mut left = count;
        while left > 0 {
            let mut making = tokio::task::JoinSet::new();
            for at in 0..left.min(50) {
                let p = self.clone();
                making.spawn(async move {
                    let mount = p.world.mounts.table(&mut p.world.txn()).await.unwrap().secret["at/"].clone();
                    p.leases.issue(&holder(&format!("{role}-{left}-{at}")), &mount, role).await.map(drop)
                });
            }
            left -= making.len();
            making.join_all().await.into_iter().for_each(|made| made.unwrap());
        }
    }

    /// How many leases have failed at least once.
    async fn failing(&self) -> u64 {
        self.world.store.leases_failing().await.unwrap().iter().map(|f| f.count).sum()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_leases_of_a_slow_system_hold_up_no_quick_one() {
    let (slow_keys, quick_keys) = (Keys::default(), Keys::default());
    let sluggish = slow(slow_keys.clone(), watch::channel(true).1, Duration::from_secs(600)).await;
    let quick = slow(quick_keys.clone(), watch::channel(true).1, Duration::ZERO).await;
    let p = Place::with_keys(&sluggish).await;
    p.add("quick", &quick).await;
    // Those of the slow one are longer due.
    p.many("brief", 1000).await;
    p.many("quick", 5).await;
    assert_eq!((slow_keys.lock().unwrap().len(), quick_keys.lock().unwrap().len()), (1000, 5));
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let began = std::time::Instant::now();
    // The slow one is under way until its operation is given up, after 20 s.
    let still = || began.elapsed() < Duration::from_secs(18);
    // Two looks, as the janitor has them.
    assert!(p.leases.work(200).await.unwrap() > 5);
    let _ = p.leases.work(200).await.unwrap();
    until(|| quick_keys.lock().unwrap().is_empty()).await;
    assert_eq!(slow_keys.lock().unwrap().len(), 1000);
    // Nobody writes to those that wait.
    let waiting = p.world.store.leases_by_prefix("at/creds/brief/", "", 2000).await.unwrap();
    let active = waiting.iter().filter(|row| row.state == LeaseState::Active).count();
    assert!(active == 999 || !still(), "one is under way, {active} wait");
    p.many("quick", 3).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let found = p.leases.work(200).await.unwrap();
    assert!(found == 3 || !still(), "the slow one is not even looked at, but {found} were found");
    until(|| quick_keys.lock().unwrap().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_that_nobody_tried_to_withdraw_have_not_failed() {
    let keys = Keys::default();
    let provider = slow(keys.clone(), watch::channel(true).1, Duration::ZERO).await;
    let p = Place::with_keys(&provider).await;
    p.many("brief", 20).await;
    drop(provider);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(p.leases.work(200).await.unwrap(), 20);
    for _ in 0..12_000 {
        if p.failing().await > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(p.failing().await, 1, "one found out");
}

#[tokio::test]
async fn a_login_is_taken_away_where_it_was_made() {
    let all: [Keys; 3] = Default::default();
    let mut providers = Vec::new();
    for keys in &all {
        providers.push(slow(keys.clone(), watch::channel(true).1, Duration::ZERO).await);
    }
    let count = || [0, 1, 2].map(|at| all[at].lock().unwrap().len());
    let p = Place::with_keys(&providers[0]).await;
    let told = p.ok(Read, "config/api", json!({})).await;
    let moved = async |to: usize, more: &[(&str, Value)]| {
        let mut description = told["connection_details"]["description"].clone();
        description["base_url"] = providers[to].url().into();
        let mut data = json!({"description": description, "password": "x", "verify_connection": false});
        more.iter().for_each(|(name, value)| data[*name] = value.clone());
        p.ok(Write, "config/api", data).await;
    };
    let (first, second) = (p.issue(None, "a").await.unwrap(), p.issue(None, "a").await.unwrap());
    moved(1, &[]).await;
    let there = p.issue(None, "a").await.unwrap();
    assert_eq!(count(), [2, 1, 0]);
    p.leases.revoke(&actor(), &first.id).await.unwrap();
    assert_eq!(count(), [1, 1, 0], "not at the new place, where nobody knows it");
    // Further on, and back.
    moved(2, &[]).await;
    p.leases.revoke_prefix(&actor(), &there.id).await.unwrap();
    assert_eq!(count(), [1, 0, 0]);
    moved(0, &[]).await;
    let third = p.issue(None, "a").await.unwrap();
    p.leases.revoke(&actor(), &third.id).await.unwrap();
    assert_eq!(count(), [1, 0, 0]);
    // Where somebody says that the logins came along, the new place is asked.
    let carried = std::mem::take(&mut *all[0].lock().unwrap());
    all[1].lock().unwrap().extend(carried);
    moved(1, &[("logins_moved", json!(true))]).await;
    assert_eq!(count(), [0, 1, 0]);
    moved(2, &[]).await;
    p.leases.revoke(&actor(), &second.id).await.unwrap();
    assert_eq!(count(), [0, 0, 0]);
    moved(0, &[]).await;

    // A configuration that is deleted takes what it knew with it: nothing is asked for elsewhere, and it is told.
    let last = p.issue(None, "a").await.unwrap();
    p.ok(Delete, "config/api", json!({})).await;
    let whole = [("plugin_name", json!("http-database-plugin")), ("allowed_roles", json!("*"))];
    moved(1, &whole).await;
    let refused = p.leases.revoke(&actor(), &last.id).await.unwrap_err().to_string();
    assert!(refused.contains("the login was made at http at") && refused.contains("logins_moved"), "{refused}");
    assert_eq!(count(), [1, 0, 0]);
    moved(0, &[]).await;
    p.leases.revoke(&actor(), &last.id).await.unwrap();
    assert_eq!(count(), [0, 0, 0]);
    let last = p.issue(None, "a").await.unwrap();
    p.ok(Delete, "config/api", json!({})).await;
    let carried = std::mem::take(&mut *all[0].lock().unwrap());
    all[2].lock().unwrap().extend(carried);
    let [plugin, roles] = whole;
    moved(2, &[plugin, roles, ("logins_moved", json!(true))]).await;
    p.leases.revoke(&actor(), &last.id).await.unwrap();
    assert_eq!(count(), [0, 0, 0]);
}
