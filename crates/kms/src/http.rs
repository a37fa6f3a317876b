//! One request, one answer, bounded in time and size, tried again while the other side is away.

use crate::settings::SettingsError;
use bytes::Bytes;
use credentialflow_egress::{Connector, Guard, Refused};
use credentialflow_vault::seal::external::KeyServiceError;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{path::Path, time::Duration};
use zeroize::Zeroizing;

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Waits before the second and the third try.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];
/// Largest answer taken, in bytes.
const MAX_ANSWER: usize = 256 << 10;

/// A client for key services.
pub(crate) struct Http(Client<HttpsConnector<Connector>, Full<Bytes>>);

/// Status and body.
pub(crate) struct Answer {
    pub status: StatusCode,
    pub body: Zeroizing<Vec<u8>>,
}

impl Http {
    /// Trusts the public certificates and those in this file, and goes where the guard lets it.
    pub fn new(certificates: Option<&Path>, guard: Guard) -> Result<Self, SettingsError> {
        let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = certificates {
            let unreadable = || SettingsError::Certificates(path.to_owned());
            let mut found = 0;
            for certificate in CertificateDer::pem_file_iter(path).map_err(|_| unreadable())? {
                roots.add(certificate.map_err(|_| unreadable())?).map_err(|_| unreadable())?;
                found += 1;
            }
            if found == 0 {
                return Err(unreadable());
            }
        }
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| SettingsError::Certificates("the built-in certificates".into()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tcp = Connector::new(guard, Duration::from_secs(5));
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }

    /// Sends a request, made afresh for each of three tries; `judge` reads the answer or says whether
    /// another try may help.
    pub async fn exchange<T>(
        &self,
        what: &str,
        make: impl Fn() -> Result<Request<Full<Bytes>>, KeyServiceError>,
        judge: impl Fn(Answer) -> Result<T, KeyServiceError>,
    ) -> Result<T, KeyServiceError> {
        let mut pauses = PAUSES.iter();
        loop {
            let error = match self.once(what, make()?).await.and_then(&judge) {
                Err(error @ KeyServiceError::Away(_)) => error,
                settled => return settled,
            };
            match pauses.next() {
                Some(pause) => tokio::time::sleep(*pause).await,
                None => return Err(error),
            }
        }
    }

    async fn once(&self, what: &str, request: Request<Full<Bytes>>) -> Result<Answer, KeyServiceError> {
        let away = |why: &str| KeyServiceError::Away(format!("{what} cannot be reached: {why}"));
        let exchange = async {
            let response = self.0.request(request).await.map_err(|error| match Refused::within(&error) {
                Some(refused) => KeyServiceError::Refused(format!("{what} is not asked: {refused}")),
                None => away(&innermost(&error)),
            })?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            let body = body.map_err(|_| away("its answer was cut or too long"))?.to_bytes();
            Ok(Answer { status, body: Zeroizing::new(body.to_vec()) })
        };
        tokio::time::timeout(TIMEOUT, exchange).await.map_err(|_| away("no answer within 10 seconds"))?
    }
}

/// The innermost cause says what happened; the layers above only say where.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
