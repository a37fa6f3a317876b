//! Rekey: another way to unseal, or another root key, while everything goes on.
//!
//! The administrator begins and cancels. Who can unseal proves it, and who will be able to shows that
//! the new shares were kept; both are named by the nonce alone, because holders of shares need not be
//! administrators.

use crate::{
    AdminState,
    api::{request::Body, seal::SharesView},
    auth::{self, Administrator, Source},
    error::{ApiError, Code},
    seal,
    secret::{SecretText, ShownOnce},
};
use axum::{Json, extract::State};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use credentialflow_model::{SecretValue, Timestamp};
use credentialflow_vault::{
    NewSeal, Rekey, RekeyAnswer, RekeyStage, RekeyStatus, SealInput,
    seal::{external::ExternalKey, shamir::Quorum},
};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

/// Shares to be made.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SharesWanted {
    /// How many, 1 to 255.
    shares: u8,
    /// How many of them unseal.
    threshold: u8,
}

/// A symmetric key of AWS KMS. The server has its credentials, and another endpoint than the region's
/// own if there is one, from its own environment.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AwsKmsKey {
    /// Key id, key ARN, alias name or alias ARN.
    key_id: String,
    /// The AWS region, as in `eu-central-1`.
    region: String,
}

/// A key of a transit engine of HashiCorp Vault or OpenBao. The server has the address and its token
/// from its own environment.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TransitKey {
    /// Where the engine is mounted; `transit` unless set.
    #[serde(default)]
    mount: Option<String>,
    /// The key's name.
    key: String,
    /// The namespace, where there are some.
    #[serde(default)]
    namespace: Option<String>,
}

/// How the vault is to be unsealed from now on: one of these. None of them keeps the seal, which makes
/// sense with `root`.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BeginRekey {
    /// By shares.
    #[serde(default)]
    shamir: Option<SharesWanted>,
    /// By this passphrase.
    #[serde(default)]
    #[schema(write_only, value_type = Option<String>)]
    passphrase: Option<SecretText>,
    /// By a key file with this content: 32 random bytes in base64 (RFC 4648).
    #[serde(default)]
    #[schema(write_only, value_type = Option<String>)]
    key: Option<SecretText>,
    /// By AWS KMS.
    #[serde(default)]
    aws_kms: Option<AwsKmsKey>,
    /// By a transit engine.
    #[serde(default)]
    transit: Option<TransitKey>,
    /// Put a fresh root key in the old one's place as well.
    #[serde(default)]
    root: bool,
}

/// What unseals now, or will: with the nonce of the rekey it is for.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HandedIn {
    /// Names the rekey.
    nonce: String,
    /// One share.
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
}

/// What a rekey waits for.
#[derive(Clone, Copy, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// What unseals now: `POST /api/v1/seal/rekey/prove`.
    Prove,
    /// What will unseal: `POST /api/v1/seal/rekey/verify`. Until then the old seal is in force.
    Verify,
}

/// A rekey that is not finished.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RekeyView {
    /// Names it.
    pub nonce: String,
    /// When it was begun.
    pub started: Timestamp,
    /// What it waits for.
    pub stage: Stage,
    /// How the vault will be unsealed; absent where that stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The shares there will be, and how far this stage has come.
    #[serde(flatten)]
    pub shares: SharesView,
    /// Whether the root key changes.
    pub root: bool,
    /// Shares this stage takes.
    pub required: u8,
}

/// What handing something in led to.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RekeyResult {
    /// Whether the rekey is finished: what it was begun for is in force.
    pub finished: bool,
    /// The rekey, if it is not finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rekey: Option<RekeyView>,
    /// The new shares, shown this once. Give each to another person, then verify.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(read_only, value_type = Vec<String>)]
    pub shares: Vec<ShownOnce>,
}

impl From<RekeyStatus> for RekeyView {
    fn from(status: RekeyStatus) -> Self {
        Self {
            nonce: status.nonce,
            started: status.started,
            stage: match status.stage {
                RekeyStage::Prove => Stage::Prove,
                RekeyStage::Verify => Stage::Verify,
            },
            method: status.method,
            shares: SharesView::new(status.quorum, status.progress),
            root: status.root,
            required: status.required,
        }
    }
}

impl From<RekeyAnswer> for RekeyResult {
    fn from(answer: RekeyAnswer) -> Self {
        let shares = answer.shares.into_iter().map(ShownOnce).collect();
        Self { finished: answer.status.is_none(), rekey: answer.status.map(Into::into), shares }
    }
}

