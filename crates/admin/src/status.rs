//! How the installation is doing.

use crate::{
    AdminState,
    api::status::{CallLogStatus, LeaseStatus, Status},
    error::ApiError,
    ports::{DataplaneStatus, NodeState},
    rotations,
};
use credentialflow_model::resource::Kind;
use credentialflow_store::LeaseState;
use std::{collections::BTreeMap, time::Duration};

/// How long a probe waits for the database.
const PROBE: Duration = Duration::from_secs(2);

pub(crate) async fn status(state: &AdminState) -> Result<Status, ApiError> {
    let mut resources = BTreeMap::new();
    for kind in Kind::ALL {
        resources.insert(kind.as_str().to_owned(), state.store.count_resources(kind).await?);
    }
    let mut views = Vec::new();
    for row in state.store.unfinished_rotations_after(None, 100).await? {
        let uses = state.store.credential_uses(row.credential.as_str()).await?;
        views.push(rotations::view(state, &row, &uses).await?);
    }
    let seq = u64::try_from(state.store.latest_change().await?).unwrap_or_default();
    let dataplane = state.dataplane.status();
    let recorder = state.telemetry.status();
    Ok(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        time: state.now(),
        started: state.started,
        sealed: state.vault.is_sealed(),
        resources,
        seq,
        in_step: dataplane.seq >= seq && others_in_step(&dataplane, seq),
        dataplane,
        rotations: views,
        failing_links: crate::links::failing(state).await?,
        leases: leases(state).await?,
        certificates: crate::certificates::ending(state, 100),
        certificate_order: crate::certificates::order(state),
        call_log: CallLogStatus {
            written: recorder.rows,
            dropped: recorder.dropped,
            write_errors: recorder.write_errors,
            waiting: recorder.waiting,
        },
    })
}

async fn leases(state: &AdminState) -> Result<LeaseStatus, ApiError> {
    let mut told = LeaseStatus::default();
    for failing in state.store.leases_failing().await? {
        // The schedules of static roles lie beside the leases, at no mount.
        if failing.mount.starts_with(char::is_control) {
            told.static_roles += failing.count;
            continue;
        }
        told.failing += failing.count;
        if failing.state == LeaseState::Stuck {
            told.irrevocable += failing.count;
        }
    }
    Ok(told)
}

/// Whether every other live node that serves traffic enforces everything stored.
fn others_in_step(dataplane: &DataplaneStatus, seq: u64) -> bool {
    let mut others = dataplane.nodes.iter().filter(|n| !n.answering && n.state == NodeState::Live && n.workers > 0);
    others.all(|n| n.seq >= seq)
}

/// `ok`, or the first thing that keeps this process from its work; and what else is not as it should be.
pub(crate) async fn readiness(state: &AdminState) -> (&'static str, Vec<&'static str>) {
    let dataplane = state.dataplane.status();
    let mut details = Vec::new();
    if !dataplane.unavailable.is_empty() {
        details.push("credential_unavailable");
    }
    if !dataplane.impaired.is_empty() {
        details.push("resource_impaired");
    }
    if dataplane.stale {
        details.push("stale");
    }
    if state.vault.is_sealed() {
        details.push("sealed");
    }
    let status = match service(state, &dataplane).await {
        "ok" if !details.is_empty() => "degraded",
        other => other,
    };
    (status, details)
}

async fn service(state: &AdminState, dataplane: &DataplaneStatus) -> &'static str {
    // Sealed while it runs, the gateway serves on with what it holds.
    if state.vault.is_sealed() && !(state.settings.gateway && dataplane.workers > 0) {
        return "sealed";
    }
    // Unsealed is not yet serving: the stored state is read and the listeners are opened after it.
    if state.settings.gateway && dataplane.workers == 0 {
        return "starting";
    }
    match tokio::time::timeout(PROBE, state.store.ping()).await {
        Ok(Ok(())) => "ok",
        // The gateway serves on with what it has: taking it out of rotation would make an outage of it.
        _ if state.settings.gateway => "degraded",
        _ => "store_unavailable",
    }
}

pub(crate) fn metrics(state: &AdminState) -> String {
    state.telemetry.metrics().render()
}
