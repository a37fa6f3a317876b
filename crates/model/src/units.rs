//! Quantities with units, as people write them: `30s`, `90d`, `10MiB`, `"0.25"`.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, time::Duration};

/// A length of time: a whole number and one unit of `ms s m h d`. Zero is refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, pattern = "^[1-9][0-9]*(ms|s|m|h|d)$", examples("90d"))]
pub struct Period(u64);

impl Period {
    /// From milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }
    /// From seconds.
    pub const fn from_secs(s: u64) -> Self {
        Self(s * 1000)
    }
    /// As the standard library's duration.
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
    /// In milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }
}

/// Why a text is no [`Period`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a duration is a whole number above zero with a unit (ms, s, m, h or d), as in 30s, 15m or 90d")]
pub struct InvalidPeriod;

const PERIODS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl FromStr for Period {
    type Err = InvalidPeriod;
    fn from_str(s: &str) -> Result<Self, InvalidPeriod> {
        let (n, unit) = split_number(s).ok_or(InvalidPeriod)?;
        let scale = PERIODS.iter().find(|(u, _)| *u == unit).ok_or(InvalidPeriod)?.1;
        n.checked_mul(scale).filter(|ms| *ms > 0 && *ms < 1 << 50).map(Self).ok_or(InvalidPeriod)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) = PERIODS.iter().find(|(_, scale)| self.0.is_multiple_of(*scale)).unwrap_or(&("ms", 1));
        write!(f, "{}{unit}", self.0 / scale)
    }
}

/// A number of bytes: a whole number and one unit of `B KB MB GB KiB MiB GiB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, pattern = "^[0-9]+(B|KB|MB|GB|KiB|MiB|GiB)$", examples("10MiB"))]
pub struct ByteSize(u64);

impl ByteSize {
    /// From bytes.
    pub const fn from_bytes(n: u64) -> Self {
        Self(n)
    }
    /// In bytes.
    pub const fn as_bytes(self) -> u64 {
        self.0
    }
}

/// Why a text is no [`ByteSize`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a size is a whole number with a unit (B, KB, MB, GB, KiB, MiB or GiB), as in 10MiB")]
pub struct InvalidByteSize;

const SIZES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1000),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = InvalidByteSize;
    fn from_str(s: &str) -> Result<Self, InvalidByteSize> {
        let (n, unit) = split_number(s).ok_or(InvalidByteSize)?;
        let scale = SIZES.iter().find(|(u, _)| *u == unit).ok_or(InvalidByteSize)?.1;
        n.checked_mul(scale).map(Self).ok_or(InvalidByteSize)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) =
            SIZES.iter().find(|(_, scale)| self.0 > 0 && self.0.is_multiple_of(*scale)).unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / scale)
    }
}

fn split_number(s: &str) -> Option<(u64, &str)> {
    let digits = s.bytes().take_while(u8::is_ascii_digit).count();
    let (n, unit) = s.split_at(digits);
    Some((n.parse().ok()?, unit))
}

/// US dollars per million tokens: an exact decimal, never negative, written as a string.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, pattern = "^[0-9]+([.][0-9]+)?$", examples("0.25"))]
pub struct Price(Decimal);

impl Price {
    /// The exact amount in US dollars per million tokens.
    pub const fn usd_per_million(self) -> Decimal {
        self.0
    }
}

/// Why a text is no [`Price`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a price is a decimal number in quotes, US dollars per million tokens, as in \"0.25\"")]
pub struct InvalidPrice;

impl FromStr for Price {
    type Err = InvalidPrice;
    fn from_str(s: &str) -> Result<Self, InvalidPrice> {
        if !s.bytes().all(|b| b.is_ascii_digit() || b == b'.') || !s.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(InvalidPrice);
        }
        let price = Decimal::from_str_exact(s).map_err(|_| InvalidPrice)?;
        if price > Decimal::from(1_000_000) { Err(InvalidPrice) } else { Ok(Self(price)) }
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

macro_rules! text_form {
    ($($type:ty, $error:ty);*) => {$(
        impl TryFrom<String> for $type {
            type Error = $error;
            fn try_from(s: String) -> Result<Self, $error> { s.parse() }
        }
        impl From<$type> for String {
            fn from(v: $type) -> String { v.to_string() }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(self, f) }
        }
    )*};
}
text_form!(Period, InvalidPeriod; ByteSize, InvalidByteSize; Price, InvalidPrice);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods() {
        assert_eq!("90d".parse::<Period>().unwrap().as_duration(), Duration::from_secs(90 * 86_400));
        for text in ["30s", "15m", "90d", "1500ms", "2h"] {
            assert_eq!(text.parse::<Period>().unwrap().to_string(), text);
        }
        for bad in ["", "30", "s", "-1s", "0s", "1.5s", "1 s", "1w", "99999999999999999999s", "9999999999999999d"] {
            assert!(bad.parse::<Period>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        for text in ["10MiB", "1KB", "17B", "0B"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        for bad in ["10", "10mb", "MiB", "1.5MiB", "99999999999GiB"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
    }

    #[test]
    fn prices_are_exact_and_never_negative() {
        assert_eq!(
            "0.1".parse::<Price>().unwrap().usd_per_million() * Decimal::from(3),
            "0.3".parse::<Decimal>().unwrap()
        );
        for bad in ["", "-1", "+1", "1e3", "free", ".5", "99999999"] {
            assert!(bad.parse::<Price>().is_err(), "{bad}");
        }
    }
}
