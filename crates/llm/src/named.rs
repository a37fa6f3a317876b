//! What a call names that its provider keeps, in place of saying it: files, stores and prompts, what is cached, earlier
//! answers. One walk over the body finds all of it.
//!
//! Nearly every such field counts wherever it stands, because nobody knows what else a provider reads next year. Left out is
//! what is not for the provider to read: schemas, arguments of tools, labels, and what an answer before said of files
//! (citations, files that a tool wrote), in the lists where answers say it.

use crate::{
    files::{At, GEMINI_FILES, MOST_NAMED, Named, at_google},
    provider::Dialect::{self, Anthropic, Gemini, OpenAi, Responses},
};
use aho_corasick::{AhoCorasick, MatchKind};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt, sync::LazyLock};

/// What a call names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Files, by position.
    pub files: Vec<Named>,
    /// The field by which it names something that lasts in the account of the provider and has an id or a name there that
    /// more than one knows: it was made beside the calls, and stands in programs and consoles. A vector store, content
    /// that is cached, a prompt, a skill, a voice, a tunnel, what lies in a bucket.
    pub store: Option<&'static str>,
    /// The field by which it names what its provider reads along with it: cached content, a prompt, an earlier answer, a
    /// conversation or an item of one. How many tokens that is cannot be known from the call. Files are not meant, nor what
    /// the provider's own tools look into.
    pub reads_along: Option<&'static str>,
}

/// Why nobody can tell what a call names. The texts are safe to show: they hold nothing of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unnamed {
    /// It cannot be read to its end.
    #[error("what it names at its provider cannot be read: it is nested too deeply, or not UTF-8")]
    Unreadable,
    /// It names too many.
    #[error("it names more than {MOST_NAMED} files")]
    TooMany,
    /// An id stands where a text must.
    #[error("a file is named by something that is not a text")]
    NotText,
    /// An address of a file at Google that is not as Google writes them.
    #[error("a file at Google is named by `https://generativelanguage.googleapis.com/v1beta/files/ID`")]
    Address,
}

/// The files and the lasting things that a call names. Bodies in which no such field can stand are only scanned.
///
/// # Errors
/// [`Unnamed`] when that cannot be told; then it must not be sent.
pub fn names(body: &[u8], speaks: Dialect) -> Result<Names, Unnamed> {
    let words = match speaks {
        Gemini => &*OF_GEMINI,
        Anthropic => &*OF_ANTHROPIC,
        _ => &*OF_OPENAI,
    };
    if stand_in(words, body) { walk(body, speaks) } else { Ok(Names::default()) }
}

/// The field by which a call names what its provider reads along with it, files among it: nobody knows how much that is. One
/// of which it cannot be told counts as well.
pub fn unbounded(body: &[u8], speaks: Dialect) -> Option<&'static str> {
    let file = if speaks == Gemini { "fileUri" } else { "file_id" };
    match all(body, speaks) {
        Ok(names) => names.reads_along.or((!names.files.is_empty()).then_some(file)),
        Err(_) => Some(file),
    }
}

/// The field by which a call goes on with what its provider keeps. Files are not meant, as with [`Names::reads_along`].
pub fn reads_along(body: &[u8], speaks: Dialect) -> Option<&'static str> {
    all(body, speaks).map_or(Some("a field that cannot be read"), |names| names.reads_along)
}

/// Everything that a call names.
fn all(body: &[u8], speaks: Dialect) -> Result<Names, Unnamed> {
    match speaks {
        Responses if stand_in(&OF_CONVERSATIONS, body) => walk(body, speaks),
        _ => names(body, speaks),
    }
}

/// Whether one of these words stands in a body; true where they could not be compiled.
fn stand_in(words: &Option<AhoCorasick>, body: &[u8]) -> bool {
    words.as_ref().is_none_or(|words| words.is_match(body))
}

/// The escapes with which the fields could be written: Latin letters and the underscore are \u0041 to \u007a.
const ESCAPES: [&str; 4] = ["\\u004", "\\u005", "\\u006", "\\u007"];

type Words = LazyLock<Option<AhoCorasick>>;
fn words(of: &[&str]) -> Option<AhoCorasick> {
    // Of this kind, as many as these are looked for many bytes at a time.
    AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(of.iter().chain(&ESCAPES)).ok()
}

