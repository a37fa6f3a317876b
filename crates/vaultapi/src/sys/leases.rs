//! Leases: looked up, listed, renewed, revoked.

use super::Context;
use crate::{
    answer::{Answer, Lease},
    error::{ApiError, Result},
    request::Verb,
    serve::{detail, subject, txn},
    state::Ready,
};
use credentialflow_secrets::fields;
use credentialflow_secrets::mounts::Side;
use serde_json::{Map, Value, json};

/// Leases told in one list at most, unless asked for otherwise; Vault's.
const MOST: u32 = 10_000;

/// `sys/leases/…`, and the older `sys/renew` and `sys/revoke…`.
pub(super) async fn answer(cx: &Context<'_>, path: &str) -> Result<Answer> {
    let (what, rest) = path.split_once('/').unwrap_or((path, ""));
    match (what, cx.request.verb) {
        ("", Verb::Read) => irrevocable(cx).await,
        ("count", Verb::Read) => count(cx).await,
        ("tidy", Verb::Write) => tidy(cx).await,
        ("lookup", Verb::List) => list(cx, rest).await,
        ("lookup", Verb::Write) => lookup(cx, rest).await,
        ("renew", Verb::Write) => renew(cx, rest).await,
        ("revoke", Verb::Write) => revoke(cx, rest).await,
        ("revoke-prefix", Verb::Write) => {
            let below = below(cx.ready, whole(rest)?).await?;
            revoke_prefix(cx, &below).await?;
            recorded(cx, "lease.revoke_prefix").await
        }
        ("revoke-force", Verb::Write) => {
            let below = below(cx.ready, whole(rest)?).await?;
            cx.ready.leases.forget(&cx.caller.actor(), &below).await?;
            recorded(cx, "lease.revoke_force").await
        }
        ("" | "count" | "tidy" | "lookup" | "renew" | "revoke" | "revoke-prefix" | "revoke-force", _) => {
            Err(ApiError::unsupported_operation())
        }
        _ => Err(ApiError::unsupported_path()),
    }
}

async fn list(cx: &Context<'_>, prefix: &str) -> Result<Answer> {
    let (names, more) = cx.ready.leases.list(prefix).await?;
    let warning = more.then(|| format!("there are more: these are the first {}; ask for one of them", names.len()));
    Ok(Answer { warnings: warning.into_iter().collect(), ..Answer::keys(names)? })
}

/// Leases that could not be revoked although it was tried often, and why.
async fn irrevocable(cx: &Context<'_>) -> Result<Answer> {
    only_irrevocable(cx)?;
    let limit = match fields::text(&cx.request.data, "limit")?.as_deref() {
        None | Some("") => MOST,
        Some("none") => u32::MAX,
        Some(_) => fields::integer(&cx.request.data, "limit")?
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| *n > 0)
            .ok_or_else(|| ApiError::invalid("limit is a number above 0, or none"))?,
    };
    let found = cx.ready.leases.irrevocable(limit).await?;
    let (counts, count) = counts(cx).await?;
    let leases: Vec<Value> = found.iter().map(|t| json!({ "lease_id": t.id, "error": t.error })).collect();
    let mut data = json!({ "lease_count": count, "leases": leases });
    if count > 0 {
        data["counts"] = counts.into();
    }
    Ok(Answer::data(data))
}

/// How many of them there are, by the accessor of their mount.
async fn count(cx: &Context<'_>) -> Result<Answer> {
    only_irrevocable(cx)?;
    let (counts, count) = counts(cx).await?;
    Ok(Answer::data(json!({ "lease_count": count, "counts": counts })))
}

fn only_irrevocable(cx: &Context<'_>) -> Result<()> {
    let asked = fields::text(&cx.request.data, "type")?;
    if asked.as_deref() == Some("irrevocable") { Ok(()) } else { Err(ApiError::missing()) }
}

async fn counts(cx: &Context<'_>) -> Result<(Map<String, Value>, u64)> {
    let table = cx.ready.mounts.table(&mut txn(cx.ready, cx.caller)).await?;
    let found = cx.ready.leases.irrevocable_counts().await?;
    let sum = found.values().sum();
    let mut counts = Map::new();
    for (path, count) in found {
        // A mount that was moved keeps its leases' ids; they are counted under the old path.
        let name = table.side(Side::Secret).get(&path).map_or(path, |mount| mount.accessor.clone());
        counts.insert(name, count.into());
    }
    Ok((counts, sum))
}

/// Nothing is left to be tidied: every lease is looked at when it is due.
async fn tidy(cx: &Context<'_>) -> Result<Answer> {
    recorded(cx, "lease.tidy").await?;
    let warning = "Leases are looked at when they are due; nothing was left to be tidied.".to_owned();
    Ok(Answer { warnings: vec![warning], status: Some(202), ..Answer::default() })
}

/// An empty prefix would mean everything.
fn whole(prefix: &str) -> Result<&str> {
    if prefix.is_empty() { Err(ApiError::invalid("a prefix is needed")) } else { Ok(prefix) }
}

/// What a prefix stands for: one lease where it is the whole id of one, otherwise what is below it. `creds/app` has
/// nothing to do with `creds/app2`.
pub(crate) async fn below(ready: &Ready, prefix: &str) -> Result<String> {
    let one = ready.store.lease(prefix).await?.is_some();
    Ok(if one { prefix.to_owned() } else { format!("{}/", prefix.trim_end_matches('/')) })
}

/// Logins below `auth/` are the tokens they gave.
async fn revoke_prefix(cx: &Context<'_>, below: &str) -> Result<()> {
    let actor = cx.caller.actor();
    if below.starts_with("auth/") {
        cx.ready.identity.revoke_prefix(&actor, below).await?;
    } else {
        cx.ready.leases.revoke_prefix(&actor, below).await?;
    }
    Ok(())
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
    if cx.ready.leases.revoke(&cx.caller.actor(), &id(cx, rest)?).await? {
        return Ok(Answer::empty());
    }
    recorded(cx, "lease.revoke").await
}

/// That it was asked for, also where nothing was found.
async fn recorded(cx: &Context<'_>, action: &str) -> Result<Answer> {
    let mut txn = txn(cx.ready, cx.caller);
    txn.audit(action, &subject(cx.request), detail(cx.request));
    txn.commit().await?;
    Ok(Answer::empty())
}
