//! Which key each delegated key comes from: a tree whose rows outlive the keys, so that reports can tell whose they were.

use crate::row::{self, CHUNK, list};
use crate::{Result, Store, StoreError, WriteTx};
use credentialflow_model::{KeyId, Name, Timestamp};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

/// Where a key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegationRow {
    /// The key.
    pub key: KeyId,
    /// Its name, also when it is gone.
    pub name: Name,
    /// The key that it comes from.
    pub parent: KeyId,
    /// The first key of the chain.
    pub root: KeyId,
    /// The nearest key above it that was declared.
    pub anchor: KeyId,
    /// How many keys are above it.
    pub depth: u32,
    /// The secret of the parent that was in use, or was shown, when it was issued.
    pub parent_version: u32,
    /// Whether its parent issued it at the token endpoint; otherwise it was declared.
    pub exchanged: bool,
    /// Who uses it.
    pub actor: String,
    /// When it was issued.
    pub created: Timestamp,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
    /// When it was revoked or deleted.
    pub ended: Option<Timestamp>,
}

/// What of it those need who check keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The key that it comes from.
    pub key: KeyId,
    /// The parent's secret of then.
    pub version: u32,
    /// Whether its parent issued it at the token endpoint.
    pub exchanged: bool,
}

const ROW: &str =
    "SELECT key_id, name, parent, root, anchor, depth, parent_version, exchanged, actor, created, expires, ended
     FROM delegations";

const IN_FORCE: &str = "ended IS NULL";
const STORED: &str = "EXISTS (SELECT 1 FROM keys k WHERE k.id = delegations.key_id)";

impl Store {
    /// Where a key comes from; `None` for one that comes from no other.
    pub async fn delegation(&self, key: KeyId) -> Result<Option<DelegationRow>> {
        Ok(of_keys(&mut *self.reader().await?, "key_id", "1 = 1", &[key]).await?.pop())
    }

    /// The nearest declared key: the key itself, unless it was issued at the token endpoint.
    pub async fn anchor(&self, key: KeyId) -> Result<KeyId> {
        Ok(self.delegation(key).await?.filter(|of| of.exchanged).map_or(key, |of| of.anchor))
    }

    /// Where these keys come from, in no order; those that come from no other are left out.
    pub async fn delegations(&self, keys: &[KeyId]) -> Result<Vec<DelegationRow>> {
        of_keys(&mut *self.reader().await?, "key_id", "1 = 1", keys).await
    }

    /// The keys below a key, over all generations, that were neither revoked nor deleted: the nearest first.
    pub async fn keys_below(&self, key: KeyId) -> Result<Vec<DelegationRow>> {
        below(&mut *self.reader().await?, key, IN_FORCE).await
    }

    /// As [`Store::keys_below`], also those that have ended, as far as they were there in a span of time; at most so many,
    /// and in no order.
    pub async fn keys_ever_below(&self, key: KeyId, span: (Timestamp, Timestamp), most: usize) -> Result<Vec<KeyId>> {
        let mut c = self.reader().await?;
        let (mut all, mut above) = (Vec::new(), vec![key]);
        for _ in 0..GENERATIONS {
            let mut next = Vec::new();
            for chunk in above.chunks(CHUNK) {
                let condition = format!("parent IN ({})", list(4, chunk.len()));
                let left = most.saturating_sub(all.len() + next.len());
                next.extend(there_in(&mut c, &condition, Of::Parents(chunk), span, left).await?);
            }
            if next.is_empty() {
                return Ok(all);
            }
            all.extend_from_slice(&next);
            above = next;
        }
        Err(StoreError::corrupt("a chain of keys without an end"))
    }

    /// The keys that come from others and that somebody of this name uses, also those that have ended, as far as they were
    /// there in a span of time; at most so many, and in no order.
    pub async fn keys_ever_of(&self, actor: &str, span: (Timestamp, Timestamp), most: usize) -> Result<Vec<KeyId>> {
        there_in(&mut *self.reader().await?, "actor = $4", Of::Actor(actor), span, most).await
    }

    /// The names of all keys that were issued at the token endpoint.
    pub async fn exchanged_keys(&self) -> Result<Vec<String>> {
        let sql = "SELECT k.name FROM delegations d JOIN keys k ON k.id = d.key_id WHERE d.exchanged = 1";
        let rows = sqlx::query(sql).fetch_all(&mut *self.reader().await?).await?;
        rows.iter().map(|r| Ok(r.try_get(0)?)).collect()
    }

    /// Keys that were issued at the token endpoint and ended before a moment: at most so many.
    pub async fn exchanged_keys_over(&self, before: Timestamp, most: u32) -> Result<Vec<Name>> {
        let sql = "SELECT k.name FROM delegations d JOIN keys k ON k.id = d.key_id
             WHERE d.exchanged = 1 AND (d.expires < $1 OR d.ended < $1) ORDER BY d.depth DESC, d.key_id LIMIT $2";
        let query = sqlx::query(sql).bind(before.micros()).bind(i64::from(most));
        query.fetch_all(&mut *self.reader().await?).await?.iter().map(|r| row::name(r, 0)).collect()
    }

    /// Forgets where keys came from that ended before a moment. Answers how many.
    pub async fn forget_delegations(&self, before: Timestamp) -> Result<u64> {
        let sql = "DELETE FROM delegations WHERE ended < $1 AND key_id NOT IN (SELECT id FROM keys)";
        let gone = sqlx::query(sql).bind(before.micros()).execute(&mut *self.writer().await?).await?;
        Ok(gone.rows_affected())
    }
}

