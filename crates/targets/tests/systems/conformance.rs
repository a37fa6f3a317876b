//! What every kind of target does alike: one story, told by each with its own server and its own client.

use super::{a_name, create, http_api, mysql, postgresql, rabbitmq, redis, secret, statements, text};
use base64::{Engine, prelude::BASE64_STANDARD};
use credentialflow_model::{SecretValue, Timestamp};
use credentialflow_targets::{Login, NewLogin, Statements, Target, TargetError, Verdict};
use credentialflow_testkit::{mariadb::Mariadb, rabbitmq::Rabbitmq};
use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
};

/// Whether a system's own client is let in with this name and password.
type LetsIn = Box<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// A kind, with what only it knows.
struct Subject {
    target: Arc<dyn Target>,
    /// What makes a login.
    statements: Statements,
    /// What begins to make one and fails.
    failing: Statements,
    /// Whether the system's own client is let in.
    lets_in: LetsIn,
    /// Its administrator, as the system calls it.
    administrator: Option<&'static str>,
    /// The system makes the password, and knows no other.
    makes_passwords: bool,
    /// What must live as long as the target.
    _held: Option<credentialflow_testkit::upstream::FakeUpstream>,
}

/// A login with the password that works.
async fn made(s: &Subject, name: &str) -> (Login, SecretValue) {
    let (password, expires) = (secret(), Some(Timestamp::from_secs(4_102_444_800)));
    let new = NewLogin { name, password: &password, expires, statements: &s.statements };
    let made = s.target.create(&new).await.unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(made.password.is_some(), s.makes_passwords);
    (Login { name: name.to_owned(), handle: made.handle }, made.password.unwrap_or(password))
}

impl Subject {
    fn accepts(&self, name: &str, password: &SecretValue) -> bool {
        (self.lets_in)(name, text(password))
    }

    async fn listed(&self, login: &Login) -> usize {
        self.target.list(&login.name).await.unwrap().iter().filter(|l| *l == login).count()
    }

    async fn is_over(&self, login: &Login, password: &SecretValue) {
        let name = &login.name;
        assert!(!self.accepts(name, password), "{name} is let in");
        assert!(matches!(self.target.verify(login, password).await.unwrap(), Verdict::Refused(_)), "{name}");
        assert_eq!(self.listed(login).await, 0, "{name}");
    }
}

/// Created, tried, renewed, re-keyed, revoked, and revoked again.
async fn a_life(s: &Subject) {
    s.target.check().await.unwrap();
    let name = a_name(&*s.target);
    assert!(!s.accepts(&name, &secret()));
    let (login, password) = made(s, &name).await;
    assert!(s.accepts(&name, &password));
    assert_eq!(s.target.verify(&login, &password).await.unwrap(), Verdict::Accepted);
    assert!(matches!(s.target.verify(&login, &secret()).await.unwrap(), Verdict::Refused(_)));
    assert_eq!(s.listed(&login).await, 1);
    assert!(s.target.list("w-nobody-begins-so").await.unwrap().is_empty());
    for until in [4_102_444_800, 4_102_448_400] {
        s.target.renew(&login, Timestamp::from_secs(until), &s.statements).await.unwrap();
        assert!(s.accepts(&name, &password));
    }
    let mut last = password;
    if s.makes_passwords {
        let refused = s.target.set_password(&login, &secret(), &s.statements).await;
        assert!(matches!(refused, Err(TargetError::BadTemplate(_))));
    } else {
        let next = secret();
        // Twice, as after a crash in between.
        for _ in 0..2 {
            s.target.set_password(&login, &next, &s.statements).await.unwrap();
            assert!(!s.accepts(&name, &last) && s.accepts(&name, &next));
        }
        last = next;
    }
    assert!(s.target.revoke(&login, &s.statements).await.unwrap().existed);
    s.is_over(&login, &last).await;
    for _ in 0..2 {
        assert!(!s.target.revoke(&login, &s.statements).await.unwrap().existed);
    }
    // What is gone does not come back by a new password.
    assert!(s.target.set_password(&login, &secret(), &s.statements).await.is_err());
    assert_eq!(s.listed(&login).await, 0);
}

/// Names that look like something else, and one that begins like another.
async fn names(s: &Subject) {
    for name in [r#"v-a"b'c/d\e-ü"#, "v-%41%2F..", "v-{{name}}", "v-$1;--", "v-a*b?[c]"] {
        let (login, password) = made(s, name).await;
        assert!(s.accepts(name, &password), "{name}");
        assert_eq!(s.target.verify(&login, &password).await.unwrap(), Verdict::Accepted, "{name}");
        assert_eq!(s.listed(&login).await, 1, "{name}");
        assert!(s.target.revoke(&login, &s.statements).await.unwrap().existed, "{name}");
        s.is_over(&login, &password).await;
    }
    let (short, of_short) = made(s, "v-prefix").await;
    let (long, of_long) = made(s, "v-prefix-and-more").await;
    s.target.revoke(&short, &s.statements).await.unwrap();
    assert!(!s.accepts("v-prefix", &of_short) && s.accepts("v-prefix-and-more", &of_long));
    assert_eq!(s.listed(&long).await, 1);
    s.target.revoke(&long, &s.statements).await.unwrap();
}

