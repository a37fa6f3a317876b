//! What one token keeps for itself: nobody else reads it, not even an administrator's token.
//!
//! Each token's entries lie in a space of their own, named by the token's accessor. Mounted once, at
//! `cubbyhole/`; cannot be mounted elsewhere.

use super::{check_path, list};
use crate::{Call, Operation, Reply, Result, SecretsError, Txn};

/// The space of a token's entries, for whoever ends the token.
pub fn space(accessor: &str) -> String {
    format!("cubbyhole/{accessor}")
}

pub(super) async fn handle(call: &Call<'_>, txn: &mut Txn) -> Result<Reply> {
    if call.client.accessor.is_empty() {
        return Err(SecretsError::Denied("a token without an accessor has no cubbyhole".into()));
    }
    let space = space(&call.client.accessor);
    if call.operation == Operation::List {
        return list(call, txn, &space, "", call.path).await;
    }
    let path = check_path(call.path)?;
    let mut entries = txn.entries(&space);
    match call.operation {
        Operation::Read => Ok(Reply::secret(entries.get(path).await?.ok_or(SecretsError::NotFound)?)),
        Operation::Write if call.data.is_empty() => Err(SecretsError::invalid("missing data fields")),
        Operation::Write => {
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
    txn.entries(&space(&call.client.accessor)).exists(check_path(call.path)?).await
}
