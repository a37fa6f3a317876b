//! Reads a body's fields as leniently as Vault does: numbers as text, durations with units, lists
//! with commas. What cannot be meant is refused by name; values are never repeated.

use crate::{IdentityError, Result};
use credentialflow_model::SecretValue;
use ipnet::IpNet;
use serde_json::{Map, Value};
use std::{collections::BTreeMap, net::IpAddr};

/// Longer texts, lists and maps are nobody's honest field.
const MAX_TEXT: usize = 128 * 1024;
const MAX_LIST: usize = 4096;

/// The fields of a request.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a Map<String, Value>);

impl Fields<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|v| !v.is_null())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<String>> {
        self.get(name).map_or(Ok(None), |v| scalar(v).ok_or_else(|| wrong(name, "a text")).map(Some))
    }

    pub(crate) fn text_or_empty(&self, name: &str) -> Result<String> {
        Ok(self.text(name)?.unwrap_or_default())
    }

    /// A text that must be there.
    pub(crate) fn needed(&self, name: &str) -> Result<String> {
        match self.text(name)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(IdentityError::invalid(format!("missing {name}"))),
        }
    }

    pub(crate) fn secret(&self, name: &str) -> Result<SecretValue> {
        self.needed(name).map(SecretValue::from)
    }

    pub(crate) fn bool(&self, name: &str) -> Result<Option<bool>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let known = match value {
            Value::Bool(b) => Some(*b),
            Value::String(s) => match s.as_str() {
                "true" | "True" | "TRUE" | "t" | "T" | "1" => Some(true),
                "false" | "False" | "FALSE" | "f" | "F" | "0" | "" => Some(false),
                _ => None,
            },
            Value::Number(n) => n.as_i64().filter(|n| matches!(n, 0 | 1)).map(|n| n == 1),
            _ => None,
        };
        known.map(Some).ok_or_else(|| wrong(name, "true or false"))
    }

    pub(crate) fn int(&self, name: &str) -> Result<Option<i64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let known = match value {
            Value::Number(n) => n.as_i64(),
            Value::String(s) if s.trim().is_empty() => Some(0),
            Value::String(s) => s.trim().parse().ok(),
            _ => None,
        };
        known.map(Some).ok_or_else(|| wrong(name, "a whole number"))
    }

    /// A duration in seconds, not negative.
    pub(crate) fn seconds(&self, name: &str) -> Result<Option<i64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let known = seconds(value).ok_or_else(|| wrong(name, "a duration such as 90, \"15m\" or \"2h\""))?;
        if known < 0 { Err(IdentityError::invalid(format!("{name} must be positive"))) } else { Ok(Some(known)) }
    }

    /// A list of texts, or one text with commas.
    pub(crate) fn list(&self, name: &str) -> Result<Option<Vec<String>>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let shape = || wrong(name, "a list of texts");
        let list: Vec<String> = match value {
            Value::Array(all) => all.iter().map(scalar).collect::<Option<_>>().ok_or_else(shape)?,
            other => scalar(other).ok_or_else(shape)?.split(',').map(|part| part.trim().to_owned()).collect(),
        };
        if list.len() > MAX_LIST {
            return Err(IdentityError::invalid(format!("{name} has more than {MAX_LIST} values")));
        }
        Ok(Some(list.into_iter().filter(|part| !part.is_empty()).collect()))
    }

    /// Texts by name: an object, its JSON as text, or a list of `name=value`.
    pub(crate) fn texts(&self, name: &str) -> Result<Option<BTreeMap<String, String>>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let shape = || wrong(name, "an object of texts");
        let pairs = match value {
            Value::String(s) if s.trim().is_empty() => BTreeMap::new(),
            Value::String(s) if s.trim_start().starts_with('{') => {
                let inner: Map<String, Value> = serde_json::from_str(s).map_err(|_| shape())?;
                flat(&inner).ok_or_else(shape)?
            }
            Value::Object(map) => flat(map).ok_or_else(shape)?,
            _ => {
                let list = self.list(name)?.unwrap_or_default();
                list.iter()
                    .map(|pair| pair.split_once('=').map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned())))
                    .collect::<Option<_>>()
                    .ok_or_else(shape)?
            }
        };
        if pairs.len() > MAX_LIST { Err(shape()) } else { Ok(Some(pairs)) }
    }

    /// An object as it is.
    pub(crate) fn object(&self, name: &str) -> Result<Option<Map<String, Value>>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map.clone())),
            Some(Value::String(s)) => serde_json::from_str(s).map(Some).map_err(|_| wrong(name, "an object")),
            Some(_) => Err(wrong(name, "an object")),
        }
    }

    /// Networks in CIDR form, or single addresses.
    pub(crate) fn networks(&self, name: &str) -> Result<Option<Vec<Cidr>>> {
        let Some(list) = self.list(name)? else { return Ok(None) };
        list.iter()
            .map(|text| Cidr::parse(text).ok_or_else(|| wrong(name, "a list of networks such as 10.0.0.0/8")))
            .collect::<Result<_>>()
            .map(Some)
    }
}

