//! Watches every certificate that passes through: what listeners present, what credentials hold, what upstreams
//! present. Workers tell only what is news, over a queue that is never waited for.
//!
//! What upstreams present is kept in the database as well, so that a restart forgets nothing and each node knows what
//! the others saw.

use super::nodes::Nodes;
use anyhow::Context;
use credentialflow_certificates::{MOST_WATCHED, Place, PlaceKind, Stage, Watch, Watched};
use credentialflow_gateway::{net::tls::Certificate, ports::CertificateListener};
use credentialflow_model::{Period, Timestamp};
use credentialflow_store::{CertificateSeen, Store};
use credentialflow_telemetry::Metrics;
use credentialflow_vaultapi::{Authority, VaultApi};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::sync::mpsc;

/// How often warnings are due, and the database is compared.
const ROUND: Duration = Duration::from_secs(60);
/// How often the authorities of the run-time API are looked at.
const AUTHORITIES: Duration = Duration::from_secs(10);
/// An upstream's certificate that was not seen for so long is forgotten.
const KEPT_SECONDS: i64 = 90 * 86_400;

/// Hears of what upstreams present.
pub(super) struct Sightings(mpsc::Sender<(String, Vec<u8>)>);

impl CertificateListener for Sightings {
    fn presented(&self, endpoint: &str, certificate: &[u8]) {
        // With so many waiting, another worker or the next hour tells it again.
        let _ = self.0.try_send((endpoint.to_owned(), certificate.to_vec()));
    }
}

impl Sightings {
    /// Begins to hear.
    pub fn start(watch: Arc<Watch>) -> Self {
        let (sender, mut receiver) = mpsc::channel::<(String, Vec<u8>)>(1024);
        tokio::spawn(async move {
            while let Some((name, der)) = receiver.recv().await {
                see(&watch, PlaceKind::Upstream, &name, &der);
            }
        });
        Self(sender)
    }
}

/// A listener presents this certificate from now on.
pub(super) fn listens(watch: &Watch, listener: &str, certificate: &Certificate) {
    see(watch, PlaceKind::Listener, listener, &certificate.leaf());
}

fn see(watch: &Watch, kind: PlaceKind, name: &str, der: &[u8]) {
    let place = Place { kind, name: name.to_owned() };
    if watch.see(place, der, now()).is_err() {
        tracing::debug!(kind = kind.as_str(), name, "a certificate cannot be read; when it ends is not known");
    }
}

/// When each certificate ends, for those who watch from outside.
pub(super) fn measure(watch: &Arc<Watch>, metrics: &Metrics) {
    let (ends, left_out) = (watch.clone(), watch.clone());
    metrics.register_family(
        "certificate_expiry_timestamp_seconds",
        "When the certificate at a place ends, in seconds since 1970",
        &["kind", "place"],
        move || {
            let labelled = |(place, end): (Place, i64)| (vec![place.kind.as_str().to_owned(), place.name], end);
            ends.ends().into_iter().map(labelled).collect()
        },
    );
    metrics.register_counter(
        "certificates_left_out",
        "How often a certificate was not watched, because there were too many places",
        move || left_out.left_out() as i64,
    );
}

/// Warns once at each stage, and compares what was seen with what other nodes saw.
pub(super) async fn keep(watch: Arc<Watch>, store: Store, nodes: Arc<Nodes>) {
    let for_all = nodes.jobs();
    let mut interval = tokio::time::interval(ROUND);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let tidy = *for_all.borrow();
        if let Err(error) = share(&watch, &store, tidy).await {
            tracing::debug!(error = format!("{error:#}"), "certificates of upstreams are shared later");
        }
        let now = now();
        for (watched, stage) in watch.newly_due(now) {
            warn(&watched, stage, now);
        }
    }
}

/// Watches the authorities of the run-time API.
pub(super) async fn follow_authorities(watch: Arc<Watch>, api: VaultApi) {
    let mut interval = tokio::time::interval(AUTHORITIES);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        if let Some(authorities) = api.authorities().await {
            signs(&watch, &authorities);
        }
    }
}

