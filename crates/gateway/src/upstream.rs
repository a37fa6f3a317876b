//! Connections to upstreams: kept per worker and endpoint, with passive health.

use crate::{
    cooling::Cooling,
    net::{
        buffer::Buffer,
        control::TICK,
        stream::Stream,
        tls::{self, TlsError},
    },
    ports::CertificateListener,
    snapshot::EndpointPlan,
};
use credentialflow_model::SecretValue;
use rustls::ClientConfig;
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::net::TcpStream;

/// A connection to an endpoint.
pub(crate) struct Connection {
    pub stream: Stream,
    pub buffer: Buffer,
    /// Whether it served a request before.
    pub reused: bool,
    /// Tick of the sweep at which it was kept.
    idle_since: u64,
    /// The version of the client certificate that was shown on it; 0 for none.
    shown: u32,
}

/// What is shown to an endpoint that asks for a certificate.
pub(crate) struct Identity {
    pub config: Arc<ClientConfig>,
    /// The version of the credential.
    pub version: u32,
}

/// A client certificate, ready to be shown.
struct Shown {
    version: u32,
    /// Whom it is shown to: what it was made from.
    trusting: Arc<ClientConfig>,
    config: Arc<ClientConfig>,
}

/// What one worker knows of one endpoint, across snapshots.
#[derive(Default)]
pub(crate) struct Endpoint {
    idle: RefCell<Vec<Connection>>,
    cooling: Cooling,
    /// The client certificate in force, made ready once for each of its versions.
    shown: RefCell<Option<Shown>>,
    /// The certificate that the endpoint presented last, hashed, and when that was told.
    presented: Cell<(u64, u64)>,
}

/// Why a connection could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectError {
    /// The name does not resolve, or nothing listens.
    Refused,
    /// The TLS handshake failed.
    Tls,
}

/// What an endpoint presents is told again after this long.
const TELL_AGAIN: u64 = 3_600_000 / TICK.as_millis() as u64;

/// Idle connections are closed after this long: before most servers close theirs.
const IDLE: u64 = 50_000 / TICK.as_millis() as u64;

