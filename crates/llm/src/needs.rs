//! What a call needs of a model: images, tools and the like, and room for its prompt.
//!
//! Read from the body in any dialect, in one pass and without a tree. What is not known here is passed over, so a need may be
//! missed; then the provider says so itself. Only what a call asks for by its own words counts as a need.

use crate::{
    catalogue,
    produced::{BYTES_OF_TOKEN, estimated_tokens},
};
use credentialflow_model::resource::ModelCapability;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u8);

impl Capabilities {
    /// Those in a list.
    pub fn of(list: impl IntoIterator<Item = ModelCapability>) -> Self {
        list.into_iter().fold(Self::default(), |set, one| Self(set.0 | 1 << one as u8))
    }

    /// What is in this set and not in the other.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What is in both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in either.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = ModelCapability> {
        ModelCapability::ALL.iter().copied().filter(move |one| self.0 & 1 << *one as u8 != 0)
    }

    /// What they are, in words for whoever calls.
    pub fn words(self) -> String {
        let words = self.iter().map(|one| match one {
            ModelCapability::Vision => "images in the prompt",
            ModelCapability::Documents => "documents in the prompt",
            ModelCapability::AudioInput => "audio in the prompt",
            ModelCapability::Tools => "calling tools",
            ModelCapability::StructuredOutput => "an answer that follows a JSON Schema",
            ModelCapability::Reasoning => "thinking before the answer",
        });
        words.collect::<Vec<_>>().join(", ")
    }

    fn add(&mut self, one: ModelCapability) {
        self.0 |= 1 << one as u8;
    }
}

/// What is known of a target's model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// What it can do, for certain.
    pub can: Capabilities,
    /// What it cannot do, for certain.
    pub cannot: Capabilities,
    /// How many tokens fit into it.
    pub context: Option<u64>,
}

/// How well a target's model is fit for a call, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// It can do what the call needs, as far as that is known of any model.
    Known,
    /// Something the call needs is not known of it.
    Unknown,
    /// It can, but the prompt seems too large for it. That is estimated, so it is asked when nobody else is there.
    TooLarge,
    /// It cannot.
    Unfit,
}

impl Fit {
    /// Where one with this priority stands among others, the lowest first: a priority is what somebody wrote, and only for
    /// one for whom the prompt seems too large others come first, and for one whose provider's budget is used up (`used_up`).
    pub fn rank(self, used_up: bool, priority: u32) -> (bool, bool, u32, Self) {
        (self >= Self::TooLarge, used_up, priority, self)
    }
}

impl Abilities {
    /// What the catalogue knows of a model, and before that what its target says: a list there is complete. What the
    /// catalogue does not name is not known.
    pub fn new(
        known: Option<&catalogue::KnownModel>,
        declared: Option<&[ModelCapability]>,
        context: Option<u64>,
    ) -> Self {
        let context = context.or_else(|| known?.context.map(u64::from));
        if let Some(declared) = declared {
            let can = Capabilities::of(declared.iter().copied());
            return Self { can, cannot: Capabilities::of(ModelCapability::ALL.iter().copied()).without(can), context };
        }
        let can = known.map_or(&[][..], |known| known.can).iter().filter_map(|one| match one {
            catalogue::Capability::Vision => Some(ModelCapability::Vision),
            catalogue::Capability::Tools => Some(ModelCapability::Tools),
            catalogue::Capability::StructuredOutput => Some(ModelCapability::StructuredOutput),
            catalogue::Capability::Reasoning => Some(ModelCapability::Reasoning),
            catalogue::Capability::AudioInput => Some(ModelCapability::AudioInput),
            _ => None,
        });
        Self { can: Capabilities::of(can), cannot: Capabilities::default(), context }
    }

    /// Whether nothing is known.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What of these needs it cannot do for certain.
    pub const fn lacks(&self, needs: &Needs) -> Capabilities {
        needs.capabilities.and(self.cannot)
    }

