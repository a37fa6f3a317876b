//! `rate_limit`: no more requests than agreed, per key, per application and per route.
//!
//! When: to keep one caller from using up what all share.
//!
//! Settings: `limit` of keys, applications and routes (`requests`, `per`, on routes also `by`; the rest is [`crate::quota`]'s). An
//! even rate with a burst of as many requests at once (GCRA).
//!
//! ```yaml
//! routes:
//!   - { name: orders, limit: { requests: 100, per: 1m, by: source } }
//! ```
//!
//! Posture: every passed request is counted exactly once, also under parallel requests; a refused
//! one is not counted by the limit that refused it. Counts are shared by all workers of one process,
//! are not shared between processes and start afresh at a restart or when the limit's numbers change.
//! `by: key` and `by: application` count a caller without a key by its source.

use crate::{
    CompiledLimit, Decision, LimitReport, LimitState, Policy, Principal, RateKey, RateTable, Refusal, RequestFacts,
};
use credentialflow_model::{
    OutcomeReason,
    resource::{Route, Scope},
};
use std::{net::IpAddr, sync::Arc, time::Duration};

/// The name of the limit of keys.
pub const KEY_KIND: &str = "key_rate_limit";
/// The name of the limit of applications.
pub const APPLICATION_KIND: &str = "application_rate_limit";
/// The name of the limit of routes.
pub const ROUTE_KIND: &str = "route_rate_limit";

struct KeyRateLimit(Arc<RateTable>);
struct ApplicationRateLimit(Arc<RateTable>);
struct RouteRateLimit {
    rates: Arc<RateTable>,
    route: RateKey,
    by: Scope,
    limit: CompiledLimit,
}

pub(crate) fn build_key(_: &Route, rates: &Arc<RateTable>) -> Option<Box<dyn Policy>> {
    Some(Box::new(KeyRateLimit(rates.clone())))
}

pub(crate) fn build_application(_: &Route, rates: &Arc<RateTable>) -> Option<Box<dyn Policy>> {
    Some(Box::new(ApplicationRateLimit(rates.clone())))
}

pub(crate) fn build_route(route: &Route, rates: &Arc<RateTable>) -> Option<Box<dyn Policy>> {
    let limit = route.limit.as_ref()?;
    Some(Box::new(RouteRateLimit {
        rates: rates.clone(),
        route: RateKey::named("route", route.name.as_str()),
        by: limit.by.unwrap_or(Scope::Route),
        limit: CompiledLimit::of_requests(limit)?,
    }))
}

impl Policy for KeyRateLimit {
    fn kind(&self) -> &'static str {
        KEY_KIND
    }

    fn check(
        &self,
        request: &RequestFacts<'_>,
        principal: &Principal,
        limits: &mut LimitReport,
    ) -> Result<(), Refusal> {
        let Some(key) = principal.key() else { return Ok(()) };
        // Of keys that it comes from as well: the narrowest first, so that it uses up nothing of theirs when it is over its own.
        for (id, _, extras) in key.all_extras() {
            if let Some(limit) = extras.limit() {
                count(&self.0, "key", RateKey::of_key(id), limit, request, limits)?;
            }
        }
        Ok(())
    }

    fn has_room(&self, request: &RequestFacts<'_>, principal: &Principal) -> Result<(), Refusal> {
        let of = principal.key().into_iter().flat_map(|key| key.all_extras());
        let mut limits = of.filter_map(|(id, _, extras)| Some((id, extras.limit()?)));
        limits.try_for_each(|(id, limit)| peek(&self.0, "key", RateKey::of_key(id), limit, request))
    }
}

impl Policy for ApplicationRateLimit {
    fn kind(&self) -> &'static str {
        APPLICATION_KIND
    }

    fn check(
        &self,
        request: &RequestFacts<'_>,
        principal: &Principal,
        limits: &mut LimitReport,
    ) -> Result<(), Refusal> {
        let Some(key) = principal.key() else { return Ok(()) };
        match request.applications.get(key.application()).and_then(|rule| rule.limit()) {
            Some((who, limit)) => count(&self.0, "application", *who, limit, request, limits),
            None => Ok(()),
        }
    }

    fn has_room(&self, request: &RequestFacts<'_>, principal: &Principal) -> Result<(), Refusal> {
        let rule = principal.key().and_then(|key| request.applications.get(key.application()));
        let limit = rule.and_then(|rule| rule.limit());
        limit.map_or(Ok(()), |(who, limit)| peek(&self.0, "application", *who, limit, request))
    }
}

