//! The endpoints, one file per aggregate, each registered here together with its OpenAPI entry.
//!
//! Every handler takes an [`crate::auth::Administrator`]; the only exceptions are listed in
//! [`PUBLIC`], and a test walks the whole document to prove it.

#[macro_use]
mod plain;

pub(crate) mod answer;
mod applications;
pub(crate) mod audit;
pub(crate) mod budgets;
pub(crate) mod calls;
pub(crate) mod certificates;
pub(crate) mod config;
pub(crate) mod credentials;
pub(crate) mod dependents;
mod document;
mod guardrails;
mod health;
pub(crate) mod inventory;
pub(crate) mod keys;
mod known_models;
mod leak_responses;
pub(crate) mod leaks;
pub(crate) mod leases;
pub(crate) mod links;
mod model_cache;
pub(crate) mod model_dry_runs;
pub(crate) mod model_routes;
mod models;
pub(crate) mod prompts;
mod rekey;
pub(crate) mod request;
pub(crate) mod rotations;
mod routes;
mod run_time;
mod seal;
mod seal_keys;
mod session;
pub(crate) mod spend;
mod stats;
pub(crate) mod status;
mod stores;
mod targets;
mod teams;
mod upstreams;

use crate::AdminState;
use utoipa_axum::router::OpenApiRouter;

/// Operations anyone may call, as method and path. Everything else asks for an administrator.
/// `/metrics` is open on the control listener because Prometheus scrapes without credentials by
/// default; it holds counts and names, never secrets. Whoever reports a leak proves nothing but that they
/// have the secret: that must be enough, the answer tells them nothing, and GitHub's reports are signed.
pub const PUBLIC: &[(&str, &str)] = &[
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
    ("get", "/api/v1/openapi.json"),
    ("post", "/api/v1/session"),
    ("get", "/api/v1/seal"),
    ("post", "/api/v1/seal/unseal"),
    ("post", "/api/v1/seal/rekey/prove"),
    ("post", "/api/v1/seal/rekey/verify"),
    ("post", "/api/v1/leaks/report"),
    ("post", "/api/v1/leaks/github"),
];

/// Every endpoint, in the order of the document's tags.
pub(crate) fn endpoints() -> OpenApiRouter<AdminState> {
    document::empty()
        .merge(session::endpoints())
        .merge(seal::endpoints())
        .merge(rekey::endpoints())
        .merge(seal_keys::endpoints())
        .merge(run_time::endpoints())
        .merge(status::endpoints())
        .merge(teams::endpoints())
        .merge(applications::endpoints())
        .merge(keys::endpoints())
        .merge(credentials::endpoints())
        .merge(rotations::endpoints())
        .merge(links::endpoints())
        .merge(certificates::endpoints())
        .merge(targets::endpoints())
        .merge(stores::endpoints())
        .merge(upstreams::endpoints())
        .merge(routes::endpoints())
        .merge(guardrails::endpoints())
        .merge(models::endpoints())
        .merge(model_routes::endpoints())
        .merge(model_dry_runs::endpoints())
        .merge(model_cache::endpoints())
        .merge(known_models::endpoints())
        .merge(prompts::endpoints())
        .merge(leak_responses::endpoints())
        .merge(config::endpoints())
        .merge(dependents::endpoints())
        .merge(calls::endpoints())
        .merge(stats::endpoints())
        .merge(budgets::endpoints())
        .merge(spend::endpoints())
        .merge(audit::endpoints())
        .merge(inventory::endpoints())
        .merge(leaks::endpoints())
        .merge(leases::endpoints())
        .merge(health::endpoints())
        .merge(document::endpoints())
}

/// The OpenAPI 3.1 document of everything above.
pub fn openapi() -> utoipa::openapi::OpenApi {
    document::finish(endpoints().into_openapi())
}
