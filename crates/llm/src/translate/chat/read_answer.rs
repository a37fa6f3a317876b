//! A chat completion as an answer: whole, or an error.
//!
//! Providers put thinking into `reasoning_content`, into `reasoning` or into a part of the content, and how it is signed
//! [beside that](super::signed). Sound is left out.

use super::super::{
    answer::{Answer, Failure, MAX_BLOCKS, Other, Piece, Sound, Stop},
    call::Source,
    logprobs,
    read::{Text, list, present},
    signature::Signer,
};
use super::{
    cite::{Sources, citations},
    read_turns::{google_signature, source},
    signed::{Signed, Thought},
};
use crate::openai::{request::Skip, usage};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

#[derive(Deserialize)]
struct Completion<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    choices: &'a RawValue,
    /// What Perplexity and others found, to which marks in the text refer.
    #[serde(borrow, default)]
    citations: Option<&'a RawValue>,
    #[serde(borrow, default)]
    search_results: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Choice<'a> {
    #[serde(default)]
    index: Option<u64>,
    /// Of a whole answer.
    #[serde(borrow, default)]
    message: Option<Message<'a>>,
    /// Of a stream.
    #[serde(borrow, default)]
    pub delta: Option<Message<'a>>,
    #[serde(borrow, default)]
    pub finish_reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub logprobs: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<&'a RawValue>,
    /// Where OpenRouter and others put images.
    #[serde(borrow, default)]
    images: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub annotations: Option<&'a RawValue>,
    #[serde(borrow, default)]
    thinking_blocks: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning_details: Option<&'a RawValue>,
    #[serde(borrow, default)]
    extra_content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub tool_calls: Option<&'a RawValue>,
}

impl<'a> Message<'a> {
    /// How what it says is signed.
    pub fn signed(&self) -> Signed<'a> {
        Signed::of(self.thinking_blocks, self.reasoning_details, self.extra_content)
    }
}

#[derive(Deserialize)]
struct Image<'a> {
    #[serde(borrow)]
    image_url: ImageUrl<'a>,
}

#[derive(Deserialize)]
struct ImageUrl<'a> {
    #[serde(borrow)]
    url: Text<'a>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    thinking: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct ToolCall<'a> {
    #[serde(default)]
    pub index: Option<u64>,
    #[serde(borrow, default)]
    pub id: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub function: Option<Function<'a>>,
    #[serde(borrow, default)]
    extra_content: Option<&'a RawValue>,
}

impl<'a> ToolCall<'a> {
    /// How a model of Google's signed it.
    pub fn signature(&self) -> Option<Text<'a>> {
        google_signature(self.extra_content)
    }
}

#[derive(Default, Deserialize)]
pub(super) struct Function<'a> {
    #[serde(borrow, default)]
    pub name: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub arguments: Option<Text<'a>>,
}

/// A whole answer. `None` when it is not a chat completion.
pub(in crate::translate) fn answer(body: &[u8]) -> Option<Answer<'_>> {
    let completion: Completion<'_> = serde_json::from_slice(body).ok()?;
    let choices: Vec<Choice<'_>> = list(completion.choices, "", MAX_BLOCKS, "").ok()?;
    let id = completion.id.unwrap_or_default();
    let found = (completion.citations, completion.search_results);
    let (mut first, mut others) = (None, Vec::new());
    for choice in choices {
        match choice.index.unwrap_or(0) {
            0 if first.is_some() => {}
            0 => first = Some(said(choice, 0, &id, found)?),
            index => others.push(said(choice, index, &id, found)?),
        }
    }
    let Other { pieces, stop, logprobs, citations, .. } = first?;
    let (model, used) = (completion.model.unwrap_or_default(), usage::of(body));
    let (usage, sound) = (used.and_then(|used| used.tokens), Sound::of(used.as_ref()));
    Some(Answer { id, model, pieces, stop, logprobs, citations, usage, sound, others })
}

