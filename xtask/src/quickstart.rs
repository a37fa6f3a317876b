//! `cargo xtask quickstart`: from a fresh clone to the first call, with nothing outside this machine.

use crate::{
    guard::Guarded,
    http, need,
    product::{self, Installation},
    repo, say, web,
};
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::{fs, net::SocketAddr, path::PathBuf, process, thread, time::Duration};

/// Flags.
#[derive(clap::Args)]
pub struct Args {
    /// Print one JSON object instead of text.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Leave the server running and return.
    #[arg(long)]
    detach: bool,
    /// Keep everything in this folder, which must be empty or absent [default: a fresh one in the system's temporary folder].
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Port of the gateway [default: 8080, or a free one].
    #[arg(long)]
    gateway_port: Option<u16>,
    /// Port of the console and the admin API [default: 8081, or a free one].
    #[arg(long)]
    control_port: Option<u16>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

const PROFILE: &str = "quick";
const APPLICATION: &str = "quickstart";
const CONFIGURATION: &str = "examples/quickstart.yaml";
const REST: &str = "/sandbox/items";
const CHAT: &str = "/v1/chat/completions";
const QUESTION: &str = r#"{"model":"sandbox-chat","stream":true,"messages":[{"role":"user","content":"Hello!"}]}"#;

/// Builds, starts, calls and tells.
pub fn run(args: &Args) -> Result<()> {
    let mut steps = say::Steps::new(8);
    steps.next("checking what is installed");
    need::node()?;
    need::all(&[need::COMPILER])?;

    steps.next("building the web console");
    if !web::build(false)? {
        say::note("           it is newer than its sources");
    }
    steps.next("building the server (a first build takes some minutes)");
    product::build(PROFILE)?;

    steps.next("preparing a data directory");
    let data_dir = match &args.data_dir {
        Some(dir) => given_dir(dir)?,
        None => repo::fresh_dir("quickstart")?,
    };
    let gateway = address(args.gateway_port, 8080, "gateway")?;
    let control = address(args.control_port, 8081, "control")?;
    let installation = Installation::init(PROFILE, &data_dir, gateway, control)?;

    steps.next("starting the server");
    let server = installation.start()?;

    steps.next(&format!("applying {CONFIGURATION}: a sandbox API, a sandbox model, one application, one key"));
    installation.apply(&repo::root().join(CONFIGURATION))?;
    let key = installation.create_key("quickstart", APPLICATION)?;

    steps.next("one REST call and one streamed chat completion through the gateway");
    let rest = http::send(gateway, REST, Some(&key), None)?.success("the REST call")?.text();
    say::note(&format!("           GET {REST}: {}", shorten(&rest)));
    let answer = http::send(gateway, CHAT, Some(&key), Some(QUESTION))?.success("the chat completion")?.text();
    let (words, events) = streamed(&answer)?;
    say::note(&format!("           POST {CHAT}: {} ({events} events)", shorten(&words)));

    steps.next("looking both up in the call log");
    for line in recorded(&installation)? {
        say::note(&format!("           {line}"));
    }
    say::note(&format!("Ready after {}.", say::seconds(steps.elapsed())));

    match args.output {
        Output::Text => tell(&installation, &key, args.detach.then(|| server.id())),
        Output::Json => say::result(
            &json!({
                "gateway_url": format!("http://{gateway}"),
                "control_url": format!("http://{control}"),
                "api_key": key,
                "admin_token": installation.admin_token,
                "data_dir": data_dir,
                "pid": server.id(),
            })
            .to_string(),
        ),
    }
    if args.detach {
        server.leave();
        return Ok(());
    }
    stay(server, &installation)
}

/// Stays until the server ends or we are interrupted; then the guard ends the server.
fn stay(mut server: Guarded, installation: &Installation) -> Result<()> {
    loop {
        if let Some(status) = server.ended()? {
            bail!("the server ended ({status}); its log is {}", installation.log().display());
        }
        thread::sleep(Duration::from_millis(200));
    }
}

fn given_dir(dir: &PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    if fs::read_dir(dir)?.next().is_some() {
        bail!(
            "{} is not empty; name another folder, or start what is in it with `credentialflow server`",
            dir.display()
        );
    }
    Ok(fs::canonicalize(dir)?)
}

fn address(given: Option<u16>, default: u16, listener: &str) -> Result<SocketAddr> {
    let wanted = given.unwrap_or(default);
    let found = product::port(wanted)?;
    if found.port() != wanted && wanted != 0 {
        if given.is_some() {
            bail!("port {wanted} is taken; name another one for the {listener} listener");
        }
        say::note(&format!("           port {wanted} is taken; the {listener} listener uses {}", found.port()));
    }
    Ok(found)
}

/// The words of a streamed chat completion, and its number of events.
fn streamed(answer: &str) -> Result<(String, usize)> {
    let events: Vec<&str> = answer.lines().filter_map(|l| l.strip_prefix("data:")).map(str::trim).collect();
    if events.last() != Some(&"[DONE]") {
        bail!("the streamed answer is incomplete");
    }
    let word = |e: &&str| {
        let event: Value = serde_json::from_str(e).ok()?;
        event["choices"][0]["delta"]["content"].as_str().map(str::to_owned)
    };
    Ok((events.iter().filter_map(word).collect(), events.len()))
}

/// Both calls as the call log tells them. It is written in batches, so they may take a moment to show.
fn recorded(installation: &Installation) -> Result<Vec<String>> {
    for _ in 0..50 {
        let page = installation.api("/api/v1/calls?limit=10")?;
        if let Some(items) = page["items"].as_array().filter(|items| items.len() >= 2) {
            return Ok(items.iter().rev().map(line).collect());
        }
        thread::sleep(Duration::from_millis(100));
    }
    bail!("the calls do not show in the call log")
}

/// One call as a line: what was called, how it ended, with which credential behind the gateway.
fn line(call: &Value) -> String {
    let text = |field: &str| call[field].as_str().unwrap_or("-").to_owned();
    let mut line = format!(
        "{} {} {} {} in {:.1} ms, application {}, injected {} version {}",
        text("method"),
        text("path"),
        call["status"],
        text("outcome"),
        call["total_us"].as_f64().unwrap_or_default() / 1000.0,
        text("application"),
        text("credential"),
        call["credential_version"],
    );
    if let Some(tokens) = call["model"]["tokens"].as_object() {
        let sum: u64 = ["input", "output"].iter().filter_map(|t| tokens.get(*t)?.as_u64()).sum();
        line.push_str(&format!(", {sum} tokens, $ {}", call["model"]["cost_usd"].as_str().unwrap_or("unknown")));
    }
    line
}

fn shorten(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= 110 { line } else { line.chars().take(109).chain(['…']).collect() }
}

fn tell(installation: &Installation, key: &str, left: Option<u32>) {
    let (gateway, control) = (installation.gateway, installation.control);
    let data = installation.data_dir.display();
    let binary = installation.binary_shown();
    say::result(&format!(
        "
Gateway   http://{gateway}
Console   http://{control}   sign in with the administrator's token
Token     {token}
Key       {key}   (shown once)
Data      {data}   (server.log and the call log are in it)

Call the REST API behind the gateway:
  curl http://{gateway}{REST} -H 'authorization: Bearer {key}'

Call the model, streamed:
  curl -N http://{gateway}{CHAT} -H 'authorization: Bearer {key}' -H 'content-type: application/json' \\
    -d '{QUESTION}'

Use the command line:
  export CREDENTIALFLOW_SERVER=http://{control} CREDENTIALFLOW_TOKEN={token}
  {binary} key --help
",
        token = installation.admin_token,
    ));
    match left {
        Some(id) => say::result(&format!("The server goes on as process {id}; end it with: kill {id}")),
        None => say::result(&format!("Ctrl-C ends the server. ({})", process::id())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_words_of_a_stream() {
        let event = |text: &str| format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
        let whole = format!("{}{}data: [DONE]\n\n", event("Hel"), event("lo"));
        assert_eq!(streamed(&whole).unwrap(), ("Hello".to_owned(), 3));
        assert!(streamed(&event("Hel")).is_err(), "a stream without its end is no success");
    }

    #[test]
    fn long_answers_are_cut_between_characters() {
        assert_eq!(shorten("a\n  b"), "a b");
        assert_eq!(shorten(&"é".repeat(200)).chars().count(), 110);
    }
}
