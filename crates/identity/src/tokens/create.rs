//! `create`, `create-orphan`, `create/ROLE`: one token makes another, within what it may itself.

use super::params::{sanitized, with_default};
use super::roles::{self, Role};
use super::{BATCH_PREFIX, NewToken, SERVICE_PREFIX, TokenKind};
use crate::{
    Call, Core, IdentityError, Response, Result,
    acl::Acl,
    fields::Fields,
    lifetime::{self, Bounds, Terms},
};
use credentialflow_model::SecretValue;
use serde_json::json;

/// Makes a token. `role` is the name in the path; `orphan`, whether the path says so.
pub(super) async fn handle(core: &Core, call: &Call<'_>, role: Option<&str>, orphan: bool) -> Result<Response> {
    let caller = call.known_caller()?;
    let maker = caller.token();
    let fields = Fields(call.data);
    if maker.num_uses != 0 {
        return Err(IdentityError::invalid("restricted use token cannot generate child tokens"));
    }
    if maker.kind == TokenKind::Batch {
        return Err(IdentityError::invalid("batch tokens cannot create more tokens"));
    }
    let sudo = sudo(caller.acl(), call);
    let role_name = match role {
        Some(name) => Some(name.to_owned()),
        None => fields.text("role_name")?.filter(|name| !name.is_empty()),
    };
    let role = match &role_name {
        None => None,
        Some(name) => {
            let found = roles::get(core, call, name).await?;
            Some(found.ok_or_else(|| IdentityError::invalid(format!("unknown role {name}")))?.value)
        }
    };
    if fields.text("entity_alias")?.is_some_and(|alias| !alias.is_empty()) {
        return Err(IdentityError::invalid("entity aliases are not supported yet"));
    }
    let policies = policies(&fields, role.as_ref(), &maker.policies, sudo)?;
    if policies.iter().any(|p| p == "root") && !maker.is_root() {
        return Err(IdentityError::invalid("root tokens may not be created without parent token being root"));
    }
    let no_parent = fields.bool("no_parent")?.unwrap_or(false);
    let orphan = match &role {
        Some(role) => role.orphan,
        None if no_parent && !sudo => {
            return Err(IdentityError::invalid("root or sudo privileges required to create orphan token"));
        }
        None => no_parent || orphan,
    };
    let id = chosen_id(&fields, sudo)?;
    if let Some(id) = id.as_ref().and_then(SecretValue::expose_str)
        && core.find(id).await?.is_some()
    {
        return Err(IdentityError::invalid("cannot create a token with a duplicate ID"));
    }
    let uses = fields.int("num_uses")?.unwrap_or(0);
    if uses < 0 {
        return Err(IdentityError::invalid("number of uses cannot be negative"));
    }
    let role_uses = role.as_ref().map_or(0, |r| r.num_uses);
    let num_uses = if role_uses > 0 && (uses == 0 || role_uses < uses) { role_uses } else { uses };
    let kind = kind(&fields, role.as_ref())?;
    let times = times(&fields, role.as_ref(), sudo, &policies, call)?;
    if kind == TokenKind::Batch && (num_uses > 0 || times.period > 0 || times.explicit_max_ttl > 0 || id.is_some()) {
        return Err(IdentityError::invalid(
            "batch tokens cannot have a chosen id, a number of uses, a period or an explicit maximum lifetime",
        ));
    }
    if kind == TokenKind::Batch && times.ttl == 0 {
        return Err(IdentityError::invalid("batch tokens must have a lifetime; a root token cannot be one without"));
    }
    let now = core.secs();
    let ends = if orphan { None } else { core.valid_until(maker).await?.filter(|end| *end < i64::MAX) };
    let mut warnings = times.warnings;
    if let Some(end) = ends.filter(|end| times.ttl == 0 || now + times.ttl > *end) {
        warnings.push(format!("the parent token ends in {}s, and this token with it", end - now));
    }
    let path = match (&role_name, &role) {
        (Some(name), Some(role)) if role.path_suffix.is_empty() => format!("auth/{}create/{name}", call.mount.path),
        (Some(name), Some(role)) => format!("auth/{}create/{name}/{}", call.mount.path, role.path_suffix),
        _ => call.full_path(),
    };
    let application = role.as_ref().map(|r| &r.application).filter(|name| !name.is_empty());
    let application = application.unwrap_or(&maker.application).clone();
    core.known_application(&application).await?;
    // Whoever may do everything makes others; so does an operator who makes orphans.
    let apart = maker.is_root() || (orphan && role.is_none());
    let mut unit = call.unit();
    let meta = fields.texts("meta")?.or(fields.texts("metadata")?).unwrap_or_default();
    let auth = core.issue(
        &mut unit,
        NewToken {
            id,
            parent: (!orphan).then(|| maker.accessor.clone()),
            path,
            display_name: display_name(&fields.text_or_empty("display_name")?),
            policies,
            meta,
            kind,
            num_uses,
            ttl: times.ttl,
            explicit_max_ttl: times.explicit_max_ttl,
            period: times.period,
            renewable: fields.bool("renewable")?.unwrap_or(true) && role.as_ref().is_none_or(|r| r.renewable),
            role: role_name,
            bound_cidrs: role.map(|r| r.bound_cidrs).unwrap_or_default(),
            entity: maker.entity.clone(),
            application: application.clone(),
            origin: if apart { String::new() } else { maker.origin().to_owned() },
            holder: if apart { String::new() } else { maker.holder() },
            bounds: Some(Bounds { default_ttl: call.mount.default_ttl, max_ttl: call.mount.max_ttl }),
            ..NewToken::default()
        },
    )?;
    let subject =
        if auth.accessor.is_empty() { "tokens/batch".to_owned() } else { format!("tokens/{}", auth.accessor) };
    let mut detail = json!({ "policies": auth.policies, "ttl": auth.lease_duration, "type": auth.token_type,
        "orphan": auth.orphan, "num_uses": auth.num_uses, "metadata": auth.metadata, "path": call.full_path() });
    if !application.is_empty() {
        detail["application"] = application.into();
    }
    unit.audit("token.create", subject, detail);
    core.submit(unit).await?;
    Ok(Response::auth(auth).with_warnings(warnings))
}

