//! From checked resources to the running form. No single resource can keep the others from it: one that cannot be used
//! refuses its own requests and is told of, and keys, revocations and everything else are in force.

use super::{
    BatchRoute, CompiledRouteHeaders, Impaired, PolicyList, RouteKind, RoutePlan, Snapshot,
    accounts::Accounts,
    cache, guardrails,
    mcp::{McpPlan, McpServerPlan},
    models::{KeyPlan, ModelPlan, ModelPlans, TargetPlan},
    prompts::{self, Prompts},
    topics,
    trust::Trust,
    upstreams::{NO_CREDENTIAL, Upstreams},
};
use crate::{ports::CredentialSource, route::Router};
use credentialflow_llm::{
    affinity,
    bound::{DEFAULT_OUTPUT, Keeps, longest},
    catalogue,
    needs::Abilities,
    price::PriceTable,
    provider::{self, CallIds, DefaultInjector, Dialect, LimitField, Provider},
    realtime::gemini::Version,
    task::{Task, Tasks},
};
use credentialflow_model::{
    Name, Period, ResourceSet,
    resource::{
        Authenticator, Budgets, Guardrail, HeaderInject, HeaderRules, Inject, Kind, Match, Mcp, McpServer, Model,
        Retry, Route, SecretsInAnswers, SecretsInRequests, Target, TargetCredential,
    },
};
use credentialflow_policy::{
    ApiKey, ApplicationRules, Book, CompiledHeaders, KeyTable, ModelSlot, RateTable, RoutePolicies, RouteSlot, Slots,
    ValueMarks, allow, headers::InvalidHeaderRule, quota::Owner, registry,
};
use hashbrown::HashMap;
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

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
    /// The budgets and what this node has of them; the same for every snapshot of a process.
    pub budgets: Arc<Book>,
    /// Authorities read from files; the same for every snapshot of a process.
    pub trust: Arc<Trust>,
    /// Where the built-in sandbox listens, as `host:port`.
    pub sandbox: Option<String>,
    /// Largest body of a model call, which is held in memory.
    pub max_model_body: u64,
    /// How often each model was written since this process began; each time empties its cache. Models that were not are
    /// left out.
    pub models_written: std::collections::HashMap<Name, u64>,
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
/// Largest file. It is never held, and OpenAI takes 200 MB with the calls of a batch.
pub(crate) const MAX_UPLOAD: u64 = 256 << 20;
const MESSAGE_BATCH: &str = "/v1/messages/batches/{id}";

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
        let mut prompts = Prompts::compile(&set.prompts);
        let sets = guardrail_sets(set);
        let mut routes = Vec::with_capacity(sorted.len() + 23);
        for route in &sorted {
            let headers = compile_headers(route);
            if let Some(prompt) = &route.prompt {
                let published = prompts.publish(route, prompt, headers.is_ok());
                if let Some(problem) = headers.as_ref().err().map(ToString::to_string) {
                    upstreams.impaired(Kind::Routes, &route.name, problem, false);
                }
                let kind = RouteKind::Prompt { published };
                let plan = compile_route(route, kind, headers.unwrap_or(None), &sources.rates);
                routes.push(RoutePlan { max_body: plan.max_body.min(sources.max_model_body), ..plan });
                continue;
            }
            // The check lets none pass that leads nowhere. Where several servers are behind it, the first stands for them.
            let to = route.upstreams().next().unwrap_or(&route.name);
            let declared = upstreams.by_name.get(to.as_str()).copied();
            let problem = match (&headers, declared) {
                (Err(error), _) => Some(error.to_string()),
                (_, None) => Some(format!("there is no upstream {to}")),
                _ => None,
            };
            let upstream = match (problem, declared) {
                (None, Some(upstream)) => upstream,
                (problem, _) => {
                    upstreams.impaired(Kind::Routes, &route.name, problem.unwrap_or_default(), false);
                    upstreams.nothing(to)
                }
            };
            let kind = RouteKind::Proxy { upstream };
            let mut plan = compile_route(route, kind, headers.unwrap_or(None), &sources.rates);
            if let (Some(plan), Some(mcp)) = (&mut plan.mcp, &route.mcp) {
                plan.servers = mcp_servers(route, mcp, &mut upstreams);
                let rules: Vec<_> = mcp.rules(|name| sets.get(name.as_str()).copied()).collect();
                plan.guardrails = guardrails::of(&sets, &mcp.use_guardrails, &rules);
                if let Some(Err(problem)) = &plan.guardrails {
                    upstreams.impaired(Kind::Routes, &route.name, problem.clone(), false);
                }
            }
            routes.push(plan);
        }
        let mut models = compile_models(set, &mut upstreams, &sources.budgets);
        cache::compile(set, &mut models, &sources.models_written);
        for (name, problem) in guardrails::without_what_is_asked(&mut models) {
            upstreams.impaired.push(Impaired { kind: Kind::Models, name, reason: problem, serves: false });
        }
        let mut matches: Vec<(u32, Match)> = Vec::new();
        if !models.list.is_empty() {
            for (name, path, method, kind) in [
                ("chat-completions", "/v1/chat/completions", "POST", RouteKind::Chat),
                ("responses", "/v1/responses", "POST", RouteKind::Responses),
                ("response-input-tokens", "/v1/responses/input_tokens", "POST", RouteKind::InputTokens),
                ("response", "/v1/responses/{id}", "GET", RouteKind::KeptResponse),
                ("response-delete", "/v1/responses/{id}", "DELETE", RouteKind::KeptResponse),
                ("response-cancel", "/v1/responses/{id}/cancel", "POST", RouteKind::KeptResponse),
                ("response-input-items", "/v1/responses/{id}/input_items", "GET", RouteKind::KeptResponse),
                ("anthropic-messages", "/v1/messages", "POST", RouteKind::Messages),
                ("anthropic-count-tokens", "/v1/messages/count_tokens", "POST", RouteKind::CountTokens),
                ("embeddings", "/v1/embeddings", "POST", RouteKind::Task(Task::Embeddings)),
                ("moderations", "/v1/moderations", "POST", RouteKind::Task(Task::Moderations)),
                ("image-generations", "/v1/images/generations", "POST", RouteKind::Task(Task::ImageGenerations)),
                ("image-edits", "/v1/images/edits", "POST", RouteKind::Task(Task::ImageEdits)),
                ("speech", "/v1/audio/speech", "POST", RouteKind::Task(Task::Speech)),
                ("transcriptions", "/v1/audio/transcriptions", "POST", RouteKind::Task(Task::Transcriptions)),
                ("translations", "/v1/audio/translations", "POST", RouteKind::Task(Task::Translations)),
                ("rerank", "/v1/rerank", "POST", RouteKind::Task(Task::Rerank)),
                // Where Cohere's SDKs ask for it.
                ("rerank-v2", "/v2/rerank", "POST", RouteKind::Task(Task::Rerank)),
                ("realtime", "/v1/realtime", "GET", RouteKind::Realtime),
                ("gemini-live-v1", Version::Stable.path(), "GET", RouteKind::Live(Version::Stable)),
                ("gemini-live-v1-joined", Version::Stable.joined(), "GET", RouteKind::Live(Version::Stable)),
                ("gemini-live", Version::Beta.path(), "GET", RouteKind::Live(Version::Beta)),
                ("gemini-live-alpha", Version::Alpha.path(), "GET", RouteKind::Live(Version::Alpha)),
                ("gemini-live-joined", Version::Beta.joined(), "GET", RouteKind::Live(Version::Beta)),
                ("gemini-live-alpha-joined", Version::Alpha.joined(), "GET", RouteKind::Live(Version::Alpha)),
                ("models", "/v1/models", "GET", RouteKind::ModelList),
                ("model", "/v1/models/{id}", "GET", RouteKind::ModelList),
                ("gemini-generate", "/v1beta/models/{id}", "POST", RouteKind::Gemini),
                ("gemini-generate-v1", "/v1/models/{id}", "POST", RouteKind::Gemini),
                ("gemini-models", "/v1beta/models", "GET", RouteKind::GeminiModelList),
                ("gemini-model", "/v1beta/models/{id}", "GET", RouteKind::GeminiModelList),
                ("file-upload", "/v1/files", "POST", RouteKind::Batch(BatchRoute::Upload)),
                ("files", "/v1/files", "GET", RouteKind::Batch(BatchRoute::Files)),
                ("file", "/v1/files/{id}", "GET", RouteKind::Batch(BatchRoute::File)),
                ("file-content", "/v1/files/{id}/content", "GET", RouteKind::Batch(BatchRoute::FileContent)),
                ("file-delete", "/v1/files/{id}", "DELETE", RouteKind::Batch(BatchRoute::FileDelete)),
                ("batch-create", "/v1/batches", "POST", RouteKind::Batch(BatchRoute::Create)),
                ("batches", "/v1/batches", "GET", RouteKind::Batch(BatchRoute::Batches)),
                ("batch", "/v1/batches/{id}", "GET", RouteKind::Batch(BatchRoute::Batch)),
                ("batch-cancel", "/v1/batches/{id}/cancel", "POST", RouteKind::Batch(BatchRoute::Cancel)),
                ("message-batch-create", "/v1/messages/batches", "POST", RouteKind::Batch(BatchRoute::MessageCreate)),
                ("message-batches", "/v1/messages/batches", "GET", RouteKind::Batch(BatchRoute::MessageBatches)),
                ("message-batch", MESSAGE_BATCH, "GET", RouteKind::Batch(BatchRoute::MessageBatch)),
                (
                    "message-batch-cancel",
                    "/v1/messages/batches/{id}/cancel",
                    "POST",
                    RouteKind::Batch(BatchRoute::MessageCancel),
                ),
                (
                    "message-batch-results",
                    "/v1/messages/batches/{id}/results",
                    "GET",
                    RouteKind::Batch(BatchRoute::MessageResults),
                ),
                ("message-batch-delete", MESSAGE_BATCH, "DELETE", RouteKind::Batch(BatchRoute::MessageDelete)),
                ("gemini-file-upload", "/upload/v1beta/files", "POST", RouteKind::Batch(BatchRoute::GeminiUpload)),
                // Where Google's SDK for Python asks for it; it reads files at `/v1/files`, with Google's header.
                ("gemini-file-upload-v1", "/upload/v1/files", "POST", RouteKind::Batch(BatchRoute::GeminiUpload)),
                ("gemini-file-piece", "/upload/v1beta/files/pieces", "POST", RouteKind::Batch(BatchRoute::GeminiPiece)),
                ("gemini-files", "/v1beta/files", "GET", RouteKind::Batch(BatchRoute::GeminiFiles)),
                ("gemini-file", "/v1beta/files/{id}", "GET", RouteKind::Batch(BatchRoute::GeminiFile)),
                ("gemini-file-delete", "/v1beta/files/{id}", "DELETE", RouteKind::Batch(BatchRoute::GeminiFileDelete)),
                ("gemini-batches", "/v1beta/batches", "GET", RouteKind::Batch(BatchRoute::GeminiBatches)),
                ("gemini-batch", "/v1beta/batches/{id}", "GET", RouteKind::Batch(BatchRoute::GeminiBatch)),
                ("gemini-batch-cancel", "/v1beta/batches/{id}", "POST", RouteKind::Batch(BatchRoute::GeminiCancel)),
                ("gemini-batch-delete", "/v1beta/batches/{id}", "DELETE", RouteKind::Batch(BatchRoute::GeminiDelete)),
                // Where Google's SDK for Python asks for them; it reads them at `/v1/batches`, with Google's header.
                ("gemini-batch-cancel-v1", "/v1/batches/{id}", "POST", RouteKind::Batch(BatchRoute::GeminiCancel)),
                ("gemini-batch-delete-v1", "/v1/batches/{id}", "DELETE", RouteKind::Batch(BatchRoute::GeminiDelete)),
            ] {
                let m =
                    Match { hosts: vec![], path: path.into(), methods: vec![method.into()], headers: BTreeMap::new() };
                matches.push((routes.len() as u32, m));
                routes.push(built_in_route(name, kind, &sources));
            }
        }
        let mut asks = asks(set, &upstreams, &mut routes, &sources);
        asks.examples = topics::compile(set, &models, &sources.models_written);
        let names = Names {
            routes: sorted.iter().enumerate().map(|(i, r)| (r.name.as_str(), i as u32)).collect(),
            models: models.list.iter().enumerate().map(|(i, m)| (&*m.name, i as u32)).collect(),
        };
        let keys = sources.keys.with_applications(set.applications.iter().map(|a| &a.name));
        let applications = ApplicationRules::compile(&set.applications, &set.teams, &keys, &names, &sources.budgets);
        sources.budgets.tidy();
        let (mut own, mut takes) = (Vec::new(), Vec::new());
        for (index, route) in sorted.iter().enumerate() {
            match route.prompt {
                None => takes.push((index as u32, &route.matches)),
                Some(_) => own.extend(prompts::matches(&route.matches).map(|matches| (index as u32, matches))),
            }
        }
        let built_in = own.iter().chain(&matches).map(|(index, matches)| (*index, matches));
        let router = Router::compile(takes.into_iter().chain(built_in));
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
            prompts,
            asks,
            applications,
            impaired,
            keys,
            credentials: sources.credentials,
            values: sources.values,
            api_key: sources.api_key,
        }
    }
}

