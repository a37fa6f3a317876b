//! Slows guessing down: after several failures a name, or the address that guesses, is locked for a while.
//!
//! Counts are kept in the memory of each node, in tables of a fixed size; the failures themselves are in
//! the audit log. Nothing that is counted is forgotten before its time, however many others come: where a
//! part of a table is full, further ones share one count there, and are locked together rather than not at
//! all.

use crate::{Call, Core, Result};
use credentialflow_vault::seal::throttle::group;
use hashbrown::HashMap;
use serde_json::json;
use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

/// Failures until a name is locked.
const MOST: u32 = 5;
/// Failures until a source address is locked, whatever names it tried; of IPv6 a /64 is one source.
const MOST_OF_SOURCE: u32 = 100;
/// How long a lock lasts, and how long a failure counts, seconds.
const PERIOD: i64 = 15 * 60;
/// Failures are counted together for so long, seconds: each counts up to that much longer.
const STEP: i64 = 3 * 60;
const STEPS: usize = 6;
/// Failed AppRole logins of one source that are written down within [`PERIOD`]; more are only counted.
const TOLD: u32 = 1000;
/// Parts of a table, and the names each remembers by themselves.
const BUCKETS: u64 = 8192;
const SLOTS: usize = 8;

/// What somebody tries to get in by.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Proof {
    /// Guessable: locked by name and by source.
    Password,
    /// Not guessable: locked by name and source together, so that nobody can lock out a machine whose
    /// role id is known, and machines that share an address are not locked out by one with an old secret.
    SecretId,
}

/// One try: a proof for a name below a mount, from a source.
pub(crate) struct Attempt {
    proof: Proof,
    name: String,
    source: String,
}

impl Attempt {
    pub(crate) fn new(proof: Proof, call: &Call<'_>, name: &str) -> Self {
        Self { proof, name: format!("{}\0{name}", call.mount.id), source: source(call.source) }
    }
}

fn source(address: Option<IpAddr>) -> String {
    address.map(|ip| group(ip).to_string()).unwrap_or_default()
}

/// Failures by name, by source, and by both.
#[derive(Default)]
pub(crate) struct Guard {
    names: Table,
    sources: Table,
    pairs: Table,
    /// Failures that were written down, by source.
    told: Table,
}

/// Failures after one more.
struct Count {
    failures: u32,
    locked: bool,
    /// Whether it is to be written down.
    told: bool,
}

impl Guard {
    /// Whether this try is not looked at.
    pub(crate) fn is_locked(&self, attempt: &Attempt, now: i64) -> bool {
        let Attempt { proof, name, source } = attempt;
        match proof {
            Proof::Password => {
                self.names.failures(name, name, now) >= MOST
                    || self.sources.failures(source, source, now) >= MOST_OF_SOURCE
            }
            Proof::SecretId => self.pairs.failures(source, name, now) >= MOST,
        }
    }

    /// Forgets the failures of a name, after a success. Those of its source stay: whoever knows one
    /// password must not guess at others by it.
    pub(crate) fn forget(&self, attempt: &Attempt) {
        match attempt.proof {
            Proof::Password => self.names.forget(&attempt.name, &attempt.name),
            Proof::SecretId => self.pairs.forget(&attempt.source, &attempt.name),
        }
    }

    fn fail(&self, attempt: &Attempt, now: i64) -> Count {
        let Attempt { proof, name, source } = attempt;
        match proof {
            Proof::Password => {
                let failures = self.names.count(name, name, now);
                let of_source = self.sources.count(source, source, now);
                let locked = failures >= MOST || of_source >= MOST_OF_SOURCE;
                Count { failures, locked, told: failures <= MOST && of_source <= MOST_OF_SOURCE }
            }
            Proof::SecretId => {
                // All of a source lie in one bucket: a flood of role ids locks its own source.
                let failures = self.pairs.count(source, name, now);
                let told = failures <= MOST && self.told.count(source, source, now) <= TOLD;
                Count { failures, locked: failures >= MOST, told }
            }
        }
    }
}

/// Failures of those who failed lately. What `place` names decides where in the table something lies.
#[derive(Default)]
struct Table {
    /// With keys of its own: nobody can choose names that fall together.
    keys: RandomState,
    buckets: Mutex<HashMap<u64, Bucket>>,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    slots: [Slot; SLOTS],
    /// Of all that found no slot.
    others: Failures,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    tag: u64,
    failures: Failures,
}

