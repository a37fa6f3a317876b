//! Deleting versions softly, bringing them back, destroying them.

use super::{load, place, settings, store};
use crate::fields::integers;
use crate::{Call, Reply, Result, SecretsError, Txn};

/// Most versions named in one request.
const MOST: usize = 10_000;

pub(super) async fn delete_newest(call: &Call<'_>, txn: &mut Txn, path: &str) -> Result<Reply> {
    let Some(mut meta) = load(call, txn, path).await? else { return Ok(Reply::empty()) };
    let newest = meta.current();
    if let Some(version) = meta.version_mut(newest).filter(|v| v.is_readable(call.now)) {
        version.1 = call.now.micros();
        store(call, txn, path, &meta)?;
    }
    Ok(Reply::empty())
}

/// `delete`, `undelete` or `destroy` of the versions in the field `versions`. What is not there is passed over.
pub(super) async fn change(call: &Call<'_>, txn: &mut Txn, path: &str, what: &str) -> Result<Reply> {
    let versions = integers(call.data, "versions")?;
    if versions.is_empty() {
        return Err(SecretsError::invalid("no version number provided"));
    }
    if versions.len() > MOST {
        return Err(SecretsError::invalid("too many versions in one request"));
    }
    let Some(mut meta) = load(call, txn, path).await? else {
        return if what == "destroy" || what == "undelete" { Err(SecretsError::NotFound) } else { Ok(Reply::empty()) };
    };
    // A version brought back ends by itself as one written now would: it was to end some day, and still is.
    let ends = if what == "undelete" { meta.ends(&settings::load(call, txn).await?, call.now) } else { 0 };
    for number in versions.into_iter().filter_map(|n| u64::try_from(n).ok()) {
        let Some(version) = meta.version_mut(number).filter(|v| !v.2) else { continue };
        match what {
            "delete" if version.is_readable(call.now) => version.1 = call.now.micros(),
            "undelete" => version.1 = ends,
            "destroy" => {
                version.2 = true;
                txn.entries(call.space()).delete(&place(path, number));
            }
            _ => {}
        }
    }
    store(call, txn, path, &meta)?;
    Ok(Reply::empty())
}
