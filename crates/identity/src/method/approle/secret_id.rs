//! Secret ids: made, looked up, destroyed. Only keyed hashes of them are stored.

use super::role::{self, Role};
use crate::{
    Call, Core, IdentityError, Mount, Response, Result, Shelf, Standing, Standings,
    fields::{Cidr, Fields},
    shelf::Kept,
    tokens::TokenParams,
};
use credentialflow_model::{SecretValue, Timestamp};
use credentialflow_store::{Expect, Unit};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What is known about a secret id. Times are seconds since 1970.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SecretId {
    pub(super) accessor: String,
    /// Logins left; 0: no limit.
    pub(super) num_uses: i64,
    pub(super) ttl: i64,
    pub(super) created: i64,
    pub(super) updated: i64,
    pub(super) expires: Option<i64>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) cidr_list: Vec<Cidr>,
    pub(super) token_bound_cidrs: Vec<Cidr>,
    /// Who made it, as the audit log names them; empty for those of before that was noted.
    #[serde(default)]
    pub(super) made_by: String,
    /// When it last let somebody in, to within [`PRECISION`].
    #[serde(default)]
    pub(super) last_used: Option<i64>,
    /// Whether that was noted from the beginning.
    #[serde(default)]
    pub(super) counted: bool,
}

/// How exactly the last login is known, seconds: a flood of logins writes it down once in that time.
const PRECISION: i64 = 3600;

/// What leads from an accessor to its secret id.
#[derive(Serialize, Deserialize)]
struct Index {
    place: String,
}

impl SecretId {
    fn describe(&self, now: i64) -> Value {
        let time = |secs: i64| Timestamp::from_secs(secs).to_string();
        // Vault's zero time stands for "never".
        let never = "0001-01-01T00:00:00Z".to_owned();
        json!({
            "secret_id_accessor": self.accessor,
            "secret_id_num_uses": self.num_uses,
            "secret_id_ttl": self.expires.map_or(self.ttl, |end| (end - now).max(0).min(self.ttl)),
            "creation_time": time(self.created),
            "last_updated_time": time(self.updated),
            "expiration_time": self.expires.map_or(never, time),
            "metadata": self.metadata,
            "cidr_list": self.cidr_list,
            "token_bound_cidrs": self.token_bound_cidrs,
        })
    }

    pub(super) fn is_over(&self, now: i64) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }

    /// Whether a login now is to be written down as the last one. Also after the clock was set back.
    pub(super) fn is_news(&self, now: i64) -> bool {
        self.last_used.is_none_or(|last| now.abs_diff(last) >= PRECISION.unsigned_abs())
    }
}

fn place(role: &Role, hash: &[u8; 32]) -> String {
    format!("secret_id/{}/{}", role.name, role::hex(hash))
}

fn accessor_place(role: &Role, accessor: &str) -> String {
    format!("accessor/{}/{accessor}", role.name)
}

/// What its keyed hashes are made with.
pub(super) const KIND: &str = "approle secret id";

/// A presented secret id of a role, with its place.
pub(super) async fn find(
    core: &Core,
    shelf: &Shelf,
    role: &Role,
    secret: &[u8],
) -> Result<Option<(String, Kept<SecretId>)>> {
    for hash in core.hashes(KIND, secret)? {
        let place = place(role, &hash);
        if let Some(found) = shelf.get(&place).await? {
            return Ok(Some((place, found)));
        }
    }
    Ok(None)
}

/// Removes a secret id and what leads to it.
pub(super) fn remove(shelf: &Shelf, unit: &mut Unit, role: &Role, place: &str, secret: &Kept<SecretId>) {
    shelf.delete(unit, place, secret.unchanged());
    shelf.delete(unit, &accessor_place(role, &secret.value.accessor), Expect::Anything);
}

