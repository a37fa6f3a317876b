//! From stored rows to what `governance` judges.

use crate::{
    catalogue,
    error::ApiError,
    ports::{RunTimeCredential, SigningKey},
};
use credentialflow_certificates::Certificate;
use credentialflow_governance::{
    CredentialKind, Direction, Entry, EntryState, EntryVersion, Exposure, Facts, Graph, Issuer, Traffic,
};
use credentialflow_model::{
    ActorKind, Timestamp,
    lifecycle::VersionState,
    resource::{Credential, Engine, Key, KeyActor},
    schedule::next_rotation,
};
use credentialflow_store::{CredentialUse, CredentialVersionRow, KeyRecord, KeySecretRow, KeyUse};

/// How keys we issue are kept.
const KEY_ALGORITHM: &str = "hmac-sha-256";

fn age(since: Option<Timestamp>, now: Timestamp) -> Option<u64> {
    since.map(|since| u64::try_from(now.secs() - since.secs()).unwrap_or(0))
}

/// A version of a credential without its bytes.
pub(super) struct Version {
    pub version: u32,
    pub state: VersionState,
    pub algorithm: String,
    pub created: Timestamp,
    pub promoted: Option<Timestamp>,
}

impl From<CredentialVersionRow> for Version {
    fn from(row: CredentialVersionRow) -> Self {
        Self {
            version: row.version,
            state: row.state,
            algorithm: row.algorithm,
            created: row.created,
            promoted: row.promoted,
        }
    }
}

/// Whether a credential we hold can be used.
pub(super) fn state_of(spec: &Credential, versions: &[Version], now: Timestamp) -> EntryState {
    let has = |wanted| versions.iter().any(|v| v.state == wanted);
    if has(VersionState::Current) {
        return if spec.expires.is_some_and(|end| end <= now) { EntryState::Expired } else { EntryState::Active };
    }
    let ended = versions.last().map(|v| v.state);
    match ended {
        Some(VersionState::Expired) => EntryState::Expired,
        Some(VersionState::Revoked | VersionState::Destroyed) => EntryState::Revoked,
        _ => EntryState::Pending,
    }
}

/// Everything about one credential we hold. `versions` and `uses` are its own, oldest first.
pub(super) fn of_credential(
    (spec, created): (&Credential, Timestamp),
    versions: &[Version],
    uses: &[CredentialUse],
    graph: &Graph<'_>,
    traffic: &Traffic,
    now: Timestamp,
) -> Facts {
    let name = spec.name.as_str();
    let current = versions.iter().find(|v| v.state == VersionState::Current);
    let since = current.map(|v| v.created);
    let rule = spec.rotation();
    let every = rule.as_ref().and_then(|rule| rule.every);
    let mut entry = Entry::new(CredentialKind::Credential, name, Direction::Held, state_of(spec, versions, now));
    entry.description = spec.description.clone();
    entry.owner = spec.owner.as_ref().map(ToString::to_string);
    entry.team = entry.owner.clone();
    entry.created = Some(created);
    entry.age_seconds = age(since, now);
    entry.expires = spec.expires;
    entry.rotation_due =
        current.and_then(|v| next_rotation(rule.as_ref()?, &spec.name, v.promoted.unwrap_or(v.created)));
    entry.algorithm = current.or(versions.last()).map(|v| v.algorithm.clone());
    let used = traffic.credential(name);
    let last = used.and_then(|traffic| traffic.total.last);
    entry.last_used = uses.iter().map(|u| u.last_time).max().max(last);
    // How callers show the secret of a key of ours is told at the key.
    entry.uses = (spec.engine != Engine::Key).then(|| uses.iter().map(|u| u.count).sum());
    entry.versions = versions
        .iter()
        .rev()
        .map(|v| {
            let used = uses.iter().find(|u| u.version == v.version);
            EntryVersion {
                version: v.version,
                state: v.state,
                created: v.created,
                last_used: used.map(|u| u.last_time),
                uses: Some(used.map_or(0, |u| u.count)),
            }
        })
        .collect();
    entry.reach = graph.of_credential(name);
    entry.used = used.map(credentialflow_governance::TrafficOf::used);
    let gone = entry.owner.iter().filter(|owner| !graph.has_team(owner)).map(|owner| format!("team {owner}"));
    let missing = gone.collect();
    let generate = spec.generate.or((spec.engine == Engine::Generated).then(Default::default));
    let signs = spec.engine == Engine::CertificateAuthority;
    Facts { since, every, generate, missing, signs, traffic: used.cloned(), ..Facts::new(entry) }
}

/// Where a key's secret is in its life: one whose overlap is over is accepted no more, whatever is stored.
pub(super) fn secret_state(secret: &KeySecretRow, now: Timestamp) -> VersionState {
    let over = secret.state.is_live() && secret.retire_at.is_some_and(|end| end <= now);
    if over { VersionState::Expired } else { secret.state }
}

