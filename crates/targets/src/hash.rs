//! The hashed forms in which a password travels to each system. Pure, apart from drawing a salt.

use crate::{Result, password::random_bytes};
use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::{Engine, prelude::BASE64_STANDARD};
use credentialflow_model::SecretValue;
use std::{fmt::Write, num::NonZeroU32};
use zeroize::Zeroizing;

/// PostgreSQL's own number of rounds (`scram_iterations`).
const ROUNDS: u32 = 4096;

/// PostgreSQL's SCRAM-SHA-256 verifier (RFC 5803 form, RFC 7677) with a random salt.
pub(crate) fn scram_sha_256(password: &SecretValue) -> Result<SecretValue> {
    let mut salt = [0u8; 16];
    random_bytes(&mut salt)?;
    Ok(SecretValue::from(scram_with(password, &salt, ROUNDS)))
}

fn scram_with(password: &SecretValue, salt: &[u8], rounds: u32) -> String {
    // As PostgreSQL does: what SASLprep does not accept is taken as it is.
    let prepared =
        password.expose_str().and_then(|p| stringprep::saslprep(p).ok()).map(|p| Zeroizing::new(p.into_owned()));
    let bytes = prepared.as_ref().map_or(password.expose(), |p| p.as_bytes());
    let mut salted = Zeroizing::new([0u8; 32]);
    let count = NonZeroU32::new(rounds).unwrap_or(NonZeroU32::MIN);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, count, salt, bytes, &mut *salted);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &*salted);
    let stored = digest::digest(&digest::SHA256, hmac::sign(&key, b"Client Key").as_ref());
    let server = hmac::sign(&key, b"Server Key");
    let text = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
    format!("SCRAM-SHA-256${rounds}:{}${}:{}", text(salt), text(stored.as_ref()), text(server.as_ref()))
}

/// The hash of MariaDB's and MySQL's `mysql_native_password`: `*` and the hexadecimal SHA-1 of the
/// SHA-1. Unsalted, as that method is; it is good for random passwords only.
pub(crate) fn mysql_native(password: &SecretValue) -> SecretValue {
    let once = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, password.expose());
    let twice = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, once.as_ref());
    SecretValue::from(format!("*{}", hex(twice.as_ref()).to_ascii_uppercase()))
}

/// The SHA-256 in hexadecimal that Redis takes after `#`.
pub(crate) fn redis_sha256(password: &SecretValue) -> String {
    hex(digest::digest(&digest::SHA256, password.expose()).as_ref())
}

/// RabbitMQ's `rabbit_password_hashing_sha256`: a salt of four bytes and the SHA-256 over salt and
/// password, in base64.
pub(crate) fn rabbitmq_sha256(password: &SecretValue) -> Result<String> {
    let mut salt = [0u8; 4];
    random_bytes(&mut salt)?;
    Ok(rabbitmq_with(password, salt))
}

fn rabbitmq_with(password: &SecretValue, salt: [u8; 4]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&salt);
    context.update(password.expose());
    BASE64_STANDARD.encode([&salt[..], context.finish().as_ref()].concat())
}

/// The first eight bytes of a SHA-256 in hexadecimal, for names that have to be cut.
pub(crate) fn short_sha256(text: &str, length: usize) -> String {
    hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref()).chars().take(length).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, b| {
        let _ = write!(text, "{b:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_systems_own_documents() {
        // RFC 7677, section 3: user `user`, password `pencil`. The verifier's two keys follow from
        // its salt and rounds; a PostgreSQL 15 server made the same text.
        let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        assert_eq!(
            scram_with(&SecretValue::from("pencil"), &salt, 4096),
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
        // MySQL's manual: SELECT PASSWORD('mypass').
        assert_eq!(
            mysql_native(&SecretValue::from("mypass")).expose_str(),
            Some("*6C8989366EAF75BB670AD8EA7A7FC1176A95CEF4")
        );
        assert_eq!(
            redis_sha256(&SecretValue::from("hello")),
            "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
        );
        // RabbitMQ's guide on passwords: salt 908DC60A, password test12.
        assert_eq!(
            rabbitmq_with(&SecretValue::from("test12"), [0x90, 0x8D, 0xC6, 0x0A]),
            "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
        );
    }
}
