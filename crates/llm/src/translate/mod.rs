//! From one dialect into another: a caller speaks one, the provider of its model another.
//!
//! Each dialect is a folder that reads and writes calls, answers and streams; between the two stand forms that belong
//! to none, [`call`] and [`answer`]. So a further dialect is a folder more, not one for each pair.
//!
//! What has a counterpart is carried over, what has none is refused or left out by the rules of
//! `docs/guides/models.md`, and fields that the caller's dialect does not know pass as they are. Parts that are JSON by
//! themselves (schemas, a tool's input and arguments) keep their bytes and so the order of their members. A stream
//! is translated event by event; nothing of it is kept but the event that is not yet complete.
//!
//! Dialects here: Chat Completions, Responses, Messages and Gemini, and Converse and the predictions of Replicate, which
//! providers speak and no caller does.
//! A call whose dialects are the same needs nothing of this.

mod answer;
mod bedrock;
mod call;
mod chat;
mod cite;
pub mod count;
mod foreign;
mod gemini;
mod ids;
mod logprobs;
mod messages;
mod read;
mod replicate;
mod responses;
mod schema;
mod signature;
mod stream;
pub mod task;
mod write;

use call::{Asked, Call, Choice, TakesBack};
pub use foreign::without_foreign;
use gemini::schema::Schemas;
pub use stream::{StreamFailure, Translator};

use crate::{
    gemini::request::Frames,
    provider::{CallIds, Counting, Dialect, LimitField, Thoughts},
};
use credentialflow_model::Timestamp;
use std::fmt;

/// The provider that a call is for.
#[derive(Clone, Copy, Debug)]
pub struct To<'a> {
    /// What it speaks.
    pub dialect: Dialect,
    /// Its name for the model.
    pub model: &'a str,
    /// Its field for the limit of an answer, in Chat Completions.
    pub limit: LimitField,
    /// Whether it must be asked to report usage in streams.
    pub ask_usage: bool,
    /// As many tokens its model can write in one answer, where that is known.
    pub longest: Option<u64>,
    /// How it wants to be sent back what its models thought before they called tools, in Chat Completions.
    pub keeps_thinking: Option<Thoughts>,
    /// Which ids of tools' calls it takes.
    pub call_ids: CallIds,
    /// Whether it is Vertex AI.
    pub at_vertex: bool,
    /// What tells it from others: another model, or the same in another account.
    pub place: u64,
}

impl<'a> To<'a> {
    /// A model of a provider of which no more is known.
    pub const fn new(dialect: Dialect, model: &'a str) -> Self {
        let (limit, call_ids) = (LimitField::MaxTokens, CallIds::Usual);
        let (keeps_thinking, at_vertex, place) = (None, false, 0);
        Self { dialect, model, limit, ask_usage: false, longest: None, keeps_thinking, call_ids, at_vertex, place }
    }
}

/// The body for a provider, and what translates its answer. `body` is one that [`ChatCall`](crate::ChatCall) has read,
/// `from` is what its caller speaks; `created` is what the answer will say of when it was made. A call in Gemini's
/// dialect is one for a whole answer: what its path says is told to [`gemini_request`].
///
/// # Errors
/// [`Untranslatable`] when the call cannot be said in the provider's dialect.
pub fn request(
    body: &[u8],
    from: Dialect,
    to: &To<'_>,
    created: Timestamp,
) -> Result<(Vec<u8>, Translation), Untranslatable> {
    said(body, from, None, to, created)
}

/// [`request`] for a caller who speaks Gemini; `stream` is how the answer is to be streamed, where it is.
///
/// # Errors
/// [`Untranslatable`] when the call cannot be said in the provider's dialect.
pub fn gemini_request(
    body: &[u8],
    stream: Option<Frames>,
    to: &To<'_>,
    created: Timestamp,
) -> Result<(Vec<u8>, Translation), Untranslatable> {
    said(body, Dialect::Gemini, stream, to, created)
}

