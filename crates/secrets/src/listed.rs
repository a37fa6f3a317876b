//! What mounts keep, told for an inventory and without any value: the logins whose passwords change by themselves or on
//! demand, the administrators' among them, and how many key-value secrets there are.

use crate::engine::{Engine, database, kv2, rabbitmq};
use crate::{Mount, Result, SecretsError, Table, Txn};
use credentialflow_model::Timestamp;
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A login at another system whose password a mount keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptLogin {
    /// Its path, as in `database/static-roles/orders`; an administrator's is `database/config/orders`.
    pub name: String,
    /// What it is called there; empty where the system has no names.
    pub username: String,
    /// The system, as in `postgresql at db:5432/orders`; what the mount calls it where it cannot be told.
    pub system: String,
    /// Whether it is the one by which all others are made.
    pub administrator: bool,
    /// When its password was set; absent while there is none of ours yet, and where nobody noted it.
    pub since: Option<Timestamp>,
    /// Seconds between two changes of it; absent: on demand.
    pub every: Option<i64>,
    /// When it changes next.
    pub due: Option<Timestamp>,
    /// When somebody last fetched the password; absent for administrators.
    pub fetched: Option<Timestamp>,
    /// Why the last change failed, if it did.
    pub problem: Option<String>,
}

/// The key-value secrets of a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptSecrets {
    /// Where it is mounted, as in `secret/`.
    pub mount: String,
    /// How many paths there are.
    pub count: u64,
    /// When the one that is longest as it is was written. Absent for version 1, which notes no times, where there are
    /// too many to look at each, where there was no time for it, and where none can be read.
    pub oldest: Option<Timestamp>,
}

/// What is known of the ages of key-value secrets for a while, so that each page of an inventory does not open all of
/// them again.
#[derive(Debug, Default)]
pub struct Ages(Mutex<HashMap<String, Known>>);

/// Of one mount.
#[derive(Debug, Clone, Copy)]
struct Known {
    at: Instant,
    count: u64,
    oldest: Option<Timestamp>,
}

/// Where mounts keep how a system is reached, and the logins whose passwords change by themselves.
const CONFIG: &str = "config/";
const STATIC_ROLES: &str = "static-roles/";

/// So long an age is good for, where the number of secrets stays the same.
const GOOD_FOR: Duration = Duration::from_secs(60);
/// So long secrets are opened for one answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// A page of logins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptLogins {
    /// By path.
    pub items: Vec<KeptLogin>,
    /// After which path to go on; absent: that was all.
    pub next: Option<String>,
}

/// The logins of all mounts after a path, by path; at most `most` are looked at. One that does not read is told as that.
pub async fn logins(txn: &mut Txn, table: &Table, after: &str, most: usize) -> Result<KeptLogins> {
    let (mut page, mut left) = (KeptLogins::default(), most.max(1));
    for mount in table.secret.values() {
        let sections: &[&str] = match Engine::of(mount) {
            Some(Engine::Database) => &[CONFIG, STATIC_ROLES],
            Some(Engine::Rabbitmq) => &[CONFIG],
            _ => continue,
        };
        let mut systems = Systems::default();
        for section in sections {
            let base = format!("{}{section}", mount.path);
            let from = after.strip_prefix(base.as_str());
            if from.is_none() && after > base.as_str() {
                continue;
            }
            let names = match Engine::of(mount) {
                Some(Engine::Rabbitmq) => {
                    let only = Some(rabbitmq::CONNECTION.to_owned());
                    only.filter(|only| from.is_none_or(|from| only.as_str() > from)).into_iter().collect()
                }
                _ => txn.entries(&mount.uuid).list(section, from.unwrap_or_default(), left).await?,
            };
            left -= names.len().min(left);
            let last = names.last().map(|last| format!("{base}{last}"));
            if *section == CONFIG {
                for name in names {
                    page.items.extend(administrator(txn, mount, &name).await?);
                }
            } else {
                page.items.extend(static_roles(txn, mount, names, &mut systems).await?);
            }
            if left == 0 {
                page.next = last;
                return Ok(page);
            }
        }
    }
    Ok(page)
}

async fn static_roles(
    txn: &mut Txn,
    mount: &Mount,
    names: Vec<String>,
    systems: &mut Systems,
) -> Result<Vec<KeptLogin>> {
    let subject = |name: &str| format!("vault/{}static-creds/{name}", mount.path);
    let subjects: Vec<_> = names.iter().map(|name| subject(name)).collect();
    let fetched = txn.store().last_done("secret.read", &subjects).await?;
    let mut all = Vec::with_capacity(names.len());
    for name in names {
        all.extend(static_role(txn, mount, &name, systems, fetched.get(&subject(&name)).copied()).await?);
    }
    Ok(all)
}

/// Systems of one mount by the names of their configurations, as far as they were asked for; `None` where it cannot be
/// told.
#[derive(Default)]
struct Systems(HashMap<String, Option<String>>);