/// Failures of the last [`PERIOD`], in steps.
#[derive(Clone, Copy, Default)]
struct Failures {
    /// By the step they fell into, the step of the last one first.
    counts: [u16; STEPS],
    last: i64,
}

impl Failures {
    /// How many counted at the last one; from [`PERIOD`] after it none.
    fn now(self, now: i64) -> u32 {
        if now < self.last.saturating_add(PERIOD) { self.counts.iter().copied().map(u32::from).sum() } else { 0 }
    }

    /// With one more, and without those that are too old.
    fn and_one(self, now: i64) -> Self {
        let mut next = if self.now(now) == 0 { Self { last: now, ..Self::default() } } else { self };
        let steps = now.div_euclid(STEP) - next.last.div_euclid(STEP);
        let steps = usize::try_from(steps.max(0)).unwrap_or(STEPS).min(STEPS);
        next.counts.rotate_right(steps);
        next.counts[..steps].fill(0);
        next.counts[0] = next.counts[0].saturating_add(1);
        next.last = next.last.max(now);
        next
    }
}

impl Table {
    fn find(&self, place: &str, who: &str) -> (u64, u64) {
        (self.keys.hash_one(place) % BUCKETS, self.keys.hash_one((place, who)))
    }

    fn failures(&self, place: &str, who: &str, now: i64) -> u32 {
        let (at, tag) = self.find(place, who);
        let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bucket) = buckets.get(&at) else { return 0 };
        let own = bucket.slots.iter().find(|slot| slot.tag == tag && slot.failures.now(now) > 0);
        own.map_or(bucket.others, |slot| slot.failures).now(now)
    }

    /// One more; answers how many there are.
    fn count(&self, place: &str, who: &str, now: i64) -> u32 {
        let (at, tag) = self.find(place, who);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let Bucket { slots, others } = buckets.entry(at).or_default();
        let known = slots.iter().position(|slot| slot.tag == tag && slot.failures.now(now) > 0);
        // Whoever gets a slot late may have failed before without one.
        let free = || slots.iter().position(|slot| slot.failures.now(now) == 0);
        let before = known.map_or(*others, |own| slots[own].failures);
        let failures = match known.or(known.is_none().then(free).flatten()) {
            Some(at) => {
                slots[at].tag = tag;
                &mut slots[at].failures
            }
            None => others,
        };
        *failures = before.and_one(now);
        failures.now(now)
    }

    fn forget(&self, place: &str, who: &str) {
        let (at, tag) = self.find(place, who);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get_mut(&at) {
            bucket.slots.iter_mut().filter(|slot| slot.tag == tag).for_each(|slot| *slot = Slot::default());
        }
    }
}

