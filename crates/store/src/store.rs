//! The way in: reads over one pool, and one door for every write.

use crate::audit::{self, Hash, PendingEvent};
use crate::changes::ChangeKind;
use crate::driver::{self, Driver, Pools};
use crate::runtime::{Cache, Group, Touched};
use crate::{Result, StoreError, former};
use credentialflow_model::{Actor, Timestamp, resource::Kind};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, Row, Transaction};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::watch;

/// The state of an installation. Cheap to clone; all clones share the connections.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    pools: Pools,
    clock: fn() -> Timestamp,
    latest: watch::Sender<i64>,
    cache: Cache,
    group: Group,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("driver", &self.driver()).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens `sqlite:PATH` or `postgres://…`. A SQLite file is opened (and made) at once. A PostgreSQL
    /// server is first spoken to when it is needed: connecting succeeds while it is away, and each
    /// later call answers [`StoreError::Unavailable`] within a few seconds until it is back.
    pub async fn connect(url: &str) -> Result<Self> {
        Self::connect_with_clock(url, || SystemTime::now().into()).await
    }

    /// As [`Store::connect`], with the clock that stamps audit events and rows.
    pub async fn connect_with_clock(url: &str, clock: fn() -> Timestamp) -> Result<Self> {
        let pools = driver::open(url).await?;
        Ok(Self(Arc::new(Inner {
            pools,
            clock,
            latest: watch::Sender::new(0),
            cache: Cache::new(),
            group: Group::default(),
        })))
    }

    /// Whether the database answers now.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").fetch_one(&mut *self.reader().await?).await?;
        Ok(())
    }

    /// Closes all connections, waiting for those in use. Later calls answer `Unavailable`.
    pub async fn close(&self) {
        self.0.pools.read.close().await;
        self.0.pools.write.close().await;
        self.0.pools.notes.close().await;
    }

    /// The one door for changes. Waits until it is this writer's turn; everything done through the
    /// [`WriteTx`] becomes visible together at [`WriteTx::commit`], or not at all when it is dropped.
    pub async fn begin(&self, actor: &Actor) -> Result<WriteTx> {
        let mut tx = self.0.pools.write.begin_with(self.driver().begin()).await?;
        let head = sqlx::query(self.driver().lock_head())
            .fetch_optional(&mut *tx)
            .await?
            .ok_or_else(|| StoreError::corrupt("the head of the audit chain is missing"))?;
        Ok(WriteTx {
            audit_seq: head.try_get(0)?,
            audit_hash: audit::hash_of(head.try_get::<Vec<u8>, _>(1)?)?,
            change_seq: head.try_get(2)?,
            entry_seq: head.try_get(3)?,
            touched: Touched::default(),
            entry_written: false,
            now: (self.0.clock)(),
            actor: actor.clone(),
            events: Vec::new(),
            changes: Vec::new(),
            unplanned: BTreeSet::new(),
            store: self.clone(),
            tx,
        })
    }

    /// Tells when this process has committed changes: the value is the newest change's number, 0
    /// before the first. Commits of other nodes are not seen here; poll [`Store::latest_change`].
    pub fn subscribe(&self) -> watch::Receiver<i64> {
        self.0.latest.subscribe()
    }

    /// The time by the store's clock.
    pub fn now(&self) -> Timestamp {
        (self.0.clock)()
    }

    pub(crate) fn driver(&self) -> Driver {
        self.0.pools.driver
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.0.cache
    }

    pub(crate) fn group(&self) -> &Group {
        &self.0.group
    }

    pub(crate) async fn reader(&self) -> Result<PoolConnection<Any>> {
        Ok(self.0.pools.read.acquire().await?)
    }

    pub(crate) async fn notes(&self) -> Result<PoolConnection<Any>> {
        Ok(self.0.pools.notes.acquire().await?)
    }

    pub(crate) async fn writer(&self) -> Result<PoolConnection<Any>> {
        Ok(self.0.pools.write.acquire().await?)
    }
}

/// One transaction: changes, the audit events that tell of them, and the rows of the change feed.
/// Dropped without a commit, nothing happened.
#[must_use = "without commit() nothing is kept"]
pub struct WriteTx {
    tx: Transaction<'static, Any>,
    store: Store,
    actor: Actor,
    now: Timestamp,
    audit_seq: i64,
    audit_hash: Hash,
    change_seq: i64,
    entry_seq: i64,
    /// Whether `entry_seq` was raised for what this transaction writes.
    entry_written: bool,
    pub(crate) touched: Touched,
    events: Vec<PendingEvent>,
    changes: Vec<(i64, &'static str, String)>,
    /// Credentials whose rotations are to be planned anew.
    unplanned: BTreeSet<String>,
}

impl std::fmt::Debug for WriteTx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteTx").field("actor", &self.actor).finish_non_exhaustive()
    }
}

