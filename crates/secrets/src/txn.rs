//! One request's view of what is stored: read through, changed in memory, committed once.

use crate::{Result, SecretsError};
use credentialflow_model::{Actor, SecretValue, Timestamp};
use credentialflow_store::{Expect, Op, Store, Unit};
use credentialflow_vault::{Sealed, Vault};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use zeroize::Zeroizing;

type Place = (String, String);

/// What one request reads and wants to change. Dropped without a commit, nothing happened.
#[must_use = "without commit() nothing is kept"]
pub struct Txn {
    vault: Vault,
    store: Store,
    unit: Unit,
    /// What is to be written; `None`: removed.
    pending: BTreeMap<Place, Option<SecretValue>>,
    /// What was read, and what revision it had; `None`: nothing was there.
    seen: BTreeMap<Place, Option<i64>>,
    /// Spaces and prefixes to be emptied before anything is written.
    emptied: Vec<Place>,
}

impl fmt::Debug for Txn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Txn").field("actor", &self.unit.actor).finish_non_exhaustive()
    }
}

impl Txn {
    /// Begins; nothing is locked.
    pub fn new(vault: &Vault, store: &Store, actor: Actor) -> Self {
        Self {
            vault: vault.clone(),
            store: store.clone(),
            unit: Unit::new(actor),
            pending: BTreeMap::new(),
            seen: BTreeMap::new(),
            emptied: Vec::new(),
        }
    }

    /// The storage of one mount, or of one part of the product. Nothing outside it can be reached through it.
    pub fn entries(&mut self, space: &str) -> Entries<'_> {
        Entries { txn: self, space: space.to_owned() }
    }

    /// Adds an audit event; at least one is needed.
    pub fn audit(&mut self, action: &str, subject: &str, detail: Value) {
        self.unit.audit(action, subject, detail);
    }

    /// An operation on tokens or leases, done together with everything else.
    pub fn op(&mut self, op: Op) {
        self.unit.ops.push(op);
    }

    /// Says that this request rests on a token: it is refused when the token was changed or ended by
    /// another node since this one last looked.
    pub fn rests_on_token(&mut self, id_hash: &[u8]) {
        self.unit.read_token(id_hash);
    }

    /// The time by the store's clock.
    pub fn now(&self) -> Timestamp {
        self.store.now()
    }

    /// The vault, for sealing what lies outside of entries.
    pub const fn vault(&self) -> &Vault {
        &self.vault
    }

    /// The store, for reading what lies outside of entries.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Whether anything would change.
    pub fn has_changes(&self) -> bool {
        !self.pending.is_empty() || !self.emptied.is_empty() || !self.unit.ops.is_empty()
    }

    /// Makes everything permanent, together with the audit events. [`SecretsError::Raced`] when another
    /// request changed what this one had read: nothing was done.
    pub async fn commit(mut self) -> Result<i64> {
        for (space, prefix) in self.emptied {
            self.unit.ops.push(Op::DeleteEntries { space, prefix });
        }
        for (place, value) in self.pending {
            let expect = match self.seen.remove(&place) {
                Some(Some(revision)) => Expect::Revision(revision),
                Some(None) => Expect::Absent,
                None => Expect::Anything,
            };
            let (space, path) = place;
            self.unit.ops.push(match value {
                Some(value) => {
                    let sealed = self.vault.seal_blob(&context(&space, &path), value.expose())?.into_bytes();
                    Op::PutEntry { space, path, sealed, expect }
                }
                None => Op::DeleteEntry { space, path, expect },
            });
        }
        for (space, path) in self.seen.keys() {
            self.unit.read_entry(space, path);
        }
        Ok(self.store.submit(self.unit).await?)
    }
}

fn context(space: &str, path: &str) -> String {
    entry_place(space, path)
}

/// Where a sealed entry belongs, as the vault's blobs are bound: it opens nowhere else. For sealing it
/// anew under another encryption key.
pub fn entry_place(space: &str, path: &str) -> String {
    format!("entry\0{space}\0{path}")
}

/// Sealed storage bound to one space. Values are sealed when they are committed and opened when they are read.
pub struct Entries<'t> {
    txn: &'t mut Txn,
    space: String,
}

impl fmt::Debug for Entries<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").field("space", &self.space).finish_non_exhaustive()
    }
}

