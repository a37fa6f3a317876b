//! Live secrets of ours in model calls as their callers sent them, before anything is taken out of them or they are refused
//! for something else: whoever answers leaks is told of what was sent, not only of what went on.

use super::{Refused, met, most};
use crate::{pipeline::record::Recording, ports::SecretPlace, snapshot::models::ModelPlan, worker::View};
use credentialflow_model::resource::SecretsInRequests;

/// Looks at the body of a call to a model that has guardrails; without them it is looked at as it goes on, and nothing
/// else.
pub(in crate::pipeline) fn body(
    view: &View,
    plan: &ModelPlan,
    body: &[u8],
    record: &Recording<'_>,
) -> Result<(), Refused> {
    if plan.guardrails.is_none() || plan.secrets == SecretsInRequests::Ignore {
        return Ok(());
    }
    let found = record.untold(view.snapshot.finder(record.time()).find(most(plan.secrets), body));
    if found.is_nothing() {
        return Ok(());
    }
    met(found, SecretPlace::Body, plan.secrets == SecretsInRequests::Refuse, record).map_or(Ok(()), Err)
}
