//! The certificates that pass through, by where they were seen, and which of them end soon.
//!
//! A table with a bounded number of places. Nothing here is secret. Whoever sees a certificate tells it once for each
//! certificate, not for each connection.

use crate::{Certificate, Unreadable};
use credentialflow_model::Timestamp;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Places kept; further ones are counted and not kept.
pub const MOST_WATCHED: usize = 10_000;
const DAY: i64 = 86_400;

/// What sort of place a certificate was seen at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PlaceKind {
    /// A listener of ours presents it.
    Listener,
    /// A credential we hold.
    Credential,
    /// A server that we connect to presents it.
    Upstream,
    /// An authority of ours signs with it.
    Authority,
}

impl PlaceKind {
    /// As it is written in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::Credential => "credential",
            Self::Upstream => "upstream",
            Self::Authority => "authority",
        }
    }
}

/// Where a certificate was seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// What sort of place.
    pub kind: PlaceKind,
    /// Which listener, which credential, which `host:port`, or which mount of the run-time API.
    pub name: String,
}

/// How near the end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Time enough.
    Fine,
    /// At most 30 days are left; of certificates that live for less than 120 days, a quarter of that.
    Month,
    /// At most 7 days are left; of short-lived ones, an eighth of their life.
    Week,
    /// At most one day is left; of short-lived ones, a sixteenth of their life.
    Day,
    /// It is over.
    Expired,
}

impl Stage {
    /// How near this certificate's end is.
    pub fn of(certificate: &Certificate, now: Timestamp) -> Self {
        let (left, life) = (certificate.not_after.secs() - now.secs(), certificate.lifetime());
        if left <= 0 {
            Self::Expired
        } else if left <= DAY.min(life / 16) {
            Self::Day
        } else if left <= (7 * DAY).min(life / 8) {
            Self::Week
        } else if left <= (30 * DAY).min(life / 4) {
            Self::Month
        } else {
            Self::Fine
        }
    }
}

/// A certificate at its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Where.
    pub place: Place,
    /// The version, of a credential.
    pub version: Option<u32>,
    /// What it says.
    pub certificate: Certificate,
    /// The certificate itself (DER), and with it its chain where that is ours.
    pub der: Vec<u8>,
    /// The same and its chain as PEM, of a credential's.
    pub pem: Option<String>,
    /// When this certificate was first seen there.
    pub first_seen: Timestamp,
    /// When it was last seen there.
    pub last_seen: Timestamp,
    told: Stage,
}

/// Everything that was seen. Shared between threads; held for moments only.
#[derive(Debug, Default)]
pub struct Watch {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    places: BTreeMap<Place, Watched>,
    left_out: u64,
}

impl Watch {
    /// A certificate was seen at a place, where it takes the place of the one before. One that was seen earlier than
    /// what is known there is passed over.
    pub fn see(&self, place: Place, der: &[u8], at: Timestamp) -> Result<(), Unreadable> {
        self.put(place, der, at, at, None)
    }

    /// A version of a credential is in force; `pem` is its public part.
    pub fn hold(&self, name: &str, version: u32, der: &[u8], pem: &str, at: Timestamp) -> Result<(), Unreadable> {
        let place = Place { kind: PlaceKind::Credential, name: name.to_owned() };
        self.put(place, der, at, at, Some((version, pem)))
    }

    /// What was seen at a place from one moment to another, as somebody else kept it.
    pub fn recall(&self, place: Place, der: &[u8], first: Timestamp, last: Timestamp) -> Result<(), Unreadable> {
        self.put(place, der, first, last, None)
    }

    fn put(
        &self,
        place: Place,
        der: &[u8],
        first: Timestamp,
        last: Timestamp,
        held: Option<(u32, &str)>,
    ) -> Result<(), Unreadable> {
        let mut table = self.lock();
        if let Some(known) = table.places.get_mut(&place) {
            if known.der == der {
                known.first_seen = known.first_seen.min(first);
                known.last_seen = known.last_seen.max(last);
                known.version = held.map_or(known.version, |(version, _)| Some(version));
                return Ok(());
            }
            if last < known.last_seen {
                return Ok(());
            }
        } else if table.places.len() >= MOST_WATCHED {
            table.left_out += 1;
            return Ok(());
        }
        let watched = Watched {
            place: place.clone(),
            version: held.map(|(version, _)| version),
            certificate: Certificate::parse(der)?,
            der: der.to_vec(),
            pem: held.map(|(_, pem)| pem.to_owned()),
            first_seen: first,
            last_seen: last,
            told: Stage::Fine,
        };
        table.places.insert(place, watched);
        Ok(())
    }

