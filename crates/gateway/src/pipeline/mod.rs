//! The natural way of a request: one function that reads top to bottom, each stage in a file of its own.
//!
//! `InboundRequest → RouteMatch → Principal → Permit → UpstreamRequest → InjectedRequest →
//! UpstreamResponse → answer`, and always a record.

mod answer;
mod authenticate;
mod authorize;
mod batch;
mod body;
mod budget;
mod cache;
mod call;
mod challenge;
mod choose;
mod fallback;
mod files;
mod forward;
mod frames;
mod gather;
mod guard;
mod guardrail;
mod hedge;
mod inbound;
mod inject;
mod instead;
mod key_refused;
mod mcp;
mod models;
mod prediction;
mod prompt;
mod question;
mod quota;
mod realtime;
mod record;
mod refuse;
mod retry;
mod route;
pub(crate) mod scrub;
pub(crate) mod select;
mod sigv4;
mod trace;
mod translate;
mod translated;
mod unsent;
mod unsuited;
mod upgrade;
mod upload;
mod usage;
pub(crate) mod users;
pub(crate) mod wanted;

pub use authorize::Permit;
pub(crate) use call::decide;
pub(crate) use inbound::Inbound;
pub use inject::InjectedRequest;
pub(crate) use refuse::Refused;

use crate::{
    conn::Caller,
    net::control::Control,
    snapshot::RouteKind,
    worker::{View, Worker},
};
use credentialflow_model::OutcomeReason;
use credentialflow_policy::Principal;
use record::Recording;
use std::{net::IpAddr, rc::Rc, time::Instant};

/// Serves one request. True: the connection was handed over to an upgrade and is over.
pub(crate) async fn serve<C: Caller>(
    worker: &Rc<Worker>,
    control: &Control,
    inbound: Inbound<'_>,
    caller: &mut C,
) -> bool {
    let view = worker.view();
    let mut record = Recording::begin(worker, &view, &inbound);
    let outcome = handle(worker, &view, control, &inbound, caller, &mut record).await;
    control.set_key(None);
    control.clear_deadline();
    match outcome {
        Ok(upgraded) => upgraded,
        Err(refused) => {
            refuse::rescue(worker, control, caller, &mut record, refused).await;
            false
        }
    }
}

async fn handle<C: Caller>(
    worker: &Worker,
    view: &Rc<View>,
    control: &Control,
    inbound: &Inbound<'_>,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<bool, Refused> {
    if let Some(answer) = challenge::answer(worker, inbound) {
        return answer::local(control, worker, caller, record, answer).await.map(|()| false);
    }
    let matched = route::find(view, inbound, record)?;
    let principal = authenticate::authenticate(worker, view, control, inbound, &matched, record)?;
    let (permit, limits) = authorize::authorize(worker, view, inbound, &matched, &principal, record)?;
    record.limits(limits);
    quota::enter(view, &principal, record)?;
    if let Some(answer) = models::list(view, &matched, &principal, record.dialect()) {
        return answer::local(control, worker, caller, record, answer?).await.map(|()| false);
    }
    if let Some(answer) = prompt::description(view, &matched, inbound) {
        return answer::local(control, worker, caller, record, answer?).await.map(|()| false);
    }
    if matches!(matched.plan(view).kind, RouteKind::Live(_)) {
        // Boxed, as it would make the future of every request larger.
        let parts = (&matched, &principal, &permit);
        let served = Box::pin(realtime::live::serve(worker, view, control, inbound, parts, caller, record));
        return served.await.map(|()| false);
    }
    if batch::is_about_them(view, &matched) {
        // Boxed, as it would make the future of every request larger.
        let parts = (&matched, &principal, &permit);
        let served = Box::pin(batch::serve(worker, view, control, inbound, parts, caller, record));
        return served.await.map(|()| false);
    }
    let mut request =
        translate::translate(worker, view, control, inbound, &matched, (&principal, &permit), caller, record).await?;
    let parts = (&matched, &principal, &permit);
    if request.mcp.as_ref().is_some_and(|call| call.is_for_all()) {
        // Boxed, as it would make the future of every request larger.
        let served = Box::pin(mcp::serve_for_all(worker, view, control, inbound, parts, request, caller, record));
        return served.await.map(|()| false);
    }
    if request.call.as_ref().is_some_and(|call| call.cached.is_some())
        // Boxed, as it would make the future of every request larger.
        && let Some(found) =
            Box::pin(cache::find(worker, view, control, inbound, parts, &mut request, caller, record)).await?
    {
        let replay = cache::replay(worker, view, control, &matched, &request, found, caller, record);
        return Box::pin(replay).await.map(|()| false);
    }
    let served = exchanged(worker, view, control, inbound, parts, &mut request, caller, record).await;
    if prediction::runs(&request) {
        // Boxed, as it would make the future of every request larger.
        Box::pin(prediction::over(worker, view, inbound, parts, &mut request, served.is_ok(), record)).await;
    }
    served
}

