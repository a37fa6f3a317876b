//! What the control plane needs from the data plane. The binary implements these traits; this
//! crate knows no gateway.

pub use crate::api::certificates::{CertificateOrder, CertificateOrderState};
pub use crate::api::credentials::AccessTokenView;
pub use crate::api::leases::RevokedLeases;
pub use crate::api::model_dry_runs::{AskedWhole, CannotAsk, ModelDryRunTarget, ModelDryRunView, RefusedView};
pub use crate::api::model_routes::{
    AskedCall, CallDialect, CoolingView, ModelCredentialView, ModelRouteView, ModelTargetView,
};
pub use credentialflow_governance::{CredentialKind, EntryVersion, Rights};
use credentialflow_model::{Actor, Name, Period, SecretValue, Timestamp, resource::Kind};
use credentialflow_store::LeaseRow;
use serde::{Deserialize, Serialize};
use std::{future::Future, pin::Pin};

/// A boxed future, so that the traits below can be held as trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The data plane, as far as the admin API needs it.
pub trait Dataplane: Send + Sync + 'static {
    /// Brings the stored state to every worker of every live node and returns when all of them enforce
    /// it. Nodes that have been silent past their lifetime are left out and named.
    ///
    /// # Errors
    /// When the state could not be read, or not every worker acknowledged in time.
    /// What is stored stays stored; the data plane keeps trying.
    fn publish(&self) -> BoxFuture<'_, Result<Published, PublishError>>;

    /// How it is doing now.
    fn status(&self) -> DataplaneStatus;

    /// Why the file of authorities that a resource of this kind names cannot be used by this node now, if so. Tells
    /// nothing of what the file holds. A node that serves no traffic does not know of an upstream's; those of stores
    /// and targets are read by every node.
    fn authorities_problem(&self, kind: Kind, path: &str) -> Option<String>;

    /// Requests that use this version of this credential at this moment: on this node, and on the
    /// others as far as they told, which they do for versions that are being rotated away.
    fn in_flight<'a>(&'a self, credential: &'a str, version: u32) -> BoxFuture<'a, u64>;

    /// Every place of a text where a live secret of ours stands, as this node enforces them, and whether all of it was
    /// searched. A data plane that cannot tell finds nothing.
    fn secrets_in(&self, _text: &[u8]) -> (Vec<(crate::LiveSecret, std::ops::Range<usize>)>, bool) {
        (Vec::new(), true)
    }

    /// How the access token of a credential stands on this node. `None`: it keeps none for it.
    fn access_token(&self, _credential: &str) -> Option<AccessTokenView> {
        None
    }

    /// Which targets the next calls to a model in this dialect would take on this node. `None`: it serves none.
    fn model_route<'a>(&'a self, _model: &'a str, _call: AskedCall) -> BoxFuture<'a, Option<ModelRouteView>> {
        Box::pin(std::future::ready(None))
    }

    /// What would become of a whole call to a model on this node; nothing is sent.
    fn model_dry_run<'a>(
        &'a self,
        _model: &'a str,
        _call: AskedWhole,
    ) -> BoxFuture<'a, Result<ModelDryRunView, CannotAsk>> {
        Box::pin(std::future::ready(Err(CannotAsk::ServesNone)))
    }

    /// Whose requests those are, as far as the nodes told.
    fn stragglers<'a>(&'a self, credential: &'a str, version: u32) -> BoxFuture<'a, Vec<Straggler>>;
}

/// Calls to models through this node's gateway, as a caller of its own makes them.
pub trait ModelCalls: Send + Sync + std::fmt::Debug {
    /// What a call shows as `test` within `prompt`, to have a version of a prompt that is not in use yet.
    fn pass(&self) -> &str;

    /// Sends the body of a chat completion with a key, and gives status and body of the answer. The error says why there
    /// is none, without a secret.
    fn chat<'a>(&'a self, key: &'a SecretValue, body: Vec<u8>) -> BoxFuture<'a, Result<(u16, Vec<u8>), String>>;
}

/// What this node's model calls cost, on its way from its call log to the sums that all nodes share.
pub trait SpendLog: Send + Sync + std::fmt::Debug {
    /// What people call this node.
    fn node(&self) -> &str;

    /// Adds what the call log tells until now. The error says why it could not be.
    fn catch_up(&self) -> BoxFuture<'_, Result<(), String>>;
}

/// The stores that credentials take their values from and are written to.
pub trait ExternalStores: Send + Sync + std::fmt::Debug {
    /// Reads a credential's source and writes its destinations now. How each went is stored; the error
    /// says why not even that could be tried.
    fn refresh<'a>(&'a self, actor: &'a Actor, credential: &'a Name) -> BoxFuture<'a, Result<(), String>>;
}

