//! Many leases at once: by the databases they are at. One that does not answer is asked once in a while
//! by one lease; the others of that database wait without holding up any other database.

use super::withdraw::Failure;
use super::{CLAIM, HIDDEN, Leases, after};
use crate::{Result, SecretsError};
use credentialflow_model::Actor;
use credentialflow_store::{Expect, LeaseRow, Op};
use serde_json::json;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Logins withdrawn at one database at the same time.
const AT_ONCE: usize = 4;
/// Static roles whose passwords are changed at the same time.
const ROTATIONS: usize = 16;
/// How long [`Leases::work`] waits for what it began; the rest goes on by itself.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a database that did not answer is not asked again.
const AWAY: Duration = Duration::from_secs(10);
/// When leases are looked at again whose database is being worked at, seconds.
const BUSY: i64 = 5;

/// A mount's storage and the name of a database there; no name for the certificates of a mount.
pub(super) type Place = (String, String);

/// Where work is under way, and where nobody answered lately.
pub(super) struct Places {
    busy: Mutex<HashSet<Place>>,
    away: Mutex<HashMap<Place, (Instant, String)>>,
    rotations: Arc<Semaphore>,
}

impl Default for Places {
    fn default() -> Self {
        Self { busy: Mutex::default(), away: Mutex::default(), rotations: Arc::new(Semaphore::new(ROTATIONS)) }
    }
}

impl Places {
    fn away(&self, place: &Place) -> Option<String> {
        let mut away = lock(&self.away);
        away.retain(|_, (since, _)| since.elapsed() < AWAY);
        away.get(place).map(|(_, why)| why.clone())
    }

    fn gone(&self, place: &Place, why: &str) {
        lock(&self.away).insert(place.clone(), (Instant::now(), why.to_owned()));
    }

    /// A changed configuration may reach what the old one did not.
    pub(super) fn forget(&self, space: &str, name: &str) {
        let at = format!("{name}, ");
        lock(&self.away).retain(|(known, place), _| known != space || (place != name && !place.starts_with(&at)));
    }
}

fn is_certificates((space, database): &Place) -> bool {
    !space.is_empty() && database.is_empty()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What withdrawing logins came to.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) done: usize,
    pub(super) failed: Option<SecretsError>,
}