impl Core {
    /// Counts a failed login and writes it down.
    pub(crate) async fn refuse(&self, call: &Call<'_>, attempt: &Attempt, name: &str) -> Result<()> {
        let count = self.guard.fail(attempt, self.secs());
        if !count.told {
            return Ok(());
        }
        let mut unit = call.unit();
        let name: String = name.chars().take(128).collect();
        let detail = json!({ "name": name, "failures": count.failures, "locked": count.locked });
        unit.audit("auth.refuse", call.full_path(), detail);
        self.submit(unit).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(proof: Proof, name: &str, source: &str) -> Attempt {
        Attempt { proof, name: name.to_owned(), source: source.to_owned() }
    }

    fn fail(guard: &Guard, attempt: &Attempt, times: u32, now: i64) {
        for _ in 0..times {
            guard.fail(attempt, now);
        }
    }

    fn slots(table: &Table) -> usize {
        table.buckets.lock().unwrap_or_else(PoisonError::into_inner).len() * SLOTS
    }

    #[test]
    fn a_name_is_locked_for_a_while_wherever_the_guesses_come_from() {
        let guard = Guard::default();
        let bob = |from: u32| attempt(Proof::Password, "bob", &from.to_string());
        for i in 1..=MOST {
            assert!(!guard.is_locked(&bob(0), 100));
            assert_eq!(guard.fail(&bob(i), 100).failures, i);
        }
        assert!(guard.is_locked(&bob(99), 100) && !guard.is_locked(&attempt(Proof::Password, "eve", "1"), 100));
        assert!(guard.is_locked(&bob(0), 100 + PERIOD - 1) && !guard.is_locked(&bob(0), 100 + PERIOD));
        assert_eq!(guard.fail(&bob(0), 100 + PERIOD).failures, 1);
        guard.forget(&bob(0));
        assert_eq!(guard.fail(&bob(0), 100 + PERIOD).failures, 1);
    }

    #[test]
    fn a_source_is_locked_whatever_names_it_tries_and_a_success_does_not_free_it() {
        let guard = Guard::default();
        for i in 0..MOST_OF_SOURCE {
            let tried = attempt(Proof::Password, &format!("user{i}"), "192.0.2.1");
            assert!(!guard.is_locked(&tried, 100), "{i}");
            guard.fail(&tried, 100);
            guard.forget(&attempt(Proof::Password, "own", "192.0.2.1"));
        }
        assert!(guard.is_locked(&attempt(Proof::Password, "bob", "192.0.2.1"), 100));
        assert!(!guard.is_locked(&attempt(Proof::Password, "bob", "192.0.2.2"), 100));
        assert!(!guard.is_locked(&attempt(Proof::SecretId, "role", "192.0.2.1"), 100));
        assert!(!guard.is_locked(&attempt(Proof::Password, "bob", "192.0.2.1"), 100 + PERIOD));
        let ip = |text: &str| source(text.parse().ok());
        assert_eq!(ip("2001:db8::1"), ip("2001:db8::ffff:1"), "one network of one customer");
        assert_ne!(ip("2001:db8::1"), ip("2001:db8:0:1::1"));
        assert_eq!(ip("::ffff:192.0.2.1"), ip("192.0.2.1"));
    }

    #[test]
    fn failures_that_are_long_ago_do_not_add_up() {
        let guard = Guard::default();
        // An office behind one address, where somebody mistypes every minute and a half, for a week.
        for i in 0..6720i64 {
            let tried = attempt(Proof::Password, &format!("user{}", i % 500), "192.0.2.1");
            assert!(!guard.is_locked(&tried, i * 90), "{i}");
            guard.fail(&tried, i * 90);
        }
        // One name, again and again just within the period.
        let bob = attempt(Proof::Password, "bob", "192.0.2.7");
        for i in 0..100 {
            assert!(guard.fail(&bob, 1000 + i * (PERIOD - 1)).failures <= 2, "{i}");
        }
        // Each counts for the whole period, wherever in it it fell.
        for start in 0..2 * STEP {
            let eve = attempt(Proof::Password, &format!("eve{start}"), "192.0.2.8");
            fail(&guard, &eve, MOST - 1, 1_000_000 + start);
            assert!(guard.fail(&eve, 1_000_000 + start + PERIOD - 1).failures == MOST, "{start}");
        }
    }

    #[test]
    fn no_flood_frees_a_lock_or_forgets_a_failure_and_memory_has_an_end() {
        let guard = Guard::default();
        let (locked, near) = (attempt(Proof::Password, "bob", "a"), attempt(Proof::Password, "eve", "a"));
        fail(&guard, &locked, MOST, 100);
        fail(&guard, &near, MOST - 1, 100);
        // Names beyond all places, each locked as well.
        for i in 0..3 * BUCKETS * SLOTS as u64 {
            let other = attempt(Proof::Password, &format!("x{i}"), &format!("s{i}"));
            guard.fail(&other, 200);
        }
        assert!(slots(&guard.names) <= BUCKETS as usize * SLOTS && slots(&guard.sources) <= BUCKETS as usize * SLOTS);
        assert!(guard.is_locked(&locked, 100 + PERIOD - 1), "the lock stays");
        assert_eq!(guard.fail(&near, 201).failures, MOST, "and so does every failure");
        // Who finds no place is locked with the others of its part of the table, and not left alone.
        let late = attempt(Proof::Password, "late", "late");
        fail(&guard, &late, MOST, 202);
        assert!(guard.is_locked(&late, 202));
        assert!(!guard.is_locked(&late, 202 + PERIOD));
    }

    #[test]
    fn a_flood_of_role_ids_locks_its_own_source_and_no_other() {
        let guard = Guard::default();
        for i in 0..100_000 {
            guard.fail(&attempt(Proof::SecretId, &format!("x{i}"), "192.0.2.1"), 100);
        }
        assert!(guard.is_locked(&attempt(Proof::SecretId, "new", "192.0.2.1"), 100));
        assert_eq!(slots(&guard.pairs), SLOTS);
        let free =
            (0..50u8).filter(|n| !guard.is_locked(&attempt(Proof::SecretId, "new", &format!("10.0.0.{n}")), 100));
        assert!(free.count() >= 48, "others fall into the same part of the table by rare chance");
    }
}
