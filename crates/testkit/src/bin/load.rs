//! Steady open-loop HTTP/1.1 load over kept connections, every failed request told with its reason.
//!
//! Requests fall due at a fixed rate whether or not earlier ones were answered, and latency counts
//! from the moment a request was due, so that a pause of the server is not hidden by a client that
//! waits (coordinated omission). What a request itself asks its upstream to wait (`?delay=MILLISECONDS`,
//! as `upstream` understands it) is taken off: what remains is everybody else's doing. Refusals are
//! measured apart. Nothing is ever retried. The report is one JSON object on standard output; SIGTERM
//! ends the load early and the report is written all the same.

use clap::Parser;
use credentialflow_testkit::{upstream::connect, wire::Wire};
use serde_json::{Value, json};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::Write,
    net::SocketAddr,
    path::PathBuf,
    rc::Rc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
};

/// Steady open-loop HTTP/1.1 load; prints one JSON report.
#[derive(Parser)]
struct Arguments {
    /// Where to connect.
    #[arg(long)]
    target: SocketAddr,
    /// Requests per second.
    #[arg(long, default_value_t = 2000.0)]
    rate: f64,
    /// How long.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Requests on one connection before the client replaces it; 0: as many as the server lets.
    #[arg(long, default_value_t = 0)]
    per_connection: u64,
    /// File with one key a line, presented in turn as bearer tokens.
    #[arg(long)]
    keys: Option<PathBuf>,
    /// `METHOD PATH [BODY BYTES]`; several are sent in turn.
    #[arg(long = "request", default_value = "GET /")]
    requests: Vec<String>,
    /// A request without its whole answer after so many milliseconds has failed.
    #[arg(long, default_value_t = 10_000)]
    timeout: u64,
    /// At most so many failures are listed one by one; all are counted.
    #[arg(long, default_value_t = 2000)]
    listed: usize,
}

struct Template {
    line: String,
    body: usize,
    /// What it asks its upstream to wait.
    delay: Duration,
}

/// A request that is due.
struct Job {
    number: u64,
    due: Instant,
}

#[derive(Default, Clone)]
struct KeyCount {
    ok: u64,
    failed: u64,
    last_ok_sent_us: u64,
    first_failed_sent_us: u64,
}

#[derive(Default)]
struct Tally {
    sent: u64,
    ok: u64,
    failed: u64,
    connects: u64,
    closed_while_idle: u64,
    latencies_us: Vec<u32>,
    refusals_us: Vec<u32>,
    reasons: BTreeMap<String, u64>,
    keys: Vec<KeyCount>,
    failures: Vec<Value>,
}

struct Run {
    arguments: Arguments,
    templates: Vec<Template>,
    keys: Vec<String>,
    queue: Mutex<mpsc::UnboundedReceiver<Job>>,
    tally: RefCell<Tally>,
}

/// What became of a request: its status, or why there is none, and whether the connection lives on.
enum Answer {
    Ok { again: bool },
    Status { status: u16, code: String, again: bool },
    Failed(&'static str),
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let keys = match &arguments.keys {
        Some(path) => std::fs::read_to_string(path)?.lines().map(str::to_owned).collect(),
        None => vec![],
    };
    let templates = arguments.requests.iter().map(|text| template(text)).collect::<anyhow::Result<_>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = tokio::task::LocalSet::new().block_on(&runtime, run(arguments, templates, keys))?;
    writeln!(std::io::stdout(), "{report}")?;
    Ok(())
}

fn template(text: &str) -> anyhow::Result<Template> {
    let mut words = text.split_whitespace();
    let (method, path) = (words.next(), words.next());
    let (Some(method), Some(path)) = (method, path) else { anyhow::bail!("a request is METHOD PATH [BYTES]: {text}") };
    let body = words.next().map(str::parse).transpose()?.unwrap_or(0);
    let delay = path.split("delay=").nth(1).and_then(|d| d.split('&').next()?.parse().ok()).unwrap_or(0);
    Ok(Template { line: format!("{method} {path} HTTP/1.1"), body, delay: Duration::from_millis(delay) })
}

async fn run(arguments: Arguments, templates: Vec<Template>, keys: Vec<String>) -> anyhow::Result<Value> {
    let (due, queue) = mpsc::unbounded_channel();
    let tally = Tally { keys: vec![KeyCount::default(); keys.len()], ..Tally::default() };
    let connections = arguments.connections;
    let (rate, seconds) = (arguments.rate, arguments.seconds);
    let run = Rc::new(Run { arguments, templates, keys, queue: Mutex::new(queue), tally: RefCell::new(tally) });
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        workers.spawn_local(connection(run.clone()));
    }
    let mut stop = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let began = Instant::now();
    let begun_us = unix_us();
    tokio::select! {
        () = schedule(&due, began, rate, seconds) => {}
        _ = stop.recv() => {}
    }
    let lasted = began.elapsed();
    // The workers end when the queue is empty.
    drop(due);
    while workers.join_next().await.is_some() {}
    let tally = run.tally.borrow();
    Ok(report(&tally, begun_us, lasted))
}

