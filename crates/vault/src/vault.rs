//! The vault itself: initialised once, sealed at every start, unsealed while it works.
//!
//! A [`Vault`] is a cheap handle; all clones are sealed and unsealed together. While it is sealed
//! nothing can be sealed, opened, issued or verified. It can also be opened from a copy of its
//! settings while the database is away: it then opens values, but seals none until the store is
//! attached again, because seals must be counted.

use crate::{
    NewSeal, Result, SealContext, Sealed, VaultError, admin_token,
    envelope::{DEFAULT_TENANT, associated},
    pepper::Pepper,
    seal::{self, RootKey, collect::Collected, external::KeyService},
    settings::{self, Settings},
    unsealed::Unsealed,
};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use credentialflow_model::{Actor, Name, SecretValue, Timestamp};
use credentialflow_store::{Checkpoint, Store};
use serde_json::json;
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::SystemTime,
};

/// A handle to the vault.
#[derive(Clone)]
pub struct Vault(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    store: RwLock<Option<Store>>,
    settings: RwLock<Arc<Settings>>,
    pub(crate) unsealed: RwLock<Option<Arc<Unsealed>>>,
    /// One at a time reserves seals, or changes what is above them.
    pub(crate) reserving: tokio::sync::Mutex<()>,
    /// Begins the keys that are made here.
    key_prefix: RwLock<Arc<str>>,
    pub(crate) key_service: RwLock<Option<Arc<dyn KeyService>>>,
    /// Shares handed in to unseal.
    pub(crate) unsealing: Mutex<Collected>,
    /// Shares handed in to prove the quorum of a rekey.
    pub(crate) proving: Mutex<Collected>,
    /// New shares handed in to show that they were kept.
    pub(crate) verifying: Mutex<Collected>,
    /// What strangers hand in, in line.
    pub(crate) attempts: seal::attempts::Attempts,
}

/// What `init` gives back.
#[derive(Debug)]
pub struct Initialized {
    /// The new vault, unsealed.
    pub vault: Vault,
    /// The administrator's token: to be shown once; only its keyed hash is kept.
    pub admin_token: SecretValue,
    /// The shares that unseal it, if it is sealed by shares: to be shown once and kept apart.
    pub shares: Vec<SecretValue>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("sealed", &self.is_sealed()).finish_non_exhaustive()
    }
}

impl Vault {
    /// Creates the vault of a store: root key, keyring, pepper, audit key, administrator's token.
    /// Refused, changing nothing, when there is one already.
    pub async fn init(store: &Store, actor: &Actor, seal: impl Into<NewSeal>) -> Result<Initialized> {
        Self::init_with(store, actor, seal.into(), None).await
    }

    /// As [`Vault::init`], with access to the systems in which external keys lie.
    pub async fn init_with(
        store: &Store,
        actor: &Actor,
        seal: NewSeal,
        key_service: Option<Arc<dyn KeyService>>,
    ) -> Result<Initialized> {
        if load(store).await?.is_some() {
            return Err(VaultError::AlreadyInitialized);
        }
        let made = seal::make(seal, key_service.as_deref()).await?;
        let root = RootKey::generate()?;
        let mut settings = Settings::default();
        settings.0.insert(settings::SEAL.to_owned(), made.close(&root)?);
        let unsealed = Unsealed::generate(root, now(), &mut settings)?;
        let token = admin_token::generate()?;
        settings.0.insert(settings::ADMIN_TOKEN.to_owned(), admin_token::to_stored(unsealed.newest_pepper()?, &token));
        let mut tx = store.begin(actor).await?;
        if tx.setting(settings::SEAL).await?.is_some() {
            return Err(VaultError::AlreadyInitialized);
        }
        for (name, value) in &settings.0 {
            tx.put_setting(name, value).await?;
        }
        let method = seal::method_of(settings.get(settings::SEAL)?)?;
        let quorum = method.quorum();
        let detail = json!({ "seal": method.name(), "shares": quorum.shares, "threshold": quorum.threshold });
        tx.audit("vault.init", "settings/vault", detail);
        tx.commit().await?;
        let vault = Self::with(Some(store.clone()), settings, Some(unsealed));
        if let Some(service) = key_service {
            vault.set_key_service(service);
        }
        let shares = made.shares.iter().map(seal::share::Share::to_text).collect();
        Ok(Initialized { vault, admin_token: token, shares })
    }

    /// The vault of a store, sealed. [`VaultError::NotInitialized`] when there is none.
    pub async fn open_sealed(store: &Store) -> Result<Self> {
        let settings = load(store).await?.ok_or(VaultError::NotInitialized)?;
        Ok(Self::with(Some(store.clone()), settings, None))
    }

