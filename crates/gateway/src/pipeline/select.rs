//! Which of a model's targets, and with which of its credentials: the lowest priority first, by weight among equals,
//! and what cools down last of all.

use crate::{
    snapshot::models::{ModelPlan, TargetPlan},
    worker::View,
};
use std::time::Instant;

/// Marks a place in a set of up to 64; there are no others to choose.
pub(super) const fn bit(place: u32) -> u64 {
    if place < u64::BITS { 1 << place } else { 0 }
}

/// The target of the `turn`-th call, among those that are not in `tried` and are admitted. Those that cool down are left
/// out; a call of which nothing was sent yet (`first`) goes to the one whose failure is longest ago where all do, as its
/// answer may be another.
pub(super) fn target(
    view: &View,
    plan: &ModelPlan,
    turn: u32,
    (tried, first): (u64, bool),
    admits: impl Fn(&TargetPlan) -> bool,
) -> Option<u32> {
    let free = |i: u32, target: &TargetPlan| tried & bit(i) == 0 && admits(target);
    if !plan.has_choice() {
        return plan.targets.first().filter(|target| free(0, target)).map(|_| 0);
    }
    let now = Instant::now();
    let open = |i: u32, target: &TargetPlan| i < u64::BITS && free(i, target) && is_open(view, target, now);
    let found = plan.pick(turn, open);
    if found.is_some() || !first {
        return found;
    }
    let all = (0u32..).zip(&plan.targets).filter(|(i, target)| free(*i, target));
    all.min_by_key(|(_, target)| view.coolings[target.cooling as usize].failed_at()).map(|(i, _)| i)
}

/// Whether neither the target nor all of its credentials cool down.
fn is_open(view: &View, target: &TargetPlan, now: Instant) -> bool {
    let open = |at: u32| view.coolings[at as usize].is_open(now);
    open(target.cooling) && (target.keys.is_empty() || (0u32..).zip(&target.keys).any(|(i, _)| open(target.of_key(i))))
}

/// The credential for the next call to a target, among those that are not in `tried`; 0 where it names none. As for
/// targets, those that cool down are left out unless nothing was sent yet.
pub(super) fn key(view: &View, target: &TargetPlan, (tried, first): (u64, bool)) -> Option<u32> {
    if target.keys.len() < 2 {
        return (tried & bit(0) == 0).then_some(0);
    }
    let now = Instant::now();
    let cooling = |i: u32| &view.coolings[target.of_key(i) as usize];
    let free = || (0u32..u64::BITS).zip(&target.keys).filter(|(i, _)| tried & bit(*i) == 0);
    let open = || free().filter(|(i, _)| cooling(*i).is_open(now));
    let total: u32 = open().map(|(_, key)| key.weight).sum();
    if total == 0 {
        let longest_ago = free().min_by_key(|(i, _)| cooling(*i).failed_at());
        return longest_ago.filter(|_| first).map(|(i, _)| i);
    }
    let mut at = view.coolings[target.cooling as usize].next_turn() % total;
    for (i, key) in open() {
        if at < key.weight {
            return Some(i);
        }
        at -= key.weight;
    }
    None
}

/// A call goes there now: what was left alone until now is tried with this one.
pub(super) fn used(view: &View, target: &TargetPlan, key: u32) {
    let (now, probe) =
        (Instant::now(), view.snapshot.upstreams[target.upstream as usize].health.cooldown.as_duration());
    view.coolings[target.cooling as usize].used(now, probe);
    if !target.keys.is_empty() {
        view.coolings[target.of_key(key) as usize].used(now, probe);
    }
}
