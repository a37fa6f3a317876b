//! The answer on its way back: secrets that echo are removed, usage is read, bytes pass as they come.

mod passing;
pub(super) mod usable;

use passing::Passing;
use usable::Begins;

use super::{
    Inbound, Parts, Refused, body,
    forward::UpstreamResponse,
    gather,
    guard::answered::{AnswerGuard, is_text},
    guardrail::{self, Judging},
    mcp::{self, Answering, Form},
    prompt,
    record::Recording,
    translate::UpstreamRequest,
    translated,
    upload::{Upload, UploadStep},
    usage::UsageProbe,
};
use crate::{
    conn::{AnswerError, AnswerFraming, Caller},
    http1::{
        body::{Decoder, Step},
        head::{Framing, ResponseHead},
        tag::Tag,
    },
    net::control::{Control, let_others_go_first},
    snapshot::models::ModelPlan,
    text::push_request_id,
    upstream::Connection,
    worker::{View, Worker},
};
use credentialflow_llm::{
    bedrock,
    provider::Dialect,
    replicate,
    translate::{self, Translation},
    unframed::Unframed,
};
use credentialflow_model::{OutcomeReason, resource::AnswerEncoding};
use std::{borrow::Cow, future::poll_fn, io::Write as _, rc::Rc, sync::atomic::Ordering::Relaxed, task::Poll};

/// A small answer of the gateway's own.
pub(crate) struct LocalAnswer {
    /// Status.
    pub status: u16,
    /// Media type.
    pub content_type: &'static str,
    /// Body.
    pub body: Vec<u8>,
}

/// Sends an answer of the gateway's own.
pub(super) async fn local<C: Caller>(
    control: &Control,
    worker: &Worker,
    caller: &mut C,
    record: &mut Recording<'_>,
    answer: LocalAnswer,
) -> Result<(), Refused> {
    local_with(control, worker, caller, record, answer, b"").await
}

/// The same with more fields, each with its end of line.
pub(super) async fn local_with<C: Caller>(
    control: &Control,
    worker: &Worker,
    caller: &mut C,
    record: &mut Recording<'_>,
    answer: LocalAnswer,
    more: &[u8],
) -> Result<(), Refused> {
    let mut fields = Vec::with_capacity(256 + more.len());
    fields.extend_from_slice(more);
    let _ = write!(fields, "content-type: {}\r\n", answer.content_type);
    push_own_fields(&mut fields, record);
    caller.settle();
    caller.begin(answer.status, &fields, AnswerFraming::Length(answer.body.len() as u64));
    record.answered(answer.status);
    caller.payload(&answer.body);
    caller.end();
    record.bytes_out(answer.body.len() as u64);
    flush(control, worker, caller).await?;
    record.served();
    Ok(())
}

