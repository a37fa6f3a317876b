//! The administrator's token: made once, shown once, kept only as a keyed hash.

use crate::{
    Result, VaultError,
    envelope::associated,
    pepper::{self, Pepper},
};
use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use credentialflow_model::SecretValue;
use zeroize::Zeroizing;

/// Begins every administrator's token, so that scanners and people recognise one.
pub const PREFIX: &str = "cfadmin_";
/// No longer token is looked at.
const MAX_LEN: usize = 256;
const CHARACTERS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";

/// A new token: the prefix and 43 characters, 258 random bits.
pub(crate) fn generate() -> Result<SecretValue> {
    let mut random = Zeroizing::new([0u8; 43]);
    aws_lc_rs::rand::fill(&mut *random)?;
    let mut text = Vec::with_capacity(PREFIX.len() + random.len());
    text.extend_from_slice(PREFIX.as_bytes());
    // 256 is a multiple of 64, so no character is favoured.
    text.extend(random.iter().map(|b| CHARACTERS[usize::from(b % 64)]));
    Ok(SecretValue::new(text))
}

/// What is stored of a token: pepper number and keyed hash.
pub(crate) fn to_stored(pepper: &Pepper, token: &SecretValue) -> Vec<u8> {
    let mut stored = pepper.id.to_be_bytes().to_vec();
    stored.extend_from_slice(&hash(&pepper.key, token.expose()));
    stored
}

/// The pepper a stored token was hashed under.
pub(crate) fn pepper_of(stored: &[u8]) -> Result<u32> {
    let (id, _) = stored.split_first_chunk::<4>().ok_or(VaultError::Corrupt("administrator's token"))?;
    Ok(u32::from_be_bytes(*id))
}

/// Whether a presented token is the stored one. Equal work for right, wrong and malformed ones.
pub(crate) fn verify(peppers: &[Pepper], stored: &[u8], presented: &[u8]) -> Result<bool> {
    let (id, expected) = stored.split_first_chunk::<4>().ok_or(VaultError::Corrupt("administrator's token"))?;
    let id = u32::from_be_bytes(*id);
    let pepper = peppers.iter().find(|p| p.id == id).ok_or(VaultError::Corrupt("administrator's token"))?;
    let fits = presented.len() <= MAX_LEN;
    let actual = hash(&pepper.key, if fits { presented } else { b"" });
    Ok(verify_slices_are_equal(&actual, expected).is_ok() && fits)
}

fn hash(key: &hmac::Key, token: &[u8]) -> [u8; 32] {
    let mut mac = hmac::Context::with_key(key);
    mac.update(&associated(&[b"administrator"]));
    mac.update(token);
    pepper::to_array(mac.sign())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_is_accepted() {
        let (peppers, _) = pepper::generate().unwrap();
        let token = generate().unwrap();
        assert!(token.expose_str().unwrap().starts_with(PREFIX));
        let stored = to_stored(&peppers[0], &token);
        assert!(verify(&peppers, &stored, token.expose()).unwrap());
        let longer = [token.expose(), b"x"].concat();
        let huge = vec![b'a'; 10_000];
        for wrong in [&b""[..], &token.expose()[1..], &longer, &huge, generate().unwrap().expose()] {
            assert!(!verify(&peppers, &stored, wrong).unwrap());
        }
        // A hash of nothing must not make an oversized or empty token pass.
        let empty = to_stored(&peppers[0], &SecretValue::from(""));
        assert!(!verify(&peppers, &empty, &huge).unwrap());
        assert!(!stored.windows(8).any(|w| w == &token.expose()[..8]));
    }
}
