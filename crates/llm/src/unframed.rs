//! A provider's stream as server-sent events whose data is JSON, which is what everything that looks at streams reads.
//!
//! Most come so. Bedrock's are in frames of AWS's own ([`crate::bedrock::events`]), and the data of Replicate's is a model's
//! plain text ([`crate::replicate::events`]).

use crate::{
    bedrock::{
        events,
        frames::{FrameReader, MalformedFrame},
    },
    provider::Dialect,
    replicate,
};
use std::borrow::Cow;

/// Larger messages of AWS's end a stream.
const MAX_MESSAGE: usize = 4 << 20;

/// A provider's stream out of the form it comes in, where that is another.
#[derive(Debug)]
pub enum Unframed {
    /// It passes as it is.
    Plain,
    /// In frames of AWS's.
    Frames(FrameReader),
    /// Events with plain text.
    Texts(replicate::events::Events),
}

impl Unframed {
    /// Of a provider that speaks this dialect.
    pub const fn of(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Bedrock => Self::Frames(FrameReader::new(MAX_MESSAGE)),
            Dialect::Replicate => Self::Texts(replicate::events::Events::new()),
            Dialect::OpenAi | Dialect::Responses | Dialect::Anthropic | Dialect::Gemini => Self::Plain,
        }
    }

    /// Of something that is passed on as it is.
    pub const fn plain() -> Self {
        Self::Plain
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        match self {
            Self::Plain => 0,
            Self::Frames(frames) => frames.held(),
            Self::Texts(events) => events.held(),
        }
    }

    /// The next bytes as such events, and whether they are framed as they should be: what came before a frame that
    /// is broken is told as well. What the end of the stream cuts off is of no use and left out.
    pub fn open<'p>(&mut self, payload: &'p [u8]) -> (Cow<'p, [u8]>, Result<(), MalformedFrame>) {
        let mut out = Vec::with_capacity(match self {
            Self::Plain => return (Cow::Borrowed(payload), Ok(())),
            Self::Frames(_) | Self::Texts(_) => payload.len() * 2,
        });
        let framed = match self {
            Self::Plain => Ok(()),
            Self::Frames(frames) => frames.feed(payload, |frame| {
                let before = out.len();
                events::event(&frame, &mut out).inspect_err(|_| out.truncate(before))
            }),
            Self::Texts(events) => events.feed(payload, &mut out).then_some(()).ok_or(MalformedFrame),
        };
        (Cow::Owned(out), framed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_frames_passes() {
        let mut unframed = Unframed::of(Dialect::OpenAi);
        assert!(matches!(unframed.open(b"data: x"), (Cow::Borrowed(b"data: x"), Ok(()))));
        assert_eq!((Unframed::plain().held(), unframed.held()), (0, 0));
    }

    #[test]
    fn texts_become_json() {
        let mut unframed = Unframed::of(Dialect::Replicate);
        let (events, framed) = unframed.open(b"event: output\ndata: Hi\n\nevent: done\ndata: {}\n\n");
        assert_eq!(framed, Ok(()));
        assert_eq!(
            String::from_utf8_lossy(&events),
            "event: output\ndata: {\"text\":\"Hi\"}\n\nevent: done\ndata: {}\n\n"
        );
    }
}
