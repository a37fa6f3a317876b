//! Requests to servers of the Model Context Protocol (MCP) over Streamable HTTP: what is posted is read before it goes on,
//! and a session goes on only for the caller that began it.
//!
//! Nothing is kept here between requests, so any worker of any node takes the next one: what a session is bound to stands
//! in its id. What goes on is what was read, and what cannot be read in one way alone does not go on.
//!
//! Where several servers share an address, `servers` says whose a message is; what concerns all of them is asked of each by
//! `ask_all`, and `streams` puts together what they say by themselves.

mod answer;
mod ask_all;
mod guard;
mod refusal;
mod servers;
mod streams;

pub(super) use answer::{Answering, Events, Form, is_session};
pub(super) use ask_all::serve as serve_for_all;
pub(super) use refusal::{Rpc, body as refusal_body, status as refusal_status};

use super::{
    Inbound, Refused, body, guard::recorded_path, record::Recording, route::RouteMatch, translate::UpstreamBody,
};
use crate::{
    budget::Charge,
    conn::Caller,
    net::control::Control,
    snapshot::mcp::McpPlan,
    worker::{View, Worker},
};
use credentialflow_mcp::{
    METHODS, Message, Posted, header_value, is_plain_uri,
    servers::split,
    sessions::{self, ServerSession},
};
use credentialflow_model::{OutcomeReason, mask::masked, resource::Offered};
use credentialflow_policy::{McpGrant, Principal, RouteSlot, SessionOwner};
use std::borrow::Cow;

/// The header of a session.
pub(super) const SESSION: &str = "mcp-session-id";
/// The header of the protocol's version, the one version that has batches, and that is taken for granted without it.
const VERSION: &str = "mcp-protocol-version";
const WITH_BATCHES: &[u8] = b"2025-03-26";
/// What clients repeat of a message for those who do not read it.
const METHOD: &str = "mcp-method";
const NAME: &str = "mcp-name";
const PARAMETER: &[u8] = b"mcp-param-";
/// The last event of a stream that is taken up again.
const EVENT: &str = "last-event-id";
/// Codes of JSON-RPC and of MCP.
const INVALID_PARAMS: i64 = -32602;
const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_REQUEST: i64 = -32600;
const HEADER_MISMATCH: i64 = -32020;

/// A request to such a server on its way.
pub(crate) struct McpCall {
    /// Whose rights count for what is shown of the answer.
    principal: Principal,
    /// The server's own id of the session.
    session: Option<Box<[u8]>>,
    /// Whether the answer is a stream of what the server says by itself.
    listens: bool,
    /// Whether a message is posted.
    posts: bool,
    /// Whom it is for.
    to: To,
    /// What several servers agreed on with the caller, where it has a session with them.
    sessions: Option<Vec<ServerSession>>,
    /// Fields that are written in place of the caller's.
    fields: Vec<(Cow<'static, str>, String)>,
}

/// Whom a request is for.
enum To {
    /// The one server of the route.
    Server,
    /// One of several servers.
    One(usize),
    /// All of them.
    All(servers::ForAll),
}

impl McpCall {
    /// Whether it is for all of several servers.
    pub const fn is_for_all(&self) -> bool {
        matches!(self.to, To::All(_))
    }

    /// The upstream of the one of several servers that it is for.
    pub fn upstream(&self, plan: &McpPlan) -> Option<u32> {
        match self.to {
            To::One(server) => plan.servers.get(server).map(|server| server.upstream),
            To::Server | To::All(_) => None,
        }
    }

