//! One attempt at one link: what is done outside, and what is stored of it.

use super::{
    Link, LinkReport, Links, declared,
    open::away,
    write::{declares, held},
};
use crate::{ExternalError, Result, error::unusable};
use credentialflow_model::{
    Actor, Name, Period, SecretValue, Timestamp,
    lifecycle::VersionState,
    resource::{Credential, Kind, SecretStore},
};
use credentialflow_store::{LinkDirection, LinkRow, WriteTx};
use credentialflow_vault::{Put, VaultError};
use serde_json::json;
use std::{sync::PoisonError, time::Duration};

/// The longest one attempt may take.
pub(super) const LIMIT: Duration = Duration::from_secs(60);
/// When a value is looked at again that could not be taken because another one is on its way.
const SOON: Period = Period::from_secs(5);
/// The longest pause between two attempts that fail.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What an attempt brought.
pub(super) struct Done {
    /// The credential's version that is at the place now, if one is.
    pub(super) version: Option<u32>,
    /// What the store calls it.
    pub(super) remote: Option<String>,
    /// What happened, in a word, for the audit log.
    pub(super) outcome: &'static str,
    /// When it is to be looked at again.
    pub(super) again: Option<Timestamp>,
}

impl Done {
    /// The event of it.
    pub(super) fn audit(&self, tx: &mut WriteTx, link: &Link) {
        let (place, outcome) = (link.place.to_string(), self.outcome);
        let detail = json!({ "place": place, "version": self.version, "at_store": self.remote, "outcome": outcome });
        tx.audit(action(link), &format!("credentials/{}", link.credential), detail);
    }
}

impl Links {
    /// Reads a credential's source and writes its destinations now, whatever is due, all at the same time.
    /// Answers how each went; none when the credential has no links.
    pub async fn refresh(&self, actor: &Actor, credential: &Name) -> Result<Vec<LinkReport>> {
        let Some(credential) = self.credential(credential).await? else { return Ok(Vec::new()) };
        let mut reports = Vec::new();
        let (reads, writes): (Vec<_>, Vec<_>) =
            declared(&credential).into_iter().partition(|link| link.direction == LinkDirection::Read);
        // The source first: what it brings is to be written.
        for links in [reads, writes] {
            let mut tasks = tokio::task::JoinSet::new();
            for link in links {
                let (this, actor) = (self.clone(), actor.clone());
                tasks.spawn(async move {
                    let error = this.attempt(&actor, &link, true).await.err().map(|e| e.to_string());
                    LinkReport { direction: link.direction, place: link.place.to_string(), error }
                });
            }
            reports.extend(tasks.join_all().await);
        }
        reports.sort_by(|a, b| (a.direction, &a.place).cmp(&(b.direction, &b.place)));
        Ok(reports)
    }

    /// Places that are to hold a version of a credential and do not hold it yet.
    pub async fn lacking(&self, credential: &Name, version: u32) -> Vec<String> {
        let ours = |_: &_| vec!["places that are not known, as the database does not answer".to_owned()];
        let declared = match self.credential(credential).await {
            Ok(found) => found.map(|c| declared(&c)).unwrap_or_default(),
            Err(error) => return ours(&error),
        };
        if declared.iter().all(|link| link.direction == LinkDirection::Read) {
            return Vec::new();
        }
        let rows = match self.0.store.links_of(credential.as_str()).await {
            Ok(rows) => rows,
            Err(error) => return ours(&away(error)),
        };
        let holds = |link: &Link| row_of(&rows, link).and_then(held) == Some(version);
        let lacking = declared.iter().filter(|link| link.direction == LinkDirection::Write && !holds(link));
        lacking
            .map(|link| match row_of(&rows, link).and_then(|row| row.error.as_deref()) {
                Some(error) => format!("{} ({error})", link.place),
                None => link.place.to_string(),
            })
            .collect()
    }

    /// A credential's declaration; `None` when there is none any more.
    pub(super) async fn credential(&self, name: &Name) -> Result<Option<Credential>> {
        let row = self.0.store.resource(Kind::Credentials, name.as_str()).await.map_err(away)?;
        let read = row.map(|row| serde_json::from_str(&row.body)).transpose();
        read.map_err(|_| unusable(format!("credentials/{name} is stored in a way that does not read")))
    }