/// `role/NAME/secret-id` and `role/NAME/custom-secret-id`.
pub(super) async fn create(core: &Core, call: &Call<'_>, name: &str, custom: bool) -> Result<Response> {
    let shelf = core.shelf(call.mount);
    let role = role::needed(&shelf, name).await?.value;
    if !role.bind_secret_id {
        return Err(IdentityError::invalid("bind_secret_id is not set on the role"));
    }
    let fields = Fields(call.data);
    let secret = if custom { fields.secret("secret_id")? } else { SecretValue::from(role::new_secret()?.as_str()) };
    if secret.len() > 4096 {
        return Err(IdentityError::invalid("secret_id is longer than 4096 bytes"));
    }
    let uses = fields.int("num_uses")?;
    if uses.is_some_and(|u| u < 0) {
        return Err(IdentityError::invalid("num_uses cannot be negative"));
    }
    // Nothing here may be wider than the role says.
    let num_uses = match (uses.unwrap_or(0), role.secret_id_num_uses) {
        (0, limit) => limit,
        (given, limit) if limit > 0 && given > limit => {
            return Err(IdentityError::invalid("num_uses cannot be higher than the role's secret_id_num_uses"));
        }
        (given, _) => given,
    };
    let ttl = match (fields.seconds("ttl")?.unwrap_or(0), role.secret_id_ttl) {
        (0, limit) => limit,
        (given, limit) if limit > 0 && given > limit => {
            return Err(IdentityError::invalid("ttl cannot be longer than the role's secret_id_ttl"));
        }
        (given, _) => given,
    };
    let cidr_list = within_role(fields.networks("cidr_list")?, &role.secret_id_bound_cidrs, "cidr_list")?;
    let token_bound_cidrs =
        within_role(fields.networks("token_bound_cidrs")?, &role.token.bound_cidrs, "token_bound_cidrs")?;
    let now = core.secs();
    let value = SecretId {
        accessor: role::new_uuid()?,
        num_uses,
        ttl,
        created: now,
        updated: now,
        expires: (ttl > 0).then(|| now.saturating_add(ttl)),
        metadata: fields.texts("metadata")?.unwrap_or_default(),
        cidr_list,
        token_bound_cidrs,
        made_by: call.actor().name,
        last_used: None,
        counted: true,
    };
    let place = place(&role, &core.hash(KIND, secret.expose())?);
    // A secret id brought along may come again: it then replaces itself, with a new accessor.
    let before = if custom { find(core, &shelf, &role, secret.expose()).await? } else { None };
    let mut unit = call.unit();
    let mut expect = Expect::Absent;
    if let Some((old, before)) = &before {
        shelf.delete(&mut unit, &accessor_place(&role, &before.value.accessor), Expect::Anything);
        if *old == place {
            expect = before.unchanged();
        } else {
            // It lay under an older pepper.
            shelf.delete(&mut unit, old, before.unchanged());
        }
    }
    shelf.put(&mut unit, &place, &value, expect)?;
    let accessor_at = accessor_place(&role, &value.accessor);
    shelf.put(&mut unit, &accessor_at, &Index { place: place.clone() }, Expect::Absent)?;
    let detail = json!({ "accessor": value.accessor, "num_uses": num_uses, "ttl": ttl, "metadata": value.metadata, "custom": custom });
    unit.audit("approle.secret_id.create", call.subject(&format!("role/{}", role.name)), detail);
    core.submit(unit).await?;
    let data = json!({ "secret_id_accessor": value.accessor, "secret_id_ttl": ttl, "secret_id_num_uses": num_uses });
    Ok(Response::data(data).with_secret("secret_id", secret))
}

fn within_role(given: Option<Vec<Cidr>>, role: &[Cidr], name: &str) -> Result<Vec<Cidr>> {
    let given = given.unwrap_or_default();
    match given.iter().find(|one| !role.is_empty() && !role.iter().any(|r| r.covers(one))) {
        Some(outside) => {
            Err(IdentityError::invalid(format!("{name}: {} is not part of what the role allows", outside.as_str())))
        }
        None => Ok(given),
    }
}

/// `LIST role/NAME/secret-id`: the accessors.
pub(super) async fn list(core: &Core, call: &Call<'_>, name: &str) -> Result<Response> {
    let shelf = core.shelf(call.mount);
    let role = role::get(&shelf, name).await?;
    let role = role.ok_or_else(|| IdentityError::invalid(format!("role {name:?} does not exist")))?.value;
    Response::keys(shelf.list(&accessor_place(&role, "")).await?)
}

/// How a secret id is named in a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Secret,
    Accessor,
}

async fn named(
    core: &Core,
    call: &Call<'_>,
    shelf: &Shelf,
    role: &Role,
    by: By,
) -> Result<Option<(String, Kept<SecretId>)>> {
    let fields = Fields(call.data);
    let found = match by {
        By::Secret => find(core, shelf, role, fields.needed("secret_id")?.as_bytes()).await?,
        By::Accessor => {
            let accessor = fields.needed("secret_id_accessor")?;
            let unknown = || IdentityError::NotFound("failed to find accessor entry for secret_id_accessor".into());
            let index: Kept<Index> = shelf.get(&accessor_place(role, &accessor)).await?.ok_or_else(unknown)?;
            shelf.get(&index.value.place).await?.map(|secret| (index.value.place, secret))
        }
    };
    Ok(found.filter(|(_, secret)| !secret.value.is_over(core.secs())))
}

/// `…/lookup`.
pub(super) async fn lookup(core: &Core, call: &Call<'_>, name: &str, by: By) -> Result<Response> {
    let shelf = core.shelf(call.mount);
    let role = role::needed(&shelf, name).await?.value;
    let found = named(core, call, &shelf, &role, by).await?;
    Ok(found.map_or_else(Response::empty, |(_, secret)| Response::data(secret.value.describe(core.secs()))))
}

