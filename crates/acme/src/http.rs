//! The connection to an ACME server: where the guard lets it, answers bounded in time and size, no redirect followed.

use crate::{BadRule, Rule};
use bytes::Bytes;
use credentialflow_egress::{Connector, Guard, Refused};
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Largest answer taken, in bytes.
const LARGEST: usize = 1 << 20;

/// A client for one ACME server.
#[derive(Clone)]
pub struct Http {
    client: Client<HttpsConnector<Connector>, BodyWrapper<Bytes>>,
    guard: Guard,
    plain: bool,
    /// Seconds that the newest answer asked to wait, and one more; 0 where it asked for nothing.
    asked: Arc<AtomicU64>,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}

impl Http {
    /// For the server of a rule. The directory's host may be at a private address, as the rule names it.
    pub fn new(rule: &Rule) -> Result<Self, BadRule> {
        rule.check()?;
        let unusable = || BadRule("the authorities for the ACME server are no PEM certificates".to_owned());
        let mut roots = RootCertStore::empty();
        match &rule.authorities {
            None => roots.roots = webpki_roots::TLS_SERVER_ROOTS.to_vec(),
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                    roots.add(certificate.map_err(|_| unusable())?).map_err(|_| unusable())?;
                }
            }
        }
        if roots.is_empty() {
            return Err(unusable());
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| unusable())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let guard = Guard::new(rule.private_hosts.clone().and(rule.host()));
        let tcp = Connector::new(guard.clone(), Duration::from_secs(5));
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(1)
            .build(connector);
        Ok(Self { client, guard, plain: rule.is_plain(), asked: Arc::default() })
    }

    /// How long the newest answer asked to wait, if it did.
    pub(crate) fn asked(&self) -> Option<Duration> {
        self.asked.load(Relaxed).checked_sub(1).map(Duration::from_secs)
    }

    async fn exchange(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        // The server names its own addresses; none of them leads into the clear, or around the guard.
        let uri = request.uri();
        let scheme = uri.scheme_str().unwrap_or_default();
        if scheme != "https" && !(self.plain && scheme == "http") {
            return Err(told("it leads to an address without TLS"));
        }
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        self.guard.check_literal(host).map_err(|refused| told(&refused.to_string()))?;
        let answer = self.client.request(request).await.map_err(|error| match Refused::within(&error) {
            Some(refused) => told(&refused.to_string()),
            None => told(&format!("it cannot be reached: {}", innermost(&error))),
        })?;
        let (parts, body) = answer.into_parts();
        let after = parts.headers.get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.trim().parse::<u64>().ok());
        self.asked.store(after.map_or(0, |seconds| seconds.saturating_add(1)), Relaxed);
        let body = Limited::new(body, LARGEST).collect().await;
        let body = body.map_err(|_| told("its answer broke off or is too large"))?.to_bytes();
        let json = parts
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .is_some_and(|v| v.split(';').next().is_some_and(|kind| kind.trim().ends_with("json")));
        if !parts.status.is_success() && !json {
            return Err(told(&format!("it answered {}", parts.status)));
        }
        Ok(BytesResponse::from(Response::from_parts(parts, Full::new(body))))
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let mine = self.clone();
        Box::pin(async move {
            let done = tokio::time::timeout(TIMEOUT, mine.exchange(request)).await;
            done.unwrap_or_else(|_| Err(told("it did not answer within 20 seconds")))
        })
    }
}

fn told(words: &str) -> Error {
    Error::Other(format!("the ACME server cannot be used: {words}").into())
}

/// The innermost cause says what happened; the layers above only say where.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
