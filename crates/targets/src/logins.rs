//! Credentials of the engines `database` and `provider` at their targets: a rotation's steps, told to the
//! system in which the login or the key lives. What is special about keys is in `provider.rs`.
//!
//! Everything here may be done again: a password is set to the same value twice, a login that exists
//! is not created, one that is gone needs no new password. No login is made under a name that is not
//! in the configuration, so that a rotation cut short leaves none behind that nobody knows.

use crate::{
    Login, NewLogin, Server, Settings, Statements, Target, TargetError, Tls, Verdict, mysql, open, password,
    postgresql, rabbitmq, redis,
};
use credentialflow_model::{
    Name, SecretValue,
    lifecycle::VersionState,
    resource::{Credential, DatabaseRule, Engine, Resource, System, SystemKind},
};
use credentialflow_store::{CredentialVersionRow, Store};
use credentialflow_vault::{
    Vault,
    engine::DatabaseLogin,
    rotation::ports::{Held, VerifyOutcome},
};
use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

/// The logins that credentials stand for. Cheap to clone.
#[derive(Clone)]
pub struct Logins(Arc<Inner>);

struct Inner {
    store: Store,
    vault: Vault,
    /// Targets in use, with what they were opened from.
    open: Mutex<HashMap<Name, Opened>>,
}

struct Opened {
    declared: System,
    administrator: (Name, u32),
    target: Arc<dyn Target>,
}

/// A credential's login at its target.
struct Place {
    rule: DatabaseRule,
    target: Arc<dyn Target>,
}

/// Why there is no [`Place`], or nothing came of what was asked there.
pub(crate) enum Trouble {
    Refused(String),
    Unreachable(String),
}

impl From<TargetError> for Trouble {
    fn from(error: TargetError) -> Self {
        if error.is_transient() { Self::Unreachable(error.to_string()) } else { Self::Refused(error.to_string()) }
    }
}

impl Logins {
    /// Over the store that has the declarations and the vault that opens the values.
    pub fn new(store: Store, vault: Vault) -> Self {
        Self(Arc::new(Inner { store, vault, open: Mutex::new(HashMap::new()) }))
    }

