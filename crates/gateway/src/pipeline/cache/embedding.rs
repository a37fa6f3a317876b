//! The embedding of a question, asked of a model of the configuration as any other call is: with its credential, paid for
//! by the budgets of the caller, with a record of its own. Where there is none in time, the call goes on without.
//!
//! Nothing of what the caller's head says goes along.

use crate::{
    http1::head::{HeadLimits, Parsed, RequestHead, parse_request},
    net::control::Control,
    pipeline::{Inbound, Parts, Permit, Refused, call, question, record::Recording, route::RouteMatch, translated},
    snapshot::cache::SemanticPlan,
    worker::{View, Worker},
};
use credentialflow_llm::embedding::{self, vector};
use credentialflow_model::OutcomeReason;
use credentialflow_policy::Principal;
use std::{
    borrow::Cow,
    rc::Rc,
    time::{Duration, Instant},
};

/// The longest a call waits for it.
const WAIT: Duration = Duration::from_secs(2);
/// A larger answer holds no single embedding.
const MOST_ANSWER: usize = 1 << 20;
const PATH: &str = "/v1/embeddings";

/// The embedding of a text, of length one.
pub(super) async fn of(
    worker: &Worker,
    view: &Rc<View>,
    inbound: &Inbound<'_>,
    (principal, permit): (&Principal, &Permit),
    (semantic, text): (&SemanticPlan, &str),
    beside: &Recording<'_>,
) -> Option<Vec<f32>> {
    let model = view.snapshot.models.list.get(semantic.model as usize)?;
    let body = embedding::call(&model.name, text);
    let bytes = question::head("cache", PATH, body.len(), beside);
    let mut parsed = RequestHead::default();
    if !matches!(parse_request(&bytes, 0, &HeadLimits::default(), &mut parsed), Ok(Parsed::Complete)) {
        return None;
    }
    let Inbound { source, secure, .. } = *inbound;
    let inbound = Inbound { bytes: &bytes, head: &parsed, source, secure, began: Instant::now() };
    let mut record = beside.of_question(view, &inbound);
    let control = worker.controls.register();
    let (content_type, route) = (Some(&b"application/json"[..]), view.snapshot.asks.embeddings);
    let matched = RouteMatch { route, path: Cow::Borrowed(PATH), query: None, content_type };
    record.route(matched.plan(view));
    record.bytes_in(body.len() as u64);
    let parts = (&matched, principal, permit);
    let asked = ask(worker, view, &control, &inbound, parts, body, &mut record);
    let asked = match tokio::time::timeout(WAIT, asked).await {
        Ok(asked) => asked,
        Err(_) => Err(Refused::new(OutcomeReason::UpstreamTimeout)),
    };
    match asked {
        Ok(vector) => {
            record.served();
            vector
        }
        Err(refused) => {
            record.outcome(refused.reason);
            None
        }
    }
}

/// Asks the model, and reads its answer.
async fn ask(
    worker: &Worker,
    view: &Rc<View>,
    control: &Control,
    inbound: &Inbound<'_>,
    parts: Parts<'_, '_>,
    body: Vec<u8>,
    record: &mut Recording<'_>,
) -> Result<Option<Vec<f32>>, Refused> {
    let (matched, principal, _) = parts;
    let held = worker.budget.take(2 * body.capacity() as u64).map_err(|_| Refused::new(OutcomeReason::Overloaded))?;
    let mut request = call::of_question(worker, view, (inbound, matched, principal), (body, held), record)?;
    let body = question::answer_to(worker, view, (control, inbound, parts), &mut request, MOST_ANSWER, record).await?;
    match request.call.as_ref().and_then(|call| call.translation.as_ref()) {
        Some(translation) => Ok(vector(&translated::answer(translation, 200, None, &body)?)),
        None => Ok(vector(&body)),
    }
}
