//! What upstreams are trusted by, kept in memory from snapshot to snapshot: a file of authorities that goes away, or is
//! broken, takes nothing down that was served before.

use crate::net::tls;
use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;
use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// The authorities of files, as last read whole; one for all snapshots of a process.
#[derive(Default)]
pub struct Trust(Mutex<HashMap<String, Kept>>);

struct Kept {
    authorities: Vec<CertificateDer<'static>>,
    config: Arc<ClientConfig>,
}

/// What there is to verify an upstream by.
#[derive(Clone)]
pub(super) enum Found {
    /// The file as it is now, or Mozilla's roots.
    Current(Arc<ClientConfig>),
    /// The file cannot be used now, for this reason; what it held before is.
    Earlier(Arc<ClientConfig>, String),
    /// Nothing, for this reason.
    Nothing(String),
}

impl Trust {
    /// Mozilla's roots.
    pub(super) fn public() -> Found {
        static ROOTS: OnceLock<Arc<ClientConfig>> = OnceLock::new();
        if let Some(config) = ROOTS.get() {
            return Found::Current(config.clone());
        }
        match tls::client_config(None) {
            Ok(config) => Found::Current(ROOTS.get_or_init(|| config).clone()),
            Err(error) => Found::Nothing(error.to_string()),
        }
    }

    /// The authorities of a file. While it holds the same, the configuration stays the same, sessions to resume with it.
    pub(super) fn of(&self, file: &str) -> Found {
        let read = tls::authorities(Path::new(file));
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = read.and_then(|authorities| match all.get(file) {
            Some(kept) if kept.authorities == authorities => Ok(kept.config.clone()),
            _ => {
                let config = tls::trusting_only(&authorities)?;
                all.insert(file.to_owned(), Kept { authorities, config: config.clone() });
                Ok(config)
            }
        });
        match (fresh, all.get(file)) {
            (Ok(config), _) => Found::Current(config),
            (Err(error), Some(kept)) => Found::Earlier(kept.config.clone(), error.to_string()),
            (Err(error), None) => Found::Nothing(error.to_string()),
        }
    }

    /// What a certificate authority of ours, a credential, is trusted by now. Nothing earlier takes its place: one that
    /// was withdrawn is no longer trusted. `key` is its own among the names of files.
    pub(super) fn of_credential(&self, key: &str, authorities: Vec<CertificateDer<'static>>) -> Found {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if authorities.is_empty() {
            all.remove(key);
            return Found::Nothing("its certificate authority has no certificate that opens".to_owned());
        }
        if let Some(kept) = all.get(key).filter(|kept| kept.authorities == authorities) {
            return Found::Current(kept.config.clone());
        }
        match tls::trusting_only(&authorities) {
            Ok(config) => {
                all.insert(key.to_owned(), Kept { authorities, config: config.clone() });
                Found::Current(config)
            }
            Err(error) => Found::Nothing(error.to_string()),
        }
    }

    /// Forgets files that nothing names any more.
    pub(super) fn keep_only(&self, named: impl Fn(&str) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|file, _| named(file));
    }
}
