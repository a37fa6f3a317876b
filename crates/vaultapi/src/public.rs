//! What a secret engine tells everybody: an authority's certificate and its list of withdrawn ones, which relying
//! parties fetch without being anybody. Not recorded: nothing secret is told, and nobody asks.

use crate::{
    answer::Answer,
    error::{ApiError, Result},
    request::{Request, Verb},
    serve::{anonymous, subject},
    state::Ready,
};
use credentialflow_model::Actor;
use credentialflow_secrets::{Call, Client, Mount, Operation, engine::Engine, mounts::Side};
use serde_json::json;

/// Whether [`open`] answers.
pub(crate) async fn is_open(ready: &Ready, request: &Request) -> Result<bool> {
    Ok(found(ready, request).await?.is_some())
}

/// `None`: it is not that.
pub(crate) async fn open(ready: &Ready, request: &Request) -> Option<Result<Answer>> {
    match found(ready, request).await {
        Ok(Some((mount, path, engine))) => Some(answer(ready, request, &mount, &path, engine).await),
        Ok(None) => None,
        Err(error) => Some(Err(error)),
    }
}

async fn found(ready: &Ready, request: &Request) -> Result<Option<(Mount, String, Engine)>> {
    // Most requests are seen not to be it without a look at what is mounted.
    if request.verb != Verb::Read || !["/ca", "/crl", "/cert/"].iter().any(|part| request.path.contains(part)) {
        return Ok(None);
    }
    let table = ready.mounts.table(&mut ready.txn(anonymous(request))).await?;
    let found = table.find(Side::Secret, &request.path).and_then(|(mount, path)| {
        let engine = Engine::of(mount).filter(|engine| engine.is_public(Operation::Read, path))?;
        Some((mount.clone(), path.to_owned(), engine))
    });
    Ok(found)
}

async fn answer(ready: &Ready, request: &Request, mount: &Mount, path: &str, engine: Engine) -> Result<Answer> {
    let actor = Actor::system("certificates");
    let client = Client { accessor: String::new(), actor: actor.clone() };
    let mut txn = ready.txn(actor);
    let call = Call { operation: Operation::Read, path, data: &request.data, mount, client: &client, now: txn.now() };
    let reply = engine.handle(&call, &mut txn).await.map_err(ApiError::from)?;
    if txn.has_changes() {
        // The list was about to be over and is signed anew.
        txn.audit("certificate.list", &subject(request), json!({ "request_id": request.id }));
        txn.commit().await?;
    }
    Ok(reply.into())
}
