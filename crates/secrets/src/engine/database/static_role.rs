//! Static roles: a login that exists at a database, whose password changes by itself and is read here.
//!
//! A change is written down first (the new password, `pending`), then done at the database, then made
//! the one that is told. Setting it is safe to repeat, so after a crash anywhere the same password is
//! set again and nothing is lost. When the next change is due is a row beside the leases, with a name
//! that no lease can have: that way one node takes it, and a database that is away is tried again later
//! and later without holding up others.

use super::{plain, role::statements};
use crate::lease::{Leases, RACES, after, backoff, lease_place, secret_json};
use crate::{Call, Mount, Reply, Result, SecretsError, Txn, fields};
use credentialflow_model::{Actor, SecretValue, Timestamp};
use credentialflow_store::{Expect, LeaseRow, LeaseState, Op};
use credentialflow_targets::{Login, Statements, password};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Length of the passwords made.
const PASSWORD: usize = 32;
/// The shortest period, seconds; Vault's.
const SHORTEST: i64 = 5;
/// A change that was begun is left alone for so long, seconds: longer than a target may take.
const BEGUN: i64 = 30;
/// Begins the ids of rows that are no leases. No path of a request has this character.
pub(crate) const HIDDEN: char = '\u{1}';

/// As stored, sealed.
#[derive(Serialize, Deserialize)]
struct StaticRole {
    db_name: String,
    username: String,
    #[serde(default)]
    rotation: Vec<String>,
    /// Seconds.
    period: i64,
    /// The password that is told; empty before the first change.
    password: String,
    /// The password that is being set.
    pending: Option<String>,
    /// When the password told was set.
    last: Option<Timestamp>,
    /// Whether it is to be changed now, whenever the last change was.
    #[serde(default)]
    asked: bool,
    /// Why the last try failed.
    problem: Option<String>,
}

impl Drop for StaticRole {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.password);
        zeroize::Zeroize::zeroize(&mut self.pending);
    }
}

impl StaticRole {
    fn due(&self) -> Option<Timestamp> {
        self.last.filter(|_| !self.asked).map(|last| after(last, self.period))
    }
}

/// What a row that is no lease holds, sealed.
#[derive(Serialize, Deserialize)]
struct Schedule {
    space: String,
    role: String,
}

fn entry(name: &str) -> String {
    format!("static-roles/{name}")
}

fn row_id(space: &str, name: &str) -> String {
    format!("{HIDDEN}static/{space}/{name}")
}

async fn load(txn: &mut Txn, space: &str, name: &str) -> Result<Option<StaticRole>> {
    txn.entries(space).get_json(&entry(name)).await
}

/// What is known of a static role, without its passwords.
pub(crate) struct Known {
    pub database: String,
    pub username: String,
    /// Seconds between two changes.
    pub period: i64,
    /// When the password that is told was set.
    pub last: Option<Timestamp>,
    pub due: Option<Timestamp>,
    pub problem: Option<String>,
}

/// The static role of a name, if there is one.
pub(crate) async fn known(txn: &mut Txn, space: &str, name: &str) -> Result<Option<Known>> {
    Ok(load(txn, space, name).await?.map(|role| Known {
        database: role.db_name.clone(),
        username: role.username.clone(),
        period: role.period,
        last: role.last,
        due: role.last.map(|last| after(last, role.period)),
        problem: role.problem.clone(),
    }))
}

pub(super) async fn read(call: &Call<'_>, txn: &mut Txn, name: &str) -> Result<Reply> {
    let role = load(txn, call.space(), name).await?.ok_or(SecretsError::NotFound)?;
    let mut data = json!({
        "db_name": role.db_name,
        "username": role.username,
        "rotation_period": role.period,
        "rotation_statements": role.rotation,
        "credential_type": "password",
        "last_vault_rotation": role.last.map(|t| t.to_string()),
    });
    if let Some(problem) = &role.problem {
        data["rotation_error"] = problem.as_str().into();
    }
    Ok(Reply::open(data))
}

/// `static-creds/NAME`.
pub(super) async fn password(call: &Call<'_>, txn: &mut Txn, name: &str) -> Result<Reply> {
    let role = load(txn, call.space(), plain(name)?).await?;
    let role = role.ok_or_else(|| SecretsError::invalid(format!("unknown role: {name}")))?;
    let Some(last) = role.last else {
        let why = role.problem.as_deref().unwrap_or("it is being set");
        return Err(SecretsError::invalid(format!("the login has no password of ours yet: {why}")));
    };
    let left = after(last, role.period).secs() - call.now.secs();
    let data = json!({
        "username": role.username,
        "password": role.password,
        "rotation_period": role.period,
        "ttl": left.max(0),
        "last_vault_rotation": last.to_string(),
    });
    Ok(Reply::secret(secret_json(data)))
}

