//! Every kind of store, readable top to bottom.

use crate::{ExternalStore, Result, aws, azure, error::unusable, files, google, kubernetes, vault};
use credentialflow_model::{
    SecretValue,
    resource::{SecretStore, StoreKind},
};
use std::{path::PathBuf, sync::Arc};

/// Opens a declared store; connects to nothing.
pub type Opener = fn(&Declared) -> Result<Arc<dyn ExternalStore>>;

/// The kinds, each with what opens it.
pub const KINDS: &[(StoreKind, Opener)] = &[
    (StoreKind::Vault, vault::open),
    (StoreKind::Aws, aws::open),
    (StoreKind::Azure, azure::open),
    (StoreKind::Google, google::open),
    (StoreKind::Kubernetes, kubernetes::open),
    (StoreKind::Files, files::open),
];

/// A declared store with everything that its declaration names.
#[derive(Debug)]
pub struct Declared {
    /// The declaration.
    pub spec: SecretStore,
    /// The value of its credential.
    pub access: Option<SecretValue>,
    /// What its `ca_file` holds.
    pub authorities: Option<String>,
    /// The directory of the server in which stores of the kind `files` may lie.
    pub files: Option<PathBuf>,
}

impl Declared {
    pub(crate) fn access(&self) -> Result<SecretValue> {
        self.access.as_ref().map(SecretValue::duplicate).ok_or_else(|| unusable("the store has no credential"))
    }

    pub(crate) fn address(&self) -> Result<&str> {
        self.spec.address.as_deref().ok_or_else(|| unusable("the store has no address"))
    }
}

/// Opens a declared store; connects to nothing.
pub fn open(declared: &Declared) -> Result<Arc<dyn ExternalStore>> {
    let found = KINDS.iter().find(|(kind, _)| *kind == declared.spec.kind);
    let (_, opener) = found.ok_or_else(|| unusable("this kind of store is not known"))?;
    opener(declared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_once() {
        use StoreKind::{Aws, Azure, Files, Google, Kubernetes, Vault};
        for kind in [Vault, Aws, Azure, Google, Kubernetes, Files] {
            assert_eq!(KINDS.iter().filter(|(listed, _)| *listed == kind).count(), 1, "{kind:?}");
        }
        assert_eq!(KINDS.len(), 6);
    }
}
