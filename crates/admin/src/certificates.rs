//! What is known of certificates, as it is shown.

use crate::{
    AdminState,
    api::certificates::{CertificateOrder, CertificatePlace, CertificateState, CertificateView, Certificates},
    error::ApiError,
};
use credentialflow_certificates::{PlaceKind, Stage, Watched};
use credentialflow_model::Timestamp;

pub(crate) fn list(state: &AdminState) -> Certificates {
    let watch = &state.settings.watch;
    Certificates { items: views(state, |_| true), order: order(state), left_out: watch.left_out() }
}

/// How ordering the listeners' certificate stands.
pub(crate) fn order(state: &AdminState) -> Option<CertificateOrder> {
    state.settings.orders.as_ref().map(|orders| orders.order())
}

/// Those that end soon or have ended.
pub(crate) fn ending(state: &AdminState, most: usize) -> Vec<CertificateView> {
    let mut ending = views(state, |stage| stage != Stage::Fine);
    ending.truncate(most);
    ending
}

pub(crate) fn get(state: &AdminState, name: &str) -> Result<CertificateView, ApiError> {
    let found = state.settings.watch.of_credential(name);
    let watched = found.ok_or_else(|| ApiError::not_found("certificates", name))?;
    Ok(CertificateView { pem: watched.pem.clone(), ..view(&watched, state.now()) })
}

fn views(state: &AdminState, wanted: impl Fn(Stage) -> bool) -> Vec<CertificateView> {
    let now = state.now();
    let shown = |w: &Watched| wanted(Stage::of(&w.certificate, now)).then(|| view(w, now));
    let mut views = state.settings.watch.select(shown);
    views.sort_by_key(|view| view.not_after);
    views
}

fn view(watched: &Watched, now: Timestamp) -> CertificateView {
    let said = &watched.certificate;
    CertificateView {
        place: match watched.place.kind {
            PlaceKind::Listener => CertificatePlace::Listener,
            PlaceKind::Credential => CertificatePlace::Credential,
            PlaceKind::Upstream => CertificatePlace::Upstream,
            PlaceKind::Authority => CertificatePlace::Authority,
        },
        name: watched.place.name.clone(),
        version: watched.version,
        state: match Stage::of(said, now) {
            Stage::Fine => CertificateState::Valid,
            Stage::Month | Stage::Week | Stage::Day => CertificateState::Expiring,
            Stage::Expired => CertificateState::Expired,
        },
        subject: said.subject.clone(),
        issuer: said.issuer.clone(),
        names: said.names.clone(),
        algorithm: said.algorithm.clone(),
        serial: said.serial.clone(),
        authority: said.authority,
        not_before: said.not_before,
        not_after: said.not_after,
        first_seen: watched.first_seen,
        last_seen: watched.last_seen,
        pem: None,
    }
}
