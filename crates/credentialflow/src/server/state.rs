//! The state the gateway runs, built from deltas alone: from the store, or from the local copy.

use super::{
    credentials::{Credentials, Values},
    delta::{Delta, KeyData},
    tokens::{Fetched, InForce},
};
use credentialflow_admin::ports::UnavailableCredential;
use credentialflow_certificates::{MOST_WATCHED, PlaceKind, Watch, Watched};
use credentialflow_gateway::{Snapshot, net::tls, snapshot};
use credentialflow_llm::provider::{self, DefaultInjector, Dialect, Provider};
use credentialflow_model::{
    KeyId, Name, ResourceSet, SecretValue,
    resource::{
        Application, Credential, GuardrailSet, HeaderInject, Inject, Key, Kind, LeakResponse, Model, Prompt, Resource,
        Route, SecretStore, System, Team, Upstream,
    },
};
use credentialflow_policy::{ApiKey, Book, KeyChange, KeyTable, Peppers, RateTable};
use credentialflow_vault::Vault;
use rustls::ClientConfig;
use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    sync::Arc,
};

/// Resources, keys and opened credentials at one place of the change feed.
pub(super) struct State {
    pub seq: i64,
    set: ResourceSet,
    keys: KeyTable,
    /// The budgets of this process; those of keys are entered here.
    budgets: Arc<Book>,
    /// Key ids by a hash of the key's name: a key that is gone is known only by its name.
    ids: HashMap<u64, KeyId>,
    /// Of keys that come from others: which.
    parents: HashMap<KeyId, KeyId>,
    values: Values,
    api_key: ApiKey,
    /// Whether the vault's settings changed and could not be taken in yet.
    settings_due: bool,
    /// How often each model was written since this process began.
    models_written: HashMap<Name, u64>,
    /// A place in the audit chain that is not before anything taken in, and its hash.
    pub mark: Option<(u64, [u8; 32])>,
}

/// Where and how a new version of a credential is tried.
pub(super) struct VerifyAt {
    /// The upstream that is asked.
    pub upstream: Upstream,
    /// Path and query.
    pub path: String,
    /// TLS as requests have it, or why there is none.
    pub tls: Result<Arc<ClientConfig>, String>,
}

/// How a provider of models is asked something outside a request.
pub(super) struct Reach {
    /// Where it is.
    pub upstream: Upstream,
    /// How the value is put in.
    pub inject: Inject,
    /// The credential.
    pub credential: Name,
    /// Its version.
    pub version: u32,
    /// What requests carry of it.
    pub value: Arc<SecretValue>,
    /// TLS as requests have it, or why there is none.
    pub tls: Result<Arc<ClientConfig>, String>,
    /// Whether it speaks Anthropic's Messages.
    pub speaks_messages: bool,
}

/// What taking a delta in led to.
#[derive(Default)]
pub(super) struct Taken {
    /// Keys whose running requests are to be cut.
    pub revoked: Vec<KeyId>,
    /// What could not be taken in. Everything else was; the place in the feed stays, so that the delta
    /// is read again and nothing in it is passed over.
    pub problem: Option<anyhow::Error>,
}

/// Largest model call; it is held in memory.
const MAX_MODEL_BODY: u64 = 32 << 20;

impl State {
    /// Nothing yet.
    pub fn empty(vault: &Vault, budgets: &Arc<Book>) -> anyhow::Result<Self> {
        Ok(Self {
            seq: 0,
            set: ResourceSet::default(),
            keys: KeyTable::empty(),
            budgets: budgets.clone(),
            ids: HashMap::new(),
            parents: HashMap::new(),
            values: Values::default(),
            api_key: api_key(vault)?,
            settings_due: false,
            models_written: HashMap::new(),
            mark: None,
        })
    }

