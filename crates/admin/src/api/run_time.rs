//! The way into the run-time API for who administers the installation.

use crate::{
    AdminState,
    api::request::Body,
    auth::Administrator,
    error::{ApiError, Code},
    secret::ShownOnce,
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use credentialflow_model::{Period, Timestamp};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

/// How long a root token lives unless told otherwise.
const USUAL: Period = Period::from_secs(3600);
/// The shortest it may be asked for; the run-time API counts in seconds, and 0 would be for ever.
const SHORTEST: Period = Period::from_secs(1);
/// The longest it may be asked for: 32 days, as tokens of the run-time API live at most by themselves.
const LONGEST: Period = Period::from_secs(32 * 86_400);

/// A root token to be made.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRootToken {
    /// How long it lives, at most `32d`. An hour unless set.
    pub ttl: Option<Period>,
}

/// A token that may do everything in the run-time API, in the only answer that ever contains it.
#[derive(Serialize, utoipa::ToSchema)]
pub struct IssuedRootToken {
    /// What clients present: `X-Vault-Token`, or `VAULT_TOKEN` of `bao`, `vault` and hvac.
    #[schema(value_type = String)]
    pub token: ShownOnce,
    /// Names it without being it; revokes it with `auth/token/revoke-accessor`.
    pub accessor: String,
    /// When it ends.
    pub expires: Timestamp,
}

/// Make a root token of the run-time API
///
/// For what nobody has a token for yet: mounts, policies, auth methods. It ends by itself.
#[utoipa::path(post, path = "/api/v1/run-time/root-tokens", tag = "run-time", request_body = NewRootToken,
    responses((status = 201, description = "The token, shown this once", body = IssuedRootToken)))]
async fn create_root_token(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    Body(body): Body<NewRootToken>,
) -> Result<Response, ApiError> {
    let ttl = body.ttl.unwrap_or(USUAL);
    if ttl < SHORTEST || ttl > LONGEST {
        return Err(ApiError::new(Code::InvalidRequest, "a root token lives between 1s and 32d"));
    }
    let api = state.settings.run_time.as_ref();
    let api = api.ok_or_else(|| ApiError::new(Code::NotFound, "this node has no run-time API"))?;
    if state.vault.is_sealed() {
        return Err(ApiError::new(Code::Sealed, "the vault is sealed"));
    }
    let expires = state.now().plus(ttl);
    let made = api.root_token(&actor, ttl).await;
    let made = made.map_err(|why| ApiError::internal("no root token could be made", &why))?;
    let made = IssuedRootToken { token: ShownOnce(made.token), accessor: made.accessor, expires };
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(create_root_token))
}
