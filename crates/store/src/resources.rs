//! Declared resources, as JSON text with a revision.
//!
//! A revision is the number of the change that wrote it: it grows over the whole store, so a
//! resource deleted and made again never shows an old revision twice.

use crate::row::{self, CHUNK, parse_word, values};
use crate::{ChangeKind, Result, Store, StoreError, WriteTx, former};
use credentialflow_model::{Name, Timestamp, resource::Kind};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

/// One stored resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceRow {
    /// Its kind.
    pub kind: Kind,
    /// Its name, unique within the kind.
    pub name: Name,
    /// The resource as JSON.
    pub body: String,
    /// The number of the change that wrote it; the ETag.
    pub revision: i64,
    /// When it was first written.
    pub created: Timestamp,
    /// When it was last written.
    pub updated: Timestamp,
}

/// What must be true of a resource before it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing: make it or replace it.
    Anything,
    /// It does not exist (`If-None-Match: *`).
    Absent,
    /// It has this revision (`If-Match`).
    Revision(i64),
    /// It exists, whatever its revision (`If-Match: *`).
    Present,
}

const COLUMNS: &str = "kind, name, body, revision, created, updated";

impl Store {
    /// One resource.
    pub async fn resource(&self, kind: Kind, name: &str) -> Result<Option<ResourceRow>> {
        get(&mut *self.reader().await?, kind, name).await
    }

    /// All resources of a kind, by name.
    pub async fn resources(&self, kind: Kind) -> Result<Vec<ResourceRow>> {
        self.list(&format!("SELECT {COLUMNS} FROM resources WHERE kind = $1 ORDER BY name"), kind, None).await
    }

    /// The resources of a kind whose name comes after a cursor and contains a text, by name. A page
    /// shorter than `limit` is the last.
    pub async fn resources_page(
        &self,
        kind: Kind,
        after: Option<&str>,
        contains: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ResourceRow>> {
        // Names have no % but may have _, which LIKE would take for any character.
        let contains =
            contains.unwrap_or_default().to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        let sql = format!(
            "SELECT {COLUMNS} FROM resources WHERE kind = $1 AND name > $2 AND name LIKE $3 ESCAPE '\\'
             ORDER BY name LIMIT $4"
        );
        let page = (after.unwrap_or_default().to_owned(), format!("%{contains}%"), i64::from(limit));
        self.list(&sql, kind, Some(page)).await
    }

    /// The resources of a kind whose name comes after a cursor and that may have a budget, by name. Others that write the
    /// word as the name of something may be among them.
    pub async fn resources_with_budgets(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ResourceRow>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM resources WHERE kind = $1 AND name > $2 AND body LIKE $3 ORDER BY name LIMIT $4"
        );
        let page = (after.unwrap_or_default().to_owned(), "%\"budget\":%".to_owned(), i64::from(limit));
        self.list(&sql, kind, Some(page)).await
    }

    /// How many resources of a kind there are.
    pub async fn count_resources(&self, kind: Kind) -> Result<u64> {
        let found = sqlx::query("SELECT COUNT(*) FROM resources WHERE kind = $1")
            .bind(kind.as_str())
            .fetch_one(&mut *self.reader().await?)
            .await?;
        row::unsigned(&found, 0)
    }

    async fn list(&self, sql: &str, kind: Kind, page: Option<(String, String, i64)>) -> Result<Vec<ResourceRow>> {
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(kind.as_str());
        if let Some((after, contains, limit)) = page {
            query = query.bind(after).bind(contains).bind(limit);
        }
        query.fetch_all(&mut *self.reader().await?).await?.iter().map(read).collect()
    }
}

impl WriteTx {
    /// One resource as this transaction sees it.
    pub async fn resource(&mut self, kind: Kind, name: &str) -> Result<Option<ResourceRow>> {
        get(self.connection(), kind, name).await
    }

