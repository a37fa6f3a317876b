//! Peppers: the keys of the keyed hashes that stand for secrets we only check.
//!
//! Several may be in use: the newest makes new hashes, the others still check old ones. The keyed
//! hash is HMAC-SHA-256 (RFC 2104).

use crate::{Result, VaultError, envelope::associated, seal::random_key};
use aws_lc_rs::hmac;
use std::fmt;
use zeroize::Zeroizing;

/// One pepper, ready to hash. Cannot show its key.
#[derive(Clone)]
pub struct Pepper {
    /// Its number, stored beside each hash.
    pub id: u32,
    /// The HMAC-SHA-256 key.
    pub key: hmac::Key,
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pepper").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Pepper {
    /// The keyed hash of a key's secret part, as stored and as the data plane's table compares it.
    pub fn hash(&self, secret: &[u8]) -> [u8; 32] {
        to_array(hmac::sign(&self.key, secret))
    }

    /// The keyed hash of a request; never equal to that of a key's secret part.
    pub(crate) fn hash_request(&self, request: &[u8]) -> [u8; 32] {
        let mut mac = hmac::Context::with_key(&self.key);
        mac.update(&associated(&[b"request"]));
        mac.update(request);
        to_array(mac.sign())
    }
}

/// An HMAC-SHA-256 tag as an array.
pub(crate) fn to_array(tag: hmac::Tag) -> [u8; 32] {
    let mut out = [0u8; 32];
    out.copy_from_slice(tag.as_ref());
    out
}

const ENTRY: usize = 4 + 32;

/// A first pepper, and its bytes for the root key to wrap.
pub(crate) fn generate() -> Result<(Vec<Pepper>, Zeroizing<Vec<u8>>)> {
    let key = random_key()?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(ENTRY));
    bytes.extend_from_slice(&1u32.to_be_bytes());
    bytes.extend_from_slice(&*key);
    Ok((from_bytes(&bytes)?, bytes))
}

/// A fresh pepper after these: its number, and all of them as bytes.
pub(crate) fn add(bytes: &[u8]) -> Result<(u32, Zeroizing<Vec<u8>>)> {
    let id = from_bytes(bytes)?.iter().map(|p| p.id).max().unwrap_or(0) + 1;
    let mut all = Zeroizing::new(Vec::with_capacity(bytes.len() + ENTRY));
    all.extend_from_slice(bytes);
    all.extend_from_slice(&id.to_be_bytes());
    all.extend_from_slice(&*random_key()?);
    Ok((id, all))
}

/// Reads peppers, oldest first; never empty.
pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Vec<Pepper>> {
    if bytes.is_empty() || !bytes.len().is_multiple_of(ENTRY) {
        return Err(VaultError::Corrupt("peppers"));
    }
    bytes
        .chunks_exact(ENTRY)
        .map(|entry| {
            let (id, key) = entry.split_first_chunk::<4>().ok_or(VaultError::Corrupt("peppers"))?;
            Ok(Pepper { id: u32::from_be_bytes(*id), key: hmac::Key::new(hmac::HMAC_SHA256, key) })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_depend_on_pepper_and_secret_and_survive_storage() {
        let (a, bytes) = generate().unwrap();
        let (b, _) = generate().unwrap();
        assert_ne!(a[0].hash(b"x"), b[0].hash(b"x"));
        assert_ne!(a[0].hash(b"x"), a[0].hash(b"y"));
        assert_ne!(a[0].hash(b"x"), a[0].hash_request(b"x"));
        assert_eq!(from_bytes(&bytes).unwrap()[0].hash(b"x"), a[0].hash(b"x"));
        assert!(from_bytes(&bytes[1..]).is_err() && from_bytes(b"").is_err());
        assert_eq!(format!("{:?}", a[0]), "Pepper { id: 1, .. }");
    }

    #[test]
    fn a_fresh_pepper_stands_beside_the_old_one_until_that_is_removed() {
        let (first, bytes) = generate().unwrap();
        let (id, both) = add(&bytes).unwrap();
        let read = from_bytes(&both).unwrap();
        assert_eq!((id, read.len(), read[1].id), (2, 2, 2));
        assert_eq!(read[0].hash(b"x"), first[0].hash(b"x"));
        assert_ne!(read[1].hash(b"x"), first[0].hash(b"x"));
    }
}
