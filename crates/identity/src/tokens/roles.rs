//! Token roles: settings under a name, by which somebody may make tokens of a certain kind only.

use super::params::sanitized;
use crate::{
    Call, Core, IdentityError, Operation, Response, Result,
    fields::{Cidr, Fields},
    shelf::Kept,
};
use credentialflow_store::Expect;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// A token role.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Role {
    pub(crate) allowed_policies: Vec<String>,
    pub(crate) disallowed_policies: Vec<String>,
    pub(crate) allowed_policies_glob: Vec<String>,
    pub(crate) disallowed_policies_glob: Vec<String>,
    pub(crate) orphan: bool,
    pub(crate) period: i64,
    pub(crate) path_suffix: String,
    pub(crate) explicit_max_ttl: i64,
    pub(crate) renewable: bool,
    pub(crate) bound_cidrs: Vec<Cidr>,
    pub(crate) token_type: String,
    pub(crate) num_uses: i64,
    pub(crate) no_default_policy: bool,
    /// The application that the tokens are given to; empty: their maker's.
    pub(crate) application: String,
}

impl Default for Role {
    fn default() -> Self {
        Self {
            allowed_policies: Vec::new(),
            disallowed_policies: Vec::new(),
            allowed_policies_glob: Vec::new(),
            disallowed_policies_glob: Vec::new(),
            orphan: false,
            period: 0,
            path_suffix: String::new(),
            explicit_max_ttl: 0,
            renewable: true,
            bound_cidrs: Vec::new(),
            token_type: "default-service".to_owned(),
            num_uses: 0,
            no_default_policy: false,
            application: String::new(),
        }
    }
}

const KINDS: [&str; 4] = ["service", "batch", "default-service", "default-batch"];

impl Role {
    /// Whether it says itself which policies its tokens may have.
    pub(crate) fn rules_policies(&self) -> bool {
        [&self.allowed_policies, &self.disallowed_policies, &self.allowed_policies_glob, &self.disallowed_policies_glob]
            .into_iter()
            .any(|list| !list.is_empty())
    }

    fn update(&mut self, fields: Fields<'_>) -> Result<()> {
        for (name, list) in [
            ("allowed_policies", &mut self.allowed_policies),
            ("disallowed_policies", &mut self.disallowed_policies),
            ("allowed_policies_glob", &mut self.allowed_policies_glob),
            ("disallowed_policies_glob", &mut self.disallowed_policies_glob),
        ] {
            if let Some(given) = fields.list(name)? {
                *list = sanitized(given);
            }
        }
        for (name, old_name, seconds) in [
            ("token_period", "period", &mut self.period),
            ("token_explicit_max_ttl", "explicit_max_ttl", &mut self.explicit_max_ttl),
        ] {
            let given = fields.seconds(name)?.or(fields.seconds(old_name)?);
            *seconds = given.unwrap_or(*seconds);
        }
        for (name, flag) in [
            ("orphan", &mut self.orphan),
            ("renewable", &mut self.renewable),
            ("token_no_default_policy", &mut self.no_default_policy),
        ] {
            *flag = fields.bool(name)?.unwrap_or(*flag);
        }
        if let Some(suffix) = fields.text("path_suffix")? {
            let clean = suffix.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'));
            if !clean || suffix.contains("..") {
                return Err(IdentityError::invalid("path_suffix may have letters, digits, '-', '_', '.' and '/'"));
            }
            self.path_suffix = suffix;
        }
        if let Some(networks) = fields.networks("token_bound_cidrs")?.or(fields.networks("bound_cidrs")?) {
            self.bound_cidrs = networks;
        }
        if let Some(uses) = fields.int("token_num_uses")? {
            if uses < 0 {
                return Err(IdentityError::invalid("'token_num_uses' cannot be negative"));
            }
            self.num_uses = uses;
        }
        if let Some(application) = fields.text("application")? {
            self.application = application;
        }
        if let Some(kind) = fields.text("token_type")? {
            if !KINDS.contains(&kind.as_str()) {
                return Err(IdentityError::invalid("invalid 'token_type' value"));
            }
            self.token_type = kind;
        }
        if fields.list("allowed_entity_aliases")?.is_some_and(|list| !list.is_empty()) {
            return Err(IdentityError::invalid("entity aliases are not supported yet"));
        }
        if self.token_type == "batch" && (self.period > 0 || self.num_uses > 0 || self.explicit_max_ttl > 0) {
            return Err(IdentityError::invalid(
                "batch tokens have no period, no number of uses and no explicit maximum; 'token_type' cannot be 'batch' here",
            ));
        }
        Ok(())
    }

    fn describe(&self, name: &str) -> serde_json::Value {
        let mut data = json!({
            "name": name,
            "allowed_policies": self.allowed_policies,
            "disallowed_policies": self.disallowed_policies,
            "allowed_policies_glob": self.allowed_policies_glob,
            "disallowed_policies_glob": self.disallowed_policies_glob,
            "allowed_entity_aliases": [],
            "orphan": self.orphan,
            "period": self.period,
            "token_period": self.period,
            "path_suffix": self.path_suffix,
            "explicit_max_ttl": self.explicit_max_ttl,
            "token_explicit_max_ttl": self.explicit_max_ttl,
            "renewable": self.renewable,
            "token_bound_cidrs": self.bound_cidrs,
            "token_type": self.token_type,
            "token_num_uses": self.num_uses,
            "token_no_default_policy": self.no_default_policy,
        });
        if !self.application.is_empty() {
            data["application"] = self.application.as_str().into();
        }
        data
    }
}

fn place(name: &str) -> Result<String> {
    if name.is_empty() || name.contains('/') || name.len() > 256 {
        return Err(IdentityError::invalid("a role's name has no '/' and at most 256 characters"));
    }
    Ok(format!("roles/{name}"))
}

/// A role by its name.
pub(crate) async fn get(core: &Core, call: &Call<'_>, name: &str) -> Result<Option<Kept<Role>>> {
    core.shelf(call.mount).get(&place(name)?).await
}

/// `roles/` and `roles/NAME`.
pub(crate) async fn handle(core: &Core, call: &Call<'_>, name: &str) -> Result<Response> {
    let shelf = core.shelf(call.mount);
    if name.is_empty() {
        return match call.operation {
            Operation::List => Response::keys(shelf.list("roles/").await?),
            _ => Err(IdentityError::Unsupported),
        };
    }
    let path = place(name)?;
    let known: Option<Kept<Role>> = shelf.get(&path).await?;
    let subject = call.subject(&path);
    match call.operation {
        Operation::Read => {
            known.map(|role| Response::data(role.value.describe(name))).ok_or_else(IdentityError::missing)
        }
        Operation::Create | Operation::Update | Operation::Patch => {
            let expect = known.as_ref().map_or(Expect::Absent, Kept::unchanged);
            let mut role = known.map(|k| k.value).unwrap_or_default();
            role.update(Fields(call.data))?;
            core.known_application(&role.application).await?;
            let mut unit = call.unit();
            unit.audit("token_role.set", subject, role.describe(name));
            shelf.put(&mut unit, &path, &role, expect)?;
            core.submit(unit).await?;
            Ok(Response::empty())
        }
        Operation::Delete => {
            if known.is_some() {
                let mut unit = call.unit();
                unit.audit("token_role.delete", subject, json!({}));
                shelf.delete(&mut unit, &path, Expect::Anything);
                core.submit(unit).await?;
                return Ok(Response::empty());
            }
            Ok(Response::unchanged())
        }
        Operation::List => Err(IdentityError::Unsupported),
    }
}
