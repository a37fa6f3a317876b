//! What was really used: recorded requests added up by credential, in bounded memory.

use crate::Used;
use credentialflow_model::{KeyId, Timestamp};
use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    net::IpAddr,
    sync::Arc,
};

/// Keys and credentials told apart; further ones are counted as left out.
const MAX_SUBJECTS: usize = 200_000;
/// Names told apart for one credential.
const MAX_NAMES: usize = 1000;
/// Source addresses told apart for one credential.
const MAX_SOURCES: usize = 256;

/// One recorded request, as far as it says who used what.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When it began.
    pub time: Timestamp,
    /// The application that called.
    pub application: Option<Arc<str>>,
    /// The key it presented.
    pub key: Option<KeyId>,
    /// The route that matched.
    pub route: Option<Arc<str>>,
    /// The model asked for.
    pub model: Option<Arc<str>>,
    /// The credential injected, with its version.
    pub credential: Option<(Arc<str>, u32)>,
    /// Where it came from.
    pub source: IpAddr,
    /// Whether it was served.
    pub served: bool,
}

/// Some requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub requests: u64,
    /// How many of them were served.
    pub served: u64,
    /// When the last one began.
    pub last: Option<Timestamp>,
}

impl Tally {
    /// Counts one.
    pub fn add(&mut self, time: Timestamp, served: bool) {
        self.requests += 1;
        self.served += u64::from(served);
        self.last = self.last.max(Some(time));
    }
}

/// How one credential was used.
#[derive(Clone, Debug, Default)]
pub struct TrafficOf {
    /// All its requests.
    pub total: Tally,
    /// By route.
    pub routes: HashMap<Arc<str>, Tally>,
    /// By model.
    pub models: HashMap<Arc<str>, Tally>,
    /// By application.
    pub applications: HashMap<Arc<str>, Tally>,
    /// Different source addresses, at most 256.
    pub sources: HashSet<IpAddr>,
}

impl TrafficOf {
    fn add(&mut self, seen: &Seen) {
        self.total.add(seen.time, seen.served);
        count(&mut self.routes, seen.route.as_ref(), seen);
        count(&mut self.models, seen.model.as_ref(), seen);
        count(&mut self.applications, seen.application.as_ref(), seen);
        if self.sources.len() < MAX_SOURCES {
            self.sources.insert(seen.source);
        }
    }

    /// As the inventory shows it.
    pub fn used(&self) -> Used {
        Used {
            requests: self.total.requests,
            routes: busiest(&self.routes),
            models: busiest(&self.models),
            applications: busiest(&self.applications),
            sources: self.sources.len() as u64,
        }
    }
}

fn count(names: &mut HashMap<Arc<str>, Tally>, name: Option<&Arc<str>>, seen: &Seen) {
    let Some(name) = name else { return };
    if let Some(tally) = names.get_mut(name) {
        tally.add(seen.time, seen.served);
    } else if names.len() < MAX_NAMES {
        let mut tally = Tally::default();
        tally.add(seen.time, seen.served);
        names.insert(name.clone(), tally);
    }
}

fn busiest(names: &HashMap<Arc<str>, Tally>) -> Vec<String> {
    let mut all: Vec<_> = names.iter().collect();
    all.sort_by(|(a, x), (b, y)| y.requests.cmp(&x.requests).then_with(|| a.cmp(b)));
    all.into_iter().map(|(name, _)| name.to_string()).collect()
}

/// How every credential was used.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    keys: HashMap<KeyId, TrafficOf>,
    credentials: HashMap<Arc<str>, TrafficOf>,
    requests: u64,
    left_out: u64,
}

impl Traffic {
    /// Counts one request.
    pub fn add(&mut self, seen: &Seen) {
        self.requests += 1;
        if let Some(key) = seen.key {
            self.left_out += u64::from(!put(&mut self.keys, key, seen));
        }
        if let Some((name, _)) = &seen.credential {
            self.left_out += u64::from(!put(&mut self.credentials, name.clone(), seen));
        }
    }

    /// How a key was used.
    pub fn key(&self, id: KeyId) -> Option<&TrafficOf> {
        self.keys.get(&id)
    }

    /// How a credential was used.
    pub fn credential(&self, name: &str) -> Option<&TrafficOf> {
        self.credentials.get(name)
    }

    /// Requests counted.
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// Uses of credentials for which there was no room. While there are any, nobody can be said to be unused.
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }
}

/// Counts one request under an id; `false` when there is no room for another id.
fn put<K: Eq + Hash>(all: &mut HashMap<K, TrafficOf>, id: K, seen: &Seen) -> bool {
    if all.len() >= MAX_SUBJECTS && !all.contains_key(&id) {
        return false;
    }
    all.entry(id).or_default().add(seen);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    pub(crate) fn seen(n: u8, route: &str) -> Seen {
        Seen {
            time: Timestamp::from_secs(i64::from(n)),
            application: Some("checkout".into()),
            key: Some(KeyId::from_bits(7)),
            route: Some(route.into()),
            model: None,
            credential: Some(("orders-token".into(), 2)),
            source: Ipv4Addr::new(10, 0, 0, n).into(),
            served: !n.is_multiple_of(2),
        }
    }

    #[test]
    fn uses_add_up_for_key_and_credential() {
        let mut traffic = Traffic::default();
        for n in 0..5 {
            traffic.add(&seen(n, if n == 0 { "rare" } else { "orders" }));
        }
        let key = traffic.key(KeyId::from_bits(7)).unwrap();
        assert_eq!(key.total, Tally { requests: 5, served: 2, last: Some(Timestamp::from_secs(4)) });
        let used = traffic.credential("orders-token").unwrap().used();
        assert_eq!((used.routes, used.sources), (vec!["orders".to_owned(), "rare".to_owned()], 5));
        assert!(traffic.key(KeyId::from_bits(8)).is_none() && traffic.left_out() == 0);
    }

    #[test]
    fn sources_are_told_apart_only_so_far() {
        let mut traffic = Traffic::default();
        for n in 0..=255u8 {
            for m in 0..4 {
                traffic.add(&Seen { source: Ipv4Addr::new(10, 0, m, n).into(), ..seen(n, "orders") });
            }
        }
        assert_eq!(traffic.key(KeyId::from_bits(7)).unwrap().used().sources, 256);
    }
}
