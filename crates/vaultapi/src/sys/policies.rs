//! Policies, in the form of today and in the older one.

use super::Context;
use crate::{
    answer::Answer,
    error::{ApiError, Result},
    request::Verb,
};
use credentialflow_identity::{Call, Mount, Operation};

/// `sys/policies/acl/NAME`.
pub(super) async fn acl(cx: &Context<'_>, name: &str) -> Result<Answer> {
    let (mount, operation) = (place(), operation(cx)?);
    let name = name.trim_start_matches('/');
    let operation = if name.is_empty() && operation == Operation::Read { Operation::List } else { operation };
    Ok(cx.ready.identity.policies(&call(cx, &mount, name, operation)).await?.into())
}

/// `sys/policy/NAME`.
pub(super) async fn old(cx: &Context<'_>, name: &str) -> Result<Answer> {
    let (mount, operation) = (place(), operation(cx)?);
    let operation = if name.is_empty() && operation == Operation::Read { Operation::List } else { operation };
    let response = cx.ready.identity.policies_old_style(&call(cx, &mount, name, operation)).await?;
    Ok(Answer { flat: true, ..response.into() })
}

fn operation(cx: &Context<'_>) -> Result<Operation> {
    if cx.request.verb == Verb::Patch {
        return Err(ApiError::unsupported_operation());
    }
    Ok(cx.request.verb.operation(true))
}

fn call<'a>(cx: &'a Context<'a>, mount: &'a Mount, name: &'a str, operation: Operation) -> Call<'a> {
    Call {
        mount,
        operation,
        path: name,
        data: &cx.request.data,
        caller: Some(cx.caller),
        presented: None,
        source: cx.request.source,
        rests_on: None,
    }
}

/// Policies belong to no mount.
fn place() -> Mount {
    Mount { id: "policies".into(), path: "policies/".into(), accessor: String::new(), default_ttl: 0, max_ttl: 0 }
}
