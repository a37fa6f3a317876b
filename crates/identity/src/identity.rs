//! The handle to this room.

use crate::{
    Auth, Authenticated, Call, Clock, Core, IdentityError, Mount, NewToken, Response, Result, SigningKey, Sort,
    Standings,
    acl::Acl,
    core, issuer, listed, method, policies,
    ports::{TokenEnd, Web},
    shelf::RACES,
    tokens,
};
use credentialflow_model::{Actor, Period, SecretValue};
use credentialflow_store::{Store, Unit};
use credentialflow_vault::Vault;
use serde_json::json;
use std::{net::IpAddr, sync::Arc};

/// Who may fetch at run time. Cheap to clone; all clones share caches.
#[derive(Clone, Debug)]
pub struct Identity(Arc<Core>);

impl Identity {
    /// Over a store and its vault. Time does not fall behind the newest event the store knows.
    pub async fn open(store: Store, vault: Vault, web: Arc<dyn Web>, ends: Vec<Arc<dyn TokenEnd>>) -> Result<Self> {
        let clock = Clock::system(core::newest_moment(&store).await?);
        Ok(Self::with_clock(store, vault, clock, web, ends))
    }

    /// As [`Identity::open`], with a clock of the caller's.
    pub fn with_clock(
        store: Store,
        vault: Vault,
        clock: Clock,
        web: Arc<dyn Web>,
        ends: Vec<Arc<dyn TokenEnd>>,
    ) -> Self {
        Self(Arc::new(Core::new(store, vault, clock, web, ends)))
    }

    /// The clock by which tokens live.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Writes what an installation begins with: the policy `default`. To be called after every unsealing;
    /// what is there already stays.
    pub async fn prepare(&self) -> Result<()> {
        self.0.write_default_policy(Actor::system("identity")).await
    }

    /// Makes a token that may do everything; without a lifetime it does not end. For the first start, and for operators
    /// who proved themselves by other means.
    pub async fn create_root_token(&self, actor: Actor, ttl: Option<Period>) -> Result<Auth> {
        let mut unit = Unit::new(actor);
        let auth = self.0.issue(
            &mut unit,
            NewToken {
                path: "auth/token/root".to_owned(),
                display_name: "root".to_owned(),
                policies: vec![policies::ROOT.to_owned()],
                ttl: ttl.map_or(0, |ttl| ttl.as_duration().as_secs().max(1).try_into().unwrap_or(i64::MAX)),
                ..NewToken::default()
            },
        )?;
        unit.audit("token.create_root", format!("tokens/{}", auth.accessor), json!({}));
        self.0.submit(unit).await?;
        Ok(auth)
    }

    /// Puts a token made for the system's own use (response wrapping, for one) into a unit. The caller
    /// adds the audit event that tells why, and submits.
    pub fn issue(&self, unit: &mut Unit, new: NewToken) -> Result<Auth> {
        self.0.issue(unit, new)
    }

    /// The caller behind a presented token: known, alive, from an allowed place. A token with a limited
    /// number of uses has one less after this.
    pub async fn authenticate(&self, presented: &str, source: Option<IpAddr>) -> Result<Authenticated> {
        self.0.authenticate(presented, source).await
    }

    /// Ends a token after its last use; see [`Authenticated::is_last_use`].
    pub async fn spend(&self, caller: &Authenticated) -> Result<()> {
        if let Some(hash) = caller.id_hash()
            && let Some(row) = self.0.store.token(hash).await?
        {
            self.0.end_branches(&caller.actor(), "token.expire", vec![(*row).clone()]).await?;
        }
        Ok(())
    }

    /// What a token may do, given the token: for `sys/capabilities`.
    pub async fn acl_of_token(&self, token: &str) -> Result<Arc<Acl>> {
        let policies = if token.starts_with(tokens::BATCH_PREFIX) {
            self.0.authenticate(token, None).await?.token().policies.clone()
        } else {
            let (row, _) = self.0.find(token).await?.ok_or_else(|| IdentityError::invalid("invalid token"))?;
            self.0.alive(&row).await?.ok_or_else(|| IdentityError::invalid("invalid token"))?.policies
        };
        Ok(self.0.acl(&policies).await?.0)
    }

    /// What a token may do, given its accessor: for `sys/capabilities-accessor`.
    pub async fn acl_of_accessor(&self, accessor: &str) -> Result<Arc<Acl>> {
        let unknown = || IdentityError::invalid("invalid accessor");
        let row = self.0.store.token_by_accessor(accessor).await?.ok_or_else(unknown)?;
        let token = self.0.alive(&row).await?.ok_or_else(unknown)?;
        Ok(self.0.acl(&token.policies).await?.0)
    }

    /// Answers a path of `auth/token/`.
    pub async fn token(&self, call: &Call<'_>) -> Result<Response> {
        again(&self.0, call, || tokens::handle(&self.0, call)).await
    }