    /// How well it is fit for these needs. A prompt seems too large where it would be at eight bytes a token, and
    /// fits where it would at three, as budgets estimate them.
    pub fn fit(&self, needs: &Needs) -> Fit {
        let context = self.context.unwrap_or(u64::MAX);
        if !self.lacks(needs).is_empty() {
            return Fit::Unfit;
        }
        if needs.text / MOST_BYTES_OF_A_TOKEN > context {
            return Fit::TooLarge;
        }
        let known = needs.capabilities.without(self.can).is_empty() && needs.tokens() <= context;
        if known { Fit::Known } else { Fit::Unknown }
    }
}

/// Texts that people write have fewer bytes a token than this.
const MOST_BYTES_OF_A_TOKEN: u64 = 8;

/// What a call needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// What the model must be able to do.
    pub capabilities: Capabilities,
    /// Bytes of the call without its media, with characters that are written as `\u` and four digits as in UTF-8.
    pub text: u64,
}

impl Needs {
    /// Of a body in any dialect. Of one that cannot be read, its length.
    pub fn of(body: &[u8]) -> Self {
        let mut needs = Self { text: (body.len() - saved_by_utf8(body)) as u64, ..Self::default() };
        if let Ok(Whole { needs: found, media }) = serde_json::from_slice(body) {
            needs.capabilities = found;
            needs.text = needs.text.saturating_sub(media);
        }
        needs
    }

    /// Of a call with these needs and a prompt of about so many tokens.
    pub const fn new(capabilities: Capabilities, tokens: u64) -> Self {
        Self { capabilities, text: tokens.saturating_mul(BYTES_OF_TOKEN) }
    }

    /// How many tokens its texts have, estimated.
    pub fn tokens(&self) -> u64 {
        estimated_tokens(self.text)
    }
}

/// How many bytes fewer a body would have, about, were no character in it written as an escape of six bytes: many programs
/// write all but English so.
fn saved_by_utf8(body: &[u8]) -> usize {
    let (mut rest, mut saved) = (body, 0);
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let is_character = rest
            .get(at + 1..at + 6)
            .is_some_and(|escape| escape[0] == b'u' && escape[1..].iter().all(u8::is_ascii_hexdigit));
        saved += if is_character { 4 } else { 0 };
        rest = rest.get(at + if is_character { 6 } else { 2 }..).unwrap_or_default();
    }
    saved
}

/// A call, or a part of one: what it needs, and the bytes of media in it.
#[derive(Default)]
struct Whole {
    needs: Capabilities,
    media: u64,
}

/// Any value within the turns of a call.
#[derive(Default)]
struct Part(Whole);

impl Whole {
    fn take(&mut self, Part(part): Part) {
        self.needs.0 |= part.needs.0;
        self.media += part.media;
    }

    /// A value of a field at the top that asks for something.
    fn asked(&mut self, one: ModelCapability, asked: bool) {
        if asked {
            self.needs.add(one);
        }
    }

    /// A medium whose kind is told by its media type.
    fn typed(&mut self, raw: &RawValue) {
        self.media += raw.get().len() as u64;
        let media: Media = serde_json::from_str(raw.get()).unwrap_or_default();
        self.kind(media.media_type.or(media.mime_type).or(media.mime).as_deref().unwrap_or_default());
    }

    fn kind(&mut self, media_type: &str) {
        let kind = media_type.split('/').next().unwrap_or_default();
        match (kind.to_ascii_lowercase().as_str(), media_type) {
            ("image", _) => self.needs.add(ModelCapability::Vision),
            ("audio", _) => self.needs.add(ModelCapability::AudioInput),
            (_, "application/pdf") => self.needs.add(ModelCapability::Documents),
            _ => {}
        }
    }
}

