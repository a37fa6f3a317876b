//! Calls that the gateway itself makes on behalf of one that it passes on.

use super::{
    Inbound, Parts, Refused, answered, forward, hedge::Absent, record::Recording, translate::UpstreamRequest,
    translated,
};
use crate::{
    http1::{head::Framing, tag::Tag},
    net::control::Control,
    worker::{View, Worker},
};
use credentialflow_model::OutcomeReason;
use std::{io::Write as _, rc::Rc};

/// The head of such a call, as if somebody had sent it here: in the same trace.
pub(super) fn head(host: &str, path: &str, length: usize, beside: &Recording<'_>) -> Vec<u8> {
    let mut head = Vec::with_capacity(256);
    let _ = write!(
        head,
        "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\naccept: application/json\r\n\
         content-length: {length}\r\ntraceparent: 00-{:032x}-{:016x}-00\r\n\r\n",
        beside.trace_id().0,
        beside.span_id(),
    );
    head
}

/// Sends such a call, and gives the body of its answer, of so many bytes at the most: one
/// whose status is no success, or that is compressed, is none.
pub(super) async fn answer_to(
    worker: &Worker,
    view: &Rc<View>,
    (control, inbound, parts): (&Control, &Inbound<'_>, Parts<'_, '_>),
    request: &mut UpstreamRequest,
    most: usize,
    record: &mut Recording<'_>,
) -> Result<Vec<u8>, Refused> {
    let response = answered(worker, view, control, inbound, parts, request, &mut Absent, record).await?;
    let forward::UpstreamResponse { head, bytes, mut connection, endpoint, mut scrub, sent, .. } = response;
    record.answered(head.status);
    let refused = |detail: String| Err(Refused::new(OutcomeReason::UpstreamMalformed).with_detail(detail));
    if !(200..300).contains(&head.status) {
        return refused(format!("its answer has the status {}", head.status));
    }
    let identity = |value: &[u8]| value.eq_ignore_ascii_case(b"identity");
    if head.fields.iter().any(|f| f.tag == Tag::ContentEncoding && !identity(f.value.of(&bytes))) {
        return refused("its answer is compressed".into());
    }
    let framing = head.framing(false);
    let (nobody, framed) = (&mut Absent, (framing, most));
    let body =
        translated::collect(worker, view, control, request, framed, &mut connection, &mut scrub, nobody, record).await;
    record.upstream_done(sent);
    record.usage(view, request);
    let (body, _held) = body?;
    record.bytes_out(body.len() as u64);
    if head.keeps_alive() && framing != Framing::UntilClose {
        endpoint.keep(connection, worker.pools.most, worker.tick());
    }
    Ok(body)
}

/// The head of one without a body.
pub(super) fn bare(method: &str, host: &str, beside: &Recording<'_>) -> Vec<u8> {
    let mut head = Vec::with_capacity(192);
    let _ = write!(
        head,
        "{method} / HTTP/1.1\r\nhost: {host}\r\naccept: application/json\r\ntraceparent: 00-{:032x}-{:016x}-00\r\n\r\n",
        beside.trace_id().0,
        beside.span_id(),
    );
    head
}
