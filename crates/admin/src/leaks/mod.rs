//! Secrets of ours that were found where they must not be: taken in, recognised, recorded and answered by rule.
//!
//! Whoever reports proves nothing but that they have the secret, so a public report is answered alike whatever it
//! holds: it is looked at after the answer, one report at a time. A secret is compared (keys by their checksum and
//! keyed hash, values of credentials by a hash under a key of this process) and forgotten; what is kept is whose it
//! was and where it stood. The same secret reported again changes nothing but the list of places.

mod candidates;
mod github;
mod known;
mod limit;
mod places;
mod record;
pub(crate) mod response;
pub(crate) mod scan;
mod seen;
mod sent;

#[cfg(test)]
pub(crate) use limit::PER_SOURCE;
pub use sent::{LiveSecret, Met, Sender, secret_logged, secret_sent};

use crate::{
    AdminState,
    api::{
        answer::Page,
        keys::IssuedKey,
        leaks::{GithubLabel, Label, LeakBody, LeakKind, LeakReport, LeakView, Looked, Via},
        request::{ListQuery, limited},
    },
    error::{ApiError, Code},
    inventory::values::Marks,
    keys,
    secret::ShownOnce,
    write::enforce,
};
use aws_lc_rs::digest;
use credentialflow_model::{Actor, KeyToken, Name, SecretValue, Timestamp};
use credentialflow_store::LeakRow;
use http::HeaderMap;
use ipnet::IpNet;
use serde::Deserialize;
use std::{
    net::IpAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};
use tokio::sync::Semaphore;

/// Reports that were answered and not looked at yet; one more is asked to wait.
const WAITING: usize = 64;
/// Pieces of one report that are compared: a stranger's, and one whose sender is known.
const PIECES: (usize, usize) = (4_000, 40_000);
/// Secrets in one report of GitHub's.
const GITHUB: usize = 1_000;
/// How often a report is tried again when the database is away, and after how long.
const TRIES: u32 = 5;
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// What the intake keeps in memory.
pub(crate) struct Intake {
    limit: limit::Limit,
    known: known::Known,
    signers: github::Signers,
    unkept: places::Unkept,
    places: Arc<Semaphore>,
    turn: Semaphore,
    /// Something was recorded for a caller's secret that may not be enforced yet.
    owed: AtomicBool,
}

impl Default for Intake {
    fn default() -> Self {
        Self {
            limit: limit::Limit::default(),
            known: known::Known::default(),
            signers: github::Signers::default(),
            unkept: places::Unkept::default(),
            places: Arc::new(Semaphore::new(WAITING)),
            turn: Semaphore::new(1),
            owed: AtomicBool::new(false),
        }
    }
}

/// Who reported, where it stood, and what is to be looked at.
struct Report {
    via: Via,
    reporter: Actor,
    url: Option<String>,
    note: Option<String>,
    /// Compared as they are.
    whole: Vec<SecretValue>,
    /// Cut into pieces first.
    text: Vec<SecretValue>,
    /// Whose request it stood in, where a caller sent it.
    sender: Option<Sender>,
}

/// What is kept of a reporter's words.
struct Said {
    url: Option<String>,
    note: Option<String>,
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window == part)
}

impl Report {
    /// Of what the gateway met, or the log.
    fn met(via: Via, reporter: Actor, sender: Option<Sender>) -> Self {
        Self { via, reporter, url: None, note: None, whole: Vec::new(), text: Vec::new(), sender }
    }

    fn read(via: Via, reporter: Actor, sent: LeakReport) -> Result<Self, ApiError> {
        let bad = |what: &str| Err(ApiError::new(Code::InvalidRequest, what));
        let line = |text: &Option<String>, most: usize| {
            text.as_ref().is_none_or(|text| text.len() <= most && !text.chars().any(char::is_control))
        };
        if !line(&sent.url, 2000) || !line(&sent.note, 500) {
            return bad("a url has at most 2000 bytes, a note 500, each in one line");
        }
        if sent.tokens.as_ref().is_none_or(Vec::is_empty) && sent.text.is_none() {
            return bad("there is nothing to look at: send tokens, or a text");
        }
        let whole: Vec<_> = sent.tokens.into_iter().flatten().map(|token| token.0).collect();
        let text = sent.text.into_iter().map(|text| text.0).collect();
        Ok(Self { via, reporter, url: sent.url, note: sent.note, whole, text, sender: None })
    }

    /// What the reporter says of it, without what repeats one of these secrets, or any key.
    fn said(&self, secrets: &[&[u8]]) -> Said {
        let keep = |text: &Option<String>| {
            let text = text.as_ref()?;
            let repeats = secrets.iter().any(|secret| contains(text.as_bytes(), secret))
                || candidates::of(text.as_bytes(), PIECES.0).into_iter().any(|piece| KeyToken::parse(piece).is_some());
            (!repeats).then(|| text.clone())
        };
        Said { url: keep(&self.url), note: keep(&self.note) }
    }

