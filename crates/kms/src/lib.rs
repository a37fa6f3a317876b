//! The systems that may hold the key above the root key: AWS KMS, and the transit engine of HashiCorp
//! Vault or OpenBao. One file per system; both wrap and unwrap 32 bytes over HTTPS.
//!
//! Where a system is and what lets us in comes from the process's environment alone, by the names its
//! own tools use, so that nobody who may change the vault's seal can have credentials sent elsewhere.
//! Addresses where clouds keep their machines' own credentials are never asked.
//! Knows nothing about what the 32 bytes are for. Not supported: credentials of AWS from instance
//! metadata, web identities or profiles; Vault's other login methods than a token.

mod aws;
mod http;
mod settings;
mod transit;

pub use settings::{AwsSettings, KeyServiceSettings, SettingsError, TransitSettings};

use credentialflow_model::SecretValue;
use credentialflow_vault::seal::external::{ExternalKey, KeyFuture, KeyService, KeyServiceError};

/// The key services this process has access to.
pub struct KeyServices {
    http: http::Http,
    settings: KeyServiceSettings,
}

impl std::fmt::Debug for KeyServices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyServices")
            .field("aws", &self.settings.aws.is_some())
            .field("transit", &self.settings.transit.is_some())
            .finish()
    }
}

impl KeyServices {
    /// With what the environment says.
    pub fn from_environment() -> Result<Self, SettingsError> {
        Self::new(KeyServiceSettings::from_variables(|name| std::env::var(name).ok())?)
    }

    /// With these settings.
    pub fn new(settings: KeyServiceSettings) -> Result<Self, SettingsError> {
        let http = http::Http::new(settings.certificates.as_deref(), settings.guard())?;
        Ok(Self { http, settings })
    }

    fn aws(&self) -> Result<&AwsSettings, KeyServiceError> {
        let missing = "no credentials for AWS: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
        self.settings.aws.as_ref().ok_or_else(|| KeyServiceError::Refused(missing.to_owned()))
    }

    fn transit(&self) -> Result<&TransitSettings, KeyServiceError> {
        let missing = "no transit server: set BAO_ADDR and BAO_TOKEN, or VAULT_ADDR and VAULT_TOKEN";
        self.settings.transit.as_ref().ok_or_else(|| KeyServiceError::Refused(missing.to_owned()))
    }
}

impl KeyService for KeyServices {
    fn wrap<'a>(&'a self, key: &'a ExternalKey, plain: &'a SecretValue) -> KeyFuture<'a, Vec<u8>> {
        Box::pin(async move {
            match key {
                ExternalKey::AwsKms { key_id, region } => {
                    aws::encrypt(&self.http, self.aws()?, region, key_id, plain).await
                }
                ExternalKey::Transit { mount, key, namespace } => {
                    let place = transit::Place { mount, key, namespace: namespace.as_deref() };
                    transit::encrypt(&self.http, self.transit()?, place, plain).await
                }
            }
        })
    }

    fn unwrap<'a>(&'a self, key: &'a ExternalKey, wrapped: &'a [u8]) -> KeyFuture<'a, SecretValue> {
        Box::pin(async move {
            match key {
                ExternalKey::AwsKms { key_id, region } => {
                    aws::decrypt(&self.http, self.aws()?, region, key_id, wrapped).await
                }
                ExternalKey::Transit { mount, key, namespace } => {
                    let place = transit::Place { mount, key, namespace: namespace.as_deref() };
                    transit::decrypt(&self.http, self.transit()?, place, wrapped).await
                }
            }
        })
    }
}
