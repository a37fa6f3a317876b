//! What a stream says, as chunks of a chat completion.

use super::{
    super::answer::{Failure, Said},
    write_answer::{Thought, error, finish_reason, head, image, thought, usage},
};
use crate::openai::request::write_json_string;
use credentialflow_model::Timestamp;
use std::io::Write as _;

/// Thinking that is longer is not said once more with its signature.
const MOST_SIGNED: usize = 4 << 20;

/// Holds what every chunk begins with, and what was thought until it is signed.
#[derive(Debug)]
pub(in crate::translate) struct StreamWriter {
    created: Timestamp,
    include_usage: bool,
    head: Vec<u8>,
    /// Images so far.
    images: u64,
    /// Pieces of thinking so far that are signed.
    thoughts: u64,
    /// What was thought since the last signature: who sends thinking back must send all of it as one.
    unsigned: String,
    /// More was thought than is kept.
    too_long: bool,
}

impl StreamWriter {
    pub fn new(created: Timestamp, include_usage: bool) -> Self {
        let mut writer = Self {
            created,
            include_usage,
            head: Vec::new(),
            images: 0,
            thoughts: 0,
            unsigned: String::new(),
            too_long: false,
        };
        // A stream that does not say how it begins has no id.
        writer.begin("", "");
        writer
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        self.head.capacity() + self.unsigned.capacity()
    }

    pub fn say(&mut self, said: &Said<'_>, out: &mut Vec<u8>) {
        match said {
            Said::Begin { id, model } => {
                self.begin(id, model);
                self.delta(out, |out| {
                    out.extend_from_slice(b"{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}")
                });
            }
            Said::Text(text) => {
                // What is signed is signed before anything else is said.
                (self.unsigned, self.too_long) = (String::new(), false);
                self.text("content", text, out);
            }
            Said::Thinking(text) => {
                self.text("reasoning_content", text, out);
                self.too_long |= self.unsigned.len() + text.len() > MOST_SIGNED;
                match self.too_long {
                    true => self.unsigned = String::new(),
                    false => self.unsigned.push_str(text),
                }
            }
            Said::Signed(signature) => {
                let text = std::mem::take(&mut self.unsigned);
                // A signature without the text that it is of is of no use.
                if !std::mem::take(&mut self.too_long) {
                    self.thought(&Thought::Signed(text, signature), out);
                }
            }
            Said::Redacted(data) => self.thought(&Thought::Redacted(data), out),
            Said::Image { media_type, data } => {
                let index = self.images;
                self.images += 1;
                self.delta(out, |out| {
                    out.extend_from_slice(b"{\"images\":[");
                    image(out, index, (media_type, data));
                    out.extend_from_slice(b"]}");
                });
            }
            Said::Call { tool, id, name } => self.delta(out, |out| {
                let _ = write!(out, "{{\"tool_calls\":[{{\"index\":{tool},\"id\":");
                write_json_string(out, id);
                out.extend_from_slice(b",\"type\":\"function\",\"function\":{\"name\":");
                write_json_string(out, name);
                out.extend_from_slice(b",\"arguments\":\"\"}}]}");
            }),
            Said::Input { tool, part } => self.delta(out, |out| {
                let _ = write!(out, "{{\"tool_calls\":[{{\"index\":{tool},\"function\":{{\"arguments\":");
                write_json_string(out, part);
                out.extend_from_slice(b"}}]}");
            }),
            Said::Stop(stop) => self.chunk(out, |out| out.extend_from_slice(b"{}"), Some(finish_reason(*stop))),
            // A comment, which keeps the connection alive all the same.
            Said::Ping => out.extend_from_slice(b": ping\n\n"),
            Said::Failed(failure) => self.fail(failure, out),
            Said::End(told) => {
                if let Some(told) = told.as_ref().filter(|_| self.include_usage) {
                    out.extend_from_slice(&self.head);
                    out.extend_from_slice(b"[],\"usage\":");
                    usage(out, told);
                    out.extend_from_slice(b"}\n\n");
                }
                out.extend_from_slice(b"data: [DONE]\n\n");
            }
        }
    }

    /// Ends the stream with an error.
    pub fn fail(&self, failure: &Failure<'_>, out: &mut Vec<u8>) {
        let status = failure.status.filter(|status| (400..600).contains(status)).unwrap_or(502);
        out.extend_from_slice(b"data: ");
        error(out, status, failure);
        out.extend_from_slice(b"\n\n");
    }

    fn begin(&mut self, id: &str, model: &str) {
        self.head.clear();
        self.head.extend_from_slice(b"data: ");
        head(&mut self.head, id, model, "chat.completion.chunk", self.created);
    }

    fn text(&self, field: &str, text: &str, out: &mut Vec<u8>) {
        self.delta(out, |out| {
            let _ = write!(out, "{{\"{field}\":");
            write_json_string(out, text);
            out.push(b'}');
        });
    }

    fn thought(&mut self, one: &Thought<'_>, out: &mut Vec<u8>) {
        let index = self.thoughts;
        self.thoughts += 1;
        self.delta(out, |out| {
            out.extend_from_slice(b"{\"thinking_blocks\":[");
            thought(out, Some(index), one);
            out.extend_from_slice(b"]}");
        });
    }

    fn delta(&self, out: &mut Vec<u8>, delta: impl FnOnce(&mut Vec<u8>)) {
        self.chunk(out, delta, None);
    }

    fn chunk(&self, out: &mut Vec<u8>, delta: impl FnOnce(&mut Vec<u8>), finish: Option<&str>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"[{\"index\":0,\"delta\":");
        delta(out);
        out.extend_from_slice(b",\"logprobs\":null,\"finish_reason\":");
        match finish {
            Some(reason) => write_json_string(out, reason),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b"}]");
        if self.include_usage {
            out.extend_from_slice(b",\"usage\":null");
        }
        out.extend_from_slice(b"}\n\n");
    }
}
