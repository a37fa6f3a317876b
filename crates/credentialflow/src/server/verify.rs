//! Tries a credential's new version at its upstream with one harmless request.

use credentialflow_model::{
    SecretValue,
    resource::{Inject, Upstream},
};
use credentialflow_vault::rotation::ports::VerifyOutcome;
use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::Empty;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use std::time::Duration;

/// How long the upstream may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Asks every endpoint until one answers.
pub(super) async fn ask(
    upstream: &Upstream,
    path: &str,
    value: &SecretValue,
    sandbox: Option<String>,
) -> VerifyOutcome {
    let mut last = VerifyOutcome::Unreachable("the upstream has no endpoint".into());
    for endpoint in &upstream.endpoints {
        let base = match (endpoint.strip_prefix("sandbox://"), &sandbox) {
            (None, _) => endpoint.trim_end_matches('/').to_owned(),
            (Some("models"), Some(address)) => format!("http://{address}/v1"),
            (Some(_), Some(address)) => format!("http://{address}"),
            (Some(_), None) => continue,
        };
        last = match tokio::time::timeout(LIMIT, ask_one(upstream, &base, path, value)).await {
            Ok(outcome) => outcome,
            Err(_) => VerifyOutcome::Unreachable("the upstream did not answer in time".into()),
        };
        if !matches!(last, VerifyOutcome::Unreachable(_)) {
            return last;
        }
    }
    last
}

async fn ask_one(upstream: &Upstream, base: &str, path: &str, value: &SecretValue) -> VerifyOutcome {
    let Some(request) = request(upstream.inject.as_ref(), &format!("{base}{path}"), value) else {
        return VerifyOutcome::Refused("the value cannot be put into a request as its upstream says".into());
    };
    let connector = match tls(upstream) {
        Ok(builder) => builder.https_or_http().enable_http1().build(),
        Err(problem) => return VerifyOutcome::Unreachable(problem),
    };
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<bytes::Bytes>>(connector);
    match client.request(request).await {
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
    upstream: &Upstream,
) -> Result<hyper_rustls::HttpsConnectorBuilder<hyper_rustls::builderstates::WantsSchemes>, String> {
    let settings = upstream.tls.clone().unwrap_or_default();
    let roots = settings.ca_file.as_deref().map(std::path::Path::new);
    let mut config = (*credentialflow_gateway::net::tls::client_config(roots).map_err(|e| e.to_string())?).clone();
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
