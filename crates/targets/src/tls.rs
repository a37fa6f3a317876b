//! Encryption towards a target, on rustls with aws-lc-rs.

use crate::{Result, TargetError};
use credentialflow_model::SecretValue;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::sync::Arc;

/// How a connection is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// In clear. For loopback and networks that are protected otherwise.
    #[default]
    Disable,
    /// Encrypted, but whoever answers is believed. PostgreSQL and MySQL only, for servers whose
    /// certificate nobody can check.
    Require,
    /// Encrypted, and the server's certificate is checked: chain and name.
    Verify,
}

/// TLS settings. Certificates are PEM text.
#[derive(Debug, Default)]
pub struct Tls {
    /// How it is protected.
    pub mode: TlsMode,
    /// The authorities that are believed; Mozilla's when absent.
    pub ca: Option<String>,
    /// Our own certificate, where the server asks for one.
    pub certificate: Option<String>,
    /// The key of our own certificate.
    pub key: Option<SecretValue>,
}

impl Tls {
    /// The certificate checked against these authorities.
    pub fn verify(ca: Option<String>) -> Self {
        Self { mode: TlsMode::Verify, ca, ..Self::default() }
    }

    /// Whether anything read on the way is unreadable.
    pub fn is_encrypted(&self) -> bool {
        self.mode != TlsMode::Disable
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.certificate.is_some() != self.key.is_some() {
            return Err(bad("a client certificate and its key belong together"));
        }
        if self.mode == TlsMode::Verify { self.config().map(drop) } else { Ok(()) }
    }

    /// A client's configuration that checks the server. [`TlsMode::Require`] has none.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>> {
        if self.mode != TlsMode::Verify {
            return Err(bad("this target takes TLS with a checked certificate, or none"));
        }
        let mut roots = RootCertStore { roots: Vec::new() };
        match &self.ca {
            None => roots.roots = webpki_roots::TLS_SERVER_ROOTS.to_vec(),
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                    let certificate = certificate.map_err(|_| bad("the authorities are no PEM certificates"))?;
                    roots.add(certificate).map_err(|_| bad("an authority's certificate cannot be used"))?;
                }
                if roots.is_empty() {
                    return Err(bad("the authorities hold no PEM certificate"));
                }
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| bad("TLS has no usable version"))?
            .with_root_certificates(roots);
        let config = match (&self.certificate, &self.key) {
            (Some(chain), Some(key)) => {
                let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
                let chain = chain.map_err(|_| bad("the client certificate is no PEM certificate"))?;
                let key =
                    PrivateKeyDer::from_pem_slice(key.expose()).map_err(|_| bad("the client key is no PEM key"))?;
                builder.with_client_auth_cert(chain, key).map_err(|_| bad("the client certificate cannot be used"))?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }
}

fn bad(words: &str) -> TargetError {
    TargetError::BadSettings(words.to_owned())
}
