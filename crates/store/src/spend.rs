//! What model calls cost, added up from the call logs of all nodes by quarter of an hour and by who called what.
//!
//! Each node reads its own call log piece by piece. A piece is added in one transaction with how far the log is read, so
//! every call is in the sums exactly once, whoever dies in between. A node's sums have series of their own: no two nodes
//! ever write one row.
//!
//! Like uses these are observations of traffic and are written without an actor and an audit event. Costs are whole units
//! of 10^-12 US dollars, kept as millionths of dollars and a rest, so that no sum comes near its end.

use crate::row::{self, CHUNK, list, values};
use crate::{Result, Store, StoreError};
use aws_lc_rs::digest::{SHA256, digest};
use credentialflow_model::Timestamp;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// What calls are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SpendColumn {
    /// The node that recorded them.
    Node,
    /// The application.
    Application,
    /// The key's id.
    Key,
    /// The end user.
    User,
    /// The model's public name.
    Model,
    /// The provider.
    Provider,
    /// The provider's own model name.
    ProviderModel,
    /// The credential injected.
    Credential,
    /// The route.
    Route,
    /// The prompt that they were made of.
    Prompt,
    /// Its version.
    PromptVersion,
    /// How they ended.
    Outcome,
}

impl SpendColumn {
    /// All of them, as rows have them.
    pub const ALL: [Self; 12] = [
        Self::Node,
        Self::Application,
        Self::Key,
        Self::User,
        Self::Model,
        Self::Provider,
        Self::ProviderModel,
        Self::Credential,
        Self::Route,
        Self::Prompt,
        Self::PromptVersion,
        Self::Outcome,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Application => "application",
            Self::Key => "key_id",
            Self::User => "end_user",
            Self::Model => "model",
            Self::Provider => "provider",
            Self::ProviderModel => "provider_model",
            Self::Credential => "credential",
            Self::Route => "route",
            Self::Prompt => "prompt",
            Self::PromptVersion => "prompt_version",
            Self::Outcome => "outcome",
        }
    }
}

/// Sums of calls: how many, of unknown and of estimated cost, tokens read, of those cached and written into caches, tokens
/// written, of those for reasoning; calls that caches answered.
pub type SpendCounts = [i64; 9];

/// A row of sums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpendRow {
    /// What the calls have in common, by the columns that were asked for; '' where there is nothing. Of rows that are
    /// added: all columns but the node.
    pub names: Vec<String>,
    /// How many calls, and their tokens.
    pub counts: SpendCounts,
    /// What they cost, in units of 10^-12 US dollars.
    pub cost: i128,
    /// What caches saved, in the same units.
    pub saved: i128,
}

/// How far a call log is in the sums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpendNode {
    /// The node.
    pub node: String,
    /// When it added something last, by the database's clock.
    pub told: Timestamp,
}

const MILLION: i128 = 1_000_000;
/// Rows deleted in one transaction.
const FORGOTTEN_AT_ONCE: i64 = 2_000;
/// Between two of these.
const BETWEEN: Duration = Duration::from_millis(20);
const COUNTS: [&str; 9] = [
    "calls",
    "unknown_cost",
    "estimated_cost",
    "input",
    "cached_input",
    "cache_write",
    "output",
    "reasoning",
    "cached",
];
/// Amounts: millionths of dollars and a rest each.
const AMOUNTS: [&str; 4] = ["micros", "rest", "saved_micros", "saved_rest"];

impl Store {
    /// Up to which row these segments of call logs are in the sums; those of which nothing is are left out.
    pub async fn spend_read(&self, segments: &[String]) -> Result<HashMap<String, i64>> {
        let mut connection = self.reader().await?;
        let mut read = HashMap::new();
        for chunk in segments.chunks(CHUNK) {
            let sql = format!("SELECT segment, read_to FROM spend_logs WHERE segment IN ({})", list(1, chunk.len()));
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for segment in chunk {
                query = query.bind(segment.as_str());
            }
            for r in query.fetch_all(&mut *connection).await? {
                read.insert(r.try_get(0)?, r.try_get(1)?);
            }
        }
        Ok(read)
    }

