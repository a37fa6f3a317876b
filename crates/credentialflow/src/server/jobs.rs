//! What happens by itself, again and again.

use super::dataplane::Plane;
use crate::settings::TlsFiles;
use credentialflow_gateway::net::tls::Certificate;
use credentialflow_model::{
    Actor,
    resource::{Credential, Kind},
};
use credentialflow_store::{CredentialUse, KeyUse, Store, Uses};
use credentialflow_telemetry::Telemetry;
use credentialflow_vault::Vault;
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Writes when and how often each key and credential was used. What cannot be written now stays for later.
pub(super) async fn record_uses(store: Store, telemetry: Telemetry) {
    let mut waiting = Uses { keys: vec![], credentials: vec![] };
    let mut interval = tokio::time::interval(Duration::from_secs(2));
    loop {
        interval.tick().await;
        collect(&telemetry, &mut waiting);
        write(&store, &mut waiting).await;
    }
}

/// The last writing before the process ends.
pub(super) async fn record_last_uses(store: &Store, telemetry: &Telemetry) {
    let mut rest = Uses { keys: vec![], credentials: vec![] };
    collect(telemetry, &mut rest);
    write(store, &mut rest).await;
}

/// While the database is away at most this many uses wait; older ones are then known from the call log alone.
const MOST_WAITING: usize = 100_000;

fn collect(telemetry: &Telemetry, waiting: &mut Uses) {
    let deltas = telemetry.last_use().take_deltas();
    waiting.keys.extend(deltas.keys.into_iter().map(|d| KeyUse {
        key_id: d.key,
        last_time: d.last_time,
        last_source: d.last_source.to_string(),
        count: d.count,
    }));
    waiting.credentials.extend(deltas.credentials.into_iter().map(|d| CredentialUse {
        credential: d.credential.to_string(),
        version: d.version,
        last_time: d.last_time,
        count: d.count,
    }));
    let excess = waiting.keys.len().saturating_sub(MOST_WAITING);
    waiting.keys.drain(..excess);
    let excess = waiting.credentials.len().saturating_sub(MOST_WAITING);
    waiting.credentials.drain(..excess);
}

async fn write(store: &Store, waiting: &mut Uses) {
    if waiting.keys.is_empty() && waiting.credentials.is_empty() {
        return;
    }
    if store.record_uses(waiting).await.is_ok() {
        waiting.keys.clear();
        waiting.credentials.clear();
    }
}

/// Signs the audit chain's newest place, forgets answers kept for repeating, and ends credentials
/// whose time is over.
pub(super) async fn housekeeping(store: Store, vault: Vault, plane: Arc<Plane>) {
    let mut interval = tokio::time::interval(Duration::from_secs(60));
    let mut rounds = 0u64;
    loop {
        interval.tick().await;
        if vault.is_sealed() {
            continue;
        }
        if rounds.is_multiple_of(60) {
            warn("a checkpoint of the audit log", vault.checkpoint_audit().await.map(drop));
            warn("shortening the local copy", plane.shorten_copy().await);
            warn("forgetting old answers", store.purge_idempotency().await.map(drop));
        }
        rounds += 1;
        match expire(&store, &vault).await {
            Ok(0) => {}
            Ok(_) => drop(plane.bring_up_to_date().await),
            Err(error) => tracing::warn!(%error, "expired credentials could not be looked for"),
        }
    }
}

fn warn<E: std::fmt::Display>(what: &str, result: Result<(), E>) {
    if let Err(error) = result {
        tracing::warn!(%error, "{what} failed; it is tried again");
    }
}

async fn expire(store: &Store, vault: &Vault) -> anyhow::Result<usize> {
    let now = SystemTime::now().into();
    let mut ended = 0;
    for row in store.resources(Kind::Credentials).await? {
        let credential: Credential = serde_json::from_str(&row.body)?;
        if credential.expires.is_some_and(|at| at <= now) {
            ended += vault.expire_credential(&Actor::system("expiry"), &credential, now).await?;
        }
    }
    Ok(ended)
}

/// Reads a listener's certificate again when its files change. A broken pair is told and not used.
pub(super) async fn reload_certificate(files: TlsFiles, certificate: Arc<Certificate>) {
    let mut seen = stamp(&files);
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = stamp(&files);
        if now == seen || now.0.is_none() || now.1.is_none() {
            continue;
        }
        match certificate.reload(&files.certificate, &files.key) {
            Ok(()) => {
                seen = now;
                tracing::info!(file = %files.certificate.display(), "the certificate was replaced");
            }
            // The two files may not have been written at the same moment; it is tried again.
            Err(error) => tracing::warn!(%error, "the new certificate is not usable; the old one stays"),
        }
    }
}

type Stamp = (Option<SystemTime>, Option<SystemTime>);

fn stamp(files: &TlsFiles) -> Stamp {
    let modified = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified()).ok();
    (modified(&files.certificate), modified(&files.key))
}