impl Policy for RouteRateLimit {
    fn kind(&self) -> &'static str {
        ROUTE_KIND
    }

    fn check(
        &self,
        request: &RequestFacts<'_>,
        principal: &Principal,
        limits: &mut LimitReport,
    ) -> Result<(), Refusal> {
        let by_source = || self.route.with(source_key(request.source));
        let who = match (self.by, principal.key()) {
            (Scope::Route, _) => self.route,
            (Scope::Key, Some(key)) => self.route.with(RateKey::of_key(key.key())),
            (Scope::Application, Some(key)) => self.route.with(RateKey::named("application", key.application_name())),
            (Scope::Source, _) | (Scope::Key | Scope::Application, None) => by_source(),
        };
        count(&self.rates, "route", who, &self.limit, request, limits)
    }
}

/// What counts as one source: an IPv4 address, or an IPv6 /64, which is what one customer gets.
pub fn source_key(source: IpAddr) -> RateKey {
    match source.to_canonical() {
        IpAddr::V4(v4) => RateKey::new(4, u64::from(v4.to_bits())).made_up(),
        IpAddr::V6(v6) => RateKey::new(6, (v6.to_bits() >> 64) as u64).made_up(),
    }
}

fn count(
    rates: &RateTable,
    policy: &'static str,
    who: RateKey,
    limit: &CompiledLimit,
    request: &RequestFacts<'_>,
    limits: &mut LimitReport,
) -> Result<(), Refusal> {
    let decision = rates.check(who, limit, request.monotonic_ns);
    limits.note(state(policy, limit, &decision));
    decided(policy, limit, &decision)
}

/// Whether it would pass; it is not counted.
fn peek(
    rates: &RateTable,
    policy: &'static str,
    who: RateKey,
    limit: &CompiledLimit,
    request: &RequestFacts<'_>,
) -> Result<(), Refusal> {
    decided(policy, limit, &rates.peek(who, limit, request.monotonic_ns))
}

fn decided(policy: &'static str, limit: &CompiledLimit, decision: &Decision) -> Result<(), Refusal> {
    if decision.allowed {
        return Ok(());
    }
    let limit = Some(state(policy, limit, decision));
    Err(Refusal { reason: OutcomeReason::RateLimited, retry_after: decision.retry_after, limit })
}

fn state(policy: &'static str, limit: &CompiledLimit, decision: &Decision) -> LimitState {
    LimitState {
        policy,
        limit: limit.requests(),
        remaining: decision.remaining,
        reset_secs: whole_secs(decision.reset_after),
        window_secs: whole_secs(limit.window()),
    }
}

