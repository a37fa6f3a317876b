//! The secrets under which keys are hashed, so that a stolen database cannot be searched for keys.

use aws_lc_rs::hmac;
use credentialflow_model::SecretValue;
use std::fmt;

/// Peppers by number. Several exist while keys move from an old one to a new one.
pub struct Peppers {
    keys: Box<[(u8, hmac::Key)]>,
    /// Used where there is nothing to compare with, so that the work stays equal.
    dummy: hmac::Key,
}

/// No pepper has this number.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no pepper has the number {0}")]
pub struct UnknownPepper(pub u8);

impl Peppers {
    /// From the vault's values. Hand them in opened; only their keyed state is kept.
    pub fn new<'a>(values: impl IntoIterator<Item = (u8, &'a SecretValue)>) -> Self {
        Self {
            keys: values
                .into_iter()
                .map(|(id, value)| (id, hmac::Key::new(hmac::HMAC_SHA256, value.expose())))
                .collect(),
            dummy: hmac::Key::new(hmac::HMAC_SHA256, &[0; 32]),
        }
    }

    /// With keys made elsewhere; the first of a number wins.
    pub fn from_keys(keys: impl IntoIterator<Item = (u8, hmac::Key)>) -> Self {
        Self { keys: keys.into_iter().collect(), ..Self::new([]) }
    }

    /// The keyed hash under which a key's secret part is stored.
    pub fn hash(&self, pepper: u8, secret: &[u8]) -> Result<[u8; 32], UnknownPepper> {
        let key = self.get(pepper).ok_or(UnknownPepper(pepper))?;
        Ok(digest(key, secret))
    }

    /// As [`Self::hash`], but with equal work for an unknown number; the flag says whether it is known.
    pub(crate) fn hash_anyway(&self, pepper: u8, secret: &[u8]) -> ([u8; 32], bool) {
        let key = self.get(pepper);
        (digest(key.unwrap_or(&self.dummy), secret), key.is_some())
    }

    /// The number of the newest one.
    pub(crate) fn newest(&self) -> Option<u8> {
        self.keys.iter().map(|(id, _)| *id).max()
    }

    fn get(&self, pepper: u8) -> Option<&hmac::Key> {
        self.keys.iter().find(|(id, _)| *id == pepper).map(|(_, key)| key)
    }
}

fn digest(key: &hmac::Key, secret: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(key, secret);
    let mut hash = [0; 32];
    // HMAC-SHA-256 has exactly 32 bytes.
    hash.copy_from_slice(tag.as_ref());
    hash
}

impl fmt::Debug for Peppers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(id, _)| id)).finish()
    }
}
