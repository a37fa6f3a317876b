//! Plain resources: list, create, read, replace, delete; the same for every kind.

use crate::{
    AdminState,
    api::{
        answer::{Item, Page},
        request::{Document, ListQuery, if_match, limited},
    },
    catalogue,
    error::{ApiError, Code},
    idempotency::{Answer, Wish},
    prompts,
    write::{at_revision, begin, check_files_of, check_with, check_without, enforce},
};
use axum::response::{IntoResponse, Response};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use credentialflow_model::{
    Actor, Location, Problem, Problems,
    config::{SourceMap, read_resource, read_resource_yaml},
    resource::Resource,
};
use credentialflow_store::{Expect, ResourceRow, WriteTx};
use http::{HeaderMap, StatusCode};
use serde_json::json;

fn item<T: Resource>(row: &ResourceRow) -> Result<Item<T>, ApiError> {
    let spec = catalogue::parse(&row.body)?;
    Ok(Item { spec, revision: revision(row), created: row.created, updated: row.updated })
}

pub(crate) fn revision(row: &ResourceRow) -> u64 {
    u64::try_from(row.revision).unwrap_or_default()
}

/// One page of rows of a kind, and the cursor of the next.
pub(crate) async fn page<T: Resource>(
    state: &AdminState,
    query: &ListQuery,
) -> Result<(Vec<ResourceRow>, Option<String>), ApiError> {
    let limit = limited(query.limit)?;
    let after = query.cursor.as_deref().map(read_cursor).transpose()?;
    let mut rows = state.store.resources_page(T::KIND, after.as_deref(), query.q.as_deref(), limit + 1).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|row| cursor(row.name.as_str()));
    Ok((rows, next))
}

/// The cursor of a page that begins after a name.
pub(crate) fn cursor(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(name)
}

pub(crate) fn read_cursor(cursor: &str) -> Result<String, ApiError> {
    URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| ApiError::new(Code::InvalidRequest, "the cursor is not valid; begin again without one"))
}

pub(crate) async fn list<T: Resource>(state: &AdminState, query: &ListQuery) -> Result<Page<Item<T>>, ApiError> {
    let (rows, next) = page::<T>(state, query).await?;
    Ok(Page { items: rows.iter().map(item).collect::<Result<_, _>>()?, next })
}

pub(crate) async fn get<T: Resource>(state: &AdminState, name: &str) -> Result<Item<T>, ApiError> {
    let row = state.store.resource(T::KIND, name).await?;
    item(&row.ok_or_else(|| ApiError::not_found(T::KIND.as_str(), name))?)
}

/// A resource as it was sent, and where its values stood if that can be said.
pub(crate) struct Declared<T> {
    pub resource: T,
    pub source: Option<SourceMap>,
}

/// Reads a body as one resource; every problem is answered.
pub(crate) fn read<T: Resource>(body: &Document) -> Result<Declared<T>, ApiError> {
    let text = std::str::from_utf8(&body.bytes)
        .map_err(|_| ApiError::new(Code::InvalidRequest, "the request's body is not UTF-8 text"))?;
    if body.yaml {
        let (resource, source) = read_resource_yaml(text)?;
        return Ok(Declared { resource, source: Some(source) });
    }
    Ok(Declared { resource: read_resource(text)?, source: None })
}

/// The body of a replacement must have the name the path has.
pub(crate) fn same_name<T: Resource>(resource: &T, name: &str) -> Result<(), ApiError> {
    if resource.name().as_str() == name {
        return Ok(());
    }
    Err(ApiError::invalid(Problems(vec![Problem {
        file: None,
        at: Location::default(),
        path: "name".to_owned(),
        code: "name_mismatch".to_owned(),
        detail: format!("the body's name is {}, the path's is another", resource.name()),
        hint: Some("names do not change; create a new one instead".to_owned()),
    }])))
}

pub(crate) fn to_body<T: Resource>(resource: &T) -> Result<String, ApiError> {
    serde_json::to_string(resource).map_err(|error| ApiError::internal("a resource could not be written", &error))
}

/// `409 already_exists`.
pub(crate) fn taken<T: Resource>(resource: &T) -> ApiError {
    ApiError::new(Code::AlreadyExists, format!("there is already {}/{}", T::KIND.as_str(), resource.name()))
        .hint("replace it with PUT, or choose another name")
}

/// The singular of a kind, for audit actions such as `route.create`.
pub(crate) fn noun<T: Resource>() -> &'static str {
    T::KIND.as_str().trim_end_matches('s')
}

fn subject<T: Resource>(name: &str) -> String {
    format!("{}/{name}", T::KIND.as_str())
}

pub(crate) async fn create<T: Resource + Send + Sync + 'static>(
    state: &AdminState,
    actor: &Actor,
    headers: &HeaderMap,
    body: &Document,
) -> Result<Response, ApiError> {
    let mut declared: Declared<T> = read(body)?;
    let wish = Wish::read(state, headers, T::KIND.as_str(), &body.bytes)?;
    let mut draft = begin(state, actor).await?;
    if let Some(answer) = Wish::replay(wish.as_ref(), state, &mut draft.tx).await? {
        drop(draft);
        enforce(state).await?;
        return Ok(answer.into_response());
    }
    if draft.tx.resource(T::KIND, declared.resource.name().as_str()).await?.is_some() {
        return Err(taken(&declared.resource));
    }
    prompts::settle_one(&mut draft.tx, &draft.set, &mut declared, None).await?;
    check_with(state, &draft.set, &declared).await?;
    check_files_of(state, &draft.set, &declared).await?;
    let item = put(&mut draft.tx, &declared.resource, "create").await?;
    let answer = Answer::new(StatusCode::CREATED, Some(item.revision), &item)?;
    Wish::keep(wish.as_ref(), state, &mut draft.tx, &answer).await?;
    draft.tx.commit().await?;
    enforce(state).await?;
    Ok(answer.into_response())
}

