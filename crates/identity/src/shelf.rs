//! A mount's own part of the store: JSON under paths, sealed before it leaves.
//!
//! Each value is bound to its space and path; moved elsewhere it does not open. Writing happens
//! through operations of a [`Unit`], so that it is audited with what it belongs to.

use crate::{IdentityError, Result, wiped};
use credentialflow_model::SecretValue;
use credentialflow_store::{Expect, Op, Store, StoreError, Unit};
use credentialflow_vault::{Sealed, Vault};
use serde::{Serialize, de::DeserializeOwned};

/// A space of the store with the vault that seals for it.
#[derive(Clone, Debug)]
pub struct Shelf {
    store: Store,
    vault: Vault,
    space: String,
}

/// A value with what must still be true when it is written back.
#[derive(Clone, Debug)]
pub struct Kept<T> {
    /// The value.
    pub value: T,
    /// The number of the commit that wrote it.
    pub revision: i64,
}

impl<T> Kept<T> {
    /// That nobody has written it since.
    pub fn unchanged(&self) -> Expect {
        Expect::Revision(self.revision)
    }
}

/// Names given by one list at most.
const MOST_NAMES: usize = 100_000;

impl Shelf {
    /// The space of this name; names are never used again for something else.
    pub fn new(store: Store, vault: Vault, space: impl Into<String>) -> Self {
        Self { store, vault, space: space.into() }
    }

    /// The space's name.
    pub fn space(&self) -> &str {
        &self.space
    }

    /// What lies at a path.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<Kept<T>>> {
        let Some(Kept { value: plain, revision }) = self.open(path).await? else { return Ok(None) };
        let value = serde_json::from_slice(plain.expose()).map_err(|e| IdentityError::Internal(Box::new(e)))?;
        Ok(Some(Kept { value, revision }))
    }

    /// What lies at a path, as its JSON text: for values with a secret in them.
    pub(crate) async fn open(&self, path: &str) -> Result<Option<Kept<SecretValue>>> {
        let Some(row) = self.store.entry(&self.space, path).await? else { return Ok(None) };
        let sealed = Sealed::from_bytes(row.sealed.to_vec())?;
        let value = self.vault.open_blob(&self.context(path), &sealed)?;
        Ok(Some(Kept { value, revision: row.revision }))
    }

    /// What lies below a prefix and after a path, in the order of the paths, at most `most`: for who walks over all.
    pub(crate) async fn page<T: DeserializeOwned>(
        &self,
        prefix: &str,
        after: &str,
        most: u32,
    ) -> Result<Vec<(String, T)>> {
        let rows = self.store.entries_below(&self.space, prefix, after, most).await?;
        let read = rows.into_iter().map(|(path, row)| {
            let sealed = Sealed::from_bytes(row.sealed.to_vec())?;
            let plain = self.vault.open_blob(&self.context(&path), &sealed)?;
            let value = serde_json::from_slice(plain.expose()).map_err(|e| IdentityError::Internal(Box::new(e)))?;
            Ok((path, value))
        });
        read.collect()
    }

    /// Whether something lies at a path.
    pub async fn has(&self, path: &str) -> Result<bool> {
        Ok(self.store.entry(&self.space, path).await?.is_some())
    }

    /// Puts a value into a unit.
    pub fn put<T: Serialize>(&self, unit: &mut Unit, path: &str, value: &T, expect: Expect) -> Result<()> {
        let plain = wiped::json(value).map_err(|e| IdentityError::Internal(Box::new(e)))?;
        let sealed = self.vault.seal_blob(&self.context(path), plain.expose())?.into_bytes();
        unit.ops.push(Op::PutEntry { space: self.space.clone(), path: path.to_owned(), sealed, expect });
        Ok(())
    }

    /// Puts a removal into a unit.
    pub fn delete(&self, unit: &mut Unit, path: &str, expect: Expect) {
        unit.ops.push(Op::DeleteEntry { space: self.space.clone(), path: path.to_owned(), expect });
    }

    /// Says that a unit rests on what was read at a path: whoever changed it meanwhile, on this node or another, is in
    /// front of it, and it is not done.
    pub fn rests_on<T>(&self, unit: &mut Unit, path: &str, read: &Kept<T>) {
        unit.ops.push(Op::CheckEntry { space: self.space.clone(), path: path.to_owned(), expect: read.unchanged() });
    }

    /// The names one level below a prefix, which ends with `/` or is empty.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        Ok(self.store.entry_children(&self.space, prefix, "", MOST_NAMES).await?)
    }

    fn context(&self, path: &str) -> String {
        entry_place(&self.space, path)
    }
}

/// What binds an entry's sealed bytes to their place, for sealing them anew under another encryption key.
pub fn entry_place(space: &str, path: &str) -> String {
    // The length keeps ("a", "b/c") and ("a/b", "c") apart.
    format!("identity entry {} {space}/{path}", space.len())
}

/// Whether an attempt lost a race and may simply be made again.
pub(crate) fn lost_race(result: &Result<i64, StoreError>) -> bool {
    matches!(result, Err(StoreError::Conflict(_)))
}

/// How often a lost race is run again before the caller is asked to.
pub(crate) const RACES: usize = 64;
