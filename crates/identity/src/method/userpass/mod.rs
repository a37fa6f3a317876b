//! Userpass: people and scripts log in with a name and a password.
//!
//! Passwords are stored as Argon2id and checked off the runtime's threads, a few at a time. An unknown
//! name costs as much as a wrong password. After 5 failures a name is locked for 15 minutes, known or
//! not; after 100 whatever address they came from.

mod guard;
mod password;

use super::Method;
use crate::{
    Call, Core, IdentityError, Mount, Operation, Response, Result, Shelf, Standing, Standings,
    fields::Fields,
    ports::Boxed,
    shelf::Kept,
    tokens::{Login, Token, TokenParams, holder_of},
};
use credentialflow_model::Timestamp;
use credentialflow_store::{AuditFilter, Expect};
pub(crate) use guard::{Attempt, Guard, Proof};
use password::Hashed;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The method.
#[derive(Clone, Copy, Debug)]
pub struct Userpass;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct User {
    password: Hashed,
    token: TokenParams,
    /// When it was made, seconds since 1970; `None` for those of before that was noted.
    #[serde(default)]
    made: Option<i64>,
    /// When its password was set, likewise.
    #[serde(default)]
    password_set: Option<i64>,
}

impl Method for Userpass {
    fn kind(&self) -> &'static str {
        "userpass"
    }

    fn handle<'a>(&'a self, core: &'a Core, call: &'a Call<'a>) -> Boxed<'a, Result<Response>> {
        Box::pin(handle(core, call))
    }

    fn exists<'a>(&'a self, core: &'a Core, call: &'a Call<'a>) -> Boxed<'a, Result<Option<bool>>> {
        Box::pin(async move {
            match call.path.strip_prefix("users/").filter(|rest| !rest.is_empty() && !rest.contains('/')) {
                Some(name) => Ok(Some(get(&core.shelf(call.mount), name).await?.is_some())),
                None => Ok(None),
            }
        })
    }

    fn renew<'a>(&'a self, shelf: Shelf, token: &'a mut Token) -> Boxed<'a, Result<i64>> {
        Box::pin(async move {
            let name = token.internal.get(super::ROLE).cloned().unwrap_or_default();
            let user = get(&shelf, &name).await?.ok_or_else(super::gone)?;
            super::renewed(token, &user.value.token, &[])
        })
    }

    fn is_open(&self, path: &str) -> bool {
        path.strip_prefix("login/").is_some_and(|name| !name.is_empty())
    }
}

fn place(name: &str) -> Result<String> {
    Ok(format!("users/{}", super::name(name)?.to_lowercase()))
}

async fn get(shelf: &Shelf, name: &str) -> Result<Option<Kept<User>>> {
    shelf.get(&place(name)?).await
}

async fn handle(core: &Core, call: &Call<'_>) -> Result<Response> {
    let shelf = core.shelf(call.mount);
    let path = call.path.trim_end_matches('/');
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["login", name] if call.operation.is_write() => {
            // However it is spelled, it is one user: in the audit log and where tokens are ended by their path, too.
            let name = name.to_lowercase();
            login(core, &Call { path: &format!("login/{name}"), ..*call }, &name).await
        }
        ["users"] if call.operation == Operation::List => Response::keys(shelf.list("users/").await?),
        ["users", name] => user(core, call, name).await,
        ["users", name, "password"] if call.operation.is_write() => {
            let mut known =
                get(&shelf, name).await?.ok_or_else(|| IdentityError::invalid("username does not exist"))?;
            known.value.password = password::hash(Fields(call.data).secret("password")?).await?;
            known.value.password_set = Some(core.secs());
            write(core, call, name, &known.value, known.unchanged(), "userpass.password.set").await
        }
        ["users", name, "policies"] if call.operation.is_write() => {
            let mut known =
                get(&shelf, name).await?.ok_or_else(|| IdentityError::invalid("username does not exist"))?;
            policies(Fields(call.data), &mut known.value.token)?;
            write(core, call, name, &known.value, known.unchanged(), "userpass.user.set").await
        }
        ["login", _] | ["users", ..] => Err(IdentityError::Unsupported),
        _ => Err(IdentityError::missing()),
    }
}

/// The older names of the token settings are understood as well.
fn policies(fields: Fields<'_>, token: &mut TokenParams) -> Result<()> {
    if let Some(policies) = fields.list("policies")?.filter(|_| !fields.has("token_policies")) {
        token.policies = crate::tokens::with_default(policies, false);
    }
    token.update(fields)
}

