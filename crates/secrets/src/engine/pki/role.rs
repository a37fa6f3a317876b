//! Roles: which names somebody may have in a certificate, with what kind of key, and for how long.

use super::authority::{kind, refuse, subject};
use crate::{Call, Reply, Result, SecretsError, Txn, fields};
use credentialflow_certificates::authority::{KeyKind, Subject, extended_usage, usage};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// As stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Role {
    /// Seconds; 0: the mount's.
    pub(super) ttl: i64,
    /// Seconds; 0: the mount's.
    pub(super) max_ttl: i64,
    pub(super) allowed_domains: Vec<String>,
    pub(super) allow_bare_domains: bool,
    pub(super) allow_subdomains: bool,
    pub(super) allow_glob_domains: bool,
    pub(super) allow_any_name: bool,
    pub(super) allow_localhost: bool,
    pub(super) allow_wildcard_certificates: bool,
    pub(super) enforce_hostnames: bool,
    pub(super) require_cn: bool,
    pub(super) allow_ip_sans: bool,
    /// With `*` for anything.
    pub(super) allowed_uri_sans: Vec<String>,
    pub(super) server_flag: bool,
    pub(super) client_flag: bool,
    pub(super) code_signing_flag: bool,
    pub(super) email_protection_flag: bool,
    pub(super) key_usage: Vec<String>,
    pub(super) ext_key_usage: Vec<String>,
    pub(super) key: KeyKind,
    pub(super) subject: Subject,
    pub(super) generate_lease: bool,
    /// What is issued is not kept here, and cannot be withdrawn.
    pub(super) no_store: bool,
    /// Valid so many seconds before it is issued.
    pub(super) not_before_duration: i64,
}

impl Default for Role {
    /// What Vault has where nothing is said.
    fn default() -> Self {
        Self {
            ttl: 0,
            max_ttl: 0,
            allowed_domains: Vec::new(),
            allow_bare_domains: false,
            allow_subdomains: false,
            allow_glob_domains: false,
            allow_any_name: false,
            allow_localhost: true,
            allow_wildcard_certificates: true,
            enforce_hostnames: true,
            require_cn: true,
            allow_ip_sans: true,
            allowed_uri_sans: Vec::new(),
            server_flag: true,
            client_flag: true,
            code_signing_flag: false,
            email_protection_flag: false,
            key_usage: ["DigitalSignature", "KeyAgreement", "KeyEncipherment"].map(str::to_owned).to_vec(),
            ext_key_usage: Vec::new(),
            key: KeyKind::Rsa2048,
            subject: Subject::default(),
            generate_lease: false,
            no_store: false,
            not_before_duration: super::authority::SKEW,
        }
    }
}

/// Fields that would change what is issued, and are not honoured.
const NOT_OFFERED: [&str; 17] = [
    "allow_globs_in_identity_templates",
    "allow_token_displayname",
    "allowed_domains_template",
    "allowed_ip_sans_cidr",
    "allowed_other_sans",
    "allowed_serial_numbers",
    "allowed_uri_sans_template",
    "allowed_user_ids",
    "basic_constraints_valid_for_non_ca",
    "ext_key_usage_oids",
    "issuer_ref",
    "not_after",
    "not_before",
    "policy_identifiers",
    "signature_bits",
    "use_pss",
    "serial_number",
];

impl Role {
    pub(super) async fn load(txn: &mut Txn, space: &str, name: &str) -> Result<Self> {
        let role: Option<Self> = txn.entries(space).get_json(&format!("roles/{name}")).await?;
        role.ok_or_else(|| SecretsError::invalid(format!("unknown role: {name}")))
    }

    /// What a certificate is for in an application.
    pub(super) fn extended_usages(&self) -> Vec<String> {
        let flags = [
            (self.server_flag, "ServerAuth"),
            (self.client_flag, "ClientAuth"),
            (self.code_signing_flag, "CodeSigning"),
            (self.email_protection_flag, "EmailProtection"),
        ];
        let mut all: Vec<String> = flags.iter().filter(|(set, _)| *set).map(|(_, name)| (*name).to_owned()).collect();
        for name in &self.ext_key_usage {
            if !all.iter().any(|known| extended_usage(known) == extended_usage(name)) {
                all.push(name.clone());
            }
        }
        all
    }

    fn told(&self) -> Value {
        let one = |text: &str| if text.is_empty() { json!([]) } else { json!([text]) };
        let mut told = json!({
            "allow_any_name": self.allow_any_name,
            "allow_bare_domains": self.allow_bare_domains,
            "allow_glob_domains": self.allow_glob_domains,
            "allow_ip_sans": self.allow_ip_sans,
            "allow_localhost": self.allow_localhost,
            "allow_subdomains": self.allow_subdomains,
            "allow_wildcard_certificates": self.allow_wildcard_certificates,
            "allowed_domains": self.allowed_domains,
            "allowed_uri_sans": self.allowed_uri_sans,
            "client_flag": self.client_flag,
            "code_signing_flag": self.code_signing_flag,
            "country": one(&self.subject.country),
            "email_protection_flag": self.email_protection_flag,
            "enforce_hostnames": self.enforce_hostnames,
            "ext_key_usage": self.ext_key_usage,
            "generate_lease": self.generate_lease,
            "key_bits": self.key.bits(),
            "key_type": self.key.name(),
            "key_usage": self.key_usage,
            "locality": one(&self.subject.locality),
            "max_ttl": self.max_ttl,
            "no_store": self.no_store,
            "not_before_duration": self.not_before_duration,
            "organization": one(&self.subject.organization),
            "ou": one(&self.subject.unit),
            "province": one(&self.subject.province),
            "require_cn": self.require_cn,
            "server_flag": self.server_flag,
            "ttl": self.ttl,
        });
        if let (Value::Object(told), Value::Object(fixed)) = (&mut told, not_offered()) {
            told.extend(fixed);
        }
        told
    }
}

