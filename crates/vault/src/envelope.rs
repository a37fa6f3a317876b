//! Sealed bytes: AES-256-GCM with a random nonce, bound to the place they belong to.
//!
//! Every sealed value begins with an 18-byte header: format version (1 byte), algorithm (1 byte),
//! number of the sealing key (4 bytes, big endian), nonce (12 bytes). Header and context are the
//! associated data, so a value whose bytes, header or place was changed does not open.
//! This module knows nothing about where keys come from.

use crate::{Result, VaultError};
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand,
};
use credentialflow_model::{Name, SecretValue};
use std::fmt;
use zeroize::Zeroizing;

/// The tenant of everything in an installation without tenants.
pub const DEFAULT_TENANT: &str = "default";

const FORMAT: u8 = 1;
const HEADER_LEN: usize = 1 + 1 + 4 + NONCE_LEN;
const TAG_LEN: usize = 16;

/// How bytes are sealed. Stored with every value, so that algorithms can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// AES-256 in Galois/counter mode with 96-bit random nonces (NIST SP 800-38D).
    Aes256Gcm,
}

impl Algorithm {
    /// Its number in the header.
    const fn id(self) -> u8 {
        match self {
            Self::Aes256Gcm => 1,
        }
    }
    /// Its name, as stored beside each version and shown by the inventory.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aes256Gcm => "aes-256-gcm",
        }
    }
    fn from_id(id: u8) -> Result<Self> {
        match id {
            1 => Ok(Self::Aes256Gcm),
            other => Err(VaultError::UnknownAlgorithm(other)),
        }
    }
}

/// The place a credential's value belongs to. A value sealed for one place opens nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealContext {
    /// Whose it is; selects the data key as well.
    pub tenant: String,
    /// Which credential.
    pub credential: Name,
    /// Which version of it.
    pub version: u32,
}

impl SealContext {
    /// A version of a credential of the default tenant.
    pub fn new(credential: &Name, version: u32) -> Self {
        Self { tenant: DEFAULT_TENANT.to_owned(), credential: credential.clone(), version }
    }

    pub(crate) fn associated_data(&self) -> Vec<u8> {
        associated(&[
            b"credential",
            self.tenant.as_bytes(),
            self.credential.as_str().as_bytes(),
            &self.version.to_be_bytes(),
        ])
    }
}

/// Parts joined so that no two lists of parts give the same bytes.
pub(crate) fn associated(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.iter().map(|p| p.len() + 8).sum());
    for part in parts {
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// Sealed bytes with their header. Safe to store; says only how it was sealed.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// Reads stored bytes; refuses what is too short or names an unknown format or algorithm.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        if bytes.len() < HEADER_LEN + TAG_LEN {
            return Err(VaultError::Tampered);
        }
        if bytes[0] != FORMAT {
            return Err(VaultError::UnknownAlgorithm(bytes[0]));
        }
        Algorithm::from_id(bytes[1])?;
        Ok(Self(bytes))
    }
    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
    /// The bytes to store.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
    /// What guards this value.
    pub fn algorithm(&self) -> Algorithm {
        Algorithm::Aes256Gcm
    }
    /// Number of the keyring key that sealed it; 0 for what the root key or the seal wraps.
    pub fn key_id(&self) -> u32 {
        u32::from_be_bytes([self.0[2], self.0[3], self.0[4], self.0[5]])
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").field("algorithm", &self.algorithm()).field("key_id", &self.key_id()).finish()
    }
}

/// One AES-256 key, ready to seal and open. Cannot be printed; wiped by the library when dropped.
pub(crate) struct SealingKey(LessSafeKey);

