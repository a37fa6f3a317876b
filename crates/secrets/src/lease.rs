//! Leases: logins handed out for a time, renewed, withdrawn at their end or at once.
//!
//! A lease is written before its login is made (`pending`), and stays until the login is withdrawn:
//! a revocation is first written down, then done, and tried again for as long as it fails, each lease
//! by itself. What withdraws a login is kept with the lease. Two nodes do not work on one lease: each
//! claims it first.
//!
//! A lease may be revoked while its login is being made. Then the lease stays until nobody can be
//! making that login any more, whoever made it takes it away as soon as it sees that the lease is
//! over, and where that one is gone, it is taken away at that time.
//!
//! `withdraw.rs` is how a login is taken away, `work.rs` how many are, `held.rs` how all of somebody's are,
//! `certificate.rs` what is other for certificates; static roles and administrators are in [`crate::engine::database`].

mod certificate;
mod described;
#[cfg(test)]
mod fault;
#[cfg(test)]
mod fill;
mod held;
mod withdraw;
mod work;

#[cfg(test)]
pub(crate) use fault::Fault;

use crate::engine::database::{self, Config, Databases, Deed, HIDDEN, Role};
use crate::engine::{Engine, rabbitmq, wipe};
use crate::{Mount, Reply, Result, SecretsError, Txn, identifier, mounts};
use credentialflow_egress::PrivateHosts;
use credentialflow_model::{Actor, SecretValue, Timestamp};
use credentialflow_store::{Expect, LeaseRow, LeaseState, Op, Store};
use credentialflow_targets::{Login, NewLogin, Statements, password};
use credentialflow_vault::{Sealed, Vault};
pub use described::Described;
pub use held::{Ended, Held};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
pub use withdraw::Trouble;

/// Nobody can be making a login any more when so many seconds have gone by: several times what a
/// target may take, also for a statement that it goes on with after we hung up.
const PENDING: i64 = 120;
/// How often a change of one row is tried anew when others were first.
pub(crate) const RACES: usize = 16;
/// A claimed lease is left alone by others for so long, seconds.
const CLAIM: i64 = 60;
/// After so many failures a person should look; it is still tried, once an hour.
const STUCK: u32 = 8;
/// Logins one caller gets at once, and then per second.
const BURST: f64 = 300.0;
const PACE: f64 = 30.0;
/// Names told in one list at most.
const LISTED: usize = 100_000;
/// Length of the passwords made.
const PASSWORD: usize = 32;

/// Everything about a lease that is sealed.
#[derive(Clone, Serialize, Deserialize)]
struct Body {
    /// Whether the target has answered that the login is made, or is not. Until then it may appear.
    #[serde(default = "yes")]
    made: bool,
    /// Why the last try to withdraw it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// The mount's storage.
    space: String,
    /// Empty for a certificate.
    database: String,
    role: String,
    /// Where the login was made; empty for those of before, and for certificates.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    place: String,
    /// For a certificate its serial number as the name.
    login: Login,
    #[serde(default, skip_serializing_if = "Leased::is_login")]
    leased: Leased,
    statements: Statements,
    /// What a renewal gives when it asks for nothing, seconds.
    ttl: i64,
    /// No later than this.
    last_moment: Timestamp,
    renewed: Option<Timestamp>,
}

/// What a lease is of.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Leased {
    /// A login at another system.
    #[default]
    Login,
    /// A certificate of ours.
    Certificate,
}

impl Leased {
    fn is_login(&self) -> bool {
        *self == Self::Login
    }
}

const fn yes() -> bool {
    true
}

