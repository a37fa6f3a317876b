//! The engine `pki`: what roles allow is issued and can be checked, what is withdrawn stands on the signed list, leases
//! withdraw what they are of.

use super::*;
use crate::lease::{Done, Holder, Leases};
use credentialflow_certificates::{Bundle, Certificate};
use credentialflow_egress::PrivateHosts;
use credentialflow_store::LeaseState;
use std::sync::Arc;

struct Pki {
    world: World,
    leases: Arc<Leases>,
}

impl Pki {
    async fn new() -> Self {
        let world = World::new().await;
        world.mount("pki", "pki").await;
        let leases = Arc::new(Leases::new(world.vault.clone(), world.store.clone(), PrivateHosts::default()));
        Self { world, leases }
    }

    /// With an authority and two roles, of which `leased` gives leases.
    async fn ready() -> Self {
        let pki = Self::new().await;
        pki.ok(Write, "root/generate/internal", json!({"common_name": "Root", "key_type": "ec", "ttl": "700h"})).await;
        for (role, leased) in [("plain", false), ("leased", true)] {
            let body = json!({"allowed_domains": "example.com", "allow_subdomains": true, "key_type": "ec",
                "max_ttl": "72h", "generate_lease": leased});
            pki.ok(Write, &format!("roles/{role}"), body).await;
        }
        pki
    }

    async fn mount(&self) -> Mount {
        let mut txn = self.world.txn();
        self.world.mounts.table(&mut txn).await.unwrap().secret["pki/"].clone()
    }

    async fn ask(&self, operation: Operation, path: &str, data: Value) -> Result<(String, Value)> {
        let mount = self.mount().await;
        let Some(deed) = Engine::of(&mount).unwrap().deed(operation, path) else {
            return Ok((String::new(), self.world.call(operation, &format!("pki/{path}"), data).await?));
        };
        let Value::Object(data) = data else { panic!("an object") };
        let holder = Holder {
            actor: actor(),
            accessor: "accessor-1".into(),
            token: None,
            entity: String::new(),
            application: String::new(),
            origin: String::new(),
            display_name: "token-web".into(),
        };
        Ok(match self.leases.perform(&holder, &mount, &deed, &data, &json!({})).await? {
            Done::Issued(issued) => {
                assert!(!issued.renewable);
                (issued.id, serde_json::from_slice(issued.data.expose()).unwrap())
            }
            Done::Reply(Reply { data: Some(Payload::Secret(text)), .. }) => {
                (String::new(), serde_json::from_slice(text.expose()).unwrap())
            }
            Done::Reply(other) => panic!("{other:?}"),
        })
    }

    async fn ok(&self, operation: Operation, path: &str, data: Value) -> Value {
        self.ask(operation, path, data).await.unwrap_or_else(|e| panic!("{path}: {e}")).1
    }

    async fn refused(&self, operation: Operation, path: &str, data: Value, why: &str) {
        let error = self.ask(operation, path, data).await.unwrap_err().to_string();
        assert!(error.contains(why), "{path}: {error}");
    }

    /// A certificate with its lease, if it has one: the lease's id and the serial number.
    async fn issue(&self, role: &str) -> (String, String) {
        let asked = json!({"common_name": "a.example.com", "ttl": "1h"});
        let (id, told) = self.ask(Write, &format!("issue/{role}"), asked).await.unwrap();
        (id, told["serial_number"].as_str().unwrap().to_owned())
    }

    async fn withdrawn(&self, serial: &str) -> bool {
        let told = self.ok(Read, &format!("cert/{serial}"), json!({})).await;
        told["revocation_time"].as_i64().unwrap() > 0
    }

    /// The list as told, with how many stand on it.
    async fn listed(&self) -> (Vec<u8>, usize) {
        let mut txn = self.world.txn();
        let list: Value = txn.entries(&self.mount().await.uuid).get_json("crl").await.unwrap().unwrap();
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        (STANDARD.decode(list["signed"].as_str().unwrap()).unwrap(), list["withdrawn"].as_array().unwrap().len())
    }

    async fn listed_serials(&self, serials: &[&str]) -> bool {
        let (der, count) = self.listed().await;
        let bytes =
            |serial: &str| -> Vec<u8> { serial.split(':').map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect() };
        count == serials.len() && serials.iter().all(|s| der.windows(bytes(s).len()).any(|w| w == bytes(s)))
    }
}

fn read(pem: &Value) -> Certificate {
    let bundle = Bundle::read(&SecretValue::from(pem.as_str().unwrap())).unwrap();
    Certificate::parse(bundle.leaf()).unwrap()
}

