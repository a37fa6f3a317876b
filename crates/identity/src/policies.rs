//! Where policy documents are kept, and the access lists made of them.
//!
//! Each write of a policy also writes one entry, the mark; an access list made before is made again
//! when the mark has changed. So a question costs one look at the mark, however many policies there are.

use crate::{
    Call, Core, IdentityError, Operation, Response, Result, Shelf,
    acl::{Acl, Policy},
    fields::Fields,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use credentialflow_model::Actor;
use credentialflow_store::{Expect, Unit};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};

/// Everything is allowed; cannot be changed.
pub(crate) const ROOT: &str = "root";
/// Given to every token that does not decline it; can be changed, not removed.
pub(crate) const DEFAULT: &str = "default";
const SPACE: &str = "policies";
const MARK_SPACE: &str = "policies-mark";
const MARK: &str = "mark";
/// Access lists remembered.
const KEPT: usize = 4096;

/// What a token may do with itself, and with what is its own.
const DEFAULT_TEXT: &str = r#"# What every token may do with itself. Change it as you need; it cannot be removed.

path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self"  { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }

# What it may do elsewhere
path "sys/capabilities-self"         { capabilities = ["update"] }
path "sys/internal/ui/resultant-acl" { capabilities = ["read"] }
path "sys/internal/ui/mounts"        { capabilities = ["read"] }

# Its leases: knowing a lease's id is needed
path "sys/renew"         { capabilities = ["update"] }
path "sys/leases/renew"  { capabilities = ["update"] }
path "sys/leases/lookup" { capabilities = ["update"] }

# Its own storage, and the way to hand something over once
path "cubbyhole/*"          { capabilities = ["create", "read", "update", "delete", "list"] }
path "sys/wrapping/wrap"    { capabilities = ["update"] }
path "sys/wrapping/lookup"  { capabilities = ["update"] }
path "sys/wrapping/unwrap"  { capabilities = ["update"] }

# Helpers without a secret
path "sys/tools/hash"   { capabilities = ["update"] }
path "sys/tools/hash/*" { capabilities = ["update"] }
"#;

#[derive(Serialize, Deserialize)]
struct Document {
    text: String,
}

#[derive(Serialize, Deserialize)]
struct Mark {}

/// Access lists by their policies, as of one state of the mark.
#[derive(Default)]
pub(crate) struct AclCache(Mutex<Lists>);

#[derive(Default)]
struct Lists {
    /// The state of the mark they were made from.
    revision: i64,
    by_policies: HashMap<Vec<String>, Arc<Acl>>,
}

impl Core {
    fn policies(&self) -> Shelf {
        self.space(SPACE)
    }

    /// The number of the newest change of a policy; 0 before the first.
    pub(crate) async fn policy_revision(&self) -> Result<i64> {
        Ok(self.store.entry(MARK_SPACE, MARK).await?.map_or(0, |row| row.revision))
    }

    /// The access list of these policies, and the state of the policies it was made from.
    pub(crate) async fn acl(&self, names: &[String]) -> Result<(Arc<Acl>, i64)> {
        let revision = self.policy_revision().await?;
        if names.iter().any(|n| n == ROOT) {
            return Ok((Arc::new(Acl::root()), revision));
        }
        {
            let cache = self.acls.0.lock().unwrap_or_else(PoisonError::into_inner);
            if cache.revision == revision
                && let Some(acl) = cache.by_policies.get(names)
            {
                return Ok((acl.clone(), revision));
            }
        }
        let mut policies = Vec::with_capacity(names.len());
        for name in names {
            policies.extend(self.policy(name).await?);
        }
        let acl = Arc::new(Acl::new(&policies));
        let mut cache = self.acls.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.revision != revision || cache.by_policies.len() >= KEPT {
            *cache = Lists { revision, ..Lists::default() };
        }
        cache.by_policies.insert(names.to_vec(), acl.clone());
        Ok((acl, revision))
    }

    /// A policy. One that does not read is as if it were not there, and allows nothing: it was checked when written.
    pub(crate) async fn policy(&self, name: &str) -> Result<Option<Policy>> {
        let Some(document) = self.policies().get::<Document>(name).await? else { return Ok(None) };
        let policy = Policy::parse(&document.value.text);
        if let Err(error) = &policy {
            tracing::error!(policy = %name, %error, "a stored policy cannot be read and allows nothing");
        }
        Ok(policy.ok())
    }

