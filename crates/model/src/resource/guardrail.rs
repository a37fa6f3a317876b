//! Guardrails of models: what is looked for in what is said to a model and in what it says, and what happens where it is
//! found.

use crate::{Name, Period};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Rules that models share, and routes to MCP servers: each that names the set in its `use_guardrails` has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GuardrailSet {
    /// The name by which models use it; the call log tells it with what its rules found.
    pub name: Name,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What is looked for, and what happens where it is found; 1 to 32 rules.
    pub rules: Vec<Guardrail>,
}

/// The rules of these sets, each with the name of its set, and then those of one's own; `find` gives the rules of a set.
/// What is not found is left out.
pub(super) fn rules<'s>(
    sets: &'s [Name],
    own: &'s [Guardrail],
    find: impl Fn(&Name) -> Option<&'s [Guardrail]>,
) -> impl Iterator<Item = (Option<&'s Name>, &'s Guardrail)> {
    let of_sets =
        sets.iter().flat_map(move |name| find(name).unwrap_or_default().iter().map(move |rule| (Some(name), rule)));
    of_sets.chain(own.iter().map(|rule| (None, rule)))
}

/// One rule: what is looked for, and what happens where it is found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Guardrail {
    /// What is looked for.
    pub detect: Detect,
    /// What happens where it is found.
    pub action: GuardrailAction,
    /// Where it is looked for. `prompt` unless set.
    #[serde(default, skip_serializing_if = "GuardrailOn::is_default")]
    pub on: GuardrailOn,
    /// Which personal data, for `personal_data`; all of them unless set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<PersonalData>,
    /// How easily `jailbreak` takes something for one. `medium` unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<Sensitivity>,
    /// Words and phrases, for `words`: found in any case, as whole words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
    /// A regular expression, for `pattern`, in the syntax of Rust's `regex`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// How many characters all texts may have together, for `size`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_characters: Option<u64>,
    /// A JSON Schema, for `json_schema`; one that needs nothing from elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub schema: Option<serde_json::Value>,
    /// Nothing of a streamed answer goes to the caller before all of it was judged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hold: bool,
    /// The declared model that is asked, for `moderation`: one whose provider offers moderation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Name>,
    /// From which score on a category of `moderation` counts, 0 to 1. Whatever the provider itself flags, unless set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub categories: BTreeMap<String, f64>,
    /// What is talked about, for `topics`; 1 to 32 topics.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<Topic>,
    /// The declared model that makes the embeddings by which texts are compared with examples, for `topics`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding_model: Option<Name>,
    /// How near a text is to an example of its topic, as the cosine of their embeddings, for `topics`; 0.1 to 1. 0.5 unless
    /// set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(examples(0.5))]
    pub threshold: Option<f64>,
    /// For `topics`: what is near none of them is found, in place of what is near one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only: bool,
    /// The declared upstream that is asked, for `webhook`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Name>,
    /// Where it is asked there, for `webhook`. `/` unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How long `moderation`, `topics` and `webhook` are waited for, 100 ms to 60 s. 3 s unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Period>,
    /// What happens where those that `moderation`, `topics` and `webhook` ask do not answer, or with something that is no
    /// answer. `block` unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_error: Option<OnError>,
}

impl Guardrail {
    /// How long others are waited for unless something else is set.
    pub const TIMEOUT: Period = Period::from_secs(3);
    /// How near a text is to an example of its topic, unless set.
    pub const THRESHOLD: f64 = 0.5;

    /// A rule for prompts that says nothing more than this.
    pub const fn new(detect: Detect, action: GuardrailAction) -> Self {
        Self {
            detect,
            action,
            on: GuardrailOn::Prompt,
            kinds: Vec::new(),
            sensitivity: None,
            words: Vec::new(),
            pattern: None,
            most_characters: None,
            schema: None,
            hold: false,
            model: None,
            categories: BTreeMap::new(),
            topics: Vec::new(),
            embedding_model: None,
            threshold: None,
            only: false,
            upstream: None,
            path: None,
            timeout: None,
            on_error: None,
        }
    }
}

