//! Answers that are no JSON, or none that a JSON Schema allows (drafts 4 to 2020-12). Exact.
//!
//! A schema stands for itself: what it refers to is in it, and nothing is fetched. Its patterns are matched in linear time.

use super::{Detector, Found, Reach};
use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

/// So large a schema may be, in bytes.
const MOST: usize = 64 << 10;

/// Finds texts that do not fit.
pub(crate) struct JsonSchema(Validator);

/// Of what this schema allows.
///
/// # Errors
/// A sentence on why it cannot be used.
pub(crate) fn of(schema: Option<&Value>) -> Result<JsonSchema, String> {
    let schema = schema.ok_or("the schema is missing")?;
    if schema.to_string().len() > MOST {
        return Err(format!("the schema has more than {} KiB", MOST >> 10));
    }
    let options = jsonschema::options().with_pattern_options(PatternOptions::regex().size_limit(1 << 20));
    options.build(schema).map(JsonSchema).map_err(|why| {
        let place = why.instance_path().to_string();
        let place = if place.is_empty() { String::new() } else { format!(" at {place}") };
        format!("this is no schema that can be used{place}: {why}")
    })
}

impl JsonSchema {
    /// Whether a value fits.
    pub(crate) fn allows(&self, value: &Value) -> bool {
        self.0.is_valid(value)
    }
}

impl Detector for JsonSchema {
    fn find(&self, text: &str, found: &mut Vec<Found>) {
        let fits = serde_json::from_str::<Value>(text).is_ok_and(|value| self.allows(&value));
        if !fits {
            found.push(Found { range: 0..text.len(), placeholder: "[NO_JSON]" });
        }
    }

    fn reach(&self) -> Reach {
        Reach { bytes: 0, row: 0 }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn fits(schema: &Value, text: &str) -> bool {
        let mut found = Vec::new();
        of(Some(schema)).unwrap().find(text, &mut found);
        found.is_empty()
    }

    #[test]
    fn answers_fit_or_not() {
        let schema = json!({
            "type": "object", "required": ["city"], "additionalProperties": false,
            "properties": { "city": { "$ref": "#/$defs/name" }, "zip": { "type": "string", "pattern": "^[0-9]{5}$" } },
            "$defs": { "name": { "type": "string", "minLength": 1 } },
        });
        for right in [r#"{"city":"Lisbon"}"#, " {\n \"city\": \"Lisbon\", \"zip\": \"01234\" } "] {
            assert!(fits(&schema, right), "{right}");
        }
        for wrong in
            [r#"{"city":""}"#, r#"{"city":"x","zip":"1"}"#, r#"{"town":"x"}"#, "Lisbon", "", "{} {}", "```json\n{}```"]
        {
            assert!(!fits(&schema, wrong), "{wrong}");
        }
        assert!(fits(&json!(true), "1") && !fits(&json!(true), "no"));
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        for wrong in [
            json!({"type": "thing"}),
            json!({"$ref": "https://example.com/schema.json"}),
            json!({"$ref": "#/$defs/none"}),
            json!({"pattern": "("}),
            // Looking back takes more than linear time.
            json!({"pattern": r"(a+)\1"}),
            json!({"enum": ["x".repeat(MOST)]}),
        ] {
            assert!(of(Some(&wrong)).is_err(), "{}", wrong.to_string().get(..60).unwrap_or("short"));
        }
        assert!(of(None).is_err());
    }
}