/// Relays an upstream's answer.
#[expect(clippy::too_many_arguments, reason = "a stage sees what the stages before it made")]
pub(super) async fn relay<C: Caller>(
    worker: &Worker,
    view: &Rc<View>,
    control: &Control,
    inbound: &Inbound<'_>,
    (matched, principal, permit): Parts<'_, '_>,
    request: &mut UpstreamRequest,
    response: UpstreamResponse,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<(), Refused> {
    let UpstreamResponse { head, mut bytes, mut connection, endpoint, mut scrub, mut upload, sent, _in_use } = response;
    let mut request_complete = upload.is_none();
    let framing = head.framing(inbound.method() == "HEAD");
    let encoded = head
        .fields
        .iter()
        .any(|f| f.tag == Tag::ContentEncoding && !f.value.of(&bytes).eq_ignore_ascii_case(b"identity"));
    if encoded {
        record.unreadable();
    }
    let readable = !encoded && framing != Framing::None && is_text(&head, &bytes);
    let mut guard = AnswerGuard::of(view, matched, request, readable, record);
    if encoded
        && framing != Framing::None
        && (!scrub.is_idle() || guard.blanks())
        && request.plan(view).encoding == AnswerEncoding::Identity
    {
        return Err(Refused::new(OutcomeReason::UpstreamMalformed)
            .with_detail("the upstream compressed its answer although it was asked not to".into()));
    }
    let to_mcp = request.mcp.take();
    let answering = Answering::of(to_mcp.as_deref(), view, matched, (&head, &bytes), (framing, encoded))?;
    let dialect = request.call.as_ref().map(|call| call.dialect);
    let named_stream = is_stream(&head, &bytes, dialect);
    let translation = request.call.as_ref().and_then(|c| c.translation.clone());
    if translation.is_some() && encoded {
        return Err(Refused::new(OutcomeReason::UpstreamMalformed)
            .with_detail("the provider compressed its answer although it was asked not to".into()));
    }
    // SDKs follow a redirect, with what we gave them to know them by, to where nobody looks. And a status that has no body of
    // its own would be sent with the body of another.
    let is_elsewhere = request.call.is_some() && matches!(head.status, 300..400);
    if is_elsewhere || (translation.is_some() && (head.status < 200 || matches!(head.status, 204 | 205))) {
        return Err(Refused::new(OutcomeReason::UpstreamMalformed)
            .with_detail(format!("the provider answered the call with status {}", head.status)));
    }
    let passes = guard.head(&mut bytes, record);
    guard.tell(&scrub, record);
    passes?;
    let target = request.call.as_ref().map(|c| (c.model, c.target));
    let asker = guardrail::remote::Asker { worker, view, control, inbound, principal, permit };
    let success = (200..300).contains(&head.status);
    // What a model answers in JSON is told apart from what others put in its place; callers may have it as it is in these.
    let is_read = !encoded && framing != Framing::None;
    let in_json = is_read && request.call.as_ref().is_some_and(usable::answers_in_json);
    let is_spoken =
        matches!(dialect, Some(Dialect::OpenAi | Dialect::Responses | Dialect::Anthropic | Dialect::Gemini));
    let named_json = usable::is_json(&head, &bytes);
    let mut is_stream = named_stream;
    if in_json && success && !named_stream && upload.is_none() {
        control.set_deadline(worker.tick_in(request_idle(view, request.upstream)));
        match usable::begins(control, framing, &mut connection, caller, record).await? {
            Begins::Json => {}
            Begins::Events => is_stream = true,
            Begins::Unusable => return Err(translated::unusable()),
        }
    }
    if let Some(call) = &mut request.call {
        match success {
            true => call.usage.fit(is_stream),
            false => call.usage = UsageProbe::Free,
        }
    }
    let mut judge = request.call.as_mut().and_then(|call| call.answer.take()).filter(|_| success);
    if judge.is_some() && encoded {
        return Err(Refused::new(OutcomeReason::UpstreamMalformed)
            .with_detail("the provider compressed its answer, and this model's guardrails look at it".into()));
    }
    let published = prompt::is_published(view, matched);
    if published && (encoded || (success && is_stream && !prompt::streams(view, matched, request))) {
        return Err(Refused::new(OutcomeReason::UpstreamMalformed)
            .with_detail("the provider's answer has a form that it was not asked for".into()));
    }
    let rules = matched.plan(view).headers.as_ref().map(|h| &h.response);
    let whole = translation.clone().filter(|_| !(success && is_stream));
    // Events that become the elements of an array.
    let is_array = whole.is_none() && translation.as_ref().is_some_and(|translation| !translation.streams_events());
    // An error that is not the provider's own, as a proxy's page: callers get one of their dialect.
    let is_restated = is_read && is_spoken && head.status >= 400 && whole.is_none() && !published && !named_json;
    // What is sent when all of it is there.
    let of_mcp = answering.as_ref().map(Answering::form);
    let is_collected = whole.is_some()
        || (published && !(success && is_stream))
        || is_restated
        || (judge.is_some() && !is_stream)
        || matches!(of_mcp, Some(Form::Messages | Form::Unjudged));
    // A whole answer to a call for a stream, of which its caller reads nothing but events.
    let is_said_at_once = success
        && !published
        && request.call.as_ref().is_some_and(|call| call.streams)
        && whole.as_ref().is_some_and(Translation::is_conversation);
    // Events that come in other frames than the caller gets.
    let of_frames = matches!(dialect, Some(Dialect::Bedrock | Dialect::Replicate));
    let is_framed = whole.is_none() && translation.is_some() && of_frames;
    // What says that it is something else is called what it is: SDKs go by that.
    let retyped: Option<&[u8]> = match is_stream {
        _ if is_collected || is_array || is_framed || !in_json || !is_spoken || !success => None,
        true => (!named_stream).then_some(b"content-type: text/event-stream\r\n"),
        false => (!named_json).then_some(b"content-type: application/json\r\n"),
    };
    let retypes = is_collected || is_array || is_framed || retyped.is_some();
    let mut fields = worker.take_scratch();
    for field in &head.fields {
        let name = field.name.of(&bytes);
        let dropped = field.tag == Tag::ContentLength
            || (retypes && field.tag == Tag::ContentType)
            || field.tag.is_hop_by_hop()
            || field.tag == Tag::XRequestId
            || matches!(field.tag, Tag::XCredentialflowBudget | Tag::XCredentialflowModel)
            || (head.connection.names && names_connection(&head, &bytes, name))
            || (of_mcp.is_some() && mcp::is_session(name))
            || rules.is_some_and(|r| r.drops(name));
        if !dropped {
            fields.extend_from_slice(name);
            fields.extend_from_slice(b": ");
            fields.extend_from_slice(field.value.of(&bytes));
            fields.extend_from_slice(b"\r\n");
        }
    }
    for (name, value) in rules.iter().flat_map(|r| r.set()) {
        fields.extend_from_slice(name.as_str().as_bytes());
        fields.extend_from_slice(b": ");
        fields.extend_from_slice(value.as_bytes());
        fields.extend_from_slice(b"\r\n");
    }
    push_own_fields(&mut fields, record);
    if let Some(answering) = &answering {
        answering.push_session(&head, &bytes, &mut fields)?;
    }
    if is_array {
        fields.extend_from_slice(b"content-type: application/json\r\n");
    } else if is_framed {
        fields.extend_from_slice(b"content-type: text/event-stream\r\n");
    }
    fields.extend_from_slice(retyped.unwrap_or_default());
    if is_collected {
        let is_gathered = success && request.call.as_ref().is_some_and(gather::is_of);
        let most = if is_gathered { gather::MOST } else { translated::MOST };
        let body = translated::collect(
            worker,
            view,
            control,
            request,
            (framing, most),
            &mut connection,
            &mut scrub,
            caller,
            record,
        );
        let body = body.await;
        record.upstream_done(sent);
        record.usage(view, request);
        let (mut body, kept) = body?;
        match dialect {
            // It tells its texts in a form of its own.
            Some(Dialect::Replicate) => record.produced(&replicate::said(&body)),
            _ => record.produced(&body),
        }
        let size = body.len();
        translated::pause(size).await;
        // Two parts that are harmless each can be a secret when they are put together.
        let clean = |body: Vec<u8>| guard.whole(scrub.whole(&body).unwrap_or(body));
        let answered = match &whole {
            Some(translation) if is_said_at_once => translated::said_at_once(translation, &body),
            Some(translation) => translated::answer(translation, head.status, error_name(&head, &bytes), &body),
            None if is_restated => {
                Ok(dialect.and_then(|of| translate::error(of, head.status, &body)).unwrap_or_default())
            }
            None => Ok(std::mem::take(&mut body)),
        };
        translated::pause(size).await;
        let answered = answered.map(clean);
        guard.tell(&scrub, record);
        let said_as = whole.as_ref().filter(|_| is_said_at_once).map(Translation::streams_events);
        let answered = match (answered, said_as, judge.take_if(|_| is_said_at_once)) {
            (Ok(answered), Some(in_events), Some(judge)) => {
                let plan = model_plan(view, request)?;
                Box::pin(guardrail::said_at_once(*judge, answered, in_events, (&asker, plan), caller, record)).await
            }
            (answered, ..) => answered,
        };
        let answered = match &mut judge {
            Some(judge) => answered.and_then(|answered| guardrail::whole(judge, answered, record)),
            None => answered,
        };
        let answered = match (&mut judge, answered) {
            (Some(judge), Ok(answered)) if judge.asks() => {
                let (asker, plan) = (&asker, model_plan(view, request)?);
                Box::pin(guardrail::remote::whole(asker, plan, (judge, answered), caller, record)).await
            }
            (_, answered) => answered,
        };
        let answered = match published {
            true => {
                let made = answered.and_then(|answered| prompt::answered(view, matched, head.status, answered, record));
                // What stood in an escaped form may be written plainly now.
                let made = made.map(|body| guard.whole(scrub.whole(&body).unwrap_or(body)));
                guard.tell(&scrub, record);
                made
            }
            false => answered,
        };
        let answered = match &answering {
            Some(answering) => answered.and_then(|body| answering.whole(body, head.status, record)),
            None => answered,
        };
        match head.keeps_alive() && framing != Framing::UntilClose {
            true => endpoint.keep(connection, worker.pools.most, worker.tick()),
            // With its buffer, before the caller reads for as long as it likes.
            false => drop(connection),
        }
        drop((body, kept));
        let kind = if said_as == Some(true) { translated::EVENTS } else { translated::JSON };
        let sent = translated::send(control, worker, caller, record, (head.status, kind), &mut fields, answered?).await;
        worker.give_scratch(fields);
        if sent.is_ok() && answering.is_some_and(|answering| answering.is_withheld()) {
            record.outcome(OutcomeReason::AnswerBlocked);
        }
        return sent;
    }
    let mut passing = Passing {
        scrub,
        guard,
        usage: request.call.as_mut().map(|c| &mut c.usage).filter(|_| success && !encoded),
        counted: None,
        unframed: dialect.filter(|_| is_framed).map_or(Unframed::plain(), Unframed::of),
        translator: translation.map(Translation::stream),
        judge: judge.map(|answer| Judging::of(*answer, is_array)),
        events: answering.as_ref().and_then(Answering::events),
        kept: worker.budget.nothing(),
    };
    let answer = match framing {
        _ if passing.translator.is_some() || passing.judge.is_some() || passing.events.is_some() => {
            AnswerFraming::Streamed
        }
        Framing::None => match head.length {
            Some(n) if head.status != 204 => AnswerFraming::Described(n),
            _ => AnswerFraming::Empty,
        },
        Framing::Length(n) if !passing.may_shorten() => AnswerFraming::Length(n),
        _ => AnswerFraming::Streamed,
    };
    if upload.is_some() {
        // Nobody knows whether the caller will send the rest.
        caller.close_after();
    }
    caller.begin(head.status, &fields, answer);
    record.answered(head.status);
    worker.give_scratch(fields);

    let mut decoder = Decoder::new(framing);
    let mut bytes_out = 0u64;
    let idle = answering.and_then(|answering| answering.idle()).unwrap_or_else(|| request_idle(view, request.upstream));
    // The last piece, as long as it is not known whether anything in it must be counted.
    let mut uncounted = None;
    let outcome = loop {
        // All that came, in one piece: what is done with a piece costs more than its bytes.
        let (step, framed) = decoder.gather(connection.buffer.filled_mut());
        let payload = &connection.buffer.filled()[step.payload.clone()];
        let (payload, opened) = passing.unframed.open(payload);
        let malformed = framed.is_err() || opened.is_err();
        // At the end of an answer its provider tells what it used. Until the judge's last word the caller may leave.
        let is_last = decoder.is_done() && passing.judge.is_none() && matches!(payload, Cow::Borrowed(_));
        if !is_last {
            record.produced(&payload);
        }
        let before = bytes_out;
        passing.feed(&payload, &mut |b| {
            bytes_out += b.len() as u64;
            caller.payload(b);
        });
        if is_last {
            uncounted = Some(step);
        } else {
            connection.buffer.consume(step.consumed);
        }
        let mut failure = (malformed || passing.is_unreadable()).then_some(OutcomeReason::UpstreamMalformed);
        passing.tell(record);
        if failure.is_none() && !passing.fits() {
            failure = Some(OutcomeReason::Overloaded);
        }
        if let Some(reason) = failure {
            break Err(reason);
        }
        if decoder.is_done() || passing.is_stopped() {
            break Ok(());
        }
        record.bytes_out(bytes_out);
        // Now, not at the end: the caller may leave at any time.
        if let Some(told) = passing.counted() {
            target.into_iter().for_each(|target| record.tokens(view, target, told));
            // Of a stream that goes on for long, nothing is told that could be lost; its page would be held all the while.
            if told.all {
                record.keep();
            }
        }
        // What several streams send is sent together: whoever reads it is woken once and finds all of it, and to wake
        // somebody is the dearest part of sending a little.
        if worker.gauges.in_flight.load(Relaxed) > 1 {
            let_others_go_first().await;
        }
        flush(control, worker, caller).await?;
        record.first_byte();
        // Who is sent nothing is not noticed to be gone by sending, nor by waiting where there is always more to read.
        if bytes_out == before && upload.is_none() && poll_fn(|cx| Poll::Ready(caller.poll_gone(cx).is_ready())).await {
            return Err(Refused::new(OutcomeReason::CallerClosed));
        }
        control.set_deadline(worker.tick_in(idle));
        match fill(control, &mut connection, caller, &mut upload, record).await? {
            Filled::Bytes(n) if n > 0 => {}
            Filled::Bytes(_) if decoder.may_end_here() => break Ok(()),
            Filled::Bytes(_) => break Err(OutcomeReason::UpstreamTruncated),
            Filled::Uploading => {}
            Filled::Uploaded { complete } => {
                request_complete = complete;
                upload.take().into_iter().for_each(|u| u.give_back(worker));
            }
            Filled::Nothing => break Err(OutcomeReason::UpstreamStalled),
        }
    };
    record.upstream_done(sent);
    match outcome.and_then(|()| if passing.is_cut() { Err(OutcomeReason::UpstreamTruncated) } else { Ok(()) }) {
        Ok(()) => {
            // What was cut off in the middle is no connection to keep.
            let is_over = decoder.is_done() || !passing.is_stopped();
            let mut out = |b: &[u8]| {
                bytes_out += b.len() as u64;
                caller.payload(b);
            };
            passing.finish(&mut out);
            if let Some(usage) = passing.usage.as_mut().filter(|_| is_over) {
                usage.ended();
            }
            passing.tell(record);
            let (mut failure, judge) = (passing.failure(), passing.judge.take());
            drop(passing);
            // Before anybody is asked: the caller may leave meanwhile.
            record.usage(view, request);
            count_rest(&mut connection, uncounted, record);
            if let Some(judge) = judge {
                let plan = target.map(|(model, _)| &view.snapshot.models.list[model as usize]);
                let (sent, refused) = Box::pin(last_word(judge, (&asker, plan), caller, record)).await?;
                bytes_out += sent;
                failure = refused.or(failure);
            }
            caller.end();
            record.bytes_out(bytes_out);
            record.keep();
            let sent = flush(control, worker, caller).await;
            if request_complete && is_over && head.keeps_alive() && framing != Framing::UntilClose {
                endpoint.keep(connection, worker.pools.most, worker.tick());
            }
            sent?;
            match failure {
                None => record.served(),
                Some(reason) => record.outcome(reason),
            }
            Ok(())
        }
        Err(reason) => {
            passing.cut(&mut |b| {
                bytes_out += b.len() as u64;
                caller.payload(b);
            });
            passing.tell(record);
            let (mut reason, judge) = (reason, passing.judge.take());
            drop(passing);
            record.usage(view, request);
            count_rest(&mut connection, uncounted, record);
            if let Some(judge) = judge {
                let plan = target.map(|(model, _)| &view.snapshot.models.list[model as usize]);
                let (sent, refused) = Box::pin(last_word(judge, (&asker, plan), caller, record)).await?;
                bytes_out += sent;
                reason = refused.unwrap_or(reason);
            }
            record.bytes_out(bytes_out);
            record.outcome(reason);
            record.keep();
            // What arrived is passed on; the missing end tells the caller that it is not all.
            let _ = flush(control, worker, caller).await;
            Err(Refused::new(reason))
        }
    }
}

/// What is said of a stream of which no more comes: what waited for others, who are asked about it, or why it does not go.
/// How many bytes that is.
async fn last_word<C: Caller>(
    mut judge: Judging,
    (asker, plan): (&guardrail::remote::Asker<'_>, Option<&ModelPlan>),
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<(u64, Option<OutcomeReason>), Refused> {
    let mut sent = 0;
    if judge.asks() {
        if let Some(plan) = plan {
            judge.ask(asker, plan, caller, record).await?;
        }
        if let Some(gone) = judge.waited() {
            sent += gone.len() as u64;
            caller.payload(&gone);
        }
    }
    let refused = judge.refuse(record, &mut |b: &[u8]| {
        sent += b.len() as u64;
        caller.payload(b);
    });
    Ok((sent, refused))
}

/// Counts what the last piece of an answer holds, where its provider did not tell all that it used; then it is taken.
fn count_rest(connection: &mut Connection, rest: Option<Step>, record: &mut Recording<'_>) {
    let Some(Step { consumed, payload }) = rest else { return };
    if !record.is_counted() {
        record.produced(&connection.buffer.filled()[payload]);
    }
    connection.buffer.consume(consumed);
}

/// The model that was called.
fn model_plan<'v>(view: &'v View, request: &UpstreamRequest) -> Result<&'v ModelPlan, Refused> {
    let call = request.call.as_ref().ok_or(Refused::new(OutcomeReason::Internal))?;
    Ok(&view.snapshot.models.list[call.model as usize])
}

/// Whether an answer is a stream of events, as a provider of this dialect sends them.
pub(super) fn is_stream(head: &ResponseHead, bytes: &[u8], dialect: Option<Dialect>) -> bool {
    let wanted = if dialect == Some(Dialect::Bedrock) { bedrock::STREAM_TYPE } else { "text/event-stream" };
    head.fields.iter().any(|f| {
        let begins =
            |value: &[u8]| value.get(..wanted.len()).is_some_and(|t| t.eq_ignore_ascii_case(wanted.as_bytes()));
        f.tag == Tag::ContentType && begins(f.value.of(bytes))
    })
}

/// What the head of an error calls it.
fn error_name<'b>(head: &ResponseHead, bytes: &'b [u8]) -> Option<&'b str> {
    let named = |name: &[u8]| name.eq_ignore_ascii_case(bedrock::ERROR_HEADER.as_bytes());
    let field = head.fields.iter().find(|f| f.tag == Tag::Other && named(f.name.of(bytes)))?;
    std::str::from_utf8(field.value.of(bytes)).ok()
}

