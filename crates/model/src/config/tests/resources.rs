//! Resources that read well and still cannot be: names that lead nowhere, contradictions, bounds.

use super::*;
use crate::resource::{Budgets, Credential};

#[test]
fn duplicates_and_dangling_names() {
    expect("teams:\n  - name: a\n  - name: a\n", &["3:11 duplicate_name teams[1].name"]);
    expect(
        "applications: [{ name: a, allow: { routes: [r], models: [m] } }]\nkeys: [{ name: k, application: b, allow: { routes: [x] } }]",
        &[
            "1:45 unknown_name applications[0].allow.routes[0]",
            "1:58 unknown_name applications[0].allow.models[0]",
            "2:32 unknown_name keys[0].application",
            "2:53 unknown_name keys[0].allow.routes[0]",
        ],
    );
    expect(
        "credentials: [{ name: c, engine: static, owner: t, value: '${credential:d}', verify: { upstream: u, path: /x } }]",
        &[
            "1:49 unknown_name credentials[0].owner",
            "1:59 unknown_name credentials[0].value",
            "1:98 unknown_name credentials[0].verify.upstream",
        ],
    );
    expect(
        "models: [{ name: m, targets: [{ provider: nobody, model: m, credential: c }] }]",
        &["1:43 unknown_name models[0].targets[0].provider", "1:73 unknown_name models[0].targets[0].credential"],
    );
    // An item with a problem of its own is still there to be referred to.
    expect(
        "teams: [{ name: t, size: 5 }]\napplications: [{ name: a, team: t }]",
        &["1:20 unknown_field teams[0].size"],
    );
    let (set, source, _) = read_many(&[("a.yaml", "teams: [{ name: t }]"), ("b.yaml", "teams:\n  - name: t")]);
    let problems = check(&set, &source, &CONTEXT);
    assert_eq!(
        problems.0[0].to_string(),
        "b.yaml:2:11: teams[0].name: the name `t` is taken twice in teams (the first is in a.yaml line 1)"
    );
    let without = check(&set, &SourceMap::default(), &CONTEXT);
    assert_eq!((without.0[0].at.line, without.0[0].path.as_str()), (0, "teams[1].name"));
}

#[test]
fn paths_of_routes() {
    for good in ["/", "/a", "/a/b", "/a/{id}", "/a/{id}/b/{n}", "/a/*", "/*", "/a%20b", "/v1:do"] {
        expect(&route(&format!("    match: {{ path: '{good}' }}\n    authenticate: [none]")), &[]);
    }
    for bad in [
        "a", "", "//", "/a/", "/a//b", "/a/./b", "/..", "/*/a", "/a*", "/a{id}", "/{}", "/{a}/{a}", "/{a-b}", "/a?b=1",
        "/a#b", "/a b", "/ä", "/a\\b", "/}",
    ] {
        expect(
            &route(&format!("    match: {{ path: '{bad}' }}\n    authenticate: [none]")),
            &["5:20 invalid_path routes[0].match.path"],
        );
    }
}

#[test]
fn what_routes_match_and_change() {
    expect(
        &route(
            "    match: { path: /a, methods: [get, 'G T'], hosts: ['*.a.b', 'a.*', 'h:80', ''], headers: { 'x y': a, b: \"\\n\" } }\n    authenticate: []",
        ),
        &[
            "5:34 invalid_method routes[0].match.methods[0]",
            "5:39 invalid_method routes[0].match.methods[1]",
            "5:64 invalid_host routes[0].match.hosts[1]",
            "5:71 invalid_host routes[0].match.hosts[2]",
            "5:79 invalid_host routes[0].match.hosts[3]",
            "5:102 invalid_header routes[0].match.headers.x y",
            "5:108 invalid_header routes[0].match.headers.b",
            "6:19 empty routes[0].authenticate",
        ],
    );
    expect(
        &route("    match: { path: /a }\n    authenticate: [none, api_key]"),
        &["6:19 contradiction routes[0].authenticate"],
    );
    expect(
        &route("    match: { path: /a }\n    authenticate: [api_key, api_key]"),
        &["6:19 duplicate routes[0].authenticate"],
    );
    expect(
        &route("    match: { path: /a }\n    authenticate: [none]\n    key_in_query: key"),
        &["7:19 not_here routes[0].key_in_query"],
    );
    expect(
        &route(
            "    match: { path: /a }\n    authenticate: [none]\n    headers: { request: { set: { Host: x, te: y, authorization: z, x-a: \"a\\r\\nb: c\" }, remove: [Content-Length] } }",
        ),
        &[
            "7:40 invalid_header routes[0].headers.request.set.Host",
            "7:47 invalid_header routes[0].headers.request.set.te",
            "7:73 invalid_header routes[0].headers.request.set.x-a",
            "7:97 invalid_header routes[0].headers.request.remove[0]",
        ],
    );
    expect(
        &route(
            "    match: { path: /a }\n    authenticate: [none]\n    headers: { request: { set: { x-a: \"${key.metadata.a}\", x-b: \"${key.name}\" } }, response: { set: { x-c: \"${key.metadata.a}\" } } }",
        ),
        &[
            "7:39 not_here routes[0].headers.request.set.x-a",
            "7:65 invalid_header routes[0].headers.request.set.x-b",
            "7:108 not_here routes[0].headers.response.set.x-c",
        ],
    );
    expect(
        &route(
            "    match: { path: /a }\n    authenticate: [api_key]\n    headers: { request: { set: { x-a: \"${key.metadata.a}\", x-b: \"${key.actor}\", x-c: \"${key.subject}\" } } }",
        ),
        &[],
    );
    expect(
        &route(
            "    match: { path: /a/* }\n    authenticate: [none]\n    strip_prefix: /b\n    retry: { attempts: 6 }\n    limit: { requests: 0, per: 31d }",
        ),
        &[
            "7:19 invalid_path routes[0].strip_prefix",
            "8:24 out_of_bounds routes[0].retry.attempts",
            "9:24 out_of_bounds routes[0].limit.requests",
            "9:32 out_of_bounds routes[0].limit.per",
        ],
    );
    expect(
        "upstreams: [{ name: u, endpoints: ['http://h'] }]\nroutes:
  - { name: a, upstream: u, authenticate: [none], match: { path: '/x/{a}', hosts: [A.b, c.d] } }
  - { name: b, upstream: u, authenticate: [none], match: { path: '/x/{b}', hosts: [c.d, a.b] } }
  - { name: c, upstream: u, authenticate: [none], match: { path: '/x/{b}', hosts: [c.d] } }\n",
        &["4:58 conflict routes[1].match"],
    );
}

