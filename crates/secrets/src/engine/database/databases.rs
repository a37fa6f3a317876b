//! The databases of all mounts: the connections kept to them, which of two passwords an administrator has, and where
//! logins are that were made before a configuration named another place.
//!
//! A lease knows the place its login was made at, and its login is withdrawn there: a configuration that is replaced by
//! one of another place is kept for that (`left/NAME/…`, sealed as all is). Whoever moved a database with its logins
//! says so (`logins_moved`); then the new place is asked.

use super::config::{Config, told};
use crate::{Result, SecretsError, Txn, identifier, lease::after};
use credentialflow_egress::PrivateHosts;
use credentialflow_model::{Actor, Timestamp};
use credentialflow_targets::{Target, TargetError};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Nobody can be setting an administrator's next password any more when so many seconds have gone by.
const SETTING: i64 = 120;
/// Places of one database that are kept; the oldest goes first.
const LEFT: usize = 8;

/// A configuration of a place that a newer one does not name.
#[derive(Serialize, Deserialize)]
struct Left {
    at: Timestamp,
    config: Config,
}

/// A target with the revision of the configuration it was opened by.
type Kept = (i64, Arc<dyn Target>);

/// Why there is no target.
pub(crate) struct NoTarget {
    /// Whether it is only out of reach, and may be back any moment.
    pub away: bool,
    pub error: SecretsError,
}

impl NoTarget {
    pub(crate) fn of(error: TargetError) -> Self {
        Self { away: error.is_transient(), error: told(error) }
    }
}

impl From<SecretsError> for NoTarget {
    fn from(error: SecretsError) -> Self {
        Self { away: false, error }
    }
}

impl From<NoTarget> for SecretsError {
    fn from(none: NoTarget) -> Self {
        none.error
    }
}

/// The connections to the databases of all mounts; one for a process.
pub struct Databases {
    open: Mutex<HashMap<(String, String), Kept>>,
    /// Hosts of brokers and described APIs that may be at private addresses: the operator's to say.
    pub(crate) private: PrivateHosts,
}

impl std::fmt::Debug for Databases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Databases")
    }
}

impl Databases {
    pub(crate) fn new(private: PrivateHosts) -> Self {
        Self { open: Mutex::default(), private }
    }

    /// The database of a mount by its name, with its configuration of today.
    pub(crate) async fn get(
        &self,
        txn: &mut Txn,
        space: &str,
        name: &str,
    ) -> Result<(Config, Arc<dyn Target>), NoTarget> {
        let config: Option<Config> = txn.entries(space).get_json(&format!("config/{name}")).await?;
        let config = config.ok_or_else(|| unknown(name))?;
        let target = self.opened(txn, space, name, &format!("config/{name}"), &config).await?;
        Ok((config, target))
    }

    /// The system a login was made at: as it is reached today, or as it was when its place was left.
    pub(crate) async fn at(
        &self,
        txn: &mut Txn,
        space: &str,
        name: &str,
        place: &str,
    ) -> Result<Arc<dyn Target>, NoTarget> {
        let path = format!("config/{name}");
        let now: Option<Config> = txn.entries(space).get_json(&path).await?;
        let now = now.ok_or_else(|| unknown(name))?;
        if place.is_empty() || now.is_at(place) {
            return self.opened(txn, space, name, &path, &now).await;
        }
        let mut all = Vec::new();
        for path in left(txn, space, name).await? {
            let left: Option<Left> = txn.entries(space).get_json(&path).await?;
            all.extend(left.map(|left| (path, left.config)));
        }
        if let Some((path, left)) = all.iter().find(|(_, left)| left.is_at(place)) {
            return self.opened(txn, space, name, path, left).await;
        }
        // Nobody kept that place because its logins were taken along.
        if now.all_here {
            return self.opened(txn, space, name, &path, &now).await;
        }
        if let Some((path, left)) = all.iter().find(|(_, left)| left.all_here) {
            return self.opened(txn, space, name, path, left).await;
        }
        let now = now.place()?;
        Err(SecretsError::invalid(format!(
            "the login was made at {place}, and {name:?} is {now} now: write that place again, or logins_moved=true \
             where the logins are here"
        ))
        .into())
    }

