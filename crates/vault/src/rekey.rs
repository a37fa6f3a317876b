//! Rekey: another way to unseal, or another root key, or both, while everything goes on.
//!
//! It takes whoever can unseal now: nobody else changes who can. The steps: *begin* (what it is to
//! become), *prove* (the current quorum), *verify* (the new one shows that it kept what it was given),
//! and only then, in one transaction, the new seal takes the old one's place. Until that moment the
//! old seal opens the vault, and nothing is lost whatever is interrupted: what was decided and made is
//! stored (the new root key only wrapped), what people handed in is in memory alone and is handed in
//! again after a restart.

use crate::{
    NewSeal, Result, SealInput, Vault, VaultError,
    rotate::{Root, to_json},
    seal::{self, RootKey, collect, shamir::Quorum},
    settings,
    unsealed::Unsealed,
    vault::now,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use credentialflow_model::{Actor, SecretValue, Timestamp};
use credentialflow_store::WriteTx;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::PoisonError;

/// What a rekey is to change.
#[derive(Debug)]
pub struct Rekey {
    /// How the vault is to be unsealed from now on; `None` keeps the seal.
    pub seal: Option<NewSeal>,
    /// Whether a fresh root key takes the old one's place.
    pub root: bool,
    /// Whether the new seal takes effect only after it was tried. Without, new shares that get lost on
    /// their way lose the vault.
    pub verify: bool,
}

/// Where a rekey stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RekeyStage {
    /// Waiting for what unseals now.
    Prove,
    /// Waiting for the new seal to be tried.
    Verify,
}

/// A rekey that is not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RekeyStatus {
    /// Names it; has to come with whatever is handed in.
    pub nonce: String,
    /// When it was begun.
    pub started: Timestamp,
    /// Where it stands.
    pub stage: RekeyStage,
    /// How the vault will be unsealed; `None` where that stays.
    pub method: Option<String>,
    /// The quorum there will be.
    pub quorum: Quorum,
    /// Whether the root key changes.
    pub root: bool,
    /// Whether the new seal will be tried before it takes effect.
    pub verify: bool,
    /// Shares this stage takes.
    pub required: u8,
    /// Shares handed in at this stage, in this process.
    pub progress: u8,
}

/// What handing something in led to.
#[derive(Debug)]
pub struct RekeyAnswer {
    /// The rekey, if it is not finished.
    pub status: Option<RekeyStatus>,
    /// The new shares: to be shown once and kept apart.
    pub shares: Vec<SecretValue>,
}

/// As stored. Holds nothing that opens without a seal or the root key.
#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    nonce: String,
    started: i64,
    verify: bool,
    method: Option<String>,
    quorum: Quorum,
    proven: bool,
    /// The new seal, once it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seal: Option<String>,
    /// Base64 of the new root key, wrapped by the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    root: Option<String>,
}

impl Vault {
    /// Begins a rekey. A new passphrase or key is taken here, a key in another system is tried here;
    /// shares are made when the present quorum has agreed. Nothing changes yet.
    pub async fn begin_rekey(&self, actor: &Actor, rekey: Rekey) -> Result<RekeyStatus> {
        let unsealed = self.unsealed()?;
        if self.stored_rekey().await?.is_some() {
            return Err(VaultError::RekeyRunning);
        }
        if rekey.seal.is_none() && !rekey.root {
            return Err(VaultError::SealSettings);
        }
        let next = if rekey.root { Some(RootKey::generate()?) } else { None };
        let root = next.as_ref().map(|next| unsealed.root.bridge(next)).transpose()?;
        let inner = next.as_ref().unwrap_or(&unsealed.root);
        let (method, quorum, seal) = match rekey.seal {
            None => (None, self.current_method()?.quorum(), None),
            Some(NewSeal::Shares(quorum)) => {
                (Some("shamir".to_owned()), Quorum::new(quorum.shares, quorum.threshold)?, None)
            }
            Some(other) => {
                let made = seal::make(other, self.key_service().as_deref()).await?.close(inner)?;
                let method = seal::method_of(&made)?;
                (Some(method.name().to_owned()), method.quorum(), Some(text(made)?))
            }
        };
        let stored = Stored {
            nonce: collect::nonce()?,
            started: now().micros(),
            verify: rekey.verify,
            method,
            quorum,
            proven: false,
            seal,
            root: root.map(|sealed| STANDARD.encode(sealed.as_bytes())),
        };
        let mut tx = self.store()?.begin(actor).await?;
        if tx.setting(settings::REKEY).await?.is_some() {
            return Err(VaultError::RekeyRunning);
        }
        tx.put_setting(settings::REKEY, &to_json(&stored)?).await?;
        tx.audit("rekey.begin", "settings/vault", stored.told());
        tx.commit().await?;
        self.forget_collected();
        self.status_of(&stored)
    }

    /// The rekey that is not finished, if there is one.
    pub async fn rekey_status(&self) -> Result<Option<RekeyStatus>> {
        self.stored_rekey().await?.map(|stored| self.status_of(&stored)).transpose()
    }

