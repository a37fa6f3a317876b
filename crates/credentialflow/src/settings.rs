//! Settings of the server process: a file, then `CREDENTIALFLOW_*` variables, then flags.
//!
//! Each setting is one field of [`Settings`], documented there and nowhere else: the field's name is
//! the name in the file, `CREDENTIALFLOW_<NAME>` the variable, and `--<name>` (with dashes) the flag.
//! The reference in `docs/reference/settings.md` is generated from it.

mod acme;

pub use acme::{AcmeSettings, Listener};

use anyhow::Context;
use clap::ValueEnum;
use credentialflow_egress::PrivateHosts;
use credentialflow_model::{ByteSize, Period, Problems, SecretValue, config::read_settings, key::is_label};
use credentialflow_notify::{MailSettings, MailTls, Mailer};
use serde::Deserialize;
use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// Which parts of the product a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Gateway and control plane.
    #[default]
    All,
    /// The gateway alone; it follows the database's change feed.
    Gateway,
    /// The control plane alone.
    Control,
}

/// TLS of a listener: PEM files, read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain.
    pub certificate: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// Everything the server process is told from outside.
#[derive(Clone)]
pub struct ServerSettings {
    /// Where everything local is kept.
    pub data_dir: PathBuf,
    /// `sqlite:PATH` or `postgres://…`; SQLite in the data directory unless set.
    pub database: String,
    /// Which parts to run.
    pub role: Role,
    /// What this process is called among the nodes on its database; host and port unless set.
    pub node_name: Option<String>,
    /// Where callers connect.
    pub gateway: SocketAddr,
    /// Where the console, the admin API and metrics are.
    pub control: SocketAddr,
    /// TLS of the gateway listener.
    pub gateway_tls: Option<TlsFiles>,
    /// TLS of the control listener.
    pub control_tls: Option<TlsFiles>,
    /// Where applications fetch secrets through the Vault-compatible API alone, if anywhere.
    pub vault: Option<SocketAddr>,
    /// Serve that API at `/vault/v1` of the control listener too.
    pub vault_api: bool,
    /// TLS of the vault listener.
    pub vault_tls: Option<TlsFiles>,
    /// From where our own listeners' certificate is ordered, if it is.
    pub acme: Option<AcmeSettings>,
    /// Hosts of identity providers that may be at private addresses.
    pub private_hosts: PrivateHosts,
    /// Directory in which declared stores of the kind `files` may lie.
    pub store_files: Option<PathBuf>,
    /// Listen on addresses that are not loopback without TLS all the same.
    pub allow_plaintext: bool,
    /// Start beside a server that listens on the same addresses and is about to be stopped.
    pub take_over: bool,
    /// Gateway worker threads; one for each core unless set.
    pub workers: Option<usize>,
    /// Bytes that HTTP/2 requests and buffered model bodies may make one worker hold.
    pub worker_memory: u64,
    /// Bytes that answers of models take at most which are kept to be given again.
    pub answer_cache: u64,
    /// Connections the control listener holds at most.
    pub control_connections: usize,
    /// File with the unseal passphrase (first line), if the vault is sealed with one.
    pub passphrase_file: Option<PathBuf>,
    /// Key file, if the vault is sealed with one.
    pub key_file: Option<PathBuf>,
    /// The mail server that owners of credentials are told through, if there is one.
    pub smtp: Option<MailServer>,
    /// First part of the keys issued.
    pub key_prefix: String,
    /// How long the call log is kept, in days.
    pub call_log_days: u32,
    /// Longest wait for running requests at shutdown.
    pub drain: Duration,
    /// Log lines as JSON instead of text.
    pub log_json: bool,
    /// What is logged, as in `info` or `credentialflow_gateway=debug`.
    pub log: String,
}

/// The database's URL may hold a password, so it is left out.
impl fmt::Debug for ServerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSettings")
            .field("data_dir", &self.data_dir)
            .field("role", &self.role)
            .field("gateway", &self.gateway)
            .field("control", &self.control)
            .finish_non_exhaustive()
    }
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $(#[arg($($arg:tt)*)])? $name:ident: $type:ty = $variable:literal, $default:literal;)*) => {
        /// The settings as given in one place: a file, or variables and flags. Nothing is required.
        #[derive(Clone, Default, clap::Args, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Settings {
            $($(#[doc = $doc])+ #[arg(long, env = $variable, hide_env = true $(, $($arg)*)?)] pub $name: Option<$type>,)*
        }

        impl Settings {
            /// What is given here, and where nothing is given, what `under` says.
            #[must_use]
            pub fn over(self, under: Self) -> Self {
                Self { $($name: self.$name.or(under.$name),)* }
            }
        }

        /// Name, variable and default of every setting, in the order of the reference.
        pub const ALL: &[(&str, &str, &str)] = &[$((stringify!($name), $variable, $default),)*];
    };
}

