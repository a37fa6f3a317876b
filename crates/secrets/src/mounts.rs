//! Which engine lies where: the mount table of secret engines and of auth methods.
//!
//! One sealed entry holds the whole table; a parsed copy is kept by its revision, so asking costs one
//! look at the cache. A mount's storage hangs on its UUID and not on its path, so moving one moves
//! nothing. Data of a mount that is gone is removed with it, in the same transaction.

use crate::{Result, SecretsError, Txn, uuid};
use credentialflow_model::Timestamp;
use credentialflow_store::{Expect, Op};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Lifetime of what is handed out when nothing else says so, seconds: 768 hours.
pub const SYSTEM_TTL: i64 = 768 * 3600;

/// The space of the product's own entries.
const SPACE: &str = "sys";
const SECRET: &str = "mounts/secret";
const AUTH: &str = "mounts/auth";

/// Settings that clients may set and read back; all are honoured or only shown, as each says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tuning {
    /// Seconds; 0: the system's.
    pub default_lease_ttl: i64,
    /// Seconds; 0: the system's.
    pub max_lease_ttl: i64,
    /// Shown back.
    pub listing_visibility: String,
    /// Shown back; values are never in the audit log, so there is nothing to exempt.
    pub audit_non_hmac_request_keys: Vec<String>,
    /// As above.
    pub audit_non_hmac_response_keys: Vec<String>,
    /// Shown back.
    pub passthrough_request_headers: Vec<String>,
    /// Shown back.
    pub allowed_response_headers: Vec<String>,
    /// `default-service`, `default-batch`, `service` or `batch`; for auth methods.
    pub token_type: String,
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Ends with a slash; for auth methods below `auth/`.
    pub path: String,
    /// `kv`, `cubbyhole`, `approle`, …
    pub kind: String,
    /// Never given twice: its storage lies under it.
    pub uuid: String,
    /// As clients know it: kind and eight hexadecimal digits.
    pub accessor: String,
    /// What people say about it.
    pub description: String,
    /// As `version` for `kv`.
    pub options: BTreeMap<String, String>,
    /// Lifetimes and the like.
    pub tuning: Tuning,
    /// When it was mounted.
    pub created: Timestamp,
    /// It makes no logins (an auth method: lets nobody log in) until then, because it is being unmounted or moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_until: Option<Timestamp>,
}

impl Mount {
    /// A new one; nothing is stored yet.
    pub fn new(path: &str, kind: &str, now: Timestamp) -> Result<Self> {
        let path = normal(path)?;
        let accessor = format!("{kind}_{}", &uuid()?[..8]);
        Ok(Self {
            path,
            kind: kind.to_owned(),
            uuid: uuid()?,
            accessor,
            description: String::new(),
            options: BTreeMap::new(),
            tuning: Tuning::default(),
            created: now,
            closed_until: None,
        })
    }

    /// Seconds something from here lives when nothing else says so.
    pub fn default_ttl(&self) -> i64 {
        if self.tuning.default_lease_ttl > 0 { self.tuning.default_lease_ttl } else { SYSTEM_TTL.min(self.max_ttl()) }
    }

    /// Nothing from here lives longer, in seconds.
    pub const fn max_ttl(&self) -> i64 {
        if self.tuning.max_lease_ttl > 0 { self.tuning.max_lease_ttl } else { SYSTEM_TTL }
    }
}

/// The table at one moment, each list by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Secret engines.
    pub secret: BTreeMap<String, Mount>,
    /// Auth methods, by the path below `auth/`.
    pub auth: BTreeMap<String, Mount>,
}

/// Which list of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Secret engines.
    Secret,
    /// Auth methods.
    Auth,
}

impl Table {
    /// The mount a path lies in and the rest of the path below it; the longest wins.
    pub fn find<'a, 'p>(&'a self, side: Side, path: &'p str) -> Option<(&'a Mount, &'p str)> {
        let list = self.side(side);
        let ends = path.char_indices().rev().filter(|(_, c)| *c == '/').map(|(at, _)| at + 1);
        for end in ends {
            if let Some(mount) = list.get(&path[..end]) {
                return Some((mount, &path[end..]));
            }
        }
        // `secret` alone means the mount itself, as in listing it.
        list.get(&format!("{path}/")).map(|mount| (mount, ""))
    }

