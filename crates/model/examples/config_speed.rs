//! How long reading, checking, planning and exporting take for many routes:
//! `cargo run --release -p credentialflow-model --example config_speed -- 10000`
#![expect(clippy::print_stdout, reason = "a tool for the terminal")]

use credentialflow_model::config::{self, Context};
use std::{fmt::Write as _, time::Instant};

fn main() {
    let routes: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let mut text = String::from(
        "credentials:\n  - { name: token, engine: static }\nupstreams:\n  - name: api\n    endpoints: [\"http://127.0.0.1:9001\"]\n    inject: { bearer: token }\nroutes:\n",
    );
    for n in 0..routes {
        let _ = write!(
            text,
            "  - name: route-{n}\n    match: {{ path: /route-{n}/*, methods: [GET, POST] }}\n    upstream: api\n    authenticate: [api_key]\n    limit: {{ requests: 100, per: 1m }}\n"
        );
    }
    for round in 1..=5 {
        let begin = Instant::now();
        let (set, source, problems) = config::read("many.yaml", &text);
        let read = begin.elapsed();
        let checked = config::check(&set, &source, &Context::default());
        let check = begin.elapsed() - read;
        assert!(problems.0.is_empty() && checked.0.is_empty(), "{problems}{checked}");
        let mut changed = set.clone();
        changed.routes[routes / 2].websocket = true;
        let begin = Instant::now();
        let plan = config::plan(&set, &changed, true);
        let planned = begin.elapsed();
        assert_eq!(plan.changes.len(), 1);
        let begin = Instant::now();
        let exported = config::export(&set).len();
        println!(
            "{round}: {routes} routes, {} bytes: read {read:?}, check {check:?}, plan {planned:?}, export {:?} ({exported} bytes)",
            text.len(),
            begin.elapsed()
        );
    }
}
