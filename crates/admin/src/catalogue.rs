//! Everything declared, kept in memory and brought up to date from the change feed, so that a change
//! to one resource among ten thousand is checked without reading the other 9,999 again.
//!
//! A database that was restored to an older state has the same numbers for other changes. The audit chain
//! tells it apart (`Followed::continues`), and everything is read anew.
//!
//! Keys are not kept: there may be a million of them, and nothing refers to a key.

use crate::error::ApiError;
use credentialflow_model::{
    ResourceSet,
    resource::{
        Application, Credential, GuardrailSet, Kind, LeakResponse, Model, Prompt, Resource, Route, SecretStore, System,
        Team, Upstream,
    },
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
    /// Place in the change feed.
    seq: i64,
    /// A place in the audit chain that is not after `set`, and its hash.
    mark: (u64, [u8; 32]),
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
        // Taken out while it is being changed: a failure half-way must not leave half a view.
        let view = match kept.take() {
            Some(view) => match refresh(store, view).await? {
                Some(view) => view,
                None => {
                    tracing::warn!("the database tells another history than the one known: it is read anew");
                    whole(store).await?
                }
            },
            None => whole(store).await?,
        };
        Ok(kept.insert(view).set.clone())
    }
}

/// Everything, as stored now.
async fn whole(store: &Store) -> Result<View, ApiError> {
    // Changes after this place are applied once more by the next call, which is harmless.
    let (seq, mark) = store.latest_place().await?;
    let mut set = ResourceSet::default();
    for kind in Kind::ALL {
        reload(store, &mut set, kind, None).await?;
    }
    Ok(View { seq, mark, set: Arc::new(set) })
}

/// With what changed since; `None` where the database is of another history.
async fn refresh(store: &Store, mut view: View) -> Result<Option<View>, ApiError> {
    let mut changed: HashMap<Kind, HashSet<String>> = HashMap::new();
    loop {
        let followed = store.follow_changes(view.seq, view.mark.0, PAGE).await?;
        if !followed.continues(Some(view.mark)) {
            return Ok(None);
        }
        view.mark = followed.head;
        let full = followed.changes.len() == PAGE as usize;
        for change in followed.changes {
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
    Ok(Some(view))
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
        Kind::Stores => reload_as::<SecretStore>(store, set, names).await,
        Kind::Upstreams => reload_as::<Upstream>(store, set, names).await,
        Kind::Routes => reload_as::<Route>(store, set, names).await,
        Kind::Guardrails => reload_as::<GuardrailSet>(store, set, names).await,
        Kind::Models => reload_as::<Model>(store, set, names).await,
        Kind::Prompts => reload_as::<Prompt>(store, set, names).await,
        Kind::Applications => reload_as::<Application>(store, set, names).await,
        Kind::LeakResponses => reload_as::<LeakResponse>(store, set, names).await,
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use credentialflow_model::{Actor, Name};
    use credentialflow_store::Expect;
    use std::path::Path;

    async fn open(path: &Path) -> Store {
        let store = Store::connect(&format!("sqlite:{}", path.display())).await.unwrap();
        store.migrate().await.unwrap();
        store
    }

    async fn declare(store: &Store, team: &str) {
        let name: Name = team.parse().unwrap();
        let body = serde_json::json!({ "name": team }).to_string();
        let mut tx = store.begin(&Actor::operator()).await.unwrap();
        tx.put_resource(Kind::Teams, &name, &body, Expect::Absent).await.unwrap();
        tx.audit("team.create", &format!("teams/{team}"), serde_json::json!({}));
        tx.commit().await.unwrap();
    }

    async fn teams(catalogue: &Catalogue, store: &Store) -> Vec<String> {
        let set = catalogue.view(store).await.unwrap();
        set.teams.iter().map(|team| team.name.to_string()).collect()
    }

    #[tokio::test]
    async fn a_restored_database_is_not_mixed_with_what_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let (here, backup) = (dir.path().join("here.db"), dir.path().join("backup.db"));
        let store = open(&here).await;
        declare(&store, "one").await;
        store.close().await;
        std::fs::copy(&here, &backup).unwrap();
        let store = open(&here).await;
        let catalogue = Catalogue::default();
        assert_eq!(teams(&catalogue, &store).await, ["one"]);
        declare(&store, "two").await;
        assert_eq!(teams(&catalogue, &store).await, ["one", "two"]);
        // The same number in the feed for another change: by numbers alone nothing would have changed.
        let restored = open(&backup).await;
        declare(&restored, "three").await;
        assert_eq!(restored.latest_change().await.unwrap(), store.latest_change().await.unwrap());
        assert_eq!(teams(&catalogue, &restored).await, ["one", "three"]);
        // Further on than what is known, and shorter than it.
        declare(&store, "four").await;
        assert_eq!(teams(&catalogue, &store).await, ["four", "one", "two"]);
        assert_eq!(teams(&catalogue, &restored).await, ["one", "three"]);
        declare(&restored, "five").await;
        assert_eq!(teams(&catalogue, &restored).await, ["five", "one", "three"]);
    }
}
