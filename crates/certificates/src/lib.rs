//! X.509 certificates: what one says, those our own authorities issue, and when each one ends.
//!
//! Bytes in, bytes out: a certificate is read with [`Certificate::parse`], a root or a leaf is made by a declared rule
//! with [`issue`] and by the terms of a request with [`authority`], what was seen anywhere is kept by [`Watch`]. This
//! crate knows nothing of sockets, databases, files and clocks; the time is handed in. A private key is only ever in a
//! [`SecretValue`](credentialflow_model::SecretValue).

pub mod authority;
mod bundle;
mod certificate;
pub mod issue;
mod key_form;
#[cfg(test)]
mod vectors;
mod watch;

pub use bundle::Bundle;
pub use certificate::{Certificate, Unreadable};
pub use watch::{MOST_WATCHED, Place, PlaceKind, Stage, Watch, Watched};
