//! What tokens and accessors look like, and the keyed hash a token is found by.

use crate::{Core, Result};
use credentialflow_model::SecretValue;
use zeroize::Zeroizing;

/// Begins every service token we make, so that scanners and people recognise one.
pub const SERVICE_PREFIX: &str = "cfs_";
/// Begins every batch token.
pub const BATCH_PREFIX: &str = "cfb_";
/// No longer token is looked at.
pub(crate) const MAX_LEN: usize = 8 * 1024;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 32 characters of 62: 190 random bits.
const SECRET_CHARS: usize = 32;
const ACCESSOR_CHARS: usize = 24;
const KIND: &str = "token";

/// A new service token: prefix, 190 random bits, and a checksum by which scanners tell a real one.
pub(crate) fn new_token() -> Result<SecretValue> {
    let random = random_text(SECRET_CHARS)?;
    let mut text = Vec::with_capacity(SERVICE_PREFIX.len() + SECRET_CHARS + 6);
    text.extend_from_slice(SERVICE_PREFIX.as_bytes());
    text.extend_from_slice(random.as_bytes());
    let mut sum = crc32fast::hash(&text);
    for _ in 0..6 {
        text.push(ALPHABET[(sum % 62) as usize]);
        sum /= 62;
    }
    Ok(SecretValue::new(text))
}

/// A new accessor: names a token without being it.
pub(crate) fn new_accessor() -> Result<String> {
    Ok(random_text(ACCESSOR_CHARS)?.as_str().to_owned())
}

/// Random letters and digits, none favoured.
pub(crate) fn random_text(chars: usize) -> Result<Zeroizing<String>> {
    let mut out = Zeroizing::new(String::with_capacity(chars));
    let mut random = Zeroizing::new([0u8; 64]);
    while out.len() < chars {
        aws_lc_rs::rand::fill(&mut *random)?;
        // 248 is the greatest multiple of 62 that fits a byte.
        for byte in random.iter().filter(|b| **b < 248).take(chars - out.len()) {
            out.push(char::from(ALPHABET[usize::from(byte % 62)]));
        }
    }
    Ok(out)
}

/// The hash a token is stored under from now on.
pub(crate) fn hash(core: &Core, token: &[u8]) -> Result<[u8; 32]> {
    core.hash(KIND, token)
}

/// The hashes it may be stored under, the newest first.
pub(crate) fn hashes(core: &Core, token: &[u8]) -> Result<impl Iterator<Item = [u8; 32]>> {
    core.hashes(KIND, token)
}

/// Whether a text has the prefix, length and checksum of a service token of ours. It may still be none that was issued.
pub fn is_service_token(token: &str) -> bool {
    let Some(at) = token.len().checked_sub(6).filter(|at| *at == SERVICE_PREFIX.len() + SECRET_CHARS) else {
        return false;
    };
    if !token.starts_with(SERVICE_PREFIX) {
        return false;
    }
    let (body, sum) = token.as_bytes().split_at(at);
    let mut expected = crc32fast::hash(body);
    sum.iter().all(|digit| {
        let next = ALPHABET[(expected % 62) as usize];
        expected /= 62;
        next == *digit
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_told_without_a_look_up() {
        let token = new_token().unwrap();
        let text = token.expose_str().unwrap().to_owned();
        assert!(is_service_token(&text) && text.starts_with(SERVICE_PREFIX));
        for at in 4..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'a' { b'b' } else { b'a' };
            assert!(!is_service_token(std::str::from_utf8(&wrong).unwrap()), "{at}");
        }
        assert!(!is_service_token("cfs_") && !is_service_token(&text[..text.len() - 1]));
        assert_eq!(new_accessor().unwrap().len(), 24);
    }
}
