//! A caller's Gemini request: what its path asks for, and the few places in its body that name the model.
//!
//! A body has no need to name the model, but may (`model`, and `generateContentRequest.model` when tokens are
//! counted). What it names must be what the path names, which is what a caller's rights were checked for.

use crate::{
    openai::{
        request::{InvalidCall, Skip, write_json_string},
        responses::Each,
    },
    task::Task,
};
use serde::{
    Deserialize,
    de::{self, Deserializer, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    ops::Range,
};

/// What is asked of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A whole answer: `generateContent`.
    Generate,
    /// A streamed one: `streamGenerateContent`.
    Stream,
    /// How many tokens the call would have: `countTokens`.
    CountTokens,
    /// The embedding of one content: `embedContent`.
    Embed,
    /// Those of several: `batchEmbedContents`.
    BatchEmbed,
}

/// How a streamed answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frames {
    /// As server-sent events: `alt=sse`.
    Events,
    /// As one JSON array, element by element.
    Array,
}

/// What the last segment of a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'p> {
    /// The model.
    pub model: &'p str,
    /// What is asked of it.
    pub action: Action,
}

impl<'p> Asked<'p> {
    /// Reads the last segment of a path, as in `gemini-2.5-flash:generateContent`. `None` for anything else.
    pub fn parse(segment: &'p str) -> Option<Self> {
        let escaped = || segment.split_once("%3A").or_else(|| segment.split_once("%3a"));
        let (model, action) = segment.rsplit_once(':').or_else(escaped)?;
        let action = match action {
            "generateContent" => Action::Generate,
            "streamGenerateContent" => Action::Stream,
            "countTokens" => Action::CountTokens,
            "embedContent" => Action::Embed,
            "batchEmbedContents" => Action::BatchEmbed,
            _ => return None,
        };
        (!model.is_empty()).then_some(Self { model, action })
    }
}

impl Action {
    /// Where it is asked for below a provider's base URL. A provider's model that has a folder of its own, as in
    /// `tunedModels/mine`, stands there; any other is in `models`.
    pub fn path(self, provider_model: &str) -> String {
        let mut path = place(provider_model);
        path.push_str(match self {
            Self::Generate => ":generateContent",
            Self::Stream => ":streamGenerateContent",
            Self::CountTokens => ":countTokens",
            Self::Embed => ":embedContent",
            Self::BatchEmbed => ":batchEmbedContents",
        });
        path
    }

    /// What that is.
    pub const fn task(self) -> Task {
        match self {
            Self::Generate | Self::Stream | Self::CountTokens => Task::Chat,
            Self::Embed | Self::BatchEmbed => Task::Embeddings,
        }
    }
}

/// Where a provider's model is, below the base URL.
pub(crate) fn place(provider_model: &str) -> String {
    let mut path = String::with_capacity(provider_model.len() + 40);
    path.push_str(if provider_model.contains('/') { "/" } else { "/models/" });
    for byte in provider_model.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/') {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "%{byte:02X}");
        }
    }
    path
}

/// What a body calls a provider's model: one that has no folder of its own is in `models`.
pub(crate) fn full_name(provider_model: &str) -> String {
    let folder = if provider_model.contains('/') { "" } else { "models/" };
    format!("{folder}{provider_model}")
}

impl Frames {
    /// How the query asks for a stream; later values hold.
    pub fn of_query(query: Option<&str>) -> Self {
        let mut told = query.into_iter().flat_map(|query| query.split('&')).filter_map(|part| {
            let (name, value) = part.split_once('=')?;
            matches!(name, "alt" | "$alt" | "%24alt").then_some(value)
        });
        if told.next_back() == Some("sse") { Self::Events } else { Self::Array }
    }
}

/// What the gateway knows of one request body, by position. Holds no part of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeminiCall {
    /// Where the model is named.
    names: Vec<Range<usize>>,
    body_len: usize,
}

