//! Orders with a real store, vault and ACME server.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::settings::Settings;
use credentialflow_model::Actor;
use credentialflow_testkit::{
    acme::{Knobs, Server},
    place::Place,
};
use credentialflow_vault::SealInput;
use std::path::Path;

struct House {
    server: Server,
    dir: tempfile::TempDir,
    store: Store,
    vault: Vault,
    place: Place,
    _stop: watch::Sender<bool>,
    stopped: watch::Receiver<bool>,
}

impl House {
    async fn new() -> Self {
        let server = Server::start(true).await.unwrap();
        let place = Place::take();
        server.set(Knobs { ports: Some(vec![place.port()]), ..Knobs::default() });
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), server.authority().pem()).unwrap();
        let store = Store::connect(&format!("sqlite:{}", dir.path().join("state.db").display())).await.unwrap();
        store.migrate().await.unwrap();
        let input = SealInput::Environment(SecretValue::from("a passphrase of a test"));
        let vault = Vault::init(&store, &Actor::operator(), input).await.unwrap().vault;
        let (_stop, stopped) = watch::channel(false);
        Self { server, dir, store, vault, place, _stop, stopped }
    }

    fn settings(&self, node: &str) -> ServerSettings {
        let settings = Settings {
            data_dir: Some(self.dir.path().join(node)),
            acme_directory: Some(self.server.directory()),
            acme_names: Some("api.example.com".into()),
            acme_agree: Some(true),
            acme_challenge: Some(self.place.address()),
            acme_ca_file: Some(self.dir.path().join("ca.pem")),
            ..Settings::default()
        };
        settings.resolve(None).unwrap()
    }

    /// A node that looks only when it is told to.
    fn node(&self, name: &str, store: &Store) -> Arc<Acme> {
        let acme = Acme::new(&self.settings(name), store, &Arc::default()).unwrap().unwrap();
        drop(acme.vault.set(self.vault.clone()));
        acme
    }
}

fn bytes_below(dir: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        all.extend(if path.is_dir() { bytes_below(&path) } else { std::fs::read(&path).unwrap() });
    }
    all
}

#[tokio::test]
async fn one_node_orders_and_every_node_presents() {
    let house = House::new().await;
    let (one, other) = (house.node("one", &house.store), house.node("other", &house.store));
    listen::serve(other.clone(), house.place.address(), house.stopped.clone()).unwrap();
    assert_eq!(one.order().state, CertificateOrderState::Ordering);
    // The other node is asked for the answer; it looks as often as nodes do.
    tokio::spawn(other.clone().follow(house.stopped.clone()));
    house.server.set(Knobs { hold_validation: Some(true), ..Knobs::default() });
    let ordering = one.attempt();
    let looking = async {
        while other.known().answers.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        house.server.set(Knobs { hold_validation: Some(false), ..Knobs::default() });
    };
    let (ordered, ()) = tokio::join!(ordering, looking);
    ordered.unwrap();
    // A look that takes long is given up, and the next one sees what it would have.
    while other.certificate.leaf().is_empty() {
        other.look().await;
    }
    assert!(!one.certificate.leaf().is_empty());
    assert_eq!(one.certificate.leaf(), other.certificate.leaf());
    let told = other.order();
    assert_eq!(
        (told.state, told.failures, told.listeners),
        (CertificateOrderState::Waiting, 0, vec!["gateway".into()])
    );
    assert!(!one.is_due() && told.renews.is_some_and(|at| at > now()));
    assert_eq!(house.watch_of(&one), ["gateway"]);
    // Nothing of it is in the clear anywhere.
    let everything = bytes_below(house.dir.path());
    let holds = |text: &str| everything.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("CREATE TABLE acme") && !holds("PRIVATE KEY") && !holds("key_pkcs8"));
    // With the database away a node has what lies on its machine.
    house.store.close().await;
    let alone = house.node("one", &house.store);
    alone.look().await;
    assert_eq!(alone.certificate.leaf(), one.certificate.leaf());
    assert_eq!(house.node("new", &house.store).order().state, CertificateOrderState::Ordering);
}

#[tokio::test]
async fn a_failure_is_remembered_told_and_waited_out() {
    let house = House::new().await;
    let one = house.node("one", &house.store);
    house.server.set(Knobs { rate_limits: Some((1, 7200)), ..Knobs::default() });
    assert!(one.is_due());
    one.attempt().await.unwrap();
    let told = one.order();
    assert_eq!((told.state, told.failures), (CertificateOrderState::Failing, 1));
    assert_eq!(told.problem.as_deref(), Some("too many orders (rateLimited)"));
    let wait = told.next_attempt.unwrap().secs() - now().secs();
    assert!((7100..7300).contains(&wait), "{wait}");
    // Also after a restart; other names are another matter.
    let again = house.node("one", &house.store);
    again.look().await;
    assert!(!again.is_due());
    let settings = Settings {
        acme_directory: Some(house.server.directory()),
        acme_names: Some("other.example.com".into()),
        acme_agree: Some(true),
        acme_challenge: Some(house.place.address()),
        ..Settings::default()
    };
    let other = Acme::new(&settings.resolve(None).unwrap(), &house.store, &Arc::default()).unwrap().unwrap();
    other.look().await;
    assert!(other.is_due() && other.order().failures == 0);
}

#[tokio::test]
async fn files_that_cannot_be_used_are_refused_before_anything_starts() {
    let house = House::new().await;
    let refused = |change: fn(&mut AcmeSettings, &Path)| {
        let mut settings = house.settings("one");
        change(settings.acme.as_mut().unwrap(), house.dir.path());
        format!("{:#}", Acme::new(&settings, &house.store, &Arc::default()).map(drop).unwrap_err())
    };
    assert!(refused(|acme, _| acme.ca_file = Some("/nowhere/ca.pem".into())).contains("acme_ca_file"));
    let no_pem = refused(|acme, dir| {
        std::fs::write(dir.join("empty.pem"), "nothing").unwrap();
        acme.ca_file = Some(dir.join("empty.pem"));
    });
    assert!(no_pem.contains("no PEM"), "{no_pem}");
    let half = refused(|acme, dir| {
        std::fs::write(dir.join("external"), "kid-only").unwrap();
        acme.external_account = Some(dir.join("external"));
    });
    assert!(half.contains("acme_external_account"), "{half}");
}

#[tokio::test]
async fn a_listener_through_which_the_vault_would_be_opened_needs_a_vault_that_opens_by_itself() {
    let house = House::new().await;
    let mut settings = house.settings("one");
    settings.acme.as_mut().unwrap().listeners = vec![Listener::Control];
    settings.acme.as_mut().unwrap().challenge = None;
    let attached = |settings: &ServerSettings| {
        let acme = Acme::new(settings, &house.store, &Arc::default()).unwrap().unwrap();
        acme.attach(settings, &house.vault, house.stopped.clone()).map(drop)
    };
    attached(&settings).unwrap();
    house.vault.seal();
    let refused = attached(&settings).unwrap_err().to_string();
    assert!(refused.contains("control listener"), "{refused}");
    settings.key_file = Some("somewhere".into());
    attached(&settings).unwrap();
}

impl House {
    fn watch_of(&self, acme: &Acme) -> Vec<String> {
        acme.watch.list().into_iter().map(|watched| watched.place.name).collect()
    }
}
