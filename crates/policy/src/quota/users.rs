//! What each end user of an application may use. Users are whom callers name, so there is an end to how many are counted.

use super::{LiveQuota, Owner};
use crate::budget::MOST_OF_USERS;
use credentialflow_model::resource::Limit;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

/// How many are looked at when another one comes, the longest known first: more than one can be forgotten for each that
/// comes, so that those who are idle do not stay.
const LOOKS: usize = 8;

/// The quotas of the end users of an application. Shared by all workers, and by snapshots whose limits are the same.
///
/// Forgotten is who has nothing running and was met by no worker for a minute or two: first of all whoever used nothing that
/// is still counted, at which nothing is lost. Where there is no room, that is of a few the one who used the least. Who may
/// not call at this moment is never forgotten.
#[derive(Debug)]
pub struct UserQuotas {
    limit: Limit,
    most: usize,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_name: HashMap<Arc<str>, Arc<LiveQuota>>,
    /// The same, who is looked at next at the front.
    order: VecDeque<Arc<str>>,
}

impl UserQuotas {
    pub(super) fn new(limit: &Limit) -> Self {
        Self { limit: *limit, most: MOST_OF_USERS, known: Mutex::default() }
    }

    /// The quota of an end user; `None` where there is no room for another one. Takes a lock: whoever asks keeps the answer.
    /// `now_ns` as for [`crate::RateTable::check`].
    pub fn of(&self, user: &Arc<str>, now_ns: u64) -> Option<Arc<LiveQuota>> {
        let known = &mut *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(quota) = known.by_name.get(user) {
            return Some(quota.clone());
        }
        known.make_room(self.most, now_ns);
        if known.by_name.len() >= self.most {
            return None;
        }
        let quota = Arc::new(LiveQuota::new(Owner::USER, &self.limit, true));
        known.by_name.insert(user.clone(), quota.clone());
        known.order.push_back(user.clone());
        Some(quota)
    }
}

