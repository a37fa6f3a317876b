//! A session of OpenAI's Realtime: after the provider agreed, messages pass both ways, one event each.
//!
//! Messages are taken out of their frames, looked at whole and put into frames again: what the caller says by [`heard`],
//! what the provider tells here. What a session costs is in [`turns`] and [`transcripts`]. Where a session may not go on, its caller gets an
//! event that says why, then the end; answers that run are cancelled, so that the provider says what they cost.

mod heard;
mod transcripts;
mod turns;

use super::{
    Inbound, Refused, answer, body, budget,
    forward::UpstreamResponse,
    guard::{UploadGuard, answered::AnswerGuard},
    record::Recording,
    route::RouteMatch,
    scrub::Scrub,
    translate::UpstreamRequest,
    upgrade,
};
use crate::{
    budget::Charge,
    conn::{AnswerFraming, Caller},
    http1::tag::Tag,
    net::{
        buffer::Buffer,
        control::{Control, Interrupt},
        stream::Stream,
    },
    snapshot::models::{ModelPlan, TargetPlan},
    worker::{View, Worker},
    ws::{self, Broken, Message, Reader, Sender},
};
use credentialflow_llm::realtime::{cancel, cancel_any, error, told::Told};
use credentialflow_model::OutcomeReason;
use credentialflow_policy::Principal;
use std::{
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::io::AsyncWrite;
use transcripts::Transcripts;
use turns::Turns;

/// A session on which nothing moves for this long is closed.
const IDLE: Duration = Duration::from_secs(600);
/// A session ends after this long, as it does with OpenAI.
const LONGEST: Duration = Duration::from_secs(3600);
/// A message at most; providers take no larger ones.
const MOST_MESSAGE: usize = 16 << 20;
/// Bytes that wait for a caller to read them, above which nothing more of what it says is answered.
const MOST_WAITING: usize = 64 * 1024;
/// How long an answer that was cancelled may take to say what it cost.
const FAREWELL: Duration = Duration::from_secs(3);
/// How long the other side may take to read that a session is over.
const LAST_WORD: Duration = Duration::from_secs(2);
/// Subprotocols in which browsers present a key, as they can send no header.
const KEY_PROTOCOL: &[u8] = b"openai-insecure-api-key.";
/// The one that a session is in.
const PROTOCOL: &[u8] = b"realtime";

/// The subprotocols that a caller offers.
fn offered<'a>(inbound: &Inbound<'a>) -> impl Iterator<Item = &'a [u8]> {
    let fields = inbound.fields().filter(|(field, ..)| field.tag == Tag::SecWebsocketProtocol);
    fields.flat_map(|(.., value)| value.split(|b| *b == b',')).map(<[u8]>::trim_ascii).filter(|one| !one.is_empty())
}

/// The keys that a caller presents as subprotocols.
pub(super) fn presented<'a>(inbound: &Inbound<'a>) -> impl Iterator<Item = &'a [u8]> {
    offered(inbound).filter_map(|one| one.strip_prefix(KEY_PROTOCOL))
}

/// The subprotocols that go on to a provider: all but those that hold a key.
pub(super) fn protocols<'a>(inbound: &Inbound<'a>) -> Vec<u8> {
    let passing: Vec<&'a [u8]> = offered(inbound).filter(|one| !one.starts_with(KEY_PROTOCOL)).collect();
    passing.join(&b", "[..])
}

/// What is the same for a whole session.
struct Session<'s> {
    worker: &'s Worker,
    view: &'s View,
    inbound: &'s Inbound<'s>,
    matched: &'s RouteMatch<'s>,
    principal: &'s Principal,
    plan: &'s ModelPlan,
    target: &'s TargetPlan,
    upstream: u32,
}

/// What changes.
struct State<'v> {
    turns: Turns,
    said: Option<UploadGuard>,
    guard: AnswerGuard<'v>,
    scrub: Scrub,
    transcripts: Transcripts,
    /// Sound was sent, so that the provider may begin answers of its own accord.
    listened: bool,
    /// The id of our last event, while nobody told that it was taken. Nobody can guess it.
    last: Option<String>,
    /// The provider says nothing more.
    closed: bool,
    /// What guardrails found so far.
    found: Vec<String>,
    up: Out,
    down: Out,
}