    /// A sealed vault from a copy made by [`Vault::settings_copy`], while the store is away.
    pub fn open_copy(copy: &[u8]) -> Result<Self> {
        Ok(Self::with(None, Settings::from_copy(copy)?, None))
    }

    /// Everything needed to unseal again without the store: wrapped keys and public facts, safe to
    /// keep in a file beside the gateway's local copy.
    pub fn settings_copy(&self) -> Result<Vec<u8>> {
        self.settings().to_copy()
    }

    /// Gives a vault opened from a copy its store, and reads the settings afresh.
    pub async fn attach(&self, store: &Store) -> Result<()> {
        *self.0.store.write().unwrap_or_else(PoisonError::into_inner) = Some(store.clone());
        self.reload().await
    }

    /// Reads the settings again, as after another node rotated the keyring or the root key.
    pub async fn reload(&self) -> Result<()> {
        let one_at_a_time = self.0.reserving.lock().await;
        self.reload_locked(None).await?;
        drop(one_at_a_time);
        if self.is_sealed() { Ok(()) } else { self.maintain().await }
    }

    /// As [`Vault::reload`], for holders of the lock. `root` is the root key, where it just changed.
    pub(crate) async fn reload_locked(&self, root: Option<RootKey>) -> Result<()> {
        let settings = load(&self.store()?).await?.ok_or(VaultError::NotInitialized)?;
        if let Some(unsealed) = self.unsealed_or_none() {
            let root = match root {
                Some(root) => root,
                None => crate::rotate::follow_root(&unsealed.root, &settings)?,
            };
            let fresh = Unsealed::open(root, &settings)?;
            // What this process reserved stays usable; a newer key needs a reservation of its own.
            if fresh.ring().newest_id() == unsealed.ring().newest_id() {
                fresh.replace_ring((*unsealed.ring()).clone());
            }
            // Unless it was sealed meanwhile: then it stays so.
            let mut held = self.0.unsealed.write().unwrap_or_else(PoisonError::into_inner);
            if held.is_some() {
                *held = Some(Arc::new(fresh));
            }
        }
        *self.0.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        Ok(())
    }

    fn with(store: Option<Store>, settings: Settings, unsealed: Option<Unsealed>) -> Self {
        Self(Arc::new(Inner {
            store: RwLock::new(store),
            settings: RwLock::new(Arc::new(settings)),
            unsealed: RwLock::new(unsealed.map(Arc::new)),
            reserving: tokio::sync::Mutex::new(()),
            key_prefix: RwLock::new(Arc::from("cfk")),
            key_service: RwLock::new(None),
            unsealing: Mutex::default(),
            proving: Mutex::default(),
            verifying: Mutex::default(),
            attempts: Default::default(),
        }))
    }

    /// Says what the secrets of keys that rotations make begin with; `cfk` unless said. Checked by the caller: 1 to 12
    /// characters of `a-z 0-9`.
    pub fn set_key_prefix(&self, prefix: &str) {
        *self.0.key_prefix.write().unwrap_or_else(PoisonError::into_inner) = Arc::from(prefix);
    }

