//! How fast and where a call asks to be served, and was, as far as providers charge for that apart from its tokens.
//!
//! Prices are the usual ones unless a tier has its own ([`PriceHandle::in_tier`](crate::PriceHandle::in_tier)). What is dearer
//! than usual and has no price must neither be held back nor told as if it cost the usual one.

use aho_corasick::AhoCorasick;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::{fmt, sync::LazyLock};

/// A way of serving calls that may have prices of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// `service_tier: priority`, which OpenAI calls `fast` too; `serviceTier` of Gemini and Bedrock.
    Priority,
    /// `service_tier: flex`, and `serviceTier`: later, and cheaper.
    Flex,
    /// `service_tier: ultrafast`.
    Ultrafast,
    /// Anthropic's `speed: fast`.
    Fast,
    /// Anthropic's `inference_geo: us`.
    Us,
}

impl Tier {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Priority, Self::Flex, Self::Ultrafast, Self::Fast, Self::Us];

    /// As `tiers` of prices call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Priority => "priority",
            Self::Flex => "flex",
            Self::Ultrafast => "ultrafast",
            Self::Fast => "fast",
            Self::Us => "us",
        }
    }

    /// Whether `service_tier` names it, so that an answer's `service_tier` tells of it.
    const fn is_of_service(self) -> bool {
        matches!(self, Self::Priority | Self::Flex | Self::Ultrafast)
    }
}

/// What a call asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    /// What the usual prices are for.
    #[default]
    Usual,
    /// What the provider's own settings for the account say.
    Auto,
    /// A tier, by the field that says so.
    Tier(Tier, &'static str),
    /// What costs less than usual, and has no price of its own.
    Cheaper,
    /// What costs more than usual and has no price of its own, by the field that says so.
    Dearer(&'static str),
}

/// What an answer tells of how it was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// As usual, says its `service_tier`.
    Usual,
    /// As usual, say its `speed` and its `inference_geo`.
    UsualSpeedAndPlace,
    /// In a tier.
    Tier(Tier),
    /// In a way that costs no more than usual, such as what was bought ahead.
    Cheaper,
    /// In a way that may cost more than usual and has no price of its own.
    Dearer,
}

/// The fields that speak of it, in all dialects.
const FIELDS: &[&str] = &["service_tier", "serviceTier", "speed", "inference_geo", "performanceConfig"];

/// Finds any of them, or the escapes of ASCII letters with which one could be written, in one pass.
static FINDER: LazyLock<Option<AhoCorasick>> =
    LazyLock::new(|| AhoCorasick::new(FIELDS.iter().copied().chain(["\\u00"])).ok());

impl Asked {
    /// By the body of a conversation as the provider gets it, in any dialect. Where a field stands twice, the dearer word
    /// counts, as providers differ in which they take.
    pub fn of(body: &[u8]) -> Self {
        if FINDER.as_ref().is_some_and(|finder| !finder.is_match(body)) {
            return Self::Usual;
        }
        serde_json::from_slice::<Fields>(body).map_or(Self::Usual, |fields| fields.0)
    }

    fn of_field(field: &'static str, value: &RawValue) -> Self {
        #[derive(Default, serde::Deserialize)]
        struct Object<'a> {
            #[serde(borrow, default)]
            r#type: Option<&'a RawValue>,
            #[serde(borrow, default)]
            latency: Option<&'a RawValue>,
        }
        // Bedrock's are objects.
        let word = match serde_json::from_str::<Object<'_>>(value.get()) {
            Ok(Object { r#type, latency }) => r#type.or(latency),
            Err(_) => Some(value),
        };
        let Some(word) = word.filter(|word| word.get() != "null") else { return Self::Usual };
        let word: String = serde_json::from_str(word.get()).unwrap_or_default();
        match (field, &*word.to_ascii_lowercase()) {
            ("inference_geo", "global") => Self::Usual,
            ("inference_geo", "us") => Self::Tier(Tier::Us, field),
            ("inference_geo", _) => Self::Dearer(field),
            (_, "default" | "standard" | "standard_only" | "on_demand" | "normal" | "unspecified") => Self::Usual,
            (_, "service_tier_unspecified" | "reserved") => Self::Usual,
            ("speed", "fast") => Self::Tier(Tier::Fast, field),
            ("service_tier", "auto") => Self::Auto,
            (_, "auto") => Self::Usual,
            ("service_tier" | "serviceTier", "flex") => Self::Tier(Tier::Flex, field),
            ("service_tier" | "serviceTier", "batch") => Self::Cheaper,
            ("service_tier" | "serviceTier", "priority") | ("service_tier", "fast") => {
                Self::Tier(Tier::Priority, field)
            }
            ("service_tier", "ultrafast") => Self::Tier(Tier::Ultrafast, field),
            _ => Self::Dearer(field),
        }
    }

