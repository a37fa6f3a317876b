//! What a check costs. A measurement, not a promise of the machine: run by hand with `--ignored`.

use super::world::*;
use crate::{
    Operation,
    acl::{Acl, Policy},
};
use serde_json::{Map, json};
use std::time::Instant;

#[tokio::test]
#[ignore = "a measurement: cargo test -p credentialflow-identity --release -- --ignored --nocapture"]
async fn token_and_policy_check() {
    let world = World::new().await;
    world.policy("app", r#"path "kv/data/app/*" { capabilities = ["read"] }"#).await;
    let token = world.create(&world.root, json!({"policies": ["app"], "ttl": "1h"})).await;
    let data = Map::new();
    let rounds = 20_000;
    let start = Instant::now();
    for _ in 0..rounds {
        let caller = world.identity.authenticate(&token, None).await.unwrap();
        assert!(caller.acl().decide(Operation::Read, "kv/data/app/17", &data).allowed);
    }
    println!("token and policy check: {:?} each", start.elapsed() / rounds);
    for count in [10, 100_000] {
        let text: String =
            (0..count).map(|i| format!("path \"kv/data/team-{i}/*\" {{ capabilities = [\"read\"] }}\n")).collect();
        let policies: Vec<Policy> = text.lines().map(|l| Policy::parse(l).unwrap()).collect();
        let acl = Acl::new(&policies);
        let start = Instant::now();
        for _ in 0..rounds {
            assert!(acl.decide(Operation::Read, "kv/data/team-7/x/y", &data).allowed);
        }
        println!("one decision among {count} patterns: {:?}", start.elapsed() / rounds);
    }
}
