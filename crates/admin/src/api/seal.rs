//! The vault's seal: opened by whoever holds the passphrase or key, closed by the administrator.
//!
//! Unsealing is public because no token can be checked while the vault is sealed: what is handed in is
//! the proof. Failures count against their source like failed sign-ins, one attempt runs at a time
//! (it is slow on purpose), and every attempt is in the audit log.

use crate::{
    AdminState,
    api::request::Body,
    auth::{self, Administrator, Source},
    error::{ApiError, Code},
    secret::SecretText,
};
use axum::{Json, extract::State};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use credentialflow_model::{Actor, ActorKind, SecretValue};
use credentialflow_vault::{SealInput, VaultError};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Semaphore;
use utoipa_axum::{router::OpenApiRouter, routes};

/// What to unseal with: one of the two.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Unseal {
    /// The passphrase.
    #[serde(default)]
    #[schema(write_only, value_type = Option<String>)]
    passphrase: Option<SecretText>,
    /// The content of the key file, in base64 (RFC 4648).
    #[serde(default)]
    #[schema(write_only, value_type = Option<String>)]
    key: Option<SecretText>,
}

/// Whether the vault is sealed now.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SealView {
    /// Sealed: nothing can be issued, opened or changed.
    pub sealed: bool,
}

/// Attempts wait for one another: each costs memory and time by design.
static ATTEMPTS: Semaphore = Semaphore::const_new(1);

/// Unseal the vault
///
/// Refused when it is unsealed already, so that nothing can be tried out on a running vault.
#[utoipa::path(post, path = "/api/v1/unseal", tag = "seal", request_body = Unseal,
    responses((status = 200, description = "Unsealed", body = SealView)))]
async fn unseal(
    State(state): State<AdminState>,
    Source(source): Source,
    headers: HeaderMap,
    Body(body): Body<Unseal>,
) -> Result<Json<SealView>, ApiError> {
    auth::same_origin(&headers)?;
    let input = input(&state, body)?;
    let _one_at_a_time = ATTEMPTS.acquire().await;
    if let Some(seconds) = state.throttle.wait(source, state.now()) {
        return Err(auth::too_many(seconds));
    }
    if !state.vault.is_sealed() {
        return Err(ApiError::new(Code::Conflict, "the vault is unsealed already"));
    }
    let actor = |kind, name: &str| Actor { kind, name: name.to_owned(), source: Some(source.to_string()) };
    match state.vault.unseal(input).await {
        Ok(()) => {}
        Err(VaultError::Unseal | VaultError::OtherSealMethod { .. }) => {
            let failures = state.throttle.failed(source, state.now());
            tracing::warn!(%source, failures, "an attempt to unseal was refused");
            let anonymous = actor(ActorKind::Anonymous, "anonymous");
            if let Err(error) =
                auth::note(&state, &anonymous, "vault.unseal_refuse", "settings/vault", json!({ "failures": failures }))
                    .await
            {
                tracing::error!(?error, "a refused attempt to unseal could not be written to the audit log");
            }
            return Err(ApiError::new(Code::UnsealRefused, "the vault cannot be unsealed with what was given"));
        }
        Err(other) => return Err(other.into()),
    }
    let operator = actor(ActorKind::Operator, "operator");
    if let Err(error) = auth::note(&state, &operator, "vault.unseal", "settings/vault", json!({})).await {
        // What cannot be recorded does not happen.
        state.vault.seal();
        return Err(error);
    }
    tracing::info!(%source, "the vault was unsealed");
    Ok(Json(SealView { sealed: false }))
}

/// What was handed in, as the way this vault is unsealed. A vault of the development variable takes
/// its content as passphrase.
fn input(state: &AdminState, body: Unseal) -> Result<SealInput, ApiError> {
    match (body.passphrase, body.key) {
        (Some(passphrase), None) if state.vault.seal_method()? == "environment" => {
            Ok(SealInput::Environment(passphrase.0))
        }
        (Some(passphrase), None) => Ok(SealInput::Passphrase(passphrase.0)),
        (None, Some(key)) => match STANDARD.decode(key.0.expose()) {
            Ok(bytes) => Ok(SealInput::Key(SecretValue::new(bytes))),
            Err(_) => Err(ApiError::new(Code::InvalidRequest, "the key is not base64")),
        },
        _ => Err(ApiError::new(Code::InvalidRequest, "give passphrase or key, one of them")),
    }
}

/// Seal the vault
///
/// Forgets every opened key at once. Traffic goes on with what the workers hold already; nothing can
/// be issued, opened or changed until it is unsealed.
#[utoipa::path(post, path = "/api/v1/seal", tag = "seal",
    responses((status = 200, description = "Sealed", body = SealView)))]
async fn seal(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
) -> Result<Json<SealView>, ApiError> {
    auth::note(&state, &actor, "vault.seal", "settings/vault", json!({})).await?;
    state.vault.seal();
    tracing::warn!("the vault was sealed by the administrator");
    Ok(Json(SealView { sealed: true }))
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(unseal)).routes(routes!(seal))
}
