//! Paths of secret engines.

use crate::{
    answer::Answer,
    error::{ApiError, Result},
    request::{Request, Verb},
    serve::{authorize, detail, subject, txn},
    state::Ready,
};
use credentialflow_identity::{Authenticated, acl::Decision};
use credentialflow_secrets::{Call, Client, Operation, engine::Engine, mounts::Side};

pub(crate) async fn answer(ready: &Ready, request: &Request, caller: &Authenticated) -> Result<(Answer, Decision)> {
    let mut txn = txn(ready, caller);
    let table = ready.mounts.table(&mut txn).await?;
    let found = table.find(Side::Secret, &request.path);
    let Some((mount, path, engine)) = found.and_then(|(mount, path)| Some((mount, path, Engine::of(mount)?))) else {
        // Who may not use a path is not told whether something is mounted there.
        authorize(request, caller, true, false)?;
        return Err(ApiError::no_handler(&request.path));
    };
    let operation = match request.verb {
        Verb::Read => Operation::Read,
        Verb::List => Operation::List,
        Verb::Write => Operation::Write,
        Verb::Patch => Operation::Patch,
        Verb::Delete => Operation::Delete,
    };
    let client = Client { accessor: caller.token().accessor.clone(), actor: caller.actor() };
    let call = Call { operation, path, data: &request.data, mount, client: &client, now: txn.now() };
    let exists = if request.verb == Verb::Write && !caller.acl().is_root() {
        // A malformed path is refused by the policies first, as one where nothing is.
        engine.exists(&call, &mut txn).await.unwrap_or(false)
    } else {
        true
    };
    let decision = authorize(request, caller, exists, false)?;
    let done = engine.handle(&call, &mut txn).await;
    txn.audit(&format!("secret.{}", request.verb.as_str()), &subject(request), detail(request));
    match done {
        Ok(reply) => {
            txn.commit().await?;
            Ok((reply.into(), decision))
        }
        Err(error) => {
            // Also that nothing was found is an answer somebody got; nothing is written where it failed.
            let error = ApiError::from(error);
            if matches!(error.status, 400 | 404) && !txn.has_changes() {
                txn.commit().await?;
            }
            Err(error)
        }
    }
}
