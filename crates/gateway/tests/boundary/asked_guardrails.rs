//! Guardrails that others judge by: a moderation endpoint and a webhook, on prompts and on answers; and what happens where
//! nobody answers.

use crate::harness::*;
use credentialflow_model::{OutcomeReason as R, UsageRecord, usage::Cost};
use serde_json::{Value, json};
use std::time::Duration;

fn yaml(upstream: &FakeUpstream) -> String {
    let moderation = "{ detect: moderation, action: block, model: omni, categories: { violence: 0.5 } }";
    let webhook = "detect: webhook, upstream: judge, path: /v1/judge, timeout: 500ms";
    let models = [
        ("moderated", moderation.to_owned()),
        ("judged", format!("{{ detect: personal_data, action: redact }}, {{ {webhook}, action: redact }}")),
        ("masked", format!("{{ detect: personal_data, action: mask }}, {{ {webhook}, action: mask }}")),
        ("strict", format!("{{ {webhook}, action: block }}, {moderation}")),
        ("lenient", format!("{{ {webhook}, action: block, on_error: allow }}")),
        ("answers", format!("{{ {webhook}, action: redact, on: answer }}")),
        ("telling", format!("{{ {webhook}, action: block, on_error: allow }}")),
        ("paying", moderation.replace("model: omni", "model: paid, on_error: allow")),
    ];
    let names = models.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let models: String = models
        .iter()
        .map(|(name, rules)| {
            let told = if *name == "telling" { "secrets_in_requests: report, " } else { "" };
            let targets = "targets: [{ provider: chats, model: real }]";
            format!("  - {{ name: {name}, {told}{targets}, guardrails: [{rules}] }}\n")
        })
        .collect();
    format!(
        "applications:
  - {{ name: app, allow: {{ models: [{names}, shared] }} }}
keys:
  - {{ name: k, application: app }}
upstreams:
  - {{ name: chats, endpoints: [\"{0}/v1\"], provider: openai-chat }}
  - {{ name: moderators, endpoints: [\"{0}/v1\"], provider: openai }}
  - {{ name: payers, endpoints: [\"{0}/v1\"], provider: openai, budget: {{ usd: 1, per: month, hard: true }} }}
  - {{ name: judge, endpoints: [\"{0}/judge\"], inject: {{ bearer: judge-token }} }}
guardrails:
  - {{ name: house, rules: [{{ {webhook}, action: block }}] }}
models:
  - {{ name: omni, targets: [{{ provider: moderators, model: omni-moderation-latest }}] }}
  - {{ name: paid, targets: [{{ provider: payers, model: m, prices: [{{ from: 2020-01-01T00:00:00Z, input: '1', output: '1' }}] }}] }}
  - {{ name: shared, targets: [{{ provider: chats, model: real }}], use_guardrails: [house] }}
{models}",
        upstream.url()
    )
}

/// A provider that repeats what it is told, a moderation endpoint and a webhook: what they make of a text stands in it.
async fn everybody() -> FakeUpstream {
    FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let call: Value = serde_json::from_slice(&request.body).unwrap();
            let json = "content-type: application/json\r\n";
            match request.target() {
                "/v1/moderations" => {
                    let score = |text: &Value| if text.as_str().unwrap().contains("fight") { 0.9 } else { 0.1 };
                    let result = |text: &Value| {
                        json!({"flagged": false, "categories": {"violence": false}, "category_scores": {"violence": score(text)}})
                    };
                    let results: Vec<Value> = call["input"].as_array().unwrap().iter().map(result).collect();
                    peer.send(answer(200, json, &json!({"id": "1", "model": "omni", "results": results}).to_string())).await;
                }
                "/judge/v1/judge" => {
                    let texts = call["texts"].as_array().unwrap();
                    let found = |word: &str| {
                        texts.iter().enumerate().find_map(|(number, said)| {
                            let text = said["text"].as_str().unwrap();
                            text.find(word).map(|at| (number, text[..at].chars().count()))
                        })
                    };
                    if found("hang").is_some() {
                        peer.wire.drain().await;
                        return;
                    }
                    let (status, body) = match (found("Anna"), found("falcon"), found("broken")) {
                        (.., Some(_)) => (200, json!({"verdict": "fine"})),
                        (_, Some(_), _) => (200, json!({"verdict": "block", "reason": "topic"})),
                        (Some((text, at)), ..) => (
                            200,
                            json!({"verdict": "redact", "replacements": [{"text": text, "start": at, "end": at + 4, "with": "[NAME]"}]}),
                        ),
                        _ if found("down").is_some() => (500, json!({})),
                        _ => (200, json!({"verdict": "allow"})),
                    };
                    peer.send(answer(status, json, &body.to_string())).await;
                }
                _ => {
                    let said = call["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap();
                    let usage = json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2});
                    if call["stream"] == true {
                        let mut events = String::new();
                        for piece in said.split_inclusive(' ') {
                            let choice = json!({"index": 0, "delta": {"content": piece}, "finish_reason": null});
                            events += &format!("data: {}\n\n", json!({"id": "1", "object": "chat.completion.chunk", "model": "real", "choices": [choice]}));
                        }
                        events += &format!("data: {}\n\n", json!({"id": "1", "object": "chat.completion.chunk", "model": "real", "choices": [], "usage": usage}));
                        events += "data: [DONE]\n\n";
                        peer.send(answer(200, "content-type: text/event-stream\r\n", &events)).await;
                    } else {
                        let choice = json!({"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}});
                        let body = json!({"id": "1", "object": "chat.completion", "model": "real", "choices": [choice], "usage": usage});
                        peer.send(answer(200, json, &body.to_string())).await;
                    }
                }
            }
        }
    })
    .await
}

fn setup(upstream: &FakeUpstream) -> World {
    let mut setup = Setup::new(yaml(upstream));
    setup.credentials = vec![("judge-token", 1, "judge-token-value-0123456789")];
    setup.start()
}

async fn chat(world: &World, model: &str, text: &str, stream: bool) -> Message {
    let body = json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": text}]}).to_string();
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: gw\r\ncontent-length: {}\r\n", body.len());
    let more = "x-mine: 1\r\nuser-agent: mine\r\ncontent-type: application/json\r\n";
    world.ask(format!("{head}authorization: Bearer {}\r\n{more}\r\n{body}", key("k"))).await
}

/// The records of one call: its own, and those of what was asked for it, by their routes.
async fn records(world: &World, count: usize) -> Vec<UsageRecord> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(world.record().await);
    }
    all.sort_by_key(|record| record.route.as_deref() != Some("chat-completions"));
    all
}

fn found(record: &UsageRecord) -> Option<&str> {
    record.model.as_ref().and_then(|model| model.guardrails.as_deref())
}

#[tokio::test]
async fn a_moderation_endpoint_is_asked_in_the_name_of_the_caller() {
    let upstream = everybody().await;
    let world = setup(&upstream);
    assert_eq!(chat(&world, "moderated", "good day", false).await.status(), 200);
    let all = records(&world, 2).await;
    assert_eq!((found(&all[0]), all[0].outcome), (None, R::Served));
    let asked = &all[1];
    assert_eq!((asked.route.as_deref(), asked.outcome), (Some("guardrail-moderation"), R::Served));
    assert_eq!((&asked.application, asked.key, asked.trace_id), (&all[0].application, all[0].key, all[0].trace_id));
    let model = asked.model.as_ref().unwrap();
    assert_eq!((&*model.model, &*model.provider_model), ("omni", "omni-moderation-latest"));
    assert!(!matches!(model.cost, Some(Cost::UnknownUsage)), "{:?}", model.cost);
    let refused = chat(&world, "moderated", "let us fight", false).await;
    assert_eq!(refused.status(), 400);
    assert!(refused.text().contains("prompt_blocked") && !refused.text().contains("violence"), "{}", refused.text());
    let all = records(&world, 2).await;
    assert_eq!((found(&all[0]), all[0].outcome), (Some("moderation.violence/block"), R::PromptBlocked));
    assert_eq!(upstream.last().target(), "/v1/moderations");
    world.done().await;
}

#[tokio::test]
async fn a_webhook_sees_what_is_left_and_takes_out_the_rest() {
    let upstream = everybody().await;
    let world = setup(&upstream);
    let answer = chat(&world, "judged", "Löw: Anna, anna@example.com", false).await;
    assert!(answer.text().contains("Löw: [NAME], [EMAIL]"), "{}", answer.text());
    let all = records(&world, 2).await;
    assert_eq!(found(&all[0]), Some("personal_data/redact webhook/redact"));
    let asked = &all[1];
    assert_eq!((asked.route.as_deref(), asked.upstream.as_deref()), (Some("guardrail-webhook"), Some("judge")));
    assert_eq!(asked.credential.as_ref().map(|used| &*used.credential), Some("judge-token"));
    let question = upstream.requests().into_iter().find(|request| request.target() == "/judge/v1/judge").unwrap();
    let head = String::from_utf8_lossy(&question.head).to_ascii_lowercase();
    assert!(head.contains("authorization: bearer judge-token-value-0123456789"), "{head}");
    assert!(
        !head.contains("x-mine") && !head.contains("user-agent"),
        "nothing of the caller's head goes along: {head}"
    );
    let body: Value = serde_json::from_slice(&question.body).unwrap();
    assert_eq!(
        (&body["on"], &body["model"], &body["application"]),
        (&json!("prompt"), &json!("judged"), &json!("app"))
    );
    assert_eq!(body["texts"], json!([{"text": "Löw: Anna, [EMAIL]", "role": "user"}]));
    world.done().await;
}

#[tokio::test]
async fn what_a_webhook_masks_comes_back_in_the_answer() {
    let upstream = everybody().await;
    let world = setup(&upstream);
    for stream in [false, true] {
        let answer = chat(&world, "masked", "Löw: Anna, anna@example.com", stream).await;
        assert_eq!(answer.status(), 200);
        let text = answer.text();
        // Streamed, what stands in one text comes in pieces.
        let told = ["Anna,", "anna@example.com"].iter().all(|word| text.contains(word));
        assert!(told && !text.contains("NAME") && !text.contains("EMAIL"), "{text}");
        assert_eq!(found(&records(&world, 2).await[0]), Some("personal_data/mask webhook/mask"));
        let provider = upstream.requests().into_iter().rfind(|sent| sent.target() == "/v1/chat/completions").unwrap();
        let seen: Value = serde_json::from_slice(&provider.body).unwrap();
        assert_eq!(seen["messages"][0]["content"], "Löw: <NAME_1>, <EMAIL_1>");
        let question = upstream.requests().into_iter().rfind(|sent| sent.target() == "/judge/v1/judge").unwrap();
        assert!(!String::from_utf8_lossy(&question.body).contains("anna@"), "it sees what is left");
    }
    world.done().await;
}

#[tokio::test]
async fn what_blocks_blocks_and_sets_tell_their_name() {
    let upstream = everybody().await;
    let world = setup(&upstream);
    for (model, text, told) in [
        ("strict", "project falcon", "webhook.topic/block"),
        ("strict", "let us fight", "moderation.violence/block"),
        ("shared", "project falcon", "house:webhook.topic/block"),
    ] {
        let refused = chat(&world, model, text, false).await;
        assert_eq!(refused.status(), 400, "{}", refused.text());
        let all = records(&world, if model == "strict" { 3 } else { 2 }).await;
        assert_eq!(found(&all[0]), Some(told));
        assert!(upstream.requests().iter().all(|request| request.target() != "/v1/chat/completions"), "{text}");
    }
    world.done().await;
}

#[tokio::test]
async fn what_nobody_answers_does_not_pass_unless_it_may() {
    let upstream = everybody().await;
    let world = setup(&upstream);
    for (text, status, reason, asked) in [
        ("hang", 504, R::UpstreamTimeout, R::UpstreamTimeout),
        ("down", 502, R::UpstreamMalformed, R::UpstreamMalformed),
        ("broken", 502, R::UpstreamMalformed, R::UpstreamMalformed),
    ] {
        let began = std::time::Instant::now();
        let refused = chat(&world, "shared", text, false).await;
        assert_eq!(refused.status(), status, "{}", refused.text());
        assert!(began.elapsed() < Duration::from_secs(5));
        let all = records(&world, 2).await;
        assert_eq!((all[0].outcome, all[1].outcome), (reason, asked), "{text}");
        assert_eq!(found(&all[0]), Some("house:webhook.unanswered/block"));
        assert_eq!(chat(&world, "lenient", text, false).await.status(), 200);
        let all = records(&world, 2).await;
        assert_eq!((all[0].outcome, found(&all[0])), (R::Served, Some("webhook.unanswered/flag")), "{text}");
    }
    world.done().await;
}

#[tokio::test]
async fn who_calls_cannot_have_a_rule_passed_over() {
    let upstream = everybody().await;
    let world = setup(&upstream);
    // A secret in the call is told of once, as its model says, and the webhook is asked all the same.
    for (text, status, outcome) in [("falcon", 400, R::PromptBlocked), ("a good day", 200, R::Served)] {
        let text = format!("{text} {}", key("k"));
        let answer = chat(&world, "telling", &text, false).await;
        assert_eq!(answer.status(), status, "{}", answer.text());
        let all = records(&world, 2).await;
        assert_eq!((all[0].outcome, all[1].outcome), (outcome, R::Served));
        let told = std::mem::take(&mut *world.sent.0.lock().unwrap());
        assert_eq!(told.len(), 1, "{told:?}");
    }
    // What we refuse to ask is no failure of the other side: here a budget without anything in it.
    let refused = chat(&world, "paying", "let us fight", false).await;
    assert_eq!(refused.status(), 503, "{}", refused.text());
    let all = records(&world, 2).await;
    assert_eq!((all[0].outcome, found(&all[0])), (all[1].outcome, Some("moderation.unanswered/block")));
    assert_eq!(all[0].outcome.fault(), credentialflow_model::Fault::Gateway, "{:?}", all[0].outcome);
    world.done().await;
}

#[tokio::test]
async fn answers_wait_until_others_have_judged_them() {
    let upstream = everybody().await;
    let world = setup(&upstream);
    let whole = chat(&world, "answers", "I am Anna", false).await;
    assert!(whole.text().contains("I am [NAME]") && !whole.text().contains("Anna"), "{}", whole.text());
    assert_eq!(found(&records(&world, 2).await[0]), Some("answer/webhook/redact"));
    let streamed = chat(&world, "answers", "a good day", true).await;
    assert!(streamed.text().contains("good ") && streamed.text().contains("[DONE]"), "{}", streamed.text());
    let question = upstream.last();
    let body: Value = serde_json::from_slice(&question.body).unwrap();
    assert_eq!(body["texts"], json!([{"text": "a good day", "role": "assistant"}]), "the pieces are one text");
    assert_eq!(records(&world, 2).await[0].outcome, R::Served);
    for (text, outcome, told) in [
        ("project falcon", R::AnswerBlocked, "answer/webhook.topic/block"),
        ("I am Anna", R::AnswerBlocked, "answer/webhook/redact"),
        ("it will hang", R::UpstreamTimeout, "answer/webhook.unanswered/block"),
    ] {
        let ended = chat(&world, "answers", text, true).await;
        let said = ended.text();
        assert!(said.contains("\"error\"") && !said.contains("delta") && !said.contains("[DONE]"), "{said}");
        let all = records(&world, 2).await;
        assert_eq!((all[0].outcome, found(&all[0])), (outcome, Some(told)), "{text}");
    }
    world.done().await;
}
