//! JWT and OIDC against a provider that the test plays.

use super::world::*;
use crate::{Mount, Operation, Response, Result};
use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512,
        RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
    },
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
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
    // A new pepper between beginning and end changes nothing.
    world.vault.rotate_pepper(&credentialflow_model::Actor::operator()).await.unwrap();
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
    let sent = world.web.asked.lock().unwrap().pop().unwrap();
    let form = sent.form.as_ref().unwrap().expose_str().unwrap();
    let verifier = form.split('&').find_map(|p| p.strip_prefix("code_verifier=")).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
    assert_eq!(URL_SAFE_NO_PAD.encode(digest), challenge);
    let basic = format!("Basic {}", STANDARD.encode("us:client-secret-canary"));
    assert!(form.contains("code=the-code") && sent.authorization.unwrap().expose_str() == Some(basic.as_str()));
    world.pass(600);
    assert_eq!(refusal(finish(&state, "c").await).0, 400, "a beginning lasts ten minutes");
}

/// A provider's P-256 key in PEM, and what signs by it.
fn p256() -> (String, EcdsaKeyPair) {
    let rng = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
    let mut spki = vec![0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08];
    spki.extend([0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00]);
    spki.extend(pair.public_key().as_ref());
    (format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(spki)), pair)
}

fn rsa() -> (String, RsaKeyPair) {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
    (format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(spki.as_ref())), pair)
}

