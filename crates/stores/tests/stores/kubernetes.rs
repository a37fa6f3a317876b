//! Secrets of a Kubernetes namespace.

use crate::{Played, answer, json_of, opened, play, read, wait, write};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use credentialflow_stores::ExternalError;
use credentialflow_testkit::wire::Message;
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

#[derive(Default)]
struct Cluster {
    secrets: BTreeMap<String, Map<String, Value>>,
    version: u64,
    /// Somebody else makes this secret between our looking and our making.
    raced: Option<String>,
    throttled: bool,
}

fn status(code: u16, reason: &str, message: &str) -> Played {
    let body = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason,
                       "message": message, "code": code });
    answer(code, body)
}

fn serve(cluster: &mut Cluster, request: &Message) -> Played {
    if request.field("authorization") != Some("Bearer canary-token") {
        return status(401, "Unauthorized", "Unauthorized");
    }
    if std::mem::take(&mut cluster.throttled) {
        return wait(1);
    }
    let Some(rest) = request.target().strip_prefix("/api/v1/namespaces/apps/secrets") else {
        return status(404, "NotFound", "the server could not find the requested resource");
    };
    let name = rest.trim_start_matches('/').to_owned();
    if name == "forbidden" {
        let words = r#"secrets "forbidden" is forbidden: User cannot get resource"#;
        return status(403, "Forbidden", words);
    }
    let shown = |cluster: &Cluster, name: &str| {
        json!({ "kind": "Secret", "apiVersion": "v1", "type": "Opaque", "data": cluster.secrets[name],
                "metadata": { "name": name, "namespace": "apps", "resourceVersion": cluster.version.to_string() } })
    };
    match request.method() {
        "GET" if cluster.secrets.contains_key(&name) => answer(200, shown(cluster, &name)),
        "GET" => status(404, "NotFound", &format!("secrets {name:?} not found")),
        "PATCH" => {
            assert_eq!(request.field("content-type"), Some("application/merge-patch+json"));
            cluster.version += 1;
            let data = json_of(request)["data"].as_object().unwrap().clone();
            cluster.secrets.get_mut(&name).unwrap().extend(data);
            answer(200, shown(cluster, &name))
        }
        "POST" => {
            let made = json_of(request);
            let name = made["metadata"]["name"].as_str().unwrap().to_owned();
            assert_eq!((made["kind"].as_str(), made["type"].as_str()), (Some("Secret"), Some("Opaque")));
            if cluster.raced.take().is_some_and(|raced| raced == name) {
                cluster.secrets.insert(name.clone(), Map::from_iter([("theirs".to_owned(), json!("eA=="))]));
            }
            if cluster.secrets.contains_key(&name) {
                return status(409, "AlreadyExists", &format!("secrets {name:?} already exists"));
            }
            cluster.version += 1;
            cluster.secrets.insert(name.clone(), made["data"].as_object().unwrap().clone());
            answer(201, shown(cluster, &name))
        }
        other => panic!("{other}"),
    }
}

fn spec(url: &str) -> Value {
    json!({ "name": "s", "kind": "kubernetes", "address": url, "namespace": "apps", "credential": "c" })
}

#[tokio::test]
async fn one_key_of_a_secret_is_made_patched_and_read() {
    let state = Arc::new(Mutex::new(Cluster::default()));
    let server = play(&state, serve).await;
    let store = opened(spec(&server.url()), "canary-token");
    assert_eq!(read(&store, "orders#token").await.unwrap_err(), "the store has no such secret");
    assert_eq!(write(&store, "orders#token", "one").await, Ok((true, Some("1".to_owned()))));
    assert_eq!(write(&store, "orders", "two").await, Ok((true, Some("2".to_owned()))), "beside it, under `value`");
    assert_eq!(write(&store, "orders", "two").await, Ok((false, Some("2".to_owned()))));
    assert_eq!(read(&store, "orders#token").await, Ok(("one".to_owned(), Some("2".to_owned()))));
    assert_eq!(state.lock().unwrap().secrets["orders"]["value"], json!(STANDARD.encode("two")));
    assert!(read(&store, "orders#none").await.unwrap_err().contains("no key none"));
    // Any bytes: it is the one store that takes them as they are.
    let bytes = credentialflow_model::SecretValue::new(vec![0, 159, 255]);
    store.write(&crate::place("orders#bytes"), &bytes).await.unwrap();
    assert_eq!(store.read(&crate::place("orders#bytes")).await.unwrap().value.expose(), [0, 159, 255]);
    assert!(read(&store, "Orders").await.unwrap_err().contains("small letters"));
}

#[tokio::test]
async fn what_somebody_else_made_in_between_is_patched() {
    let state = Arc::new(Mutex::new(Cluster { raced: Some("orders".to_owned()), ..Cluster::default() }));
    let server = play(&state, serve).await;
    let store = opened(spec(&server.url()), "canary-token");
    assert!(write(&store, "orders#token", "one").await.unwrap().0);
    let keys: Vec<String> = state.lock().unwrap().secrets["orders"].keys().cloned().collect();
    assert_eq!(keys, ["theirs", "token"]);
}

#[tokio::test]
async fn refusals_and_waits_are_told() {
    let state = Arc::new(Mutex::new(Cluster::default()));
    let server = play(&state, serve).await;
    let store = opened(spec(&server.url()), "canary-token");
    assert!(read(&store, "forbidden").await.unwrap_err().contains("403: secrets \"forbidden\" is forbidden"));
    state.lock().unwrap().throttled = true;
    let busy = store.read(&crate::place("orders")).await.map(|_| ()).unwrap_err();
    assert!(matches!(busy, ExternalError::Busy { again: Some(_), .. }), "{busy}");
    let other = opened(spec(&server.url()), "another-canary");
    let refused = read(&other, "orders").await.unwrap_err();
    assert!(refused.contains("401") && !refused.contains("canary"), "{refused}");
    let mut elsewhere = spec(&server.url());
    elsewhere["namespace"] = json!("none");
    let nowhere = write(&opened(elsewhere, "canary-token"), "orders", "x").await.unwrap_err();
    assert_eq!(nowhere, "the store refuses: there is no such namespace");
}