#[tokio::test]
async fn an_authority_issues_what_a_role_allows() {
    let pki = Pki::new().await;
    pki.refused(Write, "issue/web", json!({"common_name": "a.example.com"}), "unknown role: web").await;
    pki.ok(Write, "roles/web", json!({"allowed_domains": "example.com", "allow_subdomains": true})).await;
    pki.refused(Write, "issue/web", json!({"common_name": "a.example.com"}), "has no authority").await;
    pki.refused(Write, "root/generate/internal", json!({}), "common_name is required").await;
    pki.refused(Write, "root/generate/internal", json!({"common_name": "x", "key_type": "dsa"}), "unknown key").await;
    pki.refused(Write, "root/generate/internal", json!({"common_name": "x", "key_bits": 1024}), "unsafe").await;
    pki.refused(Write, "root/generate/internal", json!({"common_name": "x", "alt_names": "a b"}), "no host name").await;
    let urls =
        json!({"issuing_certificates": "http://a.example/ca", "crl_distribution_points": "http://a.example/crl"});
    pki.ok(Write, "config/urls", urls).await;
    pki.refused(Write, "config/urls", json!({"ocsp_servers": "nonsense"}), "invalid URL").await;
    let root = json!({"common_name": "Root", "organization": "Example", "ttl": "700h"});
    let root = pki.ok(Write, "root/generate/internal", root).await;
    assert!(root.get("private_key").is_none());
    let authority = read(&root["certificate"]);
    assert_eq!((authority.subject.as_str(), authority.authority), ("O=Example, CN=Root", true));
    assert_eq!(authority.algorithm, "RSA 2048");
    pki.refused(Write, "root/generate/internal", json!({"common_name": "x"}), "has an authority").await;

    let asked =
        json!({"common_name": "a.example.com", "alt_names": "b.example.com", "ip_sans": "10.0.0.1", "ttl": "2h"});
    let told = pki.ok(Write, "issue/web", asked).await;
    let issued = read(&told["certificate"]);
    assert_eq!(issued.names, ["a.example.com", "b.example.com", "10.0.0.1"]);
    assert_eq!((issued.issuer.as_str(), issued.algorithm.as_str()), ("O=Example, CN=Root", "RSA 2048"));
    assert_eq!(told["expiration"].as_i64().unwrap() - told["not_before"].as_i64().unwrap(), 7230);
    assert_eq!(
        (told["issuing_ca"].clone(), told["private_key_type"].as_str()),
        (root["certificate"].clone(), Some("rsa"))
    );
    assert!(told["private_key"].as_str().unwrap().starts_with("-----BEGIN RSA PRIVATE KEY-----"));
    assert_eq!(told["serial_number"].as_str().unwrap().replace(':', ""), issued.serial);
    for (asked, why) in [
        (json!({}), "common_name field is required"),
        (json!({"common_name": "example.com"}), "common name example.com not allowed"),
        (json!({"common_name": "a.example.com", "alt_names": "evil.org"}), "alternate name evil.org not allowed"),
        (json!({"common_name": "a.example.com", "uri_sans": "spiffe://a"}), "URI Subject Alternative Names"),
        (json!({"common_name": "a.example.com", "ip_sans": "x"}), "not a valid IP address"),
        (json!({"common_name": "a.example.com", "format": "xx"}), "\"format\" path parameter"),
        (json!({"common_name": "a.example.com", "ttl": "-1h"}), "negative"),
        (json!({"common_name": "a.example.com", "ttl": "767h"}), "beyond the expiration of the CA"),
        (json!({"common_name": "a.example.com", "not_after": "2030-01-01T00:00:00Z"}), "not_after is not offered"),
    ] {
        pki.refused(Write, "issue/web", asked, why).await;
    }
    let bundle =
        json!({"common_name": "a.example.com", "format": "pem_bundle", "private_key_format": "pkcs8", "ttl": 60});
    let bundle = pki.ok(Write, "issue/web", bundle).await;
    let text = bundle["certificate"].as_str().unwrap();
    assert!(text.starts_with("-----BEGIN PRIVATE KEY-----") && text.matches("BEGIN CERTIFICATE").count() == 2);
    for path in ["sign/web", "intermediate/generate/internal", "issuers", "acme/directory", "config/crl"] {
        assert!(matches!(pki.ask(Write, path, json!({})).await, Err(SecretsError::UnknownPath)), "{path}");
    }
    assert!(matches!(pki.ask(Read, "issue/web", json!({})).await, Err(SecretsError::Unsupported)));
}