/// What one choice says, of an answer of this id; `found` is what marks in the text refer to.
fn said<'a>(choice: Choice<'a>, index: u64, answer: &str, found: Sources<'a>) -> Option<Other<'a>> {
    let message = choice.message?;
    let mut pieces = Vec::new();
    let refused = texts(&message, &mut |piece| pieces.push(piece))?;
    let calls: Vec<ToolCall<'_>> = match present(message.tool_calls) {
        Some(raw) => list(raw, "", MAX_BLOCKS, "").ok()?,
        None => Vec::new(),
    };
    let called = !calls.is_empty();
    let mut signed = message.signed();
    if signed.has_thoughts() || !pieces.iter().any(|piece| matches!(piece, Piece::Thinking(_))) {
        think(&mut pieces, std::mem::take(&mut signed.thoughts));
    }
    let of_words = pieces.len();
    for (i, call) in calls.into_iter().enumerate() {
        let signature = call.signature().or_else(|| signed.of_call(call.id.as_deref().unwrap_or_default()));
        pieces.extend(signature.map(|signature| Piece::Signed(Signer::GoogleCall, signature)));
        let function = call.function?;
        let made = || nameless(answer, index, i as u64).into();
        let id = call.id.filter(|id| !id.is_empty()).map_or_else(made, |id| id.0);
        pieces.push(Piece::Call { id, name: function.name?, input: input(function.arguments)? });
    }
    // What is signed and is no call is what was said.
    if let Some(words) = signed.words.or_else(|| signed.calls.pop().map(|(_, signature)| signature)) {
        pieces.insert(of_words, Piece::Signed(Signer::Google, words));
    }
    let stop = stop(choice.finish_reason.as_deref(), called, refused)?;
    let citations = citations(message.annotations, found, &pieces);
    Some(Other { index, pieces, stop, logprobs: logprobs::of_choice(choice.logprobs), citations })
}

/// Puts thinking with its signatures before what is said, in place of the same without them.
fn think<'a>(pieces: &mut Vec<Piece<'a>>, thoughts: Vec<Thought<'a>>) {
    let is_thinking = |piece: &Piece<'_>| matches!(piece, Piece::Thinking(_));
    if thoughts.iter().any(|thought| thought.text.is_some()) {
        pieces.retain(|piece| !is_thinking(piece));
    }
    let at = pieces.iter().take_while(|piece| is_thinking(piece)).count();
    let signed = thoughts.into_iter().flat_map(|Thought { text, signed }| [text.map(Piece::Thinking), signed]);
    pieces.splice(at..at, signed.flatten());
}

/// The choice of this number.
pub(super) fn of_index(choices: Vec<Choice<'_>>, index: u64) -> Option<Choice<'_>> {
    choices.into_iter().find(|choice| choice.index.unwrap_or(0) == index)
}

/// What a message says in words; whether it refuses.
pub(super) fn texts<'a>(message: &Message<'a>, say: &mut impl FnMut(Piece<'a>)) -> Option<bool> {
    let string = |raw: Option<&'a RawValue>| match present(raw) {
        Some(raw) => serde_json::from_str::<Text<'a>>(raw.get()).ok().map(Some),
        None => Some(None),
    };
    let some = |text: &Text<'_>| !text.is_empty();
    let thinking = match string(message.reasoning_content)?.filter(some) {
        None => string(message.reasoning).flatten().filter(some),
        thinking => thinking,
    };
    thinking.into_iter().for_each(|text| say(Piece::Thinking(text)));
    match present(message.content) {
        Some(raw) if raw.get().starts_with('[') => parts(raw, say)?,
        raw => string(raw)?.filter(some).into_iter().for_each(|text| say(Piece::Text(text))),
    }
    let refusal = string(message.refusal)?.filter(some);
    let refused = refusal.is_some();
    refusal.into_iter().for_each(|text| say(Piece::Text(text)));
    if let Some(raw) = present(message.images) {
        for image in list::<Image<'a>>(raw, "", MAX_BLOCKS, "").ok()? {
            match source(image.image_url.url)? {
                Source::Base64 { media_type, data } => say(Piece::Image { media_type, data }),
                // One that is elsewhere may be gone when it is looked for.
                Source::Url(_) => return None,
            }
        }
    }
    Some(refused)
}

