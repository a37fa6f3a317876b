//! JWT and OIDC against a provider that the test plays.

use super::world::*;
use crate::{Mount, Operation, Response, Result};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn jwks(seeds: &[u8]) -> Value {
    let key = |seed: &u8| json!({"kty": "OKP", "crv": "Ed25519", "kid": format!("k{seed}"), "x": URL_SAFE_NO_PAD.encode(pair(*seed).public_key().as_ref())});
    json!({"keys": seeds.iter().map(key).collect::<Vec<_>>()})
}

fn signed(seed: u8, claims: &Value) -> String {
    let header = json!({"alg": "EdDSA", "kid": format!("k{seed}"), "typ": "JWT"});
    let encode = |v: &Value| URL_SAFE_NO_PAD.encode(v.to_string());
    let message = format!("{}.{}", encode(&header), encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(pair(seed).sign(message.as_bytes()).as_ref());
    format!("{message}.{signature}")
}

const ISSUER: &str = "https://issuer.example";

async fn ask(world: &World, operation: Operation, path: &str, body: Value) -> Result<Response> {
    let open = path == "login" || path.starts_with("oidc/");
    let token = (!open).then_some(world.root.as_str());
    let mount: Mount = mount("jwt/");
    world.ask("jwt", &mount, token, operation, path, body, None).await
}

async fn write(world: &World, path: &str, body: Value) -> Result<Response> {
    ask(world, Operation::Update, path, body).await
}

async fn provider(world: &World) {
    let document = json!({"issuer": ISSUER, "jwks_uri": format!("{ISSUER}/keys"),
        "authorization_endpoint": format!("{ISSUER}/authorize"), "token_endpoint": format!("{ISSUER}/token")});
    world.web.put(&format!("{ISSUER}/.well-known/openid-configuration"), document);
    world.web.put(&format!("{ISSUER}/keys"), jwks(&[1]));
    let config = json!({"oidc_discovery_url": ISSUER, "jwt_supported_algs": ["EdDSA"], "oidc_client_id": "us",
        "oidc_client_secret": "client-secret-canary", "default_role": "dev"});
    write(world, "config", config).await.unwrap();
}

fn claims(change: Value) -> Value {
    let mut all = json!({"iss": ISSUER, "sub": "alice", "aud": "us", "iat": START, "exp": START + 600,
        "team": {"name": "pay"}, "groups": ["a", "b"]});
    all.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    all
}

#[tokio::test]
async fn a_signed_token_becomes_ours_when_it_says_what_the_role_wants() {
    let world = World::new().await;
    provider(&world).await;
    let role = json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["us"], "groups_claim": "groups",
        "bound_claims": {"/team/name": ["p*", "x"]}, "bound_claims_type": "glob", "claim_mappings": {"/team/name": "team"},
        "token_policies": ["dev"], "token_ttl": "10m"});
    write(&world, "role/dev", role).await.unwrap();
    let login = |token: String| {
        let world = &world;
        async move { write(world, "login", json!({"role": "dev", "jwt": token})).await }
    };
    let made = login(signed(1, &claims(json!({})))).await.unwrap();
    let auth = made.auth.as_ref().unwrap();
    let meta = auth.metadata.as_ref().unwrap();
    assert_eq!((meta["role"].as_str(), meta["team"].as_str(), auth.lease_duration), ("dev", "pay", 600));
    assert_eq!(
        data(&world.token(&client_token(&made), "lookup-self", json!({})).await.unwrap())["display_name"],
        "jwt-alice"
    );
    for (change, part) in [
        (json!({"aud": "other"}), "audience"),
        (json!({"aud": []}), "audience"),
        (json!({"iss": "https://evil.example"}), "issuer"),
        (json!({"exp": START - 61}), "expired"),
        (json!({"nbf": START + 61}), "not valid yet"),
        (json!({"iat": START + 61, "nbf": START}), "future"),
        (json!({"sub": null}), "not found"),
        (json!({"sub": 7}), "converted"),
        (json!({"team": {"name": "q"}}), "bound claim"),
        (json!({"team": null}), "missing"),
        (json!({"groups": [1]}), "list of texts"),
    ] {
        let (status, text) = refusal(login(signed(1, &claims(change.clone()))).await);
        assert!(status == 400 && text.contains(part), "{change}: {text}");
    }
    let good = signed(1, &claims(json!({})));
    let (head, rest) = good.split_once('.').unwrap();
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    for token in [signed(2, &claims(json!({}))), format!("{none}.{rest}"), format!("{head}.{rest}x"), String::new()] {
        let (status, text) = refusal(login(token.clone()).await);
        assert!(status == 400 && (token.is_empty() || !text.contains(&token)), "{text}");
    }
}