/// Whether the caller may use the operators' powers on this path.
fn sudo(acl: &Acl, call: &Call<'_>) -> bool {
    let decision = acl.decide(call.operation, &call.full_path(), call.data);
    decision.allowed && decision.sudo
}

fn policies(fields: &Fields<'_>, role: Option<&Role>, maker: &[String], sudo: bool) -> Result<Vec<String>> {
    let asked = sanitized(fields.list("policies")?.unwrap_or_default());
    let no_default = fields.bool("no_default_policy")?.unwrap_or(false);
    if let Some(role) = role.filter(|r| r.rules_policies()) {
        return by_role(role, asked, maker, no_default);
    }
    let no_default = no_default || role.is_some_and(|r| r.no_default_policy);
    if asked.is_empty() {
        // What the maker has, and `default` only if the maker has it, and it is wanted.
        let mut own = maker.to_vec();
        if role.is_some() {
            own = with_default(own, !no_default);
        } else if no_default {
            own.retain(|p| p != "default");
        }
        return Ok(own);
    }
    if !sudo {
        let own = sanitized(maker.to_vec());
        if !own.iter().any(|p| p == "root") && asked.iter().any(|p| !own.contains(p)) {
            return Err(IdentityError::invalid("child policies must be subset of parent"));
        }
        return Ok(with_default(asked, !no_default && own.iter().any(|p| p == "default")));
    }
    Ok(with_default(asked, !no_default))
}

fn by_role(role: &Role, asked: Vec<String>, maker: &[String], no_default: bool) -> Result<Vec<String>> {
    let glob = |patterns: &[String], policy: &str| patterns.iter().any(|p| wildcard(p, policy));
    let forbidden =
        |p: &str| role.disallowed_policies.iter().any(|d| d == p) || glob(&role.disallowed_policies_glob, p);
    let add_default = !no_default && !role.no_default_policy && !forbidden("default");
    let mut result = if asked.is_empty() { Vec::new() } else { with_default(asked, add_default) };
    if role.allowed_policies.is_empty() && role.allowed_policies_glob.is_empty() {
        if result.is_empty() {
            result = with_default(maker.to_vec(), add_default);
        }
    } else {
        let allowed = with_default(role.allowed_policies.clone(), add_default);
        if result.is_empty() {
            result = allowed;
        } else if let Some(extra) =
            result.iter().find(|p| !allowed.contains(p) && !glob(&role.allowed_policies_glob, p))
        {
            return Err(IdentityError::invalid(format!("policy {extra:?} is not among the role's allowed policies")));
        }
    }
    match result.iter().find(|p| forbidden(p)) {
        Some(policy) => Err(IdentityError::invalid(format!("token policy {policy:?} is disallowed by this role"))),
        None => Ok(result),
    }
}