settings! {
    /// Directory in which everything local is kept: the embedded database, the call log, the gateway's sealed copy
    #[arg(value_name = "DIR")]
    data_dir: PathBuf = "CREDENTIALFLOW_DATA_DIR", "credentialflow-data";
    /// The database: sqlite:PATH or postgres://USER@HOST/NAME
    #[arg(value_name = "URL")]
    database: String = "CREDENTIALFLOW_DATABASE", "SQLite in the data directory";
    /// Which parts this process runs: all, gateway or control
    #[arg(value_enum)]
    role: Role = "CREDENTIALFLOW_ROLE", "all";
    /// What this process is called among the nodes on one database
    #[arg(value_name = "NAME")]
    node_name: String = "CREDENTIALFLOW_NODE_NAME", "host name and gateway port";
    /// Address on which callers reach APIs and models
    #[arg(value_name = "ADDRESS:PORT")]
    gateway: SocketAddr = "CREDENTIALFLOW_GATEWAY", "127.0.0.1:8080";
    /// Address of the console, the admin API and metrics
    #[arg(value_name = "ADDRESS:PORT")]
    control: SocketAddr = "CREDENTIALFLOW_CONTROL", "127.0.0.1:8081";
    /// Certificate chain of the gateway listener (PEM); read again when it changes
    #[arg(value_name = "FILE")]
    gateway_tls_certificate: PathBuf = "CREDENTIALFLOW_GATEWAY_TLS_CERTIFICATE", "none: no TLS";
    /// Private key of the gateway listener (PEM)
    #[arg(value_name = "FILE")]
    gateway_tls_key: PathBuf = "CREDENTIALFLOW_GATEWAY_TLS_KEY", "none: no TLS";
    /// Certificate chain of the control listener (PEM); read again when it changes
    #[arg(value_name = "FILE")]
    control_tls_certificate: PathBuf = "CREDENTIALFLOW_CONTROL_TLS_CERTIFICATE", "none: no TLS";
    /// Private key of the control listener (PEM)
    #[arg(value_name = "FILE")]
    control_tls_key: PathBuf = "CREDENTIALFLOW_CONTROL_TLS_KEY", "none: no TLS";
    /// Address of a listener for the Vault-compatible API alone, at /v1, so that VAULT_ADDR suffices
    #[arg(value_name = "ADDRESS:PORT", num_args = 0..=1, default_missing_value = "127.0.0.1:8200")]
    vault: SocketAddr = "CREDENTIALFLOW_VAULT", "none";
    /// Serve the Vault-compatible API at /vault/v1 of the control listener too
    #[arg(num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    vault_api: bool = "CREDENTIALFLOW_VAULT_API", "false: only where vault says, if anywhere";
    /// Certificate chain of the vault listener (PEM); read again when it changes
    #[arg(value_name = "FILE")]
    vault_tls_certificate: PathBuf = "CREDENTIALFLOW_VAULT_TLS_CERTIFICATE", "none: no TLS";
    /// Private key of the vault listener (PEM)
    #[arg(value_name = "FILE")]
    vault_tls_key: PathBuf = "CREDENTIALFLOW_VAULT_TLS_KEY", "none: no TLS";
    /// Directory of an ACME server from which the listeners' certificate is ordered and renewed, as in https://acme-v02.api.letsencrypt.org/directory
    #[arg(value_name = "URL")]
    acme_directory: String = "CREDENTIALFLOW_ACME_DIRECTORY", "none: certificates come from files";
    /// Host names of that certificate, as in api.example.com,www.example.com
    #[arg(value_name = "NAMES")]
    acme_names: String = "CREDENTIALFLOW_ACME_NAMES", "none; needed with acme_directory";
    /// Agree to the ACME server's terms of service
    #[arg(num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    acme_agree: bool = "CREDENTIALFLOW_ACME_AGREE", "false; needed with acme_directory";
    /// Whom the ACME server may write to, as in ops@example.com,sec@example.com
    #[arg(value_name = "ADDRESSES")]
    acme_contact: String = "CREDENTIALFLOW_ACME_CONTACT", "nobody";
    /// Listeners that present that certificate: of gateway, control and vault
    #[arg(value_name = "LISTENERS")]
    acme_listeners: String = "CREDENTIALFLOW_ACME_LISTENERS", "gateway";
    /// Address without TLS on which the ACME server's challenges are answered, and nothing else, as in 0.0.0.0:80
    #[arg(value_name = "ADDRESS:PORT")]
    acme_challenge: SocketAddr = "CREDENTIALFLOW_ACME_CHALLENGE", "none: the gateway listener answers them, where it has no TLS";
    /// File with an account elsewhere that the ACME account is bound to: its key's name, and the key in base64
    #[arg(value_name = "FILE")]
    acme_external_account: PathBuf = "CREDENTIALFLOW_ACME_EXTERNAL_ACCOUNT", "none";
    /// Authorities (PEM) that are believed for the ACME server itself, in place of the public ones
    #[arg(value_name = "FILE")]
    acme_ca_file: PathBuf = "CREDENTIALFLOW_ACME_CA_FILE", "none: the public ones";
    /// Hosts at private addresses that the server may ask for identity providers' keys, and for logins at described APIs, as in idp.internal,*.corp.example,10.20.0.0/16
    #[arg(value_name = "HOSTS")]
    private_hosts: String = "CREDENTIALFLOW_PRIVATE_HOSTS", "none: only public addresses are asked";
    /// Directory below which declared stores of the kind files may read and write
    #[arg(value_name = "DIR")]
    store_files: PathBuf = "CREDENTIALFLOW_STORE_FILES", "none: no store of the kind files works";
    /// Listen without TLS on addresses that are not loopback all the same
    #[arg(num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    allow_plaintext: bool = "CREDENTIALFLOW_ALLOW_PLAINTEXT", "false";
    /// Start beside a running server of the same addresses, which is stopped next: a restart without a gap
    #[arg(num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    take_over: bool = "CREDENTIALFLOW_TAKE_OVER", "false";
    /// Gateway worker threads
    #[arg(value_name = "NUMBER")]
    workers: usize = "CREDENTIALFLOW_WORKERS", "one for each core";
    /// Memory that HTTP/2 requests and buffered model bodies may take of one worker, as in 512MiB; what does not fit is refused as overloaded
    #[arg(value_name = "SIZE")]
    worker_memory: ByteSize = "CREDENTIALFLOW_WORKER_MEMORY", "512MiB";
    /// Memory that the answers of models may take which are kept for models that have a cache, as in 256MiB; 0B keeps none
    #[arg(value_name = "SIZE")]
    answer_cache: ByteSize = "CREDENTIALFLOW_ANSWER_CACHE", "64MiB";
    /// Most connections of the control listener at one time; further ones are closed at once
    #[arg(value_name = "NUMBER")]
    control_connections: usize = "CREDENTIALFLOW_CONTROL_CONNECTIONS", "512";
    /// File with the passphrase that unseals the vault (its first line)
    #[arg(value_name = "FILE")]
    passphrase_file: PathBuf = "CREDENTIALFLOW_PASSPHRASE_FILE", "none: unseal by hand";
    /// Key file that unseals the vault
    #[arg(value_name = "FILE")]
    key_file: PathBuf = "CREDENTIALFLOW_KEY_FILE", "`unseal.key` in the data directory, if it is there";
    /// Mail server for notifications to owners: smtps://USER@HOST:465, or smtp://USER@HOST:587 with STARTTLS (in clear only on this machine)
    #[arg(value_name = "URL")]
    smtp: String = "CREDENTIALFLOW_SMTP", "none: no e-mail";
    /// Sender of e-mail, as in Credentialflow <credentials@example.com>
    #[arg(value_name = "ADDRESS")]
    smtp_from: String = "CREDENTIALFLOW_SMTP_FROM", "none";
    /// File with the password for the mail server (its first line)
    #[arg(value_name = "FILE")]
    smtp_password_file: PathBuf = "CREDENTIALFLOW_SMTP_PASSWORD_FILE", "none";
    /// First part of the keys issued: 1 to 12 characters from a-z and 0-9
    #[arg(value_name = "WORD")]
    key_prefix: String = "CREDENTIALFLOW_KEY_PREFIX", "cfk";
    /// How many days the call log is kept
    #[arg(value_name = "DAYS")]
    call_log_days: u32 = "CREDENTIALFLOW_CALL_LOG_DAYS", "30";
    /// Longest wait for running requests at shutdown, as in 30s
    #[arg(value_name = "DURATION")]
    drain: Period = "CREDENTIALFLOW_DRAIN", "30s";
    /// Write log lines as JSON instead of text
    #[arg(num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    log_json: bool = "CREDENTIALFLOW_LOG_JSON", "false";
    /// What is logged, as in info or credentialflow_gateway=debug
    #[arg(value_name = "FILTER")]
    log: String = "CREDENTIALFLOW_LOG", "info";
}