    /// Answers a path of a mounted auth method; `kind` is a name of [`method::KINDS`].
    pub async fn login_method(&self, kind: &str, call: &Call<'_>) -> Result<Response> {
        let method = method::find(kind)?;
        again(&self.0, call, || method.handle(&self.0, call)).await
    }

    /// Whether what a path names is there, for methods that tell create from update; `None`: they do not.
    pub async fn exists(&self, kind: &str, call: &Call<'_>) -> Result<Option<bool>> {
        method::find(kind)?.exists(&self.0, call).await
    }

    /// Answers a path below `identity/oidc/`: identity tokens for others to check.
    pub async fn id_tokens(&self, call: &Call<'_>) -> Result<Response> {
        again(&self.0, call, || issuer::handle(&self.0, call)).await
    }

    /// Whether a path below `identity/oidc/` is for everybody.
    pub fn id_tokens_open(path: &str) -> bool {
        issuer::is_open(path)
    }

    /// Rotates the keys of identity tokens whose time has come; answers how many. To be called every minute:
    /// no key's period is shorter.
    pub async fn rotate_signing_keys(&self, mount: &Mount) -> Result<usize> {
        issuer::rotate_due(&self.0, mount).await
    }

    /// The keys that sign identity tokens, without what they sign with.
    pub async fn signing_keys(&self, mount: &Mount) -> Result<Vec<SigningKey>> {
        issuer::signing_keys(&self.0, mount).await
    }

    /// What lets somebody in, page by page: of one sort and after a name about `most` are looked at. `mounts` are all
    /// auth mounts with their kinds, by path.
    pub async fn standings(&self, sort: Sort, mounts: &[(String, Mount)], after: &str, most: u32) -> Result<Standings> {
        listed::page(&self.0, sort, mounts, after, most).await
    }

    /// Ends every token that speaks for an entity, with its branch and leases; answers how many. Batch tokens end by
    /// their time alone.
    pub async fn revoke_entity(&self, actor: &Actor, entity: &str) -> Result<usize> {
        let page = || self.0.store.tokens_of_entity(entity, tokens::PAGE);
        Ok(self.0.end_pages(actor, page).await?.tokens)
    }

    /// Ends every token given to an application, with its branch and leases; answers how many. Batch tokens end by
    /// their time alone.
    pub async fn revoke_application(&self, actor: &Actor, application: &str) -> Result<usize> {
        let page = || self.0.store.tokens_of_application(application, tokens::PAGE);
        Ok(self.0.end_pages(actor, page).await?.tokens)
    }

    #[cfg(test)]
    pub(crate) fn core(&self) -> &Core {
        &self.0
    }

    /// Answers `sys/policies/acl/NAME`; the call's path is the name.
    pub async fn policies(&self, call: &Call<'_>) -> Result<Response> {
        again(&self.0, call, || policies::handle(&self.0, call, false)).await
    }

    /// Answers `sys/policy/NAME`, the older form.
    pub async fn policies_old_style(&self, call: &Call<'_>) -> Result<Response> {
        again(&self.0, call, || policies::handle(&self.0, call, true)).await
    }

    /// Ends every token made at a path that begins so (`auth/approle/`), with their leases: to be called
    /// before an auth method is unmounted.
    pub async fn revoke_prefix(&self, actor: &Actor, prefix: &str) -> Result<usize> {
        Ok(self.0.end_by_path(actor, prefix).await?.tokens)
    }

    /// Ends the token with this accessor and its branch; `false` when there is none.
    pub async fn revoke_accessor(&self, actor: &Actor, accessor: &str) -> Result<bool> {
        let Some(row) = self.0.store.token_by_accessor(accessor).await? else { return Ok(false) };
        self.0.end_branches(actor, "token.revoke", vec![row]).await?;
        Ok(true)
    }

    /// Ends tokens whose time is over, oldest first; answers how many. To be called every few seconds,
    /// and again at once while it answers `limit` or more.
    pub async fn expire(&self, limit: u32) -> Result<usize> {
        Ok(self.0.end_expired(limit).await?.tokens)
    }

    /// A random token-like secret, for callers that make tokens of their own kind.
    pub fn random_secret(chars: usize) -> Result<SecretValue> {
        Ok(SecretValue::from(tokens::random_text(chars)?.as_str()))
    }
}

/// Does something again with what is there now, when somebody else was first: those who lost once, one after the other.
/// Not where what the call itself rests on was changed, which is the caller's to read again, nor where the caller's
/// token was ended: that is refused.
async fn again<F: Future<Output = Result<Response>>>(
    core: &Core,
    call: &Call<'_>,
    mut attempt: impl FnMut() -> F,
) -> Result<Response> {
    let mut turn = None;
    for _ in 1..RACES {
        match attempt().await {
            Err(IdentityError::Conflict) if core.stands(call.rests_on).await? => {}
            other => return other,
        }
        if !core.caller_stands(call.caller).await? {
            return Err(IdentityError::denied());
        }
        if turn.is_none() {
            turn = Some(core.turn.lock().await);
        }
    }
    attempt().await
}
