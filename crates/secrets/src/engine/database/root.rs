//! The administrator's own password at a database, changed to one that nobody but this installation
//! knows (`rotate-root/NAME`).
//!
//! The new password is stored before it is set at the target. After a crash in between, both are
//! there, and whoever needs the target next tries which of them it takes and keeps that one; asking
//! again finishes what was begun. A password is forgotten only when the other one was let in.

use super::Config;
use crate::engine::check_path;
use crate::lease::{Leases, RACES};
use crate::{Mount, Result, SecretsError};
use credentialflow_model::{Actor, SecretValue};
use credentialflow_targets::{Kind, Login, Target, password};
use serde_json::json;

/// Length of the passwords made.
const PASSWORD: usize = 32;

impl Leases {
    /// Gives the administrator of a database a new password. Must not be dropped half-way: run it in a
    /// task of its own.
    pub async fn rotate_root(&self, actor: &Actor, mount: &Mount, name: &str) -> Result<()> {
        let name = check_path(name)?;
        let pending = self.begin_root(actor, mount, name).await?;
        #[cfg(test)]
        self.fault(crate::lease::Fault::RootBegun)?;
        let mut txn = self.txn(actor.clone());
        let (config, target) = self.databases.get(&mut txn, &mount.uuid, name).await.map_err(|none| {
            SecretsError::invalid(format!("{}; the rotation is finished when it is asked for again", none.error))
        })?;
        let administrator = Login::named(administrator(&config, &*target));
        let secret = SecretValue::from(pending.expose_str().unwrap_or_default());
        let set = target.set_password(&administrator, &secret, &config.root_statements()).await;
        #[cfg(test)]
        self.fault(crate::lease::Fault::RootSet)?;
        // What counts is which of the two is let in, whatever was answered.
        let fresh = config.open(secret.expose_str().unwrap_or_default(), &self.databases.private)?;
        let why = match (fresh.check().await, set) {
            (Ok(_), _) => {
                self.databases.forget(&mount.uuid, name);
                return self.end_root(actor, mount, name, &pending, true).await;
            }
            // After a silence the change may still be on its way, whoever is let in now.
            (Err(error), _) | (Err(_), Err(error)) if error.is_transient() => {
                return Err(SecretsError::invalid(format!(
                    "{error}; it is not known which password the database has now, both are kept, and the \
                     rotation is finished when it is asked for again"
                )));
            }
            (Err(_), Err(refused)) => refused.to_string(),
            (Err(refused), Ok(())) => format!("the new password was set and is not let in: {refused}"),
        };
        if config.open(&config.password, &self.databases.private)?.check().await.is_ok() {
            self.end_root(actor, mount, name, &pending, false).await?;
        }
        Err(SecretsError::invalid(format!("the administrator's password was not changed: {why}")))
    }

    /// Stores the password to be set; the one of an attempt that did not end, if there is one.
    async fn begin_root(&self, actor: &Actor, mount: &Mount, name: &str) -> Result<SecretValue> {
        let path = format!("config/{name}");
        for _ in 0..RACES {
            let mut txn = self.txn(actor.clone());
            let config: Option<Config> = txn.entries(&mount.uuid).get_json(&path).await?;
            let mut config =
                config.ok_or_else(|| SecretsError::invalid(format!("there is no database named {name:?}")))?;
            if let Some(why) = config.cannot_rotate()? {
                return Err(SecretsError::invalid(why));
            }
            let pending = match &config.pending {
                Some(pending) => SecretValue::from(pending.as_str()),
                None => password::generate(PASSWORD).map_err(|e| SecretsError::Internal(Box::new(e)))?,
            };
            config.pending = pending.expose_str().map(str::to_owned);
            // Nobody takes it back while it is being set.
            config.pending_since = Some(txn.now());
            txn.entries(&mount.uuid).put_json(&path, &config)?;
            txn.audit("database.rotate_root", &format!("vault/{}{path}", mount.path), json!({ "step": "begin" }));
            match txn.commit().await {
                Ok(_) => return Ok(pending),
                Err(SecretsError::Raced) => {}
                Err(error) => return Err(error),
            }
        }
        Err(SecretsError::Busy("others were first again and again; try again".into()))
    }

    /// Keeps the new password, or forgets it. Somebody else may have done so before.
    async fn end_root(&self, actor: &Actor, mount: &Mount, name: &str, ours: &SecretValue, set: bool) -> Result<()> {
        let path = format!("config/{name}");
        for _ in 0..RACES {
            let mut txn = self.txn(actor.clone());
            let config: Option<Config> = txn.entries(&mount.uuid).get_json(&path).await?;
            let Some(mut config) = config else { return Ok(()) };
            if config.pending.as_deref() != ours.expose_str() {
                return Ok(());
            }
            config.settle(set);
            txn.entries(&mount.uuid).put_json(&path, &config)?;
            let step = if set { "done" } else { "taken back" };
            txn.audit("database.rotate_root", &format!("vault/{}{path}", mount.path), json!({ "step": step }));
            match txn.commit().await {
                Ok(_) => return Ok(()),
                Err(SecretsError::Raced) => {}
                Err(error) => return Err(error),
            }
        }
        Err(SecretsError::Busy("others were first again and again; try again".into()))
    }
}

/// What the administrator is called there. A Redis that only has a password means its user `default`.
fn administrator<'a>(config: &'a Config, target: &'a dyn Target) -> &'a str {
    match target.administrator() {
        "" if config.kind().is_ok_and(|kind| kind == Kind::Redis) => "default",
        name => name,
    }
}
