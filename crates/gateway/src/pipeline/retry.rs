//! The same call again after a while, where the model says so and every target that could serve it has failed.
//!
//! Only what cost nothing is tried again: what the provider answered with an error, and what it never got. With another
//! target or credential left nobody waits ([`super::fallback`]). While a call waits it keeps what it reserved, and nothing
//! of its target's limits.

use super::{
    Refused,
    call::{self, at_place_of, may_be_working},
    fallback::{Elsewhere, Fault, Next},
    hedge,
    record::Recording,
    route::RouteMatch,
    select::{self, bit},
    translate::UpstreamRequest,
};
use crate::{
    conn::Caller,
    net::control::Control,
    snapshot::models::ModelPlan,
    worker::{View, Worker},
};
use credentialflow_model::{OutcomeReason, resource::ModelRetry, usage::TriedEnd};
use std::{
    pin::pin,
    time::{Duration, Instant},
};

/// The longest that a call waits because its provider asks for it.
const MOST_ASKED: Duration = Duration::from_secs(60);
/// The longest that it waits of itself.
const LONGEST: Duration = Duration::from_secs(10);

/// What is known of the tries of a call, for the next one.
#[derive(Default)]
pub(crate) struct Retrying {
    /// So often it was tried again.
    done: u8,
    /// The targets that may be asked again, and from when on.
    ready: Vec<(u32, Instant)>,
    /// Those whose provider may be at work on the call.
    spent: u64,
}

impl Retrying {
    /// A try at this target failed.
    pub fn note(&mut self, view: &View, plan: &ModelPlan, target: u32, fault: &Fault) {
        let Some(retry) = &plan.retry else { return };
        let now = Instant::now();
        let known = self.ready.iter().position(|(one, _)| *one == target);
        if is_worth(retry, fault) {
            let from = now + fault.retry_after.unwrap_or_default();
            match known.map(|at| &mut self.ready[at].1) {
                // With one of the target's credentials it may be sooner than with another.
                Some(before) if *before > now => *before = from.min(*before),
                Some(before) => *before = from,
                None => self.ready.push((target, from)),
            }
        } else if may_be_working(fault.end) {
            self.spent |= at_place_of(view, plan, plan.targets[target as usize].upstream);
        } else if let Some(at) = known.filter(|_| !fault.is_of_credential()) {
            self.ready.swap_remove(at);
        }
    }

    /// Whether the call may be tried again.
    pub fn is_left(&self, plan: &ModelPlan) -> bool {
        plan.retry.as_ref().is_some_and(|retry| self.done < retry.times)
    }

    fn free(&self) -> impl Iterator<Item = &(u32, Instant)> {
        self.ready.iter().filter(|(target, _)| self.spent & bit(*target) == 0)
    }
}

/// Whether a failure is one after which the same target is asked again.
fn is_worth(retry: &ModelRetry, fault: &Fault) -> bool {
    use OutcomeReason as R;
    fault.may_pass
        && match fault.end {
            TriedEnd::Status(status) => retry.on.contains(&status),
            TriedEnd::StreamError => retry.on.iter().any(|status| *status >= 500),
            TriedEnd::Outcome(R::UpstreamConnectFailed | R::UpstreamConnectTimeout | R::UpstreamTlsFailed) => true,
            TriedEnd::Outcome(_) | TriedEnd::Overtaken => false,
        }
}

/// How long a call that nobody else takes waits before it is tried again; `None` where it is not.
pub(super) fn pause(worker: &Worker, view: &View, request: &UpstreamRequest) -> Option<Duration> {
    let call = request.call.as_ref()?;
    let plan = &view.snapshot.models.list[call.model as usize];
    let retrying = &call.elsewhere.as_ref()?.retrying;
    let retry = plan.retry.as_ref().filter(|_| retrying.is_left(plan))?;
    let soonest = retrying.free().map(|(_, from)| *from).min()?;
    let asked = soonest.saturating_duration_since(Instant::now());
    let pause = wait_of(retry.wait.as_duration(), retrying.done, asked, worker.bits())?;
    (worker.tick_in(pause) < request.until).then_some(pause)
}

/// How long the wait before a try is: doubled each time, in part by chance so that callers who failed together do not come
/// back together, and no shorter than the provider asked for.
fn wait_of(first: Duration, done: u8, asked: Duration, chance: u64) -> Option<Duration> {
    let half = first.saturating_mul(1 << done.min(16)).min(LONGEST) / 2;
    let part = half.mul_f64((chance >> 11) as f64 / (1u64 << 53) as f64);
    (asked <= MOST_ASKED).then(|| asked.max(half) + part)
}

/// Waits, as long as the caller does.
pub(super) async fn wait<C: Caller>(control: &Control, pause: Duration, caller: &mut C) -> Result<(), Refused> {
    control.clear_deadline();
    let mut slept = pin!(tokio::time::sleep(pause));
    hedge::wait(control, caller, |cx| slept.as_mut().poll(cx)).await?;
    Ok(())
}

/// Makes the request one for a target that failed before and may be asked again now.
pub(super) fn again(
    view: &View,
    matched: &RouteMatch<'_>,
    request: &mut UpstreamRequest,
    fault: &Fault,
    record: &mut Recording<'_>,
) -> Next {
    let Some(call) = &mut request.call else { return Next::Nobody };
    let Some(mut elsewhere) = call.elsewhere.take() else { return Next::Nobody };
    let now = Instant::now();
    elsewhere.retrying.done += 1;
    let free = elsewhere.retrying.free().filter(|(_, from)| *from <= now);
    let free = free.fold(0, |all, (target, _)| all | bit(*target));
    let plan = &view.snapshot.models.list[call.model as usize];
    let next = match select::target(view, plan, &elsewhere.said.wanted, (!free, true), |_| true) {
        Some(index) if index == call.target => {
            let Elsewhere { said, keys, .. } = &mut *elsewhere;
            let target = call.plan(view);
            record.tried(fault.end, false);
            *keys = 0;
            call.key = select::key(view, target, &said.wanted, (0, true)).unwrap_or(call.key);
            select::used(view, target, call.key, &said.wanted);
            Next::Credential
        }
        Some(index) => {
            elsewhere.targets = !bit(index);
            match call::move_on(view, matched, request, &mut elsewhere, fault.end, record) {
                true => Next::Target,
                false => Next::Nobody,
            }
        }
        None => Next::Nobody,
    };
    if let Some(call) = &mut request.call {
        call.elsewhere = Some(elsewhere);
    }
    request.again();
    next
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn waits_double_and_are_no_shorter_than_what_is_asked() {
        const MS: Duration = Duration::from_millis(1);
        let of = |done, asked: u32, chance| wait_of(200 * MS, done, asked * MS, chance);
        let least: Vec<_> = (0..7).map(|done| of(done, 0, 0).unwrap().as_millis()).collect();
        assert_eq!(least, [100, 200, 400, 800, 1600, 3200, 5000]);
        let most: Vec<_> = (0..7).map(|done| of(done, 0, u64::MAX).unwrap().as_millis()).collect();
        assert_eq!(most, [200, 400, 800, 1600, 3200, 6400, 10_000]);
        assert_eq!(of(0, 3000, 0), Some(3000 * MS));
        assert!(of(0, 3000, u64::MAX).unwrap() > 3099 * MS, "not all at the same moment");
        assert_eq!(of(0, 60_000, 0), Some(60_000 * MS));
        assert_eq!(of(0, 60_001, 0), None, "too long for anybody to wait");
    }
}
