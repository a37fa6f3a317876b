//! What concerns all of several servers is asked of each, at once and in the task of the caller's request, and their
//! answers become one.
//!
//! Each question is a call of its own: with a record, an endpoint, a credential, and so much time. A server that does not
//! answer is left out, which its record tells, and the answer: the others serve. One that has forgotten its session ends
//! the caller's, who begins another one with all of them.

use super::{
    Answering, Form, INVALID_REQUEST, METHOD_NOT_FOUND, McpCall, SessionOwner, To,
    answer::{is_session, push_bound},
    servers::{ForAll, Question},
    streams,
};
use crate::{
    budget::Charge,
    conn::{AnswerFraming, Caller},
    http1::{body::Decoder, head::Framing, tag::Tag},
    net::control::Control,
    pipeline::{
        Inbound, Parts, Refused, answer,
        answer::{Filled, fill, push_own_fields, request_idle},
        answered, forward,
        guard::answered::{AnswerGuard, is_text},
        hedge::{self, Absent},
        record::Recording,
        scrub::Scrub,
        translate::{UpstreamBody, UpstreamRequest},
        translated,
    },
    snapshot::mcp::McpPlan,
    upstream::Connection,
    worker::{View, Worker},
};
use credentialflow_llm::sse::{SsePiece, SseReader};
use credentialflow_mcp::{
    Seen, error_body,
    merge::{self, MergedList, MergedServers, at_page, pages},
    servers::listening,
    sessions::{self, ServerSession},
};
use credentialflow_model::OutcomeReason;
use std::{cell::RefCell, future::Future, pin::Pin, rc::Rc, task::Poll};

/// What one server answers to what all are asked is no longer.
const MOST_ANSWER: usize = 4 << 20;
/// What the gateway calls itself towards clients.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A request that is asked of all servers.
pub(super) struct Asking<'a, 'r> {
    pub worker: &'a Worker,
    pub view: &'a Rc<View>,
    pub inbound: &'a Inbound<'a>,
    pub parts: Parts<'a, 'r>,
    pub plan: &'a McpPlan,
    pub call: &'a McpCall,
    pub all: &'a ForAll,
    /// The memory of what servers answered, until the caller has what came of it.
    pub held: RefCell<Vec<Charge>>,
}

/// What came of one server.
enum Said {
    /// It answered with a message, as the caller may see it, and perhaps began a session.
    Message { body: Vec<u8>, session: Option<Vec<u8>> },
    /// It took what it was told.
    Taken,
    /// It does not know the session.
    Forgotten,
    /// It answered with something else.
    Other,
}

type Answer = Result<Said, Refused>;
/// A server that is asked, and what comes of it.
pub(super) type Asked<'q, T> = (usize, Pin<Box<dyn Future<Output = T> + 'q>>);
/// A server, and what it is asked.
type Leg = (usize, UpstreamBody);

