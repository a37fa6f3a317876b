//! How logins are taken away: one, many, those whose time is over, and again where it failed.
//!
//! Leases are worked on by the database they are at. One that does not answer is asked once in a while
//! by one lease; the others of that database wait without holding up any other database.

use super::{Body, CLAIM, HIDDEN, Leases, PENDING, RACES, STUCK, after, backoff};
use crate::{Result, SecretsError};
use credentialflow_model::{Actor, Timestamp};
use credentialflow_store::{Expect, LeaseRow, LeaseState, Op};
use credentialflow_targets::{Target, TargetError};
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

/// A mount's storage and the name of a database there.
type Place = (String, String);

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
        lock(&self.away).remove(&(space.to_owned(), name.to_owned()));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What withdrawing logins came to.
#[derive(Default)]
struct Tally {
    done: usize,
    failed: Option<SecretsError>,
}

/// A lease whose login could not be withdrawn although it was tried often; a person should look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Its id.
    pub id: String,
    /// Why the last try failed.
    pub error: String,
}

/// Why a login was not withdrawn.
struct Failure {
    /// Whether nobody answered.
    away: bool,
    error: SecretsError,
}

impl Leases {
    /// Withdraws a login. `false`: there is no such lease. When the database cannot be reached the
    /// revocation stands and is tried again; the error tells so.
    pub async fn revoke(&self, actor: &Actor, id: &str) -> Result<bool> {
        if id.starts_with(HIDDEN) {
            return Ok(false);
        }
        for _ in 0..RACES {
            let Some(row) = self.store.lease(id).await? else { return Ok(false) };
            match self.claim(actor, &[row]).await {
                Ok(rows) => {
                    for row in rows {
                        self.withdraw(actor, row).await.map_err(|failure| failure.error)?;
                    }
                    return Ok(true);
                }
                // Its login became ready, or somebody else is at it: what counts is what is there now.
                Err(SecretsError::Raced) => {}
                Err(error) => return Err(error),
            }
        }
        Err(SecretsError::Busy("others were first again and again; try again".into()))
    }