    /// Of two, the dearer one; of two tiers that are both dearer than usual, neither has the price of both.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Dearer(field), _) | (_, Self::Dearer(field)) => Self::Dearer(field),
            (Self::Tier(Tier::Flex, _), dearer @ (Self::Tier(..) | Self::Auto | Self::Usual))
            | (dearer @ (Self::Tier(..) | Self::Auto | Self::Usual), Self::Tier(Tier::Flex, _)) => dearer,
            (Self::Tier(one, _), Self::Tier(two, field)) if one != two => Self::Dearer(field),
            (tier @ Self::Tier(..), _) | (_, tier @ Self::Tier(..)) => tier,
            (Self::Auto, _) | (_, Self::Auto) => Self::Auto,
            (Self::Usual, _) | (_, Self::Usual) => Self::Usual,
            (Self::Cheaper, Self::Cheaper) => Self::Cheaper,
        }
    }

    /// Whether what an answer tells is about what was asked. What it does not speak of it may have been served by all the
    /// same.
    pub(crate) const fn is_answered_by(self, served: Served) -> bool {
        match (self, served) {
            (Self::Tier(tier, _), Served::Usual | Served::Cheaper) => tier.is_of_service(),
            (Self::Tier(tier, _), Served::UsualSpeedAndPlace) => !tier.is_of_service(),
            (Self::Dearer(_), _) => false,
            _ => true,
        }
    }
}

impl Served {
    /// By an answer's `service_tier`, which OpenAI and those who speak like it tell. Nothing where it tells nothing.
    pub(crate) fn by_service_tier(value: &RawValue) -> Option<Self> {
        let text = value.get();
        let word = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let is = |words: &[&str]| word.is_some_and(|word| words.iter().any(|known| word.eq_ignore_ascii_case(known)));
        if text == "null" || is(&["auto", ""]) {
            return None;
        }
        Some(match () {
            () if is(&["default", "standard", "on_demand"]) => Self::Usual,
            () if is(&["priority", "fast"]) => Self::Tier(Tier::Priority),
            () if is(&["flex"]) => Self::Tier(Tier::Flex),
            () if is(&["ultrafast"]) => Self::Tier(Tier::Ultrafast),
            () if is(&["scale", "batch", "reserved"]) => Self::Cheaper,
            () => Self::Dearer,
        })
    }

    /// By `speed` and `inference_geo`, which Anthropic tells with its usage. Nothing where they do not tell all.
    pub(crate) fn by_speed_and_place(speed: Option<&str>, place: Option<&str>) -> Option<Self> {
        let is_fast = speed.map(|speed| speed == "fast");
        match (is_fast, place) {
            (Some(true), Some("us")) => Some(Self::Dearer),
            (_, Some(place)) if !matches!(place, "us" | "global" | "not_available") => Some(Self::Dearer),
            (Some(true), _) => Some(Self::Tier(Tier::Fast)),
            (_, Some("us")) => Some(Self::Tier(Tier::Us)),
            (Some(false), Some(_)) => Some(Self::UsualSpeedAndPlace),
            (None, _) | (Some(false), None) => None,
        }
    }
}

struct Fields(Asked);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut asked: Option<Asked> = None;
                while let Some(Name(field)) = map.next_key()? {
                    let Some(field) = field else {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    };
                    let told = Asked::of_field(field, map.next_value()?);
                    // Only what the tier itself is called is dearer than a cheap one by being usual.
                    if told != Asked::Usual || matches!(field, "service_tier" | "serviceTier") {
                        asked = Some(asked.map_or(told, |before| before.or(told)));
                    }
                }
                Ok(Fields(asked.unwrap_or_default()))
            }
        }
        d.deserialize_map(V)
    }
}

