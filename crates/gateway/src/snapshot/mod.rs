//! The running form of the configuration: compiled once, never edited, only replaced.

mod accounts;
pub(crate) mod cache;
mod compile;
mod endpoint;
mod guardrails;
pub(crate) mod mcp;
pub mod models;
pub(crate) mod prompts;
mod topics;
mod trust;
mod upstreams;

#[cfg(test)]
mod tests;

pub(crate) use compile::MAX_UPLOAD;
pub use compile::Sources;
pub use endpoint::EndpointPlan;
pub use trust::Trust;

use crate::{
    ports::{CredentialSlot, CredentialSource},
    route::{Found, Lookup, Router},
};
use credentialflow_llm::{provider::Dialect, realtime::gemini::Version, task::Task};
use credentialflow_model::{
    Timestamp,
    objects::ObjectKind,
    resource::{AnswerEncoding, Health, Kind, SecretsInAnswers, SecretsInRequests},
};
use credentialflow_policy::{
    ApiKey, ApplicationRules, AuthFailure, CompiledHeaders, Finder, KeyTable, Policy, Principal, RoutePolicies,
    ValueMarks,
};
use models::ModelPlans;
use prompts::Prompts;
use std::{sync::Arc, time::Duration};

/// Everything a request needs to be served, as one immutable value.
pub struct Snapshot {
    /// Grows with every snapshot of a process.
    pub epoch: u64,
    pub(crate) router: Router,
    pub(crate) routes: Vec<RoutePlan>,
    pub(crate) upstreams: Vec<UpstreamPlan>,
    pub(crate) endpoints: Vec<EndpointPlan>,
    pub(crate) models: ModelPlans,
    pub(crate) prompts: Prompts,
    /// The routes on which guardrails ask others.
    pub(crate) asks: guardrails::Asks,
    pub(crate) applications: ApplicationRules,
    /// What cannot be used as it is configured, wholly or in part.
    pub impaired: Vec<Impaired>,
    /// The keys we issued.
    pub keys: KeyTable,
    pub(crate) credentials: Arc<dyn CredentialSource>,
    /// What tells values of credentials in what callers send.
    pub(crate) values: Arc<ValueMarks>,
    pub(crate) api_key: ApiKey,
}

/// A resource that passed its check and still cannot be used as it is configured: something outside of it is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impaired {
    /// Kind of the resource.
    pub kind: Kind,
    /// Its name.
    pub name: Arc<str>,
    /// What is wrong. May name a file, never what it holds.
    pub reason: String,
    /// Whether requests that need it are served all the same: by other endpoints, or by what a file held before.
    pub serves: bool,
}

/// What a route does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RouteKind {
    /// Forward it to an upstream.
    Proxy { upstream: u32 },
    /// A prompt that is published as an endpoint of its own: its place in [`Prompts`]
    Prompt { published: u32 },
    /// `POST /v1/chat/completions`
    Chat,
    /// `POST /v1/responses`
    Responses,
    /// `POST /v1/responses/input_tokens`
    InputTokens,
    /// Everything below `/v1/responses/{id}`: answers that are kept for later
    KeptResponse,
    /// `POST /v1/messages`
    Messages,
    /// `POST /v1/messages/count_tokens`
    CountTokens,
    /// `POST /v1/embeddings` and what else can be asked of models beside a conversation
    Task(Task),
    /// `GET /v1/realtime`: a session over a WebSocket
    Realtime,
    /// A session over a WebSocket with Gemini's Live API, at [`Version::path`]
    Live(Version),
    /// `GET /v1/models` and `GET /v1/models/{id}`
    ModelList,
    /// `POST /v1beta/models/{model}:generateContent`, `:streamGenerateContent` and `:countTokens`, and below `/v1`
    Gemini,
    /// `GET /v1beta/models` and `GET /v1beta/models/{id}`
    GeminiModelList,
    /// Files and batches
    Batch(BatchRoute),
}

