//! The shape of a question and an answer at every path of this room, without HTTP.

use crate::{Authenticated, IdentityError, Result};
use credentialflow_model::{Actor, ActorKind, SecretValue};
use credentialflow_store::{Expect, Op, Unit};
use serde::Serialize;
use serde_json::{Map, Value};
use std::{collections::BTreeMap, fmt, net::IpAddr};

/// What is done to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Write where nothing is yet.
    Create,
    /// See.
    Read,
    /// Write; also everything that is done by POST without a thing of its own.
    Update,
    /// Change a part.
    Patch,
    /// Remove.
    Delete,
    /// See names.
    List,
}

impl Operation {
    /// Whether it is written with a body: create and update are one for most paths.
    pub const fn is_write(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Patch)
    }
}

/// A place where an auth method is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Stays the same when the mount is moved, and is never given twice: the space of the store in which
    /// the method's data lies.
    pub id: String,
    /// Below `auth/`, with a slash at its end: `approle/`.
    pub path: String,
    /// The mount's accessor, as clients know it.
    pub accessor: String,
    /// Lifetime of a token when nothing else says so, seconds.
    pub default_ttl: i64,
    /// No token from here lives longer, seconds.
    pub max_ttl: i64,
}

/// One question to an auth method, the token room or the policies.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// Where the method is mounted.
    pub mount: &'a Mount,
    /// What is done.
    pub operation: Operation,
    /// Below the mount, without a leading slash: `role/web/secret-id`.
    pub path: &'a str,
    /// The body's fields, and those of the query string.
    pub data: &'a Map<String, Value>,
    /// Who asks; nobody at a login.
    pub caller: Option<&'a Authenticated>,
    /// The token the caller presented: told back to itself only.
    pub presented: Option<&'a str>,
    /// From where, if over the network.
    pub source: Option<IpAddr>,
    /// What must still be true when a login is written down: that its mount is there. Where it is not, the login is
    /// [`IdentityError::Conflict`], and the mount to be looked for again.
    pub rests_on: Option<&'a Op>,
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("mount", &self.mount.path)
            .field("operation", &self.operation)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Call<'_> {
    /// Who stands in the audit log for what this call changes.
    pub fn actor(&self) -> Actor {
        let source = self.source.map(|ip| ip.to_string());
        match self.caller {
            Some(caller) => Actor { source, ..caller.actor() },
            None => Actor { kind: ActorKind::Anonymous, name: "anonymous".to_owned(), source },
        }
    }

    /// A unit in the caller's name. Nothing of it is done when the caller's token was ended meanwhile, on this node or
    /// another: what it makes would outlive whoever ended the token.
    pub(crate) fn unit(&self) -> Unit {
        let mut unit = Unit::new(self.actor());
        if let Some(hash) = self.caller.and_then(Authenticated::id_hash) {
            unit.read_token(hash);
            unit.ops.push(Op::CheckToken(hash.to_vec(), Expect::Present));
        }
        unit
    }

    /// The caller, where there must be one.
    pub(crate) fn known_caller(&self) -> Result<&Authenticated> {
        self.caller.ok_or(IdentityError::Denied("missing client token"))
    }

    /// `auth/approle/login`: the path as policies and leases see it.
    pub(crate) fn full_path(&self) -> String {
        format!("auth/{}{}", self.mount.path, self.path)
    }

    /// The subject of audit events about this mount.
    pub(crate) fn subject(&self, what: &str) -> String {
        format!("auth/{}{what}", self.mount.path)
    }
}

/// What came of a login or of making a token: Vault's `auth` object.
#[derive(Serialize)]
pub struct Auth {
    /// The token itself. Shown once; only its keyed hash is stored.
    #[serde(skip)]
    pub client_token: SecretValue,
    /// Names the token without being it; empty for batch tokens.
    pub accessor: String,
    /// All policies of the token.
    pub policies: Vec<String>,
    /// The policies given to the token itself: all, as entities have none yet.
    pub token_policies: Vec<String>,
    /// Facts the method knows about the caller.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Seconds until the token ends; 0: it does not end.
    pub lease_duration: i64,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// The same for every login of one user or role at one mount; empty where no method was asked.
    pub entity_id: String,
    /// `service` or `batch`.
    pub token_type: &'static str,
    /// Whether it lives on when its parent ends.
    pub orphan: bool,
    /// How often it may be used; 0: no limit.
    pub num_uses: i64,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("accessor", &self.accessor)
            .field("policies", &self.policies)
            .finish_non_exhaustive()
    }
}

impl Auth {
    /// The object as Vault's clients read it, with the token in the clear.
    pub fn expose_json(&self) -> Value {
        let mut json = serde_json::to_value(self).unwrap_or_default();
        if let Value::Object(map) = &mut json {
            map.insert("client_token".to_owned(), self.client_token.expose_str().into());
            map.insert("mfa_requirement".to_owned(), Value::Null);
        }
        json
    }
}

/// An answer.
#[derive(Default)]
pub struct Response {
    /// Vault's `data` object; none: status 204, unless there is `auth`.
    pub data: Option<Map<String, Value>>,
    /// Fields of `data` that are secret: they stay apart until the answer is written.
    pub secrets: Vec<(&'static str, SecretValue)>,
    /// What came of a login.
    pub auth: Option<Auth>,
    /// The whole body, without Vault's envelope, where a standard says what it looks like.
    pub raw: Option<Value>,
    /// What the caller should know although it worked.
    pub warnings: Vec<String>,
    /// Whether a change was asked for and there was nothing to change: nobody has recorded it yet.
    pub unchanged: bool,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").field("auth", &self.auth).field("warnings", &self.warnings).finish_non_exhaustive()
    }
}

impl Response {
    /// Nothing to tell: status 204.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Nothing to tell, and nothing was there to be changed.
    pub fn unchanged() -> Self {
        Self { unchanged: true, ..Self::default() }
    }

    /// With data, given as a JSON object.
    pub fn data(data: Value) -> Self {
        let data = match data {
            Value::Object(map) => map,
            other => Map::from_iter([("value".to_owned(), other)]),
        };
        Self { data: Some(data), ..Self::default() }
    }

    /// A body without Vault's envelope.
    pub fn raw(body: Value) -> Self {
        Self { raw: Some(body), ..Self::default() }
    }

    /// A list of names; none at all is "not found", as Vault tells it.
    pub fn keys(keys: Vec<String>) -> Result<Self> {
        if keys.is_empty() {
            Err(IdentityError::missing())
        } else {
            Ok(Self::data(serde_json::json!({ "keys": keys })))
        }
    }

    /// With a token.
    pub fn auth(auth: Auth) -> Self {
        Self { auth: Some(auth), ..Self::default() }
    }

    /// With one more secret field in its data.
    #[must_use]
    pub fn with_secret(mut self, name: &'static str, value: SecretValue) -> Self {
        self.data.get_or_insert_default();
        self.secrets.push((name, value));
        self
    }

    /// With one more warning.
    #[must_use]
    pub fn with_warnings(mut self, warnings: Vec<String>) -> Self {
        self.warnings.extend(warnings);
        self
    }

    /// The `data` object with its secret fields in the clear, to be written to the caller at once.
    pub fn expose_data(&self) -> Option<Map<String, Value>> {
        let mut data = self.data.clone()?;
        for (name, value) in &self.secrets {
            data.insert((*name).to_owned(), value.expose_str().into());
        }
        Some(data)
    }
}