/// Whether a name fits a pattern with any number of `*`.
pub(crate) fn wildcard(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    if !pattern.contains('*') {
        return rest.is_empty();
    }
    let mut last = "";
    for part in parts {
        last = part;
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    // The last part must stand at the very end, not just somewhere.
    last.is_empty() || text.ends_with(last)
}

fn chosen_id(fields: &Fields<'_>, sudo: bool) -> Result<Option<SecretValue>> {
    let Some(id) = fields.text("id")?.filter(|id| !id.is_empty()) else { return Ok(None) };
    if !sudo {
        return Err(IdentityError::invalid("root or sudo privileges required to specify token id"));
    }
    let reserved = [SERVICE_PREFIX, BATCH_PREFIX, "s.", "b.", "r.", "hvs.", "hvb.", "hvr."];
    if let Some(prefix) = reserved.iter().find(|p| id.starts_with(**p)) {
        return Err(IdentityError::invalid(format!("custom token ID cannot have the '{prefix}' prefix")));
    }
    if id.contains('.') || id.len() > 256 || id.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(IdentityError::invalid("custom token ID cannot have a '.', white space, or more than 256 bytes"));
    }
    Ok(Some(SecretValue::from(id)))
}

fn kind(fields: &Fields<'_>, role: Option<&Role>) -> Result<TokenKind> {
    let asked = match fields.text_or_empty("type")?.as_str() {
        "" | "default" => None,
        "service" => Some(TokenKind::Service),
        "batch" => Some(TokenKind::Batch),
        _ => return Err(IdentityError::invalid("invalid 'type' value")),
    };
    Ok(match role.map(|r| r.token_type.as_str()) {
        Some("service") => TokenKind::Service,
        Some("batch") => TokenKind::Batch,
        Some("default-batch") => asked.unwrap_or(TokenKind::Batch),
        _ => asked.unwrap_or_default(),
    })
}

struct Times {
    ttl: i64,
    period: i64,
    explicit_max_ttl: i64,
    warnings: Vec<String>,
}

fn times(fields: &Fields<'_>, role: Option<&Role>, sudo: bool, policies: &[String], call: &Call<'_>) -> Result<Times> {
    let mut period = fields.seconds("period")?.unwrap_or(0);
    if period > 0 && !sudo {
        return Err(IdentityError::invalid("root or sudo privileges required to create periodic token"));
    }
    let ttl = fields.seconds("ttl")?.or(fields.seconds("lease")?).unwrap_or(0);
    let mut explicit_max_ttl = fields.seconds("explicit_max_ttl")?.unwrap_or(0);
    if let Some(role) = role {
        if role.period > 0 {
            period = role.period;
        }
        if role.explicit_max_ttl > 0 && (explicit_max_ttl == 0 || role.explicit_max_ttl < explicit_max_ttl) {
            explicit_max_ttl = role.explicit_max_ttl;
        }
    }
    let mut warnings = Vec::new();
    // A root token made by a root token without a word about time does not end.
    if policies.iter().any(|p| p == "root") && ttl == 0 && period == 0 && explicit_max_ttl == 0 {
        return Ok(Times { ttl: 0, period, explicit_max_ttl, warnings });
    }
    let terms = Terms { increment: 0, ttl, period, max_ttl: 0, explicit_max_ttl };
    let bounds = Bounds { default_ttl: call.mount.default_ttl, max_ttl: call.mount.max_ttl };
    let lifetime::Given { ttl, capped } =
        lifetime::ttl(terms, bounds, 0, 0).ok_or_else(|| IdentityError::invalid("the token would have no lifetime"))?;
    warnings.extend(capped.map(lifetime::Capped::warning));
    Ok(Times { ttl, period, explicit_max_ttl, warnings })
}

/// `token`, or `token-` and the name with everything odd replaced by `-`.
fn display_name(name: &str) -> String {
    let full: String = format!("token-{name}")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' })
        .take(256)
        .collect();
    full.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_patterns() {
        assert_eq!(display_name(""), "token");
        assert_eq!(display_name("ci job/7"), "token-ci-job-7");
        for (pattern, text, expected) in [
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c*e", "abcde", true),
            ("a*c", "acb", false),
            ("a*ab", "aab", true),
            ("ab*ba", "aba", false),
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("*", "", true),
        ] {
            assert_eq!(wildcard(pattern, text), expected, "{pattern} {text}");
        }
    }
}
