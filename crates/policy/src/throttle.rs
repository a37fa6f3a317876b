//! Slows down guessing: after too many failures from one source, or for one key id, further failures
//! are answered with 429 instead of 401.
//!
//! Asked only after an authentication has failed, so a valid key is never affected, whoever else fails
//! from the same address. Key ids count whether or not such a key exists, so that the answer reveals
//! nothing. A live secret of somebody else's in a request counts as a failure too, as it may have been guessed. Counts live in the same table as the rate limits, in the part of what anyone can make up:
//! however many sources fail with however many key ids, the state of no limit is lost to it. A source
//! that is over its own limit counts against no key id any more.

use crate::{AuthFailure, CompiledLimit, RateKey, RateTable, Refusal, rate_limit::source_key};
use credentialflow_model::{KeyId, OutcomeReason};
use std::{net::IpAddr, sync::Arc, time::Duration};

/// How many failures are answered as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleSettings {
    /// Failures a minute from one source (IPv4 address or IPv6 /64). 60 unless set.
    pub per_source: u32,
    /// Failures a minute for one key id. 20 unless set.
    pub per_key: u32,
}

impl Default for ThrottleSettings {
    fn default() -> Self {
        Self { per_source: 60, per_key: 20 }
    }
}

/// How to answer a failed authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureVerdict {
    /// `unauthenticated`, or `too_many_failures` with the time to wait.
    pub refusal: Refusal,
    /// The source has just become too many; true once in ten minutes, for one audit event.
    pub source_crossed: bool,
    /// The key id has just become too many; true once in ten minutes, for one audit event.
    pub key_crossed: bool,
}

/// What counting a failure told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// How long to wait, where there were too many.
    pub wait: Option<Duration>,
    /// The source has just become too many; true once in ten minutes, for one audit event.
    pub source_crossed: bool,
    /// The key id has just become too many; true once in ten minutes, for one audit event.
    pub key_crossed: bool,
}

/// Counts failed authentications.
#[derive(Debug)]
pub struct FailureThrottle {
    rates: Arc<RateTable>,
    per_source: CompiledLimit,
    per_key: CompiledLimit,
    announce: CompiledLimit,
}

const MINUTE: Duration = Duration::from_secs(60);
const ANNOUNCE: Duration = Duration::from_secs(600);

impl FailureThrottle {
    /// With the table the rate limits use.
    pub fn new(rates: Arc<RateTable>, settings: ThrottleSettings) -> Self {
        Self {
            rates,
            per_source: CompiledLimit::new(settings.per_source, MINUTE),
            per_key: CompiledLimit::new(settings.per_key, MINUTE),
            announce: CompiledLimit::new(1, ANNOUNCE),
        }
    }

    /// Counts a failure and says how to answer it. `now_ns` is the clock of the rate limits.
    pub fn failed(&self, source: IpAddr, failure: &AuthFailure, now_ns: u64) -> FailureVerdict {
        let Counted { wait, source_crossed, key_crossed } = self.count_failure(source, failure.claimed(), now_ns);
        let refusal = match wait {
            None => Refusal::new(failure.reason()),
            wait => Refusal { reason: OutcomeReason::TooManyFailures, retry_after: wait, limit: None },
        };
        FailureVerdict { refusal, source_crossed, key_crossed }
    }

    /// Counts something that is as good as a failure, of this key.
    pub fn count_failure(&self, source: IpAddr, key: Option<KeyId>, now_ns: u64) -> Counted {
        let source = RateKey::named("failure", "source").with(source_key(source));
        let key = key.map(|id| RateKey::named("failure", "key").with(RateKey::of_key(id)).made_up());
        let (source_wait, source_crossed) = self.count(source, &self.per_source, now_ns);
        let key = key.filter(|_| source_wait.is_none());
        let (key_wait, key_crossed) = key.map_or((None, false), |key| self.count(key, &self.per_key, now_ns));
        Counted { wait: source_wait.max(key_wait), source_crossed, key_crossed }
    }

