//! The vault's own settings: everything needed to unseal, all of it wrapped or public.
//!
//! They live in the store's settings; a copy may be kept beside the gateway's local copy, so that a
//! gateway can be restarted while the database is away.

use crate::{Result, VaultError};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::collections::BTreeMap;

/// The seal's method and the wrapped root key.
pub(crate) const SEAL: &str = "vault.seal";
/// The keyring, wrapped by the root key.
pub(crate) const KEYRING: &str = "vault.keyring";
/// The peppers, wrapped by the root key.
pub(crate) const PEPPERS: &str = "vault.peppers";
/// The key of value fingerprints, wrapped by the root key.
pub(crate) const FINGERPRINT_KEY: &str = "vault.fingerprint_key";
/// The audit log's signing key, wrapped by the root key.
pub(crate) const AUDIT_KEY: &str = "vault.audit_key";
/// The public half of the audit log's signing key.
pub(crate) const AUDIT_PUBLIC_KEY: &str = "vault.audit_public_key";
/// Pepper number and keyed hash of the administrator's token.
pub(crate) const ADMIN_TOKEN: &str = "vault.admin_token";

/// All settings of a vault; missing one of these means that there is no vault.
pub(crate) const ALL: [&str; 7] = [SEAL, KEYRING, PEPPERS, FINGERPRINT_KEY, AUDIT_KEY, AUDIT_PUBLIC_KEY, ADMIN_TOKEN];

/// A rekey that is not finished: what it is to become, and the new seal once it is made.
pub(crate) const REKEY: &str = "vault.rekey";
/// The root key's number, and for a while how holders of the one before get to it.
pub(crate) const ROOT: &str = "vault.root";
/// How far re-sealing under the newest encryption key has come.
pub(crate) const RESEAL: &str = "vault.reseal";
/// When each pepper was added.
pub(crate) const PEPPER_DATES: &str = "vault.pepper_dates";

/// Settings that are there only at times.
pub(crate) const SOMETIMES: [&str; 4] = [REKEY, ROOT, RESEAL, PEPPER_DATES];

/// The settings of one vault. Holds nothing that opens without the seal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings(pub(crate) BTreeMap<String, Vec<u8>>);

impl Settings {
    pub(crate) fn get(&self, name: &'static str) -> Result<&[u8]> {
        self.0.get(name).map(Vec::as_slice).ok_or(VaultError::Corrupt(name))
    }

    /// A setting kept as JSON; `None` when it is not there.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>> {
        self.0.get(name).map(|v| serde_json::from_slice(v).map_err(|_| VaultError::Corrupt(name))).transpose()
    }

    pub(crate) fn to_copy(&self) -> Result<Vec<u8>> {
        let text: BTreeMap<&str, String> =
            self.0.iter().map(|(name, value)| (name.as_str(), STANDARD.encode(value))).collect();
        serde_json::to_vec(&text).map_err(|_| VaultError::Corrupt("copy of the vault's settings"))
    }

    pub(crate) fn from_copy(copy: &[u8]) -> Result<Self> {
        let corrupt = || VaultError::Corrupt("copy of the vault's settings");
        let text: BTreeMap<String, String> = serde_json::from_slice(copy).map_err(|_| corrupt())?;
        let decoded = text.into_iter().map(|(name, value)| Ok((name, STANDARD.decode(value).map_err(|_| corrupt())?)));
        Ok(Self(decoded.collect::<Result<_>>()?))
    }
}
