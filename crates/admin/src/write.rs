//! The way of every change: begin, check in the context of everything, write, commit, enforce.

use crate::{
    AdminState,
    api::dependents::{DependentView, Dependents},
    delegation,
    error::{ApiError, Code},
    ports::Published,
    resources::Declared,
};
use credentialflow_model::{
    Actor, Location, Name, Problem, Problems, ResourceSet,
    config::{Context, SourceMap, check, without},
    resource::{Budget, Budgets, Key, Kind, Resource},
};
use credentialflow_store::{KeyRecord, WriteTx};
use std::sync::Arc;

/// Keys looked at a time when something they may name is deleted.
const KEY_PAGE: u32 = 1000;
/// Keys listed among what names a resource.
const MAX_KEYS: usize = 100;

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
pub(crate) const CONTEXT: Context<'static> = Context {
    providers: credentialflow_llm::provider::NAMES,
    own_address: credentialflow_llm::provider::OWN_ADDRESS,
    guardrail: Some(credentialflow_llm::guardrail::check),
    keys: &[],
};

/// Checks the whole set as it would be with this resource in it; every problem is answered.
pub(crate) async fn check_with<T: Resource + Send + 'static>(
    state: &AdminState,
    set: &ResourceSet,
    declared: &Declared<T>,
) -> Result<(), ApiError> {
    let resource = &declared.resource;
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
    let ancestors = delegation::ancestors(state, &set.keys).await?;
    let mut problems = check_whole(set, ancestors).await?;
    // The client sent one resource: its problems are told by their place in that resource.
    let prefix = format!("{}[{index}].", T::KIND.as_str());
    for problem in &mut problems.0 {
        let Some(rest) = problem.path.strip_prefix(&prefix).map(str::to_owned) else { continue };
        if let Some((_, at)) = declared.source.as_ref().and_then(|source| source.locate(T::KIND, 0, &rest)) {
            problem.at = at;
        }
        problem.path = rest;
    }
    if problems.0.is_empty() { Ok(()) } else { Err(problems.into()) }
}

/// Where an upstream, a store or a target names its authorities.
pub(crate) const CA_FILE: &str = "tls.ca_file";

