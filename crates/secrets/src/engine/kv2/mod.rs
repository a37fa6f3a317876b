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
use crate::{Call, Operation, Reply, Result, SecretsError, Txn};
pub use data::wipe;
use meta::Meta;
use settings::Settings;

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
