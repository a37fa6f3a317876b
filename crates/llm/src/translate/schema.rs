//! What a JSON Schema must be like at the provider that is to hold an answer, or a tool's input, to it.
//!
//! Schemas of Gemini's callers are made JSON Schemas before ([`super::gemini::schema`]). What the provider takes stays
//! as it is, byte for byte.

use super::{call::Strict, read::Text};
use crate::openai::request::write_json_string;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::BTreeSet, fmt};

impl Strict {
    /// Whether OpenAI's dialects are told to hold to this schema.
    pub fn at_openai(self, schema: Option<&RawValue>) -> bool {
        match self {
            Self::Not => false,
            Self::Told => true,
            Self::WhereItFits => schema.is_some_and(fits_openai),
        }
    }
}

/// What stands at a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    /// The schema itself, which OpenAI holds to more.
    Root,
    Schema,
    /// Schemas by name.
    Named,
    /// One schema after the other.
    Listed,
}

/// Formats of texts that both OpenAI and Anthropic know.
const FORMATS: &[&str] = &["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"];
/// Another that Anthropic knows.
const URI: &str = "uri";

/// The words that OpenAI takes in strict schemas, beside those that are looked at
/// (<https://platform.openai.com/docs/guides/structured-outputs/supported-schemas>).
const OPENAI: &[&str] = &[
    "$schema",
    "const",
    "description",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "maxItems",
    "maximum",
    "minItems",
    "minimum",
    "multipleOf",
    "title",
];
/// So many properties may a strict schema have.
const MAX_PROPERTIES: usize = 5000;
/// So many values of enumerations.
const MAX_VALUES: usize = 1000;
/// So long may be the names and values in it together; here, all of it.
const MAX_LENGTH: usize = 120_000;
/// So deep may its objects stand in each other.
const MAX_LEVELS: usize = 10;

/// Whether OpenAI takes a schema with `strict: true`: every object is closed and requires all of its properties, all the
/// way down, and nothing stands in it that strict schemas may not have.
fn fits_openai(raw: &RawValue) -> bool {
    let mut de = serde_json::Deserializer::from_str(raw.get());
    let mut found = Found::default();
    raw.get().len() <= MAX_LENGTH
        && Fit { within: Within::Root, found: &mut found, level: 0 }.deserialize(&mut de).is_ok()
        && found.properties <= MAX_PROPERTIES
        && found.values <= MAX_VALUES
}

/// What was found in a schema so far.
#[derive(Default)]
struct Found {
    properties: usize,
    /// Of enumerations.
    values: usize,
}

/// Whether a regular expression has what neither OpenAI nor Anthropic take: it looks around itself or back at what it
/// found, or at where a word ends.
fn is_beyond(pattern: &str) -> bool {
    let mut escaped = false;
    let looks_back = pattern.bytes().any(|b| {
        let is_escaped = escaped;
        escaped = !is_escaped && b == b'\\';
        is_escaped && matches!(b, b'1'..=b'9' | b'b' | b'B')
    });
    looks_back || ["(?=", "(?!", "(?<=", "(?<!"].iter().any(|around| pattern.contains(around))
}

/// A place that is looked at. An error is what does not fit.
struct Fit<'c> {
    within: Within,
    found: &'c mut Found,
    /// So many objects is it in.
    level: usize,
}

fn unfit<E: de::Error>() -> E {
    E::custom("no strict schema")
}

