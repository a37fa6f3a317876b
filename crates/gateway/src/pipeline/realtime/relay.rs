//! Messages of a session as they pass, and how it ends.

use super::{
    Bidden, End, FAREWELL, IDLE, LAST_WORD, LONGEST, MOST_MESSAGE, Session, State, bid, resumption,
    sides::{Sides, Step, fill},
};
use crate::{
    net::control::{Control, Interrupt},
    pipeline::{Refused, body, record::Recording},
    snapshot::models::TargetPlan,
    ws::{self, Message, Reader, Sender},
};
use credentialflow_llm::realtime::{Handle, Told};
use credentialflow_model::OutcomeReason;
use credentialflow_policy::SessionOwner;
use std::{
    borrow::Cow,
    future::poll_fn,
    time::{Duration, Instant},
};

impl Session<'_> {
    /// Relays until there is a reason to end.
    pub(super) async fn run(
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
            Message::Text(text) => text.as_bytes(),
            Message::Binary(raw) | Message::Ping(raw) | Message::Pong(raw) | Message::Close(raw) => raw,
        };
        let event = state.event(&message);
        let changed = match event {
            Some(text) => self.note(text, state, record)?,
            None => None,
        };
        let clean = state.clean(changed.as_deref().map_or(raw, str::as_bytes), record);
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

    /// Counts what the provider tells. The event as it goes on, where that is not as it came.
    fn note<'t>(
        &self,
        text: &'t str,
        state: &mut State<'_>,
        record: &mut Recording<'_>,
    ) -> Result<Option<Cow<'t, str>>, End> {
        let mut changed = None;
        for told in state.protocol.told(text) {
            match told {
                Told::Began { response } => {
                    if !state.turns.began(response, self.worker.now()) {
                        let why = "the provider runs more answers than were asked for".to_owned();
                        return Err(End::Refused(Refused::new(OutcomeReason::UpstreamMalformed).with_detail(why)));
                    }
                }
                Told::Done { response, used, in_conversation, failed } => {
                    let now = self.worker.now();
                    let turn = state.turns.done((&response, used), (in_conversation, failed), now, record);
                    turn.into_iter().for_each(|turn| self.worker.record_at_once(turn));
                }
                Told::Heard { item } => state.transcripts.heard(item, Instant::now()),
                Told::Transcribed { item, failed: true, .. } => state.transcripts.is_over(&item),
                Told::Transcribed { item, used, failed: false } => {
                    let now = self.worker.now();
                    let Some(turn) = record.turn(now, Duration::ZERO) else { continue };
                    let target = self.transcribes(state);
                    self.worker.record_at_once(state.transcripts.came((&item, used), target, now, turn));
                }
                Told::Refused { about } if about.is_some() && about == state.last => {
                    state.turns.all_taken();
                    state.last = None;
                }
                Told::Refused { about } => state.turns.refused(about.as_deref()),
                Told::Resumable(handle) => changed = Some(self.resumable(&handle, text)),
            }
        }
        Ok(changed)
    }

    /// A message with the handle by which the caller alone can take the session up again.
    fn resumable<'t>(&self, handle: &Handle, text: &'t str) -> Cow<'t, str> {
        let (api_key, owner) = (&self.view.snapshot.api_key, resumption(self.plan, self.target));
        let owner = SessionOwner { route: &owner, principal: self.principal };
        let bound = owner.bind(api_key, handle.handle.as_bytes()).and_then(|bound| String::from_utf8(bound).ok());
        // What cannot be bound is no handle to anybody.
        handle.replaced(text, &bound.unwrap_or_default())
    }

    /// Reserves what is missing for answers and transcripts.
    pub(super) async fn hold(&self, control: &Control, state: &mut State<'_>) -> Result<(), Refused> {
        state.turns.hold(self.worker, control).await?;
        let target = self.transcribes(state);
        state.transcripts.hold(self.worker, control, target).await
    }

    /// The target that writes down what is heard, where one was named.
    pub(super) fn transcribes(&self, state: &State<'_>) -> Option<&TargetPlan> {
        let (model, target) = state.transcripts.by()?.target;
        Some(&self.view.snapshot.models.list[model as usize].targets[target as usize])
    }

    /// Takes leave of both sides: the caller is told why, and the provider is asked what the answers cost that run.
    pub(super) async fn part(
        &self,
        control: &Control,
        end: End,
        sides: &mut Sides<'_>,
        from_upstream: &mut Reader,
        state: &mut State<'_>,
        record: &mut Recording<'_>,
    ) -> Result<(), Refused> {
        let Bidden { ended, last, caller_reads } = bid(end, &*state.protocol, record.request_id(), &mut state.down);
        if caller_reads {
            control.set_deadline(self.worker.tick_in(LAST_WORD));
            let _ = control.wait(poll_fn(|cx| state.down.poll(cx, sides.caller.0))).await;
        }
        let mut cancelled: Vec<String> = state.turns.running().map(str::to_owned).collect();
        let mut events: Vec<String> = cancelled.iter().filter_map(|id| state.protocol.cancel(id)).collect();
        // What was asked for or begun of the provider's own accord may not have been read yet. The second of these is
        // refused, as the first one left nothing to cancel; then all that came before is read.
        if state.turns.awaits() || state.listened {
            let last = format!("event_{:x}", self.worker.bits());
            let both = state.protocol.cancel_any("event_cancel").zip(state.protocol.cancel_any(&last));
            state.last = both.is_some().then_some(last);
            events.extend(both.into_iter().flat_map(|(first, second)| [first, second]));
        }
        for event in &events {
            ws::write(&Message::Text(event), Some(self.mask()), &mut state.up.bytes);
        }
        // Nothing goes to the caller any more, so what comes is only read.
        control.set_deadline(self.worker.tick_in(FAREWELL));
        while !state.closed && state.expects() {
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
                if let Some(text) = message.as_ref().and_then(|message| state.event(message)) {
                    let _ = self.note(text, state, record);
                    let begun = state.turns.running().find(|id| !cancelled.iter().any(|one| one == id));
                    if let Some(id) = begun.map(str::to_owned) {
                        if let Some(event) = state.protocol.cancel(&id) {
                            ws::write(&Message::Text(&event), Some(self.mask()), &mut state.up.bytes);
                        }
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

    pub(super) fn mask(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.worker.bits().to_le_bytes();
        [a, b, c, d]
    }
}
