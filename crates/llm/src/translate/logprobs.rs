//! Log probabilities of the tokens of an answer: OpenAI's dialects and Gemini tell them, each in its own form.
//!
//! What a token is only its provider knows. Bytes of a token, which Gemini does not tell, are those of its text; the
//! numbers of tokens and the average, which Gemini tells, are left out.

use super::{
    read::{Text, list, present},
    write::Object,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::io::Write as _;

/// Of answers with more tokens than this none is told: nothing writes as many.
const MAX_TOKENS: usize = 300_000;
/// More than so many bytes are not kept until the text comes that they are of.
const MAX_KEPT: usize = 8 << 20;

/// A token that was written, and the most probable ones at its place.
pub(super) struct Token<'a> {
    own: Candidate<'a>,
    top: Vec<Candidate<'a>>,
}

/// A token that was written, or might have been.
#[derive(Deserialize)]
struct Candidate<'a> {
    #[serde(borrow)]
    token: Text<'a>,
    #[serde(borrow, default, alias = "logProbability")]
    logprob: Option<&'a RawValue>,
    #[serde(borrow, default)]
    bytes: Option<&'a RawValue>,
}

/// `logprobs` of a choice of Chat Completions.
#[derive(Deserialize)]
struct OfChoice<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<&'a RawValue>,
}

/// A token in OpenAI's dialects.
#[derive(Deserialize)]
struct OpenAi<'a> {
    #[serde(borrow)]
    token: Text<'a>,
    #[serde(borrow, default)]
    logprob: Option<&'a RawValue>,
    #[serde(borrow, default)]
    bytes: Option<&'a RawValue>,
    #[serde(borrow, default)]
    top_logprobs: Option<&'a RawValue>,
}

/// `logprobsResult` of a candidate of Gemini's.
#[derive(Deserialize)]
struct Gemini<'a> {
    #[serde(borrow, default, rename = "chosenCandidates")]
    chosen: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "topCandidates")]
    top: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Top<'a> {
    #[serde(borrow, default)]
    candidates: Option<&'a RawValue>,
}

/// Those of a choice of Chat Completions; none where they are of another form, as of its older API.
pub(super) fn of_choice<'a>(raw: Option<&'a RawValue>) -> Vec<Token<'a>> {
    let read = |raw: &'a RawValue| serde_json::from_str::<OfChoice<'a>>(raw.get()).ok();
    match present(raw).and_then(read) {
        Some(OfChoice { content, refusal }) => of_list(present(content).or(refusal)),
        None => Vec::new(),
    }
}

/// A list of OpenAI's tokens.
pub(super) fn of_list<'a>(raw: Option<&'a RawValue>) -> Vec<Token<'a>> {
    let read = |token: OpenAi<'a>| {
        let OpenAi { token, logprob, bytes, top_logprobs } = token;
        Token { own: Candidate { token, logprob, bytes }, top: elements(top_logprobs) }
    };
    elements(raw).into_iter().map(read).collect()
}

/// Those of a candidate of Gemini's.
pub(super) fn of_candidate<'a>(raw: Option<&'a RawValue>) -> Vec<Token<'a>> {
    let read = |raw: &'a RawValue| serde_json::from_str::<Gemini<'a>>(raw.get()).ok();
    let Some(Gemini { chosen, top }) = present(raw).and_then(read) else { return Vec::new() };
    let mut top = elements::<Top<'a>>(top).into_iter();
    let token = |own| Token { own, top: top.next().map_or_else(Vec::new, |top| elements(top.candidates)) };
    elements(chosen).into_iter().map(token).collect()
}

fn elements<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Vec<T> {
    present(raw).and_then(|raw| list(raw, "", MAX_TOKENS, "").ok()).unwrap_or_default()
}

impl Candidate<'_> {
    /// Its number; what stands in JSON for the logarithm of 1 may be left out.
    fn logprob(&self) -> &str {
        let is_number = |raw: &&RawValue| raw.get().starts_with(|c: char| c == '-' || c.is_ascii_digit());
        self.logprob.filter(is_number).map_or("0", RawValue::get)
    }

    /// Its members in OpenAI's dialects.
    fn openai(&self, to: &mut Object<'_>) {
        to.text("token", &self.token);
        to.json("logprob", self.logprob());
        match self.bytes.filter(|raw| raw.get().starts_with('[')) {
            Some(raw) => to.json("bytes", raw.get()),
            // Of a token that is no text by itself the provider tells no more than that.
            None if self.token.contains(char::REPLACEMENT_CHARACTER) => to.json("bytes", "null"),
            None => to.array("bytes", self.token.bytes(), |out, byte| {
                let _ = write!(out, "{byte}");
            }),
        }
    }

    fn gemini(&self, out: &mut Vec<u8>) {
        let mut to = Object::new(out);
        to.text("token", &self.token);
        to.json("logProbability", self.logprob());
        to.end();
    }
}

/// What is told of tokens, in OpenAI's form, until the text is written that they are of.
#[derive(Debug, Default)]
pub(super) struct Elements(Vec<u8>);

impl Elements {
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        self.0.capacity()
    }

    pub fn add(&mut self, tokens: &[Token<'_>]) {
        if self.0.len() > MAX_KEPT {
            return;
        }
        for token in tokens {
            separate(&mut self.0);
            let mut to = Object::new(&mut self.0);
            token.own.openai(&mut to);
            to.array("top_logprobs", &token.top, |out, one| {
                let mut to = Object::new(out);
                one.openai(&mut to);
                to.end();
            });
            to.end();
        }
    }

    /// Adds what others told.
    pub fn append(&mut self, other: &Self) {
        if !other.is_empty() {
            separate(&mut self.0);
            self.0.extend_from_slice(&other.0);
        }
    }

    /// Writes them as a list.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        out.extend_from_slice(&self.0);
        out.push(b']');
    }

    /// Writes them as `logprobs` of a choice of Chat Completions: null where none are told.
    pub fn of_choice(&self, out: &mut Vec<u8>) {
        if self.is_empty() {
            out.extend_from_slice(b"null");
            return;
        }
        out.extend_from_slice(b"{\"content\":");
        self.write(out);
        out.extend_from_slice(b",\"refusal\":null}");
    }
}

/// The same in Gemini's form.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    chosen: Vec<u8>,
    top: Vec<u8>,
}

impl Candidates {
    pub const fn new() -> Self {
        Self { chosen: Vec::new(), top: Vec::new() }
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        self.chosen.capacity() + self.top.capacity()
    }

    pub fn add(&mut self, tokens: &[Token<'_>]) {
        if self.chosen.len() + self.top.len() > MAX_KEPT {
            return;
        }
        for token in tokens {
            separate(&mut self.chosen);
            token.own.gemini(&mut self.chosen);
            separate(&mut self.top);
            let mut to = Object::new(&mut self.top);
            to.array("candidates", &token.top, |out, one| one.gemini(out));
            to.end();
        }
    }

    /// Writes the member `logprobsResult`, where there is something to tell.
    pub fn write(&self, candidate: &mut Object<'_>) {
        if self.chosen.is_empty() {
            return;
        }
        let mut to = candidate.object("logprobsResult");
        for (name, elements) in [("topCandidates", &self.top), ("chosenCandidates", &self.chosen)] {
            let out = to.member(name);
            out.push(b'[');
            out.extend_from_slice(elements);
            out.push(b']');
        }
        to.end();
    }
}

fn separate(list: &mut Vec<u8>) {
    if !list.is_empty() {
        list.push(b',');
    }
}
