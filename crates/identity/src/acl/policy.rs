//! One policy document, read and checked: patterns and what each allows.

use super::hcl::{self, Item, Value};
use super::{Capabilities, Capability, Parameters};
use serde_json::Value as Json;

/// Why a text is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", if *.line == 0 { .text.clone() } else { format!("line {line}: {text}") })]
pub struct PolicyError {
    /// Where, from 1; 0 when unknown.
    pub line: usize,
    /// What is wrong.
    pub text: String,
}

impl PolicyError {
    pub(crate) fn new(line: usize, text: impl Into<String>) -> Self {
        Self { line, text: text.into() }
    }
}

/// What one policy says about one pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The pattern without a `*` at its end; segments that are `+` match any one segment.
    pub path: String,
    /// Whether the pattern ended in `*`: it matches everything that begins so.
    pub prefix: bool,
    /// What it allows.
    pub capabilities: Capabilities,
    /// What it says about the request's fields.
    pub parameters: Parameters,
    /// The shortest response-wrapping lifetime a caller may ask for, seconds; 0: no limit. When it is
    /// set, wrapping is mandatory.
    pub min_wrapping_ttl: i64,
    /// The longest response-wrapping lifetime a caller may ask for, seconds; 0: no limit.
    pub max_wrapping_ttl: i64,
}

/// A policy document.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Policy {
    /// Its rules, in the order they were written.
    pub rules: Vec<Rule>,
}

/// A pattern of more segments than this is a mistake.
const MAX_SEGMENTS: usize = 64;

impl Policy {
    /// Reads a document in HCL or JSON. Everything unknown is refused, because a misspelt restriction
    /// would be none.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let mut rules = Vec::new();
        for item in hcl::read(text)? {
            match item.key.as_str() {
                "path" => paths(item, &mut rules)?,
                // Vault ignores a name inside the document; its name is where it is stored.
                "name" if matches!(item.value, Value::Text(_)) => {}
                other => return Err(PolicyError::new(item.line, format!("invalid key {other:?}"))),
            }
        }
        Ok(Self { rules })
    }
}

/// `path "x" { … }`, or `path = { "x" = { … } }` as JSON has it.
fn paths(item: Item, rules: &mut Vec<Rule>) -> Result<(), PolicyError> {
    let line = item.line;
    let shape = || PolicyError::new(line, "a path is written as path \"…\" { … }");
    match (item.labels.len(), item.value) {
        (1, Value::Body(body)) => rules.push(rule(&item.labels[0], line, body)?),
        (0, Value::Body(all)) => {
            for inner in all {
                paths(Item { labels: vec![inner.key.clone()], ..inner }, rules)?;
            }
        }
        (_, Value::List(all)) => {
            for value in all {
                paths(Item { value, labels: item.labels.clone(), key: item.key.clone(), line }, rules)?;
            }
        }
        _ => return Err(shape()),
    }
    Ok(())
}

fn rule(pattern: &str, line: usize, body: Vec<Item>) -> Result<Rule, PolicyError> {
    let fault = |text: String| PolicyError::new(line, format!("path {pattern:?}: {text}"));
    if pattern.contains("{{") {
        return Err(fault("templates such as {{identity.entity.id}} are not supported yet".into()));
    }
    if pattern.contains("+*") {
        return Err(fault("`+*` is forbidden; write `+/*` or `*`".into()));
    }
    let path = pattern.strip_prefix('/').unwrap_or(pattern);
    let (path, prefix) = path.strip_suffix('*').map_or((path, false), |path| (path, true));
    if path.split('/').count() > MAX_SEGMENTS {
        return Err(fault(format!("more than {MAX_SEGMENTS} segments")));
    }
    let mut rule = Rule {
        path: path.to_owned(),
        prefix,
        capabilities: Capabilities::NONE,
        parameters: Parameters::default(),
        min_wrapping_ttl: 0,
        max_wrapping_ttl: 0,
    };
    for item in body {
        let at = |e: String| PolicyError::new(item.line, format!("path {pattern:?}: {e}"));
        match item.key.as_str() {
            "capabilities" => {
                for word in texts(&item.value).ok_or_else(|| at("capabilities is a list of words".into()))? {
                    let known = Capability::parse(&word);
                    rule.capabilities.add(known.ok_or_else(|| at(format!("invalid capability {word:?}")))?);
                }
            }
            "policy" => old_style(&item.value, &mut rule.capabilities).ok_or_else(|| at("invalid policy".into()))?,
            "allowed_parameters" => fields(&item.value, &mut rule.parameters.allowed).map_err(at)?,
            "denied_parameters" => fields(&item.value, &mut rule.parameters.denied).map_err(at)?,
            "required_parameters" => {
                let names = texts(&item.value).ok_or_else(|| at("required_parameters is a list of names".into()))?;
                rule.parameters.required = names.into_iter().map(|n| n.to_lowercase()).collect();
            }
            "min_wrapping_ttl" => rule.min_wrapping_ttl = seconds(&item.value).map_err(at)?,
            "max_wrapping_ttl" => rule.max_wrapping_ttl = seconds(&item.value).map_err(at)?,
            // A remark; OpenBao knows it.
            "comment" => {}
            other => return Err(at(format!("invalid key {other:?}"))),
        }
    }
    if rule.max_wrapping_ttl != 0 && rule.max_wrapping_ttl < rule.min_wrapping_ttl {
        return Err(fault("max_wrapping_ttl cannot be less than min_wrapping_ttl".into()));
    }
    Ok(rule)
}

fn old_style(value: &Value, capabilities: &mut Capabilities) -> Option<()> {
    use Capability::{Create, Delete, Deny, List, Read, Sudo, Update};
    let Value::Text(word) = value else { return None };
    let list: &[Capability] = match word.as_str() {
        "deny" => &[Deny],
        "read" => &[Read, List],
        "write" => &[Create, Read, Update, Delete, List],
        "sudo" => &[Create, Read, Update, Delete, List, Sudo],
        _ => return None,
    };
    list.iter().for_each(|c| capabilities.add(*c));
    Some(())
}

fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::List(all) => all.iter().map(|v| if let Value::Text(t) = v { Some(t.clone()) } else { None }).collect(),
        _ => None,
    }
}

fn fields(value: &Value, into: &mut std::collections::BTreeMap<String, Vec<Json>>) -> Result<(), String> {
    let shape = "parameters are written as { \"name\" = [values] }";
    match value {
        Value::Body(items) => {
            for item in items {
                let Value::List(values) = &item.value else { return Err(shape.into()) };
                let values = values.iter().map(plain).collect::<Option<Vec<_>>>().ok_or(shape)?;
                into.insert(item.key.to_lowercase(), values);
            }
            Ok(())
        }
        Value::List(all) => all.iter().try_for_each(|v| fields(v, into)),
        _ => Err(shape.into()),
    }
}

fn plain(value: &Value) -> Option<Json> {
    Some(match value {
        Value::Text(t) => Json::String(t.clone()),
        Value::Number(n) => Json::Number(n.clone()),
        Value::Bool(b) => Json::Bool(*b),
        Value::List(all) => Json::Array(all.iter().map(plain).collect::<Option<_>>()?),
        Value::Body(_) => return None,
    })
}

fn seconds(value: &Value) -> Result<i64, String> {
    let json = plain(value).ok_or("a duration was expected")?;
    crate::fields::seconds(&json).ok_or_else(|| "a duration is written as 90, \"90s\", \"15m\" or \"2h\"".into())
}
