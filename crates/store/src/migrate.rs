//! Brings the database's tables to what this program expects.
//!
//! Each migration is one transaction together with its record, so that an interruption leaves the
//! database before it or after it, never within. Nodes that start together take turns. A migration
//! is never edited once released; a database newer than the program is refused.

mod leak_responses;

use crate::{Result, Store, StoreError};
use sqlx::{AssertSqlSafe, Connection, Executor, Row};

struct Migration {
    number: i64,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration { number: 1, name: "chain", sql: include_str!("../migrations/0001_chain.sql") },
    Migration { number: 2, name: "resources", sql: include_str!("../migrations/0002_resources.sql") },
    Migration { number: 3, name: "keys", sql: include_str!("../migrations/0003_keys.sql") },
    Migration { number: 4, name: "credentials", sql: include_str!("../migrations/0004_credentials.sql") },
    Migration { number: 5, name: "runtime", sql: include_str!("../migrations/0005_runtime.sql") },
    Migration { number: 6, name: "nodes", sql: include_str!("../migrations/0006_nodes.sql") },
    Migration { number: 7, name: "node marks", sql: include_str!("../migrations/0007_node_marks.sql") },
    Migration { number: 8, name: "store links", sql: include_str!("../migrations/0008_store_links.sql") },
    Migration { number: 9, name: "rotation plan", sql: include_str!("../migrations/0009_rotation_plan.sql") },
    Migration { number: 10, name: "failing leases", sql: include_str!("../migrations/0010_failing_leases.sql") },
    Migration { number: 11, name: "certificates seen", sql: include_str!("../migrations/0011_certificates_seen.sql") },
    Migration { number: 12, name: "leaks", sql: include_str!("../migrations/0012_leaks.sql") },
    Migration { number: 13, name: "acme", sql: include_str!("../migrations/0013_acme.sql") },
    Migration { number: 14, name: "version handles", sql: include_str!("../migrations/0014_version_handles.sql") },
    Migration { number: 15, name: "stragglers", sql: include_str!("../migrations/0015_stragglers.sql") },
    Migration { number: 16, name: "notifications", sql: include_str!("../migrations/0016_notifications.sql") },
    Migration { number: 17, name: "leak responses", sql: include_str!("../migrations/0017_leak_responses.sql") },
    Migration { number: 18, name: "key networks", sql: include_str!("../migrations/0018_key_networks.sql") },
    Migration { number: 19, name: "places of leases", sql: include_str!("../migrations/0019_places_of_leases.sql") },
    Migration { number: 20, name: "budgets", sql: include_str!("../migrations/0020_budgets.sql") },
    Migration { number: 21, name: "leases by holder", sql: include_str!("../migrations/0021_leases_by_holder.sql") },
    Migration { number: 22, name: "key secret uses", sql: include_str!("../migrations/0022_key_secret_uses.sql") },
    Migration { number: 23, name: "rotations again", sql: include_str!("../migrations/0023_rotations_again.sql") },
    Migration { number: 24, name: "budget slots", sql: include_str!("../migrations/0024_budget_slots.sql") },
    Migration { number: 25, name: "rule uses", sql: include_str!("../migrations/0025_rule_uses.sql") },
    Migration { number: 26, name: "spend", sql: include_str!("../migrations/0026_spend.sql") },
    Migration { number: 27, name: "spend cached", sql: include_str!("../migrations/0027_spend_cached.sql") },
    Migration { number: 28, name: "delegations", sql: include_str!("../migrations/0028_delegations.sql") },
    Migration { number: 29, name: "prompt runs", sql: include_str!("../migrations/0029_prompt_runs.sql") },
    Migration { number: 30, name: "model objects", sql: include_str!("../migrations/0030_model_objects.sql") },
    Migration { number: 31, name: "agents", sql: include_str!("../migrations/0031_agents.sql") },
    Migration { number: 32, name: "object purposes", sql: include_str!("../migrations/0032_object_purposes.sql") },
    Migration { number: 33, name: "spend prompt", sql: include_str!("../migrations/0033_spend_prompt.sql") },
    Migration { number: 34, name: "object expiry", sql: include_str!("../migrations/0034_object_expiry.sql") },
];

/// What a call of [`Store::migrate`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MigrateReport {
    /// The number of the newest migration the database now has.
    pub version: i64,
    /// How many were applied by this call.
    pub applied: usize,
}

impl Store {
    /// Applies the migrations the database lacks. Safe to call again, from several nodes at once,
    /// and after an interruption.
    pub async fn migrate(&self) -> Result<MigrateReport> {
        let mut applied = 0;
        for migration in MIGRATIONS {
            applied += usize::from(self.apply(migration).await?);
        }
        Ok(MigrateReport { version: MIGRATIONS.last().map_or(0, |m| m.number), applied })
    }

    async fn apply(&self, migration: &Migration) -> Result<bool> {
        let driver = self.driver();
        let mut connection = self.writer().await?;
        let mut tx = connection.begin_with(driver.begin()).await?;
        if let Some(lock) = driver.lock_migrations() {
            tx.execute(lock).await?;
        }
        tx.execute("CREATE TABLE IF NOT EXISTS migrations (number BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL)")
            .await?;
        let newest: i64 =
            sqlx::query("SELECT COALESCE(MAX(number), 0) FROM migrations").fetch_one(&mut *tx).await?.try_get(0)?;
        if newest > MIGRATIONS.last().map_or(0, |m| m.number) {
            return Err(StoreError::Other("the database is newer than this program; update the program".into()));
        }
        if newest >= migration.number {
            tx.commit().await?;
            return Ok(false);
        }
        for statement in statements(&driver.spell(migration.sql)) {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await?;
        }
        if migration.number == 1 {
            sqlx::query("INSERT INTO head (id, audit_seq, audit_hash, change_seq) VALUES (1, 0, $1, 0)")
                .bind(vec![0u8; 32])
                .execute(&mut *tx)
                .await?;
        }
        if migration.number == 17 {
            leak_responses::without_dangling_names(&mut tx).await?;
        }
        sqlx::query("INSERT INTO migrations (number, name) VALUES ($1, $2)")
            .bind(migration.number)
            .bind(migration.name)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        tracing::info!(number = migration.number, name = migration.name, "database migrated");
        Ok(true)
    }
}

/// The statements of a migration. Its text is ours: a semicolon ends a statement wherever it
/// stands, and comments have lines of their own.
fn statements(sql: &str) -> Vec<String> {
    let code: String = sql.lines().filter(|l| !l.trim_start().starts_with("--")).flat_map(|l| [l, "\n"]).collect();
    code.split(';').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_consecutive_and_names_match_files() {
        for (i, m) in super::MIGRATIONS.iter().enumerate() {
            assert_eq!(m.number, i as i64 + 1);
            assert!(!super::statements(m.sql).is_empty());
        }
    }
}
