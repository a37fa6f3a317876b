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
