//! Signed webhooks: <https://www.standardwebhooks.com>, symmetric signatures.
//!
//! `webhook-id` names the message and stays the same when it is sent again; `webhook-timestamp` is when
//! it is sent, in seconds since 1970; `webhook-signature` is `v1,` and the base64 of HMAC-SHA-256 over
//! `{id}.{timestamp}.{body}`. A secret that begins with `whsec_` is base64 behind that, any other is used
//! as it is. Redirects are not followed.

use crate::SendError;
use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use credentialflow_egress::{Connector, Guard, PrivateHosts, Refused};
use credentialflow_model::{SecretValue, Timestamp};
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use rustls::RootCertStore;
use std::{net::IpAddr, sync::Arc, time::Duration};
use zeroize::Zeroizing;

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Largest answer read, in bytes.
const LARGEST: usize = 1 << 20;

/// A message to send.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// Names the message; the same each time it is sent.
    pub id: &'a str,
    /// When it is sent.
    pub time: Timestamp,
    /// JSON.
    pub body: &'a str,
    /// What signs it.
    pub secret: &'a SecretValue,
}

/// The value of `webhook-signature`.
pub fn signature(message: &Signed<'_>) -> Result<String, SendError> {
    let secret = message.secret.expose();
    let key = match secret.strip_prefix(b"whsec_") {
        Some(encoded) => Zeroizing::new(
            BASE64_STANDARD
                .decode(encoded)
                .map_err(|_| SendError::Unusable("the secret is not base64 behind whsec_".to_owned()))?,
        ),
        None => Zeroizing::new(secret.to_vec()),
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let signed = format!("{}.{}.{}", message.id, message.time.secs(), message.body);
    Ok(format!("v1,{}", BASE64_STANDARD.encode(hmac::sign(&key, signed.as_bytes()))))
}

/// Sends webhooks.
#[derive(Clone, Debug, Default)]
pub struct Webhooks {
    private: PrivateHosts,
}

impl Webhooks {
    /// Private addresses only for these hosts, and for a host that is written as an address of this machine.
    pub fn new(private: PrivateHosts) -> Self {
        Self { private }
    }

    /// One try. Answers the status and the body of an answer with 200 to 299.
    pub async fn post(&self, url: &str, message: &Signed<'_>) -> Result<(StatusCode, Zeroizing<Vec<u8>>), SendError> {
        let unusable = |words: &str| SendError::Unusable(words.to_owned());
        let uri: Uri = url.parse().map_err(|_| unusable("the address of the webhook is none"))?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if uri.scheme_str() != Some("https") && !(here && uri.scheme_str() == Some("http")) {
            return Err(unusable("a webhook is sent by https only, except on this machine"));
        }
        let private = if here { self.private.clone().and(&host) } else { self.private.clone() };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls()?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(Connector::new(Guard::new(private), Duration::from_secs(5)));
        let client = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(connector);
        let request = Request::post(uri)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, "credentialflow")
            .header("webhook-id", message.id)
            .header("webhook-timestamp", message.time.secs())
            .header("webhook-signature", signature(message)?)
            .body(Full::new(Bytes::copy_from_slice(message.body.as_bytes())))
            .map_err(|_| unusable("the webhook cannot be written"))?;
        let failed = |words: String| SendError::NotTaken(words);
        let exchange = async {
            let answer = client.request(request).await.map_err(|error| match Refused::within(&error) {
                Some(refused) => SendError::Unusable(refused.to_string()),
                None => failed("the webhook cannot be reached".to_owned()),
            })?;
            let status = answer.status();
            if !status.is_success() {
                return Err(failed(format!("the webhook answered {}", status.as_u16())));
            }
            let body = Limited::new(answer.into_body(), LARGEST).collect().await;
            let body = body.map_err(|_| failed("the webhook's answer broke off or is too large".to_owned()))?;
            Ok((status, Zeroizing::new(body.to_bytes().to_vec())))
        };
        let late = || failed("the webhook did not answer within 15 seconds".to_owned());
        tokio::time::timeout(TIMEOUT, exchange).await.unwrap_or_else(|_| Err(late()))
    }
}

fn tls() -> Result<rustls::ClientConfig, SendError> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| SendError::Unusable("TLS has no usable version".to_owned()))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    #[test]
    fn the_signature_of_the_specification() {
        // The example of the specification's own libraries.
        let secret = SecretValue::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let message = Signed {
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
            time: Timestamp::from_secs(1_614_265_330),
            body: r#"{"test": 2432232314}"#,
            secret: &secret,
        };
        assert_eq!(signature(&message).unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let plain = SecretValue::from("whsec_not base64");
        assert!(matches!(signature(&Signed { secret: &plain, ..message }), Err(SendError::Unusable(_))));
    }

    async fn answered(status: &'static str) -> (Result<StatusCode, SendError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = String::new();
            while !seen.ends_with("{\"a\":1}") {
                let mut piece = [0; 4096];
                let n = stream.read(&mut piece).await.unwrap();
                seen.push_str(std::str::from_utf8(&piece[..n]).unwrap());
            }
            let answer = format!("HTTP/1.1 {status}\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 2\r\n\r\nok");
            stream.write_all(answer.as_bytes()).await.unwrap();
            seen
        });
        let secret = SecretValue::from("a secret");
        let message = Signed { id: "m1", time: Timestamp::from_secs(7), body: "{\"a\":1}", secret: &secret };
        let sent = Webhooks::default().post(&url, &message).await.map(|(status, _)| status);
        (sent, server.await.unwrap())
    }

    #[tokio::test]
    async fn what_is_sent_carries_its_name_its_time_and_its_signature() {
        let (sent, seen) = answered("202 Accepted").await;
        assert_eq!(sent.unwrap(), 202);
        let seen = seen.to_lowercase();
        for header in ["webhook-id: m1\r\n", "webhook-timestamp: 7\r\n", "webhook-signature: v1,"] {
            assert!(seen.contains(header), "{seen}");
        }
        assert!(!seen.contains("a secret"));
        for status in ["500 Oops", "404 Gone", "302 Found"] {
            assert!(matches!(answered(status).await.0, Err(SendError::NotTaken(_))), "{status}");
        }
    }

    #[tokio::test]
    async fn what_may_not_be_asked_is_not() {
        let secret = SecretValue::from("s");
        let message = Signed { id: "m", time: Timestamp::from_secs(7), body: "{}", secret: &secret };
        for url in ["http://example.com/", "https://169.254.169.254/", "https://10.0.0.1/", "ftp://localhost/", "x"] {
            let sent = Webhooks::default().post(url, &message).await;
            assert!(matches!(sent, Err(SendError::Unusable(_))), "{url}: {sent:?}");
        }
    }
}
