//! `api_key`: the caller is an application and proves it with one of the keys we issued.
//!
//! When: on every route with `authenticate: [api_key]`.
//!
//! Settings: none of its own; `key_in_query` of the route names a query parameter to look in.
//!
//! Example: `Authorization: Bearer cfk_live_7m2k9q4x1c8v_…`
//!
//! Posture: unknown, wrong, expired, not yet valid, retired, revoked, malformed and oversized keys are
//! refused with one answer and equal work: one HMAC-SHA-256 and two constant-time comparisons, against
//! a dummy where there is nothing to compare with. (A key whose two secrets stand under different
//! peppers costs a second HMAC until the older one is retired.) The hash and its length are fixed by
//! us; nothing in the presented text chooses them. A key that comes from other keys is refused in the same way
//! where one of those is not in force.

use crate::{
    KeyPrincipal, KeyTable, Peppers, Principal,
    keys::{Entry, StoredSecret},
};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use credentialflow_model::{KeyId, KeyToken, OutcomeReason, Timestamp, usage::SecretShown};
use std::sync::Arc;

/// The authenticator's name.
pub const KIND: &str = "api_key";

/// Hashed where nothing well-formed was presented; as long as a real secret part.
const DUMMY_SECRET: [u8; 32] = [b'0'; 32];

/// Checks presented keys against a table.
#[derive(Clone, Debug)]
pub struct ApiKey {
    peppers: Arc<Peppers>,
}

/// A presented key was not accepted. Tells the caller nothing but that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthFailure {
    claimed: Option<KeyId>,
    known: bool,
}

impl AuthFailure {
    /// As of nobody: where no key was presented, so that guesses count for their source alone.
    pub(crate) const fn of_nobody() -> Self {
        Self { claimed: None, known: false }
    }
    /// The reason, always the same.
    pub const fn reason(&self) -> OutcomeReason {
        OutcomeReason::Unauthenticated
    }
    /// The key id it claimed, for slowing down guesses only: counting known and unknown ids alike
    /// reveals nothing about which exist.
    pub const fn claimed(&self) -> Option<KeyId> {
        self.claimed
    }
    /// As for an unknown key of this id.
    #[cfg(test)]
    pub(crate) const fn claiming(id: KeyId) -> Self {
        Self { claimed: Some(id), known: false }
    }
    /// The key id, if there is such a key; for logs.
    pub const fn key(&self) -> Option<KeyId> {
        if self.known { self.claimed } else { None }
    }
}

impl ApiKey {
    /// With the vault's peppers.
    pub fn new(peppers: Arc<Peppers>) -> Self {
        Self { peppers }
    }

    /// The peppers.
    pub(crate) fn peppers(&self) -> &Peppers {
        &self.peppers
    }

    /// Verifies a presented key at this time. Allocates nothing.
    pub fn authenticate(&self, presented: &[u8], table: &KeyTable, now: Timestamp) -> Result<Principal, AuthFailure> {
        let token = KeyToken::parse(presented);
        let claimed = token.as_ref().map(|t| t.id);
        let secret = token.as_ref().map_or(DUMMY_SECRET.as_slice(), |t| t.expose_secret());
        let found = table.entry(claimed.unwrap_or(KeyId::from_bits(0)));
        let well_formed = token.is_some();

        let nothing = Entry::default();
        let entry = found.unwrap_or(&nothing);
        let current = &entry.current;
        let previous = entry.previous.as_deref();
        let (hash, hashed) = self.peppers.hash_anyway(current.pepper, secret);
        let is_current = hashed & same(&hash, current);
        let (hash, hashed) = match previous {
            Some(previous) if previous.pepper != current.pepper => self.peppers.hash_anyway(previous.pepper, secret),
            _ => (hash, hashed),
        };
        let is_previous = hashed & same(&hash, previous.unwrap_or(&nothing.current)) & previous.is_some();

        let now = now.secs();
        let by_current = is_current & current.is_timely(now);
        let by_previous = is_previous & previous.is_some_and(|secret| secret.is_timely(now));
        let valid = well_formed & found.is_some() & entry.is_timely(now) & (by_current | by_previous);
        let failure = AuthFailure { claimed, known: well_formed & found.is_some() };
        let (Some(key), true) = (claimed, valid) else { return Err(failure) };
        let ancestors = table.ancestors(entry, now).ok_or(failure)?;
        let application_name = table.applications().name(entry.application).ok_or(failure)?.clone();
        let version = match previous {
            Some(previous) if !by_current => previous.version,
            _ => current.version,
        };
        // An older secret without an end is one that a rotation waits for.
        let waited_for = previous.filter(|secret| secret.retire_at == 0);
        let shown = waited_for.map(|older| SecretShown { version, is_older: version == older.version });
        Ok(Principal::Key(KeyPrincipal {
            application: entry.application,
            application_name,
            key,
            version,
            shown,
            extras: entry.extras.clone(),
            ancestors,
        }))
    }
}

fn same(hash: &[u8; 32], secret: &StoredSecret) -> bool {
    verify_slices_are_equal(hash, &secret.hash).is_ok()
}

#[cfg(test)]
mod tests;
