//! `credentialflow calls`: the call log, by filter, by id, and as it grows.

use super::{Outcome, Usage};
use crate::{
    cli::Connection,
    client::{Client, NoAnswer, escape, with_query},
    output::{Output, at, fields, items, shown, table},
};
use credentialflow_model::{Period, Timestamp};
use serde_json::Value;
use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, SystemTime},
};

/// How often a followed log is read.
const EVERY: Duration = Duration::from_millis(500);
/// A call is logged when it ends but placed where it began: so far back is looked for late ones.
const LATE: Period = Period::from_secs(120);
/// Most pages read at each look; what is beyond is caught up with later.
const PAGES: usize = 10;
/// Most calls remembered as told.
const REMEMBERED: usize = 200_000;

/// The call log
#[derive(clap::Args)]
pub struct CallsArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    filter: Filter,
    /// Go on with new calls as they come
    #[arg(long, conflicts_with_all = ["until", "cursor"])]
    follow: bool,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Show one call
    Show {
        /// The request's id
        id: String,
    },
}

#[derive(clap::Args)]
struct Filter {
    /// Not before then: a time (RFC 3339) or a duration ago, as in 15m
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Before then: a time (RFC 3339) or a duration ago
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Application, by name
    #[arg(long, value_name = "NAME")]
    application: Option<String>,
    /// Key, by id
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// Also the keys that come from it, those that are gone among them
    #[arg(long, requires = "key")]
    with_keys_below: bool,
    /// Who used a key that comes from another one
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Route, by name
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Upstream, by name
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// Injected credential, by name
    #[arg(long, value_name = "NAME")]
    credential: Option<String>,
    /// Model, by public name
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Prompt that the call was made of
    #[arg(long, value_name = "NAME")]
    prompt: Option<String>,
    /// Its version
    #[arg(long, value_name = "NUMBER", requires = "prompt")]
    prompt_version: Option<u32>,
    /// How it ended, as in delivered or key_revoked
    #[arg(long, value_name = "REASON")]
    outcome: Option<String>,
    /// Status sent to the caller, as in 404 or 5xx
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Source address
    #[arg(long, value_name = "ADDRESS")]
    source: Option<String>,
    /// How the path begins
    #[arg(long, value_name = "PATH")]
    path_prefix: Option<String>,
    /// Took at least so long, in milliseconds
    #[arg(long, value_name = "NUMBER")]
    min_duration_ms: Option<u64>,
    /// Most calls, 1 to 1000
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: Option<u32>,
    /// Where the page begins: the `next` of the page before
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

impl Filter {
    fn path(
        &self,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
        limit: Option<u32>,
        cursor: Option<&str>,
    ) -> String {
        let parameters = [
            ("since", since.map(|time| time.to_string())),
            ("until", until.map(|time| time.to_string())),
            ("application", self.application.clone()),
            ("key", self.key.clone()),
            ("with_keys_below", self.with_keys_below.then(|| "true".to_owned())),
            ("agent", self.agent.clone()),
            ("route", self.route.clone()),
            ("upstream", self.upstream.clone()),
            ("credential", self.credential.clone()),
            ("model", self.model.clone()),
            ("prompt", self.prompt.clone()),
            ("prompt_version", self.prompt_version.map(|n| n.to_string())),
            ("outcome", self.outcome.clone()),
            ("status", self.status.clone()),
            ("source", self.source.clone()),
            ("path_prefix", self.path_prefix.clone()),
            ("min_duration_ms", self.min_duration_ms.map(|n| n.to_string())),
            ("limit", limit.map(|n| n.to_string())),
            ("cursor", cursor.map(str::to_owned)),
        ];
        with_query("/api/v1/calls", &parameters)
    }
}

pub(super) async fn run(args: CallsArgs, output: Output) -> anyhow::Result<Outcome> {
    let now: Timestamp = SystemTime::now().into();
    let moment = |text: &Option<String>| text.as_deref().map(|text| ago(text, now)).transpose();
    let (since, until) = (moment(&args.filter.since)?, moment(&args.filter.until)?);
    let client = Client::new(&args.connection)?;
    if let Some(Verb::Show { id }) = args.verb {
        let answer = client.get(&format!("/api/v1/calls/{}", escape(&id))).await?;
        output.result(&answer, fields)?;
        return Ok(Outcome::Done);
    }
    if args.follow {
        return follow(&client, &args.filter, since, output).await;
    }
    let path = args.filter.path(since, until, args.filter.limit, args.filter.cursor.as_deref());
    let answer = client.get(&path).await?;
    output.result(&answer, |answer| {
        if items(answer).is_empty() {
            return "No calls match. New ones show with `credentialflow calls --follow`.\n".to_owned();
        }
        let rows: Vec<_> = items(answer).iter().map(row).collect();
        let more = answer.get("next").and_then(Value::as_str);
        let more = more.map(|next| format!("More: --cursor {}\n", shown(next))).unwrap_or_default();
        format!("{}{more}", table(&HEADINGS, &rows))
    })?;
    Ok(Outcome::Done)
}

const HEADINGS: [&str; 10] =
    ["time", "status", "outcome", "ms", "method", "path", "what", "application", "credential", "request id"];

/// What was asked for beyond the path: of an MCP server, or by a prompt.
fn what(call: &Value) -> String {
    if let Some(mcp) = call.get("mcp") {
        let name = mcp.get("name").and_then(Value::as_str).map(|name| format!(" {name}")).unwrap_or_default();
        let end = Some(at(mcp, "/end")).filter(|end| end != "result").map(|end| format!(": {end}"));
        return format!("{}{name}{}", at(mcp, "/method"), end.unwrap_or_default());
    }
    match call.pointer("/model/prompt").and_then(Value::as_str) {
        Some(prompt) => format!("{prompt} v{}", at(call, "/model/prompt_version")),
        None => at(call, "/model/model"),
    }
}

fn row(call: &Value) -> Vec<String> {
    let credential = match (call.get("credential").and_then(Value::as_str), call.get("credential_version")) {
        (Some(name), Some(version)) if version.is_u64() => format!("{name} v{version}"),
        (Some(name), _) => name.to_owned(),
        _ => "-".to_owned(),
    };
    vec![
        at(call, "/time"),
        at(call, "/status"),
        at(call, "/outcome"),
        call.get("total_us")
            .and_then(Value::as_u64)
            .map_or_else(|| "-".to_owned(), |us| format!("{}.{}", us / 1000, us / 100 % 10)),
        at(call, "/method"),
        at(call, "/path"),
        what(call),
        at(call, "/application"),
        credential,
        at(call, "/request_id"),
    ]
}

/// Prints calls as they come, oldest first, until interrupted.
async fn follow(client: &Client, filter: &Filter, since: Option<Timestamp>, output: Output) -> anyhow::Result<Outcome> {
    let begin = since.unwrap_or_else(|| SystemTime::now().into());
    let mut told = Told::default();
    output.progress("Following the call log; Ctrl-C ends it.");
    loop {
        let now: Timestamp = SystemTime::now().into();
        let back = i64::try_from(LATE.as_millis()).unwrap_or(0) * 1000;
        let from = begin.max(Timestamp::from_micros(now.micros() - back));
        let mut fresh = Vec::new();
        let mut cursor = None;
        for _ in 0..PAGES {
            let answer = match client.get(&filter.path(Some(from), None, Some(1000), cursor.as_deref())).await {
                Ok(answer) => answer,
                // A server that restarts is waited for.
                Err(error) if error.is::<NoAnswer>() => break,
                Err(error) => return Err(error),
            };
            let new: Vec<_> =
                items(&answer).iter().filter(|call| !told.has(&at(call, "/request_id"))).cloned().collect();
            let caught_up = new.len() < items(&answer).len();
            fresh.extend(new);
            cursor = answer.get("next").and_then(Value::as_str).map(str::to_owned);
            if cursor.is_none() || (caught_up && from > begin) {
                break;
            }
        }
        for call in fresh.iter().rev() {
            told.add(at(call, "/request_id"));
            output.line(call, |call| {
                format!("{}\n", row(call).iter().map(|cell| shown(cell)).collect::<Vec<_>>().join("  "))
            })?;
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Outcome::Done),
        }
    }
}