/// These authorities sign, and no others.
fn signs(watch: &Watch, authorities: &[Authority]) {
    for authority in authorities {
        see(watch, PlaceKind::Authority, &authority.mount, &authority.certificate);
    }
    let is_there = |w: &Watched| authorities.iter().any(|authority| authority.mount == w.place.name);
    watch.retain(|w| w.place.kind != PlaceKind::Authority || is_there(w));
}

async fn share(watch: &Watch, store: &Store, tidy: bool) -> anyhow::Result<()> {
    let known = store.certificates_seen(MOST_WATCHED as u32).await.context("reading what was seen")?;
    for row in &known {
        let place = Place { kind: PlaceKind::Upstream, name: row.endpoint.clone() };
        let _ = watch.recall(place, &row.certificate, row.first_seen, row.last_seen);
    }
    let known = known.into_iter().map(|row| (row.endpoint, row.last_seen));
    let known: std::collections::HashMap<_, _> = known.collect();
    let oldest = Timestamp::from_secs(now().secs() - KEPT_SECONDS);
    watch.retain(|w| w.place.kind != PlaceKind::Upstream || w.last_seen >= oldest);
    let news = watch.select(|w| {
        let news =
            w.place.kind == PlaceKind::Upstream && known.get(&w.place.name).is_none_or(|stored| *stored < w.last_seen);
        news.then(|| CertificateSeen {
            endpoint: w.place.name.clone(),
            certificate: w.der.clone(),
            first_seen: w.first_seen,
            last_seen: w.last_seen,
        })
    });
    if !news.is_empty() {
        store.record_certificates(&news).await.context("noting what was seen")?;
    }
    if tidy {
        store.forget_certificates(oldest).await.context("forgetting what is gone")?;
    }
    Ok(())
}

fn warn(watched: &Watched, stage: Stage, now: Timestamp) {
    let said = &watched.certificate;
    let left = Period::from_secs(u64::try_from(said.not_after.secs() - now.secs()).unwrap_or(0));
    let (kind, place) = (watched.place.kind.as_str(), watched.place.name.as_str());
    let (subject, not_after) = (said.subject.as_str(), said.not_after);
    match stage {
        Stage::Fine => {}
        Stage::Month | Stage::Week | Stage::Day => {
            tracing::warn!(kind, place, subject, %not_after, left = %left, "a certificate ends soon");
        }
        Stage::Expired => tracing::error!(kind, place, subject, %not_after, "a certificate has ended"),
    }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn certificate(name: &str) -> Vec<u8> {
        rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap().cert.der().to_vec()
    }

    #[tokio::test]
    async fn what_one_node_saw_another_knows_and_what_is_gone_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::connect(&format!("sqlite:{}", dir.path().join("state.db").display())).await.unwrap();
        store.migrate().await.unwrap();
        let (one, other) = (Arc::new(Watch::default()), Watch::default());
        let heard = Sightings::start(one.clone());
        let der = certificate("a.example");
        heard.presented("a.example", &der);
        heard.presented("b.example", b"no certificate");
        while one.list().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        share(&one, &store, true).await.unwrap();
        share(&other, &store, false).await.unwrap();
        let known = other.list();
        assert_eq!((known.len(), &known[0].der), (1, &der));
        let long_ago = Timestamp::from_secs(now().secs() - KEPT_SECONDS - 60);
        let gone = CertificateSeen {
            endpoint: "gone.example".into(),
            certificate: certificate("gone.example"),
            first_seen: long_ago,
            last_seen: long_ago,
        };
        store.record_certificates(&[gone]).await.unwrap();
        share(&other, &store, true).await.unwrap();
        assert_eq!(other.list().len(), 1);
        assert_eq!(store.certificates_seen(9).await.unwrap().len(), 1);
    }
}
