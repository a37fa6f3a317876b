//! Guardrails of routes to MCP servers: what tools are called with is judged before a server hears of it, and what servers
//! answer with before the caller does.

use crate::harness::*;
use credentialflow_model::OutcomeReason as R;
use serde_json::{Value, json};

/// A server whose tools say what they are told to, as JSON or in events.
async fn server(events: bool) -> FakeUpstream {
    FakeUpstream::start(move |mut peer| async move {
        while let Some(request) = peer.request().await {
            let posted: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let said = &posted["params"]["arguments"]["say"];
            let result = match posted["method"].as_str() {
                _ if posted["params"]["name"] == "ask" => json!({"resultType":"input_required","inputRequests":{"q":{"method":"elicitation/create","params":{"message":said}}}}),
                _ if posted["params"]["name"] == "odd" => json!({"content":said}),
                Some("resources/read") => json!({"contents":[{"uri":"a:1","text":"project falcon"}]}),
                _ => json!({"content":[{"type":"text","text":said},{"type":"image","data":"ZmFsY29u"}],"structuredContent":{"said":said}}),
            };
            let message = json!({"jsonrpc":"2.0","id":posted["id"],"result":result});
            let (kind, body) = match events {
                true => ("text/event-stream", format!(": hi\n\nid: 4\nevent: message\ndata: {message}\n\n")),
                false => ("application/json", message.to_string()),
            };
            peer.send(answer(200, &format!("content-type: {kind}\r\n"), &body)).await;
        }
    })
    .await
}

const RULES: &str = "guardrails: [
      { detect: words, action: block, words: [falcon], on: both },
      { detect: personal_data, action: redact, kinds: [email], on: both },
      { detect: pattern, action: flag, pattern: 'PRJ-[0-9]+', on: both }], use_guardrails: [company]";

fn configuration(upstream: &FakeUpstream, mcp: &str) -> String {
    let yaml = usual(&[upstream.url()], "", &format!(", match: {{ path: /mcp }}, mcp: {{ {mcp} }}"));
    format!(
        "{yaml}guardrails:\n  - {{ name: company, rules: [{{ detect: size, action: block, most_characters: 2000 }}] }}\n"
    )
}

fn posted(method: &str, params: &Value) -> String {
    with_field("", method, params)
}

fn with_field(field: &str, method: &str, params: &Value) -> String {
    let body = json!({"jsonrpc":"2.0","id":"x","method":method,"params":params}).to_string();
    let (key, length) = (key("k"), body.len());
    format!(
        "POST /mcp HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\ncontent-length: {length}\r\n{field}\r\n{body}"
    )
}

fn call(say: &str) -> String {
    posted("tools/call", &json!({"name":"echo","arguments":{"say":say}}))
}

fn read(answer: &Message) -> Value {
    let text = answer.text();
    let data = text.lines().rfind(|line| line.starts_with("data: ")).map_or(&*text, |line| &line[6..]);
    serde_json::from_str(data).unwrap_or_else(|_| panic!("{answer:?}"))
}

