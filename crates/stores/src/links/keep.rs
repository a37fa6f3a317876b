//! Keeps what lets us in at the declared stores from ending, also at those that nothing is read from for a long time.

use super::{Links, open::away};
use crate::{ExternalError, Result};
use credentialflow_model::{Name, resource::Kind};
use std::{convert::Infallible, time::Duration};
use tokio::task::JoinSet;

/// Two rounds are at least this far apart.
const SHORTEST: Duration = Duration::from_secs(1);
/// Every store is looked at this often at least.
const LONGEST: Duration = Duration::from_secs(30);
/// A store that cannot be reached is tried again after this.
const AGAIN: Duration = Duration::from_secs(10);

impl Links {
    /// Looks after every declared store, for as long as it is polled.
    pub(super) async fn keep(&self) -> Infallible {
        let mut changes = self.0.store.subscribe();
        loop {
            let mut pause = LONGEST;
            if !self.0.vault.is_sealed() {
                match self.keep_once().await {
                    Ok(next) => pause = pause.min(next),
                    Err(error) => tracing::debug!(%error, "the stores cannot be looked after; trying again"),
                }
            }
            tokio::time::sleep(SHORTEST).await;
            tokio::select! {
                // A store that was declared now may have a token that ends soon.
                _ = changes.changed() => {}
                () = tokio::time::sleep(pause.saturating_sub(SHORTEST)) => {}
            }
        }
    }

    /// Looks after every store once, all at the same time. Answers when the next one is due.
    async fn keep_once(&self) -> Result<Duration> {
        let mut tasks = JoinSet::new();
        for row in self.0.store.resources(Kind::Stores).await.map_err(away)? {
            let this = self.clone();
            tasks.spawn(async move { this.keep_one(&row.name).await });
        }
        let mut next = LONGEST;
        while let Some(done) = tasks.join_next().await {
            next = next.min(done.ok().flatten().unwrap_or(LONGEST));
        }
        Ok(next)
    }

    async fn keep_one(&self, name: &Name) -> Option<Duration> {
        // Why a store cannot be opened is told by the links that need it.
        let (_, store) = self.0.open.get(name).await.ok()?;
        match store.keep().await {
            Ok(next) => next,
            Err(error @ (ExternalError::Unreachable(_) | ExternalError::Busy { .. })) => {
                tracing::debug!(store = %name, %error, "a store's token cannot be renewed now; it is tried again");
                Some(AGAIN)
            }
            Err(error) => {
                tracing::warn!(store = %name, %error, "the token that lets us in at a store is not renewed");
                None
            }
        }
    }
}
