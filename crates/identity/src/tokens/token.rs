//! What is known about a token.

use crate::fields::Cidr;
use credentialflow_model::Timestamp;
use credentialflow_vault::VaultError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Whether a token is a row of the store or carries everything itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// Stored; can be renewed, revoked, and have children.
    #[default]
    Service,
    /// Sealed and self-contained: costs no write, ends only by its time or with its parent.
    Batch,
}

impl TokenKind {
    /// Its word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Batch => "batch",
        }
    }
}

/// A token, without the token: that is only where it is presented. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// Names it without being it; empty for batch tokens.
    pub accessor: String,
    /// The accessor of the token that made it, unless it is an orphan.
    pub parent: Option<String>,
    /// Where it was made: `auth/approle/login`.
    pub path: String,
    /// For people and logs.
    pub display_name: String,
    /// What it may do.
    pub policies: Vec<String>,
    /// Facts given at its making.
    pub meta: BTreeMap<String, String>,
    /// Stored or self-contained.
    pub kind: TokenKind,
    /// Uses left; 0: no limit; less: none.
    pub num_uses: i64,
    /// When it was made.
    pub issued: i64,
    /// The lifetime it was made with; 0: none.
    pub creation_ttl: i64,
    /// When it ends; `None`: never.
    pub expires: Option<i64>,
    /// No later than this after its making; 0: not said.
    pub explicit_max_ttl: i64,
    /// Renewed by this much for ever; 0: no.
    pub period: i64,
    /// The role's limit of its whole life; 0: the mount's.
    pub max_ttl: i64,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// The token role it was made with.
    pub role: Option<String>,
    /// From where it may be used; empty: from everywhere.
    pub bound_cidrs: Vec<Cidr>,
    /// The mount that made it, by its id; `None`: made by another token.
    pub mount: Option<String>,
    /// What the method needs to renew it.
    pub internal: BTreeMap<String, String>,
    /// Whom it speaks for: the same for every login of one user or role at one mount; inherited by what it
    /// makes; empty where no method was asked.
    #[serde(default)]
    pub entity: String,
    /// The application it was given to; inherited by what it makes; empty: none.
    #[serde(default)]
    pub application: String,
    /// The accessor of the token that it comes from, through however many: floods are counted by it. Empty for tokens
    /// of before.
    #[serde(default)]
    pub origin: String,
    /// Whose grants it uses where its maker's are used: see [`Token::holder`]; empty where it says so itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub holder: String,
    /// When it was renewed last.
    pub last_renewal: Option<i64>,
}

impl Token {
    /// Whether everything is allowed to it.
    pub fn is_root(&self) -> bool {
        self.policies.iter().any(|p| p == "root")
    }

    /// The accessor of the token that it comes from; its own where it comes from none.
    pub fn origin(&self) -> &str {
        if self.origin.is_empty() { &self.accessor } else { &self.origin }
    }

    /// Whose grants it uses: those of the role or user that logged in, also through tokens made by its tokens; otherwise
    /// those of the token that it comes from. Empty for batch tokens of nobody.
    pub fn holder(&self) -> String {
        if !self.holder.is_empty() {
            return self.holder.clone();
        }
        match (&self.mount, self.internal.get(crate::method::ROLE)) {
            (Some(mount), Some(role)) => holder_of(mount, &role.to_lowercase()),
            _ if self.origin().is_empty() => String::new(),
            _ => holder_of("token", self.origin()),
        }
    }

    /// Seconds it has left; 0 when it does not end.
    pub fn ttl(&self, now: i64) -> i64 {
        self.expires.map_or(0, |end| (end - now).max(0))
    }

    /// Whether its time or its uses are over.
    pub fn is_over(&self, now: i64) -> bool {
        self.num_uses < 0 || self.expires.is_some_and(|end| end <= now)
    }

    /// The answer of a look-up. `id` is empty where the asker only knows the accessor.
    pub fn lookup(&self, id: &str, now: i64) -> Value {
        let time = |secs: i64| Timestamp::from_secs(secs).to_string();
        let mut data = json!({
            "id": id,
            "accessor": self.accessor,
            "policies": self.policies,
            "path": self.path,
            "meta": if self.meta.is_empty() { Value::Null } else { json!(self.meta) },
            "display_name": self.display_name,
            "num_uses": self.num_uses,
            "orphan": self.parent.is_none(),
            "creation_time": self.issued,
            "creation_ttl": self.creation_ttl,
            "expire_time": self.expires.map(time),
            "issue_time": time(self.issued),
            "ttl": self.ttl(now),
            "explicit_max_ttl": self.explicit_max_ttl,
            "entity_id": self.entity,
            "type": self.kind.as_str(),
            "renewable": self.renewable && self.expires.is_some(),
        });
        if let Value::Object(map) = &mut data {
            let mut add = |name: &str, value: Value| drop(map.insert(name.to_owned(), value));
            if self.period > 0 {
                add("period", self.period.into());
            }
            if !self.application.is_empty() {
                add("application", self.application.as_str().into());
            }
            if let Some(role) = &self.role {
                add("role", role.as_str().into());
            }
            if !self.bound_cidrs.is_empty() {
                add("bound_cidrs", json!(self.bound_cidrs));
            }
            if let Some(at) = self.last_renewal {
                add("last_renewal_time", at.into());
                add("last_renewal", time(at).into());
            }
        }
        data
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, VaultError> {
        serde_json::from_slice(bytes).map_err(|_| VaultError::Corrupt("token"))
    }
}

/// Who holds grants: a role or user of a mount (by its id), or a first token (`token`, by its accessor).
pub(crate) fn holder_of(mount: &str, name: &str) -> String {
    format!("{mount}/{name}")
}
