//! What one resource cannot know of itself: names that lead nowhere, contradictions, values out of
//! bounds. Every problem of the whole set at once, each at its place.

mod access;
mod cache;
mod certificate;
mod credential;
mod delegation;
mod guardrail;
mod leak;
mod mcp;
mod pool;
mod prompt;
mod route;
mod routing;
mod store;
mod target;
mod token;
mod upstream;

use super::{
    SourceMap,
    decode::join,
    report::{Report, nearest, shown},
    source::ItemId,
};
use crate::{
    Name, Problems, ResourceSet,
    resource::{Engine, Guardrail, Key, Kind, Limit, Prompt, Resource, UpstreamCredential},
};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Builds a guardrail, or says why it cannot be built.
pub type BuildGuardrail = fn(&Guardrail) -> Result<(), String>;

/// What the check cannot find in the set itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// Names of the built-in model providers, as in `openai` and `sandbox`.
    pub providers: &'a [&'a str],
    /// Those of them that each customer has at another address, which an upstream must tell.
    pub own_address: &'a [&'a str],
    /// Tries whether a guardrail can be built; none is tried unless set.
    pub guardrail: Option<BuildGuardrail>,
    /// Keys that keys of the set come from and that are not in the set themselves.
    pub keys: &'a [Key],
}

/// Checks a whole set. `source` is what reading it gave, or the default for sets from elsewhere.
/// Problems of reading are not repeated; with both lists empty the set may be applied.
pub fn check(set: &ResourceSet, source: &SourceMap, context: &Context<'_>) -> Problems {
    let mut checker = Checker {
        source,
        context,
        names: HashSet::new(),
        upstream_providers: HashMap::new(),
        engines: HashMap::new(),
        keys: HashMap::new(),
        guardrails: HashMap::new(),
        guarded: HashSet::new(),
        prompts: HashMap::new(),
        report: Report::default(),
    };
    let mut seen = HashMap::new();
    for (set, partial) in [(set, false), (&source.partial, true)] {
        checker.unique(&set.teams, partial, &mut seen);
        checker.unique(&set.applications, partial, &mut seen);
        checker.unique(&set.keys, partial, &mut seen);
        checker.unique(&set.credentials, partial, &mut seen);
        checker.unique(&set.targets, partial, &mut seen);
        checker.unique(&set.stores, partial, &mut seen);
        checker.unique(&set.upstreams, partial, &mut seen);
        checker.unique(&set.routes, partial, &mut seen);
        checker.unique(&set.guardrails, partial, &mut seen);
        checker.unique(&set.models, partial, &mut seen);
        checker.unique(&set.prompts, partial, &mut seen);
        checker.unique(&set.leak_responses, partial, &mut seen);
        let guarded = set.models.iter().filter(|m| !(m.guardrails.is_empty() && m.use_guardrails.is_empty()));
        checker.guarded.extend(guarded.map(|m| m.name.as_str()));
        checker.guardrails.extend(set.guardrails.iter().map(|g| (g.name.as_str(), g.rules.as_slice())));
        checker.prompts.extend(set.prompts.iter().map(|p| (p.name.as_str(), p)));
        checker.engines.extend(set.credentials.iter().map(|c| (c.name.as_str(), c.engine)));
        let providing = set.upstreams.iter().filter(|u| u.provider.is_some());
        // Of one that could not be read whole, nobody knows what its credentials are for.
        let shares = providing.map(|u| (u.name.as_str(), if partial { &[][..] } else { u.credentials.as_slice() }));
        checker.upstream_providers.extend(shares);
    }
    for key in context.keys.iter().chain(&source.partial.keys).chain(&set.keys) {
        checker.keys.insert(key.name.as_str(), key);
        seen.entry((Kind::Keys, key.name.as_str())).or_insert(ItemId { kind: Kind::Keys, index: 0, partial: false });
    }
    checker.names.extend(seen.into_keys());
    checker.names.extend(source.unreadable.iter().map(|(kind, name)| (*kind, name.as_str())));
    let mut matches = route::Matches::default();
    let mut expressions = HashSet::new();
    for (set, partial) in [(set, false), (&source.partial, true)] {
        let id = |kind| move |index| ItemId { kind, index, partial };
        for (index, team) in set.teams.iter().enumerate() {
            checker.description(id(Kind::Teams)(index), team.description.as_deref());
            checker.notify(id(Kind::Teams)(index), team);
            checker.budgets(id(Kind::Teams)(index), team.budget.as_ref());
            checker.limit(id(Kind::Teams)(index), team.limit.as_ref());
        }
        for (index, credential) in set.credentials.iter().enumerate() {
            checker.credential(id(Kind::Credentials)(index), credential);
        }
        for (index, target) in set.targets.iter().enumerate() {
            checker.system(id(Kind::Targets)(index), target);
        }
        for (index, store) in set.stores.iter().enumerate() {
            checker.store(id(Kind::Stores)(index), store);
        }
        for (index, upstream) in set.upstreams.iter().enumerate() {
            checker.upstream(id(Kind::Upstreams)(index), upstream);
        }
        for (index, route) in set.routes.iter().enumerate() {
            checker.route(id(Kind::Routes)(index), route, &mut matches);
            let own = route.mcp.as_ref().map_or(&[][..], |mcp| &mcp.guardrails);
            checker.expressions((id(Kind::Routes)(index), "mcp.guardrails"), own, &mut expressions);
        }
        for (index, rules) in set.guardrails.iter().enumerate() {
            checker.guardrail_set(id(Kind::Guardrails)(index), rules);
            checker.expressions((id(Kind::Guardrails)(index), "rules"), &rules.rules, &mut expressions);
        }
        for (index, model) in set.models.iter().enumerate() {
            checker.model(id(Kind::Models)(index), model);
            checker.expressions((id(Kind::Models)(index), "guardrails"), &model.guardrails, &mut expressions);
        }
        for (index, prompt) in set.prompts.iter().enumerate() {
            checker.prompt(id(Kind::Prompts)(index), prompt);
        }
        for (index, application) in set.applications.iter().enumerate() {
            checker.application(id(Kind::Applications)(index), application);
        }
        for (index, rules) in set.leak_responses.iter().enumerate() {
            checker.leak_response(id(Kind::LeakResponses)(index), rules);
        }
        for (index, key) in set.keys.iter().enumerate() {
            checker.key(id(Kind::Keys)(index), key);
        }
    }
    checker.credential_cycles(set);
    checker.report.finish()
}

