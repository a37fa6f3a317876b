//! How a database is reached.
//!
//! Which fields a configuration has depends on its plugin, as in Vault: a `connection_url` for
//! PostgreSQL and MySQL, `host` and `port` for Redis, a `connection_uri` for RabbitMQ, and for any
//! other system with an HTTP API its `description`.

use crate::{Call, Reply, Result, SecretsError, Txn, fields};
use credentialflow_egress::{Guard, PrivateHosts};
use credentialflow_model::{SecretValue, Timestamp};
use credentialflow_targets::{
    Kind, Server, Settings, Statements, Target, TargetError, Tls, http_api, open,
    redis::{self, Persist},
    username::Template,
    vault_url,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// As stored, sealed.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Config {
    pub plugin_name: String,
    #[serde(default)]
    connection_url: String,
    #[serde(default)]
    host: String,
    #[serde(default)]
    port: u16,
    #[serde(default)]
    tls: bool,
    #[serde(default)]
    persist: String,
    pub username: String,
    pub password: String,
    /// What the administrator's password is being changed to: stored before it is set at the target,
    /// so that after a crash one of the two is the right one.
    #[serde(default)]
    pub pending: Option<String>,
    /// When the password was set here, or given; `None` for those of before that was noted.
    #[serde(default)]
    pub password_since: Option<Timestamp>,
    /// When somebody last began to set it.
    #[serde(default)]
    pub pending_since: Option<Timestamp>,
    /// Whether the logins of every earlier place were taken along to this one.
    #[serde(default)]
    pub all_here: bool,
    ca: Option<String>,
    #[serde(default)]
    description: Option<http_api::Description>,
    #[serde(default)]
    pub root_rotation: Vec<String>,
    pub allowed_roles: Vec<String>,
    pub username_template: Option<String>,
}

impl Drop for Config {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.password);
        zeroize::Zeroize::zeroize(&mut self.pending);
        zeroize::Zeroize::zeroize(&mut self.connection_url);
    }
}

impl Config {
    pub(crate) fn kind(&self) -> Result<Kind> {
        Kind::parse(&self.plugin_name).ok_or_else(|| {
            SecretsError::invalid(
                "plugin_name is postgresql-database-plugin, mysql-database-plugin, redis-database-plugin, \
                 valkey-database-plugin, rabbitmq-database-plugin or http-database-plugin",
            )
        })
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

    /// The target, as it is reached with this administrator's password. `private` are the hosts of brokers
    /// and described APIs that may be at private addresses.
    pub(crate) fn open(&self, password: &str, private: &PrivateHosts) -> Result<Arc<dyn Target>> {
        open(self.settings(password, private)?).map_err(told)
    }

    fn settings(&self, password: &str, private: &PrivateHosts) -> Result<Settings> {
        let (url, username, ca) = (&self.connection_url, &self.username, self.ca.clone());
        let password = SecretValue::from(password);
        let settings = match self.kind()? {
            Kind::Postgresql => vault_url::postgresql(url, username, password, ca).map(Settings::Postgresql),
            Kind::Mysql => vault_url::mysql(url, username, password, ca).map(Settings::Mysql),
            Kind::Rabbitmq => {
                let guard = Guard::new(private.clone());
                vault_url::rabbitmq(url, username, password, ca, guard).map(Settings::Rabbitmq)
            }
            Kind::Redis => {
                let mut server = Server::new(&self.host, self.port, username, password);
                if self.tls {
                    server.tls = Tls::verify(ca);
                }
                let persist = match self.persist.to_ascii_uppercase().as_str() {
                    "" => Persist::Memory,
                    "ACLFILE" => Persist::AclFile,
                    "REWRITE" => Persist::Config,
                    _ => return Err(SecretsError::invalid("persistence_mode is ACLFILE, REWRITE or empty")),
                };
                Ok(Settings::Redis(redis::Settings { server, persist }))
            }
            Kind::Http => {
                let described = self.description.clone();
                let described = described.ok_or_else(|| SecretsError::invalid("description cannot be empty"))?;
                let known = http_api::Settings::new(described, username, password);
                let settings = http_api::Settings { ca, private_hosts: private.clone(), ..known };
                Ok(Settings::Http(Box::new(settings)))
            }
        };
        settings.map_err(told)
    }

    /// Why the administrator's password cannot be changed by us, if that is so.
    pub(crate) fn cannot_rotate(&self) -> Result<Option<&'static str>> {
        let kind = self.kind()?;
        if kind == Kind::Http {
            return Ok(Some("an administrator of a described HTTP API is changed where it was made"));
        }
        if self.username.is_empty() && kind != Kind::Redis {
            return Ok(Some("unable to rotate root credentials: no username in configuration"));
        }
        // A login that stands in the connection string itself would be used instead of ours.
        let probe = "a-password-that-is-nobodys";
        let ours = match self.settings(probe, &PrivateHosts::default())? {
            Settings::Postgresql(s) => s.server.password.expose() == probe.as_bytes(),
            Settings::Mysql(s) => s.server.password.expose() == probe.as_bytes(),
            _ => true,
        };
        Ok((!ours).then_some(
            "the password stands in connection_url itself: write {{username}} and {{password}} there, \
             and give both as fields of their own",
        ))
    }

