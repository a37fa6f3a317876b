//! Keys: the declaration here, the secrets in the vault; a secret is in the answer that makes it only.

use crate::{
    AdminState,
    api::{
        answer::Page,
        keys::{IssuedKey, KeyItem, KeySecretView, LastUse, RevokedKey},
        request::{Document, ListQuery, idempotency_key},
    },
    catalogue, delegation,
    error::{ApiError, Code},
    idempotency::{Answer, Wish},
    resources::{self, page, read, revision, taken, to_body},
    secret::ShownOnce,
    write::{begin, check_with, enforce},
};
use axum::response::{IntoResponse, Response};
use credentialflow_model::{
    Actor, Name, Period,
    leak::Quarantine,
    resource::{Credential, Engine, Key, Kind},
};
use credentialflow_store::{Expect, KeyRow, KeySecretRow, KeyUse, ResourceRow, WriteTx};
use http::{HeaderMap, StatusCode};
use serde_json::json;

fn shown(
    row: &ResourceRow,
    key: &KeyRow,
    secrets: &[KeySecretRow],
    used: Option<&KeyUse>,
) -> Result<KeyItem, ApiError> {
    let secrets = secrets.iter().map(|secret| KeySecretView {
        version: secret.version,
        state: secret.state,
        created: secret.created,
        retires: secret.retire_at,
    });
    Ok(KeyItem {
        spec: catalogue::parse(&row.body)?,
        id: key.id,
        revision: revision(row),
        created: row.created,
        updated: row.updated,
        revoked: key.revoked_at,
        quarantine: key
            .quarantine
            .as_deref()
            .map(|text| serde_json::from_str(text).unwrap_or_else(|_| Quarantine::closed())),
        delegation: None,
        secrets: secrets.collect(),
        last_use: used.map(|used| LastUse {
            time: used.last_time,
            source: Some(used.last_source.clone()).filter(|source| !source.is_empty()),
            count: used.count,
        }),
    })
}

/// The key as its transaction sees it.
pub(crate) async fn item_in(tx: &mut WriteTx, name: &Name) -> Result<KeyItem, ApiError> {
    let missing = || ApiError::not_found("keys", name.as_str());
    let row = tx.resource(Kind::Keys, name.as_str()).await?.ok_or_else(missing)?;
    let key = tx.key_by_name(name.as_str()).await?.ok_or_else(missing)?;
    let secrets = tx.key_secrets(key.id).await?;
    shown(&row, &key, &secrets, None)
}

pub(crate) async fn list(state: &AdminState, query: &ListQuery) -> Result<Page<KeyItem>, ApiError> {
    let (rows, next) = page::<Key>(state, query).await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        // Deleted between the two reads: then it is not listed.
        if let Some(record) = state.store.key_record(row.name.as_str()).await? {
            found.push((row, record));
        }
    }
    let ids: Vec<_> = found.iter().map(|(_, record)| record.key.id).collect();
    let uses = state.store.key_uses(&ids).await?;
    let items = found.iter().map(|(row, record)| {
        shown(row, &record.key, &record.secrets, uses.iter().find(|used| used.key_id == record.key.id))
    });
    Ok(Page { items: items.collect::<Result<_, _>>()?, next })
}

pub(crate) async fn get(state: &AdminState, name: &str) -> Result<KeyItem, ApiError> {
    let missing = || ApiError::not_found("keys", name);
    let row = state.store.resource(Kind::Keys, name).await?.ok_or_else(missing)?;
    let record = state.store.key_record(name).await?.ok_or_else(missing)?;
    let used = state.store.key_use(record.key.id).await?;
    let mut item = shown(&row, &record.key, &record.secrets, used.as_ref())?;
    item.delegation = delegation::view(state, record.key.id, &item.spec).await?;
    Ok(item)
}

pub(crate) async fn create(
    state: &AdminState,
    actor: &Actor,
    headers: &HeaderMap,
    body: &Document,
) -> Result<Response, ApiError> {
    let declared = read::<Key>(body)?;
    let key = &declared.resource;
    let wish = Wish::read(state, headers, "keys", &body.bytes)?;
    let mut draft = begin(state, actor).await?;
    if let Some(answer) = Wish::replay(wish.as_ref(), state, &mut draft.tx).await? {
        // It shows the secret again.
        draft.tx.audit("key.repeat", &format!("keys/{}", key.name), json!({}));
        draft.tx.commit().await?;
        enforce(state).await?;
        return Ok(answer.into_response());
    }
    if draft.tx.resource(Kind::Keys, key.name.as_str()).await?.is_some() {
        return Err(taken(key));
    }
    check_with(state, &draft.set, &declared).await?;
    let mut tx = draft.tx;
    tx.put_resource(Kind::Keys, &key.name, &to_body(key)?, Expect::Absent).await?;
    let issued = state.vault.issue_key_in(&mut tx, key, &state.settings.key_prefix).await?;
    let item = item_in(&mut tx, &key.name).await?;
    let revision = item.revision;
    let body = IssuedKey { key: item, secret: ShownOnce(issued.secret) };
    let answer = Answer::new(StatusCode::CREATED, Some(revision), &body)?;
    Wish::keep(wish.as_ref(), state, &mut tx, &answer).await?;
    tx.commit().await?;
    enforce(state).await?;
    Ok(answer.into_response())
}

