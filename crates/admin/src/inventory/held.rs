//! The credentials we hold, with all their versions and uses, read in a few queries whatever their number.

use super::facts::Version;
use crate::{AdminState, error::ApiError};
use credentialflow_model::{Timestamp, resource::Kind};
use credentialflow_store::CredentialUse;
use std::collections::HashMap;

/// Versions read at a time; each comes with its sealed bytes, which are dropped at once.
const PAGE: u32 = 2000;

/// Versions and uses by credential.
#[derive(Default)]
pub(super) struct Held {
    /// When each was first declared.
    pub created: HashMap<String, Timestamp>,
    versions: HashMap<String, Vec<Version>>,
    uses: HashMap<String, Vec<CredentialUse>>,
}

impl Held {
    /// As stored now.
    pub(super) async fn read(state: &AdminState) -> Result<Self, ApiError> {
        let mut held = Self::default();
        for row in state.store.resources(Kind::Credentials).await? {
            held.created.insert(row.name.to_string(), row.created);
        }
        let mut after = None::<(String, u32)>;
        loop {
            let place = after.as_ref().map(|(name, version)| (name.as_str(), *version));
            let rows = state.store.credential_versions_after(place, PAGE).await?;
            let full = rows.len() == PAGE as usize;
            after = rows.last().map(|row| (row.credential.to_string(), row.version));
            for row in rows {
                held.versions.entry(row.credential.to_string()).or_default().push(row.into());
            }
            if !full {
                break;
            }
        }
        for used in state.store.all_credential_uses().await? {
            held.uses.entry(used.credential.clone()).or_default().push(used);
        }
        Ok(held)
    }

    /// A credential's versions, oldest first.
    pub(super) fn versions(&self, name: &str) -> &[Version] {
        self.versions.get(name).map_or(&[], Vec::as_slice)
    }

    /// How they were used.
    pub(super) fn uses(&self, name: &str) -> &[CredentialUse] {
        self.uses.get(name).map_or(&[], Vec::as_slice)
    }
}
