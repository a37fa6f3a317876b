//! Unsealing by a key that lies in another system: an AWS KMS key, or a Vault/OpenBao transit key.
//!
//! The key-encryption key is random; the other system wraps it, and only the wrapped form is kept.
//! Whoever starts the server with access to that key unseals the vault: nobody has to be there.
//! Posture: as strong as the access to the other system; its audit log shows every unsealing. Losing
//! the key there loses the vault, so keep it from being deleted.
//!
//! This file says what is asked ([`KeyService`]) and what is stored ([`ExternalKey`]); how the systems
//! are spoken to is the roof's.

use super::{Kek, random_key};
use crate::{Result, VaultError};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use credentialflow_model::SecretValue;
use serde::{Deserialize, Serialize};
use std::{future::Future, pin::Pin};
use zeroize::Zeroizing;

/// Which key. Where the system is and what it takes to be let in, the server has from its own
/// environment: nobody who may rekey can make it send its credentials elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "service", rename_all = "snake_case")]
pub enum ExternalKey {
    /// A symmetric key of AWS KMS.
    AwsKms {
        /// Key id, key ARN, alias name or alias ARN, as KMS takes it.
        key_id: String,
        /// The AWS region, as in `eu-central-1`.
        region: String,
    },
    /// A key of the transit engine of HashiCorp Vault or OpenBao.
    Transit {
        /// Where the engine is mounted, usually `transit`.
        mount: String,
        /// The key's name.
        key: String,
        /// The namespace, where there are some.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
    },
}

impl ExternalKey {
    /// The word for this way to unseal.
    pub const fn method(&self) -> &'static str {
        match self {
            Self::AwsKms { .. } => "aws_kms",
            Self::Transit { .. } => "transit",
        }
    }
}

/// Why another system did not wrap or unwrap. The text names no credential.
#[derive(Debug, thiserror::Error)]
pub enum KeyServiceError {
    /// It cannot be reached, or is busy: worth another try.
    #[error("{0}")]
    Away(String),
    /// It answered, and refused: somebody has to change something there or here.
    #[error("{0}")]
    Refused(String),
}

/// What is answered later.
pub type KeyFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, KeyServiceError>> + Send + 'a>>;

/// The other systems. The wrapped form is whatever the system gave, bound to its purpose there where
/// the system can.
pub trait KeyService: Send + Sync {
    /// Wraps 32 bytes.
    fn wrap<'a>(&'a self, key: &'a ExternalKey, plain: &'a SecretValue) -> KeyFuture<'a, Vec<u8>>;
    /// Gives the 32 bytes back.
    fn unwrap<'a>(&'a self, key: &'a ExternalKey, wrapped: &'a [u8]) -> KeyFuture<'a, SecretValue>;
}

/// What is stored: the key's place and the wrapped KEK.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    #[serde(flatten)]
    pub(super) key: ExternalKey,
    /// Base64 of what the other system gave.
    wrapped: String,
}

/// A random KEK, wrapped, and tried: a key that wraps but may not unwrap would lock everybody out.
pub(super) async fn create(service: &dyn KeyService, key: &ExternalKey) -> Result<(Settings, Kek)> {
    let kek = random_key()?;
    let wrapped = service.wrap(key, &SecretValue::new(kek.to_vec())).await?;
    let settings = Settings { key: key.clone(), wrapped: STANDARD.encode(&wrapped) };
    if *unwrap(service, &settings).await?.0 != *kek {
        return Err(VaultError::KeyService(KeyServiceError::Refused(
            "the key service gave back another key than was wrapped".to_owned(),
        )));
    }
    Ok((settings, Kek(kek)))
}

pub(super) async fn unwrap(service: &dyn KeyService, settings: &Settings) -> Result<Kek> {
    let wrapped = STANDARD.decode(&settings.wrapped).map_err(|_| VaultError::SealSettings)?;
    let plain = service.unwrap(&settings.key, &wrapped).await?;
    let mut key = Zeroizing::new([0u8; 32]);
    if plain.len() != key.len() {
        return Err(VaultError::Unseal);
    }
    key.copy_from_slice(plain.expose());
    Ok(Kek(key))
}