impl<'de> DeserializeSeed<'de> for Fit<'_> {
    /// The names of what stands there by name.
    type Value = BTreeSet<Cow<'de, str>>;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fit<'_> {
    type Value = BTreeSet<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a strict schema")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let Self { within: Within::Listed, found, level } = self else { return Err(unfit()) };
        while seq.next_element_seed(Fit { within: Within::Schema, found: &mut *found, level })?.is_some() {}
        Ok(BTreeSet::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Self { within, found, level } = self;
        if within == Within::Named {
            let mut names = BTreeSet::new();
            while let Some(name) = map.next_key::<Text<'de>>()? {
                map.next_value_seed(Fit { within: Within::Schema, found: &mut *found, level })?;
                names.insert(name.0);
            }
            return Ok(names);
        }
        if within == Within::Listed {
            return Err(unfit());
        }
        let (mut words, mut refers, mut closed, mut many, mut chosen) = (0usize, false, false, false, false);
        let (mut kinds, mut named, mut required) = (Vec::new(), None, BTreeSet::new());
        while let Some(word) = map.next_key::<Text<'de>>()? {
            words += 1;
            match &*word {
                "type" => kinds = kinds_of(map.next_value()?),
                "properties" => {
                    let node = Fit { within: Within::Named, found: &mut *found, level: level + 1 };
                    named = Some(map.next_value_seed(node)?);
                }
                "required" => required = map.next_value::<Vec<Text<'de>>>()?.into_iter().map(|name| name.0).collect(),
                "additionalProperties" => closed = !map.next_value::<bool>()?,
                "items" => {
                    many = true;
                    map.next_value_seed(Fit { within: Within::Schema, found: &mut *found, level })?;
                }
                "anyOf" if within != Within::Root => {
                    chosen = true;
                    map.next_value_seed(Fit { within: Within::Listed, found: &mut *found, level })?;
                }
                "$defs" | "definitions" => {
                    map.next_value_seed(Fit { within: Within::Named, found: &mut *found, level })?;
                }
                "$ref" => {
                    refers = true;
                    map.next_value::<IgnoredAny>()?;
                }
                "enum" => found.values += map.next_value::<Vec<IgnoredAny>>()?.len(),
                "format" if FORMATS.contains(&&*map.next_value::<Text<'de>>()?) => {}
                "pattern" if !is_beyond(&map.next_value::<Text<'de>>()?) => {}
                word if OPENAI.contains(&word) => {
                    map.next_value::<IgnoredAny>()?;
                }
                _ => return Err(unfit()),
            }
        }
        let is = |wanted: &str| kinds.iter().any(|kind| &**kind == wanted);
        let is_object = is("object") || named.is_some();
        let named = named.unwrap_or_default();
        found.properties += named.len();
        let sound = if refers {
            // Nothing may stand beside it.
            words == 1
        } else {
            (!kinds.is_empty() || chosen)
                && (!is_object || closed && named == required && level < MAX_LEVELS)
                && (!is("array") || many)
        };
        let sound = sound && (within != Within::Root || kinds.len() == 1 && is("object"));
        if sound { Ok(BTreeSet::new()) } else { Err(unfit()) }
    }
}

/// The types that `type` has: one or several.
fn kinds_of(raw: &RawValue) -> Vec<Text<'_>> {
    match serde_json::from_str::<Text<'_>>(raw.get()) {
        Ok(kind) => vec![kind],
        Err(_) => serde_json::from_str(raw.get()).unwrap_or_default(),
    }
}

/// A schema as Anthropic's models and AWS Bedrock take it, who hold to every schema: objects that say nothing of further
/// properties have none, one of several schemas is any of them (`anyOf`), and limits to which they cannot be held are
/// said in the description. The rest stays as it is, and is the provider's to refuse.
pub(super) fn for_claude(raw: &RawValue) -> Cow<'_, str> {
    let (mut out, mut changed) = (Vec::with_capacity(raw.get().len() + 64), false);
    let mut de = serde_json::Deserializer::from_str(raw.get());
    let node = Node { within: Within::Schema, out: &mut out, changed: &mut changed };
    match node.deserialize(&mut de) {
        Ok(()) if changed => String::from_utf8(out).map_or(Cow::Borrowed(raw.get()), Cow::Owned),
        // As it is, or no schema at all.
        _ => Cow::Borrowed(raw.get()),
    }
}