pub(super) fn request_idle(view: &View, upstream: u32) -> std::time::Duration {
    view.snapshot.upstreams[upstream as usize].idle
}

fn names_connection(head: &ResponseHead, bytes: &[u8], name: &[u8]) -> bool {
    head.fields
        .iter()
        .filter(|f| f.tag == Tag::Connection)
        .any(|f| crate::http1::grammar::list(f.value.of(bytes)).any(|t| t.eq_ignore_ascii_case(name)))
}

/// Fields the gateway adds to every answer.
pub(super) fn push_own_fields(fields: &mut Vec<u8>, record: &Recording<'_>) {
    fields.extend_from_slice(b"x-request-id: ");
    push_request_id(fields, record.request_id());
    fields.extend_from_slice(b"\r\n");
    let limits = record.limit_report();
    if !limits.is_empty() {
        fields.extend_from_slice(b"ratelimit: ");
        limits.push_rate_limit(fields);
        fields.extend_from_slice(b"\r\nratelimit-policy: ");
        limits.push_rate_limit_policy(fields);
        fields.extend_from_slice(b"\r\n");
    }
    record.push_budgets(fields);
    record.push_instead(fields);
    record.push_cache(fields);
}

/// Sends what was added; a caller that does not read is given up after a while.
pub(super) async fn flush<C: Caller>(control: &Control, worker: &Worker, caller: &mut C) -> Result<(), Refused> {
    flush_until(control, worker, caller, u64::MAX).await
}