    /// One of the lists.
    pub const fn side(&self, side: Side) -> &BTreeMap<String, Mount> {
        match side {
            Side::Secret => &self.secret,
            Side::Auth => &self.auth,
        }
    }

    const fn side_mut(&mut self, side: Side) -> &mut BTreeMap<String, Mount> {
        match side {
            Side::Secret => &mut self.secret,
            Side::Auth => &mut self.auth,
        }
    }
}

/// Keeps the parsed table; one for a process.
#[derive(Debug, Default)]
pub struct Mounts {
    parsed: Mutex<Option<(Revisions, Arc<Table>)>>,
}

type Revisions = (Option<i64>, Option<i64>);

impl Mounts {
    /// The table as a request sees it. Before the first change it holds what every installation has.
    pub async fn table(&self, txn: &mut Txn) -> Result<Arc<Table>> {
        let mut entries = txn.entries(SPACE);
        let revisions = (entries.revision(SECRET).await?, entries.revision(AUTH).await?);
        if let Some((known, table)) = &*self.parsed.lock().unwrap_or_else(PoisonError::into_inner)
            && *known == revisions
        {
            return Ok(table.clone());
        }
        let secret = match entries.get_json::<Vec<Mount>>(SECRET).await? {
            Some(list) => by_path(list),
            None => standard(Side::Secret)?,
        };
        let auth = match entries.get_json::<Vec<Mount>>(AUTH).await? {
            Some(list) => by_path(list),
            None => standard(Side::Auth)?,
        };
        let table = Arc::new(Table { secret, auth });
        *self.parsed.lock().unwrap_or_else(PoisonError::into_inner) = Some((revisions, table.clone()));
        Ok(table)
    }

    /// What refuses a unit once one of the lists is another than this request saw: for what rests on a mount and is
    /// committed elsewhere.
    pub async fn unchanged(&self, txn: &mut Txn, side: Side) -> Result<Op> {
        let path = place(side);
        let expect = txn.entries(SPACE).revision(path).await?.map_or(Expect::Absent, Expect::Revision);
        Ok(Op::CheckEntry { space: SPACE.to_owned(), path: path.to_owned(), expect })
    }

    /// Adds a mount.
    pub async fn add(&self, txn: &mut Txn, side: Side, mount: Mount) -> Result<()> {
        let mut table = (*self.table(txn).await?).clone();
        refuse_own(side, &mount.path)?;
        let taken = table
            .side(side)
            .keys()
            .find(|other| other.starts_with(mount.path.as_str()) || mount.path.starts_with(other.as_str()));
        if let Some(taken) = taken {
            return Err(SecretsError::invalid(format!("path is already in use at {taken}")));
        }
        table.side_mut(side).insert(mount.path.clone(), mount);
        self.write(txn, side, &table)
    }

    /// Removes a mount and everything stored under it. Answers it; nothing when there was none.
    pub async fn remove(&self, txn: &mut Txn, side: Side, path: &str) -> Result<Option<Mount>> {
        let path = normal(path)?;
        refuse_own(side, &path)?;
        let mut table = (*self.table(txn).await?).clone();
        let Some(gone) = table.side_mut(side).remove(&path) else { return Ok(None) };
        txn.entries(&gone.uuid).delete_prefix("");
        self.write(txn, side, &table)?;
        Ok(Some(gone))
    }

    /// Changes a mount's settings.
    pub async fn tune(&self, txn: &mut Txn, side: Side, path: &str, change: impl FnOnce(&mut Mount)) -> Result<()> {
        let path = normal(path)?;
        let mut table = (*self.table(txn).await?).clone();
        let mount = table.side_mut(side).get_mut(&path).ok_or_else(|| missing(side, &path))?;
        change(mount);
        if mount.tuning.max_lease_ttl > 0 && mount.tuning.default_lease_ttl > mount.tuning.max_lease_ttl {
            return Err(SecretsError::invalid("given default lease TTL greater than given max lease TTL"));
        }
        self.write(txn, side, &table)
    }

