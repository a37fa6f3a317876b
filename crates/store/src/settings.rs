//! Settings of the installation: seal configuration, wrapped keys, the administrator token's hash.

use crate::{ChangeKind, Result, Store, WriteTx};
use sqlx::{AnyConnection, Row};

impl Store {
    /// A setting's bytes.
    pub async fn setting(&self, name: &str) -> Result<Option<Vec<u8>>> {
        get(&mut *self.reader().await?, name).await
    }
}

impl WriteTx {
    /// A setting's bytes as this transaction sees them.
    pub async fn setting(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        get(self.connection(), name).await
    }

    /// Sets a setting, replacing what was there.
    pub async fn put_setting(&mut self, name: &str, value: &[u8]) -> Result<()> {
        self.put_note(name, value).await?;
        self.changed(ChangeKind::Settings, name);
        Ok(())
    }

    /// As [`WriteTx::put_setting`], for what nobody has to take in: the change feed is not told.
    pub async fn put_note(&mut self, name: &str, value: &[u8]) -> Result<()> {
        sqlx::query(
            "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(name)
        .bind(value.to_vec())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Removes a setting; answers whether it was there.
    pub async fn delete_setting(&mut self, name: &str) -> Result<bool> {
        let gone = self.delete_note(name).await?;
        if gone {
            self.changed(ChangeKind::Settings, name);
        }
        Ok(gone)
    }

    /// As [`WriteTx::delete_setting`], without telling the change feed.
    pub(crate) async fn delete_note(&mut self, name: &str) -> Result<bool> {
        let gone = sqlx::query("DELETE FROM settings WHERE name = $1").bind(name).execute(self.connection()).await?;
        Ok(gone.rows_affected() > 0)
    }
}

async fn get(c: &mut AnyConnection, name: &str) -> Result<Option<Vec<u8>>> {
    let row = sqlx::query("SELECT value FROM settings WHERE name = $1").bind(name).fetch_optional(c).await?;
    Ok(row.map(|r| r.try_get(0)).transpose()?)
}