/// What waits until a side reads it.
#[derive(Default)]
struct Out {
    bytes: Vec<u8>,
    written: usize,
    moved: u64,
}

impl Out {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Writes what can be written. Ready with an error when nobody takes it any more.
    fn poll(&mut self, cx: &mut Context<'_>, to: &mut Stream) -> Poll<io::Result<()>> {
        while self.written < self.bytes.len() {
            match ready!(Pin::new(&mut *to).poll_write(cx, &self.bytes[self.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => {
                    self.written += n;
                    self.moved += n as u64;
                }
            }
        }
        self.bytes.clear();
        self.written = 0;
        if self.bytes.capacity() > 64 * 1024 {
            self.bytes = Vec::new();
        }
        Pin::new(to).poll_flush(cx)
    }
}

/// Why a session ends.
enum End {
    /// A side said so, and with what.
    Closed(Vec<u8>),
    /// A side is gone without a word.
    Gone(OutcomeReason),
    /// A side breaks the rules of its frames.
    Broken(Broken, OutcomeReason),
    /// It lasted as long as one may, or nothing happened for long.
    Over(&'static str),
    /// It may not go on.
    Refused(Refused),
}

impl From<Refused> for End {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// Where something has happened.
enum Step {
    Moved,
    CallerGone,
    UpstreamGone,
}

/// Reserves for the first answer, passes `101` on and relays until the end.
#[expect(clippy::too_many_arguments, reason = "a stage sees what the stages before it made")]
pub(super) async fn serve<C: Caller>(
    worker: &Worker,
    view: &Rc<View>,
    control: &Control,
    inbound: &Inbound<'_>,
    (matched, principal): (&RouteMatch<'_>, &Principal),
    request: &UpstreamRequest,
    response: UpstreamResponse,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<(), Refused> {
    let Some(call) = &request.call else { return Err(Refused::new(OutcomeReason::Internal)) };
    let plan = &view.snapshot.models.list[call.model as usize];
    let target = call.plan(view);
    heard::admits(plan)?;
    let budgets = budget::payers(view, principal, (plan, target), record)?;
    let mut turns = Turns::new(target, budgets);
    turns.hold(worker, control).await?;
    let UpstreamResponse { head, mut bytes, mut connection, scrub, sent, _in_use, .. } = response;
    let mut guard = AnswerGuard::of(view, matched, request, true, record);
    let passes = guard.head(&mut bytes, record);
    guard.tell(&scrub, record);
    passes?;
    // The one that we understand, whatever the provider says of it: browsers want an answer to their offer.
    let agreed = offered(inbound).find(|one| *one == PROTOCOL);
    let fields = upgrade::fields(&head, &bytes, Some(agreed), record);
    caller.begin(101, &fields, AnswerFraming::Empty);
    record.answered(101);
    answer::flush(control, worker, caller).await?;
    record.first_byte();
    caller.close_after();
    let Some((stream, buffer)) = caller.upgraded() else {
        return Err(Refused::new(OutcomeReason::Internal));
    };
    let said = UploadGuard::of_messages(view, matched, request, record);
    let upstream = target.upstream;
    let session = Session { worker, view, inbound, matched, principal, plan, target, upstream };
    let (up, down, found) = (Out::default(), Out::default(), Vec::new());
    let transcripts = Transcripts::new();
    let (listened, last, closed) = (false, None, false);
    let mut state = State { turns, said, guard, scrub, transcripts, listened, last, closed, found, up, down };
    let mut from_upstream = Reader::new(Sender::Server, MOST_MESSAGE);
    let mut sides = Sides {
        caller: (stream, buffer),
        upstream: (&mut connection.stream, &mut connection.buffer),
        held: worker.budget.nothing(),
    };
    let end = session.run(control, &mut sides, &mut from_upstream, &mut state, record).await;
    let ended = session.part(control, end, &mut sides, &mut from_upstream, &mut state, record).await;
    let reason = ended.as_ref().map_or_else(|refused| refused.reason, |()| OutcomeReason::CallerClosed);
    for turn in state.turns.give_up(reason, worker.now(), record) {
        worker.record(turn);
    }
    state.guard.tell(&state.scrub, record);
    record.bytes_in(state.up.moved);
    record.bytes_out(state.down.moved);
    record.upstream_done(sent);
    ended.inspect(|()| record.served())
}

/// Both connections.
struct Sides<'c> {
    caller: (&'c mut Stream, &'c mut Buffer),
    upstream: (&'c mut Stream, &'c mut Buffer),
    held: Charge,
}

impl Sides<'_> {
    /// Writes what waits and reads more where there is room for what it becomes.
    fn poll(&mut self, cx: &mut Context<'_>, worker: &Worker, state: &mut State<'_>) -> Poll<Step> {
        let mut moved = false;
        for (out, to, gone) in [
            (&mut state.up, &mut *self.upstream.0, Step::UpstreamGone),
            (&mut state.down, &mut *self.caller.0, Step::CallerGone),
        ] {
            let waited = !out.is_empty();
            match out.poll(cx, to) {
                Poll::Ready(Err(_)) => return Poll::Ready(gone),
                Poll::Ready(Ok(())) => moved |= waited,
                Poll::Pending => {}
            }
        }
        for (reads, (from, buffer), gone) in [
            (state.listens(), &mut self.caller, Step::CallerGone),
            (state.down.is_empty(), &mut self.upstream, Step::UpstreamGone),
        ] {
            if reads {
                match fill(cx, worker, from, buffer) {
                    Poll::Ready(Ok(n)) if n > 0 => moved = true,
                    Poll::Ready(_) => return Poll::Ready(gone),
                    Poll::Pending => {}
                }
            }
        }
        if moved { Poll::Ready(Step::Moved) } else { Poll::Pending }
    }
}

/// Reads more, holding no buffer while there is nothing.
fn fill(cx: &mut Context<'_>, worker: &Worker, from: &mut Stream, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
    if !buffer.has_memory() {
        if let Stream::Plain(tcp) = &*from {
            ready!(tcp.poll_read_ready(cx))?;
        }
        buffer.adopt(worker.take_buffer());
    }
    let read = from.poll_fill(cx, buffer);
    if read.is_pending() && buffer.is_empty() {
        worker.give_buffer(buffer.release());
    }
    read
}

impl Session<'_> {
    /// Relays until there is a reason to end.
    async fn run(
        &self,
        control: &Control,
        sides: &mut Sides<'_>,
        from_upstream: &mut Reader,
        state: &mut State<'_>,
        record: &mut Recording<'_>,
    ) -> End {
        let mut from_caller = Reader::new(Sender::Client, MOST_MESSAGE);
        let until = self.worker.tick_in(LONGEST);
        loop {
            while state.listens() && !sides.caller.1.is_empty() {
                match from_caller.read(sides.caller.1.filled()) {
                    Err(broken) => return End::Broken(broken, OutcomeReason::MalformedRequest),
                    Ok((n, message)) => {
                        sides.caller.1.consume(n);
                        if let Some(message) = message
                            && let Err(end) = self.hear(control, message, state, record).await
                        {
                            return end;
                        }
                    }
                }
            }
            while state.down.is_empty() && !sides.upstream.1.is_empty() {
                match from_upstream.read(sides.upstream.1.filled()) {
                    Err(broken) => return End::Broken(broken, OutcomeReason::UpstreamMalformed),
                    Ok((n, message)) => {
                        sides.upstream.1.consume(n);
                        if let Some(message) = message
                            && let Err(end) = self.tell(message, state, record)
                        {
                            return end;
                        }
                    }
                }
            }
            // What was held for an answer that is over is held for the next one.
            if let Err(refused) = self.hold(control, state).await {
                return End::Refused(refused);
            }
            let memory = from_caller.memory() + from_upstream.memory() + state.up.bytes.capacity();
            if sides.held.set((memory + state.down.bytes.capacity()) as u64).is_err() {
                return End::Refused(Refused::new(OutcomeReason::Overloaded));
            }
            control.set_deadline(self.worker.tick_in(IDLE).min(until));
            match control.wait(poll_fn(|cx| sides.poll(cx, self.worker, state))).await {
                Ok(Step::Moved) => {}
                Ok(Step::CallerGone) => return End::Gone(OutcomeReason::CallerClosed),
                Ok(Step::UpstreamGone) => return End::Gone(OutcomeReason::UpstreamReset),
                Err(Interrupt::Deadline) if self.worker.tick() >= until => {
                    return End::Over("a session lasts an hour at most; start another one");
                }
                Err(Interrupt::Deadline) => return End::Over("nothing was said for ten minutes"),
                Err(other) => return End::Refused(body::interrupted(other, OutcomeReason::Internal)),
            }
        }
    }

    /// Takes a message of the provider.
    fn tell(&self, message: Message<'_>, state: &mut State<'_>, record: &mut Recording<'_>) -> Result<(), End> {
        let raw = match message {
            Message::Text(text) => {
                self.note(Told::read(text), state, record)?;
                text.as_bytes()
            }
            Message::Binary(raw) | Message::Ping(raw) | Message::Pong(raw) | Message::Close(raw) => raw,
        };
        let clean = state.clean(raw, record);
        let passed = match message {
            // What is blanked is blanked as a whole, so a text stays one.
            Message::Text(_) => match std::str::from_utf8(&clean) {
                Ok(text) => Message::Text(text),
                Err(_) => return Err(End::Refused(Refused::new(OutcomeReason::UpstreamMalformed))),
            },
            Message::Binary(_) => Message::Binary(&clean),
            Message::Ping(_) => Message::Ping(&clean),
            Message::Pong(_) => Message::Pong(&clean),
            Message::Close(_) => {
                state.closed = true;
                return Err(End::Closed(clean));
            }
        };
        ws::write(&passed, None, &mut state.down.bytes);
        Ok(())
    }

    /// Counts what the provider tells.
    fn note(&self, told: Told, state: &mut State<'_>, record: &mut Recording<'_>) -> Result<(), End> {
        match told {
            Told::Other => {}
            Told::Began { response } => {
                if !state.turns.began(response, self.worker.now()) {
                    let why = "the provider runs more answers than were asked for".to_owned();
                    return Err(End::Refused(Refused::new(OutcomeReason::UpstreamMalformed).with_detail(why)));
                }
            }
            Told::Done { response, used, in_conversation, failed } => {
                let now = self.worker.now();
                let turn = state.turns.done((&response, used), (in_conversation, failed), now, record);
                turn.into_iter().for_each(|turn| self.worker.record(turn));
            }
            Told::Transcribed { used } => {
                let now = self.worker.now();
                let Some(turn) = record.turn(now, Duration::ZERO) else { return Ok(()) };
                let target = self.transcribes(state);
                self.worker.record(state.transcripts.came(used, target, now, turn));
            }
            Told::Refused { about } if about.is_some() && about == state.last => {
                state.turns.all_taken();
                state.last = None;
            }
            Told::Refused { about } => state.turns.refused(about.as_deref()),
        }
        Ok(())
    }

    /// Reserves what is missing for answers and transcripts.
    async fn hold(&self, control: &Control, state: &mut State<'_>) -> Result<(), Refused> {
        state.turns.hold(self.worker, control).await?;
        let target = self.transcribes(state);
        state.transcripts.hold(self.worker, control, target).await
    }

    /// The target that writes down what is heard, where one was named.
    fn transcribes(&self, state: &State<'_>) -> Option<&TargetPlan> {
        let (model, target) = state.transcripts.by()?.target;
        Some(&self.view.snapshot.models.list[model as usize].targets[target as usize])
    }

    /// Takes leave of both sides: the caller is told why, and the provider is asked what the answers cost that run.
    async fn part(
        &self,
        control: &Control,
        end: End,
        sides: &mut Sides<'_>,
        from_upstream: &mut Reader,
        state: &mut State<'_>,
        record: &mut Recording<'_>,
    ) -> Result<(), Refused> {
        let id = record.request_id();
        let say = |refused: &Refused, code: u16, out: &mut Out| {
            let text = error(refused.reason, id, refused.detail(), None);
            ws::write(&Message::Text(&text), None, &mut out.bytes);
            ws::write(&Message::Close(&ws::close(code, refused.reason.title())), None, &mut out.bytes);
        };
        let mut last = ws::close(1000, "");
        let (ended, caller_reads) = match end {
            End::Closed(payload) => {
                ws::write(&Message::Close(&payload), None, &mut state.down.bytes);
                last = payload;
                (Ok(()), true)
            }
            End::Gone(OutcomeReason::CallerClosed) => (Ok(()), false),
            End::Gone(reason) => {
                let refused = Refused::new(reason);
                say(&refused, 1011, &mut state.down);
                (Err(refused), true)
            }
            End::Broken(broken, reason) => {
                let refused = Refused::new(reason).with_detail(format!("{broken} came"));
                let code = if reason == OutcomeReason::MalformedRequest { broken.code() } else { 1011 };
                say(&refused, code, &mut state.down);
                (Err(refused), true)
            }
            End::Over(why) => {
                ws::write(&Message::Close(&ws::close(1001, why)), None, &mut state.down.bytes);
                (Ok(()), true)
            }
            End::Refused(refused) => {
                let code = match refused.reason {
                    OutcomeReason::Internal | OutcomeReason::UpstreamMalformed => 1011,
                    OutcomeReason::Overloaded => 1013,
                    _ => 1008,
                };
                say(&refused, code, &mut state.down);
                (Err(refused), true)
            }
        };
        if caller_reads {
            control.set_deadline(self.worker.tick_in(LAST_WORD));
            let _ = control.wait(poll_fn(|cx| state.down.poll(cx, sides.caller.0))).await;
        }
        let mut cancelled: Vec<String> = state.turns.running().map(str::to_owned).collect();
        let mut events: Vec<String> = cancelled.iter().map(|id| cancel(id)).collect();
        // What was asked for or begun of the provider's own accord may not have been read yet. The second of these is
        // refused, as the first one left nothing to cancel; then all that came before is read.
        if state.turns.awaits() || state.listened {
            let last = format!("event_{:x}", self.worker.bits());
            events.extend([cancel_any("event_cancel"), cancel_any(&last)]);
            state.last = Some(last);
        }
        for event in &events {
            ws::write(&Message::Text(event), Some(self.mask()), &mut state.up.bytes);
        }
        // Nothing goes to the caller any more, so what comes is only read.
        control.set_deadline(self.worker.tick_in(FAREWELL));
        while !state.closed && (state.last.is_some() || state.turns.running().next().is_some()) {
            let read = control.wait(poll_fn(|cx| {
                let _ = state.up.poll(cx, sides.upstream.0)?;
                fill(cx, self.worker, sides.upstream.0, sides.upstream.1)
            }));
            if !matches!(read.await, Ok(Ok(n)) if n > 0) {
                break;
            }
            while !sides.upstream.1.is_empty() {
                let Ok((n, message)) = from_upstream.read(sides.upstream.1.filled()) else { break };
                sides.upstream.1.consume(n);
                state.closed |= matches!(message, Some(Message::Close(_)));
                if let Some(Message::Text(text)) = message {
                    let _ = self.note(Told::read(text), state, record);
                    let begun = state.turns.running().find(|id| !cancelled.iter().any(|one| one == id));
                    if let Some(id) = begun.map(str::to_owned) {
                        ws::write(&Message::Text(&cancel(&id)), Some(self.mask()), &mut state.up.bytes);
                        cancelled.push(id);
                    }
                }
                if n == 0 {
                    break;
                }
            }
        }
        ws::write(&Message::Close(&last), Some(self.mask()), &mut state.up.bytes);
        control.set_deadline(self.worker.tick_in(LAST_WORD));
        let _ = control.wait(poll_fn(|cx| state.up.poll(cx, sides.upstream.0))).await;
        control.clear_deadline();
        ended
    }

    fn mask(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.worker.bits().to_le_bytes();
        [a, b, c, d]
    }
}

impl State<'_> {
    /// Whether there is room for what becomes of more that the caller says: it goes on, or is answered here.
    fn listens(&self) -> bool {
        self.up.is_empty() && self.down.bytes.len() <= MOST_WAITING
    }

    /// Bytes of the provider without the injected credential, and looked at for other secrets of ours.
    fn clean(&mut self, raw: &[u8], record: &Recording<'_>) -> Vec<u8> {
        let scrubbed = self.scrub.whole(raw);
        let mut clean = Vec::with_capacity(raw.len());
        self.guard.feed(scrubbed.as_deref().unwrap_or(raw), &mut |b| clean.extend_from_slice(b));
        self.guard.finish(&mut |b| clean.extend_from_slice(b));
        self.guard.tell(&self.scrub, record);
        clean
    }
}
