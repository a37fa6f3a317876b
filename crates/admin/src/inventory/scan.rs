//! Walks over every credential in a fixed order: kind by kind, credentials by name, keys by id.
//!
//! Keys may be a million, so they are read page by page (what the run-time API let in likewise), and a walk that has seen very many of them without filling a
//! page of the answer ends early with a place to go on.

use super::{Wanted, exposures, facts, held::Held, observed, values};
use crate::{
    AdminState,
    error::{ApiError, Code},
    ports::{NotTold, RunTimeApi},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use credentialflow_certificates::PlaceKind;
use credentialflow_governance::{CredentialKind, Direction, Entry, EntryState, Exposure, Facts, Graph, Surroundings};
use credentialflow_model::{KeyId, ResourceSet, Timestamp};
use credentialflow_store::LeaseState;
use std::{collections::HashMap, sync::Arc};

/// Keys looked at for one page of an answer at most.
pub(super) const MOST: usize = 20_000;
/// Keys read at a time.
const KEYS: u32 = 500;

/// Where a walk goes on: after this one of this kind.
pub(super) struct Cursor {
    kind: CredentialKind,
    after: String,
}

impl Cursor {
    pub(super) fn read(text: &str) -> Result<Self, ApiError> {
        let invalid = || ApiError::new(Code::InvalidRequest, "the cursor is not valid; begin again without one");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid())?;
        let text = String::from_utf8(bytes).map_err(|_| invalid())?;
        let (kind, after) = text.split_once('/').ok_or_else(invalid)?;
        Ok(Self { kind: kind.parse().map_err(|_| invalid())?, after: after.to_owned() })
    }

    pub(super) fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}/{}", self.kind, self.after))
    }
}

/// What a walk needs of the whole.
pub(super) struct Scan {
    kind: Option<CredentialKind>,
    set: Arc<ResourceSet>,
    recent: Arc<observed::Recent>,
    exposures: HashMap<String, Vec<Exposure>>,
    around: Surroundings,
}

impl Scan {
    pub(super) async fn new(state: &AdminState, wanted: &Wanted) -> Result<Self, ApiError> {
        let recent = observed::recent(state, wanted.window).await?;
        let around =
            Surroundings { now: state.now(), thresholds: wanted.thresholds.clone(), observed: recent.observed.clone() };
        let set = state.catalogue.view(&state.store).await?;
        Ok(Self { kind: wanted.kind, set, recent, exposures: exposures::known(state).await?, around })
    }

    /// What is declared, keys excepted.
    pub(super) fn set(&self) -> &ResourceSet {
        &self.set
    }

    pub(super) const fn around(&self) -> &Surroundings {
        &self.around
    }

    /// Hands every credential after a place to `see` until that answers `false` or `most` keys were looked at. Answers
    /// where to go on.
    pub(super) async fn walk(
        &self,
        state: &AdminState,
        from: Option<Cursor>,
        most: Option<usize>,
        mut see: impl FnMut(Facts, &Surroundings) -> bool + Send,
    ) -> Result<Option<Cursor>, ApiError> {
        let begin = from.as_ref().map_or(CredentialKind::ALL[0], |cursor| cursor.kind);
        let kinds = CredentialKind::ALL.into_iter().filter(|kind| *kind >= begin);
        for kind in kinds.filter(|kind| self.kind.is_none_or(|wanted| wanted == *kind)) {
            let after = from.as_ref().filter(|cursor| cursor.kind == kind).map(|cursor| cursor.after.as_str());
            use CredentialKind::{Login, Role, SecretId, Secrets, Token, User};
            let stopped = match kind {
                CredentialKind::Key => Some(self.keys(state, after, most, &mut see).await?),
                Login | Role | SecretId | User | Token | Secrets => {
                    Some(self.run_time(state, kind, after, most, &mut see).await?)
                }
                _ => None,
            };
            match stopped {
                Some(Some(after)) => return Ok(Some(Cursor { kind, after })),
                Some(None) => continue,
                None => {}
            }
            let few = match kind {
                CredentialKind::Credential => self.credentials(state).await?,
                CredentialKind::Certificate => self.certificates(state),
                CredentialKind::SigningKey => self.signing_keys(state).await?,
                CredentialKind::Leases => self.leases(state).await?,
                _ => tokens(state).await?,
            };
            for facts in few {
                if after.is_some_and(|after| facts.entry.name.as_str() <= after) {
                    continue;
                }
                let name = facts.entry.name.clone();
                if !see(facts, &self.around) {
                    return Ok(Some(Cursor { kind, after: name }));
                }
            }
        }
        Ok(None)
    }

