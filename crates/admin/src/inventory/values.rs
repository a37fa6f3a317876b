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
use credentialflow_store::{Store, StoreError};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// The names found last.
#[derive(Default)]
pub(super) struct Kept(Mutex<Option<Found>>);

struct Found {
    /// The place in the change feed at which they were.
    seq: i64,
    /// A place in the audit chain and its hash, which tell a database that was restored to an older state.
    mark: (u64, [u8; 32]),
    same: SameValues,
}

impl Found {
    /// Whether nothing changed since.
    async fn holds(&mut self, store: &Store) -> Result<bool, StoreError> {
        let followed = store.follow_changes(self.seq, self.mark.0, 1).await?;
        let holds = followed.changes.is_empty() && followed.continues(Some(self.mark));
        if holds {
            self.mark = followed.head;
        }
        Ok(holds)
    }
}

/// For each credential those that have the same value; only where there are any.
pub(super) type SameValues = Arc<HashMap<String, Vec<String>>>;

/// One live value.
pub(crate) struct Marked {
    pub credential: Name,
    pub version: u32,
    pub state: VersionState,
}

/// All live values as hashes under a key of their own.
pub(crate) struct Marks {
    key: hmac::Key,
    by_mark: HashMap<[u8; 32], Vec<Marked>>,
}

impl Marks {
    /// Opens every live value once.
    pub(crate) async fn make(state: &AdminState) -> Result<Self, ApiError> {
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
            // The secret of a key is told as that of a key, whoever holds it.
            let rows = rows.into_iter().filter(|row| engines.get(&row.credential) != Some(&Engine::Key));
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
    pub(crate) fn find(&self, candidate: &[u8]) -> &[Marked] {
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
    if let Some(found) = kept.as_mut()
        && found.holds(&state.store).await?
    {
        return Ok(found.same.clone());
    }
    let (seq, mark) = state.store.latest_place().await?;
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
    let same = same.into_iter().map(|(name, others)| (name, others.into_iter().collect())).collect();
    let same = Arc::new(same);
    *kept = Some(Found { seq, mark, same: Arc::clone(&same) });
    Ok(same)
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
    use credentialflow_model::Actor;
    use credentialflow_store::Expect;

    #[test]
    fn copies_are_followed_to_their_source() {
        let copies = HashMap::from([("c", "b"), ("b", "a"), ("x", "y"), ("y", "x")]);
        assert_eq!((source(&copies, "c"), source(&copies, "a")), ("a", "a"));
        assert!(["x", "y"].contains(&source(&copies, "x")));
    }

    #[tokio::test]
    async fn what_was_found_does_not_hold_in_another_history() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let open = async |name: &str| Store::connect(&format!("sqlite:{}", at(name).display())).await.unwrap();
        let write = async |store: &Store, team: &str| {
            let mut tx = store.begin(&Actor::operator()).await.unwrap();
            let body = serde_json::json!({ "name": team }).to_string();
            tx.put_resource(Kind::Teams, &team.parse().unwrap(), &body, Expect::Absent).await.unwrap();
            tx.audit("team.create", team, serde_json::json!({}));
            tx.commit().await.unwrap();
        };
        let store = open("here.db").await;
        store.migrate().await.unwrap();
        store.close().await;
        std::fs::copy(at("here.db"), at("backup.db")).unwrap();
        let (here, restored) = (open("here.db").await, open("backup.db").await);
        write(&here, "one").await;
        let (seq, mark) = here.latest_place().await.unwrap();
        let mut found = Found { seq, mark, same: SameValues::default() };
        assert!(found.holds(&here).await.unwrap());
        write(&restored, "other").await;
        assert_eq!(restored.latest_change().await.unwrap(), seq);
        assert!(!found.holds(&restored).await.unwrap());
        write(&here, "two").await;
        assert!(!found.holds(&here).await.unwrap());
    }

    #[test]
    fn only_the_password_of_a_login_is_compared() {
        let found = password(br#"{"username":"orders","password":"p-1"}"#).unwrap();
        assert_eq!(found.expose(), b"p-1");
        assert!(password(b"plain").is_none());
    }
}