/// The set's names and the problems found so far.
struct Checker<'a> {
    source: &'a SourceMap,
    context: &'a Context<'a>,
    names: HashSet<(Kind, &'a str)>,
    /// Upstreams with a provider, and what their models share.
    upstream_providers: HashMap<&'a str, &'a [UpstreamCredential]>,
    /// What makes each credential's values.
    engines: HashMap<&'a str, Engine>,
    /// Keys by name, also those that are not in the set.
    keys: HashMap<&'a str, &'a Key>,
    /// The rules of each set of guardrails.
    guardrails: HashMap<&'a str, &'a [Guardrail]>,
    /// The models that have guardrails.
    guarded: HashSet<&'a str>,
    /// The prompts, by name.
    prompts: HashMap<&'a str, &'a Prompt>,
    report: Report,
}

impl<'a> Checker<'a> {
    /// Records a problem at a path of an item, unless the value there is a stand-in.
    fn problem(&mut self, id: ItemId, path: &str, code: &str, detail: impl Into<String>, hint: &str) {
        if let Some(found) = self.source.find(id, path) {
            let hint = (!hint.is_empty()).then(|| hint.to_owned());
            self.report.add(found.file, found.at, join(&found.item, path), code, detail, hint);
        }
    }

    /// Names within a kind are unique; the later one is the problem.
    fn unique<T: Resource>(&mut self, list: &'a [T], partial: bool, seen: &mut HashMap<(Kind, &'a str), ItemId>) {
        for (index, resource) in list.iter().enumerate() {
            let id = ItemId { kind: T::KIND, index, partial };
            let name = resource.name().as_str();
            let Some(first) = seen.get(&(T::KIND, name)).copied() else {
                seen.insert((T::KIND, name), id);
                continue;
            };
            let place = match self.source.find(first, "name") {
                Some(found) if found.at.line > 0 => {
                    format!("the first is in {} line {}", found.file.unwrap_or("the text"), found.at.line)
                }
                Some(found) => format!("the first is {}", found.item),
                None => String::new(),
            };
            let detail = format!("the name {} is taken twice in {}", shown(name), T::KIND.as_str());
            self.problem(id, "name", "duplicate_name", detail, &place);
        }
    }

    /// A name must be declared.
    fn refers(&mut self, id: ItemId, path: &str, kind: Kind, name: &Name) {
        if self.source.incomplete || self.names.contains(&(kind, name.as_str())) {
            return;
        }
        let list = kind.as_str();
        let detail = format!("{} is not declared in {list}", shown(name.as_str()));
        let known = self.names.iter().filter(|(k, _)| *k == kind).map(|(_, n)| *n);
        let hint = match nearest(name.as_str(), known) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("declare it under {list}, or mend the name"),
        };
        self.problem(id, path, "unknown_name", detail, &hint);
    }

    fn description(&mut self, id: ItemId, description: Option<&str>) {
        if description.is_some_and(|d| d.chars().count() > 1000) {
            self.problem(id, "description", "too_long", "the description is longer than 1000 characters", "shorten it");
        }
    }

    fn limit(&mut self, id: ItemId, limit: Option<&Limit>) {
        self.limit_at(id, "limit", limit);
    }

    fn limit_at(&mut self, id: ItemId, path: &str, limit: Option<&Limit>) {
        let Some(limit) = limit else { return };
        let at = |field: &str| format!("{path}.{field}");
        for (field, most) in [("requests", limit.requests), ("tokens", limit.tokens), ("concurrent", limit.concurrent)]
        {
            if most == Some(0) {
                let hint = "to refuse everything, take the route or the permission away";
                self.problem(id, &at(field), "out_of_bounds", "a limit takes at least 1", hint);
            }
        }
        let counts = limit.requests.or(limit.tokens);
        if counts.or(limit.concurrent).is_none() {
            let hint = "write `requests` or `tokens` with `per`, or `concurrent`";
            self.problem(id, path, "missing", "a limit limits something", hint);
        }
        match limit.per {
            Some(_) if counts.is_none() => {
                let hint = "remove it, or write `requests` or `tokens`";
                self.problem(id, &at("per"), "contradiction", "`per` is the time of `requests` and `tokens`", hint);
            }
            Some(per) if !(1000..=30 * 86_400_000).contains(&per.as_millis()) => {
                let detail = "a limit's period is 1 second to 30 days";
                self.problem(id, &at("per"), "out_of_bounds", detail, "write it as in 1s, 1m or 30d");
            }
            None if counts.is_some() => {
                let detail = "`requests` and `tokens` are counted in some time";
                self.problem(id, &at("per"), "missing", detail, "write `per`, as in 1m");
            }
            _ => {}
        }
        if limit.by.is_some() && id.kind != Kind::Routes {
            let detail = "`by` is for limits of routes only";
            self.problem(id, &at("by"), "not_here", detail, "remove it; here all requests count together");
        }
        for (field, set) in [("tokens", limit.tokens), ("concurrent", limit.concurrent)] {
            if set.is_some() && id.kind == Kind::Routes {
                let detail = format!("routes have no limit of `{field}`");
                self.problem(id, &at(field), "not_here", detail, "set it at keys, applications, teams or models");
            }
        }
    }

    fn metadata(&mut self, id: ItemId, metadata: &BTreeMap<String, String>) {
        let size: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        if metadata.len() > 64 || size > 8192 {
            let detail = "metadata has at most 64 entries and 8 KiB";
            self.problem(id, "metadata", "too_large", detail, "keep facts for policies and logs, not documents");
        }
        for name in metadata.keys() {
            if !crate::resource::is_metadata_name(name) {
                let detail = format!("{} cannot be a name of metadata", shown(name));
                let hint = "1 to 64 letters, digits and . _ -";
                self.problem(id, &format!("metadata.{name}"), "invalid_value", detail, hint);
            }
        }
    }

    /// A period no longer than `most`, given in words too.
    fn at_most(&mut self, id: ItemId, path: &str, period: crate::Period, most: u64, words: &str) {
        if period.as_millis() > most {
            self.problem(id, path, "out_of_bounds", format!("this is longer than {words}"), "shorten it");
        }
    }
}
