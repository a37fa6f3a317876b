//! How a session of Gemini's Live API begins: the caller's connection is taken over first, as the model stands in its first
//! message; then a target is chosen as for any call, and asked for a session.

use super::{
    Bidden, End, First, LAST_WORD, Session, State, bid, heard, resumption,
    sides::{Out, fill},
};
use crate::{
    conn::{AnswerFraming, Caller},
    net::{
        buffer::Buffer,
        control::{Control, Interrupt},
        stream::Stream,
    },
    pipeline::{
        Inbound, Parts, Refused, answer, answered, authorize, body, call,
        forward::{InUse, UpstreamResponse},
        guard::{UploadGuard, answered::AnswerGuard},
        record::Recording,
        translate::UpstreamRequest,
        users,
    },
    upstream::Connection,
    worker::{View, Worker},
    ws::{self, Message, Reader, Sender},
};
use credentialflow_llm::{
    provider::Dialect,
    realtime::{Names, Protocol, gemini, protocol},
};
use credentialflow_model::OutcomeReason;
use credentialflow_policy::SessionOwner;
use std::{
    future::poll_fn,
    io,
    rc::Rc,
    task::{Poll, ready},
    time::{Duration, Instant},
};

/// How long the first message may take to come.
const SETUP: Duration = Duration::from_secs(10);
/// The first message at most: instructions and tools.
const MOST_SETUP: usize = 4 << 20;
/// Pings that are answered before it.
const MOST_PINGS: u32 = 16;
/// The fields of a handshake (RFC 6455, 4.1).
const KEY: &[u8] = b"sec-websocket-key";
const VERSION: &[u8] = b"sec-websocket-version";
const ACCEPT: &[u8] = b"sec-websocket-accept";

/// Takes the connection over, hears what session is asked for, asks a provider for it and relays until the end.
pub(in crate::pipeline) async fn serve<C: Caller>(
    worker: &Worker,
    view: &Rc<View>,
    control: &Control,
    inbound: &Inbound<'_>,
    parts: Parts<'_, '_>,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<(), Refused> {
    let accept = agreed(inbound)?;
    users::name(view, inbound, parts.0, parts.1, b"", record);
    let mut fields = Vec::with_capacity(256);
    fields.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: ");
    fields.extend_from_slice(accept.as_bytes());
    fields.extend_from_slice(b"\r\n");
    answer::push_own_fields(&mut fields, record);
    caller.begin(101, &fields, AnswerFraming::Empty);
    record.answered(101);
    answer::flush(control, worker, caller).await?;
    record.first_byte();
    caller.close_after();
    let mut out = Out::default();
    // Boxed, so that what only the beginning needs is not there for a whole session.
    let begun = Box::pin(begin(worker, view, control, inbound, (parts, &accept), &mut out, caller, record)).await;
    match begun {
        Ok(Begun { session, connection, state, first, sent, _in_use }) => {
            let ended = session.converse(control, caller, (connection, state), Some(first), record).await;
            record.upstream_done(sent);
            ended
        }
        Err(end) => {
            let Bidden { ended, caller_reads, .. } = bid(end, &gemini::Live::default(), record.request_id(), &mut out);
            if let Some((stream, _)) = caller.upgraded().filter(|_| caller_reads) {
                control.set_deadline(worker.tick_in(LAST_WORD));
                let _ = control.wait(poll_fn(|cx| out.poll(cx, stream))).await;
                control.clear_deadline();
            }
            record.bytes_out(out.moved);
            // Whoever leaves before there is a session was served nothing.
            ended.and(Err(Refused::new(OutcomeReason::CallerClosed)))
        }
    }
}

/// What the caller's handshake is answered with.
fn agreed(inbound: &Inbound<'_>) -> Result<String, Refused> {
    let refused = |why: &str| Refused::new(OutcomeReason::InvalidModelCall).with_detail(why.into());
    if !inbound.asks_websocket() {
        return Err(refused("a session is a WebSocket: ask for it with `Upgrade: websocket`, over HTTP/1.1"));
    }
    if body::announced(inbound, 0)? != Some(0) {
        return Err(refused("who asks for a WebSocket sends no body"));
    }
    let once = |name: &[u8]| {
        let mut values = inbound.fields().filter(|(_, n, _)| n.eq_ignore_ascii_case(name)).map(|(.., value)| value);
        values.next().filter(|_| values.next().is_none())
    };
    if once(VERSION) != Some(b"13") {
        return Err(refused("`Sec-WebSocket-Version` must be 13"));
    }
    once(KEY).and_then(ws::accept).ok_or_else(|| refused("`Sec-WebSocket-Key` must be 16 bytes in base64"))
}

/// A session that may begin.
struct Begun<'s> {
    session: Session<'s>,
    connection: Connection,
    state: State<'s>,
    first: First,
    sent: Instant,
    _in_use: (Option<InUse>, Option<InUse>),
}

