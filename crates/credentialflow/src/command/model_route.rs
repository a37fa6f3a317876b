//! `credentialflow model route`: which target a call to a model would take, and why.

use super::Usage;
use crate::{
    client::{Client, escape, with_query},
    output::{Output, at, shown, table},
};
use anyhow::Context as _;
use serde_json::{Value, json, value::RawValue};
use std::{collections::BTreeMap, fmt::Write as _, io::Read as _, path::Path};

/// Who makes the call of which all is given.
#[derive(clap::Args)]
pub(super) struct Caller {
    /// The application that calls, with `--body`
    #[arg(long, value_name = "NAME", requires = "body")]
    application: Option<String>,
    /// The name of the key that it calls with, with `--body`
    #[arg(long, value_name = "NAME", requires = "body")]
    key: Option<String>,
    /// The end user that it is for, with `--body`; the one that the call names unless set
    #[arg(long, value_name = "USER", requires = "body")]
    user: Option<String>,
    /// A header of the call, with `--body`, as in 'x-session-id: 7'
    #[arg(long = "header", value_name = "HEADER", requires = "body")]
    headers: Vec<String>,
}

/// A call is no larger than that.
const MOST: u64 = 16 << 20;

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

/// Asks about a whole call and shows what would become of it.
pub(super) async fn dry_run(
    client: &Client,
    name: &str,
    (dialect, stream): (&str, bool),
    body: &Path,
    caller: Caller,
    output: Output,
) -> anyhow::Result<()> {
    let mut text = String::new();
    match body.as_os_str() == "-" {
        true => std::io::stdin().lock().take(MOST).read_to_string(&mut text).context("cannot read the call")?,
        false => {
            let file = std::fs::File::open(body).with_context(|| format!("cannot read {}", body.display()))?;
            file.take(MOST).read_to_string(&mut text).with_context(|| format!("cannot read {}", body.display()))?
        }
    };
    // As it stands: its length counts.
    let call: &RawValue = serde_json::from_str(text.trim()).map_err(|e| Usage(format!("the call is no JSON: {e}")))?;
    let Caller { application, key, user, headers } = caller;
    let split = |header: &String| {
        let (name, value) = header.split_once(':').ok_or_else(|| Usage(format!("{header:?} is no header")))?;
        Ok((name.trim().to_owned(), value.trim().to_owned()))
    };
    let headers: BTreeMap<_, _> = headers.iter().map(split).collect::<Result<_, Usage>>()?;
    let mut asked = json!({ "dialect": dialect, "stream": stream, "headers": headers });
    for (field, value) in [("application", application), ("key", key), ("user", user)] {
        if let Some(value) = value {
            asked[field] = value.into();
        }
    }
    let mut asked = asked.to_string();
    asked.pop();
    let _ = write!(asked, ",\"body\":{call}}}");
    let answer = client.post_text(&format!("/api/v1/models/{}/route", escape(name)), &asked).await?;
    Ok(output.result(&answer, decided)?)
}

/// What becomes of the call, and the targets.
fn decided(answer: &Value) -> String {
    let words = |path: &str| {
        let all = answer[path].as_array().into_iter().flatten().filter_map(Value::as_str);
        all.map(shown).collect::<Vec<_>>().join(", ")
    };
    let refused = |of: &Value| format!("{} ({})", at(of, "/code"), at(of, "/status"));
    let mut lines = vec![match &answer["refused"] {
        Value::Null => "It would be served.".to_owned(),
        why => match why["detail"].as_str() {
            Some(detail) => format!("It would be refused: {}: {}", refused(why), shown(detail)),
            None => format!("It would be refused: {}", refused(why)),
        },
    }];
    if answer["serves"] != answer["model"] {
        lines.push(format!("{} serves, as a budget that is used up says.", at(answer, "/serves")));
    }
    for (path, says) in [
        ("guardrails", "Guardrails found: "),
        ("not_asked", "Guardrails of others, which were not asked: "),
        ("needs", "It needs: "),
    ] {
        if !words(path).is_empty() {
            lines.push(format!("{says}{}", words(path)));
        }
    }
    for (path, says) in [
        ("internal", "Only internal targets may have it."),
        ("sticky", "It goes where calls go with which it has something in common."),
    ] {
        if answer[path] == true {
            lines.push(says.to_owned());
        }
    }
    let mut text = lines.join("\n") + "\n";
    let targets = answer["targets"].as_array().map_or(&[][..], Vec::as_slice);
    if targets.is_empty() {
        return text;
    }
    let most = |target: &Value| match &target["most_usd"] {
        Value::String(most) => format!("; {} USD at the most", shown(most)),
        _ => String::new(),
    };
    let said: Vec<_> = targets
        .iter()
        .map(|target| {
            let code = target["refused"]["code"].as_str().map_or(String::new(), |code| format!("{}: ", shown(code)));
            let mut target = target.clone();
            target["why"] = format!("{code}{}{}", at(&target, "/why"), most(&target)).into();
            target
        })
        .collect();
    text += "\n";
    text += &told(&json!({ "targets": said }));
    text
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

    #[test]
    fn what_becomes_of_a_call_is_told_before_its_targets() {
        let target = json!({ "provider": "p", "model": "m", "priority": 0, "weight": 1, "percent": 0.0, "credentials": [],
            "why": "the team's budget for this month cannot pay for this call", "most_usd": "0.25",
            "refused": { "code": "budget_exceeded", "status": 429 } });
        let told = decided(&json!({ "model": "chat", "serves": "small", "guardrails": ["personal_data.email/route"],
            "not_asked": ["webhook"], "needs": ["vision", "tools"], "internal": true, "sticky": false, "targets": [target],
            "refused": { "code": "budget_exceeded", "status": 429, "detail": "no money" } }));
        for part in [
            "It would be refused: budget_exceeded (429): no money\n",
            "small serves",
            "Guardrails found: personal_data.email/route\n",
            "which were not asked: webhook\n",
            "It needs: vision, tools\n",
            "Only internal targets",
            "budget_exceeded: the team's budget for this month cannot pay for this call; 0.25 USD at the most",
        ] {
            assert!(told.contains(part), "{part:?} is not in {told}");
        }
        assert!(!told.contains("in common"));
        assert_eq!(decided(&json!({ "model": "chat", "serves": "chat" })), "It would be served.\n");
    }
}
