//! The systems in which a credential lives: databases, caches, brokers and APIs that keep users of
//! their own. One file per system, all of them in [`KINDS`], all behind the one trait [`Target`].
//!
//! A target creates logins, renews, re-keys and withdraws them, tries them by a real login, and lists
//! those that carry a mark, so that what a crash left behind is found. It knows nothing of leases,
//! roles, schedules or storage: whoever calls it stores the name of a login before it is created, and
//! so can always withdraw it. [`Logins`] alone knows the vault: it takes the steps of rotations there.
//!
//! ```no_run
//! # async fn example() -> Result<(), credentialflow_targets::TargetError> {
//! use credentialflow_targets::{Login, NewLogin, Server, Settings, Statements, open, password, username};
//! use credentialflow_model::{SecretValue, Timestamp};
//!
//! let server = Server::new("127.0.0.1", 5432, "admin", SecretValue::from("…"));
//! let target = open(Settings::Postgresql(credentialflow_targets::postgresql::Settings::new(server, "orders")))?;
//! let name = username::Template::of(target.kind()).make("alice", "reader", Timestamp::from_secs(1))?;
//! let secret = password::generate(32)?;
//! let statements = Statements {
//!     creation: vec![r#"CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"#.into()],
//!     ..Statements::default()
//! };
//! let login = Login::named(&name);
//! let made = target
//!     .create(&NewLogin { name: &name, password: &secret, expires: None, statements: &statements })
//!     .await?;
//! target.revoke(&Login { name, handle: made.handle }, &statements).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Passwords travel as hashes wherever the system takes one, so that a server's log never holds the
//! password: PostgreSQL a SCRAM-SHA-256 verifier, MariaDB and MySQL a native hash, Redis a SHA-256,
//! RabbitMQ a salted SHA-256.

mod error;
mod hash;
pub mod http_api;
mod http_client;
mod kept;
mod logins;
pub mod mysql;
pub mod password;
pub mod postgresql;
mod provider;
pub mod rabbitmq;
pub mod redis;
mod registry;
mod resp;
mod server;
mod statement;
mod target;
mod tls;
pub mod username;
pub mod vault_url;

pub use error::{Result, TargetError};
pub use logins::Logins;
pub use registry::{KINDS, Kind, Settings, open};
pub use server::{PasswordForm, Server};
pub use target::{BoxFuture, Created, Login, NewLogin, Revoked, Statements, Target, Verdict};
pub use tls::{Tls, TlsMode};