/// Hears what session is asked for, and asks a provider for it.
#[expect(clippy::too_many_arguments, reason = "a stage sees what the stages before it made")]
async fn begin<'s, C: Caller>(
    worker: &'s Worker,
    view: &'s Rc<View>,
    control: &Control,
    inbound: &'s Inbound<'s>,
    (parts, accept): (Parts<'s, 's>, &str),
    out: &mut Out,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<Begun<'s>, End> {
    let internal = || Refused::new(OutcomeReason::Internal);
    let first = first(worker, control, caller.upgraded().ok_or_else(internal)?, out).await?;
    let mut request = prepare(worker, view, inbound, parts, &first.text, record)?;
    let response = answered(worker, view, control, inbound, parts, &mut request, caller, record).await?;
    request.answered();
    if !is_agreed(&response, accept) {
        let why = format!("the provider answered with status {} and no session", response.head.status);
        return Err(End::Refused(Refused::new(OutcomeReason::UpstreamMalformed).with_detail(why)));
    }
    let (Some(call), Some(protocol)) = (&request.call, protocol(Dialect::Gemini)) else {
        return Err(internal().into());
    };
    let (matched, principal, _) = parts;
    let session = Session::of(worker, view, (inbound, matched, principal), call);
    let UpstreamResponse { connection, scrub, sent, _in_use, .. } = response;
    let guard = AnswerGuard::of(view, matched, &request, true, record);
    let said = UploadGuard::of_messages(view, matched, &request, record);
    let mut state = session.begin(protocol, (said, guard, scrub), record)?;
    state.down = std::mem::take(out);
    Ok(Begun { session, connection, state, first, sent, _in_use })
}

/// Whether the provider began a session.
fn is_agreed(response: &UpstreamResponse, accept: &str) -> bool {
    let UpstreamResponse { head, bytes, .. } = response;
    let mut told = head.fields.iter().filter(|field| field.name.of(bytes).eq_ignore_ascii_case(ACCEPT));
    head.status == 101 && told.all(|field| field.value.of(bytes) == accept.as_bytes())
}

/// The first message of the caller.
async fn first(
    worker: &Worker,
    control: &Control,
    (stream, buffer): (&mut Stream, &mut Buffer),
    out: &mut Out,
) -> Result<First, End> {
    let refused = |reason: OutcomeReason, why: &str| End::Refused(Refused::new(reason).with_detail(why.into()));
    let mut reader = Reader::new(Sender::Client, MOST_SETUP);
    let (mut held, mut pings) = (worker.budget.nothing(), 0);
    control.set_deadline(worker.tick_in(SETUP));
    loop {
        while !buffer.is_empty() {
            let read = reader.read(buffer.filled());
            let (n, message) = read.map_err(|broken| End::Broken(broken, OutcomeReason::MalformedRequest))?;
            let (text, binary) = match message {
                Some(Message::Text(text)) => (text, false),
                Some(Message::Binary(bytes)) => match std::str::from_utf8(bytes) {
                    Ok(text) => (text, true),
                    Err(_) => return Err(refused(OutcomeReason::InvalidModelCall, "a message is a text of JSON")),
                },
                Some(Message::Close(payload)) => return Err(End::Closed(payload.to_vec())),
                Some(Message::Ping(bytes)) if pings < MOST_PINGS => {
                    pings += 1;
                    ws::write(&Message::Pong(bytes), None, &mut out.bytes);
                    buffer.consume(n);
                    continue;
                }
                Some(Message::Ping(_)) => {
                    return Err(refused(OutcomeReason::InvalidModelCall, "the first message must be `setup`"));
                }
                Some(Message::Pong(_)) | None => {
                    buffer.consume(n);
                    continue;
                }
            };
            let text = text.to_owned();
            buffer.consume(n);
            control.clear_deadline();
            return Ok(First { text, binary, _held: held });
        }
        // What is read, and the text that is made of it.
        if held.set(2 * reader.memory() as u64).is_err() {
            return Err(End::Refused(Refused::new(OutcomeReason::Overloaded)));
        }
        let moved: Result<io::Result<usize>, Interrupt> = control
            .wait(poll_fn(|cx| {
                if let Poll::Ready(Err(gone)) = out.poll(cx, stream) {
                    return Poll::Ready(Err(gone));
                }
                Poll::Ready(ready!(fill(cx, worker, stream, buffer)))
            }))
            .await;
        match moved {
            Ok(Ok(n)) if n > 0 => {}
            Ok(_) => return Err(End::Gone(OutcomeReason::CallerClosed)),
            Err(Interrupt::Deadline) => {
                return Err(refused(
                    OutcomeReason::RequestTimeout,
                    "the first message must be `setup`, and did not come",
                ));
            }
            Err(other) => return Err(End::Refused(body::interrupted(other, OutcomeReason::RequestTimeout))),
        }
    }
}

/// Prepares what asks a provider for the session that a first message asks for.
fn prepare(
    worker: &Worker,
    view: &View,
    inbound: &Inbound<'_>,
    (matched, principal, _): Parts<'_, '_>,
    text: &str,
    record: &mut Recording<'_>,
) -> Result<UpstreamRequest, Refused> {
    let invalid = |why: String| Refused::new(OutcomeReason::InvalidModelCall).with_detail(why);
    let said = gemini::Live::default().said(text).map_err(|why| invalid(why.to_string()))?;
    let name = said.named_as(Names::Session).map(gemini::model).unwrap_or_default();
    let unknown = || Refused::new(OutcomeReason::ModelNotFound);
    let model = *view.snapshot.models.by_name.get(name).ok_or_else(unknown)?;
    let plan = &view.snapshot.models.list[model as usize];
    authorize::authorize_model(worker, view, inbound, matched, principal, (model, &plan.name), record)?;
    heard::admits(plan)?;
    let bound = said.named_as(Names::Resumption).filter(|handle| !handle.is_empty());
    let at = match bound {
        None => None,
        Some(bound) => {
            let keeps = plan.targets.iter().find(|target| {
                let owner = resumption(plan, target);
                let owner = SessionOwner { route: &owner, principal };
                owner.open(&view.snapshot.api_key, bound.as_bytes()).is_some()
            });
            Some(keeps.ok_or_else(|| invalid("there is no session of this handle here".into()))?.place)
        }
    };
    call::of_live(worker, view, (inbound, matched, principal), at, text.into(), record)
}
