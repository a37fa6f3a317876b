//! Which target of a model the next call would take, and why: told by every worker, as each remembers failures of its own.

use crate::{
    cooling::Cooling,
    pipeline::{select, wanted::Wanted},
    snapshot::models::TargetPlan,
    worker::{View, Worker},
};
use credentialflow_llm::{
    needs::{Capabilities, Fit, Needs},
    provider::Dialect,
    task::Task,
};
use credentialflow_model::{
    resource::RouteBy,
    usage::{Cost, TokenUsage, TriedEnd},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// A call that is only asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedCall {
    /// What its caller speaks.
    pub speaks: Dialect,
    /// What it asks.
    pub task: Task,
    /// Whether its answer is to be a stream.
    pub streams: bool,
    /// What it needs of its model.
    pub needs: Needs,
    /// Whether only internal targets may have it.
    pub internal: bool,
    /// What it has in common with calls that go to the same target.
    pub sticky: Option<u64>,
    /// Who calls, where that is known.
    pub application: Option<Arc<str>>,
    /// Tokens of its input, as limits guess them.
    pub input: u64,
    /// What it is expected to use; a short answer to what it needs unless set.
    pub expected: Option<TokenUsage>,
    /// The targets that do not take it for reasons of their own.
    pub excluded: u64,
}

impl From<Dialect> for AskedCall {
    /// A short one without needs.
    fn from(speaks: Dialect) -> Self {
        Self {
            speaks,
            task: Task::Chat,
            streams: false,
            needs: Needs::default(),
            internal: false,
            sticky: None,
            application: None,
            input: 0,
            expected: None,
            excluded: 0,
        }
    }
}

/// A model's targets as a call finds them.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelRoute {
    /// Workers that told.
    pub workers: u32,
    /// What decides among targets of the same priority.
    pub route_by: RouteBy,
    /// In the order of the configuration.
    pub targets: Vec<TargetState>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetState {
    /// Its provider.
    pub provider: Arc<str>,
    /// The provider's own model name.
    pub provider_model: Arc<str>,
    /// Lower ones first.
    pub priority: u32,
    /// Its share among equals.
    pub weight: u32,
    /// Whether calls in the dialect asked about are translated for it.
    pub translates: bool,
    /// Whether it may have what guardrails keep from others.
    pub internal: bool,
    /// Whether its provider offers what the call asks.
    pub offers: bool,
    /// Whether it may have the call at all.
    pub admitted: bool,
    /// Whether it has room for the call by its limit, and a credential that has.
    pub room: bool,
    /// Whether a budget of its provider is used up, so that others come first.
    pub used_up: bool,
    /// How well it is fit for the call.
    pub fit: Fit,
    /// What the call needs and it cannot do for certain.
    pub lacks: Capabilities,
    /// How many tokens fit into it.
    pub context: Option<u64>,
    /// What the call is expected to cost there.
    pub cost: Option<Cost>,
    /// How soon it begins to answer lately, the mean of the workers that know.
    pub latency: Option<Duration>,
    /// How many of a hundred calls begin there now, of all workers together.
    pub percent: f64,
    /// Workers that leave it alone, for how long at most, and how it ended there last.
    pub rest: Option<Rest>,
    /// The credentials that it names itself.
    pub credentials: Vec<CredentialState>,
}

/// One of a target's credentials.
#[derive(Clone, Debug, PartialEq)]
pub struct CredentialState {
    /// The credential; `None` where there is none of its name.
    pub name: Option<Arc<str>>,
    /// Its share.
    pub weight: u32,
    /// As of the target.
    pub rest: Option<Rest>,
}

/// That something is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// By so many workers.
    pub workers: u32,
    /// For so long at most.
    pub left: Duration,
    /// What happened there last.
    pub end: Option<TriedEnd>,
    /// The application whose calls alone leave it alone, as no other one's failed.
    pub whose: Option<Arc<str>>,
}

impl Rest {
    fn of(cooling: &Cooling, now: Instant) -> Option<Self> {
        cooling.rests(now).map(|(left, end)| Self { workers: 1, left, end, whose: cooling.whose() })
    }

    /// Whether it keeps the calls of an application away.
    fn concerns(&self, application: Option<&Arc<str>>) -> bool {
        self.whose.as_ref().is_none_or(|whose| application.is_none_or(|application| application == whose))
    }

    /// What two told of the same.
    fn both(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let (one, other) = match (one, other) {
            (Some(one), Some(other)) => (one, other),
            (one, other) => return one.or(other),
        };
        let workers = one.workers + other.workers;
        let whose = one.whose.clone().filter(|whose| other.whose.as_ref() == Some(whose));
        let longer = if other.left > one.left { other } else { one };
        Some(Self { workers, whose, ..longer })
    }
}

impl ModelRoute {
    /// Of all workers.
    pub(crate) fn of(told: Vec<Self>) -> Option<Self> {
        let mut told = told.into_iter();
        let mut all = told.next()?;
        let mut measured: Vec<u32> = all.targets.iter().map(|target| u32::from(target.latency.is_some())).collect();
        for one in told {
            // A worker that has another configuration by now is not asked again.
            if one.targets.len() != all.targets.len() {
                continue;
            }
            all.workers += one.workers;
            for ((all, one), measured) in all.targets.iter_mut().zip(one.targets).zip(&mut measured) {
                all.percent += one.percent;
                all.rest = Rest::both(all.rest.take(), one.rest);
                all.latency = match (all.latency, one.latency) {
                    // Each worker that knows of any counts as one.
                    (Some(known), Some(more)) => Some((known * *measured + more) / (*measured + 1)),
                    (known, more) => known.or(more),
                };
                *measured += u32::from(one.latency.is_some());
                for (all, one) in all.credentials.iter_mut().zip(one.credentials) {
                    all.rest = Rest::both(all.rest.take(), one.rest);
                }
            }
        }
        all.targets.iter_mut().for_each(|target| target.percent /= f64::from(all.workers));
        Some(all)
    }
}

