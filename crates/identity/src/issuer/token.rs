//! Makes identity tokens, and tells whether one is good.

use super::{issuer, key, role};
use crate::{
    Call, Core, IdentityError, Response, Result,
    fields::Fields,
    jose::{self, Algorithm, Claims, KeySet, Skew},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use credentialflow_model::SecretValue;
use serde_json::{Value, json};

/// The action under which the audit log tells of a token that was made.
pub(super) const CREATED: &str = "oidc.token.create";

/// The subject of events about tokens of a role.
pub(super) fn subject(role: &str) -> String {
    format!("identity/oidc/role/{role}")
}

/// `token/ROLE`: a token about the caller.
pub(super) async fn create(core: &Core, call: &Call<'_>, name: &str) -> Result<Response> {
    let caller = call.known_caller()?;
    let shelf = core.shelf(call.mount);
    let role = role::get(&shelf, name).await?;
    let role = role.ok_or_else(|| IdentityError::invalid(format!("role {name:?} not found")))?.value;
    let known = key::get(&shelf, &role.key).await?;
    let known = known.ok_or_else(|| IdentityError::invalid(format!("key {:?} not found", role.key)))?;
    if !known.value.allows(&role.client_id) {
        return Err(IdentityError::invalid(format!(
            "the key {:?} does not list the client ID of the role {name:?} as an allowed client ID",
            role.key
        )));
    }
    let entity = &caller.token().entity;
    if entity.is_empty() {
        return Err(IdentityError::invalid("no entity associated with the request's token"));
    }
    let now = core.secs();
    let ttl = role.ttl.min(known.value.verification_ttl);
    let mut claims = role.claims()?;
    for (name, value) in [
        ("iss", json!(issuer(core, call).await?)),
        ("sub", json!(entity)),
        ("aud", json!(role.client_id)),
        ("iat", json!(now)),
        ("exp", json!(now.saturating_add(ttl))),
        ("namespace", json!("root")),
    ] {
        claims.insert(name.to_owned(), value);
    }
    let mut unit = call.unit();
    let mut signer = known.value.clone();
    if signer.is_due(now) {
        let keep = signer.verification_ttl;
        signer.renew(now, keep).await?;
        unit.audit(
            "oidc.key.rotate",
            format!("identity/{}", key::place(&role.key)?),
            json!({ "verification_ttl": keep }),
        );
        key::put(&shelf, &mut unit, &role.key, &signer, known.unchanged())?;
    }
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let (message, signature) = signer.sign(|algorithm, kid| {
        let header = json!({ "alg": algorithm, "kid": kid, "typ": "JWT" });
        format!("{}.{}", encode(&header), encode(&Value::Object(claims)))
    })?;
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
    let told = json!({ "sub": entity, "aud": role.client_id, "ttl": ttl,
        "key": role.key, "key_version": signer.signs_as() });
    unit.audit(CREATED, subject(name), told);
    core.submit(unit).await?;
    let data = json!({ "client_id": role.client_id, "ttl": ttl });
    Ok(Response::data(data).with_secret("token", SecretValue::from(token)))
}

/// `introspect`: whether a token is one of ours, in time, and for the named client.
pub(super) async fn introspect(core: &Core, call: &Call<'_>) -> Result<Response> {
    let fields = Fields(call.data);
    let token = fields.needed("token")?;
    let client = fields.text_or_empty("client_id")?;
    let keys = json!({ "keys": key::public(core, call).await? }).to_string();
    let keys = KeySet::from_jwks(keys.as_bytes()).unwrap_or_default();
    let issuer = issuer(core, call).await?;
    let none = Skew { clock: 0, expiration: 0, not_before: 0 };
    let good = jose::verify(&token, &keys, &Algorithm::ALL).and_then(|payload| {
        let claims = Claims::parse(&payload)?;
        jose::check_times(&claims, none, core.secs())?;
        let known = claims.text("iss") == Some(issuer.as_str());
        let wanted = client.is_empty() || claims.audiences().contains(&client.as_str());
        if known && wanted { Ok(()) } else { Err(jose::JoseError::UnknownKey) }
    });
    Ok(Response::raw(json!({ "active": good.is_ok() })))
}
