//! A key as it is handed in, and as it is held.

use crate::KeyExtras;
use credentialflow_model::{KeyId, Name, Timestamp};
use std::{fmt, sync::Arc};

/// A key as the control plane knows it.
#[derive(Clone, Debug)]
pub struct KeyRecord {
    /// Its public half.
    pub id: KeyId,
    /// The application it speaks for.
    pub application: Name,
    /// The secret in use.
    pub current: KeySecret,
    /// The secret before it, while both are valid.
    pub previous: Option<KeySecret>,
    /// Refused from this moment on.
    pub expires: Option<Timestamp>,
    /// Refused before this moment.
    pub not_before: Option<Timestamp>,
    /// Narrowing, networks, limit, budgets, metadata ([`KeyExtras::of`]).
    pub extras: Option<Arc<KeyExtras>>,
}

/// One secret of a key: its keyed hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeySecret {
    /// Its version.
    pub version: u32,
    /// HMAC-SHA-256 of the secret part under the pepper.
    pub hash: [u8; 32],
    /// Which pepper.
    pub pepper: u8,
    /// Refused from this moment on.
    pub retire_at: Option<Timestamp>,
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySecret(version {})", self.version)
    }
}

/// A change to the table.
#[derive(Clone, Debug)]
pub enum KeyChange {
    /// A key is new or different.
    Put(KeyRecord),
    /// A key is revoked or deleted.
    Remove(KeyId),
}

/// A secret as held. Times are whole seconds since the Unix epoch; 0 means none.
#[derive(Clone, Default)]
pub(crate) struct StoredSecret {
    pub hash: [u8; 32],
    pub version: u32,
    pub retire_at: u32,
    pub pepper: u8,
}

/// A key as held, without its id.
#[derive(Clone, Default)]
pub(crate) struct Entry {
    pub current: StoredSecret,
    pub application: u32,
    pub expires: u32,
    pub not_before: u32,
    pub previous: Option<Box<StoredSecret>>,
    pub extras: Option<Arc<KeyExtras>>,
}

impl Entry {
    pub fn new(record: KeyRecord, application: u32) -> Self {
        Self {
            current: StoredSecret::new(record.current),
            application,
            expires: ending(record.expires),
            not_before: record
                .not_before
                .map_or(0, |t| clamp(t.secs().saturating_add(i64::from(t.micros() % 1_000_000 != 0)))),
            previous: record.previous.map(|secret| Box::new(StoredSecret::new(secret))),
            extras: record.extras,
        }
    }

    pub fn secrets(&self) -> impl Iterator<Item = &StoredSecret> {
        std::iter::once(&self.current).chain(self.previous.as_deref())
    }

    /// Whether the key's own times allow it at this second.
    pub fn is_timely(&self, now: i64) -> bool {
        before(now, self.expires) & (now >= i64::from(self.not_before))
    }

    pub fn memory_bytes(&self) -> usize {
        self.previous.as_ref().map_or(0, |_| size_of::<StoredSecret>())
            + self.extras.as_ref().map_or(0, |extras| extras.memory_bytes())
    }
}

impl StoredSecret {
    fn new(secret: KeySecret) -> Self {
        Self { hash: secret.hash, version: secret.version, retire_at: ending(secret.retire_at), pepper: secret.pepper }
    }

    /// Whether it has not been retired at this second.
    pub fn is_timely(&self, now: i64) -> bool {
        before(now, self.retire_at)
    }
}

fn before(now: i64, end: u32) -> bool {
    (end == 0) | (now < i64::from(end))
}

/// An end in whole seconds, rounded down: a fraction of a second early rather than late. A time at or
/// before 1970 stays an end and never turns into "none".
fn ending(end: Option<Timestamp>) -> u32 {
    end.map_or(0, |t| clamp(t.secs()))
}

fn clamp(secs: i64) -> u32 {
    u32::try_from(secs.max(1)).unwrap_or(u32::MAX)
}
