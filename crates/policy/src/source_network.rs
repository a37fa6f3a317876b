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
//! into IPv6 counts as IPv4.

use crate::{LimitReport, Policy, Principal, RateTable, Refusal, RequestFacts};
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
        match principal.key().and_then(|key| key.extras()) {
            Some(extras) if !extras.allows_source(request.source) => Err(Refusal::new(OutcomeReason::SourceNotAllowed)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::policy_tests::World;
    use credentialflow_model::OutcomeReason::SourceNotAllowed;

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
}
