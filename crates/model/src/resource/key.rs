use super::{Allow, Budgets, Delegate, KeyActor, Limit};
use crate::{Name, Timestamp};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A key issued to an application. Its secret is made by the server and shown once; declaring the
/// key never contains it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Unique name, as in `checkout-production`.
    pub name: Name,
    /// The application it speaks for.
    pub application: Name,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The environment written into the key, as in `live` or `test`; 1 to 12 of `a-z 0-9`.
    #[serde(default = "live")]
    pub environment: String,
    /// Refused from this moment on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Refused before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Narrows what the application allows; absent means all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Allow>,
    /// Source networks (CIDR) it may be used from; empty means everywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub networks: Vec<IpNet>,
    /// How much this key may do in some time, and at once; those that come from it count with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// How much the model calls with this key may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budgets>,
    /// Facts about the key, which header rules may tell upstreams.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The key that it comes from, of the same application: it has no more than that one has, its calls are paid by both,
    /// and it ends with it. Never changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Name>,
    /// Who uses it, and what for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<KeyActor>,
    /// Whom its calls are for, as in `alice@example.com`: 1 to 256 characters. Keys that come from it act for the same one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Which keys it may issue itself, at the token endpoint; none unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegate: Option<Delegate>,
}

/// Whether this can name an entry of metadata: 1 to 64 letters, digits and `. _ -`.
pub(crate) fn is_metadata_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

fn live() -> String {
    "live".to_owned()
}