/// A call about files and batches, below `/v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchRoute {
    /// `POST /files`
    Upload,
    /// `GET /files`
    Files,
    /// `GET /files/{id}`
    File,
    /// `GET /files/{id}/content`
    FileContent,
    /// `DELETE /files/{id}`
    FileDelete,
    /// `POST /batches`
    Create,
    /// `GET /batches`
    Batches,
    /// `GET /batches/{id}`
    Batch,
    /// `POST /batches/{id}/cancel`
    Cancel,
    /// `POST /messages/batches`
    MessageCreate,
    /// `GET /messages/batches`
    MessageBatches,
    /// `GET /messages/batches/{id}`
    MessageBatch,
    /// `POST /messages/batches/{id}/cancel`
    MessageCancel,
    /// `GET /messages/batches/{id}/results`
    MessageResults,
    /// `DELETE /messages/batches/{id}`
    MessageDelete,
    /// `POST /upload/v1beta/files`, and below `v1`
    GeminiUpload,
    /// `POST /upload/v1beta/files/pieces`, without a key
    GeminiPiece,
    /// `GET /v1beta/files`
    GeminiFiles,
    /// `GET /v1beta/files/{id}`
    GeminiFile,
    /// `DELETE /v1beta/files/{id}`
    GeminiFileDelete,
    /// `POST /v1beta/models/{model}:batchGenerateContent`
    GeminiCreate,
    /// `GET /v1beta/batches`
    GeminiBatches,
    /// `GET /v1beta/batches/{id}`
    GeminiBatch,
    /// `POST /v1beta/batches/{id}:cancel`
    GeminiCancel,
    /// `DELETE /v1beta/batches/{id}`
    GeminiDelete,
}

impl BatchRoute {
    /// What it is about.
    pub(crate) const fn kind(self) -> ObjectKind {
        match self {
            Self::Upload | Self::Files | Self::File | Self::FileContent | Self::FileDelete => ObjectKind::File,
            Self::Create | Self::Batches | Self::Batch | Self::Cancel => ObjectKind::Batch,
            Self::MessageCreate
            | Self::MessageBatches
            | Self::MessageBatch
            | Self::MessageCancel
            | Self::MessageResults
            | Self::MessageDelete => ObjectKind::MessageBatch,
            Self::GeminiUpload | Self::GeminiPiece | Self::GeminiFiles | Self::GeminiFile | Self::GeminiFileDelete => {
                ObjectKind::GeminiFile
            }
            Self::GeminiCreate | Self::GeminiBatches | Self::GeminiBatch | Self::GeminiCancel | Self::GeminiDelete => {
                ObjectKind::GeminiBatch
            }
        }
    }

    /// Whether it is in Anthropic's form.
    pub(crate) const fn is_of_messages(self) -> bool {
        matches!(self.kind(), ObjectKind::MessageBatch)
    }

    /// Whether it is in Google's form.
    pub(crate) const fn is_of_gemini(self) -> bool {
        matches!(self.kind(), ObjectKind::GeminiFile | ObjectKind::GeminiBatch)
    }

    /// Whether it goes where Google takes uploads, which is not below the version of the API.
    pub(crate) const fn is_beside_the_version(self) -> bool {
        matches!(self, Self::GeminiUpload | Self::GeminiPiece)
    }
}

impl RouteKind {
    /// Whether it is a session over a WebSocket.
    pub(crate) const fn is_session(self) -> bool {
        matches!(self, Self::Realtime | Self::Live(_))
    }