#[tokio::test]
async fn rotated_keys_are_fetched_and_a_provider_that_is_away_is_survived() {
    let world = World::new().await;
    provider(&world).await;
    write(&world, "role/dev", json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": "us"})).await.unwrap();
    let login = |seed| {
        let world = &world;
        let token = signed(seed, &claims(json!({})));
        async move { write(world, "login", json!({"jwt": token})).await }
    };
    assert!(login(1).await.is_ok());
    world.web.put(&format!("{ISSUER}/keys"), jwks(&[1, 2]));
    assert!(login(2).await.is_err(), "not asked again within seconds");
    world.pass(5);
    assert!(login(2).await.is_ok());
    let asked = world.web.asked.lock().unwrap().len();
    for _ in 0..20 {
        assert!(login(3).await.is_err());
    }
    assert!(world.web.asked.lock().unwrap().len() <= asked + 2, "unknown keys are no way to make us ask");
    world.web.pages.lock().unwrap().clear();
    world.pass(400);
    assert!(login(1).await.is_ok());
    let refused = write(&world, "config", json!({"oidc_discovery_url": "https://none.example"})).await;
    assert!(refusal(refused).1.contains("error checking oidc discovery URL"));
}

#[tokio::test]
async fn configurations_and_roles_that_cannot_be_meant_are_refused() {
    let world = World::new().await;
    provider(&world).await;
    for body in [
        json!({}),
        json!({"jwks_url": "https://a", "oidc_discovery_url": ISSUER}),
        json!({"oidc_discovery_url": ISSUER, "oidc_client_id": "x"}),
        json!({"oidc_discovery_url": ISSUER, "jwt_supported_algs": ["none"]}),
        json!({"oidc_discovery_url": ISSUER, "jwt_supported_algs": ["HS256"]}),
        json!({"jwt_validation_pubkeys": ["no pem"]}),
        json!({"oidc_discovery_url": ISSUER, "oidc_response_types": ["id_token"]}),
    ] {
        assert_eq!(refusal(write(&world, "config", body.clone()).await).0, 400, "{body}");
    }
    for body in [
        json!({"role_type": "jwt", "user_claim": "sub"}),
        json!({"role_type": "oidc", "user_claim": "sub"}),
        json!({"role_type": "jwt", "bound_audiences": ["a"]}),
        json!({"role_type": "saml", "user_claim": "sub", "bound_audiences": ["a"]}),
        json!({"role_type": "jwt", "user_claim": "sub", "bound_claims": {"a": {}}}),
        json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["a"], "claim_mappings": {"a": "role"}}),
    ] {
        assert_eq!(refusal(write(&world, "role/x", body.clone()).await).0, 400, "{body}");
    }
    let shown = data(&ask(&world, Operation::Read, "config", json!({})).await.unwrap());
    assert_eq!(shown["oidc_discovery_url"], ISSUER);
    assert!(!shown.to_string().contains("client-secret-canary"));
}

#[tokio::test]
async fn people_come_back_from_the_provider_with_a_code() {
    let world = World::new().await;
    provider(&world).await;
    let uri = "https://us.example/oidc/callback";
    let role = json!({"user_claim": "sub", "allowed_redirect_uris": [uri], "oidc_scopes": ["profile"]});
    write(&world, "role/dev", role).await.unwrap();
    let begin = |uri: &str, role: &str| write(&world, "oidc/auth_url", json!({"redirect_uri": uri, "role": role}));
    assert_eq!(data(&begin("https://evil.example", "dev").await.unwrap())["auth_url"], "");
    assert_eq!(data(&begin(uri, "none").await.unwrap())["auth_url"], "");
    let url = data(&begin(uri, "dev").await.unwrap())["auth_url"].as_str().unwrap().to_owned();
    assert!(url.starts_with(&format!("{ISSUER}/authorize?client_id=us&")), "{url}");
    let part = |name: &str| {
        let found = url.split(['?', '&']).find_map(|p| p.strip_prefix(name)?.strip_prefix('='));
        found.unwrap().to_owned()
    };
    let (state, nonce, challenge) = (part("state"), part("nonce"), part("code_challenge"));
    assert_eq!((part("scope").as_str(), part("code_challenge_method").as_str()), ("openid%20profile", "S256"));
    let answer = |nonce: &str, change: Value| {
        let mut all = claims(json!({"nonce": nonce}));
        all.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        world.web.put(&format!("{ISSUER}/token"), json!({"id_token": signed(1, &all)}));
    };
    let finish =
        |state: &str, code: &str| ask(&world, Operation::Read, "oidc/callback", json!({"state": state, "code": code}));
    for (nonce, change) in
        [("other", json!({})), (nonce.as_str(), json!({"aud": "them"})), (nonce.as_str(), json!({"azp": "them"}))]
    {
        answer(nonce, change);
        assert_eq!(refusal(finish(&state, "c").await).0, 400);
    }
    answer(&nonce, json!({}));
    let bent = format!("A{}", &state[1..]);
    for (state, code) in [(bent.as_str(), "c"), ("", "c"), (state.as_str(), "")] {
        assert_eq!(refusal(finish(state, code).await).0, 400);
    }
    let made = finish(&state, "the-code").await.unwrap();
    assert_eq!(made.auth.unwrap().metadata.unwrap()["role"], "dev");
    let sent = world.web.asked.lock().unwrap().last().cloned().unwrap();
    let form = String::from_utf8(sent.form.unwrap()).unwrap();
    let verifier = form.split('&').find_map(|p| p.strip_prefix("code_verifier=")).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
    assert_eq!(URL_SAFE_NO_PAD.encode(digest), challenge);
    assert!(form.contains("code=the-code") && sent.authorization.unwrap().starts_with("Basic "));
    world.pass(600);
    assert_eq!(refusal(finish(&state, "c").await).0, 400, "a beginning lasts ten minutes");
}
