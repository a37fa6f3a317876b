//! The small adapters between rooms that do not know one another.

use super::{dataplane::Plane, nodes::Nodes, run_time, tokens};
use credentialflow_admin::ports::{
    CredentialKind, EntryVersion, Held as Holdings, LeasedLogin, NotRevoked, NotTold, RevokedLeases, RootToken,
    RunTimeCredentials, SigningKey,
};
use credentialflow_gateway::ports::{self as gateway, GuessListener, KeptRecord, RecordSink};
use credentialflow_identity::Duty;
use credentialflow_model::{Actor, KeyId, Name, Period, UsageRecord, lifecycle::VersionState};
use credentialflow_store::{LeaseRow, Store};
use credentialflow_stores::Links;
use credentialflow_targets::Logins;
use credentialflow_telemetry::{Kept, RecordSender, Telemetry};
use credentialflow_vault::{
    engine::BoxFuture,
    rotation::ports::{Held, MakeOutcome, Publisher, RefusalCounts, SupplyOutcome, Target, Traffic, VerifyOutcome},
};
use credentialflow_vaultapi::VaultApi;
use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::mpsc;

/// Records go from the gateway to the recorder.
pub(super) struct Records(pub RecordSender);

impl RecordSink for Records {
    fn take(&self, batch: Vec<UsageRecord>, kept: Vec<KeptRecord>) {
        let kept =
            kept.into_iter().filter_map(|KeptRecord { page, at }| Some(Kept { page: page.downcast().ok()?, at }));
        self.0.send_kept(batch, kept.collect());
    }

    fn journal(&self) -> Option<Box<dyn gateway::Journal>> {
        let made = self.0.journal().inspect_err(|error| {
            tracing::error!(%error, "no journal can be made: should the process be killed, its last calls are not on record");
        });
        Some(Box::new(Journal(made.ok()?)))
    }
}

/// A worker's journal.
struct Journal(credentialflow_telemetry::Journal);

impl gateway::Journal for Journal {
    fn keep(&mut self, record: &UsageRecord) -> Option<KeptRecord> {
        self.0.keep(record).map(|Kept { page, at }| KeptRecord { page, at })
    }

    fn strike(&mut self) {
        self.0.strike();
    }
}

/// Guessing goes into the audit log, one event at a time and never on a gateway thread. Events that
/// cannot be written are counted.
pub(super) struct Guesses {
    waiting: mpsc::Sender<(IpAddr, Option<KeyId>)>,
    lost: Arc<AtomicU64>,
}

/// While the database is away, writing is tried again this often.
const AGAIN: Duration = Duration::from_secs(1);

impl Guesses {
    /// Starts writing; `lost` counts the events that were not.
    pub fn start(store: Store, lost: Arc<AtomicU64>) -> Self {
        let (waiting, mut receiver) = mpsc::channel(256);
        let failed = lost.clone();
        tokio::spawn(async move {
            while let Some((source, key)) = receiver.recv().await {
                while let Err(error) = note(&store, source, key).await {
                    if !error.is_transient() {
                        failed.fetch_add(1, Relaxed);
                        tracing::error!(%error, %source, "guessing of keys could not be written to the audit log");
                        break;
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        });
        Self { waiting, lost }
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
        // Announced once in ten minutes for each source and key. With 256 waiting there is a flood, or no
        // database; that events are missing is told by the count.
        if self.waiting.try_send((source, key)).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }
}

/// External stores, asked by hand.
#[derive(Debug)]
pub(super) struct Stores(pub Links);

impl credentialflow_admin::ports::ExternalStores for Stores {
    fn refresh<'a>(&'a self, actor: &'a Actor, credential: &'a Name) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.0.refresh(actor, credential).await.map(drop).map_err(|error| error.to_string()) })
    }
}

/// The run-time API, for the admin API.
#[derive(Debug)]
pub(super) struct RunTime(pub VaultApi);

