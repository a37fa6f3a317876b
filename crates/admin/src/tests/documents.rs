//! Resources as YAML documents, and what names a resource.

use super::{Answer, Control, FILE, value};
use axum::{body::Body, extract::ConnectInfo};
use http::{Method, Request};
use std::net::SocketAddr;

const YAML: (&str, &str) = ("content-type", "application/yaml");

impl Control {
    async fn send_text(&self, method: Method, path: &str, text: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.token))
            .extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 1234))));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(text.to_owned())).unwrap()).await
    }
}

#[tokio::test]
async fn what_is_read_as_yaml_is_written_back_without_a_change() {
    let control = Control::start().await;
    control.apply(FILE, value("v1")).await.expect(200);
    let before = control.seq().await;
    for one in ["routes/orders", "upstreams/orders", "teams/payments", "credentials/orders-token", "keys/checkout-live"]
    {
        let path = format!("/api/v1/{one}");
        let read = control.call(Method::GET, &path, None, &[("accept", "application/yaml")]).await.expect(200);
        assert_eq!(read.headers["content-type"], "application/yaml");
        let tag = read.headers["etag"].to_str().unwrap();
        assert_eq!(control.get(&path).await.headers["etag"], tag);
        control.send_text(Method::PUT, &path, &read.text, &[YAML, ("if-match", tag)]).await.expect(200);
        assert_eq!(control.seq().await, before, "{one} changed");
    }
}

#[tokio::test]
async fn of_two_who_edit_the_same_document_the_second_is_told() {
    let control = Control::start().await;
    control.apply(FILE, value("v1")).await.expect(200);
    for one in ["teams/payments", "keys/checkout-live", "credentials/orders-token"] {
        let path = format!("/api/v1/{one}");
        let read = control.call(Method::GET, &path, None, &[("accept", "application/yaml")]).await.expect(200);
        let seen = [YAML, ("if-match", read.headers["etag"].to_str().unwrap())];
        let text = format!("{}description: mine\n", read.text);
        let changed = control.send_text(Method::PUT, &path, &text, &seen).await.expect(200);
        assert_eq!(changed.json()["spec"]["description"], "mine");
        assert_ne!(changed.headers["etag"], read.headers["etag"]);
        let late = control.send_text(Method::PUT, &path, &read.text, &seen).await.expect(412);
        assert_eq!(late.code(), "revision_mismatch");
        assert_eq!(control.get(&path).await.json()["spec"]["description"], "mine", "{one}");
    }
    let created = control.send_text(Method::POST, "/api/v1/teams", "name: growth\n", &[YAML]).await.expect(201);
    assert_eq!(created.json()["spec"]["name"], "growth");
    let secret = "name: c\nengine: static\nsecret: s\n";
    control.send_text(Method::POST, "/api/v1/credentials", secret, &[YAML]).await.expect(415);
}

#[tokio::test]
async fn problems_of_a_document_have_lines_whoever_finds_them() {
    let control = Control::start().await;
    control.apply(FILE, value("v1")).await.expect(200);
    let check = async |text: &str, expected: &[(u64, &str)]| {
        let answer = control.send_text(Method::PUT, "/api/v1/routes/orders", text, &[YAML]).await.expect(422).json();
        let problems = answer["problems"].as_array().unwrap().clone();
        let found: Vec<_> =
            problems.iter().map(|p| (p["at"]["line"].as_u64().unwrap(), p["path"].as_str().unwrap())).collect();
        assert_eq!(found, expected, "{answer}");
    };
    let route = "name: orders\nmatch: { path: /orders/* }\nupstream: orders\nauthenticate: [api_key]\n";
    // Of reading, and of the check of the whole set.
    check(&format!("{route}limmit: 5\n"), &[(5, "limmit")]).await;
    check(&route.replace("upstream: orders", "upstream: nowhere"), &[(3, "upstream")]).await;
    check("- a list", &[(1, "")]).await;
}

#[tokio::test]
async fn what_names_a_resource_is_listed_and_keeps_it() {
    let control = Control::start().await;
    control.apply(FILE, value("v1")).await.expect(200);
    let check = async |one: &str, expected: &[&str]| {
        let answer = control.get(&format!("/api/v1/dependents/{one}")).await.expect(200).json();
        let items = answer["items"].as_array().unwrap().clone();
        let text = |item: &serde_json::Value, field: &str| item[field].as_str().unwrap().to_owned();
        let found: Vec<_> =
            items.iter().map(|i| format!("{}/{} {}", text(i, "kind"), text(i, "name"), text(i, "path"))).collect();
        assert_eq!(found, expected);
        let status = if expected.is_empty() { 204 } else { 422 };
        let deleted = control.call(Method::DELETE, &format!("/api/v1/{one}"), None, &[]).await.expect(status);
        for place in expected {
            assert!(deleted.text.contains(place), "{}", deleted.text);
        }
    };
    check("credentials/orders-token", &["upstreams/orders inject.bearer"]).await;
    check("upstreams/orders", &["routes/orders upstream"]).await;
    check("routes/orders", &["applications/checkout allow.routes[0]"]).await;
    check("teams/payments", &["applications/checkout team"]).await;
    check("applications/checkout", &["keys/checkout-live application"]).await;
    check("keys/checkout-live", &[]).await;
    check("applications/checkout", &[]).await;
    check("routes/orders", &[]).await;
    control.get("/api/v1/dependents/routes/orders").await.expect(404);
    control.get("/api/v1/dependents/nothing/orders").await.expect(404);
}
