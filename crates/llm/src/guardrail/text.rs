//! The texts in a model call or an answer, in any dialect, and how they are written anew.
//!
//! A walk over the JSON: every text is seen but those that are no content, so a field that is not known here is looked at.
//! What is left out: media (`data:` addresses and base64, where media stand), names, ids and signatures; of definitions of
//! tools and of the answer's form, all but what they describe. Texts that are sent in base64 are looked at as they are read. It knows nothing about what
//! is looked for.

pub(super) mod base64_text;
pub(super) mod fields;
mod names;
mod string;

#[cfg(test)]
mod tests;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use base64_text::{address, from_base64};
use fields::{
    APPLICATION, CONVERSATION, DEFINITIONS, DESCRIBES, FREE, INDEXES, MEDIA, NO_CONTENT, NO_CONTENT_OF_ANSWERS,
    NO_CONTENT_OF_CALLS, TOKENS, VALUES,
};
use names::Names;
use serde::de::IgnoredAny;
use std::{
    borrow::Cow,
    hash::{DefaultHasher, Hash, Hasher},
    ops::Range,
};
use string::{decoded, end_of_text};

/// Who says a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Whoever calls: what no other origin is known of.
    Caller,
    /// A tool.
    Tool,
    /// The model.
    Model,
    /// The application, in what it tells the model to be.
    Application,
}

/// A text in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text<'b> {
    /// As people read it.
    pub text: Cow<'b, str>,
    /// Who says it.
    pub origin: Origin,
    /// Where it stands, its quotes included.
    pub(super) range: Range<usize>,
    form: Form,
    /// Of which part of an answer it is.
    pub(super) part: Part,
}

/// Which part of an answer a text is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    /// Tells parts of a streamed answer apart: the same for all pieces of one.
    pub id: u64,
    /// The choice or the block that it is in, where that has a number.
    pub index: Option<u64>,
    /// Whether it is a piece of a streamed text, which goes on in other events.
    pub piece: bool,
    /// Whether it is a piece of JSON.
    pub json: bool,
    /// Whether it is what the model answers in words: neither what it thinks nor anything beside it. In a call, whether it
    /// is what somebody says in the conversation.
    pub words: bool,
    /// Whether it is a thought that its provider signed.
    pub signed: bool,
}

/// What is walked over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// A call.
    Call,
    /// An answer, or an event of a streamed one.
    Answer,
    /// JSON in which all is content.
    Json,
}

/// How a text stands in the JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    /// The name of a member of the object that begins there.
    Name(usize),
    Number,
    /// JSON of its own.
    Nested,
    /// In base64, after so many bytes of an address.
    Base64(usize),
}

/// So many texts of a body are looked at.
pub const MOST_TEXTS: usize = 100_000;
/// So many bytes all texts of a body may have together.
pub const MOST_BYTES: usize = 4 << 20;

/// Why a body cannot be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is no JSON, or nested too deeply.
    #[error("the body is not valid JSON, or nested too deeply")]
    Json,
    /// It has more texts than are looked at.
    #[error("this model's guardrails look at {MOST_TEXTS} texts and {} MiB of text at most", MOST_BYTES >> 20)]
    TooMuch,
    /// It has more pieces than are compared with topics.
    #[error(
        "this model's guardrails compare {} pieces of text with topics at most",
        super::remote::topics::MOST_PIECES
    )]
    TooManyPieces,
    /// What calls itself a text is none.
    #[error("a text that is sent in base64 is not UTF-8")]
    Encoding,
    /// More is to be taken out than can be.
    #[error("this model's guardrails found more than they can take out: {} findings at most", super::MOST_FOUND)]
    TooMany,
}

/// How much more is looked at.
struct Left {
    texts: usize,
    bytes: usize,
}

impl Left {
    const fn all() -> Self {
        Self { texts: MOST_TEXTS, bytes: MOST_BYTES }
    }

