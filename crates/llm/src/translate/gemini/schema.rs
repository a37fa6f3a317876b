//! Google's schemas, a subset of OpenAPI 3.0, as JSON Schemas, which is what every other dialect has.
//!
//! Types come in small letters, `nullable` becomes a type that may be null, counts that are texts become numbers, and
//! what JSON Schema has no word for (`propertyOrdering`, `example`) is left out. Everything else stays as it is, in its
//! order; `type` comes last.

use super::{
    super::{
        Why,
        call::{MAX_FIELDS, MAX_TOOLS},
        read::{Text, members, one_or_more, present},
    },
    read_call::{ANSWER, Declarations},
};
use crate::{openai::request::write_json_string, provider::Dialect};
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// The JSON Schemas of one call's schemas. A call borrows from its body, so what does not stand there stands here.
#[derive(Default)]
pub(in crate::translate) struct Schemas {
    /// Of the parameters of functions, in order.
    pub tools: Vec<Box<RawValue>>,
    /// Of the answer.
    pub answer: Option<Box<RawValue>>,
}

impl Schemas {
    /// Those of a call of this dialect; others than Gemini's have none of Google's.
    pub fn of(dialect: Dialect, body: &[u8]) -> Result<Self, Why> {
        match dialect {
            Dialect::Gemini => schemas(body),
            _ => Ok(Self::default()),
        }
    }
}

/// Makes the JSON Schemas of a call.
fn schemas(body: &[u8]) -> Result<Schemas, Why> {
    let mut made = Schemas::default();
    for (name, raw) in members(body, MAX_FIELDS)? {
        match &*name {
            "tools" if present(Some(raw)).is_some() => {
                let mut room = MAX_TOOLS;
                for tool in one_or_more::<Declarations<'_>>(raw, "`tools`", MAX_TOOLS, "tools")? {
                    for schema in tool.functions(&mut room)?.iter().filter_map(|function| present(function.parameters))
                    {
                        made.tools
                            .push(json_schema(schema).ok_or_else(|| Why::Form("`parameters` of a tool".to_owned()))?);
                    }
                }
            }
            "generationConfig" | "generation_config" if present(Some(raw)).is_some() => {
                let config = members(raw.get().as_bytes(), MAX_FIELDS)?;
                let schema = config.iter().find(|(name, _)| ANSWER.contains(&&**name)).map(|(_, raw)| *raw);
                made.answer = match present(schema) {
                    Some(raw) => Some(json_schema(raw).ok_or_else(|| Why::Form("`responseSchema`".to_owned()))?),
                    None => None,
                };
            }
            _ => {}
        }
    }
    Ok(made)
}

/// A schema of Google's as a JSON Schema. `None` when it is none.
pub(super) fn json_schema(raw: &RawValue) -> Option<Box<RawValue>> {
    let mut out = Vec::with_capacity(raw.get().len());
    let mut de = serde_json::Deserializer::from_str(raw.get());
    Node { out: &mut out, within: Within::Schema }.deserialize(&mut de).ok()?;
    RawValue::from_string(String::from_utf8(out).ok()?).ok()
}

/// What stands at a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Schema,
    /// Schemas by name.
    Named,
    /// One schema after the other.
    Listed,
}

/// A place that is read and written at once. The depth is the JSON reader's to bound.
struct Node<'o> {
    out: &'o mut Vec<u8>,
    within: Within,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a schema")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        // As in `additionalProperties: false`.
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if self.within != Within::Listed {
            return Err(de::Error::custom("a list where a schema should be"));
        }
        let out = self.out;
        let mut between = b'[';
        loop {
            let at = out.len();
            out.push(between);
            if seq.next_element_seed(Node { out: &mut *out, within: Within::Schema })?.is_none() {
                out.truncate(at);
                break;
            }
            between = b',';
        }
        if between == b'[' {
            out.push(b'[');
        }
        out.push(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { out, within } = self;
        if within == Within::Listed {
            return Err(de::Error::custom("an object where a list should be"));
        }
        out.push(b'{');
        let begin = out.len();
        let (mut kind, mut nullable) = (None, false);
        while let Some(name) = map.next_key::<Text<'de>>()? {
            let mut member = |name: &str| {
                if out.len() > begin {
                    out.push(b',');
                }
                write_json_string(out, name);
                out.push(b':');
            };
            if within == Within::Named {
                member(&name);
                map.next_value_seed(Node { out: &mut *out, within: Within::Schema })?;
                continue;
            }
            match &*name {
                "type" => kind = Some(map.next_value::<&'de RawValue>()?),
                "nullable" => nullable = map.next_value()?,
                "propertyOrdering" | "property_ordering" | "example" => {
                    map.next_value::<IgnoredAny>()?;
                }
                "properties" | "$defs" | "defs" => {
                    member(if &*name == "properties" { "properties" } else { "$defs" });
                    map.next_value_seed(Node { out: &mut *out, within: Within::Named })?;
                }
                "items" => {
                    member("items");
                    map.next_value_seed(Node { out: &mut *out, within: Within::Schema })?;
                }
                "additionalProperties" | "additional_properties" => {
                    member("additionalProperties");
                    map.next_value_seed(Node { out: &mut *out, within: Within::Schema })?;
                }
                "anyOf" | "any_of" => {
                    member("anyOf");
                    map.next_value_seed(Node { out: &mut *out, within: Within::Listed })?;
                }
                other => {
                    let counted = COUNTS.iter().find(|(camel, snake)| other == *camel || other == *snake);
                    member(counted.map_or(other, |(camel, _)| *camel));
                    let value = map.next_value::<&'de RawValue>()?.get();
                    // A whole number of 64 bits is a text in Google's JSON.
                    let digits = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                    let digits = digits.filter(|text| counted.is_some() && text.parse::<u64>().is_ok());
                    out.extend_from_slice(digits.unwrap_or(value).as_bytes());
                }
            }
        }
        if let Some(kind) = kind {
            let (words, known) = words(kind, nullable).map_err(|()| de::Error::custom("no type"))?;
            if known {
                if out.len() > begin {
                    out.push(b',');
                }
                out.extend_from_slice(b"\"type\":");
                out.extend_from_slice(words.as_bytes());
            }
        }
        out.push(b'}');
        Ok(())
    }
}

