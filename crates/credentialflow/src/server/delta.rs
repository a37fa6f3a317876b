//! What changed, as plain data: read from the store, applied to the state, kept in the local copy.

use credentialflow_model::{
    KeyId, Name, Timestamp,
    leak::Quarantine,
    lifecycle::VersionState,
    resource::{Key, Kind},
};
use credentialflow_policy::{Book, KeyExtras, KeyRecord, KeySecret, ParentKey};
use credentialflow_store::{ChangeKind, CredentialVersionRow, KeySecretRow, Store, StoreError};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Arc};

/// Everything that changed up to a place in the change feed. The whole state is one as well.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Delta {
    /// Place in the feed up to which this is everything.
    pub seq: i64,
    /// Whether what is not named here is gone.
    pub whole: bool,
    /// Resources besides keys, as JSON; `None`: deleted.
    pub resources: Vec<(Kind, Name, Option<String>)>,
    /// Keys by name; `None`: gone or revoked.
    pub keys: Vec<(Name, Option<KeyData>)>,
    /// Current versions of credentials, sealed; `None`: there is none.
    pub credentials: Vec<(Name, Option<SealedVersion>)>,
    /// Versions that get a share of the traffic beside the current one, sealed, for the same credentials;
    /// those that are not named have none.
    pub canaries: Vec<(Name, SealedVersion)>,
    /// Whether the vault's settings changed.
    pub settings: bool,
    /// A place in the audit chain that is not before any of this, and its hash: by them a database that
    /// was restored and has gone another way since is told apart.
    pub mark: Option<(u64, [u8; 32])>,
    /// Versions that were replaced and still work, sealed, for the same credentials: no request gets them, and nobody
    /// else is to see them.
    pub previous: Vec<(Name, SealedVersion)>,
    /// Secrets of these keys that were revoked, now or before: what runs with one is cut. Not in the local copy, as
    /// nothing runs yet when that is read.
    #[serde(skip)]
    pub withdrawn: Vec<(KeyId, u32)>,
    /// Keys that are revoked, whether any of their secrets was still accepted or not: the same holds for them.
    #[serde(skip)]
    pub revoked: Vec<KeyId>,
    /// Whether more may follow that was there when this was read.
    #[serde(skip)]
    pub more: bool,
}

/// What followed a place in the feed.
pub(super) enum Since {
    /// Nothing.
    Nothing,
    /// Changes.
    More(Box<Delta>),
    /// The database tells another history than the one that the place is of.
    OtherHistory,
}

/// What the gateway needs of a key.
#[derive(Serialize, Deserialize)]
pub(super) struct KeyData {
    id: u64,
    application: Name,
    /// Its declaration as JSON, where that says more than its application.
    declared: Option<String>,
    secrets: Vec<SecretData>,
    /// Where it may still be used from after a leak, as JSON.
    quarantine: Option<String>,
    /// The id of the key that it comes from, and which secret of that.
    parent: Option<(u64, u32)>,
}

#[derive(Serialize, Deserialize)]
struct SecretData {
    version: u32,
    hash: [u8; 32],
    pepper: u32,
    retire_at: Option<Timestamp>,
}

/// A sealed value.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct SealedVersion {
    pub version: u32,
    pub sealed: Vec<u8>,
}

impl SealedVersion {
    /// A version without bytes stays one: it is in force, and does not open.
    fn of(row: CredentialVersionRow) -> Self {
        Self { version: row.version, sealed: row.sealed.unwrap_or_default() }
    }
}

/// Above so many changes of one kind, the kind is read whole.
const MANY: usize = 256;
/// Changes read at once.
const CHANGES: u32 = 20_000;
/// Keys read at once.
const PAGE: u32 = 10_000;
/// Keys in one piece of a whole state.
const PIECE: usize = 100_000;

impl KeyData {
    /// Reads a stored key; `None` when none of its secrets is accepted any more.
    fn read(record: credentialflow_store::KeyRecord) -> Option<Self> {
        if record.key.revoked_at.is_some() {
            return None;
        }
        let live = |s: &KeySecretRow| matches!(s.state, VersionState::Current | VersionState::Previous);
        let secrets: Vec<SecretData> = record.secrets.iter().filter(|s| live(s)).map(SecretData::of).collect();
        let body: Option<(Key, String)> = record.body.and_then(|body| Some((serde_json::from_str(&body).ok()?, body)));
        let parent = record.parent.map(|parent| (parent.key.bits(), parent.version));
        // One that says it comes from another key, which nobody knows, would have more than it is to have.
        if parent.is_none() && body.as_ref().is_some_and(|(key, _)| key.parent.is_some()) {
            return None;
        }
        let declared = body.filter(|(key, _)| !is_plain(key)).map(|(_, body)| body);
        let quarantine = record.key.quarantine;
        let (id, application) = (record.key.id.bits(), record.key.application);
        let data = Self { id, application, declared, secrets, quarantine, parent };
        (!data.secrets.is_empty()).then_some(data)
    }

