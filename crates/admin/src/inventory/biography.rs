//! One credential's life, brought together from the audit log, its versions and the call log.

use super::{before, observed, window};
use crate::{AdminState, calls, error::ApiError};
use credentialflow_governance::{Biography, CredentialKind, DayOfUse, VersionFacts};
use credentialflow_model::{AuditEvent, Fault, KeyId, Period, Timestamp, resource::Kind};
use credentialflow_store::AuditFilter;
use credentialflow_telemetry::CallFilter;
use std::collections::BTreeMap;

/// Events of the beginning and of the end that are told; those between are left out.
const FIRST: u32 = 200;
const LAST: u32 = 1000;
/// Applied configurations looked through for this credential.
const APPLIED: u32 = 1000;
/// The window of uses unless asked otherwise.
const WINDOW: Period = Period::from_secs(30 * 86_400);
/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// Of a credential we hold.
pub(crate) async fn of_credential(
    state: &AdminState,
    name: &str,
    asked: Option<Period>,
) -> Result<Biography, ApiError> {
    let uses = state.store.credential_uses(name).await?;
    let versions = state.store.credential_versions(name).await?;
    let versions = versions.into_iter().map(|row| {
        let used = uses.iter().find(|used| used.version == row.version);
        VersionFacts {
            version: row.version,
            state: row.state,
            created: row.created,
            promoted: row.promoted,
            retired: row.retired,
            last_used: used.map(|used| used.last_time),
            uses: Some(used.map_or(0, |used| used.count)),
        }
    });
    let filter = CallFilter { credential: Some(name.to_owned()), ..CallFilter::default() };
    tell(state, (CredentialKind::Credential, name), versions.collect(), Some(filter), asked).await
}

/// Of a key we issued.
pub(crate) async fn of_key(state: &AdminState, name: &str, asked: Option<Period>) -> Result<Biography, ApiError> {
    let (mut versions, mut filter) = (Vec::new(), None);
    if let Some(key) = state.store.key_by_name(name).await? {
        filter = Some(CallFilter { key: Some(key.id), ..CallFilter::default() });
        for secret in state.store.key_secrets(key.id).await? {
            versions.push(VersionFacts {
                version: secret.version,
                state: secret.state,
                created: secret.created,
                promoted: None,
                retired: secret.retire_at,
                last_used: None,
                uses: None,
            });
        }
    }
    tell(state, (CredentialKind::Key, name), versions, filter, asked).await
}

async fn tell(
    state: &AdminState,
    (kind, name): (CredentialKind, &str),
    versions: Vec<VersionFacts>,
    filter: Option<CallFilter>,
    asked: Option<Period>,
) -> Result<Biography, ApiError> {
    let window = window(asked, WINDOW)?;
    let collection = if kind == CredentialKind::Key { Kind::Keys } else { Kind::Credentials };
    let declared = state.store.resource(collection, name).await?.is_some();
    let (mut events, abridged) = own_events(state, &format!("{}/{name}", collection.as_str())).await?;
    if events.is_empty() && !declared {
        return Err(ApiError::not_found(collection.as_str(), name));
    }
    let filter = match filter {
        Some(filter) => Some(filter),
        // A key that is gone: its id stands in the event that issued it.
        None => events.iter().find_map(key_id).map(|key| CallFilter { key: Some(key), ..CallFilter::default() }),
    };
    let applied = AuditFilter { action: Some("config.apply".to_owned()), subject: None };
    events.extend(state.store.audit_events_before(0, APPLIED, &applied).await?);
    let days = match filter {
        Some(filter) => days(state, filter, window, kind == CredentialKind::Credential).await?,
        None => Vec::new(),
    };
    let mut told = credentialflow_governance::biography((kind, name, declared), &events, versions, &days);
    told.abridged = abridged;
    Ok(told)
}

fn key_id(event: &AuditEvent) -> Option<KeyId> {
    event.detail.get("key_id")?.as_str()?.parse().ok()
}

/// The first and the last events on a subject, and whether there are others between.
async fn own_events(state: &AdminState, subject: &str) -> Result<(Vec<AuditEvent>, bool), ApiError> {
    let filter = AuditFilter { action: None, subject: Some(subject.to_owned()) };
    let mut events = state.store.audit_events(0, FIRST, &filter).await?;
    if events.len() < FIRST as usize {
        return Ok((events, false));
    }
    let first = events.last().map_or(0, |event| event.seq);
    let last = state.store.audit_events_before(0, LAST, &filter).await?;
    let whole = last.last().is_none_or(|oldest| oldest.seq <= first) || last.len() < LAST as usize;
    events.extend(last.into_iter().filter(|event| event.seq > first));
    Ok((events, !whole))
}

/// Uses by day, and by version where they have one.
async fn days(
    state: &AdminState,
    filter: CallFilter,
    window: Period,
    by_version: bool,
) -> Result<Vec<DayOfUse>, ApiError> {
    let filter = CallFilter { since: Some(before(state.now(), window)), ..filter };
    let found = calls::read(state, move |log| {
        let mut days: BTreeMap<(i64, Option<u32>), (Timestamp, u64, u64)> = BTreeMap::new();
        log.walk(&filter, observed::MOST, observed::deadline(), |call| {
            let version = call.credential_version.filter(|_| by_version);
            let day = (call.time.micros().div_euclid(DAY), version);
            let (last, requests, refused) = days.entry(day).or_insert((call.time, 0, 0));
            *last = (*last).max(call.time);
            *requests += 1;
            *refused += u64::from(call.outcome.fault() != Fault::None);
        })?;
        Ok(days)
    })
    .await?;
    let days = found.into_iter().map(|((_, version), (last, requests, refused))| DayOfUse {
        last,
        version,
        requests,
        refused,
    });
    Ok(days.collect())
}
