//! What model calls cost: added up by who called what and when, and compared with the call log.

use crate::{
    AdminState,
    api::request::{Query, wants},
    auth::Administrator,
    csv::CSV,
    error::ApiError,
    spend::{self, Dimension},
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use credentialflow_model::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Which calls, and what they are told apart by. All conditions must hold.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SpendQuery {
    /// What calls are told apart by, with commas between: at most one of `hour`, `day`, `week` and `month`, and any of
    /// `team`, `application`, `key`, `root_key` (the first of the chain of keys that it comes from), `agent` (who uses the
    /// key), `user`, `model`, `provider`, `provider_model`, `credential`, `route`, `prompt`, `prompt_version`, `outcome` and
    /// `node`. All together unless set.
    #[param(example = "month,application,model")]
    pub by: Option<String>,
    /// Calls that began at this moment or later: a time on a quarter of an hour, or a date, which means its midnight.
    /// The first of this month unless set.
    #[param(example = "2026-11-01")]
    pub from: Option<String>,
    /// Calls that began before this moment, written in the same way. Now unless set.
    #[param(example = "2026-12-01")]
    pub to: Option<String>,
    /// The time zone of dates, days, weeks and months, by its IANA name. UTC unless set.
    #[param(example = "Europe/Berlin")]
    pub time_zone: Option<String>,
    /// Only of this team's applications.
    pub team: Option<String>,
    /// Only of this application.
    pub application: Option<String>,
    /// Only with the key of this id.
    pub key: Option<String>,
    /// Only for this end user.
    pub user: Option<String>,
    /// Only to the model of this public name.
    pub model: Option<String>,
    /// Only to this provider.
    pub provider: Option<String>,
    /// Only to what the provider calls so.
    pub provider_model: Option<String>,
    /// Only with this credential.
    pub credential: Option<String>,
    /// Only over this route.
    pub route: Option<String>,
    /// Only those that were made of the prompt of this name.
    pub prompt: Option<String>,
    /// Only those that ended so.
    #[param(example = "served")]
    pub outcome: Option<String>,
    /// Only those that this node recorded.
    pub node: Option<String>,
    /// Most items on the page, 1 to 50000, which is the whole report. 100 unless set; of CSV all.
    #[param(minimum = 1, maximum = 50000)]
    pub limit: Option<u32>,
    /// Where the page begins: the `next` of the page before. While calls go on, lines may move between pages. Not for CSV.
    pub cursor: Option<String>,
}

/// What calls add up to. Amounts are exact decimals in US dollars.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct SpendFigures {
    /// Model calls that were recorded, also those that were refused or failed.
    pub calls: i64,
    /// Of these, those whose cost is not known; they are in no sum of costs.
    pub calls_of_unknown_cost: i64,
    /// Of these, those whose cost is what budgets were charged, as no count of tokens arrived.
    pub calls_of_estimated_cost: i64,
    /// Tokens read by the models, cached ones included.
    pub input_tokens: i64,
    /// Of those, read from prompt caches.
    pub cached_input_tokens: i64,
    /// Of the input, written into prompt caches.
    pub cache_write_tokens: i64,
    /// Tokens written by the models, reasoning included.
    pub output_tokens: i64,
    /// Of those, spent on reasoning.
    pub reasoning_tokens: i64,
    /// What the calls cost.
    #[schema(examples("12.30448"))]
    pub cost_usd: String,
    /// Calls that the caches of models answered; they cost nothing.
    pub calls_from_cache: i64,
    /// What these would have cost, as far as prices are known.
    #[schema(examples("3.1"))]
    pub saved_usd: String,
}

impl SpendFigures {
    /// Each with its name.
    pub(crate) fn cells(&self) -> [(&'static str, String); 11] {
        [
            ("calls", self.calls.to_string()),
            ("calls_of_unknown_cost", self.calls_of_unknown_cost.to_string()),
            ("calls_of_estimated_cost", self.calls_of_estimated_cost.to_string()),
            ("input_tokens", self.input_tokens.to_string()),
            ("cached_input_tokens", self.cached_input_tokens.to_string()),
            ("cache_write_tokens", self.cache_write_tokens.to_string()),
            ("output_tokens", self.output_tokens.to_string()),
            ("reasoning_tokens", self.reasoning_tokens.to_string()),
            ("cost_usd", self.cost_usd.clone()),
            ("calls_from_cache", self.calls_from_cache.to_string()),
            ("saved_usd", self.saved_usd.clone()),
        ]
    }
}

/// What the calls cost that have something in common.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SpendItem {
    /// When the hour, day, week or month begins, or the whole window.
    pub from: Timestamp,
    /// When it ends.
    pub to: Timestamp,
    /// What they have in common, by the words of `by`; null where such calls have none.
    #[schema(value_type = BTreeMap<String, Option<String>>, example = json!({ "application": "checkout", "user": null }))]
    pub group: BTreeMap<Dimension, Option<String>>,
    /// The key's name, where calls are told apart by keys, or else by the first of their chains, and it is there still, or
    /// came from another key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,
    /// What they add up to.
    #[serde(flatten)]
    pub figures: SpendFigures,
}

