//! What a pass opens, for whom, and for how long.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    KeyChange, KeyRecord, KeySecret, Peppers,
    policy_tests::{self, World},
};
use credentialflow_model::{KeyToken, SecretValue};
use proptest::prelude::*;
use std::sync::Arc;

const NOW: Timestamp = Timestamp::from_secs(1_000_000);
const ENDS: Timestamp = Timestamp::from_secs(1_003_600);
/// What callers are not to know: where the upstream is, who provides it, and with which credential it is asked.
const WHAT: &str = r#"["gemini","acct-team-a","https://10.1.2.3:8443/internal","upload_id=There-1"]"#;

/// One key in a table, and its caller.
struct Caller {
    api_key: ApiKey,
    peppers: Arc<Peppers>,
    record: KeyRecord,
    principal: Principal,
}

impl Caller {
    fn new() -> Self {
        let (one, two) = (SecretValue::from("pepper one"), SecretValue::from("pepper two"));
        let peppers = Arc::new(Peppers::new([(1, &one), (2, &two)]));
        let api_key = ApiKey::new(peppers.clone());
        let (token, record) = policy_tests::issue(77, 1, &peppers);
        let table = KeyTable::from_records([record.clone()]);
        let principal = api_key.authenticate(token.expose(), &table, NOW).unwrap();
        Self { api_key, peppers, record, principal }
    }

    fn pass(&self) -> String {
        issue(&self.api_key, &self.principal, "uploads", ENDS, WHAT.as_bytes()).unwrap()
    }

    fn open(&self, pass: &str, record: KeyRecord, now: Timestamp) -> Result<String, Closed> {
        let table = KeyTable::from_records([record]);
        open(&self.api_key, &table, "uploads", pass.as_bytes(), now).map(|(principal, what)| {
            assert_eq!(principal.key().map(KeyPrincipal::key), Some(KeyId::from_bits(77)));
            String::from_utf8(what).unwrap()
        })
    }
}

#[test]
fn a_pass_opens_what_it_is_for_until_it_ends() {
    let caller = Caller::new();
    let pass = caller.pass();
    assert!(pass.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "fit for a query: {pass}");
    let at = |secs| caller.open(&pass, caller.record.clone(), Timestamp::from_secs(secs));
    assert_eq!(at(1_000_000), Ok(WHAT.to_owned()));
    assert_eq!(at(1_003_599), Ok(WHAT.to_owned()));
    assert_eq!((at(1_003_600), at(9_000_000)), (Err(Closed::Over), Err(Closed::Over)));
    let table = KeyTable::from_records([caller.record.clone()]);
    let elsewhere = open(&caller.api_key, &table, "other", pass.as_bytes(), NOW);
    assert!(matches!(elsewhere, Err(Closed::Refused(_))), "for another purpose");
    assert_eq!(issue(&caller.api_key, &Principal::Anonymous, "uploads", ENDS, b"x"), None);
    assert_eq!(issue(&caller.api_key, &caller.principal, "uploads", ENDS, &[b'x'; 8192]), None, "too long");
    // What is bound as a session for the same application is no pass.
    let session = SessionOwner { route: "tools", principal: &caller.principal };
    let bound = session.bind(&caller.api_key, b"key.1.9999999.x").unwrap();
    assert!(open(&caller.api_key, &table, "uploads", &bound, NOW).is_err());
}

#[test]
fn nothing_of_a_pass_can_be_changed() {
    let caller = Caller::new();
    let pass = caller.pass().into_bytes();
    let table = KeyTable::from_records([caller.record.clone()]);
    let opens = |pass: &[u8]| open(&caller.api_key, &table, "uploads", pass, NOW).is_ok();
    assert!(opens(&pass));
    for at in 0..pass.len() {
        for flip in [1, 2, 32] {
            let mut changed = pass.clone();
            changed[at] ^= flip;
            assert!(!opens(&changed), "at {at}");
        }
        assert!(!opens(&pass[..at]) && (at == 0 || !opens(&pass[at..])), "cut at {at}");
    }
    let longer = String::from_utf8(pass).unwrap().replace("1003600", "9003600");
    assert!(!opens(longer.as_bytes()));
}

#[test]
fn nobody_can_read_what_a_pass_is_for() {
    let caller = Caller::new();
    let (pass, again) = (caller.pass(), caller.pass());
    let sealed = |pass: &str| pass.rsplit('.').nth(1).unwrap().to_owned();
    assert_ne!(sealed(&pass), sealed(&again), "a nonce of its own");
    let decoded: Vec<_> = pass.split('.').filter_map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok()).collect();
    assert!(decoded.len() >= 2, "the seal and the mark");
    for text in decoded.iter().map(Vec::as_slice).chain([pass.as_bytes()]) {
        for told in ["gemini", "acct", "https", "10.1.2.3", "internal", "upload_id", "There-1"] {
            assert!(!text.windows(told.len()).any(|part| part == told.as_bytes()), "{told} in {pass}");
        }
    }
}

