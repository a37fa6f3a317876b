//! Several servers of the Model Context Protocol behind one address: one session, one list, and each call goes to the server
//! that it is for.

use crate::harness::*;
use credentialflow_model::{OutcomeReason as R, UsageRecord};
use serde_json::{Value, json};
use std::time::Duration;

const OTHER: &str = "sk-other-server-81fd0a2b";

/// What a server is like.
#[derive(Clone, Copy)]
struct Like {
    name: &'static str,
    version: &'static str,
    session: Option<&'static str>,
    /// Whether it answers in events.
    events: bool,
}

const ONE: Like = Like { name: "one", version: "2025-11-25", session: Some("s-one"), events: true };
const TWO: Like = Like { name: "two", version: "2025-06-18", session: None, events: false };

/// A server that has tools, prompts if it is called so, and resources, and says of a call what it got.
async fn server(like: Like) -> FakeUpstream {
    FakeUpstream::start(move |mut peer| async move {
        while let Some(request) = peer.request().await {
            let posted: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let (id, params) = (&posted["id"], &posted["params"]);
            let session = like.session.map_or(String::new(), |id| format!("mcp-session-id: {id}\r\n"));
            let done = |result: Value| json!({"jsonrpc":"2.0","id":id,"result":result}).to_string();
            let refused = |code: i64| json!({"jsonrpc":"2.0","id":id,"error":{"code":code,"message":"no"}}).to_string();
            let known = request.field("mcp-session-id") == like.session;
            let said = match posted["method"].as_str() {
                None if request.method() == "GET" => {
                    let asks = format!("id: 5\ndata: {}\n\n", json!({"jsonrpc":"2.0","id":7,"method":"roots/list"}));
                    let tells = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n";
                    peer.send(answer(200, "content-type: text/event-stream\r\n", &format!("{asks}{tells}"))).await;
                    continue;
                }
                None if request.method() == "DELETE" => {
                    peer.send(answer(200, "", "")).await;
                    continue;
                }
                Some("initialize") => {
                    let body = done(json!({"protocolVersion":like.version,"capabilities":{"tools":{},like.name:{}},"instructions":like.name}));
                    peer.send(answer(200, &format!("content-type: application/json\r\n{session}"), &body)).await;
                    continue;
                }
                Some("server/discover") if like.session.is_some() => refused(-32601),
                Some("server/discover") => done(json!({"supportedVersions":["2026-07-28"],"capabilities":{}})),
                _ if !known && like.session.is_some() => {
                    peer.send(answer(404, "content-type: text/plain\r\n", "no session")).await;
                    continue;
                }
                Some("tools/list") if params["cursor"] == "more" => done(json!({"tools":[{"name":"last"}]})),
                Some("tools/list") if like.session.is_none() => done(json!({"tools":[{"name":"find"},{"name":"hide"}],"nextCursor":"more"})),
                Some("tools/list") => done(json!({"tools":[{"name":"find"},{"name":"drop"}]})),
                Some("prompts/list") if like.session.is_none() => refused(-32601),
                Some("prompts/list") => done(json!({"prompts":[{"name":"p"}]})),
                Some("resources/list") => done(json!({"resources":[{"uri":format!("file:///{}", like.name),"name":"x"}]})),
                Some("resources/read") => done(json!({"contents":[{"uri":params["uri"],"text":like.name}]})),
                Some("tools/call") => done(json!({"content":[{"type":"text","text":params["name"]},{"type":"resource_link","uri":"file:///a"}]})),
                Some("subscriptions/listen") => {
                    let acknowledged = json!({"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":{}}});
                    let told = json!({"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":params["notifications"]["resourceSubscriptions"][0]}});
                    let body = format!("data: {acknowledged}\n\ndata: {told}\n\ndata: {}\n\n", done(json!({})));
                    peer.send(answer(200, "content-type: text/event-stream\r\n", &body)).await;
                    continue;
                }
                Some("logging/setLevel") => done(json!({})),
                Some(method) if method.starts_with("notifications/") => {
                    peer.send(answer(202, "", "")).await;
                    continue;
                }
                None => {
                    peer.send(answer(202, "", "")).await;
                    continue;
                }
                Some(_) => refused(-32601),
            };
            let (kind, body) = match like.events {
                true => {
                    let asks = json!({"jsonrpc":"2.0","id":"q","method":"sampling/createMessage","params":{}});
                    ("text/event-stream", format!("data: {asks}\n\nid: 3\ndata: {said}\n\n"))
                }
                false => ("application/json", said),
            };
            peer.send(answer(200, &format!("content-type: {kind}\r\n"), &body)).await;
        }
    })
    .await
}

