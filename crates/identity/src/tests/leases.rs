//! Leases end with their token, also one that is made while the token ends.

use super::world::*;
use crate::ports::{Boxed, TokenEnd};
use crate::{Clock, Identity, Result};
use credentialflow_model::{Actor, Timestamp};
use credentialflow_store::{Expect, LeaseRow, LeaseState, Op, Store, Unit};
use serde_json::json;
use std::sync::Arc;

/// Makes a lease after the token's leases were looked for and before the token is gone.
struct Meanwhile(Store);

fn lease(accessor: &str) -> LeaseRow {
    LeaseRow {
        id: "database/creds/a/late".into(),
        mount: "database/".into(),
        token: Some(accessor.to_owned()),
        entity: None,
        application: None,
        place: String::new(),
        issued: Timestamp::from_secs(1),
        expires_at: None,
        state: LeaseState::Active,
        attempts: 0,
        next_attempt: None,
        sealed: b"sealed".to_vec(),
        revision: 0,
    }
}

impl TokenEnd for Meanwhile {
    fn ops<'a>(&'a self, accessors: &'a [String]) -> Boxed<'a, Result<Vec<Op>>> {
        Box::pin(async move {
            let mut unit = Unit::new(Actor::operator());
            unit.audit("lease.issue", "leases/late", json!({}));
            unit.ops.push(Op::PutLease(lease(&accessors[0]), Expect::Anything));
            self.0.submit(unit).await.unwrap();
            Ok(Vec::new())
        })
    }
}

#[tokio::test]
async fn a_lease_that_is_made_while_its_token_ends_ends_too() {
    let world = World::new().await;
    let ends: Vec<Arc<dyn TokenEnd>> = vec![Arc::new(Meanwhile(world.store.clone()))];
    let clock = Clock::system(Timestamp::from_secs(START));
    let identity = Identity::with_clock(world.store.clone(), world.vault.clone(), clock, world.web.clone(), ends);
    let ended = identity.revoke_prefix(&Actor::operator(), "auth/token/").await.unwrap();
    assert!(ended >= 1);
    let late = world.store.lease("database/creds/a/late").await.unwrap().unwrap();
    assert_eq!(late.state, LeaseState::Revoking);
    assert!(late.next_attempt.is_some());
}
