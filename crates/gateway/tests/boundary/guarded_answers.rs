//! Guardrails on answers: taken out or blocked before a byte of it reaches the caller, whole and streamed, in every dialect
//! and through translation; and what was masked in a call, which comes back in its answer.

use crate::harness::*;
use credentialflow_model::{OutcomeReason as R, UsageRecord};
use serde_json::{Value, json};

fn yaml(upstream: &FakeUpstream) -> String {
    let model = |name: &str, provider: &str, rules: &str| {
        format!(
            "  - {{ name: {name}, targets: [{{ provider: {provider}, model: real, prices: [{{ from: 2020-01-01T00:00:00Z, input: \"3\", output: \"3\" }}] }}],
      guardrails: [{rules}] }}\n"
        )
    };
    let redact = "{ detect: personal_data, action: redact, on: answer }, { detect: words, action: flag, on: both, words: [weather] }";
    let block = "{ detect: personal_data, action: block, on: answer }";
    let mask = "{ detect: personal_data, action: mask }, { detect: words, action: mask, words: [Anna Lee] }";
    let schema =
        "{ detect: json_schema, action: block, on: answer, hold: true, schema: { type: object, required: [city] } }";
    let rules = [("redact", redact), ("block", block), ("mask", mask), ("schema", schema)];
    let providers = ["chats", "messages"];
    let all = || {
        providers.iter().flat_map(|provider| {
            rules.iter().map(move |(name, rules)| (format!("{provider}-{name}"), *provider, *rules))
        })
    };
    let models: String = all().map(|(name, provider, rules)| model(&name, provider, rules)).collect();
    let allowed = all().map(|(name, ..)| name).collect::<Vec<_>>().join(", ");
    format!(
        "applications:
  - {{ name: app, allow: {{ models: [{allowed}] }}, budget: {{ usd: \"100\", per: month }} }}
keys:
  - {{ name: k, application: app }}
upstreams:
  - {{ name: chats, endpoints: [\"{0}/v1\"], provider: openai-chat, timeouts: {{ response: 60s, idle: 60s }} }}
  - {{ name: messages, endpoints: [\"{0}/v1\"], provider: anthropic, timeouts: {{ response: 60s, idle: 60s }} }}
models:
{models}",
        upstream.url()
    )
}

/// Says what the last message of the call says; a stream in pieces of three characters, and without its end where that
/// text asks to hang.
async fn parrot() -> FakeUpstream {
    FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let call: Value = serde_json::from_slice(&request.body).unwrap();
            let last = &call["messages"].as_array().unwrap().last().unwrap()["content"];
            let said = last.as_str().or(last[0]["text"].as_str()).unwrap().to_owned();
            let is_chat = request.target() == "/v1/chat/completions";
            // Some servers never stream.
            if call["stream"] != true || said.contains("at once") {
                let body = match is_chat {
                    true => json!({"id": "1", "object": "chat.completion", "model": "real", "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
                        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}]}),
                    false => json!({"id": "1", "type": "message", "role": "assistant", "model": "real", "stop_reason": "end_turn",
                        "content": [{"type": "text", "text": said}], "usage": {"input_tokens": 5, "output_tokens": 7}}),
                };
                peer.send(answer(200, "content-type: application/json\r\n", &body.to_string())).await;
                continue;
            }
            let chars: Vec<char> = said.chars().collect();
            let pieces = chars.chunks(3).map(|piece| piece.iter().collect::<String>());
            let data = |value: Value| match is_chat {
                true => format!("data: {value}\n\n"),
                false => format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap()),
            };
            let mut events = Vec::new();
            if !is_chat {
                events.push(data(json!({"type": "message_start", "message": {"id": "1", "type": "message", "role": "assistant", "model": "real", "content": [], "usage": {"input_tokens": 5, "output_tokens": 1}}})));
                events.push(data(json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})));
            }
            events.extend(pieces.map(|piece| data(match is_chat {
                true => json!({"id": "1", "object": "chat.completion.chunk", "model": "real", "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": null}]}),
                false => json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}),
            })));
            let hangs = said.contains("hang") || said.contains("break");
            if is_chat && !hangs {
                events.push(data(json!({"id": "1", "object": "chat.completion.chunk", "model": "real", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})));
                events.push(data(json!({"id": "1", "object": "chat.completion.chunk", "model": "real", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}})));
                events.push("data: [DONE]\n\n".into());
            } else if !hangs {
                events.push(data(json!({"type": "content_block_stop", "index": 0})));
                events.push(data(json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}})));
                events.push(data(json!({"type": "message_stop"})));
            }
            peer.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n").await;
            for piece in events.concat().as_bytes().chunks(41) {
                peer.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()).await;
            }
            if said.contains("break") {
                return;
            }
            if hangs {
                peer.wire.drain().await;
                return;
            }
            peer.send("0\r\n\r\n").await;
        }
    })
    .await
}

