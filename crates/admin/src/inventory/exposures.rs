//! What secret scanners found: compared with our own values in memory, kept as places in the audit log.
//!
//! Of a report only the places are kept, and only those at which one of our values stands. The secrets in it are
//! compared (keys by their checksum and keyed hash, values of credentials by a hash under a key of the moment) and
//! wiped. An exposure is an audit event, so it cannot be taken back; the finding goes away when the version that
//! leaked is no longer accepted.

use super::{facts, values::Marks};
use crate::{
    AdminState,
    api::inventory::{ImportedReport, Matched},
    catalogue,
    error::{ApiError, Code},
};
use credentialflow_governance::{
    CredentialKind, Exposure,
    report::{self, Item, Report},
};
use credentialflow_model::{Actor, KeyId, KeyToken, SecretValue, Timestamp, lifecycle::VersionState, resource::Key};
use credentialflow_store::{AuditFilter, KeyRecord, KeySecretRow};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet, hash_map::Entry};

const ACTIONS: [&str; 2] = ["credential.exposed", "key.exposed"];
/// Events read at a time, and in all.
const PAGE: u32 = 1000;
const MOST: usize = 20_000;
/// Most places told in one event.
const PLACES: usize = 50;

/// What is known already, by subject.
pub(super) async fn known(state: &AdminState) -> Result<HashMap<String, Vec<Exposure>>, ApiError> {
    let mut found: HashMap<String, Vec<Exposure>> = HashMap::new();
    for action in ACTIONS {
        let filter = AuditFilter { action: Some(action.to_owned()), subject: None };
        let (mut before, mut read) = (0, 0);
        loop {
            let events = state.store.audit_events_before(before, PAGE, &filter).await?;
            read += events.len();
            before = events.last().map_or(0, |event| event.seq);
            let full = events.len() == PAGE as usize && read < MOST;
            for event in events {
                let time = event.time;
                let places = exposures(&event.detail).map(|e| Exposure { reported: Some(time), ..e });
                found.entry(event.subject.clone()).or_default().extend(places);
            }
            if !full {
                break;
            }
        }
    }
    Ok(found)
}

fn exposures(detail: &Value) -> impl Iterator<Item = Exposure> + '_ {
    let version = detail.get("version").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let tool = detail.get("tool").and_then(Value::as_str).unwrap_or_default().to_owned();
    let places = detail.get("places").and_then(Value::as_array);
    places.into_iter().flatten().map(move |place| {
        let text = |name: &str| place.get(name).and_then(Value::as_str).map(str::to_owned);
        Exposure {
            version,
            tool: tool.clone(),
            rule: text("rule"),
            file: text("file"),
            line: place.get("line").and_then(Value::as_u64),
            commit: text("commit"),
            reported: None,
        }
    })
}

/// Whose value was found.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Subject {
    kind: CredentialKind,
    name: String,
    version: u32,
}