async fn put<T: Resource>(tx: &mut WriteTx, resource: &T, verb: &str) -> Result<Item<T>, ApiError> {
    let name = resource.name();
    tx.put_resource(T::KIND, name, &to_body(resource)?, Expect::Anything).await?;
    let row = tx.resource(T::KIND, name.as_str()).await?;
    let row = row.ok_or_else(|| ApiError::internal("a resource was not stored", &subject::<T>(name.as_str())))?;
    tx.audit(&format!("{}.{verb}", noun::<T>()), &subject::<T>(name.as_str()), json!({ "revision": row.revision }));
    item(&row)
}

/// A replacement that may be made: read, of the revision the client has seen, and checked.
pub(crate) struct Replacement<T> {
    pub tx: WriteTx,
    pub resource: T,
    /// What it replaces; none where it is new.
    pub stored: Option<ResourceRow>,
}

impl<T: Resource> Replacement<T> {
    /// Whether anything differs. If not, there is no new revision and no audit event.
    pub(crate) fn changes(&self) -> Result<bool, ApiError> {
        let Some(row) = &self.stored else { return Ok(true) };
        Ok(catalogue::parse::<T>(&row.body)? != self.resource)
    }

    /// Writes what differs, if anything does; either way the answer is about every worker. Gives what
    /// this replacement left, whatever others have written since.
    pub(crate) async fn finish(mut self, state: &AdminState) -> Result<Item<T>, ApiError> {
        let changes = self.changes()?;
        let item = match &self.stored {
            Some(row) if !changes => item(row)?,
            stored => {
                let verb = if stored.is_some() { "update" } else { "create" };
                let item = put(&mut self.tx, &self.resource, verb).await?;
                self.tx.commit().await?;
                enforce(state).await?;
                return Ok(item);
            }
        };
        drop(self.tx);
        enforce(state).await?;
        Ok(item)
    }
}

/// Begins the replacement of a resource of any kind.
pub(crate) async fn replacement<T: Resource + Send + Sync + 'static>(
    state: &AdminState,
    actor: &Actor,
    name: &str,
    headers: &HeaderMap,
    body: &Document,
) -> Result<Replacement<T>, ApiError> {
    let mut declared: Declared<T> = read(body)?;
    same_name(&declared.resource, name)?;
    let seen = if_match(headers)?;
    let mut draft = begin(state, actor).await?;
    let stored = draft.tx.resource(T::KIND, name).await?;
    match &stored {
        Some(row) => at_revision(seen, row.revision)?,
        None if headers.contains_key(http::header::IF_MATCH) => {
            return Err(ApiError::new(Code::RevisionMismatch, format!("{} is gone", subject::<T>(name))));
        }
        None => {}
    }
    prompts::settle_one(&mut draft.tx, &draft.set, &mut declared, None).await?;
    check_with(state, &draft.set, &declared).await?;
    check_files_of(state, &draft.set, &declared).await?;
    Ok(Replacement { tx: draft.tx, resource: declared.resource, stored })
}

/// Begins the replacement of a resource that only `POST` makes, as it gets a secret there. `hint` says so.
pub(crate) async fn replacement_of_stored<T: Resource + Send + Sync + 'static>(
    state: &AdminState,
    actor: &Actor,
    name: &str,
    headers: &HeaderMap,
    body: &Document,
    hint: &str,
) -> Result<Replacement<T>, ApiError> {
    let replacement = replacement::<T>(state, actor, name, headers, body).await?;
    match replacement.stored {
        Some(_) => Ok(replacement),
        None => Err(ApiError::not_found(T::KIND.as_str(), name).hint(hint)),
    }
}

pub(crate) async fn replace<T: Resource + Send + Sync + 'static>(
    state: &AdminState,
    actor: &Actor,
    name: &str,
    headers: &HeaderMap,
    body: &Document,
) -> Result<(StatusCode, Item<T>), ApiError> {
    let replacement = replacement::<T>(state, actor, name, headers, body).await?;
    let status = if replacement.stored.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, replacement.finish(state).await?))
}

/// Begins the deletion of a resource that nothing names any more, of the revision the client has seen.
pub(crate) async fn deletion<T: Resource>(
    state: &AdminState,
    actor: &Actor,
    name: &str,
    headers: &HeaderMap,
) -> Result<WriteTx, ApiError> {
    let seen = if_match(headers)?;
    let mut draft = begin(state, actor).await?;
    let row = draft.tx.resource(T::KIND, name).await?;
    at_revision(seen, row.ok_or_else(|| ApiError::not_found(T::KIND.as_str(), name))?.revision)?;
    check_without(state, &draft.set, T::KIND, name).await?;
    Ok(draft.tx)
}

/// Deletes the resource itself, tells `what` was lost with it, and waits until no worker has it.
pub(crate) async fn finish_deletion<T: Resource>(
    state: &AdminState,
    mut tx: WriteTx,
    name: &str,
    what: serde_json::Value,
) -> Result<StatusCode, ApiError> {
    tx.delete_resource(T::KIND, name, Expect::Anything).await?;
    tx.audit(&format!("{}.delete", noun::<T>()), &subject::<T>(name), what);
    tx.commit().await?;
    enforce(state).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn delete<T: Resource>(
    state: &AdminState,
    actor: &Actor,
    name: &str,
    headers: &HeaderMap,
) -> Result<StatusCode, ApiError> {
    let tx = deletion::<T>(state, actor, name, headers).await?;
    finish_deletion::<T>(state, tx, name, json!({})).await
}
