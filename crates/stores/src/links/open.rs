//! Declared stores, opened and kept open until their declaration or their credential changes.

use crate::{Declared, ExternalError, ExternalStore, Result, error::unusable, http_client::load_authorities, open};
use credentialflow_model::{
    Name,
    lifecycle::VersionState,
    resource::{Kind, SecretStore},
};
use credentialflow_store::{Store, StoreError};
use credentialflow_vault::Vault;
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

/// Every declared store that was needed so far.
pub(super) struct OpenStores {
    store: Store,
    vault: Vault,
    files: Option<PathBuf>,
    open: Mutex<HashMap<Name, Opened>>,
}

struct Opened {
    spec: SecretStore,
    /// The version of its credential.
    version: Option<u32>,
    store: Arc<dyn ExternalStore>,
}

impl OpenStores {
    pub(super) fn new(store: Store, vault: Vault, files: Option<PathBuf>) -> Self {
        Self { store, vault, files, open: Mutex::default() }
    }

    /// A declared store, with its declaration.
    pub(super) async fn get(&self, name: &Name) -> Result<(SecretStore, Arc<dyn ExternalStore>)> {
        let row = self.store.resource(Kind::Stores, name.as_str()).await.map_err(away)?;
        let row = row.ok_or_else(|| unusable(format!("there is no store {name}")))?;
        let spec: SecretStore = serde_json::from_str(&row.body)
            .map_err(|_| unusable(format!("stores/{name} is stored in a way that does not read")))?;
        let (mut version, mut access) = (None, None);
        if let Some(credential) = &spec.credential {
            let versions = self.store.credential_versions(credential.as_str()).await.map_err(away)?;
            let current = versions.iter().find(|v| v.state == VersionState::Current);
            let current = current.ok_or_else(|| unusable(format!("its credential {credential} has no value")))?;
            version = Some(current.version);
            if let Some(open) = self.still_open(&spec, version) {
                return Ok((spec, open));
            }
            let value = self.vault.open_version(current);
            access = Some(value.map_err(|e| unusable(format!("its credential {credential} does not open: {e}")))?);
        } else if let Some(open) = self.still_open(&spec, None) {
            return Ok((spec, open));
        }
        let authorities = match spec.tls.as_ref().and_then(|tls| tls.ca_file.as_deref()) {
            Some(path) => Some(load_authorities(path).await?),
            None => None,
        };
        let declared = Declared { spec: spec.clone(), access, authorities, files: self.files.clone() };
        let store = open(&declared)?;
        let opened = Opened { spec: spec.clone(), version, store: store.clone() };
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), opened);
        Ok((spec, store))
    }

    fn still_open(&self, spec: &SecretStore, version: Option<u32>) -> Option<Arc<dyn ExternalStore>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let found = open.get(&spec.name)?;
        (found.spec == *spec && found.version == version).then(|| found.store.clone())
    }

    /// Closes every store.
    pub(super) fn close_all(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Closes a store, so that the next call looks at everything anew, as after a refusal.
    pub(super) fn close(&self, name: &Name) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

/// Our own database does not answer.
pub(super) fn away(error: StoreError) -> ExternalError {
    ExternalError::Unreachable(error.to_string())
}
