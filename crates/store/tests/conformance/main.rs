//! One suite for both databases: every case here runs on SQLite and on a real PostgreSQL 15 that
//! this binary starts by itself.

#![expect(clippy::unwrap_used, reason = "a test says no more than where it failed")]

mod acme;
mod audit;
mod away;
mod budgets;
mod certificates;
mod crash;
mod delegations;
mod leaks;
mod life;
mod links;
mod nodes;
mod objects;
mod prompts;
mod reads;
mod rule_uses;
mod runtime;
mod sealed;
mod spend;
mod writes;

use credentialflow_model::{Actor, ActorKind, Name};
use credentialflow_store::Store;
use credentialflow_testkit::postgres::Cluster;
use std::sync::OnceLock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
}

/// A fresh database; removed, or left to the cluster's end, when dropped.
pub(crate) struct Fresh {
    pub(crate) store: Store,
    pub(crate) url: String,
    _dir: Option<tempfile::TempDir>,
}

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start().unwrap())
}

impl Database {
    pub(crate) async fn empty(self) -> Fresh {
        let (url, dir) = match self {
            Self::Sqlite => {
                let dir = tempfile::tempdir().unwrap();
                (format!("sqlite:{}", dir.path().join("a store.db").display()), Some(dir))
            }
            Self::Postgres => (cluster().create_database().unwrap(), None),
        };
        Fresh { store: Store::connect(&url).await.unwrap(), url, _dir: dir }
    }

    pub(crate) async fn fresh(self) -> Fresh {
        let fresh = self.empty().await;
        fresh.store.migrate().await.unwrap();
        fresh
    }
}

impl Fresh {
    /// Statements past the store, as an attacker or an operator would run them.
    pub(crate) async fn raw(&self, sql: &str) {
        sqlx::any::install_default_drivers();
        let url = self.url.replace(' ', "%20");
        let mut connection = <sqlx::AnyConnection as sqlx::Connection>::connect(&url).await.unwrap();
        for statement in sql.split(';').filter(|s| !s.trim().is_empty()) {
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
        }
        sqlx::Connection::close(connection).await.unwrap();
    }

    /// The texts of one column, read beside the store.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<String> {
        use sqlx::Row;
        sqlx::any::install_default_drivers();
        let url = self.url.replace(' ', "%20");
        let mut connection = <sqlx::AnyConnection as sqlx::Connection>::connect(&url).await.unwrap();
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await.unwrap();
        sqlx::Connection::close(connection).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

pub(crate) fn admin() -> Actor {
    Actor { kind: ActorKind::Administrator, name: "admin".into(), source: Some("127.0.0.1".into()) }
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

/// Makes each case a test on each database.
#[macro_export]
macro_rules! on_both {
    ($($case:ident),* $(,)?) => {
        mod sqlite { $(#[test] fn $case() { $crate::block_on(super::$case($crate::Database::Sqlite)) })* }
        mod postgres { $(#[test] fn $case() { $crate::block_on(super::$case($crate::Database::Postgres)) })* }
    };
}
