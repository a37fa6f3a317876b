//! Every refusal of the admin API, as problem details (RFC 9457) with a stable `code`.
//!
//! An error says what happened, adds what to do about it, and never repeats a secret. This is the
//! one place that turns errors into responses; handlers only return them.

use axum::response::{IntoResponse, Response};
use credentialflow_model::{Location, Problem, Problems};
use credentialflow_store::StoreError;
use credentialflow_telemetry::CallLogError;
use credentialflow_vault::{VaultError, engine::EngineError};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// The body of every refusal: `application/problem+json` (RFC 9457).
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ProblemDetails {
    /// Identifies the kind of problem: `urn:credentialflow:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// A short sentence, the same for every occurrence of this code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable word to match on.
    pub code: Code,
    /// What happened this time.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Every problem found in the resources handed in; nothing was changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// Present and true when the change is stored although the answer is an error: it is still
    /// being enforced, and must not be repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<bool>,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:tt, $status:literal, $title:literal;)*) => {
        /// The closed list of codes. Public and stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, utoipa::ToSchema)]
        pub enum Code {
            $($(#[doc = $doc])+ #[serde(rename = $code)] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stable word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// The HTTP status it travels with.
            pub const fn status(self) -> StatusCode {
                let status = match self { $(Self::$variant => StatusCode::from_u16($status)),* };
                match status { Ok(status) => status, Err(_) => StatusCode::INTERNAL_SERVER_ERROR }
            }

            /// The sentence for people.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }
        }
    };
}

codes! {
    /// The request cannot be understood.
    InvalidRequest = "invalid_request", 400, "The request cannot be understood";
    /// Nobody, or nobody we know, is asking. Says nothing about why.
    Unauthenticated = "unauthenticated", 401, "A valid administrator's token or session is required";
    /// A session's request may have been made by another site.
    CrossSite = "cross_site", 403, "The request may come from another site";
    /// The report is not signed by a key that counts.
    SignatureRefused = "signature_refused", 403, "The signature does not count";
    /// The vault does not open with what was given. Says nothing about why.
    UnsealRefused = "unseal_refused", 403, "The vault was not unsealed";
    /// There is no such thing.
    NotFound = "not_found", 404, "There is no such thing";
    /// The path takes other methods.
    MethodNotAllowed = "method_not_allowed", 405, "This path does not take this method";
    /// The request took too long to arrive or to be answered.
    Timeout = "timeout", 408, "The request took too long";
    /// The name is taken.
    AlreadyExists = "already_exists", 409, "There is already one with this name";
    /// The state of the thing does not allow this.
    Conflict = "conflict", 409, "Its state does not allow this";
    /// The same `Idempotency-Key` was used for a different request.
    IdempotencyMismatch = "idempotency_mismatch", 409, "The idempotency key belongs to another request";
    /// It was changed since it was read.
    RevisionMismatch = "revision_mismatch", 412, "It was changed in the meantime";
    /// The body is larger than this path takes.
    BodyTooLarge = "body_too_large", 413, "The request's body is too large";
    /// The body is not JSON.
    UnsupportedMediaType = "unsupported_media_type", 415, "The request's body must be application/json";
    /// The resources handed in have problems; all of them are listed.
    InvalidResources = "invalid_resources", 422, "The resources have problems; nothing was changed";
    /// Too many failed sign-ins from this source.
    TooManyFailures = "too_many_failures", 429, "Too many failed attempts";
    /// More requests of this kind than are taken.
    TooManyRequests = "too_many_requests", 429, "Too many requests";
    /// A defect of Credentialflow.
    Internal = "internal", 500, "Credentialflow failed";
    /// The vault is sealed.
    Sealed = "sealed", 503, "The vault is sealed";
    /// The key service that unseals the vault is away or refuses.
    KeyServiceUnavailable = "key_service_unavailable", 503, "The key service did not do its part";
    /// It is not known under which keys others sign.
    SignerUnavailable = "signer_unavailable", 503, "A signature cannot be checked now";
    /// The database cannot be reached.
    StoreUnavailable = "store_unavailable", 503, "The database is not available";
    /// The call log cannot be read.
    CallLogUnavailable = "call_log_unavailable", 503, "The call log is not available";
    /// Stored, but not yet enforced by every worker.
    NotYetEnforced = "not_yet_enforced", 503, "The change is stored but not yet enforced everywhere";
}

/// A refusal on its way to becoming a response.
#[derive(Debug)]
pub struct ApiError {
    code: Code,
    detail: String,
    hint: Option<String>,
    problems: Vec<Problem>,
    applied: bool,
    retry_after: Option<u64>,
}

impl ApiError {
    /// With what happened, in a sentence that contains no secret.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), hint: None, problems: Vec::new(), applied: false, retry_after: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says after how many seconds another try makes sense (`Retry-After`, RFC 9110).
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The code.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// No acceptable proof of who is asking; the same words whatever was wrong.
    pub fn unauthenticated() -> Self {
        Self::new(Code::Unauthenticated, "no valid administrator's token or session came with the request")
            .hint("send Authorization: Bearer <administrator's token>, or sign in with POST /api/v1/session")
    }

    /// There is no `kind` with this `name`.
    pub fn not_found(kind: &str, name: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no {kind}/{name}"))
    }

    /// Problems in resources handed in.
    pub fn invalid(problems: Problems) -> Self {
        let count = problems.0.len();
        let detail = if count == 1 { "1 problem was found".to_owned() } else { format!("{count} problems were found") };
        Self { problems: problems.0, ..Self::new(Code::InvalidResources, detail) }
    }

    /// Stored, but enforcing it everywhere failed or took too long. `why` names no secret.
    pub fn not_yet_enforced(why: &str) -> Self {
        let mut error = Self::new(Code::NotYetEnforced, format!("the change is stored, but {why}"))
            .hint("do not repeat the change; watch GET /api/v1/status until every worker has the stored state")
            .retry_after(1);
        error.applied = true;
        error
    }

    /// A defect. The cause goes to the log, never to the caller.
    pub fn internal(context: &'static str, cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(context, %cause, "the admin API failed");
        Self::new(Code::Internal, context).hint("the server's log says more")
    }
}

impl From<Problems> for ApiError {
    fn from(problems: Problems) -> Self {
        Self::invalid(problems)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => {
                tracing::warn!(%error, "the database is not available");
                Self::new(Code::StoreUnavailable, "the database cannot be reached; traffic is served all the same")
                    .retry_after(1)
            }
            StoreError::Conflict(what) => Self::new(Code::Conflict, what).hint("read again, then decide"),
            StoreError::NotFound(what) => Self::new(Code::NotFound, format!("there is no {what}")),
            StoreError::Corrupt(_) | StoreError::NotAudited | StoreError::Other(_) => {
                Self::internal("the database could not be used", &error)
            }
        }
    }
}

