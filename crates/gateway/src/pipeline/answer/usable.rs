//! What the beginning of a provider's answer is, whatever its head calls it.
//!
//! Proxies in front of providers answer with pages, some providers with an error of status 200, and some name the wrong type.
//! Callers who were told of a success would read that as an answer of the model.

use super::{Filled, fill};
use crate::{
    conn::Caller,
    http1::{
        body::Decoder,
        head::{Framing, ResponseHead},
        tag::Tag,
    },
    net::control::Control,
    pipeline::{Refused, call::ModelCall, forward::UpstreamResponse, record::Recording},
    upstream::Connection,
};
use credentialflow_llm::{provider::Dialect, task::Task};
use credentialflow_model::OutcomeReason;

/// What an answer begins as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) enum Begins {
    /// JSON that is no error. Also anything of which too little came to tell.
    Json,
    /// Events.
    Events,
    /// Nothing that a model answers with.
    Unusable,
}

/// Whether a success of this call is JSON or events, so that anything else is none.
pub(in crate::pipeline) const fn answers_in_json(call: &ModelCall) -> bool {
    // What predictions answer with is made here.
    !matches!(call.dialect, Dialect::Replicate)
        && matches!(
            call.task,
            Task::Chat
                | Task::Embeddings
                | Task::Moderations
                | Task::Rerank
                | Task::ImageGenerations
                | Task::ImageEdits
        )
}

/// Whether an answer is a success of this call that can be told apart from what others put in its place.
pub(in crate::pipeline) fn is_told_apart(call: &ModelCall, response: &UpstreamResponse) -> bool {
    let UpstreamResponse { head, bytes, upload, .. } = response;
    let mut codings = head.fields.iter().filter(|f| f.tag == Tag::ContentEncoding).map(|f| f.value.of(bytes));
    (200..300).contains(&head.status)
        && answers_in_json(call)
        && upload.is_none()
        && head.framing(false) != Framing::None
        && codings.all(|coding| coding.eq_ignore_ascii_case(b"identity"))
}

/// What an answer begins as; `None` while nothing of its body is there.
pub(in crate::pipeline) fn begun(response: &UpstreamResponse) -> Option<Begins> {
    look(response.head.framing(false), response.connection.buffer.filled())
}

