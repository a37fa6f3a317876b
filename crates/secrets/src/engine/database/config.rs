//! Databases: how each is reached, and the connections kept to it.

use crate::{Call, Reply, Result, SecretsError, Txn, fields};
use credentialflow_model::SecretValue;
use credentialflow_targets::{Kind, Settings, Target, TargetError, open, username::Template, vault_url};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// As stored, sealed.
#[derive(Serialize, Deserialize)]
pub(crate) struct Config {
    pub plugin_name: String,
    connection_url: String,
    username: String,
    password: String,
    ca: Option<String>,
    pub allowed_roles: Vec<String>,
    pub username_template: Option<String>,
}

impl Drop for Config {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.password);
        zeroize::Zeroize::zeroize(&mut self.connection_url);
    }
}

impl Config {
    pub(crate) fn kind(&self) -> Result<Kind> {
        match Kind::parse(&self.plugin_name) {
            Some(kind @ (Kind::Postgresql | Kind::Mysql)) => Ok(kind),
            _ => Err(SecretsError::invalid("plugin_name is postgresql-database-plugin or mysql-database-plugin")),
        }
    }

    /// Whether a role may use this database.
    pub(crate) fn allows(&self, role: &str) -> bool {
        self.allowed_roles.iter().any(|allowed| allowed == "*" || allowed == role)
    }

    pub(crate) fn template(&self) -> Result<Template> {
        match &self.username_template {
            Some(text) => Template::parse(text, self.kind()?).map_err(told),
            None => Ok(Template::of(self.kind()?)),
        }
    }

    fn open(&self) -> Result<Arc<dyn Target>> {
        let password = SecretValue::from(self.password.as_str());
        let settings = match self.kind()? {
            Kind::Mysql => {
                vault_url::mysql(&self.connection_url, &self.username, password, self.ca.clone()).map(Settings::Mysql)
            }
            _ => vault_url::postgresql(&self.connection_url, &self.username, password, self.ca.clone())
                .map(Settings::Postgresql),
        };
        open(settings.map_err(told)?).map_err(told)
    }

    /// The connection string without a login that is written into it.
    fn shown_url(&self) -> String {
        let Some((login, rest)) = self.connection_url.rsplit_once('@') else {
            // `host=… password=…`
            return if self.connection_url.contains("password") { String::new() } else { self.connection_url.clone() };
        };
        if login.contains("{{password}}") {
            return self.connection_url.clone();
        }
        let scheme = login.split_once("://").map_or("", |(scheme, _)| scheme);
        if scheme.is_empty() { format!("***@{rest}") } else { format!("{scheme}://***@{rest}") }
    }
}

/// What a database says, as an answer to the caller: it holds no secret.
pub(crate) fn told(error: TargetError) -> SecretsError {
    SecretsError::invalid(error.to_string())
}

/// A target with the revision of the configuration it was opened by.
type Kept = (i64, Arc<dyn Target>);

/// The connections to the databases of all mounts; one for a process.
#[derive(Default)]
pub struct Databases {
    open: Mutex<HashMap<(String, String), Kept>>,
}

impl std::fmt::Debug for Databases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Databases")
    }
}

impl Databases {
    /// The database of a mount by its name, with its configuration of today.
    pub(crate) async fn get(&self, txn: &mut Txn, space: &str, name: &str) -> Result<(Config, Arc<dyn Target>)> {
        let path = format!("config/{name}");
        let unknown = || SecretsError::invalid(format!("there is no database named {name:?}"));
        let revision = txn.entries(space).revision(&path).await?.ok_or_else(unknown)?;
        let config: Config = txn.entries(space).get_json(&path).await?.ok_or_else(unknown)?;
        let key = (space.to_owned(), name.to_owned());
        {
            let kept = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, target)) = kept.get(&key).filter(|(known, _)| *known == revision) {
                return Ok((config, target.clone()));
            }
        }
        let target = config.open()?;
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (revision, target.clone()));
        Ok((config, target))
    }
}

pub(super) async fn read(call: &Call<'_>, txn: &mut Txn, name: &str) -> Result<Reply> {
    let config: Option<Config> = txn.entries(call.space()).get_json(&format!("config/{name}")).await?;
    let config = config.ok_or(SecretsError::NotFound)?;
    Ok(Reply::open(json!({
        "plugin_name": config.plugin_name,
        "plugin_version": "",
        "allowed_roles": config.allowed_roles,
        "connection_details": {
            "connection_url": config.shown_url(),
            "username": config.username,
            "username_template": config.username_template.as_deref().unwrap_or_default(),
        },
        "password_policy": "",
        "root_credentials_rotate_statements": [],
    })))
}

pub(super) async fn write(call: &Call<'_>, txn: &mut Txn, name: &str) -> Result<Reply> {
    let data = call.data;
    let path = format!("config/{name}");
    let known: Option<Config> = txn.entries(call.space()).get_json(&path).await?;
    let mut config = known.unwrap_or_else(|| Config {
        plugin_name: String::new(),
        connection_url: String::new(),
        username: String::new(),
        password: String::new(),
        ca: None,
        allowed_roles: Vec::new(),
        username_template: None,
    });
    for (field, place) in [
        ("plugin_name", &mut config.plugin_name),
        ("connection_url", &mut config.connection_url),
        ("username", &mut config.username),
        ("password", &mut config.password),
    ] {
        if let Some(given) = fields::text(data, field)? {
            *place = given;
        }
    }
    for field in ["tls_ca", "tls_certificate_authority"] {
        if let Some(given) = fields::text(data, field)? {
            config.ca = Some(given).filter(|pem| !pem.trim().is_empty());
        }
    }
    if let Some(given) = fields::list(data, "allowed_roles")? {
        config.allowed_roles = given;
    }
    if let Some(given) = fields::text(data, "username_template")? {
        config.username_template = Some(given).filter(|t| !t.is_empty());
    }
    for field in ["password_policy", "root_rotation_statements", "password_authentication", "private_key"] {
        let asked = data
            .get(field)
            .is_some_and(|v| !v.is_null() && *v != json!("") && *v != json!([]) && *v != json!("password"));
        if asked {
            return Err(SecretsError::invalid(format!("{field} is not offered")));
        }
    }
    if config.connection_url.is_empty() {
        return Err(SecretsError::invalid("connection_url cannot be empty"));
    }
    config.template()?;
    let target = config.open()?;
    if fields::boolean(data, "verify_connection")?.unwrap_or(true) {
        target.check().await.map_err(|e| SecretsError::invalid(format!("error verifying connection: {e}")))?;
    }
    txn.entries(call.space()).put_json(&path, &config)?;
    Ok(Reply::empty())
}
