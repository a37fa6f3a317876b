//! The group committer: units that wait at the same moment become one transaction.
//!
//! Whoever finds no committer at work starts one; it takes what waits, commits, answers, and ends when
//! nothing waits any more. While a commit is on its way to the disk the next units gather, so the
//! busier it is the more share a commit. A caller that leaves does not stop its unit.

use super::apply::{check, touched_since};
use super::cache::{Cached, Mark};
use super::company::Company;
use super::{Op, Unit};
use crate::{Expect, Result, Store, StoreError, WriteTx};
use credentialflow_model::Actor;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};

/// Units in one transaction: bounds how long one waits for the others.
const MOST: usize = 256;
/// Units that may wait; more are refused, so that a flood does not become memory.
const WAITING: usize = 20_000;

/// How often at most others are let go first before a commit begins.
const ROUNDS: usize = 8;
/// How long at most a commit waits for those that it expects.
const PATIENCE: Duration = Duration::from_millis(1);

type Answer = oneshot::Sender<Result<i64>>;

/// What waits, and what this node's cache has followed.
#[derive(Default)]
pub(crate) struct Group {
    state: Mutex<State>,
    /// Told when as many wait as are waited for.
    gathered: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Unit, Answer)>,
    running: bool,
    company: Company,
    /// How many a commit waits for at this moment; 0 while none does.
    awaited: usize,
    /// The newest commit whose touched rows the cache has forgotten; `None`: nothing is known yet.
    followed: Option<i64>,
}

impl Group {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the next unit start a committer, also when this one panicked.
struct Running(Store);

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut state = self.0.group().state();
            state.running = false;
            state.waiting.clear();
        }
    }
}

impl Store {
    /// Does a unit, together with others that wait at this moment. Answers the revision its rows have
    /// now, durable. `Conflict`: nothing was done because an expectation did not hold or a row it had
    /// read was replaced; read again, then decide. After `Unavailable` it is unknown whether it was kept.
    pub async fn submit(&self, unit: Unit) -> Result<i64> {
        if unit.events.is_empty() {
            return Err(StoreError::NotAudited);
        }
        let (answer, answered) = oneshot::channel();
        let start = {
            let mut state = self.group().state();
            if state.waiting.len() >= WAITING {
                return Err(StoreError::Unavailable("too many writes are waiting".into()));
            }
            state.waiting.push_back((unit, answer));
            if state.waiting.len() == state.awaited {
                self.group().gathered.notify_one();
            }
            !std::mem::replace(&mut state.running, true)
        };
        if start {
            tokio::spawn(run(self.clone()));
        }
        answered.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the write was interrupted".into())))
    }
}

async fn run(store: Store) {
    let running = Running(store.clone());
    loop {
        gather(&store).await;
        let batch: Vec<(Unit, Answer)> = {
            let mut state = store.group().state();
            if state.waiting.is_empty() {
                state.running = false;
                break;
            }
            let count = state.waiting.len().min(MOST);
            state.waiting.drain(..count).collect()
        };
        let (units, answers): (Vec<Unit>, Vec<Answer>) = batch.into_iter().unzip();
        let count = units.len();
        let results = if units.len() == 1 {
            vec![one(&store, &units).await]
        } else {
            match commit(&store, &units).await {
                Ok(results) => results,
                Err(error) if error.is_transient() => units.iter().map(|_| Err(error.clone())).collect(),
                // One of them is not acceptable to the database: the others must not suffer for it.
                Err(_) => {
                    let mut results = Vec::with_capacity(units.len());
                    for unit in &units {
                        results.push(one(&store, std::slice::from_ref(unit)).await);
                    }
                    results
                }
            }
        };
        {
            let mut state = store.group().state();
            let waiting = state.waiting.len();
            state.company.committed(count, waiting, Instant::now());
        }
        for (answer, result) in answers.into_iter().zip(results) {
            let _ = answer.send(result);
        }
    }
    drop(running);
}

/// Lets everybody who is ready to run go first: whoever has a unit to submit then shares this commit instead of
/// waiting for the next, and costs nothing where nobody is. Waits a little for those who came back lately.
async fn gather(store: &Store) {
    let mut before = 0;
    for _ in 0..ROUNDS {
        let waiting = store.group().state().waiting.len();
        if waiting == before || waiting >= MOST {
            break;
        }
        before = waiting;
        tokio::task::yield_now().await;
    }
    {
        let mut state = store.group().state();
        let expected = state.company.expected(Instant::now()).min(MOST);
        // Where nothing waits, the committer ends and the next unit starts another.
        if state.waiting.is_empty() || state.waiting.len() >= expected {
            return;
        }
        state.awaited = expected;
    }
    let came = tokio::time::timeout(PATIENCE, store.group().gathered.notified()).await.is_ok();
    let mut state = store.group().state();
    state.awaited = 0;
    state.company.waited(came);
}

async fn one(store: &Store, unit: &[Unit]) -> Result<i64> {
    commit(store, unit).await?.pop().unwrap_or(Err(StoreError::NotAudited))
}

