//! Leases: logins handed out for a time, renewed, withdrawn at their end or at once.
//!
//! A lease is written before its login is made (`pending`), and stays until the login is withdrawn:
//! a revocation is first written down, then done, and tried again for as long as it fails, each lease
//! by itself. What withdraws a login is kept with the lease. Two nodes do not work on one lease: each
//! claims it first.

use crate::engine::database::{Config, Databases, Role};
use crate::{Mount, Result, SecretsError, Txn, identifier};
use credentialflow_model::{Actor, SecretValue, Timestamp};
use credentialflow_store::{Expect, LeaseRow, LeaseState, Op, Store};
use credentialflow_targets::{Login, NewLogin, Statements, Target, password};
use credentialflow_vault::{Sealed, Vault};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A login that is not ready after this was left behind by a crash.
const PENDING: i64 = 120;
/// A claimed lease is left alone by others for so long, seconds.
const CLAIM: i64 = 60;
/// After so many failures a person should look; it is still tried, once an hour.
const STUCK: u32 = 8;
/// Logins one caller gets at once, and then per second.
const BURST: f64 = 300.0;
const PACE: f64 = 30.0;
/// Length of the passwords made.
const PASSWORD: usize = 32;

/// Everything about a lease that is sealed.
#[derive(Clone, Serialize, Deserialize)]
struct Body {
    /// The mount's storage.
    space: String,
    database: String,
    role: String,
    login: Login,
    statements: Statements,
    /// What a renewal gives when it asks for nothing, seconds.
    ttl: i64,
    /// No later than this.
    last_moment: Timestamp,
    renewed: Option<Timestamp>,
}

/// What somebody who asks is told of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its id.
    pub id: String,
    /// When it was given.
    pub issued: Timestamp,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// When it was renewed last.
    pub renewed: Option<Timestamp>,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// Seconds it has left.
    pub ttl: i64,
}

/// A fresh login.
#[derive(Debug)]
pub struct Issued {
    /// The lease's id.
    pub id: String,
    /// Seconds it lives.
    pub ttl: i64,
    /// `username` and `password`, as JSON text.
    pub data: SecretValue,
}

/// Who gets a lease.
#[derive(Clone, Debug)]
pub struct Holder {
    /// For the audit log.
    pub actor: Actor,
    /// The accessor of the token it ends with.
    pub accessor: String,
    /// For the login's name.
    pub display_name: String,
}

/// The leases of an installation; one for a process.
pub struct Leases {
    vault: Vault,
    store: Store,
    databases: Databases,
    pace: Mutex<HashMap<String, (f64, Instant)>>,
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Leases")
    }
}

impl Leases {
    /// Over a vault and its store.
    pub fn new(vault: Vault, store: Store) -> Self {
        Self { vault, store, databases: Databases::default(), pace: Mutex::default() }
    }

    fn txn(&self, actor: Actor) -> Txn {
        Txn::new(&self.vault, &self.store, actor)
    }

