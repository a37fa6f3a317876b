//! What is due: the declared links and how each stands, brought up to date from the change feed.

use super::{Link, Links, declared, open::away, work::row_of};
use crate::{Result, error::unusable};
use credentialflow_model::{
    Name, Timestamp,
    lifecycle::VersionState,
    resource::{Credential, Kind, SecretStore},
};
use credentialflow_store::{ChangeKind, LinkDirection, LinkRow};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Changes read at a time.
const PAGE: u32 = 1000;

/// Every credential that has links.
pub(super) struct Due {
    seq: i64,
    linked: BTreeMap<Name, Linked>,
    /// What lets us into which store.
    access: HashMap<String, String>,
}

struct Linked {
    links: Vec<Link>,
    /// The version in use.
    current: Option<u32>,
    rows: Vec<LinkRow>,
}

impl Linked {
    /// When a link is to be tried: `None` while there is nothing to do.
    fn at(&self, link: &Link) -> Option<Timestamp> {
        let row = row_of(&self.rows, link);
        let when = row.and_then(|row| row.next_attempt).unwrap_or(Timestamp::from_micros(0));
        match link.direction {
            LinkDirection::Read => Some(when),
            LinkDirection::Write => {
                let wanted = self.current.filter(|current| row.and_then(|row| row.version) != Some(*current));
                wanted.map(|_| when)
            }
        }
    }
}

impl Due {
    /// Reads everything.
    pub(super) async fn load(links: &Links) -> Result<Self> {
        let store = &links.0.store;
        // Read first: what changes meanwhile is read twice, never missed.
        let seq = store.latest_change().await.map_err(away)?;
        let mut rows: HashMap<Name, Vec<LinkRow>> = HashMap::new();
        for row in store.links().await.map_err(away)? {
            rows.entry(row.credential.clone()).or_default().push(row);
        }
        let mut due = Self { seq, linked: BTreeMap::new(), access: HashMap::new() };
        for row in store.resources(Kind::Stores).await.map_err(away)? {
            due.note_access(row.name.as_str(), Some(&row.body));
        }
        for stored in store.resources(Kind::Credentials).await.map_err(away)? {
            let Ok(credential) = serde_json::from_str::<Credential>(&stored.body) else {
                tracing::warn!(credential = %stored.name, "a stored credential cannot be read; its links rest");
                rows.remove(&stored.name);
                continue;
            };
            let rows = rows.remove(&credential.name).unwrap_or_default();
            due.take(links, &credential, rows).await?;
        }
        let gone: Vec<LinkRow> = rows.into_values().flatten().collect();
        if !gone.is_empty() {
            links.forget(&gone).await?;
        }
        Ok(due)
    }

    /// Reads what changed since.
    pub(super) async fn follow(&mut self, links: &Links) -> Result<()> {
        let mut touched = BTreeSet::new();
        loop {
            let changes = links.0.store.changes_since(self.seq, PAGE).await.map_err(away)?;
            let full = changes.len() == PAGE as usize;
            for change in changes {
                self.seq = change.seq;
                match change.kind {
                    ChangeKind::Resource(Kind::Credentials) => drop(touched.insert(change.name)),
                    ChangeKind::CredentialVersions => {
                        // What failed for want of access may work now.
                        self.let_in(&change.name);
                        if self.knows(&change.name) {
                            touched.insert(change.name);
                        }
                    }
                    // What failed because of how a store was declared may work now.
                    ChangeKind::Resource(Kind::Stores) => {
                        let row = links.0.store.resource(Kind::Stores, &change.name).await.map_err(away)?;
                        self.note_access(&change.name, row.as_ref().map(|row| row.body.as_str()));
                        self.try_again(&change.name);
                    }
                    _ => {}
                }
            }
            if !full {
                break;
            }
        }
        for name in touched {
            let name: Name = name.parse().map_err(|_| unusable("a change names what is no name"))?;
            self.reload(links, &name).await?;
        }
        Ok(())
    }

    fn knows(&self, name: &str) -> bool {
        name.parse().is_ok_and(|name: Name| self.linked.contains_key(&name))
    }

    fn note_access(&mut self, store: &str, body: Option<&str>) {
        let spec = body.and_then(|body| serde_json::from_str::<SecretStore>(body).ok());
        match spec.and_then(|spec| spec.credential) {
            Some(credential) => drop(self.access.insert(store.to_owned(), credential.to_string())),
            None => drop(self.access.remove(store)),
        }
    }

    /// Lets the failing links of the stores be tried at once that this credential lets us into.
    fn let_in(&mut self, credential: &str) {
        let stores: Vec<String> =
            self.access.iter().filter(|(_, by)| *by == credential).map(|(store, _)| store.clone()).collect();
        stores.iter().for_each(|store| self.try_again(store));
    }

    /// Lets the failing links of a store be tried at once.
    fn try_again(&mut self, store: &str) {
        for row in self.linked.values_mut().flat_map(|linked| &mut linked.rows) {
            if row.attempts > 0 && row.place.split_once('/').is_some_and(|(name, _)| name == store) {
                row.next_attempt = None;
            }
        }
    }

    /// Reads one credential again.
    pub(super) async fn reload(&mut self, links: &Links, name: &Name) -> Result<()> {
        let rows = links.0.store.links_of(name.as_str()).await.map_err(away)?;
        match links.credential(name).await {
            Ok(Some(credential)) => self.take(links, &credential, rows).await,
            Ok(None) => {
                self.linked.remove(name);
                if rows.is_empty() { Ok(()) } else { links.forget(&rows).await }
            }
            Err(error) => Err(error),
        }
    }

    async fn take(&mut self, links: &Links, credential: &Credential, rows: Vec<LinkRow>) -> Result<()> {
        let wanted = declared(credential);
        let (rows, gone): (Vec<_>, Vec<_>) = rows
            .into_iter()
            .partition(|row| wanted.iter().any(|link| row_of(std::slice::from_ref(row), link).is_some()));
        if !gone.is_empty() {
            links.forget(&gone).await?;
        }
        if wanted.is_empty() {
            self.linked.remove(&credential.name);
            return Ok(());
        }
        let versions = links.0.store.credential_versions(credential.name.as_str()).await.map_err(away)?;
        let current = versions.iter().find(|v| v.state == VersionState::Current).map(|v| v.version);
        self.linked.insert(credential.name.clone(), Linked { links: wanted, current, rows });
        Ok(())
    }

    /// What is due now, and when the next one is.
    pub(super) fn at(&self, now: Timestamp) -> (Vec<Link>, Option<Timestamp>) {
        let (mut due, mut next) = (Vec::new(), None::<Timestamp>);
        for linked in self.linked.values() {
            for link in &linked.links {
                match linked.at(link) {
                    Some(when) if when <= now => due.push(link.clone()),
                    Some(when) => next = Some(next.map_or(when, |next| next.min(when))),
                    None => {}
                }
            }
        }
        (due, next)
    }
}
