//! Paths below `sys/`. One file each kind; this list is all there is.

mod capabilities;
pub(crate) mod leases;
mod mounts;
pub(crate) mod open;
mod policies;
mod rekey;
mod seal;

use crate::{
    answer::{Answer, text_of},
    error::{ApiError, Result},
    request::{Request, Verb},
    serve::{asked, authorize},
    state::Ready,
    wrap,
};
use credentialflow_identity::Authenticated;
use credentialflow_secrets::{Payload, mounts::Side};
use serde_json::{Value, json};

/// One question below `sys/`, with what answering it takes.
pub(crate) struct Context<'a> {
    pub ready: &'a Ready,
    pub request: &'a Request,
    pub caller: &'a Authenticated,
}

/// Characters of a name that are recorded.
const LONGEST_NAME: usize = 512;

/// Paths for operators: the capability `sudo` is needed too.
fn is_for_operators(path: &str) -> bool {
    let path = path.trim_end_matches('/');
    matches!(path, "seal" | "rotate" | "remount" | "audit" | "leases" | "leases/lookup" | "leases/tidy")
        || path == "auth"
        || [
            "auth/",
            "audit/",
            "rekey/",
            "leases/lookup/",
            "leases/revoke-prefix/",
            "leases/revoke-force/",
            "revoke-prefix/",
            "revoke-force/",
        ]
        .iter()
        .any(|prefix| path.starts_with(prefix))
}

pub(crate) async fn answer(ready: &Ready, request: &Request, caller: &Authenticated) -> Result<Answer> {
    let path = request.path.strip_prefix("sys/").unwrap_or_default().trim_end_matches('/');
    let cx = Context { ready, request, caller };
    // Says itself what the caller may see.
    if let Some(wanted) = path.strip_prefix("internal/ui/mounts/") {
        return asked(ready, request, caller, "sys.read", None, mounts::preflight(&cx, wanted).await).await;
    }
    // Listing what is mounted is harmless, changing it is for operators; with leases it is the other way round.
    let harmless =
        (path == "auth" && request.verb == Verb::Read) || (path == "leases/lookup" && request.verb != Verb::List);
    let sudo = is_for_operators(path) && !harmless;
    authorize(ready, request, caller, true, sudo)?;
    let answer = dispatch(&cx, path).await;
    if matches!(request.verb, Verb::Read | Verb::List) || is_question(path) {
        let about = ["lease_id", "accessor"].into_iter().find_map(|name| Some((name, given(request, name)?)));
        return asked(ready, request, caller, "sys.read", about, answer).await;
    }
    answer
}

/// Whether a path only tells something, although clients ask it with POST, or with DELETE as they do for audit devices.
fn is_question(path: &str) -> bool {
    matches!(path, "capabilities" | "capabilities-self" | "capabilities-accessor" | "leases/lookup")
        || ["leases/lookup/", "audit/", "audit-hash/"].iter().any(|first| path.starts_with(first))
}

/// A field of a request that names something and is no secret.
fn given(request: &Request, name: &str) -> Option<String> {
    let text = request.data.get(name)?.as_str()?;
    Some(text.chars().take(LONGEST_NAME).collect())
}

async fn dispatch(cx: &Context<'_>, path: &str) -> Result<Answer> {
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    match (first, rest) {
        ("mounts", "") => mounts::list(cx, Side::Secret).await,
        ("auth", "") => mounts::list(cx, Side::Auth).await,
        ("mounts", rest) => mounts::one(cx, Side::Secret, rest).await,
        ("auth", rest) => mounts::one(cx, Side::Auth, rest).await,
        ("remount", "") => mounts::remount(cx).await,
        ("remount", rest) => mounts::remount_status(cx, rest).await,
        ("internal", "ui/mounts") => mounts::visible(cx).await,
        ("internal", "ui/resultant-acl") => capabilities::resultant(cx),
        ("policy", name) => policies::old(cx, name).await,
        ("policies", rest) if rest == "acl" || rest.starts_with("acl/") => policies::acl(cx, &rest[3..]).await,
        ("capabilities", "") => capabilities::of_token(cx).await,
        ("capabilities-self", "") => capabilities::own(cx).await,
        ("capabilities-accessor", "") => capabilities::of_accessor(cx).await,
        ("wrapping", "wrap") => wrap_data(cx).await,
        ("seal", "") => seal::seal(cx).await,
        ("rotate", "") => seal::rotate(cx).await,
        ("key-status", "") => seal::key_status(cx),
        ("leases", rest) => leases::answer(cx, rest).await,
        ("renew" | "revoke" | "revoke-prefix" | "revoke-force", _) => leases::answer(cx, path).await,
        ("rekey", rest) => rekey::answer(cx, rest).await,
        ("audit", name) => audit(cx, name),
        ("audit-hash", name) if !name.is_empty() => audit_hash(cx, name),
        _ => Err(ApiError::unsupported_path()),
    }
}

impl Context<'_> {
    /// Refuses every other verb.
    fn only(&self, verbs: &[Verb]) -> Result<()> {
        if verbs.contains(&self.request.verb) { Ok(()) } else { Err(ApiError::unsupported_operation()) }
    }
}

/// Keeps what was sent and gives a token that opens it once.
async fn wrap_data(cx: &Context<'_>) -> Result<Answer> {
    cx.only(&[Verb::Write])?;
    let ttl = cx.request.wrap_ttl.ok_or_else(|| ApiError::invalid("endpoint requires response wrapping to be used"))?;
    let data = Payload::Secret(text_of(Value::Object(cx.request.data.clone())));
    let answer = Answer { data: Some(data), ..Answer::default() };
    wrap::keep(cx.ready, cx.request, cx.caller.actor(), ttl, &cx.request.path, answer).await
}

/// What the audit log is called where clients look for devices.
const AUDIT_LOG: &str = "credentialflow";

/// The audit log is one, in the database, and cannot be switched off. Other names are of no device: none can be
/// enabled, and disabling one changes nothing.
fn audit(cx: &Context<'_>, name: &str) -> Result<Answer> {
    match (name, cx.request.verb) {
        ("", Verb::Read) => Ok(Answer::flat(json!({ format!("{AUDIT_LOG}/"): {
            "type": "database",
            "path": format!("{AUDIT_LOG}/"),
            "description": "the hash-chained audit log; always on",
            "local": false,
            "options": {},
        }}))),
        ("", _) => Err(ApiError::unsupported_operation()),
        (AUDIT_LOG, Verb::Delete) => Err(ApiError::invalid("the audit log cannot be switched off")),
        (_, Verb::Delete) => Ok(Answer::empty()),
        (_, Verb::Write) => {
            Err(ApiError::invalid("there is one audit log, always on; audit devices cannot be enabled"))
        }
        _ => Err(ApiError::unsupported_operation()),
    }
}

/// Audit devices tell how they hash a value; ours holds no value, hashed or not.
fn audit_hash(cx: &Context<'_>, name: &str) -> Result<Answer> {
    cx.only(&[Verb::Write])?;
    if given(cx.request, "input").is_none_or(|input| input.is_empty()) {
        return Err(ApiError::invalid("the \"input\" parameter is empty"));
    }
    Err(match name {
        AUDIT_LOG => ApiError::invalid("the audit log holds no values, so it hashes none"),
        other => ApiError::invalid(format!("unknown audit backend \"{other}/\"")),
    })
}
