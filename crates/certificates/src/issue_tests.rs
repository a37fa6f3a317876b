#![allow(clippy::unwrap_used)]
use super::*;
use crate::Certificate;
use credentialflow_model::Period;
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    server::WebPkiClientVerifier,
};
use rustls_pki_types::UnixTime;
use std::sync::Arc;

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn rule(names: &[&str], permitted: &[&str]) -> CertificateRule {
    CertificateRule {
        names: names.iter().map(|n| (*n).to_owned()).collect(),
        permitted: permitted.iter().map(|n| (*n).to_owned()).collect(),
        ..CertificateRule::default()
    }
}

fn store(authority: &SecretValue) -> Arc<RootCertStore> {
    let mut store = RootCertStore::empty();
    store.add(Bundle::read(authority).unwrap().leaf().clone()).unwrap();
    Arc::new(store)
}

/// Whether rustls takes it for a server of this name.
fn serves(authority: &SecretValue, leaf: &SecretValue, name: &str, at: Timestamp) -> bool {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(store(authority), provider).build().unwrap();
    let leaf = Bundle::read(leaf).unwrap();
    let at = UnixTime::since_unix_epoch(Duration::from_secs(at.secs() as u64));
    let name = name.to_owned().try_into().unwrap();
    verifier.verify_server_cert(leaf.leaf(), &leaf.chain()[1..], &name, &[], at).is_ok()
}

/// Whether rustls takes it for a client.
fn calls(authority: &SecretValue, leaf: &SecretValue, at: Timestamp) -> bool {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(store(authority), provider).build().unwrap();
    let leaf = Bundle::read(leaf).unwrap();
    let at = UnixTime::since_unix_epoch(Duration::from_secs(at.secs() as u64));
    verifier.verify_client_cert(leaf.leaf(), &leaf.chain()[1..], at).is_ok()
}

#[test]
fn a_leaf_proves_who_calls_for_its_time_and_no_longer() {
    let root = root(&rule(&[], &[]), "house-ca", now()).unwrap();
    let leaf = leaf(&root, &rule(&[], &[]), "billing", now()).unwrap();
    let said = Certificate::parse(Bundle::read(&leaf).unwrap().leaf()).unwrap();
    assert_eq!((said.subject.as_str(), said.issuer.as_str()), ("CN=billing", "CN=house-ca"));
    assert_eq!(said.not_after, now().plus(Period::from_secs(86_400)));
    assert!(!said.authority);
    let after = |hours: u64| now().plus(Period::from_secs(hours * 3600));
    assert_eq!([after(0), after(23), after(25)].map(|at| calls(&root, &leaf, at)), [true, true, false]);
    assert!(!serves(&root, &leaf, "billing", now()), "a client's is no server's");
    let other = super::root(&rule(&[], &[]), "house-ca", now()).unwrap();
    assert!(!calls(&other, &leaf, now()), "another authority of the same name");
}

#[test]
fn an_authority_signs_for_what_it_permits() {
    let root = root(&rule(&[], &["example.internal", "10.1.0.0/16"]), "house-ca", now()).unwrap();
    let made = |name: &str| {
        let rule = CertificateRule { usage: CertificateUsage::Both, ..rule(&[name], &[]) };
        leaf(&root, &rule, "api", now())
    };
    for name in ["example.internal", "api.example.internal", "10.1.2.3", "API.Example.Internal"] {
        let leaf = made(name).unwrap();
        assert!(serves(&root, &leaf, name, now()) && calls(&root, &leaf, now()), "{name}");
    }
    for name in ["example.com", "notexample.internal", "10.2.0.1", "::1"] {
        assert_eq!(made(name).map(drop), Err(NotIssued::NotPermitted(name.to_owned())), "{name}");
    }
    assert!(made("spiffe://example.internal/api").is_ok());
}

#[test]
fn a_sort_of_names_that_is_not_permitted_is_excluded() {
    let domains = root(&rule(&[], &["example.internal"]), "a", now()).unwrap();
    let networks = root(&rule(&[], &["10.0.0.0/8"]), "b", now()).unwrap();
    let server = |names: &[&str]| CertificateRule { usage: CertificateUsage::Server, ..rule(names, &[]) };
    assert!(leaf(&domains, &server(&["10.0.0.1"]), "x", now()).is_err());
    assert!(leaf(&networks, &server(&["example.internal"]), "x", now()).is_err());
    let good = leaf(&networks, &server(&["10.0.0.1"]), "x", now()).unwrap();
    assert!(serves(&networks, &good, "10.0.0.1", now()));
}

/// What is compared here before signing also holds where it counts: a verifier refuses a forbidden name.
#[test]
fn verifiers_hold_to_the_constraints_too() {
    let authority = root(&rule(&[], &["example.internal"]), "house-ca", now()).unwrap();
    let mut params = CertificateParams::new(vec!["example.com".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    let signing = signing_key(&authority).unwrap();
    let signer = Bundle::read(&authority).unwrap();
    let (_, parsed) = X509Certificate::from_der(signer.leaf()).unwrap();
    let mut key = KeyPair::generate().unwrap();
    let forged = params.signed_by(&key, &Issuer::new(named(&parsed).unwrap(), &signing)).unwrap();
    let forged = value(&[&forged.pem()], &mut key);
    assert!(!serves(&authority, &forged, "example.com", now()));
}

#[test]
fn what_cannot_sign_does_not() {
    let authority = root(&rule(&[], &[]), "house-ca", now()).unwrap();
    let plain = rule(&[], &[]);
    let signed = leaf(&authority, &plain, "billing", now()).unwrap();
    assert_eq!(leaf(&signed, &plain, "x", now()).map(drop), Err(NotIssued::NoAuthority), "a leaf signs nothing");
    assert_eq!(leaf(&SecretValue::from("x"), &plain, "x", now()).map(drop), Err(NotIssued::NoAuthority));
    let public = SecretValue::from(Bundle::read(&authority).unwrap().pem());
    assert_eq!(leaf(&public, &plain, "x", now()).map(drop), Err(NotIssued::NoAuthority), "without its key");
    let late = now().plus(Period::from_secs(20 * 365 * 86_400));
    assert_eq!(leaf(&authority, &plain, "x", late).map(drop), Err(NotIssued::AuthorityExpired));
    let near_the_end = now().plus(Period::from_secs(3650 * 86_400 - 60));
    let last = leaf(&authority, &plain, "x", near_the_end).unwrap();
    let ends = |value: &SecretValue| Certificate::parse(Bundle::read(value).unwrap().leaf()).unwrap().not_after;
    assert_eq!(ends(&last), ends(&authority), "no leaf outlives its authority");
}

#[test]
fn every_leaf_has_a_key_and_a_number_of_its_own() {
    let authority = root(&rule(&[], &[]), "house-ca", now()).unwrap();
    let serials: std::collections::HashSet<_> = (0..20)
        .map(|_| {
            let leaf = leaf(&authority, &rule(&[], &[]), "billing", now()).unwrap();
            Certificate::parse(Bundle::read(&leaf).unwrap().leaf()).unwrap().serial
        })
        .collect();
    assert_eq!(serials.len(), 20);
}
