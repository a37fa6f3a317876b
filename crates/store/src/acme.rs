//! What ordering certificates from an ACME server has to remember: an account, the order that is under way, the
//! certificate in use, what went wrong. One row for each, with sealed bytes and with what is no secret.
//!
//! Nobody enforces these rows, so they have no place in the change feed: nodes look at them.

use crate::{Result, Store, WriteTx};
use sqlx::Row;

/// One thing that is remembered.
#[derive(Clone, PartialEq, Eq)]
pub struct AcmeRow {
    /// What it is.
    pub name: String,
    /// What of it is secret, sealed.
    pub sealed: Option<Vec<u8>>,
    /// What of it is not.
    pub note: String,
}

impl std::fmt::Debug for AcmeRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AcmeRow").field("name", &self.name).field("note", &self.note).finish_non_exhaustive()
    }
}

impl Store {
    /// Everything that is remembered, by name.
    pub async fn acme(&self) -> Result<Vec<AcmeRow>> {
        let rows = sqlx::query("SELECT name, sealed, note FROM acme ORDER BY name")
            .fetch_all(&mut *self.reader().await?)
            .await?;
        rows.iter()
            .map(|row| Ok(AcmeRow { name: row.try_get(0)?, sealed: row.try_get(1)?, note: row.try_get(2)? }))
            .collect()
    }
}

impl WriteTx {
    /// Remembers something in the place of what was remembered under its name.
    pub async fn put_acme(&mut self, row: &AcmeRow) -> Result<()> {
        sqlx::query(
            "INSERT INTO acme (name, sealed, note) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed, note = excluded.note",
        )
        .bind(row.name.clone())
        .bind(row.sealed.clone())
        .bind(row.note.clone())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Forgets something; what is not there is no problem.
    pub async fn forget_acme(&mut self, name: &str) -> Result<()> {
        sqlx::query("DELETE FROM acme WHERE name = $1").bind(name.to_owned()).execute(self.connection()).await?;
        Ok(())
    }
}
