//! `credentialflow leak`: secrets of ours that were found where they must not be.

mod rules;
mod scan;

use super::{Outcome, Usage, resource};
use crate::{
    cli::Connection,
    client::{Client, escape, with_query},
    output::{Output, at, items, shown},
};
use anyhow::{Context, bail};
use credentialflow_model::{SecretValue, config::read_resource_yaml, leak::LeakResponse};
use serde_json::{Value, json};
use std::{
    io::Read,
    path::{Path, PathBuf},
};

/// Most bytes looked at, and most of them without a token.
const MOST: (u64, u64) = (900 << 10, 48 << 10);

/// Leaks: secrets of ours that were found where they must not be
#[derive(clap::Args)]
pub struct LeakArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Look for secrets of ours in what standard input holds; what is found is recorded and answered by its rule
    Report {
        /// Where it was found
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        /// Something for people, in one line
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        /// Report as anybody may, without the administrator's token: the server then does not say what it found
        #[arg(long)]
        anonymous: bool,
    },
    /// Search logs for secrets of ours, from files or standard input, and say where each stands; what is found is recorded and
    /// answered by its rule. A log that is still written is searched as it grows: tail -f app.log | credentialflow leak scan.
    /// The exit code is 0 where nothing was found, 1 where something was, 2 where nothing was found and not all could be
    /// searched
    Scan {
        /// Logs; standard input where there is none, or for -
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Only look: nothing is recorded and no rule followed
        #[arg(long)]
        dry_run: bool,
        /// Where the log is found; the file's name unless set
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        /// Something for people, in one line; line and byte unless set
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// List leaks, the newest first
    List {
        /// Only names that contain this text
        #[arg(long, value_name = "TEXT")]
        q: Option<String>,
        /// Most items on the page, 1 to 1000
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: Option<u32>,
        /// Where the page begins: the `next` of the page before
        #[arg(long, value_name = "CURSOR")]
        cursor: Option<String>,
    },
    /// Show a leak: where it was found, what was done, what is left to do
    Show {
        /// Its id
        id: String,
    },
    /// Print the new secret that the answer to a leak gave a key; for 24 hours
    Secret {
        /// The leak's id
        id: String,
    },
    /// Lift the quarantine of the key that leaked, or let more networks in
    Release {
        /// The leak's id
        id: String,
        /// Let this network (CIDR) in as well, and keep the quarantine
        #[arg(long = "network", value_name = "CIDR")]
        networks: Vec<String>,
    },
    /// Show how leaks are answered, or replace it: the declared leak_responses/default
    Response {
        /// File with the new rules (YAML or JSON), as they stand under leak_responses; - reads standard input
        #[arg(long, value_name = "FILE")]
        set: Option<PathBuf>,
    },
    /// Print rules by which scanners find our keys and tokens
    Rules {
        /// For which scanner
        #[arg(long, value_enum)]
        format: rules::Scanner,
        /// First part of the keys issued, as the server's setting key_prefix says; once for each that was ever used
        #[arg(long = "prefix", value_name = "WORD", default_values_t = ["cfk".to_owned()])]
        prefixes: Vec<String>,
    },
}

