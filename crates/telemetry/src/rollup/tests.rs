#![allow(clippy::unwrap_used)]
use super::*;
use crate::testing::{NOON, bare, model, plain, untold};
use credentialflow_model::OutcomeReason;
use std::sync::Arc;

fn add(all: &mut Rollups, names: &mut Interner, record: &UsageRecord) {
    let mut id = |n: Option<&Arc<str>>| n.map(|n| names.id(n));
    let dimensions =
        [id(record.route.as_ref()), id(record.application.as_ref()), id(record.model.as_ref().map(|m| &m.model))];
    all.add(&Sample::of(record), dimensions, names);
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn every_figure_is_counted_exactly() {
    let (mut all, mut names) = (Rollups::default(), Interner::new());
    add(&mut all, &mut names, &plain(0));
    add(&mut all, &mut names, &bare(1));
    // Ten times a tenth of a micro-dollar: binary fractions would be off.
    for n in 0..10 {
        add(&mut all, &mut names, &model(n, Some(Cost::Known("0.0000001".parse().unwrap()))));
    }
    add(&mut all, &mut names, &model(11, Some(Cost::UnknownPrice)));
    add(&mut all, &mut names, &untold(12));
    let now = Timestamp::from_micros(NOON + 30_000_000);
    let check = |stats: Stats| {
        let t = &stats.total;
        assert_eq!((t.requests, t.errors, t.errors_caller, t.errors_upstream), (14, 1, 1, 0));
        assert_eq!(t.status_classes, [0, 0, 13, 0, 1, 0]);
        assert_eq!((t.tokens_in, t.tokens_out, t.unpriced), (1100, 550, 2));
        assert_eq!(t.usd, "0.000001");
        assert_eq!((t.bytes_in, t.bytes_out), (140, 14 * 1024));
        let p50 = t.p50_us.unwrap();
        assert!((1200..1800).contains(&p50), "{p50}");
        assert_eq!((stats.series.len(), stats.step_seconds), (60, 60));
        assert_eq!(stats.series.last().unwrap().figures.requests, 14);
        assert_eq!(stats.series[0].figures.p50_us, None);
        let names: Vec<_> = stats.top_routes.iter().map(|t| (t.name.as_str(), t.figures.requests)).collect();
        assert_eq!(names, [("orders", 13)], "a request without a route is in no list");
        assert_eq!(stats.top_models[0].figures.usd, "0.000001");
    };
    check(all.stats(HOUR, now));
    let parts = all.drain();
    check(all.stats(HOUR, now));
    // What is stored says the same, also in two halves.
    let stored: Vec<Minute> =
        parts.iter().map(|p| serde_json::from_str(&serde_json::to_string(p).unwrap()).unwrap()).collect();
    assert_eq!(stored, parts);
    let mut again = Rollups::default();
    stored.iter().for_each(|part| again.load(part));
    check(again.stats(HOUR, now));
    assert_eq!(all.stats(HOUR, Timestamp::from_micros(NOON + 2 * 3_600_000_000)).total.requests, 0);
}

#[test]
fn an_upstreams_own_5xx_is_its_error_also_when_passed_on() {
    let (mut all, mut names) = (Rollups::default(), Interner::new());
    let answered = |status| UsageRecord { status, upstream_status: status, ..plain(0) };
    for status in [200, 404, 500, 503] {
        add(&mut all, &mut names, &answered(status));
    }
    // Ours, not the upstream's, whatever its status.
    add(&mut all, &mut names, &UsageRecord { outcome: OutcomeReason::Internal, ..answered(500) });
    let total = all.stats(HOUR, Timestamp::from_micros(NOON + 30_000_000)).total;
    assert_eq!((total.requests, total.errors), (5, 3));
    assert_eq!((total.errors_caller, total.errors_gateway, total.errors_upstream), (0, 1, 2));
}

#[test]
fn names_beyond_the_room_count_under_other() {
    let (mut all, mut names) = (Rollups::default(), Interner::new());
    for n in 0..1000u64 {
        add(&mut all, &mut names, &UsageRecord { route: Some(format!("r{n}").into()), ..plain(n) });
    }
    add(&mut all, &mut names, &plain(1));
    all.drain();
    let minute = all.ring.values().next().unwrap();
    assert!(minute.names[0].len() <= RING_NAMES + 1, "{}", minute.names[0].len());
    let sum: u64 = minute.names[0].values().map(|b| b.counts.requests).sum();
    assert_eq!(sum, 1001, "nothing is lost");
    assert!(minute.names[0][OTHER].counts.requests > 900);
}

#[test]
fn the_ring_and_the_live_minutes_are_bounded() {
    let (mut all, mut names) = (Rollups::default(), Interner::new());
    for minute in 0..3000u64 {
        add(&mut all, &mut names, &plain(minute * 60_000_000));
        assert!(all.live.len() <= 8);
        if minute % 4 == 3 {
            all.drain();
        }
    }
    assert_eq!(all.ring.len() as i64, KEPT_MINUTES + 1);
    let day = all.stats(Duration::from_secs(86_400), Timestamp::from_micros(NOON + 2999 * 60_000_000));
    assert_eq!(day.step_seconds, 900);
    assert!(day.series.len() <= 120 && day.total.requests >= 1439, "{}", day.total.requests);
}

#[test]
fn cost_never_wraps() {
    assert_eq!(pico(Decimal::MAX), i64::MAX);
    assert_eq!(pico("0.000000000001".parse().unwrap()), 1);
}
