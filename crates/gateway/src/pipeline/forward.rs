//! Sends the injected request and waits for the head of the answer. The only place that takes an
//! [`InjectedRequest`].

use super::{
    Inbound, InjectedRequest, Refused, body,
    choose::Chosen,
    record::Recording,
    scrub::Scrub,
    translate::{Failure, UpstreamBody, UpstreamRequest},
};
use crate::{
    conn::{BodyError, Caller, Received},
    http1::{
        body::{LAST_CHUNK, push_chunk},
        head::{HeadLimits, Parsed, ResponseHead, parse_response},
    },
    net::control::{Control, Interrupt},
    upstream::{ConnectError, Connection, Endpoint},
    worker::{UseCount, View, Worker},
};
use credentialflow_model::OutcomeReason;
use std::{
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};
use tokio::io::AsyncWrite;

/// An answer whose head was read and whose body was not.
pub(crate) struct UpstreamResponse {
    /// The head; its spans refer to `bytes`.
    pub head: ResponseHead,
    /// The head's bytes, secrets that echo already removed.
    pub bytes: Vec<u8>,
    /// The connection, body next.
    pub connection: Connection,
    /// Where the connection goes back to.
    pub endpoint: Rc<Endpoint>,
    /// What must not pass.
    pub scrub: Scrub,
    /// Whether the request was sent whole, so that the connection can serve another.
    pub request_complete: bool,
    /// When the request was sent.
    pub sent: Instant,
    /// Keeps this use of the credential counted until the answer is over.
    pub _in_use: Option<InUse>,
}

/// A counted use of a credential version.
pub(crate) struct InUse(UseCount);

