//! The events of a stream, as what they say. Their data is JSON already ([`crate::replicate::events`]).

use super::super::{
    answer::{Failure, Malformed, Said, Sound, Stop},
    read::Text,
};
use serde::Deserialize;

/// Knows whether the answer has begun.
#[derive(Debug)]
pub(in crate::translate) struct StreamReader {
    /// What the answer and its model are called, which the stream does not say.
    id: Box<str>,
    model: Box<str>,
    begun: bool,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    text: Text<'a>,
}

#[derive(Default, Deserialize)]
struct End<'a> {
    #[serde(borrow, default)]
    reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    detail: Option<Text<'a>>,
}

impl StreamReader {
    pub fn new(id: &str, model: &str) -> Self {
        Self { id: id.into(), model: model.into(), begun: false }
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        self.id.len() + self.model.len()
    }

    /// Reads one event.
    pub fn event(&mut self, name: &[u8], data: &[u8], say: &mut impl FnMut(Said<'_>)) -> Result<(), Malformed> {
        match name {
            b"output" => {
                let Output { text } = serde_json::from_slice(data).map_err(|_| Malformed)?;
                self.begin(say);
                if !text.is_empty() {
                    say(Said::Text(&text));
                }
            }
            b"error" => {
                let End { detail, .. } = serde_json::from_slice(data).unwrap_or_default();
                say(Said::Failed(Failure { message: detail, ..Failure::default() }));
            }
            b"done" => {
                let End { reason, .. } = serde_json::from_slice(data).unwrap_or_default();
                match reason.filter(|reason| !reason.is_empty()) {
                    None => {
                        self.begin(say);
                        say(Said::Stop(Stop::Done));
                        say(Said::End(None, Sound::default()));
                    }
                    // `canceled`, `error`, and what there may be one day.
                    Some(reason) => {
                        let kind = Some(reason).filter(|reason| reason.len() <= 64);
                        say(Said::Failed(Failure { kind, ..Failure::default() }));
                    }
                }
            }
            _ => {} // logs, and what there may be one day
        }
        Ok(())
    }

    fn begin(&mut self, say: &mut impl FnMut(Said<'_>)) {
        if !std::mem::replace(&mut self.begun, true) {
            say(Said::Begin { id: &self.id, model: &self.model });
        }
    }
}