impl credentialflow_admin::ports::RunTimeApi for RunTime {
    fn signing_keys(&self) -> BoxFuture<'_, Result<Vec<SigningKey>, String>> {
        Box::pin(async move {
            let keys = self.0.signing_keys().await.map_err(|error| error.to_string())?;
            Ok(keys.into_iter().map(token_key).collect())
        })
    }

    fn credentials<'a>(
        &'a self,
        kind: CredentialKind,
        after: &'a str,
        most: u32,
    ) -> BoxFuture<'a, Result<RunTimeCredentials, NotTold>> {
        Box::pin(run_time::credentials(&self.0, kind, after, most))
    }

    fn describe<'a>(&'a self, lease: &'a LeaseRow) -> BoxFuture<'a, Result<LeasedLogin, NotTold>> {
        Box::pin(run_time::describe(&self.0, lease))
    }

    fn root_token<'a>(&'a self, actor: &'a Actor, ttl: Period) -> BoxFuture<'a, Result<RootToken, String>> {
        Box::pin(async move {
            let made = self.0.root_token(actor.clone(), ttl).await.map_err(|error| error.to_string())?;
            Ok(RootToken { token: made.client_token, accessor: made.accessor })
        })
    }
}

/// The leases of the run-time API, for the admin API.
#[derive(Debug)]
pub(super) struct RunTimeLeases(pub VaultApi);

impl credentialflow_admin::ports::Leases for RunTimeLeases {
    fn revoke<'a>(&'a self, actor: &'a Actor, held: &'a Holdings) -> BoxFuture<'a, Result<RevokedLeases, NotRevoked>> {
        use credentialflow_vaultapi::{Held as Of, NotRevoked as Why};
        Box::pin(async move {
            let of = match held.clone() {
                Holdings::Application(name) => Of::Application(name),
                Holdings::Entity(name) => Of::Entity(name),
                Holdings::Prefix(prefix) => Of::Prefix(prefix),
            };
            let revoked = self.0.revoke_held(actor, &of).await.map_err(|why| match why {
                Why::Sealed => NotRevoked::Sealed,
                Why::Unavailable => NotRevoked::Unavailable,
                Why::Invalid(text) => NotRevoked::Invalid(text),
                Why::Failed => NotRevoked::Failed,
            })?;
            Ok(RevokedLeases {
                tokens: revoked.tokens as u64,
                leases: revoked.leases as u64,
                left: revoked.left as u64,
                problem: revoked.problem,
            })
        })
    }
}

fn token_key(key: credentialflow_identity::SigningKey) -> SigningKey {
    let version = |v: credentialflow_identity::SigningKeyVersion| EntryVersion {
        version: v.number,
        state: match v.duty {
            Duty::Checks => VersionState::Previous,
            Duty::Signs => VersionState::Current,
            Duty::Next => VersionState::Pending,
        },
        created: v.created,
        last_used: v.last_used,
        uses: None,
    };
    SigningKey {
        name: format!("identity/oidc/key/{}", key.name),
        description: match key.roles.as_slice() {
            [] => "signs identity tokens; no role uses it".to_owned(),
            roles => format!("signs identity tokens of {}", roles.join(", ")),
        },
        algorithm: key.algorithm,
        every: Period::from_secs(key.rotation_period),
        due: key.next_rotation,
        versions: key.versions.into_iter().rev().map(version).collect(),
    }
}

/// What rotations see of the traffic, and how they put a change into force.
pub(super) struct RotationPorts {
    pub plane: Arc<Plane>,
    pub nodes: Arc<Nodes>,
    pub telemetry: Telemetry,
    pub logins: Logins,
    pub links: Links,
    pub suppliers: super::supply::Suppliers,
}

impl Traffic for RotationPorts {
    fn in_flight<'a>(&'a self, credential: &'a Name, version: u32) -> BoxFuture<'a, u64> {
        Box::pin(async move {
            let mine = self.plane.held_here(credential.as_str(), version).await;
            let mine = mine.saturating_add(self.logins.sessions(credential, version).await);
            // Where the next version has no access token yet, requests go on with the one of this version.
            let in_force = self.plane.version_in_force(credential.as_str()).await == Some(Some(version));
            let mine = mine.saturating_add(u64::from(in_force));
            match self.nodes.others_in_flight(credential.as_str(), version).await {
                Ok(others) => mine.saturating_add(others),
                // Nobody knows; the old version is kept.
                Err(error) => {
                    tracing::debug!(%error, "the other nodes cannot be asked for running requests");
                    mine.saturating_add(1)
                }
            }
        })
    }

