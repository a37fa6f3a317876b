//! The certificate of our own listeners, ordered from an ACME server: every node presents it and answers its
//! challenges, one node orders.
//!
//! What is remembered lies in the database, sealed where it is secret. Each node looks there once a second; beside the
//! gateway's local copy lies a sealed copy of the certificate, so that a node that starts while the database is away has
//! one. A private key is never in a file in the clear.

mod ledger;
mod listen;
mod order;

use crate::settings::{AcmeSettings, Listener, ServerSettings};
use anyhow::{Context, ensure};
use credentialflow_acme::{Answer, ExternalAccount, Http, Rule, Suggestion, plan};
use credentialflow_admin::ports::{CertificateOrder, CertificateOrderState, CertificateOrders};
use credentialflow_certificates::{Bundle, Certificate as Said, Watch};
use credentialflow_gateway::{net::tls::Certificate, ports::ChallengeSource};
use credentialflow_model::{SecretValue, Timestamp};
use credentialflow_store::{AcmeRow, Store};
use credentialflow_telemetry::Metrics;
use credentialflow_vault::{Sealed, Vault};
pub(super) use ledger::place;
use ledger::{ANSWERS, CERTIFICATE, ORDER, TROUBLE};
use serde::{Deserialize, Serialize};
use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};
use tokio::sync::watch;

/// How often a node looks at what is remembered.
const LOOK: Duration = Duration::from_secs(1);
/// Longest wait for the database in such a look.
const PATIENCE: Duration = Duration::from_millis(1500);

/// The listeners' certificate and its orders, on one node.
pub(super) struct Acme {
    rule: Rule,
    http: Http,
    listeners: Vec<Listener>,
    certificate: Arc<Certificate>,
    store: Store,
    vault: OnceLock<Vault>,
    watch: Arc<Watch>,
    /// The sealed certificate on this machine.
    copy: PathBuf,
    known: Mutex<Known>,
    issued: AtomicI64,
    failed: AtomicI64,
}

/// What was seen at the last look.
#[derive(Default)]
struct Known {
    answers: Vec<Answer>,
    /// The certificate's sealed bytes, as they were taken in.
    sealed: Vec<u8>,
    in_use: Option<InUse>,
    trouble: Option<Trouble>,
    under_way: bool,
    suggestion: Option<(Suggestion, Instant)>,
}

/// The certificate that is presented.
#[derive(Clone)]
struct InUse {
    leaf: rustls_pki_types::CertificateDer<'static>,
    said: Said,
    mark: String,
}

/// What is told of a certificate beside it.
#[derive(Serialize, Deserialize)]
struct Note {
    mark: String,
}

/// Attempts that failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Trouble {
    mark: String,
    failures: u32,
    next: Timestamp,
    problem: String,
}

impl std::fmt::Debug for Acme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acme").field("rule", &self.rule.mark()).finish_non_exhaustive()
    }
}

impl Acme {
    /// What the settings ask for, if they do; refused where a file that they name cannot be used.
    pub fn new(settings: &ServerSettings, store: &Store, watch: &Arc<Watch>) -> anyhow::Result<Option<Arc<Self>>> {
        let Some(acme) = &settings.acme else { return Ok(None) };
        let rule = rule(acme, settings)?;
        Ok(Some(Arc::new(Self {
            http: Http::new(&rule)?,
            rule,
            listeners: acme.listeners.clone(),
            certificate: Certificate::awaited(),
            store: store.clone(),
            vault: OnceLock::new(),
            watch: watch.clone(),
            copy: settings.data_dir.join("copy").join("certificate"),
            known: Mutex::default(),
            issued: AtomicI64::new(0),
            failed: AtomicI64::new(0),
        })))
    }