pub(super) async fn run(args: LeakArgs, output: Output) -> anyhow::Result<Outcome> {
    let connection = &args.connection;
    match args.verb {
        Verb::Report { url, note, anonymous } => {
            let text = standard_input(if anonymous { MOST.1 } else { MOST.0 })?;
            let text = text.expose_str().context("standard input is not UTF-8 text")?;
            let body = json!({ "text": text, "url": url, "note": note });
            if anonymous {
                let answer = Client::anonymous(connection)?.post("/api/v1/leaks/report", &body).await?;
                output.result(&answer, |_| "Taken. The server looks at it now, and says nothing more.\n".to_owned())?;
                return Ok(Outcome::Done);
            }
            let answer = Client::new(connection)?.post("/api/v1/leaks", &body).await?;
            output.result(&answer, looked)?;
            let found = answer.get("leaks").and_then(Value::as_array).is_some_and(|leaks| !leaks.is_empty());
            return Ok(if found { Outcome::Refused } else { Outcome::Done });
        }
        Verb::Scan { files, dry_run, url, note } => {
            // Without an address or a token nothing is searched either.
            let client = match Client::new(connection) {
                Ok(client) => client,
                Err(error) => {
                    super::tell_failure(&error, output);
                    return Ok(Outcome::Code(2));
                }
            };
            let searched = scan::all(&client, output, &files, &scan::Told { dry_run, url, note }).await;
            return Ok(match (searched.found, searched.whole) {
                (true, _) => Outcome::Refused,
                (false, true) => Outcome::Done,
                (false, false) => Outcome::Code(2),
            });
        }
        Verb::List { q, limit, cursor } => {
            let parameters = [("q", q), ("limit", limit.map(|n| n.to_string())), ("cursor", cursor)];
            let answer = Client::new(connection)?.get(&with_query("/api/v1/leaks", &parameters)).await?;
            output
                .result(&answer, |answer| resource::page(answer, "leaks", &COLUMNS, "Nothing of ours was reported."))?;
        }
        Verb::Show { id } => {
            let answer = Client::new(connection)?.get(&path(&id, "")).await?;
            output.result(&answer, one)?;
        }
        Verb::Secret { id } => {
            let answer = Client::new(connection)?.post(&path(&id, "/secret"), &json!({})).await?;
            output.result(&answer, |answer| format!("{}\n", shown(&at(answer, "/secret"))))?;
        }
        Verb::Release { id, networks } => {
            let body = json!({ "networks": networks });
            let answer = Client::new(connection)?.post(&path(&id, "/release"), &body).await?;
            let name = at(&answer, "/name");
            output.result(&answer, |_| match networks.is_empty() {
                true => format!("key/{name} is held back no more.\n"),
                false => format!("key/{name} works from {} as well.\n", networks.join(", ")),
            })?;
        }
        Verb::Response { set } => {
            let client = Client::new(connection)?;
            let answer = match set {
                None => client.get("/api/v1/leaks/response").await?,
                Some(file) => {
                    // Told here with its place; what it names is checked by the server.
                    let (rules, _) = read_resource_yaml::<LeakResponse>(&read(&file)?).map_err(|problems| {
                        Usage(format!("{} is no rules for leaks:\n{}", file.display(), problems.to_string().trim_end()))
                    })?;
                    client.put("/api/v1/leaks/response", &serde_json::to_value(&rules)?).await?
                }
            };
            output.raw(&format!("{}\n", serde_json::to_string_pretty(&answer)?))?;
        }
        Verb::Rules { format, prefixes } => {
            if let Some(wrong) = prefixes.iter().find(|prefix| !credentialflow_model::key::is_label(prefix.as_bytes()))
            {
                return Err(Usage(format!("{wrong} begins no key: 1 to 12 characters from a-z and 0-9")).into());
            }
            output.raw(&rules::text(format, &prefixes))?;
        }
    }
    Ok(Outcome::Done)
}

const COLUMNS: [(&str, &str); 7] = [
    ("id", "/id"),
    ("first seen", "/first_seen"),
    ("kind", "/kind"),
    ("name", "/name"),
    ("version", "/version"),
    ("team", "/team"),
    ("done", "/steps"),
];

fn path(id: &str, rest: &str) -> String {
    format!("/api/v1/leaks/{}{rest}", escape(id))
}

/// All of standard input; it may hold secrets, so it is wiped when dropped.
fn standard_input(most: u64) -> anyhow::Result<SecretValue> {
    let mut bytes = Vec::with_capacity(64 * 1024);
    std::io::stdin().lock().take(most + 1).read_to_end(&mut bytes).context("standard input cannot be read")?;
    let text = SecretValue::new(bytes);
    if text.len() as u64 > most {
        bail!("standard input holds more than {} KiB; send the part in which the secret stands", most >> 10);
    }
    if text.expose().trim_ascii().is_empty() {
        return Err(Usage("standard input holds nothing to look at".to_owned()).into());
    }
    Ok(text)
}

fn read(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        return std::io::read_to_string(std::io::stdin()).context("standard input cannot be read");
    }
    std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))
}

