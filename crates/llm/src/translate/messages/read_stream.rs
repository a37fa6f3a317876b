//! The events of a message of Anthropic's, as what they say.

use super::{
    super::{
        answer::{Malformed, Said, Sound, are_names},
        cite::{Citation, MAX_CITATIONS, characters},
        read::{Text, is_empty_object, present},
        signature::Signer,
    },
    cite,
    read_answer::{Block, FailureBody, stop},
};
use crate::anthropic::usage::Count;
use serde::Deserialize;
use serde_json::value::RawValue;

/// More tools than this are not called at the same time.
const MAX_OPEN: usize = 256;

/// Holds what is known of tools being called, and of tokens.
#[derive(Debug)]
pub(in crate::translate) struct StreamReader {
    count: Count,
    open: Vec<Open>,
    /// Tools called so far.
    tools: u64,
    /// Characters of text so far, and at how many the block began that is open.
    words: u64,
    began: u64,
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
struct Event<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(default)]
    index: u64,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content_block: Option<&'a RawValue>,
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Start<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    r#type: Option<Text<'a>>,
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    thinking: Option<Text<'a>>,
    #[serde(borrow, default)]
    signature: Option<Text<'a>>,
    #[serde(borrow, default)]
    partial_json: Option<Text<'a>>,
    #[serde(borrow, default)]
    stop_reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    citation: Option<&'a RawValue>,
}

impl StreamReader {
    pub const fn new() -> Self {
        Self { count: Count::NONE, open: Vec::new(), tools: 0, words: 0, began: 0, cited: Vec::new(), citations: 0 }
    }

    /// Bytes of memory in use.
    pub fn held(&self) -> usize {
        self.open.capacity() * size_of::<Open>() + self.cited.iter().map(Citation::held).sum::<usize>()
    }

    /// Reads the data of one event.
    pub fn event(&mut self, data: &[u8], say: &mut impl FnMut(Said<'_>)) -> Result<(), Malformed> {
        let event: Event<'_> = serde_json::from_slice(data).map_err(|_| Malformed)?;
        match &*event.r#type {
            "message_start" => {
                let start: Start<'_> = parse(event.message)?;
                let (id, model) = (start.id.as_deref().unwrap_or_default(), start.model.as_deref().unwrap_or_default());
                if !are_names(id, model) {
                    return Err(Malformed);
                }
                if let Some(usage) = start.usage {
                    self.count.begin(usage);
                }
                say(Said::Begin { id, model });
            }
            "content_block_start" => self.block_start(event.index, parse(event.content_block)?, say)?,
            "content_block_delta" => self.block_delta(event.index, &parse(event.delta)?, say),
            "content_block_stop" => {
                self.cite(say);
                if let Some(at) = self.open.iter().position(|open| open.block == event.index) {
                    let open = self.open.remove(at);
                    if !open.begun {
                        // A tool without input: its arguments are an object all the same.
                        say(Said::Input { tool: open.tool, part: "{}" });
                    }
                }
            }
            "message_delta" => {
                if let Some(usage) = event.usage {
                    self.count.take(usage);
                }
                let delta: Delta<'_> = parse(event.delta)?;
                if let Some(reason) = delta.stop_reason {
                    say(Said::Stop(stop(Some(&*reason))));
                }
            }
            "message_stop" => say(Said::End(self.count.usage(), Sound::default())),
            "error" => {
                let failure: Option<FailureBody<'_>> = parse(event.error).ok();
                say(Said::Failed(failure.map(Into::into).unwrap_or_default()));
            }
            "ping" => say(Said::Ping),
            _ => {} // what there may be one day
        }
        Ok(())
    }

    fn block_start(&mut self, index: u64, block: Block<'_>, say: &mut impl FnMut(Said<'_>)) -> Result<(), Malformed> {
        match &*block.r#type {
            "text" => {
                self.began = self.words;
                self.words += characters(block.text.as_deref().unwrap_or_default());
                some(block.text.as_deref(), Said::Text, say);
            }
            "thinking" => some(block.thinking.as_deref(), Said::Thinking, say),
            "redacted_thinking" => some(block.data.as_deref(), Said::Redacted, say),
            "tool_use" => {
                let (Some(id), Some(name)) = (block.id, block.name) else { return Err(Malformed) };
                if self.open.len() == MAX_OPEN {
                    return Err(Malformed);
                }
                let tool = self.tools;
                self.tools += 1;
                say(Said::Call { tool, id: &id, name: &name });
                // Usually it comes in pieces; an input that stands here already is all of it.
                let whole = present(block.input).filter(|input| !is_empty_object(input));
                if let Some(input) = whole {
                    say(Said::Input { tool, part: input.get() });
                }
                self.open.push(Open { block: index, tool, begun: whole.is_some() });
            }
            _ => {}
        }
        Ok(())
    }

    fn block_delta(&mut self, index: u64, delta: &Delta<'_>, say: &mut impl FnMut(Said<'_>)) {
        match delta.r#type.as_deref() {
            Some("text_delta") => {
                self.words += characters(delta.text.as_deref().unwrap_or_default());
                some(delta.text.as_deref(), Said::Text, say);
            }
            Some("citations_delta") => {
                // Of which words is known when the block is over.
                let cited = delta.citation.and_then(|raw| cite::citation(raw, 0..1));
                if let Some(cited) = cited.filter(|_| self.citations < MAX_CITATIONS) {
                    self.citations += 1;
                    self.cited.push(cited.owned());
                }
            }
            Some("thinking_delta") => some(delta.thinking.as_deref(), Said::Thinking, say),
            Some("signature_delta") => {
                some(delta.signature.as_deref(), |text| Said::Signed(Signer::Anthropic, text), say)
            }
            Some("input_json_delta") => {
                let part = delta.partial_json.as_deref().unwrap_or_default();
                // What is written for a server's tool has no open tool here.
                if let Some(open) = self.open.iter_mut().find(|open| open.block == index)
                    && !part.is_empty()
                {
                    open.begun = true;
                    say(Said::Input { tool: open.tool, part });
                }
            }
            _ => {}
        }
    }
}

impl StreamReader {
    /// Says what is cited of the block that is over.
    fn cite(&mut self, say: &mut impl FnMut(Said<'_>)) {
        let span = self.began..self.words;
        for cited in std::mem::take(&mut self.cited).into_iter().filter(|_| !span.is_empty()) {
            say(Said::Cited(&Citation { span: span.clone(), ..cited }));
        }
    }
}

/// Says a text that there is.
fn some<'a>(text: Option<&'a str>, of: fn(&'a str) -> Said<'a>, say: &mut impl FnMut(Said<'_>)) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        say(of(text));
    }
}

/// A part of an event.
fn parse<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Result<T, Malformed> {
    serde_json::from_str(raw.ok_or(Malformed)?.get()).map_err(|_| Malformed)
}
