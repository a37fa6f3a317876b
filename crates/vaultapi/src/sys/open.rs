//! What can be asked without a token: whether there is a vault, whether it is sealed, and to open it.

use crate::{
    answer::Answer,
    error::{ApiError, Result},
    request::{Request, Verb},
    serve::anonymous,
    state::{Inner, VERSION},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use credentialflow_identity::{Auth, wiped::Buffer};
use credentialflow_model::SecretValue;
use credentialflow_secrets::fields;
use credentialflow_vault::{
    NewSeal, SealInput, Vault, VaultError,
    seal::{
        attempts::AttemptError,
        shamir::Quorum,
        share::{Share, ShareError},
    },
};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Whether [`answer`] answers.
pub(crate) fn is_open(request: &Request) -> bool {
    let path = request.path.strip_prefix("sys/").map(|path| path.trim_end_matches('/'));
    matches!(path, Some("health" | "init" | "seal-status" | "unseal" | "leader"))
}

pub(crate) async fn answer(api: &Inner, request: &Request) -> Result<Answer> {
    let path = request.path.strip_prefix("sys/").unwrap_or_default().trim_end_matches('/');
    match (path, request.verb) {
        ("health", Verb::Read) => health(api, request),
        ("init", Verb::Read) => Ok(Answer::raw(json!({ "initialized": api.ready().is_some() }))),
        ("init", Verb::Write) => init(api, request).await,
        ("seal-status", Verb::Read) => status(api).map(Answer::raw),
        ("unseal", Verb::Write) => unseal(api, request).await,
        ("leader", Verb::Read) => leader(api),
        _ => Err(ApiError::unsupported_operation()),
    }
}

/// The status tells what there is to tell: 200 open, 503 sealed, 501 not initialised; a caller may ask
/// for others.
fn health(api: &Inner, request: &Request) -> Result<Answer> {
    let ready = api.ready();
    let sealed = ready.as_ref().is_none_or(|r| r.vault.is_sealed());
    let (name, usual) = match &ready {
        None => ("uninitcode", 501),
        Some(_) if sealed => ("sealedcode", 503),
        Some(_) => ("activecode", 200),
    };
    let status = fields::integer(&request.query, name)?.unwrap_or(usual);
    let status = u16::try_from(status).ok().filter(|s| (200..600).contains(s));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    Ok(Answer::raw(json!({
        "initialized": ready.is_some(),
        "sealed": sealed,
        "standby": false,
        "performance_standby": false,
        "replication_performance_mode": "disabled",
        "replication_dr_mode": "disabled",
        "server_time_utc": now,
        "version": VERSION,
    }))
    .with_status(status.ok_or_else(|| ApiError::invalid("a status code is a number from 200 to 599"))?))
}

fn leader(api: &Inner) -> Result<Answer> {
    if api.ready().is_none_or(|r| r.vault.is_sealed()) {
        return Err(ApiError::sealed());
    }
    Ok(Answer::raw(json!({
        "ha_enabled": false,
        "is_self": false,
        "leader_address": "",
        "leader_cluster_address": "",
        "performance_standby": false,
        "performance_standby_last_remote_wal": 0,
    })))
}

/// What everybody may know about the seal.
pub(crate) fn status(api: &Inner) -> Result<Value> {
    let Some(ready) = api.ready() else {
        return Ok(json!({
            "type": "shamir", "initialized": false, "sealed": true, "t": 0, "n": 0, "progress": 0, "nonce": "",
            "version": VERSION, "build_date": "", "migration": false, "recovery_seal": false, "storage_type": "database",
        }));
    };
    let seal = ready.vault.seal_status()?;
    Ok(json!({
        "type": seal.method,
        "initialized": true,
        "sealed": seal.sealed,
        "t": seal.quorum.threshold,
        "n": seal.quorum.shares,
        "progress": seal.progress,
        "nonce": seal.nonce.unwrap_or_default(),
        "version": VERSION,
        "build_date": "",
        "migration": false,
        "recovery_seal": false,
        "storage_type": "database",
    }))
}

/// Makes the vault of an empty store. Its shares, the first token and the administrator's token are shown
/// here and never again.
async fn init(api: &Inner, request: &Request) -> Result<Answer> {
    let _one = api.initializing.lock().await;
    if api.ready().is_some() {
        return Err(ApiError::invalid("Vault is already initialized"));
    }
    for name in ["pgp_keys", "root_token_pgp_key", "recovery_shares", "recovery_threshold", "stored_shares"] {
        let asked = request
            .data
            .get(name)
            .is_some_and(|v| !v.is_null() && *v != json!(0) && *v != json!([]) && *v != json!(""));
        if asked {
            return Err(ApiError::invalid(format!("{name} is not offered")));
        }
    }
    let number = |name: &str| -> Result<u8> {
        let given = fields::integer(&request.data, name)?.unwrap_or(0);
        u8::try_from(given).ok().filter(|n| *n > 0).ok_or_else(|| ApiError::invalid(format!("{name} must be 1 to 255")))
    };
    let quorum = Quorum { shares: number("secret_shares")?, threshold: number("secret_threshold")? };
    api.store.migrate().await?;
    let made = Vault::init(&api.store, &anonymous(request), NewSeal::Shares(quorum)).await?;
    // From here on the vault is there for good: what follows may fail, but must not take the shares with it.
    let root = first_token(api, request, &made.vault).await;
    made.vault.seal();
    // Only now may the rest of the server look at it: it would find a vault that is sealed under its hands.
    api.initialized.send_replace(true);
    let mut told = shown(&made.shares);
    told["recovery_keys"] = Value::Null;
    told["recovery_keys_base64"] = Value::Null;
    told["admin_token"] = made.admin_token.expose_str().into();
    match root {
        Ok(root) => told["root_token"] = root.client_token.expose_str().into(),
        Err(error) => {
            tracing::error!(error = error.text, "the vault was made, but not its first token");
            told["root_token"] = "".into();
            told["warnings"] =
                json!(["The vault was made, but not its first token. Keep these keys, start the server again \
                                       and make a token with the administrator's."]);
        }
    }
    Ok(Answer::raw(told))
}

async fn first_token(api: &Inner, request: &Request, vault: &Vault) -> Result<Auth> {
    api.attach(vault.clone()).await?;
    let ready = api.ready().ok_or_else(ApiError::sealed)?;
    ready.is_open().await?;
    Ok(ready.identity.create_root_token(anonymous(request), None).await?)
}

/// Shares as they are shown once: `keys` and `keys_base64`. Moved into the value, not copied.
pub(crate) fn shown(shares: &[SecretValue]) -> Value {
    let bytes: Vec<SecretValue> = shares.iter().filter_map(bytes_of).collect();
    let mut told = json!({});
    told["keys"] = Value::Array(bytes.iter().map(|b| Value::String(hex(b))).collect());
    told["keys_base64"] = Value::Array(bytes.iter().map(|b| Value::String(STANDARD.encode(b.expose()))).collect());
    told
}

async fn unseal(api: &Inner, request: &Request) -> Result<Answer> {
    let ready = api.ready().ok_or_else(|| ApiError::invalid("Vault is not initialized"))?;
    if fields::boolean(&request.data, "reset")?.unwrap_or(false) {
        ready.vault.reset_unseal();
        return status(api).map(Answer::raw);
    }
    let key = fields::text(&request.data, "key")?.filter(|k| !k.is_empty()).map(SecretValue::from);
    let key = key
        .ok_or_else(|| ApiError::invalid("'key' must be specified in request body as JSON, or 'reset' set to true"))?;
    // An open vault does not look at the key: nothing can be tried out on it.
    if ready.vault.is_sealed() {
        // A vault that is sealed by a passphrase is opened by it.
        let input = match ready.vault.seal_method()? {
            "passphrase" => SealInput::Passphrase(key),
            _ => SealInput::Shares(vec![read_share(&key).map_err(|e| ApiError::invalid(e.to_string()))?]),
        };
        match ready.vault.attempt_unseal(request.source, input).await {
            Ok(_)
            | Err(AttemptError::Unsealed | AttemptError::Vault(VaultError::Share(ShareError::Repeated { .. }))) => {}
            Err(other) => return Err(other.into()),
        }
    }
    ready.is_open().await?;
    status(api).map(Answer::raw)
}

/// A share as Vault's clients hand it in (hexadecimal or base64), or as our own command line shows it.
pub(crate) fn read_share(key: &SecretValue) -> Result<Share, ShareError> {
    let text = key.expose_str().unwrap_or_default().trim();
    if let Some(bytes) = unhex(text) {
        return Share::from_bytes(bytes.expose());
    }
    match STANDARD.decode(text) {
        Ok(bytes) => Share::from_bytes(SecretValue::new(bytes).expose()),
        Err(_) => Share::parse(text),
    }
}

/// The bytes of a share shown as text.
fn bytes_of(share: &SecretValue) -> Option<SecretValue> {
    Share::parse(share.expose_str()?).ok().map(|s| s.to_bytes())
}

fn hex(bytes: &SecretValue) -> String {
    use std::fmt::Write;
    bytes.expose().iter().fold(String::with_capacity(2 * bytes.len()), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

fn unhex(text: &str) -> Option<SecretValue> {
    let even = !text.is_empty() && text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit());
    let digits = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    if !even {
        return None;
    }
    let mut bytes = Buffer::new(text.len() / 2);
    for at in (0..text.len()).step_by(2) {
        bytes.push(&[digits(at)?]);
    }
    Some(bytes.into())
}
