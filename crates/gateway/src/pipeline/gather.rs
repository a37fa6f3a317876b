//! What a provider is asked in calls of their own, as it takes few texts at once ([`Gathering`]): each is sent by itself,
//! some at the same time, and what was answered becomes one, so that the stages after this one get an answer as from any
//! other provider.
//!
//! What was answered stays with the call: where one fails and its target is tried again, only what is missing is asked
//! for. What the provider counted of it is told when another target is tried instead, or nobody is. Where several fail
//! together, the first tells how the call ended; each that its provider may have worked on is paid.

use super::{
    Inbound, InjectedRequest, Parts, Refused,
    call::ModelCall,
    choose::Chosen,
    forward::{self, Ended, UpstreamResponse},
    hedge::{self, Absent},
    inject,
    prediction::instead,
    record::Recording,
    scrub::Scrub,
    translate::{Failure, UpstreamBody, UpstreamRequest},
    translated,
    usage::{Told, UsageProbe},
};
use crate::{
    budget::Charge,
    conn::Caller,
    http1::{
        head::{Framing, ResponseHead},
        tag::Tag,
    },
    net::control::Control,
    worker::{View, Worker},
};
use credentialflow_llm::{bedrock, task::Task, translate::task::Gathering};
use credentialflow_model::OutcomeReason;
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::Poll,
    time::Instant,
};

/// So many are asked at the same time.
const LANES: usize = 8;
/// What was put together is not larger: 2,048 texts, 3,072 numbers for each, 16 bytes for a number.
pub(super) const MOST: usize = 128 << 20;
/// How often one is sent at the most, where its provider cannot have seen it.
const TRIES: u8 = 3;

/// Whether a call is asked so.
pub(super) const fn is_of(call: &ModelCall) -> bool {
    matches!(call.usage, UsageProbe::Gathered(_))
}

/// Why one of them has no answer that can be used.
enum Failed {
    /// It cannot have been seen, or its connection failed.
    Ended(Ended),
    /// The provider refused it.
    Answered(Box<UpstreamResponse>),
    /// The provider answered with something else.
    Broken(u16, Refused),
}

impl Failed {
    /// Whether it says that the provider did no work on it.
    const fn is_told(&self) -> bool {
        match self {
            Self::Answered(_) | Self::Ended(Ended::Refused(_)) => true,
            Self::Ended(Ended::Failed(failure)) => failure.untouched,
            Self::Broken(..) => false,
        }
    }
}