async fn schedule(due: &mpsc::UnboundedSender<Job>, began: Instant, rate: f64, seconds: f64) {
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    let total = (rate * seconds) as u64;
    let mut number = 0;
    while number < total {
        tick.tick().await;
        let until = ((began.elapsed().as_secs_f64() * rate) as u64).min(total);
        while number < until {
            let at = began + Duration::from_secs_f64(number as f64 / rate);
            let _ = due.send(Job { number, due: at });
            number += 1;
        }
    }
}

/// One client: takes what is due and sends it over a connection that is kept as long as it lives.
async fn connection(run: Rc<Run>) {
    let mut kept: Option<(Wire, u64)> = None;
    loop {
        let job = match &mut kept {
            None => next(&run).await,
            Some((wire, _)) => tokio::select! {
                biased;
                // Bytes nobody asked for or, as is right, the end: a good client notices before it sends.
                _ = wire.fill() => {
                    run.tally.borrow_mut().closed_while_idle += 1;
                    kept = None;
                    continue;
                }
                job = next(&run) => job,
            },
        };
        let Some(job) = job else { return };
        let sent_us = unix_us();
        let limit = Duration::from_millis(run.arguments.timeout);
        let answer = tokio::time::timeout(limit, serve(&run, &job, &mut kept)).await;
        let answer = answer.unwrap_or(Answer::Failed("timeout"));
        let used = kept.as_ref().map_or(0, |(_, used)| *used);
        let again = matches!(answer, Answer::Ok { again: true } | Answer::Status { again: true, .. });
        if !again || (run.arguments.per_connection > 0 && used >= run.arguments.per_connection) {
            kept = None;
        }
        run.tally.borrow_mut().take(&run, &job, sent_us, answer);
    }
}

async fn next(run: &Run) -> Option<Job> {
    run.queue.lock().await.recv().await
}

async fn serve(run: &Run, job: &Job, kept: &mut Option<(Wire, u64)>) -> Answer {
    let (wire, used) = match kept {
        Some(connection) => connection,
        None => match connect(run.arguments.target).await {
            Ok(wire) => {
                run.tally.borrow_mut().connects += 1;
                kept.insert((wire, 0))
            }
            Err(_) => return Answer::Failed("no connection"),
        },
    };
    let fresh = *used == 0;
    *used += 1;
    if wire.send(run.request(job)).await.is_err() {
        return Answer::Failed("reset while sending");
    }
    let Some(answer) = wire.message().await else {
        return Answer::Failed(match (wire.pending().is_empty(), fresh) {
            (false, _) => "cut inside the head of the answer",
            (true, true) => "closed without an answer (new connection)",
            (true, false) => "closed without an answer (kept connection)",
        });
    };
    if !answer.complete {
        return Answer::Failed("cut inside the body of the answer");
    }
    let again = !answer.field("connection").is_some_and(|c| c.eq_ignore_ascii_case("close"));
    match answer.status() {
        200..=299 => Answer::Ok { again },
        0 => Answer::Failed("not HTTP"),
        status => {
            let told: Option<Value> = serde_json::from_slice(&answer.body).ok();
            let code = told.as_ref().and_then(|t| t.get("code")).and_then(Value::as_str).unwrap_or("-").to_owned();
            Answer::Status { status, code, again }
        }
    }
}