    /// Makes a login by a role of a mount. Must not be dropped half-way: run it in a task of its own.
    pub async fn issue(&self, holder: &Holder, mount: &Mount, role_name: &str) -> Result<Issued> {
        self.within_pace(&holder.accessor)?;
        let mut txn = self.txn(holder.actor.clone());
        let now = txn.now();
        let role: Option<Role> = txn.entries(&mount.uuid).get_json(&format!("roles/{role_name}")).await?;
        let role = role.ok_or_else(|| SecretsError::invalid(format!("unknown role: {role_name}")))?;
        let (config, target) = self.databases.get(&mut txn, &mount.uuid, &role.db_name).await?;
        if !config.allows(role_name) {
            return Err(SecretsError::invalid(format!("{role_name:?} is not an allowed role")));
        }
        let most = [role.max_ttl, mount.max_ttl()].into_iter().filter(|t| *t > 0).min().unwrap_or(i64::MAX);
        let ttl = if role.default_ttl > 0 { role.default_ttl } else { mount.default_ttl() }.min(most);
        let name = name(&config, &holder.display_name, role_name, now)?;
        let secret = password::generate(PASSWORD).map_err(|e| SecretsError::Internal(Box::new(e)))?;
        let id = format!("{}creds/{role_name}/{}", mount.path, identifier(24)?);
        let mut body = Body {
            space: mount.uuid.clone(),
            database: role.db_name.clone(),
            role: role_name.to_owned(),
            login: Login::named(&name),
            statements: role.statements,
            ttl,
            last_moment: after(now, most),
            renewed: None,
        };
        let row = LeaseRow {
            id: id.clone(),
            mount: mount.path.clone(),
            token: Some(holder.accessor.clone()),
            entity: None,
            application: None,
            issued: now,
            expires_at: Some(after(now, ttl)),
            state: LeaseState::Pending,
            attempts: 0,
            next_attempt: Some(after(now, PENDING)),
            sealed: self.sealed(&id, &body)?,
            revision: 0,
        };
        txn.op(Op::PutLease(row.clone(), Expect::Absent));
        txn.audit("lease.begin", &format!("leases/{id}"), json!({ "role": role_name, "login": name }));
        let revision = txn.commit().await?;
        let new = NewLogin { name: &name, password: &secret, expires: row.expires_at, statements: &body.statements };
        let made = match target.create(&new).await {
            Ok(made) => made,
            Err(error) => {
                // Half of it may be there: withdrawn by the same rules as everything else.
                let row = LeaseRow { revision, ..row };
                if let Err(later) = self.begin_revoking(&holder.actor, &row).await {
                    tracing::warn!(lease = %id, error = %later, "a failed login is withdrawn a little later");
                }
                return Err(SecretsError::invalid(format!("the database did not make the login: {error}")));
            }
        };
        body.login.handle = made.handle;
        let secret = made.password.unwrap_or(secret);
        let mut txn = self.txn(holder.actor.clone());
        let active = LeaseRow {
            state: LeaseState::Active,
            next_attempt: row.expires_at,
            sealed: self.sealed(&id, &body)?,
            ..row
        };
        txn.op(Op::PutLease(active, Expect::Revision(revision)));
        txn.audit("lease.issue", &format!("leases/{id}"), json!({ "role": role_name, "login": name, "ttl": ttl }));
        // Where this fails the lease stays pending, and the login is withdrawn.
        txn.commit().await?;
        let data = json!({ "username": name, "password": secret.expose_str() }).to_string();
        Ok(Issued { id, ttl, data: SecretValue::from(data) })
    }

    /// A flood from one caller is refused before it reaches a database.
    fn within_pace(&self, accessor: &str) -> Result<()> {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if pace.len() > 10_000 {
            pace.retain(|_, (_, at)| now.duration_since(*at) < Duration::from_secs(60));
        }
        let (left, at) = pace.entry(accessor.to_owned()).or_insert((BURST, now));
        *left = (*left + now.duration_since(*at).as_secs_f64() * PACE).min(BURST);
        *at = now;
        if *left < 1.0 {
            return Err(SecretsError::Busy("too many leases at once; try again in a moment".into()));
        }
        *left -= 1.0;
        Ok(())
    }

    /// What is known of a lease. `None`: there is none, or it is being withdrawn.
    pub async fn lookup(&self, id: &str) -> Result<Option<Told>> {
        let Some(row) = self.live(id).await? else { return Ok(None) };
        let body = self.body(&row)?;
        Ok(Some(told(&row, &body, self.store.now())))
    }

    async fn live(&self, id: &str) -> Result<Option<LeaseRow>> {
        let now = self.store.now();
        let row = self.store.lease(id).await?;
        Ok(row.filter(|r| r.state == LeaseState::Active && r.expires_at.is_none_or(|end| end > now)))
    }

