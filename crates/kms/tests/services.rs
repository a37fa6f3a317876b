//! What the key services answer, played by a server on loopback: the real ones are in `e2e/70-seal`.
#![allow(clippy::unwrap_used)]

use credentialflow_kms::{AwsSettings, KeyServiceSettings, KeyServices, TransitSettings};
use credentialflow_model::SecretValue;
use credentialflow_vault::seal::external::{ExternalKey, KeyService, KeyServiceError};
use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// A server that gives these answers, one after the other, and keeps what it was sent.
struct Played {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Played {
    async fn start(answers: Vec<(u16, &'static str)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = asked.clone();
        tokio::spawn(async move {
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut text = Vec::new();
                let mut piece = [0u8; 4096];
                loop {
                    let n = stream.read(&mut piece).await.unwrap();
                    text.extend_from_slice(&piece[..n]);
                    let whole = String::from_utf8_lossy(&text).into_owned();
                    let Some((head, sent)) = whole.split_once("\r\n\r\n") else { continue };
                    let length =
                        head.to_lowercase().split("content-length: ").nth(1).map_or(0, |rest| {
                            rest.split("\r\n").next().and_then(|n| n.parse::<usize>().ok()).unwrap_or(0)
                        });
                    if sent.len() >= length || n == 0 {
                        kept.lock().unwrap().push(whole);
                        break;
                    }
                }
                let head =
                    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                // An answer of 0 is none: the connection ends.
                if status > 0 {
                    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
                }
            }
        });
        Self { url, asked }
    }

    fn services(&self) -> KeyServices {
        let aws = AwsSettings {
            access_key_id: "AKID".to_owned(),
            secret_access_key: SecretValue::from("canary-secret-key"),
            session_token: Some(SecretValue::from("session")),
            endpoint: Some(self.url.clone()),
        };
        let transit = TransitSettings { address: self.url.clone(), token: SecretValue::from("canary-token") };
        KeyServices::new(KeyServiceSettings { aws: Some(aws), transit: Some(transit), certificates: None }).unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn kms() -> ExternalKey {
    ExternalKey::AwsKms { key_id: "alias/vault".into(), region: "eu-central-1".into() }
}

fn transit() -> ExternalKey {
    ExternalKey::Transit { mount: "transit".into(), key: "seal".into(), namespace: Some("team".into()) }
}

fn told<T>(result: Result<T, KeyServiceError>) -> (bool, String) {
    let error = result.err().unwrap();
    (matches!(error, KeyServiceError::Away(_)), error.to_string())
}

#[tokio::test]
async fn aws_is_asked_again_while_it_is_busy_and_the_request_is_signed_and_bound() {
    let busy = (400, r#"{"__type":"com.amazonaws.kms#ThrottlingException","message":"Rate exceeded"}"#);
    let server = Played::start(vec![busy, (500, ""), (200, r#"{"CiphertextBlob":"d3JhcHBlZA=="}"#)]).await;
    let wrapped = server.services().wrap(&kms(), &SecretValue::from("0123")).await.unwrap();
    assert_eq!(wrapped, b"wrapped");
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    for part in [
        "x-amz-target: TrentService.Encrypt",
        "authorization: AWS4-HMAC-SHA256 Credential=AKID/",
        "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, Signature=",
        r#""KeyId":"alias/vault""#,
        r#""EncryptionContext":{"#,
        r#""Plaintext":"MDEyMw==""#,
    ] {
        assert!(asked[2].contains(part), "{part} is not in {}", asked[2]);
    }
    assert!(!asked.concat().contains("canary-secret-key"));
}

#[tokio::test]
async fn what_aws_refuses_is_told_at_once_and_without_credentials() {
    let refused = (400, r#"{"__type":"AccessDeniedException","message":"not authorized"}"#);
    let server = Played::start(vec![refused]).await;
    let (away, text) = told(server.services().unwrap(&kms(), b"wrapped").await);
    assert_eq!((away, text.as_str()), (false, "AWS KMS answered 400 AccessDeniedException: not authorized"));
    assert_eq!(server.asked().len(), 1);
    let odd = ExternalKey::AwsKms { key_id: "k".into(), region: "evil.example/".into() };
    assert!(!told(server.services().unwrap(&odd, b"x").await).0);
    for empty in [(200, "{}"), (200, "not json"), (200, r#"{"Plaintext":"%%"}"#)] {
        let server = Played::start(vec![empty]).await;
        let (away, text) = told(server.services().unwrap(&kms(), b"wrapped").await);
        assert_eq!((away, text.as_str()), (false, "AWS KMS: its answer lacks the bytes"));
    }
}

#[tokio::test]
async fn a_service_that_is_away_is_told_so() {
    let server = Played::start(vec![(0, ""), (0, ""), (0, "")]).await;
    let (away, text) = told(server.services().unwrap(&transit(), b"vault:v1:x").await);
    assert!(away && text.starts_with("the transit server cannot be reached: "), "{text}");
    assert_eq!(server.asked().len(), 3);
    let nobody = Played { url: "http://127.0.0.1:1".to_owned(), asked: Arc::default() };
    assert!(told(nobody.services().wrap(&kms(), &SecretValue::from("x")).await).0);
    let none = KeyServices::new(KeyServiceSettings::default()).unwrap();
    for key in [kms(), transit()] {
        let (away, text) = told(none.wrap(&key, &SecretValue::from("x")).await);
        assert!(!away && text.contains("set "), "{text}");
    }
}

#[tokio::test]
async fn transit_is_asked_in_its_namespace_and_its_answer_is_read() {
    let sealed = (503, r#"{"errors":["Vault is sealed"]}"#);
    let server = Played::start(vec![sealed, (200, r#"{"data":{"plaintext":"MDEyMw=="}}"#)]).await;
    let plain = server.services().unwrap(&transit(), b"vault:v1:abc").await.unwrap();
    assert_eq!(plain.expose(), b"0123");
    let asked = server.asked();
    assert!(asked[1].starts_with("POST /v1/transit/decrypt/seal HTTP/1.1"), "{}", asked[1]);
    for part in ["x-vault-token: canary-token", "x-vault-namespace: team", "vault:v1:abc", "associated_data"] {
        assert!(asked[1].contains(part), "{part} is not in {}", asked[1]);
    }
    let server = Played::start(vec![(403, r#"{"errors":["permission denied"]}"#)]).await;
    let (away, text) = told(server.services().unwrap(&transit(), b"vault:v1:abc").await);
    assert_eq!((away, text.as_str()), (false, "the transit server answered 403: permission denied"));
    for (mount, key) in [("transit", "../../sys/seal"), ("tran?sit", "k"), ("", "k"), ("transit", ".")] {
        let key = ExternalKey::Transit { mount: mount.into(), key: key.into(), namespace: None };
        assert!(!told(server.services().unwrap(&key, b"x").await).0, "{mount}");
    }
}