/// What says of a medium what it is.
#[derive(serde::Deserialize, Default)]
struct Media<'a> {
    #[serde(borrow, default)]
    media_type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    mime_type: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "mimeType")]
    mime: Option<Cow<'a, str>>,
    /// `base64`, `url`, `text` and so on, in Messages.
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
}

/// Members of an object that say what is asked for; of another form, nothing.
fn member<'a>(raw: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    struct Find<'n>(&'n str);
    impl<'de> Visitor<'de> for Find<'_> {
        type Value = Option<&'de RawValue>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                match key == self.0 {
                    true => found = Some(map.next_value()?),
                    false => _ = map.next_value::<IgnoredAny>()?,
                }
            }
            Ok(found)
        }
    }
    serde_json::Deserializer::from_str(raw.get()).deserialize_map(Find(name)).ok().flatten()
}

fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Word<'_>>(raw.get()).ok().map(|word| word.0)
}

/// A text, borrowed where it is written plainly.
struct Word<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Word<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Cow<'de, str>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        d.deserialize_str(Read).map(Word)
    }
}

/// Whether a value says something: it is there, neither null nor false, nor an empty list.
fn says(raw: &RawValue) -> bool {
    let text = raw.get();
    !matches!(text, "null" | "false") && text.bytes().filter(|b| !b.is_ascii_whitespace()).take(3).ne(*b"[]")
}

