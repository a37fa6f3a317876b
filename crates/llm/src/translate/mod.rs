//! From one dialect into another: Chat Completions in front of a provider that speaks Anthropic's Messages.
//!
//! What has a counterpart is carried over, what has none is refused or left out by the rules of
//! `docs/guides/models.md`, and fields that Chat Completions does not know pass as they are. Parts that are JSON by
//! themselves (schemas, a tool's input and arguments) keep their bytes and so the order of their members. A stream
//! is translated event by event; nothing of it is kept but the event that is not yet complete.
//!
//! The other direction is not here, nor is any other dialect.

mod chat_answer;
mod chat_request;
mod content;
mod read;

pub use chat_answer::{ChatAnswer, ChatStream, StreamFailure};
pub use chat_request::request;

/// Why a call cannot be said in the provider's dialect. The texts are safe to show: they hold nothing of the call but
/// places in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untranslatable {
    /// Not what the Chat Completions API describes.
    #[error("{0} is not what the Chat Completions API describes")]
    Form(String),
    /// There is no counterpart.
    #[error("{0} has no counterpart in the Messages API, which this model's provider speaks")]
    NoCounterpart(String),
    /// A field that decides about the call stands more than once.
    #[error("a field of the call stands more than once")]
    Duplicate,
    /// More of something than is translated.
    #[error("the call has too many {0}")]
    TooMany(&'static str),
}

#[cfg(test)]
mod tests;
