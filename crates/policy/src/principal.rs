//! Who is calling in this request.

use crate::{KeyExtras, KeyTable, LiveBudget, LiveQuota};
use credentialflow_model::{KeyId, Timestamp, usage::SecretShown};
use std::{net::IpAddr, sync::Arc};

/// The authenticated caller, or nobody.
#[derive(Clone, Debug)]
pub enum Principal {
    /// Nobody was asked; only on routes that say so (`authenticate: [none]`).
    Anonymous,
    /// An application, by one of its keys.
    Key(KeyPrincipal),
}

/// A caller that presented a valid key. Made only by [`crate::ApiKey::authenticate`], by [`crate::pass::open`] for
/// what such a caller was given, and for questions about calls that nobody makes by [`Principal::asked_about`].
#[derive(Clone, Debug)]
pub struct KeyPrincipal {
    pub(crate) application: u32,
    pub(crate) application_name: Arc<str>,
    pub(crate) key: KeyId,
    pub(crate) version: u32,
    pub(crate) shown: Option<SecretShown>,
    pub(crate) extras: Option<Arc<KeyExtras>>,
    /// The keys that it comes from, the nearest first.
    pub(crate) ancestors: Vec<Ancestor>,
}

/// A key that the presented one comes from.
#[derive(Clone, Debug)]
pub(crate) struct Ancestor {
    pub key: KeyId,
    /// Its secret that was in use, or was shown, when the key below it was issued.
    pub version: u32,
    pub extras: Option<Arc<KeyExtras>>,
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
    /// The keys that it comes from, the nearest first.
    pub fn ancestors(&self) -> impl Iterator<Item = KeyId> {
        self.ancestors.iter().map(|above| above.key)
    }

    /// Narrowing, networks, limit and metadata of the key itself, if it has any.
    pub fn extras(&self) -> Option<&KeyExtras> {
        self.extras.as_deref()
    }

    /// What the key itself and those that it comes from have, the key itself first, with whose it is and which secret of
    /// theirs counts. All of them narrow.
    pub(crate) fn all_extras(&self) -> impl Iterator<Item = (KeyId, u32, &KeyExtras)> {
        let own = self.extras.as_deref().map(|extras| (self.key, self.version, extras));
        let above = self.ancestors.iter().filter_map(|of| Some((of.key, of.version, of.extras.as_deref()?)));
        own.into_iter().chain(above)
    }

    /// Whether the key and those that it comes from allow this route; its application must allow it too.
    pub fn allows_route(&self, name: &str) -> bool {
        self.all_extras().all(|(_, _, extras)| extras.allows_route(name))
    }

    /// Whether the key and those that it comes from allow this model; its application must allow it too.
    pub fn allows_model(&self, name: &str) -> bool {
        self.all_extras().all(|(_, _, extras)| extras.allows_model(name))
    }

    /// Whether the key and those that it comes from allow this prompt; its application must allow it too.
    pub fn allows_prompt(&self, name: &str) -> bool {
        self.all_extras().all(|(_, _, extras)| extras.allows_prompt(name))
    }

    /// Whether it may be used from this address.
    pub fn allows_source(&self, source: IpAddr) -> bool {
        self.all_extras().all(|(_, _, extras)| extras.allows_source(source))
    }

    /// Whether a secret that leaked let it in, or one that it comes from, and may not be used from this address any more.
    pub fn is_held_back(&self, source: IpAddr) -> bool {
        self.all_extras().any(|(_, version, extras)| extras.is_held_back(version, source))
    }

    /// Whether it is so from every address.
    pub fn is_held_back_everywhere(&self) -> bool {
        self.all_extras().any(|(_, version, extras)| extras.is_held_back_everywhere(version))
    }

    /// The budgets that its model calls are charged to first: its own, then those of the keys that it comes from.
    pub fn budgets(&self) -> impl Iterator<Item = &Arc<LiveBudget>> {
        self.all_extras().flat_map(|(_, _, extras)| extras.budgets())
    }

    /// The limits of tokens and of requests at once: its own, then those of the keys that it comes from.
    pub fn quotas(&self) -> impl Iterator<Item = &Arc<LiveQuota>> {
        self.all_extras().filter_map(|(_, _, extras)| extras.quota())
    }

    /// Who uses it: its actor, or its own name where it comes from another key and names none.
    pub fn actor(&self) -> Option<&str> {
        self.extras.as_ref()?.actor()
    }

    /// Whom its calls are for: as it says, or the nearest key that it comes from.
    pub fn subject(&self) -> Option<&str> {
        self.all_extras().find_map(|(_, _, extras)| extras.subject())
    }

    /// A fact for header rules: its own, or of the nearest key that it comes from.
    pub fn metadata(&self, name: &str) -> Option<&str> {
        self.all_extras().find_map(|(_, _, extras)| extras.metadata(name))
    }
}

impl Principal {
    /// Whoever would call with this key, or with any key of this application that narrows nothing; nobody has proved to be
    /// it, so it is for questions about calls alone, never for a request. `None` where there is no such caller now.
    pub fn asked_about(
        table: &KeyTable,
        application: Option<&str>,
        key: Option<KeyId>,
        now: Timestamp,
    ) -> Option<Self> {
        let slot = application.map(|name| table.applications().slot(name));
        let (Some(id), now) = (key, now.secs()) else {
            let Some(slot) = slot else { return Some(Self::Anonymous) };
            let application_name = table.applications().name(slot?)?.clone();
            let (key, version) = (KeyId::from_bits(0), 0);
            let principal = KeyPrincipal {
                application: slot?,
                application_name,
                key,
                version,
                shown: None,
                extras: None,
                ancestors: vec![],
            };
            return Some(Self::Key(principal));
        };
        let entry = table.entry(id).filter(|entry| entry.is_timely(now))?;
        let secret = entry.secrets().find(|secret| secret.is_timely(now))?;
        if slot.is_some_and(|slot| slot != Some(entry.application)) {
            return None;
        }
        Some(Self::Key(KeyPrincipal {
            application: entry.application,
            application_name: table.applications().name(entry.application)?.clone(),
            key: id,
            version: secret.version,
            shown: None,
            extras: entry.extras.clone(),
            ancestors: table.ancestors(entry, now)?,
        }))
    }

    /// The key principal, unless anonymous.
    pub fn key(&self) -> Option<&KeyPrincipal> {
        match self {
            Self::Anonymous => None,
            Self::Key(key) => Some(key),
        }
    }
}
