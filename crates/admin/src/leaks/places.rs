//! Which places of a leak are kept one by one, and how many others there were.
//!
//! A leak is one row, so it keeps few places: who is known finds room beside strangers, who could name any number of
//! them. What finds no room is counted. The count is written at once when it begins, and every ten minutes then: whoever
//! has one secret of ours must not make the audit log grow as fast as they send.

use crate::api::leaks::{LeakPlace, LeakView, Via};
use credentialflow_model::{Timestamp, leak::client_network};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Most places kept of one leak, and most of them told by who is not known.
const PLACES: usize = 20;
const OF_STRANGERS: usize = 10;
/// Between two times at which the count of further ones is written, in microseconds.
const APART: i64 = 600_000_000;

/// Whether there is room for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It is kept already.
    Known,
    Free,
    None,
}

pub(super) fn room(kept: &[LeakPlace], place: &LeakPlace) -> Room {
    if kept.iter().any(|known| is_same(known, place)) {
        return Room::Known;
    }
    let strangers = kept.iter().filter(|known| is_of_stranger(known)).count();
    if kept.len() >= PLACES || (is_of_stranger(place) && strangers >= OF_STRANGERS) { Room::None } else { Room::Free }
}

/// Whether nobody knows who told of it: anybody may report, and some routes want no key.
fn is_of_stranger(place: &LeakPlace) -> bool {
    place.via == Via::Report || (place.via == Via::Traffic && place.key.is_none())
}

/// Whether both are the same place: a caller and its route, an upstream and the route on which it answered, our own log,
/// or what reporters say. A caller without a key is where it calls from.
fn is_same(one: &LeakPlace, other: &LeakPlace) -> bool {
    let way = |of: &LeakPlace| match of.via {
        Via::Report | Via::Administrator | Via::Github => None,
        met => Some(met),
    };
    let sent = |of: &LeakPlace| of.via == Via::Traffic;
    let caller = |of: &LeakPlace| {
        let source = of.source.as_ref().filter(|_| sent(of) && of.key.is_none());
        source.map(|source| source.parse::<IpAddr>().map(client_network).map_err(|_| source.clone()))
    };
    let place = |of: &LeakPlace| {
        let key = of.key.filter(|_| sent(of));
        (way(of), of.url.clone(), key, of.route.clone(), of.upstream.clone(), caller(of))
    };
    place(one) == place(other)
}

/// How many places of each leak found no room and are not written yet. They are lost when the process ends.
#[derive(Default)]
pub(super) struct Unkept(Mutex<HashMap<String, u64>>);

impl Unkept {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts so many more. How many are to be written now, if it is time.
    pub(super) fn count(&self, leak: &LeakView, more: u64, now: Timestamp) -> Option<u64> {
        let mut waiting = self.lock();
        let count = waiting.entry(leak.id.clone()).or_default();
        *count += more;
        let last = leak.body.more.as_ref().map(|more| more.last.time);
        last.is_none_or(|last| now.micros().saturating_sub(last.micros()) >= APART).then_some(*count)
    }

    /// So many are written.
    pub(super) fn written(&self, leak: &str, count: u64) {
        let mut waiting = self.lock();
        if let Some(left) = waiting.get_mut(leak) {
            *left = left.saturating_sub(count);
            if *left == 0 {
                waiting.remove(leak);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use credentialflow_model::KeyId;

    fn place(via: Via, source: &str, key: Option<u64>) -> LeakPlace {
        LeakPlace {
            via,
            reporter: "x".to_owned(),
            source: Some(source.to_owned()),
            url: None,
            note: None,
            application: None,
            key: key.map(KeyId::from_bits),
            route: Some("r".to_owned()),
            upstream: None,
            time: Timestamp::from_secs(1),
        }
    }

    #[test]
    fn callers_without_a_key_are_where_they_call_from() {
        let kept = [place(Via::Traffic, "192.0.2.1", None), place(Via::Traffic, "2001:db8::1", None)];
        for (other, expected) in [
            (place(Via::Traffic, "192.0.2.1", None), Room::Known),
            (place(Via::Traffic, "2001:db8::2", None), Room::Known),
            (place(Via::Traffic, "192.0.2.2", None), Room::Free),
            (place(Via::Traffic, "192.0.2.1", Some(7)), Room::Free),
        ] {
            assert_eq!(room(&kept, &other), expected, "{other:?}");
        }
        let kept = [place(Via::Traffic, "192.0.2.1", Some(7)), place(Via::Report, "192.0.2.1", None)];
        assert_eq!(room(&kept, &place(Via::Traffic, "192.0.2.9", Some(7))), Room::Known, "a key is one caller");
        assert_eq!(room(&kept, &place(Via::Report, "192.0.2.9", None)), Room::Known, "a report is what it says");
    }

    #[test]
    fn answers_are_told_by_upstream_and_route_whoever_asked() {
        let answer = |upstream: &str, key| LeakPlace {
            upstream: Some(upstream.to_owned()),
            ..place(Via::Answer, "192.0.2.1", key)
        };
        let kept = [answer("u", Some(7)), place(Via::Log, "", None)];
        for (other, expected) in [
            (answer("u", Some(8)), Room::Known),
            (answer("u", None), Room::Known),
            (answer("v", Some(7)), Room::Free),
            (LeakPlace { route: None, ..answer("u", Some(7)) }, Room::Free),
            (place(Via::Traffic, "192.0.2.1", Some(7)), Room::Free),
            (place(Via::Log, "", None), Room::Known),
        ] {
            assert_eq!(room(&kept, &other), expected, "{other:?}");
        }
    }

    #[test]
    fn strangers_leave_room_for_who_is_known() {
        let mut kept: Vec<_> = (0..OF_STRANGERS).map(|n| place(Via::Traffic, &format!("192.0.2.{n}"), None)).collect();
        let (stranger, known) = (place(Via::Traffic, "192.0.2.99", None), place(Via::Traffic, "192.0.2.99", Some(7)));
        assert_eq!((room(&kept, &stranger), room(&kept, &known)), (Room::None, Room::Free));
        assert_eq!(room(&kept, &kept[3]), Room::Known);
        kept.extend((0..OF_STRANGERS as u64).map(|key| place(Via::Traffic, "192.0.2.99", Some(key + 100))));
        assert_eq!(room(&kept, &known), Room::None);
        kept.truncate(OF_STRANGERS + 1);
        assert_eq!(room(&kept, &known), Room::Free);
    }
}
