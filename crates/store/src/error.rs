//! What can go wrong between us and the database, told without a value that was stored.

use crate::driver;

/// Why the store could not do what was asked. No variant carries a stored value, a bound parameter
/// or a part of the database URL.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, or did not answer in time. Trying again later may help. When
    /// a commit answers so, whether the change was kept is unknown.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// Somebody else changed it first, or it exists already. Read again, then decide.
    #[error("conflict: {0}")]
    Conflict(String),
    /// There is no such row.
    #[error("not found: {0}")]
    NotFound(String),
    /// A stored value is not what this program writes.
    #[error("the stored data is damaged: {0}")]
    Corrupt(String),
    /// A transaction was to be committed without an audit event: a mistake in this program.
    #[error("a change without an audit event is not committed")]
    NotAudited,
    /// Anything else; the text is for the operator.
    #[error("the database refused: {0}")]
    Other(String),
}

impl StoreError {
    /// Whether the same call may succeed later without anybody changing anything.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt(what.into())
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match error {
            E::Io(e) => Self::Unavailable(e.kind().to_string()),
            E::Tls(_) => Self::Unavailable("the TLS handshake failed".into()),
            E::PoolTimedOut => Self::Unavailable("no connection within the time limit".into()),
            E::PoolClosed => Self::Unavailable("the store is closed".into()),
            E::WorkerCrashed => Self::Unavailable("the database worker ended".into()),
            E::RowNotFound => Self::NotFound("row".into()),
            // The sources of these print stored values.
            E::ColumnDecode { index, .. } => Self::Corrupt(format!("column {index}")),
            E::Decode(_) => Self::Corrupt("a column".into()),
            E::Database(e) => driver::classify(e.as_ref()),
            E::Configuration(_) => Self::Other("the database URL is not usable".into()),
            E::ColumnNotFound(name) => Self::Corrupt(format!("no column {name}")),
            E::Protocol(_) => Self::Unavailable("the connection broke in mid-conversation".into()),
            _ => Self::Other("an error of the database driver".into()),
        }
    }
}
