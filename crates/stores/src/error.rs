//! Why a store did not do what was asked: a closed list. No message holds a secret.

use credentialflow_model::SecretValue;
use std::time::Duration;

/// What went wrong, and thereby when trying again helps.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ExternalError {
    /// No connection, no answer in time, or it broke off.
    #[error("the store cannot be reached: {0}")]
    Unreachable(String),
    /// It answered that it cannot at the moment.
    #[error("the store is busy: {words}")]
    Busy {
        /// What it said.
        words: String,
        /// When it wants to be asked again.
        again: Option<Duration>,
    },
    /// There is no such secret.
    #[error("the store has no such secret")]
    NotFound,
    /// Somebody else was there at the same time, or what is there stands in the way.
    #[error("the store has something else there: {0}")]
    Conflict(String),
    /// It does not let us in, or not do this.
    #[error("the store refuses: {0}")]
    Refused(String),
    /// Settings, place or value do not fit the store. Trying again does not help until one of them changes.
    #[error("{0}")]
    Unusable(String),
}

impl ExternalError {
    /// How long the store wants to be left alone, if it said.
    pub const fn again(&self) -> Option<Duration> {
        match self {
            Self::Busy { again, .. } => *again,
            _ => None,
        }
    }
}

/// What a call to a store gives.
pub type Result<T, E = ExternalError> = std::result::Result<T, E>;

/// The most of a store's own words that is kept, in characters.
const LONGEST: usize = 300;
/// A piece of a secret this long, in bytes, makes words unusable.
const PIECE: usize = 6;

pub(crate) fn unusable(words: impl Into<String>) -> ExternalError {
    ExternalError::Unusable(words.into())
}

/// A store's own words, without control characters, not too long, and left out where they repeat a
/// secret or a piece of one.
pub(crate) fn told(words: &str, secrets: &[&SecretValue]) -> String {
    let repeats = |secret: &&SecretValue| {
        let bytes = secret.expose();
        let piece = PIECE.min(bytes.len());
        piece > 0 && bytes.windows(piece).any(|piece| words.as_bytes().windows(piece.len()).any(|w| w == piece))
    };
    if secrets.iter().any(repeats) {
        return "its words are left out, as they repeat a part of a secret".to_owned();
    }
    let clean: String = words.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    clean.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_repeat_a_secret_are_left_out() {
        let secret = SecretValue::from("correct-horse-battery");
        assert_eq!(told("no such\nsecret", &[&secret]), "no such secret");
        for leak in ["bad value correct-horse-battery", "near 'horse-b", "…attery"] {
            assert!(!told(leak, &[&secret]).contains(&leak[leak.len() - 5..]), "{leak}");
        }
        assert!(told(&"ä".repeat(5000), &[]).chars().count() <= LONGEST);
        assert_eq!(told("abc", &[&SecretValue::from("")]), "abc");
    }
}