/// The schema of a tool's input for the same; only those that are strict are held to. Without one there are no properties.
pub(super) fn tool_schema(schema: Option<&RawValue>, strict: bool) -> Cow<'_, str> {
    match (schema, strict) {
        (Some(schema), true) => for_claude(schema),
        (Some(schema), false) => Cow::Borrowed(schema.get()),
        (None, true) => Cow::Borrowed(r#"{"type":"object","properties":{},"additionalProperties":false}"#),
        (None, false) => Cow::Borrowed(r#"{"type":"object","properties":{}}"#),
    }
}

/// Limits to which Anthropic's models cannot be held
/// (<https://platform.claude.com/docs/en/build-with-claude/structured-outputs>).
const LIMITS: &[&str] = &[
    "exclusiveMaximum",
    "exclusiveMinimum",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "uniqueItems",
];

/// Whether it is a limit that is said in the description.
fn is_only_said(word: &str, value: &RawValue) -> bool {
    match word {
        "minItems" => !matches!(value.get(), "0" | "1"),
        "format" => !serde_json::from_str::<Text<'_>>(value.get())
            .is_ok_and(|format| FORMATS.contains(&&*format) || &*format == URI),
        "pattern" => serde_json::from_str::<Text<'_>>(value.get()).is_ok_and(|pattern| is_beyond(&pattern)),
        word => LIMITS.contains(&word),
    }
}

/// A place that is read and written at once. The depth is the JSON reader's to bound.
struct Node<'o> {
    within: Within,
    out: &'o mut Vec<u8>,
    /// Whether what is written says anything else than what is read.
    changed: &'o mut bool,
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
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { within: Within::Listed, out, changed } = self else {
            return Err(de::Error::custom("a list where a schema should be"));
        };
        let mut between = b'[';
        loop {
            let at = out.len();
            out.push(between);
            let node = Node { within: Within::Schema, out: &mut *out, changed: &mut *changed };
            if seq.next_element_seed(node)?.is_none() {
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
        let Self { within, out, changed } = self;
        if within == Within::Listed {
            return Err(de::Error::custom("an object where a list should be"));
        }
        out.push(b'{');
        let begin = out.len();
        let member = |out: &mut Vec<u8>, name: &str| {
            if out.len() > begin {
                out.push(b',');
            }
            write_json_string(out, name);
            out.push(b':');
        };
        // A type that is not told is that of what has properties.
        let (mut is_object, mut named, mut said_of_others, mut chosen) = (None, false, false, false);
        let (mut description, mut limits) = (None, Vec::new());
        while let Some(word) = map.next_key::<Text<'de>>()? {
            let (name, inside) = match &*word {
                _ if within == Within::Named => (&*word, Within::Schema),
                "properties" => {
                    named = true;
                    (&*word, Within::Named)
                }
                "$defs" | "definitions" => (&*word, Within::Named),
                "items" | "not" => (&*word, Within::Schema),
                "additionalProperties" => {
                    said_of_others = true;
                    (&*word, Within::Schema)
                }
                "anyOf" | "oneOf" => {
                    if std::mem::replace(&mut chosen, true) {
                        return Err(de::Error::custom("two choices"));
                    }
                    *changed |= &*word == "oneOf";
                    ("anyOf", Within::Listed)
                }
                "allOf" | "prefixItems" => (&*word, Within::Listed),
                _ => {
                    let value = map.next_value::<&'de RawValue>()?;
                    match &*word {
                        "description" => description = Some(value),
                        limit if is_only_said(limit, value) => limits.push((word, value)),
                        other => {
                            if other == "type" {
                                is_object = Some(kinds_of(value).iter().any(|kind| &**kind == "object"));
                            }
                            member(out, other);
                            out.extend_from_slice(value.get().as_bytes());
                        }
                    }
                    continue;
                }
            };
            member(out, name);
            map.next_value_seed(Node { within: inside, out: &mut *out, changed: &mut *changed })?;
        }
        if within != Within::Named {
            if !limits.is_empty() {
                *changed = true;
                member(out, "description");
                describe::<A::Error>(out, description, &limits)?;
            } else if let Some(description) = description {
                member(out, "description");
                out.extend_from_slice(description.get().as_bytes());
            }
            if is_object.unwrap_or(named) && !said_of_others {
                *changed = true;
                member(out, "additionalProperties");
                out.extend_from_slice(b"false");
            }
        }
        out.push(b'}');
        Ok(())
    }
}

