//! TLS: our own certificate, replaceable while running, and trust in upstreams.

use credentialflow_model::SecretValue;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert},
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    io::Read,
    path::Path,
    sync::{Arc, RwLock},
};

/// Why TLS could not be set up. Names files, never their contents.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or holds no PEM of the expected kind.
    #[error("{path}: {problem}")]
    File {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// Certificate and key do not belong together, or the library refuses them.
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
    /// A credential that is to be shown as a certificate is none, or lacks its private key.
    #[error("this is no certificate with its private key as PEM")]
    Identity,
}

fn file_error(path: &Path, problem: impl std::fmt::Display) -> TlsError {
    TlsError::File { path: path.display().to_string(), problem: problem.to_string() }
}

/// The certificate of a listener; handshakes take whichever is current, and fail while there is none.
#[derive(Debug)]
pub struct Certificate(RwLock<Option<Arc<CertifiedKey>>>);

impl Certificate {
    /// Reads chain and key from PEM files.
    pub fn load(chain: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self(RwLock::new(Some(read(chain, key)?)))))
    }

    /// There is none yet.
    pub fn awaited() -> Arc<Self> {
        Arc::new(Self(RwLock::new(None)))
    }

    /// Takes the one of this value: PEM, the certificate first, then its chain, and a private key anywhere. On an error
    /// the certificate in use stays.
    pub fn replace(&self, value: &SecretValue) -> Result<(), TlsError> {
        let fresh = identity(value, &rustls::crypto::aws_lc_rs::default_provider())?;
        *self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Arc::new(fresh));
        Ok(())
    }

    /// Reads the files again. On an error the certificate in use stays.
    pub fn reload(&self, chain: &Path, key: &Path) -> Result<(), TlsError> {
        let fresh = read(chain, key)?;
        *self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(fresh);
        Ok(())
    }

    /// The certificate in use (DER), without its chain; empty while there is none.
    pub fn leaf(&self) -> CertificateDer<'static> {
        let current = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let leaf = current.as_ref().and_then(|current| current.cert.first());
        leaf.cloned().unwrap_or_else(|| CertificateDer::from(Vec::new()))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

fn read(chain: &Path, key: &Path) -> Result<Arc<CertifiedKey>, TlsError> {
    let certificates = certificates(chain)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| file_error(key, e))?;
    let certified = CertifiedKey::from_der(certificates, private, &rustls::crypto::aws_lc_rs::default_provider())?;
    certified.keys_match()?;
    Ok(Arc::new(certified))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_file_iter(path)
        .map_err(|e| file_error(path, e))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| file_error(path, e))?;
    if all.is_empty() { Err(file_error(path, "holds no certificate")) } else { Ok(all) }
}

/// TLS 1.2 and 1.3 with post-quantum key exchange preferred; HTTP/2 and HTTP/1.1 by ALPN.
pub fn server_config(certificate: Arc<Certificate>) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Trust in upstreams: Mozilla's roots, or those of a PEM file instead.
pub fn client_config(roots: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    match roots {
        None => {
            let mut store = RootCertStore::empty();
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            trusting(store)
        }
        Some(path) => trusting_only(&authorities(path)?),
    }
}

/// Largest file of authorities that is read.
const MAX_AUTHORITIES: u64 = 4 << 20;

/// The certificates of a PEM file of authorities. Only regular files are read, as anything else may have no end; and
/// errors tell nothing of what the file holds, as it may be any.
pub fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |e: std::io::Error| file_error(path, e.kind());
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(file_error(path, "is no regular file"));
    }
    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_AUTHORITIES + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_AUTHORITIES {
        return Err(file_error(path, "is larger than 4 MiB"));
    }
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(file_error(path, "holds no certificate")),
        Err(_) => Err(file_error(path, "is no well-formed PEM")),
    }
}

/// Trust in these authorities and no others.
pub fn trusting_only(authorities: &[CertificateDer<'static>]) -> Result<Arc<ClientConfig>, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in authorities {
        store.add(certificate.clone())?;
    }
    trusting(store)
}

/// The same trust, and the certificate of this value is shown to whoever asks for one: PEM, the certificate first, then
/// its chain, and a private key anywhere. Sessions are resumed only within what this makes, never with another certificate.
pub fn showing(trusting: &ClientConfig, value: &SecretValue) -> Result<Arc<ClientConfig>, TlsError> {
    let shown = identity(value, trusting.crypto_provider())?;
    let mut config = trusting.clone();
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(shown));
    config.resumption = Resumption::default();
    Ok(Arc::new(config))
}

/// A certificate with its chain and its private key, which belong together.
fn identity(value: &SecretValue, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let invalid = || TlsError::Identity;
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(value.expose()).collect::<Result<_, _>>().map_err(|_| invalid())?;
    let key = PrivateKeyDer::from_pem_slice(value.expose()).map_err(|_| invalid())?;
    let shown = CertifiedKey::from_der(chain, key, provider).map_err(|_| invalid())?;
    shown.keys_match().map_err(|_| invalid())?;
    Ok(shown)
}

fn trusting(store: RootCertStore) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
