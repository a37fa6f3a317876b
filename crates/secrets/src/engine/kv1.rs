//! Key-value secrets, version 1: the last value written under each path. For small installations of
//! other tools' habits; version 2 keeps what was before.
//!
//! `GET`, `LIST`, `POST`/`PUT`, `DELETE` on any path. A field `ttl` is told back as lease duration, a
//! hint for callers and nothing more.

use super::{check_path, list};
use crate::{Call, Operation, Reply, Result, SecretsError, Txn, fields};
use serde_json::{Map, Value};

pub(super) async fn handle(call: &Call<'_>, txn: &mut Txn) -> Result<Reply> {
    if call.operation == Operation::List {
        return list(call, txn, call.space(), "", call.path).await;
    }
    let path = check_path(call.path)?;
    let mut entries = txn.entries(call.space());
    match call.operation {
        Operation::Read => {
            let value = entries.get(path).await?.ok_or(SecretsError::NotFound)?;
            let hint = ttl_hint(value.expose()).unwrap_or_else(|| call.mount.default_ttl());
            Ok(Reply { lease_duration: hint, ..Reply::secret(value) })
        }
        Operation::Write => {
            if call.data.is_empty() {
                return Err(SecretsError::invalid("missing data fields"));
            }
            entries.put_json(path, call.data)?;
            Ok(Reply::empty())
        }
        Operation::Delete => {
            entries.delete(path);
            Ok(Reply::empty())
        }
        Operation::List | Operation::Patch => Err(SecretsError::Unsupported),
    }
}

pub(super) async fn exists(call: &Call<'_>, txn: &mut Txn) -> Result<bool> {
    txn.entries(call.space()).exists(check_path(call.path)?).await
}

fn ttl_hint(json: &[u8]) -> Option<i64> {
    // Most values have none; looking for the name is cheaper than parsing.
    if !json.windows(3).any(|w| w == b"ttl") {
        return None;
    }
    let map: Map<String, Value> = serde_json::from_slice(json).ok()?;
    let name = if map.contains_key("ttl") { "ttl" } else { "lease" };
    fields::seconds(&map, name).ok().flatten().filter(|s| *s > 0)
}
