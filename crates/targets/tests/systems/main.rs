//! The targets against the real systems, which the tests start themselves, looked at with the
//! systems' own clients.
#![allow(clippy::unwrap_used)]

mod conformance;
mod http_api;
mod mysql;
mod mysql_login;
mod postgresql;
mod rabbitmq;
mod redis;
mod unreachable;

use credentialflow_model::{SecretValue, Timestamp};
use credentialflow_targets::{Login, NewLogin, Statements, Target, password, username};

/// A name as roles make it.
fn a_name(target: &dyn Target) -> String {
    let template = username::Template::of(target.kind());
    template.make("alice", "reader", Timestamp::from(std::time::SystemTime::now())).unwrap()
}

fn secret() -> SecretValue {
    password::generate(32).unwrap()
}

fn text(secret: &SecretValue) -> &str {
    secret.expose_str().unwrap()
}

fn statements(creation: &[&str]) -> Statements {
    Statements { creation: creation.iter().map(|s| (*s).to_owned()).collect(), ..Statements::default() }
}

/// Creates a login that expires in an hour.
async fn create(
    target: &dyn Target,
    name: &str,
    password: &SecretValue,
    statements: &Statements,
) -> credentialflow_targets::Result<Login> {
    let expires = Some(Timestamp::from_secs(Timestamp::from(std::time::SystemTime::now()).secs() + 3600));
    let made = target.create(&NewLogin { name, password, expires, statements }).await?;
    Ok(Login { name: name.to_owned(), handle: made.handle })
}

/// Nothing of a secret may stand in a text.
fn assert_absent(text: &str, secret: &SecretValue, place: &str) {
    assert!(!text.contains(secret.expose_str().unwrap()), "a password stands in {place}");
}

/// A certificate for 127.0.0.1 and localhost, and its key, as PEM.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}
