//! A certificate with its chain and its private key, as one secret value: PEM blocks (RFC 7468), the certificate
//! first, then what it was signed with, and one private key anywhere.

use credentialflow_model::SecretValue;
use rustls_pki_types::{CertificateDer, pem::PemObject};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// A chain longer than this is nobody's.
const MOST: usize = 16;

/// The public part of such a value. The private key is not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    chain: Vec<CertificateDer<'static>>,
    pem: String,
}

impl Bundle {
    /// Reads the certificates of a value; `None` when it holds none, or one that is no base64.
    pub fn read(value: &SecretValue) -> Option<Self> {
        let (mut rest, mut chain, mut pem) = (value.expose_str()?, Vec::new(), String::new());
        while let Some(start) = rest.find(BEGIN).filter(|_| chain.len() < MOST) {
            let end = start + rest[start..].find(END)? + END.len();
            let block = &rest[start..end];
            chain.push(CertificateDer::from_pem_slice(block.as_bytes()).ok()?);
            pem.push_str(block);
            pem.push('\n');
            rest = &rest[end..];
        }
        (!chain.is_empty()).then_some(Self { chain, pem })
    }

    /// The certificate.
    pub fn leaf(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }

    /// The certificate, then its chain.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The certificates as PEM, fit for everybody's eyes.
    pub fn pem(&self) -> &str {
        &self.pem
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn certificate() -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["a.example".into()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn only_certificates_are_taken_out() {
        let ((one, key), (two, _)) = (certificate(), certificate());
        let read = Bundle::read(&SecretValue::from(format!("a note\n{one}{key}{two}"))).unwrap();
        assert_eq!(read.chain().len(), 2);
        assert!(!read.pem().contains("PRIVATE") && !read.pem().contains("note"));
        let again = Bundle::read(&SecretValue::from(read.pem())).unwrap();
        assert_eq!(again.chain(), read.chain());
        for none in [key.as_str(), "", "hunter2", BEGIN, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----"] {
            assert_eq!(Bundle::read(&SecretValue::from(none)), None, "{none:.30}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_fall_over(text in "(-----BEGIN CERTIFICATE-----|-----END CERTIFICATE-----|MIIB|\n|[ -~]|é){0,12}") {
            let _ = Bundle::read(&SecretValue::from(text));
        }
    }
}
