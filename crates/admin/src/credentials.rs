//! Credentials: the declaration here, the values in the vault. No function answers with a value.

use crate::{
    AdminState,
    api::{
        answer::Page,
        credentials::{CredentialItem, RevokedCredential, RotateCredential, VersionView, Versions},
        request::{Document, ListQuery},
        rotations::RotationView,
    },
    catalogue,
    error::{ApiError, Code},
    idempotency::{Answer, Wish},
    links,
    resources::{self, Declared, page, read, revision, taken, to_body},
    rotations,
    write::{begin, check_with, enforce},
};
use axum::response::{IntoResponse, Response};
use credentialflow_model::{
    Actor, Name, SecretValue,
    lifecycle::VersionState,
    resource::{Credential, Engine, Kind},
    schedule::next_rotation,
};
use credentialflow_store::{CredentialUse, CredentialVersionRow, Expect, ResourceRow, RotationRow};
use http::{HeaderMap, StatusCode};
use serde_json::json;

pub(crate) async fn list(state: &AdminState, query: &ListQuery) -> Result<Page<CredentialItem>, ApiError> {
    let (rows, next) = page::<Credential>(state, query).await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        let rotation = state.store.unfinished_rotation(row.name.as_str()).await?;
        items.push(item(state, row, rotation.as_ref()).await?);
    }
    Ok(Page { items, next })
}

pub(crate) async fn get(state: &AdminState, name: &str) -> Result<CredentialItem, ApiError> {
    let row = state.store.resource(Kind::Credentials, name).await?;
    let row = row.ok_or_else(|| ApiError::not_found("credentials", name))?;
    let rotation = state.store.unfinished_rotation(name).await?;
    item(state, &row, rotation.as_ref()).await
}

async fn item(
    state: &AdminState,
    row: &ResourceRow,
    rotation: Option<&RotationRow>,
) -> Result<CredentialItem, ApiError> {
    let versions = state.store.credential_versions(row.name.as_str()).await?;
    let uses = state.store.credential_uses(row.name.as_str()).await?;
    shown(state, row, &versions, &uses, rotation).await
}

async fn shown(
    state: &AdminState,
    row: &ResourceRow,
    versions: &[CredentialVersionRow],
    uses: &[CredentialUse],
    rotation: Option<&RotationRow>,
) -> Result<CredentialItem, ApiError> {
    let spec: Credential = catalogue::parse(&row.body)?;
    let links = links::of(state, &spec).await?;
    let current = versions.iter().find(|v| v.state == VersionState::Current);
    let next = |v: &CredentialVersionRow| next_rotation(&spec.rotation()?, &spec.name, v.promoted.unwrap_or(v.created));
    let view = match rotation {
        Some(rotation) => Some(rotations::view(state, rotation, uses).await?),
        None => None,
    };
    Ok(CredentialItem {
        rotation_due: current.and_then(next),
        spec,
        revision: revision(row),
        created: row.created,
        updated: row.updated,
        current_version: current.map(|v| v.version),
        last_used: uses.iter().map(|u| u.last_time).max(),
        rotation: view,
        access_token: state.dataplane.access_token(row.name.as_str()),
        links,
    })
}

/// The body is the declaration with `secret` beside it. The secret is set apart before anything else
/// looks at the body, so that no problem can repeat it.
fn split(body: &[u8]) -> Result<(Declared<Credential>, Option<SecretValue>), ApiError> {
    let Ok(serde_json::Value::Object(mut object)) = serde_json::from_slice(body) else {
        return Err(ApiError::new(Code::InvalidRequest, "the request's body is not a JSON object"));
    };
    let secret = match object.remove("secret") {
        None | Some(serde_json::Value::Null) => None,
        Some(serde_json::Value::String(text)) if !text.is_empty() => Some(SecretValue::from(text)),
        Some(_) => return Err(ApiError::new(Code::InvalidRequest, "the field secret must be text and not empty")),
    };
    let rest = serde_json::Value::Object(object).to_string();
    Ok((read(&Document { bytes: rest.into(), yaml: false })?, secret))
}

