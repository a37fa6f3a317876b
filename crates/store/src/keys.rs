//! Keys we issue: identity and keyed hashes. The secrets themselves are never here.

mod walk;

use crate::row::{self, CHUNK, list, parse_word, values, word};
use crate::{ChangeKind, Parent, Result, Store, StoreError, WriteTx};
use credentialflow_model::{KeyId, Name, Timestamp, lifecycle::VersionState, resource::Kind};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Row};

/// A key's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// Its public half.
    pub id: KeyId,
    /// The name of its resource (`keys/NAME`), unique.
    pub name: Name,
    /// The application it was issued to.
    pub application: Name,
    /// When it was issued.
    pub created: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Where it may still be used from after a leak, as JSON.
    pub quarantine: Option<String>,
}

/// One secret of a key. Up to two are live while a rotation overlaps.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySecretRow {
    /// Whose.
    pub key_id: KeyId,
    /// From 1.
    pub version: u32,
    /// Where it is in its life.
    pub state: VersionState,
    /// HMAC-SHA-256 of the secret half under the pepper.
    pub hash: [u8; 32],
    /// Which pepper.
    pub pepper_id: u32,
    /// When it was made.
    pub created: Timestamp,
    /// Not accepted from this moment on.
    pub retire_at: Option<Timestamp>,
}

impl std::fmt::Debug for KeySecretRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeySecretRow")
            .field("key_id", &self.key_id)
            .field("version", &self.version)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// A key with everything a verifier needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its identity.
    pub key: KeyRow,
    /// Its resource as JSON; absent when it has none.
    pub body: Option<String>,
    /// All its secrets, oldest first.
    pub secrets: Vec<KeySecretRow>,
    /// The key that it comes from, if it comes from one.
    pub parent: Option<Parent>,
}

impl KeyRecord {
    /// Whether its parent issued it at the token endpoint, so that nobody declared it.
    pub fn is_exchanged(&self) -> bool {
        self.parent.is_some_and(|parent| parent.exchanged)
    }
}

/// Whether a declaration names a parent: then, and only then, it is worth looking where the key comes from.
fn names_parent(body: Option<&str>) -> bool {
    body.is_some_and(|body| body.contains("\"parent\":"))
}

const KEY: &str = "SELECT k.id, k.name, k.application, k.created, k.revoked_at, k.quarantine FROM keys k";
const SECRET: &str = "SELECT key_id, version, state, hash, pepper_id, created, retire_at FROM key_secrets";

impl Store {
    /// A key by its public half.
    pub async fn key(&self, id: KeyId) -> Result<Option<KeyRow>> {
        key_by_id(&mut *self.reader().await?, id).await
    }

    /// A key by its name.
    pub async fn key_by_name(&self, name: &str) -> Result<Option<KeyRow>> {
        key_by_name(&mut *self.reader().await?, name).await
    }

    /// A key's secrets, oldest first.
    pub async fn key_secrets(&self, id: KeyId) -> Result<Vec<KeySecretRow>> {
        secrets(&mut *self.reader().await?, id).await
    }

    /// A key by its name, with its resource and secrets.
    pub async fn key_record(&self, name: &str) -> Result<Option<KeyRecord>> {
        let Some(key) = self.key_by_name(name).await? else { return Ok(None) };
        self.record_of(key).await.map(Some)
    }

    /// As [`Store::key_record`], in one look where the key is revoked: nothing but the key itself comes with it then.
    pub async fn key_record_in_force(&self, name: &str) -> Result<Option<KeyRecord>> {
        match self.key_by_name(name).await? {
            Some(key) if key.revoked_at.is_some() => {
                Ok(Some(KeyRecord { key, body: None, secrets: Vec::new(), parent: None }))
            }
            Some(key) => self.record_of(key).await.map(Some),
            None => Ok(None),
        }
    }

    async fn record_of(&self, key: KeyRow) -> Result<KeyRecord> {
        let body = self.resource(Kind::Keys, key.name.as_str()).await?.map(|r| r.body);
        let secrets = self.key_secrets(key.id).await?;
        let parent = match names_parent(body.as_deref()) {
            true => self.delegation(key.id).await?.map(|d| Parent {
                key: d.parent,
                version: d.parent_version,
                exchanged: d.exchanged,
            }),
            false => None,
        };
        Ok(KeyRecord { key, body, secrets, parent })
    }

