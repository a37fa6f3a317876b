//! Roles: what a token must claim, and what the caller then gets.

use crate::{
    Call, Core, IdentityError, Operation, Response, Result, Shelf, fields::Fields, shelf::Kept, tokens::TokenParams,
};
use credentialflow_store::Expect;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A role.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Role {
    /// `jwt`: a token is presented; `oidc`: the caller is sent to the provider.
    pub(super) role_type: String,
    pub(super) allowed_redirect_uris: Vec<String>,
    pub(super) bound_audiences: Vec<String>,
    pub(super) bound_subject: String,
    pub(super) bound_claims: Map<String, Value>,
    /// `string` or `glob`.
    pub(super) bound_claims_type: String,
    pub(super) claim_mappings: BTreeMap<String, String>,
    pub(super) user_claim: String,
    pub(super) user_claim_json_pointer: bool,
    pub(super) groups_claim: String,
    pub(super) oidc_scopes: Vec<String>,
    pub(super) expiration_leeway: i64,
    pub(super) not_before_leeway: i64,
    pub(super) clock_skew_leeway: i64,
    pub(super) max_age: i64,
    pub(super) verbose_oidc_logging: bool,
    pub(super) token: TokenParams,
}

impl Role {
    fn update(&mut self, fields: Fields<'_>) -> Result<()> {
        let text = |name: &str, into: &mut String| {
            fields.text(name).map(|given| {
                if let Some(given) = given {
                    *into = given
                }
            })
        };
        text("role_type", &mut self.role_type)?;
        text("bound_subject", &mut self.bound_subject)?;
        text("bound_claims_type", &mut self.bound_claims_type)?;
        text("user_claim", &mut self.user_claim)?;
        text("groups_claim", &mut self.groups_claim)?;
        for (name, list) in [
            ("allowed_redirect_uris", &mut self.allowed_redirect_uris),
            ("bound_audiences", &mut self.bound_audiences),
            ("oidc_scopes", &mut self.oidc_scopes),
        ] {
            if let Some(given) = fields.list(name)? {
                *list = given;
            }
        }
        if let Some(claims) = fields.object("bound_claims")? {
            self.bound_claims = claims;
        }
        if let Some(mappings) = fields.texts("claim_mappings")? {
            self.claim_mappings = mappings;
        }
        for (name, leeway) in [
            ("expiration_leeway", &mut self.expiration_leeway),
            ("not_before_leeway", &mut self.not_before_leeway),
            ("clock_skew_leeway", &mut self.clock_skew_leeway),
        ] {
            // -1 means none at all; 0 the usual one.
            *leeway = match fields.int(name) {
                Ok(Some(-1)) => -1,
                _ => fields.seconds(name)?.unwrap_or(*leeway),
            };
        }
        self.max_age = fields.seconds("max_age")?.unwrap_or(self.max_age);
        let flag = |name, into: &mut bool| fields.bool(name).map(|given| *into = given.unwrap_or(*into));
        flag("verbose_oidc_logging", &mut self.verbose_oidc_logging)?;
        flag("user_claim_json_pointer", &mut self.user_claim_json_pointer)?;
        if let Some(policies) = fields.list("policies")?.filter(|_| !fields.has("token_policies")) {
            self.token.policies = crate::tokens::with_default(policies, false);
        }
        self.token.update(fields)?;
        self.check()
    }