/// `/mcp` with two servers, each with its own credential.
fn configuration(one: &str, two: &str, mcp: &str) -> String {
    format!(
        "applications:
  - {{ name: app, allow: {{ routes: [r] }} }}
  - {{ name: other, allow: {{ routes: [r], tools: {{ r: ['two__*'] }} }} }}
keys:
  - {{ name: k, application: app }}
  - {{ name: o, application: other }}
credentials:
  - {{ name: c, engine: static }}
  - {{ name: d, engine: static }}
upstreams:
  - {{ name: u, endpoints: ['{one}/mcp'], inject: {{ bearer: c }} }}
  - {{ name: w, endpoints: ['{two}/'], inject: {{ header: {{ name: x-token, credential: d }} }} }}
routes:
  - name: r
    match: {{ path: /mcp }}
    authenticate: [api_key]
    mcp: {{ servers: [{{ name: one, upstream: u }}, {{ name: two, upstream: w }}]{mcp} }}
"
    )
}

fn world(one: &str, two: &str, mcp: &str) -> World {
    let mut setup = Setup::new(configuration(one, two, mcp));
    setup.credentials = vec![("c", 1, SECRET), ("d", 1, OTHER)];
    setup.start()
}

fn posted(name: &str, more: &str, body: &Value) -> String {
    written(name, more, &body.to_string())
}

fn written(name: &str, more: &str, body: &str) -> String {
    let (key, length) = (key(name), body.len());
    format!(
        "POST /mcp HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\ncontent-length: {length}\r\n{more}\r\n{body}"
    )
}

fn bare(method: &str, more: &str) -> String {
    let key = key("k");
    format!("{method} /mcp HTTP/1.1\r\nhost: gw\r\nx-api-key: {key}\r\naccept: text/event-stream\r\n{more}\r\n")
}

fn message(method: &str, params: Value) -> Value {
    json!({"jsonrpc":"2.0","id":1,"method":method,"params":params})
}

fn read(answer: &Message) -> Value {
    serde_json::from_str(&answer.text()).unwrap_or_else(|_| panic!("{answer:?}"))
}

/// Begins a session, and gives the header that goes on in it, and what was answered.
async fn begin(world: &World, key: &str) -> (String, Value) {
    let hello = message("initialize", json!({"protocolVersion":"2025-11-25","capabilities":{}}));
    let answer = world.ask(posted(key, "", &hello)).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    let session = answer.field("mcp-session-id").unwrap().to_owned();
    let version = read(&answer)["result"]["protocolVersion"].as_str().unwrap().to_owned();
    (format!("mcp-session-id: {session}\r\nmcp-protocol-version: {version}\r\n"), read(&answer))
}

