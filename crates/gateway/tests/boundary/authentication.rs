//! Who may: every place a key may stand in, and one answer for every key that is not good.

use crate::harness::*;
use credentialflow_model::OutcomeReason as R;
use credentialflow_policy::ThrottleSettings;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn basic(user: &str, password: &str) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    BASE64_STANDARD.encode(format!("{user}:{password}"))
}

#[tokio::test]
async fn keys_are_taken_where_they_stand_and_go_no_further() {
    let upstream = FakeUpstream::answering(OK).await;
    // Without an injection nothing else would remove them.
    let yaml = usual(&[upstream.url()], ", inject: ", ", key_in_query: key").replace(", inject: ", "");
    let world = Setup::new(yaml).start();
    let good = key("k");
    let dashed = good.replace('_', "%5F");
    for (target, line) in [
        ("/a?x=1", format!("Authorization: Bearer {good}")),
        ("/a?x=1", format!("authorization: bearer {good}")),
        ("/a?x=1", format!("authorization: Basic {}", basic("any", &good))),
        ("/a?x=1", format!("X-API-Key: {good}")),
        ("/a?x=1", format!("api-key: {good}")),
        ("/a?x=1", format!("x-goog-api-key: {good}\r\nx-api-key: {good}")),
        (&format!("/a?key={good}&x=1"), "accept: */*".into()),
        (&format!("/a?x=1&k%65y={dashed}"), "accept: */*".into()),
        (&format!("/a?key={good}&x=1&key={good}"), format!("authorization: Bearer {good}")),
    ] {
        let answer = world.ask(format!("GET {target} HTTP/1.1\r\nhost: gw\r\n{line}\r\n\r\n")).await;
        assert_eq!(answer.status(), 200, "{target} {line}");
        let seen = upstream.last();
        assert_eq!(seen.target(), "/a?x=1", "{target}");
        let everything = seen.everything();
        for form in [good.clone(), dashed.clone(), basic("any", &good)] {
            assert!(find(&everything, form.as_bytes()).is_none(), "{line} reached the upstream");
        }
        world.outcome(R::Served).await;
    }
    world.done().await;
}