/// Whether a word asks for thinking.
fn thinks(raw: Option<&RawValue>) -> bool {
    raw.and_then(text).is_some_and(|word| !matches!(&*word, "none" | "disabled"))
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Whole;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a call")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Whole, A::Error> {
                use ModelCapability as C;
                let mut whole = Whole::default();
                let is_schema = |raw: Option<&RawValue>| raw.and_then(text).is_some_and(|kind| kind == "json_schema");
                while let Some(Word(key)) = map.next_key()? {
                    match &*key {
                        "messages" | "input" | "contents" | "system" => whole.take(map.next_value()?),
                        "tools" | "functions" => whole.asked(C::Tools, says(map.next_value()?)),
                        "response_format" | "output_format" => {
                            whole.asked(C::StructuredOutput, is_schema(member(map.next_value()?, "type")));
                        }
                        "text" | "output_config" => {
                            let format = member(map.next_value()?, "format");
                            whole.asked(C::StructuredOutput, is_schema(format.and_then(|f| member(f, "type"))));
                        }
                        "reasoning_effort" => whole.asked(C::Reasoning, thinks(Some(map.next_value()?))),
                        "reasoning" => whole.asked(C::Reasoning, thinks(member(map.next_value()?, "effort"))),
                        "thinking" => whole.asked(C::Reasoning, thinks(member(map.next_value()?, "type"))),
                        "generationConfig" | "generation_config" => {
                            let config: &RawValue = map.next_value()?;
                            for name in
                                ["responseSchema", "responseJsonSchema", "response_schema", "response_json_schema"]
                            {
                                whole.asked(C::StructuredOutput, member(config, name).is_some_and(says));
                            }
                            let thinking = member(config, "thinkingConfig").or(member(config, "thinking_config"));
                            let of = |name, snake| thinking.and_then(|t| member(t, name).or_else(|| member(t, snake)));
                            let budget = of("thinkingBudget", "thinking_budget");
                            let level = of("thinkingLevel", "thinking_level");
                            let asks = budget.is_some_and(|budget| budget.get() != "0") || thinks(level);
                            whole.asked(C::Reasoning, asks);
                        }
                        _ => _ = map.next_value::<IgnoredAny>()?,
                    }
                }
                Ok(whole)
            }
        }
        d.deserialize_map(Read)
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Part;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("turns of a call")
            }
            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Part, E> {
                Ok(Part::default())
            }
            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Part, E> {
                Ok(Part::default())
            }
            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Part, E> {
                Ok(Part::default())
            }
            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Part, E> {
                Ok(Part::default())
            }
            fn visit_str<E: de::Error>(self, _: &str) -> Result<Part, E> {
                Ok(Part::default())
            }
            fn visit_unit<E: de::Error>(self) -> Result<Part, E> {
                Ok(Part::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Part, A::Error> {
                let mut all = Whole::default();
                while let Some(part) = seq.next_element()? {
                    all.take(part);
                }
                Ok(Part(all))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Part, A::Error> {
                let mut part = Whole::default();
                // A document may be a text, which any model reads.
                let (mut is_document, mut is_text) = (false, false);
                while let Some(Word(key)) = map.next_key()? {
                    match &*key {
                        // Turns, parts of turns, and what tools answered.
                        "content" | "parts" | "output" => part.take(map.next_value()?),
                        "type" => match text(map.next_value()?).as_deref() {
                            Some("image_url" | "image" | "input_image") => part.needs.add(ModelCapability::Vision),
                            Some("input_audio") => part.needs.add(ModelCapability::AudioInput),
                            Some("file" | "document" | "input_file") => is_document = true,
                            _ => {}
                        },
                        "source" => {
                            let raw: &RawValue = map.next_value()?;
                            let media: Media = serde_json::from_str(raw.get()).unwrap_or_default();
                            match media.kind.as_deref() {
                                Some("base64") => part.media += raw.get().len() as u64,
                                Some("text" | "content") => is_text = true,
                                _ => {}
                            }
                        }
                        "inlineData" | "inline_data" | "fileData" => part.typed(map.next_value()?),
                        "file" | "file_data" => {
                            let raw: &RawValue = map.next_value()?;
                            // Gemini's says what it is beside it.
                            match key == "file_data" && raw.get().starts_with('{') {
                                true => part.typed(raw),
                                false => part.media += raw.get().len() as u64,
                            }
                            let data = if key == "file" { member(raw, "file_data") } else { Some(raw) };
                            is_text |= data.and_then(text).is_some_and(|data| data.starts_with("data:text/"));
                        }
                        "image_url" | "input_audio" => {
                            part.media += map.next_value::<&RawValue>()?.get().len() as u64;
                        }
                        _ => _ = map.next_value::<IgnoredAny>()?,
                    }
                }
                if is_document && !is_text {
                    part.needs.add(ModelCapability::Documents);
                }
                Ok(Part(part))
            }
        }
        d.deserialize_any(Read)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ModelCapability as C;
    use serde_json::{Value, json};

    fn needs(body: Value) -> Vec<C> {
        Needs::of(body.to_string().as_bytes()).capabilities.iter().collect()
    }

    #[test]
    fn every_dialect_says_what_it_needs() {
        let user = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
        let turn = |part: Value| json!({"contents": [{"role": "user", "parts": [part]}]});
        for (body, expect) in [
            (user(json!("hello")), vec![]),
            (user(json!([{"type": "text", "text": "an image_url"}])), vec![]),
            (user(json!([{"type": "image_url", "image_url": {"url": "https://x/y.png"}}])), vec![C::Vision]),
            (
                user(json!([{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}])),
                vec![C::AudioInput],
            ),
            (
                user(json!([{"type": "file", "file": {"file_data": "data:application/pdf;base64,AA"}}])),
                vec![C::Documents],
            ),
            (user(json!([{"type": "file", "file": {"file_data": "data:text/plain;base64,AA"}}])), vec![]),
            (user(json!([{"type": "file", "file": {"file_id": "file-1"}}])), vec![C::Documents]),
            (json!({"input": [{"content": [{"type": "input_file", "file_data": "data:text/csv;base64,AA"}]}]}), vec![]),
            (
                json!({"input": [{"content": [{"type": "input_file", "file_data": "data:application/pdf;base64,AA"}]}]}),
                vec![C::Documents],
            ),
            (
                user(
                    json!([{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}]),
                ),
                vec![],
            ),
            (user(json!([{"source": {"type": "url", "url": "https://x"}, "type": "document"}])), vec![C::Documents]),
            (
                user(json!([{"type": "document", "source": {"type": "content", "content": [
                    {"type": "text", "text": "x"}]}}])),
                vec![],
            ),
            (
                user(
                    json!([{"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AA"}}]),
                ),
                vec![C::Documents],
            ),
            (user(json!([{"type": "image", "source": {"type": "url", "url": "https://x"}}])), vec![C::Vision]),
            (user(json!([{"type": "tool_result", "content": [{"type": "image", "source": {}}]}])), vec![C::Vision]),
            (user(json!([{"type": "tool_use", "name": "draw", "input": {"type": "image"}}])), vec![]),
            (
                json!({"input": [{"role": "user", "content": [{"type": "input_image"}, {"type": "input_file"}]}]}),
                vec![C::Vision, C::Documents],
            ),
            (
                json!({"input": [{"type": "function_call_output", "output": [{"type": "input_image"}]}]}),
                vec![C::Vision],
            ),
            (json!({"input": "image"}), vec![]),
            (turn(json!({"inlineData": {"mimeType": "image/png", "data": "AA"}})), vec![C::Vision]),
            (turn(json!({"inline_data": {"mime_type": "application/pdf", "data": "AA"}})), vec![C::Documents]),
            (turn(json!({"fileData": {"mimeType": "audio/wav", "fileUri": "x"}})), vec![C::AudioInput]),
            (turn(json!({"file_data": {"mime_type": "image/png", "file_uri": "x"}})), vec![C::Vision]),
            (turn(json!({"fileData": {"mimeType": "text/plain", "fileUri": "x"}})), vec![]),
            (json!({"tools": [{"type": "function"}]}), vec![C::Tools]),
            (json!({"tools": [], "functions": null}), vec![]),
            (json!({"response_format": {"type": "json_schema"}}), vec![C::StructuredOutput]),
            (json!({"response_format": {"type": "json_object"}}), vec![]),
            (json!({"text": {"format": {"name": "x", "type": "json_schema"}}}), vec![C::StructuredOutput]),
            (json!({"text": {"format": {"type": "text"}}}), vec![]),
            (json!({"output_config": {"format": {"type": "json_schema"}}}), vec![C::StructuredOutput]),
            (json!({"generationConfig": {"responseJsonSchema": {}}}), vec![C::StructuredOutput]),
            (json!({"reasoning_effort": "high"}), vec![C::Reasoning]),
            (json!({"reasoning_effort": "none", "thinking": {"type": "disabled"}}), vec![]),
            (json!({"reasoning": {"effort": "low"}}), vec![C::Reasoning]),
            (json!({"thinking": {"type": "adaptive"}}), vec![C::Reasoning]),
            (json!({"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}), vec![]),
            (json!({"generationConfig": {"thinkingConfig": {"thinkingLevel": "high"}}}), vec![C::Reasoning]),
            (json!({"generation_config": {"thinking_config": {"thinking_budget": 0}}}), vec![]),
            (json!({"generation_config": {"thinking_config": {"thinking_budget": 9}}}), vec![C::Reasoning]),
            (json!({"generation_config": {"thinking_config": {"thinking_level": "low"}}}), vec![C::Reasoning]),
            (json!([1]), vec![]),
        ] {
            assert_eq!(needs(body.clone()), expect, "{body}");
        }
    }

    #[test]
    fn media_are_no_text() {
        let data = "A".repeat(10_000);
        for part in [
            json!({"type": "image_url", "image_url": {"url": data}}),
            json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}),
            json!({"type": "input_image", "image_url": data}),
            json!({"type": "input_file", "file_data": data}),
        ] {
            let body = json!({"messages": [{"role": "user", "content": [part]}]}).to_string();
            assert!(Needs::of(body.as_bytes()).text < 300, "{body}");
        }
        let text = json!({"messages": [{"role": "user", "content": [
            {"type": "document", "source": {"type": "text", "data": data}}]}]});
        assert!(Needs::of(text.to_string().as_bytes()).text > 10_000);
        assert_eq!(Needs::of(b"no call").text, 7);
    }

    #[test]
    fn an_escape_is_a_character() {
        let text = |body: &str| Needs::of(body.as_bytes()).text;
        let (plain, escaped) = (r#"{"input":"да"}"#, r#"{"input":"\u0434\u0430"}"#);
        assert_eq!((text(plain), text(escaped)), (plain.len() as u64, plain.len() as u64));
        for not_one in [r#"{"input":"\\u0434\n\"u"}"#, "\\u04", "\\"] {
            assert_eq!(text(not_one), not_one.len() as u64, "{not_one}");
        }
        assert_eq!(text(&"\\u".repeat(9)), 18, "what is no character saves nothing");
        assert_eq!(text(&"\\u0000".repeat(3)), 6, "no more is saved than is there");
        // Ten thousand letters, of which four are a token: 45 % of the context and not more than all of it.
        let prompt = json!({"messages": [{"role": "user", "content": "д".repeat(10_000)}]}).to_string();
        let ascii = prompt.replace('д', "\\u0434");
        let target = Abilities::new(None, None, Some(7_000));
        assert_eq!(target.fit(&Needs::of(ascii.as_bytes())), target.fit(&Needs::of(prompt.as_bytes())));
        assert_eq!(target.fit(&Needs::of(ascii.as_bytes())), Fit::Known);
    }

    #[test]
    fn what_is_written_comes_before_what_is_guessed() {
        let mut all = [(Fit::TooLarge, 0), (Fit::Unknown, 1), (Fit::Known, 1), (Fit::Known, 2), (Fit::Unknown, 0)];
        all.sort_by_key(|(fit, priority)| fit.rank(false, *priority));
        assert_eq!(all, [(Fit::Unknown, 0), (Fit::Known, 1), (Fit::Unknown, 1), (Fit::Known, 2), (Fit::TooLarge, 0)]);
    }

    #[test]
    fn a_target_is_fit_unknown_or_unfit() {
        let declared = Abilities::new(None, Some(&[C::Tools]), Some(1000));
        let of =
            |capabilities: &[C], text| Needs { capabilities: Capabilities::of(capabilities.iter().copied()), text };
        assert_eq!(declared.fit(&of(&[], 10)), Fit::Known);
        assert_eq!(declared.fit(&of(&[C::Tools], 3000)), Fit::Known);
        assert_eq!(declared.fit(&of(&[C::Tools], 3010)), Fit::Unknown, "it may be too large");
        assert_eq!(declared.fit(&of(&[], 8010)), Fit::TooLarge, "it seems to be");
        assert_eq!(declared.fit(&of(&[C::Vision], 8010)), Fit::Unfit);
        assert_eq!(declared.fit(&of(&[C::Tools, C::Vision], 10)), Fit::Unfit);
        let nothing = Abilities::new(None, None, None);
        assert!(nothing.is_nothing());
        assert_eq!(nothing.fit(&of(&[C::Vision], 10)), Fit::Unknown);
        assert_eq!(nothing.fit(&of(&[], u64::MAX)), Fit::Known, "of no context nothing is said");
        let known = catalogue::find("anthropic", "claude-haiku-4-5").unwrap();
        let known = Abilities::new(Some(known), None, None);
        assert_eq!(known.fit(&of(&[C::Vision, C::Tools], 10)), Fit::Known);
        assert_eq!(known.fit(&of(&[C::Documents], 10)), Fit::Unknown, "the catalogue does not tell of documents");
        assert_eq!(known.fit(&of(&[], 2_000_000)), Fit::TooLarge);
        assert_eq!(Capabilities::of([C::Tools, C::Vision]).words(), "images in the prompt, calling tools");
    }
}