impl WriteTx {
    /// Records what happened (`noun.verb`), on what (`kind/name`), and facts about it; never a
    /// secret. Fractions in `detail` are kept as text, so that a copy reads back identically.
    pub fn audit(&mut self, action: &str, subject: &str, detail: serde_json::Value) {
        let actor = self.actor.clone();
        self.audit_as(&actor, action, subject, detail);
    }

    /// As [`WriteTx::audit`], for one of several actors who share a transaction.
    pub(crate) fn audit_as(&mut self, actor: &Actor, action: &str, subject: &str, detail: serde_json::Value) {
        let place = (self.audit_seq + 1, self.audit_hash);
        let event = PendingEvent::new(place, self.now, actor, action, subject, detail);
        self.audit_seq += 1;
        self.audit_hash = event.hash;
        self.events.push(event);
    }

    /// When this transaction happens: the time of its audit events and rows.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Who makes this change.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Makes everything permanent and answers the number of the newest change. Refuses with
    /// [`StoreError::NotAudited`] when no audit event was recorded. After `Unavailable` it is unknown
    /// whether the change was kept: read again.
    pub async fn commit(mut self) -> Result<i64> {
        let touched = std::mem::take(&mut self.touched);
        let (store, written) = (self.store.clone(), self.entry_written);
        let committed = self.commit_with(&touched).await;
        // Also where the commit's answer was lost: it may have been kept.
        if touched.all {
            store.0.cache.clear();
        } else if written {
            touched.keys.iter().for_each(|key| store.0.cache.remove(key));
        }
        committed.map(|(change, _)| change)
    }

    /// As [`WriteTx::commit`], for the group committer, which keeps the cache itself. Answers the
    /// revision of what was written.
    pub(crate) async fn commit_group(mut self) -> Result<i64> {
        let touched = std::mem::take(&mut self.touched);
        Ok(self.commit_with(&touched).await?.1)
    }

    async fn commit_with(mut self, touched: &Touched) -> Result<(i64, i64)> {
        if self.events.is_empty() {
            return Err(StoreError::NotAudited);
        }
        crate::changes::insert(&mut self.tx, &self.changes).await?;
        audit::insert(&mut self.tx, &self.events).await?;
        crate::plan::anew(&mut self.tx, &self.unplanned).await?;
        if self.entry_written {
            crate::runtime::commit_touched(&mut self.tx, self.entry_seq, touched).await?;
        }
        sqlx::query("UPDATE head SET audit_seq = $1, audit_hash = $2, change_seq = $3, entry_seq = $4 WHERE id = 1")
            .bind(self.audit_seq)
            .bind(self.audit_hash.to_vec())
            .bind(self.change_seq)
            .bind(self.entry_seq)
            .execute(&mut *self.tx)
            .await?;
        self.tx.commit().await?;
        self.store.0.latest.send_if_modified(|latest| {
            let newer = self.change_seq > *latest;
            *latest = (*latest).max(self.change_seq);
            newer
        });
        Ok((self.change_seq, self.entry_seq))
    }

    /// Puts a row into the change feed and answers its number. The writers' functions do this by
    /// themselves.
    pub(crate) fn changed(&mut self, kind: ChangeKind, name: &str) -> i64 {
        if matches!(kind, ChangeKind::Resource(Kind::Credentials) | ChangeKind::CredentialVersions) {
            self.plan_anew(name);
        }
        self.change_seq += 1;
        let (kind, name) = former::as_known_there(kind.as_str(), name);
        self.changes.push((self.change_seq, kind, name.to_owned()));
        self.change_seq
    }

    /// Has the next rotation of a credential planned anew.
    pub(crate) fn plan_anew(&mut self, credential: &str) {
        if !self.unplanned.contains(credential) {
            self.unplanned.insert(credential.to_owned());
        }
    }

    /// The number of the newest commit that wrote entries, tokens or leases; this one, once it did.
    pub(crate) const fn entry_seq(&self) -> i64 {
        self.entry_seq
    }

    /// The revision of what this transaction writes.
    pub(crate) const fn entry_revision(&mut self) -> i64 {
        if !self.entry_written {
            self.entry_written = true;
            self.entry_seq += 1;
        }
        self.entry_seq
    }

    pub(crate) fn connection(&mut self) -> &mut AnyConnection {
        &mut self.tx
    }

    pub(crate) fn driver(&self) -> Driver {
        self.store.driver()
    }
}
