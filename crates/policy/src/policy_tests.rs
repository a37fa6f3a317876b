//! A small world for the tests of policies: one application, some routes and models, keys on demand.
#![allow(clippy::unwrap_used)]

use crate::*;
use credentialflow_model::{
    KeyId, KeyToken, Name, OutcomeReason, Period, SecretValue, Timestamp,
    leak::Quarantine,
    resource::{Allow, Application, Authenticator, Key, Limit, Route},
};
use std::{cell::RefCell, net::IpAddr, sync::Arc};

const ROUTES: [&str; 3] = ["orders", "chat", "secret"];
const MODELS: [&str; 2] = ["small", "large"];

struct Numbers;

impl Slots for Numbers {
    fn route(&self, name: &Name) -> Option<RouteSlot> {
        ROUTES.iter().position(|n| *n == name.as_str()).map(|i| RouteSlot(i as u32))
    }
    fn model(&self, name: &Name) -> Option<ModelSlot> {
        MODELS.iter().position(|n| *n == name.as_str()).map(|i| ModelSlot(i as u32))
    }
}

pub fn route(name: &str) -> Route {
    serde_json::from_value(serde_json::json!({
        "name": name, "match": { "path": "/" }, "upstream": "u", "authenticate": ["api_key"]
    }))
    .unwrap()
}

pub fn limit(requests: u32, secs: u64) -> Limit {
    Limit { requests: Some(requests), per: Some(Period::from_secs(secs)), ..Limit::default() }
}

pub fn allow(routes: &[&str], models: &[&str]) -> Allow {
    let names = |list: &[&str]| list.iter().map(|n| n.parse().unwrap()).collect();
    Allow { routes: names(routes), models: names(models), ..Allow::default() }
}

/// A token, its record, for the application `checkout`.
pub fn issue(id: u64, seed: u8, peppers: &Peppers) -> (SecretValue, KeyRecord) {
    let mut n = seed;
    let token = KeyToken::generate("cfk", "live", KeyId::from_bits(id), |b| {
        b.fill_with(|| {
            n = n.wrapping_mul(37).wrapping_add(11);
            n
        })
    })
    .unwrap();
    let parsed = KeyToken::parse(token.expose()).unwrap();
    let hash = peppers.hash(1, parsed.expose_secret()).unwrap();
    let record = KeyRecord {
        id: parsed.id,
        application: "checkout".parse().unwrap(),
        current: KeySecret { version: 1, hash, pepper: 1, retire_at: None },
        previous: None,
        expires: None,
        not_before: None,
        extras: None,
    };
    (token, record)
}

pub struct World {
    rules: ApplicationRules,
    table: RefCell<KeyTable>,
    peppers: Arc<Peppers>,
    rates: Arc<RateTable>,
    routes: Vec<Route>,
    pub source: IpAddr,
    pub monotonic_ns: u64,
}

impl World {
    /// From `application: routes a b, models c, prompts d, tools route x y, limit n` (a limit per minute).
    pub fn new(text: &str) -> Self {
        let (name, rest) = text.split_once(": ").unwrap();
        let mut application: Application = serde_json::from_value(serde_json::json!({ "name": name })).unwrap();
        for part in rest.split(", ") {
            let words: Vec<&str> = part.split(' ').collect();
            match words[0] {
                "routes" => application.allow.routes = words[1..].iter().map(|n| n.parse().unwrap()).collect(),
                "tools" => {
                    let tools = words[2..].iter().map(|tool| (*tool).to_owned()).collect();
                    application.allow.tools.insert(words[1].parse().unwrap(), tools);
                }
                "models" => application.allow.models = words[1..].iter().map(|n| n.parse().unwrap()).collect(),
                "prompts" => application.allow.prompts = words[1..].iter().map(|n| n.parse().unwrap()).collect(),
                _ => application.limit = Some(limit(words[1].parse().unwrap(), 60)),
            }
        }
        let table = KeyTable::empty().with_applications([&"earlier".parse().unwrap(), &application.name]);
        Self {
            rules: ApplicationRules::compile([&application], &[], &table, &Numbers, &Arc::default()),
            table: RefCell::new(table),
            peppers: Arc::new(Peppers::new([(1, &SecretValue::from("pepper"))])),
            rates: Arc::new(RateTable::new(4096, 42)),
            routes: ROUTES.map(route).into(),
            source: "192.0.2.1".parse().unwrap(),
            monotonic_ns: 1_000,
        }
    }

    fn route_mut(&mut self, name: &str) -> &mut Route {
        self.routes.iter_mut().find(|r| r.name.as_str() == name).unwrap()
    }

    pub fn open(&mut self, name: &str) {
        self.route_mut(name).authenticate = vec![Authenticator::None];
    }

    pub fn limit(&mut self, name: &str, limit: Limit) {
        self.route_mut(name).limit = Some(limit);
    }

    /// Issues a key and authenticates with it.
    pub fn key(&self, change: impl FnOnce(&mut Key)) -> Principal {
        let mut key: Key =
            serde_json::from_value(serde_json::json!({ "name": "k", "application": "checkout" })).unwrap();
        change(&mut key);
        let mut table = self.table.borrow_mut();
        let (token, mut record) = issue(table.len() as u64 + 1, 5, &self.peppers);
        record.extras = KeyExtras::of(&key, &Default::default());
        *table = table.with_changes([KeyChange::Put(record)]);
        ApiKey::new(self.peppers.clone()).authenticate(token.expose(), &table, Timestamp::from_secs(1)).unwrap()
    }

