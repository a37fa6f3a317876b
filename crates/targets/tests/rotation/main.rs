//! Rotations of real logins, by runners that die anywhere, looked at with the systems' own clients.
#![allow(clippy::unwrap_used)]

use credentialflow_model::{
    Actor, Name, Period, SecretValue,
    lifecycle::RotationStep,
    resource::{Credential, Engine, Resource, System},
};
use credentialflow_store::{Expect, Store};
use credentialflow_targets::Logins;
use credentialflow_testkit::{mariadb::Mariadb, postgres::Cluster};
use credentialflow_vault::{
    RotationRunner, SealInput, Vault,
    engine::{BoxFuture, DatabaseLogin},
    rotation::{Held, Publisher, RefusalCounts, RunnerRules, Traffic, VerifyOutcome, WatchRules},
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Rotations as the server runs them, without a gateway.
struct Ports(Logins);

impl credentialflow_vault::rotation::Target for Ports {
    fn install<'a>(&'a self, credential: &'a Name, held: Held<'a>) -> BoxFuture<'a, VerifyOutcome> {
        Box::pin(self.0.install(credential, held))
    }
    fn retire<'a>(
        &'a self,
        credential: &'a Name,
        held: Held<'a>,
        kept: Option<Held<'a>>,
    ) -> BoxFuture<'a, VerifyOutcome> {
        Box::pin(self.0.retire(credential, held, kept))
    }
    fn verify<'a>(&'a self, credential: &'a Name, held: Held<'a>) -> BoxFuture<'a, VerifyOutcome> {
        Box::pin(self.0.verify(credential, held))
    }
}

impl Traffic for Ports {
    fn in_flight<'a>(&'a self, credential: &'a Name, version: u32) -> BoxFuture<'a, u64> {
        Box::pin(self.0.sessions(credential, version))
    }
    fn refused_since<'a>(&'a self, _: &'a Name, _: u32) -> BoxFuture<'a, RefusalCounts> {
        Box::pin(async { RefusalCounts::default() })
    }
}

impl Publisher for Ports {
    fn publish(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}

struct World {
    store: Store,
    vault: Vault,
    credential: Credential,
    _dir: tempfile::TempDir,
}

fn seal() -> SealInput {
    SealInput::Passphrase(SecretValue::from("correct horse battery staple"))
}

impl World {
    async fn new(target: serde_json::Value, administrator: &str, rule: serde_json::Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::connect(&format!("sqlite:{}", dir.path().join("state.db").display())).await.unwrap();
        store.migrate().await.unwrap();
        let vault = Vault::init(&store, &Actor::operator(), seal()).await.unwrap().vault;
        let read = |json: serde_json::Value| serde_json::from_value::<Credential>(json).unwrap();
        let admin = read(serde_json::json!({ "name": "orders-admin", "engine": "static" }));
        let credential = read(serde_json::json!({ "name": "orders-db", "engine": "database", "database": rule }));
        let mut tx = store.begin(&Actor::operator()).await.unwrap();
        let system: System = serde_json::from_value(target).unwrap();
        let body = serde_json::to_string(&system).unwrap();
        tx.put_resource(System::KIND, &system.name, &body, Expect::Absent).await.unwrap();
        for one in [&admin, &credential] {
            let body = serde_json::to_string(one).unwrap();
            tx.put_resource(Credential::KIND, &one.name, &body, Expect::Absent).await.unwrap();
        }
        vault.create_credential_in(&mut tx, &admin, Some(SecretValue::from(administrator))).await.unwrap();
        vault.create_credential_in(&mut tx, &credential, None).await.unwrap();
        tx.commit().await.unwrap();
        Self { store, vault, credential, _dir: dir }
    }

    /// A runner as after a start of the process.
    fn runner(&self) -> RotationRunner {
        let ports = Arc::new(Ports(Logins::new(self.store.clone(), self.vault.clone())));
        let quick =
            WatchRules { window: Period::from_millis(20), quiet: Period::from_millis(10), ..Default::default() };
        let rules = RunnerRules { watch: quick, tick: Period::from_millis(5), ..RunnerRules::default() };
        RotationRunner::new(self.vault.clone(), ports.clone(), ports.clone(), ports, rules)
    }

    /// Runs a fresh runner for a while and lets it die in the middle of whatever it does.
    async fn run_and_die(&self, after: Duration) {
        let runner = self.runner();
        let life = tokio::spawn(async move { runner.run(std::future::pending()).await });
        tokio::time::sleep(after).await;
        life.abort();
        let _ = life.await;
    }

