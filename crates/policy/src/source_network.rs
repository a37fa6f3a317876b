//! `source_network`: a key is used only from the networks it names.
//!
//! When: for keys that belong to machines with known addresses; a stolen key is then worth little.
//!
//! Settings: `networks` of a key, IPv4 and IPv6 ranges in CIDR form; empty means everywhere.
//!
//! ```yaml
//! keys:
//!   - { name: billing, application: billing, networks: ["10.1.0.0/16", "2001:db8::/48"] }
//! ```
//!
//! Posture: refuses when the source is in none of the ranges. The source is the address the gateway
//! determined (the peer, unless a trusted proxy in front says otherwise); an IPv4 address mapped
//! into IPv6 counts as IPv4. A secret that leaked may be in quarantine: it is then refused, with a reason
//! of its own, from every address from which its key had not been used before. Both hold as well for the keys that a
//! key comes from.

use crate::{KeyPrincipal, LimitReport, Policy, Principal, RateTable, Refusal, RequestFacts};
use credentialflow_model::{OutcomeReason, resource::Route};
use std::sync::Arc;

/// The policy's name.
pub const KIND: &str = "source_network";

struct SourceNetwork;

pub(crate) fn build(_: &Route, _: &Arc<RateTable>) -> Option<Box<dyn Policy>> {
    Some(Box::new(SourceNetwork))
}

impl Policy for SourceNetwork {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn check(&self, request: &RequestFacts<'_>, principal: &Principal, _: &mut LimitReport) -> Result<(), Refusal> {
        let Some(key) = principal.key() else { return Ok(()) };
        if !key.allows_source(request.source) {
            return Err(Refusal::new(OutcomeReason::SourceNotAllowed));
        }
        if key.is_held_back(request.source) {
            return Err(Refusal::new(OutcomeReason::Quarantined));
        }
        Ok(())
    }

    fn has_room(&self, _: &RequestFacts<'_>, principal: &Principal) -> Result<(), Refusal> {
        match principal.key().is_some_and(KeyPrincipal::is_held_back_everywhere) {
            true => Err(Refusal::new(OutcomeReason::Quarantined)),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::policy_tests::World;
    use credentialflow_model::{
        OutcomeReason::{Quarantined, SourceNotAllowed},
        leak::Quarantine,
    };

    #[test]
    fn only_the_named_networks() {
        let mut world = World::new("checkout: routes orders");
        let key =
            world.key(|key| key.networks = vec!["10.1.0.0/16".parse().unwrap(), "2001:db8::/48".parse().unwrap()]);
        let anywhere = world.key(|_| {});
        for (source, inside) in [
            ("10.1.2.3", true),
            ("10.2.0.1", false),
            ("::ffff:10.1.2.3", true),
            ("2001:db8::1", true),
            ("2001:db9::1", false),
            ("::1", false),
        ] {
            world.source = source.parse().unwrap();
            let expected = if inside { Ok(()) } else { Err(SourceNotAllowed) };
            assert_eq!(world.check("orders", None, &key), expected, "{source}");
            assert_eq!(world.check("orders", None, &anywhere), Ok(()), "{source}");
        }
    }

    #[test]
    fn a_key_is_used_from_where_those_that_it_comes_from_are() {
        let mut world = World::new("checkout: routes orders");
        let parent = world.key(|key| key.networks = vec!["10.0.0.0/8".parse().unwrap()]);
        let below = world.below(&parent, |key| key.networks = vec!["10.1.0.0/16".parse().unwrap()]);
        let anywhere = world.below(&parent, |_| {});
        let networks = vec!["10.0.0.7/32".parse().unwrap()];
        let leaked = world.quarantined(|_| {}, Quarantine { through_version: 1, networks, ..Quarantine::closed() });
        let of_leaked = world.below(&leaked, |_| {});
        for (source, expected) in [
            ("10.1.0.1", [Ok(()), Ok(()), Err(Quarantined)]),
            ("10.0.0.7", [Err(SourceNotAllowed), Ok(()), Ok(())]),
            ("192.0.2.1", [Err(SourceNotAllowed), Err(SourceNotAllowed), Err(Quarantined)]),
        ] {
            world.source = source.parse().unwrap();
            let found = [&below, &anywhere, &of_leaked].map(|key| world.check("orders", None, key));
            assert_eq!(found, expected, "{source}");
        }
    }

    #[test]
    fn a_leaked_secret_is_held_to_where_it_was_used() {
        let mut world = World::new("checkout: routes orders");
        let networks = vec!["192.0.2.7/32".parse().unwrap()];
        let held = |through_version| Quarantine { through_version, networks: networks.clone(), ..Quarantine::closed() };
        let leaked = world.quarantined(|_| {}, held(1));
        let replaced = world.quarantined(|_| {}, held(0));
        let narrowed = world.quarantined(|key| key.networks = vec!["10.0.0.0/8".parse().unwrap()], held(1));
        for (source, expected) in [("192.0.2.7", Ok(())), ("::ffff:192.0.2.7", Ok(())), ("192.0.2.8", Err(Quarantined))]
        {
            world.source = source.parse().unwrap();
            assert_eq!(world.check("orders", None, &leaked), expected, "{source}");
            assert_eq!(world.check("orders", None, &replaced), Ok(()), "its new secret did not leak");
            assert_eq!(world.check("orders", None, &narrowed), Err(SourceNotAllowed), "its own networks still count");
        }
        world.source = "10.0.0.1".parse().unwrap();
        assert_eq!(world.check("orders", None, &narrowed), Err(Quarantined));
        // Asked about from nowhere, it has no room where it is held back from everywhere.
        let nowhere = world.quarantined(|_| {}, Quarantine { through_version: 1, ..Quarantine::closed() });
        let new_secret = world.quarantined(|_| {}, Quarantine { through_version: 0, ..Quarantine::closed() });
        let below = world.below(&nowhere, |_| {});
        let room = [&leaked, &new_secret, &nowhere, &below].map(|key| world.has_room(key));
        assert_eq!(room, [true, true, false, false]);
    }
}
