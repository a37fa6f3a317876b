//! The configuration of a mount: where keys come from, and which algorithms count.
//!
//! Without `jwt_supported_algs` the algorithms are still pinned, more narrowly than Vault does it for
//! roles of type `jwt`: RS256 for a key set or discovery; for each given key the one that is usual for its
//! kind (RSA: RS256, P-256: ES256, P-384: ES384, P-521: ES512, Ed25519: EdDSA). No symmetric algorithm can
//! be configured, and `none` does not exist.

use crate::{
    Call, Core, IdentityError, Operation, Response, Result, Shelf,
    fields::Fields,
    jose::{Algorithm, KeySet},
    shelf::Kept,
};
use credentialflow_model::SecretValue;
use credentialflow_store::{Expect, Unit};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// Where it lies.
pub(super) const PLACE: &str = "config";

/// A configuration.
pub(super) struct Config {
    pub(super) settings: Settings,
    /// Empty where people do not log in over the provider's page. Sealed with the settings, never told.
    pub(super) oidc_client_secret: SecretValue,
}

/// How a configuration is written: one object. The secret's name stays as it was.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    settings: &'a Settings,
    oidc_client_secret: &'a str,
}

/// The secret of a written configuration, where it lies.
#[derive(Deserialize)]
struct WrittenSecret<'a> {
    #[serde(borrow, default)]
    oidc_client_secret: Cow<'a, str>,
}

/// What of a configuration may be told.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Settings {
    pub(super) oidc_discovery_url: String,
    pub(super) oidc_discovery_ca_pem: String,
    pub(super) oidc_client_id: String,
    pub(super) oidc_response_mode: String,
    pub(super) oidc_response_types: Vec<String>,
    pub(super) jwks_url: String,
    pub(super) jwks_ca_pem: String,
    pub(super) jwt_validation_pubkeys: Vec<String>,
    pub(super) jwt_supported_algs: Vec<String>,
    pub(super) bound_issuer: String,
    pub(super) default_role: String,
    pub(super) provider_config: Map<String, Value>,
    pub(super) namespace_in_state: bool,
}

/// Where a mount's keys come from.
pub(super) enum Source {
    /// Given with the configuration.
    Given(KeySet),
    /// A key set at a URL, with the certificates to trust.
    Jwks(String, Option<String>),
    /// A provider that tells where its keys are.
    Discovery(String, Option<String>),
}

impl Settings {
    /// The algorithms that count: those configured, else the usual ones of the keys' source.
    pub(super) fn algorithms(&self, source: &Source) -> Vec<Algorithm> {
        if !self.jwt_supported_algs.is_empty() {
            return self.jwt_supported_algs.iter().filter_map(|name| Algorithm::parse(name)).collect();
        }
        match source {
            Source::Given(keys) => keys.usual_algorithms(),
            Source::Jwks(..) | Source::Discovery(..) => vec![Algorithm::RS256],
        }
    }

    pub(super) fn source(&self) -> Result<Source> {
        let pem = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        if !self.jwt_validation_pubkeys.is_empty() {
            let keys = KeySet::from_pems(self.jwt_validation_pubkeys.iter().map(String::as_str));
            return keys
                .map(Source::Given)
                .ok_or_else(|| IdentityError::internal("a stored public key cannot be read"));
        }
        if !self.jwks_url.is_empty() {
            return Ok(Source::Jwks(self.jwks_url.clone(), pem(&self.jwks_ca_pem)));
        }
        if !self.oidc_discovery_url.is_empty() {
            return Ok(Source::Discovery(self.oidc_discovery_url.clone(), pem(&self.oidc_discovery_ca_pem)));
        }
        Err(IdentityError::invalid("could not load configuration"))
    }

    fn from_fields(fields: Fields<'_>) -> Result<Self> {
        let text = |name| fields.text_or_empty(name);
        Ok(Self {
            oidc_discovery_url: text("oidc_discovery_url")?.trim_end_matches('/').to_owned(),
            oidc_discovery_ca_pem: text("oidc_discovery_ca_pem")?,
            oidc_client_id: text("oidc_client_id")?,
            oidc_response_mode: text("oidc_response_mode")?,
            oidc_response_types: fields.list("oidc_response_types")?.unwrap_or_default(),
            jwks_url: text("jwks_url")?,
            jwks_ca_pem: text("jwks_ca_pem")?,
            // PEM has no commas, so a text with several keys may have them between.
            jwt_validation_pubkeys: fields.list("jwt_validation_pubkeys")?.unwrap_or_default(),
            jwt_supported_algs: fields.list("jwt_supported_algs")?.unwrap_or_default(),
            bound_issuer: text("bound_issuer")?,
            default_role: text("default_role")?.to_lowercase(),
            provider_config: fields.object("provider_config")?.unwrap_or_default(),
            namespace_in_state: fields.bool("namespace_in_state")?.unwrap_or(true),
        })
    }

