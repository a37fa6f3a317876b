//! The seal: what turns something people or machines hold into the key that wraps the root key.
//!
//! One method per file. Each gives a key-encryption key (KEK) and the settings needed to make the
//! same one again; the settings are stored in the clear beside the wrapped root key and are part of
//! its associated data, so a changed salt, cost or quorum is refused. The KEK is wiped as soon as the
//! root key is wrapped or unwrapped; only the root key stays in memory.
//!
//! # Registry
//!
//! | Method | File | Posture |
//! | --- | --- | --- |
//! | `passphrase` | `passphrase.rs` | for people; as strong as the passphrase |
//! | `shamir` | `shamir.rs`, `share.rs` | for several people, none of whom can do it alone |
//! | `key_file` | `key_file.rs` | for machines; as strong as the file's protection |
//! | `aws_kms`, `transit` | `external.rs` | for machines; as strong as the access to the other system |
//! | `environment` | `environment.rs` | development only: a variable is visible to the process's user |
//!
//! A further method is a file here, a variant in [`SealInput`] and [`SealMethod`], and a line in this
//! table; nothing else in the vault changes.

pub mod attempts;
pub(crate) mod collect;
pub mod environment;
pub mod external;
pub mod key_file;
pub mod passphrase;
pub mod shamir;
pub mod share;
#[cfg(test)]
pub(crate) mod tests;
pub mod throttle;

use crate::{
    Result, VaultError,
    envelope::{Sealed, SealingKey, associated},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use credentialflow_model::SecretValue;
use external::{ExternalKey, KeyService, KeyServiceError};
use serde::{Deserialize, Serialize};
use shamir::Quorum;
use share::Share;
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
    /// Enough Shamir shares at once. One at a time they go to [`crate::Vault::offer_share`].
    Shares(Vec<Share>),
    /// Nothing: the server asks the key service the vault is sealed by.
    External,
}

impl SealInput {
    pub(crate) const fn method(&self) -> &'static str {
        match self {
            Self::Passphrase(_) => "passphrase",
            Self::KeyFile(_) | Self::Key(_) => "key_file",
            Self::Environment(_) => "environment",
            Self::Shares(_) => "shamir",
            Self::External => "a key service",
        }
    }
}

/// How a vault is to be sealed from now on.
#[derive(Debug)]
pub enum NewSeal {
    /// By this passphrase, key file, or variable.
    By(SealInput),
    /// By shares made for this quorum, shown once.
    Shares(Quorum),
    /// By a key in another system.
    External(ExternalKey),
}

impl From<SealInput> for NewSeal {
    fn from(input: SealInput) -> Self {
        Self::By(input)
    }
}

/// How a vault is unsealed, as stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub(crate) enum SealMethod {
    Passphrase(passphrase::Settings),
    KeyFile,
    Environment(environment::Settings),
    Shamir(shamir::Settings),
    External(external::Settings),
}

/// A new seal, before anything is wrapped with it.
pub(crate) struct Made {
    method: SealMethod,
    kek: Kek,
    /// To be shown once.
    pub(crate) shares: Vec<Share>,
}

impl Made {
    /// The stored form: method, settings, and this root key, wrapped.
    pub(crate) fn close(&self, root: &RootKey) -> Result<Vec<u8>> {
        close(&self.method, &self.kek, root)
    }
}

impl SealMethod {
    /// The key's place, where it lies in another system.
    pub(crate) fn external(&self) -> Option<&ExternalKey> {
        if let Self::External(settings) = self { Some(&settings.key) } else { None }
    }

    /// The quorum's settings, where it takes shares.
    pub(crate) fn shamir(&self) -> Option<&shamir::Settings> {
        if let Self::Shamir(settings) = self { Some(settings) } else { None }
    }

    /// How many shares there are and how many it takes; one of one where it takes no shares.
    pub(crate) fn quorum(&self) -> Quorum {
        self.shamir().map_or(Quorum { shares: 1, threshold: 1 }, |settings| settings.quorum)
    }

    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Passphrase(_) => "passphrase",
            Self::KeyFile => "key_file",
            Self::Environment(_) => "environment",
            Self::Shamir(_) => "shamir",
            Self::External(settings) => settings.key.method(),
        }
    }
}

/// Makes a new seal. Creates a key file that does not exist; asks the other system for an external key.
pub(crate) async fn make(new: NewSeal, service: Option<&dyn KeyService>) -> Result<Made> {
    let input = match new {
        NewSeal::Shares(quorum) => {
            let (settings, kek, shares) = shamir::create(quorum)?;
            return Ok(Made { method: SealMethod::Shamir(settings), kek, shares });
        }
        NewSeal::External(key) => {
            let (settings, kek) = external::create(service.ok_or_else(no_service)?, &key).await?;
            return Ok(Made { method: SealMethod::External(settings), kek, shares: Vec::new() });
        }
        NewSeal::By(input) => input,
    };
    let (method, kek) = on_side_thread(move || match input {
        SealInput::Passphrase(p) => passphrase::create(&p).map(|(s, k)| (SealMethod::Passphrase(s), k)),
        SealInput::KeyFile(path) => key_file::create(&path).map(|k| (SealMethod::KeyFile, k)),
        SealInput::Key(key) => key_file::from_bytes(&key).map(|k| (SealMethod::KeyFile, k)),
        SealInput::Environment(v) => environment::create(&v).map(|(s, k)| (SealMethod::Environment(s), k)),
        SealInput::Shares(_) | SealInput::External => Err(VaultError::SealSettings),
    })
    .await?;
    Ok(Made { method, kek, shares: Vec::new() })
}