#[tokio::test]
async fn what_a_tool_is_called_with_is_judged_before_its_server_hears_of_it() {
    let upstream = server(false).await;
    let world = Setup::new(configuration(&upstream, RULES)).start();
    for (say, found) in [("about Falcon", "words/block"), (&*"x".repeat(2001), "company:size/block")] {
        let refused = world.ask(call(say)).await;
        let body = read(&refused);
        assert_eq!((refused.status(), &body["id"], &body["error"]["code"]), (200, &json!("x"), &json!(-32602)));
        assert_eq!(body["error"]["data"]["code"], "prompt_blocked");
        assert!(!refused.text().contains("alcon"));
        let used = world.outcome(R::PromptBlocked).await.mcp.unwrap();
        assert_eq!(used.guardrails.as_deref(), Some(found));
    }
    assert_eq!(upstream.counts().requests, 0);
    let answer = world.ask(call("to ann@example.com, PRJ-7")).await;
    let sent: Value = serde_json::from_slice(&upstream.last().body).unwrap();
    assert_eq!(sent["params"], json!({"name":"echo","arguments":{"say":"to [EMAIL], PRJ-7"}}));
    assert_eq!(upstream.last().field("content-length"), Some(&*upstream.last().body.len().to_string()));
    assert_eq!(read(&answer)["result"]["structuredContent"]["said"], "to [EMAIL], PRJ-7");
    let used = world.outcome(R::Served).await.mcp.unwrap();
    let found = "personal_data/redact pattern/flag answer/pattern/flag";
    assert_eq!(used.guardrails.as_deref(), Some(found));
    // What nothing is found in goes as it is.
    world.ask(call("nothing")).await;
    assert!(call("nothing").ends_with(&upstream.last().text()));
    assert_eq!(world.outcome(R::Served).await.mcp.unwrap().guardrails, None);
    world.done().await;
}

#[tokio::test]
async fn what_a_server_answers_is_judged_before_its_caller_gets_it() {
    for events in [false, true] {
        let upstream = server(events).await;
        let answers = "guardrails: [{ detect: words, action: block, words: [falcon], on: answer }, \
                       { detect: personal_data, action: redact, kinds: [email], on: answer }]";
        let world = Setup::new(configuration(&upstream, answers)).start();
        let answer = world.ask(call("to ann@example.com and bob@example.com")).await;
        assert!(answer.complete);
        let result = &read(&answer)["result"];
        assert_eq!(result["content"][0]["text"], "to [EMAIL] and [EMAIL]");
        assert_eq!(result["structuredContent"]["said"], "to [EMAIL] and [EMAIL]");
        assert_eq!(result["content"][1]["data"], "ZmFsY29u", "bytes are no texts");
        assert_eq!(events, answer.text().contains("id: 4\n"), "the event is the same");
        let used = world.outcome(R::Served).await.mcp.unwrap();
        assert_eq!(used.guardrails.as_deref(), Some("answer/personal_data/redact:4"));

        let blocked = world.ask(call("about Falcon")).await;
        assert!(blocked.complete && blocked.status() == 200 && !blocked.text().contains("Falcon"), "{blocked:?}");
        let body = read(&blocked);
        assert_eq!((&body["id"], &body["result"]["isError"]), (&json!("x"), &json!(true)));
        let used = world.outcome(R::AnswerBlocked).await.mcp.unwrap();
        assert_eq!(used.guardrails.as_deref(), Some("answer/words/block"));
        let blocked = world.ask(posted("resources/read", &json!({"uri":"a:1"}))).await;
        assert!(!blocked.text().contains("falcon"), "{blocked:?}");
        assert_eq!(read(&blocked)["error"]["code"], -32010);
        world.outcome(R::AnswerBlocked).await;
        world.done().await;
    }
}

