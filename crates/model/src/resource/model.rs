use super::{
    Budgets, Cache, Guardrail, Limit, SecretsInAnswers, SecretsInRequests,
    routing::{FallBackOn, Hedge, ModelCapability, ModelRetry, RouteBy, Sticky},
};
use crate::{Name, Period, Price, Timestamp};
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
    /// What serves it. A call goes to one of the lowest `priority` by weight, or as `route_by` says; where that one fails
    /// before its answer begins, to the next.
    pub targets: Vec<Target>,
    /// What decides among targets of the same priority. `weight` unless set.
    #[serde(default, skip_serializing_if = "RouteBy::is_default")]
    pub route_by: RouteBy,
    /// Calls that have this in common go to the same target, with the same credential of its pool, while it is well: so what
    /// its provider keeps of their prompts is found there again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
    /// Ask a second target as well where the first takes long, and take the answer that begins first. Both may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge: Option<Hedge>,
    /// Try a call again after a while where every target that could serve it has failed. Never unless set: the official SDKs
    /// try twice again themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<ModelRetry>,
    /// What a provider may refuse of a call so that the next target is asked, beside failures. `[context]` unless set.
    #[serde(default = "FallBackOn::usual", skip_serializing_if = "FallBackOn::are_usual")]
    pub fall_back_on: Vec<FallBackOn>,
    /// How long a call may wait until its answer begins, all its targets together. 10 m unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Period>,
    /// How much the calls of all applications to it together may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budgets>,
    /// How much the calls of all applications to it together may be, in some time and at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// What happens to calls in which a live secret of ours stands: a key we issued or the value of a credential. `refuse`
    /// unless set.
    #[serde(default, skip_serializing_if = "SecretsInRequests::is_default")]
    pub secrets_in_requests: SecretsInRequests,
    /// What happens to its answers in which a live secret of ours stands. `report` unless set.
    #[serde(default, skip_serializing_if = "SecretsInAnswers::is_default")]
    pub secrets_in_answers: SecretsInAnswers,
    /// Sets of rules under `guardrails` that hold for it, before its own and in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub use_guardrails: Vec<Name>,
    /// What is looked for in what is said to it and in its answers, and what happens where it is found; at most 32 rules,
    /// those of the sets that it uses among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guardrails: Vec<Guardrail>,
    /// Whether what guardrails cannot look at passes in sessions of Realtime: sound, images and answers. Refused unless
    /// set.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_unjudged_realtime: bool,
    /// Whether calls may name what lasts in its providers' accounts (vector stores, cached contents, stored prompts and the
    /// like) although several applications use them. Refused there unless set; never refused where one application alone
    /// uses the credentials of its targets.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_shared_state: bool,
    /// Keep its answers, and give them again to who asks the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
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
    /// Several credentials, one of which is injected: by weight, and the next one where the provider refuses one or has
    /// had enough of it. In place of `credential`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<PooledCredential>,
    /// Share of calls relative to the other targets of its priority, 1 to 1000. 1 unless set.
    #[serde(default = "one")]
    pub weight: u32,
    /// Lower ones come first; those of a higher one serve only while all lower ones fail. 0 to 100, 0 unless set.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: u32,
    /// How long its answer may take to begin (of a stream, its first token) before the next target is tried. That of its
    /// upstream's `timeouts.response` unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Period>,
    /// Whether it may have what guardrails with the action `route` find: one that is yours, or bound by your contract.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub internal: bool,
    /// All that its model can do beside reading and writing text; in place of what the catalogue says. What is not named
    /// it cannot do, and calls that need it go elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<ModelCapability>>,
    /// How many tokens fit into its model; in place of what the catalogue says. 1 to 100000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<u64>,
    /// How many tokens its model writes in one answer at most; in place of what the catalogue says. 1 to 100000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output: Option<u64>,
    /// How much it takes, in some time and at once; calls for which it has no room go to the next target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// Its prices from certain dates on; from the first of them in place of what the catalogue says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prices: Vec<PriceEntry>,
}

