//! What the API stands on: nothing yet, a sealed vault, or an open one.

use crate::{body::Memory, denials::Denials, id_token, janitor, serve, turns::Turns, uses::RuleUses};
use axum::Router;
use credentialflow_egress::PrivateHosts;
use credentialflow_identity::{
    Auth, Identity, IdentityError, SigningKey,
    ports::{Boxed, TokenEnd, Web},
};
use credentialflow_model::{Actor, Period};
use credentialflow_secrets::{Mounts, engine::cubbyhole, lease::Leases, listed::Ages};
use credentialflow_store::{Op, Store};
use credentialflow_vault::Vault;
use std::{
    fmt,
    future::Future,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::watch;

/// The API. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct VaultApi(pub(crate) Arc<Inner>);

impl fmt::Debug for VaultApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultApi").field("initialized", &self.0.ready().is_some()).finish_non_exhaustive()
    }
}

pub(crate) struct Inner {
    pub(crate) store: Store,
    web: Arc<dyn Web>,
    /// Hosts of described HTTP APIs that may be at private addresses.
    private_hosts: PrivateHosts,
    ready: RwLock<Option<Arc<Ready>>>,
    /// Whether there is a vault for the rest of the server.
    pub(crate) initialized: watch::Sender<bool>,
    /// One initialisation at a time.
    pub(crate) initializing: tokio::sync::Mutex<()>,
    /// What bodies of callers with a good token may hold.
    pub(crate) bodies: Memory,
    /// The same, of those who are nobody yet.
    pub(crate) open_bodies: Memory,
    pub(crate) denials: Denials,
    pub(crate) turns: Turns,
}

/// Bytes that bodies may hold together: of callers with a good token, and of others.
const MEMORY: (usize, usize) = (64 << 20, 16 << 20);

/// What there is once the vault is initialised.
pub(crate) struct Ready {
    pub(crate) vault: Vault,
    pub(crate) store: Store,
    pub(crate) identity: Identity,
    pub(crate) mounts: Mounts,
    pub(crate) leases: Arc<Leases>,
    /// Of key-value secrets, for the inventory.
    pub(crate) ages: Ages,
    /// What callers use of their policies, for the inventory.
    pub(crate) uses: RuleUses,
    /// Whether what an installation begins with was written since the vault was unsealed.
    prepared: AtomicBool,
}

/// A token's private storage ends with it.
struct Cubbyholes(Store);

impl TokenEnd for Cubbyholes {
    fn ops<'a>(&'a self, accessors: &'a [String]) -> Boxed<'a, credentialflow_identity::Result<Vec<Op>>> {
        Box::pin(async move {
            let mut ops = Vec::new();
            for accessor in accessors {
                let space = cubbyhole::space(accessor);
                // Emptying a space costs everybody's cache: done only where something is in it.
                if !self.0.entry_children(&space, "", "", 1).await?.is_empty() {
                    ops.push(Op::DeleteEntries { space, prefix: String::new() });
                }
            }
            Ok(ops)
        })
    }
}

impl VaultApi {
    /// Over a store that may hold no vault yet. `web` asks identity providers for their keys.
    pub fn new(store: Store, web: Arc<dyn Web>) -> Self {
        Self::with_private_hosts(store, web, PrivateHosts::default())
    }

    /// As [`VaultApi::new`]; logins are also made at described HTTP APIs of these hosts when their
    /// addresses are private.
    pub fn with_private_hosts(store: Store, web: Arc<dyn Web>, private_hosts: PrivateHosts) -> Self {
        Self(Arc::new(Inner {
            store,
            web,
            private_hosts,
            ready: RwLock::new(None),
            initialized: watch::Sender::new(false),
            initializing: tokio::sync::Mutex::new(()),
            bodies: Memory::new(MEMORY.0),
            open_bodies: Memory::new(MEMORY.1),
            denials: Denials::default(),
            turns: Turns::default(),
        }))
    }

    /// Gives it the vault, sealed or not. Does nothing when it has one.
    pub async fn attach(&self, vault: Vault) -> credentialflow_identity::Result<()> {
        self.0.attach(vault).await?;
        self.0.initialized.send_replace(true);
        Ok(())
    }

