//! Leases: looked up, listed, renewed, revoked.

use super::Context;
use crate::{
    answer::{Answer, Lease},
    error::{ApiError, Result},
    request::Verb,
    serve::{detail, subject, txn},
};
use credentialflow_secrets::fields;
use serde_json::json;

/// `sys/leases/…`, and the older `sys/renew` and `sys/revoke…`.
pub(super) async fn answer(cx: &Context<'_>, path: &str) -> Result<Answer> {
    let (what, rest) = path.split_once('/').unwrap_or((path, ""));
    match (what, cx.request.verb) {
        ("lookup", Verb::List) => Answer::keys(cx.ready.leases.list(rest).await?),
        ("lookup", Verb::Write) => lookup(cx, rest).await,
        ("renew", Verb::Write) => renew(cx, rest).await,
        ("revoke", Verb::Write) => revoke(cx, rest).await,
        ("revoke-prefix", Verb::Write) => {
            cx.ready.leases.revoke_prefix(&cx.caller.actor(), whole(rest)?).await?;
            recorded(cx, "lease.revoke_prefix").await
        }
        ("revoke-force", Verb::Write) => {
            cx.ready.leases.forget(&cx.caller.actor(), whole(rest)?).await?;
            recorded(cx, "lease.revoke_force").await
        }
        ("lookup" | "renew" | "revoke" | "revoke-prefix" | "revoke-force", _) => Err(ApiError::unsupported_operation()),
        _ => Err(ApiError::unsupported_path()),
    }
}

/// An empty prefix would mean everything.
fn whole(prefix: &str) -> Result<&str> {
    if prefix.is_empty() { Err(ApiError::invalid("a prefix is needed")) } else { Ok(prefix) }
}

fn id(cx: &Context<'_>, rest: &str) -> Result<String> {
    let given = fields::text(&cx.request.data, "lease_id")?.filter(|id| !id.is_empty());
    given
        .or_else(|| Some(rest.to_owned()).filter(|id| !id.is_empty()))
        .ok_or_else(|| ApiError::invalid("missing lease_id"))
}

async fn lookup(cx: &Context<'_>, rest: &str) -> Result<Answer> {
    let told = cx.ready.leases.lookup(&id(cx, rest)?).await?.ok_or_else(|| ApiError::invalid("invalid lease"))?;
    Ok(Answer::data(json!({
        "id": told.id,
        "issue_time": told.issued.to_string(),
        "expire_time": told.expires.map(|t| t.to_string()),
        "last_renewal": told.renewed.map(|t| t.to_string()),
        "renewable": told.renewable,
        "ttl": told.ttl,
    })))
}

async fn renew(cx: &Context<'_>, rest: &str) -> Result<Answer> {
    let increment = fields::seconds(&cx.request.data, "increment")?.unwrap_or(0);
    let told = cx.ready.leases.renew(&cx.caller.actor(), &id(cx, rest)?, increment).await?;
    let told = told.ok_or_else(|| ApiError::invalid("lease not found"))?;
    let lease = Lease { id: told.id, renewable: told.renewable, duration: told.ttl };
    Ok(Answer { lease, status: Some(200), ..Answer::default() })
}

async fn revoke(cx: &Context<'_>, rest: &str) -> Result<Answer> {
    // A lease that is not there is revoked already.
    cx.ready.leases.revoke(&cx.caller.actor(), &id(cx, rest)?).await?;
    Ok(Answer::empty())
}

/// That it was asked for, also where nothing was found.
async fn recorded(cx: &Context<'_>, action: &str) -> Result<Answer> {
    let mut txn = txn(cx.ready, cx.caller);
    txn.audit(action, &subject(cx.request), detail(cx.request));
    txn.commit().await?;
    Ok(Answer::empty())
}