/// The records of a request and of what it was asked of servers, by upstream; empty for the caller's own.
async fn records(world: &World, count: usize) -> Vec<(String, UsageRecord)> {
    let mut all = Vec::new();
    for _ in 0..count {
        let record = within(world.record()).await;
        all.push((record.upstream.as_deref().unwrap_or_default().to_owned(), record));
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn names(list: &Value, name: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|one| one[name].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn one_session_and_one_list_are_those_of_all_servers() {
    let (one, two) = (server(ONE).await, server(TWO).await);
    let world = world(&one.url(), &two.url(), "");
    let (session, hello) = begin(&world, "k").await;
    let hello = &hello["result"];
    assert_eq!(hello["protocolVersion"], "2025-06-18", "the oldest that one of them chose");
    assert_eq!(hello["capabilities"], json!({"tools":{}}), "what nobody knows is left out");
    assert_eq!(hello["instructions"], "# one\n\none\n\n# two\n\ntwo");
    assert_eq!(hello["serverInfo"]["name"], "r");
    let told = records(&world, 3).await;
    let told: Vec<_> = told.iter().map(|(up, r)| (&**up, r.credential.as_ref().map(|c| &*c.credential))).collect();
    assert_eq!(told, [("", None), ("u", Some("c")), ("w", Some("d"))], "each use of a credential is recorded");
    for (server, header, value) in
        [(&one, "authorization", format!("Bearer {SECRET}")), (&two, "x-token", OTHER.into())]
    {
        assert_eq!(server.last().field(header), Some(&*value));
        assert_eq!(server.last().field("mcp-session-id"), None);
    }
    assert_eq!(one.last().field("x-token"), None, "one server never sees what is another's");

    let ready = json!({"jsonrpc":"2.0","method":"notifications/initialized"});
    let answer = world.ask(posted("k", &session, &ready)).await;
    assert_eq!((answer.status(), answer.text().as_str()), (202, ""));
    assert_eq!(one.last().text(), ready.to_string());
    assert_eq!(
        (one.last().field("mcp-session-id"), one.last().field("mcp-protocol-version")),
        (Some("s-one"), Some("2025-11-25"))
    );
    assert_eq!(
        (two.last().field("mcp-session-id"), two.last().field("mcp-protocol-version")),
        (None, Some("2025-06-18"))
    );
    assert_eq!(two.last().count("mcp-protocol-version"), 1);
    records(&world, 3).await;

    let ask = async |method: &str, params: Value| {
        let answer = world.ask(posted("k", &session, &message(method, params))).await;
        assert_eq!((answer.status(), answer.field("content-type")), (200, Some("application/json")), "{answer:?}");
        records(&world, 3).await;
        read(&answer)
    };
    let first = ask("tools/list", json!({})).await["result"].clone();
    assert_eq!(names(&first["tools"], "name"), ["one__find", "one__drop", "two__find", "two__hide"]);
    let cursor = first["nextCursor"].clone();
    let page = world.ask(posted("k", &session, &message("tools/list", json!({"cursor":cursor})))).await;
    assert_eq!(names(&read(&page)["result"]["tools"], "name"), ["two__last"], "of whom there is more");
    assert_eq!(read(&page)["result"].get("nextCursor"), None);
    records(&world, 2).await;
    assert_eq!(names(&ask("prompts/list", json!({})).await["result"]["prompts"], "name"), ["one__p"]);
    let resources = ask("resources/list", json!({})).await;
    assert_eq!(names(&resources["result"]["resources"], "uri"), ["one+file:///one", "two+file:///two"]);
    assert_eq!(ask("logging/setLevel", json!({"level":"info"})).await["result"], json!({}));
    assert_eq!(ask("resources/templates/list", json!({})).await["error"]["code"], -32601);
    let ping = world.ask(posted("k", &session, &message("ping", json!({})))).await;
    assert_eq!(read(&ping)["result"], json!({}));
    world.served(1).await;

    let answer = world.ask(bare("DELETE", &session)).await;
    assert_eq!(answer.status(), 200);
    for server in [&one, &two] {
        assert_eq!(server.last().method(), "DELETE");
    }
    records(&world, 3).await;
    world.done().await;
}

#[tokio::test]
async fn a_call_goes_to_the_one_server_that_it_is_for_by_the_name_there() {
    let (one, two) = (server(ONE).await, server(TWO).await);
    let world = world(&one.url(), &two.url(), "");
    let (session, _) = begin(&world, "k").await;
    records(&world, 3).await;
    let (before_one, before_two) = (one.counts().requests, two.counts().requests);
    let more = format!("{session}Mcp-Method: tools/call\r\nMcp-Name: two__find\r\n");
    let call = message("tools/call", json!({"name":"two__find","arguments":{"name":"two__find"}}));
    let answer = world.ask(posted("k", &more, &call)).await;
    let content = json!([{"type":"text","text":"find"},{"type":"resource_link","uri":"two+file:///a"}]);
    assert_eq!(read(&answer)["result"]["content"], content);
    let sent = two.last();
    assert_eq!((sent.field("mcp-name"), sent.count("mcp-name"), sent.field("x-token")), (Some("find"), 1, Some(OTHER)));
    assert_eq!(sent.text(), call.to_string().replacen("two__find", "find", 1));
    let record = world.outcome(R::Served).await;
    assert_eq!((record.upstream.as_deref(), record.mcp.unwrap().name.as_deref()), (Some("w"), Some("two__find")));
    assert_eq!((one.counts().requests, two.counts().requests), (before_one, before_two + 1));

    // Events keep their order, and what the server asks in between finds its way back to it alone.
    let answer = world.ask(posted("k", &session, &message("resources/read", json!({"uri":"one+file:///one"})))).await;
    let text = answer.text();
    assert!(text.contains("id: one:3\n") && text.contains(r#""uri":"one+file:///one""#), "{text}");
    let asks: Value = serde_json::from_str(text.lines().next().unwrap().strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(asks["id"], "one:\"q\"");
    assert_eq!(serde_json::from_slice::<Value>(&one.last().body).unwrap()["params"]["uri"], "file:///one");
    world.served(1).await;
    let (before_one, before_two) = (one.counts().requests, two.counts().requests);
    let reply = world.ask(posted("k", &session, &json!({"jsonrpc":"2.0","id":asks["id"],"result":{}}))).await;
    assert_eq!(reply.status(), 202);
    assert_eq!(serde_json::from_slice::<Value>(&one.last().body).unwrap()["id"], "q");
    assert_eq!((one.counts().requests, two.counts().requests), (before_one + 1, before_two));
    world.served(1).await;

    // What nobody here has goes nowhere.
    let seen = (one.counts().requests, two.counts().requests);
    for (body, status) in [
        (message("tools/call", json!({"name":"find"})), 200),
        (message("tools/call", json!({"name":"three__find"})), 200),
        (message("resources/read", json!({"uri":"file:///one"})), 200),
        (message("completion/complete", json!({"ref":{"type":"ref/prompt","name":"p"}})), 200),
    ] {
        let answer = world.ask(posted("k", &session, &body)).await;
        assert_eq!((answer.status(), &read(&answer)["error"]["code"]), (status, &json!(-32602)), "{body}");
        world.outcome(R::McpNotAllowed).await;
    }
    for body in [
        json!({"jsonrpc":"2.0","id":"q","result":{}}),
        json!({"jsonrpc":"2.0","id":"three:1","result":{}}),
        json!({"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1}}),
        json!([message("ping", json!({}))]),
        message("tools/list", json!({"cursor":"x"})),
        json!({"jsonrpc":"2.0","method":"tools/list"}),
    ] {
        let answer = world.ask(posted("k", "", &body)).await;
        assert!(matches!(answer.status(), 400 | 403), "{body}: {answer:?}");
        records(&world, 1).await;
    }
    assert_eq!((one.counts().requests, two.counts().requests), seen);
    world.done().await;
}

#[tokio::test]
async fn rules_hold_for_the_names_that_callers_know() {
    let (one, two) = (server(ONE).await, server(TWO).await);
    let rules = ", tools: { deny: ['*__hide', one__drop] }, resources: { allow: ['one+file:///*'] }";
    let world = world(&one.url(), &two.url(), rules);
    for (key, expect) in [("k", vec!["one__find", "two__find"]), ("o", vec!["two__find"])] {
        let (session, _) = begin(&world, key).await;
        let list = world.ask(posted(key, &session, &message("tools/list", json!({})))).await;
        assert_eq!(names(&read(&list)["result"]["tools"], "name"), expect);
        let list = world.ask(posted(key, &session, &message("resources/list", json!({})))).await;
        assert_eq!(names(&read(&list)["result"]["resources"], "uri"), ["one+file:///one"]);
        records(&world, 9).await;
        let seen = (one.counts().requests, two.counts().requests);
        for body in [
            message("tools/call", json!({"name":"two__hide"})),
            message("tools/call", json!({"name":if key == "o" { "one__find" } else { "one__drop" }})),
            message("resources/read", json!({"uri":"two+file:///two"})),
            message("resources/read", json!({"uri":"one+file:///a/../b"})),
            message("resources/read", json!({"uri":"one+file://host/b"})),
        ] {
            let answer = world.ask(posted(key, &session, &body)).await;
            assert_eq!(read(&answer)["error"]["code"], -32602, "{body}");
            world.outcome(R::McpNotAllowed).await;
        }
        assert_eq!((one.counts().requests, two.counts().requests), seen);
    }
    world.done().await;
}

#[tokio::test]
async fn a_server_that_is_down_or_slow_is_left_out_and_the_others_serve() {
    let one = server(ONE).await;
    let slow = FakeUpstream::start(|mut peer| async move {
        while peer.request().await.is_some() {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
    })
    .await;
    let down = Place::take();
    for (url, outcome) in
        [(format!("http://{}", down.address()), R::UpstreamConnectFailed), (slow.url(), R::UpstreamTimeout)]
    {
        let world = world(&one.url(), &url, ", server_timeout: 1s");
        let (session, hello) = begin(&world, "k").await;
        assert_eq!(hello["result"]["_meta"], json!({"credentialflow/absentServers":["two"]}));
        let told = records(&world, 3).await;
        assert_eq!((told[0].1.outcome, told[1].1.outcome, told[2].1.outcome), (R::Served, R::Served, outcome));
        let list = world.ask(posted("k", &session, &message("tools/list", json!({})))).await;
        assert_eq!(names(&read(&list)["result"]["tools"], "name"), ["one__find", "one__drop"]);
        assert_eq!(read(&list)["result"]["_meta"]["credentialflow/absentServers"], json!(["two"]));
        records(&world, 2).await;
        let call = world.ask(posted("k", &session, &message("tools/call", json!({"name":"two__find"})))).await;
        assert_eq!(read(&call)["error"]["code"], -32602, "it has no part in the session");
        world.outcome(R::McpNotAllowed).await;
        world.done().await;
    }
    let away = format!("http://{}", down.address());
    let world = world(&away, &away, "");
    let answer = world.ask(posted("k", "", &message("initialize", json!({"protocolVersion":"2025-11-25"})))).await;
    assert_eq!((answer.status(), &read(&answer)["error"]["data"]["code"]), (502, &json!("upstream_connect_failed")));
    records(&world, 3).await;
    world.done().await;
}

#[tokio::test]
async fn a_session_is_its_application_s_alone_and_ends_when_a_server_has_forgotten_it() {
    let (one, two) = (server(ONE).await, server(TWO).await);
    let world = world(&one.url(), &two.url(), "");
    let (session, _) = begin(&world, "k").await;
    records(&world, 3).await;
    let seen = (one.counts().requests, two.counts().requests);
    let list = message("tools/list", json!({}));
    for (key, session) in [
        ("o", session.clone()),
        ("k", session.replace("session-id: W", "session-id: V")),
        ("k", "mcp-session-id: s-one\r\n".into()),
    ] {
        let answer = world.ask(posted(key, &session, &list)).await;
        assert_eq!((answer.status(), &read(&answer)["error"]["data"]["code"]), (404, &json!("mcp_session_unknown")));
        world.outcome(R::McpSessionUnknown).await;
    }
    assert_eq!((one.counts().requests, two.counts().requests), seen);
    // Without its session, the first server says that it knows none.
    let forgetful = server(Like { session: Some("another"), ..ONE }).await;
    let yaml = configuration(&forgetful.url(), &two.url(), "");
    world.install(&yaml, &[("c", 1, SECRET), ("d", 1, OTHER)], &[]).await;
    for body in [list, message("tools/call", json!({"name":"one__find"}))] {
        assert_eq!(world.ask(posted("k", &session, &body)).await.status(), 404, "{body}");
    }
    records(&world, 4).await;
    world.done().await;
}

#[tokio::test]
async fn what_servers_say_by_themselves_comes_as_one_stream() {
    let (one, two) = (server(ONE).await, server(TWO).await);
    let world = world(&one.url(), &two.url(), "");
    let (session, _) = begin(&world, "k").await;
    records(&world, 3).await;
    let stream = world.ask(bare("GET", &session)).await;
    assert!(stream.complete && stream.field("content-type") == Some("text/event-stream"), "{stream:?}");
    let text = stream.text();
    for part in [r#""id":"one:7""#, r#""id":"two:7""#] {
        assert_eq!(text.matches(part).count(), 1, "{text}");
    }
    assert_eq!(text.matches("list_changed").count(), 2);
    assert!(!text.contains("id: "), "no place in it could be taken up again");
    assert_eq!(one.last().field("mcp-session-id"), Some("s-one"));
    records(&world, 3).await;
    // A stream of one server is taken up again there.
    let again = world.ask(bare("GET", &format!("{session}last-event-id: one:5\r\n"))).await;
    assert_eq!((again.status(), one.last().field("last-event-id")), (200, Some("5")));
    assert!(again.text().starts_with("id: one:5\n"), "{again:?}");
    world.served(1).await;
    let strange = world.ask(bare("GET", &format!("{session}last-event-id: 5\r\n"))).await;
    assert_eq!(strange.status(), 400);
    world.outcome(R::InvalidMcpMessage).await;
    world.done().await;
}

#[tokio::test]
async fn a_subscription_is_taken_once_and_told_of_by_each_server() {
    let two = server(TWO).await;
    let world = world(&two.url(), &two.url(), "");
    let filter = json!({"toolsListChanged":true,"resourceSubscriptions":["one+a:1","two+a:2"]});
    let listen = json!({"jsonrpc":"2.0","id":"s","method":"subscriptions/listen","params":{"notifications":filter}});
    // Over several lines, which events have not.
    let listen = serde_json::to_string_pretty(&listen).unwrap().replace('\n', "\r\n");
    let stream = world.ask(written("k", "mcp-protocol-version: 2026-07-28\r\n", &listen)).await;
    assert!(stream.complete && stream.status() == 200, "{stream:?}");
    let text = stream.text();
    let said: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect();
    let [taken, told @ .., over] = said.as_slice() else { panic!("{text}") };
    let meta = json!({"io.modelcontextprotocol/subscriptionId":"s"});
    assert_eq!(taken["params"], json!({"notifications":filter,"_meta":meta}));
    assert_eq!((&over["id"], &over["result"]["_meta"]), (&json!("s"), &meta));
    let mut told: Vec<_> = told.iter().map(|told| told["params"]["uri"].as_str().unwrap()).collect();
    told.sort_unstable();
    assert_eq!(told, ["one+a:1", "two+a:2"], "each of its own");
    records(&world, 3).await;
    world.done().await;
}

#[tokio::test]
async fn a_version_is_told_of_where_all_servers_have_it() {
    let (one, two) = (server(ONE).await, server(TWO).await);
    let ask = async |one: &FakeUpstream, two: &FakeUpstream| {
        let world = world(&one.url(), &two.url(), "");
        let answer = world
            .ask(posted("k", "mcp-protocol-version: 2026-07-28\r\n", &message("server/discover", json!({}))))
            .await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        records(&world, 3).await;
        world.done().await;
        read(&answer)
    };
    assert_eq!(ask(&one, &two).await["error"]["code"], -32601, "clients go back to `initialize`");
    let told = ask(&two, &two).await;
    assert_eq!(told["result"]["supportedVersions"], json!(["2026-07-28"]));
}

#[tokio::test]
async fn what_is_kept_for_the_slowest_server_is_counted_and_what_all_are_asked_is_short() {
    let large = FakeUpstream::start(|mut peer| async move {
        while peer.request().await.is_some() {
            let tool = json!({"name":"a","description":"x".repeat(1 << 20)});
            let body = json!({"jsonrpc":"2.0","id":1,"result":{"tools":[tool]}}).to_string();
            peer.send(answer(200, "content-type: application/json\r\n", &body)).await;
        }
    })
    .await;
    let slow = FakeUpstream::start(|mut peer| async move {
        while peer.request().await.is_some() {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
    })
    .await;
    let world = world(&large.url(), &slow.url(), ", server_timeout: 2s");
    let list = posted("k", "", &message("tools/list", json!({})));
    let (list, ()) = tokio::join!(world.ask(list), async {
        assert_eq!(within(world.record()).await.upstream.as_deref(), Some("u"));
        assert!(world.gateway.memory().0 > 3 << 20, "{} held", world.gateway.memory().0);
    });
    assert_eq!(names(&read(&list)["result"]["tools"], "name"), ["one__a"]);
    records(&world, 2).await;
    let reason = "x".repeat(300 << 10);
    let tell = json!({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"reason":reason}});
    assert_eq!(world.ask(posted("k", "", &tell)).await.status(), 400);
    world.outcome(R::InvalidMcpMessage).await;
    assert_eq!(large.counts().requests, 1);
    world.done().await;
}
