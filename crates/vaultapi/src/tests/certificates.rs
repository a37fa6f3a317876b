//! The engine `pki` through the router: who may ask what, and how leases of certificates are told.

use super::*;

async fn ready(w: &World) {
    w.ok("POST", "sys/mounts/pki", json!({"type": "pki"})).await;
    w.ok("POST", "pki/root/generate/internal", json!({"common_name": "Root", "key_type": "ec", "ttl": "700h"})).await;
    let role = json!({"allowed_domains": "example.com", "allow_subdomains": true, "key_type": "ec", "max_ttl": "72h"});
    w.ok("POST", "pki/roles/plain", role.clone()).await;
    let mut leased = role;
    leased["generate_lease"] = true.into();
    w.ok("POST", "pki/roles/leased", leased).await;
}

/// A document: status, media type and bytes.
async fn document(w: &World, path: &str) -> (u16, String, Vec<u8>) {
    let request = Request::builder().uri(format!("/v1/{path}")).body(Body::empty()).unwrap();
    let response = w.api.router().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let kind = response.headers().get("content-type").map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
    (status, kind, response.into_body().collect().await.unwrap().to_bytes().to_vec())
}

#[tokio::test]
async fn a_lease_of_a_certificate_is_told_as_vault_tells_it() {
    let w = World::new().await;
    ready(&w).await;
    let told = w.ok("PUT", "pki/issue/leased", json!({"common_name": "a.example.com"})).await;
    let id = told["lease_id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("pki/issue/leased/") && told["renewable"] == false, "{told}");
    assert_eq!(told["lease_duration"], 259_200);
    assert!(told["warnings"][0].as_str().unwrap().contains("longer than permitted maxTTL"), "{told}");
    assert_eq!(w.root("POST", "sys/leases/renew", json!({"lease_id": id})).await.0, 400);
    assert_eq!(w.ok("LIST", "sys/leases/lookup/pki", json!({})).await["data"]["keys"], json!(["issue/"]));
    w.ok("POST", "sys/leases/revoke", json!({"lease_id": id})).await;
    let serial = told["data"]["serial_number"].as_str().unwrap();
    let told = w.ok("GET", &format!("pki/cert/{serial}"), json!({})).await;
    assert!(told["data"]["revocation_time"].as_i64().unwrap() > 0, "{told}");

    let told = w.ok("POST", "pki/issue/plain", json!({"common_name": "a.example.com", "ttl": "1h"})).await;
    assert_eq!((&told["lease_id"], &told["warnings"]), (&json!(""), &Value::Null));
    assert!(told["data"]["private_key"].as_str().unwrap().starts_with("-----BEGIN EC PRIVATE KEY-----"));
    // What is issued ends with the mount, and with the token that asked for it.
    let policy = "path \"pki/issue/*\" { capabilities = [\"update\"] }";
    w.ok("PUT", "sys/policies/acl/issuer", json!({ "policy": policy })).await;
    let token = w.token(&["issuer"]).await;
    let with = With { token: &token, ..With::default() };
    let (status, told) = w.send("POST", "pki/issue/leased", with, json!({"common_name": "b.example.com"})).await;
    assert_eq!(status, 200, "{told}");
    let row = w.store.lease(told["lease_id"].as_str().unwrap()).await.unwrap().unwrap();
    w.ok("POST", "auth/token/revoke", json!({ "token": token })).await;
    let row = w.store.lease(&row.id).await.unwrap();
    assert!(row.is_none_or(|row| row.state == credentialflow_store::LeaseState::Revoking));
    let body = json!({"policies": ["issuer"], "type": "batch", "ttl": "1h"});
    let batch = w.ok("POST", "auth/token/create", body).await["auth"]["client_token"].as_str().unwrap().to_owned();
    let with = With { token: &batch, ..With::default() };
    let asked = json!({"common_name": "a.example.com", "ttl": "1h"});
    assert_eq!(w.send("POST", "pki/issue/plain", with, asked.clone()).await.0, 200);
    let (status, told) = w.send("POST", "pki/issue/leased", with, asked).await;
    assert_eq!((status, &told["errors"][0]), (400, &json!("a batch token cannot hold leases")));
    w.ok("DELETE", "sys/mounts/pki", json!({})).await;
    assert!(w.store.leases_by_prefix("pki/", "", 10).await.unwrap().is_empty());
    assert_eq!(document(&w, "pki/ca").await.0, 403);
}

#[tokio::test]
async fn policies_decide_and_relying_parties_need_none() {
    let w = World::new().await;
    w.ok("POST", "sys/mounts/pki", json!({"type": "pki"})).await;
    for path in ["pki/ca", "pki/ca/pem", "pki/ca_chain", "pki/crl", "pki/crl/pem"] {
        assert_eq!(document(&w, path).await.0, 204, "{path}: nothing is there yet");
    }
    w.ok("DELETE", "sys/mounts/pki", json!({})).await;
    ready(&w).await;
    for (path, kind, begins) in [
        ("pki/ca", "application/pkix-cert", b"\x30".as_slice()),
        ("pki/ca/pem", "application/pem-certificate-chain", b"-----BEGIN CERTIFICATE-----\n"),
        ("pki/ca_chain", "application/pkix-cert", b"-----BEGIN CERTIFICATE-----\n"),
        ("pki/crl", "application/pkix-crl", b"\x30"),
        ("pki/crl/pem", "application/x-pem-file", b"-----BEGIN X509 CRL-----\n"),
        ("pki/cert/ca/raw", "application/pkix-cert", b"\x30"),
        ("pki/cert/ca", "application/json", b"{\"request_id\""),
    ] {
        let (status, told, bytes) = document(&w, path).await;
        assert_eq!((status, told.as_str()), (200, kind), "{path}");
        assert!(bytes.starts_with(begins), "{path}");
    }
    let policy = "path \"pki/issue/plain\" { capabilities = [\"update\"] }
                  path \"pki/root\" { capabilities = [\"delete\"] }
                  path \"pki/roles/new\" { capabilities = [\"create\"] }";
    w.ok("PUT", "sys/policies/acl/own", json!({ "policy": policy })).await;
    let token = w.token(&["own"]).await;
    let with = With { token: &token, ..With::default() };
    let asked = json!({"common_name": "a.example.com", "ttl": "1h"});
    assert_eq!(w.send("POST", "pki/issue/plain", with, asked.clone()).await.0, 200);
    assert_eq!(w.send("POST", "pki/roles/new", with, json!({"key_type": "ec"})).await.0, 200);
    for (method, path) in [
        ("POST", "pki/issue/leased"),
        ("POST", "pki/roles/new"),
        ("POST", "pki/revoke"),
        ("POST", "pki/root/generate/internal"),
        ("POST", "pki/config/urls"),
        ("LIST", "pki/certs"),
        ("GET", "pki/crl/rotate"),
        // For operators: `sudo` is needed, too.
        ("DELETE", "pki/root"),
    ] {
        assert_eq!(w.send(method, path, with, asked.clone()).await.0, 403, "{method} {path}");
    }
    // A wrapped answer holds the key for whoever opens it, once.
    let with = With { token: &token, wrap: "60" };
    let (status, told) = w.send("POST", "pki/issue/plain", with, asked).await;
    assert_eq!(status, 200, "{told}");
    assert!(told["data"].is_null() && told["wrap_info"]["token"].is_string(), "{told}");
    assert!(w.audited("certificate.issue").await.iter().all(|subject| subject == "vault/pki/issue/plain"));
}
