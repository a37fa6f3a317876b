use super::{a_name, create, secret, statements, text};
use credentialflow_model::SecretValue;
use credentialflow_targets::{Server, Settings, Target, TargetError, Verdict, open, rabbitmq};
use credentialflow_testkit::rabbitmq::Rabbitmq;
use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

const RIGHTS: &str = r#"{"tags": "monitoring", "vhosts": {"/": {"configure": "^$", "write": ".*", "read": "^a/b$"}},
    "vhost_topics": {"/": {"amq.topic": {"write": "x", "read": "y"}}}}"#;

pub(super) static SERVER: LazyLock<Rabbitmq> = LazyLock::new(|| Rabbitmq::start().unwrap());

pub(super) fn target() -> Arc<dyn Target> {
    let (name, password) = Rabbitmq::ADMIN;
    let server = Server::new("127.0.0.1", SERVER.port(), name, SecretValue::from(password));
    open(Settings::Rabbitmq(rabbitmq::Settings::declared(server))).unwrap()
}

/// Logs in over AMQP 0-9-1 with the mechanism PLAIN and opens the virtual host `/`.
fn amqp(name: &str, password: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", SERVER.amqp_port()))?;
    stream.set_read_timeout(Some(Duration::from_secs(180)))?;
    let frame = |method: &[u8]| {
        let mut frame = vec![1, 0, 0];
        frame.extend(u32::try_from(method.len()).unwrap().to_be_bytes());
        frame.extend_from_slice(method);
        frame.push(0xCE);
        frame
    };
    let read = |stream: &mut TcpStream| -> std::io::Result<[u8; 4]> {
        let mut head = [0; 7];
        stream.read_exact(&mut head)?;
        let mut body = vec![0; u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize + 1];
        stream.read_exact(&mut body)?;
        Ok([body[0], body[1], body[2], body[3]])
    };
    stream.write_all(b"AMQP\x00\x00\x09\x01")?;
    assert_eq!(read(&mut stream)?, [0, 10, 0, 10], "Start");
    let answer = format!("\0{name}\0{password}");
    let mut start_ok = vec![0, 10, 0, 11, 0, 0, 0, 0, 5];
    start_ok.extend(b"PLAIN");
    start_ok.extend(u32::try_from(answer.len()).unwrap().to_be_bytes());
    start_ok.extend(answer.as_bytes());
    start_ok.extend(b"\x05en_US");
    stream.write_all(&frame(&start_ok))?;
    if read(&mut stream)? != [0, 10, 0, 30] {
        return Err(std::io::Error::from(std::io::ErrorKind::PermissionDenied));
    }
    stream.write_all(&frame(&[0, 10, 0, 31, 7, 255, 0, 2, 0, 0, 0, 0]))?;
    stream.write_all(&frame(&[0, 10, 0, 40, 1, b'/', 0, 0]))?;
    assert_eq!(read(&mut stream)?, [0, 10, 0, 41], "Open-Ok");
    Ok(stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_lives_as_its_lease_says() {
    let target = target();
    assert!(target.check().await.unwrap().starts_with('3'));
    let (name, password, rights) = (a_name(&*target), secret(), statements(&[RIGHTS]));
    let login = create(&*target, &name, &password, &rights).await.unwrap();
    assert!(SERVER.authenticates(&name, text(&password)));
    assert!(amqp(&name, text(&password)).is_ok());
    let permissions = SERVER.ctl(&["list_user_permissions", &name]).unwrap();
    assert!(permissions.contains("^a/b$"), "{permissions}");
    assert!(SERVER.ctl(&["list_user_topic_permissions", &name]).unwrap().contains("amq.topic"));

    // Another password; the tags stay.
    let second = secret();
    target.set_password(&login, &second, &rights).await.unwrap();
    assert!(!SERVER.authenticates(&name, text(&password)) && SERVER.authenticates(&name, text(&second)));
    assert!(SERVER.ctl(&["list_users"]).unwrap().lines().any(|l| l.starts_with(&name) && l.contains("monitoring")));

    // A running connection ends with its user, once the server lists it.
    let mut session = amqp(&name, text(&second)).unwrap();
    let begun = Instant::now();
    while target.sessions(&login).await.unwrap() < Some(1) {
        assert!(begun.elapsed() < Duration::from_secs(180));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let revoked = target.revoke(&login, &rights).await.unwrap();
    assert!(revoked.existed && revoked.sessions >= Some(1), "{revoked:?}");
    let mut rest = Vec::new();
    let _ = session.read_to_end(&mut rest);
    assert!(amqp(&name, text(&second)).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_stay_names_and_failures_leave_nothing() {
    let target = target();
    let password = secret();
    // A user without the right to use the management API, as most are.
    let rights = statements(&[r#"{"vhosts": {"/": {"read": ".*"}}}"#]);
    for name in ["v/../guest?x#y%41", "v.. "] {
        let login = create(&*target, name, &password, &rights).await.unwrap();
        assert!(SERVER.authenticates(name, text(&password)), "{name}");
        assert_eq!(target.verify(&login, &password).await.unwrap(), Verdict::Accepted, "{name}");
        assert!(matches!(target.verify(&login, &secret()).await.unwrap(), Verdict::Refused(_)));
        assert!(target.revoke(&login, &rights).await.unwrap().existed);
        assert!(target.list(name).await.unwrap().is_empty());
    }
    assert!(SERVER.authenticates(Rabbitmq::ADMIN.0, Rabbitmq::ADMIN.1));
    let no_such_host = statements(&[r#"{"vhosts": {"/nowhere": {"read": ".*"}}}"#]);
    let error = create(&*target, "v-x", &password, &no_such_host).await.unwrap_err();
    assert!(matches!(error, TargetError::Refused(_)), "{error}");
    assert!(target.list("v-x").await.unwrap().is_empty());
    for bad in ["", "{", r#"{"tag": ""}"#] {
        assert!(matches!(
            create(&*target, "v-x", &password, &statements(&[bad])).await,
            Err(TargetError::BadTemplate(_))
        ));
    }
}
