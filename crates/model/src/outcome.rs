//! How a request ended: one reason from a closed, public list.

use serde::{Deserialize, Serialize};

/// Whose fault an outcome is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Nobody's: the request was served.
    None,
    /// The party that called.
    Caller,
    /// Credentialflow or its configuration.
    Gateway,
    /// The upstream.
    Upstream,
}

macro_rules! outcomes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $code:tt, $status:literal, $fault:ident, retry $retry:literal, $title:literal;)*) => {
        /// The closed list of outcomes. The `code` is public and stable: clients and dashboards match on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
        #[repr(u8)]
        pub enum OutcomeReason {
            $($(#[doc = $doc])+ #[serde(rename = $code)] $variant = $number,)*
        }

        impl OutcomeReason {
            /// Every reason, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stable word used in problem details, logs and metrics.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// The HTTP status a refusal for this reason carries. For [`Self::Served`] the upstream's own counts.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status),* }
            }

            /// Whose fault it is.
            pub const fn fault(self) -> Fault {
                match self { $(Self::$variant => Fault::$fault),* }
            }

            /// Whether the request got past us: it was served, or the upstream is why not. Of others the caller may
            /// not even be who they claimed to be.
            pub const fn let_through(self) -> bool {
                matches!(self.fault(), Fault::None | Fault::Upstream)
            }

            /// Whether the same request may succeed later, unchanged.
            pub const fn retry_helps(self) -> bool {
                match self { $(Self::$variant => $retry),* }
            }

            /// A short sentence for people; the same for every occurrence (RFC 9457 `title`).
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }

            /// The reason with this number, as stored in the call log.
            pub const fn from_number(n: u8) -> Option<Self> {
                match n { $($number => Some(Self::$variant),)* _ => None }
            }

            /// The reason with this code.
            pub fn from_code(code: &str) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

outcomes! {
    /// The upstream's whole answer reached the caller, whatever its status.
    Served = 0, "served", 200, None, retry false, "The request was served";
    /// The request breaks the grammar of HTTP or could be read in two ways.
    MalformedRequest = 1, "malformed_request", 400, Caller, retry false, "The request is not well-formed HTTP";
    /// The request target is longer than allowed.
    UriTooLong = 2, "uri_too_long", 414, Caller, retry false, "The request target is too long";
    /// The header section is larger than allowed.
    HeadersTooLarge = 3, "headers_too_large", 431, Caller, retry false, "The request's headers are too large";
    /// The body is larger than the route allows.
    BodyTooLarge = 4, "body_too_large", 413, Caller, retry false, "The request's body is too large";
    /// The caller sent its head or body too slowly.
    RequestTimeout = 5, "request_timeout", 408, Caller, retry true, "The request did not arrive in time";
    /// No route matches.
    NoRoute = 6, "no_route", 404, Caller, retry false, "There is no such route";
    /// A route matches the path, but not with this method.
    MethodNotAllowed = 7, "method_not_allowed", 405, Caller, retry false, "The route does not take this method";
    /// No acceptable credential was presented; says nothing about why.
    Unauthenticated = 8, "unauthenticated", 401, Caller, retry false, "A valid credential is required";
    /// The caller may not use this route or model.
    Forbidden = 9, "forbidden", 403, Caller, retry false, "The credential does not allow this";
    /// The key may not be used from this source address.
    SourceNotAllowed = 10, "source_not_allowed", 403, Caller, retry false, "The credential is not allowed from this source";
    /// A rate limit is exhausted.
    RateLimited = 11, "rate_limited", 429, Caller, retry true, "Too many requests";
    /// Too many failed authentications from this source or for this key id.
    TooManyFailures = 12, "too_many_failures", 429, Caller, retry true, "Too many failed attempts";
    /// The body of a model call cannot be understood.
    InvalidModelCall = 13, "invalid_model_call", 400, Caller, retry false, "The model call is not valid";
    /// No such model is offered to this caller.
    ModelNotFound = 14, "model_not_found", 404, Caller, retry false, "There is no such model";
    /// The caller went away before the answer was complete.
    CallerClosed = 15, "caller_closed", 499, Caller, retry false, "The caller closed the connection";
    /// The key was revoked while its request was running.
    Revoked = 16, "revoked", 401, Caller, retry false, "The credential was revoked";
    /// The upstream credential cannot be opened: sealed, revoked, expired or missing.
    CredentialUnavailable = 17, "credential_unavailable", 503, Gateway, retry true, "The upstream credential is not available";
    /// The upstream, or the route to it, cannot be used as it is configured: a file it needs is missing, say. The status
    /// tells why. Endpoints that are only failing are asked all the same where no other is left.
    NoHealthyEndpoint = 18, "no_healthy_endpoint", 503, Gateway, retry true, "No endpoint of the upstream can be used";
    /// No connection to the upstream could be made.
    UpstreamConnectFailed = 19, "upstream_connect_failed", 502, Upstream, retry true, "The upstream refused the connection";
    /// Connecting to the upstream took too long.
    UpstreamConnectTimeout = 20, "upstream_connect_timeout", 504, Upstream, retry true, "Connecting to the upstream took too long";
    /// The TLS handshake with the upstream failed.
    UpstreamTlsFailed = 21, "upstream_tls_failed", 502, Upstream, retry true, "The upstream's TLS handshake failed";
    /// The upstream accepted the request but did not answer in time.
    UpstreamTimeout = 22, "upstream_timeout", 504, Upstream, retry true, "The upstream did not answer in time";
    /// The upstream closed or reset the connection before its answer was complete.
    UpstreamReset = 23, "upstream_reset", 502, Upstream, retry true, "The upstream closed the connection";
    /// The upstream's answer breaks the grammar of HTTP or is encoded in a way the gateway cannot inspect.
    UpstreamMalformed = 24, "upstream_malformed", 502, Upstream, retry true, "The upstream's answer is not usable";
    /// The upstream began its answer but stopped sending.
    UpstreamStalled = 25, "upstream_stalled", 504, Upstream, retry true, "The upstream stopped sending";
    /// The upstream ended its answer before the length it had announced.
    UpstreamTruncated = 26, "upstream_truncated", 502, Upstream, retry true, "The upstream's answer is incomplete";
    /// The gateway is at a limit of its own (connections, memory) or shutting down.
    Overloaded = 27, "overloaded", 503, Gateway, retry true, "The gateway cannot take this request now";
    /// A defect of the gateway.
    Internal = 28, "internal", 500, Gateway, retry true, "The gateway failed";
    /// The key leaked, and is held to the addresses from which it had been used before.
    Quarantined = 29, "quarantined", 403, Caller, retry false, "The credential is in quarantine";
    /// A live secret of ours stands in the request: a key we issued, or the value of a credential we hold.
    SecretInRequest = 30, "secret_in_request", 400, Caller, retry false, "A secret stands in the request";
    /// A hard budget cannot pay for the call.
    BudgetExceeded = 31, "budget_exceeded", 429, Caller, retry true, "The budget is used up";
    /// Nobody can tell now whether a hard budget can pay for the call: what this node had been given of it is used up,
    /// and the database is away.
    BudgetUnavailable = 32, "budget_unavailable", 503, Gateway, retry true, "The budget cannot be asked now";
    /// A hard budget is to pay for the call, and the price of the model is not known.
    PriceUnknown = 33, "price_unknown", 503, Gateway, retry false, "The price of the model is not known";
    /// A guardrail of the model does not let the prompt through.
    PromptBlocked = 34, "prompt_blocked", 400, Caller, retry false, "A guardrail does not let the prompt through";
    /// A guardrail of the model does not let the answer through.
    AnswerBlocked = 35, "answer_blocked", 400, Upstream, retry false, "A guardrail does not let the answer through";
    /// What was posted to an MCP server is no message that could be read in one way alone.
    InvalidMcpMessage = 36, "invalid_mcp_message", 400, Caller, retry false, "The MCP message is not valid";
    /// The caller may not use this tool, prompt, resource or method of an MCP server. A request is answered with an error
    /// of JSON-RPC and status 200, as if the server had no such thing.
    McpNotAllowed = 37, "mcp_not_allowed", 403, Caller, retry false, "There is no such thing here";
    /// The session of an MCP server is not the caller's, or not known.
    McpSessionUnknown = 38, "mcp_session_unknown", 404, Caller, retry false, "There is no such session";
    /// No such file or batch is this caller's.
    ObjectNotFound = 39, "object_not_found", 404, Caller, retry false, "There is no such file or batch";
    /// The provider of a model refused the credential that the gateway put into the call (401, 402, or 400 in words that
    /// say so), and no other is left.
    UpstreamCredentialRefused = 40, "upstream_credential_refused", 502, Upstream, retry false, "The provider refused the gateway's credential";
    /// A call names a file by an id that is none of this caller's, or is not where the call may go.
    FileUnknown = 41, "file_unknown", 400, Caller, retry false, "The call names a file that is not known";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_codes_are_unique_and_round_trip() {
        for reason in OutcomeReason::ALL {
            assert_eq!(OutcomeReason::from_number(*reason as u8), Some(*reason));
            assert_eq!(OutcomeReason::from_code(reason.code()), Some(*reason));
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.code());
        }
        assert_eq!(OutcomeReason::from_number(OutcomeReason::ALL.len() as u8), None);
    }
}
