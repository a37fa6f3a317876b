//! What a stream says, as the events of a message of Anthropic's.

use super::{
    super::{
        answer::{Failure, Said, Stop},
        cite::{Citation, characters},
        write::Object,
    },
    cite,
    write_answer::{error, head, stop_reason, usage},
};
use credentialflow_model::usage::TokenUsage;

/// Holds which block is open: one at a time.
#[derive(Debug)]
pub(in crate::translate) struct StreamWriter {
    begun: bool,
    /// The block that is open, if any.
    open: Option<Kind>,
    /// Its number; without one, that of the next.
    index: u64,
    stop: Stop,
    /// Characters of text so far, and at how many the last block of text began.
    words: u64,
    began: u64,
    /// Some of the block that is open was cited: what follows is another.
    cited: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
    Redacted,
    Tool(u64),
}

impl StreamWriter {
    pub const fn new() -> Self {
        Self { begun: false, open: None, index: 0, stop: Stop::Done, words: 0, began: 0, cited: false }
    }

    pub fn say(&mut self, said: &Said<'_>, out: &mut Vec<u8>) {
        match said {
            Said::Begin { id, model } => self.begin(id, model, out),
            Said::Text(text) => {
                if self.cited {
                    self.close(out);
                }
                if self.open != Some(Kind::Text) {
                    self.began = self.words;
                }
                self.words += characters(text);
                self.open(Kind::Text, out, |block| block.json("text", "\"\""));
                self.delta("text_delta", "text", text, out);
            }
            Said::Thinking(text) => {
                self.think(out);
                self.delta("thinking_delta", "thinking", text, out);
            }
            Said::Signed(signer, signature) => {
                self.think(out);
                self.delta("signature_delta", "signature", &signer.in_messages(signature), out);
                self.close(out);
            }
            Said::Redacted(data) => {
                self.open(Kind::Redacted, out, |block| block.text("data", data));
                self.close(out);
            }
            // The translator ends a stream with an image, and the others are not asked for.
            Said::Image { .. } | Said::Logprobs(_) => {}
            Said::Cited(cited) => self.cite(cited, out),
            Said::Break if self.open == Some(Kind::Text) => self.close(out),
            Said::Break => {}
            Said::Call { tool, id, name } => self.open(Kind::Tool(*tool), out, |block| {
                block.text("id", id);
                block.text("name", name);
                block.json("input", "{}");
            }),
            // A call whose block is closed gets no more input: no reader says so.
            Said::Input { tool, part } if self.open == Some(Kind::Tool(*tool)) => {
                self.delta("input_json_delta", "partial_json", part, out);
            }
            Said::Input { .. } => {}
            Said::Stop(stop) => {
                self.close(out);
                self.stop = *stop;
            }
            // Clients expect the first event to be the message's.
            Said::Ping if !self.begun => out.extend_from_slice(b": ping\n\n"),
            Said::Ping => event(out, "ping", |_| {}),
            Said::Failed(failure) => fail(failure, out),
            Said::End(told, _) => {
                self.close(out);
                event(out, "message_delta", |event| {
                    let mut delta = event.object("delta");
                    delta.text("stop_reason", stop_reason(self.stop));
                    delta.json("stop_sequence", "null");
                    delta.end();
                    usage(event, told.unwrap_or_default(), told.is_some());
                });
                event(out, "message_stop", |_| {});
            }
        }
    }

    fn begin(&mut self, id: &str, model: &str, out: &mut Vec<u8>) {
        self.begun = true;
        event(out, "message_start", |event| {
            let mut message = event.object("message");
            head(&mut message, id, model);
            message.json("content", "[]");
            message.json("stop_reason", "null");
            message.json("stop_sequence", "null");
            // The provider tells it in the end.
            usage(&mut message, TokenUsage::default(), true);
            message.end();
        });
    }

    fn think(&mut self, out: &mut Vec<u8>) {
        self.open(Kind::Thinking, out, |block| {
            block.json("thinking", "\"\"");
            // It follows, where the model's maker signs.
            block.json("signature", "\"\"");
        });
    }

    /// Opens a block, unless it is open.
    fn open(&mut self, kind: Kind, out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
        if self.open == Some(kind) {
            return;
        }
        self.close(out);
        self.open = Some(kind);
        event(out, "content_block_start", |event| {
            event.number("index", self.index);
            let mut block = event.object("content_block");
            block.json(
                "type",
                match kind {
                    Kind::Text => "\"text\"",
                    Kind::Thinking => "\"thinking\"",
                    Kind::Redacted => "\"redacted_thinking\"",
                    Kind::Tool(_) => "\"tool_use\"",
                },
            );
            fill(&mut block);
            block.end();
        });
    }

    fn delta(&self, kind: &'static str, field: &'static str, text: &str, out: &mut Vec<u8>) {
        event(out, "content_block_delta", |event| {
            event.number("index", self.index);
            let mut delta = event.object("delta");
            delta.text("type", kind);
            delta.text(field, text);
            delta.end();
        });
    }

    /// Says what is cited of the text that is open; what was said before that is over.
    fn cite(&mut self, cited: &Citation<'_>, out: &mut Vec<u8>) {
        if self.open != Some(Kind::Text) || cited.span.end <= self.began {
            return;
        }
        self.cited = true;
        event(out, "content_block_delta", |event| {
            event.number("index", self.index);
            let mut delta = event.object("delta");
            delta.json("type", "\"citations_delta\"");
            cite::write(delta.member("citation"), cited);
            delta.end();
        });
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        self.cited = false;
        if self.open.take().is_some() {
            event(out, "content_block_stop", |event| event.number("index", self.index));
            self.index += 1;
        }
    }
}

/// One event of this type.
fn event(out: &mut Vec<u8>, kind: &str, fill: impl FnOnce(&mut Object<'_>)) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    let mut event = Object::new(out);
    event.text("type", kind);
    fill(&mut event);
    event.end();
    out.extend_from_slice(b"\n\n");
}

/// Ends the stream with an error.
fn fail(failure: &Failure<'_>, out: &mut Vec<u8>) {
    let status = failure.status.filter(|status| (400..600).contains(status)).unwrap_or(502);
    out.extend_from_slice(b"event: error\ndata: ");
    error(out, status, failure);
    out.extend_from_slice(b"\n\n");
}
