//! Who is calling in this request.

use crate::KeyExtras;
use credentialflow_model::{KeyId, usage::SecretShown};
use std::sync::Arc;

/// The authenticated caller, or nobody.
#[derive(Clone, Debug)]
pub enum Principal {
    /// Nobody was asked; only on routes that say so (`authenticate: [none]`).
    Anonymous,
    /// An application, by one of its keys.
    Key(KeyPrincipal),
}

/// A caller that presented a valid key. Made only by [`crate::ApiKey::authenticate`].
#[derive(Clone, Debug)]
pub struct KeyPrincipal {
    pub(crate) application: u32,
    pub(crate) application_name: Arc<str>,
    pub(crate) key: KeyId,
    pub(crate) version: u32,
    pub(crate) shown: Option<SecretShown>,
    pub(crate) extras: Option<Arc<KeyExtras>>,
}

impl KeyPrincipal {
    /// The application, as the key table numbers it.
    pub fn application(&self) -> u32 {
        self.application
    }
    /// The application's name.
    pub fn application_name(&self) -> &Arc<str> {
        &self.application_name
    }
    /// The key presented.
    pub fn key(&self) -> KeyId {
        self.key
    }
    /// Which of the key's secrets was presented.
    pub fn version(&self) -> u32 {
        self.version
    }
    /// Which of two secrets it was, where the older one works until callers have left it.
    pub fn shown(&self) -> Option<SecretShown> {
        self.shown
    }
    /// Narrowing, networks, limit and metadata of the key, if it has any.
    pub fn extras(&self) -> Option<&KeyExtras> {
        self.extras.as_deref()
    }
}

impl Principal {
    /// The key principal, unless anonymous.
    pub fn key(&self) -> Option<&KeyPrincipal> {
        match self {
            Self::Anonymous => None,
            Self::Key(key) => Some(key),
        }
    }
}
