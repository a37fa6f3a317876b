//! Live secrets of ours in what callers send go no further, and whoever answers leaks is told whose request it was.

use crate::{harness::*, http2, models};
use credentialflow_gateway::ports::{SecretPlace, SentSecrets};
use credentialflow_model::OutcomeReason as R;
use credentialflow_policy::{LiveSecret, ThrottleSettings};
use http_body_util::BodyExt;
use serde_json::{Value, json};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// What a route may say of it.
const MODES: [&str; 3] = ["", ", secrets_in_requests: report", ", secrets_in_requests: ignore"];

/// Takes each request whole.
async fn taking() -> FakeUpstream {
    FakeUpstream::start(|mut peer| async move {
        while peer.request().await.is_some_and(|r| r.complete) {
            peer.send(OK).await;
        }
    })
    .await
}

fn the_key(name: &str) -> LiveSecret {
    LiveSecret::Key { id: key_id(name), version: 1 }
}

fn the_value() -> LiveSecret {
    LiveSecret::Value { credential: "c".into(), version: 1 }
}

fn told(world: &World) -> Vec<SentSecrets> {
    std::mem::take(&mut *world.sent.0.lock().unwrap())
}

/// What is told of a request of the usual world.
fn expected(secrets: impl IntoIterator<Item = LiveSecret>, place: SecretPlace, refused: bool) -> SentSecrets {
    SentSecrets {
        secrets: secrets.into_iter().collect(),
        place,
        application: Some("app".into()),
        key: Some(key_id("k")),
        route: Some("r".into()),
        source: [127, 0, 0, 1].into(),
        upstream: None,
        refused,
        gave_up: false,
    }
}

fn assert_refused(answer: &Message, place: SecretPlace) {
    assert_eq!(assert_refused_in(answer), format!("it stands in {}", place.as_str()));
}

