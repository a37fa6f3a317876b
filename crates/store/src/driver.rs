//! Every difference between SQLite and PostgreSQL, and nothing else.

use crate::{Result, StoreError};
use sqlx::any::{AnyPoolOptions, install_default_drivers};
use sqlx::{AnyPool, Executor};
use std::time::Duration;

/// Which database is behind the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// One file, one writer, readers beside it (WAL).
    Sqlite,
    /// A server, several nodes.
    Postgres,
}

/// The two ways to the database.
pub(crate) struct Pools {
    pub(crate) driver: Driver,
    /// For reads; on SQLite these connections cannot write.
    pub(crate) read: AnyPool,
    /// For writes; on SQLite there is exactly one.
    pub(crate) write: AnyPool,
    /// For what processes tell of themselves: never behind a line of writers on PostgreSQL.
    pub(crate) notes: AnyPool,
}

/// How long to try to reach a PostgreSQL that is away.
const REACH: Duration = Duration::from_secs(3);
/// How long a writer may stand in line at SQLite's one writing connection.
const IN_LINE: Duration = Duration::from_secs(30);

// FULL: an acknowledged write survives a power cut, also in WAL mode.
const SQLITE_WRITE: &[&str] = &[
    "PRAGMA busy_timeout = 10000",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA journal_size_limit = 67108864",
    // Pages written again and again go back into the file once in 16 MiB of log.
    "PRAGMA wal_autocheckpoint = 4000",
    "PRAGMA cache_size = -16000",
];
const SQLITE_READ: &[&str] = &["PRAGMA busy_timeout = 10000", "PRAGMA query_only = ON", "PRAGMA cache_size = -8000"];
// A writer that hangs holds the row every writer needs: bound each wait.
const POSTGRES: &[&str] = &[
    "SET statement_timeout = '60s'",
    "SET lock_timeout = '10s'",
    "SET idle_in_transaction_session_timeout = '30s'",
    "SET application_name = 'credentialflow'",
];

/// Opens both pools. `sqlite:PATH` is opened at once; a PostgreSQL server is first spoken to when
/// it is needed, so that a node can start while it is away.
pub(crate) async fn open(url: &str) -> Result<Pools> {
    install_default_drivers();
    if let Some(path) = sqlite_path(url) {
        if path.is_empty() || path.starts_with(':') {
            return Err(StoreError::Other("sqlite: needs the path of a file".into()));
        }
        let url = format!("sqlite:{}?mode=rwc", percent_encode(path));
        // A pool would try a damaged file again and again, and tell in the end that it waited too long.
        let mut first = <sqlx::AnyConnection as sqlx::Connection>::connect(&url).await?;
        for statement in SQLITE_WRITE {
            first.execute(*statement).await?;
        }
        // A file does not go away between two statements: no question whether it is still there before each use.
        let write = pool(1, IN_LINE, SQLITE_WRITE).test_before_acquire(false).connect(&url).await?;
        let read = pool(4, IN_LINE, SQLITE_READ).test_before_acquire(false).connect(&url).await?;
        // Not before: with the last connection SQLite takes the log away, and the room that was made for it.
        sqlx::Connection::close(first).await?;
        Ok(Pools { driver: Driver::Sqlite, read, notes: write.clone(), write })
    } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        let write = pool(3, REACH, POSTGRES).connect_lazy(url)?;
        let read = pool(6, REACH, POSTGRES).connect_lazy(url)?;
        let notes = pool(3, REACH, POSTGRES).connect_lazy(url)?;
        Ok(Pools { driver: Driver::Postgres, read, write, notes })
    } else {
        // The URL itself may hold a password: it is not repeated.
        Err(StoreError::Other("a database URL begins with sqlite: or postgres://".into()))
    }
}

/// The file of a SQLite database.
pub(crate) fn sqlite_path(url: &str) -> Option<&str> {
    url.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path))
}

fn pool(connections: u32, acquire: Duration, setup: &'static [&'static str]) -> AnyPoolOptions {
    AnyPoolOptions::new().max_connections(connections).acquire_timeout(acquire).after_connect(move |connection, _| {
        Box::pin(async move {
            for statement in setup {
                connection.execute(*statement).await?;
            }
            Ok(())
        })
    })
}

/// sqlx reads the path out of a URL, so everything a URL gives a meaning to is written `%XX`.
fn percent_encode(path: &str) -> String {
    use std::fmt::Write;
    path.bytes().fold(String::with_capacity(path.len()), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"/-_.~".contains(&b) {
            out.push(char::from(b));
        } else {
            let _ = write!(out, "%{b:02X}");
        }
        out
    })
}

impl Driver {
    /// Begins a transaction that may write. SQLite takes its one write lock here and not at the
    /// first write, where waiting would be a deadlock between two readers that want to write.
    pub(crate) const fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// All rows of these columns, texts and then whole numbers, as one text that [`Packed`](crate::row::Packed) reads: of
    /// a text its length in bytes, a colon and itself, of a number its digits and a colon; `-:` for NULL. Each row of an
    /// answer is handed from thread to thread, which for many small ones costs more than to read them, and a long text
    /// costs less so than as JSON within JSON.
    pub(crate) fn packed(self, texts: &[&str], numbers: &[&str]) -> String {
        let texts = texts.iter().map(|text| format!("COALESCE(octet_length({text}) || ':' || {text}, '-:')"));
        let numbers = numbers.iter().map(|number| format!("COALESCE(CAST({number} AS TEXT), '-') || ':'"));
        let row = texts.chain(numbers).collect::<Vec<_>>().join(" || ");
        match self {
            Self::Sqlite => format!("COALESCE(group_concat({row}, ''), '')"),
            Self::Postgres => format!("COALESCE(string_agg({row}, ''), '')"),
        }
    }

