//! What this room refuses and why, in the statuses HashiCorp Vault's clients know.
//!
//! No message repeats a token, a password, a secret id or says which part of one was wrong.

use credentialflow_store::StoreError;
use credentialflow_vault::VaultError;
use std::borrow::Cow;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The request cannot be carried out as it is; the text tells the caller why. Status 400.
    #[error("{0}")]
    Invalid(Cow<'static, str>),
    /// What was shown as proof at a login is not accepted; does not say why. Status 400, as Vault's.
    #[error("{0}")]
    Rejected(&'static str),
    /// Somebody else changed the same thing at the same moment. Status 400.
    #[error("somebody else changed this at the same moment; try again")]
    Conflict,
    /// The caller may not do this, or is nobody we know. Status 403.
    #[error("{0}")]
    Denied(&'static str),
    /// There is no such thing. Status 404.
    #[error("{0}")]
    NotFound(Cow<'static, str>),
    /// The path does not know this operation. Status 405.
    #[error("unsupported operation")]
    Unsupported,
    /// Too many attempts; later it may work. Status 429.
    #[error("{0}")]
    TooMany(&'static str),
    /// Somebody else's server, which we asked, did not give what was needed. Status 400, as Vault's.
    #[error("{0}")]
    Remote(Cow<'static, str>),
    /// The vault is sealed. Status 503.
    #[error("the vault is sealed")]
    Sealed,
    /// The database is away; trying again may help. Status 503.
    #[error("the database is not available")]
    Unavailable,
    /// A fault of this program or of stored data; the text is for the log, not for the caller. Status 500.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What functions here give back.
pub type Result<T, E = IdentityError> = std::result::Result<T, E>;

impl IdentityError {
    /// The HTTP status Vault's clients expect for it.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Invalid(_) | Self::Remote(_) | Self::Rejected(_) | Self::Conflict => 400,
            Self::Denied(_) => 403,
            Self::NotFound(_) => 404,
            Self::Unsupported => 405,
            Self::TooMany(_) => 429,
            Self::Sealed | Self::Unavailable => 503,
            Self::Internal(_) => 500,
        }
    }

    /// A request that cannot be carried out as it is.
    pub fn invalid(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid(text.into())
    }

    /// The refusal that tells nothing.
    pub const fn denied() -> Self {
        Self::Denied("permission denied")
    }

    /// Nothing there, with nothing to say about it: Vault's empty list of errors.
    pub const fn missing() -> Self {
        Self::NotFound(Cow::Borrowed(""))
    }

    pub(crate) fn internal(text: &'static str) -> Self {
        Self::Internal(text.into())
    }
}

impl From<StoreError> for IdentityError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(_) => Self::Conflict,
            error if error.is_transient() => Self::Unavailable,
            error => Self::Internal(Box::new(error)),
        }
    }
}

impl From<VaultError> for IdentityError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Sealed => Self::Sealed,
            VaultError::NoStore => Self::Unavailable,
            VaultError::Store(error) => error.into(),
            other => Self::Internal(Box::new(other)),
        }
    }
}

impl From<aws_lc_rs::error::Unspecified> for IdentityError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::internal("the cryptographic library refused an operation")
    }
}
