//! The vectors of the Wycheproof project for every signature that a certificate, or who shows one, may bear here: all
//! that the one provider verifies, by the keys as they stand in a certificate.

use rustls::pki_types::{AlgorithmIdentifier, SignatureVerificationAlgorithm, alg_id};
use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify as pkcs1, rsa_pss_verify as pss};
use x509_parser::{prelude::FromDer, x509::SubjectPublicKeyInfo};

/// What verifies this kind of signature by this kind of key.
fn verifier(key: AlgorithmIdentifier, signature: AlgorithmIdentifier) -> &'static dyn SignatureVerificationAlgorithm {
    let known = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.all;
    let fits =
        |a: &&&dyn SignatureVerificationAlgorithm| a.public_key_alg_id() == key && a.signature_alg_id() == signature;
    *known.iter().find(fits).expect("it is verified")
}

macro_rules! every_vector {
    ($kind:ident, $key:expr, $sets:expr) => {{
        let mut seen = 0;
        for (set, signature) in $sets {
            let verifier = verifier($key, signature);
            for group in $kind::TestSet::load(set).unwrap().test_groups {
                let (_, key) = SubjectPublicKeyInfo::from_der(&group.der).unwrap();
                for test in group.tests {
                    seen += 1;
                    let accepted =
                        verifier.verify_signature(&key.subject_public_key.data, &test.msg, &test.sig).is_ok();
                    let right = test.result == TestResult::Acceptable || accepted == (test.result == TestResult::Valid);
                    assert!(right, "{set:?} {} {}: accepted {accepted}", test.tc_id, test.comment);
                }
            }
        }
        seen
    }};
}

#[test]
fn ecdsa_signatures() {
    use ecdsa::TestName::*;
    let of_256 = [(EcdsaSecp256r1Sha256, alg_id::ECDSA_SHA256)];
    let of_384 = [(EcdsaSecp384r1Sha384, alg_id::ECDSA_SHA384)];
    let of_521 = [(EcdsaSecp521r1Sha512, alg_id::ECDSA_SHA512)];
    assert!(every_vector!(ecdsa, alg_id::ECDSA_P256, of_256) > 300);
    assert!(every_vector!(ecdsa, alg_id::ECDSA_P384, of_384) > 300);
    assert!(every_vector!(ecdsa, alg_id::ECDSA_P521, of_521) > 300);
}

#[test]
fn ed25519_signatures() {
    assert!(every_vector!(eddsa, alg_id::ED25519, [(eddsa::TestName::Ed25519, alg_id::ED25519)]) > 100);
}

#[test]
fn rsa_signatures() {
    use pkcs1::TestName::*;
    use pss::TestName::*;
    let plain = [
        (Rsa2048Sha256, alg_id::RSA_PKCS1_SHA256),
        (Rsa3072Sha384, alg_id::RSA_PKCS1_SHA384),
        (Rsa4096Sha512, alg_id::RSA_PKCS1_SHA512),
        (Rsa8192Sha256, alg_id::RSA_PKCS1_SHA256),
    ];
    let salted = [
        (RsaPss2048Sha256Mgf1SaltLen32, alg_id::RSA_PSS_SHA256),
        (RsaPss2048Sha384Mgf1SaltLen48, alg_id::RSA_PSS_SHA384),
        (RsaPss4096Sha512Mgf1SaltLen64, alg_id::RSA_PSS_SHA512),
    ];
    assert!(every_vector!(pkcs1, alg_id::RSA_ENCRYPTION, plain) > 800);
    assert!(every_vector!(pss, alg_id::RSA_ENCRYPTION, salted) > 200);
}
