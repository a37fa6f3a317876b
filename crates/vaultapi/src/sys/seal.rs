//! Sealing, and the keyring's keys.

use super::Context;
use crate::{
    answer::Answer,
    error::{ApiError, Result},
    request::Verb,
    serve::{detail, subject, txn},
};
use serde_json::json;

/// Forgets every opened key. What the gateway holds goes on.
pub(super) async fn seal(cx: &Context<'_>) -> Result<Answer> {
    cx.only(&[Verb::Write])?;
    let mut txn = txn(cx.ready, cx.caller);
    txn.audit("vault.seal", &subject(cx.request), detail(cx.request));
    txn.commit().await?;
    cx.ready.vault.seal();
    Ok(Answer::empty())
}

pub(super) async fn rotate(cx: &Context<'_>) -> Result<Answer> {
    cx.only(&[Verb::Write])?;
    cx.ready.vault.rotate_keyring(&cx.caller.actor()).await?;
    Ok(Answer::empty())
}

pub(super) fn key_status(cx: &Context<'_>) -> Result<Answer> {
    cx.only(&[Verb::Read])?;
    let keys = cx.ready.vault.key_status()?;
    let newest = keys.iter().find(|k| k.newest).ok_or_else(ApiError::sealed)?;
    Ok(Answer::flat(json!({
        "term": newest.id,
        "install_time": newest.installed.to_string(),
        "encryptions": newest.encryptions,
    })))
}
