//! The one list of policies, in the order a request meets them.
//!
//! Authorizing comes before limiting, so that a request nobody may make uses up nobody's limit.
//! Among the limits the narrowest comes first, so that one key over its own limit does not use up
//! what its application and the route share with others.

use crate::{LimitReport, Policy, Principal, RateTable, Refusal, RequestFacts, allow, rate_limit, source_network};
use credentialflow_model::resource::Route;
use std::{fmt, sync::Arc};

/// When a policy has its say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// May this caller do this at all?
    Authorize,
    /// Not too often?
    Limit,
}

/// Builds a policy for a route, or nothing where the route has no use for it.
pub type Build = fn(&Route, &Arc<RateTable>) -> Option<Box<dyn Policy>>;

/// A kind of policy.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Its stable name.
    pub kind: &'static str,
    /// When it has its say.
    pub phase: Phase,
    /// Builds it for a route.
    pub build: Build,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.kind, self.phase)
    }
}

/// Every policy there is, in the order of checking.
pub const REGISTRY: &[Entry] = &[
    Entry { kind: allow::KIND, phase: Phase::Authorize, build: allow::build },
    Entry { kind: source_network::KIND, phase: Phase::Authorize, build: source_network::build },
    Entry { kind: rate_limit::KEY_KIND, phase: Phase::Limit, build: rate_limit::build_key },
    Entry { kind: rate_limit::APPLICATION_KIND, phase: Phase::Limit, build: rate_limit::build_application },
    Entry { kind: rate_limit::ROUTE_KIND, phase: Phase::Limit, build: rate_limit::build_route },
];

/// The policies of one route, in order.
pub struct RoutePolicies(Box<[Box<dyn Policy>]>);

impl RoutePolicies {
    /// Builds the policies of a route. `rates` holds the limits' counters; hand in the same table
    /// for every snapshot, so that a new configuration forgets no count.
    pub fn compile(route: &Route, rates: &Arc<RateTable>) -> Self {
        Self(REGISTRY.iter().filter_map(|entry| (entry.build)(route, rates)).collect())
    }

    /// Lets the request pass all policies, or gives the first refusal.
    pub fn check(
        &self,
        request: &RequestFacts<'_>,
        principal: &Principal,
        limits: &mut LimitReport,
    ) -> Result<(), Refusal> {
        self.0.iter().try_for_each(|policy| policy.check(request, principal, limits))
    }

    /// The names of the policies, in order.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|policy| policy.kind())
    }
}

impl fmt::Debug for RoutePolicies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.kinds()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_in_order_and_kinds_unique() {
        assert!(REGISTRY.is_sorted_by_key(|e| e.phase));
        for (i, entry) in REGISTRY.iter().enumerate() {
            assert!(REGISTRY[..i].iter().all(|e| e.kind != entry.kind), "{entry:?}");
        }
    }

    #[test]
    fn a_route_gets_its_policies_in_order() {
        let rates = Arc::new(RateTable::new(64, 1));
        let mut route = crate::policy_tests::route("orders");
        let kinds = |route: &Route| RoutePolicies::compile(route, &rates).kinds().collect::<Vec<_>>();
        assert_eq!(
            kinds(&route),
            [allow::KIND, source_network::KIND, rate_limit::KEY_KIND, rate_limit::APPLICATION_KIND]
        );
        route.limit = Some(crate::policy_tests::limit(5, 60));
        assert_eq!(kinds(&route).last(), Some(&rate_limit::ROUTE_KIND));
    }
}