/// Serves a request that is for all of several servers.
#[expect(clippy::too_many_arguments, reason = "a stage sees what the stages before it made")]
pub(in crate::pipeline) async fn serve<C: Caller>(
    worker: &Worker,
    view: &Rc<View>,
    control: &Control,
    inbound: &Inbound<'_>,
    parts: Parts<'_, '_>,
    mut request: UpstreamRequest,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<(), Refused> {
    let internal = || Refused::new(OutcomeReason::Internal);
    let call = request.mcp.take().ok_or_else(internal)?;
    let plan = parts.0.plan(view).mcp.as_deref().ok_or_else(internal)?;
    let To::All(all) = &call.to else { return Err(internal()) };
    let asking = Asking { worker, view, inbound, parts, plan, call: &call, all, held: RefCell::default() };
    let body = match std::mem::replace(&mut request.body, UpstreamBody::Empty) {
        UpstreamBody::Buffered(body) => body,
        _ => Vec::new(),
    };
    let text = std::str::from_utf8(&body).map_err(|_| internal())?;
    let mut fields = Vec::with_capacity(256);
    push_own_fields(&mut fields, record);
    let shown = match all.question {
        Question::Listen | Question::Subscribe => {
            return streams::serve(&asking, control, text, fields, caller, record).await;
        }
        Question::Ping => merge::result(&all.id, "{}"),
        Question::Initialize => {
            let legs = asking.legs(|_| Ok(buffered(&body)))?;
            asking.initialize(legs, control, &mut fields, caller, record).await?
        }
        Question::Discover => {
            let legs = asking.legs(|_| Ok(buffered(&body)))?;
            asking.discover(legs, control, caller, record).await?
        }
        Question::List => asking.list(text, control, caller, record).await?,
        Question::Level => {
            let legs = asking.legs(|_| Ok(buffered(&body)))?;
            let said = asking.ask(legs, control, caller, record).await?;
            let taken = said.iter().find_map(|(_, said)| match said {
                Ok(Said::Message { body, .. }) => merge::answered(body).ok()?.ok(),
                _ => None,
            });
            match taken {
                Some(taken) => merge::result(&all.id, taken),
                None => asking.unknown(said, record)?,
            }
        }
        Question::Tell | Question::End => {
            let body = |_: usize| Ok(if body.is_empty() { UpstreamBody::Empty } else { buffered(&body) });
            let said = asking.ask(asking.legs(body)?, control, caller, record).await?;
            if !said.iter().any(|(_, said)| said.is_ok()) {
                asking.nobody(said)?;
            }
            let status = if all.question == Question::End { 200 } else { 202 };
            caller.settle();
            caller.begin(status, &fields, AnswerFraming::Length(0));
            record.answered(status);
            caller.end();
            answer::flush(control, worker, caller).await?;
            record.served();
            return Ok(());
        }
    };
    drop(body);
    translated::send(control, worker, caller, record, (200, translated::JSON), &mut fields, shown).await
}

fn buffered(body: &[u8]) -> UpstreamBody {
    UpstreamBody::Buffered(body.to_vec())
}

impl<'a> Asking<'a, '_> {
    /// Every server that has a part in the session, with what it is asked.
    pub fn legs(&self, body: impl Fn(usize) -> Result<UpstreamBody, Refused>) -> Result<Vec<Leg>, Refused> {
        let taking = (0..self.plan.servers.len()).filter(|server| self.call.for_server(self.plan, *server).is_some());
        taking.map(|server| Ok((server, body(server)?))).collect()
    }

    /// What one server is asked to tell of.
    pub fn subscription(&self, text: &str, server: usize) -> Result<UpstreamBody, Refused> {
        let own = listening(text, self.name(server));
        own.map(UpstreamBody::Buffered).map_err(|why| super::invalid(&why.to_string(), why.code()))
    }

    pub fn name(&self, server: usize) -> &'a str {
        self.plan.servers.get(server).map_or("", |server| &server.name)
    }

    /// Those that are in `present`, by their names, are not absent.
    fn absent(&self, present: &[usize]) -> Vec<&'a str> {
        (0..self.plan.servers.len()).filter(|server| !present.contains(server)).map(|one| self.name(one)).collect()
    }

    async fn initialize<C: Caller>(
        &self,
        legs: Vec<Leg>,
        control: &Control,
        fields: &mut Vec<u8>,
        caller: &mut C,
        record: &mut Recording<'_>,
    ) -> Result<Vec<u8>, Refused> {
        let said = self.ask(legs, control, caller, record).await?;
        let (mut merged, mut began, mut present) = (MergedServers::default(), Vec::new(), Vec::new());
        for (server, said) in &said {
            let Ok(Said::Message { body, session }) = said else { continue };
            let Ok(Ok(result)) = merge::answered(body) else { continue };
            let name = self.name(*server);
            let Ok(Some(version)) = merged.take(name, result) else { continue };
            let Some(session) = ServerSession::new(name, &version, session.as_deref()) else { continue };
            began.push(session);
            present.push(*server);
        }
        if began.is_empty() {
            return self.unknown(said, record);
        }
        let route = self.parts.0.plan(self.view);
        let owner = SessionOwner { route: &route.name, principal: &self.call.principal };
        let id = sessions::write(&began);
        push_bound(owner.bind(&self.view.snapshot.api_key, id.as_bytes()), fields)?;
        let result = merged.finish((&route.name, VERSION), &self.absent(&present));
        Ok(merge::result(&self.all.id, &result))
    }

    async fn discover<C: Caller>(
        &self,
        legs: Vec<Leg>,
        control: &Control,
        caller: &mut C,
        record: &mut Recording<'_>,
    ) -> Result<Vec<u8>, Refused> {
        let said = self.ask(legs, control, caller, record).await?;
        let (mut merged, mut present) = (MergedServers::default(), Vec::new());
        for (server, said) in &said {
            let taken = match said {
                Ok(Said::Message { body, .. }) => merge::answered(body)
                    .ok()
                    .and_then(Result::ok)
                    .and_then(|r| merged.take(self.name(*server), r).ok()),
                Ok(_) => None,
                Err(_) => continue,
            };
            // It is there and does not have this version: callers go back to one that all servers have.
            if taken.is_none() {
                return Ok(self.error(METHOD_NOT_FOUND, "not all servers here have this version", record));
            }
            present.push(*server);
        }
        if present.is_empty() {
            return self.unknown(said, record);
        }
        let route = self.parts.0.plan(self.view);
        let result = merged.finish((&route.name, VERSION), &self.absent(&present));
        Ok(merge::result(&self.all.id, &result))
    }

    async fn list<C: Caller>(
        &self,
        text: &str,
        control: &Control,
        caller: &mut C,
        record: &mut Recording<'_>,
    ) -> Result<Vec<u8>, Refused> {
        let invalid = |why: credentialflow_mcp::InvalidMessage| super::invalid(&why.to_string(), why.code());
        let pages = pages(text).map_err(invalid)?;
        let mut merged = MergedList::of(&self.all.method).ok_or(Refused::new(OutcomeReason::Internal))?;
        let (mut legs, mut away) = (Vec::new(), Vec::new());
        match &pages {
            None => {
                legs = self.legs(|_| Ok(buffered(text.as_bytes())))?;
                away = self.absent(&legs.iter().map(|(server, _)| *server).collect::<Vec<_>>());
            }
            Some(pages) => {
                for (server, cursor) in pages {
                    let known = self.plan.server(server).filter(|known| legs.iter().all(|(other, _)| other != known));
                    let server = known.ok_or_else(|| super::invalid("`cursor` names no server", INVALID_REQUEST))?;
                    match self.call.for_server(self.plan, server) {
                        Some(_) => legs.push((server, UpstreamBody::Buffered(at_page(text, cursor).map_err(invalid)?))),
                        None => away.push(self.name(server)),
                    }
                }
            }
        }
        let said = self.ask(legs, control, caller, record).await?;
        let mut known = false;
        for (server, said) in &said {
            let name = self.name(*server);
            let listed = match said {
                Ok(Said::Message { body, .. }) => match merge::answered(body) {
                    Ok(Ok(result)) => merged.take(name, result).is_ok(),
                    // It has nothing of this kind.
                    Ok(Err(METHOD_NOT_FOUND)) => continue,
                    _ => false,
                },
                _ => false,
            };
            known |= listed;
            if !listed {
                away.push(name);
            }
        }
        if !known {
            return self.unknown(said, record);
        }
        Ok(merge::result(&self.all.id, &merged.finish(&away)))
    }

    /// None of them has an answer: what the first one said instead, else why nobody could be asked.
    fn unknown(&self, said: Vec<(usize, Answer)>, record: &mut Recording<'_>) -> Result<Vec<u8>, Refused> {
        let codes = said.iter().filter_map(|(_, said)| match said {
            Ok(Said::Message { body, .. }) => merge::answered(body).ok()?.err(),
            _ => None,
        });
        match codes.min_by_key(|code| *code == METHOD_NOT_FOUND) {
            Some(METHOD_NOT_FOUND) => Ok(self.error(METHOD_NOT_FOUND, "no server here has this method", record)),
            Some(code) => Ok(self.error(code, "no server here could answer", record)),
            None => {
                self.nobody(said)?;
                let detail = "no MCP server answered with what was asked for".to_owned();
                Err(Refused::new(OutcomeReason::UpstreamMalformed).with_detail(detail))
            }
        }
    }

    /// Refuses, where nobody could be asked.
    fn nobody(&self, said: Vec<(usize, Answer)>) -> Result<(), Refused> {
        let Some(refused) = said.into_iter().find_map(|(_, said)| said.err()) else { return Ok(()) };
        let detail = "none of the MCP servers here could be asked".to_owned();
        Err(Refused::new(refused.reason).with_detail(detail))
    }

    fn error(&self, code: i64, message: &str, record: &mut Recording<'_>) -> Vec<u8> {
        record.mcp_ended(Seen { error: Some(code), tool_failed: false });
        error_body(std::slice::from_ref(&self.all.id), false, code, message, &serde_json::Value::Null)
    }

    /// Asks all of them at once, and waits for each.
    async fn ask<C: Caller>(
        &self,
        legs: Vec<Leg>,
        control: &Control,
        caller: &mut C,
        record: &Recording<'_>,
    ) -> Result<Vec<(usize, Answer)>, Refused> {
        let mut asked: Vec<Asked<'_, Answer>> = Vec::with_capacity(legs.len());
        for (server, body) in legs {
            asked.push((server, Box::pin(self.one(server, body, record))));
        }
        let said = together(asked, control, caller).await?;
        if said.iter().any(|(_, said)| matches!(said, Ok(Said::Forgotten))) {
            return Err(Refused::new(OutcomeReason::McpSessionUnknown).with_rpc_code(INVALID_REQUEST));
        }
        Ok(said)
    }

    /// Asks one of them.
    async fn one(&self, server: usize, body: UpstreamBody, beside: &Recording<'_>) -> Answer {
        let mut record = self.record(server, beside);
        let control = self.worker.controls.register();
        let exchanged = self.exchange(server, body, &control, &mut record);
        let said = match tokio::time::timeout(self.plan.server_timeout, exchanged).await {
            Ok(said) => said,
            Err(_) => Err(Refused::new(OutcomeReason::UpstreamTimeout)),
        };
        match &said {
            Ok(_) => record.served(),
            Err(refused) => record.outcome(refused.reason),
        }
        said
    }

    /// The record of what one of them is asked.
    pub fn record<'w>(&self, server: usize, beside: &Recording<'w>) -> Recording<'w> {
        let mut record = beside.of_question(self.view, self.inbound);
        record.route(self.parts.0.plan(self.view));
        if let Some(server) = self.plan.servers.get(server) {
            record.upstream(&self.view.snapshot.upstreams[server.upstream as usize]);
        }
        if !self.all.method.is_empty() {
            record.mcp(&self.all.method, None);
        }
        record
    }

    /// Sends it to one of them, and gives the answer when its head is there.
    pub async fn begin(
        &self,
        server: usize,
        body: UpstreamBody,
        control: &Control,
        record: &mut Recording<'_>,
    ) -> Result<(UpstreamRequest, forward::UpstreamResponse), Refused> {
        let internal = || Refused::new(OutcomeReason::Internal);
        let call = self.call.for_server(self.plan, server).ok_or_else(internal)?;
        let upstream = call.upstream(self.plan).ok_or_else(internal)?;
        let length = if let UpstreamBody::Buffered(body) = &body { body.len() } else { 0 };
        record.bytes_in(length as u64);
        let mut held = self.worker.budget.nothing();
        held.set(length as u64).map_err(|_| Refused::new(OutcomeReason::Overloaded))?;
        // To ask twice for a list, or for a session that nobody heard of, does no harm.
        let idempotent = !matches!(self.all.question, Question::Level | Question::Tell | Question::Subscribe);
        let mut request = UpstreamRequest {
            mcp: Some(Box::new(call)),
            idempotent,
            _held: Some(held),
            ..UpstreamRequest::plain(upstream, body)
        };
        let Self { worker, view, inbound, parts, .. } = self;
        let response = answered(worker, view, control, inbound, *parts, &mut request, &mut Absent, record).await?;
        record.answered(response.head.status);
        Ok((request, response))
    }

    async fn exchange(
        &self,
        server: usize,
        body: UpstreamBody,
        control: &Control,
        record: &mut Recording<'_>,
    ) -> Answer {
        let Self { worker, view, parts, .. } = *self;
        let (request, response) = self.begin(server, body, control, record).await?;
        let forward::UpstreamResponse { head, mut bytes, mut connection, endpoint, mut scrub, sent, upload, _in_use } =
            response;
        let framing = head.framing(false);
        let coded = |value: &[u8]| !value.eq_ignore_ascii_case(b"identity");
        let encoded = head.fields.iter().any(|f| f.tag == Tag::ContentEncoding && coded(f.value.of(&bytes)));
        let readable = !encoded && framing != Framing::None && is_text(&head, &bytes);
        let mut guard = AnswerGuard::of(view, parts.0, &request, readable, record);
        let passes = guard.head(&mut bytes, record);
        guard.tell(&scrub, record);
        passes?;
        let answering = Answering::of(Some(self.call), view, parts.0, (&head, &bytes), (framing, encoded))?
            .ok_or(Refused::new(OutcomeReason::Internal))?
            .of_server(self.name(server));
        let mut named = head.fields.iter().filter(|field| is_session(field.name.of(&bytes)));
        let session = named.next().map(|field| field.value.of(&bytes).to_vec());
        let reading = Reading { asking: self, idle: request_idle(view, request.upstream), form: answering.form() };
        let read = reading.body(framing, &mut connection, &mut scrub, control, record).await;
        record.upstream_done(sent);
        let (body, whole, kept) = read?;
        self.held.borrow_mut().push(kept);
        record.bytes_out(body.len() as u64);
        let body = guard.whole(scrub.whole(&body).unwrap_or(body));
        guard.tell(&scrub, record);
        if whole && upload.is_none() && head.keeps_alive() && framing != Framing::UntilClose {
            endpoint.keep(connection, worker.pools.most, worker.tick());
        }
        let success = (200..300).contains(&head.status);
        // An error that is no message is none of theirs either once it is put into words of ours.
        let is_message = matches!(answering.form(), Form::Messages | Form::Events)
            && !matches!(body.trim_ascii(), b"" | b"null")
            && (success || merge::answered(&body).is_ok_and(|answer| answer.is_err()));
        let body = if is_message { answering.whole(body, head.status, record)? } else { body };
        let has_session = self.call.sessions.is_some();
        if head.status == 404 && has_session {
            return Ok(Said::Forgotten);
        }
        if is_message {
            return Ok(Said::Message { body, session });
        }
        if !success {
            record.mcp_ended(Seen { error: Some(0), tool_failed: false });
        }
        Ok(if success && !is_message { Said::Taken } else { Said::Other })
    }
}