    /// Has the vault from here on: begins to look at what is remembered, and to answer challenges. Refused where the
    /// vault could only be opened through a listener that has no certificate before it is open.
    pub fn attach(
        self: Arc<Self>,
        settings: &ServerSettings,
        vault: &Vault,
        stopped: watch::Receiver<bool>,
    ) -> anyhow::Result<Arc<Self>> {
        let behind = self.listeners.iter().find(|listener| **listener != Listener::Gateway);
        if let Some(listener) = behind
            && vault.is_sealed()
        {
            let given = super::opening::unseal_input(settings)?.is_some();
            ensure!(
                given || vault.auto_unseal()?.is_some(),
                "the {} listener has no certificate before the vault is open, so nobody could open it there: let it \
                 open by itself (passphrase_file, key_file or a key service), or give that listener a certificate of \
                 its own",
                listener.as_str()
            );
        }
        let _ = self.vault.set(vault.clone());
        if let Some(address) = settings.acme.as_ref().and_then(|acme| acme.challenge) {
            listen::serve(self.clone(), address, stopped.clone())?;
        }
        tokio::spawn(self.clone().follow(stopped));
        Ok(self)
    }

    /// The certificate of a listener, if it is this one.
    pub fn certificate(&self, listener: Listener) -> Option<Arc<Certificate>> {
        self.listeners.contains(&listener).then(|| self.certificate.clone())
    }

    /// Tells how it stands to those who watch from outside.
    pub fn measure(self: &Arc<Self>, metrics: &Metrics) {
        let (issued, failed, row, due) = (self.clone(), self.clone(), self.clone(), self.clone());
        metrics.register_counter("acme_certificates", "Certificates that this node ordered and got", move || {
            issued.issued.load(Relaxed)
        });
        metrics.register_counter(
            "acme_failures",
            "Attempts of this node to order a certificate that failed",
            move || failed.failed.load(Relaxed),
        );
        metrics.register_gauge(
            "acme_failures_in_a_row",
            "Attempts to order the listeners' certificate that failed since the last one that did not",
            move || row.order().failures.into(),
        );
        metrics.register_gauge(
            "acme_renewal_timestamp_seconds",
            "When the next order of the listeners' certificate is due, in seconds since 1970; 0: now",
            move || due.order().renews.map_or(0, Timestamp::secs),
        );
    }

    /// Looks at what is remembered, and takes it in.
    pub async fn look(&self) {
        let rows = tokio::time::timeout(PATIENCE, self.store.acme()).await;
        match rows {
            Ok(Ok(rows)) => self.take(&rows),
            Ok(Err(error)) => self.look_aside(&error.to_string()),
            Err(_) => self.look_aside("the database did not answer in time"),
        }
    }

