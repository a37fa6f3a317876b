//! Key-value secrets, version 2: every write is a version; versions are deleted softly, brought back,
//! or destroyed for good. For everything people and programs keep.
//!
//! | Path | Operations |
//! | --- | --- |
//! | `config` | read, write: defaults of this mount |
//! | `data/PATH` | read (`version`), write (`options.cas`), patch (RFC 7396), delete the newest |
//! | `delete/PATH`, `undelete/PATH`, `destroy/PATH` | write: `versions` |
//! | `subkeys/PATH` | read: the shape without the values (`version`, `depth`) |
//! | `metadata/PATH` | list, read, write, patch, delete everything |
//!
//! Stored below the mount: `c`, the settings; `m/PATH`, what is known about a path and its versions;
//! `v/PATH//N`, a version's value. `//` is in no path, so one path's versions are a prefix of their own.

mod data;
mod meta;
mod settings;
mod versions;

use super::{check_path, list};
use crate::{Call, Operation, Reply, Result, SecretsError, Txn, entry_place};
use credentialflow_model::Timestamp;
use credentialflow_vault::Sealed;
pub use data::wipe;
use meta::Meta;
use settings::Settings;
use std::time::Instant;

pub(super) async fn handle(call: &Call<'_>, txn: &mut Txn) -> Result<Reply> {
    use Operation::{Delete, List, Patch, Read, Write};
    if call.path == "config" {
        return match call.operation {
            Read => settings::read(call, txn).await,
            Write => settings::write(call, txn).await,
            _ => Err(SecretsError::Unsupported),
        };
    }
    let (kind, path) = call.path.split_once('/').unwrap_or((call.path, ""));
    if let (List, "metadata") = (call.operation, kind) {
        return list(call, txn, call.space(), "m/", path).await;
    }
    if !matches!(kind, "data" | "metadata" | "delete" | "undelete" | "destroy" | "subkeys") {
        return Err(SecretsError::UnknownPath);
    }
    let path = check_path(path)?;
    match (kind, call.operation) {
        ("data", Read) => data::read(call, txn, path).await,
        ("data", Write) => data::write(call, txn, path).await,
        ("data", Patch) => data::patch(call, txn, path).await,
        ("data", Delete) => versions::delete_newest(call, txn, path).await,
        ("subkeys", Read) => data::subkeys(call, txn, path).await,
        ("delete" | "undelete" | "destroy", Write) => versions::change(call, txn, path, kind).await,
        ("metadata", Read) => meta::read(call, txn, path).await,
        ("metadata", Write | Patch) => meta::write(call, txn, path).await,
        ("metadata", Delete) => meta::delete(call, txn, path).await,
        _ => Err(SecretsError::Unsupported),
    }
}

pub(super) async fn exists(call: &Call<'_>, txn: &mut Txn) -> Result<bool> {
    match call.path.split_once('/') {
        Some(("data" | "metadata", path)) => {
            let path = format!("m/{}", check_path(path)?);
            txn.entries(call.space()).exists(&path).await
        }
        _ => Ok(true),
    }
}

/// Of no more secrets each is looked at to find the oldest.
const LOOKED_AT: u64 = 10_000;
/// Secrets read in one go.
const PAGE: u32 = 500;

/// How many secrets a mount's storage has.
pub(crate) async fn count(txn: &Txn, space: &str) -> Result<u64> {
    Ok(txn.store().entry_count(space, "m/").await?)
}

/// What is known of the ages of a mount's secrets.
pub(crate) enum Age {
    /// When the one that is longest as it is was written; absent where none can be read.
    Known(Option<Timestamp>),
    /// There are too many to look at each.
    TooMany,
    /// There was no time to look at each.
    NoTime,
}

/// When the one that is longest as it is was written. One that does not read is passed over.
pub(crate) async fn oldest(txn: &Txn, space: &str, count: u64, until: Instant) -> Result<Age> {
    if count > LOOKED_AT {
        return Ok(Age::TooMany);
    }
    let (mut oldest, mut after) = (None, String::new());
    loop {
        if Instant::now() >= until {
            return Ok(Age::NoTime);
        }
        let page = txn.store().entries_below(space, "m/", &after, PAGE).await?;
        for (path, row) in &page {
            let written = match written(txn, space, path, &row.sealed) {
                Err(SecretsError::Internal(_)) => None,
                other => other?,
            };
            oldest = [oldest, written].into_iter().flatten().min();
        }
        match page.into_iter().next_back() {
            Some((last, _)) => after = last,
            None => return Ok(Age::Known(oldest.map(Timestamp::from_micros))),
        }
    }
}

/// When what can be read of a secret now was written.
fn written(txn: &Txn, space: &str, path: &str, sealed: &[u8]) -> Result<Option<i64>> {
    let sealed = Sealed::from_bytes(sealed.to_vec())?;
    let plain = txn.vault().open_blob(&entry_place(space, path), &sealed)?;
    let meta: Meta = serde_json::from_slice(plain.expose()).map_err(|_| SecretsError::corrupt("entry"))?;
    Ok(meta.versions.last().filter(|version| version.is_readable(txn.now())).map(|version| version.0))
}

/// What is known about a path.
async fn load(call: &Call<'_>, txn: &mut Txn, path: &str) -> Result<Option<Meta>> {
    txn.entries(call.space()).get_json(&format!("m/{path}")).await
}

fn store(call: &Call<'_>, txn: &mut Txn, path: &str, meta: &Meta) -> Result<()> {
    txn.entries(call.space()).put_json(&format!("m/{path}"), meta)
}

/// Where a version's value lies.
fn place(path: &str, version: u64) -> String {
    format!("v/{path}//{version}")
}
