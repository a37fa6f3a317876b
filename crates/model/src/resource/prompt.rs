//! Prompts: texts with variables that are kept here, in versions that never change, and used by name.

use crate::Name;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A prompt: what is said to a model, with places for what callers hand in.
///
/// A version that is stored never changes, and the newest one stays. Labels say which version is in use; callers and
/// routes that name none get that of the label `production`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// The name by which callers and routes use it.
    pub name: Name,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The model that it is said to, unless a version or a caller names another one.
    pub model: Name,
    /// What callers hand in, by name; at most 64. The same for all versions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, PromptVariable>,
    /// Its versions, at most 500. New ones have higher numbers than those before.
    pub versions: Vec<PromptVersion>,
    /// Which version each label stands for, as in `production: 3`. Where this is left out, the labels stay as they are
    /// stored. Where there are tests, a label moves only to a version that passed the present ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<Name, u32>>,
    /// Examples, and what must be true of the model's answer to them; at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<PromptTest>,
}

/// What callers hand in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptVariable {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: VariableType,
    /// For people; stands in the published description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Characters of a `string`, at most. 100000 unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u32>,
    /// What an `enum` may be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// Whether callers must hand it in. True unless set, and false where there is a `default`. One that is not handed in and
    /// has no default stands for an empty text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// What it is when a caller does not hand it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub default: Option<serde_json::Value>,
}

impl PromptVariable {
    /// Characters of a text unless another limit is set, and at most.
    pub const MOST_CHARACTERS: u32 = 100_000;

    /// Whether callers must hand it in.
    pub fn is_required(&self) -> bool {
        self.required.unwrap_or(self.default.is_none())
    }

    /// Characters of a text, at most.
    pub fn most_characters(&self) -> u32 {
        self.max_length.unwrap_or(Self::MOST_CHARACTERS)
    }
}

/// What a variable is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VariableType {
    /// A text.
    String,
    /// A number.
    Number,
    /// A whole number of at most 64 bits.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// One of some texts.
    Enum,
}

/// One version: what is said, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptVersion {
    /// Its number, from 1.
    pub version: u32,
    /// For people: what is new in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The system prompt. `{{name}}` is the place of a variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// What is said, before what the caller adds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<PromptMessage>,
    /// The model that this version is said to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Name>,
    /// How the model is to answer, where the caller does not say it.
    #[serde(default, skip_serializing_if = "PromptParameters::is_empty")]
    pub parameters: PromptParameters,
    /// A JSON Schema of the answer; one that needs nothing from elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub answer_schema: Option<serde_json::Value>,
}

/// A message of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptMessage {
    /// Who says it.
    pub role: PromptRole,
    /// What. `{{name}}` is the place of a variable, and `{{{{` stands for `{{` itself.
    pub content: String,
}

/// Who says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PromptRole {
    /// Whoever asks.
    User,
    /// The model, as an example of how it answers.
    Assistant,
}

/// How a model is to answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PromptParameters {
    /// How much is left to chance, 0 to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Of which share of the likeliest words it chooses, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Tokens of the answer, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Texts at which the answer ends; at most 4.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
}

impl PromptParameters {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An example, and what must be true of the answer to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptTest {
    /// Its name, unique within the prompt.
    pub name: Name,
    /// What is handed in.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = std::collections::HashMap<String, Object>)]
    pub variables: BTreeMap<String, serde_json::Value>,
    /// What must be true of the answer; 1 to 20.
    pub checks: Vec<PromptCheck>,
}

/// What must be true of an answer. Exactly one of its fields is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PromptCheck {
    /// This text stands in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// This text does not stand in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_contains: Option<String>,
    /// It is this text, blanks at its ends aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub equals: Option<String>,
    /// This regular expression, in the syntax of Rust's `regex`, is found in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// It is JSON that this JSON Schema allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub json_schema: Option<serde_json::Value>,
    /// It has at most so many characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u32>,
}

impl Prompt {
    /// The label of callers and routes that name neither label nor version.
    pub const LABEL: &str = "production";

    /// One of its versions.
    pub fn version(&self, number: u32) -> Option<&PromptVersion> {
        self.versions.iter().find(|version| version.version == number)
    }

    /// The version that a label stands for.
    pub fn labelled(&self, label: &str) -> Option<u32> {
        let labels = self.labels.as_ref()?;
        labels.iter().find(|(name, _)| name.as_str() == label).map(|(_, version)| *version)
    }

    /// Whether callers and routes may have a version: where there are tests, only one that a label stands for, as labels
    /// move only to what passed them.
    pub fn is_in_use(&self, number: u32) -> bool {
        self.tests.is_empty() || self.labels.iter().flatten().any(|(_, version)| *version == number)
    }

    /// The models that it may be said to.
    pub fn models(&self) -> impl Iterator<Item = &Name> {
        std::iter::once(&self.model).chain(self.versions.iter().filter_map(|version| version.model.as_ref()))
    }
}

/// The prompt that a route publishes: its variables are the body of a request, the model's answer is that of its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoutePrompt {
    /// The prompt.
    pub name: Name,
    /// The label of the version. `production` unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Name>,
    /// The version, in place of a label. Where the prompt has tests, one that a label stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
}
