//! Links: each place that a credential's values come from or go to, kept in step by itself.
//!
//! What is to be done follows from what is declared and what is stored: a source is read again when its
//! time has come, a destination is written when it does not hold the version in use. How each attempt
//! ended is stored with its audit event, so that a crash forgets nothing, and another node can go on. Each
//! link is tried in a task of its own; one that fails is tried again after 1 s, doubled up to 5 minutes,
//! or when the store says, and holds up no other.

mod due;
mod keep;
mod open;
mod runner;
mod work;
mod write;

use credentialflow_model::{Name, SecretPlace, resource::Credential};
use credentialflow_store::{LinkDirection, Store};
use credentialflow_vault::Vault;
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};

/// Reads, writes and watches the links of every credential. Cheap to clone.
#[derive(Clone)]
pub struct Links(Arc<Inner>);

struct Inner {
    store: Store,
    vault: Vault,
    open: open::OpenStores,
    /// How often in a row a source's newer value had to wait for a rotation. Lost with the process: then the wait
    /// is told once more.
    waiting: Mutex<HashMap<Link, u32>>,
    turns: write::Turns,
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Links").finish_non_exhaustive()
    }
}

/// How one link went when it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkReport {
    /// Which way.
    pub direction: LinkDirection,
    /// The place, as in `team-vault/apps/orders#token`.
    pub place: String,
    /// Why nothing came of it.
    pub error: Option<String>,
}

/// One link of a credential, as declared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Link {
    credential: Name,
    direction: LinkDirection,
    place: SecretPlace,
}

impl Links {
    /// Over the store that has the declarations and the vault that opens and seals the values. `files` is
    /// the directory in which stores of the kind `files` may lie.
    pub fn new(store: Store, vault: Vault, files: Option<PathBuf>) -> Self {
        let open = open::OpenStores::new(store.clone(), vault.clone(), files);
        Self(Arc::new(Inner { store, vault, open, waiting: Mutex::default(), turns: write::Turns::default() }))
    }
}

/// The links that a credential declares.
fn declared(credential: &Credential) -> Vec<Link> {
    let link = |direction, place| Link { credential: credential.name.clone(), direction, place };
    let source = credential.source().cloned().map(|place| link(LinkDirection::Read, place));
    source.into_iter().chain(credential.sync.iter().map(|rule| link(LinkDirection::Write, rule.place()))).collect()
}
