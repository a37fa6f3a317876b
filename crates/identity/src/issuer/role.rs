//! Roles of identity tokens: which key, for whom, how long, and which fixed claims beside.

use super::key;
use crate::{
    Call, Core, IdentityError, Operation, Response, Result, Shelf, fields::Fields, shelf::Kept, tokens::random_text,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use credentialflow_store::Expect;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Role {
    pub(super) key: String,
    pub(super) template: String,
    pub(super) client_id: String,
    pub(super) ttl: i64,
}

/// Claims that only we set.
const OURS: [&str; 7] = ["iat", "aud", "exp", "iss", "sub", "namespace", "nonce"];

impl Role {
    /// The fixed claims of its template.
    pub(super) fn claims(&self) -> Result<Map<String, Value>> {
        if self.template.is_empty() {
            return Ok(Map::new());
        }
        let decoded = STANDARD.decode(self.template.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let text = decoded.as_deref().unwrap_or(&self.template);
        if text.contains("{{") {
            return Err(IdentityError::invalid(
                "templates with {{identity.…}} are not supported yet; fixed claims are",
            ));
        }
        let claims: Map<String, Value> = serde_json::from_str(text)
            .map_err(|_| IdentityError::invalid("error parsing template JSON: an object was expected"))?;
        match OURS.into_iter().find(|name| claims.contains_key(*name)) {
            Some(name) => Err(IdentityError::invalid(format!("top level key {name:?} not allowed in template"))),
            None => Ok(claims),
        }
    }
}

fn place(name: &str) -> Result<String> {
    Ok(format!("oidc/role/{}", crate::method::name(name)?))
}

pub(super) async fn get(shelf: &Shelf, name: &str) -> Result<Option<Kept<Role>>> {
    shelf.get(&place(name)?).await
}

/// The roles that use a key.
pub(super) async fn using(shelf: &Shelf, key: &str) -> Result<Vec<String>> {
    let mut users = Vec::new();
    for name in shelf.list("oidc/role/").await? {
        if get(shelf, &name).await?.is_some_and(|role| role.value.key == key) {
            users.push(name);
        }
    }
    Ok(users)
}

/// `role/NAME`.
pub(super) async fn handle(core: &Core, call: &Call<'_>, name: &str) -> Result<Response> {
    let shelf = core.shelf(call.mount);
    let known = get(&shelf, name).await?;
    let subject = format!("identity/{}", place(name)?);
    match call.operation {
        Operation::Read => known
            .map(|r| Response::data(json!({ "client_id": r.value.client_id, "key": r.value.key, "template": r.value.template, "ttl": r.value.ttl })))
            .ok_or_else(IdentityError::missing),
        Operation::Create | Operation::Update | Operation::Patch => {
            let fields = Fields(call.data);
            let expect = known.as_ref().map_or(Expect::Absent, Kept::unchanged);
            let mut role = match known {
                Some(known) => known.value,
                None => Role { key: String::new(), template: String::new(), client_id: random_text(26)?.as_str().to_owned(), ttl: 24 * 3600 },
            };
            role.key = fields.text("key")?.unwrap_or(role.key);
            role.template = fields.text("template")?.unwrap_or(role.template);
            role.ttl = fields.seconds("ttl")?.unwrap_or(role.ttl);
            role.client_id = fields.text("client_id")?.filter(|id| !id.is_empty()).unwrap_or(role.client_id);
            if role.key.is_empty() {
                return Err(IdentityError::invalid("the key parameter is required"));
            }
            role.claims()?;
            let key = key::get(&shelf, &role.key).await?;
            let key = key.ok_or_else(|| IdentityError::invalid(format!("cannot find key {:?}", role.key)))?;
            if role.ttl > key.value.verification_ttl {
                return Err(IdentityError::invalid(
                    "a role's token ttl cannot be longer than the verification_ttl of the key it references",
                ));
            }
            let mut unit = call.unit();
            unit.audit("oidc.role.set", subject, json!({ "key": role.key, "client_id": role.client_id, "ttl": role.ttl }));
            shelf.put(&mut unit, &place(name)?, &role, expect)?;
            core.submit(unit).await?;
            Ok(Response::empty())
        }
        Operation::Delete => {
            if known.is_some() {
                let mut unit = call.unit();
                unit.audit("oidc.role.delete", subject, json!({}));
                shelf.delete(&mut unit, &place(name)?, Expect::Anything);
                core.submit(unit).await?;
                return Ok(Response::empty());
            }
            Ok(Response::unchanged())
        }
        Operation::List => Err(IdentityError::Unsupported),
    }
}
