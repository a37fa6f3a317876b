//! Passwords for logins: letters and digits only, so that every system and every connection string
//! takes them as they are.

use crate::{Result, TargetError};
use credentialflow_model::SecretValue;
use zeroize::Zeroizing;

const CHARACTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A random password of this many characters, 16 to 128, at 5.95 bits each. It has at least one
/// small letter, capital letter and digit, as password checkers of databases ask for.
pub fn generate(length: usize) -> Result<SecretValue> {
    loop {
        let drawn = random_text(length.clamp(16, 128))?;
        let has = |test: fn(&u8) -> bool| drawn.iter().any(test);
        if has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_digit) {
            return Ok(SecretValue::new(drawn.to_vec()));
        }
    }
}

/// Unbiased random letters and digits.
pub(crate) fn random_text(length: usize) -> Result<Zeroizing<Vec<u8>>> {
    let mut text = Zeroizing::new(Vec::with_capacity(length));
    let mut block = Zeroizing::new([0u8; 64]);
    while text.len() < length {
        random_bytes(&mut *block)?;
        // 248 = 4 · 62: bytes beyond would favour the first characters.
        let fair = block.iter().filter(|b| **b < 248);
        let missing = length - text.len();
        text.extend(fair.take(missing).map(|b| CHARACTERS[usize::from(*b) % CHARACTERS.len()]));
    }
    Ok(text)
}

pub(crate) fn random_bytes(bytes: &mut [u8]) -> Result<()> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| TargetError::BadSettings("the system gave no random bytes".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_have_their_length_and_every_kind_of_character() {
        for length in [0, 16, 32, 128, 4000] {
            let password = generate(length).unwrap();
            assert_eq!(password.len(), length.clamp(16, 128));
            assert!(password.expose().iter().all(u8::is_ascii_alphanumeric));
        }
        assert_ne!(generate(32).unwrap().expose(), generate(32).unwrap().expose());
    }
}
