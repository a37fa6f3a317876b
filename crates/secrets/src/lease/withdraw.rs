//! How a login is taken away: written down, done, and written down again where it failed; also one
//! that is not handed out after all.

use super::{Body, CLAIM, HIDDEN, Leased, Leases, PENDING, RACES, STUCK, after, backoff};
use crate::{Result, SecretsError};
use credentialflow_model::{Actor, Timestamp};
use credentialflow_store::{Expect, LeaseRow, LeaseState, Op};
use credentialflow_targets::{Target, TargetError};
use serde_json::json;
use std::collections::BTreeMap;

/// A lease whose login could not be withdrawn although it was tried often; a person should look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Its id.
    pub id: String,
    /// Why the last try failed.
    pub error: String,
}

/// Why a login was not withdrawn.
pub(super) struct Failure {
    /// Whether nobody answered.
    pub(super) away: bool,
    pub(super) error: SecretsError,
}

impl Leases {
    /// Withdraws a login. `false`: there is no such lease. When the database cannot be reached the
    /// revocation stands and is tried again; the error tells so.
    pub async fn revoke(&self, actor: &Actor, id: &str) -> Result<bool> {
        if id.starts_with(HIDDEN) {
            return Ok(false);
        }
        for _ in 0..RACES {
            let Some(row) = self.store.lease(id).await? else { return Ok(false) };
            match self.claim(actor, &[row]).await {
                Ok(rows) => {
                    for row in rows {
                        self.withdraw(actor, row).await.map_err(|failure| failure.error)?;
                    }
                    return Ok(true);
                }
                // Its login became ready, or somebody else is at it: what counts is what is there now.
                Err(SecretsError::Raced) => {}
                Err(error) => return Err(error),
            }
        }
        Err(SecretsError::Busy("others were first again and again; try again".into()))
    }

    /// Forgets leases without withdrawing their logins, for databases that are gone. Certificates are withdrawn,
    /// where that can be done.
    pub async fn forget(&self, actor: &Actor, prefix: &str) -> Result<usize> {
        let mut done = 0;
        loop {
            let page = self.store.leases_by_prefix(prefix, "", 200).await?;
            if page.is_empty() || prefix.is_empty() {
                return Ok(done);
            }
            let certificate = |row: &&LeaseRow| self.body(row).is_ok_and(|body| body.leased == Leased::Certificate);
            let certificates: Vec<LeaseRow> = page.iter().filter(certificate).cloned().collect();
            for (_, rows) in self.by_place(certificates)? {
                if let Err(error) = self.end_certificates(actor, &rows).await {
                    tracing::warn!(%error, "certificates whose leases are forgotten could not be withdrawn");
                }
            }
            let mut txn = self.txn(actor.clone());
            for row in &page {
                txn.op(Op::DeleteLease(row.id.clone(), Expect::Anything));
            }
            txn.audit("lease.forget", &format!("leases/{prefix}"), json!({ "count": page.len() }));
            txn.commit().await?;
            done += page.len();
        }
    }

    /// How many leases of each mount (its path) could not be revoked although it was tried often.
    pub async fn irrevocable_counts(&self) -> Result<BTreeMap<String, u64>> {
        let failing = self.store.leases_failing().await?.into_iter();
        let stuck = failing.filter(|f| f.state == LeaseState::Stuck && !f.mount.starts_with(HIDDEN));
        Ok(stuck.map(|f| (f.mount, f.count)).collect())
    }

    /// The leases that could not be revoked although it was tried often, by id, at most `limit`.
    pub async fn irrevocable(&self, limit: u32) -> Result<Vec<Trouble>> {
        let rows = self.store.leases_stuck("", limit).await?;
        let told = |row: LeaseRow| {
            let body = self.body(&row)?;
            Ok(Trouble { id: row.id, error: body.problem.unwrap_or_default() })
        };
        rows.into_iter().filter(|row| !row.id.starts_with(HIDDEN)).map(told).collect()
    }

