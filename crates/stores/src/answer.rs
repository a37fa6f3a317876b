//! An answer over HTTP, and what it means when it is none of success.

use crate::{ExternalError, Wiped, error::told};
use credentialflow_model::SecretValue;
use http::StatusCode;
use std::time::Duration;
use zeroize::Zeroizing;

/// Status and body. The body is wiped when dropped.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Wiped {
        Wiped::parse(&self.body).unwrap_or_default()
    }

    /// The body as JSON, of an answer that must have it.
    pub fn success(&self) -> Result<Wiped, ExternalError> {
        Wiped::parse(&self.body).ok_or_else(|| ExternalError::Refused("its answer is no JSON".to_owned()))
    }

    /// What an answer that is no success means, with the store's own words unless they repeat a secret.
    pub fn failure(&self, words: &str, secrets: &[&SecretValue]) -> ExternalError {
        let words = told(words, secrets);
        let words = match words.as_str() {
            "" => format!("it answered {}", self.status.as_u16()),
            words => format!("it answered {}: {words}", self.status.as_u16()),
        };
        match self.status {
            StatusCode::NOT_FOUND => ExternalError::NotFound,
            StatusCode::CONFLICT => ExternalError::Conflict(words),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                ExternalError::Busy { words, again: self.retry_after }
            }
            status if status.is_server_error() => ExternalError::Busy { words, again: self.retry_after },
            _ => ExternalError::Refused(words),
        }
    }
}

/// `Retry-After` in seconds (RFC 9110, 10.2.3), at most an hour. Dates are not read.
pub(crate) fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(3600)))
}
