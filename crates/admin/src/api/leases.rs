//! Leases: logins and certificates that the run-time API handed out for a time, listed and ended by whose they are.

use crate::{
    AdminState,
    api::{
        answer::Page,
        request::{Body, Query},
    },
    auth::Administrator,
    error::{ApiError, Code},
    leases,
    ports::{Held, NotRevoked},
};
use axum::{Json, extract::State};
use credentialflow_model::{Actor, Timestamp, resource::Kind};
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
    let port = state.settings.leases.as_ref();
    let port = port.ok_or_else(|| ApiError::new(Code::NotFound, "this node has no run-time API"))?;
    let revoked = port.revoke(&actor, &held).await.map_err(refusal)?;
    // What an application left behind ends also when it is deleted; of a name that is nobody's it is told.
    if let Held::Application(name) = &held
        && (revoked.tokens, revoked.leases) == (0, 0)
        && state.store.resource(Kind::Applications, name).await?.is_none()
    {
        return Err(ApiError::not_found("applications", name));
    }
    Ok(Json(revoked))
}

/// Whose leases are listed: all, or those of one.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LeasesQuery {
    /// Only those of an application.
    pub application: Option<String>,
    /// Only those of an entity: the `entity_id` that a login tells.
    pub entity: Option<String>,
    /// Only those below a path: of a mount, as in `database/`, or of a role, as in `database/creds/orders`.
    pub prefix: Option<String>,
    /// Most items on the page, 1 to 1000. 100 unless set.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// Where the page begins: the `next` of the page before.
    pub cursor: Option<String>,
}

/// How far a lease is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeaseStage {
    /// Its login is being made.
    Pending,
    /// It was handed out and works.
    Active,
    /// It has ended, and its login is being withdrawn.
    Revoking,
    /// It has ended, and its login could not be withdrawn so often that a person should look.
    Stuck,
}

/// A lease: a login or certificate that somebody was given for a time.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct LeaseEntry {
    /// Its id: the path it was asked for at, then a part of its own.
    pub id: String,
    /// How far it is.
    pub state: LeaseStage,
    /// The application that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// The entity that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    /// The accessor of the token that it was given to and ends with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// When it was given.
    pub issued: Timestamp,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// How often its login could not be withdrawn.
    pub attempts: u32,
}

/// Which lease.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LeaseId {
    /// Its id, as in `database/creds/orders/x8…`.
    pub id: String,
}

/// What a lease opens.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct LeaseOpens {
    /// The login's name at its system; of a certificate its serial number.
    pub login: String,
    /// Whether it is a certificate.
    pub certificate: bool,
    /// The system, as in `postgresql at db:5432/orders`; absent for certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The role that says what the login may do.
    pub role: String,
    /// When it was last renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renewed: Option<Timestamp>,
    /// However often it is renewed, it ends then.
    pub last_moment: Timestamp,
    /// Why the last try to withdraw it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Everything about one lease: who has it, what it opens, what ends when it is revoked, and what happened to it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct LeaseLife {
    /// The lease; absent when it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseEntry>,
    /// What it opens; absent when it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opens: Option<LeaseOpens>,
    /// Who fetched it, from where and when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetched_by: Option<LeaseMoment>,
    /// What ends when it is revoked, in sentences; nothing when it is over.
    pub ends: Vec<String>,
    /// What happened to it, oldest first.
    pub moments: Vec<LeaseMoment>,
}

/// One moment of a lease.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct LeaseMoment {
    /// When.
    pub time: Timestamp,
    /// What happened, in a sentence.
    pub text: String,
    /// Who did it.
    pub actor: Actor,
    /// Place in the audit chain.
    pub seq: u64,
}

/// List leases
///
/// All, or those that an application or an entity holds, or those below a path.
#[utoipa::path(get, path = "/api/v1/leases", tag = "leases", params(LeasesQuery),
    responses((status = 200, description = "By id", body = Page<LeaseEntry>)))]
async fn list_leases(
    State(state): State<AdminState>,
    _: Administrator,
    Query(query): Query<LeasesQuery>,
) -> Result<Json<Page<LeaseEntry>>, ApiError> {
    leases::list(&state, &query).await.map(Json)
}

/// Read a lease's life
///
/// Who fetched it and when, what it opens, what ends when it is revoked, and what happened to it. Also of one that is
/// over, as long as the audit log tells of it.
#[utoipa::path(get, path = "/api/v1/leases/lookup", tag = "leases", params(LeaseId),
    responses((status = 200, description = "Nothing is changed", body = LeaseLife)))]
async fn look_up_lease(
    State(state): State<AdminState>,
    _: Administrator,
    Query(query): Query<LeaseId>,
) -> Result<Json<LeaseLife>, ApiError> {
    leases::life(&state, &query.id).await.map(Json)
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
    OpenApiRouter::new().routes(routes!(list_leases)).routes(routes!(look_up_lease)).routes(routes!(revoke_leases))
}
