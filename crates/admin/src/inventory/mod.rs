//! The inventory: everything known about every credential, brought together for `governance` to judge.
//!
//! Facts come from what is declared, from what is stored about versions and uses, from the audit log and from the
//! call log of this node. Keys may be a million and are walked page by page, as is what the run-time API let in; leases
//! and tokens are only counted.

pub(crate) mod biography;
pub(crate) mod blast;
pub(crate) mod exposures;
mod facts;
mod held;
mod observed;
mod scan;
pub(crate) mod values;

use crate::{
    AdminState,
    api::{
        answer::Page,
        inventory::{FindingCount, InventoryQuery, InventorySummary, KindCount},
        request::limited,
    },
    error::{ApiError, Code},
};
use credentialflow_governance::{
    CredentialKind, Entry, EntryState, Facts, Finding, Graph, Issuer, Rule, Severity, Surroundings, Thresholds,
    findings,
};
use credentialflow_model::{Period, Timestamp};
use credentialflow_store::AuditFilter;
pub(crate) use scan::not_told;
use scan::{Cursor, Scan};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tokio::sync::Mutex;

/// What is kept between requests, because it is costly to bring together.
#[derive(Default)]
pub(crate) struct Kept {
    observed: observed::Kept,
    values: values::Kept,
    summary: Mutex<Option<Counted>>,
}

/// Everything counted, for what was asked, when, and how long it took.
struct Counted {
    asked: String,
    made: Instant,
    cost: Duration,
    summary: InventorySummary,
}

impl Counted {
    /// Whether it may be shown once more: counting a million keys takes no more than a twentieth of the time.
    fn serves(&self, asked: &str) -> bool {
        self.asked == asked && self.made.elapsed() < self.cost * 20
    }
}

/// The window of traffic that is looked at unless asked otherwise.
const WINDOW: Period = Period::from_secs(7 * 86_400);
/// The longest; the call log keeps no more.
const MAX_WINDOW: Period = Period::from_secs(30 * 86_400);

/// A window of traffic that was asked for.
pub(crate) fn window(asked: Option<Period>, otherwise: Period) -> Result<Period, ApiError> {
    let window = asked.unwrap_or(otherwise);
    if window < Period::from_secs(60) || window > MAX_WINDOW {
        return Err(ApiError::new(Code::InvalidRequest, "a window is 1m to 30d"));
    }
    Ok(window)
}

/// The moment a period ago.
pub(crate) fn before(now: Timestamp, period: Period) -> Timestamp {
    let micros = i64::try_from(period.as_duration().as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.micros().saturating_sub(micros))
}

/// The conditions of a query, read.
struct Wanted {
    kind: Option<CredentialKind>,
    finding: Option<Rule>,
    severity: Option<Severity>,
    owner: Option<String>,
    team: Option<String>,
    state: Option<EntryState>,
    unused_since: Option<Timestamp>,
    q: Option<String>,
    thresholds: Thresholds,
    window: Period,
}

impl Wanted {
    fn read(query: &InventoryQuery) -> Result<Self, ApiError> {
        let usual = Thresholds::default();
        let invalid = |error: &dyn std::fmt::Display| ApiError::new(Code::InvalidRequest, error.to_string());
        Ok(Self {
            kind: query.kind,
            finding: query.finding.as_deref().map(str::parse).transpose().map_err(|error| invalid(&error))?,
            severity: query.severity,
            owner: query.owner.clone(),
            team: query.team.clone(),
            state: query.state,
            unused_since: query.unused_since,
            q: query.q.as_ref().map(|q| q.to_lowercase()),
            thresholds: Thresholds {
                stale_after: query.stale_after.unwrap_or(usual.stale_after),
                long_lived_after: query.long_lived_after.unwrap_or(usual.long_lived_after),
                settle: query.settle.unwrap_or(usual.settle),
                max_sources: query.max_sources.unwrap_or(usual.max_sources),
            },
            window: window(query.window, WINDOW)?,
        })
    }

    /// Whether a line can be among those asked for, findings aside.
    fn takes(&self, entry: &Entry) -> bool {
        let is = |wanted: &Option<String>, has: &Option<String>| wanted.is_none() || wanted == has;
        // Of what the run-time API let in it is not always known whether it was used.
        let unused = |since: Timestamp| match entry.kind {
            CredentialKind::Key | CredentialKind::Credential => {
                entry.last_used.is_none_or(|last| last < since) && entry.created.is_none_or(|created| created < since)
            }
            _ => entry.last_used.is_some_and(|last| last < since),
        };
        is(&self.owner, &entry.owner)
            && is(&self.team, &entry.team)
            && self.state.is_none_or(|state| state == entry.state)
            && self.unused_since.is_none_or(unused)
            && self.q.as_ref().is_none_or(|q| entry.name.to_lowercase().contains(q.as_str()))
    }

    /// The findings asked for; nothing when the line is none of those asked for.
    fn judge(&self, facts: &Facts, around: &Surroundings) -> Option<Vec<Finding>> {
        if !self.takes(&facts.entry) {
            return None;
        }
        let found = findings(facts, around);
        let wanted = |f: &Finding| {
            self.finding.is_none_or(|rule| rule == f.finding) && self.severity.is_none_or(|least| f.severity >= least)
        };
        let asked = self.finding.is_some() || self.severity.is_some();
        (!asked || found.iter().any(wanted)).then_some(found)
    }

