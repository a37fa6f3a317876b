use super::SyncRule;
use crate::{Name, Period, SecretPlace, SecretReference, Timestamp};
use serde::{Deserialize, Serialize};

/// A credential held for upstreams: sealed in the vault, injected for permitted requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// Unique name.
    pub name: Name,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The team that answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Name>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What makes its values.
    pub engine: Engine,
    /// `static` only: where the value comes from. Absent when it is handed in over the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<SecretReference>,
    /// `generated` only: how values are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate: Option<GenerateRule>,
    /// `database` only: which login of which target it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseRule>,
    /// Not injected from this moment on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// How it is rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate: Option<RotateRule>,
    /// Where each new version is written outside, before the one it replaces goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sync: Vec<SyncRule>,
    /// How a new version is tried at its target before it is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<VerifyRule>,
}

impl Credential {
    /// The place outside from which its values come, if they do.
    pub fn source(&self) -> Option<&SecretPlace> {
        match &self.value {
            Some(SecretReference::Store(place)) => Some(place),
            _ => None,
        }
    }
}

/// What makes a credential's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// A value received: from a reference, or handed in.
    Static,
    /// A random value under a rule.
    Generated,
    /// The password of a login at a target, changed there by each rotation. Its value is a JSON
    /// object with `username` and `password`.
    Database,
}

/// Which login of which target a credential is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DatabaseRule {
    /// The target.
    pub target: Name,
    /// The login, which exists there. Its password is ours from the first version on.
    pub username: String,
    /// Take turns with a second login: a rotation sets and tries the one that nobody uses, and the
    /// other one works on until it is drained. Without it, a login's sessions go on, but new ones
    /// need the new password at once.
    #[serde(default)]
    pub alternate: bool,
    /// The second login; the first one's name with `_alt` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<String>,
    /// Creates the second login where it does not exist yet, as in `CREATE ROLE {{name}} LOGIN
    /// PASSWORD '{{password}}' IN ROLE app`. Absent: it must exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub create: Vec<String>,
}

impl DatabaseRule {
    /// The logins that take turns; one when there is no second.
    pub fn usernames(&self) -> Vec<String> {
        let second = || self.second.clone().unwrap_or_else(|| format!("{}_alt", self.username));
        std::iter::once(self.username.clone()).chain(self.alternate.then(second)).collect()
    }
}

/// The rule for a generated value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GenerateRule {
    /// Characters, 8 to 1024.
    #[serde(default = "default_length")]
    pub length: u32,
    /// Which characters.
    #[serde(default)]
    pub alphabet: Alphabet,
    /// The least entropy in bits; a rule that cannot reach it is refused.
    #[serde(default = "default_entropy")]
    pub entropy: u32,
}

impl Default for GenerateRule {
    fn default() -> Self {
        Self { length: default_length(), alphabet: Alphabet::default(), entropy: default_entropy() }
    }
}

fn default_length() -> u32 {
    32
}
fn default_entropy() -> u32 {
    128
}

/// The characters of a generated value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Alphabet {
    /// `0-9 A-Z a-z`
    #[default]
    Alphanumeric,
    /// `0-9 a-f`
    Hex,
    /// `0-9`
    Digits,
    /// `0-9 A-Z a-z - _` (RFC 4648 base64url)
    Base64url,
    /// All printable ASCII but space, quotes and backslash.
    Printable,
}

impl Alphabet {
    /// The characters, each once.
    pub const fn characters(self) -> &'static [u8] {
        match self {
            Self::Alphanumeric => b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            Self::Hex => b"0123456789abcdef",
            Self::Digits => b"0123456789",
            Self::Base64url => b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_",
            Self::Printable => {
                b"!#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_abcdefghijklmnopqrstuvwxyz{|}~"
            }
        }
    }
}

/// When and how a credential is rotated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RotateRule {
    /// How often it is to be rotated; absent means by hand. `generated` and `database` credentials are
    /// rotated by themselves; for a `static` one the API and the console show when its new value is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<Period>,
    /// How long the old version stays valid.
    pub overlap: Overlap,
    /// The longest a drain may take before the old version is retired all the same; 24 hours unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Period>,
}

/// How long the old version of a credential stays valid after a new one is promoted:
/// `until-drained`, or a duration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Overlap {
    /// Until no observed request uses it any more.
    #[default]
    UntilDrained,
    /// For this long, drained or not.
    For(Period),
}

crate::name::string_schema!(Overlap, "until-drained");

impl TryFrom<String> for Overlap {
    type Error = InvalidOverlap;
    fn try_from(s: String) -> Result<Self, InvalidOverlap> {
        match s.as_str() {
            "until-drained" => Ok(Self::UntilDrained),
            other => other.parse().map(Self::For).map_err(|_| InvalidOverlap),
        }
    }
}

impl From<Overlap> for String {
    fn from(o: Overlap) -> String {
        match o {
            Overlap::UntilDrained => "until-drained".to_owned(),
            Overlap::For(period) => period.to_string(),
        }
    }
}

/// Why a text is no [`Overlap`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an overlap is until-drained or a duration such as 24h")]
pub struct InvalidOverlap;

/// A request that proves whether a version works at its target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyRule {
    /// The upstream that is asked, with this credential injected as that upstream says.
    pub upstream: Name,
    /// Path and query of a harmless `GET`.
    pub path: String,
}
