//! Sessions over a WebSocket: after the provider agreed, messages pass both ways, one event each.
//!
//! Messages are taken out of their frames, looked at whole and put into frames again ([`relay`], over both connections of
//! [`sides`]): what the caller says by [`heard`], what the provider tells by the session's [`Protocol`]. What a session costs
//! is in [`turns`] and [`transcripts`]. Where a session may not go on, its caller is told why, then comes the end; answers that run
//! are cancelled where that can be done, so that the provider says what they cost.
//!
//! A session of OpenAI's Realtime names its model in its address and begins here; one of Gemini's Live API names it in its
//! first message and begins in [`live`].

mod heard;
pub(super) mod live;
mod relay;
mod sides;
mod transcripts;
mod turns;

use super::{
    Inbound, Refused, answer, budget,
    call::ModelCall,
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
    net::control::Control,
    snapshot::models::{ModelPlan, TargetPlan},
    upstream::Connection,
    worker::{View, Worker},
    ws::{self, Broken, Message, Reader, Sender},
};
use credentialflow_llm::{
    provider::Dialect,
    realtime::{Protocol, openai, protocol},
};
use credentialflow_model::{OutcomeReason, RequestId};
use credentialflow_policy::Principal;
use sides::{Out, Sides};
use std::{rc::Rc, time::Duration};
use transcripts::{Transcriber, Transcripts};
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
    /// Nothing is answered, and what is heard is written down.
    transcribes: bool,
}

/// What changes.
struct State<'v> {
    protocol: Box<dyn Protocol>,
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

/// What a caller said before there was a session.
struct First {
    text: String,
    /// Whether it came in a binary frame.
    binary: bool,
    _held: Charge,
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
    let internal = || Refused::new(OutcomeReason::Internal);
    let (Some(call), Some(protocol)) = (&request.call, protocol(Dialect::OpenAi)) else { return Err(internal()) };
    let session = Session {
        transcribes: openai::Asked::of_query(matched.query).is_ok_and(|asked| asked.transcribes),
        ..Session::of(worker, view, (inbound, matched, principal), call)
    };
    heard::admits(session.plan)?;
    let UpstreamResponse { head, mut bytes, connection, scrub, sent, _in_use, .. } = response;
    let guard = AnswerGuard::of(view, matched, request, true, record);
    let said = UploadGuard::of_messages(view, matched, request, record);
    let mut state = session.begin(protocol, (said, guard, scrub), record)?;
    session.hold(control, &mut state).await?;
    let passes = state.guard.head(&mut bytes, record);
    state.guard.tell(&state.scrub, record);
    passes?;
    // The one that we understand, whatever the provider says of it: browsers want an answer to their offer.
    let agreed = offered(inbound).find(|one| *one == PROTOCOL);
    let fields = upgrade::fields(&head, &bytes, Some(agreed), record);
    caller.begin(101, &fields, AnswerFraming::Empty);
    record.answered(101);
    answer::flush(control, worker, caller).await?;
    record.first_byte();
    caller.close_after();
    let ended = session.converse(control, caller, (connection, state), None, record).await;
    record.upstream_done(sent);
    ended
}

impl<'s> Session<'s> {
    /// Of a call that asks for one.
    fn of(
        worker: &'s Worker,
        view: &'s View,
        (inbound, matched, principal): (&'s Inbound<'s>, &'s RouteMatch<'s>, &'s Principal),
        call: &ModelCall,
    ) -> Self {
        let plan = &view.snapshot.models.list[call.model as usize];
        let target = call.plan(view);
        let upstream = target.upstream;
        Self { worker, view, inbound, matched, principal, plan, target, upstream, transcribes: false }
    }

    /// Its beginning: nothing was said, and nothing is held back.
    fn begin<'v>(
        &self,
        protocol: Box<dyn Protocol>,
        (said, guard, scrub): (Option<UploadGuard>, AnswerGuard<'v>, Scrub),
        record: &Recording<'_>,
    ) -> Result<State<'v>, Refused> {
        let budgets = budget::payers(self.view, self.principal, (self.plan, self.target), record)?;
        // A session that only writes down does so with its own model, unless it names another one.
        let usual = self.transcribes.then(|| {
            let models = &self.view.snapshot.models;
            let model = models.by_name.get(&self.plan.name).copied().unwrap_or_default();
            let target = self.plan.targets.iter().position(|target| std::ptr::eq(target, self.target));
            let target = target.and_then(|at| u32::try_from(at).ok()).unwrap_or_default();
            Transcriber { model: self.plan.name.clone(), target: (model, target), budgets: budgets.clone() }
        });
        let turns = Turns::new(self.target, budgets, (!self.transcribes, protocol.one_at_a_time()));
        Ok(State {
            protocol,
            turns,
            said,
            guard,
            scrub,
            transcripts: Transcripts::new(usual),
            listened: false,
            last: None,
            closed: false,
            found: Vec::new(),
            up: Out::default(),
            down: Out::default(),
        })
    }