impl Endpoint {
    /// An idle connection that is still open, at this tick of the sweep.
    pub fn take(&self, must_be_fresh: bool, tick: u64) -> Option<Connection> {
        loop {
            let connection = self.idle.borrow_mut().pop()?;
            // A closed connection, or one on which the upstream sent more than its answer: such bytes must
            // never become the next answer. Asking the kernel costs a system call; where a failed request
            // may be repeated, what the runtime already knows is enough.
            let stale = if must_be_fresh { connection.stream.is_stale() } else { connection.stream.is_known_stale() };
            if tick - connection.idle_since < IDLE && !stale {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose last answer is complete.
    pub fn keep(&self, mut connection: Connection, most: usize, tick: u64) {
        let mut idle = self.idle.borrow_mut();
        let in_force = self.shown.borrow().as_ref().map_or(0, |shown| shown.version);
        if idle.len() < most && connection.buffer.is_empty() && connection.shown == in_force {
            connection.reused = true;
            connection.idle_since = tick;
            connection.buffer.shrink();
            idle.push(connection);
        }
    }

    /// When a request last failed here; `None` comes before every moment.
    pub fn failed_at(&self) -> Option<Instant> {
        self.cooling.failed_at()
    }

    /// Whether requests may go here now, while there are other endpoints.
    pub fn is_healthy(&self) -> bool {
        self.cooling.is_open(Instant::now())
    }

    /// The endpoint answered.
    pub fn succeeded(&self) {
        self.cooling.succeeded();
    }

    /// The endpoint failed; after `most` failures in a row it is left alone for `cooldown`.
    pub fn failed(&self, most: u32, cooldown: Duration) {
        if self.cooling.failed(most, cooldown) {
            self.idle.borrow_mut().clear();
        }
    }

    /// This version of the client certificate is in force, for whom we trust there. Where one of the two is new, no
    /// connection on which another one was shown is taken any more.
    pub fn identity(
        &self,
        version: u32,
        trusting: &Arc<ClientConfig>,
        value: &SecretValue,
    ) -> Result<Identity, TlsError> {
        let mut known = self.shown.borrow_mut();
        let same = |shown: &&Shown| shown.version == version && Arc::ptr_eq(&shown.trusting, trusting);
        if let Some(shown) = known.as_ref().filter(same) {
            return Ok(Identity { config: shown.config.clone(), version });
        }
        let config = tls::showing(trusting, value)?;
        self.idle.borrow_mut().clear();
        *known = Some(Shown { version, trusting: trusting.clone(), config: config.clone() });
        Ok(Identity { config, version })
    }

    /// Tells which certificate the endpoint presents, where that is news.
    fn tell(&self, plan: &EndpointPlan, certificate: &[u8], tick: u64, listener: &dyn CertificateListener) {
        let mut hasher = DefaultHasher::new();
        certificate.hash(&mut hasher);
        let (hash, (known, told)) = (hasher.finish(), self.presented.get());
        if hash != known || tick.saturating_sub(told) >= TELL_AGAIN {
            self.presented.set((hash, tick));
            listener.presented(&plan.authority, certificate);
        }
    }

    /// Makes a new connection.
    pub async fn connect(
        &self,
        plan: &EndpointPlan,
        identity: Option<&Identity>,
        tick: u64,
        listener: &dyn CertificateListener,
    ) -> Result<Connection, ConnectError> {
        let tcp = connect_tcp(&plan.host, plan.port).await.ok_or(ConnectError::Refused)?;
        let _ = tcp.set_nodelay(true);
        let stream = match &plan.tls {
            None => Stream::Plain(tcp),
            Some((trusting, name)) => {
                let config = identity.map_or(trusting, |identity| &identity.config);
                let connector = tokio_rustls::TlsConnector::from(config.clone());
                let stream = connector.connect(name.clone(), tcp).await.map_err(|_| ConnectError::Tls)?;
                if let Some(certificate) = stream.get_ref().1.peer_certificates().and_then(<[_]>::first) {
                    self.tell(plan, certificate, tick, listener);
                }
                Stream::TlsClient(Box::new(stream))
            }
        };
        Ok(Connection {
            stream,
            buffer: Buffer::default(),
            reused: false,
            idle_since: 0,
            shown: identity.map_or(0, |i| i.version),
        })
    }
}

async fn connect_tcp(host: &str, port: u16) -> Option<TcpStream> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return TcpStream::connect(SocketAddr::new(address, port)).await.ok();
    }
    for address in tokio::net::lookup_host((host, port)).await.ok()? {
        if let Ok(stream) = TcpStream::connect(address).await {
            return Some(stream);
        }
    }
    None
}

/// All endpoints a worker knows.
pub(crate) struct Pools {
    endpoints: RefCell<HashMap<Arc<str>, Rc<Endpoint>>>,
    coolings: RefCell<HashMap<Arc<str>, Rc<Cooling>>>,
    /// Idle connections kept for each endpoint.
    pub most: usize,
}

impl Pools {
    pub fn new(most: usize) -> Self {
        Self { endpoints: RefCell::default(), coolings: RefCell::default(), most }
    }

    /// The endpoint of this identity.
    pub fn endpoint(&self, identity: &Arc<str>) -> Rc<Endpoint> {
        self.endpoints.borrow_mut().entry(identity.clone()).or_default().clone()
    }

    /// What is remembered of the failures of a model's target, or of one of its credentials.
    pub fn cooling(&self, identity: &Arc<str>) -> Rc<Cooling> {
        self.coolings.borrow_mut().entry(identity.clone()).or_default().clone()
    }

    /// Forgets endpoints no snapshot uses any more, with their idle connections, and targets.
    pub fn forget_unused(&self) {
        self.coolings.borrow_mut().retain(|_, cooling| Rc::strong_count(cooling) > 1);
        self.endpoints.borrow_mut().retain(|_, e| Rc::strong_count(e) > 1);
    }

    /// Closes connections that were idle for too long or closed by the other side.
    pub fn close_stale(&self, tick: u64) {
        for endpoint in self.endpoints.borrow().values() {
            endpoint.idle.borrow_mut().retain(|c| tick - c.idle_since < IDLE && !c.stream.is_stale());
        }
    }
}
