//! A mount's defaults, which a path's own settings may tighten.

use crate::fields::{boolean, go_duration, integer, seconds};
use crate::{Call, Reply, Result, SecretsError, Txn};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Versions kept where nobody says how many.
pub(super) const DEFAULT_VERSIONS: u32 = 10;

/// What can be set for a mount.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Settings {
    /// Every write must say which version it follows.
    pub cas_required: bool,
    /// Seconds after which a version counts as deleted; 0: never; negative: never, also where the path says otherwise.
    pub delete_version_after: i64,
    /// How many versions are kept; 0: ten.
    pub max_versions: u32,
}

pub(super) async fn load(call: &Call<'_>, txn: &mut Txn) -> Result<Settings> {
    Ok(txn.entries(call.space()).get_json("c").await?.unwrap_or_default())
}

pub(super) async fn read(call: &Call<'_>, txn: &mut Txn) -> Result<Reply> {
    let settings = load(call, txn).await?;
    Ok(Reply::open(json!({
        "cas_required": settings.cas_required,
        "delete_version_after": go_duration(settings.delete_version_after.max(0)),
        "max_versions": settings.max_versions,
    })))
}

pub(super) async fn write(call: &Call<'_>, txn: &mut Txn) -> Result<Reply> {
    let mut settings = load(call, txn).await?;
    if let Some(required) = boolean(call.data, "cas_required")? {
        settings.cas_required = required;
    }
    if let Some(after) = seconds(call.data, "delete_version_after")? {
        settings.delete_version_after = after;
    }
    if let Some(most) = versions(call)? {
        settings.max_versions = most;
    }
    txn.entries(call.space()).put_json("c", &settings)?;
    Ok(Reply::empty())
}

/// The field `max_versions`.
pub(super) fn versions(call: &Call<'_>) -> Result<Option<u32>> {
    let Some(most) = integer(call.data, "max_versions")? else { return Ok(None) };
    u32::try_from(most).map(Some).map_err(|_| SecretsError::invalid("max_versions must not be negative"))
}
