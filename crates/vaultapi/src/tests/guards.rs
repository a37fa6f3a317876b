//! Nobody is let in unasked: every path that is served, with every method, refuses callers without a token
//! and callers whose token has no policy, but for a short list.
//!
//! The paths walked are checked against the dispatch tables themselves, as they stand in the sources: a path
//! that is added there and not here fails the test.

use super::*;
use std::collections::BTreeSet;

const METHODS: [&str; 7] = ["GET", "LIST", "POST", "PUT", "PATCH", "DELETE", "HEAD"];

/// For callers who are nobody yet. With the methods for which that holds; others are refused all the same.
const OPEN: [(&str, &[&str]); 22] = [
    ("sys/health", &METHODS),
    ("sys/init", &METHODS),
    ("sys/seal-status", &METHODS),
    ("sys/unseal", &METHODS),
    ("sys/leader", &METHODS),
    // Holding the token that opens an answer is what is asked for.
    ("sys/wrapping/lookup", &METHODS),
    ("sys/wrapping/unwrap", &METHODS),
    ("sys/wrapping/rewrap", &METHODS),
    // Public keys.
    ("identity/oidc/.well-known/openid-configuration", &["GET", "HEAD"]),
    ("identity/oidc/.well-known/keys", &["GET", "HEAD"]),
    // An authority's certificate and its list of withdrawn ones: relying parties are nobody here.
    ("pki/ca", &["GET", "HEAD"]),
    ("pki/ca/pem", &["GET", "HEAD"]),
    ("pki/ca_chain", &["GET", "HEAD"]),
    ("pki/crl", &["GET", "HEAD"]),
    ("pki/crl/pem", &["GET", "HEAD"]),
    ("pki/cert/ca", &["GET", "HEAD"]),
    // Logins ask for a proof of their own.
    ("auth/approle/login", &METHODS),
    ("auth/userpass/login/bob", &METHODS),
    ("auth/jwt/login", &METHODS),
    ("auth/jwt/oidc/auth_url", &METHODS),
    ("auth/jwt/oidc/callback", &METHODS),
    ("auth/oidc/login", &METHODS),
];

/// Every path, one of each kind.
const PATHS: [(&str, &[&str]); 13] = [
    (
        "sys/",
        &[
            "mounts",
            "mounts/kv",
            "mounts/kv/tune",
            "auth",
            "auth/approle",
            "auth/approle/tune",
            "remount",
            "remount/status/x",
            "internal/ui/mounts",
            "internal/ui/mounts/kv/x",
            "internal/ui/resultant-acl",
            "policy",
            "policy/default",
            "policies/acl",
            "policies/acl/default",
            "capabilities",
            "capabilities-self",
            "capabilities-accessor",
            "wrapping/wrap",
            "seal",
            "rotate",
            "key-status",
            "leases",
            "leases/tidy",
            "leases/count",
            "leases/lookup",
            "leases/lookup/x",
            "leases/renew",
            "leases/revoke",
            "leases/revoke-prefix/x",
            "leases/revoke-force/x",
            "renew/x",
            "revoke/x",
            "revoke-prefix/x",
            "revoke-force/x",
            "rekey/init",
            "rekey/update",
            "rekey/verify",
            "rekey/backup",
            "audit",
            "audit/x",
            "audit-hash/x",
            "nothing",
        ],
    ),
    (
        "auth/token/",
        &[
            "create",
            "create/role",
            "create-orphan",
            "roles",
            "roles/x",
            "accessors",
            "lookup",
            "lookup/x",
            "lookup-self",
            "lookup-accessor",
            "renew",
            "renew/x",
            "renew-self",
            "renew-accessor",
            "revoke",
            "revoke/x",
            "revoke-self",
            "revoke-accessor",
            "revoke-orphan",
            "tidy",
        ],
    ),
    (
        "auth/approle/",
        &[
            "role",
            "role/web",
            "role/web/secret-id",
            "role/web/custom-secret-id",
            "role/web/secret-id/lookup",
            "role/web/secret-id/destroy",
            "role/web/secret-id-accessor/lookup",
            "role/web/secret-id-accessor/destroy",
            "tidy/secret-id",
            "role/web/role-id",
            "role/web/policies",
            "role/web/token-policies",
            "role/web/local-secret-ids",
            "role/web/bound-cidr-list",
            "role/web/secret-id-bound-cidrs",
            "role/web/token-bound-cidrs",
            "role/web/bind-secret-id",
            "role/web/secret-id-num-uses",
            "role/web/secret-id-ttl",
            "role/web/period",
            "role/web/token-period",
            "role/web/token-num-uses",
            "role/web/token-ttl",
            "role/web/token-max-ttl",
            "role/web/token-explicit-max-ttl",
            "role/web/application",
        ],
    ),
    ("auth/userpass/", &["users", "users/bob", "users/bob/password", "users/bob/policies", "login"]),
    ("auth/jwt/", &["config", "role", "role/web"]),
    ("auth/oidc/", &["config", "role", "role/web", "oidc", "oidc/auth_url/x"]),
    (
        "identity/oidc/",
        &["config", "key", "key/x", "key/x/rotate", "role", "role/x", "token/x", "introspect", ".well-known"],
    ),
    ("identity/", &["entity", "group/id/x"]),
    ("kv/", &["", "x", "a/b"]),
    (
        "kv2/",
        &[
            "config",
            "data/x",
            "metadata",
            "metadata/x",
            "delete/x",
            "undelete/x",
            "destroy/x",
            "subkeys/x",
            "nothing/x",
        ],
    ),
    (
        "database/",
        &[
            "config",
            "config/x",
            "roles",
            "roles/x",
            "creds/x",
            "static-roles",
            "static-roles/x",
            "static-creds/x",
            "rotate-role/x",
            "rotate-root/x",
            "reset/x",
        ],
    ),
    (
        "pki/",
        &[
            "root",
            "root/generate/internal",
            "root/generate/exported",
            "config/urls",
            "roles",
            "roles/x",
            "issue/x",
            "revoke",
            "certs",
            "tidy",
            "crl/rotate",
            "cert",
            "nothing/x",
        ],
    ),
    ("", &["cubbyhole", "cubbyhole/x", "nowhere", "nowhere/x", "auth/nowhere/login", "auth", "x%2Fy"]),
];

