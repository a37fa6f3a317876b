//! Passes: what an address carries so that its caller can go on with one thing without its key, for a while.
//!
//! A pass names the key that it was made for, the secret that was presented, when it ends, and what it is for. The last is
//! sealed, as it says what callers are not to know, and the whole is marked as the ids of sessions are ([`SessionOwner`]):
//! both with a pepper that all nodes have; so any of them takes it, and nothing is kept. It opens what it names and nothing
//! else, and ends with the key, and with that secret of it.

use crate::{ApiKey, AuthFailure, KeyPrincipal, KeyTable, Principal, SessionOwner};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use credentialflow_model::{KeyId, Timestamp, usage::SecretShown};

/// Why a pass opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It is none of ours, or its key is not in force any more. Whoever shows it may be guessing.
    Refused(AuthFailure),
    /// It was one, and its time is over.
    Over,
}

/// The pass of a caller for `what`, which nobody can read in it. `purpose` tells it from passes to anything else; no route
/// has such a name. `None` where the caller has no key, there is no pepper, or it would be longer than 8 KiB.
pub fn issue(api_key: &ApiKey, principal: &Principal, purpose: &str, ends: Timestamp, what: &[u8]) -> Option<String> {
    let key = principal.key()?;
    let named = format!("{}.{}.{}", key.key(), key.version(), ends.secs());
    let id = format!("{named}.{}", seal(api_key, purpose, &named, what)?);
    let bound = SessionOwner { route: purpose, principal }.bind(api_key, id.as_bytes())?;
    String::from_utf8(bound).ok()
}

/// Whose a pass is, and what it is for.
///
/// # Errors
/// Why it opens nothing.
pub fn open(
    api_key: &ApiKey,
    table: &KeyTable,
    purpose: &str,
    pass: &[u8],
    now: Timestamp,
) -> Result<(Principal, Vec<u8>), Closed> {
    let refused = Closed::Refused(AuthFailure::of_nobody());
    let whose = read(pass).and_then(|(key, version)| principal(table, key, version, now)).ok_or(refused)?;
    let id = SessionOwner { route: purpose, principal: &whose }.open(api_key, pass).ok_or(refused)?;
    let id = std::str::from_utf8(id).map_err(|_| refused)?;
    let (named, sealed) = id.rsplit_once('.').ok_or(refused)?;
    let what = unseal(api_key, purpose, named, sealed).ok_or(refused)?;
    let (_, ends) = named.rsplit_once('.').ok_or(refused)?;
    let ends: i64 = ends.parse().map_err(|_| refused)?;
    if now.secs() >= ends { Err(Closed::Over) } else { Ok((whose, what)) }
}

/// The key that a pass claims to be of, and its secret.
fn read(pass: &[u8]) -> Option<(KeyId, u32)> {
    let mut parts = std::str::from_utf8(pass).ok()?.splitn(3, '.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// What a pass is for, as it stands behind what the pass names: AES-256-GCM, and before it the number of the pepper and
/// the nonce. What is named is the associated data, so it opens for no other key, secret or end.
fn seal(api_key: &ApiKey, purpose: &str, named: &str, what: &[u8]) -> Option<String> {
    let pepper = api_key.peppers().newest()?;
    let mut text = what.to_vec();
    let key = sealing_key(api_key, pepper, purpose)?;
    let nonce = key.seal_in_place_append_tag(Aad::from(named), &mut text).ok()?;
    Some(BASE64_URL_SAFE_NO_PAD.encode([&[pepper], &nonce.as_ref()[..], &text].concat()))
}

/// What [`seal`] sealed.
fn unseal(api_key: &ApiKey, purpose: &str, named: &str, sealed: &str) -> Option<Vec<u8>> {
    let mut sealed = BASE64_URL_SAFE_NO_PAD.decode(sealed).ok()?;
    let (head, text) = sealed.split_at_mut_checked(1 + NONCE_LEN)?;
    let (pepper, nonce) = head.split_first()?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let key = sealing_key(api_key, *pepper, purpose)?;
    key.open_in_place(nonce, Aad::from(named), text).ok().map(|what| what.to_vec())
}

/// The key that seals what passes of one purpose say: a pepper's keyed hash (HMAC-SHA-256) of what it is for.
fn sealing_key(api_key: &ApiKey, pepper: u8, purpose: &str) -> Option<RandomizedNonceKey> {
    let material = api_key.peppers().hash(pepper, format!("key that seals passes\0{purpose}").as_bytes()).ok()?;
    RandomizedNonceKey::new(&AES_256_GCM, &material).ok()
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
