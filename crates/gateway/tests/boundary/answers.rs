//! Live secrets of ours in what callers are answered: told of, or blanked, as route or model say; an echo is told of.

use crate::{harness::*, models};
use credentialflow_gateway::ports::{SecretPlace, SentSecrets};
use credentialflow_model::{KeyToken, OutcomeReason as R};
use credentialflow_policy::LiveSecret;
use serde_json::{Value, json};

const OTHER: &str = "the-other-secret";
/// What a route may say of answers.
const MODES: [&str; 3] = ["", ", secrets_in_answers: blank", ", secrets_in_answers: ignore"];

fn value(credential: &str, version: u32) -> LiveSecret {
    LiveSecret::Value { credential: credential.into(), version }
}

fn the_key(name: &str) -> LiveSecret {
    LiveSecret::Key { id: key_id(name), version: 1 }
}

fn told(world: &World) -> Vec<SentSecrets> {
    std::mem::take(&mut *world.sent.0.lock().unwrap())
}

/// What is told of an answer of the usual world.
fn expected(secrets: impl IntoIterator<Item = LiveSecret>, place: SecretPlace, blanked: bool) -> SentSecrets {
    SentSecrets {
        secrets: secrets.into_iter().collect(),
        place,
        application: Some("app".into()),
        key: Some(key_id("k")),
        route: Some("r".into()),
        source: [127, 0, 0, 1].into(),
        upstream: Some("u".into()),
        refused: blanked,
        gave_up: false,
    }
}

fn world(upstream: &FakeUpstream, more: &str, mode: &str) -> World {
    let mut setup = Setup::new(usual(&[upstream.url()], more, mode));
    setup.credentials = vec![("c", 1, SECRET), ("d", 4, OTHER)];
    setup.start()
}

/// A key with its secret blanked.
fn masked(key: &str) -> String {
    format!("{}{}", &key[..key.len() - 38], "*".repeat(38))
}

#[tokio::test]
async fn an_echo_is_told_once_for_each_answer_and_blanked_whatever_the_route_says() {
    let upstream = FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let head = String::from_utf8_lossy(&request.head).into_owned();
            let flat = head.replace("\r\n", " ");
            peer.send(answer(200, &format!("x-echo: {flat}\r\n"), &head.repeat(20))).await;
        }
    })
    .await;
    for mode in MODES {
        let world = world(&upstream, "", mode);
        for _ in 0..3 {
            let answer = world.get("/", "").await;
            assert!(answer.text().contains("********") && find(&answer.everything(), SECRET.as_bytes()).is_none());
            let record = world.outcome(R::Served).await;
            assert_eq!(record.credential.unwrap().version, 1);
            let echo = expected([value("c", 1)], SecretPlace::Echo, true);
            assert_eq!(told(&world), if mode.contains("ignore") { vec![] } else { vec![echo] }, "{mode}");
        }
        world.done().await;
    }
    // One that is not looked for, as it is short, is blanked and counted; nobody is told whose it is.
    let mut setup = Setup::new(usual(&[upstream.url()], "", ""));
    setup.credentials = vec![("c", 1, "short-one")];
    let world = setup.start();
    assert!(!world.get("/", "").await.text().contains("short-one"));
    world.outcome(R::Served).await;
    assert_eq!(told(&world), [expected([], SecretPlace::Echo, true)]);
    world.done().await;
}

