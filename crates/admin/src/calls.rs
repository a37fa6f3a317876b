//! Reading the call log. It lies in files, so every read runs beside the runtime and few run at once.

use crate::{
    AdminState,
    api::{
        answer::Page,
        calls::{CallDelegation, CallView, CallsQuery},
        request::limited,
    },
    delegation,
    error::{ApiError, Code},
};
use credentialflow_model::{Period, RequestId, resource::Key};
use credentialflow_telemetry::{CallFilter, CallLog, CallLogError, CallRow, Stats};
use std::{collections::HashMap, time::Duration};

/// The longest that a page waits for what is declared of its keys: the log is read on while the database is away.
const DECLARED_IN: Duration = Duration::from_millis(500);
/// The shortest and longest window of the figures.
const WINDOWS: (Period, Period) = (Period::from_secs(60), Period::from_secs(24 * 3600));

pub(crate) async fn read<T: Send + 'static>(
    state: &AdminState,
    search: impl FnOnce(&CallLog) -> Result<T, CallLogError> + Send + 'static,
) -> Result<T, ApiError> {
    let _turn = state.call_searches.acquire().await;
    let log = state.telemetry.calls().clone();
    let found = tokio::task::spawn_blocking(move || search(&log)).await;
    Ok(found.map_err(|error| ApiError::internal("the search was not finished", &error))??)
}

pub(crate) async fn list(state: &AdminState, query: CallsQuery) -> Result<Page<CallView>, ApiError> {
    let limit = limited(query.limit)? as usize;
    let status = query.status.map(|status| status.parse()).transpose();
    let invalid = |error: &dyn std::fmt::Display| ApiError::new(Code::InvalidRequest, error.to_string());
    let min_duration_us = query.min_duration_ms.map(|ms| ms.saturating_mul(1000));
    let filter = CallFilter {
        since: query.since,
        until: query.until,
        application: query.application,
        key: query.key,
        route: query.route,
        upstream: query.upstream,
        credential: query.credential,
        model: query.model,
        outcome: query.outcome,
        status: status.map_err(|error: credentialflow_telemetry::calllog::InvalidStatusFilter| invalid(&error))?,
        min_duration_us,
        source: query.source,
        path_prefix: query.path_prefix,
    };
    let page = read(state, move |log| log.query(&filter, limit, query.cursor.as_deref())).await?;
    Ok(Page { items: with_metadata(state, page.items).await, next: page.next })
}

/// Adds what is declared of each call's key.
async fn with_metadata(state: &AdminState, calls: Vec<CallRow>) -> Vec<CallView> {
    let mut ids: Vec<_> = calls.iter().filter_map(|call| call.key).collect();
    ids.sort_unstable();
    ids.dedup();
    let asked = async { tokio::try_join!(state.store.key_bodies(&ids), state.store.delegations(&ids)) };
    let asked = tokio::time::timeout(DECLARED_IN, asked).await;
    let (bodies, delegations) = asked.ok().and_then(Result::ok).unwrap_or_default();
    let delegations = delegation::by_key(delegations);
    let declared: HashMap<_, _> = bodies
        .into_iter()
        .filter_map(|(id, body)| Some((id, serde_json::from_str::<Key>(&body).ok()?.metadata)))
        .collect();
    let view = |call: CallRow| {
        let key_metadata = call.key.and_then(|id| declared.get(&id)).cloned().unwrap_or_default();
        let delegated = call.key.and_then(|id| delegations.get(&id)).map(CallDelegation::of);
        CallView { call, key_metadata, delegated }
    };
    calls.into_iter().map(view).collect()
}

pub(crate) async fn get(state: &AdminState, id: &str) -> Result<CallView, ApiError> {
    let missing = || ApiError::not_found("calls", id);
    let parsed: RequestId = id.parse().map_err(|_| missing())?;
    let call = read(state, move |log| log.get(parsed)).await?.ok_or_else(missing)?;
    with_metadata(state, vec![call]).await.pop().ok_or_else(missing)
}

pub(crate) async fn stats(state: &AdminState, window: Option<Period>) -> Result<Stats, ApiError> {
    let window = window.unwrap_or(Period::from_secs(3600));
    if window < WINDOWS.0 || window > WINDOWS.1 {
        return Err(ApiError::new(Code::InvalidRequest, "a window is 1m to 1d"));
    }
    let (telemetry, now) = (state.telemetry.clone(), state.now());
    tokio::task::spawn_blocking(move || telemetry.stats(window.as_duration(), now))
        .await
        .map_err(|error| ApiError::internal("the figures could not be added up", &error))
}
