//! Routes to servers of the Model Context Protocol, and the tools that callers may use there.

use super::*;
use crate::resource::Kind;

const AROUND: &str = "upstreams: [{ name: u, endpoints: [\"http://127.0.0.1:1\"] }]\n";

#[test]
fn they_read_back_as_they_were_written_and_hold_the_routes_that_they_name() {
    let text = format!(
        "{AROUND}routes:\n  - name: tools\n    match: {{ path: /mcp }}\n    upstream: u\n    authenticate: [api_key]\n    mcp:\n      tools: {{ allow: [\"get_*\"], deny: [get_all] }}\n      resources: {{ allow: [] }}\n      methods: [\"tasks/*\"]\n      origins: [\"https://a.example:8443\", \"http://localhost\"]\n      stream_idle: 2h\napplications:\n  - {{ name: a, allow: {{ routes: [tools], tools: {{ tools: [get_one] }} }} }}\nkeys:\n  - {{ name: k, application: a, allow: {{ routes: [tools], tools: {{ tools: [] }} }} }}\n"
    );
    let set = clean(&text);
    let mcp = set.routes[0].mcp.as_ref().unwrap();
    assert_eq!(mcp.tools.as_ref().unwrap().deny, ["get_all"]);
    assert_eq!(mcp.resources.as_ref().unwrap().allow, Some(vec![]), "nothing is another thing than all");
    assert_eq!(clean(&export(&set)), set);
    let (found, _) = without(&set, Kind::Routes, "tools", &CONTEXT);
    let found: Vec<_> = found.iter().map(|by| by.path.as_str()).collect();
    assert_eq!(found, ["allow.routes[0]", "allow.tools.tools", "allow.routes[0]", "allow.tools.tools"]);
}

#[test]
fn what_cannot_be_one_is_told_at_its_line() {
    let text = format!(
        "{AROUND}routes:\n  - name: tools\n    match: {{ path: /mcp/* }}\n    upstream: u\n    authenticate: [api_key]\n    strip_prefix: /mcp\n    websocket: true\n    mcp:\n      tools: {{ allow: [\"\", \" a\"], deny: [\"a\\tb\"] }}\n      methods: [\"\"]\n      origins: [a.example, \"https://a.example/\", \"null\", \"https://A.example\"]\n      stream_idle: 2d\napplications:\n  - {{ name: a, allow: {{ tools: {{ other: [\"\"] }} }} }}\n"
    );
    expect(
        &text,
        &[
            "4:20 contradiction routes[0].match.path",
            "7:19 not_here routes[0].strip_prefix",
            "8:16 not_here routes[0].websocket",
            "10:24 invalid_value routes[0].mcp.tools.allow[0]",
            "10:28 invalid_value routes[0].mcp.tools.allow[1]",
            "10:42 invalid_value routes[0].mcp.tools.deny[0]",
            "11:17 invalid_value routes[0].mcp.methods[0]",
            "12:17 invalid_value routes[0].mcp.origins[0]",
            "12:28 invalid_value routes[0].mcp.origins[1]",
            "12:50 invalid_value routes[0].mcp.origins[2]",
            "12:58 invalid_value routes[0].mcp.origins[3]",
            "13:20 out_of_bounds routes[0].mcp.stream_idle",
            "15:41 unknown_name applications[0].allow.tools.other",
            "15:42 invalid_value applications[0].allow.tools.other[0]",
        ],
    );
}

#[test]
fn several_servers_behind_one_address_read_back_and_hold_their_upstreams() {
    let text = format!(
        "{AROUND}routes:\n  - name: tools\n    match: {{ path: /mcp }}\n    authenticate: [api_key]\n    mcp:\n      servers:\n        - {{ name: git-1, upstream: u }}\n        - {{ name: db, upstream: u }}\n      server_timeout: 5s\n"
    );
    let set = clean(&text);
    assert_eq!(set.routes[0].upstreams().count(), 2);
    assert_eq!(clean(&export(&set)), set);
    let (found, _) = without(&set, Kind::Upstreams, "u", &CONTEXT);
    let found: Vec<_> = found.iter().map(|by| by.path.as_str()).collect();
    assert_eq!(found, ["mcp.servers[0].upstream", "mcp.servers[1].upstream"]);
}