#[tokio::test]
async fn other_secrets_in_an_answer_are_told_of_or_blanked_as_the_route_says() {
    let (own, other) = (key("k"), key("k2"));
    let body = format!("{{\"own\":\"{own}\",\"other\":\"{other}\",\"value\":\"{OTHER}\",\"again\":\"{OTHER}\"}}");
    let sent = body.clone();
    let upstream = FakeUpstream::start(move |mut peer| {
        let body = sent.clone();
        async move {
            while let Some(request) = peer.request().await {
                let kind = match request.target() {
                    "/image" => "content-type: image/png\r\n",
                    "/svg" => "content-type: image/svg+xml\r\n",
                    _ => "content-type: application/json\r\n",
                };
                if request.target() == "/chunked" {
                    let head = format!("HTTP/1.1 200 OK\r\n{kind}transfer-encoding: chunked\r\n\r\n");
                    peer.send(format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len())).await;
                } else if request.target() == "/head" {
                    peer.send(answer(200, &format!("x-note: see {OTHER}.\r\n"), "nothing")).await;
                } else {
                    peer.send(answer(200, kind, &body)).await;
                }
            }
        }
    })
    .await;
    let blanked = body.replace(&other, &masked(&other)).replace(OTHER, &"*".repeat(OTHER.len()));
    for mode in MODES {
        let (blank, ignore) = (mode.contains("blank"), mode.contains("ignore"));
        let world = world(&upstream, "", mode);
        for path in ["/length", "/chunked", "/svg"] {
            let answer = world.get(path, "").await;
            assert!(answer.complete);
            assert_eq!(answer.text(), if blank { blanked.as_str() } else { body.as_str() }, "{mode} {path}");
            world.outcome(R::Served).await;
            let found = told(&world);
            let mut secrets: Vec<_> = found.iter().flat_map(|sent| sent.secrets.clone()).collect();
            secrets.sort_by_key(|secret| format!("{secret:?}"));
            // The caller has its own key by right.
            let all = [the_key("k2"), value("d", 4)];
            assert_eq!(secrets, if ignore { vec![] } else { all.to_vec() }, "{mode} {path}");
            assert!(found.iter().all(|sent| *sent == expected(sent.secrets.clone(), SecretPlace::Answer, blank)));
        }
        let answer = world.get("/head", "").await;
        let field = if blank { format!("see {}.", "*".repeat(OTHER.len())) } else { format!("see {OTHER}.") };
        assert_eq!(answer.field("x-note"), Some(field.as_str()), "{mode}");
        world.outcome(R::Served).await;
        let one = vec![expected([value("d", 4)], SecretPlace::Answer, blank)];
        assert_eq!(told(&world), if ignore { vec![] } else { one }, "{mode}");
        // A picture is not looked at.
        assert_eq!(world.get("/image", "").await.text(), body);
        world.outcome(R::Served).await;
        assert!(told(&world).is_empty());
        world.done().await;
    }
}

#[tokio::test]
async fn a_secret_that_is_cut_in_two_in_a_stream_is_found_and_blanked() {
    // Each request says where its event is cut.
    let upstream = FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let cut = request.target().trim_start_matches('/').parse::<usize>().unwrap();
            let event = format!("data: {{\"text\":\"{OTHER} {}\"}}\n\n", key("k2"));
            peer.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n").await;
            let (a, b) = event.split_at(cut);
            for piece in [a, b] {
                if !piece.is_empty() {
                    peer.send(format!("{:x}\r\n{piece}\r\n", piece.len())).await;
                }
                // Most often long enough for the first part to have been read alone.
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            peer.send("0\r\n\r\n").await;
        }
    })
    .await;
    let length = format!("data: {{\"text\":\"{OTHER} {}\"}}\n\n", key("k2")).len();
    for mode in &MODES[..2] {
        let world = world(&upstream, "", mode);
        for cut in (0..=length).step_by(3) {
            let answer = world.get(&format!("/{cut}"), "").await;
            assert!(answer.complete && answer.text().len() == length, "{cut}: {}", answer.text());
            if mode.contains("blank") {
                let text = answer.text();
                assert!(text.contains(&masked(&key("k2"))), "{cut}: {text}");
                // Three bytes at most, where no more of it had come.
                assert!(text.contains(&"*".repeat(OTHER.len() - 3)) && !text.contains(OTHER), "{cut}: {text}");
            }
            world.outcome(R::Served).await;
            let mut secrets: Vec<_> = told(&world).into_iter().flat_map(|sent| sent.secrets).collect();
            secrets.sort_by_key(|secret| format!("{secret:?}"));
            assert_eq!(secrets, [the_key("k2"), value("d", 4)], "{mode} {cut}");
        }
        world.done().await;
    }
}

