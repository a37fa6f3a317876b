//! What the vault refuses and why. No message ever contains a secret or says what was wrong with one.

use credentialflow_model::{Name, lifecycle::InvalidTransition};
use credentialflow_store::StoreError;

/// Why the vault did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// There is no vault in this data directory yet.
    #[error("the vault is not initialised; run `credentialflow init` first")]
    NotInitialized,
    /// `init` was asked for a second time.
    #[error("the vault is already initialised; nothing was changed")]
    AlreadyInitialized,
    /// The root key is not in memory.
    #[error("the vault is sealed; run `credentialflow unseal`")]
    Sealed,
    /// The passphrase, key file or variable does not open this vault, or its seal was changed.
    #[error("the vault cannot be unsealed with what was given")]
    Unseal,
    /// The vault was initialised with another way of unsealing.
    #[error("this vault is unsealed by {expected}, not by {given}")]
    OtherSealMethod {
        /// How it was initialised.
        expected: &'static str,
        /// What was offered.
        given: &'static str,
    },
    /// A share was mistyped, repeated, or made for another split.
    #[error(transparent)]
    Share(#[from] crate::seal::share::ShareError),
    /// Not enough shares to open anything.
    #[error("{given} of {threshold} shares were given")]
    TooFewShares {
        /// How many.
        given: usize,
        /// How many it takes.
        threshold: u8,
    },
    /// A quorum that makes no sense.
    #[error(
        "{threshold} of {shares} shares is no quorum: it takes at least 2 and at most all of up to 255 shares, or 1 of 1"
    )]
    Quorum {
        /// Shares asked for.
        shares: u8,
        /// Shares that would open the vault.
        threshold: u8,
    },
    /// The system that holds the unseal key is away or refuses.
    #[error("the key service did not open or close the seal: {0}")]
    KeyService(#[from] crate::seal::external::KeyServiceError),
    /// No rekey was begun, or another one than the caller means.
    #[error("there is no rekey with this nonce; look at its status")]
    NoRekey,
    /// A rekey is running already.
    #[error("a rekey is running already; finish or cancel it first")]
    RekeyRunning,
    /// The rekey is at another step: shares are verified after the quorum was given, not before.
    #[error("the rekey is at another step; look at its status")]
    RekeyStep,
    /// No further pepper can be added.
    #[error("there are {0} peppers already, as many as there can be")]
    TooManyPeppers(usize),
    /// The key file cannot be used.
    #[error("the key file cannot be used: {0}")]
    KeyFile(String),
    /// The seal's settings are outside what this version accepts.
    #[error("the seal's settings are outside the accepted bounds")]
    SealSettings,
    /// Sealed bytes were changed, cut, or belong to another place.
    #[error("a sealed value does not open here: it was changed or belongs to another place")]
    Tampered,
    /// A value was sealed in a way this version does not know.
    #[error("a sealed value names an unknown algorithm or format ({0})")]
    UnknownAlgorithm(u8),
    /// A value was sealed under a key this keyring does not hold.
    #[error("a sealed value names encryption key {0}, which this keyring does not hold")]
    UnknownKey(u32),
    /// Nothing may be sealed at the moment: the newest key's count could not be reserved in the store.
    #[error("no more values can be sealed until the store is reachable again")]
    SealsExhausted,
    /// The cryptographic library refused, as when the system has no randomness.
    #[error("the cryptographic library refused an operation")]
    Crypto,
    /// A secret engine refused.
    #[error(transparent)]
    Engine(#[from] crate::engine::EngineError),
    /// There is no such thing.
    #[error("there is no {kind} named {name}")]
    NotFound {
        /// `key`, `credential`, `rotation`, `version`.
        kind: &'static str,
        /// Its name or number.
        name: String,
    },
    /// It exists already.
    #[error("there is already a {kind} named {name}")]
    Exists {
        /// `key` or `credential`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A credential without a version in use.
    #[error("credential {0} has no version in use")]
    NoCurrentVersion(Name),
    /// A rotation of this credential is still running.
    #[error("a rotation of credential {0} is not finished yet")]
    RotationUnfinished(Name),
    /// The rotation is not waiting for what was decided.
    #[error("no rotation of credential {0} waits for this")]
    RotationNotWaiting(Name),
    /// The same idempotency key was used for a different request.
    #[error("this Idempotency-Key was already used for a different request")]
    IdempotencyConflict,
    /// The key was revoked; nothing can be issued for it any more.
    #[error("key {0} is revoked")]
    KeyRevoked(Name),
    /// The key's secret is held by the credential of its name, whose rotations are planned.
    #[error("the secret of key {0} is held by the credential {0}: rotate that one")]
    KeyHeld(Name),
    /// The life of a version does not allow it.
    #[error(transparent)]
    Transition(#[from] InvalidTransition),
    /// Key labels outside the grammar.
    #[error(transparent)]
    Label(#[from] credentialflow_model::key::InvalidLabel),
    /// Something stored does not read as what it should be.
    #[error("the stored {0} cannot be read")]
    Corrupt(&'static str),
    /// The vault was opened from a copy and has no store yet.
    #[error("the store is away; nothing can be changed until it is back")]
    NoStore,
    /// The store refused or is away.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<aws_lc_rs::error::Unspecified> for VaultError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Crypto
    }
}

/// What the vault's functions give back.
pub type Result<T, E = VaultError> = std::result::Result<T, E>;
