//! When, from where and how often keys and credential versions were last used; `networks` keeps from where keys were
//! used before.
//!
//! The one write outside the audited door: a use is an observation of traffic and changes nothing
//! that anybody decides. Auditing it would write one event for every few requests and bury the
//! events that matter; the call log tells of each use. Batches come from the recorder, so a request
//! costs no write, and a batch lost in a crash costs counts, never a decision.

use crate::row::{CHUNK, unsigned, values};
use crate::{KeyNetwork, Result, Store, networks, row};
use credentialflow_model::{KeyId, Timestamp};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Connection, Row};
use std::collections::BTreeMap;

/// Rows of one statement. SQLite's driver looks each parameter's name up among all of them, so that the cost of a row
/// grows with the statement.
pub(crate) const STATEMENT: usize = 16;

/// How a key was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// Which key.
    pub key_id: KeyId,
    /// When last.
    pub last_time: Timestamp,
    /// From which address last.
    pub last_source: String,
    /// How often: in a batch the uses since the last one, when read the uses ever.
    pub count: u64,
}

/// How a version of a credential was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialUse {
    /// Which credential.
    pub credential: String,
    /// Which version.
    pub version: u32,
    /// When last.
    pub last_time: Timestamp,
    /// How often: in a batch the uses since the last one, when read the uses ever.
    pub count: u64,
}

/// One batch of observations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// Of keys.
    pub keys: Vec<KeyUse>,
    /// Of credential versions.
    pub credentials: Vec<CredentialUse>,
    /// From where keys were used.
    pub networks: Vec<KeyNetwork>,
}

impl Store {
    /// Adds a batch of observed uses, in one transaction, without an audit event (see the module). A batch of a
    /// few thousand rows keeps nobody waiting for the one writer.
    pub async fn record_uses(&self, uses: &Uses) -> Result<()> {
        // One row once in a statement, and the same order on every node, so that two never wait for
        // one another in a circle.
        let mut keys = BTreeMap::<u64, (i64, &str, u64)>::new();
        for u in &uses.keys {
            let sum = keys.entry(u.key_id.bits()).or_insert((i64::MIN, "", 0));
            if u.last_time.micros() >= sum.0 {
                (sum.0, sum.1) = (u.last_time.micros(), &u.last_source);
            }
            sum.2 = sum.2.saturating_add(u.count);
        }
        let mut credentials = BTreeMap::<(&str, u32), (i64, u64)>::new();
        for u in &uses.credentials {
            let sum = credentials.entry((&u.credential, u.version)).or_insert((i64::MIN, 0));
            *sum = (sum.0.max(u.last_time.micros()), sum.1.saturating_add(u.count));
        }
        let keys: Vec<_> = keys.into_iter().collect();
        let credentials: Vec<_> = credentials.into_iter().collect();
        let mut connection = self.writer().await?;
        let mut tx = connection.begin_with(self.driver().begin()).await?;
        for chunk in keys.chunks(STATEMENT) {
            let sql = format!(
                "INSERT INTO key_uses (key_id, last_time, last_source, count) VALUES {}
                 ON CONFLICT (key_id) DO UPDATE SET
                 last_source = CASE WHEN excluded.last_time >= key_uses.last_time
                               THEN excluded.last_source ELSE key_uses.last_source END,
                 last_time = CASE WHEN excluded.last_time >= key_uses.last_time
                             THEN excluded.last_time ELSE key_uses.last_time END,
                 count = key_uses.count + excluded.count",
                values(4, chunk.len())
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (id, (time, source, count)) in chunk {
                query = query.bind(*id as i64).bind(*time).bind(*source).bind(to_i64(*count));
            }
            query.execute(&mut *tx).await?;
        }
        for chunk in credentials.chunks(STATEMENT) {
            let sql = format!(
                "INSERT INTO credential_uses (credential, version, last_time, count) VALUES {}
                 ON CONFLICT (credential, version) DO UPDATE SET
                 last_time = CASE WHEN excluded.last_time >= credential_uses.last_time
                             THEN excluded.last_time ELSE credential_uses.last_time END,
                 count = credential_uses.count + excluded.count",
                values(4, chunk.len())
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for ((credential, version), (time, count)) in chunk {
                query = query.bind(*credential).bind(i64::from(*version)).bind(*time).bind(to_i64(*count));
            }
            query.execute(&mut *tx).await?;
        }
        let crowded = networks::record(&mut tx, &uses.networks).await?;
        tx.commit().await?;
        networks::crop(&mut connection, self.driver(), &crowded).await;
        Ok(())
    }

    /// How a key was used; `None` when never.
    pub async fn key_use(&self, id: KeyId) -> Result<Option<KeyUse>> {
        let found = sqlx::query("SELECT key_id, last_time, last_source, count FROM key_uses WHERE key_id = $1")
            .bind(id.bits() as i64)
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        found.as_ref().map(read_key_use).transpose()
    }

    /// How several keys were used; those never used are absent.
    pub async fn key_uses(&self, ids: &[KeyId]) -> Result<Vec<KeyUse>> {
        let mut found = Vec::with_capacity(ids.len());
        let mut connection = self.reader().await?;
        for chunk in ids.chunks(CHUNK) {
            let sql = format!(
                "SELECT key_id, last_time, last_source, count FROM key_uses WHERE key_id IN ({})",
                row::list(1, chunk.len())
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for id in chunk {
                query = query.bind(id.bits() as i64);
            }
            for row in query.fetch_all(&mut *connection).await? {
                found.push(read_key_use(&row)?);
            }
        }
        Ok(found)
    }

    /// How a credential's versions were used, oldest version first.
    pub async fn credential_uses(&self, credential: &str) -> Result<Vec<CredentialUse>> {
        sqlx::query(
            "SELECT credential, version, last_time, count FROM credential_uses WHERE credential = $1 ORDER BY version",
        )
        .bind(credential)
        .fetch_all(&mut *self.reader().await?)
        .await?
        .iter()
        .map(read_credential_use)
        .collect()
    }

    /// How every version of every credential was used, by credential and version.
    pub async fn all_credential_uses(&self) -> Result<Vec<CredentialUse>> {
        sqlx::query("SELECT credential, version, last_time, count FROM credential_uses ORDER BY credential, version")
            .fetch_all(&mut *self.reader().await?)
            .await?
            .iter()
            .map(read_credential_use)
            .collect()
    }
}

fn to_i64(count: u64) -> i64 {
    // A count can be added to a stored one without an overflow.
    i64::try_from(count).unwrap_or(i64::MAX).min(i64::MAX / 4)
}

fn read_credential_use(r: &AnyRow) -> Result<CredentialUse> {
    Ok(CredentialUse {
        credential: r.try_get(0)?,
        version: row::version(r, 1)?,
        last_time: row::time(r, 2)?,
        count: unsigned(r, 3)?,
    })
}

fn read_key_use(r: &AnyRow) -> Result<KeyUse> {
    Ok(KeyUse {
        key_id: KeyId::from_bits(unsigned(r, 0)?),
        last_time: row::time(r, 1)?,
        last_source: r.try_get(2)?,
        count: unsigned(r, 3)?,
    })
}
