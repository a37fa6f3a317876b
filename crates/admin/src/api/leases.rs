//! Leases: logins and certificates that the run-time API handed out for a time, ended by whose they are.

use crate::{
    AdminState,
    api::request::Body,
    auth::Administrator,
    error::{ApiError, Code},
    ports::{Held, NotRevoked},
};
use axum::{Json, extract::State};
use credentialflow_model::resource::Kind;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

/// Whose leases are to end: exactly one of the three.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeLeases {
    /// Those of an application, with its tokens. Roles and users of auth methods name it.
    pub application: Option<String>,
    /// Those of an entity, with its tokens: the `entity_id` that a login tells.
    pub entity: Option<String>,
    /// Those below a path, as in `database/creds/orders`; below `auth/` the tokens made there.
    pub prefix: Option<String>,
}

/// What ended.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct RevokedLeases {
    /// Tokens, with all that they had made. They are not accepted any more, on any node.
    pub tokens: u64,
    /// Leases. Their logins are withdrawn.
    pub leases: u64,
    /// Of these leases, those whose login is not withdrawn yet. It is tried again until it is.
    pub left: u64,
    /// Why, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Take away everything that an application or an entity holds
///
/// Ends its tokens in the run-time API and every login and certificate leased to them. All of it is written down as
/// ended before the first login is withdrawn; a system that is away holds up no other. Whoever may still log in can
/// do so again: take that away first.
#[utoipa::path(post, path = "/api/v1/leases/revoke", tag = "leases", request_body = RevokeLeases,
    responses((status = 200, description = "All of it has ended; `left` logins are still to be withdrawn",
        body = RevokedLeases)))]
async fn revoke_leases(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    Body(body): Body<RevokeLeases>,
) -> Result<Json<RevokedLeases>, ApiError> {
    let one = || ApiError::new(Code::InvalidRequest, "exactly one of application, entity and prefix is needed");
    let held = match (body.application, body.entity, body.prefix) {
        (Some(application), None, None) => Held::Application(application),
        (None, Some(entity), None) => Held::Entity(entity),
        (None, None, Some(prefix)) => Held::Prefix(prefix),
        _ => return Err(one()),
    };
    let (Held::Application(name) | Held::Entity(name) | Held::Prefix(name)) = &held;
    if name.trim_matches('/').is_empty() {
        return Err(one());
    }
    let leases = state.settings.leases.as_ref();
    let leases = leases.ok_or_else(|| ApiError::new(Code::NotFound, "this node has no run-time API"))?;
    let revoked = leases.revoke(&actor, &held).await.map_err(refusal)?;
    // What an application left behind ends also when it is deleted; of a name that is nobody's it is told.
    if let Held::Application(name) = &held
        && (revoked.tokens, revoked.leases) == (0, 0)
        && state.store.resource(Kind::Applications, name).await?.is_none()
    {
        return Err(ApiError::not_found("applications", name));
    }
    Ok(Json(revoked))
}

fn refusal(error: NotRevoked) -> ApiError {
    match error {
        NotRevoked::Sealed => ApiError::new(Code::Sealed, "the vault is sealed"),
        NotRevoked::Unavailable => {
            ApiError::new(Code::StoreUnavailable, "not everything could be written down as ended")
                .hint("ask again: that does the rest")
        }
        NotRevoked::Invalid(why) => ApiError::new(Code::InvalidRequest, why),
        NotRevoked::Failed => ApiError::internal("leases could not be ended", &"the run-time API failed"),
    }
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(revoke_leases))
}
