//! The way of every change: begin, check in the context of everything, write, commit, enforce.

use crate::{
    AdminState,
    error::{ApiError, Code},
    ports::Published,
};
use credentialflow_model::{
    Actor, Problem, Problems, ResourceSet,
    config::{Context, SourceMap, check},
    resource::{Key, Resource},
};
use credentialflow_store::{KeyRecord, WriteTx};
use std::sync::Arc;

/// Keys looked at a time when something they may name is deleted.
const KEY_PAGE: u32 = 1000;

/// A transaction with what it is about to change.
pub(crate) struct Draft {
    pub tx: WriteTx,
    /// Everything declared, keys excepted; nobody else changes it while `tx` is open.
    pub set: Arc<ResourceSet>,
}

/// Begins a change: waits for its turn, then looks at what is stored.
pub(crate) async fn begin(state: &AdminState, actor: &Actor) -> Result<Draft, ApiError> {
    let tx = state.store.begin(actor).await?;
    let set = state.catalogue.view(&state.store).await?;
    Ok(Draft { tx, set })
}

/// What the check knows besides the set.
pub(crate) const CONTEXT: Context<'static> = Context { providers: credentialflow_llm::provider::NAMES };

/// Checks the whole set as it would be with this resource in it; every problem is answered.
pub(crate) async fn check_with<T: Resource + Send + 'static>(set: &ResourceSet, resource: &T) -> Result<(), ApiError> {
    let mut set = set.clone();
    let list = T::list_mut(&mut set);
    let index = match list.iter().position(|other| other.name() == resource.name()) {
        Some(index) => {
            list[index] = resource.clone();
            index
        }
        None => {
            list.push(resource.clone());
            list.len() - 1
        }
    };
    let mut problems = check_whole(set).await?;
    // The client sent one resource: its problems are told by their place in that resource.
    let prefix = format!("{}[{index}].", T::KIND.as_str());
    for problem in &mut problems.0 {
        if let Some(rest) = problem.path.strip_prefix(&prefix) {
            problem.path = rest.to_owned();
        }
    }
    if problems.0.is_empty() { Ok(()) } else { Err(problems.into()) }
}

/// Checks the whole set as it would be without this resource.
pub(crate) async fn check_without<T: Resource>(
    state: &AdminState,
    set: &ResourceSet,
    name: &str,
) -> Result<(), ApiError> {
    let mut set = set.clone();
    T::list_mut(&mut set).retain(|other| other.name().as_str() != name);
    let mut problems = check_whole(set).await?;
    if let Some(key) = key_that_names::<T>(state, name).await? {
        problems.0.push(Problem {
            file: None,
            at: credentialflow_model::Location::default(),
            path: format!("keys/{key}"),
            code: "unknown_name".to_owned(),
            detail: format!("key {key} still names {}/{name}", T::KIND.as_str()),
            hint: Some("change or delete the key first".to_owned()),
        });
    }
    if problems.0.is_empty() { Ok(()) } else { Err(problems.into()) }
}

async fn check_whole(set: ResourceSet) -> Result<Problems, ApiError> {
    tokio::task::spawn_blocking(move || check(&set, &SourceMap::default(), &CONTEXT))
        .await
        .map_err(|error| ApiError::internal("the check was not finished", &error))
}

/// The first key that names this application, route or model. Walks all keys, in bounded memory.
async fn key_that_names<T: Resource>(state: &AdminState, name: &str) -> Result<Option<String>, ApiError> {
    use credentialflow_model::resource::Kind;
    if !matches!(T::KIND, Kind::Applications | Kind::Routes | Kind::Models) {
        return Ok(None);
    }
    let mut found = None;
    let quoted = format!("\"{name}\"");
    state
        .store
        .for_each_key(KEY_PAGE, |record: KeyRecord| -> Result<(), ApiError> {
            let Some(body) = record.body.filter(|body| found.is_none() && body.contains(&quoted)) else {
                return Ok(());
            };
            let key: Key = crate::catalogue::parse(&body)?;
            let allow = key.allow.as_ref();
            let names = match T::KIND {
                Kind::Applications => key.application.as_str() == name,
                Kind::Routes => allow.is_some_and(|allow| allow.routes.iter().any(|route| route.as_str() == name)),
                _ => allow.is_some_and(|allow| allow.models.iter().any(|model| model.as_str() == name)),
            };
            if names {
                found = Some(key.name.to_string());
            }
            Ok(())
        })
        .await?;
    Ok(found)
}

/// Waits until every worker enforces what is stored.
pub(crate) async fn enforce(state: &AdminState) -> Result<Published, ApiError> {
    match tokio::time::timeout(state.settings.publish_timeout, state.dataplane.publish()).await {
        Ok(Ok(published)) => Ok(published),
        Ok(Err(error)) => {
            tracing::error!(%error, "a stored change is not yet enforced");
            Err(ApiError::not_yet_enforced(&error.to_string()))
        }
        Err(_) => {
            tracing::error!("a stored change is not yet enforced: the workers did not answer in time");
            Err(ApiError::not_yet_enforced("not every worker acknowledged it in time"))
        }
    }
}

/// Refuses when the client has seen another revision than the stored one.
pub(crate) fn at_revision(seen: Option<u64>, stored: i64) -> Result<(), ApiError> {
    match seen {
        Some(seen) if i64::try_from(seen) != Ok(stored) => {
            Err(ApiError::new(Code::RevisionMismatch, format!("it is at revision {stored}, not {seen}"))
                .hint("read it again, then decide"))
        }
        _ => Ok(()),
    }
}