    /// Writes the fields that say of the request what was read of it.
    pub fn push_fields(&self, head: &mut Vec<u8>) {
        if let Some(session) = &self.session {
            head.extend_from_slice(b"mcp-session-id: ");
            head.extend_from_slice(session);
            head.extend_from_slice(b"\r\n");
        }
        for (name, value) in &self.fields {
            for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        if self.posts {
            head.extend_from_slice(b"content-type: application/json\r\n");
        }
    }

    /// Whether a field of the caller's does not go on: it is written anew, is for us alone, or is one of the protocol's in
    /// a disguise that some servers see through.
    pub fn drops(&self, name: &[u8]) -> bool {
        let plain = |b: &u8| if *b == b'_' { b'-' } else { b.to_ascii_lowercase() };
        let is = |other: &str| name.len() == other.len() && name.iter().map(plain).eq(other.bytes());
        let of_protocol = name.len() > 4 && name[..4].iter().map(plain).eq(*b"mcp-");
        // Where no message goes on, nothing repeats one.
        let of_none = !self.posts && is_parameter(name);
        self.fields.iter().any(|(name, _)| is(name))
            || is(SESSION)
            || is("origin")
            || (of_protocol && name.contains(&b'_'))
            || of_none
    }
}

/// What of a request goes on, with the memory that it takes.
type Prepared = (UpstreamBody, Option<Charge>, Box<McpCall>);

/// Reads a request and decides whether it goes on.
#[expect(clippy::too_many_arguments, reason = "a stage sees what the stages before it made")]
pub(super) async fn prepare<C: Caller>(
    worker: &Worker,
    view: &View,
    control: &Control,
    inbound: &Inbound<'_>,
    (matched, plan): (&RouteMatch<'_>, &McpPlan),
    principal: &Principal,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<Prepared, Refused> {
    origin(inbound, plan)?;
    let route = matched.plan(view);
    let length = body::announced(inbound, route.max_body)?;
    let posts = match inbound.method() {
        "POST" => true,
        "GET" | "DELETE" if length == Some(0) => false,
        "GET" | "DELETE" => return Err(invalid("a message is posted", INVALID_REQUEST)),
        _ => {
            return Err(Refused::new(OutcomeReason::MethodNotAllowed).with_field("allow", "GET, POST, DELETE".into()));
        }
    };
    let owner = SessionOwner { route: &route.name, principal };
    let bound = once(inbound, SESSION)?;
    let (mut session, mut sessions) = (None, None);
    if let Some(bound) = bound {
        let unknown = || Refused::new(OutcomeReason::McpSessionUnknown).with_rpc_code(INVALID_REQUEST);
        let id = owner.open(&view.snapshot.api_key, bound).ok_or_else(unknown)?;
        match plan.servers.is_empty() {
            true => session = Some(id.into()),
            false => sessions = Some(sessions::read(id).ok_or_else(unknown)?),
        }
    }
    let taken_up = once(inbound, EVENT)?;
    if bound.is_none() && taken_up.is_some() {
        return Err(invalid("a stream is taken up again in its session", INVALID_REQUEST));
    }
    let (principal, listens) = (principal.clone(), inbound.method() == "GET");
    let mut call = McpCall { principal, session, listens, posts, to: To::Server, sessions, fields: Vec::new() };
    if !posts {
        if !plan.servers.is_empty() {
            servers::without_message(plan, inbound.method(), taken_up, &mut call)?;
        }
        return Ok((UpstreamBody::Empty, None, Box::new(call)));
    }
    if !is_json(once(inbound, "content-type")?) {
        return Err(invalid("the body is to be `application/json` in UTF-8", INVALID_REQUEST));
    }
    // What goes on is what was read here.
    if once(inbound, "content-encoding")?.is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
        return Err(invalid("the body is not to be compressed", INVALID_REQUEST));
    }
    let (received, held) = body::collect(worker, control, caller, route.max_body, length, record).await?;
    // Of several servers, each has a version of its own.
    let batches = plan.servers.is_empty() && once(inbound, VERSION)?.is_none_or(|version| version == WITH_BATCHES);
    let posted = Posted::read(&received, batches).map_err(|why| invalid(&why.to_string(), why.code()))?;
    record.rpc(Rpc::of(&posted));
    let rights = McpGrant::of(
        &plan.rules,
        (RouteSlot(matched.route), &route.name),
        &view.snapshot.applications,
        owner.principal,
    );
    if let Some(message) = posted.telling() {
        note(view, message, record);
    }
    for message in &posted.messages {
        admit(message, plan, &rights)?;
        call.listens |= message.method.as_deref() == Some("subscriptions/listen");
    }
    repeated(inbound, &posted)?;
    let own = match plan.servers.is_empty() {
        true => None,
        false => servers::posted(plan, inbound, (&posted, &received), &mut call)?,
    };
    let body = own.unwrap_or(received);
    let judged = guard::call(plan, inbound, &body, &mut call, record)?;
    Ok((UpstreamBody::Buffered(judged.unwrap_or(body)), Some(held), Box::new(call)))
}

fn invalid(detail: &str, code: i64) -> Refused {
    Refused::new(OutcomeReason::InvalidMcpMessage).with_detail(detail.to_owned()).with_rpc_code(code)
}

/// Web pages name their origin. One that nobody allowed may have had its host's name lead here (DNS rebinding).
fn origin(inbound: &Inbound<'_>, plan: &McpPlan) -> Result<(), Refused> {
    let mut origins = inbound.fields().filter(|(_, name, _)| name.eq_ignore_ascii_case(b"origin"));
    let stranger = |value: &[u8]| !plan.origins.iter().any(|origin| origin.as_bytes() == value);
    if origins.any(|(.., value)| stranger(value)) {
        let detail = "this route takes no requests of web pages from that origin";
        return Err(Refused::new(OutcomeReason::Forbidden).with_detail(detail.into()));
    }
    Ok(())
}

/// The value of a field that may stand once.
fn once<'a>(inbound: &Inbound<'a>, name: &str) -> Result<Option<&'a [u8]>, Refused> {
    let mut values = inbound.fields().filter(|(_, n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(.., v)| v);
    let first = values.next();
    match values.next() {
        None => Ok(first),
        Some(_) => Err(invalid(&format!("the header `{name}` stands twice"), HEADER_MISMATCH)),
    }
}

/// Whether a body of this type is JSON in UTF-8 to whoever reads it.
fn is_json(kind: Option<&[u8]>) -> bool {
    let Some(kind) = kind.and_then(|kind| std::str::from_utf8(kind).ok()) else { return false };
    let mut parts = kind.split(';').map(str::trim);
    let utf8 = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        name.eq_ignore_ascii_case("charset") && value.trim_matches('"').eq_ignore_ascii_case("utf-8")
    };
    parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json")) && parts.all(utf8)
}

/// Whether a field repeats an argument of a call, for servers and whatever is between that go by headers.
fn is_parameter(name: &[u8]) -> bool {
    name.get(..PARAMETER.len()).is_some_and(|start| start.eq_ignore_ascii_case(PARAMETER))
}

/// Has a message told in the record. Names, also of methods, come from callers, who may put anything there.
fn note(view: &View, message: &Message<'_>, record: &mut Recording<'_>) {
    let Some(method) = &message.method else { return };
    let now = record.time();
    let hidden = |text: &str| masked(&recorded_path(&view.snapshot, text, now)).into_owned();
    // What follows in a URI may hold a token.
    let name = message.asks.first().map(|asks| hidden(asks.name.split(['?', '#']).next().unwrap_or(&asks.name)));
    if METHODS.binary_search(&&**method).is_ok() {
        record.mcp(method, name.as_deref());
    } else {
        record.mcp(&hidden(method), name.as_deref());
    }
}

/// Lets a message go on.
fn admit(message: &Message<'_>, plan: &McpPlan, rights: &McpGrant<'_>) -> Result<(), Refused> {
    let Some(method) = message.method.as_deref() else { return Ok(()) };
    if METHODS.binary_search(&method).is_err() && !plan.rules.allows_method(method) {
        return Err(not_allowed("there is no such method here", METHOD_NOT_FOUND));
    }
    for asks in &message.asks {
        // Of one of several servers, also as that server reads it.
        let own = || plan.servers.is_empty() || split(asks.kind, &asks.name).is_some_and(|(_, uri)| is_plain_uri(uri));
        let plain = || is_plain_uri(&asks.name) && own();
        let passes = asks.kind != Offered::Resource || !rights.governs(asks.kind) || plain();
        if !passes || !rights.allows(asks.kind, &asks.name) {
            return Err(not_here(Some(asks.kind)));
        }
    }
    Ok(())
}

fn not_allowed(detail: &str, code: i64) -> Refused {
    Refused::new(OutcomeReason::McpNotAllowed).with_detail(detail.to_owned()).with_rpc_code(code)
}

/// There is nothing of that name, as far as the caller is told.
fn not_here(kind: Option<Offered>) -> Refused {
    let detail = match kind {
        Some(Offered::Tool) => "there is no such tool here",
        Some(Offered::Prompt) => "there is no such prompt here",
        Some(Offered::Resource) => "there is no such resource here",
        None => "there is no such server here",
    };
    not_allowed(detail, INVALID_PARAMS)
}

/// What headers repeat of a message is what it says: whoever goes by them must not see another one.
fn repeated(inbound: &Inbound<'_>, posted: &Posted<'_>) -> Result<(), Refused> {
    let mismatch =
        |name: &str| Err(invalid(&format!("the header `{name}` says something else than the body"), HEADER_MISMATCH));
    let (method, name) = (once(inbound, METHOD)?, once(inbound, NAME)?);
    let message = match posted.messages.as_slice() {
        [message] if !posted.is_batch => message,
        _ if method.is_none() && name.is_none() => return Ok(()),
        _ => return mismatch(METHOD),
    };
    if method.is_some_and(|said| message.method.as_deref().map(str::as_bytes) != Some(said)) {
        return mismatch(METHOD);
    }
    let Some(said) = name else { return Ok(()) };
    let same = match message.asks.as_slice() {
        [asks] => header_value(said).as_deref() == Some(asks.name.as_str()),
        // Nobody here can tell what a method asks for that the protocol does not have.
        _ => message.method.as_deref().is_some_and(|method| METHODS.binary_search(&method).is_err()),
    };
    if same { Ok(()) } else { mismatch(NAME) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_in_utf8_is_json() {
        let check = |kind: &str, expect| assert_eq!(is_json(Some(kind.as_bytes())), expect, "{kind}");
        for kind in ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\""] {
            check(kind, true);
        }
        for kind in
            ["", "text/plain", "application/json; charset=utf-16", "application/json, text/plain", "application/jsonx"]
        {
            check(kind, false);
        }
        assert!(!is_json(None));
    }

    #[test]
    fn fields_of_the_protocol_go_on_only_as_they_are() {
        let call = McpCall {
            principal: Principal::Anonymous,
            session: None,
            listens: false,
            posts: true,
            to: To::Server,
            sessions: None,
            fields: vec![("mcp-protocol-version".into(), "2025-06-18".into())],
        };
        for dropped in
            ["Mcp-Session-Id", "mcp_session_id", "Origin", "MCP_METHOD", "mcp-param_x", "MCP-Protocol-Version"]
        {
            assert!(call.drops(dropped.as_bytes()), "{dropped}");
        }
        for passes in ["Mcp-Method", "mcp-param-x", "x_y", "accept", "mcp"] {
            assert!(!call.drops(passes.as_bytes()), "{passes}");
        }
        assert!(McpCall { posts: false, ..call }.drops(b"Mcp-Param-x"), "nothing is repeated");
    }
}