impl SealingKey {
    pub(crate) fn new(material: &[u8; 32]) -> Result<Self> {
        Ok(Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, material)?)))
    }

    pub(crate) fn from_unbound(key: UnboundKey) -> Self {
        Self(LessSafeKey::new(key))
    }

    /// Seals bytes under this key. The caller counts seals against the nonce limit.
    pub(crate) fn seal(&self, key_id: u32, context: &[u8], plain: &[u8]) -> Result<Sealed> {
        let mut nonce = [0u8; NONCE_LEN];
        rand::fill(&mut nonce)?;
        // The exact capacity: growing would leave plain text behind in a freed block.
        let mut bytes = Vec::with_capacity(HEADER_LEN + plain.len() + TAG_LEN);
        bytes.extend_from_slice(&[FORMAT, Algorithm::Aes256Gcm.id()]);
        bytes.extend_from_slice(&key_id.to_be_bytes());
        bytes.extend_from_slice(&nonce);
        let aad = associated(&[&bytes, context]);
        bytes.extend_from_slice(plain);
        let tag = self.0.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(&aad),
            &mut bytes[HEADER_LEN..],
        );
        match tag {
            Ok(tag) => {
                bytes.extend_from_slice(tag.as_ref());
                Ok(Sealed(bytes))
            }
            Err(_) => {
                zeroize::Zeroize::zeroize(&mut bytes);
                Err(VaultError::Crypto)
            }
        }
    }

    /// Opens what `seal` made for the same context.
    pub(crate) fn open(&self, context: &[u8], sealed: &Sealed) -> Result<SecretValue> {
        let (header, body) = sealed.0.split_at(HEADER_LEN);
        self.open_bytes(&header[HEADER_LEN - NONCE_LEN..], &associated(&[header, context]), body)
    }

    /// Opens ciphertext with its tag.
    pub(crate) fn open_bytes(&self, nonce: &[u8], aad: &[u8], body: &[u8]) -> Result<SecretValue> {
        let nonce = Nonce::try_assume_unique_for_key(nonce)?;
        let mut buffer = Zeroizing::new(body.to_vec());
        let plain = self.0.open_in_place(nonce, Aad::from(aad), &mut buffer).map_err(|_| VaultError::Tampered)?;
        Ok(SecretValue::new(plain.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> SealingKey {
        SealingKey::new(&[7; 32]).unwrap()
    }

    fn context(version: u32) -> SealContext {
        SealContext::new(&"orders-token".parse().unwrap(), version)
    }

    #[test]
    fn a_sealed_value_shows_how_but_not_what() {
        let sealed = key().seal(3, &context(1).associated_data(), b"canary-3f1b").unwrap();
        assert_eq!((sealed.key_id(), sealed.algorithm()), (3, Algorithm::Aes256Gcm));
        assert!(!sealed.as_bytes().windows(11).any(|w| w == b"canary-3f1b"));
        assert_eq!(format!("{sealed:?}"), "Sealed { algorithm: Aes256Gcm, key_id: 3 }");
    }

    #[test]
    fn equal_values_seal_differently() {
        let aad = context(1).associated_data();
        assert_ne!(key().seal(1, &aad, b"same").unwrap(), key().seal(1, &aad, b"same").unwrap());
    }

    #[test]
    fn contexts_do_not_run_into_each_other() {
        assert_ne!(associated(&[b"ab", b"c"]), associated(&[b"a", b"bc"]));
        assert_ne!(associated(&[b"", b"x"]), associated(&[b"x", b""]));
    }

    #[test]
    fn unknown_formats_and_stumps_are_refused() {
        let good = key().seal(1, b"", b"").unwrap().into_bytes();
        for len in 0..good.len() {
            assert!(Sealed::from_bytes(good[..len].to_vec()).is_err());
        }
        for at in [0, 1] {
            let mut bad = good.clone();
            bad[at] = 9;
            assert!(matches!(Sealed::from_bytes(bad), Err(VaultError::UnknownAlgorithm(9))));
        }
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens(plain in prop::collection::vec(any::<u8>(), 0..300), version in any::<u32>()) {
            let aad = context(version).associated_data();
            let sealed = Sealed::from_bytes(key().seal(1, &aad, &plain).unwrap().into_bytes()).unwrap();
            let opened = key().open(&aad, &sealed).unwrap();
            prop_assert_eq!(opened.expose(), &plain[..]);
        }

        #[test]
        fn any_changed_bit_is_refused(plain in prop::collection::vec(any::<u8>(), 0..60), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let aad = context(1).associated_data();
            let mut bytes = key().seal(1, &aad, &plain).unwrap().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(Sealed::from_bytes(bytes).and_then(|s| key().open(&aad, &s)).is_err());
        }

        #[test]
        fn any_other_place_is_refused(
            tenant in "[a-z]{1,8}", name in "[a-z][a-z0-9-]{0,8}", version in 0u32..5,
            tenant2 in "[a-z]{1,8}", name2 in "[a-z][a-z0-9-]{0,8}", version2 in 0u32..5,
        ) {
            let here = SealContext { tenant, credential: name.parse().unwrap(), version };
            let there = SealContext { tenant: tenant2, credential: name2.parse().unwrap(), version: version2 };
            prop_assume!(here != there);
            let sealed = key().seal(1, &here.associated_data(), b"value").unwrap();
            prop_assert!(key().open(&there.associated_data(), &sealed).is_err());
            prop_assert!(SealingKey::new(&[8; 32]).unwrap().open(&here.associated_data(), &sealed).is_err());
        }
    }
}
