//! An answer that refuses the key it was sent with: ours, so what is said of it is none of the caller's business.

use super::{Refused, forward::UpstreamResponse, record::Recording, translate::UpstreamRequest, unsuited};
use crate::{
    conn::Caller,
    net::control::Control,
    worker::{View, Worker},
};
use credentialflow_llm::key_refused;

/// Whether the status alone says so: the key is not known, or nobody pays for it.
pub(super) const fn is_told(status: u16) -> bool {
    matches!(status, 401 | 402)
}

/// Whether its status is one with which some providers say so in words.
pub(super) fn may_be_said(status: u16, record: &Recording<'_>) -> bool {
    key_refused::may_be(status) && record.has_credential()
}

/// Whether it says so in words. Nothing is taken from the connection's buffer: whoever relays the answer finds it as it came.
pub(super) async fn is_said<C: Caller>(
    worker: &Worker,
    view: &View,
    control: &Control,
    request: &UpstreamRequest,
    response: &mut UpstreamResponse,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<bool, Refused> {
    let said = unsuited::read(worker, view, control, request, response, caller, record).await?;
    Ok(said.as_deref().is_some_and(key_refused::is_said))
}
