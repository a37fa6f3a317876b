//! Tokens of the run-time API: found by a keyed hash of the token, which itself is never stored.

use super::cache::Cached;
use super::entries::LAST;
use super::token_key;
use crate::{Result, Store};
use credentialflow_model::Timestamp;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe, Row};
use std::sync::Arc;

/// A stored token.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// Keyed hash of the token.
    pub id_hash: Vec<u8>,
    /// Names the token without being it.
    pub accessor: String,
    /// The accessor of the token that made it; revoked with it.
    pub parent: Option<String>,
    /// Where it was made, as in `auth/approle/login`.
    pub path: String,
    /// Whom it speaks for.
    pub entity: Option<String>,
    /// The application it was given to.
    pub application: Option<String>,
    /// When it ends; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// Everything else, sealed.
    pub sealed: Vec<u8>,
    /// The number of the commit that wrote it.
    pub revision: i64,
}

impl std::fmt::Debug for TokenRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenRow").field("accessor", &self.accessor).field("path", &self.path).finish_non_exhaustive()
    }
}

pub(super) const COLUMNS: &str = "id_hash, accessor, parent, path, entity, application, expires_at, sealed, revision";

impl Store {
    /// A token by its keyed hash, from the cache where it is there.
    pub async fn token(&self, id_hash: &[u8]) -> Result<Option<Arc<TokenRow>>> {
        let key = token_key(id_hash);
        let mark = match self.cache().get(&key) {
            Ok(Cached::Token(row)) => return Ok(Some(row)),
            Ok(Cached::Entry(..) | Cached::Nothing) => self.cache().mark(&key),
            Err(mark) => mark,
        };
        let sql = format!("SELECT {COLUMNS} FROM tokens WHERE id_hash = $1");
        let found = self.one_token(&sql, |q| q.bind(id_hash.to_vec())).await?.map(Arc::new);
        // That there is none is not remembered: guesses must not push out what is in use.
        if let Some(row) = &found {
            self.cache().insert(&key, Cached::Token(row.clone()), mark);
        }
        Ok(found)
    }

    /// A token by its accessor.
    pub async fn token_by_accessor(&self, accessor: &str) -> Result<Option<TokenRow>> {
        let sql = format!("SELECT {COLUMNS} FROM tokens WHERE accessor = $1");
        self.one_token(&sql, |q| q.bind(accessor.to_owned())).await
    }

    /// The tokens made by the one with this accessor.
    pub async fn tokens_of_parent(&self, parent: &str) -> Result<Vec<TokenRow>> {
        let sql = format!("SELECT {COLUMNS} FROM tokens WHERE parent = $1 ORDER BY accessor");
        self.some_tokens(&sql, |q| q.bind(parent.to_owned())).await
    }

    /// The tokens made at a path or below it, at most `limit`.
    pub async fn tokens_by_path(&self, path: &str, limit: u32) -> Result<Vec<TokenRow>> {
        let at = path.trim_end_matches('/');
        let below = format!("{at}/");
        let sql = format!("SELECT {COLUMNS} FROM tokens WHERE path = $1 OR (path >= $2 AND path < $3) LIMIT $4");
        self.some_tokens(&sql, |q| {
            let after = format!("{below}{LAST}");
            q.bind(at.to_owned()).bind(below.clone()).bind(after).bind(i64::from(limit))
        })
        .await
    }

    /// The tokens that speak for an entity, at most `limit`.
    pub async fn tokens_of_entity(&self, entity: &str, limit: u32) -> Result<Vec<TokenRow>> {
        let sql = format!("SELECT {COLUMNS} FROM tokens WHERE entity = $1 ORDER BY accessor LIMIT $2");
        self.some_tokens(&sql, |q| q.bind(entity.to_owned()).bind(i64::from(limit))).await
    }

    /// The tokens given to an application, at most `limit`.
    pub async fn tokens_of_application(&self, application: &str, limit: u32) -> Result<Vec<TokenRow>> {
        let sql = format!("SELECT {COLUMNS} FROM tokens WHERE application = $1 ORDER BY accessor LIMIT $2");
        self.some_tokens(&sql, |q| q.bind(application.to_owned()).bind(i64::from(limit))).await
    }

    /// The tokens whose time was over at a moment, the oldest first, at most `limit`.
    pub async fn tokens_expired(&self, at: Timestamp, limit: u32) -> Result<Vec<TokenRow>> {
        let sql = format!("SELECT {COLUMNS} FROM tokens WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2");
        self.some_tokens(&sql, |q| q.bind(at.micros()).bind(i64::from(limit))).await
    }

    /// Tokens whose accessor comes after one, by accessor, at most `limit`.
    pub async fn tokens_page(&self, after: &str, limit: u32) -> Result<Vec<TokenRow>> {
        let sql = format!("SELECT {COLUMNS} FROM tokens WHERE accessor > $1 ORDER BY accessor LIMIT $2");
        self.some_tokens(&sql, |q| q.bind(after.to_owned()).bind(i64::from(limit))).await
    }

    async fn one_token<F>(&self, sql: &str, bind: F) -> Result<Option<TokenRow>>
    where
        F: for<'q> FnOnce(Query<'q, Any, AnyArguments>) -> Query<'q, Any, AnyArguments>,
    {
        Ok(self.some_tokens(sql, bind).await?.pop())
    }

    async fn some_tokens<F>(&self, sql: &str, bind: F) -> Result<Vec<TokenRow>>
    where
        F: for<'q> FnOnce(Query<'q, Any, AnyArguments>) -> Query<'q, Any, AnyArguments>,
    {
        let query = bind(sqlx::query(AssertSqlSafe(sql.to_owned())));
        query.fetch_all(&mut *self.reader().await?).await?.iter().map(read).collect()
    }
}

fn read(r: &AnyRow) -> Result<TokenRow> {
    Ok(TokenRow {
        id_hash: r.try_get(0)?,
        accessor: r.try_get(1)?,
        parent: r.try_get(2)?,
        path: r.try_get(3)?,
        entity: r.try_get(4)?,
        application: r.try_get(5)?,
        expires_at: crate::row::optional_time(r, 6)?,
        sealed: r.try_get(7)?,
        revision: r.try_get(8)?,
    })
}
