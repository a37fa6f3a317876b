//! What is due: the declared links and how each stands, brought up to date from the change feed, and the
//! credentials in the order in which one of their links is to be tried.
//!
//! A database that was restored to an older state has the same numbers for other changes. The audit chain
//! tells it apart (`Followed::continues`), and everything is read anew.

use super::{Link, Links, declared, open::away, work::row_of, write::held};
use crate::{Result, error::unusable};
use credentialflow_model::{
    Name, Timestamp,
    lifecycle::VersionState,
    resource::{Credential, Kind, SecretStore},
};
use credentialflow_store::{ChangeKind, LinkDirection, LinkRow};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Changes read at a time.
const PAGE: u32 = 1000;

/// Every credential that has links.
pub(super) struct Due {
    seq: i64,
    /// A place in the audit chain that is not after what is known here, and its hash.
    mark: (u64, [u8; 32]),
    linked: BTreeMap<Name, Linked>,
    /// When a credential is to be looked at, soonest first: each at most once.
    queue: BTreeSet<(Timestamp, Name)>,
    /// What lets us into which store.
    access: HashMap<String, String>,
}

struct Linked {
    links: Vec<Link>,
    /// The version in use.
    current: Option<u32>,
    rows: Vec<LinkRow>,
    /// Where it stands in the queue.
    queued: Option<Timestamp>,
}

impl Linked {
    /// When a link is to be tried: `None` while there is nothing to do.
    fn at(&self, link: &Link) -> Option<Timestamp> {
        let row = row_of(&self.rows, link);
        let when = row.and_then(|row| row.next_attempt).unwrap_or(Timestamp::from_micros(0));
        match link.direction {
            LinkDirection::Read => Some(when),
            LinkDirection::Write => {
                let held = row.and_then(held);
                self.current.filter(|current| held != Some(*current)).map(|_| when)
            }
        }
    }
}

