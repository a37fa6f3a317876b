//! The paths under `auth/token/`.

use super::{Token, create, roles};
use crate::{Auth, Call, Core, IdentityError, Operation, Response, Result, fields::Fields};
use credentialflow_model::SecretValue;
use credentialflow_store::TokenRow;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Accessors given by one list at most.
const MOST_ACCESSORS: usize = 100_000;
const PAGE: u32 = 1000;

/// Answers a path below `auth/token/`.
pub(crate) async fn handle(core: &Core, call: &Call<'_>) -> Result<Response> {
    let fields = Fields(call.data);
    let (head, rest) = call.path.split_once('/').unwrap_or((call.path, ""));
    match (head, call.operation) {
        ("create", op) if op.is_write() => create::handle(core, call, (!rest.is_empty()).then_some(rest), false).await,
        ("create-orphan", op) if op.is_write() && rest.is_empty() => create::handle(core, call, None, true).await,
        ("roles", _) => roles::handle(core, call, rest).await,
        ("accessors", Operation::List) => accessors(core, MOST_ACCESSORS).await,
        ("lookup-self", Operation::Read | Operation::Update | Operation::Create) => lookup_self(core, call),
        ("lookup", Operation::Read | Operation::Update | Operation::Create) => {
            let token = given(&fields, rest)?;
            let row = by_id(core, &token).await?;
            let known = core.alive(&row).await?.ok_or(IdentityError::Denied("bad token"))?;
            Ok(looked_up(core, &known, Some(&token)))
        }
        ("lookup-accessor", op) if op.is_write() => {
            let row = by_accessor(core, &fields, rest).await?;
            let known = core.alive(&row).await?.ok_or_else(unknown_accessor)?;
            Ok(looked_up(core, &known, None))
        }
        ("renew", op) if op.is_write() => {
            let token = given(&fields, rest)?;
            let row = by_id(core, &token).await?;
            renew(core, call, row, Some(&token)).await
        }
        ("renew-self", op) if op.is_write() => {
            let Some(hash) = call.known_caller()?.id_hash() else {
                return Err(IdentityError::invalid("batch tokens cannot be renewed"));
            };
            let row = core.store.token(hash).await?.ok_or(IdentityError::Denied("bad token"))?;
            renew(core, call, row, call.presented).await
        }
        ("renew-accessor", op) if op.is_write() => {
            let row = by_accessor(core, &fields, rest).await?;
            renew(core, call, Arc::new(row), None).await
        }
        ("revoke", op) if op.is_write() => revoke(core, call, core.find(given(&fields, rest)?.as_str()).await?).await,
        ("revoke-self", op) if op.is_write() => {
            let Some(hash) = call.known_caller()?.id_hash() else {
                return Err(IdentityError::invalid("batch tokens cannot be revoked"));
            };
            let found = core.store.token(hash).await?.map(|row| (row, *hash));
            revoke(core, call, found).await
        }
        ("revoke-accessor", op) if op.is_write() => {
            let row = match by_accessor(core, &fields, rest).await {
                // What is gone already is as gone as it was asked to be.
                Err(IdentityError::Invalid(text)) if text == UNKNOWN_ACCESSOR => {
                    let warning = "No token found with this accessor".to_owned();
                    return Ok(Response::unchanged().with_warnings(vec![warning]));
                }
                found => found?,
            };
            core.end_branches(&call.actor(), "token.revoke", vec![row]).await?;
            Ok(Response::empty())
        }
        ("revoke-orphan", op) if op.is_write() => {
            let found = core.find(&given(&fields, rest)?).await?;
            let (row, _) = found.ok_or_else(|| IdentityError::invalid("token to revoke not found"))?;
            // What it made ended with it: to end it alone would revive them.
            if core.alive(&row).await?.is_none() {
                return Err(IdentityError::invalid("token to revoke not found"));
            }
            core.end_alone(&call.actor(), (*row).clone()).await?;
            Ok(Response::empty())
        }
        ("tidy", op) if op.is_write() => {
            // What has ended is removed all the time; this does it now.
            let mut ended = 0;
            loop {
                match core.end_expired(PAGE).await?.tokens {
                    0 => break,
                    some => ended += some,
                }
            }
            let warning = format!("tidy operation finished: {ended} tokens removed");
            Ok(Response { unchanged: ended == 0, ..Response::empty().with_warnings(vec![warning]) })
        }
        (
            "create" | "create-orphan" | "accessors" | "lookup-self" | "lookup" | "lookup-accessor" | "renew"
            | "renew-self" | "renew-accessor" | "revoke" | "revoke-self" | "revoke-accessor" | "revoke-orphan" | "tidy",
            _,
        ) => Err(IdentityError::Unsupported),
        _ => Err(IdentityError::missing()),
    }
}