    /// Writes one resource and answers its new revision. `Conflict` when the expectation fails,
    /// `NotFound` when a revision is expected of a resource that does not exist.
    pub async fn put_resource(&mut self, kind: Kind, name: &Name, body: &str, expect: Expect) -> Result<i64> {
        let found = get(self.connection(), kind, name.as_str()).await?;
        check(kind, name.as_str(), expect, found.as_ref())?;
        self.put_resources(&[(kind, name.clone(), body.to_owned())]).await?;
        self.resource(kind, name.as_str())
            .await?
            .map(|row| row.revision)
            .ok_or_else(|| StoreError::NotFound(format!("{}/{name}", kind.as_str())))
    }

    /// Writes many resources, whatever was there; each kind and name at most once.
    pub async fn put_resources(&mut self, resources: &[(Kind, Name, String)]) -> Result<()> {
        let now = self.now().micros();
        for chunk in resources.chunks(CHUNK) {
            let revisions: Vec<i64> =
                chunk.iter().map(|(kind, name, _)| self.changed(ChangeKind::Resource(*kind), name.as_str())).collect();
            let sql = format!(
                "INSERT INTO resources ({COLUMNS}) VALUES {} ON CONFLICT (kind, name) DO UPDATE SET
                 body = excluded.body, revision = excluded.revision, updated = excluded.updated",
                values(6, chunk.len())
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for ((kind, name, body), revision) in chunk.iter().zip(revisions) {
                query = query.bind(kind.as_str()).bind(name.as_str()).bind(body.clone());
                query = query.bind(revision).bind(now).bind(now);
            }
            query.execute(self.connection()).await?;
            for (kind, name, body) in chunk {
                former::keep(self, *kind, name.as_str(), Some(body)).await?;
            }
        }
        Ok(())
    }

    /// Removes one resource. `NotFound` when it is not there, `Conflict` when the expectation fails.
    pub async fn delete_resource(&mut self, kind: Kind, name: &str, expect: Expect) -> Result<()> {
        let found = get(self.connection(), kind, name).await?;
        if found.is_none() {
            return Err(StoreError::NotFound(format!("{}/{name}", kind.as_str())));
        }
        check(kind, name, expect, found.as_ref())?;
        self.delete_resources(&[(kind, name.to_owned())]).await.map(|_| ())
    }

    /// Removes many resources and tells how many were there.
    pub async fn delete_resources(&mut self, resources: &[(Kind, String)]) -> Result<u64> {
        let mut gone = 0;
        for (kind, name) in resources {
            let deleted = sqlx::query("DELETE FROM resources WHERE kind = $1 AND name = $2")
                .bind(kind.as_str())
                .bind(name.as_str())
                .execute(self.connection())
                .await?
                .rows_affected();
            if deleted > 0 {
                self.changed(ChangeKind::Resource(*kind), name);
                former::keep(self, *kind, name, None).await?;
                if *kind == Kind::Prompts {
                    self.forget_prompt_runs(name).await?;
                }
            }
            gone += deleted;
        }
        Ok(gone)
    }
}

fn check(kind: Kind, name: &str, expect: Expect, found: Option<&ResourceRow>) -> Result<()> {
    let subject = || format!("{}/{name}", kind.as_str());
    match (expect, found) {
        (Expect::Absent, Some(_)) => Err(StoreError::Conflict(format!("{} exists already", subject()))),
        (Expect::Revision(_) | Expect::Present, None) => Err(StoreError::NotFound(subject())),
        (Expect::Revision(wanted), Some(row)) if row.revision != wanted => {
            Err(StoreError::Conflict(format!("{} was changed by somebody else", subject())))
        }
        _ => Ok(()),
    }
}

async fn get(c: &mut AnyConnection, kind: Kind, name: &str) -> Result<Option<ResourceRow>> {
    let sql = "SELECT kind, name, body, revision, created, updated FROM resources WHERE kind = $1 AND name = $2";
    let found = sqlx::query(sql).bind(kind.as_str()).bind(name).fetch_optional(c).await?;
    found.as_ref().map(read).transpose()
}

fn read(r: &AnyRow) -> Result<ResourceRow> {
    Ok(ResourceRow {
        kind: parse_word(r.try_get(0)?, "kind")?,
        name: row::name(r, 1)?,
        body: r.try_get(2)?,
        revision: r.try_get(3)?,
        created: row::time(r, 4)?,
        updated: row::time(r, 5)?,
    })
}
