use super::SecretsInRequests;
use crate::{Name, Price, Timestamp};
use serde::{Deserialize, Serialize};

/// A public model name and what serves it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The name callers use.
    pub name: Name,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What serves it; a call goes to one of them by weight.
    pub targets: Vec<Target>,
    /// What happens to calls in which a live secret of ours stands: a key we issued or the value of a credential. `refuse`
    /// unless set.
    #[serde(default, skip_serializing_if = "SecretsInRequests::is_default")]
    pub secrets_in_requests: SecretsInRequests,
}

/// One way to serve a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// A built-in provider (`openai`, `sandbox`, …) or an upstream with a `provider` of its own.
    pub provider: Name,
    /// The provider's own name of the model.
    pub model: String,
    /// The credential to inject; may be absent where the upstream names one or needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Name>,
    /// Share of calls relative to the other targets, 1 to 1000. 1 unless set.
    #[serde(default = "one")]
    pub weight: u32,
    /// Prices from certain dates on; corrects or extends the built-in table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prices: Vec<PriceEntry>,
}

fn one() -> u32 {
    1
}

/// Prices from a date on, in US dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceEntry {
    /// Valid from this moment until the next entry.
    pub from: Timestamp,
    /// For input tokens that were not cached.
    pub input: Price,
    /// For input tokens read from the provider's prompt cache; the input price unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<Price>,
    /// For input tokens written into the provider's prompt cache; the input price unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<Price>,
    /// For those of them that are kept for an hour; the price of `cache_write` unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_1h: Option<Price>,
    /// For output tokens.
    pub output: Price,
}
