//! Azure Key Vault and the token endpoint of Microsoft Entra ID.

use crate::{Played, answer, form, json_of, opened, play, read, wait, write};
use credentialflow_stores::ExternalError;
use credentialflow_testkit::wire::Message;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

#[derive(Default)]
struct Azure {
    logins: u32,
    expires_in: u64,
    /// Tokens below this number are refused.
    valid_from: u32,
    secrets: BTreeMap<String, Vec<String>>,
    throttled: bool,
    seen: Vec<String>,
}

fn serve(azure: &mut Azure, request: &Message) -> Played {
    azure.seen.push(format!("{} {}", request.method(), request.target()));
    if request.target() == "/tenant-1/oauth2/v2.0/token" {
        assert_eq!(request.field("content-type"), Some("application/x-www-form-urlencoded"));
        assert_eq!(form(request, "grant_type"), "client_credentials");
        assert_eq!(form(request, "scope"), "https://vault.azure.net/.default");
        if form(request, "client_id") != "app-1" || form(request, "client_secret") != "a&b=canary" {
            let words = "AADSTS7000215: Invalid client secret provided.";
            return answer(401, json!({ "error": "invalid_client", "error_description": words }));
        }
        azure.logins += 1;
        let token = format!("token-{}", azure.logins);
        return answer(200, json!({ "token_type": "Bearer", "expires_in": azure.expires_in, "access_token": token }));
    }
    let token = request.field("authorization").and_then(|a| a.strip_prefix("Bearer token-"));
    match token.and_then(|n| n.parse::<u32>().ok()) {
        Some(n) if n >= azure.valid_from => {}
        _ => {
            return answer(
                401,
                json!({ "error": { "code": "Unauthorized", "message": "AKV10022: Invalid audience" } }),
            );
        }
    }
    if std::mem::take(&mut azure.throttled) {
        return wait(7);
    }
    let name = request.target().strip_prefix("/secrets/").and_then(|rest| rest.strip_suffix("?api-version=7.4"));
    let name = name.unwrap().to_owned();
    if name == "forbidden" {
        let words = "The user, group or application does not have secrets get permission";
        return answer(403, json!({ "error": { "code": "Forbidden", "message": words } }));
    }
    let shown = |name: &str, versions: &[String]| {
        let id = format!("https://team.vault.azure.net/secrets/{name}/v{}", versions.len());
        json!({ "value": versions.last(), "id": id, "attributes": { "enabled": true } })
    };
    match request.method() {
        "PUT" => {
            let value = json_of(request)["value"].as_str().unwrap().to_owned();
            let versions = azure.secrets.entry(name.clone()).or_default();
            versions.push(value);
            answer(200, shown(&name, versions))
        }
        _ => match azure.secrets.get(&name) {
            Some(versions) => answer(200, shown(&name, versions)),
            None => {
                let words = format!("A secret with (name/id) {name} was not found in this key vault.");
                answer(404, json!({ "error": { "code": "SecretNotFound", "message": words } }))
            }
        },
    }
}

fn spec(url: &str) -> Value {
    json!({ "name": "s", "kind": "azure", "address": url, "login": url, "tenant": "tenant-1", "identity": "app-1",
            "credential": "c" })
}

#[tokio::test]
async fn secrets_are_read_and_written_by_their_versions() {
    let state = Arc::new(Mutex::new(Azure { expires_in: 3599, ..Azure::default() }));
    let server = play(&state, serve).await;
    let store = opened(spec(&server.url()), "a&b=canary");
    assert_eq!(read(&store, "orders").await.unwrap_err(), "the store has no such secret");
    assert_eq!(write(&store, "orders", "one").await, Ok((true, Some("v1".to_owned()))));
    assert_eq!(write(&store, "orders", "one").await, Ok((false, Some("v1".to_owned()))));
    assert_eq!(write(&store, "orders", "two").await, Ok((true, Some("v2".to_owned()))));
    assert_eq!(read(&store, "orders").await, Ok(("two".to_owned(), Some("v2".to_owned()))));
    write(&store, "fields#password", "p").await.unwrap();
    write(&store, "fields#user", "u").await.unwrap();
    assert_eq!(state.lock().unwrap().secrets["fields"].last().unwrap(), r#"{"password":"p","user":"u"}"#);
    assert_eq!(read(&store, "fields#user").await.unwrap().0, "u");
    assert_eq!(state.lock().unwrap().logins, 1, "one token served all of it");
    for bad in ["a_b", "a/b", &"x".repeat(128)] {
        let before = state.lock().unwrap().seen.len();
        assert!(read(&store, bad).await.is_err());
        assert_eq!(state.lock().unwrap().seen.len(), before, "nothing was asked for {bad}");
    }
}

#[tokio::test]
async fn a_token_that_ends_or_is_refused_is_logged_in_for_anew() {
    let state = Arc::new(Mutex::new(Azure { expires_in: 0, ..Azure::default() }));
    let server = play(&state, serve).await;
    let store = opened(spec(&server.url()), "a&b=canary");
    write(&store, "orders", "one").await.unwrap();
    assert_eq!(state.lock().unwrap().logins, 2, "each of the two calls came after the token's end");
    state.lock().unwrap().expires_in = 3599;
    read(&store, "orders").await.unwrap();
    state.lock().unwrap().valid_from = 4;
    assert_eq!(read(&store, "orders").await.unwrap().0, "one");
    assert_eq!(state.lock().unwrap().logins, 4);
    // Where a fresh token is refused as well, it is said and not tried for ever.
    state.lock().unwrap().valid_from = 100;
    assert!(read(&store, "orders").await.unwrap_err().contains("401"));
}

#[tokio::test]
async fn refusals_and_waits_are_told_without_the_secret() {
    let state = Arc::new(Mutex::new(Azure { expires_in: 3599, ..Azure::default() }));
    let server = play(&state, serve).await;
    let store = opened(spec(&server.url()), "a&b=canary");
    let refused = read(&store, "forbidden").await.unwrap_err();
    assert!(refused.starts_with("the store refuses: it answered 403: Forbidden: The user"), "{refused}");
    state.lock().unwrap().throttled = true;
    let busy = store.read(&crate::place("orders")).await.map(|_| ()).unwrap_err();
    assert_eq!(busy.again(), Some(Duration::from_secs(7)), "{busy}");
    let wrong = opened(spec(&server.url()), "another-canary");
    let refused = read(&wrong, "orders").await.unwrap_err();
    assert!(refused.contains("logging in: AADSTS7000215") && !refused.contains("canary"), "{refused}");
    drop(server);
    let mut gone = spec("http://127.0.0.1:9");
    gone["login"] = json!("http://127.0.0.1:9");
    let away = opened(gone, "x").read(&crate::place("orders")).await.map(|_| ()).unwrap_err();
    assert!(matches!(away, ExternalError::Unreachable(_)), "{away}");
}
