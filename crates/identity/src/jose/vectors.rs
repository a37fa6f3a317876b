//! The vectors of the Wycheproof project for every signature that is verified here, by keys read from the PEM texts
//! that come with them.

use super::{Algorithm, Key};
use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify as pkcs1, rsa_pss_verify as pss};

/// How many vectors were tried, and which ones went wrong.
#[derive(Default)]
struct Tally {
    seen: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn judge(&mut self, accepted: bool, result: TestResult, what: impl FnOnce() -> String) {
        self.seen += 1;
        let fits = match result {
            TestResult::Valid => accepted,
            TestResult::Invalid => !accepted,
            TestResult::Acceptable => true,
        };
        if !fits {
            self.wrong.push(format!("{} ({result:?}): accepted {accepted}", what()));
        }
    }

    fn all_right(&self, at_least: usize) {
        assert!(self.wrong.is_empty(), "{} of {}:\n{}", self.wrong.len(), self.seen, self.wrong.join("\n"));
        assert!(self.seen >= at_least, "only {} vectors were there", self.seen);
    }
}

macro_rules! every_vector {
    ($kind:ident, $sets:expr) => {{
        let mut tally = Tally::default();
        for (set, algorithm) in $sets {
            for group in $kind::TestSet::load(set).unwrap().test_groups {
                let key = Key::from_pem(&group.pem).unwrap();
                for test in group.tests {
                    let accepted = key.verify(algorithm, &test.msg, &test.sig);
                    tally.judge(accepted, test.result, || format!("{set:?} {}: {}", test.tc_id, test.comment));
                }
            }
        }
        tally
    }};
}

#[test]
fn ecdsa_signatures() {
    use ecdsa::TestName::*;
    let sets = [
        (EcdsaSecp256r1Sha256P1363, Algorithm::ES256),
        (EcdsaSecp384r1Sha384P1363, Algorithm::ES384),
        (EcdsaSecp521r1Sha512P1363, Algorithm::ES512),
    ];
    every_vector!(ecdsa, sets).all_right(600);
}

#[test]
fn ed25519_signatures() {
    every_vector!(eddsa, [(eddsa::TestName::Ed25519, Algorithm::EdDSA)]).all_right(100);
}

#[test]
fn rsa_pkcs1_signatures() {
    use pkcs1::TestName::*;
    let sets = [
        (Rsa2048Sha256, Algorithm::RS256),
        (Rsa2048Sha384, Algorithm::RS384),
        (Rsa2048Sha512, Algorithm::RS512),
        (Rsa3072Sha256, Algorithm::RS256),
        (Rsa3072Sha384, Algorithm::RS384),
        (Rsa3072Sha512, Algorithm::RS512),
        (Rsa4096Sha256, Algorithm::RS256),
        (Rsa4096Sha384, Algorithm::RS384),
        (Rsa4096Sha512, Algorithm::RS512),
        (Rsa8192Sha256, Algorithm::RS256),
        (Rsa8192Sha384, Algorithm::RS384),
        (Rsa8192Sha512, Algorithm::RS512),
    ];
    every_vector!(pkcs1, sets).all_right(2000);
}

#[test]
fn rsa_pss_signatures() {
    use pss::TestName::*;
    let sets = [
        (RsaPss2048Sha256Mgf1SaltLen32, Algorithm::PS256),
        (RsaPss2048Sha384Mgf1SaltLen48, Algorithm::PS384),
        (RsaPss3072Sha256Mgf1SaltLen32, Algorithm::PS256),
        (RsaPss4096Sha256Mgf1SaltLen32, Algorithm::PS256),
        (RsaPss4096Sha384Mgf1SaltLen48, Algorithm::PS384),
        (RsaPss4096Sha512Mgf1SaltLen64, Algorithm::PS512),
    ];
    every_vector!(pss, sets).all_right(500);
}

/// The salt has the length of the hash (RFC 7518, section 3.5), and the mask is made with the same hash.
#[test]
fn other_pss_parameters_than_those_of_the_name_are_refused() {
    use pss::TestName::*;
    let others = [RsaPss2048Sha256Mgf1SaltLen0, RsaPss2048Sha256Mgf1Sha1_20, RsaPss4096Sha512Mgf1SaltLen32];
    for (set, algorithm) in others.into_iter().zip([Algorithm::PS256, Algorithm::PS256, Algorithm::PS512]) {
        for group in pss::TestSet::load(set).unwrap().test_groups {
            let key = Key::from_pem(&group.pem).unwrap();
            // Vectors whose parameters were changed may have come to those of the name.
            for test in group.tests.into_iter().filter(|t| t.result == TestResult::Valid) {
                assert!(!key.verify(algorithm, &test.msg, &test.sig), "{set:?} {}: {}", test.tc_id, test.comment);
            }
        }
    }
}
