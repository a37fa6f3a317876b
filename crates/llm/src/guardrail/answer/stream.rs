//! A streamed answer, event by event: events wait in their order until all of their texts are decided.

use super::{
    Answer, Stop,
    block::Block,
    elements,
    event::{Ends, Event, Piece, Queue, ends, is_mark},
};
use crate::{
    guardrail::text::{self, Of, Part, Text, Unreadable},
    sse::{SsePiece, SseReader},
};
use std::borrow::Cow;

/// Larger events are not looked at, so they do not pass.
const MAX_EVENT: usize = 4 << 20;
/// So much of a stream waits at the most, in bytes.
const MOST_HELD: usize = 8 << 20;
/// So many texts of a stream are open at the same time at the most.
const MOST_BLOCKS: usize = 1000;
/// So much of what is to fit a schema is kept.
const MOST_SAID: usize = 4 << 20;

/// How a stream comes to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frames {
    /// As server-sent events.
    Events,
    /// As one JSON array, which is judged when all of it is there.
    Array,
}

/// Judges one streamed answer.
pub struct Stream {
    answer: Answer,
    lane: Lane,
    from: From,
    stopped: Option<Stop>,
}

enum From {
    Events(SseReader),
    Array(Vec<u8>),
}

impl Stream {
    /// For one stream.
    pub fn new(answer: Answer, frames: Frames) -> Self {
        let from = match frames {
            Frames::Events => From::Events(SseReader::new(MAX_EVENT)),
            Frames::Array => From::Array(Vec::new()),
        };
        Self { lane: Lane::of(&answer), answer, from, stopped: None }
    }

    /// Takes more of the stream and appends to `out` what may go. After it was stopped nothing does.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let Self { answer, lane, from, stopped } = self;
        if stopped.is_some() {
            return;
        }
        match from {
            From::Events(reader) => reader.feed(bytes, |piece| {
                if stopped.is_none() {
                    *stopped = lane.piece(&piece, answer).err();
                }
                // What was decided before is gone already.
                if stopped.is_none() {
                    lane.release(false, out);
                }
            }),
            From::Array(kept) if kept.len() + bytes.len() > MOST_HELD => {
                *stopped = Some(Stop::Unreadable(Unreadable::TooMuch));
            }
            From::Array(kept) => kept.extend_from_slice(bytes),
        }
    }

    /// Ends the stream.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let Self { answer, lane, from, stopped } = self;
        if stopped.is_some() {
            return;
        }
        match from {
            From::Events(reader) => {
                reader.finish(|piece| {
                    if stopped.is_none() {
                        *stopped = lane.piece(&piece, answer).err();
                    }
                });
                if stopped.is_none() {
                    *stopped = lane.finish(answer).err();
                }
                if stopped.is_none() {
                    lane.release(true, out);
                }
            }
            From::Array(kept) => match array(answer, kept) {
                Ok(whole) => out.extend_from_slice(&whole),
                Err(why) => *stopped = Some(why),
            },
        }
    }

    /// Why it was stopped, if it was: an error is to end it.
    pub const fn stopped(&self) -> Option<Stop> {
        self.stopped
    }

    /// How many events have gone.
    pub const fn gone(&self) -> u64 {
        self.lane.queue.gone()
    }

    /// Whether others are asked about it before any of it goes.
    pub fn asks(&self) -> bool {
        self.answer.asks()
    }

    /// The answer that it judges.
    pub const fn answer(&mut self) -> &mut Answer {
        &mut self.answer
    }

    /// Bytes of memory in use.
    pub fn held(&self) -> usize {
        let from = match &self.from {
            From::Events(reader) => reader.held(),
            From::Array(kept) => kept.capacity(),
        };
        from + self.lane.held()
    }
}

/// A stream that came whole, as the elements of an array.
pub(super) fn array(answer: &mut Answer, body: &[u8]) -> Result<Vec<u8>, Stop> {
    let mut lane = Lane::of(answer);
    for element in elements(body)? {
        lane.data(element.get().as_bytes(), Cow::Borrowed(element.get().as_bytes()), answer)?;
    }
    lane.finish(answer)?;
    let mut out = vec![b'['];
    while let Some(event) = lane.queue.pop() {
        out.extend_from_slice(if out.len() > 1 { b",\r\n".as_slice() } else { b"" });
        event.write_data(&mut out);
    }
    out.push(b']');
    Ok(out)
}

/// What of a stream waits.
struct Lane {
    queue: Queue,
    blocks: Vec<Block>,
    /// What was said so far, by the number of its choice, where it is to fit a schema.
    said: Vec<(Option<u64>, String)>,
    /// Whether texts wait at all, and whether they wait for the end.
    changes: bool,
    holds: bool,
    /// Characters so far.
    characters: u64,
}

/// Whether nobody reads anything of an event without data: comments and what streams say of themselves. Other bytes may be
/// an answer that only calls itself a stream.
fn says_nothing(raw: &[u8]) -> bool {
    raw.split(|b| matches!(b, b'\n' | b'\r')).all(|line| {
        line.is_empty() || [&b":"[..], b"event", b"id", b"retry"].iter().any(|begin| line.starts_with(begin))
    })
}

