//! An answer that says that the call does not suit the target, which is well: where the model has a target that it may
//! suit, that one is asked.

use super::{
    Refused,
    answer::{Filled, fill},
    call::ModelCall,
    forward::UpstreamResponse,
    record::Recording,
    translate::UpstreamRequest,
};
use crate::{
    conn::Caller,
    http1::{body::Decoder, tag::Tag},
    net::control::Control,
    snapshot::models::TargetPlan,
    worker::{View, Worker},
};
use credentialflow_llm::unsuited::{MOST, Unsuited};
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

/// What the answer says. Nothing is taken from the connection's buffer: whoever relays the answer finds it as it came.
pub(super) async fn of<C: Caller>(
    worker: &Worker,
    view: &View,
    control: &Control,
    request: &UpstreamRequest,
    response: &mut UpstreamResponse,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<Option<Why>, Refused> {
    let Some(call) = &request.call else { return Ok(None) };
    let on = &view.snapshot.models.list[call.model as usize].fall_back_on;
    let (invalid, status) = (on.contains(&FallBackOn::Invalid), response.head.status);
    let said = match on.iter().any(|one| *one != FallBackOn::Invalid) {
        true => read(worker, view, control, request, response, caller, record).await?,
        false => None,
    };
    Ok(match said.as_deref().and_then(Unsuited::of) {
        Some(Unsuited::Context) if on.contains(&FallBackOn::Context) => Some(Why::TooLarge),
        Some(Unsuited::Policy) if on.contains(&FallBackOn::ContentPolicy) && status != 413 => Some(Why::Other),
        _ => (invalid && status != 413).then_some(Why::Other),
    })
}

/// The body of an answer; `None` of one that is too long, compressed, or does not come whole.
pub(super) async fn read<C: Caller>(
    worker: &Worker,
    view: &View,
    control: &Control,
    request: &UpstreamRequest,
    response: &mut UpstreamResponse,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<Option<Vec<u8>>, Refused> {
    let UpstreamResponse { head, bytes, .. } = response;
    let coded = head.fields.iter().find(|f| f.tag == Tag::ContentEncoding).map(|f| f.value.of(bytes));
    if coded.is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
        return Ok(None);
    }
    let mut decoder = Decoder::new(response.head.framing(false));
    let (mut body, mut scanned) = (Vec::new(), 0);
    let idle = request.plan(view).idle;
    loop {
        loop {
            let rest = response.connection.buffer.filled().get(scanned..).unwrap_or_default();
            let Ok(step) = decoder.step(rest) else { return Ok(None) };
            body.extend_from_slice(&rest[step.payload]);
            if decoder.is_done() || step.consumed == 0 {
                break;
            }
            scanned += step.consumed;
        }
        if decoder.is_done() {
            control.clear_deadline();
            return Ok(Some(body));
        }
        if body.len() > MOST {
            control.clear_deadline();
            return Ok(None);
        }
        control.set_deadline(request.tick_in(worker, idle));
        match fill(control, &mut response.connection, caller, &mut response.upload, record).await? {
            // One that ends with its connection is whole then.
            Filled::Bytes(0) => return Ok(Some(body)),
            Filled::Nothing => return Ok(None),
            Filled::Bytes(_) | Filled::Uploading | Filled::Uploaded { .. } => {}
        }
    }
}
