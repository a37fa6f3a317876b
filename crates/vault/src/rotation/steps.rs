//! One step of one rotation on its way forward; the way back is `take_back`, how a step is stored
//! `stored`.
//!
//! Every function reads what is stored, does at most one thing outside, and stores the result in a
//! transaction that first looks whether somebody else has moved the rotation meanwhile. What is
//! stored already is not done twice; what is done outside may be done again.

mod callers;
mod stored;
mod take_back;

use super::{
    decide,
    ports::{Held, MakeOutcome, SupplyOutcome, VerifyOutcome},
    progress::Progress,
    runner::{Inner, RunnerRules},
    watch::{Known, Verdict},
};
use crate::{
    Result, VaultError,
    credentials::{change, destroy, missing, next_version},
    held_key,
};
use callers::Callers;
use credentialflow_model::{
    SecretValue, Timestamp,
    lifecycle::{RotationStep, VersionEvent, VersionState},
    resource::{Credential, Kind, Overlap},
};
use credentialflow_store::{CredentialVersionRow, RotationRow, WriteTx};
use std::future::Future;

/// What taking a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// The next step can be taken at once.
    On,
    /// Nothing to do yet.
    Waits,
    /// Something outside failed; the same step is to be tried again after a pause.
    Failed,
    /// Nothing is left to do.
    Finished,
}

/// A rotation as stored, about to take its step.
pub(super) struct Step<'a> {
    inner: &'a Inner,
    row: RotationRow,
    progress: Progress,
    to: u32,
    now: Timestamp,
}

impl<'a> Step<'a> {
    pub(super) fn new(inner: &'a Inner, row: RotationRow, now: Timestamp) -> Result<Self> {
        let progress = Progress::read(&row)?;
        let to = row.to_version.unwrap_or(0);
        Ok(Self { inner, row, progress, to, now })
    }

    pub(super) async fn take(mut self) -> Result<Moved> {
        if self.row.to_version.is_none() {
            return self.without_version().await;
        }
        let name = self.row.credential.as_str();
        if self.inner.vault.store()?.credential_version(name, self.to).await?.is_none() {
            return self.abandon().await;
        }
        self.recall_key().await?;
        if self.progress.taken_back.is_some() {
            return self.finish_taking_back().await;
        }
        match self.row.step {
            RotationStep::Approve | RotationStep::Deliver => Ok(Moved::Waits),
            RotationStep::Generate => self.generate().await,
            RotationStep::Verify => self.verify().await,
            RotationStep::Canary => self.canary().await,
            RotationStep::Promote => self.promote().await,
            RotationStep::Watch => self.watch().await,
            RotationStep::Drain => self.drain().await,
            RotationStep::Destroy => self.destroy().await,
            RotationStep::Done | RotationStep::RolledBack => Ok(Moved::Finished),
        }
    }

    /// The steps before there is a new version.
    async fn without_version(self) -> Result<Moved> {
        if self.progress.taken_back.is_some() {
            return self.finish_taking_back().await;
        }
        let stored = self.inner.vault.store()?.resource(Kind::Credentials, self.row.credential.as_str()).await?;
        let Some(stored) = stored else { return self.abandon().await };
        match self.row.step {
            RotationStep::Deliver if !self.row.waiting => {
                let credential = serde_json::from_str(&stored.body).map_err(|_| VaultError::Corrupt("credential"))?;
                self.ask_for_value(&credential).await
            }
            RotationStep::Approve | RotationStep::Deliver => Ok(Moved::Waits),
            RotationStep::Generate => self.make().await,
            step if step.is_finished() => Ok(Moved::Finished),
            _ => Err(VaultError::Corrupt("rotation's version")),
        }
    }

