//! Each way in which a configuration can be wrong, with the place it is told for.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{ResourceSet, SecretValue, resource::*};
use proptest::prelude::*;

const CONTEXT: Context<'static> = Context { providers: &["openai", "anthropic", "sandbox"] };

fn problems(text: &str) -> crate::Problems {
    let (set, source, mut problems) = read("c.yaml", text);
    problems.0.extend(check(&set, &source, &CONTEXT).0);
    problems.0.sort_by_key(|p| p.at);
    problems
}

/// Every problem of a text, as `line:column code path`, in order.
#[track_caller]
fn expect(text: &str, expected: &[&str]) {
    let problems = problems(text);
    let found: Vec<_> =
        problems.0.iter().map(|p| format!("{}:{} {} {}", p.at.line, p.at.column, p.code, p.path)).collect();
    assert_eq!(found, expected, "\n{text}\n{problems}");
    assert!(problems.0.iter().all(|p| p.file.as_deref() == Some("c.yaml")), "{problems}");
}

fn clean(text: &str) -> ResourceSet {
    let (set, source, problems) = read("c.yaml", text);
    assert!(problems.0.is_empty(), "{problems}");
    let problems = check(&set, &source, &CONTEXT);
    assert!(problems.0.is_empty(), "{problems}");
    set
}

/// One route on a declared upstream, with these further lines or replacements.
fn route(fields: &str) -> String {
    format!("upstreams: [{{ name: u, endpoints: ['http://h'] }}]\nroutes:\n  - name: r\n    upstream: u\n{fields}")
}

fn upstream(fields: &str) -> String {
    format!("credentials: [{{ name: c, engine: static }}]\nupstreams:\n  - name: u\n{fields}")
}

const ENDPOINT: &str = "    endpoints: ['http://h']\n";

#[test]
fn the_examples_are_clean() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let set = clean(&std::fs::read_to_string(&path).unwrap());
            assert_eq!(clean(&export(&set)), set, "{}", path.display());
            count += 1;
        }
    }
    assert!(count >= 2);
}

#[test]
fn the_contracts_example_reads_and_its_dangling_names_are_told() {
    // contract.md without `budget`, which applications do not have yet.
    let text = r#"credentials:
  - name: orders-token
    engine: static
    value: ${env:ORDERS_TOKEN}        # typed reference; unresolved is an error, never a literal
    rotate: { overlap: until-drained }
upstreams:
  - name: orders
    endpoints: ["http://127.0.0.1:9001", "http://127.0.0.1:9002"]
    inject: { bearer: orders-token }
routes:
  - name: orders
    match: { path: "/orders/*", methods: [GET, POST] }
    upstream: orders
    authenticate: [api_key]
    limit: { requests: 100, per: 1m }
models:
  - name: chat-default
    targets:
      - { provider: openai, model: gpt-5-mini, credential: openai-primary, weight: 3 }
      - { provider: anthropic, model: claude-sonnet-4-5, credential: anthropic-primary, weight: 1 }
applications:
  - name: checkout
    team: payments
    allow: { routes: [orders], models: [chat-default] }
"#;
    expect(
        text,
        &[
            "19:60 unknown_name models[0].targets[0].credential",
            "20:70 unknown_name models[0].targets[1].credential",
            "23:11 unknown_name applications[0].team",
        ],
    );
    assert_eq!(read("c", text).0.upstreams[0].endpoints.len(), 2);
}

#[test]
fn every_problem_of_an_item_is_found_at_once() {
    expect(
        "routes:
  - name: Orders
    upstream: missing
    match: { path: /a, methdos: [GET] }
    limit: { requests: many, per: 60, by: planet }
    websocket: maybe
    colour: red
",
        &[
            "2:5 missing_field routes[0].authenticate",
            "2:11 invalid_value routes[0].name",
            "3:15 unknown_name routes[0].upstream",
            "4:24 unknown_field routes[0].match.methdos",
            "5:24 wrong_type routes[0].limit.requests",
            "5:35 invalid_value routes[0].limit.per",
            "5:43 unknown_word routes[0].limit.by",
            "6:16 wrong_type routes[0].websocket",
            "7:5 unknown_field routes[0].colour",
        ],
    );
    expect(
        "routes: [{}]\nmodels: [5, { name: m }]\n",
        &[
            "1:10 missing_field routes[0].authenticate",
            "1:10 missing_field routes[0].match",
            "1:10 missing_field routes[0].name",
            "1:10 missing_field routes[0].upstream",
            "2:10 wrong_type models[0]",
            "2:13 missing_field models[1].targets",
        ],
    );
}

