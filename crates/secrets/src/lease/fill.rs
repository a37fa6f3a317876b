//! The door of `benches/leases.py`: many live leases in the database of an installation that is not running, sealed and
//! written by the product's own code, each a copy of one that was really given. Does nothing of itself.

#![allow(clippy::unwrap_used)]

use super::{Body, Leases, identifier};
use credentialflow_egress::PrivateHosts;
use credentialflow_model::Actor;
use credentialflow_store::{Expect, LeaseRow, Op, Store};
use credentialflow_targets::Login;
use credentialflow_vault::{SealInput, Vault};
use serde_json::json;
use std::env::var;

/// Leases in one transaction.
const BATCH: usize = 5000;
/// Leases of one token, and tokens of one entity.
const HELD: usize = 10;

/// `LEASES_DATABASE` and `LEASES_KEY_FILE` name the installation, `LEASES_WANTED` what is wanted: `ROLE=COUNT,…`. Each
/// copy is of the first lease of `database/creds/ROLE/`; its login has that one's name, a hyphen and a number from 0.
#[tokio::test]
#[ignore = "fills a database to measure with"]
async fn leases_are_copied_for_a_measurement() {
    let store = Store::connect(&format!("sqlite:{}", var("LEASES_DATABASE").unwrap())).await.unwrap();
    let vault = Vault::open_sealed(&store).await.unwrap();
    vault.unseal(SealInput::KeyFile(var("LEASES_KEY_FILE").unwrap().into())).await.unwrap();
    let leases = Leases::new(vault, store, PrivateHosts::default());
    let mut holder = 0;
    for wanted in var("LEASES_WANTED").unwrap().split(',') {
        let (role, count) = wanted.split_once('=').unwrap();
        let prefix = format!("database/creds/{role}/");
        let row = leases.store.leases_by_prefix(&prefix, "", 1).await.unwrap().remove(0);
        let body = leases.body(&row).unwrap();
        let numbers: Vec<usize> = (0..count.parse().unwrap()).collect();
        for some in numbers.chunks(BATCH) {
            let copies = some.iter().map(|n| {
                holder += 1;
                Op::PutLease(leases.copy(&row, &body, *n, holder), Expect::Absent)
            });
            let mut tx = leases.store.begin(&Actor::operator()).await.unwrap();
            tx.apply(copies.collect()).await.unwrap();
            tx.audit("lease.issue", &format!("leases/{prefix}"), json!({ "count": some.len() }));
            tx.commit().await.unwrap();
        }
    }
    leases.store.close().await;
}

impl Leases {
    fn copy(&self, row: &LeaseRow, body: &Body, n: usize, holder: usize) -> LeaseRow {
        let id = format!("{}creds/{}/{}", row.mount, body.role, identifier(24).unwrap());
        let login = Login::named(&format!("{}-{n}", body.login.name));
        let sealed = self.sealed(&id, &Body { login, ..body.clone() }).unwrap();
        LeaseRow {
            id,
            token: Some(format!("accessor-{:016}", holder / HELD)),
            entity: Some(format!("entity-{:024}", holder / HELD / HELD)),
            sealed,
            ..row.clone()
        }
    }
}