fn setup(upstream: &FakeUpstream) -> World {
    let mut setup = Setup::new(yaml(upstream));
    setup.credentials = vec![];
    setup.start()
}

/// How a caller speaks: the path, and the call.
const CALLERS: [&str; 4] = ["chat", "responses", "messages", "gemini"];

async fn ask(world: &World, caller: &str, model: &str, text: &str, streams: bool) -> Message {
    let (path, body) = match caller {
        "chat" => (
            "/v1/chat/completions".to_owned(),
            json!({"model": model, "stream": streams, "messages": [{"role": "user", "content": text}]}),
        ),
        "responses" => ("/v1/responses".to_owned(), json!({"model": model, "stream": streams, "input": text})),
        "messages" => (
            "/v1/messages".to_owned(),
            json!({"model": model, "stream": streams, "max_tokens": 99, "messages": [{"role": "user", "content": text}]}),
        ),
        _ => {
            let action = if streams { "streamGenerateContent?alt=sse" } else { "generateContent" };
            (
                format!("/v1beta/models/{model}:{action}"),
                json!({"contents": [{"role": "user", "parts": [{"text": text}]}]}),
            )
        }
    };
    let body = body.to_string();
    let head = format!("POST {path} HTTP/1.1\r\nhost: gw\r\ncontent-length: {}\r\n", body.len());
    world.ask(format!("{head}authorization: Bearer {}\r\ncontent-type: application/json\r\n\r\n{body}", key("k"))).await
}

/// The words of an answer, and its error if it has one; each event is of its dialect, or this fails.
fn read(caller: &str, message: &Message, streams: bool) -> (String, Option<Value>) {
    let text = message.text();
    let datas: Vec<Value> = match streams && message.status() == 200 {
        true => text
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .filter(|data| *data != "[DONE]")
            .map(|data| serde_json::from_str(data).unwrap())
            .collect(),
        false => vec![serde_json::from_str(&text).unwrap()],
    };
    let (mut words, mut error) = (String::new(), None);
    for data in datas {
        let of = |places: &[&str]| places.iter().filter_map(|place| data.pointer(place)?.as_str()).collect::<String>();
        words += &match (caller, streams) {
            ("chat", true) => of(&["/choices/0/delta/content"]),
            ("chat", false) => of(&["/choices/0/message/content"]),
            ("responses", true) if data["type"] == "response.output_text.delta" => of(&["/delta"]),
            ("responses", true) => String::new(),
            ("responses", false) => of(&["/output/0/content/0/text"]),
            ("messages", true) => of(&["/delta/text"]),
            ("messages", false) => of(&["/content/0/text"]),
            _ => of(&["/candidates/0/content/parts/0/text"]),
        };
        if data["error"].is_object() {
            error = Some(data["error"].clone());
        }
    }
    (words, error)
}

fn found(record: &UsageRecord) -> Option<&str> {
    record.model.as_ref().and_then(|model| model.guardrails.as_deref())
}

#[tokio::test]
async fn what_is_found_in_answers_is_taken_out() {
    let upstream = parrot().await;
    let world = setup(&upstream);
    let said = "Fine weather. Write to anna.lee@example.com; \"card\" 4111 1111 1111 1111.";
    let expect = "Fine weather. Write to [EMAIL]; \"card\" [CARD].";
    for caller in CALLERS {
        for provider in ["chats", "messages"] {
            for streams in [false, true] {
                let got = ask(&world, caller, &format!("{provider}-redact"), said, streams).await;
                assert_eq!(got.status(), 200, "{}", got.text());
                let (words, error) = read(caller, &got, streams);
                assert_eq!((&*words, error), (expect, None), "{caller} of {provider}, streamed: {streams}");
                // Also where it is told once more.
                assert!(!got.text().contains("anna") && !got.text().contains("4111"), "{}", got.text());
                let record = world.outcome(R::Served).await;
                let told = found(&record).unwrap();
                assert!(told.starts_with("words/flag "), "{told}");
                assert!(told.contains("answer/personal_data/redact:2") && told.contains("answer/words/flag"), "{told}");
                let tokens = record.model.as_ref().unwrap().tokens.unwrap();
                assert_eq!((tokens.input, tokens.output), (5, 7));
            }
        }
    }
    world.done().await;
}

