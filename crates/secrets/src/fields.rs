//! Reads a body's fields as leniently as Vault does: numbers as text, durations with units. What
//! cannot be meant is refused by name; values are never repeated.

use crate::{Result, SecretsError};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

fn get<'a>(data: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    data.get(name).filter(|v| !v.is_null())
}

fn wrong(name: &str, expected: &str) -> SecretsError {
    SecretsError::invalid(format!("error converting input for field {name:?}: {expected} was expected"))
}

/// A text; numbers and booleans count as their spelling.
pub fn text(data: &Map<String, Value>, name: &str) -> Result<Option<String>> {
    match get(data, name) {
        None => Ok(None),
        Some(Value::String(s)) => Ok(Some(s.clone())),
        Some(v @ (Value::Number(_) | Value::Bool(_))) => Ok(Some(v.to_string())),
        Some(_) => Err(wrong(name, "a text")),
    }
}

/// True or false.
pub fn boolean(data: &Map<String, Value>, name: &str) -> Result<Option<bool>> {
    let Some(value) = get(data, name) else { return Ok(None) };
    match value {
        Value::Bool(b) => Ok(Some(*b)),
        Value::String(s) if matches!(s.as_str(), "true" | "True" | "TRUE" | "1" | "t") => Ok(Some(true)),
        Value::String(s) if matches!(s.as_str(), "false" | "False" | "FALSE" | "0" | "f" | "") => Ok(Some(false)),
        Value::Number(n) if n.as_i64() == Some(0) => Ok(Some(false)),
        Value::Number(n) if n.as_i64() == Some(1) => Ok(Some(true)),
        _ => Err(wrong(name, "true or false")),
    }
}

/// A whole number.
pub fn integer(data: &Map<String, Value>, name: &str) -> Result<Option<i64>> {
    let Some(value) = get(data, name) else { return Ok(None) };
    whole(value).map(Some).ok_or_else(|| wrong(name, "a whole number"))
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Number(n) => n.as_i64(),
        Value::String(s) => s.trim().parse().ok(),
        _ => None,
    }
}

/// Whole numbers: a list, one number, or a text with commas.
pub fn integers(data: &Map<String, Value>, name: &str) -> Result<Vec<i64>> {
    let expected = || wrong(name, "a list of whole numbers");
    match get(data, name) {
        None => Ok(Vec::new()),
        Some(Value::Array(all)) => all.iter().map(|v| whole(v).ok_or_else(expected)).collect(),
        Some(Value::String(s)) => {
            s.split(',').filter(|p| !p.trim().is_empty()).map(|p| p.trim().parse().map_err(|_| expected())).collect()
        }
        Some(v) => whole(v).map(|n| vec![n]).ok_or_else(expected),
    }
}

/// A duration in whole seconds: a number, or numbers with units (`90s`, `1h30m`, `7d`).
pub fn seconds(data: &Map<String, Value>, name: &str) -> Result<Option<i64>> {
    let Some(value) = get(data, name) else { return Ok(None) };
    let seconds = match value {
        Value::Number(n) => n.as_i64().or_else(|| n.as_f64().map(|f| f as i64)),
        Value::String(s) => duration(s.trim()),
        _ => None,
    };
    seconds.map(Some).ok_or_else(|| wrong(name, "a duration such as 90, \"15m\" or \"2h\""))
}

/// The seconds a duration's text means; parts of a second are dropped.
pub fn duration(text: &str) -> Option<i64> {
    if text.is_empty() {
        return Some(0);
    }
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let (sign, mut rest) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
    let mut total = 0.0f64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let unit = rest[end..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| end + at);
        total += number
            * match &rest[end..unit] {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86400.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    (total < 1e12).then_some((sign * total) as i64)
}

/// A duration as Go writes it: `0s`, `1m30s`, `768h0m0s`.
pub fn go_duration(seconds: i64) -> String {
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (h, m) {
        (0, 0) => format!("{s}s"),
        (0, _) => format!("{m}m{s}s"),
        _ => format!("{h}h{m}m{s}s"),
    }
}

/// Texts by name.
pub fn texts(data: &Map<String, Value>, name: &str) -> Result<Option<BTreeMap<String, String>>> {
    let expected = || wrong(name, "an object of texts");
    match get(data, name) {
        None => Ok(None),
        Some(Value::Object(map)) => map
            .iter()
            .map(|(k, v)| match v {
                Value::String(s) => Ok((k.clone(), s.clone())),
                Value::Number(_) | Value::Bool(_) => Ok((k.clone(), v.to_string())),
                _ => Err(expected()),
            })
            .collect::<Result<_>>()
            .map(Some),
        Some(_) => Err(expected()),
    }
}

/// A list of texts, or one text with commas.
pub fn list(data: &Map<String, Value>, name: &str) -> Result<Option<Vec<String>>> {
    match get(data, name) {
        None => Ok(None),
        Some(Value::Array(all)) => all
            .iter()
            .map(|v| v.as_str().map(str::to_owned).ok_or_else(|| wrong(name, "a list of texts")))
            .collect::<Result<_>>()
            .map(Some),
        Some(Value::String(s)) => {
            Ok(Some(s.split(',').map(|p| p.trim().to_owned()).filter(|p| !p.is_empty()).collect()))
        }
        Some(_) => Err(wrong(name, "a list of texts")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in
            [("", 0), ("90", 90), ("15m", 900), ("1h30m", 5400), ("7d", 604_800), ("-1s", -1), ("1.5m", 90)]
        {
            assert_eq!(duration(text), Some(seconds), "{text}");
        }
        for text in ["x", "5x", "s", "1e9h", "10 m"] {
            assert_eq!(duration(text), None, "{text}");
        }
        assert_eq!([0, 30, 90, 3600, 2_764_800].map(go_duration), ["0s", "30s", "1m30s", "1h0m0s", "768h0m0s"]);
    }
}
