//! Passes: what an address carries so that its caller can go on with one thing without its key, for a while.
//!
//! A pass names the key that it was made for, the secret that was presented, when it ends, and what it is for. It is marked
//! as the ids of sessions are ([`SessionOwner`]), with a pepper that all nodes have; so any of them takes it, and nothing is
//! kept. It opens what it names and nothing else, and ends with the key, and with that secret of it.

use crate::{ApiKey, AuthFailure, KeyPrincipal, KeyTable, Principal, SessionOwner};
use credentialflow_model::{KeyId, Timestamp, usage::SecretShown};

/// Why a pass opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It is none of ours, or its key is not in force any more. Whoever shows it may be guessing.
    Refused(AuthFailure),
    /// It was one, and its time is over.
    Over,
}

/// The pass of a caller for `what`, which is visible ASCII. `purpose` tells it from passes to anything else; no route has
/// such a name. `None` where the caller has no key, or there is no pepper.
pub fn issue(api_key: &ApiKey, principal: &Principal, purpose: &str, ends: Timestamp, what: &str) -> Option<String> {
    let key = principal.key()?;
    let id = format!("{}.{}.{}.{what}", key.key(), key.version(), ends.secs());
    let bound = SessionOwner { route: purpose, principal }.bind(api_key, id.as_bytes())?;
    String::from_utf8(bound).ok()
}

/// Whose a pass is, and what it is for.
///
/// # Errors
/// Why it opens nothing.
pub fn open<'p>(
    api_key: &ApiKey,
    table: &KeyTable,
    purpose: &str,
    pass: &'p [u8],
    now: Timestamp,
) -> Result<(Principal, &'p str), Closed> {
    let refused = Closed::Refused(AuthFailure::of_nobody());
    let named = read(pass).and_then(|(key, version, _)| principal(table, key, version, now)).ok_or(refused)?;
    let id = SessionOwner { route: purpose, principal: &named }.open(api_key, pass).ok_or(refused)?;
    let (.., rest) = read(id).ok_or(refused)?;
    let (ends, what) = rest.split_once('.').ok_or(refused)?;
    let ends: i64 = ends.parse().map_err(|_| refused)?;
    if now.secs() >= ends { Err(Closed::Over) } else { Ok((named, what)) }
}

/// The key that a pass claims to be of, its secret, and the rest.
fn read(pass: &[u8]) -> Option<(KeyId, u32, &str)> {
    let mut parts = std::str::from_utf8(pass).ok()?.splitn(3, '.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?))
}

/// Whoever called with this secret of a key, if both are in force.
fn principal(table: &KeyTable, key: KeyId, version: u32, now: Timestamp) -> Option<Principal> {
    let now = now.secs();
    let entry = table.entry(key).filter(|entry| entry.is_timely(now))?;
    entry.secrets().find(|secret| secret.version == version && secret.is_timely(now))?;
    let older = entry.previous.as_deref().filter(|secret| secret.retire_at == 0);
    Some(Principal::Key(KeyPrincipal {
        application: entry.application,
        application_name: table.applications().name(entry.application)?.clone(),
        key,
        version,
        shown: older.map(|older| SecretShown { version, is_older: version == older.version }),
        extras: entry.extras.clone(),
        ancestors: table.ancestors(entry, now)?,
    }))
}

#[cfg(test)]
mod tests;
