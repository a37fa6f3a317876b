//! What only some keys have: narrowing, networks, a limit, budgets, metadata, a quarantine, a parent.

use crate::{Book, CompiledLimit, LiveBudget, LiveQuota, Patterns, quota::Owner};
use credentialflow_model::{
    KeyId, Name,
    leak::Quarantine,
    resource::{Budgets, Key, Kind},
};
use ipnet::IpNet;
use std::{net::IpAddr, sync::Arc};

/// What only some keys have. A key without any of it costs one empty pointer.
#[derive(Debug)]
pub struct KeyExtras {
    allow: Option<Narrowing>,
    networks: Box<[IpNet]>,
    limit: Option<CompiledLimit>,
    quota: Option<Arc<LiveQuota>>,
    budgets: Box<[Arc<LiveBudget>]>,
    metadata: Box<[(Box<str>, Box<str>)]>,
    quarantine: Option<Box<Quarantine>>,
    parent: Option<ParentKey>,
    actor: Option<Box<str>>,
    subject: Option<Box<str>>,
}

/// The key that one comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParentKey {
    /// Its public half.
    pub key: KeyId,
    /// The secret of it that was in use, or was shown, when the other one was issued.
    pub version: u32,
}

#[derive(Debug)]
struct Narrowing {
    routes: Box<[Name]>,
    models: Box<[Name]>,
    prompts: Box<[Name]>,
    tools: Box<[(Name, Patterns)]>,
}

impl KeyExtras {
    /// The extras of a declared key, whose budgets are entered into `book`; `None` when it has none.
    pub fn of(key: &Key, book: &Arc<Book>) -> Option<Arc<Self>> {
        let budgets = Budgets::of(key.budget.as_ref());
        let plain = key.allow.is_none() && key.networks.is_empty() && key.limit.is_none() && key.metadata.is_empty();
        let actor = key.actor.as_ref().map(|actor| actor.name.as_str());
        let actor = actor.or(key.parent.as_ref().map(|_| key.name.as_str()));
        if plain && budgets.is_empty() && actor.is_none() && key.subject.is_none() {
            return None;
        }
        let allow = key.allow.as_ref().map(|allow| Narrowing {
            routes: sorted(&allow.routes),
            models: sorted(&allow.models),
            prompts: sorted(&allow.prompts),
            tools: allow.tools.iter().map(|(route, tools)| (route.clone(), Patterns::compile(tools))).collect(),
        });
        Some(Arc::new(Self {
            allow,
            networks: key.networks.clone().into_boxed_slice(),
            limit: key.limit.as_ref().and_then(CompiledLimit::of_requests),
            quota: book.quotas().live(Owner::KEY, key.name.as_str(), key.limit.as_ref(), false),
            budgets: book.live_budgets(Kind::Keys, key.name.as_str(), budgets).collect(),
            metadata: key.metadata.iter().map(|(k, v)| (k.as_str().into(), v.as_str().into())).collect(),
            actor: actor.map(Into::into),
            subject: key.subject.as_deref().map(Into::into),
            ..Self::nothing()
        }))
    }

    fn nothing() -> Self {
        Self {
            allow: None,
            networks: Box::default(),
            limit: None,
            quota: None,
            budgets: Box::default(),
            metadata: Box::default(),
            quarantine: None,
            parent: None,
            actor: None,
            subject: None,
        }
    }

    /// These extras, if any, of a key that comes from another one.
    pub fn delegated(extras: Option<Arc<Self>>, parent: ParentKey) -> Arc<Self> {
        let own = extras.and_then(Arc::into_inner).unwrap_or_else(Self::nothing);
        Arc::new(Self { parent: Some(parent), ..own })
    }

    /// The extras of a key that leaked: what it declares, if anything, and where it may still be used from.
    pub fn quarantined(key: Option<&Key>, book: &Arc<Book>, quarantine: Quarantine) -> Arc<Self> {
        let declared = key.and_then(|key| Self::of(key, book)).and_then(Arc::into_inner);
        Arc::new(Self { quarantine: Some(Box::new(quarantine)), ..declared.unwrap_or_else(Self::nothing) })
    }

