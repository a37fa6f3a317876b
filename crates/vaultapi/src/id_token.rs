//! Paths below `identity/oidc/`: identity tokens that others can check. Everything else below `identity/`
//! is not offered.

use crate::{
    answer::Answer,
    error::{ApiError, Result},
    request::{Request, Verb},
    serve::{asked, authorize},
    state::Ready,
};
use credentialflow_identity::{Authenticated, Call, Identity, Mount};
use credentialflow_secrets::mounts::SYSTEM_TTL;

const PREFIX: &str = "identity/oidc/";

/// Whether [`open`] answers.
pub(crate) fn is_open(request: &Request) -> bool {
    request.verb == Verb::Read && request.path.strip_prefix(PREFIX).is_some_and(Identity::id_tokens_open)
}

/// What everybody may see: the public keys and where they are. `None`: it is not that.
pub(crate) async fn open(ready: &Ready, request: &Request) -> Option<Result<Answer>> {
    if !is_open(request) {
        return None;
    }
    let path = request.path.strip_prefix(PREFIX)?;
    let mount = mount();
    let answer = ready.identity.id_tokens(&call(request, &mount, path, None)).await;
    Some(answer.map(Answer::from).map_err(ApiError::from))
}

pub(crate) async fn answer(ready: &Ready, request: &Request, caller: &Authenticated) -> Result<Answer> {
    authorize(ready, request, caller, true, false)?;
    let path = request.path.strip_prefix(PREFIX).ok_or_else(|| ApiError::no_handler(&request.path))?;
    let mount = mount();
    let response = ready.identity.id_tokens(&call(request, &mount, path, Some(caller))).await.map_err(ApiError::from);
    // A token made is recorded where it is made.
    let reads = matches!(request.verb, Verb::Read | Verb::List) && !path.starts_with("token/");
    if reads || path.trim_end_matches('/') == "introspect" {
        return Ok(asked(ready, request, caller, "identity.read", None, response).await?.into());
    }
    let response = response?;
    if response.unchanged {
        return Ok(asked(ready, request, caller, "identity.write", None, Ok(response)).await?.into());
    }
    Ok(response.into())
}

/// Where the keys and roles lie: the same in every installation.
pub(crate) fn mount() -> Mount {
    Mount {
        id: "identity-standard".to_owned(),
        path: "identity/".to_owned(),
        accessor: "identity_00000000".to_owned(),
        default_ttl: SYSTEM_TTL,
        max_ttl: SYSTEM_TTL,
    }
}

fn call<'a>(request: &'a Request, mount: &'a Mount, path: &'a str, caller: Option<&'a Authenticated>) -> Call<'a> {
    Call {
        mount,
        operation: request.verb.operation(true),
        path,
        data: &request.data,
        caller,
        presented: request.token.as_ref().and_then(|t| t.expose_str()),
        source: request.source,
        rests_on: None,
    }
}
