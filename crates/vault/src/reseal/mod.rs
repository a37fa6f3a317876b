//! Sealing everything stored anew with the newest encryption key, in the background.
//!
//! A rotation of the keyring stores a [`Job`] in its own transaction. Each [`Vault::reseal_step`] is one
//! transaction more: a batch of rows is replaced and the job's place moves on with them, so that it can
//! be stopped anywhere, killed anywhere, and taken up by any node. A row that somebody writes meanwhile
//! is left as it was written: it is under the newest key already. Old keys stay in the keyring.
//!
//! Which tables hold sealed bytes, and what binds a row's bytes to its place, is said by an explicit list
//! of [`SealedTable`]s that the roof hands in: whoever seals bytes into a table has a line in it. Not in
//! it: answers kept for a lost response, which are gone after a day, and the gateway's local copy, which
//! is written anew by itself.

use crate::{
    Result, SealContext, Sealed, Vault, VaultError, rotate::to_json, settings, unsealed::Unsealed, vault::blob_context,
};
use credentialflow_model::{Actor, Timestamp};
use credentialflow_store::{
    WriteTx,
    sealed::{self, KeyPart, SealedColumn, SealedRow},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Most rows replaced in one transaction: others wait for their turn no longer than this takes.
pub const BATCH: usize = 200;
/// Rows read at a time.
const PAGE: u32 = 500;
/// Most rows looked at in one step, so that a step of nothing but new rows ends as well.
const MOST_READ: u64 = 20_000;

/// What binds a row's bytes to their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// As [`Vault::seal_value`] takes it.
    Value(SealContext),
    /// As [`Vault::seal_blob`] takes it.
    Blob(String),
}

/// A table with sealed bytes.
#[derive(Clone, Copy, Debug)]
pub struct SealedTable {
    /// Where they lie.
    pub column: SealedColumn,
    /// What a row's bytes are bound to. Where several crates keep rows in one table, each of the places
    /// is tried.
    pub places: fn(&[KeyPart]) -> Vec<Place>,
}

/// Versions of credentials.
pub const CREDENTIAL_VERSIONS: SealedTable =
    SealedTable { column: sealed::CREDENTIAL_VERSIONS, places: credential_version };

fn credential_version(key: &[KeyPart]) -> Vec<Place> {
    let [KeyPart::Text(credential), KeyPart::Number(version)] = key else { return Vec::new() };
    let (Ok(credential), Ok(version)) = (credential.parse(), u32::try_from(*version)) else { return Vec::new() };
    vec![Place::Value(SealContext::new(&credential, version))]
}

/// How far sealing anew has come, as stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// What is under an older key than this is sealed anew.
    key: u32,
    started: i64,
    finished: Option<i64>,
    /// The table it is at, by name; a table that is not known any more is passed over.
    table: Option<String>,
    after: Option<Vec<KeyPart>>,
    tables_done: Vec<String>,
    looked_at: u64,
    resealed: u64,
    unreadable: u64,
}

impl Job {
    pub(crate) fn begin(key: u32, now: Timestamp) -> Self {
        Self {
            key,
            started: now.micros(),
            finished: None,
            table: None,
            after: None,
            tables_done: Vec::new(),
            looked_at: 0,
            resealed: 0,
            unreadable: 0,
        }
    }
}

/// How far sealing anew has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResealStatus {
    /// Everything under an older encryption key than this is sealed anew.
    pub key: u32,
    /// When it began.
    pub started: Timestamp,
    /// When it was done; `None` while it runs.
    pub finished: Option<Timestamp>,
    /// The table it is at.
    pub table: Option<String>,
    /// Rows looked at so far.
    pub looked_at: u64,
    /// Rows there are, in all tables, now.
    pub total: u64,
    /// Rows sealed anew.
    pub resealed: u64,
    /// Rows that do not open and were left as they are; they did not open before either.
    pub unreadable: u64,
}

/// The change feed is not told: each batch would make every node read the vault's settings again.
pub(crate) async fn put_job(tx: &mut WriteTx, job: &Job) -> Result<()> {
    Ok(tx.put_note(settings::RESEAL, &to_json(job)?).await?)
}

