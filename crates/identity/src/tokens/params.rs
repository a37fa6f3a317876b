//! The settings every role of every method has: what the tokens made through it are like.

use super::{Token, TokenKind};
use crate::{
    IdentityError, Result,
    fields::{Cidr, Fields},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// `token_ttl` and its neighbours. 0 and empty mean "not said".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct TokenParams {
    pub(crate) ttl: i64,
    pub(crate) max_ttl: i64,
    pub(crate) explicit_max_ttl: i64,
    pub(crate) period: i64,
    pub(crate) policies: Vec<String>,
    pub(crate) no_default_policy: bool,
    pub(crate) num_uses: i64,
    pub(crate) bound_cidrs: Vec<Cidr>,
    /// `default`, `service`, `batch`, `default-service`, `default-batch`.
    pub(crate) kind: String,
    pub(crate) strictly_bind_ip: bool,
    /// The application that the tokens are given to; empty: none. Whoever takes it from a request asks
    /// [`Core::known_application`](crate::Core) before it is written.
    pub(crate) application: String,
}

const KINDS: [&str; 5] = ["default", "service", "batch", "default-service", "default-batch"];

impl TokenParams {
    /// Takes what a request says; what it does not say stays.
    pub(crate) fn update(&mut self, fields: Fields<'_>) -> Result<()> {
        let seconds = |name, into: &mut i64| fields.seconds(name).map(|v| *into = v.unwrap_or(*into));
        seconds("token_ttl", &mut self.ttl)?;
        seconds("token_max_ttl", &mut self.max_ttl)?;
        seconds("token_explicit_max_ttl", &mut self.explicit_max_ttl)?;
        seconds("token_period", &mut self.period)?;
        if let Some(policies) = fields.list("token_policies")? {
            self.policies = sanitized(policies);
        }
        if let Some(flag) = fields.bool("token_no_default_policy")? {
            self.no_default_policy = flag;
        }
        if let Some(flag) = fields.bool("token_strictly_bind_ip")? {
            self.strictly_bind_ip = flag;
        }
        if let Some(uses) = fields.int("token_num_uses")? {
            if uses < 0 {
                return Err(IdentityError::invalid("'token_num_uses' cannot be negative"));
            }
            self.num_uses = uses;
        }
        if let Some(networks) = fields.networks("token_bound_cidrs")? {
            self.bound_cidrs = networks;
        }
        if let Some(application) = fields.text("application")? {
            self.application = application;
        }
        if let Some(kind) = fields.text("token_type")? {
            let kind = if kind.is_empty() { "default" } else { kind.as_str() };
            if !KINDS.contains(&kind) {
                return Err(IdentityError::invalid("invalid 'token_type' value"));
            }
            self.kind = kind.to_owned();
        }
        self.check()
    }

    fn check(&self) -> Result<()> {
        if self.max_ttl > 0 && self.ttl > self.max_ttl {
            return Err(IdentityError::invalid("'token_ttl' cannot be greater than 'token_max_ttl'"));
        }
        if self.token_kind() == TokenKind::Batch {
            if self.period > 0 {
                return Err(IdentityError::invalid("'token_type' cannot be 'batch' when 'token_period' is set"));
            }
            if self.num_uses > 0 {
                return Err(IdentityError::invalid("'token_type' cannot be 'batch' when 'token_num_uses' is set"));
            }
        }
        if self.policies.iter().any(|p| p == "root") {
            return Err(IdentityError::invalid("auth methods cannot create root tokens"));
        }
        Ok(())
    }

    /// The policies of the tokens it makes, besides those that a login brings along.
    pub(crate) fn given_policies(&self) -> Vec<String> {
        with_default(self.policies.clone(), !self.no_default_policy)
    }

    /// The kind of the tokens it makes.
    pub(crate) fn token_kind(&self) -> TokenKind {
        if matches!(self.kind.as_str(), "batch" | "default-batch") { TokenKind::Batch } else { TokenKind::Service }
    }

    /// Adds the settings to an answer, under their public names.
    pub(crate) fn describe(&self, into: &mut Map<String, Value>) {
        let Value::Object(all) = json!({
            "token_bound_cidrs": self.bound_cidrs,
            "token_explicit_max_ttl": self.explicit_max_ttl,
            "token_max_ttl": self.max_ttl,
            "token_no_default_policy": self.no_default_policy,
            "token_num_uses": self.num_uses,
            "token_period": self.period,
            "token_policies": self.policies,
            "token_strictly_bind_ip": self.strictly_bind_ip,
            "token_ttl": self.ttl,
            "token_type": if self.kind.is_empty() { "default" } else { &self.kind },
        }) else {
            return;
        };
        into.extend(all);
        // Vault has no such field: it is told where it is used.
        if !self.application.is_empty() {
            into.insert("application".to_owned(), self.application.as_str().into());
        }
    }

    /// Takes the settings a renewal goes by over to the token.
    pub(crate) fn renew_into(&self, token: &mut Token) {
        token.period = self.period;
        token.max_ttl = self.max_ttl;
    }
}

/// Policy names as they are kept: lower case, without blanks, each once, in order.
pub(crate) fn sanitized(policies: Vec<String>) -> Vec<String> {
    let mut all: Vec<String> = policies.iter().map(|p| p.trim().to_lowercase()).filter(|p| !p.is_empty()).collect();
    all.sort();
    all.dedup();
    all
}

/// The same with `default`, unless it is not wanted; `root` stands alone.
pub(crate) fn with_default(policies: Vec<String>, add_default: bool) -> Vec<String> {
    let mut all = sanitized(policies);
    if all.iter().any(|p| p == "root") {
        return vec!["root".to_owned()];
    }
    if add_default && !all.iter().any(|p| p == "default") {
        all.push("default".to_owned());
        all.sort();
    }
    all
}