static OF_OPENAI: Words = LazyLock::new(|| {
    words(&[
        "file_id",
        "vector_store_ids",
        "collection_ids",
        "skill_id",
        "tunnel_id",
        "\"data_sources\"",
        "\"preset\"",
        "\"prompt\"",
        "\"voice\"",
        "achedContent\"",
        "ached_content\"",
    ])
});
static OF_ANTHROPIC: Words = LazyLock::new(|| words(&["file_id", "skill_id"]));
static OF_GEMINI: Words = LazyLock::new(|| {
    words(&[
        "fileUri",
        "file_uri",
        "achedContent\"",
        "ached_content\"",
        "fileSearchStoreNames",
        "file_search_store_names",
        "\"retrieval\"",
    ])
});
/// Beside those of [`OF_OPENAI`]. An item may be named by its id alone.
static OF_CONVERSATIONS: Words = LazyLock::new(|| words(&["previous_response_id", "\"conversation\"", "\"id\""]));

/// The field, where it names something that lasts, wherever it stands; and whether all of that is read along. What tools of
/// the provider's own read of it is no more than what they read elsewhere.
fn lasting(field: &str, speaks: Dialect) -> Option<(&'static str, bool)> {
    Some(match (field, speaks) {
        ("vector_store_ids", OpenAi | Responses) => ("vector_store_ids", false),
        ("collection_ids", OpenAi | Responses) => ("collection_ids", false),
        // A way into somebody's network.
        ("tunnel_id", OpenAi | Responses) => ("tunnel_id", false),
        ("cachedContent", OpenAi | Responses | Gemini) => ("cachedContent", true),
        ("cached_content", OpenAi | Responses | Gemini) => ("cached_content", true),
        ("fileSearchStoreNames", Gemini) => ("fileSearchStoreNames", false),
        ("file_search_store_names", Gemini) => ("file_search_store_names", false),
        ("retrieval", Gemini) => ("retrieval", false),
        _ => return None,
    })
}

/// Fields whose values are none of the provider's, whatever stands in them.
pub(crate) fn is_passed(field: &str, speaks: Dialect) -> bool {
    match field {
        "metadata" | "parameters" | "schema" | "json_schema" | "input_schema" | "output_schema" => true,
        // What tools were called with, and what they found.
        "arguments" | "results" => matches!(speaks, OpenAi | Responses),
        "input" => speaks == Anthropic,
        "args" | "response" | "labels" | "parametersJsonSchema" | "responseSchema" | "responseJsonSchema" => {
            speaks == Gemini
        }
        _ => false,
    }
}

/// Objects in which an answer said something of a file, which are sent back with a conversation in lists of [`LISTS`].
pub(crate) const TOLD: [&str; 9] = [
    "file_citation",
    "container_file_citation",
    "file_path",
    "char_location",
    "page_location",
    "content_block_location",
    "code_execution_output",
    "bash_code_execution_output",
    "file_search_result",
];
const LISTS: [&str; 3] = ["annotations", "citations", "content"];

/// Where a value stands, as far as that tells whether what is named there is for the provider to read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The call itself.
    Call,
    /// What a call of Responses has for its input.
    Items,
    /// One of them.
    Item,
    /// The value of one of [`LISTS`].
    List,
    /// An element of it.
    Element,
    /// The prompt of a provider's own that a call names.
    Prompt,
    /// Among its variables, whose names say nothing: they are the author's.
    Variables,
    Other,
}

impl Place {
    fn below(self, field: &str, speaks: Dialect) -> Self {
        match (self, field) {
            (Self::Variables, _) | (Self::Prompt, "variables") => Self::Variables,
            (Self::Call, "input") if speaks == Responses => Self::Items,
            (_, "prompt") => Self::Prompt,
            (_, field) if LISTS.contains(&field) => Self::List,
            _ => Self::Other,
        }
    }

    const fn each(self) -> Self {
        match self {
            Self::Items => Self::Item,
            Self::List => Self::Element,
            Self::Variables => Self::Variables,
            _ => Self::Other,
        }
    }
}

fn walk(body: &[u8], speaks: Dialect) -> Result<Names, Unnamed> {
    let text = std::str::from_utf8(body).map_err(|_| Unnamed::Unreadable)?;
    let mut walk = Walk { whole: text, speaks, names: Names::default(), wrong: None };
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = Value(&mut walk, Place::Call).deserialize(&mut reader);
    if let Some(wrong) = walk.wrong {
        return Err(wrong);
    }
    read.map_err(|_| Unnamed::Unreadable)?;
    walk.names.files.sort_unstable_by_key(|one| one.at.start);
    Ok(walk.names)
}