    /// Withdraws every login whose lease's id begins so; tells how many. One that fails does not keep
    /// the others waiting, and is tried again by itself.
    pub async fn revoke_prefix(self: &Arc<Self>, actor: &Actor, prefix: &str) -> Result<usize> {
        let (mut after, mut sum) = (String::new(), Tally::default());
        loop {
            let page = self.store.leases_by_prefix(prefix, &after, 200).await?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.id);
            let mut running = JoinSet::new();
            for (place, rows) in self.by_place(page)? {
                let (leases, actor) = (self.clone(), actor.clone());
                running.spawn(async move { leases.withdraw_all(&actor, &place, rows).await });
            }
            for tally in running.join_all().await {
                sum.done += tally.done;
                sum.failed = tally.failed.or(sum.failed);
            }
            if matches!(sum.failed, Some(SecretsError::Sealed)) {
                break;
            }
        }
        sum.failed.map_or(Ok(sum.done), Err)
    }

    /// Forgets leases without withdrawing their logins, for databases that are gone.
    pub async fn forget(&self, actor: &Actor, prefix: &str) -> Result<usize> {
        let mut done = 0;
        loop {
            let page = self.store.leases_by_prefix(prefix, "", 200).await?;
            if page.is_empty() || prefix.is_empty() {
                return Ok(done);
            }
            let mut txn = self.txn(actor.clone());
            for row in &page {
                txn.op(Op::DeleteLease(row.id.clone(), Expect::Anything));
            }
            txn.audit("lease.forget", &format!("leases/{prefix}"), json!({ "count": page.len() }));
            txn.commit().await?;
            done += page.len();
        }
    }

    /// How many leases of each mount (its path) could not be revoked although it was tried often.
    pub async fn irrevocable_counts(&self) -> Result<BTreeMap<String, u64>> {
        let failing = self.store.leases_failing().await?.into_iter();
        let stuck = failing.filter(|f| f.state == LeaseState::Stuck && !f.mount.starts_with(HIDDEN));
        Ok(stuck.map(|f| (f.mount, f.count)).collect())
    }

    /// The leases that could not be revoked although it was tried often, by id, at most `limit`.
    pub async fn irrevocable(&self, limit: u32) -> Result<Vec<Trouble>> {
        let rows = self.store.leases_stuck("", limit).await?;
        let told = |row: LeaseRow| {
            let body = self.body(&row)?;
            Ok(Trouble { id: row.id, error: body.problem.unwrap_or_default() })
        };
        rows.into_iter().filter(|row| !row.id.starts_with(HIDDEN)).map(told).collect()
    }

    /// Does what is due: withdraws logins whose time is over, and those that could not be withdrawn
    /// before; changes passwords of static roles. Tells how many were looked at. To be called every
    /// second, and again while it finds many. A database that is slow is not waited for.
    pub async fn work(self: &Arc<Self>, most: u32) -> Result<usize> {
        let actor = Actor::system("leases");
        let due = self.store.leases_due(self.store.now(), most).await?;
        let found = due.len();
        let (rotations, due): (Vec<_>, Vec<_>) = due.into_iter().partition(|row| row.id.starts_with(HIDDEN));
        let mut running = Vec::new();
        for (place, rows) in self.by_place(due)? {
            let held = lock(&self.places.busy).insert(place.clone());
            if !held {
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
    fn by_place(&self, rows: Vec<LeaseRow>) -> Result<BTreeMap<Place, Vec<LeaseRow>>> {
        let mut places: BTreeMap<Place, Vec<LeaseRow>> = BTreeMap::new();
        for row in rows {
            if row.id.starts_with(HIDDEN) {
                continue;
            }
            match self.body(&row) {
                Ok(body) => places.entry((body.space, body.database)).or_default().push(row),
                Err(SecretsError::Sealed) => return Err(SecretsError::Sealed),
                Err(_) => places.entry((String::new(), String::new())).or_default().push(row),
            }
        }
        Ok(places)
    }

    /// Withdraws the logins of leases at one database. Where nobody answers, the first one finds out
    /// and the others are put off.
    async fn withdraw_all(self: &Arc<Self>, actor: &Actor, place: &Place, rows: Vec<LeaseRow>) -> Tally {
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

    /// Claims all in one go where nobody is at any of them, else one by one, those that can be had.
    async fn claim_many(&self, actor: &Actor, rows: Vec<LeaseRow>) -> Result<Vec<LeaseRow>> {
        match self.claim(actor, &rows).await {
            Err(SecretsError::Raced) => {}
            done => return done,
        }
        let mut claimed = Vec::new();
        for row in rows {
            for _ in 0..RACES {
                let Some(row) = self.store.lease(&row.id).await? else { break };
                let ended = matches!(row.state, LeaseState::Revoking | LeaseState::Stuck);
                if ended && row.next_attempt.is_some_and(|next| next > self.store.now()) {
                    // Somebody else is at it.
                    break;
                }
                match self.claim(actor, &[row]).await {
                    Ok(row) => {
                        claimed.extend(row);
                        break;
                    }
                    Err(SecretsError::Raced) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(claimed)
    }

    /// Writes down that logins are to be withdrawn, and claims them for a while.
    async fn claim(&self, actor: &Actor, rows: &[LeaseRow]) -> Result<Vec<LeaseRow>> {
        let mut txn = self.txn(actor.clone());
        let next = Some(after(txn.now(), CLAIM));
        let mut claimed = Vec::with_capacity(rows.len());
        for row in rows {
            let state = if row.state == LeaseState::Stuck { LeaseState::Stuck } else { LeaseState::Revoking };
            let row = LeaseRow { state, next_attempt: next, ..row.clone() };
            txn.op(Op::PutLease(row.clone(), Expect::Revision(row.revision)));
            txn.audit("lease.revoke", &format!("leases/{}", row.id), json!({ "attempt": row.attempts + 1 }));
            claimed.push(row);
        }
        let revision = txn.commit().await?;
        Ok(claimed.into_iter().map(|row| LeaseRow { revision, ..row }).collect())
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

    /// A lease after one more failure.
    fn failed(&self, row: LeaseRow, now: Timestamp, why: &str) -> LeaseRow {
        let attempts = row.attempts.saturating_add(1);
        let stuck = attempts >= STUCK || row.state == LeaseState::Stuck;
        let state = if stuck { LeaseState::Stuck } else { LeaseState::Revoking };
        let sealed = self.body(&row).and_then(|body| {
            let body = Body { problem: Some(why.to_owned()), ..body };
            self.sealed(&row.id, &body)
        });
        // Without the reason rather than not at all.
        let sealed = sealed.unwrap_or_else(|_| row.sealed.clone());
        LeaseRow { state, attempts, next_attempt: Some(after(now, backoff(attempts))), sealed, ..row }
    }

    /// Takes a claimed lease's login away.
    async fn withdraw(&self, actor: &Actor, row: LeaseRow) -> Result<(), Failure> {
        let sure = |error| Failure { away: false, error };
        let subject = format!("leases/{}", row.id);
        let body = self.body(&row);
        let mut txn = self.txn(actor.clone());
        let done = match &body {
            Ok(body) => match self.databases.get(&mut txn, &body.space, &body.database).await {
                Ok((_, target)) => withdrawn(&*target, body).await.map_err(|e| Failure {
                    away: e.is_transient(),
                    error: SecretsError::invalid(format!("the database did not withdraw the login: {e}")),
                }),
                Err(none) => Err(Failure { away: none.away, error: none.error }),
            },
            Err(SecretsError::Sealed) => return Err(sure(SecretsError::Sealed)),
            Err(_) => Err(sure(SecretsError::corrupt("lease"))),
        };
        let mut txn = self.txn(actor.clone());
        let expect = Expect::Revision(row.revision);
        match (done, body) {
            (Ok(()), Ok(body)) if !body.made && txn.now() < made_by(&row) => {
                // Somebody may be making it at this moment: looked at again when nobody can be any more.
                let until = made_by(&row);
                txn.op(Op::PutLease(LeaseRow { next_attempt: Some(until), ..row }, expect));
                txn.audit("lease.revoke", &subject, json!({ "again_at": until.to_string() }));
                committed(txn.commit().await).map_err(sure)
            }
            (Ok(()), body) => {
                txn.op(Op::DeleteLease(row.id.clone(), expect));
                let body = body.map_err(sure)?;
                txn.audit("lease.end", &subject, json!({ "role": body.role, "login": body.login.name }));
                committed(txn.commit().await).map_err(sure)
            }
            (Err(failure), _) => {
                let row = self.failed(row, txn.now(), &failure.error.to_string());
                let wait = backoff(row.attempts);
                txn.audit("lease.revoke_failed", &subject, json!({ "attempt": row.attempts, "retry_in": wait }));
                txn.op(Op::PutLease(row, expect));
                committed(txn.commit().await).map_err(sure)?;
                let error = match failure.error {
                    SecretsError::Invalid(why) => SecretsError::invalid(format!("{why}; it is tried again")),
                    other => other,
                };
                Err(Failure { away: failure.away, error })
            }
        }
    }

    /// Takes away what was made, or half made, for a lease that does not come to be. What cannot be done
    /// at once stays written down.
    pub(super) async fn give_up(&self, actor: &Actor, row: &LeaseRow, body: Body, target: &dyn Target) {
        let id = &row.id;
        let gone = withdrawn(target, &body).await;
        let subject = format!("leases/{id}");
        for _ in 0..RACES {
            let done = async {
                let there = self.store.lease(id).await?;
                let mut txn = self.txn(actor.clone());
                let now = txn.now();
                let known = there.as_ref().map_or(Expect::Absent, |row| Expect::Revision(row.revision));
                let revoking = LeaseRow {
                    state: LeaseState::Revoking,
                    sealed: self.sealed(id, &body)?,
                    ..there.as_ref().unwrap_or(row).clone()
                };
                match (&gone, body.made) {
                    (Ok(()), true) if there.is_none() => return Ok(()),
                    (Ok(()), true) => {
                        txn.op(Op::DeleteLease(id.clone(), known));
                        txn.audit("lease.end", &subject, json!({ "role": body.role, "login": body.login.name }));
                    }
                    (Ok(()), false) => {
                        let again = LeaseRow { next_attempt: Some(made_by(row)), ..revoking };
                        txn.op(Op::PutLease(again, known));
                        txn.audit("lease.revoke", &subject, json!({ "again_at": made_by(row).to_string() }));
                    }
                    (Err(why), _) => {
                        let failed = self.failed(revoking, now, &why.to_string());
                        txn.audit("lease.revoke_failed", &subject, json!({ "attempt": failed.attempts }));
                        txn.op(Op::PutLease(failed, known));
                    }
                }
                txn.commit().await.map(drop)
            };
            match done.await {
                Ok(()) => return,
                Err(SecretsError::Raced) => {}
                Err(error) => {
                    // The lease is still written as one that is being made; that time ends.
                    tracing::warn!(lease = %id, %error, "a login that was not handed out is withdrawn later");
                    return;
                }
            }
        }
    }
}

fn away_error(why: &str) -> SecretsError {
    SecretsError::invalid(format!("{}; it is tried again", why.trim_end_matches("; it is tried again")))
}

/// Somebody else who was first has done it, or will.
fn committed(done: Result<i64>) -> Result<()> {
    match done {
        Ok(_) | Err(SecretsError::Raced) => Ok(()),
        Err(error) => Err(error),
    }
}

/// When nobody can be making a lease's login any more.
fn made_by(row: &LeaseRow) -> Timestamp {
    after(row.issued, PENDING)
}

/// Takes a login away. Where its maker did not come back, the id that an API gave it is not known, and
/// it is looked for by its name.
async fn withdrawn(target: &dyn Target, body: &Body) -> Result<(), TargetError> {
    let known = [body.login.clone()];
    if body.made || target.kind() != credentialflow_targets::Kind::Http {
        return target.revoke(&known[0], &body.statements).await.map(drop);
    }
    let found = match target.list(&body.login.name).await {
        Ok(found) => found.into_iter().filter(|login| login.name == body.login.name).collect(),
        // The description has no `list`: the name is all there is to ask for.
        Err(TargetError::BadTemplate(_)) => known.to_vec(),
        Err(error) => return Err(error),
    };
    for login in found {
        target.revoke(&login, &body.statements).await?;
    }
    Ok(())
}
