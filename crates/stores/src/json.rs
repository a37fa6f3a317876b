//! JSON with secrets in it: wiped when dropped. And the two ways in which a secret is read and written:
//! as a whole, or as one field of a JSON object.

use crate::{Result, error::unusable};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use credentialflow_model::SecretValue;
use serde_json::{Map, Value};
use zeroize::{Zeroize, Zeroizing};

/// A JSON value whose texts are wiped when it is dropped.
#[derive(Default)]
pub struct Wiped(pub Value);

impl Wiped {
    /// Reads it.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().map(Self)
    }

    /// A text in it, by a JSON pointer (RFC 6901).
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.0.pointer(pointer).and_then(Value::as_str)
    }

    /// Takes a text out of it, without a copy.
    pub fn take(&mut self, pointer: &str) -> Option<SecretValue> {
        match self.0.pointer_mut(pointer).map(Value::take) {
            Some(Value::String(text)) => Some(SecretValue::from(text)),
            _ => None,
        }
    }

    /// As it is sent.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        // Room for all of it at once: what grows leaves copies behind.
        let mut out = Zeroizing::new(Vec::with_capacity(size(&self.0)));
        let _ = serde_json::to_writer(&mut *out, &self.0);
        out
    }

    /// Its fields, unless it is no object.
    pub(crate) fn object(&mut self) -> Option<&mut Map<String, Value>> {
        self.0.as_object_mut()
    }
}

impl std::fmt::Debug for Wiped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wiped(…)")
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// An upper bound of its length as text.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() * 6 + 2,
        Value::Array(items) => items.iter().map(|item| size(item) + 1).sum::<usize>() + 2,
        Value::Object(fields) => fields.iter().map(|(name, item)| name.len() * 6 + size(item) + 4).sum::<usize>() + 2,
        Value::Null | Value::Bool(_) | Value::Number(_) => 32,
    }
}

/// Whether two secrets are the same, in constant time.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    verify_slices_are_equal(a, b).is_ok()
}

/// A value as text, where a store knows nothing else.
pub(crate) fn text(value: &SecretValue) -> Result<&str> {
    value.expose_str().ok_or_else(|| unusable("the value is not UTF-8 text, which is all this store takes"))
}

/// One field of an object as a value: a text as it is, a number or truth value as JSON writes it.
pub(crate) fn field(object: &Value, name: &str) -> Result<SecretValue> {
    match object.get(name) {
        Some(Value::String(text)) if text.is_empty() => {
            Err(unusable(format!("the field {name} of the secret is empty")))
        }
        Some(Value::String(text)) => Ok(SecretValue::from(text.as_str())),
        Some(Value::Number(number)) => Ok(SecretValue::from(number.to_string())),
        Some(Value::Bool(truth)) => Ok(SecretValue::from(truth.to_string())),
        Some(_) => Err(unusable(format!("the field {name} of the secret is no text"))),
        None => Err(unusable(format!("the secret has no field {name}"))),
    }
}

/// The value of a secret that a store keeps as one piece.
pub(crate) fn pick(whole: SecretValue, name: Option<&str>) -> Result<SecretValue> {
    if whole.is_empty() {
        return Err(unusable("the secret is empty"));
    }
    let Some(name) = name else { return Ok(whole) };
    let object = Wiped::parse(whole.expose()).filter(|o| o.0.is_object());
    field(&object.ok_or_else(|| unusable("the secret is no JSON object, so it has no fields"))?.0, name)
}

/// What such a secret becomes with a value in it; `None` when it holds the value already.
pub(crate) fn put(whole: Option<SecretValue>, name: Option<&str>, value: &SecretValue) -> Result<Option<SecretValue>> {
    let Some(name) = name else {
        let there = whole.is_some_and(|whole| same(whole.expose(), value.expose()));
        return Ok((!there).then(|| value.duplicate()));
    };
    let mut object = match &whole {
        None => Wiped(Value::Object(Map::new())),
        Some(whole) => Wiped::parse(whole.expose())
            .filter(|o| o.0.is_object())
            .ok_or_else(|| unusable("the secret is no JSON object, so it has no fields"))?,
    };
    let new = text(value)?;
    if object.0.get(name).and_then(Value::as_str).is_some_and(|old| same(old.as_bytes(), new.as_bytes())) {
        return Ok(None);
    }
    if let Some(mut old) = object.object().and_then(|o| o.insert(name.to_owned(), Value::String(new.to_owned()))) {
        wipe(&mut old);
    }
    Ok(Some(SecretValue::new(object.to_bytes().to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_put_beside_the_others_and_only_when_it_differs() {
        let put = |whole: Option<&str>, name: Option<&str>, value: &str| {
            let made = super::put(whole.map(SecretValue::from), name, &SecretValue::from(value));
            made.map(|made| made.map(|m| m.expose_str().unwrap().to_owned()))
        };
        assert_eq!(put(None, None, "v").unwrap().unwrap(), "v");
        assert_eq!(put(Some("v"), None, "v").unwrap(), None);
        assert_eq!(put(Some(r#"{"b":1,"a":"x"}"#), Some("a"), "y").unwrap().unwrap(), r#"{"b":1,"a":"y"}"#);
        assert_eq!(put(Some(r#"{"a":"y"}"#), Some("a"), "y").unwrap(), None);
        assert_eq!(put(None, Some("a"), "\"").unwrap().unwrap(), r#"{"a":"\""}"#);
        // Nothing that others put there is written over.
        assert!(put(Some("plain"), Some("a"), "y").is_err() && put(Some("[1]"), Some("a"), "y").is_err());
    }

    #[test]
    fn a_field_is_picked_or_said_to_be_missing() {
        let pick = |whole: &str, name: Option<&str>| {
            super::pick(SecretValue::from(whole), name).map(|v| v.expose_str().unwrap().to_owned())
        };
        assert_eq!(pick("v", None).unwrap(), "v");
        assert_eq!(pick(r#"{"a":"x","n":5}"#, Some("a")).unwrap(), "x");
        assert_eq!(pick(r#"{"a":"x","n":5}"#, Some("n")).unwrap(), "5");
        for (whole, name) in [("", None), ("plain", Some("a")), (r#"{"a":""}"#, Some("a")), ("{}", Some("a"))] {
            assert!(pick(whole, name).is_err(), "{whole}");
        }
    }

    #[test]
    fn json_with_secrets_does_not_print_and_keeps_no_text() {
        let mut document = Wiped::parse(br#"{"a":{"b":"canary"}}"#).unwrap();
        assert!(!format!("{document:?}").contains("canary"));
        assert_eq!(document.take("/a/b").unwrap().expose(), b"canary");
        assert!(document.take("/a/b").is_none());
    }
}
