//! What callers use of their policies, gathered while they are answered and written down now and then.
//!
//! A request costs one look into a map. What is gathered is bounded: where the database cannot be written for long, what
//! does not fit is left out, and that is written down too, so that nobody takes it for not used.

use credentialflow_identity::{
    Authenticated,
    acl::{Capabilities, Capability},
};
use credentialflow_model::Timestamp;
use credentialflow_store::{RuleUse, Store, StoreError};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Rules of all holders that are gathered at most; some 200 bytes each.
const MOST: usize = 50_000;

#[derive(Default)]
pub(crate) struct RuleUses(Mutex<Gathered>);

/// What one holder used each rule for, and when last (seconds).
type Rules = HashMap<Box<str>, (Capabilities, i64)>;

#[derive(Default)]
struct Gathered {
    holders: HashMap<Box<str>, Rules>,
    rules: usize,
    left_out: Option<i64>,
    /// Whether it is written down that uses are kept.
    begun: bool,
}

impl RuleUses {
    /// A rule of the caller's policies let it do something, at a moment in seconds.
    pub(crate) fn note(&self, caller: &Authenticated, rule: &str, used: Capability, sudo: bool, now: i64) {
        let holder = caller.holder();
        if holder.is_empty() {
            return;
        }
        let mut capabilities: Capabilities = [used].into_iter().collect();
        if sudo {
            capabilities.add(Capability::Sudo);
        }
        self.lock().add(holder, rule, capabilities, now);
    }

    /// Writes down what was gathered, the first time also that it is gathered. Where that fails it is gathered on.
    pub(crate) async fn write(&self, store: &Store) -> Result<(), StoreError> {
        let gathered = {
            let mut now = self.lock();
            if now.begun && now.rules == 0 && now.left_out.is_none() {
                return Ok(());
            }
            std::mem::replace(&mut *now, Gathered { begun: true, ..Gathered::default() })
        };
        let mut uses = Vec::with_capacity(gathered.rules);
        for (holder, rules) in &gathered.holders {
            for (rule, (used, time)) in rules {
                uses.push(RuleUse {
                    holder: holder.to_string(),
                    rule: rule.to_string(),
                    used: used.bits().into(),
                    last_time: Timestamp::from_secs(*time),
                });
            }
        }
        let done = store.record_rule_uses(&uses, gathered.left_out.map(Timestamp::from_secs)).await;
        if done.is_err() {
            let mut now = self.lock();
            now.begun = gathered.begun;
            now.left_out = now.left_out.max(gathered.left_out);
            for used in uses {
                let capabilities = Capabilities::from_bits(used.used);
                now.add(&used.holder, &used.rule, capabilities, used.last_time.secs());
            }
        }
        done
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gathered {
    fn add(&mut self, holder: &str, rule: &str, used: Capabilities, now: i64) {
        let full = self.rules >= MOST;
        if let Some(known) = self.holders.get_mut(holder).and_then(|rules| rules.get_mut(rule)) {
            *known = (known.0.merged(used), known.1.max(now));
        } else if full {
            self.left_out = self.left_out.max(Some(now));
        } else {
            self.holders.entry(holder.into()).or_default().insert(rule.into(), (used, now));
            self.rules += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_told_as_left_out() {
        let read: Capabilities = [Capability::Read].into_iter().collect();
        let list: Capabilities = [Capability::List].into_iter().collect();
        let mut gathered = Gathered::default();
        for n in 0..MOST {
            gathered.add("a", &n.to_string(), read, 5);
        }
        gathered.add("a", "7", list, 4);
        assert_eq!((gathered.rules, gathered.left_out), (MOST, None));
        assert_eq!(gathered.holders["a"]["7"], (read.merged(list), 5));
        gathered.add("b", "0", read, 9);
        gathered.add("b", "0", read, 8);
        assert_eq!((gathered.rules, gathered.left_out), (MOST, Some(9)));
    }
}