#[test]
fn hints_say_what_was_meant() {
    let hint = |text: &str| problems(text).0[0].hint.clone().unwrap();
    assert!(hint("rotues: []").contains("did you mean `routes`"));
    assert!(hint(&route("    match: { paht: /a, path: /b }\n    authenticate: [api_key]")).contains("`path`"));
    assert!(hint(&route("    match: { path: /b }\n    authenticate: [api-key]")).contains("`api_key`"));
    assert!(hint("teams: [{ name: pay }]\napplications: [{ name: a, team: bay }]").contains("did you mean `pay`"));
    assert!(hint("teams: [{ name: 404 }]").contains("quotes"));
    let per =
        problems(&route("    match: { path: /b }\n    authenticate: [none]\n    limit: { requests: 1, per: 60 }"));
    assert!(per.0[0].detail.contains("unit"), "{per}");
}

#[test]
fn numbers_and_texts_are_kept_apart() {
    expect("teams: [{ name: 5 }]", &["1:17 wrong_type teams[0].name"]);
    expect("teams: [{ name: true }]", &["1:17 wrong_type teams[0].name"]);
    expect("teams: [{ name: '5' }]", &[]);
    expect("teams: [{ name: t, description: }]", &[]);
    expect("teams: [{ name: t, description: [x] }]", &["1:33 wrong_type teams[0].description"]);
    expect(
        "keys: [{ name: k, application: a, metadata: { n: 7, ok: '7' } }]\napplications: [{ name: a }]",
        &["1:50 wrong_type keys[0].metadata.n"],
    );
    expect(
        &route("    match: { path: /a }\n    authenticate: [none]\n    retry: { attempts: '2' }"),
        &["7:24 wrong_type routes[0].retry.attempts"],
    );
    expect(
        &route("    match: { path: /a }\n    authenticate: [none]\n    retry: { attempts: 300 }"),
        &["7:24 invalid_value routes[0].retry.attempts"],
    );
    expect(
        "models: [{ name: m, targets: [{ provider: openai, model: m, prices: [{ from: 2026-01-01T00:00:00Z, input: 0.25, output: '1' }] }] }]",
        &["1:107 wrong_type models[0].targets[0].prices[0].input"],
    );
}

#[test]
fn yaml_that_configuration_does_not_need_is_refused() {
    expect("teams: &t [{ name: a }]", &["1:8 anchor "]);
    expect("teams: [*t]", &["1:9 syntax "]);
    expect("teams: !!set {}", &["1:8 tag "]);
    expect("teams: [{ name: a, <<: { name: b } }]", &["1:20 merge_key "]);
    expect("teams: []\nteams: []", &["2:1 duplicate_key "]);
    expect("teams: [{ name: a, name: b }]", &["1:20 duplicate_key "]);
    expect("teams: []\n---\nteams: []", &["2:1 several_documents "]);
    expect("? [a]\n: b", &["1:3 key "]);
    expect("teams: [", &["2:1 syntax "]);
    expect("- a", &["1:1 wrong_type "]);
    expect("teams: { name: a }", &["1:8 wrong_type teams"]);
    expect("", &[]);
    expect("# nothing\n", &[]);
    expect("routes:\n", &[]);
    expect("{\"teams\": [{\"name\": \"a\"}]}", &[]);
}

