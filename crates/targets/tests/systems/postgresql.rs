use super::{a_name, assert_absent, certificate, create, secret, statements, text};
use credentialflow_model::{SecretValue, Timestamp};
use credentialflow_targets::{Kind, Server, Settings, Statements, Target, TargetError, Tls, Verdict, open, postgresql};
use credentialflow_testkit::postgres::Cluster;
use std::{
    process::{Command, Stdio},
    sync::{Arc, LazyLock},
    time::Duration,
};

pub(super) const VAULTS: &str = r#"CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';
    GRANT ALL ON SCHEMA public TO "{{name}}";"#;

pub(super) static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let cluster = Cluster::start().unwrap();
    cluster.ask_for_passwords().unwrap();
    // No superuser, as real installations have it.
    cluster.sql("postgres", "CREATE ROLE admin LOGIN CREATEROLE PASSWORD 'admin-password'").unwrap();
    cluster
});

pub(super) fn database() -> String {
    let url = CLUSTER.create_database().unwrap();
    let name = url.rsplit('/').next().unwrap().to_owned();
    CLUSTER.sql("postgres", &format!("ALTER DATABASE {name} OWNER TO admin")).unwrap();
    CLUSTER.sql(&name, "ALTER SCHEMA public OWNER TO admin").unwrap();
    name
}

fn settings(database: &str) -> postgresql::Settings {
    let server = Server::new("127.0.0.1", CLUSTER.port(), "admin", SecretValue::from("admin-password"));
    postgresql::Settings::new(server, database)
}

