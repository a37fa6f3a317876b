//! What no detector looks at: whether a call has pictures, sound, or files in it or named by it.
//!
//! One pass without a tree, at any depth, so a part is found wherever a provider may read it. Left out are schemas of
//! tools and what tools are called with, in which names mean something else. Documents that are texts are looked at
//! ([`super::text`]) and do not count. It knows no rule.

use super::text::{base64_text::address, fields::NO_CONTENT_OF_CALLS};
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::{borrow::Cow, fmt};

/// Whether a call in any dialect has such parts. What cannot be read may have some.
pub(super) fn is_in(body: &[u8]) -> bool {
    let mut json = serde_json::Deserializer::from_slice(body);
    Value { place: Place::Call }.deserialize(&mut json).map_or(true, |seen| seen.unseen)
}

/// Members whose value is such a thing, where they have one.
const MEDIA: &[&str] = &[
    "image",
    "images",
    "image_url",
    "video",
    "videos",
    "video_url",
    "audio",
    "audio_url",
    "input_audio",
    "input_image",
    "b64_json",
    "fileData",
    "fileUri",
    "file_uri",
    "file_id",
    "file_ids",
    "file_url",
    "document_url",
];
/// The same, as a part of a message calls itself.
const PARTS: &[&str] = &[
    "image",
    "image_url",
    "input_image",
    "image_file",
    "image_generation_call",
    "computer_screenshot",
    "audio",
    "audio_url",
    "input_audio",
    "output_audio",
    "video",
    "video_url",
    "input_video",
    "file_url",
    "document_url",
    "container_upload",
];
/// Members with which tools are called, and labels: names in them mean nothing to a provider.
const OF_OTHERS: &[&str] = &["args", "arguments", "response", "metadata"];
/// The same in the definition of a tool: what it takes and gives.
const SCHEMAS: &[&str] = &[
    "parameters",
    "parametersJsonSchema",
    "parameters_json_schema",
    "responseJsonSchema",
    "response_json_schema",
    "schema",
    "json_schema",
    "input_schema",
    "output_schema",
    "input_examples",
];

/// The name of a member.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// A value of a call.
#[derive(Clone, Copy)]
struct Value {
    place: Place,
}

/// Where a value stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is the whole call.
    Call,
    /// In the definitions of tools, which may bring files and pictures of their own.
    Tools,
    /// The prompt of a provider's own that a call names.
    Prompt,
    /// Among its variables, whose names say nothing: they are the author's.
    Variables,
    /// Anywhere else.
    Within,
}

impl Place {
    /// Where the value of a member stands; `None` where nobody reads it.
    fn of(self, key: &str) -> Option<Self> {
        match (self, key) {
            (Self::Variables, _) => Some(Self::Within),
            (_, "tools") => Some(Self::Tools),
            _ if OF_OTHERS.contains(&key) => None,
            (Self::Call, "generateContentRequest") => Some(Self::Call),
            (Self::Call, "prompt") => Some(Self::Prompt),
            (Self::Prompt, "variables") => Some(Self::Variables),
            (Self::Call, _) => (!NO_CONTENT_OF_CALLS.contains(&key)).then_some(Self::Within),
            (_, "input") => None,
            (Self::Tools, _) => (!SCHEMAS.contains(&key)).then_some(Self::Tools),
            (Self::Prompt | Self::Within, _) => Some(Self::Within),
        }
    }
}

/// What is known of a value.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// Something in it nobody looks at.
    unseen: bool,
    /// It is there: neither null nor empty.
    is_there: bool,
    /// It is a text in base64 in an address.
    is_text: bool,
    /// It is an object with such a text, or with the source of one.
    has_text: bool,
    /// It says of itself that it is the source of a document that is a text.
    is_source: bool,
    /// It says of itself, and in no other way, that it is one.
    text_type: bool,
    word: Word,
}

/// What a text says of the object in which it stands.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Word {
    #[default]
    Other,
    /// It is something that nobody looks at.
    Media,
    /// It is a document, which may be a text.
    Document,
    /// It is a text, or made of parts.
    Text,
    /// It is in base64.
    Base64,
    /// A media type of texts.
    TextType,
}

fn word(text: &str) -> Word {
    match text {
        "file" | "document" | "input_file" => Word::Document,
        "text" | "content" => Word::Text,
        "base64" => Word::Base64,
        _ if PARTS.contains(&text) => Word::Media,
        _ if text.trim_start().get(..5).is_some_and(|start| start.eq_ignore_ascii_case("text/")) => Word::TextType,
        _ => Word::Other,
    }
}

