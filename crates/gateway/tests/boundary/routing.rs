//! Which upstream gets what: routes, methods, hosts, paths, headers on the way, limits.

use crate::harness::*;
use credentialflow_model::OutcomeReason as R;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn the_usual_request() {
    let upstream = FakeUpstream::answering(OK).await;
    let world = World::before(&upstream);
    let mut wire = world.connect().await;
    for _ in 0..3 {
        wire.send(post("/a/b?q=1", "content-type: text/plain\r\n", "hello")).await.unwrap();
        let answer = within(wire.message()).await.unwrap();
        assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
        assert_eq!(answer.field("content-length"), Some("2"));
        let seen = upstream.last();
        assert_eq!(seen.first, "POST /a/b?q=1 HTTP/1.1");
        assert_eq!(seen.text(), "hello");
        assert_eq!(seen.field("authorization"), Some(format!("Bearer {SECRET}").as_str()));
        assert_eq!(seen.field("host"), Some(upstream.address().to_string().as_str()));
        assert_eq!(seen.field("content-type"), Some("text/plain"));
        assert_eq!(seen.field("accept-encoding"), Some("identity"));
        assert_eq!(seen.field("x-request-id"), answer.field("x-request-id"));
        let record = world.outcome(R::Served).await;
        assert_eq!(Some(record.request_id.to_string().as_str()), answer.field("x-request-id"));
        assert_eq!((record.status, record.upstream_status, record.attempts), (200, 200, 1));
        assert_eq!((record.bytes_in, record.bytes_out), (5, 2));
        assert_eq!((&*record.method, &*record.path), ("POST", "/a/b"));
        let names = (record.application.as_deref(), record.route.as_deref(), record.upstream.as_deref());
        assert_eq!(names, (Some("app"), Some("r"), Some("u")));
        assert_eq!(record.endpoint.as_deref(), Some(upstream.address().to_string().as_str()));
        let used = record.credential.as_ref().unwrap();
        assert_eq!((&*used.credential, used.version), ("c", 1));
        assert!(record.total_us >= record.ttfb_us && record.ttfb_us >= 1 && record.total_us >= record.upstream_us);
        assert!(record.upstream_us >= 1 && record.total_us < 10_000_000);
    }
    assert_eq!(upstream.counts().accepted, 1, "the upstream's connection is kept");
    world.done().await;
}