impl Vault {
    /// Seals one batch anew. Answers whether there is more to do; `false` when nothing was to be done.
    /// Safe to call from several nodes, and again after an interruption anywhere.
    pub async fn reseal_step(&self, tables: &[SealedTable]) -> Result<bool> {
        let store = self.store()?;
        let Some(before) = store.setting(settings::RESEAL).await? else { return Ok(false) };
        let mut job = read(&before)?;
        if job.finished.is_some() {
            return Ok(false);
        }
        self.maintain().await?;
        let unsealed = self.unsealed()?;
        // Another node rotated and this one has not followed yet.
        if unsealed.ring().newest_id() < job.key {
            self.reload().await?;
            return Ok(true);
        }
        let mut fresh = Vec::new();
        let mut looked_at = 0;
        let at = next_table(&job, tables);
        if let Some(table) = at {
            job.table = Some(table.column.table.to_owned());
            while fresh.len() < BATCH && looked_at < MOST_READ {
                let limit = PAGE.min((BATCH - fresh.len()) as u32);
                let rows = store.sealed_after(&table.column, job.after.as_deref(), limit).await?;
                let ended = rows.len() < limit as usize;
                looked_at += rows.len() as u64;
                for row in rows {
                    job.after = Some(row.key.clone());
                    match again(&unsealed, table, &row, job.key) {
                        Ok(Some(sealed)) => fresh.push((row, sealed)),
                        Ok(None) => {}
                        Err(VaultError::Tampered | VaultError::UnknownAlgorithm(_) | VaultError::UnknownKey(_)) => {
                            job.unreadable += 1;
                        }
                        Err(other) => return Err(other),
                    }
                }
                if ended {
                    job.tables_done.push(table.column.table.to_owned());
                    (job.table, job.after) = (None, None);
                    break;
                }
            }
        }
        job.looked_at += looked_at;
        if next_table(&job, tables).is_none() {
            job.finished = Some(store.now().micros());
        }
        self.keep_step(job, &before, at, fresh).await
    }

    async fn keep_step(
        &self,
        mut job: Job,
        before: &[u8],
        table: Option<&SealedTable>,
        fresh: Vec<(SealedRow, Sealed)>,
    ) -> Result<bool> {
        let mut tx = self.store()?.begin(&Actor::system("reseal")).await?;
        // Another node took this step, or a new rotation began it all anew.
        if tx.setting(settings::RESEAL).await?.as_deref() != Some(before) {
            return Ok(true);
        }
        let mut replaced = 0u64;
        if let Some(table) = table {
            for (row, sealed) in &fresh {
                let done = tx.replace_sealed(&table.column, row, sealed.as_bytes(), sealed.key_id()).await?;
                replaced += u64::from(done);
            }
        }
        job.resealed += replaced;
        put_job(&mut tx, &job).await?;
        let done = job.finished.is_some();
        let action = if done { "keyring.reseal_finish" } else { "keyring.reseal" };
        let name = table.map(|t| t.column.table);
        let told = json!({ "key": job.key, "table": name, "rows": replaced, "all_rows": job.resealed });
        tx.audit(action, "settings/vault.keyring", told);
        tx.commit().await?;
        Ok(!done)
    }

    /// How far sealing anew has come; `None` when the keyring was never rotated.
    pub async fn reseal_status(&self, tables: &[SealedTable]) -> Result<Option<ResealStatus>> {
        let store = self.store()?;
        let Some(stored) = store.setting(settings::RESEAL).await? else { return Ok(None) };
        let job = read(&stored)?;
        let mut total = 0;
        for table in tables {
            total += store.count_sealed(&table.column).await?;
        }
        Ok(Some(ResealStatus {
            key: job.key,
            started: Timestamp::from_micros(job.started),
            finished: job.finished.map(Timestamp::from_micros),
            table: job.table,
            looked_at: job.looked_at,
            total,
            resealed: job.resealed,
            unreadable: job.unreadable,
        }))
    }
}

fn read(bytes: &[u8]) -> Result<Job> {
    serde_json::from_slice(bytes).map_err(|_| VaultError::Corrupt(settings::RESEAL))
}

/// The table the job is at, or the next one that was not looked through yet.
fn next_table<'t>(job: &Job, tables: &'t [SealedTable]) -> Option<&'t SealedTable> {
    let named = |name: &str| tables.iter().find(|t| t.column.table == name);
    job.table
        .as_deref()
        .and_then(named)
        .or_else(|| tables.iter().find(|t| !job.tables_done.iter().any(|done| done == t.column.table)))
}

/// A row's bytes under the newest key; `None` when they are under a key that is new enough.
fn again(unsealed: &Unsealed, table: &SealedTable, row: &SealedRow, key: u32) -> Result<Option<Sealed>> {
    let sealed = Sealed::from_bytes(row.sealed.clone())?;
    if sealed.key_id() >= key {
        return Ok(None);
    }
    for place in (table.places)(&row.key) {
        let (tenant, context) = match place {
            Place::Value(context) => (context.tenant.clone(), context.associated_data()),
            Place::Blob(context) => (crate::DEFAULT_TENANT.to_owned(), blob_context(&context)),
        };
        match unsealed.open_sealed(&tenant, &context, &sealed) {
            Ok(plain) => return unsealed.seal(&tenant, &context, plain.expose()).map(Some),
            Err(VaultError::Tampered) => {}
            Err(other) => return Err(other),
        }
    }
    Err(VaultError::Tampered)
}