    /// Hands every key to a function, in the order of their ids, in bounded memory: pages of
    /// `page` keys. The first error of the function ends the walk and is answered.
    pub async fn for_each_key<E: From<StoreError>>(
        &self,
        page: u32,
        mut each: impl FnMut(KeyRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        let page = page.max(1);
        let mut after = None;
        loop {
            let records = self.keys_after(after, page).await?;
            let full = records.len() == page as usize;
            after = records.last().map(|last| last.key.id);
            records.into_iter().try_for_each(&mut each)?;
            if !full {
                return Ok(());
            }
        }
    }

    /// The resources of these keys as JSON, without those that have none. In no order.
    pub async fn key_bodies(&self, ids: &[KeyId]) -> Result<Vec<(KeyId, String)>> {
        let mut found = Vec::with_capacity(ids.len());
        let mut connection = self.reader().await?;
        for chunk in ids.chunks(CHUNK) {
            let sql = format!(
                "SELECT k.id, r.body FROM keys k JOIN resources r ON r.kind = 'keys' AND r.name = k.name WHERE k.id IN ({})",
                list(1, chunk.len())
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for id in chunk {
                query = query.bind(id.bits() as i64);
            }
            for row in query.fetch_all(&mut *connection).await? {
                found.push((KeyId::from_bits(row.try_get::<i64, _>(0)? as u64), row.try_get(1)?));
            }
        }
        Ok(found)
    }

    /// The keys whose ids come after one, in the order of their ids. A page shorter than `limit` is the last.
    pub async fn keys_after(&self, after: Option<KeyId>, limit: u32) -> Result<Vec<KeyRecord>> {
        let after = after.map_or(-1, |id| id.bits() as i64);
        let (keys, secrets, parents) = walk::page(self, after, limit.max(1)).await?;
        let mut secrets = secrets.into_iter().peekable();
        let with_secrets = keys.into_iter().map(|(key, body)| {
            let mut own = Vec::with_capacity(1);
            // A secret whose key came into being between the two reads belongs to a later walk.
            while secrets.next_if(|s| s.key_id < key.id).is_some() {}
            while let Some(secret) = secrets.next_if(|s| s.key_id == key.id) {
                own.push(secret);
            }
            let parent = parents.get(&key.id).copied();
            KeyRecord { key, body, secrets: own, parent }
        });
        Ok(with_secrets.collect())
    }
}

impl WriteTx {
    /// A key by its public half, as this transaction sees it.
    pub async fn key(&mut self, id: KeyId) -> Result<Option<KeyRow>> {
        key_by_id(self.connection(), id).await
    }

    /// A key by its name, as this transaction sees it.
    pub async fn key_by_name(&mut self, name: &str) -> Result<Option<KeyRow>> {
        key_by_name(self.connection(), name).await
    }

    /// A key's secrets as this transaction sees them, oldest first.
    pub async fn key_secrets(&mut self, id: KeyId) -> Result<Vec<KeySecretRow>> {
        secrets(self.connection(), id).await
    }

    /// Adds a key. `Conflict` when its id or name is taken.
    pub async fn insert_key(&mut self, key: &KeyRow) -> Result<()> {
        self.insert_keys(std::slice::from_ref(key)).await
    }

    /// Adds many keys, none of them in quarantine.
    pub async fn insert_keys(&mut self, keys: &[KeyRow]) -> Result<()> {
        for chunk in keys.chunks(CHUNK) {
            let sql = format!(
                "INSERT INTO keys (id, name, application, created, revoked_at) VALUES {}",
                values(5, chunk.len())
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for k in chunk {
                query = query.bind(k.id.bits() as i64).bind(k.name.as_str()).bind(k.application.as_str());
                query = query.bind(k.created.micros()).bind(k.revoked_at.map(Timestamp::micros));
            }
            query.execute(self.connection()).await?;
            for key in chunk {
                self.changed(ChangeKind::KeySecrets, key.name.as_str());
            }
        }
        Ok(())
    }

    /// Writes where a key may still be used from after a leak, as JSON; `None` lifts it. `NotFound` when the key is
    /// not there.
    pub async fn quarantine_key(&mut self, key: &KeyRow, quarantine: Option<&str>) -> Result<()> {
        let update = sqlx::query("UPDATE keys SET quarantine = $1 WHERE id = $2");
        self.write_key(key, update.bind(quarantine.map(str::to_owned)).bind(key.id.bits() as i64)).await
    }

    /// Writes a key's application and revocation; id, name, creation and quarantine stay. `NotFound` when it
    /// is not there.
    pub async fn update_key(&mut self, key: &KeyRow) -> Result<()> {
        let update = sqlx::query("UPDATE keys SET application = $1, revoked_at = $2 WHERE id = $3")
            .bind(key.application.as_str())
            .bind(key.revoked_at.map(Timestamp::micros))
            .bind(key.id.bits() as i64);
        self.write_key(key, update).await
    }

    /// Does an update of one key's row and tells the feed. `NotFound` when there is no such row.
    async fn write_key(&mut self, key: &KeyRow, update: Query<'_, Any, AnyArguments>) -> Result<()> {
        let done = update.execute(self.connection()).await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::NotFound(format!("key {}", key.id)));
        }
        self.changed(ChangeKind::KeySecrets, key.name.as_str());
        Ok(())
    }

    /// Removes a key with its secrets and uses; its resource is removed apart. Answers whether it
    /// was there.
    pub async fn delete_key(&mut self, id: KeyId) -> Result<bool> {
        let Some(key) = self.key(id).await? else { return Ok(false) };
        for sql in [
            "DELETE FROM keys WHERE id = $1",
            "DELETE FROM key_uses WHERE key_id = $1",
            "DELETE FROM key_networks WHERE key_id = $1",
            "DELETE FROM key_secret_uses WHERE key_id = $1",
        ] {
            sqlx::query(sql).bind(id.bits() as i64).execute(self.connection()).await?;
        }
        self.changed(ChangeKind::KeySecrets, key.name.as_str());
        Ok(true)
    }

    /// Adds a secret to a key. `Conflict` when the version exists or the key does not.
    pub async fn insert_key_secret(&mut self, secret: &KeySecretRow) -> Result<()> {
        self.insert_key_secrets(std::slice::from_ref(secret)).await
    }

    /// Adds many secrets to keys.
    pub async fn insert_key_secrets(&mut self, secrets: &[KeySecretRow]) -> Result<()> {
        for chunk in secrets.chunks(CHUNK) {
            let sql = format!(
                "INSERT INTO key_secrets (key_id, version, state, hash, pepper_id, created, retire_at) VALUES {}",
                values(7, chunk.len())
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for s in chunk {
                query = query.bind(s.key_id.bits() as i64).bind(i64::from(s.version)).bind(word(&s.state)?);
                query = query.bind(s.hash.to_vec()).bind(i64::from(s.pepper_id)).bind(s.created.micros());
                query = query.bind(s.retire_at.map(Timestamp::micros));
            }
            query.execute(self.connection()).await?;
            self.secrets_changed(chunk).await?;
        }
        Ok(())
    }

    /// Writes a secret's state, hash, pepper and end. `NotFound` when it is not there.
    pub async fn update_key_secret(&mut self, s: &KeySecretRow) -> Result<()> {
        let done = sqlx::query(
            "UPDATE key_secrets SET state = $1, hash = $2, pepper_id = $3, retire_at = $4
             WHERE key_id = $5 AND version = $6",
        )
        .bind(word(&s.state)?)
        .bind(s.hash.to_vec())
        .bind(i64::from(s.pepper_id))
        .bind(s.retire_at.map(Timestamp::micros))
        .bind(s.key_id.bits() as i64)
        .bind(i64::from(s.version))
        .execute(self.connection())
        .await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::NotFound(format!("version {} of key {}", s.version, s.key_id)));
        }
        self.secrets_changed(std::slice::from_ref(s)).await
    }