    /// Takes a delta in. Keys come first: whatever else is damaged, no revocation waits for it. A
    /// credential whose value does not open is unavailable and holds nothing else up.
    pub fn apply(&mut self, delta: Delta, vault: &Vault) -> Taken {
        // While one process takes over from another, both write the local copy; what the state has already
        // had must not come back over what followed.
        if !delta.whole && delta.seq != 0 && delta.seq <= self.seq {
            return Taken::default();
        }
        if delta.whole {
            match Self::empty(vault, &self.budgets) {
                // What is known of caches goes on: they do not begin anew.
                Ok(empty) => {
                    let models_written = std::mem::take(&mut self.models_written);
                    *self = Self { models_written, ..empty };
                }
                Err(error) => return Taken { problem: Some(error), ..Taken::default() },
            }
        }
        // Of a key that goes on with another secret, whatever runs is cut: which secret let it in is not kept.
        let withdrawn = delta.withdrawn.iter().filter(|(id, version)| self.keys.has_version(*id, *version));
        let mut revoked: Vec<KeyId> = withdrawn.map(|(id, _)| *id).collect();
        revoked.extend(delta.revoked);
        revoked.extend(self.put_keys(delta.keys));
        revoked.extend(self.below(&revoked));
        revoked.sort_unstable();
        revoked.dedup();
        let mut taken = Taken { revoked, problem: None };
        if delta.settings {
            self.settings_due = true;
            self.renew(vault);
        }
        for (kind, name, body) in delta.resources {
            if kind == Kind::Models {
                *self.models_written.entry(name.clone()).or_default() += 1;
            }
            if let Err(error) = self.put(kind, &name, body.as_deref()) {
                let told = error.context(format!("{}/{name} cannot be read", kind.as_str()));
                taken.problem.get_or_insert(told);
            }
        }
        for (name, version) in delta.credentials {
            self.values.put(name, version, vault);
        }
        for (name, version) in delta.canaries {
            self.values.put_canary(name, version, vault);
        }
        for (name, version) in delta.previous {
            self.values.put_previous(name, &version, vault);
        }
        self.values.end_tokens();
        if taken.problem.is_none() {
            self.seq = delta.seq;
            self.mark = delta.mark.or(self.mark);
        }
        taken
    }

    /// Takes in what the vault could not give before: newer settings, values that did not open. Answers
    /// whether anything changed.
    pub fn renew(&mut self, vault: &Vault) -> bool {
        let mut changed = self.values.try_again(vault);
        if self.settings_due
            && let Ok(api_key) = api_key(vault)
        {
            self.api_key = api_key;
            self.settings_due = false;
            changed = true;
        }
        changed
    }

    /// The vault has newer settings than those taken in.
    pub fn expect_settings(&mut self) {
        self.settings_due = true;
    }

    /// Whether newer settings of the vault, or an unsealed one, may make more of the state usable.
    pub fn needs_vault(&self) -> bool {
        self.settings_due || self.values.lacks_a_key()
    }

    /// Credentials whose current version does not open.
    pub fn unavailable(&self) -> Vec<UnavailableCredential> {
        self.values.unavailable()
    }

    /// The version of a credential that is in force. Of one with which access tokens are fetched: whose token is.
    pub fn version_in_force(&self, credential: &str) -> Option<u32> {
        self.values.version_carried(credential)
    }

    /// Which access tokens are in force, and which are wanted.
    pub fn tokens(&self) -> InForce {
        self.values.tokens(&self.set.credentials)
    }

    /// Takes over the access tokens of a state of another history, of what is the same in both: that they work is not
    /// in the database, and what was not revoked in this history is not to stand without.
    pub fn keep_tokens_of(&mut self, old: &Self) {
        let same: Vec<Name> = self
            .set
            .credentials
            .iter()
            .filter(|fresh| {
                let before = old.declared(&fresh.name);
                before.is_some_and(|before| before.engine == fresh.engine && before.token == fresh.token)
            })
            .map(|fresh| fresh.name.clone())
            .collect();
        self.values.keep_tokens_of(&old.values, &same);
    }

