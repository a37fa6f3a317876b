//! Strictness against the vectors of the Wycheproof project, read from where they lie
//! (`CREDENTIALFLOW_WYCHEPROOF`: the folder with `json_web_signature_test.json`), and by hand.

use super::verify::BASE64URL;
use super::*;
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use base64::Engine as _;
use serde_json::{Value, json};

fn compact(header: &str, payload: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(payload));
    let signature = BASE64URL.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

#[test]
fn only_configured_algorithms_and_fitting_keys_count() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let x = BASE64URL.encode(pair.public_key().as_ref());
    let set = |extra: Value| {
        let mut jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "a"});
        jwk.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        KeySet::from_jwks(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap()
    };
    let sign = |message: &[u8]| pair.sign(message).as_ref().to_vec();
    let good = compact(r#"{"alg":"EdDSA","kid":"a"}"#, r#"{"sub":"x"}"#, sign);
    let all = Algorithm::ALL;
    assert_eq!(verify(&good, &set(json!({})), &all).unwrap(), br#"{"sub":"x"}"#);
    for (header, expected) in [
        (r#"{"alg":"none"}"#, JoseError::Algorithm),
        (r#"{"alg":"HS256"}"#, JoseError::Algorithm),
        (r#"{"alg":"ES256"}"#, JoseError::UnknownKey),
        (r#"{"alg":"EdDSA","kid":"b"}"#, JoseError::UnknownKey),
        (r#"{"alg":"EdDSA","crit":["exp"]}"#, JoseError::Malformed),
        (r#"{"alg":"EdDSA","b64":false}"#, JoseError::Malformed),
        (r#"{"alg":"none","alg":"EdDSA"}"#, JoseError::Malformed),
        (r#"{"kid":"a"}"#, JoseError::Malformed),
        (r#"["EdDSA"]"#, JoseError::Malformed),
    ] {
        assert_eq!(verify(&compact(header, "{}", sign), &set(json!({})), &all), Err(expected), "{header}");
    }
    assert_eq!(verify(&good, &set(json!({})), &[Algorithm::RS256]), Err(JoseError::Algorithm));
    for unusable in [json!({"use": "enc"}), json!({"key_ops": ["sign"]}), json!({"alg": "ES256"}), json!({"alg": "x"})]
    {
        assert!(set(unusable.clone()).is_empty(), "{unusable}");
    }
    for broken in [
        good.replace('.', ".."),
        format!("{good}="),
        format!("{good}A"),
        good.rsplit_once('.').unwrap().0.to_owned() + ".",
        good.rsplit_once('.').unwrap().0.to_owned(),
        String::new(),
    ] {
        assert!(verify(&broken, &set(json!({})), &all).is_err(), "{broken}");
    }
}

#[test]
fn keys_are_read_from_pem() {
    let rng = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
    // SubjectPublicKeyInfo of a P-256 key: a fixed beginning and the point.
    let mut spki = vec![0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08];
    spki.extend([0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00]);
    spki.extend(pair.public_key().as_ref());
    let body = base64::engine::general_purpose::STANDARD.encode(&spki);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n");
    let keys = KeySet::from_pems([pem.as_str()]).unwrap();
    let token = compact(r#"{"alg":"ES256"}"#, "{}", |m| pair.sign(&rng, m).unwrap().as_ref().to_vec());
    assert!(verify(&token, &keys, &[Algorithm::ES256]).is_ok());
    assert!(KeySet::from_pems(["-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"]).is_none());
    assert!(KeySet::from_pems(["hello"]).is_none());
}

#[test]
fn times_are_checked_within_the_skew() {
    let skew = Skew { clock: 60, expiration: 150, not_before: 150 };
    for (claims, now, good) in [
        (json!({"exp": 1000}), 1059, true),
        (json!({"exp": 1000}), 1060, false),
        (json!({"nbf": 1000}), 940, true),
        (json!({"nbf": 1000}), 939, false),
        (json!({"iat": 1000}), 1209, true),
        (json!({"iat": 1000}), 1210, false),
        (json!({"iat": 1000, "exp": 9000}), 900, false),
        (json!({"exp": 1000}), 789, false),
        (json!({}), 0, false),
        (json!({"exp": "1000"}), 0, false),
        (json!({"exp": 1000.9, "iat": 900}), 1000, true),
    ] {
        let parsed = Claims(claims.as_object().unwrap().clone());
        assert_eq!(check_times(&parsed, skew, now).is_ok(), good, "{claims} at {now}");
    }
    let nested = Claims(json!({"a": {"b/c": [1, "x"]}, "/lit": 2}).as_object().unwrap().clone());
    assert_eq!(nested.get("/a/b~1c/1"), Some(&json!("x")));
    assert_eq!(nested.get("/lit"), Some(&json!(2)));
    assert!(nested.get("/a/none").is_none() && nested.get("a/b").is_none());
    assert!(Claims::parse(br#"{"a":1,"a":2}"#).is_err());
}

/// Vectors that only symmetric keys could accept do not concern us; of the rest, what is valid must be
/// accepted and what is invalid must not.
#[test]
#[ignore = "reads json_web_signature_test.json from the folder CREDENTIALFLOW_WYCHEPROOF, which is not part of the project"]
fn wycheproof_signatures() {
    let folder = std::env::var_os("CREDENTIALFLOW_WYCHEPROOF").expect("CREDENTIALFLOW_WYCHEPROOF is set");
    let text = std::fs::read(std::path::Path::new(&folder).join("json_web_signature_test.json")).unwrap();
    let file: Value = serde_json::from_slice(&text).unwrap();
    let mut seen = 0;
    let mut wrong = Vec::new();
    for group in file["testGroups"].as_array().unwrap() {
        let Some(public) = group.get("public") else { continue };
        let set = if public.get("keys").is_some() { public.clone() } else { json!({ "keys": [public] }) };
        let keys = KeySet::from_jwks(set.to_string().as_bytes()).unwrap();
        let pinned: Vec<Algorithm> = match public["alg"].as_str() {
            Some(name) => Algorithm::parse(name).into_iter().collect(),
            None => Algorithm::ALL.to_vec(),
        };
        for test in group["tests"].as_array().unwrap() {
            seen += 1;
            let accepted = verify(test["jws"].as_str().unwrap_or_default(), &keys, &pinned).is_ok();
            // The key says PS256 and the token PS384: we are stricter than these two vectors (RFC 7517, 4.4).
            let expected = test["result"] == "valid" && !matches!(test["tcId"].as_u64(), Some(346 | 350));
            if accepted != expected {
                wrong.push(format!("{} {} {}: accepted {accepted}", test["tcId"], test["comment"], test["flags"]));
            }
        }
    }
    assert!(seen > 250 && wrong.is_empty(), "{seen} cases, {}", wrong.join("\n"));
}
