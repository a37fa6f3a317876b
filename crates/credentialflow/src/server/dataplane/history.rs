//! Whether the database is still the one whose state is in force.
//!
//! Numbers of the change feed cannot tell: a database that was restored to an older state and changed since has the
//! same numbers for other changes. The audit chain can, because each of its hashes is over everything before. It is
//! looked at in the same read as the feed, so that nothing of another history is ever taken for what follows.

use super::{
    super::{delta::Delta, state::State, tokens},
    Plane, whole,
};
use credentialflow_store::StoreError;

/// An event of the audit chain, by its number and hash.
pub(in crate::server) type Mark = (u64, [u8; 32]);

impl Plane {
    /// Whether the database still tells the history that a mark was taken in.
    pub(super) async fn is_on_the_way_of(&self, mark: Option<Mark>) -> Result<bool, StoreError> {
        match mark {
            Some((seq, hash)) => Ok(self.store.audit_hash(seq).await? == Some(hash)),
            None => Ok(false),
        }
    }

    /// Compares the database's history with that of the state in force. Where it is another one (a backup was
    /// restored, or a standby took over that lacked the last changes), everything is read anew and put into force.
    pub async fn check_history(&self) -> anyhow::Result<()> {
        if self.read_anew().await? {
            self.bring_up_to_date().await?;
        }
        Ok(())
    }

    /// Replaces the state by what the database has now, if that is of another history; answers whether it was. It is
    /// compiled and installed by the next bringing up to date. Nobody is held up while a million keys are read.
    pub(super) async fn read_anew(&self) -> anyhow::Result<bool> {
        // Whoever comes second finds it done.
        let _one = self.anew.lock().await;
        let mark = {
            let inner = self.inner.lock().await;
            match &inner.state {
                Some(state) if !inner.ending => state.mark,
                _ => return Ok(false),
            }
        };
        if self.is_on_the_way_of(mark).await? {
            return Ok(false);
        }
        tracing::warn!("the database tells another history than the one in force: everything is read from it anew");
        self.vault.reload().await?;
        let mut fresh = State::empty(&self.vault, &self.budgets)?;
        Delta::read_whole(&self.store, |delta| whole(fresh.apply(delta, &self.vault))).await?;
        if self.nodes.serves() {
            if let Some(state) = &self.inner.lock().await.state {
                fresh.keep_tokens_of(state);
            }
            let fetched = tokens::first(fresh.tokens()).await;
            fresh.put_tokens(fetched);
        }
        let mut inner = self.inner.lock().await;
        if let Some(state) = inner.state.as_ref().filter(|_| self.nodes.serves()) {
            // Some may have been renewed meanwhile.
            fresh.keep_tokens_of(state);
        }
        if inner.ending {
            return Ok(false);
        }
        // It is of the history that is over; another one is written beside the traffic.
        inner.copy.give_up();
        if let Some(old) = inner.state.replace(fresh) {
            let gone = inner.state.as_ref().map(|fresh| old.keys_gone_in(fresh)).unwrap_or_default();
            inner.pending.extend(gone);
        }
        inner.dirty = true;
        inner.failed = 0;
        self.copy_due.notify_one();
        Ok(true)
    }

    /// Writes the local copy anew whenever it was given up for another history.
    pub(super) async fn renew_copy(&self) {
        loop {
            self.copy_due.notified().await;
            if let Err(error) = self.shorten_copy().await {
                tracing::warn!(%error, "the local copy could not be written anew; it is tried again within an hour");
            }
        }
    }
}