#[test]
fn upstreams() {
    for good in [
        "http://h",
        "https://api.example.com:8443/v1",
        "http://127.0.0.1:9001",
        "http://[::1]:80/x",
        "sandbox://rest",
        "sandbox://models",
    ] {
        expect(&upstream(&format!("    endpoints: ['{good}']")), &[]);
    }
    for bad in [
        "",
        "h",
        "ftp://h",
        "http://",
        "http://u:p@h",
        "http://h?a",
        "http://h/#a",
        "http://h:0",
        "http://h:70000",
        "http://h:",
        "http://h:+8",
        "http://[::1",
        "http://[x]:1",
        "http://[::1]80",
        "http://a b",
        "http://h/a b",
        "http://h/../x",
        "sandbox://x",
        "sandbox://",
    ] {
        expect(&upstream(&format!("    endpoints: ['{bad}']")), &["4:17 invalid_url upstreams[0].endpoints[0]"]);
    }
    expect(
        &upstream("    endpoints: []\n    provider: opnai"),
        &["4:16 empty upstreams[0].endpoints", "5:15 unknown_name upstreams[0].provider"],
    );
    expect(&upstream(&format!("{ENDPOINT}    inject: {{}}")), &["5:13 not_one upstreams[0].inject"]);
    expect(
        &upstream(&format!("{ENDPOINT}    inject: {{ bearer: c, query: {{ name: k, credential: c }} }}")),
        &["5:13 not_one upstreams[0].inject"],
    );
    expect(
        &upstream(&format!("{ENDPOINT}    inject: {{ bearer: d }}")),
        &["5:23 unknown_name upstreams[0].inject.bearer"],
    );
    expect(
        &upstream(&format!("{ENDPOINT}    inject: {{ header: {{ name: Host, credential: c, prefix: \"a\\n\" }} }}")),
        &[
            "5:31 invalid_header upstreams[0].inject.header.name",
            "5:60 invalid_value upstreams[0].inject.header.prefix",
        ],
    );
    expect(
        &upstream(&format!(
            "{ENDPOINT}    inject: {{ header: {{ name: authorization, credential: c, prefix: 'Token ' }} }}"
        )),
        &[],
    );
    expect(
        &upstream(&format!("{ENDPOINT}    inject: {{ basic: {{ username: 'a:b', credential: c }} }}")),
        &["5:34 invalid_value upstreams[0].inject.basic.username"],
    );
    expect(
        &upstream(&format!(
            "{ENDPOINT}    inject: {{ aws_sigv4: {{ credential: c, region: 'EU west', service: bedrock }} }}"
        )),
        &["5:51 invalid_value upstreams[0].inject.aws_sigv4.region"],
    );
    expect(
        &upstream(&format!("{ENDPOINT}    inject: {{ query: {{ name: 'a&b', credential: c }} }}")),
        &["5:30 invalid_value upstreams[0].inject.query.name"],
    );
    expect(
        &upstream(&format!("{ENDPOINT}    health: {{ failures: 0 }}\n    timeouts: {{ connect: 2h }}")),
        &["5:25 out_of_bounds upstreams[0].health.failures", "6:26 out_of_bounds upstreams[0].timeouts.connect"],
    );
}

