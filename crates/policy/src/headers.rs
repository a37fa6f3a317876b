//! Header rules, checked and lower-cased once, for the gateway to apply.

use crate::KeyPrincipal;
use credentialflow_model::{
    http::is_framing,
    resource::{HeaderRules, KeyFact},
};
use http::{HeaderName, HeaderValue};

/// What happens to headers in one direction: first remove, then set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompiledHeaders {
    remove: Box<[HeaderName]>,
    set: Box<[(HeaderName, HeaderValue)]>,
    told: Box<[(HeaderName, Fact)]>,
}

/// Something about the key in use.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fact {
    Metadata(Box<str>),
    Actor,
    Subject,
}

impl Fact {
    fn of<'k>(&self, key: &'k KeyPrincipal) -> Option<&'k str> {
        match self {
            Self::Metadata(name) => key.metadata(name),
            Self::Actor => key.actor(),
            Self::Subject => key.subject(),
        }
    }
}

impl From<KeyFact<'_>> for Fact {
    fn from(fact: KeyFact<'_>) -> Self {
        match fact {
            KeyFact::Metadata(name) => Self::Metadata(name.into()),
            KeyFact::Actor => Self::Actor,
            KeyFact::Subject => Self::Subject,
        }
    }
}

/// Why a header rule is refused. Never repeats a value, which may be a secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidHeaderRule {
    /// No header can have this name.
    #[error("`{0}` is no header name (RFC 9110, 5.1)")]
    Name(String),
    /// No header can have this value.
    #[error("the value for `{0}` has characters a header cannot carry (RFC 9110, 5.5)")]
    Value(String),
    /// The header belongs to the connection or the framing of messages.
    #[error("`{0}` belongs to the connection and cannot be set or removed")]
    Untouchable(String),
}

impl CompiledHeaders {
    /// Checks and compiles rules.
    pub fn compile(rules: &HeaderRules) -> Result<Self, InvalidHeaderRule> {
        let remove = rules.remove.iter().map(|n| name(n)).collect::<Result<_, _>>()?;
        let fact = HeaderRules::key_fact;
        let set = rules
            .set
            .iter()
            .filter(|(_, v)| fact(v).is_none())
            .map(|(n, v)| Ok((name(n)?, HeaderValue::from_str(v).map_err(|_| InvalidHeaderRule::Value(n.clone()))?)))
            .collect::<Result<_, _>>()?;
        let told = rules.set.iter().filter_map(|(n, v)| Some((n, fact(v)?)));
        let told = told.map(|(n, fact)| Ok((name(n)?, fact.into()))).collect::<Result<_, _>>()?;
        Ok(Self { remove, set, told })
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.told.is_empty()
    }

    /// Names to remove, lower case.
    pub fn remove(&self) -> &[HeaderName] {
        &self.remove
    }

    /// Names, lower case, and values to put in place of whatever is there.
    pub fn set(&self) -> &[(HeaderName, HeaderValue)] {
        &self.set
    }

    /// Names, lower case, and the facts about the key to put in place of whatever is there, as far as the key
    /// has them and a header can carry them.
    pub fn told<'a>(&'a self, key: Option<&'a KeyPrincipal>) -> impl Iterator<Item = (&'a HeaderName, &'a str)> {
        let fact = move |fact: &Fact| fact.of(key?).filter(|value| HeaderValue::from_str(value).is_ok());
        self.told.iter().filter_map(move |(name, of)| Some((name, fact(of)?)))
    }

    /// Whether a header (in any case) does not survive: it is removed or replaced.
    pub fn drops(&self, name: &[u8]) -> bool {
        let set = self.set.iter().map(|(n, _)| n).chain(self.told.iter().map(|(n, _)| n));
        let mut ours = self.remove.iter().chain(set);
        ours.any(|n| n.as_str().as_bytes().eq_ignore_ascii_case(name))
    }
}

fn name(text: &str) -> Result<HeaderName, InvalidHeaderRule> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| InvalidHeaderRule::Name(text.to_owned()))?;
    if is_framing(name.as_str()) { Err(InvalidHeaderRule::Untouchable(text.to_owned())) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(set: &[(&str, &str)], remove: &[&str]) -> Result<CompiledHeaders, InvalidHeaderRule> {
        CompiledHeaders::compile(&HeaderRules {
            set: set.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            remove: remove.iter().map(|n| (*n).to_owned()).collect(),
        })
    }

    #[test]
    fn names_are_lower_case_and_both_kinds_drop() {
        let rules = rules(&[("X-Team", "a")], &["Cookie"]).unwrap();
        assert_eq!(rules.set()[0].0.as_str(), "x-team");
        assert!(rules.drops(b"x-TEAM") && rules.drops(b"cookie") && !rules.drops(b"accept"));
        assert!(CompiledHeaders::default().is_empty() && !rules.is_empty());
    }

    #[test]
    fn what_http_cannot_carry_is_refused() {
        assert_eq!(rules(&[("a b", "c")], &[]), Err(InvalidHeaderRule::Name("a b".into())));
        assert_eq!(rules(&[("a", "canary\r\nx: y")], &[]), Err(InvalidHeaderRule::Value("a".into())));
        for name in ["Transfer-Encoding", "expect", "proxy-authorization", "http2-settings"] {
            assert_eq!(rules(&[], &[name]), Err(InvalidHeaderRule::Untouchable(name.into())));
        }
    }
}