impl BeginRekey {
    fn seal(self) -> Result<Option<NewSeal>, ApiError> {
        let invalid = |text: &str| ApiError::new(Code::InvalidRequest, text);
        let mut wanted = Vec::new();
        if let Some(shamir) = self.shamir {
            wanted.push(NewSeal::Shares(Quorum::new(shamir.shares, shamir.threshold)?));
        }
        if let Some(passphrase) = self.passphrase {
            wanted.push(NewSeal::By(SealInput::Passphrase(passphrase.0)));
        }
        if let Some(key) = self.key {
            let bytes = STANDARD.decode(key.0.expose()).map_err(|_| invalid("the key is not base64"))?;
            if bytes.len() != 32 {
                return Err(invalid("a key file holds 32 bytes"));
            }
            wanted.push(NewSeal::By(SealInput::Key(SecretValue::new(bytes))));
        }
        if let Some(AwsKmsKey { key_id, region }) = self.aws_kms {
            wanted.push(NewSeal::External(ExternalKey::AwsKms { key_id, region }));
        }
        if let Some(TransitKey { mount, key, namespace }) = self.transit {
            let mount = mount.unwrap_or_else(|| "transit".to_owned());
            wanted.push(NewSeal::External(ExternalKey::Transit { mount, key, namespace }));
        }
        if wanted.len() > 1 {
            return Err(invalid("give one of shamir, passphrase, key, aws_kms and transit"));
        }
        if wanted.is_empty() && !self.root {
            return Err(invalid("say how the vault is to be unsealed, or ask for another root key"));
        }
        Ok(wanted.pop())
    }
}

/// Begin a rekey
///
/// Nothing changes yet. A key service is tried at once; shares are made when the present quorum agreed.
#[utoipa::path(post, path = "/api/v1/seal/rekey", tag = "seal", request_body = BeginRekey,
    responses((status = 201, description = "Begun", body = RekeyView)))]
async fn begin_rekey(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    Body(body): Body<BeginRekey>,
) -> Result<(StatusCode, Json<RekeyView>), ApiError> {
    let root = body.root;
    let seal = body.seal()?;
    let begun = state.vault.begin_rekey(&actor, Rekey { seal, root, verify: true }).await?;
    Ok((StatusCode::CREATED, Json(begun.into())))
}

/// See where a rekey stands
#[utoipa::path(get, path = "/api/v1/seal/rekey", tag = "seal",
    responses((status = 200, description = "Where it stands", body = RekeyView)))]
async fn get_rekey(State(state): State<AdminState>, _: Administrator) -> Result<Json<RekeyView>, ApiError> {
    let status = state.vault.rekey_status().await?;
    status.map(|s| Json(s.into())).ok_or_else(|| ApiError::new(Code::NotFound, "no rekey is running"))
}

/// Cancel a rekey
///
/// Whatever its stage; the present seal stays.
#[utoipa::path(delete, path = "/api/v1/seal/rekey", tag = "seal",
    responses((status = 204, description = "Cancelled, or there was none")))]
async fn cancel_rekey(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
) -> Result<StatusCode, ApiError> {
    state.vault.cancel_rekey(&actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Show that one can unseal now
///
/// Takes shares one at a time. With enough of them the new shares are made and shown once.
#[utoipa::path(post, path = "/api/v1/seal/rekey/prove", tag = "seal", request_body = HandedIn,
    responses((status = 200, description = "Taken", body = RekeyResult)))]
async fn prove_rekey(
    State(state): State<AdminState>,
    Source(source): Source,
    headers: HeaderMap,
    Body(body): Body<HandedIn>,
) -> Result<Json<RekeyResult>, ApiError> {
    auth::same_origin(&headers)?;
    let HandedIn { nonce, share, passphrase, key } = body;
    let input = seal::input(state.vault.seal_method()?, share, passphrase, key)?;
    let (vault, actor) = (state.vault.clone(), seal::operator(source));
    let work = async move { vault.prove_rekey(&actor, &nonce, input).await };
    let answer = state.vault.attempt(Some(source), "rekey.refuse", work).await.map_err(seal::told)?;
    finished(&state, answer).await
}

/// Show that the new shares were kept
///
/// With enough of them the new seal is in force, and the old one opens nothing any more.
#[utoipa::path(post, path = "/api/v1/seal/rekey/verify", tag = "seal", request_body = HandedIn,
    responses((status = 200, description = "Taken", body = RekeyResult)))]
async fn verify_rekey(
    State(state): State<AdminState>,
    Source(source): Source,
    headers: HeaderMap,
    Body(body): Body<HandedIn>,
) -> Result<Json<RekeyResult>, ApiError> {
    auth::same_origin(&headers)?;
    let HandedIn { nonce, share, passphrase, key } = body;
    // What verifies is of the new kind, which is never the development variable.
    let input = seal::input("the new seal", share, passphrase, key)?;
    let (vault, actor) = (state.vault.clone(), seal::operator(source));
    let work = async move { vault.verify_rekey(&actor, &nonce, input).await };
    let answer = state.vault.attempt(Some(source), "rekey.refuse", work).await.map_err(seal::told)?;
    finished(&state, answer).await
}

/// A new seal or root key has to be in every node's local copy before the answer.
async fn finished(state: &AdminState, answer: RekeyAnswer) -> Result<Json<RekeyResult>, ApiError> {
    if answer.status.is_none() {
        super::seal_keys::publish(state).await;
    }
    Ok(Json(answer.into()))
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(begin_rekey, get_rekey, cancel_rekey))
        .routes(routes!(prove_rekey))
        .routes(routes!(verify_rekey))
}
