//! Keys we issue to callers: `<prefix>_<environment>_<key id>_<secret><checksum>`.
//!
//! The key id may be shown and logged. The secret has 32 base-62 characters (190 random bits); the
//! last six characters are a CRC-32 over everything before them, so that a typing error or a
//! scanner's match is decided without a look-up. The checksum is no security check.

use crate::SecretValue;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

const ID_ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// What each byte is worth as a character of an id; 32 where it is none.
const DIGITS: [u8; 256] = {
    let mut digits = [32; 256];
    let mut i = 0;
    while i < ID_ALPHABET.len() {
        digits[ID_ALPHABET[i] as usize] = i as u8;
        i += 1;
    }
    digits
};
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ID_CHARS: usize = 12;
const SECRET_CHARS: usize = 32;
const CHECK_CHARS: usize = 6;
/// No presented key longer than this is looked at.
pub const MAX_TOKEN_LEN: usize = 128;

/// The public half of a key: 60 random bits, written as twelve characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, pattern = "^[0-9a-hjkmnp-tv-z]{12}$", examples("7m2k9q4x1c8v"))]
pub struct KeyId(u64);

impl KeyId {
    /// From random bits; only the lowest 60 are used.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits & ((1 << 60) - 1))
    }
    /// The 60 bits.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// Why a text is no [`KeyId`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a key id has twelve characters from 0-9 and a-z without i, l, o, u")]
pub struct InvalidKeyId;

impl FromStr for KeyId {
    type Err = InvalidKeyId;
    fn from_str(s: &str) -> Result<Self, InvalidKeyId> {
        if s.len() != ID_CHARS {
            return Err(InvalidKeyId);
        }
        s.bytes()
            .try_fold(0u64, |bits, b| match DIGITS[usize::from(b)] {
                digit @ 0..32 => Ok(bits << 5 | u64::from(digit)),
                _ => Err(InvalidKeyId),
            })
            .map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; ID_CHARS];
        for (i, c) in text.iter_mut().enumerate() {
            *c = ID_ALPHABET[(self.0 >> (5 * (ID_CHARS - 1 - i)) & 31) as usize];
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for KeyId {
    type Error = InvalidKeyId;
    fn try_from(s: String) -> Result<Self, InvalidKeyId> {
        s.parse()
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> String {
        id.to_string()
    }
}

/// A key as presented: well formed and with a matching checksum, but not yet verified.
#[derive(Debug)]
pub struct KeyToken<'a> {
    /// Which key this claims to be.
    pub id: KeyId,
    secret: Redacted<'a>,
}

struct Redacted<'a>(&'a [u8]);

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}

impl<'a> KeyToken<'a> {
    /// Reads a presented key; `None` for anything malformed, oversized or with a wrong checksum.
    pub fn parse(presented: &'a [u8]) -> Option<Self> {
        if presented.len() > MAX_TOKEN_LEN || !presented.is_ascii() {
            return None;
        }
        let mut parts = presented.split(|b| *b == b'_');
        let (prefix, environment, id, tail) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some()
            || !is_label(prefix)
            || !is_label(environment)
            || tail.len() != SECRET_CHARS + CHECK_CHARS
        {
            return None;
        }
        let id = std::str::from_utf8(id).ok()?.parse().ok()?;
        let (secret, check) = tail.split_at(SECRET_CHARS);
        if !secret.iter().all(u8::is_ascii_alphanumeric)
            || checksum(&presented[..presented.len() - CHECK_CHARS]) != *check
        {
            return None;
        }
        Some(Self { id, secret: Redacted(secret) })
    }

    /// The secret half, for the keyed hash and nothing else.
    pub fn expose_secret(&self) -> &'a [u8] {
        self.secret.0
    }

    /// Writes a new key. `random` supplies uniformly random bytes; it is asked until enough
    /// unbiased base-62 digits are found. Fails only when a label is not 1 to 12 of `a-z 0-9`.
    pub fn generate(
        prefix: &str,
        environment: &str,
        id: KeyId,
        mut random: impl FnMut(&mut [u8]),
    ) -> Result<SecretValue, InvalidLabel> {
        if !is_label(prefix.as_bytes()) || !is_label(environment.as_bytes()) {
            return Err(InvalidLabel);
        }
        let mut text = Vec::with_capacity(prefix.len() + environment.len() + ID_CHARS + SECRET_CHARS + CHECK_CHARS + 3);
        text.extend_from_slice(format!("{prefix}_{environment}_{id}_").as_bytes());
        let end = text.len() + SECRET_CHARS;
        let mut byte = [0u8; 1];
        while text.len() < end {
            random(&mut byte);
            // 248 = 4 × 62: larger bytes would favour some digits.
            if byte[0] < 248 {
                text.push(BASE62[usize::from(byte[0] % 62)]);
            }
        }
        let check = checksum(&text);
        text.extend_from_slice(&check);
        Ok(SecretValue::new(text))
    }
}

/// Why a key's prefix or environment is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a key's prefix and environment have 1 to 12 characters from a-z and 0-9")]
pub struct InvalidLabel;

/// Whether a text may stand as a key's prefix or environment.
pub fn is_label(text: &[u8]) -> bool {
    (1..=12).contains(&text.len()) && text.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

fn checksum(text: &[u8]) -> [u8; CHECK_CHARS] {
    let mut crc = crc32fast::hash(text);
    let mut out = [b'0'; CHECK_CHARS];
    for c in out.iter_mut().rev() {
        *c = BASE62[(crc % 62) as usize];
        crc /= 62;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(seed: u8) -> SecretValue {
        let mut n = seed;
        KeyToken::generate("cfk", "live", KeyId::from_bits(u64::from(seed) << 40), |b| {
            b.fill_with(|| {
                n = n.wrapping_mul(37).wrapping_add(11);
                n
            })
        })
        .unwrap()
    }

    #[test]
    fn generated_keys_parse() {
        let key = sample(3);
        let token = KeyToken::parse(key.expose()).unwrap();
        assert_eq!(token.id, KeyId::from_bits(3 << 40));
        assert_eq!(token.expose_secret().len(), SECRET_CHARS);
        assert!(!format!("{token:?}").contains(std::str::from_utf8(token.expose_secret()).unwrap()));
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = KeyToken::parse(&bytes);
        }

        #[test]
        fn one_changed_character_is_noticed(seed in any::<u8>(), at in 0usize..60, to in 0usize..62) {
            let key = sample(seed);
            let mut bytes = key.expose().to_vec();
            let at = at % bytes.len();
            let to = BASE62[to];
            prop_assume!(bytes[at] != to);
            bytes[at] = to;
            prop_assert!(KeyToken::parse(&bytes).is_none());
        }

        #[test]
        fn ids_round_trip(bits in any::<u64>()) {
            let id = KeyId::from_bits(bits);
            prop_assert_eq!(id.to_string().parse::<KeyId>().unwrap(), id);
        }
    }
}
