//! `role/NAME/PROPERTY`: each setting of a role as a path of its own.

use super::role::{self, Role};
use crate::{Call, Core, IdentityError, Operation, Response, Result, fields::Fields};
use serde_json::{Map, Value, json};

/// A property: its path, the field it is written with, the fields it is read as.
struct Property {
    path: &'static str,
    field: &'static str,
    read: fn(&Role) -> Value,
    /// Puts back what it was before anybody said anything; `None`: it cannot be removed.
    reset: Option<fn(&mut Role)>,
}

const PROPERTIES: [Property; 17] = [
    Property { path: "role-id", field: "role_id", read: |r| json!(r.role_id), reset: None },
    Property {
        path: "policies",
        field: "token_policies",
        read: |r| json!(r.token.policies),
        reset: Some(|r| r.token.policies.clear()),
    },
    Property {
        path: "token-policies",
        field: "token_policies",
        read: |r| json!(r.token.policies),
        reset: Some(|r| r.token.policies.clear()),
    },
    Property { path: "local-secret-ids", field: "local_secret_ids", read: |r| json!(r.local_secret_ids), reset: None },
    Property {
        path: "bound-cidr-list",
        field: "bound_cidr_list",
        read: |r| json!(r.secret_id_bound_cidrs),
        reset: Some(|r| r.secret_id_bound_cidrs.clear()),
    },
    Property {
        path: "secret-id-bound-cidrs",
        field: "secret_id_bound_cidrs",
        read: |r| json!(r.secret_id_bound_cidrs),
        reset: Some(|r| r.secret_id_bound_cidrs.clear()),
    },
    Property {
        path: "token-bound-cidrs",
        field: "token_bound_cidrs",
        read: |r| json!(r.token.bound_cidrs),
        reset: Some(|r| r.token.bound_cidrs.clear()),
    },
    Property {
        path: "bind-secret-id",
        field: "bind_secret_id",
        read: |r| json!(r.bind_secret_id),
        reset: Some(|r| r.bind_secret_id = true),
    },
    Property {
        path: "secret-id-num-uses",
        field: "secret_id_num_uses",
        read: |r| json!(r.secret_id_num_uses),
        reset: Some(|r| r.secret_id_num_uses = 0),
    },
    Property {
        path: "secret-id-ttl",
        field: "secret_id_ttl",
        read: |r| json!(r.secret_id_ttl),
        reset: Some(|r| r.secret_id_ttl = 0),
    },
    Property {
        path: "period",
        field: "token_period",
        read: |r| json!(r.token.period),
        reset: Some(|r| r.token.period = 0),
    },
    Property {
        path: "token-period",
        field: "token_period",
        read: |r| json!(r.token.period),
        reset: Some(|r| r.token.period = 0),
    },
    Property {
        path: "token-num-uses",
        field: "token_num_uses",
        read: |r| json!(r.token.num_uses),
        reset: Some(|r| r.token.num_uses = 0),
    },
    Property { path: "token-ttl", field: "token_ttl", read: |r| json!(r.token.ttl), reset: Some(|r| r.token.ttl = 0) },
    Property {
        path: "token-max-ttl",
        field: "token_max_ttl",
        read: |r| json!(r.token.max_ttl),
        reset: Some(|r| r.token.max_ttl = 0),
    },
    Property {
        path: "token-explicit-max-ttl",
        field: "token_explicit_max_ttl",
        read: |r| json!(r.token.explicit_max_ttl),
        reset: Some(|r| r.token.explicit_max_ttl = 0),
    },
    Property {
        path: "application",
        field: "application",
        read: |r| json!(r.token.application),
        reset: Some(|r| r.token.application.clear()),
    },
];

pub(super) async fn handle(core: &Core, call: &Call<'_>, name: &str, path: &str) -> Result<Response> {
    let property = PROPERTIES.iter().find(|p| p.path == path).ok_or_else(IdentityError::missing)?;
    let shelf = core.shelf(call.mount);
    let known = role::get(&shelf, name).await?;
    match call.operation {
        Operation::Read => {
            let role = known.ok_or_else(IdentityError::missing)?;
            let value = (property.read)(&role.value);
            Ok(Response::data(Value::Object(Map::from_iter([(property.field.to_owned(), value)]))))
        }
        Operation::Create | Operation::Update | Operation::Patch => {
            let known = known.map_or_else(|| Err(missing(name)), Ok)?;
            let mut changed = known.value.clone();
            let fields = Fields(call.data);
            // `policies` is also written as `policies`.
            let field = if call.data.contains_key(property.field) { property.field } else { &path.replace('-', "_") };
            if !fields.has(field) {
                return Err(IdentityError::invalid(format!("missing {}", property.field)));
            }
            match property.path {
                "role-id" => changed.role_id = fields.needed("role_id")?,
                "local-secret-ids" => {
                    return Err(IdentityError::invalid("local_secret_ids can only be set when the role is made"));
                }
                _ => {
                    let only = Map::from_iter([(property.field.to_owned(), call.data[field].clone())]);
                    changed.update(Fields(&only))?;
                }
            }
            role::write(core, call, Some(known), &changed).await?;
            Ok(Response::empty())
        }
        Operation::Delete => {
            let reset = property.reset.ok_or(IdentityError::Unsupported)?;
            let known = known.ok_or_else(|| missing(name))?;
            let mut changed = known.value.clone();
            reset(&mut changed);
            changed.update(Fields(&Map::new()))?;
            role::write(core, call, Some(known), &changed).await?;
            Ok(Response::empty())
        }
        Operation::List => Err(IdentityError::Unsupported),
    }
}

fn missing(name: &str) -> IdentityError {
    IdentityError::NotFound(format!("role {name:?} does not exist").into())
}
