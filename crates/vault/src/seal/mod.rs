//! The seal: what turns something a person or machine holds into the key that wraps the root key.
//!
//! One method per file. Each gives a key-encryption key (KEK) and the settings needed to make the
//! same one again; the settings are stored in the clear beside the wrapped root key and are part of
//! its associated data, so a changed salt or cost is refused.
//!
//! # Registry
//!
//! | Method | File | Posture |
//! | --- | --- | --- |
//! | `passphrase` | `passphrase.rs` | for people; as strong as the passphrase |
//! | `key_file` | `key_file.rs` | for machines; as strong as the file's protection |
//! | `environment` | `environment.rs` | development only: a variable is visible to the process's user |
//!
//! A further method (Shamir shares, an external KMS) is a file here, a variant in [`SealInput`] and
//! [`SealMethod`], and a line in this table; nothing else in the vault changes.

pub mod environment;
pub mod key_file;
pub mod passphrase;

use crate::{
    Result, VaultError,
    envelope::{Sealed, SealingKey, associated},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use credentialflow_model::SecretValue;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// What is offered to unseal with.
#[derive(Debug)]
pub enum SealInput {
    /// A passphrase typed by a person.
    Passphrase(SecretValue),
    /// The path of a file with 32 random bytes, readable by its owner only. `init` creates it.
    KeyFile(PathBuf),
    /// The 32 bytes of a key file that lies elsewhere, as sent by `credentialflow unseal`. Opens a vault
    /// sealed by a key file; cannot initialise one.
    Key(SecretValue),
    /// The content of `CREDENTIALFLOW_UNSEAL_KEY`: 32 bytes in base64, or a passphrase. Development only.
    Environment(SecretValue),
}

impl SealInput {
    const fn method(&self) -> &'static str {
        match self {
            Self::Passphrase(_) => "passphrase",
            Self::KeyFile(_) | Self::Key(_) => "key_file",
            Self::Environment(_) => "environment",
        }
    }
}

/// How a vault is unsealed, as stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
enum SealMethod {
    Passphrase(passphrase::Settings),
    KeyFile,
    Environment(environment::Settings),
}

impl SealMethod {
    /// Chooses settings for a new vault and makes its KEK.
    fn create(input: &SealInput) -> Result<(Self, Kek)> {
        match input {
            SealInput::Passphrase(p) => passphrase::create(p).map(|(s, k)| (Self::Passphrase(s), k)),
            SealInput::KeyFile(path) => key_file::create(path).map(|k| (Self::KeyFile, k)),
            SealInput::Key(_) => Err(VaultError::KeyFile("a new vault needs the file itself".to_owned())),
            SealInput::Environment(v) => environment::create(v).map(|(s, k)| (Self::Environment(s), k)),
        }
    }

    /// Makes the KEK of an existing vault again.
    fn kek(&self, input: &SealInput) -> Result<Kek> {
        match (self, input) {
            (Self::Passphrase(settings), SealInput::Passphrase(p)) => passphrase::derive(settings, p),
            (Self::KeyFile, SealInput::KeyFile(path)) => key_file::read(path),
            (Self::KeyFile, SealInput::Key(key)) => key_file::from_bytes(key),
            (Self::Environment(settings), SealInput::Environment(v)) => environment::derive(settings, v),
            (expected, given) => Err(VaultError::OtherSealMethod { expected: expected.name(), given: given.method() }),
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Passphrase(_) => "passphrase",
            Self::KeyFile => "key_file",
            Self::Environment(_) => "environment",
        }
    }
}

/// A key-encryption key: wraps the root key and nothing else.
pub(crate) struct Kek(pub(crate) Zeroizing<[u8; 32]>);

/// The root key: wraps the keyring, the peppers and the other long-lived keys.
pub(crate) struct RootKey(Zeroizing<[u8; 32]>);

impl RootKey {
    pub(crate) fn generate() -> Result<Self> {
        random_key().map(Self)
    }

    /// A second holder of the root key, for reading changed settings.
    pub(crate) fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }

    /// Wraps a long-lived secret under its setting's name.
    pub(crate) fn wrap(&self, name: &str, plain: &[u8]) -> Result<Sealed> {
        SealingKey::new(&self.0)?.seal(0, &associated(&[b"root", name.as_bytes()]), plain)
    }

    pub(crate) fn unwrap(&self, name: &str, sealed: &[u8]) -> Result<SecretValue> {
        let sealed = Sealed::from_bytes(sealed.to_vec())?;
        SealingKey::new(&self.0)?.open(&associated(&[b"root", name.as_bytes()]), &sealed)
    }
}

/// 32 bytes from the system's randomness.
pub(crate) fn random_key() -> Result<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0u8; 32]);
    aws_lc_rs::rand::fill(&mut *key)?;
    Ok(key)
}

/// The stored seal: format, method with its settings, and the wrapped root key.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    seal: SealMethod,
    /// Base64 of the sealed root key.
    root: String,
}

