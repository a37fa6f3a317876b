//! Servers of the Model Context Protocol behind the gateway: what callers may use goes on, with the credential, and what
//! they may see comes back; everything else is refused before it is sent.

use crate::harness::*;
use credentialflow_model::{OutcomeReason as R, usage::McpEnd};
use serde_json::{Value, json};

/// The server's own session.
const SESSION: &str = "f2c1-server.session";
const TOOLS: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"get_issue"},{"name":"drop_table"},{"name":"get_secret"}],"nextCursor":"2"}}"#;

/// A server that answers by the method that is posted, in the way that is asked for.
async fn server(events: bool) -> FakeUpstream {
    FakeUpstream::start(move |mut peer| async move {
        while let Some(request) = peer.request().await {
            let posted: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let said = match posted["method"].as_str() {
                Some("initialize") => {
                    let body = json!({"jsonrpc":"2.0","id":posted["id"],"result":{"protocolVersion":"2025-06-18","capabilities":{}}});
                    peer.send(answer(200, &format!("content-type: application/json\r\nMcp-Session-Id: {SESSION}\r\n"), &body.to_string())).await;
                    continue;
                }
                Some("tools/list") => TOOLS.to_owned(),
                Some("resources/list") => json!({"jsonrpc":"2.0","id":1,"result":{"resources":[{"uri":"repo://a/1","name":"x"},{"uri":"file:///etc","name":"y"}]}}).to_string(),
                Some("tools/call") => json!({"jsonrpc":"2.0","id":posted["id"],"result":{"content":[],"isError":posted["params"]["arguments"]["fail"] == true}}).to_string(),
                Some(method) if method.starts_with("notifications/") => {
                    peer.send("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").await;
                    continue;
                }
                None if request.method() == "GET" => {
                    let event = "id: 1\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n";
                    peer.send(answer(200, "content-type: text/event-stream\r\n", event)).await;
                    continue;
                }
                None if request.method() == "DELETE" => {
                    peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n").await;
                    continue;
                }
                _ => json!({"jsonrpc":"2.0","id":posted["id"],"error":{"code":-32603,"message":"odd"}}).to_string(),
            };
            if events {
                let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}"#;
                let body = format!("data: {progress}\n\nevent: message\nid: 7\ndata: {said}\n\n");
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                let (first, second) = body.split_at(body.len() / 2);
                peer.send(format!("{head}{:x}\r\n{first}\r\n", first.len())).await;
                peer.send(format!("{:x}\r\n{second}\r\n0\r\n\r\n", second.len())).await;
            } else {
                peer.send(answer(200, "content-type: application/json\r\n", &said)).await;
            }
        }
    })
    .await
}

const RULES: &str = "tools: { allow: ['get_*'], deny: ['*_secret'] }, resources: { allow: ['repo://*'] }";

/// A world with a route `/mcp` to a server, `app` with key `k`, `other` with key `o`, and a key `n` that is narrowed.
fn configuration(upstream: &FakeUpstream, mcp: &str) -> String {
    let yaml =
        usual(&[format!("{}/base/mcp/", upstream.url())], "", &format!(", match: {{ path: /mcp }}, mcp: {{ {mcp} }}"));
    yaml.replace(
        "keys:\n",
        "  - { name: other, allow: { routes: [r], tools: { r: [get_issue] } } }\nkeys:\n  - { name: o, application: other }\n  \
         - { name: n, application: app, allow: { routes: [r], tools: { r: ['*_time'] } } }\n",
    )
}

fn world(upstream: &FakeUpstream, mcp: &str) -> World {
    Setup::new(configuration(upstream, mcp)).start()
}

fn posted(name: &str, more: &str, body: &str) -> String {
    let (key, length) = (key(name), body.len());
    let kind = if more.contains("content-type") { "" } else { "content-type: application/json\r\n" };
    format!(
        "POST /mcp HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {key}\r\n{kind}\
         accept: application/json, text/event-stream\r\ncontent-length: {length}\r\n{more}\r\n{body}"
    )
}

fn message(method: &str, params: Value) -> String {
    json!({"jsonrpc":"2.0","id":1,"method":method,"params":params}).to_string()
}

fn call(name: &str) -> String {
    message("tools/call", json!({ "name": name, "arguments": {} }))
}