    /// One with these secrets.
    #[cfg(test)]
    pub fn of_test(id: KeyId, application: Name, versions: &[u32], parent: Option<KeyId>) -> Self {
        let secret = |version: &u32| SecretData { version: *version, hash: [0; 32], pepper: 1, retire_at: None };
        let secrets = versions.iter().map(secret).collect();
        let parent = parent.map(|parent| (parent.bits(), 1));
        Self { id: id.bits(), application, declared: None, secrets, quarantine: None, parent }
    }

    /// The form the gateway's table takes; its budgets are entered into `book`.
    pub fn into_record(self, book: &Arc<Book>) -> Option<KeyRecord> {
        let declared: Option<Key> = self.declared.as_deref().and_then(|body| serde_json::from_str(body).ok());
        let mut secrets = self.secrets;
        secrets.sort_by_key(|s| s.version);
        let current = secrets.pop()?.into_secret();
        let extras = match self.quarantine {
            None => declared.as_ref().and_then(|key| KeyExtras::of(key, book)),
            // One that cannot be read lets nobody in.
            Some(text) => {
                let quarantine = serde_json::from_str(&text).unwrap_or_else(|_| Quarantine::closed());
                Some(KeyExtras::quarantined(declared.as_ref(), book, quarantine))
            }
        };
        let parent = self.parent.map(|(key, version)| ParentKey { key: KeyId::from_bits(key), version });
        Some(KeyRecord {
            id: KeyId::from_bits(self.id),
            application: self.application,
            current,
            previous: secrets.pop().map(SecretData::into_secret),
            expires: declared.as_ref().and_then(|k| k.expires),
            not_before: declared.as_ref().and_then(|k| k.not_before),
            extras: match parent {
                Some(parent) => Some(KeyExtras::delegated(extras, parent)),
                None => extras,
            },
        })
    }
}

/// Whether a declaration tells the gateway nothing besides the application.
fn is_plain(key: &Key) -> bool {
    let Key { expires, not_before, allow, networks, limit, budget, metadata, parent, actor, subject, .. } = key;
    expires.is_none()
        && not_before.is_none()
        && allow.is_none()
        && networks.is_empty()
        && limit.is_none()
        && budget.is_none()
        && metadata.is_empty()
        && parent.is_none()
        && actor.is_none()
        && subject.is_none()
}

impl SecretData {
    fn of(row: &KeySecretRow) -> Self {
        Self { version: row.version, hash: row.hash, pepper: row.pepper_id, retire_at: row.retire_at }
    }

    fn into_secret(self) -> KeySecret {
        // Peppers are numbered from 1 and few; one that does not fit is unknown and never accepted.
        let pepper = u8::try_from(self.pepper).unwrap_or(u8::MAX);
        KeySecret { version: self.version, hash: self.hash, pepper, retire_at: self.retire_at }
    }
}

impl Delta {
    /// Reads everything, piece by piece, so that a million keys are never held twice: first resources
    /// and credentials, then keys by the hundred thousand. Only the last piece names its place in the
    /// feed, so that what is cut short is not mistaken for everything.
    pub async fn read_whole<E: From<StoreError>>(
        store: &Store,
        mut take: impl FnMut(Self) -> Result<(), E>,
    ) -> Result<(), E> {
        // The place is read first: what changes meanwhile is read twice, never missed.
        let (seq, (event, hash)) = store.latest_place().await?;
        let mut delta = Self { whole: true, ..Self::default() };
        for kind in Kind::ALL.into_iter().filter(|k| *k != Kind::Keys) {
            delta.read_kind(store, kind).await?;
        }
        for row in store.live_credential_versions().await? {
            match row.state {
                VersionState::Current => {
                    delta.credentials.push((row.credential.clone(), Some(SealedVersion::of(row))));
                }
                VersionState::Canary => delta.canaries.push((row.credential.clone(), SealedVersion::of(row))),
                VersionState::Previous => delta.previous.push((row.credential.clone(), SealedVersion::of(row))),
                _ => {}
            }
        }
        take(delta)?;
        let mut piece = Self::default();
        store
            .for_each_key(PAGE, |record| {
                let name = record.key.name.clone();
                piece.keys.extend(KeyData::read(record).map(|data| (name, Some(data))));
                if piece.keys.len() >= PIECE {
                    take(std::mem::take(&mut piece))?;
                }
                Ok::<(), E>(())
            })
            .await?;
        let mark = Some(store.audit_head().await?);
        // Had the database gone back meanwhile, the place would be of the history that is over.
        if event != 0 && store.audit_hash(event).await? != Some(hash) {
            return Err(StoreError::Unavailable("the database went back in time while it was read".into()).into());
        }
        take(Self { seq, mark, ..piece })
    }

