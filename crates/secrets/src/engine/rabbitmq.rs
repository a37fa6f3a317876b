//! RabbitMQ as Vault has it: an engine of its own for one broker, whose users are made on demand.
//!
//! | Path | Operations |
//! | --- | --- |
//! | `config/connection` | write: the management API and its administrator; never told back |
//! | `config/lease` | read, write: lifetimes of all roles |
//! | `roles/NAME` | list, read, write, delete: tags and rights of a user |
//! | `creds/NAME` | read: a fresh user with a lease |
//!
//! Stored and done as a database of the engine `database` with the name `connection`; that engine's
//! plugin `rabbitmq-database-plugin` offers the same with several brokers in one mount, static roles
//! and the rotation of the administrator.

use super::{
    database::{self, Deed, Role},
    list,
};
use crate::{Call, Mount, Operation, Reply, Result, SecretsError, Txn, fields};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The broker's name as a database.
pub(crate) const CONNECTION: &str = "connection";
/// Its plugin.
pub(crate) const PLUGIN: &str = "rabbitmq-database-plugin";
/// Names of users, as Vault makes them here.
const USERNAME: &str = r#"{{ printf "%s-%s" (.DisplayName) (uuid) }}"#;

/// Lifetimes of all roles, seconds; 0: the mount's.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Lifetimes {
    ttl: i64,
    max_ttl: i64,
}

/// Whether a question is asked of the broker, as for [`database::deed`].
pub fn deed(operation: Operation, path: &str) -> Option<Deed> {
    match (path.split_once('/')?, operation) {
        (("config", CONNECTION), Operation::Write) => Some(Deed::Configure(CONNECTION.to_owned())),
        (("creds", name), Operation::Read) if !name.is_empty() => Some(Deed::Login(name.to_owned())),
        _ => None,
    }
}

/// A role with the lifetimes of its mount.
pub(crate) async fn role(txn: &mut Txn, mount: &Mount, name: &str) -> Result<Role> {
    let mut role = Role::load(txn, mount, name).await?;
    let lifetimes: Option<Lifetimes> = txn.entries(&mount.uuid).get_json("config/lease").await?;
    let Lifetimes { ttl, max_ttl } = lifetimes.unwrap_or_default();
    (role.default_ttl, role.max_ttl) = (ttl, max_ttl);
    Ok(role)
}

/// What is written of the broker, completed by what Vault has for it.
pub(crate) fn connection(data: &Map<String, Value>) -> Result<Map<String, Value>> {
    for field in ["connection_uri", "username", "password"] {
        if fields::text(data, field)?.is_none_or(|t| t.is_empty()) {
            return Err(SecretsError::invalid(format!("missing {field}")));
        }
    }
    let mut data = data.clone();
    let template = fields::text(&data, "username_template")?.filter(|t| !t.is_empty());
    data.insert("username_template".to_owned(), template.unwrap_or_else(|| USERNAME.to_owned()).into());
    Ok(data)
}

pub(super) async fn handle(call: &Call<'_>, txn: &mut Txn) -> Result<Reply> {
    let (kind, name) = call.path.split_once('/').unwrap_or((call.path, ""));
    match (kind, name, call.operation) {
        ("config", "lease", Operation::Read) => {
            let lifetimes: Option<Lifetimes> = txn.entries(call.space()).get_json("config/lease").await?;
            let Lifetimes { ttl, max_ttl } = lifetimes.ok_or(SecretsError::NotFound)?;
            Ok(Reply::open(json!({ "ttl": ttl, "max_ttl": max_ttl })))
        }
        ("config", "lease", Operation::Write) => {
            let seconds = |name| fields::seconds(call.data, name).map(|s| s.unwrap_or(0).max(0));
            let lifetimes = Lifetimes { ttl: seconds("ttl")?, max_ttl: seconds("max_ttl")? };
            txn.entries(call.space()).put_json("config/lease", &lifetimes)?;
            Ok(Reply::empty())
        }
        ("config", "lease" | CONNECTION, _) | ("creds", ..) => Err(SecretsError::Unsupported),
        ("roles", _, Operation::List) => list(call, txn, call.space(), "roles/", name).await,
        ("roles", "", Operation::Read) => list(call, txn, call.space(), "roles/", name).await,
        ("roles", name, Operation::Read) => read(call, txn, database::plain(name)?).await,
        ("roles", name, Operation::Write) => write(call, txn, database::plain(name)?).await,
        ("roles", name, Operation::Delete) => {
            txn.entries(call.space()).delete(&format!("roles/{}", database::plain(name)?));
            Ok(Reply::empty())
        }
        ("roles", ..) => Err(SecretsError::Unsupported),
        _ => Err(SecretsError::UnknownPath),
    }
}

pub(super) async fn exists(call: &Call<'_>, txn: &mut Txn) -> Result<bool> {
    match call.path.split_once('/') {
        Some(("roles" | "config", name)) if !name.is_empty() => txn.entries(call.space()).exists(call.path).await,
        _ => Ok(true),
    }
}

async fn read(call: &Call<'_>, txn: &mut Txn, name: &str) -> Result<Reply> {
    let role: Option<Role> = txn.entries(call.space()).get_json(&format!("roles/{name}")).await?;
    let role = role.ok_or(SecretsError::NotFound)?;
    let rights = role.statements.creation.first().and_then(|s| serde_json::from_str::<Value>(s).ok());
    let rights = rights.ok_or_else(|| SecretsError::corrupt("role"))?;
    Ok(Reply::open(json!({
        "tags": rights["tags"],
        "vhosts": rights["vhosts"],
        "vhost_topics": rights["vhost_topics"],
    })))
}

async fn write(call: &Call<'_>, txn: &mut Txn, name: &str) -> Result<Reply> {
    let tags = fields::text(call.data, "tags")?.unwrap_or_default();
    let object = |field: &str| -> Result<Value> {
        let wrong = |_| SecretsError::invalid(format!("failed to unmarshal {field}: a JSON object is expected"));
        let given = match call.data.get(field) {
            None | Some(Value::Null) => json!({}),
            Some(Value::String(text)) if text.trim().is_empty() => json!({}),
            Some(Value::String(text)) => serde_json::from_str(text).map_err(wrong)?,
            Some(other) => other.clone(),
        };
        if given.is_object() { Ok(given) } else { Err(SecretsError::invalid(format!("{field} is a JSON object"))) }
    };
    let (vhosts, topics) = (object("vhosts")?, object("vhost_topics")?);
    let nothing = |v: &Value| v.as_object().is_none_or(Map::is_empty);
    if tags.is_empty() && nothing(&vhosts) {
        return Err(SecretsError::invalid("both tags and vhosts not specified"));
    }
    let rights = json!({ "tags": tags, "vhosts": vhosts, "vhost_topics": topics }).to_string();
    credentialflow_targets::rabbitmq::check_rights(&rights).map_err(|e| SecretsError::invalid(e.to_string()))?;
    let mut role = Role { db_name: CONNECTION.to_owned(), ..Role::default() };
    role.statements.creation = vec![rights];
    txn.entries(call.space()).put_json(&format!("roles/{name}"), &role)?;
    Ok(Reply::empty())
}