    /// The same for a key that comes from another one.
    pub fn below(&self, parent: &Principal, change: impl FnOnce(&mut Key)) -> Principal {
        let mut key: Key =
            serde_json::from_value(serde_json::json!({ "name": "k", "application": "checkout" })).unwrap();
        change(&mut key);
        let mut table = self.table.borrow_mut();
        let (token, mut record) = issue(table.len() as u64 + 1, 5, &self.peppers);
        let parent = parent.key().map(|key| ParentKey { key: key.key(), version: key.version() }).unwrap();
        record.extras = Some(KeyExtras::delegated(KeyExtras::of(&key, &Default::default()), parent));
        *table = table.with_changes([KeyChange::Put(record)]);
        ApiKey::new(self.peppers.clone()).authenticate(token.expose(), &table, Timestamp::from_secs(1)).unwrap()
    }

    /// The peppers that its keys are hashed with.
    pub fn peppers(&self) -> Arc<Peppers> {
        self.peppers.clone()
    }

    /// Its keys.
    pub fn table(&self) -> KeyTable {
        self.table.borrow().clone()
    }

    /// Whoever a question about a call is asked for.
    pub fn asked_about(&self, application: Option<&str>, key: Option<KeyId>, at: i64) -> Option<Principal> {
        Principal::asked_about(&self.table.borrow(), application, key, Timestamp::from_secs(at))
    }

    /// Whether the limits of a caller have room, and it is not held back from everywhere.
    pub fn has_room(&self, key: &Principal) -> bool {
        let kinds = [rate_limit::KEY_KIND, rate_limit::APPLICATION_KIND, source_network::KIND];
        let route = &self.routes[0];
        let all = registry::REGISTRY.iter().filter(|e| kinds.contains(&e.kind));
        let facts = RequestFacts {
            method: "POST",
            path: "/",
            route: RouteSlot(0),
            route_name: route.name.as_str(),
            model: None,
            model_name: None,
            source: self.source,
            now: Timestamp::from_secs(1),
            monotonic_ns: self.monotonic_ns,
            applications: &self.rules,
        };
        all.filter_map(|e| (e.build)(route, &self.rates)).all(|policy| policy.has_room(&facts, key).is_ok())
    }

    /// The same for a key of another application.
    pub fn key_of(&self, application: &str) -> Principal {
        let table = self.table.borrow();
        let (token, mut record) = issue(table.len() as u64 + 1, 5, &self.peppers);
        record.application = application.parse().unwrap();
        let table = table.with_changes([KeyChange::Put(record)]);
        ApiKey::new(self.peppers.clone()).authenticate(token.expose(), &table, Timestamp::from_secs(1)).unwrap()
    }

    /// What a caller may use of an MCP server behind a route.
    pub fn mcp<'a>(&'a self, rules: &'a McpRules, route: &'a str, principal: &'a Principal) -> McpGrant<'a> {
        let slot = RouteSlot(ROUTES.iter().position(|n| *n == route).unwrap() as u32);
        McpGrant::of(rules, (slot, route), &self.rules, principal)
    }

    /// The same for a key whose secret leaked.
    pub fn quarantined(&self, change: impl FnOnce(&mut Key), quarantine: Quarantine) -> Principal {
        let mut key: Key =
            serde_json::from_value(serde_json::json!({ "name": "k", "application": "checkout" })).unwrap();
        change(&mut key);
        let mut table = self.table.borrow_mut();
        let (token, mut record) = issue(table.len() as u64 + 1, 5, &self.peppers);
        record.extras = Some(KeyExtras::quarantined(Some(&key), &Default::default(), quarantine));
        *table = table.with_changes([KeyChange::Put(record)]);
        ApiKey::new(self.peppers.clone()).authenticate(token.expose(), &table, Timestamp::from_secs(1)).unwrap()
    }

    fn run(&self, route: &str, model: Option<&str>, principal: &Principal) -> (Result<(), Refusal>, LimitReport) {
        let slot = ROUTES.iter().position(|n| *n == route).unwrap();
        let facts = RequestFacts {
            method: "GET",
            path: "/",
            route: RouteSlot(slot as u32),
            route_name: route,
            model: model.map(|m| Numbers.model(&m.parse().unwrap()).unwrap()),
            model_name: model,
            source: self.source,
            now: Timestamp::from_secs(1),
            monotonic_ns: self.monotonic_ns,
            applications: &self.rules,
        };
        let mut report = LimitReport::default();
        let policies = RoutePolicies::compile(&self.routes[slot], &self.rates);
        (policies.check(&facts, principal, &mut report), report)
    }

    pub fn check(&self, route: &str, model: Option<&str>, principal: &Principal) -> Result<(), OutcomeReason> {
        self.run(route, model, principal).0.map_err(|refusal| refusal.reason)
    }

    pub fn may_use_prompt(&self, name: &str, principal: &Principal) -> bool {
        crate::allow::may_use_prompt(&self.rules, principal, name)
    }

    pub fn refusal(&self, route: &str, model: Option<&str>, principal: &Principal) -> (Refusal, LimitReport) {
        let (result, report) = self.run(route, model, principal);
        (result.unwrap_err(), report)
    }
}
