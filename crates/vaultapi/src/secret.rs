//! Paths of secret engines.

use crate::{
    answer::{Answer, Lease},
    error::{ApiError, Result},
    request::{Request, Verb},
    serve::{authorize, detail, subject, txn},
    state::Ready,
};
use credentialflow_identity::Authenticated;
use credentialflow_secrets::{
    Call, Client, Mount, Operation, Payload, SecretsError,
    engine::{Engine, database::Deed, wipe},
    lease::{Done, Holder},
    mounts::Side,
};
use serde_json::{Map, Value};

pub(crate) async fn answer(ready: &Ready, request: &Request, caller: &Authenticated) -> Result<Answer> {
    let mut txn = txn(ready, caller);
    let table = ready.mounts.table(&mut txn).await?;
    let found = table.find(Side::Secret, &request.path);
    let Some((mount, path, engine)) = found.and_then(|(mount, path)| Some((mount, path, Engine::of(mount)?))) else {
        // Who may not use a path is not told whether something is mounted there.
        authorize(ready, request, caller, true, false)?;
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
        match engine.exists(&call, &mut txn).await {
            Ok(exists) => exists,
            // A malformed path is refused by the policies first, as one where nothing is.
            Err(
                SecretsError::Invalid(_)
                | SecretsError::NotFound
                | SecretsError::UnknownPath
                | SecretsError::Unsupported,
            ) => false,
            // Not to know is not to know that nothing is there: who may only create must not write over something.
            Err(error) => return Err(error.into()),
        }
    } else {
        true
    };
    authorize(ready, request, caller, exists, engine.is_for_operators(path))?;
    if let Some(deed) = engine.deed(operation, path) {
        return perform(ready, request, caller, mount, deed).await;
    }
    let done = engine.handle(&call, &mut txn).await;
    txn.audit(&format!("secret.{}", request.verb.as_str()), &subject(request), detail(request));
    match done {
        Ok(reply) => {
            txn.commit().await?;
            Ok(reply.into())
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

/// What is done at another system. In a task of its own, so that a caller who hangs up leaves nothing half done.
async fn perform(
    ready: &Ready,
    request: &Request,
    caller: &Authenticated,
    mount: &Mount,
    deed: Deed,
) -> Result<Answer> {
    let token = caller.token();
    let holder = Holder {
        actor: caller.actor(),
        accessor: token.accessor.clone(),
        token: caller.id_hash().map(|hash| hash.to_vec()),
        entity: token.entity.clone(),
        application: token.application.clone(),
        origin: token.origin().to_owned(),
        display_name: token.display_name.clone(),
    };
    let (leases, mount, told) = (ready.leases.clone(), mount.clone(), detail(request));
    let data = Fields(request.data.clone());
    let done = tokio::spawn(async move { leases.perform(&holder, &mount, &deed, &data.0, &told).await }).await;
    Ok(match done.map_err(|_| ApiError::new(500, "internal error"))?? {
        Done::Issued(issued) => {
            let lease = Lease { id: issued.id, renewable: issued.renewable, duration: issued.ttl };
            let warnings = issued.warnings;
            Answer { data: Some(Payload::Secret(issued.data)), lease, warnings, ..Answer::default() }
        }
        Done::Reply(reply) => reply.into(),
    })
}

/// A copy of a request's fields, wiped as they are.
struct Fields(Map<String, Value>);

impl Drop for Fields {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}