    /// Hands in what unseals now: a share (as [`SealInput::Shares`] of one or more), the passphrase, the
    /// key; [`SealInput::External`] where another system holds it. With enough of it the new shares are
    /// made and answered; without a verification to follow, the rekey is finished.
    pub async fn prove_rekey(&self, actor: &Actor, nonce: &str, input: SealInput) -> Result<RekeyAnswer> {
        let unsealed = self.unsealed()?;
        let mut stored = self.named_rekey(nonce).await?;
        if stored.proven {
            return Err(VaultError::RekeyStep);
        }
        let before = to_json(&stored)?;
        let method = self.current_method()?;
        let Some(input) = collect(&self.0.proving, &method, input)? else {
            return Ok(RekeyAnswer { status: Some(self.status_of(&stored)?), shares: Vec::new() });
        };
        let kek = seal::kek(&method, input, self.key_service().as_deref()).await?;
        let settings = self.settings();
        if !seal::open(settings.get(settings::SEAL)?, &kek)?.is(&unsealed.root) {
            return Err(VaultError::Unseal);
        }
        stored.proven = true;
        let next = stored.next_root(&unsealed)?;
        let inner = next.as_ref().unwrap_or(&unsealed.root);
        let mut shares = Vec::new();
        if stored.method.as_deref() == Some("shamir") {
            let made = seal::make(NewSeal::Shares(stored.quorum), None).await?;
            stored.seal = Some(text(made.close(inner)?)?);
            shares = made.shares.iter().map(seal::share::Share::to_text).collect();
        } else if stored.method.is_none() {
            stored.seal = Some(text(seal::close(&method, &kek, inner)?)?);
        }
        // A key in another system was tried when the rekey began; an unchanged seal was used just now.
        let tried = stored.method.is_none() || stored.new_method()?.external().is_some();
        if stored.verify && !tried {
            let mut tx = self.store()?.begin(actor).await?;
            unchanged(&mut tx, &before).await?;
            tx.put_setting(settings::REKEY, &to_json(&stored)?).await?;
            tx.audit("rekey.prove", "settings/vault", stored.told());
            tx.commit().await?;
            return Ok(RekeyAnswer { status: Some(self.status_of(&stored)?), shares });
        }
        self.finish_rekey(actor, &stored, &before).await?;
        Ok(RekeyAnswer { status: None, shares })
    }

    /// Hands in what the new seal takes. When it opens, the new seal is in force and the old one is not.
    pub async fn verify_rekey(&self, actor: &Actor, nonce: &str, input: SealInput) -> Result<RekeyAnswer> {
        let unsealed = self.unsealed()?;
        let stored = self.named_rekey(nonce).await?;
        if !stored.proven {
            return Err(VaultError::RekeyStep);
        }
        let before = to_json(&stored)?;
        let method = stored.new_method()?;
        let Some(input) = collect(&self.0.verifying, &method, input)? else {
            return Ok(RekeyAnswer { status: Some(self.status_of(&stored)?), shares: Vec::new() });
        };
        let kek = seal::kek(&method, input, self.key_service().as_deref()).await?;
        let opened = seal::open(stored.seal.as_deref().ok_or(VaultError::RekeyStep)?.as_bytes(), &kek)?;
        let next = stored.next_root(&unsealed)?;
        if !opened.is(next.as_ref().unwrap_or(&unsealed.root)) {
            return Err(VaultError::Unseal);
        }
        self.finish_rekey(actor, &stored, &before).await?;
        Ok(RekeyAnswer { status: None, shares: Vec::new() })
    }

    /// Begins the trial of the new seal anew, with what was handed in for it forgotten and another nonce:
    /// whoever knows only the earlier one takes no part in it. The rekey itself and its shares stay.
    pub async fn restart_verification(&self, actor: &Actor) -> Result<RekeyStatus> {
        let mut stored = self.stored_rekey().await?.ok_or(VaultError::NoRekey)?;
        if !stored.proven {
            return Err(VaultError::RekeyStep);
        }
        let before = to_json(&stored)?;
        stored.nonce = collect::nonce()?;
        let mut tx = self.store()?.begin(actor).await?;
        unchanged(&mut tx, &before).await?;
        tx.put_setting(settings::REKEY, &to_json(&stored)?).await?;
        tx.audit("rekey.restart_verification", "settings/vault", stored.told());
        tx.commit().await?;
        self.forget_collected();
        self.status_of(&stored)
    }

    /// Gives a rekey up, whatever its stage; the present seal stays. Answers whether there was one.
    pub async fn cancel_rekey(&self, actor: &Actor) -> Result<bool> {
        let mut tx = self.store()?.begin(actor).await?;
        if !tx.delete_setting(settings::REKEY).await? {
            return Ok(false);
        }
        tx.audit("rekey.cancel", "settings/vault", json!({}));
        tx.commit().await?;
        self.forget_collected();
        Ok(true)
    }