/// Looks at what has come of an answer, and waits for its first bytes where none have. The deadline is set.
pub(in crate::pipeline) async fn begins<C: Caller>(
    control: &Control,
    framing: Framing,
    connection: &mut Connection,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<Begins, Refused> {
    loop {
        if let Some(begins) = look(framing, connection.buffer.filled()) {
            return Ok(begins);
        }
        match fill(control, connection, caller, &mut None, record).await? {
            Filled::Bytes(0) if framing == Framing::UntilClose => return Ok(Begins::Unusable),
            Filled::Bytes(0) => return Err(Refused::new(OutcomeReason::UpstreamTruncated)),
            Filled::Nothing => return Err(Refused::new(OutcomeReason::UpstreamStalled)),
            Filled::Bytes(_) | Filled::Uploading | Filled::Uploaded { .. } => {}
        }
    }
}

/// `None` while nothing of the body is there.
fn look(framing: Framing, filled: &[u8]) -> Option<Begins> {
    let mut decoder = Decoder::new(framing);
    let mut rest = filled;
    while !decoder.is_done() {
        // Whoever reads the body meets what is wrong with its framing.
        let Ok(step) = decoder.step(rest) else { return Some(Begins::Json) };
        if !step.payload.is_empty() {
            return Some(of(&rest[step.payload]));
        }
        if step.consumed == 0 {
            return None;
        }
        rest = &rest[step.consumed..];
    }
    Some(Begins::Unusable)
}

fn of(start: &[u8]) -> Begins {
    let start = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(start).trim_ascii_start();
    match start.first() {
        // Some send blanks as long as the model thinks.
        None => Begins::Json,
        Some(b'{') => of_object(&start[1..]),
        // A stream of Gemini's, whose elements are objects.
        Some(b'[') => match start[1..].trim_ascii_start().split_first() {
            Some((b'{', inside)) => of_object(inside),
            None => Begins::Json,
            Some(_) => Begins::Unusable,
        },
        Some(_) => {
            let fields = [&b"data:"[..], b"event:", b":", b"id:", b"retry:"];
            let is_event = fields.into_iter().any(|field| start.starts_with(field));
            if is_event { Begins::Events } else { Begins::Unusable }
        }
    }
}

/// An object that begins with its error, as errors do.
fn of_object(inside: &[u8]) -> Begins {
    let value = |name: &[u8]| {
        let value = inside.trim_ascii_start().strip_prefix(name)?.trim_ascii_start().strip_prefix(b":")?;
        Some(value.trim_ascii_start())
    };
    let error = value(b"\"error\"").is_some_and(|value| {
        value.starts_with(b"{") || value.strip_prefix(b"\"").is_some_and(|text| !text.is_empty() && text[0] != b'"')
    });
    if error || value(b"\"type\"").is_some_and(|value| value.starts_with(b"\"error\"")) {
        return Begins::Unusable;
    }
    Begins::Json
}

/// Whether the head says that the body is JSON.
pub(in crate::pipeline) fn is_json(head: &ResponseHead, bytes: &[u8]) -> bool {
    let kind = head.fields.iter().find(|f| f.tag == Tag::ContentType).map_or(&b""[..], |f| f.value.of(bytes));
    let kind = kind.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    kind.len() >= 4 && kind[kind.len() - 4..].eq_ignore_ascii_case(b"json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_at_the_beginning_tells_what_it_is() {
        for (start, begins) in [
            (&b"{\"id\":\"c\"}"[..], Begins::Json),
            (b"\xEF\xBB\xBF \n{", Begins::Json),
            (b"\n \n", Begins::Json),
            (b"[{\"candidates\":[", Begins::Json),
            (b"{\"error\":null,\"id\":1}", Begins::Json),
            (b"{\"error\":\"\"}", Begins::Json),
            (b"{\"error", Begins::Json),
            (b"{\"type\":\"message\"", Begins::Json),
            (b"{ \"error\" : {\"message\"", Begins::Unusable),
            (b"{\"error\":\"no\"}", Begins::Unusable),
            (b"[ { \"error\":{", Begins::Unusable),
            (b"{\"type\": \"error\",", Begins::Unusable),
            (b"<!DOCTYPE html>", Begins::Unusable),
            (b"null", Begins::Unusable),
            (b"\"text\"", Begins::Unusable),
            (b"[1]", Begins::Unusable),
            (b"no healthy upstream", Begins::Unusable),
            (b"data: {", Begins::Events),
            (b"event: message_start\n", Begins::Events),
            (b": ping\n", Begins::Events),
        ] {
            assert_eq!(of(start), begins, "{}", start.escape_ascii());
        }
    }

    #[test]
    fn the_first_bytes_of_the_body_are_looked_at_whatever_their_frame() {
        assert_eq!(look(Framing::Length(3), b""), None);
        assert_eq!(look(Framing::Length(0), b""), Some(Begins::Unusable));
        assert_eq!(look(Framing::Length(30), b"{"), Some(Begins::Json));
        assert_eq!(look(Framing::UntilClose, b"<html"), Some(Begins::Unusable));
        assert_eq!(look(Framing::Chunked, b"5\r\n"), None);
        assert_eq!(look(Framing::Chunked, b"5\r\n<htm"), Some(Begins::Unusable));
        assert_eq!(look(Framing::Chunked, b"0\r\n\r\n"), Some(Begins::Unusable));
        assert_eq!(look(Framing::Chunked, b"zz\r\n"), Some(Begins::Json));
    }
}
