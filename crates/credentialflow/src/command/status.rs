//! `credentialflow status`: how a running server is doing.

use super::{Outcome, rotation};
use crate::{
    cli::Connection,
    client::Client,
    output::{Output, at},
};
use serde_json::Value;

/// See how a running server is doing
#[derive(clap::Args)]
pub struct StatusArgs {
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(args: StatusArgs, output: Output) -> anyhow::Result<Outcome> {
    let answer = Client::new(&args.connection)?.get("/api/v1/status").await?;
    output.result(&answer, text)?;
    Ok(Outcome::Done)
}

fn text(status: &Value) -> String {
    let yes = |path: &str| status.pointer(path).and_then(Value::as_bool).unwrap_or(false);
    let mut out = format!(
        "Credentialflow {}, up since {}\nvault      {}\ndata plane {} workers, {} connections, {} requests in flight, {} routes, {} keys\nstate      {}\ncall log   {} written, {} waiting, {} dropped\n",
        at(status, "/version"),
        at(status, "/started"),
        if yes("/sealed") { "sealed" } else { "unsealed" },
        at(status, "/dataplane/workers"),
        at(status, "/dataplane/connections"),
        at(status, "/dataplane/in_flight"),
        at(status, "/dataplane/routes"),
        at(status, "/dataplane/keys"),
        if yes("/in_step") {
            "every worker enforces everything stored"
        } else {
            "not every worker enforces everything stored yet"
        },
        at(status, "/call_log/written"),
        at(status, "/call_log/waiting"),
        at(status, "/call_log/dropped"),
    );
    out.push_str(&nodes(status));
    for one in list(status, "/dataplane/unavailable") {
        out.push_str(&format!(
            "credential {} version {} does not open: {}\n",
            at(one, "/credential"),
            at(one, "/version"),
            at(one, "/reason")
        ));
    }
    for one in list(status, "/dataplane/impaired") {
        out.push_str(&format!(
            "{}/{} {}: {}\n",
            at(one, "/kind"),
            at(one, "/name"),
            if one.get("serves").and_then(Value::as_bool).unwrap_or(false) {
                "is impaired but serves"
            } else {
                "is refused"
            },
            at(one, "/reason")
        ));
    }
    if status.pointer("/dataplane/guesses_lost").and_then(Value::as_u64).is_some_and(|n| n > 0) {
        out.push_str(&format!("guessing   {} audit events lost\n", at(status, "/dataplane/guesses_lost")));
    }
    for one in list(status, "/failing_links") {
        out.push_str(&format!(
            "link       {} {} {}: {}\n",
            at(one, "/credential"),
            if at(one, "/direction") == "read" { "from" } else { "to" },
            at(one, "/place"),
            at(one, "/error")
        ));
    }
    for one in list(status, "/certificates") {
        let (place, name, ends) = (at(one, "/place"), at(one, "/name"), at(one, "/not_after"));
        let ended = if at(one, "/state") == "expired" { "ended" } else { "ends" };
        out.push_str(&format!("certificate {place} {name} {ended} {ends}\n"));
    }
    if let Some(order) = status.get("certificate_order").filter(|order| at(order, "/state") != "waiting") {
        out.push_str(&format!("certificate {}", super::certificate::order(order)));
    }
    for one in status.get("rotations").and_then(Value::as_array).into_iter().flatten() {
        out.push_str(&format!("rotation   {}: {}\n", at(one, "/credential"), rotation::text(one)));
    }
    out
}

/// The nodes on the database, where there is more than one.
fn nodes(status: &Value) -> String {
    let all: Vec<&Value> = list(status, "/dataplane/nodes").collect();
    if all.len() < 2 {
        return String::new();
    }
    let is = |node: &Value, what: &str| node.get(what).and_then(Value::as_bool).unwrap_or(false);
    let line = |node: &&Value| {
        let mut facts = format!("{} workers, enforces up to {}", at(node, "/workers"), at(node, "/seq"));
        if is(node, "runs_jobs") {
            facts.push_str(", runs rotations");
        }
        if is(node, "answering") {
            facts.push_str(", answers you");
        }
        if at(node, "/state") == "lost" {
            facts.push_str(&format!(", not heard for {} ms", at(node, "/silent_ms")));
        }
        format!("node       {} {}: {facts}\n", at(node, "/name"), at(node, "/state"))
    };
    all.iter().map(line).collect()
}

fn list<'a>(value: &'a Value, path: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(path).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nodes_are_told_where_there_is_more_than_one() {
        let node = |name: &str, state: &str, answering: bool| {
            json!({ "name": name, "state": state, "workers": 2, "seq": 7,
            "answering": answering, "runs_jobs": answering, "silent_ms": 6000 })
        };
        let one = json!({ "dataplane": { "nodes": [node("a", "live", true)], "unavailable": [] } });
        assert!(!text(&one).contains("node "));
        let damaged = json!([{ "credential": "orders-token", "version": 3, "reason": "it was changed" }]);
        let two = json!({ "dataplane": { "nodes": [node("a", "live", true), node("b", "lost", false)], "unavailable": damaged,
            "impaired": [{ "kind": "upstreams", "name": "orders", "reason": "/ca.pem: entity not found", "serves": false }] } });
        let told = text(&two);
        assert!(
            told.contains("node       a live: 2 workers, enforces up to 7, runs rotations, answers you\n"),
            "{told}"
        );
        assert!(told.contains("node       b lost: 2 workers, enforces up to 7, not heard for 6000 ms\n"), "{told}");
        assert!(told.contains("upstreams/orders is refused: /ca.pem: entity not found\n"), "{told}");
        assert!(told.contains("credential orders-token version 3 does not open: it was changed\n"), "{told}");
    }
}
