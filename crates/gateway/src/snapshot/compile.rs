//! From checked resources to the running form. No single resource can keep the others from it: one that cannot be used
//! refuses its own requests and is told of, and keys, revocations and everything else are in force.

use super::{
    CompiledRouteHeaders, PolicyList, RouteKind, RoutePlan, Snapshot,
    models::{ModelPlan, ModelPlans, TargetPlan},
    trust::Trust,
    upstreams::{NO_CREDENTIAL, Upstreams},
};
use crate::{ports::CredentialSource, route::Router};
use credentialflow_llm::{
    price::PriceTable,
    provider::{self, DefaultInjector, Dialect, LimitField, Provider},
};
use credentialflow_model::{
    Name, ResourceSet,
    resource::{Authenticator, HeaderInject, HeaderRules, Inject, Kind, Match, Retry, Route, SecretsInRequests},
};
use credentialflow_policy::{
    ApiKey, ApplicationRules, CompiledHeaders, KeyTable, ModelSlot, RateTable, RoutePolicies, RouteSlot, Slots,
    ValueMarks, allow, headers::InvalidHeaderRule, registry,
};
use hashbrown::HashMap;
use std::{collections::BTreeMap, sync::Arc};

/// What a snapshot is made of, besides the resources.
pub struct Sources {
    /// Keys we issued.
    pub keys: KeyTable,
    /// Verifies presented keys.
    pub api_key: ApiKey,
    /// Upstream credentials.
    pub credentials: Arc<dyn CredentialSource>,
    /// What tells their values in what callers send.
    pub values: Arc<ValueMarks>,
    /// Counters of rate limits; the same table for every snapshot of a process.
    pub rates: Arc<RateTable>,
    /// Authorities read from files; the same for every snapshot of a process.
    pub trust: Arc<Trust>,
    /// Where the built-in sandbox listens, as `host:port`.
    pub sandbox: Option<String>,
    /// Largest body of a model call, which is held in memory.
    pub max_model_body: u64,
}

struct Names<'a> {
    routes: HashMap<&'a str, u32>,
    models: HashMap<&'a str, u32>,
}

impl Slots for Names<'_> {
    fn route(&self, name: &Name) -> Option<RouteSlot> {
        self.routes.get(name.as_str()).copied().map(RouteSlot)
    }
    fn model(&self, name: &Name) -> Option<ModelSlot> {
        self.models.get(name.as_str()).copied().map(ModelSlot)
    }
}

const DEFAULT_MAX_BODY: u64 = 10 << 20;

impl Snapshot {
    /// Compiles resources that passed [`credentialflow_model::config`]'s check. What cannot be used all the same, as
    /// something outside of it is missing, is in [`Self::impaired`].
    pub fn compile(epoch: u64, set: &ResourceSet, sources: Sources) -> Self {
        let mut sorted: Vec<&Route> = set.routes.iter().collect();
        sorted.sort_by(|a, b| a.name.cmp(&b.name));
        let mut upstreams = Upstreams::new(&sources);
        for upstream in &set.upstreams {
            upstreams.add(upstream);
        }
        let mut routes = Vec::with_capacity(sorted.len() + 5);
        for route in &sorted {
            let declared = upstreams.by_name.get(route.upstream.as_str()).copied();
            let headers = compile_headers(route);
            let problem = match (&headers, declared) {
                (Err(error), _) => Some(error.to_string()),
                (_, None) => Some(format!("there is no upstream {}", route.upstream)),
                _ => None,
            };
            let upstream = match (problem, declared) {
                (None, Some(upstream)) => upstream,
                (problem, _) => {
                    upstreams.impaired(Kind::Routes, &route.name, problem.unwrap_or_default(), false);
                    upstreams.nothing(&route.upstream)
                }
            };
            routes.push(compile_route(route, RouteKind::Proxy { upstream }, headers.unwrap_or(None), &sources.rates));
        }
        let models = compile_models(set, &mut upstreams);
        let mut matches: Vec<(u32, Match)> = Vec::new();
        if !models.list.is_empty() {
            for (name, path, method, kind) in [
                ("chat-completions", "/v1/chat/completions", "POST", RouteKind::Chat),
                ("anthropic-messages", "/v1/messages", "POST", RouteKind::Messages),
                ("anthropic-count-tokens", "/v1/messages/count_tokens", "POST", RouteKind::CountTokens),
                ("models", "/v1/models", "GET", RouteKind::ModelList),
                ("model", "/v1/models/{id}", "GET", RouteKind::ModelList),
            ] {
                let m =
                    Match { hosts: vec![], path: path.into(), methods: vec![method.into()], headers: BTreeMap::new() };
                matches.push((routes.len() as u32, m));
                routes.push(built_in_route(name, kind, &sources));
            }
        }
        let names = Names {
            routes: sorted.iter().enumerate().map(|(i, r)| (r.name.as_str(), i as u32)).collect(),
            models: models.list.iter().enumerate().map(|(i, m)| (&*m.name, i as u32)).collect(),
        };
        let keys = sources.keys.with_applications(set.applications.iter().map(|a| &a.name));
        let applications = ApplicationRules::compile(&set.applications, &keys, &names);
        let router = Router::compile(
            sorted.iter().enumerate().map(|(i, r)| (i as u32, &r.matches)).chain(matches.iter().map(|(i, m)| (*i, m))),
        );
        drop(names);
        sources.trust.keep_only(|file| upstreams.names_file(file));
        let Upstreams { plans, endpoints, impaired, .. } = upstreams;
        Self {
            epoch,
            router,
            routes,
            upstreams: plans,
            endpoints,
            models,
            applications,
            impaired,
            keys,
            credentials: sources.credentials,
            values: sources.values,
            api_key: sources.api_key,
        }
    }
}