#[test]
fn bombs_are_refused_quickly() {
    let begin = std::time::Instant::now();
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned()
        + &('b'..='i')
            .map(|c| {
                let p = (c as u8 - 1) as char;
                format!("{c}: &{c} [*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p}]\n")
            })
            .collect::<String>();
    assert!(problems(&bomb).0.iter().all(|p| p.code == "anchor"));
    for deep in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000), "? ".repeat(100_000)] {
        let problems = problems(&deep);
        assert!(matches!(problems.0[0].code.as_str(), "too_deep" | "key" | "syntax"), "{problems}");
    }
    let many = format!("teams: [{}]", "1,".repeat(MAX_NODES + 10));
    assert_eq!(problems(&many).0[0].code, "too_many_values");
    let huge = vec![b'a'; 100_000_000];
    let at_once = std::time::Instant::now();
    let (set, _, found) = read_bytes("c.yaml", &huge);
    assert_eq!((set, found.0[0].code.as_str()), (ResourceSet::default(), "too_large"));
    assert!(at_once.elapsed().as_millis() < 100);
    assert_eq!(read_many(&[("a", &"#".repeat(MAX_TEXT)), ("b", "#")]).2.0[0].file.as_deref(), Some("b"));
    assert!(begin.elapsed().as_secs() < 30, "{:?}", begin.elapsed());
}

#[test]
fn the_list_of_problems_is_bounded() {
    let text = format!("teams: [{}]", "{},".repeat(5000));
    let problems = read("c", &text).2;
    assert_eq!(problems.0.len(), MAX_PROBLEMS + 1);
    assert_eq!(problems.0[MAX_PROBLEMS].code, "too_many_problems");
}

