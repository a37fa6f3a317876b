//! Typed references to secrets: `${env:NAME}`, `${file:PATH}`, `${credential:NAME}`.

use crate::Name;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Where a secret's value is to be read from. A text that is no reference is refused, so a
/// misspelt reference can never become a literal secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SecretReference {
    /// An environment variable of the process that applies the configuration.
    Env(String),
    /// A file readable by the process that applies the configuration; one trailing newline is cut.
    File(String),
    /// Another credential of this installation.
    Credential(Name),
}

crate::name::string_schema!(SecretReference, "${env:ORDERS_TOKEN}");

/// Why a text is no [`SecretReference`]. Never repeats the text, which may be a pasted secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a secret is given as ${{env:NAME}}, ${{file:PATH}} or ${{credential:NAME}}, never as text")]
pub struct InvalidReference;

impl FromStr for SecretReference {
    type Err = InvalidReference;
    fn from_str(s: &str) -> Result<Self, InvalidReference> {
        let inner = s.strip_prefix("${").and_then(|s| s.strip_suffix('}')).ok_or(InvalidReference)?;
        let (scheme, rest) = inner.split_once(':').ok_or(InvalidReference)?;
        let plain = !rest.is_empty() && !rest.contains(['$', '{', '}', '\0', '\n']);
        match scheme {
            "env" if plain && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => {
                Ok(Self::Env(rest.into()))
            }
            "file" if plain => Ok(Self::File(rest.into())),
            "credential" => rest.parse().map(Self::Credential).map_err(|_| InvalidReference),
            _ => Err(InvalidReference),
        }
    }
}

impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "${{env:{name}}}"),
            Self::File(path) => write!(f, "${{file:{path}}}"),
            Self::Credential(name) => write!(f, "${{credential:{name}}}"),
        }
    }
}

impl TryFrom<String> for SecretReference {
    type Error = InvalidReference;
    fn try_from(s: String) -> Result<Self, InvalidReference> {
        s.parse()
    }
}

impl From<SecretReference> for String {
    fn from(r: SecretReference) -> String {
        r.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_misspelt_references_are_refused() {
        for good in ["${env:A_1}", "${file:/run/secrets/a b}", "${credential:orders}"] {
            assert_eq!(good.parse::<SecretReference>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "hunter2",
            "$env://MISSING",
            "${env:}",
            "${ENV:A}",
            "${env:A",
            "env:A",
            "${env:${env:A}}",
            "${vault:a}",
            "${env:A-B}",
            "${credential:A}",
        ] {
            assert!(bad.parse::<SecretReference>().is_err(), "{bad}");
        }
    }
}