    /// Adds the sums of the rows of a segment from one row to another, each with when its quarter of an hour began.
    /// `Conflict` where the segment is not read up to `above`: somebody added them already, and nothing is added.
    pub async fn add_spend(
        &self,
        node: &str,
        (segment, above, last): (&str, i64, i64),
        rows: &[(Timestamp, SpendRow)],
    ) -> Result<()> {
        let mut connection = self.notes().await?;
        let mut tx = connection.begin_with(self.driver().begin()).await?;
        sqlx::query(
            "INSERT INTO spend_logs (segment, node, read_to, told) VALUES ($1, $2, 0, 0) ON CONFLICT (segment) DO NOTHING",
        )
        .bind(segment)
        .bind(node)
        .execute(&mut *tx)
        .await?;
        let sql = format!(
            "UPDATE spend_logs SET read_to = $3, told = {now} WHERE segment = $1 AND read_to = $2",
            now = self.driver().now()
        );
        let moved = sqlx::query(AssertSqlSafe(sql)).bind(segment).bind(above).bind(last).execute(&mut *tx).await?;
        if moved.rows_affected() == 0 {
            return Err(StoreError::Conflict("the segment is read further already".into()));
        }
        add_rows(&mut tx, node, rows).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The sums of calls that began in a window of time, apart by these columns; only of calls for which each of the
    /// conditions holds, and at most so many rows.
    pub async fn spend(
        &self,
        (from, to): (Timestamp, Timestamp),
        columns: &[SpendColumn],
        only: &[(SpendColumn, String)],
        most: u32,
    ) -> Result<Vec<SpendRow>> {
        let names: Vec<_> = columns.iter().map(|column| format!("k.{}", column.name())).collect();
        let sums: Vec<_> = COUNTS.iter().chain(&AMOUNTS).map(|sum| format!("CAST(SUM(s.{sum}) AS BIGINT)")).collect();
        let mut sql = format!("SELECT {} FROM spend s", [&names[..], &sums[..]].concat().join(", "));
        if !columns.is_empty() || !only.is_empty() {
            sql += " JOIN spend_series k ON k.series = s.series";
        }
        sql += " WHERE s.started >= $1 AND s.started < $2";
        for (n, (column, _)) in only.iter().enumerate() {
            sql += &format!(" AND k.{} = ${}", column.name(), n + 4);
        }
        if !names.is_empty() {
            sql += &format!(" GROUP BY {}", names.join(", "));
        }
        // Nothing adds up to no row.
        sql += " HAVING COUNT(*) > 0 LIMIT $3";
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(from.micros()).bind(to.micros()).bind(i64::from(most));
        for (_, value) in only {
            query = query.bind(value.as_str());
        }
        let read = |r: sqlx::any::AnyRow| {
            let names = (0..columns.len()).map(|at| r.try_get(at)).collect::<Result<Vec<String>, _>>()?;
            let mut counts = SpendCounts::default();
            for (n, count) in counts.iter_mut().enumerate() {
                *count = r.try_get(columns.len() + n)?;
            }
            let amount = |at: usize| -> Result<i128> {
                let (micros, rest): (i64, i64) = (r.try_get(at)?, r.try_get(at + 1)?);
                Ok(i128::from(micros) * MILLION + i128::from(rest))
            };
            let at = columns.len() + COUNTS.len();
            Ok(SpendRow { names, counts, cost: amount(at)?, saved: amount(at + 2)? })
        };
        query.fetch_all(&mut *self.reader().await?).await?.into_iter().map(read).collect()
    }

    /// The nodes whose call logs are in the sums, by name.
    pub async fn spend_nodes(&self) -> Result<Vec<SpendNode>> {
        let sql = "SELECT node, MAX(told) FROM spend_logs GROUP BY node ORDER BY node";
        let found = sqlx::query(sql).fetch_all(&mut *self.reader().await?).await?;
        found.iter().map(|r| Ok(SpendNode { node: r.try_get(0)?, told: row::time(r, 1)? })).collect()
    }

    /// Forgets what was spent before a moment, and how far call logs are read that were read last before it. Answers how
    /// many rows of sums. It goes in small transactions, so that others get their turn at the database.
    pub async fn forget_spend(&self, before: Timestamp) -> Result<u64> {
        let sums = "DELETE FROM spend WHERE (started, series) IN
            (SELECT started, series FROM spend WHERE started < $1 ORDER BY started, series LIMIT $2)";
        let gone = self.forget_in_pieces(sums, before).await?;
        // Whose newest sums are that old has no others. Whoever adds newer ones meanwhile has moved `newest` before.
        let series = "DELETE FROM spend_series WHERE newest < $1 AND series IN
            (SELECT series FROM spend_series WHERE newest < $1 ORDER BY newest LIMIT $2)";
        self.forget_in_pieces(series, before).await?;
        let mut connection = self.notes().await?;
        let logs = sqlx::query("DELETE FROM spend_logs WHERE told < $1").bind(before.micros());
        logs.execute(&mut *connection).await?;
        Ok(gone)
    }

    async fn forget_in_pieces(&self, sql: &'static str, before: Timestamp) -> Result<u64> {
        let mut gone = 0;
        loop {
            let mut connection = self.notes().await?;
            let delete = sqlx::query(sql).bind(before.micros()).bind(FORGOTTEN_AT_ONCE);
            let piece = delete.execute(&mut *connection).await?.rows_affected();
            drop(connection);
            gone += piece;
            if piece < FORGOTTEN_AT_ONCE as u64 {
                return Ok(gone);
            }
            tokio::time::sleep(BETWEEN).await;
        }
    }
}

async fn add_rows(tx: &mut AnyConnection, node: &str, rows: &[(Timestamp, SpendRow)]) -> Result<()> {
    // In one order on every node.
    let mut series = BTreeMap::new();
    let mut sums = BTreeMap::new();
    for (started, row) in rows {
        if row.names.len() != SpendColumn::ALL.len() - 1 {
            return Err(StoreError::Other("a row of what was spent lacks a column".into()));
        }
        let names: Vec<&str> = std::iter::once(node).chain(row.names.iter().map(String::as_str)).collect();
        let id = id_of(&names);
        sums.insert((started.micros(), id.clone()), row);
        let (_, newest) = series.entry(id).or_insert((names, started.micros()));
        *newest = started.micros().max(*newest);
    }
    let series: Vec<_> = series.into_iter().collect();
    let columns = SpendColumn::ALL.map(SpendColumn::name).join(", ");
    for chunk in series.chunks(CHUNK) {
        let sql = format!(
            "INSERT INTO spend_series (series, {columns}, newest) VALUES {} ON CONFLICT (series) DO UPDATE
             SET newest = excluded.newest WHERE spend_series.newest < excluded.newest",
            values(SpendColumn::ALL.len() + 2, chunk.len())
        );
        let mut insert = sqlx::query(AssertSqlSafe(sql));
        for (id, (names, newest)) in chunk {
            insert = insert.bind(id.as_str());
            for name in names {
                insert = insert.bind(*name);
            }
            insert = insert.bind(*newest);
        }
        insert.execute(&mut *tx).await?;
    }
    let sums: Vec<_> = sums.into_iter().collect();
    let all = [&COUNTS[..], &AMOUNTS].concat();
    let added: Vec<_> = all.iter().map(|sum| format!("{sum} = spend.{sum} + excluded.{sum}")).collect();
    for chunk in sums.chunks(CHUNK) {
        let sql = format!(
            "INSERT INTO spend (started, series, {}) VALUES {} ON CONFLICT (started, series) DO UPDATE SET {}",
            all.join(", "),
            values(15, chunk.len()),
            added.join(", ")
        );
        let mut insert = sqlx::query(AssertSqlSafe(sql));
        for ((started, id), row) in chunk {
            insert = insert.bind(*started).bind(id.as_str());
            for count in row.counts {
                insert = insert.bind(count);
            }
            for amount in [row.cost, row.saved] {
                let micros = i64::try_from(amount.div_euclid(MILLION)).unwrap_or(i64::MAX / 1000);
                insert = insert.bind(micros).bind(amount.rem_euclid(MILLION) as i64);
            }
        }
        insert.execute(&mut *tx).await?;
    }
    Ok(())
}

/// Names a series. End users are named by callers, so the name is one that nobody can make twice.
fn id_of(names: &[&str]) -> String {
    let mut bytes = Vec::new();
    for name in names {
        bytes.extend_from_slice(&(name.len() as u64).to_be_bytes());
        bytes.extend_from_slice(name.as_bytes());
    }
    digest(&SHA256, &bytes).as_ref().iter().take(16).fold(String::with_capacity(32), |mut id, byte| {
        use std::fmt::Write;
        let _ = write!(id, "{byte:02x}");
        id
    })
}
