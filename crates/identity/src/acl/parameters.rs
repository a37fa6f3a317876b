//! Rules about a request's fields: which must be there, which may, which must not.

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What a rule says about the fields of a create, update or patch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters {
    /// Field (lower case, or `*`) to the values it may have; empty: any.
    pub allowed: BTreeMap<String, Vec<Value>>,
    /// Field (lower case, or `*`) to the values it must not have; empty: none at all.
    pub denied: BTreeMap<String, Vec<Value>>,
    /// Fields (lower case) that must be there.
    pub required: Vec<String>,
}

const ANY: &str = "*";

impl Parameters {
    /// Whether a request with these fields may pass.
    pub fn permit(&self, data: &Map<String, Value>) -> bool {
        let lower: Vec<(String, &Value)> = data.iter().map(|(k, v)| (k.to_lowercase(), v)).collect();
        let present = |name: &String| lower.iter().any(|(k, _)| k == name);
        if !self.required.iter().all(present) {
            return false;
        }
        if lower.is_empty() {
            return true;
        }
        if self.denied.contains_key(ANY) || lower.iter().any(|(name, value)| self.denies(name, value)) {
            return false;
        }
        self.allowed.is_empty() || lower.iter().all(|(name, value)| self.allows(name, value))
    }

    fn denies(&self, name: &str, value: &Value) -> bool {
        self.denied.get(name).is_some_and(|values| values.is_empty() || values.iter().any(|v| matches(v, value)))
    }

    fn allows(&self, name: &str, value: &Value) -> bool {
        match self.allowed.get(name) {
            Some(values) => values.is_empty() || values.iter().any(|v| matches(v, value)),
            None => self.allowed.contains_key(ANY),
        }
    }

    /// Adds what another policy says about the same pattern.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in [(&mut self.allowed, &other.allowed), (&mut self.denied, &other.denied)] {
            for (name, values) in theirs {
                match mine.get_mut(name) {
                    // An empty list speaks of every value already, and stays.
                    Some(known) if known.is_empty() || values.is_empty() => known.clear(),
                    Some(known) => known.extend(values.iter().cloned()),
                    None => {
                        mine.insert(name.clone(), values.clone());
                    }
                }
            }
        }
        for name in &other.required {
            if !self.required.contains(name) {
                self.required.push(name.clone());
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.allowed.is_empty() && self.denied.is_empty() && self.required.is_empty()
    }
}

/// Texts may begin or end with `*`; everything else must be equal.
fn matches(rule: &Value, value: &Value) -> bool {
    match (rule, value) {
        (Value::String(rule), Value::String(text)) => glob(rule, text),
        (rule, value) => rule == value,
    }
}

/// Whether a text fits a pattern with `*` at its beginning, its end, or both.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(""), _) => true,
        (Some(rest), Some(_)) => text.contains(rest.strip_suffix('*').unwrap_or(rest)),
        (Some(end), None) => text.ends_with(end),
        (None, Some(start)) => text.starts_with(start),
        (None, None) => pattern == text,
    }
}