/// Name of the key file that is used from the data directory when nothing else unseals the vault.
pub const DEVELOPMENT_KEY: &str = "unseal.key";

/// Why settings cannot be used. All of these are wrong usage.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("the settings file {0} cannot be read: {1}")]
    Unreadable(PathBuf, std::io::Error),
    /// The file has problems; all of them.
    #[error("the settings file has problems\n{0}")]
    Problems(Problems),
    /// Two settings do not fit together, or one is out of bounds.
    #[error("{0}")]
    Invalid(String),
}

impl Settings {
    /// Reads a settings file.
    pub fn from_file(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path).map_err(|e| SettingsError::Unreadable(path.to_owned(), e))?;
        read_settings(&path.display().to_string(), &text).map_err(SettingsError::Problems)
    }

    /// The settings to run with: this (variables and flags) over the file, if one is named, over the defaults.
    pub fn resolve(self, file: Option<&Path>) -> Result<ServerSettings, SettingsError> {
        let given = match file {
            Some(path) => self.over(Self::from_file(path)?),
            None => self,
        };
        let acme = acme::resolve(&given).map_err(SettingsError::Invalid)?;
        let invalid = |text: &str| SettingsError::Invalid(text.to_owned());
        let data_dir = given.data_dir.unwrap_or_else(|| PathBuf::from("credentialflow-data"));
        let data_dir = std::path::absolute(&data_dir).map_err(|e| SettingsError::Unreadable(data_dir, e))?;
        let key_prefix = given.key_prefix.unwrap_or_else(|| "cfk".to_owned());
        if !is_label(key_prefix.as_bytes()) {
            return Err(invalid("key_prefix must have 1 to 12 characters from a-z and 0-9"));
        }
        if given.workers.is_some_and(|n| !(1..=1024).contains(&n)) {
            return Err(invalid("workers must be 1 to 1024"));
        }
        let worker_memory = given.worker_memory.map_or(512 << 20, ByteSize::as_bytes);
        if !((128 << 20)..=(1 << 40)).contains(&worker_memory) {
            return Err(invalid("worker_memory must be 128MiB to 1024GiB"));
        }
        let answer_cache = given.answer_cache.map_or(64 << 20, ByteSize::as_bytes);
        if answer_cache > 1 << 40 {
            return Err(invalid("answer_cache must be at most 1024GiB"));
        }
        let control_connections = given.control_connections.unwrap_or(512);
        if !(1..=65_536).contains(&control_connections) {
            return Err(invalid("control_connections must be 1 to 65536"));
        }
        let call_log_days = given.call_log_days.unwrap_or(30);
        if !(1..=3650).contains(&call_log_days) {
            return Err(invalid("call_log_days must be 1 to 3650"));
        }
        if given
            .node_name
            .as_ref()
            .is_some_and(|name| !(1..=128).contains(&name.len()) || name.contains(char::is_control))
        {
            return Err(invalid("node_name must have 1 to 128 characters"));
        }
        if given.passphrase_file.is_some() && given.key_file.is_some() {
            return Err(invalid("give passphrase_file or key_file, not both"));
        }
        let private_hosts = given.private_hosts.unwrap_or_default().parse();
        let private_hosts = private_hosts.map_err(|error| SettingsError::Invalid(format!("private_hosts: {error}")))?;
        let absolute = |path: PathBuf| std::path::absolute(&path).map_err(|e| SettingsError::Unreadable(path, e));
        let store_files = given.store_files.map(absolute).transpose()?;
        let key_file = given.key_file.or_else(|| {
            let beside = data_dir.join(DEVELOPMENT_KEY);
            (given.passphrase_file.is_none() && beside.is_file()).then_some(beside)
        });
        Ok(ServerSettings {
            database: given
                .database
                .unwrap_or_else(|| format!("sqlite:{}", data_dir.join("credentialflow.db").display())),
            data_dir,
            role: given.role.unwrap_or_default(),
            node_name: given.node_name,
            gateway: given.gateway.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080))),
            control: given.control.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8081))),
            gateway_tls: tls("gateway", given.gateway_tls_certificate, given.gateway_tls_key)?,
            control_tls: tls("control", given.control_tls_certificate, given.control_tls_key)?,
            vault: given.vault,
            vault_api: given.vault_api.unwrap_or(false),
            vault_tls: tls("vault", given.vault_tls_certificate, given.vault_tls_key)?,
            acme,
            private_hosts,
            store_files,
            allow_plaintext: given.allow_plaintext.unwrap_or(false),
            take_over: given.take_over.unwrap_or(false),
            workers: given.workers,
            worker_memory,
            answer_cache,
            control_connections,
            passphrase_file: given.passphrase_file,
            key_file,
            smtp: mail_server(given.smtp, given.smtp_from, given.smtp_password_file)?,
            key_prefix,
            call_log_days,
            drain: given.drain.unwrap_or(Period::from_secs(30)).as_duration(),
            log_json: given.log_json.unwrap_or(false),
            log: given.log.unwrap_or_else(|| "info".to_owned()),
        })
    }
}

