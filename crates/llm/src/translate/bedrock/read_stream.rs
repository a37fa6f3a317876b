//! The events of a Converse stream, as what they say. They are server-sent events already
//! ([`crate::bedrock::events`]).

use super::{
    super::{
        answer::{Failure, MAX_NAME, Malformed, Said, Sound, Stop},
        cite::{Citation, MAX_CITATIONS, characters},
        read::Text,
        signature::Signer,
    },
    cite,
    read_answer::{ToolUse, error, stop},
};
use crate::bedrock::usage;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::ops::Range;

/// More tools than this are not called at the same time.
const MAX_OPEN: usize = 256;

/// Holds what is known of tools being called, and why the model stopped.
#[derive(Debug)]
pub(in crate::translate) struct StreamReader {
    /// What the answer and its model are called, which the provider does not say.
    id: Box<str>,
    model: Box<str>,
    open: Vec<Open>,
    /// Tools called so far.
    tools: u64,
    stop: Option<Stop>,
    /// Characters of text so far, and at how many the block began that is open.
    words: u64,
    began: u64,
    /// The text of the last block that had any, and whether the next is another.
    last: Range<u64>,
    apart: bool,
    /// What is cited of that block: it comes before its text, and behind.
    cited: Vec<Citation<'static>>,
    /// Citations so far.
    citations: usize,
}

/// A tool whose input is still coming.
#[derive(Debug)]
struct Open {
    block: u64,
    tool: u64,
    /// Whether any of its input has come.
    begun: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block<'a> {
    #[serde(default)]
    content_block_index: u64,
    #[serde(borrow, default)]
    start: Option<Start<'a>>,
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Start<'a> {
    #[serde(borrow, default)]
    tool_use: Option<ToolUse<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Delta<'a> {
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    tool_use: Option<Input<'a>>,
    #[serde(borrow, default)]
    reasoning_content: Option<Reasoning<'a>>,
    #[serde(borrow, default)]
    citation: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Input<'a> {
    #[serde(borrow, default)]
    input: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reasoning<'a> {
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    signature: Option<Text<'a>>,
    #[serde(borrow, default)]
    redacted_content: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct End<'a> {
    #[serde(borrow, default)]
    stop_reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Thrown<'a> {
    #[serde(borrow, default)]
    exception: Option<Text<'a>>,
    #[serde(borrow, default)]
    detail: Option<&'a RawValue>,
}

impl StreamReader {
    pub fn new(id: &str, model: &str) -> Self {
        Self {
            id: id.into(),
            model: model.into(),
            open: Vec::new(),
            tools: 0,
            stop: None,
            words: 0,
            began: 0,
            last: 0..0,
            apart: false,
            cited: Vec::new(),
            citations: 0,
        }
    }

    /// Bytes of memory in use.
    pub fn held(&self) -> usize {
        let cited = self.cited.iter().map(Citation::held).sum::<usize>();
        self.open.capacity() * size_of::<Open>() + self.id.len() + self.model.len() + cited
    }