    /// Takes in access tokens.
    pub fn put_tokens(&mut self, fetched: Vec<Fetched>) {
        self.values.put_tokens(fetched);
    }

    /// A credential as it is declared.
    pub fn declared(&self, credential: &Name) -> Option<&Credential> {
        self.set.credentials.iter().find(|c| c.name == *credential)
    }

    /// Keys that another state no longer has.
    pub fn keys_gone_in(&self, other: &Self) -> Vec<KeyId> {
        let kept: HashSet<KeyId> = other.ids.values().copied().collect();
        self.ids.values().copied().filter(|id| !kept.contains(id)).collect()
    }

    fn put_keys(&mut self, keys: Vec<(Name, Option<KeyData>)>) -> Vec<KeyId> {
        let mut revoked = Vec::new();
        let mut changes = Vec::with_capacity(keys.len());
        for (name, data) in keys {
            let hash = hashed(&name);
            match data.and_then(|data| data.into_record(&self.budgets)) {
                Some(record) => {
                    if let Some(old) = self.ids.insert(hash, record.id).filter(|old| *old != record.id) {
                        changes.push(KeyChange::Remove(old));
                        self.parents.remove(&old);
                        revoked.push(old);
                    }
                    match record.extras.as_ref().and_then(|extras| extras.parent()) {
                        Some(parent) => drop(self.parents.insert(record.id, parent.key)),
                        None => drop(self.parents.remove(&record.id)),
                    }
                    changes.push(KeyChange::Put(record));
                }
                None => {
                    if let Some(id) = self.ids.remove(&hash) {
                        self.parents.remove(&id);
                        changes.push(KeyChange::Remove(id));
                        revoked.push(id);
                    }
                }
            }
        }
        if !changes.is_empty() {
            self.keys = self.keys.with_changes(changes);
        }
        revoked
    }

    /// Keys that come from one of these that are gone: whatever runs with them is cut as well.
    fn below(&self, revoked: &[KeyId]) -> Vec<KeyId> {
        let gone: HashSet<KeyId> = revoked.iter().copied().filter(|id| !self.keys.contains(*id)).collect();
        if gone.is_empty() {
            return Vec::new();
        }
        let above = |key: &KeyId| {
            let chain = std::iter::successors(self.parents.get(key), |above| self.parents.get(*above));
            chain.take(Key::MOST_ANCESTORS).any(|above| gone.contains(above))
        };
        self.parents.keys().copied().filter(above).collect()
    }

    /// The running form of this state.
    pub fn compile(
        &self,
        epoch: u64,
        rates: &Arc<RateTable>,
        trust: &Arc<snapshot::Trust>,
        sandbox: Option<String>,
    ) -> Snapshot {
        let sources = snapshot::Sources {
            keys: self.keys.clone(),
            api_key: self.api_key.clone(),
            credentials: Arc::new(Credentials::new(&self.set.credentials, &self.values)),
            values: self.values.marks(&self.set.credentials),
            rates: rates.clone(),
            budgets: self.budgets.clone(),
            trust: trust.clone(),
            sandbox,
            max_model_body: MAX_MODEL_BODY,
            models_written: self.models_written.clone(),
        };
        Snapshot::compile(epoch, &self.set, sources)
    }

    /// Whether anything goes to the built-in sandbox.
    pub fn uses_sandbox(&self) -> bool {
        self.set.upstreams.iter().flat_map(|u| &u.endpoints).any(|e| e.starts_with("sandbox://"))
            || self.set.models.iter().flat_map(|m| &m.targets).any(|t| t.provider.as_str() == "sandbox")
    }

    /// Where and how a new version of a credential is tried: as the upstream says, or else as the provider of its models
    /// wants it.
    pub fn verify_rule(&self, credential: &Name) -> Option<VerifyAt> {
        let declared = self.declared(credential)?;
        let rule = declared.verify.as_ref()?;
        let mut upstream = self.set.upstreams.iter().find(|u| u.name == rule.upstream)?.clone();
        let tls = self.tls_towards(&upstream);
        let kind = upstream.provider.as_ref().and_then(|name| provider::find(name.as_str()));
        upstream.inject = upstream.inject.or_else(|| usual_inject(kind, declared));
        Some(VerifyAt { upstream, path: rule.path.clone(), tls })
    }