/// What is told of fields that are not honoured: that they are as in a new role.
fn not_offered() -> Value {
    json!({
        "allow_globs_in_identity_templates": false,
        "allow_token_displayname": false,
        "allowed_domains_template": false,
        "allowed_ip_sans_cidr": [],
        "allowed_other_sans": [],
        "allowed_serial_numbers": [],
        "allowed_uri_sans_template": false,
        "allowed_user_ids": [],
        "basic_constraints_valid_for_non_ca": false,
        "cn_validations": ["email", "hostname"],
        "ext_key_usage_oids": [],
        "issuer_ref": "default",
        "not_after": "",
        "not_after_bound": "permit",
        "not_before": "",
        "not_before_bound": "permit",
        "policy_identifiers": [],
        "postal_code": [],
        "signature_bits": 0,
        "street_address": [],
        "use_csr_common_name": true,
        "use_csr_sans": true,
        "use_pss": false,
    })
}

pub(super) async fn read(call: &Call<'_>, txn: &mut Txn, name: &str) -> Result<Reply> {
    let role: Option<Role> = txn.entries(call.space()).get_json(&format!("roles/{name}")).await?;
    Ok(Reply::open(role.ok_or(SecretsError::NotFound)?.told()))
}

/// Writes a whole role: what is not said is as in a new one.
pub(super) fn write(call: &Call<'_>, txn: &mut Txn, name: &str) -> Result<Reply> {
    let data = call.data;
    refuse(data, &NOT_OFFERED)?;
    if fields::list(data, "cn_validations")?.is_some_and(|given| given != ["email", "hostname"]) {
        return Err(SecretsError::invalid("cn_validations is not offered; see enforce_hostnames"));
    }
    let mut role = Role { key: kind(data)?, subject: subject(data)?, ..Role::default() };
    for (name, flag) in [
        ("allow_bare_domains", &mut role.allow_bare_domains),
        ("allow_subdomains", &mut role.allow_subdomains),
        ("allow_glob_domains", &mut role.allow_glob_domains),
        ("allow_any_name", &mut role.allow_any_name),
        ("allow_localhost", &mut role.allow_localhost),
        ("allow_wildcard_certificates", &mut role.allow_wildcard_certificates),
        ("enforce_hostnames", &mut role.enforce_hostnames),
        ("require_cn", &mut role.require_cn),
        ("allow_ip_sans", &mut role.allow_ip_sans),
        ("server_flag", &mut role.server_flag),
        ("client_flag", &mut role.client_flag),
        ("code_signing_flag", &mut role.code_signing_flag),
        ("email_protection_flag", &mut role.email_protection_flag),
        ("generate_lease", &mut role.generate_lease),
        ("no_store", &mut role.no_store),
    ] {
        if let Some(given) = fields::boolean(data, name)? {
            *flag = given;
        }
    }
    for (name, seconds) in
        [("ttl", &mut role.ttl), ("max_ttl", &mut role.max_ttl), ("not_before_duration", &mut role.not_before_duration)]
    {
        if let Some(given) = fields::seconds(data, name)? {
            *seconds = given.max(0);
        }
    }
    for (name, texts) in [
        ("allowed_domains", &mut role.allowed_domains),
        ("allowed_uri_sans", &mut role.allowed_uri_sans),
        ("key_usage", &mut role.key_usage),
        ("ext_key_usage", &mut role.ext_key_usage),
    ] {
        if let Some(given) = fields::list(data, name)? {
            *texts = given;
        }
    }
    let unknown = role.key_usage.iter().find(|name| usage(name).is_none());
    if let Some(name) = unknown.or_else(|| role.ext_key_usage.iter().find(|name| extended_usage(name).is_none())) {
        return Err(SecretsError::invalid(format!("{name:?} is no usage of a key")));
    }
    if role.max_ttl > 0 && role.ttl > role.max_ttl {
        return Err(SecretsError::invalid("\"ttl\" value must be less than \"max_ttl\" value"));
    }
    if role.generate_lease && role.no_store {
        return Err(SecretsError::invalid(
            "what is not stored cannot be withdrawn by its lease: generate_lease needs no_store=false",
        ));
    }
    txn.entries(call.space()).put_json(&format!("roles/{name}"), &role)?;
    Ok(Reply::open(role.told()))
}
