//! Records a leak and answers it, in one transaction: a crash leaves both or neither.

use super::{Met, Report, Said, known::Hit, places, response, seen, view};
use crate::{
    AdminState,
    api::leaks::{LeakBody, LeakKind, LeakPlace, LeakView, MorePlaces, SeenFrom, Via},
    catalogue,
    error::ApiError,
    inventory::before,
};
use credentialflow_model::{
    Actor, Name, Period,
    leak::{LeakAction, LeakResponse, LeakRule, LeakStep, WhenAnswered, WhenSent},
    resource::{Credential, Kind},
};
use credentialflow_store::{KeyRow, LeakRow, StoreError, WriteTx};
use credentialflow_vault::{
    VaultError,
    leak::{ACTOR, Answered, KeyLeak},
};
use ipnet::IpNet;
use serde_json::{Value, json};

/// A credential is rotated once in this time because callers sent it: where they know it by right, they send the next
/// value as well.
const ONE_ROTATION_IN: Period = Period::from_secs(86_400);

pub(super) struct Recorded {
    pub leak: LeakView,
    /// Whether there is something to enforce.
    pub changed: bool,
}

/// Whose secret it is, as stored when the report is looked at.
enum Owner {
    Key(KeyRow, Vec<IpNet>),
    Credential(Box<Credential>),
}

/// What is known before the transaction begins.
struct Leaked {
    subject: String,
    kind: LeakKind,
    name: Name,
    version: u32,
    application: Option<Name>,
    team: Option<Name>,
    rule: LeakRule,
    seen: Option<SeenFrom>,
    owner: Owner,
}

/// Records a hit. What was recorded before and brings nothing new changes nothing; `None` when the secret's owner went
/// away meanwhile.
pub(super) async fn record(
    state: &AdminState,
    report: &Report,
    said: &Said,
    hit: &Hit,
) -> Result<Option<Recorded>, ApiError> {
    let rules = response::get(state).await?;
    let Some(leaked) = leaked(state, &rules, hit, report).await? else { return Ok(None) };
    let recorded = match attempt(state, (report, said), &leaked, true).await {
        Err(Failed::Answer(why)) => {
            tracing::error!(kind = leaked.kind.as_str(), name = %leaked.name, why, "a leak could not be answered by its rule");
            attempt(state, (report, said), &leaked, false).await
        }
        other => other,
    };
    match recorded {
        Ok(recorded) => Ok(Some(recorded)),
        Err(Failed::Other(error)) => Err(error),
        Err(Failed::Answer(why)) => Err(ApiError::internal("a leak could not be recorded", &why)),
    }
}

enum Failed {
    /// The rule could not be followed. Says why.
    Answer(String),
    Other(ApiError),
}

impl From<ApiError> for Failed {
    fn from(error: ApiError) -> Self {
        Self::Other(error)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Other(error.into())
    }
}

async fn attempt(
    state: &AdminState,
    (report, said): (&Report, &Said),
    leaked: &Leaked,
    answer: bool,
) -> Result<Recorded, Failed> {
    let mut tx = state.store.begin(&Actor::system(ACTOR)).await?;
    let place = place(report, said, tx.now());
    let (rule, held_back) = in_force(&mut tx, report, leaked).await?;
    let (mut leak, to_answer) = match tx.leak_of(&leaked.subject).await? {
        None => (new(leaked, &tx)?, true),
        Some(row) => {
            let known = view(row)?;
            let again = known.body.failed.is_some() || (known.body.held_back && held_back.is_none());
            (known, again)
        }
    };
    let room = places::room(&leak.body.places, &place);
    // How many of those that are not kept one by one are written now; others are counted in memory for a while.
    let more = match room {
        places::Room::None => state.leaks.unkept.count(&leak, u64::from(answer), tx.now()),
        _ => None,
    };
    if room != places::Room::Free && more.is_none() && !(to_answer && answer) {
        return Ok(Recorded { leak, changed: false });
    }
    if to_answer {
        (leak.body.action, leak.body.rotate) = (leaked.rule.action, leaked.rule.rotate);
    }
    if to_answer && answer {
        let done = by_rule(state, &mut tx, &leak.id, leaked, rule).await.map_err(|error| match error {
            VaultError::Store(error) => error.into(),
            other => Failed::Answer(other.to_string()),
        })?;
        if done.steps.contains(&LeakStep::Quarantined) {
            leak.body.seen.clone_from(&leaked.seen);
        }
        // What was done when it was answered before stays done.
        for step in done.steps {
            if !leak.body.steps.contains(&step) {
                leak.body.steps.push(step);
            }
        }
        (leak.body.left, leak.body.failed) = (done.left, None);
        leak.body.left.extend(held_back.map(str::to_owned));
        leak.body.held_back = held_back.is_some();
        leak.body.rotation = done.rotation.or(leak.body.rotation.take());
        leak.body.secret_until = done.secret_until.or(leak.body.secret_until);
        (leak.body.answered, leak.body.answered_via) = (Some(tx.now()), Some(report.via));
    } else if to_answer {
        let why = "it could not be answered by its rule; the server's log says why, and the next report tries it again";
        leak.body.failed = Some(why.to_owned());
    }
    if let Some(count) = more {
        tx.audit("leak.more", &format!("leaks/{}", leak.id), json!({ "places": count, "last": place }));
        let before = leak.body.more.take().map_or(0, |more| more.count);
        leak.body.more = Some(MorePlaces { count: before.saturating_add(count), last: place });
    } else if room == places::Room::Free {
        let noun = leaked.kind.as_str();
        let detail = exposed(report, leaked, &leak, &place);
        tx.audit(&format!("{noun}.exposed"), &format!("{noun}s/{}", leaked.name), detail);
        leak.body.places.push(place);
    }
    if to_answer {
        let body = &leak.body;
        let detail = json!({ "steps": body.steps, "left": body.left, "failed": body.failed });
        tx.audit("leak.answer", &format!("leaks/{}", leak.id), detail);
        if let Some(team) = &leaked.team {
            let data = json!({
                "leak": leak.id, "kind": leaked.kind, "credential": leaked.name, "version": leaked.version,
                "application": body.application, "steps": body.steps, "left": body.left, "failed": body.failed,
                "url": said.url,
            });
            state.vault.tell_leak_in(&mut tx, team, &leak.id, data).await.map_err(ApiError::from)?;
        }
    }
    leak.updated = tx.now();
    let body =
        serde_json::to_string(&leak.body).map_err(|error| ApiError::internal("a leak cannot be kept", &error))?;
    let (id, subject) = (leak.id.clone(), leaked.subject.clone());
    tx.put_leak(&LeakRow { id, subject, first_seen: leak.first_seen, updated: leak.updated, body }).await?;
    tx.commit().await?;
    if let Some(count) = more {
        state.leaks.unkept.written(&leak.id, count);
    }
    tracing::warn!(
        leak = leak.id,
        kind = leaked.kind.as_str(),
        name = %leaked.name,
        version = leaked.version,
        team = leak.body.team,
        steps = ?leak.body.steps,
        "a secret was found where it must not be"
    );
    Ok(Recorded { changed: to_answer && !leak.body.steps.is_empty(), leak })
}

