#![allow(clippy::unwrap_used)]
use super::*;

fn entry(token: Option<(i64, i64)>) -> Entry {
    let credential = serde_json::json!({
        "name": "entra", "engine": "oauth_token", "token": { "url": "https://a/token", "client_id": "gw" }
    });
    let token = token.map(|(obtained, expires)| {
        Arc::new(AccessToken {
            value: Arc::new(SecretValue::from("t")),
            obtained: Timestamp::from_secs(obtained),
            expires: Timestamp::from_secs(expires),
        })
    });
    let value = Arc::new(SecretValue::from("secret"));
    Entry::new(Wanted { credential: serde_json::from_value(credential).unwrap(), version: 1, value, token }, 5)
}

#[test]
fn waits_grow_and_leave_room_for_tries_before_the_token_ends() {
    let secs = Duration::from_secs;
    let waits: Vec<u64> = (1..9).map(|n| pause(n, None, None).as_secs()).collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(pause(40, None, None), secs(60));
    assert_eq!(pause(1, Some(secs(30)), None), secs(30), "it wants to be left alone");
    assert_eq!(pause(1, Some(secs(3600)), None), secs(60), "but not for ever");
    assert_eq!(pause(9, None, Some(secs(20))), secs(5));
    assert_eq!(pause(9, Some(secs(60)), Some(secs(2))), secs(1));
}

#[test]
fn a_refused_token_is_renewed_early_and_not_again_and_again() {
    let at = Timestamp::from_secs;
    let mut entry = entry(Some((1000, 4600)));
    let due = entry.due;
    assert!(due >= at(1000 + 3600 * 69 / 100) && due <= at(1000 + 3600 * 9 / 10));
    entry.notice_refusals(5, at(1010));
    assert_eq!(entry.due, due, "what was refused before it came says nothing");
    entry.notice_refusals(6, at(1011));
    assert_eq!(entry.due, at(1011));
    // Fetched: refusals of the one before still come in, and somebody is refused for another reason.
    entry.due = at(4000);
    for second in 1012..1071 {
        entry.notice_refusals(second, at(i64::try_from(second).unwrap()));
        assert_eq!(entry.due, at(4000), "{second}");
    }
    entry.notice_refusals(2000, at(1071));
    assert_eq!(entry.due, at(1071));
}

#[test]
fn without_a_token_there_is_nothing_to_renew_early() {
    let mut entry = entry(None);
    assert!(entry.due <= now(), "it is due at once");
    entry.due = Timestamp::from_secs(50);
    entry.notice_refusals(9, Timestamp::from_secs(10));
    assert_eq!(entry.due, Timestamp::from_secs(50));
}

fn wanted_now(entry: &Entry, token: Option<Arc<AccessToken>>) -> Wanted {
    let Wanted { credential, version, value, .. } = &entry.wanted;
    Wanted { credential: credential.clone(), version: *version, value: value.clone(), token }
}

#[test]
fn a_token_that_is_no_longer_in_force_is_fetched_at_once() {
    let now_secs = now().secs();
    let mut entry = entry(Some((now_secs, now_secs + 3600)));
    let (due, token) = (entry.due, entry.wanted.token.clone());
    assert!(due > now());
    entry.compare(wanted_now(&entry, token));
    assert_eq!(entry.due, due, "it is the one in force");
    // The state was read anew, with an older token or without any.
    let older = self::entry(Some((now_secs - 1800, now_secs + 600))).wanted.token;
    entry.compare(wanted_now(&entry, older));
    assert!(entry.due < due);
    entry.compare(wanted_now(&entry, None));
    assert!(entry.due <= now(), "nothing is in force");
}

#[test]
fn what_was_fetched_with_another_value_or_declaration_is_not_taken() {
    let mut entry = entry(None);
    let (credential, value) = (entry.wanted.credential.clone(), entry.wanted.value.clone());
    assert!(entry.is_answered(&credential, &value));
    assert!(!entry.is_answered(&credential, &SecretValue::from("of another history")));
    let mut other = credential.clone();
    other.token.as_mut().unwrap().scope = Some("all".into());
    assert!(!entry.is_answered(&other, &value));
}

#[test]
fn a_token_of_a_former_declaration_is_told_and_replaced() {
    let now_secs = now().secs();
    let mut entry = entry(Some((now_secs, now_secs + 3600)));
    assert_eq!(entry.view().problem, None);
    let mut narrower = wanted_now(&entry, entry.wanted.token.clone());
    narrower.credential.token.as_mut().unwrap().url = Some("https://B:7/token".into());
    entry.compare(narrower);
    assert!(entry.due <= now() && entry.place == "b:7");
    assert!(entry.view().problem.unwrap().contains("as declared before"));
    entry.problem = Some("the token endpoint is busy".into());
    assert!(entry.view().problem.unwrap().ends_with("before; the token endpoint is busy"));
}

#[test]
fn what_is_due_longest_is_fetched_first_and_one_place_gets_few() {
    let mut entries = BTreeMap::new();
    let mut add = |name: String, place: &str, due: i64, running: bool| {
        let mut entry = entry(None);
        (entry.place, entry.due, entry.running) = (place.to_owned(), Timestamp::from_secs(due), running);
        entry.wanted.credential.name = name.parse().unwrap();
        entries.insert(entry.key(), entry);
    };
    (0..80).for_each(|i| add(format!("hangs-{i}"), "hangs", 10 + i, i < 3));
    (0..30).for_each(|i| add(format!("well-{i}"), &format!("well-{i}"), 100 - i, false));
    add("z".into(), "hangs", 1, false);
    add("later".into(), "well", 2000, false);
    let next: Vec<String> = next(&entries, Timestamp::from_secs(1000)).iter().map(|key| key.0.to_string()).collect();
    assert_eq!(next.len(), AT_ONCE - 3);
    assert_eq!((&*next[0], &*next[1], &*next[12]), ("z", "well-29", "well-18"), "{next:?}");
}

#[test]
fn tokens_that_end_at_once_are_not_asked_for_all_the_time() {
    for (life, least) in [(1, 2), (2, 2), (3, 2), (100, 69)] {
        let token = entry(Some((1000, 1000 + life))).wanted.token.unwrap();
        assert!(renewal(&token) >= Timestamp::from_secs(1000 + least), "{life}");
    }
}

#[test]
fn renewed_tokens_wait_for_each_other_only_while_the_former_is_good() {
    let token = |end: i64| entry(Some((1000, end))).wanted.token.unwrap();
    let urgent = |former: Option<i64>| {
        let mut entry = entry(Some((1000, 4600)));
        entry.former = former.map(|end| (entry.wanted.credential.clone(), token(end)));
        let fetched = [(entry.key().0, 1, token(4600))];
        is_urgent(&BTreeMap::from([(entry.key(), entry)]), &fetched, Timestamp::from_secs(2000))
    };
    assert!(urgent(None) && urgent(Some(1990)) && urgent(Some(2001)));
    assert!(!urgent(Some(2010)));
}
