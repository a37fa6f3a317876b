//! Calls to models through this node's own gateway: over its listener, as any caller's, so that everything that holds for
//! callers holds for them. Tests of prompts are run so.

use super::dataplane::Plane;
use bytes::Bytes;
use credentialflow_admin::ports::{BoxFuture, ModelCalls};
use credentialflow_gateway::net::tls::Certificate;
use credentialflow_model::SecretValue;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// How long it may take to connect to ourselves.
const CONNECT: Duration = Duration::from_secs(5);
/// Largest answer, in bytes.
const MOST: usize = 8 << 20;

/// Calls this node's gateway.
pub(super) struct OwnGateway {
    plane: Arc<Plane>,
    /// The certificate of its listener, where that speaks TLS.
    certificate: Option<Arc<Certificate>>,
}

impl OwnGateway {
    pub fn new(plane: Arc<Plane>, certificate: Option<Arc<Certificate>>) -> Self {
        Self { plane, certificate }
    }

    async fn ask(&self, key: &SecretValue, body: Vec<u8>) -> Result<(u16, Vec<u8>), String> {
        let address = self.plane.gateway_address().ok_or("this node's gateway has not started")?;
        let address = reachable(address);
        let away = |_| "this node's gateway cannot be reached".to_owned();
        let connected = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await;
        let stream = connected.map_err(|_| "this node's gateway cannot be reached".to_owned())?.map_err(away)?;
        match &self.certificate {
            None => exchange(stream, address, key, body).await,
            Some(certificate) => {
                let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
                let config = rustls::ClientConfig::builder_with_provider(provider.clone())
                    .with_safe_default_protocol_versions()
                    .map_err(|_| "TLS cannot be set up".to_owned())?
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(Own { certificate: certificate.clone(), provider }))
                    .with_no_client_auth();
                let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
                let name = ServerName::IpAddress(address.ip().into());
                let stream = tokio::time::timeout(CONNECT, connector.connect(name, stream)).await;
                let stream = stream.map_err(|_| "this node's gateway cannot be reached".to_owned())?.map_err(away)?;
                exchange(stream, address, key, body).await
            }
        }
    }
}

impl fmt::Debug for OwnGateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnGateway")
    }
}

impl ModelCalls for OwnGateway {
    fn pass(&self) -> &str {
        credentialflow_gateway::prompt_tests::pass()
    }

    fn chat<'a>(&'a self, key: &'a SecretValue, body: Vec<u8>) -> BoxFuture<'a, Result<(u16, Vec<u8>), String>> {
        Box::pin(self.ask(key, body))
    }
}

/// Where a listener on all addresses is reached from here.
fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    address: SocketAddr,
    key: &SecretValue,
    body: Vec<u8>,
) -> Result<(u16, Vec<u8>), String> {
    let broken = |_| "this node's gateway did not answer".to_owned();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let connection = tokio::spawn(connection);
    let bearer = Bytes::from_owner(Bearer(bearer(key)));
    let mut bearer = HeaderValue::from_maybe_shared(bearer).map_err(|_| "this is no key".to_owned())?;
    bearer.set_sensitive(true);
    let request = Request::post("/v1/chat/completions")
        .header(header::HOST, address.to_string())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::AUTHORIZATION, bearer)
        // What the model says now is tested, not what it said once.
        .header(header::CACHE_CONTROL, "no-store")
        .body(Full::new(Bytes::from(body)))
        .map_err(|_| "the call cannot be written".to_owned())?;
    let answer = sender.send_request(request).await.map_err(broken)?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), MOST).collect().await;
    connection.abort();
    Ok((status, body.map_err(|_| "the answer broke off or is too large".to_owned())?.to_bytes().to_vec()))
}

/// The value of the header, wiped when the last who sends it is done.
struct Bearer(SecretValue);

impl AsRef<[u8]> for Bearer {
    fn as_ref(&self) -> &[u8] {
        self.0.expose()
    }
}

fn bearer(key: &SecretValue) -> SecretValue {
    let mut value = Vec::with_capacity(7 + key.len());
    value.extend_from_slice(b"Bearer ");
    value.extend_from_slice(key.expose());
    SecretValue::new(value)
}

/// Trusts the certificate that our own listener shows now, and no other.
#[derive(Debug)]
struct Own {
    certificate: Arc<Certificate>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Own {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let own = self.certificate.leaf();
        if !own.is_empty() && own == *end_entity {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_reached_on_this_machine() {
        for (listening, reached) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("10.0.0.7:443", "10.0.0.7:443"),
        ] {
            assert_eq!(reachable(listening.parse().unwrap()), reached.parse().unwrap());
        }
    }

    #[tokio::test]
    async fn no_answer_comes_from_a_cache() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let key = SecretValue::from("cfk_1".to_owned());
        let asked =
            tokio::spawn(async move { exchange(ours, "127.0.0.1:1".parse().unwrap(), &key, b"{}".to_vec()).await });
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n{}") {
            head.push(theirs.read_u8().await.unwrap());
        }
        theirs.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
        assert_eq!(asked.await.unwrap().unwrap(), (200, b"hi".to_vec()));
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        assert!(head.contains("\r\ncache-control: no-store\r\n"), "{head}");
    }

    #[test]
    fn only_the_certificate_of_our_own_listener_is_trusted() {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let (mine, other) = (made(), made());
        let certificate = Certificate::awaited();
        let own = Own { certificate: certificate.clone(), provider };
        let name = ServerName::IpAddress(IpAddr::from([127, 0, 0, 1]).into());
        let verify =
            |shown: &CertificateDer<'_>| own.verify_server_cert(shown, &[], &name, &[], UnixTime::now()).is_ok();
        assert!(!verify(&mine.1) && !verify(&CertificateDer::from(Vec::new())), "there is none yet");
        certificate.replace(&SecretValue::from(mine.0)).unwrap();
        assert!(verify(&mine.1) && !verify(&other.1));
    }

    fn made() -> (String, CertificateDer<'static>) {
        let made = rcgen::generate_simple_self_signed(["gateway.example".to_owned()]).unwrap();
        (format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem()), made.cert.der().clone())
    }
}
