//! Who is accepted, and that every refusal looks the same.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{KeyChange, KeyExtras, KeyRecord, KeySecret, ParentKey, policy_tests::issue};
use credentialflow_model::SecretValue;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_secs(1_000_000);

fn at(secs: i64) -> Option<Timestamp> {
    Some(Timestamp::from_secs(secs))
}

fn authenticator() -> (ApiKey, Arc<Peppers>) {
    let (one, two) = (SecretValue::from("pepper one"), SecretValue::from("pepper two"));
    let peppers = Arc::new(Peppers::new([(1, &one), (2, &two)]));
    (ApiKey::new(peppers.clone()), peppers)
}

#[test]
fn a_valid_key_names_its_application() {
    let (api_key, peppers) = authenticator();
    let (token, record) = issue(77, 1, &peppers);
    let table = KeyTable::from_records([record]);
    let principal = api_key.authenticate(token.expose(), &table, NOW).unwrap();
    let key = principal.key().unwrap();
    assert_eq!((&**key.application_name(), key.key(), key.version()), ("checkout", KeyId::from_bits(77), 1));
    assert!(!format!("{principal:?} {api_key:?}").contains("pepper one"));
}

#[test]
fn refusals_say_nothing() {
    let (api_key, peppers) = authenticator();
    let (token, record) = issue(77, 1, &peppers);
    let (wrong, _) = issue(77, 2, &peppers);
    let (unknown, _) = issue(78, 1, &peppers);
    let table = KeyTable::from_records([record.clone()]);
    let refused = |presented: &[u8], table: &KeyTable| api_key.authenticate(presented, table, NOW).unwrap_err();

    for bytes in [&b""[..], b"x", b"$env://MISSING", &[0xff; 64], &[b'a'; 100_000], &token.expose()[..59]] {
        let failure = refused(bytes, &table);
        assert_eq!((failure.reason(), failure.claimed(), failure.key()), (OutcomeReason::Unauthenticated, None, None));
    }
    assert_eq!(refused(wrong.expose(), &table).key(), Some(KeyId::from_bits(77)));
    let failure = refused(unknown.expose(), &table);
    assert_eq!((failure.claimed(), failure.key()), (Some(KeyId::from_bits(78)), None));
    let revoked = table.with_changes([KeyChange::Remove(record.id)]);
    assert_eq!(refused(token.expose(), &revoked).key(), None);

    let mut unknown_pepper = record.clone();
    unknown_pepper.current.pepper = 9;
    refused(token.expose(), &KeyTable::from_records([unknown_pepper]));
    // A hash under the dummy pepper must not open a key whose pepper is missing.
    let parsed = KeyToken::parse(token.expose()).unwrap();
    let mut dummy = record.clone();
    let hash = peppers.hash_anyway(9, parsed.expose_secret()).0;
    dummy.current = KeySecret { version: 1, hash, pepper: 9, retire_at: None };
    refused(token.expose(), &KeyTable::from_records([dummy]));
}

#[test]
fn times_are_kept_to_the_second() {
    let (api_key, peppers) = authenticator();
    let (token, record) = issue(77, 1, &peppers);
    for (expires, not_before, accepted) in [
        (None, None, true),
        (at(1_000_001), at(1_000_000), true),
        (at(1_000_000), None, false),
        (at(-5), None, false),
        (None, at(1_000_001), false),
        (Some(Timestamp::from_micros(1_000_000_500_000)), None, false),
        (None, Some(Timestamp::from_micros(1_000_000_500_000)), false),
    ] {
        let mut record = record.clone();
        (record.expires, record.not_before) = (expires, not_before);
        let result = api_key.authenticate(token.expose(), &KeyTable::from_records([record]), NOW);
        assert_eq!(result.is_ok(), accepted, "{expires:?} {not_before:?}");
    }
}

