//! Batch tokens: everything about the token, sealed, is the token.

use super::{BATCH_PREFIX, Token};
use crate::{Core, IdentityError, Result};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use credentialflow_model::SecretValue;
use credentialflow_vault::{Sealed, VaultError};

const CONTEXT: &str = "identity batch token";

/// The token that carries this.
pub(super) fn seal(core: &Core, token: &Token) -> Result<SecretValue> {
    let plain = serde_json::to_vec(token).map_err(|e| IdentityError::Internal(Box::new(e)))?;
    let sealed = core.vault.seal_blob(CONTEXT, &plain)?;
    Ok(SecretValue::from(format!("{BATCH_PREFIX}{}", URL_SAFE_NO_PAD.encode(sealed.as_bytes()))))
}

/// What a presented batch token carries; `None` when it is none of ours.
pub(super) fn open(core: &Core, presented: &str) -> Result<Option<Token>> {
    let Some(bytes) = presented.strip_prefix(BATCH_PREFIX).and_then(|rest| URL_SAFE_NO_PAD.decode(rest).ok()) else {
        return Ok(None);
    };
    let Ok(sealed) = Sealed::from_bytes(bytes) else { return Ok(None) };
    match core.vault.open_blob(CONTEXT, &sealed) {
        Ok(plain) => Ok(Some(Token::from_bytes(plain.expose())?)),
        Err(VaultError::Sealed) => Err(IdentityError::Sealed),
        Err(_) => Ok(None),
    }
}
