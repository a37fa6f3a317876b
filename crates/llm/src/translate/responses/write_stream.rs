//! What a stream says, as the events of a response of OpenAI's.
//!
//! Such a stream tells everything three times: piece by piece, as each item is done, and all of it in its last event. So
//! what was said is kept until then, up to [`MOST`].

use super::{
    super::{
        answer::{Failure, MAX_BLOCKS, Said, Stop},
        cite::{Citation, characters},
        logprobs::Elements,
        write::Object,
    },
    Frame, cite,
    write_answer::{Progress, response, status_of},
    write_item::{Item, Kind, REDACTED, Status},
};
use crate::openai::request::Skip;
use credentialflow_model::usage::TokenUsage;

/// Longer answers are not streamed, as longer ones are not taken whole.
const MOST: usize = 32 << 20;

/// Holds what was said.
#[derive(Debug)]
pub(in crate::translate) struct StreamWriter {
    frame: Frame,
    id: String,
    model: String,
    begun: bool,
    /// The number of the next event.
    sequence: u64,
    items: Vec<Item>,
    /// Their ids, which stand in every event.
    ids: Vec<String>,
    /// The places of those of which more may come.
    open: Vec<usize>,
    /// Bytes of the items.
    kept: usize,
    stop: Stop,
    /// Log probabilities of the text that follows.
    logprobs: Elements,
    /// It was ended, as more was said than is kept.
    full: bool,
    /// Characters of its words so far.
    words: u64,
}

impl StreamWriter {
    pub fn new(frame: Frame) -> Self {
        Self {
            frame,
            id: String::new(),
            model: String::new(),
            begun: false,
            sequence: 0,
            items: Vec::new(),
            ids: Vec::new(),
            open: Vec::new(),
            kept: 0,
            stop: Stop::Done,
            logprobs: Elements::new(),
            full: false,
            words: 0,
        }
    }

    /// Bytes of memory in use.
    pub fn held(&self) -> usize {
        let echo: usize = self.frame.echo.iter().map(|(_, json)| json.len()).sum();
        // The last event holds all of it once more.
        let ids: usize = self.ids.iter().map(|id| size_of_val(id) + id.capacity()).sum();
        let pending = self.logprobs.held();
        pending
            + 2 * self.kept
            + self.items.capacity() * size_of::<Item>()
            + ids
            + self.id.len()
            + self.model.len()
            + echo
    }

    /// Whether the stream was ended because more was said than is kept.
    pub const fn is_full(&self) -> bool {
        self.full
    }

    pub fn say(&mut self, said: &Said<'_>, out: &mut Vec<u8>) {
        match said {
            Said::Begin { id, model } => {
                (self.id, self.model) = ((*id).to_owned(), (*model).to_owned());
                self.begun = true;
                for kind in ["response.created", "response.in_progress"] {
                    self.whole(kind, &Progress::Begun, out);
                }
            }
            Said::Text(text) => self.text(Kind::Message, text, out),
            Said::Thinking(text) => self.text(Kind::Reasoning, text, out),
            Said::Signed(signer, signature) => {
                if !self.items.last().is_some_and(|last| last.goes_on(&Kind::Reasoning)) {
                    self.begin(Kind::Reasoning, out);
                }
                self.encrypted(format!("{}{signature}", signer.mark()));
            }
            Said::Logprobs(tokens) => self.logprobs.add(tokens),
            Said::Redacted(data) => {
                self.begin(Kind::Reasoning, out);
                self.encrypted(format!("{REDACTED}{data}"));
            }
            Said::Cited(cited) => self.cite(cited, out),
            Said::Break => {}
            Said::Image { media_type, data } => {
                let place = self.items.len();
                self.begin(Kind::Image((*media_type).to_owned()), out);
                self.add(place, data);
            }
            Said::Call { tool, id, name } => {
                let kind = Kind::Call { tool: *tool, id: (*id).to_owned(), name: (*name).to_owned() };
                self.begin(kind, out);
            }
            Said::Input { tool, part } => self.input(*tool, part, out),
            Said::Stop(stop) => self.stop = *stop,
            Said::Ping => out.extend_from_slice(b": ping\n\n"),
            Said::Failed(failure) => self.fail(failure, out),
            Said::End(told, _) => self.end(told.as_ref(), out),
        }
    }

