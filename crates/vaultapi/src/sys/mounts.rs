//! Mounting, tuning, moving and unmounting secret engines and auth methods.

use super::Context;
use crate::{
    answer::Answer,
    error::{ApiError, Result},
    request::Verb,
    serve::{detail, subject, txn},
};
use credentialflow_identity::method;
use credentialflow_model::Timestamp;
use credentialflow_secrets::{
    Mount, SecretsError, Txn,
    engine::Engine,
    fields,
    mounts::{Side, normal},
    uuid,
};
use serde_json::{Map, Value, json};

/// How long an engine makes no logins, and an auth method lets nobody log in, while it is unmounted or moved,
/// microseconds; only a crash lets it end.
const CLOSED: i64 = 10 * 60 * 1_000_000;
/// The longest lifetime a mount can give, seconds: 100 years. What ends later than time is written has no end.
const LONGEST_TTL: i64 = 100 * 365 * 24 * 3600;
/// Where finished moves are told from.
const SPACE: &str = "sys";

pub(super) async fn list(cx: &Context<'_>, side: Side) -> Result<Answer> {
    cx.only(&[Verb::Read])?;
    let table = cx.ready.mounts.table(&mut txn(cx.ready, cx.caller)).await?;
    let all: Map<String, Value> = table.side(side).values().map(|m| (m.path.clone(), describe(side, m))).collect();
    Ok(Answer::flat(Value::Object(all)))
}

/// `sys/mounts/PATH` and `sys/mounts/PATH/tune`, and the same of `sys/auth`.
pub(super) async fn one(cx: &Context<'_>, side: Side, path: &str) -> Result<Answer> {
    if let Some(path) = path.strip_suffix("/tune") {
        return match cx.request.verb {
            Verb::Read => tuning(cx, side, path).await,
            Verb::Write => tune(cx, side, path).await,
            _ => Err(ApiError::unsupported_operation()),
        };
    }
    match cx.request.verb {
        Verb::Read => Ok(Answer::flat(describe(side, &found(cx, side, path).await?))),
        Verb::Write => enable(cx, side, path).await,
        Verb::Delete => disable(cx, side, path).await,
        _ => Err(ApiError::unsupported_operation()),
    }
}

async fn found(cx: &Context<'_>, side: Side, path: &str) -> Result<Mount> {
    let table = cx.ready.mounts.table(&mut txn(cx.ready, cx.caller)).await?;
    let mount = table.side(side).get(&normal(path)?).cloned();
    mount.ok_or_else(|| {
        ApiError::invalid(format!("No {} engine at {path}/", if side == Side::Auth { "auth" } else { "secret" }))
    })
}

async fn enable(cx: &Context<'_>, side: Side, path: &str) -> Result<Answer> {
    let data = &cx.request.data;
    let kind = fields::text(data, "type")?.filter(|k| !k.is_empty());
    let kind = kind.ok_or_else(|| ApiError::invalid("backend type must be specified as a string"))?;
    let mut txn = txn(cx.ready, cx.caller);
    let mut mount = Mount::new(path, &kind, txn.now())?;
    mount.description = fields::text(data, "description")?.unwrap_or_default();
    mount.options = fields::texts(data, "options")?.unwrap_or_default();
    let none = Map::new();
    let config = match data.get("config") {
        None | Some(Value::Null) => &none,
        Some(Value::Object(config)) => config,
        Some(_) => return Err(ApiError::invalid("config must be an object")),
    };
    change(&mut mount, config)?;
    match side {
        Side::Secret => Engine::normalize(&mut mount)?,
        Side::Auth => drop(method::find(&mount.kind)?),
    }
    let told = json!({ "request_id": cx.request.id, "kind": mount.kind, "accessor": mount.accessor });
    cx.ready.mounts.add(&mut txn, side, mount).await?;
    txn.audit(if side == Side::Secret { "mount.enable" } else { "auth_method.enable" }, &subject(cx.request), told);
    txn.commit().await?;
    Ok(Answer::empty())
}

