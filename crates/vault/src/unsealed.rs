//! What is in memory while the vault is unsealed, and only then. Knows nothing about the store.

use crate::{
    Result, VaultError, admin_token,
    envelope::{Sealed, associated},
    keyring::Keyring,
    pepper::{self, Pepper},
    seal::{RootKey, random_key},
    settings::{self, Settings},
};
use aws_lc_rs::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair},
};
use credentialflow_model::{Name, SecretValue, Timestamp};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// The opened keys of a vault. Dropped, and so wiped, when the vault is sealed.
pub(crate) struct Unsealed {
    pub(crate) root: RootKey,
    ring: RwLock<Arc<Keyring>>,
    /// Oldest first; never empty.
    pub(crate) peppers: Vec<Pepper>,
    fingerprint: hmac::Key,
    audit: Ed25519KeyPair,
    /// The stored hash of the administrator's token and the one that is to take its place, after it
    /// was shown while hashed under an older pepper.
    renewed_token: Mutex<Option<(Vec<u8>, Vec<u8>)>>,
}

impl Unsealed {
    /// Makes all keys of a new vault; adds them, wrapped, to `settings`.
    pub(crate) fn generate(root: RootKey, now: Timestamp, settings: &mut Settings) -> Result<Self> {
        let ring = Keyring::generate(now)?;
        let (peppers, pepper_bytes) = pepper::generate()?;
        let fingerprint = random_key()?;
        let seed = random_key()?;
        let audit = Ed25519KeyPair::from_seed_unchecked(&*seed).map_err(|_| VaultError::Crypto)?;
        let mut wrap = |name: &str, plain: &[u8]| -> Result<()> {
            settings.0.insert(name.to_owned(), root.wrap(name, plain)?.into_bytes());
            Ok(())
        };
        wrap(settings::KEYRING, &ring.to_bytes())?;
        wrap(settings::PEPPERS, &pepper_bytes)?;
        wrap(settings::FINGERPRINT_KEY, &*fingerprint)?;
        wrap(settings::AUDIT_KEY, &*seed)?;
        settings.0.insert(settings::AUDIT_PUBLIC_KEY.to_owned(), audit.public_key().as_ref().to_vec());
        let fingerprint = hmac::Key::new(hmac::HMAC_SHA256, &*fingerprint);
        Ok(Self {
            root,
            ring: RwLock::new(Arc::new(ring)),
            peppers,
            fingerprint,
            audit,
            renewed_token: Mutex::default(),
        })
    }

    /// Opens the keys of an existing vault. Seals nothing until a block of seals is reserved.
    pub(crate) fn open(root: RootKey, settings: &Settings) -> Result<Self> {
        let unwrap = |name: &'static str| root.unwrap(name, settings.get(name)?);
        let ring = Keyring::from_bytes(unwrap(settings::KEYRING)?.expose())?;
        let peppers = pepper::from_bytes(unwrap(settings::PEPPERS)?.expose())?;
        let fingerprint = hmac::Key::new(hmac::HMAC_SHA256, unwrap(settings::FINGERPRINT_KEY)?.expose());
        let audit = Ed25519KeyPair::from_seed_and_public_key(
            unwrap(settings::AUDIT_KEY)?.expose(),
            settings.get(settings::AUDIT_PUBLIC_KEY)?,
        )
        .map_err(|_| VaultError::Corrupt("audit key"))?;
        Ok(Self {
            root,
            ring: RwLock::new(Arc::new(ring)),
            peppers,
            fingerprint,
            audit,
            renewed_token: Mutex::default(),
        })
    }

    pub(crate) fn ring(&self) -> Arc<Keyring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn replace_ring(&self, ring: Keyring) {
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
    }

    pub(crate) fn seal(&self, tenant: &str, context: &[u8], plain: &[u8]) -> Result<Sealed> {
        self.ring().seal(tenant, context, plain)
    }

    pub(crate) fn open_sealed(&self, tenant: &str, context: &[u8], sealed: &Sealed) -> Result<SecretValue> {
        self.ring().open(tenant, context, sealed)
    }

    pub(crate) fn newest_pepper(&self) -> Result<&Pepper> {
        self.peppers.last().ok_or(VaultError::Corrupt("peppers"))
    }

    /// A keyed hash of a value, to see whether a value given again is the same. Bound to the
    /// credential, so that equal values of two credentials cannot be recognised.
    pub(crate) fn fingerprint(&self, credential: &Name, value: &SecretValue) -> [u8; 32] {
        let mut mac = hmac::Context::with_key(&self.fingerprint);
        mac.update(&associated(&[credential.as_str().as_bytes()]));
        mac.update(value.expose());
        pepper::to_array(mac.sign())
    }

    /// Whether a presented administrator's token is the stored one. One that is, under an older pepper,
    /// is hashed under the newest as well, to be kept so.
    pub(crate) fn verify_admin_token(&self, stored: &[u8], presented: &[u8]) -> bool {
        if !admin_token::verify(&self.peppers, stored, presented).unwrap_or(false) {
            return false;
        }
        if let (Ok(newest), Ok(id)) = (self.newest_pepper(), admin_token::pepper_of(stored))
            && newest.id != id
        {
            let new = admin_token::to_stored(newest, &SecretValue::new(presented.to_vec()));
            *self.renewed_token.lock().unwrap_or_else(PoisonError::into_inner) = Some((stored.to_vec(), new));
        }
        true
    }

    pub(crate) fn take_renewed_token(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        self.renewed_token.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.audit.sign(message).as_ref().to_vec()
    }
}