impl Run {
    fn template(&self, job: &Job) -> &Template {
        &self.templates[job.number as usize % self.templates.len()]
    }

    /// Keys change with each round of the templates, so that every key sends every request.
    fn key(&self, job: &Job) -> Option<usize> {
        let round = job.number / self.templates.len() as u64;
        (!self.keys.is_empty()).then(|| (round as usize + job.number as usize) % self.keys.len())
    }

    fn request(&self, job: &Job) -> Vec<u8> {
        let template = self.template(job);
        let mut text = format!("{}\r\nhost: {}\r\n", template.line, self.arguments.target);
        if let Some(key) = self.key(job) {
            text.push_str(&format!("authorization: Bearer {}\r\n", self.keys[key]));
        }
        if template.body > 0 {
            text.push_str(&format!("content-length: {}\r\n", template.body));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.resize(bytes.len() + template.body, b'x');
        bytes
    }
}

impl Tally {
    fn take(&mut self, run: &Run, job: &Job, sent_us: u64, answer: Answer) {
        self.sent += 1;
        let key = run.key(job);
        let mut unkeyed = KeyCount::default();
        let count = key.and_then(|k| self.keys.get_mut(k)).unwrap_or(&mut unkeyed);
        let micros = |took: Duration| u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        let (reason, status) = match answer {
            Answer::Ok { .. } => {
                self.ok += 1;
                count.ok += 1;
                count.last_ok_sent_us = count.last_ok_sent_us.max(sent_us);
                self.latencies_us.push(micros(job.due.elapsed().saturating_sub(run.template(job).delay)));
                return;
            }
            Answer::Status { status, code, .. } => {
                // Who is refused at the door was never made to wait.
                self.refusals_us.push(micros(job.due.elapsed()));
                (format!("status {status} {code}"), status)
            }
            Answer::Failed(why) => (why.to_owned(), 0),
        };
        self.failed += 1;
        count.failed += 1;
        if count.first_failed_sent_us == 0 || sent_us < count.first_failed_sent_us {
            count.first_failed_sent_us = sent_us;
        }
        if self.failures.len() < run.arguments.listed {
            let line = &run.template(job).line;
            self.failures.push(
                json!({"sent_us": sent_us, "key": key, "request": line, "reason": reason, "status": status, "ended_us": unix_us()}),
            );
        }
        *self.reasons.entry(reason).or_default() += 1;
    }
}

fn report(tally: &Tally, begun_us: u64, lasted: Duration) -> Value {
    let keys: Vec<Value> = tally.keys.iter().map(|k| {
        json!({"ok": k.ok, "failed": k.failed, "last_ok_sent_us": k.last_ok_sent_us, "first_failed_sent_us": k.first_failed_sent_us})
    }).collect();
    json!({
        "begun_us": begun_us,
        "seconds": lasted.as_secs_f64(),
        "sent": tally.sent,
        "ok": tally.ok,
        "failed": tally.failed,
        "rate": tally.sent as f64 / lasted.as_secs_f64(),
        "connects": tally.connects,
        "closed_while_idle": tally.closed_while_idle,
        "latency_ms": quantiles(&tally.latencies_us),
        "refused_ms": quantiles(&tally.refusals_us),
        "reasons": tally.reasons,
        "keys": keys,
        "failures": tally.failures,
    })
}

/// Of times in microseconds, in milliseconds; all 0 where there is none.
fn quantiles(times_us: &[u32]) -> Value {
    let mut sorted = times_us.to_vec();
    sorted.sort_unstable();
    let at = |share: f64| {
        let place = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
        f64::from(sorted.get(place).copied().unwrap_or(0)) / 1000.0
    };
    json!({"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999), "max": at(1.0)})
}

fn unix_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64)
}
