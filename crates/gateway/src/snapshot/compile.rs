//! From checked resources to the running form.

use super::{
    CompiledRouteHeaders, EndpointPlan, InjectPlan, InjectWay, PolicyList, RouteKind, RoutePlan, Snapshot,
    UpstreamPlan,
    models::{ModelPlan, ModelPlans, TargetPlan},
};
use crate::{net::tls, ports::CredentialSource, route::Router};
use credentialflow_llm::{price::PriceTable, provider};
use credentialflow_model::{
    Name, ResourceSet,
    resource::{Authenticator, Health, Inject, Match, Retry, Route, Timeouts, Upstream},
};
use credentialflow_policy::{
    ApiKey, ApplicationRules, CompiledHeaders, KeyTable, ModelSlot, RateTable, RoutePolicies, RouteSlot, Slots, allow,
    registry,
};
use hashbrown::HashMap;
use rustls::ClientConfig;
use std::{collections::BTreeMap, path::Path, sync::Arc, sync::OnceLock};

/// Why resources that passed their check still cannot run; something outside them is missing.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// A name that does not resolve.
    #[error("{kind}/{name}: {problem}")]
    Unresolved {
        /// Kind of the resource.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What does not resolve.
        problem: String,
    },
    /// A header rule cannot be applied.
    #[error("routes/{0}: {1}")]
    Header(String, credentialflow_policy::headers::InvalidHeaderRule),
    /// TLS trust cannot be set up.
    #[error("{0}")]
    Tls(#[from] tls::TlsError),
}

/// What a snapshot is made of, besides the resources.
pub struct Sources {
    /// Keys we issued.
    pub keys: KeyTable,
    /// Verifies presented keys.
    pub api_key: ApiKey,
    /// Upstream credentials.
    pub credentials: Arc<dyn CredentialSource>,
    /// Counters of rate limits; the same table for every snapshot of a process.
    pub rates: Arc<RateTable>,
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
    /// Compiles resources that passed [`credentialflow_model::config`]'s check.
    pub fn compile(epoch: u64, set: &ResourceSet, sources: Sources) -> Result<Self, CompileError> {
        let mut sorted: Vec<&Route> = set.routes.iter().collect();
        sorted.sort_by(|a, b| a.name.cmp(&b.name));
        let mut upstreams = Upstreams {
            plans: vec![],
            endpoints: vec![],
            sources: &sources,
            roots: HashMap::new(),
            by_name: HashMap::new(),
            providers: HashMap::new(),
        };
        for upstream in &set.upstreams {
            upstreams.add(upstream)?;
        }
        let mut routes = Vec::with_capacity(sorted.len() + 3);
        for route in &sorted {
            let upstream = *upstreams.by_name.get(route.upstream.as_str()).ok_or_else(|| CompileError::Unresolved {
                kind: "routes",
                name: route.name.to_string(),
                problem: format!("there is no upstream {}", route.upstream),
            })?;
            routes.push(compile_route(route, RouteKind::Proxy { upstream }, &sources.rates)?);
        }
        let models = compile_models(set, &mut upstreams)?;
        let mut matches: Vec<(u32, Match)> = Vec::new();
        if !models.list.is_empty() {
            for (name, path, method, kind) in [
                ("chat-completions", "/v1/chat/completions", "POST", RouteKind::Chat),
                ("models", "/v1/models", "GET", RouteKind::ModelList),
                ("model", "/v1/models/{id}", "GET", RouteKind::ModelList),
            ] {
                let m =
                    Match { hosts: vec![], path: path.into(), methods: vec![method.into()], headers: BTreeMap::new() };
                matches.push((routes.len() as u32, m));
                routes.push(built_in_route(name, kind, &sources)?);
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
        let Upstreams { plans, endpoints, .. } = upstreams;
        Ok(Self {
            epoch,
            router,
            routes,
            upstreams: plans,
            endpoints,
            models,
            applications,
            keys,
            credentials: sources.credentials,
            api_key: sources.api_key,
        })
    }
}

fn compile_route(route: &Route, kind: RouteKind, rates: &Arc<RateTable>) -> Result<RoutePlan, CompileError> {
    let headers = |rules| CompiledHeaders::compile(rules).map_err(|e| CompileError::Header(route.name.to_string(), e));
    Ok(RoutePlan {
        name: route.name.shared(),
        kind,
        api_key: route.authenticate.contains(&Authenticator::ApiKey),
        anonymous: route.authenticate.contains(&Authenticator::None),
        key_in_query: route.key_in_query.as_deref().map(Into::into),
        policies: PolicyList::Route(RoutePolicies::compile(route, rates)),
        headers: match &route.headers {
            None => None,
            Some(h) => {
                Some(Box::new(CompiledRouteHeaders { request: headers(&h.request)?, response: headers(&h.response)? }))
            }
        },
        strip_prefix: route.strip_prefix.as_ref().map_or(0, |p| p.trim_end_matches('/').len()),
        max_body: route.max_body.map_or(DEFAULT_MAX_BODY, |b| b.as_bytes()),
        websocket: route.websocket,
        attempts: route.retry.attempts.max(1),
    })
}

/// The model API is open to every key; what it may use there is decided model by model.
fn built_in_route(name: &str, kind: RouteKind, sources: &Sources) -> Result<RoutePlan, CompileError> {
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
        retry: Retry::default(),
    };
    let policies = registry::REGISTRY.iter().filter(|e| e.kind != allow::KIND);
    let policies = policies.filter_map(|e| (e.build)(&route, &sources.rates)).collect();
    Ok(RoutePlan {
        policies: PolicyList::BuiltIn(policies),
        max_body: sources.max_model_body,
        ..compile_route(&route, kind, &sources.rates)?
    })
}

struct Upstreams<'a> {
    plans: Vec<UpstreamPlan>,
    endpoints: Vec<EndpointPlan>,
    sources: &'a Sources,
    roots: HashMap<String, Arc<ClientConfig>>,
    by_name: HashMap<String, u32>,
    /// Those that serve models.
    providers: HashMap<String, u32>,
}