    /// Makes the target accept a value.
    pub fn install<'a>(
        &'a self,
        credential: &'a Name,
        held: Held<'a>,
    ) -> impl Future<Output = VerifyOutcome> + Send + 'a {
        self.at(credential, async move |place: Place| {
            let login = place.login(held.value);
            let named = Login::named(&login.username);
            let statements = Statements { creation: place.rule.create.clone(), ..Statements::default() };
            if !place.has(&named).await? {
                if place.rule.create.is_empty() || login.username == place.rule.username {
                    return Err(Trouble::Refused(format!("there is no login {} at the target", login.username)));
                }
                let new = NewLogin {
                    name: &login.username,
                    password: &login.password,
                    expires: None,
                    statements: &statements,
                };
                place.target.create(&new).await?;
            }
            // Also after creating: the statements may have put the password elsewhere.
            place.target.set_password(&named, &login.password, &Statements::default()).await?;
            if login.username == place.target.administrator() {
                place.target.use_password(login.password);
            }
            Ok(())
        })
    }

    /// Makes the target refuse a value, unless `kept` is for the same login.
    pub fn retire<'a>(
        &'a self,
        credential: &'a Name,
        held: Held<'a>,
        kept: Option<Held<'a>>,
    ) -> impl Future<Output = VerifyOutcome> + Send + 'a {
        self.at(credential, async move |place: Place| {
            let login = Login::named(&place.login(held.value).username);
            if kept.is_some_and(|kept| place.login(kept.value).username == login.name) || !place.has(&login).await? {
                return Ok(());
            }
            // A password that nobody knows.
            Ok(place.target.set_password(&login, &password::generate(64)?, &Statements::default()).await?)
        })
    }

    /// Tries a value by a login.
    pub fn verify<'a>(
        &'a self,
        credential: &'a Name,
        held: Held<'a>,
    ) -> impl Future<Output = VerifyOutcome> + Send + 'a {
        self.at(credential, async move |place: Place| {
            let login = place.login(held.value);
            match place.target.verify(&Login::named(&login.username), &login.password).await? {
                Verdict::Accepted => Ok(()),
                Verdict::Refused(why) => Err(Trouble::Refused(why)),
            }
        })
    }

    /// Sessions at the target that were opened with a version, where its login is not the one in use
    /// as well. What cannot be counted is one, so that it is not taken for drained.
    pub async fn sessions(&self, credential: &Name, version: u32) -> u64 {
        match self.count_sessions(credential, version).await {
            Ok(count) => count,
            Err(Trouble::Refused(why) | Trouble::Unreachable(why)) => {
                tracing::debug!(%credential, version, why, "the sessions of a login cannot be counted");
                1
            }
        }
    }

    async fn count_sessions(&self, credential: &Name, version: u32) -> Result<u64, Trouble> {
        let Some(place) = self.place(credential).await? else { return Ok(0) };
        let versions = self.0.store.credential_versions(credential.as_str()).await.map_err(away)?;
        let name_of =
            |row: &CredentialVersionRow| self.0.vault.open_version(row).ok().map(|v| place.login(&v).username);
        let asked = versions.iter().find(|v| v.version == version).and_then(name_of);
        let current = versions.iter().find(|v| v.state == VersionState::Current).and_then(name_of);
        match asked {
            Some(name) if Some(&name) != current.as_ref() => {
                Ok(place.target.sessions(&Login::named(&name)).await?.unwrap_or(1))
            }
            _ => Ok(0),
        }
    }

    async fn at(&self, credential: &Name, act: impl AsyncFnOnce(Place) -> Result<(), Trouble>) -> VerifyOutcome {
        let done = match self.place(credential).await {
            Ok(None) => return VerifyOutcome::NotConfigured,
            Ok(Some(place)) => act(place).await,
            Err(trouble) => Err(trouble),
        };
        match done {
            Ok(()) => VerifyOutcome::Accepted,
            Err(Trouble::Refused(why)) => VerifyOutcome::Refused(why),
            Err(Trouble::Unreachable(why)) => VerifyOutcome::Unreachable(why),
        }
    }

    /// Where a credential's login is; `None` when it has none.
    async fn place(&self, credential: &Name) -> Result<Option<Place>, Trouble> {
        let Some(credential) = self.declared::<Credential>(credential).await? else { return Ok(None) };
        let (Engine::Database, Some(rule)) = (credential.engine, credential.database) else { return Ok(None) };
        let system = self.declared::<System>(&rule.target).await?;
        let system = system.ok_or_else(|| Trouble::Refused(format!("there is no target {}", rule.target)))?;
        let target = self.target(system).await?;
        Ok(Some(Place { rule, target }))
    }

    pub(crate) async fn declared<T: Resource>(&self, name: &Name) -> Result<Option<T>, Trouble> {
        let row = self.0.store.resource(T::KIND, name.as_str()).await.map_err(away)?;
        let Some(row) = row else { return Ok(None) };
        let broken = |_| Trouble::Refused(format!("{}/{name} is stored in a way that does not read", T::KIND.as_str()));
        serde_json::from_str(&row.body).map(Some).map_err(broken)
    }

    /// A target, opened or still open. While the administrator's own password is being rotated, the one
    /// that the target accepts is found by trying.
    pub(crate) async fn target(&self, system: System) -> Result<Arc<dyn Target>, Trouble> {
        let name = &system.credential;
        let rows = self.0.store.credential_versions(name.as_str()).await.map_err(away)?;
        let order = |state| match state {
            VersionState::Current => Some(0),
            VersionState::Pending | VersionState::Canary => Some(1),
            VersionState::Previous => Some(2),
            VersionState::Failed => Some(3),
            _ => None,
        };
        let mut candidates: Vec<_> = rows.iter().filter(|v| v.sealed.is_some() && order(v.state).is_some()).collect();
        candidates.sort_by_key(|v| order(v.state));
        let newest = candidates.first().map(|v| v.version);
        let Some(newest) = newest else {
            return Err(Trouble::Refused(format!("the target's credential {name} has no value")));
        };
        let mine = rows.iter().any(|v| v.state == VersionState::Pending);
        if !mine && let Some(open) = self.still_open(&system, newest) {
            return Ok(open);
        }
        let authorities = authorities(&system).await?;
        let mut refused = None;
        for candidate in &candidates {
            let value = self.0.vault.open_version(candidate).map_err(|e| Trouble::Refused(e.to_string()))?;
            let target = open(settings(&system, &value, authorities.clone())?)?;
            if candidates.len() > 1
                && let Err(error) = target.check().await
            {
                if error.is_transient() {
                    return Err(error.into());
                }
                refused = Some(error);
                continue;
            }
            self.keep(&system, candidate.version, &target);
            return Ok(target);
        }
        Err(refused.map_or_else(|| Trouble::Refused("the target lets nobody in".to_owned()), Trouble::from))
    }

    fn still_open(&self, system: &System, version: u32) -> Option<Arc<dyn Target>> {
        let open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        let found = open.get(&system.name)?;
        let same = found.declared == *system && found.administrator == (system.credential.clone(), version);
        same.then(|| found.target.clone())
    }

    fn keep(&self, system: &System, version: u32, target: &Arc<dyn Target>) {
        let administrator = (system.credential.clone(), version);
        let opened = Opened { declared: system.clone(), administrator, target: target.clone() };
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner).insert(system.name.clone(), opened);
    }
}

