//! A second target asked beside the first, where that one takes long to begin and the model says so. The answer that begins
//! first is taken, the other try is cut off; a call is hedged once.
//!
//! Predictions of Replicate are never one of the two: who is cut off here could not end what was made.
//!
//! Both run within the request's own task, and neither sees the caller: its leaving is watched here, for both.

use super::{
    Inbound, Parts, Refused, Tried, afford, body,
    call::Beside,
    fallback, prediction,
    record::Recording,
    translate::{UpstreamBody, UpstreamRequest},
    try_target,
};
use crate::{
    conn::{AnswerError, AnswerFraming, BodyError, Caller, Received},
    net::{
        buffer::Buffer,
        control::{Control, Interrupt},
        stream::Stream,
    },
    worker::{View, Worker},
};
use credentialflow_model::{OutcomeReason, usage::TriedEnd};
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

type Ended = Result<Tried, Refused>;
type Leg<'l> = Pin<Box<dyn Future<Output = Ended> + 'l>>;

/// How long the present target has before another one is asked as well; `None` where none is.
pub(super) fn after(view: &View, request: &UpstreamRequest) -> Option<Duration> {
    let call = request.call.as_ref()?;
    let elsewhere = call.elsewhere.as_ref()?;
    let plan = &view.snapshot.models.list[call.model as usize];
    let is_held = matches!(request.body, UpstreamBody::Buffered(_)) && plan.targets.len() > 1;
    let ends = !prediction::is_made(call);
    plan.hedge.filter(|_| is_held && ends && !elsewhere.hedged && !elsewhere.said.wanted.counts)
}

/// Tries the present target, and another one beside it when it has not begun to answer after so long. When both have
/// failed, the request is that of the second, and the first is in the record.
#[expect(clippy::too_many_arguments, reason = "a stage sees what the stages before it made")]
pub(super) async fn race<C: Caller>(
    worker: &Worker,
    view: &Rc<View>,
    control: &Control,
    inbound: &Inbound<'_>,
    parts: Parts<'_, '_>,
    (request, after): (&mut UpstreamRequest, Duration),
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Ended {
    let nobody = || Err(Refused::new(OutcomeReason::Internal));
    let Some(beside) = Beside::of(request) else { return nobody() };
    let mut aside = record.aside();
    let (mine, theirs) = (worker.controls.register(), worker.controls.register());
    let (mut here, mut there) = (Absent, Absent);
    let mut first: Leg<'_> = Box::pin(try_target(worker, view, &mine, inbound, parts, request, &mut here, record));
    let began = Instant::now();
    control.set_deadline(worker.tick_in(after));
    let soon = wait(control, caller, |cx| first.as_mut().poll(cx)).await?;
    control.clear_deadline();
    if let Some(ended) = soon {
        drop(first);
        request.not_hedged();
        return ended;
    }
    let Some(mut other) = beside.request(worker, view, parts.0, &mut aside) else {
        // There is nobody else, so it is waited for.
        return wait(control, caller, |cx| first.as_mut().poll(cx)).await?.unwrap_or_else(nobody);
    };
    let mut second: Leg<'_> = Box::pin(async {
        afford(worker, view, &theirs, (parts.0, parts.1), &mut other, &mut aside).await?;
        try_target(worker, view, &theirs, inbound, parts, &mut other, &mut there, &mut aside).await
    });
    let began_beside = Instant::now();
    let (mut one, mut two): (Option<Ended>, Option<Ended>) = (None, None);
    let waited = wait(control, caller, |cx| {
        poll_unless(&mut one, &mut first, cx);
        poll_unless(&mut two, &mut second, cx);
        let is_over = matches!(one, Some(Ok(Tried::Began(_)) | Err(_)))
            || matches!(two, Some(Ok(Tried::Began(_))))
            || (one.is_some() && two.is_some());
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    });
    let waited = waited.await;
    // Whoever is still at it is cut off.
    drop((first, second));
    if let Err(left) = waited {
        record.beaten(aside, TriedEnd::Overtaken);
        return Err(left);
    }
    let second_goes_on = match (&one, &two) {
        (Some(Ok(Tried::Began(_)) | Err(_)), _) => false,
        (_, two) => matches!(two, Some(Ok(_))),
    };
    if !second_goes_on {
        fallback::beaten(view, &other, two.as_ref(), (began_beside.elapsed(), after), &aside);
        record.beaten(aside, end(two.as_ref()));
        request.tried_beside(&other);
        return one.unwrap_or_else(nobody);
    }
    fallback::beaten(view, request, one.as_ref(), (began.elapsed(), after), record);
    if let Some(Ok(Tried::Failed(fault, _))) = &mut one {
        fallback::note(view, request, fault);
    }
    record.tried(end(one.as_ref()), true);
    record.adopt(aside);
    request.go_on_as(other);
    record.attempt(request.attempts);
    two.unwrap_or_else(nobody)
}

/// How a try ended that another one goes on instead of.
const fn end(ended: Option<&Ended>) -> TriedEnd {
    match ended {
        Some(Ok(Tried::Failed(fault, _))) => fault.end,
        Some(Err(refused)) => TriedEnd::Outcome(refused.reason),
        Some(Ok(Tried::Began(_))) | None => TriedEnd::Overtaken,
    }
}

fn poll_unless(ended: &mut Option<Ended>, leg: &mut Leg<'_>, cx: &mut Context<'_>) {
    if ended.is_none()
        && let Poll::Ready(is) = leg.as_mut().poll(cx)
    {
        *ended = Some(is);
    }
}

/// Waits for something; `None` when the deadline is over before.
pub(super) async fn wait<C: Caller, T>(
    control: &Control,
    caller: &mut C,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Result<Option<T>, Refused> {
    let waited = control.wait(poll_fn(|cx| {
        if let Poll::Ready(done) = poll(cx) {
            return Poll::Ready(Some(done));
        }
        caller.poll_gone(cx).map(|()| None)
    }));
    match waited.await {
        Ok(Some(done)) => Ok(Some(done)),
        Ok(None) => Err(Refused::new(OutcomeReason::CallerClosed)),
        Err(Interrupt::Deadline) => Ok(None),
        Err(other) => Err(body::interrupted(other, OutcomeReason::UpstreamTimeout)),
    }
}

/// Stands for the caller in each of the two: nothing comes from it, and it does not leave.
pub(super) struct Absent;

impl Caller for Absent {
    fn poll_body(&mut self, _: &mut Context<'_>, _: &mut Vec<u8>, _: usize) -> Poll<Result<Received, BodyError>> {
        Poll::Pending
    }
    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
    fn settle(&mut self) {}
    fn begin(&mut self, _: u16, _: &[u8], _: AnswerFraming) {}
    fn payload(&mut self, _: &[u8]) {}
    fn end(&mut self) {}
    async fn flush(&mut self) -> Result<(), AnswerError> {
        Ok(())
    }
    fn close_after(&mut self) {}
    fn abort(&mut self) {}
    fn upgraded(&mut self) -> Option<(&mut Stream, &mut Buffer)> {
        None
    }
}
