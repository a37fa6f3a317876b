//! `login`: role id and secret id become a token, in one transaction with the count of the secret id.

use super::{
    role,
    secret_id::{self, SecretId},
};
use crate::{
    Call, Core, IdentityError, Response, Result,
    fields::{Fields, within},
    method::{
        self,
        userpass::{Attempt, Proof},
    },
    tokens::Login,
};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// One refusal for every reason that has to do with the two ids.
fn refused() -> IdentityError {
    IdentityError::Rejected("invalid role or secret ID")
}

pub(super) async fn handle(core: &Core, call: &Call<'_>) -> Result<Response> {
    let fields = Fields(call.data);
    let role_id = fields.needed("role_id")?;
    let secret = Zeroizing::new(fields.text_or_empty("secret_id")?);
    let attempt = Attempt::new(Proof::SecretId, call, &role_id);
    if core.guard.is_locked(&attempt, core.secs()) {
        return Err(IdentityError::denied());
    }
    let answer = once(core, call, &role_id, &secret).await;
    match &answer {
        Ok(_) => core.guard.forget(&attempt),
        Err(IdentityError::Rejected(_)) => core.refuse(call, &attempt, &role_id).await?,
        Err(_) => {}
    }
    answer
}

async fn once(core: &Core, call: &Call<'_>, role_id: &str, secret: &str) -> Result<Response> {
    let shelf = core.shelf(call.mount);
    let Some(known) = role::of_id(core, &shelf, role_id).await? else {
        // As much work as for a known role.
        core.hashes(secret_id::KIND, secret.as_bytes())?.for_each(drop);
        return Err(refused());
    };
    let mut unit = call.unit();
    shelf.rests_on(&mut unit, &role::place(&known.value.name)?, &known);
    let role = known.value;
    if !within(&role.secret_id_bound_cidrs, call.source) {
        return Err(IdentityError::invalid("source address unauthorized through CIDR restrictions on the role"));
    }
    let mut meta = BTreeMap::new();
    let mut found = None;
    if role.bind_secret_id {
        if secret.is_empty() {
            return Err(IdentityError::invalid("missing secret_id"));
        }
        let (place, kept) = secret_id::find(core, &shelf, &role, secret.as_bytes()).await?.ok_or_else(refused)?;
        if kept.value.is_over(core.secs()) {
            return Err(refused());
        }
        if !within(&kept.value.cidr_list, call.source) {
            return Err(IdentityError::invalid(
                "source address unauthorized through CIDR restrictions on the secret ID",
            ));
        }
        match kept.value.num_uses {
            0 if kept.value.is_news(core.secs()) => {
                let seen = SecretId { last_used: Some(core.secs()), ..kept.value.clone() };
                shelf.put(&mut unit, &place, &seen, kept.unchanged())?;
            }
            0 => shelf.rests_on(&mut unit, &place, &kept),
            1 => secret_id::remove(&shelf, &mut unit, &role, &place, &kept),
            more => {
                let mut counted = kept.value.clone();
                counted.num_uses = more - 1;
                counted.updated = core.secs();
                counted.last_used = Some(core.secs());
                shelf.put(&mut unit, &place, &counted, kept.unchanged())?;
            }
        }
        meta.clone_from(&kept.value.metadata);
        found = Some(kept.value);
    }
    meta.insert("role_name".to_owned(), role.name.clone());
    let params = secret_id::narrowed(&role.token, found.as_ref());
    let login = Login {
        params: &params,
        policies: Vec::new(),
        name: String::new(),
        alias: role.role_id.clone(),
        meta,
        internal: method::facts("approle", &role.name),
        bound_cidrs: Vec::new(),
    };
    core.log_in(call, unit, login).await
}