#[tokio::test]
async fn roles_are_told_back_and_what_is_not_honoured_is_refused() {
    let pki = Pki::new().await;
    let body = json!({"allowed_domains": ["a.example", "b.example"], "key_type": "ec", "key_bits": 384, "ttl": "1h",
        "max_ttl": "2h", "organization": "Example", "ext_key_usage": "TimeStamping", "server_flag": false});
    let told = pki.ok(Write, "roles/web", body).await;
    assert_eq!(told, pki.ok(Read, "roles/web", json!({})).await);
    assert_eq!((&told["key_bits"], &told["ttl"], &told["max_ttl"]), (&json!(384), &json!(3600), &json!(7200)));
    assert_eq!((&told["organization"], &told["allowed_domains"][1]), (&json!(["Example"]), &json!("b.example")));
    assert_eq!(told.as_object().unwrap().len(), 52, "as many as Vault has");
    for (body, why) in [
        (json!({"ttl": "2h", "max_ttl": "1h"}), "must be less than"),
        (json!({"key_type": "ec", "key_bits": 5}), "unsupported bit length for EC key: 5"),
        (json!({"key_type": "any"}), "unknown key type any"),
        (json!({"allowed_domains_template": true}), "not offered"),
        (json!({"issuer_ref": "other"}), "not offered"),
        (json!({"cn_validations": ["disabled"]}), "not offered"),
        (json!({"key_usage": "CertSign"}), "no usage"),
        (json!({"organization": ["a", "b"]}), "is one text"),
        (json!({"no_store": true, "generate_lease": true}), "no_store=false"),
    ] {
        pki.refused(Write, "roles/bad", body, why).await;
    }
    // What is given as in a new role changes nothing.
    pki.ok(Write, "roles/web", json!({"issuer_ref": "default", "use_pss": false, "policy_identifiers": []})).await;
    assert_eq!(pki.ok(List, "roles", json!({})).await, json!({"keys": ["web"]}));
    pki.ok(Delete, "roles/web", json!({})).await;
    assert!(matches!(pki.ask(Read, "roles/web", json!({})).await, Err(SecretsError::NotFound)));
}

#[tokio::test]
async fn what_is_withdrawn_stands_on_the_signed_list() {
    let pki = Pki::ready().await;
    assert!(pki.listed_serials(&[]).await);
    let ((_, one), (_, two)) = (pki.issue("plain").await, pki.issue("plain").await);
    let first = pki.ok(Write, "revoke", json!({"serial_number": one.replace(':', "-").to_uppercase()})).await;
    assert_eq!(first["state"], "revoked");
    assert!(pki.withdrawn(&one).await && !pki.withdrawn(&two).await);
    assert!(pki.listed_serials(&[&one]).await);
    let again = pki.ok(Write, "revoke", json!({"serial_number": one})).await;
    assert_eq!(again, first, "once");
    pki.refused(Write, "revoke", json!({"serial_number": "11:22"}), "not found").await;
    pki.refused(Write, "revoke", json!({"serial_number": "../ca"}), "not found").await;
    pki.refused(Write, "revoke", json!({}), "must be provided").await;
    let own = pki.ok(Read, "cert/ca", json!({})).await;
    let own = read(&own["certificate"]).serial;
    let own: Vec<String> = own.as_bytes().chunks(2).map(|p| String::from_utf8(p.to_vec()).unwrap()).collect();
    pki.refused(Write, "revoke", json!({"serial_number": own.join(":")}), "its own CRL").await;
    // Two at a time: neither is lost.
    let (a, b) = (pki.issue("plain").await.1, pki.issue("plain").await.1);
    tokio::join!(
        pki.ok(Write, "revoke", json!({"serial_number": a})),
        pki.ok(Write, "revoke", json!({"serial_number": b})),
    );
    assert!(pki.listed_serials(&[&one, &a, &b]).await);
    let before = pki.listed().await.0;
    pki.ok(Read, "crl/rotate", json!({})).await;
    assert_ne!(pki.listed().await.0, before);
    // A new authority begins with a list of its own, and tells nothing of what another one signed.
    pki.ok(Delete, "root", json!({})).await;
    pki.refused(Read, "cert/ca", json!({}), "no default issuer").await;
    pki.ok(Write, "root/generate/internal", json!({"common_name": "Next", "key_type": "ed25519"})).await;
    pki.ok(Write, "revoke", json!({"serial_number": two})).await;
    assert!(pki.withdrawn(&two).await && pki.listed_serials(&[]).await);
}

