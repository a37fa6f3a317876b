//! Gives a token more time, as far as its terms allow.

use super::{Token, issue};
use crate::{
    Core, IdentityError, Result,
    lifetime::{self, Bounds, Terms},
    method,
    shelf::{RACES, lost_race},
};
use credentialflow_model::Actor;
use credentialflow_store::{Expect, Op, TokenRow, Unit};
use serde_json::json;
use std::sync::Arc;

/// What a renewal came to.
pub(crate) struct Renewed {
    pub(crate) token: Token,
    pub(crate) warnings: Vec<String>,
}

impl Core {
    /// Renews the token of a row by at most `increment` seconds (0: as much as it was made with).
    pub(crate) async fn renew(&self, actor: &Actor, mut row: Arc<TokenRow>, increment: i64) -> Result<Renewed> {
        for _ in 0..RACES {
            let mut token = self.alive(&row).await?.ok_or(IdentityError::Denied("bad token"))?;
            if !token.renewable || token.expires.is_none() {
                return Err(IdentityError::invalid("lease is not renewable"));
            }
            let mut ttl = token.creation_ttl;
            if let Some(role_ttl) = method::renew(self, &mut token).await? {
                ttl = role_ttl;
            }
            let fact = |name: &str, or: i64| token.internal.get(name).and_then(|v| v.parse().ok()).unwrap_or(or);
            let bounds = Bounds {
                default_ttl: fact(issue::DEFAULT_TTL, token.creation_ttl),
                max_ttl: fact(issue::MAX_TTL, token.creation_ttl),
            };
            let terms = Terms {
                increment,
                ttl,
                period: token.period,
                max_ttl: token.max_ttl,
                explicit_max_ttl: token.explicit_max_ttl,
            };
            let now = self.secs();
            let lifetime::Given { ttl: got, capped } = lifetime::ttl(terms, bounds, token.issued, now)
                .ok_or_else(|| IdentityError::invalid("past the max TTL, cannot renew"))?;
            token.expires = Some(now + got);
            token.last_renewal = Some(now);
            let mut unit = Unit::new(actor.clone());
            unit.audit("token.renew", format!("tokens/{}", token.accessor), json!({ "ttl": got }));
            unit.ops.push(Op::PutToken(self.row(&row.id_hash, &token)?, Expect::Revision(row.revision)));
            let done = self.store.submit(unit).await;
            if lost_race(&done) {
                row = self.store.token(&row.id_hash).await?.ok_or(IdentityError::Denied("bad token"))?;
                continue;
            }
            done?;
            if token.expires != row.expires_at.map(credentialflow_model::Timestamp::secs) {
                // Children remember how long their makers live.
                self.sessions.branch_ended();
            }
            let warnings = capped.map(lifetime::Capped::warning).into_iter().collect();
            return Ok(Renewed { token, warnings });
        }
        Err(IdentityError::TooMany("this token is renewed by too many callers at once; try again"))
    }
}
