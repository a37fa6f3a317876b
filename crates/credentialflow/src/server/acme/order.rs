//! Orders when it is time to, on the one node that does what one does for all.

use super::{Acme, CERTIFICATE, Note, TROUBLE, Trouble, ledger, now, read};
use credentialflow_acme::{Failure, NotKept, obtain, plan, suggestion};
use credentialflow_model::{Period, SecretValue, Timestamp};
use serde_json::json;
use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How often it is looked whether something is due.
const ROUND: Duration = Duration::from_secs(1);
/// A wait that is longer than any that was ever set: the clock was put back.
const IMPOSSIBLE: i64 = 36 * 3600;
/// How often the server is asked when it suggests to renew: at least, and at most.
const ASK: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(24 * 3600));
/// The same after it could not be asked.
const ASK_LATER: Duration = Duration::from_secs(3600);

impl Acme {
    /// Orders while this node is the one that does, until the process is told to stop. What another node has begun is
    /// gone on with, and the other way round.
    pub async fn keep_ordered(self: Arc<Self>, mut mine: watch::Receiver<bool>, mut stopped: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => return,
                begun = mine.wait_for(|mine| *mine) => if begun.is_err() { return },
            }
            tokio::select! {
                () = self.rounds() => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
                ended = mine.wait_for(|mine| !*mine) => if ended.is_err() { return },
            }
        }
    }

    async fn rounds(&self) {
        // Failures that could not even be written down.
        let (mut failures, mut asked) = (0u32, None);
        loop {
            tokio::time::sleep(ROUND).await;
            if self.vault.get().is_none_or(|vault| vault.is_sealed()) {
                continue;
            }
            self.look().await;
            if !self.is_due() {
                self.ask_when(&mut asked).await;
                continue;
            }
            match self.attempt().await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    let pause = plan::pause(failures, false, None, random());
                    tracing::warn!(%error, again_in = ?pause, "the listeners' certificate is ordered later");
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    pub(super) fn is_due(&self) -> bool {
        let (mark, now) = (self.rule.mark(), now());
        let known = self.known();
        if let Some(trouble) = known.trouble.as_ref().filter(|trouble| trouble.mark == mark)
            && (now.secs()..now.secs() + IMPOSSIBLE).contains(&trouble.next.secs())
        {
            return false;
        }
        let fits = known.in_use.as_ref().is_some_and(|in_use| in_use.mark == mark);
        !fits || known.renews().is_none_or(|at| at <= now)
    }

    /// Asks the server when it suggests to renew, as often as it wants to be asked.
    async fn ask_when(&self, asked: &mut Option<Instant>) {
        let (leaf, due) = {
            let known = self.known();
            let Some(in_use) = &known.in_use else { return };
            let due = match (&known.suggestion, &*asked) {
                (Some((_, until)), _) => *until <= Instant::now(),
                (None, Some(until)) => *until <= Instant::now(),
                (None, None) => true,
            };
            (in_use.leaf.clone(), due)
        };
        if !due {
            return;
        }
        *asked = Some(Instant::now() + ASK_LATER);
        match suggestion(&self.rule, &self.http, self, &leaf).await {
            Ok(Some(told)) => {
                let until = Instant::now() + told.again.clamp(ASK.0, ASK.1);
                let mut known = self.known();
                if known.in_use.as_ref().is_some_and(|in_use| in_use.leaf == leaf) {
                    known.suggestion = Some((told, until));
                    *asked = None;
                }
            }
            Ok(None) => *asked = Some(Instant::now() + ASK.1),
            Err(error) => tracing::debug!(%error, "the ACME server could not be asked when to renew"),
        }
    }

    /// Orders. The error: not even its failure could be remembered.
    pub(super) async fn attempt(&self) -> Result<(), NotKept> {
        let mark = self.rule.mark();
        let in_use = self.known().in_use.clone().filter(|in_use| in_use.mark == mark);
        let done = obtain(&self.rule, &self.http, self, in_use.as_ref().map(|in_use| &in_use.leaf)).await;
        match done {
            Ok(value) => self.succeed(&value).await,
            Err(failure) => self.fail(failure).await,
        }
    }

    async fn succeed(&self, value: &SecretValue) -> Result<(), NotKept> {
        let (_, said) = read(value).map_err(|error| NotKept(error.to_string()))?;
        let note = serde_json::to_string(&Note { mark: self.rule.mark() }).map_err(|e| NotKept(e.to_string()))?;
        let row = ledger::sealed(self.opened()?, CERTIFICATE, value, note).map_err(|e| NotKept(e.to_string()))?;
        let told = json!({ "directory": self.rule.directory, "names": said.names, "serial": said.serial,
            "issuer": said.issuer, "not_after": said.not_after });
        self.finish(&row, told).await?;
        self.issued.fetch_add(1, Relaxed);
        Ok(())
    }

    async fn fail(&self, failure: Failure) -> Result<(), NotKept> {
        self.failed.fetch_add(1, Relaxed);
        let mark = self.rule.mark();
        let before = self.known().trouble.clone().filter(|trouble| trouble.mark == mark);
        let failures = before.map_or(0, |trouble| trouble.failures).saturating_add(1);
        let pause = plan::pause(failures, failure.judged, failure.wait, random());
        let next = after(pause);
        tracing::warn!(error = %failure, failures, %next, "the listeners' certificate could not be ordered");
        let trouble = Trouble { mark, failures, next, problem: failure.words };
        let note = serde_json::to_string(&trouble).map_err(|error| NotKept(error.to_string()))?;
        let told = json!({ "directory": self.rule.directory, "failures": failures, "problem": trouble.problem });
        self.note(&ledger::open(TROUBLE, note), "acme.failure", told).await
    }
}

fn after(pause: Duration) -> Timestamp {
    now().plus(Period::from_secs(pause.as_secs().max(1)))
}

/// Only spreads waits; where the system has no randomness they are not spread.
fn random() -> u64 {
    let mut bytes = [0u8; 8];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_be_bytes(bytes)
}
