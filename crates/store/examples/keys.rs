//! How long a start walks over a million keys in SQLite, and over the first of them; `cargo xtask bench keys`
//! runs it.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use credentialflow_model::{Actor, KeyId, Name, Timestamp, lifecycle::VersionState, resource::Kind};
use credentialflow_store::{KeyRow, KeySecretRow, Store, StoreError};
use serde_json::json;
use std::time::Instant;

const KEYS: u64 = 1_000_000;
/// Keys written by one statement's worth of work.
const PART: u64 = 10_000;
/// Keys read at a time, as a start reads them.
const PAGE: u32 = 5_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let store = Store::connect(&format!("sqlite:{}", dir.path().join("store.db").display())).await?;
    store.migrate().await?;
    fill(&store).await?;
    for round in 1..=3 {
        let (start, mut met) = (Instant::now(), 0u64);
        store
            .for_each_key::<StoreError>(PAGE, |_| {
                met += 1;
                Ok(())
            })
            .await?;
        anyhow::ensure!(met == KEYS, "the walk met {met} keys of {KEYS}");
        println!("walk {round}: {met} keys in {:.2} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Stores the keys, each with a secret and a declaration, in one change.
async fn fill(store: &Store) -> anyhow::Result<()> {
    let created = Timestamp::from_secs(1_793_534_400);
    let application: Name = "checkout".parse()?;
    let mut tx = store.begin(&Actor::operator()).await?;
    for first in (1..=KEYS).step_by(usize::try_from(PART)?) {
        let (mut keys, mut secrets, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
        for n in first..first + PART {
            // Spread over the whole range, the top bit included.
            let id = KeyId::from_bits(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let name: Name = format!("k{n}").parse()?;
            secrets.push(KeySecretRow {
                key_id: id,
                version: 1,
                state: VersionState::Current,
                hash: [1; 32],
                pepper_id: 1,
                created,
                retire_at: None,
            });
            bodies.push((Kind::Keys, name.clone(), json!({ "name": name, "application": application }).to_string()));
            keys.push(KeyRow {
                id,
                name,
                application: application.clone(),
                created,
                revoked_at: None,
                quarantine: None,
            });
        }
        tx.insert_keys(&keys).await?;
        tx.insert_key_secrets(&secrets).await?;
        tx.put_resources(&bodies).await?;
    }
    tx.audit("config.apply", "config/all", json!({}));
    tx.commit().await?;
    Ok(())
}