#[test]
fn bytes_that_are_no_text() {
    let (_, _, problems) = read_bytes("c.yaml", b"teams: []\n# \xc3\xa4 \xff");
    assert_eq!((problems.0[0].at.line, problems.0[0].at.column, problems.0[0].code.as_str()), (2, 5, "not_utf8"));
}

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
            "2:63 not_here credentials[0].rotate.every",
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
fn one_resource_from_json() {
    let route: Route =
        read_resource(r#"{"name":"r","match":{"path":"\/a\ud83d\ude00"},"upstream":"u","authenticate":["none"]}"#)
            .unwrap();
    assert_eq!(route.matches.path, "/a😀");
    let paths = |text| {
        read_resource::<Route>(text).unwrap_err().0.into_iter().map(|p| p.code + " " + &p.path).collect::<Vec<_>>()
    };
    assert_eq!(paths("{"), ["syntax "]);
    assert_eq!(paths(r#"{"name":"r","name":"s"} x"#), ["duplicate_key ", "syntax "]);
    assert_eq!(
        paths(r#"{"name":"R","match":{"path":5},"upstream":"u","authenticate":["none"],"x":1}"#),
        ["wrong_type match.path", "invalid_value name", "unknown_field x"]
    );
}

#[test]
fn settings_of_any_shape_are_read_strictly() {
    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Settings {
        workers: Option<u32>,
        drain: Option<crate::Period>,
    }
    let read = |text| super::read_settings::<Settings>("s.yaml", text);
    assert_eq!(read("workers: 2").unwrap(), Settings { workers: Some(2), drain: None });
    assert_eq!(read("# nothing\n").unwrap(), Settings::default());
    let told: Vec<_> =
        read("drain: 30\nworker: 2\n").unwrap_err().0.into_iter().map(|p| (p.at.line, p.code, p.path)).collect();
    assert_eq!(told, [(1, "invalid_value".into(), "drain".into()), (2, "unknown_field".into(), "worker".into())]);
    assert!(read("[a]").is_err() && read("a: [").is_err());
}

#[test]
fn references_are_listed_and_resolved() {
    let text = "credentials:\n  - { name: a, engine: static, value: '${env:A}' }\n  - { name: b, engine: static, value: '${file:/b}' }\n  - { name: c, engine: static }\n  - { name: d, engine: static, value: '${env:EMPTY}' }";
    let (set, source, _) = read("c.yaml", text);
    assert_eq!(references(&set).len(), 3);
    let (values, problems) = resolve(&set, &source, |reference| match reference.to_string().as_str() {
        "${env:A}" => Ok(SecretValue::from("x")),
        "${env:EMPTY}" => Ok(SecretValue::from("")),
        _ => Err("the file does not exist".to_owned()),
    });
    assert_eq!(values.len(), 1);
    let told: Vec<_> = problems.0.iter().map(|p| (p.at.line, p.at.column, p.path.as_str())).collect();
    assert_eq!(told, [(3, 39, "credentials[1].value"), (5, 39, "credentials[3].value")]);
    assert!(problems.0[0].detail.contains("${file:/b} cannot be resolved: the file does not exist"));
}

#[test]
fn plans_are_ordered_and_idempotent() {
    let before = clean("teams: [{ name: old }, { name: t }]\napplications: [{ name: a, team: old }]");
    let after = clean(
        "teams: [{ name: t, description: now }, { name: new }]\napplications: [{ name: b, team: new }]\nkeys: [{ name: k, application: b }]",
    );
    let planned = plan(&before, &after, true);
    assert_eq!(
        planned.to_string(),
        "~ teams/t\n    + description: \"now\"\n+ teams/new\n+ applications/b\n+ keys/k\n- applications/a\n- teams/old\n3 to create, 1 to update, 2 to delete, 0 unchanged\n"
    );
    let kept = plan(&before, &after, false);
    assert_eq!((kept.count(Action::Delete), kept.unchanged), (0, 2));
    assert!(plan(&after, &after, true).is_empty());
    assert_eq!(serde_json::from_str::<Plan>(&serde_json::to_string(&planned).unwrap()).unwrap(), planned);
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~]{0,20}",
        "(true|null|~|yes|1e3|0x1f|\\.5|30s|5|-|---|: |a: b|a #b|\\$\\{env:A\\}|1:30|=|<<|!a|&a|\\*a|%a|@a|`a)",
    ]
}

proptest! {
    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let (set, source, _) = read_bytes("c", &bytes);
        check(&set, &source, &CONTEXT);
    }

    #[test]
    fn anything_like_yaml_never_panics(text in "([a-z]|teams|routes|name|: |- |\n|  |\\{|\\}|\\[|\\]|,|\"|'|#|&|\\*|!|\\||>|\\?|5|null|\t|%|---){0,60}") {
        let (set, source, _) = read("c", &text);
        check(&set, &source, &CONTEXT);
        read_resource::<Route>(&text).ok();
    }

    #[test]
    fn exports_read_back_equal(
        words in proptest::collection::vec(texts(), 12),
        metadata in proptest::collection::btree_map(texts(), texts(), 0..5),
        list in proptest::collection::vec(texts(), 0..5),
        number in any::<u32>(),
        millis in 1u64..1 << 49,
        micros in 0i64..4_000_000_000_000_000,
    ) {
        let mut set = clean(include_str!("../../../../examples/credentialflow.yaml"));
        set.teams[0].description = Some(words[0].clone());
        set.credentials[0].tags = list.clone();
        set.credentials[0].expires = Some(crate::Timestamp::from_micros(micros));
        set.upstreams[0].endpoints = list.clone();
        set.upstreams[0].timeouts.idle = crate::Period::from_millis(millis);
        set.upstreams[0].tls = Some(UpstreamTls { ca_file: Some(words[1].clone()), server_name: None });
        set.upstreams[1].inject.as_mut().unwrap().basic.as_mut().unwrap().username = words[2].clone();
        set.routes[0].matches = Match { hosts: list.clone(), path: words[3].clone(), methods: list, headers: metadata.clone() };
        set.routes[0].limit.as_mut().unwrap().requests = number;
        set.routes[1].headers.as_mut().unwrap().request.set = metadata.clone();
        set.models[0].targets[0].model = words[4].clone();
        set.models[0].targets[0].weight = number;
        set.keys[0].metadata = metadata;
        set.keys[0].environment = words[5].clone();
        let text = export(&set);
        let (again, _, problems) = read("c", &text);
        prop_assert!(problems.0.is_empty(), "{problems}\n{text}");
        prop_assert_eq!(again, set, "{}", text);
    }
}