/// What a place holds, in words, and the limits of it, as the members of an object.
fn describe<E: de::Error>(
    out: &mut Vec<u8>,
    description: Option<&RawValue>,
    limits: &[(Text<'_>, &RawValue)],
) -> Result<(), E> {
    let mut said = match description {
        Some(raw) => serde_json::from_str::<Text<'_>>(raw.get()).map_err(E::custom)?.0.into_owned() + "\n\n",
        None => String::new(),
    };
    for (i, (word, value)) in limits.iter().enumerate() {
        // The words are ours but for none: nothing in them is to be escaped.
        said.push_str(if i == 0 { "{\"" } else { ", \"" });
        said.push_str(word);
        said.push_str("\": ");
        said.push_str(value.get());
    }
    said.push('}');
    write_json_string(out, &said);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn raw(schema: &Value) -> Box<RawValue> {
        RawValue::from_string(schema.to_string()).unwrap()
    }

    fn closed(properties: &Value) -> Value {
        let required: Vec<&String> = properties.as_object().unwrap().keys().collect();
        json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
    }

    #[test]
    fn openai_holds_to_closed_schemas_that_require_everything() {
        let inner = closed(&json!({"a": {"type": ["string", "null"], "format": "date"}}));
        for strict in [
            closed(&json!({})),
            closed(&json!({"a": {"type": "string", "enum": ["x"]}, "b": {"type": "array", "items": inner}})),
            closed(&json!({"a": {"type": "string", "pattern": "^[a-z]{2}(?:x|\\\\b)$"}})),
            closed(&json!({"a": {"anyOf": [inner, {"type": "null"}]}, "b": {"type": "integer", "minimum": 0}})),
            json!({"$defs": {"in": inner}, "title": "T", "type": "object", "additionalProperties": false,
                "properties": {"required": {"$ref": "#/$defs/in"}}, "required": ["required"]}),
        ] {
            assert!(fits_openai(&raw(&strict)), "{strict}");
        }
        let many = |values: usize| closed(&json!({"a": {"enum": vec![1; values], "type": "integer"}}));
        assert!(fits_openai(&raw(&many(MAX_VALUES))));
        let open = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]});
        let mut optional = closed(&json!({"a": {"type": "string"}, "b": {"type": "string"}}));
        optional["required"] = json!(["a"]);
        let mut any = open.clone();
        any["additionalProperties"] = json!(true);
        let mut deep = closed(&json!({}));
        for _ in 0..MAX_LEVELS {
            deep = closed(&json!({"a": deep}));
        }
        for loose in [
            json!({}),
            json!({"type": "object"}),
            json!({"type": "string"}),
            json!({"anyOf": [inner]}),
            json!({"type": ["object", "null"], "properties": {}, "required": [], "additionalProperties": false}),
            closed(&json!({"a": open})),
            closed(&json!({"a": {"type": "array", "items": open}})),
            closed(&json!({"a": {"anyOf": [{"type": "null"}, open]}})),
            closed(&json!({"a": {"properties": {}}})),
            closed(&json!({"a": {"type": "array"}})),
            closed(&json!({"a": {}})),
            closed(&json!({"a": true})),
            closed(&json!({"a": {"type": "string", "format": "uri"}})),
            closed(&json!({"a": {"type": "string", "default": "x"}})),
            closed(&json!({"a": {"type": "string", "pattern": "^(?!x)a"}})),
            closed(&json!({"a": {"type": "string", "description": "x".repeat(MAX_LENGTH)}})),
            many(MAX_VALUES + 1),
            closed(&json!({"a": {"oneOf": [inner]}})),
            closed(&json!({"a": {"$ref": "#/$defs/in", "description": "d"}})),
            json!({"$defs": {"in": open}, "type": "object", "additionalProperties": false,
                "properties": {}, "required": []}),
            json!([]),
            open,
            optional,
            any,
            deep,
        ] {
            assert!(!fits_openai(&raw(&loose)), "{loose}");
        }
        assert!(Strict::Told.at_openai(Some(&raw(&json!({})))), "what a caller of OpenAI's asks for is asked for");
        assert!(!Strict::Not.at_openai(Some(&raw(&closed(&json!({}))))));
        assert!(!Strict::WhereItFits.at_openai(None));
    }

    #[test]
    fn claude_is_sent_closed_objects() {
        for (told, taken) in [
            (
                json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}),
                json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false}),
            ),
            (json!({"type": "object"}), json!({"type": "object", "additionalProperties": false})),
            (
                json!({"type": ["object", "null"], "properties": {}}),
                json!({"type": ["object", "null"], "properties": {}, "additionalProperties": false}),
            ),
            (
                json!({"properties": {"type": {"properties": {}}}}),
                json!({"properties": {"type": {"properties": {}, "additionalProperties": false}}, "additionalProperties": false}),
            ),
            (
                json!({"type": "array", "items": {"anyOf": [{"type": "object"}, {"allOf": [{"type": "object"}]}]}}),
                json!({"type": "array", "items": {"anyOf": [{"type": "object", "additionalProperties": false},
                    {"allOf": [{"type": "object", "additionalProperties": false}]}]}}),
            ),
            (
                json!({"$defs": {"type": {"type": "object"}}, "$ref": "#/$defs/type"}),
                json!({"$defs": {"type": {"type": "object", "additionalProperties": false}}, "$ref": "#/$defs/type"}),
            ),
            (
                json!({"oneOf": [{"type": "string"}, {"type": "null"}]}),
                json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
            ),
            (
                json!({"type": "integer", "minimum": 1, "description": "How \"many\".", "maximum": 9}),
                json!({"type": "integer", "description": "How \"many\".\n\n{\"minimum\": 1, \"maximum\": 9}"}),
            ),
            (
                json!({"type": "array", "items": {"type": "string", "maxLength": 3}, "minItems": 2, "uniqueItems": true}),
                json!({"type": "array", "items": {"type": "string", "description": "{\"maxLength\": 3}"},
                    "description": "{\"minItems\": 2, \"uniqueItems\": true}"}),
            ),
            (
                json!({"type": "integer", "format": "int32"}),
                json!({"type": "integer", "description": "{\"format\": \"int32\"}"}),
            ),
            (
                json!({"type": "string", "pattern": "(?<=a)b"}),
                json!({"type": "string", "description": "{\"pattern\": \"(?<=a)b\"}"}),
            ),
            (
                json!({"type": "string", "pattern": "(a)\\1"}),
                json!({"type": "string", "description": "{\"pattern\": \"(a)\\\\1\"}"}),
            ),
        ] {
            let got = for_claude(&raw(&told)).into_owned();
            assert_eq!(serde_json::from_str::<Value>(&got).unwrap(), taken, "{told}");
            // What is said by a caller, names and values, is none of our words.
            assert_eq!(
                got.matches("additionalProperties").count(),
                taken.to_string().matches("additionalProperties").count()
            );
        }
    }

    #[test]
    fn what_claude_takes_and_what_is_no_schema_stays_as_it_is() {
        for same in [
            r#"{ "type" : "object", "additionalProperties" : false , "properties" : { "a" : { "type" : "string" } } }"#,
            r#"{"type":"object","additionalProperties":true}"#,
            r#"{"type":"object","additionalProperties":{"type":"string"}}"#,
            r#"{"type":"string","format":"uri","pattern":"^a","enum":[{"type":"object"}],"default":{"type":"object"}}"#,
            r#"{"properties":{"properties":{"type":"string"},"minimum":{"type":"integer"}},"additionalProperties":false}"#,
            r#"{"type":"array","items":{"type":"string"},"minItems":1}"#,
            r#"{"oneOf":[{"type":"object"}],"anyOf":[]}"#,
            r#"{"type":"integer","minimum":1,"description":7}"#,
            r#"{"items":[{"type":"object"}]}"#,
            "{}",
            "true",
            "7",
        ] {
            let schema = RawValue::from_string(same.to_owned()).unwrap();
            assert_eq!(for_claude(&schema), same);
        }
        let deep = format!("{}{{\"type\":\"object\"}}{}", r#"{"items":"#.repeat(200), "}".repeat(200));
        assert_eq!(
            for_claude(&RawValue::from_string(deep.clone()).unwrap()),
            deep,
            "deeper than any JSON that is read"
        );
    }

    proptest! {
        #[test]
        fn what_is_sent_to_claude_is_sent_again_the_same(
            name in "\\PC{0,8}", word in prop_oneof!["minimum", "oneOf", "description", "format", "\\PC{0,6}"], value in "\\PC{0,8}",
        ) {
            let schema = json!({"type": "object", "properties": {name: {"type": "object", word: value}}, "title": value});
            let once = for_claude(&raw(&schema)).into_owned();
            let read: Value = serde_json::from_str(&once).unwrap();
            let again = RawValue::from_string(once.clone()).unwrap();
            prop_assert_eq!(for_claude(&again), once.as_str());
            prop_assert_eq!(&read["title"], &schema["title"]);
        }
    }
}
