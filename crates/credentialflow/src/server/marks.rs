//! What tells values of credentials in what callers send: marks of every version that works, made when it is opened.
//!
//! Of a login the password counts as well, of a private key in PEM one line from its middle: that line stands also in a
//! text in which the others end in `\n`. Marks are under a key of this process; no value is kept here.

use aws_lc_rs::rand;
use credentialflow_model::{Name, SecretValue};
use credentialflow_policy::{ValueKey, ValueMark, ValueMarks, finder::values::KEY_BYTES};
use serde::Deserialize;
use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

/// The marks of all credentials.
pub(super) struct Marks {
    key: Option<Arc<ValueKey>>,
    by_name: HashMap<Name, Vec<(u32, ValueMark)>>,
    /// As workers use them, until one changes.
    made: OnceLock<Arc<ValueMarks>>,
}

impl Default for Marks {
    fn default() -> Self {
        let mut random = [0; KEY_BYTES];
        let key = rand::fill(&mut random).ok().map(|()| Arc::new(ValueKey::new(&random)));
        if key.is_none() {
            tracing::error!("the system has no randomness: values of credentials are not looked for in requests");
        }
        Self { key, by_name: HashMap::new(), made: OnceLock::new() }
    }
}

impl Marks {
    /// Forgets every version of a credential.
    pub fn forget(&mut self, name: &Name) {
        if self.by_name.remove(name).is_some() {
            self.made.take();
        }
    }

    /// A version of a credential works.
    pub fn add(&mut self, name: &Name, version: u32, value: &SecretValue) {
        let Some(key) = &self.key else { return };
        let mut add = |piece: &[u8]| {
            if let Some(mark) = key.mark(piece) {
                self.by_name.entry(name.clone()).or_default().push((version, mark));
                self.made.take();
            }
        };
        let value = value.expose().trim_ascii();
        add(value);
        if let Some(password) = password(value) {
            add(password.expose());
        }
        if let Some(line) = private_line(value) {
            add(line);
        }
    }

    /// As workers use them.
    pub fn made(&self) -> Arc<ValueMarks> {
        let made = self.made.get_or_init(|| {
            let Some(key) = &self.key else { return Arc::default() };
            let all = self
                .by_name
                .iter()
                .flat_map(|(name, marks)| marks.iter().map(|(version, mark)| (name.shared(), *version, mark.clone())));
            Arc::new(ValueMarks::new(key.clone(), all))
        });
        made.clone()
    }
}

/// The password in a value of the engine `database`.
fn password(value: &[u8]) -> Option<SecretValue> {
    #[derive(Deserialize)]
    struct Login {
        #[serde(rename = "username")]
        _username: String,
        password: String,
    }
    let login = value.starts_with(b"{").then(|| serde_json::from_slice::<Login>(value).ok()).flatten()?;
    Some(SecretValue::from(login.password))
}

/// A line from the middle of a private key in PEM (RFC 7468); the first ones tell no more than what kind of key it is.
fn private_line(value: &[u8]) -> Option<&[u8]> {
    let text = std::str::from_utf8(value).ok()?;
    let (_, rest) = text.split_once("PRIVATE KEY-----")?;
    let (body, _) = rest.split_once("-----END")?;
    let lines: Vec<&str> = body.lines().map(str::trim).filter(|line| line.len() >= 32).collect();
    lines.get(lines.len() / 2).map(|line| line.as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use credentialflow_model::{KeyId, Timestamp};
    use credentialflow_policy::{ApiKey, Finder, KeyTable, LiveSecret, Peppers};

    fn find(marks: &Marks, text: &str) -> Vec<LiveSecret> {
        let (api_key, keys, values) = (ApiKey::new(Arc::new(Peppers::from_keys([]))), KeyTable::empty(), marks.made());
        assert!(!keys.contains(KeyId::from_bits(1)));
        let now = Timestamp::from_secs(1);
        Finder { api_key: &api_key, keys: &keys, values: &values, now }.find(text.as_bytes())
    }

    fn value(credential: &str, version: u32) -> LiveSecret {
        LiveSecret::Value { credential: credential.into(), version }
    }

    #[test]
    fn versions_are_known_until_they_are_forgotten() {
        let (mut marks, token) = (Marks::default(), "token".parse().unwrap());
        marks.add(&token, 1, &SecretValue::from("the-first-value-of-it"));
        marks.add(&token, 2, &SecretValue::from("the-second-value-of-it\n"));
        marks.add(&"short".parse().unwrap(), 1, &SecretValue::from("too-short"));
        assert_eq!(find(&marks, "is it the-first-value-of-it?"), [value("token", 1)]);
        assert_eq!(find(&marks, "\"the-second-value-of-it\""), [value("token", 2)]);
        assert!(find(&marks, "too-short").is_empty());
        marks.forget(&token);
        assert!(find(&marks, "is it the-first-value-of-it?").is_empty());
    }

    #[test]
    fn a_password_and_a_private_key_are_known_apart_from_what_stands_around_them() {
        let mut marks = Marks::default();
        let login = r#"{"username":"orders","password":"a-password-of-32-characters-XXXX"}"#;
        marks.add(&"login".parse().unwrap(), 7, &SecretValue::from(login));
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["a.example".into()]).unwrap().self_signed(&key).unwrap();
        let bundle = format!("{}{}", certificate.pem(), key.serialize_pem());
        marks.add(&"certificate".parse().unwrap(), 3, &SecretValue::from(bundle.as_str()));
        assert_eq!(find(&marks, login), [value("login", 7)]);
        assert_eq!(find(&marks, "PGPASSWORD=a-password-of-32-characters-XXXX psql"), [value("login", 7)]);
        for text in [bundle.clone(), key.serialize_pem(), key.serialize_pem().replace('\n', "\\n")] {
            assert_eq!(find(&marks, &text), [value("certificate", 3)]);
        }
        assert!(find(&marks, &certificate.pem()).is_empty(), "the certificate is public");
        for odd in ["{", "{\"username\":\"x\"}", "-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\n-----END"]
        {
            marks.add(&"odd".parse().unwrap(), 1, &SecretValue::from(odd));
        }
        assert!(find(&marks, "username").is_empty());
    }
}