    async fn credentials(&self, state: &AdminState) -> Result<Vec<Facts>, ApiError> {
        let held = Held::read(state).await?;
        let same = values::same_values(state, &self.set).await?;
        let graph = Graph::new(&self.set);
        let facts = self.set.credentials.iter().map(|spec| {
            let name = spec.name.as_str();
            let created = held.created.get(name).copied().unwrap_or(self.around.now);
            let (versions, uses) = (held.versions(name), held.uses(name));
            let traffic = &self.recent.traffic;
            let mut facts = facts::of_credential((spec, created), versions, uses, &graph, traffic, self.around.now);
            facts.same_value_as = same.get(name).cloned().unwrap_or_default();
            facts.exposures = self.exposures_of(&format!("credentials/{name}"));
            facts
        });
        Ok(facts.collect())
    }

    /// The certificates of our listeners, as they present them, and of authorities of the run-time API.
    fn certificates(&self, state: &AdminState) -> Vec<Facts> {
        state.settings.watch.select(|watched| {
            let ours = matches!(watched.place.kind, PlaceKind::Listener | PlaceKind::Authority);
            let facts =
                ours.then(|| facts::of_certificate(&watched.place.name, watched.certificate.clone(), self.around.now))?;
            Some(Facts { signs: watched.place.kind == PlaceKind::Authority, ..facts })
        })
    }

    /// The key that signs checkpoints of the audit log, and those of the run-time API.
    async fn signing_keys(&self, state: &AdminState) -> Result<Vec<Facts>, ApiError> {
        let name = "audit-checkpoints";
        let mut entry = Entry::new(CredentialKind::SigningKey, name, Direction::Held, EntryState::Active);
        entry.description = Some("signs checkpoints of the audit log".to_owned());
        entry.algorithm = Some("Ed25519".to_owned());
        let mut all = vec![Facts::new(entry)];
        if let Some(others) = run_time(state)? {
            let others = others.signing_keys().await;
            let others =
                others.map_err(|why| ApiError::internal("the keys of the run-time API cannot be told", &why))?;
            all.extend(others.into_iter().map(|key| facts::of_signing_key(key, self.around.now)));
        }
        all.sort_by(|a, b| a.entry.name.cmp(&b.entry.name));
        Ok(all)
    }

    /// Answers the name after which to go on, if the walk was stopped.
    async fn run_time(
        &self,
        state: &AdminState,
        kind: CredentialKind,
        after: Option<&str>,
        most: Option<usize>,
        see: &mut (impl FnMut(Facts, &Surroundings) -> bool + Send),
    ) -> Result<Option<String>, ApiError> {
        let Some(api) = run_time(state)? else { return Ok(None) };
        let graph = Graph::new(&self.set);
        let (mut after, mut looked) = (after.unwrap_or_default().to_owned(), 0);
        loop {
            let page = api.credentials(kind, &after, KEYS).await.map_err(not_told)?;
            for of in page.items.into_iter().filter(|of| of.name > after) {
                let name = of.name.clone();
                if !see(facts::of_run_time(kind, of, &graph, self.around.now), &self.around) {
                    return Ok(Some(name));
                }
            }
            let Some(next) = page.next else { return Ok(None) };
            looked += KEYS as usize;
            after = next;
            if most.is_some_and(|most| looked >= most) {
                return Ok(Some(after));
            }
        }
    }