#[test]
fn two_secrets_overlap_until_the_older_retires() {
    let (api_key, peppers) = authenticator();
    for old_pepper in [1, 2] {
        let (old, _) = issue(77, 1, &peppers);
        let (new, mut record) = issue(77, 2, &peppers);
        let hash = peppers.hash(old_pepper, KeyToken::parse(old.expose()).unwrap().expose_secret()).unwrap();
        record.current.version = 2;
        record.previous = Some(KeySecret { version: 1, hash, pepper: old_pepper, retire_at: at(1_000_010) });
        let table = KeyTable::from_records([record]);
        let version = |token: &SecretValue, secs| {
            let result = api_key.authenticate(token.expose(), &table, Timestamp::from_secs(secs));
            result.ok().and_then(|p| p.key().map(KeyPrincipal::version))
        };
        assert_eq!((version(&old, 1_000_009), version(&new, 1_000_009)), (Some(1), Some(2)));
        assert_eq!((version(&old, 1_000_010), version(&new, 1_000_010)), (None, Some(2)));
    }
}

proptest! {
    #[test]
    fn no_other_bytes_are_accepted(bytes in proptest::collection::vec(any::<u8>(), 0..200), flip in 0usize..60, to in any::<u8>()) {
        let (api_key, peppers) = authenticator();
        let (token, record) = issue(77, 1, &peppers);
        let table = KeyTable::from_records([record]);
        prop_assert!(api_key.authenticate(&bytes, &table, NOW).is_err());
        let mut changed = token.expose().to_vec();
        let at = flip % changed.len();
        prop_assume!(changed[at] != to);
        changed[at] = to;
        prop_assert!(api_key.authenticate(&changed, &table, NOW).is_err());
    }
}

/// A key that comes from the one with this id.
fn below(mut record: KeyRecord, parent: u64) -> KeyRecord {
    let parent = ParentKey { key: KeyId::from_bits(parent), version: 1 };
    record.extras = Some(KeyExtras::delegated(None, parent));
    record
}

#[test]
fn a_key_is_refused_where_one_that_it_comes_from_is_not_in_force() {
    let (api_key, peppers) = authenticator();
    let (token, record) = issue(3, 1, &peppers);
    let (root, parent, child) = (issue(1, 1, &peppers).1, below(issue(2, 1, &peppers).1, 1), below(record, 2));
    let accepted = |change: &dyn Fn(&mut Vec<KeyRecord>), now| {
        let mut records = vec![root.clone(), parent.clone(), child.clone()];
        change(&mut records);
        api_key.authenticate(token.expose(), &KeyTable::from_records(records), now).is_ok()
    };
    assert!(accepted(&|_| {}, NOW));
    for above in 0..2 {
        assert!(!accepted(&|keys| drop(keys.remove(above)), NOW), "{above} is gone");
        assert!(!accepted(&|keys| keys[above].expires = at(1_000_000), NOW), "{above} is over");
        assert!(!accepted(&|keys| keys[above].not_before = at(1_000_001), NOW), "{above} is not yet in force");
        assert!(!accepted(&|keys| keys[above].current.retire_at = at(1_000_000), NOW), "{above} has no secret");
        assert!(!accepted(&|keys| keys[above].application = "other".parse().unwrap(), NOW));
        assert!(accepted(&|keys| keys[above].expires = at(1_000_001), NOW));
    }
    assert!(!accepted(&|keys| keys[0] = below(keys[0].clone(), 3), NOW), "a circle has no end");
    let failure = {
        let table = KeyTable::from_records([parent.clone(), child.clone()]);
        api_key.authenticate(token.expose(), &table, NOW).unwrap_err()
    };
    assert_eq!(failure.reason(), OutcomeReason::Unauthenticated);
}

proptest! {
    #[test]
    fn chains_have_an_end(length in 1usize..9) {
        let (api_key, peppers) = authenticator();
        let records: Vec<_> = (1..=length as u64)
            .map(|id| issue(id, 1, &peppers).1)
            .map(|record| match record.id.bits() { 1 => record, id => below(record, id - 1) })
            .collect();
        let token = issue(length as u64, 1, &peppers).0;
        let found = api_key.authenticate(token.expose(), &KeyTable::from_records(records), NOW);
        match found {
            Ok(principal) => {
                let above: Vec<u64> = principal.key().unwrap().ancestors().map(KeyId::bits).collect();
                prop_assert_eq!(above, (1..length as u64).rev().collect::<Vec<_>>());
                prop_assert!(length <= credentialflow_model::resource::Key::MOST_ANCESTORS + 1);
            }
            Err(_) => prop_assert!(length > credentialflow_model::resource::Key::MOST_ANCESTORS + 1),
        }
    }
}
