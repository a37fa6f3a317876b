//! The call log: every request, by filter and by id.

use crate::{
    AdminState,
    api::{answer::Page, request::Query},
    auth::Administrator,
    calls,
    error::ApiError,
};
use axum::{
    Json,
    extract::{Path, State},
};
use credentialflow_model::{KeyId, OutcomeReason, Timestamp};
use credentialflow_store::DelegationRow;
use credentialflow_telemetry::CallRow;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::IpAddr};
use utoipa_axum::{router::OpenApiRouter, routes};

/// A call, and what is declared of its key.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CallView {
    /// As it was recorded.
    #[serde(flatten)]
    pub call: CallRow,
    /// Facts about its key as they are declared now; without them where there are none, the key is gone, or the
    /// database is away.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    pub key_metadata: BTreeMap<String, String>,
    /// Where its key comes from; absent where that comes from no other, or the database is away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delegated: Option<CallDelegation>,
}

/// Where the key of a call comes from, also when it is gone.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CallDelegation {
    /// The key's name.
    pub name: String,
    /// Who used it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The id of the key that it comes from.
    pub parent: KeyId,
    /// The id of the first key of its chain.
    pub root: KeyId,
}

impl CallDelegation {
    pub(crate) fn of(row: &DelegationRow) -> Self {
        let actor = Some(row.actor.clone()).filter(|actor| !actor.is_empty());
        Self { name: row.name.to_string(), actor, parent: row.parent, root: row.root }
    }
}

/// Which calls. All conditions must hold.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CallsQuery {
    /// Not before this moment.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// Application, by name.
    pub application: Option<String>,
    /// Key, by id.
    pub key: Option<KeyId>,
    /// With `key`: also the keys that come from it, over all generations, those that are gone among them.
    pub with_keys_below: Option<bool>,
    /// Who used a key that comes from another one, by name.
    pub agent: Option<String>,
    /// Route, by name.
    pub route: Option<String>,
    /// Upstream, by name.
    pub upstream: Option<String>,
    /// Injected credential, by name.
    pub credential: Option<String>,
    /// Model, by public name.
    pub model: Option<String>,
    /// Prompt that the call was made of, by name.
    pub prompt: Option<String>,
    /// With `prompt`: its version.
    pub prompt_version: Option<u32>,
    /// How it ended.
    pub outcome: Option<OutcomeReason>,
    /// Status sent to the caller: three digits or a class, as in `404` or `5xx`; `0` when none was sent.
    #[param(pattern = "^(0|[1-5]xx|[1-9][0-9]{2})$")]
    pub status: Option<String>,
    /// Source address.
    #[param(value_type = Option<String>)]
    pub source: Option<IpAddr>,
    /// How the path begins.
    pub path_prefix: Option<String>,
    /// Took at least this long, in milliseconds.
    pub min_duration_ms: Option<u64>,
    /// Most calls on the page, 1 to 1000. 100 unless set.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// Where the page begins: the `next` of the page before.
    pub cursor: Option<String>,
}

/// Search the call log
#[utoipa::path(get, path = "/api/v1/calls", tag = "calls", params(CallsQuery),
    responses((status = 200, description = "Newest first", body = Page<CallView>)))]
async fn list_calls(
    State(state): State<AdminState>,
    _: Administrator,
    Query(query): Query<CallsQuery>,
) -> Result<Json<Page<CallView>>, ApiError> {
    calls::list(&state, query).await.map(Json)
}

/// Read one call
#[utoipa::path(get, path = "/api/v1/calls/{request_id}", tag = "calls",
    params(("request_id" = String, Path, description = "The request's id (ULID), as the caller got it")),
    responses((status = 200, description = "The call", body = CallView)))]
async fn get_call(
    State(state): State<AdminState>,
    _: Administrator,
    Path(request_id): Path<String>,
) -> Result<Json<CallView>, ApiError> {
    calls::get(&state, &request_id).await.map(Json)
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(list_calls)).routes(routes!(get_call))
}
