//! Sealing and unsealing through the API.

use super::*;
use base64::{Engine as _, engine::general_purpose::STANDARD};

async fn unseal(control: &Control, body: Value) -> Answer {
    hand_in(control, "/api/v1/seal/unseal", body).await
}

/// As somebody without a token.
async fn hand_in(control: &Control, path: &str, body: Value) -> Answer {
    let request = Request::post(path)
        .header("content-type", "application/json")
        .extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 1))));
    control.send(request.body(Body::from(body.to_string())).unwrap()).await
}

#[tokio::test]
async fn a_vault_is_sealed_by_the_administrator_and_unsealed_by_its_key() {
    let control = Control::start().await;
    let key = STANDARD.encode(std::fs::read(control.dir.path().join("root.key")).unwrap());
    assert_eq!(unseal(&control, json!({ "key": key })).await.expect(409).code(), "conflict");
    control.post("/api/v1/seal", json!({})).await.expect(200);
    assert!(control.vault.is_sealed());
    for wrong in [json!({ "key": STANDARD.encode([7u8; 32]) }), json!({ "key": "AAAA" }), json!({ "passphrase": "p" })]
    {
        assert_eq!(unseal(&control, wrong).await.expect(403).code(), "unseal_refused");
    }
    for unclear in
        [json!({}), json!({ "key": "%%" }), json!({ "key": key, "passphrase": "p" }), json!({ "token": "x" })]
    {
        unseal(&control, unclear).await.expect(400);
    }
    assert!(control.vault.is_sealed());
    let opened = unseal(&control, json!({ "key": key })).await.expect(200).json();
    let expected = json!({ "sealed": false, "method": "key_file", "shares": 1, "threshold": 1, "progress": 0 });
    assert_eq!(opened, expected);
    let events = control.get("/api/v1/audit?subject=settings/vault").await.expect(200).json();
    let actions: Vec<_> =
        events["items"].as_array().unwrap().iter().map(|event| event["action"].as_str().unwrap().to_owned()).collect();
    assert_eq!(actions[..2], ["vault.unseal", "vault.unseal_refuse"]);
    assert_eq!(actions.iter().filter(|action| *action == "vault.unseal_refuse").count(), 3);
    assert!(actions.contains(&"vault.seal".to_owned()));
    assert!(!events.to_string().contains(&key));
}

#[tokio::test]
async fn guessing_a_passphrase_is_slowed_down_and_what_is_not_recorded_does_not_happen() {
    let control = Control::start().await;
    let key = STANDARD.encode(std::fs::read(control.dir.path().join("root.key")).unwrap());
    control.vault.seal();
    control.store.close().await;
    assert_eq!(unseal(&control, json!({ "key": key })).await.expect(503).code(), "store_unavailable");
    assert!(control.vault.is_sealed());
    for _ in 0..crate::throttle::MAX_FAILURES {
        unseal(&control, json!({ "key": "AAAA" })).await.expect(403);
    }
    assert_eq!(unseal(&control, json!({ "key": key })).await.expect(429).code(), "too_many_failures");
}

/// A control plane whose vault takes two of three shares; it was a key file's before.
async fn shared() -> (Control, Vec<String>) {
    let control = Control::start().await;
    let key = STANDARD.encode(std::fs::read(control.dir.path().join("root.key")).unwrap());
    let wish = json!({ "shamir": { "shares": 3, "threshold": 2 } });
    let begun = control.post("/api/v1/seal/rekey", wish).await.expect(201).json();
    assert_eq!((begun["stage"].as_str(), begun["required"].as_u64()), (Some("prove"), Some(1)));
    let nonce = begun["nonce"].clone();
    let proven = hand_in(&control, "/api/v1/seal/rekey/prove", json!({ "nonce": nonce, "key": key })).await;
    let proven = proven.expect(200).json();
    assert_eq!((proven["finished"].as_bool(), proven["rekey"]["stage"].as_str()), (Some(false), Some("verify")));
    let shares: Vec<String> = serde_json::from_value(proven["shares"].clone()).unwrap();
    assert_eq!(control.get("/api/v1/seal").await.expect(200).json()["method"], "key_file", "not before it is verified");
    for (n, share) in shares[1..].iter().enumerate() {
        let body = json!({ "nonce": nonce, "share": share });
        let answer = hand_in(&control, "/api/v1/seal/rekey/verify", body).await.expect(200).json();
        assert_eq!(answer["finished"], n == 1, "{answer}");
    }
    control.get("/api/v1/seal/rekey").await.expect(404);
    (control, shares)
}