/// The login stays as it is, with its last password.
pub(super) async fn delete(call: &Call<'_>, txn: &mut Txn, name: &str) -> Result<Reply> {
    txn.entries(call.space()).delete(&entry(name));
    txn.op(Op::DeleteLease(row_id(call.space(), name), Expect::Anything));
    Ok(Reply::empty())
}

impl Leases {
    /// Writes a static role. A new one gives its login a first password, and is not kept where the
    /// database refuses that.
    pub(crate) async fn write_static(
        &self,
        actor: &Actor,
        mount: &Mount,
        name: &str,
        data: &Map<String, Value>,
        told: &Value,
    ) -> Result<Reply> {
        let name = plain(name)?;
        let mut fresh = false;
        for tries in 1.. {
            let mut txn = self.txn(actor.clone());
            let known = load(&mut txn, &mount.uuid, name).await?;
            fresh = known.is_none();
            let mut role = changed(known, data)?;
            if txn.entries(&mount.uuid).exists(&format!("roles/{name}")).await? {
                return Err(SecretsError::invalid("Role and Static Role names must be unique"));
            }
            let (config, target) = self.databases.get(&mut txn, &mount.uuid, &role.db_name).await?;
            if !config.allows(name) {
                return Err(SecretsError::invalid(format!("{name:?} is not an allowed role")));
            }
            if target.administrator() == role.username {
                return Err(SecretsError::invalid("the administrator's own password is changed by rotate-root"));
            }
            role.asked |= fresh;
            let due = role.due().unwrap_or_else(|| after(txn.now(), BEGUN));
            let row = self.schedule(&mount.uuid, name, due, 0)?;
            txn.op(Op::PutLease(row, Expect::Anything));
            txn.entries(&mount.uuid).put_json(&entry(name), &role)?;
            txn.audit("secret.write", &format!("vault/{}{}", mount.path, entry(name)), told.clone());
            match txn.commit().await {
                Ok(_) => break,
                Err(SecretsError::Raced) if tries < RACES => {}
                Err(error) => return Err(error),
            }
        }
        if fresh && let Err((away, error)) = self.change(actor, &mount.uuid, &mount.path, name).await {
            if away {
                return Err(SecretsError::invalid(format!("{error}; the role is kept, and it is tried again")));
            }
            let mut txn = self.txn(actor.clone());
            txn.entries(&mount.uuid).delete(&entry(name));
            txn.op(Op::DeleteLease(row_id(&mount.uuid, name), Expect::Anything));
            let subject = format!("vault/{}{}", mount.path, entry(name));
            txn.audit("secret.delete", &subject, json!({ "reason": "its login's password could not be set" }));
            txn.commit().await?;
            return Err(error);
        }
        Ok(Reply::empty())
    }

    /// Changes the password of a static role's login now.
    pub(crate) async fn rotate_static(&self, actor: &Actor, mount: &Mount, name: &str) -> Result<Reply> {
        let name = plain(name)?;
        for tries in 1.. {
            let mut txn = self.txn(actor.clone());
            let role = load(&mut txn, &mount.uuid, name).await?;
            let mut role = role.ok_or_else(|| SecretsError::invalid("no static role found for role name"))?;
            role.asked = true;
            txn.entries(&mount.uuid).put_json(&entry(name), &role)?;
            let row = self.schedule(&mount.uuid, name, after(txn.now(), BEGUN), 0)?;
            txn.op(Op::PutLease(row, Expect::Anything));
            txn.audit("database.rotate_role", &format!("vault/{}{}", mount.path, entry(name)), json!({}));
            match txn.commit().await {
                Ok(_) => break,
                Err(SecretsError::Raced) if tries < RACES => {}
                Err(error) => return Err(error),
            }
        }
        match self.change(actor, &mount.uuid, &mount.path, name).await {
            Ok(()) => Ok(Reply::empty()),
            Err((_, error)) => Err(SecretsError::invalid(format!("{error}; it is tried again"))),
        }
    }

