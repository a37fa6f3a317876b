//! The vault's opened values, as the gateway may ask for them.

use super::{delta::SealedVersion, marks::Marks};
use credentialflow_admin::ports::UnavailableCredential;
use credentialflow_certificates::Bundle;
use credentialflow_gateway::{
    Permit,
    ports::{CredentialSlot, CredentialSource, CredentialUnavailable},
};
use credentialflow_model::{
    Name, SecretValue, Timestamp,
    resource::{Credential, Engine},
};
use credentialflow_policy::ValueMarks;
use credentialflow_vault::{SealContext, Sealed, Vault, VaultError};
use rustls_pki_types::CertificateDer;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::SystemTime,
};

/// The current version of every credential: opened, or known not to open. One that does not open makes
/// only its own credential unavailable.
#[derive(Default)]
pub(super) struct Values {
    opened: HashMap<Name, (u32, Arc<SecretValue>)>,
    /// Versions that get a share of the traffic.
    canaries: HashMap<Name, (u32, Arc<SecretValue>)>,
    unopened: BTreeMap<Name, Unopened>,
    /// What tells the values of all versions that work.
    marks: Marks,
}

struct Unopened {
    sealed: SealedVersion,
    reason: String,
    /// Whether the keyring of this process may be older than the value.
    key_missing: bool,
}

impl Values {
    /// Takes a current version in; `None`: there is none any more.
    pub fn put(&mut self, name: Name, version: Option<SealedVersion>, vault: &Vault) {
        self.opened.remove(&name);
        self.canaries.remove(&name);
        self.marks.forget(&name);
        let known = self.unopened.remove(&name);
        let Some(sealed) = version else { return };
        match open(&name, &sealed, vault) {
            Ok(value) => {
                self.marks.add(&name, sealed.version, &value);
                self.opened.insert(name, (sealed.version, Arc::new(value)));
            }
            Err(error) => {
                let reason = error.to_string();
                if known.is_none_or(|k| k.sealed.version != sealed.version || k.reason != reason) {
                    tracing::warn!(
                        credential = %name, version = sealed.version, reason,
                        "the current version of a credential does not open: requests that need it are refused with \
                         credential_unavailable; rotate it to give it a new value"
                    );
                }
                let key_missing = matches!(error, VaultError::UnknownKey(_) | VaultError::Sealed);
                self.unopened.insert(name, Unopened { sealed, reason, key_missing });
            }
        }
    }

    /// Takes in a version that gets a share of the traffic, after the current one. One that does not open
    /// gets none: all of the traffic stays with the current version.
    pub fn put_canary(&mut self, name: Name, sealed: SealedVersion, vault: &Vault) {
        match open(&name, &sealed, vault) {
            Ok(value) => {
                self.marks.add(&name, sealed.version, &value);
                self.canaries.insert(name, (sealed.version, Arc::new(value)));
            }
            Err(error) => {
                tracing::warn!(credential = %name, version = sealed.version, %error, "a new version does not open");
            }
        }
    }

    /// Takes in a version that was replaced and still works, after the current one. It is only recognised.
    pub fn put_previous(&mut self, name: Name, sealed: &SealedVersion, vault: &Vault) {
        match open(&name, sealed, vault) {
            Ok(value) => self.marks.add(&name, sealed.version, &value),
            Err(error) => {
                tracing::debug!(credential = %name, version = sealed.version, %error, "a previous version does not open");
            }
        }
    }

    /// What tells the values of all versions that work, of credentials that are looked for.
    pub fn marks(&self, declared: &[Credential]) -> Arc<ValueMarks> {
        // A key of ours is told by its form, and callers show it by right.
        let left_out = |c: &&Credential| !c.find_in_requests || c.engine == Engine::Key;
        self.marks.made(declared.iter().filter(left_out).map(|c| &c.name))
    }

    /// Tries again what did not open. Answers whether anything does now.
    pub fn try_again(&mut self, vault: &Vault) -> bool {
        let before = self.unopened.len();
        for (name, Unopened { sealed, .. }) in self.unopened.iter().map(|(n, u)| (n.clone(), u)).collect::<Vec<_>>() {
            if let Ok(value) = open(&name, sealed, vault) {
                tracing::info!(credential = %name, version = sealed.version, "the credential opens again");
                self.marks.add(&name, sealed.version, &value);
                self.opened.insert(name, (sealed.version, Arc::new(value)));
            }
        }
        self.unopened.retain(|name, _| !self.opened.contains_key(name));
        self.unopened.len() < before
    }

    /// Whether a newer keyring, or an unsealed vault, may open what does not open.
    pub fn lacks_a_key(&self) -> bool {
        self.unopened.values().any(|u| u.key_missing)
    }

