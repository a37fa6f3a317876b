//! An event's fields as they are stored, and the one form of them that is hashed.

use crate::{Result, StoreError, row::word};
use aws_lc_rs::digest::{Context, SHA256};
use credentialflow_model::{Actor, AuditEvent, Timestamp};
use serde_json::Value;

/// SHA-256.
pub type Hash = [u8; 32];

/// An event exactly as stored, so that verification hashes what is there and not what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fields {
    pub seq: i64,
    pub time: i64,
    pub actor_kind: String,
    pub actor_name: String,
    pub actor_source: Option<String>,
    pub action: String,
    pub subject: String,
    pub detail: String,
    pub previous_hash: Vec<u8>,
    pub hash: Vec<u8>,
}

/// An event that waits for its transaction's commit.
#[derive(Clone)]
pub(crate) struct PendingEvent {
    pub fields: Fields,
    pub hash: Hash,
}

impl PendingEvent {
    pub fn new(
        (seq, previous): (i64, Hash),
        time: Timestamp,
        actor: &Actor,
        action: &str,
        subject: &str,
        detail: Value,
    ) -> Self {
        let mut fields = Fields {
            seq,
            time: time.micros(),
            actor_kind: word(&actor.kind).unwrap_or_default(),
            actor_name: storable(&actor.name),
            actor_source: actor.source.as_deref().map(storable),
            action: storable(action),
            subject: storable(subject),
            detail: stable(detail).to_string(),
            previous_hash: previous.to_vec(),
            hash: Vec::new(),
        };
        let hash = canonical(&fields);
        fields.hash = hash.to_vec();
        Self { fields, hash }
    }
}

/// PostgreSQL has no NUL in texts.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A detail that reads back identically from any copy: fractions become text, because their
/// decimal form may differ by a digit after a round trip.
fn stable(detail: Value) -> Value {
    match detail {
        Value::Number(n) if n.is_f64() => Value::String(n.to_string()),
        Value::Array(items) => Value::Array(items.into_iter().map(stable).collect()),
        Value::Object(map) => Value::Object(map.into_iter().map(|(k, v)| (k, stable(v))).collect()),
        other => other,
    }
}

/// SHA-256 over every field but the hash, each with its length before it, so that no two different
/// events have one form.
pub(crate) fn canonical(f: &Fields) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(b"credentialflow-audit-event-1");
    let mut field = |bytes: &[u8]| {
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(bytes);
    };
    field(&f.seq.to_be_bytes());
    field(&f.time.to_be_bytes());
    field(f.actor_kind.as_bytes());
    field(f.actor_name.as_bytes());
    field(&[u8::from(f.actor_source.is_some())]);
    field(f.actor_source.as_deref().unwrap_or_default().as_bytes());
    field(f.action.as_bytes());
    field(f.subject.as_bytes());
    field(f.detail.as_bytes());
    field(&f.previous_hash);
    let mut hash = Hash::default();
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

impl Fields {
    pub(crate) fn into_event(self) -> Result<AuditEvent> {
        Ok(AuditEvent {
            seq: u64::try_from(self.seq).map_err(|_| StoreError::corrupt("a place in the audit chain"))?,
            time: Timestamp::from_micros(self.time),
            actor: super::actor_of(&self)?,
            detail: serde_json::from_str(&self.detail).map_err(|_| StoreError::corrupt("an audit event's detail"))?,
            previous_hash: hex(&self.previous_hash),
            hash: hex(&self.hash),
            action: self.action,
            subject: self.subject,
        })
    }

    /// The stored form of an event from an exported copy; `None` when it can be none.
    pub(crate) fn of_event(e: &AuditEvent) -> Option<Self> {
        Some(Self {
            seq: i64::try_from(e.seq).ok()?,
            time: e.time.micros(),
            actor_kind: word(&e.actor.kind).ok()?,
            actor_name: e.actor.name.clone(),
            actor_source: e.actor.source.clone(),
            action: e.action.clone(),
            subject: e.subject.clone(),
            detail: e.detail.to_string(),
            previous_hash: unhex(&e.previous_hash)?,
            hash: unhex(&e.hash)?,
        })
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

/// Only the spelling [`hex`] writes: a capital letter is a changed byte.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}