    /// What changes a login's password here, when it is the administrator's.
    pub(crate) fn root_statements(&self) -> Statements {
        Statements { rotation: self.root_rotation.clone(), ..Statements::default() }
    }

    /// The connection string. Where a password stands in it, what is told is made of its other parts.
    fn shown_url(&self) -> String {
        if !vault_url::holds_password(&self.connection_url) {
            return self.connection_url.clone();
        }
        match self.settings("", &PrivateHosts::default()) {
            Ok(Settings::Postgresql(s)) => {
                format!("postgresql://***@{}:{}/{}", s.server.host, s.server.port, s.database)
            }
            Ok(Settings::Mysql(s)) => {
                let database = s.database.as_deref().unwrap_or_default();
                format!("***@tcp({}:{})/{database}", s.server.host, s.server.port)
            }
            _ => String::new(),
        }
    }

    /// What is told back of how it is reached: no password.
    fn details(&self) -> Result<Value> {
        Ok(match self.kind()? {
            Kind::Postgresql | Kind::Mysql => json!({
                "connection_url": self.shown_url(),
                "username": self.username,
                "username_template": self.username_template.as_deref().unwrap_or_default(),
            }),
            Kind::Redis => json!({
                "host": self.host,
                "port": self.port,
                "tls": self.tls,
                "username": self.username,
            }),
            Kind::Rabbitmq => json!({ "connection_uri": self.connection_url, "username": self.username }),
            Kind::Http => json!({ "description": self.description, "username": self.username }),
        })
    }

    /// Where its logins are, without a secret: two configurations with one place are one system.
    pub(crate) fn place(&self) -> Result<String> {
        let server = |server: &Server| format!("{}:{}", server.host.to_ascii_lowercase(), server.port);
        let place = match self.settings("", &PrivateHosts::default())? {
            Settings::Postgresql(s) => format!("{}/{}", server(&s.server), s.database),
            Settings::Mysql(s) => server(&s.server),
            Settings::Redis(s) => server(&s.server),
            Settings::Rabbitmq(s) => server(&s.server),
            Settings::Http(s) => s.description.base_url.trim_end_matches('/').to_owned(),
        };
        Ok(format!("{} at {place}", self.kind()?.as_str()))
    }

    /// Whether this is how a place is reached.
    pub(crate) fn is_at(&self, place: &str) -> bool {
        self.place().is_ok_and(|own| own == place)
    }

    /// Whether there is a password at all by which the administrator is let in.
    pub(crate) fn has_password(&self) -> bool {
        !self.password.is_empty() || vault_url::holds_password(&self.connection_url)
    }

    /// Whether another configuration lets the administrator in by another password.
    fn has_other_password(&self, other: &Self) -> bool {
        let holds = vault_url::holds_password(&other.connection_url);
        self.password != other.password || (holds && self.connection_url != other.connection_url)
    }

    /// Where and how the administrator's password is sent.
    fn way(&self) -> impl PartialEq + use<> {
        let place = (self.plugin_name.clone(), self.connection_url.clone(), self.host.clone(), self.port);
        (place, self.tls, self.ca.clone(), self.description.clone())
    }

    /// Takes over the given fields that say how it is reached. A stored password goes nowhere else than
    /// whoever handed it in said: who names another place hands it in again.
    fn take(&mut self, data: &Map<String, Value>) -> Result<()> {
        let (before, stored) = (self.way(), !self.password.is_empty() || self.pending.is_some());
        self.take_fields(data)?;
        if stored && fields::text(data, "password")?.is_none() && self.way() != before {
            return Err(SecretsError::invalid(
                "password must be given again where plugin_name, connection_url, connection_uri, host, port, \
                 tls, the certificate authority or description changes",
            ));
        }
        Ok(())
    }

