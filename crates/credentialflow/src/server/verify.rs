//! Tries a credential's new version at its upstream with one harmless request.
//!
//! The declared endpoint names its host on purpose, so that may be at a private address; a redirect is an
//! answer and not followed; the places where clouds keep their machines' own credentials are never asked.

use super::state::VerifyAt;
use credentialflow_egress::{Connector, Guard, Refused};
use credentialflow_model::{SecretValue, resource::Inject};
use credentialflow_vault::rotation::ports::VerifyOutcome;
use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::Empty;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use std::time::Duration;

/// How long the upstream may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_secs(5);

/// Asks every endpoint until one answers.
pub(super) async fn ask(at: &VerifyAt, value: &SecretValue, sandbox: Option<String>) -> VerifyOutcome {
    let mut last = VerifyOutcome::Unreachable("the upstream has no endpoint".into());
    for endpoint in &at.upstream.endpoints {
        let base = match (endpoint.strip_prefix("sandbox://"), &sandbox) {
            (None, _) => endpoint.trim_end_matches('/').to_owned(),
            (Some("models"), Some(address)) => format!("http://{address}/v1"),
            (Some(_), Some(address)) => format!("http://{address}"),
            (Some(_), None) => continue,
        };
        last = match tokio::time::timeout(LIMIT, ask_one(at, &base, value)).await {
            Ok(outcome) => outcome,
            Err(_) => VerifyOutcome::Unreachable("the upstream did not answer in time".into()),
        };
        if !matches!(last, VerifyOutcome::Unreachable(_)) {
            return last;
        }
    }
    last
}

async fn ask_one(at: &VerifyAt, base: &str, value: &SecretValue) -> VerifyOutcome {
    let Some(request) = request(at.upstream.inject.as_ref(), &format!("{base}{}", at.path), value) else {
        return VerifyOutcome::Refused("the value cannot be put into a request as its upstream says".into());
    };
    let guard = Guard::naming(request.uri().host().unwrap_or_default());
    let connector = match tls(at) {
        Ok(builder) => builder.https_or_http().enable_http1().wrap_connector(Connector::new(guard, CONNECT)),
        Err(problem) => return VerifyOutcome::Unreachable(problem),
    };
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<bytes::Bytes>>(connector);
    match client.request(request).await {
        Err(error) if let Some(refused) = Refused::within(&error) => VerifyOutcome::Refused(refused.to_string()),
        // The error's text is left out: it may name the address, which may hold the value.
        Err(_) => VerifyOutcome::Unreachable("the upstream cannot be reached".into()),
        Ok(response) => match response.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                VerifyOutcome::Refused(format!("the upstream answered {}", response.status().as_u16()))
            }
            status if status.is_server_error() => {
                VerifyOutcome::Unreachable(format!("the upstream answered {}", status.as_u16()))
            }
            _ => VerifyOutcome::Accepted,
        },
    }
}

fn tls(
    at: &VerifyAt,
) -> Result<hyper_rustls::HttpsConnectorBuilder<hyper_rustls::builderstates::WantsSchemes>, String> {
    let mut config = at.tls.as_deref().map_err(Clone::clone)?.clone();
    config.alpn_protocols.clear();
    let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(config);
    Ok(builder)
}

fn request(inject: Option<&Inject>, url: &str, value: &SecretValue) -> Option<Request<Empty<bytes::Bytes>>> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let builder = Request::get(url).header(header::USER_AGENT, "credentialflow-verify");
    let secret = |prefix: &str, text: &[u8]| {
        let mut bytes = prefix.as_bytes().to_vec();
        bytes.extend_from_slice(text);
        let mut value = HeaderValue::from_bytes(&bytes).ok()?;
        value.set_sensitive(true);
        Some(value)
    };
    let request = match inject {
        None => builder,
        Some(Inject { header: Some(h), .. }) => {
            builder.header(HeaderName::from_bytes(h.name.as_bytes()).ok()?, secret(&h.prefix, value.expose())?)
        }
        Some(Inject { basic: Some(b), .. }) => {
            let pair = [b.username.as_bytes(), b":", value.expose()].concat();
            builder.header(header::AUTHORIZATION, secret("Basic ", BASE64_STANDARD.encode(pair).as_bytes())?)
        }
        Some(Inject { query: Some(q), .. }) => {
            let separator = if url.contains('?') { '&' } else { '?' };
            let encoded: String = value.expose().iter().map(|b| format!("%{b:02X}")).collect();
            Request::get(format!("{url}{separator}{}={encoded}", q.name))
        }
        Some(_) => builder.header(header::AUTHORIZATION, secret("Bearer ", value.expose())?),
    };
    request.body(Empty::new()).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    fn at(endpoint: &str) -> VerifyAt {
        let upstream = serde_json::json!({ "name": "orders", "endpoints": [endpoint] });
        VerifyAt {
            upstream: serde_json::from_value(upstream).unwrap(),
            path: "/me".into(),
            tls: credentialflow_gateway::net::tls::client_config(None).map_err(|e| e.to_string()),
        }
    }

    async fn tried(endpoint: &str) -> VerifyOutcome {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        ask(&at(endpoint), &SecretValue::from("value"), None).await
    }

    #[tokio::test]
    async fn a_declared_endpoint_is_asked_here_and_nowhere_else() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (port, asked) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
        let counted = asked.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, SeqCst);
                let _ = stream.read(&mut [0; 2048]).await;
                let to = format!("http://127.0.0.1:{port}/other");
                let answer =
                    format!("HTTP/1.1 307 X\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        // A redirect is an answer; following it would send the value elsewhere.
        let outcome = tried(&format!("http://localhost:{port}")).await;
        assert!(matches!(outcome, VerifyOutcome::Accepted), "{outcome:?}");
        assert_eq!(asked.load(SeqCst), 1);
    }

    #[tokio::test]
    async fn metadata_services_are_never_asked() {
        for endpoint in ["http://169.254.169.254", "http://2852039166", "http://[::ffff:169.254.169.254]:80"] {
            let outcome = tried(endpoint).await;
            assert!(matches!(&outcome, VerifyOutcome::Refused(why) if why.contains("never asked")), "{outcome:?}");
        }
    }
}