/// Running requests of one caller that still carry a version which is being rotated away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Straggler {
    /// The application, where the requests came with a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// The route.
    pub route: String,
    /// Where the requests came from.
    pub source: String,
    /// How many there are; of callers that still use the old secret of a key, how many there were.
    pub requests: u64,
    /// The node they run on; absent for the answering one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// When the last of them ended; of callers that still use the old secret of a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
}

/// The run-time API, as far as the admin API needs it.
pub trait RunTimeApi: Send + Sync + std::fmt::Debug {
    /// The keys that sign there, by name. The error says why they cannot be told.
    fn signing_keys(&self) -> BoxFuture<'_, Result<Vec<SigningKey>, String>>;

    /// Of one kind what it keeps or let in, in the order of the names and after one; about `most` are looked at.
    /// They come page by page, `Secrets` all at once; of kinds that are not its own it has none.
    fn credentials<'a>(
        &'a self,
        kind: CredentialKind,
        after: &'a str,
        most: u32,
    ) -> BoxFuture<'a, Result<RunTimeCredentials, NotTold>>;

    /// What a lease is of.
    fn describe<'a>(&'a self, lease: &'a LeaseRow) -> BoxFuture<'a, Result<LeasedLogin, NotTold>>;

    /// Makes a token that may do everything there, for so long. The error says why there is none.
    fn root_token<'a>(&'a self, actor: &'a Actor, ttl: Period) -> BoxFuture<'a, Result<RootToken, String>>;
}

/// Why the run-time API tells nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotTold {
    /// The vault is sealed.
    Sealed,
    /// It could not be read; says why.
    Failed(String),
}

/// A page of what the run-time API keeps or let in.
#[derive(Debug, Default)]
pub struct RunTimeCredentials {
    /// In the order of their names.
    pub items: Vec<RunTimeCredential>,
    /// After which name to go on; absent: that was all.
    pub next: Option<String>,
}

/// Something that the run-time API keeps or let in. Its value never comes along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunTimeCredential {
    /// Its name, unique within the kind: mostly its path.
    pub name: String,
    /// For people.
    pub description: String,
    /// The application that answers for it.
    pub application: Option<String>,
    /// The policies that say what it opens.
    pub policies: Vec<String>,
    /// When it was made.
    pub made: Option<Timestamp>,
    /// Who made it, where that is kept with it; otherwise the audit log is asked.
    pub made_by: Option<String>,
    /// When its value in use was made.
    pub since: Option<Timestamp>,
    /// How often its value changes by itself.
    pub every: Option<Period>,
    /// When that happens next.
    pub due: Option<Timestamp>,
    /// When it ends; absent: never.
    pub expires: Option<Timestamp>,
    /// When it was last used.
    pub last_used: Option<Timestamp>,
    /// Whether it is known how it is used, or that it is not.
    pub counted: bool,
    /// Whether it has no value yet.
    pub pending: bool,
    /// How many there are, of what is only counted.
    pub count: Option<u64>,
    /// What its policies grant that was not used, where that is known.
    pub rights: Option<Rights>,
}

/// What a lease is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedLogin {
    /// The role it was made by.
    pub role: String,
    /// The login's name; of a certificate its serial number.
    pub login: String,
    /// Whether it is a certificate.
    pub certificate: bool,
    /// The system the login is at; empty for certificates.
    pub system: String,
    /// When it was last renewed.
    pub renewed: Option<Timestamp>,
    /// However often it is renewed, it ends then.
    pub last_moment: Timestamp,
    /// Why the last try to withdraw it failed.
    pub problem: Option<String>,
}

/// A token of the run-time API that may do everything there.
#[derive(Debug)]
pub struct RootToken {
    /// What clients present.
    pub token: SecretValue,
    /// Names it without being it.
    pub accessor: String,
}

/// A key that signs and is kept by another room. Its value never comes along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKey {
    /// Its name, unique among all that sign.
    pub name: String,
    /// For people: what it signs.
    pub description: String,
    /// How, as in `RS256`.
    pub algorithm: String,
    /// How often another version takes over.
    pub every: Period,
    /// When that happens next.
    pub due: Timestamp,
    /// Its versions, the newest first.
    pub versions: Vec<EntryVersion>,
}

/// The leases of the run-time API.
pub trait Leases: Send + Sync + std::fmt::Debug {
    /// Ends everything that somebody holds. When it answers, all of it is written down as ended.
    fn revoke<'a>(&'a self, actor: &'a Actor, held: &'a Held) -> BoxFuture<'a, Result<RevokedLeases, NotRevoked>>;
}

/// Whose leases and tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// An application's.
    Application(String),
    /// An entity's.
    Entity(String),
    /// Those whose path begins so.
    Prefix(String),
}

/// Why not everything is written down as ended. Asking again does the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotRevoked {
    /// The vault is sealed.
    Sealed,
    /// The database is away.
    Unavailable,
    /// It cannot be done as asked; says why.
    Invalid(String),
    /// By a fault of ours, which is in the log.
    Failed,
}

