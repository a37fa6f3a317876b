//! The rules by which leaks are answered: the declared resource `leak_responses/default`, read when a leak is found.

use crate::{AdminState, api::request::Document, catalogue, error::ApiError, resources};
use credentialflow_model::{Actor, leak::LeakResponse, resource::Kind};
use http::HeaderMap;

/// The rules as stored, or the usual ones.
pub(crate) async fn get(state: &AdminState) -> Result<LeakResponse, ApiError> {
    match state.store.resource(Kind::LeakResponses, LeakResponse::NAME).await? {
        None => Ok(LeakResponse::default()),
        Some(row) => catalogue::parse(&row.body),
    }
}

/// Stores other rules, as declaring them does. Leaks that were answered stay as they are.
pub(crate) async fn put(
    state: &AdminState,
    actor: &Actor,
    headers: &HeaderMap,
    body: &Document,
) -> Result<LeakResponse, ApiError> {
    let (_, item) = resources::replace::<LeakResponse>(state, actor, LeakResponse::NAME, headers, body).await?;
    Ok(item.spec)
}