/// Several servers behind a route.
fn mcp_servers(route: &Route, mcp: &Mcp, upstreams: &mut Upstreams<'_>) -> Vec<McpServerPlan> {
    let place = |server: &McpServer| {
        let upstream = upstreams.by_name.get(server.upstream.as_str()).copied().unwrap_or_else(|| {
            let problem = format!("there is no upstream {}", server.upstream);
            upstreams.impaired(Kind::Routes, &route.name, problem, true);
            upstreams.nothing(&server.upstream)
        });
        McpServerPlan { name: server.name.shared(), upstream }
    };
    mcp.servers.iter().map(place).collect()
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
        mcp: route.mcp.as_ref().map(McpPlan::compile),
        secrets: route.secrets_in_requests,
        secrets_back: route.secrets_in_answers,
        attempts: route.retry.attempts.max(1),
    }
}

/// Routes on which guardrails and caches ask others; no request matches them.
fn asks(
    set: &ResourceSet,
    upstreams: &Upstreams<'_>,
    routes: &mut Vec<RoutePlan>,
    sources: &Sources,
) -> guardrails::Asks {
    let of_models = set.models.iter().flat_map(|model| &model.guardrails);
    let rules = set.guardrails.iter().flat_map(|set| &set.rules).chain(of_models);
    let mut asks = guardrails::Asks { moderation: routes.len() as u32, ..Default::default() };
    routes.push(built_in_route("guardrail-moderation", RouteKind::Task(Task::Moderations), sources));
    asks.embeddings = routes.len() as u32;
    routes.push(built_in_route("cache-embeddings", RouteKind::Task(Task::Embeddings), sources));
    asks.topics = routes.len() as u32;
    routes.push(built_in_route("guardrail-embeddings", RouteKind::Task(Task::Embeddings), sources));
    for name in rules.filter_map(|rule| rule.upstream.as_ref()) {
        if let Some(upstream) = upstreams.by_name.get(name.as_str())
            && !asks.webhooks.contains_key(name.as_str())
        {
            asks.webhooks.insert(name.as_str().into(), routes.len() as u32);
            routes.push(built_in_route("guardrail-webhook", RouteKind::Proxy { upstream: *upstream }, sources));
        }
    }
    asks.end = routes.len() as u32;
    asks
}