#[tokio::test]
async fn routes_decide_by_host_path_method_and_header() {
    let upstream = FakeUpstream::answering(OK).await;
    let url = upstream.url();
    let names = ["host", "exact", "param", "below", "beta", "post"];
    let yaml = format!(
        "upstreams:
  - {{ name: u, endpoints: [\"{url}/base/\"] }}
routes:
  - {{ name: host, match: {{ hosts: [api.example.com], path: /* }}, upstream: u, authenticate: [none] }}
  - {{ name: exact, match: {{ path: /orders }}, upstream: u, authenticate: [none] }}
  - {{ name: param, match: {{ path: '/orders/{{id}}', methods: [GET, PUT] }}, upstream: u, authenticate: [none] }}
  - {{ name: below, match: {{ path: /files/* }}, upstream: u, authenticate: [none], strip_prefix: /files }}
  - {{ name: beta, match: {{ path: /orders, headers: {{ x-stage: beta }} }}, upstream: u, authenticate: [none] }}
  - {{ name: post, match: {{ path: /new, methods: [POST] }}, upstream: u, authenticate: [none] }}
"
    );
    let world = Setup::new(yaml).start();
    let check = async |first: &str, host: &str, more: &str, expect: Result<(&str, &str), u16>| {
        let answer = world.ask(format!("{first} HTTP/1.1\r\nhost: {host}\r\n{more}\r\n")).await;
        let record = world.record().await;
        match expect {
            Ok((route, target)) => {
                assert_eq!((answer.status(), record.route.as_deref()), (200, Some(route)), "{first}");
                assert_eq!(upstream.last().target(), target, "{first}");
                assert!(names.contains(&route));
            }
            Err(status) => {
                assert_eq!((answer.status(), record.status), (status, status), "{first}");
                assert_eq!(answer.field("content-type"), Some("application/problem+json"));
                let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
                assert_eq!(body["status"], status);
                assert_eq!(body["code"], record.outcome.code());
                assert_eq!(body["request_id"].as_str(), answer.field("x-request-id"));
                assert_eq!(body["type"], format!("urn:credentialflow:outcome:{}", record.outcome.code()));
                assert!(body["title"].is_string() && body["retry"].is_boolean());
            }
        }
        answer
    };
    check("GET /orders", "API.example.com:80", "", Ok(("host", "/base/orders"))).await;
    check("GET /orders?a=b", "gw", "", Ok(("exact", "/base/orders?a=b"))).await;
    check("GET /orders", "gw", "X-Stage: beta\r\n", Ok(("beta", "/base/orders"))).await;
    check("PUT /orders/7", "gw", "", Ok(("param", "/base/orders/7"))).await;
    check("GET /orders/%37", "gw", "", Ok(("param", "/base/orders/7"))).await;
    check("GET /orders/a%2fb", "gw", "", Ok(("param", "/base/orders/a%2Fb"))).await;
    check("GET /files/a/b?c", "gw", "", Ok(("below", "/base/a/b?c"))).await;
    check("GET /files", "gw", "", Ok(("below", "/base/"))).await;
    check("GET http://gw/orders", "other", "", Ok(("exact", "/base/orders"))).await;
    check("GET /nothing", "gw", "", Err(404)).await;
    check("GET /orders/7/8", "gw", "", Err(404)).await;
    let allow = check("DELETE /orders/7", "gw", "", Err(405)).await;
    assert_eq!(allow.field("allow"), Some("GET, PUT"));
    for path in ["/files/../orders", "/files/%2e%2e/orders", "/files/..%2forders", "/files/.", "/files/%zz", "/a%00"] {
        check(&format!("GET {path}"), "gw", "", Err(400)).await;
    }
    world.done().await;
}

#[tokio::test]
async fn upstreams_are_told_of_the_keys_metadata() {
    let upstream = FakeUpstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let rules = ", headers: { request: { set: { X-Cost-Center: '${key.metadata.cost-center}', x-tier: '${key.metadata.tier}', x-plain: y } } }";
    let yaml = usual(&[upstream.url()], "", rules).replace(
        "{ name: k, application: app }",
        "{ name: k, application: app, metadata: { cost-center: '4711', tier: \"gold\\r\\nx-smuggled: 1\" } }",
    );
    let mut setup = Setup::new(yaml);
    setup.credentials = vec![("c", 1, SECRET)];
    let world = setup.start();
    for (name, expect) in [("k", Some("4711")), ("k2", None)] {
        let more = "x-cost-center: mine\r\nx_cost_center: mine\r\nX-Tier: mine\r\n";
        let request = format!("GET / HTTP/1.1\r\nhost: gw\r\nx-api-key: {}\r\n{more}\r\n", key(name));
        assert_eq!(world.ask(request).await.status(), 200);
        let seen = upstream.last();
        assert_eq!((seen.field("x-cost-center"), seen.field("x-tier"), seen.field("x-smuggled")), (expect, None, None));
        assert_eq!((seen.field("x-plain"), seen.count("x_cost_center")), (Some("y"), 0));
        world.served(1).await;
    }
    world.done().await;
}

#[tokio::test]
async fn upstreams_are_told_who_acts_for_whom() {
    let upstream = FakeUpstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let rules = ", headers: { request: { set: { x-actor: '${key.actor}', x-subject: '${key.subject}', x-tier: '${key.metadata.tier}' } } }";
    let mut yaml = usual(&[upstream.url()], "", rules);
    for (name, more) in
        [("k", "subject: alice, metadata: { tier: gold }"), ("k2", "parent: k, actor: { name: planner }")]
    {
        yaml = yaml.replace(&format!("name: {name},"), &format!("name: {name}, {more},"));
    }
    yaml = yaml.replace("keys:\n", "keys:\n  - { name: k3, application: app, parent: k2 }\n");
    let world = Setup::new(yaml).start();
    for (name, actor) in [("k", None), ("k2", Some("planner")), ("k3", Some("k3"))] {
        let request = format!(
            "GET / HTTP/1.1\r\nhost: gw\r\nx-api-key: {}\r\nx-actor: mine\r\nx-subject: mine\r\n\r\n",
            key(name)
        );
        assert_eq!(world.ask(request).await.status(), 200);
        let seen = upstream.last();
        assert_eq!(
            (seen.field("x-actor"), seen.field("x-subject"), seen.field("x-tier")),
            (actor, Some("alice"), Some("gold"))
        );
        world.served(1).await;
    }
    world.done().await;
}

#[tokio::test]
async fn headers_on_the_way() {
    let upstream =
        FakeUpstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nserver: x\r\nx-keep: 1\r\nconnection: x-hop\r\nx-hop: 1\r\nx-request-id: theirs\r\n\r\nok").await;
    let rules = ", headers: { request: { set: { X-Team: checkout }, remove: [Cookie] }, response: { set: { X-Via: gw }, remove: [Server] } }";
    let world = Setup::new(usual(&[upstream.url()], "", rules)).start();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let sent = format!(
        "cookie: a=b\r\nx-team: mine\r\nte: trailers\r\nconnection: x-drop\r\nx-drop: 1\r\nx-pass: 1\r\nproxy-authorization: y\r\n\
         x-forwarded-for: 6.6.6.6\r\nx-forwarded-host: evil\r\nforwarded: for=6.6.6.6\r\nx-request-id: mine\r\ntracestate: v=1\r\n\
         traceparent: 00-{trace}-00f067aa0ba902b7-01\r\nkeep-alive: 5\r\n\
         x_forwarded_for: 6.6.6.6\r\nX_Team: mine\r\ncontent_length: 7\r\nx_pass: 2\r\n"
    );
    let answer = world.get("/x", &sent).await;
    let seen = upstream.last();
    for gone in [
        "cookie",
        "te",
        "x-drop",
        "proxy-authorization",
        "forwarded",
        "connection",
        "keep-alive",
        "x-api-key",
        "x_forwarded_for",
        "x_team",
        "content_length",
    ] {
        assert_eq!(seen.field(gone), None, "{gone}");
    }
    for (name, value) in [
        ("x-team", "checkout"),
        ("x-pass", "1"),
        ("x_pass", "2"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "gw"),
        ("tracestate", "v=1"),
    ] {
        assert_eq!((seen.field(name), seen.count(name)), (Some(value), 1), "{name}");
    }
    let parent = seen.field("traceparent").unwrap();
    assert!(parent.starts_with(&format!("00-{trace}-")) && parent.ends_with("-01"), "{parent}");
    assert!(!parent.contains("00f067aa0ba902b7"), "a span of our own");
    assert_eq!((answer.field("x-via"), answer.field("x-keep")), (Some("gw"), Some("1")));
    for gone in ["server", "x-hop", "connection"] {
        assert_eq!(answer.field(gone), None, "{gone}");
    }
    assert_eq!(answer.count("x-request-id"), 1);
    assert_ne!(answer.field("x-request-id"), Some("theirs"));
    assert_eq!(world.outcome(R::Served).await.trace_id.to_string(), trace);
    world.get("/x", "traceparent: 00-zz\r\n").await;
    let record = world.record().await;
    assert_ne!(record.trace_id.0, 0);
    assert!(upstream.last().field("traceparent").unwrap().contains(&record.trace_id.to_string()));
    world.done().await;
}

#[tokio::test]
async fn every_way_of_injection() {
    let upstream = FakeUpstream::answering(OK).await;
    for (inject, name, expect, target) in [
        ("{ bearer: c }", "authorization", format!("Bearer {SECRET}"), "/p?a=1&key=callers&b=2"),
        ("{ header: { name: X-Secret, credential: c } }", "x-secret", SECRET.into(), "/p?a=1&key=callers&b=2"),
        (
            "{ header: { name: X-Secret, credential: c, prefix: 'Token ' } }",
            "x-secret",
            format!("Token {SECRET}"),
            "/p?a=1&key=callers&b=2",
        ),
        (
            "{ query: { name: key, credential: c } }",
            "",
            String::new(),
            "/p?a=1&b=2&key=sk-upstream-Zq7%2B%2FW4e1r9T%3D",
        ),
        (
            "{ basic: { username: bob, credential: c } }",
            "authorization",
            "Basic Ym9iOnNrLXVwc3RyZWFtLVpxNysvVzRlMXI5VD0=".into(),
            "/p?a=1&key=callers&b=2",
        ),
    ] {
        let world = Setup::new(usual(&[upstream.url()], &format!(", inject: {inject}"), "")).start();
        let answer = world.get("/p?a=1&key=callers&b=2", "x-secret: mine\r\n").await;
        assert_eq!(answer.status(), 200, "{inject}");
        let seen = upstream.last();
        assert_eq!(seen.target(), target, "{inject}");
        if !name.is_empty() {
            assert_eq!((seen.field(name), seen.count(name)), (Some(expect.as_str()), 1), "{inject}");
        }
        assert_eq!(seen.count("authorization") > 0, name == "authorization", "{inject}");
        assert!(find(&seen.everything(), key("k").as_bytes()).is_none());
        world.outcome(R::Served).await;
        world.done().await;
    }
}

#[tokio::test]
async fn limits_are_told_and_kept() {
    let upstream = FakeUpstream::answering(OK).await;
    let world = Setup::new(usual(&[upstream.url()], "", ", limit: { requests: 2, per: 1m }")).start();
    for remaining in [1, 0] {
        let answer = world.get("/", "").await;
        assert_eq!(answer.status(), 200);
        assert!(answer.field("ratelimit").unwrap().contains(&format!("r={remaining}")), "{answer:?}");
        assert!(answer.field("ratelimit-policy").unwrap().contains("q=2"), "{answer:?}");
        world.outcome(R::Served).await;
    }
    let answer = world.get("/", "").await;
    assert_eq!(answer.status(), 429);
    assert!((1..=30).contains(&answer.field("retry-after").unwrap().parse::<u64>().unwrap()));
    assert!(answer.field("ratelimit").unwrap().contains("r=0"));
    let record = world.outcome(R::RateLimited).await;
    assert_eq!((record.attempts, record.application.as_deref()), (0, Some("app")));
    assert_eq!(upstream.counts().requests, 2);
    world.done().await;
}

#[tokio::test]
async fn a_credential_that_cannot_be_opened() {
    let upstream = FakeUpstream::answering(OK).await;
    let mut setup = Setup::new(usual(&[upstream.url()], "", ""));
    setup.credentials = vec![("c", 1, "")];
    let world = setup.start();
    assert_eq!(world.get("/", "").await.status(), 503);
    world.outcome(R::CredentialUnavailable).await;
    world.install(&usual(&[upstream.url()], "", ""), &[("c", 2, "line\r\nbreak: x")], &[]).await;
    assert_eq!(world.get("/", "").await.status(), 503);
    world.outcome(R::CredentialUnavailable).await;
    assert_eq!(upstream.counts().requests, 0);
    world.done().await;
}
