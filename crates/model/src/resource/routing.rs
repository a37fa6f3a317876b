//! How the calls to a model are shared out among its targets.

use crate::Period;
use serde::{Deserialize, Serialize};

/// What decides among targets of the same priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RouteBy {
    /// Their weights.
    #[default]
    Weight,
    /// What the call is expected to cost there; one whose price is not known comes last.
    Cost,
    /// How soon they have answered lately.
    Latency,
}

impl RouteBy {
    /// The word that is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::Cost => "cost",
            Self::Latency => "latency",
        }
    }

    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Which calls go to the same target, and there with the same credential, as long as it is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Sticky {
    /// What they have in common.
    pub by: StickyBy,
    /// The header, for `by: header`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(examples("x-session-id"))]
    pub header: Option<String>,
}

/// What calls that go to the same target have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StickyBy {
    /// The key of their caller.
    Key,
    /// Whom they are made for: `safety_identifier`, `user` or `metadata.user_id`. Calls without are shared out as if nothing
    /// was set.
    User,
    /// Their conversation: `prompt_cache_key` where they have one, else how they begin, with the system prompt and what the
    /// user said first.
    Conversation,
    /// A header. Calls without it are shared out as if nothing was set.
    Header,
}

/// That the next target is asked as well where one takes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Hedge {
    /// After so long without an answer, or of a stream without its first token.
    pub after: Period,
}

/// That a call is tried again where its provider failed and there is nobody else to ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelRetry {
    /// So often at the most, up to 5.
    pub times: u8,
    /// The statuses of a provider's answer after which it is tried again: 408, 429 and those from 500 on. A provider that
    /// cannot be connected to is tried again whatever stands here, and one that begins a stream with an error where any
    /// from 500 on does.
    #[serde(default = "ModelRetry::usual", skip_serializing_if = "ModelRetry::is_usual")]
    pub on: Vec<u16>,
    /// How long it waits before the first time, and twice as long before each further one, up to 10 s; each a part of that,
    /// by chance, of half at the least. Longer where the provider asks for it, up to a minute. 200 ms unless set.
    #[serde(default = "ModelRetry::wait", skip_serializing_if = "ModelRetry::is_wait")]
    pub wait: Period,
}

impl ModelRetry {
    /// How often at the most.
    pub const MOST_TIMES: u8 = 5;
    /// The statuses unless others are set.
    const USUAL: &'static [u16] = &[429, 500, 502, 503, 504, 529];
    /// The wait unless another one is set.
    const WAIT: Period = Period::from_millis(200);

    fn usual() -> Vec<u16> {
        Self::USUAL.to_vec()
    }

    fn is_usual(on: &[u16]) -> bool {
        on == Self::USUAL
    }

    const fn wait() -> Period {
        Self::WAIT
    }

    fn is_wait(wait: &Period) -> bool {
        *wait == Self::WAIT
    }
}

/// What a provider does not take of a call although it is well, after which another target is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FallBackOn {
    /// More than fits into its model, as its error says with 400, 413 or 422.
    Context,
    /// What its own rules do not allow, as its error says with 400 or 422.
    ContentPolicy,
    /// Anything that it answers with 400 or 422.
    Invalid,
}

impl FallBackOn {
    /// What counts unless a model says otherwise.
    pub(super) fn usual() -> Vec<Self> {
        vec![Self::Context]
    }

    pub(super) fn are_usual(all: &[Self]) -> bool {
        all == [Self::Context]
    }

    /// The word that is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Context => "context",
            Self::ContentPolicy => "content_policy",
            Self::Invalid => "invalid",
        }
    }
}

/// What a model can do beside reading and writing text, as a target says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelCapability {
    /// Images in the prompt.
    Vision,
    /// Documents in the prompt, as PDF.
    Documents,
    /// Audio in the prompt.
    AudioInput,
    /// Calling tools.
    Tools,
    /// Answers that follow a JSON Schema.
    StructuredOutput,
    /// Thinking before it answers.
    Reasoning,
}

impl ModelCapability {
    /// Every capability.
    pub const ALL: &'static [Self] =
        &[Self::Vision, Self::Documents, Self::AudioInput, Self::Tools, Self::StructuredOutput, Self::Reasoning];

    /// The word that is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vision => "vision",
            Self::Documents => "documents",
            Self::AudioInput => "audio_input",
            Self::Tools => "tools",
            Self::StructuredOutput => "structured_output",
            Self::Reasoning => "reasoning",
        }
    }
}
