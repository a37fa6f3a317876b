//! A listener without TLS for the ACME server's questions (RFC 8555, 8.3): it answers challenges and nothing else.

use super::Acme;
use crate::server::control;
use anyhow::Context;
use axum::{Router, extract::Path, routing::get};
use credentialflow_gateway::{net::listener, ports::ChallengeSource};
use http::{StatusCode, header};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::watch};

/// Open connections at most; an ACME server asks from a handful of places.
const CONNECTIONS: usize = 128;

/// Listens until the process is told to stop.
pub(super) fn serve(acme: Arc<Acme>, address: SocketAddr, mut stopped: watch::Receiver<bool>) -> anyhow::Result<()> {
    let socket = listener::bind(address).with_context(|| format!("listening on {address}"))?;
    let listener = TcpListener::from_std(socket)?;
    tracing::info!(address = %listener.local_addr()?, "challenges of the ACME server are answered");
    let answer = move |Path(token): Path<String>| async move {
        match acme.answer(&token) {
            Some(text) => (StatusCode::OK, [(header::CONTENT_TYPE, "application/octet-stream")], text),
            None => (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "text/plain")], Vec::new()),
        }
    };
    let router = Router::new().route("/.well-known/acme-challenge/{token}", get(answer));
    let limits = control::Limits { idle: Duration::from_secs(5), ..control::Limits::new(CONNECTIONS) };
    let stop = async move { drop(stopped.wait_for(|stopped| *stopped).await) };
    tokio::spawn(control::serve(listener, None, router, limits, stop));
    Ok(())
}