    /// The names one level below a prefix of the ids.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let prefix = if prefix.is_empty() || prefix.ends_with('/') { prefix.to_owned() } else { format!("{prefix}/") };
        Ok(self.store.lease_children(&prefix, "", 100_000).await?)
    }

    /// Lets a lease live on for `increment` seconds from now (0: as long as it was given), no longer than
    /// its role allows. `None`: there is no such lease.
    pub async fn renew(&self, actor: &Actor, id: &str, increment: i64) -> Result<Option<Told>> {
        let Some(row) = self.live(id).await? else { return Ok(None) };
        let mut body = self.body(&row)?;
        let mut txn = self.txn(actor.clone());
        let now = txn.now();
        let asked = after(now, if increment > 0 { increment } else { body.ttl });
        let end = asked.min(body.last_moment);
        if end <= now {
            return Err(SecretsError::invalid("the lease has reached its longest life and cannot be renewed"));
        }
        let (_, target) = self.databases.get(&mut txn, &body.space, &body.database).await?;
        let failed = |e| SecretsError::invalid(format!("the database did not renew the login: {e}"));
        target.renew(&body.login, end, &body.statements).await.map_err(failed)?;
        body.renewed = Some(now);
        let renewed =
            LeaseRow { expires_at: Some(end), next_attempt: Some(end), sealed: self.sealed(id, &body)?, ..row.clone() };
        txn.op(Op::PutLease(renewed.clone(), Expect::Revision(row.revision)));
        txn.audit("lease.renew", &format!("leases/{id}"), json!({ "until": end.to_string() }));
        txn.commit().await?;
        Ok(Some(told(&renewed, &body, now)))
    }

    /// Withdraws a login. `false`: there is no such lease. When the database cannot be reached the
    /// revocation stands and is tried again; the error tells so.
    pub async fn revoke(&self, actor: &Actor, id: &str) -> Result<bool> {
        let Some(row) = self.store.lease(id).await? else { return Ok(false) };
        let row = self.begin_revoking(actor, &row).await?;
        self.withdraw(actor, row).await?;
        Ok(true)
    }

    /// Withdraws every login whose lease's id begins so; tells how many. One that fails does not keep
    /// the others waiting, and is tried again by itself.
    pub async fn revoke_prefix(&self, actor: &Actor, prefix: &str) -> Result<usize> {
        let (mut after, mut done, mut failed) = (String::new(), 0, None);
        loop {
            let page = self.store.leases_by_prefix(prefix, &after, 200).await?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.id);
            for row in page {
                let id = row.id.clone();
                match self.revoke(actor, &id).await {
                    Ok(_) => done += 1,
                    Err(SecretsError::Sealed) => return Err(SecretsError::Sealed),
                    Err(error) => failed = Some(error),
                }
            }
        }
        failed.map_or(Ok(done), Err)
    }

    /// Forgets leases without withdrawing their logins, for databases that are gone.
    pub async fn forget(&self, actor: &Actor, prefix: &str) -> Result<usize> {
        let mut done = 0;
        loop {
            let page = self.store.leases_by_prefix(prefix, "", 200).await?;
            if page.is_empty() {
                return Ok(done);
            }
            let mut txn = self.txn(actor.clone());
            for row in &page {
                txn.op(Op::DeleteLease(row.id.clone(), Expect::Anything));
            }
            txn.audit("lease.forget", &format!("leases/{prefix}"), json!({ "count": page.len() }));
            txn.commit().await?;
            done += page.len();
        }
    }

    /// Does what is due: withdraws logins whose time is over, and those that could not be withdrawn
    /// before. Tells how many were looked at. To be called every second, and again while it finds many.
    pub async fn work(self: &Arc<Self>, most: u32) -> Result<usize> {
        let actor = Actor::system("leases");
        let due = self.store.leases_due(self.store.now(), most).await?;
        let found = due.len();
        let mut tasks = tokio::task::JoinSet::new();
        for row in due {
            if tasks.len() >= 16 {
                tasks.join_next().await;
            }
            let (leases, actor) = (self.clone(), actor.clone());
            tasks.spawn(async move {
                let id = row.id.clone();
                // Lost to another node, or failed: both are looked at again when they are due.
                let done = match leases.begin_revoking(&actor, &row).await {
                    Ok(row) => leases.withdraw(&actor, row).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = done {
                    tracing::warn!(lease = %id, %error, "a login could not be withdrawn; it is tried again");
                }
            });
        }
        while tasks.join_next().await.is_some() {}
        Ok(found)
    }

    /// Writes down that a login is to be withdrawn, and claims it for a while.
    async fn begin_revoking(&self, actor: &Actor, row: &LeaseRow) -> Result<LeaseRow> {
        let mut txn = self.txn(actor.clone());
        let state = if row.state == LeaseState::Stuck { LeaseState::Stuck } else { LeaseState::Revoking };
        let claimed = LeaseRow { state, next_attempt: Some(after(txn.now(), CLAIM)), ..row.clone() };
        txn.op(Op::PutLease(claimed.clone(), Expect::Revision(row.revision)));
        txn.audit("lease.revoke", &format!("leases/{}", row.id), json!({ "attempt": row.attempts + 1 }));
        let revision = txn.commit().await?;
        Ok(LeaseRow { revision, ..claimed })
    }

    async fn withdraw(&self, actor: &Actor, row: LeaseRow) -> Result<()> {
        let body = self.body(&row)?;
        let mut txn = self.txn(actor.clone());
        let done = match self.databases.get(&mut txn, &body.space, &body.database).await {
            Ok((_, target)) => withdrawn(&*target, &body).await,
            Err(error) => Err(error),
        };
        let mut txn = self.txn(actor.clone());
        let subject = format!("leases/{}", row.id);
        match done {
            Ok(()) => {
                txn.op(Op::DeleteLease(row.id.clone(), Expect::Revision(row.revision)));
                txn.audit("lease.end", &subject, json!({ "role": body.role, "login": body.login.name }));
                txn.commit().await?;
                Ok(())
            }
            Err(error) => {
                let attempts = row.attempts.saturating_add(1);
                let state = if attempts >= STUCK { LeaseState::Stuck } else { LeaseState::Revoking };
                let wait = (5i64 << attempts.min(10)).min(3600);
                let next = Some(after(txn.now(), wait));
                txn.op(Op::PutLease(
                    LeaseRow { state, attempts, next_attempt: next, ..row.clone() },
                    Expect::Revision(row.revision),
                ));
                txn.audit("lease.revoke_failed", &subject, json!({ "attempt": attempts, "retry_in": wait }));
                txn.commit().await?;
                Err(error)
            }
        }
    }

    fn sealed(&self, id: &str, body: &Body) -> Result<Vec<u8>> {
        let bytes = serde_json::to_vec(body).map_err(|e| SecretsError::Internal(Box::new(e)))?;
        Ok(self.vault.seal_blob(&lease_place(id), &bytes)?.into_bytes())
    }

    fn body(&self, row: &LeaseRow) -> Result<Body> {
        let plain = self.vault.open_blob(&lease_place(&row.id), &Sealed::from_bytes(row.sealed.clone())?)?;
        serde_json::from_slice(plain.expose()).map_err(|_| SecretsError::corrupt("lease"))
    }
}

async fn withdrawn(target: &dyn Target, body: &Body) -> Result<()> {
    let failed = |e| SecretsError::invalid(format!("the database did not withdraw the login: {e}; it is tried again"));
    target.revoke(&body.login, &body.statements).await.map(drop).map_err(failed)
}

fn name(config: &Config, display: &str, role: &str, now: Timestamp) -> Result<String> {
    config.template()?.make(display, role, now).map_err(|e| SecretsError::invalid(e.to_string()))
}

fn told(row: &LeaseRow, body: &Body, now: Timestamp) -> Told {
    Told {
        id: row.id.clone(),
        issued: row.issued,
        expires: row.expires_at,
        renewed: body.renewed,
        renewable: body.last_moment > now,
        ttl: row.expires_at.map_or(0, |end| (end.secs() - now.secs()).max(0)),
    }
}

fn after(at: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_micros(at.micros().saturating_add(seconds.saturating_mul(1_000_000)))
}

/// What binds a lease's sealed bytes to their place, for sealing them anew under another encryption key.
pub fn lease_place(id: &str) -> String {
    format!("lease\0{id}")
}