/// Public documents that are fetched from outside.
pub trait Fetch: Send + Sync + std::fmt::Debug {
    /// What stands at this address, at most `largest` bytes: over https, or from this machine. The error says why not,
    /// in words that name no address.
    fn get<'a>(&'a self, url: &'a str, largest: usize) -> BoxFuture<'a, Result<Vec<u8>, String>>;
}

/// Who orders the certificate of our own listeners.
pub trait CertificateOrders: Send + Sync + std::fmt::Debug {
    /// How it stands.
    fn order(&self) -> CertificateOrder;
}

/// Proof that every worker of every live node enforces the stored state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Published {
    /// The epoch of the snapshot that every worker of the answering node now runs.
    pub epoch: u64,
    /// Workers that acknowledged, over all nodes.
    pub workers: u32,
    /// Names of the nodes that confirmed, the answering one among them.
    pub nodes: Vec<String>,
    /// Names of the nodes that have been silent past their lifetime: ended, or cut off from the
    /// database. One that is cut off serves on with what it has; empty is what you want.
    pub lost: Vec<String>,
}

/// Why the stored state is not enforced everywhere yet. The text names no secret.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The stored state could not be read.
    #[error("the stored state could not be read: {0}")]
    Unreadable(String),
    /// Some workers did not acknowledge in time.
    #[error("{acknowledged} of {workers} workers acknowledged in time")]
    NotAcknowledged {
        /// How many did.
        acknowledged: u32,
        /// How many there are.
        workers: u32,
    },
    /// Other nodes are alive but did not confirm in time.
    #[error("{acknowledged} nodes confirmed in time, {} did not", .behind.join(", "))]
    NodesBehind {
        /// How many did.
        acknowledged: u32,
        /// The names of those that did not.
        behind: Vec<String>,
    },
}

/// The data plane at this moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct DataplaneStatus {
    /// Worker threads that serve traffic; 0 when this process has none.
    pub workers: u32,
    /// Open connections from callers.
    pub connections: u64,
    /// Requests being served.
    pub in_flight: u64,
    /// Routes enforced.
    pub routes: u64,
    /// Keys accepted.
    pub keys: u64,
    /// Epoch of the snapshot every worker runs; grows with each change.
    pub epoch: u64,
    /// Place in the stored change feed up to which every worker enforces everything.
    pub seq: u64,
    /// When that snapshot was published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<Timestamp>,
    /// Call records dropped because the queue was full, since the start.
    pub records_dropped: u64,
    /// Audit events about guessing of keys that could not be written, since the start.
    pub guesses_lost: u64,
    /// Bytes that HTTP/2 requests and buffered model bodies hold of the workers' memory budgets.
    pub memory: u64,
    /// Whether this node has not been heard by the others for longer than a node's lifetime, because
    /// the database is away. It serves on with what it has, and the others no longer wait for it.
    pub stale: bool,
    /// Credentials whose current version does not open. Requests that need one are refused with
    /// `credential_unavailable`; nothing else is affected.
    pub unavailable: Vec<UnavailableCredential>,
    /// Resources that cannot be used as they are configured, because something outside of them is missing, such as a
    /// file. Looked at again every few seconds; nothing else is affected.
    pub impaired: Vec<ImpairedResource>,
    /// Every process on the database, this one among them. Alone on SQLite.
    pub nodes: Vec<NodeStatus>,
}

/// A credential whose current version does not open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct UnavailableCredential {
    /// Its name.
    pub credential: String,
    /// The version.
    pub version: u32,
    /// Why; never says anything about the value.
    pub reason: String,
}

/// A resource that cannot be used as it is configured, wholly or in part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ImpairedResource {
    /// Kind of the resource.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What is wrong; may name a file, never what it holds.
    pub reason: String,
    /// Whether requests that need it are served all the same: by its other endpoints, or by what a file held before.
    /// Otherwise they are refused with `no_healthy_endpoint` or `credential_unavailable`.
    pub serves: bool,
}

/// How a node stands to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It was heard within its lifetime; changes wait for it.
    Live,
    /// It finishes its last requests and takes no change in any more.
    Leaving,
    /// It has been silent past its lifetime: ended, or cut off from the database. Nothing waits for it.
    Lost,
}

/// One process on the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct NodeStatus {
    /// Its id, new at each start.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// How it stands.
    pub state: NodeState,
    /// Whether it is the one that answers.
    pub answering: bool,
    /// Whether it runs rotations and other work that one node does for all.
    pub runs_jobs: bool,
    /// When it started, by its own clock.
    pub started: Timestamp,
    /// Milliseconds since it was last heard.
    pub silent_ms: u64,
    /// Its worker threads; 0 where it serves no traffic.
    pub workers: u32,
    /// Place in the change feed up to which its workers enforce everything.
    pub seq: u64,
}
