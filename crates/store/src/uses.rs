//! When, from where and how often keys and credential versions were last used; `networks` keeps from where keys were
//! used before.
//!
//! The one write outside the audited door: a use is an observation of traffic and changes nothing
//! that anybody decides. Auditing it would write one event for every few requests and bury the
//! events that matter; the call log tells of each use. Batches come from the recorder, so a request
//! costs no write, and a batch lost in a crash costs counts, never a decision.

use crate::row::{CHUNK, unsigned, values};
use crate::{KeyNetwork, Result, Store, WriteTx, networks, row};
use credentialflow_model::{KeyId, Timestamp};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};
use std::collections::{BTreeMap, BTreeSet};

/// Rows of one statement. SQLite's driver looks each parameter's name up among all of them, so that the cost of a row
/// grows with the statement.
pub(crate) const STATEMENT: usize = 16;

/// Routes and networks kept of the secrets of one key; two nodes that write at once may keep some more.
pub const MOST_PLACES: usize = 1000;

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

/// How a secret of a key was used while a rotation waits for callers to leave the older one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySecretUse {
    /// Whose.
    pub key_id: KeyId,
    /// Which of its secrets.
    pub version: u32,
    /// On which route; empty where none matched, or where that is not told apart.
    pub route: String,
    /// From which network, as in `192.0.2.7/32`; empty where that is not told apart.
    pub source: String,
    /// When last: when the last request ended.
    pub last_time: Timestamp,
    /// How often: in a batch the uses since the last one, when read the uses since the rotation began.
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
    /// Of keys' secrets, of which one is to go.
    pub secrets: Vec<KeySecretUse>,
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
        record_secrets(&mut tx, &uses.secrets).await?;
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

impl Store {
    /// When each secret of a key was last used since its rotation began, by version; those never used are absent.
    pub async fn last_key_secret_uses(&self, id: KeyId) -> Result<Vec<(u32, Timestamp)>> {
        sqlx::query(
            "SELECT version, MAX(last_time) FROM key_secret_uses WHERE key_id = $1 GROUP BY version ORDER BY version",
        )
        .bind(id.bits() as i64)
        .fetch_all(&mut *self.reader().await?)
        .await?
        .iter()
        .map(|r| Ok((row::version(r, 0)?, row::time(r, 1)?)))
        .collect()
    }

    /// Who used secrets of a key besides one version since its rotation began, the newest use first, `limit` at most.
    pub async fn key_secret_uses(&self, id: KeyId, besides: u32, limit: u32) -> Result<Vec<KeySecretUse>> {
        sqlx::query(
            "SELECT key_id, version, route, source, last_time, count FROM key_secret_uses
             WHERE key_id = $1 AND version <> $2 ORDER BY last_time DESC, version, route, source LIMIT $3",
        )
        .bind(id.bits() as i64)
        .bind(i64::from(besides))
        .bind(i64::from(limit))
        .fetch_all(&mut *self.reader().await?)
        .await?
        .iter()
        .map(|r| {
            Ok(KeySecretUse {
                key_id: KeyId::from_bits(unsigned(r, 0)?),
                version: row::version(r, 1)?,
                route: r.try_get(2)?,
                source: r.try_get(3)?,
                last_time: row::time(r, 4)?,
                count: unsigned(r, 5)?,
            })
        })
        .collect()
    }
}

impl WriteTx {
    /// Forgets who used which secret of a key: its rotation is over, or begins.
    pub async fn forget_key_secret_uses(&mut self, id: KeyId) -> Result<()> {
        let forget = sqlx::query("DELETE FROM key_secret_uses WHERE key_id = $1").bind(id.bits() as i64);
        forget.execute(self.connection()).await?;
        Ok(())
    }
}

async fn record_secrets(c: &mut AnyConnection, uses: &[KeySecretUse]) -> Result<()> {
    // One row once in a statement, and the same order on every node.
    let mut sums = Places::new();
    for u in uses {
        add(&mut sums, (u.key_id.bits(), u.version, &u.route, &u.source), (u.last_time.micros(), u.count));
    }
    let sums: Vec<_> = without_new_places(c, sums).await?.into_iter().collect();
    for chunk in sums.chunks(STATEMENT) {
        let sql = format!(
            "INSERT INTO key_secret_uses (key_id, version, route, source, last_time, count) VALUES {}
             ON CONFLICT (key_id, version, route, source) DO UPDATE SET
             last_time = CASE WHEN excluded.last_time >= key_secret_uses.last_time
                         THEN excluded.last_time ELSE key_secret_uses.last_time END,
             count = key_secret_uses.count + excluded.count",
            values(6, chunk.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for ((id, version, route, source), (time, count)) in chunk {
            query = query.bind(*id as i64).bind(i64::from(*version)).bind(*route).bind(*source);
            query = query.bind(*time).bind(to_i64(*count));
        }
        query.execute(&mut *c).await?;
    }
    Ok(())
}

/// Uses of keys' secrets, by key, version, route and network: when last, and how often.
type Places<'u> = BTreeMap<(u64, u32, &'u str, &'u str), (i64, u64)>;

fn add<'u>(sums: &mut Places<'u>, place: (u64, u32, &'u str, &'u str), (time, count): (i64, u64)) {
    let sum = sums.entry(place).or_insert((i64::MIN, 0));
    *sum = (sum.0.max(time), sum.1.saturating_add(count));
}

/// Places of keys that are used from more than [`MOST_PLACES`] become one for each version, without route and network;
/// those that have a row keep it.
async fn without_new_places<'u>(c: &mut AnyConnection, sums: Places<'u>) -> Result<Places<'u>> {
    let mut new = BTreeMap::<u64, usize>::new();
    for (id, ..) in sums.keys() {
        *new.entry(*id).or_default() += 1;
    }
    let mut known = BTreeMap::<u64, BTreeSet<(u32, String, String)>>::new();
    for (id, new) in new {
        let count = sqlx::query("SELECT COUNT(*) FROM key_secret_uses WHERE key_id = $1").bind(id as i64);
        if unsigned(&count.fetch_one(&mut *c).await?, 0)? + new as u64 <= MOST_PLACES as u64 {
            continue;
        }
        let rows = sqlx::query("SELECT version, route, source FROM key_secret_uses WHERE key_id = $1").bind(id as i64);
        let rows = rows.fetch_all(&mut *c).await?;
        let rows = rows.iter().map(|r| Ok((row::version(r, 0)?, r.try_get(1)?, r.try_get(2)?)));
        known.insert(id, rows.collect::<Result<_>>()?);
    }
    if known.is_empty() {
        return Ok(sums);
    }
    let mut kept = Places::new();
    for ((id, version, route, source), sum) in sums {
        let place = match known.get_mut(&id) {
            None => (id, version, route, source),
            Some(known) => {
                let this = (version, route.to_owned(), source.to_owned());
                if known.contains(&this) || known.len() < MOST_PLACES {
                    known.insert(this);
                    (id, version, route, source)
                } else {
                    (id, version, "", "")
                }
            }
        };
        add(&mut kept, place, sum);
    }
    Ok(kept)
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
