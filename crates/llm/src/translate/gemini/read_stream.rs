//! The events of a Gemini stream, as what they say.
//!
//! Each is a part of an answer. The end of the stream is its end: nothing says so, and what comes after the reason why
//! the model stopped may still count tokens.

use super::{
    super::answer::{MAX_NAME, Malformed, Said, Stop, are_names},
    read_answer::{Generated, Spoken, failure, first, nameless, spoken, stop},
};
use crate::{gemini::usage::Count, translate::read::present};

/// More tools than this are not called in one answer.
const MAX_TOOLS: u64 = 10_000;

/// Holds what is known of tokens, and why the model stopped.
#[derive(Debug)]
pub(in crate::translate) struct StreamReader {
    /// The answer's id, once it has begun.
    id: Option<String>,
    count: Count,
    /// Tools called so far.
    tools: u64,
    stop: Option<Stop>,
}

impl StreamReader {
    pub const fn new() -> Self {
        Self { id: None, count: Count::NONE, tools: 0, stop: None }
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        match &self.id {
            Some(id) => id.capacity(),
            None => 0,
        }
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
        let candidate = first(generated.candidates).ok_or(Malformed)?;
        if self.id.is_none() && (candidate.is_some() || blocked || generated.usage.is_some()) {
            let (id, model) = (generated.id.unwrap_or_default(), generated.model.unwrap_or_default());
            if !are_names(&id, &model) {
                return Err(Malformed);
            }
            say(Said::Begin { id: &id, model: &model });
            self.id = Some(id.0.into_owned());
        }
        if blocked {
            self.stop = Some(Stop::Refusal);
        }
        let Some(candidate) = candidate else { return Ok(()) };
        let reason = candidate.reason;
        for spoken in spoken(candidate).ok_or(Malformed)? {
            match spoken {
                Spoken::Text(text) => say(Said::Text(&text)),
                Spoken::Thinking(text) => say(Said::Thinking(&text)),
                Spoken::Image { media_type, data } => say(Said::Image { media_type: &media_type, data: &data }),
                Spoken::Call { id, name, input } => {
                    let tool = self.tools;
                    if tool == MAX_TOOLS || id.as_ref().is_some_and(|id| id.len() > MAX_NAME) {
                        return Err(Malformed);
                    }
                    self.tools += 1;
                    let answer = self.id.as_deref().unwrap_or_default();
                    let id = id.map_or_else(|| nameless(answer, tool), |id| id.0.into_owned());
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
            say(Said::Stop(stop));
            say(Said::End(self.count.usage()));
        }
    }
}