impl Upstreams<'_> {
    fn add(&mut self, upstream: &Upstream) -> Result<u32, CompileError> {
        let unresolved =
            |problem: String| CompileError::Unresolved { kind: "upstreams", name: upstream.name.to_string(), problem };
        let inject = match &upstream.inject {
            None => None,
            Some(inject) => {
                Some(self.inject(inject).ok_or_else(|| unresolved("its credential does not exist".into()))?)
            }
        };
        let tls_settings = upstream.tls.clone().unwrap_or_default();
        let config = match &tls_settings.ca_file {
            None => public_roots()?,
            Some(file) => match self.roots.get(file) {
                Some(config) => config.clone(),
                None => {
                    let config = tls::client_config(Some(Path::new(file)))?;
                    self.roots.insert(file.clone(), config.clone());
                    config
                }
            },
        };
        let salt = format!(
            "{}|{}",
            tls_settings.ca_file.as_deref().unwrap_or_default(),
            tls_settings.server_name.as_deref().unwrap_or_default()
        );
        let start = self.endpoints.len() as u32;
        for url in &upstream.endpoints {
            let url = match url.strip_prefix("sandbox://") {
                None => url.clone(),
                Some(which) => {
                    let address =
                        self.sources.sandbox.as_ref().ok_or_else(|| unresolved("the sandbox is not running".into()))?;
                    let path = which.strip_prefix("models").map_or("", |_| "/v1");
                    format!("http://{address}{path}")
                }
            };
            let plan = EndpointPlan::parse(&url, &|| config.clone(), tls_settings.server_name.as_deref(), &salt);
            self.endpoints.push(plan.ok_or_else(|| unresolved(format!("{url} is no usable endpoint")))?);
        }
        let index = self.plans.len() as u32;
        let Timeouts { connect, response, idle } = upstream.timeouts;
        self.plans.push(UpstreamPlan {
            name: upstream.name.shared(),
            endpoints: start..self.endpoints.len() as u32,
            inject,
            connect: connect.as_duration(),
            response: response.as_duration(),
            idle: idle.as_duration(),
            health: upstream.health,
            encoding: upstream.encoding,
        });
        self.by_name.insert(upstream.name.to_string(), index);
        if upstream.provider.is_some() {
            self.providers.insert(upstream.name.to_string(), index);
        }
        Ok(index)
    }

    fn inject(&self, inject: &Inject) -> Option<InjectPlan> {
        let credential = self.sources.credentials.slot(inject.credential()?.as_str())?;
        let way = if let Some(header) = &inject.header {
            InjectWay::Header { name: header.name.to_ascii_lowercase().into(), prefix: header.prefix.as_str().into() }
        } else if let Some(query) = &inject.query {
            InjectWay::Query { name: query.name.as_str().into() }
        } else if let Some(basic) = &inject.basic {
            InjectWay::Basic { username: basic.username.as_str().into() }
        } else {
            InjectWay::Bearer
        };
        Some(InjectPlan { credential, way })
    }

    /// The upstream of a target: one of the configuration, or a built-in provider's own.
    fn of_provider(&mut self, name: &Name) -> Result<u32, CompileError> {
        let internal = format!("provider:{name}");
        let declared = self.providers.get(name.as_str()).or_else(|| self.by_name.get(&internal));
        if let Some(index) = declared {
            return Ok(*index);
        }
        let built_in = provider::find(name.as_str()).ok_or_else(|| CompileError::Unresolved {
            kind: "models",
            name: name.to_string(),
            problem: "there is no such provider".into(),
        })?;
        // An upstream of the same name that serves no models stays what its own routes reach.
        let plain = self.by_name.get(name.as_str()).copied();
        let index = self.add(&Upstream {
            name: name.clone(),
            description: None,
            endpoints: vec![built_in.base_url().to_owned()],
            provider: Some(name.clone()),
            inject: None,
            timeouts: Timeouts { response: credentialflow_model::Period::from_secs(600), ..Timeouts::default() },
            health: Health::default(),
            tls: None,
            encoding: Default::default(),
        })?;
        match plain {
            Some(plain) => self.by_name.insert(name.to_string(), plain),
            None => self.by_name.remove(name.as_str()),
        };
        self.providers.remove(name.as_str());
        self.by_name.insert(internal, index);
        Ok(index)
    }
}

