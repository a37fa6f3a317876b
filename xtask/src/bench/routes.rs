//! What a request costs as routes grow, and how long a change takes to be in force.

use super::{installation, load};
use crate::{product, say};
use anyhow::Result;
use std::{fmt::Write as _, fs, time::Instant};

const COUNTS: &[usize] = &[10, 100, 1_000, 10_000, 100_000];

/// Measures each number of routes on one server.
pub fn run(profile: &str, seconds: u32) -> Result<()> {
    product::build(profile)?;
    let upstream = load::upstream()?;
    let configuration = |count: usize| {
        // The application may use one route of each shape; those are called.
        let mut text = installation::head("route-0, route-1, route-2", "");
        let _ = write!(
            text,
            "upstreams:\n  - name: fixed\n    endpoints: [\"http://{upstream}\"]\n    inject: {{ bearer: upstream-token }}\nroutes:\n"
        );
        for i in 0..count {
            let path = match i % 3 {
                0 => format!("/services/s{i}/*"),
                1 => format!("/services/s{i}/items/{{id}}"),
                _ => format!("/exact/e{i}"),
            };
            let _ = writeln!(
                text,
                "  - {{ name: route-{i}, match: {{ path: \"{path}\" }}, upstream: fixed, authenticate: [api_key] }}"
            );
        }
        text
    };
    let measured = installation::start(profile, &configuration(3))?;
    let file = measured.installation.data_dir.join("routes.yaml");
    let paths = ["/services/s0/any/thing", "/services/s1/items/42", "/exact/e2"].map(str::to_owned);
    say::result(
        "| routes | apply, s | CPU us/request | p50 us | p99 us | memory MiB |\n|---:|---:|---:|---:|---:|---:|",
    );
    for count in COUNTS {
        fs::write(&file, configuration(*count))?;
        let began = Instant::now();
        measured.installation.apply(&file)?;
        let applied = began.elapsed();
        load::run(measured.installation.gateway, &measured.key, &paths, 1)?;
        let before = load::cpu(measured.server.id())?;
        let shown = load::run(measured.installation.gateway, &measured.key, &paths, seconds)?;
        let used = load::cpu(measured.server.id())? - before;
        let at = |part: usize| shown.times[(shown.times.len() * part / 100).min(shown.times.len() - 1)].as_micros();
        say::result(&format!(
            "| {count} | {:.2} | {:.1} | {} | {} | {:.0} |",
            applied.as_secs_f64(),
            used.as_secs_f64() * 1e6 / shown.requests.max(1) as f64,
            at(50),
            at(99),
            load::memory(measured.server.id())?,
        ));
    }
    Ok(())
}