/// The calls told already; the oldest are forgotten first.
#[derive(Default)]
struct Told {
    ids: HashSet<String>,
    order: VecDeque<String>,
}

impl Told {
    fn has(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    fn add(&mut self, id: String) {
        if self.ids.insert(id.clone()) {
            self.order.push_back(id);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

/// A moment that is given as a time or as a duration ago.
pub(super) fn ago(text: &str, now: Timestamp) -> Result<Timestamp, Usage> {
    text.parse().or_else(|_| {
        let period: Period = text.parse().map_err(|_| {
            Usage(format!("{text} is neither a time such as 2027-01-01T00:00:00Z nor a duration ago such as 15m"))
        })?;
        let back = i64::try_from(period.as_duration().as_micros()).unwrap_or(i64::MAX);
        Ok(Timestamp::from_micros(now.micros().saturating_sub(back)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_absolute_or_ago() {
        let now = Timestamp::from_secs(10_000);
        assert_eq!(ago("15m", now).unwrap().secs(), 9100);
        assert_eq!(ago("1970-01-01T00:00:05Z", now).unwrap().secs(), 5);
        assert!(ago("yesterday", now).is_err());
    }

    #[test]
    fn a_call_tells_what_was_asked_for() {
        use serde_json::json;
        let mcp = |end: &str| json!({ "mcp": { "method": "tools/call", "name": "search", "end": end } });
        assert_eq!(what(&mcp("result")), "tools/call search");
        assert_eq!(what(&mcp("error -32602")), "tools/call search: error -32602");
        assert_eq!(what(&json!({ "mcp": { "method": "ping", "end": "result" } })), "ping");
        let model = json!({ "model": { "model": "m", "prompt": "sentiment", "prompt_version": 3 } });
        assert_eq!(what(&model), "sentiment v3");
        assert_eq!(what(&json!({ "model": { "model": "m" } })), "m");
        assert_eq!(what(&json!({ "model": null })), "-");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut told = Told::default();
        for n in 0..=REMEMBERED {
            told.add(n.to_string());
        }
        assert!(!told.has("0") && told.has("1") && told.ids.len() == REMEMBERED);
    }
}
