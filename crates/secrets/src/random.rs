//! Names nobody can guess.

use crate::{Result, SecretsError};
use aws_lc_rs::rand;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

fn fill(bytes: &mut [u8]) -> Result<()> {
    rand::fill(bytes).map_err(|_| SecretsError::Internal("the system gives no random numbers".into()))
}

/// Letters and digits, each worth 5.95 bits.
pub fn identifier(length: usize) -> Result<String> {
    let mut out = String::with_capacity(length);
    let mut bytes = [0u8; 64];
    while out.len() < length {
        fill(&mut bytes)?;
        // 248 is the greatest multiple of 62 in a byte: every letter is as likely as the others.
        let fair = bytes.iter().filter(|b| **b < 248).map(|b| char::from(ALPHABET[usize::from(b % 62)]));
        out.extend(fair.take(length - out.len()));
    }
    Ok(out)
}

/// A random UUID (RFC 9562, version 4).
pub fn uuid() -> Result<String> {
    let mut b = [0u8; 16];
    fill(&mut b)?;
    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;
    let hex = b.iter().fold(String::with_capacity(36), |mut out, byte| {
        use std::fmt::Write;
        let _ = write!(out, "{byte:02x}");
        if matches!(out.len(), 8 | 13 | 18 | 23) {
            out.push('-');
        }
        out
    });
    Ok(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        let id = uuid().unwrap();
        assert_eq!((id.len(), &id[14..15], id.matches('-').count()), (36, "4", 4));
        let name = identifier(24).unwrap();
        assert!(name.len() == 24 && name.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_ne!(name, identifier(24).unwrap());
    }
}