pub(crate) async fn create(
    state: &AdminState,
    actor: &Actor,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, ApiError> {
    let (declared, secret) = split(body)?;
    let credential = &declared.resource;
    let name = credential.name.clone();
    let wish = Wish::read(state, headers, "credentials", body)?;
    let mut draft = begin(state, actor).await?;
    if let Some(answer) = Wish::replay(wish.as_ref(), state, &mut draft.tx).await? {
        drop(draft);
        enforce(state).await?;
        return Ok(answer.into_response());
    }
    if draft.tx.resource(Kind::Credentials, name.as_str()).await?.is_some() {
        return Err(taken(credential));
    }
    check_with(state, &draft.set, &declared).await?;
    let mut tx = draft.tx;
    tx.put_resource(Kind::Credentials, &name, &to_body(credential)?, Expect::Absent).await?;
    match credential.source() {
        // Its first value is read from there as soon as this is stored.
        Some(_) if secret.is_none() => tx.audit("credential.create", &format!("credentials/{name}"), json!({})),
        Some(_) => return Err(from_store()),
        None => drop(state.vault.create_credential_in(&mut tx, credential, secret).await?),
    }
    let row = tx.resource(Kind::Credentials, name.as_str()).await?;
    let row = row.ok_or_else(|| ApiError::internal("a credential was not stored", &name))?;
    let item = shown(state, &row, &tx.credential_versions(name.as_str()).await?, &[], None).await?;
    let answer = Answer::new(StatusCode::CREATED, Some(item.revision), &item)?;
    Wish::keep(wish.as_ref(), state, &mut tx, &answer).await?;
    tx.commit().await?;
    enforce(state).await?;
    Ok(answer.into_response())
}

/// Who may show which secret of a key follows the credential's versions, and no other engine's do so. What tokens are
/// fetched with is never sent to an upstream, which another engine would do with the same versions.
pub(crate) const ENGINE_STAYS: &str =
    "the engine of a credential does not change from or to `key`, `oauth_token` or `google_service_account`";
/// Whether another engine cannot take such a credential's versions over.
pub(crate) const fn stays(engine: Engine) -> bool {
    engine.fetches_tokens() || matches!(engine, Engine::Key)
}

pub(crate) const ENGINE_HINT: &str = "delete the credential, and declare it anew";

pub(crate) async fn replace(
    state: &AdminState,
    actor: &Actor,
    name: &str,
    headers: &HeaderMap,
    body: &Document,
) -> Result<CredentialItem, ApiError> {
    let hint = "create it with POST, so that it gets a value";
    let replacement = resources::replacement_of_stored::<Credential>(state, actor, name, headers, body, hint).await?;
    if let Some(row) = &replacement.stored {
        let before = catalogue::parse::<Credential>(&row.body)?.engine;
        let after = replacement.resource.engine;
        if before != after && [before, after].into_iter().any(stays) {
            return Err(ApiError::new(Code::Conflict, ENGINE_STAYS).hint(ENGINE_HINT));
        }
    }
    let mine = replacement.finish(state).await?;
    let mut item = get(state, name).await?;
    (item.spec, item.revision, item.updated) = (mine.spec, mine.revision, mine.updated);
    Ok(item)
}

pub(crate) async fn delete(
    state: &AdminState,
    actor: &Actor,
    name: &str,
    headers: &HeaderMap,
) -> Result<StatusCode, ApiError> {
    let mut tx = resources::deletion::<Credential>(state, actor, name, headers).await?;
    state.vault.destroy_credential_in(&mut tx, &parse_name(name)?).await?;
    resources::finish_deletion::<Credential>(state, tx, name, json!({})).await
}

fn parse_name(name: &str) -> Result<Name, ApiError> {
    name.parse().map_err(|_| ApiError::not_found("credentials", name))
}

pub(crate) async fn versions(state: &AdminState, name: &str) -> Result<Versions, ApiError> {
    let rows = state.store.credential_versions(name).await?;
    if rows.is_empty() && state.store.resource(Kind::Credentials, name).await?.is_none() {
        return Err(ApiError::not_found("credentials", name));
    }
    let uses = state.store.credential_uses(name).await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in rows.iter().rev() {
        let used = uses.iter().find(|used| used.version == row.version);
        items.push(VersionView {
            version: row.version,
            state: row.state,
            algorithm: row.algorithm.clone(),
            keyring_id: row.keyring_id,
            created: row.created,
            promoted: row.promoted,
            retired: row.retired,
            last_used: used.map(|used| used.last_time),
            uses: used.map_or(0, |used| used.count),
            in_flight: state.dataplane.in_flight(name, row.version).await,
        });
    }
    Ok(Versions { items })
}

fn from_store() -> ApiError {
    ApiError::new(Code::InvalidRequest, "its value comes from a store; none can be handed in")
        .hint("change it there and refresh the credential, or remove `value` from its declaration")
}

/// The stored declaration.
async fn declared(state: &AdminState, name: &str) -> Result<Credential, ApiError> {
    let row = state.store.resource(Kind::Credentials, name).await?;
    catalogue::parse(&row.ok_or_else(|| ApiError::not_found("credentials", name))?.body)
}

pub(crate) async fn rotate(
    state: &AdminState,
    actor: &Actor,
    name: &str,
    wanted: RotateCredential,
) -> Result<RotationView, ApiError> {
    let credential = declared(state, name).await?;
    if credential.source().is_some() {
        return Err(from_store());
    }
    let value = wanted.secret.map(|secret| secret.0);
    let begun = state.vault.start_rotation(actor, &credential, value, wanted.overlap).await?;
    rotations::get(state, &begun.id).await
}

/// Gives a rotation the value it waits for.
pub(crate) async fn deliver(
    state: &AdminState,
    actor: &Actor,
    name: &str,
    value: SecretValue,
) -> Result<RotationView, ApiError> {
    let credential = declared(state, name).await?;
    if credential.source().is_some() {
        return Err(from_store());
    }
    let begun = state.vault.deliver_value(actor, &credential, value).await?;
    rotations::get(state, &begun.id).await
}

pub(crate) async fn revoke(
    state: &AdminState,
    actor: &Actor,
    name: &str,
    version: Option<u32>,
) -> Result<RevokedCredential, ApiError> {
    let name = parse_name(name)?;
    let versions = state.vault.revoke_credential(actor, &name, version).await?;
    let published = enforce(state).await?;
    Ok(RevokedCredential { versions, published })
}