/// What a refusal says of the place.
fn assert_refused_in(answer: &Message) -> String {
    assert_eq!(answer.status(), 400, "{}", answer.text());
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["code"], "secret_in_request");
    let everything = answer.everything();
    for secret in [key("k"), key("k2"), SECRET.to_owned()] {
        assert!(find(&everything, secret.as_bytes()).is_none(), "the refusal repeats the secret");
    }
    body["detail"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_secret_anywhere_in_a_request_is_refused_or_told_of_as_the_route_says() {
    let upstream = taking().await;
    let (other, quoted) = (key("k2"), SECRET.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"));
    let requests = [
        (get(&format!("/a/{other}/b"), ""), the_key("k2"), SecretPlace::Target),
        (get(&format!("/a?note=see-{other}"), ""), the_key("k2"), SecretPlace::Target),
        (get(&format!("/a?t={quoted}"), ""), the_value(), SecretPlace::Target),
        (get("/", &format!("x-note: {other}\r\n")), the_key("k2"), SecretPlace::Header),
        (get("/", &format!("cookie: a=1; t={SECRET}\r\n")), the_value(), SecretPlace::Header),
        (get("/", &format!("authorization: Token {other}\r\n")), the_key("k2"), SecretPlace::Header),
        (get(&format!("/a?other={other}"), ""), the_key("k2"), SecretPlace::Target),
        (get("/", "").replace("host: gw", &format!("host: {other}.example")), the_key("k2"), SecretPlace::Header),
        (post("/", "", &format!("{{\"prompt\":\"is {other} good?\"}}")), the_key("k2"), SecretPlace::Body),
        (post("/", "content-type: text/plain\r\n", SECRET), the_value(), SecretPlace::Body),
    ];
    for mode in MODES {
        let world = Setup::new(usual(&[upstream.url()], "", mode)).start();
        for (request, secret, place) in &requests {
            let seen = || (upstream.counts().accepted, upstream.counts().requests);
            let before = seen();
            let answer = world.ask(request).await;
            if mode.is_empty() {
                assert_refused(&answer, *place);
                let record = world.outcome(R::SecretInRequest).await;
                assert_eq!((record.status, record.upstream_status), (400, 0));
                assert_eq!(told(&world), [expected([secret.clone()], *place, true)]);
                if *place != SecretPlace::Body {
                    assert_eq!(seen(), before, "nothing of it went on");
                }
            } else {
                assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"), "{mode}: {request}");
                world.outcome(R::Served).await;
                let expected =
                    if mode.contains("report") { vec![expected([secret.clone()], *place, false)] } else { vec![] };
                assert_eq!(told(&world), expected, "{mode}: {request}");
            }
        }
        world.done().await;
    }
    let refused = upstream.requests().len() - 2 * requests.len();
    assert!(refused <= 3, "of refused ones at most the heads before bodies went on: {refused}");
}

#[tokio::test]
async fn the_callers_own_key_is_fine_where_it_identifies_the_caller() {
    let upstream = taking().await;
    let world = Setup::new(usual(&[upstream.url()], "", ", key_in_query: k")).start();
    let own = key("k");
    for request in [
        get("/", ""),
        get(&format!("/?k={own}&a=1"), ""),
        get(&format!("/?other={own}"), ""),
        get("/", &format!("authorization: Bearer {own}\r\n")),
        get("/", &format!("x-near: {}\r\n", &own[..own.len() - 1])),
        post("/", "", &format!("{} and {}", &own[..own.len() - 1], &SECRET[..SECRET.len() - 1])),
    ] {
        assert_eq!(world.ask(&request).await.status(), 200, "{request}");
        world.outcome(R::Served).await;
        assert!(find(&upstream.last().head, own.as_bytes()).is_none());
    }
    // Where nobody is asked for a key, one that is presented all the same goes no further.
    world.install(&usual(&[upstream.url()], "", ", authenticate: [none]"), &[("c", 1, SECRET)], &[]).await;
    assert_eq!(world.get("/", "").await.status(), 200);
    world.outcome(R::Served).await;
    assert!(told(&world).is_empty());
    // A key that was revoked is nobody's secret any more.
    let without = [("c", 1, SECRET)];
    let yaml = usual(&[upstream.url()], "", "");
    world.install(&yaml, &without, &["k2"]).await;
    assert_eq!(world.ask(post("/", "", &key("k2"))).await.status(), 200);
    world.outcome(R::Served).await;
    // A value that was replaced is none either, and the new one is.
    world.install(&yaml, &[("c", 2, "another-upstream-value")], &[]).await;
    assert_eq!(world.ask(post("/", "", SECRET)).await.status(), 200);
    world.outcome(R::Served).await;
    assert_refused(&world.ask(post("/", "", "x another-upstream-value y")).await, SecretPlace::Body);
    world.outcome(R::SecretInRequest).await;
    assert_eq!(told(&world)[0].secrets, [LiveSecret::Value { credential: "c".into(), version: 2 }]);
    world.done().await;
}

#[tokio::test]
async fn a_prompt_is_searched_before_anything_is_sent_and_refused_in_the_callers_dialect() {
    let upstream = models::provider().await;
    let mut setup = Setup::new(models::yaml(&upstream));
    setup.credentials = vec![("c", 3, SECRET), ("d", 9, "the-other-secret")];
    let world = setup.start();
    let chat = async |prompt: &str| {
        let body = json!({"model": "chat", "messages": [{"role": "user", "content": prompt}]}).to_string();
        world.ask(post("/v1/chat/completions", "content-type: application/json\r\n", &body)).await
    };
    for prompt in [format!("my key:\n{}", key("narrow")), format!("what is {SECRET}?"), "the-other-secret".to_owned()] {
        let refused = chat(&prompt).await;
        assert_eq!(refused.status(), 400);
        let error: Value = serde_json::from_slice(&refused.body).unwrap();
        assert_eq!(
            (&error["error"]["code"], &error["error"]["type"]),
            (&json!("secret_in_request"), &json!("invalid_request_error"))
        );
        assert!(find(&refused.everything(), prompt.as_bytes()).is_none());
        let record = world.outcome(R::SecretInRequest).await;
        assert_eq!((record.attempts, record.route.as_deref()), (0, Some("chat-completions")));
        assert!(told(&world)[0].refused);
    }
    assert_eq!(upstream.counts().accepted, 0, "the provider saw nothing");
    assert_eq!(chat("what is a secret?").await.status(), 200);
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn an_upload_is_cut_where_a_secret_ends_wherever_it_is_split() {
    let upstream = taking().await;
    let world = World::before(&upstream);
    for (secret, found) in [(key("k2"), the_key("k2")), (SECRET.to_owned(), the_value())] {
        let body = format!("{}{secret}{}", "before ".repeat(20), " after".repeat(20));
        for cut in (0..secret.len()).step_by(3) {
            for chunked in [false, true] {
                let (a, b) = body.split_at(140 + cut);
                let chunk = |text: &str| match chunked {
                    true => format!("{:x}\r\n{text}\r\n", text.len()),
                    false => text.to_owned(),
                };
                let framing = if chunked {
                    "transfer-encoding: chunked".into()
                } else {
                    format!("content-length: {}", body.len())
                };
                let mut wire = world.connect().await;
                let head = format!("POST / HTTP/1.1\r\nhost: gw\r\nx-api-key: {}\r\n{framing}\r\n\r\n", key("k"));
                wire.send(format!("{head}{}", chunk(a))).await.unwrap();
                // Most often long enough for the first part to have been read alone.
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                wire.send(chunk(b)).await.unwrap();
                let answer = within(wire.message()).await.expect("an answer");
                assert_refused(&answer, SecretPlace::Body);
                world.outcome(R::SecretInRequest).await;
                assert_eq!(told(&world), [expected([found.clone()], SecretPlace::Body, true)]);
            }
        }
        within(upstream.until(|c| c.open == 0)).await;
        for seen in upstream.requests() {
            assert!(!seen.complete && find(&seen.body, secret.as_bytes()).is_none(), "the secret went on whole");
        }
    }
    world.done().await;
}

#[tokio::test]
async fn an_upload_over_http2_and_one_that_was_answered_early_are_cut_too() {
    let upstream = FakeUpstream::start(|mut peer| async move {
        while let Some(mut request) = peer.head().await {
            if request.target() == "/early" {
                peer.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegun").await;
            }
            peer.wire.body(&mut request).await;
            if !request.complete {
                return;
            }
            peer.send(OK).await;
        }
    })
    .await;
    let world = World::before(&upstream);
    let mut sender = http2::caller(&world).await;
    let body = format!("{}{}", "x".repeat(100_000), key("k2"));
    let answer = within(sender.send_request(http2::request("POST", "/", body))).await.unwrap();
    assert_eq!(answer.status(), 400);
    let body = within(answer.into_body().collect()).await.unwrap().to_bytes();
    assert!(find(&body, b"secret_in_request").is_some());
    world.outcome(R::SecretInRequest).await;
    assert_eq!(told(&world), [expected([the_key("k2")], SecretPlace::Body, true)]);
    drop(sender);

    let mut wire = world.connect().await;
    let own = key("k");
    wire.send(format!("POST /early HTTP/1.1\r\nhost: gw\r\nx-api-key: {own}\r\ncontent-length: 1000\r\n\r\n"))
        .await
        .unwrap();
    let head = within(wire.head()).await.unwrap();
    assert_eq!(head.status(), 200);
    wire.send(SECRET).await.unwrap();
    let mut answer = head;
    within(wire.body(&mut answer)).await;
    assert!(!answer.complete, "the answer that had begun ends early");
    assert_eq!(world.outcome(R::SecretInRequest).await.status, 200);
    assert_eq!(told(&world), [expected([the_value()], SecretPlace::Body, true)]);
    within(upstream.until(|c| c.open == 0)).await;
    world.done().await;
}

#[tokio::test]
async fn the_callers_own_key_elsewhere_is_refused_and_nobody_is_told() {
    let upstream = taking().await;
    let own = key("k");
    let requests = [
        (get("/", &format!("referer: https://gw/?k={own}\r\n")), SecretPlace::Header),
        (get("/", &format!("cookie: key={own}\r\n")), SecretPlace::Header),
        (get(&format!("/a/{own}/b"), ""), SecretPlace::Target),
        (post("/", "", &format!("a={own}")), SecretPlace::Body),
    ];
    for mode in MODES {
        let mut setup = Setup::new(usual(&[upstream.url()], "", mode));
        setup.throttle = ThrottleSettings { per_source: 1, per_key: 1 };
        let world = setup.start();
        for (request, place) in &requests {
            let answer = world.ask(request).await;
            if mode.is_empty() {
                let detail = assert_refused_in(&answer);
                let expect = format!("your own key, which stands in {}:", place.as_str());
                assert!(detail.contains(&expect), "{detail}");
                world.outcome(R::SecretInRequest).await;
            } else {
                assert_eq!(answer.status(), 200, "{mode}: {request}");
                world.outcome(R::Served).await;
            }
            // That it was met is counted; there is nothing to tell.
            let met = if mode.contains("ignore") { vec![] } else { vec![expected([], *place, mode.is_empty())] };
            assert_eq!(told(&world), met, "{mode}: {request}");
        }
        // Another's beside it is told alone.
        if mode.contains("report") {
            assert_eq!(world.ask(post("/", "", &format!("{own} and {}", key("k2")))).await.status(), 200);
            world.outcome(R::Served).await;
            let secrets: Vec<_> = told(&world).into_iter().flat_map(|sent| sent.secrets).collect();
            assert_eq!(secrets, [the_key("k2")]);
        }
        assert_eq!(world.guesses.0.load(std::sync::atomic::Ordering::Relaxed), 0);
        world.done().await;
    }
}

#[tokio::test]
async fn no_recorded_path_holds_a_value_whatever_becomes_of_the_request() {
    let upstream = taking().await;
    let quoted = SECRET.replace('+', "%2B").replace('/', "%2f").replace('=', "%3D");
    let long = "x/".repeat(124);
    for mode in MODES {
        let yaml = usual(&[upstream.url()], "", mode).replace("path: /*", "path: /a/*");
        let world = Setup::new(yaml).start();
        for (path, expected) in [
            (format!("/a/{quoted}/b"), "/a/***/b".to_owned()),
            (format!("/a/{SECRET}/b"), "/***".to_owned()),
            (format!("/a/x-{quoted}-x/{}/b", key("k2")), format!("/a/***/cfk_live_{}_***/b", key_id("k2"))),
            (format!("/absent/{quoted}"), "/absent/***".to_owned()),
            (format!("/{quoted}"), "/***".to_owned()),
            // One that is cut off at the end of what is recorded.
            (format!("/a/{long}{quoted}"), format!("/a/{long}***")),
            (format!("/a/b?q={quoted}"), "/a/b".to_owned()),
        ] {
            for request in [get(&path, ""), format!("GET {path} HTTP/1.1\r\nhost: gw\r\n\r\n")] {
                world.ask(&request).await;
                assert_eq!(&*world.record().await.path, expected, "{mode}: {request}");
            }
        }
        world.done().await;
    }
}

#[tokio::test]
async fn whoever_tries_values_is_slowed_down_like_whoever_tries_keys() {
    let upstream = taking().await;
    let mut setup = Setup::new(usual(&[upstream.url()], "", ""));
    setup.throttle = ThrottleSettings { per_source: 1000, per_key: 3 };
    let world = setup.start();
    let requests = [
        post("/", "", SECRET),
        get("/", &format!("x-note: {SECRET}\r\n")),
        get(&format!("/?q={}", key("k2")), ""),
        post("/", "", &format!("again {SECRET}")),
        get("/", &format!("x-note: {SECRET}\r\n")),
    ];
    for (n, request) in requests.iter().enumerate() {
        let answer = world.ask(request).await;
        let (status, outcome) = if n < 3 { (400, R::SecretInRequest) } else { (429, R::TooManyFailures) };
        assert_eq!(answer.status(), status, "{n}: {}", answer.text());
        assert_eq!(answer.field("retry-after").is_some(), n >= 3, "{n}");
        world.outcome(outcome).await;
    }
    assert_eq!(told(&world).len(), requests.len(), "all are told");
    assert_eq!(world.guesses.0.load(std::sync::atomic::Ordering::Relaxed), 1);
    // Whoever sends none is not slowed down.
    assert_eq!(world.get("/", "").await.status(), 200);
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn where_requests_are_served_all_the_same_every_secret_of_one_is_told() {
    let upstream = taking().await;
    let world = Setup::new(usual(&[upstream.url()], "", ", secrets_in_requests: report")).start();
    let body = format!("{} {} {SECRET} {}", key("k2"), "x".repeat(200_000), key("k2"));
    assert_eq!(world.ask(post("/", "", &body)).await.status(), 200);
    world.outcome(R::Served).await;
    let secrets: Vec<_> = told(&world).into_iter().flat_map(|sent| sent.secrets).collect();
    assert_eq!(secrets, [the_key("k2"), the_value()]);
    world.done().await;

    let upstream = models::provider().await;
    let yaml =
        models::yaml(&upstream).replace("name: chat, targets", "name: chat, secrets_in_requests: report, targets");
    assert!(yaml.contains("secrets_in_requests"));
    let mut setup = Setup::new(yaml);
    setup.credentials = vec![("c", 3, SECRET), ("d", 9, "the-other-secret")];
    let world = setup.start();
    for (model, status, outcome) in [("chat", 200, R::Served), ("unpriced", 400, R::SecretInRequest)] {
        let content = format!("the-other-secret, {} and {SECRET}", key("narrow"));
        let body = json!({"model": model, "messages": [{"role": "user", "content": content}]}).to_string();
        let answer = world.ask(post("/v1/chat/completions", "content-type: application/json\r\n", &body)).await;
        assert_eq!(answer.status(), status, "{model}: {}", answer.text());
        world.outcome(outcome).await;
        let (secrets, refused): (Vec<_>, Vec<_>) =
            told(&world).into_iter().map(|sent| (sent.secrets, sent.refused)).unzip();
        let value = |credential: &str, version| LiveSecret::Value { credential: credential.into(), version };
        let all = [the_key("narrow"), value("d", 9), value("c", 3)];
        let expected = if status == 200 { &all[..] } else { &all[..1] };
        assert_eq!((secrets.concat().as_slice(), refused), (expected, vec![status == 400]), "{model}");
    }
    world.done().await;
}