#[tokio::test]
async fn what_comes_beside_arguments_is_judged_as_they_are() {
    let upstream = server(false).await;
    let world = Setup::new(configuration(&upstream, RULES)).start();
    let answers = |text: &str| json!({"q":{"action":"accept","content":{"say":text}}});
    let again = |text: &str| json!({"name":"echo","arguments":{"say":"x"},"inputResponses":answers(text)});
    let say = |text: &str| json!({"name":"echo","arguments":{"say":text}});
    let encoded = "Mcp-Param-Say: =?base64?cHJvamVjdCBmYWxjb24=?=\r\n";
    for refused in [
        posted("tools/call", &again("about Falcon")),
        posted("resources/read", &json!({"uri":"a:1","inputResponses":answers("falcon")})),
        posted(
            "completion/complete",
            &json!({"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":"falcon"}}),
        ),
        with_field("Mcp-Param-Say: about Falcon\r\n", "tools/call", &say("x")),
        with_field(encoded, "tools/call", &say("x")),
        with_field("Mcp-Param-Say: =?base64?!?=\r\n", "tools/call", &say("x")),
    ] {
        let answer = world.ask(refused).await;
        assert_eq!(read(&answer)["error"]["data"]["code"], "prompt_blocked", "{answer:?}");
        world.outcome(R::PromptBlocked).await;
    }
    assert_eq!(upstream.counts().requests, 0);
    world.ask(posted("tools/call", &again("ann@example.com"))).await;
    let sent: Value = serde_json::from_slice(&upstream.last().body).unwrap();
    assert_eq!(sent["params"], again("[EMAIL]"));
    world.outcome(R::Served).await;

    world.ask(with_field("Mcp-Param-Say: ann@example.com\r\n", "tools/call", &say("ann@example.com"))).await;
    let sent: Value = serde_json::from_slice(&upstream.last().body).unwrap();
    assert_eq!((&sent["params"], upstream.last().field("mcp-param-say")), (&say("[EMAIL]"), Some("[EMAIL]")));
    let used = world.outcome(R::Served).await.mcp.unwrap();
    assert_eq!(used.guardrails.as_deref(), Some("personal_data/redact"));
    world.ask(with_field("Mcp-Param-Say: x\r\n", "tools/call", &say("x"))).await;
    assert_eq!(upstream.last().field("mcp-param-say"), Some("x"));
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn what_a_server_asks_and_what_has_another_shape_is_judged() {
    let upstream = server(false).await;
    let rules = "guardrails: [{ detect: words, action: block, words: [falcon], on: answer }, \
                 { detect: personal_data, action: redact, kinds: [email], on: answer }]";
    let world = Setup::new(configuration(&upstream, rules)).start();
    for name in ["ask", "odd"] {
        let ask = |say: &str| posted("tools/call", &json!({"name":name,"arguments":{"say":say}}));
        let blocked = world.ask(ask("about Falcon")).await;
        assert!(blocked.complete && !blocked.text().contains("Falcon"), "{blocked:?}");
        world.outcome(R::AnswerBlocked).await;
        let changed = world.ask(ask("to ann@example.com")).await;
        assert!(changed.text().contains(r#""to [EMAIL]""#), "{changed:?}");
        world.outcome(R::Served).await;
    }
    world.done().await;
}

#[tokio::test]
async fn what_is_no_message_tells_its_status_where_answers_are_judged() {
    let judges = "guardrails: [{ detect: words, action: block, words: [falcon], on: answer }]";
    let challenge = "www-authenticate: Bearer resource_metadata=\"https://mcp.example/.well-known\"\r\n";
    let plain = |more: &str| format!("content-type: text/plain\r\n{more}");
    let cases = [
        (401, plain(challenge), "about Falcon"),
        (403, plain(challenge), "about Falcon"),
        (404, plain(""), "about Falcon"),
        (405, plain("allow: POST\r\n"), "about Falcon"),
        (429, "retry-after: 7\r\n".to_owned(), "about Falcon"),
        (500, "content-type: text/html\r\n".to_owned(), "<p>about Fal<b></b>con</p>"),
        (400, "content-type: application/json\r\n".to_owned(), "\"about Falcon\""),
        (502, "content-type: application/json\r\n".to_owned(), "about Falcon"),
        (202, plain(""), "about Falcon"),
    ];
    for (status, more, body) in cases {
        let upstream = FakeUpstream::answering(answer(status, &more, body)).await;
        let world = Setup::new(configuration(&upstream, judges)).start();
        let told = world.ask(call("x")).await;
        assert!(told.complete && told.status() == status && !told.text().contains("con"), "{told:?}");
        for name in ["www-authenticate", "allow", "retry-after"] {
            let sent = more.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            assert_eq!(told.field(name), sent, "{status}");
        }
        if status == 202 {
            assert_eq!(told.text(), "");
        } else {
            assert_eq!((told.field("content-type"), told.count("content-type")), (Some("application/json"), 1));
            let message = format!("the MCP server answered with status {status} and no message");
            let error = json!({"code":-32010,"message":message,"data":null});
            assert_eq!(read(&told), json!({"jsonrpc":"2.0","id":null,"error":error}));
        }
        world.served(1).await;
        // Who judges only what tools are called with lets it be.
        let prompts = judges.replace("answer", "prompt");
        world.install(&configuration(&upstream, &prompts), &[("c", 1, SECRET)], &[]).await;
        let passed = world.ask(call("x")).await;
        assert_eq!((passed.status(), passed.text().as_str()), (status, body));
        world.served(1).await;
        world.done().await;
    }
    // An error that is a message is judged as one, whatever its status.
    let error = |text: &str| json!({"jsonrpc":"2.0","id":"x","error":{"code":-32001,"message":text}}).to_string();
    for (text, outcome) in [("about Falcon", R::AnswerBlocked), ("odd", R::Served)] {
        let upstream = FakeUpstream::answering(answer(400, "content-type: application/json\r\n", &error(text))).await;
        let world = Setup::new(configuration(&upstream, judges)).start();
        let told = world.ask(call("x")).await;
        assert_eq!((told.status(), told.text() == error(text)), (400, outcome == R::Served), "{told:?}");
        assert!(!told.text().contains("Falcon"));
        world.outcome(outcome).await;
        world.done().await;
    }
}

#[tokio::test]
async fn what_only_calls_itself_a_stream_of_events_does_not_pass_unjudged() {
    let body = json!({"jsonrpc":"2.0","id":"x","result":{"content":[{"type":"text","text":"about Falcon"}]}});
    for end in ["", "\n", "\r\n\r\n"] {
        let upstream =
            FakeUpstream::answering(answer(200, "content-type: text/event-stream\r\n", &format!("{body}{end}"))).await;
        let world = Setup::new(configuration(&upstream, RULES)).start();
        assert_eq!(world.ask(call("x")).await.text(), "");
        world.outcome(R::UpstreamMalformed).await;
        world.done().await;
    }
}

#[tokio::test]
async fn events_that_are_no_messages_are_left_out_where_answers_are_judged() {
    let said = json!({"jsonrpc":"2.0","id":"x","result":{"content":[{"type":"text","text":"fine"}]}});
    let message = format!("id: 1\ndata: {said}\n\n");
    let stream = format!("event: ping\ndata: about Falcon\n\n{message}");
    let upstream = FakeUpstream::answering(answer(200, "content-type: text/event-stream\r\n", &stream)).await;
    let world = Setup::new(configuration(&upstream, "guardrails: []")).start();
    assert_eq!(world.ask(call("x")).await.text(), stream);
    world.served(1).await;
    world.install(&configuration(&upstream, RULES), &[("c", 1, SECRET)], &[]).await;
    assert_eq!(world.ask(call("x")).await.text(), message);
    world.served(1).await;
    world.done().await;
}

#[tokio::test]
async fn names_in_what_is_said_change_and_a_message_with_others_does_not_go_on() {
    let upstream = server(false).await;
    let world = Setup::new(configuration(&upstream, RULES)).start();
    let said = json!({"ann@example.com":1,"bob@example.com":{"ann@example.com":2}});
    let told = world.ask(posted("tools/call", &json!({"name":"echo","arguments":{"say":said}}))).await;
    let changed = json!({"[EMAIL]":1,"[EMAIL] 2":{"[EMAIL]":2}});
    let sent: Value = serde_json::from_slice(&upstream.last().body).unwrap();
    assert_eq!(sent["params"]["arguments"]["say"], changed);
    assert_eq!(read(&told)["result"]["structuredContent"]["said"], changed);
    world.served(1).await;
    let refused = world.ask(posted("tools/call", &json!({"name":"echo","ann@example.com":1}))).await;
    assert_eq!(read(&refused)["error"]["data"]["code"], "prompt_blocked");
    world.outcome(R::PromptBlocked).await;
    assert_eq!(upstream.counts().requests, 1);
    world.done().await;
}