fn whole_secs(d: Duration) -> u64 {
    d.as_secs() + u64::from(d.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy_tests::{World, limit};
    use credentialflow_model::OutcomeReason::RateLimited;

    fn passes(world: &World, key: &Principal, tries: u32) -> usize {
        (0..tries).filter(|_| world.check("orders", None, key).is_ok()).count()
    }

    #[test]
    fn key_and_application_limits() {
        let mut world = World::new("checkout: routes orders, limit 5");
        let (a, b) = (world.key(|key| key.limit = Some(limit(3, 60))), world.key(|_| {}));
        assert_eq!(passes(&world, &a, 10), 3);
        assert_eq!(passes(&world, &b, 10), 2, "what the first key left of the application's five");
        assert_eq!(world.check("orders", None, &b), Err(RateLimited));
        world.monotonic_ns += 60_000_000_000;
        assert_eq!(passes(&world, &b, 10), 5);
    }

    #[test]
    fn asking_for_room_counts_nothing() {
        let world = World::new("checkout: routes orders, limit 5");
        let (a, b) = (world.key(|key| key.limit = Some(limit(3, 60))), world.key(|_| {}));
        assert!((0..9).all(|_| world.has_room(&a)));
        assert_eq!(passes(&world, &a, 10), 3);
        assert!(!world.has_room(&a) && world.has_room(&b));
        assert_eq!(passes(&world, &b, 10), 2);
        assert!(!world.has_room(&b), "its application's are used up");
        let of = |application| world.asked_about(Some(application), None, 1);
        assert!(!world.has_room(&of("checkout").unwrap()));
        assert!(of("nobody").is_none());
    }

    #[test]
    fn whoever_is_asked_about_is_a_caller_that_there_is() {
        let world = World::new("checkout: routes orders");
        let parent = world.key(|key| key.limit = Some(limit(1, 60)));
        let below = world.below(&parent, |_| {});
        let id = below.key().unwrap().key();
        let asked = world.asked_about(Some("checkout"), Some(id), 1).unwrap();
        assert_eq!(asked.key().unwrap().ancestors().collect::<Vec<_>>(), [parent.key().unwrap().key()]);
        assert_eq!(passes(&world, &asked, 2), 1, "it has the limits of those that it comes from");
        assert!(world.asked_about(Some("earlier"), Some(id), 1).is_none(), "another application's");
        assert!(world.asked_about(None, Some(credentialflow_model::KeyId::from_bits(77)), 1).is_none());
        assert!(matches!(world.asked_about(None, None, 1), Some(Principal::Anonymous)));
    }

    #[test]
    fn the_limits_of_all_keys_of_a_chain_count() {
        let world = World::new("checkout: routes orders");
        let parent = world.key(|key| key.limit = Some(limit(5, 60)));
        let first = world.below(&parent, |key| key.limit = Some(limit(2, 60)));
        let second = world.below(&parent, |_| {});
        assert_eq!(passes(&world, &first, 9), 2, "its own");
        assert_eq!(passes(&world, &second, 9), 3, "what is left of its parent's");
        assert_eq!(passes(&world, &parent, 9), 0);
    }

    #[test]
    fn route_limit_by_each_scope() {
        for (scope, first_again, other_key, other_source) in
            [(Scope::Route, 0, 0, 0), (Scope::Key, 0, 2, 0), (Scope::Application, 0, 0, 0), (Scope::Source, 0, 0, 2)]
        {
            let mut world = World::new("checkout: routes orders");
            let (a, b) = (world.key(|_| {}), world.key(|_| {}));
            let mut two = limit(2, 60);
            two.by = Some(scope);
            world.limit("orders", two);
            assert_eq!(passes(&world, &a, 5), 2, "{scope:?}");
            assert_eq!(passes(&world, &a, 5), first_again, "{scope:?}");
            assert_eq!(passes(&world, &b, 5), other_key, "{scope:?}");
            world.source = "192.0.2.77".parse().unwrap();
            assert_eq!(passes(&world, &a, 5), other_source, "{scope:?}");
        }
    }

    #[test]
    fn nobody_is_counted_by_source() {
        let mut world = World::new("checkout: routes orders");
        world.open("orders");
        let mut two = limit(2, 60);
        two.by = Some(Scope::Key);
        world.limit("orders", two);
        assert_eq!(passes(&world, &Principal::Anonymous, 5), 2);
        world.source = "192.0.2.77".parse().unwrap();
        assert_eq!(passes(&world, &Principal::Anonymous, 5), 2);
    }

    #[test]
    fn refusals_say_when_to_return() {
        let mut world = World::new("checkout: routes orders");
        world.limit("orders", limit(2, 60));
        let key = world.key(|_| {});
        assert_eq!(passes(&world, &key, 2), 2);
        let (refusal, report) = world.refusal("orders", None, &key);
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(30)));
        let state = LimitState { policy: "route", limit: 2, remaining: 0, reset_secs: 60, window_secs: 60 };
        assert_eq!(refusal.limit, Some(state));
        assert_eq!(report.states().collect::<Vec<_>>(), [&state]);
    }

    #[test]
    fn an_ipv6_source_is_its_64() {
        let key = |text: &str| source_key(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }
}