    /// The vault, as soon as somebody initialised it through this API or [`VaultApi::attach`] gave it one.
    pub async fn vault(&self) -> Vault {
        let mut initialized = self.0.initialized.subscribe();
        loop {
            // The sender lives as long as this handle.
            let _ = initialized.wait_for(|done| *done).await;
            if let Some(ready) = self.0.ready() {
                return ready.vault.clone();
            }
        }
    }

    /// How many refusals of callers without a good token were left out of the audit log, since the start.
    pub fn denials_left_out(&self) -> u64 {
        self.0.denials.left_out()
    }

    /// The keys that sign identity tokens, without what they sign with; none while there is no vault.
    pub async fn signing_keys(&self) -> credentialflow_identity::Result<Vec<SigningKey>> {
        match self.0.ready() {
            Some(ready) => ready.identity.signing_keys(&id_token::mount()).await,
            None => Ok(Vec::new()),
        }
    }

    /// A token that may do everything here, for who administers the installation. Ends by itself.
    ///
    /// # Errors
    /// While there is no vault or it is sealed, and when it cannot be stored.
    pub async fn root_token(&self, actor: Actor, ttl: Period) -> credentialflow_identity::Result<Auth> {
        match self.0.ready() {
            Some(ready) => ready.identity.create_root_token(actor, Some(ttl)).await,
            None => Err(IdentityError::Sealed),
        }
    }

    /// The routes, all below `/v1/`; a mount below a prefix takes that prefix away.
    pub fn router(&self) -> Router {
        Router::new().fallback(serve::handle).with_state(self.clone())
    }

    /// Ends tokens whose time is over, forgets wrapped answers nobody took and writes down what was used of policies,
    /// until `stop` resolves.
    pub async fn keep_tidy(&self, stop: impl Future<Output = ()>) {
        tokio::select! {
            () = janitor::run(&self.0) => {}
            () = stop => {}
        }
        if let Some(ready) = self.0.ready()
            && let Err(error) = ready.uses.write(&ready.store).await
        {
            tracing::debug!(%error, "uses of policies could not be written down");
        }
    }
}

impl Inner {
    pub(crate) fn ready(&self) -> Option<Arc<Ready>> {
        self.ready.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) async fn attach(&self, vault: Vault) -> credentialflow_identity::Result<()> {
        if self.ready().is_some() {
            return Ok(());
        }
        let ends: Vec<Arc<dyn TokenEnd>> = vec![Arc::new(Cubbyholes(self.store.clone()))];
        let identity = Identity::open(self.store.clone(), vault.clone(), self.web.clone(), ends).await?;
        let leases = Arc::new(Leases::new(vault.clone(), self.store.clone(), self.private_hosts.clone()));
        let ready = Ready {
            leases,
            vault,
            store: self.store.clone(),
            identity,
            mounts: Mounts::default(),
            ages: Ages::default(),
            uses: RuleUses::default(),
            prepared: AtomicBool::new(false),
        };
        // The first stays: whoever comes later takes that one.
        self.ready.write().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| Arc::new(ready));
        Ok(())
    }
}

impl Ready {
    /// Whether requests can be answered; makes ready what an installation begins with.
    pub(crate) async fn is_open(&self) -> credentialflow_identity::Result<bool> {
        if self.vault.is_sealed() {
            self.prepared.store(false, Ordering::Relaxed);
            return Ok(false);
        }
        if !self.prepared.load(Ordering::Relaxed) {
            self.identity.prepare().await?;
            self.prepared.store(true, Ordering::Relaxed);
        }
        Ok(true)
    }

    /// A transaction for a request.
    pub(crate) fn txn(&self, actor: credentialflow_model::Actor) -> credentialflow_secrets::Txn {
        credentialflow_secrets::Txn::new(&self.vault, &self.store, actor)
    }
}

/// What the API tells about itself: the Vault version it follows, and its own.
pub(crate) const VERSION: &str = concat!("1.14.8+credentialflow.", env!("CARGO_PKG_VERSION"));
