//! Who is calling. The presented key goes no further than this file.

use super::{Inbound, Refused, batch::google, realtime, record::Recording, route::RouteMatch};
use crate::{
    net::control::Control,
    snapshot::{BatchRoute, RouteKind},
    worker::{View, Worker},
};
use credentialflow_policy::{Principal, present};

/// Tries the route's authenticators.
pub(super) fn authenticate(
    worker: &Worker,
    view: &View,
    control: &Control,
    inbound: &Inbound<'_>,
    matched: &RouteMatch<'_>,
    record: &mut Recording<'_>,
) -> Result<Principal, Refused> {
    let plan = matched.plan(view);
    if !plan.api_key {
        return Ok(Principal::Anonymous);
    }
    if plan.kind == RouteKind::Batch(BatchRoute::GeminiPiece) {
        let principal = google::authenticate(worker, view, inbound, matched, record.time())?;
        control.set_key(principal.key().map(|k| k.key()));
        record.principal(&principal);
        return Ok(principal);
    }
    let carriers = inbound.head.fields.iter().filter(|f| f.tag.may_carry_key());
    let headers = carriers.map(|f| (f.name.str(inbound.bytes), f.value.of(inbound.bytes)));
    let as_protocol = (plan.kind == RouteKind::Realtime).then(|| realtime::presented(inbound)).into_iter().flatten();
    let headers = headers.chain(as_protocol.map(|key| ("api-key", key)));
    let query = matched.query.zip(plan.key_in_query.as_deref());
    let presented = present(headers, query);
    if presented.is_none() && plan.anonymous {
        return Ok(Principal::Anonymous);
    }
    let bytes = presented.as_ref().map_or(&[][..], |p| p.expose());
    match view.snapshot.api_key.authenticate(bytes, &view.snapshot.keys, record.time()) {
        Ok(principal) => {
            control.set_key(principal.key().map(|k| k.key()));
            record.principal(&principal);
            Ok(principal)
        }
        Err(failure) => {
            record.claimed_key(failure.key());
            let now = worker.monotonic_ns(inbound.began);
            let verdict = worker.shared.throttle.failed(inbound.source, &failure, now);
            if verdict.source_crossed || verdict.key_crossed {
                worker.shared.guesses.guessing(inbound.source, failure.key().filter(|_| verdict.key_crossed));
            }
            Err(Refused::from(verdict.refusal).with_field("www-authenticate", "Bearer realm=\"credentialflow\"".into()))
        }
    }
}
