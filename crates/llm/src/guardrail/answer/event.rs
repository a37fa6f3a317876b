//! An event of a streamed answer: what it says of blocks that end, and how it is written with other texts.

use crate::{guardrail::text::edited, sse::SseEvent};
use serde::{Deserialize, de::IgnoredAny};
use std::{borrow::Cow, collections::VecDeque, ops::Range};

/// An event that waits, or is about to go.
#[derive(Debug)]
pub(super) struct Event {
    /// As it came.
    raw: Vec<u8>,
    data: Data,
    /// Its texts that go on in other events.
    pub pieces: Vec<Piece>,
    /// What stands in the places of other texts.
    pub edits: Vec<(Range<usize>, String)>,
}

/// Where the JSON of an event is.
#[derive(Debug)]
enum Data {
    /// In its bytes.
    At(Range<usize>),
    /// Apart from them, as it stood in several lines or was changed before.
    Apart(Vec<u8>),
}

/// A piece of a text that goes on in other events.
#[derive(Debug)]
pub(super) struct Piece {
    /// Where it stands in the JSON, with its quotes.
    pub range: Range<usize>,
    /// What of it may go, as it goes.
    pub out: String,
    /// Whether that is something else than what came.
    pub changed: bool,
    /// So many of its bytes still wait.
    pub left: usize,
}

impl Piece {
    /// One of which all waits.
    pub const fn new(range: Range<usize>, left: usize) -> Self {
        Self { range, out: String::new(), changed: false, left }
    }
}

/// What an event ends.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ends {
    /// All there is.
    pub all: bool,
    /// The choices or blocks of these numbers.
    pub of: Vec<Option<u64>>,
    /// Whether numbers are those of choices, each of which is an answer.
    pub choices: bool,
    /// Whether its texts were told before, piece by piece.
    pub repeats: bool,
}

impl Event {
    /// An event with these data.
    pub fn new(raw: &[u8], data: Cow<'_, [u8]>) -> Self {
        let at = match &data {
            // They are a part of its bytes.
            Cow::Borrowed(data) => data.as_ptr().addr().checked_sub(raw.as_ptr().addr()),
            Cow::Owned(_) => None,
        };
        let at = at.map(|start| start..start + data.len()).filter(|at| raw.get(at.clone()) == Some(&data[..]));
        let data = at.map_or_else(|| Data::Apart(data.into_owned()), Data::At);
        Self { raw: raw.to_vec(), data, pieces: Vec::new(), edits: Vec::new() }
    }

    /// One that is passed as it is.
    pub fn plain(raw: &[u8]) -> Self {
        Self { raw: raw.to_vec(), data: Data::At(0..0), pieces: Vec::new(), edits: Vec::new() }
    }

    /// Its JSON.
    pub fn data(&self) -> &[u8] {
        match &self.data {
            Data::At(range) => &self.raw[range.clone()],
            Data::Apart(data) => data,
        }
    }

    /// With other JSON.
    pub fn replace(&mut self, data: Vec<u8>) {
        self.data = Data::Apart(data);
    }

    /// Bytes of memory in use.
    pub fn held(&self) -> usize {
        self.raw.len() + if let Data::Apart(data) = &self.data { data.len() } else { 0 }
    }

    /// Whether nothing of it waits any more.
    pub fn is_done(&self) -> bool {
        self.pieces.iter().all(|piece| piece.left == 0)
    }

    /// Takes its texts together, each as it may go.
    fn close(&mut self) {
        for piece in self.pieces.drain(..).filter(|piece| piece.changed) {
            self.edits.push((piece.range, serde_json::Value::String(piece.out).to_string()));
        }
        self.edits.sort_by_key(|(range, _)| range.start);
    }

    /// Writes its JSON alone.
    pub fn write_data(mut self, out: &mut Vec<u8>) {
        self.close();
        out.extend_from_slice(&edited(self.data(), &self.edits));
    }

    /// Writes it.
    pub fn write(mut self, out: &mut Vec<u8>) {
        self.close();
        match &self.data {
            _ if self.edits.is_empty() && matches!(self.data, Data::At(_)) => out.extend_from_slice(&self.raw),
            Data::At(range) => {
                out.extend_from_slice(&self.raw[..range.start]);
                out.extend_from_slice(&edited(&self.raw[range.clone()], &self.edits));
                out.extend_from_slice(&self.raw[range.end..]);
            }
            Data::Apart(data) => {
                for line in self.raw.split(|b| matches!(b, b'\n' | b'\r')) {
                    if line.starts_with(b"event") || line.starts_with(b"id") {
                        out.extend_from_slice(line);
                        out.push(b'\n');
                    }
                }
                out.extend_from_slice(b"data: ");
                // Lines of JSON end between its parts only.
                out.extend(edited(data, &self.edits).into_iter().filter(|b| !matches!(b, b'\n' | b'\r')));
                out.extend_from_slice(b"\n\n");
            }
        }
    }
}

/// The events that wait, in their order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    events: VecDeque<Event>,
    /// The number of the first of them.
    first: u64,
    held: usize,
}

impl Queue {
    /// Adds one; its number.
    pub fn push(&mut self, event: Event) -> u64 {
        self.held += event.held();
        self.events.push_back(event);
        self.first + self.events.len() as u64 - 1
    }

    /// The piece of an event that waits.
    pub fn piece(&mut self, (event, piece): (u64, usize)) -> Option<&mut Piece> {
        let at = usize::try_from(event.checked_sub(self.first)?).ok()?;
        self.events.get_mut(at)?.pieces.get_mut(piece)
    }

    /// Takes the first where it is done.
    pub fn pop(&mut self) -> Option<Event> {
        self.events.front().filter(|event| event.is_done())?;
        let event = self.events.pop_front()?;
        self.first += 1;
        self.held = self.held.saturating_sub(event.held());
        Some(event)
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        self.held
    }

    /// How many have gone.
    pub const fn gone(&self) -> u64 {
        self.first
    }
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: Option<String>,
    index: Option<u64>,
    output_index: Option<u64>,
    choices: Option<Vec<Choice>>,
    candidates: Option<Vec<Choice>>,
}

#[derive(Deserialize)]
struct Choice {
    index: Option<u64>,
    #[serde(alias = "finishReason")]
    finish_reason: Option<IgnoredAny>,
}

/// What an event ends. One that is of no dialect ends nothing: what waits then waits for the end of the stream.
pub(super) fn ends(data: &[u8]) -> Ends {
    let Ok(Envelope { kind, index, output_index, choices, candidates }) = serde_json::from_slice(data) else {
        return Ends::default();
    };
    if let Some(choices) = choices.or(candidates) {
        let ended = choices.into_iter().filter(|choice| choice.finish_reason.is_some());
        return Ends { all: false, of: ended.map(|choice| choice.index).collect(), choices: true, repeats: false };
    }
    let kind = kind.unwrap_or_default();
    let of = match &*kind {
        "content_block_stop" => vec![index],
        // Of a response, each text that is done is told of once more.
        kind if kind.ends_with(".done") => vec![output_index],
        _ => Vec::new(),
    };
    let all = matches!(
        &*kind,
        "message_delta" | "message_stop" | "response.completed" | "response.incomplete" | "response.failed"
    );
    Ends { all, of, choices: false, repeats: kind.starts_with("response.") }
}

/// Whether an event's data are the word by which a stream ends, or nothing.
pub(super) fn is_mark(event: &SseEvent<'_>) -> Option<bool> {
    match event.data() {
        None => Some(false),
        Some(data) => match data.trim_ascii() {
            b"" => Some(false),
            b"[DONE]" => Some(true),
            _ => None,
        },
    }
}