    async fn follow(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let looks = async {
            loop {
                self.look().await;
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => {}
            () = looks => {}
        }
    }

    fn take(&self, rows: &[AcmeRow]) {
        let find = |name: &str| rows.iter().find(|row| row.name == name);
        let note = |name: &str| find(name).map(|row| row.note.as_str());
        {
            let mut known = self.known();
            known.answers = note(ANSWERS).and_then(|note| serde_json::from_str(note).ok()).unwrap_or_default();
            known.trouble = note(TROUBLE).and_then(|note| serde_json::from_str(note).ok());
            known.under_way = find(ORDER).is_some();
        }
        if let Some(row) = find(CERTIFICATE)
            && let Some(sealed) = &row.sealed
            && let Ok(note) = serde_json::from_str::<Note>(&row.note)
        {
            match self.present(sealed, note.mark) {
                Ok(true) => self.keep_copy(sealed, &row.note),
                Ok(false) => {}
                // The vault may be sealed; it is tried again.
                Err(error) => tracing::debug!(%error, "the listeners' certificate cannot be taken in yet"),
            }
        }
    }

    /// Presents a certificate; `false` when it is the one that is presented already.
    fn present(&self, sealed: &[u8], mark: String) -> anyhow::Result<bool> {
        if self.known().sealed == sealed {
            return Ok(false);
        }
        let vault = self.vault.get().context("there is no vault yet")?;
        let value = vault.open_blob(&place(CERTIFICATE), &Sealed::from_bytes(sealed.to_vec())?)?;
        let (leaf, said) = read(&value)?;
        self.certificate.replace(&value)?;
        for listener in &self.listeners {
            super::certificates::listens(&self.watch, listener.as_str(), &self.certificate);
        }
        let mut known = self.known();
        if known.in_use.as_ref().is_none_or(|before| before.leaf != leaf) {
            known.suggestion = None;
            tracing::info!(serial = said.serial, until = %said.not_after, "the listeners present a new certificate");
        }
        known.in_use = Some(InUse { leaf, said, mark });
        known.sealed = sealed.to_vec();
        Ok(true)
    }

    /// The mark in the first line, the sealed bytes behind it.
    fn keep_copy(&self, sealed: &[u8], note: &str) {
        let write = || -> std::io::Result<()> {
            let folder = self.copy.parent().unwrap_or(&self.copy);
            std::fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            std::io::Write::write_all(&mut file, &[note.as_bytes(), b"\n", sealed].concat())?;
            file.persist(&self.copy)?;
            Ok(())
        };
        if let Err(error) = write() {
            tracing::warn!(%error, "the sealed copy of the listeners' certificate could not be written");
        }
    }

    /// The database is away: what lies on this machine has to do, unless a certificate is there.
    fn look_aside(&self, why: &str) {
        tracing::debug!(error = why, "what is remembered of certificates cannot be looked at now");
        if self.known().in_use.is_some() {
            return;
        }
        let Ok(bytes) = std::fs::read(&self.copy) else { return };
        let Some(end) = bytes.iter().position(|b| *b == b'\n') else { return };
        let Ok(note) = serde_json::from_slice::<Note>(&bytes[..end]) else { return };
        match self.present(&bytes[end + 1..], note.mark) {
            Ok(_) => tracing::info!("the listeners present the certificate of the local copy"),
            Err(error) => tracing::debug!(%error, "the local copy of the certificate cannot be taken in yet"),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// When the certificate in use is to be replaced.
    fn renews(&self) -> Option<Timestamp> {
        let said = &self.in_use.as_ref()?.said;
        Some(match &self.suggestion {
            Some((suggestion, _)) => plan::suggested_renewal(said, suggestion.window),
            None => plan::renewal(said),
        })
    }
}

impl ChallengeSource for Acme {
    fn answer(&self, token: &str) -> Option<Vec<u8>> {
        let known = self.known();
        known.answers.iter().find(|answer| answer.token == token).map(|answer| answer.text.clone().into_bytes())
    }
}

impl CertificateOrders for Acme {
    fn order(&self) -> CertificateOrder {
        let known = self.known();
        let mark = self.rule.mark();
        let trouble = known.trouble.as_ref().filter(|trouble| trouble.mark == mark);
        let renews = known.in_use.as_ref().filter(|in_use| in_use.mark == mark).and_then(|_| known.renews());
        let due = renews.is_none_or(|at| at <= now());
        let state = match () {
            () if trouble.is_some() => CertificateOrderState::Failing,
            () if due || known.under_way => CertificateOrderState::Ordering,
            () => CertificateOrderState::Waiting,
        };
        CertificateOrder {
            state,
            directory: self.rule.directory.clone(),
            names: self.rule.names.clone(),
            listeners: self.listeners.iter().map(|listener| listener.as_str().to_owned()).collect(),
            renews,
            failures: trouble.map_or(0, |trouble| trouble.failures),
            problem: trouble.map(|trouble| trouble.problem.clone()),
            next_attempt: trouble.map(|trouble| trouble.next),
        }
    }
}

/// What is ordered, with what the files say.
fn rule(acme: &AcmeSettings, settings: &ServerSettings) -> anyhow::Result<Rule> {
    let external = match &acme.external_account {
        None => None,
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
            let read = ExternalAccount::read(&SecretValue::from(text));
            Some(read.with_context(|| format!("acme_external_account: {}", path.display()))?)
        }
    };
    let authorities = match &acme.ca_file {
        None => None,
        Some(path) => {
            let read = credentialflow_egress::read_authorities(path);
            Some(read.with_context(|| format!("acme_ca_file: {}", path.display()))?)
        }
    };
    Ok(Rule { external, authorities, private_hosts: settings.private_hosts.clone(), ..acme.rule() })
}

fn read(value: &SecretValue) -> anyhow::Result<(rustls_pki_types::CertificateDer<'static>, Said)> {
    let bundle = Bundle::read(value).context("this is no certificate")?;
    Ok((bundle.leaf().clone(), Said::parse(bundle.leaf())?))
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

#[cfg(test)]
mod tests;
