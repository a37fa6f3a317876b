//! The events of a response of OpenAI's, as what they say.

use super::{
    super::{
        answer::{Failure, MAX_NAME, Malformed, Said, Sound, are_names},
        chat::read_answer::failure,
        cite::{MAX_CITATIONS, characters},
        logprobs,
        read::{Text, present},
        signature::Signer,
    },
    cite,
    read_answer::{BETWEEN, FUNCTION_CALL, FunctionCall, Item, Response, stop, told},
};
use crate::openai::responses::usage::count;
use serde::Deserialize;
use serde_json::value::RawValue;

/// More tools than this are not called in one answer.
const MAX_TOOLS: u64 = 10_000;

/// Holds what is known of the tool being called.
#[derive(Debug)]
pub(in crate::translate) struct StreamReader {
    /// What tells the target from others.
    place: u64,
    begun: bool,
    /// The place of the tool whose arguments are still coming, and whether any of them came.
    open: Option<(u64, bool)>,
    /// Tools called so far.
    tools: u64,
    refused: bool,
    /// The place of the item whose reasoning was summarised last.
    summarised: Option<u64>,
    /// Characters of text so far, and at how many the part began that is being said, by its places.
    words: u64,
    part: ((u64, u64), u64),
    /// Citations so far.
    citations: usize,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(default)]
    output_index: u64,
    #[serde(default)]
    content_index: u64,
    #[serde(default)]
    summary_index: u64,
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    logprobs: Option<&'a RawValue>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, default)]
    annotation: Option<&'a RawValue>,
    #[serde(borrow, default)]
    item: Option<&'a RawValue>,
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

impl StreamReader {
    pub const fn new(place: u64) -> Self {
        Self {
            place,
            begun: false,
            open: None,
            tools: 0,
            refused: false,
            summarised: None,
            words: 0,
            part: ((0, 0), 0),
            citations: 0,
        }
    }