    /// A row that is due and no lease: changes the password, or finds that its role is gone. Tells
    /// whether the database was away.
    pub(crate) async fn rotate_due(&self, actor: &Actor, row: LeaseRow) -> Result<bool> {
        let plain = self.open(&row)?;
        let Schedule { space, role: name } =
            serde_json::from_slice(plain.expose()).map_err(|_| SecretsError::corrupt("schedule"))?;
        let mut txn = self.txn(actor.clone());
        let Some(role) = load(&mut txn, &space, &name).await? else {
            // Its mount was removed.
            txn.op(Op::DeleteLease(row.id.clone(), Expect::Revision(row.revision)));
            txn.audit("database.schedule_end", &format!("vault/{}", entry(&name)), json!({}));
            txn.commit().await?;
            return Ok(false);
        };
        if let Some(due) = role.due().filter(|due| *due > txn.now()) {
            txn.op(Op::PutLease(self.schedule(&space, &name, due, 0)?, Expect::Revision(row.revision)));
            txn.audit("database.schedule", &format!("vault/{}", entry(&name)), json!({ "due": due.to_string() }));
            txn.commit().await?;
            return Ok(false);
        }
        // One node takes it.
        txn.op(Op::PutLease(
            self.schedule(&space, &name, after(txn.now(), BEGUN), row.attempts)?,
            Expect::Revision(row.revision),
        ));
        txn.audit("database.rotate_role", &format!("vault/{}", entry(&name)), json!({ "attempt": row.attempts + 1 }));
        txn.commit().await?;
        match self.change(actor, &space, "", &name).await {
            Ok(()) => Ok(false),
            Err((away, error)) => {
                let mut txn = self.txn(actor.clone());
                let attempts = row.attempts.saturating_add(1);
                let wait = backoff(attempts);
                txn.op(Op::PutLease(self.schedule(&space, &name, after(txn.now(), wait), attempts)?, Expect::Anything));
                let detail = json!({ "attempt": attempts, "retry_in": wait });
                txn.audit("database.rotate_role_failed", &format!("vault/{}", entry(&name)), detail);
                txn.commit().await?;
                tracing::warn!(role = %name, %error, "the password of a static role was not changed; it is tried again");
                Ok(away)
            }
        }
    }

    /// Sets the next password, which is stored first. The error tells whether the database was away.
    async fn change(&self, actor: &Actor, space: &str, mount: &str, name: &str) -> Result<(), (bool, SecretsError)> {
        let sure = |error| (false, error);
        let begun = self.begin_change(actor, space, mount, name).await.map_err(sure)?;
        let Some((database, username, rotation, pending)) = begun else { return Ok(()) };
        #[cfg(test)]
        self.fault(crate::lease::Fault::StaticBegun).map_err(|e| (true, e))?;
        let mut txn = self.txn(actor.clone());
        let set = match self.databases.get(&mut txn, space, &database).await {
            Ok((_, target)) => {
                let statements = Statements { rotation, ..Statements::default() };
                let set = target.set_password(&Login::named(&username), &pending, &statements).await;
                set.map_err(super::NoTarget::of)
            }
            Err(none) => Err(none),
        };
        #[cfg(test)]
        self.fault(crate::lease::Fault::StaticSet).map_err(|e| (true, e))?;
        let problem = set.as_ref().err().map(|none| none.error.to_string());
        self.end_change(actor, space, mount, name, &pending, problem).await.map_err(sure)?;
        set.map_err(|none| (none.away, SecretsError::invalid(format!("the password was not changed: {}", none.error))))
    }

    /// What is to be set; `None` where nothing is, any more.
    async fn begin_change(
        &self,
        actor: &Actor,
        space: &str,
        mount: &str,
        name: &str,
    ) -> Result<Option<(String, String, Vec<String>, SecretValue)>> {
        for _ in 0..RACES {
            let mut txn = self.txn(actor.clone());
            let Some(mut role) = load(&mut txn, space, name).await? else { return Ok(None) };
            let known = role.pending.is_some();
            let pending = match &role.pending {
                Some(pending) => SecretValue::from(pending.as_str()),
                None => password::generate(PASSWORD).map_err(|e| SecretsError::Internal(Box::new(e)))?,
            };
            role.pending = pending.expose_str().map(str::to_owned);
            let what = (role.db_name.clone(), role.username.clone(), role.rotation.clone(), pending);
            if known {
                return Ok(Some(what));
            }
            txn.entries(space).put_json(&entry(name), &role)?;
            txn.audit("database.set_password", &subject(mount, name), json!({ "step": "begin", "login": what.1 }));
            match txn.commit().await {
                Ok(_) => return Ok(Some(what)),
                Err(SecretsError::Raced) => {}
                Err(error) => return Err(error),
            }
        }
        Err(SecretsError::Busy("others were first again and again; try again".into()))
    }

