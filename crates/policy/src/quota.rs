//! How much of models something may use in some time, and how many requests it may have at once.
//!
//! When: to keep one caller from using up what a provider gives to all, and to stay below what a provider takes.
//!
//! Settings: `limit` of keys, applications, their end users, teams, models, targets and pooled credentials (`tokens`, `concurrent`, `per`;
//! `requests` of keys and applications is [`crate::rate_limit`]'s).
//!
//! ```yaml
//! applications:
//!   - { name: checkout, limit: { requests: 600, tokens: 200000, per: 1m, concurrent: 20 } }
//! ```
//!
//! Posture: what a call will use is known only when it is over. So before it, what its input is guessed to be is taken and
//! what answers of late were long; after it the difference to what its provider counted, which may leave a debt that later
//! calls wait for. Requests at once are counted exactly. Counts are shared by all workers of one process, are not shared
//! between processes and start afresh at a restart or when the limit's numbers change.

mod users;

use crate::{CompiledLimit, LimitState, Refusal};
use credentialflow_model::{OutcomeReason, resource::Limit};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

pub use users::UserQuotas;

/// The most that a debt is, in times the limit: so long nothing is let in after it, in times its `per`.
const MOST_DEBT: u64 = 100;

/// What is limited, as callers are told, and its parts as the `RateLimit` fields name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// As in `application`.
    pub what: &'static str,
    /// As in `application-tokens`.
    pub tokens: &'static str,
    /// As in `application-requests`.
    pub requests: &'static str,
}

impl Owner {
    /// An end user of an application.
    pub const USER: Self = Self { what: "user", tokens: "user-tokens", requests: "user" };
    /// A key.
    pub const KEY: Self = Self { what: "key", tokens: "key-tokens", requests: "key" };
    /// An application.
    pub const APPLICATION: Self = Self { what: "application", tokens: "application-tokens", requests: "application" };
    /// A team.
    pub const TEAM: Self = Self { what: "team", tokens: "team-tokens", requests: "team" };
    /// A model.
    pub const MODEL: Self = Self { what: "model", tokens: "model-tokens", requests: "model" };
    /// A target of a model, or one of its credentials.
    pub const PROVIDER: Self = Self { what: "provider", tokens: "provider-tokens", requests: "provider" };
}

/// One time that only what is counted moves: how far ahead of now is how much of the limit is used.
#[derive(Debug)]
struct Counter {
    limit: CompiledLimit,
    time: AtomicU64,
}

impl Counter {
    fn of((most, per): (u32, credentialflow_model::Period)) -> Self {
        Self { limit: CompiledLimit::new(most, per.as_duration()), time: AtomicU64::new(0) }
    }

    fn state(&self, policy: &'static str, ahead: u64) -> LimitState {
        let decision = self.limit.allowed(ahead);
        LimitState {
            policy,
            limit: self.limit.requests(),
            remaining: decision.remaining,
            reset_secs: decision.reset_after.as_millis().div_ceil(1000) as u64,
            window_secs: self.limit.window().as_millis().div_ceil(1000) as u64,
        }
    }

    fn ahead(&self, now: u64) -> u64 {
        self.time.load(Relaxed).saturating_sub(now)
    }

    /// Whether there are so many.
    fn has(&self, n: u64, now: u64) -> bool {
        let capacity = self.limit.capacity_ns();
        self.ahead(now).saturating_add(self.limit.cost_ns(n).min(capacity)) <= capacity
    }

    /// Takes so many, or says how long it takes until there are so many. More than the limit are as many as it.
    fn take(&self, n: u64, now: u64) -> Result<(), Duration> {
        let capacity = self.limit.capacity_ns();
        let cost = self.limit.cost_ns(n).min(capacity);
        let next = |time: u64| Some(time.max(now).saturating_add(cost)).filter(|next| next - now <= capacity);
        match self.time.fetch_update(Relaxed, Relaxed, next) {
            Ok(_) => Ok(()),
            Err(time) => {
                let wait = time.max(now).saturating_add(cost).saturating_sub(now).saturating_sub(capacity);
                Err(Duration::from_nanos(wait))
            }
        }
    }

    /// Counts the difference between what was taken at a time and what was used.
    fn settle(&self, (taken, at): (u64, u64), used: u64, now: u64) {
        let capacity = self.limit.capacity_ns();
        let taken_ns = self.limit.cost_ns(taken).min(capacity);
        let used_ns = self.limit.cost_ns(used);
        let _ = self.time.fetch_update(Relaxed, Relaxed, |time| {
            Some(match used_ns.checked_sub(taken_ns) {
                // A provider that counts wrong closes nothing for good.
                Some(more) => {
                    time.max(now).saturating_add(more).min(time.max(now.saturating_add(capacity * MOST_DEBT)))
                }
                // What has come back by itself meanwhile is not given back again.
                None => time.saturating_sub((taken_ns - used_ns).saturating_sub(now.saturating_sub(at))),
            })
        });
    }
}

