#![allow(clippy::unwrap_used)]
use super::*;
use x509_parser::{
    certificate::X509Certificate,
    extensions::ParsedExtension,
    prelude::{CertificateRevocationList, FromDer},
};

const KINDS: [KeyKind; 5] = [KeyKind::Rsa2048, KeyKind::P256, KeyKind::P384, KeyKind::P521, KeyKind::Ed25519];

fn terms(common_name: &str) -> Terms {
    Terms {
        subject: Subject {
            country: "DE".into(),
            organization: "Ümläut AG".into(),
            common_name: common_name.into(),
            ..Subject::default()
        },
        names: vec![
            AltName::Host("*.example.com".into()),
            AltName::Address([127, 0, 0, 1].into()),
            AltName::Uri("spiffe://a/b".into()),
            AltName::Email("a@example.com".into()),
        ],
        not_before: Timestamp::from_secs(1_000_000_000),
        not_after: Timestamp::from_secs(2_000_000_000),
        usages: vec!["DigitalSignature".into(), "keyusagekeyagreement".into()],
        extended_usages: vec!["ServerAuth".into(), "ExtKeyUsageClientAuth".into()],
        addresses: Addresses {
            issuing_certificates: vec!["http://a.example/ca".into()],
            crl_distribution_points: vec!["http://a.example/crl".into()],
            ocsp_servers: vec!["http://a.example/ocsp".into()],
        },
    }
}

/// Whether a signature is right, by another library than the one that made it.
fn verified(authority: &Made, kind: KeyKind, message: &[u8], signature: &[u8]) -> bool {
    use rustls::pki_types::{CertificateDer, alg_id};
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let algorithm = match kind {
        KeyKind::P256 => alg_id::ECDSA_SHA256,
        KeyKind::P384 => alg_id::ECDSA_SHA384,
        KeyKind::P521 => alg_id::ECDSA_SHA512,
        KeyKind::Ed25519 => alg_id::ED25519,
        _ => alg_id::RSA_PKCS1_SHA256,
    };
    let _ = CertificateDer::from(authority.der.as_slice());
    let (_, parsed) = X509Certificate::from_der(&authority.der).unwrap();
    let point = parsed.public_key().subject_public_key.data.as_ref();
    provider
        .signature_verification_algorithms
        .all
        .iter()
        .filter(|known| known.signature_alg_id() == algorithm)
        .any(|known| known.verify_signature(point, message, signature).is_ok())
}

#[test]
fn every_kind_of_authority_signs_every_kind_of_key() {
    for kind in KINDS {
        let authority = root(kind, &terms("root"), Some(0)).unwrap();
        let signer = Signer::new(kind, &terms("root").subject, &authority.key).unwrap();
        for leaf_kind in [KeyKind::P256, kind] {
            let leaf = signer.sign(leaf_kind, &terms("leaf")).unwrap();
            let (_, parsed) = X509Certificate::from_der(&leaf.der).unwrap();
            let (_, above) = X509Certificate::from_der(&authority.der).unwrap();
            assert_eq!(parsed.issuer().as_raw(), above.subject().as_raw(), "{kind:?}");
            assert!(above.is_ca() && !parsed.is_ca());
            let raw = parsed.tbs_certificate.as_ref();
            assert!(verified(&authority, kind, raw, &parsed.signature_value.data), "{kind:?}");
            assert!(!verified(&authority, kind, &raw[1..], &parsed.signature_value.data), "{kind:?}");
        }
        let at = Timestamp::from_secs(1_500_000_000);
        let gone = Withdrawn { serial: authority.serial.clone(), at, not_after: at };
        let list = signer.list(&[gone], 300, at, Timestamp::from_secs(1_500_000_100)).unwrap();
        let (_, list) = CertificateRevocationList::from_der(&list).unwrap();
        assert!(verified(&authority, kind, list.tbs_cert_list.as_ref(), &list.signature_value.data), "{kind:?}");
        let listed: Vec<_> = list.iter_revoked_certificates().map(|one| one.raw_serial_as_string()).collect();
        assert_eq!(listed, std::slice::from_ref(&authority.serial));
        assert_eq!(list.crl_number().unwrap(), &300u32.into());
        assert_eq!(list.next_update().unwrap().timestamp(), 1_500_000_100);
    }
}

