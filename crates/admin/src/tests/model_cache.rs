//! Emptying the cache of a model is a change like any other.

use super::Control;
use http::Method;
use serde_json::json;
use std::sync::atomic::Ordering::SeqCst;

#[tokio::test]
async fn a_cache_is_emptied_by_a_change_that_every_worker_takes_in() {
    let control = Control::start().await;
    let model = |cache: serde_json::Value| json!({ "name": "m", "targets": [{ "provider": "sandbox", "model": "x" }], "cache": cache });
    let clear = || control.call(Method::DELETE, "/api/v1/models/m/cache", None, &[]);
    clear().await.expect(404);
    control.put("/api/v1/models/m", model(json!(null))).await.expect(201);
    assert_eq!(clear().await.expect(409).code(), "conflict");
    let before = control.put("/api/v1/models/m", model(json!({ "ttl": "10m" }))).await.expect(200);
    let published = control.dataplane.published.load(SeqCst);
    clear().await.expect(204);
    assert_eq!(control.dataplane.published.load(SeqCst), published + 1);
    let after = control.get("/api/v1/models/m").await.expect(200);
    assert_ne!(after.headers["etag"], before.headers["etag"], "nodes hear of it by the revision");
    assert_eq!(after.json()["spec"], before.json()["spec"], "what is declared is the same");
    let events = control.get("/api/v1/audit?action=model.clear_cache").await.expect(200).json();
    assert_eq!(
        (&events["items"][0]["action"], &events["items"][0]["subject"]),
        (&json!("model.clear_cache"), &json!("models/m"))
    );
}
