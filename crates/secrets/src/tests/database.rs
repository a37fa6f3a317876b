//! Logins at a real PostgreSQL: made, used, renewed, withdrawn; withdrawn also where something failed.

mod clock;
mod listed;
mod passwords;

use super::*;
use crate::engine::database::Deed;
use crate::lease::{Done, Fault, Holder, Leases};
use credentialflow_egress::PrivateHosts;
use credentialflow_model::Timestamp;
use credentialflow_store::LeaseState;
use credentialflow_testkit::postgres::Cluster;
use std::sync::{Arc, OnceLock};

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let cluster = Cluster::start().unwrap();
        cluster.ask_for_passwords().unwrap();
        cluster
    })
}

struct Database {
    world: World,
    leases: Arc<Leases>,
    url: String,
}

fn holder() -> Holder {
    Holder {
        actor: actor(),
        accessor: "accessor-1".into(),
        token: None,
        entity: String::new(),
        application: String::new(),
        origin: String::new(),
        display_name: "token-web".into(),
    }
}

impl Database {
    async fn new() -> Self {
        Self::over(World::new().await).await
    }

    async fn over(world: World) -> Self {
        let url = cluster().create_database().unwrap();
        world.mount("db", "database").await;
        let leases = Arc::new(Leases::new(world.vault.clone(), world.store.clone(), PrivateHosts::default()));
        let d = Self { world, leases, url: url.clone() };
        let connection = format!("{}{}sslmode=disable", url, if url.contains('?') { '&' } else { '?' });
        let config = json!({"plugin_name": "postgresql-database-plugin", "connection_url": connection, "allowed_roles": "reader,short"});
        d.ok(Write, "db/config/main", config).await;
        let create = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";
        for (role, ttl) in [("reader", "1h"), ("short", "1s"), ("forbidden", "1h")] {
            let body = json!({"db_name": "main", "creation_statements": create, "default_ttl": ttl, "max_ttl": "2h"});
            d.ok(Write, &format!("db/roles/{role}"), body).await;
        }
        d
    }

    /// As a client asks: deeds are done, the rest is answered from what is stored.
    async fn call(&self, operation: Operation, path: &str, data: Value) -> Result<Value> {
        let mount = self.mount().await;
        let engine = Engine::of(&mount).unwrap();
        let Some(deed) = engine.deed(operation, path.strip_prefix("db/").unwrap()) else {
            return self.world.call(operation, path, data).await;
        };
        let Value::Object(data) = data else { panic!("an object") };
        match self.leases.perform(&holder(), &mount, &deed, &data, &json!({})).await? {
            Done::Issued(issued) => Ok(serde_json::from_slice(issued.data.expose()).unwrap()),
            Done::Reply(_) => Ok(Value::Null),
        }
    }