    /// Reads what changed after a place in the feed, which belongs to the history of `mark`.
    pub async fn read_since(store: &Store, seq: i64, mark: Option<(u64, [u8; 32])>) -> Result<Since, StoreError> {
        let followed = store.follow_changes(seq, mark.map_or(0, |(event, _)| event), CHANGES).await?;
        if !followed.continues(mark) {
            return Ok(Since::OtherHistory);
        }
        let changes = followed.changes;
        let Some(last) = changes.last() else { return Ok(Since::Nothing) };
        let mut delta = Self { seq: last.seq, more: changes.len() >= CHANGES as usize, ..Self::default() };
        let mut names = [const { BTreeSet::<&str>::new() }; Kind::ALL.len()];
        let mut credentials = BTreeSet::new();
        let mut keys = BTreeSet::new();
        for change in &changes {
            match change.kind {
                ChangeKind::Resource(Kind::Keys) | ChangeKind::KeySecrets => drop(keys.insert(change.name.as_str())),
                ChangeKind::Resource(kind) => drop(names[kind as usize].insert(change.name.as_str())),
                ChangeKind::CredentialVersions => drop(credentials.insert(change.name.as_str())),
                ChangeKind::Settings => delta.settings = true,
                ChangeKind::Unknown => {}
            }
        }
        for kind in Kind::ALL.into_iter().filter(|k| *k != Kind::Keys) {
            let changed = &names[kind as usize];
            if changed.len() > MANY {
                delta.read_kind(store, kind).await?;
                let present: BTreeSet<String> =
                    delta.resources.iter().filter(|r| r.0 == kind).map(|r| r.1.to_string()).collect();
                for gone in changed.iter().filter(|n| !present.contains(**n)) {
                    delta.resources.push((kind, name(gone)?, None));
                }
            } else {
                for changed in changed {
                    let row = store.resource(kind, changed).await?;
                    delta.resources.push((kind, name(changed)?, row.map(|r| r.body)));
                }
            }
        }
        for key in keys {
            let record = store.key_record_in_force(key).await?;
            if let Some(record) = &record {
                let revoked = record.secrets.iter().filter(|secret| secret.state == VersionState::Revoked);
                delta.withdrawn.extend(revoked.map(|secret| (secret.key_id, secret.version)));
                delta.revoked.extend(record.key.revoked_at.map(|_| record.key.id));
            }
            delta.keys.push((name(key)?, record.and_then(KeyData::read)));
        }
        for credential in credentials {
            let versions = store.credential_versions(credential).await?;
            let (mut current, mut canary) = (None, None);
            for version in versions {
                match version.state {
                    VersionState::Current => current = Some(SealedVersion::of(version)),
                    VersionState::Canary => canary = Some(SealedVersion::of(version)),
                    VersionState::Previous => delta.previous.push((name(credential)?, SealedVersion::of(version))),
                    _ => {}
                }
            }
            delta.credentials.push((name(credential)?, current));
            delta.canaries.extend(canary.map(|canary| Ok::<_, StoreError>((name(credential)?, canary))).transpose()?);
        }
        delta.mark = Some(store.audit_head().await?);
        Ok(Since::More(Box::new(delta)))
    }

    async fn read_kind(&mut self, store: &Store, kind: Kind) -> Result<(), StoreError> {
        self.resources.extend(store.resources(kind).await?.into_iter().map(|r| (kind, r.name, Some(r.body))));
        Ok(())
    }
}

fn name(text: &str) -> Result<Name, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt(format!("a change names {text:?}, which is no name")))
}
