//! What has to outlive a crash, and where it is kept: named here, done by whoever has a database.

use credentialflow_model::SecretValue;
use serde::{Deserialize, Serialize};
use std::future::Future;

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The account with its private key.
    Account,
    /// The order that is under way, with the private key of the certificate to come.
    Order,
}

/// What a challenge is to be answered with (RFC 8555, 8.3). Public once it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The last segment of the path that is asked for.
    pub token: String,
    /// The body of the answer.
    pub text: String,
}

/// Something could not be read or kept. Says nothing secret.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotKept(pub String);

/// Keeps what has to outlive a crash. The values are secrets: whoever keeps them seals them.
pub trait Ledger: Sync {
    /// What is kept, if anything.
    fn read(&self, what: Kept) -> impl Future<Output = Result<Option<SecretValue>, NotKept>> + Send;

    /// Keeps a value in the place of the one before. Done when a crash no longer loses it.
    fn keep(&self, what: Kept, value: SecretValue) -> impl Future<Output = Result<(), NotKept>> + Send;

    /// Forgets a value, and with an order its answers.
    fn forget(&self, what: Kept) -> impl Future<Output = Result<(), NotKept>> + Send;

    /// Gives these answers from here on, and no others. Done when every node gives them.
    fn publish(&self, answers: Vec<Answer>) -> impl Future<Output = Result<(), NotKept>> + Send;
}
