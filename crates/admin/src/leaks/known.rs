//! Recognises secrets of ours: keys by checksum and keyed hash, values by a hash under a key of this process.
//!
//! The hashes of all live values are made when the first report comes and kept until something is stored that may
//! have changed them, or the vault is sealed.

use super::{LiveSecret, sealed};
use crate::{AdminState, error::ApiError, inventory::values::Marks};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use credentialflow_model::{KeyId, KeyToken, Name};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Mutex;

/// Strangers do not make the values be opened more often than this.
const APART: Duration = Duration::from_secs(2);

/// The hashes made last.
#[derive(Default)]
pub(super) struct Known(Mutex<Option<Made>>);

struct Made {
    at: Instant,
    /// The place in the change feed at which they were made.
    seq: i64,
    /// A place in the audit chain and its hash, which tell a database that was restored to an older state.
    mark: (u64, [u8; 32]),
    marks: Arc<Marks>,
}

impl Known {
    /// The hashes of what is stored now. `patient`: whoever asks may wait.
    pub(super) async fn marks(&self, state: &AdminState, patient: bool) -> Result<Arc<Marks>, ApiError> {
        let mut kept = self.0.lock().await;
        if let Err(error) = sealed(state) {
            *kept = None;
            return Err(error);
        }
        if let Some(made) = kept.as_mut() {
            let followed = state.store.follow_changes(made.seq, made.mark.0, 1).await?;
            if followed.changes.is_empty() && followed.continues(Some(made.mark)) {
                made.mark = followed.head;
                return Ok(made.marks.clone());
            }
            if patient {
                tokio::time::sleep(APART.saturating_sub(made.at.elapsed())).await;
            }
        }
        let (seq, mark) = state.store.latest_place().await?;
        let marks = Arc::new(Marks::make(state).await?);
        *kept = Some(Made { at: Instant::now(), seq, mark, marks: marks.clone() });
        Ok(marks)
    }
}

/// A secret of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hit {
    /// A key's, whether it is still accepted or not.
    Key { id: KeyId, version: u32 },
    /// A credential's value that is in use.
    Value { credential: Name, version: u32 },
}

impl From<LiveSecret> for Hit {
    fn from(secret: LiveSecret) -> Self {
        match secret {
            LiveSecret::Key(id, version) => Self::Key { id, version },
            LiveSecret::Credential(credential, version) => Self::Value { credential, version },
        }
    }
}

/// Whose secret a text is.
pub(super) async fn find(state: &AdminState, marks: &Marks, piece: &[u8]) -> Result<Vec<Hit>, ApiError> {
    let values = marks.find(piece).iter();
    let values = values.map(|of| Hit::Value { credential: of.credential.clone(), version: of.version });
    let mut hits: Vec<_> = values.collect();
    if let Some(token) = KeyToken::parse(piece) {
        // The same work for a key that exists and for one that does not.
        let secrets = state.store.key_secrets(token.id).await?;
        for pepper in state.vault.peppers()? {
            let hash = pepper.hash(token.expose_secret());
            let of_it = |s: &&credentialflow_store::KeySecretRow| {
                s.pepper_id == pepper.id && verify_slices_are_equal(&s.hash, &hash).is_ok()
            };
            hits.extend(secrets.iter().filter(of_it).map(|s| Hit::Key { id: token.id, version: s.version }));
        }
    }
    Ok(hits)
}
