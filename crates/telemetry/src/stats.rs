//! Traffic of the last minutes and hours as the console's overview shows it.

use credentialflow_model::Timestamp;
use serde::{Deserialize, Serialize};

/// Traffic in a window of time: one total, a series over time, and the busiest names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Stats {
    /// Begin of the window; a multiple of the step.
    pub since: Timestamp,
    /// End of the window.
    pub until: Timestamp,
    /// The length of one step of the series, in seconds.
    pub step_seconds: u64,
    /// The whole window.
    pub total: StatsFigures,
    /// One point a step, oldest first, without gaps.
    pub series: Vec<StatsPoint>,
    /// The busiest routes, at most ten.
    pub top_routes: Vec<StatsTop>,
    /// The busiest applications, at most ten.
    pub top_applications: Vec<StatsTop>,
    /// The busiest models, at most ten.
    pub top_models: Vec<StatsTop>,
}

/// One step of the series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StatsPoint {
    /// When the step begins.
    pub time: Timestamp,
    /// What happened in it.
    #[serde(flatten)]
    pub figures: StatsFigures,
}

/// One name of a top list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StatsTop {
    /// The route, application or model; `other` stands for all names beyond the room of a minute.
    pub name: String,
    /// What happened under this name.
    #[serde(flatten)]
    pub figures: StatsFigures,
}

/// Counts and quantiles of some requests. Requests count in the minute in which they ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StatsFigures {
    /// Finished requests.
    pub requests: u64,
    /// Of those, not served, or answered by the upstream with a 5xx; whosever fault it was.
    pub errors: u64,
    /// Not served by the caller's fault.
    pub errors_caller: u64,
    /// Not served by our fault.
    pub errors_gateway: u64,
    /// Not served by the upstream's fault, or passed on with the upstream's own 5xx.
    pub errors_upstream: u64,
    /// By the status sent: index 0 none, 1 to 5 the classes 1xx to 5xx.
    pub status_classes: [u64; 6],
    /// Half of the requests took at most this long, in microseconds; absent without requests.
    pub p50_us: Option<u64>,
    /// 95 % of the requests took at most this long.
    pub p95_us: Option<u64>,
    /// 99 % of the requests took at most this long.
    pub p99_us: Option<u64>,
    /// Half of the requests had their first byte answered within this time.
    pub ttfb_p50_us: Option<u64>,
    /// 95 % of the requests had their first byte answered within this time.
    pub ttfb_p95_us: Option<u64>,
    /// Body bytes received from callers.
    pub bytes_in: u64,
    /// Body bytes sent to callers.
    pub bytes_out: u64,
    /// Tokens read by models.
    pub tokens_in: u64,
    /// Tokens written by models.
    pub tokens_out: u64,
    /// Known cost in US dollars, exact to 10^-12, as a decimal string.
    #[schema(examples("12.50"))]
    pub usd: String,
    /// Model calls whose cost is unknown, for want of a price or of the provider's count of tokens; it is not in
    /// `usd`.
    pub unpriced: u64,
}