impl InUse {
    pub(super) fn of(view: &View, slot: u32) -> Option<Self> {
        let count = view.uses.get(slot as usize)?.clone();
        count.set(count.get() + 1);
        Some(Self(count))
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// Why a try ended.
pub(super) enum Ended {
    /// Another try may follow.
    Failed(Failure),
    /// None may: the caller or we are the reason.
    Refused(Refused),
}

impl From<Refused> for Ended {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

fn failed(reason: OutcomeReason, untouched: bool) -> Ended {
    Ended::Failed(Failure { reason, untouched })
}

/// Response heads may be larger than request heads: cookies add up.
const RESPONSE_HEAD: HeadLimits = HeadLimits { bytes: 64 * 1024, target: 0, fields: 256 };
/// Body bytes read from the caller at once.
const PIECE: usize = 64 * 1024;
/// Interim answers (RFC 9110, 15.2) passed over before one counts as garbage.
const MAX_INTERIM: usize = 8;

/// One try.
#[expect(clippy::too_many_arguments, reason = "a stage sees what the stages before it made")]
pub(super) async fn forward<C: Caller>(
    worker: &Worker,
    view: &View,
    control: &Control,
    inbound: &Inbound<'_>,
    mut injected: InjectedRequest,
    request: &mut UpstreamRequest,
    chosen: &Chosen,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<UpstreamResponse, Ended> {
    request.attempts += 1;
    request.last = Some(chosen.index);
    record.attempt(request.attempts);
    let in_use = request.inject_plan(view).and_then(|plan| InUse::of(view, plan.credential));
    let plan = request.plan(view);
    let health = plan.health;
    let unhealthy = |ended: Ended| {
        if let Ended::Failed(_) = &ended {
            chosen.endpoint.failed(health.failures, health.cooldown.as_duration());
        }
        ended
    };
    let mut connection = connect(worker, view, control, inbound, chosen, plan.connect).await.map_err(unhealthy)?;
    let sent = Instant::now();
    record.sent(sent);
    control.set_deadline(worker.tick_in(plan.response.max(worker.shared.settings.body_timeout)));
    let complete = match send(worker, control, &mut injected, request, &mut connection, caller, record).await {
        Ok(complete) => complete,
        Err(ended) => {
            let reused = connection.reused;
            return Err(if reused { ended } else { unhealthy(ended) });
        }
    };
    let plan = request.plan(view);
    control.set_deadline(worker.tick_in(plan.response));
    let mut scrub = injected.take_scrub();
    drop(injected);
    let (head, bytes) = match read_head(control, inbound, &mut connection, caller, &scrub).await {
        Ok(read) => read,
        Err(ended) => {
            // A kept connection that was closed while idle says nothing about the endpoint.
            let stale = connection.reused
                && matches!(ended, Ended::Failed(Failure { reason: OutcomeReason::UpstreamReset, .. }));
            return Err(if stale { ended } else { unhealthy(ended) });
        }
    };
    control.clear_deadline();
    chosen.endpoint.succeeded();
    record.upstream_status(head.status);
    if complete.is_none() {
        connection.reused = false;
    }
    Ok(UpstreamResponse {
        head,
        bytes,
        connection,
        endpoint: chosen.endpoint.clone(),
        scrub: std::mem::take(&mut scrub),
        request_complete: complete.is_some(),
        sent,
        _in_use: in_use,
    })
}

async fn connect(
    worker: &Worker,
    view: &View,
    control: &Control,
    inbound: &Inbound<'_>,
    chosen: &Chosen,
    limit: std::time::Duration,
) -> Result<Connection, Ended> {
    if let Some(connection) = chosen.endpoint.take(!inbound.is_idempotent()) {
        return Ok(connection);
    }
    control.set_deadline(worker.tick_in(limit));
    let connected = control.wait(Endpoint::connect(chosen.plan(view))).await;
    match connected {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(ConnectError::Refused)) => Err(failed(OutcomeReason::UpstreamConnectFailed, true)),
        Ok(Err(ConnectError::Tls)) => Err(failed(OutcomeReason::UpstreamTlsFailed, true)),
        Err(Interrupt::Deadline) => Err(failed(OutcomeReason::UpstreamConnectTimeout, true)),
        Err(other) => Err(body::interrupted(other, OutcomeReason::UpstreamConnectTimeout).into()),
    }
}

/// Sends head and body. `None`: the upstream answered before it had the whole body.
async fn send<C: Caller>(
    worker: &Worker,
    control: &Control,
    injected: &mut InjectedRequest,
    request: &mut UpstreamRequest,
    connection: &mut Connection,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<Option<()>, Ended> {
    let lost = |_| failed(OutcomeReason::UpstreamReset, false);
    let late = |i: Interrupt| Ended::from(body::interrupted(i, OutcomeReason::UpstreamTimeout));
    let head = injected.expose_head();
    match &mut request.body {
        UpstreamBody::Empty => {
            control.wait(connection.stream.write_all(head)).await.map_err(late)?.map_err(lost)?;
            Ok(Some(()))
        }
        UpstreamBody::Buffered(body) => {
            // Small bodies travel with the head; the head's buffer has room, so nothing secret is moved.
            if body.len() <= head.capacity() - head.len() {
                head.extend_from_slice(body);
                control.wait(connection.stream.write_all(head)).await.map_err(late)?.map_err(lost)?;
            } else {
                let both = async {
                    connection.stream.write_all(head).await?;
                    connection.stream.write_all(body).await
                };
                control.wait(both).await.map_err(late)?.map_err(lost)?;
            }
            Ok(Some(()))
        }
        UpstreamBody::Streamed { length, begun } => {
            control.wait(connection.stream.write_all(head)).await.map_err(late)?.map_err(lost)?;
            let mut upload = Upload {
                chunked: length.is_none(),
                left: record.max_body(),
                begun,
                pending: worker.take_scratch(),
                written: 0,
                raw: worker.take_scratch(),
                ended: false,
                waiting_for_caller: false,
                progress: false,
                received: 0,
            };
            loop {
                control.set_deadline(worker.tick_in(worker.shared.settings.body_timeout));
                let step = control.wait(poll_fn(|cx| upload.poll(cx, caller, connection))).await;
                record.bytes_in(upload.received);
                match step {
                    Ok(UploadStep::Progress) => {}
                    Ok(UploadStep::Complete) => break,
                    Ok(UploadStep::Answered) => return Ok(None),
                    Ok(UploadStep::UpstreamLost) => return Err(failed(OutcomeReason::UpstreamReset, false)),
                    Ok(UploadStep::TooLarge) => return Err(Refused::new(OutcomeReason::BodyTooLarge).into()),
                    Ok(UploadStep::Caller(e)) => return Err(body::unreadable(e).into()),
                    Err(i) => {
                        let slow = if upload.waiting_for_caller {
                            OutcomeReason::RequestTimeout
                        } else {
                            OutcomeReason::UpstreamTimeout
                        };
                        return Err(body::interrupted(i, slow).into());
                    }
                }
            }
            let Upload { pending, raw, .. } = upload;
            worker.give_scratch(pending);
            worker.give_scratch(raw);
            Ok(Some(()))
        }
    }
}

/// A body on its way up, watched for an early answer.
struct Upload<'a> {
    chunked: bool,
    left: u64,
    begun: &'a mut bool,
    pending: Vec<u8>,
    written: usize,
    raw: Vec<u8>,
    ended: bool,
    waiting_for_caller: bool,
    progress: bool,
    received: u64,
}

enum UploadStep {
    Progress,
    Complete,
    Answered,
    UpstreamLost,
    TooLarge,
    Caller(BodyError),
}

impl Upload<'_> {
    fn poll<C: Caller>(
        &mut self,
        cx: &mut Context<'_>,
        caller: &mut C,
        connection: &mut Connection,
    ) -> Poll<UploadStep> {
        self.progress = false;
        loop {
            if self.written < self.pending.len() {
                self.waiting_for_caller = false;
                match Pin::new(&mut connection.stream).poll_write(cx, &self.pending[self.written..]) {
                    Poll::Ready(Ok(n)) if n > 0 => {
                        self.written += n;
                        self.progress = true;
                        continue;
                    }
                    Poll::Ready(_) => return Poll::Ready(UploadStep::UpstreamLost),
                    Poll::Pending => break,
                }
            }
            if self.ended {
                return match Pin::new(&mut connection.stream).poll_flush(cx) {
                    Poll::Ready(Ok(())) => Poll::Ready(UploadStep::Complete),
                    Poll::Ready(Err(_)) => Poll::Ready(UploadStep::UpstreamLost),
                    Poll::Pending => Poll::Pending,
                };
            }
            self.pending.clear();
            self.raw.clear();
            self.written = 0;
            self.waiting_for_caller = true;
            match caller.poll_body(cx, &mut self.raw, PIECE) {
                Poll::Ready(Ok(Received::Data)) => {
                    *self.begun = true;
                    let n = self.raw.len() as u64;
                    self.received += n;
                    match self.left.checked_sub(n) {
                        Some(left) => self.left = left,
                        None => return Poll::Ready(UploadStep::TooLarge),
                    }
                    if self.chunked {
                        push_chunk(&mut self.pending, &self.raw);
                    } else {
                        std::mem::swap(&mut self.pending, &mut self.raw);
                    }
                }
                Poll::Ready(Ok(Received::End)) => {
                    self.ended = true;
                    if self.chunked {
                        self.pending.extend_from_slice(LAST_CHUNK);
                    }
                }
                Poll::Ready(Err(e)) => return Poll::Ready(UploadStep::Caller(e)),
                Poll::Pending => break,
            }
        }
        match connection.stream.poll_fill(cx, &mut connection.buffer) {
            Poll::Ready(Ok(n)) if n > 0 => Poll::Ready(UploadStep::Answered),
            Poll::Ready(_) => Poll::Ready(UploadStep::UpstreamLost),
            Poll::Pending if self.progress => Poll::Ready(UploadStep::Progress),
            Poll::Pending => Poll::Pending,
        }
    }
}

async fn read_head<C: Caller>(
    control: &Control,
    inbound: &Inbound<'_>,
    connection: &mut Connection,
    caller: &mut C,
    scrub: &Scrub,
) -> Result<(ResponseHead, Vec<u8>), Ended> {
    let mut head = ResponseHead::default();
    let mut scanned = 0;
    let mut interim = 0;
    loop {
        match parse_response(connection.buffer.filled(), scanned, &RESPONSE_HEAD, &mut head) {
            Ok(Parsed::Complete) if head.status < 200 && !(head.status == 101 && inbound.asks_websocket()) => {
                interim += 1;
                if head.status == 101 || interim > MAX_INTERIM {
                    return Err(failed(OutcomeReason::UpstreamMalformed, false));
                }
                connection.buffer.consume(head.len);
                scanned = 0;
                continue;
            }
            Ok(Parsed::Complete) => {
                let raw = &connection.buffer.filled()[..head.len];
                let bytes = scrub.whole(raw).unwrap_or_else(|| raw.to_vec());
                connection.buffer.consume(head.len);
                return Ok((head, bytes));
            }
            Ok(Parsed::Partial) => {}
            Err(reason) => return Err(failed(reason, false)),
        }
        scanned = connection.buffer.filled().len();
        let waited = control.wait(poll_fn(|cx| {
            if let Poll::Ready(read) = connection.stream.poll_fill(cx, &mut connection.buffer) {
                return Poll::Ready(Some(read));
            }
            caller.poll_gone(cx).map(|()| None)
        }));
        match waited.await {
            Ok(Some(Ok(n))) if n > 0 => {}
            // Closed before a single byte: on a kept connection the request was most likely never read.
            Ok(Some(_)) => return Err(failed(OutcomeReason::UpstreamReset, false)),
            Ok(None) => return Err(Refused::new(OutcomeReason::CallerClosed).into()),
            Err(i) => {
                return Err(match i {
                    Interrupt::Deadline => failed(OutcomeReason::UpstreamTimeout, false),
                    other => body::interrupted(other, OutcomeReason::UpstreamTimeout).into(),
                });
            }
        }
    }
}