    /// A target by the configuration at a path. While its administrator's password is being changed, the one that it
    /// accepts is found by trying, and what is found is kept.
    async fn opened(
        &self,
        txn: &mut Txn,
        space: &str,
        name: &str,
        path: &str,
        config: &Config,
    ) -> Result<Arc<dyn Target>, NoTarget> {
        let key = (space.to_owned(), path.to_owned());
        let Some(pending) = &config.pending else {
            let revision = txn.entries(space).revision(path).await?.ok_or_else(|| unknown(name))?;
            if let Some((_, target)) = self.lock().get(&key).filter(|(known, _)| *known == revision) {
                return Ok(target.clone());
            }
            let target = config.open(&config.password, &self.private)?;
            self.lock().insert(key, (revision, target.clone()));
            return Ok(target);
        };
        self.lock().remove(&key);
        let target = config.open(&config.password, &self.private)?;
        match target.check().await {
            Ok(_) => {
                // Whoever set it may be at it until then, and knows no other.
                if config.pending_since.is_none_or(|since| after(since, SETTING) < txn.now()) {
                    settle(txn, space, path, pending, false).await;
                }
                Ok(target)
            }
            Err(error) if error.is_transient() => Err(NoTarget::of(error)),
            Err(_) => {
                let target = config.open(pending, &self.private)?;
                target.check().await.map_err(NoTarget::of)?;
                // The old one is not tried again: a server may count that.
                settle(txn, space, path, pending, true).await;
                Ok(target)
            }
        }
    }

    /// Closes what is kept open to a database; the next call connects anew.
    pub(crate) fn forget(&self, space: &str, name: &str) {
        let (now, before) = (format!("config/{name}"), format!("left/{name}/"));
        self.lock().retain(|(known, path), _| known != space || (*path != now && !path.starts_with(&before)));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Kept>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown(name: &str) -> SecretsError {
    SecretsError::invalid(format!("there is no database named {name:?}"))
}

/// Ends a change of an administrator's password that nobody finished: the next one is kept, or forgotten. Where that
/// cannot be written, the next who needs the database finds the same.
async fn settle(txn: &Txn, space: &str, path: &str, pending: &str, set: bool) {
    let mut own = Txn::new(txn.vault(), txn.store(), Actor::system("leases"));
    let done = async {
        if path.starts_with("left/") {
            let left: Option<Left> = own.entries(space).get_json(path).await?;
            let Some(mut left) = left.filter(|left| left.config.pending.as_deref() == Some(pending)) else {
                return Ok(());
            };
            left.config.settle(set);
            own.entries(space).put_json(path, &left)?;
        } else {
            let config: Option<Config> = own.entries(space).get_json(path).await?;
            let Some(mut config) = config.filter(|config| config.pending.as_deref() == Some(pending)) else {
                return Ok(());
            };
            config.settle(set);
            own.entries(space).put_json(path, &config)?;
        }
        let step = if set { "done" } else { "taken back" };
        own.audit("database.rotate_root", &format!("databases/{space}/{path}"), json!({ "step": step }));
        own.commit().await.map(drop)
    };
    match done.await {
        Ok(()) | Err(SecretsError::Raced) => {}
        Err(error) => tracing::warn!(%error, "which password an administrator has could not be written down"),
    }
}

impl Config {
    /// The administrator's next password is the one that counts, or is none.
    pub(crate) fn settle(&mut self, set: bool) {
        if let (Some(pending), true) = (self.pending.take(), set) {
            zeroize::Zeroize::zeroize(&mut self.password);
            self.password = pending;
            self.password_since = self.pending_since;
        }
        self.pending_since = None;
    }
}

async fn left(txn: &mut Txn, space: &str, name: &str) -> Result<Vec<String>> {
    txn.entries(space).paths(&format!("left/{name}/"), "", 10 * LEFT).await
}

/// Sees to the logins that were made before a configuration names another place: they are taken along, or the
/// configuration of before is kept to withdraw them.
pub(super) async fn moved(
    txn: &mut Txn,
    space: &str,
    name: &str,
    before: Option<Config>,
    config: &mut Config,
    taken_along: bool,
) -> Result<()> {
    let place = config.place()?;
    let mut kept = Vec::new();
    for path in left(txn, space, name).await? {
        let known: Option<Left> = txn.entries(space).get_json(&path).await?;
        let Some(known) = known else { continue };
        let home = known.config.is_at(&place);
        if home || taken_along {
            config.all_here |= home && known.config.all_here;
            txn.entries(space).delete(&path);
        } else {
            kept.push((known.at, path));
        }
    }
    if taken_along {
        config.all_here = true;
        return Ok(());
    }
    let Some(before) = before.filter(|before| !before.is_at(&place)) else { return Ok(()) };
    let (path, at) = (format!("left/{name}/{}", identifier(24)?), txn.now());
    // What was taken along to the place of before is still there.
    config.all_here &= !before.all_here;
    txn.entries(space).put_json(&path, &Left { at, config: before })?;
    kept.sort();
    for (_, path) in kept.iter().rev().skip(LEFT - 1) {
        txn.entries(space).delete(path);
    }
    Ok(())
}