struct Walk<'b> {
    whole: &'b str,
    speaks: Dialect,
    names: Names,
    wrong: Option<Unnamed>,
}

impl<'b> Walk<'b> {
    /// Something that lasts is named.
    fn store(&mut self, field: &'static str, reads_along: bool) {
        self.names.store.get_or_insert(field);
        if reads_along {
            self.names.reads_along.get_or_insert(field);
        }
    }

    /// A field that is not null, and what it is.
    fn field(&mut self, field: &str, place: Place, is: Is) {
        let speaks = self.speaks;
        let in_call = place == Place::Call;
        if let Some((field, reads_along)) = lasting(field, speaks) {
            return self.store(field, reads_along);
        }
        match (field, speaks) {
            ("prompt", Responses) if in_call => self.store("prompt", true),
            // In a session. A text is what an image is to show.
            ("prompt", OpenAi | Responses) if is == Is::Object => self.store("prompt", true),
            // One of those that everybody has is a text.
            ("voice", OpenAi | Responses) if is == Is::Object => self.store("voice", false),
            ("data_sources", OpenAi | Responses) if in_call => self.store("data_sources", false),
            ("preset", OpenAi | Responses) if in_call => self.store("preset", true),
            ("previous_response_id", Responses) if in_call => {
                self.names.reads_along.get_or_insert("previous_response_id");
            }
            ("conversation", Responses) if in_call => {
                self.names.reads_along.get_or_insert("conversation");
            }
            _ => {}
        }
    }

    fn file(&mut self, raw: &'b RawValue, into: &mut Vec<Named>) {
        let text = match raw.get() {
            "null" => return,
            text => text,
        };
        let start = text.as_ptr() as usize - self.whole.as_ptr() as usize;
        let Ok(told) = serde_json::from_str::<Cow<'_, str>>(text) else {
            return self.wrong = Some(Unnamed::NotText);
        };
        let (before, id) = match self.speaks {
            Gemini => match at_google(&told) {
                At::Elsewhere => return,
                At::Bucket => return self.store("fileUri", false),
                At::Unclear => return self.wrong = Some(Unnamed::Address),
                At::Google(name) => (GEMINI_FILES, name.to_owned()),
            },
            _ => ("", told.into_owned()),
        };
        if self.names.files.len() + into.len() >= MOST_NAMED {
            return self.wrong = Some(Unnamed::TooMany);
        }
        into.push(Named { at: start..start + text.len(), id, before });
    }

    /// Each text of a list; a single one is taken for a list of it.
    fn files(&mut self, raw: &'b RawValue, into: &mut Vec<Named>) {
        match serde_json::from_str::<Vec<&'b RawValue>>(raw.get()) {
            Ok(all) => all.into_iter().for_each(|one| self.file(one, into)),
            Err(_) => self.file(raw, into),
        }
    }
}

/// What a value is, as far as it matters to the object that it stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Is {
    Null,
    Object,
    /// A text that stands in [`TOLD`].
    Told,
    /// The type of an item by its id.
    Reference,
    /// The type of a skill that everybody has.
    BuiltIn,
    Other,
}

/// Any value of a call, and where it stands.
struct Value<'w, 'b>(&'w mut Walk<'b>, Place);

