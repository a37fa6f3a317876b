use super::{Budgets, UpstreamCredential};
use crate::{Name, Period};
use serde::{Deserialize, Serialize};

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Unique name.
    pub name: Name,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Base URLs, `http://`, `https://`, or `sandbox://rest` and `sandbox://models` for the built-in
    /// sandbox; used in turn. A path is put before the request's own.
    pub endpoints: Vec<String>,
    /// The wire format its models speak, for upstreams that serve models: `openai` for every
    /// OpenAI-compatible server. Absent for plain APIs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Name>,
    /// How much the model calls of all applications that it serves may cost together. Only with `provider`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budgets>,
    /// How its credential is put into requests; absent means none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inject: Option<Inject>,
    /// The credentials of its models, declared once for all targets that name it and none of their own: one of them is
    /// injected, by weight, and the next one where its provider refuses one or has had enough of it. In the way of
    /// `inject`, or else as the provider wants it; the credential of `inject` is then that of routes. Only with `provider`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<UpstreamCredential>,
    /// How long to wait for what.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// When an endpoint counts as failing.
    #[serde(default)]
    pub health: Health,
    /// TLS towards `https://` endpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTls>,
    /// What to do about compressed answers, in which an echoed secret could not be seen.
    #[serde(default)]
    pub encoding: AnswerEncoding,
}

/// How an upstream's credential is put into a request: exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Inject {
    /// `Authorization: Bearer <value>` (RFC 6750) with this credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer: Option<Name>,
    /// A header of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderInject>,
    /// A query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<QueryInject>,
    /// `Authorization: Basic` (RFC 7617).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicInject>,
    /// A signature of AWS's (Signature Version 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aws_sigv4: Option<AwsSigv4Inject>,
}

impl Inject {
    /// The credential named, if exactly one way is given.
    pub fn credential(&self) -> Option<&Name> {
        let all = [
            self.bearer.as_ref(),
            self.header.as_ref().map(|h| &h.credential),
            self.query.as_ref().map(|q| &q.credential),
            self.basic.as_ref().map(|b| &b.credential),
            self.aws_sigv4.as_ref().map(|s| &s.credential),
        ];
        let mut given = all.into_iter().flatten();
        given.next().filter(|_| given.next().is_none())
    }
}

/// Injection into a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderInject {
    /// Header name, as in `x-api-key`.
    pub name: String,
    /// The credential.
    pub credential: Name,
    /// Text before the value, as in `Token `.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}

/// Injection into the query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryInject {
    /// Parameter name, as in `key`.
    pub name: String,
    /// The credential.
    pub credential: Name,
}

/// Injection as basic authentication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicInject {
    /// User name; no colon.
    pub username: String,
    /// The credential that is the password.
    pub credential: Name,
}

/// Injection as a signature of AWS's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AwsSigv4Inject {
    /// The access key: `ID:SECRET`, `ID:SECRET:SESSION_TOKEN`, or the JSON object that `aws configure
    /// export-credentials` prints. Its secret is never sent.
    pub credential: Name,
    /// The region it is for, as in `eu-central-1`.
    pub region: String,
    /// The service's name in signatures, as in `bedrock` or `s3`.
    pub service: String,
}

/// How long to wait for an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// For a connection, TLS included. 5 s unless set.
    pub connect: Period,
    /// From the request sent to the head of the answer. 60 s unless set.
    pub response: Period,
    /// Between two reads of the answer. 60 s unless set.
    pub idle: Period,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Period::from_secs(5), response: Period::from_secs(60), idle: Period::from_secs(60) }
    }
}

/// Passive health: an endpoint that fails is left alone for a while, as long as there is another to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// Failures in a row (no connection, reset, timeout, unusable answer) before an endpoint is left alone. 3 unless set.
    pub failures: u32,
    /// How long it is left alone. 10 s unless set.
    pub cooldown: Period,
}

impl Default for Health {
    fn default() -> Self {
        Self { failures: 3, cooldown: Period::from_secs(10) }
    }
}

/// TLS towards an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamTls {
    /// PEM file with the roots to trust instead of Mozilla's, on every node that serves traffic. Read anew at every
    /// change; while it cannot be read, what it held before is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// The certificate authority to trust instead of Mozilla's roots: a credential of the engine
    /// `certificate_authority`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<Name>,
    /// The certificate to show to endpoints that ask for one: a credential of the engine `certificate`,
    /// or a static one with certificate and private key as PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<Name>,
    /// Name to ask for and to verify instead of the endpoint's host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// What to do about compressed answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerEncoding {
    /// Ask for uncompressed answers and refuse others, so that an echoed secret is always seen.
    #[default]
    Identity,
    /// Let the caller negotiate; secrets that echo inside a compressed answer are not seen.
    Passthrough,
}
