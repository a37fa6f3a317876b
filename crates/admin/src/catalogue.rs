//! Everything declared, kept in memory and brought up to date from the change feed, so that a change
//! to one resource among ten thousand is checked without reading the other 9,999 again.
//!
//! Keys are not kept: there may be a million of them, and nothing refers to a key.

use crate::error::ApiError;
use credentialflow_model::{
    ResourceSet,
    resource::{Application, Credential, Kind, Model, Resource, Route, System, Team, Upstream},
};
use credentialflow_store::{ChangeKind, Store, StoreError};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};
use tokio::sync::Mutex;

/// Changes read at a time.
const PAGE: u32 = 1000;
/// More changed resources of a kind than this, and the whole kind is read again.
const RELOAD_ABOVE: usize = 500;

#[derive(Clone)]
struct View {
    seq: i64,
    set: Arc<ResourceSet>,
}

/// The declared resources, keys excepted.
#[derive(Default)]
pub(crate) struct Catalogue(Mutex<Option<View>>);

impl Catalogue {
    /// As stored now. Called inside a write transaction, it is what that transaction changes: nobody
    /// else can commit meanwhile.
    pub(crate) async fn view(&self, store: &Store) -> Result<Arc<ResourceSet>, ApiError> {
        let mut kept = self.0.lock().await;
        if let Some(view) = kept.as_mut() {
            // Taken out while it is being changed: a failure half-way must not leave half a view.
            let mut view_now = view.clone();
            view.set = Arc::default();
            let refreshed = refresh(store, &mut view_now).await;
            match refreshed {
                Ok(()) => *view = view_now,
                Err(error) => {
                    *kept = None;
                    return Err(error);
                }
            }
            return Ok(kept.as_ref().map(|view| view.set.clone()).unwrap_or_default());
        }
        // Changes after this number are applied once more by the next call, which is harmless.
        let seq = store.latest_change().await?;
        let mut set = ResourceSet::default();
        for kind in Kind::ALL {
            reload(store, &mut set, kind, None).await?;
        }
        let set = Arc::new(set);
        *kept = Some(View { seq, set: set.clone() });
        Ok(set)
    }
}

async fn refresh(store: &Store, view: &mut View) -> Result<(), ApiError> {
    let mut changed: HashMap<Kind, HashSet<String>> = HashMap::new();
    loop {
        let changes = store.changes_since(view.seq, PAGE).await?;
        let full = changes.len() == PAGE as usize;
        for change in changes {
            view.seq = change.seq;
            if let ChangeKind::Resource(kind) = change.kind
                && kind != Kind::Keys
            {
                changed.entry(kind).or_default().insert(change.name);
            }
        }
        if !full {
            break;
        }
    }
    for (kind, names) in changed {
        let names = (names.len() <= RELOAD_ABOVE).then_some(names);
        reload(store, Arc::make_mut(&mut view.set), kind, names).await?;
    }
    Ok(())
}

async fn reload(
    store: &Store,
    set: &mut ResourceSet,
    kind: Kind,
    names: Option<HashSet<String>>,
) -> Result<(), ApiError> {
    match kind {
        Kind::Teams => reload_as::<Team>(store, set, names).await,
        Kind::Credentials => reload_as::<Credential>(store, set, names).await,
        Kind::Targets => reload_as::<System>(store, set, names).await,
        Kind::Upstreams => reload_as::<Upstream>(store, set, names).await,
        Kind::Routes => reload_as::<Route>(store, set, names).await,
        Kind::Models => reload_as::<Model>(store, set, names).await,
        Kind::Applications => reload_as::<Application>(store, set, names).await,
        Kind::Keys => Ok(()),
    }
}

/// Reads the named resources of a kind again, or all of them; the list stays in the order of names.
async fn reload_as<T: Resource>(
    store: &Store,
    set: &mut ResourceSet,
    names: Option<HashSet<String>>,
) -> Result<(), ApiError> {
    let rows = match &names {
        None => store.resources(T::KIND).await?,
        Some(names) => {
            let mut rows = Vec::with_capacity(names.len());
            for name in names {
                rows.extend(store.resource(T::KIND, name).await?);
            }
            rows
        }
    };
    let list = T::list_mut(set);
    match &names {
        None => list.clear(),
        Some(names) => list.retain(|resource| !names.contains(resource.name().as_str())),
    }
    for row in rows {
        list.push(parse(&row.body)?);
    }
    list.sort_by(|a, b| a.name().cmp(b.name()));
    Ok(())
}

/// A stored resource's body.
pub(crate) fn parse<T: Resource>(body: &str) -> Result<T, ApiError> {
    serde_json::from_str(body)
        .map_err(|_| StoreError::Corrupt(format!("one of the {}", T::KIND.as_str())))
        .map_err(ApiError::from)
}
