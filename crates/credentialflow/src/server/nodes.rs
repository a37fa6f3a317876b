//! The processes on one database: this one tells the others of itself, and knows what they enforce.
//!
//! A node is heard when it has written its row: once a second, and at once when it enforces more. A change is
//! answered when every node that was heard within [`LIFETIME`] enforces it. A node that was not is *lost*: nobody
//! waits for it, and every answer names it. Cut off from the database it serves on with what it has, and knows
//! after the same time that it is *stale*. One node with a control plane holds the lease for work that one does for
//! all; it steps down before another can have it.
//!
//! On SQLite there is one process: nothing is written, and nobody is waited for.

mod list;

use super::dataplane::Mark;
use credentialflow_admin::ports::PublishError;
use credentialflow_model::Timestamp;
use credentialflow_store::{NodeReport, NodeRow, Store, StoreError};
use std::{
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};
use tokio::sync::watch;

/// A node that was not heard for so long is lost.
pub(super) const LIFETIME: Duration = Duration::from_secs(5);
/// How often a node says that it is there.
const BEAT: Duration = Duration::from_secs(1);
/// The longest a question to the database may take here; and the pause after one that failed.
const PATIENCE: Duration = Duration::from_millis(1500);
const AGAIN: Duration = Duration::from_millis(250);
/// So long after the lease was last prolonged its holder stops. The lease lasts [`LIFETIME`]; what is left between is
/// more than [`PATIENCE`] and a pause, so that two never hold it.
const STEP_DOWN: Duration = Duration::from_secs(3);
const _: () = assert!(STEP_DOWN.as_millis() + PATIENCE.as_millis() + AGAIN.as_millis() < LIFETIME.as_millis());
/// The longest a change waits for nodes that are there.
const WAIT: Duration = Duration::from_secs(8);
/// How often the change feed is looked at: with other nodes there, and alone.
const LOOK: (Duration, Duration) = (Duration::from_millis(25), Duration::from_secs(1));
/// Lost nodes are listed for so long.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// The lease of what one node does for all.
const JOBS: &str = "jobs";

/// What a process is among the others.
pub(super) struct Identity {
    /// What people call it.
    pub name: String,
    /// Whether it serves traffic.
    pub serves: bool,
    /// Whether it has a control plane, and so may do what one does for all.
    pub controls: bool,
    /// Ids of processes before it that have ended for certain: nobody needs to wait for those.
    pub ended: Vec<String>,
}

/// This process among the others.
pub(super) struct Nodes {
    store: Store,
    shared: bool,
    id: String,
    identity: Identity,
    started: Timestamp,
    place: watch::Sender<Place>,
    known: Mutex<Known>,
    asking: tokio::sync::Mutex<()>,
    /// Held while this node's row is written; whether it is written no more.
    ended: tokio::sync::Mutex<bool>,
    jobs: watch::Sender<bool>,
}

/// Where this process stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Place {
    /// Whether it has begun to take part.
    entered: bool,
    enforced: i64,
    mark: Option<Mark>,
    workers: u32,
    leaving: bool,
}

struct Known {
    rows: Vec<NodeRow>,
    /// When the question began that brought them.
    asked: Option<Instant>,
    /// When the report began that was heard last.
    heard: Instant,
    holder: Option<String>,
    /// When the lease was last prolonged.
    held: Option<Instant>,
    /// When this process began to take part.
    entered: Instant,
    /// Processes before it whose places are still to be taken.
    ended: Vec<String>,
}

/// The other nodes that serve, by what they say about a change.
struct Judged {
    on: Vec<NodeRow>,
    behind: Vec<NodeRow>,
    lost: Vec<NodeRow>,
}

/// Who confirmed a change.
#[derive(Debug)]
pub(super) struct Confirmed {
    /// Workers of other nodes.
    pub workers: u32,
    /// Names of nodes, this one first.
    pub nodes: Vec<String>,
    /// Names of lost ones.
    pub lost: Vec<String>,
}

impl Nodes {
    /// This process, before it takes part. `random` makes its id.
    pub fn new(store: Store, identity: Identity, random: u64) -> Self {
        let shared = store.is_shared();
        let (now, ended) = (Instant::now(), identity.ended.clone());
        let known = Known { rows: vec![], asked: None, heard: now, holder: None, held: None, entered: now, ended };
        Self {
            shared,
            id: format!("{random:016x}"),
            identity,
            started: SystemTime::now().into(),
            place: watch::Sender::new(Place::default()),
            known: Mutex::new(known),
            asking: tokio::sync::Mutex::default(),
            ended: tokio::sync::Mutex::default(),
            jobs: watch::Sender::new(!shared),
            store,
        }
    }

