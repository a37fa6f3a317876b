//! Which endpoint: in turn, leaving failing ones alone and avoiding the one that just failed.

use super::{Refused, record::Recording, translate::UpstreamRequest};
use crate::{snapshot::EndpointPlan, upstream::Endpoint, worker::View};
use credentialflow_model::OutcomeReason;
use std::rc::Rc;

/// An endpoint chosen for one try.
pub(crate) struct Chosen {
    /// Its place in the snapshot.
    pub index: u32,
    /// What this worker knows of it.
    pub endpoint: Rc<Endpoint>,
}

impl Chosen {
    /// Its plan.
    pub fn plan<'v>(&self, view: &'v View) -> &'v EndpointPlan {
        &view.snapshot.endpoints[self.index as usize]
    }
}

/// Chooses an endpoint. When all are cooling down, the one that has cooled longest is tried rather
/// than refusing outright while it may be well again; only an upstream without endpoints is refused.
pub(super) fn choose(view: &View, request: &UpstreamRequest, record: &mut Recording<'_>) -> Result<Chosen, Refused> {
    let range = request.plan(view).endpoints.clone();
    let count = range.len() as u32;
    if count == 0 {
        return Err(Refused::new(OutcomeReason::NoHealthyEndpoint));
    }
    let turn = &view.turns[request.upstream as usize];
    let start = turn.get();
    turn.set(start.wrapping_add(1));
    let in_turn = (0..count).map(|i| range.start + (start.wrapping_add(i)) % count);
    let healthy = in_turn.clone().filter(|i| view.endpoints[*i as usize].is_healthy());
    let index = healthy
        .clone()
        .find(|i| Some(*i) != request.last)
        .or_else(|| in_turn.clone().filter(|i| Some(*i) != request.last).min_by_key(cooling(view)))
        .or_else(|| in_turn.clone().next())
        .ok_or(Refused::new(OutcomeReason::NoHealthyEndpoint))?;
    // With every endpoint failing and just tried, the caller is told so instead of waiting for another timeout.
    if request.attempts == 0 && count > 0 && healthy.clone().next().is_none() && !due(view, index) {
        return Err(Refused::new(OutcomeReason::NoHealthyEndpoint));
    }
    let chosen = Chosen { index, endpoint: view.endpoints[index as usize].clone() };
    record.endpoint(chosen.plan(view));
    Ok(chosen)
}

fn cooling(view: &View) -> impl Fn(&u32) -> Option<std::time::Instant> {
    move |i| view.endpoints[*i as usize].cooling_until()
}

fn due(view: &View, index: u32) -> bool {
    view.endpoints[index as usize].is_healthy()
}