    /// What does not open, by name.
    pub fn unavailable(&self) -> Vec<UnavailableCredential> {
        let told = |(name, u): (&Name, &Unopened)| UnavailableCredential {
            credential: name.to_string(),
            version: u.sealed.version,
            reason: u.reason.clone(),
        };
        self.unopened.iter().map(told).collect()
    }

    /// The public part of what is in force, if it is a certificate that opens.
    pub fn certificate(&self, name: &Name) -> Option<(u32, Bundle)> {
        let (version, value) = self.opened.get(name)?;
        Some((*version, Bundle::read(value)?))
    }

    /// A value in force, for asking an upstream outside a request: whether another credential works there.
    pub fn value(&self, name: &Name) -> Option<Arc<SecretValue>> {
        self.opened.get(name).map(|(_, value)| value.clone())
    }

    /// The version of a credential that is in force, whether it opens or not.
    pub fn version(&self, name: &str) -> Option<u32> {
        let opened = self.opened.get(name).map(|(version, _)| *version);
        opened.or_else(|| self.unopened.get(name).map(|u| u.sealed.version))
    }
}

fn open(name: &Name, version: &SealedVersion, vault: &Vault) -> Result<SecretValue, VaultError> {
    let sealed = Sealed::from_bytes(version.sealed.clone())?;
    vault.open_value(&SealContext::new(name, version.version), &sealed)
}

/// The current values of one snapshot.
pub(super) struct Credentials {
    /// Declared ones first, then versions that get a share.
    slots: Vec<Slot>,
    /// What certificate authorities are trusted by.
    authorities: HashMap<Arc<str>, CertificateDer<'static>>,
    names: HashMap<Arc<str>, CredentialSlot>,
}

struct Slot {
    name: Arc<str>,
    version: u32,
    value: Option<Arc<SecretValue>>,
    expires: Option<Timestamp>,
    /// The slot of the version that gets a share, and how many of a hundred requests those are.
    canary: Option<(CredentialSlot, u8)>,
}

impl Credentials {
    /// Every declared credential, with its current value if it has one.
    pub fn new(declared: &[Credential], values: &Values) -> Self {
        let slot = |c: &Credential| {
            // What signs certificates never goes into a request, nor does what callers show us.
            let injected = !matches!(c.engine, Engine::CertificateAuthority | Engine::Key);
            let value = values.opened.get(&c.name).filter(|_| injected).map(|(_, value)| value.clone());
            let version = values.version(c.name.as_str()).unwrap_or(0);
            Slot { name: c.name.shared(), version, value, expires: c.expires, canary: None }
        };
        let mut slots: Vec<Slot> = declared.iter().map(slot).collect();
        let names = slots.iter().enumerate().map(|(i, s)| (s.name.clone(), i as CredentialSlot)).collect();
        for (place, c) in declared.iter().enumerate() {
            let rule = c.rotate.as_ref().filter(|_| !c.engine.is_certificate()).and_then(|rule| rule.canary);
            if let Some((rule, (version, value))) = rule.zip(values.canaries.get(&c.name)) {
                slots[place].canary = Some((slots.len() as CredentialSlot, rule.percent));
                let (name, value) = (c.name.shared(), Some(value.clone()));
                slots.push(Slot { name, version: *version, value, expires: c.expires, canary: None });
            }
        }
        let authority = |c: &&Credential| c.engine == Engine::CertificateAuthority;
        let trusted = |c: &Credential| {
            let (_, bundle) = values.certificate(&c.name)?;
            Some((c.name.shared(), bundle.leaf().clone()))
        };
        let authorities = declared.iter().filter(authority).filter_map(trusted).collect();
        Self { slots, authorities, names }
    }
}

impl CredentialSource for Credentials {
    fn slot(&self, name: &str) -> Option<CredentialSlot> {
        self.names.get(name).copied()
    }

    fn len(&self) -> usize {
        self.slots.len()
    }

    fn describe(&self, slot: CredentialSlot) -> Option<(&Arc<str>, u32)> {
        self.slots.get(slot as usize).map(|s| (&s.name, s.version))
    }

    fn canary(&self, slot: CredentialSlot) -> Option<(CredentialSlot, u8)> {
        self.slots.get(slot as usize)?.canary
    }

    fn authority(&self, name: &str) -> Vec<CertificateDer<'static>> {
        self.authorities.get(name).cloned().into_iter().collect()
    }

    fn open<'a>(&'a self, _: &Permit, slot: CredentialSlot) -> Result<&'a SecretValue, CredentialUnavailable> {
        let slot = self.slots.get(slot as usize).ok_or(CredentialUnavailable)?;
        if slot.expires.is_some_and(|at| at <= SystemTime::now().into()) {
            return Err(CredentialUnavailable);
        }
        slot.value.as_deref().ok_or(CredentialUnavailable)
    }
}
