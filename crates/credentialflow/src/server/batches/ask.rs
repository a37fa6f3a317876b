//! Asks providers for batches and for what came of them, outside of any request.
//!
//! The same place is asked that calls go to, with the same value: a credential that is in force. A redirect is an answer
//! and not followed.

use crate::server::{state::Reach, verify};
use bytes::Bytes;
use credentialflow_egress::{Connector, Guard};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use std::time::{Duration, SystemTime};

/// How long a connection may take to stand, and an answer to begin.
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(60);
/// How long the next piece of an answer may take.
const PIECE: Duration = Duration::from_secs(60);
/// What is told of a batch is no longer.
pub(super) const MOST: usize = 4 << 20;

/// Why a provider told nothing.
#[derive(Debug)]
pub(super) enum Untold {
    /// It says that there is no such thing.
    Gone,
    /// It could not be asked, or did not answer as it should; never holds a secret.
    Trouble(String),
}

/// What a provider answers a `GET`. Where it has several endpoints, there is no such thing when none of them knows it.
pub(super) async fn get(reach: &Reach, path: &str, sandbox: Option<String>) -> Result<Response<Incoming>, Untold> {
    let mut last = None;
    for endpoint in &reach.upstream.endpoints {
        let base = match (endpoint.strip_prefix("sandbox://"), &sandbox) {
            (None, _) => endpoint.trim_end_matches('/').to_owned(),
            (Some(_), Some(address)) => format!("http://{address}/v1"),
            (Some(_), None) => continue,
        };
        match tokio::time::timeout(ANSWER, get_at(reach, &format!("{base}{path}"))).await {
            Ok(Ok(told)) => return Ok(told),
            Ok(Err(Untold::Gone)) => last = last.or(Some(Untold::Gone)),
            Ok(Err(trouble)) => last = Some(trouble),
            Err(_) => last = Some(Untold::Trouble("it did not answer in time".into())),
        }
    }
    Err(last.unwrap_or_else(|| Untold::Trouble("its upstream has no endpoint".into())))
}

async fn get_at(reach: &Reach, url: &str) -> Result<Response<Incoming>, Untold> {
    let trouble = |why: &str| Untold::Trouble(why.to_owned());
    let now = SystemTime::now().into();
    let mut request = verify::request(Some(&reach.inject), url, &reach.value, now)
        .ok_or_else(|| trouble("the value cannot be put into a request as its upstream says"))?;
    request.headers_mut().insert(http::header::USER_AGENT, HeaderValue::from_static("credentialflow"));
    if reach.speaks_messages {
        let version = HeaderValue::from_static(credentialflow_llm::anthropic::VERSION);
        request.headers_mut().insert(credentialflow_llm::anthropic::VERSION_HEADER, version);
    }
    let guard = Guard::naming(request.uri().host().unwrap_or_default());
    let mut tls = reach.tls.as_deref().map_err(|why| trouble(why))?.clone();
    tls.alpn_protocols.clear();
    let https = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
    let client = Client::builder(TokioExecutor::new())
        .build::<_, Empty<Bytes>>(https.wrap_connector(Connector::new(guard, CONNECT)));
    // The error's text is left out: it may name the address, which may hold the value.
    let answer = client.request(request).await.map_err(|_| trouble("it cannot be reached"))?;
    match answer.status() {
        StatusCode::OK => Ok(answer),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(Untold::Gone),
        status => Err(Untold::Trouble(format!("it answered {}", status.as_u16()))),
    }
}

/// Reads an answer that is short. It is kept and told to callers: should it repeat the value that it was asked with, that
/// stands in it no more.
pub(super) async fn whole(reach: &Reach, answer: Response<Incoming>) -> Result<Vec<u8>, Untold> {
    whole_up_to(MOST, reach, answer).await
}

/// The same, of so many bytes at the most.
pub(super) async fn whole_up_to(most: usize, reach: &Reach, mut answer: Response<Incoming>) -> Result<Vec<u8>, Untold> {
    let mut body = Vec::new();
    while let Some(piece) = piece(&mut answer).await? {
        body.extend_from_slice(&piece);
        if body.len() > most {
            return Err(Untold::Trouble("its answer is too long".into()));
        }
    }
    Ok(credentialflow_gateway::without_secret(&reach.value, body))
}

/// The next bytes of an answer; `None` at its end.
pub(super) async fn piece(answer: &mut Response<Incoming>) -> Result<Option<Bytes>, Untold> {
    let trouble = |why: &str| Untold::Trouble(why.to_owned());
    loop {
        let next = tokio::time::timeout(PIECE, answer.body_mut().frame());
        match next.await.map_err(|_| trouble("it stopped sending"))? {
            None => return Ok(None),
            Some(Err(_)) => return Err(trouble("its answer is incomplete")),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}
