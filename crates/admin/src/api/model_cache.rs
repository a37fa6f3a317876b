//! The cache of a model's answers, as far as it is told what to do: to let go of all.

use crate::{
    AdminState,
    auth::Administrator,
    error::{ApiError, Code},
    write::{begin, enforce},
};
use axum::extract::{Path, State};
use credentialflow_model::resource::{Kind, Model};
use credentialflow_store::Expect;
use http::StatusCode;
use serde_json::json;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Empty the cache of a model
///
/// Its revision grows, as a model that is written anew keeps none of its answers; what is declared stays the same.
#[utoipa::path(delete, path = "/api/v1/models/{name}/cache", tag = "models",
    params(("name" = String, Path, description = "The model's name")),
    responses((status = 204, description = "No worker of any node gives an answer again that was given before"),
        (status = 409, description = "The model has no cache")))]
async fn clear_model_cache(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    let mut draft = begin(&state, &actor).await?;
    let row = draft.tx.resource(Kind::Models, &name).await?;
    let row = row.ok_or_else(|| ApiError::not_found(Kind::Models.as_str(), &name))?;
    if crate::catalogue::parse::<Model>(&row.body)?.cache.is_none() {
        return Err(ApiError::new(Code::Conflict, "this model has no cache").hint("declare `cache` in the model"));
    }
    draft.tx.put_resource(Kind::Models, &row.name, &row.body, Expect::Present).await?;
    draft.tx.audit("model.clear_cache", &format!("models/{name}"), json!({}));
    draft.tx.commit().await?;
    enforce(&state).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(clear_model_cache))
}