/// Asks for all that is missing, and gives one answer, or that of one that was refused.
#[expect(clippy::too_many_arguments, reason = "a stage sees what the stages before it made")]
pub(super) async fn ask<C: Caller>(
    worker: &Worker,
    view: &Rc<View>,
    control: &Control,
    inbound: &Inbound<'_>,
    parts: Parts<'_, '_>,
    request: &mut UpstreamRequest,
    chosen: &Chosen,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<UpstreamResponse, Ended> {
    request.attempts = request.attempts.saturating_add(1);
    request.last = Some(chosen.index);
    record.attempt(request.attempts);
    let until = request.tick_in(worker, request.patience(view));
    let (Some(call), UpstreamBody::Buffered(body)) = (&mut request.call, &request.body) else {
        return Err(Refused::new(OutcomeReason::Internal).into());
    };
    let UsageProbe::Gathered(gathering) = std::mem::replace(&mut call.usage, UsageProbe::Free) else {
        return Err(Refused::new(OutcomeReason::Internal).into());
    };
    let lines: Vec<&[u8]> = body.split(|b| *b == b'\n').collect();
    let missing: VecDeque<usize> = (0..lines.len().min(gathering.calls())).filter(|at| gathering.misses(*at)).collect();
    let asking = Asking {
        worker,
        view,
        inbound,
        parts,
        chosen,
        until,
        of: (request.upstream, call),
        lines,
        missing: RefCell::new(missing),
        gathering: RefCell::new(gathering),
        held: RefCell::new(worker.budget.nothing()),
        last: RefCell::default(),
        failed: RefCell::default(),
        unknown: Cell::new(0),
    };
    let sent = Instant::now();
    let waited = asking.all(control, (caller, sent), record).await;
    control.clear_deadline();
    let Asking { gathering, last, failed, unknown, mut held, lines, .. } = asking;
    let (gathering, failed) = (gathering.into_inner(), failed.into_inner());
    let told = gathering.used().map(Told::used);
    // The bytes of those that were answered.
    let done = lines.iter().enumerate().filter(|(at, _)| !gathering.misses(*at)).map(|(_, line)| line.len() as u64);
    let done: u64 = done.sum();
    let answered = gathering.answer();
    let target = (call.model, call.target);
    call.usage = UsageProbe::Gathered(gathering);
    waited?;
    match (failed, answered, last.into_inner()) {
        (Some(failed), ..) => {
            let is_told = failed.is_told();
            // Else all that was reserved is paid, for these as well.
            if is_told && unknown.get() > 0 {
                record.may_be_working_on(unknown.get());
            }
            match told {
                Some(told) if is_told => record.tokens(view, target, told),
                // Its provider did not count all that it answered.
                None if is_told && done > 0 => record.estimated(view, target, done),
                // How far the provider got with one of them nobody knows.
                _ if !is_told => record.may_be_working(),
                _ => {}
            }
            match failed {
                Failed::Answered(mut response) => {
                    record.upstream_status(response.head.status);
                    response.sent = sent;
                    Ok(*response)
                }
                // What was answered is not asked for again, nor is it as if nothing had been.
                Failed::Ended(Ended::Failed(failure)) => {
                    let untouched = failure.untouched && done == 0;
                    Err(Ended::Failed(Failure { untouched, stale: false, ..failure }))
                }
                Failed::Ended(refused) => Err(refused),
                Failed::Broken(status, refused) => {
                    record.upstream_status(status);
                    Err(refused.into())
                }
            }
        }
        (None, Some(answer), Some(last)) => {
            held.get_mut().set(2 * answer.capacity() as u64).map_err(|_| Refused::new(OutcomeReason::Overloaded))?;
            record.upstream_status(200);
            translated::pause(answer.len()).await;
            Ok(UpstreamResponse { sent, ..instead(last, 200, "application/json", &answer) })
        }
        _ => {
            record.upstream_status(200);
            Err(translated::unusable().into())
        }
    }
}

/// Calls that are asked.
struct Asking<'a, 'r> {
    worker: &'a Worker,
    view: &'a Rc<View>,
    inbound: &'a Inbound<'a>,
    parts: Parts<'a, 'r>,
    chosen: &'a Chosen,
    until: u64,
    /// The upstream, and the call that they are of.
    of: (u32, &'a ModelCall),
    lines: Vec<&'a [u8]>,
    missing: RefCell<VecDeque<usize>>,
    gathering: RefCell<Box<Gathering>>,
    /// The memory of what was answered.
    held: RefCell<Charge>,
    /// The answer of one of them that was read, for what is to be made in its place.
    last: RefCell<Option<UpstreamResponse>>,
    /// The first that failed; nothing is asked after it.
    failed: RefCell<Option<Failed>>,
    /// The bytes of those that failed, and that the provider may have worked on.
    unknown: Cell<u64>,
}

/// One that is about to be sent.
type Ready = (usize, UpstreamRequest, InjectedRequest);

impl Asking<'_, '_> {
    /// Asks all of them, and waits for each that was sent.
    async fn all<C: Caller>(
        &self,
        control: &Control,
        (caller, sent): (&mut C, Instant),
        record: &mut Recording<'_>,
    ) -> Result<(), Ended> {
        let Some(at) = self.next() else { return Ok(()) };
        // With the record of the call itself, which tells of the credential.
        let mut first = Some(self.ready(at, record)?);
        record.sent(sent);
        let count = LANES.min(self.missing.borrow().len() + 1);
        let mut lanes: Vec<Option<Pin<Box<dyn Future<Output = ()> + '_>>>> = Vec::with_capacity(count);
        for _ in 0..count {
            lanes.push(Some(Box::pin(self.lane(first.take(), record.aside()))));
        }
        control.set_deadline(self.until);
        let waited = hedge::wait(control, caller, |cx| {
            for lane in &mut lanes {
                if lane.as_mut().is_some_and(|lane| lane.as_mut().poll(cx).is_ready()) {
                    *lane = None;
                }
            }
            if lanes.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
        });
        let late = Failure { reason: OutcomeReason::UpstreamTimeout, untouched: false, stale: false };
        waited.await?.ok_or(Ended::Failed(late))
    }

    fn next(&self) -> Option<usize> {
        if self.failed.borrow().is_some() { None } else { self.missing.borrow_mut().pop_front() }
    }

    /// Asks one after the other.
    async fn lane(&self, mut first: Option<Ready>, mut aside: Recording<'_>) {
        loop {
            let ready = match first.take() {
                Some(ready) => Ok(ready),
                None => match self.next() {
                    Some(at) => self.ready(at, &mut aside).map_err(|refused| Failed::Ended(refused.into())),
                    None => return,
                },
            };
            // None of it is sent yet.
            aside.retried();
            let bytes = ready.as_ref().map_or(0, |(at, ..)| self.lines[*at].len() as u64);
            let done = match ready {
                Ok(ready) => self.one(ready, &mut aside).await,
                Err(failed) => Err(failed),
            };
            if let Err(failed) = done {
                let cut_off = matches!(failed, Failed::Ended(Ended::Refused(_))) && aside.is_sent();
                if cut_off || !failed.is_told() {
                    self.unknown.set(self.unknown.get() + bytes);
                }
                self.failed.borrow_mut().get_or_insert(failed);
                return;
            }
        }
    }

    fn ready(&self, at: usize, record: &mut Recording<'_>) -> Result<Ready, Refused> {
        let (upstream, of) = self.of;
        let place = (of.model, of.target, of.key);
        let mut call = ModelCall::free(place, Task::Embeddings, of.dialect, of.path.to_string(), self.worker);
        (call.task, call.translation) = (of.task, of.translation.clone());
        let plain = UpstreamRequest::plain(upstream, UpstreamBody::Buffered(self.lines[at].to_vec()));
        let request = UpstreamRequest { call: Some(call), until: self.until, ..plain };
        let injected = self.inject(&request, record)?;
        Ok((at, request, injected))
    }

    fn inject(&self, request: &UpstreamRequest, record: &mut Recording<'_>) -> Result<InjectedRequest, Refused> {
        let Self { worker, view, inbound, chosen, parts: (matched, principal, permit), .. } = *self;
        inject::inject(worker, view, permit, inbound, matched, principal, request, chosen, record)
    }

    /// Asks one, and keeps what is answered.
    async fn one(&self, (at, mut request, injected): Ready, aside: &mut Recording<'_>) -> Result<(), Failed> {
        let Self { worker, view, inbound, chosen, .. } = *self;
        let control = worker.controls.register();
        let mut injected = Some(injected);
        let mut response = loop {
            let injected = match injected.take() {
                Some(injected) => injected,
                None => self.inject(&request, aside).map_err(|refused| Failed::Ended(refused.into()))?,
            };
            let nobody = &mut Absent;
            let sent = (injected, None);
            match forward::forward(worker, view, &control, inbound, sent, &mut request, chosen, nobody, aside).await {
                Ok(response) => break response,
                Err(Ended::Failed(failure))
                    if failure.untouched && request.attempts < TRIES && worker.tick() < self.until =>
                {
                    request.fresh |= failure.stale;
                }
                Err(ended) => return Err(Failed::Ended(ended)),
            }
        };
        let status = response.head.status;
        if !(200..300).contains(&status) {
            return Err(Failed::Answered(Box::new(response)));
        }
        let broken = |refused| Failed::Broken(status, refused);
        let identity = |value: &[u8]| value.eq_ignore_ascii_case(b"identity");
        let UpstreamResponse { head, bytes, connection, .. } = &mut response;
        if head.fields.iter().any(|f| f.tag == Tag::ContentEncoding && !identity(f.value.of(bytes))) {
            let detail = "the provider compressed its answer although it was asked not to".to_owned();
            return Err(broken(Refused::new(OutcomeReason::UpstreamMalformed).with_detail(detail)));
        }
        let framing = head.framing(false);
        let counted = counted(head, bytes);
        // Nothing of it goes on but numbers.
        let (mut scrub, mut nobody, most) = (Scrub::default(), Absent, (framing, translated::MOST));
        let (scrub, nobody) = (&mut scrub, &mut nobody);
        let read = translated::collect(worker, view, &control, &mut request, most, connection, scrub, nobody, aside);
        let (body, held) = read.await.map_err(broken)?;
        if !self.gathering.borrow_mut().take(at, &body, counted) {
            return Err(broken(translated::unusable()));
        }
        drop((body, held));
        let kept = self.gathering.borrow().held() as u64;
        self.held.borrow_mut().set(kept).map_err(|_| broken(Refused::new(OutcomeReason::Overloaded)))?;
        let before = self.last.borrow_mut().replace(response);
        if let Some(UpstreamResponse { head, connection, endpoint, .. }) = before
            && head.keeps_alive()
            && head.framing(false) != Framing::UntilClose
        {
            endpoint.keep(connection, worker.pools.most, worker.tick());
        }
        Ok(())
    }
}

/// How many tokens the head of an answer counts.
fn counted(head: &ResponseHead, bytes: &[u8]) -> Option<u64> {
    let named = |name: &[u8]| name.eq_ignore_ascii_case(bedrock::INPUT_TOKENS_HEADER.as_bytes());
    let field = head.fields.iter().find(|f| f.tag == Tag::Other && named(f.name.of(bytes)))?;
    std::str::from_utf8(field.value.of(bytes)).ok()?.trim().parse().ok()
}
