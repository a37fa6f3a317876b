//! What the maker of a provider's model signed of a turn, as the provider wants it back in a message.

use super::{
    super::{
        To,
        call::{Block, Turn},
        gemini::{NO_SIGNATURE, wants_signatures},
        signature::Signer,
        write::{Object, array},
    },
    signed::{ENCRYPTED, OF_ANTHROPIC, OF_GOOGLE, SHOWN},
    write_answer::{Thought, extra_content, thought},
};
use crate::provider::Thoughts;
use std::borrow::Cow;

/// What stands for thinking that is not at hand: DeepSeek wants the field, Kimi something in it
/// (<https://github.com/earendil-works/pi/issues/4251>).
const NO_THINKING: &str = " ";

/// How Google signed a turn.
pub(super) struct Signed<'b> {
    /// Its words.
    words: Option<&'b str>,
    /// Its calls of tools, by their ids.
    calls: Vec<(&'b str, Option<&'b str>)>,
}

impl<'b> Signed<'b> {
    pub fn of(turn: &'b Turn<'_>, to: &To<'_>) -> Self {
        let (mut signed, mut next) = (Self { words: None, calls: Vec::new() }, None);
        for block in &turn.content {
            match block {
                Block::Thinking { signature: Some((Signer::GoogleCall, told)), .. } => next = Some(&**told),
                Block::Thinking { signature: Some((Signer::Google, told)), .. } => signed.words = Some(&**told),
                Block::ToolUse { id, .. } => signed.calls.push((&**id, next.take())),
                _ => {}
            }
        }
        // Of calls that are made at the same time the first alone is signed.
        if let Some((_, first @ None)) = signed.calls.first_mut()
            && to.keeps_thinking == Some(Thoughts::ExtraContent)
            && wants_signatures(to.model)
        {
            *first = Some(NO_SIGNATURE);
        }
        match to.keeps_thinking {
            Some(Thoughts::ExtraContent | Thoughts::Details) => signed,
            _ => Self { words: None, calls: Vec::new() },
        }
    }

    /// That of the call of this number, for whoever reads it there.
    pub fn of_call(&self, number: usize, to: &To<'_>) -> Option<&'b str> {
        let read = to.keeps_thinking == Some(Thoughts::ExtraContent);
        self.calls.get(number).and_then(|(_, signature)| *signature).filter(|_| read)
    }

    /// Writes what stands beside what a message says and calls.
    pub fn beside(&self, turn: &Turn<'_>, to: &To<'_>, message: &mut Object<'_>) {
        let thoughts = turn.content.iter().filter_map(|block| match block {
            Block::Thinking { text, signature: Some((Signer::Anthropic, told)) } => {
                Some(Thought::Signed((**text).to_owned(), Cow::Borrowed(&**told)))
            }
            Block::Redacted(data) => Some(Thought::Redacted(data)),
            _ => None,
        });
        let thoughts: Vec<Thought<'_>> = thoughts.collect();
        match to.keeps_thinking {
            Some(Thoughts::Text) => text(turn, message),
            Some(Thoughts::ExtraContent) => {
                if let Some(signature) = self.words {
                    extra_content(message.member("extra_content"), signature);
                }
            }
            Some(Thoughts::Details) => self.details(&thoughts, message),
            None if thoughts.is_empty() => {}
            None => message.array("thinking_blocks", &thoughts, |out, one| thought(out, None, one)),
        }
    }

    /// As OpenRouter has it.
    fn details(&self, thoughts: &[Thought<'_>], message: &mut Object<'_>) {
        let calls = self.calls.iter().filter_map(|(id, signature)| Some((Some(*id), (*signature)?)));
        let google: Vec<(Option<&str>, &str)> =
            self.words.map(|words| (None, words)).into_iter().chain(calls).collect();
        if thoughts.is_empty() && google.is_empty() {
            return;
        }
        let told =
            thoughts.iter().map(Detail::Thought).chain(google.iter().map(|(id, data)| Detail::Google(*id, data)));
        array(message.member("reasoning_details"), told.enumerate(), |out, (index, detail)| {
            let mut to = Object::new(out);
            let (kind, format) = match detail {
                Detail::Thought(Thought::Signed(..)) => (SHOWN, OF_ANTHROPIC),
                Detail::Thought(Thought::Redacted(_)) => (ENCRYPTED, OF_ANTHROPIC),
                Detail::Google(..) => (ENCRYPTED, OF_GOOGLE),
            };
            to.text("type", kind);
            match detail {
                Detail::Thought(Thought::Signed(text, signature)) => {
                    to.text("text", text);
                    to.text("signature", signature);
                }
                Detail::Thought(Thought::Redacted(data)) => to.text("data", data),
                Detail::Google(id, data) => {
                    to.text("data", data);
                    if let Some(id) = id {
                        to.text("id", id);
                    }
                }
            }
            to.text("format", format);
            to.number("index", index as u64);
            to.end();
        });
    }
}

/// One of `reasoning_details`.
enum Detail<'b> {
    Thought(&'b Thought<'b>),
    /// A signature, and the call of a tool that it is of.
    Google(Option<&'b str>, &'b str),
}

/// What was thought, in plain text, for providers that refuse a turn in which tools were called without.
fn text(turn: &Turn<'_>, message: &mut Object<'_>) {
    if !turn.content.iter().any(|block| matches!(block, Block::ToolUse { .. })) {
        return;
    }
    let thoughts = turn.content.iter().filter_map(|block| match block {
        Block::Thinking { text, .. } => Some(&**text),
        _ => None,
    });
    let thought = thoughts.collect::<Vec<_>>().join("\n\n");
    message.text("reasoning_content", if thought.is_empty() { NO_THINKING } else { &thought });
}
