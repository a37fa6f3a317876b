//! Where secrets of ours stand in a piece of a log that an administrator sends: what the gateway would find in it, and what
//! is recognised of a report.

use super::{Report, candidates, known, known::Hit, record, sealed};
use crate::{
    AdminState,
    api::leaks::{FoundSecret, LeakKind, LeakReport, LeakScan, Scanned, Via},
    error::{ApiError, Code},
    write::enforce,
};
use credentialflow_model::Actor;
use std::ops::Range;

/// Largest piece.
const MOST: usize = 256 << 10;
/// Places that are told of one piece.
const TOLD: usize = 1000;
/// Shorter values count only where they stand alone.
const SHORT: usize = 16;

/// Searches a piece; records what is found, unless it is only to be looked.
pub(crate) async fn scan(state: &AdminState, actor: Actor, sent: LeakScan) -> Result<Scanned, ApiError> {
    sealed(state)?;
    let LeakScan { text, offset, line, seen, dry_run, url, note } = sent;
    let bytes = text.0.expose();
    if bytes.len() > MOST {
        return Err(ApiError::new(Code::InvalidRequest, "a piece has at most 256 KiB; send a longer text in several"));
    }
    let (mut places, mut complete) = places(state, bytes).await?;
    places.retain(|(_, range)| range.end as u64 > seen);
    complete &= places.len() <= TOLD;
    places.truncate(TOLD);
    // Checked also where nothing was found. The text itself is not needed any more.
    let report = LeakReport { tokens: None, text: Some(crate::secret::SecretText("-".into())), url, note };
    let mut report = Report::read(Via::Administrator, actor, report)?;
    let secrets: Vec<&[u8]> = places.iter().map(|(_, range)| &bytes[range.clone()]).collect();
    let mut said = report.said(&secrets);
    report.text.clear();
    let (mut found, mut changed) = (Vec::with_capacity(places.len()), false);
    let (mut at, mut lines) = (0, line);
    let mut met: Vec<(Hit, FoundSecret)> = Vec::new();
    for (hit, range) in places {
        lines += bytes[at..range.start].iter().filter(|b| **b == b'\n').count() as u64;
        at = range.start;
        let place = (offset.saturating_add(range.start as u64), range.len() as u64, lines);
        let known = met.iter().position(|(known, _)| *known == hit);
        let one = match known {
            Some(known) => &met[known].1,
            None => {
                let Some(mut one) = described(state, &hit).await? else { continue };
                if !dry_run {
                    let words = said.note.clone();
                    said.note = words.clone().or_else(|| Some(format!("in line {lines}, at byte {}", place.0)));
                    let recorded = record::record(state, &report, &said, &hit).await?;
                    said.note = words;
                    changed |= recorded.as_ref().is_some_and(|recorded| recorded.changed);
                    one.leak = recorded.map(|recorded| recorded.leak.id);
                }
                met.push((hit, one));
                let Some((_, one)) = met.last() else { continue };
                one
            }
        };
        let (offset, length, line) = place;
        let (name, application, leak) = (one.name.clone(), one.application.clone(), one.leak.clone());
        found.push(FoundSecret { kind: one.kind, name, version: one.version, application, offset, length, line, leak });
    }
    if changed {
        enforce(state).await?;
    }
    Ok(Scanned { found, complete })
}

/// Whose secret it is, without a place; `None` when it is gone.
async fn described(state: &AdminState, hit: &Hit) -> Result<Option<FoundSecret>, ApiError> {
    let (kind, name, version, application) = match hit {
        Hit::Key { id, version } => {
            let Some(row) = state.store.key(*id).await? else { return Ok(None) };
            (LeakKind::Key, row.name.to_string(), *version, Some(row.application.to_string()))
        }
        Hit::Value { credential, version } => (LeakKind::Credential, credential.to_string(), *version, None),
    };
    Ok(Some(FoundSecret { kind, name, version, application, offset: 0, length: 0, line: 0, leak: None }))
}

/// Every place of a text where a secret of ours stands, in order, and whether all of it was searched.
async fn places(state: &AdminState, text: &[u8]) -> Result<(Vec<(Hit, Range<usize>)>, bool), ApiError> {
    let (found, complete) = state.dataplane.secrets_in(text);
    let mut places: Vec<(Hit, Range<usize>)> = found.into_iter().map(|(secret, at)| (secret.into(), at)).collect();
    let marks = state.leaks.known.marks(state, false).await?;
    for piece in candidates::of(text, text.len()) {
        for hit in known::find(state, &marks, piece).await? {
            for range in each(text, piece) {
                if !places.iter().any(|(known, at)| *known == hit && at.end == range.end) {
                    places.push((hit.clone(), range));
                }
            }
        }
    }
    places.sort_by_key(|(_, range)| (range.start, range.end));
    Ok((places, complete))
}

/// Where a piece stands in a text; a short one only where it is no part of a longer word.
fn each(text: &[u8], piece: &[u8]) -> Vec<Range<usize>> {
    let part = |at: Option<&u8>| piece.len() < SHORT && at.is_some_and(u8::is_ascii_alphanumeric);
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some(at) = text[from..].windows(piece.len()).position(|window| window == piece) {
        let range = from + at..from + at + piece.len();
        if !part(text[..range.start].last()) && !part(text.get(range.end)) {
            found.push(range.clone());
        }
        from = range.end;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_values_stand_alone() {
        let starts = |text: &str, piece: &str| {
            each(text.as_bytes(), piece.as_bytes()).iter().map(|r| r.start).collect::<Vec<_>>()
        };
        assert_eq!(starts("hunter22 xhunter22 hunter22x hunter22,", "hunter22"), [0, 29]);
        assert_eq!(starts("xa-longer-value-of-oursx", "a-longer-value-of-ours"), [1]);
        assert!(starts("none", "a-longer-value-of-ours").is_empty());
    }
}