    /// Takes part from here on. To be called before the state that is served first is read to its end: a change made
    /// later then waits for this node, and one made before is part of that state.
    pub async fn enter(&self, enforced: i64, mark: Option<Mark>, reachable: bool) {
        self.place.send_modify(|place| (place.entered, place.enforced, place.mark) = (true, enforced, mark));
        let begun = Instant::now();
        {
            let mut known = self.known();
            (known.heard, known.entered) = (begun, begun);
        }
        if !self.shared || !reachable {
            return;
        }
        match in_time(self.store.report_node(&self.report(*self.place.borrow()))).await {
            Ok(()) => self.known().heard = begun,
            Err(error) => tracing::warn!(%error, "this node could not be entered yet; others do not wait for it"),
        }
        // What fails here is done with a later sign of life.
        let _ = self.replace().await;
    }

    /// Takes the places of earlier processes: of those that have ended for certain, and of those of its name that fell
    /// silent before it began.
    async fn replace(&self) -> Result<(), StoreError> {
        let ended = self.known().ended.clone();
        for id in &ended {
            in_time(self.store.forget_node(id)).await?;
            in_time(self.store.release_lease(JOBS, id)).await?;
        }
        self.known().ended.clear();
        let rows = self.ask().await?;
        let since = self.known().entered.elapsed();
        let name = &self.identity.name;
        let replaced = |r: &&NodeRow| self.is_other(r) && r.report.name == *name && !is_live(r) && r.silent > since;
        for row in rows.iter().filter(replaced) {
            in_time(self.store.forget_node(&row.report.id)).await?;
        }
        Ok(())
    }

    /// Every worker of this process enforces everything up to a place in the feed of the history that `mark` is of.
    pub fn enforces(&self, seq: i64, mark: Option<Mark>, workers: u32) {
        self.place.send_if_modified(|place| {
            let changed = (place.enforced, place.mark, place.workers) != (seq, mark, workers);
            (place.enforced, place.mark, place.workers) = (seq, mark, workers);
            changed
        });
    }

    /// Takes no change in from here on: others no longer wait, and one of them does what one does for all.
    pub async fn leave(&self) {
        self.place.send_modify(|place| place.leaving = true);
        if !self.shared {
            return;
        }
        self.jobs.send_replace(false);
        let place = *self.place.borrow();
        let told = in_time(async {
            if place.entered {
                self.store.report_node(&self.report(place)).await?;
            }
            self.store.release_lease(JOBS, &self.id).await
        });
        if let Err(error) = told.await {
            tracing::warn!(%error, "the other nodes could not be told; they notice by themselves");
            // The database is away, and the end shall not be held up by it once more.
            *self.ended.lock().await = true;
        }
    }

    /// The process ends.
    pub async fn end(&self) {
        if self.shared {
            let mut ended = self.ended.lock().await;
            if !std::mem::replace(&mut *ended, true) {
                // Otherwise it counts as lost a few seconds later.
                let _ = in_time(self.store.forget_node(&self.id)).await;
            }
        }
    }