#[test]
fn what_cannot_be_several_servers_is_told_at_its_line() {
    let text = format!(
        "{AROUND}routes:\n  - name: tools\n    match: {{ path: /mcp }}\n    upstream: u\n    authenticate: [api_key]\n    mcp:\n      methods: [x]\n      servers:\n        - {{ name: a_b, upstream: u }}\n        - {{ name: a, upstream: other }}\n        - {{ name: a, upstream: u }}\n        - {{ name: 1a, upstream: u }}\n      server_timeout: 10m\n  - name: one\n    match: {{ path: /one }}\n    upstream: u\n    authenticate: [api_key]\n    mcp:\n      server_timeout: 5s\n"
    );
    expect(
        &text,
        &[
            "8:16 not_here routes[0].mcp.methods",
            "10:9 contradiction routes[0].mcp.servers",
            "10:19 invalid_value routes[0].mcp.servers[0].name",
            "11:32 unknown_name routes[0].mcp.servers[1].upstream",
            "12:19 duplicate routes[0].mcp.servers[2].name",
            "13:19 invalid_value routes[0].mcp.servers[3].name",
            "14:23 out_of_bounds routes[0].mcp.server_timeout",
            "20:23 not_here routes[1].mcp.server_timeout",
        ],
    );
    let many: String = (0..17).map(|n| format!("        - {{ name: s{n}, upstream: u }}\n")).collect();
    let text = format!(
        "{AROUND}routes:\n  - name: tools\n    match: {{ path: /mcp }}\n    authenticate: [api_key]\n    mcp:\n      servers:\n{many}"
    );
    expect(&text, &["8:9 out_of_bounds routes[0].mcp.servers"]);
}

#[test]
fn guardrails_of_a_route_are_those_that_need_nobody_else() {
    let text = format!(
        "{AROUND}guardrails:\n  - {{ name: company, rules: [{{ detect: secrets, action: mask }}] }}\n  - {{ name: fine, rules: [{{ detect: secrets, action: block, on: both }}] }}\nroutes:\n  - name: tools\n    match: {{ path: /mcp }}\n    upstream: u\n    authenticate: [api_key]\n    mcp:\n      use_guardrails: [fine, company, none]\n      guardrails:\n        - {{ detect: words, action: redact, words: [x] }}\n        - {{ detect: json_schema, action: flag, on: answer, schema: {{}} }}\n        - {{ detect: webhook, action: block, upstream: u, path: /j }}\n        - {{ detect: secrets, action: route }}\n"
    );
    expect(
        &text,
        &[
            "11:30 not_here routes[0].mcp.use_guardrails[1]",
            "11:39 unknown_name routes[0].mcp.use_guardrails[2]",
            "14:11 not_here routes[0].mcp.guardrails[1]",
            "15:11 not_here routes[0].mcp.guardrails[2]",
            "16:11 not_here routes[0].mcp.guardrails[3]",
        ],
    );
    let text = format!(
        "{AROUND}guardrails:\n  - {{ name: fine, rules: [{{ detect: secrets, action: block, on: both }}] }}\nroutes:\n  - name: tools\n    match: {{ path: /mcp }}\n    upstream: u\n    authenticate: [api_key]\n    mcp:\n      use_guardrails: [fine]\n      guardrails: [{{ detect: words, action: redact, words: [x] }}]\n"
    );
    let set = clean(&text);
    assert_eq!(clean(&export(&set)), set);
    let (found, _) = without(&set, Kind::Guardrails, "fine", &CONTEXT);
    assert_eq!(found.iter().map(|by| by.path.as_str()).collect::<Vec<_>>(), ["mcp.use_guardrails[0]"]);
}
