//! What to look for in the call log, and where to go on.

use super::CallLogError;
use credentialflow_model::{KeyId, OutcomeReason, Timestamp};
use std::{fmt, net::IpAddr, str::FromStr};

/// Which calls to find; every field given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallFilter {
    /// Calls that began at this time or later.
    pub since: Option<Timestamp>,
    /// Calls that began before this time.
    pub until: Option<Timestamp>,
    /// The application that called.
    pub application: Option<String>,
    /// The key presented.
    pub key: Option<KeyId>,
    /// One of these keys was presented.
    pub keys: Option<Vec<KeyId>>,
    /// The route that matched.
    pub route: Option<String>,
    /// The upstream chosen.
    pub upstream: Option<String>,
    /// The upstream credential injected.
    pub credential: Option<String>,
    /// The public model name asked for.
    pub model: Option<String>,
    /// The prompt that the call was made of.
    pub prompt: Option<String>,
    /// Its version; looked at only beside [`CallFilter::prompt`].
    pub prompt_version: Option<u32>,
    /// How the call ended.
    pub outcome: Option<OutcomeReason>,
    /// The status sent to the caller.
    pub status: Option<StatusFilter>,
    /// Calls that took at least this long, in microseconds.
    pub min_duration_us: Option<u64>,
    /// Where the call came from.
    pub source: Option<IpAddr>,
    /// How the path begins; compared byte by byte.
    pub path_prefix: Option<String>,
}

/// A status, or a class of them: written `404` or `5xx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusFilter {
    /// Exactly this status; 0 means that none was sent.
    Exact(u16),
    /// The hundred that begins with this digit, 1 to 5.
    Class(u8),
}

/// Why a text is no [`StatusFilter`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a status is three digits or a class, as in 404 or 5xx")]
pub struct InvalidStatusFilter;

impl FromStr for StatusFilter {
    type Err = InvalidStatusFilter;
    fn from_str(s: &str) -> Result<Self, InvalidStatusFilter> {
        let b = s.as_bytes();
        match b {
            [b'0'] => Ok(Self::Exact(0)),
            [d @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] => Ok(Self::Class(d - b'0')),
            [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'] => s.parse().map(Self::Exact).map_err(|_| InvalidStatusFilter),
            _ => Err(InvalidStatusFilter),
        }
    }
}

/// A place in the call log: a segment and a row in it. Written `20261122-0006…-1a2b.77`; opaque to users.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cursor {
    pub segment: String,
    pub row: i64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.segment, self.row)
    }
}

impl FromStr for Cursor {
    type Err = CallLogError;
    fn from_str(s: &str) -> Result<Self, CallLogError> {
        let (segment, row) = s.rsplit_once('.').ok_or(CallLogError::InvalidCursor)?;
        let plain = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b) || b == b'-';
        if segment.is_empty() || segment.len() > 64 || !segment.bytes().all(plain) {
            return Err(CallLogError::InvalidCursor);
        }
        Ok(Self { segment: segment.to_owned(), row: row.parse().map_err(|_| CallLogError::InvalidCursor)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_exact_or_a_class() {
        let check = |text: &str, expect| assert_eq!(text.parse(), expect, "{text}");
        check("404", Ok(StatusFilter::Exact(404)));
        check("5xx", Ok(StatusFilter::Class(5)));
        check("0", Ok(StatusFilter::Exact(0)));
        for wrong in ["", "6xx", "40", "4x4", "5xxx", "-12", "abc"] {
            check(wrong, Err(InvalidStatusFilter));
        }
    }

    #[test]
    fn cursors_round_trip_and_refuse_paths() {
        let cursor = Cursor { segment: "20261122-00ab-1f".into(), row: 77 };
        assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        for wrong in ["", "7", "../../etc/passwd.1", "20261122-00ab-1f.x", ".5"] {
            assert!(wrong.parse::<Cursor>().is_err(), "{wrong}");
        }
    }
}