    fn take(&mut self, texts: usize, bytes: usize) -> Result<(), Unreadable> {
        let left = |left: usize, taken| left.checked_sub(taken).ok_or(Unreadable::TooMuch);
        (self.texts, self.bytes) = (left(self.texts, texts)?, left(self.bytes, bytes)?);
        Ok(())
    }
}

struct Frame<'b> {
    /// Where it begins.
    at: usize,
    object: bool,
    key: &'b str,
    of: Of,
    /// Whether its members are those of the whole call.
    top: bool,
    /// Whether all below it is content.
    free: bool,
    /// Whether nothing below it is.
    skip: bool,
    /// Whether it is in definitions of tools or of the answer's form, in which only what is described is content; whether
    /// the member is that, and whether all of its value is.
    definitions: bool,
    describes: bool,
    values: bool,
    /// Whether its members have any names, so that every text is content but media: it is in documents, or holds variables.
    all: bool,
    /// Whether it is the prompt of a provider's own that a call names; whether it holds the variables of that: values under
    /// the author's names, which say nothing.
    prompt: bool,
    variables: bool,
    origin: Option<Origin>,
    first: usize,
    /// Whether the member's value is content in a form of its own, and whether it may be JSON, however the name is written.
    own_form: bool,
    json: bool,
    /// Whether the member's value is documents that the call brings.
    documents: bool,
    /// Texts of which only the whole object tells whether they are content.
    later: Vec<(Later, Range<usize>)>,
    told: Told,
    /// Of an answer: what tells it apart from others of its kind, and its number.
    mark: u64,
    index: Option<u64>,
    /// Where it begins, if it is what is told of tokens.
    tokens: Option<usize>,
}

/// What a text waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Later {
    /// What kind of media the object holds.
    Media,
    /// Whether the object is a message.
    Name,
}

/// What an object says of itself.
#[derive(Clone, Copy, Default)]
struct Told {
    /// It is a message of somebody who is no tool.
    person: bool,
    /// Its data are a text.
    text: bool,
    /// Its data are a text where they are in base64 at all.
    source: bool,
    base64: bool,
    /// It is a thought, a refusal or the like.
    aside: bool,
    /// It is a piece of what a tool is called with.
    arguments: bool,
    /// It is a piece of the answer's words.
    words: bool,
}

impl Told {
    fn hear(&mut self, key: &str, value: &str) {
        let text = || value.trim_start().get(..5).is_some_and(|start| start.eq_ignore_ascii_case("text/"));
        match key {
            "role" => self.person = !matches!(value, "tool" | "function"),
            "mimeType" | "mime_type" => self.text |= text(),
            "media_type" => self.source |= text(),
            "type" => {
                self.base64 |= value == "base64";
                self.aside |= ["reason", "summary", "think", "refusal"].iter().any(|word| value.contains(word));
                self.arguments |= value.contains("arguments");
                self.words |= value.contains("output_text");
            }
            _ => {}
        }
    }

    const fn holds_text(self) -> bool {
        self.text || (self.source && self.base64)
    }
}

/// The texts of a body.
///
/// # Errors
/// It cannot be read, or there are too many.
pub fn texts(body: &[u8]) -> Result<Vec<Text<'_>>, Unreadable> {
    texts_of(body, Of::Call).map(|(texts, _)| texts)
}

/// The texts of a call, of an answer, or of any JSON; and where the lists and objects stand that tell of an answer's tokens.
///
/// # Errors
/// It cannot be read, or there are too many.
pub(super) fn texts_of(body: &[u8], of: Of) -> Result<(Vec<Text<'_>>, Vec<Range<usize>>), Unreadable> {
    let body = readable(body)?;
    walk(body, of, &mut Left::all())
}

/// Valid, and not deeper than what reads it can go.
fn readable(body: &[u8]) -> Result<&str, Unreadable> {
    serde_json::from_slice::<IgnoredAny>(body).map_err(|_| Unreadable::Json)?;
    std::str::from_utf8(body).map_err(|_| Unreadable::Json)
}