/// A node whose calls are in a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SpendNodeView {
    /// The node.
    pub node: String,
    /// When it last told of calls; absent where it never did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub told: Option<Timestamp>,
    /// Whether it is there. A node that is there tells of its calls within five seconds, and the one that answers did so
    /// now; calls that one which is gone has not told of are added when its data directory is back.
    pub live: bool,
}

/// One page of a report.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SpendReport {
    /// Calls that began at this moment or later.
    pub from: Timestamp,
    /// And before this one.
    pub to: Timestamp,
    /// The time zone of its days.
    pub time_zone: String,
    /// By time, and within it the dearest first.
    pub items: Vec<SpendItem>,
    /// All items of all pages together.
    pub total: SpendFigures,
    /// Whose calls are in it.
    pub nodes: Vec<SpendNodeView>,
    /// Hand this in as `cursor` to get the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Over which time.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SpendCheckQuery {
    /// Calls that began at this moment or later, as in reports. Where the call log begins, unless set.
    pub from: Option<String>,
    /// Calls that began before this moment. Now unless set.
    pub to: Option<String>,
    /// The time zone of dates, by its IANA name. UTC unless set.
    pub time_zone: Option<String>,
}

/// The calls of one node, added up twice.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SpendCheck {
    /// The node whose calls these are: the one that answers.
    pub node: String,
    /// Calls that began at this moment or later.
    pub from: Timestamp,
    /// And before this one.
    pub to: Timestamp,
    /// Its call log, call by call.
    pub call_log: SpendFigures,
    /// What reports say of it.
    pub report: SpendFigures,
    /// The cost that reports say, less that of the call log.
    #[schema(examples("0"))]
    pub difference_usd: String,
    /// Whether both are the same, in every figure.
    pub agrees: bool,
    /// Whether the call log was read to its end. What it does not go back to, or could not be read of it in time, is missing
    /// from `call_log`.
    pub complete: bool,
    /// What budgets have charged in their present windows, whatever time is asked for, compared with what calls in this
    /// node's log say that they were charged.
    pub budgets: SpendBudgets,
}

/// What budgets have charged, compared with a call log. Budgets that roll are left out, and those of end users beyond 10000.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SpendBudgets {
    /// Whether none differs for certain.
    pub agrees: bool,
    /// How many have charged what the call log says.
    pub agreeing: u64,
    /// The others, those first that differ for certain.
    pub items: Vec<SpendBudgetView>,
    /// Whether there are more than the 1000 that are told at most.
    pub more: bool,
    /// Nodes whose calls are charged to them too, and whose call logs are not read here.
    pub other_nodes: Vec<String>,
}

impl Default for SpendBudgets {
    fn default() -> Self {
        Self { agrees: true, agreeing: 0, items: Vec::new(), more: false, other_nodes: Vec::new() }
    }
}

/// A budget that has charged something else than this node's call log says.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SpendBudgetView {
    /// The budget.
    #[schema(examples("applications/checkout/month"))]
    pub budget: String,
    /// When its present window began.
    pub started: Timestamp,
    /// What it has charged in it, on all nodes, without what found no place in a call log (`unlogged_usd` of the budget).
    #[schema(examples("12.30448"))]
    pub charged_usd: String,
    /// What the calls in this node's log say that it was charged.
    #[schema(examples("12.30448"))]
    pub call_log_usd: String,
    /// What was charged, less what the call log says.
    #[schema(examples("0"))]
    pub difference_usd: String,
    /// Whether that is wrong for certain. It is not where the rest may stand in the call log of another node, or from before
    /// this one begins: what the call logs of all nodes say is then to be added up by hand.
    pub certain: bool,
}

/// Report what was spent
///
/// What the call logs of all nodes tell, added up; a call belongs to the moment in which it began. `Accept: text/csv` brings
/// the items as lines for spreadsheets, what the calls have in common in the order of `by`.
#[utoipa::path(get, path = "/api/v1/spend", tag = "spend", params(SpendQuery),
    responses((status = 200, description = "By time, and within it the dearest first",
        content((SpendReport = "application/json"), (String = "text/csv")))))]
async fn report_spend(
    State(state): State<AdminState>,
    _: Administrator,
    headers: HeaderMap,
    Query(query): Query<SpendQuery>,
) -> Result<Response, ApiError> {
    let mut response = if wants(&headers, CSV) {
        let told = [
            (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
            (header::CONTENT_DISPOSITION, "attachment; filename=\"spend.csv\""),
        ];
        (told, spend::csv(&state, &query).await?).into_response()
    } else {
        Json(spend::report(&state, &query).await?).into_response()
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

/// Compare what was spent with the call log
///
/// Adds up the call log of the node that answers, call by call, and compares that with what reports say of this node, and
/// with what budgets have charged in their present windows.
#[utoipa::path(get, path = "/api/v1/spend/check", tag = "spend", params(SpendCheckQuery),
    responses((status = 200, description = "Both sums", body = SpendCheck)))]
async fn check_spend(
    State(state): State<AdminState>,
    _: Administrator,
    Query(query): Query<SpendCheckQuery>,
) -> Result<Json<SpendCheck>, ApiError> {
    spend::check(&state, &query).await.map(Json)
}

/// Everything about what was spent.
pub(crate) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(report_spend)).routes(routes!(check_spend))
}