    /// More of what the model says in words.
    fn text(&mut self, kind: Kind, text: &str, out: &mut Vec<u8>) {
        let goes_on = self.items.last().is_some_and(|last| last.goes_on(&kind));
        if !goes_on {
            self.begin(kind, out);
        }
        let Some(place) = self.items.len().checked_sub(1) else { return };
        if let Item { kind: Kind::Message, words, .. } = &mut self.items[place] {
            self.words += characters(text);
            words.end = self.words;
        }
        let delta = match self.items[place].kind {
            Kind::Reasoning => "response.reasoning_summary_text.delta",
            _ => "response.output_text.delta",
        };
        self.add(place, text);
        let is_text = matches!(self.items[place].kind, Kind::Message);
        let logprobs = if is_text { std::mem::take(&mut self.logprobs) } else { Elements::new() };
        self.told(place, &logprobs);
        self.event(delta, out, |event, writer| {
            writer.part_of(event, place);
            event.text("delta", text);
            if is_text {
                logprobs.write(event.member("logprobs"));
            }
        });
    }

    /// What is cited of the message that is being written.
    fn cite(&mut self, cited: &Citation<'_>, out: &mut Vec<u8>) {
        let Some(place) = self.items.len().checked_sub(1) else { return };
        let item = &mut self.items[place];
        self.kept -= item.held();
        let noted = item.cite(cited);
        self.kept += item.held();
        self.full |= self.kept > MOST;
        if let Some(number) = noted {
            self.event("response.output_text.annotation.added", out, |event, writer| {
                writer.part_of(event, place);
                event.number("annotation_index", number as u64);
                cite::write(event.member("annotation"), &writer.items[place].annotations[number]);
            });
        }
    }

    /// More of a tool's input. There is none after an input that was whole.
    fn input(&mut self, tool: u64, part: &str, out: &mut Vec<u8>) {
        let is_its =
            |place: &&usize| matches!(self.items[**place].kind, Kind::Call { tool: called, .. } if called == tool);
        let Some(place) = self.open.iter().rev().find(is_its).copied() else { return };
        self.add(place, part);
        self.event("response.function_call_arguments.delta", out, |event, writer| {
            writer.place_of(event, place);
            event.text("delta", part);
        });
    }

    /// What only the model can read of the last item.
    fn encrypted(&mut self, encrypted: String) {
        if let Some(last) = self.items.last_mut() {
            self.kept -= last.held();
            last.encrypted = Some(encrypted);
            self.kept += last.held();
            self.full |= self.kept > MOST;
        }
    }

    /// What was told of the tokens of an item.
    fn told(&mut self, place: usize, logprobs: &Elements) {
        let item = &mut self.items[place];
        self.kept -= item.held();
        item.logprobs.append(logprobs);
        self.kept += item.held();
        self.full |= self.kept > MOST;
    }

    fn add(&mut self, place: usize, text: &str) {
        let item = &mut self.items[place];
        self.kept -= item.held();
        item.text.push_str(text);
        self.kept += item.held();
        self.full |= self.kept > MOST;
    }

    /// Begins an item. That ends the one before it, but for a tool whose input is not whole: more of it may come while
    /// others are called.
    fn begin(&mut self, kind: Kind, out: &mut Vec<u8>) {
        let place = self.items.len();
        if let Some(last) = self.items.last()
            && !(matches!(last.kind, Kind::Call { .. }) && serde_json::from_str::<Skip>(&last.text).is_err())
        {
            self.open.pop();
            self.done(place - 1, Status::Completed, out);
        }
        let item = Item { words: self.words..self.words, ..Item::new(kind) };
        self.kept += item.held();
        self.full |= place == MAX_BLOCKS;
        self.ids.push(item.id(&self.id, place));
        self.items.push(item);
        self.open.push(place);
        self.event("response.output_item.added", out, |event, writer| {
            event.number("output_index", place as u64);
            writer.items[place].write(event.member("item"), &writer.ids[place], Status::InProgress);
        });
        if let Some(kind) = part_event(&self.items[place].kind, false) {
            self.event(kind, out, |event, writer| {
                writer.part_of(event, place);
                writer.items[place].part(event.member("part"), false);
            });
        }
    }