/// The texts found so far, each with whether it is known who says it.
struct Walk<'b, 'l> {
    body: &'b str,
    of: Of,
    found: Vec<(Text<'b>, bool)>,
    /// Whether they stand in the order of the body.
    sorted: bool,
    /// What is told of tokens.
    tokens: Vec<Range<usize>>,
    left: &'l mut Left,
}

impl<'b> Walk<'b, '_> {
    fn push(&mut self, text: Cow<'b, str>, range: Range<usize>, form: Form, known: bool) -> Result<(), Unreadable> {
        if text.is_empty() {
            return Ok(());
        }
        // What stands in JSON within is counted where that is walked over.
        let bytes = if form == Form::Nested && self.of != Of::Json { 0 } else { text.len() };
        self.left.take(1, bytes)?;
        let origin = match (known, self.of) {
            (true, _) => Origin::Application,
            (false, Of::Answer) => Origin::Model,
            (false, _) => Origin::Caller,
        };
        self.found.push((Text { text, origin, range, form, part: Part::default() }, known));
        Ok(())
    }

    /// What stands between the quotes of a place.
    fn raw(&self, range: &Range<usize>) -> &'b str {
        &self.body[range.start + 1..range.end - 1]
    }

    /// Takes what waited for the end of an object.
    fn close(&mut self, frame: &Frame<'b>) -> Result<(), Unreadable> {
        for (what, range) in &frame.later {
            let text = decoded(self.raw(range));
            let (text, form) = match what {
                Later::Name if frame.told.person => (text, Form::Text),
                Later::Name => continue,
                Later::Media => match medium(text, frame.told)? {
                    None => continue,
                    Some(read) => read,
                },
            };
            self.push(text, range.clone(), form, false)?;
            self.sorted = false;
        }
        if self.of == Of::Answer {
            self.found[frame.first..].iter_mut().for_each(|(text, _)| frame.part(&mut text.part));
        }
        if let Some(origin) = frame.origin {
            for (text, known) in self.found[frame.first..].iter_mut().filter(|(_, known)| !known) {
                (text.origin, *known) = (origin, true);
            }
        }
        Ok(())
    }
}

/// Walks over JSON that is valid.
fn walk<'b>(body: &'b str, of: Of, left: &mut Left) -> Result<(Vec<Text<'b>>, Vec<Range<usize>>), Unreadable> {
    let bytes = body.as_bytes();
    let mut walk = Walk { body, of, found: Vec::new(), sorted: true, tokens: Vec::new(), left };
    let mut stack: Vec<Frame<'_>> = Vec::new();
    let mut key_next = false;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => {
                stack.push(frame(stack.last(), (at, byte == b'{'), walk.found.len(), of));
                key_next = byte == b'{';
                at += 1;
            }
            b'}' | b']' => {
                at += 1;
                if let Some(frame) = stack.pop() {
                    walk.tokens.extend(frame.tokens.map(|start| start..at));
                    walk.close(&frame)?;
                }
            }
            b',' => {
                key_next = stack.last().is_some_and(|frame| frame.object);
                at += 1;
            }
            b'"' => {
                let range = at..end_of_text(bytes, at);
                at = range.end;
                let raw = walk.raw(&range);
                let is_key = std::mem::take(&mut key_next);
                let looked_at = match stack.last_mut() {
                    Some(frame) if is_key => {
                        frame.take_key(raw);
                        frame.free && !frame.skip
                    }
                    Some(frame) => {
                        if frame.object && !frame.free {
                            frame.origin = origin_of(frame.key, raw).filter(|_| !frame.all).or(frame.origin);
                            frame.told.hear(frame.key, &decoded(raw));
                        }
                        let later = frame.later();
                        if let Some(later) = later {
                            walk.left.take(1, 0)?;
                            frame.later.push((later, range.clone()));
                        }
                        later.is_none() && !frame.skip && is_content(frame)
                    }
                    None => true,
                };
                if looked_at {
                    let nested = !is_key && stack.last().is_some_and(|frame| frame.json);
                    let text = decoded(raw);
                    let application = of == Of::Call
                        && stack
                            .last()
                            .is_some_and(|frame| frame.definitions || (frame.top && APPLICATION.contains(&frame.key)));
                    let json = || text.trim_start().starts_with(['{', '[', '"']) && readable(text.as_bytes()).is_ok();
                    let form = match stack.last() {
                        Some(frame) if is_key => Form::Name(frame.at),
                        _ if nested && json() => Form::Nested,
                        _ => Form::Text,
                    };
                    let before = walk.found.len();
                    walk.push(text, range, form, application)?;
                    if let Some((text, _)) = walk.found.get_mut(before) {
                        match of {
                            Of::Answer => text.part = part(&stack),
                            Of::Call => text.part.words = is_said(&stack),
                            Of::Json => {}
                        }
                    }
                }
            }
            b'-' | b'0'..=b'9' => {
                let is_part = |b: &u8| matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                let end = at + bytes[at..].iter().take_while(|b| is_part(b)).count();
                match stack.last_mut() {
                    Some(frame) if frame.free && !frame.skip => {
                        let application = frame.definitions;
                        walk.push(Cow::Borrowed(&body[at..end]), at..end, Form::Number, application)?;
                    }
                    Some(frame) if of == Of::Answer => frame.number(&body[at..end]),
                    _ => {}
                }
                at = end;
            }
            b't' => {
                if let Some(frame) = stack.last_mut().filter(|frame| of == Of::Answer && frame.key == "thought") {
                    (frame.told.aside, frame.mark) = (true, hash((frame.mark, "thought")));
                }
                at += 4;
            }
            _ => at += 1,
        }
    }
    let mut found = walk.found;
    if !walk.sorted {
        found.sort_by_key(|(text, _)| text.range.start);
    }
    Ok((found.into_iter().map(|(text, _)| text).collect(), walk.tokens))
}

