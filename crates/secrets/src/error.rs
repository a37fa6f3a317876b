//! What this room refuses and why, in the statuses HashiCorp Vault's clients know.
//!
//! No message repeats a value that was sent or stored.

use credentialflow_store::StoreError;
use credentialflow_vault::VaultError;
use std::borrow::Cow;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The request cannot be carried out as it is; the text tells the caller why. Status 400.
    #[error("{0}")]
    Invalid(Cow<'static, str>),
    /// The caller may not do this. Status 403.
    #[error("{0}")]
    Denied(Cow<'static, str>),
    /// There is nothing there. Status 404 with an empty list of errors.
    #[error("not found")]
    NotFound,
    /// The path does not know this operation. Status 405.
    #[error("unsupported operation")]
    Unsupported,
    /// The path is not one this engine knows. Status 404.
    #[error("unsupported path")]
    UnknownPath,
    /// Too much at once; later it may work. Status 429.
    #[error("{0}")]
    Busy(Cow<'static, str>),
    /// Another request changed the same rows first; nothing was done. Run again.
    #[error("another request was first")]
    Raced,
    /// The vault is sealed. Status 503.
    #[error("Vault is sealed")]
    Sealed,
    /// The database is away; trying again may help. Status 503.
    #[error("the database is not available")]
    Unavailable,
    /// A fault of this program or of stored data; the text is for the log, not for the caller. Status 500.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What functions here give back.
pub type Result<T, E = SecretsError> = std::result::Result<T, E>;

impl SecretsError {
    /// A request that cannot be carried out as it is.
    pub fn invalid(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid(text.into())
    }

    /// Stored data that does not read as what it should be.
    pub fn corrupt(what: &'static str) -> Self {
        Self::Internal(format!("the stored {what} cannot be read").into())
    }
}

impl From<StoreError> for SecretsError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(_) => Self::Raced,
            StoreError::Unavailable(_) => Self::Unavailable,
            other => Self::Internal(Box::new(other)),
        }
    }
}

impl From<VaultError> for SecretsError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Sealed => Self::Sealed,
            VaultError::NoStore | VaultError::SealsExhausted => Self::Unavailable,
            VaultError::Store(error) => error.into(),
            other => Self::Internal(Box::new(other)),
        }
    }
}
