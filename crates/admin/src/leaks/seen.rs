//! From where a key was used lately: who stays let in while it is in quarantine.
//!
//! The call log of this node and the key's last use, which all nodes share. Only requests that got past the gateway
//! count: whoever presented a wrong secret under the key's id is no client of it. IPv6 addresses count as their /64,
//! because machines change them.

use crate::{AdminState, api::leaks::SeenFrom, calls, error::ApiError, inventory::before, ports::NodeState};
use credentialflow_model::{Fault, KeyId, Period};
use credentialflow_telemetry::CallFilter;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

/// How long the call log may be read, and how many calls are looked at.
const TIME: Duration = Duration::from_secs(8);
const MOST: u64 = 5_000_000;
/// Above so many addresses those of IPv4 are put together by /24; above it again, the rest is left out.
const ADDRESSES: usize = 500;

/// The networks of a key's clients within the time, and how sure that is.
pub(super) async fn by(state: &AdminState, key: KeyId, within: Period) -> Result<(Vec<IpNet>, SeenFrom), ApiError> {
    let since = before(state.now(), within);
    let filter = CallFilter { key: Some(key), since: Some(since), ..CallFilter::default() };
    let (mut networks, walked) = calls::read(state, move |log| {
        let mut networks = BTreeSet::new();
        let walked = log.walk(&filter, MOST, Instant::now() + TIME, |call| {
            if matches!(call.outcome.fault(), Fault::None | Fault::Upstream) {
                networks.insert(network(call.source));
            }
        })?;
        Ok((networks, walked))
    })
    .await?;
    if let Some(used) = state.store.key_use(key).await?.filter(|used| used.last_time >= since) {
        networks.extend(used.last_source.parse().ok().map(network));
    }
    let mut complete = walked.complete;
    if networks.len() > ADDRESSES {
        networks = networks.into_iter().map(wider).collect();
        complete &= networks.len() <= ADDRESSES;
    }
    let networks: Vec<_> = networks.into_iter().take(ADDRESSES).collect();
    let nodes = state.dataplane.status().nodes;
    let others = nodes.into_iter().filter(|node| !node.answering && node.state == NodeState::Live && node.workers > 0);
    let other_nodes: Vec<_> = others.map(|node| node.name).collect();
    let told = SeenFrom {
        since: walked.since.unwrap_or(since),
        networks: networks.iter().map(ToString::to_string).collect(),
        complete: complete && other_nodes.is_empty(),
        other_nodes,
    };
    Ok((networks, told))
}

fn network(source: IpAddr) -> IpNet {
    match source.to_canonical() {
        IpAddr::V4(address) => IpNet::from(IpAddr::V4(address)),
        IpAddr::V6(address) => {
            Ipv6Net::new(address, 64).map_or(IpNet::from(IpAddr::V6(address)), |net| net.trunc().into())
        }
    }
}

fn wider(network: IpNet) -> IpNet {
    match network {
        IpNet::V4(four) => Ipv4Net::new(four.addr(), 24).map_or(network, |net| net.trunc().into()),
        IpNet::V6(_) => network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_as_networks() {
        for (source, expected, put_together) in [
            ("10.1.2.3", "10.1.2.3/32", "10.1.2.0/24"),
            ("::ffff:10.1.2.3", "10.1.2.3/32", "10.1.2.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", "2001:db8:1:2::/64"),
        ] {
            let network = network(source.parse().unwrap());
            assert_eq!((network.to_string().as_str(), wider(network).to_string().as_str()), (expected, put_together));
        }
    }
}
