//! What every handler can reach.

use crate::{
    catalogue::Catalogue,
    inventory, leaks,
    ports::{CertificateOrders, Dataplane, ExternalStores, Fetch, Leases, ModelCalls, RunTimeApi, SpendLog},
    session::Sessions,
    throttle::Throttle,
};
use credentialflow_certificates::Watch;
use credentialflow_model::Timestamp;
use credentialflow_store::Store;
use credentialflow_telemetry::Telemetry;
use credentialflow_vault::{Vault, reseal::SealedTable};
use std::{fmt, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// Most searches of the call log at once; further ones wait.
const CALL_SEARCHES: usize = 4;

/// How the control plane behaves.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    /// Whether the control listener speaks TLS; makes the session cookie `Secure`.
    pub tls: bool,
    /// Begins every key issued, as in `cfk`.
    pub key_prefix: String,
    /// Whether this process also runs a gateway; it is not ready before that serves.
    pub gateway: bool,
    /// How long a change waits for every worker before it answers `not_yet_enforced`.
    pub publish_timeout: Duration,
    /// How long a request's body may take to arrive.
    pub body_timeout: Duration,
    /// The tables with sealed bytes, to tell how far sealing them anew has come.
    pub sealed_tables: Vec<SealedTable>,
    /// The external stores; none where nothing reaches them.
    pub stores: Option<Arc<dyn ExternalStores>>,
    /// The run-time API; none where there is no such API.
    pub run_time: Option<Arc<dyn RunTimeApi>>,
    /// The leases of the run-time API; none where there is no such API.
    pub leases: Option<Arc<dyn Leases>>,
    /// Adds this node's calls to what is spent; none where nobody does.
    pub spend: Option<Arc<dyn SpendLog>>,
    /// Calls models as a caller does; none where this node serves no traffic.
    pub calls: Option<Arc<dyn ModelCalls>>,
    /// Fetches public documents; none where nothing outside is asked.
    pub fetch: Option<Arc<dyn Fetch>>,
    /// The certificates that pass through.
    pub watch: Arc<Watch>,
    /// Who orders the listeners' certificate; nobody where it comes from files.
    pub orders: Option<Arc<dyn CertificateOrders>>,
    /// The clock.
    pub clock: fn() -> Timestamp,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self {
            tls: false,
            key_prefix: "cfk".to_owned(),
            gateway: false,
            publish_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            sealed_tables: vec![credentialflow_vault::reseal::CREDENTIAL_VERSIONS],
            stores: None,
            run_time: None,
            leases: None,
            spend: None,
            calls: None,
            fetch: None,
            watch: Arc::default(),
            orders: None,
            clock: || std::time::SystemTime::now().into(),
        }
    }
}

/// What every handler can reach. Cheap to clone; all clones are one control plane.
#[derive(Clone)]
pub struct AdminState(Arc<Inner>);

#[doc(hidden)]
pub struct Inner {
    pub(crate) store: Store,
    pub(crate) vault: Vault,
    pub(crate) telemetry: Telemetry,
    pub(crate) dataplane: Arc<dyn Dataplane>,
    pub(crate) settings: AdminSettings,
    pub(crate) catalogue: Catalogue,
    pub(crate) sessions: Sessions,
    pub(crate) throttle: Throttle,
    pub(crate) call_searches: Semaphore,
    pub(crate) inventory: inventory::Kept,
    pub(crate) leaks: leaks::Intake,
    pub(crate) started: Timestamp,
}

impl AdminState {
    /// A control plane over these parts.
    pub fn new(
        store: Store,
        vault: Vault,
        telemetry: Telemetry,
        dataplane: Arc<dyn Dataplane>,
        settings: AdminSettings,
    ) -> Self {
        let started = (settings.clock)();
        Self(Arc::new(Inner {
            store,
            vault,
            telemetry,
            dataplane,
            settings,
            catalogue: Catalogue::default(),
            sessions: Sessions::default(),
            throttle: Throttle::default(),
            call_searches: Semaphore::new(CALL_SEARCHES),
            inventory: inventory::Kept::default(),
            leaks: leaks::Intake::default(),
            started,
        }))
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.0.settings.clock)()
    }
}

impl std::ops::Deref for AdminState {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl fmt::Debug for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminState").field("settings", &self.settings).finish_non_exhaustive()
    }
}
