//! The keys above the values, exchanged while everything goes on: keyring, peppers, and what is known
//! of each. The root key is exchanged by a rekey, because that takes what unseals.
//!
//! Each exchange is one transaction. Other nodes follow through the change feed: a new keyring or
//! pepper opens with the root key they hold; a new root key is left for them for an hour, wrapped by
//! the one before.

use crate::{
    Result, Vault, VaultError, admin_token,
    keyring::{Keyring, SEAL_LIMIT},
    pepper,
    reseal::{self, Job},
    seal::RootKey,
    settings::{self, Settings},
    unsealed::Unsealed,
    vault::now,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use credentialflow_model::{Actor, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};

/// The data plane numbers peppers in a byte.
const MOST_PEPPERS: u32 = u8::MAX as u32;
/// How long nodes that hold the root key before may follow to the new one.
pub(crate) const BRIDGE_STANDS: Duration = Duration::from_secs(60 * 60);

/// One key of the keyring, without the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// Its number; Vault's word is term.
    pub id: u32,
    /// Since when it exists.
    pub installed: Timestamp,
    /// At most so many values were sealed with it; blocks reserved by processes that ended count whole.
    pub encryptions: u64,
    /// No more than this; a fresh key takes its place long before.
    pub limit: u64,
    /// Whether it seals now. The others only open.
    pub newest: bool,
}

/// One pepper, without the pepper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PepperStatus {
    /// Its number.
    pub id: u32,
    /// Since when it exists; `None` for the first.
    pub installed: Option<Timestamp>,
    /// Keyed hashes made under it that still count: live secrets of keys, the administrator's token.
    pub hashes: u64,
    /// Whether it makes new hashes. The others only check.
    pub newest: bool,
}

/// The root key's number and what its predecessor's holders need.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Root {
    pub term: u32,
    pub installed: i64,
    /// Base64 of the root key wrapped by the one before; gone after [`BRIDGE_STANDS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
}

/// The root key that opens these settings, from one that is held.
pub(crate) fn follow_root(held: &RootKey, settings: &Settings) -> Result<RootKey> {
    if held.unwrap(settings::KEYRING, settings.get(settings::KEYRING)?).is_ok() {
        return Ok(held.duplicate());
    }
    let root: Option<Root> = settings.json(settings::ROOT)?;
    let bridge = root.and_then(|r| r.bridge).and_then(|b| STANDARD.decode(b).ok());
    // Too long ago, or two exchanges since: whoever unseals brings the new one.
    held.cross(&bridge.ok_or(VaultError::Tampered)?)
}

impl Vault {
    /// Reserves seals in the store when few are left, rotates the keyring before its newest key nears
    /// the limit, and takes down what is no longer needed. To be called now and then; the rotation
    /// runner does.
    pub async fn maintain(&self) -> Result<()> {
        let _one_at_a_time = self.0.reserving.lock().await;
        let unsealed = self.unsealed()?;
        self.reserve(&unsealed).await?;
        self.renew_token_hash(&unsealed).await?;
        self.take_down_bridge().await
    }

    pub(crate) async fn reserve(&self, unsealed: &Unsealed) -> Result<()> {
        if unsealed.ring().is_low() {
            let actor = Actor::system("vault");
            self.change_ring(unsealed, &actor, "keyring.reserve", None, |ring| ring.reserve(now())).await?;
        }
        Ok(())
    }

    /// Adds a fresh encryption key, which seals from now on, and begins to seal everything stored anew
    /// with it ([`Vault::reseal_step`]). Values under old keys stay readable all the time. Answers the
    /// new key's number.
    pub async fn rotate_keyring(&self, actor: &Actor) -> Result<u32> {
        let _one_at_a_time = self.0.reserving.lock().await;
        let unsealed = self.unsealed()?;
        let job = |id| Job::begin(id, now());
        self.change_ring(&unsealed, actor, "keyring.rotate", Some(job), |ring| ring.rotate(now()).map(|_| ())).await?;
        Ok(unsealed.ring().newest_id())
    }

    /// Numbers and creation times of the encryption keys, oldest first.
    pub fn keyring_inventory(&self) -> Result<Vec<(u32, Timestamp)>> {
        Ok(self.unsealed()?.ring().inventory())
    }

    /// The encryption keys with how often each was used, oldest first.
    pub fn key_status(&self) -> Result<Vec<KeyStatus>> {
        let ring = self.unsealed()?.ring();
        let newest = ring.newest_id();
        Ok(ring
            .usage()
            .into_iter()
            .map(|(id, installed, encryptions)| KeyStatus {
                id,
                installed,
                encryptions,
                limit: SEAL_LIMIT,
                newest: id == newest,
            })
            .collect())
    }

    /// The root key's number, from 1, and since when it is in use; `None` for the first.
    pub fn root_term(&self) -> Result<(u32, Option<Timestamp>)> {
        let root: Option<Root> = self.settings().json(settings::ROOT)?;
        Ok(root.map_or((1, None), |r| (r.term, Some(Timestamp::from_micros(r.installed)))))
    }

