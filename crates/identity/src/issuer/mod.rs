//! Identity tokens: signed statements about who a caller is, for others to check (`identity/oidc/`).
//!
//! A named key signs, a role names the key, the audience and the lifetime; a caller who logged in by an
//! auth method asks for a token of a role. The public halves are at `.well-known/keys`, for everybody.
//! Until an issuer is configured it is `http://127.0.0.1:8200`; who checks tokens elsewhere needs the real one.
//! Templates may hold fixed claims only; what a caller is a member of is not known here yet.

mod key;
mod listed;
mod role;
mod token;
mod version;

pub(crate) use listed::signing_keys;
pub use listed::{Duty, SigningKey, SigningKeyVersion};

use crate::{Call, Core, IdentityError, Mount, Operation, Response, Result, fields::Fields, shelf::Kept};
use credentialflow_store::Expect;
use serde::{Deserialize, Serialize};
use serde_json::json;

const CONFIG: &str = "oidc/config";

#[derive(Default, Serialize, Deserialize)]
struct Config {
    issuer: String,
}

/// Whether a path below `identity/oidc/` is for everybody.
pub(crate) fn is_open(path: &str) -> bool {
    matches!(path, ".well-known/openid-configuration" | ".well-known/keys")
}

/// Answers a path below `identity/oidc/`.
pub(crate) async fn handle(core: &Core, call: &Call<'_>) -> Result<Response> {
    let path = call.path.trim_end_matches('/');
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["config"] => config(core, call).await,
        ["key" | "role"] if call.operation == Operation::List => {
            Response::keys(core.shelf(call.mount).list(&format!("oidc/{path}/")).await?)
        }
        ["key", name] => key::handle(core, call, name).await,
        ["key", name, "rotate"] if call.operation.is_write() => key::rotate(core, call, name).await,
        ["role", name] => role::handle(core, call, name).await,
        ["token", name] if call.operation == Operation::Read => token::create(core, call, name).await,
        ["introspect"] if call.operation.is_write() => token::introspect(core, call).await,
        [".well-known", "openid-configuration"] if call.operation == Operation::Read => discovery(core, call).await,
        [".well-known", "keys"] if call.operation == Operation::Read => {
            Ok(Response::raw(json!({ "keys": key::public(core, call).await? })))
        }
        ["key" | "role" | "introspect"] | ["token", _] | ["key", _, "rotate"] => Err(IdentityError::Unsupported),
        _ => Err(IdentityError::missing()),
    }
}

/// Rotates the signing keys whose time has come; answers how many.
pub(crate) async fn rotate_due(core: &Core, mount: &Mount) -> Result<usize> {
    key::rotate_due(core, &core.shelf(mount)).await
}

async fn config(core: &Core, call: &Call<'_>) -> Result<Response> {
    let shelf = core.shelf(call.mount);
    match call.operation {
        Operation::Read => {
            let config: Option<Kept<Config>> = shelf.get(CONFIG).await?;
            Ok(Response::data(json!({ "issuer": config.map(|c| c.value.issuer).unwrap_or_default() })))
        }
        Operation::Create | Operation::Update => {
            let issuer = Fields(call.data).text_or_empty("issuer")?;
            let issuer = issuer.trim_end_matches('/');
            let rest = issuer.strip_prefix("https://").or(issuer.strip_prefix("http://")).unwrap_or_default();
            if !issuer.is_empty() && (rest.is_empty() || rest.contains(['/', '?', '#', '@', ' '])) {
                return Err(IdentityError::invalid(
                    "invalid issuer, which must include only a scheme, host, and optional port (e.g. https://example.com:8200)",
                ));
            }
            let mut unit = call.unit();
            unit.audit("oidc.config.set", "identity/oidc/config", json!({ "issuer": issuer }));
            shelf.put(&mut unit, CONFIG, &Config { issuer: issuer.to_owned() }, Expect::Anything)?;
            core.submit(unit).await?;
            let warning = "tokens issued before may be refused by those who check the issuer".to_owned();
            let warnings = if issuer.is_empty() { Vec::new() } else { vec![warning] };
            Ok(Response::empty().with_warnings(warnings))
        }
        _ => Err(IdentityError::Unsupported),
    }
}

/// Where the API is found when nobody said otherwise: the listener's usual place.
const DEFAULT_ISSUER: &str = "http://127.0.0.1:8200";

/// Who signs, as it stands in tokens.
async fn issuer(core: &Core, call: &Call<'_>) -> Result<String> {
    let config: Option<Kept<Config>> = core.shelf(call.mount).get(CONFIG).await?;
    let issuer = config.map(|c| c.value.issuer).filter(|issuer| !issuer.is_empty());
    Ok(format!("{}/v1/identity/oidc", issuer.as_deref().unwrap_or(DEFAULT_ISSUER)))
}

async fn discovery(core: &Core, call: &Call<'_>) -> Result<Response> {
    let issuer = issuer(core, call).await?;
    Ok(Response::raw(json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/keys"),
        "id_token_signing_alg_values_supported": crate::jose::Algorithm::ALL.map(crate::jose::Algorithm::as_str)
            .into_iter().filter(|name| !name.starts_with("PS")).collect::<Vec<_>>(),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
    })))
}