    fn check(&mut self) -> Result<()> {
        let invalid = |text: &'static str| Err(IdentityError::invalid(text));
        if self.role_type.is_empty() {
            self.role_type = "oidc".to_owned();
        }
        if self.bound_claims_type.is_empty() {
            self.bound_claims_type = "string".to_owned();
        }
        if self.user_claim.is_empty() {
            return invalid("a user claim must be defined on the role");
        }
        match self.role_type.as_str() {
            "jwt" => {
                let bound = !self.bound_audiences.is_empty()
                    || !self.bound_subject.is_empty()
                    || !self.bound_claims.is_empty()
                    || !self.token.bound_cidrs.is_empty();
                if !bound {
                    return invalid("must have at least one bound constraint when creating/updating a role");
                }
            }
            "oidc" => {
                if self.allowed_redirect_uris.is_empty() {
                    return invalid("'allowed_redirect_uris' must be set if 'role_type' is 'oidc' or unspecified.");
                }
            }
            _ => return invalid("invalid 'role_type'; jwt or oidc was expected"),
        }
        let glob = match self.bound_claims_type.as_str() {
            "string" => false,
            "glob" => true,
            _ => return invalid("invalid 'bound_claims_type'; string or glob was expected"),
        };
        for (claim, value) in &self.bound_claims {
            let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            let usable = |v: &Value| v.is_string() || (!glob && (v.is_boolean() || v.is_number()));
            if values.is_empty() || !values.iter().all(usable) {
                return Err(IdentityError::invalid(format!("claim {claim:?} must be a text or a list of texts")));
            }
        }
        let mut names: Vec<&String> = self.claim_mappings.values().collect();
        names.sort();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return invalid("multiple keys are mapped to the same metadata key");
        }
        if let Some(reserved) = names.iter().find(|name| name.as_str() == "role") {
            return Err(IdentityError::invalid(format!(
                "metadata key {reserved:?} is reserved and may not be a mapping destination"
            )));
        }
        Ok(())
    }

    fn describe(&self) -> Value {
        let mut data = json!({
            "role_type": self.role_type,
            "allowed_redirect_uris": self.allowed_redirect_uris,
            "bound_audiences": self.bound_audiences,
            "bound_subject": self.bound_subject,
            "bound_claims": if self.bound_claims.is_empty() { Value::Null } else { json!(self.bound_claims) },
            "bound_claims_type": self.bound_claims_type,
            "claim_mappings": if self.claim_mappings.is_empty() { Value::Null } else { json!(self.claim_mappings) },
            "user_claim": self.user_claim,
            "user_claim_json_pointer": self.user_claim_json_pointer,
            "groups_claim": self.groups_claim,
            "oidc_scopes": self.oidc_scopes,
            "expiration_leeway": self.expiration_leeway,
            "not_before_leeway": self.not_before_leeway,
            "clock_skew_leeway": self.clock_skew_leeway,
            "max_age": self.max_age,
            "verbose_oidc_logging": self.verbose_oidc_logging,
        });
        if let Value::Object(map) = &mut data {
            self.token.describe(map);
        }
        data
    }
}

/// Where the role of a name lies.
pub(super) fn place(name: &str) -> Result<String> {
    Ok(format!("role/{}", crate::method::name(name)?.to_lowercase()))
}

/// A role by its name.
pub(super) async fn get(shelf: &Shelf, name: &str) -> Result<Option<Kept<Role>>> {
    shelf.get(&place(name)?).await
}

/// `role/NAME`.
pub(super) async fn handle(core: &Core, call: &Call<'_>, name: &str) -> Result<Response> {
    let shelf = core.shelf(call.mount);
    let known = get(&shelf, name).await?;
    match call.operation {
        Operation::Read => known.map(|role| Response::data(role.value.describe())).ok_or_else(IdentityError::missing),
        Operation::Create | Operation::Update | Operation::Patch => {
            let expect = known.as_ref().map_or(Expect::Absent, Kept::unchanged);
            let mut role = known.map(|k| k.value).unwrap_or_default();
            role.update(Fields(call.data))?;
            core.known_application(&role.token.application).await?;
            let mut unit = call.unit();
            unit.audit("jwt.role.set", call.subject(&place(name)?), role.describe());
            shelf.put(&mut unit, &place(name)?, &role, expect)?;
            core.submit(unit).await?;
            let warnings = role
                .verbose_oidc_logging
                .then(|| "verbose_oidc_logging is accepted, but claims are never logged here".to_owned());
            Ok(Response::empty().with_warnings(warnings.into_iter().collect()))
        }
        Operation::Delete => {
            if known.is_some() {
                let mut unit = call.unit();
                unit.audit("jwt.role.delete", call.subject(&place(name)?), json!({}));
                shelf.delete(&mut unit, &place(name)?, Expect::Anything);
                core.submit(unit).await?;
                return Ok(Response::empty());
            }
            Ok(Response::unchanged())
        }
        Operation::List => Err(IdentityError::Unsupported),
    }
}
