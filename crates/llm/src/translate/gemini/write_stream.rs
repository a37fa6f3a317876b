//! What a stream says, as the parts of a Gemini answer: events, or the elements of one array.
//!
//! A function is called in one piece, so the calls of an answer are kept until it stops.

use super::{
    super::{
        answer::{Failure, Said, Sound, Stop},
        cite::{Citation, Words},
        logprobs::Candidates,
        signature::{Signer, redacted_in_gemini},
    },
    cite,
    write_answer::{Shown, candidate, error, finish_reason, part, tail},
};
use crate::{
    gemini::request::Frames,
    openai::request::Skip,
    translate::write::{Object, array},
};
use credentialflow_model::usage::TokenUsage;

/// More than this of calls is not kept.
const MAX_KEPT: usize = 4 << 20;

/// Writes one candidate. Holds the answer's names, and the calls of functions.
#[derive(Debug)]
pub(in crate::translate) struct StreamWriter {
    frames: Frames,
    /// The number of the candidate; the first one ends the stream.
    index: u64,
    /// Anything was written.
    begun: bool,
    id: String,
    model: String,
    calls: Vec<Call>,
    kept: usize,
    /// How a model of Google's signed what it said, and the call that follows.
    signed: String,
    of_call: String,
    stop: Stop,
    /// Log probabilities of the text that follows.
    logprobs: Candidates,
    words: Words,
    /// What is cited of these.
    citations: Vec<Citation<'static>>,
    /// Bytes of memory that they use.
    cited: usize,
}

#[derive(Debug)]
struct Call {
    tool: u64,
    id: String,
    name: String,
    input: String,
    signature: String,
}

impl StreamWriter {
    pub const fn new(frames: Frames, index: u64) -> Self {
        Self {
            frames,
            index,
            begun: false,
            id: String::new(),
            model: String::new(),
            calls: Vec::new(),
            kept: 0,
            signed: String::new(),
            of_call: String::new(),
            stop: Stop::Done,
            logprobs: Candidates::new(),
            words: Words::new(),
            citations: Vec::new(),
            cited: 0,
        }
    }

    /// Bytes of memory in use.
    pub fn held(&self) -> usize {
        let cited = self.words.held() + self.cited;
        let signed = self.signed.capacity() + self.of_call.capacity();
        signed + self.id.capacity() + self.model.capacity() + self.kept + self.logprobs.held() + cited
    }

    pub fn say(&mut self, said: &Said<'_>, out: &mut Vec<u8>) {
        match said {
            Said::Begin { id, model } => {
                (*id).clone_into(&mut self.id);
                (*model).clone_into(&mut self.model);
            }
            Said::Text(text) => {
                self.words.push(text);
                self.part(Shown::Text((*text).to_owned()), None, out);
            }
            Said::Thinking(text) => self.part(Shown::Thinking((*text).to_owned()), None, out),
            Said::Image { media_type, data } => self.part(Shown::Image { media_type, data }, None, out),
            Said::Logprobs(tokens) => self.logprobs.add(tokens),
            Said::Cited(cited) if cited.url().is_some() => {
                self.cited += cited.held();
                self.citations.push(cited.owned());
            }
            Said::Cited(_) | Said::Break => {}
            // As Google itself does, in the last part.
            Said::Signed(Signer::Google, signature) => (*signature).clone_into(&mut self.signed),
            Said::Signed(Signer::GoogleCall, signature) => (*signature).clone_into(&mut self.of_call),
            Said::Signed(signer, signature) => {
                self.part(Shown::Thinking(String::new()), Some(&signer.in_gemini(signature)), out);
            }
            Said::Redacted(data) => {
                self.part(Shown::Thinking(String::new()), Some(&redacted_in_gemini(data)), out);
            }
            Said::Call { tool, id, name } => {
                let signature = std::mem::take(&mut self.of_call);
                if self.room(id.len() + name.len() + signature.len() + size_of::<Call>()) {
                    let (id, name) = ((*id).to_owned(), (*name).to_owned());
                    self.calls.push(Call { tool: *tool, id, name, input: String::new(), signature });
                }
            }
            Said::Input { tool, part } => {
                // The one that is being written is nearly always the last.
                if self.room(part.len())
                    && let Some(call) = self.calls.iter_mut().rev().find(|call| call.tool == *tool)
                {
                    call.input.push_str(part);
                }
            }
            Said::Stop(stop) => self.stop = *stop,
            // Google's clients take every line for a part of the answer.
            Said::Ping => {}
            Said::Failed(failure) => self.fail(failure, out),
            Said::End(told, sound) => self.end(told.as_ref(), *sound, out),
        }
    }