/// What the rule asks for here, and why that is not all of it, if so: where callers sent the secret or were answered with
/// it, they or the upstream may know it by right.
async fn in_force(
    tx: &mut WriteTx,
    report: &Report,
    leaked: &Leaked,
) -> Result<(LeakRule, Option<&'static str>), StoreError> {
    let rule = leaked.rule;
    if let Some(why) = only_told(report, rule) {
        return Ok((LeakRule::new(LeakAction::NotifyOnly, false), Some(why)));
    }
    let met = matches!(report.via, Via::Traffic | Via::Answer);
    if met && rule.rotate && leaked.kind == LeakKind::Credential && rotated_lately(tx, &leaked.name).await? {
        let why = "it was rotated within the last day because callers had sent it or were answered with it, and is not \
                   rotated for that again yet; where they know it by right, say so with when_sent: notify_only";
        return Ok((LeakRule::new(rule.action, false), Some(why)));
    }
    Ok((rule, None))
}

/// Why a secret that was found so is told of and nothing more, if it is.
fn only_told(report: &Report, rule: LeakRule) -> Option<&'static str> {
    match (report.via, report.sender.as_ref().map(|sender| sender.met)) {
        (Via::Traffic, _) if rule.when_sent == WhenSent::NotifyOnly => {
            Some("only callers sent it, and its rule asks for nothing more then")
        }
        (Via::Answer, Some(Met::Echo)) => {
            Some("only the upstream that is sent it repeated it, and callers got it blanked, so nothing more is done")
        }
        (Via::Answer, _) if rule.when_answered == WhenAnswered::NotifyOnly => Some(
            "only an upstream answered with it, which may hand out what it keeps; where more is to be done then, say so \
             with when_answered: answer",
        ),
        (Via::Log, _) => {
            Some("only our own log would have held it, and was written without it, so nothing more is done")
        }
        _ => None,
    }
}

/// Whether a rotation of the credential was begun within the last day because callers had sent it or were answered with it.
async fn rotated_lately(tx: &mut WriteTx, credential: &Name) -> Result<bool, StoreError> {
    let since = before(tx.now(), ONE_ROTATION_IN);
    let leaks = tx.leaks_since(&format!("credential/{credential}/"), since).await?;
    Ok(leaks.into_iter().filter_map(|row| view(row).ok()).any(|leak| {
        leak.body.answered.is_some_and(|time| time > since)
            && matches!(leak.body.answered_via, Some(Via::Traffic | Via::Answer))
            && leak.body.steps.contains(&LeakStep::RotationBegun)
    }))
}

async fn by_rule(
    state: &AdminState,
    tx: &mut WriteTx,
    id: &str,
    leaked: &Leaked,
    rule: LeakRule,
) -> Result<Answered, VaultError> {
    match &leaked.owner {
        Owner::Key(row, seen) => {
            let prefix = state.settings.key_prefix.as_str();
            let leak = KeyLeak { leak: id, version: leaked.version, rule, seen: seen.clone(), prefix };
            // As it is now: it may have been revoked since it was recognised.
            match tx.key(row.id).await? {
                Some(row) => state.vault.answer_key_leak_in(tx, &row, leak).await,
                None => Ok(Answered::default()),
            }
        }
        Owner::Credential(credential) => {
            state.vault.answer_credential_leak_in(tx, credential, leaked.version, rule).await
        }
    }
}