    /// Says again and again that this node is there, and looks who else is.
    pub async fn run(&self) {
        if !self.shared {
            return;
        }
        let mut place = self.place.subscribe();
        let mut looked: Option<Instant> = None;
        let mut stale = false;
        loop {
            let at = *place.borrow_and_update();
            let mut pause = BEAT;
            if at.entered {
                let full = looked.is_none_or(|l| l.elapsed() >= BEAT);
                let begun = Instant::now();
                match in_time(self.beat(at, full, begun)).await {
                    Ok(()) if full => looked = Some(begun),
                    Ok(()) => pause = BEAT.saturating_sub(looked.map_or(BEAT, |l| l.elapsed())),
                    Err(error) => {
                        tracing::debug!(%error, "this node could not be heard");
                        pause = AGAIN;
                    }
                }
            }
            self.step_down_in_time();
            if self.is_stale() != stale {
                stale = !stale;
                if stale {
                    tracing::warn!(
                        "the database is away: other nodes no longer wait for this one, which serves on with what it has"
                    );
                } else {
                    tracing::info!("this node is heard again");
                }
            }
            tokio::select! {
                _ = place.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn beat(&self, at: Place, full: bool, begun: Instant) -> Result<(), StoreError> {
        let ended = self.ended.lock().await;
        if *ended {
            return Ok(());
        }
        self.store.report_node(&self.report(at)).await?;
        drop(ended);
        self.known().heard = begun;
        if !full {
            return Ok(());
        }
        if self.identity.controls && !at.leaving {
            let asked = Instant::now();
            let held = self.store.take_lease(JOBS, &self.id, LIFETIME).await?;
            // It may have begun to leave meanwhile.
            if held && !self.place.borrow().leaving {
                self.known().held = Some(asked);
                if !self.jobs.send_replace(true) {
                    tracing::info!(node = %self.identity.name, "this node runs rotations and what else one does for all");
                }
            } else {
                self.known().held = None;
                self.jobs.send_replace(false);
            }
        }
        let holder = self.store.lease_holder(JOBS).await?;
        self.known().holder = holder;
        self.replace().await
    }

    fn step_down_in_time(&self) {
        let held = self.known().held;
        if self.identity.controls && held.is_none_or(|at| at.elapsed() >= STEP_DOWN) && self.jobs.send_replace(false) {
            tracing::warn!("this node cannot prolong its lease: another one runs rotations");
        }
    }

    /// Waits until every node that is there enforces everything up to a place in the feed.
    ///
    /// # Errors
    /// When one does not in time, or nobody can be asked.
    pub async fn wait_for(&self, seq: i64) -> Result<Confirmed, PublishError> {
        let mut confirmed = Confirmed { workers: 0, nodes: vec![self.identity.name.clone()], lost: vec![] };
        if !self.shared {
            return Ok(confirmed);
        }
        let end = Instant::now() + WAIT;
        let mut pause = Duration::from_millis(2);
        loop {
            let told = self.judged(seq).await;
            let over = Instant::now() >= end;
            match told {
                Ok(Judged { on, behind, lost }) if behind.is_empty() => {
                    confirmed.workers = on.iter().map(|r| r.report.workers).sum();
                    confirmed.nodes.extend(on.iter().map(name));
                    confirmed.lost = lost.iter().map(name).collect();
                    return Ok(confirmed);
                }
                Ok(Judged { on, behind, .. }) if over => {
                    let behind = behind.iter().map(name).collect();
                    return Err(PublishError::NodesBehind { acknowledged: on.len() as u32 + 1, behind });
                }
                Ok(_) => {}
                Err(error) if over => {
                    return Err(PublishError::Unreadable(format!("the other nodes cannot be asked: {error}")));
                }
                Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(16));
        }
    }

    /// What the other nodes that serve say about a place in the feed.
    async fn judged(&self, seq: i64) -> Result<Judged, StoreError> {
        let rows = self.ask().await?.into_iter();
        let there = rows.filter(|r| self.is_other(r) && r.report.serves && !r.report.leaving);
        let (live, lost): (Vec<_>, Vec<_>) = there.partition(is_live);
        let (mut on, mut behind): (Vec<_>, Vec<_>) = live.into_iter().partition(|r: &NodeRow| r.report.enforced >= seq);
        if behind.is_empty() {
            // A number can be that of a history that is over: the database may have gone back in time.
            for row in std::mem::take(&mut on) {
                let fits = match row.report.mark {
                    Some((event, hash)) => in_time(self.store.audit_hash(event)).await? == Some(hash),
                    None => false,
                };
                if fits { on.push(row) } else { behind.push(row) }
            }
        }
        Ok(Judged { on, behind, lost })
    }

    /// Running requests on other nodes that carry a version which is being rotated away. A node that has not said, or
    /// whose new requests still get the version, or that is leaving, counts as one: silence is not "none". A lost node
    /// is no exception, for it may serve on.
    pub async fn others_in_flight(&self, credential: &str, version: u32) -> Result<u64, StoreError> {
        Ok(self.holders(credential, version).await?.iter().map(|(_, held)| held).sum())
    }

    /// Names of lost nodes that may still carry a version that is being rotated away.
    pub async fn lost_holders(&self, credential: &str, version: u32) -> Result<Vec<String>, StoreError> {
        let holders = self.holders(credential, version).await?;
        Ok(holders.iter().filter(|(row, held)| *held > 0 && !is_live(row)).map(|(row, _)| name(row)).collect())
    }

    /// Names of other nodes that may serve on and that nobody hears.
    pub async fn unheard(&self) -> Result<Vec<String>, StoreError> {
        let rows = self.ask().await?;
        let lost = rows.iter().filter(|r| self.is_other(r) && r.report.serves && !is_live(r));
        Ok(lost.map(name).collect())
    }

    /// The other nodes that serve, and how many running requests carry a version there.
    async fn holders(&self, credential: &str, version: u32) -> Result<Vec<(NodeRow, u64)>, StoreError> {
        let mut others = self.ask().await?;
        others.retain(|r| self.is_other(r) && r.report.serves);
        if others.is_empty() {
            return Ok(vec![]);
        }
        let seen = in_time(self.store.traffic(credential)).await?;
        let told = |row: &NodeRow| {
            let figure = seen.iter().find(|(id, seen)| *id == row.report.id && seen.version == version);
            figure.filter(|(_, seen)| !seen.in_force && !row.report.leaving).map_or(1, |(_, seen)| seen.in_flight)
        };
        Ok(others
            .into_iter()
            .map(|row| {
                let held = told(&row);
                (row, held)
            })
            .collect())
    }

    /// What other nodes told of a credential that is being rotated: running requests that carry `version`, and how
    /// upstreams answered the version that replaces it (refused, served).
    pub async fn others_told(&self, credential: &str, version: Option<u32>) -> (u64, (u64, u64)) {
        let mut sum = (0u64, (0u64, 0u64));
        if !self.in_company() {
            return sum;
        }
        // What cannot be read now is read at the next look; a rotation does not end without it.
        for (id, seen) in in_time(self.store.traffic(credential)).await.unwrap_or_default() {
            if id != self.id {
                let carried = if Some(seen.version) == version { seen.in_flight } else { 0 };
                sum.0 = sum.0.saturating_add(carried);
                sum.1 = (sum.1.0.saturating_add(seen.refused), sum.1.1.saturating_add(seen.served));
            }
        }
        sum
    }

    /// What other nodes told of the requests that carry a version, by the node's name.
    pub async fn others_stragglers(&self, credential: &str, version: u32) -> Vec<(String, String)> {
        if !self.in_company() {
            return Vec::new();
        }
        let seen = in_time(self.store.traffic(credential)).await.unwrap_or_default();
        let others = seen.into_iter().filter(|(id, seen)| *id != self.id && seen.version == version);
        let known = self.known();
        let name_of = |id: &str| known.rows.iter().find(|r| r.report.id == id).map(name);
        others.filter_map(|(id, seen)| Some((name_of(&id)?, seen.stragglers))).collect()
    }

    /// Whether other nodes are there.
    pub fn in_company(&self) -> bool {
        self.shared && self.known().rows.iter().any(|r| self.is_other(r) && is_live(r))
    }

    /// How long to wait before the change feed is looked at again.
    pub fn pause(&self) -> Duration {
        if self.in_company() { LOOK.0 } else { LOOK.1 }
    }

    /// Whether this node does what one does for all.
    pub fn jobs(&self) -> watch::Receiver<bool> {
        self.jobs.subscribe()
    }

    /// Whether the others no longer wait for this one.
    pub fn is_stale(&self) -> bool {
        self.shared && self.place.borrow().entered && self.known().heard.elapsed() > LIFETIME
    }

    /// Whether this process serves traffic.
    pub fn serves(&self) -> bool {
        self.identity.serves
    }

    /// What this process is called.
    pub fn name(&self) -> &str {
        &self.identity.name
    }

    /// This process's id among the nodes.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Forgets nodes that were lost long ago, and what was told of finished rotations. Not while a rotation runs: it
    /// waits for the lost ones.
    pub async fn tidy(&self) -> Result<(), StoreError> {
        if self.shared && self.store.running_rotations().await?.is_empty() {
            self.store.forget_silent_nodes(REMEMBERED).await?;
        }
        Ok(())
    }

    /// The rows as of now. Whoever asks while another asks shares an answer that began after both.
    async fn ask(&self) -> Result<Vec<NodeRow>, StoreError> {
        let wanted = Instant::now();
        let _one = self.asking.lock().await;
        {
            let known = self.known();
            if known.asked.is_some_and(|asked| asked >= wanted) {
                return Ok(known.rows.clone());
            }
        }
        let asked = Instant::now();
        let rows = in_time(self.store.nodes()).await?;
        let mut known = self.known();
        known.asked = Some(asked);
        known.rows.clone_from(&rows);
        Ok(rows)
    }

    fn report(&self, place: Place) -> NodeReport {
        NodeReport {
            id: self.id.clone(),
            name: self.identity.name.clone(),
            started: self.started,
            enforced: place.enforced,
            mark: place.mark,
            workers: place.workers,
            serves: self.identity.serves,
            leaving: place.leaving,
        }
    }

    fn is_other(&self, row: &NodeRow) -> bool {
        row.report.id != self.id
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_live(row: &NodeRow) -> bool {
    row.silent <= LIFETIME
}

fn name(row: &NodeRow) -> String {
    row.report.name.clone()
}

async fn in_time<T>(question: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(PATIENCE, question)
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable("no answer within the time limit".into())))
}

#[cfg(test)]
mod tests;