impl Body {
    /// Where its login is taken away.
    fn at(&self) -> work::Place {
        // One place that is away holds up no other of the same name.
        let database =
            if self.place.is_empty() { self.database.clone() } else { format!("{}, {}", self.database, self.place) };
        (self.space.clone(), database)
    }
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

/// A fresh login, or a certificate with its key.
#[derive(Debug)]
pub struct Issued {
    /// The lease's id.
    pub id: String,
    /// Seconds it lives.
    pub ttl: i64,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// `username` and `password`, or the certificate and its key, as JSON text.
    pub data: SecretValue,
    /// What the caller should know although it worked.
    pub warnings: Vec<String>,
}

/// Who gets a lease.
#[derive(Clone, Debug)]
pub struct Holder {
    /// For the audit log.
    pub actor: Actor,
    /// The accessor of the token it ends with.
    pub accessor: String,
    /// That token's keyed hash. A login is handed out only while the token is there; `None`: not looked at.
    pub token: Option<Vec<u8>>,
    /// Whom the token speaks for, the same after every login; empty: nobody logged in.
    pub entity: String,
    /// The application that the token was given to; empty: none.
    pub application: String,
    /// The accessor of the token that this one was made by, or by one that it made; its own where nobody made it.
    pub origin: String,
    /// For the login's name.
    pub display_name: String,
}

impl Holder {
    /// Names the caller where floods are counted. Another login does not make another caller, and neither does a token
    /// that the caller makes.
    pub(crate) fn caller(&self) -> String {
        for name in [&self.entity, &self.origin, &self.accessor] {
            if !name.is_empty() {
                return name.clone();
            }
        }
        format!("{}@{}", self.actor.name, self.actor.source.as_deref().unwrap_or_default())
    }

    /// As it is written to a lease.
    pub(crate) fn entity(&self) -> Option<String> {
        Some(self.entity.clone()).filter(|entity| !entity.is_empty())
    }

    /// As it is written to a lease.
    pub(crate) fn application(&self) -> Option<String> {
        Some(self.application.clone()).filter(|application| !application.is_empty())
    }
}

/// What came of a deed.
#[derive(Debug)]
pub enum Done {
    /// A fresh login.
    Issued(Issued),
    /// Anything else.
    Reply(Reply),
}

/// The leases of an installation, and whatever else is done at its databases; one for a process.
pub struct Leases {
    pub(crate) vault: Vault,
    pub(crate) store: Store,
    pub(crate) databases: Databases,
    pace: Mutex<HashMap<String, (f64, Instant)>>,
    /// Where logins are being withdrawn, and where that failed lately because nobody answered.
    places: work::Places,
    #[cfg(test)]
    pub(crate) faults: fault::Faults,
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Leases")
    }
}

impl Leases {
    /// Over a vault and its store. `private`: hosts of brokers and described HTTP APIs that may be at
    /// private addresses, which is the operator's to say.
    pub fn new(vault: Vault, store: Store, private: PrivateHosts) -> Self {
        Self {
            vault,
            store,
            databases: Databases::new(private),
            pace: Mutex::default(),
            places: work::Places::default(),
            #[cfg(test)]
            faults: fault::Faults::default(),
        }
    }

    pub(crate) fn txn(&self, actor: Actor) -> Txn {
        Txn::new(&self.vault, &self.store, actor)
    }

    /// Does what is asked of a database; `data` are the request's fields, `told` is for the audit log.
    /// Must not be dropped half-way: run it in a task of its own. What is refused is recorded, too.
    pub async fn perform(
        &self,
        holder: &Holder,
        mount: &Mount,
        deed: &Deed,
        data: &Map<String, Value>,
        told: &Value,
    ) -> Result<Done> {
        let done = self.done(holder, mount, deed, data, told).await;
        if let Err(error) = &done {
            self.refused(&holder.actor, mount, deed, error, told).await?;
        }
        done
    }

