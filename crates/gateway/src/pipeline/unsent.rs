//! An answer that has begun and of which nothing has gone to its caller yet, so that something else can still be done.

use super::{
    Refused,
    answer::{Filled, fill},
    forward::UpstreamResponse,
    record::Recording,
    translate::UpstreamRequest,
};
use crate::{
    conn::Caller,
    http1::{body::Decoder, tag::Tag},
    net::control::Control,
    worker::{View, Worker},
};
use credentialflow_llm::unsuited::MOST;
use std::time::Duration;

/// The answer, and all that waits for more of it. Nothing is taken from the connection's buffer: whoever relays the answer
/// finds it as it came.
pub(super) struct Unsent<'a, 'w, C> {
    pub worker: &'a Worker,
    pub view: &'a View,
    pub control: &'a Control,
    pub request: &'a UpstreamRequest,
    pub response: &'a mut UpstreamResponse,
    pub caller: &'a mut C,
    pub record: &'a mut Recording<'w>,
}

/// Why there is no more to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// That was all.
    Whole,
    /// The connection ended.
    Closed,
    /// Its framing is broken.
    Malformed,
    /// No more came in time.
    Late,
    /// No more of it is held back.
    Long,
}

impl<C: Caller> Unsent<'_, '_, C> {
    /// Shows what comes of the body until `seen` has seen enough, or that is over. No more than `most` bytes are held back,
    /// and none are waited for longer than `within` after the request went.
    pub async fn until<T>(
        &mut self,
        most: usize,
        within: Option<Duration>,
        mut seen: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Result<T, Over>, Refused> {
        let mut decoder = Decoder::new(self.response.head.framing(false));
        let mut scanned = 0;
        let found = 'found: loop {
            loop {
                let rest = self.response.connection.buffer.filled().get(scanned..).unwrap_or_default();
                let Ok(step) = decoder.step(rest) else { break 'found Err(Over::Malformed) };
                if let Some(enough) = seen(&rest[step.payload]) {
                    break 'found Ok(enough);
                }
                if step.consumed == 0 {
                    break;
                }
                scanned += step.consumed;
            }
            if decoder.is_done() {
                break Err(Over::Whole);
            }
            if scanned > most {
                break Err(Over::Long);
            }
            self.set_deadline(within);
            let Self { control, response, caller, record, .. } = self;
            match fill(control, &mut response.connection, *caller, &mut response.upload, record).await? {
                Filled::Bytes(0) => break Err(Over::Closed),
                Filled::Nothing => break Err(Over::Late),
                Filled::Bytes(_) | Filled::Uploading | Filled::Uploaded { .. } => {}
            }
        };
        self.control.clear_deadline();
        Ok(found)
    }

    /// The body; `None` of one that is too long, compressed, or does not come whole.
    pub async fn body(&mut self) -> Result<Option<Vec<u8>>, Refused> {
        let UpstreamResponse { head, bytes, .. } = &*self.response;
        let coded = head.fields.iter().find(|f| f.tag == Tag::ContentEncoding).map(|f| f.value.of(bytes));
        if coded.is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
            return Ok(None);
        }
        let mut body = Vec::new();
        let read = |piece: &[u8]| {
            body.extend_from_slice(piece);
            None::<std::convert::Infallible>
        };
        Ok(match self.until(MOST, None, read).await? {
            // One that ends with its connection is whole then.
            Err(Over::Whole | Over::Closed) => Some(body),
            Err(Over::Malformed | Over::Late | Over::Long) => None,
        })
    }

    /// Waits no longer than `within` after the request went, or as long as between any two pieces of an answer.
    pub fn set_deadline(&self, within: Option<Duration>) {
        let wait = match within {
            Some(within) => within.saturating_sub(self.response.sent.elapsed()),
            None => self.request.plan(self.view).idle,
        };
        self.control.set_deadline(self.request.tick_in(self.worker, wait));
    }
}
