//! Access tokens that are fetched with a credential's value (RFC 6749, RFC 7523): how one is asked for, and what the
//! answer says. Bytes in, bytes out: who sends them is outside.
//!
//! A token stands beside the version it was fetched with. It is not stored and no version of its own: what is sealed,
//! rotated and revoked is the long-lived value.

mod jwt;
mod service_account;

pub use service_account::ServiceAccount;

pub(crate) use jwt::Signer;

use aws_lc_rs::rand;
use credentialflow_model::{Period, SecretValue, Timestamp, resource::TokenRule};
use serde::Deserialize;
use std::sync::Arc;
use zeroize::{Zeroize, Zeroizing};

/// No token is larger, in bytes: it stands in a header.
const LARGEST: usize = 16 << 10;

/// A form to be posted to a token endpoint.
pub struct TokenRequest {
    /// Where to.
    pub url: String,
    /// What `Authorization` says, if anything.
    pub authorization: Option<SecretValue>,
    /// The body, `application/x-www-form-urlencoded`.
    pub form: SecretValue,
    /// What stands in it that nobody may read in an error: secrets, statements signed with them, tokens, each as it is
    /// and as it is written.
    pub secrets: Vec<SecretValue>,
}

/// The fields of a form that hold a secret, or what is as good as one for a while.
const SECRET_FIELDS: [&str; 4] = ["assertion", "client_assertion", "client_secret", "token"];

impl TokenRequest {
    pub(crate) fn new(url: &str, pairs: &[(&str, &[u8])]) -> Self {
        let mut secrets = Vec::new();
        for (_, value) in pairs.iter().filter(|(name, _)| SECRET_FIELDS.contains(name)) {
            secrets.extend(as_written(value));
        }
        Self { url: url.to_owned(), authorization: None, form: form(pairs), secrets }
    }

    /// With an `Authorization`, which says this secret.
    pub(crate) fn authorized(mut self, authorization: SecretValue, secret: &SecretValue) -> Self {
        let encoded = authorization.expose().strip_prefix(b"Basic ").unwrap_or(authorization.expose());
        self.secrets.push(SecretValue::new(encoded.to_vec()));
        self.secrets.extend(as_written(secret.expose()));
        self.authorization = Some(authorization);
        self
    }
}

/// What requests carry until it ends.
pub struct AccessToken {
    /// What goes behind `Bearer `.
    pub value: Arc<SecretValue>,
    /// When it was asked for.
    pub obtained: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
}

/// Why an answer with a good status is no token. Says nothing of what stood in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    /// No JSON object, or without a token.
    #[error("its answer holds no access token")]
    Missing,
    /// A token that no header can carry.
    #[error("its token cannot stand in a header")]
    Unfit,
    /// A token that is no bearer token (RFC 6749, 7.1).
    #[error("its token is not of the type Bearer")]
    NotBearer,
    /// A token that ends at once.
    #[error("its token ends at once")]
    Over,
}

#[derive(Deserialize)]
struct Answer {
    access_token: Option<String>,
    token_type: Option<String>,
    expires_in: Option<Seconds>,
}

/// Entra ID's older endpoint writes its number as a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(f64),
    Text(String),
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.access_token.zeroize();
    }
}

impl AccessToken {
    /// Reads the answer to a request that was sent at `asked` (RFC 6749, 5.1).
    pub fn read(body: &[u8], asked: Timestamp) -> Result<Self, NoToken> {
        let mut answer: Answer = serde_json::from_slice(body).map_err(|_| NoToken::Missing)?;
        let value = SecretValue::from(answer.access_token.take().ok_or(NoToken::Missing)?);
        if answer.token_type.as_deref().is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err(NoToken::NotBearer);
        }
        if value.is_empty() || value.len() > LARGEST || !value.expose().iter().all(u8::is_ascii_graphic) {
            return Err(NoToken::Unfit);
        }
        let life = match &answer.expires_in {
            None => TokenRule::USUAL_LIFE,
            Some(seconds) => seconds.period().ok_or(NoToken::Over)?,
        };
        Ok(Self { value: Arc::new(value), obtained: asked, expires: asked.plus(life.min(TokenRule::LONGEST_LIFE)) })
    }

    /// When it is to be renewed: when 70 to 90 hundredths of its life are over, by a part that `random` chooses, so that
    /// many nodes do not ask at once.
    pub fn renew_at(&self, random: u8) -> Timestamp {
        let life = self.expires.micros().saturating_sub(self.obtained.micros()).max(0);
        let part = 70 + i64::from(random) * 20 / 255;
        Timestamp::from_micros(self.obtained.micros().saturating_add(life / 100 * part))
    }
}