impl<'b> DeserializeSeed<'b> for Value<'_, 'b> {
    type Value = Is;
    fn deserialize<D: Deserializer<'b>>(self, reader: D) -> Result<Is, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'b> Visitor<'b> for Value<'_, 'b> {
    type Value = Is;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_bool<E>(self, _: bool) -> Result<Is, E> {
        Ok(Is::Other)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Is, E> {
        Ok(Is::Other)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Is, E> {
        Ok(Is::Other)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Is, E> {
        Ok(Is::Other)
    }
    fn visit_str<E>(self, text: &str) -> Result<Is, E> {
        Ok(match text {
            "item_reference" => Is::Reference,
            "anthropic" => Is::BuiltIn,
            text if TOLD.contains(&text) => Is::Told,
            _ => Is::Other,
        })
    }
    fn visit_unit<E>(self) -> Result<Is, E> {
        Ok(Is::Null)
    }
    fn visit_seq<A: SeqAccess<'b>>(self, mut each: A) -> Result<Is, A::Error> {
        while each.next_element_seed(Value(self.0, self.1.each()))?.is_some() {}
        Ok(Is::Other)
    }
    fn visit_map<A: MapAccess<'b>>(self, mut each: A) -> Result<Is, A::Error> {
        let Self(walk, place) = self;
        let speaks = walk.speaks;
        let (mut here, mut kinds, mut kind) = (Vec::new(), 0, Is::Null);
        let (mut skill, mut refers, mut id, mut more) = (false, false, false, false);
        while let Some(Field(field)) = each.next_key::<Field<'b>>()? {
            match (&*field, speaks) {
                (field, speaks) if place != Place::Variables && is_passed(field, speaks) => {
                    let _: IgnoredAny = each.next_value()?;
                }
                ("file_id", OpenAi | Responses | Anthropic) | ("fileUri" | "file_uri", Gemini) => {
                    walk.file(each.next_value()?, &mut here);
                }
                ("file_ids", OpenAi | Responses | Anthropic) => walk.files(each.next_value()?, &mut here),
                (field, _) => {
                    let is = each.next_value_seed(Value(walk, place.below(field, speaks)))?;
                    if field == "type" {
                        (kinds, kind) = (kinds + 1, is);
                        refers |= is == Is::Reference;
                    }
                    if is != Is::Null && place != Place::Variables {
                        skill |= field == "skill_id";
                        id |= field == "id";
                        more |= matches!(field, "type" | "role" | "content");
                        walk.field(field, place, is);
                    }
                }
            }
        }
        // Where the type stands twice, a provider may read the other one.
        let is_one = kinds == 1;
        if !(kind == Is::Told && is_one && place == Place::Element) {
            walk.names.files.append(&mut here);
        }
        if skill && !(kind == Is::BuiltIn && is_one && speaks == Anthropic) {
            walk.store("skill_id", false);
        }
        // The type of an item that is named by its id may be left out.
        if place == Place::Item && (refers || (id && !more)) {
            walk.names.reads_along.get_or_insert("item_reference");
        }
        Ok(Is::Object)
    }
}

/// The name of a field, escapes and all.
struct Field<'b>(Cow<'b, str>);

