//! From a presented token to a caller: found, alive, from the right place, and its uses counted.
//!
//! What was read once is remembered under the keyed hash, together with the number of the commit that
//! wrote it: the store is asked each time (it answers from memory), so a revocation shows at once.

use super::{BATCH_PREFIX, SERVICE_PREFIX, Token, batch, id};
use crate::{
    Core, IdentityError, Result,
    acl::Acl,
    fields::within,
    shelf::{RACES, lost_race},
};
use credentialflow_model::{Actor, ActorKind};
use credentialflow_store::{Expect, Op, TokenRow, Unit};
use hashbrown::HashMap;
use serde_json::json;
use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// A caller whose token was checked.
#[derive(Clone, Debug)]
pub struct Authenticated {
    session: Arc<Session>,
    source: Option<IpAddr>,
    /// Whether this use was the token's last: after the request it is to be ended.
    last_use: bool,
}

#[derive(Debug)]
struct Session {
    token: Token,
    acl: Arc<Acl>,
    acl_revision: i64,
    id_hash: [u8; 32],
    revision: i64,
    /// The end of the token or of one of its makers, whichever comes first.
    valid_until: i64,
    /// The count of ended branches when its makers were looked at.
    branches: u64,
    actor: Actor,
    holder: String,
}

impl Authenticated {
    /// What is known about the token.
    pub fn token(&self) -> &Token {
        &self.session.token
    }

    /// What it may do.
    pub fn acl(&self) -> &Acl {
        &self.session.acl
    }

    /// The keyed hash it is stored under: for [`Unit::read_token`]. `None` for batch tokens.
    pub fn id_hash(&self) -> Option<&[u8; 32]> {
        (!self.session.token.accessor.is_empty()).then_some(&self.session.id_hash)
    }

    /// Who it is in the audit log: display name and accessor.
    pub fn actor(&self) -> Actor {
        Actor { source: self.source.map(|ip| ip.to_string()), ..self.session.actor.clone() }
    }

    /// Whose grants it uses, for who keeps what was used of them; empty: nobody's in particular. See [`Token::holder`].
    pub fn holder(&self) -> &str {
        &self.session.holder
    }

    /// Whether this was its last use: the caller then ends it with
    /// [`Identity::spend`](crate::Identity::spend) after the request.
    pub const fn is_last_use(&self) -> bool {
        self.last_use
    }
}

const SHARDS: usize = 16;
/// Sessions per shard and generation.
const KEPT: usize = 512;

/// Tokens read lately.
#[derive(Default)]
pub(crate) struct Sessions {
    shards: [Mutex<Generations>; SHARDS],
    /// Grows with each branch that ends: sessions with makers are then looked at again.
    branches: AtomicU64,
}

/// The young are written to; what is not used for two turns is forgotten.
#[derive(Default)]
struct Generations {
    young: HashMap<[u8; 32], Arc<Session>>,
    old: HashMap<[u8; 32], Arc<Session>>,
}

impl Sessions {
    fn shard(&self, hash: &[u8; 32]) -> std::sync::MutexGuard<'_, Generations> {
        self.shards[usize::from(hash[0]) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, hash: &[u8; 32]) -> Option<Arc<Session>> {
        let mut shard = self.shard(hash);
        if let Some(found) = shard.young.get(hash) {
            return Some(found.clone());
        }
        let found = shard.old.remove(hash)?;
        shard.young.insert(*hash, found.clone());
        Some(found)
    }

    fn put(&self, session: &Arc<Session>) {
        let mut shard = self.shard(&session.id_hash);
        if shard.young.len() >= KEPT {
            shard.old = std::mem::take(&mut shard.young);
        }
        shard.young.insert(session.id_hash, session.clone());
    }

    /// Sessions with makers must look at them again.
    pub(super) fn branch_ended(&self) {
        self.branches.fetch_add(1, Ordering::AcqRel);
    }
}

/// The refusal of every token that is not good, whatever the reason.
fn refused() -> IdentityError {
    IdentityError::denied()
}

impl Core {
    pub(crate) async fn authenticate(&self, presented: &str, source: Option<IpAddr>) -> Result<Authenticated> {
        if presented.is_empty() {
            return Err(IdentityError::Denied("missing client token"));
        }
        if presented.len() > id::MAX_LEN {
            return Err(refused());
        }
        let session = if presented.starts_with(BATCH_PREFIX) {
            self.batch_session(presented).await?
        } else {
            let (row, hash) = self.find(presented).await?.ok_or_else(refused)?;
            self.session(&row, hash).await?
        };
        if session.token.is_over(self.secs()) || session.valid_until <= self.secs() {
            return Err(refused());
        }
        if !within(&session.token.bound_cidrs, source) {
            return Err(refused());
        }
        if session.token.num_uses > 0 {
            self.use_once(session, source).await
        } else {
            Ok(Authenticated { session, source, last_use: false })
        }
    }