/// Where paths are told apart: the source, and what stands before the names there ("": anywhere).
const TABLES: [(&str, &str, &str); 14] = [
    ("sys", include_str!("../sys/mod.rs"), "async fn dispatch("),
    ("leases", include_str!("../sys/leases.rs"), "async fn answer("),
    ("rekey", include_str!("../sys/rekey.rs"), "async fn answer("),
    ("open", include_str!("../sys/open.rs"), "fn is_open("),
    ("wrapping", include_str!("../wrap.rs"), "fn asked("),
    ("token", include_str!("../../../identity/src/tokens/handler.rs"), "async fn handle("),
    ("approle", include_str!("../../../identity/src/method/approle/mod.rs"), "async fn handle("),
    ("approle's properties", include_str!("../../../identity/src/method/approle/property.rs"), "path: "),
    ("userpass", include_str!("../../../identity/src/method/userpass/mod.rs"), "async fn handle("),
    ("jwt", include_str!("../../../identity/src/method/jwt/mod.rs"), "async fn handle("),
    ("identity tokens", include_str!("../../../identity/src/issuer/mod.rs"), "async fn handle("),
    ("kv2", include_str!("../../../secrets/src/engine/kv2/mod.rs"), "async fn handle"),
    ("pki", include_str!("../../../secrets/src/engine/pki/mod.rs"), "async fn handle"),
    ("database", include_str!("../../../secrets/src/engine/database/mod.rs"), "async fn handle"),
];

/// Words of those functions that name no path: fields, kinds and parts of texts.
const NO_PATHS: [&str; 2] = ["token", "accessor"];

/// The names in a table that look like paths.
fn names(source: &str, before: &str) -> BTreeSet<String> {
    let literals = |text: &str| -> Vec<String> { text.split('"').skip(1).step_by(2).map(str::to_owned).collect() };
    let found = if before.ends_with(' ') {
        source.split(before).skip(1).filter_map(|rest| literals(rest).into_iter().next()).collect()
    } else {
        let at = source.find(before).unwrap_or_else(|| panic!("{before} is not there any more"));
        let body = &source[at..];
        let end = body.find("\n}\n").unwrap_or(body.len());
        literals(&body[..end])
    };
    let is_path = |name: &String| name.len() > 2 && name.bytes().all(|b| b.is_ascii_lowercase() || b"-/_".contains(&b));
    found.into_iter().filter(is_path).filter(|name| !NO_PATHS.contains(&name.as_str())).collect()
}

