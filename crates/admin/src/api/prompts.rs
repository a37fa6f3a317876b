//! Prompts: what is said to models, in versions. Beside what every resource has: their tests are run, and labels moved.

use crate::{prompts, secret::SecretText};
use credentialflow_model::{Name, Timestamp};
use serde::{Deserialize, Serialize};

mod resource {
    plain_resource!(
        Prompt,
        "prompts",
        "prompt",
        "/api/v1/prompts",
        "/api/v1/prompts/{name}",
        list_prompts,
        create_prompt,
        get_prompt,
        replace_prompt,
        delete_prompt
    );
}

use crate::{
    AdminState,
    api::{
        answer::{Item, Page, Tagged},
        request::{Body, Query, limited},
    },
    auth::Administrator,
    error::ApiError,
};
use axum::{
    Json,
    extract::{Path, State},
};
use credentialflow_model::resource::Prompt;
use http::{HeaderMap, StatusCode};
use utoipa_axum::{router::OpenApiRouter, routes};

/// How the tests of a version are run.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestPrompt {
    /// A key of an application that may use the prompt's model: the calls are made with it, and are its calls in every
    /// respect. It is not kept.
    #[schema(write_only, value_type = String)]
    pub key: SecretText,
}

/// A run of the tests of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PromptRun {
    /// The prompt.
    pub prompt: String,
    /// Its version.
    pub version: u32,
    /// The number of the run among those of the version.
    pub run: u64,
    /// Whether every test was passed.
    pub passed: bool,
    /// Whether it is of the tests, texts, variables and model that are stored now. The newest such run decides whether
    /// labels may move to the version.
    pub present: bool,
    /// When it ended.
    pub time: Timestamp,
    /// Who had it run.
    pub actor: String,
    /// How each test went.
    pub tests: Vec<PromptTestResult>,
}

/// How a test went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PromptTestResult {
    /// The test.
    pub name: String,
    /// Whether every check was passed.
    pub passed: bool,
    /// The checks that were not, or why there was no answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
    /// Each check and its verdict, in their order; without them where there was no answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub checks: Vec<PromptCheckResult>,
    /// The model's answer, its first 2000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// How long the call took, in milliseconds.
    pub millis: u64,
}

/// What a check expected of an answer, and whether that was so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PromptCheckResult {
    /// What was expected.
    #[schema(examples("contains \"positive\""))]
    pub expected: String,
    /// Whether it was so.
    pub passed: bool,
}

/// Which runs are listed.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RunsQuery {
    /// Only those of this version.
    pub version: Option<u32>,
    /// Most items, 1 to 1000. 100 unless set.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// Which version a label is to stand for.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PromotePrompt {
    /// The version.
    pub version: u32,
    /// The label. `production` unless set.
    #[serde(default)]
    pub label: Option<Name>,
    /// Why, for those who read the audit log; one line of at most 500 bytes.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Run the tests of a version
///
/// Each is a real call through this node's gateway. Whoever asks waits for the end, at most 100 seconds.
#[utoipa::path(post, path = "/api/v1/prompts/{name}/versions/{version}/test", tag = "prompts", request_body = TestPrompt,
    params(("name" = String, Path, description = "Its name"), ("version" = u32, Path, description = "The version")),
    responses((status = 200, description = "How they went; the run is kept", body = PromptRun)))]
async fn test_prompt(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    Path((name, version)): Path<(String, u32)>,
    Body(body): Body<TestPrompt>,
) -> Result<Json<PromptRun>, ApiError> {
    prompts::test(&state, &actor, &name, version, body.key.0).await.map(Json)
}

/// List runs of the tests of a prompt
#[utoipa::path(get, path = "/api/v1/prompts/{name}/runs", tag = "prompts",
    params(("name" = String, Path, description = "Its name"), RunsQuery),
    responses((status = 200, description = "The newest first; of each version the last 20 are kept", body = Page<PromptRun>)))]
async fn list_prompt_runs(
    State(state): State<AdminState>,
    _: Administrator,
    Path(name): Path<String>,
    Query(query): Query<RunsQuery>,
) -> Result<Json<Page<PromptRun>>, ApiError> {
    let limit = limited(query.limit)?;
    let items = prompts::runs(&state, &name, query.version, limit).await?;
    Ok(Json(Page { items, next: None }))
}

/// Let a label stand for a version
///
/// To a version that has not passed the present tests it does not move. Back to an earlier version is the same call.
#[utoipa::path(post, path = "/api/v1/prompts/{name}/promote", tag = "prompts", request_body = PromotePrompt,
    params(("name" = String, Path, description = "Its name"),
        ("If-Match" = Option<String>, Header, description = "Refuse if it is not at this revision any more")),
    responses((status = 200, description = "Stored and enforced by every worker", body = Item<Prompt>,
        headers(("ETag" = String, description = "The revision, in quotes")))))]
async fn promote_prompt(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    Path(name): Path<String>,
    headers: HeaderMap,
    Body(body): Body<PromotePrompt>,
) -> Result<Tagged<Item<Prompt>>, ApiError> {
    let label = match body.label {
        Some(label) => label,
        None => Prompt::LABEL.parse().map_err(|error| ApiError::internal("the usual label is no name", &error))?,
    };
    let item = prompts::promote(&state, &actor, (&name, &headers), (label, body.version), body.reason).await?;
    Ok(Tagged(StatusCode::OK, item.revision, item))
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    resource::endpoints().routes(routes!(test_prompt)).routes(routes!(list_prompt_runs)).routes(routes!(promote_prompt))
}