async fn commit(store: &Store, units: &[Unit]) -> Result<Vec<Result<i64>>> {
    // Marked before the transaction begins: what another writer of this process changes after it must
    // not be overwritten in the cache.
    let marks: HashMap<String, Mark> = units
        .iter()
        .flat_map(|u| &u.ops)
        .filter_map(Op::touches)
        .map(|key| {
            let mark = store.cache().mark(&key);
            (key, mark)
        })
        .collect();
    let mut tx = store.begin(&Actor::system("group")).await?;
    let foreign = follow(store, &mut tx).await?;
    let revisions = tx.revisions(units.iter().flat_map(|u| &u.ops)).await?;
    let mut done: Vec<Result<i64>> = Vec::with_capacity(units.len());
    // With whether the row is there afterwards.
    let mut touched: HashMap<String, bool> = HashMap::new();
    let mut ops: Vec<Op> = Vec::new();
    let mut emptied: Vec<String> = Vec::new();
    for unit in units {
        let verdict = foreign.check(unit).and_then(|()| fits(unit, &revisions, &touched, &emptied));
        if verdict.is_ok() {
            for event in &unit.events {
                tx.audit_as(&unit.actor, &event.action, &event.subject, event.detail.clone());
            }
            for op in &unit.ops {
                match op {
                    Op::DeleteEntries { space, prefix } => emptied.push(super::entry_key(space, prefix)),
                    _ => touched.extend(op.touches().map(|key| (key, op.leaves_row()))),
                }
                ops.push(op.clone());
            }
        }
        done.push(verdict.map(|()| 0));
    }
    if done.iter().all(Result::is_err) {
        return Ok(done);
    }
    let written: Vec<(String, Option<Cached>)> =
        ops.iter().filter_map(|op| Some((op.touches()?, cached(op)))).collect();
    tx.perform(ops).await?;
    let revision = tx.commit_group().await?;
    if emptied.is_empty() {
        // The last operation on a row is how it is now.
        let last: HashMap<String, Option<Cached>> = written.into_iter().collect();
        store.cache().replace(last.into_iter().filter_map(|(key, value)| {
            let mark = *marks.get(&key)?;
            Some((key, value.map(|v| v.at(revision)), mark))
        }));
    } else {
        store.cache().clear();
    }
    store.group().state().followed = Some(revision);
    Ok(done.into_iter().map(|r| r.map(|_| revision)).collect())
}

/// What the cache holds of a row after an operation; its revision is not known yet.
fn cached(op: &Op) -> Option<Cached> {
    match op {
        Op::PutEntry { sealed, .. } => Some(Cached::Entry(Arc::from(sealed.as_slice()), 0)),
        Op::PutToken(row, _) => Some(Cached::Token(Arc::new(row.clone()))),
        _ => None,
    }
}

impl Cached {
    fn at(self, revision: i64) -> Self {
        match self {
            Self::Nothing => Self::Nothing,
            Self::Entry(sealed, _) => Self::Entry(sealed, revision),
            Self::Token(mut row) => {
                Arc::make_mut(&mut row).revision = revision;
                Self::Token(row)
            }
        }
    }
}

/// Whether a unit's expectations hold after those done before it in the same transaction.
fn fits(
    unit: &Unit,
    revisions: &HashMap<String, i64>,
    touched: &HashMap<String, bool>,
    emptied: &[String],
) -> Result<()> {
    for (key, expect) in unit.ops.iter().filter_map(Op::expectation) {
        if expect == Expect::Anything {
            continue;
        }
        let emptied = emptied.iter().any(|prefix| key.starts_with(prefix.as_str()));
        match touched.get(&key) {
            Some(true) if expect == Expect::Present && !emptied => continue,
            None if !emptied => {}
            _ => return Err(StoreError::Conflict("it was changed meanwhile".into())),
        }
        check(revisions.get(&key).copied(), expect)?;
    }
    Ok(())
}

/// What other writers touched since this node last looked.
enum Foreign {
    Nothing,
    Keys(HashSet<String>),
    /// Unknown: anything may have changed.
    Anything,
}

impl Foreign {
    fn check(&self, unit: &Unit) -> Result<()> {
        let hit = match self {
            Self::Nothing => false,
            Self::Keys(keys) => unit.reads.iter().any(|key| keys.contains(key)),
            Self::Anything => !unit.reads.is_empty(),
        };
        if hit { Err(StoreError::Conflict("what was read was changed meanwhile".into())) } else { Ok(()) }
    }
}

/// Forgets what other writers touched. The writers' lock is held, so nothing more is added meanwhile.
async fn follow(store: &Store, tx: &mut WriteTx) -> Result<Foreign> {
    let newest = tx.entry_seq();
    let followed = store.group().state().followed;
    if followed == Some(newest) {
        return Ok(Foreign::Nothing);
    }
    let keys = match followed {
        Some(seq) if seq < newest => touched_since(tx.connection(), seq, newest).await?,
        _ => None,
    };
    let foreign = match keys {
        Some(keys) => {
            keys.iter().for_each(|key| store.cache().remove(key));
            Foreign::Keys(keys.into_iter().collect())
        }
        None => {
            store.cache().clear();
            Foreign::Anything
        }
    };
    store.group().state().followed = Some(newest);
    Ok(foreign)
}
