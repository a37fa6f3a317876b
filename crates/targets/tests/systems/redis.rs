use super::{a_name, certificate, create, secret, statements, text};
use credentialflow_model::SecretValue;
use credentialflow_targets::{
    Login, Server, Settings, Target, TargetError, Tls, open,
    redis::{Persist, Settings as RedisSettings},
};
use credentialflow_testkit::redis::Redis;
use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{Arc, LazyLock},
};

pub(super) static SERVER: LazyLock<(Redis, String)> = LazyLock::new(|| {
    let (certificate, key) = certificate();
    (Redis::start_with(Some((&certificate, &key))).unwrap(), certificate)
});

fn server(port: u16) -> Server {
    Server::new("127.0.0.1", port, "", SecretValue::from(Redis::PASSWORD))
}

pub(super) fn target() -> Arc<dyn Target> {
    let settings = RedisSettings { persist: Persist::AclFile, ..RedisSettings::new(server(SERVER.0.port())) };
    open(Settings::Redis(settings)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_lives_as_its_lease_says() {
    let (target, server) = (target(), &SERVER.0);
    assert!(target.check().await.unwrap().starts_with('7'));
    let (name, password) = (a_name(&*target), secret());
    let rules = statements(&[r#"["~cache:*", "+get", "+set", "+ping"]"#]);
    let login = create(&*target, &name, &password, &rules).await.unwrap();
    assert_eq!(server.cli(&name, text(&password), &["SET", "cache:a", "7"]).unwrap().trim(), "OK");
    assert!(server.cli(&name, text(&password), &["SET", "other", "7"]).is_err());
    assert!(server.cli(&name, text(&password), &["FLUSHALL"]).is_err());
    // It outlives the server, and only its hash is kept.
    let file = server.acl_file();
    assert!(file.contains(&name) && !file.contains(text(&password)));

    let second = secret();
    target.set_password(&login, &second, &rules).await.unwrap();
    assert!(server.cli(&name, text(&password), &["PING"]).is_err());
    assert_eq!(server.cli(&name, text(&second), &["GET", "cache:a"]).unwrap().trim(), "7");

    // A running connection ends with its user.
    let mut session = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    session.write_all(format!("AUTH {name} {}\r\n", text(&second)).as_bytes()).unwrap();
    let mut answer = [0; 5];
    session.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+OK\r\n");
    assert_eq!(target.sessions(&login).await.unwrap(), Some(1));
    let revoked = target.revoke(&login, &rules).await.unwrap();
    assert_eq!((revoked.existed, revoked.sessions), (true, Some(1)));
    assert!(matches!(session.read(&mut answer), Ok(0) | Err(_)));
    assert!(!server.acl_file().contains(&name));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_that_ended_before_the_file_was_written_is_made_good_by_the_next() {
    let (target, server) = (target(), &SERVER.0);
    let (name, rules) = (a_name(&*target), statements(&["~* +ping"]));
    let login = create(&*target, &name, &secret(), &rules).await.unwrap();
    server.cli("default", Redis::PASSWORD, &["ACL", "DELUSER", &name]).unwrap();
    assert!(server.acl_file().contains(&name), "a restart would bring it back");
    assert!(!target.revoke(&login, &rules).await.unwrap().existed);
    assert!(!server.acl_file().contains(&name));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_rules_stay_what_they_are() {
    let target = target();
    let (password, rules) = (secret(), statements(&["~* +ping"]));
    for name in ["v>nopass", "~*"] {
        let login = create(&*target, name, &password, &rules).await.unwrap();
        assert!(SERVER.0.cli(name, text(&password), &["PING"]).is_ok(), "{name}");
        assert!(SERVER.0.cli(name, text(&password), &["GET", "a"]).is_err());
        assert!(target.revoke(&login, &rules).await.unwrap().existed);
    }
    for name in ["a b", "a\r\nFLUSHALL", ""] {
        assert!(matches!(create(&*target, name, &password, &rules).await, Err(TargetError::BadTemplate(_))), "{name}");
    }
    let error = create(&*target, "v-x", &password, &statements(&["+no-such-command"])).await.unwrap_err();
    assert!(matches!(error, TargetError::Refused(_)), "{error}");
    assert!(target.list("v-x").await.unwrap().is_empty());
    assert!(matches!(target.revoke(&Login::named("default"), &rules).await, Err(TargetError::Refused(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_checked() {
    let with = |ca: Option<String>| {
        let mut server = server(SERVER.0.tls_port().unwrap());
        server.tls = Tls::verify(ca);
        open(Settings::Redis(RedisSettings::new(server))).unwrap()
    };
    assert!(with(Some(SERVER.1.clone())).check().await.is_ok());
    for ca in [None, Some(certificate().0)] {
        assert!(matches!(with(ca).check().await, Err(TargetError::Unreachable(_))));
    }
    let mut wrong = server(SERVER.0.port());
    wrong.password = SecretValue::from("wrong-admin-password");
    let error = open(Settings::Redis(RedisSettings::new(wrong))).unwrap().check().await.unwrap_err();
    assert!(matches!(&error, TargetError::Refused(_)) && !error.to_string().contains("wrong-admin"), "{error}");
}