async fn disable(cx: &Context<'_>, side: Side, path: &str) -> Result<Answer> {
    // Nobody could withdraw its logins any more, or would think of whom it let in.
    let closed = close(cx, side, path).await?;
    let left = if closed && side == Side::Secret { has_leases(cx, path).await } else { Ok(false) };
    let done = match left {
        Ok(false) => remove(cx, side, path).await,
        Ok(true) => Err(ApiError::invalid("a login may still appear at its database: unmount again in two minutes")),
        Err(error) => Err(error),
    };
    if closed && done.is_err() {
        reopen(cx, side, path).await;
    }
    if closed && done.is_ok() && side == Side::Auth {
        // Taking everything back may have taken longer than it was closed.
        take_back(cx, side, path).await?;
    }
    done
}

/// Lets an engine make no more logins and an auth method let nobody in any more, then takes back what was given
/// out. Where that fails it goes on as before. `false`: it gives out nothing, or is not there.
async fn close(cx: &Context<'_>, side: Side, path: &str) -> Result<bool> {
    let table = cx.ready.mounts.table(&mut txn(cx.ready, cx.caller)).await?;
    let gives_out = table.side(side).get(&normal(path)?).is_some_and(|mount| match side {
        Side::Secret => Engine::of(mount).is_some_and(Engine::has_leases),
        // Tokens themselves cannot be unmounted.
        Side::Auth => mount.kind != "token",
    });
    if gives_out {
        closed(cx, side, path, true).await?;
        if let Err(error) = take_back(cx, side, path).await {
            reopen(cx, side, path).await;
            return Err(error);
        }
    }
    Ok(gives_out)
}

async fn take_back(cx: &Context<'_>, side: Side, path: &str) -> Result<()> {
    let (actor, path) = (cx.caller.actor(), normal(path)?);
    match side {
        Side::Secret => drop(cx.ready.leases.revoke_prefix(&actor, &path).await?),
        Side::Auth => drop(cx.ready.identity.revoke_prefix(&actor, &format!("auth/{path}")).await?),
    }
    Ok(())
}

/// Whether a lease is left: one of a login whose maker did not answer, or made when withdrawing took very long.
async fn has_leases(cx: &Context<'_>, path: &str) -> Result<bool> {
    Ok(!cx.ready.store.leases_by_prefix(&normal(path)?, "", 1).await?.is_empty())
}

async fn reopen(cx: &Context<'_>, side: Side, path: &str) {
    if let Err(error) = closed(cx, side, path, false).await {
        tracing::warn!(mount = path, error = error.text, "a mount gives out nothing for some minutes");
    }
}

async fn closed(cx: &Context<'_>, side: Side, path: &str, closed: bool) -> Result<()> {
    let mut txn = txn(cx.ready, cx.caller);
    let until = closed.then(|| Timestamp::from_micros(txn.now().micros().saturating_add(CLOSED)));
    cx.ready.mounts.tune(&mut txn, side, path, |mount| mount.closed_until = until).await?;
    let told = json!({ "request_id": cx.request.id, "closed": closed });
    txn.audit(if side == Side::Secret { "mount.tune" } else { "auth_method.tune" }, &subject(cx.request), told);
    txn.commit().await?;
    Ok(())
}

async fn remove(cx: &Context<'_>, side: Side, path: &str) -> Result<Answer> {
    let mut txn = txn(cx.ready, cx.caller);
    cx.ready.mounts.remove(&mut txn, side, path).await?;
    txn.audit(
        if side == Side::Secret { "mount.disable" } else { "auth_method.disable" },
        &subject(cx.request),
        detail(cx.request),
    );
    txn.commit().await?;
    Ok(Answer::empty())
}

