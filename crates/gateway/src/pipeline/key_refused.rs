//! An answer that refuses the key it was sent with: ours, so what is said of it is none of the caller's business.

use super::{Refused, record::Recording, unsent::Unsent};
use crate::conn::Caller;
use credentialflow_llm::key_refused;

/// Whether the status alone says so: the key is not known, or nobody pays for it.
pub(super) const fn is_told(status: u16) -> bool {
    matches!(status, 401 | 402)
}

/// Whether its status is one with which some providers say so in words.
pub(super) fn may_be_said(status: u16, record: &Recording<'_>) -> bool {
    key_refused::may_be(status) && record.has_credential()
}

/// Whether it says so in words.
pub(super) async fn is_said<C: Caller>(answer: &mut Unsent<'_, '_, C>) -> Result<bool, Refused> {
    Ok(answer.body().await?.as_deref().is_some_and(key_refused::is_said))
}
