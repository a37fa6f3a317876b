//! What happens by itself, again and again.

use super::{budgets::Budgets, certificates, dataplane::Plane, nodes::Nodes, spend::KEPT};
use crate::settings::TlsFiles;
use credentialflow_certificates::Watch;
use credentialflow_gateway::net::tls::Certificate;
use credentialflow_model::{
    Actor, Period, Timestamp,
    leak::LeakResponse,
    resource::{Credential, Kind},
};
use credentialflow_store::Store;
use credentialflow_vault::Vault;
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// Keeps the local copy short and true. What one node does for all: signs the audit chain's newest place, forgets
/// answers kept for repeating, windows of budgets long over, nodes long lost and from where keys were used long ago, and ends credentials whose time
/// is over.
pub(super) async fn housekeeping(
    store: Store,
    vault: Vault,
    plane: Arc<Plane>,
    nodes: Arc<Nodes>,
    budgets: Arc<Budgets>,
) {
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
            let kept = i64::try_from(KEPT.as_duration().as_micros()).unwrap_or(i64::MAX);
            let spent = Timestamp::from_micros(Timestamp::from(SystemTime::now()).micros().saturating_sub(kept));
            warn("forgetting what was spent long ago", store.forget_spend(spent).await.map(drop));
            warn("forgetting where keys came from", store.forget_delegations(spent).await.map(drop));
            warn("forgetting old answers", store.purge_idempotency().await.map(drop));
        }
        let month_ago = Timestamp::from(SystemTime::now() - Duration::from_secs(30 * 24 * 3600));
        warn("forgetting old notifications", store.forget_notifications(month_ago).await.map(drop));
        let longest = Timestamp::from(SystemTime::now() - LeakResponse::LONGEST.as_duration());
        let quarter_ago = Timestamp::from(SystemTime::now() - Duration::from_secs(100 * 24 * 3600));
        warn("forgetting old windows of budgets", store.forget_budget_windows(quarter_ago).await.map(drop));
        warn("giving up processes that borrowed of budgets", budgets.give_up_silent().await);
        warn("forgetting from where keys were used", store.forget_key_networks(longest).await.map(drop));
        warn("forgetting lost nodes", nodes.tidy().await);
        let hour_ago = Timestamp::from(SystemTime::now() - Duration::from_secs(3600));
        match vault.forget_delegated_keys(&Actor::system("expiry"), hour_ago, MOST_FORGOTTEN).await {
            Ok(0) => {}
            Ok(_) => drop(plane.publish().await),
            Err(error) => tracing::warn!(%error, "keys that agents had could not be deleted; it is tried again"),
        }
        match expire(&store, &vault).await {
            Ok(0) => {}
            Ok(_) => drop(plane.publish().await),
            Err(error) => tracing::warn!(%error, "expired credentials could not be looked for"),
        }
    }
}

/// Keys of agents that are deleted in one transaction.
const MOST_FORGOTTEN: u32 = 1000;

fn warn<E: std::fmt::Display>(what: &str, result: Result<(), E>) {
    if let Err(error) = result {
        tracing::warn!(%error, "{what} failed; it is tried again");
    }
}

/// So long before it expires a credential's owner is told.
const SOON: Period = Period::from_secs(14 * 24 * 3600);

/// Ends the credentials whose time is over; one that cannot be ended holds up no other.
async fn expire(store: &Store, vault: &Vault) -> anyhow::Result<usize> {
    let now: Timestamp = SystemTime::now().into();
    let mut ended = 0;
    for row in store.resources(Kind::Credentials).await? {
        let credential: Credential = match serde_json::from_str(&row.body) {
            Ok(credential) => credential,
            Err(error) => {
                tracing::warn!(credential = %row.name, %error, "a stored credential cannot be read; whether it expired is not known");
                continue;
            }
        };
        if let Some(at) = credential.expires.filter(|at| *at > now && *at <= now.plus(SOON))
            && let Err(error) = vault.tell_expiring(&credential, at).await
        {
            tracing::warn!(credential = %row.name, %error, "that a credential expires soon could not be told");
        }
        if credential.expires.is_some_and(|at| at <= now) {
            match vault.expire_credential(&Actor::system("expiry"), &credential, now).await {
                Ok(n) => ended += n,
                Err(error) => {
                    tracing::warn!(credential = %row.name, %error, "an expired credential could not be ended")
                }
            }
        }
    }
    Ok(ended)
}

/// Reads a listener's certificate again when its files change. A broken pair is told and not used.
pub(super) async fn reload_certificate(
    files: TlsFiles,
    listener: &'static str,
    certificate: Arc<Certificate>,
    watch: Arc<Watch>,
) {
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
                certificates::listens(&watch, listener, &certificate);
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
