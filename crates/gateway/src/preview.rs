//! Which target of a model the next call would take, and why: told by every worker, as each remembers failures of its own.

use crate::{
    cooling::Cooling,
    snapshot::models::TargetPlan,
    worker::{View, Worker},
};
use credentialflow_llm::provider::Dialect;
use credentialflow_model::usage::TriedEnd;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// A model's targets as a call finds them.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelRoute {
    /// Workers that told.
    pub workers: u32,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// By so many workers.
    pub workers: u32,
    /// For so long at most.
    pub left: Duration,
    /// What happened there last.
    pub end: Option<TriedEnd>,
}

impl Rest {
    fn of(cooling: &Cooling, now: Instant) -> Option<Self> {
        cooling.rests(now).map(|(left, end)| Self { workers: 1, left, end })
    }

    /// What two told of the same.
    fn both(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let (Some(one), Some(other)) = (one, other) else { return one.or(other) };
        let longer = if other.left > one.left { other } else { one };
        Some(Self { workers: one.workers + other.workers, ..longer })
    }
}

impl ModelRoute {
    /// Of all workers.
    pub(crate) fn of(told: Vec<Self>) -> Option<Self> {
        let mut told = told.into_iter();
        let mut all = told.next()?;
        for one in told {
            // A worker that has another configuration by now is not asked again.
            if one.targets.len() != all.targets.len() {
                continue;
            }
            all.workers += one.workers;
            for (all, one) in all.targets.iter_mut().zip(one.targets) {
                all.percent += one.percent;
                all.rest = Rest::both(all.rest, one.rest);
                for (all, one) in all.credentials.iter_mut().zip(one.credentials) {
                    all.rest = Rest::both(all.rest, one.rest);
                }
            }
        }
        all.targets.iter_mut().for_each(|target| target.percent /= f64::from(all.workers));
        Some(all)
    }
}

impl Worker {
    /// What calls to a model in this dialect find here; `None` without such a model.
    pub(crate) fn preview(&self, model: &str, speaks: Dialect) -> Option<ModelRoute> {
        let (view, now) = (self.view(), Instant::now());
        let plan = &view.snapshot.models.list[*view.snapshot.models.by_name.get(model)? as usize];
        let states: Vec<TargetState> = plan.targets.iter().map(|target| state(&view, target, speaks, now)).collect();
        let open = |i: u32| {
            let TargetState { rest, credentials, .. } = &states[i as usize];
            rest.is_none() && (credentials.is_empty() || credentials.iter().any(|c| c.rest.is_none()))
        };
        // As a call is: whoever is open, or the one whose failure is longest ago.
        let any = (0..states.len() as u32).any(open);
        let failed = |target: &TargetPlan| view.coolings[target.cooling as usize].failed_at();
        let last = (0u32..).zip(&plan.targets).min_by_key(|(_, target)| failed(target)).map(|(i, _)| i);
        let takes = |i: u32, target: &TargetPlan| if any { open(i) } else { Some(i) == last && target.weight > 0 };
        let first = (0u32..).zip(&plan.targets).filter(|(i, t)| takes(*i, t)).map(|(_, t)| t.priority).min();
        let equal = |i: u32, target: &TargetPlan| takes(i, target) && Some(target.priority) == first;
        let total: u32 = (0u32..).zip(&plan.targets).filter(|(i, t)| equal(*i, t)).map(|(_, t)| t.weight).sum();
        let percents = (0u32..).zip(&plan.targets).map(|(i, target)| match equal(i, target) {
            true => f64::from(target.weight) * 100.0 / f64::from(total.max(1)),
            false => 0.0,
        });
        let percents: Vec<f64> = percents.collect();
        let targets =
            states.into_iter().zip(percents).map(|(state, percent)| TargetState { percent, ..state }).collect();
        Some(ModelRoute { workers: 1, targets })
    }
}

fn state(view: &View, target: &TargetPlan, speaks: Dialect, now: Instant) -> TargetState {
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
        translates: !target.speaks(speaks),
        percent: 0.0,
        rest: rest(target.cooling),
        credentials: credentials.collect(),
    }
}