impl Known {
    /// Forgets whom it may of the next few.
    fn make_room(&mut self, most: usize, now_ns: u64) {
        let mut least: Option<(u64, Arc<str>)> = None;
        for _ in 0..LOOKS.min(self.order.len()) {
            let Some(user) = self.order.pop_front() else { return };
            let Some(quota) = self.by_name.get(&user) else { continue };
            // Nobody else gets hold of it meanwhile: it is had from here alone.
            let is_free = Arc::strong_count(quota) == 1;
            let used = quota.used(now_ns);
            if is_free && used == 0 {
                self.by_name.remove(&user);
                continue;
            }
            if is_free && quota.has_room(0, now_ns) && least.as_ref().is_none_or(|(before, _)| used < *before) {
                least = Some((used, user.clone()));
            }
            self.order.push_back(user);
        }
        if let Some((_, user)) = least.filter(|_| self.by_name.len() >= most) {
            self.by_name.remove(&user);
            // It was looked at just now.
            let behind = self.order.len().saturating_sub(LOOKS);
            if let Some(at) = self.order.iter().skip(behind).position(|other| *other == user) {
                self.order.remove(behind + at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::quota::{Quotas, Used};

    const SECOND: u64 = 1_000_000_000;

    fn quotas(limit: serde_json::Value, most: usize) -> UserQuotas {
        UserQuotas { most, ..UserQuotas::new(&serde_json::from_value(limit).unwrap()) }
    }

    fn name(n: usize) -> Arc<str> {
        n.to_string().into()
    }

    /// Makes so many calls at once.
    fn call(quotas: &UserQuotas, user: usize, times: usize, now: u64) -> bool {
        let quota = quotas.of(&name(user), now).unwrap();
        (0..times).all(|_| {
            let mut taken = quota.enter().unwrap();
            let passes = taken.call(Some(1), now).is_ok();
            taken.settle(Used::Unknown, now);
            passes
        })
    }

    fn len(quotas: &UserQuotas) -> usize {
        let known = quotas.known.lock().unwrap();
        assert_eq!(known.by_name.len(), known.order.len());
        assert!(known.order.iter().all(|user| known.by_name.contains_key(user)));
        known.by_name.len()
    }

    #[test]
    fn each_user_has_its_own_and_one_for_all_workers() {
        let quotas = quotas(serde_json::json!({ "requests": 2, "per": "1m" }), 9);
        assert!(call(&quotas, 1, 2, SECOND));
        assert!(!call(&quotas, 1, 1, SECOND) && call(&quotas, 2, 1, SECOND));
        assert!(Arc::ptr_eq(&quotas.of(&name(1), 0).unwrap(), &quotas.of(&name(1), 0).unwrap()));
        assert_eq!(quotas.of(&name(1), 0).unwrap().owner(), Owner::USER);
    }

    #[test]
    fn who_used_nothing_is_forgotten_and_who_did_is_not() {
        let quotas = quotas(serde_json::json!({ "requests": 2, "per": "1m" }), 1000);
        assert!(call(&quotas, 0, 2, SECOND));
        let held = quotas.of(&name(1), SECOND).unwrap();
        for user in 2..500 {
            assert!(quotas.of(&name(user), SECOND).is_some());
        }
        assert!(len(&quotas) <= 2 * LOOKS, "{}", len(&quotas));
        assert!(!call(&quotas, 0, 1, SECOND), "what it used is still known");
        assert!(Arc::ptr_eq(&held, &quotas.of(&name(1), SECOND).unwrap()), "a worker has it");
        // It has everything again.
        (500..520).for_each(|user| drop(quotas.of(&name(user), 100 * SECOND)));
        assert!(!quotas.known.lock().unwrap().by_name.contains_key("0"));
    }

    #[test]
    fn where_there_is_no_room_who_used_the_least_makes_it_and_nobody_who_has_to_wait() {
        let quotas = quotas(serde_json::json!({ "requests": 4, "per": "1h" }), 4);
        for (user, times) in [(0, 4), (1, 2), (2, 1), (3, 3)] {
            assert!(call(&quotas, user, times, SECOND));
        }
        assert!(call(&quotas, 4, 4, SECOND));
        assert!(!quotas.known.lock().unwrap().by_name.contains_key("2"));
        assert!(call(&quotas, 5, 4, SECOND) && call(&quotas, 6, 4, SECOND));
        assert_eq!(len(&quotas), 4);
        for user in [0, 4, 5, 6] {
            assert!(!call(&quotas, user, 1, SECOND), "{user}");
        }
        assert!(quotas.of(&name(7), SECOND).is_none(), "all have to wait");
        // One call of each is free again.
        let later = 3600 / 4 * SECOND + 2 * SECOND;
        assert!(quotas.of(&name(7), later).is_some());
    }

    #[test]
    fn requests_that_run_are_counted_by_user() {
        let quotas = quotas(serde_json::json!({ "concurrent": 1 }), 2);
        let one = quotas.of(&name(1), 0).unwrap().enter().unwrap();
        assert!(quotas.of(&name(1), 0).unwrap().enter().is_err());
        let two = quotas.of(&name(2), 0).unwrap().enter().unwrap();
        assert!(quotas.of(&name(3), 0).is_none(), "both run");
        drop(one);
        assert!(quotas.of(&name(3), 0).is_some());
        drop(two);
    }

    #[test]
    fn a_configuration_that_changes_nothing_of_it_forgets_no_count() {
        let all = Quotas::default();
        let limit =
            |requests: u32| serde_json::from_value(serde_json::json!({ "requests": requests, "per": "1m" })).unwrap();
        let of = |application: &str, requests: u32| all.of_users(application, Some(&limit(requests))).unwrap();
        let before = of("checkout", 2);
        assert!(Arc::ptr_eq(&before, &of("checkout", 2)));
        assert!(!Arc::ptr_eq(&before, &of("checkout", 3)) && !Arc::ptr_eq(&before, &of("search", 2)));
        assert!(all.of_users("checkout", None).is_none());
    }
}
