//! The keys of providers: fetched when they are needed, kept for a while, fetched again for an unknown
//! key, but not more often than once in a few seconds, whoever asks for it and whatever came of it.
//!
//! While a provider is away its keys count for a day, and nobody who presents one of them waits for it.

use super::config::Source;
use crate::{
    Core, IdentityError, Result,
    jose::{self, Algorithm, JoseError, KeySet},
    ports::WebRequest,
};
use hashbrown::HashMap;
use serde_json::Value;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How long fetched keys are used, seconds.
const FRESH: i64 = 60 * 60;
/// How long they are used while the provider does not give others, seconds.
const USABLE: i64 = 24 * FRESH;
/// No provider is asked again sooner, seconds, also when it did not answer.
const PAUSE: i64 = 5;
const WAIT: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 512 * 1024;
/// Providers remembered.
const KEPT: usize = 256;

/// What is known of a provider.
#[derive(Clone, Debug)]
pub(super) struct Provider {
    pub(super) keys: KeySet,
    /// What discovery says; empty for a plain key set.
    pub(super) issuer: String,
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    fetched: i64,
}

/// What is known of a provider, and the one who asks it now.
#[derive(Default)]
struct Slot {
    known: Mutex<Known>,
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    provider: Option<Arc<Provider>>,
    /// When it was asked last.
    tried: Option<i64>,
    /// What it answered then, where that was no good.
    failure: String,
}

impl Slot {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn younger(&self, age: i64, now: i64) -> Option<Arc<Provider>> {
        self.provider.clone().filter(|provider| now < provider.fetched + age)
    }

    /// What is answered without asking the provider; `None`: it is to be asked.
    fn answer(&self, age: i64, now: i64) -> Option<Result<Arc<Provider>>> {
        if let Some(provider) = self.younger(age, now) {
            return Some(Ok(provider));
        }
        self.tried.filter(|tried| now < tried + PAUSE)?;
        let failure = || IdentityError::Remote(self.failure.clone().into());
        Some(self.younger(USABLE, now).ok_or_else(failure))
    }

    fn take(&mut self, fetched: Result<Provider>, now: i64) {
        self.tried = Some(now);
        match fetched {
            Ok(provider) => (self.provider, self.failure) = (Some(Arc::new(provider)), String::new()),
            Err(error) => self.failure = error.to_string(),
        }
    }
}

/// URL and trusted certificates.
type Place = (String, Option<String>);

/// Providers asked lately.
#[derive(Default)]
pub(crate) struct KeyCache(Mutex<HashMap<Place, Arc<Slot>>>);

impl KeyCache {
    /// Asks a source now; an error tells what is wrong with it.
    pub(super) async fn check(&self, core: &Core, source: &Source) -> Result<()> {
        if let Some((url, pem)) = remote(source) {
            let provider = fetch(core, source).await?;
            self.slot(url, pem).known().take(Ok(provider), core.secs());
        }
        Ok(())
    }

    /// What is known of a provider, fetched when it is not fresh.
    pub(super) async fn provider(&self, core: &Core, source: &Source) -> Result<Arc<Provider>> {
        self.at_least(core, source, FRESH).await
    }

    /// As [`KeyCache::provider`], asked again unless that was done just now.
    async fn asked_again(&self, core: &Core, source: &Source) -> Result<Arc<Provider>> {
        self.at_least(core, source, PAUSE).await
    }

    /// The payload of a token signed by a key of the source. For an unknown key the keys are fetched
    /// again: the provider may have rotated them.
    pub(super) async fn verify(
        &self,
        core: &Core,
        source: &Source,
        token: &str,
        allowed: &[Algorithm],
    ) -> Result<Vec<u8>> {
        if let Source::Given(keys) = source {
            return jose::verify(token, keys, allowed).map_err(refused);
        }
        let known = self.provider(core, source).await?;
        match jose::verify(token, &known.keys, allowed) {
            Err(JoseError::UnknownKey | JoseError::Signature) => {
                let fresh = self.asked_again(core, source).await?;
                jose::verify(token, &fresh.keys, allowed).map_err(refused)
            }
            other => other.map_err(refused),
        }
    }