/// Of which part of an answer the text is that these objects lead to.
fn part(stack: &[Frame<'_>]) -> Part {
    let mut hasher = DefaultHasher::new();
    let mut part = Part::default();
    for frame in stack {
        // The beginning of a block is its first piece.
        let key = if frame.key == "content_block" { "delta" } else { frame.key };
        part.piece |= key == "delta";
        if frame.object {
            key.hash(&mut hasher);
        }
    }
    let key = stack.last().map_or("", |frame| frame.key);
    part.piece |= key == "text" && stack.iter().any(|frame| frame.key == "parts");
    part.json = matches!(key, "arguments" | "partial_json");
    part.words = matches!(key, "content" | "text");
    part.signed = key == "thinking";
    part.id = hasher.finish();
    part
}

/// Whether the text of a call that these objects lead to is said in its conversation.
fn is_said(stack: &[Frame<'_>]) -> bool {
    let said = stack.last().is_some_and(|frame| !frame.free);
    said && stack.iter().any(|frame| frame.top && CONVERSATION.contains(&&*decoded(frame.key)))
}

fn hash(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

fn frame<'b>(parent: Option<&Frame<'b>>, (at, object): (usize, bool), first: usize, of: Of) -> Frame<'b> {
    let free = of == Of::Json;
    let new = Frame {
        at,
        object,
        key: "",
        of,
        top: !free,
        free,
        skip: false,
        definitions: false,
        describes: false,
        values: false,
        all: false,
        prompt: false,
        variables: false,
        origin: None,
        first,
        own_form: false,
        json: false,
        documents: false,
        later: Vec::new(),
        told: Told::default(),
        mark: 0,
        index: None,
        tokens: None,
    };
    let Some(parent) = parent else { return new };
    let key = parent.key;
    let (prompt, variables) = match &*decoded(key) {
        "prompt" => (of == Of::Call && parent.top && object, false),
        "variables" => (false, parent.prompt && object),
        _ => (false, false),
    };
    let origin = match key {
        _ if parent.variables => None,
        "functionResponse" | "function_response" => Some(Origin::Tool),
        "functionCall" | "function_call" => Some(Origin::Model),
        _ if of == Of::Call && parent.top && APPLICATION.contains(&key) => Some(Origin::Application),
        _ => None,
    };
    let definitions = parent.definitions || (of == Of::Call && parent.top && DEFINITIONS.contains(&key));
    if definitions {
        let free = parent.free || (parent.definitions && parent.values);
        // A list of what is described is described.
        let describes = parent.definitions && parent.describes && !object;
        return Frame { key, free, skip: parent.skip, definitions, describes, ..new };
    }
    Frame {
        key,
        // Gemini counts a call that stands in another.
        top: parent.top && object && key == "generateContentRequest",
        free: parent.free || (object && parent.object && !parent.top && parent.own_form),
        skip: parent.skip || (!parent.free && (!is_content_of(parent) || (object && is_format(parent)))),
        all: variables || parent.documents || (parent.all && !parent.variables),
        prompt,
        variables,
        origin,
        json: parent.json,
        tokens: (of == Of::Answer && !parent.skip && TOKENS.contains(&key)).then_some(at),
        ..new
    }
}

impl<'b> Frame<'b> {
    fn take_key(&mut self, raw: &'b str) {
        self.key = raw;
        let name = decoded(raw);
        (self.own_form, self.json) = (FREE.contains(&&*name) && !self.variables, name == "arguments");
        self.documents = self.of == Of::Call && self.top && name == "documents";
        if self.definitions {
            (self.describes, self.values) = (DESCRIBES.contains(&&*name), VALUES.contains(&&*name));
        }
    }

    /// Takes a number of an answer.
    fn number(&mut self, number: &str) {
        if let Some(place) = INDEXES.iter().position(|index| *index == self.key)
            && let Ok(number) = number.parse::<u64>()
        {
            self.mark = hash((self.mark, place, number));
            if place < 2 {
                self.index = Some(number);
            }
        }
    }

    /// What it adds to a text of an answer that stands in it.
    fn part(&self, part: &mut Part) {
        if self.mark != 0 {
            part.id = hash((part.id, self.mark));
        }
        part.index = self.index.or(part.index);
        part.words |= self.told.words && part.piece;
        part.words &= !self.told.aside;
        part.json |= self.told.arguments && part.piece;
    }

    /// What the text that it is at waits for.
    fn later(&self) -> Option<Later> {
        match self.key {
            _ if self.free || self.skip || self.definitions || !self.object => None,
            key if MEDIA.contains(&key) && !self.variables => Some(Later::Media),
            "name" if !self.all => Some(Later::Name),
            _ => None,
        }
    }
}

/// Whether the member that a frame is at may hold content.
fn is_content_of(frame: &Frame<'_>) -> bool {
    match frame.of {
        _ if frame.all => true,
        Of::Answer => !NO_CONTENT.contains(&frame.key) && !NO_CONTENT_OF_ANSWERS.contains(&frame.key),
        _ if frame.top => !NO_CONTENT_OF_CALLS.contains(&frame.key),
        _ => !NO_CONTENT.contains(&frame.key),
    }
}

/// Whether an object at this member is the form that the call wants the answer to have, which an answer repeats.
fn is_format(frame: &Frame<'_>) -> bool {
    frame.of == Of::Answer && frame.object && frame.key == "text"
}

fn is_content(frame: &Frame<'_>) -> bool {
    if frame.definitions {
        return frame.free || frame.describes;
    }
    // What a model thought is signed: changed, its provider does not take it back.
    frame.free || (is_content_of(frame) && (frame.of == Of::Answer || frame.all || frame.key != "thinking"))
}

/// What is to be read of a text where media stand, and how it stands there; `None` where it is media.
fn medium(text: Cow<'_, str>, told: Told) -> Result<Option<(Cow<'_, str>, Form)>, Unreadable> {
    let (start, is_text) = match address(&text) {
        Some((start, is_text)) => (start, is_text),
        None => (0, told.holds_text()),
    };
    if is_text && let Some(bytes) = from_base64(&text[start..]) {
        let read = String::from_utf8(bytes).map_err(|_| Unreadable::Encoding)?;
        return Ok(Some((Cow::Owned(read), Form::Base64(start))));
    }
    let base64 = text[start..].bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='));
    let media = base64 && !is_text && !told.source && (start > 0 || text.len() >= 32);
    Ok((!media).then_some((text, Form::Text)))
}

fn origin_of(key: &str, value: &str) -> Option<Origin> {
    match (key, value) {
        ("role", "system" | "developer") => Some(Origin::Application),
        ("role", "assistant" | "model") => Some(Origin::Model),
        ("role", "tool" | "function") => Some(Origin::Tool),
        ("type", "function_call" | "custom_tool_call" | "tool_use") => Some(Origin::Model),
        ("type", kind) if kind.ends_with("tool_result") || kind.ends_with("call_output") => Some(Origin::Tool),
        _ => None,
    }
}

/// All texts that are to be looked at, those inside of nested JSON as well.
pub(super) fn flattened<'t>(texts: &'t [Text<'_>]) -> Result<Vec<Text<'t>>, Unreadable> {
    let mut all = Vec::with_capacity(texts.len());
    let mut left = Left::all();
    for text in texts {
        match text.form {
            Form::Nested => {
                let (inner, _) = walk(&text.text, Of::Json, &mut left)?;
                all.extend(inner.into_iter().map(|inner| Text { origin: text.origin, ..inner }));
            }
            _ => {
                left.take(1, text.text.len())?;
                all.push(Text { text: Cow::Borrowed(&text.text), ..text.clone_head() });
            }
        }
    }
    Ok(all)
}

impl Text<'_> {
    /// All but the text itself.
    fn clone_head<'o>(&self) -> Text<'o> {
        let Self { origin, range, form, part, .. } = self;
        Text { text: Cow::Borrowed(""), origin: *origin, range: range.clone(), form: *form, part: *part }
    }
}

/// The body with other texts; `change` gives the new one of a text that is to be another.
pub(super) fn rewritten(
    body: &[u8],
    texts: &[Text<'_>],
    change: &mut dyn FnMut(&Text<'_>) -> Option<String>,
) -> Option<Vec<u8>> {
    let edits = edits(body, texts, change);
    (!edits.is_empty()).then(|| edited(body, &edits))
}

/// What is to stand in a body, and where, so that its texts are others: JSON, in the order of the texts.
pub(super) fn edits(
    body: &[u8],
    texts: &[Text<'_>],
    change: &mut dyn FnMut(&Text<'_>) -> Option<String>,
) -> Vec<(Range<usize>, String)> {
    let (mut edits, mut names) = (Vec::new(), Names::default());
    for text in texts {
        let new = match text.form {
            Form::Name(object) => change(text).map(|new| names.apart(texts, object, new)),
            Form::Nested => {
                // It was walked over before.
                let (inner, _) = walk(&text.text, Of::Json, &mut Left::all()).unwrap_or_default();
                let mut change = |inner: &Text<'_>| {
                    let head = inner.clone_head();
                    change(&Text { text: Cow::Borrowed(&inner.text), origin: text.origin, part: text.part, ..head })
                };
                rewritten(text.text.as_bytes(), &inner, &mut change).and_then(|new| String::from_utf8(new).ok())
            }
            Form::Text | Form::Number => change(text),
            Form::Base64(start) => change(text).map(|new| {
                let whole = std::str::from_utf8(&body[text.range.start + 1..text.range.end - 1]).unwrap_or_default();
                let address = decoded(whole).get(..start).unwrap_or_default().to_owned();
                address + &STANDARD.encode(new)
            }),
        };
        if let Some(new) = new {
            edits.push((text.range.clone(), serde_json::Value::String(new).to_string()));
        }
    }
    edits
}

/// The body with something else at each of these places, which follow each other.
pub(super) fn edited(body: &[u8], edits: &[(Range<usize>, String)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 64);
    let mut copied = 0;
    for (range, new) in edits {
        out.extend_from_slice(&body[copied..range.start]);
        out.extend_from_slice(new.as_bytes());
        copied = range.end;
    }
    out.extend_from_slice(&body[copied..]);
    out
}
