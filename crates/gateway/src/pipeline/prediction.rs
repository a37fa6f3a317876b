//! Predictions of Replicate: what is made of one request is there later, or is heard at another place while it is made.
//!
//! Behind the request that makes a prediction stands here what follows it, so that the stages after this one get an answer
//! as from any other provider: a whole one, or a stream. It is asked for by its id alone, at the endpoint that made it;
//! the one address of an answer that is gone to is that of the stream, and never with the credential
//! ([`replicate::stream_place`]). Where nobody waits for it any more, it is ended; where that cannot be told, its
//! deadline does that (`Cancel-After`, written where the credential is injected).

use super::{
    Inbound, Parts, Refused,
    answer::is_stream,
    call::ModelCall,
    choose::Chosen,
    forward::{self, Ended, RESPONSE_HEAD, UpstreamResponse},
    hedge::{self, Absent},
    inject, question,
    record::Recording,
    scrub::Scrub,
    translate::{Failure, UpstreamBody, UpstreamRequest},
    translated,
    usage::{Told, UsageProbe},
};
use crate::{
    budget::Charge,
    conn::Caller,
    http1::{
        head::{Framing, HeadLimits, Parsed, RequestHead, ResponseHead, parse_request, parse_response},
        tag::Tag,
    },
    net::control::Control,
    snapshot::EndpointPlan,
    worker::{View, Worker},
};
use credentialflow_llm::{
    provider::Dialect,
    replicate::{self, Prediction, State},
    task::Task,
};
use credentialflow_model::{OutcomeReason, usage::TokenUsage};
use rustls_pki_types::ServerName;
use std::{
    io::Write as _,
    net::IpAddr,
    pin::pin,
    rc::Rc,
    time::{Duration, Instant},
};

/// How long the provider may hold the request that makes a prediction whose answer is wanted whole, at the most.
const HELD: Duration = Duration::from_secs(5);
/// The least deadline that a prediction can have.
const LEAST: Duration = Duration::from_secs(5);
/// The deadline of one that is heard while it is made, which has no other.
const LONGEST: Duration = Duration::from_secs(3600);
/// Between two questions for one, at first and at last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));
/// Questions in a row that may fail.
const FAILURES: u8 = 3;
/// How long what comes after an answer may take: counting, or ending what nobody waits for.
const AFTERWARDS: Duration = Duration::from_secs(5);

/// One that was made, of which something is to be done when the answer is over: it is to be ended, or counted.
pub(crate) struct Running {
    prediction: Prediction,
    /// What one that is there told of tokens, where its answer goes on as a stream, which tells none.
    tokens: Option<TokenUsage>,
    /// The endpoint that made it.
    index: u32,
}

/// Whether a call becomes a prediction.
pub(super) fn is_made(call: &ModelCall) -> bool {
    call.dialect == Dialect::Replicate && call.translation.is_some()
}

/// Whether something was made of a request of which something is still to be done.
pub(super) fn runs(request: &UpstreamRequest) -> bool {
    request.call.as_ref().is_some_and(|call| call.running.is_some())
}

/// Writes the fields that say how one is to be made. `patience` is how long its answer may take to begin.
pub(super) fn push_fields(head: &mut Vec<u8>, streams: bool, patience: Duration) {
    let deadline = match streams {
        true => LONGEST,
        false => {
            // Its id must be known before it is given up.
            let held = HELD.as_secs().min(patience.as_secs() / 2);
            if held > 0 {
                let _ = write!(head, "prefer: wait={held}\r\n");
            }
            patience.clamp(LEAST, LONGEST)
        }
    };
    let _ = write!(head, "cancel-after: {}s\r\n", deadline.as_secs());
}

