//! The days of a time zone: which moment a date means, and the hours, days, weeks and months around a moment.

use crate::{
    Timestamp,
    resource::budget::{BudgetPeriod, BudgetWindow},
};
use jiff::tz::TimeZone;

/// The calendar of a time zone.
#[derive(Clone, Debug)]
pub struct Calendar(TimeZone);

impl Calendar {
    /// That of a time zone, by its IANA name, as in `Europe/Berlin`; of UTC without one. `None`: nobody knows it.
    pub fn of(zone: Option<&str>) -> Option<Self> {
        zone.map_or(Some(TimeZone::UTC), |name| TimeZone::get(name).ok()).map(Self)
    }

    /// The moment that a text means: a time as in `2026-11-01T12:00:00Z`, or a date, which means its midnight here.
    pub fn moment(&self, text: &str) -> Option<Timestamp> {
        if let Ok(time) = text.parse() {
            return Some(time);
        }
        let date: jiff::civil::Date = text.parse().ok().filter(|_| text.len() == "2026-11-01".len())?;
        let midnight = date.to_zoned(self.0.clone()).ok()?;
        Some(Timestamp::from_micros(midnight.timestamp().as_microsecond()))
    }

    /// The hour, day, week or month that a moment is in; `None` outside of the calendar.
    pub fn window(&self, per: BudgetPeriod, at: Timestamp) -> Option<BudgetWindow> {
        per.window(at, &self.0)
    }

    /// A window of time cut where hours, days, weeks or months begin, in order; `None` where that is more than `most`
    /// pieces, or outside of the calendar.
    pub fn cut(&self, per: BudgetPeriod, (from, to): (Timestamp, Timestamp), most: usize) -> Option<Vec<BudgetWindow>> {
        let (mut pieces, mut start) = (Vec::new(), from);
        while start < to {
            let end = self.window(per, start)?.end.min(to);
            if end <= start || pieces.len() == most {
                return None;
            }
            pieces.push(BudgetWindow { start, end });
            start = end;
        }
        Some(pieces)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_date_is_its_midnight() {
        let of = |zone: Option<&str>, text: &str| Calendar::of(zone).unwrap().moment(text).map(|at| at.to_string());
        assert_eq!(of(None, "2026-11-01").as_deref(), Some("2026-11-01T00:00:00Z"));
        assert_eq!(of(Some("Europe/Berlin"), "2026-11-01").as_deref(), Some("2026-10-31T23:00:00Z"));
        assert_eq!(of(Some("Asia/Kathmandu"), "2026-11-01").as_deref(), Some("2026-10-31T18:15:00Z"));
        assert_eq!(of(Some("Europe/Berlin"), "2026-11-01T12:00:00Z").as_deref(), Some("2026-11-01T12:00:00Z"));
        for wrong in ["", "yesterday", "2026-13-01", "2026-11-01T12:00", "20261101", "2026-11-1"] {
            assert_eq!(of(None, wrong), None, "{wrong}");
        }
        assert!(Calendar::of(Some("Europe/Atlantis")).is_none());
    }

    #[test]
    fn windows_are_cut_where_days_begin() {
        let berlin = Calendar::of(Some("Europe/Berlin")).unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        // The clocks go back on 25 October 2026.
        let window = (at("2026-10-24T12:00:00Z"), at("2026-10-26T01:00:00Z"));
        let cut = berlin.cut(BudgetPeriod::Day, window, 10).unwrap();
        let hours: Vec<_> = cut.iter().map(|w| (w.end.secs() - w.start.secs()) / 3600).collect();
        assert_eq!(hours, [10, 25, 2]);
        assert!(berlin.cut(BudgetPeriod::Day, window, 2).is_none(), "more than were allowed");
        assert_eq!(berlin.cut(BudgetPeriod::Day, (window.1, window.0), 2).unwrap(), []);
    }

    proptest! {
        /// Pieces follow one another without a gap, whatever the zone.
        #[test]
        fn pieces_cover_the_window(
            from in 1_500_000_000i64..2_000_000_000, length in 1i64..20_000_000, zone in 0usize..5, per in 0usize..4
        ) {
            let zone = ["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia"][zone];
            let per = [BudgetPeriod::Hour, BudgetPeriod::Day, BudgetPeriod::Week, BudgetPeriod::Month][per];
            let (from, to) = (Timestamp::from_secs(from), Timestamp::from_secs(from + length));
            let cut = Calendar::of(Some(zone)).unwrap().cut(per, (from, to), usize::MAX).unwrap();
            prop_assert_eq!((cut[0].start, cut[cut.len() - 1].end), (from, to));
            prop_assert!(cut.windows(2).all(|pair| pair[0].end == pair[1].start));
            // In all of these a day begins with a quarter of an hour.
            prop_assert!(cut[1..].iter().all(|piece| piece.start.secs() % 900 == 0));
        }
    }
}