fn looked(answer: &Value) -> String {
    let leaks = answer.get("leaks").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if leaks.is_empty() {
        return "None of our secrets stands in it.\n".to_owned();
    }
    leaks.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// A leak as text.
fn one(leak: &Value) -> String {
    let words = |list: &str| -> Vec<String> {
        let all = leak.get(list).and_then(Value::as_array).into_iter().flatten();
        all.filter_map(|word| word.as_str().map(shown)).collect()
    };
    let mut text = format!(
        "{}/{} version {} leaked (leak {})\n",
        at(leak, "/kind"),
        shown(&at(leak, "/name")),
        at(leak, "/version"),
        shown(&at(leak, "/id"))
    );
    let mut line = |name: &str, value: String| text.push_str(&format!("  {name:<9} {value}\n"));
    if leak.get("team").is_some() || leak.get("application").is_some() {
        line("owner", format!("application {}, team {}", at(leak, "/application"), at(leak, "/team")));
    }
    let done = words("steps");
    line("done", if done.is_empty() { "nothing".to_owned() } else { done.join(", ") });
    for left in words("left") {
        line("left", left);
    }
    if let Some(why) = leak.get("failed").and_then(Value::as_str) {
        line("failed", shown(why));
    }
    if let Some(seen) = leak.get("seen") {
        let networks: Vec<_> = seen.get("networks").and_then(Value::as_array).into_iter().flatten().collect();
        let networks: Vec<_> = networks.iter().filter_map(|n| n.as_str()).map(shown).collect();
        line("let in", if networks.is_empty() { "nobody: it was never used".to_owned() } else { networks.join(", ") });
        if seen.get("complete") == Some(&Value::Bool(false)) {
            line("", "not every use was seen: let clients in with --network where they are missing".to_owned());
        }
    }
    if leak.get("secret_until").is_some() {
        let until = at(leak, "/secret_until");
        line("secret", format!("credentialflow leak secret {}   (until {until})", shown(&at(leak, "/id"))));
    }
    for place in items(&json!({ "items": leak.get("places") })) {
        let note = place.get("note").and_then(Value::as_str).map(|note| format!(" ({})", shown(note)));
        let (time, note) = (at(place, "/time"), note.unwrap_or_default());
        let by = shown(&at(place, "/reporter"));
        let found = if at(place, "/via") == "traffic" {
            let part = |name: &str| shown(&at(place, name));
            let who = format!("application {}, key {}", part("/application"), part("/key"));
            format!("in a request on route {} from {} ({who})", part("/route"), part("/source"))
        } else if at(place, "/via") == "answer" {
            let part = |name: &str| shown(&at(place, name));
            let who = format!("application {}, key {}", part("/application"), part("/key"));
            format!(
                "in an answer of upstream {} on route {} to {} ({who})",
                part("/upstream"),
                part("/route"),
                part("/source")
            )
        } else if at(place, "/via") == "log" {
            "in our own log".to_owned()
        } else {
            shown(&at(place, "/url"))
        };
        line("found", format!("{found}, told by {by} {time}{note}"));
    }
    if leak.get("more").is_some() {
        let (count, time) = (at(leak, "/more/count"), at(leak, "/more/last/time"));
        line("", format!("and {count} times at other places, written down last {time}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leak_is_told_with_what_is_left_to_do() {
        let leak = json!({
            "id": "1", "kind": "key", "name": "k", "version": 2, "application": "a", "team": "t", "steps": ["quarantined"],
            "left": ["x"], "seen": { "networks": ["10.0.0.7/32"], "complete": false },
            "more": { "count": 7, "last": { "time": "L" } },
            "places": [
                { "reporter": "anonymous", "url": "https://p\u{1b}/", "time": "T", "note": "n" },
                { "via": "traffic", "reporter": "gateway", "route": "r", "application": "b", "key": "i", "source": "s", "time": "T" },
                { "via": "answer", "reporter": "gateway", "route": "r", "upstream": "u", "application": "b", "key": "i", "source": "s", "time": "T" },
                { "via": "log", "reporter": "log", "time": "T" },
            ],
        });
        let text = looked(&json!({ "leaks": [leak] }));
        for part in [
            "key/k version 2 leaked (leak 1)",
            "quarantined",
            "10.0.0.7/32",
            "not every use",
            "by anonymous T (n)",
            "in a request on route r from s (application b, key i), told by gateway T",
            "in an answer of upstream u on route r to s (application b, key i), told by gateway T",
            "in our own log, told by log T",
            "and 7 times at other places, written down last L",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains('\u{1b}'));
        assert!(looked(&json!({ "leaks": [] })).starts_with("None"));
    }
}
