//! Trusts the certificates an administrator named: as authorities, and each also as itself.
//!
//! A self-signed server certificate is often an authority and a server's at once, which no chain may be
//! built on; named exactly, it is still the one that was meant. Its name and its time are checked.

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    server::ParsedCertificate,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Pinned {
    authorities: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Pinned {
    /// Trusts these certificates (PEM) and nothing else.
    pub(super) fn from_pem(pem: &str) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let mut certificates = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|_| "the certificate to trust cannot be read".to_owned())?;
            roots.add(certificate.clone()).map_err(|_| "the certificate to trust cannot be used".to_owned())?;
            certificates.push(certificate);
        }
        let authorities = WebPkiServerVerifier::builder(Arc::new(roots)).build();
        let authorities = authorities.map_err(|_| "there is no certificate to trust".to_owned())?;
        Ok(Self { authorities, certificates })
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp, now) {
            // What is wrong is only that it stands for itself; its time was looked at before that.
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::Other(_)))
                if self.certificates.iter().any(|known| known == end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
    use std::time::Duration;

    /// A certificate that is authority and server's at once, as test servers have them.
    fn own(name: &str, ca: bool) -> (CertificateDer<'static>, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params.not_before = rcgen::date_time_ymd(2025, 1, 1);
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        (made.der().clone(), made.pem())
    }

    #[test]
    fn a_named_certificate_is_trusted_for_its_name_and_its_time_only() {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let at = |year: u64| UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_557_600));
        for ca in [true, false] {
            let (mine, pem) = own("127.0.0.1", ca);
            let pinned = Pinned::from_pem(&pem).unwrap();
            let accepts = |certificate: &CertificateDer<'_>, name: &'static str, year| {
                let name = ServerName::try_from(name).unwrap();
                pinned.verify_server_cert(certificate, &[], &name, &[], at(year)).is_ok()
            };
            assert!(accepts(&mine, "127.0.0.1", 2026));
            assert!(!accepts(&mine, "127.0.0.2", 2026) && !accepts(&mine, "localhost", 2026));
            assert!(!accepts(&mine, "127.0.0.1", 2032) && !accepts(&mine, "127.0.0.1", 2020));
            assert!(!accepts(&own("127.0.0.1", ca).0, "127.0.0.1", 2026));
        }
        assert!(Pinned::from_pem("nothing").is_err());
    }
}
