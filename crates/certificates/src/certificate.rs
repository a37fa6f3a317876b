//! What a certificate says (RFC 5280), as far as watching and judging it asks. Its signature is not checked.

use credentialflow_model::Timestamp;
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    oid_registry::{
        OID_KEY_TYPE_DSA, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_MD5WITHRSAENC, OID_PKCS1_RSAENCRYPTION,
        OID_PKCS1_SHA1WITHRSA, OID_SIG_ED448, OID_SIG_ED25519,
    },
    prelude::FromDer,
    public_key::PublicKey,
};

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Whom it names.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Host names, addresses and URIs it is for.
    pub names: Vec<String>,
    /// Valid from then on.
    pub not_before: Timestamp,
    /// Valid until then.
    pub not_after: Timestamp,
    /// Its key, as in `RSA 2048` or `ECDSA P-256`.
    pub algorithm: String,
    /// Its serial number in hexadecimal.
    pub serial: String,
    /// Whether it may sign others.
    pub authority: bool,
    weakness: Option<String>,
    pre_quantum: bool,
}

/// Why bytes are no certificate.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("this is no X.509 certificate in DER")]
pub struct Unreadable;

/// `ecdsa-with-SHA1` (RFC 3279).
const ECDSA_WITH_SHA1: &str = "1.2.840.10045.4.1";
/// Certificates of others are read; whatever they say takes no more room than this in each text.
const LONGEST: usize = 256;
/// Names listed at most.
const MOST_NAMES: usize = 32;

impl Certificate {
    /// Reads one certificate in DER.
    pub fn parse(der: &[u8]) -> Result<Self, Unreadable> {
        let (rest, found) = X509Certificate::from_der(der).map_err(|_| Unreadable)?;
        if !rest.is_empty() {
            return Err(Unreadable);
        }
        let names = match found.subject_alternative_name() {
            Ok(Some(extension)) => extension.value.general_names.iter().take(MOST_NAMES).map(shown).collect(),
            _ => Vec::new(),
        };
        let key = Key::of(&found);
        let signed = &found.signature_algorithm.algorithm;
        let broken = [OID_PKCS1_SHA1WITHRSA, OID_PKCS1_MD5WITHRSAENC].contains(signed)
            || signed.to_id_string() == ECDSA_WITH_SHA1;
        Ok(Self {
            weakness: key.weakness().or_else(|| broken.then(|| "it is signed over SHA-1 or MD5".to_owned())),
            pre_quantum: !matches!(key, Key::Other(_)),
            algorithm: key.name(),
            subject: short(&found.subject().to_string()),
            issuer: short(&found.issuer().to_string()),
            names,
            not_before: Timestamp::from_secs(found.validity().not_before.timestamp()),
            not_after: Timestamp::from_secs(found.validity().not_after.timestamp()),
            serial: found.raw_serial().iter().take(20).map(|b| format!("{b:02x}")).collect(),
            authority: found.is_ca(),
        })
    }

    /// From its first moment to its last, in seconds.
    pub const fn lifetime(&self) -> i64 {
        self.not_after.secs() - self.not_before.secs()
    }

    /// What makes it forgeable today, if anything does.
    pub fn weakness(&self) -> Option<&str> {
        self.weakness.as_deref()
    }

    /// Whether a quantum computer could forge it: whether its key is of a kind that is known to fall to one.
    pub const fn is_pre_quantum(&self) -> bool {
        self.pre_quantum
    }
}

/// The kind of a public key, with its bits.
enum Key {
    Rsa(usize),
    Ecdsa(usize),
    Ed25519,
    Ed448,
    Dsa,
    Other(String),
}

impl Key {
    fn of(found: &X509Certificate<'_>) -> Self {
        let spki = found.public_key();
        let kind = &spki.algorithm.algorithm;
        if *kind == OID_PKCS1_RSAENCRYPTION {
            return Self::Rsa(match spki.parsed() {
                Ok(PublicKey::RSA(rsa)) => rsa.key_size(),
                _ => 0,
            });
        }
        if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY {
            return Self::Ecdsa(match spki.parsed() {
                // The size of a point is rounded up to whole bytes: P-521 has 528 bits of them.
                Ok(PublicKey::EC(point)) if point.key_size() == 528 => 521,
                Ok(PublicKey::EC(point)) => point.key_size(),
                _ => 0,
            });
        }
        match kind {
            kind if *kind == OID_SIG_ED25519 => Self::Ed25519,
            kind if *kind == OID_SIG_ED448 => Self::Ed448,
            kind if *kind == OID_KEY_TYPE_DSA => Self::Dsa,
            other => Self::Other(short(&other.to_id_string())),
        }
    }

    fn name(self) -> String {
        match self {
            Self::Rsa(bits) => format!("RSA {bits}"),
            Self::Ecdsa(bits) => format!("ECDSA P-{bits}"),
            Self::Ed25519 => "Ed25519".to_owned(),
            Self::Ed448 => "Ed448".to_owned(),
            Self::Dsa => "DSA".to_owned(),
            Self::Other(kind) => kind,
        }
    }

    fn weakness(&self) -> Option<String> {
        match self {
            Self::Dsa => Some("its key is DSA, which is withdrawn".to_owned()),
            Self::Rsa(bits @ 1..2048) => Some(format!("its RSA key has {bits} bits, less than 2048")),
            _ => None,
        }
    }
}

fn shown(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => short(name),
        GeneralName::IPAddress(bytes) => match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
            (Ok(v4), _) => std::net::Ipv4Addr::from(v4).to_string(),
            (_, Ok(v6)) => std::net::Ipv6Addr::from(v6).to_string(),
            _ => String::new(),
        },
        other => short(&other.to_string()),
    }
}

/// Bounded, and without characters that would move a terminal's cursor.
fn short(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(LONGEST).collect()
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
        assert_eq!((ec.algorithm.as_str(), ec.authority), ("ECDSA P-256", false));
        assert_eq!((ec.weakness(), ec.is_pre_quantum()), (None, true));
        assert!(ec.lifetime() > 0 && ec.serial.len() >= 16);
        assert_eq!(made(&rcgen::PKCS_ECDSA_P384_SHA384).algorithm, "ECDSA P-384");
        assert_eq!(made(&rcgen::PKCS_ED25519).algorithm, "Ed25519");
    }

    #[test]
    fn short_keys_and_withdrawn_kinds_are_weak() {
        assert_eq!(Key::Rsa(1024).weakness().unwrap(), "its RSA key has 1024 bits, less than 2048");
        assert!(Key::Dsa.weakness().is_some());
        assert_eq!([Key::Rsa(2048), Key::Ecdsa(256), Key::Ed25519].map(|key| key.weakness()), [None, None, None]);
    }

    #[test]
    fn what_others_wrote_stays_short_and_harmless() {
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("a\u{1b}[2J{}", "x".repeat(5000)));
        let key = rcgen::KeyPair::generate().unwrap();
        let read = Certificate::parse(params.self_signed(&key).unwrap().der()).unwrap();
        assert!(read.subject.chars().count() <= LONGEST && !read.subject.contains('\u{1b}'));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fall_over(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = Certificate::parse(&bytes);
        }
    }
}