pub(super) fn all_paths() -> Vec<String> {
    PATHS.iter().flat_map(|(root, all)| all.iter().map(move |path| format!("{root}{path}"))).collect()
}

#[test]
fn no_path_is_forgotten() {
    let walked: Vec<String> = all_paths().into_iter().chain(OPEN.map(|(path, _)| path.to_owned())).collect();
    let has = |name: &str| {
        let name = name.trim_matches('/');
        walked.iter().any(|path| format!("/{path}/").contains(&format!("/{name}/")))
    };
    for (table, source, before) in TABLES {
        let names = names(source, before);
        assert!(names.len() > 1, "{table}: no names are found: {names:?}");
        let forgotten: Vec<&String> = names.iter().filter(|name| !has(name)).collect();
        assert!(forgotten.is_empty(), "{table}: {forgotten:?} is not walked");
    }
}

/// Something of every kind.
pub(super) async fn furnish(w: &World) {
    for (path, kind) in [("kv", "kv"), ("kv2", "kv-v2"), ("database", "database"), ("pki", "pki")] {
        w.ok("POST", &format!("sys/mounts/{path}"), json!({ "type": kind })).await;
    }
    for kind in ["approle", "userpass", "jwt", "oidc"] {
        w.ok("POST", &format!("sys/auth/{kind}"), json!({ "type": kind })).await;
    }
    w.ok("POST", "pki/root/generate/internal", json!({"common_name": "Root", "key_type": "ec"})).await;
    w.ok("POST", "auth/approle/role/web", json!({})).await;
    w.ok("POST", "auth/userpass/users/bob", json!({"password": "right"})).await;
    w.ok("POST", "kv/x", json!({"k": "canary-guard"})).await;
    w.ok("POST", "kv2/data/x", json!({"data": {"k": "canary-guard"}})).await;
    w.ok("POST", "identity/oidc/key/x", json!({})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_without_a_token_or_without_a_policy_are_refused_everywhere() {
    let w = World::new().await;
    furnish(&w).await;
    // A child of root without any policy has those of its maker: one of its own that allows nothing.
    w.ok("PUT", "sys/policies/acl/nothing", json!({"policy": "path \"none/here\" { capabilities = [\"read\"] }"}))
        .await;
    let powerless = json!({"policies": ["nothing"], "no_default_policy": true, "ttl": "1h"});
    let powerless = w.ok("POST", "auth/token/create", powerless).await["auth"]["client_token"].clone();
    let powerless = powerless.as_str().unwrap();
    let body = json!({"type": "kv", "data": {"k": "v"}, "policy": "", "password": "x", "token": "x", "lease_id": "x"});
    let before = w.ok("GET", "sys/mounts", json!({})).await;
    let mut asked = 0;
    for path in all_paths() {
        for method in METHODS {
            for token in ["", powerless, "cfs_unknown", "s.odd"] {
                for path in [path.clone(), format!("{path}/"), format!("{path}?list=true")] {
                    let (status, told) = w.send(method, &path, With { token, wrap: "" }, body.clone()).await;
                    let open = token == powerless && path.starts_with("sys/internal/ui/mounts/") && status == 405;
                    assert!(status == 403 || open, "{method} {path} with {token:?}: {status} {told}");
                    assert!(!told.to_string().contains("canary-guard"));
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 8_000, "{asked}");
    assert_eq!(w.ok("GET", "sys/mounts", json!({})).await["data"], before["data"], "nothing was changed");
    assert_eq!(w.ok("GET", "kv/x", json!({})).await["data"]["k"], "canary-guard");
    // The list of what is open holds nothing that is not, and for no more methods than it says.
    for (path, methods) in OPEN {
        for method in METHODS {
            let (status, told) = w.send(method, path, With::default(), json!({})).await;
            let is_open = status != 403;
            assert_eq!(is_open, methods.contains(&method), "{method} {path}: {status} {told}");
            assert!(status != 200 || !told.to_string().contains("canary-guard"));
        }
    }
}
