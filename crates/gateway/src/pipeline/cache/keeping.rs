//! An answer on its way to its caller, of which a copy is made as it goes: so what is kept is what the caller got, behind
//! all that was taken out of it.

use super::{Cached, Wanted};
use crate::{
    budget::Charge,
    cache::Entry,
    conn::{AnswerError, AnswerFraming, BodyError, Caller, Received},
    net::{buffer::Buffer, control::Control, stream::Stream},
    pipeline::{Refused, answer, record::Recording, translate::UpstreamRequest},
    worker::Worker,
};
use credentialflow_model::SecretValue;
use std::{
    sync::Arc,
    task::{Context, Poll},
};
use zeroize::Zeroizing;

/// A caller whose answer is copied.
pub(in crate::pipeline) struct Keeping<'c, C> {
    caller: &'c mut C,
    cached: Option<Cached>,
    copy: Zeroizing<Vec<u8>>,
    held: Charge,
    content_type: Option<Box<[u8]>>,
    /// Whether it may still become an answer that is kept.
    may_be: bool,
    ended: bool,
}

impl<'c, C: Caller> Keeping<'c, C> {
    /// For the answer to this request, where it may be kept; else the caller as it is.
    pub fn of(worker: &Worker, request: &mut UpstreamRequest, caller: &'c mut C) -> Result<Self, &'c mut C> {
        let cached = request.call.as_mut().and_then(|call| call.cached.take());
        match cached.filter(|cached| cached.wanted.is_some()) {
            None => Err(caller),
            Some(cached) => Ok(Self {
                caller,
                cached: Some(*cached),
                copy: Zeroizing::default(),
                held: worker.budget.nothing(),
                content_type: None,
                may_be: true,
                ended: false,
            }),
        }
    }

    /// For an answer that is not kept.
    pub fn nothing(worker: &Worker, caller: &'c mut C) -> Self {
        let held = worker.budget.nothing();
        Self { caller, cached: None, copy: Zeroizing::default(), held, content_type: None, may_be: false, ended: false }
    }

    /// Keeps the answer, if all of it was there and nothing was found in it, and sends its end: so whoever has the whole
    /// answer and asks again finds it kept.
    pub async fn finish(
        mut self,
        worker: &Worker,
        control: &Control,
        request: &UpstreamRequest,
        record: &Recording<'_>,
    ) -> Result<(), Refused> {
        if !self.ended {
            return Ok(());
        }
        if self.may_be
            && let Some(Cached { plan, wanted }) = self.cached
            && let (Some(wanted), Some(content_type), Some(call), Some(tokens)) =
                (wanted, self.content_type, &request.call, record.served_unguarded())
        {
            let Wanted { key, made, owner, question, vector, .. } = *wanted;
            let entry = Entry {
                body: Arc::new(SecretValue::new(std::mem::take(&mut *self.copy))),
                content_type,
                owner,
                target: call.target,
                tokens,
                ttl: plan.ttl,
                question: question.map(|(_, bucket)| bucket).zip(vector),
            };
            // Its reader has the place of it, whether that is waited for or not.
            super::soon(worker, control, worker.shared.cache.keep(key, made, entry)).await?;
        }
        self.caller.end();
        answer::flush(control, worker, self.caller).await
    }

    fn give_up(&mut self) {
        self.may_be = false;
        self.copy = Zeroizing::default();
        let _ = self.held.set(0);
    }
}

impl<C: Caller> Caller for Keeping<'_, C> {
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
        let mut encoded = false;
        for line in fields.split(|b| *b == b'\n') {
            let Some(at) = memchr::memchr(b':', line) else { continue };
            let (name, value) = (&line[..at], line[at + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-type") {
                self.content_type = Some(value.into());
            }
            encoded |= name.eq_ignore_ascii_case(b"content-encoding") && !value.eq_ignore_ascii_case(b"identity");
        }
        if status != 200 || encoded || matches!(framing, AnswerFraming::Empty | AnswerFraming::Described(_)) {
            self.give_up();
        }
        self.caller.begin(status, fields, framing);
    }

    fn payload(&mut self, bytes: &[u8]) {
        if self.may_be {
            let most = self.cached.as_ref().map_or(0, |cached| cached.plan.max_entry);
            if self.copy.len() + bytes.len() > most {
                self.give_up();
            } else {
                self.copy.extend_from_slice(bytes);
                if self.held.set(self.copy.capacity() as u64).is_err() {
                    self.give_up();
                }
            }
        }
        self.caller.payload(bytes);
    }

    fn end(&mut self) {
        // Sent by [`Self::finish`].
        self.ended = true;
    }

    async fn flush(&mut self) -> Result<(), AnswerError> {
        if self.ended { Ok(()) } else { self.caller.flush().await }
    }

    fn close_after(&mut self) {
        self.caller.close_after();
    }

    fn abort(&mut self) {
        self.give_up();
        self.caller.abort();
    }

    fn upgraded(&mut self) -> Option<(&mut Stream, &mut Buffer)> {
        self.give_up();
        self.caller.upgraded()
    }
}
