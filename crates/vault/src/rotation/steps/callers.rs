//! A key's secret is chosen by its callers, not by us: the old one is drained when they are seen to have left it.
//!
//! What is seen comes from every node by way of the store, so that it outlives any of them. A caller that has not been
//! seen for longer than `quiet` counts as moved; without any sign of the new secret nobody does.
//!
//! Nobody can be seen while the store is away, while no server runs, or by a node that nobody hears: such a time is no
//! sign that callers have moved. `quiet` counts from its end.

use super::Step;
use crate::{Result, VaultError, rotation::progress::Progress};
use credentialflow_model::{
    Period,
    lifecycle::VersionState,
    resource::{Credential, Engine, Kind},
};
use credentialflow_store::KeySecretUse;

/// Why the old secret of a key has to stay.
pub(super) enum Callers {
    /// It is for people to see who uses it.
    Told(String),
    /// It was used a moment ago, as is usual at the beginning.
    Seen,
}

/// Callers named in a message; the API lists more of them.
const NAMED: u32 = 5;

/// Longer than a use needs from the request to the store: every node writes each two seconds, and an outage shorter than
/// the longest pause between two looks is not seen.
const ON_THE_WAY: Period = Period::from_secs(15);

impl Step<'_> {
    /// Whether this rotation is of a key's secret.
    pub(super) fn is_key(&self) -> bool {
        self.progress.quiet.is_some()
    }

    /// Of a rotation that a server of a former version has stored, which knows no keys, the declaration tells what it is
    /// of.
    pub(super) async fn recall_key(&mut self) -> Result<()> {
        if self.progress.quiet.is_some() {
            return Ok(());
        }
        let stored = self.inner.vault.store()?.resource(Kind::Credentials, self.row.credential.as_str()).await?;
        let Some(stored) = stored else { return Ok(()) };
        let credential: Credential =
            serde_json::from_str(&stored.body).map_err(|_| VaultError::Corrupt("credential"))?;
        if credential.engine == Engine::Key {
            self.progress.quiet = Progress::of(&credential, None).quiet;
        }
        Ok(())
    }

    /// Whether this rotation ends older secrets of a key; not where the credential that held them is gone.
    pub(super) async fn ends_secrets(&self) -> Result<bool> {
        Ok(self.is_key() && self.version(self.to).await?.state != VersionState::Destroyed)
    }

    /// Why callers still need the old secret of a key; `None` when they have left it, and for anything but a key.
    pub(super) async fn callers_on_the_old_secret(&self) -> Result<Option<Callers>> {
        let (Some(quiet), Some(promoted)) = (self.progress.quiet, self.progress.promoted) else { return Ok(None) };
        let store = self.inner.vault.store()?;
        let Some(key) = store.key_by_name(self.row.credential.as_str()).await? else { return Ok(None) };
        let others = store.key_secrets(key.id).await?.into_iter();
        let others: Vec<u32> =
            others.filter(|s| s.state.is_live() && s.version != self.to).map(|s| s.version).collect();
        if others.is_empty() {
            return Ok(None);
        }
        let unheard = self.in_time(self.inner.traffic.unheard()).await;
        let unheard = unheard.unwrap_or_else(|| vec!["nodes that could not be asked for".to_owned()]);
        if !unheard.is_empty() {
            self.inner.forget_looks(&self.row.id);
            let lost = format!(
                "lost nodes may still let callers in with the old secret: {}{}",
                unheard.join(", "),
                self.if_they_never_return()
            );
            return Ok(Some(Callers::Told(lost)));
        }
        let uses = store.last_key_secret_uses(key.id).await?;
        let last = uses.iter().filter(|(version, _)| others.contains(version)).map(|(_, last)| *last).max();
        let seen_from = self.inner.looked_since(&self.row.id, self.now).max(promoted);
        let early = self.now < seen_from.plus(quiet);
        if !uses.iter().any(|(version, _)| *version == self.to) {
            let nobody = "nobody has used the new secret yet".to_owned();
            return Ok(Some(if early { Callers::Seen } else { Callers::Told(nobody) }));
        }
        if early {
            return Ok(Some(Callers::Seen));
        }
        match last {
            Some(last) if self.now < last.plus(quiet) => {
                let old = store.key_secret_uses(key.id, self.to, NAMED).await?;
                let who = old.iter().filter(|used| self.now < used.last_time.plus(quiet));
                let who: Vec<_> = who.map(named).collect();
                let who = format!("{} still uses the old secret: {}", key.application, who.join(", "));
                Ok(Some(Callers::Told(who)))
            }
            Some(last) if self.now < last.plus(quiet).plus(ON_THE_WAY) => Ok(Some(Callers::Seen)),
            _ => Ok(None),
        }
    }
}

fn named(used: &KeySecretUse) -> String {
    match (used.route.as_str(), used.source.as_str()) {
        ("", "") => "many callers".to_owned(),
        ("", source) => format!("no route from {source}"),
        (route, source) => format!("route {route} from {source}"),
    }
}