/// As [`flush`], and at this tick at the latest.
pub(super) async fn flush_until<C: Caller>(
    control: &Control,
    worker: &Worker,
    caller: &mut C,
    until: u64,
) -> Result<(), Refused> {
    control.set_deadline(worker.tick_in(worker.shared.settings.body_timeout).min(until));
    match control.wait(caller.flush()).await {
        Ok(Ok(())) => {
            control.clear_deadline();
            Ok(())
        }
        Ok(Err(AnswerError::Gone)) => Err(Refused::new(OutcomeReason::CallerClosed)),
        Ok(Err(AnswerError::OverBudget)) => Err(Refused::new(OutcomeReason::Overloaded)),
        Err(i) => Err(body::interrupted(i, OutcomeReason::CallerClosed)),
    }
}

pub(super) enum Filled {
    /// So many bytes of the answer; 0 when the upstream has closed.
    Bytes(usize),
    /// More of the request's body has gone up.
    Uploading,
    /// The request's body has gone up, or the upstream takes no more of it.
    Uploaded { complete: bool },
    /// Nothing came in time.
    Nothing,
}

/// Waits for more of the answer, and meanwhile passes on what is left of the request's body.
pub(super) async fn fill<C: Caller>(
    control: &Control,
    connection: &mut Connection,
    caller: &mut C,
    upload: &mut Option<Upload>,
    record: &mut Recording<'_>,
) -> Result<Filled, Refused> {
    let waited = control.wait(poll_fn(|cx| {
        if let Poll::Ready(read) = connection.stream.poll_fill(cx, &mut connection.buffer) {
            return Poll::Ready(Ok(Filled::Bytes(read.unwrap_or(0))));
        }
        let Some(upload) = upload else {
            return caller.poll_gone(cx).map(|()| Err(Refused::new(OutcomeReason::CallerClosed)));
        };
        let step = upload.push(cx, caller, &mut connection.stream);
        record.bytes_in(upload.received);
        let refused = upload.tell(record);
        match step {
            Poll::Pending if upload.progress => Poll::Ready(Ok(Filled::Uploading)),
            Poll::Pending => Poll::Pending,
            Poll::Ready(UploadStep::Secret) => {
                Poll::Ready(Err(refused.unwrap_or(Refused::new(OutcomeReason::SecretInRequest))))
            }
            Poll::Ready(UploadStep::TooLarge) => Poll::Ready(Err(Refused::new(OutcomeReason::BodyTooLarge))),
            Poll::Ready(UploadStep::Caller(e)) => Poll::Ready(Err(body::unreadable(e))),
            Poll::Ready(step) => Poll::Ready(Ok(Filled::Uploaded { complete: matches!(step, UploadStep::Complete) })),
        }
    }));
    match waited.await {
        Ok(filled) => filled,
        Err(crate::net::control::Interrupt::Deadline) => Ok(Filled::Nothing),
        Err(i) => Err(body::interrupted(i, OutcomeReason::UpstreamStalled)),
    }
}
