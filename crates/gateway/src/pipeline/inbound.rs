//! A request as it came in.

use crate::http1::{
    head::{Field, RequestHead},
    tag::Tag,
};
use std::{net::IpAddr, time::Instant};

/// A request whose head was read and whose body was not.
pub(crate) struct Inbound<'a> {
    /// The bytes the head's spans refer to.
    pub bytes: &'a [u8],
    /// The head.
    pub head: &'a RequestHead,
    /// Where it came from.
    pub source: IpAddr,
    /// Whether it came over TLS.
    pub secure: bool,
    /// When its first byte was seen.
    pub began: Instant,
}

impl<'a> Inbound<'a> {
    /// Method.
    pub fn method(&self) -> &'a str {
        self.head.method.str(self.bytes)
    }

    /// Path and query.
    pub fn target(&self) -> &'a str {
        self.head.target.str(self.bytes)
    }

    /// Path and query apart.
    pub fn path_and_query(&self) -> (&'a str, Option<&'a str>) {
        let target = self.target();
        match memchr::memchr(b'?', target.as_bytes()) {
            Some(at) => (&target[..at], Some(&target[at + 1..])),
            None => (target, None),
        }
    }

    /// Host without port.
    pub fn host(&self) -> &'a str {
        let host = self.head.host.str(self.bytes);
        match host.strip_prefix('[') {
            Some(_) => host.split_inclusive(']').next().unwrap_or(host),
            None => &host[..memchr::memchr(b':', host.as_bytes()).unwrap_or(host.len())],
        }
    }

    /// The first field with this tag.
    pub fn field(&self, tag: Tag) -> Option<&'a [u8]> {
        self.head.fields.iter().find(|f| f.tag == tag).map(|f| f.value.of(self.bytes))
    }

    /// The first field of this lower-case name.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.fields().find(|(_, n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, _, v)| v)
    }

    /// All fields: tag, name and value.
    pub fn fields(&self) -> impl Iterator<Item = (&'a Field, &'a [u8], &'a [u8])> {
        self.head.fields.iter().map(|f| (f, f.name.of(self.bytes), f.value.of(self.bytes)))
    }

    /// Whether repeating it cannot do harm (RFC 9110, 9.2.2).
    pub fn is_idempotent(&self) -> bool {
        matches!(self.method(), "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
    }

    /// Whether it asks to become a WebSocket (RFC 6455, 4.1).
    pub fn asks_websocket(&self) -> bool {
        self.head.connection.upgrade
            && self.method() == "GET"
            && self.field(Tag::Upgrade).is_some_and(|v| v.eq_ignore_ascii_case(b"websocket"))
    }

    /// Whether a field of this name belongs to the caller's connection because `Connection` says so.
    pub fn is_connection_option(&self, name: &[u8]) -> bool {
        self.head.connection.names
            && self
                .head
                .fields
                .iter()
                .filter(|f| f.tag == Tag::Connection)
                .any(|f| crate::http1::grammar::list(f.value.of(self.bytes)).any(|t| t.eq_ignore_ascii_case(name)))
    }
}
