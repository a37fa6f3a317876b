//! The credential is put into the request. The only place where an [`InjectedRequest`] is made.

use super::{
    Inbound, Permit, Refused,
    call::ModelCall,
    choose::Chosen,
    forward::InUse,
    guard::Guard,
    prediction, realtime,
    record::Recording,
    route::RouteMatch,
    scrub::Scrub,
    sigv4, trace,
    translate::{UpstreamBody, UpstreamRequest},
};
use crate::{
    http1::tag::Tag,
    ports::CredentialSlot,
    snapshot::{EndpointPlan, InjectWay, RouteKind},
    text::{push_address, push_decimal, push_request_id},
    upstream::Identity,
    worker::{Carrier, View, Worker},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use credentialflow_llm::{
    anthropic::{VERSION, VERSION_HEADER},
    provider::Dialect,
    realtime::gemini,
    replicate, task,
};
use credentialflow_model::{OutcomeReason, SecretValue, resource::AnswerEncoding};
use credentialflow_policy::{Principal, header_carries_key, query_without, query_without_keys};
use std::borrow::Cow;
use zeroize::Zeroize;

/// A request head that carries an upstream credential. It can be forwarded and nothing else: it
/// cannot be printed, cloned or serialized, and is wiped when dropped.
///
/// ```compile_fail,E0277
/// fn show(request: &credentialflow_gateway::InjectedRequest) { println!("{request:?}"); }
/// ```
/// ```compile_fail,E0308
/// fn keep(request: &credentialflow_gateway::InjectedRequest) -> credentialflow_gateway::InjectedRequest { request.clone() }
/// ```
/// ```compile_fail,E0451
/// // Nobody outside the inject step can make one.
/// fn make() -> credentialflow_gateway::InjectedRequest {
///     credentialflow_gateway::InjectedRequest { head: vec![], scrub: panic!(), in_use: None }
/// }
/// ```
pub struct InjectedRequest {
    head: Vec<u8>,
    /// Where in the head the credential stands, in whatever form.
    secret: std::ops::Range<usize>,
    scrub: Scrub,
    in_use: Option<InUse>,
    /// The certificate to show, and its use counted.
    shown: Option<(Identity, Option<InUse>)>,
}

impl Drop for InjectedRequest {
    fn drop(&mut self) {
        // Only where the secret stands: the rest is what the caller sent.
        let secret = self.secret.clone();
        if let Some(bytes) = self.head.get_mut(secret) {
            bytes.zeroize();
        }
    }
}

impl InjectedRequest {
    /// The bytes to send; for the forward step alone.
    pub(super) fn expose_head(&mut self) -> &mut Vec<u8> {
        &mut self.head
    }

    /// Keeps the use of the credential counted.
    pub(super) fn take_in_use(&mut self) -> Option<InUse> {
        self.in_use.take()
    }

    /// The certificate to show to the endpoint, and its use counted.
    pub(super) fn take_shown(&mut self) -> Option<(Identity, Option<InUse>)> {
        self.shown.take()
    }

    /// What must not come back.
    pub(super) fn take_scrub(&mut self) -> Scrub {
        std::mem::take(&mut self.scrub)
    }
}

/// The slot of a credential in the snapshot in force now.
fn current_slot(began: &View, latest: &View, slot: CredentialSlot) -> Option<CredentialSlot> {
    if latest.snapshot.epoch == began.snapshot.epoch {
        return Some(slot);
    }
    let (name, _) = began.snapshot.credentials.describe(slot)?;
    latest.snapshot.credentials.slot(name)
}

/// The certificate to show to the endpoint: the version in force now. A record names one credential, so this one only
/// where none is injected.
fn identity(
    began: &View,
    latest: &View,
    permit: &Permit,
    slot: CredentialSlot,
    chosen: &Chosen,
    carrier: Carrier,
    record: Option<&mut Recording<'_>>,
) -> Result<(Identity, Option<InUse>), Refused> {
    let unavailable = || Refused::new(OutcomeReason::CredentialUnavailable);
    let slot = current_slot(began, latest, slot).ok_or_else(unavailable)?;
    let credentials = &latest.snapshot.credentials;
    let value = credentials.open(permit, slot).map_err(|_| unavailable())?;
    let (_, version) = credentials.describe(slot).ok_or_else(unavailable)?;
    let Some((trusting, _)) = &chosen.plan(began).tls else { return Err(unavailable()) };
    let identity = chosen.endpoint.identity(version, trusting, value).map_err(|_| unavailable())?;
    if let Some(record) = record {
        record.credential(latest, slot);
    }
    Ok((identity, InUse::of(latest, slot, carrier)))
}

/// Writes the upstream's request head with the credential in it.
#[expect(clippy::too_many_arguments, reason = "a stage sees what the stages before it made")]
pub(super) fn inject(
    worker: &Worker,
    view: &View,
    permit: &Permit,
    inbound: &Inbound<'_>,
    matched: &RouteMatch<'_>,
    principal: &Principal,
    request: &UpstreamRequest,
    chosen: &Chosen,
    record: &mut Recording<'_>,
) -> Result<InjectedRequest, Refused> {
    let route = matched.plan(view);
    let upstream = request.plan(view);
    let endpoint = chosen.plan(view);
    let plan = request.inject_plan(view);
    let guard = Guard::of(view, matched, request, record);
    // Opened from the snapshot in force now, not from the one the request began with: once a rotation
    // is confirmed by every worker, no request that is still on its way takes the old value.
    let latest = worker.view();
    let (epoch, key) = (view.snapshot.epoch, record.key());
    let carrier = Carrier { epoch, route: matched.route, key, source: inbound.source };
    let opened = match plan {
        None => None,
        Some(plan) => {
            let unavailable = || Refused::new(OutcomeReason::CredentialUnavailable);
            let slot = latest.shared_slot(current_slot(view, &latest, plan.credential).ok_or_else(unavailable)?);
            let value = latest.snapshot.credentials.open(permit, slot).map_err(|_| unavailable())?;
            record.credential(&latest, slot);
            let signer = sigv4::Signer::of(&plan.way, value)?;
            // Of an access key nothing else is sent, if anything.
            let echoed = signer.as_ref().map_or(value, sigv4::Signer::told);
            let scrub = Scrub::of(&latest, slot, echoed);
            Some((value, InUse::of(&latest, slot, carrier), scrub, signer))
        }
    };
    let shown = match upstream.client_certificate {
        None => None,
        Some(slot) => {
            let alone = plan.is_none().then_some(&mut *record);
            Some(identity(view, &latest, permit, slot, chosen, carrier, alone)?)
        }
    };
    let (secret, in_use, scrub, signer) = match opened {
        Some((secret, in_use, scrub, signer)) => (Some(secret), in_use, scrub, signer),
        None => (None, None, Scrub::default(), None),
    };
    let way = plan.map(|p| &p.way);
    if signer.is_some() && inbound.fields().any(|(_, name, value)| sigv4::comes_in_chunks(name, value)) {
        let why = "its body comes in AWS's signed chunks, which cannot be signed again; send it whole";
        return Err(Refused::new(OutcomeReason::MalformedRequest).with_detail(why.into()));
    }

    let rules = route.headers.as_ref().map(|h| &h.request);
    let told = || rules.into_iter().flat_map(|r| r.told(principal.key())).map(|(n, v)| (n, v.as_bytes()));
    let added = || rules.into_iter().flat_map(|r| r.set()).map(|(n, v)| (n, v.as_bytes())).chain(told());
    let added_len: usize = added().map(|(n, v)| n.as_str().len() + v.len() + 4).sum();
    // Large enough that it does not move while it is written: a moved buffer would leave its secret behind.
    let secret_len = secret.map_or(0, SecretValue::len);
    let mut out = InjectedRequest {
        head: Vec::with_capacity(inbound.bytes.len() + 1024 + 4 * secret_len + endpoint.base.len() + added_len),
        secret: 0..0,
        scrub,
        in_use,
        shown,
    };
    let head = &mut out.head;
    head.extend_from_slice(inbound.method().as_bytes());
    head.push(b' ');
    let (call, mcp) = (request.call.as_ref(), request.mcp.as_deref());
    let target = head.len();
    out.secret = push_target(head, matched, route, call, endpoint, way.zip(secret));
    let own = if out.secret.is_empty() { head.len() } else { out.secret.start };
    guard.target(&head[target..own], matched.query, record)?;
    head.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    head.extend_from_slice(endpoint.authority.as_bytes());
    head.extend_from_slice(b"\r\n");

    let injected_name = match way {
        Some(InjectWay::Bearer | InjectWay::Basic { .. } | InjectWay::AwsSigv4 { .. }) => Some("authorization"),
        Some(InjectWay::Header { name, .. }) => Some(&**name),
        Some(InjectWay::Query { .. }) | None => None,
    };
    let websocket = route.websocket && inbound.asks_websocket();
    let translated = call.is_some_and(|call| call.translation.is_some());
    let of_bedrock = call.is_some_and(|call| call.dialect == Dialect::Bedrock);
    let of_replicate = call.is_some_and(|call| call.dialect == Dialect::Replicate);
    let session = call.is_some_and(|call| call.task == task::Task::Realtime);
    // Nobody reads the usage in a compressed answer, and what it cost would be a guess.
    let identity = call.is_some() || mcp.is_some() || upstream.encoding == AnswerEncoding::Identity;
    for (field, name, value) in inbound.fields() {
        let dropped = match field.tag {
            Tag::Other => false,
            Tag::Host
            | Tag::ContentLength
            | Tag::Expect
            | Tag::XRequestId
            | Tag::Traceparent
            | Tag::XForwardedFor
            | Tag::XForwardedProto
            | Tag::XForwardedHost
            | Tag::Forwarded => true,
            Tag::AcceptEncoding => identity,
            Tag::ContentType => call.is_some() || mcp.is_some(),
            // It names a model of ours.
            Tag::XCredentialflowModel => call.is_some(),
            // A compressed WebSocket would hide an echoed secret.
            Tag::SecWebsocketExtensions => identity,
            Tag::SecWebsocketProtocol => session,
            tag if tag.may_carry_key() => {
                route.api_key || injected_name.is_some() || header_carries_key(field.name.str(inbound.bytes), value)
            }
            tag => tag.is_hop_by_hop(),
        };
        let ours = |name: &[u8]| {
            injected_name.is_some_and(|n| name.eq_ignore_ascii_case(n.as_bytes()))
                || (signer.is_some() && sigv4::is_ours(name))
                || rules.is_some_and(|r| r.drops(name))
        };
        // Many servers read `x_forwarded_for` as `x-forwarded-for`: a field that is ours to write cannot
        // come in that disguise either.
        let disguised = || {
            let plain: Vec<u8> = name.iter().map(|b| if *b == b'_' { b'-' } else { *b }).collect();
            Tag::of(&plain) != Tag::Other || ours(&plain)
        };
        if dropped
            || (call.is_some_and(|c| c.dialect == Dialect::Gemini) && would_change_the_answer(name))
            || (call.is_some() && speaks_to_vertex(name))
            || (of_bedrock && sigv4::speaks_to_aws(name))
            || (of_replicate && replicate::steers(name))
            || (translated && is_lost_in_translation(name, call.is_some_and(|c| c.dialect == Dialect::Anthropic)))
            || mcp.is_some_and(|mcp| mcp.drops(name))
            || ours(name)
            || inbound.is_connection_option(name)
            || (field.tag == Tag::Other && name.contains(&b'_') && disguised())
        {
            if field.tag == Tag::Authorization {
                guard.credential(value, record)?;
            }
            continue;
        }
        guard.field(value, record)?;
        push_field(head, name, value);
    }
    if call.is_some_and(|call| call.dialect == Dialect::Anthropic)
        && (translated || inbound.header(VERSION_HEADER).is_none())
    {
        push_field(head, VERSION_HEADER.as_bytes(), VERSION.as_bytes());
    }
    if let Some(mcp) = mcp {
        mcp.push_fields(head);
    }
    // Who was answered before there was a provider agreed on none.
    let agrees = session && route.kind == RouteKind::Realtime;
    let protocols = if agrees { realtime::protocols(inbound) } else { Vec::new() };
    if !protocols.is_empty() {
        guard.field(&protocols, record)?;
        push_field(head, b"sec-websocket-protocol", &protocols);
    }
    if let Some(call) = call
        && !matches!(request.body, UpstreamBody::Empty)
        && !rules.is_some_and(|r| r.drops(b"content-type"))
    {
        // Ours, so that the provider reads the body as it was read here, whatever else the caller's says of it.
        let kind = task::call::content_type(call.task, matched.content_type);
        guard.field(kind.as_bytes(), record)?;
        push_field(head, b"content-type", kind.as_bytes());
    }
    if let Some(call) = call.filter(|call| prediction::is_made(call)) {
        prediction::push_fields(head, call.streams, request.patience(view));
    }
    if identity && !websocket {
        head.extend_from_slice(b"accept-encoding: identity\r\n");
    }
    if websocket {
        head.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
    }
    guard.field(inbound.head.host.of(inbound.bytes), record)?;
    push_forwarded(head, inbound);
    trace::push(head, inbound, record);
    head.extend_from_slice(b"x-request-id: ");
    push_request_id(head, record.request_id());
    head.extend_from_slice(b"\r\n");
    for (name, value) in added() {
        if injected_name.is_some_and(|n| name.as_str() == n) {
            continue;
        }
        push_field(head, name.as_str().as_bytes(), value);
    }
    match &request.body {
        UpstreamBody::Empty if matches!(inbound.method(), "POST" | "PUT" | "PATCH") => {
            head.extend_from_slice(b"content-length: 0\r\n");
        }
        UpstreamBody::Empty => {}
        UpstreamBody::Buffered(body) => {
            push_length(head, body.len() as u64);
        }
        UpstreamBody::Streamed { length: Some(n), .. } => push_length(head, *n),
        UpstreamBody::Streamed { length: None, .. } => head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    if let Some((way, secret)) = way.zip(secret) {
        let start = head.len();
        match &signer {
            Some(signer) => signer.sign(head, &request.body, worker.now())?,
            None => push_credential(head, way, secret)?,
        }
        if head.len() > start {
            out.secret = start..head.len();
        }
    }
    head.extend_from_slice(b"\r\n");
    Ok(out)
}

/// Whether a field of a call that is translated speaks of the call as it was, or of the answer's bytes. The version of
/// the API is the one that is translated into, and what else callers of Anthropic and of Google say in headers nobody
/// else reads.
fn is_lost_in_translation(name: &[u8], into_messages: bool) -> bool {
    let begins = |with: &[u8]| name.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
    begins(b"openai-")
        || begins(b"x-goog-")
        || begins(b"x_goog_")
        || begins(b"openai_")
        || begins(b"if-")
        || is(b"range")
        || is(VERSION_HEADER.as_bytes())
        || is(b"anthropic_version")
        || (!into_messages && (begins(b"anthropic-") || begins(b"anthropic_")))
}

/// Whether a field asks Google's servers for another method, or for an answer without its usage.
fn would_change_the_answer(name: &[u8]) -> bool {
    [b"x-goog-fieldmask".as_slice(), b"x-http-method-override"].iter().any(|other| name.eq_ignore_ascii_case(other))
}

/// Whether a field says how Vertex AI is to serve a call: ahead of others for a higher price, or by throughput that its
/// owner has bought. Servers there read it whatever the dialect, and the prices that are known are those without it.
fn speaks_to_vertex(name: &[u8]) -> bool {
    const BEGINS: &[u8] = b"x-vertex-ai-llm-";
    name.get(..BEGINS.len()).is_some_and(|start| {
        start.iter().zip(BEGINS).all(|(is, as_)| is.eq_ignore_ascii_case(as_) || (*is == b'_' && *as_ == b'-'))
    })
}

fn push_length(head: &mut Vec<u8>, n: u64) {
    head.extend_from_slice(b"content-length: ");
    push_decimal(head, n);
    head.extend_from_slice(b"\r\n");
}

fn push_field(head: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    head.extend_from_slice(name);
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

/// The upstream's path and query: the endpoint's base, the route's rewriting, and the query without
/// the caller's key and with the upstream's. Returns where the latter stands.
fn push_target(
    head: &mut Vec<u8>,
    matched: &RouteMatch<'_>,
    route: &crate::snapshot::RoutePlan,
    call: Option<&ModelCall>,
    endpoint: &EndpointPlan,
    credential: Option<(&InjectWay, &SecretValue)>,
) -> std::ops::Range<usize> {
    let base = match route.kind {
        _ if route.mcp.is_some() => &*endpoint.exact,
        RouteKind::Live(_) => gemini::below(&endpoint.base),
        RouteKind::Batch(route) if route.is_beside_the_version() => gemini::below(&endpoint.base),
        _ => &*endpoint.base,
    };
    head.extend_from_slice(base.as_bytes());
    match call {
        _ if route.mcp.is_some() => {}
        Some(call) => head.extend_from_slice(call.path.as_bytes()),
        None => {
            let rest = matched.path.get(route.strip_prefix..).unwrap_or(&matched.path);
            if !rest.starts_with('/') {
                head.push(b'/');
            }
            head.extend_from_slice(rest.as_bytes());
        }
    }
    let mut query: Option<Cow<'_, str>> = match call {
        Some(call) if !call.query => call.own_query.as_deref().map(Cow::Borrowed),
        _ => matched.query.map(Cow::Borrowed),
    };
    let injected = match credential {
        Some((InjectWay::Query { name }, secret)) => Some((name, secret)),
        _ => None,
    };
    for name in [route.key_in_query.as_deref(), injected.map(|(name, _)| &**name)].into_iter().flatten() {
        let without = query.as_deref().and_then(|q| query_without(q, name));
        if let Some(without) = without {
            query = Some(Cow::Owned(without));
        }
    }
    // Wherever a caller puts a key of ours, the upstream has no use for it.
    if let Some(without) = query.as_deref().and_then(query_without_keys) {
        query = Some(Cow::Owned(without));
    }
    let query = query.filter(|q| !q.is_empty());
    if let Some(query) = &query {
        head.push(b'?');
        head.extend_from_slice(query.as_bytes());
    }
    if let Some((name, secret)) = injected {
        head.push(if query.is_some() { b'&' } else { b'?' });
        percent_encode(head, name.as_bytes());
        head.push(b'=');
        let start = head.len();
        percent_encode(head, secret.expose());
        return start..head.len();
    }
    0..0
}

/// Percent-encodes everything but unreserved characters (RFC 3986, 2.3).
fn percent_encode(out: &mut Vec<u8>, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for b in bytes {
        if is_unreserved(*b) {
            out.push(*b);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
        }
    }
}

fn is_unreserved(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~')
}

/// Where the request came from, for the upstream. What a caller claims about itself is not passed on.
fn push_forwarded(head: &mut Vec<u8>, inbound: &Inbound<'_>) {
    head.extend_from_slice(b"x-forwarded-for: ");
    push_address(head, inbound.source);
    head.extend_from_slice(if inbound.secure {
        b"\r\nx-forwarded-proto: https\r\n"
    } else {
        b"\r\nx-forwarded-proto: http\r\n"
    });
    let host = inbound.head.host.of(inbound.bytes);
    if !host.is_empty() {
        push_field(head, b"x-forwarded-host", host);
    }
}

/// The credential itself.
fn push_credential(head: &mut Vec<u8>, way: &InjectWay, secret: &SecretValue) -> Result<(), Refused> {
    let value = secret.expose();
    // A line break inside a value would end the field and begin another.
    let fits_field = value.iter().all(|b| crate::http1::grammar::VALUE[usize::from(*b)]);
    if value.is_empty() || (!fits_field && matches!(way, InjectWay::Bearer | InjectWay::Header { .. })) {
        return Err(Refused::new(OutcomeReason::CredentialUnavailable));
    }
    match way {
        InjectWay::Bearer => {
            head.extend_from_slice(b"authorization: Bearer ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
        InjectWay::Header { name, prefix } => {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(prefix.as_bytes());
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
        InjectWay::Query { .. } | InjectWay::AwsSigv4 { .. } => {}
        InjectWay::Basic { username } => {
            let mut plain = Vec::with_capacity(username.len() + 1 + value.len());
            plain.extend_from_slice(username.as_bytes());
            plain.push(b':');
            plain.extend_from_slice(value);
            let mut encoded = vec![0u8; plain.len().div_ceil(3) * 4];
            let n = BASE64_STANDARD.encode_slice(&plain, &mut encoded).unwrap_or_default();
            plain.zeroize();
            head.extend_from_slice(b"authorization: Basic ");
            head.extend_from_slice(&encoded[..n]);
            head.extend_from_slice(b"\r\n");
            encoded.zeroize();
        }
    }
    Ok(())
}