impl Seconds {
    fn period(&self) -> Option<Period> {
        let seconds = match self {
            Self::Number(seconds) => *seconds,
            Self::Text(text) => text.trim().parse().ok()?,
        };
        // A part of a second is none; what is too large is cut off by the conversion.
        (seconds >= 1.0).then(|| Period::from_secs((seconds as u64).min(u64::from(u32::MAX))))
    }
}

/// A random name for a signed statement, so that no two are the same.
pub(crate) fn unique() -> Option<String> {
    let mut bits = [0u8; 16];
    rand::fill(&mut bits).ok()?;
    Some(format!("{:032x}", u128::from_be_bytes(bits)))
}

/// A secret as it is, and as it is escaped.
fn as_written(secret: &[u8]) -> [SecretValue; 2] {
    let mut escaped = Vec::with_capacity(secret.len() * 3);
    escape(secret, &mut escaped);
    [SecretValue::new(secret.to_vec()), SecretValue::new(escaped)]
}

/// Names and values as `application/x-www-form-urlencoded`; everything but unreserved characters is escaped.
fn form(pairs: &[(&str, &[u8])]) -> SecretValue {
    // Room for all of it at once: what grows leaves copies behind.
    let most: usize = pairs.iter().map(|(name, value)| (name.len() + value.len()) * 3 + 2).sum();
    let mut out = Zeroizing::new(Vec::with_capacity(most));
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push(b'&');
        }
        escape(name.as_bytes(), &mut out);
        out.push(b'=');
        escape(value, &mut out);
    }
    SecretValue::new(std::mem::take(&mut *out))
}

/// As RFC 6749, appendix B, has it, but a space is `%20`: that is read everywhere.
pub(crate) fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for b in bytes {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') {
            out.push(*b);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const ASKED: Timestamp = Timestamp::from_secs(1_000);

    fn life(answer: &str) -> Result<i64, NoToken> {
        AccessToken::read(answer.as_bytes(), ASKED).map(|token| token.expires.secs() - ASKED.secs())
    }

    #[test]
    fn answers_are_tokens_or_say_why_they_are_none() {
        for (answer, expected) in [
            (r#"{"access_token":"a.b-c","token_type":"Bearer","expires_in":3599}"#, Ok(3599)),
            (r#"{"access_token":"abc","token_type":"bearer","expires_in":"3599","resource":"x"}"#, Ok(3599)),
            (r#"{"access_token":"abc"}"#, Ok(300)),
            (r#"{"access_token":"abc","expires_in":3599.9}"#, Ok(3599)),
            (r#"{"access_token":"abc","expires_in":1e300}"#, Ok(86_400)),
            (r#"{"access_token":"abc","expires_in":0}"#, Err(NoToken::Over)),
            (r#"{"access_token":"abc","expires_in":-5}"#, Err(NoToken::Over)),
            (r#"{"access_token":"abc","expires_in":"soon"}"#, Err(NoToken::Over)),
            (r#"{"access_token":"abc","token_type":"DPoP"}"#, Err(NoToken::NotBearer)),
            (r#"{"access_token":""}"#, Err(NoToken::Unfit)),
            (r#"{"access_token":"a b"}"#, Err(NoToken::Unfit)),
            (r#"{"access_token":"a\r\nb"}"#, Err(NoToken::Unfit)),
            (r#"{"id_token":"abc"}"#, Err(NoToken::Missing)),
            (r#"{"access_token":7}"#, Err(NoToken::Missing)),
            ("[]", Err(NoToken::Missing)),
            ("", Err(NoToken::Missing)),
        ] {
            assert_eq!(life(answer), expected, "{answer}");
        }
        let large = format!(r#"{{"access_token":"{}"}}"#, "x".repeat(LARGEST + 1));
        assert_eq!(life(&large), Err(NoToken::Unfit));
    }

    #[test]
    fn forms_say_what_they_are_made_of() {
        let made = form(&[("a b", b"x&y=z"), ("scope", "ü https://a/.default".as_bytes()), ("e", b"")]);
        assert_eq!(made.expose_str().unwrap(), "a%20b=x%26y%3Dz&scope=%C3%BC%20https%3A%2F%2Fa%2F.default&e=");
    }

    proptest! {
        #[test]
        fn a_token_is_renewed_within_its_life(seconds in 1u32..200_000, random in any::<u8>()) {
            let token = AccessToken::read(format!(r#"{{"access_token":"x","expires_in":{seconds}}}"#).as_bytes(), ASKED).unwrap();
            let (life, due) = (token.expires.micros() - ASKED.micros(), token.renew_at(random).micros() - ASKED.micros());
            prop_assert!(due * 100 >= life * 69 && due * 100 <= life * 90, "{due} of {life}");
        }

        #[test]
        fn no_answer_makes_it_fall_over(body in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(AccessToken::read(&body, ASKED));
        }
    }
}