#[tokio::test]
async fn events_pass_as_they_come_also_where_secrets_are_blanked() {
    let (go, gate) = tokio::sync::watch::channel(0);
    let upstream = FakeUpstream::start(move |mut peer| {
        let mut gate = gate.clone();
        async move {
            if peer.request().await.is_none() {
                return;
            }
            peer.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n").await;
            for n in 1..=3 {
                // The next event comes once the one before has arrived.
                gate.wait_for(|seen| *seen >= n).await.unwrap();
                peer.send(format!("data: the event {n}\n\n")).await;
            }
        }
    })
    .await;
    let world = world(&upstream, "", MODES[1]);
    let mut wire = world.connect().await;
    wire.send(get("/", "")).await.unwrap();
    let mut head = within(wire.head()).await.unwrap();
    assert_eq!(head.status(), 200);
    for n in 1..=3 {
        go.send(n).unwrap();
        let event = format!("data: the event {n}\n\n");
        while find(wire.pending(), event.as_bytes()).is_none() {
            assert!(within(wire.fill()).await.unwrap() > 0);
        }
    }
    within(wire.body(&mut head)).await;
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn a_compressed_answer_is_not_looked_at_and_does_not_pass_where_secrets_are_blanked() {
    let upstream = FakeUpstream::start(|mut peer| async move {
        while peer.request().await.is_some() {
            peer.send(answer(200, "content-encoding: gzip\r\n", &format!("not really {OTHER}"))).await;
        }
    })
    .await;
    // Without a credential nothing else asks for an answer that can be read.
    let yaml = |more: &str, mode: &str| usual(&[upstream.url()], more, mode).replace(", inject: { bearer: c }", "");
    for (more, mode, status) in [("", MODES[0], 200), ("", MODES[1], 502), (", encoding: passthrough", MODES[1], 200)] {
        let mut setup = Setup::new(yaml(more, mode));
        setup.credentials = vec![("c", 1, SECRET), ("d", 4, OTHER)];
        let world = setup.start();
        assert_eq!(world.get("/", "").await.status(), status, "{more} {mode}");
        world.outcome(if status == 200 { R::Served } else { R::UpstreamMalformed }).await;
        assert!(told(&world).is_empty());
        world.done().await;
    }
}

#[tokio::test]
async fn what_a_model_says_holds_for_its_answers() {
    let upstream = FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let call: Value = serde_json::from_slice(&request.body).unwrap();
            let event = json!({"choices": [{"delta": {"content": OTHER}, "message": {"content": OTHER}}]}).to_string();
            if call["stream"] == true {
                let body = format!("data: {event}\n\ndata: [DONE]\n\n");
                peer.send(answer(200, "content-type: text/event-stream\r\n", &body)).await;
            } else {
                peer.send(answer(200, "content-type: application/json\r\n", &event)).await;
            }
        }
    })
    .await;
    let yaml = models::yaml(&upstream).replace("name: chat, targets", "name: chat, secrets_in_answers: blank, targets");
    let mut setup = Setup::new(yaml);
    setup.credentials = vec![("c", 3, SECRET), ("d", 9, OTHER)];
    let world = setup.start();
    for (model, stream, blanked) in [("chat", false, true), ("chat", true, true), ("unpriced", false, false)] {
        let body =
            json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "x"}]}).to_string();
        let answer = world.ask(post("/v1/chat/completions", "content-type: application/json\r\n", &body)).await;
        assert_eq!(answer.status(), 200);
        assert_eq!((answer.text().contains(OTHER), answer.text().contains("****")), (!blanked, blanked), "{model}");
        world.outcome(R::Served).await;
        let found = told(&world);
        assert!(found.iter().all(|sent| sent.upstream.as_deref() == Some("mine") && sent.refused == blanked));
        let secrets: Vec<_> = found.into_iter().flat_map(|sent| sent.secrets).collect();
        assert_eq!(secrets, [value("d", 9)], "{model}");
    }
    world.done().await;
}