    /// The events by which an item ends.
    fn done(&mut self, place: usize, status: Status, out: &mut Vec<u8>) {
        match self.items[place].kind {
            Kind::Call { .. } => self.event("response.function_call_arguments.done", out, |event, writer| {
                writer.place_of(event, place);
                event.text("arguments", &writer.items[place].text);
            }),
            // All of it stands in the item.
            Kind::Image(_) => {}
            Kind::Message => self.event("response.output_text.done", out, |event, writer| {
                writer.part_of(event, place);
                event.text("text", &writer.items[place].text);
                writer.items[place].logprobs.write(event.member("logprobs"));
            }),
            Kind::Reasoning => self.event("response.reasoning_summary_text.done", out, |event, writer| {
                writer.part_of(event, place);
                event.text("text", &writer.items[place].text);
            }),
        }
        if let Some(kind) = part_event(&self.items[place].kind, true) {
            self.event(kind, out, |event, writer| {
                writer.part_of(event, place);
                writer.items[place].part(event.member("part"), true);
            });
        }
        self.event("response.output_item.done", out, |event, writer| {
            event.number("output_index", place as u64);
            writer.items[place].write(event.member("item"), &writer.ids[place], status);
        });
    }

    fn end(&mut self, told: Option<&TokenUsage>, out: &mut Vec<u8>) {
        let progress = Progress::Stopped { stop: self.stop, usage: None };
        for place in std::mem::take(&mut self.open) {
            self.done(place, status_of(&progress, place + 1 == self.items.len()), out);
        }
        let kind = match self.stop {
            Stop::Limit | Stop::Refusal => "response.incomplete",
            Stop::Done | Stop::Tools => "response.completed",
        };
        self.whole(kind, &Progress::Stopped { stop: self.stop, usage: told }, out);
    }

    fn fail(&mut self, failure: &Failure<'_>, out: &mut Vec<u8>) {
        if self.begun {
            self.whole("response.failed", &Progress::Failed(failure), out);
            return;
        }
        self.event("error", out, |event, _| {
            event.text("code", failure.word().unwrap_or("server_error"));
            event.text("message", failure.message.as_deref().unwrap_or(Failure::UNUSABLE));
            event.json("param", "null");
        });
    }

    /// An event that holds the response as it stands.
    fn whole(&mut self, kind: &'static str, progress: &Progress<'_>, out: &mut Vec<u8>) {
        self.event(kind, out, |event, writer| {
            response(event.member("response"), &writer.frame, (&writer.id, &writer.model), progress, &writer.items);
        });
    }

    fn place_of(&self, event: &mut Object<'_>, place: usize) {
        event.text("item_id", &self.ids[place]);
        event.number("output_index", place as u64);
    }

    fn part_of(&self, event: &mut Object<'_>, place: usize) {
        self.place_of(event, place);
        let index = if matches!(self.items[place].kind, Kind::Reasoning) { "summary_index" } else { "content_index" };
        event.number(index, 0);
    }

    /// One event of this type.
    fn event(&mut self, kind: &'static str, out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>, &Self)) {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\ndata: ");
        let mut event = Object::new(out);
        event.text("type", kind);
        event.number("sequence_number", self.sequence);
        fill(&mut event, self);
        event.end();
        out.extend_from_slice(b"\n\n");
        self.sequence += 1;
    }
}

/// The event by which the part of an item begins, or by which it is done.
const fn part_event(kind: &Kind, done: bool) -> Option<&'static str> {
    match (kind, done) {
        (Kind::Message, false) => Some("response.content_part.added"),
        (Kind::Message, true) => Some("response.content_part.done"),
        (Kind::Reasoning, false) => Some("response.reasoning_summary_part.added"),
        (Kind::Reasoning, true) => Some("response.reasoning_summary_part.done"),
        (Kind::Call { .. } | Kind::Image(_), _) => None,
    }
}