    async fn leases(&self, state: &AdminState) -> Result<Vec<Facts>, ApiError> {
        let mut mounts: Vec<Entry> = Vec::new();
        // What begins with a control character is no mount: rows that only tell when something is due.
        let counts = state.store.lease_counts().await?.into_iter();
        for counted in counts.filter(|counted| !counted.mount.starts_with(char::is_control)) {
            let word = match counted.state {
                LeaseState::Pending => "being made",
                LeaseState::Active => "active",
                LeaseState::Revoking => "being revoked",
                LeaseState::Stuck => "stuck",
            };
            let told = format!("{} {word}", counted.count);
            match mounts.last_mut().filter(|entry| entry.name == counted.mount) {
                Some(entry) => {
                    entry.count = entry.count.map(|n| n + counted.count);
                    entry.created = oldest(entry.created, counted.oldest);
                    entry.description = entry.description.take().map(|text| format!("{text}, {told}"));
                }
                None => {
                    let mut entry =
                        Entry::new(CredentialKind::Leases, counted.mount, Direction::Issued, EntryState::Active);
                    (entry.count, entry.created, entry.description) = (Some(counted.count), counted.oldest, Some(told));
                    mounts.push(entry);
                }
            }
        }
        Ok(mounts.into_iter().map(Facts::new).collect())
    }

    /// Answers the id after which to go on, if the walk was stopped.
    async fn keys(
        &self,
        state: &AdminState,
        after: Option<&str>,
        most: Option<usize>,
        see: &mut (impl FnMut(Facts, &Surroundings) -> bool + Send),
    ) -> Result<Option<String>, ApiError> {
        let invalid = || ApiError::new(Code::InvalidRequest, "the cursor is not valid; begin again without one");
        let mut after = after.map(|id| id.parse::<KeyId>().map_err(|_| invalid())).transpose()?;
        let mut looked = 0;
        let graph = Graph::new(&self.set);
        loop {
            let records = state.store.keys_after(after, KEYS).await?;
            let ids: Vec<_> = records.iter().map(|record| record.key.id).collect();
            let uses: HashMap<_, _> =
                state.store.key_uses(&ids).await?.into_iter().map(|used| (used.key_id, used)).collect();
            for record in &records {
                let exposures = self.exposures_of(&format!("keys/{}", record.key.name));
                let used = uses.get(&record.key.id);
                let facts = facts::of_key(record, used, &graph, &self.recent.traffic, exposures, self.around.now)?;
                if let Some(facts) = facts
                    && !see(facts, &self.around)
                {
                    return Ok(Some(record.key.id.to_string()));
                }
            }
            looked += records.len();
            after = ids.last().copied().or(after);
            if records.len() < KEYS as usize {
                return Ok(None);
            }
            if most.is_some_and(|most| looked >= most) {
                return Ok(after.map(|id| id.to_string()));
            }
        }
    }

    fn exposures_of(&self, subject: &str) -> Vec<Exposure> {
        self.exposures.get(subject).cloned().unwrap_or_default()
    }
}

/// The run-time API, where this node has one.
fn run_time(state: &AdminState) -> Result<Option<&Arc<dyn RunTimeApi>>, ApiError> {
    match &state.settings.run_time {
        Some(_) if state.vault.is_sealed() => Err(not_told(NotTold::Sealed)),
        api => Ok(api.as_ref()),
    }
}

pub(crate) fn not_told(why: NotTold) -> ApiError {
    match why {
        NotTold::Sealed => {
            ApiError::new(Code::Sealed, "what the run-time API keeps cannot be told while the vault is sealed")
        }
        NotTold::Failed(why) => ApiError::internal("what the run-time API keeps cannot be told", &why),
    }
}

fn oldest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

async fn tokens(state: &AdminState) -> Result<Vec<Facts>, ApiError> {
    let (all, endless) = state.store.token_counts().await?;
    if all == 0 {
        return Ok(Vec::new());
    }
    let mut entry = Entry::new(CredentialKind::Tokens, "run-time-api", Direction::Issued, EntryState::Active);
    entry.count = Some(all);
    entry.description = Some(format!("{endless} of them never expire"));
    Ok(vec![Facts::new(entry)])
}