    /// Writes the policy `default` where there is none yet.
    pub(crate) async fn write_default_policy(&self, actor: Actor) -> Result<()> {
        if self.policies().has(DEFAULT).await? {
            return Ok(());
        }
        let mut unit = Unit::new(actor);
        unit.audit("policy.set", format!("policies/{DEFAULT}"), json!({}));
        self.policies().put(&mut unit, DEFAULT, &Document { text: DEFAULT_TEXT.to_owned() }, Expect::Anything)?;
        self.space(MARK_SPACE).put(&mut unit, MARK, &Mark {}, Expect::Anything)?;
        self.submit(unit).await?;
        Ok(())
    }
}

/// Answers `sys/policies/acl/…`: `name` is the rest of the path. With `old_style`, as `sys/policy/…`
/// answers (`rules` instead of `policy`).
pub(crate) async fn handle(core: &Core, call: &Call<'_>, old_style: bool) -> Result<Response> {
    let name = call.path.trim_matches('/').to_lowercase();
    if name.is_empty() {
        return match call.operation {
            Operation::List | Operation::Read => list(core, old_style).await,
            _ => Err(IdentityError::Unsupported),
        };
    }
    if name.contains('/') || name.len() > 512 {
        return Err(IdentityError::invalid("a policy's name has no '/' and at most 512 characters"));
    }
    match call.operation {
        Operation::Read => read(core, &name, old_style).await,
        Operation::Create | Operation::Update => write(core, call, &name).await,
        Operation::Delete => delete(core, call, &name).await,
        Operation::Patch | Operation::List => Err(IdentityError::Unsupported),
    }
}

async fn list(core: &Core, old_style: bool) -> Result<Response> {
    let mut names = core.policies().list("").await?;
    if !names.iter().any(|n| n == DEFAULT) {
        names.insert(0, DEFAULT.to_owned());
        names.sort();
    }
    names.push(ROOT.to_owned());
    Ok(Response::data(if old_style { json!({ "keys": names, "policies": names }) } else { json!({ "keys": names }) }))
}

async fn read(core: &Core, name: &str, old_style: bool) -> Result<Response> {
    let text = if name == ROOT {
        String::new()
    } else {
        match core.policies().get::<Document>(name).await? {
            Some(document) => document.value.text,
            None if name == DEFAULT => DEFAULT_TEXT.to_owned(),
            None => return Err(IdentityError::missing()),
        }
    };
    Ok(Response::data(json!({ "name": name, if old_style { "rules" } else { "policy" }: text })))
}

async fn write(core: &Core, call: &Call<'_>, name: &str) -> Result<Response> {
    if name == ROOT || name == "response-wrapping" {
        return Err(IdentityError::invalid(format!("cannot update {name:?} policy")));
    }
    let fields = Fields(call.data);
    let text = match fields.text("policy")? {
        Some(text) => text,
        None => fields.text("rules")?.unwrap_or_default(),
    };
    if text.trim().is_empty() {
        return Err(IdentityError::invalid("'policy' parameter not supplied or empty"));
    }
    let text = match STANDARD.decode(text.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
        // Vault takes base64 as well; no policy reads as base64 by accident, because of its braces.
        Some(decoded) => decoded,
        None => text,
    };
    let policy =
        Policy::parse(&text).map_err(|error| IdentityError::invalid(format!("failed to parse policy: {error}")))?;
    let mut unit = call.unit();
    unit.audit("policy.set", format!("policies/{name}"), json!({ "rules": policy.rules.len(), "text": text }));
    core.policies().put(&mut unit, name, &Document { text }, Expect::Anything)?;
    core.space(MARK_SPACE).put(&mut unit, MARK, &Mark {}, Expect::Anything)?;
    core.submit(unit).await?;
    Ok(Response::empty())
}

async fn delete(core: &Core, call: &Call<'_>, name: &str) -> Result<Response> {
    if name == ROOT || name == DEFAULT {
        return Err(IdentityError::invalid(format!("cannot delete {name:?} policy")));
    }
    if core.policies().has(name).await? {
        let mut unit = call.unit();
        unit.audit("policy.delete", format!("policies/{name}"), json!({}));
        core.policies().delete(&mut unit, name, Expect::Anything);
        core.space(MARK_SPACE).put(&mut unit, MARK, &Mark {}, Expect::Anything)?;
        core.submit(unit).await?;
    }
    Ok(Response::empty())
}
