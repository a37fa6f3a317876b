//! The vault's opened values, as the gateway may ask for them.

use super::{
    delta::SealedVersion,
    marks::Marks,
    tokens::{Fetched, InForce, Wanted},
};
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
use credentialflow_vault::{SealContext, Sealed, Vault, VaultError, access_token::AccessToken};
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
    /// Versions that were replaced and still work.
    previous: HashMap<Name, Vec<u32>>,
    /// The access tokens that requests carry, each by the version it was fetched with.
    tokens: HashMap<Name, BTreeMap<u32, Arc<AccessToken>>>,
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
        self.previous.remove(&name);
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
        self.previous.entry(name.clone()).or_default().push(sealed.version);
        match open(&name, sealed, vault) {
            Ok(value) => self.marks.add(&name, sealed.version, &value),
            Err(error) => {
                tracing::debug!(credential = %name, version = sealed.version, %error, "a previous version does not open");
            }
        }
    }

    /// Takes in access tokens. One whose version works no more is dropped: it was revoked meanwhile.
    pub fn put_tokens(&mut self, fetched: Vec<Fetched>) {
        let now: Timestamp = SystemTime::now().into();
        for (name, version, token) in fetched {
            if self.works(&name, version) {
                self.marks.add_token(&name, version, &token, now);
                self.tokens.entry(name).or_default().insert(version, token);
            }
        }
    }

    /// Takes over the access tokens of these credentials from what was in force before, where they were fetched with the
    /// same value and end no sooner than what is here.
    pub fn keep_tokens_of(&mut self, old: &Self, names: &[Name]) {
        let mut kept = Vec::new();
        for (name, version, token) in names
            .iter()
            .filter_map(|name| old.tokens.get_key_value(name))
            .flat_map(|(name, of_name)| of_name.iter().map(move |(version, token)| (name, *version, token)))
        {
            let same = old.value_of(name, version).zip(self.value_of(name, version));
            let here = self.tokens.get(name).and_then(|of_name| of_name.get(&version));
            let newer = here.is_none_or(|here| here.expires < token.expires);
            if newer && same.is_some_and(|(before, now)| before.expose() == now.expose()) {
                kept.push((name.clone(), version, token.clone()));
            }
        }
        self.put_tokens(kept);
    }

    /// The value of a version that is in use or gets a share.
    fn value_of(&self, name: &Name, version: u32) -> Option<&SecretValue> {
        let all = [self.opened.get(name), self.canaries.get(name)];
        all.into_iter().flatten().find(|(of, _)| *of == version).map(|(_, value)| &**value)
    }

    /// Forgets the access tokens of versions that work no more. To be called when versions were taken in.
    pub fn end_tokens(&mut self) {
        let mut tokens = std::mem::take(&mut self.tokens);
        for (name, of_name) in &mut tokens {
            of_name.retain(|version, _| self.works(name, *version));
        }
        tokens.retain(|_, of_name| !of_name.is_empty());
        self.marks.keep_tokens(|name, version| tokens.get(name).is_some_and(|of_name| of_name.contains_key(&version)));
        self.tokens = tokens;
    }

    fn works(&self, name: &Name, version: u32) -> bool {
        self.version(name.as_str()) == Some(version)
            || self.canaries.get(name).is_some_and(|(canary, _)| *canary == version)
            || self.previous.get(name).is_some_and(|previous| previous.contains(&version))
    }

    /// The access token that requests carry: of the version in use, or of the one before until that one has a token.
    fn token(&self, name: &Name) -> Option<(u32, &Arc<AccessToken>)> {
        let (of_name, current) = (self.tokens.get(name)?, self.version(name.as_str())?);
        of_name.range(..=current).next_back().map(|(version, token)| (*version, token))
    }

    /// Which versions access tokens are to be fetched with, and which have one.
    pub fn tokens(&self, declared: &[Credential]) -> InForce {
        let now: Timestamp = SystemTime::now().into();
        let held = self.tokens.iter().flat_map(|(name, of)| of.keys().map(|version| (name.clone(), *version)));
        let mut in_force = InForce { wanted: Vec::new(), held: held.collect() };
        for credential in declared.iter().filter(|c| c.engine.fetches_tokens() && c.expires.is_none_or(|at| at > now)) {
            let versions = [self.opened.get(&credential.name), self.canaries.get(&credential.name)];
            for (version, value) in versions.into_iter().flatten() {
                let token = self.tokens.get(&credential.name).and_then(|of| of.get(version)).cloned();
                let (credential, value) = (credential.clone(), value.clone());
                in_force.wanted.push(Wanted { credential, version: *version, value, token });
            }
        }
        in_force
    }

    /// What new requests carry, and its version: the value, or an access token that was fetched with it.
    pub fn carried(&self, credential: &Credential) -> Option<(u32, Arc<SecretValue>)> {
        if credential.engine.fetches_tokens() {
            return self.token(&credential.name).map(|(version, token)| (version, token.value.clone()));
        }
        self.opened.get(&credential.name).cloned()
    }

    /// The version whose value or access token new requests carry.
    pub fn version_carried(&self, name: &str) -> Option<u32> {
        let of_token = self.tokens.get_key_value(name).and_then(|(name, _)| self.token(name));
        of_token.map(|(version, _)| version).or_else(|| self.version(name))
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
    /// When its access token was obtained, in microseconds; 0 where it has none.
    renewal: i64,
    /// The slot of the version that gets a share, and how many of a hundred requests those are.
    canary: Option<(CredentialSlot, u8)>,
}

