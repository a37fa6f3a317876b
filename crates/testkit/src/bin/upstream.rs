//! A small upstream with real rules: it answers only to the bearer tokens it is told to accept.
//!
//! An admin port sets the tokens (`PUT /tokens`, one a line; in force when it answers) and tells what
//! was seen (`GET /stats`). SIGTERM ends it gracefully: nothing new is accepted, every answer says
//! `connection: close`, and connections that stay idle are closed after a moment. Closing them at once
//! would reset requests on their way, and a POST among those may be repeated by nobody (RFC 9112, 9.3.1).
//! The query `delay=MILLISECONDS` makes an answer slow.

use clap::Parser;
use credentialflow_testkit::wire::{Message, Wire};
use serde_json::json;
use std::{
    collections::BTreeMap,
    io::Write,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// An upstream that answers only to accepted bearer tokens.
#[derive(Parser)]
struct Arguments {
    /// Where to serve; port 0 chooses one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where tokens are set and counts are told.
    #[arg(long, default_value = "127.0.0.1:0")]
    admin: SocketAddr,
    /// File with the first tokens, one a line.
    #[arg(long)]
    tokens: Option<std::path::PathBuf>,
}

#[derive(Default)]
struct State {
    tokens: Vec<String>,
    served: BTreeMap<String, u64>,
    refused: u64,
    connections: u64,
}

/// How long an idle connection may still bring a request after SIGTERM.
const MOMENT: Duration = Duration::from_millis(250);

type Shared = Arc<Mutex<State>>;

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(arguments))
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let listener = TcpListener::bind(arguments.listen).await?;
    let admin = TcpListener::bind(arguments.admin).await?;
    let state = Shared::default();
    if let Some(path) = &arguments.tokens {
        lock(&state).tokens = std::fs::read_to_string(path)?.lines().map(str::to_owned).collect();
    }
    let mut stop = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let (closing, closed) = watch::channel(false);
    let told = json!({"address": listener.local_addr()?.to_string(), "admin": admin.local_addr()?.to_string()});
    writeln!(std::io::stdout(), "{told}")?;
    tokio::spawn(administer(admin, state.clone()));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stop.recv() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve(stream, state.clone(), closed.clone()))),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
        }
    }
    // What the kernel has accepted for us is served as well.
    while let Ok(Ok((stream, _))) = tokio::time::timeout(Duration::from_millis(20), listener.accept()).await {
        connections.spawn(serve(stream, state.clone(), closed.clone()));
    }
    drop(listener);
    let _ = closing.send(true);
    while connections.join_next().await.is_some() {}
    Ok(())
}

async fn serve(stream: TcpStream, state: Shared, mut closing: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    lock(&state).connections += 1;
    let mut wire = Wire::new(stream);
    loop {
        tokio::select! {
            biased;
            read = wire.fill() => if !matches!(read, Ok(n) if n > 0) { return },
            () = until_idle(&mut closing) => return,
        }
        while !wire.pending().is_empty() {
            let Some(request) = wire.message().await else { return };
            let close = request.field("connection").is_some_and(|c| c.eq_ignore_ascii_case("close"));
            let (status, body) = answer(&request, &state).await;
            let close = close || *closing.borrow();
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{}\r\n",
                body.len(),
                if close { "connection: close\r\n" } else { "" }
            );
            if wire.send([head.as_bytes(), body.as_bytes()].concat()).await.is_err() {
                return;
            }
            if close {
                let _ = wire.finish().await;
                return;
            }
        }
    }
}

/// The end of a connection that stays idle after the server was told to end.
async fn until_idle(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|c| *c).await;
    tokio::time::sleep(MOMENT).await;
}

async fn answer(request: &Message, state: &Shared) -> (&'static str, String) {
    let token = request.field("authorization").and_then(|a| a.strip_prefix("Bearer ")).unwrap_or_default();
    let accepted = lock(state).tokens.iter().any(|t| t == token);
    let delay = request.target().split("delay=").nth(1).and_then(|d| d.split('&').next()?.parse().ok());
    if let Some(delay) = delay {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    let mut state = lock(state);
    if !accepted {
        state.refused += 1;
        return ("401 Unauthorized", json!({"error": "this token is not accepted"}).to_string());
    }
    *state.served.entry(token.to_owned()).or_default() += 1;
    ("200 OK", json!({"ok": true, "target": request.target(), "bytes": request.body.len()}).to_string())
}

async fn administer(listener: TcpListener, state: Shared) {
    while let Ok((stream, _)) = listener.accept().await {
        let mut wire = Wire::new(stream);
        while let Some(request) = wire.message().await {
            let body = {
                let mut state = lock(&state);
                if request.method() == "PUT" {
                    state.tokens = request.text().lines().map(str::to_owned).collect();
                }
                json!({"served": state.served, "refused": state.refused, "connections": state.connections}).to_string()
            };
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            if wire.send(answer).await.is_err() {
                break;
            }
        }
    }
}