impl<'de> DeserializeSeed<'de> for Value {
    type Value = Seen;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Seen, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = Seen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a call")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Seen, E> {
        Ok(Seen::default())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Seen, E> {
        Ok(Seen::default())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Seen, E> {
        Ok(Seen::default())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Seen, E> {
        Ok(Seen::default())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Seen, E> {
        Ok(Seen::default())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Seen, E> {
        let kind = address(text).map(|(_, is_text)| is_text);
        let (unseen, is_text) = (kind == Some(false), kind == Some(true));
        Ok(Seen { unseen, is_there: !text.is_empty(), is_text, word: word(text), ..Seen::default() })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Seen, A::Error> {
        let mut all = Seen::default();
        let place = if self.place == Place::Tools { Place::Tools } else { Place::Within };
        while let Some(one) = seq.next_element_seed(Self { place })? {
            all.is_there = true;
            all.unseen |= one.unseen;
        }
        Ok(all)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Seen, A::Error> {
        let mut all = Seen { is_there: true, ..Seen::default() };
        let (mut document, mut text, mut kind, mut text_type) = (false, None, None, None);
        while let Some(Key(key)) = map.next_key()? {
            let key = &*key;
            let Some(place) = self.place.of(key) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = map.next_value_seed(Self { place })?;
            all.unseen |= value.unseen;
            match key {
                "type" => {
                    all.unseen |= value.word == Word::Media;
                    document |= value.word == Word::Document;
                    kind = Some(value.word);
                }
                "media_type" | "mimeType" | "mime_type" => {
                    text_type = Some(text_type.unwrap_or(true) && value.word == Word::TextType);
                }
                "inlineData" | "inline_data" => all.unseen |= value.is_there && !value.text_type,
                "file_data" if !value.is_text => all.unseen |= value.is_there,
                "file_data" => text = Some(text.unwrap_or(true)),
                "file" => text = Some(text.unwrap_or(true) && value.has_text),
                "source" => text = Some(text.unwrap_or(true) && value.is_source),
                _ => all.unseen |= MEDIA.contains(&key) && value.is_there,
            }
        }
        let text = text.unwrap_or_default();
        all.unseen |= document && !text;
        all.text_type = text_type.unwrap_or_default();
        all.has_text = text;
        all.is_source = kind == Some(Word::Text) || (kind == Some(Word::Base64) && all.text_type);
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    fn user(content: Json) -> Json {
        json!({"model": "m", "messages": [{"role": "user", "content": content}]})
    }

    fn turn(part: Json) -> Json {
        json!({"contents": [{"role": "user", "parts": [part]}]})
    }

    fn check(body: &Json, expect: bool) {
        assert_eq!(is_in(body.to_string().as_bytes()), expect, "{body}");
    }

    #[test]
    fn what_nobody_looks_at_is_found_in_every_dialect() {
        let (png, pdf) = ("data:image/png;base64,AA==", "data:application/pdf;base64,AA==");
        for body in [
            user(json!([{"type": "image_url", "image_url": {"url": "https://x/y.png"}}])),
            user(json!([{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}])),
            user(json!([{"type": "file", "file": {"file_data": pdf}}])),
            user(json!([{"type": "file", "file": {"file_id": "file-1"}}])),
            user(
                json!([{"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AA"}}]),
            ),
            user(
                json!([{"type": "document", "source": {"type": "url", "url": "https://x", "media_type": "text/plain"}}]),
            ),
            user(json!([{"source": {"type": "file", "file_id": "file_1"}, "type": "document"}])),
            user(
                json!([{"type": "document", "source": {"type": "content", "content": [{"type": "image", "source": {}}]}}]),
            ),
            user(
                json!([{"type": "document", "source": {"type": "url", "url": "x"}, "file": {"file_data": "data:text/plain;base64,AA=="}}]),
            ),
            user(
                json!([{"type": "tool_result", "content": [{"type": "image", "source": {"type": "url", "url": "x"}}]}]),
            ),
            user(json!([{"type": "container_upload", "file_id": "file_1"}])),
            json!({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": png}]}]}),
            json!({"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "https://x"}]}]}),
            json!({"input": [{"type": "function_call_output", "output": [{"type": "input_image", "file_id": "x"}]}]}),
            json!({"input": [{"type": "computer_call_output", "output": {"type": "computer_screenshot", "image_url": png}}]}),
            json!({"prompt": {"id": "p", "variables": {"x": {"type": "input_image", "image_url": "https://x"}}}}),
            json!({"messages": [{"role": "assistant", "audio": {"id": "a"}}]}),
            turn(json!({"inlineData": {"mimeType": "image/png", "data": "AA"}})),
            turn(json!({"inline_data": {"mime_type": "text/plain", "mimeType": "video/mp4", "data": "AA"}})),
            turn(json!({"fileData": {"mimeType": "text/plain", "fileUri": "x"}})),
            turn(json!({"file_data": {"mime_type": "text/plain", "file_uri": "x"}})),
            turn(json!({"file_data": {"file_uri": "https://x/y.png", "mime_type": "image/png", "type": "text"}})),
            turn(json!({"file_data": {"type": "base64", "mime_type": "text/plain", "data": "AA"}})),
            user(json!([{"type": "file", "file": {"type": "text", "data": "AA"}}])),
            json!({"input": "x", "tools": [{"type": "image_generation", "input_image_mask": {"image_url": png}}]}),
            json!({"input": "x", "tools": [{"type": "image_generation", "input_image_mask": {"file_id": "file-1"}}]}),
            json!({"input": "x", "tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-1"]}}]}),
            turn(
                json!({"functionResponse": {"name": "n", "response": {}, "parts": [{"inlineData": {"mimeType": "image/png", "data": "AA"}}]}}),
            ),
            json!({"systemInstruction": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "AA"}}]}}),
            json!({"generateContentRequest": turn(json!({"inlineData": {"mimeType": "image/png", "data": "AA"}}))}),
            json!({"prompt": "p", "image": "https://x"}),
            json!({"input": [{"image": "AA"}]}),
            json!({"prompt": "p", "some_field": png}),
        ] {
            check(&body, true);
        }
        // The names of variables are the author's.
        for name in ["x", "input", "args", "arguments", "response", "metadata", "tools", "schema", "variables"] {
            let variables = json!({name: {"type": "input_image", "image_url": png}});
            check(&json!({"prompt": {"id": "p", "variables": variables}}), true);
        }
        assert!(is_in(br#"{"messages":[{"content":[{"\u0074ype":"\u0069mage"}]}]}"#), "however it is written");
        assert!(is_in(b"no call"));
    }

    #[test]
    fn texts_and_what_only_sounds_so_are_looked_at() {
        for body in [
            user(json!("an image_url")),
            user(json!([{"type": "text", "text": "hello"}])),
            user(json!([{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}])),
            user(
                json!([{"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "x"}]}}]),
            ),
            user(json!([{"type": "document", "source": {"type": "base64", "media_type": "text/plain", "data": "AA"}}])),
            user(json!([{"type": "file", "file": {"file_data": "data:text/plain;base64,AA==", "filename": "f"}}])),
            user(
                json!([{"type": "tool_use", "name": "draw", "input": {"type": "image", "image": "x", "file_id": "y"}}]),
            ),
            user(
                json!([{"type": "thinking", "thinking": "t", "signature": "s"}, {"type": "redacted_thinking", "data": "AA"}]),
            ),
            user(json!([{"type": "text", "text": "t", "image_url": null}])),
            json!({"messages": [], "audio": {"voice": "v"}, "metadata": {"image": "i"}}),
            json!({"messages": [], "tools": [{"function": {"parameters": {"properties": {"image": {"type": "string"}}}}}]}),
            json!({"input": "x", "tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": []}}, {"type": "image_generation"}]}),
            json!({"messages": [], "tools": [{"name": "n", "input_schema": {"properties": {"image": {"type": "string"}}}, "input_examples": [{"image": "x"}]}]}),
            json!({"contents": [], "tools": [{"functionDeclarations": [{"name": "n", "parametersJsonSchema": {"image": {}}, "response": {"image": {}}}]}]}),
            json!({"input": [{"type": "mcp_list_tools", "tools": [{"input_schema": {"properties": {"file_id": {"type": "string"}}}}]}]}),
            json!({"input": [{"type": "input_file", "file_data": "data:text/csv;base64,AA=="}]}),
            json!({"input": "image", "text": {"format": {"schema": {"properties": {"image": {}}}}}}),
            turn(json!({"inlineData": {"mimeType": "text/plain", "data": "AA"}})),
            turn(json!({"functionCall": {"name": "n", "args": {"image": "x"}}})),
            turn(json!({"functionResponse": {"name": "n", "response": {"image": "x"}}})),
            json!({"prompt": "p", "image": null, "images": []}),
            json!({"query": "q", "documents": ["d"]}),
            json!({"prompt": {"id": "p", "variables": {"input": "an image_url"}}, "metadata": {"image": "i"}}),
        ] {
            check(&body, false);
        }
    }
}
