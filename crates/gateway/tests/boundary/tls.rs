//! TLS on both sides: negotiated protocols and groups, a certificate replaced while running, trust in upstreams.

use crate::{harness::*, http2};
use credentialflow_gateway::net::tls::{Certificate, client_config, server_config};
use credentialflow_model::OutcomeReason as R;
use http_body_util::BodyExt;
use rustls::{ClientConfig, NamedGroup};
use rustls_pki_types::ServerName;
use std::{path::PathBuf, sync::Arc};
use tokio_rustls::{TlsConnector, client::TlsStream};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

pub struct Files {
    _folder: tempfile::TempDir,
    pub chain: PathBuf,
    pub key: PathBuf,
}

impl Files {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files =
            Self { chain: folder.path().join("chain.pem"), key: folder.path().join("key.pem"), _folder: folder };
        files.write();
        files
    }

    fn write(&self) {
        let made = rcgen::generate_simple_self_signed(vec!["gw".to_owned(), "localhost".to_owned()]).unwrap();
        std::fs::write(&self.chain, made.cert.pem()).unwrap();
        std::fs::write(&self.key, made.signing_key.serialize_pem()).unwrap();
    }

    /// A caller that trusts what is in the files now.
    pub fn client(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        let mut config = (*client_config(Some(&self.chain)).unwrap()).clone();
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

pub async fn dial(world: &World, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    let tcp = tokio::net::TcpStream::connect(world.gateway.address()).await?;
    within(TlsConnector::from(config).connect(ServerName::try_from("gw").unwrap(), tcp)).await
}

#[tokio::test]
async fn both_protocols_post_quantum_first() {
    let files = Files::new();
    let certificate = Certificate::load(&files.chain, &files.key).unwrap();
    let upstream = FakeUpstream::answering(OK).await;
    let mut setup = Setup::new(usual(&[upstream.url()], "", ""));
    setup.tls = Some(server_config(certificate).unwrap());
    let world = setup.start();
    for alpn in [&["http/1.1"][..], &[]] {
        let stream = dial(&world, files.client(alpn)).await.unwrap();
        let session = stream.get_ref().1;
        assert_eq!(session.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
        let mut wire = Wire::new(stream);
        for _ in 0..2 {
            wire.send(get("/", "")).await.unwrap();
            assert_eq!(within(wire.message()).await.unwrap().text(), "ok");
        }
        assert_eq!(upstream.last().field("x-forwarded-proto"), Some("https"));
        world.served(2).await;
    }
    let stream = dial(&world, files.client(&["h2", "http/1.1"])).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let mut sender = http2::handshake(stream).await;
    let answer = within(sender.send_request(http2::request("GET", "/", ""))).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
    world.served(1).await;
    drop(sender);
    // Whoever speaks no TLS gets nothing, and nothing is recorded.
    let mut plain = world.connect().await;
    plain.send(get("/", "")).await.unwrap();
    assert!(within(plain.message()).await.is_none());
    world.done().await;
}

#[tokio::test]
async fn the_certificate_is_replaced_while_running() {
    let files = Files::new();
    let certificate = Certificate::load(&files.chain, &files.key).unwrap();
    let upstream = FakeUpstream::answering(OK).await;
    let mut setup = Setup::new(usual(&[upstream.url()], "", ""));
    setup.tls = Some(server_config(certificate.clone()).unwrap());
    let world = setup.start();
    let trusts_old = files.client(&[]);
    let mut kept = Wire::new(dial(&world, trusts_old.clone()).await.unwrap());
    files.write();
    let trusts_new = files.client(&[]);
    assert!(dial(&world, trusts_new.clone()).await.is_err());
    certificate.reload(&files.chain, &files.key).unwrap();
    assert!(dial(&world, trusts_old).await.is_err());
    let mut fresh = Wire::new(dial(&world, trusts_new.clone()).await.unwrap());
    for wire in [&mut kept, &mut fresh] {
        wire.send(get("/", "")).await.unwrap();
        assert_eq!(within(wire.message()).await.unwrap().status(), 200);
    }
    world.served(2).await;
    // A broken file changes nothing.
    std::fs::write(&files.key, "no key").unwrap();
    assert!(certificate.reload(&files.chain, &files.key).unwrap_err().to_string().contains("key.pem"));
    assert!(dial(&world, trusts_new).await.is_ok());
    drop((kept, fresh));
    world.done().await;
}

#[tokio::test]
async fn upstreams_over_tls() {
    let files = Files::new();
    let certificate = Certificate::load(&files.chain, &files.key).unwrap();
    let mut config = (*server_config(certificate).unwrap()).clone();
    config.alpn_protocols.clear();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepted = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = accepted.clone();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(tcp).await else { return };
                let mut wire = Wire::new(stream);
                while let Some(request) = wire.message().await {
                    let body = format!("{} {}", request.field("authorization").unwrap_or_default(), request.body.len());
                    if wire.send(answer(200, "", &body)).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let url = format!("https://127.0.0.1:{port}");
    let ca = files.chain.display();
    let trusted =
        usual(std::slice::from_ref(&url), &format!(", tls: {{ ca_file: '{ca}', server_name: localhost }}"), "");
    let mut setup = Setup::new(trusted);
    setup.workers = 1;
    let world = setup.start();
    for size in [5, 300_000, 6] {
        let answer = world.ask(post("/", "", &"x".repeat(size))).await;
        assert_eq!(answer.text(), format!("Bearer {} {size}", "*".repeat(SECRET.len())));
        world.served(1).await;
    }
    assert_eq!(accepted.load(std::sync::atomic::Ordering::Relaxed), 1, "the connection is kept");
    for other in [format!(", tls: {{ ca_file: '{ca}', server_name: elsewhere }}"), String::new()] {
        world.install(&usual(std::slice::from_ref(&url), &other, ""), &[("c", 1, SECRET)], &[]).await;
        assert_eq!(world.get("/", "").await.status(), 502);
        world.outcome(R::UpstreamTlsFailed).await;
    }
    world.done().await;
}
