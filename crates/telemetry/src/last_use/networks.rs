//! From which networks keys were used, until the database knows.
//!
//! A network is noted when a request of the key was let through. What was written lately is remembered for ten minutes
//! and not written again, so that the usual client costs a write in ten minutes. All of it has an end: what finds no
//! room is counted, and noted again when the key is used from there again.

use credentialflow_model::{KeyId, Timestamp, leak::IpNet};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

/// Networks that wait to be written, as while the database is away.
const MAX_WAITING: usize = 1 << 16;
/// Networks that are known to be written.
const MAX_WRITTEN: usize = 1 << 15;
/// For so long what was written is not written again.
const REMEMBERED: Duration = Duration::from_secs(600);

/// A network from which a key was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyNetworkDelta {
    /// The key.
    pub key: KeyId,
    /// The network.
    pub network: IpNet,
    /// When a request came from there.
    pub last_time: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Networks {
    /// What the database may not know.
    waiting: HashMap<(KeyId, IpNet), Timestamp>,
    /// The same in the order in which it came, without what is being written.
    order: VecDeque<(KeyId, IpNet)>,
    written: HashSet<(KeyId, IpNet)>,
    /// When the first of these was written.
    written_since: Option<Instant>,
    pub lost: u64,
    /// The time of the last use of which that is so.
    pub lost_at: Option<Timestamp>,
}

impl Networks {
    /// Notes that a key was used from there. Whether it is news.
    pub fn note(&mut self, key: KeyId, network: IpNet, time: Timestamp) -> bool {
        let pair = (key, network);
        if let Some(known) = self.waiting.get_mut(&pair) {
            *known = time.max(*known);
            return false;
        }
        if self.written.contains(&pair) {
            return false;
        }
        if self.waiting.len() >= MAX_WAITING {
            self.lose(time);
            return false;
        }
        self.waiting.insert(pair, time);
        self.order.push_back(pair);
        true
    }

    /// Counts a use of which is not noted from where it was.
    pub fn lose(&mut self, time: Timestamp) {
        self.lost += 1;
        self.lost_at = self.lost_at.max(Some(time));
    }

    /// What has waited longest.
    pub fn take(&mut self, most: usize, now: Instant) -> Vec<KeyNetworkDelta> {
        let full = self.written.len() >= MAX_WRITTEN;
        if full || self.written_since.is_some_and(|since| now.duration_since(since) >= REMEMBERED) {
            (self.written, self.written_since) = (HashSet::new(), None);
        }
        let most = most.min(self.order.len());
        let taken = self.order.drain(..most);
        let delta = |(key, network)| {
            let last_time = *self.waiting.get(&(key, network))?;
            Some(KeyNetworkDelta { key, network, last_time })
        };
        taken.filter_map(delta).collect()
    }

    pub fn written(&mut self, written: &[KeyNetworkDelta], now: Instant) {
        for one in written {
            self.waiting.remove(&(one.key, one.network));
        }
        self.written_since = self.written_since.or(Some(now));
        let room = MAX_WRITTEN.saturating_sub(self.written.len());
        self.written.extend(written.iter().take(room).map(|one| (one.key, one.network)));
        if self.waiting.is_empty() {
            (self.waiting, self.order) = (HashMap::new(), VecDeque::new());
        }
    }

    pub fn not_written(&mut self, taken: &[KeyNetworkDelta]) {
        self.order.extend(taken.iter().map(|one| (one.key, one.network)));
    }

    pub fn of(&self, key: KeyId) -> Vec<(IpNet, Timestamp)> {
        self.waiting.iter().filter(|((of, _), _)| *of == key).map(|((_, network), time)| (*network, *time)).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KEY: KeyId = KeyId::from_bits(7);

    fn net(n: u32) -> IpNet {
        credentialflow_model::leak::client_network(std::net::Ipv4Addr::from(n).into())
    }

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn what_was_written_is_written_again_after_ten_minutes_of_use() {
        let (mut networks, now) = (Networks::default(), Instant::now());
        assert!(networks.note(KEY, net(1), at(5)));
        assert!(!networks.note(KEY, net(1), at(9)), "it is known, and its time moves on");
        assert!(networks.note(KEY, net(2), at(3)));
        assert!(networks.note(KeyId::from_bits(8), net(1), at(3)));
        let mut of = networks.of(KEY);
        of.sort();
        assert_eq!(of, [(net(1), at(9)), (net(2), at(3))]);

        let taken = networks.take(1, now);
        assert_eq!(taken, [KeyNetworkDelta { key: KEY, network: net(1), last_time: at(9) }]);
        assert_eq!(networks.of(KEY).len(), 2, "the database does not know yet");
        networks.not_written(&taken);
        let rest = networks.take(9, now);
        assert_eq!(rest.iter().map(|one| one.network).collect::<Vec<_>>(), [net(2), net(1), net(1)]);
        networks.written(&rest, now);
        assert!(networks.of(KEY).is_empty() && networks.take(9, now).is_empty());

        assert!(!networks.note(KEY, net(1), at(20)));
        assert!(networks.take(9, now + REMEMBERED - Duration::from_secs(1)).is_empty());
        assert!(!networks.note(KEY, net(1), at(21)));
        networks.take(9, now + REMEMBERED);
        assert!(networks.note(KEY, net(1), at(22)));
    }

    #[test]
    fn what_finds_no_room_is_counted_and_noted_later() {
        let (mut networks, now) = (Networks::default(), Instant::now());
        for n in 0..MAX_WAITING as u32 + 3 {
            networks.note(KEY, net(n), at(1));
        }
        assert_eq!((networks.lost, networks.of(KEY).len()), (3, MAX_WAITING));
        assert_eq!(networks.lost_at, Some(at(1)));
        let all = networks.take(usize::MAX, now);
        networks.written(&all, now);
        assert_eq!(networks.written.len(), MAX_WRITTEN);
        assert!(networks.note(KEY, net(MAX_WAITING as u32), at(2)));
        networks.take(0, now);
        assert!(networks.note(KEY, net(0), at(2)), "a full memory is begun anew");
    }
}
