//! `credentialflow inventory`: every credential in both directions, and what is wrong with them.

use super::{Outcome, Usage, lease, resource};
use crate::{
    cli::Connection,
    client::{Client, with_query},
    output::{Output, at, items, shown, table},
};
use anyhow::{Context, bail};
use credentialflow_model::{Period, SecretValue, Timestamp};
use serde_json::{Value, json};
use std::{io::Read, path::PathBuf, time::SystemTime};

/// Largest report read, in bytes.
const MAX_REPORT: u64 = 30 << 20;

/// Every credential in one inventory, and what is wrong with it
#[derive(clap::Args)]
pub struct InventoryArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// List every credential: issued keys, held credentials, certificates, signing keys, and what the run-time API keeps
    List(Box<Filter>),
    /// Count credentials and findings
    Summary(Box<Filter>),
    /// List what is wrong: stale, never used, orphaned, shared, over-privileged, long-lived, weak, hard-coded
    Findings {
        #[command(flatten)]
        filter: Box<Filter>,
        /// Print only the narrower grants of over-privileged keys, as a file for `credentialflow apply`
        #[arg(long, conflicts_with = "policies")]
        grants: bool,
        /// Print only the narrower policies of over-privileged roles, users and tokens of the run-time API (HCL), each after
        /// the commands that put it into force
        #[arg(long)]
        policies: bool,
    },
    /// List leases one by one: all, or those of an application, an entity or a mount; the same as `lease list`
    Leases(lease::Listed),
    /// Compare a gitleaks or trufflehog report (JSON) with our own values; only the places of matches are kept
    ImportFindings {
        /// The report; - reads standard input
        file: PathBuf,
    },
}

