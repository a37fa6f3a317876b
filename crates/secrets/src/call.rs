//! The shape of a question to an engine and of its answer, without HTTP.

use crate::{Mount, Result, SecretsError};
use credentialflow_model::{Actor, SecretValue, Timestamp};
use serde_json::{Map, Value};
use std::fmt;

/// What is done to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// See.
    Read,
    /// See names.
    List,
    /// Write; whether something was there before is for the policies to ask.
    Write,
    /// Change a part.
    Patch,
    /// Remove.
    Delete,
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Client {
    /// Names the caller's token without being it.
    pub accessor: String,
    /// For the audit log.
    pub actor: Actor,
}

/// One question to an engine.
pub struct Call<'a> {
    /// What is done.
    pub operation: Operation,
    /// Below the mount, without a leading slash.
    pub path: &'a str,
    /// The body's fields, and those of the query string.
    pub data: &'a Map<String, Value>,
    /// Where the engine is mounted.
    pub mount: &'a Mount,
    /// Who asks.
    pub client: &'a Client,
    /// When.
    pub now: Timestamp,
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("operation", &self.operation)
            .field("mount", &self.mount.path)
            .finish_non_exhaustive()
    }
}

impl Call<'_> {
    /// The storage of this engine's mount.
    pub fn space(&self) -> &str {
        &self.mount.uuid
    }
}

/// The `data` of an answer.
pub enum Payload {
    /// Nothing secret in it.
    Open(Value),
    /// JSON text that holds secrets; wiped when it was sent.
    Secret(SecretValue),
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open(_) => "Open(..)",
            Self::Secret(_) => "Secret(redacted)",
        })
    }
}

/// A document that is told as it is, without an envelope. Nothing secret is in it.
#[derive(Debug)]
pub struct File {
    /// Its media type.
    pub content_type: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// An answer.
#[derive(Debug, Default)]
pub struct Reply {
    /// Vault's `data`; none: status 204.
    pub data: Option<Payload>,
    /// Another status than 200 with data, as 404 for a version that was deleted.
    pub status: Option<u16>,
    /// Seconds, as a hint how long the data may be kept.
    pub lease_duration: i64,
    /// What the caller should know although it worked.
    pub warnings: Vec<String>,
    /// A document instead of all of the above.
    pub file: Option<File>,
}

impl Reply {
    /// Nothing to tell: status 204.
    pub fn empty() -> Self {
        Self::default()
    }

    /// With data that holds no secret.
    pub fn open(data: Value) -> Self {
        Self { data: Some(Payload::Open(data)), ..Self::default() }
    }

    /// With JSON text that holds secrets.
    pub fn secret(data: SecretValue) -> Self {
        Self { data: Some(Payload::Secret(data)), ..Self::default() }
    }

    /// A document.
    pub fn file(file: File) -> Self {
        Self { file: Some(file), ..Self::default() }
    }

    /// A list of names; none at all is "not found", as Vault tells it.
    pub fn keys(keys: Vec<String>) -> Result<Self> {
        if keys.is_empty() { Err(SecretsError::NotFound) } else { Ok(Self::open(serde_json::json!({ "keys": keys }))) }
    }

    /// With another status.
    #[must_use]
    pub const fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// With one more warning.
    #[must_use]
    pub fn with_warning(mut self, warning: impl Into<String>) -> Self {
        self.warnings.push(warning.into());
        self
    }
}