#[test]
fn credentials_and_their_rules() {
    expect(
        "credentials:
  - { name: a, engine: static, generate: {}, rotate: { every: 1d } }
  - { name: b, engine: generated, value: '${env:A}' }
  - { name: c, engine: generated, generate: { length: 7 } }
  - { name: d, engine: generated, generate: { length: 20, alphabet: hex, entropy: 128 } }
  - { name: e, engine: generated, generate: { length: 32, alphabet: hex, entropy: 128 }, tags: [x, '', x] }
  - { name: f, engine: static, value: '${credential:g}' }
  - { name: g, engine: static, value: '${credential:f}' }
  - { name: h, engine: static, value: '${credential:f}' }
",
        &[
            "2:42 not_here credentials[0].generate",
            "3:42 not_here credentials[1].value",
            "4:55 out_of_bounds credentials[2].generate.length",
            "5:83 out_of_bounds credentials[3].generate.entropy",
            "6:100 invalid_value credentials[4].tags[1]",
            "6:104 duplicate credentials[4].tags[2]",
            "7:39 cycle credentials[5].value",
        ],
    );
}

#[test]
fn rules_of_rotation() {
    let rule = |rule: &str| format!("credentials:\n  - name: a\n    engine: generated\n    rotate: {{ {rule} }}\n");
    expect(
        &rule(
            "every: 90d, jitter: 5d, approval: true, overlap: only-when-drained, window: { from: '22:00', to: '04:00' }",
        ),
        &[],
    );
    expect(
        &rule("jitter: 5d, approval: true, window: { from: '22:00', to: '04:00' }"),
        &[
            "4:23 not_here credentials[0].rotate.jitter",
            "4:37 not_here credentials[0].rotate.approval",
            "4:51 not_here credentials[0].rotate.window",
        ],
    );
    expect(
        &rule("every: 1d, jitter: 2d, overlap: only-when-drained, limit: 1d"),
        &["4:34 out_of_bounds credentials[0].rotate.jitter", "4:73 contradiction credentials[0].rotate.limit"],
    );
    expect(
        &rule("every: 1d, window: { days: [sat], from: '22:00', to: '04:00', zone: Mars/Olympus }"),
        &["4:83 invalid_value credentials[0].rotate.window.zone"],
    );
    let wrong = "every: 1d, window: { from: '22', to: '24:00', days: [someday] }";
    assert_eq!(problems(&rule(wrong)).0.len(), 3);
}

/// Codes and places of the problems of a text.
fn found(text: &str) -> Vec<String> {
    problems(text).0.iter().map(|p| format!("{} {}", p.code, p.path)).collect()
}

#[test]
fn providers_and_what_their_targets_say() {
    let set = |api: &str, credential: &str| {
        format!(
            "credentials:\n  - {{ name: admin, engine: static }}\n  - {{ name: key, {credential} }}\ntargets:\n  - {{ name: \
             openai, system: http, host: 127.0.0.1, username: admin, credential: admin{api} }}\n"
        )
    };
    let with = |take: &str, delete: &str, rest: &str| {
        format!(
            ", api: {{ create: {{ method: POST, path: /keys, json: '{{\"name\": \"{{{{name}}}}\"}}' }}, take: {{ {take} }}, \
             delete: {{ method: DELETE, path: '{delete}' }}{rest} }}"
        )
    };
    let list = ", list: { path: /keys, items: /data, name: /name, handle: /id }";
    let good = with("handle: /id, password: /value", "/keys/{{handle}}", list);
    let provider = "engine: provider, provider: { target: openai }, rotate: { canary: { percent: 5 } }";
    assert_eq!(found(&set(&good, provider)), [""; 0]);
    let paged = |more: &str| {
        let list = format!(", list: {{ path: /keys, items: /data, name: /name, handle: /id, {more} }}");
        found(&set(&with("handle: /id, password: /value", "/keys/{{handle}}", &list), provider))
    };
    assert_eq!(paged("next: /last_id, cursor: after"), [""; 0]);
    assert_eq!(paged("next: last_id"), ["invalid_value targets[0].api.list.next"]);
    assert_eq!(paged("cursor: after"), ["missing targets[0].api.list.next"]);
    assert_eq!(paged("next: /last_id, cursor: 'a b'"), ["invalid_value targets[0].api.list.cursor"]);
    assert_eq!(found(&set("", provider)), ["missing targets[0].api"]);
    assert_eq!(found(&set(&good, "engine: provider")), ["missing credentials[1].provider"]);
    let elsewhere = found(&set(&good, "engine: generated, provider: { target: nowhere }"));
    assert_eq!(elsewhere, ["not_here credentials[1].provider"]);
    let lost = with("handle: /id", "/keys/{{handle}}", "");
    assert_eq!(found(&set(&lost, provider)), ["missing targets[0].api.list"]);
    let leaky = with("handle: id", "/keys/{{admin}}", list);
    assert_eq!(
        found(&set(&leaky, provider)),
        ["invalid_value targets[0].api.take.handle", "insecure targets[0].api.delete.path"]
    );
    let canary = "engine: provider, provider: { target: openai }, rotate: { canary: { percent: 100, answers: 0 } }";
    let bounds =
        ["out_of_bounds credentials[1].rotate.canary.percent", "out_of_bounds credentials[1].rotate.canary.answers"];
    assert_eq!(found(&set(&good, canary)), bounds);
}