#[tokio::test]
async fn shares_are_handed_in_one_at_a_time_by_people_without_a_token() {
    let (control, shares) = shared().await;
    control.post("/api/v1/seal", json!({})).await.expect(200);
    let seal = control.send(Request::get("/api/v1/seal").body(Body::empty()).unwrap()).await.expect(200).json();
    let expected = json!({ "sealed": true, "method": "shamir", "shares": 3, "threshold": 2, "progress": 0 });
    assert_eq!(seal, expected, "anyone may see it");
    let one = unseal(&control, json!({ "share": shares[2] })).await.expect(200).json();
    assert_eq!((one["sealed"].as_bool(), one["progress"].as_u64()), (Some(true), Some(1)));
    let (rest, last) = shares[0].split_at(shares[0].len() - 2);
    let mistyped = format!("{rest}{}", if last == "00" { "11" } else { "00" });
    let told = unseal(&control, json!({ "share": mistyped })).await.expect(400).json();
    assert!(told["detail"].as_str().unwrap().contains("mistyped"), "{told}");
    assert!(!told.to_string().contains(&mistyped[20..]), "{told}");
    let again = unseal(&control, json!({ "share": shares[2] })).await.expect(400).json();
    assert_eq!(again["detail"], "share 3 was handed in already; another one is wanted");
    assert_eq!(unseal(&control, json!({ "reset": true })).await.expect(200).json()["progress"], 0);
    unseal(&control, json!({ "share": shares[1] })).await.expect(200);
    assert_eq!(unseal(&control, json!({ "share": shares[0] })).await.expect(200).json()["sealed"], false);
    assert_eq!(unseal(&control, json!({ "share": shares[0] })).await.expect(409).code(), "conflict");
    let audit = control.get("/api/v1/audit?subject=settings/vault").await.expect(200).json().to_string();
    for action in ["rekey.begin", "rekey.prove", "rekey.finish", "vault.unseal"] {
        assert!(audit.contains(action), "{action}");
    }
    assert!(shares.iter().all(|share| !audit.contains(&share[16..])));
}

#[tokio::test]
async fn a_rekey_is_begun_and_cancelled_by_the_administrator_and_named_by_its_nonce() {
    let (control, shares) = shared().await;
    for unclear in [
        json!({}),
        json!({ "shamir": { "shares": 3, "threshold": 4 } }),
        json!({ "passphrase": "p", "shamir": { "shares": 3, "threshold": 2 } }),
        json!({ "key": "AAAA" }),
    ] {
        control.post("/api/v1/seal/rekey", unclear).await.expect(400);
    }
    let kms = json!({ "aws_kms": { "key_id": "k", "region": "r" } });
    assert_eq!(control.post("/api/v1/seal/rekey", kms).await.expect(503).code(), "key_service_unavailable");
    let begun = control.post("/api/v1/seal/rekey", json!({ "passphrase": "a new one" })).await.expect(201).json();
    control.post("/api/v1/seal/rekey", json!({ "root": true })).await.expect(409);
    let stranger = json!({ "nonce": "00000000-0000-4000-8000-000000000000", "share": shares[0] });
    hand_in(&control, "/api/v1/seal/rekey/prove", stranger).await.expect(404);
    let early = json!({ "nonce": begun["nonce"], "passphrase": "a new one" });
    hand_in(&control, "/api/v1/seal/rekey/verify", early).await.expect(409);
    control.call(Method::DELETE, "/api/v1/seal/rekey", None, &[]).await.expect(204);
    let gone = json!({ "nonce": begun["nonce"], "share": shares[0] });
    hand_in(&control, "/api/v1/seal/rekey/prove", gone).await.expect(404);
    assert_eq!(control.get("/api/v1/seal").await.expect(200).json()["method"], "shamir");
}

#[tokio::test]
async fn the_keys_above_the_values_are_exchanged_and_told_without_being_shown() {
    let (control, shares) = shared().await;
    control.apply(FILE, value("a value")).await.expect(200);
    let published = control.dataplane.published.load(SeqCst);
    control.post("/api/v1/seal/keys/rotate", json!({ "key": "everything" })).await.expect(400);
    control.post("/api/v1/seal/keys/rotate", json!({ "key": "pepper" })).await.expect(200);
    let keys = control.post("/api/v1/seal/keys/rotate", json!({ "key": "keyring" })).await.expect(200).json();
    assert_eq!(control.dataplane.published.load(SeqCst), published + 2);
    assert_eq!((keys["keyring"][1]["term"].as_u64(), keys["keyring"][1]["newest"].as_bool()), (Some(2), Some(true)));
    assert_eq!((keys["peppers"][0]["hashes"].as_u64(), keys["peppers"][1]["hashes"].as_u64()), (Some(2), Some(0)));
    assert_eq!((keys["resealing"]["total"].as_u64(), keys["resealing"]["resealed"].as_u64()), (Some(2), Some(0)));
    assert!(keys["resealing"]["finished"].is_null() && keys["root"]["term"] == 1);
    while control.vault.reseal_step(&[credentialflow_vault::reseal::CREDENTIAL_VERSIONS]).await.unwrap() {}
    let keys = control.get("/api/v1/seal/keys").await.expect(200).json();
    assert_eq!(keys["resealing"]["resealed"], 2);
    assert!(keys["resealing"]["finished"].is_string());

    let nonce = control.post("/api/v1/seal/rekey", json!({ "root": true })).await.expect(201).json()["nonce"].clone();
    let prove = |n: usize| json!({ "nonce": nonce, "share": shares[n] });
    hand_in(&control, "/api/v1/seal/rekey/prove", prove(0)).await.expect(200);
    let done = hand_in(&control, "/api/v1/seal/rekey/prove", prove(1)).await.expect(200).json();
    assert_eq!(done, json!({ "finished": true }));
    assert_eq!(control.get("/api/v1/seal/keys").await.expect(200).json()["root"]["term"], 2);
    control.vault.seal();
    unseal(&control, json!({ "share": shares[0] })).await.expect(200);
    assert_eq!(unseal(&control, json!({ "share": shares[1] })).await.expect(200).json()["sealed"], false);
    control.get("/api/v1/seal/keys").await.expect(200);
}
