//! The table against a plain map, its size, and the price of a change.

use super::*;
use proptest::prelude::*;
use std::{collections::HashMap, time::Instant};

fn record(bits: u64, version: u32) -> KeyRecord {
    KeyRecord {
        id: KeyId::from_bits(bits),
        application: format!("app-{}", bits % 5).parse().unwrap(),
        current: KeySecret { version, hash: [version as u8; 32], pepper: 1, retire_at: None },
        previous: None,
        expires: None,
        not_before: None,
        extras: None,
    }
}

fn records(count: u64) -> impl Iterator<Item = KeyRecord> {
    let application: Name = "checkout".parse().unwrap();
    let mut state = 1u64;
    (0..count).map(move |_| {
        // splitmix64: well spread, repeatable.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        KeyRecord { application: application.clone(), ..small(z ^ z >> 31) }
    })
}

fn small(bits: u64) -> KeyRecord {
    let name: Name = "a".parse().unwrap();
    let current = KeySecret { version: 1, hash: [7; 32], pepper: 1, retire_at: None };
    KeyRecord {
        id: KeyId::from_bits(bits),
        application: name,
        current,
        previous: None,
        expires: None,
        not_before: None,
        extras: None,
    }
}

proptest! {
    #[test]
    fn behaves_like_a_map(
        batches in proptest::collection::vec(
            proptest::collection::vec((any::<bool>(), 0u64..60, 0u32..9, any::<bool>()), 0..40), 1..8),
    ) {
        let (mut table, mut map) = (KeyTable::empty(), HashMap::new());
        for batch in batches {
            let before = (table.clone(), map.clone());
            let changes: Vec<_> = batch
                .into_iter()
                .map(|(put, bits, version, spread)| {
                    // Dense and far-apart ids alike.
                    let bits = if spread { bits << 50 } else { bits };
                    if put {
                        map.insert(bits, version);
                        KeyChange::Put(record(bits, version))
                    } else {
                        map.remove(&bits);
                        KeyChange::Remove(KeyId::from_bits(bits))
                    }
                })
                .collect();
            table = table.with_changes(changes);
            for (table, map) in [(&table, &map), (&before.0, &before.1)] {
                prop_assert_eq!(table.len(), map.len());
                for bits in (0..60).chain((0..60).map(|b| b << 50)) {
                    let found = table.entry(KeyId::from_bits(bits)).map(|e| e.current.version);
                    prop_assert_eq!(found, map.get(&bits).copied());
                }
            }
        }
    }
}

#[test]
fn application_numbers_never_change_their_meaning() {
    let first = KeyTable::from_records([record(1, 1), record(2, 1)]);
    let second = first.with_changes([KeyChange::Remove(KeyId::from_bits(1)), KeyChange::Put(record(3, 1))]);
    for slot in 0..first.applications().len() as u32 {
        assert_eq!(first.applications().name(slot), second.applications().name(slot));
    }
    assert_eq!(second.applications().slot("app-3"), Some(2));
    assert_eq!(second.with_applications([&"app-3".parse().unwrap()]).applications().len(), 3);
}

#[test]
fn versions_are_known_while_they_live() {
    let id = KeyId::from_bits(1);
    let mut rotated = record(1, 2);
    rotated.previous = Some(KeySecret { version: 1, hash: [0; 32], pepper: 1, retire_at: None });
    let table = KeyTable::from_records([rotated]);
    assert!(table.contains(id) && table.has_version(id, 1) && table.has_version(id, 2) && !table.has_version(id, 3));
    let revoked = table.with_changes([KeyChange::Remove(id)]);
    assert!(!revoked.contains(id) && !revoked.has_version(id, 2) && revoked.is_empty());
}

#[test]
fn a_million_keys_fit_and_change_quickly() {
    const COUNT: usize = 1_000_000;
    let start = Instant::now();
    let table = KeyTable::from_records(records(COUNT as u64));
    let all = start.elapsed();
    assert_eq!(table.len(), COUNT);
    let each = table.memory_bytes() as f64 / COUNT as f64;
    assert!(each <= 120.0, "{each} bytes a key");
    assert!(records(COUNT as u64).step_by(997).all(|r| table.contains(r.id)));
    // Beside what it takes to build it all on this machine, and the best of several.
    let best = (0..20u64)
        .map(|i| {
            let start = Instant::now();
            let changed = table.with_changes([KeyChange::Put(small(i))]);
            let taken = start.elapsed();
            assert_eq!(changed.len(), COUNT + 1);
            taken
        })
        .min()
        .unwrap();
    assert!(best < all / 100, "{best:?} for one change, {all:?} for all");
}

#[test]
fn an_end_before_1970_is_still_an_end() {
    use credentialflow_model::Timestamp;
    let mut past = record(1, 1);
    past.expires = Some(Timestamp::from_secs(0));
    assert!(!Entry::new(past, 0).is_timely(2_000_000_000));
    let mut far = record(1, 1);
    far.expires = Some(Timestamp::from_secs(1 << 40));
    assert!(Entry::new(far, 0).is_timely(2_000_000_000));
}
