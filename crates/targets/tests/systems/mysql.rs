use super::{a_name, assert_absent, create, secret, statements, text};
use credentialflow_model::{SecretValue, Timestamp};
use credentialflow_targets::{Login, PasswordForm, Server, Settings, Target, TargetError, Verdict, mysql, open};
use credentialflow_testkit::mariadb::Mariadb;
use std::{
    process::{Command, Stdio},
    sync::{Arc, LazyLock},
    time::Duration,
};

pub(super) const VAULTS: &str =
    "CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'; GRANT ALL ON shop.* TO '{{name}}'@'%';";

pub(super) static SERVER: LazyLock<Mariadb> = LazyLock::new(|| Mariadb::start().unwrap());

fn settings(name: &str, password: &str) -> mysql::Settings {
    mysql::Settings::new(Server::new("127.0.0.1", SERVER.port(), name, SecretValue::from(password)))
}

pub(super) fn target() -> Arc<dyn Target> {
    open(Settings::Mysql(settings(Mariadb::ADMIN.0, Mariadb::ADMIN.1))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_lives_as_its_lease_says() {
    let target = target();
    assert!(target.check().await.unwrap().contains("MariaDB"));
    let (name, password, statements) = (a_name(&*target), secret(), statements(&[VAULTS]));
    let login = create(&*target, &name, &password, &statements).await.unwrap();
    assert_eq!(SERVER.sql_as(&name, text(&password), "SELECT USER()").unwrap().trim(), format!("{name}@127.0.0.1"));
    assert_eq!(target.verify(&login, &password).await.unwrap(), Verdict::Accepted);
    target.renew(&login, Timestamp::from_secs(1), &statements).await.unwrap();
    assert_eq!(target.verify(&login, &password).await.unwrap(), Verdict::Accepted);

    let second = secret();
    target.set_password(&login, &second, &statements).await.unwrap();
    assert!(SERVER.sql_as(&name, text(&password), "SELECT 1").is_err());
    assert!(SERVER.sql_as(&name, text(&second), "SELECT 1").is_ok());

    let mut sleeper = Command::new("mariadb")
        .args(["--no-defaults", "--protocol=tcp", "-h", "127.0.0.1", "-P", &SERVER.port().to_string(), "-u", &name])
        .args(["-e", "SELECT SLEEP(300)"])
        .env("MYSQL_PWD", text(&second))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It runs, and those before it are gone.
    let running = format!(
        "SELECT CONCAT(COUNT(INFO), ' of ', COUNT(*)) FROM information_schema.PROCESSLIST WHERE USER = '{name}'"
    );
    while SERVER.sql(&running).unwrap().trim() != "1 of 1" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(target.sessions(&login).await.unwrap(), Some(1));
    let revoked = target.revoke(&login, &statements).await.unwrap();
    assert_eq!((revoked.existed, revoked.sessions), (true, Some(1)));
    assert!(!sleeper.wait().unwrap().success());

    let log = SERVER.statements();
    assert!(log.contains("mysql_native_password"), "the statements are logged");
    assert_absent(&log, &password, "the server's log");
    assert_absent(&log, &second, "the server's log");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_stay_names_whatever_is_in_them() {
    let target = target();
    SERVER.sql("CREATE TABLE IF NOT EXISTS shop.canary (n INT)").unwrap();
    for name in [r#"v-a"b'c/d\e-ü`"#, "v'; DROP TABLE shop.canary; --", r"v\'; DROP TABLE shop.canary;#"] {
        let (password, statements) = (secret(), statements(&[VAULTS]));
        let login = create(&*target, name, &password, &statements).await.unwrap();
        assert!(SERVER.sql_as(name, text(&password), "SELECT 1").is_ok(), "{name}");
        target.set_password(&login, &secret(), &statements).await.unwrap();
        assert!(target.revoke(&login, &statements).await.unwrap().existed);
    }
    SERVER.sql("SELECT * FROM shop.canary").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_leaves_nothing_and_tells_no_secret() {
    let target = target();
    let (name, password) = (a_name(&*target), secret());
    let failing = statements(&[VAULTS, "GRANT SELECT ON shop.no_such_table TO '{{name}}'@'%'"]);
    let error = create(&*target, &name, &password, &failing).await.unwrap_err();
    assert!(matches!(&error, TargetError::Refused(_)), "{error}");
    assert!(target.list(&name).await.unwrap().is_empty());
    let syntax = statements(&["CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}' nonsense"]);
    let error = create(&*target, &name, &password, &syntax).await.unwrap_err();
    assert!(matches!(&error, TargetError::BadTemplate(why) if !why.contains('*')), "{error}");
    // In clear, elsewhere than in IDENTIFIED BY, only over TLS.
    let clear = statements(&["CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'; SELECT '{{password}}'"]);
    assert!(matches!(create(&*target, &name, &password, &clear).await, Err(TargetError::BadTemplate(_))));
    let mut unprotected = settings("a", "b");
    unprotected.passwords = PasswordForm::Clear;
    assert!(matches!(open(Settings::Mysql(unprotected)), Err(TargetError::BadSettings(_))));
    let error = open(Settings::Mysql(settings("admin", "wrong-admin-password"))).unwrap().check().await.unwrap_err();
    assert!(matches!(&error, TargetError::Refused(_)) && !error.to_string().contains("wrong-admin"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_host_of_a_user_is_cared_for_and_little_rights_suffice() {
    let target = target();
    SERVER.sql("CREATE USER two@'%' IDENTIFIED BY 'old'; CREATE USER two@'127.0.0.1' IDENTIFIED BY 'older'").unwrap();
    let (login, password) = (Login::named("two"), secret());
    target.set_password(&login, &password, &statements(&[])).await.unwrap();
    assert_eq!(target.verify(&login, &password).await.unwrap(), Verdict::Accepted);
    assert!(SERVER.sql_as("two", "older", "SELECT 1").is_err());
    assert!(target.revoke(&login, &statements(&[])).await.unwrap().existed);
    assert_eq!(SERVER.sql("SELECT COUNT(*) FROM mysql.user WHERE User = 'two'").unwrap().trim(), "0");

    // An administrator that may neither read mysql.user nor see other sessions.
    SERVER.sql("CREATE USER little@'%' IDENTIFIED BY 'p'; GRANT CREATE USER ON *.* TO little@'%'; GRANT ALL ON shop.* TO little@'%' WITH GRANT OPTION").unwrap();
    let little = open(Settings::Mysql(settings("little", "p"))).unwrap();
    let (name, statements) = (a_name(&*little), statements(&[VAULTS]));
    let login = create(&*little, &name, &password, &statements).await.unwrap();
    assert!(SERVER.sql_as(&name, text(&password), "SELECT 1").is_ok());
    little.revoke(&login, &statements).await.unwrap();
    assert!(SERVER.sql_as(&name, text(&password), "SELECT 1").is_err());
    little.revoke(&login, &statements).await.unwrap();
    assert_eq!(little.sessions(&login).await.unwrap(), None);
    assert!(matches!(little.list("v-").await, Err(TargetError::Refused(_))));
}