    /// Moves a secret engine; what is stored stays where it is.
    pub async fn remount(&self, txn: &mut Txn, side: Side, from: &str, to: &str) -> Result<()> {
        let (from, to) = (normal(from)?, normal(to)?);
        refuse_own(side, &from)?;
        refuse_own(side, &to)?;
        let mut table = (*self.table(txn).await?).clone();
        let mut mount = table.side_mut(side).remove(&from).ok_or_else(|| missing(side, &from))?;
        if table.side(side).keys().any(|other| other.starts_with(&to) || to.starts_with(other.as_str())) {
            return Err(SecretsError::invalid(format!("path already in use at {to:?}")));
        }
        mount.path.clone_from(&to);
        mount.closed_until = None;
        table.side_mut(side).insert(to, mount);
        self.write(txn, side, &table)
    }

    fn write(&self, txn: &mut Txn, side: Side, table: &Table) -> Result<()> {
        let list: Vec<&Mount> = table.side(side).values().collect();
        txn.entries(SPACE).put_json(place(side), &list)
    }
}

const fn place(side: Side) -> &'static str {
    match side {
        Side::Secret => SECRET,
        Side::Auth => AUTH,
    }
}

/// Lets a request be refused, at the latest when it is committed, where its mount is gone or about to go.
pub(crate) async fn rests_on(txn: &mut Txn, mount: &Mount) -> Result<()> {
    let (now, mut entries) = (txn.now(), txn.entries(SPACE));
    let list: Vec<Mount> = entries.get_json(SECRET).await?.unwrap_or_default();
    let revision = entries.revision(SECRET).await?.unwrap_or_default();
    let there = list.iter().find(|known| known.uuid == mount.uuid && known.path == mount.path);
    if there.is_none_or(|known| known.closed_until.is_some_and(|until| until > now)) {
        return Err(SecretsError::invalid("this engine is being unmounted or moved"));
    }
    txn.op(Op::CheckEntry { space: SPACE.to_owned(), path: SECRET.to_owned(), expect: Expect::Revision(revision) });
    Ok(())
}

fn by_path(list: Vec<Mount>) -> BTreeMap<String, Mount> {
    list.into_iter().map(|mount| (mount.path.clone(), mount)).collect()
}

/// What every installation has from the start. Its UUIDs are its names, so that every node agrees
/// before anything is stored.
fn standard(side: Side) -> Result<BTreeMap<String, Mount>> {
    let own = |path: &str, kind: &str, description: &str| {
        let name = path.trim_end_matches('/');
        Mount {
            path: path.to_owned(),
            kind: kind.to_owned(),
            uuid: format!("{name}-standard"),
            accessor: format!("{kind}_00000000"),
            description: description.to_owned(),
            options: BTreeMap::new(),
            tuning: Tuning::default(),
            created: Timestamp::from_secs(0),
            closed_until: None,
        }
    };
    Ok(by_path(match side {
        Side::Secret => vec![
            own("cubbyhole/", "cubbyhole", "per-token private secret storage"),
            own("sys/", "system", "system endpoints used for control, policy and debugging"),
        ],
        Side::Auth => vec![own("token/", "token", "token based credentials")],
    }))
}

fn missing(side: Side, path: &str) -> SecretsError {
    match side {
        Side::Secret => SecretsError::invalid(format!("no matching mount at {path:?}")),
        Side::Auth => SecretsError::invalid(format!("no matching mount at \"auth/{path}\"")),
    }
}

fn refuse_own(side: Side, path: &str) -> Result<()> {
    let first = path.split('/').next().unwrap_or_default();
    let own = match side {
        Side::Secret => matches!(first, "sys" | "cubbyhole" | "auth" | "audit" | "identity"),
        Side::Auth => first == "token",
    };
    if own { Err(SecretsError::invalid(format!("cannot change the protected mount {path:?}"))) } else { Ok(()) }
}

/// A mount's path with one slash at its end.
pub fn normal(path: &str) -> Result<String> {
    let path = path.trim_matches('/');
    let bad = path.is_empty()
        || path.len() > 512
        || path.chars().any(char::is_control)
        || path.split('/').any(|s| matches!(s, "" | "." | ".."));
    if bad { Err(SecretsError::invalid("a mount's path is missing or malformed")) } else { Ok(format!("{path}/")) }
}