    /// Asks whoever issues the values for the next one.
    async fn ask_for_value(mut self, credential: &Credential) -> Result<Moved> {
        let asked = self.in_time(self.inner.target.supply(&self.row.credential, &self.row.id)).await;
        match asked.unwrap_or_else(|| SupplyOutcome::Unreachable("no answer in time".to_owned())) {
            SupplyOutcome::Value(value) => {
                let Some(mut tx) = self.begin().await? else { return Ok(Moved::On) };
                let row = self.row.clone();
                match decide::deliver_in(&self.inner.vault, &mut tx, credential, row, value).await {
                    Ok(_) => tx.commit().await.map(|_| Moved::On).map_err(VaultError::from),
                    Err(VaultError::Engine(why)) => {
                        drop(tx);
                        self.tell(format!("what was answered is no usable value: {why}")).await
                    }
                    Err(other) => Err(other),
                }
            }
            SupplyOutcome::Later => {
                let Some(tx) = self.begin().await? else { return Ok(Moved::On) };
                self.row.waiting = true;
                self.progress.message = None;
                self.store(tx, "rotation.value_wanted").await?;
                Ok(Moved::Waits)
            }
            SupplyOutcome::Unreachable(why) => self.tell(format!("the next value was not answered: {why}")).await,
        }
    }

    /// Has the target make the new version. A crash between its answer and this transaction loses the
    /// value; the next try deletes what was made and has another one made.
    async fn make(mut self) -> Result<Moved> {
        let (target, name) = (&self.inner.target, &self.row.credential);
        let made = self.in_time(target.make(name, &self.row.id)).await;
        match made.unwrap_or_else(|| MakeOutcome::Unreachable("no answer in time".to_owned())) {
            MakeOutcome::Made { value, handle } => {
                let Some(mut tx) = self.begin().await? else {
                    // Somebody else went on with this rotation; what was made here is nobody's.
                    let held = Held { version: 0, value: &value, handle: Some(&handle) };
                    let gone = self.asked(target.retire(name, held, None)).await;
                    tracing::info!(credential = %name, ?gone, "a key that is not needed was taken back");
                    return Ok(Moved::On);
                };
                let versions = tx.credential_versions(name.as_str()).await?;
                let mut row = self.inner.vault.sealed_row(name, next_version(&versions), &value, tx.now())?;
                row.handle = Some(handle);
                tx.insert_credential_version(&row).await?;
                self.to = row.version;
                self.row.to_version = Some(row.version);
                self.progress.message = None;
                self.store(tx, "rotation.make").await?;
                Ok(Moved::On)
            }
            MakeOutcome::Refused(why) => self.take_back(format!("the provider makes no key: {why}")).await,
            MakeOutcome::Unreachable(why) if self.is_given_up() => {
                self.take_back(format!("the provider could not be reached: {why}")).await
            }
            MakeOutcome::Unreachable(why) => self.tell(format!("the provider cannot be reached: {why}")).await,
        }
    }

    /// Whether the target was tried for long enough.
    fn is_given_up(&self) -> bool {
        self.now >= self.progress.went_on.unwrap_or(self.row.started).plus(self.rules().verify_limit)
    }

    /// The value was made and sealed before; here it is proven that it opens.
    async fn generate(self) -> Result<Moved> {
        let to = self.version(self.to).await?;
        if to.state != VersionState::Pending {
            return self.take_back(not_usable(&to)).await;
        }
        match self.inner.vault.open_version(&to) {
            Ok(_) => self.go_on().await,
            Err(VaultError::Tampered | VaultError::UnknownAlgorithm(_)) => {
                self.take_back("the new version does not open".to_owned()).await
            }
            Err(other) => Err(other),
        }
    }

    async fn verify(mut self) -> Result<Moved> {
        let to = self.version(self.to).await?;
        if to.state != VersionState::Pending {
            return self.take_back(not_usable(&to)).await;
        }
        if self.is_key() {
            // Our own workers are the target. Nobody is told of the new secret before each of them accepts it.
            if let Err(why) = self.publish().await {
                return self.tell(why).await;
            }
            self.progress.verified = true;
            return self.go_on().await;
        }
        let value = self.inner.vault.open_version(&to)?;
        let (target, name) = (&self.inner.target, &self.row.credential);
        let held = held(&to, &value);
        let mut outcome = self.asked(target.install(name, held)).await;
        if matches!(outcome, VerifyOutcome::Accepted | VerifyOutcome::NotConfigured) {
            outcome = self.asked(target.verify(name, held)).await;
        }
        match outcome {
            VerifyOutcome::Accepted => {
                self.progress.verified = true;
                self.go_on().await
            }
            VerifyOutcome::NotConfigured => self.go_on().await,
            VerifyOutcome::Refused(why) => self.take_back(format!("the target refuses the new version: {why}")).await,
            VerifyOutcome::Unreachable(why) if self.is_given_up() => {
                self.take_back(format!("the target could not be reached: {why}")).await
            }
            VerifyOutcome::Unreachable(why) => self.tell(format!("the target cannot be reached: {why}")).await,
        }
    }