/// `…/destroy`.
pub(super) async fn destroy(core: &Core, call: &Call<'_>, name: &str, by: By) -> Result<Response> {
    let shelf = core.shelf(call.mount);
    let role = role::needed(&shelf, name).await?.value;
    if let Some((place, secret)) = named(core, call, &shelf, &role, by).await? {
        let mut unit = call.unit();
        remove(&shelf, &mut unit, &role, &place, &secret);
        let detail = json!({ "accessor": secret.value.accessor });
        unit.audit("approle.secret_id.destroy", call.subject(&format!("role/{}", role.name)), detail);
        core.submit(unit).await?;
        return Ok(Response::empty());
    }
    Ok(Response::unchanged())
}

/// The secret ids of a mount after one (`role/NAME/secret-id/ACCESSOR`), by role and accessor.
pub(super) async fn standings(core: &Core, mount: &Mount, after: &str, most: u32) -> Result<Standings> {
    let shelf = core.shelf(mount);
    // One place for each accessor, in the same order as the names.
    let after = after.strip_prefix("role/").and_then(|rest| rest.split_once("/secret-id/"));
    let after = after.map_or_else(String::new, |(role, accessor)| format!("accessor/{role}/{accessor}"));
    let page: Vec<(String, Index)> = shelf.page("accessor/", &after, most).await?;
    let full = u32::try_from(page.len()).is_ok_and(|count| count >= most);
    let name = |place: &str| -> Option<(String, String)> {
        let (role, accessor) = place.strip_prefix("accessor/")?.split_once('/')?;
        Some((role.to_owned(), format!("auth/{}role/{role}/secret-id/{accessor}", mount.path)))
    };
    let next = page.last().filter(|_| full).and_then(|(place, _)| name(place)).map(|(_, name)| name);
    let mut known: Option<Role> = None;
    let mut items = Vec::with_capacity(page.len());
    for (place, index) in page {
        let Some((of, name)) = name(&place) else { continue };
        if known.as_ref().is_none_or(|role| role.name != of) {
            known = role::get(&shelf, &of).await?.map(|kept| kept.value);
        }
        let Some(role) = &known else { continue };
        let secret: Option<Kept<SecretId>> = shelf.get(&index.place).await?;
        let Some(secret) = secret.map(|kept| kept.value).filter(|secret| !secret.is_over(core.secs())) else {
            continue;
        };
        let left = match secret.num_uses {
            0 => String::new(),
            1 => ", for one more login".to_owned(),
            more => format!(", for {more} more logins"),
        };
        let time = |secs: i64| Timestamp::from_secs(secs);
        items.push(Standing {
            name,
            description: format!("lets in as the role {of}{left}"),
            application: Some(role.token.application.clone()).filter(|name| !name.is_empty()),
            policies: role.token.given_policies(),
            made: Some(time(secret.created)),
            made_by: Some(secret.made_by).filter(|name| !name.is_empty()),
            since: Some(time(secret.created)),
            expires: secret.expires.map(time),
            last_used: secret.last_used.map(time),
            counted: secret.counted,
            ..Standing::default()
        });
    }
    Ok(Standings { items, next })
}

/// `tidy/secret-id`: removes what has expired. Expired ones are refused anyway.
pub(super) async fn tidy(core: &Core, call: &Call<'_>) -> Result<Response> {
    let shelf = core.shelf(call.mount);
    let mut removed = 0;
    for folder in shelf.list("secret_id/").await? {
        let name = folder.trim_end_matches('/');
        let Some(role) = role::get(&shelf, name).await? else { continue };
        let mut unit = call.unit();
        let before = removed;
        for hash in shelf.list(&format!("secret_id/{name}/")).await? {
            let place = format!("secret_id/{name}/{hash}");
            let found: Option<Kept<SecretId>> = shelf.get(&place).await?;
            if let Some(secret) = found.filter(|s| s.value.is_over(core.secs())) {
                remove(&shelf, &mut unit, &role.value, &place, &secret);
                removed += 1;
            }
        }
        if removed > before {
            let detail = json!({ "removed": removed - before });
            unit.audit("approle.secret_id.tidy", call.subject(&format!("role/{name}")), detail);
            core.submit(unit).await?;
        }
    }
    let done = Response { unchanged: removed == 0, ..Response::empty() };
    Ok(done.with_warnings(vec![format!("tidy operation finished: {removed} secret ids removed")]))
}

/// The token settings a secret id adds to its role's.
pub(super) fn narrowed(params: &TokenParams, secret: Option<&SecretId>) -> TokenParams {
    let mut params = params.clone();
    if let Some(own) = secret.map(|s| &s.token_bound_cidrs).filter(|own| !own.is_empty()) {
        params.bound_cidrs.clone_from(own);
    }
    params
}