/// Follows what was made: gives its whole answer, the stream of it, or the error of the provider.
#[expect(clippy::too_many_arguments, reason = "a stage sees what the stages before it made")]
pub(super) async fn follow<C: Caller>(
    worker: &Worker,
    view: &Rc<View>,
    control: &Control,
    inbound: &Inbound<'_>,
    parts: Parts<'_, '_>,
    request: &mut UpstreamRequest,
    (response, chosen): (UpstreamResponse, &Chosen),
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<UpstreamResponse, Ended> {
    if !(200..300).contains(&response.head.status) {
        return Ok(response);
    }
    let Some(streams) = request.call.as_ref().map(|call| call.streams) else { return Ok(response) };
    let sent = response.sent;
    let patience = request.patience(view).saturating_sub(sent.elapsed());
    let until = request.tick_in(worker, patience);
    let mut running = None;
    let following = Following { worker, view, control, parts, from: (inbound.source, inbound.secure), chosen, until };
    let aside = &mut record.aside();
    let followed = following.follow(request, (inbound, response), streams, &mut running, caller, aside).await;
    control.clear_deadline();
    if let Some(call) = &mut request.call {
        call.running = running.map(Box::new);
    }
    match followed {
        Ok(mut response) => {
            response.sent = sent;
            // One that failed has no status of its own.
            record.upstream_status(response.head.status);
            Ok(response)
        }
        Err(ended) => {
            give_up(worker, view, inbound, parts, request, record).await;
            Err(match ended {
                // What could not be sent is a question: what it is about was made, and is not made again.
                Ended::Failed(failure) => Ended::Failed(Failure { untouched: false, stale: false, ..failure }),
                refused => refused,
            })
        }
    }
}

/// What comes after the answer: of one that was heard to its end the tokens are asked for, any other one is ended.
pub(super) async fn over(
    worker: &Worker,
    view: &Rc<View>,
    inbound: &Inbound<'_>,
    parts: Parts<'_, '_>,
    request: &mut UpstreamRequest,
    served: bool,
    record: &mut Recording<'_>,
) {
    let Some(running) = request.call.as_mut().and_then(|call| call.running.take()) else { return };
    if running.prediction.state == State::Done {
        if let (Some(call), Some(tokens)) = (&request.call, running.tokens) {
            record.tokens(view, (call.model, call.target), Told::all(tokens));
        }
        return;
    }
    if !served {
        return cancel(worker, view, (inbound, parts), &running, request, record).await;
    }
    let counted = afterwards(
        worker,
        view,
        inbound,
        parts,
        &running,
        record,
        async |following: &Following<'_, '_>, aside: &mut Recording<'_>| {
            let mut pause = PAUSES.0;
            loop {
                let mut asked = following.request(request, running.prediction.path());
                if let Some(call) = &mut asked.call {
                    call.usage = UsageProbe::of(Dialect::Replicate, false, false);
                }
                let answered = following.ask("GET", &mut asked, &mut Absent, aside).await.ok()?;
                match Prediction::of(&answered.body)?.state {
                    State::Runs => tokio::time::sleep(pause).await,
                    State::Done | State::Failed => return Some(asked),
                }
                pause = (pause * 2).min(PAUSES.1);
            }
        },
    );
    let counted = counted.await;
    match counted {
        Some(mut asked) => record.usage(view, &mut asked),
        // The answer was not heard to its end, or nobody knows.
        None => cancel(worker, view, (inbound, parts), &running, request, record).await,
    }
}

/// Ends what nobody waits for any more, where there is anything.
pub(super) async fn give_up(
    worker: &Worker,
    view: &Rc<View>,
    inbound: &Inbound<'_>,
    parts: Parts<'_, '_>,
    request: &mut UpstreamRequest,
    record: &mut Recording<'_>,
) {
    let running = request.call.as_mut().and_then(|call| call.running.take());
    if let Some(running) = running.filter(|running| running.prediction.state != State::Done) {
        cancel(worker, view, (inbound, parts), &running, request, record).await;
    }
}

async fn cancel(
    worker: &Worker,
    view: &Rc<View>,
    (inbound, parts): (&Inbound<'_>, Parts<'_, '_>),
    running: &Running,
    request: &UpstreamRequest,
    record: &mut Recording<'_>,
) {
    let ends = async |following: &Following<'_, '_>, aside: &mut Recording<'_>| {
        let mut asked = following.request(request, running.prediction.cancel_path());
        following.ask("POST", &mut asked, &mut Absent, aside).await.ok().map(drop)
    };
    afterwards(worker, view, inbound, parts, running, record, ends).await;
}

