//! Budgets: how much money may be spent in each hour, day, week or month, or in any time so long.
//!
//! Amounts are exact decimals in US dollars. Where they are added up they are counted in whole units of 10^-12 US
//! dollars ([`pico`]), which is exact for every price with up to six decimals a million tokens; what is finer is
//! rounded up, call by call. Nothing here counts or reads a clock.

mod period;
mod usd;

use super::Kind;
use crate::{Name, Timestamp};
use jiff::tz::TimeZone;
pub use period::{BudgetPeriod, BudgetWindow};
use serde::{Deserialize, Deserializer, Serialize, de};
use std::fmt;
pub use usd::{InvalidUsd, Usd, pico, usd, usd_of_sum};

/// How much may be spent in each window of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// US dollars for each window, above zero and at most 4,000,000.
    pub usd: Usd,
    /// The window, which begins with each full hour, midnight, Monday or first of a month; or a duration, as in `24h`: then
    /// no window so long, wherever it begins, has more.
    #[schema(value_type = String, pattern = "^(hour|day|week|month|[1-9][0-9]*(ms|s|m|h|d))$", examples("month", "24h"))]
    pub per: BudgetPeriod,
    /// The time zone whose days, weeks and months count, by its IANA name, as in `Europe/Berlin`. UTC unless set; a window
    /// that rolls has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Whether calls that it cannot pay are refused. Otherwise they go on, and the overrun is told of.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hard: bool,
    /// From so many percent on it is told that the budget is running out, 1 to 99. 80 unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warn_at: Option<u8>,
    /// What happens to calls once it is used up. Not for a hard budget, which refuses them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_used_up: Option<WhenUsedUp>,
}

/// What happens to calls that a budget pays for once it is used up: one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WhenUsedUp {
    /// The model, by its public name, that serves them instead of the one that they ask for. Not for the budget of a
    /// provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Name>,
    /// Whether targets at the provider are passed over, as long as another one may serve. For the budget of a provider only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub next_target: bool,
}

impl Budget {
    /// Largest amount: sums of twice as much are still counted exactly.
    pub const MOST_USD: u32 = 4_000_000;
    /// When a warning comes that is not set.
    pub const WARN_AT: u8 = 80;

    /// The window that a moment is in; of one that rolls [`BudgetWindow::ALWAYS`]. An unknown time zone counts as UTC; the check of a configuration refuses it.
    pub fn window(&self, at: Timestamp) -> BudgetWindow {
        let zone = self.time_zone.as_deref().and_then(|name| TimeZone::get(name).ok()).unwrap_or(TimeZone::UTC);
        self.per.window(at, &zone).unwrap_or(BudgetWindow::ALWAYS)
    }

    /// The limit in units of 10^-12 US dollars.
    pub fn pico(&self) -> i64 {
        pico(self.usd.amount())
    }
}

/// The budgets of one thing: one, or a list of several, of which each has other windows. All of them pay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Budgets {
    /// One.
    One(Budget),
    /// Several.
    Several(Vec<Budget>),
}

impl Budgets {
    /// Most budgets of one thing.
    pub const MOST: usize = 8;

    /// As they are written.
    pub fn as_slice(&self) -> &[Budget] {
        match self {
            Self::One(budget) => std::slice::from_ref(budget),
            Self::Several(budgets) => budgets,
        }
    }

    /// Those that a thing has, if any.
    pub fn of(budgets: Option<&Self>) -> &[Budget] {
        budgets.map_or(&[], Self::as_slice)
    }
}

/// The name under which [`Budgets`] is deserialized: a list may stand where a mapping could.
pub(crate) const ONE_OR_SEVERAL: &str = "OneOrSeveral";

