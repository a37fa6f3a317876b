//! Sealed bytes wherever they lie, for sealing them anew: a table is described, its rows are walked in
//! the order of their keys, and a row is replaced only if nobody has written it since it was read.
//!
//! Nothing is unsealed here. The change feed is not told: what a row means stays the same.

use crate::{Result, Store, StoreError, WriteTx};
use credentialflow_model::lifecycle::VersionState;
use serde::{Deserialize, Serialize};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Row};
use std::collections::BTreeMap;

/// A column of sealed bytes and what names its rows. Made of words of the program, never of input.
#[derive(Clone, Copy, Debug)]
pub struct SealedColumn {
    /// The table.
    pub table: &'static str,
    /// The columns of a unique key, in order.
    pub keys: &'static [KeyColumn],
    /// The column with the sealed bytes. Rows in which it is NULL are passed over.
    pub sealed: &'static str,
    /// The column that repeats the number of the encryption key, if there is one.
    pub keyring: Option<&'static str>,
}

/// A column of a key.
#[derive(Clone, Copy, Debug)]
pub enum KeyColumn {
    /// Holds text.
    Text(&'static str),
    /// Holds a whole number.
    Number(&'static str),
}

/// A part of a row's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum KeyPart {
    /// Text.
    Text(String),
    /// A whole number.
    Number(i64),
}

/// One row's sealed bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedRow {
    /// Which row.
    pub key: Vec<KeyPart>,
    /// Its bytes.
    pub sealed: Vec<u8>,
}

impl std::fmt::Debug for SealedRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedRow").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Versions of credentials: key is credential and version.
pub const CREDENTIAL_VERSIONS: SealedColumn = SealedColumn {
    table: "credential_versions",
    keys: &[KeyColumn::Text("credential"), KeyColumn::Number("version")],
    sealed: "sealed",
    keyring: Some("keyring_id"),
};

/// Entries of the run-time API: key is space and path.
pub const ENTRIES: SealedColumn = SealedColumn {
    table: "entries",
    keys: &[KeyColumn::Text("space"), KeyColumn::Text("path")],
    sealed: "sealed",
    keyring: None,
};

/// Tokens of the run-time API: key is the accessor.
pub const TOKENS: SealedColumn =
    SealedColumn { table: "tokens", keys: &[KeyColumn::Text("accessor")], sealed: "sealed", keyring: None };

/// Leases of the run-time API: key is the id.
pub const LEASES: SealedColumn =
    SealedColumn { table: "leases", keys: &[KeyColumn::Text("id")], sealed: "sealed", keyring: None };

/// What ordering certificates remembers: key is the name.
pub const ACME: SealedColumn =
    SealedColumn { table: "acme", keys: &[KeyColumn::Text("name")], sealed: "sealed", keyring: None };

impl KeyColumn {
    const fn name(self) -> &'static str {
        match self {
            Self::Text(name) | Self::Number(name) => name,
        }
    }
}

impl SealedColumn {
    fn names(&self) -> String {
        self.keys.iter().map(|k| k.name()).collect::<Vec<_>>().join(", ")
    }

    /// A key of other parts than this table's cannot be bound.
    fn fits(&self, key: &[KeyPart]) -> Result<()> {
        let fits = |(column, part): (&KeyColumn, &KeyPart)| {
            matches!(
                (column, part),
                (KeyColumn::Text(_), KeyPart::Text(_)) | (KeyColumn::Number(_), KeyPart::Number(_))
            )
        };
        if key.len() == self.keys.len() && self.keys.iter().zip(key).all(fits) {
            return Ok(());
        }
        Err(StoreError::Other(format!("a key that does not fit {}", self.table)))
    }
}