    /// Gives the new version its share of the traffic, and waits for what the upstream says to it.
    async fn canary(self) -> Result<Moved> {
        let Some(rule) = self.progress.canary else { return self.go_on().await };
        if self.progress.shared.is_none() {
            return self.share().await;
        }
        let to = self.version(self.to).await?;
        if to.state != VersionState::Canary {
            return self.take_back(not_usable(&to)).await;
        }
        let seen = self.in_time(self.inner.traffic.refused_since(&self.row.credential, self.to)).await;
        let Some(counts) = seen else { return Ok(Moved::Failed) };
        if self.rules().watch.is_bad(counts, self.known().await) {
            return self.take_back(refused_by_traffic(counts.refused, counts.served)).await;
        }
        let over = self.progress.since_shared_ms(self.now) >= rule.within.as_millis();
        if counts.served >= rule.answers || over { self.go_on().await } else { Ok(Moved::Waits) }
    }

    async fn share(mut self) -> Result<Moved> {
        let Some(mut tx) = self.begin().await? else { return Ok(Moved::On) };
        let mut to = version_in(&mut tx, &self.row, self.to).await?;
        match to.state {
            // Shared before a crash: only the workers may not know yet.
            VersionState::Canary => drop(tx),
            VersionState::Pending => {
                change(&mut to, VersionEvent::Try, self.now)?;
                tx.update_credential_version(&to).await?;
                self.store(tx, "rotation.canary").await?;
            }
            _ => {
                drop(tx);
                return self.take_back(not_usable(&to)).await;
            }
        }
        if let Err(why) = self.publish().await {
            return self.tell(why).await;
        }
        let Some(tx) = self.begin().await? else { return Ok(Moved::On) };
        self.progress.shared = Some(self.now);
        self.progress.message = None;
        self.store(tx, "rotation.step").await?;
        Ok(Moved::On)
    }

    async fn promote(mut self) -> Result<Moved> {
        let Some(mut tx) = self.begin().await? else { return Ok(Moved::On) };
        let mut to = version_in(&mut tx, &self.row, self.to).await?;
        match to.state {
            // Promoted before a crash: only the workers may not know yet.
            VersionState::Current => drop(tx),
            VersionState::Pending | VersionState::Canary => {
                // At most one version is current at any moment, so the old one steps down first.
                self.row.from_version = None;
                let versions = tx.credential_versions(self.row.credential.as_str()).await?;
                if let Some(mut from) = versions.into_iter().find(|v| v.state == VersionState::Current) {
                    change(&mut from, VersionEvent::Supersede, self.now)?;
                    tx.update_credential_version(&from).await?;
                    self.row.from_version = Some(from.version);
                }
                change(&mut to, VersionEvent::Promote, self.now)?;
                tx.update_credential_version(&to).await?;
                self.store(tx, "rotation.promote").await?;
            }
            _ => {
                drop(tx);
                return self.take_back(not_usable(&to)).await;
            }
        }
        if let Err(why) = self.publish().await {
            return self.tell(why).await;
        }
        self.progress.promoted = Some(self.now);
        self.row.deadline = Some(self.now.plus(self.progress.limit));
        self.go_on().await
    }

    async fn watch(self) -> Result<Moved> {
        let to = self.version(self.to).await?;
        if to.state != VersionState::Current {
            return self.take_back(not_usable(&to)).await;
        }
        let seen = self.in_time(self.inner.traffic.refused_since(&self.row.credential, self.to)).await;
        let Some(counts) = seen else { return Ok(Moved::Failed) };
        let known = self.known().await;
        match self.rules().watch.judge(counts, known, self.progress.since_promotion_ms(self.now)) {
            Verdict::Good => self.go_on().await,
            Verdict::Wait => Ok(Moved::Waits),
            Verdict::Bad => self.take_back(refused_by_traffic(counts.refused, counts.served)).await,
        }
    }

    /// What the answers to the new version are held against.
    async fn known(&self) -> Known {
        let before = match self.row.from_version {
            Some(from) => self.in_time(self.inner.traffic.refused_before(&self.row.credential, from)).await,
            None => None,
        };
        Known { before: before.unwrap_or_default(), verified: self.progress.verified }
    }

