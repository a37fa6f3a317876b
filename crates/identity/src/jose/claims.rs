//! What a token says (RFC 7519): read once, and its times checked.

use super::{JoseError, verify::UniqueMap};
use serde_json::{Map, Value};

/// The claims of a token whose signature was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims(pub Map<String, Value>);

/// How much clocks may differ, and what a token without `exp` or `nbf` gets; all in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skew {
    /// On both sides.
    pub clock: i64,
    /// Added to `iat` or `nbf` when there is no `exp`.
    pub expiration: i64,
    /// Taken from `exp` or `iat` when there is no `nbf`.
    pub not_before: i64,
}

impl Claims {
    /// Reads a payload: an object in which no name comes twice.
    pub fn parse(payload: &[u8]) -> Result<Self, JoseError> {
        serde_json::from_slice::<UniqueMap>(payload).map(|map| Self(map.0)).map_err(|_| JoseError::Malformed)
    }

    /// A claim by its name, or by a JSON pointer (RFC 6901) when it begins with `/`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        if let Some(found) = self.0.get(name) {
            return Some(found).filter(|v| !v.is_null());
        }
        let mut parts = name.strip_prefix('/')?.split('/').map(|part| part.replace("~1", "/").replace("~0", "~"));
        let mut value = self.0.get(&parts.next()?)?;
        for part in parts {
            value = match value {
                Value::Object(map) => map.get(&part)?,
                Value::Array(all) => all.get(part.parse::<usize>().ok()?)?,
                _ => return None,
            };
        }
        Some(value).filter(|v| !v.is_null())
    }

    /// A claim that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    /// For whom it is: `aud`, one or many.
    pub fn audiences(&self) -> Vec<&str> {
        match self.0.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    fn time(&self, name: &'static str) -> Result<Option<i64>, JoseError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(n)) => n
                .as_i64()
                .or_else(|| n.as_f64().filter(|f| f.abs() < 1e15).map(|f| f as i64))
                .map(Some)
                .ok_or(JoseError::Time("a time in the token is no number")),
            Some(_) => Err(JoseError::Time("a time in the token is no number")),
        }
    }
}

/// Whether it is the time for a token: `exp`, `nbf` and `iat` within the skew. One of them must be
/// there; a missing end or beginning follows from the others.
pub fn check_times(claims: &Claims, skew: Skew, now: i64) -> Result<(), JoseError> {
    let (issued, begins, ends) = (claims.time("iat")?, claims.time("nbf")?, claims.time("exp")?);
    if issued.is_none() && begins.is_none() && ends.is_none() {
        return Err(JoseError::Time("no issued at (iat), not before (nbf), or expiration time (exp) claims in token"));
    }
    let latest = issued.into_iter().chain(begins).max();
    let end = ends.or(latest.map(|start| start.saturating_add(skew.expiration)));
    if end.is_none_or(|end| now >= end.saturating_add(skew.clock)) {
        return Err(JoseError::Time("the token is expired"));
    }
    let begin = begins.or(issued).or(ends.map(|end| end.saturating_sub(skew.not_before)));
    if begin.is_some_and(|begin| now < begin.saturating_sub(skew.clock)) {
        return Err(JoseError::Time("the token is not valid yet"));
    }
    if issued.is_some_and(|issued| now < issued.saturating_sub(skew.clock)) {
        return Err(JoseError::Time("the token was issued in the future"));
    }
    Ok(())
}
