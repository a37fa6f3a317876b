//! How a step is stored: only where nobody else moved the rotation meanwhile, with its audit event, and with what
//! its owner is told of it.

use super::{Moved, Step};
use crate::{Result, credentials::subject, tell};
use credentialflow_model::{Actor, Timestamp, lifecycle::RotationStep};
use credentialflow_store::WriteTx;
use serde_json::json;

impl Step<'_> {
    /// Stores the next step.
    pub(super) async fn go_on(mut self) -> Result<Moved> {
        let Some(tx) = self.begin().await? else { return Ok(Moved::On) };
        self.row.step = self.row.step.next();
        if self.row.step == RotationStep::Canary && (self.progress.canary.is_none() || self.row.from_version.is_none())
        {
            self.row.step = self.row.step.next();
        }
        self.progress.message = None;
        self.store(tx, "rotation.step").await?;
        Ok(if self.row.step.is_finished() { Moved::Finished } else { Moved::On })
    }

    /// Stores once per step why it takes longer, for people to see.
    pub(super) async fn tell(mut self, why: String) -> Result<Moved> {
        if self.progress.message.is_none() {
            let Some(tx) = self.begin().await? else { return Ok(Moved::On) };
            self.progress.message = Some(why);
            self.store(tx, "rotation.delayed").await?;
        }
        Ok(Moved::Failed)
    }

    /// A transaction, unless somebody else moved this rotation since it was read.
    pub(super) async fn begin(&self) -> Result<Option<WriteTx>> {
        let mut tx = self.inner.vault.store()?.begin(&Actor::system("rotation")).await?;
        let stored = tx.rotation(&self.row.id).await?;
        // What this step changed in memory only is judged by the step and by what was stored before.
        Ok(stored.filter(|s| s.step == self.row.step && s.updated == self.row.updated).map(|_| tx))
    }

    /// Stores the rotation as it is now in memory, with whatever else the transaction holds.
    pub(super) async fn store(&mut self, mut tx: WriteTx, action: &str) -> Result<()> {
        self.row.detail = self.progress.stored()?;
        // Strictly later than before: `updated` tells two stored forms apart.
        self.row.updated = tx.now().max(Timestamp::from_micros(self.row.updated.micros() + 1));
        tx.update_rotation(&self.row).await?;
        if let Some(event) = told(action, self.row.step) {
            let why = self.row.error.as_ref().or(self.progress.message.as_ref());
            let data = json!({
                "rotation": self.row.id, "step": self.row.step, "from_version": self.row.from_version,
                "to_version": self.row.to_version, "reason": why,
            });
            tell::owner_in(&mut tx, &self.row.credential, event, None, data).await?;
        }
        let mut detail = json!({ "rotation": self.row.id, "step": self.row.step, "to": self.to });
        if let Some(error) = &self.row.error {
            detail["error"] = json!(error);
        }
        tx.audit(action, &subject(&self.row.credential), detail);
        tx.commit().await?;
        Ok(())
    }
}

/// What of a rotation its owner is told.
fn told(action: &str, step: RotationStep) -> Option<&'static str> {
    match action {
        "rotation.rolled_back" => Some("rotation.rolled_back"),
        "rotation.delayed" => Some("rotation.delayed"),
        "rotation.value_wanted" => Some("rotation.waiting"),
        _ if step == RotationStep::Done => Some("rotation.finished"),
        _ => None,
    }
}