impl<'de> Deserialize<'de> for Budgets {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct OneOrSeveral;
        impl<'de> de::Visitor<'de> for OneOrSeveral {
            type Value = Budgets;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a budget or a list of budgets")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, fields: A) -> Result<Budgets, A::Error> {
                Budget::deserialize(de::value::MapAccessDeserializer::new(fields)).map(Budgets::One)
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Budgets, A::Error> {
                let mut budgets = Vec::new();
                while let Some(budget) = items.next_element()? {
                    budgets.push(budget);
                }
                Ok(Budgets::Several(budgets))
            }
        }
        d.deserialize_struct(
            ONE_OR_SEVERAL,
            &["usd", "per", "time_zone", "hard", "warn_at", "when_used_up"],
            OneOrSeveral,
        )
    }
}

/// Names a budget wherever its money is counted, as in `applications/checkout/month`. Two budgets never share a name,
/// and one keeps its name while its amount changes.
pub fn budget_id(kind: Kind, name: &str, budget: &Budget) -> String {
    format!("{}/{name}/{}", kind.as_str(), budget.per)
}

/// Begins the names of budgets that end users of applications have, each one of its own.
pub const OF_USERS: &str = "users";

/// Names the budget of an end user of an application, as in `users/checkout/ada%40example.com/month`. What a user is called
/// is up to callers, so every sign that has a meaning in such names is written `%XX`.
pub fn user_budget_id(application: &str, user: &str, budget: &Budget) -> String {
    let mut id = format!("{OF_USERS}/{application}/");
    for byte in user.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => id.push(char::from(byte)),
            _ => id.push_str(&format!("%{byte:02X}")),
        }
    }
    format!("{id}/{}", budget.per)
}

