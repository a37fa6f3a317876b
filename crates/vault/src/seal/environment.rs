//! Unsealing by the variable `CREDENTIALFLOW_UNSEAL_KEY`: 32 bytes in base64, or a passphrase.
//!
//! Posture: development only. A variable can be read by everything that runs as the same user and
//! tends to end up in scripts and process listings.

use super::{Kek, passphrase};
use crate::{Result, VaultError};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use credentialflow_model::SecretValue;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The variable's name.
pub const VARIABLE: &str = "CREDENTIALFLOW_UNSEAL_KEY";

/// How the variable's content is read, decided when the vault was initialised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case")]
pub enum Settings {
    /// 32 bytes in base64, used as they are.
    Key,
    /// Anything else, through Argon2id.
    Passphrase(passphrase::Settings),
}

/// The variable's content, if it is set; taken from the process.
pub fn from_process() -> Option<super::SealInput> {
    std::env::var(VARIABLE).ok().filter(|v| !v.is_empty()).map(|v| super::SealInput::Environment(SecretValue::from(v)))
}

pub(super) fn create(value: &SecretValue) -> Result<(Settings, Kek)> {
    match key(value) {
        Some(kek) => Ok((Settings::Key, kek)),
        None => passphrase::create(value).map(|(settings, kek)| (Settings::Passphrase(settings), kek)),
    }
}

pub(super) fn derive(settings: &Settings, value: &SecretValue) -> Result<Kek> {
    match settings {
        Settings::Key => key(value).ok_or(VaultError::Unseal),
        Settings::Passphrase(settings) => passphrase::derive(settings, value),
    }
}

fn key(value: &SecretValue) -> Option<Kek> {
    let bytes = Zeroizing::new(STANDARD.decode(value.expose()).ok()?);
    let key: [u8; 32] = bytes.as_slice().try_into().ok()?;
    Some(Kek(Zeroizing::new(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_a_key_and_anything_else_a_passphrase() {
        let (settings, kek) = create(&SecretValue::from(STANDARD.encode([5u8; 32]))).unwrap();
        assert_eq!((settings, *kek.0), (Settings::Key, [5u8; 32]));
        let (settings, kek) = create(&SecretValue::from("development")).unwrap();
        assert!(matches!(settings, Settings::Passphrase(_)));
        assert_eq!(*derive(&settings, &SecretValue::from("development")).unwrap().0, *kek.0);
        assert!(matches!(derive(&Settings::Key, &SecretValue::from("short")), Err(VaultError::Unseal)));
    }
}