    /// Whether there is room for so much more of calls.
    const fn room(&mut self, more: usize) -> bool {
        self.kept = self.kept.saturating_add(more);
        self.kept <= MAX_KEPT
    }

    fn part(&mut self, shown: Shown<'_>, signature: Option<&str>, out: &mut Vec<u8>) {
        self.begin(out);
        let logprobs = match shown {
            Shown::Text(_) => std::mem::take(&mut self.logprobs),
            _ => Candidates::new(),
        };
        let mut to = Object::new(out);
        to.array("candidates", [shown], |out, shown| {
            let parts = |out: &mut Vec<u8>| array(out, [&shown], |out, shown| part(out, shown, signature));
            candidate(out, (self.index, None), &logprobs, parts, |_| {});
        });
        tail(&mut to, (None, Sound::default()), &self.model, &self.id);
        to.end();
        self.close(out);
    }

    /// The last part: the calls, why the model stopped, and what it took.
    fn end(&mut self, told: Option<&TokenUsage>, sound: Sound, out: &mut Vec<u8>) {
        self.begin(out);
        let whole = |call: &Call| call.input.starts_with('{') && serde_json::from_str::<Skip>(&call.input).is_ok();
        let mut calls = std::mem::take(&mut self.calls);
        let broken = self.kept > MAX_KEPT || !calls.iter().all(whole);
        for call in calls.iter_mut().filter(|call| whole(call) && call.input.contains(['\n', '\r'])) {
            // White space between values, as it stands in no string; an event would end there.
            call.input = call.input.replace(['\n', '\r'], " ");
        }
        let reason = match self.stop {
            // One that was cut off by its limit is nobody's fault.
            Stop::Done | Stop::Tools if broken => "MALFORMED_FUNCTION_CALL",
            stop => finish_reason(stop),
        };
        let some = |signature: &'_ str| (!signature.is_empty()).then(|| signature.to_owned());
        let mut shown: Vec<(Shown<'_>, Option<String>)> = calls
            .iter()
            .filter(|call| self.kept <= MAX_KEPT && whole(call))
            .map(|Call { id, name, input, signature, .. }| (Shown::Call { id, name, input }, some(signature)))
            .collect();
        let signed = some(&self.signed);
        if shown.is_empty() || signed.is_some() {
            shown.insert(0, (Shown::Text(String::new()), signed));
        }
        let mut to = Object::new(out);
        to.array("candidates", [shown], |out, shown| {
            candidate(
                out,
                (self.index, Some(reason)),
                &self.logprobs,
                |out| array(out, &shown, |out, (shown, signature)| part(out, shown, signature.as_deref())),
                |candidate| {
                    if let Some(text) = self.words.all().filter(|_| !self.citations.is_empty()) {
                        cite::metadata(candidate, &[cite::Part { text, index: None }], &self.citations);
                    }
                },
            );
        });
        tail(&mut to, (told.filter(|_| self.index == 0), sound), &self.model, &self.id);
        to.end();
        self.close(out);
        if self.frames == Frames::Array && self.index == 0 {
            out.push(b']');
        }
    }

    fn fail(&mut self, failure: &Failure<'_>, out: &mut Vec<u8>) {
        self.begin(out);
        let status = failure.status.filter(|status| (400..600).contains(status)).unwrap_or(502);
        error(out, status, failure);
        self.close(out);
        if self.frames == Frames::Array {
            out.push(b']');
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        let first = !std::mem::replace(&mut self.begun, true);
        out.extend_from_slice(match (self.frames, first) {
            (Frames::Events, _) => b"data: ",
            (Frames::Array, true) => b"[",
            (Frames::Array, false) => b",\r\n",
        });
    }

    fn close(&self, out: &mut Vec<u8>) {
        if self.frames == Frames::Events {
            out.extend_from_slice(b"\r\n\r\n");
        }
    }
}
