//! Batches: many calls that a provider works off within a day, at lower prices.
//!
//! In OpenAI's form the calls are the lines of a file that is uploaded first ([`form`] reads the upload as it passes), in
//! Anthropic's and in Google's ([`gemini`]) they stand in the call that makes the batch. [`call`] reads each of them, and writes the provider's name of
//! the model into it; [`answers`] reads what became of them; [`object`] is what callers are told of files and batches.

pub mod answers;
pub mod call;
pub mod form;
pub mod gemini;
pub mod object;

use crate::{openai::responses::Each, provider::Dialect, task::Task};
use serde::de::Deserializer;
use serde_json::value::RawValue;
use std::ops::Range;

/// Bytes of one call, or of what became of it, at the most.
pub const MOST_LINE: usize = 8 << 20;
/// Calls in a batch at the most: as many as OpenAI takes.
pub const MOST_CALLS: u64 = 50_000;

/// What all calls of a batch ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// OpenAI's Chat Completions.
    Chat,
    /// OpenAI's Responses.
    Responses,
    /// Embeddings.
    Embeddings,
    /// Anthropic's Messages.
    Messages,
    /// Google's `generateContent`.
    Generate,
}

impl Asks {
    /// Everything that batches ask.
    pub const ALL: [Self; 5] = [Self::Chat, Self::Responses, Self::Embeddings, Self::Messages, Self::Generate];

    /// As calls name it.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::Embeddings => "/v1/embeddings",
            Self::Messages => "/v1/messages",
            Self::Generate => "/v1beta/models:generateContent",
        }
    }

    /// What a path names.
    pub fn of_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|asks| asks.path() == path)
    }

    /// What is asked of the model.
    pub const fn task(self) -> Task {
        match self {
            Self::Chat | Self::Responses | Self::Messages | Self::Generate => Task::Chat,
            Self::Embeddings => Task::Embeddings,
        }
    }

    /// The dialect of the calls.
    pub const fn speaks(self) -> Dialect {
        match self {
            Self::Chat | Self::Embeddings => Dialect::OpenAi,
            Self::Responses => Dialect::Responses,
            Self::Messages => Dialect::Anthropic,
            Self::Generate => Dialect::Gemini,
        }
    }
}

/// The value at a path of field names; of fields that stand twice the last one.
fn find<'j>(json: &'j str, path: &[&str]) -> Option<&'j RawValue> {
    let (first, rest) = path.split_first()?;
    let mut found = None;
    let each = Each(|name: &str, value: &'j RawValue| {
        if name == *first {
            found = Some(value);
        }
    });
    serde_json::Deserializer::from_str(json).deserialize_map(each).ok()?;
    let found: &'j RawValue = found?;
    if rest.is_empty() { Some(found) } else { find(found.get(), rest) }
}

/// Where `part`, borrowed from `whole`, lies in it.
fn place(whole: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}

/// With a text in place of what stands there.
fn spliced(whole: &str, at: Range<usize>, text: &str) -> String {
    [&whole[..at.start], text, &whole[at.end..]].concat()
}

/// With a JSON string in place of the value at a path; `None` where there is none, or it is null.
fn with_text(json: &str, path: &[&str], text: &str) -> Option<String> {
    let found = find(json, path).filter(|value| value.get() != "null")?;
    let quoted = serde_json::to_string(text).ok()?;
    Some(spliced(json, place(json, found.get()), &quoted))
}