#[tokio::test]
async fn a_lease_withdraws_its_certificate() {
    let pki = Pki::ready().await;
    let (id, serial) = pki.issue("leased").await;
    assert!(id.starts_with("pki/issue/leased/"));
    let told = pki.leases.lookup(&id).await.unwrap().unwrap();
    assert!(!told.renewable && (3400..=3600).contains(&told.ttl), "{told:?}");
    let refused = pki.leases.renew(&actor(), &id, 60).await.unwrap_err();
    assert_eq!(refused.to_string(), "lease is not renewable");
    assert_eq!(pki.leases.list("pki").await.unwrap().0, ["issue/"]);
    assert!(pki.leases.revoke(&actor(), &id).await.unwrap());
    assert!(pki.withdrawn(&serial).await && pki.listed_serials(&[&serial]).await);
    assert_eq!(pki.leases.lookup(&id).await.unwrap(), None);
    assert!(pki.leases.list("pki").await.unwrap().0.is_empty());

    // Many at once are one signature.
    let mut all = vec![serial];
    for _ in 0..5 {
        all.push(pki.issue("leased").await.1);
    }
    assert_eq!(pki.leases.revoke_prefix(&actor(), "pki/issue/leased").await.unwrap(), 5);
    // Also where databases would be left alone: a certificate can always be withdrawn.
    all.push(pki.issue("leased").await.1);
    assert_eq!(pki.leases.forget(&actor(), "pki/issue").await.unwrap(), 1);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    assert!(pki.listed_serials(&all).await);

    // One that somebody ended while its token went is withdrawn by itself.
    let (id, serial) = pki.issue("leased").await;
    let mut row = pki.world.store.lease(&id).await.unwrap().unwrap();
    let unchanged = credentialflow_store::Expect::Revision(row.revision);
    (row.state, row.next_attempt) = (LeaseState::Revoking, Some(pki.world.store.now()));
    let mut txn = pki.world.txn();
    txn.op(credentialflow_store::Op::PutLease(row, unchanged));
    txn.commit().await.unwrap();
    assert_eq!(pki.leases.work(10).await.unwrap(), 1);
    assert!(pki.withdrawn(&serial).await && pki.world.store.lease(&id).await.unwrap().is_none());
}

#[tokio::test]
async fn what_is_over_ends_by_itself_and_is_forgotten_when_asked_for() {
    let pki = Pki::ready().await;
    let asked = json!({"common_name": "a.example.com", "ttl": 1});
    let (id, told) = pki.ask(Write, "issue/leased", asked).await.unwrap();
    let serial = told["serial_number"].as_str().unwrap().to_owned();
    let kept = pki.issue("plain").await.1;
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    assert_eq!(pki.leases.work(10).await.unwrap(), 1);
    assert!(pki.world.store.lease(&id).await.unwrap().is_none());
    assert!(!pki.withdrawn(&serial).await && pki.listed_serials(&[]).await, "over by itself is not withdrawn");
    assert_eq!(pki.ok(Write, "revoke", json!({"serial_number": serial})).await, Value::Null);
    assert_eq!(pki.ok(Write, "tidy", json!({})).await, Value::Null);
    let tidy = json!({"tidy_cert_store": true, "safety_buffer": "1h"});
    assert_eq!(pki.ok(Write, "tidy", tidy).await["cert_store_deleted_count"], 0);
    let tidy = json!({"tidy_cert_store": true, "safety_buffer": "0s"});
    assert_eq!(pki.ok(Write, "tidy", tidy).await["cert_store_deleted_count"], 1);
    assert!(matches!(pki.ask(Read, &format!("cert/{serial}"), json!({})).await, Err(SecretsError::NotFound)));
    assert!(!pki.withdrawn(&kept).await);
}

#[tokio::test]
async fn no_key_lies_open_and_none_is_kept_that_was_handed_out() {
    let pki = Pki::ready().await;
    let told = pki.ok(Write, "issue/leased", json!({"common_name": "a.example.com"})).await;
    let key = told["private_key"].as_str().unwrap();
    let line = key.lines().nth(1).unwrap();
    let mut txn = pki.world.txn();
    let space = pki.mount().await.uuid;
    for path in txn.entries(&space).paths("", "", 100).await.unwrap() {
        let stored = txn.entries(&space).get(&path).await.unwrap().unwrap();
        assert!(!String::from_utf8_lossy(stored.expose()).contains(line), "{path}");
    }
    drop(txn);
    let file = std::fs::read(pki.world.dir.path().join("s.db")).unwrap();
    for clear in [b"BEGIN CERTIFICATE".as_slice(), b"PRIVATE KEY"] {
        assert!(!file.windows(clear.len()).any(|w| w == clear));
    }
    let events = pki.world.store.audit_events(0, 1000, &credentialflow_store::AuditFilter::default()).await.unwrap();
    let events = serde_json::to_string(&events).unwrap();
    assert!(events.contains("certificate.issue") && events.contains(told["serial_number"].as_str().unwrap()));
    assert!(!events.contains(line) && !events.contains("PRIVATE"));
}