    fn take_fields(&mut self, data: &Map<String, Value>) -> Result<()> {
        for (field, place) in [
            ("plugin_name", &mut self.plugin_name),
            ("connection_url", &mut self.connection_url),
            ("host", &mut self.host),
            ("persistence_mode", &mut self.persist),
            ("username", &mut self.username),
        ] {
            if let Some(given) = fields::text(data, field)? {
                *place = given;
            }
        }
        if let Some(uri) = fields::text(data, "connection_uri")? {
            self.connection_url = uri;
        }
        if let Some(password) = fields::text(data, "password")? {
            self.password = password;
            // Whoever hands in a password says which one is right.
            self.pending = None;
            self.pending_since = None;
        }
        if let Some(port) = fields::integer(data, "port")? {
            self.port = u16::try_from(port).map_err(|_| SecretsError::invalid("port is a number up to 65535"))?;
        }
        if let Some(tls) = fields::boolean(data, "tls")? {
            self.tls = tls;
        }
        for field in ["tls_ca", "tls_certificate_authority", "ca_cert"] {
            if let Some(given) = fields::text(data, field)? {
                self.ca = Some(given).filter(|pem| !pem.trim().is_empty());
            }
        }
        let description = match data.get("description") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(serde_json::from_str(text)),
            Some(other) => Some(serde_json::from_value(other.clone())),
        };
        if let Some(description) = description {
            let wrong = |e| SecretsError::invalid(format!("the description does not read: {e}"));
            self.description = Some(description.map_err(wrong)?);
        }
        Ok(())
    }

    /// Refuses what is missing, by the names its plugin has for it.
    fn complete(&self) -> Result<()> {
        let needed: &[(&str, bool)] = match self.kind()? {
            Kind::Postgresql | Kind::Mysql => &[("connection_url", self.connection_url.is_empty())],
            Kind::Rabbitmq => &[("connection_uri", self.connection_url.is_empty())],
            Kind::Redis => &[("host", self.host.is_empty()), ("port", self.port == 0)],
            Kind::Http => &[("description", self.description.is_none())],
        };
        match needed.iter().find(|(_, missing)| *missing) {
            Some((name, _)) => Err(SecretsError::invalid(format!("{name} cannot be empty"))),
            None => Ok(()),
        }
    }
}

/// What a database says, as an answer to the caller: it holds no secret.
pub(crate) fn told(error: TargetError) -> SecretsError {
    SecretsError::invalid(error.to_string())
}

pub(super) async fn read(call: &Call<'_>, txn: &mut Txn, name: &str) -> Result<Reply> {
    let config: Option<Config> = txn.entries(call.space()).get_json(&format!("config/{name}")).await?;
    let config = config.ok_or(SecretsError::NotFound)?;
    let mut data = json!({
        "plugin_name": config.plugin_name,
        "plugin_version": "",
        "allowed_roles": config.allowed_roles,
        "connection_details": config.details()?,
        "password_policy": "",
        "root_credentials_rotate_statements": config.root_rotation,
    });
    if config.pending.is_some() {
        data["rotation_unfinished"] = true.into();
    }
    Ok(Reply::open(data))
}

/// Writes a configuration, after a try unless that is declined; `plugin` where the mount allows one alone.
pub(crate) async fn write(
    data: &Map<String, Value>,
    txn: &mut Txn,
    space: &str,
    name: &str,
    plugin: Option<&str>,
    private: &PrivateHosts,
) -> Result<()> {
    let path = format!("config/{name}");
    let mut config: Config = txn.entries(space).get_json(&path).await?.unwrap_or_default();
    config.take(data)?;
    if let Some(plugin) = plugin {
        plugin.clone_into(&mut config.plugin_name);
        config.allowed_roles = vec!["*".to_owned()];
    }
    if let Some(given) = fields::list(data, "allowed_roles")?.filter(|_| plugin.is_none()) {
        config.allowed_roles = given;
    }
    if let Some(given) = fields::text(data, "username_template")? {
        config.username_template = Some(given).filter(|t| !t.is_empty());
    }
    if let Some(given) = super::role::statements(data, "root_rotation_statements")? {
        config.root_rotation = given;
    }
    for field in ["password_policy", "password_authentication", "private_key", "insecure_tls"] {
        let asked = data.get(field).is_some_and(|v| {
            !v.is_null() && *v != json!("") && *v != json!([]) && *v != json!(false) && *v != json!("password")
        });
        if asked {
            return Err(SecretsError::invalid(format!("{field} is not offered")));
        }
    }
    config.complete()?;
    config.template()?;
    let target = config.open(&config.password, private)?;
    if fields::boolean(data, "verify_connection")?.unwrap_or(true) {
        target.check().await.map_err(|e| SecretsError::invalid(format!("error verifying connection: {e}")))?;
    }
    let before: Option<Config> = txn.entries(space).get_json(&path).await?;
    if before.as_ref().is_none_or(|before| before.has_other_password(&config)) {
        config.password_since = Some(txn.now());
    }
    let taken_along = fields::boolean(data, "logins_moved")?.unwrap_or(false);
    super::databases::moved(txn, space, name, before, &mut config, taken_along).await?;
    txn.entries(space).put_json(&path, &config)
}