    /// Whether the key itself allows this route; its application must allow it too.
    pub fn allows_route(&self, name: &str) -> bool {
        self.allow.as_ref().is_none_or(|allow| has(&allow.routes, name))
    }
    /// Whether the key itself allows this model; its application must allow it too.
    pub fn allows_model(&self, name: &str) -> bool {
        self.allow.as_ref().is_none_or(|allow| has(&allow.models, name))
    }
    /// Whether the key itself allows this prompt; its application must allow it too.
    pub fn allows_prompt(&self, name: &str) -> bool {
        self.allow.as_ref().is_none_or(|allow| has(&allow.prompts, name))
    }
    /// Whether the key itself has a list of the tools of this route.
    pub fn narrows_tools(&self, route: &str) -> bool {
        self.tools(route).is_some()
    }
    /// Whether the key itself allows this tool of a route; route and application must allow it too.
    pub fn allows_tool(&self, route: &str, name: &str) -> bool {
        self.tools(route).is_none_or(|tools| tools.fit(name))
    }
    fn tools(&self, route: &str) -> Option<&Patterns> {
        let tools = &self.allow.as_ref()?.tools;
        let at = tools.binary_search_by(|(name, _)| name.as_str().cmp(route)).ok()?;
        Some(&tools[at].1)
    }
    /// Whether the key may be used from this address.
    pub fn allows_source(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(&source))
    }
    /// Whether this secret of the key leaked and may not be used from this address any more.
    pub fn is_held_back(&self, version: u32, source: IpAddr) -> bool {
        self.quarantine.as_ref().is_some_and(|quarantine| !quarantine.allows(version, source))
    }
    /// Whether it is so from every address.
    pub fn is_held_back_everywhere(&self, version: u32) -> bool {
        let is_none = |quarantine: &Quarantine| version <= quarantine.through_version && quarantine.networks.is_empty();
        self.quarantine.as_deref().is_some_and(is_none)
    }
    /// The key that it comes from.
    pub fn parent(&self) -> Option<ParentKey> {
        self.parent
    }
    /// Who uses it.
    pub fn actor(&self) -> Option<&str> {
        self.actor.as_deref()
    }
    /// Whom its calls are for, where it says so itself.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }
    /// Its own rate limit.
    pub fn limit(&self) -> Option<&CompiledLimit> {
        self.limit.as_ref()
    }
    /// Its own limits of tokens and of requests at once.
    pub fn quota(&self) -> Option<&Arc<LiveQuota>> {
        self.quota.as_ref()
    }
    /// The budgets that model calls with it are charged to first.
    pub fn budgets(&self) -> &[Arc<LiveBudget>] {
        &self.budgets
    }
    /// One of its facts, for header rules.
    pub fn metadata(&self, name: &str) -> Option<&str> {
        let at = self.metadata.binary_search_by(|(key, _)| (**key).cmp(name)).ok()?;
        Some(&self.metadata[at].1)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let names = self.allow.as_ref().map_or(0, |allow| {
            let tools = allow.tools.iter().map(|(_, tools)| tools.memory_bytes()).sum::<usize>();
            let lists = [&allow.routes, &allow.models, &allow.prompts];
            lists.iter().map(|list| size_of_val(&***list)).sum::<usize>() + size_of_val(&*allow.tools) + tools
        });
        let facts: usize = self.metadata.iter().map(|(k, v)| k.len() + v.len()).sum();
        let quarantine = self.quarantine.as_ref().map_or(0, |q| size_of_val(&**q) + size_of_val(&*q.networks));
        let people = [&self.actor, &self.subject].into_iter().flatten().map(|text| text.len()).sum::<usize>();
        size_of::<Self>()
            + 16
            + people
            + names
            + size_of_val(&*self.networks)
            + size_of_val(&*self.budgets)
            + size_of_val(&*self.metadata)
            + facts
            + quarantine
    }
}

fn sorted(names: &[Name]) -> Box<[Name]> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names.into_boxed_slice()
}

fn has(names: &[Name], name: &str) -> bool {
    names.binary_search_by(|n| n.as_str().cmp(name)).is_ok()
}