    async fn ok(&self, operation: Operation, path: &str, data: Value) -> Value {
        self.call(operation, path, data).await.unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    /// Statements as the cluster's superuser.
    fn sql(&self, sql: &str) -> String {
        cluster().sql("postgres", sql).unwrap().trim().to_owned()
    }

    fn roles(&self, beginning: &str) -> String {
        self.sql(&format!("SELECT count(*) FROM pg_roles WHERE rolname LIKE '{beginning}%'"))
    }

    fn here(&self) -> String {
        format!("{}{}sslmode=disable", self.url, if self.url.contains('?') { '&' } else { '?' })
    }

    async fn mount(&self) -> Mount {
        let mut txn = self.world.txn();
        self.world.mounts.table(&mut txn).await.unwrap().secret["db/"].clone()
    }

    async fn issue(&self, role: &str) -> Result<(String, String, String)> {
        let issued = self.leases.issue(&holder(), &self.mount().await, role).await?;
        let data: Value = serde_json::from_slice(issued.data.expose()).unwrap();
        let text = |name: &str| data[name].as_str().unwrap().to_owned();
        Ok((issued.id, text("username"), text("password")))
    }

    async fn logs_in(&self, username: &str, password: &str) -> bool {
        let database = self.url.rsplit('/').next().unwrap().split('?').next().unwrap();
        cluster().sql_as(username, password, database, "SELECT 1").is_ok()
    }
}

#[tokio::test]
async fn a_login_works_until_its_lease_is_revoked() {
    let d = Database::new().await;
    let (id, username, password) = d.issue("reader").await.unwrap();
    assert!(id.starts_with("db/creds/reader/"));
    assert!(d.logs_in(&username, &password).await);
    assert!(!d.logs_in(&username, "wrong").await);
    let told = d.leases.lookup(&id).await.unwrap().unwrap();
    assert!(told.renewable && (3400..=3600).contains(&told.ttl), "{told:?}");
    let told = d.leases.renew(&actor(), &id, 9 * 3600).await.unwrap().unwrap();
    assert!((7000..=7200).contains(&told.ttl), "no longer than its role allows: {told:?}");
    assert_eq!(d.leases.list("db/creds").await.unwrap().0, ["reader/"]);
    assert!(d.leases.revoke(&actor(), &id).await.unwrap());
    assert!(!d.logs_in(&username, &password).await);
    assert!(!d.leases.revoke(&actor(), &id).await.unwrap());
    assert_eq!(d.leases.lookup(&id).await.unwrap(), None);
    assert!(d.leases.renew(&actor(), &id, 0).await.unwrap().is_none());
    assert!(d.issue("forbidden").await.is_err(), "a role the database does not name");
    assert!(d.issue("nobody").await.is_err());
}

#[tokio::test]
async fn a_password_in_a_connection_string_is_not_told_back() {
    let d = Database::new().await;
    for (plugin, text) in [
        ("postgresql", "postgresql://admin:S3cret@db/orders"),
        ("postgresql", "postgresql://admin@db/orders?password=S3cret"),
        ("postgresql", "postgresql://admin:{{password}}@db/orders?password=p@S3cret"),
        ("postgresql", "host=db dbname=orders user=a password=pa@S3cret"),
        ("mysql", "admin:pa@S3cret@tcp(db)/orders"),
        ("mysql", "admin@tcp(db)/orders?password=S3cret"),
    ] {
        let config = json!({"plugin_name": format!("{plugin}-database-plugin"), "connection_url": text, "verify_connection": false});
        d.ok(Write, "db/config/shown", config).await;
        let told = d.ok(Read, "db/config/shown", json!({})).await.to_string();
        assert!(!told.contains("S3cret") && told.contains("db") && told.contains("orders"), "{text}: {told}");
        d.ok(Operation::Delete, "db/config/shown", json!({})).await;
    }
    let told = d.ok(Read, "db/config/main", json!({})).await;
    assert!(told["connection_details"]["connection_url"].as_str().unwrap().contains("sslmode=disable"), "{told}");
}

#[tokio::test]
async fn what_ends_by_itself_is_withdrawn_also_when_its_role_is_gone() {
    let d = Database::new().await;
    let (id, username, password) = d.issue("short").await.unwrap();
    let (kept, other, secret) = d.issue("reader").await.unwrap();
    d.ok(Delete, "db/roles/short", json!({})).await;
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    assert_eq!(d.leases.lookup(&id).await.unwrap(), None, "its time is over before anybody works on it");
    assert_eq!(d.leases.work(100).await.unwrap(), 1);
    assert!(!d.logs_in(&username, &password).await);
    assert!(d.world.store.lease(&id).await.unwrap().is_none());
    assert!(d.logs_in(&other, &secret).await);
    assert_eq!(d.leases.revoke_prefix(&actor(), "db/creds/").await.unwrap(), 1);
    assert!(!d.logs_in(&other, &secret).await);
    assert!(d.world.store.lease(&kept).await.unwrap().is_none());
}

#[tokio::test]
async fn a_revocation_that_fails_stands_and_is_tried_again() {
    let d = Database::new().await;
    let (id, username, password) = d.issue("reader").await.unwrap();
    let (other, ..) = d.issue("reader").await.unwrap();
    // The database goes away: its configuration points nowhere, and says that this is where its logins are.
    let nowhere = "postgresql://x:y@127.0.0.1:1/x?sslmode=disable";
    d.ok(Write, "db/config/main", json!({"connection_url": nowhere, "verify_connection": false, "logins_moved": true}))
        .await;
    assert!(d.leases.revoke(&actor(), &id).await.is_err());
    let row = d.world.store.lease(&id).await.unwrap().unwrap();
    assert_eq!((row.state, row.attempts), (LeaseState::Revoking, 1));
    assert!(row.next_attempt.unwrap() > d.world.store.now());
    assert_eq!(d.leases.lookup(&id).await.unwrap(), None, "nobody is told that it still lives");
    let here = format!("{}{}sslmode=disable", d.url, if d.url.contains('?') { '&' } else { '?' });
    d.ok(Write, "db/config/main", json!({ "connection_url": here, "logins_moved": true})).await;
    assert!(d.leases.revoke(&actor(), &id).await.unwrap());
    assert!(!d.logs_in(&username, &password).await);
    assert_eq!(d.leases.forget(&actor(), "db/").await.unwrap(), 1);
    assert!(d.world.store.lease(&other).await.unwrap().is_none());
}

#[tokio::test]
async fn a_login_that_cannot_be_made_leaves_nothing() {
    let d = Database::new().await;
    let body = json!({"db_name": "main", "creation_statements": "CREATE ROLE \"{{name}}\"; SELECT nonsense"});
    d.ok(Write, "db/roles/reader", body).await;
    assert!(matches!(d.issue("reader").await, Err(SecretsError::Invalid(_))));
    assert!(d.world.store.leases_by_prefix("db/", "", 10).await.unwrap().is_empty());
    let told = d.ok(Read, "db/config/main", json!({})).await;
    assert!(!told.to_string().contains("password\":\""), "{told}");
}

#[tokio::test]
async fn a_flood_is_refused_before_it_reaches_the_database() {
    let d = Database::new().await;
    let mount = d.mount().await;
    // While they are asked for, more become free: on a slow machine it takes more to be a flood.
    let mut refused = 0;
    for _ in 0..5000 {
        match d.leases.issue(&holder(), &mount, "nobody").await {
            Err(SecretsError::Busy(_)) => refused += 1,
            _ => continue,
        }
        if refused > 20 {
            break;
        }
    }
    assert!(refused > 20, "{refused}");
    let other = Holder { accessor: "accessor-2".into(), ..holder() };
    assert!(!matches!(d.leases.issue(&other, &mount, "nobody").await, Err(SecretsError::Busy(_))));
    // Another login of the same role is the same caller.
    let mut busy = false;
    for login in 0..5000 {
        let accessor = format!("accessor-of-login-{login}");
        let again = Holder { accessor, entity: "entity-web".into(), ..holder() };
        busy |= matches!(d.leases.issue(&again, &mount, "nobody").await, Err(SecretsError::Busy(_)));
        if busy {
            break;
        }
    }
    assert!(busy);
    // Nor is a token that the caller made.
    let mut busy = false;
    for child in 0..5000 {
        let made = Holder { accessor: format!("accessor-of-child-{child}"), origin: "maker".into(), ..holder() };
        busy |= matches!(d.leases.issue(&made, &mount, "nobody").await, Err(SecretsError::Busy(_)));
        if busy {
            break;
        }
    }
    assert!(busy);
}

#[tokio::test]
async fn who_does_not_wait_for_a_revocation_does_not_stop_it() {
    let d = Database::new().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(d.issue("reader").await.unwrap());
    }
    // As when a client hangs up.
    let _ = tokio::time::timeout(std::time::Duration::from_millis(1), d.leases.revoke_prefix(&actor(), "db/")).await;
    for _ in 0..6000 {
        if d.world.store.leases_by_prefix("db/", "", 10).await.unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    for (id, username, password) in &made {
        assert!(d.world.store.lease(id).await.unwrap().is_none() && !d.logs_in(username, password).await);
    }
}

/// Hours by which the clock of `a_world_with_a_clock` is ahead.
static AHEAD: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(0);

/// One test at a time moves that clock.
static CLOCK: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn clock() -> Timestamp {
    let now = Timestamp::from(std::time::SystemTime::now());
    Timestamp::from_micros(now.micros() + AHEAD.load(std::sync::atomic::Ordering::SeqCst) * 1_000_000)
}

async fn a_world_with_a_clock() -> World {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("s.db").display());
    let store = Store::connect_with_clock(&url, clock).await.unwrap();
    store.migrate().await.unwrap();
    let input = SealInput::Environment(SecretValue::from("a passphrase of a test"));
    let vault = Vault::init(&store, &Actor::operator(), input).await.unwrap().vault;
    let world = World { store, vault, mounts: Mounts::default(), dir };
    world.txn().commit().await.unwrap();
    world
}

