//! Many leases at once: by the databases they are at. One that does not answer is asked once in a while
//! by one lease; the others of that database wait without holding up any other database: what is due is looked for
//! place by place, and not at all where work is under way or nobody answered lately.

use super::withdraw::Failure;
use super::{CLAIM, HIDDEN, Leases, after};
use crate::{Result, SecretsError};
use credentialflow_model::{Actor, Timestamp};
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
/// Once one place is done, how long it waits for the next one.
const GRACE: Duration = Duration::from_millis(200);
/// Leases of one place looked at in one go, however many places there are.
const LEAST: u32 = 8;
/// How long a database that did not answer is not asked again.
const AWAY: Duration = Duration::from_secs(10);
/// When leases are looked at again whose database is being worked at, or did not answer, seconds.
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
    /// Where nothing is begun now, as [`word`]s.
    fn shut(&self) -> HashSet<String> {
        let mut shut: HashSet<String> = lock(&self.busy).iter().map(word).collect();
        let mut away = lock(&self.away);
        away.retain(|_, (since, _)| since.elapsed() < AWAY);
        shut.extend(away.keys().map(word));
        shut
    }

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

/// What a place is called where its leases are stored: it tells nothing about it.
pub(super) fn word((space, database): &Place) -> String {
    let mut text = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in [space, database] {
        text.update(&(part.len() as u64).to_be_bytes());
        text.update(part.as_bytes());
    }
    text.finish().as_ref()[..16].iter().map(|b| format!("{b:02x}")).collect()
}

fn is_certificates((space, database): &Place) -> bool {
    !space.is_empty() && database.is_empty()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place where work is under way, until this is dropped, however the work ends.
struct WorkedAt {
    leases: Arc<Leases>,
    place: Place,
}

impl Drop for WorkedAt {
    fn drop(&mut self) {
        lock(&self.leases.places.busy).remove(&self.place);
    }
}

/// What withdrawing logins came to.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) done: usize,
    pub(super) failed: Option<SecretsError>,
}

