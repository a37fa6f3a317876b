//! The cache of a model's answers.

use crate::{ByteSize, Name, Period};
use serde::{Deserialize, Serialize};

/// That answers of a model are kept and given again to who asks the same. They are kept in memory only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// Which calls ask the same. `exact` unless set.
    #[serde(default)]
    pub mode: CacheMode,
    /// How long an answer is given again, 1 s to 30 d. An hour unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Period>,
    /// Who gets an answer that was given before. `application` unless set.
    #[serde(default)]
    pub scope: CacheScope,
    /// Larger answers are not kept; 1 KiB to 16 MiB. 1 MiB unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_entry: Option<ByteSize>,
    /// Headers whose values matter beside those of the dialects, as an own provider reads them; at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(examples(json!(["x-tenant"])))]
    pub headers: Vec<String>,
    /// For `semantic`: the model that makes embeddings of questions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding_model: Option<Name>,
    /// For `semantic`: how near two questions are that ask the same, as the cosine of their embeddings, 0.5 to 1. 0.95
    /// unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(examples(0.95))]
    pub threshold: Option<f64>,
}

impl Cache {
    /// How long an answer is given again unless another time is set.
    pub const TTL: Period = Period::from_secs(3600);
    /// The largest answer that is kept unless another size is set.
    pub const MAX_ENTRY: ByteSize = ByteSize::from_bytes(1 << 20);
    /// How near two questions are that ask the same, unless set.
    pub const THRESHOLD: f64 = 0.95;
    /// Headers at most.
    pub const MOST_HEADERS: usize = 16;
}

/// Which calls ask the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CacheMode {
    /// Those that say the same.
    #[default]
    Exact,
    /// And those whose last question is nearly the same, while all else that they say is.
    Semantic,
}

/// Who gets an answer that was given before, provided that they may use the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CacheScope {
    /// Callers with the same key.
    Key,
    /// The same end user of the same application. Calls that name none are not kept.
    User,
    /// All callers of the same application.
    #[default]
    Application,
    /// All applications of the same team; of an application without one, itself.
    Team,
    /// All callers.
    Tenant,
}
