//! The whole way of a request, from top to bottom.

use crate::{
    VaultApi,
    answer::Answer,
    auth,
    body::Limits,
    error::{ApiError, Result},
    id_token, parse, public,
    request::{Request, Verb},
    secret,
    state::{Inner, Ready},
    sys, wrap,
};
use axum::{body::Body, extract::State};
use credentialflow_identity::{Authenticated, acl::Capability};
use credentialflow_model::{Actor, ActorKind};
use credentialflow_secrets::Txn;
use http::Response;
use serde_json::{Map, Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How long a request that lost a race is run again. On its own node it is alone by then: this bounds what writers
/// of other nodes can do to it.
const RACES: Duration = Duration::from_secs(20);

pub(crate) async fn handle(State(api): State<VaultApi>, request: http::Request<Body>) -> Response<Body> {
    let (mut request, body) = match Request::head(request) {
        Ok(read) => read,
        Err(error) => return error.into_response(),
    };
    match answer(&api.0, &mut request, body).await {
        Ok(answer) => answer.into_response(&request.id),
        Err(error) => error.into_response(),
    }
}

async fn answer(api: &Inner, request: &mut Request, body: Body) -> Result<Answer> {
    // What can be asked of a vault that is sealed, or not there yet.
    if sys::open::is_open(request) {
        request.read_body(body, &Limits::OPEN, &api.open_bodies).await?;
        return sys::open::answer(api, request).await;
    }
    let ready = api.ready().ok_or_else(ApiError::sealed)?;
    if !ready.is_open().await? {
        return Err(ApiError::sealed());
    }
    // Who asks is known before anything of the body is read.
    let mut first = None;
    if wrap::is_open(request)
        || id_token::is_open(request)
        || auth::is_login(&ready, request).await?
        || public::is_open(&ready, request).await?
    {
        request.read_body(body, &Limits::OPEN, &api.open_bodies).await?;
    } else {
        first = Some(authenticate(api, &ready, request).await?);
        request.read_body(body, &Limits::KNOWN, &api.bodies).await?;
    }
    let request = &*request;
    let counted = first.clone().filter(|caller| caller.token().num_uses != 0);
    let mut turn = api.turns.first(request).await;
    let mut since: Option<Instant> = None;
    loop {
        match once(api, &ready, request, first.take()).await {
            Err(error) if error.raced => {}
            done => return done,
        }
        match since {
            None => {
                // Given back before the line is joined: it would be waited for.
                drop(turn);
                turn = api.turns.next(request).await;
                since = Some(Instant::now());
            }
            Some(since) if since.elapsed() > RACES => {
                return Err(ApiError::new(503, "others were first again and again; try again"));
            }
            Some(_) => {}
        }
        // A token whose uses are counted is used once for a request, however often that is run.
        if let Some(caller) = &counted {
            if !caller.is_last_use() {
                still_there(&ready, request).await?;
            }
            first = Some(caller.clone());
        }
    }
}

/// Refuses where a caller's token was ended since its use was counted.
async fn still_there(ready: &Ready, request: &Request) -> Result<()> {
    let presented = request.token.as_ref().and_then(|t| t.expose_str()).ok_or_else(ApiError::denied)?;
    match ready.identity.acl_of_token(presented).await.map_err(ApiError::from) {
        Err(error) if error.status == 400 => Err(ApiError::denied()),
        other => other.map(drop),
    }
}

/// One try: nothing is done when it loses a race. `known` is the caller, where that was asked just now.
async fn once(api: &Inner, ready: &Arc<Ready>, request: &Request, known: Option<Authenticated>) -> Result<Answer> {
    let caller = match known {
        Some(caller) => caller,
        None => {
            if let Some(answer) = wrap::open(ready, request).await {
                return answer;
            }
            if let Some(answer) = id_token::open(ready, request).await {
                return answer;
            }
            if let Some(answer) = public::open(ready, request).await {
                return answer;
            }
            if let Some(answer) = auth::login(ready, request).await {
                return wrap::maybe(ready, request, anonymous(request), answer?).await;
            }
            authenticate(api, ready, request).await?
        }
    };
    let answer = match route(ready, request, &caller).await {
        Ok(answer) => wrap::maybe(ready, request, caller.actor(), answer).await,
        Err(error) => {
            if error.status == 403 {
                refused(ready, request, caller.actor()).await?;
            }
            Err(error)
        }
    };
    if caller.is_last_use() && !matches!(&answer, Err(error) if error.raced) {
        ready.identity.spend(&caller).await?;
    }
    answer
}

/// To the room that knows the path.
async fn route(ready: &Arc<Ready>, request: &Request, caller: &Authenticated) -> Result<Answer> {
    match request.path.split_once('/') {
        Some(("sys", _)) => sys::answer(ready, request, caller).await,
        Some(("identity", _)) => id_token::answer(ready, request, caller).await,
        Some(("auth", _)) => auth::answer(ready, request, caller).await,
        _ => secret::answer(ready, request, caller).await,
    }
}

/// Who asks. Refusals are recorded now and then, and never waited for.
async fn authenticate(api: &Inner, ready: &Arc<Ready>, request: &Request) -> Result<Authenticated> {
    let presented = request.token.as_ref().and_then(|t| t.expose_str());
    let error = match presented {
        Some(presented) => match ready.identity.authenticate(presented, request.source).await {
            Ok(caller) => return Ok(caller),
            Err(error) => error.into(),
        },
        None => ApiError::denied(),
    };
    if error.status == 403
        && let Some((place, left_out)) = api.denials.next(request.source, Instant::now())
    {
        let mut detail = detail(request);
        if left_out > 0 {
            detail["left_out"] = left_out.into();
        }
        let (ready, actor, subject) = (ready.clone(), anonymous(request), subject(request));
        tokio::spawn(async move {
            let mut txn = ready.txn(actor);
            txn.audit("request.deny", &subject, detail);
            if let Err(error) = txn.commit().await {
                tracing::warn!(%error, "a refusal could not be written to the audit log");
            }
            drop(place);
        });
    }
    Err(error)
}

/// Asks the policies, also whether the answer has to be wrapped: afterwards it would be too late. `exists` tells create
/// from update; `sudo` says that the path is for operators. Which rule let it happen is kept, for the inventory.
pub(crate) fn authorize(
    ready: &Ready,
    request: &Request,
    caller: &Authenticated,
    exists: bool,
    sudo: bool,
) -> Result<()> {
    let listed;
    let path = if request.verb == Verb::List && !request.path.ends_with('/') {
        listed = format!("{}/", request.path);
        &listed
    } else {
        &request.path
    };
    // A question about what is there has no fields that a rule could be about.
    let none = Map::new();
    let data = if matches!(request.verb, Verb::Write | Verb::Patch) { &request.data } else { &none };
    let operation = request.verb.operation(exists);
    let (decision, rule) = caller.acl().decide_by(operation, path, data);
    let allowed = decision.allowed && (decision.sudo || !sudo) && decision.permits_wrapping(request.wrap_ttl);
    if !allowed {
        return Err(ApiError::denied());
    }
    if let Some(rule) = rule {
        ready.uses.note(caller, rule, Capability::needed_for(operation), sudo, ready.identity.clock().secs());
    }
    Ok(())
}

/// A transaction in the caller's name that fails when the token was ended meanwhile.
pub(crate) fn txn(ready: &Ready, caller: &Authenticated) -> Txn {
    let mut txn = ready.txn(caller.actor());
    if let Some(hash) = caller.id_hash() {
        txn.rests_on_token(hash);
    }
    txn
}

/// What the audit log is told of a request, besides who and what.
pub(crate) fn detail(request: &Request) -> Value {
    json!({ "request_id": request.id, "operation": request.verb.as_str() })
}

/// Records a question that was answered, also where the answer is that nothing is there: somebody got it. `about` names
/// what was asked about, where the path does not.
pub(crate) async fn asked<T>(
    ready: &Ready,
    request: &Request,
    caller: &Authenticated,
    action: &str,
    about: Option<(&str, String)>,
    answer: Result<T>,
) -> Result<T> {
    if answer.as_ref().err().is_none_or(|error| matches!(error.status, 400 | 404)) {
        let mut detail = detail(request);
        if let Some((name, value)) = about {
            detail[name] = value.into();
        }
        let mut txn = txn(ready, caller);
        txn.audit(action, &subject(request), detail);
        txn.commit().await?;
    }
    answer
}

/// Records a refusal of a caller whose token is good. A request is refused also where that cannot be written, then with that reason.
async fn refused(ready: &Ready, request: &Request, actor: Actor) -> Result<()> {
    let mut txn = ready.txn(actor);
    txn.audit("request.deny", &subject(request), detail(request));
    txn.commit().await?;
    Ok(())
}

/// The subject of audit events: the path below the API, without tokens that clients put there.
pub(crate) fn subject(request: &Request) -> String {
    format!("vault/{}", parse::shown(&request.path))
}

pub(crate) fn anonymous(request: &Request) -> Actor {
    let source = request.source.map(|ip| ip.to_string());
    Actor { kind: ActorKind::Anonymous, name: "anonymous".to_owned(), source }
}
