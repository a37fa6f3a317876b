//! What strangers hand in to open the vault, or to show that one could: one at a time, slowed down, recorded.
//!
//! No token can be checked while the vault is sealed, and the holders of shares need not be
//! administrators: what is handed in is the proof. Every face of the server goes through here, so that
//! failures at one count at the others. An attempt that was begun keeps its turn until it is done, also
//! when the caller goes away: hashing cannot be called back, and its memory is what the line bounds.

use super::{SealInput, share::ShareError, throttle::Throttle};
use crate::{SealStatus, Vault, VaultError, vault::now};
use credentialflow_model::{Actor, ActorKind, Timestamp};
use serde_json::{Value, json};
use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::Semaphore;

/// Most attempts in line, the running one among them.
const LINE: usize = 16;
/// Most refusals recorded within [`WINDOW_SECS`], whatever their sources; further ones are counted.
const RECORDED: u32 = 100;
/// Length of that window, in seconds.
const WINDOW_SECS: i64 = 600;

/// Why an attempt was not made, or did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// Its source failed too often.
    #[error("too many failed attempts came from this address")]
    TooMany {
        /// Seconds until it may try again.
        seconds: u64,
    },
    /// Too many are in line.
    #[error("too many attempts are waiting; try again")]
    Busy,
    /// The vault is unsealed: what was handed in was not looked at.
    #[error("the vault is unsealed already")]
    Unsealed,
    /// It was made, and failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// A vault's line of attempts.
pub(crate) struct Attempts {
    line: Arc<Semaphore>,
    turn: Semaphore,
    throttle: Throttle,
    recorded: Mutex<Recorded>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            line: Arc::new(Semaphore::new(LINE)),
            turn: Semaphore::new(1),
            throttle: Throttle::default(),
            recorded: Mutex::default(),
        }
    }
}

#[derive(Default)]
struct Recorded {
    since: Option<Timestamp>,
    events: u32,
    left_out: u64,
}

impl Recorded {
    /// Whether one more may be recorded; then with how many were left out before it.
    fn next(&mut self, now: Timestamp) -> Option<u64> {
        if self.since.is_none_or(|since| now.secs() - since.secs() >= WINDOW_SECS) {
            (self.since, self.events) = (Some(now), 0);
        }
        if self.events >= RECORDED {
            self.left_out += 1;
            return None;
        }
        self.events += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

fn actor(kind: ActorKind, name: &str, source: Option<IpAddr>) -> Actor {
    Actor { kind, name: name.to_owned(), source: source.map(|ip| ip.to_string()) }
}

/// Whether a failure tells that something wrong was handed in.
fn is_guess(error: &VaultError) -> bool {
    match error {
        VaultError::Share(ShareError::Repeated { .. }) => false,
        VaultError::Unseal | VaultError::OtherSealMethod { .. } | VaultError::Share(_) | VaultError::NoRekey => true,
        _ => false,
    }
}

impl Vault {
    /// Unseals with what somebody handed in; shares may come one at a time. A vault that is unsealed does
    /// not look at it, so nothing can be tried out on a running one. An unsealing that cannot be recorded
    /// does not happen.
    pub async fn attempt_unseal(&self, source: Option<IpAddr>, input: SealInput) -> Result<SealStatus, AttemptError> {
        let vault = self.clone();
        let work = async move {
            // Asked in turn: another attempt may have opened it while this one waited.
            if !vault.is_sealed() {
                return Ok(None);
            }
            match input {
                SealInput::Shares(shares) => {
                    for share in shares {
                        vault.offer_share(share).await?;
                    }
                }
                input => vault.unseal(input).await?,
            }
            if !vault.is_sealed() {
                let operator = actor(ActorKind::Operator, "operator", source);
                if let Err(error) = vault.record(&operator, "vault.unseal", json!({})).await {
                    vault.seal();
                    return Err(error);
                }
                tracing::info!(?source, "the vault was unsealed");
            }
            vault.seal_status().map(Some)
        };
        self.attempt(source, "vault.unseal_refuse", work).await?.ok_or(AttemptError::Unsealed)
    }

    /// One attempt, in line. What was wrong counts as a failure of its source, and is recorded as `action`;
    /// sources that are not known count together.
    pub async fn attempt<T: Send + 'static>(
        &self,
        source: Option<IpAddr>,
        action: &'static str,
        work: impl Future<Output = Result<T, VaultError>> + Send + 'static,
    ) -> Result<T, AttemptError> {
        self.may_try(source)?;
        let place = self.0.attempts.line.clone().try_acquire_owned().map_err(|_| AttemptError::Busy)?;
        let vault = self.clone();
        let attempt = tokio::spawn(async move {
            let _place = place;
            let _turn = vault.0.attempts.turn.acquire().await;
            vault.may_try(source)?;
            match work.await {
                Ok(done) => Ok(done),
                Err(error) => {
                    if is_guess(&error) {
                        vault.refused(source, action).await;
                    }
                    Err(AttemptError::Vault(error))
                }
            }
        });
        attempt.await.map_err(|_| VaultError::Crypto)?
    }

    fn may_try(&self, source: Option<IpAddr>) -> Result<(), AttemptError> {
        match self.0.attempts.throttle.wait(known(source), now()) {
            Some(seconds) => Err(AttemptError::TooMany { seconds }),
            None => Ok(()),
        }
    }

    async fn refused(&self, source: Option<IpAddr>, action: &str) {
        let failures = self.0.attempts.throttle.failed(known(source), now());
        let may = self.0.attempts.recorded.lock().unwrap_or_else(PoisonError::into_inner).next(now());
        let Some(left_out) = may else { return };
        tracing::warn!(?source, failures, action, "what was handed in to open the vault was refused");
        let mut detail = json!({ "failures": failures });
        if left_out > 0 {
            detail["left_out"] = left_out.into();
        }
        let anonymous = actor(ActorKind::Anonymous, "anonymous", source);
        if let Err(error) = self.record(&anonymous, action, detail).await {
            tracing::error!(%error, "a refused attempt to open the vault could not be written to the audit log");
        }
    }

    async fn record(&self, actor: &Actor, action: &str, detail: Value) -> Result<(), VaultError> {
        let mut tx = self.store()?.begin(actor).await?;
        tx.audit(action, "settings/vault", detail);
        tx.commit().await.map(drop).map_err(VaultError::Store)
    }
}

fn known(source: Option<IpAddr>) -> IpAddr {
    source.unwrap_or(Ipv4Addr::UNSPECIFIED.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_recorded_in_bounded_number_and_the_rest_is_counted() {
        let mut recorded = Recorded::default();
        let at = Timestamp::from_secs;
        assert_eq!((0..RECORDED + 5).filter_map(|_| recorded.next(at(100))).sum::<u64>(), 0);
        assert_eq!(recorded.left_out, 5);
        assert_eq!(recorded.next(at(100 + WINDOW_SECS)), Some(5));
        assert_eq!(recorded.next(at(101 + WINDOW_SECS)), Some(0));
    }
}
