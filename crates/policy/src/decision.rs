//! What a policy answers: a refusal, and the state of the limits that were counted.

use credentialflow_model::OutcomeReason;
use std::time::Duration;

/// A request may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why, from the closed public list.
    pub reason: OutcomeReason,
    /// When another try makes sense (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// The limit that is exhausted.
    pub limit: Option<LimitState>,
}

impl Refusal {
    /// A refusal that says nothing but its reason.
    pub const fn new(reason: OutcomeReason) -> Self {
        Self { reason, retry_after: None, limit: None }
    }

    /// `Retry-After` in whole seconds, rounded up and at least 1 (RFC 9110, 10.2.3).
    pub fn retry_after_secs(&self) -> Option<u64> {
        self.retry_after.map(|d| (d.as_secs() + u64::from(d.subsec_nanos() > 0)).max(1))
    }
}

/// Where one limit stands after this request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitState {
    /// Which limit, as in `route`, `application`, `key` or `key-tokens`.
    pub policy: &'static str,
    /// Requests allowed per window, which is also the burst.
    pub limit: u32,
    /// Requests left right now.
    pub remaining: u32,
    /// Seconds until the whole limit is available again, rounded up.
    pub reset_secs: u64,
    /// Length of the window in seconds, rounded up.
    pub window_secs: u64,
}

/// The limits a request was counted against, at most one per scope. Lives on the stack.
#[derive(Clone, Copy, Debug, Default)]
pub struct LimitReport {
    states: [Option<LimitState>; Self::MOST],
}

impl LimitReport {
    /// Room for the limits of key, application and route, and for those of tokens.
    pub const MOST: usize = 6;

    /// Adds a state; one beyond [`Self::MOST`] replaces the roomiest so that the tightest stay visible.
    pub fn note(&mut self, state: LimitState) {
        if let Some(free) = self.states.iter_mut().find(|s| s.is_none()) {
            *free = Some(state);
        } else if let Some(roomiest) = self.states.iter_mut().max_by_key(|s| s.map(|s| s.remaining)) {
            *roomiest = Some(state);
        }
    }

    /// The limits counted, in the order they were checked.
    pub fn states(&self) -> impl Iterator<Item = &LimitState> {
        self.states.iter().flatten()
    }

    /// The limit with the fewest requests left; among equals the one that takes longest to recover.
    pub fn tightest(&self) -> Option<&LimitState> {
        self.states().min_by_key(|s| (s.remaining, u64::MAX - s.reset_secs))
    }

    /// Whether no limit was counted.
    pub fn is_empty(&self) -> bool {
        self.states[0].is_none()
    }

    /// Writes the value of the `RateLimit` field, as in `"key";r=9;t=6, "route";r=99;t=1`
    /// (draft-ietf-httpapi-ratelimit-headers-10).
    pub fn push_rate_limit(&self, out: &mut Vec<u8>) {
        self.push(out, |s| [(b";r=", s.remaining.into()), (b";t=", s.reset_secs)]);
    }

    /// Writes the value of the `RateLimit-Policy` field, as in `"key";q=10;w=60` (same draft).
    pub fn push_rate_limit_policy(&self, out: &mut Vec<u8>) {
        self.push(out, |s| [(b";q=", s.limit.into()), (b";w=", s.window_secs)]);
    }

    fn push(&self, out: &mut Vec<u8>, parameters: impl Fn(&LimitState) -> [(&'static [u8; 3], u64); 2]) {
        for (i, state) in self.states().enumerate() {
            out.extend_from_slice(if i > 0 { b", \"" } else { b"\"" });
            out.extend_from_slice(state.policy.as_bytes());
            out.push(b'"');
            for (name, value) in parameters(state) {
                out.extend_from_slice(name);
                out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(policy: &'static str, remaining: u32) -> LimitState {
        LimitState { policy, limit: 10, remaining, reset_secs: 6, window_secs: 60 }
    }

    #[test]
    fn fields_name_every_limit_and_the_tightest_is_found() {
        let mut report = LimitReport::default();
        assert!(report.is_empty());
        report.note(state("key", 9));
        report.note(state("route", 2));
        let text = |push: fn(&LimitReport, &mut Vec<u8>)| {
            let mut out = Vec::new();
            push(&report, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(LimitReport::push_rate_limit), "\"key\";r=9;t=6, \"route\";r=2;t=6");
        assert_eq!(text(LimitReport::push_rate_limit_policy), "\"key\";q=10;w=60, \"route\";q=10;w=60");
        assert_eq!(report.tightest().unwrap().policy, "route");
        for name in ["application", "key-tokens", "application-tokens", "team-tokens"] {
            report.note(state(name, 5));
        }
        report.note(state("extra", 0));
        assert_eq!(report.tightest().unwrap().policy, "extra");
        assert_eq!(report.states().count(), LimitReport::MOST);
    }

    #[test]
    fn retry_after_is_rounded_up() {
        let mut refusal = Refusal::new(OutcomeReason::RateLimited);
        assert_eq!(refusal.retry_after_secs(), None);
        for (ms, secs) in [(0, 1), (1, 1), (1000, 1), (1001, 2)] {
            refusal.retry_after = Some(Duration::from_millis(ms));
            assert_eq!(refusal.retry_after_secs(), Some(secs));
        }
    }
}
