//! From where a key was used lately: who stays let in while it is in quarantine.
//!
//! The database is told by every node, some seconds later, from which networks each key was used; this node's own latest
//! ones are in its memory. Where that is not all, because the database was not told for so long yet, a node could not keep
//! some, or a key has more networks than are kept, this node's call log is read as well. Only requests that got past the gateway count: whoever
//! presented a wrong secret under the key's id is no client of it. IPv6 addresses count as their /64, because machines
//! change them.

use crate::{AdminState, api::leaks::SeenFrom, calls, error::ApiError, inventory::before, ports::NodeState};
use credentialflow_model::{Period, Timestamp, leak::client_network};
use credentialflow_store::{KeyNetworks, KeyRow, MOST_NETWORKS};
use credentialflow_telemetry::CallFilter;
use ipnet::{IpNet, Ipv4Net};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// How long the call log may be read, and how many calls are looked at.
const TIME: Duration = Duration::from_secs(8);
const MOST: u64 = 5_000_000;
/// Above so many addresses those of IPv4 are put together by /24; above it again, the rest is left out.
const ADDRESSES: usize = 500;

/// The networks of a key's clients within the time, and how sure that is.
pub(super) async fn by(state: &AdminState, key: &KeyRow, within: Period) -> Result<(Vec<IpNet>, SeenFrom), ApiError> {
    let since = before(state.now(), within);
    // Memory first: what is written meanwhile is in the database then.
    let last_use = state.telemetry.last_use();
    let waiting = last_use.networks_of(key.id);
    let stored = state.store.key_networks(key.id).await?;
    let begun = since.max(key.created);
    let lost = state.telemetry.networks_lost_at().max(Some(stored.lost)).is_some_and(|last| last >= begun);
    let all = knows_all(&stored, begun) && waiting.len() < MOST_NETWORKS && !lost;
    let lately = stored.networks.iter().filter(|(_, time)| *time >= since);
    let mut networks: BTreeSet<IpNet> = lately.filter_map(|(network, _)| network.parse().ok()).collect();
    networks.extend(waiting.into_iter().map(|(network, _)| network));
    let (mut from, mut complete) = (since, all);
    if !all {
        (from, complete) = by_call_log(state, key, since, &mut networks).await?;
        // What was too much for a node to note was perhaps too much for its call log.
        complete &= !lost;
    }
    if networks.len() > ADDRESSES {
        networks = networks.into_iter().map(wider).collect();
        complete &= networks.len() <= ADDRESSES;
    }
    let networks: Vec<_> = networks.into_iter().take(ADDRESSES).collect();
    let other_nodes = not_heard_out(state, all);
    let told = SeenFrom {
        since: from,
        networks: networks.iter().map(ToString::to_string).collect(),
        complete: complete && other_nodes.is_empty(),
        other_nodes,
    };
    Ok((networks, told))
}

/// Whether the database has every network from which the key was used since then.
fn knows_all(stored: &KeyNetworks, since: Timestamp) -> bool {
    let older = stored.networks.last().filter(|_| stored.networks.len() >= MOST_NETWORKS);
    stored.known_since <= since && older.is_none_or(|(_, time)| *time < since)
}

/// Adds what this node's call log tells, and the key's last use. Since when was looked, and whether all was.
async fn by_call_log(
    state: &AdminState,
    key: &KeyRow,
    since: Timestamp,
    networks: &mut BTreeSet<IpNet>,
) -> Result<(Timestamp, bool), ApiError> {
    let filter = CallFilter { key: Some(key.id), since: Some(since), ..CallFilter::default() };
    let (logged, walked) = calls::read(state, move |log| {
        let mut networks = BTreeSet::new();
        let walked = log.walk(&filter, MOST, Instant::now() + TIME, |call| {
            if call.outcome.let_through() {
                networks.insert(client_network(call.source));
            }
        })?;
        Ok((networks, walked))
    })
    .await?;
    networks.extend(logged);
    if let Some(used) = state.store.key_use(key.id).await?.filter(|used| used.last_time >= since) {
        networks.extend(used.last_source.parse().ok().map(client_network));
    }
    Ok((walked.since.unwrap_or(since), walked.complete))
}

/// The names of other nodes from which clients may be missing: those that were lost with what they had not written yet,
/// and all of them where the database does not tell what they saw.
fn not_heard_out(state: &AdminState, all_known: bool) -> Vec<String> {
    let nodes = state.dataplane.status().nodes.into_iter();
    let others = nodes.filter(|node| !node.answering && node.workers > 0);
    others.filter(|node| !all_known || node.state == NodeState::Lost).map(|node| node.name).collect()
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
    fn many_addresses_are_put_together() {
        for (source, put_together) in [
            ("10.1.2.3", "10.1.2.0/24"),
            ("::ffff:10.1.2.3", "10.1.2.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ] {
            assert_eq!(wider(client_network(source.parse().unwrap())).to_string(), put_together);
        }
    }

    #[test]
    fn the_database_knows_all_when_it_was_told_for_so_long_and_dropped_nothing_that_counts() {
        let at = Timestamp::from_secs;
        let stored = |known_since, count: usize, oldest| KeyNetworks {
            networks: (0..count).map(|n| (n.to_string(), at(oldest + (count - n) as i64 - 1))).collect(),
            known_since: at(known_since),
            lost: at(0),
        };
        for (since, stored, expected) in [
            (100, stored(100, 3, 500), true),
            (100, stored(101, 3, 500), false),
            (100, stored(50, MOST_NETWORKS - 1, 500), true),
            (100, stored(50, MOST_NETWORKS, 100), false),
            (100, stored(50, MOST_NETWORKS, 99), true),
            (100, stored(50, 0, 0), true),
        ] {
            assert_eq!(knows_all(&stored, at(since)), expected, "{since} {stored:?}");
        }
    }
}