/// One of a target's credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PooledCredential {
    /// The credential.
    pub name: Name,
    /// Share of calls relative to the others, 1 to 1000. 1 unless set.
    #[serde(default = "one")]
    pub weight: u32,
    /// How much its provider takes with it, in some time and at once; calls for which it has no room go with the next one.
    /// Counted for this credential wherever it stands with the same limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
}

impl Model {
    /// All rules that hold for it, in their order, each with the name of its set; `find` gives the rules of a set. What
    /// is not found is left out.
    pub fn rules<'s>(
        &'s self,
        find: impl Fn(&Name) -> Option<&'s [Guardrail]>,
    ) -> impl Iterator<Item = (Option<&'s Name>, &'s Guardrail)> {
        super::guardrail::rules(&self.use_guardrails, &self.guardrails, find)
    }

    /// Targets of a model, and credentials of a target, at most.
    pub const MOST_TARGETS: usize = 64;
    /// The deadline of a call unless another one is set.
    pub const DEADLINE: Period = Period::from_secs(600);
}

impl Target {
    /// The credentials it names, in order.
    pub fn own_credentials(&self) -> impl Iterator<Item = &Name> {
        self.credential.iter().chain(self.credentials.iter().map(|pooled| &pooled.name))
    }
}

fn one() -> u32 {
    1
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// Prices from a date on, in US dollars per million tokens but where it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
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
    /// For input tokens of images; the input price unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_input: Option<Price>,
    /// For input tokens of sound; the input price unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_input: Option<Price>,
    /// For input tokens of images read from the provider's prompt cache; the price of `cached_input` unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_image_input: Option<Price>,
    /// For input tokens of sound read from the provider's prompt cache; the price of `cached_input` unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_audio_input: Option<Price>,
    /// For output tokens of sound; the output price unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_output: Option<Price>,
    /// For each image that is made, in US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_image: Option<Price>,
    /// For each second of sound that is heard, in US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<Price>,
    /// For each search of a model that ranks, in US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_search: Option<Price>,
    /// For a million characters that are spoken, in US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_million_characters: Option<Price>,
    /// Instead of those for tokens, for calls with a long prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long_context: Option<LongContext>,
    /// Instead of those for tokens, for calls that are served faster, later or elsewhere than usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiers: Option<Box<TierPrices>>,
    /// Instead of those for tokens, for calls in batches; the same as for others unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Box<TierPrice>>,
}

/// Prices of calls that are served faster, later or elsewhere than usual, by the word that asks for it. What is not here
/// has no price, but for `flex`, which costs the usual price at the most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TierPrices {
    /// For `service_tier: priority`, which OpenAI calls `fast` too, and for `serviceTier` of Gemini and Bedrock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<TierPrice>,
    /// For `service_tier: flex`, and for `serviceTier` of Gemini and Bedrock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flex: Option<TierPrice>,
    /// For `service_tier: ultrafast`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ultrafast: Option<TierPrice>,
    /// For Anthropic's `speed: fast`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fast: Option<TierPrice>,
    /// For Anthropic's `inference_geo: us`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub us: Option<TierPrice>,
}

/// Prices of a tier, or of batches, in US dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TierPrice {
    /// For input tokens that were not cached.
    pub input: Price,
    /// For input tokens read from the provider's prompt cache; the input price here unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<Price>,
    /// For input tokens written into the provider's prompt cache; the input price here unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<Price>,
    /// For those of them that are kept for an hour; the price of `cache_write` here unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_1h: Option<Price>,
    /// For output tokens.
    pub output: Price,
    /// Instead of these, for calls with a long prompt; the same as for others unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long_context: Option<LongContext>,
}

/// Prices for every token of a call with a long prompt, in US dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LongContext {
    /// They count for calls whose input has more tokens than this, cached ones among them.
    #[schema(examples(200_000))]
    pub above: u64,
    /// For input tokens that were not cached.
    pub input: Price,
    /// For input tokens read from the provider's prompt cache; the input price here unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<Price>,
    /// For input tokens written into the provider's prompt cache; the input price here unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<Price>,
    /// For those of them that are kept for an hour; the price of `cache_write` here unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_1h: Option<Price>,
    /// For output tokens.
    pub output: Price,
}
