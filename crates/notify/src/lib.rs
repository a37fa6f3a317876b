//! Tells people and programs outside what happened: webhooks signed as Standard Webhooks, and e-mail.
//!
//! One call is one try; whoever calls keeps the queue and tries again. This crate knows nothing of what
//! is told, of teams, of the store or of the vault.

mod mail;
mod webhook;

pub use mail::{MailSettings, MailTls, Mailer};
pub use webhook::{Signed, Webhooks, signature};

/// Why a message did not arrive. Names no address and no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It will not arrive however often it is tried: an address that is none, a host that may not be asked.
    #[error("{0}")]
    Unusable(String),
    /// The other side answered and did not take it, or did not answer.
    #[error("{0}")]
    NotTaken(String),
}
