//! The answer of a published prompt while it is made: the model's stream, behind all that judges and cleans it, becomes
//! events of the endpoint's own. What cannot go on is an ordinary refusal before the first piece has gone, and the last event
//! after that.

use super::published;
use crate::{
    budget::Charge,
    conn::{AnswerError, AnswerFraming, BodyError, Caller, Received},
    net::{buffer::Buffer, control::Control, stream::Stream},
    pipeline::{
        Inbound, Parts, Refused, answer, cache::Keeping, forward::UpstreamResponse, guard::answered::AnswerGuard,
        record::Recording, refuse, scrub::Scrub, translate::UpstreamRequest,
    },
    worker::{View, Worker},
};
use credentialflow_llm::prompt::streamed::{self, Pieces};
use credentialflow_model::OutcomeReason;
use std::{
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
};

/// Relays the model's answer to a call that was asked for as a stream.
#[expect(clippy::too_many_arguments, reason = "a stage sees what the stages before it made")]
pub(in crate::pipeline) async fn relay<C: Caller>(
    worker: &Worker,
    view: &Rc<View>,
    control: &Control,
    inbound: &Inbound<'_>,
    parts: Parts<'_, '_>,
    request: &mut UpstreamRequest,
    response: UpstreamResponse,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<(), Refused> {
    let scrub = response.scrub.another();
    // Where secrets are only told of, they are as the model's answer passes.
    let blanks = AnswerGuard::of(view, parts.0, request, false, record).blanks();
    let guard = AnswerGuard::of(view, parts.0, request, blanks, record);
    // What is kept is what the caller got.
    let mut caller = match Keeping::of(worker, request, caller) {
        Ok(keeping) => keeping,
        Err(caller) => Keeping::nothing(worker, caller),
    };
    let mut events = Events {
        caller: &mut caller,
        pieces: Pieces::default(),
        scrub,
        guard,
        made: Vec::new(),
        head: None,
        whole: None,
        held: worker.budget.nothing(),
        fits: true,
        has_begun: false,
        waits: false,
        is_sending: false,
        sent: 0,
    };
    let relayed = answer::relay(worker, view, control, inbound, parts, request, response, &mut events, record).await;
    let ended = events.finish(view, parts, relayed, record);
    let Events { scrub, mut guard, sent, has_begun, .. } = events;
    record.bytes_out(sent);
    guard.tell(&scrub, record);
    if !has_begun {
        record.taken_back();
    }
    ended?;
    caller.finish(worker, control, request, record).await
}

/// A caller that gets events of the endpoint's own in place of the model's.
struct Events<'c, 'v, C> {
    caller: &'c mut C,
    pieces: Pieces,
    scrub: Scrub,
    guard: AnswerGuard<'v>,
    /// What was made of the last pieces.
    made: Vec<u8>,
    /// The head, which waits for the first event.
    head: Option<(u16, Vec<u8>)>,
    /// An answer that came whole all the same.
    whole: Option<Vec<u8>>,
    held: Charge,
    /// Whether there is memory for what is kept.
    fits: bool,
    has_begun: bool,
    /// Whether anything was given that is not sent yet.
    waits: bool,
    /// Whether it is being sent: what was cut off there cannot be gone on with.
    is_sending: bool,
    /// Bytes so far.
    sent: u64,
}

impl<C: Caller> Events<'_, '_, C> {
    /// Gives what was made to the caller, and the head before it.
    fn give(&mut self) {
        if self.made.is_empty() {
            return;
        }
        // What stood in an escaped form, or in several pieces, may be written plainly now.
        let made = std::mem::take(&mut self.made);
        let mut made = self.guard.whole(self.scrub.whole(&made).unwrap_or(made));
        if let Some((status, fields)) = self.head.take() {
            self.caller.begin(status, &fields, AnswerFraming::Streamed);
            self.has_begun = true;
        }
        self.caller.payload(&made);
        self.sent += made.len() as u64;
        self.waits = true;
        made.clear();
        self.made = made;
    }

    /// Ends the answer: with all of it, or with why there is no more.
    ///
    /// # Errors
    /// Nothing of it has gone, or nothing more can.
    fn finish(
        &mut self,
        view: &View,
        (matched, ..): Parts<'_, '_>,
        relayed: Result<(), Refused>,
        record: &mut Recording<'_>,
    ) -> Result<(), Refused> {
        let refused = match relayed {
            Ok(()) => self.ended(record),
            // Whose key is gone hears nothing more.
            Err(refused)
                if self.is_sending
                    || matches!(refused.reason, OutcomeReason::CallerClosed | OutcomeReason::Revoked) =>
            {
                return Err(refused);
            }
            Err(refused) => Some(refused),
        };
        match refused {
            None => {
                let ours = published(view, matched).and_then(|published| published.version());
                let (prompt, version) = ours.ok_or(Refused::new(OutcomeReason::Internal))?;
                self.made = match self.whole.take() {
                    Some(whole) => streamed::of_whole(&whole).map_err(|why| unusable(why.0))?,
                    None => {
                        let tokens = record.tokens_told().map(|tokens| (tokens.input, tokens.output));
                        std::mem::take(&mut self.pieces).done(prompt, version, tokens)
                    }
                };
            }
            Some(refused) if !self.has_begun => return Err(refused),
            Some(refused) => {
                record.outcome(refused.reason);
                self.made = streamed::refusal(&refuse::problem(&refused, record));
            }
        }
        self.give();
        self.caller.end();
        Ok(())
    }

    /// Why an answer that is over is none.
    fn ended(&mut self, record: &Recording<'_>) -> Option<Refused> {
        if self.whole.is_some() {
            return None;
        }
        self.pieces.end(&mut self.made);
        let why = self.pieces.failure().map(str::to_owned);
        let refused = match (record.ended_as(), why) {
            (OutcomeReason::Served, Some(why)) => unusable(why),
            (OutcomeReason::Served, None) if self.pieces.is_over() => {
                self.give();
                return None;
            }
            (OutcomeReason::Served, None) => Refused::new(OutcomeReason::UpstreamTruncated),
            (reason, Some(why)) => Refused::new(reason).with_detail(why),
            (reason, None) => Refused::new(reason),
        };
        self.made.clear();
        Some(refused)
    }
}

fn unusable(why: String) -> Refused {
    Refused::new(OutcomeReason::UpstreamMalformed).with_detail(why)
}

impl<C: Caller> Caller for Events<'_, '_, C> {
    fn poll_body(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>, most: usize) -> Poll<Result<Received, BodyError>> {
        self.caller.poll_body(cx, out, most)
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.caller.poll_gone(cx)
    }

    fn settle(&mut self) {
        self.caller.settle();
    }

    fn begin(&mut self, status: u16, fields: &[u8], framing: AnswerFraming) {
        let mut ours = Vec::with_capacity(fields.len() + 32);
        for line in fields.split_inclusive(|b| *b == b'\n') {
            let name = line.split(|b| *b == b':').next().unwrap_or_default();
            if !name.eq_ignore_ascii_case(b"content-type") {
                ours.extend_from_slice(line);
            }
        }
        ours.extend_from_slice(b"content-type: text/event-stream\r\n");
        self.head = Some((status, ours));
        // A stream is never told with its length.
        self.whole = matches!(framing, AnswerFraming::Length(_)).then(Vec::new);
    }

    fn payload(&mut self, bytes: &[u8]) {
        match &mut self.whole {
            Some(whole) => whole.extend_from_slice(bytes),
            None => {
                self.pieces.feed(bytes, &mut self.made);
                self.give();
            }
        }
        let held = self.pieces.held() + self.made.capacity() + self.whole.as_ref().map_or(0, Vec::capacity);
        self.fits &= self.held.set(held as u64).is_ok();
    }

    /// What ends it is known later.
    fn end(&mut self) {}

    async fn flush(&mut self) -> Result<(), AnswerError> {
        if !self.fits {
            return Err(AnswerError::OverBudget);
        }
        if !self.waits {
            // Who is sent nothing is not noticed to be gone by sending.
            let gone = poll_fn(|cx| Poll::Ready(self.caller.poll_gone(cx).is_ready())).await;
            return if gone { Err(AnswerError::Gone) } else { Ok(()) };
        }
        self.is_sending = true;
        self.caller.flush().await?;
        (self.is_sending, self.waits) = (false, false);
        Ok(())
    }

    fn close_after(&mut self) {
        self.caller.close_after();
    }

    fn abort(&mut self) {
        self.caller.abort();
    }

    fn upgraded(&mut self) -> Option<(&mut Stream, &mut Buffer)> {
        self.caller.upgraded()
    }
}