    /// Records that something was not done. Not where the request is run again, not what is no answer to
    /// it, and not what was too much.
    async fn refused(
        &self,
        actor: &Actor,
        mount: &Mount,
        deed: &Deed,
        error: &SecretsError,
        told: &Value,
    ) -> Result<()> {
        let reason = match error {
            SecretsError::Invalid(_) => "invalid",
            SecretsError::Denied(_) => "denied",
            SecretsError::NotFound | SecretsError::UnknownPath | SecretsError::Unsupported => "unknown",
            // What bounds a flood must not write for each of its calls.
            SecretsError::Busy(_)
            | SecretsError::Raced
            | SecretsError::Sealed
            | SecretsError::Unavailable
            | SecretsError::Internal(_) => return Ok(()),
        };
        let (action, path) = match deed {
            Deed::Login(role) => ("lease.refuse", format!("creds/{role}")),
            Deed::Certificate(role) => ("lease.refuse", format!("issue/{role}")),
            Deed::Configure(name) => ("database.refuse", format!("config/{name}")),
            Deed::WriteStatic(role) => ("database.refuse", format!("static-roles/{role}")),
            Deed::RotateStatic(role) => ("database.refuse", format!("rotate-role/{role}")),
            Deed::RotateRoot(name) => ("database.refuse", format!("rotate-root/{name}")),
            Deed::Reset(name) => ("database.refuse", format!("reset/{name}")),
        };
        let mut detail = if told.is_object() { told.clone() } else { json!({}) };
        detail["reason"] = reason.into();
        let mut txn = self.txn(actor.clone());
        txn.audit(action, &format!("vault/{}{path}", mount.path), detail);
        txn.commit().await.map(drop)
    }

    async fn done(
        &self,
        holder: &Holder,
        mount: &Mount,
        deed: &Deed,
        data: &Map<String, Value>,
        told: &Value,
    ) -> Result<Done> {
        match deed {
            Deed::Login(role) => return self.issue(holder, mount, role).await.map(Done::Issued),
            Deed::Certificate(role) => return self.issue_certificate(holder, mount, role, data, told).await,
            Deed::Configure(name) => self.configure(&holder.actor, mount, name, data, told).await,
            Deed::WriteStatic(role) => self.write_static(&holder.actor, mount, role, data, told).await,
            Deed::RotateStatic(role) => self.rotate_static(&holder.actor, mount, role).await,
            Deed::RotateRoot(name) => self.rotate_root(&holder.actor, mount, name).await.map(|()| Reply::empty()),
            Deed::Reset(name) => self.reset(&holder.actor, mount, name, told).await,
        }
        .map(Done::Reply)
    }

    async fn configure(
        &self,
        actor: &Actor,
        mount: &Mount,
        name: &str,
        data: &Map<String, Value>,
        told: &Value,
    ) -> Result<Reply> {
        let name = database::plain(name)?;
        let broker = Engine::of(mount) == Some(Engine::Rabbitmq);
        let completed;
        let (data, plugin) = if broker {
            completed = rabbitmq::connection(data)?;
            (&completed, Some(rabbitmq::PLUGIN))
        } else {
            (data, None)
        };
        let mut txn = self.txn(actor.clone());
        database::write_config(data, &mut txn, &mount.uuid, name, plugin, &self.databases.private).await?;
        txn.audit("secret.write", &format!("vault/{}config/{name}", mount.path), told.clone());
        txn.commit().await?;
        self.places.forget(&mount.uuid, name);
        Ok(Reply::empty())
    }

    async fn reset(&self, actor: &Actor, mount: &Mount, name: &str, told: &Value) -> Result<Reply> {
        let mut txn = self.txn(actor.clone());
        if !txn.entries(&mount.uuid).exists(&format!("config/{}", database::plain(name)?)).await? {
            return Err(SecretsError::invalid(format!("there is no database named {name:?}")));
        }
        self.databases.forget(&mount.uuid, name);
        self.places.forget(&mount.uuid, name);
        txn.audit("database.reset", &format!("vault/{}config/{name}", mount.path), told.clone());
        txn.commit().await?;
        Ok(Reply::empty())
    }

