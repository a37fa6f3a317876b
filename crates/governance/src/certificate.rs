//! An X.509 certificate (RFC 5280), as far as an inventory asks about it. Its signature is not checked.

use credentialflow_model::Timestamp;
use serde::{Deserialize, Serialize};
use x509_parser::{
    certificate::X509Certificate,
    oid_registry::{
        OID_KEY_TYPE_DSA, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_MD5WITHRSAENC, OID_PKCS1_RSAENCRYPTION,
        OID_PKCS1_SHA1WITHRSA, OID_SIG_ED448, OID_SIG_ED25519,
    },
    prelude::FromDer,
    public_key::PublicKey,
};

/// `ecdsa-with-SHA1` (RFC 3279).
const ECDSA_WITH_SHA1: &str = "1.2.840.10045.4.1";

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Whom it names.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Host names it is for.
    pub names: Vec<String>,
    /// Valid from then on.
    pub not_before: Timestamp,
    /// Valid until then.
    pub not_after: Timestamp,
    /// Its key, as in `RSA 2048` or `ECDSA P-256`.
    pub algorithm: String,
    /// Bits of an RSA key's modulus; 0 for others.
    rsa_bits: usize,
    /// Whether it is signed over a broken hash.
    broken_hash: bool,
    pre_quantum: bool,
}

/// Why bytes are no certificate.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("this is no X.509 certificate in DER")]
pub struct UnreadableCertificate;

impl Certificate {
    /// Reads one certificate in DER.
    pub fn parse(der: &[u8]) -> Result<Self, UnreadableCertificate> {
        let (rest, found) = X509Certificate::from_der(der).map_err(|_| UnreadableCertificate)?;
        if !rest.is_empty() {
            return Err(UnreadableCertificate);
        }
        let spki = found.public_key();
        let kind = &spki.algorithm.algorithm;
        let (mut rsa_bits, mut pre_quantum) = (0, true);
        let algorithm = if *kind == OID_PKCS1_RSAENCRYPTION {
            if let Ok(PublicKey::RSA(rsa)) = spki.parsed() {
                rsa_bits = rsa.key_size();
            }
            format!("RSA {rsa_bits}")
        } else if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY {
            let bits = match spki.parsed() {
                Ok(PublicKey::EC(point)) => point.key_size(),
                _ => 0,
            };
            // The size of a point is rounded up to whole bytes: P-521 has 528 bits of them.
            format!("ECDSA P-{}", if bits == 528 { 521 } else { bits })
        } else if *kind == OID_SIG_ED25519 {
            "Ed25519".to_owned()
        } else if *kind == OID_SIG_ED448 {
            "Ed448".to_owned()
        } else if *kind == OID_KEY_TYPE_DSA {
            "DSA".to_owned()
        } else {
            pre_quantum = false;
            kind.to_id_string()
        };
        let signed = &found.signature_algorithm.algorithm;
        let broken = [OID_PKCS1_SHA1WITHRSA, OID_PKCS1_MD5WITHRSAENC];
        let names = match found.subject_alternative_name() {
            Ok(Some(extension)) => extension.value.general_names.iter().map(shown).collect(),
            _ => Vec::new(),
        };
        Ok(Self {
            subject: found.subject().to_string(),
            issuer: found.issuer().to_string(),
            names,
            not_before: Timestamp::from_secs(found.validity().not_before.timestamp()),
            not_after: Timestamp::from_secs(found.validity().not_after.timestamp()),
            algorithm,
            rsa_bits,
            broken_hash: broken.contains(signed) || signed.to_id_string() == ECDSA_WITH_SHA1,
            pre_quantum,
        })
    }

    /// What makes it forgeable today, if anything does.
    pub fn weakness(&self) -> Option<String> {
        if self.algorithm == "DSA" {
            return Some("its key is DSA, which is withdrawn".to_owned());
        }
        if (1..2048).contains(&self.rsa_bits) {
            return Some(format!("its RSA key has {} bits, less than 2048", self.rsa_bits));
        }
        self.broken_hash.then(|| "it is signed over SHA-1 or MD5".to_owned())
    }

    /// Whether a quantum computer could forge it.
    pub const fn is_pre_quantum(&self) -> bool {
        self.pre_quantum
    }
}

fn shown(name: &x509_parser::extensions::GeneralName<'_>) -> String {
    use x509_parser::extensions::GeneralName as G;
    match name {
        G::DNSName(name) | G::RFC822Name(name) | G::URI(name) => (*name).to_owned(),
        G::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(v4) => std::net::Ipv4Addr::from(v4).to_string(),
            Err(_) => <[u8; 16]>::try_from(*bytes)
                .map_or_else(|_| String::new(), |v6| std::net::Ipv6Addr::from(v6).to_string()),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn made(algorithm: &'static rcgen::SignatureAlgorithm) -> Certificate {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let params = rcgen::CertificateParams::new(vec!["api.example.com".into(), "127.0.0.1".into()]).unwrap();
        Certificate::parse(params.self_signed(&key).unwrap().der()).unwrap()
    }

    #[test]
    fn names_times_and_algorithm_are_read() {
        let ec = made(&rcgen::PKCS_ECDSA_P256_SHA256);
        assert_eq!(ec.names, ["api.example.com", "127.0.0.1"]);
        assert_eq!((ec.algorithm.as_str(), ec.weakness(), ec.is_pre_quantum()), ("ECDSA P-256", None, true));
        assert!(ec.not_before < ec.not_after);
        assert_eq!(made(&rcgen::PKCS_ECDSA_P384_SHA384).algorithm, "ECDSA P-384");
        assert_eq!(made(&rcgen::PKCS_ED25519).algorithm, "Ed25519");
    }

    #[test]
    fn short_keys_and_broken_hashes_are_weak() {
        let good = made(&rcgen::PKCS_ED25519);
        let short = Certificate { rsa_bits: 1024, ..good.clone() };
        assert_eq!(short.weakness().unwrap(), "its RSA key has 1024 bits, less than 2048");
        assert!(Certificate { broken_hash: true, ..good.clone() }.weakness().is_some());
        assert!(Certificate { algorithm: "DSA".into(), ..good }.weakness().is_some());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fall_over(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = Certificate::parse(&bytes);
        }
    }
}
