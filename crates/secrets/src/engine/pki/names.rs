//! Which names somebody asks for, and whether a role allows them: Vault's rules.

use super::role::Role;
use crate::{Result, SecretsError, fields};
use credentialflow_certificates::authority::AltName;
use serde_json::{Map, Value};
use std::net::IpAddr;

/// Names of one certificate at most.
const MOST: usize = 256;

/// What is asked for besides the subject: the common name, unless that is declined, then the others.
pub(super) fn asked(data: &Map<String, Value>, common_name: &str) -> Result<Vec<AltName>> {
    let mut names = Vec::new();
    if !fields::boolean(data, "exclude_cn_from_sans")?.unwrap_or(false) && !common_name.is_empty() {
        // One that is neither stays in the subject alone.
        if common_name.contains('@') {
            names.push(AltName::Email(common_name.to_owned()));
        } else if is_host(common_name) {
            names.push(AltName::Host(common_name.to_owned()));
        }
    }
    for name in fields::list(data, "alt_names")?.unwrap_or_default() {
        let name = if name.contains('@') { AltName::Email(name) } else { AltName::Host(name) };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    for text in fields::list(data, "ip_sans")?.unwrap_or_default() {
        let address: IpAddr =
            text.parse().map_err(|_| SecretsError::invalid(format!("the value {text:?} is not a valid IP address")))?;
        names.push(AltName::Address(address));
    }
    names.extend(fields::list(data, "uri_sans")?.unwrap_or_default().into_iter().map(AltName::Uri));
    if names.len() > MOST { Err(SecretsError::invalid(format!("more than {MOST} names"))) } else { Ok(names) }
}

/// Refuses what a role does not allow.
pub(super) fn check(role: &Role, common_name: &str, names: &[AltName]) -> Result<()> {
    if !common_name.is_empty() && !allows(role, common_name) {
        return Err(SecretsError::invalid(format!("common name {common_name} not allowed by this role")));
    }
    for name in names {
        match name {
            AltName::Host(name) if !is_host(name) || !allows(role, name) => {
                return Err(SecretsError::invalid(format!("subject alternate name {name} not allowed by this role")));
            }
            AltName::Email(name) if !allows(role, name) => {
                return Err(SecretsError::invalid(format!("email address {name} not allowed by this role")));
            }
            AltName::Address(address) if !role.allow_ip_sans => {
                return Err(SecretsError::invalid(format!(
                    "IP Subject Alternative Names are not allowed in this role, but was provided {address}"
                )));
            }
            AltName::Uri(_) if role.allowed_uri_sans.is_empty() => {
                return Err(SecretsError::invalid(
                    "URI Subject Alternative Names are not allowed in this role, but were provided via the API",
                ));
            }
            AltName::Uri(uri) if !is_uri(uri) || !role.allowed_uri_sans.iter().any(|glob| matches(glob, uri)) => {
                return Err(SecretsError::invalid(
                    "URI Subject Alternative Names were provided via the API which are not valid for this role",
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether a role allows a host name or the address of a mailbox.
fn allows(role: &Role, name: &str) -> bool {
    // Whoever it is for could be confused by anything else.
    if name.is_empty() || name.len() > 253 || name.chars().any(char::is_control) {
        return false;
    }
    let (host, mailbox) = match name.split_once('@') {
        Some((user, host)) if !user.is_empty() && !host.is_empty() && !host.contains('@') => (host, true),
        Some(_) => return false,
        None => (name, false),
    };
    let below = host.strip_prefix("*.");
    let wildcard = below.is_some();
    if wildcard && (mailbox || !role.allow_wildcard_certificates) {
        return false;
    }
    if role.enforce_hostnames && !is_host(host) {
        return false;
    }
    if role.allow_any_name {
        return true;
    }
    if role.allow_localhost && matches!(name, "localhost" | "localdomain") {
        return true;
    }
    role.allowed_domains.iter().filter(|domain| !domain.is_empty()).any(|domain| {
        let bare = role.allow_bare_domains && (host.eq_ignore_ascii_case(domain) || name.eq_ignore_ascii_case(domain));
        let sub = role.allow_subdomains
            && (host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
                || below == Some(domain.as_str()));
        let glob = role.allow_glob_domains && domain.contains('*') && matches(domain, name);
        bare || sub || glob
    })
}

/// Labels of letters, digits and inner hyphens; a first label `*` and a last dot may be.
pub(super) fn is_host(name: &str) -> bool {
    let name = name.strip_prefix("*.").unwrap_or(name);
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        inner && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

fn is_uri(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether a text is what a pattern says, in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(change: impl FnOnce(&mut Role)) -> Role {
        let mut role = Role { allowed_domains: vec!["example.com".to_owned()], ..Role::default() };
        change(&mut role);
        role
    }

    #[test]
    fn a_role_allows_what_it_names_and_nothing_beside_it() {
        for (name, bare, sub, any) in [
            ("example.com", true, false, true),
            ("EXAMPLE.com", true, false, true),
            ("a.example.com", false, true, true),
            ("a.b.example.com", false, true, true),
            ("*.example.com", false, true, true),
            ("*.a.example.com", false, true, true),
            ("aexample.com", false, false, true),
            (".example.com", false, false, false),
            ("example.com.evil.org", false, false, true),
            ("evil.org", false, false, true),
            ("a@example.com", true, false, true),
            ("a@b.example.com", false, true, true),
            ("a@b@example.com", false, false, false),
            ("a b.example.com", false, false, false),
            ("a\0.example.com", false, false, false),
            ("bücher.example.com", false, false, false),
            ("-a.example.com", false, false, false),
            ("a*.example.com", false, false, false),
            ("*", false, false, false),
            ("", false, false, false),
        ] {
            assert_eq!(allows(&role(|r| r.allow_bare_domains = true), name), bare, "bare {name:?}");
            assert_eq!(allows(&role(|r| r.allow_subdomains = true), name), sub, "sub {name:?}");
            assert_eq!(allows(&role(|r| r.allow_any_name = true), name), any, "any {name:?}");
            assert!(!allows(&role(|_| ()), name), "{name:?}");
        }
        assert!(allows(&role(|_| ()), "localhost") && !allows(&role(|r| r.allow_localhost = false), "localhost"));
        let plain = role(|r| (r.allow_subdomains, r.allow_wildcard_certificates) = (true, false));
        assert!(!allows(&plain, "*.example.com") && allows(&plain, "a.example.com"));
        let loose = role(|r| (r.allow_any_name, r.enforce_hostnames) = (true, false));
        assert!(allows(&loose, "any name!") && !allows(&loose, "a\nb"));
        let globs = role(|r| {
            r.allow_glob_domains = true;
            r.allowed_domains = vec!["web-*.example.com".to_owned()];
        });
        assert!(allows(&globs, "web-1.example.com") && !allows(&globs, "db-1.example.com"));
        assert!(!allows(&role(|r| r.allow_glob_domains = true), "a.example.com"), "no glob");
    }

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "ab", true),
            ("*b", "ab", true),
            ("a*c", "abc", true),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("ab*ba", "aba", false),
            ("spiffe://prod/*", "spiffe://prod/web", true),
            ("spiffe://prod/*", "spiffe://test/web", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
