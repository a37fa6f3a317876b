//! Budgets: what may be spent, what is spent, and what is held back for running calls.

use crate::{
    AdminState,
    api::{answer::Page, request::Query},
    auth::Administrator,
    budgets,
    error::ApiError,
};
use axum::{Json, extract::State};
use credentialflow_model::{
    Timestamp,
    resource::{BudgetPeriod, budget::Usd},
};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

/// Which budgets.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BudgetQuery {
    /// Only of this kind: `applications`, `keys`, `models`, `teams`, `upstreams`, or `users`, which are listed only so.
    pub kind: Option<BudgetKind>,
    /// Only of what has this name; of end users, the name of their application.
    pub name: Option<String>,
    /// Only those of which at least so many percent are spent.
    #[param(minimum = 0, maximum = 1000)]
    pub min_percent: Option<u32>,
    /// Most items on the page, 1 to 1000. 100 unless set.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// Where the page begins: the `next` of the page before.
    pub cursor: Option<String>,
}

/// What has budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BudgetKind {
    /// Each application for its own calls.
    Applications,
    /// Each key for its own calls.
    Keys,
    /// A model for the calls of all applications to it.
    Models,
    /// A team for the calls of all its applications.
    Teams,
    /// An upstream for the model calls that it serves.
    Upstreams,
    /// Each end user of an application for the calls that are for it; those that were ever charged.
    Users,
}

/// What a node holds of a budget.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct BudgetShare {
    /// The node's name.
    pub node: String,
    /// What its running calls reserved and what it borrowed ahead, in US dollars.
    #[schema(examples("0.25"))]
    pub reserved_usd: String,
}

/// A budget in its current window. Amounts are exact decimals in US dollars.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct BudgetView {
    /// Its name, as calls in the call log name it.
    #[schema(examples("applications/checkout/month"))]
    pub budget: String,
    /// What kind of thing has it.
    pub kind: BudgetKind,
    /// Its name; of an end user, that of the application.
    pub name: String,
    /// The end user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The limit of each window.
    pub limit_usd: Usd,
    /// The windows; a duration where they roll.
    #[schema(value_type = String, examples("month", "1d"))]
    pub per: BudgetPeriod,
    /// The time zone whose days, weeks and months count; none where windows roll.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Whether calls that it cannot pay are refused.
    pub hard: bool,
    /// From so many percent on it is told that it runs out.
    pub warn_at: u8,
    /// The model that serves once it is used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_when_used_up: Option<String>,
    /// Whether targets at the provider are passed over once it is used up.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub next_target_when_used_up: bool,
    /// When the current window began; where it rolls, so long ago.
    pub started: Timestamp,
    /// When it ends; where it rolls, when the first that it counts is free again, if anything is spent or lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends: Option<Timestamp>,
    /// What finished calls cost: the sum of their costs in the call log, and `unlogged_usd`. A moment behind.
    pub spent_usd: String,
    /// What running calls have reserved, and what nodes have borrowed ahead of need.
    pub reserved_usd: String,
    /// What nodes that ended without an account had borrowed: it may have been spent, and does not come back.
    pub lost_usd: String,
    /// Of what is spent, what found no place in the call log.
    pub unlogged_usd: String,
    /// What is neither spent nor reserved nor lost; never below zero.
    pub left_usd: String,
    /// How much of the limit is spent or lost, in whole percent, rounded down.
    pub percent: u32,
    /// Who holds what is reserved, by name.
    pub nodes: Vec<BudgetShare>,
}

/// List budgets
#[utoipa::path(get, path = "/api/v1/budgets", tag = "budgets", params(BudgetQuery),
    responses((status = 200, description = "By kind, then by name, then as they are written", body = Page<BudgetView>)))]
async fn list_budgets(
    State(state): State<AdminState>,
    _: Administrator,
    Query(query): Query<BudgetQuery>,
) -> Result<Json<Page<BudgetView>>, ApiError> {
    budgets::list(&state, &query).await.map(Json)
}

/// Everything about budgets.
pub(crate) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(list_budgets))
}