    /// Adds a fresh pepper, under which new keys are hashed. What was hashed before stays valid under
    /// its own pepper, which is kept; the administrator's token moves to the new one when it is next
    /// shown. Answers the new pepper's number.
    pub async fn rotate_pepper(&self, actor: &Actor) -> Result<u32> {
        let _one_at_a_time = self.0.reserving.lock().await;
        let unsealed = self.unsealed()?;
        let mut tx = self.store()?.begin(actor).await?;
        let stored = tx.setting(settings::PEPPERS).await?.ok_or(VaultError::NotInitialized)?;
        let held = unsealed.root.unwrap(settings::PEPPERS, &stored)?;
        let (id, bytes) = pepper::add(held.expose())?;
        if id > MOST_PEPPERS {
            return Err(VaultError::TooManyPeppers(MOST_PEPPERS as usize));
        }
        let mut dates = dates(tx.setting(settings::PEPPER_DATES).await?)?;
        dates.insert(id, tx.now().micros());
        tx.put_setting(settings::PEPPERS, unsealed.root.wrap(settings::PEPPERS, &bytes)?.as_bytes()).await?;
        tx.put_setting(settings::PEPPER_DATES, &to_json(&dates)?).await?;
        tx.audit("pepper.rotate", "settings/vault.peppers", json!({ "newest_pepper": id }));
        tx.commit().await?;
        self.reload_locked(None).await?;
        Ok(id)
    }

    /// The peppers with how much counts on each, oldest first.
    pub async fn pepper_status(&self) -> Result<Vec<PepperStatus>> {
        let unsealed = self.unsealed()?;
        let settings = self.settings();
        let dates = dates(settings.0.get(settings::PEPPER_DATES).cloned())?;
        let counts = self.store()?.hashes_under_peppers().await?;
        let token = admin_token::pepper_of(settings.get(settings::ADMIN_TOKEN)?)?;
        let newest = unsealed.newest_pepper()?.id;
        Ok(unsealed
            .peppers
            .iter()
            .map(|p| PepperStatus {
                id: p.id,
                installed: dates.get(&p.id).copied().map(Timestamp::from_micros),
                hashes: counts.get(&p.id).copied().unwrap_or(0) + u64::from(token == p.id),
                newest: p.id == newest,
            })
            .collect())
    }

    /// Keeps the administrator's token under the newest pepper, once it was shown again.
    async fn renew_token_hash(&self, unsealed: &Unsealed) -> Result<()> {
        let Some((old, new)) = unsealed.take_renewed_token() else { return Ok(()) };
        let mut tx = self.store()?.begin(&Actor::system("vault")).await?;
        // Replaced meanwhile: then that one counts.
        if tx.setting(settings::ADMIN_TOKEN).await?.as_deref() != Some(&old[..]) {
            return Ok(());
        }
        tx.put_setting(settings::ADMIN_TOKEN, &new).await?;
        let pepper = admin_token::pepper_of(&new)?;
        tx.audit("admin_token.rehash", "settings/vault.admin_token", json!({ "pepper": pepper }));
        tx.commit().await?;
        self.remember(settings::ADMIN_TOKEN, new);
        Ok(())
    }

    async fn take_down_bridge(&self) -> Result<()> {
        let Some(root) = self.settings().json::<Root>(settings::ROOT)? else { return Ok(()) };
        let stands_until = Timestamp::from_micros(root.installed).micros() + BRIDGE_STANDS.as_micros() as i64;
        if root.bridge.is_none() || now().micros() < stands_until {
            return Ok(());
        }
        let mut tx = self.store()?.begin(&Actor::system("vault")).await?;
        let Some(stored) = tx.setting(settings::ROOT).await? else { return Ok(()) };
        let mut stored: Root = serde_json::from_slice(&stored).map_err(|_| VaultError::Corrupt(settings::ROOT))?;
        if stored.term != root.term {
            return Ok(());
        }
        stored.bridge = None;
        let bytes = to_json(&stored)?;
        tx.put_setting(settings::ROOT, &bytes).await?;
        tx.audit("root_key.forget", "settings/vault.root", json!({ "before_term": stored.term }));
        tx.commit().await?;
        self.remember(settings::ROOT, bytes);
        Ok(())
    }

    /// Changes the stored ring, not the one in memory: another node may have changed it since. What
    /// is reserved here belongs to this process alone.
    async fn change_ring(
        &self,
        unsealed: &Unsealed,
        actor: &Actor,
        action: &str,
        job: Option<fn(u32) -> Job>,
        change: impl FnOnce(&mut Keyring) -> Result<()>,
    ) -> Result<()> {
        let mut tx = self.store()?.begin(actor).await?;
        let stored = tx.setting(settings::KEYRING).await?.ok_or(VaultError::NotInitialized)?;
        let mut ring = Keyring::from_bytes(unsealed.root.unwrap(settings::KEYRING, &stored)?.expose())?;
        change(&mut ring)?;
        let wrapped = unsealed.root.wrap(settings::KEYRING, &ring.to_bytes())?.into_bytes();
        tx.put_setting(settings::KEYRING, &wrapped).await?;
        if let Some(job) = job {
            reseal::put_job(&mut tx, &job(ring.newest_id())).await?;
        }
        tx.audit(action, "settings/vault.keyring", json!({ "newest_key": ring.newest_id() }));
        tx.commit().await?;
        self.remember(settings::KEYRING, wrapped);
        unsealed.replace_ring(ring);
        Ok(())
    }
}

pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|_| VaultError::Corrupt("settings of the vault"))
}

fn dates(stored: Option<Vec<u8>>) -> Result<BTreeMap<u32, i64>> {
    let read = stored.map(|bytes| serde_json::from_slice(&bytes)).transpose();
    Ok(read.map_err(|_| VaultError::Corrupt(settings::PEPPER_DATES))?.unwrap_or_default())
}
