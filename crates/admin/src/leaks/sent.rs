//! Secrets of ours that callers sent through the gateway: recorded and answered like those that somebody reports.

use super::{Report, Said, known::Hit, record};
use crate::{AdminState, api::leaks::Via, error::ApiError, write::enforce};
use credentialflow_model::{Actor, KeyId, Name};
use std::{net::IpAddr, sync::atomic::Ordering::Relaxed};

/// A live secret of ours, as the gateway recognised it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveSecret {
    /// A key's, in this version.
    Key(KeyId, u32),
    /// The value of a credential, in this version.
    Credential(Name, u32),
}

/// Whose request it stood in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The application that called, if it had a key.
    pub application: Option<String>,
    /// The key that it called with.
    pub key: Option<KeyId>,
    /// The route.
    pub route: Option<String>,
    /// Where the request came from.
    pub source: IpAddr,
    /// Where in the request it stood, in words.
    pub place: &'static str,
    /// Whether the request was refused for it.
    pub refused: bool,
}

/// Records that a caller sent a secret, answers it by its rule, and waits until that is enforced. The same secret on the
/// same route by the same caller again changes nothing. The key that the caller calls with is no leak wherever it stands:
/// who has it is who sent it.
///
/// # Errors
/// When it could not be stored, or is not enforced everywhere yet. It may be tried again.
pub async fn secret_sent(state: &AdminState, secret: LiveSecret, sender: Sender) -> Result<(), ApiError> {
    if matches!(secret, LiveSecret::Key(id, _) if sender.key == Some(id)) {
        return Ok(());
    }
    let end = if sender.refused { "the request was refused" } else { "the request was served" };
    let note = format!("it stood in {}; {end}", sender.place);
    let reporter = Actor { source: Some(sender.source.to_string()), ..Actor::system("gateway") };
    let hit = match secret {
        LiveSecret::Key(id, version) => Hit::Key { id, version },
        LiveSecret::Credential(credential, version) => Hit::Value { credential, version },
    };
    let report = Report {
        via: Via::Traffic,
        reporter,
        url: None,
        note: None,
        whole: Vec::new(),
        text: Vec::new(),
        sender: Some(sender),
    };
    let said = Said { url: None, note: Some(note) };
    // One report at a time, as all of them.
    let turn = state.leaks.turn.acquire().await;
    let recorded = record::record(state, &report, &said, &hit).await?;
    let changed = recorded.is_some_and(|recorded| recorded.changed);
    // Whoever reports a leak does not wait behind nodes that are slow to confirm this one.
    drop(turn);
    // Also what an earlier try has recorded.
    if state.leaks.owed.swap(false, Relaxed) || changed {
        enforce(state).await.inspect_err(|_| state.leaks.owed.store(true, Relaxed))?;
    }
    Ok(())
}
