//! Who used which of a key's two secrets, while a rotation waits for callers to leave the older one.
//!
//! Nothing is noted of other keys. Bounded between two takes; what finds no room of its own is noted without route and
//! network, so that no use of an older secret is ever missed.

use credentialflow_model::{KeyId, Period, Timestamp, UsageRecord, leak::client_network};
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

/// Routes and networks told apart between two takes.
const MAX_PLACES: usize = 1024;

/// Uses of a key's secret since the last take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySecretDelta {
    /// The key.
    pub key: KeyId,
    /// Which of its secrets.
    pub version: u32,
    /// The route; empty where none matched, and where it is not told apart.
    pub route: Arc<str>,
    /// The network; empty where it is not told apart.
    pub source: String,
    /// When the last request ended.
    pub last_time: Timestamp,
    /// Requests.
    pub count: u64,
}

type Place = (KeyId, u32, Arc<str>, String);

#[derive(Debug, Default)]
pub(super) struct Secrets {
    places: HashMap<Place, (Timestamp, u64)>,
}

impl Secrets {
    pub fn add(&mut self, record: &UsageRecord) {
        let (Some(key), Some(shown)) = (record.key, record.secret) else { return };
        let nowhere = || (key, shown.version, Arc::from(""), String::new());
        let place = match shown.is_older {
            true => {
                let route = record.route.clone().unwrap_or_else(|| Arc::from(""));
                (key, shown.version, route, client_network(record.source).to_string())
            }
            // Who uses the one that stays is nobody to wait for.
            false => nowhere(),
        };
        let full = self.places.len() >= MAX_PLACES && !self.places.contains_key(&place);
        // A long request has used it until its end.
        let ended = record.time.plus(Period::from_millis(record.total_us.div_ceil(1000)));
        match self.places.entry(if full { nowhere() } else { place }) {
            Entry::Occupied(mut known) => {
                let (last, count) = known.get_mut();
                (*last, *count) = ((*last).max(ended), *count + 1);
            }
            Entry::Vacant(new) => drop(new.insert((ended, 1))),
        }
    }

    pub fn take(&mut self) -> Vec<KeySecretDelta> {
        let taken = std::mem::take(&mut self.places).into_iter();
        let delta = |((key, version, route, source), (last_time, count))| KeySecretDelta {
            key,
            version,
            route,
            source,
            last_time,
            count,
        };
        taken.map(delta).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::plain;
    use credentialflow_model::usage::SecretShown;

    fn shown(n: u64, version: u32, source: &str) -> UsageRecord {
        let secret = Some(SecretShown { version, is_older: version == 1 });
        UsageRecord { secret, source: source.parse().unwrap_or_else(|_| unreachable!()), ..plain(n) }
    }

    #[test]
    fn only_callers_that_show_the_older_one_are_told_apart() {
        let mut secrets = Secrets::default();
        secrets.add(&plain(1));
        assert_eq!(secrets.take(), [], "nothing is noted of keys that do not rotate");
        let records =
            [shown(1, 1, "10.0.0.1"), shown(9, 1, "10.0.0.1"), shown(3, 2, "10.0.0.2"), shown(4, 2, "10.0.0.3")];
        records.iter().for_each(|record| secrets.add(record));
        let mut taken = secrets.take();
        taken.sort_by_key(|delta| delta.version);
        let told: Vec<_> = taken.iter().map(|d| (d.version, &*d.route, d.source.as_str(), d.count)).collect();
        assert_eq!(told, [(1, "orders", "10.0.0.1/32", 2), (2, "", "", 2)]);
        assert_eq!(taken[0].last_time, records[1].time.plus(Period::from_millis(2)), "used until its end");
        assert_eq!(secrets.take(), []);
    }

    #[test]
    fn what_finds_no_room_is_noted_all_the_same() {
        let mut secrets = Secrets::default();
        for n in 0..MAX_PLACES as u64 + 5 {
            secrets.add(&shown(n, 1, &format!("10.0.{}.{}", n / 256, n % 256)));
        }
        let taken = secrets.take();
        let rest: Vec<_> = taken.iter().filter(|d| d.source.is_empty()).map(|d| (d.version, d.count)).collect();
        assert_eq!((taken.len(), rest), (MAX_PLACES + 1, vec![(1, 5)]));
    }
}
