//! Tries what is due: each link in a task of its own, a few at a time for each store.

use super::{Link, Links, due::Due};
use credentialflow_model::{Actor, Name, Timestamp};
use std::{
    collections::{HashMap, HashSet},
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{sync::Semaphore, task::JoinSet};

/// Attempts at one store at the same time. What hangs there fills these and no others.
const AT_ONCE: usize = 8;
/// How often the feed is looked at: changes of other nodes are not told.
const LOOK: Duration = Duration::from_secs(1);

/// What is being tried, and how much each store is asked.
#[derive(Default)]
struct Running {
    tasks: JoinSet<Link>,
    links: HashSet<Link>,
    stores: HashMap<Name, Arc<Semaphore>>,
}

impl Links {
    /// Keeps every link in step, and what lets us in at the stores from ending, until `shutdown` resolves. What is
    /// not done then is done by the next one that runs: everything that counts is stored.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let keep = self.keep();
        tokio::pin!(shutdown, keep);
        let mut due = None;
        let mut running = Running::default();
        let mut changes = self.0.store.subscribe();
        loop {
            let mut pause = LOOK;
            if self.0.vault.is_sealed() {
                due = None;
            } else {
                match self.look(&mut due, &mut running).await {
                    Ok(next) => pause = pause.min(next),
                    Err(error) => {
                        tracing::warn!(%error, "the links to external stores cannot be read; trying again");
                        due = None;
                    }
                }
            }
            tokio::select! {
                () = &mut shutdown => break,
                never = &mut keep => match never {},
                _ = changes.changed() => {}
                Some(done) = running.tasks.join_next() => {
                    // A task that panicked leaves its link behind; what it was is found by starting afresh.
                    match done {
                        Ok(link) => {
                            running.links.remove(&link);
                            if let Some(view) = &mut due && view.reload(self, &link.credential).await.is_err() {
                                due = None;
                            }
                        }
                        Err(error) => {
                            tracing::error!(%error, "an attempt at an external store ended in an internal error");
                            running = Running::default();
                            due = None;
                        }
                    }
                }
                () = tokio::time::sleep(pause) => {}
            }
        }
        running.tasks.shutdown().await;
    }

    /// Begins what is due, and answers how long there is nothing else to do.
    async fn look(&self, due: &mut Option<Due>, running: &mut Running) -> crate::Result<Duration> {
        let view = match due {
            Some(view) => {
                if !view.follow(self).await? {
                    tracing::warn!("the database tells another history than the one known: every link is read anew");
                    self.0.open.close_all();
                    *view = Due::load(self).await?;
                }
                view
            }
            None => due.insert(Due::load(self).await?),
        };
        let now: Timestamp = SystemTime::now().into();
        for link in view.begin(now, &mut running.links) {
            let store = running.stores.entry(link.place.store.clone());
            let turns = store.or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE))).clone();
            let this = self.clone();
            running.tasks.spawn(async move {
                let _turn = turns.acquire_owned().await;
                // How it went is stored and told; here nobody needs it.
                let _ = this.attempt(&Actor::system("stores"), &link, false).await;
                link
            });
        }
        let until = view
            .next()
            .map_or(LOOK, |next| Duration::from_micros(u64::try_from(next.micros() - now.micros()).unwrap_or(0)));
        Ok(until.max(Duration::from_millis(10)))
    }
}
