//! When a credential's next rotation begins: its period, a spread, a window in a time zone. Pure.

use crate::{
    Name, Period, Timestamp,
    resource::{RotateRule, RotateWindow, Weekday},
};
use jiff::{ToSpan, civil::Time, tz::TimeZone};

/// Whether there is a time zone of this name.
pub fn is_zone(name: &str) -> bool {
    TimeZone::get(name).is_ok()
}

/// When the rotation after the one at `since` begins by itself; `None` where the rule names no period.
///
/// A zone that is not known any more counts as UTC, so that nothing stays unrotated for it.
pub fn next_rotation(rule: &RotateRule, credential: &Name, since: Timestamp) -> Option<Timestamp> {
    let due = since.plus(rule.every?);
    let spread = |most: u64| Period::from_millis(part(credential, most));
    let jitter = rule.jitter.map_or(0, Period::as_millis);
    let spread_due = if jitter == 0 { due } else { due.plus(spread(jitter)) };
    let Some(window) = &rule.window else { return Some(spread_due) };
    match open_at(window, spread_due) {
        Some((from, _)) if from <= spread_due => Some(spread_due),
        // Outside the window the spread would be lost: all that wait for it would begin as it opens.
        Some((from, to)) => {
            let length = u64::try_from((to.micros() - from.micros()) / 1000).unwrap_or(0);
            let most = jitter.min(length.saturating_sub(1));
            Some(if most == 0 { from } else { from.plus(spread(most)) })
        }
        None => Some(spread_due),
    }
}

/// The window that is open at a moment, or the next one: when it opens and when it closes.
fn open_at(window: &RotateWindow, at: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let zone = TimeZone::get(&window.zone).unwrap_or(TimeZone::UTC);
    let today = jiff::Timestamp::from_microsecond(at.micros()).ok()?.to_zoned(zone.clone()).date();
    let time = |t: crate::resource::TimeOfDay| Time::new(t.hour() as i8, t.minute() as i8, 0, 0).ok();
    let (from, to) = (time(window.from)?, time(window.to)?);
    // Yesterday's may reach into today; a week ahead has every day, and one more where a change of the
    // clock swallows a window.
    for offset in -1..=15 {
        let day = today.checked_add(offset.days()).ok()?;
        if !window.days.is_empty() && !window.days.contains(&weekday(day.weekday())) {
            continue;
        }
        let last = if to > from { day } else { day.tomorrow().ok()? };
        let moment = |day: jiff::civil::Date, time: Time| {
            let zoned = day.to_datetime(time).to_zoned(zone.clone()).ok()?;
            Some(Timestamp::from_micros(zoned.timestamp().as_microsecond()))
        };
        let (opens, closes) = (moment(day, from)?, moment(last, to)?);
        if opens < closes && at < closes {
            return Some((opens, closes));
        }
    }
    None
}

const fn weekday(day: jiff::civil::Weekday) -> Weekday {
    use jiff::civil::Weekday as W;
    match day {
        W::Monday => Weekday::Mon,
        W::Tuesday => Weekday::Tue,
        W::Wednesday => Weekday::Wed,
        W::Thursday => Weekday::Thu,
        W::Friday => Weekday::Fri,
        W::Saturday => Weekday::Sat,
        W::Sunday => Weekday::Sun,
    }
}

/// A number up to `most` that follows from a name, spread evenly over names (FNV-1a, mixed).
fn part(name: &Name, most: u64) -> u64 {
    let hash = name
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed ^ (mixed >> 27)) % (most + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn rule(json: serde_json::Value) -> RotateRule {
        serde_json::from_value(json).unwrap()
    }

    fn check(window: serde_json::Value, due: &str, expect: &str) {
        let rule = rule(serde_json::json!({ "every": "1d", "window": window }));
        let since = Timestamp::from_micros(at(due).micros() - 86_400_000_000);
        let found = next_rotation(&rule, &name("a"), since).unwrap();
        assert_eq!(found, at(expect), "due {due}");
    }

    #[test]
    fn windows_open_in_their_zone_also_past_midnight_and_over_a_change_of_the_clock() {
        let berlin =
            serde_json::json!({ "days": ["sat", "sun"], "from": "22:00", "to": "04:00", "zone": "Europe/Berlin" });
        check(berlin.clone(), "2026-11-18T12:00:00Z", "2026-11-21T21:00:00Z");
        check(berlin.clone(), "2026-11-22T02:30:00Z", "2026-11-22T02:30:00Z");
        check(berlin.clone(), "2026-11-22T03:00:00Z", "2026-11-22T21:00:00Z");
        // Sunday's window reaches into Monday, which is not in the list.
        check(berlin.clone(), "2026-11-23T01:00:00Z", "2026-11-23T01:00:00Z");
        check(berlin, "2026-07-01T00:00:00Z", "2026-07-04T20:00:00Z");
        let gap = serde_json::json!({ "from": "02:00", "to": "03:00", "zone": "Europe/Berlin" });
        // On 29 March 2026 there is no time between two and three; the window is as long as nothing.
        check(gap, "2026-03-29T00:10:00Z", "2026-03-30T00:00:00Z");
        let day = serde_json::json!({ "days": ["mon"], "from": "00:00", "to": "00:00" });
        check(day, "2026-11-22T10:00:00Z", "2026-11-23T00:00:00Z");
    }

    #[test]
    fn without_a_period_nothing_is_due() {
        assert_eq!(next_rotation(&RotateRule::default(), &name("a"), at("2026-01-01T00:00:00Z")), None);
    }

    #[test]
    fn the_spread_is_even_and_always_the_same_for_a_name() {
        let rule = rule(serde_json::json!({ "every": "1h", "jitter": "100s" }));
        let since = at("2026-01-01T00:00:00Z");
        let mut tenths = [0u32; 10];
        for i in 0..1000 {
            let name = name(&format!("credential-{i}"));
            let late = next_rotation(&rule, &name, since).unwrap().micros() - since.micros() - 3_600_000_000;
            assert!((0..=100_000_000).contains(&late));
            assert_eq!(next_rotation(&rule, &name, since).unwrap().micros() - since.micros() - 3_600_000_000, late);
            tenths[usize::try_from(late / 10_000_001).unwrap()] += 1;
        }
        assert!(tenths.iter().all(|n| (60..=140).contains(n)), "{tenths:?}");
    }

    proptest! {
        #[test]
        fn what_begins_begins_in_the_window_and_not_before_it_is_due(
            secs in 1_700_000_000i64..1_900_000_000, from in 0u16..1440, to in 0u16..1440, jitter in 1u64..200_000,
            days in prop::collection::vec(prop::sample::select(vec!["mon", "wed", "sun"]), 0..3),
        ) {
            let text = |m: u16| format!("{:02}:{:02}", m / 60, m % 60);
            let rule = rule(serde_json::json!({ "every": "1d", "jitter": format!("{}s", jitter.min(86_400)),
                "window": { "days": days, "from": text(from), "to": text(to), "zone": "America/New_York" } }));
            let since = Timestamp::from_secs(secs);
            let begins = next_rotation(&rule, &name("orders-token"), since).unwrap();
            prop_assert!(begins >= since.plus(Period::from_secs(86_400)));
            let (opens, closes) = open_at(rule.window.as_ref().unwrap(), begins).unwrap();
            prop_assert!(opens <= begins && begins < closes);
        }
    }
}
