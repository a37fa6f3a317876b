//! What only some keys have: narrowing, networks, a limit, metadata.

use crate::CompiledLimit;
use credentialflow_model::{Name, resource::Key};
use ipnet::IpNet;
use std::{net::IpAddr, sync::Arc};

/// What only some keys have. A key without any of it costs one empty pointer.
#[derive(Debug)]
pub struct KeyExtras {
    allow: Option<Narrowing>,
    networks: Box<[IpNet]>,
    limit: Option<CompiledLimit>,
    metadata: Box<[(Box<str>, Box<str>)]>,
}

#[derive(Debug)]
struct Narrowing {
    routes: Box<[Name]>,
    models: Box<[Name]>,
}

impl KeyExtras {
    /// The extras of a declared key; `None` when it has none.
    pub fn of(key: &Key) -> Option<Arc<Self>> {
        if key.allow.is_none() && key.networks.is_empty() && key.limit.is_none() && key.metadata.is_empty() {
            return None;
        }
        let allow =
            key.allow.as_ref().map(|allow| Narrowing { routes: sorted(&allow.routes), models: sorted(&allow.models) });
        Some(Arc::new(Self {
            allow,
            networks: key.networks.clone().into_boxed_slice(),
            limit: key.limit.as_ref().map(CompiledLimit::from),
            metadata: key.metadata.iter().map(|(k, v)| (k.as_str().into(), v.as_str().into())).collect(),
        }))
    }

    /// Whether the key itself allows this route; its application must allow it too.
    pub fn allows_route(&self, name: &str) -> bool {
        self.allow.as_ref().is_none_or(|allow| has(&allow.routes, name))
    }
    /// Whether the key itself allows this model; its application must allow it too.
    pub fn allows_model(&self, name: &str) -> bool {
        self.allow.as_ref().is_none_or(|allow| has(&allow.models, name))
    }
    /// Whether the key may be used from this address.
    pub fn allows_source(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(&source))
    }
    /// Its own rate limit.
    pub fn limit(&self) -> Option<&CompiledLimit> {
        self.limit.as_ref()
    }
    /// One of its facts, for header rules.
    pub fn metadata(&self, name: &str) -> Option<&str> {
        let at = self.metadata.binary_search_by(|(key, _)| (**key).cmp(name)).ok()?;
        Some(&self.metadata[at].1)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let names = self.allow.as_ref().map_or(0, |allow| size_of_val(&*allow.routes) + size_of_val(&*allow.models));
        let facts: usize = self.metadata.iter().map(|(k, v)| k.len() + v.len()).sum();
        size_of::<Self>() + 16 + names + size_of_val(&*self.networks) + size_of_val(&*self.metadata) + facts
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