/// Writes a key's declaration. The application it speaks for is also part of its identity.
pub(crate) async fn update_in(tx: &mut WriteTx, key: &Key) -> Result<(), ApiError> {
    if let Some(mut row) = tx.key_by_name(key.name.as_str()).await? {
        delegation::stays_in(tx, row.id, (&row.application, key)).await?;
        if row.application != key.application {
            row.application = key.application.clone();
            tx.update_key(&row).await?;
        }
    }
    Ok(())
}

pub(crate) async fn replace(
    state: &AdminState,
    actor: &Actor,
    name: &str,
    headers: &HeaderMap,
    body: &Document,
) -> Result<KeyItem, ApiError> {
    let hint = "create it with POST, which answers its secret";
    let mut replacement = resources::replacement_of_stored::<Key>(state, actor, name, headers, body, hint).await?;
    if replacement.changes()? {
        update_in(&mut replacement.tx, &replacement.resource).await?;
    }
    let mine = replacement.finish(state).await?;
    let mut item = get(state, name).await?;
    (item.spec, item.revision, item.updated) = (mine.spec, mine.revision, mine.updated);
    Ok(item)
}

/// Takes a key away with its secrets and with the keys that come from it, as part of a transaction; its own resource is
/// removed apart.
pub(crate) async fn delete_in(tx: &mut WriteTx, name: &str) -> Result<(), ApiError> {
    let Some(key) = tx.key_by_name(name).await? else { return delete_one_in(tx, name).await };
    for below in tx.all_keys_below(key.id).await?.iter().rev() {
        delete_one_in(tx, below.name.as_str()).await?;
        tx.delete_resources(&[(Kind::Keys, below.name.to_string())]).await?;
    }
    delete_one_in(tx, name).await
}

async fn delete_one_in(tx: &mut WriteTx, name: &str) -> Result<(), ApiError> {
    if let Some(held) = tx.resource(Kind::Credentials, name).await?
        && catalogue::parse::<Credential>(&held.body)?.engine == Engine::Key
    {
        let detail = format!("the secret of key {name} is held by credentials/{name}");
        return Err(ApiError::new(Code::Conflict, detail).hint("delete that credential first"));
    }
    if let Some(key) = tx.key_by_name(name).await? {
        tx.delete_key(key.id).await?;
        tx.end_delegation(key.id).await?;
        tx.audit("key.delete", &format!("keys/{name}"), json!({ "key_id": key.id }));
    }
    Ok(())
}

pub(crate) async fn delete(
    state: &AdminState,
    actor: &Actor,
    name: &str,
    headers: &HeaderMap,
) -> Result<StatusCode, ApiError> {
    let mut tx = resources::deletion::<Key>(state, actor, name, headers).await?;
    delete_in(&mut tx, name).await?;
    tx.delete_resource(Kind::Keys, name, Expect::Anything).await?;
    tx.commit().await?;
    enforce(state).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn parse_name(name: &str) -> Result<Name, ApiError> {
    name.parse().map_err(|_| ApiError::not_found("keys", name))
}

pub(crate) async fn rotate(
    state: &AdminState,
    actor: &Actor,
    name: &str,
    headers: &HeaderMap,
    overlap: Option<Period>,
) -> Result<Response, ApiError> {
    let parsed = parse_name(name)?;
    let request = format!("keys/{name}/rotate {}", overlap.map(|overlap| overlap.to_string()).unwrap_or_default());
    let wish = idempotency_key(headers)?.map(|key| state.vault.idempotency(key, request.as_bytes())).transpose()?;
    let prefix = &state.settings.key_prefix;
    let issued = state.vault.rotate_key(actor, &parsed, prefix, overlap, wish.as_ref()).await?;
    enforce(state).await?;
    let body = IssuedKey { key: get(state, name).await?, secret: ShownOnce(issued.secret) };
    Ok(Answer::new(StatusCode::OK, None, &body)?.into_response())
}

pub(crate) async fn revoke(state: &AdminState, actor: &Actor, name: &str) -> Result<RevokedKey, ApiError> {
    let keys_ended = state.vault.revoke_key(actor, &parse_name(name)?).await?;
    let published = enforce(state).await?;
    Ok(RevokedKey { key: get(state, name).await?, keys_ended, published })
}
