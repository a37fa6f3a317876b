//! One HTTP client for the stores: connections go where the guard lets them, answers are bounded in time
//! and size, no redirect is followed. Its errors name neither an address nor a header.

use crate::{Answer, ExternalError, Result, answer::retry_after, error::unusable};
use bytes::Bytes;
use credentialflow_egress::{Connector, Guard, PrivateHosts, Refused};
use http::{Request, Uri, request::Builder};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{net::IpAddr, sync::Arc, time::Duration};
use zeroize::Zeroizing;

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Largest answer taken, in bytes.
const LARGEST: usize = 2 << 20;

/// A client for the hosts of one store, which may be at private addresses; no other host may.
#[derive(Clone)]
pub struct Http(Client<HttpsConnector<Connector>, Full<Bytes>>);

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}

impl Http {
    /// Believes these authorities (PEM), Mozilla's when absent.
    pub fn new(authorities: Option<&str>, urls: &[&str]) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        match authorities {
            None => roots.roots = webpki_roots::TLS_SERVER_ROOTS.to_vec(),
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                    let certificate = certificate.map_err(|_| unusable("the authorities are no PEM certificates"))?;
                    roots.add(certificate).map_err(|_| unusable("an authority's certificate cannot be used"))?;
                }
                if roots.is_empty() {
                    return Err(unusable("the authorities hold no PEM certificate"));
                }
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| unusable("TLS has no usable version"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut hosts = PrivateHosts::default();
        for url in urls {
            let uri: Uri = url.parse().map_err(|_| unusable("the address is none"))?;
            hosts = hosts.and(uri.host().unwrap_or_default());
        }
        let connector = Connector::new(Guard::new(hosts), Duration::from_secs(5));
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(2)
            .build(connector);
        Ok(Self(client))
    }

    /// One request with this body, one answer.
    pub async fn send(&self, request: Builder, body: &[u8]) -> Result<Answer> {
        let request: Request<Full<Bytes>> = request
            .body(Full::new(Bytes::copy_from_slice(body)))
            .map_err(|_| unusable("the place or the access holds characters that cannot be sent"))?;
        let away = |words: &str| ExternalError::Unreachable(words.to_owned());
        let exchange = async {
            let answer = self.0.request(request).await.map_err(|error| match Refused::within(&error) {
                Some(refused) => unusable(refused.to_string()),
                None if error.is_connect() => away("no connection stands"),
                None => away("the connection broke off"),
            })?;
            let (status, retry_after) = (answer.status(), retry_after(answer.headers()));
            let body = Limited::new(answer.into_body(), LARGEST).collect().await;
            let body = body.map_err(|_| away("its answer broke off or is too large"))?.to_bytes();
            Ok(Answer { status, retry_after, body: Zeroizing::new(body.to_vec()) })
        };
        tokio::time::timeout(TIMEOUT, exchange).await.map_err(|_| away("no answer within 15 seconds"))?
    }
}

/// Authorities from a PEM file: a regular one of up to 4 MiB. Waits for the disk.
pub fn read_authorities(path: &std::path::Path) -> Result<String> {
    credentialflow_egress::read_authorities(path).map_err(no_authorities)
}

/// The same away from the tasks of the runtime.
pub(crate) async fn load_authorities(path: &str) -> Result<String> {
    credentialflow_egress::load_authorities(path.into()).await.map_err(no_authorities)
}

fn no_authorities(error: credentialflow_egress::UnusableAuthorities) -> crate::ExternalError {
    unusable(format!("the file with the authorities {error}"))
}

/// A base address without a slash at its end, if secrets may be sent there.
pub(crate) fn base(url: &str, plaintext: bool) -> Result<String> {
    let uri: Uri = url.parse().map_err(|_| unusable("the address is none"))?;
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let clear = here || plaintext;
    let scheme = uri.scheme_str();
    if host.is_empty() || !(scheme == Some("https") || (scheme == Some("http") && clear)) {
        return Err(unusable("the address begins with https://, or with http:// where that is allowed"));
    }
    if uri.query().is_some() || uri.authority().is_some_and(|a| a.as_str().contains('@')) {
        return Err(unusable("the address holds more than a place"));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// A part of a path as it stands in a URL: everything but unreserved characters is escaped (RFC 3986).
pub(crate) fn segment(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, b| {
        use std::fmt::Write;
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(b));
        } else {
            let _ = write!(out, "%{b:02X}");
        }
        out
    })
}

/// A path of several parts.
pub(crate) fn segments(path: &str) -> String {
    path.split('/').filter(|part| !part.is_empty()).map(segment).collect::<Vec<_>>().join("/")
}

/// `Authorization: Bearer`, kept out of logs.
pub(crate) fn bearer(token: &credentialflow_model::SecretValue) -> Result<http::HeaderValue> {
    header_with("Bearer ", token)
}

/// A header's value that is a secret.
pub(crate) fn header_with(prefix: &str, secret: &credentialflow_model::SecretValue) -> Result<http::HeaderValue> {
    let bytes = Zeroizing::new([prefix.as_bytes(), secret.expose()].concat());
    let mut value = http::HeaderValue::from_bytes(&bytes)
        .map_err(|_| unusable("the credential holds characters that cannot be sent in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_nowhere_in_the_clear_unless_asked_for() {
        for bad in ["http://vault.internal", "ftp://127.0.0.1", "vault:8200", "https://u:p@h", "https://h?x=1", ""] {
            assert!(base(bad, false).is_err(), "{bad}");
        }
        assert_eq!(base("http://[::1]:8200/", false).unwrap(), "http://[::1]:8200");
        assert_eq!(base("http://vault.internal", true).unwrap(), "http://vault.internal");
    }

    #[test]
    fn a_part_cannot_leave_its_place_in_a_path() {
        assert_eq!(segments("/a b/ü?x/..%2f/"), "a%20b/%C3%BC%3Fx/..%252f");
    }
}