impl<'b> Deserialize<'b> for Field<'b> {
    fn deserialize<D: Deserializer<'b>>(reader: D) -> Result<Self, D::Error> {
        struct Name;
        impl<'b> Visitor<'b> for Name {
            type Value = Field<'b>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a field")
            }
            fn visit_borrowed_str<E>(self, name: &'b str) -> Result<Field<'b>, E> {
                Ok(Field(Cow::Borrowed(name)))
            }
            fn visit_str<E>(self, name: &str) -> Result<Field<'b>, E> {
                Ok(Field(Cow::Owned(name.to_owned())))
            }
        }
        reader.deserialize_str(Name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn store(body: &serde_json::Value, speaks: Dialect) -> Option<&'static str> {
        let body = body.to_string();
        let named = names(body.as_bytes(), speaks).unwrap();
        let found = walk(body.as_bytes(), speaks).unwrap();
        assert_eq!((named.store, named.files), (found.store, found.files), "the words lead to every field: {body}");
        found.store
    }

    #[test]
    fn what_lasts_in_an_account_is_seen_in_every_form() {
        for (speaks, body, field) in [
            (Responses, json!({"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}), "vector_store_ids"),
            (Responses, json!({"tools": [{"type": "collections_search", "collection_ids": ["c"]}]}), "collection_ids"),
            (Responses, json!({"prompt": {"id": "pmpt_1"}}), "prompt"),
            (Responses, json!({"prompt": "pmpt_1"}), "prompt"),
            (Responses, json!({"tools": [{"type": "mcp", "server_label": "s", "tunnel_id": "t"}]}), "tunnel_id"),
            (
                Responses,
                json!({"tools": [{"type": "shell", "environment": {"type": "container_auto", "skills": [
                    {"type": "skill_reference", "skill_id": "skill_1"}]}}]}),
                "skill_id",
            ),
            (Responses, json!({"preset": "support", "input": "x"}), "preset"),
            (OpenAi, json!({"type": "session.update", "session": {"prompt": {"id": "pmpt_1"}}}), "prompt"),
            (OpenAi, json!({"audio": {"voice": {"id": "voice_1"}, "format": "wav"}}), "voice"),
            (OpenAi, json!({"data_sources": [{"type": "azure_search"}]}), "data_sources"),
            (OpenAi, json!({"extra_body": {"google": {"cached_content": "cachedContents/a"}}}), "cached_content"),
            (
                Anthropic,
                json!({"container": {"skills": [{"type": "custom", "skill_id": "skill_1", "version": "latest"}]}}),
                "skill_id",
            ),
            (Anthropic, json!({"container": {"skills": [{"skill_id": "pptx"}]}}), "skill_id"),
            (Gemini, json!({"cachedContent": "cachedContents/a"}), "cachedContent"),
            (Gemini, json!({"setup": {"cached_content": "cachedContents/a"}}), "cached_content"),
            (Gemini, json!({"generateContentRequest": {"cachedContent": "cachedContents/a"}}), "cachedContent"),
            (
                Gemini,
                json!({"tools": [{"fileSearch": {"fileSearchStoreNames": ["fileSearchStores/a"]}}]}),
                "fileSearchStoreNames",
            ),
            (
                Gemini,
                json!({"tools": [{"file_search": {"file_search_store_names": ["fileSearchStores/a"]}}]}),
                "file_search_store_names",
            ),
            (Gemini, json!({"tools": [{"retrieval": {"vertexAiSearch": {"datastore": "d"}}}]}), "retrieval"),
            (Gemini, json!({"contents": [{"parts": [{"fileData": {"fileUri": "gs://b/a.pdf"}}]}]}), "fileUri"),
        ] {
            assert_eq!(store(&body, speaks), Some(field), "{body}");
        }
        let escaped = r#"{"tools":[{"vector\u005fstore_ids":["vs_1"]}]}"#;
        assert_eq!(names(escaped.as_bytes(), Responses).unwrap().store, Some("vector_store_ids"));
        let twice = r#"{"prompt":{"id":"pmpt_1"},"prompt":null}"#;
        assert_eq!(names(twice.as_bytes(), Responses).unwrap().store, Some("prompt"));
        let twice = r#"{"container":{"skills":[{"type":"custom","type":"anthropic","skill_id":"s"}]}}"#;
        assert_eq!(names(twice.as_bytes(), Anthropic).unwrap().store, Some("skill_id"));
    }

    #[test]
    fn what_is_said_or_given_to_one_caller_alone_is_no_store() {
        for (speaks, body) in [
            (Responses, json!({"previous_response_id": "resp_1", "conversation": {"id": "conv_1"}, "prompt": null})),
            (Responses, json!({"input": [{"type": "item_reference", "id": "msg_1"}], "prompt_cache_key": "k"})),
            (Responses, json!({"tools": [{"type": "code_interpreter", "container": "cntr_1"}]})),
            (Responses, json!({"metadata": {"vector_store_ids": "x"}, "input": "\"prompt\": vector_store_ids"})),
            (
                Responses,
                json!({"tools": [{"type": "function", "parameters": {"vector_store_ids": {"type": "array"}}}]}),
            ),
            (OpenAi, json!({"prompt": "a cat", "voice": "alloy"})),
            (
                OpenAi,
                json!({"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}], "audio": {"voice": "alloy"}}),
            ),
            (
                OpenAi,
                json!({"tools": [{"type": "function", "function": {"name": "preset", "parameters": {"voice": {}}}}]}),
            ),
            (Anthropic, json!({"container": "container_1"})),
            (
                Anthropic,
                json!({"container": {"id": "container_1", "skills": [{"type": "anthropic", "skill_id": "pptx"}]}}),
            ),
            (Anthropic, json!({"messages": [{"content": [{"type": "tool_use", "input": {"skill_id": "x"}}]}]})),
            (Gemini, json!({"toolConfig": {"retrievalConfig": {"languageCode": "de"}}, "cachedContent": null})),
            (
                Gemini,
                json!({"contents": [{"parts": [{"functionCall": {"args": {"cachedContent": "x", "retrieval": {}}}}]}]}),
            ),
            (Gemini, json!({"contents": [{"parts": [{"fileData": {"fileUri": "https://example.com/a.png"}}]}]})),
        ] {
            assert_eq!(store(&body, speaks), None, "{body}");
        }
    }

    #[test]
    fn what_a_provider_reads_along_with_a_call_of_responses() {
        for (body, expect) in [
            (r#"{"model":"m","input":"x","previous_response_id":null,"conversation":null,"prompt":null}"#, None),
            (r#"{"input":[{"role":"user","content":"previous_response_id"}],"metadata":{"prompt":"x"}}"#, None),
            (r#"{"input":[{"id":"msg_1","type":"message","role":"assistant","content":[]},7,[{"id":"x"}]]}"#, None),
            (
                r#"{"input":[{"type":"function_call_output","id":"fc_1","call_id":"c","output":"item_reference"}]}"#,
                None,
            ),
            (r#"{"input":{"type":"item_reference"}}"#, None),
            (r#"{"previous_\u0072esponse_id": "resp_1"}"#, Some("previous_response_id")),
            (r#"{"conversation":"conv_1"}"#, Some("conversation")),
            (r#"{"conversation":{"id":"conv_1"},"input":[]}"#, Some("conversation")),
            (r#"{"prompt":{"id":"pmpt_1"}}"#, Some("prompt")),
            (r#"{"prompt":{"id":"pmpt_1"},"prompt":null}"#, Some("prompt")),
            (
                r#"{"input":[{"role":"user","content":"x"},{"type":"item_reference","id":"msg_1"}]}"#,
                Some("item_reference"),
            ),
            (r#"{"input":[{"type":"message","type":"item_\u0072eference","id":"msg_1"}]}"#, Some("item_reference")),
            (r#"{"input": [ {"id":"msg_1"} ]}"#, Some("item_reference")),
            (r#"{"input":[{"id":"msg_1","type":null}],"input":"x"}"#, Some("item_reference")),
            (r#"{"tools":[{"type":"file_search","vector_store_ids":["vs_1"]}]}"#, None),
            (r#"{"preset":"support","input":"x"}"#, Some("preset")),
        ] {
            assert_eq!(reads_along(body.as_bytes(), Responses), expect, "{body}");
            assert_eq!(unbounded(body.as_bytes(), Responses), expect, "{body}");
        }
        let file = br#"{"input":[{"content":[{"type":"input_file","file_id":"file-1"}]}]}"#;
        assert_eq!((reads_along(file, Responses), unbounded(file, Responses)), (None, Some("file_id")));
        // However it is written: what cannot be read counts.
        let deep = format!("{}\"x\"{}", r#"{"google":"#.repeat(300), "}".repeat(300));
        assert_eq!(unbounded(deep.as_bytes(), OpenAi), None, "nothing of the kind stands there");
        let deep = deep.replace("\"x\"", r#"{"cached_content":"c"}"#);
        assert_eq!(unbounded(deep.as_bytes(), OpenAi), Some("file_id"));
        assert!(reads_along(deep.as_bytes(), OpenAi).is_some());
    }

    #[test]
    fn cached_content_is_read_along_wherever_it_is_named() {
        let (camel, snake) = (Some("cachedContent"), Some("cached_content"));
        for (body, expect) in [
            (r#"{"contents":[],"cachedContent":null}"#, None),
            (r#"{"contents":[{"parts":[{"text":"cachedContent"}]}],"labels":{"cachedContent":"x"}}"#, None),
            (r#"{"contents":[{"parts":[{"functionCall":{"args":{"cachedContent":"x"}}}]}]}"#, None),
            ("no json", None),
            (r#"{"contents":[],"cachedContent":"cachedContents/abc"}"#, camel),
            (r#"{"cached_content":"cachedContents/abc","contents":[]}"#, snake),
            (r#"{"c\u0061chedContent" : "cachedContents/abc"}"#, camel),
            (r#"{"cachedContent":"cachedContents/abc","cachedContent":null}"#, camel),
            (r#"{"cachedContent":null,"cachedContent":{"name":"x"}}"#, camel),
            (r#"{"generateContentRequest":{"cachedContent":"cachedContents/abc"}}"#, camel),
            (r#"{"generate_content_request":{"cached_content":"cachedContents/abc"}}"#, snake),
        ] {
            assert_eq!(reads_along(body.as_bytes(), Gemini), expect, "{body}");
        }
        for (body, expect) in [
            (r#"{"messages":[],"extra_body":{"google":{"cached_content":"cachedContents/abc"}}}"#, snake),
            (r#"{"messages":[],"google":{"cachedContent":"cachedContents/abc"}}"#, camel),
        ] {
            assert_eq!(reads_along(body.as_bytes(), OpenAi), expect, "{body}");
        }
    }
}
