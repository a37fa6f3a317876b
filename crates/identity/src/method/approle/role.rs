//! The roles of an AppRole mount.

use crate::{
    Call, Core, IdentityError, Operation, Response, Result, Shelf,
    fields::{Cidr, Fields},
    shelf::Kept,
    tokens::{TokenParams, random_text},
};
use credentialflow_store::{Expect, Op, Unit};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A role.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Role {
    /// As it was written; its place is in lower case.
    pub(super) name: String,
    pub(super) role_id: String,
    pub(super) bind_secret_id: bool,
    pub(super) local_secret_ids: bool,
    pub(super) secret_id_bound_cidrs: Vec<Cidr>,
    pub(super) secret_id_num_uses: i64,
    pub(super) secret_id_ttl: i64,
    pub(super) token: TokenParams,
}

/// What leads from a role id to its role.
#[derive(Serialize, Deserialize)]
struct Index {
    role: String,
}

impl Role {
    fn new(name: &str) -> Result<Self> {
        Ok(Self {
            name: name.to_lowercase(),
            role_id: new_uuid()?,
            bind_secret_id: true,
            local_secret_ids: false,
            secret_id_bound_cidrs: Vec::new(),
            secret_id_num_uses: 0,
            secret_id_ttl: 0,
            token: TokenParams::default(),
        })
    }

    /// Takes what a request says.
    pub(super) fn update(&mut self, fields: Fields<'_>) -> Result<()> {
        self.bind_secret_id = fields.bool("bind_secret_id")?.unwrap_or(self.bind_secret_id);
        if let Some(networks) = fields.networks("secret_id_bound_cidrs")?.or(fields.networks("bound_cidr_list")?) {
            self.secret_id_bound_cidrs = networks;
        }
        if let Some(uses) = fields.int("secret_id_num_uses")? {
            if uses < 0 {
                return Err(IdentityError::invalid("num_uses cannot be negative"));
            }
            self.secret_id_num_uses = uses;
        }
        self.secret_id_ttl = fields.seconds("secret_id_ttl")?.unwrap_or(self.secret_id_ttl);
        if let Some(policies) = fields.list("policies")?.filter(|_| !fields.has("token_policies")) {
            self.token.policies = crate::tokens::with_default(policies, false);
        }
        if let Some(period) = fields.seconds("period")?.filter(|_| !fields.has("token_period")) {
            self.token.period = period;
        }
        self.token.update(fields)?;
        if self.bind_secret_id || !self.secret_id_bound_cidrs.is_empty() || !self.token.bound_cidrs.is_empty() {
            Ok(())
        } else {
            Err(IdentityError::invalid("at least one constraint should be enabled on the role"))
        }
    }

    fn describe(&self) -> Value {
        let mut data = json!({
            "bind_secret_id": self.bind_secret_id,
            "local_secret_ids": self.local_secret_ids,
            "secret_id_bound_cidrs": self.secret_id_bound_cidrs,
            "secret_id_num_uses": self.secret_id_num_uses,
            "secret_id_ttl": self.secret_id_ttl,
        });
        if let Value::Object(map) = &mut data {
            self.token.describe(map);
        }
        data
    }
}

/// Where the role of a name lies.
pub(super) fn place(name: &str) -> Result<String> {
    Ok(format!("role/{}", crate::method::name(name)?.to_lowercase()))
}

/// A role by its name.
pub(super) async fn get(shelf: &Shelf, name: &str) -> Result<Option<Kept<Role>>> {
    shelf.get(&place(name)?).await
}

/// A role that must be there.
pub(super) async fn needed(shelf: &Shelf, name: &str) -> Result<Kept<Role>> {
    get(shelf, name).await?.ok_or_else(|| IdentityError::NotFound(format!("role {name:?} does not exist").into()))
}

/// Where the role of a role id may be written down: under every pepper, the newest first. Role ids may hold anything,
/// so their hash is the name.
fn index_places(core: &Core, role_id: &str) -> Result<impl Iterator<Item = String>> {
    Ok(core.hashes("approle role id", role_id.as_bytes())?.map(|hash| format!("role_id/{}", hex(&hash))))
}

/// The role of a role id.
pub(super) async fn of_id(core: &Core, shelf: &Shelf, role_id: &str) -> Result<Option<Kept<Role>>> {
    for place in index_places(core, role_id)? {
        let Some(index) = shelf.get::<Index>(&place).await? else { continue };
        // It may have been left behind: the role itself says which role id it has.
        if let Some(role) = get(shelf, &index.value.role).await?.filter(|role| role.value.role_id == role_id) {
            return Ok(Some(role));
        }
    }
    Ok(None)
}