    /// Makes the password that was set the one that is told, or keeps why it was not set.
    async fn end_change(
        &self,
        actor: &Actor,
        space: &str,
        mount: &str,
        name: &str,
        pending: &SecretValue,
        problem: Option<String>,
    ) -> Result<()> {
        for _ in 0..RACES {
            let mut txn = self.txn(actor.clone());
            let Some(mut role) = load(&mut txn, space, name).await? else { return Ok(()) };
            if role.pending.as_deref() != pending.expose_str() {
                return Ok(());
            }
            let step = if problem.is_none() { "done" } else { "failed" };
            role.problem.clone_from(&problem);
            if problem.is_none() {
                role.password = role.pending.take().unwrap_or_default();
                role.last = Some(txn.now());
                role.asked = false;
                let due = after(txn.now(), role.period);
                txn.op(Op::PutLease(self.schedule(space, name, due, 0)?, Expect::Anything));
            }
            txn.entries(space).put_json(&entry(name), &role)?;
            txn.audit("database.set_password", &subject(mount, name), json!({ "step": step, "login": role.username }));
            match txn.commit().await {
                Ok(_) => return Ok(()),
                Err(SecretsError::Raced) => {}
                Err(error) => return Err(error),
            }
        }
        Err(SecretsError::Busy("others were first again and again; try again".into()))
    }

    fn schedule(&self, space: &str, name: &str, due: Timestamp, attempts: u32) -> Result<LeaseRow> {
        let id = row_id(space, name);
        let body = json!(Schedule { space: space.to_owned(), role: name.to_owned() }).to_string();
        let sealed = self.vault.seal_blob(&lease_place(&id), body.as_bytes())?.into_bytes();
        Ok(LeaseRow {
            id,
            mount: HIDDEN.to_string(),
            token: None,
            entity: None,
            application: None,
            place: String::new(),
            issued: self.store.now(),
            expires_at: None,
            state: LeaseState::Active,
            attempts,
            next_attempt: Some(due),
            sealed,
            revision: 0,
        })
    }
}

fn subject(mount: &str, name: &str) -> String {
    format!("vault/{mount}{}", entry(name))
}

/// A role as it is to be stored, from what is known and what is given.
fn changed(known: Option<StaticRole>, data: &Map<String, Value>) -> Result<StaticRole> {
    let fresh = known.is_none();
    let mut role = known.unwrap_or_else(|| StaticRole {
        db_name: String::new(),
        username: String::new(),
        rotation: Vec::new(),
        period: 0,
        password: String::new(),
        pending: None,
        last: None,
        asked: false,
        problem: None,
    });
    if let Some(username) = fields::text(data, "username")? {
        if !fresh && username != role.username {
            return Err(SecretsError::invalid("cannot update static account username"));
        }
        role.username = username;
    }
    if let Some(database) = fields::text(data, "db_name")? {
        if !fresh && database != role.db_name {
            return Err(SecretsError::invalid("cannot update static account database"));
        }
        role.db_name = database;
    }
    let kind = fields::text(data, "credential_type")?.unwrap_or_else(|| "password".to_owned());
    if kind != "password" {
        return Err(SecretsError::invalid("credential_type is password"));
    }
    for field in ["rotation_schedule", "rotation_window", "skip_import_rotation", "self_managed_password"] {
        if data.get(field).is_some_and(|v| !v.is_null() && *v != json!("") && *v != json!(0) && *v != json!(false)) {
            return Err(SecretsError::invalid(format!("{field} is not offered")));
        }
    }
    if let Some(given) = statements(data, "rotation_statements")? {
        role.rotation = given;
    }
    if let Some(period) = fields::seconds(data, "rotation_period")? {
        role.period = period;
    }
    if role.username.is_empty() {
        return Err(SecretsError::invalid("username is a required field to create a static account"));
    }
    if role.db_name.is_empty() {
        return Err(SecretsError::invalid("database name is required"));
    }
    if role.period == 0 {
        return Err(SecretsError::invalid("rotation_period is required to create static accounts"));
    }
    if role.period < SHORTEST {
        return Err(SecretsError::invalid("rotation_period must be 5 seconds or more"));
    }
    Ok(role)
}