impl Lane {
    fn of(answer: &Answer) -> Self {
        Self {
            queue: Queue::default(),
            blocks: Vec::new(),
            said: Vec::new(),
            changes: answer.changes(),
            holds: answer.holds(),
            characters: 0,
        }
    }

    fn held(&self) -> usize {
        let said = self.said.iter().map(|(_, said)| said.len()).sum::<usize>();
        self.queue.held() + self.blocks.iter().map(Block::held).sum::<usize>() + said
    }

    fn piece(&mut self, piece: &SsePiece<'_>, answer: &mut Answer) -> Result<(), Stop> {
        let SsePiece::Event(event) = piece else { return Err(Unreadable::TooMuch.into()) };
        match (is_mark(event), event.data()) {
            (None, Some(data)) => self.data(event.raw, data, answer)?,
            (ends, data) => {
                if data.is_none() && !says_nothing(event.raw) {
                    return Err(Unreadable::Json.into());
                }
                if ends == Some(true) {
                    self.finish(answer)?;
                }
                self.queue.push(Event::plain(event.raw));
            }
        }
        if self.held() > MOST_HELD { Err(Unreadable::TooMuch.into()) } else { Ok(()) }
    }

    /// Takes an event with these data.
    fn data(&mut self, raw: &[u8], data: Cow<'_, [u8]>, answer: &mut Answer) -> Result<(), Stop> {
        let bare = answer.without_tokens(&data)?;
        let mut event = Event::new(raw, data);
        if let Some(bare) = bare {
            event.replace(bare);
        }
        let (texts, _) = text::texts_of(event.data(), Of::Answer)?;
        let ended = ends(event.data());
        let (pieces, whole): (Vec<Text<'_>>, Vec<Text<'_>>) = texts.into_iter().partition(|text| text.part.piece);
        let edits = answer.texts(event.data(), &whole, !ended.repeats)?;
        let waiting =
            pieces.iter().filter(|_| self.changes).map(|text| Piece::new(text.range.clone(), text.text.len()));
        let waiting = waiting.collect();
        let pieces: Vec<(Part, String)> = pieces.into_iter().map(|text| (text.part, text.text.into_owned())).collect();
        (event.pieces, event.edits) = (waiting, edits);
        let number = self.queue.push(event);
        for (place, (part, text)) in pieces.iter().enumerate() {
            self.characters += text.chars().count() as u64;
            self.say(part, text, &ended, answer)?;
            let waits = self.changes.then_some((number, place));
            self.block(part)?.push(text, waits);
        }
        answer.size(self.characters)?;
        for block in &mut self.blocks {
            if pieces.iter().any(|(part, _)| part.id == block.part().id) {
                block.look(answer, &mut self.queue)?;
            }
        }
        self.end(&ended, answer)
    }

    /// Keeps what is to fit a schema.
    fn say(&mut self, part: &Part, text: &str, ended: &Ends, answer: &Answer) -> Result<(), Stop> {
        if !part.words || !answer.fits_words() {
            return Ok(());
        }
        let choice = part.index.filter(|_| ended.choices);
        let at = self.said.iter().position(|(of, _)| *of == choice).unwrap_or_else(|| {
            self.said.push((choice, String::new()));
            self.said.len() - 1
        });
        self.said[at].1.push_str(text);
        if self.said[at].1.len() > MOST_SAID || self.said.len() > MOST_BLOCKS {
            return Err(Unreadable::TooMuch.into());
        }
        Ok(())
    }

    /// The text that a piece goes on with.
    fn block(&mut self, part: &Part) -> Result<&mut Block, Stop> {
        let at = match self.blocks.iter().position(|block| block.part().id == part.id) {
            Some(at) => at,
            None if self.blocks.len() >= MOST_BLOCKS => return Err(Unreadable::TooMuch.into()),
            None => {
                self.blocks.push(Block::new(*part));
                self.blocks.len() - 1
            }
        };
        Ok(&mut self.blocks[at])
    }

    fn end(&mut self, ended: &Ends, answer: &mut Answer) -> Result<(), Stop> {
        if ended.all {
            return self.finish(answer);
        }
        for index in &ended.of {
            let Self { blocks, queue, .. } = self;
            for block in blocks.iter_mut().filter(|block| block.part().index == *index) {
                block.end(answer, queue)?;
            }
            blocks.retain(|block| block.part().index != *index);
            if ended.choices
                && let Some(at) = self.said.iter().position(|(of, _)| of == index)
            {
                let (_, said) = self.said.swap_remove(at);
                answer.words(&said)?;
            }
        }
        Ok(())
    }

    /// Nothing more comes.
    fn finish(&mut self, answer: &mut Answer) -> Result<(), Stop> {
        for mut block in std::mem::take(&mut self.blocks) {
            block.end(answer, &mut self.queue)?;
        }
        std::mem::take(&mut self.said).iter().try_for_each(|(_, said)| answer.words(said))?;
        Ok(())
    }

    /// Lets go what is decided; of an answer that waits for its end, when it has `ended` as it should.
    fn release(&mut self, ended: bool, out: &mut Vec<u8>) {
        while !self.holds || ended {
            match self.queue.pop() {
                Some(event) => event.write(out),
                None => return,
            }
        }
    }
}
