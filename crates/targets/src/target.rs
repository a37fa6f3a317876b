//! What every target can do, and the words it is told in.

use crate::{Kind, Result};
use credentialflow_model::{SecretValue, Timestamp};
use serde::{Deserialize, Serialize};
use std::{future::Future, pin::Pin};

/// A future that may be sent to another thread, boxed so that the trait stays object-safe.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A system that keeps logins. Every call ends within the server's time limits, may be repeated after
/// a crash, and blocks no other target.
pub trait Target: Send + Sync {
    /// Which system it is.
    fn kind(&self) -> Kind;

    /// Logs in as the administrator and asks for the system's version. Changes nothing.
    fn check(&self) -> BoxFuture<'_, Result<String>>;

    /// Creates a login. The caller has stored its name before. When it fails half-way, what was made
    /// is taken away again as far as the target can be reached; a caller that sees an error revokes.
    fn create<'a>(&'a self, login: &'a NewLogin<'a>) -> BoxFuture<'a, Result<Created>>;

    /// Makes a login valid until `expires`, where the system knows such a date; elsewhere nothing.
    fn renew<'a>(
        &'a self,
        login: &'a Login,
        expires: Timestamp,
        statements: &'a Statements,
    ) -> BoxFuture<'a, Result<()>>;

    /// Takes a login away and ends its sessions. A login that is gone is a success. The administrator
    /// itself is refused.
    fn revoke<'a>(&'a self, login: &'a Login, statements: &'a Statements) -> BoxFuture<'a, Result<Revoked>>;

    /// Gives an existing login another password. Running sessions go on.
    fn set_password<'a>(
        &'a self,
        login: &'a Login,
        password: &'a SecretValue,
        statements: &'a Statements,
    ) -> BoxFuture<'a, Result<()>>;

    /// Tries a login with a connection of its own. Changes nothing.
    fn verify<'a>(&'a self, login: &'a Login, password: &'a SecretValue) -> BoxFuture<'a, Result<Verdict>>;

    /// How many sessions a login has open; `None` where the system cannot tell, or does not tell us.
    fn sessions<'a>(&'a self, login: &'a Login) -> BoxFuture<'a, Result<Option<u64>>>;

    /// The logins whose names begin with `mark`, in order: to find what a crash left behind.
    fn list<'a>(&'a self, mark: &'a str) -> BoxFuture<'a, Result<Vec<Login>>>;

    /// The name of the administrator this target logs in as; empty where it has none.
    fn administrator(&self) -> &str;

    /// Uses another password for the administrator from now on, after [`Target::set_password`] gave
    /// it one. Kept connections are closed.
    fn use_password(&self, password: SecretValue);
}

/// A login at a target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Login {
    /// Its name.
    pub name: String,
    /// What the system calls it: the name itself, or an id that an API gave when it was created.
    pub handle: String,
}

impl Login {
    /// A login that the system calls by its name, as all but described APIs do.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), handle: name.to_owned() }
    }
}

/// A login to be created.
#[derive(Debug)]
pub struct NewLogin<'a> {
    /// Its name, from [`crate::username::Template`], stored by the caller beforehand.
    pub name: &'a str,
    /// Its password. A described API may make one of its own instead: see [`Created::password`].
    pub password: &'a SecretValue,
    /// Until when it is to be valid, where the system knows such a date.
    pub expires: Option<Timestamp>,
    /// What creates it and, when that fails half-way, takes it back.
    pub statements: &'a Statements,
}

/// What creating a login gave.
#[derive(Debug)]
pub struct Created {
    /// What the system calls the login from now on; to be stored.
    pub handle: String,
    /// The password where the system made it, instead of the one handed in.
    pub password: Option<SecretValue>,
}

/// What revoking a login did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Whether the login was still there.
    pub existed: bool,
    /// How many of its sessions were ended; `None` where the system cannot, or does not allow us to.
    pub sessions: Option<u64>,
}

/// What trying a login showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The target lets it in.
    Accepted,
    /// The target answered and does not let it in; why, without secrets.
    Refused(String),
}

/// The templates of a role, Vault's names. An empty list means the target's own default where its
/// documentation names one.
///
/// For SQL each entry may hold several statements, separated by semicolons. Placeholders are
/// `{{name}}` (also `{{username}}`), `{{password}}` and `{{expiration}}`. They are put in as quoted
/// identifiers or literals, by where they stand: no value can leave its place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Statements {
    /// Creates a login.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub creation: Vec<String>,
    /// Takes a login away.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revocation: Vec<String>,
    /// Takes back what a creation that failed has left.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rollback: Vec<String>,
    /// Makes a login valid for longer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub renewal: Vec<String>,
    /// Gives a login another password.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rotation: Vec<String>,
}

/// `{{expiration}}` as databases take it: `2026-11-01 12:00:00+0000`.
pub(crate) fn timestamp(at: Timestamp) -> String {
    let text = Timestamp::from_secs(at.secs()).to_string();
    let (day, time) = text.trim_end_matches('Z').split_once('T').unwrap_or((&text, "00:00:00"));
    format!("{day} {time}+0000")
}