/// Files of authorities that upstreams, stores and targets are about to name and that this node cannot use. What is
/// stored already is not looked at: a file that went away since must keep nobody from another change.
pub(crate) async fn check_files(
    state: &AdminState,
    before: &ResourceSet,
    after: &ResourceSet,
) -> Vec<(Kind, usize, String)> {
    let mut named = newly_named(&before.upstreams, &after.upstreams, |u| u.tls.as_ref()?.ca_file.as_deref());
    named.extend(newly_named(&before.stores, &after.stores, |s| s.tls.as_ref()?.ca_file.as_deref()));
    named.extend(newly_named(&before.targets, &after.targets, |t| t.tls.as_ref()?.ca_file.as_deref()));
    if named.is_empty() {
        return Vec::new();
    }
    let dataplane = state.dataplane.clone();
    let look = move || {
        let problem = |(kind, index, file): (Kind, usize, String)| {
            Some((kind, index, dataplane.authorities_problem(kind, &file)?))
        };
        named.into_iter().filter_map(problem).collect()
    };
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

fn newly_named<T: Resource>(before: &[T], after: &[T], file: fn(&T) -> Option<&str>) -> Vec<(Kind, usize, String)> {
    let naming = after.iter().enumerate().filter_map(|(index, resource)| Some((index, resource, file(resource)?)));
    let stored = |resource: &T| before.iter().find(|other| other.name() == resource.name()).and_then(file);
    let new = naming.filter(|(_, resource, now)| stored(resource) != Some(now));
    new.map(|(index, _, now)| (T::KIND, index, now.to_owned())).collect()
}

/// The same for one resource of any kind.
pub(crate) async fn check_files_of<T: Resource>(
    state: &AdminState,
    before: &ResourceSet,
    declared: &Declared<T>,
) -> Result<(), ApiError> {
    let mut alone = ResourceSet::default();
    T::list_mut(&mut alone).push(declared.resource.clone());
    let Some((_, _, detail)) = check_files(state, before, &alone).await.pop() else { return Ok(()) };
    let mut problem = file_problem(CA_FILE.to_owned(), detail);
    if let Some((_, at)) = declared.source.as_ref().and_then(|source| source.locate(T::KIND, 0, CA_FILE)) {
        problem.at = at;
    }
    Err(Problems(vec![problem]).into())
}

/// What is told of such a file.
pub(crate) fn file_problem(path: String, detail: String) -> Problem {
    Problem {
        file: None,
        at: Location::default(),
        path,
        code: "unusable_file".to_owned(),
        detail,
        hint: Some("put a PEM file of certificates where every node can read it".to_owned()),
    }
}

/// Checks the whole set as it would be without this resource; everything that still names it is told.
pub(crate) async fn check_without(
    state: &AdminState,
    set: &Arc<ResourceSet>,
    kind: Kind,
    name: &str,
) -> Result<(), ApiError> {
    let (dependents, mut problems) = leaving(state, set.clone(), kind, name).await?;
    problems.0.extend(dependents.items.into_iter().map(|by| Problem {
        file: None,
        at: credentialflow_model::Location::default(),
        path: format!("{}/{} {}", by.kind.as_str(), by.name, by.path),
        code: "unknown_name".to_owned(),
        detail: format!("{}/{} still names {}/{name}", by.kind.as_str(), by.name, kind.as_str()),
        hint: Some("change or delete it first".to_owned()),
    }));
    if problems.0.is_empty() { Ok(()) } else { Err(problems.into()) }
}

/// Everything that names a resource, as stored now.
pub(crate) async fn dependents(state: &AdminState, kind: Kind, name: &str) -> Result<Dependents, ApiError> {
    if state.store.resource(kind, name).await?.is_none() {
        return Err(ApiError::not_found(kind.as_str(), name));
    }
    let set = state.catalogue.view(&state.store).await?;
    Ok(leaving(state, set, kind, name).await?.0)
}

/// What would dangle without a resource, and what else would be wrong.
async fn leaving(
    state: &AdminState,
    set: Arc<ResourceSet>,
    kind: Kind,
    name: &str,
) -> Result<(Dependents, Problems), ApiError> {
    // Nothing refers to a key.
    if kind == Kind::Keys {
        return Ok((Dependents { items: Vec::new(), more: false }, Problems::default()));
    }
    let gone = name.to_owned();
    let found = tokio::task::spawn_blocking(move || without(&set, kind, &gone, &CONTEXT)).await;
    let (found, problems) = found.map_err(|error| ApiError::internal("the check was not finished", &error))?;
    let mut items: Vec<_> =
        found.into_iter().map(|by| DependentView { kind: by.kind, name: by.name.to_string(), path: by.path }).collect();
    let (keys, more) = keys_that_name(state, kind, name).await?;
    items.extend(keys);
    Ok((Dependents { items, more }, problems))
}

async fn check_whole(set: ResourceSet, ancestors: Vec<Key>) -> Result<Problems, ApiError> {
    let checked = move || check(&set, &SourceMap::default(), &Context { keys: &ancestors, ..CONTEXT });
    tokio::task::spawn_blocking(checked).await.map_err(|error| ApiError::internal("the check was not finished", &error))
}

/// The keys that name this application, route, model or prompt, and whether there are more than are listed.
/// Walks all keys, in bounded memory.
async fn keys_that_name(state: &AdminState, kind: Kind, name: &str) -> Result<(Vec<DependentView>, bool), ApiError> {
    let (mut found, mut more) = (Vec::new(), false);
    if !matches!(kind, Kind::Applications | Kind::Routes | Kind::Models | Kind::Prompts) {
        return Ok((found, more));
    }
    let quoted = format!("\"{name}\"");
    state
        .store
        .for_each_key(KEY_PAGE, |record: KeyRecord| -> Result<(), ApiError> {
            // What a key issued itself names what its parent names, and goes by itself.
            let declared = !record.is_exchanged() && !more;
            let Some(body) = record.body.filter(|body| declared && body.contains(&quoted)) else { return Ok(()) };
            let key: Key = crate::catalogue::parse(&body)?;
            let place = |list: &str, names: &[Name]| {
                names.iter().position(|other| other.as_str() == name).map(|index| format!("allow.{list}[{index}]"))
            };
            let path = match (kind, &key.allow) {
                (Kind::Applications, _) => (key.application.as_str() == name).then(|| "application".to_owned()),
                (Kind::Routes, Some(allow)) => place("routes", &allow.routes),
                (Kind::Models, Some(allow)) => place("models", &allow.models),
                (Kind::Prompts, Some(allow)) => place("prompts", &allow.prompts),
                _ => None,
            };
            let instead = |budget: &Budget| {
                let model = budget.when_used_up.as_ref().and_then(|then| then.model.as_ref());
                model.is_some_and(|model| model.as_str() == name)
            };
            let path = path.or_else(|| {
                let serves = kind == Kind::Models && Budgets::of(key.budget.as_ref()).iter().any(instead);
                serves.then(|| "budget.when_used_up.model".to_owned())
            });
            if let Some(path) = path {
                more = found.len() == MAX_KEYS;
                if !more {
                    found.push(DependentView { kind: Kind::Keys, name: key.name.to_string(), path });
                }
            }
            Ok(())
        })
        .await?;
    Ok((found, more))
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
