//! The small adapters between rooms that do not know one another.

use super::dataplane::Plane;
use credentialflow_admin::ports::Rotations;
use credentialflow_gateway::ports::{GuessListener, RecordSink};
use credentialflow_model::{Actor, KeyId, Name, SecretValue, UsageRecord};
use credentialflow_store::Store;
use credentialflow_telemetry::{RecordSender, Telemetry};
use credentialflow_vault::{
    engine::BoxFuture,
    rotation::ports::{Publisher, RefusalCounts, Target, Traffic, VerifyOutcome},
};
use std::{net::IpAddr, sync::Arc};
use tokio::sync::mpsc;

/// Records go from the gateway to the recorder.
pub(super) struct Records(pub RecordSender);

impl RecordSink for Records {
    fn take(&self, batch: Vec<UsageRecord>) {
        self.0.send(batch);
    }
}

/// Guessing goes into the audit log, one event at a time and never on a gateway thread.
pub(super) struct Guesses(mpsc::Sender<(IpAddr, Option<KeyId>)>);

impl Guesses {
    /// Starts writing.
    pub fn start(store: Store) -> Self {
        let (sender, mut receiver) = mpsc::channel(256);
        tokio::spawn(async move {
            while let Some((source, key)) = receiver.recv().await {
                if let Err(error) = note(&store, source, key).await {
                    tracing::error!(%error, %source, "guessing of keys could not be written to the audit log");
                }
            }
        });
        Self(sender)
    }
}

async fn note(store: &Store, source: IpAddr, key: Option<KeyId>) -> Result<(), credentialflow_store::StoreError> {
    let mut tx = store.begin(&Actor::system("gateway")).await?;
    let subject = key.map_or_else(|| "keys".to_owned(), |id| format!("keys/{id}"));
    tx.audit("key.guessing", &subject, serde_json::json!({ "source": source.to_string() }));
    tx.commit().await.map(drop)
}

impl GuessListener for Guesses {
    fn guessing(&self, source: IpAddr, key: Option<KeyId>) {
        // Announced once in ten minutes for each source and key; with 256 waiting, more tell nothing new.
        let _ = self.0.try_send((source, key));
    }
}

/// What rotations see of the traffic, and how they put a change into force.
pub(super) struct RotationPorts {
    pub plane: Arc<Plane>,
    pub telemetry: Telemetry,
}

impl Traffic for RotationPorts {
    fn in_flight<'a>(&'a self, credential: &'a Name, version: u32) -> BoxFuture<'a, u64> {
        // Without a gateway here (it runs in other processes, or is ending) nobody knows; so one counts as
        // running, and the old version is kept until its time is over.
        Box::pin(async move { self.plane.count_in_flight(credential.as_str(), version).await.unwrap_or(1) })
    }

    fn refused_since<'a>(&'a self, credential: &'a Name, version: u32) -> BoxFuture<'a, RefusalCounts> {
        let answers = self.telemetry.last_use().refusals(credential.as_str(), version);
        Box::pin(std::future::ready(RefusalCounts { refused: answers.refused, served: answers.served }))
    }
}

impl Publisher for RotationPorts {
    fn publish(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { self.plane.bring_up_to_date().await.map(drop).map_err(|e| e.to_string()) })
    }
}

impl Target for RotationPorts {
    fn verify<'a>(&'a self, credential: &'a Name, _: u32, value: &'a SecretValue) -> BoxFuture<'a, VerifyOutcome> {
        Box::pin(async move {
            match self.plane.verify_rule(credential).await {
                None => VerifyOutcome::NotConfigured,
                Some((upstream, path)) => super::verify::ask(&upstream, &path, value, self.plane.sandbox()).await,
            }
        })
    }
}

/// Rotations look for work by themselves after every commit; nothing needs waking.
pub(super) struct Awake;

impl Rotations for Awake {
    fn wake(&self) {}
}
