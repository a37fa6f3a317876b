//! How fast and where a call asks to be served, as far as providers charge for that apart from its tokens.
//!
//! The prices that are known are the usual ones. What is dearer than that by the caller's own word has no price here: it
//! must neither be held back nor told as if it cost the usual one.

use memchr::memmem;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// What a call asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tier {
    /// What the usual prices are for.
    #[default]
    Usual,
    /// What costs less than that, and no more.
    Cheaper,
    /// What costs more than that, by the field that says so.
    Dearer(&'static str),
}

/// The fields that speak of it, in all dialects.
const FIELDS: &[&str] = &["service_tier", "serviceTier", "speed", "inference_geo", "performanceConfig"];

impl Tier {
    /// Of the body of a conversation as the provider gets it, in any dialect. Where a field stands twice, the dearer word
    /// counts, as providers differ in which they take.
    pub fn of(body: &[u8]) -> Self {
        // A name can only be written otherwise with escapes.
        let named = FIELDS.iter().any(|field| memmem::find(body, field.as_bytes()).is_some());
        if !named && memmem::find(body, b"\\u").is_none() {
            return Self::Usual;
        }
        serde_json::from_slice::<Asked>(body).map_or(Self::Usual, |asked| asked.0)
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
            ("inference_geo", _) => Self::Dearer(field),
            (_, "auto" | "default" | "standard" | "standard_only" | "on_demand" | "normal" | "unspecified") => {
                Self::Usual
            }
            (_, "service_tier_unspecified" | "reserved") => Self::Usual,
            (_, "flex" | "batch") => Self::Cheaper,
            _ => Self::Dearer(field),
        }
    }

    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Dearer(field), _) | (_, Self::Dearer(field)) => Self::Dearer(field),
            (Self::Cheaper, _) | (_, Self::Cheaper) => Self::Cheaper,
            (Self::Usual, Self::Usual) => Self::Usual,
        }
    }
}

struct Asked(Tier);

impl<'de> Deserialize<'de> for Asked {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Asked;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Asked, A::Error> {
                let mut tier = Tier::Usual;
                while let Some(Name(field)) = map.next_key()? {
                    match field {
                        Some(field) => tier = tier.or(Tier::of_field(field, map.next_value()?)),
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(Asked(tier))
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
    use super::*;

    #[test]
    fn what_costs_more_is_told_from_what_does_not() {
        use Tier::{Cheaper, Dearer, Usual};
        for (body, tier) in [
            (r#"{"model":"m"}"#, Usual),
            (r#"{"service_tier":"auto"}"#, Usual),
            (r#"{"service_tier":null,"speed":null,"inference_geo":"global"}"#, Usual),
            (r#"{"service_tier":"standard_only","speed":"standard"}"#, Usual),
            (r#"{"service_tier":"flex"}"#, Cheaper),
            (r#"{"service_tier":"priority"}"#, Dearer("service_tier")),
            (r#"{"service_tier":"what there may be one day"}"#, Dearer("service_tier")),
            (r#"{"service_tier":7}"#, Dearer("service_tier")),
            (r#"{"service\u005ftier":"priority"}"#, Dearer("service_tier")),
            (r#"{"service_tier":"p\u0072iority"}"#, Dearer("service_tier")),
            // In either order.
            (r#"{"service_tier":"priority","service_tier":"flex"}"#, Dearer("service_tier")),
            (r#"{"service_tier":"flex","service_tier":"priority"}"#, Dearer("service_tier")),
            (r#"{"speed":"fast"}"#, Dearer("speed")),
            (r#"{"inference_geo":"us"}"#, Dearer("inference_geo")),
            (r#"{"serviceTier":"PRIORITY"}"#, Dearer("serviceTier")),
            (r#"{"serviceTier":"FLEX"}"#, Cheaper),
            (r#"{"serviceTier":{"type":"priority"}}"#, Dearer("serviceTier")),
            (r#"{"serviceTier":{"type":"default"},"performanceConfig":{"latency":"standard"}}"#, Usual),
            (r#"{"performanceConfig":{"latency":"optimized"}}"#, Dearer("performanceConfig")),
            // Said of something else.
            (r#"{"metadata":{"service_tier":"priority"},"messages":["speed"]}"#, Usual),
            ("[]", Usual),
        ] {
            assert_eq!(Tier::of(body.as_bytes()), tier, "{body}");
        }
    }
}