async fn user(core: &Core, call: &Call<'_>, name: &str) -> Result<Response> {
    let shelf = core.shelf(call.mount);
    let known = get(&shelf, name).await?;
    match call.operation {
        Operation::Read => {
            let user = known.ok_or_else(IdentityError::missing)?;
            let mut data = Map::new();
            user.value.token.describe(&mut data);
            Ok(Response::data(Value::Object(data)))
        }
        Operation::Create | Operation::Update | Operation::Patch => {
            let fields = Fields(call.data);
            if fields.has("password_hash") {
                return Err(IdentityError::invalid("password_hash is not supported; give the password itself"));
            }
            let given = if fields.has("password") { Some(fields.secret("password")?) } else { None };
            let expect = known.as_ref().map_or(Expect::Absent, Kept::unchanged);
            let mut user = match (known, given) {
                (Some(known), None) => known.value,
                (Some(known), Some(secret)) => {
                    let password = password::hash(secret).await?;
                    User { password, password_set: Some(core.secs()), ..known.value }
                }
                (None, Some(secret)) => {
                    let (password, now) = (password::hash(secret).await?, Some(core.secs()));
                    User { password, token: TokenParams::default(), made: now, password_set: now }
                }
                (None, None) => return Err(IdentityError::invalid("missing password")),
            };
            for (name, seconds) in [("ttl", &mut user.token.ttl), ("max_ttl", &mut user.token.max_ttl)] {
                *seconds = fields.seconds(name)?.unwrap_or(*seconds);
            }
            if let Some(networks) = fields.networks("bound_cidrs")? {
                user.token.bound_cidrs = networks;
            }
            policies(fields, &mut user.token)?;
            write(core, call, name, &user, expect, "userpass.user.set").await
        }
        Operation::Delete => {
            if known.is_some() {
                let mut unit = call.unit();
                unit.audit("userpass.user.delete", call.subject(&place(name)?), json!({}));
                shelf.delete(&mut unit, &place(name)?, Expect::Anything);
                core.submit(unit).await?;
                return Ok(Response::empty());
            }
            Ok(Response::unchanged())
        }
        Operation::List => Err(IdentityError::Unsupported),
    }
}

async fn write(
    core: &Core,
    call: &Call<'_>,
    name: &str,
    user: &User,
    expect: Expect,
    action: &str,
) -> Result<Response> {
    core.known_application(&user.token.application).await?;
    let mut unit = call.unit();
    let mut detail = Map::new();
    user.token.describe(&mut detail);
    unit.audit(action, call.subject(&place(name)?), Value::Object(detail));
    core.shelf(call.mount).put(&mut unit, &place(name)?, user, expect)?;
    core.submit(unit).await?;
    Ok(Response::empty())
}

/// The users of a mount after one (`users/NAME`), by name; when they last logged in is told by the audit log.
pub(crate) async fn standings(core: &Core, mount: &Mount, after: &str, most: u32) -> Result<Standings> {
    let page: Vec<(String, User)> = core.shelf(mount).page("users/", after, most).await?;
    let full = u32::try_from(page.len()).is_ok_and(|count| count >= most);
    let next = page.last().filter(|_| full).map(|(place, _)| format!("auth/{}{place}", mount.path));
    let mut items = Vec::with_capacity(page.len());
    for (place, user) in page {
        let name = place.strip_prefix("users/").unwrap_or_default();
        let logins = AuditFilter {
            action: Some("auth.login".to_owned()),
            subject: Some(format!("auth/{}login/{name}", mount.path)),
        };
        let last = core.store.audit_events_before(0, 1, &logins).await?.pop();
        let time = |secs: Option<i64>| secs.map(Timestamp::from_secs);
        items.push(Standing {
            name: format!("auth/{}{place}", mount.path),
            description: "logs in with a password".to_owned(),
            policies: user.token.given_policies(),
            application: Some(user.token.application).filter(|name| !name.is_empty()),
            made: time(user.made),
            made_by: None,
            since: time(user.password_set),
            expires: None,
            last_used: last.map(|event| event.time),
            counted: true,
            holder: holder_of(&mount.id, name),
            set_by: "userpass.user.set",
            rights: None,
        });
    }
    Ok(Standings { items, next })
}

async fn login(core: &Core, call: &Call<'_>, name: &str) -> Result<Response> {
    let attempt = Attempt::new(Proof::Password, call, name);
    if core.guard.is_locked(&attempt, core.secs()) {
        return Err(IdentityError::denied());
    }
    let secret = Fields(call.data).secret("password")?;
    let user = match place(name) {
        Ok(_) => get(&core.shelf(call.mount), name).await?,
        Err(_) => None,
    };
    let right = password::verify(user.as_ref().map(|u| u.value.password.clone()), secret).await?;
    // Of many guesses at the same moment no more are told than of as many in turn.
    if core.guard.is_locked(&attempt, core.secs()) {
        return Err(IdentityError::denied());
    }
    let Some(user) = user.filter(|_| right) else {
        core.refuse(call, &attempt, name).await?;
        return Err(IdentityError::Rejected("invalid username or password"));
    };
    core.guard.forget(&attempt);
    let mut unit = call.unit();
    core.shelf(call.mount).rests_on(&mut unit, &place(name)?, &user);
    let login = Login {
        params: &user.value.token,
        policies: Vec::new(),
        name: name.to_owned(),
        alias: name.to_owned(),
        meta: BTreeMap::from([("username".to_owned(), name.to_owned())]),
        internal: super::facts("userpass", name),
        bound_cidrs: Vec::new(),
    };
    core.log_in(call, unit, login).await
}