/// The model API is open to every key; what it may use there is decided model by model.
fn built_in_route(name: &str, kind: RouteKind, sources: &Sources) -> RoutePlan {
    #[expect(clippy::expect_used, reason = "the names are literals above")]
    let name: Name = name.parse().expect("a valid name");
    let route = Route {
        name: name.clone(),
        description: None,
        matches: Match { hosts: vec![], path: "/v1/models".into(), methods: vec![], headers: BTreeMap::new() },
        upstream: Some(name),
        prompt: None,
        authenticate: vec![Authenticator::ApiKey],
        // Where Google's SDKs for browsers put it, which can send no header.
        key_in_query: matches!(kind, RouteKind::Live(_)).then(|| "key".into()),
        limit: None,
        headers: None,
        strip_prefix: None,
        max_body: None,
        websocket: kind.is_session(),
        mcp: None,
        secrets_in_requests: SecretsInRequests::Refuse,
        secrets_in_answers: SecretsInAnswers::Report,
        retry: Retry::default(),
    };
    let policies = registry::REGISTRY.iter().filter(|e| e.kind != allow::KIND);
    let policies = policies.filter_map(|e| (e.build)(&route, &sources.rates)).collect();
    RoutePlan {
        policies: PolicyList::BuiltIn(policies),
        max_body: match kind {
            RouteKind::Batch(BatchRoute::Upload | BatchRoute::GeminiPiece) => MAX_UPLOAD,
            _ => sources.max_model_body,
        },
        ..compile_route(&route, kind, None, &sources.rates)
    }
}

