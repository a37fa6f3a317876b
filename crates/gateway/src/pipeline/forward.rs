//! Sends the injected request and waits for the head of the answer. The only place that takes an
//! [`InjectedRequest`].

use super::{
    Inbound, InjectedRequest, Refused, body,
    choose::Chosen,
    guard::UploadGuard,
    record::Recording,
    scrub::Scrub,
    translate::{Failure, UpstreamBody, UpstreamRequest},
    upload::{Upload, UploadStep},
};
use crate::{
    conn::Caller,
    http1::head::{HeadLimits, Parsed, ResponseHead, parse_response},
    net::{
        control::{Control, Interrupt},
        stream::Stream,
    },
    snapshot::EndpointPlan,
    upstream::{ConnectError, Connection, Endpoint, Identity},
    worker::{Carrier, UseCount, View, Worker},
};
use credentialflow_model::OutcomeReason;
use std::{
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
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
    /// What is left of the request's body when the upstream answers early.
    pub upload: Option<Upload>,
    /// When the request was sent.
    pub sent: Instant,
    /// Keeps these uses of credentials counted until the answer is over: the injected one, the one shown.
    pub _in_use: (Option<InUse>, Option<InUse>),
}

/// A counted use of a credential version.
pub(crate) struct InUse(UseCount, u32);