impl Place {
    /// A value as a login. One that was handed in before the engine was `database` is the password alone.
    fn login(&self, value: &SecretValue) -> DatabaseLogin {
        DatabaseLogin::read(value)
            .unwrap_or_else(|| DatabaseLogin { username: self.rule.username.clone(), password: value.duplicate() })
    }

    /// Whether a login exists. Where we may not look it does, and the next call tells.
    async fn has(&self, login: &Login) -> Result<bool, Trouble> {
        match self.target.list(&login.name).await {
            Ok(found) => Ok(found.iter().any(|l| l.name == login.name)),
            Err(TargetError::Refused(_)) => Ok(true),
            Err(other) => Err(other.into()),
        }
    }
}

/// What a target's file of authorities holds, if it names one.
async fn authorities(system: &System) -> Result<Option<String>, Trouble> {
    let Some(path) = system.tls.as_ref().and_then(|tls| tls.ca_file.as_ref()) else { return Ok(None) };
    let read = credentialflow_egress::load_authorities(path.into()).await;
    read.map(Some).map_err(|error| Trouble::Refused(format!("the ca_file {error}")))
}

fn settings(system: &System, value: &SecretValue, authorities: Option<String>) -> Result<Settings, Trouble> {
    let (username, secret) = match DatabaseLogin::read(value) {
        Some(login) => (login.username, login.password),
        None => (system.username.clone(), value.duplicate()),
    };
    if let Some(api) = &system.api {
        let settings = crate::provider::settings(system, api, &username, secret, authorities)?;
        return Ok(Settings::Http(Box::new(settings)));
    }
    let port = system.port.unwrap_or_else(|| system.system.port());
    let mut server = Server::new(&system.host, port, &username, secret);
    if system.tls.is_some() {
        server.tls = Tls::verify(authorities);
    }
    let database = system.database.clone();
    Ok(match system.system {
        SystemKind::Postgresql => {
            Settings::Postgresql(postgresql::Settings::new(server, database.as_deref().unwrap_or("postgres")))
        }
        SystemKind::Mysql => Settings::Mysql(mysql::Settings { database, ..mysql::Settings::new(server) }),
        SystemKind::Redis => Settings::Redis(redis::Settings::new(server)),
        SystemKind::Rabbitmq => Settings::Rabbitmq(rabbitmq::Settings::declared(server)),
        SystemKind::Http => return Err(Trouble::Refused("the target does not say what is called there".to_owned())),
    })
}

/// Our own database does not answer.
fn away(error: credentialflow_store::StoreError) -> Trouble {
    Trouble::Unreachable(error.to_string())
}
