//! Whether the caller may. The only place where a [`Permit`] is made.

use super::{Inbound, Refused, record::Recording, route::RouteMatch};
use crate::{
    snapshot::PolicyList,
    worker::{View, Worker},
};
use credentialflow_model::OutcomeReason;
use credentialflow_policy::{LimitReport, ModelSlot, Principal, RequestFacts, RouteSlot, allow};

/// Proof that the policies of a route let a request pass. Opening an upstream credential takes one.
///
/// ```compile_fail,E0451
/// // Nobody outside the authorize step can make one.
/// let permit = credentialflow_gateway::Permit { _private: () };
/// ```
/// ```compile_fail,E0308
/// // Nor can it be copied: cloning the reference gives a reference.
/// fn keep(permit: &credentialflow_gateway::Permit) -> credentialflow_gateway::Permit { permit.clone() }
/// ```
#[derive(Debug)]
pub struct Permit {
    _private: (),
}

/// Asks the route's policies, phase by phase.
pub(super) fn authorize(
    worker: &Worker,
    view: &View,
    inbound: &Inbound<'_>,
    matched: &RouteMatch<'_>,
    principal: &Principal,
    record: &Recording<'_>,
) -> Result<(Permit, LimitReport), Refused> {
    let facts = facts(worker, view, inbound, matched, None, record);
    let mut limits = LimitReport::default();
    let checked = match &matched.plan(view).policies {
        PolicyList::Route(policies) => policies.check(&facts, principal, &mut limits),
        PolicyList::BuiltIn(list) => list.iter().try_for_each(|p| p.check(&facts, principal, &mut limits)),
    };
    match checked {
        Ok(()) if inbound.asks_websocket() && !matched.plan(view).websocket => {
            let detail = "this route does not take WebSocket connections".to_owned();
            Err(Refused::new(OutcomeReason::Forbidden).with_detail(detail).with_limits(&limits))
        }
        Ok(()) => Ok((Permit { _private: () }, limits)),
        Err(refusal) => Err(Refused::from(refusal).with_limits(&limits)),
    }
}

/// Whether the caller may use a model; known only once the body was read.
pub(super) fn authorize_model(
    worker: &Worker,
    view: &View,
    inbound: &Inbound<'_>,
    matched: &RouteMatch<'_>,
    principal: &Principal,
    model: (u32, &str),
    record: &Recording<'_>,
) -> Result<(), Refused> {
    let facts = facts(worker, view, inbound, matched, Some(model), record);
    allow::check_model(&facts, principal).map_err(Refused::from)
}

pub(super) fn facts<'a>(
    worker: &Worker,
    view: &'a View,
    inbound: &Inbound<'a>,
    matched: &'a RouteMatch<'a>,
    model: Option<(u32, &'a str)>,
    record: &Recording<'_>,
) -> RequestFacts<'a> {
    RequestFacts {
        method: inbound.method(),
        path: &matched.path,
        route: RouteSlot(matched.route),
        route_name: &matched.plan(view).name,
        model: model.map(|m| ModelSlot(m.0)),
        model_name: model.map(|m| m.1),
        source: inbound.source,
        now: record.time(),
        monotonic_ns: worker.monotonic_ns(inbound.began),
        applications: &view.snapshot.applications,
    }
}