fn new(leaked: &Leaked, tx: &WriteTx) -> Result<LeakView, ApiError> {
    let mut bits = [0u8; 8];
    aws_lc_rs::rand::fill(&mut bits).map_err(|error| ApiError::internal("the system has no randomness", &error))?;
    Ok(LeakView {
        id: format!("{:016x}", u64::from_be_bytes(bits)),
        first_seen: tx.now(),
        updated: tx.now(),
        body: LeakBody {
            kind: leaked.kind,
            name: leaked.name.to_string(),
            version: leaked.version,
            application: leaked.application.as_ref().map(ToString::to_string),
            team: leaked.team.as_ref().map(ToString::to_string),
            action: leaked.rule.action,
            rotate: leaked.rule.rotate,
            steps: Vec::new(),
            left: Vec::new(),
            seen: None,
            rotation: None,
            secret_until: None,
            failed: None,
            answered: None,
            answered_via: None,
            held_back: false,
            places: Vec::new(),
            more: None,
        },
    })
}

fn place(report: &Report, said: &Said, time: credentialflow_model::Timestamp) -> LeakPlace {
    let sender = report.sender.as_ref();
    LeakPlace {
        application: sender.and_then(|sender| sender.application.clone()),
        key: sender.and_then(|sender| sender.key),
        route: sender.and_then(|sender| sender.route.clone()),
        upstream: sender.and_then(|sender| sender.upstream.clone()),
        via: report.via,
        reporter: report.reporter.name.clone(),
        source: report.reporter.source.clone(),
        url: said.url.clone(),
        note: said.note.clone(),
        time,
    }
}

/// As the inventory reads it: what a scanner would have found.
fn exposed(report: &Report, leaked: &Leaked, leak: &LeakView, place: &LeakPlace) -> Value {
    let tool = match report.via {
        Via::Report | Via::Administrator => "a report",
        Via::Github => "GitHub",
        Via::Traffic | Via::Answer => "the gateway",
        Via::Log => "our own log",
    };
    let noun = if report.via == Via::Answer { "an answer" } else { "a request" };
    let route = place.route.as_ref().map(|route| format!("{noun} on route {route}"));
    let log = (report.via == Via::Log).then(|| "our own log".to_owned());
    let at = place.url.clone().or(route).or(log);
    let found = at.map_or_else(|| json!({}), |at| json!({ "file": at }));
    json!({
        "version": leaked.version, "tool": tool, "places": [found], "leak": leak.id,
        "reporter": report.reporter, "note": place.note, "application": place.application, "key_id": place.key,
        "route": place.route, "upstream": place.upstream,
    })
}

/// Everything about the secret's owner that the answer needs; `None` when it is gone.
async fn leaked(
    state: &AdminState,
    rules: &LeakResponse,
    hit: &Hit,
    report: &Report,
) -> Result<Option<Leaked>, ApiError> {
    let set = state.catalogue.view(&state.store).await?;
    match hit {
        Hit::Key { id, version } => {
            let Some(row) = state.store.key(*id).await? else { return Ok(None) };
            let rule = rules.of_key(&row.application);
            let subject = format!("key/{id}/{version}");
            let known = state.store.leak_of(&subject).await?.map(view).transpose()?;
            let answered = known.is_some_and(|leak| leak.body.failed.is_none() && !leak.body.held_back);
            let only_told = only_told(report, rule).is_some();
            let (networks, seen) = match rule.action {
                LeakAction::Quarantine if !answered && !only_told => {
                    let (networks, seen) = seen::by(state, &row, rules.seen_within).await?;
                    (networks, Some(seen))
                }
                _ => (Vec::new(), None),
            };
            let application = set.applications.iter().find(|a| a.name == row.application);
            Ok(Some(Leaked {
                subject,
                kind: LeakKind::Key,
                name: row.name.clone(),
                version: *version,
                application: Some(row.application.clone()),
                team: application.and_then(|a| a.team.clone()),
                rule,
                seen,
                owner: Owner::Key(row, networks),
            }))
        }
        Hit::Value { credential, version } => {
            let stored = state.store.credential_version(credential.as_str(), *version).await?;
            let declared = state.store.resource(Kind::Credentials, credential.as_str()).await?;
            let (Some(stored), Some(declared)) = (stored, declared) else { return Ok(None) };
            let declared: Credential = catalogue::parse(&declared.body)?;
            Ok(Some(Leaked {
                // A credential that is made anew under the same name counts its versions anew.
                subject: format!("credential/{credential}/{version}/{}", stored.created.micros()),
                kind: LeakKind::Credential,
                name: credential.clone(),
                version: *version,
                application: None,
                team: declared.owner.clone(),
                rule: rules.of_credential(credential),
                seen: None,
                owner: Owner::Credential(Box::new(declared)),
            }))
        }
    }
}