#[tokio::test]
async fn a_blocked_answer_is_an_error_in_the_dialect() {
    let upstream = parrot().await;
    let world = setup(&upstream);
    let said = format!("{} Write to anna.lee@example.com; that is all.", "A fine day. ".repeat(30));
    for caller in CALLERS {
        for provider in ["chats", "messages"] {
            for streams in [false, true] {
                let got = ask(&world, caller, &format!("{provider}-block"), &said, streams).await;
                assert_eq!(got.status(), if streams { 200 } else { 400 }, "{}", got.text());
                let (words, error) = read(caller, &got, streams);
                let error = error.unwrap_or_else(|| panic!("{caller} {}", got.text())).to_string();
                assert!(error.contains("answer_blocked") && error.contains("personal data"), "{error}");
                assert!(!got.text().contains("anna") && !got.text().contains("that is all"), "{}", got.text());
                assert_eq!(words.starts_with("A fine day."), streams);
                let record = world.outcome(R::AnswerBlocked).await;
                assert_eq!(found(&record), Some("answer/personal_data/block"));
                // What the provider wrote is charged, also where it did not come to tell how much it was.
                let model = record.model.as_ref().unwrap();
                assert!(model.cost.is_some() && model.budgets.is_some(), "{model:?}");
            }
        }
    }
    // Nobody waits for a provider that goes on.
    let hanging = format!("{said} {} hang", "It goes on. ".repeat(30));
    let got = ask(&world, "chat", "chats-block", &hanging, true).await;
    assert!(read("chat", &got, true).1.is_some());
    world.outcome(R::AnswerBlocked).await;
    world.done().await;
}

#[tokio::test]
async fn what_is_masked_comes_back() {
    let upstream = parrot().await;
    let world = setup(&upstream);
    let said = "I am Anna Lee <anna.lee@example.com>, card 4111 1111 1111 1111; again: anna.lee@example.com";
    for caller in CALLERS {
        for provider in ["chats", "messages"] {
            for streams in [false, true] {
                let got = ask(&world, caller, &format!("{provider}-mask"), said, streams).await;
                assert_eq!(got.status(), 200, "{}", got.text());
                assert_eq!(read(caller, &got, streams), (said.to_owned(), None), "{caller} of {provider}, {streams}");
                let sent = String::from_utf8(upstream.last().body.to_vec()).unwrap();
                assert!(sent.contains("I am <MASKED_1> <<EMAIL_1>>, card <CARD_1>; again: <EMAIL_1>"), "{sent}");
                assert!(!sent.contains("anna") && !sent.contains("Anna") && !sent.contains("4111"), "{sent}");
                assert_eq!(found(&world.outcome(R::Served).await), Some("personal_data/mask:3 words/mask"));
            }
        }
    }
    // The names of an earlier call are not known any more.
    let body = json!({"model": "chats-mask", "input": "x", "previous_response_id": "resp_1"}).to_string();
    let head = format!("POST /v1/responses HTTP/1.1\r\nhost: gw\r\ncontent-length: {}\r\n", body.len());
    let got = world.ask(format!("{head}authorization: Bearer {}\r\n\r\n{body}", key("k"))).await;
    assert!(got.text().contains("masked values are not known"), "{}", got.text());
    world.outcome(R::InvalidModelCall).await;
    world.done().await;
}