/// Takes over what is given of a mount's settings.
fn change(mount: &mut Mount, data: &Map<String, Value>) -> Result<(), SecretsError> {
    let ttl = |name: &str| match data.get(name) {
        Some(Value::String(word)) if word == "system" => Ok(Some(0)),
        _ => match fields::seconds(data, name)?.map(|s| s.max(0)) {
            Some(seconds) if seconds > LONGEST_TTL => {
                Err(SecretsError::invalid(format!("{name} is 100 years at most")))
            }
            seconds => Ok(seconds),
        },
    };
    let tuning = &mut mount.tuning;
    if let Some(seconds) = ttl("default_lease_ttl")? {
        tuning.default_lease_ttl = seconds;
    }
    if let Some(seconds) = ttl("max_lease_ttl")? {
        tuning.max_lease_ttl = seconds;
    }
    if let Some(word) = fields::text(data, "listing_visibility")? {
        tuning.listing_visibility = word;
    }
    if let Some(word) = fields::text(data, "token_type")? {
        tuning.token_type = word;
    }
    for (name, list) in [
        ("audit_non_hmac_request_keys", &mut tuning.audit_non_hmac_request_keys),
        ("audit_non_hmac_response_keys", &mut tuning.audit_non_hmac_response_keys),
        ("passthrough_request_headers", &mut tuning.passthrough_request_headers),
        ("allowed_response_headers", &mut tuning.allowed_response_headers),
    ] {
        if let Some(given) = fields::list(data, name)? {
            *list = given;
        }
    }
    Ok(())
}

async fn tuning(cx: &Context<'_>, side: Side, path: &str) -> Result<Answer> {
    let mount = found(cx, side, path).await?;
    let mut data = config(side, &mount);
    data.insert("default_lease_ttl".into(), mount.default_ttl().into());
    data.insert("max_lease_ttl".into(), mount.max_ttl().into());
    data.insert("description".into(), mount.description.as_str().into());
    if !mount.options.is_empty() {
        data.insert("options".into(), json!(mount.options));
    }
    Ok(Answer::flat(Value::Object(data)))
}

async fn tune(cx: &Context<'_>, side: Side, path: &str) -> Result<Answer> {
    let data = &cx.request.data;
    let mut changed = found(cx, side, path).await?;
    change(&mut changed, data)?;
    if let Some(text) = fields::text(data, "description")? {
        changed.description = text;
    }
    let options = fields::texts(data, "options")?.unwrap_or_default();
    if options.get("version").is_some_and(|v| {
        Some(v) != changed.options.get("version") && (v != "1" || changed.options.contains_key("version"))
    }) {
        return Err(ApiError::invalid("the version of a key-value mount cannot be changed; mount another one"));
    }
    changed.options.extend(options);
    let mut txn = txn(cx.ready, cx.caller);
    cx.ready.mounts.tune(&mut txn, side, path, |mount| *mount = changed).await?;
    txn.audit(
        if side == Side::Secret { "mount.tune" } else { "auth_method.tune" },
        &subject(cx.request),
        detail(cx.request),
    );
    txn.commit().await?;
    Ok(Answer::empty())
}

pub(super) async fn remount(cx: &Context<'_>) -> Result<Answer> {
    cx.only(&[Verb::Write])?;
    let data = &cx.request.data;
    let named = |name: &str| fields::text(data, name).map(Option::unwrap_or_default);
    let (from, to) = (named("from")?, named("to")?);
    // A lease's id begins with the path it was asked for at; it would be lost under the new one.
    let closed = close(cx, Side::Secret, &from).await?;
    let done = relocate(cx, &from, &to).await;
    if closed && done.is_err() {
        reopen(cx, Side::Secret, &from).await;
    }
    done
}

async fn relocate(cx: &Context<'_>, from: &str, to: &str) -> Result<Answer> {
    let mut txn: Txn = txn(cx.ready, cx.caller);
    match (from.strip_prefix("auth/"), to.strip_prefix("auth/")) {
        (None, None) => cx.ready.mounts.remount(&mut txn, Side::Secret, from, to).await?,
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid("auth methods are not moved: tokens name the path they were made at"));
        }
        _ => return Err(ApiError::invalid("a secret engine stays a secret engine, an auth method an auth method")),
    }
    let id = uuid()?;
    let told = json!({ "source_mount": normal(from)?, "target_mount": normal(to)?, "status": "success" });
    txn.entries(SPACE).put_json(&format!("migrations/{id}"), &told)?;
    txn.audit("mount.move", &format!("vault/{from}"), json!({ "request_id": cx.request.id, "to": to }));
    txn.commit().await?;
    Ok(Answer::flat(json!({ "migration_id": id })))
}

