//! Unsealing by a passphrase: Argon2id (RFC 9106) with a random salt.
//!
//! Settings: memory, passes and lanes are those RFC 9106 section 4 recommends where memory is
//! limited (64 MiB, 3 passes, 4 lanes). Posture: as strong as the passphrase.

use super::Kek;
use crate::{Result, VaultError};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use credentialflow_model::SecretValue;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

const SALT_LEN: usize = 16;
/// The least RFC 9106 allows.
const MIN_SALT_LEN: usize = 8;
/// No stored seal may ask for more than 1 GiB.
const MAX_MEMORY_KIB: u32 = 1 << 20;

/// What is stored to make the same key again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    algorithm: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    /// Base64 of 16 random bytes.
    salt: String,
}

pub(super) fn create(passphrase: &SecretValue) -> Result<(Settings, Kek)> {
    let mut salt = [0u8; SALT_LEN];
    aws_lc_rs::rand::fill(&mut salt)?;
    let settings = Settings {
        algorithm: "argon2id-19".to_owned(),
        memory_kib: 64 * 1024,
        passes: 3,
        lanes: 4,
        salt: STANDARD.encode(salt),
    };
    let kek = derive(&settings, passphrase)?;
    Ok((settings, kek))
}

pub(super) fn derive(settings: &Settings, passphrase: &SecretValue) -> Result<Kek> {
    if passphrase.is_empty() {
        return Err(VaultError::Unseal);
    }
    let salt = STANDARD.decode(&settings.salt).map_err(|_| VaultError::SealSettings)?;
    let bounded = settings.algorithm == "argon2id-19"
        && settings.memory_kib <= MAX_MEMORY_KIB
        && settings.passes <= 64
        && settings.lanes <= 64
        && salt.len() >= MIN_SALT_LEN;
    if !bounded {
        return Err(VaultError::SealSettings);
    }
    let params = Params::new(settings.memory_kib, settings.passes, settings.lanes, Some(32))
        .map_err(|_| VaultError::SealSettings)?;
    let mut memory = vec![Block::default(); params.block_count()];
    let mut key = Zeroizing::new([0u8; 32]);
    let done = Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into_with_memory(
        passphrase.expose(),
        &salt,
        &mut *key,
        &mut memory,
    );
    memory.iter_mut().for_each(Zeroize::zeroize);
    done.map_err(|_| VaultError::SealSettings)?;
    Ok(Kek(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_reference_implementation() {
        // The Argon2 reference implementation, src/test.c, Argon2id version 19.
        let settings = Settings {
            algorithm: "argon2id-19".to_owned(),
            memory_kib: 65536,
            passes: 2,
            lanes: 1,
            salt: STANDARD.encode(b"somesalt"),
        };
        let key = derive(&settings, &SecretValue::from("password")).unwrap();
        let hex: String = key.0.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7");
    }

    #[test]
    fn empty_passphrases_and_weak_or_huge_settings_are_refused() {
        let good = Settings {
            algorithm: "argon2id-19".to_owned(),
            memory_kib: 64,
            passes: 1,
            lanes: 1,
            salt: STANDARD.encode([1u8; 16]),
        };
        assert!(derive(&good, &SecretValue::from("x")).is_ok());
        assert!(matches!(derive(&good, &SecretValue::from("")), Err(VaultError::Unseal)));
        for bad in [
            Settings { algorithm: "argon2i-19".into(), ..good.clone() },
            Settings { memory_kib: MAX_MEMORY_KIB + 1, ..good.clone() },
            Settings { passes: 1000, ..good.clone() },
            Settings { salt: STANDARD.encode([1u8; 7]), ..good.clone() },
        ] {
            assert!(matches!(derive(&bad, &SecretValue::from("x")), Err(VaultError::SealSettings)));
        }
    }
}
