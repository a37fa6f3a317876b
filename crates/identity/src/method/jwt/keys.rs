//! The keys of providers: fetched when they are needed, kept for a while, fetched again for an unknown
//! key, but not more often than once in a few seconds, whoever asks for it.

use super::config::Source;
use crate::{
    Core, IdentityError, Result,
    jose::{self, Algorithm, JoseError, KeySet},
    ports::WebRequest,
};
use hashbrown::HashMap;
use serde_json::Value;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How long fetched keys are used, seconds.
const FRESH: i64 = 60 * 60;
/// No provider is asked again sooner, seconds.
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

type Slot = Arc<tokio::sync::Mutex<Option<Arc<Provider>>>>;

/// Providers asked lately, by URL and trusted certificates.
#[derive(Default)]
pub(crate) struct KeyCache(Mutex<HashMap<(String, Option<String>), Slot>>);

impl KeyCache {
    /// Asks a source now; an error tells what is wrong with it.
    pub(super) async fn check(&self, core: &Core, source: &Source) -> Result<()> {
        if let Some((url, pem)) = remote(source) {
            let provider = fetch(core, source).await?;
            *self.slot(url, pem).lock().await = Some(Arc::new(provider));
        }
        Ok(())
    }

    /// What is known of a provider, fetched when it is not fresh.
    pub(super) async fn provider(&self, core: &Core, source: &Source) -> Result<Arc<Provider>> {
        self.at_least(core, source, FRESH).await
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
                let fresh = self.at_least(core, source, PAUSE).await?;
                jose::verify(token, &fresh.keys, allowed).map_err(refused)
            }
            other => other.map_err(refused),
        }
    }

    fn slot(&self, url: &str, pem: Option<&str>) -> Slot {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= KEPT {
            map.clear();
        }
        map.entry((url.to_owned(), pem.map(str::to_owned))).or_default().clone()
    }

    /// Not older than this; many who wait for the same provider ask it once.
    async fn at_least(&self, core: &Core, source: &Source, age: i64) -> Result<Arc<Provider>> {
        let Some((url, pem)) = remote(source) else { return Err(IdentityError::internal("no provider to ask")) };
        let slot = self.slot(url, pem);
        let mut known = slot.lock().await;
        match &*known {
            Some(provider) if core.secs() < provider.fetched + age => Ok(provider.clone()),
            old => match (fetch(core, source).await, old) {
                (Ok(provider), _) => Ok(known.insert(Arc::new(provider)).clone()),
                // A provider that is away for a while has the keys it had.
                (Err(_), Some(provider)) if core.secs() < provider.fetched + 24 * FRESH => Ok(provider.clone()),
                (Err(error), _) => Err(error),
            },
        }
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
