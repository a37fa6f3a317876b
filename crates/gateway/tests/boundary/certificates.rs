//! Certificates that are shown to upstreams which demand them, and those that upstreams present.

use crate::harness::*;
use credentialflow_model::OutcomeReason as R;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

/// An authority of the test.
struct House {
    issuer: Issuer<'static, KeyPair>,
    root: &'static str,
}

impl House {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().pem().leak();
        Self { issuer: Issuer::new(params, key), root }
    }

    /// Certificate and key as PEM, for whom and for what.
    fn sign(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> &'static str {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        format!("{}{}", certificate.pem(), key.serialize_pem()).leak()
    }

    fn client(&self, name: &str) -> &'static str {
        self.sign(name, ExtendedKeyUsagePurpose::ClientAuth)
    }
}

/// A rustls server that demands client certificates of one authority and answers with the position of the one shown
/// among those it has seen.
struct Demanding {
    url: String,
    shown: Arc<Mutex<Vec<Vec<u8>>>>,
    connections: Arc<AtomicUsize>,
    /// Answers wait while this is set.
    held: Arc<AtomicBool>,
}

impl Demanding {
    async fn start(house: &House) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(house.root.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        let own = house.sign("upstream", ExtendedKeyUsagePurpose::ServerAuth).as_bytes();
        let chain = vec![CertificateDer::from_pem_slice(own).unwrap()];
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, PrivateKeyDer::from_pem_slice(own).unwrap())
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let (shown, connections, held) = (Arc::default(), Arc::default(), Arc::<AtomicBool>::default());
        let server = Self { url, shown, connections, held };
        let (shown, connections, held) = (server.shown.clone(), server.connections.clone(), server.held.clone());
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                connections.fetch_add(1, SeqCst);
                let (acceptor, shown, held) = (acceptor.clone(), shown.clone(), held.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(tcp).await else { return };
                    let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
                    let place = {
                        let mut shown: std::sync::MutexGuard<'_, Vec<Vec<u8>>> = shown.lock().unwrap();
                        shown.iter().position(|known| *known == leaf).unwrap_or_else(|| {
                            shown.push(leaf);
                            shown.len() - 1
                        })
                    };
                    let mut wire = Wire::new(stream);
                    while wire.message().await.is_some() {
                        while held.load(SeqCst) {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                        if wire.send(answer(200, "", &place.to_string())).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        server
    }
}

const TLS: &str = ", tls: { ca: root, server_name: localhost, client_certificate: billing }";

fn setup(house: &House, upstream: &Demanding, billing: &'static str) -> Setup {
    let mut setup = Setup::new(usual(std::slice::from_ref(&upstream.url), TLS, ""));
    setup.credentials = vec![("c", 1, SECRET), ("root", 1, house.root), ("billing", 1, billing)];
    setup
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_under_load_fail_no_request_and_every_later_one_shows_the_new_certificate() {
    let house = House::new();
    let upstream = Demanding::start(&house).await;
    let setup = setup(&house, &upstream, house.client("one"));
    let yaml = setup.yaml.clone();
    let world = Arc::new(setup.start());
    let over = Arc::new(AtomicBool::new(false));
    // What the newest acknowledged version is; read before a request is sent.
    let in_force = Arc::new(AtomicUsize::new(0));
    let answered = Arc::new(AtomicUsize::new(0));
    let mut callers = Vec::new();
    for _ in 0..6 {
        let (world, over, in_force, answered) = (world.clone(), over.clone(), in_force.clone(), answered.clone());
        callers.push(tokio::spawn(async move {
            let (mut wire, mut asked) = (world.connect().await, 0);
            while !over.load(SeqCst) {
                let least = in_force.load(SeqCst);
                wire.send(get("/", "")).await.unwrap();
                let answer = within(wire.message()).await.expect("an answer");
                assert_eq!(answer.status(), 200, "{}", answer.text());
                let shown: usize = answer.text().parse().unwrap();
                assert!(shown >= least, "certificate {shown} was shown after {least} was acknowledged");
                asked += 1;
                answered.fetch_add(1, SeqCst);
            }
            asked
        }));
    }
    // Each version is used for a while.
    let used = async || {
        let before = answered.load(SeqCst);
        until(|| answered.load(SeqCst) > before + 60).await;
    };
    for version in 2..=3 {
        used().await;
        let next = house.client("next");
        let credentials = [("c", 1, SECRET), ("root", 1, house.root), ("billing", version, next)];
        world.install(&yaml, &credentials, &[]).await;
        in_force.store(version as usize - 1, SeqCst);
    }
    used().await;
    over.store(true, SeqCst);
    let mut asked = 0;
    for caller in callers {
        asked += caller.await.unwrap();
    }
    assert!(asked > 100, "{asked}");
    assert_eq!(upstream.shown.lock().unwrap().len(), 3);
    let connections = upstream.connections.load(SeqCst);
    assert!(connections <= 3 * 6, "connections are kept: {connections} for {asked} requests");
    let Ok(world) = Arc::try_unwrap(world) else { panic!("callers are gone") };
    world.served(asked).await;
    world.done().await;
}

#[tokio::test]
async fn without_a_usable_certificate_nothing_is_sent() {
    let house = House::new();
    let upstream = Demanding::start(&house).await;
    let good = house.client("billing");
    let world = setup(&house, &upstream, good).start();
    let yaml = usual(std::slice::from_ref(&upstream.url), TLS, "");
    assert_eq!(world.get("/", "").await.status(), 200);
    world.served(1).await;
    let before = upstream.connections.load(SeqCst);
    // Revoked, or no certificate at all: kept connections are of no use either.
    for (version, value) in [(1, ""), (2, "hunter2hunter2"), (3, house.root)] {
        let credentials = [("c", 1, SECRET), ("root", 1, house.root), ("billing", version, value)];
        world.install(&yaml, &credentials, &[]).await;
        assert_eq!(world.get("/", "").await.status(), 503);
        world.outcome(R::CredentialUnavailable).await;
    }
    assert_eq!(upstream.connections.load(SeqCst), before);
    // One of a stranger is shown and refused there; none at all as well.
    let stranger = House::new().client("billing");
    let credentials = [("c", 1, SECRET), ("root", 1, house.root), ("billing", 4, stranger)];
    world.install(&yaml, &credentials, &[]).await;
    assert_eq!(world.get("/", "").await.status(), 502);
    world.record().await;
    let plain = usual(std::slice::from_ref(&upstream.url), ", tls: { ca: root, server_name: localhost }", "");
    world.install(&plain, &[("c", 1, SECRET), ("root", 1, house.root)], &[]).await;
    assert_eq!(world.get("/", "").await.status(), 502);
    world.record().await;
    assert!(upstream.shown.lock().unwrap().len() == 1);
    // An authority without its certificate is trusted by nobody.
    world.install(&plain, &[("c", 1, SECRET), ("root", 2, "")], &[]).await;
    assert_eq!(world.get("/", "").await.status(), 503);
    world.outcome(R::NoHealthyEndpoint).await;
    world.done().await;
}

#[tokio::test]
async fn a_certificate_in_use_counts_as_in_flight() {
    let house = House::new();
    let upstream = Demanding::start(&house).await;
    let world = setup(&house, &upstream, house.client("billing")).start();
    upstream.held.store(true, SeqCst);
    let mut wire = world.connect().await;
    wire.send(get("/", "")).await.unwrap();
    until(|| world.gateway.load().1 == 1 && upstream.connections.load(SeqCst) == 1).await;
    within(async {
        while world.gateway.in_flight("billing", 1).await != 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(world.gateway.in_flight("billing", 2).await, 0);
    upstream.held.store(false, SeqCst);
    assert_eq!(within(wire.message()).await.unwrap().status(), 200);
    world.served(1).await;
    assert_eq!(world.gateway.in_flight("billing", 1).await, 0);
    drop(wire);
    world.done().await;
}

#[tokio::test]
async fn where_nothing_is_injected_the_record_names_the_certificate() {
    let house = House::new();
    let upstream = Demanding::start(&house).await;
    let mut setup = setup(&house, &upstream, house.client("billing"));
    setup.yaml = setup.yaml.replace(", inject: { bearer: c }", "");
    let world = setup.start();
    assert_eq!(world.get("/", "").await.status(), 200);
    let used = world.outcome(R::Served).await.credential.unwrap();
    assert_eq!((&*used.credential, used.version), ("billing", 1));
    world.done().await;
}

#[tokio::test]
async fn what_an_upstream_presents_is_told_once() {
    let house = House::new();
    let upstream = Demanding::start(&house).await;
    let mut setup = setup(&house, &upstream, house.client("billing"));
    setup.workers = 1;
    setup.settings.pool_size = 0;
    let world = setup.start();
    for _ in 0..5 {
        assert_eq!(world.get("/", "").await.status(), 200);
        world.served(1).await;
    }
    assert_eq!(upstream.connections.load(SeqCst), 5);
    let told = world.presented.0.lock().unwrap().clone();
    assert_eq!(told.len(), 1, "not for each connection");
    assert_eq!(format!("https://{}", told[0].0), upstream.url);
    world.done().await;
}