    fn is_wanted(&self, finding: &Finding) -> bool {
        self.finding.is_none_or(|rule| rule == finding.finding)
            && self.severity.is_none_or(|least| finding.severity >= least)
    }
}

/// One page of the inventory.
pub(crate) async fn list(state: &AdminState, query: &InventoryQuery) -> Result<Page<Entry>, ApiError> {
    let limit = limited(query.limit)? as usize;
    let wanted = Wanted::read(query)?;
    let mut items = Vec::new();
    let cursor = query.cursor.as_deref().map(Cursor::read).transpose()?;
    let scan = Scan::new(state, &wanted).await?;
    let graph = Graph::new(scan.set());
    let next = scan
        .walk(state, cursor, Some(scan::MOST), |facts, around| {
            if let Some(found) = wanted.judge(&facts, around) {
                let mut entry = facts.entry;
                if let Some(spec) = &facts.key {
                    entry.reach = graph.of_key(spec);
                }
                entry.findings = found.iter().map(|f| f.finding).collect();
                items.push(entry);
            }
            items.len() < limit
        })
        .await?;
    for entry in &mut items {
        entry.issued_by = issuer(state, entry).await?;
    }
    Ok(Page { items, next: next.map(|cursor| cursor.to_text()) })
}

/// One page of findings. Those of one credential stay together.
pub(crate) async fn list_findings(state: &AdminState, query: &InventoryQuery) -> Result<Page<Finding>, ApiError> {
    let limit = limited(query.limit)? as usize;
    let wanted = Wanted::read(query)?;
    let mut items = Vec::new();
    let cursor = query.cursor.as_deref().map(Cursor::read).transpose()?;
    let scan = Scan::new(state, &wanted).await?;
    let next = scan
        .walk(state, cursor, Some(scan::MOST), |facts, around| {
            let found = wanted.judge(&facts, around).into_iter().flatten();
            items.extend(found.filter(|f| wanted.is_wanted(f)));
            items.len() < limit
        })
        .await?;
    Ok(Page { items, next: next.map(|cursor| cursor.to_text()) })
}

/// Everything counted. Who asks while it is being counted waits for the same answer.
pub(crate) async fn summary(state: &AdminState, query: &InventoryQuery) -> Result<InventorySummary, ApiError> {
    let asked = format!("{query:?}");
    let mut kept = state.inventory.summary.lock().await;
    if let Some(counted) = kept.as_ref().filter(|counted| counted.serves(&asked)) {
        return Ok(counted.summary.clone());
    }
    let began = Instant::now();
    let summary = count(state, query).await?;
    *kept = Some(Counted { asked, made: Instant::now(), cost: began.elapsed(), summary: summary.clone() });
    Ok(summary)
}

async fn count(state: &AdminState, query: &InventoryQuery) -> Result<InventorySummary, ApiError> {
    let wanted = Wanted::read(query)?;
    let mut kinds: BTreeMap<CredentialKind, KindCount> = BTreeMap::new();
    let mut rules: BTreeMap<Rule, FindingCount> = BTreeMap::new();
    let scan = Scan::new(state, &wanted).await?;
    let observed = scan.around().observed.clone();
    scan.walk(state, None, None, |facts, around| {
        let Some(found) = wanted.judge(&facts, around) else { return true };
        let entry = &facts.entry;
        let number = entry.count.unwrap_or(1);
        let fresh = KindCount { kind: entry.kind, count: 0, active: 0, with_findings: 0 };
        let kind = kinds.entry(entry.kind).or_insert(fresh);
        kind.count += number;
        kind.active += if entry.state == EntryState::Active { number } else { 0 };
        kind.with_findings += u64::from(!found.is_empty());
        for finding in found.iter().filter(|f| wanted.is_wanted(f)) {
            let fresh = FindingCount { finding: finding.finding, severity: finding.severity, count: 0 };
            let count = rules.entry(finding.finding).or_insert(fresh);
            count.count += 1;
            count.severity = count.severity.max(finding.severity);
        }
        true
    })
    .await?;
    Ok(InventorySummary {
        kinds: kinds.into_values().collect(),
        findings: rules.into_values().collect(),
        thresholds: wanted.thresholds,
        as_of: scan.around().now,
        observed,
    })
}

/// Who made a credential, by the audit log where it does not say so itself.
async fn issuer(state: &AdminState, entry: &Entry) -> Result<Option<Issuer>, ApiError> {
    if entry.issued_by.is_some() {
        return Ok(entry.issued_by.clone());
    }
    let Some((action, subject)) = entry.made_by() else { return Ok(None) };
    let filter = AuditFilter { action: Some(action.to_owned()), subject: Some(subject) };
    let event = state.store.audit_events_before(0, 1, &filter).await?.pop();
    Ok(event.map(|event| Issuer { kind: event.actor.kind, name: event.actor.name, time: event.time }))
}
