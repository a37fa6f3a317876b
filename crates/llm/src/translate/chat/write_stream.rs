//! What a stream says, as chunks of a chat completion.

use super::{
    super::{
        answer::{Failure, Said},
        logprobs::Elements,
        signature::Signer,
    },
    cite::annotation,
    write_answer::{Thought, error, extra_content, finish_reason, head, image, thought, usage},
};
use crate::openai::request::write_json_string;
use credentialflow_model::Timestamp;
use std::io::Write as _;

/// Thinking that is longer is not said once more with its signature.
const MOST_SIGNED: usize = 4 << 20;

/// Writes one choice. Holds what every chunk begins with, and what was thought until it is signed.
#[derive(Debug)]
pub(in crate::translate) struct StreamWriter {
    /// The number of the choice; the first one ends the stream.
    index: u64,
    created: Timestamp,
    include_usage: bool,
    head: Vec<u8>,
    /// Images so far.
    images: u64,
    /// Citations so far.
    citations: u64,
    /// Pieces of thinking so far that are signed.
    thoughts: u64,
    /// What was thought since the last signature: who sends thinking back must send all of it as one.
    unsigned: String,
    /// More was thought than is kept.
    too_long: bool,
    /// How a model of Google's signed what it said: told once, as OpenAI's SDKs join texts.
    signed: String,
    /// And how it signed the call that follows.
    of_call: String,
    /// Log probabilities of the text that follows.
    logprobs: Elements,
}

impl StreamWriter {
    pub fn new(created: Timestamp, include_usage: bool, index: u64) -> Self {
        let mut writer = Self {
            index,
            created,
            include_usage,
            head: Vec::new(),
            images: 0,
            citations: 0,
            thoughts: 0,
            unsigned: String::new(),
            too_long: false,
            signed: String::new(),
            of_call: String::new(),
            logprobs: Elements::new(),
        };
        // A stream that does not say how it begins has no id.
        writer.begin("", "");
        writer
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        let signed = self.unsigned.capacity() + self.signed.capacity() + self.of_call.capacity();
        self.head.capacity() + signed + self.logprobs.held()
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
                let logprobs = std::mem::take(&mut self.logprobs);
                // What is signed is signed before anything else is said.
                (self.unsigned, self.too_long) = (String::new(), false);
                self.text("content", text, &logprobs, out);
            }
            Said::Thinking(text) => {
                self.text("reasoning_content", text, &Elements::new(), out);
                self.too_long |= self.unsigned.len() + text.len() > MOST_SIGNED;
                match self.too_long {
                    true => self.unsigned = String::new(),
                    false => self.unsigned.push_str(text),
                }
            }
            Said::Signed(Signer::Google, signature) => (*signature).clone_into(&mut self.signed),
            Said::Signed(Signer::GoogleCall, signature) => (*signature).clone_into(&mut self.of_call),
            Said::Signed(signer @ (Signer::Anthropic | Signer::OpenAi), signature) => {
                let text = std::mem::take(&mut self.unsigned);
                // Anthropic's signature is of no use without the text that it is of.
                if !std::mem::take(&mut self.too_long) || *signer == Signer::OpenAi {
                    self.thought(&Thought::Signed(text, signer.in_messages(signature)), out);
                }
            }
            Said::Redacted(data) => self.thought(&Thought::Redacted(data), out),
            Said::Logprobs(tokens) => self.logprobs.add(tokens),
            Said::Cited(cited) if cited.url().is_some() => {
                let index = self.citations;
                self.citations += 1;
                self.delta(out, |out| {
                    out.extend_from_slice(b"{\"annotations\":[");
                    annotation(out, Some(index), cited);
                    out.extend_from_slice(b"]}");
                });
            }
            Said::Cited(_) | Said::Break => {}
            Said::Image { media_type, data } => {
                let index = self.images;
                self.images += 1;
                self.delta(out, |out| {
                    out.extend_from_slice(b"{\"images\":[");
                    image(out, index, (media_type, data));
                    out.extend_from_slice(b"]}");
                });
            }
            Said::Call { tool, id, name } => {
                let signature = std::mem::take(&mut self.of_call);
                self.delta(out, |out| {
                    let _ = write!(out, "{{\"tool_calls\":[{{\"index\":{tool},\"id\":");
                    write_json_string(out, id);
                    out.extend_from_slice(b",\"type\":\"function\",\"function\":{\"name\":");
                    write_json_string(out, name);
                    out.extend_from_slice(b",\"arguments\":\"\"}");
                    if !signature.is_empty() {
                        out.extend_from_slice(b",\"extra_content\":");
                        extra_content(out, &signature);
                    }
                    out.extend_from_slice(b"}]}");
                });
            }
            Said::Input { tool, part } => self.delta(out, |out| {
                let _ = write!(out, "{{\"tool_calls\":[{{\"index\":{tool},\"function\":{{\"arguments\":");
                write_json_string(out, part);
                out.extend_from_slice(b"}}]}");
            }),
            Said::Stop(stop) => {
                let signature = std::mem::take(&mut self.signed);
                if !signature.is_empty() {
                    self.delta(out, |out| {
                        out.extend_from_slice(b"{\"extra_content\":");
                        extra_content(out, &signature);
                        out.push(b'}');
                    });
                }
                let logprobs = std::mem::take(&mut self.logprobs);
                self.chunk(out, |out| out.extend_from_slice(b"{}"), &logprobs, Some(finish_reason(*stop)));
            }
            // A comment, which keeps the connection alive all the same.
            Said::Ping => out.extend_from_slice(b": ping\n\n"),
            Said::Failed(failure) => self.fail(failure, out),
            Said::End(..) if self.index > 0 => {}
            Said::End(told, sound) => {
                if let Some(told) = told.as_ref().filter(|_| self.include_usage) {
                    out.extend_from_slice(&self.head);
                    out.extend_from_slice(b"[],\"usage\":");
                    usage(out, told, *sound);
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

    fn text(&self, field: &str, text: &str, logprobs: &Elements, out: &mut Vec<u8>) {
        let delta = |out: &mut Vec<u8>| {
            let _ = write!(out, "{{\"{field}\":");
            write_json_string(out, text);
            out.push(b'}');
        };
        self.chunk(out, delta, logprobs, None);
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
        self.chunk(out, delta, &Elements::new(), None);
    }

    fn chunk(&self, out: &mut Vec<u8>, delta: impl FnOnce(&mut Vec<u8>), logprobs: &Elements, finish: Option<&str>) {
        out.extend_from_slice(&self.head);
        let _ = write!(out, "[{{\"index\":{},\"delta\":", self.index);
        delta(out);
        out.extend_from_slice(b",\"logprobs\":");
        logprobs.of_choice(out);
        out.extend_from_slice(b",\"finish_reason\":");
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
