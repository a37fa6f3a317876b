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