    async fn drain(self) -> Result<Moved> {
        let from = match self.row.from_version {
            Some(from) if self.version(from).await?.state == VersionState::Previous => Some(from),
            _ => None,
        };
        // A key may have a secret that was given to somebody by hand, and that no version holds.
        if from.is_none() && !self.ends_secrets().await? {
            return self.go_on().await;
        }
        if self.is_key() && from.is_some() {
            // Without the new secret the old one is all that callers have.
            let to = self.version(self.to).await?;
            if to.state == VersionState::Revoked {
                return self.take_back(not_usable(&to)).await;
            }
        }
        // The old version is still there, so a new one that turns out bad can still be taken back.
        let seen = self.in_time(self.inner.traffic.refused_since(&self.row.credential, self.to)).await;
        let known = self.known().await;
        if let Some(counts) = seen.filter(|c| self.rules().watch.is_bad(*c, known)) {
            return self.take_back(refused_by_traffic(counts.refused, counts.served)).await;
        }
        // Who reads the value elsewhere must be able to have the new one before the old one is over.
        let limited = self.progress.overlap != Overlap::OnlyWhenDrained;
        if !limited || self.row.deadline.is_none_or(|end| self.now < end) {
            let lacking = self.in_time(self.inner.publisher.lacking(&self.row.credential, self.to)).await;
            let Some(lacking) = lacking else { return Ok(Moved::Failed) };
            if !lacking.is_empty() {
                let message = format!("the new version is not yet written to {}", lacking.join(", "));
                return self.tell(message).await.map(|_| Moved::Waits);
            }
        }
        let over = match self.progress.overlap {
            Overlap::For(period) => self.progress.promoted.is_none_or(|t| self.now >= t.plus(period)),
            Overlap::UntilDrained if self.row.deadline.is_some_and(|end| self.now >= end) => true,
            Overlap::UntilDrained | Overlap::OnlyWhenDrained => {
                if let Some(why) = self.callers_on_the_old_secret().await? {
                    return match why {
                        Callers::Told(who) => self.tell(who).await.map(|_| Moved::Waits),
                        Callers::Seen => Ok(Moved::Waits),
                    };
                }
                let Some(from) = from else { return self.go_on().await };
                let held = self.in_time(self.inner.traffic.in_flight(&self.row.credential, from)).await;
                let Some(held) = held else { return Ok(Moved::Failed) };
                if held > 0 && self.progress.message.is_none() {
                    let lost = self.in_time(self.inner.traffic.lost_holders(&self.row.credential, from)).await;
                    if let Some(lost) = lost.filter(|lost| !lost.is_empty()) {
                        let or = if limited { " or the limit is over" } else { "" };
                        let message = format!(
                            "lost nodes may still serve with the old version, which is kept until they are heard{or}: {}{}",
                            lost.join(", "),
                            self.if_they_never_return()
                        );
                        return self.tell(message).await.map(|_| Moved::Waits);
                    }
                    let sessions = self.in_time(self.inner.traffic.sessions(&self.row.credential, from)).await;
                    if let Some(sessions @ 1..) = sessions {
                        let message = format!("{sessions} sessions at the target were opened with the old version");
                        return self.tell(message).await.map(|_| Moved::Waits);
                    }
                }
                held == 0
            }
        };
        if over { self.go_on().await } else { Ok(Moved::Waits) }
    }

    /// What ends the wait for nodes that are gone for good, where nothing else does.
    fn if_they_never_return(&self) -> String {
        match (self.progress.overlap, self.row.from_version) {
            (Overlap::OnlyWhenDrained, Some(from)) => format!(
                "; if they never return: credentialflow credential revoke {} --version {from}",
                self.row.credential
            ),
            _ => String::new(),
        }
    }

    async fn destroy(mut self) -> Result<Moved> {
        if let Some(why) = self.retire_old().await? {
            return self.tell(why).await;
        }
        let Some(mut tx) = self.begin().await? else { return Ok(Moved::On) };
        let mut ends = false;
        if self.is_key() && version_in(&mut tx, &self.row, self.to).await?.state != VersionState::Destroyed {
            ends = held_key::end_others_in(&mut tx, &self.row.credential, self.to).await? > 0;
        }
        if let Some(from) = self.row.from_version {
            let mut old = version_in(&mut tx, &self.row, from).await?;
            if old.state != VersionState::Destroyed {
                destroy(&mut old, self.now)?;
                tx.update_credential_version(&old).await?;
                ends = true;
            }
        }
        match ends {
            true => self.store(tx, "rotation.destroy").await?,
            false => drop(tx),
        }
        match self.publish().await {
            Ok(()) => self.go_on().await,
            Err(why) => self.tell(why).await,
        }
    }