/// Whose budget a name from [`user_budget_id`] is: the application and the end user.
pub fn user_of_budget(id: &str) -> Option<(&str, String)> {
    let (application, rest) = id.strip_prefix(OF_USERS)?.strip_prefix('/')?.split_once('/')?;
    let (written, _) = rest.rsplit_once('/')?;
    let (mut bytes, mut left) = (Vec::with_capacity(written.len()), written.bytes());
    while let Some(byte) = left.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                u8::try_from(digit(left.next())? * 16 + digit(left.next())?).ok()?
            }
            plain => plain,
        });
    }
    Some((application, String::from_utf8(bytes).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(per: BudgetPeriod, zone: Option<&str>) -> Budget {
        Budget {
            usd: "50".parse().unwrap(),
            per,
            time_zone: zone.map(str::to_owned),
            hard: true,
            warn_at: None,
            when_used_up: None,
        }
    }

    fn window(per: BudgetPeriod, zone: Option<&str>, at: &str) -> (String, String) {
        let at: Timestamp = at.parse().unwrap();
        let window = budget(per, zone).window(at);
        assert!(window.holds(at), "{window:?} lacks {at}");
        assert!(!window.holds(window.end));
        assert_eq!(budget(per, zone).window(window.end).start, window.end, "the next one follows at once");
        (window.start.to_string(), window.end.to_string())
    }

    #[test]
    fn windows_follow_the_calendar_of_their_zone() {
        use BudgetPeriod::{Day, Hour, Month, Week};
        let of = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let at = "2026-11-22T20:15:30Z";
        assert_eq!(window(Hour, None, at), of("2026-11-22T20:00:00Z", "2026-11-22T21:00:00Z"));
        assert_eq!(window(Hour, Some("Asia/Kolkata"), at), of("2026-11-22T19:30:00Z", "2026-11-22T20:30:00Z"));
        assert_eq!(window(Day, None, at), of("2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"));
        assert_eq!(window(Day, Some("Asia/Tokyo"), at), of("2026-11-22T15:00:00Z", "2026-11-23T15:00:00Z"));
        assert_eq!(window(Week, None, at), of("2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"));
        assert_eq!(window(Month, None, at), of("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"));
        // The clocks go back on 25 October 2026: that day has 25 hours, and one hour comes twice.
        let berlin = Some("Europe/Berlin");
        let back = "2026-10-25T00:30:00Z";
        assert_eq!(window(Day, berlin, back), of("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"));
        assert_eq!(window(Hour, berlin, back), of("2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"));
        assert_eq!(window(Hour, berlin, "2026-10-25T01:30:00Z"), of("2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"));
        assert_eq!(window(Month, berlin, back), of("2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"));
    }

    #[test]
    fn whole_dollars_may_be_a_number() {
        let read = |json: &str| serde_json::from_str::<Budget>(json).map(|b| b.usd.to_string());
        assert_eq!(read(r#"{"usd": 50, "per": "month"}"#).unwrap(), "50");
        assert_eq!(read(r#"{"usd": "0.5", "per": "day"}"#).unwrap(), "0.5");
        assert!(read(r#"{"usd": 0.5, "per": "day"}"#).is_err(), "a float is not exact");
        assert!(read(r#"{"usd": -5, "per": "day"}"#).is_err());
    }

    #[test]
    fn a_window_of_a_length_rolls() {
        let read = |per: &str| serde_json::from_value::<Budget>(serde_json::json!({ "usd": 1, "per": per }));
        let budget = read("24h").unwrap();
        assert_eq!(budget.per, read("1440m").unwrap().per, "one length has one name");
        assert_eq!(budget_id(Kind::Keys, "k", &budget), "keys/k/1d");
        assert_eq!(BudgetPeriod::of_budget("models/a/b/1d"), Some(budget.per));
        assert_eq!(BudgetPeriod::of_budget("models/a/week"), Some(BudgetPeriod::Week));
        assert_eq!(BudgetPeriod::of_budget("models"), None);
        assert_eq!(serde_json::to_value(&budget).unwrap()["per"], "1d");
        for at in ["1999-12-31T23:59:59Z", "2026-11-22T20:15:30Z"] {
            assert_eq!(budget.window(at.parse().unwrap()), BudgetWindow::ALWAYS);
        }
        for (bad, why) in [("fortnight", "unknown variant"), ("24", "a duration is"), ("0h", "a duration is")] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn a_user_has_a_budget_of_a_name_that_nobody_else_has() {
        let month = budget(BudgetPeriod::Month, None);
        let of = |user: &str| user_budget_id("checkout", user, &month);
        assert_eq!(of("ada@example.com"), "users/checkout/ada%40example.com/month");
        assert_eq!(BudgetPeriod::of_budget(&of("a/b")), Some(BudgetPeriod::Month));
        for user in ["ada", "a b", "a=1 b@2/c", "%41", "A", "über\u{1F600}", "x/day", "."] {
            let id = of(user);
            assert!(!id.contains([' ', '=', '@']), "{id}");
            assert_eq!(user_of_budget(&id), Some(("checkout", user.to_owned())), "{id}");
        }
        for none in [
            "applications/checkout/month",
            "users/checkout",
            "users/checkout/month",
            "users/a/%4/month",
            "users/a/%FF/day",
        ] {
            assert_eq!(user_of_budget(none), None, "{none}");
        }
    }

    #[test]
    fn one_or_several_are_read_and_written_as_they_are() {
        for written in [
            serde_json::json!({ "usd": "5", "per": "day" }),
            serde_json::json!([{ "usd": "5", "per": "day" }, { "usd": "50", "per": "month", "hard": true }]),
            serde_json::json!([]),
        ] {
            let read: Budgets = serde_json::from_value(written.clone()).unwrap();
            assert_eq!(serde_json::to_value(&read).unwrap(), written);
            assert_eq!(Budgets::of(Some(&read)).len(), written.as_array().map_or(1, Vec::len));
        }
        assert!(serde_json::from_str::<Budgets>("7").is_err());
        assert!(serde_json::from_str::<Budgets>(r#"{"usd": 5, "per": "day", "x": 1}"#).is_err());
        assert!(serde_json::from_str::<Budgets>(r#"[{"usd": 5}]"#).is_err());
        assert_eq!(Budgets::of(None), []);
    }
}
