//! Console sessions: random ids of 256 bits, kept in memory as SHA-256 hashes and nowhere else.
//!
//! A restart signs everyone out. A session ends after eight hours without use and after a day at
//! the latest.

use credentialflow_model::{SecretValue, Timestamp};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// Seconds without use after which a session ends.
pub(crate) const IDLE_SECS: i64 = 8 * 3600;
/// Seconds after which a session ends however much it is used.
const MAX_AGE_SECS: i64 = 24 * 3600;
/// Most sessions at once; the one idle for longest makes room.
const MAX_SESSIONS: usize = 1000;

type Hash = [u8; 32];

#[derive(Clone, Copy)]
struct Session {
    opened: Timestamp,
    used: Timestamp,
}

impl Session {
    fn expires(&self) -> i64 {
        (self.used.secs() + IDLE_SECS).min(self.opened.secs() + MAX_AGE_SECS)
    }
}

/// All open sessions.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<Hash, Session>>);

/// The system's randomness gave nothing; never seen on a healthy machine.
#[derive(Debug, thiserror::Error)]
#[error("the system's randomness is not available")]
pub(crate) struct NoRandomness;

impl Sessions {
    /// Opens one; the id goes into the cookie and is forgotten here.
    pub(crate) fn open(&self, now: Timestamp) -> Result<(SecretValue, Timestamp), NoRandomness> {
        let mut random = [0u8; 32];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| NoRandomness)?;
        let id = random.iter().fold(String::with_capacity(64), |mut text, byte| {
            text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
            text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
            text
        });
        random.fill(0);
        let session = Session { opened: now, used: now };
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, session| session.expires() > now.secs());
        if open.len() >= MAX_SESSIONS
            && let Some(idlest) = open.iter().min_by_key(|(_, session)| session.used).map(|(hash, _)| *hash)
        {
            open.remove(&idlest);
        }
        open.insert(hash(id.as_bytes()), session);
        Ok((SecretValue::from(id), Timestamp::from_secs(session.expires())))
    }

    /// Whether this id is an open session; using it keeps it open. Answers when it ends.
    pub(crate) fn check(&self, id: &[u8], now: Timestamp) -> Option<Timestamp> {
        // Looked up by hash: what time the look-up takes says nothing about the id.
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = hash(id);
        let session = open.get_mut(&hash)?;
        if session.expires() <= now.secs() {
            open.remove(&hash);
            return None;
        }
        session.used = session.used.max(now);
        Some(Timestamp::from_secs(session.expires()))
    }

    /// Ends it, if it is open.
    pub(crate) fn close(&self, id: &[u8]) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash(id)).is_some()
    }
}

fn hash(id: &[u8]) -> Hash {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, id);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_session_lives_while_it_is_used_and_no_longer_than_a_day() {
        let sessions = Sessions::default();
        let at = Timestamp::from_secs;
        let (id, expires) = sessions.open(at(0)).unwrap();
        assert_eq!(expires, at(IDLE_SECS));
        assert_eq!(sessions.check(id.expose(), at(IDLE_SECS - 1)), Some(at(2 * IDLE_SECS - 1)));
        assert!(sessions.check(id.expose(), at(2 * IDLE_SECS - 2)).is_some());
        assert_eq!(sessions.check(id.expose(), at(3 * IDLE_SECS - 3)), Some(at(MAX_AGE_SECS)));
        assert_eq!(sessions.check(id.expose(), at(MAX_AGE_SECS)), None);
    }

    #[test]
    fn idle_closed_and_unknown_sessions_are_refused() {
        let sessions = Sessions::default();
        let at = Timestamp::from_secs;
        let (idle, _) = sessions.open(at(0)).unwrap();
        let (closed, _) = sessions.open(at(0)).unwrap();
        assert!(idle.expose() != closed.expose());
        assert!(sessions.close(closed.expose()));
        assert_eq!(sessions.check(closed.expose(), at(1)), None);
        assert_eq!(sessions.check(idle.expose(), at(IDLE_SECS)), None);
        assert_eq!(sessions.check(b"", at(1)), None);
    }

    #[test]
    fn memory_is_bounded() {
        let sessions = Sessions::default();
        for n in 0..2 * MAX_SESSIONS as i64 {
            sessions.open(Timestamp::from_secs(n)).unwrap();
        }
        assert_eq!(sessions.0.lock().unwrap().len(), MAX_SESSIONS);
    }
}
