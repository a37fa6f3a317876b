//! Calls that the gateway itself makes on behalf of one that it passes on.

use super::record::Recording;
use std::io::Write as _;

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
