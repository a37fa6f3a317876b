//! Versions of the credentials we hold, sealed by the vault before they come here.

use crate::row::{self, parse_word, word};
use crate::{ChangeKind, Result, Store, StoreError, WriteTx};
use credentialflow_model::{Name, Timestamp, lifecycle::VersionState};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

/// One version of a credential. At most one of a credential is current; the database sees to it.
#[derive(Clone, PartialEq, Eq)]
pub struct CredentialVersionRow {
    /// Whose.
    pub credential: Name,
    /// From 1.
    pub version: u32,
    /// Where it is in its life.
    pub state: VersionState,
    /// The sealed value; absent once destroyed.
    pub sealed: Option<Vec<u8>>,
    /// How it is sealed.
    pub algorithm: String,
    /// Which key of the keyring sealed it.
    pub keyring_id: u32,
    /// A keyed hash of the value, to see that an applied value is unchanged.
    pub fingerprint: Vec<u8>,
    /// When it was made.
    pub created: Timestamp,
    /// When it became current.
    pub promoted: Option<Timestamp>,
    /// When it stopped being usable.
    pub retired: Option<Timestamp>,
    /// What the place that made it calls it; no secret.
    pub handle: Option<String>,
}

impl std::fmt::Debug for CredentialVersionRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CredentialVersionRow")
            .field("credential", &self.credential)
            .field("version", &self.version)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

const SELECT: &str = "SELECT credential, version, state, sealed, algorithm, keyring_id, fingerprint, created, \
                      promoted, retired, handle FROM credential_versions";

impl Store {
    /// One version.
    pub async fn credential_version(&self, credential: &str, version: u32) -> Result<Option<CredentialVersionRow>> {
        one(&mut *self.reader().await?, credential, version).await
    }

    /// All versions of a credential, oldest first.
    pub async fn credential_versions(&self, credential: &str) -> Result<Vec<CredentialVersionRow>> {
        all(&mut *self.reader().await?, credential).await
    }

    /// The versions that may be injected, of all credentials.
    pub async fn live_credential_versions(&self) -> Result<Vec<CredentialVersionRow>> {
        let sql = format!("{SELECT} WHERE state IN ('current', 'previous', 'canary') ORDER BY credential, version");
        sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *self.reader().await?).await?.iter().map(read).collect()
    }

    /// Every version of every credential after a place, in order, at most `limit`: for re-sealing
    /// and inventories that go through all of them in bounded memory.
    pub async fn credential_versions_after(
        &self,
        after: Option<(&str, u32)>,
        limit: u32,
    ) -> Result<Vec<CredentialVersionRow>> {
        let (credential, version) = after.unwrap_or(("", 0));
        let sql = format!(
            "{SELECT} WHERE credential > $1 OR (credential = $1 AND version > $2) ORDER BY credential, version LIMIT $3"
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(credential)
            .bind(i64::from(version))
            .bind(i64::from(limit))
            .fetch_all(&mut *self.reader().await?)
            .await?
            .iter()
            .map(read)
            .collect()
    }
}

impl WriteTx {
    /// One version as this transaction sees it.
    pub async fn credential_version(&mut self, credential: &str, version: u32) -> Result<Option<CredentialVersionRow>> {
        one(self.connection(), credential, version).await
    }

    /// All versions of a credential as this transaction sees them, oldest first.
    pub async fn credential_versions(&mut self, credential: &str) -> Result<Vec<CredentialVersionRow>> {
        all(self.connection(), credential).await
    }

    /// Adds a version. `Conflict` when it exists, or when it would be a second current one.
    pub async fn insert_credential_version(&mut self, v: &CredentialVersionRow) -> Result<()> {
        sqlx::query(
            "INSERT INTO credential_versions (credential, version, state, sealed, algorithm, keyring_id, fingerprint,
             created, promoted, retired, handle) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(v.credential.as_str())
        .bind(i64::from(v.version))
        .bind(word(&v.state)?)
        .bind(v.sealed.clone())
        .bind(v.algorithm.as_str())
        .bind(i64::from(v.keyring_id))
        .bind(v.fingerprint.clone())
        .bind(v.created.micros())
        .bind(v.promoted.map(Timestamp::micros))
        .bind(v.retired.map(Timestamp::micros))
        .bind(v.handle.clone())
        .execute(self.connection())
        .await?;
        self.changed(ChangeKind::CredentialVersions, v.credential.as_str());
        Ok(())
    }

    /// Writes everything of a version but its creation. `NotFound` when it is not there, `Conflict`
    /// when it would be a second current one: supersede the old one first.
    pub async fn update_credential_version(&mut self, v: &CredentialVersionRow) -> Result<()> {
        let done = sqlx::query(
            "UPDATE credential_versions SET state = $1, sealed = $2, algorithm = $3, keyring_id = $4,
             fingerprint = $5, promoted = $6, retired = $7, handle = $8 WHERE credential = $9 AND version = $10",
        )
        .bind(word(&v.state)?)
        .bind(v.sealed.clone())
        .bind(v.algorithm.as_str())
        .bind(i64::from(v.keyring_id))
        .bind(v.fingerprint.clone())
        .bind(v.promoted.map(Timestamp::micros))
        .bind(v.retired.map(Timestamp::micros))
        .bind(v.handle.clone())
        .bind(v.credential.as_str())
        .bind(i64::from(v.version))
        .execute(self.connection())
        .await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::NotFound(format!("version {} of credentials/{}", v.version, v.credential)));
        }
        self.changed(ChangeKind::CredentialVersions, v.credential.as_str());
        Ok(())
    }

    /// Removes a credential's versions and uses (its resource is removed apart); tells how many
    /// versions there were. Finished rotations stay as history.
    pub async fn delete_credential_versions(&mut self, credential: &str) -> Result<u64> {
        sqlx::query("DELETE FROM credential_uses WHERE credential = $1")
            .bind(credential)
            .execute(self.connection())
            .await?;
        let gone = sqlx::query("DELETE FROM credential_versions WHERE credential = $1")
            .bind(credential)
            .execute(self.connection())
            .await?
            .rows_affected();
        if gone > 0 {
            self.changed(ChangeKind::CredentialVersions, credential);
        }
        Ok(gone)
    }
}

async fn one(c: &mut AnyConnection, credential: &str, version: u32) -> Result<Option<CredentialVersionRow>> {
    let sql = format!("{SELECT} WHERE credential = $1 AND version = $2");
    let found = sqlx::query(AssertSqlSafe(sql)).bind(credential).bind(i64::from(version)).fetch_optional(c).await?;
    found.as_ref().map(read).transpose()
}

async fn all(c: &mut AnyConnection, credential: &str) -> Result<Vec<CredentialVersionRow>> {
    let sql = format!("{SELECT} WHERE credential = $1 ORDER BY version");
    sqlx::query(AssertSqlSafe(sql)).bind(credential).fetch_all(c).await?.iter().map(read).collect()
}

fn read(r: &AnyRow) -> Result<CredentialVersionRow> {
    Ok(CredentialVersionRow {
        credential: row::name(r, 0)?,
        version: row::version(r, 1)?,
        state: parse_word(r.try_get(2)?, "state of a credential's version")?,
        sealed: r.try_get(3)?,
        algorithm: r.try_get(4)?,
        keyring_id: row::version(r, 5)?,
        fingerprint: r.try_get(6)?,
        created: row::time(r, 7)?,
        promoted: row::optional_time(r, 8)?,
        retired: row::optional_time(r, 9)?,
        handle: r.try_get(10)?,
    })
}
