//! Replicate as a provider: what one request makes is there later, or is heard at another place; the credential goes to
//! neither of the addresses that an answer names.

use crate::harness::*;
use credentialflow_model::{OutcomeReason as R, UsageRecord, usage::TokenUsage};
use serde_json::{Value, json};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

const DETAIL: &str = "content-type: application/problem+json\r\n";
const JSON: &str = "content-type: application/json\r\n";

fn yaml(upstream: &FakeUpstream) -> String {
    let (url, timeouts) = (upstream.url(), "timeouts: { connect: 20s, response: 60s, idle: 60s }");
    format!(
        "applications:
  - {{ name: app, allow: {{ models: [llama, second, hedged, beside, again] }} }}
keys:
  - {{ name: k, application: app }}
credentials:
  - {{ name: c, engine: static }}
upstreams:
  - {{ name: there, endpoints: [\"{url}/v1\"], provider: replicate, inject: {{ bearer: c }}, {timeouts} }}
  - {{ name: chats, endpoints: [\"{url}/chats\"], provider: openai-chat, {timeouts} }}
models:
  - {{ name: llama, targets: [{{ provider: there, model: meta/llama }}] }}
  - name: second
    targets:
      - {{ provider: there, model: meta/llama }}
      - {{ provider: chats, model: other, credential: c, priority: 1 }}
  - {{ name: again, retry: {{ times: 2, wait: 100ms }}, targets: [{{ provider: there, model: meta/llama }}] }}
  - name: hedged
    hedge: {{ after: 100ms }}
    targets:
      - {{ provider: there, model: meta/llama }}
      - {{ provider: chats, model: other, credential: c, priority: 1 }}
  - name: beside
    hedge: {{ after: 100ms }}
    targets:
      - {{ provider: chats, model: other, credential: c }}
      - {{ provider: there, model: meta/llama, priority: 1 }}
"
    )
}

/// Replicate, which does as the prompt says. Another address at which streams are said to be can be told it.
struct Replicate {
    upstream: FakeUpstream,
    stream_at: Arc<Mutex<Option<String>>>,
    /// How often it was asked for something that was made.
    polls: Arc<AtomicUsize>,
    /// The streams that were left.
    left: Arc<AtomicUsize>,
}

fn prediction(status: &str, output: Value, stream: Option<String>) -> String {
    let metrics = match status {
        "succeeded" => json!({"predict_time": 0.1, "input_token_count": 9, "output_token_count": 4}),
        _ => json!({}),
    };
    let error = if status == "failed" { json!("It broke.") } else { Value::Null };
    // Where its addresses lead is not what decides where it is asked for.
    let urls = json!({"get": "http://127.0.0.1:9/evil", "cancel": "http://127.0.0.1:9/evil", "stream": stream});
    json!({"id": "gm3q", "status": status, "output": output, "error": error, "metrics": metrics, "urls": urls,
        "input": {"prompt": "x"}, "logs": "metrics"})
    .to_string()
}

impl Replicate {
    async fn start() -> Self {
        let stream_at = Arc::<Mutex<Option<String>>>::default();
        let (polls, left) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let how = Arc::<Mutex<String>>::default();
        let told = (stream_at.clone(), polls.clone(), left.clone(), how);
        let upstream = FakeUpstream::start(move |mut peer| {
            let (stream_at, polls, left, how) = told.clone();
            async move {
                while let Some(request) = peer.request().await {
                    let place = request.field("host").unwrap_or_default().to_owned();
                    let target = request.target().to_owned();
                    if target.starts_with("/chats/") {
                        if String::from_utf8_lossy(&request.body).contains("slowly") {
                            tokio::time::sleep(std::time::Duration::from_millis(600)).await;
                        }
                        let said = json!({"id": "1", "object": "chat.completion", "choices": [
                            {"index": 0, "message": {"role": "assistant", "content": "second"}, "finish_reason": "stop"}]});
                        peer.send(answer(200, JSON, &said.to_string())).await;
                        continue;
                    }
                    let now = how.lock().unwrap().clone();
                    if target == "/v1/models/meta/llama/predictions" {
                        let call: Value = serde_json::from_slice(&request.body).unwrap();
                        let asked = call["input"]["prompt"].as_str().unwrap_or_default().to_owned();
                        how.lock().unwrap().clone_from(&asked);
                        polls.store(0, Relaxed);
                        let own = format!("http://{place}/v1/streams/abc");
                        let stream = stream_at.lock().unwrap().clone().or(Some(own)).filter(|_| asked != "no stream");
                        let streams = request.field("cancel-after") == Some("3600s");
                        match asked.as_str() {
                            "refuse" => {
                                let detail = json!({"title": "Unprocessable", "detail": "input: prompt is required", "status": 422});
                                peer.send(answer(422, DETAIL, &detail.to_string())).await;
                            }
                            "busy" => peer.send(answer(429, DETAIL, r#"{"detail":"slow down"}"#)).await,
                            "fail at once" => peer.send(answer(201, JSON, &prediction("failed", Value::Null, None))).await,
                            "garbled" => peer.send(answer(201, JSON, r#"{"id":"../x","status":"starting"}"#)).await,
                            how if (streams && how != "at once") || how.contains("later") => {
                                peer.send(answer(201, JSON, &prediction("starting", Value::Null, stream))).await;
                            }
                            _ => {
                                let body = prediction("succeeded", json!(["Hel", "lo"]), stream);
                                peer.send(answer(201, JSON, &body)).await;
                            }
                        }
                    } else if target == "/v1/predictions/gm3q" && now == "later, away" {
                        // Nothing is at the other end.
                        peer.wire.drain().await;
                        return;
                    } else if target == "/v1/predictions/gm3q" && now == "later, short" && polls.fetch_add(1, Relaxed) < 2 {
                        // It breaks off within its answer.
                        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"id\":").await;
                        return;
                    } else if target == "/v1/predictions/gm3q" {
                        let polled = polls.fetch_add(1, Relaxed);
                        let (status, output) = match now.as_str() {
                            "never, later" => ("processing", json!(["Hel"])),
                            "later, fail" if polled > 0 => ("failed", Value::Null),
                            _ if polled == 0 => ("processing", json!(["Hel"])),
                            _ => ("succeeded", json!(["Hel", "lo"])),
                        };
                        if now == "later, busy" && polled == 0 {
                            peer.send(answer(429, DETAIL, r#"{"detail":"slow down"}"#)).await;
                        } else {
                            peer.send(answer(200, JSON, &prediction(status, output, None))).await;
                        }
                    } else if target == "/v1/predictions/gm3q/cancel" {
                        peer.send(answer(200, JSON, &prediction("canceled", Value::Null, None))).await;
                    } else if now == "stream away" {
                        peer.send(answer(404, DETAIL, "{}")).await;
                    } else {
                        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
                        let end = match now.as_str() {
                            "break" => "event: error\ndata: {\"detail\":\"It broke.\"}\n\n",
                            "cut" | "hang" => "",
                            _ => "event: done\ndata: {}\n\n",
                        };
                        let said = if now == "echo" { SECRET } else { "lo" };
                        if now == "break at once" {
                            peer.send(format!("{head}event: error\ndata: {{\"detail\":\"It broke.\"}}\n\n")).await;
                            return;
                        }
                        let events = format!("event: output\nid: 1\ndata: Hel\n\nevent: output\ndata: {said}\ndata: you\n\n{end}");
                        peer.send(format!("{head}{events}")).await;
                        if now == "hang" {
                            peer.wire.drain().await;
                            left.fetch_add(1, Relaxed);
                        }
                        return;
                    }
                }
            }
        })
        .await;
        Self { upstream, stream_at, polls, left }
    }

    fn world(&self) -> World {
        let mut setup = Setup::new(yaml(&self.upstream));
        setup.workers = 1;
        setup.start()
    }

    /// Methods and targets since then.
    fn asked(&self, since: usize) -> Vec<String> {
        let all = self.upstream.requests();
        all[since..].iter().map(|one| format!("{} {}", one.method(), one.target())).collect()
    }
}

fn call(model: &str, how: &str, stream: bool) -> String {
    let call =
        json!({"model": model, "stream": stream, "max_tokens": 9, "messages": [{"role": "user", "content": how}]});
    let more = "content-type: application/json\r\nprefer: respond-async\r\ncancel-after: 1s\r\n";
    post("/v1/chat/completions", more, &call.to_string())
}

fn tokens(record: &UsageRecord) -> Option<TokenUsage> {
    record.model.as_ref().and_then(|model| model.tokens)
}

const MADE: &str = "POST /v1/models/meta/llama/predictions";
const ASKED: &str = "GET /v1/predictions/gm3q";
const HEARD: &str = "GET /v1/streams/abc";
const ENDED: &str = "POST /v1/predictions/gm3q/cancel";
const TOLD: Option<TokenUsage> =
    Some(TokenUsage { input: 9, output: 4, cached_input: 0, cache_write: 0, cache_write_1h: 0, reasoning: 0 });

#[tokio::test]
async fn whole_answers_are_there_at_once_or_later() {
    let there = Replicate::start().await;
    let world = there.world();
    for (how, expect) in [
        ("now", vec![MADE]),
        ("later", vec![MADE, ASKED, ASKED]),
        ("later, busy", vec![MADE, ASKED, ASKED]),
        ("later, short", vec![MADE, ASKED, ASKED, ASKED]),
    ] {
        let since = there.upstream.requests().len();
        let answered = world.ask(call("llama", how, false)).await;
        assert_eq!(answered.status(), 200, "{how}: {}", answered.text());
        let body: Value = serde_json::from_slice(&answered.body).unwrap();
        assert_eq!(body["choices"][0]["message"]["content"], "Hello", "{how}");
        assert_eq!((&body["model"], &body["usage"]["total_tokens"]), (&json!("meta/llama"), &json!(13)), "{how}");
        assert_eq!(there.asked(since), expect, "{how}");
        let sent = &there.upstream.requests()[since..];
        assert!(sent.iter().all(|one| one.field("authorization") == Some(format!("Bearer {SECRET}").as_str())));
        assert_eq!((sent[0].field("prefer"), sent[0].field("cancel-after")), (Some("wait=5"), Some("60s")));
        let input: Value = serde_json::from_slice(&sent[0].body).unwrap();
        assert_eq!(input, json!({"input": {"prompt": how, "max_tokens": 9}}));
        let record = world.outcome(R::Served).await;
        assert_eq!((tokens(&record), record.upstream_status, record.attempts), (TOLD, 200, 1), "{how}");
    }
    world.done().await;
}

#[tokio::test]
async fn streams_are_heard_where_they_are_and_counted_afterwards() {
    let there = Replicate::start().await;
    let world = there.world();
    let since = there.upstream.requests().len();
    let answered = world.ask(call("llama", "Hi", true)).await;
    let text = answered.text();
    assert_eq!((answered.status(), answered.field("content-type")), (200, Some("text/event-stream")), "{text}");
    assert!(text.contains(r#""content":"Hel""#) && text.contains(r#""content":"lo\nyou""#), "{text}");
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    assert_eq!(tokens(&world.outcome(R::Served).await), TOLD);
    assert_eq!(there.asked(since), [MADE, HEARD, ASKED, ASKED]);
    let sent = &there.upstream.requests()[since..];
    assert_eq!((sent[0].field("prefer"), sent[0].field("cancel-after")), (None, Some("3600s")));
    // The credential is for who made it alone.
    assert_eq!((sent[1].field("authorization"), sent[1].field("accept")), (None, Some("text/event-stream")));
    assert!(!String::from_utf8_lossy(&sent[1].everything()).contains(SECRET));
    // One that is there before anybody could hear it is told as it is.
    let since = there.upstream.requests().len();
    let text = world.ask(call("llama", "at once", true)).await.text();
    assert!(text.contains(r#""content":"Hello""#) && text.ends_with("data: [DONE]\n\n"), "{text}");
    assert_eq!(tokens(&world.outcome(R::Served).await), TOLD);
    assert_eq!(there.asked(since), [MADE]);
    // A secret that comes back is taken out of a stream too.
    let text = world.ask(call("llama", "echo", true)).await.text();
    assert!(!text.contains(SECRET) && text.contains("***"), "{text}");
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn a_place_that_is_not_the_providers_is_never_gone_to() {
    let there = Replicate::start().await;
    let elsewhere = FakeUpstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let world = there.world();
    for place in [
        format!("{}/v1/streams/abc", elsewhere.url()),
        // Which is one of Replicate's, but not where who is asked without TLS is Replicate.
        "https://stream.replicate.com/v1/streams/abc".to_owned(),
        "no address".to_owned(),
    ] {
        *there.stream_at.lock().unwrap() = Some(place.clone());
        let since = there.upstream.requests().len();
        let text = world.ask(call("llama", "Hi", true)).await.text();
        // It is asked for until it is there, and comes as one stream.
        assert!(text.contains(r#""content":"Hello""#) && text.ends_with("data: [DONE]\n\n"), "{place}: {text}");
        assert_eq!(there.asked(since), [MADE, ASKED, ASKED], "{place}");
        assert_eq!(tokens(&world.outcome(R::Served).await), TOLD, "{place}");
    }
    assert_eq!(elsewhere.counts().accepted, 0);
    *there.stream_at.lock().unwrap() = None;
    // And so where there is none, or it is gone.
    for (how, expect) in [("no stream", vec![MADE, ASKED, ASKED]), ("stream away", vec![MADE, HEARD, ASKED, ASKED])] {
        let since = there.upstream.requests().len();
        let text = world.ask(call("llama", how, true)).await.text();
        assert!(text.contains(r#""content":"Hello""#) && text.ends_with("data: [DONE]\n\n"), "{how}: {text}");
        assert_eq!(there.asked(since), expect, "{how}");
        world.outcome(R::Served).await;
    }
    world.done().await;
}

#[tokio::test]
async fn what_goes_wrong_is_told_in_the_callers_dialect() {
    let there = Replicate::start().await;
    let world = there.world();
    for (how, status, said) in [
        ("refuse", 422, "input: prompt is required"),
        ("fail at once", 500, "It broke."),
        ("later, fail", 500, "It broke."),
    ] {
        for stream in [false, true].into_iter().filter(|stream| !(*stream && how.contains("later"))) {
            let answered = world.ask(call("llama", how, stream)).await;
            let body: Value = serde_json::from_slice(&answered.body).unwrap();
            assert_eq!((answered.status(), &body["error"]["message"]), (status, &json!(said)), "{how}");
            let record = world.outcome(R::Served).await;
            assert_eq!((record.upstream_status, tokens(&record)), (status, None), "{how}");
        }
    }
    assert_eq!(world.ask(call("llama", "garbled", false)).await.status(), 502);
    world.outcome(R::UpstreamMalformed).await;
    for (how, said, outcome) in [("break", "It broke.", R::Served), ("cut", "cannot be used", R::UpstreamTruncated)] {
        let text = world.ask(call("llama", how, true)).await.text();
        assert!(text.contains("\"error\"") && text.contains(said) && !text.contains("[DONE]"), "{how}: {text}");
        world.outcome(outcome).await;
    }
    world.done().await;
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_ended() {
    let there = Replicate::start().await;
    let world = there.world();
    // The caller leaves while it is asked for, and while it is heard.
    for (how, stream) in [("never, later", false), ("hang", true)] {
        let since = there.upstream.requests().len();
        let mut wire = world.connect().await;
        wire.send(call("llama", how, stream)).await.unwrap();
        if stream {
            within(wire.head()).await.unwrap();
        } else {
            until(|| there.polls.load(Relaxed) > 0).await;
        }
        drop(wire);
        until(|| there.asked(since).last().is_some_and(|last| last == ENDED)).await;
        assert_eq!(there.asked(since).iter().filter(|one| *one == ENDED).count(), 1, "{how}");
        let last = there.upstream.last();
        assert_eq!(last.field("authorization"), Some(format!("Bearer {SECRET}").as_str()));
        assert_eq!(world.record().await.outcome, R::CallerClosed, "{how}");
    }
    until(|| there.left.load(Relaxed) == 1).await;
    world.done().await;
    // Nor is it when it took too long.
    let mut setup = Setup::new(yaml(&there.upstream).replace("response: 60s", "response: 1s"));
    setup.workers = 1;
    let world = setup.start();
    let since = there.upstream.requests().len();
    assert_eq!(world.ask(call("llama", "never, later", false)).await.status(), 504);
    world.outcome(R::UpstreamTimeout).await;
    assert_eq!(there.asked(since).last().map(String::as_str), Some(ENDED));
    assert_eq!(there.upstream.requests()[since].field("prefer"), None, "its id is known before it is given up");
    // What was made is not made again because a question about it was not answered.
    let since = there.upstream.requests().len();
    assert_eq!(world.ask(call("llama", "later, away", false)).await.status(), 504);
    world.outcome(R::UpstreamTimeout).await;
    assert_eq!(there.asked(since).iter().filter(|one| *one == MADE).count(), 1);
    assert_eq!(there.asked(since).last().map(String::as_str), Some(ENDED));
    world.done().await;
}

#[tokio::test]
async fn a_prediction_is_not_hedged_and_is_ended_when_the_caller_leaves() {
    let there = Replicate::start().await;
    let world = there.world();
    let since = there.upstream.requests().len();
    let mut wire = world.connect().await;
    wire.send(call("hedged", "never, later", false)).await.unwrap();
    until(|| there.polls.load(Relaxed) > 1).await;
    drop(wire);
    until(|| there.asked(since).last().is_some_and(|last| last == ENDED)).await;
    assert!(there.asked(since).iter().all(|one| !one.contains("/chats/")), "{:?}", there.asked(since));
    world.outcome(R::CallerClosed).await;
    // Nor is one made beside another try.
    let since = there.upstream.requests().len();
    assert!(world.ask(call("beside", "slowly", false)).await.text().contains("second"));
    assert_eq!(there.asked(since), ["POST /chats/chat/completions"]);
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn a_prediction_that_was_made_is_not_made_again() {
    let there = Replicate::start().await;
    let world = there.world();
    for (how, status, made) in [("fail at once", 500, 1), ("later, fail", 500, 1), ("busy", 429, 3)] {
        let since = there.upstream.requests().len();
        assert_eq!(world.ask(call("again", how, false)).await.status(), status, "{how}");
        world.served(1).await;
        let asked = there.asked(since);
        assert_eq!(asked.iter().filter(|one| one.ends_with("/predictions")).count(), made, "{how}: {asked:?}");
    }
    world.done().await;
}

#[tokio::test]
async fn another_target_serves_what_failed_before_its_first_token() {
    let there = Replicate::start().await;
    let world = there.world();
    for (how, stream) in [("fail at once", false), ("later, fail", false), ("break at once", true)] {
        let since = there.upstream.requests().len();
        let answered = world.ask(call("second", how, stream)).await;
        assert!(answered.text().contains("second"), "{how}: {}", answered.text());
        let record = world.outcome(R::Served).await;
        assert_eq!(record.model.as_ref().map(|model| model.tried.len()), Some(1), "{how}");
        let asked = there.asked(since);
        assert_eq!(asked.last().map(String::as_str), Some("POST /chats/chat/completions"), "{how}");
        // One that is over is not ended; of one that was heard nobody knows.
        assert_eq!(asked.iter().any(|one| one == ENDED), how == "break at once", "{how}");
        world.install(&yaml(&there.upstream), &[("c", 1, SECRET)], &[]).await;
    }
    world.done().await;
}
