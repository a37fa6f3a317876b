//! `credentialflow model route`: which target a call to a model would take, and why.

use crate::{
    client::{Client, escape, with_query},
    output::{Output, at, table},
};
use serde_json::Value;

/// Asks and shows.
pub(super) async fn show(
    client: &Client,
    name: &str,
    call: &[(&str, Option<String>)],
    output: Output,
) -> anyhow::Result<()> {
    let path = with_query(&format!("/api/v1/models/{}/route", escape(name)), call);
    let answer = client.get(&path).await?;
    Ok(output.result(&answer, told)?)
}

fn told(answer: &Value) -> String {
    let columns = ["provider", "model", "priority", "weight", "calls", "credential", "left alone", "why"];
    let mut rows = Vec::new();
    for target in answer["targets"].as_array().into_iter().flatten() {
        let mut why = at(target, "/why");
        if target["internal"] == true {
            why += "; internal";
        }
        if target["translated"] == true {
            why += "; calls are translated";
        }
        let credentials = target["credentials"].as_array().map_or(&[][..], Vec::as_slice);
        let name = |credential: &Value| {
            let weight =
                if credentials.len() > 1 { format!(" ({})", at(credential, "/weight")) } else { String::new() };
            at(credential, "/name") + &weight
        };
        rows.push(vec![
            at(target, "/provider"),
            at(target, "/model"),
            at(target, "/priority"),
            at(target, "/weight"),
            at(target, "/percent") + " %",
            credentials.first().map_or("-".to_owned(), name),
            [cooling(target), credentials.first().and_then(cooling)]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join("; "),
            why,
        ]);
        for credential in credentials.iter().skip(1) {
            let mut row = vec![String::new(); columns.len()];
            (row[5], row[6]) = (name(credential), cooling(credential).unwrap_or_default());
            rows.push(row);
        }
    }
    table(&columns, &rows)
}

/// How long something is left alone, after what, and by whom.
fn cooling(of: &Value) -> Option<String> {
    let cooling = of.get("cooling").filter(|cooling| !cooling.is_null())?;
    let seconds = cooling["left_ms"].as_u64().unwrap_or(0).div_ceil(1000);
    let whose = cooling["application"].as_str().map_or(String::new(), |name| format!(", by calls of {name} alone"));
    Some(format!("{seconds}s after {} (workers: {}{whose})", at(cooling, "/after"), at(cooling, "/workers")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_target_is_a_line_and_so_is_each_further_credential() {
        let told = told(&json!({ "model": "chat", "workers": 2, "targets": [
            { "provider": "openai", "model": "gpt-5", "priority": 0, "weight": 1, "percent": 0.0, "translated": false,
              "why": "all its credentials are left alone after failures", "credentials": [
                { "name": "key-a", "weight": 3, "cooling": { "workers": 2, "left_ms": 8100, "after": "429" } },
                { "name": "key-b", "weight": 1, "cooling": { "workers": 2, "left_ms": 59000, "after": "401", "application": "shop" } }] },
            { "provider": "anthropic", "model": "claude", "priority": 1, "weight": 1, "percent": 100.0, "translated": true, "internal": true,
              "why": "of the lowest priority that serves, by weight", "credentials": [] },
        ]}));
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(lines.len(), 4, "{told}");
        for (line, parts) in [
            (1, ["openai", "key-a (3)", "9s after 429 (workers: 2)", "all its credentials"]),
            (2, ["key-b (1)", "59s after 401", "by calls of shop alone", ""]),
            (3, ["anthropic", "100.0 %", "by weight; internal; calls are translated", ""]),
        ] {
            for part in parts {
                assert!(lines[line].contains(part), "{part} is not in {}", lines[line]);
            }
        }
    }
}