    /// What is compared.
    fn pieces(&self) -> Vec<&[u8]> {
        let most = if self.via == Via::Report { PIECES.0 } else { PIECES.1 };
        let mut pieces = Vec::new();
        for secret in &self.whole {
            pieces.push(secret.expose());
            pieces.push(secret.expose().trim_ascii());
        }
        for text in &self.text {
            pieces.extend(candidates::of(text.expose(), most));
        }
        pieces.retain(|piece| piece.len() >= candidates::SHORTEST);
        pieces.truncate(most);
        pieces
    }
}

fn sealed(state: &AdminState) -> Result<(), ApiError> {
    if state.vault.is_sealed() {
        return Err(ApiError::new(Code::Sealed, "the vault is sealed, so nothing can be compared").retry_after(60));
    }
    Ok(())
}

fn too_many(seconds: u64) -> ApiError {
    ApiError::new(Code::TooManyRequests, "more reports came than are looked at").retry_after(seconds)
}

/// Takes a report of somebody unknown. The answer tells nothing of what is in it.
pub(crate) fn take(state: &AdminState, source: IpAddr, sent: LeakReport) -> Result<(), ApiError> {
    state.leaks.limit.count(source, state.now()).map_err(too_many)?;
    sealed(state)?;
    let reporter = Actor {
        kind: credentialflow_model::ActorKind::Anonymous,
        name: "anonymous".to_owned(),
        source: Some(source.to_string()),
    };
    let report = Report::read(Via::Report, reporter, sent)?;
    let place = state.leaks.places.clone().try_acquire_owned().map_err(|_| too_many(5))?;
    let state = state.clone();
    tokio::spawn(async move {
        let _place = place;
        let Ok(_turn) = state.leaks.turn.acquire().await else { return };
        for tried in 1..=TRIES {
            match look(&state, &report).await {
                Ok(_) => return,
                Err(error) if tried == TRIES => tracing::error!(?error, "a reported leak could not be looked at"),
                Err(error) => {
                    tracing::warn!(?error, "a reported leak is looked at again");
                    tokio::time::sleep(TRY_AGAIN).await;
                }
            }
        }
    });
    Ok(())
}

/// Looks at an administrator's report at once.
pub(crate) async fn report(state: &AdminState, actor: Actor, sent: LeakReport) -> Result<Looked, ApiError> {
    let report = Report::read(Via::Administrator, actor, sent)?;
    let (pieces, leaks) = look(state, &report).await?;
    Ok(Looked { pieces, leaks })
}

/// Recognises what is in a report and answers each leak. How many pieces were compared, and the leaks found.
async fn look(state: &AdminState, report: &Report) -> Result<(u64, Vec<LeakView>), ApiError> {
    let marks = state.leaks.known.marks(state, report.via == Via::Report).await?;
    let found = compare(state, &marks, report).await?;
    if found.changed {
        enforce(state).await?;
    }
    Ok((found.pieces, found.leaks))
}

/// What was found in a report, recorded and answered.
struct Compared {
    pieces: u64,
    leaks: Vec<LeakView>,
    /// Whether there is something to enforce.
    changed: bool,
}

async fn compare(state: &AdminState, marks: &Marks, report: &Report) -> Result<Compared, ApiError> {
    let pieces = report.pieces();
    let (mut hits, mut secrets) = (Vec::new(), Vec::new());
    for piece in &pieces {
        let found = known::find(state, marks, piece).await?;
        if !found.is_empty() {
            secrets.push(*piece);
        }
        for hit in found {
            if !hits.contains(&hit) {
                hits.push(hit);
            }
        }
    }
    let said = report.said(&secrets);
    let mut compared = Compared { pieces: pieces.len() as u64, leaks: Vec::with_capacity(hits.len()), changed: false };
    for hit in &hits {
        let Some(recorded) = record::record(state, report, &said, hit).await? else { continue };
        compared.changed |= recorded.changed;
        compared.leaks.push(recorded.leak);
    }
    Ok(compared)
}

/// A secret in a report of GitHub's, as the partner programme describes it.
#[derive(Deserialize)]
struct Found {
    token: crate::secret::SecretText,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    source: Option<String>,
}