    /// Makes a login by a role of a mount. Must not be dropped half-way: run it in a task of its own.
    pub async fn issue(&self, holder: &Holder, mount: &Mount, role_name: &str) -> Result<Issued> {
        if holder.accessor.is_empty() {
            return Err(SecretsError::invalid("a batch token cannot hold leases"));
        }
        self.within_pace(&holder.caller())?;
        let mut txn = self.txn(holder.actor.clone());
        let now = txn.now();
        let role = match Engine::of(mount) {
            Some(Engine::Rabbitmq) => rabbitmq::role(&mut txn, mount, role_name).await?,
            _ => Role::load(&mut txn, mount, role_name).await?,
        };
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
            made: false,
            problem: None,
            space: mount.uuid.clone(),
            database: role.db_name.clone(),
            role: role_name.to_owned(),
            place: config.place()?,
            login: Login::named(&name),
            leased: Leased::Login,
            statements: role.statements,
            ttl,
            last_moment: after(now, most),
            renewed: None,
        };
        let row = LeaseRow {
            id: id.clone(),
            mount: mount.path.clone(),
            token: Some(holder.accessor.clone()),
            entity: holder.entity(),
            application: holder.application(),
            place: work::word(&body.at()),
            issued: now,
            expires_at: Some(after(now, ttl)),
            state: LeaseState::Pending,
            attempts: 0,
            next_attempt: Some(after(now, PENDING)),
            sealed: self.sealed(&id, &body)?,
            revision: 0,
        };
        mounts::rests_on(&mut txn, mount).await?;
        self.rests_on_token(&mut txn, holder).await?;
        txn.op(Op::PutLease(row.clone(), Expect::Absent));
        txn.audit("lease.begin", &format!("leases/{id}"), json!({ "role": role_name, "login": name }));
        let revision = txn.commit().await?;
        #[cfg(test)]
        self.fault(Fault::LeaseBegun)?;
        let new = NewLogin { name: &name, password: &secret, expires: row.expires_at, statements: &body.statements };
        let made = match target.create(&new).await {
            Ok(made) => made,
            Err(error) => {
                // Half of it may be there; after a silence, all of it may still come.
                body.made = !error.may_be_done();
                self.give_up(&holder.actor, &row, body, &*target).await;
                return Err(SecretsError::invalid(format!("the database did not make the login: {error}")));
            }
        };
        #[cfg(test)]
        self.fault(Fault::LoginMade)?;
        body.login.handle = made.handle;
        body.made = true;
        let secret = made.password.unwrap_or(secret);
        let done = async {
            let sealed = self.sealed(&id, &body)?;
            let active = LeaseRow { state: LeaseState::Active, next_attempt: row.expires_at, sealed, ..row.clone() };
            let mut told = json!({ "role": role_name, "login": name, "ttl": ttl });
            if let Some(application) = &row.application {
                told["application"] = application.as_str().into();
            }
            for _ in 0..RACES {
                let mut txn = self.txn(holder.actor.clone());
                self.rests_on_token(&mut txn, holder).await?;
                txn.op(Op::PutLease(active.clone(), Expect::Revision(revision)));
                txn.audit("lease.issue", &format!("leases/{id}"), told.clone());
                match txn.commit().await {
                    // The token was renewed or used at this moment.
                    Err(SecretsError::Raced)
                        if self.store.lease(&id).await?.is_some_and(|r| r.revision == revision) => {}
                    done => return done.map(drop),
                }
            }
            Err(SecretsError::Busy("the token changes all the time; try again".into()))
        };
        if let Err(error) = done.await {
            self.give_up(&holder.actor, &row, body, &*target).await;
            return Err(match error {
                SecretsError::Raced => SecretsError::invalid("the lease was revoked while its login was made"),
                other => other,
            });
        }
        let data = secret_json(json!({ "username": name, "password": secret.expose_str() }));
        Ok(Issued { id, ttl, renewable: true, data, warnings: Vec::new() })
    }

    /// Lets a commit fail where the holder's token was ended: whoever ended it did not see this lease.
    pub(crate) async fn rests_on_token(&self, txn: &mut Txn, holder: &Holder) -> Result<()> {
        let Some(hash) = &holder.token else { return Ok(()) };
        let token = self.store.token(hash).await?;
        let token = token.ok_or_else(|| SecretsError::invalid("the token was revoked while its login was made"))?;
        txn.rests_on_token(hash);
        txn.op(Op::CheckToken(hash.clone(), Expect::Revision(token.revision)));
        Ok(())
    }

    /// A flood from one caller is refused before it reaches a database.
    pub(crate) fn within_pace(&self, caller: &str) -> Result<()> {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if pace.len() > 10_000 {
            pace.retain(|_, (_, at)| now.duration_since(*at) < Duration::from_secs(60));
        }
        let (left, at) = pace.entry(caller.to_owned()).or_insert((BURST, now));
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
        if id.starts_with(HIDDEN) {
            return Ok(None);
        }
        let row = self.store.lease(id).await?;
        Ok(row.filter(|r| r.state == LeaseState::Active && r.expires_at.is_none_or(|end| end > now)))
    }

    /// The names one level below a prefix of the ids, the first 100,000, and whether there are more.
    pub async fn list(&self, prefix: &str) -> Result<(Vec<String>, bool)> {
        self.list_at_most(prefix, LISTED).await
    }

    pub(crate) async fn list_at_most(&self, prefix: &str, most: usize) -> Result<(Vec<String>, bool)> {
        let prefix = if prefix.is_empty() || prefix.ends_with('/') { prefix.to_owned() } else { format!("{prefix}/") };
        // The rows that are no leases are below one name.
        let mut names = self.store.lease_children(&prefix, "", most + 2).await?;
        names.retain(|name| !name.starts_with(HIDDEN));
        let more = names.len() > most;
        names.truncate(most);
        Ok((names, more))
    }

    /// Lets a lease live on for `increment` seconds from now (0: as long as it was given), no longer than
    /// its role allows. `None`: there is no such lease.
    pub async fn renew(&self, actor: &Actor, id: &str, increment: i64) -> Result<Option<Told>> {
        let Some(row) = self.live(id).await? else { return Ok(None) };
        let mut body = self.body(&row)?;
        if body.leased == Leased::Certificate {
            return Err(SecretsError::invalid("lease is not renewable"));
        }
        let mut txn = self.txn(actor.clone());
        let now = txn.now();
        let asked = after(now, if increment > 0 { increment } else { body.ttl });
        let end = asked.min(body.last_moment);
        if end <= now {
            return Err(SecretsError::invalid("the lease has reached its longest life and cannot be renewed"));
        }
        let target = self.databases.at(&mut txn, &body.space, &body.database, &body.place).await?;
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

    fn sealed(&self, id: &str, body: &Body) -> Result<Vec<u8>> {
        let bytes = serde_json::to_vec(body).map_err(|e| SecretsError::Internal(Box::new(e)))?;
        Ok(self.vault.seal_blob(&lease_place(id), &bytes)?.into_bytes())
    }

    pub(crate) fn open(&self, row: &LeaseRow) -> Result<SecretValue> {
        Ok(self.vault.open_blob(&lease_place(&row.id), &Sealed::from_bytes(row.sealed.clone())?)?)
    }

    fn body(&self, row: &LeaseRow) -> Result<Body> {
        let plain = self.open(row)?;
        serde_json::from_slice(plain.expose()).map_err(|_| SecretsError::corrupt("lease"))
    }
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
        renewable: body.leased == Leased::Login && body.last_moment > now,
        ttl: row.expires_at.map_or(0, |end| (end.secs() - now.secs()).max(0)),
    }
}

pub(crate) fn after(at: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_micros(at.micros().saturating_add(seconds.saturating_mul(1_000_000)))
}

/// JSON text with secrets in it; the value it is made from is wiped.
pub(crate) fn secret_json(mut value: Value) -> SecretValue {
    let text = SecretValue::from(value.to_string());
    wipe(&mut value);
    text
}

/// Seconds until something that failed so often is tried again: 10 s, then twice as long each time, an
/// hour at most.
pub(crate) fn backoff(attempts: u32) -> i64 {
    (5i64 << attempts.min(10)).min(3600)
}

/// What binds a lease's sealed bytes to their place, for sealing them anew under another encryption key.
pub fn lease_place(id: &str) -> String {
    format!("lease\0{id}")
}
