//! What happens by itself, again and again.

use super::{dataplane::Plane, nodes::Nodes};
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
    time::{Duration, Instant, SystemTime},
};

/// Between two writings of uses, while few keys are in use.
const USES_EVERY: Duration = Duration::from_secs(2);
/// And at most, when so many are in use that writing takes long.
const USES_EVERY_AT_MOST: Duration = Duration::from_secs(60);
/// Writing uses takes this part of the time: one in so many.
const USES_SHARE: u32 = 50;
/// Uses of one transaction: whoever stands in line for the writer, such as a revocation, waits for no more.
const USES_BATCH: usize = 2048;

/// Writes when and how often each key and credential was used. What cannot be written now stays for later.
pub(super) async fn record_uses(store: Store, telemetry: Telemetry) {
    let mut waiting = Uses { keys: vec![], credentials: vec![] };
    let mut pause = USES_EVERY;
    loop {
        tokio::time::sleep(pause).await;
        collect(&telemetry, &mut waiting);
        let began = Instant::now();
        write(&store, &mut waiting).await;
        pause = (began.elapsed() * USES_SHARE).clamp(USES_EVERY, USES_EVERY_AT_MOST);
    }
}

/// The last writing before the process ends.
pub(super) async fn record_last_uses(store: &Store, telemetry: &Telemetry) {
    let mut rest = Uses { keys: vec![], credentials: vec![] };
    collect(telemetry, &mut rest);
    write(store, &mut rest).await;
}

/// While the database is away at most this many uses wait; older ones are then known from the call log alone.
const MOST_WAITING: usize = 1 << 20;

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
    while !waiting.keys.is_empty() || !waiting.credentials.is_empty() {
        let keys = waiting.keys.split_off(waiting.keys.len().saturating_sub(USES_BATCH));
        let credentials = waiting.credentials.split_off(waiting.credentials.len().saturating_sub(USES_BATCH));
        let mut batch = Uses { keys, credentials };
        if store.record_uses(&batch).await.is_err() {
            waiting.keys.append(&mut batch.keys);
            waiting.credentials.append(&mut batch.credentials);
            return;
        }
    }
    // A million keys once in use are no reason to keep their room.
    waiting.keys.shrink_to(USES_BATCH);
}

/// Keeps the local copy short and true. What one node does for all: signs the audit chain's newest place, forgets
/// answers kept for repeating and nodes long lost, and ends credentials whose time is over.
pub(super) async fn housekeeping(store: Store, vault: Vault, plane: Arc<Plane>, nodes: Arc<Nodes>) {
    let for_all = nodes.jobs();
    let mut interval = tokio::time::interval(Duration::from_secs(60));
    let (mut shortened, mut signed) = (None, None);
    let hour_over = |last: Option<Instant>| last.is_none_or(|at| at.elapsed() >= Duration::from_secs(3600));
    loop {
        interval.tick().await;
        if vault.is_sealed() {
            continue;
        }
        if hour_over(shortened) {
            shortened = Some(Instant::now());
            warn("shortening the local copy", plane.shorten_copy().await);
        }
        warn("comparing the audit log with what is in force", plane.check_history().await);
        if !*for_all.borrow() {
            continue;
        }
        if hour_over(signed) {
            signed = Some(Instant::now());
            warn("a checkpoint of the audit log", vault.checkpoint_audit().await.map(drop));
            warn("forgetting old answers", store.purge_idempotency().await.map(drop));
        }
        warn("forgetting lost nodes", nodes.tidy().await);
        match expire(&store, &vault).await {
            Ok(0) => {}
            Ok(_) => drop(plane.publish().await),
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
