//! The windows of budgets: hours, days, weeks and months of the calendar, and windows that roll.

use crate::{InvalidPeriod, Period, Timestamp};
use jiff::{ToSpan, Unit, ZonedRound, tz::TimeZone};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, str::FromStr};

/// The windows of a budget: those of the calendar, or any so long, as in `24h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BudgetPeriod {
    /// From each full hour.
    Hour,
    /// From each midnight.
    Day,
    /// From each Monday's midnight.
    Week,
    /// From the first of each month.
    Month,
    /// Any window so long, wherever it begins: one that rolls.
    Rolling(Period),
}

impl BudgetPeriod {
    /// The shortest that rolls.
    pub const SHORTEST: Period = Period::from_secs(60);
    /// The longest that rolls.
    pub const LONGEST: Period = Period::from_secs(90 * 86_400);

    /// How long it is, if it rolls.
    pub const fn rolling(self) -> Option<Period> {
        match self {
            Self::Rolling(length) => Some(length),
            _ => None,
        }
    }

    /// The windows of a budget by its name ([`budget_id`](super::budget_id)).
    pub fn of_budget(id: &str) -> Option<Self> {
        id.rsplit_once('/')?.1.parse().ok()
    }

    pub(crate) fn window(self, at: Timestamp, zone: &TimeZone) -> Option<BudgetWindow> {
        let now = jiff::Timestamp::from_microsecond(at.micros()).ok()?.to_zoned(zone.clone());
        let (start, end) = match self {
            Self::Rolling(_) => return Some(BudgetWindow::ALWAYS),
            Self::Hour => {
                // Hours of the clock on the wall; one that happens twice is two.
                let round = ZonedRound::new().smallest(Unit::Hour).mode(jiff::RoundMode::Floor);
                let start = now.round(round).ok()?;
                let end = start.checked_add(1.hour()).ok()?;
                (start, end)
            }
            Self::Day | Self::Week | Self::Month => {
                let today = now.date();
                let first = match self {
                    Self::Month => today.first_of_month(),
                    Self::Week => {
                        let days = today.weekday().to_monday_zero_offset();
                        today.checked_sub(i64::from(days).days()).ok()?
                    }
                    _ => today,
                };
                let next = match self {
                    Self::Month => first.checked_add(1.month()).ok()?,
                    Self::Week => first.checked_add(7.days()).ok()?,
                    _ => first.checked_add(1.day()).ok()?,
                };
                (first.to_zoned(zone.clone()).ok()?, next.to_zoned(zone.clone()).ok()?)
            }
        };
        let moment = |at: &jiff::Zoned| Timestamp::from_micros(at.timestamp().as_microsecond());
        Some(BudgetWindow { start: moment(&start), end: moment(&end) })
    }
}

impl fmt::Display for BudgetPeriod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hour => f.write_str("hour"),
            Self::Day => f.write_str("day"),
            Self::Week => f.write_str("week"),
            Self::Month => f.write_str("month"),
            Self::Rolling(length) => fmt::Display::fmt(length, f),
        }
    }
}

impl FromStr for BudgetPeriod {
    type Err = InvalidPeriod;
    fn from_str(text: &str) -> Result<Self, InvalidPeriod> {
        Ok(match text {
            "hour" => Self::Hour,
            "day" => Self::Day,
            "week" => Self::Week,
            "month" => Self::Month,
            length => Self::Rolling(length.parse()?),
        })
    }
}

impl Serialize for BudgetPeriod {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BudgetPeriod {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Word;
        impl de::Visitor<'_> for Word {
            type Value = BudgetPeriod;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("hour, day, week, month or a duration")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<BudgetPeriod, E> {
                text.parse().map_err(|error| match text.starts_with(|c: char| c.is_ascii_digit()) {
                    true => E::custom(error),
                    false => E::unknown_variant(text, &["hour", "day", "week", "month", "24h"]),
                })
            }
        }
        d.deserialize_str(Word)
    }
}

/// One window of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BudgetWindow {
    /// Its first moment.
    pub start: Timestamp,
    /// The first moment of the next one.
    pub end: Timestamp,
}

impl BudgetWindow {
    /// What a budget that rolls has instead: what it counts is known to who keeps its sums, and it has one account.
    pub const ALWAYS: Self = Self { start: Timestamp::from_micros(0), end: Timestamp::from_micros(i64::MAX) };

    /// Whether a moment is in it.
    pub fn holds(&self, at: Timestamp) -> bool {
        (self.start..self.end).contains(&at)
    }
}
