//! Logins at a real PostgreSQL: made, used, renewed, withdrawn; withdrawn also where something failed.

use super::*;
use crate::lease::{Holder, Leases};
use credentialflow_store::LeaseState;
use credentialflow_testkit::postgres::Cluster;
use std::sync::{Arc, OnceLock};

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let cluster = Cluster::start().unwrap();
        cluster.ask_for_passwords().unwrap();
        cluster
    })
}

struct Database {
    world: World,
    leases: Arc<Leases>,
    url: String,
}

fn holder() -> Holder {
    Holder { actor: actor(), accessor: "accessor-1".into(), display_name: "token-web".into() }
}

impl Database {
    async fn new() -> Self {
        let url = cluster().create_database().unwrap();
        let world = World::new().await;
        world.mount("db", "database").await;
        let connection = format!("{}{}sslmode=disable", url, if url.contains('?') { '&' } else { '?' });
        let config = json!({"plugin_name": "postgresql-database-plugin", "connection_url": connection, "allowed_roles": "reader,short"});
        world.ok(Write, "db/config/main", config).await;
        let create = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";
        for (role, ttl) in [("reader", "1h"), ("short", "1s"), ("forbidden", "1h")] {
            let body = json!({"db_name": "main", "creation_statements": create, "default_ttl": ttl, "max_ttl": "2h"});
            world.ok(Write, &format!("db/roles/{role}"), body).await;
        }
        let leases = Arc::new(Leases::new(world.vault.clone(), world.store.clone()));
        Self { world, leases, url }
    }

    async fn mount(&self) -> Mount {
        let mut txn = self.world.txn();
        self.world.mounts.table(&mut txn).await.unwrap().secret["db/"].clone()
    }

    async fn issue(&self, role: &str) -> Result<(String, String, String)> {
        let issued = self.leases.issue(&holder(), &self.mount().await, role).await?;
        let data: Value = serde_json::from_slice(issued.data.expose()).unwrap();
        let text = |name: &str| data[name].as_str().unwrap().to_owned();
        Ok((issued.id, text("username"), text("password")))
    }

    async fn logs_in(&self, username: &str, password: &str) -> bool {
        let database = self.url.rsplit('/').next().unwrap().split('?').next().unwrap();
        cluster().sql_as(username, password, database, "SELECT 1").is_ok()
    }
}

#[tokio::test]
async fn a_login_works_until_its_lease_is_revoked() {
    let d = Database::new().await;
    let (id, username, password) = d.issue("reader").await.unwrap();
    assert!(id.starts_with("db/creds/reader/"));
    assert!(d.logs_in(&username, &password).await);
    assert!(!d.logs_in(&username, "wrong").await);
    let told = d.leases.lookup(&id).await.unwrap().unwrap();
    assert!(told.renewable && (3590..=3600).contains(&told.ttl), "{told:?}");
    let told = d.leases.renew(&actor(), &id, 9 * 3600).await.unwrap().unwrap();
    assert!((7190..=7200).contains(&told.ttl), "no longer than its role allows: {told:?}");
    assert_eq!(d.leases.list("db/creds").await.unwrap(), ["reader/"]);
    assert!(d.leases.revoke(&actor(), &id).await.unwrap());
    assert!(!d.logs_in(&username, &password).await);
    assert!(!d.leases.revoke(&actor(), &id).await.unwrap());
    assert_eq!(d.leases.lookup(&id).await.unwrap(), None);
    assert!(d.leases.renew(&actor(), &id, 0).await.unwrap().is_none());
    assert!(d.issue("forbidden").await.is_err(), "a role the database does not name");
    assert!(d.issue("nobody").await.is_err());
}

#[tokio::test]
async fn what_ends_by_itself_is_withdrawn_also_when_its_role_is_gone() {
    let d = Database::new().await;
    let (id, username, password) = d.issue("short").await.unwrap();
    let (kept, other, secret) = d.issue("reader").await.unwrap();
    d.world.ok(Delete, "db/roles/short", json!({})).await;
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    assert_eq!(d.leases.lookup(&id).await.unwrap(), None, "its time is over before anybody works on it");
    assert_eq!(d.leases.work(100).await.unwrap(), 1);
    assert!(!d.logs_in(&username, &password).await);
    assert!(d.world.store.lease(&id).await.unwrap().is_none());
    assert!(d.logs_in(&other, &secret).await);
    assert_eq!(d.leases.revoke_prefix(&actor(), "db/creds/").await.unwrap(), 1);
    assert!(!d.logs_in(&other, &secret).await);
    assert!(d.world.store.lease(&kept).await.unwrap().is_none());
}

#[tokio::test]
async fn a_revocation_that_fails_stands_and_is_tried_again() {
    let d = Database::new().await;
    let (id, username, password) = d.issue("reader").await.unwrap();
    let (other, ..) = d.issue("reader").await.unwrap();
    // The database goes away: its configuration points nowhere.
    let nowhere = "postgresql://x:y@127.0.0.1:1/x?sslmode=disable";
    d.world.ok(Write, "db/config/main", json!({"connection_url": nowhere, "verify_connection": false})).await;
    assert!(d.leases.revoke(&actor(), &id).await.is_err());
    let row = d.world.store.lease(&id).await.unwrap().unwrap();
    assert_eq!((row.state, row.attempts), (LeaseState::Revoking, 1));
    assert!(row.next_attempt.unwrap() > d.world.store.now());
    assert_eq!(d.leases.lookup(&id).await.unwrap(), None, "nobody is told that it still lives");
    let here = format!("{}{}sslmode=disable", d.url, if d.url.contains('?') { '&' } else { '?' });
    d.world.ok(Write, "db/config/main", json!({ "connection_url": here })).await;
    assert!(d.leases.revoke(&actor(), &id).await.unwrap());
    assert!(!d.logs_in(&username, &password).await);
    assert_eq!(d.leases.forget(&actor(), "db/").await.unwrap(), 1);
    assert!(d.world.store.lease(&other).await.unwrap().is_none());
}

#[tokio::test]
async fn a_login_that_cannot_be_made_leaves_nothing() {
    let d = Database::new().await;
    let body = json!({"db_name": "main", "creation_statements": "CREATE ROLE \"{{name}}\"; SELECT nonsense"});
    d.world.ok(Write, "db/roles/reader", body).await;
    assert!(matches!(d.issue("reader").await, Err(SecretsError::Invalid(_))));
    let left = d.world.store.leases_by_prefix("db/", "", 10).await.unwrap();
    assert_eq!(left.iter().map(|l| l.state).collect::<Vec<_>>(), [LeaseState::Revoking]);
    d.leases.revoke_prefix(&actor(), "db/").await.unwrap();
    assert!(d.world.store.leases_by_prefix("db/", "", 10).await.unwrap().is_empty());
    // Where the process ended between the two writes, the lease is found by its time.
    let told = d.world.ok(Read, "db/config/main", json!({})).await;
    assert!(!told.to_string().contains("password\":\""), "{told}");
}

#[tokio::test]
async fn a_flood_is_refused_before_it_reaches_the_database() {
    let d = Database::new().await;
    let mount = d.mount().await;
    let mut refused = 0;
    for _ in 0..400 {
        match d.leases.issue(&holder(), &mount, "nobody").await {
            Err(SecretsError::Busy(_)) => refused += 1,
            _ => continue,
        }
    }
    assert!(refused > 20, "{refused}");
    let other = Holder { accessor: "accessor-2".into(), ..holder() };
    assert!(!matches!(d.leases.issue(&other, &mount, "nobody").await, Err(SecretsError::Busy(_))));
}
