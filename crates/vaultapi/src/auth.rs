//! Paths below `auth/`: tokens and auth methods, answered by the identity room.

use crate::{
    answer::Answer,
    error::{ApiError, Result},
    request::{Request, Verb},
    serve::{anonymous, asked, authorize},
    state::Ready,
};
use credentialflow_identity::{self as identity, Authenticated, Call, method};
use credentialflow_secrets::{Mount, Table, mounts::Side};
use serde_json::Value;
use std::sync::Arc;

/// Whether the path is one for callers who are nobody yet.
pub(crate) async fn is_login(ready: &Ready, request: &Request) -> Result<bool> {
    let Some(below) = request.path.strip_prefix("auth/") else { return Ok(false) };
    let table = table(ready, request).await?;
    let Some((mount, path)) = table.find(Side::Auth, below) else { return Ok(false) };
    Ok(method::find(&mount.kind).is_ok_and(|found| found.is_open(path)))
}

/// A login: a path for callers who are nobody yet. `None`: it is not one.
pub(crate) async fn login(ready: &Ready, request: &Request) -> Option<Result<Answer>> {
    try_login(ready, request).await.transpose()
}

async fn try_login(ready: &Ready, request: &Request) -> Result<Option<Answer>> {
    let Some(below) = request.path.strip_prefix("auth/") else { return Ok(None) };
    let mut txn = ready.txn(anonymous(request));
    let table = ready.mounts.table(&mut txn).await?;
    let Some((mount, path)) = table.find(Side::Auth, below) else { return Ok(None) };
    let Some(found) = method::find(&mount.kind).ok().filter(|found| found.is_open(path)) else { return Ok(None) };
    if mount.closed_until.is_some_and(|until| until > txn.now()) {
        return Err(ApiError::invalid("this auth method is being unmounted"));
    }
    // Whoever is let in is let in by a mount that is still there.
    let unchanged = ready.mounts.unchanged(&mut txn, Side::Auth).await?;
    let mount = seen(mount);
    let call = Call { rests_on: Some(&unchanged), ..call(request, &mount, path, None, true) };
    Ok(Some(ready.identity.login_method(found.kind(), &call).await?.into()))
}

async fn table(ready: &Ready, request: &Request) -> Result<Arc<Table>> {
    Ok(ready.mounts.table(&mut ready.txn(anonymous(request))).await?)
}

pub(crate) async fn answer(ready: &Ready, request: &Request, caller: &Authenticated) -> Result<Answer> {
    let below = request.path.strip_prefix("auth/").unwrap_or_default();
    let table = table(ready, request).await?;
    let Some((found, path)) = table.find(Side::Auth, below) else {
        authorize(ready, request, caller, true, false)?;
        return Err(ApiError::no_handler(&request.path));
    };
    let mount = seen(found);
    let is_token = found.kind == "token";
    let question = call(request, &mount, path, Some(caller), true);
    let exists = if is_token || request.verb != Verb::Write {
        true
    } else {
        ready.identity.exists(&found.kind, &question).await?.unwrap_or(true)
    };
    let sudo = is_token && matches!(path.trim_end_matches('/'), "accessors" | "create-orphan" | "revoke-orphan");
    authorize(ready, request, caller, exists, sudo)?;
    let call = call(request, &mount, path, Some(caller), exists);
    let response = if is_token {
        ready.identity.token(&call).await
    } else {
        ready.identity.login_method(&found.kind, &call).await
    };
    // What changes something is recorded by the room that changes it, in the same transaction.
    if matches!(request.verb, Verb::Read | Verb::List) || is_question(&found.kind, path) {
        let data = response.as_ref().ok().and_then(|response| response.data.as_ref());
        let accessor = data.and_then(|data| data.get("accessor")).and_then(Value::as_str);
        let about = accessor.map(|accessor| ("accessor", accessor.to_owned()));
        return Ok(asked(ready, request, caller, "auth.read", about, response.map_err(ApiError::from)).await?.into());
    }
    let response = response?;
    if response.unchanged {
        return Ok(asked(ready, request, caller, "auth.write", None, Ok(response)).await?.into());
    }
    Ok(response.into())
}

/// Whether a path only tells something, although clients ask it with POST.
fn is_question(kind: &str, path: &str) -> bool {
    let words: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    matches!(
        (kind, words.as_slice()),
        ("token", ["lookup" | "lookup-accessor" | "lookup-self", ..])
            | ("approle", ["role", _, "secret-id" | "secret-id-accessor", "lookup"])
    )
}

fn call<'a>(
    request: &'a Request,
    mount: &'a identity::Mount,
    path: &'a str,
    caller: Option<&'a Authenticated>,
    exists: bool,
) -> Call<'a> {
    let operation = request.verb.operation(exists);
    Call {
        mount,
        operation,
        path: path.trim_end_matches('/'),
        data: &request.data,
        caller,
        presented: request.token.as_ref().and_then(|t| t.expose_str()),
        source: request.source,
        rests_on: None,
    }
}

/// A mount as the identity room sees it.
pub(crate) fn seen(mount: &Mount) -> identity::Mount {
    identity::Mount {
        id: mount.uuid.clone(),
        path: mount.path.clone(),
        accessor: mount.accessor.clone(),
        default_ttl: mount.default_ttl(),
        max_ttl: mount.max_ttl(),
    }
}
