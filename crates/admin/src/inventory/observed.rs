//! What the call log tells about the use of credentials. It lies in files, so it is read beside the runtime, by one
//! request at a time, within a budget; what was read serves the requests of the next seconds too.

use super::before;
use crate::{AdminState, calls, error::ApiError};
use credentialflow_governance::{Observed, Seen, Traffic};
use credentialflow_model::{Fault, Period, Timestamp};
use credentialflow_telemetry::{CallFilter, LightCall, Walked};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Mutex;

/// How long one walk over the call log may take, and how many calls it may see.
const TIME: Duration = Duration::from_secs(8);
pub(super) const MOST: u64 = 5_000_000;
/// How long a sum serves further requests.
const FRESH: Duration = Duration::from_secs(5);

/// Traffic of a window, added up by credential.
pub(super) struct Recent {
    pub traffic: Traffic,
    pub observed: Observed,
}

/// The sum made last.
#[derive(Default)]
pub(super) struct Kept(Mutex<Option<(Period, Instant, Arc<Recent>)>>);

/// Traffic of the window before now.
pub(super) async fn recent(state: &AdminState, window: Period) -> Result<Arc<Recent>, ApiError> {
    let mut kept = state.inventory.observed.0.lock().await;
    if let Some((of, made, recent)) = kept.as_ref()
        && *of == window
        && made.elapsed() < FRESH
    {
        return Ok(recent.clone());
    }
    let (now, since) = (state.now(), before(state.now(), window));
    let filter = CallFilter { since: Some(since), ..CallFilter::default() };
    let (traffic, walked) = calls::read(state, move |log| {
        let mut traffic = Traffic::default();
        let walked = log.walk(&filter, MOST, deadline(), |call| traffic.add(&seen(call)))?;
        Ok((traffic, walked))
    })
    .await?;
    let mut observed = observed(state, since, now, &walked);
    observed.complete &= traffic.left_out() == 0;
    let recent = Arc::new(Recent { traffic, observed });
    *kept = Some((window, Instant::now(), recent.clone()));
    Ok(recent)
}

/// When a walk that begins now must end.
pub(super) fn deadline() -> Instant {
    Instant::now() + TIME
}

/// What a walk looked at.
pub(super) fn observed(state: &AdminState, since: Timestamp, until: Timestamp, walked: &Walked) -> Observed {
    let nodes = state.dataplane.status().nodes;
    // A lost one may have served in the window, and may serve on.
    let others = nodes.into_iter().filter(|node| !node.answering && node.workers > 0);
    let telemetry = state.telemetry.status();
    let begins = state.telemetry.calls().begins().unwrap_or(until);
    Observed {
        since: walked.since.unwrap_or(since),
        until,
        requests: walked.calls,
        complete: walked.complete && telemetry.dropped == 0,
        begins: Some(begins).filter(|begins| *begins > since),
        other_nodes: others.map(|node| node.name).collect(),
    }
}

/// A call as `governance` reads it.
pub(super) fn seen(call: LightCall) -> Seen {
    Seen {
        time: call.time,
        application: call.application,
        key: call.key,
        route: call.route,
        model: call.model,
        credential: call.credential.zip(call.credential_version),
        source: call.source,
        served: call.outcome.fault() == Fault::None,
    }
}
