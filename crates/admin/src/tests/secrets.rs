//! Planted secrets come back in the one answer that shows them, and nowhere else.

use super::{Control, FILE, exposed, value};
use http::Method;
use serde_json::json;

const CANARY: &str = "canary-9f3b1c77-upstream-secret";
const SECOND: &str = "canary-4411aa02-second-secret";

#[tokio::test]
async fn no_read_ever_answers_with_a_secret() {
    let control = Control::start().await;
    let applied = control.apply(FILE, value(CANARY)).await.expect(200).json();
    let key = applied["keys"][0]["secret"].as_str().unwrap().to_owned();
    let rotated = control.post("/api/v1/keys/checkout-live/rotate", json!({})).await.expect(200).json();
    let key_two = rotated["secret"].as_str().unwrap().to_owned();
    control
        .post("/api/v1/credentials", json!({ "name": "more", "engine": "static", "secret": SECOND }))
        .await
        .expect(201);
    control.post("/api/v1/credentials/more/rotate", json!({ "secret": format!("{SECOND}-b") })).await.expect(202);
    let made = control.vault.current_value(&"made-here".parse().unwrap()).await.unwrap();
    let canaries = [CANARY, SECOND, &key, &key_two, exposed(&made), &control.token];

    let document = serde_json::to_value(crate::openapi()).unwrap();
    let rotation = control.get("/api/v1/status").await.json()["rotations"][0]["id"].as_str().unwrap().to_owned();
    let mut read = 0;
    for (template, item) in document["paths"].as_object().unwrap() {
        if item.get("get").is_none() {
            continue;
        }
        for name in ["orders-token", "more", "made-here", "checkout-live", "orders", "checkout"] {
            let path = template.replace("{name}", name).replace("{id}", &rotation).replace("{request_id}", "x");
            let answer = control.get(&path).await;
            for canary in canaries {
                assert!(!answer.text.contains(canary), "{path} shows a secret");
            }
            read += usize::from(answer.status == 200);
        }
    }
    assert!(read > 60, "most reads answered: {read}");
}

#[tokio::test]
async fn refusals_never_repeat_what_was_handed_in_as_a_secret() {
    let control = Control::start().await;
    control.apply(FILE, value("v1")).await.expect(200);
    let attempts = [
        ("/api/v1/credentials", json!({ "name": "Bad Name", "engine": "static", "secret": CANARY })),
        ("/api/v1/credentials", json!({ "name": "x", "engine": "static", "secret": [CANARY] })),
        ("/api/v1/credentials", json!({ "name": "x", "engine": "generated", "secret": CANARY })),
        ("/api/v1/credentials", json!({ "name": "x", "engine": "static", "value": CANARY })),
        ("/api/v1/credentials/orders-token/rotate", json!({ "secret": [CANARY] })),
        ("/api/v1/credentials/orders-token/rotate", json!({ "secret": CANARY, "overlap": CANARY })),
        ("/api/v1/credentials/made-here/rotate", json!({ "secret": CANARY })),
        ("/api/v1/session", json!({ "token": CANARY })),
        ("/api/v1/session", json!({ "token": { "a": CANARY } })),
        ("/api/v1/config/apply", json!({ "documents": [], "values": { "nobody": CANARY } })),
        ("/api/v1/config/apply", json!({ "documents": [], "values": CANARY })),
    ];
    for (path, body) in attempts {
        let answer = control.call(Method::POST, path, Some(body.clone()), &[]).await;
        assert!(answer.status.is_client_error(), "{path} {body}: {} {}", answer.status, answer.text);
        assert!(!answer.text.contains(CANARY), "{path} repeats a secret: {}", answer.text);
    }
    // Nor is it on disk: neither in the database nor in its write-ahead log.
    control.apply(FILE, value(CANARY)).await.expect(200);
    for entry in std::fs::read_dir(control.dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(CANARY.len()).any(|w| w == CANARY.as_bytes()), "{} holds a secret", path.display());
        }
    }
}
