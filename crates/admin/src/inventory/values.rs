//! Which credentials have the same value, and which one a given text is the value of.
//!
//! Values are opened in memory, hashed under a key that is made for this one comparison and thrown away with it, and
//! wiped. Neither a value nor its hash is stored, logged or answered; what is kept are names. The fingerprints that
//! are stored cannot serve here: they are bound to the credential's name, so that nobody who reads the database can
//! see that two values are equal.

use crate::{AdminState, catalogue, error::ApiError};
use aws_lc_rs::{hmac, rand};
use credentialflow_model::{
    Name, ResourceSet, SecretReference,
    lifecycle::VersionState,
    resource::{Credential, Engine, Kind},
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// The names found last, and the place in the change feed at which they were.
#[derive(Default)]
pub(super) struct Kept(Mutex<Option<(i64, SameValues)>>);

/// For each credential those that have the same value; only where there are any.
pub(super) type SameValues = Arc<HashMap<String, Vec<String>>>;

/// One live value.
pub(super) struct Marked {
    pub credential: Name,
    pub version: u32,
    pub state: VersionState,
}

/// All live values as hashes under a key of their own.
pub(super) struct Marks {
    key: hmac::Key,
    by_mark: HashMap<[u8; 32], Vec<Marked>>,
}

impl Marks {
    /// Opens every live value once.
    pub(super) async fn make(state: &AdminState) -> Result<Self, ApiError> {
        let rows = state.store.live_credential_versions().await?;
        let mut engines = HashMap::new();
        for row in state.store.resources(Kind::Credentials).await? {
            engines.insert(row.name.clone(), catalogue::parse::<Credential>(&row.body)?.engine);
        }
        let vault = state.vault.clone();
        let made = tokio::task::spawn_blocking(move || {
            let mut secret = Zeroizing::new([0u8; 32]);
            rand::fill(&mut *secret).ok()?;
            let key = hmac::Key::new(hmac::HMAC_SHA256, &*secret);
            let mut marks = Self { key, by_mark: HashMap::with_capacity(rows.len()) };
            for row in rows {
                // One that does not open is told of elsewhere, and is nobody's equal.
                let Ok(value) = vault.open_version(&row) else { continue };
                let database = engines.get(&row.credential) == Some(&Engine::Database);
                let mark = match database.then(|| password(value.expose())).flatten() {
                    Some(password) => marks.mark(password.expose()),
                    None => marks.mark(value.expose()),
                };
                let marked = Marked { credential: row.credential, version: row.version, state: row.state };
                marks.by_mark.entry(mark).or_default().push(marked);
            }
            Some(marks)
        })
        .await;
        let made = made.map_err(|error| ApiError::internal("the values could not be compared", &error))?;
        made.ok_or_else(|| ApiError::internal("the values could not be compared", &"the system has no randomness"))
    }

    /// Whose live value this is.
    pub(super) fn find(&self, candidate: &[u8]) -> &[Marked] {
        self.by_mark.get(&self.mark(candidate)).map_or(&[], Vec::as_slice)
    }

    fn mark(&self, value: &[u8]) -> [u8; 32] {
        let mut mark = [0; 32];
        mark.copy_from_slice(hmac::sign(&self.key, value).as_ref());
        mark
    }
}

/// The password in the value of a database login.
fn password(value: &[u8]) -> Option<credentialflow_model::SecretValue> {
    #[derive(serde::Deserialize)]
    struct Login {
        password: crate::secret::SecretText,
    }
    serde_json::from_slice::<Login>(value).ok().map(|login| login.password.0)
}

/// Which credentials have the same value without being declared as copies of one another.
pub(super) async fn same_values(state: &AdminState, set: &ResourceSet) -> Result<SameValues, ApiError> {
    let mut kept = state.inventory.values.0.lock().await;
    let seq = state.store.latest_change().await?;
    if let Some((of, found)) = kept.as_ref()
        && *of == seq
    {
        return Ok(found.clone());
    }
    let marks = Marks::make(state).await?;
    let copies: HashMap<&str, &str> = set.credentials.iter().filter_map(copy_of).collect();
    let mut same: HashMap<String, BTreeSet<String>> = HashMap::new();
    for equal in marks.by_mark.values().filter(|equal| equal.len() > 1) {
        for one in equal {
            let root = source(&copies, one.credential.as_str());
            let others = equal.iter().map(|other| other.credential.as_str());
            let others: Vec<_> = others.filter(|other| source(&copies, other) != root).collect();
            if !others.is_empty() {
                same.entry(one.credential.to_string()).or_default().extend(others.into_iter().map(str::to_owned));
            }
        }
    }
    let found = same.into_iter().map(|(name, others)| (name, others.into_iter().collect())).collect();
    let found = Arc::new(found);
    *kept = Some((seq, Arc::clone(&found)));
    Ok(found)
}

fn copy_of(credential: &Credential) -> Option<(&str, &str)> {
    match &credential.value {
        Some(SecretReference::Credential(of)) => Some((credential.name.as_str(), of.as_str())),
        _ => None,
    }
}

/// Where a copy's value comes from in the end. Copies in a circle are nobody's.
fn source<'a>(copies: &HashMap<&'a str, &'a str>, name: &'a str) -> &'a str {
    let mut at = name;
    for _ in 0..copies.len() {
        match copies.get(at) {
            Some(of) => at = of,
            None => break,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn copies_are_followed_to_their_source() {
        let copies = HashMap::from([("c", "b"), ("b", "a"), ("x", "y"), ("y", "x")]);
        assert_eq!((source(&copies, "c"), source(&copies, "a")), ("a", "a"));
        assert!(["x", "y"].contains(&source(&copies, "x")));
    }

    #[test]
    fn only_the_password_of_a_login_is_compared() {
        let found = password(br#"{"username":"orders","password":"p-1"}"#).unwrap();
        assert_eq!(found.expose(), b"p-1");
        assert!(password(b"plain").is_none());
    }
}