fn said(
    body: &[u8],
    from: Dialect,
    frames: Option<Frames>,
    to: &To<'_>,
    created: Timestamp,
) -> Result<(Vec<u8>, Translation), Untranslatable> {
    let untranslatable = |why| Untranslatable { why, from, to: to.dialect };
    let caller = Caller::of(from).ok_or_else(|| untranslatable(Why::Form("the dialect".to_owned())))?;
    let schemas = Schemas::of(from, body).map_err(untranslatable)?;
    let mut call = caller.call(body, &schemas, frames.is_some(), false).map_err(untranslatable)?;
    if let (Some(Asked { by, .. }), Some(Frames::Array)) = (call.answers, frames) {
        return Err(untranslatable(Why::NoCounterpart(format!("`{by}` in a stream that is one array"))));
    }
    let mut out = Vec::with_capacity(body.len() + 256);
    write_call(&mut call, to, &mut out).map_err(untranslatable)?;
    let frames = frames.unwrap_or(Frames::Events);
    let echo = call.echo.iter().map(|(name, raw)| (*name, raw.get().into())).collect();
    let frame = responses::Frame { created, echo };
    let named = match to.dialect {
        Dialect::Bedrock => Named::of("bedrock", body, to.model, created),
        Dialect::Replicate => Named::of("replicate", body, to.model, created),
        _ => Named::default(),
    };
    let include_usage = call.include_usage;
    let (answers, many) = (Answers::Conversation, call.answers.map_or(1, |asked| asked.many));
    let (from, place) = (to.dialect, to.place);
    Ok((out, Translation { from, place, to: caller, frame, include_usage, frames, named, answers, many }))
}

/// Writes a call for a provider.
fn write_call(call: &mut Call<'_>, to: &To<'_>, out: &mut Vec<u8>) -> Result<(), Why> {
    if call.images.is_some() && !matches!(to.dialect, Dialect::OpenAi | Dialect::Gemini) {
        return Err(Why::NoCounterpart("an image as an answer".to_owned()));
    }
    if call.turns.have_sound() && !matches!(to.dialect, Dialect::OpenAi | Dialect::Gemini) {
        return Err(Why::NoCounterpart("sound in a message".to_owned()));
    }
    let can = |dialects: &[Dialect], asked: Option<Asked>| match asked {
        Some(Asked { by, .. }) if !dialects.contains(&to.dialect) => Err(Why::NoCounterpart(format!("`{by}`"))),
        _ => Ok(()),
    };
    can(&[Dialect::OpenAi, Dialect::Responses, Dialect::Gemini], call.logprobs)?;
    can(&[Dialect::OpenAi, Dialect::Gemini], call.answers)?;
    if !(to.dialect == Dialect::Bedrock && crate::bedrock::maker(to.model) == Some("anthropic")) {
        call.turns.without_citations();
    }
    call.turns.keep_thinking(takes_back(to));
    if matches!(to.dialect, Dialect::Anthropic | Dialect::Bedrock) {
        call.without_blank_texts();
    }
    // Where there are no tools there is nothing to choose, and providers refuse that it is said.
    if call.tools.is_empty() && matches!(call.choice, Some(Choice::Auto | Choice::Never)) {
        call.choice = None;
    }
    ids::fit(&mut call.turns, to.dialect, to.call_ids);
    match to.dialect {
        Dialect::OpenAi => chat::write_call::call(call, to, out),
        Dialect::Anthropic => messages::write_call::call(call, to, out),
        Dialect::Responses => responses::write_call::call(call, to.model, out),
        Dialect::Gemini => gemini::write_call::call(call, to, out),
        Dialect::Bedrock => bedrock::write_call::call(call, to.model, out),
        Dialect::Replicate => replicate::write_call::call(call, to.model, out),
    }
}

/// Which thinking a provider takes back.
fn takes_back(to: &To<'_>) -> TakesBack {
    match (to.dialect, to.keeps_thinking) {
        (Dialect::Anthropic, _) => TakesBack::Anthropic,
        (Dialect::Bedrock, _) if crate::bedrock::maker(to.model) == Some("anthropic") => TakesBack::Anthropic,
        (Dialect::Gemini, _) | (Dialect::OpenAi, Some(Thoughts::ExtraContent)) => TakesBack::Google,
        (Dialect::Responses, _) => TakesBack::OpenAi(to.place),
        (Dialect::OpenAi, Some(Thoughts::Text)) => TakesBack::Text,
        (Dialect::OpenAi, Some(Thoughts::Details)) => match to.model.split_once('/') {
            Some(("anthropic", _)) => TakesBack::Anthropic,
            Some(("google", _)) => TakesBack::Google,
            _ => TakesBack::Nothing,
        },
        // A server in front of one of Anthropic's models.
        (Dialect::OpenAi, None) if to.model.contains("claude") => TakesBack::Anthropic,
        _ => TakesBack::Nothing,
    }
}

