//! A caller's chat completion request: the few fields the gateway must know, and the splice that sends it on.
//!
//! No tree is built and nothing but those fields is kept; whatever else the body holds passes untouched.
//! The whole body is checked to be one JSON object (RFC 8259) of at most 128 levels, because an upstream
//! might otherwise read it differently than we do; for the same reason the fields read here may stand only once.

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt, ops::Range};

/// Why a body is no model call. The texts are safe to show: they hold nothing from the body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCall {
    /// Not JSON, or nested too deeply.
    #[error("the body is not valid JSON (line {line}, column {column})")]
    NotJson {
        /// From 1.
        line: usize,
        /// From 1; 0 when the line had not begun.
        column: usize,
    },
    /// JSON, but not an object.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// A field that decides about the call stands more than once.
    #[error("the field `{0}` stands more than once")]
    Duplicate(&'static str),
    /// There is no `model`.
    #[error("the field `model` is missing")]
    ModelMissing,
    /// The body names another model than the path.
    #[error("the body names another model than the path")]
    AnotherModel,
    /// A batch has too many calls.
    #[error("the batch has more than 1000 calls")]
    TooMany,
    /// `model` is not a string, or empty.
    #[error("the field `model` is not a name")]
    ModelNotAName,
    /// `stream` is neither true, false nor null.
    #[error("the field `stream` is neither true nor false")]
    StreamNotBoolean,
}

/// What the gateway knows of one request body, by position. Holds no other part of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatCall {
    model: Box<str>,
    model_at: Range<usize>,
    stream: bool,
    asks_usage: bool,
    ask: Option<Splice>,
    body_len: usize,
}

/// The bytes that would ask for usage.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Splice {
    at: Range<usize>,
    text: &'static str,
}

impl ChatCall {
    /// Reads the body of `POST /v1/chat/completions`.
    ///
    /// # Errors
    /// [`InvalidCall`] when the body is not one JSON object with one `model`.
    pub fn parse(body: &[u8]) -> Result<Self, InvalidCall> {
        let mut de = serde_json::Deserializer::from_slice(body);
        let top = match Top::deserialize(&mut de).and_then(|top| de.end().map(|()| top)) {
            Ok(top) => top,
            Err(e) if e.is_data() => return Err(InvalidCall::NotAnObject),
            Err(e) => return Err(InvalidCall::NotJson { line: e.line(), column: e.column() }),
        };
        if let Some(field) = top.duplicate {
            return Err(InvalidCall::Duplicate(field));
        }
        let raw_model = top.model.ok_or(InvalidCall::ModelMissing)?;
        let model: Box<str> = serde_json::from_str(raw_model.get()).map_err(|_| InvalidCall::ModelNotAName)?;
        if model.is_empty() {
            return Err(InvalidCall::ModelNotAName);
        }
        let stream = match top.stream.map(RawValue::get) {
            None | Some("false" | "null") => false,
            Some("true") => true,
            Some(_) => return Err(InvalidCall::StreamNotBoolean),
        };
        let (asks_usage, ask) = match top.stream_options {
            None => {
                // An object with a model has a member, so a comma after the inserted one is right.
                let open = body.iter().position(|b| *b == b'{').map_or(0, |i| i + 1);
                (false, Some(Splice { at: open..open, text: "\"stream_options\":{\"include_usage\":true}," }))
            }
            Some(raw) => read_options(raw, place(body, raw.get()))?,
        };
        let model_at = place(body, raw_model.get());
        Ok(Self { model, model_at, stream, asks_usage: stream && asks_usage, ask, body_len: body.len() })
    }

    /// The model asked for, unescaped.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Where its value stands in the body, quotes included.
    pub(crate) fn model_at(&self) -> Range<usize> {
        self.model_at.clone()
    }

    /// Whether the answer is to be streamed.
    pub const fn stream(&self) -> bool {
        self.stream
    }

    /// Whether the caller itself asks for a usage event at the end of the stream.
    pub const fn asks_usage(&self) -> bool {
        self.asks_usage
    }

    /// Whether [`Self::rewrite`] with `ask_usage` will ask for usage on the caller's behalf; then the
    /// usage event of the answer is ours and is to be dropped ([`super::usage::StreamUsage::new`]).
    pub const fn will_ask(&self, ask_usage: bool) -> bool {
        ask_usage && self.stream && !self.asks_usage && self.ask.is_some()
    }

    /// The body to send to the provider: `body`, which must be the one parsed, with the provider's
    /// model name in place of the caller's and, where [`Self::will_ask`], a request for usage.
    /// All other bytes stay; when nothing changes, `body` itself is returned.
    pub fn rewrite<'b>(&self, body: &'b [u8], provider_model: &str, ask_usage: bool) -> Cow<'b, [u8]> {
        debug_assert_eq!(body.len(), self.body_len, "not the body that was parsed");
        let rename = *self.model != *provider_model;
        let ask = self.ask.as_ref().filter(|_| self.will_ask(ask_usage));
        if body.len() != self.body_len || (!rename && ask.is_none()) {
            return Cow::Borrowed(body);
        }
        let mut out = Vec::with_capacity(body.len() + provider_model.len() + 64);
        let mut done = 0;
        let ask_first = ask.filter(|s| s.at.start <= self.model_at.start);
        let ask_last = ask.filter(|s| s.at.start > self.model_at.start);
        if let Some(s) = ask_first {
            splice(&mut out, body, &mut done, s);
        }
        if rename {
            out.extend_from_slice(&body[done..self.model_at.start]);
            write_json_string(&mut out, provider_model);
            done = self.model_at.end;
        }
        if let Some(s) = ask_last {
            splice(&mut out, body, &mut done, s);
        }
        out.extend_from_slice(&body[done..]);
        Cow::Owned(out)
    }
}

