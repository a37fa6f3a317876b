//! Guardrails of models: what is looked for in what is said to a model, and what happens where it is found.

use serde::{Deserialize, Serialize};

/// One rule: what is looked for, and what happens where it is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Guardrail {
    /// What is looked for.
    pub detect: Detect,
    /// What happens where it is found.
    pub action: GuardrailAction,
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
        }
    }

    /// Whether it tells which characters it is about, so that these can be taken out.
    pub const fn finds_places(self) -> bool {
        !matches!(self, Self::Jailbreak | Self::Size)
    }
}

/// What happens where a guardrail finds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GuardrailAction {
    /// The call is refused.
    Block,
    /// A placeholder such as `[EMAIL]` is sent in its place.
    Redact,
    /// The call goes on as it is; the call log says what was found.
    Flag,
}

impl GuardrailAction {
    /// The word that is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Redact => "redact",
            Self::Flag => "flag",
        }
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
