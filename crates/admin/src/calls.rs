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
use credentialflow_model::{KeyId, Period, RequestId, Timestamp, resource::Key};
use credentialflow_telemetry::{CallFilter, CallLog, CallLogError, CallRow, Stats};
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

/// The longest that a page waits for what is declared of its keys: the log is read on while the database is away.
const DECLARED_IN: Duration = Duration::from_millis(500);
/// Most keys whose calls are looked for at once.
const MOST_KEYS: usize = 10_000;
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
    let keys = keys_of(state, &query).await?;
    let status = query.status.map(|status| status.parse()).transpose();
    let invalid = |error: &dyn std::fmt::Display| ApiError::new(Code::InvalidRequest, error.to_string());
    let min_duration_us = query.min_duration_ms.map(|ms| ms.saturating_mul(1000));
    if query.prompt_version.is_some() && query.prompt.is_none() {
        return Err(invalid(&"`prompt_version` goes with `prompt`"));
    }
    if keys.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Page { items: Vec::new(), next: None });
    }
    let filter = CallFilter {
        since: query.since,
        until: query.until,
        application: query.application,
        key: query.key.filter(|_| query.with_keys_below != Some(true)),
        keys,
        route: query.route,
        upstream: query.upstream,
        credential: query.credential,
        model: query.model,
        prompt: query.prompt,
        prompt_version: query.prompt_version,
        outcome: query.outcome,
        status: status.map_err(|error: credentialflow_telemetry::calllog::InvalidStatusFilter| invalid(&error))?,
        min_duration_us,
        source: query.source,
        path_prefix: query.path_prefix,
    };
    let page = read(state, move |log| log.query(&filter, limit, query.cursor.as_deref())).await?;
    Ok(Page { items: with_metadata(state, page.items).await, next: page.next })
}

/// The keys whose calls are wanted, where that is to be looked up.
async fn keys_of(state: &AdminState, query: &CallsQuery) -> Result<Option<Vec<KeyId>>, ApiError> {
    let first = Timestamp::from_secs(0);
    let span = (query.since.unwrap_or(first), query.until.unwrap_or_else(|| state.now()));
    let few = |keys: Vec<KeyId>| match keys.len() <= MOST_KEYS {
        true => Ok(keys),
        false => {
            let detail = format!("there are more than {MOST_KEYS} such keys");
            Err(ApiError::new(Code::InvalidRequest, detail).hint("ask for less time: `since` and `until`"))
        }
    };
    let used = match &query.agent {
        None => None,
        Some(agent) => Some(few(state.store.keys_ever_of(agent, span, MOST_KEYS + 1).await?)?),
    };
    let below = match (query.key, query.with_keys_below) {
        (Some(key), Some(true)) => {
            let mut keys = few(state.store.keys_ever_below(key, span, MOST_KEYS + 1).await?)?;
            keys.push(key);
            Some(keys)
        }
        (None, Some(true)) => {
            return Err(ApiError::new(Code::InvalidRequest, "`with_keys_below` goes with `key`"));
        }
        _ => None,
    };
    Ok(match (used, below) {
        (Some(used), Some(below)) => {
            let below: HashSet<KeyId> = below.into_iter().collect();
            Some(used.into_iter().filter(|key| below.contains(key)).collect())
        }
        (used, below) => used.or(below),
    })
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
