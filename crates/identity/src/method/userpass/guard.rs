//! Slows guessing down: after several failures a name is locked for a while.
//!
//! Counts are kept in memory of each node and bounded; the failures themselves are in the audit log.

use crate::{Call, Core, Result};
use credentialflow_store::Unit;
use hashbrown::HashMap;
use serde_json::json;
use std::sync::{Mutex, PoisonError};

/// Failures until a name is locked.
const MOST: u32 = 5;
/// How long it is locked, and how long a failure counts, seconds.
const PERIOD: i64 = 15 * 60;
/// Failures of one source that are written down within [`PERIOD`]; more are only counted.
const TOLD: u32 = 1000;
/// Names kept; beyond it those that are not locked are forgotten.
const KEPT: usize = 20_000;

/// Failures by name, and by source.
#[derive(Default)]
pub(crate) struct Guard {
    names: Mutex<HashMap<String, Failures>>,
    sources: Mutex<HashMap<String, Failures>>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: i64,
}

impl Guard {
    /// Whether a name is locked.
    pub(crate) fn is_locked(&self, who: &str, now: i64) -> bool {
        let map = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        map.get(who).is_some_and(|f| f.count >= MOST && now < f.last + PERIOD)
    }

    /// Forgets the failures of a name, after a success.
    pub(crate) fn forget(&self, who: &str) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).remove(who);
    }

    /// Counts a failure of a name; answers how many there are within the period.
    fn fail(&self, who: &str, now: i64) -> u32 {
        count(&mut self.names.lock().unwrap_or_else(PoisonError::into_inner), who, now)
    }

    /// Counts a failure of a source.
    fn fail_source(&self, source: &str, now: i64) -> u32 {
        count(&mut self.sources.lock().unwrap_or_else(PoisonError::into_inner), source, now)
    }
}

fn count(map: &mut HashMap<String, Failures>, who: &str, now: i64) -> u32 {
    if map.len() >= KEPT {
        // Locked names are not pushed out by a flood of others, unless all are locked.
        let locked = |f: &Failures| f.count >= MOST && now < f.last + PERIOD;
        map.retain(|_, f| locked(f));
        if map.len() >= KEPT / 2 {
            map.clear();
        }
    }
    let known = map.entry_ref(who).or_insert(Failures { count: 0, last: now });
    known.count = if now >= known.last + PERIOD { 1 } else { known.count.saturating_add(1) };
    known.last = now;
    known.count
}

impl Core {
    /// Counts a failed login and writes it down.
    pub(crate) async fn refuse(&self, call: &Call<'_>, who: &str, name: &str) -> Result<()> {
        let now = self.secs();
        let count = self.guard.fail(who, now);
        let source = call.source.map(|ip| ip.to_string()).unwrap_or_default();
        if count > MOST || self.guard.fail_source(&source, now) > TOLD {
            return Ok(());
        }
        let mut unit = Unit::new(call.actor());
        let name: String = name.chars().take(128).collect();
        let detail = json!({ "name": name, "failures": count, "locked": count >= MOST });
        unit.audit("auth.refuse", call.full_path(), detail);
        self.submit(unit).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_locked_for_a_while_and_a_flood_of_others_frees_it_not() {
        let guard = Guard::default();
        for i in 1..=MOST {
            assert!(!guard.is_locked("a", 100));
            assert_eq!(guard.fail("a", 100), i);
        }
        assert!(guard.is_locked("a", 100) && !guard.is_locked("b", 100));
        for i in 0..3 * KEPT {
            guard.fail(&format!("x{i}"), 200);
        }
        assert!(guard.names.lock().unwrap().len() <= KEPT + 1);
        assert!(guard.is_locked("a", 100 + PERIOD - 1) && !guard.is_locked("a", 100 + PERIOD));
        assert_eq!(guard.fail("a", 100 + PERIOD), 1);
        guard.forget("a");
        assert!(!guard.is_locked("a", 100));
    }
}