#[tokio::test]
async fn an_answer_has_the_form_that_is_asked_for() {
    let upstream = parrot().await;
    let world = setup(&upstream);
    for caller in CALLERS {
        for streams in [false, true] {
            let got = ask(&world, caller, "chats-schema", r#"{"city": "Lisbon"}"#, streams).await;
            assert_eq!(read(caller, &got, streams), (r#"{"city": "Lisbon"}"#.to_owned(), None));
            world.outcome(R::Served).await;
            let got = ask(&world, caller, "chats-schema", r#"{"town": "Lisbon"}"#, streams).await;
            let (words, error) = read(caller, &got, streams);
            assert!(words.is_empty() && error.unwrap().to_string().contains("answer_blocked"), "{}", got.text());
            assert_eq!(found(&world.outcome(R::AnswerBlocked).await), Some("answer/json_schema/block"));
        }
    }
    world.done().await;
}

#[tokio::test]
async fn a_whole_answer_to_a_call_for_a_stream_is_streamed_and_judged() {
    let upstream = parrot().await;
    let world = setup(&upstream);
    for (caller, provider) in [
        ("responses", "chats"),
        ("messages", "chats"),
        ("gemini", "chats"),
        ("chat", "messages"),
        ("gemini", "messages"),
    ] {
        let as_a_stream = |got: &Message| {
            assert_eq!((got.status(), got.field("content-type")), (200, Some("text/event-stream")), "{}", got.text());
            read(caller, got, true)
        };
        let said = "Said at once, to anna.lee@example.com.";
        let got = ask(&world, caller, &format!("{provider}-redact"), said, true).await;
        assert_eq!(as_a_stream(&got), ("Said at once, to [EMAIL].".to_owned(), None), "{caller} of {provider}");
        assert!(!got.text().contains("anna"), "{}", got.text());
        let record = world.outcome(R::Served).await;
        assert!(found(&record).unwrap().contains("answer/personal_data/redact"), "{record:?}");
        let tokens = record.model.as_ref().unwrap().tokens.unwrap();
        assert_eq!((tokens.input, tokens.output), (5, 7));
        let got = ask(&world, caller, &format!("{provider}-mask"), said, true).await;
        assert_eq!(as_a_stream(&got), (said.to_owned(), None), "{caller} of {provider}");
        world.outcome(R::Served).await;
        // Nothing has gone, so this is a refusal and no stream with an error.
        let got = ask(&world, caller, &format!("{provider}-block"), said, true).await;
        assert_eq!(got.status(), 400, "{}", got.text());
        assert!(got.text().contains("answer_blocked") && !got.text().contains("anna"), "{}", got.text());
        world.outcome(R::AnswerBlocked).await;
        let said = r#"{"city": "at once"}"#;
        let got = ask(&world, caller, &format!("{provider}-schema"), said, true).await;
        assert_eq!(as_a_stream(&got), (said.to_owned(), None), "{caller} of {provider}");
        world.outcome(R::Served).await;
    }
    world.done().await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_judged_to_its_last_word() {
    let upstream = parrot().await;
    let world = setup(&upstream);
    for (caller, provider) in [
        ("responses", "chats"),
        ("responses", "messages"),
        ("messages", "chats"),
        ("gemini", "chats"),
        ("chat", "messages"),
    ] {
        for model in ["redact", "block", "schema"] {
            let got =
                ask(&world, caller, &format!("{provider}-{model}"), "Write to anna.lee@example.com, then break", true)
                    .await;
            assert!(!got.text().contains("anna"), "{caller} of {provider}, {model}: {}", got.text());
            let record = world.record().await;
            let found = found(&record).unwrap_or_default().to_owned();
            let (outcome, rule) = match model {
                "redact" => (R::UpstreamTruncated, "answer/personal_data/redact"),
                "block" => (R::AnswerBlocked, "answer/personal_data/block"),
                _ => (R::AnswerBlocked, "answer/json_schema/block"),
            };
            assert!(record.outcome == outcome && found.contains(rule), "{caller} of {provider}, {model}: {record:?}");
        }
    }
    world.done().await;
}

#[tokio::test]
async fn what_cannot_be_looked_at_does_not_pass() {
    let upstream = FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let call: Value = serde_json::from_slice(&request.body).unwrap();
            match call["messages"][0]["content"].as_str().unwrap() {
                "compressed" => {
                    peer.send(answer(
                        200,
                        "content-type: application/json\r\ncontent-encoding: gzip\r\n",
                        "anna@example.com",
                    ))
                    .await;
                }
                "html" => peer.send(answer(200, "content-type: text/html\r\n", "<p>anna@example.com")).await,
                "named" => {
                    let body = r#"{"choices":[{"message":{"content":"anna@example.com"}}]}"#;
                    peer.send(answer(200, "content-type: text/event-stream\r\n", body)).await
                }
                "events" => {
                    peer.send(answer(200, "content-type: text/event-stream\r\n", "data: anna@example.com\n\n")).await
                }
                // What the provider says went wrong is no answer of a model.
                _ => {
                    peer.send(answer(429, "content-type: application/json\r\n", r#"{"error":{"message":"slow down"}}"#))
                        .await
                }
            }
        }
    })
    .await;
    let world = setup(&upstream);
    for how in ["compressed", "html", "events", "named"] {
        let streams = matches!(how, "events" | "named");
        let got = ask(&world, "chat", "chats-redact", how, streams).await;
        assert!(!got.text().contains("anna"), "{how}: {}", got.text());
        assert_eq!(got.status(), if streams { 200 } else { 502 }, "{how}");
        assert!(got.text().contains("error"), "{}", got.text());
        world.outcome(R::UpstreamMalformed).await;
    }
    let got = ask(&world, "chat", "chats-redact", "busy", false).await;
    assert_eq!((got.status(), got.text().contains("slow down")), (429, true));
    world.outcome(R::Served).await;
    world.done().await;
}
