//! Which of a model's targets, and with which of its credentials: the lowest priority first, of one priority those that are
//! known to be able to do what the call needs, among equals as the model says, those after all others whose provider's budget
//! is used up and says so, and what cools down last of all. What cannot do it is never asked.

use super::wanted::Wanted;
use crate::{
    latency::Pace,
    snapshot::models::{KeyPlan, ModelPlan, TargetPlan},
    worker::View,
};
use credentialflow_llm::{needs::Fit, price::PriceHandle};
use credentialflow_model::{
    Timestamp,
    resource::{RouteBy, budget::pico},
    usage::{Cost, TokenUsage},
};
use std::time::{Duration, Instant};

/// Marks a place in a set of up to 64; there are no others to choose.
pub(crate) const fn bit(place: u32) -> u64 {
    if place < u64::BITS { 1 << place } else { 0 }
}

/// One call in so many goes where others are faster, to see whether they still are.
const EXPLORES: u64 = 20;
/// Who is slower than the fastest by no more than a tenth and this is as fast.
const AS_FAST: Duration = Duration::from_millis(5);

/// The target of a call, among those that are not in `tried` and are admitted. Those that cool down are left out; where all
/// do, a call of which nothing was sent yet goes to the one whose failure is longest ago (`rests`), as its answer may be
/// another, and so does one that everybody else has failed.
pub(super) fn target(
    view: &View,
    plan: &ModelPlan,
    wanted: &Wanted,
    (tried, rests): (u64, bool),
    admits: impl Fn(&TargetPlan) -> bool,
) -> Option<u32> {
    let free = |i: u32, target: &TargetPlan| tried & bit(i) == 0 && wanted.admits(target) && admits(target);
    if !plan.has_choice() {
        return plan.targets.first().filter(|target| free(0, target)).map(|_| 0);
    }
    let now = Instant::now();
    let all = || (0..u64::BITS).zip(&plan.targets).map(|(i, target)| (i, target, wanted.fit(target)));
    let fit = || all().filter(|(i, target, fit)| *fit != Fit::Unfit && free(*i, target));
    let open = fit().filter(|(_, target, _)| is_open(view, target, now, wanted));
    let equals = lowest(open.map(|(i, target, fit)| (i, fit.rank(target.is_used_up(wanted.at), target.priority))));
    if equals == 0 && rests {
        // One that cools down may be well again; of one that takes no more it is known that it does not.
        let has_room = |(_, target, _): &(u32, &TargetPlan, Fit)| wanted.has_room(target.quota.as_ref(), now);
        let any_room = fit().any(|one| has_room(&one));
        let longest_ago = fit()
            .filter(|one| !any_room || has_room(one))
            .min_by_key(|(_, target, _)| view.coolings[target.cooling as usize].failed_at());
        return longest_ago.map(|(i, ..)| i);
    }
    among(view, plan, wanted, equals)
}

/// The one of several targets that takes a call.
fn among(view: &View, plan: &ModelPlan, wanted: &Wanted, equals: u64) -> Option<u32> {
    let explores = plan.route_by == RouteBy::Latency && wanted.roll.is_multiple_of(EXPLORES);
    let left = if explores { equals } else { best(view, plan, wanted, equals) };
    match wanted.sticky {
        Some(value) => steady(value, members(plan, left).map(|(i, target)| (i, target.place, target.weight))),
        None => in_turn(wanted.turn, members(plan, left).map(|(i, target)| (i, target.weight))),
    }
}

/// Those of several targets that the model prefers.
fn best(view: &View, plan: &ModelPlan, wanted: &Wanted, equals: u64) -> u64 {
    match plan.route_by {
        _ if equals.count_ones() < 2 => equals,
        RouteBy::Weight => equals,
        RouteBy::Cost => {
            cheapest(members(plan, equals).map(|(i, target)| (i, &target.price)), wanted.expected.as_ref())
        }
        RouteBy::Latency => {
            let expected = |target: &TargetPlan| pace(view, target, wanted.streams).expected();
            fastest(members(plan, equals).map(|(i, target)| (i, expected(target))))
        }
    }
}