impl Entries<'_> {
    fn place(&self, path: &str) -> Place {
        (self.space.clone(), path.to_owned())
    }

    fn is_emptied(&self, path: &str) -> bool {
        self.txn.emptied.iter().any(|(space, prefix)| *space == self.space && path.starts_with(prefix.as_str()))
    }

    async fn row(&mut self, path: &str) -> Result<Option<credentialflow_store::EntryRow>> {
        let row = self.txn.store.entry(&self.space, path).await?;
        let place = self.place(path);
        // The first look counts: whoever read twice must see one state.
        let revision = row.as_ref().map(|r| r.revision);
        if self.txn.seen.get(&place).is_some_and(|first| *first != revision) {
            return Err(SecretsError::Raced);
        }
        self.txn.seen.insert(place, revision);
        Ok(row)
    }

    /// The value at a path, as this request sees it.
    pub async fn get(&mut self, path: &str) -> Result<Option<SecretValue>> {
        if let Some(pending) = self.txn.pending.get(&self.place(path)) {
            return Ok(pending.as_ref().map(SecretValue::duplicate));
        }
        if self.is_emptied(path) {
            return Ok(None);
        }
        let Some(row) = self.row(path).await? else { return Ok(None) };
        let sealed = Sealed::from_bytes(row.sealed.to_vec())?;
        Ok(Some(self.txn.vault.open_blob(&context(&self.space, path), &sealed)?))
    }

    /// The revision of what is stored at a path, without opening it; a change of this request that is
    /// not committed yet does not count. Two equal revisions are one value.
    pub async fn revision(&mut self, path: &str) -> Result<Option<i64>> {
        Ok(self.row(path).await?.map(|row| row.revision))
    }

    /// The JSON value at a path.
    pub async fn get_json<T: DeserializeOwned>(&mut self, path: &str) -> Result<Option<T>> {
        let Some(value) = self.get(path).await? else { return Ok(None) };
        serde_json::from_slice(value.expose()).map(Some).map_err(|_| SecretsError::corrupt("entry"))
    }

    /// Whether there is something at a path.
    pub async fn exists(&mut self, path: &str) -> Result<bool> {
        match self.txn.pending.get(&self.place(path)) {
            Some(pending) => Ok(pending.is_some()),
            None if self.is_emptied(path) => Ok(false),
            None => Ok(self.row(path).await?.is_some()),
        }
    }

    /// Writes a value.
    pub fn put(&mut self, path: &str, value: SecretValue) {
        let place = self.place(path);
        self.txn.pending.insert(place, Some(value));
    }

    /// Writes a value as JSON.
    pub fn put_json<T: Serialize>(&mut self, path: &str, value: &T) -> Result<()> {
        // The first pass counts, so that no half-written copy is left behind by a growing buffer.
        let mut count = Count(0);
        serde_json::to_writer(&mut count, value).map_err(|e| SecretsError::Internal(Box::new(e)))?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(count.0));
        serde_json::to_writer(&mut *bytes, value).map_err(|e| SecretsError::Internal(Box::new(e)))?;
        self.put(path, SecretValue::new(std::mem::take(&mut bytes)));
        Ok(())
    }

    /// Removes what is at a path, if anything.
    pub fn delete(&mut self, path: &str) {
        let place = self.place(path);
        self.txn.pending.insert(place, None);
    }

    /// Removes everything whose path begins so; an empty prefix empties the space.
    pub fn delete_prefix(&mut self, prefix: &str) {
        self.txn.pending.retain(|(space, path), _| *space != self.space || !path.starts_with(prefix));
        let place = self.place(prefix);
        self.txn.emptied.push(place);
    }

    /// The names one level below a prefix (empty, or ending with `/`) after a name, at most `limit`;
    /// what has more below it ends with `/`. What this request changed and has not committed is not seen.
    pub async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<String>> {
        Ok(self.txn.store.entry_children(&self.space, prefix, after, limit).await?)
    }

    /// The paths that begin so and come after a path, at most `limit`; as for [`Entries::list`].
    pub async fn paths(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<String>> {
        Ok(self.txn.store.entry_paths(&self.space, prefix, after, limit).await?)
    }
}

struct Count(usize);

impl std::io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