/// Something that may be talked about, told by examples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// What the call log calls it.
    pub name: Name,
    /// What somebody who talks about it says, each a sentence or a few; all topics of a rule have at most 128 together.
    #[schema(examples(json!(["Whom should I vote for?", "What do you think of the government?"])))]
    pub examples: Vec<String>,
}

/// What happens where nobody answers whether there is something to find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The call is refused; an answer ends with an error.
    #[default]
    Block,
    /// It goes on; the call log says that nobody answered.
    Allow,
}

/// What a guardrail looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Detect {
    /// Data of a form that tells a person: e-mail addresses, numbers of cards and accounts, telephone numbers and others.
    /// No names and no postal addresses.
    PersonalData,
    /// Tokens, keys and passwords.
    Secrets,
    /// Signs of an attempt to talk a model out of its rules.
    Jailbreak,
    /// Words and phrases of a list.
    Words,
    /// A regular expression.
    Pattern,
    /// More text than is wanted.
    Size,
    /// An answer whose text is no JSON, or none that a JSON Schema allows.
    JsonSchema,
    /// What a moderation endpoint of a provider finds.
    Moderation,
    /// What is talked about, in whatever words: what is near to examples by its embedding.
    Topics,
    /// What a service of one's own finds.
    Webhook,
}

impl Detect {
    /// The word that is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PersonalData => "personal_data",
            Self::Secrets => "secrets",
            Self::Jailbreak => "jailbreak",
            Self::Words => "words",
            Self::Pattern => "pattern",
            Self::Size => "size",
            Self::JsonSchema => "json_schema",
            Self::Moderation => "moderation",
            Self::Topics => "topics",
            Self::Webhook => "webhook",
        }
    }

    /// Whether it tells which characters it is about, so that these can be taken out.
    pub const fn finds_places(self) -> bool {
        !matches!(self, Self::Jailbreak | Self::Size | Self::JsonSchema | Self::Moderation | Self::Topics)
    }

    /// Whether others are asked over the network.
    pub const fn is_remote(self) -> bool {
        matches!(self, Self::Moderation | Self::Topics | Self::Webhook)
    }
}

/// What happens where a guardrail finds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GuardrailAction {
    /// The call is refused; an answer ends with an error.
    Block,
    /// A placeholder such as `[EMAIL]` stands in its place.
    Redact,
    /// A placeholder such as `<EMAIL_1>` is sent in its place, and becomes what the caller had sent again where it stands in
    /// the answer. On prompts.
    Mask,
    /// It goes on as it is; the call log says what was found.
    Flag,
    /// The call goes to `internal` targets of the model only.
    Route,
}

impl GuardrailAction {
    /// The word that is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Redact => "redact",
            Self::Mask => "mask",
            Self::Flag => "flag",
            Self::Route => "route",
        }
    }
}

/// Where a guardrail looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GuardrailOn {
    /// At what is sent to the model.
    #[default]
    Prompt,
    /// At what the model answers.
    Answer,
    /// At both.
    Both,
}

impl GuardrailOn {
    /// Whether it is what holds where nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether prompts are looked at.
    pub const fn prompts(self) -> bool {
        matches!(self, Self::Prompt | Self::Both)
    }

    /// Whether answers are looked at.
    pub const fn answers(self) -> bool {
        matches!(self, Self::Answer | Self::Both)
    }
}

/// Personal data that is told by its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PersonalData {
    /// E-mail addresses.
    Email,
    /// Numbers of payment cards, with their check digit.
    Card,
    /// International bank account numbers, with their check digits (ISO 13616).
    Iban,
    /// Telephone numbers.
    Phone,
    /// Numbers that states give to people: US, Spanish, Italian, Brazilian and British ones.
    NationalId,
    /// IP addresses, other than those of the own machine.
    IpAddress,
}

impl PersonalData {
    /// Every kind.
    pub const ALL: &'static [Self] =
        &[Self::Email, Self::Card, Self::Iban, Self::Phone, Self::NationalId, Self::IpAddress];
}

/// How easily signs are taken for what they hint at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sensitivity {
    /// Only where many signs come together.
    Low,
    /// Where some do.
    #[default]
    Medium,
    /// At a strong sign, or a few weak ones.
    High,
}