    /// Makes the target refuse what is over, or answers why it does not yet.
    async fn retire_old(&self) -> Result<Option<String>> {
        // Revoked meanwhile, the new one is over as well.
        let new = Some(self.version(self.to).await?).filter(|v| v.state.is_live());
        let value = new.as_ref().map(|v| self.readable(v)).transpose()?.flatten();
        let kept = new.as_ref().zip(value.as_ref()).map(|(row, value)| held(row, value));
        Ok(match self.retire_all(self.row.from_version, kept).await? {
            VerifyOutcome::Accepted | VerifyOutcome::NotConfigured => None,
            VerifyOutcome::Refused(why) => Some(format!("the old version cannot be withdrawn at the target: {why}")),
            VerifyOutcome::Unreachable(why) => Some(format!("the target cannot be reached: {why}")),
        })
    }

    /// Makes the target refuse a version, and every revoked one whose bytes are still here.
    async fn retire_all(&self, over: Option<u32>, kept: Option<Held<'_>>) -> Result<VerifyOutcome> {
        let (target, name) = (&self.inner.target, &self.row.credential);
        for version in self.inner.vault.store()?.credential_versions(name.as_str()).await? {
            if Some(version.version) != over && version.state != VersionState::Revoked {
                continue;
            }
            let Some(value) = self.readable(&version)? else { continue };
            match self.asked(target.retire(name, held(&version, &value), kept)).await {
                VerifyOutcome::Accepted => {}
                other => return Ok(other),
            }
        }
        Ok(VerifyOutcome::Accepted)
    }

    /// A version's value, unless its bytes are gone or do not open.
    fn readable(&self, version: &CredentialVersionRow) -> Result<Option<SecretValue>> {
        if version.sealed.is_none() {
            return Ok(None);
        }
        match self.inner.vault.open_version(version) {
            Ok(value) => Ok(Some(value)),
            Err(VaultError::Tampered | VaultError::UnknownAlgorithm(_)) => Ok(None),
            Err(other) => Err(other),
        }
    }

    async fn asked(&self, call: impl Future<Output = VerifyOutcome>) -> VerifyOutcome {
        let late = || VerifyOutcome::Unreachable("no answer in time".to_owned());
        self.in_time(call).await.unwrap_or_else(late)
    }

    async fn publish(&self) -> Result<(), String> {
        match self.in_time(self.inner.publisher.publish()).await {
            Some(outcome) => outcome.map_err(|why| format!("not every worker could be told: {why}")),
            None => Err("not every worker could be told in time".to_owned()),
        }
    }

    async fn version(&self, version: u32) -> Result<CredentialVersionRow> {
        let found = self.inner.vault.store()?.credential_version(self.row.credential.as_str(), version).await?;
        found.ok_or_else(|| missing(&self.row.credential, version))
    }

    async fn in_time<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(self.rules().call_timeout.as_duration(), call).await.ok()
    }

    fn rules(&self) -> &RunnerRules {
        &self.inner.rules
    }
}

async fn version_in(tx: &mut WriteTx, row: &RotationRow, version: u32) -> Result<CredentialVersionRow> {
    let found = tx.credential_version(row.credential.as_str(), version).await?;
    found.ok_or_else(|| missing(&row.credential, version))
}

fn held<'a>(row: &'a CredentialVersionRow, value: &'a SecretValue) -> Held<'a> {
    Held { version: row.version, value, handle: row.handle.as_deref() }
}

fn not_usable(version: &CredentialVersionRow) -> String {
    let state = serde_json::to_value(version.state).unwrap_or_default();
    format!("the new version is {} meanwhile", state.as_str().unwrap_or("unusable"))
}

fn refused_by_traffic(refused: u64, served: u64) -> String {
    format!("the upstream refused the new version in {refused} of {} requests", refused.saturating_add(served))
}
