//! The answer of a published prompt while the model makes it: the events of a chat completion in, those of the endpoint out.
//!
//! `delta` has the next piece of the output, `done` ends it with the whole answer as it is given else. What tells that the
//! answer cannot go on, whoever says so, is kept for whoever writes the last event.

use super::{
    Compiled, Unfit, Version,
    published::{Said, error, object},
};
use crate::{
    openai::request::write_json_string,
    sse::{SseEvent, SsePiece, SseReader},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

/// Bytes of an output at most, as of an answer that comes whole.
const MOST: usize = 32 << 20;

/// Reads the stream of one answer.
#[derive(Debug, Default)]
pub struct Pieces {
    reader: SseReader,
    output: String,
    finish: Option<String>,
    is_over: bool,
    failure: Option<String>,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u64,
    #[serde(default)]
    delta: Option<Said>,
    #[serde(default)]
    finish_reason: Option<String>,
}

impl Pieces {
    /// Takes more of the stream; `out` gets the events of what it says.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut reader = std::mem::take(&mut self.reader);
        reader.feed(bytes, |piece| self.take(piece, out));
        self.reader = reader;
    }

    /// The stream has ended: what it ends in without a blank line counts too.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        std::mem::take(&mut self.reader).finish(|piece| self.take(piece, out));
    }

    fn take(&mut self, piece: SsePiece<'_>, out: &mut Vec<u8>) {
        if self.failure.is_some() {
            return;
        }
        let said = match piece {
            SsePiece::Event(event) => self.event(&event, out),
            SsePiece::Oversize(_) => Err(unusable()),
        };
        self.failure = said.err();
    }

    /// Reads one event.
    ///
    /// # Errors
    /// Why the answer does not go on.
    fn event(&mut self, event: &SseEvent<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        let Some(data) = event.data().filter(|data| !data.trim_ascii().is_empty()) else { return Ok(()) };
        if event.event_type() == Some(b"error") {
            return Err(failed(&data));
        }
        if data.trim_ascii() == b"[DONE]" {
            self.is_over = true;
            return Ok(());
        }
        let Chunk { choices, error } = serde_json::from_slice(&data).map_err(|_| unusable())?;
        if error.is_some() {
            return Err(failed(&data));
        }
        // No other was asked for.
        let Some(choice) = choices.into_iter().find(|choice| choice.index == 0) else { return Ok(()) };
        if let Some(said) = choice.delta
            && let Some(text) = said.words().map_err(|Unfit(why)| why)?.filter(|text| !text.is_empty())
        {
            if self.output.len() + text.len() > MOST {
                return Err("the model's answer is too large".to_owned());
            }
            self.output.push_str(&text);
            delta(&text, out);
        }
        self.is_over |= choice.finish_reason.is_some();
        self.finish = choice.finish_reason.or(self.finish.take());
        Ok(())
    }

    /// Why it does not go on, in words for the caller; `None` while it does.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Whether its end was told: a stream that just ends is not all of one.
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        self.output.capacity() + self.reader.held()
    }

    /// The event that ends it, with the whole answer; `tokens` are those read and written, where they are known.
    pub fn done(self, prompt: &Compiled, version: &Version, tokens: Option<(u64, u64)>) -> Vec<u8> {
        let answer = object(prompt, version, Value::String(self.output), self.finish.as_deref(), tokens);
        let mut out = Vec::new();
        event("done", answer.to_string().as_bytes(), &mut out);
        out
    }
}

/// The events of an answer of the endpoint that came whole.
///
/// # Errors
/// [`Unfit`] where it is none.
pub fn of_whole(answer: &[u8]) -> Result<Vec<u8>, Unfit> {
    #[derive(Deserialize)]
    struct Whole {
        output: String,
    }
    let Whole { output } = serde_json::from_slice(answer).map_err(|_| Unfit::new(unusable()))?;
    let mut out = Vec::with_capacity(2 * answer.len());
    if !output.is_empty() {
        delta(&output, &mut out);
    }
    event("done", answer, &mut out);
    Ok(out)
}

/// The whole answer with which events of the endpoint end; `None` where they end otherwise.
pub fn whole(events: &[u8]) -> Option<&[u8]> {
    const DONE: &[u8] = b"event: done\ndata: ";
    let last = events.strip_suffix(b"\n\n")?;
    let at = memchr::memmem::rfind(last, DONE)?;
    // In data no line ends, so it is an event's beginning.
    let begins = at == 0 || last[..at].ends_with(b"\n");
    begins.then(|| &last[at + DONE.len()..]).filter(|data| !data.contains(&b'\n'))
}

/// Writes the event by which an answer ends that had begun: problem details, in one line.
pub fn refusal(problem: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(problem.len() + 32);
    event("error", problem, &mut out);
    out
}

fn delta(text: &str, out: &mut Vec<u8>) {
    let mut data = Vec::with_capacity(text.len() + 16);
    data.extend_from_slice(b"{\"output\":");
    write_json_string(&mut data, text);
    data.push(b'}');
    event("delta", &data, out);
}

/// Writes an event; its data are JSON, in which no line ends.
fn event(kind: &str, data: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\n\n");
}

fn unusable() -> String {
    "the provider answered with something that is no answer of a model".to_owned()
}

/// Why a stream ends with this: what its provider says, or a refusal of ours, which is told as it is. Some providers'
/// errors look like one, so neither is told at any length.
fn failed(data: &[u8]) -> String {
    let ours = || {
        let data: Value = serde_json::from_slice(data).ok()?;
        Some(data.get("detail")?.as_str()?.chars().take(1000).collect())
    };
    match error(data) {
        Some(said) => format!("the model's provider ended its answer with an error: {said}"),
        None => ours().unwrap_or_else(|| "the model's provider ended its answer with an error".to_owned()),
    }
}
