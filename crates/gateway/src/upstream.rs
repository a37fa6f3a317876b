//! Connections to upstreams: kept per worker and endpoint, with passive health.

use crate::{
    net::{buffer::Buffer, control::TICK, stream::Stream},
    snapshot::EndpointPlan,
};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
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
}

/// What one worker knows of one endpoint, across snapshots.
#[derive(Default)]
pub(crate) struct Endpoint {
    idle: RefCell<Vec<Connection>>,
    failures: Cell<u32>,
    failed_at: Cell<Option<Instant>>,
    cooling_until: Cell<Option<Instant>>,
}

/// Why a connection could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectError {
    /// The name does not resolve, or nothing listens.
    Refused,
    /// The TLS handshake failed.
    Tls,
}

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
        if idle.len() < most && connection.buffer.is_empty() {
            connection.reused = true;
            connection.idle_since = tick;
            idle.push(connection);
        }
    }

    /// When a request last failed here; `None` comes before every moment.
    pub fn failed_at(&self) -> Option<Instant> {
        self.failed_at.get()
    }

    /// Whether requests may go here now, while there are other endpoints.
    pub fn is_healthy(&self) -> bool {
        self.cooling_until.get().is_none_or(|until| until <= Instant::now())
    }

    /// The endpoint answered.
    pub fn succeeded(&self) {
        self.failures.set(0);
        self.cooling_until.set(None);
    }

    /// The endpoint failed; after `most` failures in a row it is left alone for `cooldown`.
    pub fn failed(&self, most: u32, cooldown: Duration) {
        let failures = self.failures.get().saturating_add(1);
        let now = Instant::now();
        self.failures.set(failures);
        self.failed_at.set(Some(now));
        if failures >= most {
            self.cooling_until.set(Some(now + cooldown));
            self.idle.borrow_mut().clear();
        }
    }

    /// Makes a new connection.
    pub async fn connect(plan: &EndpointPlan) -> Result<Connection, ConnectError> {
        let tcp = connect_tcp(&plan.host, plan.port).await.ok_or(ConnectError::Refused)?;
        let _ = tcp.set_nodelay(true);
        let stream = match &plan.tls {
            None => Stream::Plain(tcp),
            Some((config, name)) => {
                let connector = tokio_rustls::TlsConnector::from(config.clone());
                let stream = connector.connect(name.clone(), tcp).await.map_err(|_| ConnectError::Tls)?;
                Stream::TlsClient(Box::new(stream))
            }
        };
        Ok(Connection { stream, buffer: Buffer::default(), reused: false, idle_since: 0 })
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
    /// Idle connections kept for each endpoint.
    pub most: usize,
}

impl Pools {
    pub fn new(most: usize) -> Self {
        Self { endpoints: RefCell::default(), most }
    }

    /// The endpoint of this identity.
    pub fn endpoint(&self, identity: &Arc<str>) -> Rc<Endpoint> {
        self.endpoints.borrow_mut().entry(identity.clone()).or_default().clone()
    }

    /// Forgets endpoints no snapshot uses any more, with their idle connections.
    pub fn forget_unused(&self) {
        self.endpoints.borrow_mut().retain(|_, e| Rc::strong_count(e) > 1);
    }

    /// Closes connections that were idle for too long or closed by the other side.
    pub fn close_stale(&self, tick: u64) {
        for endpoint in self.endpoints.borrow().values() {
            endpoint.idle.borrow_mut().retain(|c| tick - c.idle_since < IDLE && !c.stream.is_stale());
        }
    }
}
