//! What tells values of credentials in what callers send: marks of every version that works, made when it is opened.
//!
//! Of a login the password counts as well, of an access key of AWS its secret and its session's token. Of a private key
//! in PEM one line from its middle counts and nothing else: all such values end alike, and the line stands also in a
//! text in which the others end in `\n`. Values that are more likely an ordinary text than a secret, of few different
//! bytes, get no mark, nor do credentials that are not looked for. Marks are under a key of this process; no value is
//! kept here.

use aws_lc_rs::rand;
use credentialflow_model::{Name, SecretValue, Timestamp};
use credentialflow_policy::{ValueKey, ValueMark, ValueMarks, finder::values::KEY_BYTES};
use credentialflow_sigv4::AccessKey;
use credentialflow_vault::access_token::AccessToken;
use serde::Deserialize;
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

/// The marks of all credentials.
pub(super) struct Marks {
    key: Option<Arc<ValueKey>>,
    by_name: HashMap<Name, Vec<(u32, ValueMark)>>,
    /// Those of access tokens, until these end.
    tokens: HashMap<Name, Vec<(u32, ValueMark, Timestamp)>>,
    /// As workers use them, until one changes, and whose were left out.
    made: Mutex<Option<Made>>,
}

struct Made {
    without: Vec<Name>,
    marks: Arc<ValueMarks>,
}

/// Values with fewer different bytes, as in a row of zeros, stand in texts for other reasons.
const FEWEST_DIFFERENT: usize = 6;

impl Default for Marks {
    fn default() -> Self {
        let mut random = [0; KEY_BYTES];
        let key = rand::fill(&mut random).ok().map(|()| Arc::new(ValueKey::new(&random)));
        if key.is_none() {
            tracing::error!("the system has no randomness: values of credentials are not looked for in requests");
        }
        Self { key, by_name: HashMap::new(), tokens: HashMap::new(), made: Mutex::default() }
    }
}

impl Marks {
    /// Forgets every version of a credential.
    pub fn forget(&mut self, name: &Name) {
        if self.by_name.remove(name).is_some() {
            self.changed();
        }
    }

    /// A version of a credential works.
    pub fn add(&mut self, name: &Name, version: u32, value: &SecretValue) {
        let Some(key) = &self.key else { return };
        let mut add = |piece: &[u8]| {
            if let Some(mark) = key.mark(piece).filter(|_| !is_ordinary(piece)) {
                self.by_name.entry(name.clone()).or_default().push((version, mark));
            }
        };
        let value = value.expose().trim_ascii();
        add(telling_line(value).unwrap_or(value));
        if let Some(password) = password(value) {
            add(password.expose());
        }
        if let Some(AccessKey { secret, session_token, .. }) = access_key(value) {
            add(secret.expose());
            session_token.iter().for_each(|token| add(token.expose()));
        }
        self.changed();
    }

    /// An access token that was fetched with a version is in force; those before it work until they end.
    pub fn add_token(&mut self, name: &Name, version: u32, token: &AccessToken, now: Timestamp) {
        let Some(mark) = self.key.as_ref().and_then(|key| key.mark(token.value.expose())) else { return };
        let of_name = self.tokens.entry(name.clone()).or_default();
        of_name.retain(|(_, _, end)| *end > now);
        of_name.push((version, mark, token.expires));
        self.changed();
    }

    /// Forgets access tokens of versions that work no more.
    pub fn keep_tokens(&mut self, keep: impl Fn(&Name, u32) -> bool) {
        let count = |all: &HashMap<_, Vec<_>>| all.values().map(Vec::len).sum::<usize>();
        let before = count(&self.tokens);
        for (name, tokens) in &mut self.tokens {
            tokens.retain(|(version, ..)| keep(name, *version));
        }
        self.tokens.retain(|_, tokens| !tokens.is_empty());
        if count(&self.tokens) != before {
            self.changed();
        }
    }

