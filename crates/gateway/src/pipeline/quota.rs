//! How many tokens and requests at once: what a request holds of its caller's limits, of its end user's, of the model's and of
//! the target's.
//!
//! Requests at once are counted from here to the record's end. Tokens are taken where the call is about to be sent: what its
//! input is guessed to be, and what answers of late were long; they are settled with what the provider counted
//! ([`Recording`]'s end).

use super::{
    Refused,
    record::Recording,
    translate::{UpstreamBody, UpstreamRequest},
    usage::UsageProbe,
    users,
};
use crate::worker::{View, Worker};
use credentialflow_llm::{produced::estimated_tokens, task::Task};
use credentialflow_policy::{
    LiveQuota, Principal, Refusal, Taken,
    quota::{Owner, Used},
};
use std::{sync::Arc, time::Instant};

/// What a request holds of limits, until its record ends.
#[derive(Default)]
pub(super) struct Held {
    /// Of its end user, its key and those that it comes from, its application and team; then of the model.
    of_call: Vec<Taken>,
    /// Of the target and its credential.
    of_target: Vec<Taken>,
    /// Whether the call was counted there.
    counted: bool,
    /// Whether it is a caller's, and none that is made for one.
    of_caller: bool,
}

impl Held {
    /// Of the target alone, for a try beside another one.
    pub fn beside(&self) -> Self {
        Self { counted: self.counted, ..Self::default() }
    }

    /// What a try beside this one holds of its target, in the place of what this one holds of its own.
    pub fn adopt(&mut self, aside: &mut Self) {
        self.of_target = std::mem::take(&mut aside.of_target);
    }

    /// Another target, or another credential there, is tried after this one used that.
    pub fn leave_target(&mut self, used: Used, now_ns: u64) {
        self.of_target.drain(..).for_each(|taken| taken.settle(used, now_ns));
    }

    /// Whether anything in it counts tokens.
    pub fn counts_tokens(&self) -> bool {
        self.of_call.iter().chain(&self.of_target).any(Taken::counts_tokens)
    }

    fn is_nothing(&self) -> bool {
        self.of_call.is_empty() && self.of_target.is_empty()
    }

    /// All of it, at the end.
    pub fn all(&mut self) -> impl Iterator<Item = Taken> {
        std::mem::take(&mut self.of_call).into_iter().chain(std::mem::take(&mut self.of_target))
    }
}

/// Lets a request in among those of its key, its application and its team that run at once.
pub(super) fn enter(view: &View, principal: &Principal, record: &mut Recording<'_>) -> Result<(), Refused> {
    let Some(key) = principal.key() else { return Ok(()) };
    record.held().of_caller = true;
    let rule = view.snapshot.applications.get(key.application());
    let of_application = rule.map_or(&[][..], |rule| rule.quotas());
    for quota in key.quotas().chain(of_application) {
        let taken = entered(quota)?;
        record.held().of_call.push(taken);
    }
    Ok(())
}

/// Counts a model call that is about to go to its target: with its caller and the model the first time, with the target and
/// its credential each time.
pub(super) fn count(
    worker: &Worker,
    view: &View,
    principal: &Principal,
    request: &UpstreamRequest,
    record: &mut Recording<'_>,
) -> Result<(), Short> {
    let Some(call) = &request.call else { return Ok(()) };
    let plan = &view.snapshot.models.list[call.model as usize];
    let target = &plan.targets[call.target as usize];
    let of_key = target.keys.get(call.key as usize).and_then(|key| key.quota.as_ref());
    let of_target = || target.quota.iter().chain(of_key);
    let of_user = record.held().of_caller && users::are_limited(view, principal);
    if record.held().is_nothing() && !of_user && plan.quota.is_none() && of_target().next().is_none() {
        return Ok(());
    }
    let now = worker.monotonic_ns(Instant::now());
    let input = match &request.body {
        // A session is one request, and its tokens are its turns'.
        _ if call.task == Task::Realtime => None,
        // What only counts is no answer of a model.
        _ if matches!(call.usage, UsageProbe::Free) => return Ok(()),
        UpstreamBody::Buffered(body) => Some(input_of(call.task, body)),
        _ => Some(0),
    };
    let counted = std::mem::replace(&mut record.held().counted, true);
    if !counted {
        // The narrowest first, so that it uses up nothing of what others share when it is over its own.
        if of_user && let Some(quota) = users::quota(view, principal, record, now).map_err(Short::Caller)? {
            let taken = entered(&quota).map_err(Short::Caller)?;
            record.held().of_call.insert(0, taken);
        }
        if let Some(quota) = &plan.quota {
            let taken = entered(quota).map_err(Short::Caller)?;
            record.held().of_call.push(taken);
        }
        let mut limits = *record.limit_report();
        for taken in &mut record.held().of_call {
            taken.call(input, now).map_err(|refusal| Short::Caller(refused(taken.quota(), refusal)))?;
            taken.quota().states(now).for_each(|state| limits.note(state));
        }
        record.limits(limits);
    }
    let held = record.held();
    held.leave_target(Used::Unsent, now);
    for quota in of_target() {
        let mut taken = entered(quota).map_err(Short::Target)?;
        taken.call(input, now).map_err(|refusal| Short::Target(refused(quota, refusal)))?;
        held.of_target.push(taken);
    }
    Ok(())
}

/// How many tokens a body is guessed to have; what is no text has none that could be guessed.
pub(super) fn input_of(task: Task, body: &[u8]) -> u64 {
    if task.is_of_text() { estimated_tokens(body.len() as u64) } else { 0 }
}

/// Where there is no room for a call.
pub(super) enum Short {
    /// At its caller or the model: nowhere else either.
    Caller(Refused),
    /// At the target.
    Target(Refused),
}

impl Short {
    /// Where there is no other target.
    pub fn into_refused(self) -> Refused {
        match self {
            Self::Caller(refused) | Self::Target(refused) => refused,
        }
    }
}

fn entered(quota: &Arc<LiveQuota>) -> Result<Taken, Refused> {
    quota.enter().map_err(|refusal| refused(quota, refusal))
}

/// Says which limit; of what providers take, nothing about whose and how much.
fn refused(quota: &LiveQuota, refusal: Refusal) -> Refused {
    let owner = quota.owner();
    let detail = match refusal.limit {
        _ if owner == Owner::PROVIDER => "the providers of this model take no more calls at present".into(),
        None => format!("the {} has as many requests running as it may have", owner.what),
        Some(limit) if limit.policy == owner.tokens => {
            format!("the {} has used up its tokens for this time", owner.what)
        }
        Some(_) => format!("the {} has used up its calls for this time", owner.what),
    };
    Refused::from(refusal).with_detail(detail)
}