/// Waits until there is nothing due and nothing under way.
async fn worked_off(d: &Database) {
    for _ in 0..100 {
        let found = d.leases.work(100).await.unwrap();
        if found == 0 {
            return;
        }
    }
    panic!("there is always something due");
}

/// Makes logins slowly: the role is there for others only when the statement after it has ended.
async fn slow_role(d: &Database) {
    let slow = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'; SELECT pg_sleep(6)";
    d.ok(Write, "db/roles/reader", json!({"db_name": "main", "creation_statements": slow})).await;
    d.ok(Write, "db/config/main", json!({"username_template": "slow-{{.RoleName}}-{{random 12}}"})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_revoked_while_its_login_is_made_leaves_no_login() {
    let d = Arc::new(Database::new().await);
    slow_role(&d).await;
    let making = tokio::spawn({
        let d = d.clone();
        async move { d.issue("reader").await.map(|(id, name, _)| (id, name)) }
    });
    let row = loop {
        if let Some(row) = d.world.store.leases_by_prefix("db/", "", 1).await.unwrap().pop() {
            break row;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    assert_eq!(row.state, LeaseState::Pending);
    // Its role is made, and nobody else can see it yet.
    let under_way =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(6)%' AND pid <> pg_backend_pid()";
    while d.sql(under_way) != "1" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(d.leases.revoke(&actor(), &row.id).await.unwrap());
    assert!(d.world.store.lease(&row.id).await.unwrap().is_some(), "it stays while its login may still come");
    let refused = making.await.unwrap().unwrap_err();
    assert!(refused.to_string().contains("revoked while"), "{refused}");
    assert_eq!(d.roles("slow-reader"), "0");
    assert!(d.world.store.leases_by_prefix("db/", "", 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_a_crash_leaves_is_found_by_its_lease() {
    let _clock = CLOCK.lock().await;
    for (fault, revoked) in
        [(Fault::LeaseBegun, false), (Fault::LoginMade, false), (Fault::LeaseBegun, true), (Fault::LoginMade, true)]
    {
        AHEAD.store(0, std::sync::atomic::Ordering::SeqCst);
        let d = Database::over(a_world_with_a_clock().await).await;
        let template = format!("crash{}-{{{{random 12}}}}", d.url.rsplit('/').next().unwrap());
        d.ok(Write, "db/config/main", json!({ "username_template": template })).await;
        let beginning = template.split('{').next().unwrap();
        d.leases.crash_at(fault);
        assert!(d.issue("reader").await.is_err());
        assert_eq!(d.roles(beginning), if fault == Fault::LoginMade { "1" } else { "0" });
        let row = d.world.store.leases_by_prefix("db/", "", 1).await.unwrap().pop().unwrap();
        assert_eq!(d.leases.lookup(&row.id).await.unwrap(), None);
        if revoked {
            // Also at once; the lease itself waits until nobody can be making a login any more.
            assert!(d.leases.revoke(&actor(), &row.id).await.unwrap());
            assert_eq!(d.roles(beginning), "0");
            assert!(d.world.store.lease(&row.id).await.unwrap().is_some());
        }
        assert_eq!(d.leases.work(10).await.unwrap(), 0, "{fault:?}: nothing is due yet");
        AHEAD.store(121, std::sync::atomic::Ordering::SeqCst);
        worked_off(&d).await;
        assert_eq!(d.roles(beginning), "0", "{fault:?} {revoked}");
        assert!(d.world.store.lease(&row.id).await.unwrap().is_none(), "{fault:?} {revoked}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_holds_up_no_other_and_is_told() {
    let d = Database::new().await;
    // Takes connections and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = format!("postgresql://x:y@{}/x?sslmode=disable", silent.local_addr().unwrap());
    let there = json!({"plugin_name": "postgresql-database-plugin", "connection_url": d.here(), "allowed_roles": "*"});
    d.ok(Write, "db/config/other", there).await;
    let create = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'";
    let role = json!({"db_name": "other", "creation_statements": create, "default_ttl": "1s", "max_ttl": "1h"});
    d.ok(Write, "db/roles/brief", role).await;
    let mut lost = Vec::new();
    for _ in 0..12 {
        lost.push(d.issue("brief").await.unwrap());
    }
    let (kept, username, password) = d.issue("short").await.unwrap();
    d.ok(Write, "db/config/other", json!({"connection_url": dead, "verify_connection": false, "logins_moved": true}))
        .await;
    // Neither the role nor a second try is needed to withdraw a login.
    d.ok(Delete, "db/roles/brief", json!({})).await;
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    let begun = std::time::Instant::now();
    while d.world.store.lease(&kept).await.unwrap().is_some() {
        d.leases.work(200).await.unwrap();
        assert!(begun.elapsed() < std::time::Duration::from_secs(120));
    }
    let brief = async || d.world.store.leases_by_prefix("db/creds/brief/", "", 100).await.unwrap();
    assert!(brief().await.iter().any(|r| r.attempts == 0), "the dead database held up the other one");
    assert!(!d.logs_in(&username, &password).await);
    let rows = loop {
        let rows = brief().await;
        if rows.iter().any(|r| r.attempts >= 1) {
            break rows;
        }
        d.leases.work(200).await.unwrap();
        assert!(begun.elapsed() < std::time::Duration::from_secs(120));
    };
    assert_eq!(rows.len(), 12);
    assert!(rows.iter().filter(|r| r.attempts > 0).count() <= 3, "who was not tried has not failed");
    // Each waits for its own time, and one that failed often asks for a person.
    let nobody = "postgresql://x:y@127.0.0.1:1/x?sslmode=disable";
    d.ok(Write, "db/config/other", json!({"connection_url": nobody, "verify_connection": false, "logins_moved": true}))
        .await;
    for (id, ..) in &lost[..2] {
        for _ in 0..8 {
            let error = d.leases.revoke(&actor(), id).await.unwrap_err();
            assert!(error.to_string().contains("it is tried again"), "{error}");
            if d.leases.irrevocable(10).await.unwrap().iter().any(|t| t.id == *id) {
                break;
            }
            // Not the whole silence each time.
            let refused = d.leases.revoke_prefix(&actor(), id).await.unwrap_err();
            assert!(refused.to_string().contains("it is tried again"), "{refused}");
        }
    }
    assert_eq!(d.leases.irrevocable_counts().await.unwrap(), [("db/".to_owned(), 2)].into());
    let told = d.leases.irrevocable(10).await.unwrap();
    assert!(told.iter().all(|t| t.error.contains("reached") || t.error.contains("in time")), "{told:?}");
    // The database is back: what is left ends with one word.
    d.ok(Write, "db/config/other", json!({"connection_url": d.here(), "logins_moved": true})).await;
    assert_eq!(d.leases.revoke_prefix(&actor(), "db/").await.unwrap(), 12);
    for (_, username, password) in &lost {
        assert!(!d.logs_in(username, password).await);
    }
    assert!(d.leases.irrevocable_counts().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_lease_whose_database_was_deleted_is_told_and_ends_when_it_is_back() {
    let d = Database::new().await;
    let (id, username, password) = d.issue("reader").await.unwrap();
    d.ok(Delete, "db/config/main", json!({})).await;
    let error = d.leases.revoke(&actor(), &id).await.unwrap_err();
    assert!(error.to_string().starts_with("there is no database named \"main\""), "{error}");
    assert!(d.leases.renew(&actor(), &id, 60).await.unwrap().is_none(), "its revocation stands");
    let back = json!({"plugin_name": "postgresql-database-plugin", "connection_url": d.here()});
    d.ok(Write, "db/config/main", back).await;
    assert!(d.leases.revoke(&actor(), &id).await.unwrap());
    assert!(!d.logs_in(&username, &password).await);
}

#[test]
fn only_what_is_asked_of_a_database_is_a_deed() {
    let check = |operation, path: &str, expected: Option<Deed>| {
        assert_eq!(crate::engine::database::deed(operation, path), expected, "{path}");
    };
    check(Read, "creds/a", Some(Deed::Login("a".into())));
    check(Write, "rotate-root/a", Some(Deed::RotateRoot("a".into())));
    for (operation, path) in
        [(Read, "creds/"), (Write, "creds/a"), (Read, "config/a"), (Read, "rotate-root/a"), (Write, "roles/a")]
    {
        check(operation, path, None);
    }
}
