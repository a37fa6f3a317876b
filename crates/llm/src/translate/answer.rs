//! A model's answer in no dialect: whole, as the pieces of a stream, or as an error.

use super::{cite::Citation, logprobs::Token, read::Text, signature::Signer};
use crate::task::usage::Used;
use credentialflow_model::usage::TokenUsage;
use std::borrow::Cow;

/// Events larger than this end a stream, as nothing can be said of what is in them.
pub(super) const MAX_EVENT: usize = 4 << 20;
/// More blocks than this are in no answer.
pub(super) const MAX_BLOCKS: usize = 10_000;
/// Ids and names of models are not longer than this. They stand in every chunk of a stream of Chat Completions.
pub(super) const MAX_NAME: usize = 256;

/// A whole answer.
pub(super) struct Answer<'a> {
    pub id: Text<'a>,
    pub model: Text<'a>,
    pub pieces: Vec<Piece<'a>>,
    pub stop: Stop,
    /// Of the tokens of its text, where that is told.
    pub logprobs: Vec<Token<'a>>,
    /// Where its words come from, in the order in which those begin.
    pub citations: Vec<Citation<'a>>,
    pub usage: Option<TokenUsage>,
    /// What of it is sound.
    pub sound: Sound,
    /// What else was answered, where more than one answer was asked for.
    pub others: Vec<Other<'a>>,
}

/// A further answer.
pub(super) struct Other<'a> {
    /// Its number, from 1.
    pub index: u64,
    pub pieces: Vec<Piece<'a>>,
    pub stop: Stop,
    pub logprobs: Vec<Token<'a>>,
    pub citations: Vec<Citation<'a>>,
}

impl<'a> Answer<'a> {
    /// One that tells no more than this.
    pub const fn new(
        id: Text<'a>,
        model: Text<'a>,
        pieces: Vec<Piece<'a>>,
        stop: Stop,
        usage: Option<TokenUsage>,
    ) -> Self {
        Self {
            id,
            model,
            pieces,
            stop,
            logprobs: Vec::new(),
            citations: Vec::new(),
            usage,
            sound: Sound { heard: 0, spoken: 0 },
            others: Vec::new(),
        }
    }

    /// Whether its id and its model can be names.
    pub fn is_named(&self) -> bool {
        are_names(&self.id, &self.model)
    }
}

pub(super) const fn are_names(id: &str, model: &str) -> bool {
    id.len() <= MAX_NAME && model.len() <= MAX_NAME
}

/// A part of a whole answer.
pub(super) enum Piece<'a> {
    Text(Text<'a>),
    Thinking(Text<'a>),
    /// How its maker signed what stands beside this.
    Signed(Signer, Text<'a>),
    /// Thinking that only a model of Anthropic's can read.
    Redacted(Text<'a>),
    /// An image, in base64.
    Image {
        media_type: Cow<'a, str>,
        data: Cow<'a, str>,
    },
    /// A tool is called; `input` is JSON, its bytes as they stood.
    Call {
        id: Cow<'a, str>,
        name: Text<'a>,
        input: Cow<'a, str>,
    },
}

/// What a stream says next.
pub(super) enum Said<'a> {
    Begin {
        id: &'a str,
        model: &'a str,
    },
    /// More text. Never empty.
    Text(&'a str),
    /// More thinking. Never empty.
    Thinking(&'a str),
    /// How its maker signed what stands beside this.
    Signed(Signer, &'a str),
    /// Thinking that only a model of Anthropic's can read.
    Redacted(&'a str),
    /// Log probabilities of the tokens of the text that is said next.
    Logprobs(&'a [Token<'a>]),
    /// Words that were said come from there.
    Cited(&'a Citation<'a>),
    /// A block of text is over: what is said next is another.
    Break,
    /// An image, whole and in base64.
    Image {
        media_type: &'a str,
        data: &'a str,
    },
    /// The `tool`-th tool is called, from 0.
    Call {
        tool: u64,
        id: &'a str,
        name: &'a str,
    },
    /// More of the input of the `tool`-th tool. All of its parts together are JSON, as far as the provider wrote it.
    Input {
        tool: u64,
        part: &'a str,
    },
    /// Why it stopped.
    Stop(Stop),
    /// Nothing: the provider is still there.
    Ping,
    /// An error, and no more.
    Failed(Failure<'a>),
    /// That was all; it took so many tokens, of which so many are sound.
    End(Option<TokenUsage>, Sound),
}

/// Tokens of sound, 0 where none are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sound {
    /// Of the input, out of a cache or not.
    pub heard: u64,
    /// Of the output.
    pub spoken: u64,
}

impl Sound {
    pub fn of(used: Option<&Used>) -> Self {
        used.map_or_else(Self::default, |Used { units, .. }| Self {
            heard: units.audio_tokens.saturating_add(units.cached_audio_tokens),
            spoken: units.audio_output_tokens,
        })
    }
}

/// Why a model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Of itself, or for a reason that has no word here.
    Done,
    /// As it may write no more.
    Limit,
    /// To have tools called.
    Tools,
    /// As it will not answer.
    Refusal,
}

/// What a provider said went wrong.
#[derive(Default)]
pub(super) struct Failure<'a> {
    /// Its word for errors of this kind.
    pub kind: Option<Text<'a>>,
    /// Its word for this one, where it has another: programs look at it to know what to do.
    pub code: Option<Text<'a>>,
    /// Its status, where it is told within a stream.
    pub status: Option<u16>,
    pub message: Option<Text<'a>>,
}

/// What came is no answer.
#[derive(Debug)]
pub(super) struct Malformed;

impl Failure<'_> {
    /// The word that says most of it.
    pub fn word(&self) -> Option<&str> {
        self.code.as_deref().or(self.kind.as_deref())
    }

    /// What is said of an answer that says nothing itself.
    pub const UNUSABLE: &'static str = "The provider's answer cannot be used.";
    /// What is said of an answer with an image to a caller whose dialect has no place for one.
    pub const NO_PLACE: &'static str = "The provider's answer holds an image, for which the Messages API has no place.";
}
