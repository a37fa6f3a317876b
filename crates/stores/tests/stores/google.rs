//! Google Secret Manager and Google's token endpoint.

use crate::{Played, answer, form, json_of, opened, play, read, wait, write};
use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::KeySize,
    signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use credentialflow_model::SecretValue;
use credentialflow_stores::{Declared, open};
use credentialflow_testkit::wire::Message;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

struct Google {
    key: Vec<u8>,
    audience: String,
    logins: u32,
    valid_from: u32,
    /// `None`: the secret exists, without any version.
    secrets: BTreeMap<String, Vec<String>>,
    throttled: bool,
}

fn not_found(what: &str) -> Played {
    answer(404, json!({ "error": { "code": 404, "message": format!("{what} not found."), "status": "NOT_FOUND" } }))
}

/// The claims of a JWT whose signature is good.
fn claims(google: &Google, assertion: &str) -> Option<Value> {
    let (signed, signature) = assertion.rsplit_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &google.key);
    key.verify(signed.as_bytes(), &signature).ok()?;
    let (header, claims) = signed.split_once('.')?;
    let part = |text: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
    assert_eq!(part(header), json!({ "alg": "RS256", "typ": "JWT", "kid": "key-1" }));
    Some(part(claims))
}

fn serve(google: &mut Google, request: &Message) -> Played {
    if request.target() == "/token" {
        assert_eq!(form(request, "grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer");
        let Some(claims) = claims(google, &form(request, "assertion")) else {
            let words = "Invalid JWT Signature.";
            return answer(400, json!({ "error": "invalid_grant", "error_description": words }));
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(claims["iss"], "robot@project-1.iam.gserviceaccount.com");
        assert_eq!(claims["aud"], json!(google.audience));
        assert_eq!(claims["scope"], "https://www.googleapis.com/auth/cloud-platform");
        let (from, to) = (claims["iat"].as_u64().unwrap(), claims["exp"].as_u64().unwrap());
        assert!(from.abs_diff(now) < 60 && to - from <= 3600);
        google.logins += 1;
        let token = format!("token-{}", google.logins);
        return answer(200, json!({ "access_token": token, "expires_in": 3599, "token_type": "Bearer" }));
    }
    let token = request.field("authorization").and_then(|a| a.strip_prefix("Bearer token-"));
    if token.and_then(|n| n.parse::<u32>().ok()).is_none_or(|n| n < google.valid_from) {
        let words = "Request had invalid authentication credentials.";
        return answer(401, json!({ "error": { "code": 401, "message": words, "status": "UNAUTHENTICATED" } }));
    }
    if std::mem::take(&mut google.throttled) {
        return wait(3);
    }
    let rest = request.target().strip_prefix("/v1/projects/project-1/").unwrap_or_default().to_owned();
    let version = |id: &str, n: usize| format!("projects/123/secrets/{id}/versions/{n}");
    match (request.method(), rest.as_str()) {
        ("POST", made) if made.starts_with("secrets?secretId=") => {
            assert_eq!(json_of(request), json!({ "replication": { "automatic": {} } }));
            google.secrets.insert(made.trim_start_matches("secrets?secretId=").to_owned(), Vec::new());
            answer(200, json!({ "name": "projects/123/secrets/x" }))
        }
        ("POST", add) if add.ends_with(":addVersion") => {
            let id = add.trim_start_matches("secrets/").trim_end_matches(":addVersion");
            let Some(versions) = google.secrets.get_mut(id) else { return not_found("Secret") };
            let data = json_of(request)["payload"]["data"].as_str().unwrap().to_owned();
            versions.push(String::from_utf8(STANDARD.decode(data).unwrap()).unwrap());
            answer(200, json!({ "name": version(id, versions.len()), "state": "ENABLED" }))
        }
        ("GET", access) => {
            let id = access.trim_start_matches("secrets/").trim_end_matches("/versions/latest:access");
            if id == "forbidden" {
                let words = "Permission 'secretmanager.versions.access' denied";
                return answer(
                    403,
                    json!({ "error": { "code": 403, "message": words, "status": "PERMISSION_DENIED" } }),
                );
            }
            match google.secrets.get(id).filter(|versions| !versions.is_empty()) {
                Some(versions) => {
                    let data = STANDARD.encode(versions.last().unwrap());
                    answer(200, json!({ "name": version(id, versions.len()), "payload": { "data": data } }))
                }
                None => not_found("Secret Version"),
            }
        }
        other => panic!("{other:?}"),
    }
}

/// The state, and the key file of a service account that it knows.
async fn start() -> (Arc<Mutex<Google>>, credentialflow_testkit::upstream::FakeUpstream, String) {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let state = Arc::new(Mutex::new(Google {
        key: pair.public_key().as_ref().to_vec(),
        audience: String::new(),
        logins: 0,
        valid_from: 0,
        secrets: BTreeMap::new(),
        throttled: false,
    }));
    let server = play(&state, serve).await;
    let token_uri = format!("{}/token", server.url());
    state.lock().unwrap().audience = token_uri.clone();
    (state, server, key_file(&pair, &token_uri))
}

fn key_file(pair: &RsaKeyPair, token_uri: &str) -> String {
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let body = STANDARD.encode(der.as_ref());
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
    json!({ "type": "service_account", "project_id": "project-1", "private_key_id": "key-1", "private_key": pem,
            "client_email": "robot@project-1.iam.gserviceaccount.com", "token_uri": token_uri })
    .to_string()
}

fn spec(url: &str) -> Value {
    json!({ "name": "s", "kind": "google", "address": url, "project": "project-1", "credential": "c",
            "login": format!("{url}/token") })
}

#[tokio::test]
async fn versions_are_added_and_the_newest_is_read() {
    let (state, server, file) = start().await;
    let store = opened(spec(&server.url()), &file);
    assert_eq!(read(&store, "orders").await.unwrap_err(), "the store has no such secret");
    assert_eq!(write(&store, "orders", "one").await, Ok((true, Some("1".to_owned()))), "made, as it did not exist");
    assert_eq!(write(&store, "orders", "one").await, Ok((false, Some("1".to_owned()))));
    assert_eq!(write(&store, "orders", "two").await, Ok((true, Some("2".to_owned()))));
    assert_eq!(read(&store, "orders").await, Ok(("two".to_owned(), Some("2".to_owned()))));
    // A secret without a version exists already.
    state.lock().unwrap().secrets.insert("empty".to_owned(), Vec::new());
    assert_eq!(write(&store, "empty#token", "t").await, Ok((true, Some("1".to_owned()))));
    assert_eq!(state.lock().unwrap().secrets["empty"], [r#"{"token":"t"}"#]);
    assert_eq!(state.lock().unwrap().logins, 1);
}

#[tokio::test]
async fn refused_tokens_are_asked_for_anew_and_refusals_told() {
    let (state, server, file) = start().await;
    let store = opened(spec(&server.url()), &file);
    write(&store, "orders", "one").await.unwrap();
    state.lock().unwrap().valid_from = 2;
    assert_eq!(read(&store, "orders").await.unwrap().0, "one");
    assert_eq!(state.lock().unwrap().logins, 2);
    let refused = read(&store, "forbidden").await.unwrap_err();
    assert!(refused.contains("403: PERMISSION_DENIED: Permission"), "{refused}");
    state.lock().unwrap().throttled = true;
    let busy = store.read(&crate::place("orders")).await.map(|_| ()).unwrap_err();
    assert_eq!(busy.again(), Some(Duration::from_secs(3)), "{busy}");
}

#[tokio::test]
async fn another_accounts_key_does_not_let_in() {
    let (_state, server, _) = start().await;
    let other = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let store = opened(spec(&server.url()), &key_file(&other, &format!("{}/token", server.url())));
    let refused = read(&store, "orders").await.unwrap_err();
    assert!(refused.contains("logging in: Invalid JWT Signature."), "{refused}");
}

#[tokio::test]
async fn what_a_key_file_names_is_asked_only_at_public_addresses() {
    let (state, server, file) = start().await;
    let mut undeclared = spec("https://127.0.0.1:1");
    undeclared.as_object_mut().unwrap().remove("login");
    let with = |token_uri: &str| {
        let mut file: Value = serde_json::from_str(&file).unwrap();
        file["token_uri"] = json!(token_uri);
        SecretValue::from(file.to_string())
    };
    let opening = |token_uri: &str, plaintext: bool| {
        let mut spec = undeclared.clone();
        spec["plaintext"] = json!(plaintext);
        let spec = serde_json::from_value(spec).unwrap();
        open(&Declared { spec, access: Some(with(token_uri)), authorities: None, files: None })
    };
    for (clear, plaintext) in [(server.url(), false), ("http://tokens.example".to_owned(), true)] {
        let refused = opening(&clear, plaintext).map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains("is not https://"), "{refused}");
    }
    let inside = opening("https://10.1.2.3/token", false).unwrap();
    let refused = read(&inside, "orders").await.unwrap_err();
    assert!(refused.contains("private"), "{refused}");
    assert_eq!(state.lock().unwrap().logins, 0);
}
