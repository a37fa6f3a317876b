//! What every policy is: a rule that lets a request pass or refuses it.

use crate::{LimitReport, Principal, Refusal, RequestFacts};

/// A rule a request must pass. One file each; all of them are named in [`crate::registry`].
pub trait Policy: Send + Sync {
    /// The rule's stable name, for logs and tests.
    fn kind(&self) -> &'static str;

    /// Lets the request pass or refuses it. Limits that were counted are noted in `limits`,
    /// whether or not the request passes.
    fn check(&self, request: &RequestFacts<'_>, principal: &Principal, limits: &mut LimitReport)
    -> Result<(), Refusal>;

    /// Whether a limit would let such a request pass at this moment, wherever it comes from; counts nothing. What is no limit
    /// says nothing, but for a secret that may be used from nowhere.
    ///
    /// # Errors
    /// As [`Self::check`].
    fn has_room(&self, _request: &RequestFacts<'_>, _principal: &Principal) -> Result<(), Refusal> {
        Ok(())
    }
}