/// A move is done when it is answered; clients that ask how far it is are told so.
pub(super) async fn remount_status(cx: &Context<'_>, path: &str) -> Result<Answer> {
    cx.only(&[Verb::Read])?;
    let id = path.strip_prefix("status/").ok_or_else(ApiError::unsupported_path)?;
    let mut txn = txn(cx.ready, cx.caller);
    let told: Option<Value> = txn.entries(SPACE).get_json(&format!("migrations/{id}")).await?;
    Ok(Answer::data(json!({ "migration_id": id, "migration_info": told.ok_or_else(ApiError::missing)? })))
}

/// The mounts a caller has something to do with.
pub(super) async fn visible(cx: &Context<'_>) -> Result<Answer> {
    cx.only(&[Verb::Read])?;
    let table = cx.ready.mounts.table(&mut txn(cx.ready, cx.caller)).await?;
    let of = |side: Side, root: &str| -> Map<String, Value> {
        table
            .side(side)
            .values()
            .filter(|m| cx.caller.acl().reaches(&format!("{root}{}", m.path)))
            .map(|m| (m.path.clone(), describe(side, m)))
            .collect()
    };
    Ok(Answer::data(json!({ "secret": of(Side::Secret, ""), "auth": of(Side::Auth, "auth/") })))
}

/// The mount a path lies in, for clients that must know which kind it is before they ask.
pub(super) async fn preflight(cx: &Context<'_>, path: &str) -> Result<Answer> {
    cx.only(&[Verb::Read])?;
    let table = cx.ready.mounts.table(&mut txn(cx.ready, cx.caller)).await?;
    let (side, root, below) = match path.strip_prefix("auth/") {
        Some(below) => (Side::Auth, "auth/", below),
        None => (Side::Secret, "", path),
    };
    // Not told apart: nothing mounted there, and nothing the caller has to do with.
    let refuse = || {
        ApiError::new(
            403,
            "preflight capability check returned 403, please ensure client's policies grant access to path",
        )
    };
    let (mount, _) = table.find(side, below).ok_or_else(refuse)?;
    let place = format!("{root}{}", mount.path);
    if !cx.caller.acl().reaches(&place) {
        return Err(refuse());
    }
    let mut data = describe(side, mount);
    data["path"] = place.into();
    Ok(Answer::data(data))
}

fn config(side: Side, mount: &Mount) -> Map<String, Value> {
    let tuning = &mount.tuning;
    let mut config = Map::from_iter([
        ("default_lease_ttl".to_owned(), json!(tuning.default_lease_ttl)),
        ("force_no_cache".to_owned(), json!(false)),
        ("max_lease_ttl".to_owned(), json!(tuning.max_lease_ttl)),
    ]);
    if side == Side::Auth {
        let word = if tuning.token_type.is_empty() { "default-service" } else { tuning.token_type.as_str() };
        config.insert("token_type".to_owned(), word.into());
    }
    if !tuning.listing_visibility.is_empty() {
        config.insert("listing_visibility".to_owned(), tuning.listing_visibility.as_str().into());
    }
    for (name, list) in [
        ("audit_non_hmac_request_keys", &tuning.audit_non_hmac_request_keys),
        ("audit_non_hmac_response_keys", &tuning.audit_non_hmac_response_keys),
        ("passthrough_request_headers", &tuning.passthrough_request_headers),
        ("allowed_response_headers", &tuning.allowed_response_headers),
    ] {
        if !list.is_empty() {
            config.insert(name.to_owned(), json!(list));
        }
    }
    config
}

fn describe(side: Side, mount: &Mount) -> Value {
    json!({
        "accessor": mount.accessor,
        "config": config(side, mount),
        "description": mount.description,
        "external_entropy_access": false,
        "local": false,
        "options": if mount.options.is_empty() { Value::Null } else { json!(mount.options) },
        "plugin_version": "",
        "running_plugin_version": "",
        "running_sha256": "",
        "seal_wrap": false,
        "type": mount.kind,
        "uuid": mount.uuid,
    })
}