impl Leases {
    /// Does what is due: withdraws logins whose time is over, and those that could not be withdrawn
    /// before; changes passwords of static roles. Tells how many were begun, about `most`; those of a database that is
    /// being worked at are not looked at. To be called every second, and for a while again
    /// where it begins many. A database that is slow is not waited for while others are quick.
    pub async fn work(self: &Arc<Self>, most: u32) -> Result<usize> {
        let actor = Actor::system("leases");
        let now = self.store.now();
        let mut places = self.store.lease_places_due(now).await?;
        let shut = self.places.shut();
        places.retain(|place| !shut.contains(place));
        let each = u32::try_from(places.len()).map_or(0, |many| most / many.max(1)).max(LEAST.min(most));
        let mut due = Vec::new();
        for place in &places {
            due.extend(self.store.leases_due(place, now, each).await?);
        }
        let mut found = due.len();
        let (rotations, due): (Vec<_>, Vec<_>) = due.into_iter().partition(|row| row.id.starts_with(HIDDEN));
        // What fails here must cut off nothing that is under way.
        let mut failed = None;
        let mut running = JoinSet::new();
        for (place, rows) in self.by_place(due)? {
            let held = lock(&self.places.busy).insert(place.clone());
            if !held {
                // Leases of before, whose place is not written down.
                found -= rows.len();
                failed = self.postpone(&actor, rows).await.err().or(failed);
                continue;
            }
            let worked_at = WorkedAt { leases: self.clone(), place };
            let actor = actor.clone();
            running.spawn(async move {
                let WorkedAt { leases, place } = &worked_at;
                let tally = leases.withdraw_all(&actor, place, rows).await;
                if let Some(error) = tally.failed {
                    tracing::warn!(database = %place.1, %error, "logins could not be withdrawn; it is tried again");
                }
            });
        }
        let rotations = self.claim_rotations(&actor, rotations).await.unwrap_or_else(|error| {
            failed = Some(error);
            Vec::new()
        });
        for row in rotations {
            let (leases, actor) = (self.clone(), actor.clone());
            running.spawn(async move {
                let Ok(_permit) = leases.places.rotations.clone().acquire_owned().await else { return };
                if let Err(error) = leases.rotate_due(&actor, row).await {
                    tracing::warn!(%error, "a static role could not be looked at; it is tried again");
                }
            });
        }
        let last = tokio::time::Instant::now() + PATIENCE;
        let mut until = last;
        while let Ok(Some(_)) = tokio::time::timeout_at(until, running.join_next()).await {
            until = last.min(tokio::time::Instant::now() + GRACE);
        }
        running.detach_all();
        failed.map_or(Ok(found), Err)
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
                Ok(body) => places.entry(body.at()).or_default().push(row),
                Err(SecretsError::Sealed) => return Err(SecretsError::Sealed),
                Err(_) => places.entry((String::new(), String::new())).or_default().push(row),
            }
        }
        Ok(places)
    }

    /// Withdraws the logins of leases at one database. Where nobody answers, the first one finds out
    /// and the others are put off as they are: they have not failed.
    pub(super) async fn withdraw_all(self: &Arc<Self>, actor: &Actor, place: &Place, rows: Vec<LeaseRow>) -> Tally {
        let mut tally = Tally::default();
        if let Some(why) = self.places.away(place) {
            tally.failed = Some(away_error(&why));
            if let Err(error) = self.postpone(actor, rows).await {
                tally.failed = Some(error);
            }
            return tally;
        }
        if is_certificates(place) {
            return self.withdraw_certificates(actor, rows).await;
        }
        let mut rows = rows.into_iter();
        let mut claimed = Vec::new().into_iter();
        let mut running: JoinSet<Result<(), Failure>> = JoinSet::new();
        // One alone first: the others need not wait for a silence that it has heard already.
        let (mut width, mut answers, mut away) = (1, false, None);
        loop {
            while away.is_none() && running.len() < width {
                if claimed.len() == 0 && rows.len() > 0 {
                    let next: Vec<LeaseRow> = rows.by_ref().take(if answers { usize::MAX } else { 1 }).collect();
                    match self.claim_many(actor, next).await {
                        Ok(rows) => claimed = rows.into_iter(),
                        Err(error) => {
                            tally.failed = Some(error);
                            rows = Vec::new().into_iter();
                        }
                    }
                    continue;
                }
                let Some(row) = claimed.next() else { break };
                let (leases, actor) = (self.clone(), actor.clone());
                running.spawn(async move { leases.withdraw(&actor, row).await });
            }
            let Some(ended) = running.join_next().await else { break };
            match ended {
                Ok(Ok(())) => {
                    tally.done += 1;
                    width = AT_ONCE;
                    answers = true;
                }
                Ok(Err(failure)) => {
                    if failure.away {
                        let why = failure.error.to_string();
                        self.places.gone(place, &why);
                        away = Some(why);
                    }
                    answers = !failure.away;
                    tally.failed = Some(failure.error);
                }
                Err(error) => tally.failed = Some(SecretsError::Internal(Box::new(error))),
            }
        }
        let left: Vec<LeaseRow> = claimed.chain(rows).collect();
        if !left.is_empty()
            && let Err(error) = self.postpone(actor, left).await
        {
            tally.failed = Some(error);
        }
        tally
    }

    async fn withdraw_certificates(&self, actor: &Actor, rows: Vec<LeaseRow>) -> Tally {
        let rows = match self.claim_many(actor, rows).await {
            Ok(rows) => rows,
            Err(error) => return Tally { done: 0, failed: Some(error) },
        };
        let Err(error) = self.end_certificates(actor, &rows).await else {
            return Tally { done: rows.len(), failed: None };
        };
        let why = error.to_string();
        let written = self.put_off(actor, rows, |row, now| self.failed(row, now, &why)).await;
        Tally { done: 0, failed: Some(written.err().unwrap_or(error)) }
    }

    /// Puts leases off that nobody tried to withdraw.
    async fn postpone(&self, actor: &Actor, rows: Vec<LeaseRow>) -> Result<()> {
        self.put_off(actor, rows, |row, now| LeaseRow { next_attempt: Some(after(now, BUSY)), ..row }).await
    }

    async fn put_off(
        &self,
        actor: &Actor,
        rows: Vec<LeaseRow>,
        changed: impl Fn(LeaseRow, Timestamp) -> LeaseRow,
    ) -> Result<()> {
        let mut txn = self.txn(actor.clone());
        let now = txn.now();
        let count = rows.len();
        for row in rows {
            let expect = Expect::Revision(row.revision);
            txn.op(Op::PutLease(changed(row, now), expect));
        }
        txn.audit("lease.postpone", "leases", json!({ "count": count }));
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