    /// Runs a fresh runner until the rotation is at a step and for a while longer, and lets it die.
    async fn run_to(&self, step: RotationStep) {
        let runner = self.runner();
        let life = tokio::spawn(async move { runner.run(std::future::pending()).await });
        for _ in 0..12_000 {
            if self.store.rotations("orders-db", 1).await.unwrap()[0].step == step {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        life.abort();
        let _ = life.await;
    }

    async fn finish(&self) -> RotationStep {
        let runner = self.runner();
        for _ in 0..12_000 {
            runner.run_once(SystemTime::now().into()).await.unwrap();
            let latest = self.store.rotations("orders-db", 1).await.unwrap().remove(0);
            if latest.step.is_finished() {
                assert!(latest.step == RotationStep::Done || latest.error.is_some());
                return latest.step;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the rotation does not end: {:?}", self.store.rotations("orders-db", 1).await.unwrap());
    }

    async fn rotate(&self) {
        self.vault.start_rotation(&Actor::operator(), &self.credential, None, None).await.unwrap();
    }

    async fn current(&self) -> DatabaseLogin {
        DatabaseLogin::read(&self.vault.current_value(&self.credential.name).await.unwrap()).unwrap()
    }
}

fn postgres() -> (Cluster, serde_json::Value) {
    let cluster = Cluster::start().unwrap();
    cluster.ask_for_passwords().unwrap();
    let sql = "CREATE ROLE admin LOGIN CREATEROLE PASSWORD 'admin-password'; CREATE ROLE app LOGIN PASSWORD 'of-old'; \
               CREATE TABLE orders (n int); GRANT SELECT ON orders TO app; INSERT INTO orders VALUES (7)";
    cluster.sql("postgres", sql).unwrap();
    let target = serde_json::json!({ "name": "orders-pg", "system": "postgresql", "host": "127.0.0.1",
        "port": cluster.port(), "database": "postgres", "username": "admin", "credential": "orders-admin" });
    (cluster, target)
}

fn works(cluster: &Cluster, login: &DatabaseLogin) -> bool {
    let password = login.password.expose_str().unwrap();
    cluster.sql_as(&login.username, password, "postgres", "SELECT n FROM orders").is_ok()
}

/// The drill: twenty deaths in a rotation of alternating logins; at every moment the stored password
/// works, and in the end there are the two logins and no other.
#[tokio::test(flavor = "multi_thread")]
async fn alternating_logins_work_at_every_moment_however_often_the_process_dies() {
    let (cluster, target) = postgres();
    let create = "CREATE ROLE {{name}} LOGIN PASSWORD '{{password}}' IN ROLE app";
    let rule = serde_json::json!({ "target": "orders-pg", "username": "app", "alternate": true, "create": [create] });
    let world = World::new(target, "admin-password", rule).await;
    assert_eq!(world.finish().await, RotationStep::Done);
    let first = world.current().await;
    assert!(first.username == "app" && works(&cluster, &first));
    assert!(cluster.sql_as("app", "of-old", "postgres", "SELECT 1").is_err());
    let mut expect = ["app_alt", "app"].into_iter().cycle();
    for round in 0u64..5 {
        let before = world.current().await;
        world.rotate().await;
        for death in 0u64..4 {
            world.run_and_die(Duration::from_millis(3 + (round * 37 + death * 53) % 90)).await;
            assert!(works(&cluster, &world.current().await), "round {round}, death {death}");
        }
        assert_eq!(world.finish().await, RotationStep::Done);
        let now = world.current().await;
        assert_eq!(Some(now.username.as_str()), expect.next());
        assert!(works(&cluster, &now) && !works(&cluster, &before), "round {round}");
    }
    let roles = "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolcanlogin";
    assert_eq!(cluster.sql("postgres", roles).unwrap().trim(), "admin app app_alt postgres");
    let told = cluster.log();
    assert!(!told.contains(first.password.expose_str().unwrap()), "a password stands in the server's log");
}

/// The old login's sessions are the traffic that is drained.
#[tokio::test(flavor = "multi_thread")]
async fn the_old_login_works_until_its_last_session_ends() {
    let (cluster, target) = postgres();
    cluster.sql("postgres", "CREATE ROLE app_two LOGIN IN ROLE app").unwrap();
    let rule = serde_json::json!({ "target": "orders-pg", "username": "app", "alternate": true, "second": "app_two" });
    let world = World::new(target, "admin-password", rule).await;
    assert_eq!(world.finish().await, RotationStep::Done);
    let before = world.current().await;
    let mut session = std::process::Command::new("psql")
        .args(["-h", "127.0.0.1", "-p", &cluster.port().to_string(), "-U", "app", "-d", "postgres", "-X"])
        .env("PGPASSWORD", before.password.expose_str().unwrap())
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while cluster.sql("postgres", "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'").unwrap().trim() != "1"
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.rotate().await;
    world.run_to(RotationStep::Drain).await;
    assert_eq!(world.store.rotations("orders-db", 1).await.unwrap()[0].step, RotationStep::Drain);
    assert!(works(&cluster, &before) && works(&cluster, &world.current().await));
    drop(session.stdin.take());
    assert!(session.wait().unwrap().success());
    assert_eq!(world.finish().await, RotationStep::Done);
    assert!(!works(&cluster, &before) && works(&cluster, &world.current().await));
}

/// Revoking takes the password away where it is accepted, with one login and with two.
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_password_is_over_at_the_target() {
    for alternate in [true, false] {
        let (cluster, target) = postgres();
        cluster.sql("postgres", "CREATE ROLE app_alt LOGIN IN ROLE app").unwrap();
        let rule = serde_json::json!({ "target": "orders-pg", "username": "app", "alternate": alternate });
        let world = World::new(target, "admin-password", rule).await;
        assert_eq!(world.finish().await, RotationStep::Done);
        let leaked = world.current().await;
        assert!(works(&cluster, &leaked));
        world.vault.revoke_credential(&Actor::operator(), &world.credential.name, None).await.unwrap();
        world.run_and_die(Duration::from_millis(30)).await;
        assert_eq!(world.finish().await, RotationStep::Done);
        assert!(!works(&cluster, &leaked) && works(&cluster, &world.current().await), "alternate: {alternate}");
        // In the middle of a rotation: it is taken back, and neither password is left.
        world.rotate().await;
        world.run_and_die(Duration::from_millis(40)).await;
        let leaked = world.current().await;
        world.vault.revoke_credential(&Actor::operator(), &world.credential.name, None).await.unwrap();
        world.finish().await;
        assert!(!works(&cluster, &leaked), "alternate: {alternate}");
    }
}

/// A login that does not exist, then one the server does not let in: the old one stays.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_target_refuses_is_taken_back() {
    let (cluster, target) = postgres();
    let rule = serde_json::json!({ "target": "orders-pg", "username": "app", "alternate": true });
    let world = World::new(target, "admin-password", rule).await;
    assert_eq!(world.finish().await, RotationStep::Done);
    world.rotate().await;
    assert_eq!(world.finish().await, RotationStep::RolledBack);
    let error = world.store.rotations("orders-db", 1).await.unwrap()[0].error.clone().unwrap();
    assert!(error.contains("no login app_alt"), "{error}");
    assert!(works(&cluster, &world.current().await));
    cluster.sql("postgres", "CREATE ROLE app_alt NOLOGIN IN ROLE app").unwrap();
    world.rotate().await;
    assert_eq!(world.finish().await, RotationStep::RolledBack);
    let now = world.current().await;
    assert!(now.username == "app" && works(&cluster, &now));
}

/// A target that is away holds its rotation up, not for good.
#[tokio::test(flavor = "multi_thread")]
async fn one_login_and_a_target_that_is_away_for_a_while() {
    let server = Mariadb::start().unwrap();
    server.sql("CREATE USER app@'%' IDENTIFIED BY 'of-old'; GRANT SELECT ON shop.* TO app@'%'").unwrap();
    let target = serde_json::json!({ "name": "shop", "system": "mysql", "host": "127.0.0.1", "port": server.port(),
        "username": Mariadb::ADMIN.0, "credential": "orders-admin" });
    let rule = serde_json::json!({ "target": "shop", "username": "app" });
    let world = World::new(target, Mariadb::ADMIN.1, rule).await;
    assert_eq!(world.finish().await, RotationStep::Done);
    let works = |login: &DatabaseLogin| {
        server.sql_as(&login.username, login.password.expose_str().unwrap(), "SELECT 1").is_ok()
    };
    let before = world.current().await;
    assert!(works(&before) && server.sql_as("app", "of-old", "SELECT 1").is_err());
    server.stop().unwrap();
    world.rotate().await;
    world.run_to(RotationStep::Verify).await;
    assert_eq!(world.store.rotations("orders-db", 1).await.unwrap()[0].step, RotationStep::Verify);
    server.resume().unwrap();
    for death in 0..6 {
        world.run_and_die(Duration::from_millis(4 + death * 11)).await;
    }
    assert_eq!(world.finish().await, RotationStep::Done);
    assert!(works(&world.current().await) && !works(&before));
}

/// The administrator's own password, which the target is reached with while it changes.
#[tokio::test(flavor = "multi_thread")]
async fn the_administrators_own_password_is_rotated() {
    let (cluster, mut target) = postgres();
    cluster.sql("postgres", "GRANT SELECT ON orders TO admin").unwrap();
    target["credential"] = serde_json::json!("orders-db");
    let rule = serde_json::json!({ "target": "orders-pg", "username": "admin" });
    let world = World::new(target, "unused", rule).await;
    // Its first value was handed in when the credential was still a static one.
    let pending = world.store.rotations("orders-db", 1).await.unwrap().remove(0);
    let mut tx = world.store.begin(&Actor::operator()).await.unwrap();
    world.vault.destroy_credential_in(&mut tx, &world.credential.name).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.finish().await, RotationStep::RolledBack, "{pending:?}");
    let mut given = world.credential.clone();
    given.engine = Engine::Static;
    let mut tx = world.store.begin(&Actor::operator()).await.unwrap();
    world.vault.create_credential_in(&mut tx, &given, Some(SecretValue::from("admin-password"))).await.unwrap();
    tx.commit().await.unwrap();
    for round in 0u64..3 {
        world.rotate().await;
        for death in 0u64..4 {
            world.run_and_die(Duration::from_millis(3 + (round * 31 + death * 23) % 60)).await;
        }
        assert_eq!(world.finish().await, RotationStep::Done);
        assert!(works(&cluster, &world.current().await));
    }
    assert!(cluster.sql_as("admin", "admin-password", "postgres", "SELECT 1").is_err());
}
