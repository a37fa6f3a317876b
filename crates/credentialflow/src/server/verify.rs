//! Tries a credential's new version at its upstream with one harmless request.
//!
//! The declared endpoint names its host on purpose, so that may be at a private address; a redirect is an
//! answer and not followed; the places where clouds keep their machines' own credentials are never asked.

use super::state::VerifyAt;
use credentialflow_egress::{Connector, Guard, Refused};
use credentialflow_llm::key_refused;
use credentialflow_model::{
    SecretValue, Timestamp,
    resource::{AwsSigv4Inject, Inject},
};
use credentialflow_sigv4::{AccessKey, Payload, ToSign, authorization, is_s3, payload_hash};
use credentialflow_vault::rotation::ports::VerifyOutcome;
use http::{HeaderName, HeaderValue, Request, StatusCode, Uri, header, request::Builder};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

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
    let inject = at.upstream.inject.as_ref();
    let Some(request) = request(inject, &format!("{base}{}", at.path), value, SystemTime::now().into()) else {
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
            StatusCode::UNAUTHORIZED | StatusCode::PAYMENT_REQUIRED | StatusCode::FORBIDDEN => {
                VerifyOutcome::Refused(format!("the upstream answered {}", response.status().as_u16()))
            }
            // Of a key that they do not know, many services of AWS say no more than this.
            StatusCode::BAD_REQUEST if inject.is_some_and(|inject| inject.aws_sigv4.is_some()) => {
                VerifyOutcome::Refused("the upstream answered 400".into())
            }
            // And providers of models say it in words.
            status if key_refused::may_be(status.as_u16()) => {
                let body = Limited::new(response.into_body(), key_refused::MOST).collect().await;
                match body.map(|body| body.to_bytes()) {
                    Ok(body) if key_refused::is_said(&body) => VerifyOutcome::Refused(format!(
                        "the upstream answered {} and that it does not take the value",
                        status.as_u16()
                    )),
                    Ok(_) => VerifyOutcome::Accepted,
                    Err(error) if error.is::<LengthLimitError>() => VerifyOutcome::Accepted,
                    Err(_) => VerifyOutcome::Unreachable("the upstream's answer was cut off".into()),
                }
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

/// A `GET` with a value put in as its upstream says; `None` where that is not possible.
pub(super) fn request(
    inject: Option<&Inject>,
    url: &str,
    value: &SecretValue,
    now: Timestamp,
) -> Option<Request<Empty<bytes::Bytes>>> {
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
        Some(Inject { bearer: Some(_), .. }) => {
            builder.header(header::AUTHORIZATION, secret("Bearer ", value.expose())?)
        }
        Some(Inject { aws_sigv4: Some(rule), .. }) => signed(builder, rule, url, value, now)?,
        // Never a value in a way that nobody declared.
        Some(Inject { bearer: None, header: None, query: None, basic: None, aws_sigv4: None }) => return None,
    };
    request.body(Empty::new()).ok()
}

/// Signed as requests are (Signature Version 4): of the access key its id and its session's token are sent.
fn signed(builder: Builder, rule: &AwsSigv4Inject, url: &str, value: &SecretValue, now: Timestamp) -> Option<Builder> {
    let key = AccessKey::parse(value)?;
    let uri: Uri = url.parse().ok()?;
    let (payload, time) = (Payload::Bytes(b""), credentialflow_sigv4::time(now));
    let hash = payload_hash(payload);
    let mut fields = BTreeMap::from([("host", uri.authority()?.as_str()), ("x-amz-date", time.as_str())]);
    if is_s3(&rule.service) {
        fields.insert("x-amz-content-sha256", &hash);
    }
    if let Some(token) = &key.session_token {
        fields.insert("x-amz-security-token", token.expose_str()?);
    }
    let headers: Vec<(&str, &str)> = fields.into_iter().collect();
    let signature = authorization(
        &key.id,
        &key.secret,
        &ToSign {
            method: "GET",
            path: uri.path(),
            query: uri.query().unwrap_or_default(),
            service: &rule.service,
            region: &rule.region,
            time: &time,
            headers: &headers,
            payload,
        },
    );
    let fields = headers.iter().copied().chain([("authorization", signature.as_str())]);
    fields.map(|(name, value)| Some((name, HeaderValue::from_str(value).ok()?))).try_fold(builder, |builder, field| {
        let (name, mut value) = field?;
        value.set_sensitive(matches!(name, "authorization" | "x-amz-security-token"));
        Some(builder.header(name, value))
    })
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

    #[test]
    fn an_access_key_signs_and_its_secret_is_not_sent() {
        let made = |inject: serde_json::Value, value: &str| {
            let (inject, value) = (serde_json::from_value::<Inject>(inject).unwrap(), SecretValue::from(value));
            let url = "https://bedrock.us-east-1.amazonaws.com/foundation-models?byProvider=amazon";
            request(Some(&inject), url, &value, "2015-08-30T12:36:00Z".parse().unwrap())
        };
        let rule = |service: &str| serde_json::json!({ "aws_sigv4": { "credential": "aws", "region": "us-east-1", "service": service } });
        let text = |request: &Request<_>| {
            let field = |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}\n", value.to_str().unwrap());
            request.headers().iter().map(field).collect::<String>() + &request.uri().to_string()
        };
        const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let plain = text(&made(rule("bedrock"), &format!("AKIDEXAMPLE:{SECRET}")).unwrap());
        assert!(plain.contains("authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/bedrock/"));
        assert!(plain.contains("SignedHeaders=host;x-amz-date, Signature=1340739ba1e0cc7d29dc4a34491600f420e464a28d967774e1ca1a9da28e7ea8"), "{plain}");
        assert!(plain.contains("host: bedrock.us-east-1.amazonaws.com\n"), "{plain}");
        let json = format!(r#"{{"AccessKeyId":"ASIA1","SecretAccessKey":"{SECRET}","SessionToken":"tok"}}"#);
        let session = text(&made(rule("s3"), &json).unwrap());
        assert!(session.contains("=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,"), "{session}");
        assert!(session.contains("x-amz-security-token: tok\n"), "{session}");
        for sent in [plain, session] {
            assert!(!sent.contains("wJalr") && !sent.contains("Bearer"), "{sent}");
        }
        assert!(made(rule("bedrock"), "no access key").is_none(), "what cannot sign is not sent");
        assert!(made(serde_json::json!({}), "value").is_none(), "nor is what has no way");
    }

    #[tokio::test]
    async fn a_value_that_is_not_taken_is_refused_whatever_the_status() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = Arc::new(std::sync::Mutex::new(String::new()));
        let told = answer.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 2048]).await;
                let told = told.lock().unwrap().clone();
                let _ = stream.write_all(told.as_bytes()).await;
            }
        });
        let google = serde_json::json!({"error": {"code": 400, "status": "INVALID_ARGUMENT",
            "message": "API key not valid. Please pass a valid API key.", "details": [{"reason": "API_KEY_INVALID"}]}})
        .to_string();
        let xai = r#"{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***Ju."}"#;
        let long = "x".repeat(key_refused::MOST + 1);
        let cut = MORE.to_string() + "cut";
        for (status, body, expect) in [
            (400, &*google, "refused"),
            (400, xai, "refused"),
            (402, r#"{"error":{"message":"Insufficient Balance"}}"#, "refused"),
            (401, "", "refused"),
            (400, r#"{"error":"the field `q` is missing"}"#, "accepted"),
            (400, "", "accepted"),
            (400, &long, "accepted"),
            (404, &google, "accepted"),
            (400, &cut, "unreachable"),
        ] {
            let length = if body.starts_with(MORE) { 100 } else { body.len() };
            *answer.lock().unwrap() =
                format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            let outcome = tried(&format!("http://localhost:{port}")).await;
            let is = match &outcome {
                VerifyOutcome::Accepted => "accepted",
                VerifyOutcome::Refused(_) => "refused",
                VerifyOutcome::Unreachable(_) => "unreachable",
                VerifyOutcome::NotConfigured => "not configured",
            };
            assert_eq!(is, expect, "{status}: {outcome:?}");
            assert!(!format!("{outcome:?}").contains("xa***"), "nothing that is said of the value: {outcome:?}");
        }
    }

    /// Of a body of which more was promised.
    const MORE: &str = "more: ";

    #[tokio::test]
    async fn metadata_services_are_never_asked() {
        for endpoint in ["http://169.254.169.254", "http://2852039166", "http://[::ffff:169.254.169.254]:80"] {
            let outcome = tried(endpoint).await;
            assert!(matches!(&outcome, VerifyOutcome::Refused(why) if why.contains("never asked")), "{outcome:?}");
        }
    }
}