/// How a provider wants its credential where the configuration does not say. An access token is a bearer's with every
/// provider (RFC 6750).
fn usual_inject(provider: Option<&Provider>, credential: &Name, token: bool) -> Inject {
    let usual = provider.map_or(DefaultInjector::Bearer, |p| p.injector);
    match if token { DefaultInjector::Bearer } else { usual } {
        DefaultInjector::Bearer => Inject { bearer: Some(credential.clone()), ..Inject::default() },
        DefaultInjector::Header(name) => {
            let header = HeaderInject { name: name.into(), credential: credential.clone(), prefix: String::new() };
            Inject { header: Some(header), ..Inject::default() }
        }
    }
}

/// What tells a target from the others of its model, whatever their order and the versions of credentials.
fn place(target: &Target) -> u64 {
    let mut text = format!("{}\n{}", target.provider, target.model);
    target.own_credentials().for_each(|name| {
        text.push('\n');
        text.push_str(name.as_str());
    });
    affinity::of(text.as_bytes())
}

/// The rules of each set of guardrails.
fn guardrail_sets(set: &ResourceSet) -> HashMap<&str, &[Guardrail]> {
    set.guardrails.iter().map(|g| (g.name.as_str(), g.rules.as_slice())).collect()
}

fn compile_models(set: &ResourceSet, upstreams: &mut Upstreams<'_>, budgets: &Arc<Book>) -> ModelPlans {
    let tokens: HashSet<&Name> =
        set.credentials.iter().filter(|c| c.engine.fetches_tokens()).map(|c| &c.name).collect();
    let sets = guardrail_sets(set);
    let prices = PriceTable::new(set.models.iter().flat_map(|m| &m.targets));
    let mut plans = ModelPlans::default();
    let quotas = budgets.quotas();
    let accounts = Accounts::of(set);
    let target_name =
        |model: &Model, target: &Target| format!("models/{}/{}/{}", model.name, target.provider, target.model);
    for model in &set.models {
        let mut targets = Vec::with_capacity(model.targets.len());
        for target in &model.targets {
            let upstream = upstreams.of_provider(&target.provider).unwrap_or_else(|| {
                let problem = format!("there is no provider {}", target.provider);
                upstreams.impaired(Kind::Models, &model.name, problem, model.targets.len() > 1);
                upstreams.nothing(&target.provider)
            });
            let declared = set.upstreams.iter().find(|u| u.provider.is_some() && u.name == target.provider);
            let dialect = declared.and_then(|u| u.provider.as_ref());
            let kind = provider::find(dialect.unwrap_or(&target.provider).as_str());
            // `openai` stands for any compatible server: what the provider itself keeps says nothing of another one.
            let own = |p: &&Provider| {
                declared.is_none_or(|u| u.endpoints.iter().all(|at| p.has_known_prices(at, &target.model)))
            };
            let at_home = kind.filter(own);
            let known = at_home.and_then(|p| catalogue::find(p.name, &target.model));
            let writes = target.max_output.or_else(|| known?.max_output.map(u64::from));
            let keeps = at_home.map_or(Keeps::MaxTokens, |p| p.limit.into());
            let keeps_of_responses = at_home.map_or(Keeps::Nothing, |_| Keeps::MaxOutputTokens);
            let mut own = |name: &Name| {
                let mut plan = upstreams.inject(&usual_inject(kind, name, tokens.contains(name)));
                if plan.credential == NO_CREDENTIAL {
                    let problem = format!("there is no credential {name}");
                    upstreams.impaired(Kind::Models, &model.name, problem, model.targets.len() > 1);
                }
                // The target names the credential, its upstream the way of injection.
                if let Some(inject) = declared.and_then(|u| u.inject.as_ref()) {
                    plan.way = upstreams.inject(inject).way;
                }
                plan
            };
            let keys: Box<[KeyPlan]> = target
                .pool(declared)
                .map(|TargetCredential { name, weight, limit }| KeyPlan {
                    inject: own(name),
                    weight: weight.max(1),
                    quota: quotas.live(Owner::PROVIDER, &format!("credentials/{name}"), limit, true),
                    place: affinity::of(name.as_str().as_bytes()),
                })
                .collect();
            let cooling = plans.coolings.len() as u32;
            let identity = upstreams.identity(upstream, &target.model);
            plans.coolings.push(match keys.is_empty() {
                true => upstreams.injecting_identity(upstream, &identity),
                false => identity.as_str().into(),
            });
            plans.coolings.extend(keys.iter().map(|key| upstreams.key_identity(&identity, key.inject.credential)));
            targets.push(TargetPlan {
                provider: target.provider.shared(),
                provider_model: target.model.as_str().into(),
                upstream,
                keys,
                weight: target.weight.max(1),
                priority: target.priority,
                place: place(target),
                internal: target.internal,
                abilities: Abilities::new(known, target.capabilities.as_deref(), target.context),
                timeout: target.timeout.map(Period::as_duration),
                cooling,
                dialect: kind.map_or(Dialect::OpenAi, |p| p.dialect),
                at_vertex: kind.is_some_and(provider::Provider::is_at_vertex),
                responses: kind.is_some_and(|p| p.responses),
                // `openai` stands for any compatible server: what it offers, only its owner knows.
                tasks: match kind.map_or(Tasks::ALL, |p| p.tasks) {
                    Tasks::OPENAI if at_home.is_none() => Tasks::ALL,
                    tasks => tasks,
                },
                counts: kind.and_then(|p| p.counts),
                ask_usage: kind.is_none_or(|p| p.ask_usage),
                limit: kind.map_or(LimitField::MaxTokens, |p| p.limit),
                keeps_thinking: kind.and_then(|p| p.keeps_thinking),
                call_ids: kind.map_or(CallIds::Usual, |p| p.call_ids),
                keeps,
                keeps_of_responses,
                longest: longest(target.max_output, known),
                most_output: writes.unwrap_or(DEFAULT_OUTPUT),
                writes,
                batch_price: prices.resolve_batch(target, at_home.map(|p| p.name)),
                price: prices.resolve(target, at_home.map(|p| p.name)),
                budgets: declared.map_or_else(Box::default, |upstream| {
                    let of = Budgets::of(upstream.budget.as_ref());
                    budgets.live_budgets(Kind::Upstreams, upstream.name.as_str(), of).collect()
                }),
                quota: quotas.live(Owner::PROVIDER, &target_name(model, target), target.limit.as_ref(), true),
            });
        }
        let name = model.name.shared();
        plans.by_name.insert(name.clone(), plans.list.len() as u32);
        let own = Budgets::of(model.budget.as_ref());
        let own = budgets.live_budgets(Kind::Models, model.name.as_str(), own).collect();
        let (secrets, secrets_back) = (model.secrets_in_requests, model.secrets_in_answers);
        let rules: Vec<_> = model.rules(|name| sets.get(name.as_str()).copied()).collect();
        let guardrails = guardrails::of(&sets, &model.use_guardrails, &rules);
        if let Some(Err(problem)) = &guardrails {
            upstreams.impaired(Kind::Models, &model.name, problem.clone(), false);
        }
        let declares = |t: &Target| t.capabilities.is_some() || t.context.is_some();
        let knows = targets.len() > 1 && targets.iter().any(|target| !target.abilities.is_nothing());
        let asks = knows || model.targets.iter().any(declares);
        let mut plan = ModelPlan {
            name,
            targets,
            route_by: model.route_by,
            sticky: model.sticky.clone(),
            hedge: model.hedge.map(|hedge| hedge.after.as_duration()),
            retry: model.retry.clone().filter(|retry| retry.times > 0),
            fall_back_on: model.fall_back_on.clone().into(),
            asks,
            deadline: None,
            budgets: own,
            quota: quotas.live(Owner::MODEL, model.name.as_str(), model.limit.as_ref(), true),
            secrets,
            secrets_back,
            guardrails,
            unjudged_realtime: model.allow_unjudged_realtime,
            names_stores: model.allow_shared_state || accounts.are_of_one(model),
            cache: None,
        };
        let usual = plan.may_try_again().then_some(Model::DEADLINE);
        plan.deadline = model.deadline.or(usual).map(Period::as_duration);
        plans.list.push(plan);
    }
    plans
}
