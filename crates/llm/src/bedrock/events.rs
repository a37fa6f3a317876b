//! A stream of Bedrock's as server-sent events, which is what everything that looks at streams reads.
//!
//! Each message becomes one event of its type, with its payload as data; an exception becomes the event `error` with
//! `{"exception": …, "detail": …}`.

use super::frames::{Frame, MalformedFrame};
use crate::openai::request::write_json_string;

/// Longer names of events are none.
const MAX_NAME: usize = 64;

/// Writes a message as an event.
pub(crate) fn event(frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<(), MalformedFrame> {
    let name = |header: &str| {
        let is_name = |name: &&str| {
            !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        frame.text(header).filter(is_name).ok_or(MalformedFrame)
    };
    let failed = |out: &mut Vec<u8>, exception: &str| {
        out.extend_from_slice(b"event: error\ndata: {\"exception\":");
        write_json_string(out, exception);
        out.extend_from_slice(b",\"detail\":");
    };
    match frame.text(":message-type") {
        Some("event") => {
            out.extend_from_slice(b"event: ");
            out.extend_from_slice(name(":event-type")?.as_bytes());
            out.extend_from_slice(b"\ndata: ");
            one_line(frame.payload, out);
        }
        Some("exception") => {
            failed(out, name(":exception-type")?);
            one_line(frame.payload, out);
            out.push(b'}');
        }
        Some("error") => {
            failed(out, name(":error-code")?);
            out.extend_from_slice(b"{\"message\":");
            write_json_string(out, frame.text(":error-message").unwrap_or_default());
            out.extend_from_slice(b"}}");
        }
        _ => return Err(MalformedFrame),
    }
    out.extend_from_slice(b"\n\n");
    Ok(())
}

/// JSON has line ends only where a space is as good.
fn one_line(json: &[u8], out: &mut Vec<u8>) {
    if json.is_empty() {
        return out.extend_from_slice(b"{}");
    }
    out.extend(json.iter().map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { *b }));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::frames::tests::message, *};
    use crate::{provider::Dialect, unframed::Unframed};

    fn opened(messages: &[Vec<u8>]) -> Result<String, MalformedFrame> {
        let mut unframed = Unframed::of(Dialect::Bedrock);
        let mut out = Vec::new();
        for piece in messages.concat().chunks(5) {
            let (events, framed) = unframed.open(piece);
            framed?;
            out.extend_from_slice(&events);
        }
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn messages_become_events() {
        let start = message(&[(":message-type", "event"), (":event-type", "messageStart")], b"{\n\"role\":\r\n1}");
        let thrown = message(
            &[(":message-type", "exception"), (":exception-type", "throttlingException")],
            br#"{"message":"Too many"}"#,
        );
        let error = message(
            &[(":message-type", "error"), (":error-code", "InternalError"), (":error-message", "Oh \"no\"\n")],
            b"",
        );
        let bare = message(&[(":message-type", "event"), (":event-type", "contentBlockStop")], b"");
        assert_eq!(
            opened(&[start, thrown, error, bare]).unwrap(),
            concat!(
                "event: messageStart\ndata: { \"role\":  1}\n\n",
                "event: error\ndata: {\"exception\":\"throttlingException\",\"detail\":{\"message\":\"Too many\"}}\n\n",
                "event: error\ndata: {\"exception\":\"InternalError\",\"detail\":{\"message\":\"Oh \\\"no\\\"\\n\"}}\n\n",
                "event: contentBlockStop\ndata: {}\n\n",
            )
        );
    }

    #[test]
    fn what_could_forge_an_event_is_none() {
        for headers in [
            &[(":message-type", "event")][..],
            &[(":event-type", "messageStart")],
            &[(":message-type", "event"), (":event-type", "a\ndata: x")],
            &[(":message-type", "event"), (":event-type", "")],
            &[(":message-type", "exception"), (":event-type", "a")],
            &[(":message-type", "initial-response"), (":event-type", "a")],
        ] {
            assert_eq!(opened(&[message(headers, b"{}")]), Err(MalformedFrame), "{headers:?}");
        }
    }

    #[test]
    fn what_came_before_a_broken_message_is_told() {
        let good = message(&[(":message-type", "event"), (":event-type", "messageStart")], b"{}");
        let nameless = message(&[(":message-type", "event"), (":event-type", "")], b"{}");
        let mut cut = good.clone();
        *cut.last_mut().unwrap() ^= 1;
        for bad in [nameless, cut] {
            let mut unframed = Unframed::of(Dialect::Bedrock);
            let all = [&good[..], &good, &bad, &good].concat();
            let (events, framed) = unframed.open(&all);
            assert_eq!(framed, Err(MalformedFrame));
            assert_eq!(String::from_utf8_lossy(&events), "event: messageStart\ndata: {}\n\n".repeat(2));
            let (events, framed) = unframed.open(&good);
            assert_eq!((events.len(), framed), (0, Err(MalformedFrame)), "nothing is read behind it");
        }
    }
}
