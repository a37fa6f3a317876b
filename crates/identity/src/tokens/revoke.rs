//! Ends tokens, with everything they made and everything that was leased to them.

use super::Token;
use crate::{
    Core, Result,
    shelf::{RACES, lost_race},
};
use credentialflow_model::Actor;
use credentialflow_store::{Expect, LeaseState, Op, StoreError, TokenRow, Unit};
use serde_json::json;
use std::collections::HashSet;

/// Tokens ended in one transaction; a larger branch is ended from its leaves, several transactions long.
const AT_ONCE: usize = 500;
/// Tokens looked up at a time by path or by their end.
pub(crate) const PAGE: u32 = 500;

/// What ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Tokens, those they had made included.
    pub tokens: usize,
    /// Leases that are being revoked.
    pub leases: usize,
}

impl Core {
    /// Ends these tokens and their branches. When it answers, none of them is accepted any more.
    pub(crate) async fn end_branches(&self, actor: &Actor, action: &str, roots: Vec<TokenRow>) -> Result<Ended> {
        let mut seen: HashSet<String> = HashSet::new();
        let mut all: Vec<TokenRow> = roots.into_iter().filter(|r| seen.insert(r.accessor.clone())).collect();
        let given = all.len();
        let mut at = 0;
        while at < all.len() {
            for child in self.store.tokens_of_parent(&all[at].accessor).await? {
                if seen.insert(child.accessor.clone()) {
                    all.push(child);
                }
            }
            at += 1;
        }
        let mut ended = Ended::default();
        // Children stand behind their makers: from the end on, no maker goes before its children.
        while !all.is_empty() {
            let chunk = all.split_off(all.len().saturating_sub(AT_ONCE));
            ended.leases += self.end_chunk(actor, action, &chunk).await?;
            ended.tokens += chunk.len();
        }
        if ended.tokens > given {
            self.sessions.branch_ended();
        }
        Ok(ended)
    }

    /// Ends some tokens in one transaction; answers how many leases go with them.
    async fn end_chunk(&self, actor: &Actor, action: &str, chunk: &[TokenRow]) -> Result<usize> {
        let accessors: Vec<String> = chunk.iter().map(|r| r.accessor.clone()).collect();
        let mut tries = 0;
        loop {
            let mut unit = Unit::new(actor.clone());
            let mut leases = 0;
            for row in chunk {
                leases += self.end_leases(&mut unit, &row.accessor).await?;
            }
            unit.ops.extend(chunk.iter().map(|row| Op::DeleteToken(row.id_hash.clone(), Expect::Anything)));
            for end in &self.ends {
                unit.ops.extend(end.ops(&accessors).await?);
            }
            let detail = match accessors.as_slice() {
                [_] => json!({ "leases": leases }),
                all => json!({ "tokens": all.len(), "leases": leases, "accessors": all }),
            };
            let subject = accessors.first().map(|a| format!("tokens/{a}")).unwrap_or_default();
            unit.audit(action, subject, detail);
            let done = self.store.submit(unit).await;
            // Something of theirs was changed meanwhile: look again.
            if !lost_race(&done) || tries == RACES {
                done?;
                return Ok(leases);
            }
            tries += 1;
        }
    }

    /// Lets every lease of a token be revoked, from now on, also one that is made at this moment. Answers how many
    /// there are now.
    async fn end_leases(&self, unit: &mut Unit, accessor: &str) -> Result<usize> {
        let leases = self.store.leases_of_token(accessor).await?;
        let live = leases.iter().filter(|l| matches!(l.state, LeaseState::Pending | LeaseState::Active)).count();
        unit.ops.push(Op::EndLeases { token: accessor.to_owned(), at: self.clock.now() });
        Ok(live)
    }

    /// Ends one token; what it made lives on without a maker.
    pub(crate) async fn end_alone(&self, actor: &Actor, row: TokenRow) -> Result<()> {
        let mut unit = Unit::new(actor.clone());
        let children = self.store.tokens_of_parent(&row.accessor).await?;
        let count = children.len();
        for child in children {
            let expect = Expect::Revision(child.revision);
            unit.ops.push(Op::PutToken(TokenRow { parent: None, ..child }, expect));
        }
        self.end_leases(&mut unit, &row.accessor).await?;
        for end in &self.ends {
            unit.ops.extend(end.ops(std::slice::from_ref(&row.accessor)).await?);
        }
        unit.audit("token.revoke_orphan", format!("tokens/{}", row.accessor), json!({ "orphaned": count }));
        unit.ops.push(Op::DeleteToken(row.id_hash, Expect::Anything));
        self.submit(unit).await?;
        self.sessions.branch_ended();
        Ok(())
    }

    /// Ends every token made at a path that begins so, as when an auth method is unmounted.
    pub(crate) async fn end_by_path(&self, actor: &Actor, prefix: &str) -> Result<Ended> {
        self.end_pages(actor, || self.store.tokens_by_path(prefix, PAGE)).await
    }

    /// Ends pages of tokens until there are no more. Who logs in again all the while is ended again.
    pub(crate) async fn end_pages<F>(&self, actor: &Actor, page: impl Fn() -> F) -> Result<Ended>
    where
        F: Future<Output = Result<Vec<TokenRow>, StoreError>>,
    {
        let mut sum = Ended::default();
        loop {
            let page = page().await?;
            if page.is_empty() {
                return Ok(sum);
            }
            let ended = self.end_branches(actor, "token.revoke", page).await?;
            sum.tokens += ended.tokens;
            sum.leases += ended.leases;
        }
    }

    /// Ends tokens whose time or uses are over, at most about `limit` with what they made.
    pub(crate) async fn end_expired(&self, limit: u32) -> Result<Ended> {
        let rows = self.store.tokens_expired(self.clock.now(), limit.clamp(1, PAGE)).await?;
        if rows.is_empty() {
            return Ok(Ended::default());
        }
        self.end_branches(&Actor::system("tokens"), "token.expire", rows).await
    }

    /// The token a row holds, if it and its makers are alive.
    pub(crate) async fn alive(&self, row: &TokenRow) -> Result<Option<Token>> {
        let token = self.token_of(row)?;
        let now = self.secs();
        if token.is_over(now) {
            return Ok(None);
        }
        Ok(self.valid_until(&token).await?.filter(|until| *until > now).map(|_| token))
    }
}
