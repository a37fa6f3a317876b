//! What is handed in to open the vault, or to show that one could: read, slowed down, and recorded.
//!
//! No token can be checked while the vault is sealed, and the holders of shares need not be
//! administrators: what is handed in is the proof. Failures count against their source like failed
//! sign-ins, one attempt runs at a time (it is slow on purpose), and refused ones are in the audit log.

use crate::{
    AdminState,
    auth::{self},
    error::{ApiError, Code},
    secret::SecretText,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use credentialflow_model::{Actor, ActorKind, SecretValue};
use credentialflow_vault::{SealInput, VaultError, seal::share::Share};
use serde_json::json;
use std::{future::Future, net::IpAddr};
use tokio::sync::Semaphore;

/// Attempts wait for one another: each costs memory and time by design.
static ATTEMPTS: Semaphore = Semaphore::const_new(1);

/// The person who hands something in; not known by name.
pub(crate) fn operator(source: IpAddr) -> Actor {
    Actor { kind: ActorKind::Operator, name: "operator".to_owned(), source: Some(source.to_string()) }
}

/// One attempt. What does not open counts as a failure of its source, and is recorded as `action`.
pub(crate) async fn attempt<T>(
    state: &AdminState,
    source: IpAddr,
    action: &str,
    work: impl Future<Output = Result<T, VaultError>>,
) -> Result<T, ApiError> {
    let _one_at_a_time = ATTEMPTS.acquire().await;
    if let Some(seconds) = state.throttle.wait(source, state.now()) {
        return Err(auth::too_many(seconds));
    }
    let error = match work.await {
        Ok(done) => return Ok(done),
        Err(error) => error,
    };
    let guess = matches!(
        error,
        VaultError::Unseal | VaultError::OtherSealMethod { .. } | VaultError::Share(_) | VaultError::NoRekey
    );
    if guess {
        let failures = state.throttle.failed(source, state.now());
        tracing::warn!(%source, failures, action, "what was handed in to open the vault was refused");
        let anonymous =
            Actor { kind: ActorKind::Anonymous, name: "anonymous".to_owned(), source: Some(source.to_string()) };
        let noted = auth::note(state, &anonymous, action, "settings/vault", json!({ "failures": failures })).await;
        if let Err(error) = noted {
            tracing::error!(?error, "a refused attempt to open the vault could not be written to the audit log");
        }
    }
    Err(error.into())
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
