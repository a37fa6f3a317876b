//! Opening and closing the vault, and telling how far opening has come.
//!
//! A vault of shares is opened one share at a time, by different people; the others at once. Nothing
//! here reveals whether a single share was right: they are tried together, and a mistyped one is found
//! by its checksum before.

use crate::{
    Result, SealInput, Vault, VaultError,
    seal::{
        self,
        external::{ExternalKey, KeyService},
        shamir::Quorum,
        share::Share,
    },
    settings,
    unsealed::Unsealed,
};
use std::sync::{Arc, PoisonError};

/// The seal at this moment. Says nothing secret; anyone may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealStatus {
    /// Whether the keys are not in memory.
    pub sealed: bool,
    /// How it is unsealed: `passphrase`, `shamir`, `key_file`, `aws_kms`, `transit` or `environment`.
    pub method: &'static str,
    /// How many shares there are and how many it takes; 1 of 1 where there are none.
    pub quorum: Quorum,
    /// Shares handed in to unseal so far, in this process.
    pub progress: u8,
    /// Which attempt they belong to; `None` before the first share.
    pub nonce: Option<String>,
}

impl Vault {
    /// Gives the vault access to the systems in which external keys lie.
    pub fn set_key_service(&self, service: Arc<dyn KeyService>) {
        *self.0.key_service.write().unwrap_or_else(PoisonError::into_inner) = Some(service);
    }

    pub(crate) fn key_service(&self) -> Option<Arc<dyn KeyService>> {
        self.0.key_service.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The name of the method this vault is unsealed by: `passphrase`, `shamir`, `key_file`, `aws_kms`,
    /// `transit` or `environment`.
    pub fn seal_method(&self) -> Result<&'static str> {
        Ok(seal::method_of(self.settings().get(settings::SEAL)?)?.name())
    }

    /// The key in another system that unseals this vault, if one does: then nobody has to be there.
    pub fn auto_unseal(&self) -> Result<Option<ExternalKey>> {
        Ok(seal::method_of(self.settings().get(settings::SEAL)?)?.external().cloned())
    }

    /// The seal at this moment.
    pub fn seal_status(&self) -> Result<SealStatus> {
        let method = seal::method_of(self.settings().get(settings::SEAL)?)?;
        let attempt = self.0.unsealing.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(SealStatus {
            sealed: self.is_sealed(),
            method: method.name(),
            quorum: method.quorum(),
            progress: attempt.progress(),
            nonce: attempt.nonce().map(str::to_owned),
        })
    }

    /// Opens the root key and everything under it. Does nothing when it is open already, but still
    /// refuses a wrong input. Without a reachable store, values open but none can be sealed.
    pub async fn unseal(&self, input: SealInput) -> Result<()> {
        let settings = self.settings();
        let stored = settings.get(settings::SEAL)?;
        let kek = seal::kek(&seal::method_of(stored)?, input, self.key_service().as_deref()).await?;
        let root = seal::open(stored, &kek)?;
        drop(kek);
        let _one_at_a_time = self.0.reserving.lock().await;
        let unsealed = match self.unsealed_or_none() {
            Some(open) => open,
            None => Arc::new(Unsealed::open(root, &settings)?),
        };
        // Reserved first, so that nobody who finds the vault unsealed is told that nothing can be sealed.
        let reserved = self.reserve(&unsealed).await;
        *self.0.unsealed.write().unwrap_or_else(PoisonError::into_inner) = Some(unsealed);
        self.reset_unseal();
        if let Err(error) = reserved {
            tracing::warn!(%error, "the vault is unsealed, but can seal no new values until its store is reachable");
        }
        Ok(())
    }

    /// Takes one share. When it completes the quorum the vault is unsealed; when the shares, though
    /// none was mistyped, do not open it, all of them are forgotten and [`VaultError::Unseal`] is told.
    pub async fn offer_share(&self, share: Share) -> Result<SealStatus> {
        if !self.is_sealed() {
            return self.seal_status();
        }
        let method = seal::method_of(self.settings().get(settings::SEAL)?)?;
        let settings =
            method.shamir().ok_or(VaultError::OtherSealMethod { expected: method.name(), given: "shamir" })?;
        let enough = self.0.unsealing.lock().unwrap_or_else(PoisonError::into_inner).add(settings, share)?;
        if let Some(shares) = enough {
            self.unseal(SealInput::Shares(shares)).await?;
        }
        self.seal_status()
    }

    /// Forgets the shares handed in so far.
    pub fn reset_unseal(&self) {
        self.0.unsealing.lock().unwrap_or_else(PoisonError::into_inner).reset();
    }

    /// Forgets every opened key.
    pub fn seal(&self) {
        *self.0.unsealed.write().unwrap_or_else(PoisonError::into_inner) = None;
        for attempt in [&self.0.unsealing, &self.0.proving, &self.0.verifying] {
            attempt.lock().unwrap_or_else(PoisonError::into_inner).reset();
        }
    }

    /// Whether the keys are not in memory.
    pub fn is_sealed(&self) -> bool {
        self.unsealed_or_none().is_none()
    }
}
