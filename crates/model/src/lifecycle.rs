//! The life of a credential: one state machine for its versions, one for its rotation.
//!
//! ```text
//!          generate          verify            rotate           no traffic left, or limit over
//!  spec ──▶ Pending ───────▶ Current ────────▶ Previous ────────────────▶ Destroyed
//!              │ verify fails    │ lease ends      │
//!              ▼                 ▼                 │
//!            Failed            Expired             │
//!              └──────── revoke: from any live state ────▶ Revoked
//! ```

use serde::{Deserialize, Serialize};

/// Where one version of a credential, or one secret of a key, is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VersionState {
    /// Made and sealed, not yet proven.
    Pending,
    /// In use for a share of the traffic, beside the current one.
    Canary,
    /// The one in use.
    Current,
    /// Replaced, still valid until traffic has left it.
    Previous,
    /// Its sealed bytes are gone.
    Destroyed,
    /// Proven not to work; never used again.
    Failed,
    /// Its time is over.
    Expired,
    /// Withdrawn at once.
    Revoked,
}

/// What can happen to a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionEvent {
    /// It works at its target and is tried with a share of the traffic.
    Try,
    /// It works at its target and becomes the one in use.
    Promote,
    /// It does not work at its target.
    Refuse,
    /// A newer version was promoted over it.
    Supersede,
    /// The newer version was taken back, this one is in use again.
    Restore,
    /// Its time is over.
    Expire,
    /// It is withdrawn.
    Revoke,
    /// No traffic uses it any more; its bytes are destroyed.
    Destroy,
}

/// A step the life of a credential does not allow.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("a version that is {state:?} cannot {event:?}")]
pub struct InvalidTransition {
    /// Where it is.
    pub state: VersionState,
    /// What was asked.
    pub event: VersionEvent,
}

impl VersionState {
    /// The state after an event.
    pub fn after(self, event: VersionEvent) -> Result<Self, InvalidTransition> {
        use VersionEvent as E;
        use VersionState as S;
        match (self, event) {
            (S::Pending, E::Try) => Ok(S::Canary),
            (S::Pending | S::Canary, E::Promote) | (S::Previous, E::Restore) => Ok(S::Current),
            (S::Pending | S::Canary | S::Current, E::Refuse) => Ok(S::Failed),
            (S::Current, E::Supersede) => Ok(S::Previous),
            (S::Canary | S::Current | S::Previous, E::Expire) => Ok(S::Expired),
            (S::Pending | S::Canary | S::Current | S::Previous | S::Expired | S::Failed, E::Revoke) => Ok(S::Revoked),
            (S::Previous | S::Failed | S::Expired | S::Revoked, E::Destroy) => Ok(S::Destroyed),
            (state, event) => Err(InvalidTransition { state, event }),
        }
    }

    /// Whether the version may still be accepted or injected.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Canary | Self::Current | Self::Previous)
    }
}

/// Where a rotation stands. Each step is stored before it is taken, is safe to repeat, and so can
/// be resumed after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RotationStep {
    /// Due, and waiting until somebody approves it.
    Approve,
    /// Waiting until the next value is delivered: the credential's values come from somebody else.
    Deliver,
    /// The new version is being made and sealed.
    Generate,
    /// The new version is being tried at its target.
    Verify,
    /// A share of real traffic uses the new version; its refusals are watched.
    Canary,
    /// The new version is becoming the current one, on every worker.
    Promote,
    /// Real traffic uses the new version; its refusals are watched.
    Watch,
    /// Waiting until no request uses the old version, or the limit is over.
    Drain,
    /// The old version's sealed bytes are being destroyed.
    Destroy,
    /// Finished: the new version is current, the old one is gone.
    Done,
    /// Taken back: the old version is current, the new one failed.
    RolledBack,
}

impl RotationStep {
    /// The step after this one has succeeded.
    pub const fn next(self) -> Self {
        match self {
            Self::Approve => Self::Deliver,
            Self::Deliver => Self::Generate,
            Self::Generate => Self::Verify,
            Self::Verify => Self::Canary,
            Self::Canary => Self::Promote,
            Self::Promote => Self::Watch,
            Self::Watch => Self::Drain,
            Self::Drain => Self::Destroy,
            Self::Destroy | Self::Done => Self::Done,
            Self::RolledBack => Self::RolledBack,
        }
    }

    /// Whether a refusal of the new version at this step takes the rotation back.
    pub const fn can_roll_back(self) -> bool {
        matches!(
            self,
            Self::Approve
                | Self::Deliver
                | Self::Generate
                | Self::Verify
                | Self::Canary
                | Self::Promote
                | Self::Watch
                | Self::Drain
        )
    }

    /// Whether nothing is left to do.
    pub const fn is_finished(self) -> bool {
        matches!(self, Self::Done | Self::RolledBack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn events() -> impl Strategy<Value = VersionEvent> {
        use VersionEvent::*;
        prop::sample::select(vec![Try, Promote, Refuse, Supersede, Restore, Expire, Revoke, Destroy])
    }

    proptest! {
        #[test]
        fn what_is_over_stays_over(events in prop::collection::vec(events(), 0..40)) {
            let mut state = VersionState::Pending;
            let mut dead = false;
            for event in events {
                if let Ok(next) = state.after(event) {
                    dead |= matches!(next, VersionState::Revoked | VersionState::Destroyed | VersionState::Failed | VersionState::Expired);
                    state = next;
                }
                prop_assert!(!(dead && state.is_live()), "{:?} came back to life", state);
            }
        }
    }

    #[test]
    fn every_live_state_can_be_revoked() {
        for state in [VersionState::Pending, VersionState::Canary, VersionState::Current, VersionState::Previous] {
            assert_eq!(state.after(VersionEvent::Revoke), Ok(VersionState::Revoked));
        }
    }

    #[test]
    fn a_rotation_ends() {
        let mut step = RotationStep::Approve;
        for _ in 0..9 {
            step = step.next();
        }
        assert_eq!(step, RotationStep::Done);
    }
}
