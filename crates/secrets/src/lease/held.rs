//! Everything that somebody holds, or that begins with a prefix, ended with one word: first all of it is written down as
//! ended, then it is withdrawn, place by place. Where the process dies in between, the rest is withdrawn later.

use super::work::Tally;
use super::{CLAIM, HIDDEN, Leases, RACES, after};
use crate::{Result, SecretsError};
use credentialflow_model::Actor;
use credentialflow_store::{Expect, LeaseRow, LeaseState, Op};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Leases looked at in one go.
const PAGE: u32 = 200;
/// Between two looks whether something is left: at first, and after [`SOON`].
const PAUSE: Duration = Duration::from_millis(50);
const LONG_PAUSE: Duration = Duration::from_millis(500);
/// What others are at is done within that, mostly.
const SOON: Duration = Duration::from_secs(1);

/// Whose leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// Those given to tokens that speak for an entity.
    Entity(String),
    /// Those given to tokens of an application.
    Application(String),
    /// Those whose ids begin so.
    Prefix(String),
}

impl Held {
    /// As the audit log names them.
    fn subject(&self) -> String {
        match self {
            Self::Entity(entity) => format!("entities/{entity}"),
            Self::Application(application) => format!("applications/{application}"),
            Self::Prefix(prefix) => format!("leases/{prefix}"),
        }
    }
}

/// What came of ending leases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// How many there were.
    pub leases: usize,
    /// How many of them are not withdrawn yet: they are tried again by themselves.
    pub left: usize,
    /// Why, where it is known.
    pub problem: Option<String>,
}

impl Leases {
    /// Withdraws every login whose lease's id begins so; tells how many. All of them are written down as ended before
    /// the first is withdrawn. One that fails does not keep the others waiting, and is tried again by itself; a caller
    /// who does not wait for the end changes nothing.
    pub async fn revoke_prefix(self: &Arc<Self>, actor: &Actor, prefix: &str) -> Result<usize> {
        let (leases, actor, held) = (self.clone(), actor.clone(), Held::Prefix(prefix.to_owned()));
        let all = tokio::spawn(async move {
            leases.end_held(&actor, &held).await?;
            leases.withdraw_held(&actor, &held).await
        });
        let sum = all.await.map_err(|e| SecretsError::Internal(Box::new(e)))??;
        sum.failed.map_or(Ok(sum.done), Err)
    }

    /// Withdraws everything that somebody holds. All of it is written down as ended before this answers; it is waited
    /// for only so long, and what takes longer goes on by itself.
    pub async fn revoke_held(self: &Arc<Self>, actor: &Actor, held: &Held, patience: Duration) -> Result<Ended> {
        let begun = Instant::now();
        let (leases, by, whose) = (self.clone(), actor.clone(), held.clone());
        let ended = tokio::spawn(async move { leases.end_held(&by, &whose).await }).await;
        let ended = ended.map_err(|e| SecretsError::Internal(Box::new(e)))??;
        let (leases, by, whose) = (self.clone(), actor.clone(), held.clone());
        let withdrawn = tokio::spawn(async move { leases.withdraw_held(&by, &whose).await });
        let problem = match tokio::time::timeout(patience.saturating_sub(begun.elapsed()), withdrawn).await {
            Err(_) => Some("it takes longer".to_owned()),
            Ok(done) => match done.map_err(|e| SecretsError::Internal(Box::new(e)))? {
                Ok(sum) => sum.failed.map(|error| error.to_string()),
                Err(error) => Some(error.to_string()),
            },
        };
        // Others are at some of them: whoever looks for what is due.
        let waited = Instant::now();
        while problem.is_none() && begun.elapsed() < patience && !self.page(held, "", 1).await?.is_empty() {
            tokio::time::sleep(if waited.elapsed() < SOON { PAUSE } else { LONG_PAUSE }).await;
        }
        let left = self.count(held).await?;
        Ok(Ended { leases: ended, left, problem: problem.filter(|_| left > 0) })
    }

    async fn page(&self, held: &Held, after: &str, most: u32) -> Result<Vec<LeaseRow>> {
        Ok(match held {
            Held::Entity(entity) => self.store.leases_of_entity(entity, after, most).await?,
            Held::Application(application) => self.store.leases_of_application(application, after, most).await?,
            Held::Prefix(prefix) => self.store.leases_by_prefix(prefix, after, most).await?,
        })
    }

    async fn count(&self, held: &Held) -> Result<usize> {
        let (mut after, mut count) = (String::new(), 0);
        loop {
            let page = self.page(held, &after, 1000).await?;
            let Some(last) = page.last() else { return Ok(count) };
            after.clone_from(&last.id);
            count += page.iter().filter(|row| !row.id.starts_with(HIDDEN)).count();
        }
    }

    /// Writes down that these leases have ended; tells how many there are. Where the process dies now, their logins are
    /// withdrawn later.
    async fn end_held(&self, actor: &Actor, held: &Held) -> Result<usize> {
        let (mut after, mut count) = (String::new(), 0);
        let subject = held.subject();
        loop {
            let page = self.page(held, &after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(count) };
            after.clone_from(&last.id);
            count += page.iter().filter(|row| !row.id.starts_with(HIDDEN)).count();
            match self.end_all(actor, page.clone(), &subject).await {
                Err(SecretsError::Raced) => {}
                done => {
                    done?;
                    continue;
                }
            }
            for LeaseRow { id, .. } in page {
                for tries in 1.. {
                    let Some(row) = self.store.lease(&id).await? else { break };
                    match self.end_all(actor, vec![row], &subject).await {
                        Err(SecretsError::Raced) if tries < RACES => {}
                        done => {
                            done?;
                            break;
                        }
                    }
                }
            }
        }
    }

    /// Ends those that live, and takes them for a while: the withdrawal of all is about to begin.
    async fn end_all(&self, actor: &Actor, rows: Vec<LeaseRow>, subject: &str) -> Result<()> {
        let mut txn = self.txn(actor.clone());
        let next = Some(after(txn.now(), CLAIM));
        let mut count = 0;
        for row in rows {
            if matches!(row.state, LeaseState::Revoking | LeaseState::Stuck) || row.id.starts_with(HIDDEN) {
                continue;
            }
            let expect = Expect::Revision(row.revision);
            txn.op(Op::PutLease(LeaseRow { state: LeaseState::Revoking, next_attempt: next, ..row }, expect));
            count += 1;
        }
        if count == 0 {
            return Ok(());
        }
        txn.audit("lease.end_prefix", subject, json!({ "count": count }));
        txn.commit().await.map(drop)
    }

    async fn withdraw_held(self: &Arc<Self>, actor: &Actor, held: &Held) -> Result<Tally> {
        let (mut after, mut sum) = (String::new(), Tally::default());
        loop {
            let page = self.page(held, &after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(sum) };
            after.clone_from(&last.id);
            let mut running = JoinSet::new();
            for (place, rows) in self.by_place(page)? {
                let (leases, actor) = (self.clone(), actor.clone());
                running.spawn(async move { leases.withdraw_all(&actor, &place, rows).await });
            }
            for tally in running.join_all().await {
                sum.done += tally.done;
                sum.failed = tally.failed.or(sum.failed);
            }
            if matches!(sum.failed, Some(SecretsError::Sealed)) {
                return Ok(sum);
            }
        }
    }
}