    /// Forgets the places that are not to be kept.
    pub fn retain(&self, mut keep: impl FnMut(&Watched) -> bool) {
        self.lock().places.retain(|_, watched| keep(watched));
    }

    /// Everything, by kind and name.
    pub fn list(&self) -> Vec<Watched> {
        self.select(|watched| Some(watched.clone()))
    }

    /// What is wanted of those that are wanted, by kind and name.
    pub fn select<T>(&self, wanted: impl FnMut(&Watched) -> Option<T>) -> Vec<T> {
        self.lock().places.values().filter_map(wanted).collect()
    }

    /// What is held for a credential.
    pub fn of_credential(&self, name: &str) -> Option<Watched> {
        let place = Place { kind: PlaceKind::Credential, name: name.to_owned() };
        self.lock().places.get(&place).cloned()
    }

    /// Places and the ends of their certificates, in seconds since 1970.
    pub fn ends(&self) -> Vec<(Place, i64)> {
        self.lock().places.values().map(|w| (w.place.clone(), w.certificate.not_after.secs())).collect()
    }

    /// Certificates that came a stage nearer to their end since this was last asked. Each stage is told once.
    pub fn newly_due(&self, now: Timestamp) -> Vec<(Watched, Stage)> {
        let mut table = self.lock();
        let mut due = Vec::new();
        for watched in table.places.values_mut() {
            let stage = Stage::of(&watched.certificate, now);
            if stage > watched.told {
                due.push((watched.clone(), stage));
            }
            watched.told = stage;
        }
        due
    }

    /// How often a place was not kept, because there were too many.
    pub fn left_out(&self) -> u64 {
        self.lock().left_out
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A certificate that is valid from day 0 to a day.
    fn until(day: i64) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec!["a.example".into()]).unwrap();
        let at = |day: i64| rcgen::date_time_ymd(2026, 1, 1) + std::time::Duration::from_secs((day * DAY) as u64);
        (params.not_before, params.not_after) = (at(0), at(day));
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn day(day: i64) -> Timestamp {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        Timestamp::from_secs(start.secs() + day * DAY)
    }

    fn place(name: &str) -> Place {
        Place { kind: PlaceKind::Upstream, name: name.to_owned() }
    }

    #[test]
    fn each_stage_is_told_once_and_a_new_certificate_begins_anew() {
        let watch = Watch::default();
        watch.see(place("a:443"), &until(365), day(0)).unwrap();
        let stages: Vec<_> = [100, 334, 335, 336, 358, 363, 364, 364, 365, 400]
            .into_iter()
            .map(|d| watch.newly_due(day(d)).first().map(|(_, stage)| *stage))
            .collect();
        let (month, week, one, over) = (Stage::Month, Stage::Week, Stage::Day, Stage::Expired);
        let expected = [None, None, Some(month), None, Some(week), None, Some(one), None, Some(over), None];
        assert_eq!(stages, expected);
        watch.see(place("a:443"), &until(800), day(400)).unwrap();
        assert!(watch.newly_due(day(401)).is_empty());
        assert_eq!(watch.newly_due(day(775)).len(), 1);
    }

    #[test]
    fn short_lives_are_not_always_ending() {
        let certificate = Certificate::parse(&until(1)).unwrap();
        let at = |hour: i64| Stage::of(&certificate, Timestamp::from_secs(day(0).secs() + hour * 3600));
        assert_eq!(
            [at(0), at(16), at(18), at(21), at(23), at(24)],
            [Stage::Fine, Stage::Fine, Stage::Month, Stage::Week, Stage::Day, Stage::Expired]
        );
    }

    #[test]
    fn what_is_older_does_not_come_back_over_what_is_newer() {
        let watch = Watch::default();
        let (old, new) = (until(10), until(20));
        watch.see(place("a:443"), &new, day(5)).unwrap();
        watch.recall(place("a:443"), &old, day(1), day(4)).unwrap();
        assert_eq!(watch.list()[0].der, new);
        watch.recall(place("a:443"), &new, day(2), day(9)).unwrap();
        assert_eq!((watch.list()[0].first_seen, watch.list()[0].last_seen), (day(2), day(9)));
        assert_eq!(watch.see(place("b:443"), b"nothing", day(1)), Err(Unreadable));
        watch.retain(|w| w.place.name != "a:443");
        assert!(watch.list().is_empty());
    }

    #[test]
    fn places_have_an_end() {
        let watch = Watch::default();
        let der = until(10);
        for i in 0..MOST_WATCHED + 3 {
            watch.see(place(&format!("{i}")), &der, day(1)).unwrap();
        }
        assert_eq!((watch.list().len(), watch.left_out()), (MOST_WATCHED, 3));
    }
}
