//! Follows a credential's rotation until it is done or taken back.

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
