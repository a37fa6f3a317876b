//! When the next order is due, and how long to wait after one that failed. The time is handed in.

use credentialflow_certificates::Certificate;
use credentialflow_model::Timestamp;
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

/// First and longest wait after a failure, where the server was not reached, or broke off.
const AWAY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30 * 60));
/// The same where it said no: it counts what it refuses.
const JUDGED: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(6 * 3600));
/// What the server asks to wait is believed up to here.
const LONGEST_ASKED: Duration = Duration::from_secs(24 * 3600);

/// When a certificate is to be replaced: when two thirds of its life are over, and up to a twenty-fourth later, for
/// each certificate another part of it, so that what was made together is not renewed together.
pub fn renewal(certificate: &Certificate) -> Timestamp {
    let life = certificate.lifetime().max(0);
    let begun = certificate.not_before.secs();
    Timestamp::from_secs(begun + life / 3 * 2 + part(&certificate.serial, life / 24))
}

/// The same where the server suggests a time (RFC 9773): some moment of the window, for each certificate another one;
/// never so late that less than a twelfth of its life is left.
pub fn suggested_renewal(certificate: &Certificate, window: (Timestamp, Timestamp)) -> Timestamp {
    let (start, end) = (window.0.secs(), window.1.secs());
    let latest = certificate.not_after.secs() - certificate.lifetime().max(0) / 12;
    Timestamp::from_secs((start + part(&certificate.serial, end.saturating_sub(start))).min(latest))
}

/// From nothing to all of it, always the same for one text.
fn part(of: &str, all: i64) -> i64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    let thousandth = i64::try_from(hasher.finish() % 1000).unwrap_or(0);
    (i128::from(all.max(0)) * i128::from(thousandth) / 1000) as i64
}

/// How long to wait after so many failures in a row: twice as long each time, and up to a fifth more by `random`. Never
/// shorter than the server asked for.
pub fn pause(failures: u32, judged: bool, asked: Option<Duration>, random: u64) -> Duration {
    let (first, longest) = if judged { JUDGED } else { AWAY };
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(longest);
    let spread = doubled.mul_f64((random % 1000) as f64 / 5000.0);
    (doubled + spread).max(asked.unwrap_or_default().min(LONGEST_ASKED))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn lives(days: i64) -> Certificate {
        let mut params = rcgen::CertificateParams::new(vec!["a.example".into()]).unwrap();
        let start = rcgen::date_time_ymd(2026, 1, 1);
        (params.not_before, params.not_after) = (start, start + Duration::from_secs((days * 86_400) as u64));
        let key = rcgen::KeyPair::generate().unwrap();
        Certificate::parse(params.self_signed(&key).unwrap().der()).unwrap()
    }

    #[test]
    fn two_thirds_and_a_little_but_not_all_at_once() {
        let mut days = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let certificate = lives(90);
            let after = renewal(&certificate).secs() - certificate.not_before.secs();
            assert!((60 * 86_400..=64 * 86_400).contains(&after), "{after}");
            assert_eq!(renewal(&certificate), renewal(&certificate));
            days.insert(after / 3600);
        }
        assert!(days.len() > 5, "{days:?}");
    }

    #[test]
    fn a_suggested_time_is_kept_to_unless_it_is_too_late() {
        let certificate = lives(90);
        let day = |n: i64| Timestamp::from_secs(certificate.not_before.secs() + n * 86_400);
        let at = suggested_renewal(&certificate, (day(10), day(12)));
        assert!(day(10) <= at && at <= day(12));
        assert!(suggested_renewal(&certificate, (day(100), day(200))) < day(84));
        assert_eq!(suggested_renewal(&certificate, (day(5), day(1))), day(5), "a window that ends before it begins");
    }

    #[test]
    fn failures_wait_longer_and_longer() {
        let seconds = |failures, judged| pause(failures, judged, None, 0).as_secs();
        assert_eq!([1, 2, 3, 4].map(|n| seconds(n, false)), [5, 10, 20, 40]);
        assert_eq!([1, 2, 3].map(|n| seconds(n, true)), [30, 60, 120]);
        assert_eq!((seconds(99, false), seconds(99, true)), (1800, 21_600));
        assert_eq!(pause(1, true, Some(Duration::from_secs(7200)), 0).as_secs(), 7200);
        assert_eq!(pause(1, true, Some(Duration::from_secs(1 << 40)), 0).as_secs(), 86_400);
    }

    proptest! {
        #[test]
        fn no_number_makes_it_overflow(failures: u32, judged: bool, asked: Option<u64>, random: u64) {
            let waited = pause(failures, judged, asked.map(Duration::from_secs), random);
            prop_assert!(waited >= Duration::from_secs(5) && waited <= LONGEST_ASKED);
        }
    }
}