impl Worker {
    /// What such calls to a model find here; `None` without such a model.
    pub(crate) fn preview(&self, model: &str, call: &AskedCall) -> Option<ModelRoute> {
        let (view, now) = (self.view(), Instant::now());
        let plan = &view.snapshot.models.list[*view.snapshot.models.by_name.get(model)? as usize];
        let wanted = Wanted::asked(call, self.now(), self.shared.started);
        let mut targets: Vec<TargetState> =
            plan.targets.iter().map(|target| state(&view, target, &wanted, now)).collect();
        let concerns = |rest: &Option<Rest>| rest.as_ref().is_some_and(|rest| rest.concerns(call.application.as_ref()));
        let rests = |i: u32| {
            let TargetState { rest, credentials, .. } = &targets[i as usize];
            concerns(rest) || (!credentials.is_empty() && credentials.iter().all(|c| concerns(&c.rest)))
        };
        let has_room = |i: u32| targets[i as usize].room;
        let takes = |i: u32| call.excluded & select::bit(i) == 0;
        // As a call is: whoever is open, or the one whose failure is longest ago, of those with room where there are any.
        let mut percents = select::shares(&view, plan, &wanted, |i| takes(i) && has_room(i) && !rests(i));
        if percents.iter().all(|percent| *percent == 0.0) {
            let able = |(i, t): &(u32, &TargetPlan)| takes(*i) && wanted.admits(t) && wanted.fit(t) != Fit::Unfit;
            let failed = |target: &TargetPlan| view.coolings[target.cooling as usize].failed_at();
            let left = || (0u32..).zip(&plan.targets).filter(able);
            let last = left().min_by_key(|(i, target)| (!has_room(*i), failed(target)));
            last.into_iter().for_each(|(i, _)| percents[i as usize] = 100.0);
        }
        targets.iter_mut().zip(percents).for_each(|(target, percent)| target.percent = percent);
        Some(ModelRoute { workers: 1, route_by: plan.route_by, targets })
    }
}

fn state(view: &View, target: &TargetPlan, wanted: &Wanted, now: Instant) -> TargetState {
    let rest = |at: u32| Rest::of(&view.coolings[at as usize], now);
    let credentials = (0u32..).zip(&target.keys).map(|(i, key)| CredentialState {
        name: view.snapshot.credentials.describe(key.inject.credential).map(|(name, _)| name.clone()),
        weight: key.weight,
        rest: rest(target.of_key(i)),
    });
    TargetState {
        provider: target.provider.clone(),
        provider_model: target.provider_model.clone(),
        priority: target.priority,
        weight: target.weight,
        translates: match wanted.task {
            Task::Chat => !target.speaks(wanted.speaks),
            _ => target.has_own_forms() && wanted.speaks != Dialect::Gemini,
        },
        internal: target.internal,
        offers: target.offers(wanted.task, wanted.speaks),
        admitted: wanted.admits(target),
        room: wanted.has_room(target.quota.as_ref(), now)
            && (target.keys.is_empty() || target.keys.iter().any(|key| wanted.has_room(key.quota.as_ref(), now))),
        used_up: target.is_used_up(wanted.at),
        fit: wanted.fit(target),
        lacks: target.abilities.lacks(&wanted.needs),
        context: target.abilities.context,
        cost: wanted.expected.as_ref().map(|(at, usage)| target.price.cost(*at, usage)),
        latency: select::pace(view, target, wanted.streams).mean(),
        percent: 0.0,
        rest: rest(target.cooling),
        credentials: credentials.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_the_workers_that_know_does_not_hang_on_their_order() {
        let of = |latencies: [Option<u64>; 4]| {
            let told = latencies.map(|latency| {
                let target = TargetState {
                    provider: "p".into(),
                    provider_model: "m".into(),
                    priority: 0,
                    weight: 1,
                    translates: false,
                    internal: false,
                    offers: true,
                    admitted: true,
                    room: true,
                    used_up: false,
                    fit: Fit::Known,
                    lacks: Capabilities::default(),
                    context: None,
                    cost: None,
                    latency: latency.map(Duration::from_millis),
                    percent: 100.0,
                    rest: None,
                    credentials: vec![],
                };
                ModelRoute { workers: 1, route_by: RouteBy::Latency, targets: vec![target] }
            });
            ModelRoute::of(told.into()).map(|all| (all.workers, all.targets[0].latency, all.targets[0].percent))
        };
        let mean = Some((4, Some(Duration::from_millis(200)), 100.0));
        for latencies in [
            [Some(100), None, Some(300), None],
            [None, None, Some(100), Some(300)],
            [Some(300), Some(100), None, None],
            [None, Some(200), None, None],
        ] {
            assert_eq!(of(latencies), mean, "{latencies:?}");
        }
        assert_eq!(of([None; 4]), Some((4, None, 100.0)));
    }
}