    fn slot(&self, url: &str, pem: Option<&str>) -> Arc<Slot> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (url.to_owned(), pem.map(str::to_owned));
        if map.len() >= KEPT && !map.contains_key(&key) {
            map.clear();
        }
        map.entry(key).or_default().clone()
    }

    /// Not older than this, where the provider gives it; many who wait for the same provider ask it once.
    async fn at_least(&self, core: &Core, source: &Source, age: i64) -> Result<Arc<Provider>> {
        let Some((url, pem)) = remote(source) else { return Err(IdentityError::internal("no provider to ask")) };
        let slot = self.slot(url, pem);
        if let Some(answer) = slot.known().answer(age, core.secs()) {
            return answer;
        }
        let asking = match slot.asking.try_lock() {
            Ok(asking) => asking,
            Err(_) => {
                // Somebody asks already. Only who has no keys at all, or none for its token, waits for that.
                let usable = if age == FRESH { slot.known().younger(USABLE, core.secs()) } else { None };
                if let Some(provider) = usable {
                    return Ok(provider);
                }
                slot.asking.lock().await
            }
        };
        if let Some(answer) = slot.known().answer(age, core.secs()) {
            return answer;
        }
        // Also where nobody waits for the end of it.
        slot.known().tried = Some(core.secs());
        let fetched = fetch(core, source).await;
        let mut known = slot.known();
        known.take(fetched, core.secs());
        drop(asking);
        known.answer(age, core.secs()).unwrap_or_else(|| Err(IdentityError::Remote(known.failure.clone().into())))
    }
}

pub(super) fn refused(error: JoseError) -> IdentityError {
    IdentityError::invalid(format!("error validating token: {error}"))
}

fn remote(source: &Source) -> Option<(&str, Option<&str>)> {
    match source {
        Source::Given(_) => None,
        Source::Jwks(url, pem) | Source::Discovery(url, pem) => Some((url, pem.as_deref())),
    }
}

async fn fetch(core: &Core, source: &Source) -> Result<Provider> {
    let fault = |text: String| IdentityError::Remote(text.into());
    let mut provider = Provider {
        keys: KeySet::default(),
        issuer: String::new(),
        authorization_endpoint: String::new(),
        token_endpoint: String::new(),
        fetched: core.secs(),
    };
    let (jwks_url, pem) = match source {
        Source::Given(_) => return Err(IdentityError::internal("no provider to ask")),
        Source::Jwks(url, pem) => (url.clone(), pem),
        Source::Discovery(url, pem) => {
            let asked = format!("{url}/.well-known/openid-configuration");
            let body =
                get(core, asked, pem).await.map_err(|e| fault(format!("error checking oidc discovery URL: {e}")))?;
            let document: Value = serde_json::from_slice(&body)
                .map_err(|_| fault("error checking oidc discovery URL: the answer is not JSON".into()))?;
            let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            provider.issuer = text("issuer");
            // Else another issuer's keys could be passed off as this one's (OpenID Connect Discovery, 4.3).
            if provider.issuer.trim_end_matches('/') != url.as_str() {
                return Err(fault("error checking oidc discovery URL: the document names another issuer".into()));
            }
            provider.authorization_endpoint = text("authorization_endpoint");
            provider.token_endpoint = text("token_endpoint");
            (text("jwks_uri"), pem)
        }
    };
    let body = get(core, jwks_url, pem).await.map_err(|e| fault(format!("error checking jwks URL: {e}")))?;
    provider.keys =
        KeySet::from_jwks(&body).ok_or_else(|| fault("error checking jwks URL: the answer is no key set".into()))?;
    Ok(provider)
}

async fn get(core: &Core, url: String, pem: &Option<String>) -> std::result::Result<Vec<u8>, String> {
    let request = WebRequest { url, ca_pem: pem.clone(), form: None, authorization: None };
    core.web.ask(request, MAX_ANSWER, WAIT).await
}