impl Systems {
    /// The system of a database; what the mount calls it where it cannot be told.
    async fn of(&mut self, txn: &mut Txn, mount: &Mount, database: &str) -> Result<String> {
        if !self.0.contains_key(database) {
            let read = txn.entries(&mount.uuid).get_json::<database::Config>(&format!("{CONFIG}{database}")).await;
            let system = match read {
                Ok(config) => config.and_then(|config| config.place().ok()),
                Err(SecretsError::Internal(_)) => None,
                Err(other) => return Err(other),
            };
            self.0.insert(database.to_owned(), system);
        }
        Ok(self.0.get(database).cloned().flatten().unwrap_or_else(|| database.to_owned()))
    }
}

/// What there is, or, as `Err`, what is told of something whose entry does not read.
fn readable<T>(read: Result<Option<T>>, name: String, system: &str) -> Result<Option<Result<T, KeptLogin>>> {
    match read {
        Ok(found) => Ok(found.map(Ok)),
        Err(SecretsError::Internal(_)) => Ok(Some(Err(KeptLogin {
            administrator: false,
            name,
            username: String::new(),
            system: system.to_owned(),
            since: None,
            every: None,
            due: None,
            fetched: None,
            problem: Some("what is stored of it cannot be read".to_owned()),
        }))),
        Err(other) => Err(other),
    }
}

async fn administrator(txn: &mut Txn, mount: &Mount, name: &str) -> Result<Option<KeptLogin>> {
    let path = format!("{}{CONFIG}{name}", mount.path);
    let read = txn.entries(&mount.uuid).get_json::<database::Config>(&format!("{CONFIG}{name}")).await;
    let config = match readable(read, path.clone(), name)? {
        None => return Ok(None),
        Some(Err(told)) => return Ok(Some(KeptLogin { administrator: true, ..told })),
        Some(Ok(config)) => config,
    };
    if !config.has_password() {
        return Ok(None);
    }
    Ok(Some(KeptLogin {
        name: path,
        username: config.username.clone(),
        system: config.place().unwrap_or_else(|_| name.to_owned()),
        administrator: true,
        since: config.password_since,
        every: None,
        due: None,
        fetched: None,
        problem: config.pending.is_some().then(|| "a change of its password is not finished".to_owned()),
    }))
}

async fn static_role(
    txn: &mut Txn,
    mount: &Mount,
    name: &str,
    systems: &mut Systems,
    fetched: Option<Timestamp>,
) -> Result<Option<KeptLogin>> {
    let path = format!("{}{STATIC_ROLES}{name}", mount.path);
    let role = match readable(database::known(txn, &mount.uuid, name).await, path.clone(), &mount.path)? {
        None => return Ok(None),
        Some(Err(told)) => return Ok(Some(told)),
        Some(Ok(role)) => role,
    };
    Ok(Some(KeptLogin {
        name: path,
        username: role.username,
        system: systems.of(txn, mount, &role.database).await?,
        administrator: false,
        since: role.last,
        every: Some(role.period),
        due: role.due,
        fetched,
        problem: role.problem,
    }))
}

/// How many key-value secrets each mount has, by path. Ages may be a minute old; what there was no time for is looked at
/// by the next call.
pub async fn secrets(txn: &mut Txn, table: &Table, ages: &Ages) -> Result<Vec<KeptSecrets>> {
    let (mut all, until) = (Vec::new(), Instant::now() + PATIENCE);
    let spaces: HashSet<&str> = table.secret.values().map(|mount| mount.uuid.as_str()).collect();
    ages.forget(|space| spaces.contains(space));
    for mount in table.secret.values() {
        let (count, oldest) = match Engine::of(mount) {
            Some(Engine::Kv1) => (txn.store().entry_count(&mount.uuid, "").await?, None),
            Some(Engine::Kv2) => {
                let count = kv2::count(txn, &mount.uuid).await?;
                (count, ages.oldest(txn, &mount.uuid, count, until).await?)
            }
            _ => continue,
        };
        all.push(KeptSecrets { mount: mount.path.clone(), count, oldest });
    }
    Ok(all)
}

impl Ages {
    /// As it is known; what is too old is looked at anew, as far as there is time.
    async fn oldest(&self, txn: &Txn, space: &str, count: u64, until: Instant) -> Result<Option<Timestamp>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(space).copied();
        let known = known.filter(|known| known.count == count);
        if let Some(known) = known.filter(|known| known.at.elapsed() < GOOD_FOR) {
            return Ok(known.oldest);
        }
        let oldest = match kv2::oldest(txn, space, count, until).await? {
            kv2::Age::Known(oldest) => oldest,
            kv2::Age::TooMany => return Ok(None),
            kv2::Age::NoTime => return Ok(known.and_then(|known| known.oldest)),
        };
        let known = Known { at: Instant::now(), count, oldest };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(space.to_owned(), known);
        Ok(oldest)
    }

    /// Drops what is known of others.
    fn forget(&self, is_there: impl Fn(&str) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|space, _| is_there(space));
    }
}