impl From<VaultError> for ApiError {
    fn from(error: VaultError) -> Self {
        use VaultError as E;
        let text = error.to_string();
        match error {
            E::Store(error) => error.into(),
            E::Sealed | E::NotInitialized => {
                Self::new(Code::Sealed, text).hint("unseal it with `credentialflow unseal`")
            }
            E::Unseal => Self::new(Code::UnsealRefused, text).hint("nothing was changed; try again with the right one"),
            E::OtherSealMethod { .. } => Self::new(Code::UnsealRefused, text),
            E::Share(_) | E::TooFewShares { .. } | E::Quorum { .. } => Self::new(Code::InvalidRequest, text),
            E::KeyService(_) => Self::new(Code::KeyServiceUnavailable, text)
                .hint("nothing was changed; see that the key service answers this server, then try again")
                .retry_after(5),
            E::NoRekey => Self::new(Code::NotFound, text),
            E::RekeyRunning | E::RekeyStep | E::TooManyPeppers(_) => Self::new(Code::Conflict, text),
            E::SealsExhausted | E::NoStore => Self::new(Code::StoreUnavailable, text).retry_after(1),
            E::NotFound { .. } => Self::new(Code::NotFound, text),
            E::Exists { .. } => Self::new(Code::AlreadyExists, text),
            E::IdempotencyConflict => {
                Self::new(Code::IdempotencyMismatch, text).hint("use a new Idempotency-Key for a new request")
            }
            E::RotationUnfinished(_) => Self::new(Code::Conflict, text)
                .hint("wait until it is finished; one that waits is approved or declined"),
            E::RotationNotWaiting(_) => Self::new(Code::Conflict, text).hint("look where its rotation stands"),
            E::NoCurrentVersion(_) => Self::new(Code::Conflict, text).hint("give it a value by rotating it"),
            E::KeyHeld(_) => Self::new(Code::Conflict, text).hint("POST /api/v1/credentials/NAME/rotate"),
            E::KeyRevoked(_) => Self::new(Code::Conflict, text).hint("issue a new key"),
            E::Transition(_) => Self::new(Code::Conflict, text),
            E::Engine(EngineError::Randomness) => Self::internal("the vault failed", &text),
            E::Engine(EngineError::NotIssued(..) | EngineError::AuthorityMissing(_)) => {
                Self::new(Code::Conflict, text).hint("see what its authority permits and until when it is valid")
            }
            E::Engine(_) | E::Label(_) => Self::invalid(Problems(vec![Problem {
                file: None,
                at: Location::default(),
                path: "secret".to_owned(),
                code: "invalid_secret".to_owned(),
                detail: text,
                hint: None,
            }])),
            _ => Self::internal("the vault failed", &text),
        }
    }
}

impl From<CallLogError> for ApiError {
    fn from(error: CallLogError) -> Self {
        match error {
            CallLogError::InvalidCursor => Self::new(Code::InvalidRequest, error.to_string()),
            _ => {
                tracing::error!(?error, "the call log cannot be read");
                Self::new(Code::CallLogUnavailable, "the call log cannot be read; calls are recorded all the same")
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let body = ProblemDetails {
            kind: format!("urn:credentialflow:problem:{}", self.code.as_str()),
            title: self.code.title().to_owned(),
            status: status.as_u16(),
            code: self.code,
            detail: self.detail,
            hint: self.hint,
            problems: self.problems,
            applied: self.applied.then_some(true),
        };
        let mut response = (status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.code == Code::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"credentialflow\""));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn codes_are_unique_and_written_as_they_are_named() {
        let mut seen = std::collections::HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code:?} twice");
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert!(code.status().is_client_error() || code.status().is_server_error());
        }
    }

    #[test]
    fn a_refusal_is_problem_details() {
        let response = ApiError::unauthenticated().into_response();
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert!(response.headers().contains_key("www-authenticate"));
    }
}
