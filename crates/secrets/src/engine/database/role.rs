//! Roles: which statements make a login, and how long it lives.

use super::Config;
use crate::{Call, Mount, Reply, Result, SecretsError, Txn, fields};
use credentialflow_targets::{Kind, Statements};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// As stored.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Role {
    pub db_name: String,
    pub statements: Statements,
    /// Seconds; 0: the mount's.
    pub default_ttl: i64,
    /// Seconds; 0: the mount's.
    pub max_ttl: i64,
}

impl Role {
    /// A role of a mount of databases, by which a login is to be made.
    pub(crate) async fn load(txn: &mut Txn, mount: &Mount, name: &str) -> Result<Self> {
        let role: Option<Self> = txn.entries(&mount.uuid).get_json(&format!("roles/{name}")).await?;
        role.ok_or_else(|| SecretsError::invalid(format!("unknown role: {name}")))
    }
}

pub(super) async fn read(call: &Call<'_>, txn: &mut Txn, name: &str) -> Result<Reply> {
    let role: Option<Role> = txn.entries(call.space()).get_json(&format!("roles/{name}")).await?;
    let role = role.ok_or(SecretsError::NotFound)?;
    Ok(Reply::open(json!({
        "db_name": role.db_name,
        "creation_statements": role.statements.creation,
        "revocation_statements": role.statements.revocation,
        "rollback_statements": role.statements.rollback,
        "renew_statements": role.statements.renewal,
        "default_ttl": role.default_ttl,
        "max_ttl": role.max_ttl,
        "credential_type": "password",
    })))
}

pub(super) async fn write(call: &Call<'_>, txn: &mut Txn, name: &str) -> Result<Reply> {
    let data = call.data;
    let path = format!("roles/{name}");
    let mut role: Role = txn.entries(call.space()).get_json(&path).await?.unwrap_or_default();
    if let Some(database) = fields::text(data, "db_name")? {
        role.db_name = database;
    }
    let kind = fields::text(data, "credential_type")?.unwrap_or_else(|| "password".to_owned());
    if kind != "password" {
        return Err(SecretsError::invalid("credential_type is password"));
    }
    for (field, place) in [
        ("creation_statements", &mut role.statements.creation),
        ("revocation_statements", &mut role.statements.revocation),
        ("rollback_statements", &mut role.statements.rollback),
        ("renew_statements", &mut role.statements.renewal),
    ] {
        if let Some(given) = statements(data, field)? {
            *place = given;
        }
    }
    for (field, place) in [("default_ttl", &mut role.default_ttl), ("max_ttl", &mut role.max_ttl)] {
        if let Some(seconds) = fields::seconds(data, field)? {
            *place = seconds.max(0);
        }
    }
    if role.db_name.is_empty() {
        return Err(SecretsError::invalid("database name is required"));
    }
    if txn.entries(call.space()).exists(&format!("static-roles/{name}")).await? {
        return Err(SecretsError::invalid("Role and Static Role names must be unique"));
    }
    // Redis has rules of its own where there are none, a described API knows itself what to do; where the
    // database is not known yet, whoever makes the first login is told.
    let config: Option<Config> = txn.entries(call.space()).get_json(&format!("config/{}", role.db_name)).await?;
    let kind = config.map(|c| c.kind()).transpose()?;
    if role.statements.creation.is_empty() && !matches!(kind, None | Some(Kind::Redis | Kind::Http)) {
        return Err(SecretsError::invalid("creation_statements are required"));
    }
    if role.max_ttl > 0 && role.default_ttl > role.max_ttl {
        return Err(SecretsError::invalid("default_ttl is greater than max_ttl"));
    }
    txn.entries(call.space()).put_json(&path, &role)?;
    Ok(Reply::empty())
}

/// A list, or one text: statements have commas of their own.
pub(super) fn statements(data: &Map<String, Value>, name: &str) -> Result<Option<Vec<String>>> {
    match data.get(name) {
        Some(Value::String(one)) => Ok(Some(if one.trim().is_empty() { Vec::new() } else { vec![one.clone()] })),
        _ => fields::list(data, name),
    }
}