#[test]
fn a_key_that_rotates_says_where_its_secret_is_found() {
    let set = |rest: &str| {
        let stores = "stores: [{ name: disk, kind: files, address: apps }]\nupstreams: [{ name: u, endpoints: ['http://127.0.0.1:1'] }]";
        format!("{stores}\ncredentials: [{{ name: checkout-live, engine: key, {rest} }}]\n")
    };
    let sync = "sync: [{ store: disk, path: checkout }]";
    assert_eq!(found(&set(&format!("{sync}, rotate: {{ every: 90d, quiet: 1h, limit: 7d }}"))), [""; 0]);
    assert_eq!(found(&set("rotate: { every: 90d }")), ["missing credentials[0].sync"]);
    let elsewhere = found(&set(&format!("{sync}, generate: {{ length: 40 }}, verify: {{ upstream: u, path: /x }}")));
    assert_eq!(elsewhere, ["not_here credentials[0].generate", "not_here credentials[0].verify"]);
    let rule = |rule: &str| found(&set(&format!("{sync}, rotate: {{ {rule} }}")));
    assert_eq!(rule("canary: { percent: 5 }"), ["not_here credentials[0].rotate.canary"]);
    assert_eq!(rule("quiet: 9s"), ["out_of_bounds credentials[0].rotate.quiet"]);
    assert_eq!(rule("quiet: 31d"), ["out_of_bounds credentials[0].rotate.quiet"]);
    let injected = "upstreams: [{ name: u, endpoints: ['http://127.0.0.1:1'], inject: { bearer: k } }]\nstores: [{ name: disk, kind: files, address: apps }]\n";
    let injected = format!("{injected}credentials: [{{ name: k, engine: key, {sync} }}]\n");
    assert_eq!(found(&injected), ["wrong_engine upstreams[0].inject.bearer"]);
    let other = "credentials: [{ name: t, engine: generated, rotate: { quiet: 1h } }]\n";
    assert_eq!(found(other), ["not_here credentials[0].rotate.quiet"]);
}

#[test]
fn who_is_told_and_who_is_asked() {
    let team = |rule: &str| {
        format!("teams: [{{ name: t, notify: {{ {rule} }} }}]\ncredentials: [{{ name: s, engine: static }}]\n")
    };
    let good = "emails: [a@example.com], webhooks: [{ url: 'https://hooks.example.com/x', secret: s }]";
    assert_eq!(found(&team(good)), [""; 0]);
    let bad =
        "emails: [nobody, 'a b@c.d'], webhooks: [{ url: 'http://example.com', secret: s }, { url: x, secret: none }]";
    assert_eq!(
        found(&team(bad)),
        [
            "invalid_value teams[0].notify.emails[0]",
            "invalid_value teams[0].notify.emails[1]",
            "insecure teams[0].notify.webhooks[0].url",
            "invalid_value teams[0].notify.webhooks[1].url",
            "unknown_name teams[0].notify.webhooks[1].secret",
        ]
    );
    let asked = |engine: &str| {
        format!(
            "credentials:\n  - {{ name: s, engine: static }}\n  - {{ name: a, engine: {engine}, rotate: {{ every: 1d, \
             deliver: {{ url: 'http://localhost:1/x', secret: s }} }} }}\n"
        )
    };
    assert_eq!(found(&asked("static")), [""; 0]);
    assert_eq!(found(&asked("generated")), ["not_here credentials[1].rotate.deliver"]);
}