    fn count(&self, who: RateKey, limit: &CompiledLimit, now_ns: u64) -> (Option<Duration>, bool) {
        let decision = self.rates.check(who, limit, now_ns);
        let announce = RateKey::named("failure", "announce").with(who);
        let crossed = !decision.allowed && self.rates.check(announce, &self.announce, now_ns).allowed;
        (decision.retry_after, crossed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ApiKey, KeyTable, Peppers, RateKey};
    use credentialflow_model::{KeyToken, Timestamp};
    use proptest::prelude::*;

    fn failure(id: Option<u64>) -> AuthFailure {
        let mut n = 0u8;
        let token = id.map(|id| {
            KeyToken::generate("cfk", "live", KeyId::from_bits(id), |b| {
                n = n.wrapping_add(7);
                b.fill(n);
            })
            .unwrap()
        });
        let presented = token.as_ref().map_or(b"wrong".as_slice(), |t| t.expose());
        let api_key = ApiKey::new(Arc::new(Peppers::new([])));
        api_key.authenticate(presented, &KeyTable::empty(), Timestamp::from_secs(1)).unwrap_err()
    }

    #[test]
    fn guessing_is_refused_and_announced_once() {
        let throttle = FailureThrottle::new(Arc::new(RateTable::new(64, 1)), ThrottleSettings::default());
        let source = "192.0.2.1".parse().unwrap();
        let verdicts: Vec<_> = (0..100).map(|_| throttle.failed(source, &failure(None), 0)).collect();
        assert_eq!(verdicts.iter().filter(|v| v.refusal.reason == OutcomeReason::Unauthenticated).count(), 60);
        assert!(verdicts[..60].iter().all(|v| v.refusal.retry_after.is_none()));
        assert!(verdicts[60..].iter().all(|v| v.refusal.retry_after == Some(Duration::from_secs(1))));
        assert_eq!(verdicts.iter().filter(|v| v.source_crossed).count(), 1);
        assert!(verdicts[60].source_crossed && verdicts.iter().all(|v| !v.key_crossed));
        let other = throttle.failed("192.0.2.2".parse().unwrap(), &failure(None), 0);
        assert_eq!(other.refusal.reason, OutcomeReason::Unauthenticated);
        let later = throttle.failed(source, &failure(None), 60_000_000_000);
        assert_eq!(later.refusal.reason, OutcomeReason::Unauthenticated);
    }

    proptest! {
        #[test]
        fn a_flood_of_sources_and_key_ids_gives_nobody_a_burst_anew(
            limits in prop::collection::vec((1u32..6, 1u64..100), 1..6),
            steps in prop::collection::vec((0usize..6, 0u64..20_000_000_000, any::<u64>()), 1..60),
            seed in any::<u64>(),
        ) {
            let rates = Arc::new(RateTable::new(64, seed));
            let throttle = FailureThrottle::new(rates.clone(), ThrottleSettings { per_source: 2, per_key: 2 });
            let memory = rates.memory_bytes();
            // The state of each honest key as a textbook keeps it.
            let mut arrivals = vec![0u64; limits.len()];
            let mut now = 0;
            for (who, step, flood) in steps {
                now += step;
                for n in 0..50u64 {
                    let bits = flood.wrapping_mul(n | 1).rotate_left(n as u32);
                    let source = IpAddr::from((u128::from(bits) << 64).to_be_bytes());
                    throttle.failed(source, &AuthFailure::claiming(KeyId::from_bits(bits)), now);
                    let by_source = RateKey::named("route", "open").with(source_key(source));
                    rates.check(by_source, &CompiledLimit::new(5, Duration::from_secs(86_400)), now);
                }
                let who = who % limits.len();
                let (requests, seconds) = limits[who];
                let limit = CompiledLimit::new(requests, Duration::from_secs(seconds));
                let interval = (seconds * 1_000_000_000).div_ceil(u64::from(requests));
                for _ in 0..3 {
                    let next = arrivals[who].max(now) + interval;
                    let passes = next - now <= interval * u64::from(requests);
                    if passes {
                        arrivals[who] = next;
                    }
                    let key = RateKey::named("key", "honest").with(RateKey::of_key(KeyId::from_bits(who as u64)));
                    prop_assert_eq!(rates.check(key, &limit, now).allowed, passes);
                }
            }
            prop_assert_eq!((rates.evictions(), rates.memory_bytes()), (0, memory));
        }
    }

    #[test]
    fn a_source_over_its_limit_counts_against_no_key() {
        let throttle =
            FailureThrottle::new(Arc::new(RateTable::new(64, 1)), ThrottleSettings { per_source: 3, per_key: 5 });
        let reason = |source: [u8; 4]| throttle.failed(source.into(), &failure(Some(9)), 0).refusal.reason;
        let first: Vec<_> = (0..50).map(|_| reason([192, 0, 2, 1])).collect();
        assert_eq!(first.iter().filter(|r| **r == OutcomeReason::Unauthenticated).count(), 3);
        // Two of the key's five are left for others.
        assert_eq!(reason([192, 0, 2, 2]), OutcomeReason::Unauthenticated);
        assert_eq!(reason([192, 0, 2, 2]), OutcomeReason::Unauthenticated);
        assert_eq!(reason([192, 0, 2, 3]), OutcomeReason::TooManyFailures);
    }

    #[test]
    fn one_key_id_from_many_sources() {
        let throttle = FailureThrottle::new(Arc::new(RateTable::new(4096, 1)), ThrottleSettings::default());
        let verdicts: Vec<_> =
            (0..40u8).map(|i| throttle.failed([198, 51, 100, i].into(), &failure(Some(9)), 0)).collect();
        assert_eq!(verdicts.iter().filter(|v| v.refusal.reason == OutcomeReason::Unauthenticated).count(), 20);
        assert_eq!(verdicts.iter().filter(|v| v.key_crossed).count(), 1);
        let other = throttle.failed([198, 51, 100, 99].into(), &failure(Some(10)), 0);
        assert_eq!(other.refusal.reason, OutcomeReason::Unauthenticated);
    }
}