impl Credentials {
    /// Every declared credential, with its current value if it has one.
    pub fn new(declared: &[Credential], values: &Values) -> Self {
        let of_token = |c: &Credential, version: u32, token: Option<&Arc<AccessToken>>| Slot {
            name: c.name.shared(),
            version,
            value: token.map(|token| token.value.clone()),
            expires: token.map(|token| token.expires).into_iter().chain(c.expires).min(),
            renewal: token.map_or(0, |token| token.obtained.micros()),
            canary: None,
        };
        let slot = |c: &Credential| {
            if c.engine.fetches_tokens() {
                // Without a token nothing is sent: never what it is fetched with.
                let (version, token) = values.token(&c.name).unzip();
                let version = version.or_else(|| values.version(c.name.as_str()));
                return of_token(c, version.unwrap_or(0), token);
            }
            // What signs certificates never goes into a request, nor does what callers show us.
            let injected = !matches!(c.engine, Engine::CertificateAuthority | Engine::Key);
            let value = values.opened.get(&c.name).filter(|_| injected).map(|(_, value)| value.clone());
            let version = values.version(c.name.as_str()).unwrap_or(0);
            Slot { name: c.name.shared(), version, value, expires: c.expires, renewal: 0, canary: None }
        };
        let mut slots: Vec<Slot> = declared.iter().map(slot).collect();
        let names = slots.iter().enumerate().map(|(i, s)| (s.name.clone(), i as CredentialSlot)).collect();
        for (place, c) in declared.iter().enumerate() {
            let rule = c.rotate.as_ref().filter(|_| !c.engine.is_certificate()).and_then(|rule| rule.canary);
            let Some((rule, (version, value))) = rule.zip(values.canaries.get(&c.name)) else { continue };
            let shared = if c.engine.fetches_tokens() {
                let token = values.tokens.get(&c.name).and_then(|of| of.get(version));
                // It gets its share when it has a token.
                token.map(|token| of_token(c, *version, Some(token)))
            } else {
                let (name, value) = (c.name.shared(), Some(value.clone()));
                Some(Slot { name, version: *version, value, expires: c.expires, renewal: 0, canary: None })
            };
            if let Some(shared) = shared {
                slots[place].canary = Some((slots.len() as CredentialSlot, rule.percent));
                slots.push(shared);
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

    fn renewal(&self, slot: CredentialSlot) -> i64 {
        self.slots.get(slot as usize).map_or(0, |s| s.renewal)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use credentialflow_model::Actor;
    use credentialflow_store::Store;
    use credentialflow_vault::SealInput;

    async fn vault(dir: &std::path::Path) -> Vault {
        let store = Store::connect(&format!("sqlite:{}", dir.join("state.db").display())).await.unwrap();
        store.migrate().await.unwrap();
        let input = SealInput::Environment(SecretValue::from("a passphrase of a test"));
        Vault::init(&store, &Actor::operator(), input).await.unwrap().vault
    }

    fn sealed(vault: &Vault, version: u32) -> SealedVersion {
        let context = SealContext::new(&name(), version);
        let value = SecretValue::from(format!("the-long-lived-secret-{version}"));
        SealedVersion { version, sealed: vault.seal_value(&context, &value).unwrap().into_bytes() }
    }

    fn name() -> Name {
        "entra".parse().unwrap()
    }

    fn token(text: &str, seconds: u64) -> Arc<AccessToken> {
        let now = SystemTime::now();
        Arc::new(AccessToken {
            value: Arc::new(SecretValue::from(text)),
            obtained: now.into(),
            expires: (now + std::time::Duration::from_secs(seconds)).into(),
        })
    }

    fn declared() -> Vec<Credential> {
        let one = serde_json::json!({
            "name": "entra", "engine": "oauth_token", "token": { "url": "https://a/token", "client_id": "gw" },
            "rotate": { "canary": { "percent": 10 } }
        });
        vec![serde_json::from_value(one).unwrap()]
    }

    /// What requests carry: version and value.
    fn carried(values: &Values) -> (u32, Option<String>) {
        let slots = Credentials::new(&declared(), values).slots;
        let text = |value: &Arc<SecretValue>| value.expose_str().unwrap().to_owned();
        (slots[0].version, slots[0].value.as_ref().map(text))
    }

    #[tokio::test]
    async fn requests_carry_tokens_and_never_what_these_are_fetched_with() {
        let dir = tempfile::tempdir().unwrap();
        let vault = vault(dir.path()).await;
        let mut values = Values::default();
        values.put(name(), Some(sealed(&vault, 1)), &vault);
        assert_eq!(carried(&values), (1, None), "there is no token yet");
        assert_eq!(values.tokens(&declared()).wanted.len(), 1);
        values.put_tokens(vec![(name(), 1, token("first", 60))]);
        assert_eq!(carried(&values), (1, Some("first".into())));
        let before = Credentials::new(&declared(), &values).renewal(0);
        std::thread::sleep(std::time::Duration::from_millis(2));
        values.put_tokens(vec![(name(), 1, token("second", 60))]);
        assert_eq!(carried(&values), (1, Some("second".into())));
        assert!(Credentials::new(&declared(), &values).renewal(0) > before);

        // A token that came too late: its version was revoked while it was fetched.
        values.put(name(), None, &vault);
        values.end_tokens();
        values.put_tokens(vec![(name(), 1, token("late", 60))]);
        assert_eq!(carried(&values), (0, None));
        let in_force = values.tokens(&declared());
        assert!(in_force.wanted.is_empty() && in_force.held.is_empty());
    }

    #[tokio::test]
    async fn another_history_keeps_the_tokens_of_values_that_are_the_same_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let vault = vault(dir.path()).await;
        let mut old = Values::default();
        old.put(name(), Some(sealed(&vault, 1)), &vault);
        old.put_tokens(vec![(name(), 1, token("good", 60))]);
        let mut fresh = Values::default();
        fresh.put(name(), Some(sealed(&vault, 1)), &vault);
        fresh.keep_tokens_of(&old, &[]);
        assert_eq!(carried(&fresh), (1, None), "it is declared otherwise");
        fresh.keep_tokens_of(&old, &[name()]);
        assert_eq!(carried(&fresh), (1, Some("good".into())));
        fresh.put_tokens(vec![(name(), 1, token("newer", 90))]);
        fresh.keep_tokens_of(&old, &[name()]);
        assert_eq!(carried(&fresh), (1, Some("newer".into())));
        // The same number for another value, and a version that is not there.
        let value = vault.seal_value(&SealContext::new(&name(), 1), &SecretValue::from("another")).unwrap();
        let mut other = Values::default();
        other.put(name(), Some(SealedVersion { version: 1, sealed: value.into_bytes() }), &vault);
        other.keep_tokens_of(&old, &[name()]);
        assert_eq!(carried(&other), (1, None));
        other.put(name(), Some(sealed(&vault, 2)), &vault);
        other.keep_tokens_of(&old, &[name()]);
        assert_eq!(carried(&other), (2, None));
    }

    #[tokio::test]
    async fn after_a_rotation_the_old_token_serves_until_there_is_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let vault = vault(dir.path()).await;
        let mut values = Values::default();
        values.put(name(), Some(sealed(&vault, 1)), &vault);
        values.put_tokens(vec![(name(), 1, token("of-one", 60))]);
        // A share of the traffic begins when its version has a token.
        let slots = |values: &Values| Credentials::new(&declared(), values).slots.len();
        values.put(name(), Some(sealed(&vault, 1)), &vault);
        values.put_canary(name(), sealed(&vault, 2), &vault);
        values.end_tokens();
        assert_eq!((slots(&values), values.tokens(&declared()).wanted.len()), (1, 2));
        values.put_tokens(vec![(name(), 2, token("of-two", 60))]);
        assert_eq!((slots(&values), carried(&values)), (2, (1, Some("of-one".into()))));
        // Promoted, on a node that has no token of it.
        values.tokens.get_mut(&name()).unwrap().remove(&2);
        values.put(name(), Some(sealed(&vault, 2)), &vault);
        values.put_previous(name(), &sealed(&vault, 1), &vault);
        values.end_tokens();
        assert_eq!(carried(&values), (1, Some("of-one".into())));
        assert_eq!(values.version_carried("entra"), Some(1), "the rotation is told that it is still in use");
        values.put_tokens(vec![(name(), 2, token("of-two", 60))]);
        assert_eq!((carried(&values), values.version_carried("entra")), ((2, Some("of-two".into())), Some(2)));
        assert!(values.tokens(&declared()).held.contains(&(name(), 1)), "what runs still carries it");
        values.put(name(), Some(sealed(&vault, 2)), &vault);
        values.end_tokens();
        assert!(!values.tokens(&declared()).held.contains(&(name(), 1)));
        assert_eq!(carried(&values), (2, Some("of-two".into())));
    }

    #[tokio::test]
    async fn a_token_is_not_carried_beyond_its_end_nor_its_credentials() {
        let dir = tempfile::tempdir().unwrap();
        let vault = vault(dir.path()).await;
        let mut values = Values::default();
        values.put(name(), Some(sealed(&vault, 1)), &vault);
        let one = token("first", 60);
        values.put_tokens(vec![(name(), 1, one.clone())]);
        let mut credentials = declared();
        assert_eq!(Credentials::new(&credentials, &values).slots[0].expires, Some(one.expires));
        let sooner = Timestamp::from_secs(one.expires.secs() - 30);
        credentials[0].expires = Some(sooner);
        assert_eq!(Credentials::new(&credentials, &values).slots[0].expires, Some(sooner));
    }
}