    /// The dialect of the model API that callers speak there; errors take its shape.
    pub(crate) const fn dialect(self) -> Option<Dialect> {
        match self {
            Self::Proxy { .. } | Self::Prompt { .. } => None,
            Self::Chat | Self::Task(_) | Self::Realtime | Self::ModelList => Some(Dialect::OpenAi),
            Self::Responses | Self::InputTokens | Self::KeptResponse => Some(Dialect::Responses),
            Self::Messages | Self::CountTokens => Some(Dialect::Anthropic),
            Self::Gemini | Self::GeminiModelList | Self::Live(_) => Some(Dialect::Gemini),
            Self::Batch(route) if route.is_of_messages() => Some(Dialect::Anthropic),
            Self::Batch(route) if route.is_of_gemini() => Some(Dialect::Gemini),
            Self::Batch(_) => Some(Dialect::OpenAi),
        }
    }
}

/// A route, compiled.
pub(crate) struct RoutePlan {
    pub name: Arc<str>,
    pub kind: RouteKind,
    pub api_key: bool,
    pub anonymous: bool,
    pub key_in_query: Option<Box<str>>,
    pub policies: PolicyList,
    pub headers: Option<Box<CompiledRouteHeaders>>,
    pub strip_prefix: usize,
    pub max_body: u64,
    pub websocket: bool,
    /// Where it leads to a server of the Model Context Protocol.
    pub mcp: Option<Box<mcp::McpPlan>>,
    pub secrets: SecretsInRequests,
    pub secrets_back: SecretsInAnswers,
    pub attempts: u8,
}

/// The policies of a route of the configuration, or of a built-in one.
pub(crate) enum PolicyList {
    Route(RoutePolicies),
    BuiltIn(Box<[Box<dyn Policy>]>),
}

/// Header rules in both directions.
pub(crate) struct CompiledRouteHeaders {
    pub request: CompiledHeaders,
    pub response: CompiledHeaders,
}

/// An upstream, compiled.
pub(crate) struct UpstreamPlan {
    pub name: Arc<str>,
    /// Its endpoints: a range of [`Snapshot::endpoints`]. Without any, its requests are refused.
    pub endpoints: std::ops::Range<u32>,
    pub inject: Option<InjectPlan>,
    pub connect: Duration,
    pub response: Duration,
    pub idle: Duration,
    pub health: Health,
    pub encoding: AnswerEncoding,
    /// What is shown to endpoints that ask for a certificate.
    pub client_certificate: Option<CredentialSlot>,
}

/// How a credential is put into a request.
pub(crate) struct InjectPlan {
    pub credential: CredentialSlot,
    pub way: InjectWay,
}

/// The ways of injection.
pub(crate) enum InjectWay {
    Bearer,
    Header { name: Box<str>, prefix: Box<str> },
    Query { name: Box<str> },
    Basic { username: Box<str> },
    AwsSigv4 { region: Box<str>, service: Box<str> },
}

impl Snapshot {
    /// Whether two upstreams are one, or lead to one place: an endpoint at the same address and base.
    pub(crate) fn is_same_place(&self, one: u32, other: u32) -> bool {
        let of = |upstream: u32| {
            let range = &self.upstreams[upstream as usize].endpoints;
            self.endpoints[range.start as usize..range.end as usize].iter()
        };
        let at = |a: &EndpointPlan, b: &EndpointPlan| a.port == b.port && a.host == b.host && a.base == b.base;
        one == other || of(one).any(|a| of(other).any(|b| at(a, b)))
    }

    /// The route of a request.
    pub(crate) fn find(&self, lookup: &Lookup<'_>) -> Found {
        self.router.find(lookup)
    }

    /// How many routes there are, built-in ones included.
    pub fn route_count(&self) -> usize {
        self.routes.len()
    }

    /// Finds live secrets of ours, as they are in force with this snapshot.
    pub fn finder(&self, now: Timestamp) -> Finder<'_> {
        Finder { api_key: &self.api_key, keys: &self.keys, values: &self.values, now }
    }

    /// Whose key this is, as requests are authenticated.
    pub fn authenticate(&self, presented: &[u8], now: Timestamp) -> Result<Principal, AuthFailure> {
        self.api_key.authenticate(presented, &self.keys, now)
    }

    /// How many keys there are.
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }
}