/// Reads a report and records where it found values of ours.
pub(crate) async fn import(state: &AdminState, actor: &Actor, text: &SecretValue) -> Result<ImportedReport, ApiError> {
    let Report { tool, items, redacted } =
        report::parse(text.expose()).map_err(|error| ApiError::new(Code::InvalidRequest, error.to_string()))?;
    let marks = Marks::make(state).await?;
    let mut found: BTreeMap<Subject, (VersionState, Vec<Exposure>)> = BTreeMap::new();
    let (mut keys, mut unmatched) = (HashMap::new(), 0u64);
    for item in &items {
        let mut owners = Vec::new();
        for candidate in &item.candidates {
            for marked in marks.find(candidate.expose()) {
                let name = marked.credential.to_string();
                let subject = Subject { kind: CredentialKind::Credential, name, version: marked.version };
                owners.push((subject, marked.state));
            }
            owners.extend(key_of(state, candidate, &mut keys).await?);
        }
        unmatched += u64::from(owners.is_empty());
        for (subject, version_state) in owners {
            let place = place(item, subject.version, tool.as_str());
            let (_, places) = found.entry(subject).or_insert_with(|| (version_state, Vec::new()));
            if !places.contains(&place) {
                places.push(place);
            }
        }
    }
    let before = known(state).await?;
    let mut tx = state.store.begin(actor).await?;
    let (mut matches, mut recorded) = (Vec::new(), 0);
    for (subject, (version_state, places)) in found {
        let noun = subject.kind.as_str();
        let path = format!("{noun}s/{}", subject.name);
        let told: HashSet<_> = before.get(&path).into_iter().flatten().map(same_place).collect();
        let fresh: Vec<_> = places.iter().filter(|place| !told.contains(&same_place(place))).collect();
        for places in fresh.chunks(PLACES) {
            let places: Vec<_> = places.iter().map(|place| written(place)).collect();
            let detail = json!({ "version": subject.version, "tool": tool.as_str(), "places": places });
            tx.audit(&format!("{noun}.exposed"), &path, detail);
        }
        recorded += fresh.len() as u64;
        matches.push(Matched {
            kind: subject.kind,
            name: subject.name,
            version: subject.version,
            state: version_state,
            works: version_state.is_live(),
            new_places: fresh.len() as u64,
            places,
        });
    }
    let total = items.len() as u64 + redacted;
    let detail = json!({ "tool": tool.as_str(), "findings": total, "matched": matches.len(), "recorded": recorded });
    tx.audit("inventory.import", "inventory", detail);
    tx.commit().await?;
    Ok(ImportedReport { tool: tool.as_str().to_owned(), findings: total, redacted, unmatched, recorded, matches })
}

/// What makes two exposures the same place.
fn same_place(e: &Exposure) -> (u32, Option<String>, Option<u64>, Option<String>) {
    (e.version, e.file.clone(), e.line, e.commit.clone())
}

fn place(item: &Item, version: u32, tool: &str) -> Exposure {
    Exposure {
        version,
        tool: tool.to_owned(),
        rule: item.rule.clone(),
        file: item.file.clone(),
        line: item.line,
        commit: item.commit.clone(),
        reported: None,
    }
}

fn written(place: &Exposure) -> Value {
    let mut told = serde_json::Map::new();
    let mut put = |name: &str, value: Option<Value>| drop(value.map(|value| told.insert(name.to_owned(), value)));
    put("rule", place.rule.clone().map(Value::from));
    put("file", place.file.clone().map(Value::from));
    put("line", place.line.map(Value::from));
    put("commit", place.commit.clone().map(Value::from));
    Value::Object(told)
}

/// The keys met so far, so that one that stands in a thousand places is read once.
type Keys = HashMap<KeyId, Option<KeyRecord>>;

/// Where a key's secret is in its life, the end of the key itself included.
fn state_of(record: &KeyRecord, secret: &KeySecretRow, now: Timestamp) -> Result<VersionState, ApiError> {
    let expires = match &record.body {
        Some(body) => catalogue::parse::<Key>(body)?.expires,
        None => None,
    };
    let works = facts::secret_state(secret, now);
    Ok(if works.is_live() && expires.is_some_and(|end| end <= now) { VersionState::Expired } else { works })
}

/// The key of ours that a text is, with the version of its secret. Its checksum is looked at first, so that nothing is
/// read for what cannot be one.
async fn key_of(
    state: &AdminState,
    candidate: &SecretValue,
    keys: &mut Keys,
) -> Result<Option<(Subject, VersionState)>, ApiError> {
    let Some(token) = KeyToken::parse(candidate.expose()) else { return Ok(None) };
    let stored = match keys.entry(token.id) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(new) => new.insert(match state.store.key(token.id).await? {
            Some(row) => state.store.key_record(row.name.as_str()).await?,
            None => None,
        }),
    };
    let Some(record) = stored else { return Ok(None) };
    for pepper in state.vault.peppers()? {
        let hash = pepper.hash(token.expose_secret());
        let same = |s: &&KeySecretRow| {
            s.pepper_id == pepper.id && aws_lc_rs::constant_time::verify_slices_are_equal(&s.hash, &hash).is_ok()
        };
        if let Some(secret) = record.secrets.iter().find(same) {
            let name = record.key.name.to_string();
            let subject = Subject { kind: CredentialKind::Key, name, version: secret.version };
            return Ok(Some((subject, state_of(record, secret, state.now())?)));
        }
    }
    Ok(None)
}