/// A content in parts, of which some may be thinking in parts of its own.
fn parts<'a>(raw: &'a RawValue, say: &mut impl FnMut(Piece<'a>)) -> Option<()> {
    let mut room = MAX_BLOCKS;
    for part in some_parts(raw, &mut room)? {
        match (&*part.r#type, part.text, part.thinking) {
            ("text", Some(text), _) if !text.is_empty() => say(Piece::Text(text)),
            ("thinking", _, Some(raw)) => {
                let thought = some_parts(raw, &mut room)?.into_iter().filter_map(|part| part.text);
                thought.filter(|text| !text.is_empty()).for_each(|text| say(Piece::Thinking(text)));
            }
            _ => {}
        }
    }
    Some(())
}

/// The parts of a content for which there is still so much room in the answer.
fn some_parts<'a>(raw: &'a RawValue, room: &mut usize) -> Option<Vec<Part<'a>>> {
    let parts: Vec<Part<'a>> = list(raw, "", *room, "").ok()?;
    *room -= parts.len();
    Some(parts)
}

/// The arguments of a call: a text that holds a JSON object, which they become byte for byte.
pub(in crate::translate) fn input(arguments: Option<Text<'_>>) -> Option<Cow<'_, str>> {
    let arguments = match arguments.map_or(Cow::Borrowed(""), |text| text.0) {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    };
    if arguments.is_empty() {
        return Some("{}".into());
    }
    // Held to what a body is held to.
    (arguments.starts_with('{') && serde_json::from_str::<Skip>(&arguments).is_ok()).then_some(arguments)
}

/// The id of a call that has none: some providers send none, and nobody could answer the call without. Made of the
/// answer's, so that it is another in each turn, and of the number of the choice behind the first.
pub(in crate::translate) fn nameless(answer: &str, choice: u64, tool: u64) -> String {
    let kept = answer.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    let kept: String = kept.collect();
    match choice {
        0 => format!("call_{kept}_{tool}"),
        _ => format!("call_{kept}_{choice}_{tool}"),
    }
}

/// Why a model stopped. Some providers say `stop` although they call tools. `None` where it failed.
pub(super) fn stop(reason: Option<&str>, called: bool, refused: bool) -> Option<Stop> {
    Some(match reason {
        Some("length") => Stop::Limit,
        Some("content_filter") => Stop::Refusal,
        Some("error") => return None,
        _ if refused => Stop::Refusal,
        _ if called => Stop::Tools,
        _ => Stop::Done,
    })
}

#[derive(Deserialize)]
struct ErrorBody<'a> {
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    detail: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ErrorObject<'a> {
    #[serde(borrow, default)]
    r#type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    code: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
}

/// An error of the provider's, whatever it sent.
pub(in crate::translate) fn error(body: &[u8]) -> Failure<'_> {
    let Ok(ErrorBody { error, message, detail }) = serde_json::from_slice(body) else { return Failure::default() };
    if let Some(raw) = error {
        return failure(raw);
    }
    // Some providers tell it without an object of its own.
    Failure { message: string(message).or_else(|| string(detail)), ..Failure::default() }
}

/// The value of `error`: an object, or a text.
pub(in crate::translate) fn failure(raw: &RawValue) -> Failure<'_> {
    match serde_json::from_str::<ErrorObject<'_>>(raw.get()) {
        Ok(ErrorObject { r#type, code, message }) => {
            let status = code.and_then(|code| code.get().parse().ok());
            let code = string(code).filter(|code| !code.is_empty());
            let limited = code.as_deref() == Some("rate_limit_exceeded");
            let status = status.or_else(|| limited.then_some(429));
            Failure { kind: string(r#type), code, status, message: string(message) }
        }
        Err(_) => Failure { message: string(Some(raw)), ..Failure::default() },
    }
}

fn string(raw: Option<&RawValue>) -> Option<Text<'_>> {
    serde_json::from_str(raw?.get()).ok()
}
