//! Rotations on the command line: lists them, and follows one until it is done, taken back, or waits for somebody.

use super::Outcome;
use crate::{
    client::{Client, NoAnswer, escape},
    output::{Output, at},
};
use serde_json::Value;
use std::time::{Duration, Instant};

/// How often the rotation is looked at.
const EVERY: Duration = Duration::from_millis(250);
/// How long the server may be away, as in a restart, before following is given up.
const AWAY: Duration = Duration::from_secs(30);

/// Follows from the answer that started it. The rotation goes on by itself whether followed or not.
///
/// With `until_promoted`, following ends when the new version has proven itself and only the old one's
/// fixed overlap is left, which may take days.
pub async fn follow(client: &Client, started: Value, until_promoted: bool, output: Output) -> anyhow::Result<Outcome> {
    let path = format!("/api/v1/rotations/{}", escape(&at(&started, "/id")));
    let mut now = started;
    let mut told = String::new();
    let mut heard = Instant::now();
    loop {
        let line = text(&now);
        if line != told {
            output.progress(&line);
            told = line;
        }
        if now.get("finished").and_then(Value::as_bool).unwrap_or(false) {
            break;
        }
        if now.get("waiting_for").is_some_and(|w| !w.is_null()) {
            output.result(&now, |now| {
                let (credential, message) = (at(now, "/credential"), at(now, "/message"));
                match at(now, "/waiting_for").as_str() {
                    "value" => format!("{credential}: {message}: `credentialflow credential deliver {credential}`\n"),
                    _ => format!("{credential}: {message}: `credentialflow credential approve {credential}`\n"),
                }
            })?;
            return Ok(Outcome::Done);
        }
        if until_promoted && at(&now, "/step") == "drain" {
            output.result(&now, promoted)?;
            return Ok(Outcome::Done);
        }
        tokio::time::sleep(EVERY).await;
        match client.get(&path).await {
            Ok(answer) => (now, heard) = (answer, Instant::now()),
            Err(error) if error.is::<NoAnswer>() && heard.elapsed() < AWAY => {}
            Err(error) => return Err(error),
        }
    }
    let done = at(&now, "/step") == "done";
    output.result(&now, |now| {
        let (credential, from, to) = (at(now, "/credential"), at(now, "/from_version"), at(now, "/to_version"));
        if done {
            format!("Rotated {credential}: version {to} is current.\n")
        } else {
            format!("Rolled back: {credential} stays at version {from}. {}\n", at(now, "/message"))
        }
    })?;
    Ok(if done { Outcome::Done } else { Outcome::Refused })
}

/// Lists the rotations that are not finished, or all of one credential.
pub async fn list(client: &Client, credential: Option<&str>, output: Output) -> anyhow::Result<()> {
    let answer = match credential {
        Some(name) => client.get(&format!("/api/v1/credentials/{}/rotations", escape(name))).await?,
        None => client.get("/api/v1/rotations?limit=1000").await?,
    };
    let columns = [
        ("credential", "/credential"),
        ("from", "/from_version"),
        ("to", "/to_version"),
        ("step", "/step"),
        ("started", "/started"),
        ("in flight", "/in_flight"),
        ("message", "/message"),
    ];
    let empty = "Begin one with `credentialflow credential rotate NAME`.";
    output.result(&answer, |answer| super::resource::page(answer, "rotations", &columns, empty))?;
    Ok(())
}

/// The id of a credential's unfinished rotation.
pub async fn unfinished(client: &Client, credential: &str) -> anyhow::Result<String> {
    let shown = client.get(&format!("/api/v1/credentials/{}", escape(credential))).await?;
    match shown.pointer("/rotation/id").and_then(Value::as_str) {
        Some(id) => Ok(id.to_owned()),
        None => anyhow::bail!("no rotation of {credential} is under way"),
    }
}

fn promoted(now: &Value) -> String {
    format!(
        "Rotated {}: version {} is current; version {} stays valid until {}.\n",
        at(now, "/credential"),
        at(now, "/to_version"),
        at(now, "/from_version"),
        at(now, "/deadline")
    )
}

/// Where a rotation stands, on one line.
pub fn text(rotation: &Value) -> String {
    let mut line = format!("{:<10} {}", at(rotation, "/step"), at(rotation, "/message"));
    if let Some(in_flight) = rotation.get("in_flight").and_then(Value::as_u64).filter(|n| *n > 0) {
        line.push_str(&format!(" ({in_flight} requests in flight on the old version)"));
    }
    let stragglers = rotation.get("stragglers").and_then(Value::as_array);
    for straggler in stragglers.into_iter().flatten().take(5) {
        let (requests, route) = (at(straggler, "/requests"), at(straggler, "/route"));
        let (who, source) = (at(straggler, "/application"), at(straggler, "/source"));
        line.push_str(&format!("; {requests} of {who} on {route} from {source}"));
    }
    crate::output::shown(&line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_line_says_where_it_stands() {
        let drain = json!({ "step": "drain", "message": "waiting", "in_flight": 3 });
        assert_eq!(text(&drain), "drain      waiting (3 requests in flight on the old version)");
    }
}