    /// The row of a presented service token.
    pub(crate) async fn find(&self, presented: &str) -> Result<Option<(Arc<TokenRow>, [u8; 32])>> {
        // A mistyped token of ours is told without asking the database.
        if presented.len() > id::MAX_LEN || (presented.starts_with(SERVICE_PREFIX) && !id::is_service_token(presented))
        {
            return Ok(None);
        }
        for hash in id::hashes(self, presented.as_bytes())? {
            if let Some(row) = self.store.token(&hash).await? {
                return Ok(Some((row, hash)));
            }
        }
        Ok(None)
    }

    async fn session(&self, row: &TokenRow, id_hash: [u8; 32]) -> Result<Arc<Session>> {
        let branches = self.sessions.branches.load(Ordering::Acquire);
        let acl_revision = self.policy_revision().await?;
        if let Some(known) = self.sessions.get(&id_hash)
            && known.revision == row.revision
            && known.acl_revision == acl_revision
            && (known.token.parent.is_none() || known.branches == branches)
            && (known.token.parent.is_none() || known.valid_until > self.secs())
        {
            return Ok(known);
        }
        let token = self.token_of(row)?;
        let session = self.new_session(token, id_hash, row.revision, branches).await?;
        self.sessions.put(&session);
        Ok(session)
    }

    async fn batch_session(&self, presented: &str) -> Result<Arc<Session>> {
        let id_hash = id::hash(self, presented.as_bytes())?;
        let acl_revision = self.policy_revision().await?;
        if let Some(known) = self.sessions.get(&id_hash)
            && known.acl_revision == acl_revision
            && known.token.parent.is_none()
        {
            return Ok(known);
        }
        let token = batch::open(self, presented)?.ok_or_else(refused)?;
        // With a maker it is looked at each time: nothing else tells that the maker is gone.
        let session = self.new_session(token, id_hash, 0, 0).await?;
        self.sessions.put(&session);
        Ok(session)
    }

    async fn new_session(&self, token: Token, id_hash: [u8; 32], revision: i64, branches: u64) -> Result<Arc<Session>> {
        let valid_until = self.valid_until(&token).await?.ok_or_else(refused)?;
        let (acl, acl_revision) = self.acl(&token.policies).await?;
        let name = if token.accessor.is_empty() {
            format!("{} batch", token.display_name)
        } else {
            format!("{} {}", token.display_name, token.accessor)
        };
        let actor = Actor { kind: ActorKind::Client, name, source: None };
        let holder = token.holder();
        Ok(Arc::new(Session { token, acl, acl_revision, id_hash, revision, valid_until, branches, actor, holder }))
    }

    /// Until when a token and all its makers live; `None` when one of them is gone.
    pub(crate) async fn valid_until(&self, token: &Token) -> Result<Option<i64>> {
        let mut until = token.expires.unwrap_or(i64::MAX);
        let mut maker = token.parent.clone();
        while let Some(accessor) = maker {
            let Some(row) = self.store.token_by_accessor(&accessor).await? else { return Ok(None) };
            if let Some(end) = row.expires_at {
                until = until.min(end.secs());
            }
            maker = row.parent;
        }
        Ok(Some(until))
    }

    /// Counts one use, exactly: of two callers at the same moment one starts again with what the other left.
    async fn use_once(&self, mut session: Arc<Session>, source: Option<IpAddr>) -> Result<Authenticated> {
        let mut turn = None;
        for _ in 0..RACES {
            if session.token.is_over(self.secs()) {
                return Err(refused());
            }
            let mut token = session.token.clone();
            token.num_uses = if token.num_uses == 1 { -1 } else { token.num_uses - 1 };
            let last_use = token.num_uses < 0;
            let actor = Actor { source: source.map(|ip| ip.to_string()), ..session.actor.clone() };
            let mut unit = Unit::new(actor);
            unit.audit("token.use", format!("tokens/{}", token.accessor), json!({ "left": token.num_uses.max(0) }));
            unit.ops.push(Op::PutToken(self.row(&session.id_hash, &token)?, Expect::Revision(session.revision)));
            let done = self.store.submit(unit).await;
            if lost_race(&done) {
                if turn.is_none() {
                    turn = Some(self.turn.lock().await);
                }
                let row = self.store.token(&session.id_hash).await?.ok_or_else(refused)?;
                session = self.session(&row, session.id_hash).await?;
                continue;
            }
            let used = self.new_session(token, session.id_hash, done?, session.branches).await?;
            return Ok(Authenticated { session: used, source, last_use });
        }
        Err(IdentityError::TooMany("this token is used by too many callers at once; try again"))
    }
}
