#![allow(clippy::unwrap_used)]
use super::*;
use crate::testing::{bare, plain};

#[test]
fn uses_add_up_until_they_are_taken() {
    let uses = LastUse::default();
    let late = UsageRecord { source: "10.0.0.9".parse().unwrap(), ..plain(50) };
    // The later one is reported first: requests end in any order.
    uses.add(&[late.clone(), plain(10), bare(60)]);
    uses.add(&[UsageRecord { upstream_status: 403, ..plain(20) }, UsageRecord { upstream_status: 0, ..plain(21) }]);
    let taken = uses.take_deltas();
    assert_eq!(
        taken.keys,
        [KeyUseDelta { key: late.key.unwrap(), last_time: late.time, last_source: late.source, count: 4 }]
    );
    assert_eq!(taken.credentials.len(), 1);
    let c = &taken.credentials[0];
    assert_eq!((&*c.credential, c.version, c.count, c.last_time), ("orders-token", 3, 4, late.time));
    assert_eq!(c.answers, Answers { served: 2, refused: 1 });
    assert_eq!(uses.refusals("orders-token", 3), Answers { served: 2, refused: 1 }, "totals outlive a take");
    assert_eq!(uses.refusals("orders-token", 4), Answers::default());
    let empty = uses.take_deltas();
    assert!(empty.keys.is_empty() && empty.credentials.is_empty());
    uses.add(&[plain(70)]);
    assert_eq!(uses.take_deltas().credentials[0].count, 1);
    assert_eq!(uses.refusals("orders-token", 3).served, 3);
}

#[test]
fn versions_are_bounded_and_unused_ones_make_room() {
    let uses = LastUse::default();
    let of = |version: usize| {
        let mut record = plain(version as u64);
        record.credential.as_mut().unwrap().version = version as u32;
        record
    };
    let all: Vec<_> = (0..MAX_VERSIONS + 10).map(of).collect();
    uses.add(&all[..MAX_VERSIONS]);
    uses.take_deltas();
    uses.add(&all[MAX_VERSIONS..]);
    let full = uses.take_deltas();
    assert_eq!((full.overflowed, full.credentials.len()), (10, 0));
    uses.add(&all[MAX_VERSIONS..]);
    assert_eq!(uses.take_deltas().credentials.len(), 10);
}