fn splice(out: &mut Vec<u8>, body: &[u8], done: &mut usize, s: &Splice) {
    out.extend_from_slice(&body[*done..s.at.start]);
    out.extend_from_slice(s.text.as_bytes());
    *done = s.at.end;
}

/// Appends `text` as a JSON string.
pub(crate) fn write_json_string(out: &mut Vec<u8>, text: &str) {
    // Writing a str to a Vec has no way to fail.
    let _ = serde_json::to_writer(out, text);
}

/// Where `part`, borrowed from `body`, lies in it.
pub(crate) fn place(body: &[u8], part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - body.as_ptr() as usize;
    start..start + part.len()
}

/// Whether `stream_options` asks for usage, and the splice that would make it ask.
fn read_options(raw: &RawValue, at: Range<usize>) -> Result<(bool, Option<Splice>), InvalidCall> {
    let text = raw.get();
    if text == "null" {
        return Ok((false, Some(Splice { at, text: "{\"include_usage\":true}" })));
    }
    if !text.starts_with('{') {
        return Ok((false, None)); // the provider's to refuse
    }
    let options: Options =
        serde_json::from_str(text).map_err(|e| InvalidCall::NotJson { line: e.line(), column: e.column() })?;
    if options.duplicate {
        return Err(InvalidCall::Duplicate("include_usage"));
    }
    Ok(match options.include_usage.map(|r| (r.get(), place(text.as_bytes(), r.get()))) {
        Some(("true", _)) => (true, None),
        Some((_, within)) => (false, Some(Splice { at: at.start + within.start..at.start + within.end, text: "true" })),
        None => {
            let open = at.start + 1;
            let text = if options.empty { "\"include_usage\":true" } else { "\"include_usage\":true," };
            (false, Some(Splice { at: open..open, text }))
        }
    })
}

#[derive(Default)]
struct Top<'a> {
    model: Option<&'a RawValue>,
    stream: Option<&'a RawValue>,
    stream_options: Option<&'a RawValue>,
    duplicate: Option<&'static str>,
}

impl<'de> Deserialize<'de> for Top<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Top<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Top<'de>, A::Error> {
                let mut top = Top::default();
                while let Some(field) = map.next_key_seed(FieldOf(&["model", "stream", "stream_options"]))? {
                    let (name, slot) = match field {
                        Some(0) => ("model", &mut top.model),
                        Some(1) => ("stream", &mut top.stream),
                        Some(_) => ("stream_options", &mut top.stream_options),
                        None => {
                            map.next_value::<Skip>()?;
                            continue;
                        }
                    };
                    if slot.replace(map.next_value()?).is_some() {
                        top.duplicate = Some(name);
                    }
                }
                Ok(top)
            }
        }
        d.deserialize_map(V)
    }
}

struct Options<'a> {
    include_usage: Option<&'a RawValue>,
    duplicate: bool,
    empty: bool,
}

impl<'de> Deserialize<'de> for Options<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Options<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Options<'de>, A::Error> {
                let mut options = Options { include_usage: None, duplicate: false, empty: true };
                while let Some(field) = map.next_key_seed(FieldOf(&["include_usage"]))? {
                    options.empty = false;
                    if field.is_none() {
                        map.next_value::<Skip>()?;
                    } else if options.include_usage.replace(map.next_value()?).is_some() {
                        options.duplicate = true;
                    }
                }
                Ok(options)
            }
        }
        d.deserialize_map(V)
    }
}

/// The index of a member's name in a list, after unescaping; no allocation.
struct FieldOf(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for FieldOf {
    type Value = Option<usize>;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Option<usize>, D::Error> {
        d.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldOf {
    type Value = Option<usize>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }
    fn visit_str<E: de::Error>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|field| *field == name))
    }
}

/// Any value, checked and thrown away. Unlike [`IgnoredAny`] it goes through serde_json's ordinary path,
/// which limits the depth and refuses strings that are not UTF-8.
pub(crate) struct Skip;

impl<'de> Deserialize<'de> for Skip {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Skip;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_bool<E>(self, _: bool) -> Result<Skip, E> {
                Ok(Skip)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Skip, E> {
                Ok(Skip)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Skip, E> {
                Ok(Skip)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Skip, E> {
                Ok(Skip)
            }
            fn visit_str<E>(self, _: &str) -> Result<Skip, E> {
                Ok(Skip)
            }
            fn visit_unit<E>(self) -> Result<Skip, E> {
                Ok(Skip)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Skip, A::Error> {
                while seq.next_element::<Skip>()?.is_some() {}
                Ok(Skip)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Skip, A::Error> {
                while map.next_entry::<MemberName, Skip>()?.is_some() {}
                Ok(Skip)
            }
        }
        d.deserialize_any(V)
    }
}

/// A member's name, checked to be a string of UTF-8.
struct MemberName;

impl<'de> Deserialize<'de> for MemberName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        FieldOf(&[]).deserialize(d).map(|_| Self)
    }
}

/// Whether a raw JSON value is an array without elements.
pub(crate) fn is_empty_array(raw: &RawValue) -> bool {
    serde_json::from_str::<[IgnoredAny; 0]>(raw.get()).is_ok()
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