    /// How a provider is asked with this credential, or with that of its upstream.
    pub fn reach(&self, provider: &str, credential: Option<&str>) -> Option<Reach> {
        let declared = self.set.upstreams.iter().find(|u| u.provider.is_some() && *u.name.as_str() == *provider);
        let kind = provider::find(declared.and_then(|u| u.provider.as_ref()).map_or(provider, |name| name.as_str()));
        let upstream = match declared {
            Some(upstream) => upstream.clone(),
            None => built_in(provider, kind?.base_url()?)?,
        };
        let own = upstream.inject.as_ref();
        let name = credential.or_else(|| own?.credential().map(|name| name.as_str()))?;
        let credential = self.set.credentials.iter().find(|c| *c.name.as_str() == *name)?;
        let (version, value) = self.values.carried(credential)?;
        let inject = own.cloned().or_else(|| usual_inject(kind, credential));
        let tls = self.tls_towards(&upstream);
        let speaks_messages = kind.is_some_and(|kind| kind.dialect == Dialect::Anthropic);
        let credential = credential.name.clone();
        Some(Reach { inject: inject?, upstream, credential, version, value, tls, speaks_messages })
    }

    /// TLS as requests to this upstream have it: the same trust, the same certificate shown.
    fn tls_towards(&self, upstream: &Upstream) -> Result<Arc<ClientConfig>, String> {
        let settings = upstream.tls.clone().unwrap_or_default();
        let told = |error: tls::TlsError| error.to_string();
        let trusting = match &settings.ca {
            Some(authority) => {
                let (_, bundle) =
                    self.values.certificate(authority).ok_or("its certificate authority cannot be opened")?;
                tls::trusting_only(&[bundle.leaf().clone()])
            }
            None => tls::client_config(settings.ca_file.as_deref().map(Path::new)),
        };
        let trusting = trusting.map_err(told)?;
        let Some(name) = &settings.client_certificate else { return Ok(trusting) };
        let value = self.values.value(name).ok_or("its client certificate cannot be opened")?;
        tls::showing(&trusting, &value).map_err(told)
    }

    /// Shows the certificates that credentials hold to those who watch when they end.
    pub fn show_certificates(&self, watch: &Watch) {
        let shown = self.set.upstreams.iter().filter_map(|u| u.tls.as_ref()?.client_certificate.as_ref());
        let mut names: HashSet<&Name> = shown.collect();
        names.extend(self.set.credentials.iter().filter(|c| c.engine.is_certificate()).map(|c| &c.name));
        let mine = |w: &Watched| w.place.kind == PlaceKind::Credential;
        let known: HashMap<String, Option<u32>> =
            watch.select(|w| mine(w).then(|| (w.place.name.clone(), w.version))).into_iter().collect();
        for name in &names {
            let version = self.values.version(name.as_str());
            match known.get(name.as_str()) {
                Some(shown) if *shown == version => continue,
                // There is no room for more, and what is left out is not taken apart each time.
                None if known.len() >= MOST_WATCHED => continue,
                _ => {}
            }
            if let Some((version, bundle)) = self.values.certificate(name) {
                let at = std::time::SystemTime::now().into();
                let _ = watch.hold(name.as_str(), version, bundle.leaf(), bundle.pem(), at);
            }
        }
        let held: HashSet<&str> =
            names.into_iter().filter(|name| self.values.version(name.as_str()).is_some()).map(Name::as_str).collect();
        watch.retain(|w| !mine(w) || held.contains(w.place.name.as_str()));
    }