#[test]
fn a_pasted_secret_is_never_repeated() {
    const SECRET: &str = "sk-live-Hunter2Hunter2Hunter2Hunter2Hunter2Hunter2";
    for text in [
        format!("credentials: [{{ name: c, engine: static, value: {SECRET} }}]"),
        format!("credentials: [{{ name: {SECRET}, engine: {SECRET}, expires: {SECRET}, rotate: {SECRET} }}]"),
        format!("credentials: [{{ name: c, engine: static, {SECRET}: x, value: [{SECRET}] }}]"),
        format!("credentials: {SECRET}"),
        format!("{SECRET}: x\n{SECRET}: y"),
        format!("credentials: [{{ name: c, engine: static, value: '${{env:{SECRET}}}' }}]"),
        format!("upstreams: [{{ name: c, endpoints: ['http://u:{SECRET}@h'] }}]"),
        format!("teams: [\"{SECRET}"),
        format!("teams: !{SECRET} []"),
        format!("teams: *{SECRET}"),
    ] {
        let problems = problems(&text);
        assert!(!problems.0.is_empty(), "{text}");
        assert!(!format!("{problems:?}").contains("Hunter2"), "{problems}");
    }
    let error =
        read_resource::<Credential>(&format!(r#"{{"name":"c","engine":"static","value":"{SECRET}"}}"#)).unwrap_err();
    assert!(!format!("{error:?}").contains("Hunter2"));
    assert_eq!(error.0[0].path, "value");
}

#[test]
fn keys_models_and_metadata() {
    let long = "x".repeat(1001);
    expect(
        &format!("applications: [{{ name: a, limit: {{ requests: 1, per: 1s, by: key }} }}]
keys:
  - {{ name: k, application: a, environment: LIVE, not_before: 2027-01-01T00:00:00Z, expires: 2026-01-01T00:00:00Z }}
  - {{ name: l, application: a, metadata: {{ 'a b': x }}, networks: [10.0.0.0/33, 10.0.0.0/8] }}
teams: [{{ name: t, description: {long} }}]
models:
  - {{ name: m, targets: [] }}
  - name: n
    targets:
      - {{ provider: openai, model: '', weight: 0, prices: [{{ from: 2026-01-01T00:00:00Z, input: '1', output: '1' }}, {{ from: 2026-01-01T00:00:00Z, input: '1', output: '1' }}] }}
"),
        &[
            "1:62 not_here applications[0].limit.by",
            "3:45 invalid_value keys[0].environment",
            "3:63 contradiction keys[0].not_before",
            "4:51 invalid_value keys[1].metadata.a b",
            "4:67 invalid_value keys[1].networks[0]",
            "5:33 too_long teams[0].description",
            "7:25 empty models[0].targets",
            "10:36 invalid_value models[1].targets[0].model",
            "10:48 out_of_bounds models[1].targets[0].weight",
            "10:125 unsorted models[1].targets[0].prices[1].from",
        ],
    );
}

#[test]
fn targets_of_a_model() {
    let set = clean(
        "credentials: [{ name: a, engine: static }, { name: b, engine: static }]
models:
  - name: m
    deadline: 2m
    targets:
      - { provider: openai, model: x, credentials: [{ name: a, weight: 3 }, { name: b }], timeout: 20s }
      - { provider: openai, model: y, credential: a, priority: 1 }
",
    );
    let [first, second] = &set.models[0].targets[..] else { panic!("two targets") };
    let names: Vec<_> = first.own_credentials().map(|name| name.as_str()).collect();
    assert_eq!((names, first.credentials[1].weight, first.priority), (vec!["a", "b"], 1, 0));
    assert_eq!((second.own_credentials().count(), second.priority), (1, 1));
    expect(
        "credentials: [{ name: a, engine: static }, { name: p, engine: certificate_authority }]
models:
  - name: m
    deadline: 2h
    targets:
      - { provider: openai, model: x, credential: a, credentials: [{ name: a }] }
      - { provider: openai, model: x, credentials: [{ name: a }, { name: a, weight: 0 }, { name: nobody }] }
      - { provider: openai, model: x, priority: 101, timeout: 5ms }
",
        &[
            "4:15 out_of_bounds models[0].deadline",
            "6:67 conflict models[0].targets[0].credentials",
            "7:74 duplicate models[0].targets[1].credentials[1].name",
            "7:85 out_of_bounds models[0].targets[1].credentials[1].weight",
            "7:98 unknown_name models[0].targets[1].credentials[2].name",
            "8:49 out_of_bounds models[0].targets[2].priority",
            "8:63 out_of_bounds models[0].targets[2].timeout",
        ],
    );
}

#[test]
fn budgets() {
    let set = clean(
        "applications:
  - { name: a, budget: { usd: 50, per: month, hard: true } }
  - { name: b, budget: { usd: \"0.5\", per: day, time_zone: Europe/Berlin, warn_at: 90 } }
",
    );
    let [budget] = Budgets::of(set.applications[0].budget.as_ref()) else { panic!("one budget") };
    assert_eq!((budget.usd.to_string().as_str(), budget.hard, budget.warn_at), ("50", true, None));
    expect(
        "applications:
  - { name: a, budget: { usd: 0, per: month } }
  - { name: b, budget: { usd: 4000001, per: month, warn_at: 100 } }
  - { name: c, budget: { usd: 0.5, per: month } }
  - { name: d, budget: { usd: -5, per: month } }
  - { name: e, budget: { usd: five, per: fortnight, time_zone: Europe/Atlantis } }
  - { name: f, budget: { per: month, hart: true } }
teams: [{ name: t, budget: { usd: 0, per: day } }]
models: [{ name: m, targets: [], budget: { usd: 1, per: day, time_zone: x } }]
",
        &[
            "2:31 out_of_bounds applications[0].budget.usd",
            "3:31 out_of_bounds applications[1].budget.usd",
            "3:61 out_of_bounds applications[1].budget.warn_at",
            "4:31 invalid_value applications[2].budget.usd",
            "5:31 invalid_value applications[3].budget.usd",
            "6:31 invalid_value applications[4].budget.usd",
            "6:42 unknown_word applications[4].budget.per",
            "6:64 invalid_value applications[4].budget.time_zone",
            "7:24 missing_field applications[5].budget.usd",
            "7:38 unknown_field applications[5].budget.hart",
            "8:35 out_of_bounds teams[0].budget.usd",
            "9:30 empty models[0].targets",
            "9:73 invalid_value models[0].budget.time_zone",
        ],
    );
}

#[test]
fn users_of_an_application_and_models_that_serve_instead() {
    let set = clean(
        "applications:
  - { name: a, users: {} }
  - { name: b, users: { header: X-End-User, budget: [{ usd: 5, per: month, hard: true }, { usd: 1, per: 1h }], limit: { requests: 9, tokens: 900, per: 1m, concurrent: 2 } } }
  - { name: c, budget: { usd: 5, per: day, when_used_up: { model: small } } }
models: [{ name: small, targets: [{ provider: sandbox, model: sandbox-chat }] }]
upstreams:
  - { name: mine, endpoints: [\"http://127.0.0.1:1\"], provider: openai, budget: { usd: 1, per: day, when_used_up: { next_target: true } } }
",
    );
    let [of_provider] = Budgets::of(set.upstreams[0].budget.as_ref()) else { panic!("one budget") };
    assert!(of_provider.when_used_up.as_ref().unwrap().next_target);
    assert_eq!(set.applications[0].users, Some(crate::resource::EndUsers::default()));
    let users = set.applications[1].users.as_ref().unwrap();
    assert_eq!(users.limit.and_then(|limit| limit.concurrent), Some(2));
    assert_eq!((users.header.as_deref(), Budgets::of(users.budget.as_ref()).len()), (Some("X-End-User"), 2));
    let [budget] = Budgets::of(set.applications[2].budget.as_ref()) else { panic!("one budget") };
    assert_eq!(budget.when_used_up.as_ref().unwrap().model.as_ref().unwrap().as_str(), "small");
    expect(
        "applications:
  - { name: a, users: { header: Authorization } }
  - { name: b, users: { header: \"a b\", budget: { usd: 0, per: day } } }
  - { name: c, users: { from: body, limit: { requests: 0, by: key } } }
  - { name: d, budget: { usd: 5, per: day, when_used_up: { model: none } } }
  - { name: e, budget: { usd: 5, per: day, hard: true, when_used_up: { model: small } } }
models: [{ name: small, targets: [{ provider: sandbox, model: sandbox-chat }] }]
upstreams:
  - { name: mine, endpoints: [\"http://127.0.0.1:1\"], provider: openai, budget: { usd: 1, per: day, when_used_up: { model: small } } }
  - { name: none, endpoints: [\"http://127.0.0.1:1\"], provider: anthropic, budget: { usd: 1, per: day, when_used_up: {} } }
  - { name: hard, endpoints: [\"http://127.0.0.1:1\"], provider: sandbox, budget: { usd: 1, per: day, hard: true, when_used_up: { next_target: true } } }
teams:
  - { name: t, budget: { usd: 5, per: day, when_used_up: { next_target: true } } }
  - { name: u, budget: { usd: 5, per: day, when_used_up: { modle: small } } }
  - { name: v, budget: { usd: 5, per: day, when_used_up: {} } }
",
        &[
            "2:33 invalid_header applications[0].users.header",
            "3:33 invalid_header applications[1].users.header",
            "3:55 out_of_bounds applications[1].users.budget.usd",
            "4:25 unknown_field applications[2].users.from",
            "4:44 missing applications[2].users.limit.per",
            "4:56 out_of_bounds applications[2].users.limit.requests",
            "4:63 not_here applications[2].users.limit.by",
            "5:67 unknown_name applications[3].budget.when_used_up.model",
            "6:70 contradiction applications[4].budget.when_used_up",
            "9:114 contradiction upstreams[0].budget.when_used_up",
            "10:117 missing upstreams[1].budget.when_used_up",
            "11:127 contradiction upstreams[2].budget.when_used_up",
            "13:58 contradiction teams[0].budget.when_used_up",
            "14:58 missing teams[1].budget.when_used_up",
            "14:60 unknown_field teams[1].budget.when_used_up.modle",
            "15:58 missing teams[2].budget.when_used_up",
        ],
    );
}

#[test]
fn several_budgets_of_one_thing() {
    let set = clean(
        "applications:
  - { name: a, budget: [{ usd: 50, per: month, hard: true }, { usd: 5, per: day }, { usd: 1, per: 90m }] }
keys:
  - { name: k, application: a, budget: { usd: 1, per: week } }
upstreams:
  - { name: mine, endpoints: [\"http://127.0.0.1:1\"], provider: openai, budget: { usd: 1, per: 24h } }
",
    );
    let of =
        |budgets: &Option<Budgets>| Budgets::of(budgets.as_ref()).iter().map(|b| b.per.to_string()).collect::<Vec<_>>();
    assert_eq!(of(&set.applications[0].budget), ["month", "day", "90m"]);
    assert_eq!((of(&set.keys[0].budget), of(&set.upstreams[0].budget)), (vec!["week".into()], vec!["1d".into()]));
    expect(
        "applications:
  - { name: a, budget: [{ usd: 5, per: day }, { usd: 50, per: day, hard: true }, { usd: 1, per: 1440m }, { usd: 1, per: 24h }] }
  - { name: b, budget: { usd: 5, per: 30s } }
  - { name: c, budget: { usd: 5, per: 91d, time_zone: Europe/Berlin } }
  - { name: d, budget: [{ usd: 0, per: 0h }, { per: day }, { usd: 1, per: day, hart: true }] }
  - { name: e, budget: 5 }
  - { name: f, budget: { usd: 1, per: 24 } }
upstreams:
  - { name: plain, endpoints: [\"http://127.0.0.1:1\"], budget: [{ usd: 0, per: week }] }
",
        &[
            "2:63 duplicate applications[0].budget[1].per",
            "2:121 duplicate applications[0].budget[3].per",
            "3:39 out_of_bounds applications[1].budget.per",
            "4:39 out_of_bounds applications[2].budget.per",
            "4:55 contradiction applications[2].budget.time_zone",
            "5:32 out_of_bounds applications[3].budget[0].usd",
            "5:40 invalid_value applications[3].budget[0].per",
            "5:46 missing_field applications[3].budget[1].usd",
            "5:75 duplicate applications[3].budget[2].per",
            "5:80 unknown_field applications[3].budget[2].hart",
            "6:24 wrong_type applications[4].budget",
            "7:39 invalid_value applications[5].budget.per",
            "9:63 contradiction upstreams[0].budget",
            "9:71 out_of_bounds upstreams[0].budget[0].usd",
        ],
    );
}

#[test]
fn targets_and_the_logins_that_live_in_them() {
    let set = clean(
        "credentials:
  - { name: orders-admin, engine: static }
  - name: orders-db
    engine: database
    database: { target: orders-pg, username: app, alternate: true }
    rotate: { every: 30d, overlap: until-drained }
targets:
  - { name: orders-pg, system: postgresql, host: db.internal, database: orders, username: cf, credential: orders-admin, tls: {} }
",
    );
    assert_eq!(set.credentials[1].database.as_ref().unwrap().usernames(), ["app", "app_alt"]);
    assert_eq!(clean(&export(&set)), set);
    expect(
        "credentials:
  - { name: a, engine: database }
  - { name: b, engine: generated, database: { target: t, username: x } }
  - { name: c, engine: database, database: { target: nowhere, username: '', second: y }, value: '${env:A}' }
  - { name: d, engine: database, database: { target: t, username: x, alternate: true, second: x, size: 3 } }
targets:
  - { name: t, system: postgresql, host: 'a b', username: u, credential: nobody, tls: {} }
  - { name: r, system: redis, host: h, port: 0, username: u, credential: a, database: x, tls: {}, plaintext: true }
  - { name: s, system: oracle, host: h, username: u, credential: a }
",
        &[
            "2:5 missing credentials[0].database",
            "3:45 not_here credentials[1].database",
            "4:54 unknown_name credentials[2].database.target",
            "4:73 invalid_value credentials[2].database.username",
            "4:85 not_here credentials[2].database.second",
            "4:97 not_here credentials[2].value",
            "5:95 duplicate credentials[3].database.second",
            "5:98 unknown_field credentials[3].database.size",
            "7:5 missing targets[0].database",
            "7:42 invalid_value targets[0].host",
            "7:74 unknown_name targets[0].credential",
            "8:46 out_of_bounds targets[1].port",
            "8:87 not_here targets[1].database",
            "8:110 contradiction targets[1].plaintext",
            "9:24 unknown_word targets[2].system",
            "9:38 insecure targets[2].host",
        ],
    );
}

#[test]
fn certificates_and_where_they_are_shown() {
    let set = clean(
        "credentials:
  - { name: house-ca, engine: certificate_authority, certificate: { permitted: [example.internal, 10.0.0.0/8] } }
  - { name: billing, engine: certificate, certificate: { authority: house-ca, names: ['spiffe://example.internal/billing', '*.example.internal', '::1'], lifetime: 90m } }
upstreams:
  - { name: ledger, endpoints: ['https://ledger.example.internal'], tls: { ca: house-ca, client_certificate: billing } }
",
    );
    assert_eq!(set.credentials[1].rotation().unwrap().every.unwrap().to_string(), "1h");
    assert_eq!(set.credentials[0].rotation(), None);
    assert_eq!(clean(&export(&set)), set);
    expect(
        "credentials:
  - { name: a, engine: certificate }
  - { name: b, engine: certificate_authority, certificate: { authority: b, names: [x], lifetime: 1h, permitted: ['a b'] } }
  - { name: c, engine: certificate, certificate: { authority: a, names: ['a b'], lifetime: 30s, permitted: [x] }, rotate: { every: 1m } }
  - { name: d, engine: generated, certificate: {} }
  - { name: e, engine: certificate, certificate: { authority: nobody }, value: '${env:A}' }
upstreams:
  - { name: u, endpoints: ['https://h'], inject: { bearer: b }, tls: { ca: a, ca_file: f, client_certificate: d } }
",
        &[
            "2:5 missing credentials[0].certificate",
            "3:73 not_here credentials[1].certificate.authority",
            "3:83 not_here credentials[1].certificate.names",
            "3:98 out_of_bounds credentials[1].certificate.lifetime",
            "3:114 invalid_value credentials[1].certificate.permitted[0]",
            "4:63 wrong_engine credentials[2].certificate.authority",
            "4:74 invalid_value credentials[2].certificate.names[0]",
            "4:92 out_of_bounds credentials[2].certificate.lifetime",
            "4:108 not_here credentials[2].certificate.permitted",
            "4:132 out_of_bounds credentials[2].rotate.every",
            "5:48 not_here credentials[3].certificate",
            "6:63 unknown_name credentials[4].certificate.authority",
            "6:80 not_here credentials[4].value",
            "8:60 wrong_engine upstreams[0].inject.bearer",
            "8:76 wrong_engine upstreams[0].tls.ca",
            "8:76 not_one upstreams[0].tls.ca",
            "8:111 wrong_engine upstreams[0].tls.client_certificate",
        ],
    );
}

#[test]
fn a_provider_at_an_address_of_each_customers_own_is_an_upstream() {
    let model = |provider: &str| format!("models: [{{ name: m, targets: [{{ provider: {provider}, model: m }}] }}]\n");
    expect(&model("azure-openai"), &["1:43 missing models[0].targets[0].provider"]);
    let upstream = "upstreams: [{ name: azure, endpoints: ['https://r.example/openai/v1'], provider: azure-openai }]";
    clean(&(model("azure") + upstream));
    // One that has the provider's name is as good.
    clean(&(model("azure-openai") + &upstream.replace("name: azure,", "name: azure-openai,")));
}

#[test]
fn prices_of_tiers() {
    let set = |tiers: &str| {
        let prices = format!("[{{ from: 2026-01-01T00:00:00Z, input: '2', output: '10', tiers: {{ {tiers} }} }}]");
        format!("models: [{{ name: m, targets: [{{ provider: openai, model: m, prices: {prices} }}] }}]\n")
    };
    let long = "long_context: { above: 9, input: '8', output: '40' }";
    let good =
        clean(&set(&format!("priority: {{ input: '4', output: '20', {long} }}, us: {{ input: '3', output: '11' }}")));
    let tiers = good.models[0].targets[0].prices[0].tiers.as_deref().unwrap();
    assert_eq!(tiers.priority.unwrap().long_context.unwrap().above, 9);
    assert_eq!((tiers.us.unwrap().output.to_string(), tiers.flex), ("11".to_owned(), None));
    assert_eq!(clean(&export(&good)), good);
    for bad in ["prioritty: { input: '4', output: '20' }", "flex: { input: '4' }", "flex: { input: -1, output: '1' }"] {
        let found = problems(&set(bad));
        assert!(!found.0.is_empty(), "{bad}");
        assert!(found.0.iter().all(|p| p.path.starts_with("models[0].targets[0].prices[0].tiers")), "{found}");
    }
}

#[test]
fn prices_of_batches() {
    let set = |batch: &str| {
        let prices = format!("[{{ from: 2026-01-01T00:00:00Z, input: '2', output: '10', batch: {{ {batch} }} }}]");
        format!("models: [{{ name: m, targets: [{{ provider: openai, model: m, prices: {prices} }}] }}]\n")
    };
    let good = clean(&set("input: '1', cached_input: '0.1', output: '5'"));
    let batch = good.models[0].targets[0].prices[0].batch.as_deref().unwrap();
    assert_eq!((batch.output.to_string(), batch.long_context), ("5".to_owned(), None));
    assert_eq!(clean(&export(&good)), good);
    for bad in ["input: '1'", "input: '1', output: -5", "input: '1', output: '5', per_image: '1'"] {
        let found = problems(&set(bad));
        assert!(!found.0.is_empty(), "{bad}");
        assert!(found.0.iter().all(|p| p.path.starts_with("models[0].targets[0].prices[0].batch")), "{found}");
    }
}

#[test]
fn prices_of_long_prompts() {
    let set = |long: &str| {
        format!(
            "models:
  - name: m
    targets:
      - provider: openai
        model: m
        prices:
          - from: 2026-01-01T00:00:00Z
            input: '2'
            output: '10'
            long_context: {{ {long} }}
"
        )
    };
    let good = clean(&set("above: 272000, input: '4', cached_input: '0.4', output: '15'"));
    let long = good.models[0].targets[0].prices[0].long_context.unwrap();
    assert_eq!((long.above, long.output.to_string(), long.cache_write), (272_000, "15".to_owned(), None));
    assert_eq!(clean(&export(&good)), good);
    for bad in ["above: 272000, input: '4'", "above: -1, input: '4', output: '15'", "input: '4', output: '15'"] {
        let found = problems(&set(bad));
        assert!(!found.0.is_empty(), "{bad}");
        assert!(found.0.iter().all(|p| p.path.starts_with("models[0].targets[0].prices[0].long_context")), "{found}");
    }
}