/// A mail server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailServer {
    host: String,
    port: u16,
    tls: MailTls,
    user: Option<String>,
    password_file: Option<PathBuf>,
    from: String,
}

impl ServerSettings {
    /// What sends e-mail; its password is read here.
    pub fn mailer(&self) -> anyhow::Result<Option<Mailer>> {
        let Some(server) = &self.smtp else { return Ok(None) };
        let password = match &server.password_file {
            None => None,
            Some(path) => {
                let text =
                    SecretValue::from(std::fs::read_to_string(path).with_context(|| path.display().to_string())?);
                text.expose_str().and_then(|text| text.lines().next()).map(SecretValue::from)
            }
        };
        let (host, port, tls, from) = (server.host.clone(), server.port, server.tls, server.from.clone());
        let login = server.user.clone().zip(password);
        Ok(Some(Mailer::new(MailSettings { host, port, tls, login, from })?))
    }
}

fn mail_server(
    url: Option<String>,
    from: Option<String>,
    password_file: Option<PathBuf>,
) -> Result<Option<MailServer>, SettingsError> {
    let invalid = |text: &str| SettingsError::Invalid(text.to_owned());
    let Some(url) = url else {
        return match from.is_some() || password_file.is_some() {
            true => Err(invalid("smtp_from and smtp_password_file are for a mail server: give smtp as well")),
            false => Ok(None),
        };
    };
    let wrong = || invalid("smtp is smtps://USER@HOST:465 or smtp://USER@HOST:587, without a password");
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    let (user, place) = rest.rsplit_once('@').map_or((None, rest), |(user, place)| (Some(user.to_owned()), place));
    let (host, port) = place.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().map_err(|_| wrong())?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '[' | ']' | ':');
    if host.is_empty() || !host.chars().all(plain) || user.as_ref().is_some_and(|u| u.is_empty() || u.contains(':')) {
        return Err(wrong());
    }
    let here = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    let tls = match scheme {
        "smtps" => MailTls::Implicit,
        "smtp" if here => MailTls::None,
        "smtp" => MailTls::StartTls,
        _ => return Err(wrong()),
    };
    if user.is_some() != password_file.is_some() {
        return Err(invalid("a user in smtp and smtp_password_file are needed together"));
    }
    let from = from.ok_or_else(|| invalid("smtp_from is needed with smtp"))?;
    let host = host.trim_matches(['[', ']']).to_owned();
    Ok(Some(MailServer { host, port, tls, user, password_file, from }))
}