    fn put(&mut self, kind: Kind, name: &Name, body: Option<&str>) -> anyhow::Result<()> {
        match kind {
            Kind::Teams => put::<Team>(&mut self.set, name, body),
            Kind::Applications => put::<Application>(&mut self.set, name, body),
            Kind::Credentials => put::<Credential>(&mut self.set, name, body),
            Kind::Targets => put::<System>(&mut self.set, name, body),
            Kind::Stores => put::<SecretStore>(&mut self.set, name, body),
            Kind::Upstreams => put::<Upstream>(&mut self.set, name, body),
            Kind::Routes => put::<Route>(&mut self.set, name, body),
            Kind::Guardrails => put::<GuardrailSet>(&mut self.set, name, body),
            Kind::Models => put::<Model>(&mut self.set, name, body),
            Kind::Prompts => put::<Prompt>(&mut self.set, name, body),
            Kind::LeakResponses => put::<LeakResponse>(&mut self.set, name, body),
            Kind::Keys => Ok(()),
        }
    }
}

/// Replaces, adds or removes one resource; lists stay sorted by name.
fn put<R: Resource>(set: &mut ResourceSet, name: &Name, body: Option<&str>) -> anyhow::Result<()> {
    let list = R::list_mut(set);
    let place = list.binary_search_by(|r| r.name().cmp(name));
    match (place, body.map(serde_json::from_str::<R>).transpose()?) {
        (Ok(at), Some(resource)) => list[at] = resource,
        (Err(at), Some(resource)) => list.insert(at, resource),
        (Ok(at), None) => drop(list.remove(at)),
        (Err(_), None) => {}
    }
    Ok(())
}

fn api_key(vault: &Vault) -> anyhow::Result<ApiKey> {
    let peppers = vault.peppers()?.into_iter().filter_map(|p| Some((u8::try_from(p.id).ok()?, p.key)));
    Ok(ApiKey::new(Arc::new(Peppers::from_keys(peppers))))
}

fn hashed(name: &Name) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.as_str().hash(&mut hasher);
    hasher.finish()
}

/// The upstream of a built-in provider at its own address.
fn built_in(name: &str, address: &str) -> Option<Upstream> {
    serde_json::from_value(serde_json::json!({ "name": name, "endpoints": [address], "provider": name })).ok()
}