    /// Said in a transaction that reads few of many rows in the order of an index: PostgreSQL, whose counts of rows are
    /// old after many were written, would rather read and sort all of them. SQLite needs no such word.
    pub(crate) const fn by_index(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some(
                "SELECT set_config('enable_sort', 'off', true), set_config('enable_hashjoin', 'off', true),
                        set_config('enable_bitmapscan', 'off', true)",
            ),
        }
    }

    /// The rows of one parameter, a JSON array of arrays of a text and a number: columns `name` and `number`. One
    /// parameter costs the same however many rows there are; SQLite looks each of many up among all of them.
    pub(crate) const fn pairs(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT value ->> 0 AS name, value ->> 1 AS number FROM json_each($1)",
            Self::Postgres => {
                "SELECT value ->> 0 AS name, CAST(value ->> 1 AS BIGINT) AS number FROM json_array_elements(CAST($1 AS JSON))"
            }
        }
    }

    /// The rows of one parameter, a JSON array of texts: column `name`.
    pub(crate) const fn names(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT value AS name FROM json_each($1)",
            Self::Postgres => "SELECT value AS name FROM json_array_elements_text(CAST($1 AS JSON))",
        }
    }

    /// Reads the chain's head and holds its row until the transaction ends.
    pub(crate) const fn lock_head(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT audit_seq, audit_hash, change_seq, entry_seq FROM head WHERE id = 1",
            Self::Postgres => "SELECT audit_seq, audit_hash, change_seq, entry_seq FROM head WHERE id = 1 FOR UPDATE",
        }
    }

    /// Keeps other nodes from migrating until this transaction ends. SQLite's is `begin` itself.
    pub(crate) const fn lock_migrations(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some("SELECT pg_advisory_xact_lock(7237952843122131572)"),
        }
    }

    /// Ends a `SELECT` of rows about to be deleted, so that no other node's transaction is waited for. SQLite has one
    /// writer.
    pub(crate) const fn skip_locked(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => "FOR UPDATE SKIP LOCKED",
        }
    }

    /// The expression that writes a blob column in hexadecimal; SQLite's digits are capitals.
    pub(crate) fn hex(self, column: &str) -> String {
        match self {
            Self::Sqlite => format!("hex({column})"),
            Self::Postgres => format!("encode({column}, 'hex')"),
        }
    }

    /// The expression for the database's clock, in microseconds since 1970.
    pub(crate) const fn now(self) -> &'static str {
        match self {
            Self::Sqlite => "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
            Self::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
        }
    }

    /// A migration's text in this database's spelling.
    pub(crate) fn spell(self, sql: &str) -> String {
        let (blob, rowkey, text, value_as_text) = match self {
            // INTEGER PRIMARY KEY is the row's own number: no second index. Texts compare by their bytes.
            Self::Sqlite => ("BLOB", "INTEGER PRIMARY KEY", "TEXT", "CAST(settings.value AS TEXT)"),
            Self::Postgres => {
                ("BYTEA", "BIGINT PRIMARY KEY", "TEXT COLLATE \"C\"", "convert_from(settings.value, 'UTF8')")
            }
        };
        sql.replace("{blob}", blob)
            .replace("{rowkey}", rowkey)
            .replace("{text}", text)
            .replace("{settings.value as text}", value_as_text)
            .replace("{now}", self.now())
    }
}

/// Whose fault a database's own error is.
pub(crate) fn classify(error: &dyn sqlx::error::DatabaseError) -> StoreError {
    use sqlx::error::ErrorKind;
    let code = error.code().unwrap_or_default();
    match error.kind() {
        ErrorKind::UniqueViolation => return StoreError::Conflict("it exists already".into()),
        ErrorKind::ForeignKeyViolation => return StoreError::Conflict("what it belongs to does not exist".into()),
        _ => {}
    }
    match code.as_ref() {
        // SQLite: busy, locked, disk i/o, full (with their extended forms in the higher bits).
        c if sqlite_primary(c).is_some_and(|p| matches!(p, 5 | 6 | 10 | 13 | 14)) => {
            StoreError::Unavailable(error.message().to_owned())
        }
        c if sqlite_primary(c).is_some_and(|p| matches!(p, 11 | 26)) => StoreError::corrupt(error.message()),
        // PostgreSQL: connection exceptions, out of resources, operator intervention, system error;
        // then lock not available, serialization failure, deadlock, idle in transaction.
        c if c.len() == 5 && ["08", "53", "57", "58"].iter().any(|class| c.starts_with(class)) => {
            StoreError::Unavailable(error.message().to_owned())
        }
        "55P03" | "40001" | "40P01" | "25P03" => StoreError::Unavailable(error.message().to_owned()),
        "XX001" | "XX002" => StoreError::corrupt(error.message()),
        // Data exceptions quote the value.
        c if c.len() == 5 && c.starts_with("22") => StoreError::Other(format!("a value does not fit (SQLSTATE {c})")),
        c => StoreError::Other(format!("{} (code {c})", error.message())),
    }
}

fn sqlite_primary(code: &str) -> Option<u32> {
    // SQLSTATEs have five characters; SQLite's numbers have at most four.
    if code.len() < 5 { code.parse::<u32>().ok().map(|c| c & 0xff) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_its_odd_characters() {
        assert_eq!(percent_encode("/data/a b?mode=ro#%.db"), "/data/a%20b%3Fmode%3Dro%23%25.db");
    }

    #[test]
    fn extended_sqlite_codes_fall_to_their_primary() {
        assert_eq!(sqlite_primary("261"), Some(5));
        assert_eq!(sqlite_primary("57014"), None);
    }
}
