//! Response wrapping: answers kept for whoever holds a token that opens them once.

use crate::{
    answer::{Answer, text_of},
    error::{ApiError, Result},
    request::{Request, Verb},
    serve::{anonymous, detail, subject},
    state::Ready,
};
use credentialflow_identity::{acl::Capability, wiped::Buffer};
use credentialflow_model::{Actor, SecretValue};
use credentialflow_secrets::{
    fields,
    wrapping::{self, Wrapped},
};
use serde_json::{Value, json};

/// Keeps an answer and gives a token instead, where the request asks for it.
pub(crate) async fn maybe(ready: &Ready, request: &Request, actor: Actor, answer: Answer) -> Result<Answer> {
    if request.path.starts_with("sys/wrapping/") || !answer.tells_something() {
        return Ok(answer);
    }
    let Some(ttl) = request.wrap_ttl else { return Ok(answer) };
    keep(ready, request, actor, ttl, &request.path, answer).await
}

/// Keeps an answer for so many seconds.
pub(crate) async fn keep(
    ready: &Ready,
    request: &Request,
    actor: Actor,
    ttl: i64,
    path: &str,
    answer: Answer,
) -> Result<Answer> {
    let accessor = wrapping::accessor()?;
    let tail = match answer.kept {
        Some(kept) => kept,
        None => answer.tail(),
    };
    let mut whole = Buffer::new(tail.len() + 2);
    [b"{", tail.expose(), b"}"].iter().for_each(|part| whole.push(part));
    let whole = SecretValue::from(whole);
    // Where a race is lost the answer must stay in hand, so this one is tried again by itself.
    for _ in 0..16 {
        let mut txn = ready.txn(actor.clone());
        let about = Wrapped {
            accessor: accessor.clone(),
            creation_path: path.to_owned(),
            created: txn.now(),
            ttl,
            wrapped_accessor: answer.auth_accessor.clone(),
        };
        let created = about.created;
        let token = wrapping::wrap(&mut txn, &whole, about)?;
        txn.audit("response.wrap", &subject(request), detail(request));
        match txn.commit().await {
            Ok(_) => {}
            Err(credentialflow_secrets::SecretsError::Raced) => continue,
            Err(other) => return Err(other.into()),
        }
        let mut info = json!({
            "token": token.expose_str(),
            "accessor": accessor,
            "ttl": ttl,
            "creation_time": created.to_string(),
            "creation_path": path,
        });
        if let Some(wrapped) = &answer.auth_accessor {
            info["wrapped_accessor"] = Value::String(wrapped.clone());
        }
        return Ok(Answer { wrap_info: Some(text_of(info)), ..Answer::default() });
    }
    Err(ApiError::new(503, "others were first again and again; try again"))
}

/// What is to be done with a wrapping token; `None`: the path is for something else.
fn asked(request: &Request) -> Option<&str> {
    let what = request.path.strip_prefix("sys/wrapping/")?.trim_end_matches('/');
    matches!(what, "unwrap" | "lookup" | "rewrap").then_some(what)
}

/// Whether [`open`] answers.
pub(crate) fn is_open(request: &Request) -> bool {
    asked(request).is_some()
}

/// `sys/wrapping/unwrap` and `lookup` with a wrapping token: holding it is all that is needed.
pub(crate) async fn open(ready: &Ready, request: &Request) -> Option<Result<Answer>> {
    let what = asked(request)?;
    if !matches!(request.verb, Verb::Write | Verb::Read) || (request.verb == Verb::Read && what != "lookup") {
        return Some(Err(ApiError::unsupported_operation()));
    }
    Some(opened(ready, request, what).await)
}

async fn opened(ready: &Ready, request: &Request, what: &str) -> Result<Answer> {
    let invalid = || ApiError::invalid("wrapping token is not valid or does not exist");
    let given = fields::text(&request.data, "token")?.filter(|t| !t.is_empty()).map(SecretValue::from);
    let (token, actor) = match (given, &request.token) {
        // A token in the body is handed in by a caller of its own.
        (Some(given), Some(own)) => {
            let own = own.expose_str().ok_or_else(ApiError::denied)?;
            // Looking on is harmless, and whoever holds the token could present it alone.
            let actor = match ready.identity.authenticate(own, request.source).await {
                Ok(caller) => {
                    let operation = credentialflow_identity::Operation::Update;
                    let (decision, rule) = caller.acl().decide_by(operation, &request.path, &request.data);
                    if !decision.allowed {
                        return Err(ApiError::denied());
                    }
                    if let Some(rule) = rule {
                        let now = ready.identity.clock().secs();
                        ready.uses.note(&caller, rule, Capability::needed_for(operation), false, now);
                    }
                    caller.actor()
                }
                Err(_) => return Err(ApiError::denied()),
            };
            (given, actor)
        }
        (Some(given), None) => (given, anonymous(request)),
        (None, Some(own)) => (own.duplicate(), anonymous(request)),
        (None, None) => return Err(invalid()),
    };
    let mut txn = ready.txn(actor.clone());
    if what == "lookup" {
        let about = wrapping::lookup(&mut txn, &token).await?.ok_or_else(invalid)?;
        txn.audit("response.lookup", &subject(request), detail(request));
        txn.commit().await?;
        return Ok(Answer::data(json!({
            "creation_path": about.creation_path,
            "creation_time": about.created.to_string(),
            "creation_ttl": about.ttl,
        })));
    }
    let (about, whole) = wrapping::unwrap(&mut txn, &token).await?.ok_or_else(invalid)?;
    let text = whole.expose();
    let kept = SecretValue::new(text.get(1..text.len().saturating_sub(1)).unwrap_or_default().to_vec());
    if what == "rewrap" {
        // One transaction: the old token ends exactly when the new one begins.
        let renewed = Wrapped { created: txn.now(), accessor: wrapping::accessor()?, ..about };
        let info = json!({
            "accessor": renewed.accessor,
            "ttl": renewed.ttl,
            "creation_time": renewed.created.to_string(),
            "creation_path": renewed.creation_path,
        });
        let token = wrapping::wrap(&mut txn, &whole, renewed)?;
        txn.audit("response.rewrap", &subject(request), detail(request));
        txn.commit().await?;
        let mut info = info;
        info["token"] = Value::from(token.expose_str());
        return Ok(Answer { wrap_info: Some(text_of(info)), ..Answer::default() });
    }
    txn.audit("response.unwrap", &subject(request), detail(request));
    txn.commit().await?;
    Ok(Answer { kept: Some(kept), ..Answer::default() })
}