    /// Reads one event.
    pub fn event(&mut self, name: &[u8], data: &[u8], say: &mut impl FnMut(Said<'_>)) -> Result<(), Malformed> {
        match name {
            b"messageStart" => say(Said::Begin { id: &self.id, model: &self.model }),
            b"contentBlockStart" => {
                let block: Block<'_> = parse(data)?;
                match block.start.and_then(|start| start.tool_use) {
                    Some(call) if !call.is_of_server() => self.call(block.content_block_index, &call, say)?,
                    _ => {}
                }
            }
            b"contentBlockDelta" => {
                let block: Block<'_> = parse(data)?;
                if let Some(delta) = block.delta {
                    self.delta(block.content_block_index, delta, say);
                }
            }
            b"contentBlockStop" => {
                let Block { content_block_index: block, .. } = parse(data)?;
                self.cite(say);
                if let Some(at) = self.open.iter().position(|open| open.block == block) {
                    let open = self.open.remove(at);
                    if !open.begun {
                        // A tool without input: its arguments are an object all the same.
                        say(Said::Input { tool: open.tool, part: "{}" });
                    }
                }
            }
            b"messageStop" => {
                let end: End<'_> = parse(data)?;
                let stop = stop(end.stop_reason.as_deref()).ok_or(Malformed)?;
                self.stop = Some(stop);
                say(Said::Stop(stop));
            }
            b"metadata" => {
                let end: End<'_> = parse(data)?;
                // What comes before the reason is no end.
                if self.stop.is_some() {
                    say(Said::End(end.usage.and_then(usage::of), Sound::default()));
                }
            }
            b"error" => {
                let thrown: Thrown<'_> = serde_json::from_slice(data).unwrap_or_default();
                let detail = thrown.detail.map_or("", RawValue::get).as_bytes();
                let failure = error(thrown.exception.as_deref(), detail);
                say(Said::Failed(Failure { status: status(thrown.exception.as_deref()), ..failure }));
            }
            _ => {} // what there may be one day
        }
        Ok(())
    }

    fn call(&mut self, block: u64, call: &ToolUse<'_>, say: &mut impl FnMut(Said<'_>)) -> Result<(), Malformed> {
        if self.open.len() == MAX_OPEN || call.id.len() > MAX_NAME {
            return Err(Malformed);
        }
        let tool = self.tools;
        self.tools += 1;
        self.open.push(Open { block, tool, begun: false });
        say(Said::Call { tool, id: &call.id, name: &call.name });
        Ok(())
    }

    fn delta(&mut self, block: u64, delta: Delta<'_>, say: &mut impl FnMut(Said<'_>)) {
        if let Some(text) = delta.text.filter(|text| !text.is_empty()) {
            if std::mem::take(&mut self.apart) {
                say(Said::Break);
            }
            self.words += characters(&text);
            say(Said::Text(&text));
        }
        if let Some(Reasoning { text, signature, redacted_content }) = delta.reasoning_content {
            let some = |text: Option<Text<'_>>, of: fn(&str) -> Said<'_>, say: &mut dyn FnMut(Said<'_>)| {
                if let Some(text) = text.filter(|text| !text.is_empty()) {
                    say(of(&text));
                }
            };
            some(text, |text| Said::Thinking(text), say);
            some(signature, |text| Said::Signed(Signer::Anthropic, text), say);
            some(redacted_content, |text| Said::Redacted(text), say);
        }
        // Of which words is known when the block is over.
        let cited = delta.citation.and_then(|raw| cite::citation(raw, 0..1));
        if let Some(cited) = cited.filter(|_| self.citations < MAX_CITATIONS) {
            self.citations += 1;
            self.cited.push(cited.owned());
        }
        // What is written for a provider's own tool has no open tool here.
        if let Some(part) = delta.tool_use.and_then(|told| told.input).filter(|part| !part.is_empty())
            && let Some(open) = self.open.iter_mut().find(|open| open.block == block)
        {
            open.begun = true;
            say(Said::Input { tool: open.tool, part: &part });
        }
    }

    /// Says what is cited of the block that is over. Amazon's models cite in blocks of their own, behind the text.
    fn cite(&mut self, say: &mut impl FnMut(Said<'_>)) {
        let span = std::mem::replace(&mut self.began, self.words)..self.words;
        if !span.is_empty() {
            (self.last, self.apart) = (span, true);
        }
        for cited in std::mem::take(&mut self.cited).into_iter().filter(|_| !self.last.is_empty()) {
            say(Said::Cited(&Citation { span: self.last.clone(), ..cited }));
        }
    }

    /// The stream has ended; it is whole when the model said why it stopped, counted or not.
    pub fn finish(&mut self, say: &mut impl FnMut(Said<'_>)) {
        if self.stop.is_some() {
            say(Said::End(None, Sound::default()));
        }
    }
}

/// The status that an exception has where it is no part of a stream.
fn status(exception: Option<&str>) -> Option<u16> {
    Some(match exception? {
        "validationException" => 400,
        "modelStreamErrorException" => 424,
        "throttlingException" => 429,
        "serviceUnavailableException" => 503,
        "internalServerException" | "InternalError" | "InternalFailure" => 500,
        _ => return None,
    })
}

/// An event's data.
fn parse<'a, T: Deserialize<'a>>(data: &'a [u8]) -> Result<T, Malformed> {
    serde_json::from_slice(data).map_err(|_| Malformed)
}
