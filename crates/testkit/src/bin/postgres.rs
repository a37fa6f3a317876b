//! A throwaway PostgreSQL for programs that are not Rust, steered by words on standard input.
//!
//! Each word is answered with one line of JSON: `database` makes an empty one and tells its `url`;
//! `stop`, `kill` (as a crash) and `start` do that to the server. The end of standard input, and any
//! other end of this process, stops the server and removes its directory.

use anyhow::Result;
use credentialflow_testkit::postgres::Cluster;
use serde_json::json;
use std::io::{BufRead, Write};

fn main() -> Result<()> {
    let cluster = Cluster::start()?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", json!({"ok": true}))?;
    for line in std::io::stdin().lock().lines() {
        let done = match line?.trim() {
            "database" => cluster.create_database().map(|url| json!({"ok": true, "url": url})),
            "stop" => cluster.stop().map(|()| json!({"ok": true})),
            "kill" => cluster.kill().map(|()| json!({"ok": true})),
            "start" => cluster.resume().map(|()| json!({"ok": true})),
            other => Ok(json!({"ok": false, "error": format!("unknown word {other}")})),
        };
        let told = done.unwrap_or_else(|error| json!({"ok": false, "error": format!("{error:#}")}));
        writeln!(out, "{told}")?;
    }
    Ok(())
}