/// Which of the fields a name is, after unescaping; no allocation.
struct Name(Option<&'static str>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = Name;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Name, E> {
                Ok(Name(FIELDS.iter().find(|field| **field == name).copied()))
            }
        }
        d.deserialize_str(V)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_costs_more_is_told_from_what_does_not() {
        use Asked::{Auto, Cheaper, Dearer, Usual};
        use Tier::{Fast, Flex, Priority, Ultrafast, Us};
        const SERVICE: &str = "service_tier";
        const GOOGLES: &str = "serviceTier";
        for (body, asked) in [
            (r#"{"model":"m"}"#, Usual),
            (r#"{"service_tier":"auto"}"#, Auto),
            (r#"{"service_tier":null,"speed":null,"inference_geo":"global"}"#, Usual),
            (r#"{"service_tier":"standard_only","speed":"standard"}"#, Usual),
            (r#"{"service_tier":"flex"}"#, Asked::Tier(Flex, SERVICE)),
            (r#"{"service_tier":"batch"}"#, Cheaper),
            (r#"{"service_tier":"priority"}"#, Asked::Tier(Priority, SERVICE)),
            (r#"{"service_tier":"fast"}"#, Asked::Tier(Priority, SERVICE)),
            (r#"{"service_tier":"ultrafast"}"#, Asked::Tier(Ultrafast, SERVICE)),
            (r#"{"service_tier":"what there may be one day"}"#, Dearer(SERVICE)),
            (r#"{"service_tier":7}"#, Dearer(SERVICE)),
            (r#"{"service\u005ftier":"priority"}"#, Asked::Tier(Priority, SERVICE)),
            (r#"{"service_tier":"p\u0072iority"}"#, Asked::Tier(Priority, SERVICE)),
            // In either order.
            (r#"{"service_tier":"priority","service_tier":"flex"}"#, Asked::Tier(Priority, SERVICE)),
            (r#"{"service_tier":"flex","service_tier":"priority"}"#, Asked::Tier(Priority, SERVICE)),
            (r#"{"service_tier":"default","service_tier":"auto"}"#, Auto),
            (r#"{"service_tier":"priority","service_tier":"auto"}"#, Asked::Tier(Priority, SERVICE)),
            (r#"{"service_tier":"auto","service_tier":"ultrafast"}"#, Asked::Tier(Ultrafast, SERVICE)),
            (r#"{"service_tier":"flex","service_tier":"auto"}"#, Auto),
            (r#"{"service_tier":"priority","service_tier":"ultrafast"}"#, Dearer(SERVICE)),
            (r#"{"service_tier":"flex","service_tier":"default"}"#, Usual),
            (r#"{"serviceTier":"STANDARD","serviceTier":"FLEX"}"#, Usual),
            (r#"{"service_tier":"batch","service_tier":"default"}"#, Usual),
            (r#"{"speed":"standard","service_tier":"flex"}"#, Asked::Tier(Flex, SERVICE)),
            (r#"{"speed":"flex"}"#, Dearer("speed")),
            (r#"{"speed":"fast"}"#, Asked::Tier(Fast, "speed")),
            (r#"{"speed":"faster"}"#, Dearer("speed")),
            (r#"{"inference_geo":"us"}"#, Asked::Tier(Us, "inference_geo")),
            (r#"{"inference_geo":"eu"}"#, Dearer("inference_geo")),
            // Both are paid for.
            (r#"{"speed":"fast","inference_geo":"us"}"#, Dearer("inference_geo")),
            (r#"{"serviceTier":"PRIORITY"}"#, Asked::Tier(Priority, GOOGLES)),
            (r#"{"serviceTier":"FLEX"}"#, Asked::Tier(Flex, GOOGLES)),
            (r#"{"serviceTier":{"type":"priority"}}"#, Asked::Tier(Priority, GOOGLES)),
            (r#"{"serviceTier":{"type":"default"},"performanceConfig":{"latency":"standard"}}"#, Usual),
            (r#"{"performanceConfig":{"latency":"optimized"}}"#, Dearer("performanceConfig")),
            (r#"{"performanceConfig":{"latency":"priority"}}"#, Dearer("performanceConfig")),
            // Said of something else.
            (r#"{"metadata":{"service_tier":"priority"},"messages":["speed"]}"#, Usual),
            ("[]", Usual),
        ] {
            assert_eq!(Asked::of(body.as_bytes()), asked, "{body}");
        }
    }

    #[test]
    fn an_answer_tells_how_it_was_served() {
        use Served::{Cheaper, Dearer, Tier as In, Usual, UsualSpeedAndPlace};
        for (value, served) in [
            (r#""default""#, Some(Usual)),
            (r#""on_demand""#, Some(Usual)),
            (r#""priority""#, Some(In(Tier::Priority))),
            (r#""fast""#, Some(In(Tier::Priority))),
            (r#""flex""#, Some(In(Tier::Flex))),
            (r#""ultrafast""#, Some(In(Tier::Ultrafast))),
            (r#""scale""#, Some(Cheaper)),
            (r#""what there may be one day""#, Some(Dearer)),
            ("7", Some(Dearer)),
            (r#""auto""#, None),
            ("null", None),
        ] {
            let raw: &RawValue = serde_json::from_str(value).unwrap();
            assert_eq!(Served::by_service_tier(raw), served, "{value}");
        }
        for (speed, place, served) in [
            (Some("standard"), Some("global"), Some(UsualSpeedAndPlace)),
            (Some("standard"), Some("not_available"), Some(UsualSpeedAndPlace)),
            (Some("fast"), Some("global"), Some(In(Tier::Fast))),
            (Some("fast"), None, Some(In(Tier::Fast))),
            (Some("standard"), Some("us"), Some(In(Tier::Us))),
            (None, Some("us"), Some(In(Tier::Us))),
            (Some("fast"), Some("us"), Some(Dearer)),
            (None, Some("eu"), Some(Dearer)),
            (Some("standard"), None, None),
            (None, Some("global"), None),
            (None, None, None),
        ] {
            assert_eq!(Served::by_speed_and_place(speed, place), served, "{speed:?} {place:?}");
        }
    }
}