/// How a provider wants a credential where nothing says otherwise.
fn usual_inject(provider: Option<&Provider>, credential: &Credential) -> Option<Inject> {
    let name = credential.name.clone();
    Some(match provider?.injector {
        DefaultInjector::Header(header) if !credential.engine.fetches_tokens() => {
            let header = HeaderInject { name: header.into(), credential: name, prefix: String::new() };
            Inject { header: Some(header), ..Inject::default() }
        }
        _ => Inject { bearer: Some(name), ..Inject::default() },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::delta::SealedVersion, *};
    use credentialflow_model::{Actor, SecretValue};
    use credentialflow_store::Store;
    use credentialflow_vault::{SealContext, SealInput};

    async fn vault(dir: &std::path::Path) -> Vault {
        let store = Store::connect(&format!("sqlite:{}", dir.join("state.db").display())).await.unwrap();
        store.migrate().await.unwrap();
        let input = SealInput::Environment(SecretValue::from("a passphrase of a test"));
        Vault::init(&store, &Actor::operator(), input).await.unwrap().vault
    }

    fn sealed(vault: &Vault, name: &str, version: u32) -> Option<SealedVersion> {
        let context = SealContext::new(&name.parse().unwrap(), version);
        let sealed = vault.seal_value(&context, &SecretValue::from("a value")).unwrap().into_bytes();
        Some(SealedVersion { version, sealed })
    }

    #[tokio::test]
    async fn a_value_that_does_not_open_makes_its_credential_unavailable_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let vault = vault(dir.path()).await;
        let mut state = State::empty(&vault, &Arc::default()).unwrap();
        let name = |text: &str| text.parse::<Name>().unwrap();
        let mut unknown_key = sealed(&vault, "unknown-key", 1).unwrap();
        unknown_key.sealed[2..6].fill(9);
        let damaged = SealedVersion { version: 2, sealed: b"damaged".to_vec() };
        let empty = SealedVersion { version: 3, sealed: vec![] };
        let credentials = vec![
            (name("good"), sealed(&vault, "good", 1)),
            (name("damaged"), Some(damaged)),
            (name("elsewhere"), sealed(&vault, "good", 1)),
            (name("unknown-key"), Some(unknown_key)),
            (name("empty"), Some(empty)),
        ];
        let taken = state.apply(Delta { seq: 5, credentials, ..Delta::default() }, &vault);
        assert!(taken.problem.is_none(), "{:?}", taken.problem);
        assert_eq!(state.seq, 5, "the place moves on");
        let unavailable: Vec<_> = state.unavailable().into_iter().map(|u| (u.credential, u.version)).collect();
        let expected = [("damaged", 2), ("elsewhere", 1), ("empty", 3), ("unknown-key", 1)];
        assert_eq!(unavailable, expected.map(|(n, v)| (n.to_owned(), v)));
        assert_eq!(state.version_in_force("damaged"), Some(2), "the old version is not used in its place");
        // A new value, or the end of the credential, ends it.
        let credentials = vec![(name("damaged"), sealed(&vault, "damaged", 3)), (name("empty"), None)];
        state.apply(Delta { seq: 6, credentials, ..Delta::default() }, &vault);
        assert_eq!(state.unavailable().len(), 2);
    }

    #[tokio::test]
    async fn a_new_version_is_tried_as_its_upstream_or_the_provider_of_its_models_wants_it() {
        let dir = tempfile::tempdir().unwrap();
        let vault = vault(dir.path()).await;
        let mut state = State::empty(&vault, &Arc::default()).unwrap();
        state.set = serde_json::from_value(serde_json::json!({
            "credentials": (["said", "shared", "header", "plain"])
                .map(|at| serde_json::json!({ "name": at, "engine": "static", "verify": { "upstream": at, "path": "/" } })),
            "upstreams": [
                { "name": "said", "endpoints": [], "provider": "openai", "inject": { "query": { "name": "k", "credential": "plain" } } },
                { "name": "shared", "endpoints": [], "provider": "openai", "credentials": [{ "name": "shared" }] },
                { "name": "header", "endpoints": [], "provider": "anthropic", "credentials": [{ "name": "header" }] },
                { "name": "plain", "endpoints": [] },
            ],
        }))
        .unwrap();
        let inject = |name: &str| state.verify_rule(&name.parse().unwrap()).unwrap().upstream.inject;
        assert_eq!(inject("said").unwrap().query.unwrap().name, "k");
        assert_eq!(inject("shared").unwrap().bearer.unwrap().as_str(), "shared");
        assert_eq!(inject("header").unwrap().header.unwrap().name, "x-api-key");
        assert_eq!(inject("plain"), None);
    }

    #[tokio::test]
    async fn what_a_sealed_vault_cannot_open_opens_after_it_was_unsealed() {
        let dir = tempfile::tempdir().unwrap();
        let vault = vault(dir.path()).await;
        let mut state = State::empty(&vault, &Arc::default()).unwrap();
        let credentials = vec![("token".parse().unwrap(), sealed(&vault, "token", 1))];
        vault.seal();
        let delta = Delta { seq: 5, settings: true, credentials, ..Delta::default() };
        assert!(state.apply(delta, &vault).problem.is_none());
        assert!(state.needs_vault() && !state.renew(&vault));
        vault.unseal(SealInput::Environment(SecretValue::from("a passphrase of a test"))).await.unwrap();
        assert!(state.renew(&vault) && !state.needs_vault() && state.unavailable().is_empty());
    }

    #[tokio::test]
    async fn what_runs_with_a_revoked_secret_is_cut_and_an_ended_one_cuts_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let vault = vault(dir.path()).await;
        let mut state = State::empty(&vault, &Arc::default()).unwrap();
        let id = KeyId::from_bits(77);
        let name: Name = "checkout-key".parse().unwrap();
        let with = |seq, versions: &[u32], withdrawn: &[u32]| Delta {
            seq,
            keys: vec![(name.clone(), Some(KeyData::of_test(id, name.clone(), versions, None)))],
            withdrawn: withdrawn.iter().map(|version| (id, *version)).collect(),
            ..Delta::default()
        };
        assert_eq!(state.apply(with(1, &[1, 2], &[]), &vault).revoked, []);
        assert_eq!(state.apply(with(2, &[2], &[]), &vault).revoked, [], "the overlap was over");
        assert_eq!(state.apply(with(3, &[2, 3], &[]), &vault).revoked, []);
        assert_eq!(state.apply(with(4, &[3], &[2]), &vault).revoked, [id]);
        assert_eq!(state.apply(with(5, &[3, 4], &[2]), &vault).revoked, [], "once");
        let ended = Delta { seq: 6, keys: vec![(name.clone(), None)], ..Delta::default() };
        assert_eq!(state.apply(ended, &vault).revoked, [id]);
        let revoked = Delta { seq: 7, keys: vec![(name, None)], revoked: vec![id], ..Delta::default() };
        assert_eq!(state.apply(revoked, &vault).revoked, [id], "what it let in before its secrets ended");
    }

    #[tokio::test]
    async fn what_runs_with_keys_below_one_that_is_gone_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let vault = vault(dir.path()).await;
        let mut state = State::empty(&vault, &Arc::default()).unwrap();
        let id = KeyId::from_bits;
        let name = |n: u64| format!("key-{n}").parse::<Name>().unwrap();
        let put = |n: u64, parent: Option<u64>| (name(n), Some(KeyData::of_test(id(n), name(0), &[1], parent.map(id))));
        // The youngest first: in a page of keys a parent may come after its children.
        let keys = vec![put(4, Some(3)), put(3, Some(1)), put(2, Some(1)), put(1, None), put(9, None)];
        assert_eq!(state.apply(Delta { seq: 1, keys, ..Delta::default() }, &vault).revoked, []);
        let goes_on = Delta { seq: 2, withdrawn: vec![(id(1), 7)], ..Delta::default() };
        assert_eq!(state.apply(goes_on, &vault).revoked, []);
        let ended = |seq, n| Delta { seq, keys: vec![(name(n), None)], revoked: vec![id(n)], ..Delta::default() };
        assert_eq!(state.apply(ended(3, 3), &vault).revoked, [id(3), id(4)]);
        assert_eq!(state.apply(ended(4, 1), &vault).revoked, [id(1), id(2)], "4 came from 3, which is gone already");
    }

    #[tokio::test]
    async fn what_cannot_be_taken_in_is_not_passed_over_and_keys_come_first() {
        let dir = tempfile::tempdir().unwrap();
        let vault = vault(dir.path()).await;
        let mut state = State::empty(&vault, &Arc::default()).unwrap();
        let key: KeyId = KeyId::from_bits(77);
        let name: Name = "checkout-key".parse().unwrap();
        state.ids.insert(hashed(&name), key);
        state.seq = 4;
        let broken = (Kind::Teams, "payments".parse().unwrap(), Some("{".to_owned()));
        let delta = |resources| Delta { seq: 5, keys: vec![(name.clone(), None)], resources, ..Delta::default() };
        let taken = state.apply(delta(vec![broken]), &vault);
        assert_eq!(taken.revoked, [key], "the revocation does not wait");
        let problem = format!("{:#}", taken.problem.unwrap());
        assert!(problem.contains("teams/payments"), "{problem}");
        assert_eq!(state.seq, 4, "it is read again");
        assert!(state.apply(delta(vec![]), &vault).problem.is_none());
        assert_eq!(state.seq, 5);
    }
}
