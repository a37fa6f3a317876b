//! What every part of this room works with: store, vault, clock, and the caches above them.

use crate::{
    Authenticated, Clock, IdentityError, Mount, Result, Shelf,
    method::{jwt::KeyCache, userpass::Guard},
    policies::AclCache,
    ports::{TokenEnd, Web},
    tokens::Sessions,
};
use credentialflow_model::{Timestamp, resource::Kind};
use credentialflow_store::{AuditFilter, Expect, Op, Store, Unit};
use credentialflow_vault::{Pepper, Vault};
use std::{fmt, sync::Arc};

/// The shared ground under policies, tokens and methods.
pub struct Core {
    pub(crate) store: Store,
    pub(crate) vault: Vault,
    pub(crate) clock: Clock,
    pub(crate) web: Arc<dyn Web>,
    pub(crate) ends: Vec<Arc<dyn TokenEnd>>,
    pub(crate) acls: AclCache,
    pub(crate) sessions: Sessions,
    pub(crate) keys: KeyCache,
    pub(crate) guard: Guard,
    /// Held by who lost a race while it tries again.
    pub(crate) turn: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("vault", &self.vault).finish_non_exhaustive()
    }
}

impl Core {
    pub(crate) fn new(
        store: Store,
        vault: Vault,
        clock: Clock,
        web: Arc<dyn Web>,
        ends: Vec<Arc<dyn TokenEnd>>,
    ) -> Self {
        Self {
            store,
            vault,
            clock,
            web,
            ends,
            acls: AclCache::default(),
            sessions: Sessions::default(),
            keys: KeyCache::default(),
            guard: Guard::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// The part of the store that belongs to a mount.
    pub(crate) fn shelf(&self, mount: &Mount) -> Shelf {
        self.space(mount.id.as_str())
    }

    pub(crate) fn space(&self, space: impl Into<String>) -> Shelf {
        Shelf::new(self.store.clone(), self.vault.clone(), space)
    }

    /// Now, in whole seconds.
    pub(crate) fn secs(&self) -> i64 {
        self.clock.secs()
    }

    /// Does a unit; a lost race is [`IdentityError::Conflict`].
    pub(crate) async fn submit(&self, unit: Unit) -> Result<i64> {
        Ok(self.store.submit(unit).await?)
    }

    /// Whether an entry is still as a check of it expects.
    pub(crate) async fn stands(&self, check: Option<&Op>) -> Result<bool> {
        let Some(Op::CheckEntry { space, path, expect }) = check else { return Ok(true) };
        let revision = self.store.entry(space, path).await?.map(|row| row.revision);
        Ok(match expect {
            Expect::Anything => true,
            Expect::Absent => revision.is_none(),
            Expect::Present => revision.is_some(),
            Expect::Revision(expected) => revision == Some(*expected),
        })
    }

    /// Refuses the name of an application that there is none of; empty: none is named.
    pub(crate) async fn known_application(&self, name: &str) -> Result<()> {
        if name.is_empty() || self.store.resource(Kind::Applications, name).await?.is_some() {
            return Ok(());
        }
        Err(IdentityError::invalid(format!("there is no application named {name:?}")))
    }

    /// Whether the caller's token is still there; also where there is no caller, or one whose token is not stored.
    pub(crate) async fn caller_stands(&self, caller: Option<&Authenticated>) -> Result<bool> {
        let Some(hash) = caller.and_then(Authenticated::id_hash) else { return Ok(true) };
        Ok(self.store.token(hash).await?.is_some())
    }

    /// The keyed hash that stands for a secret of one kind, under the newest pepper: to write something down. What was
    /// written down before is found by [`Core::hashes`].
    pub(crate) fn hash(&self, kind: &str, secret: &[u8]) -> Result<[u8; 32]> {
        Ok(hash_under(&self.vault.pepper()?, kind, secret))
    }

    /// The keyed hashes of a secret under every pepper, the newest first.
    pub(crate) fn hashes(&self, kind: &str, secret: &[u8]) -> Result<impl Iterator<Item = [u8; 32]>> {
        let text = labelled(kind, secret);
        Ok(self.vault.peppers()?.into_iter().rev().map(move |pepper| pepper.hash(&text)))
    }
}

/// The keyed hash of a secret of one kind under one pepper.
pub(crate) fn hash_under(pepper: &Pepper, kind: &str, secret: &[u8]) -> [u8; 32] {
    pepper.hash(&labelled(kind, secret))
}

/// A secret with its kind before it, so that the hash of one kind is never that of another.
fn labelled(kind: &str, secret: &[u8]) -> zeroize::Zeroizing<Vec<u8>> {
    let mut text = zeroize::Zeroizing::new(Vec::with_capacity(kind.len() + secret.len() + 16));
    text.extend_from_slice(b"identity\0");
    text.extend_from_slice(kind.as_bytes());
    text.push(0);
    text.extend_from_slice(secret);
    text
}

/// The newest moment the store knows: that of its last audit event.
pub(crate) async fn newest_moment(store: &Store) -> Result<Timestamp> {
    let last = store.audit_events_before(0, 1, &AuditFilter::default()).await?;
    Ok(last.first().map_or(Timestamp::from_micros(0), |event| event.time))
}
