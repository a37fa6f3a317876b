//! Refusals, in the form and with the statuses that Vault's clients know.

use crate::parse::Unreadable;
use credentialflow_identity::IdentityError;
use credentialflow_secrets::SecretsError;
use credentialflow_store::StoreError;
use credentialflow_vault::{VaultError, seal::attempts::AttemptError};

/// Why a request was not carried out: a status and what the caller is told.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub status: u16,
    /// Empty: an empty list of errors.
    pub text: String,
    /// Another request was first; the same request may simply be run again.
    pub raced: bool,
}

pub(crate) type Result<T, E = ApiError> = std::result::Result<T, E>;

impl ApiError {
    pub(crate) fn new(status: u16, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), raced: false }
    }

    /// The request cannot be carried out as it is.
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::new(400, text)
    }

    pub(crate) fn denied() -> Self {
        Self::new(403, "permission denied")
    }

    /// Nothing is there.
    pub(crate) fn missing() -> Self {
        Self::new(404, "")
    }

    pub(crate) fn no_handler(path: &str) -> Self {
        let path = crate::parse::shown(path);
        Self::new(404, format!("no handler for route {path:?}. route entry not found."))
    }

    pub(crate) fn unsupported_path() -> Self {
        Self::new(404, "unsupported path")
    }

    pub(crate) fn unsupported_operation() -> Self {
        Self::new(405, "unsupported operation")
    }

    pub(crate) fn sealed() -> Self {
        Self::new(503, "Vault is sealed")
    }

    fn unavailable() -> Self {
        Self::new(503, "the database is not available; try again")
    }

    fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = %chain(error), "a request of the run-time API failed by a fault of ours");
        Self::new(500, "internal error")
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

impl From<Unreadable> for ApiError {
    fn from(error: Unreadable) -> Self {
        match error {
            Unreadable::Invalid(text) => Self::invalid(text),
            Unreadable::Method => Self::new(405, ""),
        }
    }
}

impl From<SecretsError> for ApiError {
    fn from(error: SecretsError) -> Self {
        match error {
            SecretsError::Invalid(text) => Self::invalid(text),
            SecretsError::Denied(text) => Self::new(403, text),
            SecretsError::NotFound => Self::missing(),
            SecretsError::Unsupported => Self::unsupported_operation(),
            SecretsError::UnknownPath => Self::unsupported_path(),
            SecretsError::Busy(text) => Self::new(429, text),
            SecretsError::Raced => {
                Self { raced: true, ..Self::new(503, "others were first again and again; try again") }
            }
            SecretsError::Sealed => Self::sealed(),
            SecretsError::Unavailable => Self::unavailable(),
            other @ SecretsError::Internal(_) => Self::internal(&other),
        }
    }
}

impl From<IdentityError> for ApiError {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Sealed => Self::sealed(),
            IdentityError::Unavailable => Self::unavailable(),
            IdentityError::Conflict => SecretsError::Raced.into(),
            IdentityError::Internal(_) => Self::internal(&error),
            told => Self::new(told.status(), told.to_string()),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::unavailable(),
            StoreError::Conflict(_) => SecretsError::Raced.into(),
            other => Self::internal(&other),
        }
    }
}

impl From<AttemptError> for ApiError {
    fn from(error: AttemptError) -> Self {
        match error {
            AttemptError::TooMany { .. } => Self::new(429, error.to_string()),
            AttemptError::Busy => Self::new(503, error.to_string()),
            AttemptError::Unsealed => Self::invalid(error.to_string()),
            AttemptError::Vault(error) => error.into(),
        }
    }
}

impl From<VaultError> for ApiError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Sealed => Self::sealed(),
            VaultError::NoStore | VaultError::SealsExhausted => Self::unavailable(),
            VaultError::Store(error) => error.into(),
            told @ (VaultError::Share(_)
            | VaultError::Unseal
            | VaultError::OtherSealMethod { .. }
            | VaultError::SealSettings
            | VaultError::RekeyRunning
            | VaultError::RekeyStep
            | VaultError::NoRekey
            | VaultError::AlreadyInitialized) => Self::invalid(told.to_string()),
            other => Self::internal(&other),
        }
    }
}
