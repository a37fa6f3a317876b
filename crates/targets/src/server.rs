//! Where a target is, who logs in there as the administrator, and how long anything may take.

use crate::{Result, TargetError, Tls};
use credentialflow_model::SecretValue;
use std::{
    future::Future,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

/// Address, administrator and time limits.
#[derive(Debug)]
pub struct Server {
    /// A name or an address. Internal addresses are the normal case and are not refused.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Encryption.
    pub tls: Tls,
    /// The administrator's name; may be empty for a Redis that only has a password.
    pub username: String,
    /// The administrator's password.
    pub password: SecretValue,
    /// The longest a connection may take to stand.
    pub connect_timeout: Duration,
    /// The longest one operation may take, connecting included.
    pub timeout: Duration,
}

impl Server {
    /// Without TLS, 5 s to connect, 20 s for an operation.
    pub fn new(host: &str, port: u16, username: &str, password: SecretValue) -> Self {
        Self {
            host: host.to_owned(),
            port,
            tls: Tls::default(),
            username: username.to_owned(),
            password,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(20),
        }
    }

    /// Whether passwords may travel like this here.
    pub(crate) fn fits(&self, passwords: PasswordForm) -> Result<()> {
        if passwords == PasswordForm::Clear && !self.tls.is_encrypted() {
            return Err(TargetError::BadSettings("passwords travel in clear only over TLS".to_owned()));
        }
        Ok(())
    }
}

/// How a password travels when a login is created or re-keyed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PasswordForm {
    /// As the hash the system keeps: no log of the server ever holds the password.
    #[default]
    Hashed,
    /// In clear, over TLS only: for servers that keep a kind of hash we do not make, such as MySQL's
    /// `caching_sha2_password`. The server may log it; MySQL and MariaDB blank it in their own logs.
    Clear,
}

/// The part of [`Server`] that every target keeps: the password can be replaced while it runs.
pub(crate) struct Access {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Tls,
    pub(crate) username: String,
    password: RwLock<Arc<SecretValue>>,
    connect_timeout: Duration,
    timeout: Duration,
}

impl Access {
    pub(crate) fn new(server: Server) -> Result<Self> {
        let Server { host, port, tls, username, password, connect_timeout, timeout } = server;
        if host.is_empty() || host.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(TargetError::BadSettings("the host is empty or has characters no host has".to_owned()));
        }
        tls.check()?;
        let password = RwLock::new(Arc::new(password));
        Ok(Self { host, port, tls, username, password, connect_timeout, timeout })
    }

    pub(crate) fn password(&self) -> Arc<SecretValue> {
        self.password.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn use_password(&self, password: SecretValue) {
        *self.password.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(password);
    }

    /// Runs an operation within its time limit.
    pub(crate) async fn within<T>(&self, operation: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::time::timeout(self.timeout, operation).await.unwrap_or(Err(TargetError::Timeout))
    }

    /// Connects within the connection's time limit.
    pub(crate) async fn connecting<T>(&self, connect: impl Future<Output = Result<T>>) -> Result<T> {
        let late = || TargetError::Unreachable("no connection in time".to_owned());
        tokio::time::timeout(self.connect_timeout, connect).await.unwrap_or_else(|_| Err(late()))
    }

    /// Nobody may take the administrator away.
    pub(crate) fn not_administrator(&self, name: &str) -> Result<()> {
        if name == self.username {
            return Err(TargetError::Refused("this is the login Credentialflow itself uses there".to_owned()));
        }
        Ok(())
    }
}
