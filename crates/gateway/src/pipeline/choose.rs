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

/// Chooses an endpoint. When all are cooling down the caller is told so at once; a repeated try may
/// still go to a cooling one, as it would otherwise fail for certain.
pub(super) fn choose(view: &View, request: &UpstreamRequest, record: &mut Recording<'_>) -> Result<Chosen, Refused> {
    let none = Refused::new(OutcomeReason::NoHealthyEndpoint);
    let range = request.plan(view).endpoints.clone();
    let count = range.len() as u32;
    if count == 0 {
        return Err(none);
    }
    let turn = &view.turns[request.upstream as usize];
    let start = turn.get();
    turn.set(start.wrapping_add(1));
    let mut in_turn = (0..count).map(|i| range.start + (start.wrapping_add(i)) % count);
    let other = |i: &u32| Some(*i) != request.last;
    let healthy = |i: &u32| view.endpoints[*i as usize].is_healthy();
    let index = match in_turn.clone().find(|i| healthy(i) && other(i)) {
        Some(index) => Some(index),
        None if request.attempts == 0 => None,
        None => in_turn.clone().find(healthy).or_else(|| in_turn.clone().find(other)).or_else(|| in_turn.next()),
    };
    let index = index.ok_or(none)?;
    let chosen = Chosen { index, endpoint: view.endpoints[index as usize].clone() };
    record.endpoint(chosen.plan(view));
    Ok(chosen)
}
