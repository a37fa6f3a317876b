//! A provider's API with keys that it makes itself, as a test's own small server.

use super::{create, secret, statements};
use credentialflow_model::SecretValue;
use credentialflow_targets::{
    Login, NewLogin, Settings, Target, TargetError, Verdict,
    http_api::{Description, Settings as ApiSettings},
    open,
};
use credentialflow_testkit::upstream::FakeUpstream;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

pub(super) type Keys = Arc<Mutex<BTreeMap<String, (String, String)>>>;

/// No id and no key is given twice.
static MADE: AtomicUsize = AtomicUsize::new(1);

pub(super) async fn provider(keys: Keys) -> FakeUpstream {
    FakeUpstream::start(move |mut peer| {
        let keys = keys.clone();
        async move {
            while let Some(request) = peer.request().await {
                let (status, body) = answer(&keys, &request);
                let body = body.to_string();
                peer.send(format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
            }
        }
    })
    .await
}

fn answer(keys: &Keys, request: &credentialflow_testkit::wire::Message) -> (u16, Value) {
    let token = request.field("authorization").and_then(|a| a.strip_prefix("Bearer ")).unwrap_or_default().to_owned();
    let mut keys = keys.lock().unwrap();
    if request.target() == "/v1/whoami" {
        let known = keys.values().any(|(_, key)| *key == token);
        return if known { (200, json!({})) } else { (401, json!({ "error": format!("bad key {token}") })) };
    }
    if token != "root-secret-token" {
        return (403, json!({ "error": format!("not you: {token}") }));
    }
    match (request.method(), request.target().strip_prefix("/v1/keys").unwrap_or("?")) {
        ("POST", "") => {
            let asked: Value = serde_json::from_slice(&request.body).unwrap();
            let name = asked["name"].as_str().unwrap().to_owned();
            if name.contains("full") {
                return (429, json!({}));
            }
            let number = MADE.fetch_add(1, Ordering::SeqCst);
            let (id, key) = (format!("id/{number}"), format!("sk-{number}-made-by-provider"));
            keys.insert(id.clone(), (name, key.clone()));
            (201, json!({ "data": { "id": id, "secret": key } }))
        }
        ("GET", "") => {
            let items: Vec<Value> = keys.iter().map(|(id, (name, _))| json!({ "id": id, "name": name })).collect();
            (200, json!({ "items": items }))
        }
        ("DELETE", path) => {
            let id = path.trim_start_matches('/').replace("%2F", "/");
            if keys.remove(&id).is_some() { (204, json!({})) } else { (404, json!({})) }
        }
        _ => (400, json!({ "error": "what?" })),
    }
}

pub(super) fn target(base: &str, admin: &str) -> Arc<dyn Target> {
    taking(base, admin, json!({ "handle": "/data/id", "password": "/data/secret" }))
}

fn taking(base: &str, admin: &str, take: Value) -> Arc<dyn Target> {
    let description: Description = serde_json::from_value(json!({
        "base_url": format!("{base}/v1"),
        "headers": { "accept-language": "en" },
        "create": { "method": "POST", "path": "/keys", "headers": { "authorization": "Bearer {{admin}}" },
                    "json": { "name": "{{name}}" }, "expect": [201] },
        "take": take,
        "delete": { "method": "DELETE", "path": "/keys/{{handle}}", "headers": { "authorization": "Bearer {{admin}}" } },
        "test": { "method": "GET", "path": "/whoami", "headers": { "authorization": "Bearer {{password}}" } },
        "list": { "method": "GET", "path": "/keys", "headers": { "authorization": "Bearer {{admin}}" },
                  "items": "/items", "name": "/name", "handle": "/id" }
    }))
    .unwrap();
    let mut settings = ApiSettings::new(description, "", SecretValue::from(admin));
    settings.timeout = Duration::from_secs(3);
    settings.private_hosts = "127.0.0.1".parse().unwrap();
    open(Settings::Http(Box::new(settings))).unwrap()
}

#[tokio::test]
async fn a_providers_key_is_made_tried_found_and_withdrawn() {
    let keys = Keys::default();
    let provider = provider(keys.clone()).await;
    let target = target(&provider.url(), "root-secret-token");
    target.check().await.unwrap();
    let (name, unused, none) = ("v-a\"b/c-ü", secret(), statements(&[]));
    let made = target.create(&NewLogin { name, password: &unused, expires: None, statements: &none }).await.unwrap();
    let login = Login { name: name.to_owned(), handle: made.handle };
    let key = made.password.unwrap();
    assert!(login.handle.starts_with("id/") && key.expose().ends_with(b"-made-by-provider"));
    assert!(matches!(target.verify(&login, &unused).await.unwrap(), Verdict::Refused(_)));
    // A crash before the answer was stored: the key is found by its name and withdrawn by its id.
    assert_eq!(target.list("v-").await.unwrap(), std::slice::from_ref(&login));
    assert!(target.revoke(&login, &none).await.unwrap().existed);
    assert!(keys.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_was_made_and_cannot_be_named_counts_as_perhaps_made() {
    let keys = Keys::default();
    let provider = provider(keys.clone()).await;
    let none = statements(&[]);
    let nameless = taking(&provider.url(), "root-secret-token", json!({ "handle": "/data/number" }));
    let error = create(&*nameless, "v-lost", &secret(), &none).await.unwrap_err();
    assert!(error.may_be_done() && !error.is_transient(), "{error}");
    // It is there, and found by its name.
    let found = nameless.list("v-lost").await.unwrap();
    assert_eq!(found.len(), 1);
    assert!(nameless.revoke(&found[0], &none).await.unwrap().existed);
    // A key whose secret nobody learned is taken back at once.
    let mute = json!({ "handle": "/data/id", "password": "/data/token" });
    let mute = taking(&provider.url(), "root-secret-token", mute);
    let error = create(&*mute, "v-mute", &secret(), &none).await.unwrap_err();
    assert!(matches!(error, TargetError::Refused(_)), "{error}");
    assert!(keys.lock().unwrap().is_empty());
}

#[tokio::test]
async fn errors_tell_no_secret() {
    let provider = provider(Keys::default()).await;
    let none = statements(&[]);
    let wrong = target(&provider.url(), "wrong-admin-token");
    let error = create(&*wrong, "v-1", &secret(), &none).await.unwrap_err();
    assert!(matches!(&error, TargetError::Refused(why) if why.contains("403")), "{error}");
    assert!(!error.to_string().contains("wrong-admin-token"), "{error}");
    let right = target(&provider.url(), "root-secret-token");
    let busy = create(&*right, "v-full", &secret(), &none).await.unwrap_err();
    assert!(busy.is_transient(), "{busy}");
    assert!(matches!(right.set_password(&Login::named("x"), &secret(), &none).await, Err(TargetError::BadTemplate(_))));
    let url = provider.url();
    provider.stop().await;
    let error = create(&*target(&url, "root-secret-token"), "v-1", &secret(), &none).await.unwrap_err();
    assert!(matches!(error, TargetError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_not_asked_unless_it_was_named() {
    let provider = provider(Keys::default()).await;
    let base = provider.url().replace("127.0.0.1", "localhost");
    let call = json!({ "method": "GET", "path": "/whoami", "expect": [401] });
    let asked = async |private: &str| {
        let description: Description =
            serde_json::from_value(json!({ "base_url": base, "create": call, "delete": call, "check": call })).unwrap();
        let mut settings = ApiSettings::new(description, "", SecretValue::from("x"));
        settings.private_hosts = private.parse().unwrap();
        open(Settings::Http(Box::new(settings))).unwrap().check().await
    };
    let error = asked("").await.unwrap_err();
    assert!(matches!(&error, TargetError::BadSettings(why) if why.contains("private_hosts")), "{error}");
    let answered = asked("localhost").await;
    assert!(!matches!(answered, Err(TargetError::BadSettings(_) | TargetError::Unreachable(_))), "{answered:?}");
}

#[test]
fn addresses_that_are_no_targets_are_refused() {
    for base in [
        "http://10.0.0.1",
        "http://127.0.0.1",
        "http://169.254.169.254",
        "http://[fe80::1]",
        "ftp://a",
        "http://u:p@host",
        "http://h/?q=1",
        "",
    ] {
        let call = json!({ "method": "GET", "path": "/" });
        let description: Description =
            serde_json::from_value(json!({ "base_url": base, "create": call, "delete": call })).unwrap();
        let settings = ApiSettings::new(description, "", SecretValue::from("x"));
        assert!(matches!(open(Settings::Http(Box::new(settings))), Err(TargetError::BadSettings(_))), "{base}");
    }
}

/// Lists two keys at a time out of five, and says in its own way where it goes on.
async fn paged(goes_on: fn(usize) -> (String, Value)) -> FakeUpstream {
    FakeUpstream::start(move |mut peer| async move {
        while let Some(request) = peer.request().await {
            assert_eq!(request.field("authorization"), Some("Bearer root-secret-token"));
            let from = request.target().rsplit_once("page=").map_or(0, |(_, page)| page.parse().unwrap());
            let items: Vec<Value> =
                (from..5).take(2).map(|n| json!({ "id": format!("id/{n}"), "name": format!("v-{n}") })).collect();
            let (header, mut body) = goes_on(from + 2);
            body["items"] = json!(items);
            let body = body.to_string();
            peer.send(format!("HTTP/1.1 200 X\r\n{header}content-length: {}\r\n\r\n{body}", body.len())).await;
        }
    })
    .await
}

fn lister(base: &str, more: Value) -> Arc<dyn Target> {
    let admin = json!({ "authorization": "Bearer {{admin}}" });
    let mut list = json!({ "method": "GET", "path": "/keys", "headers": admin, "items": "/items", "name": "/name",
        "handle": "/id" });
    list.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let call = json!({ "method": "POST", "path": "/keys" });
    let described = json!({ "base_url": format!("{base}/v1"), "create": call, "delete": call, "list": list });
    let description: Description = serde_json::from_value(described).unwrap();
    let mut settings = ApiSettings::new(description, "", SecretValue::from("root-secret-token"));
    settings.private_hosts = "127.0.0.1".parse().unwrap();
    open(Settings::Http(Box::new(settings))).unwrap()
}

#[tokio::test]
async fn a_list_is_read_to_its_last_page() {
    let cursor = paged(|next| {
        let body = if next < 5 { json!({ "next": next, "has_more": true }) } else { json!({ "has_more": false }) };
        (String::new(), body)
    })
    .await;
    let address = paged(|next| {
        let next = (next < 5).then(|| format!("/v1/keys?page={next}"));
        (String::new(), json!({ "links": { "next": next } }))
    })
    .await;
    let header = paged(|next| {
        let link = format!("link: </v1/keys?page={next}>; rel=\"next\"\r\n");
        (if next < 5 { link } else { String::new() }, json!({}))
    })
    .await;
    for (provider, more) in [
        (&cursor, json!({ "next": "/next", "cursor": "page" })),
        (&address, json!({ "next": "/links/next" })),
        (&header, json!({})),
    ] {
        let target = lister(&provider.url(), more.clone());
        let all: Vec<String> = target.list("v-").await.unwrap().into_iter().map(|login| login.handle).collect();
        assert_eq!(all, ["id/0", "id/1", "id/2", "id/3", "id/4"], "{more}");
        // On the last page, and so not gone.
        assert_eq!(target.list("v-4").await.unwrap().len(), 1, "{more}");
        assert!(target.list("v-5").await.unwrap().is_empty(), "{more}");
    }
    // What is not described is no end of the list.
    let error = lister(&cursor.url(), json!({})).list("v-4").await.unwrap_err();
    assert!(matches!(&error, TargetError::Refused(why) if why.contains("describe `next`")), "{error}");
}

#[tokio::test]
async fn a_list_without_an_end_or_at_another_place_is_an_error() {
    let round = paged(|_| (String::new(), json!({ "next": 2 }))).await;
    let endless = paged(|next| (String::new(), json!({ "next": next }))).await;
    let elsewhere = paged(|_| (String::new(), json!({ "next": "http://127.0.0.2:9/keys?page=2" }))).await;
    let cursor = json!({ "next": "/next", "cursor": "page" });
    for (provider, more, why) in [
        (&round, cursor.clone(), "comes back"),
        (&endless, cursor, "within 100 pages"),
        (&elsewhere, json!({ "next": "/next" }), "another server"),
    ] {
        let error = lister(&provider.url(), more).list("v-").await.unwrap_err();
        assert!(matches!(&error, TargetError::Refused(told) if told.contains(why)), "{error}");
    }
    assert_eq!(endless.counts().requests, 100);
    for bad in [json!({ "cursor": "page" }), json!({ "next": "next" }), json!({ "next": "/next", "cursor": "" })] {
        let mut list = json!({ "method": "GET", "path": "/keys", "name": "/name" });
        list.as_object_mut().unwrap().extend(bad.as_object().unwrap().clone());
        let call = json!({ "method": "POST", "path": "/keys" });
        let described = json!({ "base_url": "https://api.example.com", "create": call, "delete": call, "list": list });
        let description: Description = serde_json::from_value(described).unwrap();
        let settings = ApiSettings::new(description, "", SecretValue::from("x"));
        assert!(matches!(open(Settings::Http(Box::new(settings))), Err(TargetError::BadTemplate(_))), "{bad}");
    }
}