    fn lost_holders<'a>(&'a self, credential: &'a Name, version: u32) -> BoxFuture<'a, Vec<String>> {
        Box::pin(async move { self.nodes.lost_holders(credential.as_str(), version).await.unwrap_or_default() })
    }

    fn unheard(&self) -> BoxFuture<'_, Vec<String>> {
        Box::pin(async {
            match self.nodes.unheard().await {
                Ok(names) => names,
                Err(error) => vec![format!("the nodes cannot be asked for: {error}")],
            }
        })
    }

    fn sessions<'a>(&'a self, credential: &'a Name, version: u32) -> BoxFuture<'a, u64> {
        Box::pin(self.logins.sessions(credential, version))
    }

    fn refused_since<'a>(&'a self, credential: &'a Name, version: u32) -> BoxFuture<'a, RefusalCounts> {
        Box::pin(async move {
            let mine = self.telemetry.last_use().refusals(credential.as_str(), version);
            let (_, (refused, served)) = self.nodes.others_told(credential.as_str(), None).await;
            RefusalCounts { refused: mine.refused + refused, served: mine.served + served }
        })
    }

    fn refused_before<'a>(&'a self, credential: &'a Name, version: u32) -> BoxFuture<'a, RefusalCounts> {
        let seen = self.telemetry.last_use().refusals(credential.as_str(), version);
        Box::pin(std::future::ready(RefusalCounts { refused: seen.refused, served: seen.served }))
    }
}

impl Publisher for RotationPorts {
    fn publish(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { self.plane.publish().await.map(drop).map_err(|e| e.to_string()) })
    }

    fn lacking<'a>(&'a self, credential: &'a Name, version: u32) -> BoxFuture<'a, Vec<String>> {
        Box::pin(self.links.lacking(credential, version))
    }
}

impl Target for RotationPorts {
    fn make<'a>(&'a self, credential: &'a Name, rotation: &'a str) -> BoxFuture<'a, MakeOutcome> {
        Box::pin(self.logins.make(credential, rotation))
    }

    fn supply<'a>(&'a self, credential: &'a Name, rotation: &'a str) -> BoxFuture<'a, SupplyOutcome> {
        Box::pin(self.suppliers.ask(credential, rotation))
    }

    fn install<'a>(&'a self, credential: &'a Name, held: Held<'a>) -> BoxFuture<'a, VerifyOutcome> {
        Box::pin(self.logins.install(credential, held))
    }

    fn retire<'a>(
        &'a self,
        credential: &'a Name,
        held: Held<'a>,
        kept: Option<Held<'a>>,
    ) -> BoxFuture<'a, VerifyOutcome> {
        Box::pin(async move {
            match self.logins.retire(credential, held, kept).await {
                VerifyOutcome::NotConfigured => self.logins.delete_key(credential, held).await,
                at_target => at_target,
            }
        })
    }

    fn verify<'a>(&'a self, credential: &'a Name, held: Held<'a>) -> BoxFuture<'a, VerifyOutcome> {
        Box::pin(async move {
            let at_target = match self.logins.verify(credential, held).await {
                VerifyOutcome::NotConfigured => self.logins.test_key(credential, held).await,
                at_target => at_target,
            };
            if at_target != VerifyOutcome::NotConfigured {
                return at_target;
            }
            let fetches = self.plane.declared(credential).await.filter(|declared| declared.engine.fetches_tokens());
            let token = match fetches {
                None => None,
                Some(declared) => match tokens::fetch(&declared, held.value).await {
                    Ok(token) => Some(token),
                    Err(failure) if failure.refused => return VerifyOutcome::Refused(failure.reason),
                    Err(failure) => return VerifyOutcome::Unreachable(failure.reason),
                },
            };
            match (self.plane.verify_rule(credential).await, token) {
                (None, None) => VerifyOutcome::NotConfigured,
                (None, Some(_)) => VerifyOutcome::Accepted,
                (Some(at), token) => {
                    let value = token.as_ref().map_or(held.value, |token| &token.value);
                    super::verify::ask(&at, value, self.plane.sandbox()).await
                }
            }
        })
    }
}
