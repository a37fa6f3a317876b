//! Credentials with which access tokens are fetched.

use super::*;

/// Every problem of a credential's fields, as `code path`, in order.
#[track_caller]
fn told(fields: &str, expected: &[&str]) {
    let text = format!("credentials:\n  - {{ name: c, {fields} }}");
    let found: Vec<String> = problems(&text).0.iter().map(|p| format!("{} {}", p.code, p.path)).collect();
    assert_eq!(found, expected, "\n{text}");
}

#[test]
fn clients_say_where_and_as_whom_tokens_are_fetched() {
    for good in [
        "engine: oauth_token, token: { url: 'https://login.example/token', client_id: gw }",
        "engine: oauth_token, token: { url: 'http://127.0.0.1:9/token?x=1', client_id: gw, scope: 'a b' }",
        "engine: oauth_token, value: '${env:S}', expires: 2030-01-01T00:00:00Z, token: { url: 'https://l/t', client_id: g, \
         authentication: client_secret_basic, parameters: { resource: 'https://a/' }, revoke_url: 'https://l/r' }",
        "engine: oauth_token, token: { url: 'https://l/t', client_id: g, authentication: private_key_jwt, key_id: k }",
        "engine: google_service_account",
        "engine: google_service_account, value: '${file:/key.json}', token: { scope: 'https://www.googleapis.com/auth/cloud-platform' }",
        "engine: google_service_account, token: { url: 'https://tokens.internal/token', ca_file: /ca.pem }",
    ] {
        told(good, &[]);
    }
    let client = |more: &str| format!("engine: oauth_token, token: {{ url: 'https://l/t', client_id: g{more} }}");
    let long = format!(", scope: {}", "x".repeat(2049));
    for (bad, problem) in [
        ("engine: oauth_token".to_owned(), "missing credentials[0].token"),
        ("engine: oauth_token, token: { client_id: g }".to_owned(), "missing credentials[0].token.url"),
        ("engine: oauth_token, token: { url: 'https://l/t' }".to_owned(), "missing credentials[0].token.client_id"),
        (
            "engine: oauth_token, token: { url: 'http://l/t', client_id: g }".to_owned(),
            "insecure credentials[0].token.url",
        ),
        ("engine: oauth_token, token: { url: 'l/t', client_id: g }".to_owned(), "invalid_url credentials[0].token.url"),
        (
            "engine: oauth_token, token: { url: 'https://u:p@l/t', client_id: g }".to_owned(),
            "invalid_url credentials[0].token.url",
        ),
        (client(", revoke_url: 'http://l/r'"), "insecure credentials[0].token.revoke_url"),
        (client(", scope: ''"), "invalid_value credentials[0].token.scope"),
        (client(", scope: 'a\\b'"), "invalid_value credentials[0].token.scope"),
        (client(&long), "invalid_value credentials[0].token.scope"),
        (client(", key_id: k"), "not_here credentials[0].token.key_id"),
        (client(", parameters: { client_secret: x }"), "not_here credentials[0].token.parameters.client_secret"),
        (client(", parameters: { 'a b': x }"), "invalid_value credentials[0].token.parameters.a b"),
        (client(", secret: x"), "unknown_field credentials[0].token.secret"),
        (client("") + ", generate: { length: 32 }", "not_here credentials[0].generate"),
        ("engine: static, token: { url: 'https://l/t', client_id: g }".to_owned(), "not_here credentials[0].token"),
        (
            "engine: google_service_account, token: { client_id: g }".to_owned(),
            "not_here credentials[0].token.client_id",
        ),
        (
            "engine: google_service_account, token: { authentication: client_secret_basic }".to_owned(),
            "not_here credentials[0].token.authentication",
        ),
    ] {
        told(&bad, &[problem]);
    }
}

#[test]
fn tokens_go_into_requests_and_nowhere_else() {
    let with = |rest: &str| {
        format!("credentials:\n  - {{ name: t, engine: google_service_account }}\n  - {{ name: c, engine: static{rest}")
    };
    let upstream = " }\nupstreams:\n  - { name: u, endpoints: ['https://h'], inject: { bearer: t } }";
    assert!(problems(&with(upstream)).0.is_empty());
    for (rest, path) in [
        (", value: '${credential:t}' }", "credentials[1].value"),
        (" }\nstores:\n  - { name: s, kind: google, project: p, credential: t }", "stores[0].credential"),
    ] {
        let found: Vec<String> = problems(&with(rest)).0.iter().map(|p| format!("{} {}", p.code, p.path)).collect();
        assert_eq!(found, [format!("wrong_engine {path}")]);
    }
}