impl Leases {
    /// Does what is due: withdraws logins whose time is over, and those that could not be withdrawn
    /// before; changes passwords of static roles. Tells how many were begun; those of a database that is
    /// being worked at are put off and do not count. To be called every second, and for a while again
    /// where it begins many. A database that is slow is not waited for.
    pub async fn work(self: &Arc<Self>, most: u32) -> Result<usize> {
        let actor = Actor::system("leases");
        let due = self.store.leases_due("", self.store.now(), most).await?;
        let mut found = due.len();
        let (rotations, due): (Vec<_>, Vec<_>) = due.into_iter().partition(|row| row.id.starts_with(HIDDEN));
        let mut running = Vec::new();
        for (place, rows) in self.by_place(due)? {
            let held = lock(&self.places.busy).insert(place.clone());
            if !held {
                found -= rows.len();
                self.postpone(&actor, rows, None).await?;
                continue;
            }
            let (leases, actor) = (self.clone(), actor.clone());
            running.push(tokio::spawn(async move {
                let tally = leases.withdraw_all(&actor, &place, rows).await;
                lock(&leases.places.busy).remove(&place);
                if let Some(error) = tally.failed {
                    tracing::warn!(database = %place.1, %error, "logins could not be withdrawn; it is tried again");
                }
            }));
        }
        for row in self.claim_rotations(&actor, rotations).await? {
            let (leases, actor) = (self.clone(), actor.clone());
            running.push(tokio::spawn(async move {
                let Ok(_permit) = leases.places.rotations.clone().acquire_owned().await else { return };
                if let Err(error) = leases.rotate_due(&actor, row).await {
                    tracing::warn!(%error, "a static role could not be looked at; it is tried again");
                }
            }));
        }
        let all = async {
            for task in running {
                let _ = task.await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, all).await;
        Ok(found)
    }

    /// Takes rows that are no leases for a while, so that they do not come again at once.
    async fn claim_rotations(&self, actor: &Actor, rows: Vec<LeaseRow>) -> Result<Vec<LeaseRow>> {
        let mut taken = Vec::new();
        for chunk in rows.chunks(64) {
            let mut txn = self.txn(actor.clone());
            let next = Some(after(txn.now(), CLAIM));
            for row in chunk {
                let claimed = LeaseRow { next_attempt: next, ..row.clone() };
                txn.op(Op::PutLease(claimed, Expect::Revision(row.revision)));
            }
            txn.audit("database.schedule_claim", "vault/static-roles", json!({ "count": chunk.len() }));
            match txn.commit().await {
                Ok(revision) => {
                    taken.extend(chunk.iter().map(|r| LeaseRow { revision, next_attempt: next, ..r.clone() }));
                }
                // Another node, or somebody who asked, was first; they come again.
                Err(SecretsError::Raced) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }

    /// Leases by where their logins are. One that does not open is left alone for an hour.
    pub(super) fn by_place(&self, rows: Vec<LeaseRow>) -> Result<BTreeMap<Place, Vec<LeaseRow>>> {
        let mut places: BTreeMap<Place, Vec<LeaseRow>> = BTreeMap::new();
        for row in rows {
            if row.id.starts_with(HIDDEN) {
                continue;
            }
            match self.body(&row) {
                // One place that is away holds up no other of the same name.
                Ok(body) if body.place.is_empty() => {
                    places.entry((body.space, body.database)).or_default().push(row);
                }
                Ok(body) => {
                    let database = format!("{}, {}", body.database, body.place);
                    places.entry((body.space, database)).or_default().push(row);
                }
                Err(SecretsError::Sealed) => return Err(SecretsError::Sealed),
                Err(_) => places.entry((String::new(), String::new())).or_default().push(row),
            }
        }
        Ok(places)
    }

    /// Withdraws the logins of leases at one database. Where nobody answers, the first one finds out
    /// and the others are put off.
    pub(super) async fn withdraw_all(self: &Arc<Self>, actor: &Actor, place: &Place, rows: Vec<LeaseRow>) -> Tally {
        let mut tally = Tally::default();
        if let Some(why) = self.places.away(place) {
            tally.failed = Some(away_error(&why));
            if let Err(error) = self.postpone(actor, rows, Some(&why)).await {
                tally.failed = Some(error);
            }
            return tally;
        }
        let mut rows = match self.claim_many(actor, rows).await {
            Ok(rows) => rows.into_iter(),
            Err(error) => return Tally { done: 0, failed: Some(error) },
        };
        if is_certificates(place) {
            let rows: Vec<LeaseRow> = rows.collect();
            match self.end_certificates(actor, &rows).await {
                Ok(()) => tally.done = rows.len(),
                Err(error) => {
                    let why = error.to_string();
                    tally.failed = Some(error);
                    if let Err(error) = self.postpone(actor, rows, Some(&why)).await {
                        tally.failed = Some(error);
                    }
                }
            }
            return tally;
        }
        let mut running: JoinSet<Result<(), Failure>> = JoinSet::new();
        // One alone first: the others need not wait for a silence that it has heard already.
        let mut width = 1;
        let mut away = None;
        loop {
            while away.is_none()
                && running.len() < width
                && let Some(row) = rows.next()
            {
                let (leases, actor) = (self.clone(), actor.clone());
                running.spawn(async move { leases.withdraw(&actor, row).await });
            }
            let Some(ended) = running.join_next().await else { break };
            match ended {
                Ok(Ok(())) => {
                    tally.done += 1;
                    width = AT_ONCE;
                }
                Ok(Err(failure)) => {
                    if failure.away {
                        let why = failure.error.to_string();
                        self.places.gone(place, &why);
                        away = Some(why);
                    }
                    tally.failed = Some(failure.error);
                }
                Err(error) => tally.failed = Some(SecretsError::Internal(Box::new(error))),
            }
        }
        let left: Vec<LeaseRow> = rows.collect();
        if let (Some(why), false) = (&away, left.is_empty())
            && let Err(error) = self.postpone(actor, left, Some(why)).await
        {
            tally.failed = Some(error);
        }
        tally
    }

    /// Puts leases off: as failed, for this reason, or only for a moment because others are at work there.
    async fn postpone(&self, actor: &Actor, rows: Vec<LeaseRow>, why: Option<&str>) -> Result<()> {
        let mut txn = self.txn(actor.clone());
        let now = txn.now();
        let count = rows.len();
        for row in rows {
            let expect = Expect::Revision(row.revision);
            let row = match why {
                Some(why) => self.failed(row, now, why),
                None => LeaseRow { next_attempt: Some(after(now, BUSY)), ..row },
            };
            txn.op(Op::PutLease(row, expect));
        }
        txn.audit("lease.postpone", "leases", json!({ "count": count, "away": why.is_some() }));
        match txn.commit().await {
            // Somebody did something with one of them; they all come again.
            Ok(_) | Err(SecretsError::Raced) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn away_error(why: &str) -> SecretsError {
    SecretsError::invalid(format!("{}; it is tried again", why.trim_end_matches("; it is tried again")))
}