    fn changed(&mut self) {
        *self.made.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// As workers use them, without those of these credentials.
    pub fn made<'a>(&self, without: impl IntoIterator<Item = &'a Name>) -> Arc<ValueMarks> {
        let without: Vec<Name> = without.into_iter().cloned().collect();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = made.as_ref().filter(|made| made.without == without) {
            return made.marks.clone();
        }
        let Some(key) = &self.key else { return Arc::default() };
        let left_out: HashSet<&Name> = without.iter().collect();
        let all = self
            .by_name
            .iter()
            .filter(|(name, _)| !left_out.contains(name))
            .flat_map(|(name, marks)| marks.iter().map(|(version, mark)| (name.shared(), *version, mark.clone())));
        let tokens =
            self.tokens.iter().filter(|(name, _)| !left_out.contains(name)).flat_map(|(name, marks)| {
                marks.iter().map(|(version, mark, _)| (name.shared(), *version, mark.clone()))
            });
        let marks = Arc::new(ValueMarks::new(key.clone(), all.chain(tokens)));
        *made = Some(Made { without, marks: marks.clone() });
        marks
    }
}

fn is_ordinary(value: &[u8]) -> bool {
    value.iter().collect::<HashSet<_>>().len() < FEWEST_DIFFERENT
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

/// An access key of AWS, which its id tells from other values with a colon.
fn access_key(value: &[u8]) -> Option<AccessKey> {
    let key = AccessKey::parse(&SecretValue::new(value.to_vec()))?;
    ["AKIA", "ASIA"].iter().any(|kind| key.id.starts_with(kind)).then_some(key)
}

/// What tells a value in PEM (RFC 7468, and what looks like it): a line from the middle of its private key, since the first
/// ones tell no more than what kind of key it is. Empty where nothing in it is secret or long enough; `None`: it is none.
fn telling_line(value: &[u8]) -> Option<&[u8]> {
    let blocks = std::str::from_utf8(value).ok()?.split("-----BEGIN ").skip(1);
    let blocks: Vec<(&str, &str)> = blocks.filter_map(|block| block.split_once("-----")).collect();
    let public = |label: &str| label.contains("CERTIFICATE") || label.contains("PUBLIC KEY");
    let private = blocks.iter().find(|(label, _)| label.contains("PRIVATE KEY"));
    let (_, block) =
        private.or(blocks.last().filter(|(label, _)| !public(label))).or(blocks.last().map(|_| &("", "")))?;
    let body = block.split_once("-----END").map_or(*block, |(body, _)| body);
    // In JSON, lines end in an escape.
    let lines = body.split(['\n', '\r']).flat_map(|line| line.split("\\n")).map(str::trim);
    let lines: Vec<&str> = lines.filter(|line| line.len() >= 32).collect();
    Some(lines.get(lines.len() / 2).map_or(&[][..], |line| line.as_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use credentialflow_model::{KeyId, Timestamp};
    use credentialflow_policy::{ApiKey, Finder, KeyTable, LiveSecret, Peppers};

    fn find(marks: &Marks, text: &str) -> Vec<LiveSecret> {
        let (api_key, keys, values) =
            (ApiKey::new(Arc::new(Peppers::from_keys([]))), KeyTable::empty(), marks.made([]));
        assert!(!keys.contains(KeyId::from_bits(1)));
        let now = Timestamp::from_secs(1);
        Finder { api_key: &api_key, keys: &keys, values: &values, now }.find(16, text.as_bytes()).secrets
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
    fn access_tokens_are_known_until_they_end_or_their_version_does() {
        let (mut marks, name) = (Marks::default(), "entra".parse().unwrap());
        let token = |text: &str, end| AccessToken {
            value: Arc::new(SecretValue::from(text)),
            obtained: Timestamp::from_secs(0),
            expires: Timestamp::from_secs(end),
        };
        marks.add(&name, 3, &SecretValue::from("the-secret-of-the-client"));
        marks.add_token(&name, 3, &token("the-first-access-token", 100), Timestamp::from_secs(1));
        marks.add_token(&name, 3, &token("the-second-access-token", 200), Timestamp::from_secs(80));
        for text in ["Bearer the-first-access-token", "Bearer the-second-access-token", "the-secret-of-the-client"] {
            assert_eq!(find(&marks, text), [value("entra", 3)], "{text}");
        }
        marks.add_token(&name, 4, &token("the-third-access-token", 300), Timestamp::from_secs(180));
        assert!(find(&marks, "the-first-access-token").is_empty(), "it has ended");
        marks.keep_tokens(|_, version| version == 4);
        assert!(find(&marks, "the-second-access-token").is_empty(), "its version works no more");
        assert_eq!(find(&marks, "the-third-access-token"), [value("entra", 4)]);
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

    #[test]
    fn keys_in_pem_share_no_mark() {
        let body = |n: usize| -> Vec<String> {
            (0..6).map(|line| format!("{:A>44}", format!("{n:05}-{line}/Zq7W4e1r9T"))).collect()
        };
        let pem = |label: &str, n: usize, end: &str| {
            format!("-----BEGIN {label}-----{end}{}{end}-----END {label}-----", body(n).join(end))
        };
        let mut marks = Marks::default();
        let add =
            |marks: &mut Marks, name: &str, text: &str| marks.add(&name.parse().unwrap(), 1, &SecretValue::from(text));
        let values = [
            pem("PRIVATE KEY", 0, "\n"),
            pem("RSA PRIVATE KEY", 1, "\r\n"),
            pem("OPENSSH PRIVATE KEY", 2, "\n"),
            pem("PGP PRIVATE KEY BLOCK", 3, "\n"),
            pem("OpenVPN Static key V1", 4, "\n"),
            format!(
                "{{\"private_key\": \"{}\\n\", \"universe_domain\": \"googleapis.com\"}}",
                pem("PRIVATE KEY", 5, "\\n")
            ),
        ];
        for (n, text) in values.iter().enumerate() {
            add(&mut marks, &format!("v{n}"), text);
        }
        assert_eq!(format!("{:?}", marks.made([])), "ValueMarks(6 fingerprints)");
        for (n, text) in values.iter().enumerate() {
            for text in [text.clone(), text.replace("\r\n", "\n").replace('\n', "\\n"), body(n).join("\n")] {
                assert_eq!(find(&marks, &text), [value(&format!("v{n}"), 1)], "{text}");
            }
        }
        assert!(find(&marks, &pem("PRIVATE KEY", 9, "\n")).is_empty());
        assert!(find(&marks, "\"universe_domain\": \"googleapis.com\"}").is_empty());
        // What is public gets none.
        let before = marks.made([]);
        add(&mut marks, "public", &pem("CERTIFICATE", 7, "\n"));
        add(&mut marks, "public", &pem("PUBLIC KEY", 8, "\n"));
        assert_eq!(format!("{:?}", marks.made([])), format!("{before:?}"));
    }

    #[test]
    fn ordinary_values_and_those_that_are_left_out_are_not_looked_for() {
        let mut marks = Marks::default();
        let (zeros, token): (Name, Name) = ("zeros".parse().unwrap(), "token".parse().unwrap());
        for ordinary in
            ["0000000000000000", "xxxxxxxxxxxxxxxxxxxxxxxx", "abcabcabcabcabcabc", "------------------------"]
        {
            marks.add(&zeros, 1, &SecretValue::from(ordinary));
            assert!(find(&marks, ordinary).is_empty(), "{ordinary}");
        }
        marks.add(&token, 1, &SecretValue::from("a-value-that-is-looked-for"));
        assert_eq!(find(&marks, "a-value-that-is-looked-for"), [value("token", 1)]);
        assert!(marks.made([&token]).is_empty() && marks.made([&token]).is_empty());
        assert!(!marks.made([&zeros]).is_empty());
        assert!(Arc::ptr_eq(&marks.made([]), &marks.made([])), "made once");
    }
}