/// A creation that fails leaves nothing; the administrator stays, whoever asks.
async fn failures(s: &Subject) {
    let (name, password) = (a_name(&*s.target), secret());
    let error = create(&*s.target, &name, &password, &s.failing).await.unwrap_err();
    assert!(!error.to_string().contains(text(&password)), "{error}");
    assert!(!s.accepts(&name, &password));
    assert!(s.target.list(&name).await.unwrap().is_empty(), "{error}");
    assert!(!s.target.revoke(&Login::named(&name), &s.statements).await.unwrap().existed);
    if let Some(administrator) = s.administrator {
        let refused = s.target.revoke(&Login::named(administrator), &s.statements).await;
        assert!(matches!(refused, Err(TargetError::Refused(_))), "{administrator}");
        s.target.check().await.unwrap();
    }
}

/// Many at once: each has its own password and ends by itself.
async fn many(s: Subject) {
    let s = Arc::new(s);
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let s = s.clone();
        running.spawn(async move {
            let (login, password) = made(&s, &a_name(&*s.target)).await;
            assert!(s.accepts(&login.name, &password));
            assert!(s.target.revoke(&login, &s.statements).await.unwrap().existed);
            s.is_over(&login, &password).await;
        });
    }
    running.join_all().await;
}

async fn conforms(s: Subject) {
    a_life(&s).await;
    names(&s).await;
    failures(&s).await;
    many(s).await;
}

fn subject(target: Arc<dyn Target>, creation: &[&str], failing: &[&str]) -> Subject {
    Subject {
        target,
        statements: statements(creation),
        failing: statements(failing),
        lets_in: Box::new(|_, _| false),
        administrator: None,
        makes_passwords: false,
        _held: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_conforms() {
    let database = postgresql::database();
    let target = postgresql::target(&database);
    let failing = [postgresql::VAULTS, "GRANT nobody_such TO \"{{name}}\""];
    conforms(Subject {
        lets_in: Box::new(move |name, password| {
            postgresql::CLUSTER.sql_as(name, password, &database, "SELECT 1").is_ok()
        }),
        administrator: Some("admin"),
        ..subject(target, &[postgresql::VAULTS], &failing)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_conforms() {
    let failing = [mysql::VAULTS, "GRANT SELECT ON shop.no_such_table TO '{{name}}'@'%'"];
    conforms(Subject {
        lets_in: Box::new(|name, password| mysql::SERVER.sql_as(name, password, "SELECT 1").is_ok()),
        administrator: Some(Mariadb::ADMIN.0),
        ..subject(mysql::target(), &[mysql::VAULTS], &failing)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_conforms() {
    conforms(Subject {
        lets_in: Box::new(|name, password| redis::SERVER.0.cli(name, password, &["PING"]).is_ok()),
        administrator: Some("default"),
        ..subject(redis::target(), &[r#"["~cache:*", "+ping"]"#], &["+no-such-command"])
    })
    .await;
}

/// What a request of one's own to the management API says. AMQP waits seconds before it refuses; it is
/// spoken in `rabbitmq`.
fn management_lets_in(name: &str, password: &str) -> bool {
    let mut stream = TcpStream::connect(("127.0.0.1", rabbitmq::SERVER.port())).unwrap();
    let login = BASE64_STANDARD.encode(format!("{name}:{password}"));
    let head = format!("GET /api/whoami HTTP/1.0\r\nhost: localhost\r\nauthorization: Basic {login}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    // The password was right, and the user has no rights to this API.
    answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200") || answer.contains("ot management user")
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_conforms() {
    let rights = r#"{"vhosts": {"/": {"configure": "^$", "write": ".*", "read": ".*"}}}"#;
    let failing = r#"{"vhosts": {"/nowhere": {"read": ".*"}}}"#;
    conforms(Subject {
        lets_in: Box::new(management_lets_in),
        administrator: Some(Rabbitmq::ADMIN.0),
        ..subject(rabbitmq::target(), &[rights], &[failing])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_described_api_conforms() {
    let keys = http_api::Keys::default();
    let provider = http_api::provider(keys.clone()).await;
    let target = http_api::target(&provider.url(), "root-secret-token");
    let mine = move |name: &str, password: &str| {
        keys.lock().unwrap().values().any(|(named, key)| named == name && key == password)
    };
    let subject =
        Subject { lets_in: Box::new(mine), makes_passwords: true, _held: Some(provider), ..subject(target, &[], &[]) };
    // Its creation cannot fail half-way by a statement; see `http_api`.
    a_life(&subject).await;
    names(&subject).await;
    many(subject).await;
}
