//! Claude at Vertex AI: the model in the path, the version of the API in its place in the body, all other bytes as they came.

use crate::harness::*;
use credentialflow_model::OutcomeReason as R;
use serde_json::Value;

const MODEL: &str = "claude-sonnet-4-5@20250929";

fn yaml(upstream: &FakeUpstream) -> String {
    format!(
        "applications:
  - {{ name: app, allow: {{ models: [claude] }} }}
keys:
  - {{ name: k, application: app }}
upstreams:
  - {{ name: google, endpoints: [\"{}/v1/projects/p/locations/global/publishers/anthropic\"], provider: vertex-anthropic }}
models:
  - {{ name: claude, targets: [{{ provider: google, model: \"{MODEL}\", credential: token }}] }}
",
        upstream.url()
    )
}

async fn google() -> FakeUpstream {
    FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let json = "content-type: application/json\r\n";
            if request.target().ends_with("/count-tokens:rawPredict") {
                peer.send(answer(200, json, r#"{"input_tokens":7}"#)).await;
            } else if request.target().ends_with(":streamRawPredict") {
                let events = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"c\",\"content\":[],\"usage\":{\"input_tokens\":5,\"output_tokens\":1}}}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":3}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
                peer.send(answer(200, "content-type: text/event-stream\r\n", events)).await;
            } else {
                peer.send(answer(200, json, r#"{"id":"1","type":"message","role":"assistant","model":"c","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":5,"output_tokens":3}}"#)).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn calls_go_there_with_their_own_bytes() {
    let upstream = google().await;
    let mut setup = Setup::new(yaml(&upstream));
    setup.credentials = vec![("token", 1, "ya29.token-value-0123456789")];
    let world = setup.start();
    let rest = r#" "max_tokens" : 9 , "messages":[{"role":"user","content":"\u00e4"}]"#;
    let version = r#""anthropic_version":"vertex-2023-10-16""#;
    let base = "/v1/projects/p/locations/global/publishers/anthropic/models/";
    for (path, more, target, body) in [
        ("/v1/messages?beta=true", "", format!("{base}{MODEL}:rawPredict"), format!("{{{version},{rest}}}")),
        (
            "/v1/messages",
            r#", "stream":true"#,
            format!("{base}{MODEL}:streamRawPredict"),
            format!("{{{version},{rest}, \"stream\":true}}"),
        ),
        (
            "/v1/messages/count_tokens",
            "",
            format!("{base}count-tokens:rawPredict"),
            format!("{{{version},\"model\":\"{MODEL}\",{rest}}}"),
        ),
    ] {
        let call = format!("{{\"model\":\"claude\",{rest}{more}}}");
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: gw\r\ncontent-length: {}\r\nx-api-key: {}\r\n",
            call.len(),
            key("k")
        );
        let answered = world.ask(format!("{head}content-type: application/json\r\n\r\n{call}")).await;
        assert_eq!(answered.status(), 200, "{}", answered.text());
        let sent = upstream.last();
        assert_eq!((sent.target(), String::from_utf8_lossy(&sent.body)), (&*target, body.as_str().into()));
        assert_eq!(sent.field("authorization"), Some("Bearer ya29.token-value-0123456789"));
        let record = world.outcome(R::Served).await;
        let tokens = record.model.as_ref().unwrap().tokens;
        assert_eq!(tokens.map(|tokens| (tokens.input, tokens.output)), (!path.contains("count")).then_some((5, 3)));
    }
    let call = r#"{"model":"claude","messages":[{"role":"user","content":"hello"}]}"#;
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: gw\r\ncontent-length: {}\r\n", call.len());
    let more = format!("authorization: Bearer {}\r\ncontent-type: application/json\r\n\r\n{call}", key("k"));
    let answered = world.ask(head + &more).await;
    assert!(answered.status() == 200 && answered.text().contains("chat.completion"), "{}", answered.text());
    let sent: Value = serde_json::from_slice(&upstream.last().body).unwrap();
    assert!(sent["anthropic_version"] == "vertex-2023-10-16" && sent.get("model").is_none(), "{sent}");
    world.outcome(R::Served).await;
    world.done().await;
}
