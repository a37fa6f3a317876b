//! W3C Trace Context (Level 1): the caller's trace goes on, with a span of ours in between.

use super::{Inbound, record::Recording};
use crate::{http1::tag::Tag, text::push_hex};
use credentialflow_model::TraceId;

/// The trace id of a valid `traceparent`.
pub(super) fn incoming(value: &[u8]) -> Option<(TraceId, u8)> {
    let text = std::str::from_utf8(value).ok()?;
    let mut parts = text.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lower_hex = |s: &str| s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let sizes = version.len() == 2 && trace.len() == 32 && parent.len() == 16 && flags.len() == 2;
    if !sizes || ![version, trace, parent, flags].into_iter().all(lower_hex) || version == "ff" {
        return None;
    }
    if version == "00" && parts.next().is_some() {
        return None;
    }
    let id = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
    u64::from_str_radix(parent, 16).ok().filter(|id| *id != 0)?;
    Some((TraceId(id), u8::from_str_radix(flags, 16).ok()?))
}

/// Writes `traceparent` for the upstream. `tracestate` passes as it is when the trace goes on.
pub(super) fn push(head: &mut Vec<u8>, inbound: &Inbound<'_>, record: &mut Recording<'_>) {
    let flags = inbound.field(Tag::Traceparent).and_then(incoming).map_or(0, |(_, flags)| flags & 1);
    head.extend_from_slice(b"traceparent: 00-");
    push_hex(head, record.trace_id().0, 32);
    head.push(b'-');
    push_hex(head, record.span_id().into(), 16);
    head.extend_from_slice(if flags == 0 { b"-00\r\n" } else { b"-01\r\n" });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_traces_go_on() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(incoming(good.as_bytes()), Some((TraceId(0x4bf92f3577b34da6a3ce929d0e0e4736), 1)));
        for bad in [
            "",
            "00",
            "00-0-0-0",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(incoming(bad.as_bytes()), None, "{bad}");
        }
    }
}