/// Reads what one server answers.
struct Reading<'s, 'a, 'r> {
    asking: &'s Asking<'a, 'r>,
    idle: std::time::Duration,
    form: Form,
}

impl Reading<'_, '_, '_> {
    /// All of it, or of a stream of events the one that answers the request, where the rest is not waited for. The second
    /// says whether the connection is at the end of the answer.
    async fn body(
        &self,
        framing: Framing,
        connection: &mut Connection,
        scrub: &mut Scrub,
        control: &Control,
        record: &mut Recording<'_>,
    ) -> Result<(Vec<u8>, bool, Charge), Refused> {
        let worker = self.asking.worker;
        let malformed = |why: &str| Refused::new(OutcomeReason::UpstreamMalformed).with_detail(why.to_owned());
        let (mut decoder, mut reader) = (Decoder::new(framing), SseReader::new(MOST_ANSWER));
        let (mut body, mut found, mut oversize) = (Vec::new(), None, false);
        let mut kept = worker.budget.nothing();
        loop {
            let (step, framed) = decoder.gather(connection.buffer.filled_mut());
            let payload = &connection.buffer.filled()[step.payload];
            let mut event = |piece: SsePiece<'_>| match piece {
                SsePiece::Event(event) if found.is_none() => {
                    let data = event.data().filter(|data| merge::is_answer(data, &self.asking.all.id));
                    found = data.map(|data| data.into_owned());
                }
                SsePiece::Event(_) => {}
                SsePiece::Oversize(_) => oversize = true,
            };
            match self.form {
                Form::Events => scrub.feed(payload, &mut |b: &[u8]| reader.feed(b, &mut event)),
                Form::Messages | Form::Other | Form::Unjudged => {
                    scrub.feed(payload, &mut |b: &[u8]| body.extend_from_slice(b))
                }
            }
            connection.buffer.consume(step.consumed);
            framed.map_err(|_| malformed("the MCP server's answer breaks its framing"))?;
            if oversize || body.len() > MOST_ANSWER {
                return Err(malformed("the MCP server's answer is too large to be put together with others"));
            }
            // It is put together with others, and written anew.
            let held = body.capacity() + reader.held() + found.as_ref().map_or(0, Vec::capacity);
            kept.set(3 * held as u64).map_err(|_| Refused::new(OutcomeReason::Overloaded))?;
            if decoder.is_done() || found.is_some() {
                break;
            }
            control.set_deadline(worker.tick_in(self.idle));
            match fill(control, connection, &mut Absent, &mut None, record).await? {
                Filled::Bytes(0) if decoder.may_end_here() => break,
                Filled::Bytes(0) => return Err(Refused::new(OutcomeReason::UpstreamTruncated)),
                Filled::Nothing => return Err(Refused::new(OutcomeReason::UpstreamStalled)),
                Filled::Bytes(_) | Filled::Uploading | Filled::Uploaded { .. } => {}
            }
        }
        control.clear_deadline();
        match self.form {
            Form::Events => {
                let answer = found.ok_or_else(|| malformed("the MCP server's stream ended without an answer"))?;
                Ok((answer, decoder.is_done(), kept))
            }
            Form::Messages | Form::Other | Form::Unjudged => {
                scrub.finish(&mut |b: &[u8]| body.extend_from_slice(b));
                Ok((body, decoder.is_done(), kept))
            }
        }
    }
}

/// Waits for all of them, while the caller is there.
pub(super) async fn together<C: Caller, T>(
    mut asked: Vec<Asked<'_, T>>,
    control: &Control,
    caller: &mut C,
) -> Result<Vec<(usize, T)>, Refused> {
    let mut said: Vec<Option<T>> = asked.iter().map(|_| None).collect();
    control.clear_deadline();
    let waited = hedge::wait(control, caller, |cx| {
        for ((_, one), said) in asked.iter_mut().zip(&mut said).filter(|(_, said)| said.is_none()) {
            if let Poll::Ready(is) = one.as_mut().poll(cx) {
                *said = Some(is);
            }
        }
        if said.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    });
    waited.await?.ok_or(Refused::new(OutcomeReason::UpstreamTimeout))?;
    let servers: Vec<usize> = asked.iter().map(|(server, _)| *server).collect();
    drop(asked);
    Ok(servers.into_iter().zip(said).filter_map(|(server, said)| Some((server, said?))).collect())
}
