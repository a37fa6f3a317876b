//! The Model Context Protocol (MCP) as it passes through: what a caller asks of a server, what the server offers it, and
//! what it may see of that. Bytes in, bytes out; no socket, no clock, no configuration.
//!
//! The versions 2025-03-26 to 2026-07-28 are read alike: [`Posted`] is what a caller posts, [`clean`] goes over a message
//! of the server's, and [`EventFilter`] does so for each event of a stream. What is decided by names, the names that may be
//! called and shown, is asked of [`Rights`].
//!
//! Where [`servers`] share an address, their names, ids and sessions are written so that each message finds its way, and
//! [`merge`] makes one answer of theirs.
//!
//! Whatever could be read in two ways is refused: a server may read the other one.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod answer;
mod error;
mod json;
pub mod merge;
mod message;
mod names;
pub mod servers;
pub mod sessions;
mod stream;
mod strict;
pub mod texts;

pub use answer::{Seen, Unreadable, clean};
pub use error::error_body;
pub use message::{Asks, InvalidMessage, METHODS, MOST_MESSAGES, Message, Posted};
pub use names::{as_header_value, header_value, is_plain_uri};
pub use stream::EventFilter;

use credentialflow_model::resource::Offered;
use std::borrow::Cow;

/// Which of what a server offers a caller may use.
pub trait Rights {
    /// Whether anything of this kind is kept from the caller at all.
    fn governs(&self, kind: Offered) -> bool;

    /// Whether the caller may use what has this name, or this URI.
    fn allows(&self, kind: Offered, name: &str) -> bool;

    /// The message that a caller gets, where what is said in it is looked at as well.
    fn judged<'a>(&self, message: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
        message
    }

    /// Whether what is said is looked at, so that nothing passes of which nobody can tell what it says.
    fn judges(&self) -> bool {
        false
    }
}