/// Makes a seal around a root key; gives the bytes to store. Slow for passphrases: run it off the
/// runtime's own threads.
pub(crate) fn close(input: &SealInput, root: &RootKey) -> Result<Vec<u8>> {
    let (seal, kek) = SealMethod::create(input)?;
    let context = context(1, &seal)?;
    let sealed = SealingKey::new(&kek.0)?.seal(0, &context, &*root.0)?;
    serde_json::to_vec(&Stored { format: 1, seal, root: STANDARD.encode(sealed.as_bytes()) })
        .map_err(|_| VaultError::Corrupt("seal"))
}

/// Takes the root key out of a stored seal. Slow for passphrases.
pub(crate) fn open(stored: &[u8], input: &SealInput) -> Result<RootKey> {
    let stored: Stored = serde_json::from_slice(stored).map_err(|_| VaultError::Corrupt("seal"))?;
    let sealed = STANDARD.decode(&stored.root).map_err(|_| VaultError::Corrupt("seal"))?;
    let kek = stored.seal.kek(input)?;
    let root = SealingKey::new(&kek.0)?
        .open(&context(stored.format, &stored.seal)?, &Sealed::from_bytes(sealed)?)
        .map_err(|_| VaultError::Unseal)?;
    let root: [u8; 32] = root.expose().try_into().map_err(|_| VaultError::Unseal)?;
    Ok(RootKey(Zeroizing::new(root)))
}

/// The name of the method a stored seal uses, to ask for the right thing.
pub(crate) fn method_of(stored: &[u8]) -> Result<&'static str> {
    let stored: Stored = serde_json::from_slice(stored).map_err(|_| VaultError::Corrupt("seal"))?;
    Ok(stored.seal.name())
}

fn context(format: u32, seal: &SealMethod) -> Result<Vec<u8>> {
    let settings = serde_json::to_vec(seal).map_err(|_| VaultError::Corrupt("seal"))?;
    Ok(associated(&[b"seal", &format.to_be_bytes(), &settings]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> SealInput {
        SealInput::Environment(SecretValue::from(STANDARD.encode([9u8; 32])))
    }

    #[test]
    fn the_same_input_opens_and_another_does_not() {
        let root = RootKey::generate().unwrap();
        let stored = close(&environment(), &root).unwrap();
        assert_eq!(*open(&stored, &environment()).unwrap().0, *root.0);
        let other = SealInput::Environment(SecretValue::from(STANDARD.encode([8u8; 32])));
        assert!(matches!(open(&stored, &other), Err(VaultError::Unseal)));
        let passphrase = SealInput::Passphrase(SecretValue::from("x"));
        assert!(matches!(open(&stored, &passphrase), Err(VaultError::OtherSealMethod { .. })));
        assert_eq!(method_of(&stored).unwrap(), "environment");
    }

    #[test]
    fn changed_settings_are_refused() {
        let input = SealInput::Passphrase(SecretValue::from("correct horse"));
        let stored = close(&input, &RootKey::generate().unwrap()).unwrap();
        let text = String::from_utf8(stored.clone()).unwrap();
        assert!(!text.contains("horse"));
        assert!(open(&stored, &input).is_ok());
        for (from, to) in [("\"passes\":3", "\"passes\":4"), ("\"format\":1", "\"format\":2")] {
            let changed = text.replace(from, to);
            assert_ne!(changed, text);
            assert!(matches!(open(changed.as_bytes(), &input), Err(VaultError::Unseal)));
        }
        let greedy = text.replace("\"memory_kib\":65536", "\"memory_kib\":4294967295");
        assert!(matches!(open(greedy.as_bytes(), &input), Err(VaultError::SealSettings)));
    }

    #[test]
    fn a_key_file_is_made_and_must_be_the_same_one() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("unseal.key"), dir.path().join("other.key"));
        let root = RootKey::generate().unwrap();
        let stored = close(&SealInput::KeyFile(path.clone()), &root).unwrap();
        assert_eq!(*open(&stored, &SealInput::KeyFile(path.clone())).unwrap().0, *root.0);
        key_file::create(&other).unwrap();
        assert!(matches!(open(&stored, &SealInput::KeyFile(other)), Err(VaultError::Unseal)));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(open(&stored, &SealInput::KeyFile(path.clone())), Err(VaultError::KeyFile(_))));
        assert!(!path.exists(), "unsealing never makes a key file");
    }

    #[test]
    fn wrapped_secrets_open_only_under_their_name() {
        let root = RootKey::generate().unwrap();
        let sealed = root.wrap("pepper", b"canary").unwrap();
        assert_eq!(root.unwrap("pepper", sealed.as_bytes()).unwrap().expose(), b"canary");
        assert!(root.unwrap("keyring", sealed.as_bytes()).is_err());
        assert!(RootKey::generate().unwrap().unwrap("pepper", sealed.as_bytes()).is_err());
    }
}
