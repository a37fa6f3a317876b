//! `login`: a presented token is checked against keys, times and the role, and becomes ours.

use super::config::{self, Config, Settings};
use super::keys::refused;
use super::role::{self, Role};
use crate::{
    Call, Core, IdentityError, Response, Result,
    fields::Fields,
    jose::{Claims, Skew, check_times},
    method,
    shelf::Kept,
    tokens::{Login, wildcard},
};
use serde_json::Value;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// What a token without `exp` or `nbf` gets, and how much clocks may differ, where the role says nothing.
const LEEWAY: i64 = 150;
const CLOCK_SKEW: i64 = 60;

pub(super) async fn handle(kind: &'static str, core: &Core, call: &Call<'_>) -> Result<Response> {
    let shelf = core.shelf(call.mount);
    let fields = Fields(call.data);
    let config = config::needed(&shelf).await?;
    let settings = &config.value.settings;
    let name = role_name(&fields, settings)?;
    let known = role::get(&shelf, &name).await?;
    let known = known.ok_or_else(|| IdentityError::invalid(format!("role {name:?} could not be found")))?;
    if known.value.role_type != "jwt" {
        return Err(IdentityError::invalid("role with oidc role_type is not allowed"));
    }
    let token = Zeroizing::new(fields.text_or_empty("jwt")?);
    if token.is_empty() {
        return Err(IdentityError::invalid("missing token"));
    }
    let claims = validated(core, settings, &known.value, &token).await?;
    if known.value.bound_audiences.is_empty() && !claims.audiences().is_empty() {
        return Err(IdentityError::invalid("audience claim found in JWT but no audiences bound to the role"));
    }
    finish(kind, core, call, &name, (&config, &known), &claims).await
}

/// The role a request names, or the mount's usual one.
pub(super) fn role_name(fields: &Fields<'_>, config: &Settings) -> Result<String> {
    let name = fields.text_or_empty("role")?.to_lowercase();
    let name = if name.is_empty() { config.default_role.clone() } else { name };
    if name.is_empty() { Err(IdentityError::invalid("missing role")) } else { Ok(name) }
}

/// The claims of a token: signed, in time, of the right issuer, subject and audience.
pub(super) async fn validated(core: &Core, config: &Settings, role: &Role, token: &str) -> Result<Claims> {
    let source = config.source()?;
    let payload = core.keys.verify(core, &source, token, &config.algorithms(&source)).await?;
    let claims = Claims::parse(&payload).map_err(refused)?;
    let or = |given: i64, usual: i64| match given {
        0 => usual,
        less if less < 0 => 0,
        given => given,
    };
    let skew = Skew {
        clock: or(role.clock_skew_leeway, CLOCK_SKEW),
        expiration: or(role.expiration_leeway, LEEWAY),
        not_before: or(role.not_before_leeway, LEEWAY),
    };
    check_times(&claims, skew, core.secs()).map_err(refused)?;
    let issuer = match &source {
        _ if !config.bound_issuer.is_empty() => config.bound_issuer.clone(),
        config::Source::Discovery(..) => core.keys.provider(core, &source).await?.issuer.clone(),
        _ => String::new(),
    };
    let invalid = |text: &'static str| Err(IdentityError::invalid(text));
    if !issuer.is_empty() && claims.text("iss") != Some(issuer.as_str()) {
        return invalid("error validating token: invalid issuer (iss) claim");
    }
    if !role.bound_subject.is_empty() && claims.text("sub") != Some(role.bound_subject.as_str()) {
        return invalid("error validating token: invalid subject (sub) claim");
    }
    let audiences = claims.audiences();
    if !role.bound_audiences.is_empty() && !role.bound_audiences.iter().any(|a| audiences.contains(&a.as_str())) {
        return invalid("error validating token: invalid audience (aud) claim");
    }
    Ok(claims)
}

/// Makes the token, when the claims are what the role asks for, and it and the configuration are still what was read.
pub(super) async fn finish(
    kind: &'static str,
    core: &Core,
    call: &Call<'_>,
    name: &str,
    (config, known): (&Kept<Config>, &Kept<Role>),
    claims: &Claims,
) -> Result<Response> {
    let role = &known.value;
    check_bound(role, claims)?;
    let user_claim = &role.user_claim;
    let user = if role.user_claim_json_pointer {
        claims.get(user_claim)
    } else {
        claims.0.get(user_claim).filter(|v| !v.is_null())
    };
    let user = match user {
        Some(Value::String(user)) if !user.is_empty() => user.clone(),
        Some(_) => {
            return Err(IdentityError::invalid(format!("claim {user_claim:?} could not be converted to string")));
        }
        None => return Err(IdentityError::invalid(format!("claim {user_claim:?} not found in token"))),
    };
    if !role.groups_claim.is_empty() {
        let groups = claims.get(&role.groups_claim);
        let texts = groups.is_some_and(|g| match g {
            Value::Array(all) => all.iter().all(Value::is_string),
            other => other.is_string(),
        });
        if !texts {
            return Err(IdentityError::invalid(format!(
                "claim {:?} is missing or is no list of texts",
                role.groups_claim
            )));
        }
    }
    let mut meta = BTreeMap::from([("role".to_owned(), name.to_owned())]);
    for (claim, key) in &role.claim_mappings {
        if let Some(value) = claims.get(claim) {
            let text = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            meta.insert(key.clone(), text);
        }
    }
    let mut unit = call.unit();
    let shelf = core.shelf(call.mount);
    shelf.rests_on(&mut unit, config::PLACE, config);
    shelf.rests_on(&mut unit, &role::place(name)?, known);
    let login = Login {
        params: &role.token,
        policies: Vec::new(),
        alias: user.clone(),
        name: user,
        meta,
        internal: method::facts(kind, name),
        bound_cidrs: Vec::new(),
    };
    core.log_in(call, unit, login).await
}

fn check_bound(role: &Role, claims: &Claims) -> Result<()> {
    let glob = role.bound_claims_type == "glob";
    for (claim, expected) in &role.bound_claims {
        let actual = claims.get(claim).ok_or_else(|| IdentityError::invalid(format!("claim {claim:?} is missing")))?;
        let many = |v: &'_ Value| v.as_array().cloned().unwrap_or_else(|| vec![v.clone()]);
        let (expected, actual) = (many(expected), many(actual));
        let fits = |e: &Value, a: &Value| match (e, a) {
            (Value::String(pattern), Value::String(text)) if glob => wildcard(pattern, text),
            (e, a) => e == a,
        };
        if !expected.iter().any(|e| actual.iter().any(|a| fits(e, a))) {
            return Err(IdentityError::invalid(format!(
                "claim {claim:?} does not match any associated bound claim values"
            )));
        }
    }
    Ok(())
}
