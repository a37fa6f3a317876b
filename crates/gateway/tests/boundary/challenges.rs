//! Challenges of an ACME server are answered by a listener without TLS, and by no other; a certificate that comes later
//! is presented from then on.

use crate::{harness::*, tls::dial};
use credentialflow_gateway::{
    net::tls::{Certificate, server_config, trusting_only},
    ports::ChallengeSource,
};
use credentialflow_model::{OutcomeReason as R, SecretValue};
use rustls::{ClientConfig, client::Resumption};
use std::sync::Arc;

/// Knows one token.
struct One;

impl ChallengeSource for One {
    fn answer(&self, token: &str) -> Option<Vec<u8>> {
        (token == "tok-en_1").then(|| b"tok-en_1.thumbprint".to_vec())
    }
}

const ASKED: &str = "/.well-known/acme-challenge/tok-en_1";

fn asking(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: gw\r\n\r\n")
}

#[tokio::test]
async fn a_known_token_is_answered_ahead_of_routes_and_any_other_is_a_path_like_all() {
    let upstream = FakeUpstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nupstream").await;
    let mut setup = Setup::new(usual(&[upstream.url()], "", ""));
    setup.challenges = Some(Arc::new(One));
    let world = setup.start();
    let answer = world.ask(asking("GET", ASKED)).await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "tok-en_1.thumbprint"));
    assert_eq!(answer.field("content-type"), Some("application/octet-stream"));
    let record = world.outcome(R::Served).await;
    assert_eq!((record.route, record.status), (None, 200));
    for other in ["/.well-known/acme-challenge/tok-en_2", "/.well-known/acme-challenge/", "/x/tok-en_1"] {
        assert_eq!(world.ask(asking("GET", other)).await.status(), 401, "{other}");
        world.outcome(R::Unauthenticated).await;
        assert_eq!(world.get(other, "").await.text(), "upstream");
        world.served(1).await;
    }
    assert_eq!(world.ask(asking("POST", ASKED)).await.status(), 401);
    world.outcome(R::Unauthenticated).await;
    world.done().await;
}

fn made() -> (SecretValue, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(vec!["gw".to_owned()]).unwrap();
    let mut trust = (*trusting_only(&[made.cert.der().clone()]).unwrap()).clone();
    // A resumed session asks for no certificate.
    trust.resumption = Resumption::disabled();
    (SecretValue::from(made.cert.pem() + &made.signing_key.serialize_pem()), Arc::new(trust))
}

#[tokio::test]
async fn a_certificate_may_come_later_and_over_tls_no_challenge_is_answered() {
    let upstream = FakeUpstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let certificate = Certificate::awaited();
    let mut setup = Setup::new(usual(&[upstream.url()], "", ""));
    setup.tls = Some(server_config(certificate.clone()).unwrap());
    setup.challenges = Some(Arc::new(One));
    let world = setup.start();
    let ((first, trusts_first), (second, trusts_second)) = (made(), made());
    assert!(certificate.leaf().is_empty());
    assert!(dial(&world, trusts_first.clone()).await.is_err(), "there is nothing to present");
    certificate.replace(&first).unwrap();
    let mut kept = Wire::new(dial(&world, trusts_first.clone()).await.unwrap());
    kept.send(asking("GET", ASKED)).await.unwrap();
    assert_eq!(within(kept.message()).await.unwrap().status(), 401);
    world.outcome(R::Unauthenticated).await;
    certificate.replace(&second).unwrap();
    assert!(certificate.replace(&SecretValue::from("nothing")).is_err());
    assert!(dial(&world, trusts_first).await.is_err(), "the first is presented no more");
    let mut fresh = Wire::new(dial(&world, trusts_second).await.unwrap());
    for wire in [&mut kept, &mut fresh] {
        wire.send(get("/", "")).await.unwrap();
        assert_eq!(within(wire.message()).await.unwrap().text(), "ok");
        world.served(1).await;
    }
    drop((kept, fresh));
    world.done().await;
}
