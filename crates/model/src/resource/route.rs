use super::Mcp;
use super::RoutePrompt;
use crate::{ByteSize, Name, Period};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What callers see: which requests it takes, who may make them, and where they go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Unique name.
    pub name: Name,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Which requests it takes.
    #[serde(rename = "match")]
    pub matches: Match,
    /// Where they go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Name>,
    /// The prompt that is published there, in place of an upstream: POST takes its variables and gives what its model
    /// answers, GET of `openapi.json` below gives the description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<RoutePrompt>,
    /// How callers identify themselves, tried in order; never empty. `[none]` must be written out.
    pub authenticate: Vec<Authenticator>,
    /// A query parameter in which a key is accepted too; it is removed before forwarding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_in_query: Option<String>,
    /// Rate limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// Headers to set and remove on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<RouteHeaders>,
    /// Cut this prefix off the path before forwarding; it must begin the route's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strip_prefix: Option<String>,
    /// Largest request body. 10 MiB unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body: Option<ByteSize>,
    /// Whether WebSocket upgrades are passed through.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub websocket: bool,
    /// Leads to a server of the Model Context Protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp: Option<Mcp>,
    /// What happens to requests in which a live secret of ours stands: a key we issued or the value of a credential, in
    /// path, query, headers or body. `refuse` unless set. The caller's own key is none where it identifies the caller.
    #[serde(default, skip_serializing_if = "SecretsInRequests::is_default")]
    pub secrets_in_requests: SecretsInRequests,
    /// What happens to answers in which a live secret of ours stands: a key we issued or the value of a credential, in
    /// header or body. `report` unless set. The caller's own key is none there, and the credential that was injected is
    /// blanked whatever this says.
    #[serde(default, skip_serializing_if = "SecretsInAnswers::is_default")]
    pub secrets_in_answers: SecretsInAnswers,
    /// Another try at another endpoint.
    #[serde(default)]
    pub retry: Retry,
}

impl Route {
    /// Where its requests may go: its upstream, or those of several servers behind it.
    pub fn upstreams(&self) -> impl Iterator<Item = &Name> {
        let servers = self.mcp.iter().flat_map(|mcp| &mcp.servers);
        self.upstream.iter().chain(servers.map(|server| &server.upstream))
    }
}

/// Which requests a route takes. All conditions must hold.
///
/// Precedence when several routes match: exact host before wildcard host before any host; then, for
/// the path from left to right, literal segment before `{parameter}` before `*`; then more header
/// conditions before fewer; then methods named before any method; then the name in alphabetical order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Host names without port, as in `api.example.com` or `*.example.com`; empty means any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// `/orders` (exact), `/orders/{id}` (parameter), `/orders/*` (everything below, and `/orders` itself).
    pub path: String,
    /// Methods; empty means any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Headers that must have exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// A way for callers to identify themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Authenticator {
    /// A key we issued.
    ApiKey,
    /// Nobody is asked; open to anyone.
    None,
}

/// What happens to requests in which a live secret of ours stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretsInRequests {
    /// They are refused (`secret_in_request`), and the leak is answered by its rule.
    #[default]
    Refuse,
    /// They are served, and the leak is answered by its rule.
    Report,
    /// Nothing is looked for.
    Ignore,
}

impl SecretsInRequests {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What happens to answers in which a live secret of ours stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretsInAnswers {
    /// It is blanked: asterisks stand in its place, and the leak is recorded.
    Blank,
    /// They pass as they are, and the leak is recorded.
    #[default]
    Report,
    /// Nothing is looked for, and nothing recorded.
    Ignore,
}

impl SecretsInAnswers {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How much at most: requests and tokens in some time (GCRA: an even rate with a burst of as many at once), and requests at
/// once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// How many requests in `per`, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u32>,
    /// How many tokens of models in `per`, input and output, at least 1. Not on routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u32>,
    /// In how long, 1 second to 30 days; with `requests` and `tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<Period>,
    /// How many requests at once, at least 1; those that are open, sessions and streams among them. Not on routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<u32>,
    /// What is counted together. On routes: `route` unless set. On keys and applications it is fixed and not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Scope>,
}

impl Limit {
    /// How many requests in how long, where they are limited.
    pub fn requests(&self) -> Option<(u32, Period)> {
        self.requests.zip(self.per)
    }

    /// How many tokens in how long, where they are limited.
    pub fn tokens(&self) -> Option<(u32, Period)> {
        self.tokens.zip(self.per)
    }
}

/// What a route's rate limit counts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All requests of the route.
    Route,
    /// Each key on its own.
    Key,
    /// Each application on its own.
    Application,
    /// Each source address on its own (IPv6: each /64).
    Source,
}

/// Header rules of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouteHeaders {
    /// Towards the upstream.
    pub request: HeaderRules,
    /// Towards the caller.
    pub response: HeaderRules,
}

/// What happens to headers in one direction: first `remove`, then `set`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderRules {
    /// Replaced or added. Towards the upstream, `${key.metadata.NAME}` as the whole value stands for that entry of the
    /// metadata of the key in use, `${key.actor}` for who uses it, and `${key.subject}` for whom; where there is none, or a
    /// header cannot carry it, the header is left out.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// Removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

impl HeaderRules {
    /// The fact about the key that a value stands for: its entry `cost-center` of `${key.metadata.cost-center}`.
    pub fn key_fact(value: &str) -> Option<KeyFact<'_>> {
        match value.strip_prefix("${key.")?.strip_suffix('}')? {
            "actor" => Some(KeyFact::Actor),
            "subject" => Some(KeyFact::Subject),
            other => {
                other.strip_prefix("metadata.").filter(|name| super::is_metadata_name(name)).map(KeyFact::Metadata)
            }
        }
    }
}

/// Something about the key in use that a header can tell an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFact<'a> {
    /// An entry of its metadata.
    Metadata(&'a str),
    /// Who uses it.
    Actor,
    /// Whom its calls are for.
    Subject,
}

/// Retries. Only failures before the upstream can have acted are retried for every method; other
/// failures only for methods that are safe to repeat (RFC 9110, 9.2.2) with no body sent yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Tries in all, 1 to 5. 2 unless set.
    pub attempts: u8,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 2 }
    }
}