fn tls(listener: &str, certificate: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<TlsFiles>, SettingsError> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key })),
        (None, None) => Ok(None),
        _ => Err(SettingsError::Invalid(format!(
            "{listener}_tls_certificate and {listener}_tls_key are needed together"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_servers_are_read_and_wrong_ones_refused() {
        let read = |url: &str, from: Option<&str>, file: Option<&str>| {
            mail_server(Some(url.to_owned()), from.map(str::to_owned), file.map(PathBuf::from))
        };
        let server = read("smtps://me@mail.example.com:465", Some("a@b.c"), Some("/p")).unwrap().unwrap();
        assert_eq!((server.host.as_str(), server.port, server.tls), ("mail.example.com", 465, MailTls::Implicit));
        assert_eq!(read("smtp://mail.example.com:587", Some("a@b.c"), None).unwrap().unwrap().tls, MailTls::StartTls);
        assert_eq!(read("smtp://127.0.0.1:25", Some("a@b.c"), None).unwrap().unwrap().tls, MailTls::None);
        for url in ["mail.example.com:25", "http://x:1", "smtp://x", "smtp://u:p@x:1", "smtp://:1", "smtp://x:y"] {
            assert!(read(url, Some("a@b.c"), None).is_err(), "{url}");
        }
        assert!(read("smtp://x:1", None, None).is_err());
        assert!(read("smtp://u@x:1", Some("a@b.c"), None).is_err());
        assert!(mail_server(None, Some("a@b.c".to_owned()), None).is_err());
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn what_is_given_goes_before_the_file_and_the_file_before_the_default() {
        let file = file("workers: 3\nkey_prefix: acme\ndrain: 5s\ngateway: 127.0.0.1:9000\nrole: control\n");
        let given = Settings { workers: Some(2), ..Settings::default() };
        let settings = given.resolve(Some(file.path())).unwrap();
        assert_eq!((settings.workers, settings.key_prefix.as_str()), (Some(2), "acme"));
        assert_eq!((settings.drain, settings.role), (Duration::from_secs(5), Role::Control));
        assert_eq!((settings.gateway.port(), settings.control.port()), (9000, 8081));
        assert!(settings.data_dir.is_absolute() && settings.database.starts_with("sqlite:/"));
    }

    #[test]
    fn every_problem_of_the_file_is_told_with_its_place() {
        let file = file("worker: 2\ngateway: nowhere\nrole: boss\ndrain: 5\n");
        let Err(SettingsError::Problems(problems)) = Settings::default().resolve(Some(file.path())) else {
            panic!("refused")
        };
        let told: Vec<_> = problems.0.iter().map(|p| (p.at.line, p.path.as_str())).collect();
        assert_eq!(told, [(1, "worker"), (2, "gateway"), (3, "role"), (4, "drain")]);
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let both = Settings { passphrase_file: Some("a".into()), key_file: Some("b".into()), ..Settings::default() };
        let half = Settings { gateway_tls_key: Some("k".into()), ..Settings::default() };
        let prefix = Settings { key_prefix: Some("A B".into()), ..Settings::default() };
        let none = Settings { workers: Some(0), ..Settings::default() };
        let little = Settings { worker_memory: Some("1MiB".parse().unwrap()), ..Settings::default() };
        let alone = Settings { control_connections: Some(0), ..Settings::default() };
        let private = Settings { private_hosts: Some("10.0.0.1, 8.8.8.8".into()), ..Settings::default() };
        for settings in [both, half, prefix, none, little, alone, private] {
            assert!(matches!(settings.resolve(None), Err(SettingsError::Invalid(_))));
        }
    }

    #[test]
    fn the_key_file_in_the_data_directory_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let settings = || Settings { data_dir: Some(dir.path().to_owned()), ..Settings::default() };
        assert_eq!(settings().resolve(None).unwrap().key_file, None);
        std::fs::write(dir.path().join(DEVELOPMENT_KEY), [1u8; 32]).unwrap();
        assert_eq!(settings().resolve(None).unwrap().key_file, Some(dir.path().join(DEVELOPMENT_KEY)));
        let other = Settings { passphrase_file: Some("p".into()), ..settings() };
        assert_eq!(other.resolve(None).unwrap().key_file, None);
    }

    #[test]
    fn debug_leaves_the_database_out() {
        let given = Settings { database: Some("postgres://u:hunter2@h/d".into()), ..Settings::default() };
        assert!(!format!("{:?}", given.resolve(None).unwrap()).contains("hunter2"));
    }
}