#[derive(clap::Args)]
struct Filter {
    /// Only this kind: credential, login, certificate, signing_key, key, role, secret_id, user, token, secrets, leases or tokens
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only of this owner: the team a credential names, the application a key was issued to
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// Only of this team
    #[arg(long, value_name = "NAME")]
    team: Option<String>,
    /// Only with this finding, as in over-privileged
    #[arg(long, value_name = "FINDING")]
    finding: Option<String>,
    /// Only with a finding at least so urgent: info, low, medium or high
    #[arg(long, value_name = "SEVERITY")]
    severity: Option<String>,
    /// Only in this state: active, pending, expired or revoked
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Only what was not used since then: a time (RFC 3339) or a duration ago, as in 30d
    #[arg(long, value_name = "WHEN")]
    unused_since: Option<String>,
    /// Only names that contain this text
    #[arg(long, value_name = "TEXT")]
    q: Option<String>,
    /// Not used for so long is stale; 90d unless given
    #[arg(long, value_name = "DURATION")]
    stale_after: Option<Period>,
    /// Older than this is long-lived, where its own rule says nothing; 365d unless given
    #[arg(long, value_name = "DURATION")]
    long_lived_after: Option<Period>,
    /// So young that nothing is said yet about what it does not do; 7d unless given
    #[arg(long, value_name = "DURATION")]
    settle: Option<Period>,
    /// A key from more source addresses than this is shared; 10 unless given
    #[arg(long, value_name = "NUMBER")]
    max_sources: Option<u32>,
    /// How far back the call log is looked at, at most 30d; 7d unless given
    #[arg(long, value_name = "DURATION")]
    window: Option<Period>,
    /// Most items on the page, 1 to 1000
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: Option<u32>,
    /// Where the page begins: the `next` of the page before
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

impl Filter {
    fn path(&self, of: &str, now: Timestamp) -> Result<String, Usage> {
        let period = |period: Option<Period>| period.map(|period| period.to_string());
        let unused = self.unused_since.as_deref().map(|text| super::calls::ago(text, now)).transpose()?;
        let parameters = [
            ("kind", self.kind.as_ref().map(|kind| kind.replace('-', "_"))),
            ("owner", self.owner.clone()),
            ("team", self.team.clone()),
            ("finding", self.finding.clone()),
            ("severity", self.severity.clone()),
            ("state", self.state.clone()),
            ("unused_since", unused.map(|time| time.to_string())),
            ("q", self.q.clone()),
            ("stale_after", period(self.stale_after)),
            ("long_lived_after", period(self.long_lived_after)),
            ("settle", period(self.settle)),
            ("max_sources", self.max_sources.map(|n| n.to_string())),
            ("window", period(self.window)),
            ("limit", self.limit.map(|n| n.to_string())),
            ("cursor", self.cursor.clone()),
        ];
        Ok(with_query(of, &parameters))
    }
}

pub(super) async fn run(args: InventoryArgs, output: Output) -> anyhow::Result<Outcome> {
    let now: Timestamp = SystemTime::now().into();
    match args.verb {
        Verb::List(filter) => {
            let path = filter.path("/api/v1/inventory", now)?;
            let answer = Client::new(&args.connection)?.get(&path).await?;
            output.result(&answer, |answer| {
                resource::page(answer, "credentials match", &COLUMNS, "Ask without filters for all of them.")
            })?;
        }
        Verb::Summary(filter) => {
            let path = filter.path("/api/v1/inventory/summary", now)?;
            let answer = Client::new(&args.connection)?.get(&path).await?;
            output.result(&answer, summary)?;
        }
        Verb::Findings { filter, grants, policies } => {
            let path = filter.path("/api/v1/inventory/findings", now)?;
            let answer = Client::new(&args.connection)?.get(&path).await?;
            if grants {
                output.raw(&narrower(&answer))?;
            } else if policies {
                output.raw(&narrower_policies(&answer))?;
            } else {
                output.result(&answer, findings)?;
            }
        }
        Verb::Leases(listed) => return lease::list(&Client::new(&args.connection)?, &listed, output).await,
        Verb::ImportFindings { file } => {
            let report = read(&file)?;
            let text = report.expose_str().context("the report is not UTF-8 text")?;
            let client = Client::new(&args.connection)?;
            let answer = client.post("/api/v1/inventory/reports", &json!({ "report": text })).await?;
            output.result(&answer, imported)?;
            let works = |m: &Value| m.get("works").and_then(Value::as_bool).unwrap_or(false);
            let found = answer.get("matches").and_then(Value::as_array).is_some_and(|all| all.iter().any(works));
            return Ok(if found { Outcome::Refused } else { Outcome::Done });
        }
    }
    Ok(Outcome::Done)
}

const COLUMNS: [(&str, &str); 9] = [
    ("kind", "/kind"),
    ("name", "/name"),
    ("state", "/state"),
    ("owner", "/owner"),
    ("team", "/team"),
    ("expires", "/expires"),
    ("last used", "/last_used"),
    ("uses", "/uses"),
    ("findings", "/findings"),
];

/// A report's bytes; they hold secrets, so they are wiped when dropped.
fn read(file: &std::path::Path) -> anyhow::Result<SecretValue> {
    let mut bytes = Vec::with_capacity(64 * 1024);
    let unreadable = || format!("{} cannot be read", file.display());
    if file == std::path::Path::new("-") {
        std::io::stdin()
            .lock()
            .take(MAX_REPORT + 1)
            .read_to_end(&mut bytes)
            .context("standard input cannot be read")?;
    } else {
        let opened = std::fs::File::open(file).with_context(unreadable)?;
        opened.take(MAX_REPORT + 1).read_to_end(&mut bytes).with_context(unreadable)?;
    }
    let report = SecretValue::new(bytes);
    if report.len() as u64 > MAX_REPORT {
        bail!("the report is larger than {} MiB; split it", MAX_REPORT >> 20);
    }
    if report.is_empty() {
        return Err(Usage("the report is empty".to_owned()).into());
    }
    Ok(report)
}

fn summary(answer: &Value) -> String {
    let rows = |list: &str, columns: &[&str]| -> Vec<Vec<String>> {
        let all = answer.get(list).and_then(Value::as_array).into_iter().flatten();
        all.map(|row| columns.iter().map(|column| at(row, &format!("/{column}"))).collect()).collect()
    };
    let kinds = ["kind", "count", "active", "with_findings"];
    let mut text = table(&["kind", "count", "active", "with findings"], &rows("kinds", &kinds));
    let found = rows("findings", &["finding", "severity", "count"]);
    if found.is_empty() {
        text.push_str("\nNo findings.\n");
    } else {
        text.push_str(&format!("\n{}", table(&["finding", "most urgent", "count"], &found)));
    }
    text.push_str(&super::blast_radius::looked_at(answer.get("observed").unwrap_or(&Value::Null)));
    text
}

fn findings(answer: &Value) -> String {
    if items(answer).is_empty() {
        return "No findings match.\n".to_owned();
    }
    let mut text = String::new();
    for found in items(answer) {
        let (finding, kind, name) = (at(found, "/finding"), at(found, "/kind"), at(found, "/name"));
        let owner = match (at(found, "/owner").as_str(), at(found, "/team").as_str()) {
            ("-", "-") => String::new(),
            (owner, "-") => format!(" ({owner})"),
            (owner, team) if owner == team => format!(" ({team})"),
            (owner, team) => format!(" ({owner}, {team})"),
        };
        let severity = at(found, "/severity");
        text.push_str(&shown(&format!("{severity:<7} {finding:<16} {kind}/{name}{owner}: {}", at(found, "/detail"))));
        text.push_str(&format!("\n        → {}\n", shown(&at(found, "/hint"))));
    }
    if let Some(next) = answer.get("next").and_then(Value::as_str) {
        text.push_str(&format!("More: --cursor {}\n", shown(next)));
    }
    text
}

/// All narrower grants as one file.
fn narrower(answer: &Value) -> String {
    let mut text = "# Keys narrowed to what they used. Look at it, then: credentialflow apply FILE\n".to_owned();
    let mut begun = false;
    for yaml in items(answer).iter().filter_map(|found| found.pointer("/grant/yaml")?.as_str()) {
        // Each grant is a file of one key; the lists are put together under one heading.
        let body = yaml.split_once("keys:\n").map_or(yaml, |(_, body)| body);
        if !begun {
            text.push_str("keys:\n");
            begun = true;
        }
        text.push_str(body);
    }
    if begun { text } else { "# No key is over-privileged.\n".to_owned() }
}

/// All narrower policies, one after the other. One alone is a policy as it stands: what is for people is a comment.
fn narrower_policies(answer: &Value) -> String {
    let mut text = String::new();
    for found in items(answer).iter().filter(|found| found.get("policy").is_some()) {
        let (kind, name) = (at(found, "/kind"), at(found, "/name"));
        text.push_str(&format!("# {}\n", shown(&format!("{kind}/{name}: {}", at(found, "/detail")))));
        let commands = found.pointer("/policy/commands").and_then(Value::as_array);
        for command in commands.into_iter().flatten().filter_map(Value::as_str) {
            text.push_str(&format!("#   {}\n", shown(command)));
        }
        text.push_str(&at(found, "/policy/policy"));
        text.push('\n');
    }
    if let Some(next) = answer.get("next").and_then(Value::as_str) {
        text.push_str(&format!("# More: --cursor {}\n", shown(next)));
    }
    if text.is_empty() { "# No role, user or token is known to be over-privileged.\n".to_owned() } else { text }
}

fn imported(answer: &Value) -> String {
    let mut text = format!(
        "Findings of {}: {}; no value of ours: {}; blanked already: {}.\n",
        at(answer, "/tool"),
        at(answer, "/findings"),
        at(answer, "/unmatched"),
        at(answer, "/redacted")
    );
    let matches = answer.get("matches").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if matches.is_empty() {
        text.push_str("None of our values stands in it.\n");
        return text;
    }
    for found in matches {
        let works = if found.get("works").and_then(Value::as_bool).unwrap_or(false) {
            "and WORKS: rotate it"
        } else {
            "and does not work any more"
        };
        let (kind, name, version) = (at(found, "/kind"), at(found, "/name"), at(found, "/version"));
        text.push_str(&shown(&format!("{kind}/{name} version {version} stands in it {works}")));
        text.push('\n');
        for place in found.get("places").and_then(Value::as_array).into_iter().flatten() {
            let line = place.get("line").map(|line| format!(":{line}")).unwrap_or_default();
            let commit = place.get("commit").and_then(Value::as_str).map(|c| format!(" in {c}")).unwrap_or_default();
            text.push_str(&shown(&format!("  {}{line}{commit}", at(place, "/file"))));
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrower_grants_make_one_file() {
        let grant = |name: &str| {
            let yaml = format!("keys:\n  - name: {name}\n    application: a\n    allow:\n      routes: []\n");
            json!({ "grant": { "yaml": yaml } })
        };
        let text = narrower(&json!({ "items": [grant("one"), json!({}), grant("two")] }));
        let (set, _, problems) = credentialflow_model::config::read("grants.yaml", &text);
        assert!(problems.0.is_empty(), "{problems:?}\n{text}");
        assert_eq!(set.keys.iter().map(|k| k.name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
        assert!(narrower(&json!({ "items": [] })).starts_with("# No key"));
    }

    #[test]
    fn narrower_policies_stand_after_what_puts_them_into_force() {
        let found = json!({ "kind": "role", "name": "auth/approle/role/web", "detail": "of 3\nrules", "policy": {
            "name": "n", "policy": "path \"a\" {\n  capabilities = [\"read\"]\n}\n", "commands": ["bao policy write n FILE", "x"] } });
        let text = narrower_policies(&json!({ "items": [json!({}), found], "next": "c" }));
        let expected = "# role/auth/approle/role/web: of 3\u{fffd}rules\n#   bao policy write n FILE\n#   x\n\
                        path \"a\" {\n  capabilities = [\"read\"]\n}\n\n# More: --cursor c\n";
        assert_eq!(text, expected);
        assert!(narrower_policies(&json!({ "items": [] })).starts_with("# No role"));
    }

    #[test]
    fn findings_are_told_with_what_to_do() {
        let found = json!({ "finding": "stale", "severity": "medium", "kind": "key", "name": "k", "owner": "checkout",
            "team": "payments", "detail": "it was last used 91 days ago", "hint": "ask" });
        let text = findings(&json!({ "items": [found] }));
        assert_eq!(
            text,
            "medium  stale            key/k (checkout, payments): it was last used 91 days ago\n        → ask\n"
        );
    }

    #[test]
    fn matches_that_work_stand_out() {
        let matched = json!({ "kind": "key", "name": "k", "version": 1, "works": true,
            "places": [{ "file": "a.env", "line": 3, "commit": "c1" }] });
        let text = imported(
            &json!({ "tool": "gitleaks", "findings": 2, "unmatched": 1, "redacted": 0, "matches": [matched] }),
        );
        assert!(text.contains("key/k version 1 stands in it and WORKS: rotate it\n  a.env:3 in c1\n"), "{text}");
    }
}
