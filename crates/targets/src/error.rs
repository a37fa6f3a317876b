//! Why a target did not do what was asked: a closed list. No message holds a secret or an address.

use credentialflow_model::SecretValue;

/// What went wrong, and thereby whether trying again helps.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TargetError {
    /// No connection, or it broke off. Trying again later helps.
    #[error("the target cannot be reached: {0}")]
    Unreachable(String),
    /// No answer in time; what was asked may have happened or not. Trying again helps: every
    /// operation is safe to repeat.
    #[error("the target did not answer in time")]
    Timeout,
    /// The target answered and said no, in its words as far as they hold no secret.
    #[error("the target refuses: {0}")]
    Refused(String),
    /// It did what was asked, and its answer lacks what is needed to undo it.
    #[error("the target did it, and its answer cannot be used: {0}")]
    Unusable(String),
    /// A statement, request or username template that cannot be filled in. Trying again does not help.
    #[error("the template cannot be used: {0}")]
    BadTemplate(String),
    /// Settings that contradict themselves, such as a certificate that does not read.
    #[error("the target's settings cannot be used: {0}")]
    BadSettings(String),
}

impl TargetError {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Timeout)
    }

    /// Whether what was asked may have been done, under a handle that is not known.
    pub fn may_be_done(&self) -> bool {
        self.is_transient() || matches!(self, Self::Unusable(_))
    }
}

/// What a call to a target gives.
pub type Result<T, E = TargetError> = std::result::Result<T, E>;

/// The most of a target's own words that is kept, in characters.
const LONGEST: usize = 400;
/// A piece of a secret this long, in bytes, makes a message unusable.
const PIECE: usize = 6;

/// A target's own words without any of these secrets: whole ones are blanked; where a piece of one is
/// left, as when a server cuts what it repeats, the words are dropped.
pub(crate) fn sanitized(words: &str, secrets: &[&[u8]]) -> String {
    let mut text: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let secrets: Vec<&str> =
        secrets.iter().filter_map(|s| std::str::from_utf8(s).ok()).filter(|s| !s.is_empty()).collect();
    for secret in &secrets {
        text = text.replace(secret, "[redacted]");
    }
    let leaks = secrets.iter().any(|s| s.as_bytes().windows(PIECE).any(|piece| contains(text.as_bytes(), piece)));
    if leaks {
        return "its words are left out, as they repeat a part of a secret".to_owned();
    }
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// [`TargetError::Refused`] with the target's own words, sanitized.
pub(crate) fn refused(words: &str, secrets: &[&SecretValue]) -> TargetError {
    let secrets: Vec<&[u8]> = secrets.iter().map(|s| s.expose()).collect();
    TargetError::Refused(sanitized(words, &secrets))
}

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|w| w == needle)
}

/// An input or output error in words that name no address.
pub(crate) fn io(error: &std::io::Error) -> TargetError {
    match error.kind() {
        std::io::ErrorKind::TimedOut => TargetError::Timeout,
        kind => TargetError::Unreachable(kind.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_target_hold_no_secret_whole_or_in_part() {
        let secret: &[u8] = b"correct-horse-battery";
        let clean = sanitized("role \"v-1\" does not exist\nat all", &[secret]);
        assert_eq!(clean, "role \"v-1\" does not exist at all");
        assert_eq!(sanitized("near 'correct-horse-battery'", &[secret]), "near '[redacted]'");
        for cut in ["near 'correct-ho", "…battery'", "horse-"] {
            assert!(!sanitized(cut, &[secret]).contains("horse"), "{cut}");
            assert!(!sanitized(cut, &[secret]).contains("battery"), "{cut}");
        }
        assert!(sanitized(&"ä".repeat(5000), &[]).chars().count() <= LONGEST + 1);
        // A one-letter secret must not loop or panic.
        assert_eq!(sanitized("abc", &[b"b"]), "a[redacted]c");
    }
}
