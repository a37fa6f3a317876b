//! What is handed in to open the vault, or to show that one could: read, and answered.
//!
//! The attempt itself is the vault's (`seal::attempts`): one at a time, slowed down, and recorded.

use crate::{
    auth,
    error::{ApiError, Code},
    secret::SecretText,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use credentialflow_model::{Actor, ActorKind, SecretValue};
use credentialflow_vault::{
    SealInput, VaultError,
    seal::{attempts::AttemptError, share::Share},
};
use std::net::IpAddr;

/// The person who hands something in; not known by name.
pub(crate) fn operator(source: IpAddr) -> Actor {
    Actor { kind: ActorKind::Operator, name: "operator".to_owned(), source: Some(source.to_string()) }
}

/// Why an attempt was not made or failed, as this API tells it.
pub(crate) fn told(error: AttemptError) -> ApiError {
    match error {
        AttemptError::TooMany { seconds } => auth::too_many(seconds),
        AttemptError::Busy => ApiError::new(Code::TooManyFailures, error.to_string()).retry_after(1),
        AttemptError::Unsealed => ApiError::new(Code::Conflict, error.to_string()),
        AttemptError::Vault(error) => error.into(),
    }
}

/// What was handed in, for a seal of this method. Nothing at all lets the server ask the key service.
/// A vault of the development variable takes its content as passphrase.
pub(crate) fn input(
    method: &str,
    share: Option<SecretText>,
    passphrase: Option<SecretText>,
    key: Option<SecretText>,
) -> Result<SealInput, ApiError> {
    let invalid = |text: &str| ApiError::new(Code::InvalidRequest, text);
    match (share, passphrase, key) {
        (Some(share), None, None) => {
            let text = share.0.expose_str().ok_or_else(|| invalid("a share is text"))?;
            Ok(SealInput::Shares(vec![Share::parse(text).map_err(VaultError::Share)?]))
        }
        (None, Some(passphrase), None) if method == "environment" => Ok(SealInput::Environment(passphrase.0)),
        (None, Some(passphrase), None) => Ok(SealInput::Passphrase(passphrase.0)),
        (None, None, Some(key)) => match STANDARD.decode(key.0.expose()) {
            Ok(bytes) => Ok(SealInput::Key(SecretValue::new(bytes))),
            Err(_) => Err(invalid("the key is not base64")),
        },
        (None, None, None) if matches!(method, "aws_kms" | "transit") => Ok(SealInput::External),
        (None, None, None) => {
            Err(invalid(&format!("this vault is unsealed by {method}: hand in a share, the passphrase or the key")))
        }
        _ => Err(invalid("hand in share, passphrase or key, one of them")),
    }
}