    /// Tries one link and stores how it went. With `fully`, as when a person asks, a destination is written
    /// also where it is known to hold the version in use, and a value that failed before is tried again.
    pub(super) async fn attempt(&self, actor: &Actor, link: &Link, fully: bool) -> Result<()> {
        let outside = async {
            match link.direction {
                LinkDirection::Read => self.read(actor, link, fully).await,
                LinkDirection::Write => self.write(actor, link, fully).await,
            }
        };
        let outcome = tokio::time::timeout(LIMIT, outside).await.unwrap_or_else(|_| Err(late()));
        let Err(error) = outcome else { return Ok(()) };
        if matches!(error, ExternalError::Refused(_)) {
            self.0.open.close(&link.place.store);
        }
        tracing::warn!(
            credential = %link.credential, place = %link.place, %error,
            "{}", match link.direction {
                LinkDirection::Read => "a credential's value cannot be read from its store; the one it has is kept",
                LinkDirection::Write => "a credential's value cannot be written to a store; it is tried again",
            }
        );
        if let Err(stored) = self.note_failure(actor, link, &error).await {
            tracing::warn!(credential = %link.credential, error = %stored, "how a link failed cannot be stored");
        }
        Err(error)
    }

    /// Reads the source, and gives the credential what it holds.
    async fn read(&self, actor: &Actor, link: &Link, fully: bool) -> Result<()> {
        let (spec, store) = self.0.open.get(&link.place.store).await?;
        let found = store.read(&link.place).await?;
        let mut tx = self.0.store.begin(actor).await.map_err(away)?;
        let credential = stored(&mut tx, &link.credential).await?;
        let Some(credential) = credential.filter(|credential| credential.source() == Some(&link.place)) else {
            // Declared otherwise meanwhile: then this is of no use any more, but it was read.
            Done { version: None, remote: found.version, outcome: "undeclared", again: None }.audit(&mut tx, link);
            tx.commit().await.map_err(away)?;
            return Ok(());
        };
        self.refuse_what_is_over(&mut tx, &credential.name, &found.value, fully).await?;
        let now = tx.now();
        let rows = tx.links_of(link.credential.as_str()).await.map_err(away)?;
        let before = row_of(&rows, link);
        let (version, outcome, again) = match self.0.vault.put_value_in(&mut tx, &credential, found.value).await {
            Ok(Put::Unchanged { version }) => (Some(version), "unchanged", spread(&spec, link)),
            Ok(Put::Created { version }) => (Some(version), "first", spread(&spec, link)),
            Ok(Put::Rotating { version, .. }) => (Some(version), "rotating", spread(&spec, link)),
            // A newer value still follows the one that is on its way.
            Err(VaultError::RotationUnfinished(_)) => {
                let again = SOON.max(period(pause(self.waits(link)))).min(spread(&spec, link));
                (before.and_then(|row| row.version), "postponed", again)
            }
            Err(other) => return Err(unusable(other.to_string())),
        };
        let waited = self.has_waited(link, outcome == "postponed");
        let done = Done { version, remote: found.version, outcome, again: Some(now.plus(again)) };
        // What was told before and goes on as it was is no news.
        let known = before.is_some_and(|row| {
            row.attempts == 0 && row.succeeded.is_some() && row.version == done.version && row.remote == done.remote
        });
        if !fully && known && (outcome == "unchanged" || waited) {
            drop(tx);
            let row = LinkRow { next_attempt: done.again, succeeded: Some(now), ..empty(link) };
            return self.0.store.touch_link(&row).await.map_err(away);
        }
        self.note(tx, link, done).await
    }

    /// Counts how often in a row a link's value had to wait.
    fn waits(&self, link: &Link) -> u32 {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.entry(link.clone()).or_default();
        *count = count.saturating_add(1);
        *count
    }