    pub(crate) fn key_prefix(&self) -> Arc<str> {
        self.0.key_prefix.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Seals a credential's value for its place.
    pub fn seal_value(&self, context: &SealContext, value: &SecretValue) -> Result<Sealed> {
        self.unsealed()?.seal(&context.tenant, &context.associated_data(), value.expose())
    }

    /// Opens a credential's value at its place.
    pub fn open_value(&self, context: &SealContext, sealed: &Sealed) -> Result<SecretValue> {
        self.unsealed()?.open_sealed(&context.tenant, &context.associated_data(), sealed)
    }

    /// Seals anything else that must not lie about in the clear, such as the gateway's local copy.
    /// `context` names its place; it opens nowhere else.
    pub fn seal_blob(&self, context: &str, bytes: &[u8]) -> Result<Sealed> {
        self.unsealed()?.seal(DEFAULT_TENANT, &blob_context(context), bytes)
    }

    /// Opens what [`Vault::seal_blob`] sealed for the same context.
    pub fn open_blob(&self, context: &str, sealed: &Sealed) -> Result<SecretValue> {
        self.unsealed()?.open_sealed(DEFAULT_TENANT, &blob_context(context), sealed)
    }

    /// The pepper that makes new keyed hashes.
    pub fn pepper(&self) -> Result<Pepper> {
        self.unsealed()?.newest_pepper().cloned()
    }

    /// All peppers, oldest first, to check hashes made under any of them.
    pub fn peppers(&self) -> Result<Vec<Pepper>> {
        Ok(self.unsealed()?.peppers.clone())
    }

    /// Whether a presented administrator's token is the right one. Constant time and equal work for
    /// right, wrong and malformed ones; `false` while the vault is sealed.
    pub fn verify_admin_token(&self, presented: &[u8]) -> bool {
        let Ok(unsealed) = self.unsealed() else { return false };
        let settings = self.settings();
        settings.get(settings::ADMIN_TOKEN).is_ok_and(|stored| unsealed.verify_admin_token(stored, presented))
    }

    /// Replaces the administrator's token; the old one is refused from now on. Shown once.
    pub async fn replace_admin_token(&self, actor: &Actor) -> Result<SecretValue> {
        let unsealed = self.unsealed()?;
        let token = admin_token::generate()?;
        let stored = admin_token::to_stored(unsealed.newest_pepper()?, &token);
        let mut tx = self.store()?.begin(actor).await?;
        tx.put_setting(settings::ADMIN_TOKEN, &stored).await?;
        tx.audit("admin_token.replace", "settings/vault.admin_token", json!({}));
        tx.commit().await?;
        self.remember(settings::ADMIN_TOKEN, stored);
        Ok(token)
    }

    /// A keyed hash of a credential's value, to recognise an unchanged one.
    pub fn fingerprint(&self, credential: &Name, value: &SecretValue) -> Result<[u8; 32]> {
        Ok(self.unsealed()?.fingerprint(credential, value))
    }

    /// Signs a checkpoint of the audit log (Ed25519, RFC 8032), given as
    /// [`Checkpoint::signed_bytes`].
    pub fn sign_checkpoint(&self, message: &[u8]) -> Result<Vec<u8>> {
        Ok(self.unsealed()?.sign(message))
    }

    /// Signs the end of the audit chain and keeps the checkpoint; `None` when nothing is new.
    pub async fn checkpoint_audit(&self) -> Result<Option<Checkpoint>> {
        let unsealed = self.unsealed()?;
        Ok(self.store()?.checkpoint(|message| unsealed.sign(message)).await?)
    }

    /// The public key that checks signed checkpoints. Available while sealed.
    pub fn audit_public_key(&self) -> Result<Vec<u8>> {
        Ok(self.settings().get(settings::AUDIT_PUBLIC_KEY)?.to_vec())
    }

    pub(crate) fn unsealed(&self) -> Result<Arc<Unsealed>> {
        self.unsealed_or_none().ok_or(VaultError::Sealed)
    }

    pub(crate) fn store(&self) -> Result<Store> {
        self.0.store.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(VaultError::NoStore)
    }

    pub(crate) fn unsealed_or_none(&self) -> Option<Arc<Unsealed>> {
        self.0.unsealed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.0.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn remember(&self, name: &'static str, value: Vec<u8>) {
        let mut settings = self.0.settings.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = (**settings).clone();
        changed.0.insert(name.to_owned(), value);
        *settings = Arc::new(changed);
    }
}

/// Whether a signature by this public key vouches for a checkpoint, given as
/// [`Checkpoint::signed_bytes`]. Needs no vault, so that a copy of the audit log can be checked offline.
pub fn verify_checkpoint(public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public_key).verify(message, signature).is_ok()
}

pub(crate) fn blob_context(context: &str) -> Vec<u8> {
    associated(&[b"blob", context.as_bytes()])
}

pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}

/// The settings that are there, one read after the other.
async fn read(store: &Store) -> Result<Settings> {
    let mut found = Settings::default();
    for name in settings::ALL {
        if let Some(value) = store.setting(name).await? {
            found.0.insert(name.to_owned(), value);
        }
    }
    Ok(found)
}

/// The settings a store holds; `None` when no vault was initialised there.
async fn load(store: &Store) -> Result<Option<Settings>> {
    let mut found = read(store).await?;
    // They are written together, so whoever finds a part of them has read while they were written.
    if !found.0.is_empty() && found.0.len() < settings::ALL.len() {
        found = read(store).await?;
    }
    match found.0.len() {
        0 => return Ok(None),
        n if n == settings::ALL.len() => {}
        _ => return Err(VaultError::Corrupt("settings of the vault")),
    }
    for name in settings::SOMETIMES {
        if let Some(value) = store.setting(name).await? {
            found.0.insert(name.to_owned(), value);
        }
    }
    Ok(Some(found))
}
