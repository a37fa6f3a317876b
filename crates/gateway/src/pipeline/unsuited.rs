//! An answer that says that the call does not suit the target, which is well: where the model has a target that it may
//! suit, that one is asked.

use super::{Refused, call::ModelCall, unsent::Unsent};
use crate::{conn::Caller, snapshot::models::TargetPlan, worker::View};
use credentialflow_llm::unsuited::Unsuited;
use credentialflow_model::resource::FallBackOn;

/// Why another target is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The call is too large for the model.
    TooLarge,
    /// Anything else.
    Other,
}

impl Why {
    /// Whether a target is none that may take what the one before did not.
    pub fn rules_out(self, before: &TargetPlan, other: &TargetPlan) -> bool {
        let known = before.abilities.context.zip(other.abilities.context);
        self == Self::TooLarge && known.is_some_and(|(before, other)| other <= before)
    }
}

/// Whether an answer with this status may say so.
pub(super) fn may_be(view: &View, call: &ModelCall, status: u16) -> bool {
    let on = &view.snapshot.models.list[call.model as usize].fall_back_on;
    !on.is_empty() && matches!(status, 400 | 413 | 422)
}

/// What the answer says.
pub(super) async fn of<C: Caller>(answer: &mut Unsent<'_, '_, C>, call: &ModelCall) -> Result<Option<Why>, Refused> {
    let on = &answer.view.snapshot.models.list[call.model as usize].fall_back_on;
    let (invalid, status) = (on.contains(&FallBackOn::Invalid), answer.response.head.status);
    let said = match on.iter().any(|one| *one != FallBackOn::Invalid) {
        true => answer.body().await?,
        false => None,
    };
    Ok(match said.as_deref().and_then(Unsuited::of) {
        Some(Unsuited::Context) if on.contains(&FallBackOn::Context) => Some(Why::TooLarge),
        Some(Unsuited::Policy) if on.contains(&FallBackOn::ContentPolicy) && status != 413 => Some(Why::Other),
        _ => (invalid && status != 413).then_some(Why::Other),
    })
}
