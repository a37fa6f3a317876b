//! What several servers say by themselves, as one stream: each of their events as it comes. It goes on while one of them
//! does, and has no ids, as no place in it could be taken up again in all of them.

use super::{
    Answering, Events, Form, METHOD_NOT_FOUND,
    ask_all::{Asked, Asking, together},
    servers::Question,
};
use crate::{
    budget::Charge,
    conn::{AnswerFraming, Caller},
    http1::{body::Decoder, head::Framing, tag::Tag},
    net::control::{Control, Interrupt},
    pipeline::{
        Refused, answer, body, forward,
        guard::answered::{AnswerGuard, is_text},
        record::Recording,
        scrub::Scrub,
        translate::UpstreamBody,
    },
    upstream::Connection,
};
use credentialflow_mcp::{error_body, merge, servers::listened};
use credentialflow_model::OutcomeReason;
use std::{future::poll_fn, task::Poll, time::Instant};

/// A server's stream that has begun.
struct Stream<'a, 'w> {
    connection: Connection,
    decoder: Decoder,
    scrub: Scrub,
    guard: AnswerGuard<'a>,
    events: Events<'a>,
    kept: Charge,
    sent: Instant,
    is_over: bool,
    bytes: u64,
    record: Recording<'w>,
    _in_use: (Option<forward::InUse>, Option<forward::InUse>),
}

