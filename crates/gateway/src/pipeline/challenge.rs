//! Questions of an ACME server whether we are who we say (RFC 8555, 8.3), at a listener without TLS.
//!
//! They are answered before any route is looked for and without a credential: whoever knows the token got it from the
//! ACME server. A token that no challenge has goes on to the routes like any other path.

use super::{Inbound, answer::LocalAnswer};
use crate::worker::Worker;

const PREFIX: &str = "/.well-known/acme-challenge/";

/// The answer, if this is such a question.
pub(super) fn answer(worker: &Worker, inbound: &Inbound<'_>) -> Option<LocalAnswer> {
    let source = worker.shared.challenges.as_ref().filter(|_| !inbound.secure)?;
    let token = inbound.target().strip_prefix(PREFIX).filter(|_| inbound.method() == "GET")?;
    let body = source.answer(token)?;
    Some(LocalAnswer { status: 200, content_type: "application/octet-stream", body })
}
