//! The state the gateway runs, built from deltas alone: from the store, or from the local copy.

use super::{credentials::Credentials, delta::Delta};
use credentialflow_gateway::{Snapshot, snapshot};
use credentialflow_model::{
    KeyId, Name, ResourceSet, SecretValue,
    resource::{Application, Credential, Kind, Model, Resource, Route, Team, Upstream},
};
use credentialflow_policy::{ApiKey, KeyChange, KeyTable, Peppers, RateTable};
use credentialflow_vault::{SealContext, Sealed, Vault};
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

/// Resources, keys and opened credentials at one place of the change feed.
pub(super) struct State {
    pub seq: i64,
    set: ResourceSet,
    keys: KeyTable,
    /// Key ids by a hash of the key's name: a key that is gone is known only by its name.
    ids: HashMap<u64, KeyId>,
    values: HashMap<Name, (u32, Arc<SecretValue>)>,
    api_key: ApiKey,
}

/// Largest model call; it is held in memory.
const MAX_MODEL_BODY: u64 = 32 << 20;

impl State {
    /// Nothing yet.
    pub fn empty(vault: &Vault) -> anyhow::Result<Self> {
        Ok(Self {
            seq: 0,
            set: ResourceSet::default(),
            keys: KeyTable::empty(),
            ids: HashMap::new(),
            values: HashMap::new(),
            api_key: api_key(vault)?,
        })
    }

    /// Takes a delta in. Returns the keys whose running requests are to be cut. Where that fails, the
    /// place in the feed stays, so that the delta is read again and no revocation in it is passed over.
    pub fn apply(&mut self, delta: Delta, vault: &Vault) -> anyhow::Result<Vec<KeyId>> {
        // While one process takes over from another, both write the local copy; what the state has already
        // had must not come back over what followed.
        if !delta.whole && delta.seq != 0 && delta.seq <= self.seq {
            return Ok(Vec::new());
        }
        if delta.whole {
            *self = Self::empty(vault)?;
        } else if delta.settings {
            self.api_key = api_key(vault)?;
        }
        for (kind, name, body) in delta.resources {
            self.put(kind, &name, body.as_deref())?;
        }
        for (name, version) in delta.credentials {
            match version {
                None => drop(self.values.remove(&name)),
                Some(v) => {
                    let sealed = Sealed::from_bytes(v.sealed)?;
                    let value = vault.open_value(&SealContext::new(&name, v.version), &sealed)?;
                    self.values.insert(name, (v.version, Arc::new(value)));
                }
            }
        }
        let mut revoked = Vec::new();
        let mut changes = Vec::with_capacity(delta.keys.len());
        for (name, data) in delta.keys {
            let hash = hashed(&name);
            match data.and_then(|d| d.into_record()) {
                Some(record) => {
                    if let Some(old) = self.ids.insert(hash, record.id).filter(|old| *old != record.id) {
                        changes.push(KeyChange::Remove(old));
                        revoked.push(old);
                    }
                    changes.push(KeyChange::Put(record));
                }
                None => {
                    if let Some(id) = self.ids.remove(&hash) {
                        changes.push(KeyChange::Remove(id));
                        revoked.push(id);
                    }
                }
            }
        }
        if !changes.is_empty() {
            self.keys = self.keys.with_changes(changes);
        }
        self.seq = delta.seq;
        Ok(revoked)
    }

    /// The running form of this state.
    pub fn compile(
        &self,
        epoch: u64,
        rates: &Arc<RateTable>,
        sandbox: Option<String>,
    ) -> Result<Snapshot, snapshot::CompileError> {
        let sources = snapshot::Sources {
            keys: self.keys.clone(),
            api_key: self.api_key.clone(),
            credentials: Arc::new(Credentials::new(&self.set.credentials, &self.values)),
            rates: rates.clone(),
            sandbox,
            max_model_body: MAX_MODEL_BODY,
        };
        Snapshot::compile(epoch, &self.set, sources)
    }

    /// Whether anything goes to the built-in sandbox.
    pub fn uses_sandbox(&self) -> bool {
        self.set.upstreams.iter().flat_map(|u| &u.endpoints).any(|e| e.starts_with("sandbox://"))
            || self.set.models.iter().flat_map(|m| &m.targets).any(|t| t.provider.as_str() == "sandbox")
    }

    /// An upstream and the verify rule of a credential, for trying a new version.
    pub fn verify_rule(&self, credential: &Name) -> Option<(Upstream, String)> {
        let rule = self.set.credentials.iter().find(|c| c.name == *credential)?.verify.as_ref()?;
        let upstream = self.set.upstreams.iter().find(|u| u.name == rule.upstream)?;
        Some((upstream.clone(), rule.path.clone()))
    }

    fn put(&mut self, kind: Kind, name: &Name, body: Option<&str>) -> anyhow::Result<()> {
        match kind {
            Kind::Teams => put::<Team>(&mut self.set, name, body),
            Kind::Applications => put::<Application>(&mut self.set, name, body),
            Kind::Credentials => put::<Credential>(&mut self.set, name, body),
            Kind::Upstreams => put::<Upstream>(&mut self.set, name, body),
            Kind::Routes => put::<Route>(&mut self.set, name, body),
            Kind::Models => put::<Model>(&mut self.set, name, body),
            Kind::Keys => Ok(()),
        }
    }
}

/// Replaces, adds or removes one resource; lists stay sorted by name.
fn put<R: Resource>(set: &mut ResourceSet, name: &Name, body: Option<&str>) -> anyhow::Result<()> {
    let list = R::list_mut(set);
    let place = list.binary_search_by(|r| r.name().cmp(name));
    match (place, body.map(serde_json::from_str::<R>).transpose()?) {
        (Ok(at), Some(resource)) => list[at] = resource,
        (Err(at), Some(resource)) => list.insert(at, resource),
        (Ok(at), None) => drop(list.remove(at)),
        (Err(_), None) => {}
    }
    Ok(())
}

fn api_key(vault: &Vault) -> anyhow::Result<ApiKey> {
    let peppers = vault.peppers()?.into_iter().filter_map(|p| Some((u8::try_from(p.id).ok()?, p.key)));
    Ok(ApiKey::new(Arc::new(Peppers::from_keys(peppers))))
}

fn hashed(name: &Name) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.as_str().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::delta::SealedVersion, *};
    use credentialflow_model::Actor;
    use credentialflow_store::Store;
    use credentialflow_vault::SealInput;

    #[tokio::test]
    async fn what_cannot_be_taken_in_is_not_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::connect(&format!("sqlite:{}", dir.path().join("state.db").display())).await.unwrap();
        store.migrate().await.unwrap();
        let input = SealInput::Environment(SecretValue::from("a passphrase of a test"));
        let vault = Vault::init(&store, &Actor::operator(), input).await.unwrap().vault;
        let mut state = State::empty(&vault).unwrap();
        state.seq = 4;
        let name: Name = "orders-token".parse().unwrap();
        let unreadable = Some(SealedVersion { version: 2, sealed: b"damaged".to_vec() });
        let delta = Delta { seq: 5, credentials: vec![(name.clone(), unreadable)], ..Delta::default() };
        assert!(state.apply(delta, &vault).is_err());
        assert_eq!(state.seq, 4, "a revocation in the same delta would never be enforced");
        let delta = Delta { seq: 5, credentials: vec![(name, None)], ..Delta::default() };
        assert!(state.apply(delta, &vault).unwrap().is_empty());
        assert_eq!(state.seq, 5);
    }
}