/// Asks all servers for their streams, and sends what comes.
pub(super) async fn serve<C: Caller>(
    asking: &Asking<'_, '_>,
    control: &Control,
    text: &str,
    mut fields: Vec<u8>,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<(), Refused> {
    let subscribes = asking.all.question == Question::Subscribe;
    let legs = match subscribes {
        true => asking.legs(|server| asking.subscription(text, server))?,
        false => asking.legs(|_| Ok(UpstreamBody::Empty))?,
    };
    let mut asked: Vec<Asked<'_, Option<Stream<'_, '_>>>> = Vec::with_capacity(legs.len());
    for (server, body) in legs {
        asked.push((server, Box::pin(open(asking, server, body, asking.record(server, record)))));
    }
    let opened = together(asked, control, caller).await?;
    let mut streams: Vec<_> = opened.into_iter().filter_map(|(_, stream)| stream).collect();
    let id = &asking.all.id;
    if streams.is_empty() && subscribes {
        let body = error_body(
            std::slice::from_ref(id),
            false,
            METHOD_NOT_FOUND,
            "no server here tells of anything",
            &serde_json::Value::Null,
        );
        return super::super::translated::send(
            control,
            asking.worker,
            caller,
            record,
            (200, super::super::translated::JSON),
            &mut fields,
            body,
        )
        .await;
    }
    if streams.is_empty() {
        let detail = "no server here has a stream of its own".to_owned();
        let refused = Refused::new(OutcomeReason::MethodNotAllowed).with_detail(detail);
        return Err(refused.with_field("allow", "POST, DELETE".into()));
    }
    fields.extend_from_slice(b"content-type: text/event-stream\r\ncache-control: no-cache\r\n");
    caller.begin(200, &fields, AnswerFraming::Streamed);
    record.answered(200);
    let mut sent = 0u64;
    if subscribes {
        // What each of them has taken is told once, for all of them.
        let meta = format!(r#"{{"io.modelcontextprotocol/subscriptionId":{id}}}"#);
        let event = format!(
            "event: message\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/subscriptions/acknowledged\",\"params\":{{\"notifications\":{},\"_meta\":{meta}}}}}\n\n",
            listened(text)
        );
        sent += event.len() as u64;
        caller.payload(event.as_bytes());
    }
    while !streams.is_empty() {
        let mut at = 0;
        while let Some(stream) = streams.get_mut(at) {
            let more = stream.pass(&mut |b| {
                sent += b.len() as u64;
                caller.payload(b);
            });
            match more {
                None => at += 1,
                Some(ended) => streams.swap_remove(at).end(ended),
            }
        }
        record.bytes_out(sent);
        answer::flush(control, asking.worker, caller).await?;
        record.first_byte();
        if streams.is_empty() {
            break;
        }
        control.set_deadline(asking.worker.tick_in(asking.plan.stream_idle));
        let waited = control.wait(poll_fn(|cx| {
            let mut any = false;
            for stream in &mut streams {
                if let Poll::Ready(read) = stream.connection.stream.poll_fill(cx, &mut stream.connection.buffer) {
                    stream.is_over = read.unwrap_or(0) == 0;
                    any = true;
                }
            }
            if any { Poll::Ready(true) } else { caller.poll_gone(cx).map(|()| false) }
        }));
        match waited.await {
            Ok(true) => {}
            Ok(false) => return Err(Refused::new(OutcomeReason::CallerClosed)),
            Err(Interrupt::Deadline) => return Err(Refused::new(OutcomeReason::UpstreamStalled)),
            Err(other) => return Err(body::interrupted(other, OutcomeReason::UpstreamStalled)),
        }
    }
    if subscribes {
        let result =
            format!(r#"{{"resultType":"complete","_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}}}"#);
        let answer = String::from_utf8(merge::result(id, &result)).unwrap_or_default();
        let event = format!("event: message\ndata: {answer}\n\n");
        sent += event.len() as u64;
        caller.payload(event.as_bytes());
    }
    caller.end();
    record.bytes_out(sent);
    answer::flush(control, asking.worker, caller).await?;
    record.served();
    Ok(())
}

/// Begins the stream of one server; `None` where it has none, which its record tells.
async fn open<'a, 'w>(
    asking: &Asking<'a, '_>,
    server: usize,
    body: UpstreamBody,
    mut record: Recording<'w>,
) -> Option<Stream<'a, 'w>> {
    let control = asking.worker.controls.register();
    let begun = asking.begin(server, body, &control, &mut record);
    let begun = match tokio::time::timeout(asking.plan.server_timeout, begun).await {
        Ok(begun) => begun,
        Err(_) => Err(Refused::new(OutcomeReason::UpstreamTimeout)),
    };
    let read = begun.and_then(|(request, response)| {
        let forward::UpstreamResponse { head, mut bytes, connection, scrub, sent, _in_use, .. } = response;
        let framing = head.framing(false);
        let coded = |value: &[u8]| !value.eq_ignore_ascii_case(b"identity");
        let encoded = head.fields.iter().any(|f| f.tag == Tag::ContentEncoding && coded(f.value.of(&bytes)));
        let readable = !encoded && framing != Framing::None && is_text(&head, &bytes);
        let mut guard = AnswerGuard::of(asking.view, asking.parts.0, &request, readable, &record);
        let passes = guard.head(&mut bytes, &record);
        guard.tell(&scrub, &record);
        passes?;
        let of_call =
            Answering::of(Some(asking.call), asking.view, asking.parts.0, (&head, &bytes), (framing, encoded))?;
        let answering = of_call.ok_or(Refused::new(OutcomeReason::Internal))?.of_server(asking.name(server));
        let events = answering.events_beside().filter(|_| head.status == 200 && answering.form() == Form::Events);
        Ok(events.map(|events| (connection, Decoder::new(framing), scrub, guard, events, sent, _in_use)))
    });
    match read {
        Ok(Some((connection, decoder, scrub, guard, events, sent, _in_use))) => {
            let kept = asking.worker.budget.nothing();
            let (is_over, bytes) = (false, 0);
            Some(Stream { connection, decoder, scrub, guard, events, kept, sent, is_over, bytes, record, _in_use })
        }
        Ok(None) => {
            record.served();
            None
        }
        Err(refused) => {
            record.outcome(refused.reason);
            None
        }
    }
}

impl Stream<'_, '_> {
    /// Passes on what came. What it gives is how the stream ended, if it did.
    fn pass(&mut self, out: &mut impl FnMut(&[u8])) -> Option<OutcomeReason> {
        let Self { connection, decoder, scrub, guard, events, bytes, record, .. } = self;
        let (step, framed) = decoder.gather(connection.buffer.filled_mut());
        let payload = &connection.buffer.filled()[step.payload];
        let mut counted = |b: &[u8]| {
            *bytes += b.len() as u64;
            out(b);
        };
        scrub.feed(payload, &mut |b: &[u8]| guard.feed(b, &mut |b: &[u8]| events.feed(b, &mut counted)));
        connection.buffer.consume(step.consumed);
        guard.tell(scrub, record);
        events.tell(record);
        if framed.is_err() || events.has_failed() {
            return Some(OutcomeReason::UpstreamMalformed);
        }
        if self.kept.set(events.held() as u64).is_err() {
            return Some(OutcomeReason::Overloaded);
        }
        if decoder.is_done() || (self.is_over && decoder.may_end_here()) {
            scrub.finish(&mut |b: &[u8]| guard.feed(b, &mut |b: &[u8]| events.feed(b, &mut counted)));
            guard.finish(&mut |b: &[u8]| events.feed(b, &mut counted));
            events.finish(&mut counted);
            return Some(if events.has_failed() { OutcomeReason::UpstreamMalformed } else { OutcomeReason::Served });
        }
        self.is_over.then_some(OutcomeReason::UpstreamTruncated)
    }

    /// The stream is over.
    fn end(mut self, reason: OutcomeReason) {
        self.record.upstream_done(self.sent);
        self.record.bytes_out(self.bytes);
        match reason {
            OutcomeReason::Served => self.record.served(),
            reason => self.record.outcome(reason),
        }
    }
}