fn flat(map: &Map<String, Value>) -> Option<BTreeMap<String, String>> {
    map.iter().map(|(k, v)| scalar(v).map(|v| (k.clone(), v))).collect()
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(s) if s.len() <= MAX_TEXT => Some(s.clone()),
        Value::Number(n) => Some(n.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}

fn wrong(name: &str, what: &str) -> IdentityError {
    IdentityError::invalid(format!("error converting input for field {name:?}: {what} was expected"))
}

/// The seconds a JSON value means: a number, digits, or numbers with units (`1h30m`, `90s`, `7d`);
/// parts of a second are dropped.
pub(crate) fn seconds(value: &Value) -> Option<i64> {
    match value {
        Value::Number(n) => n.as_i64().or_else(|| n.as_f64().filter(|f| f.abs() < 1e15).map(|f| f as i64)),
        Value::String(text) => duration(text.trim()),
        _ => None,
    }
}

fn duration(text: &str) -> Option<i64> {
    if text.is_empty() {
        return Some(0);
    }
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(seconds);
    }
    let (negative, mut rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let mut total = 0.0f64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let unit_end = rest[end..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| end + at);
        total += number
            * match &rest[end..unit_end] {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                "w" => 604_800.0,
                _ => return None,
            };
        rest = &rest[unit_end..];
    }
    (total < 1e15).then_some(if negative { -(total as i64) } else { total as i64 })
}

/// A network, as it was written and as it is compared.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    text: String,
    net: IpNet,
}

impl Cidr {
    /// `10.0.0.0/8`, or one address.
    pub fn parse(text: &str) -> Option<Self> {
        let net = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
        Some(Self { text: text.to_owned(), net })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether all of another network lies in this one.
    pub fn covers(&self, other: &Self) -> bool {
        self.net.contains(&other.net)
    }
}

impl TryFrom<String> for Cidr {
    type Error = &'static str;
    fn try_from(text: String) -> std::result::Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not a network")
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.text
    }
}

/// Whether a source may come: no networks mean everybody, an unknown source is in none of them.
pub(crate) fn within(networks: &[Cidr], source: Option<IpAddr>) -> bool {
    networks.is_empty() || source.is_some_and(|ip| networks.iter().any(|n| n.net.contains(&ip.to_canonical())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn durations_are_read_as_vault_reads_them() {
        for (value, expected) in [
            (json!(90), Some(90)),
            (json!("90"), Some(90)),
            (json!("1h30m"), Some(5400)),
            (json!("1.5h"), Some(5400)),
            (json!("7d"), Some(604_800)),
            (json!("250ms"), Some(0)),
            (json!("-5m"), Some(-300)),
            (json!(""), Some(0)),
            (json!("5 minutes"), None),
            (json!("h"), None),
            (json!("99999999999999999h"), None),
            (json!(true), None),
        ] {
            assert_eq!(seconds(&value), expected, "{value}");
        }
    }

    #[test]
    fn fields_are_read_leniently_and_refused_by_name() {
        let body = json!({"l": "a, b,,c", "a": ["x", 1], "m": {"k": 1}, "t": "k=v,x=y", "j": "{\"k\": \"v\"}",
            "b": "true", "n": "7", "null": null, "bad": {"x": []}, "neg": "-1h", "c": ["10.0.0.1", "10.0.0.0/8"]});
        let fields = Fields(body.as_object().unwrap());
        assert_eq!(fields.list("l").unwrap().unwrap(), ["a", "b", "c"]);
        assert_eq!(fields.list("a").unwrap().unwrap(), ["x", "1"]);
        assert_eq!(fields.texts("m").unwrap().unwrap()["k"], "1");
        assert_eq!(fields.texts("t").unwrap().unwrap()["x"], "y");
        assert_eq!(fields.texts("j").unwrap().unwrap()["k"], "v");
        assert_eq!((fields.bool("b").unwrap(), fields.int("n").unwrap()), (Some(true), Some(7)));
        assert!(!fields.has("null") && fields.text("null").unwrap().is_none());
        for error in [fields.texts("bad").err(), fields.seconds("neg").err(), fields.networks("l").err()] {
            assert_eq!(error.unwrap().status(), 400);
        }
        let networks = fields.networks("c").unwrap().unwrap();
        assert!(networks[1].covers(&networks[0]) && !networks[0].covers(&networks[1]));
        let source = |text: &str| text.parse().ok();
        assert!(within(&networks, source("10.9.9.9")) && within(&networks, source("::ffff:10.1.1.1")));
        assert!(!within(&networks, source("11.0.0.1")) && !within(&networks, None) && within(&[], None));
    }
}