/// What something may use, and what it has used. Shared by all workers, and by snapshots whose limits are the same.
#[derive(Debug)]
pub struct LiveQuota {
    owner: Owner,
    requests: Option<Counter>,
    tokens: Option<Counter>,
    concurrent: Option<u32>,
    running: AtomicU32,
    /// Tokens of an answer, as those of late were.
    usual: AtomicU64,
}

/// What a call used in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Used {
    /// So many tokens, as its provider counted.
    Tokens {
        /// Read, cached ones included.
        input: u64,
        /// Written.
        output: u64,
    },
    /// So many tokens at least, as far as could be seen of what its provider did not count to the end.
    AtLeast {
        /// Read.
        input: u64,
        /// Written.
        output: u64,
    },
    /// No tokens: it was answered with an error.
    Nothing,
    /// Nothing: it was not sent.
    Unsent,
    /// Nobody knows; what was taken stays.
    Unknown,
}

/// A part of a quota that a request holds while it runs.
#[derive(Debug)]
pub struct Taken {
    quota: Arc<LiveQuota>,
    /// Tokens that were taken beforehand, and whether a request was.
    tokens: Option<u64>,
    request: bool,
    /// When.
    at: u64,
}

impl LiveQuota {
    fn new(owner: Owner, limit: &Limit, requests: bool) -> Self {
        Self {
            owner,
            requests: limit.requests().filter(|_| requests).map(Counter::of),
            tokens: limit.tokens().map(Counter::of),
            concurrent: limit.concurrent,
            running: AtomicU32::new(0),
            usual: AtomicU64::new(0),
        }
    }

    /// Whether it limits requests at once.
    pub const fn limits_running(&self) -> bool {
        self.concurrent.is_some()
    }

    /// Whether it limits anything that only model calls use.
    pub const fn limits_calls(&self) -> bool {
        self.tokens.is_some() || self.requests.is_some()
    }

    /// Whether a call with so many tokens of input would most likely be let in at this moment. `now_ns` as for [`crate::RateTable::check`].
    pub fn has_room(&self, input: u64, now_ns: u64) -> bool {
        let free = |counter: &Option<Counter>, n: u64| counter.as_ref().is_none_or(|counter| counter.has(n, now_ns));
        self.concurrent.is_none_or(|most| self.running.load(Relaxed) < most)
            && free(&self.requests, 1)
            && free(&self.tokens, self.expected(input))
    }

    /// How much of its limits of requests and tokens is used, of the fuller one: 0 where all of both is there.
    fn used(&self, now_ns: u64) -> u64 {
        let part = |counter: &Counter| {
            // Of a million: nothing of a month that is used is nothing.
            let used = u128::from(counter.ahead(now_ns)) * 1_000_000;
            u64::try_from(used.div_ceil(u128::from(counter.limit.capacity_ns().max(1)))).unwrap_or(u64::MAX)
        };
        self.requests.iter().chain(&self.tokens).map(part).max().unwrap_or(0)
    }

    /// What a call with so many tokens of input is expected to use.
    fn expected(&self, input: u64) -> u64 {
        input.saturating_add(self.usual.load(Relaxed)).max(1)
    }

    /// Lets a request in among those that run at once.
    ///
    /// # Errors
    /// As many run as may.
    pub fn enter(self: &Arc<Self>) -> Result<Taken, Refusal> {
        let most = self.concurrent.unwrap_or(u32::MAX);
        let entered = self.running.fetch_update(Relaxed, Relaxed, |running| (running < most).then_some(running + 1));
        match entered {
            Ok(_) => Ok(Taken { quota: self.clone(), tokens: None, request: false, at: 0 }),
            Err(_) => {
                let retry_after = Some(Duration::from_secs(1));
                Err(Refusal { reason: OutcomeReason::RateLimited, retry_after, limit: None })
            }
        }
    }

    /// Whose it is.
    pub const fn owner(&self) -> Owner {
        self.owner
    }

    /// How its limits of requests and tokens stand.
    pub fn states(&self, now_ns: u64) -> impl Iterator<Item = LimitState> {
        let of = move |(counter, name): (&Option<Counter>, &'static str)| {
            counter.as_ref().map(|counter| counter.state(name, counter.ahead(now_ns)))
        };
        [(&self.requests, self.owner.requests), (&self.tokens, self.owner.tokens)].into_iter().filter_map(of)
    }
}