/// Sends a request, and passes its answer on.
#[expect(clippy::too_many_arguments, reason = "a stage sees what the stages before it made")]
async fn exchanged<C: Caller>(
    worker: &Worker,
    view: &Rc<View>,
    control: &Control,
    inbound: &Inbound<'_>,
    parts: Parts<'_, '_>,
    request: &mut translate::UpstreamRequest,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<bool, Refused> {
    let (matched, principal, _) = parts;
    let response = answered(worker, view, control, inbound, parts, request, caller, record).await?;
    if key_refused::is_told(response.head.status) && request.call.is_some() && record.has_credential() {
        // It was ours, not the caller's; and what the provider says of it shows how it ends.
        return Err(Refused::new(OutcomeReason::UpstreamCredentialRefused));
    }
    request.answered();
    if response.head.status == 101 && matched.plan(view).kind == RouteKind::Realtime {
        let parts = (matched, principal);
        // Boxed, as it would make the future of every request larger.
        let session = realtime::serve(worker, view, control, inbound, parts, request, response, caller, record);
        return Box::pin(session).await.map(|()| false);
    }
    if response.head.status == 101 {
        let said = guard::UploadGuard::of_messages(view, matched, request, record);
        let answered = guard::answered::AnswerGuard::of(view, matched, request, true, record);
        return upgrade::relay(worker, control, caller, response, (said, answered), record).await.map(|()| true);
    }
    if prompt::streams(view, matched, request) {
        // Boxed, as it would make the future of every request larger.
        let relayed = prompt::stream::relay(worker, view, control, inbound, parts, request, response, caller, record);
        return Box::pin(relayed).await.map(|()| false);
    }
    match cache::Keeping::of(worker, request, caller) {
        Err(caller) => {
            answer::relay(worker, view, control, inbound, parts, request, response, caller, record).await?;
        }
        Ok(mut keeping) => {
            let caller = &mut keeping;
            let relay = answer::relay(worker, view, control, inbound, parts, request, response, caller, record);
            Box::pin(relay).await?;
            keeping.finish(worker, control, request, record).await?;
        }
    }
    Ok(false)
}

/// Sends a request to where it goes, and where that fails to the next place that may take it; gives the answer that has
/// begun.
#[expect(clippy::too_many_arguments, reason = "a stage sees what the stages before it made")]
async fn answered<C: Caller>(
    worker: &Worker,
    view: &Rc<View>,
    control: &Control,
    inbound: &Inbound<'_>,
    parts: Parts<'_, '_>,
    request: &mut translate::UpstreamRequest,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<forward::UpstreamResponse, Refused> {
    afford(worker, view, control, (parts.0, parts.1), request, record).await?;
    loop {
        let tried = match hedge::after(view, request) {
            None => try_target(worker, view, control, inbound, parts, request, caller, record).await?,
            // Boxed, as it would make the future of every request larger.
            Some(after) => {
                let both = (&mut *request, after);
                Box::pin(hedge::race(worker, view, control, inbound, parts, both, caller, record)).await?
            }
        };
        let (mut fault, mut failed) = match tried {
            Tried::Began(response) => return Ok(response),
            Tried::Failed(fault, failed) => (fault, failed),
        };
        if prediction::runs(request) {
            Box::pin(prediction::give_up(worker, view, inbound, parts, request, record)).await;
        }
        fault.of_call(request.call.as_ref());
        let mut next = fallback::next(worker, view, parts.0, request, &fault, record);
        if next == fallback::Next::Nobody
            && let Some(pause) = retry::pause(worker, view, request)
        {
            failed = Err(Refused::new(OutcomeReason::Overloaded));
            record.pauses(fault.end);
            // Boxed, as it would make the future of every request larger.
            Box::pin(retry::wait(control, pause, caller)).await?;
            next = retry::again(view, parts.0, request, &fault, record);
        }
        match next {
            fallback::Next::Credential => {
                if let Err(short) = quota::count(worker, view, parts.1, request, record) {
                    let refused = short.into_refused();
                    if !fallback::unpaid(worker, view, parts.0, request, &refused, record) {
                        return Err(refused);
                    }
                    drop(failed);
                    afford(worker, view, control, (parts.0, parts.1), request, record).await?;
                }
            }
            fallback::Next::Target => {
                drop(failed);
                afford(worker, view, control, (parts.0, parts.1), request, record).await?;
            }
            fallback::Next::Nobody if fault.is_late(worker, request) => {
                return Err(Refused::new(OutcomeReason::UpstreamTimeout));
            }
            fallback::Next::Nobody => return failed,
        }
    }
}

/// Looks at what goes to the target, counts it with the limits and reserves what it may cost there; where the target takes
/// no more or a budget cannot pay for it, at the next target.
async fn afford(
    worker: &Worker,
    view: &View,
    control: &Control,
    (matched, principal): (&route::RouteMatch<'_>, &Principal),
    request: &mut translate::UpstreamRequest,
    record: &mut Recording<'_>,
) -> Result<(), Refused> {
    loop {
        guard::whole_body(view, matched, request, record)?;
        let refused = match quota::count(worker, view, principal, request, record) {
            Ok(()) => match budget::reserve(worker, view, control, principal, request, record).await {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            },
            Err(quota::Short::Caller(refused)) => return Err(refused),
            Err(quota::Short::Target(refused)) => refused,
        };
        if !fallback::unpaid(worker, view, matched, request, &refused, record) {
            return Err(refused);
        }
    }
}

/// What a stage after the first ones knows of a request.
type Parts<'a, 'r> = (&'a route::RouteMatch<'r>, &'a Principal, &'a Permit);

/// How it went at one target.
enum Tried {
    /// The answer has begun.
    Began(forward::UpstreamResponse),
    /// It failed in a way that another target may not share; what the caller gets where there is none.
    Failed(fallback::Fault, Result<forward::UpstreamResponse, Refused>),
}

/// Tries the present target, as often as that is of use.
#[expect(clippy::too_many_arguments, reason = "a stage sees what the stages before it made")]
async fn try_target<C: Caller>(
    worker: &Worker,
    view: &Rc<View>,
    control: &Control,
    inbound: &Inbound<'_>,
    parts: Parts<'_, '_>,
    request: &mut translate::UpstreamRequest,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<Tried, Refused> {
    loop {
        match attempt(worker, view, control, inbound, parts, request, caller, record).await {
            Ok(mut response) => {
                let mut answer =
                    unsent::Unsent { worker, view, control, request, response: &mut response, caller, record };
                let fault = fallback::look(&mut answer).await?;
                return Ok(match fault {
                    None => Tried::Began(response),
                    Some(fault) => {
                        let left = fault.left(request, response);
                        Tried::Failed(fault, left)
                    }
                });
            }
            Err(ended) => {
                let most = fallback::tries(view, request, parts.0.plan(view).attempts);
                if let Err(refused) = request.after(ended, most, record) {
                    return match fallback::Fault::of(&refused) {
                        None => Err(refused),
                        Some(fault) => Ok(Tried::Failed(fault, Err(refused))),
                    };
                }
            }
        }
    }
}

/// One try: an endpoint, the credential, the request, and the head of the answer.
#[expect(clippy::too_many_arguments, reason = "a stage sees what the stages before it made")]
async fn attempt<C: Caller>(
    worker: &Worker,
    view: &Rc<View>,
    control: &Control,
    inbound: &Inbound<'_>,
    (matched, principal, permit): Parts<'_, '_>,
    request: &mut translate::UpstreamRequest,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<forward::UpstreamResponse, forward::Ended> {
    let endpoint = choose::choose(view, request, record)?;
    if request.call.as_ref().is_some_and(gather::is_of) {
        let parts = (matched, principal, permit);
        // Boxed, as it would make the future of every request larger.
        let asked = gather::ask(worker, view, control, inbound, parts, request, &endpoint, caller, record);
        return Box::pin(asked).await;
    }
    let injected = inject::inject(worker, view, permit, inbound, matched, principal, request, &endpoint, record)?;
    let guard = guard::UploadGuard::of(view, matched, request, record);
    let sent = forward::forward(worker, view, control, inbound, (injected, guard), request, &endpoint, caller, record);
    let response = sent.await?;
    if request.call.as_ref().is_some_and(prediction::is_made) {
        let (parts, made) = ((matched, principal, permit), (response, &endpoint));
        // Boxed, as it would make the future of every request larger.
        let followed = prediction::follow(worker, view, control, inbound, parts, request, made, caller, record);
        return Box::pin(followed).await;
    }
    Ok(response)
}

/// Answers a connection whose request could not even be read.
pub(crate) async fn refuse_unread<C: Caller>(
    worker: &Rc<Worker>,
    control: &Control,
    caller: &mut C,
    source: IpAddr,
    reason: OutcomeReason,
) {
    let mut record = Recording::unread(worker, source, Instant::now());
    refuse::rescue(worker, control, caller, &mut record, Refused::new(reason)).await;
}
