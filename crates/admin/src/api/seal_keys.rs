//! The keys above the values: their numbers, ages and use; exchanging them; and how far sealing
//! everything anew has come.

use crate::{AdminState, api::request::Body, auth::Administrator, error::ApiError};
use axum::{Json, extract::State};
use credentialflow_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

/// The keys above the values.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct KeysView {
    /// The root key, which wraps the others. It is exchanged by a rekey with `root`.
    pub root: RootView,
    /// The encryption keys, oldest first. The newest seals, all of them open.
    pub keyring: Vec<RingKeyView>,
    /// The peppers, oldest first. The newest makes keyed hashes, all of them check.
    pub peppers: Vec<PepperView>,
    /// Sealing everything anew after the last exchange of the encryption key; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resealing: Option<ResealingView>,
}

/// The root key, without the key.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RootView {
    /// Its number, from 1.
    pub term: u32,
    /// Since when it is in use; absent for the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installed: Option<Timestamp>,
}

/// One encryption key, without the key.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RingKeyView {
    /// Its number, from 1.
    pub term: u32,
    /// Since when it exists.
    pub installed: Timestamp,
    /// Values sealed with it, at most: they are counted in blocks, before they are made.
    pub encryptions: u64,
    /// AES-GCM's limit for random nonces, 2^32. A fresh key takes over at half of it by itself.
    pub limit: u64,
    /// Whether it seals now.
    pub newest: bool,
}

/// One pepper, without the pepper.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PepperView {
    /// Its number, from 1.
    pub id: u32,
    /// Since when it exists; absent for the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installed: Option<Timestamp>,
    /// Live secrets of keys that are hashed under it, and the administrator's token.
    pub hashes: u64,
    /// Whether new hashes are made under it.
    pub newest: bool,
}

/// How far sealing everything anew has come.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ResealingView {
    /// What is under an older encryption key than this is sealed anew.
    pub term: u32,
    /// When it began.
    pub started: Timestamp,
    /// When it was done; absent while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    /// The table it is at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Rows looked at.
    pub looked_at: u64,
    /// Rows there are now.
    pub total: u64,
    /// Rows sealed anew.
    pub resealed: u64,
    /// Rows that do not open and were left as they are.
    pub unreadable: u64,
}

/// Which key to exchange.
#[derive(Clone, Copy, Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Exchanged {
    /// The encryption key: a fresh one seals from now on, and everything stored is sealed anew with it.
    Keyring,
    /// The pepper: a fresh one hashes new keys. Those issued before stay valid under theirs.
    Pepper,
}

/// What to exchange.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateKeys {
    /// Which key.
    key: Exchanged,
}

async fn view(state: &AdminState) -> Result<Json<KeysView>, ApiError> {
    let (term, installed) = state.vault.root_term()?;
    let keyring = state.vault.key_status()?;
    let peppers = state.vault.pepper_status().await?;
    let resealing = state.vault.reseal_status(&state.settings.sealed_tables).await?;
    Ok(Json(KeysView {
        root: RootView { term, installed },
        keyring: keyring
            .into_iter()
            .map(|k| RingKeyView {
                term: k.id,
                installed: k.installed,
                encryptions: k.encryptions,
                limit: k.limit,
                newest: k.newest,
            })
            .collect(),
        peppers: peppers
            .into_iter()
            .map(|p| PepperView { id: p.id, installed: p.installed, hashes: p.hashes, newest: p.newest })
            .collect(),
        resealing: resealing.map(|r| ResealingView {
            term: r.key,
            started: r.started,
            finished: r.finished,
            table: r.table,
            looked_at: r.looked_at,
            total: r.total,
            resealed: r.resealed,
            unreadable: r.unreadable,
        }),
    }))
}

/// See the keys above the values
#[utoipa::path(get, path = "/api/v1/seal/keys", tag = "seal",
    responses((status = 200, description = "Numbers, ages and use; never a key", body = KeysView)))]
async fn get_keys(State(state): State<AdminState>, _: Administrator) -> Result<Json<KeysView>, ApiError> {
    view(&state).await
}

/// Exchange a key above the values
///
/// At once and without downtime. Sealing everything anew goes on in the background.
#[utoipa::path(post, path = "/api/v1/seal/keys/rotate", tag = "seal", request_body = RotateKeys,
    responses((status = 200, description = "Exchanged", body = KeysView)))]
async fn rotate_keys(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    Body(body): Body<RotateKeys>,
) -> Result<Json<KeysView>, ApiError> {
    match body.key {
        Exchanged::Keyring => state.vault.rotate_keyring(&actor).await?,
        Exchanged::Pepper => state.vault.rotate_pepper(&actor).await?,
    };
    publish(&state).await;
    view(&state).await
}

/// Brings changed settings of the vault to every node. One that is behind follows by itself, and
/// nothing is enforced later because of it.
pub(super) async fn publish(state: &AdminState) {
    if let Err(error) = state.dataplane.publish().await {
        tracing::warn!(%error, "not every node has taken in the vault's changed keys yet; it follows");
    }
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(get_keys)).routes(routes!(rotate_keys))
}