impl GeminiCall {
    /// Reads the body of a call of this model.
    ///
    /// # Errors
    /// [`InvalidCall`] when the body is not one JSON object, or names another model.
    pub fn parse(body: &[u8], model: &str) -> Result<Self, InvalidCall> {
        let mut de = serde_json::Deserializer::from_slice(body);
        let top = match Top::deserialize(&mut de).and_then(|top| de.end().map(|()| top)) {
            Ok(top) => top,
            Err(e) if e.is_data() => return Err(InvalidCall::NotAnObject),
            Err(e) => return Err(InvalidCall::NotJson { line: e.line(), column: e.column() }),
        };
        if let Some(field) = top.duplicate {
            return Err(InvalidCall::Duplicate(field));
        }
        let inner = match top.request {
            Some(raw) if raw.get().starts_with('{') => {
                let inner: Top<'_> = serde_json::from_str(raw.get())
                    .map_err(|e| InvalidCall::NotJson { line: e.line(), column: e.column() })?;
                if let Some(field) = inner.duplicate {
                    return Err(InvalidCall::Duplicate(field));
                }
                inner.model
            }
            _ => None,
        };
        let mut within = Vec::new();
        if let Some(raw) = top.requests {
            within = models_of(raw)?;
        }
        let mut names = Vec::new();
        for raw in [top.model, inner].into_iter().flatten().chain(within) {
            let named: Cow<'_, str> = serde_json::from_str(raw.get()).map_err(|_| InvalidCall::ModelNotAName)?;
            if named.strip_prefix("models/").unwrap_or(&named) != model {
                return Err(InvalidCall::AnotherModel);
            }
            let start = raw.get().as_ptr() as usize - body.as_ptr() as usize;
            names.push(start..start + raw.get().len());
        }
        names.sort_unstable_by_key(|name| name.start);
        Ok(Self { names, body_len: body.len() })
    }

    /// The body to send to the provider: `body`, which must be the one parsed, with the provider's model name where it
    /// names the model.
    pub fn rewrite<'b>(&self, body: &'b [u8], provider_model: &str) -> Cow<'b, [u8]> {
        debug_assert_eq!(body.len(), self.body_len, "not the body that was parsed");
        if self.names.is_empty() || body.len() != self.body_len {
            return Cow::Borrowed(body);
        }
        let name = full_name(provider_model);
        let (mut out, mut done) = (Vec::with_capacity(body.len() + 2 * name.len()), 0);
        for at in &self.names {
            out.extend_from_slice(&body[done..at.start]);
            write_json_string(&mut out, &name);
            done = at.end;
        }
        out.extend_from_slice(&body[done..]);
        Cow::Owned(out)
    }
}

/// The models that the calls of a batch name.
fn models_of(requests: &RawValue) -> Result<Vec<&RawValue>, InvalidCall> {
    let (mut named, mut wrong) = (Vec::new(), None);
    let mut de = serde_json::Deserializer::from_str(requests.get());
    let read = de.deserialize_seq(Each(|_: &str, one| match serde_json::from_str::<Top<'_>>(RawValue::get(one)) {
        _ if wrong.is_some() => {}
        Ok(Top { duplicate: Some(field), .. }) => wrong = Some(InvalidCall::Duplicate(field)),
        Ok(Top { model, .. }) => named.extend(model),
        Err(_) => wrong = Some(InvalidCall::NotAnObject),
    }));
    match wrong {
        Some(why) => Err(why),
        // The provider's to refuse.
        None if read.is_err() => Ok(Vec::new()),
        None if named.len() > MOST_CALLS => Err(InvalidCall::TooMany),
        None => Ok(named),
    }
}

/// So many calls of a batch may name the model.
const MOST_CALLS: usize = 1000;