#[test]
fn the_seal_alone_refuses_what_was_changed_or_belongs_elsewhere() {
    let caller = Caller::new();
    let pass = caller.pass();
    let parts: Vec<_> = pass.rsplitn(3, '.').collect();
    let (sealed, named) = (BASE64_URL_SAFE_NO_PAD.decode(parts[1]).unwrap(), parts[2]);
    // With a mark that holds.
    let opens = |named: &str, sealed: &[u8], purpose: &str| {
        let id = format!("{named}.{}", BASE64_URL_SAFE_NO_PAD.encode(sealed));
        let owner = SessionOwner { route: purpose, principal: &caller.principal };
        let pass = owner.bind(&caller.api_key, id.as_bytes()).unwrap();
        let table = KeyTable::from_records([caller.record.clone()]);
        match open(&caller.api_key, &table, purpose, &pass, NOW) {
            Ok((_, what)) => what == WHAT.as_bytes(),
            Err(why) => {
                assert!(matches!(why, Closed::Refused(_)), "{why:?}");
                false
            }
        }
    };
    assert!(opens(named, &sealed, "uploads"));
    assert!(!opens(named, &sealed, "other"), "for another purpose");
    assert!(!opens(&named.replace("1003600", "9003600"), &sealed, "uploads"), "for longer");
    assert!(!opens(named, WHAT.as_bytes(), "uploads"), "not sealed at all");
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(!opens(named, &changed, "uploads") && !opens(named, &sealed[..at], "uploads"), "at {at}");
    }
}

#[test]
fn it_ends_with_its_key_and_with_the_secret_that_was_presented() {
    let caller = Caller::new();
    let pass = caller.pass();
    let opens = |record: KeyRecord| caller.open(&pass, record, NOW).is_ok();
    assert!(opens(caller.record.clone()));
    let none = KeyTable::from_records([caller.record.clone()]).with_changes([KeyChange::Remove(caller.record.id)]);
    let told = open(&caller.api_key, &none, "uploads", pass.as_bytes(), NOW).unwrap_err();
    let Closed::Refused(failure) = told else { panic!("{told:?}") };
    assert_eq!((failure.claimed(), failure.key()), (None, None), "guesses slow nobody's key down");
    let expired = KeyRecord { expires: Some(NOW), ..caller.record.clone() };
    let not_yet = KeyRecord { not_before: Some(ENDS), ..caller.record.clone() };
    let other = KeyRecord { application: "other".parse().unwrap(), ..caller.record.clone() };
    for record in [expired, not_yet, other] {
        assert!(!opens(record));
    }
    // The key's secret was turned: until the older one retires its passes are good, and not a moment longer.
    let (token, mut turned) = policy_tests::issue(77, 2, &caller.peppers);
    assert!(KeyToken::parse(token.expose()).is_some());
    turned.current.version = 2;
    assert!(!opens(turned.clone()), "the older secret is gone");
    turned.previous = Some(KeySecret { retire_at: Some(ENDS), ..caller.record.current });
    assert!(opens(turned.clone()));
    turned.previous = Some(KeySecret { retire_at: Some(NOW), ..caller.record.current });
    assert!(!opens(turned));
}

#[test]
fn it_ends_with_the_key_that_its_key_comes_from() {
    let world = World::new("checkout: routes orders");
    let parent = world.key(|_| {});
    let child = world.below(&parent, |_| {});
    let api_key = ApiKey::new(world.peppers());
    let pass = issue(&api_key, &child, "uploads", ENDS, b"x").unwrap();
    let now = Timestamp::from_secs(2);
    assert!(open(&api_key, &world.table(), "uploads", pass.as_bytes(), now).is_ok());
    let above = parent.key().unwrap().key();
    let without = world.table().with_changes([KeyChange::Remove(above)]);
    assert!(open(&api_key, &without, "uploads", pass.as_bytes(), now).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "[a-z0-9]{13}\\.[0-9]{1,3}\\.[0-9]{1,8}\\.[A-Za-z0-9_.-]{0,80}") {
        let caller = Caller::new();
        let table = KeyTable::from_records([caller.record.clone()]);
        for pass in [&bytes[..], text.as_bytes()] {
            prop_assert!(open(&caller.api_key, &table, "uploads", pass, NOW).is_err());
        }
    }
}