    /// Relays until the end and settles what the session cost. `first`: what the caller said already.
    async fn converse<C: Caller>(
        &self,
        control: &Control,
        caller: &mut C,
        (mut connection, mut state): (Connection, State<'_>),
        first: Option<First>,
        record: &mut Recording<'_>,
    ) -> Result<(), Refused> {
        let worker = self.worker;
        let Some((stream, buffer)) = caller.upgraded() else { return Err(Refused::new(OutcomeReason::Internal)) };
        let mut from_upstream = Reader::new(Sender::Server, MOST_MESSAGE);
        let mut sides = Sides {
            caller: (stream, buffer),
            upstream: (&mut connection.stream, &mut connection.buffer),
            held: worker.budget.nothing(),
        };
        let begun = match first {
            Some(First { text, binary, _held }) => {
                let message = if binary { Message::Binary(text.as_bytes()) } else { Message::Text(&text) };
                self.hear(control, message, &mut state, record).await
            }
            None => Ok(()),
        };
        let end = match begun {
            Ok(()) => self.run(control, &mut sides, &mut from_upstream, &mut state, record).await,
            Err(end) => end,
        };
        let ended = self.part(control, end, &mut sides, &mut from_upstream, &mut state, record).await;
        let reason = ended.as_ref().map_or_else(|refused| refused.reason, |()| OutcomeReason::CallerClosed);
        let written = self.transcribes(&state);
        let mut left = state.transcripts.give_up(written, reason, worker.now(), record);
        left.extend(state.turns.give_up(reason, worker.now(), record));
        left.into_iter().for_each(|turn| worker.record_at_once(turn));
        state.guard.tell(&state.scrub, record);
        record.bytes_in(state.up.moved);
        record.bytes_out(state.down.moved);
        ended.inspect(|()| record.served())
    }
}

/// How a caller was told that its session is over.
struct Bidden {
    ended: Result<(), Refused>,
    /// With what the provider is left.
    last: Vec<u8>,
    /// Whether there is still somebody who reads it.
    caller_reads: bool,
}

/// Tells a caller that its session is over, and why.
fn bid(end: End, protocol: &dyn Protocol, id: RequestId, out: &mut Out) -> Bidden {
    let mut say = |refused: Refused, code: u16| {
        if let Some(text) = protocol.error(refused.reason, id, refused.detail(), None) {
            ws::write(&Message::Text(&text), None, &mut out.bytes);
        }
        let why = protocol.farewell(refused.reason, refused.detail());
        ws::write(&Message::Close(&ws::close(code, &why)), None, &mut out.bytes);
        Err(refused)
    };
    let mut last = ws::close(1000, "");
    let ended = match end {
        End::Gone(OutcomeReason::CallerClosed) => return Bidden { ended: Ok(()), last, caller_reads: false },
        End::Closed(payload) => {
            ws::write(&Message::Close(&payload), None, &mut out.bytes);
            last = payload;
            Ok(())
        }
        End::Gone(reason) => say(Refused::new(reason), 1011),
        End::Broken(broken, reason) => {
            let code = if reason == OutcomeReason::MalformedRequest { broken.code() } else { 1011 };
            say(Refused::new(reason).with_detail(format!("{broken} came")), code)
        }
        End::Over(why) => {
            ws::write(&Message::Close(&ws::close(1001, why)), None, &mut out.bytes);
            Ok(())
        }
        End::Refused(refused) => {
            let code = match refused.reason {
                OutcomeReason::Internal | OutcomeReason::UpstreamMalformed => 1011,
                OutcomeReason::Overloaded => 1013,
                _ => 1008,
            };
            say(refused, code)
        }
    };
    Bidden { ended, last, caller_reads: true }
}

/// What the handles of sessions are bound to beside their application: the model, and the target that keeps the session.
fn resumption(model: &ModelPlan, target: &TargetPlan) -> String {
    // No route has a name like this, and what MCP servers say is bound to routes.
    format!("live session of {} at {:016x}", model.name, target.place)
}

impl State<'_> {
    /// Whether there is room for what becomes of more that the caller says: it goes on, or is answered here.
    fn listens(&self) -> bool {
        self.up.is_empty() && self.down.bytes.len() <= MOST_WAITING
    }

    /// Whether the provider may still tell what something cost.
    fn expects(&self) -> bool {
        let asked = self.protocol.one_at_a_time() && self.turns.awaits();
        asked || self.last.is_some() || self.turns.running().next().is_some() || self.transcripts.awaits()
    }

    /// The event in a message, where it holds one.
    fn event<'m>(&self, message: &Message<'m>) -> Option<&'m str> {
        match message {
            Message::Text(text) => Some(text),
            Message::Binary(bytes) if self.protocol.takes_binary() => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
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
