//! Live secrets of ours that stand in a request or its answer, and who is told of them.

use super::Recording;
use crate::ports::{SecretPlace, SentSecrets};
use credentialflow_model::{UsageRecord, usage::CredentialUse};
use credentialflow_policy::{Found, LiveSecret};
use std::time::Duration;

impl Recording<'_> {
    /// What of this nobody was told of yet. A body is looked at more than once, as it came and as it goes on.
    pub fn untold(&self, mut found: Found) -> Found {
        let mut told = self.told.borrow_mut();
        found.secrets.retain(|secret| !told.secrets.contains(secret));
        found.gave_up &= !told.gave_up;
        told.secrets.extend_from_slice(&found.secrets);
        told.gave_up |= found.gave_up;
        found
    }

    /// Live secrets of ours stand in the request or its answer; whoever answers leaks is told of all but the caller's own
    /// key. Whether there is any other.
    pub fn secrets_met(&self, found: Found, place: SecretPlace, refused: bool) -> bool {
        let Some(UsageRecord { application, key, route, source, upstream, .. }) = &self.record else { return false };
        let Found { mut secrets, gave_up } = found;
        secrets.retain(|secret| !matches!(secret, LiveSecret::Key { id, .. } if Some(*id) == *key));
        let others = !secrets.is_empty();
        if place == SecretPlace::Answer && !others && !gave_up {
            return false;
        }
        self.worker.shared.secrets.sent(SentSecrets {
            secrets,
            place,
            application: application.clone(),
            key: *key,
            route: route.clone(),
            source: *source,
            upstream: upstream.clone().filter(|_| place.is_answer()),
            refused,
            gave_up,
        });
        others
    }

    /// The upstream repeated the credential it was sent, which was blanked. `known`: it is one that is looked for.
    pub fn echoed(&self, known: bool) {
        let used = self.record.as_ref().and_then(|r| r.credential.as_ref()).filter(|_| known);
        let value =
            |used: &CredentialUse| LiveSecret::Value { credential: used.credential.clone(), version: used.version };
        let found = Found { secrets: used.map(value).into_iter().collect(), gave_up: false };
        self.secrets_met(found, SecretPlace::Echo, true);
    }

    /// A secret that the request may have guessed counts as a failed authentication of its caller. How long that has to
    /// wait, where there were too many.
    pub fn count_guess(&self) -> Option<Duration> {
        let UsageRecord { key, source, .. } = self.record.as_ref()?;
        let shared = &self.worker.shared;
        let counted = shared.throttle.count_failure(*source, *key, self.worker.monotonic_ns(self.began));
        if counted.source_crossed || counted.key_crossed {
            shared.guesses.guessing(*source, key.filter(|_| counted.key_crossed));
        }
        counted.wait
    }
}