impl WriteTx {
    /// Where a key comes from, as this transaction sees it.
    pub async fn delegation(&mut self, key: KeyId) -> Result<Option<DelegationRow>> {
        Ok(of_keys(self.connection(), "key_id", "1 = 1", &[key]).await?.pop())
    }

    /// As [`Store::keys_below`], as this transaction sees it.
    pub async fn keys_below(&mut self, key: KeyId) -> Result<Vec<DelegationRow>> {
        below(self.connection(), key, IN_FORCE).await
    }

    /// The same with those that were revoked and are still there.
    pub async fn all_keys_below(&mut self, key: KeyId) -> Result<Vec<DelegationRow>> {
        below(self.connection(), key, STORED).await
    }

    /// How many keys below a declared key were issued at the token endpoint and are in force now.
    pub async fn count_exchanged(&mut self, anchor: KeyId) -> Result<u64> {
        let now = self.now().micros();
        let sql =
            "SELECT COUNT(*) FROM delegations WHERE anchor = $1 AND ended IS NULL AND exchanged = 1 AND expires > $2";
        let found = sqlx::query(sql).bind(anchor.bits() as i64).bind(now).fetch_one(self.connection()).await?;
        row::unsigned(&found, 0)
    }

    /// Notes where a new key comes from. `Conflict` when that is known already.
    pub async fn insert_delegation(&mut self, d: &DelegationRow) -> Result<()> {
        let sql = "INSERT INTO delegations
             (key_id, name, parent, root, anchor, depth, parent_version, exchanged, actor, created, expires, ended)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
        sqlx::query(sql)
            .bind(d.key.bits() as i64)
            .bind(d.name.as_str())
            .bind(d.parent.bits() as i64)
            .bind(d.root.bits() as i64)
            .bind(d.anchor.bits() as i64)
            .bind(i64::from(d.depth))
            .bind(i64::from(d.parent_version))
            .bind(i64::from(d.exchanged))
            .bind(d.actor.as_str())
            .bind(d.created.micros())
            .bind(d.expires.map(Timestamp::micros))
            .bind(d.ended.map(Timestamp::micros))
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Notes that a key ended now, unless it had before. Nothing for one that comes from no other.
    pub async fn end_delegation(&mut self, key: KeyId) -> Result<()> {
        let now = self.now().micros();
        let sql = "UPDATE delegations SET ended = $2 WHERE key_id = $1 AND ended IS NULL";
        sqlx::query(sql).bind(key.bits() as i64).bind(now).execute(self.connection()).await?;
        Ok(())
    }
}

/// The rows of which a column is one of these keys and a condition holds.
async fn of_keys(
    c: &mut AnyConnection,
    column: &'static str,
    condition: &'static str,
    keys: &[KeyId],
) -> Result<Vec<DelegationRow>> {
    let mut found = Vec::new();
    for chunk in keys.chunks(CHUNK) {
        let sql = format!("{ROW} WHERE {column} IN ({}) AND {condition} ORDER BY key_id", list(1, chunk.len()));
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for key in chunk {
            query = query.bind(key.bits() as i64);
        }
        for r in &query.fetch_all(&mut *c).await? {
            found.push(read(r)?);
        }
    }
    Ok(found)
}

/// Whose keys are looked for, as bound from `$4` on.
enum Of<'a> {
    Parents(&'a [KeyId]),
    Actor(&'a str),
}

/// At most so many keys that had begun before the end of a span and had not ended before its beginning.
async fn there_in(
    c: &mut AnyConnection,
    condition: &str,
    of: Of<'_>,
    (since, until): (Timestamp, Timestamp),
    most: usize,
) -> Result<Vec<KeyId>> {
    let sql = format!(
        "SELECT key_id FROM delegations WHERE {condition} AND created < $1 AND (ended IS NULL OR ended >= $2) LIMIT $3"
    );
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut query = sqlx::query(AssertSqlSafe(sql)).bind(until.micros()).bind(since.micros()).bind(most);
    match of {
        Of::Parents(keys) => {
            for key in keys {
                query = query.bind(key.bits() as i64);
            }
        }
        Of::Actor(actor) => query = query.bind(actor),
    }
    query.fetch_all(c).await?.iter().map(|r| id(r, 0)).collect()
}

/// Generations of keys that are walked: chains are short.
const GENERATIONS: usize = 16;

/// Generation by generation; a chain is short, and what refers to itself is damage.
async fn below(c: &mut AnyConnection, key: KeyId, condition: &'static str) -> Result<Vec<DelegationRow>> {
    let (mut all, mut above) = (Vec::new(), vec![key]);
    for _ in 0..GENERATIONS {
        let next = of_keys(&mut *c, "parent", condition, &above).await?;
        if next.is_empty() {
            return Ok(all);
        }
        above = next.iter().map(|d| d.key).collect();
        all.extend(next);
    }
    Err(StoreError::corrupt("a chain of keys without an end"))
}

fn id(r: &AnyRow, column: usize) -> Result<KeyId> {
    Ok(KeyId::from_bits(row::unsigned(r, column)?))
}

fn read(r: &AnyRow) -> Result<DelegationRow> {
    Ok(DelegationRow {
        key: id(r, 0)?,
        name: row::name(r, 1)?,
        parent: id(r, 2)?,
        root: id(r, 3)?,
        anchor: id(r, 4)?,
        depth: row::version(r, 5)?,
        parent_version: row::version(r, 6)?,
        exchanged: r.try_get::<i64, _>(7)? != 0,
        actor: r.try_get(8)?,
        created: row::time(r, 9)?,
        expires: row::optional_time(r, 10)?,
        ended: row::optional_time(r, 11)?,
    })
}