/// What callers speak: one of the dialects that are read here as calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    Chat,
    Messages,
    Responses,
    Gemini,
}

impl Caller {
    const fn of(dialect: Dialect) -> Option<Self> {
        Some(match dialect {
            Dialect::OpenAi => Self::Chat,
            Dialect::Anthropic => Self::Messages,
            Dialect::Responses => Self::Responses,
            Dialect::Gemini => Self::Gemini,
            Dialect::Bedrock | Dialect::Replicate => return None,
        })
    }

    /// Reads a call that is made, or with `counts` one of which only the tokens are to be counted.
    fn call<'a>(self, body: &'a [u8], schemas: &'a Schemas, stream: bool, counts: bool) -> Result<Call<'a>, Why> {
        let mut call = match self {
            Self::Chat => chat::read_call::call(body),
            Self::Messages => messages::read_call::call(body, counts),
            Self::Responses => responses::read_call::call(body),
            Self::Gemini => gemini::read_call::call(body, schemas, stream),
        }?;
        call.counts = counts;
        Ok(call)
    }
}

/// What an answer and its model are called, where the provider does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Named {
    id: Box<str>,
    model: Box<str>,
}

impl Named {
    /// The id is made of the time of the call and a checksum of what it says.
    fn of(who: &str, body: &[u8], model: &str, created: Timestamp) -> Self {
        let id = format!("{who}-{:x}{:08x}", created.micros(), crc32fast::hash(body));
        Self { id: id.into(), model: model.into() }
    }
}

/// How to translate the answer of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    /// What the provider speaks.
    from: Dialect,
    /// What tells the target from others.
    place: u64,
    /// What the caller speaks.
    to: Caller,
    frame: responses::Frame,
    include_usage: bool,
    /// How a stream comes to a caller who speaks Gemini.
    frames: Frames,
    named: Named,
    answers: Answers,
    /// So many answers were asked for.
    many: u64,
}

/// What the answer of a call is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answers {
    /// What a model says.
    Conversation,
    /// What is no conversation.
    Task(task::TaskAnswers),
    /// How many tokens the call has, counted so.
    Count(Counting),
}

impl Translation {
    /// A whole answer. `None` when it is no answer, or holds what the caller's dialect has no place for
    /// ([`Self::without_place`]).
    pub fn whole(&self, body: &[u8]) -> Option<Vec<u8>> {
        match &self.answers {
            Answers::Conversation => {}
            Answers::Task(task) => return task.whole(body),
            Answers::Count(by) => return count::answer(*by, self.to, body),
        }
        let answer = self.read(body).filter(|answer| self.has_place(answer))?;
        Some(match self.to {
            Caller::Chat => chat::write_answer::answer(&answer, self.frame.created),
            Caller::Messages => messages::write_answer::answer(&answer),
            Caller::Responses => responses::write_answer::answer(&answer, &self.frame),
            Caller::Gemini => gemini::write_answer::answer(&answer),
        })
    }

    /// What an answer holds that the caller's dialect has no place for, in words.
    pub fn without_place(&self, body: &[u8]) -> Option<&'static str> {
        if self.answers != Answers::Conversation {
            return None;
        }
        self.read(body).filter(|answer| !self.has_place(answer)).map(|_| answer::Failure::NO_PLACE)
    }

    fn read<'b>(&'b self, body: &'b [u8]) -> Option<answer::Answer<'b>> {
        let answer = match self.from {
            Dialect::OpenAi => chat::read_answer::answer(body),
            Dialect::Anthropic => messages::read_answer::answer(body),
            Dialect::Responses => responses::read_answer::answer(body, self.place),
            Dialect::Gemini => gemini::read_answer::answer(body),
            Dialect::Bedrock => bedrock::read_answer::answer(body, &self.named.id, &self.named.model),
            Dialect::Replicate => replicate::read_answer::answer(body, &self.named.model),
        };
        answer.filter(answer::Answer::is_named)
    }

    /// Whether all of an answer has a place in the caller's dialect.
    fn has_place(&self, answer: &answer::Answer<'_>) -> bool {
        self.to != Caller::Messages || !answer.pieces.iter().any(|piece| matches!(piece, answer::Piece::Image { .. }))
    }

    /// An error of the provider's, whatever it sent.
    pub fn error(&self, status: u16, body: &[u8]) -> Vec<u8> {
        self.named_error(status, None, body)
    }

    /// An error that its head names too, as Bedrock does ([`crate::bedrock::ERROR_HEADER`]).
    pub fn named_error(&self, status: u16, name: Option<&str>, body: &[u8]) -> Vec<u8> {
        restated((self.from, self.to), status, name, body)
    }

    /// Whether a streamed answer comes to the caller as events; else as one JSON array.
    pub fn streams_events(&self) -> bool {
        self.to != Caller::Gemini || self.frames == Frames::Events
    }

    /// Whether the call has a model say something; else it is one of another kind.
    pub fn is_conversation(&self) -> bool {
        self.answers == Answers::Conversation
    }

    /// A streamed answer.
    pub fn stream(self) -> Translator {
        Translator::new(self)
    }
}

