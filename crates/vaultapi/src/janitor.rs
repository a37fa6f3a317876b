//! What happens by itself: tokens and leases whose time is over end, wrapped answers nobody took are forgotten, the
//! keys of identity tokens are rotated, what callers used of their policies is written down.

use crate::{
    id_token,
    state::{Inner, Ready},
};
use credentialflow_model::Actor;
use credentialflow_secrets::wrapping;
use serde_json::json;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_secs(1);
/// How long ended leases are worked at before it is the others' turn.
const LONGEST: Duration = Duration::from_secs(5);
/// Leases looked at in one go.
const LEASES: u32 = 200;
/// Tokens ended in one go.
const TOKENS: u32 = 200;

/// Between two looks at the keys of identity tokens.
const KEYS: Duration = Duration::from_secs(60);
/// Between two times that what callers used of their policies is written down: a crash costs no more of it.
const USES: Duration = Duration::from_secs(10);
/// Between two times that what was not used for very long is forgotten.
const FORGETTING: Duration = Duration::from_secs(24 * 3600);

pub(crate) async fn run(api: &Inner) {
    let is_time = |last: Option<Instant>, pause: Duration| last.is_none_or(|at| at.elapsed() >= pause);
    let (mut looked, mut wrote, mut forgot): (Option<Instant>, Option<Instant>, Option<Instant>) = (None, None, None);
    loop {
        tokio::time::sleep(PAUSE).await;
        let Some(ready) = api.ready().filter(|r| !r.vault.is_sealed()) else { continue };
        loop {
            match ready.identity.expire(TOKENS).await {
                Ok(ended) if ended >= TOKENS as usize => tokio::task::yield_now().await,
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "expired tokens could not be ended; it is tried again");
                    break;
                }
            }
        }
        let begun = Instant::now();
        while begun.elapsed() < LONGEST {
            match ready.leases.work(LEASES).await {
                Ok(found) if found >= LEASES as usize => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "ended leases could not be looked for; it is tried again");
                    break;
                }
            }
        }
        if is_time(looked, KEYS) {
            looked = Some(Instant::now());
            if let Err(error) = ready.identity.rotate_signing_keys(&id_token::mount()).await {
                tracing::warn!(%error, "the keys of identity tokens could not be looked at; it is tried again");
            }
        }
        if is_time(wrote, USES) {
            wrote = Some(Instant::now());
            if let Err(error) = ready.uses.write(&ready.store).await {
                tracing::debug!(%error, "uses of policies could not be written down; it is tried again");
            }
        }
        if is_time(forgot, FORGETTING) {
            forgot = Some(Instant::now());
            if let Err(error) = ready.store.forget_rule_uses().await {
                tracing::debug!(%error, "old uses of policies could not be forgotten; it is tried again");
            }
        }
        if let Err(error) = sweep(&ready).await {
            tracing::debug!(%error, "wrapped answers could not be forgotten; it is tried again");
        }
    }
}

async fn sweep(ready: &Ready) -> credentialflow_secrets::Result<()> {
    let mut txn = ready.txn(Actor::system("janitor"));
    let gone = wrapping::sweep(&mut txn).await?;
    if gone > 0 {
        txn.audit("response.expire", "vault/sys/wrapping", json!({ "count": gone }));
        txn.commit().await?;
    }
    Ok(())
}