impl InUse {
    pub(super) fn of(view: &View, slot: u32, carrier: Carrier) -> Option<Self> {
        let uses = view.uses.get(slot as usize)?.clone();
        let place = uses.enter(carrier);
        Some(Self(uses, place))
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.leave(self.1);
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
    Ended::Failed(Failure { reason, untouched, stale: false })
}

/// Response heads may be larger than request heads: cookies add up.
pub(super) const RESPONSE_HEAD: HeadLimits = HeadLimits { bytes: 64 * 1024, target: 0, fields: 256 };
/// Interim answers (RFC 9110, 15.2) passed over before one counts as garbage.
const MAX_INTERIM: usize = 8;

/// A kept connection that its peer had closed is found out so soon after a request went into it. What is reset later may
/// have been worked on.
const STALE: Duration = Duration::from_secs(2);

/// One try.
#[expect(clippy::too_many_arguments, reason = "a stage sees what the stages before it made")]
pub(super) async fn forward<C: Caller>(
    worker: &Worker,
    view: &View,
    control: &Control,
    inbound: &Inbound<'_>,
    (mut injected, guard): (InjectedRequest, Option<UploadGuard>),
    request: &mut UpstreamRequest,
    chosen: &Chosen,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<UpstreamResponse, Ended> {
    request.attempts = request.attempts.saturating_add(1);
    request.last = Some(chosen.index);
    record.attempt(request.attempts);
    let (in_use, shown) = (injected.take_in_use(), injected.take_shown());
    let (identity, shown_in_use) = shown.unzip();
    let plan = request.plan(view);
    let health = plan.health;
    let unhealthy = |ended: Ended| {
        if let Ended::Failed(failure) = &ended
            && !failure.stale
        {
            chosen.endpoint.failed(health.failures, health.cooldown.as_duration());
        }
        ended
    };
    let kept = if request.fresh { None } else { chosen.endpoint.take(!request.idempotent, worker.tick()) };
    let mut connection = match kept {
        Some(connection) => connection,
        None => {
            let until = request.tick_in(worker, plan.connect);
            let place = (&*chosen.endpoint, chosen.plan(view));
            connect(worker, control, place, identity.as_ref(), until).await.map_err(unhealthy)?
        }
    };
    let sent = Instant::now();
    record.sent(sent);
    let patience = request.patience(view);
    control.set_deadline(request.tick_in(worker, patience.max(worker.shared.settings.body_timeout)));
    let sending = send(worker, control, (&mut injected, guard), request, &mut connection, caller, record);
    let upload = match sending.await {
        Ok(upload) => upload,
        Err(ended) => return Err(unhealthy(maybe_stale(ended, &connection))),
    };
    control.set_deadline(request.tick_in(worker, patience));
    let mut scrub = injected.take_scrub();
    drop(injected);
    let (head, bytes) = match read_head(control, inbound, &mut connection, caller, &scrub).await {
        Ok(read) => read,
        Err(ended) => {
            let ended = maybe_stale(ended, &connection);
            if let Ended::Failed(failure) = &ended
                && !(failure.stale && sent.elapsed() < STALE)
            {
                record.may_be_working();
            }
            return Err(unhealthy(ended));
        }
    };
    control.clear_deadline();
    chosen.endpoint.succeeded();
    record.upstream_status(head.status);
    Ok(UpstreamResponse {
        head,
        bytes,
        connection,
        endpoint: chosen.endpoint.clone(),
        scrub: std::mem::take(&mut scrub),
        upload,
        sent,
        _in_use: (in_use, shown_in_use.flatten()),
    })
}

/// Asks for something with a head that carries no credential, at a place that is no endpoint of an upstream, over a
/// connection of its own; gives the head of the answer, its bytes, and the connection with the body next.
pub(super) async fn listen<C: Caller>(
    worker: &Worker,
    control: &Control,
    inbound: &Inbound<'_>,
    (plan, head, until): (&EndpointPlan, &[u8], u64),
    scrub: &Scrub,
    caller: &mut C,
) -> Result<(ResponseHead, Vec<u8>, Connection, Rc<Endpoint>), Ended> {
    let endpoint = Rc::new(Endpoint::default());
    let mut connection = connect(worker, control, (&endpoint, plan), None, until).await?;
    let late = |i: Interrupt| match i {
        Interrupt::Deadline => failed(OutcomeReason::UpstreamTimeout, false),
        other => body::interrupted(other, OutcomeReason::UpstreamTimeout).into(),
    };
    control.wait(write_head(&mut connection.stream, head)).await.map_err(late)??;
    let (head, bytes) = read_head(control, inbound, &mut connection, caller, scrub).await?;
    control.clear_deadline();
    Ok((head, bytes, connection, endpoint))
}

/// A kept connection that ended without a byte of an answer was most likely closed while idle.
fn maybe_stale(ended: Ended, connection: &Connection) -> Ended {
    match ended {
        Ended::Failed(failure) if failure.reason == OutcomeReason::UpstreamReset => {
            Ended::Failed(Failure { stale: connection.reused && connection.buffer.is_empty(), ..failure })
        }
        other => other,
    }
}

async fn connect(
    worker: &Worker,
    control: &Control,
    (endpoint, plan): (&Endpoint, &EndpointPlan),
    identity: Option<&Identity>,
    until: u64,
) -> Result<Connection, Ended> {
    control.set_deadline(until);
    let connecting = endpoint.connect(plan, identity, worker.tick(), &*worker.shared.certificates);
    let connected = control.wait(connecting).await;
    match connected {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(ConnectError::Refused)) => Err(failed(OutcomeReason::UpstreamConnectFailed, true)),
        Ok(Err(ConnectError::Tls)) => Err(failed(OutcomeReason::UpstreamTlsFailed, true)),
        Err(Interrupt::Deadline) => Err(failed(OutcomeReason::UpstreamConnectTimeout, true)),
        Err(other) => Err(body::interrupted(other, OutcomeReason::UpstreamConnectTimeout).into()),
    }
}

/// Sends head and body. When the upstream answers before it has the whole body, the rest is handed back.
async fn send<C: Caller>(
    worker: &Worker,
    control: &Control,
    (injected, guard): (&mut InjectedRequest, Option<UploadGuard>),
    request: &mut UpstreamRequest,
    connection: &mut Connection,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<Option<Upload>, Ended> {
    let late = |i: Interrupt| match i {
        Interrupt::Deadline => failed(OutcomeReason::UpstreamTimeout, false),
        other => body::interrupted(other, OutcomeReason::UpstreamTimeout).into(),
    };
    let head = injected.expose_head();
    match &mut request.body {
        UpstreamBody::Empty => {
            control.wait(write_head(&mut connection.stream, head)).await.map_err(late)??;
            Ok(None)
        }
        UpstreamBody::Buffered(body) => {
            // Small bodies travel with the head; the head's buffer has room, so nothing secret is moved.
            let together = body.len() <= head.capacity() - head.len();
            if together {
                head.extend_from_slice(body);
            }
            let both = async {
                write_head(&mut connection.stream, head).await?;
                match together {
                    true => Ok(()),
                    false => connection.stream.write_all(body).await.map_err(|_| failed(RESET, false)),
                }
            };
            control.wait(both).await.map_err(late)??;
            Ok(None)
        }
        UpstreamBody::Streamed { length, begun } => {
            control.wait(write_head(&mut connection.stream, head)).await.map_err(late)??;
            let mut upload = Upload::new(worker, length.is_none(), record.max_body(), guard);
            loop {
                control.set_deadline(worker.tick_in(worker.shared.settings.body_timeout));
                let step = control.wait(poll_fn(|cx| upload.poll(cx, caller, connection))).await;
                record.bytes_in(upload.received);
                let refused = upload.tell(record);
                *begun |= upload.received > 0;
                match step {
                    Ok(UploadStep::Progress) => {}
                    Ok(UploadStep::Complete) => break,
                    Ok(UploadStep::Answered) => return Ok(Some(upload)),
                    Ok(UploadStep::UpstreamLost) => return Err(failed(RESET, false)),
                    Ok(UploadStep::Secret) => {
                        return Err(refused.unwrap_or(Refused::new(OutcomeReason::SecretInRequest)).into());
                    }
                    Ok(UploadStep::TooLarge) => return Err(Refused::new(OutcomeReason::BodyTooLarge).into()),
                    Ok(UploadStep::Caller(e)) => return Err(body::unreadable(e).into()),
                    Err(i) if upload.waiting_for_caller => {
                        return Err(body::interrupted(i, OutcomeReason::RequestTimeout).into());
                    }
                    Err(i) => return Err(late(i)),
                }
            }
            upload.give_back(worker);
            Ok(None)
        }
    }
}

const RESET: OutcomeReason = OutcomeReason::UpstreamReset;

/// Writes the head. When the very first write fails nothing has left, so the upstream cannot have acted;
/// over TLS that cannot be told.
async fn write_head(stream: &mut Stream, head: &[u8]) -> Result<(), Ended> {
    let plain = matches!(stream, Stream::Plain(_));
    match poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, head)).await {
        Ok(n) if n > 0 => stream.write_all(&head[n..]).await.map_err(|_| failed(RESET, false)),
        _ => Err(failed(RESET, plain)),
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