#[derive(Default)]
struct Top<'a> {
    model: Option<&'a RawValue>,
    request: Option<&'a RawValue>,
    requests: Option<&'a RawValue>,
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
                while let Some(field) = map.next_key::<Field>()? {
                    let (name, slot) = match field {
                        Field::Model => ("model", &mut top.model),
                        Field::Request => ("generateContentRequest", &mut top.request),
                        Field::Requests => ("requests", &mut top.requests),
                        Field::Other => {
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

enum Field {
    Model,
    Request,
    Requests,
    Other,
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Field;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Field, E> {
                Ok(match name {
                    "model" => Field::Model,
                    "generateContentRequest" | "generate_content_request" => Field::Request,
                    "requests" => Field::Requests,
                    _ => Field::Other,
                })
            }
        }
        d.deserialize_str(Name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_asks_for_one_thing_of_one_model() {
        let of = |segment| Asked::parse(segment).map(|asked| (asked.model, asked.action));
        assert_eq!(of("gemini-2.5-pro:generateContent"), Some(("gemini-2.5-pro", Action::Generate)));
        assert_eq!(of("a:b:streamGenerateContent"), Some(("a:b", Action::Stream)));
        assert_eq!(of("m%3AcountTokens"), Some(("m", Action::CountTokens)));
        assert_eq!(of("m:embedContent"), Some(("m", Action::Embed)));
        assert_eq!(of("m:batchEmbedContents"), Some(("m", Action::BatchEmbed)));
        for other in ["m", "m:", ":generateContent", "m:embedContents", "m:generateContent2", ""] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn a_providers_model_has_one_path() {
        assert_eq!(Action::Generate.path("gemini-2.5-pro"), "/models/gemini-2.5-pro:generateContent");
        assert_eq!(Action::Stream.path("tunedModels/a b"), "/tunedModels/a%20b:streamGenerateContent");
        assert_eq!(Action::CountTokens.path("a?b:c"), "/models/a%3Fb%3Ac:countTokens");
    }

    #[test]
    fn a_stream_is_an_array_unless_events_are_asked_for() {
        for (query, frames) in [
            (None, Frames::Array),
            (Some(""), Frames::Array),
            (Some("alt=json"), Frames::Array),
            (Some("alt=sse"), Frames::Events),
            (Some("key=k&alt=sse"), Frames::Events),
            (Some("%24alt=sse"), Frames::Events),
            (Some("salt=sse"), Frames::Array),
            (Some("alt=sse&alt=json"), Frames::Array),
        ] {
            assert_eq!(Frames::of_query(query), frames, "{query:?}");
        }
    }

    #[test]
    fn a_body_names_the_model_of_its_path_or_none() {
        let parse = |body: &str| GeminiCall::parse(body.as_bytes(), "m");
        let sent =
            |body: &str| String::from_utf8(parse(body).unwrap().rewrite(body.as_bytes(), "g\"2").into_owned()).unwrap();
        for same in [r#"{"contents":[]}"#, "{}", r#" { "contents" : [{"model":"other"}] } "#] {
            assert_eq!(sent(same), same);
        }
        assert_eq!(sent(r#"{"a":1, "model" : "m" }"#), r#"{"a":1, "model" : "models/g\"2" }"#);
        assert_eq!(
            sent(r#"{"generateContentRequest":{"model":"models/m","contents":[]},"model":"m"}"#),
            r#"{"generateContentRequest":{"model":"models/g\"2","contents":[]},"model":"models/g\"2"}"#
        );
        assert_eq!(
            sent(r#"{"requests":[{"model":"models/m","content":{}},{"content":{}},{"model":"m"}]}"#),
            r#"{"requests":[{"model":"models/g\"2","content":{}},{"content":{}},{"model":"models/g\"2"}]}"#
        );
        assert_eq!(sent(r#"{"requests":7}"#), r#"{"requests":7}"#);
        let many = format!(r#"{{"requests":[{}]}}"#, vec![r#"{"model":"m"}"#; MOST_CALLS + 1].join(","));
        assert_eq!(parse(&many), Err(InvalidCall::TooMany));
        for (body, why) in [
            (r#"{"requests":[{"model":"m"},{"model":"other"}]}"#, InvalidCall::AnotherModel),
            (r#"{"requests":[{"model":"m","model":"m"}]}"#, InvalidCall::Duplicate("model")),
            (r#"{"requests":[7]}"#, InvalidCall::NotAnObject),
            (r#"{"model":"other"}"#, InvalidCall::AnotherModel),
            (r#"{"m\u006fdel":"models/other"}"#, InvalidCall::AnotherModel),
            (r#"{"generate_content_request":{"model":"other"}}"#, InvalidCall::AnotherModel),
            (r#"{"model":7}"#, InvalidCall::ModelNotAName),
            (r#"{"model":"m","model":"m"}"#, InvalidCall::Duplicate("model")),
            (
                r#"{"generateContentRequest":{},"generate_content_request":{}}"#,
                InvalidCall::Duplicate("generateContentRequest"),
            ),
            ("[]", InvalidCall::NotAnObject),
            ("{", InvalidCall::NotJson { line: 1, column: 1 }),
        ] {
            assert_eq!(parse(body), Err(why), "{body}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(call) = GeminiCall::parse(&bytes, "m") {
                let _ = call.rewrite(&bytes, "n");
            }
        }
    }
}