/// The code of JSON-RPC and the code of the outcome that an answer refuses with.
fn refused(answer: &Message) -> (i64, String) {
    let body: Value = serde_json::from_str(&answer.text()).unwrap_or_else(|_| panic!("{answer:?}"));
    // Each message of a batch has its own.
    let body = body.get(0).unwrap_or(&body);
    assert_eq!(body["jsonrpc"], "2.0");
    (body["error"]["code"].as_i64().unwrap(), body["error"]["data"]["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn lists_show_what_may_be_used_whatever_form_they_come_in() {
    for events in [false, true] {
        let upstream = server(events).await;
        let world = world(&upstream, RULES);
        let shown = async |key: &str, method: &str| {
            let answer = world.ask(posted(key, "", &message(method, json!({})))).await;
            assert!(answer.complete && answer.status() == 200, "{answer:?}");
            let text = answer.text();
            let data = text.lines().rfind(|line| line.starts_with("data: "));
            assert_eq!(data.is_some(), events);
            assert_eq!(text.contains("notifications/progress"), events, "what the server says in between passes");
            let body: Value = serde_json::from_str(data.map_or(&*text, |data| &data[6..])).unwrap();
            let record = world.outcome(R::Served).await;
            let used = record.mcp.unwrap();
            assert_eq!((&*used.method, used.name, used.end), (method, None, McpEnd::Result));
            body["result"].to_string()
        };
        let issue = r#"{"tools":[{"name":"get_issue"}],"nextCursor":"2"}"#;
        assert_eq!(shown("k", "tools/list").await, issue);
        assert_eq!(shown("o", "tools/list").await, issue);
        assert_eq!(shown("n", "tools/list").await, r#"{"tools":[],"nextCursor":"2"}"#, "a key narrows");
        assert_eq!(shown("k", "resources/list").await, r#"{"resources":[{"uri":"repo://a/1","name":"x"}]}"#);
        world.done().await;
    }
}

#[tokio::test]
async fn what_may_be_used_goes_on_with_the_credential_to_the_address_as_it_stands() {
    let upstream = server(false).await;
    let world = world(&upstream, RULES);
    let more =
        "Mcp-Method: tools/call\r\nMcp-Name: get_issue\r\norigin_: x\r\nmcp_session_id: stolen\r\ncookie: a=b\r\n";
    let asked = call("get_issue");
    let answer = world.ask(posted("k", more, &asked)).await;
    assert_eq!((answer.status(), answer.field("content-type")), (200, Some("application/json")));
    let sent = upstream.last();
    assert_eq!((sent.method(), sent.target()), ("POST", "/base/mcp/"));
    assert_eq!(sent.field("authorization"), Some(&*format!("Bearer {SECRET}")));
    assert_eq!((sent.field("content-type"), sent.count("content-type")), (Some("application/json"), 1));
    assert_eq!(sent.field("accept-encoding"), Some("identity"));
    assert_eq!((sent.field("mcp-method"), sent.field("mcp-name")), (Some("tools/call"), Some("get_issue")));
    assert_eq!((sent.field("mcp-session-id"), sent.field("mcp_session_id")), (None, None));
    assert_eq!(sent.text(), asked, "the message goes on as it is");
    let used = world.outcome(R::Served).await.mcp.unwrap();
    assert_eq!((&*used.method, used.name.as_deref(), used.end), ("tools/call", Some("get_issue"), McpEnd::Result));

    let failing = message("tools/call", json!({ "name": "get_issue", "arguments": { "fail": true } }));
    world.ask(posted("k", "", &failing)).await;
    assert_eq!(world.outcome(R::Served).await.mcp.unwrap().end, McpEnd::ToolFailed);
    let odd = world.ask(posted("k", "", &message("ping", json!({})))).await;
    assert!(odd.text().contains("odd"));
    assert_eq!(world.outcome(R::Served).await.mcp.unwrap().end, McpEnd::Error(-32603));
    // Without a slash at its end, the endpoint is asked without one, and alone it is asked at its root.
    for (url, target) in [(format!("{}/mcp", upstream.url()), "/mcp"), (upstream.url(), "/")] {
        let yaml = usual(&[url], "", ", match: { path: /mcp }, mcp: {}");
        world.install(&yaml, &[("c", 1, SECRET)], &[]).await;
        world.ask(posted("k", "", &asked)).await;
        assert_eq!(upstream.last().target(), target);
        world.served(1).await;
    }
    world.done().await;
}

#[tokio::test]
async fn what_may_not_be_used_is_never_sent() {
    let upstream = server(false).await;
    let world = world(&upstream, RULES);
    let refuse = async |key: &str, body: String, code: i64| {
        let answer = world.ask(posted(key, "", &body)).await;
        assert_eq!((answer.status(), refused(&answer)), (200, (code, "mcp_not_allowed".to_owned())), "{body}");
        let text = answer.text();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["id"], 1);
        let record = world.outcome(R::McpNotAllowed).await;
        assert_eq!((record.status, record.attempts), (200, 0));
        record.mcp.unwrap()
    };
    assert_eq!(refuse("k", call("drop_table"), -32602).await.name.as_deref(), Some("drop_table"));
    refuse("k", call("get_secret"), -32602).await;
    refuse("k", call("get_SECRET"), -32602).await;
    refuse("o", call("get_time"), -32602).await;
    refuse("n", call("get_issue"), -32602).await;
    refuse("k", message("resources/read", json!({"uri":"file:///etc"})), -32602).await;
    refuse("k", message("resources/read", json!({"uri":"repo://a/../../etc"})), -32602).await;
    refuse("k", message("resources/subscribe", json!({"uri":"REPO://a"})), -32602).await;
    refuse("k", message("resources/read", json!({"uri":"repo://a/%73ecret"})), -32602).await;
    refuse("k", message("resources/read", json!({"uri":"repo://a?/../../etc"})), -32602).await;
    let reference = json!({"ref":{"type":"ref/resource","uri":"file:///{x}"}});
    refuse("k", message("completion/complete", reference), -32602).await;
    let listen = json!({"notifications":{"resourceSubscriptions":["repo://a","file:///etc"]}});
    refuse("k", message("subscriptions/listen", listen), -32602).await;
    assert_eq!(&*refuse("k", message("tasks/list", json!({})), -32601).await.method, "tasks/list");
    // A notification has no id to answer to.
    let answer = world.ask(posted("k", "", r#"{"jsonrpc":"2.0","method":"notifications/odd"}"#)).await;
    assert_eq!((answer.status(), refused(&answer).0), (403, -32601));
    world.outcome(R::McpNotAllowed).await;
    // Names may hold anything.
    let used = refuse("k", message("tools/call", json!({ "name": format!("x {SECRET} {}", key("k2")) })), -32602).await;
    let told = used.name.unwrap();
    assert!(!told.contains(SECRET) && !told.contains(&key("k2")), "{told}");
    let used = refuse("k", message(&key("k2"), json!({})), -32601).await;
    assert!(!used.method.contains(&key("k2")), "{}", used.method);
    assert_eq!(upstream.counts().requests, 0);

    // What the protocol does not have passes where the route names it, and prompts that it has no rules for.
    let yaml = configuration(&upstream, "methods: ['tasks/*']");
    world.install(&yaml, &[("c", 1, SECRET)], &[]).await;
    for body in [message("tasks/list", json!({})), message("prompts/get", json!({"name":"p"})), call("drop_table")] {
        world.ask(posted("k", "", &body)).await;
    }
    world.served(3).await;
    assert_eq!(upstream.counts().requests, 3);
    world.done().await;
}

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_refused() {
    let upstream = server(false).await;
    let world = world(&upstream, RULES);
    let twice =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","Method":"tools/call","params":{"name":"drop_table"}}"#;
    let name_twice =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_issue","n\u0061me":"drop_table"}}"#;
    let batch = format!("[{}]", call("get_issue"));
    let fine = call("get_issue");
    let two = format!("[{},{}]", call("get_issue"), message("ping", json!({})));
    let list = message("tools/list", json!({}));
    let listen =
        message("subscriptions/listen", json!({"notifications":{"resourceSubscriptions":["repo://a","repo://b"]}}));
    for (more, body, code) in [
        ("", twice, -32600),
        ("", name_twice, -32600),
        ("", "{", -32700),
        ("", "", -32700),
        ("mcp-protocol-version: 2025-06-18\r\n", &batch, -32600),
        ("content-type: application/json; charset=utf-16\r\n", &fine, -32600),
        ("content-type: text/plain\r\n", &fine, -32600),
        ("content-encoding: gzip\r\n", "\u{1f}\u{8b}", -32600),
        ("content-encoding: br\r\n", &fine, -32600),
        ("content-encoding: identity\r\ncontent-encoding: br\r\n", &fine, -32020),
        ("", &two, -32600),
        ("mcp-protocol-version: 2025-03-26\r\n", &two, -32600),
        ("Mcp-Name: get_issue\r\n", &list, -32020),
        ("Mcp-Name: get_issue\r\n", r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, -32020),
        ("Mcp-Name: repo://a\r\n", &listen, -32020),
        ("Mcp-Name: get_time\r\n", &fine, -32020),
        ("Mcp-Name: =?base64?Z2V0X3RpbWU=?=\r\n", &fine, -32020),
        ("Mcp-Method: tools/list\r\n", &fine, -32020),
        ("Mcp-Name: get_issue\r\nMcp-Name: get_issue\r\n", &fine, -32020),
        ("Mcp-Method: tools/call\r\n", &list, -32020),
        ("Mcp-Method: tools/call\r\n", &batch, -32020),
    ] {
        let answer = world.ask(posted("k", more, body)).await;
        assert_eq!(
            (answer.status(), refused(&answer)),
            (400, (code, "invalid_mcp_message".to_owned())),
            "{more}{body}"
        );
        world.outcome(R::InvalidMcpMessage).await;
    }
    assert_eq!(upstream.counts().requests, 0);
    // What headers say in another form is the same.
    let answer = world.ask(posted("k", "Mcp-Name: =?base64?Z2V0X2lzc3Vl?=\r\n", &fine)).await;
    assert_eq!(answer.status(), 200);
    world.served(1).await;
    // Batches are a part of one version, which had no header.
    let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#;
    let mixed = format!("[{progress},{}]", call("drop_table"));
    let answer = world.ask(posted("k", "mcp-protocol-version: 2025-03-26\r\n", &mixed)).await;
    let errors: Vec<Value> = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!((errors[0]["id"].clone(), errors.len()), (json!(1), 1));
    world.outcome(R::McpNotAllowed).await;
    let batch = format!("[{},{progress}]", call("get_issue"));
    assert_eq!(world.ask(posted("k", "", &batch)).await.status(), 200);
    let used = world.outcome(R::Served).await.mcp.unwrap();
    assert_eq!((&*used.method, used.name.as_deref()), ("tools/call", Some("get_issue")), "not the notification");
    assert_eq!(upstream.counts().requests, 2);
    world.done().await;
}

#[tokio::test]
async fn a_session_is_its_application_s_alone_on_every_worker_and_after_every_change() {
    let upstream = server(false).await;
    let world = world(&upstream, RULES);
    let begun = world.ask(posted("k", "", &message("initialize", json!({"protocolVersion":"2025-06-18"})))).await;
    let session = begun.field("mcp-session-id").unwrap().to_owned();
    assert!(session.starts_with(SESSION) && session != SESSION && begun.count("mcp-session-id") == 1);
    world.served(1).await;
    let with = |session: &str| format!("Mcp-Session-Id: {session}\r\nmcp-protocol-version: 2025-06-18\r\n");
    for key in ["k", "k", "k2", "n"] {
        let answer = world.ask(posted(key, &with(&session), &message("tools/list", json!({})))).await;
        assert_eq!(answer.status(), 200, "{key}");
        assert_eq!(upstream.last().field("mcp-session-id"), Some(SESSION));
        world.served(1).await;
    }
    world.install(&configuration(&upstream, RULES), &[("c", 2, "another-secret-value")], &[]).await;
    let bare = |method: &str, name: &str, more: &str| {
        format!(
            "{method} /mcp HTTP/1.1\r\nhost: gw\r\nx-api-key: {}\r\naccept: text/event-stream\r\n{more}\r\n",
            key(name)
        )
    };
    let stream = world.ask(bare("GET", "k", &with(&session))).await;
    assert!(stream.text().contains("list_changed") && stream.complete);
    let resumed = world.ask(bare("GET", "k", &format!("{}last-event-id: 1\r\n", with(&session)))).await;
    assert_eq!((resumed.status(), upstream.last().field("last-event-id")), (200, Some("1")));
    world.served(2).await;
    let seen = upstream.counts().requests;
    let mut forged = session.clone();
    forged.replace_range(..1, "g");
    for (key, session) in [("o", &*session), ("k", &*forged), ("k", SESSION), ("k", "x"), ("k", "")] {
        for request in [
            posted(key, &with(session), &message("tools/list", json!({}))),
            bare("GET", key, &with(session)),
            bare("DELETE", key, &with(session)),
        ] {
            let answer = world.ask(request).await;
            assert_eq!((answer.status(), refused(&answer).1.as_str()), (404, "mcp_session_unknown"), "{key} {session}");
            world.outcome(R::McpSessionUnknown).await;
        }
    }
    let twice = format!("{}{}", with(&session), with(&session));
    assert_eq!(refused(&world.ask(bare("GET", "k", &twice)).await).0, -32020);
    assert_eq!(world.ask(bare("GET", "k", "last-event-id: 1\r\n")).await.status(), 400);
    for _ in 0..2 {
        world.outcome(R::InvalidMcpMessage).await;
    }
    assert_eq!(upstream.counts().requests, seen);
    assert_eq!(world.ask(bare("DELETE", "k2", &with(&session))).await.status(), 200);
    assert_eq!((upstream.last().method(), upstream.last().field("mcp-session-id")), ("DELETE", Some(SESSION)));
    world.served(1).await;
    for method in ["PUT", "PATCH", "OPTIONS"] {
        let answer = world.ask(bare(method, "k", "")).await;
        assert_eq!((answer.status(), answer.field("allow")), (405, Some("GET, POST, DELETE")));
        world.outcome(R::MethodNotAllowed).await;
    }
    world.done().await;
}

#[tokio::test]
async fn web_pages_call_only_from_origins_that_are_named() {
    let upstream = server(false).await;
    let world = world(&upstream, "origins: ['https://console.example.com']");
    let body = call("x");
    for (origin, status, outcome) in [
        ("https://console.example.com", 200, R::Served),
        ("http://console.example.com", 403, R::Forbidden),
        ("http://gw", 403, R::Forbidden),
        ("null", 403, R::Forbidden),
    ] {
        let answer = world.ask(posted("k", &format!("origin: {origin}\r\n"), &body)).await;
        assert_eq!(answer.status(), status, "{origin}");
        world.outcome(outcome).await;
    }
    assert_eq!((upstream.counts().requests, upstream.last().field("origin")), (1, None));
    world.done().await;
}

#[tokio::test]
async fn answers_that_nobody_can_read_do_not_reach_the_caller() {
    let list = TOOLS.replace("\"tools\"", "\"tools\":[],\"tools\"");
    let event = format!("data: {}\n\n", TOOLS.replace('}', ""));
    let cases = [
        (200, "content-type: application/json\r\n", &*list),
        (200, "content-type: application/json\r\n", "no JSON"),
        (200, "content-type: text/html\r\n", TOOLS),
        (200, "", TOOLS),
        (200, "content-type: application/json\r\ncontent-encoding: gzip\r\n", TOOLS),
        (307, "location: https://elsewhere.example/mcp\r\n", ""),
        (200, "content-type: application/json\r\nmcp-session-id: a b\r\n", "{}"),
    ];
    for (status, more, body) in cases {
        let upstream = FakeUpstream::answering(answer(status, more, body)).await;
        let world = world(&upstream, RULES);
        let answer = world.ask(posted("k", "", &message("tools/list", json!({})))).await;
        assert_eq!((answer.status(), refused(&answer).1.as_str()), (502, "upstream_malformed"), "{status} {more}");
        assert!(!answer.text().contains("drop_table") && answer.field("location").is_none());
        world.outcome(R::UpstreamMalformed).await;
        world.done().await;
    }
    // A stream has begun when that shows.
    let good = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n";
    let upstream =
        FakeUpstream::answering(answer(200, "content-type: text/event-stream\r\n", &format!("{good}{event}"))).await;
    let world = world(&upstream, RULES);
    let begun = world.ask(posted("k", "", &message("tools/list", json!({})))).await;
    assert!(!begun.complete && begun.text() == good, "{begun:?}");
    world.outcome(R::UpstreamMalformed).await;
    world.done().await;
    // What only calls itself one is none.
    for body in [TOOLS.to_owned(), format!("{TOOLS}\n\n"), format!("{good}{TOOLS}\n\n")] {
        let upstream = FakeUpstream::answering(answer(200, "content-type: text/event-stream\r\n", &body)).await;
        let world = self::world(&upstream, RULES);
        let passed = world.ask(posted("k", "", &message("tools/list", json!({})))).await;
        assert_eq!(passed.text(), if body.starts_with(good) { good } else { "" });
        world.outcome(R::UpstreamMalformed).await;
        world.done().await;
    }
    // Errors that are no messages show nothing, and pass.
    for (status, more, body) in [
        (404, "content-type: text/plain\r\n", "gone"),
        (400, "content-type: application/json\r\n", "\"odd\""),
        (202, "content-type: text/plain\r\n", "Accepted"),
    ] {
        let upstream = FakeUpstream::answering(answer(status, more, body)).await;
        let world = self::world(&upstream, RULES);
        let passed = world.ask(posted("k", "", &message("ping", json!({})))).await;
        assert_eq!((passed.status(), passed.text().as_str()), (status, body));
        world.served(1).await;
        world.done().await;
    }
}

#[tokio::test]
async fn a_stream_of_the_server_s_own_outlasts_the_pause_of_other_answers_and_ends_with_the_key() {
    let upstream = FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            peer.send(head).await;
            // Longer than the upstream's `idle` of this test.
            tokio::time::sleep(std::time::Duration::from_millis(1800)).await;
            let event = format!("data: {{\"jsonrpc\":\"2.0\",\"method\":\"{}\"}}\n\n", request.method());
            peer.send(format!("{:x}\r\n{event}\r\n", event.len())).await;
        }
    })
    .await;
    let world = Setup::new(configuration(&upstream, "")).hasty().start();
    let mut wire = world.connect().await;
    let stream =
        format!("GET /mcp HTTP/1.1\r\nhost: gw\r\nx-api-key: {}\r\naccept: text/event-stream\r\n\r\n", key("k"));
    wire.send(stream).await.unwrap();
    assert_eq!(within(wire.head()).await.unwrap().status(), 200);
    within(async {
        while find(wire.pending(), b"\"GET\"").is_none() {
            assert!(wire.fill().await.unwrap() > 0, "the stream goes on");
        }
    })
    .await;
    let yaml = hasty(&configuration(&upstream, ""));
    world.install(&yaml, &[("c", 1, SECRET)], &["k"]).await;
    within(wire.drain()).await;
    world.outcome(R::Revoked).await;
    // An answer to a call has the upstream's pause.
    let answer = world.ask(posted("k2", "", &call("x"))).await;
    assert!(!answer.complete);
    world.outcome(R::UpstreamStalled).await;
    world.done().await;
}

#[tokio::test]
async fn refusals_of_every_step_are_errors_of_json_rpc() {
    let upstream = server(false).await;
    let yaml =
        configuration(&upstream, "").replace("authenticate: [api_key]", "authenticate: [api_key], max_body: 100B");
    let world = Setup::new(yaml).start();
    let answer = world.ask("POST /mcp HTTP/1.1\r\nhost: gw\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!((answer.status(), refused(&answer).1.as_str()), (401, "unauthenticated"));
    assert!(answer.field("www-authenticate").is_some());
    world.outcome(R::Unauthenticated).await;
    let large = call(&"x".repeat(200));
    let answer = world.ask(posted("k", "", &large)).await;
    assert_eq!((answer.status(), refused(&answer).1.as_str()), (413, "body_too_large"));
    world.outcome(R::BodyTooLarge).await;
    // A live secret in the arguments goes nowhere.
    let world_with_room = self::world(&upstream, "");
    let leaking = message("tools/call", json!({ "name": "x", "arguments": { "text": key("o") } }));
    let answer = world_with_room.ask(posted("k", "", &leaking)).await;
    assert_eq!((answer.status(), refused(&answer).1.as_str()), (400, "secret_in_request"));
    world_with_room.outcome(R::SecretInRequest).await;
    assert_eq!(upstream.counts().requests, 0);
    world_with_room.done().await;
    world.done().await;
}