/// Members that are counts.
const COUNTS: &[(&str, &str)] = &[
    ("minItems", "min_items"),
    ("maxItems", "max_items"),
    ("minLength", "min_length"),
    ("maxLength", "max_length"),
    ("minProperties", "min_properties"),
    ("maxProperties", "max_properties"),
];

/// The value of `type`, and whether there is one. Google's servers read the number of a type as well as its name.
fn words(kind: &RawValue, nullable: bool) -> Result<(String, bool), ()> {
    const NUMBERED: &[&str] = &["", "string", "number", "integer", "boolean", "array", "object", "null"];
    let word = match serde_json::from_str::<Text<'_>>(kind.get()) {
        Ok(text) => text.to_ascii_lowercase(),
        // Several, as in JSON Schema.
        Err(_) if kind.get().starts_with('[') => return Ok((kind.get().to_owned(), true)),
        Err(_) => {
            let number: usize = kind.get().parse().map_err(|_| ())?;
            (*NUMBERED.get(number).ok_or(())?).to_owned()
        }
    };
    if word.is_empty() || word == "type_unspecified" {
        return Ok((word, false));
    }
    if !NUMBERED.contains(&&*word) {
        return Err(());
    }
    Ok((if nullable && word != "null" { format!("[\"{word}\",\"null\"]") } else { format!("\"{word}\"") }, true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(schema: &str) -> Option<String> {
        json_schema(&RawValue::from_string(schema.to_owned()).unwrap()).map(|raw| raw.get().to_owned())
    }

    #[test]
    fn a_schema_says_the_same_in_other_words() {
        for (google, json) in [
            (r#"{"type":"STRING"}"#, r#"{"type":"string"}"#),
            (
                r#"{"type":"string","format":"date-time","enum":["A"]}"#,
                r#"{"format":"date-time","enum":["A"],"type":"string"}"#,
            ),
            (
                r#"{"type":6,"properties":{"type":{"type":1,"nullable":true}},"required":["type"],"propertyOrdering":["type"]}"#,
                r#"{"properties":{"type":{"type":["string","null"]}},"required":["type"],"type":"object"}"#,
            ),
            (
                r#"{"type":"ARRAY","items":{"type":"INTEGER"},"minItems":"1","max_items":3}"#,
                r#"{"items":{"type":"integer"},"minItems":1,"maxItems":3,"type":"array"}"#,
            ),
            (
                r#"{"any_of":[{"type":"NUMBER"},{"type":"TYPE_UNSPECIFIED"}],"nullable":true}"#,
                r#"{"anyOf":[{"type":"number"},{}]}"#,
            ),
            (
                r#"{"anyOf":[],"type":["object","null"],"additionalProperties":false}"#,
                r#"{"anyOf":[],"additionalProperties":false,"type":["object","null"]}"#,
            ),
            (
                r#"{ "title" : "a\"b" , "default" : { "type" : "STRING" } }"#,
                r#"{"title":"a\"b","default":{ "type" : "STRING" }}"#,
            ),
            ("{}", "{}"),
        ] {
            assert_eq!(of(google).as_deref(), Some(json), "{google}");
        }
        for none in [
            r#"{"type":"WHATEVER"}"#,
            r#"{"type":99}"#,
            r#"{"type":{}}"#,
            "[]",
            r#""STRING""#,
            r#"{"properties":[]}"#,
            r#"{"anyOf":{}}"#,
            r#"{"items":7}"#,
        ] {
            assert_eq!(of(none), None, "{none}");
        }
        let deep = format!("{}{{}}{}", r#"{"items":"#.repeat(200), "}".repeat(200));
        assert_eq!(of(&deep), None, "deeper than any JSON that is read");
    }

    proptest! {
        #[test]
        fn what_is_made_is_made_again_the_same(text in "[a-z{}:,\"\\[\\] 0-9]{0,60}") {
            let google = format!(r#"{{"properties":{{"a":{{"type":"ARRAY","items":{{"enum":[{:?}]}}}}}},"type":"OBJECT"}}"#, text);
            if let Some(once) = serde_json::from_str::<Box<RawValue>>(&google).ok().and_then(|raw| json_schema(&raw)) {
                let twice = json_schema(&once).unwrap();
                prop_assert_eq!(twice.get(), once.get());
            }
        }
    }
}