fn compile_models(set: &ResourceSet, upstreams: &mut Upstreams<'_>) -> Result<ModelPlans, CompileError> {
    let prices = PriceTable::new(set.models.iter().flat_map(|m| &m.targets));
    let mut plans = ModelPlans::default();
    for model in &set.models {
        let mut targets = Vec::with_capacity(model.targets.len());
        for target in &model.targets {
            let upstream = upstreams.of_provider(&target.provider)?;
            let inject = match &target.credential {
                None => None,
                Some(name) => {
                    let bearer = Inject { bearer: Some(name.clone()), ..Inject::default() };
                    let mut plan = upstreams.inject(&bearer).ok_or_else(|| CompileError::Unresolved {
                        kind: "models",
                        name: model.name.to_string(),
                        problem: format!("there is no credential {name}"),
                    })?;
                    // The target names the credential, its upstream the way of injection.
                    let declared = set
                        .upstreams
                        .iter()
                        .find(|u| u.provider.is_some() && u.name == target.provider)
                        .and_then(|u| u.inject.as_ref());
                    if let Some(own) = declared.and_then(|inject| upstreams.inject(inject)) {
                        plan.way = own.way;
                    }
                    Some(plan)
                }
            };
            let dialect = set
                .upstreams
                .iter()
                .find(|u| u.provider.is_some() && u.name == target.provider)
                .and_then(|u| u.provider.as_ref());
            let ask_usage = provider::find(dialect.unwrap_or(&target.provider).as_str()).is_none_or(|p| p.ask_usage);
            targets.push(TargetPlan {
                provider: target.provider.shared(),
                provider_model: target.model.as_str().into(),
                upstream,
                inject,
                weight: target.weight.max(1),
                ask_usage,
                price: prices.resolve(target.provider.as_str(), &target.model),
            });
        }
        let name = model.name.shared();
        plans.by_name.insert(name.clone(), plans.list.len() as u32);
        let total_weight = targets.iter().map(|t| t.weight).sum();
        plans.list.push(ModelPlan { name, targets, total_weight });
    }
    Ok(plans)
}

fn public_roots() -> Result<Arc<ClientConfig>, CompileError> {
    static ROOTS: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = ROOTS.get() {
        return Ok(config.clone());
    }
    let config = tls::client_config(None)?;
    Ok(ROOTS.get_or_init(|| config).clone())
}