    /// Reads the data of one event.
    pub fn event(&mut self, data: &[u8], say: &mut impl FnMut(Said<'_>)) -> Result<(), Malformed> {
        let event: Event<'_> = serde_json::from_slice(data).map_err(|_| Malformed)?;
        let at = event.output_index;
        if event.delta.is_some() {
            self.begin_nameless(say);
        }
        match &*event.r#type {
            "response.created" | "response.queued" | "response.in_progress" => {
                self.begin(&parse(event.response)?, say)?
            }
            "response.output_item.added" => {
                let item: Item<'_> = parse(event.item)?;
                self.begin_nameless(say);
                self.close(say);
                if &*item.r#type == FUNCTION_CALL {
                    self.call(at, &item.function_call().ok_or(Malformed)?, say)?;
                }
            }
            "response.function_call_arguments.delta" => self.input(at, &text(event.delta)?, say)?,
            // Usually it came in pieces.
            "response.function_call_arguments.done" if self.open == Some((at, false)) => {
                self.input(at, &text(event.arguments)?, say)?;
            }
            "response.output_item.done" => {
                let item: Item<'_> = parse(event.item)?;
                if &*item.r#type == FUNCTION_CALL && self.open.is_some_and(|(open, _)| open == at) {
                    if self.open == Some((at, false)) {
                        let call = item.function_call().ok_or(Malformed)?;
                        self.input(at, call.arguments.as_deref().unwrap_or_default(), say)?;
                    }
                    self.close(say);
                }
                if let Some(told) = item.encrypted(self.place) {
                    say(Said::Signed(Signer::OpenAi, &told));
                }
            }
            "response.output_text.delta" => {
                let tokens = logprobs::of_list(event.logprobs);
                if !tokens.is_empty() {
                    say(Said::Logprobs(&tokens));
                }
                self.words((at, event.content_index), &text(event.delta)?, say);
            }
            "response.refusal.delta" => {
                self.refused = true;
                self.words((at, event.content_index), &text(event.delta)?, say);
            }
            "response.output_text.annotation.added" if self.part.0 == (at, event.content_index) => {
                let cited = event.annotation.and_then(|raw| cite::annotation(raw, self.part.1));
                if let Some(cited) = cited.filter(|_| self.citations < MAX_CITATIONS) {
                    self.citations += 1;
                    say(Said::Cited(&cited));
                }
            }
            "response.reasoning_summary_part.added" if event.summary_index > 0 => {
                self.text(BETWEEN, Said::Thinking, say)
            }
            "response.reasoning_summary_text.delta" => {
                self.summarised = Some(at);
                self.text(&text(event.delta)?, Said::Thinking, say);
            }
            // The reasoning itself, which is said where no summary of it was.
            "response.reasoning_text.delta" if self.summarised != Some(at) => {
                self.text(&text(event.delta)?, Said::Thinking, say);
            }
            "response.completed" | "response.incomplete" => self.end(&parse(event.response)?, say)?,
            "response.failed" => {
                let response: Response<'_> = parse(event.response)?;
                say(Said::Failed(told(response.error)));
            }
            "error" => {
                // Its own members are those of an error, or it has one.
                say(Said::Failed(match present(event.error) {
                    Some(error) => failure(error),
                    None => {
                        let whole: &RawValue = serde_json::from_slice(data).map_err(|_| Malformed)?;
                        // The type is that of the event.
                        Failure { kind: None, ..failure(whole) }
                    }
                }));
            }
            _ => {} // items of the provider's tools, and what there may be one day
        }
        Ok(())
    }

    fn begin(&mut self, response: &Response<'_>, say: &mut impl FnMut(Said<'_>)) -> Result<(), Malformed> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        let (id, model) = (response.id.as_deref().unwrap_or_default(), response.model.as_deref().unwrap_or_default());
        if !are_names(id, model) {
            return Err(Malformed);
        }
        say(Said::Begin { id, model });
        Ok(())
    }

    /// A stream that does not say how it begins has no id.
    fn begin_nameless(&mut self, say: &mut impl FnMut(Said<'_>)) {
        if !std::mem::replace(&mut self.begun, true) {
            say(Said::Begin { id: "", model: "" });
        }
    }

    fn call(&mut self, at: u64, call: &FunctionCall<'_>, say: &mut impl FnMut(Said<'_>)) -> Result<(), Malformed> {
        if self.tools == MAX_TOOLS || call.id.len() > MAX_NAME {
            return Err(Malformed);
        }
        say(Said::Call { tool: self.tools, id: &call.id, name: &call.name });
        self.tools += 1;
        self.open = Some((at, false));
        self.input(at, call.arguments.as_deref().unwrap_or_default(), say)
    }

    /// More arguments. Those of a tool after which something else has begun cannot be said any more.
    fn input(&mut self, at: u64, part: &str, say: &mut impl FnMut(Said<'_>)) -> Result<(), Malformed> {
        match &mut self.open {
            _ if part.is_empty() => {}
            Some((open, begun)) if *open == at => {
                *begun = true;
                say(Said::Input { tool: self.tools - 1, part });
            }
            _ => return Err(Malformed),
        }
        Ok(())
    }

    /// Says more of the words of this part.
    fn words(&mut self, part: (u64, u64), text: &str, say: &mut impl FnMut(Said<'_>)) {
        if self.part.0 != part {
            self.part = (part, self.words);
        }
        self.words += characters(text);
        self.text(text, Said::Text, say);
    }

    /// Says a text that there is.
    fn text<'a>(&mut self, text: &'a str, of: fn(&'a str) -> Said<'a>, say: &mut impl FnMut(Said<'_>)) {
        if !text.is_empty() {
            self.close(say);
            say(of(text));
        }
    }

    /// No more arguments come.
    fn close(&mut self, say: &mut impl FnMut(Said<'_>)) {
        if let Some((_, false)) = self.open.take() {
            // A call without arguments: they are an object all the same.
            say(Said::Input { tool: self.tools - 1, part: "{}" });
        }
    }

    fn end(&mut self, response: &Response<'_>, say: &mut impl FnMut(Said<'_>)) -> Result<(), Malformed> {
        self.begin(response, say)?;
        self.close(say);
        let details = response.incomplete_details.as_ref();
        let stop = stop(response.status.as_deref(), details, self.tools > 0, self.refused).ok_or(Malformed)?;
        say(Said::Stop(stop));
        say(Said::End(present(response.usage).and_then(count), Sound::default()));
        Ok(())
    }
}

fn text(raw: Option<&RawValue>) -> Result<Text<'_>, Malformed> {
    parse(raw)
}

/// A part of an event.
fn parse<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Result<T, Malformed> {
    serde_json::from_str(raw.ok_or(Malformed)?.get()).map_err(|_| Malformed)
}
