//! Walks the chain and names the first event that is not as it was written.
//!
//! The same [`Verifier`] walks the database and an exported copy, so that both find the same.

use super::canonical::{Fields, Hash, canonical, unhex};
use super::{AuditFilter, Checkpoint, PAGE};
use crate::{Store, StoreError};
use credentialflow_model::AuditEvent;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::BufRead;

/// What a whole chain showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// How many events were checked.
    pub events: u64,
    /// The hash of the last, hexadecimal.
    pub last_hash: String,
    /// How many checkpoints agreed.
    pub checkpoints: u64,
    /// Whether the checkpoints' signatures were checked too.
    pub signatures_checked: bool,
}

/// Where the chain is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("the audit chain is broken at event {seq}: {what}")]
pub struct BrokenAt {
    /// The first event that is not as it was written.
    pub seq: u64,
    /// What is wrong with it.
    pub what: String,
}

/// Why a chain could not be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It is broken.
    #[error(transparent)]
    Broken(#[from] BrokenAt),
    /// The database could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The copy could not be read or written.
    #[error("the copy could not be read or written: {0}")]
    Io(#[from] std::io::Error),
}

/// Says whether a signature (second) is right for the bytes (first).
pub type SignatureCheck<'a> = Option<&'a (dyn Fn(&[u8], &[u8]) -> bool + Sync)>;

/// Takes events in order and remembers what the next one must be.
pub struct Verifier {
    events: u64,
    last: Hash,
    checkpoints: BTreeMap<u64, Checkpoint>,
    agreed: u64,
}

fn broken(seq: u64, what: &str) -> BrokenAt {
    BrokenAt { seq, what: what.to_owned() }
}

impl Verifier {
    /// A verifier that knows these checkpoints; they must be unaltered themselves where a signature
    /// check is given.
    pub fn new(checkpoints: Vec<Checkpoint>, signed: SignatureCheck<'_>) -> Result<Self, BrokenAt> {
        let mut known = BTreeMap::new();
        for checkpoint in checkpoints {
            let hash = unhex(&checkpoint.hash).and_then(|h| Hash::try_from(h).ok());
            let (Some(hash), Some(signature)) = (hash, unhex(&checkpoint.signature)) else {
                return Err(broken(checkpoint.seq, "a checkpoint is malformed"));
            };
            if signed.is_some_and(|check| !check(&Checkpoint::signed_bytes(checkpoint.seq, &hash), &signature)) {
                return Err(broken(checkpoint.seq, "a checkpoint's signature is wrong"));
            }
            known.insert(checkpoint.seq, checkpoint);
        }
        Ok(Self { events: 0, last: Hash::default(), checkpoints: known, agreed: 0 })
    }

    pub(crate) fn push(&mut self, f: &Fields) -> Result<(), BrokenAt> {
        let seq = self.events + 1;
        if u64::try_from(f.seq) != Ok(seq) {
            return Err(broken(seq, "it is missing or out of its place"));
        }
        if f.previous_hash != self.last {
            return Err(broken(seq, "it does not continue from the event before"));
        }
        let hash = canonical(f);
        if f.hash != hash {
            return Err(broken(seq, "its content does not match its hash"));
        }
        if let Some(checkpoint) = self.checkpoints.get(&seq) {
            if unhex(&checkpoint.hash).as_deref() != Some(hash.as_slice()) {
                return Err(broken(seq, "it is not the event that was checkpointed"));
            }
            self.agreed += 1;
        }
        self.events = seq;
        self.last = hash;
        Ok(())
    }

    /// Ends the walk: every checkpoint must have been met.
    pub fn finish(self, signatures_checked: bool) -> Result<AuditReport, BrokenAt> {
        if let Some((seq, _)) = self.checkpoints.range(self.events + 1..).next_back() {
            let what = format!("the end is cut: a checkpoint speaks of event {seq}");
            return Err(BrokenAt { seq: self.events + 1, what });
        }
        Ok(AuditReport {
            events: self.events,
            last_hash: super::canonical::hex(&self.last),
            checkpoints: self.agreed,
            signatures_checked,
        })
    }
}

/// Verifies the chain in the database against itself, its head and its checkpoints.
pub async fn verify(store: &Store, signed: SignatureCheck<'_>) -> Result<AuditReport, VerifyError> {
    // The head is read first: events written meanwhile lie after it and are checked too.
    let (head_seq, head_hash) = store.audit_head().await?;
    let mut verifier = Verifier::new(store.checkpoints().await?, signed)?;
    let mut head_met = head_seq == 0;
    let mut size = PAGE;
    loop {
        let page = match store.audit_fields(verifier.events, size, &AuditFilter::default()).await {
            Ok(page) => page,
            // A field that is not even of its type fails the page it is in: go on one by one to name its event.
            Err(StoreError::Corrupt(_)) if size > 1 => {
                size = 1;
                continue;
            }
            Err(StoreError::Corrupt(what)) => return Err(BrokenAt { seq: verifier.events + 1, what }.into()),
            Err(other) => return Err(other.into()),
        };
        for fields in &page {
            verifier.push(fields)?;
            if verifier.events == head_seq {
                if verifier.last != head_hash {
                    return Err(broken(head_seq, "it is not the event the head of the chain names").into());
                }
                head_met = true;
            }
        }
        if page.len() < size as usize {
            break;
        }
    }
    if !head_met {
        let what = format!("the end is cut: the head of the chain is event {head_seq}");
        return Err(BrokenAt { seq: verifier.events + 1, what }.into());
    }
    Ok(verifier.finish(signed.is_some())?)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckpointLine {
    pub checkpoint: Checkpoint,
}

/// Verifies an exported copy, with no database at hand: JSON lines as [`Store::export_audit`] writes
/// them. A line in any other spelling counts as changed.
pub fn verify_lines(reader: impl BufRead, signed: SignatureCheck<'_>) -> Result<AuditReport, VerifyError> {
    let mut verifier = Verifier::new(Vec::new(), None)?;
    let mut checkpoints = Vec::new();
    let mut hashes = BTreeMap::new();
    for line in reader.split(b'\n') {
        let line = line?;
        let next = verifier.events + 1;
        if line.starts_with(b"{\"checkpoint\":") {
            let read: CheckpointLine =
                serde_json::from_slice(&line).map_err(|_| broken(next, "a checkpoint's line is malformed"))?;
            checkpoints.push(read.checkpoint);
            continue;
        }
        if !checkpoints.is_empty() {
            return Err(broken(next, "an event stands after the checkpoints").into());
        }
        let event: AuditEvent = serde_json::from_slice(&line).map_err(|_| broken(next, "its line is malformed"))?;
        let spelled = serde_json::to_vec(&event).map_err(std::io::Error::from)?;
        let fields = Fields::of_event(&event).filter(|_| spelled == line);
        verifier.push(&fields.ok_or_else(|| broken(next, "its line is not as it was written"))?)?;
        hashes.insert(verifier.events, verifier.last);
    }
    let Verifier { checkpoints: known, .. } = Verifier::new(checkpoints, signed)?;
    for (seq, checkpoint) in &known {
        if let Some(hash) = hashes.get(seq) {
            if unhex(&checkpoint.hash).as_deref() != Some(hash.as_slice()) {
                return Err(broken(*seq, "it is not the event that was checkpointed").into());
            }
            verifier.agreed += 1;
        }
    }
    verifier.checkpoints = known;
    Ok(verifier.finish(signed.is_some())?)
}
