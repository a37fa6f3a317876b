//! The events of a Gemini stream, as what they say.
//!
//! Each is a part of an answer. The end of the stream is its end: nothing says so, and what comes after the reason why
//! the model stopped may still count tokens.

use super::{
    super::{
        answer::{MAX_NAME, Malformed, Said, Sound, Stop, are_names},
        chat::read_answer::nameless,
    },
    cite::Grounding,
    read_answer::{Generated, Spoken, failure, of_index, spoken, stop},
};
use crate::{gemini::usage::Count, translate::read::present};

/// More tools than this are not called in one answer.
const MAX_TOOLS: u64 = 10_000;

/// Holds what is known of tokens, and why the model stopped.
#[derive(Debug)]
pub(in crate::translate) struct StreamReader {
    /// The number of the candidate that is read.
    index: u64,
    /// The answer's id, once it has begun.
    id: Option<String>,
    count: Count,
    /// Tools called so far.
    tools: u64,
    stop: Option<Stop>,
    grounding: Grounding,
}

impl StreamReader {
    pub fn new(index: u64) -> Self {
        Self { index, id: None, count: Count::NONE, tools: 0, stop: None, grounding: Grounding::default() }
    }

    /// Bytes of memory in use.
    pub fn held(&self) -> usize {
        self.id.as_ref().map_or(0, String::capacity) + self.grounding.held()
    }

    /// Reads the data of one event.
    pub fn event(&mut self, data: &[u8], say: &mut impl FnMut(Said<'_>)) -> Result<(), Malformed> {
        let generated: Generated<'_> = serde_json::from_slice(data).map_err(|_| Malformed)?;
        if let Some(raw) = present(generated.error) {
            say(Said::Failed(failure(raw)));
            return Ok(());
        }
        if let Some(raw) = generated.usage {
            self.count.take(raw);
        }
        let blocked = generated.is_blocked();
        let candidate = of_index(generated.candidates, self.index).ok_or(Malformed)?;
        let whole = blocked || generated.usage.is_some();
        if self.id.is_none() && (candidate.is_some() || (self.index == 0 && whole)) {
            let (id, model) = (generated.id.unwrap_or_default(), generated.model.unwrap_or_default());
            if !are_names(&id, &model) {
                return Err(Malformed);
            }
            say(Said::Begin { id: &id, model: &model });
            self.id = Some(id.0.into_owned());
        }
        if blocked && self.index == 0 {
            self.stop = Some(Stop::Refusal);
        }
        let Some(candidate) = candidate else { return Ok(()) };
        let (reason, logprobs) = (candidate.reason, candidate.logprobs());
        self.grounding.take(candidate.grounding);
        if !logprobs.is_empty() {
            say(Said::Logprobs(&logprobs));
        }
        for spoken in spoken(candidate).ok_or(Malformed)? {
            if !matches!(spoken, Spoken::Text(_)) {
                self.grounding.due().iter().for_each(|cited| say(Said::Cited(cited)));
            }
            match spoken {
                Spoken::Text(text) => {
                    self.grounding.say(&text);
                    say(Said::Text(&text));
                }
                Spoken::Thinking(text) => say(Said::Thinking(&text)),
                Spoken::Signed(signer, signature) => say(Said::Signed(signer, &signature)),
                Spoken::Image { media_type, data } => say(Said::Image { media_type: &media_type, data: &data }),
                Spoken::Call { id, name, input } => {
                    let tool = self.tools;
                    if tool == MAX_TOOLS || id.as_ref().is_some_and(|id| id.len() > MAX_NAME) {
                        return Err(Malformed);
                    }
                    self.tools += 1;
                    let answer = self.id.as_deref().unwrap_or_default();
                    let id = id.map_or_else(|| nameless(answer, self.index, tool), |id| id.0.into_owned());
                    say(Said::Call { tool, id: &id, name: &name });
                    say(Said::Input { tool, part: input });
                }
            }
        }
        if present(reason).is_some() {
            self.stop = Some(stop(reason, self.tools > 0).ok_or(Malformed)?);
        }
        Ok(())
    }

    /// The stream has ended; it is whole when the model said why it stopped.
    pub fn finish(&mut self, say: &mut impl FnMut(Said<'_>)) {
        if let Some(stop) = self.stop {
            std::mem::take(&mut self.grounding).finish().iter().for_each(|cited| say(Said::Cited(cited)));
            say(Said::Stop(stop));
            let used = self.count.used();
            say(Said::End(used.and_then(|used| used.tokens), Sound::of(used.as_ref())));
        }
    }
}
