//! What a rotation has to remember between its steps, as stored in its row. Never a secret.

use crate::{Result, VaultError};
use credentialflow_model::{
    Period, Timestamp,
    resource::{CanaryRule, Credential, Engine, Overlap, RotateRule},
};
use credentialflow_store::RotationRow;
use serde::{Deserialize, Serialize};

/// The longest a drain may take unless the credential says otherwise.
pub const DEFAULT_DRAIN_LIMIT: Period = Period::from_secs(24 * 60 * 60);

/// A key's old secret is drained when nobody has used it for so long, unless its credential says otherwise.
pub const DEFAULT_QUIET: Period = Period::from_secs(60 * 60);

/// The memory of a rotation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// How long the old version stays valid.
    pub overlap: Overlap,
    /// The longest the drain may take.
    pub limit: Period,
    /// Whether the target accepted the new version when it was tried there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub verified: bool,
    /// When every worker had the new version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<Timestamp>,
    /// Set when the rotation is being taken back: why. The versions are already stored as before;
    /// the workers have still to be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_back: Option<String>,
    /// Why the present step is taking longer, told once per step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The share of the traffic that the new version gets first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryRule>,
    /// When every worker gave the new version its share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<Timestamp>,
    /// When the rotation went on after it had waited for somebody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub went_on: Option<Timestamp>,
    /// How often the credential is rotated by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Period>,
    /// Who approved the rotation, where it had to wait for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// Of a key's secret only: for how long nobody may have used the old one before it is drained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<Period>,
}

impl Progress {
    /// The memory of a rotation that begins, under a credential's rule.
    pub fn begin(rule: Option<&RotateRule>, overlap: Option<Overlap>) -> Self {
        let rule = rule.cloned().unwrap_or_default();
        Self {
            every: rule.every,
            approved_by: None,
            quiet: None,
            canary: rule.canary,
            shared: None,
            went_on: None,
            overlap: overlap.unwrap_or(rule.overlap),
            limit: rule.limit.unwrap_or(DEFAULT_DRAIN_LIMIT),
            verified: false,
            promoted: None,
            taken_back: None,
            message: None,
        }
    }

    /// The memory of a rotation of this credential that begins.
    pub fn of(credential: &Credential, overlap: Option<Overlap>) -> Self {
        let rule = credential.rotate.as_ref();
        let quiet = rule.and_then(|rule| rule.quiet).unwrap_or(DEFAULT_QUIET);
        Self { quiet: (credential.engine == Engine::Key).then_some(quiet), ..Self::begin(rule, overlap) }
    }

    /// The memory of a stored rotation.
    pub fn read(row: &RotationRow) -> Result<Self> {
        serde_json::from_value(row.detail.clone()).map_err(|_| VaultError::Corrupt("rotation's detail"))
    }

    /// As it is stored.
    pub fn stored(&self) -> Result<serde_json::Value> {
        serde_json::to_value(self).map_err(|_| VaultError::Corrupt("rotation"))
    }

    /// Milliseconds since every worker gave the new version its share; 0 before.
    pub fn since_shared_ms(&self, now: Timestamp) -> u64 {
        self.shared.map_or(0, |t| u64::try_from(now.micros() - t.micros()).unwrap_or(0) / 1000)
    }

    /// Milliseconds since every worker had the new version; 0 before.
    pub fn since_promotion_ms(&self, now: Timestamp) -> u64 {
        self.promoted.map_or(0, |t| u64::try_from(now.micros() - t.micros()).unwrap_or(0) / 1000)
    }
}

/// When a step that failed is tried again. Kept in memory only: after a restart it is tried at once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
    not_before: Option<Timestamp>,
}

impl Backoff {
    /// Notes a failed try; the next one comes after 200 ms, doubled each time up to 30 s.
    pub(crate) fn failed(&mut self, now: Timestamp) {
        let wait = (200u64 << self.attempts.min(10)).min(30_000);
        self.attempts = self.attempts.saturating_add(1);
        self.not_before = Some(now.plus(Period::from_millis(wait)));
    }

    /// Whether the last tries failed.
    pub(crate) fn is_stuck(&self) -> bool {
        self.attempts > 0
    }

    /// Whether it may be tried now.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.not_before.is_none_or(|t| t <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_spaced_out_but_never_given_up() {
        let mut backoff = Backoff::default();
        let mut now = Timestamp::from_secs(100);
        let mut waits = Vec::new();
        for _ in 0..40 {
            assert!(backoff.is_due(now));
            backoff.failed(now);
            assert!(!backoff.is_due(now));
            let next = backoff.not_before.unwrap();
            waits.push((next.micros() - now.micros()) / 1000);
            now = next;
        }
        assert_eq!(waits[..4], [200, 400, 800, 1600]);
        assert_eq!(waits[39], 30_000);
    }

    #[test]
    fn survives_storage_and_follows_the_rule() {
        let rule = RotateRule { overlap: "1h".to_owned().try_into().unwrap(), ..RotateRule::default() };
        let progress = Progress::begin(Some(&rule), None);
        assert_eq!(progress.overlap, Overlap::For(Period::from_secs(3600)));
        assert_eq!(progress.limit, DEFAULT_DRAIN_LIMIT);
        assert_eq!(Progress::begin(Some(&rule), Some(Overlap::UntilDrained)).overlap, Overlap::UntilDrained);
        let text = serde_json::to_string(&progress).unwrap();
        assert_eq!(serde_json::from_str::<Progress>(&text).unwrap(), progress);
    }
}
