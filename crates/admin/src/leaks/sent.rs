//! Secrets of ours that the gateway met in what callers sent or were answered, or that were blanked in our own log: recorded
//! and answered like those that somebody reports, as far as their rules say so.

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

/// Where the gateway met a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// A caller sent it.
    Request,
    /// An upstream answered with it.
    Answer,
    /// An upstream repeated the credential it was sent, which was blanked.
    Echo,
}

/// Whose request it stood in, or whose answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The application that called, if it had a key.
    pub application: Option<String>,
    /// The key that it called with.
    pub key: Option<KeyId>,
    /// The route.
    pub route: Option<String>,
    /// The upstream that answered.
    pub upstream: Option<String>,
    /// Where the request came from.
    pub source: IpAddr,
    /// Where it was met.
    pub met: Met,
    /// Where it stood, in words.
    pub place: &'static str,
    /// Whether the request was refused for it, or it was blanked in the answer.
    pub refused: bool,
}

/// Records that a caller sent a secret or was answered with it, answers it by its rule, and waits until that is enforced. The same secret on the
/// same route by the same caller again changes nothing. The key that the caller calls with is no leak wherever it stands:
/// who has it is who sent it.
///
/// # Errors
/// When it could not be stored, or is not enforced everywhere yet. It may be tried again.
pub async fn secret_sent(state: &AdminState, secret: LiveSecret, sender: Sender) -> Result<(), ApiError> {
    if matches!(secret, LiveSecret::Key(id, _) if sender.key == Some(id)) {
        return Ok(());
    }
    let (via, end) = match (sender.met, sender.refused) {
        (Met::Request, true) => (Via::Traffic, "the request was refused"),
        (Met::Request, false) => (Via::Traffic, "the request was served"),
        (Met::Answer | Met::Echo, true) => (Via::Answer, "the caller got it blanked"),
        (Met::Answer | Met::Echo, false) => (Via::Answer, "the caller got it as it was"),
    };
    let note = format!("it stood in {}; {end}", sender.place);
    let reporter = Actor { source: Some(sender.source.to_string()), ..Actor::system("gateway") };
    told(state, secret, Report::met(via, reporter, Some(sender)), note).await
}

/// Records that a secret was about to be written to our own log, where it was blanked.
///
/// # Errors
/// As [`secret_sent`].
pub async fn secret_logged(state: &AdminState, secret: LiveSecret) -> Result<(), ApiError> {
    let note = "it stood in a line of our own log, which was written without it".to_owned();
    told(state, secret, Report::met(Via::Log, Actor::system("log"), None), note).await
}

async fn told(state: &AdminState, secret: LiveSecret, report: Report, note: String) -> Result<(), ApiError> {
    let hit = Hit::from(secret);
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
