//! The vectors of the Wycheproof project for everything the vault opens, derives, hashes and verifies.

use crate::{
    envelope::SealingKey,
    keyring,
    pepper::{self, Pepper},
    verify_checkpoint,
};
use aws_lc_rs::{hkdf, hmac};
use wycheproof::{TestResult, aead, eddsa, hkdf as kdf, mac};

/// Judges one vector after the other; tells which went wrong, and that not all were left out.
fn every(least: usize, judged: impl IntoIterator<Item = (usize, bool, TestResult)>) {
    let judged: Vec<_> = judged.into_iter().collect();
    let fits = |accepted: bool, result: TestResult| match result {
        TestResult::Valid => accepted,
        TestResult::Invalid => !accepted,
        TestResult::Acceptable => true,
    };
    let wrong: Vec<_> = judged.iter().filter(|(_, accepted, result)| !fits(*accepted, *result)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(judged.len() >= least, "only {} vectors were there", judged.len());
}

/// With the lengths of ours: keys of 256 bits, nonces of 96, tags of 128.
#[test]
fn aes_gcm_opens_what_is_right() {
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    let ours = |g: &aead::TestGroup| g.key_size == 256 && g.nonce_size == 96 && g.tag_size == 128;
    let tests = set.test_groups.into_iter().filter(ours).flat_map(|group| group.tests);
    every(
        60,
        tests.map(|test| {
            let key = SealingKey::new(test.key.as_slice().try_into().unwrap()).unwrap();
            let body = [test.ct.as_slice(), test.tag.as_slice()].concat();
            let opened = key.open_bytes(&test.nonce, &test.aad, &body);
            (test.tc_id, opened.is_ok_and(|plain| plain.expose() == test.pt.as_slice()), test.result)
        }),
    );
}

/// A key cannot be looked at: that it is the right one shows in what it opens.
#[test]
fn hkdf_derives_the_keys_it_should() {
    let set = kdf::TestSet::load(kdf::TestName::HkdfSha256).unwrap();
    let tests = set.test_groups.into_iter().flat_map(|group| group.tests);
    every(
        5,
        tests.filter(|test| test.okm.len() >= 32).map(|test| {
            // The first bytes do not depend on how many are asked for (RFC 5869, section 2.3).
            let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, &test.salt).extract(&test.ikm);
            let expected = SealingKey::new(test.okm[..32].try_into().unwrap()).unwrap();
            let sealed = expected.seal(1, b"place", b"value").unwrap();
            let derived = keyring::expand(&prk, &[&test.info]).unwrap();
            (test.tc_id, derived.open(b"place", &sealed).is_ok(), test.result)
        }),
    );
}

#[test]
fn keyed_hashes_are_hmac() {
    let set = mac::TestSet::load(mac::TestName::HmacSha256).unwrap();
    let tests = set.test_groups.into_iter().filter(|g| g.tag_size == 256).flat_map(|group| group.tests);
    every(
        50,
        tests.map(|test| {
            let pepper = Pepper { id: 1, key: hmac::Key::new(hmac::HMAC_SHA256, &test.key) };
            let made = pepper.hash(&test.msg);
            assert_eq!(made, pepper::to_array(hmac::sign(&pepper.key, &test.msg)));
            (test.tc_id, made.as_slice() == test.tag.as_slice(), test.result)
        }),
    );
}

#[test]
fn checkpoints_are_signed_with_ed25519() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let judged = set.test_groups.into_iter().flat_map(|group| {
        let key = group.key.pk.to_vec();
        let judge = move |test: eddsa::Test| (test.tc_id, verify_checkpoint(&key, &test.msg, &test.sig), test.result);
        group.tests.into_iter().map(judge).collect::<Vec<_>>()
    });
    every(100, judged);
}
