//! The texts that others judge: those of a call, of a whole answer, and of a stream, whose pieces are put together.

use crate::{
    guardrail::text::{self, Of, Origin, Text, Unreadable},
    sse::{SsePiece, SseReader},
};
use serde_json::value::RawValue;

/// A text that is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The text.
    pub text: String,
    /// Who says it.
    pub origin: Origin,
    /// Whether it is said in a conversation in words: not what a tool is called with, nor anything beside what is said.
    pub words: bool,
}

impl From<Text<'_>> for Said {
    fn from(Text { text, origin, part, .. }: Text<'_>) -> Self {
        Self { text: text.into_owned(), origin, words: part.words }
    }
}

/// The texts of a call's body.
///
/// # Errors
/// It cannot be read, or there are too many.
pub fn said_in_call(body: &[u8]) -> Result<Vec<Said>, Unreadable> {
    said_in(body, Of::Call)
}

/// The texts of an answer: a whole one, a stream of events, or one that came as an array; the pieces of a streamed text
/// are one.
///
/// # Errors
/// It cannot be read, or there are too many.
pub fn said_in_answer(body: &[u8], events: bool) -> Result<Vec<Said>, Unreadable> {
    if events {
        let mut pieces = Pieces::default();
        let mut failed = None;
        let mut take = |piece: SsePiece<'_>| match piece {
            SsePiece::Event(event) => match event.data() {
                Some(data) if data.first() == Some(&b'{') => failed = failed.or(pieces.take(&data).err()),
                _ => {}
            },
            _ => failed = Some(Unreadable::TooMuch),
        };
        let mut reader = SseReader::new(body.len().max(1));
        reader.feed(body, &mut take);
        reader.finish(&mut take);
        return failed.map_or(Ok(pieces.0.into_iter().map(|(_, said)| said).collect()), Err);
    }
    if body.trim_ascii_start().starts_with(b"[") {
        let mut pieces = Pieces::default();
        let elements: Vec<&RawValue> = serde_json::from_slice(body).map_err(|_| Unreadable::Json)?;
        elements.iter().try_for_each(|element| pieces.take(element.get().as_bytes()))?;
        return Ok(pieces.0.into_iter().map(|(_, said)| said).collect());
    }
    said_in(body, Of::Answer)
}

/// The texts of a stream, and what tells each that goes on in other events from the others.
#[derive(Default)]
struct Pieces(Vec<(Option<PieceId>, Said)>);

/// Of which text a piece is: its id, and its index where it has one.
type PieceId = (u64, Option<u64>);

impl Pieces {
    fn take(&mut self, data: &[u8]) -> Result<(), Unreadable> {
        for text in text::texts_of(data, Of::Answer)?.0 {
            let id = text.part.piece.then_some((text.part.id, text.part.index));
            match self.0.iter().position(|(known, _)| id.is_some() && *known == id) {
                Some(at) => self.0[at].1.text.push_str(&text.text),
                None if self.0.len() >= text::MOST_TEXTS => return Err(Unreadable::TooMuch),
                None => self.0.push((id, text.into())),
            }
        }
        Ok(())
    }
}

fn said_in(body: &[u8], of: Of) -> Result<Vec<Said>, Unreadable> {
    let (texts, _) = text::texts_of(body, of)?;
    let flat = text::flattened(&texts)?;
    Ok(flat.into_iter().map(Said::from).collect())
}