    fn check(&self, has_secret: bool) -> Result<()> {
        let invalid = |text: &'static str| Err(IdentityError::invalid(text));
        let sources =
            [!self.oidc_discovery_url.is_empty(), !self.jwks_url.is_empty(), !self.jwt_validation_pubkeys.is_empty()];
        if sources.iter().filter(|given| **given).count() != 1 {
            return invalid("exactly one of 'jwt_validation_pubkeys', 'jwks_url' or 'oidc_discovery_url' must be set");
        }
        if self.oidc_client_id.is_empty() == has_secret {
            return invalid("both 'oidc_client_id' and 'oidc_client_secret' must be set for OIDC");
        }
        if !self.oidc_client_id.is_empty() && self.oidc_discovery_url.is_empty() {
            return invalid("'oidc_discovery_url' must be set for OIDC");
        }
        if let Some(unknown) = self.jwt_supported_algs.iter().find(|name| Algorithm::parse(name).is_none()) {
            return Err(IdentityError::invalid(format!("unsupported algorithm {unknown:?} in 'jwt_supported_algs'")));
        }
        if KeySet::from_pems(self.jwt_validation_pubkeys.iter().map(String::as_str)).is_none() {
            return invalid("error parsing public key: PEM with a public key or a certificate was expected");
        }
        if !matches!(self.oidc_response_mode.as_str(), "" | "query" | "form_post") {
            return invalid("invalid response_mode");
        }
        if self.oidc_response_types.iter().any(|kind| kind != "code") {
            return invalid("only the response type 'code' is supported: tokens do not belong into URLs");
        }
        if self.provider_config.get("provider").is_some() {
            return invalid("provider_config: provider-specific handling is not supported");
        }
        Ok(())
    }

    fn describe(&self) -> Value {
        json!({
            "oidc_discovery_url": self.oidc_discovery_url,
            "oidc_discovery_ca_pem": self.oidc_discovery_ca_pem,
            "oidc_client_id": self.oidc_client_id,
            "oidc_response_mode": self.oidc_response_mode,
            "oidc_response_types": self.oidc_response_types,
            "jwks_url": self.jwks_url,
            "jwks_ca_pem": self.jwks_ca_pem,
            "jwt_validation_pubkeys": self.jwt_validation_pubkeys,
            "jwt_supported_algs": self.jwt_supported_algs,
            "bound_issuer": self.bound_issuer,
            "default_role": self.default_role,
            "provider_config": self.provider_config,
            "namespace_in_state": self.namespace_in_state,
        })
    }
}

impl Config {
    fn from_fields(fields: Fields<'_>) -> Result<Self> {
        let oidc_client_secret = SecretValue::from(fields.text_or_empty("oidc_client_secret")?);
        let settings = Settings::from_fields(fields)?;
        settings.check(!oidc_client_secret.is_empty())?;
        Ok(Self { settings, oidc_client_secret })
    }

    fn put(&self, shelf: &Shelf, unit: &mut Unit) -> Result<()> {
        let oidc_client_secret = self.oidc_client_secret.expose_str().unwrap_or_default();
        shelf.put(unit, PLACE, &Written { settings: &self.settings, oidc_client_secret }, Expect::Anything)
    }
}

/// A mount's configuration.
pub(super) async fn needed(shelf: &Shelf) -> Result<Kept<Config>> {
    let missing = || IdentityError::invalid("could not load configuration");
    let Kept { value: plain, revision } = shelf.open(PLACE).await?.ok_or_else(missing)?;
    let unreadable = |e| IdentityError::Internal(Box::new(e));
    let settings = serde_json::from_slice(plain.expose()).map_err(unreadable)?;
    let secret: WrittenSecret<'_> = serde_json::from_slice(plain.expose()).map_err(unreadable)?;
    let oidc_client_secret = match secret.oidc_client_secret {
        Cow::Borrowed(text) => SecretValue::from(text),
        Cow::Owned(text) => SecretValue::from(text),
    };
    Ok(Kept { value: Config { settings, oidc_client_secret }, revision })
}

pub(super) async fn handle(core: &Core, call: &Call<'_>) -> Result<Response> {
    let shelf = core.shelf(call.mount);
    match call.operation {
        Operation::Read => {
            let config: Kept<Settings> = shelf.get(PLACE).await?.ok_or_else(IdentityError::missing)?;
            Ok(Response::data(config.value.describe()))
        }
        Operation::Create | Operation::Update | Operation::Patch => {
            let config = Config::from_fields(Fields(call.data))?;
            // What cannot be reached now would refuse every login later.
            core.keys.check(core, &config.settings.source()?).await?;
            let mut unit = call.unit();
            unit.audit("jwt.config.set", call.subject(PLACE), config.settings.describe());
            config.put(&shelf, &mut unit)?;
            core.submit(unit).await?;
            Ok(Response::empty())
        }
        Operation::Delete | Operation::List => Err(IdentityError::Unsupported),
    }
}