#[test]
fn a_certificate_says_what_was_asked_for() {
    let authority = root(KeyKind::P256, &terms("root"), None).unwrap();
    let signer = Signer::new(KeyKind::P256, &terms("root").subject, &authority.key).unwrap();
    let leaf = signer.sign(KeyKind::P256, &terms("leaf")).unwrap();
    let read = Certificate::parse(&leaf.der).unwrap();
    assert_eq!(read.names, ["*.example.com", "127.0.0.1", "spiffe://a/b", "a@example.com"]);
    assert_eq!((read.not_before.secs(), read.not_after.secs()), (1_000_000_000, 2_000_000_000));
    assert_eq!(read.subject, "C=DE, O=Ümläut AG, CN=leaf");
    assert_eq!(leaf.serial.replace(':', ""), read.serial);
    let (_, parsed) = X509Certificate::from_der(&leaf.der).unwrap();
    let usage = parsed.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && usage.key_agreement() && !usage.key_encipherment() && !usage.key_cert_sign());
    let extended = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && extended.client_auth && !extended.code_signing);
    let text: Vec<String> = parsed
        .extensions()
        .iter()
        .map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityInfoAccess(access) => format!("{access:?}"),
            ParsedExtension::CRLDistributionPoints(points) => format!("{points:?}"),
            _ => String::new(),
        })
        .collect();
    for url in ["http://a.example/ca", "http://a.example/ocsp", "http://a.example/crl"] {
        assert!(text.iter().any(|told| told.contains(url)), "{url}: {text:?}");
    }
    assert_ne!(signer.sign(KeyKind::P256, &terms("leaf")).unwrap().serial, leaf.serial);
}

#[test]
fn what_is_no_name_or_usage_is_refused() {
    let authority = root(KeyKind::P256, &terms("root"), None).unwrap();
    let signer = Signer::new(KeyKind::P256, &terms("root").subject, &authority.key).unwrap();
    let mut bad = terms("leaf");
    bad.names = vec![AltName::Host("bücher.de".into())];
    assert_eq!(signer.sign(KeyKind::P256, &bad).unwrap_err(), NotIssued::NoName("bücher.de".into()));
    let mut bad = terms("leaf");
    bad.usages = vec!["CertSign".into()];
    assert!(signer.sign(KeyKind::P256, &bad).is_err(), "a certificate of ours does not become an authority");
    let mut bad = terms("leaf");
    bad.subject.country = "Ü".into();
    assert!(signer.sign(KeyKind::P256, &bad).is_err());
    assert!(Signer::new(KeyKind::P384, &terms("root").subject, &authority.key).is_err());
    assert!(Signer::new(KeyKind::P256, &terms("root").subject, &SecretValue::from("no key")).is_err());
    for (name, bits) in [("rsa", 1024), ("ec", 224), ("dsa", 0), ("", 0), ("any", 0)] {
        assert_eq!(KeyKind::find(name, bits), None, "{name} {bits}");
    }
    for kind in KINDS {
        assert_eq!(KeyKind::find(kind.name(), kind.bits()), Some(kind));
    }
}

#[test]
fn keys_are_handed_out_in_the_forms_programs_read() {
    for (kind, label) in
        [(KeyKind::Rsa2048, "RSA PRIVATE KEY"), (KeyKind::P384, "EC PRIVATE KEY"), (KeyKind::Ed25519, "PRIVATE KEY")]
    {
        let made = root(kind, &terms("root"), None).unwrap();
        let (pem, pkcs8) = (made.key_pem(), made.pkcs8_pem());
        let text = pem.expose_str().unwrap();
        assert!(text.starts_with(&format!("-----BEGIN {label}-----\n")), "{kind:?}");
        assert!(text.ends_with(&format!("\n-----END {label}-----")) && text.lines().all(|line| line.len() <= 64));
        // Each form reads as the same key: it signs for the same public one.
        let again = KeyPair::from_pem(text).unwrap();
        let original = KeyPair::from_pem(pkcs8.expose_str().unwrap()).unwrap();
        assert_eq!(again.public_key_raw(), original.public_key_raw());
        assert!(!format!("{made:?}").contains("PRIVATE"));
        let der = made.key.expose();
        let version = 2 + if der[1] < 0x80 { 0 } else { usize::from(der[1] & 0x7f) };
        assert_eq!(der[version..version + 3], [2, 1, 0], "{kind:?}: the version that every library reads");
        assert!(kind != KeyKind::Ed25519 || der.len() == 48, "as in RFC 8410, without the public key");
    }
}