fn given(fields: &Fields<'_>, in_path: &str) -> Result<Zeroizing<String>> {
    match fields.text("token")?.filter(|t| !t.is_empty()) {
        Some(token) => Ok(Zeroizing::new(token)),
        None if !in_path.is_empty() => Ok(Zeroizing::new(in_path.to_owned())),
        None => Err(IdentityError::invalid("missing token ID")),
    }
}

async fn by_id(core: &Core, token: &str) -> Result<Arc<TokenRow>> {
    Ok(core.find(token).await?.ok_or(IdentityError::Denied("bad token"))?.0)
}

const UNKNOWN_ACCESSOR: &str = "invalid accessor";

fn unknown_accessor() -> IdentityError {
    IdentityError::invalid(UNKNOWN_ACCESSOR)
}

async fn by_accessor(core: &Core, fields: &Fields<'_>, in_path: &str) -> Result<TokenRow> {
    let accessor = match fields.text("accessor")?.filter(|a| !a.is_empty()) {
        Some(accessor) => accessor,
        None if !in_path.is_empty() => in_path.to_owned(),
        None => return Err(IdentityError::invalid("missing accessor")),
    };
    core.store.token_by_accessor(&accessor).await?.ok_or_else(unknown_accessor)
}

fn lookup_self(core: &Core, call: &Call<'_>) -> Result<Response> {
    let caller = call.known_caller()?;
    Ok(looked_up(core, caller.token(), call.presented))
}

/// The answer about a token, with the token itself where the asker had it.
fn looked_up(core: &Core, token: &Token, id: Option<&str>) -> Response {
    let response = Response::data(token.lookup("", core.secs()));
    match id {
        Some(id) => response.with_secret("id", SecretValue::from(id)),
        None => response,
    }
}

async fn renew(core: &Core, call: &Call<'_>, row: Arc<TokenRow>, presented: Option<&str>) -> Result<Response> {
    let increment = Fields(call.data).seconds("increment")?.unwrap_or(0);
    let renewed = core.renew(&call.actor(), row, increment).await?;
    let auth: Auth = core.auth(SecretValue::from(presented.unwrap_or_default()), &renewed.token);
    Ok(Response::auth(auth).with_warnings(renewed.warnings))
}

async fn revoke(core: &Core, call: &Call<'_>, found: Option<(Arc<TokenRow>, [u8; 32])>) -> Result<Response> {
    // What is gone already is as gone as it was asked to be.
    if let Some((row, _)) = found {
        core.end_branches(&call.actor(), "token.revoke", vec![(*row).clone()]).await?;
        return Ok(Response::empty());
    }
    Ok(Response::unchanged())
}

pub(crate) async fn accessors(core: &Core, most: usize) -> Result<Response> {
    let mut all: Vec<String> = Vec::new();
    let mut after = String::new();
    let now = core.clock.now();
    loop {
        let page = core.store.tokens_page(&after, PAGE).await?;
        let full = page.len() == PAGE as usize;
        if let Some(last) = page.last() {
            after.clone_from(&last.accessor);
        }
        all.extend(page.into_iter().filter(|row| row.expires_at.is_none_or(|end| end > now)).map(|row| row.accessor));
        if all.len() > most {
            all.truncate(most);
            let warning = format!("there are more: these are the first {most}");
            return Ok(Response::keys(all)?.with_warnings(vec![warning]));
        }
        if !full {
            return Response::keys(all);
        }
    }
}