#[tokio::test]
async fn behind_more_look_alikes_than_are_compared_no_secret_passes_where_secrets_are_blanked() {
    // Well formed, of a key that is there, and with another secret.
    let decoy = KeyToken::generate("cfk", "live", key_id("k2"), |bytes| bytes.fill(7)).unwrap();
    let many = format!("{} ", decoy.expose_str().unwrap()).repeat(1001);
    let sent = many.clone();
    let upstream = FakeUpstream::start(move |mut peer| {
        let many = sent.clone();
        async move {
            while let Some(request) = peer.request().await {
                if request.target() == "/head" {
                    peer.send(answer(200, &format!("x-many: {many}{}\r\n", key("k2")), "ok")).await;
                } else {
                    peer.send(answer(200, "", &format!("{many}{} {OTHER}", key("k2")))).await;
                }
            }
        }
    })
    .await;
    for mode in MODES {
        let blank = mode.contains("blank");
        let world = world(&upstream, "", mode);
        let answer = world.get("/", "").await;
        let end = &answer.text()[many.len()..];
        let expected = if blank {
            format!("{} {}", masked(&key("k2")), "*".repeat(OTHER.len()))
        } else {
            format!("{} {OTHER}", key("k2"))
        };
        assert_eq!(end, expected, "{mode}");
        world.outcome(R::Served).await;
        assert_eq!(told(&world).iter().any(|sent| sent.gave_up), !mode.contains("ignore"), "{mode}");
        // What cannot be looked at to its end does not pass at all: a head is short.
        let answer = world.get("/head", "").await;
        assert_eq!(answer.status(), if blank { 502 } else { 200 }, "{mode}");
        assert_eq!(find(&answer.everything(), key("k2").as_bytes()).is_none(), blank);
        world.outcome(if blank { R::UpstreamMalformed } else { R::Served }).await;
        let found = told(&world);
        assert_eq!(found.iter().any(|sent| sent.gave_up && sent.refused == blank), !mode.contains("ignore"), "{mode}");
        world.done().await;
    }
}

#[tokio::test]
async fn a_request_with_more_look_alikes_than_are_compared_is_refused_or_told_of() {
    let upstream = FakeUpstream::start(|mut peer| async move {
        while peer.request().await.is_some_and(|r| r.complete) {
            peer.send(answer(200, "", "ok")).await;
        }
    })
    .await;
    // Well formed, of a key that is there, and with another secret.
    let decoy = KeyToken::generate("cfk", "live", key_id("k2"), |bytes| bytes.fill(7)).unwrap();
    let many = format!("{} ", decoy.expose_str().unwrap()).repeat(1001);
    let body = format!("{many}{}", key("k2"));
    for mode in ["", ", secrets_in_requests: report"] {
        let mut setup = Setup::new(usual(&[upstream.url()], "", mode));
        setup.credentials = vec![("c", 1, SECRET)];
        let world = setup.start();
        let answer = world.ask(post("/", "", &body)).await;
        if mode.is_empty() {
            assert_eq!(answer.status(), 400);
            assert!(answer.text().contains("more that looks like a live secret"), "{}", answer.text());
            world.outcome(R::SecretInRequest).await;
        } else {
            assert_eq!(answer.status(), 200);
            world.outcome(R::Served).await;
        }
        let found = told(&world);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].gave_up, found[0].refused, found[0].secrets.len()), (true, mode.is_empty(), 0));
        assert_eq!((found[0].place, found[0].upstream.as_deref()), (SecretPlace::Body, None));
        // A few are compared, and what comes after them is found.
        let few = format!("{}{}", &many[..many.len() / 10], key("k2"));
        let status = world.ask(post("/", "", &few)).await.status();
        assert_eq!(status, if mode.is_empty() { 400 } else { 200 });
        world.record().await;
        assert_eq!(told(&world)[0].secrets, [the_key("k2")]);
        world.done().await;
    }
}
