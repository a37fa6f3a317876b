//! Which endpoint: in turn, leaving failing ones alone while another is left, and avoiding the one that just failed.

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

/// Chooses an endpoint. Where all are cooling down it is the one whose failure is longest ago: some callers' requests may
/// fail where others' are served, so nobody is refused untried. Only an upstream that cannot be used at all refuses.
pub(super) fn choose(view: &View, request: &UpstreamRequest, record: &mut Recording<'_>) -> Result<Chosen, Refused> {
    let range = request.plan(view).endpoints.clone();
    let count = range.len() as u32;
    if count == 0 {
        return Err(Refused::new(OutcomeReason::NoHealthyEndpoint));
    }
    let turn = &view.turns[request.upstream as usize];
    let start = turn.get();
    turn.set(start.wrapping_add(1));
    let mut in_turn = (0..count).map(|i| range.start + (start.wrapping_add(i)) % count);
    let other = |i: &u32| Some(*i) != request.last;
    let state = |i: &u32| &view.endpoints[*i as usize];
    let healthy = |i: &u32| state(i).is_healthy();
    let index = in_turn
        .clone()
        .find(|i| healthy(i) && other(i))
        .or_else(|| in_turn.clone().find(healthy))
        .or_else(|| in_turn.clone().filter(other).min_by_key(|i| state(i).failed_at()))
        .or_else(|| in_turn.next())
        .ok_or(Refused::new(OutcomeReason::NoHealthyEndpoint))?;
    let chosen = Chosen { index, endpoint: view.endpoints[index as usize].clone() };
    record.endpoint(chosen.plan(view));
    Ok(chosen)
}