/// Everything about one key but where it can be used, which only those ask who show it.
pub(super) fn of_key(
    record: &KeyRecord,
    used: Option<&KeyUse>,
    graph: &Graph<'_>,
    traffic: &Traffic,
    exposures: Vec<Exposure>,
    now: Timestamp,
) -> Result<Option<Facts>, ApiError> {
    let Some(body) = &record.body else { return Ok(None) };
    let spec: Key = catalogue::parse(body)?;
    let state = if record.key.revoked_at.is_some() {
        EntryState::Revoked
    } else if spec.expires.is_some_and(|end| end <= now) {
        EntryState::Expired
    } else if spec.not_before.is_some_and(|begin| begin > now) {
        EntryState::Pending
    } else {
        EntryState::Active
    };
    let current = record.secrets.iter().find(|s| s.state == VersionState::Current);
    let since = current.map(|s| s.created);
    let application = graph.application(spec.application.as_str());
    let mut entry = Entry::new(CredentialKind::Key, spec.name.as_str(), Direction::Issued, state);
    let used_by = |actor: &KeyActor| match &actor.purpose {
        Some(purpose) => format!("{}: {purpose}", actor.name),
        None => actor.name.clone(),
    };
    entry.description = spec.description.clone().or_else(|| spec.actor.as_ref().map(used_by));
    entry.owner = Some(spec.application.to_string());
    entry.parent = spec.parent.as_ref().map(ToString::to_string);
    entry.team = application.and_then(|a| a.team.as_ref()).map(ToString::to_string);
    entry.created = Some(record.key.created);
    entry.age_seconds = age(since, now);
    entry.expires = spec.expires;
    entry.algorithm = Some(KEY_ALGORITHM.to_owned());
    let recent = traffic.key(record.key.id);
    entry.last_used = used.map(|u| u.last_time).max(recent.and_then(|traffic| traffic.total.last));
    entry.last_source = used.map(|u| u.last_source.clone()).filter(|source| !source.is_empty());
    entry.uses = Some(used.map_or(0, |u| u.count));
    let version = |s: &KeySecretRow| EntryVersion {
        version: s.version,
        state: secret_state(s, now),
        created: s.created,
        last_used: None,
        uses: None,
    };
    entry.versions = record.secrets.iter().rev().map(version).collect();
    entry.used = recent.map(credentialflow_governance::TrafficOf::used);
    let mut missing = Vec::new();
    if application.is_none() {
        missing.push(format!("application {}", spec.application));
    }
    missing.extend(entry.team.iter().filter(|team| !graph.has_team(team)).map(|team| format!("team {team}")));
    let granted = graph.granted(&spec);
    let traffic = recent.cloned();
    Ok(Some(Facts { since, missing, granted, key: Some(spec), traffic, exposures, ..Facts::new(entry) }))
}

/// Everything about the certificate of a listener, or of an authority.
pub(super) fn of_certificate(place: &str, certificate: Certificate, now: Timestamp) -> Facts {
    let state = if certificate.not_after <= now {
        EntryState::Expired
    } else if certificate.not_before > now {
        EntryState::Pending
    } else {
        EntryState::Active
    };
    let mut entry = Entry::new(CredentialKind::Certificate, place, Direction::Held, state);
    let names = certificate.names.join(", ");
    entry.description = Some(format!("{} for {names}; issued by {}", certificate.subject, certificate.issuer));
    entry.created = Some(certificate.not_before);
    entry.age_seconds = age(entry.created, now);
    entry.expires = Some(certificate.not_after);
    entry.algorithm = Some(certificate.algorithm.clone());
    Facts { since: entry.created, certificate: Some(certificate), ..Facts::new(entry) }
}

/// Everything about what the run-time API keeps or let in.
pub(super) fn of_run_time(kind: CredentialKind, of: RunTimeCredential, graph: &Graph<'_>, now: Timestamp) -> Facts {
    let state = if of.expires.is_some_and(|end| end <= now) {
        EntryState::Expired
    } else if of.pending {
        EntryState::Pending
    } else {
        EntryState::Active
    };
    let held = matches!(kind, CredentialKind::Login | CredentialKind::Secrets);
    let direction = if held { Direction::Held } else { Direction::Issued };
    let application = of.application.as_deref().and_then(|name| graph.application(name));
    let mut missing = Vec::new();
    if let (Some(name), None) = (&of.application, application) {
        missing.push(format!("application {name}"));
    }
    let mut entry = Entry::new(kind, of.name, direction, state);
    entry.team = application.and_then(|a| a.team.as_ref()).map(ToString::to_string);
    missing.extend(entry.team.iter().filter(|team| !graph.has_team(team)).map(|team| format!("team {team}")));
    entry.description = Some(of.description).filter(|text| !text.is_empty());
    entry.created = of.made;
    entry.age_seconds = age(of.since, now);
    entry.expires = of.expires;
    entry.rotation_due = of.due;
    entry.last_used = of.last_used;
    entry.count = of.count;
    entry.issued_by = of.made_by.zip(of.made).map(|(name, time)| Issuer { kind: ActorKind::Client, name, time });
    entry.reach.policies = of.policies;
    entry.reach.applications = of.application.iter().cloned().collect();
    entry.owner = of.application;
    Facts { since: of.since, every: of.every, missing, unseen: !of.counted, rights: of.rights, ..Facts::new(entry) }
}

/// Everything about a key of the run-time API that signs.
pub(super) fn of_signing_key(key: SigningKey, now: Timestamp) -> Facts {
    let signs = key.versions.iter().find(|v| v.state == VersionState::Current);
    let since = signs.map(|v| v.created);
    let state = if signs.is_some() { EntryState::Active } else { EntryState::Pending };
    let mut entry = Entry::new(CredentialKind::SigningKey, key.name, Direction::Held, state);
    entry.description = Some(key.description);
    entry.algorithm = Some(key.algorithm);
    // Versions that nobody checks with any more are not kept: the oldest that is known is not the first there was.
    entry.created = key.versions.iter().map(|v| v.created).min();
    entry.age_seconds = age(since, now);
    entry.rotation_due = Some(key.due);
    entry.last_used = key.versions.iter().filter_map(|v| v.last_used).max();
    entry.versions = key.versions;
    Facts { since, every: Some(key.every), ..Facts::new(entry) }
}