    /// Claims all in one go where nobody is at any of them, else one by one, those that can be had.
    pub(super) async fn claim_many(&self, actor: &Actor, rows: Vec<LeaseRow>) -> Result<Vec<LeaseRow>> {
        match self.claim(actor, &rows).await {
            Err(SecretsError::Raced) => {}
            done => return done,
        }
        let mut claimed = Vec::new();
        for row in rows {
            for _ in 0..RACES {
                let Some(row) = self.store.lease(&row.id).await? else { break };
                let ended = matches!(row.state, LeaseState::Revoking | LeaseState::Stuck);
                if ended && row.next_attempt.is_some_and(|next| next > self.store.now()) {
                    // Somebody else is at it.
                    break;
                }
                match self.claim(actor, &[row]).await {
                    Ok(row) => {
                        claimed.extend(row);
                        break;
                    }
                    Err(SecretsError::Raced) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(claimed)
    }

    /// Writes down that logins are to be withdrawn, and claims them for a while.
    pub(super) async fn claim(&self, actor: &Actor, rows: &[LeaseRow]) -> Result<Vec<LeaseRow>> {
        let mut txn = self.txn(actor.clone());
        let next = Some(after(txn.now(), CLAIM));
        let mut claimed = Vec::with_capacity(rows.len());
        for row in rows {
            let state = if row.state == LeaseState::Stuck { LeaseState::Stuck } else { LeaseState::Revoking };
            let row = LeaseRow { state, next_attempt: next, ..row.clone() };
            txn.op(Op::PutLease(row.clone(), Expect::Revision(row.revision)));
            txn.audit("lease.revoke", &format!("leases/{}", row.id), json!({ "attempt": row.attempts + 1 }));
            claimed.push(row);
        }
        let revision = txn.commit().await?;
        Ok(claimed.into_iter().map(|row| LeaseRow { revision, ..row }).collect())
    }

    /// A lease after one more failure.
    pub(super) fn failed(&self, row: LeaseRow, now: Timestamp, why: &str) -> LeaseRow {
        let attempts = row.attempts.saturating_add(1);
        let stuck = attempts >= STUCK || row.state == LeaseState::Stuck;
        let state = if stuck { LeaseState::Stuck } else { LeaseState::Revoking };
        let sealed = self.body(&row).and_then(|body| {
            let body = Body { problem: Some(why.to_owned()), ..body };
            self.sealed(&row.id, &body)
        });
        // Without the reason rather than not at all.
        let sealed = sealed.unwrap_or_else(|_| row.sealed.clone());
        LeaseRow { state, attempts, next_attempt: Some(after(now, backoff(attempts))), sealed, ..row }
    }

    /// Takes a claimed lease's login away.
    pub(super) async fn withdraw(&self, actor: &Actor, row: LeaseRow) -> Result<(), Failure> {
        let sure = |error| Failure { away: false, error };
        let subject = format!("leases/{}", row.id);
        let body = self.body(&row);
        let mut txn = self.txn(actor.clone());
        let done = match &body {
            Ok(body) if body.leased == Leased::Certificate => {
                match self.end_certificates(actor, std::slice::from_ref(&row)).await {
                    Ok(()) => return Ok(()),
                    Err(SecretsError::Sealed) => return Err(sure(SecretsError::Sealed)),
                    Err(error) => Err(sure(error)),
                }
            }
            Ok(body) => match self.databases.at(&mut txn, &body.space, &body.database, &body.place).await {
                Ok(target) => withdrawn(&*target, body).await.map_err(|e| Failure {
                    away: e.is_transient(),
                    error: SecretsError::invalid(format!("the database did not withdraw the login: {e}")),
                }),
                Err(none) => Err(Failure { away: none.away, error: none.error }),
            },
            Err(SecretsError::Sealed) => return Err(sure(SecretsError::Sealed)),
            Err(_) => Err(sure(SecretsError::corrupt("lease"))),
        };
        let mut txn = self.txn(actor.clone());
        let expect = Expect::Revision(row.revision);
        match (done, body) {
            (Ok(()), Ok(body)) if !body.made && txn.now() < made_by(&row) => {
                // Somebody may be making it at this moment: looked at again when nobody can be any more.
                let until = made_by(&row);
                txn.op(Op::PutLease(LeaseRow { next_attempt: Some(until), ..row }, expect));
                txn.audit("lease.revoke", &subject, json!({ "again_at": until.to_string() }));
                committed(txn.commit().await).map_err(sure)
            }
            (Ok(()), body) => {
                txn.op(Op::DeleteLease(row.id.clone(), expect));
                let body = body.map_err(sure)?;
                txn.audit("lease.end", &subject, json!({ "role": body.role, "login": body.login.name }));
                committed(txn.commit().await).map_err(sure)
            }
            (Err(failure), _) => {
                let row = self.failed(row, txn.now(), &failure.error.to_string());
                let wait = backoff(row.attempts);
                txn.audit("lease.revoke_failed", &subject, json!({ "attempt": row.attempts, "retry_in": wait }));
                txn.op(Op::PutLease(row, expect));
                committed(txn.commit().await).map_err(sure)?;
                let error = match failure.error {
                    SecretsError::Invalid(why) => SecretsError::invalid(format!("{why}; it is tried again")),
                    other => other,
                };
                Err(Failure { away: failure.away, error })
            }
        }
    }

    /// Takes away what was made, or half made, for a lease that does not come to be. What cannot be done
    /// at once stays written down.
    pub(super) async fn give_up(&self, actor: &Actor, row: &LeaseRow, body: Body, target: &dyn Target) {
        let id = &row.id;
        let gone = withdrawn(target, &body).await;
        let subject = format!("leases/{id}");
        for _ in 0..RACES {
            let done = async {
                let there = self.store.lease(id).await?;
                let mut txn = self.txn(actor.clone());
                let now = txn.now();
                let known = there.as_ref().map_or(Expect::Absent, |row| Expect::Revision(row.revision));
                let revoking = LeaseRow {
                    state: LeaseState::Revoking,
                    sealed: self.sealed(id, &body)?,
                    ..there.as_ref().unwrap_or(row).clone()
                };
                match (&gone, body.made) {
                    (Ok(()), true) if there.is_none() => return Ok(()),
                    (Ok(()), true) => {
                        txn.op(Op::DeleteLease(id.clone(), known));
                        txn.audit("lease.end", &subject, json!({ "role": body.role, "login": body.login.name }));
                    }
                    (Ok(()), false) => {
                        let again = LeaseRow { next_attempt: Some(made_by(row)), ..revoking };
                        txn.op(Op::PutLease(again, known));
                        txn.audit("lease.revoke", &subject, json!({ "again_at": made_by(row).to_string() }));
                    }
                    (Err(why), _) => {
                        let failed = self.failed(revoking, now, &why.to_string());
                        txn.audit("lease.revoke_failed", &subject, json!({ "attempt": failed.attempts }));
                        txn.op(Op::PutLease(failed, known));
                    }
                }
                txn.commit().await.map(drop)
            };
            match done.await {
                Ok(()) => return,
                Err(SecretsError::Raced) => {}
                Err(error) => {
                    // The lease is still written as one that is being made; that time ends.
                    tracing::warn!(lease = %id, %error, "a login that was not handed out is withdrawn later");
                    return;
                }
            }
        }
    }
}

/// Somebody else who was first has done it, or will.
fn committed(done: Result<i64>) -> Result<()> {
    match done {
        Ok(_) | Err(SecretsError::Raced) => Ok(()),
        Err(error) => Err(error),
    }
}

/// When nobody can be making a lease's login any more.
fn made_by(row: &LeaseRow) -> Timestamp {
    after(row.issued, PENDING)
}

/// Takes a login away. Where its maker did not come back, the id that an API gave it is not known, and
/// it is looked for by its name.
async fn withdrawn(target: &dyn Target, body: &Body) -> Result<(), TargetError> {
    let known = [body.login.clone()];
    if body.made || target.kind() != credentialflow_targets::Kind::Http {
        return target.revoke(&known[0], &body.statements).await.map(drop);
    }
    let found = match target.list(&body.login.name).await {
        Ok(found) => found.into_iter().filter(|login| login.name == body.login.name).collect(),
        // The description has no `list`: the name is all there is to ask for.
        Err(TargetError::BadTemplate(_)) => known.to_vec(),
        Err(error) => return Err(error),
    };
    for login in found {
        target.revoke(&login, &body.statements).await?;
    }
    Ok(())
}
