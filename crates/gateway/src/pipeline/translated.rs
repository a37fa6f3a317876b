//! A provider's answer that is not a stream, put into the caller's dialect: read whole, translated, sent.
//!
//! Nothing is sent before all of it was understood, so one that is no answer becomes a proper refusal.

use super::{
    Refused,
    answer::{Filled, fill, flush_until, request_idle},
    record::Recording,
    scrub::Scrub,
    translate::UpstreamRequest,
    usage::UsageProbe,
};
use crate::{
    budget::Charge,
    conn::{AnswerFraming, Caller},
    http1::{body::Decoder, head::Framing},
    net::control::{Control, let_others_go_first},
    upstream::Connection,
    worker::{View, Worker},
};
use credentialflow_llm::translate::Translation;
use credentialflow_model::OutcomeReason;
use std::time::Duration;

/// Larger answers are not taken: no model writes that much.
pub(super) const MOST: usize = 32 << 20;

/// A caller is sent so much at a time, and has the time that a caller may refuse to read for each of them.
const PIECE: usize = 256 << 10;

/// For each so many bytes that are begun, the whole may take as long again: what is held is missing to others.
const PACE: usize = 8 << 20;

/// Reads the answer's body, counting what it says of tokens.
#[expect(clippy::too_many_arguments, reason = "a stage sees what the stages before it made")]
pub(super) async fn collect<C: Caller>(
    worker: &Worker,
    view: &View,
    control: &Control,
    request: &mut UpstreamRequest,
    (framing, most): (Framing, usize),
    connection: &mut Connection,
    scrub: &mut Scrub,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<(Vec<u8>, Charge), Refused> {
    let mut body = Vec::new();
    let mut kept = worker.budget.nothing();
    let mut decoder = Decoder::new(framing);
    let idle = request_idle(view, request.upstream);
    loop {
        while !connection.buffer.is_empty() && !decoder.is_done() {
            let step =
                decoder.step(connection.buffer.filled()).map_err(|_| Refused::new(OutcomeReason::UpstreamMalformed))?;
            let payload = &connection.buffer.filled()[step.payload];
            match request.call.as_mut().map(|c| &mut c.usage) {
                Some(UsageProbe::Answer(usage)) => usage.feed(payload),
                Some(UsageProbe::Message(usage)) => usage.feed(payload),
                Some(UsageProbe::Response(usage)) => usage.feed(payload),
                Some(UsageProbe::Gemini(usage)) => usage.feed(payload),
                Some(UsageProbe::Converse(usage)) => usage.feed(payload),
                Some(UsageProbe::Prediction(usage)) => usage.feed(payload),
                Some(UsageProbe::Task(usage)) => usage.feed(payload),
                _ => {}
            }
            scrub.feed(payload, &mut |b: &[u8]| body.extend_from_slice(b));
            connection.buffer.consume(step.consumed);
        }
        if body.len() > most {
            let detail = "the upstream's answer is too large to be looked at".to_owned();
            return Err(Refused::new(OutcomeReason::UpstreamMalformed).with_detail(detail));
        }
        // Its usage is read from a copy, and translated there is a third one.
        kept.set(3 * body.capacity() as u64).map_err(|_| Refused::new(OutcomeReason::Overloaded))?;
        if decoder.is_done() {
            break;
        }
        control.set_deadline(worker.tick_in(idle));
        match fill(control, connection, caller, &mut None, record).await? {
            Filled::Bytes(0) if decoder.may_end_here() => break,
            Filled::Bytes(0) => return Err(Refused::new(OutcomeReason::UpstreamTruncated)),
            Filled::Nothing => return Err(Refused::new(OutcomeReason::UpstreamStalled)),
            Filled::Bytes(_) | Filled::Uploading | Filled::Uploaded { .. } => {}
        }
    }
    control.clear_deadline();
    scrub.finish(&mut |b: &[u8]| body.extend_from_slice(b));
    Ok((body, kept))
}

/// The answer in the caller's dialect. `name` is what the head of an error calls it, where it does.
pub(super) fn answer(
    translation: &Translation,
    status: u16,
    name: Option<&str>,
    body: &[u8],
) -> Result<Vec<u8>, Refused> {
    if !(200..300).contains(&status) {
        return Ok(translation.named_error(status, name, body));
    }
    translation.whole(body).ok_or_else(|| untold(translation, body))
}

/// The same as the stream that the caller asked for.
pub(super) fn said_at_once(translation: &Translation, body: &[u8]) -> Result<Vec<u8>, Refused> {
    translation.streamed(body).ok_or_else(|| untold(translation, body))
}

/// Why a success cannot be told.
fn untold(translation: &Translation, body: &[u8]) -> Refused {
    match translation.without_place(body) {
        Some(why) => unusable().with_detail(why.to_owned()),
        None => unusable(),
    }
}

/// A success that is none.
pub(super) fn unusable() -> Refused {
    let detail = "the provider answered with something that is no answer of a model".to_owned();
    Refused::new(OutcomeReason::UpstreamMalformed).with_detail(detail)
}

/// Lets others go first where what is done next with so many bytes takes its time.
pub(super) async fn pause(bytes: usize) {
    if bytes > PIECE {
        let_others_go_first().await;
    }
}

/// How long a caller may take for an answer of so many bytes, where it may refuse to read for `patience`.
fn time_for(bytes: usize, patience: Duration) -> Duration {
    let steps = u32::try_from(bytes.div_ceil(PACE)).unwrap_or(u32::MAX);
    patience.saturating_mul(steps.saturating_add(1))
}

/// What the answer is.
pub(super) const JSON: &str = "application/json";

/// Or that.
pub(super) const EVENTS: &str = "text/event-stream";

/// Sends it; `fields` are those that pass. Its memory is charged until the last piece of it has gone.
pub(super) async fn send<C: Caller>(
    control: &Control,
    worker: &Worker,
    caller: &mut C,
    record: &mut Recording<'_>,
    (status, content_type): (u16, &str),
    fields: &mut Vec<u8>,
    body: Vec<u8>,
) -> Result<(), Refused> {
    let _held = worker.budget.take(body.capacity() as u64).map_err(|_| Refused::new(OutcomeReason::Overloaded))?;
    for part in ["content-type: ", content_type, "\r\n"] {
        fields.extend_from_slice(part.as_bytes());
    }
    caller.begin(status, fields, AnswerFraming::Length(body.len() as u64));
    record.answered(status);
    record.bytes_out(body.len().min(PIECE) as u64);
    // Before the caller is sent any of it.
    record.keep();
    let until = worker.tick_in(time_for(body.len(), worker.shared.settings.body_timeout));
    let mut sent = 0;
    while body.len() - sent > PIECE {
        caller.payload(&body[sent..sent + PIECE]);
        sent += PIECE;
        record.bytes_out(sent as u64);
        flush_until(control, worker, caller, until).await?;
        let_others_go_first().await;
    }
    caller.payload(&body[sent..]);
    caller.end();
    record.bytes_out(body.len() as u64);
    flush_until(control, worker, caller, until).await?;
    record.served();
    Ok(())
}