fn compile_headers(route: &Route) -> Result<Option<Box<CompiledRouteHeaders>>, InvalidHeaderRule> {
    let Some(headers) = &route.headers else { return Ok(None) };
    let compile = |rules: &HeaderRules| CompiledHeaders::compile(rules);
    let (request, response) = (compile(&headers.request)?, compile(&headers.response)?);
    Ok(Some(Box::new(CompiledRouteHeaders { request, response })))
}

fn compile_route(
    route: &Route,
    kind: RouteKind,
    headers: Option<Box<CompiledRouteHeaders>>,
    rates: &Arc<RateTable>,
) -> RoutePlan {
    RoutePlan {
        name: route.name.shared(),
        kind,
        api_key: route.authenticate.contains(&Authenticator::ApiKey),
        anonymous: route.authenticate.contains(&Authenticator::None),
        key_in_query: route.key_in_query.as_deref().map(Into::into),
        policies: PolicyList::Route(RoutePolicies::compile(route, rates)),
        headers,
        strip_prefix: route.strip_prefix.as_ref().map_or(0, |p| p.trim_end_matches('/').len()),
        max_body: route.max_body.map_or(DEFAULT_MAX_BODY, |b| b.as_bytes()),
        websocket: route.websocket,
        secrets: route.secrets_in_requests,
        attempts: route.retry.attempts.max(1),
    }
}

/// The model API is open to every key; what it may use there is decided model by model.
fn built_in_route(name: &str, kind: RouteKind, sources: &Sources) -> RoutePlan {
    #[expect(clippy::expect_used, reason = "the names are literals above")]
    let name: Name = name.parse().expect("a valid name");
    let route = Route {
        name: name.clone(),
        description: None,
        matches: Match { hosts: vec![], path: "/v1/models".into(), methods: vec![], headers: BTreeMap::new() },
        upstream: name,
        authenticate: vec![Authenticator::ApiKey],
        key_in_query: None,
        limit: None,
        headers: None,
        strip_prefix: None,
        max_body: None,
        websocket: false,
        secrets_in_requests: SecretsInRequests::Refuse,
        retry: Retry::default(),
    };
    let policies = registry::REGISTRY.iter().filter(|e| e.kind != allow::KIND);
    let policies = policies.filter_map(|e| (e.build)(&route, &sources.rates)).collect();
    RoutePlan {
        policies: PolicyList::BuiltIn(policies),
        max_body: sources.max_model_body,
        ..compile_route(&route, kind, None, &sources.rates)
    }
}

/// How a provider wants its credential where the configuration does not say.
fn usual_inject(provider: Option<&Provider>, credential: &Name) -> Inject {
    match provider.map_or(DefaultInjector::Bearer, |p| p.injector) {
        DefaultInjector::Bearer => Inject { bearer: Some(credential.clone()), ..Inject::default() },
        DefaultInjector::Header(name) => {
            let header = HeaderInject { name: name.into(), credential: credential.clone(), prefix: String::new() };
            Inject { header: Some(header), ..Inject::default() }
        }
    }
}

fn compile_models(set: &ResourceSet, upstreams: &mut Upstreams<'_>) -> ModelPlans {
    let prices = PriceTable::new(set.models.iter().flat_map(|m| &m.targets));
    let mut plans = ModelPlans::default();
    for model in &set.models {
        let mut targets = Vec::with_capacity(model.targets.len());
        for target in &model.targets {
            let upstream = upstreams.of_provider(&target.provider).unwrap_or_else(|| {
                let problem = format!("there is no provider {}", target.provider);
                upstreams.impaired(Kind::Models, &model.name, problem, model.targets.len() > 1);
                upstreams.nothing(&target.provider)
            });
            let dialect = set
                .upstreams
                .iter()
                .find(|u| u.provider.is_some() && u.name == target.provider)
                .and_then(|u| u.provider.as_ref());
            let kind = provider::find(dialect.unwrap_or(&target.provider).as_str());
            let inject = target.credential.as_ref().map(|name| {
                let mut plan = upstreams.inject(&usual_inject(kind, name));
                if plan.credential == NO_CREDENTIAL {
                    let problem = format!("there is no credential {name}");
                    upstreams.impaired(Kind::Models, &model.name, problem, model.targets.len() > 1);
                }
                // The target names the credential, its upstream the way of injection.
                let declared = set
                    .upstreams
                    .iter()
                    .find(|u| u.provider.is_some() && u.name == target.provider)
                    .and_then(|u| u.inject.as_ref());
                if let Some(inject) = declared {
                    plan.way = upstreams.inject(inject).way;
                }
                plan
            });
            targets.push(TargetPlan {
                provider: target.provider.shared(),
                provider_model: target.model.as_str().into(),
                upstream,
                inject,
                weight: target.weight.max(1),
                dialect: kind.map_or(Dialect::OpenAi, |p| p.dialect),
                ask_usage: kind.is_none_or(|p| p.ask_usage),
                limit: kind.map_or(LimitField::MaxTokens, |p| p.limit),
                price: prices.resolve(target.provider.as_str(), &target.model),
            });
        }
        let name = model.name.shared();
        plans.by_name.insert(name.clone(), plans.list.len() as u32);
        let total_weight = targets.iter().map(|t| t.weight).sum();
        plans.list.push(ModelPlan { name, targets, total_weight, secrets: model.secrets_in_requests });
    }
    plans
}
