//! What this node's model calls cost, on its way from its call log to the sums that all nodes share.
//!
//! The call log is read piece by piece beside everything else, and a piece is added in one transaction with how far the
//! log is read. So a process that is killed loses nothing: the next one on its data directory goes on where the sums end.

use credentialflow_admin::ports::{BoxFuture, SpendLog};
use credentialflow_model::{Period, Timestamp};
use credentialflow_store::{SpendRow, Store, StoreError};
use credentialflow_telemetry::{CallLogError, SpendPiece, SpendSeries, SpendSums, Telemetry, calllog::QUARTER};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::sync::Mutex;

/// Between two looks at the call log.
const EVERY: Duration = Duration::from_secs(5);
/// Between two pieces of a long log, so that others get their turn at the database.
const BETWEEN: Duration = Duration::from_millis(20);
/// So long it is kept what was spent.
pub(super) const KEPT: Period = Period::from_secs(400 * 86_400);

/// Users are whom callers name: of those of one application so many stand in the sums of a quarter of an hour as
/// themselves, and the others together.
const USERS: usize = 1_000;
/// What the others are called.
const OTHERS: &str = "(others)";
/// Calls end so long after they began, nearly all.
const LATE: i64 = 4 * QUARTER;

/// Adds what this node's call log tells.
pub(super) struct SpendWriter {
    store: Store,
    telemetry: Telemetry,
    /// What people call this node.
    node: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    places: HashMap<String, Place>,
    /// Segments that are read to their ends and get no more rows.
    done: HashSet<String>,
    /// How many model calls there were when all of them had been added.
    added: Option<u64>,
    /// Whether all segments are to be looked at again.
    again: bool,
    users: Users,
}

/// Whose sums there are, by quarter of an hour and application.
#[derive(Default)]
struct Users {
    known: BTreeMap<i64, HashMap<Arc<str>, HashSet<u64>>>,
    hashes: RandomState,
}

impl Users {
    /// The same sums, those of users beyond [`USERS`] added up as of [`OTHERS`].
    fn bounded(&mut self, sums: Sums) -> Sums {
        let mut bounded = Sums::new();
        for ((quarter, mut series), more) in sums {
            if let (Some(user), Some(application)) = (&series.user, &series.application) {
                let known = self.known.entry(quarter).or_default().entry(application.clone()).or_default();
                let user = self.hashes.hash_one(user);
                if known.len() < USERS {
                    known.insert(user);
                } else if !known.contains(&user) {
                    series.user = Some(OTHERS.into());
                }
            }
            bounded.entry((quarter, series)).or_default().add(&more);
        }
        if let Some(newest) = self.known.keys().next_back().copied() {
            self.known = self.known.split_off(&(newest - LATE));
        }
        bounded
    }
}

type Sums = BTreeMap<(i64, SpendSeries), SpendSums>;

/// How far a segment is read, and up to where it is stored that it is.
#[derive(Clone, Copy, Default)]
struct Place {
    read: i64,
    stored: i64,
}