/// How many of a hundred calls begin at each target, of those that are left when nothing but these takes part.
pub(crate) fn shares(view: &View, plan: &ModelPlan, wanted: &Wanted, open: impl Fn(u32) -> bool) -> Vec<f64> {
    let able = |(i, target): &(u32, &TargetPlan)| open(*i) && wanted.admits(target) && wanted.fit(target) != Fit::Unfit;
    let all = (0..u64::BITS).zip(&plan.targets).filter(able);
    let rank = |target: &TargetPlan| wanted.fit(target).rank(target.is_used_up(wanted.at), target.priority);
    let equals = lowest(all.map(|(i, target)| (i, rank(target))));
    let explored = if plan.route_by == RouteBy::Latency { 1.0 / EXPLORES as f64 } else { 0.0 };
    let part = |set: u64, i: u32, target: &TargetPlan| {
        let total: u32 = members(plan, set).map(|(_, target)| target.weight).sum();
        if set & bit(i) == 0 { 0.0 } else { f64::from(target.weight) / f64::from(total.max(1)) }
    };
    let left = best(view, plan, wanted, equals);
    if let Some(value) = wanted.sticky {
        let at = steady(value, members(plan, left).map(|(i, target)| (i, target.place, target.weight)));
        return (0..).zip(&plan.targets).map(|(i, _)| if at == Some(i) { 100.0 } else { 0.0 }).collect();
    }
    let share = |(i, target): (u32, &TargetPlan)| {
        100.0 * ((1.0 - explored) * part(left, i, target) + explored * part(equals, i, target))
    };
    (0..).zip(&plan.targets).map(share).collect()
}

fn members(plan: &ModelPlan, set: u64) -> impl Iterator<Item = (u32, &TargetPlan)> + Clone {
    (0u32..).zip(&plan.targets).filter(move |(i, _)| set & bit(*i) != 0)
}

/// Those with the lowest rank.
fn lowest<T: PartialOrd>(all: impl Iterator<Item = (u32, T)>) -> u64 {
    let mut lowest: Option<T> = None;
    let mut set = 0;
    for (i, rank) in all {
        match &lowest {
            Some(before) if *before < rank => {}
            Some(before) if *before == rank => set |= bit(i),
            _ => {
                set = bit(i);
                lowest = Some(rank);
            }
        }
    }
    set
}

/// Those at which what is expected of a call costs least; those whose price is not known only where none is.
fn cheapest<'p>(all: impl Iterator<Item = (u32, &'p PriceHandle)>, expected: Option<&(Timestamp, TokenUsage)>) -> u64 {
    let cost = |price: &PriceHandle| match expected.map(|(at, usage)| price.cost(*at, usage)) {
        Some(Cost::Known(cost)) => (false, pico(cost)),
        _ => (true, 0),
    };
    lowest(all.map(|(i, price)| (i, cost(price))))
}

/// Those that are as fast as the fastest.
fn fastest(all: impl Iterator<Item = (u32, Duration)> + Clone) -> u64 {
    let Some(best) = all.clone().map(|(_, expected)| expected).min() else { return 0 };
    let as_fast = best.saturating_add(best / 10).saturating_add(AS_FAST);
    // What was never asked is tried before anything else.
    let most = if best.is_zero() { best } else { as_fast };
    all.filter(|(_, expected)| *expected <= most).fold(0, |set, (i, _)| set | bit(i))
}

/// The one whose turn it is, each as often as its weight says.
fn in_turn(turn: u32, all: impl Iterator<Item = (u32, u32)> + Clone) -> Option<u32> {
    let total: u32 = all.clone().map(|(_, weight)| weight).sum();
    let mut at = turn.checked_rem(total)?;
    for (i, weight) in all {
        if at < weight {
            return Some(i);
        }
        at -= weight;
    }
    None
}

