//! Whatever is answered is in the audit log, also what is asked with POST and tells only something, and what is refused.

use super::guards::{all_paths, furnish};
use super::*;
use credentialflow_model::AuditEvent;

/// Seals the vault, and with it all that comes after: recorded by the vault itself.
const NOT_WALKED: [&str; 1] = ["sys/seal"];

async fn last(w: &World) -> AuditEvent {
    w.store.audit_events_before(0, 1, &AuditFilter::default()).await.unwrap().remove(0)
}

/// A token and its accessor.
async fn made(w: &World) -> (String, String) {
    let made = w.ok("POST", "auth/token/create", json!({"ttl": "1h"})).await["auth"].clone();
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("client_token"), text("accessor"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_given_that_is_not_recorded() {
    let w = World::new().await;
    furnish(&w).await;
    let (mut answered, mut silent) = (0, Vec::new());
    for method in ["GET", "LIST", "HEAD", "PATCH", "POST", "PUT", "DELETE"] {
        for path in all_paths().into_iter().filter(|path| !NOT_WALKED.contains(&path.as_str())) {
            // A fresh token to ask with, and one to ask about: paths end either.
            let (caller, about) = if path.starts_with("auth/token/") {
                (made(&w).await.0, made(&w).await)
            } else {
                (w.root.clone(), (String::new(), String::new()))
            };
            let body = json!({"type": "kv", "data": {"k": "v"}, "policy": "", "password": "x", "token": about.0,
                "accessor": about.1, "lease_id": "x", "paths": ["kv/x"], "secret_id": "x", "secret_id_accessor": "x"});
            let before = last(&w).await.seq;
            let (status, told) = w.send(method, &path, With { token: &caller, wrap: "" }, body).await;
            if (200..300).contains(&status) {
                answered += 1;
                if last(&w).await.seq == before {
                    silent.push(format!("{method} {path}: {status} {told}"));
                }
            }
        }
    }
    assert!(silent.is_empty(), "{silent:#?}");
    assert!(answered > 80, "{answered}");
}

#[tokio::test]
async fn questions_that_are_asked_with_post_are_recorded() {
    let w = World::new().await;
    furnish(&w).await;
    let (token, accessor) = made(&w).await;
    let secret = w.ok("POST", "auth/approle/role/web/secret-id", json!({})).await["data"].clone();
    let by_token = json!({"token": token, "paths": ["kv/x"]});
    let by_accessor = json!({"accessor": accessor, "paths": ["kv/x"]});
    for (path, body, action, about) in [
        ("auth/token/lookup", by_token.clone(), "auth.read", ("accessor", accessor.as_str())),
        ("auth/token/lookup-accessor", by_accessor.clone(), "auth.read", ("accessor", &accessor)),
        ("auth/token/lookup-self", json!({}), "auth.read", ("operation", "write")),
        ("auth/approle/role/web/secret-id/lookup", secret.clone(), "auth.read", ("operation", "write")),
        ("auth/approle/role/web/secret-id-accessor/lookup", secret, "auth.read", ("operation", "write")),
        ("sys/capabilities", by_token, "sys.read", ("operation", "write")),
        ("sys/capabilities-self", json!({"paths": ["kv/x"]}), "sys.read", ("operation", "write")),
        ("sys/capabilities-accessor", by_accessor, "sys.read", ("accessor", &accessor)),
    ] {
        for method in ["POST", "PUT"] {
            let before = last(&w).await.seq;
            w.ok(method, path, body.clone()).await;
            let event = last(&w).await;
            assert_eq!((event.seq, event.action.as_str()), (before + 1, action), "{method} {path}");
            assert_eq!(event.subject, format!("vault/{path}"));
            assert_eq!(event.detail[about.0], about.1, "{path}");
            assert!(!event.detail.to_string().contains(&token));
        }
    }
    // That nothing is there is an answer, too.
    for (path, body, status) in [
        ("sys/leases/lookup", json!({"lease_id": "database/creds/x/y"}), 400),
        ("auth/token/lookup-accessor", json!({"accessor": "none"}), 400),
        ("auth/token/lookup", json!({"token": "cfs_none"}), 403),
        ("identity/oidc/introspect", json!({"token": "none"}), 200),
    ] {
        let before = last(&w).await.seq;
        let (answered, told) = w.root("POST", path, body).await;
        assert_eq!(answered, status, "{path}: {told}");
        assert!(last(&w).await.seq > before, "{path}");
    }
    assert_eq!(w.root("GET", "auth/approle/role/none", json!({})).await.0, 404);
    assert_eq!(last(&w).await.subject, "vault/auth/approle/role/none");
}

#[tokio::test]
async fn refused_logins_and_certificates_are_recorded() {
    let w = World::new().await;
    furnish(&w).await;
    for (method, path) in [("GET", "database/creds/none"), ("POST", "pki/issue/none"), ("POST", "database/config/none")]
    {
        let (status, told) = w.root(method, path, json!({"common_name": "a.example"})).await;
        assert!((400..500).contains(&status), "{told}");
        let event = last(&w).await;
        let refused = ["lease.refuse", "database.refuse"].contains(&event.action.as_str());
        assert!(refused && event.subject == format!("vault/{path}"), "{path}: {event:?}");
        assert!(event.detail["reason"].is_string() && event.detail["request_id"].is_string(), "{event:?}");
    }
    // A batch token holds no login, and asking is recorded.
    let batch = w.ok("POST", "auth/token/create", json!({"type": "batch", "ttl": "1h", "policies": ["all"]})).await;
    w.ok("PUT", "sys/policies/acl/all", json!({"policy": "path \"*\" { capabilities = [\"read\"] }"})).await;
    let with = With { token: batch["auth"]["client_token"].as_str().unwrap(), ..With::default() };
    let (status, told) = w.send("GET", "database/creds/x", with, json!({})).await;
    assert_eq!((status, &told["errors"][0]), (400, &json!("a batch token cannot hold leases")));
    assert_eq!(last(&w).await.action, "lease.refuse");
}