#[derive(Debug, thiserror::Error)]
enum SpendError {
    #[error("{0}")]
    Log(#[from] CallLogError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("reading the call log was not finished")]
    Unfinished(#[from] tokio::task::JoinError),
}

impl SpendWriter {
    pub fn new(store: Store, telemetry: Telemetry, node: String) -> Arc<Self> {
        Arc::new(Self { store, telemetry, node, state: Mutex::default() })
    }

    /// Adds again and again.
    pub async fn run(self: Arc<Self>) {
        let mut interval = tokio::time::interval(EVERY);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.add().await;
        }
    }

    /// Adds what the call log tells; where that fails it is told, and tried again with the next.
    pub async fn add(&self) {
        match self.catch_up_with_log().await {
            Ok(()) => {}
            Err(SpendError::Store(error)) if error.is_transient() => {
                tracing::debug!(%error, "what calls cost waits for the database")
            }
            Err(error) => tracing::warn!(%error, "what calls cost could not be added up; it is tried again"),
        }
    }

    async fn catch_up_with_log(&self) -> Result<(), SpendError> {
        let mut state = self.state.lock().await;
        // Taken before the log is read: what is written meanwhile is read with the next look.
        let calls = self.telemetry.model_calls();
        if state.added == Some(calls) {
            return Ok(());
        }
        let log = self.telemetry.calls().clone();
        let names = tokio::task::spawn_blocking(move || log.segment_names()).await??;
        state.forget_but(&names);
        let first = first_day();
        let names: Vec<_> =
            names.into_iter().filter(|name| name.get(..8) >= Some(&*first) && !state.done.contains(name)).collect();
        let unknown: Vec<_> = names.iter().filter(|name| !state.places.contains_key(*name)).cloned().collect();
        if !unknown.is_empty() {
            let stored = self.store.spend_read(&unknown).await?;
            for name in unknown {
                let stored = stored.get(&name).copied().unwrap_or(0);
                state.places.insert(name, Place { read: stored, stored });
            }
        }
        for name in names {
            self.add_segment(&mut state, &name).await?;
        }
        state.added = (!std::mem::take(&mut state.again)).then_some(calls);
        Ok(())
    }

    async fn add_segment(&self, state: &mut State, name: &str) -> Result<(), SpendError> {
        loop {
            let place = state.places.get(name).copied().unwrap_or_default();
            let (log, segment) = (self.telemetry.calls().clone(), name.to_owned());
            let read = tokio::task::spawn_blocking(move || log.spend_above(&segment, place.read)).await??;
            let Some(piece) = read else { return Ok(()) };
            let SpendPiece { last, more, sealed, .. } = piece;
            let complete = sealed && !more;
            // Where there is nothing to add it is not stored how far a log is read, unless it never has to be read again.
            let keep = !piece.sums.is_empty() || (complete && last > place.stored);
            let mut at = Place { read: last, ..place };
            if keep {
                let rows: Vec<_> = state.users.bounded(piece.sums).into_iter().map(row).collect();
                match self.store.add_spend(&self.node, (name, place.stored, last), &rows).await {
                    Ok(()) => at.stored = last,
                    // Another process on this data directory was first.
                    Err(StoreError::Conflict(_)) => {
                        let stored = self.store.spend_read(&[name.to_owned()]).await?;
                        let stored = stored.get(name).copied().unwrap_or(0);
                        state.places.insert(name.to_owned(), Place { read: stored, stored });
                        // Or the database was restored from a backup, and knows less of the other segments as well.
                        state.done.clear();
                        state.again = true;
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            state.places.insert(name.to_owned(), at);
            if complete {
                state.places.remove(name);
                state.done.insert(name.to_owned());
            }
            if !more {
                return Ok(());
            }
            tokio::time::sleep(BETWEEN).await;
        }
    }
}

impl State {
    /// Forgets segments that are gone.
    fn forget_but(&mut self, names: &[String]) {
        let there: HashSet<&String> = names.iter().collect();
        self.places.retain(|name, _| there.contains(name));
        self.done.retain(|name| there.contains(name));
    }
}

impl fmt::Debug for SpendWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpendWriter").field("node", &self.node).finish_non_exhaustive()
    }
}

impl SpendLog for SpendWriter {
    fn node(&self) -> &str {
        &self.node
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { self.catch_up_with_log().await.map_err(|error| error.to_string()) })
    }
}

/// The first day of which anything is kept, as segments name it.
fn first_day() -> String {
    let now = Timestamp::from(SystemTime::now()).micros();
    let kept = i64::try_from(KEPT.as_duration().as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.saturating_sub(kept)).to_string().chars().take(10).filter(|c| *c != '-').collect()
}

fn row(((quarter, series), sums): ((i64, SpendSeries), SpendSums)) -> (Timestamp, SpendRow) {
    let SpendSeries { application, key, user, model, provider, provider_model, credential, route, prompt, outcome } =
        series;
    let (prompt, version) = prompt.as_deref().and_then(|told| told.rsplit_once('/')).unwrap_or_default();
    let text = |name: Option<Arc<str>>| name.map(|name| plain(&name)).unwrap_or_default();
    let names = vec![
        text(application),
        key.map(|key| key.to_string()).unwrap_or_default(),
        text(user),
        plain(&model),
        plain(&provider),
        plain(&provider_model),
        text(credential),
        text(route),
        plain(prompt),
        plain(version),
        outcome.to_owned(),
    ];
    let SpendSums { cost, saved, .. } = sums;
    let counts = sums.counts();
    (Timestamp::from_secs(quarter), SpendRow { names, counts, cost, saved })
}

/// No database takes a text with a zero.
fn plain(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(quarter: i64, application: &str, users: std::ops::Range<usize>) -> Sums {
        let series = |n: usize| SpendSeries {
            application: Some(application.into()),
            user: Some(format!("user {n}").into()),
            ..SpendSeries::default()
        };
        let one = SpendSums { calls: 1, cost: 3, ..SpendSums::default() };
        users.map(|n| ((quarter, series(n)), one)).collect()
    }

    fn others(sums: &Sums) -> Option<(i64, i128)> {
        let others = sums.iter().find(|((_, series), _)| series.user.as_deref() == Some(OTHERS))?;
        Some((others.1.calls, others.1.cost))
    }

    #[test]
    fn made_up_users_are_bounded_and_nothing_is_lost() {
        let mut users = Users::default();
        let first = users.bounded(sums(0, "shop", 0..USERS - 1));
        assert_eq!((first.len(), others(&first)), (USERS - 1, None));
        // The next pieces of the same quarter: who is known stays, one more is, the others are added up.
        let next = users.bounded(sums(0, "shop", USERS - 9..USERS + 40));
        assert_eq!((next.len(), others(&next)), (8 + 1 + 1, Some((40, 120))));
        let next = users.bounded(sums(0, "shop", 0..2 * USERS));
        assert_eq!((next.len(), others(&next)), (USERS + 1, Some((USERS as i64, 3 * USERS as i128))));
        // Others are not concerned, nor is the next quarter.
        assert_eq!(others(&users.bounded(sums(0, "desk", 0..USERS))), None);
        assert_eq!(others(&users.bounded(sums(QUARTER, "shop", USERS..2 * USERS))), None);
        // Nobody is known for ever.
        users.bounded(sums(LATE + 2 * QUARTER, "shop", 0..1));
        assert_eq!(users.known.len(), 1);
        let nobody = BTreeMap::from([((0, SpendSeries::default()), SpendSums::default())]);
        assert_eq!(users.bounded(nobody.clone()), nobody);
    }
}