/// Does something that nobody waits for, for a while at the most. What ended the request does not end this.
async fn afterwards<T>(
    worker: &Worker,
    view: &Rc<View>,
    inbound: &Inbound<'_>,
    parts: Parts<'_, '_>,
    running: &Running,
    record: &mut Recording<'_>,
    what: impl AsyncFnOnce(&Following<'_, '_>, &mut Recording<'_>) -> Option<T>,
) -> Option<T> {
    let control = worker.controls.register();
    let endpoint = view.endpoints.get(running.index as usize)?.clone();
    let chosen = Chosen { index: running.index, endpoint };
    let (from, until) = ((inbound.source, inbound.secure), worker.tick_in(AFTERWARDS));
    let following = Following { worker, view, control: &control, parts, from, chosen: &chosen, until };
    let mut aside = record.aside();
    tokio::time::timeout(AFTERWARDS, what(&following, &mut aside)).await.ok().flatten()
}

/// One that is followed.
struct Following<'f, 'r> {
    worker: &'f Worker,
    view: &'f Rc<View>,
    control: &'f Control,
    parts: Parts<'f, 'r>,
    /// Where the call came from, and whether by TLS.
    from: (IpAddr, bool),
    /// The endpoint that made it.
    chosen: &'f Chosen,
    until: u64,
}

/// An answer of which the body was read.
struct Answered {
    response: UpstreamResponse,
    body: Vec<u8>,
    /// What the body counts of the memory that a worker may hold.
    held: Charge,
}

impl Following<'_, '_> {
    async fn follow<C: Caller>(
        &self,
        request: &UpstreamRequest,
        (inbound, made): (&Inbound<'_>, UpstreamResponse),
        streams: bool,
        running: &mut Option<Running>,
        caller: &mut C,
        aside: &mut Recording<'_>,
    ) -> Result<UpstreamResponse, Ended> {
        let mut asked = self.request(request, String::new());
        let mut answered = self.read(&mut asked, made, caller, aside).await?;
        let mut pause = PAUSES.0;
        let mut listens = streams;
        loop {
            let Answered { response, body, held } = answered;
            let prediction = Prediction::of(&body).ok_or_else(unusable)?;
            let told = || replicate::told(&body).ok_or_else(unusable);
            if prediction.state != State::Runs {
                *running = None;
            }
            match prediction.state {
                State::Done if streams => {
                    let tokens = replicate::usage::of(&body);
                    *running = Some(Running { prediction, tokens, index: self.chosen.index });
                    return Ok(instead(response, 200, "text/event-stream", &replicate::as_stream(&body)));
                }
                State::Done => return Ok(instead(response, 200, "application/json", &told()?)),
                State::Failed => return Ok(instead(response, 500, "application/json", &told()?)),
                State::Runs => {}
            }
            // It repeats what was asked, which may be large, and nobody needs it while the next one is waited for.
            drop((body, held));
            let place = prediction.stream.clone().filter(|_| std::mem::take(&mut listens));
            let path = prediction.path();
            *running = Some(Running { prediction, tokens: None, index: self.chosen.index });
            let mut rest = response;
            if let Some(url) = place {
                match self.listen(&url, inbound, rest, caller).await? {
                    Ok(stream) => return Ok(stream),
                    Err(back) => rest = back,
                }
            }
            self.put_back(rest);
            answered = loop {
                self.wait(pause, caller).await?;
                pause = (pause * 2).min(PAUSES.1);
                let mut asked = self.request(request, path.clone());
                let answered = self.ask("GET", &mut asked, caller, aside).await?;
                match answered.response.head.status {
                    200..300 => break answered,
                    408 | 429 | 500.. => self.put_back(answered.response),
                    status => return Ok(instead(answered.response, status, "application/json", &answered.body)),
                }
            };
        }
    }

    /// A question for something below the endpoint's base, at the target that the call went to.
    fn request(&self, request: &UpstreamRequest, path: String) -> UpstreamRequest {
        let place = request.call.as_ref().map_or((0, 0, 0), |call| (call.model, call.target, call.key));
        let call = ModelCall::free(place, Task::Chat, Dialect::Replicate, path, self.worker);
        let plain = UpstreamRequest::plain(request.upstream, UpstreamBody::Empty);
        UpstreamRequest { call: Some(call), idempotent: true, until: self.until, ..plain }
    }

    /// Asks, with the credential, and reads the answer.
    async fn ask<C: Caller>(
        &self,
        method: &str,
        request: &mut UpstreamRequest,
        caller: &mut C,
        aside: &mut Recording<'_>,
    ) -> Result<Answered, Ended> {
        let bytes = question::bare(method, "predictions", aside);
        let mut head = RequestHead::default();
        if !matches!(parse_request(&bytes, 0, &HeadLimits::default(), &mut head), Ok(Parsed::Complete)) {
            return Err(Refused::new(OutcomeReason::Internal).into());
        }
        let (source, secure) = self.from;
        let inbound = Inbound { bytes: &bytes, head: &head, source, secure, began: Instant::now() };
        let (matched, principal, permit) = self.parts;
        let mut failures = 0;
        loop {
            let Self { worker, view, control, chosen, .. } = *self;
            let injected = inject::inject(worker, view, permit, &inbound, matched, principal, request, chosen, aside)?;
            let sent =
                forward::forward(worker, view, control, &inbound, (injected, None), request, chosen, caller, aside);
            match sent.await {
                Ok(response) => match self.read(request, response, caller, aside).await {
                    // Half an answer says nothing of what was asked about.
                    Err(Ended::Refused(refused))
                        if breaks_off(refused.reason) && failures < FAILURES && worker.tick() < self.until =>
                    {
                        failures += 1;
                        if let Some(call) = &mut request.call
                            && matches!(call.usage, UsageProbe::Prediction(_))
                        {
                            call.usage = UsageProbe::of(Dialect::Replicate, false, false);
                        }
                    }
                    read => return read,
                },
                Err(Ended::Failed(failure)) if failures < FAILURES && worker.tick() < self.until => {
                    failures += 1;
                    request.fresh |= failure.stale;
                }
                Err(ended) => return Err(ended),
            }
        }
    }

    async fn read<C: Caller>(
        &self,
        request: &mut UpstreamRequest,
        mut response: UpstreamResponse,
        caller: &mut C,
        aside: &mut Recording<'_>,
    ) -> Result<Answered, Ended> {
        let framing = (response.head.framing(false), translated::MOST);
        // Whoever passes it on takes secrets out of it.
        let mut as_it_is = Scrub::default();
        let Self { worker, view, control, .. } = *self;
        let (connection, scrub) = (&mut response.connection, &mut as_it_is);
        let read = translated::collect(worker, view, control, request, framing, connection, scrub, caller, aside);
        let (body, held) = read.await?;
        Ok(Answered { response, body, held })
    }

    /// Goes to where what it says is heard. The answer that named the place, where that cannot be gone to or is none.
    async fn listen<C: Caller>(
        &self,
        url: &str,
        inbound: &Inbound<'_>,
        made: UpstreamResponse,
        caller: &mut C,
    ) -> Result<Result<UpstreamResponse, UpstreamResponse>, Ended> {
        let own = self.chosen.plan(self.view);
        let Some((plan, path)) = stream_plan(url, own) else { return Ok(Err(made)) };
        let mut head = Vec::with_capacity(256);
        let _ = write!(
            head,
            "GET {path} HTTP/1.1\r\nhost: {}\r\naccept: text/event-stream\r\naccept-encoding: identity\r\n\
             cache-control: no-store\r\n\r\n",
            plan.authority
        );
        let scrub = made.scrub.another();
        let listening = forward::listen(self.worker, self.control, inbound, (&plan, &head, self.until), &scrub, caller);
        let (head, bytes, connection, endpoint) = match listening.await {
            Ok(heard) => heard,
            Err(Ended::Failed(_)) => return Ok(Err(made)),
            Err(refused) => return Err(refused),
        };
        let coded = |value: &[u8]| !value.eq_ignore_ascii_case(b"identity");
        let is_coded = head.fields.iter().any(|f| f.tag == Tag::ContentEncoding && coded(f.value.of(&bytes)));
        if head.status != 200 || is_coded || !is_stream(&head, &bytes, Some(Dialect::Replicate)) {
            return Ok(Err(made));
        }
        let UpstreamResponse { sent, _in_use, connection: idle, endpoint: back, head: of_made, .. } = made;
        if of_made.keeps_alive() && of_made.framing(false) != Framing::UntilClose {
            back.keep(idle, self.worker.pools.most, self.worker.tick());
        }
        Ok(Ok(UpstreamResponse { head, bytes, connection, endpoint, scrub, upload: None, sent, _in_use }))
    }

    /// Gives back the connection of an answer that was read.
    fn put_back(&self, response: UpstreamResponse) {
        let UpstreamResponse { head, connection, endpoint, .. } = response;
        if head.keeps_alive() && head.framing(false) != Framing::UntilClose {
            endpoint.keep(connection, self.worker.pools.most, self.worker.tick());
        }
    }

    async fn wait<C: Caller>(&self, pause: Duration, caller: &mut C) -> Result<(), Ended> {
        self.control.set_deadline(self.until);
        let mut slept = pin!(tokio::time::sleep(pause));
        let waited = hedge::wait(self.control, caller, |cx| slept.as_mut().poll(cx)).await?;
        Ok(waited.ok_or(Refused::new(OutcomeReason::UpstreamTimeout))?)
    }
}

/// Whether an answer ended before all of it was there.
const fn breaks_off(reason: OutcomeReason) -> bool {
    use OutcomeReason as R;
    matches!(reason, R::UpstreamTruncated | R::UpstreamStalled | R::UpstreamReset)
}

fn unusable() -> Refused {
    let detail = "the provider answered with something that is no prediction".to_owned();
    Refused::new(OutcomeReason::UpstreamMalformed).with_detail(detail)
}

/// How the place of a stream is reached, and its path there.
fn stream_plan(url: &str, own: &EndpointPlan) -> Option<(EndpointPlan, String)> {
    let place = replicate::stream_place(url, (own.tls.is_some(), &own.host, own.port))?;
    let (host, path) = (place.url.host.to_owned(), place.url.path.to_owned());
    let tls = match &own.tls {
        _ if place.own => own.tls.clone(),
        Some((trusted, _)) => Some((trusted.clone(), ServerName::try_from(host.clone()).ok()?)),
        None => return None,
    };
    let authority = if place.own { own.authority.clone() } else { host.as_str().into() };
    let identity = format!("stream of {authority}").into();
    let port = place.url.port;
    Some((EndpointPlan { identity, authority, host, port, base: String::new(), exact: String::new(), tls }, path))
}

/// An answer with another body, which was made here, in place of the one that was read.
pub(super) fn instead(mut response: UpstreamResponse, status: u16, kind: &str, body: &[u8]) -> UpstreamResponse {
    let keeps = response.head.keeps_alive() && response.head.framing(false) != Framing::UntilClose;
    let mut text = Vec::with_capacity(128);
    let _ = write!(text, "HTTP/1.1 {status} Told\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n", body.len());
    text.extend_from_slice(if keeps { b"\r\n" } else { b"connection: close\r\n\r\n" });
    let mut head = ResponseHead::default();
    // It is written as it is read.
    let _ = parse_response(&text, 0, &RESPONSE_HEAD, &mut head);
    (response.head, response.bytes) = (head, text);
    let mut rest = body;
    while !rest.is_empty() {
        let room = response.connection.buffer.room();
        let (now, later) = rest.split_at(rest.len().min(room.len()));
        room[..now.len()].copy_from_slice(now);
        response.connection.buffer.filled_more(now.len());
        rest = later;
    }
    response
}