    /// The new seal takes the old one's place, and with it, where that is asked, the new root key: all
    /// that it wraps is wrapped anew in the same transaction.
    async fn finish_rekey(&self, actor: &Actor, stored: &Stored, before: &[u8]) -> Result<()> {
        let _one_at_a_time = self.0.reserving.lock().await;
        let unsealed = self.unsealed()?;
        let next = stored.next_root(&unsealed)?;
        let seal = stored.seal.as_deref().ok_or(VaultError::RekeyStep)?;
        let mut tx = self.store()?.begin(actor).await?;
        unchanged(&mut tx, before).await?;
        tx.put_setting(settings::SEAL, seal.as_bytes()).await?;
        let mut told = stored.told();
        if let Some(next) = &next {
            for name in [settings::KEYRING, settings::PEPPERS, settings::FINGERPRINT_KEY, settings::AUDIT_KEY] {
                let held = tx.setting(name).await?.ok_or(VaultError::NotInitialized)?;
                let plain = unsealed.root.unwrap(name, &held)?;
                tx.put_setting(name, next.wrap(name, plain.expose())?.as_bytes()).await?;
            }
            let root = tx.setting(settings::ROOT).await?;
            let root: Option<Root> = root
                .map(|r| serde_json::from_slice(&r).map_err(|_| VaultError::Corrupt(settings::ROOT)))
                .transpose()?;
            let term = root.map_or(1, |r| r.term) + 1;
            let root = Root { term, installed: tx.now().micros(), bridge: stored.root.clone() };
            tx.put_setting(settings::ROOT, &to_json(&root)?).await?;
            told["root_term"] = json!(term);
        }
        tx.delete_setting(settings::REKEY).await?;
        tx.audit("rekey.finish", "settings/vault", told);
        tx.commit().await?;
        self.forget_collected();
        self.reset_unseal();
        self.reload_locked(next).await
    }

    fn current_method(&self) -> Result<seal::SealMethod> {
        seal::method_of(self.settings().get(settings::SEAL)?)
    }

    async fn stored_rekey(&self) -> Result<Option<Stored>> {
        let stored = self.store()?.setting(settings::REKEY).await?;
        stored.map(|bytes| serde_json::from_slice(&bytes).map_err(|_| VaultError::Corrupt(settings::REKEY))).transpose()
    }

    async fn named_rekey(&self, nonce: &str) -> Result<Stored> {
        self.stored_rekey().await?.filter(|stored| stored.nonce == nonce).ok_or(VaultError::NoRekey)
    }

    fn forget_collected(&self) {
        for collected in [&self.0.proving, &self.0.verifying] {
            collected.lock().unwrap_or_else(PoisonError::into_inner).reset();
        }
    }

    fn status_of(&self, stored: &Stored) -> Result<RekeyStatus> {
        let (stage, collected, required) = if stored.proven {
            (RekeyStage::Verify, &self.0.verifying, stored.quorum.threshold)
        } else {
            (RekeyStage::Prove, &self.0.proving, self.current_method()?.quorum().threshold)
        };
        Ok(RekeyStatus {
            nonce: stored.nonce.clone(),
            started: Timestamp::from_micros(stored.started),
            stage,
            method: stored.method.clone(),
            quorum: stored.quorum,
            root: stored.root.is_some(),
            verify: stored.verify,
            required,
            progress: collected.lock().unwrap_or_else(PoisonError::into_inner).progress(),
        })
    }
}

impl Stored {
    /// What the audit log is told.
    fn told(&self) -> serde_json::Value {
        json!({
            "nonce": self.nonce, "seal": self.method, "shares": self.quorum.shares,
            "threshold": self.quorum.threshold, "root": self.root.is_some(), "verify": self.verify,
        })
    }

    fn new_method(&self) -> Result<seal::SealMethod> {
        seal::method_of(self.seal.as_deref().ok_or(VaultError::RekeyStep)?.as_bytes())
    }

    fn next_root(&self, unsealed: &Unsealed) -> Result<Option<RootKey>> {
        let Some(root) = &self.root else { return Ok(None) };
        let bridge = STANDARD.decode(root).map_err(|_| VaultError::Corrupt(settings::REKEY))?;
        unsealed.root.cross(&bridge).map(Some)
    }
}

/// Passes everything but shares on at once; shares when there are enough.
fn collect(
    collected: &std::sync::Mutex<collect::Collected>,
    method: &seal::SealMethod,
    input: SealInput,
) -> Result<Option<SealInput>> {
    let SealInput::Shares(shares) = input else { return Ok(Some(input)) };
    let settings = method.shamir().ok_or(VaultError::OtherSealMethod { expected: method.name(), given: "shamir" })?;
    let mut collected = collected.lock().unwrap_or_else(PoisonError::into_inner);
    for share in shares {
        if let Some(enough) = collected.add(settings, share)? {
            return Ok(Some(SealInput::Shares(enough)));
        }
    }
    Ok(None)
}

/// Another node may have taken the same step meanwhile.
async fn unchanged(tx: &mut WriteTx, before: &[u8]) -> Result<()> {
    if tx.setting(settings::REKEY).await?.as_deref() == Some(before) { Ok(()) } else { Err(VaultError::RekeyStep) }
}

fn text(seal: Vec<u8>) -> Result<String> {
    String::from_utf8(seal).map_err(|_| VaultError::Corrupt("seal"))
}