#[tokio::test]
async fn what_is_no_good_key_is_answered_alike() {
    let upstream = FakeUpstream::answering(OK).await;
    let yaml = usual(&[upstream.url()], "", "").replace(
        "keys:\n",
        "keys:
  - { name: old, application: app, expires: 2001-01-01T00:00:00Z }
  - { name: young, application: app, not_before: 2101-01-01T00:00:00Z }
",
    );
    let world = Setup::new(yaml).start();
    let good = key("k");
    let mut wrong = good.clone().into_bytes();
    wrong.swap(30, 40);
    let mut bodies = Vec::new();
    for presented in [
        String::new(),
        "nonsense".into(),
        key("unknown"),
        String::from_utf8(wrong).unwrap(),
        key("old"),
        key("young"),
        good[..good.len() - 1].to_owned(),
        format!("{good}x"),
        good.to_uppercase(),
        "a".repeat(5000),
    ] {
        let lines = if presented.is_empty() { String::new() } else { format!("x-api-key: {presented}\r\n") };
        let answer = world.ask(format!("GET /a HTTP/1.1\r\nhost: gw\r\n{lines}\r\n")).await;
        assert_eq!(answer.status(), 401, "{presented}");
        let mut body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        body.as_object_mut().unwrap().remove("request_id");
        let mut fields = answer.fields.clone();
        fields.retain(|(n, _)| n != "x-request-id");
        bodies.push((body, fields));
        assert!(presented.is_empty() || find(&answer.everything(), presented.as_bytes()).is_none());
        let record = world.outcome(R::Unauthenticated).await;
        assert_eq!((record.application, record.attempts), (None, 0));
    }
    assert!(bodies.windows(2).all(|w| w[0] == w[1]), "{bodies:?}");
    assert!(bodies[0].1.iter().any(|(n, v)| n == "www-authenticate" && v.starts_with("Bearer")));
    let two =
        format!("GET /a HTTP/1.1\r\nhost: gw\r\nx-api-key: {good}\r\nauthorization: Bearer {}\r\n\r\n", key("k2"));
    assert_eq!(world.ask(two).await.status(), 401, "two keys are no key");
    world.outcome(R::Unauthenticated).await;
    assert_eq!(upstream.counts().requests, 0);
    assert_eq!(world.get("/a", "").await.status(), 200);
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn allow_lists_and_networks() {
    let upstream = FakeUpstream::answering(OK).await;
    let yaml = usual(&[upstream.url()], "", "").replace(
        "keys:\n",
        "keys:
  - { name: there, application: app, networks: [10.0.0.0/8] }
  - { name: here, application: app, networks: [10.0.0.0/8, 127.0.0.0/8] }
  - { name: narrow, application: app, allow: { routes: [other] } }
",
    );
    let world = Setup::new(yaml).start();
    for (name, status, outcome) in
        [("there", 403, R::SourceNotAllowed), ("here", 200, R::Served), ("narrow", 403, R::Forbidden)]
    {
        let answer = world.ask(format!("GET / HTTP/1.1\r\nhost: gw\r\nx-api-key: {}\r\n\r\n", key(name))).await;
        assert_eq!(answer.status(), status, "{name}");
        let record = world.outcome(outcome).await;
        assert!(record.key.is_some() && record.application.as_deref() == Some("app"));
    }
    assert_eq!(upstream.counts().requests, 1);
    world.done().await;
}

#[tokio::test]
async fn guessing_is_slowed_down_but_not_the_holder_of_a_key() {
    let upstream = FakeUpstream::answering(OK).await;
    let mut setup = Setup::new(usual(&[upstream.url()], "", ""));
    setup.throttle = ThrottleSettings { per_source: 3, per_key: 100 };
    let world = setup.start();
    for i in 0..5 {
        let answer = world.ask("GET / HTTP/1.1\r\nhost: gw\r\nx-api-key: guess\r\n\r\n").await;
        let expect = if i < 3 { (401, R::Unauthenticated) } else { (429, R::TooManyFailures) };
        assert_eq!(answer.status(), expect.0);
        assert_eq!(answer.field("retry-after").is_some(), i >= 3);
        world.outcome(expect.1).await;
    }
    assert_eq!(world.guesses.0.load(std::sync::atomic::Ordering::Relaxed), 1);
    assert_eq!(world.get("/", "").await.status(), 200);
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn a_key_of_ours_goes_no_further_where_none_is_asked_for() {
    let upstream = FakeUpstream::answering(OK).await;
    let open = ", authenticate: [none]";
    let world = Setup::new(usual(&[upstream.url()], ", inject: ", open).replace(", inject: ", "")).start();
    let good = key("k");
    let escaped = good.replace('_', "%5f");
    for (target, line) in [
        ("/a?x=1", format!("Authorization: Bearer {good}")),
        ("/a?x=1", format!("Authorization: {good}")),
        ("/a?x=1", format!("authorization: Basic {}", basic("any", &good))),
        ("/a?x=1", format!("authorization: Basic {}", basic(&good, ""))),
        ("/a?x=1", format!("X-API-Key: {good}")),
        ("/a?x=1", format!("api-key: {good}")),
        ("/a?x=1", format!("x-goog-api-key: {good}")),
        (&format!("/a?key={good}&x=1"), "accept: */*".into()),
        (&format!("/a?x=1&token={escaped}"), "accept: */*".into()),
    ] {
        let answer = world.ask(format!("GET {target} HTTP/1.1\r\nhost: gw\r\n{line}\r\n\r\n")).await;
        assert_eq!(answer.status(), 200, "{target} {line}");
        let seen = upstream.last();
        assert_eq!(seen.target(), "/a?x=1", "{target}");
        for form in [good.clone(), escaped.clone(), basic("any", &good), basic(&good, "")] {
            assert!(find(&seen.everything(), form.as_bytes()).is_none(), "{line} reached the upstream");
        }
        assert!(world.outcome(R::Served).await.key.is_none());
    }
    // What is the upstream's own goes on as it is.
    for (name, value) in [("authorization", "Bearer sk-mine"), ("x-api-key", "mine"), ("cookie", "a=b")] {
        world.ask(format!("GET /a?key=mine HTTP/1.1\r\nhost: gw\r\n{name}: {value}\r\n\r\n")).await;
        assert_eq!((upstream.last().field(name), upstream.last().target()), (Some(value), "/a?key=mine"));
        world.outcome(R::Served).await;
    }
    world.done().await;
}