/// Puts into a unit that a role id leads to a role: written down once, under the newest pepper.
async fn put_index(core: &Core, shelf: &Shelf, unit: &mut Unit, role: &Role) -> Result<()> {
    for (age, place) in index_places(core, &role.role_id)?.enumerate() {
        let known = shelf.get::<Index>(&place).await?;
        match known {
            // One that is left of another role is replaced.
            known if age == 0 && known.as_ref().is_none_or(|index| index.value.role != role.name) => {
                let expect = known.as_ref().map_or(Expect::Absent, Kept::unchanged);
                shelf.put(unit, &place, &Index { role: role.name.clone() }, expect)?;
            }
            Some(known) if age > 0 && known.value.role == role.name => shelf.delete(unit, &place, known.unchanged()),
            _ => {}
        }
    }
    Ok(())
}

/// Puts into a unit that a role id leads to a role no more, under whichever pepper that is written down.
async fn remove_index(core: &Core, shelf: &Shelf, unit: &mut Unit, role: &Role) -> Result<()> {
    for place in index_places(core, &role.role_id)? {
        if let Some(known) = shelf.get::<Index>(&place).await?.filter(|index| index.value.role == role.name) {
            shelf.delete(unit, &place, known.unchanged());
        }
    }
    Ok(())
}

/// Writes a role, and what leads from its role id to it.
pub(super) async fn write(core: &Core, call: &Call<'_>, known: Option<Kept<Role>>, role: &Role) -> Result<()> {
    let shelf = core.shelf(call.mount);
    core.known_application(&role.token.application).await?;
    let mut unit = call.unit();
    let path = place(&role.name)?;
    let expect = known.as_ref().map_or(Expect::Absent, Kept::unchanged);
    if of_id(core, &shelf, &role.role_id).await?.is_some_and(|other| other.value.name != role.name) {
        return Err(IdentityError::invalid("role_id is already in use by another role"));
    }
    if let Some(before) = known.as_ref().map(|k| &k.value).filter(|before| before.role_id != role.role_id) {
        remove_index(core, &shelf, &mut unit, before).await?;
    }
    put_index(core, &shelf, &mut unit, role).await?;
    shelf.put(&mut unit, &path, role, expect)?;
    unit.audit("approle.role.set", call.subject(&path), role.describe());
    core.submit(unit).await?;
    Ok(())
}

/// `role/NAME`.
pub(super) async fn handle(core: &Core, call: &Call<'_>, name: &str) -> Result<Response> {
    let shelf = core.shelf(call.mount);
    let known = get(&shelf, name).await?;
    match call.operation {
        Operation::Read => {
            let role = known.ok_or_else(IdentityError::missing)?;
            Ok(Response::data(role.value.describe()))
        }
        Operation::Create | Operation::Update | Operation::Patch => {
            let fields = Fields(call.data);
            let mut role = match &known {
                Some(known) => known.value.clone(),
                None => {
                    let mut fresh = Role::new(name)?;
                    fresh.local_secret_ids = fields.bool("local_secret_ids")?.unwrap_or(false);
                    fresh
                }
            };
            if let Some(id) = fields.text("role_id")?.filter(|id| !id.is_empty()) {
                role.role_id = id;
            }
            role.update(fields)?;
            let mut warnings = Vec::new();
            if role.token.max_ttl > call.mount.max_ttl {
                warnings.push("token_max_ttl is greater than the backend mount's maximum TTL value; issued tokens' max TTL value will be truncated".to_owned());
            }
            write(core, call, known, &role).await?;
            Ok(Response::empty().with_warnings(warnings))
        }
        Operation::Delete => {
            if let Some(known) = known {
                let mut unit = call.unit();
                let role = known.value;
                unit.audit("approle.role.delete", call.subject(&place(name)?), json!({}));
                shelf.delete(&mut unit, &place(name)?, Expect::Anything);
                remove_index(core, &shelf, &mut unit, &role).await?;
                for prefix in [format!("secret_id/{}/", role.name), format!("accessor/{}/", role.name)] {
                    unit.ops.push(Op::DeleteEntries { space: shelf.space().to_owned(), prefix });
                }
                core.submit(unit).await?;
                return Ok(Response::empty());
            }
            Ok(Response::unchanged())
        }
        Operation::List => Err(IdentityError::Unsupported),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

/// A random UUID (RFC 9562, version 4).
pub(super) fn new_uuid() -> Result<String> {
    let mut bytes = [0u8; 16];
    aws_lc_rs::rand::fill(&mut bytes)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let h = hex(&bytes);
    Ok(format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..]))
}

/// A new secret id: 190 random bits.
pub(super) fn new_secret() -> Result<zeroize::Zeroizing<String>> {
    random_text(32)
}