pub(super) fn target(database: &str) -> Arc<dyn Target> {
    open(Settings::Postgresql(settings(database))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_lives_as_its_lease_says() {
    let database = database();
    let target = target(&database);
    assert_eq!(target.kind(), Kind::Postgresql);
    assert!(target.check().await.unwrap().starts_with("15"));
    let (name, password, statements) = (a_name(&*target), secret(), statements(&[VAULTS]));
    let login = create(&*target, &name, &password, &statements).await.unwrap();
    let as_login = |password: &SecretValue, sql: &str| CLUSTER.sql_as(&name, text(password), &database, sql);

    // The real client is let in, and leaves something behind that it owns.
    assert_eq!(as_login(&password, "SELECT current_user").unwrap().trim(), name);
    as_login(&password, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)").unwrap();
    assert_eq!(target.verify(&login, &password).await.unwrap(), Verdict::Accepted);
    // Renewed, then over.
    target.renew(&login, Timestamp::from_secs(4_102_444_800), &statements).await.unwrap();
    let until =
        CLUSTER.sql("postgres", &format!("SELECT rolvaliduntil FROM pg_roles WHERE rolname = '{name}'")).unwrap();
    assert!(until.starts_with("2100-01-01") || until.starts_with("2099-12-31"), "{until}");
    target.renew(&login, Timestamp::from_secs(1), &statements).await.unwrap();
    assert!(matches!(target.verify(&login, &password).await.unwrap(), Verdict::Refused(_)));
    target.renew(&login, Timestamp::from_secs(4_102_444_800), &statements).await.unwrap();

    // Another password; running sessions go on, the old password is over.
    let second = secret();
    target.set_password(&login, &second, &statements).await.unwrap();
    assert!(as_login(&password, "SELECT 1").is_err());
    assert_eq!(as_login(&second, "SELECT n FROM kept").unwrap().trim(), "7");

    // Revoked: a running session ends, what it owned stays, and again is a success.
    let mut sleeper = Command::new("psql")
        .args(["-h", "127.0.0.1", "-p", &CLUSTER.port().to_string(), "-U", &name, "-d", &database])
        .args(["-X", "-c", "SELECT pg_sleep(300)"])
        .env("PGPASSWORD", text(&second))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It runs, and those before it are gone.
    let running = format!(
        "SELECT count(*) FILTER (WHERE query LIKE '%pg_sleep%') || ' of ' || count(*) FROM pg_stat_activity \
         WHERE usename = '{name}'"
    );
    while CLUSTER.sql("postgres", &running).unwrap().trim() != "1 of 1" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(target.sessions(&login).await.unwrap(), Some(1));
    let revoked = target.revoke(&login, &statements).await.unwrap();
    assert_eq!((revoked.existed, revoked.sessions), (true, Some(1)));
    assert!(!sleeper.wait().unwrap().success());
    assert!(as_login(&second, "SELECT 1").is_err());
    assert_eq!(
        CLUSTER.sql(&database, "SELECT tableowner FROM pg_tables WHERE tablename = 'kept'").unwrap().trim(),
        "admin"
    );

    // The server logs every statement; none of them had a password in it.
    let log = CLUSTER.log();
    assert!(log.contains("SCRAM-SHA-256$"), "the statements are logged");
    assert_absent(&log, &password, "the server's log");
    assert_absent(&log, &second, "the server's log");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_stay_names_whatever_is_in_them() {
    let database = database();
    let target = target(&database);
    CLUSTER.sql(&database, "CREATE TABLE canary (n int)").unwrap();
    for name in [r#"v"; DROP TABLE canary; --"#, "v'); DROP TABLE canary; --", "v $$ x $$"] {
        let (password, statements) = (secret(), statements(&[VAULTS]));
        let login = create(&*target, name, &password, &statements).await.unwrap();
        assert_eq!(CLUSTER.sql_as(name, text(&password), &database, "SELECT current_user").unwrap().trim(), name);
        target.set_password(&login, &secret(), &statements).await.unwrap();
        assert!(target.revoke(&login, &statements).await.unwrap().existed);
    }
    CLUSTER.sql(&database, "SELECT * FROM canary").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_leaves_nothing_and_tells_no_secret() {
    let database = database();
    let target = target(&database);
    let (name, password) = (a_name(&*target), secret());
    let failing = statements(&[VAULTS, "GRANT nobody_such TO \"{{name}}\""]);
    let error = create(&*target, &name, &password, &failing).await.unwrap_err();
    assert!(matches!(&error, TargetError::Refused(why) if why.contains("nobody_such")), "{error}");
    assert!(target.list(&name).await.unwrap().is_empty());
    let syntax = statements(&["CREATE ROLE \"{{name}}\" PASSWORD '{{password}}' '{{password}}' nonsense"]);
    let error = create(&*target, &name, &password, &syntax).await.unwrap_err();
    assert!(!error.to_string().contains("SCRAM"), "{error}");
    let none = create(&*target, &name, &password, &Statements::default()).await.unwrap_err();
    assert!(matches!(none, TargetError::BadTemplate(_)), "{none}");
    let mut wrong = settings(&database);
    wrong.server.password = SecretValue::from("wrong-admin-password");
    let error = open(Settings::Postgresql(wrong)).unwrap().check().await.unwrap_err();
    assert!(matches!(&error, TargetError::Refused(_)) && !error.to_string().contains("wrong-admin"), "{error}");
    // Statements of one's own for revocation, with a body of their own.
    let mut own = statements(&[VAULTS]);
    own.revocation = vec![r#"REVOKE ALL ON SCHEMA public FROM "{{name}}"; DO $$ BEGIN EXECUTE format('DROP ROLE %I', '{{name}}'); END $$;"#.into()];
    let login = create(&*target, &name, &password, &own).await.unwrap();
    assert!(target.revoke(&login, &own).await.unwrap().existed);
    assert!(!target.revoke(&login, &own).await.unwrap().existed);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_on_the_same_table() {
    let database = database();
    let target = target(&database);
    CLUSTER.sql(&database, "CREATE TABLE shared (n int)").unwrap();
    CLUSTER.sql(&database, "ALTER TABLE shared OWNER TO admin").unwrap();
    let (a, b) = (target.clone(), self::target(&database));
    let tasks: Vec<_> = (0..24)
        .map(|n| {
            let target = if n % 2 == 0 { a.clone() } else { b.clone() };
            tokio::spawn(async move {
                let statements = statements(&[VAULTS, "GRANT SELECT ON shared TO {{name}}"]);
                let login = create(&*target, &a_name(&*target), &secret(), &statements).await.unwrap();
                assert!(target.revoke(&login, &statements).await.unwrap().existed);
                login
            })
        })
        .collect();
    for task in tasks {
        let login = task.await.unwrap();
        assert!(target.list(&login.name).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_checked_and_kept_connections_may_die() {
    let cluster = Cluster::start().unwrap();
    let (certificate, key) = certificate();
    cluster.speak_tls(&certificate, &key).unwrap();
    cluster.sql("postgres", "ALTER ROLE postgres PASSWORD 'x'").unwrap();
    let with = |tls: Tls| {
        let mut server = Server::new("127.0.0.1", cluster.port(), "postgres", SecretValue::from("x"));
        server.tls = tls;
        open(Settings::Postgresql(postgresql::Settings::new(server, "postgres"))).unwrap()
    };
    let trusting = with(Tls::verify(Some(certificate)));
    assert!(trusting.check().await.is_ok());
    let encrypted =
        "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND application_name <> 'psql'";
    assert_eq!(cluster.sql("postgres", encrypted).unwrap().trim(), "1");
    let error = with(Tls::verify(Some(self::certificate().0))).check().await.unwrap_err();
    assert!(matches!(error, TargetError::Unreachable(_)), "{error}");
    let error = with(Tls::verify(None)).check().await.unwrap_err();
    assert!(matches!(error, TargetError::Unreachable(_)), "{error}");
    // The kept connection is dead, the next call makes a new one.
    cluster.restart().unwrap();
    assert!(trusting.check().await.is_ok());
    cluster.stop().unwrap();
    assert!(matches!(trusting.check().await, Err(TargetError::Unreachable(_))));
}