impl Store {
    /// Rows after a key, in order, at most `limit`.
    pub async fn sealed_after(
        &self,
        column: &SealedColumn,
        after: Option<&[KeyPart]>,
        limit: u32,
    ) -> Result<Vec<SealedRow>> {
        let (names, sealed, table) = (column.names(), column.sealed, column.table);
        let (from, next) = match after {
            Some(key) => {
                column.fits(key)?;
                (format!(" AND ({names}) > ({})", crate::row::list(1, key.len())), key.len() + 1)
            }
            None => (String::new(), 1),
        };
        let sql = format!(
            "SELECT {names}, {sealed} FROM {table} WHERE {sealed} IS NOT NULL{from} ORDER BY {names} LIMIT ${next}"
        );
        let query = bound(sqlx::query(AssertSqlSafe(sql)), after.unwrap_or_default()).bind(i64::from(limit));
        query.fetch_all(&mut *self.reader().await?).await?.iter().map(|row| read(column, row)).collect()
    }

    /// How many rows of a table hold sealed bytes.
    pub async fn count_sealed(&self, column: &SealedColumn) -> Result<u64> {
        let sql = format!("SELECT COUNT(*) FROM {} WHERE {} IS NOT NULL", column.table, column.sealed);
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut *self.reader().await?).await?;
        crate::row::unsigned(&row, 0)
    }

    /// How many live secrets of keys are hashed under which pepper.
    pub async fn hashes_under_peppers(&self) -> Result<BTreeMap<u32, u64>> {
        hashes(&mut *self.reader().await?).await
    }
}

impl WriteTx {
    /// Puts other sealed bytes in the place of those that were read; answers `false`, changing nothing,
    /// where the row was written or removed since.
    pub async fn replace_sealed(
        &mut self,
        column: &SealedColumn,
        row: &SealedRow,
        new: &[u8],
        keyring_id: u32,
    ) -> Result<bool> {
        column.fits(&row.key)?;
        let place: Vec<String> =
            column.keys.iter().enumerate().map(|(i, k)| format!("{} = ${}", k.name(), i + 1)).collect();
        let next = row.key.len() + 1;
        let keyring = column.keyring.map(|name| format!(", {name} = ${}", next + 2)).unwrap_or_default();
        let (table, sealed, place) = (column.table, column.sealed, place.join(" AND "));
        let sql = format!("UPDATE {table} SET {sealed} = ${next}{keyring} WHERE {place} AND {sealed} = ${}", next + 1);
        let mut query = bound(sqlx::query(AssertSqlSafe(sql)), &row.key).bind(new.to_vec()).bind(row.sealed.clone());
        if column.keyring.is_some() {
            query = query.bind(i64::from(keyring_id));
        }
        Ok(query.execute(self.connection()).await?.rows_affected() > 0)
    }
}

type AnyQuery<'q> = Query<'q, Any, AnyArguments>;

fn bound<'q>(mut query: AnyQuery<'q>, key: &[KeyPart]) -> AnyQuery<'q> {
    for part in key {
        query = match part {
            KeyPart::Text(text) => query.bind(text.clone()),
            KeyPart::Number(number) => query.bind(*number),
        };
    }
    query
}

fn read(column: &SealedColumn, row: &AnyRow) -> Result<SealedRow> {
    let mut key = Vec::with_capacity(column.keys.len());
    for (at, part) in column.keys.iter().enumerate() {
        key.push(match part {
            KeyColumn::Text(_) => KeyPart::Text(row.try_get(at)?),
            KeyColumn::Number(_) => KeyPart::Number(row.try_get(at)?),
        });
    }
    Ok(SealedRow { key, sealed: row.try_get(column.keys.len())? })
}

async fn hashes(c: &mut AnyConnection) -> Result<BTreeMap<u32, u64>> {
    let live: Vec<String> = [VersionState::Pending, VersionState::Current, VersionState::Previous]
        .iter()
        .map(crate::row::word)
        .collect::<Result<_>>()?;
    let sql = "SELECT pepper_id, COUNT(*) FROM key_secrets WHERE state IN ($1, $2, $3) GROUP BY pepper_id";
    let mut query = sqlx::query(sql);
    for word in live {
        query = query.bind(word);
    }
    let rows = query.fetch_all(c).await?;
    rows.iter().map(|row| Ok((crate::row::version(row, 0)?, crate::row::unsigned(row, 1)?))).collect()
}
