//! The vault's seal: opened by whoever holds the passphrase, shares or key, closed by the administrator.
//!
//! Its state is public, and so is unsealing, because no token can be checked while the vault is sealed.

use crate::{
    AdminState,
    api::request::Body,
    auth::{self, Administrator, Source},
    error::ApiError,
    seal,
    secret::SecretText,
};
use axum::{Json, extract::State};
use credentialflow_vault::seal::{attempts::AttemptError, shamir::Quorum};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa_axum::{router::OpenApiRouter, routes};

/// What to unseal with: one of share, passphrase and key; nothing where a key service unseals.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Unseal {
    /// One share. The vault opens with the last one it takes.
    #[serde(default)]
    #[schema(write_only, value_type = Option<String>)]
    share: Option<SecretText>,
    /// The passphrase.
    #[serde(default)]
    #[schema(write_only, value_type = Option<String>)]
    passphrase: Option<SecretText>,
    /// The content of the key file, in base64 (RFC 4648).
    #[serde(default)]
    #[schema(write_only, value_type = Option<String>)]
    key: Option<SecretText>,
    /// Forget the shares handed in so far, and take nothing.
    #[serde(default)]
    reset: bool,
}

/// Shares that unseal, now or after a rekey, and how far handing them in has come.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SharesView {
    /// Shares there are, or will be; 1 where there are none.
    pub shares: u8,
    /// Shares it takes, or will take, to unseal; 1 where there are none.
    pub threshold: u8,
    /// Shares handed in so far, at this server, for what is waited for.
    pub progress: u8,
}

impl SharesView {
    pub(super) const fn new(quorum: Quorum, progress: u8) -> Self {
        Self { shares: quorum.shares, threshold: quorum.threshold, progress }
    }
}

/// The seal now.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SealView {
    /// Sealed: nothing can be issued, opened or changed. The gateway serves on with what it holds.
    pub sealed: bool,
    /// What unseals it: `passphrase`, `shamir`, `key_file`, `aws_kms`, `transit` or `environment`.
    pub method: String,
    /// How far unsealing has come.
    #[serde(flatten)]
    pub shares: SharesView,
    /// Names the attempt they belong to, so that several people see that they take part in the same one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
}

fn view(state: &AdminState) -> Result<Json<SealView>, ApiError> {
    let status = state.vault.seal_status()?;
    Ok(Json(SealView {
        sealed: status.sealed,
        method: status.method.to_owned(),
        shares: SharesView::new(status.quorum, status.progress),
        nonce: status.nonce,
    }))
}

/// See whether the vault is sealed
///
/// Public: says what it takes to unseal, nothing that helps to.
#[utoipa::path(get, path = "/api/v1/seal", tag = "seal",
    responses((status = 200, description = "The seal now", body = SealView)))]
async fn get_seal(State(state): State<AdminState>) -> Result<Json<SealView>, ApiError> {
    view(&state)
}

/// Unseal the vault
///
/// Takes shares one at a time. Refused when it is unsealed already, so that nothing can be tried out
/// on a running vault.
#[utoipa::path(post, path = "/api/v1/seal/unseal", tag = "seal", request_body = Unseal,
    responses((status = 200, description = "Unsealed, or the share was taken", body = SealView)))]
async fn unseal(
    State(state): State<AdminState>,
    Source(source): Source,
    headers: HeaderMap,
    Body(body): Body<Unseal>,
) -> Result<Json<SealView>, ApiError> {
    auth::same_origin(&headers)?;
    if body.reset {
        state.vault.reset_unseal();
        return view(&state);
    }
    if !state.vault.is_sealed() {
        return Err(seal::told(AttemptError::Unsealed));
    }
    let input = seal::input(state.vault.seal_method()?, body.share, body.passphrase, body.key)?;
    state.vault.attempt_unseal(Some(source), input).await.map_err(seal::told)?;
    view(&state)
}

/// Seal the vault
///
/// Forgets every opened key at once. Traffic goes on with what the workers hold already; nothing can
/// be issued, opened or changed until it is unsealed.
#[utoipa::path(post, path = "/api/v1/seal", tag = "seal",
    responses((status = 200, description = "Sealed", body = SealView)))]
async fn seal_vault(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
) -> Result<Json<SealView>, ApiError> {
    auth::note(&state, &actor, "vault.seal", "settings/vault", json!({})).await?;
    state.vault.seal();
    tracing::warn!("the vault was sealed by the administrator");
    view(&state)
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(get_seal, seal_vault)).routes(routes!(unseal))
}