impl Due {
    /// Reads everything.
    pub(super) async fn load(links: &Links) -> Result<Self> {
        let store = &links.0.store;
        // Read first: what changes meanwhile is read twice, never missed.
        let (seq, mark) = store.latest_place().await.map_err(away)?;
        let mut rows: HashMap<Name, Vec<LinkRow>> = HashMap::new();
        for row in store.links().await.map_err(away)? {
            rows.entry(row.credential.clone()).or_default().push(row);
        }
        let mut due = Self { seq, mark, linked: BTreeMap::new(), queue: BTreeSet::new(), access: HashMap::new() };
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

    /// Reads what changed since. `false` where the database is of another history, and this of no use any more.
    pub(super) async fn follow(&mut self, links: &Links) -> Result<bool> {
        let mut touched = BTreeSet::new();
        loop {
            let followed = links.0.store.follow_changes(self.seq, self.mark.0, PAGE).await.map_err(away)?;
            if !followed.continues(Some(self.mark)) {
                return Ok(false);
            }
            self.mark = followed.head;
            let full = followed.changes.len() == PAGE as usize;
            for change in followed.changes {
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
        Ok(true)
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
        let mut sooner = Vec::new();
        for (credential, linked) in &mut self.linked {
            for row in &mut linked.rows {
                if row.attempts > 0 && row.place.split_once('/').is_some_and(|(name, _)| name == store) {
                    row.next_attempt = None;
                    sooner.push(credential.clone());
                }
            }
        }
        sooner.iter().for_each(|credential| self.enqueue(credential, &HashSet::new()));
    }

    /// Puts a credential into the queue at the time of its soonest link that is not being tried.
    fn enqueue(&mut self, credential: &Name, running: &HashSet<Link>) {
        let Some(linked) = self.linked.get_mut(credential) else { return };
        let idle = linked.links.iter().filter(|link| !running.contains(*link));
        let soonest = idle.filter_map(|link| linked.at(link)).min();
        let before = std::mem::replace(&mut linked.queued, soonest);
        if let Some(before) = before {
            self.queue.remove(&(before, credential.clone()));
        }
        self.queue.extend(soonest.map(|at| (at, credential.clone())));
    }

    fn remove(&mut self, credential: &Name) {
        if let Some(at) = self.linked.remove(credential).and_then(|linked| linked.queued) {
            self.queue.remove(&(at, credential.clone()));
        }
    }

    /// Reads one credential again.
    pub(super) async fn reload(&mut self, links: &Links, name: &Name) -> Result<()> {
        let rows = links.0.store.links_of(name.as_str()).await.map_err(away)?;
        match links.credential(name).await {
            Ok(Some(credential)) => self.take(links, &credential, rows).await,
            Ok(None) => {
                self.remove(name);
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
            self.remove(&credential.name);
            return Ok(());
        }
        let versions = links.0.store.credential_versions(credential.name.as_str()).await.map_err(away)?;
        let current = versions.iter().find(|v| v.state == VersionState::Current).map(|v| v.version);
        self.remove(&credential.name);
        self.linked.insert(credential.name.clone(), Linked { links: wanted, current, rows, queued: None });
        self.enqueue(&credential.name, &HashSet::new());
        Ok(())
    }

    /// What is due now and not being tried yet: from here on it is. A credential's links come back into the queue
    /// when it is read again.
    pub(super) fn begin(&mut self, now: Timestamp, running: &mut HashSet<Link>) -> Vec<Link> {
        let mut due = Vec::new();
        while self.queue.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, credential)) = self.queue.pop_first() else { break };
            if let Some(linked) = self.linked.get(&credential) {
                let ready = linked.links.iter().filter(|link| linked.at(link).is_some_and(|at| at <= now));
                due.extend(ready.filter(|link| running.insert((*link).clone())).cloned());
            }
            self.enqueue(&credential, running);
        }
        due
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.queue.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use credentialflow_model::{Actor, SecretValue};
    use credentialflow_store::{Expect, Store};
    use credentialflow_vault::{SealInput, Vault};

    fn link(credential: &str, direction: LinkDirection) -> Link {
        Link { credential: credential.parse().unwrap(), direction, place: "s/a".parse().unwrap() }
    }

    fn row(link: &Link, version: Option<u32>, attempts: u32, next: Option<i64>) -> LinkRow {
        LinkRow {
            credential: link.credential.clone(),
            direction: link.direction,
            place: link.place.to_string(),
            version,
            remote: None,
            attempts,
            next_attempt: next.map(Timestamp::from_micros),
            succeeded: None,
            error: None,
        }
    }

    fn due(all: Vec<(Link, LinkRow)>) -> Due {
        let (linked, queue, access) = (BTreeMap::new(), BTreeSet::new(), HashMap::new());
        let mut due = Due { seq: 0, mark: (0, [0; 32]), linked, queue, access };
        for (link, row) in all {
            let name = link.credential.clone();
            let linked = Linked { links: vec![link], current: Some(2), rows: vec![row], queued: None };
            due.linked.insert(name.clone(), linked);
            due.enqueue(&name, &HashSet::new());
        }
        due
    }

    #[test]
    fn a_destination_that_failed_is_due_whatever_it_is_thought_to_hold() {
        let link = link("c", LinkDirection::Write);
        let at = |version, attempts| due(vec![(link.clone(), row(&link, version, attempts, Some(7)))]).next();
        let seven = Some(Timestamp::from_micros(7));
        assert_eq!((at(Some(2), 0), at(Some(2), 1), at(Some(1), 0), at(None, 1)), (None, seven, seven, seven));
    }

    #[test]
    fn what_is_due_comes_in_the_order_of_its_time_and_once() {
        let of = |name: &str, at| {
            let link = link(name, LinkDirection::Read);
            (link.clone(), row(&link, None, 0, Some(at)))
        };
        let mut due = due(vec![of("late", 30), of("second", 20), of("first", 10)]);
        let mut running = HashSet::new();
        let mut begin = |due: &mut Due, at| {
            let begun = due.begin(Timestamp::from_micros(at), &mut running);
            begun.iter().map(|link| link.credential.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(begin(&mut due, 9), [""; 0]);
        assert_eq!(begin(&mut due, 20), ["first", "second"]);
        // Being tried, they are in nobody's way, also when they are read again meanwhile.
        assert_eq!(due.next(), Some(Timestamp::from_micros(30)));
        due.enqueue(&"first".parse().unwrap(), &HashSet::new());
        assert_eq!(begin(&mut due, 20), [""; 0]);
        assert_eq!((due.next(), due.queue.len()), (Some(Timestamp::from_micros(30)), 1));
        assert_eq!(begin(&mut due, 30), ["late"]);
        assert_eq!(due.next(), None);
    }

    async fn declare(store: &credentialflow_store::Store, kind: Kind, body: serde_json::Value) {
        let mut tx = store.begin(&Actor::operator()).await.unwrap();
        let name = body["name"].as_str().unwrap().parse().unwrap();
        tx.put_resource(kind, &name, &body.to_string(), Expect::Anything).await.unwrap();
        tx.audit("test.declare", name.as_str(), serde_json::json!({}));
        tx.commit().await.unwrap();
    }

    #[tokio::test]
    async fn a_restored_database_is_not_followed_by_numbers_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (here, backup) = (dir.path().join("here.db"), dir.path().join("backup.db"));
        let open = |path: &std::path::Path| format!("sqlite:{}", path.display());
        let store = Store::connect(&open(&here)).await.unwrap();
        store.migrate().await.unwrap();
        let input = SealInput::Environment(SecretValue::from("a passphrase of a test"));
        let vault = Vault::init(&store, &Actor::operator(), input).await.unwrap().vault;
        store.close().await;
        std::fs::copy(&here, &backup).unwrap();
        let (one, other) = (Store::connect(&open(&here)).await.unwrap(), Store::connect(&open(&backup)).await.unwrap());
        let links = Links::new(one.clone(), vault.clone(), None);
        let restored = Links::new(other.clone(), vault, None);
        let mut due = Due::load(&links).await.unwrap();
        declare(&one, Kind::Teams, serde_json::json!({ "name": "a" })).await;
        assert!(due.follow(&links).await.unwrap());
        let body = serde_json::json!({ "name": "c", "engine": "static", "value": "${store:s/a}" });
        declare(&other, Kind::Credentials, body).await;
        assert_eq!(one.latest_change().await.unwrap(), other.latest_change().await.unwrap());
        assert!(!due.follow(&restored).await.unwrap());
        let mut anew = Due::load(&restored).await.unwrap();
        assert!(anew.follow(&restored).await.unwrap());
        assert_eq!(anew.begin(Timestamp::from_micros(1), &mut HashSet::new()), [link("c", LinkDirection::Read)]);
    }
}
