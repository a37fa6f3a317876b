//! Finding the route of a request, at a cost that does not grow with the number of routes.
//!
//! Routes are kept by host, then in a trie of path segments with a hash table per node. Precedence
//! is written down at [`credentialflow_model::resource::Match`].

pub mod path;
mod trie;

use credentialflow_model::resource::Match;
use hashbrown::HashMap;
use trie::Trie;

/// A route's place in its snapshot.
pub type RouteIndex = u32;

/// What the router looks at.
pub struct Lookup<'a> {
    /// Host without port; compared without regard to case.
    pub host: &'a str,
    /// Path, normalised by [`path::normalise`].
    pub path: &'a str,
    /// Method.
    pub method: &'a str,
    /// Value of a header field, by lower-case name.
    pub header: &'a dyn Fn(&str) -> Option<&'a [u8]>,
}

/// What the router found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// This route takes the request.
    Route(RouteIndex),
    /// Routes match host, path and headers, but none takes the method.
    OtherMethod,
    /// Nothing matches.
    Nothing,
}

/// All routes, ready to be asked.
#[derive(Default)]
pub struct Router {
    exact: HashMap<Box<str>, Trie>,
    wildcard: HashMap<Box<str>, Trie>,
    any: Trie,
}

/// A header field's lower-case name and the value it must have.
type Condition = (Box<str>, Box<[u8]>);

/// The conditions of one route besides host and path.
#[derive(Debug)]
struct Candidate {
    route: RouteIndex,
    methods: Box<[Box<str>]>,
    headers: Box<[Condition]>,
}

impl Candidate {
    fn matches(&self, lookup: &Lookup<'_>, other_method: &mut bool) -> bool {
        if !self.headers.iter().all(|(name, value)| (lookup.header)(name) == Some(&**value)) {
            return false;
        }
        let method = self.methods.is_empty() || self.methods.iter().any(|m| **m == *lookup.method);
        *other_method |= !method;
        method
    }

    /// More header conditions first, then methods named, then the order given (names, sorted).
    fn rank(&self) -> (std::cmp::Reverse<usize>, bool, RouteIndex) {
        (std::cmp::Reverse(self.headers.len()), self.methods.is_empty(), self.route)
    }
}

impl Router {
    /// Builds the router. Routes come sorted by name, so that equal matches are decided by name.
    pub fn compile<'a>(routes: impl IntoIterator<Item = (RouteIndex, &'a Match)>) -> Self {
        let mut router = Self::default();
        for (route, m) in routes {
            let candidate = || Candidate {
                route,
                methods: m.methods.iter().map(|s| s.as_str().into()).collect(),
                headers: m.headers.iter().map(|(k, v)| (k.to_ascii_lowercase().into(), v.as_bytes().into())).collect(),
            };
            if m.hosts.is_empty() {
                router.any.insert(&m.path, candidate());
            }
            for host in &m.hosts {
                let host = host.to_ascii_lowercase();
                match host.strip_prefix("*.") {
                    Some(parent) => router.wildcard.entry(parent.into()).or_default().insert(&m.path, candidate()),
                    None => router.exact.entry(host.into()).or_default().insert(&m.path, candidate()),
                }
            }
        }
        for trie in router.exact.values_mut().chain(router.wildcard.values_mut()).chain([&mut router.any]) {
            trie.sort();
        }
        router
    }

    /// Finds the route.
    pub fn find(&self, lookup: &Lookup<'_>) -> Found {
        let mut other_method = false;
        let lower;
        let mut host = lookup.host;
        if host.bytes().any(|b| b.is_ascii_uppercase()) {
            lower = host.to_ascii_lowercase();
            host = &lower;
        }
        host = host.strip_suffix('.').unwrap_or(host);
        if let Some(route) = self.exact.get(host).and_then(|t| t.find(lookup, &mut other_method)) {
            return Found::Route(route);
        }
        if !self.wildcard.is_empty() {
            let mut rest = host;
            while let Some((_, parent)) = rest.split_once('.') {
                if let Some(route) = self.wildcard.get(parent).and_then(|t| t.find(lookup, &mut other_method)) {
                    return Found::Route(route);
                }
                rest = parent;
            }
        }
        match self.any.find(lookup, &mut other_method) {
            Some(route) => Found::Route(route),
            None if other_method => Found::OtherMethod,
            None => Found::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;