    fn waits_no_more(&self, gone: &LinkRow) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let is = |link: &Link| link.credential == gone.credential && row_of(std::slice::from_ref(gone), link).is_some();
        waiting.retain(|link, _| !is(link));
    }

    /// Whether a link's value waits and did so before. Ends the count where it waits no more.
    fn has_waited(&self, link: &Link, waits: bool) -> bool {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waits {
            return waiting.get(link).is_some_and(|count| *count > 1);
        }
        waiting.remove(link);
        false
    }

    /// A value that was revoked is not brought back by reading it again; one that failed only when a person
    /// asks for it.
    async fn refuse_what_is_over(&self, tx: &mut WriteTx, name: &Name, value: &SecretValue, fully: bool) -> Result<()> {
        let fingerprint = self.0.vault.fingerprint(name, value).map_err(|e| unusable(e.to_string()))?;
        let versions = tx.credential_versions(name.as_str()).await.map_err(away)?;
        let same = versions.iter().filter(|v| v.fingerprint == fingerprint).max_by_key(|v| v.version);
        match same.map(|v| (v.version, v.state)) {
            Some((version, VersionState::Failed)) if !fully => {
                Err(unusable(format!("the store's value is version {version}, which did not work")))
            }
            Some((version, VersionState::Revoked)) => {
                Err(unusable(format!("the store's value is version {version}, which was revoked")))
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn note(&self, mut tx: WriteTx, link: &Link, done: Done) -> Result<()> {
        let row = LinkRow {
            version: done.version,
            remote: done.remote.clone(),
            next_attempt: done.again,
            succeeded: Some(tx.now()),
            ..empty(link)
        };
        tx.put_link(&row).await.map_err(away)?;
        done.audit(&mut tx, link);
        tx.commit().await.map_err(away)?;
        Ok(())
    }

    async fn note_failure(&self, actor: &Actor, link: &Link, error: &ExternalError) -> Result<()> {
        let mut tx = self.0.store.begin(actor).await.map_err(away)?;
        let is_declared = declares(&mut tx, link).await?;
        let rows = tx.links_of(link.credential.as_str()).await.map_err(away)?;
        let mut row = row_of(&rows, link).cloned().unwrap_or_else(|| empty(link));
        row.attempts = row.attempts.saturating_add(1);
        row.error = Some(error.to_string());
        row.next_attempt = Some(tx.now().plus(period(pause(row.attempts).max(error.again().unwrap_or_default()))));
        // One that is declared no more is not brought back, but what was tried is told.
        if is_declared {
            tx.put_link(&row).await.map_err(away)?;
        }
        let detail = json!({
            "place": row.place, "version": row.version, "outcome": "failed", "attempts": row.attempts,
            "error": row.error,
        });
        tx.audit(action(link), &format!("credentials/{}", link.credential), detail);
        tx.commit().await.map_err(away)?;
        Ok(())
    }

    /// Forgets links that are declared no more.
    pub(super) async fn forget(&self, rows: &[LinkRow]) -> Result<()> {
        let mut tx = self.0.store.begin(&Actor::system("stores")).await.map_err(away)?;
        for row in rows {
            self.waits_no_more(row);
            tx.delete_link(row.credential.as_str(), row.direction, &row.place).await.map_err(away)?;
            let detail = json!({ "place": row.place, "direction": row.direction });
            tx.audit("credential.unlink", &format!("credentials/{}", row.credential), detail);
        }
        tx.commit().await.map_err(away)?;
        Ok(())
    }
}

pub(super) const fn action(link: &Link) -> &'static str {
    match link.direction {
        LinkDirection::Read => "credential.read_source",
        LinkDirection::Write => "credential.sync",
    }
}

pub(super) fn empty(link: &Link) -> LinkRow {
    LinkRow {
        credential: link.credential.clone(),
        direction: link.direction,
        place: link.place.to_string(),
        version: None,
        remote: None,
        attempts: 0,
        next_attempt: None,
        succeeded: None,
        error: None,
    }
}

pub(super) fn row_of<'a>(rows: &'a [LinkRow], link: &Link) -> Option<&'a LinkRow> {
    let place = link.place.to_string();
    rows.iter().find(|row| row.direction == link.direction && row.place == place)
}

pub(super) async fn stored(tx: &mut WriteTx, name: &Name) -> Result<Option<Credential>> {
    let row = tx.resource(Kind::Credentials, name.as_str()).await.map_err(away)?;
    let read = row.map(|row| serde_json::from_str(&row.body)).transpose();
    read.map_err(|_| unusable(format!("credentials/{name} is stored in a way that does not read")))
}

pub(super) fn late() -> ExternalError {
    ExternalError::Unreachable("it was not done within a minute".to_owned())
}

/// After so many failures in a row.
fn pause(attempts: u32) -> Duration {
    Duration::from_secs(1 << attempts.saturating_sub(1).min(10)).min(LONGEST_PAUSE)
}

fn period(duration: Duration) -> Period {
    Period::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// A store's period, shorter by up to a tenth that follows from the link, so that a thousand links that
/// were declared together are not read together for ever.
fn spread(spec: &SecretStore, link: &Link) -> Period {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    link.hash(&mut hasher);
    let whole = spec.refresh().as_millis();
    Period::from_millis(whole - (whole / 10).saturating_mul(hasher.finish() % 1000) / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use credentialflow_model::SecretPlace;

    #[test]
    fn pauses_grow_and_have_an_end() {
        let seconds: Vec<u64> = (1..12).map(|n| pause(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[test]
    fn links_are_spread_over_the_last_tenth() {
        let spec: SecretStore =
            serde_json::from_value(json!({ "name": "s", "kind": "vault", "refresh": "100s" })).unwrap();
        let of = |name: String| {
            let place: SecretPlace = format!("s/{name}").parse().unwrap();
            let link = Link { credential: name.parse().unwrap(), direction: LinkDirection::Read, place };
            spread(&spec, &link).as_millis()
        };
        let periods: std::collections::BTreeSet<u64> = (0..200).map(|n| of(format!("c{n}"))).collect();
        assert!(periods.len() > 100 && periods.iter().all(|p| (90_000..=100_000).contains(p)), "{periods:?}");
    }
}
