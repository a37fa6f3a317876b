//! Typed references to secrets: `${env:NAME}`, `${file:PATH}`, `${credential:NAME}`,
//! `${store:NAME/path#field}`.

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
    /// A secret in a declared store, which the server reads, again and again.
    Store(SecretPlace),
}

/// A secret in a store that is not ours: `team-vault/apps/orders#token`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretPlace {
    /// The store.
    pub store: Name,
    /// The secret there; may have slashes, but none at its ends.
    pub path: String,
    /// The field of the secret; absent, the value is the whole secret.
    pub field: Option<String>,
}

impl SecretPlace {
    /// Whether path and field are such that they cannot be read in two ways.
    pub fn is_plain(&self) -> bool {
        let plain = |text: &str| !text.chars().any(|c| c.is_control() || matches!(c, '#' | '$' | '{' | '}' | '\\'));
        let parts = |path: &str| path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        self.path.len() <= 512
            && plain(&self.path)
            && parts(&self.path)
            && self.field.as_ref().is_none_or(|f| !f.is_empty() && f.len() <= 253 && plain(f))
    }
}

impl FromStr for SecretPlace {
    type Err = InvalidReference;
    fn from_str(s: &str) -> Result<Self, InvalidReference> {
        let (store, rest) = s.split_once('/').ok_or(InvalidReference)?;
        let (path, field) = match rest.split_once('#') {
            Some((path, field)) => (path, Some(field.to_owned())),
            None => (rest, None),
        };
        let store = store.parse().map_err(|_| InvalidReference)?;
        let place = Self { store, path: path.to_owned(), field };
        if place.is_plain() { Ok(place) } else { Err(InvalidReference) }
    }
}

impl fmt::Display for SecretPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.store, self.path)?;
        self.field.as_ref().map_or(Ok(()), |field| write!(f, "#{field}"))
    }
}

crate::name::string_schema!(SecretReference, "${env:ORDERS_TOKEN}");

/// Why a text is no [`SecretReference`]. Never repeats the text, which may be a pasted secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "a secret is given as ${{env:NAME}}, ${{file:PATH}}, ${{credential:NAME}} or ${{store:NAME/path#field}}, never as text"
)]
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
            "store" if plain => rest.parse().map(Self::Store),
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
            Self::Store(place) => write!(f, "${{store:{place}}}"),
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
        let stores = ["${store:team-vault/apps/orders#token}", "${store:aws/orders}", "${store:k8s/a-b#tls.crt}"];
        for good in ["${env:A_1}", "${file:/run/secrets/a b}", "${credential:orders}"].into_iter().chain(stores) {
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
            "${store:team}",
            "${store:team/}",
            "${store:team//a}",
            "${store:team/a/}",
            "${store:team/../a}",
            "${store:team/a#}",
            "${store:team/a#b#c}",
            "${store:Team/a}",
        ] {
            assert!(bad.parse::<SecretReference>().is_err(), "{bad}");
        }
    }
}