    /// The feed speaks of keys by name.
    async fn secrets_changed(&mut self, secrets: &[KeySecretRow]) -> Result<()> {
        let mut ids: Vec<i64> = secrets.iter().map(|s| s.key_id.bits() as i64).collect();
        ids.sort_unstable();
        ids.dedup();
        let sql = format!("SELECT name FROM keys WHERE id IN ({}) ORDER BY id", list(1, ids.len()));
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for id in ids {
            query = query.bind(id);
        }
        for row in query.fetch_all(self.connection()).await? {
            self.changed(ChangeKind::KeySecrets, row.try_get(0)?);
        }
        Ok(())
    }
}

async fn key_by_id(c: &mut AnyConnection, id: KeyId) -> Result<Option<KeyRow>> {
    let sql = format!("{KEY} WHERE k.id = $1");
    let found = sqlx::query(AssertSqlSafe(sql)).bind(id.bits() as i64).fetch_optional(c).await?;
    found.as_ref().map(read_key).transpose()
}

async fn key_by_name(c: &mut AnyConnection, name: &str) -> Result<Option<KeyRow>> {
    let sql = format!("{KEY} WHERE k.name = $1");
    let found = sqlx::query(AssertSqlSafe(sql)).bind(name).fetch_optional(c).await?;
    found.as_ref().map(read_key).transpose()
}

async fn secrets(c: &mut AnyConnection, id: KeyId) -> Result<Vec<KeySecretRow>> {
    let sql = format!("{SECRET} WHERE key_id = $1 ORDER BY version");
    sqlx::query(AssertSqlSafe(sql)).bind(id.bits() as i64).fetch_all(c).await?.iter().map(read_secret).collect()
}

fn key_id(r: &AnyRow, column: usize) -> Result<KeyId> {
    Ok(KeyId::from_bits(row::unsigned(r, column)?))
}

fn read_key(r: &AnyRow) -> Result<KeyRow> {
    Ok(KeyRow {
        id: key_id(r, 0)?,
        name: row::name(r, 1)?,
        application: row::name(r, 2)?,
        created: row::time(r, 3)?,
        revoked_at: row::optional_time(r, 4)?,
        quarantine: r.try_get(5)?,
    })
}

fn read_secret(r: &AnyRow) -> Result<KeySecretRow> {
    Ok(KeySecretRow {
        key_id: key_id(r, 0)?,
        version: row::version(r, 1)?,
        state: parse_word(r.try_get(2)?, "state of a key's secret")?,
        hash: <[u8; 32]>::try_from(r.try_get::<&[u8], _>(3)?).map_err(|_| StoreError::corrupt("a key's hash"))?,
        pepper_id: row::version(r, 4)?,
        created: row::time(r, 5)?,
        retire_at: row::optional_time(r, 6)?,
    })
}