impl Taken {
    /// Takes what a model call with so many tokens of input is expected to use; `None`: of tokens nothing.
    ///
    /// # Errors
    /// There is not as much left. Nothing is taken then.
    pub fn call(&mut self, input: Option<u64>, now_ns: u64) -> Result<(), Refusal> {
        let LiveQuota { owner, requests, tokens, .. } = &*self.quota;
        let refused = |counter: &Counter, name: &'static str, wait: Duration| Refusal {
            reason: OutcomeReason::RateLimited,
            retry_after: Some(wait),
            limit: Some(LimitState { remaining: 0, ..counter.state(name, counter.ahead(now_ns)) }),
        };
        if let Some(counter) = requests {
            counter.take(1, now_ns).map_err(|wait| refused(counter, owner.requests, wait))?;
        }
        if let (Some(counter), Some(input)) = (tokens, input) {
            let expected = self.quota.expected(input);
            if let Err(wait) = counter.take(expected, now_ns) {
                requests.iter().for_each(|counter| counter.settle((1, now_ns), 0, now_ns));
                return Err(refused(counter, owner.tokens, wait));
            }
            self.tokens = Some(expected);
        }
        (self.request, self.at) = (requests.is_some(), now_ns);
        Ok(())
    }

    /// Whether it took tokens.
    pub const fn counts_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// Whose part it is.
    pub fn quota(&self) -> &LiveQuota {
        &self.quota
    }

    /// The call is over.
    pub fn settle(self, used: Used, now_ns: u64) {
        let LiveQuota { requests, tokens, usual, .. } = &*self.quota;
        if let (Some(counter), true, Used::Unsent) = (requests, self.request, used) {
            counter.settle((1, self.at), 0, now_ns);
        }
        let (Some(counter), Some(taken)) = (tokens, self.tokens) else { return };
        let (all, wrote) = match used {
            Used::Unknown => return,
            Used::Nothing | Used::Unsent => (0, None),
            Used::Tokens { input, output } => (input.saturating_add(output), Some(output)),
            Used::AtLeast { input, output } => (input.saturating_add(output).max(taken), Some(output)),
        };
        counter.settle((taken, self.at), all, now_ns);
        if let Some(output) = wrote {
            // An eighth of the difference: the last two dozen calls tell.
            let drawn = |usual: u64| match used {
                // As long as it was at least.
                Used::AtLeast { .. } if output <= usual => None,
                _ => Some(usual - usual.div_ceil(8) + output / 8),
            };
            let _ = usual.fetch_update(Relaxed, Relaxed, drawn);
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.quota.running.fetch_sub(1, Relaxed);
    }
}

/// The quotas of this process. One for all snapshots, so that a new configuration forgets no count.
#[derive(Debug, Default)]
pub struct Quotas {
    all: Mutex<HashMap<Id, Weak<LiveQuota>>>,
    of_users: Mutex<HashMap<Id, Weak<UserQuotas>>>,
}

/// Whose, and how much.
type Id = (Owner, Box<str>, [Option<u32>; 3], u64);

impl Quotas {
    /// The quota of something as it is configured now; `None` where it limits nothing that is counted here. `requests`:
    /// whether those are counted here.
    pub fn live(&self, owner: Owner, name: &str, limit: Option<&Limit>, requests: bool) -> Option<Arc<LiveQuota>> {
        let limit = limit?;
        let id = id(owner, name, limit, requests)?;
        Some(shared(&self.all, id, || LiveQuota::new(owner, limit, requests)))
    }

    /// The quotas of an application's end users as they are configured now; `None` where nothing is limited.
    pub fn of_users(&self, application: &str, limit: Option<&Limit>) -> Option<Arc<UserQuotas>> {
        let limit = limit?;
        let id = id(Owner::USER, application, limit, true)?;
        Some(shared(&self.of_users, id, || UserQuotas::new(limit)))
    }
}

/// What tells a quota from others; `None` where it limits nothing that is counted here.
fn id(owner: Owner, name: &str, limit: &Limit, requests: bool) -> Option<Id> {
    let counted = limit.requests.filter(|_| requests);
    counted.or(limit.tokens).or(limit.concurrent)?;
    let numbers = [counted, limit.tokens, limit.concurrent];
    Some((owner, Box::from(name), numbers, limit.per.map_or(0, |per| per.as_millis())))
}

/// The one that somebody has, or a new one.
fn shared<T>(all: &Mutex<HashMap<Id, Weak<T>>>, id: Id, new: impl FnOnce() -> T) -> Arc<T> {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = all.get(&id).and_then(Weak::upgrade) {
        return known;
    }
    if all.len() == all.capacity() {
        all.retain(|_, one| one.strong_count() > 0);
    }
    let one = Arc::new(new());
    all.insert(id, Arc::downgrade(&one));
    one
}

#[cfg(test)]
mod tests;
