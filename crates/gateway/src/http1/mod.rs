//! HTTP/1.1 as bytes in and bytes out: heads, body framing, and nothing that touches a socket.

pub mod body;
pub mod grammar;
pub mod head;
pub mod tag;