fn compact(alg: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let encode = |v: &Value| URL_SAFE_NO_PAD.encode(v.to_string());
    let message = format!("{}.{}", encode(&json!({"alg": alg, "typ": "JWT"})), encode(&claims(json!({}))));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

#[tokio::test]
async fn algorithms_are_pinned_also_where_none_is_configured() {
    let world = World::new().await;
    let rng = SystemRandom::new();
    let ((ec_pem, ec), (rsa_pem, rsa)) = (p256(), rsa());
    let by_rsa = |alg: &str| {
        let padding: &'static dyn RsaEncoding = match alg {
            "RS256" => &RSA_PKCS1_SHA256,
            "RS512" => &RSA_PKCS1_SHA512,
            _ => &RSA_PSS_SHA256,
        };
        compact(alg, |message| {
            let mut out = vec![0; rsa.public_modulus_len()];
            rsa.sign(padding, &rng, message, &mut out).unwrap();
            out
        })
    };
    let by_ec = || compact("ES256", |message| ec.sign(&rng, message).unwrap().as_ref().to_vec());
    // A public key as the secret of a symmetric algorithm, in every form an implementation could take.
    let confused = |alg: &str, hash, secret: &[u8]| {
        compact(alg, |message| hmac::sign(&hmac::Key::new(hash, secret), message).as_ref().to_vec())
    };
    let der = |pem: &str| STANDARD.decode(pem.lines().filter(|l| !l.starts_with('-')).collect::<String>()).unwrap();
    let mut attacks =
        vec![compact("none", |_| Vec::new()), compact("None", |_| Vec::new()), compact("", |_| Vec::new())];
    for pem in [&rsa_pem, &ec_pem] {
        for secret in [pem.as_bytes(), pem.trim_end().as_bytes(), &der(pem)] {
            attacks.push(confused("HS256", hmac::HMAC_SHA256, secret));
            attacks.push(confused("HS384", hmac::HMAC_SHA384, secret));
            attacks.push(confused("HS512", hmac::HMAC_SHA512, secret));
            attacks.push(confused("RS256", hmac::HMAC_SHA256, secret));
            attacks.push(confused("ES256", hmac::HMAC_SHA256, secret));
        }
    }
    // One kind's signature under the other's name.
    attacks.push(compact("ES256", |m| {
        let mut out = vec![0; rsa.public_modulus_len()];
        rsa.sign(&RSA_PKCS1_SHA256, &rng, m, &mut out).unwrap();
        out
    }));
    attacks.push(compact("RS256", |m| ec.sign(&rng, m).unwrap().as_ref().to_vec()));
    attacks.push(compact("ES256", |_| vec![0; 64]));
    for (config, accepted, refused) in [
        (
            json!({"jwt_validation_pubkeys": [rsa_pem]}),
            vec![by_rsa("RS256")],
            vec![by_rsa("RS512"), by_rsa("PS256"), by_ec()],
        ),
        (json!({"jwt_validation_pubkeys": [ec_pem]}), vec![by_ec()], vec![by_rsa("RS256")]),
        (json!({"jwt_validation_pubkeys": [rsa_pem, ec_pem]}), vec![by_rsa("RS256"), by_ec()], vec![by_rsa("PS256")]),
        (
            json!({"jwt_validation_pubkeys": [rsa_pem], "jwt_supported_algs": ["PS256"]}),
            vec![by_rsa("PS256")],
            vec![by_rsa("RS256"), by_rsa("RS512")],
        ),
    ] {
        write(&world, "config", config.clone()).await.unwrap();
        write(&world, "role/dev", json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": "us"}))
            .await
            .unwrap();
        let login = |token: &str| write(&world, "login", json!({"role": "dev", "jwt": token}));
        for token in &accepted {
            login(token).await.unwrap_or_else(|error| panic!("{config}: {error}"));
        }
        for token in refused.iter().chain(&attacks) {
            assert_eq!(refusal(login(token).await).0, 400, "{config}: {token}");
        }
    }
    // A key set or discovery: RS256 unless configured, whatever keys the provider offers.
    world.web.put("https://keys.example", jwks(&[1]));
    write(&world, "config", json!({"jwks_url": "https://keys.example"})).await.unwrap();
    let presented = || signed(1, &claims(json!({})));
    let told = refusal(write(&world, "login", json!({"role": "dev", "jwt": presented()})).await);
    assert!(told.0 == 400 && told.1.contains("not allowed"), "{told:?}");
    write(&world, "config", json!({"jwks_url": "https://keys.example", "jwt_supported_algs": "EdDSA"})).await.unwrap();
    assert!(write(&world, "login", json!({"role": "dev", "jwt": presented()})).await.is_ok());
}

#[tokio::test]
async fn the_client_secret_is_kept_as_it_was_given() {
    let world = World::new().await;
    provider(&world).await;
    let secret = "with \"quotes\", \\ and é";
    let config = json!({"oidc_discovery_url": ISSUER, "oidc_client_id": "us", "oidc_client_secret": secret});
    write(&world, "config", config).await.unwrap();
    let uri = "https://us.example/oidc/callback";
    write(&world, "role/dev", json!({"user_claim": "sub", "allowed_redirect_uris": [uri]})).await.unwrap();
    let begun = write(&world, "oidc/auth_url", json!({"redirect_uri": uri, "role": "dev"})).await.unwrap();
    let url = data(&begun)["auth_url"].as_str().unwrap().to_owned();
    let state = url.split('&').find_map(|p| p.strip_prefix("state=")).unwrap();
    assert!(ask(&world, Operation::Read, "oidc/callback", json!({"state": state, "code": "c"})).await.is_err());
    let sent = world.web.asked.lock().unwrap().pop().unwrap();
    let encoded = "us:with%20%22quotes%22%2C%20%5C%20and%20%C3%A9";
    assert_eq!(sent.authorization.unwrap().expose_str().unwrap(), format!("Basic {}", STANDARD.encode(encoded)));
}

#[tokio::test]
async fn a_provider_that_is_away_is_asked_now_and_then_and_holds_nobody_up() {
    const DAY: i64 = 24 * 3600;
    let world = World::new().await;
    provider(&world).await;
    write(&world, "role/dev", json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": "us"})).await.unwrap();
    let login = |seed| {
        let now = world.identity.clock().secs();
        let token = signed(seed, &claims(json!({"iat": now, "exp": now + 600})));
        let world = &world;
        async move { write(world, "login", json!({"jwt": token})).await }
    };
    let asked = || world.web.asked.lock().unwrap().len();
    let pages = std::mem::take(&mut *world.web.pages.lock().unwrap());
    world.pass(3600);
    let before = asked();
    for seed in [1, 2, 1, 3, 1, 2, 1] {
        assert_eq!(login(seed).await.is_ok(), seed == 1);
    }
    assert_eq!(asked(), before + 1, "within some seconds it is asked once, whoever comes");
    world.pass(5);
    assert!(login(1).await.is_ok());
    assert_eq!(asked(), before + 2);

    // It takes a connection and says nothing.
    world.pass(5);
    let hold = world.web.hold();
    let mut waiting = Box::pin(login(2));
    for _ in 0..5 {
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("it was answered"),
            done = login(1) => assert!(done.is_ok(), "known keys are known"),
        }
    }
    hold.close();
    assert!(waiting.await.is_err());

    // Keys are kept for a day; then all are refused, and still it is not asked more often.
    world.pass(DAY);
    let before = asked();
    for _ in 0..5 {
        assert!(refusal(login(1).await).1.contains("error checking oidc discovery URL"));
    }
    assert_eq!(asked(), before + 1);
    *world.web.pages.lock().unwrap() = pages;
    world.pass(5);
    assert!(login(1).await.is_ok());
}

#[tokio::test]
async fn a_login_on_its_way_ends_with_its_role_and_configuration() {
    let world = World::new().await;
    provider(&world).await;
    let role = || json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": "us"});
    let login = || write(&world, "login", json!({"role": "dev", "jwt": signed(1, &claims(json!({})))}));
    write(&world, "role/dev", role()).await.unwrap();
    assert!(login().await.is_ok());
    let narrowed = world.overtaken(async || {
        write(&world, "role/dev", role()).await.unwrap();
        let narrowed = write(&world, "role/dev", json!({"bound_audiences": "them"}));
        let (narrowed, made) = tokio::join!(narrowed, login());
        narrowed.unwrap();
        made
    });
    assert!(narrowed.await.1.contains("audience"));
    write(&world, "role/dev", role()).await.unwrap();
    let changed = world.overtaken(async || {
        provider(&world).await;
        let config = json!({"oidc_discovery_url": ISSUER, "jwt_supported_algs": ["RS256"]});
        let (changed, made) = tokio::join!(write(&world, "config", config), login());
        changed.unwrap();
        made
    });
    assert!(changed.await.1.contains("not allowed"));
    provider(&world).await;
    let deleted = world.overtaken(async || {
        write(&world, "role/dev", role()).await.unwrap();
        let (deleted, made) = tokio::join!(ask(&world, Operation::Delete, "role/dev", json!({})), login());
        deleted.unwrap();
        made
    });
    assert!(deleted.await.1.contains("could not be found"));
}
