//! Each way in which a configuration can be wrong, with the place it is told for.
#![allow(clippy::unwrap_used)]

mod cache;
mod guardrails;
mod leaks;
mod mcp;
mod pools;
mod prompts;
mod reading;
mod resources;
mod round_trip;
mod routing;
mod stores;
mod tokens;

use super::*;
use crate::ResourceSet;

const CONTEXT: Context<'static> = Context {
    providers: &["openai", "anthropic", "azure-openai", "sandbox"],
    own_address: &["azure-openai"],
    guardrail: None,
    keys: &[],
};

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
