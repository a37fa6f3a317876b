//! Every operation of the document refuses strangers; sessions, their protection, and throttling.

use super::{Answer, Control};
use crate::PUBLIC;
use axum::{body::Body, extract::ConnectInfo};
use http::Request;
use serde_json::json;
use std::net::SocketAddr;

/// Every operation, as method and path with its parameters filled in.
fn operations() -> Vec<(String, String, String)> {
    let document = serde_json::to_value(crate::openapi()).unwrap();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let concrete = path
                .replace("{name}", "orders")
                .replace("{kind}", "routes")
                .replace("{version}", "1")
                .replace("{id}", "x")
                .replace("{request_id}", "x");
            assert!(!concrete.contains('{'), "a parameter this test does not know: {path}");
            found.push((method.clone(), path.clone(), concrete));
        }
    }
    found
}

async fn ask(control: &Control, method: &str, path: &str, n: u8, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method.to_uppercase().as_str()).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    // Each from an address of its own, so that throttling does not answer instead.
    let request = request
        .extension(ConnectInfo(SocketAddr::from(([127, 0, 1, n], 1))))
        .header("content-type", "application/json")
        .body(Body::from("{}"))
        .unwrap();
    control.send(request).await
}

#[tokio::test]
async fn every_operation_but_the_public_ones_refuses_strangers() {
    let control = Control::start().await;
    let operations = operations();
    for (n, (method, template, path)) in operations.iter().enumerate() {
        let n = u8::try_from(n).unwrap();
        if PUBLIC.contains(&(method.as_str(), template.as_str())) {
            let answer = ask(&control, method, path, n, &[]).await;
            assert_ne!(answer.status, 401, "{method} {path} is said to be public");
            continue;
        }
        let wrong_token = format!("Bearer {}x", control.token);
        let strangers: [&[(&str, &str)]; 6] = [
            &[],
            &[("authorization", "Bearer ")],
            &[("authorization", &wrong_token)],
            &[("authorization", "Basic YWRtaW46YWRtaW4=")],
            &[("cookie", "credentialflow_session="), ("x-credentialflow-csrf", "1")],
            &[("cookie", "credentialflow_session=0123456789abcdef"), ("x-credentialflow-csrf", "1")],
        ];
        for headers in strangers {
            let answer = ask(&control, method, path, n, headers).await;
            assert_eq!(answer.status, 401, "{method} {path} let {headers:?} in: {}", answer.text);
            assert_eq!(answer.code(), "unauthenticated");
            assert!(answer.headers.contains_key("www-authenticate"));
        }
    }
    for listed in PUBLIC {
        assert!(operations.iter().any(|(m, t, _)| (m.as_str(), t.as_str()) == *listed), "{listed:?} does not exist");
    }
    // What is not in the document is not told to strangers either.
    ask(&control, "get", "/api/v1/nothing", 250, &[]).await.expect(401);
    control.get("/api/v1/nothing").await.expect(404);
}

async fn sign_in(control: &Control) -> String {
    let request = Request::post("/api/v1/session")
        .header("content-type", "application/json")
        .body(Body::from(json!({ "token": control.token }).to_string()))
        .unwrap();
    let answer = control.send(request).await.expect(200);
    let cookie = answer.headers["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"));
    assert!(!answer.text.contains(&control.token));
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_session_reads_but_changes_only_with_the_header_and_from_its_own_origin() {
    let control = Control::start().await;
    let cookie = sign_in(&control).await;
    let team = |headers: Vec<(&'static str, &'static str)>| {
        let mut request = Request::post("/api/v1/teams")
            .header("cookie", &cookie)
            .header("host", "localhost:8081")
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        control.send(request.body(Body::from(r#"{"name":"payments"}"#)).unwrap())
    };
    ask(&control, "get", "/api/v1/status", 1, &[("cookie", &cookie)]).await.expect(200);
    let csrf = ("x-credentialflow-csrf", "1");
    for refused in [
        vec![],
        vec![("x-credentialflow-csrf", "0")],
        vec![csrf, ("origin", "http://evil.example")],
        vec![csrf, ("origin", "null")],
        vec![csrf, ("sec-fetch-site", "cross-site")],
        vec![csrf, ("sec-fetch-site", "same-site")],
    ] {
        assert_eq!(team(refused).await.expect(403).code(), "cross_site");
    }
    team(vec![csrf, ("origin", "http://localhost:8081"), ("sec-fetch-site", "same-origin")]).await.expect(201);
    let headers = [("cookie", cookie.as_str()), csrf];
    ask(&control, "delete", "/api/v1/session", 1, &headers).await.expect(204);
    ask(&control, "get", "/api/v1/status", 1, &[("cookie", &cookie)]).await.expect(401);
}

#[tokio::test]
async fn guessing_is_audited_then_refused_while_the_right_token_still_works() {
    let control = Control::start().await;
    let guess = || {
        let request = Request::post("/api/v1/session")
            .header("content-type", "application/json")
            .extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 1))))
            .body(Body::from(r#"{"token":"cfadmin_guess"}"#))
            .unwrap();
        control.send(request)
    };
    for _ in 0..crate::throttle::MAX_FAILURES {
        guess().await.expect(401);
    }
    let answer = guess().await.expect(429);
    assert_eq!(answer.code(), "too_many_failures");
    assert!(answer.headers.contains_key("retry-after"));
    control.get("/api/v1/status").await.expect(200);
    let refused = control.get("/api/v1/audit?action=session.refuse").await.expect(200).json();
    assert_eq!(refused["items"].as_array().unwrap().len(), crate::throttle::MAX_FAILURES as usize);
    assert!(!refused.to_string().contains("cfadmin_guess"));
}

#[tokio::test]
async fn a_sealed_vault_says_so() {
    let control = Control::start().await;
    control.get("/readyz").await.expect(200);
    control.vault.seal();
    assert_eq!(control.get("/api/v1/status").await.expect(503).code(), "sealed");
    assert_eq!(control.get("/readyz").await.expect(503).json()["status"], "sealed");
    assert_eq!(control.get("/healthz").await.expect(200).json()["details"], json!(["sealed"]));
}

#[tokio::test]
async fn a_database_that_is_away_is_503_and_never_401() {
    let control = Control::start().await;
    control.store.close().await;
    assert_eq!(control.get("/api/v1/teams").await.expect(503).code(), "store_unavailable");
    assert_eq!(control.get("/readyz").await.expect(503).json()["status"], "store_unavailable");
}
