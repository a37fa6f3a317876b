//! Amounts of US dollars: exact decimals, and the whole units of 10^-12 in which sums are kept.

use rust_decimal::{Decimal, RoundingStrategy, prelude::ToPrimitive};
use serde::{Deserialize, Deserializer, Serialize, de};
use std::{fmt, str::FromStr};

/// US dollars in units of 10^-12, rounded up; saturates.
pub fn pico(usd: Decimal) -> i64 {
    let scaled = usd.checked_mul(Decimal::from(1_000_000_000_000u64));
    scaled
        .map(|d| d.round_dp_with_strategy(0, RoundingStrategy::ToPositiveInfinity))
        .and_then(|d| d.to_i64())
        .unwrap_or(if usd.is_sign_negative() { i64::MIN } else { i64::MAX })
}

/// Units of 10^-12 US dollars as US dollars, exactly.
pub fn usd(pico: i64) -> Decimal {
    Decimal::from_i128_with_scale(i128::from(pico), 12).normalize()
}

/// The same of a sum of many.
pub fn usd_of_sum(pico: i128) -> Decimal {
    // There is not so much money.
    let most = if pico < 0 { Decimal::MIN } else { Decimal::MAX };
    Decimal::try_from_i128_with_scale(pico, 12).map_or(most, |usd| usd.normalize())
}

/// An amount of US dollars: an exact decimal, never negative. Written as text; whole dollars may be a plain number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, utoipa::ToSchema)]
#[serde(into = "String")]
#[schema(value_type = String, pattern = "^[0-9]+([.][0-9]{1,12})?$", examples("50"))]
pub struct Usd(Decimal);

impl Usd {
    /// The amount.
    pub const fn amount(self) -> Decimal {
        self.0
    }
}

/// Why a text is no [`Usd`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an amount is US dollars in quotes with at most 12 decimals, as in \"12.50\", or a whole number")]
pub struct InvalidUsd;

impl FromStr for Usd {
    type Err = InvalidUsd;
    fn from_str(s: &str) -> Result<Self, InvalidUsd> {
        if !s.bytes().all(|b| b.is_ascii_digit() || b == b'.') || !s.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(InvalidUsd);
        }
        let amount = Decimal::from_str_exact(s).map_err(|_| InvalidUsd)?;
        if amount.normalize().scale() > 12 || s.ends_with('.') { Err(InvalidUsd) } else { Ok(Self(amount)) }
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Amount;
        impl de::Visitor<'_> for Amount {
            type Value = Usd;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&InvalidUsd, f)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Usd, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_u64<E: de::Error>(self, whole: u64) -> Result<Usd, E> {
                Ok(Usd(Decimal::from(whole)))
            }
            fn visit_i64<E: de::Error>(self, whole: i64) -> Result<Usd, E> {
                u64::try_from(whole).map_err(|_| E::custom(InvalidUsd)).and_then(|whole| self.visit_u64(whole))
            }
            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Usd, E> {
                Err(E::custom(InvalidUsd))
            }
        }
        d.deserialize_any(Amount)
    }
}

impl From<Usd> for String {
    fn from(v: Usd) -> String {
        v.0.to_string()
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Budget, *};

    #[test]
    fn amounts_are_exact_and_what_is_finer_is_rounded_up() {
        let amount = |text: &str| text.parse::<Usd>().map(|usd| pico(usd.amount()));
        assert_eq!(amount("50"), Ok(50_000_000_000_000));
        assert_eq!(amount("0.000000000001"), Ok(1));
        for bad in ["", "-1", ".5", "5.", "1e3", "0.0000000000001", "1,5", "five"] {
            assert_eq!(amount(bad), Err(InvalidUsd), "{bad}");
        }
        assert_eq!(pico("0.0000000000001".parse().unwrap()), 1);
        assert_eq!(pico(Decimal::MAX), i64::MAX);
        assert_eq!(usd(12_500_000_000_000).to_string(), "12.5");
        assert_eq!(pico(usd(1_234_567_890_123_456)), 1_234_567_890_123_456);
        assert!(pico(Decimal::from(Budget::MOST_USD)) < i64::MAX / 2);
    }
}
