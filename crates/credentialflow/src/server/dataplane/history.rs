//! Whether the database is still the one whose state is in force.
//!
//! Numbers of the change feed cannot tell: a database that was restored to an older state and changed since has the
//! same numbers for other changes. The audit chain can, because each of its hashes is over everything before.

use super::{
    super::{delta::Delta, state::State},
    Plane, whole,
};
use anyhow::Context;
use credentialflow_store::StoreError;

impl Plane {
    /// Whether the database still tells the history that a state was read from.
    pub(super) async fn is_on_the_way_of(&self, state: &State) -> Result<bool, StoreError> {
        match state.mark {
            Some((seq, hash)) => Ok(self.store.audit_hash(seq).await? == Some(hash)),
            None => Ok(false),
        }
    }

    /// Compares the database's history with that of the state in force. Where it is another one (a backup was
    /// restored, or a standby took over that lacked the last changes), everything is read anew and put into force.
    pub async fn check_history(&self) -> anyhow::Result<()> {
        {
            let inner = self.inner.lock().await;
            let Some(state) = &inner.state else { return Ok(()) };
            if inner.ending || self.is_on_the_way_of(state).await? {
                return Ok(());
            }
        }
        tracing::warn!("the database tells another history than the one in force: everything is read from it anew");
        self.vault.reload().await?;
        let mut fresh = State::empty(&self.vault)?;
        let mut inner = self.inner.lock().await;
        let inner_mut = &mut *inner;
        let read = Delta::read_whole(&self.store, |delta| {
            inner_mut.copy.write(&delta, &self.vault).context("writing the local copy")?;
            whole(fresh.apply(delta, &self.vault))
        })
        .await;
        if read.is_err() {
            inner.copy.give_up();
            return read;
        }
        if let Some(old) = inner.state.replace(fresh) {
            let gone = inner.state.as_ref().map(|fresh| old.keys_gone_in(fresh)).unwrap_or_default();
            inner.pending.extend(gone);
        }
        inner.dirty = true;
        drop(inner);
        self.bring_up_to_date().await?;
        Ok(())
    }
}
