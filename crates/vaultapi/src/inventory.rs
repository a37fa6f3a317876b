//! What is kept and was handed out here, told to who administers the installation and without any value.

use crate::{VaultApi, auth::seen, error::ApiError, state::Ready};
use credentialflow_identity::{Mount, Sort, Standings};
use credentialflow_model::Actor;
use credentialflow_secrets::{
    Table, Txn,
    lease::Described,
    listed::{self, KeptLogins, KeptSecrets},
};
use credentialflow_store::LeaseRow;
use std::{fmt, sync::Arc};

/// Why nothing is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotTold {
    /// There is no vault yet, or it is sealed.
    Sealed,
    /// It could not be read; says why.
    Failed(String),
}

impl fmt::Display for NotTold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sealed => f.write_str("the vault is sealed"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for NotTold {}

impl From<ApiError> for NotTold {
    fn from(error: ApiError) -> Self {
        Self::Failed(error.text)
    }
}

impl VaultApi {
    /// A page of the logins whose passwords mounts keep, by path and after one; at most `most` are looked at. One whose
    /// entry does not read is told with that as its problem.
    ///
    /// # Errors
    /// As all of these: while the vault is sealed, and when the database cannot be asked.
    pub async fn kept_logins(&self, after: &str, most: u32) -> Result<KeptLogins, NotTold> {
        let (_, mut txn, table) = self.view().await?;
        listed::logins(&mut txn, &table, after, most as usize).await.map_err(failed)
    }

    /// How many key-value secrets each mount has, by path. Their ages may be a minute old, or absent, where opening all
    /// took seconds.
    ///
    /// # Errors
    /// As [`VaultApi::kept_logins`].
    pub async fn kept_secrets(&self) -> Result<Vec<KeptSecrets>, NotTold> {
        let (ready, mut txn, table) = self.view().await?;
        listed::secrets(&mut txn, &table, &ready.ages).await.map_err(failed)
    }

    /// A page of what lets somebody in: of one sort, after a name; about `most` are looked at.
    ///
    /// # Errors
    /// As [`VaultApi::kept_logins`].
    pub async fn standings(&self, sort: Sort, after: &str, most: u32) -> Result<Standings, NotTold> {
        let (ready, _, table) = self.view().await?;
        let mounts: Vec<(String, Mount)> = table.auth.values().map(|mount| (mount.kind.clone(), seen(mount))).collect();
        Ok(ready.identity.standings(sort, &mounts, after, most).await.map_err(ApiError::from)?)
    }

    /// What a lease is of.
    ///
    /// # Errors
    /// As [`VaultApi::kept_logins`].
    pub async fn describe_lease(&self, row: &LeaseRow) -> Result<Described, NotTold> {
        self.open()?.leases.describe(row).map_err(failed)
    }

    fn open(&self) -> Result<Arc<Ready>, NotTold> {
        self.0.ready().filter(|ready| !ready.vault.is_sealed()).ok_or(NotTold::Sealed)
    }

    async fn view(&self) -> Result<(Arc<Ready>, Txn, Arc<Table>), NotTold> {
        let ready = self.open()?;
        let mut txn = ready.txn(Actor::system("inventory"));
        let table = ready.mounts.table(&mut txn).await.map_err(failed)?;
        Ok((ready, txn, table))
    }
}

fn failed(error: credentialflow_secrets::SecretsError) -> NotTold {
    ApiError::from(error).into()
}