/// The one that a value always goes to: weighted rendezvous hashing. Where one is missing only its own values go elsewhere,
/// and come back with it.
fn steady(value: u64, all: impl Iterator<Item = (u32, u64, u32)>) -> Option<u32> {
    let score = |place: u64, weight: u32| {
        let chance = ((mixed(value ^ mixed(place)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        f64::from(weight) / -chance.ln()
    };
    let all = all.map(|(i, place, weight)| (i, score(place, weight)));
    all.max_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(i, _)| i)
}

/// Spreads what differs in few bits over all of them (the last steps of SplitMix64).
const fn mixed(bits: u64) -> u64 {
    let mut z = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Whether neither the target nor all of its credentials cool down, and there is room for another call.
fn is_open(view: &View, target: &TargetPlan, now: Instant, wanted: &Wanted) -> bool {
    let open = |at: u32| view.coolings[at as usize].is_open_to(now, wanted.application.as_ref());
    let mut keys = (0u32..).zip(&target.keys);
    open(target.cooling)
        && wanted.has_room(target.quota.as_ref(), now)
        && (target.keys.is_empty()
            || keys.any(|(i, key)| open(target.of_key(i)) && wanted.has_room(key.quota.as_ref(), now)))
}

/// How soon a target answers.
pub(crate) fn pace<'v>(view: &'v View, target: &TargetPlan, streams: bool) -> &'v Pace {
    view.coolings[target.cooling as usize].latency.of(streams)
}

/// The credential for the next call to a target, among those that are not in `tried`; 0 where it names none. As for
/// targets, those that cool down are left out unless one of them is asked for.
pub(super) fn key(view: &View, target: &TargetPlan, wanted: &Wanted, (tried, rests): (u64, bool)) -> Option<u32> {
    if target.keys.len() < 2 {
        return (tried & bit(0) == 0).then_some(0);
    }
    if let Some(files) = &wanted.files {
        return files.key(target).filter(|key| tried & bit(*key) == 0);
    }
    let now = Instant::now();
    let cooling = |i: u32| &view.coolings[target.of_key(i) as usize];
    let free = || (0u32..u64::BITS).zip(&target.keys).filter(|(i, _)| tried & bit(*i) == 0);
    let open = |(i, key): &(u32, &KeyPlan)| {
        cooling(*i).is_open_to(now, wanted.application.as_ref()) && wanted.has_room(key.quota.as_ref(), now)
    };
    let found = match wanted.sticky {
        Some(value) => steady(value, free().filter(open).map(|(i, key)| (i, key.place, key.weight))),
        None => {
            let all: u32 = free().filter(open).map(|(_, key)| key.weight).sum();
            let turn = || view.coolings[target.cooling as usize].next_turn();
            (all > 0).then(turn).and_then(|turn| in_turn(turn, free().filter(open).map(|(i, key)| (i, key.weight))))
        }
    };
    let longest_ago = || free().min_by_key(|(i, _)| cooling(*i).failed_at()).map(|(i, _)| i);
    found.or_else(|| longest_ago().filter(|_| rests))
}

/// A call goes there now: what was left alone until now is tried with this one.
pub(super) fn used(view: &View, target: &TargetPlan, key: u32, wanted: &Wanted) {
    let (now, probe) =
        (Instant::now(), view.snapshot.upstreams[target.upstream as usize].health.cooldown.as_duration());
    let whose = wanted.application.as_ref();
    pace(view, target, wanted.streams).asked();
    view.coolings[target.cooling as usize].used(now, probe, whose);
    if !target.keys.is_empty() {
        view.coolings[target.of_key(key) as usize].used(now, probe, whose);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn equals_take_turns_by_weight() {
        let weights = [(0, 3), (2, 1), (5, 2)];
        let taken: Vec<u32> = (0..12).map(|turn| in_turn(turn, weights.into_iter()).unwrap()).collect();
        for (i, weight) in weights {
            assert_eq!(taken.iter().filter(|one| **one == i).count(), 2 * weight as usize, "{taken:?}");
        }
        assert_eq!(in_turn(7, [].into_iter()), None);
    }

    #[test]
    fn the_lowest_rank_comes_first() {
        assert_eq!(lowest([(0, 2), (1, 1), (3, 1), (4, 7)].into_iter()), bit(1) | bit(3));
        assert_eq!(lowest(std::iter::empty::<(u32, u32)>()), 0);
    }

    #[test]
    fn who_answers_soonest_is_asked_and_who_was_never_asked_first_of_all() {
        let of = |expected: &[u64]| fastest((0..).zip(expected.iter().map(|ms| *ms as u32 * MS)));
        assert_eq!(of(&[300, 200, 900]), bit(1));
        assert_eq!(of(&[220, 200, 300]), bit(0) | bit(1), "a tenth is nothing");
        assert_eq!(of(&[12, 8, 30]), bit(0) | bit(1), "and neither are 5 ms");
        assert_eq!(of(&[3, 0, 1]), bit(1));
        assert_eq!(fastest([(0, 40 * MS), (1, Duration::MAX)].into_iter()), bit(0));
        assert_eq!(fastest([(0, Duration::MAX), (1, Duration::MAX)].into_iter()), bit(0) | bit(1));
    }

    #[test]
    fn a_value_stays_where_it_is_and_weights_count() {
        let all = [(0, 11u64, 3), (1, 22, 1), (2, 33, 2)];
        let taken: Vec<u32> = (0..60_000).map(|value| steady(value, all.into_iter()).unwrap()).collect();
        for (i, _, weight) in all {
            let share = taken.iter().filter(|one| **one == i).count() as f64 / 10_000.0;
            assert!((share - f64::from(weight)).abs() < 0.1, "{i}: {share} of {weight}");
        }
        // One that is missing moves its own values and no others; they are shared by weight again.
        let without = |gone: u32| move |(i, ..): &(u32, u64, u32)| *i != gone;
        let mut moved = [0; 3];
        for (value, before) in taken.iter().enumerate() {
            let now = steady(value as u64, all.into_iter().filter(without(2))).unwrap();
            assert!(now == *before || *before == 2, "{value} moved from {before} to {now}");
            moved[now as usize] += usize::from(*before == 2);
        }
        assert!((2.7..3.3).contains(&(moved[0] as f64 / moved[1] as f64)), "{moved:?}");
    }

    #[test]
    fn what_costs_least_is_taken_and_what_nobody_knows_last() {
        let prices = |input: &str, output: &str| {
            let target = serde_json::json!({ "provider": "p", "model": "m",
                "prices": [{ "from": "2020-01-01T00:00:00Z", "input": input, "output": output }] });
            let target = serde_json::from_value(target).unwrap();
            credentialflow_llm::PriceTable::default().resolve(&target, None)
        };
        let (reads, writes, unknown) = (prices("1", "20"), prices("4", "10"), PriceHandle::default());
        let of = |input, output, all: &[&PriceHandle]| {
            let usage = TokenUsage { input, output, ..TokenUsage::default() };
            let at = "2026-11-23T00:00:00Z".parse().unwrap();
            cheapest((0..).zip(all.iter().copied()), Some(&(at, usage)))
        };
        assert_eq!(of(10_000, 100, &[&reads, &writes, &unknown]), bit(0));
        assert_eq!(of(100, 1000, &[&reads, &writes, &unknown]), bit(1));
        assert_eq!(of(100, 1000, &[&unknown, &unknown]), bit(0) | bit(1));
        assert_eq!(of(100, 1000, &[&writes, &writes.clone(), &reads]), bit(0) | bit(1));
    }
}