/// An error of a provider's, whatever it sent, as its own dialect has it; `None` where no caller speaks that.
pub fn error(dialect: Dialect, status: u16, body: &[u8]) -> Option<Vec<u8>> {
    Some(restated((dialect, Caller::of(dialect)?), status, None, body))
}

fn restated((from, to): (Dialect, Caller), status: u16, name: Option<&str>, body: &[u8]) -> Vec<u8> {
    let failure = match from {
        // Both have the same form.
        Dialect::OpenAi | Dialect::Responses => chat::read_answer::error(body),
        Dialect::Anthropic => messages::read_answer::error(body),
        Dialect::Gemini => gemini::read_answer::error(body),
        Dialect::Bedrock => bedrock::read_answer::error(name, body),
        Dialect::Replicate => replicate::read_answer::error(body),
    };
    let mut out = Vec::with_capacity(256);
    match to {
        Caller::Chat | Caller::Responses => chat::write_answer::error(&mut out, status, &failure),
        Caller::Messages => messages::write_answer::error(&mut out, status, &failure),
        Caller::Gemini => gemini::write_answer::error(&mut out, status, &failure),
    }
    out
}

/// Why a call cannot be said in the provider's dialect. The text is safe to show: it holds nothing of the call but
/// places in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untranslatable {
    /// The problem.
    pub why: Why,
    /// What the caller speaks.
    from: Dialect,
    /// What the provider speaks.
    to: Dialect,
}

/// A problem of a call with another dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Something is not what the caller's dialect describes.
    Form(String),
    /// There is no counterpart.
    NoCounterpart(String),
    /// A field that decides about the call stands more than once.
    Duplicate,
    /// More of something than is translated.
    TooMany(&'static str),
}

impl fmt::Display for Untranslatable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let api = |dialect| match dialect {
            Dialect::OpenAi => "Chat Completions API",
            Dialect::Anthropic => "Messages API",
            Dialect::Responses => "Responses API",
            Dialect::Gemini => "Gemini API",
            Dialect::Bedrock => "Converse API",
            Dialect::Replicate => "Predictions API",
        };
        match &self.why {
            Why::Form(place) => write!(f, "{place} is not what the {} describes", api(self.from)),
            Why::NoCounterpart(place) => {
                write!(f, "{place} has no counterpart in the {}, which this model's provider speaks", api(self.to))
            }
            Why::Duplicate => f.write_str("a field of the call stands more than once"),
            Why::TooMany(what) => write!(f, "the call has too many {what}"),
        }
    }
}

impl std::error::Error for Untranslatable {}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_bedrock;
#[cfg(test)]
mod tests_carried;
#[cfg(test)]
mod tests_chats;
#[cfg(test)]
mod tests_cite;
#[cfg(test)]
mod tests_claude;
#[cfg(test)]
mod tests_count;
#[cfg(test)]
mod tests_gemini;
#[cfg(test)]
mod tests_refused;
#[cfg(test)]
mod tests_replicate;
#[cfg(test)]
mod tests_responses;
#[cfg(test)]
mod tests_schemas;
#[cfg(test)]
mod tests_several;
#[cfg(test)]
mod tests_signatures;
#[cfg(test)]
mod tests_thinking;
#[cfg(test)]
mod tests_to_chat;