/// Makes the KEK of an existing seal again. Slow for passphrases, as slow as the other system for
/// external keys.
pub(crate) async fn kek(method: &SealMethod, input: SealInput, service: Option<&dyn KeyService>) -> Result<Kek> {
    if let (SealMethod::External(settings), SealInput::External) = (method, &input) {
        return external::unwrap(service.ok_or_else(no_service)?, settings).await;
    }
    let method = method.clone();
    on_side_thread(move || match (&method, &input) {
        (SealMethod::Passphrase(settings), SealInput::Passphrase(p)) => passphrase::derive(settings, p),
        (SealMethod::KeyFile, SealInput::KeyFile(path)) => key_file::read(path),
        (SealMethod::KeyFile, SealInput::Key(key)) => key_file::from_bytes(key),
        (SealMethod::Environment(settings), SealInput::Environment(v)) => environment::derive(settings, v),
        (SealMethod::Shamir(settings), SealInput::Shares(shares)) => shamir::combine(settings, shares),
        (expected, given) => Err(VaultError::OtherSealMethod { expected: expected.name(), given: given.method() }),
    })
    .await
}

fn no_service() -> VaultError {
    KeyServiceError::Refused("this process was not given access to a key service".to_owned()).into()
}

/// Password hashing is slow on purpose; it must not hold up the runtime's threads.
async fn on_side_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| VaultError::Crypto)?
}

/// A key-encryption key: wraps the root key and nothing else.
pub(crate) struct Kek(pub(crate) Zeroizing<[u8; 32]>);

/// The root key: wraps the keyring, the peppers and the other long-lived keys.
pub(crate) struct RootKey(Zeroizing<[u8; 32]>);

impl RootKey {
    pub(crate) fn generate() -> Result<Self> {
        random_key().map(Self)
    }

    pub(crate) fn from_bytes(bytes: &SecretValue) -> Result<Self> {
        let mut key = Zeroizing::new([0u8; 32]);
        if bytes.len() != key.len() {
            return Err(VaultError::Unseal);
        }
        key.copy_from_slice(bytes.expose());
        Ok(Self(key))
    }

    /// A second holder of the root key, for reading changed settings.
    pub(crate) fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }

    /// Whether two are the same key, in constant time.
    pub(crate) fn is(&self, other: &Self) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&*self.0, &*other.0).is_ok()
    }

    /// Wraps the root key that takes this one's place, so that nodes that hold this one can follow.
    pub(crate) fn bridge(&self, next: &Self) -> Result<Sealed> {
        self.wrap("root", &*next.0)
    }

    /// The root key that took this one's place.
    pub(crate) fn cross(&self, bridge: &[u8]) -> Result<Self> {
        Self::from_bytes(&self.unwrap("root", bridge)?)
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

/// Wraps a root key; gives the bytes to store.
pub(crate) fn close(method: &SealMethod, kek: &Kek, root: &RootKey) -> Result<Vec<u8>> {
    let context = context(1, method)?;
    let sealed = SealingKey::new(&kek.0)?.seal(0, &context, &*root.0)?;
    serde_json::to_vec(&Stored { format: 1, seal: method.clone(), root: STANDARD.encode(sealed.as_bytes()) })
        .map_err(|_| VaultError::Corrupt("seal"))
}

/// Takes the root key out of a stored seal.
pub(crate) fn open(stored: &[u8], kek: &Kek) -> Result<RootKey> {
    let stored: Stored = serde_json::from_slice(stored).map_err(|_| VaultError::Corrupt("seal"))?;
    let sealed = STANDARD.decode(&stored.root).map_err(|_| VaultError::Corrupt("seal"))?;
    let root = SealingKey::new(&kek.0)?
        .open(&context(stored.format, &stored.seal)?, &Sealed::from_bytes(sealed)?)
        .map_err(|_| VaultError::Unseal)?;
    RootKey::from_bytes(&root)
}

/// The method a stored seal uses, with its public settings.
pub(crate) fn method_of(stored: &[u8]) -> Result<SealMethod> {
    let stored: Stored = serde_json::from_slice(stored).map_err(|_| VaultError::Corrupt("seal"))?;
    Ok(stored.seal)
}

fn context(format: u32, seal: &SealMethod) -> Result<Vec<u8>> {
    let settings = serde_json::to_vec(seal).map_err(|_| VaultError::Corrupt("seal"))?;
    Ok(associated(&[b"seal", &format.to_be_bytes(), &settings]))
}