/// Looks at a signed report of GitHub's and says of each secret whether it is one of ours.
pub(crate) async fn github(
    state: &AdminState,
    source: IpAddr,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Vec<GithubLabel>, ApiError> {
    sealed(state)?;
    let rules = response::get(state).await?;
    let Some(url) = rules.github_keys else {
        return Err(ApiError::new(Code::NotFound, "reports of GitHub's are not taken here"));
    };
    if let Err(error) = state.leaks.signers.check(state, &url, headers, body).await {
        // Whoever does not sign is one more stranger.
        state.leaks.limit.count(source, state.now()).map_err(too_many)?;
        return Err(error);
    }
    let found: Vec<Found> = serde_json::from_slice(body)
        .map_err(|_| ApiError::new(Code::InvalidRequest, "the body is no list of secrets with token, type and url"))?;
    if found.len() > GITHUB {
        return Err(ApiError::new(Code::InvalidRequest, format!("a report names at most {GITHUB} secrets")));
    }
    let reporter = Actor { source: Some(source.to_string()), ..Actor::system("github") };
    let marks = state.leaks.known.marks(state, false).await?;
    let (mut labels, mut changed) = (Vec::with_capacity(found.len()), false);
    for one in found {
        let hash = digest::digest(&digest::SHA256, one.token.0.expose());
        let token_hash = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let line = |text: Option<String>, most| text.filter(|t| t.len() <= most && !t.chars().any(char::is_control));
        let note = line(one.source, 100).filter(|text| !text.is_empty()).map(|text| format!("found in: {text}"));
        let url = line(one.url, 2000).filter(|url| !url.is_empty());
        let sent = LeakReport { tokens: Some(vec![one.token]), text: None, url, note };
        let report = Report::read(Via::Github, reporter.clone(), sent)?;
        let compared = compare(state, &marks, &report).await?;
        changed |= compared.changed;
        let label = if compared.leaks.is_empty() { Label::FalsePositive } else { Label::TruePositive };
        labels.push(GithubLabel { token_hash, token_type: one.kind, label });
    }
    if changed {
        enforce(state).await?;
    }
    Ok(labels)
}

/// Leaks, the newest first.
pub(crate) async fn list(state: &AdminState, query: &ListQuery) -> Result<Page<LeakView>, ApiError> {
    let limit = limited(query.limit)?;
    let bad = || ApiError::new(Code::InvalidRequest, "the cursor is none of this list's");
    let place = match query.cursor.as_deref() {
        None => None,
        Some(cursor) => {
            let (time, id) = cursor.split_once('.').ok_or_else(bad)?;
            Some((Timestamp::from_micros(time.parse().map_err(|_| bad())?), id))
        }
    };
    let rows = state.store.leaks_before(place, limit).await?;
    let last = rows.last().filter(|_| rows.len() == limit as usize);
    let next = last.map(|row| format!("{}.{}", row.first_seen.micros(), row.id));
    let items = rows.into_iter().map(view).collect::<Result<Vec<_>, _>>()?;
    let wanted = |leak: &LeakView| query.q.as_ref().is_none_or(|q| leak.body.name.contains(q.as_str()));
    Ok(Page { items: items.into_iter().filter(wanted).collect(), next })
}

pub(crate) async fn get(state: &AdminState, id: &str) -> Result<LeakView, ApiError> {
    view(state.store.leak(id).await?.ok_or_else(|| ApiError::not_found("leaks", id))?)
}

fn view(row: LeakRow) -> Result<LeakView, ApiError> {
    let body: LeakBody =
        serde_json::from_str(&row.body).map_err(|error| ApiError::internal("a leak cannot be read", &error))?;
    Ok(LeakView { id: row.id, first_seen: row.first_seen, updated: row.updated, body })
}

/// The name of the key that leaked.
async fn key_of(state: &AdminState, id: &str) -> Result<Name, ApiError> {
    let leak = get(state, id).await?;
    if leak.body.kind != LeakKind::Key {
        return Err(ApiError::new(Code::Conflict, "it is the leak of a credential, not of a key"));
    }
    leak.body.name.parse().map_err(|_| ApiError::not_found("leaks", id))
}

/// The secret that the answer to a leak gave a key.
pub(crate) async fn secret(state: &AdminState, actor: &Actor, id: &str) -> Result<IssuedKey, ApiError> {
    let name = key_of(state, id).await?;
    let kept = state.vault.fetch_leaked_keys_secret(actor, &name, id).await?;
    let kept = kept.ok_or_else(|| {
        ApiError::new(Code::NotFound, "no new secret of this leak can be fetched (any more)")
            .hint(format!("make one: credentialflow key rotate {name}"))
    })?;
    Ok(IssuedKey { key: keys::get(state, name.as_str()).await?, secret: ShownOnce(kept.secret) })
}

/// Lifts the quarantine of the key that leaked, or lets more networks in.
pub(crate) async fn release(state: &AdminState, actor: &Actor, id: &str, more: &[IpNet]) -> Result<LeakView, ApiError> {
    if more.len() > 1000 {
        return Err(ApiError::new(Code::InvalidRequest, "at most 1000 networks are let in at a time"));
    }
    state.vault.release_key(actor, &key_of(state, id).await?, more).await?;
    enforce(state).await?;
    get(state, id).await
}
