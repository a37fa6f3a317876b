//! JSON in a normal form: members by name, no space, each text and each number written in one way.

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::{borrow::Cow, fmt};

/// An object in normal form, without these members of its own. `None` where it is none, or names a member twice: what its
/// reader makes of that is not known.
pub(super) fn of(json: &[u8], without: &[&str]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(json.len());
    let mut reader = serde_json::Deserializer::from_slice(json);
    Normal { out: &mut out, without: Some(without) }.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    (out.first() == Some(&b'{')).then_some(out)
}

/// Writes what it reads. `without`: members that are left out, at the top.
struct Normal<'a> {
    out: &'a mut Vec<u8>,
    without: Option<&'a [&'a str]>,
}

impl<'de> DeserializeSeed<'de> for Normal<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
}

impl Normal<'_> {
    fn text<E: de::Error>(self, text: &str) -> Result<(), E> {
        serde_json::to_writer(self.out, text).map_err(E::custom)
    }
    fn shown<E>(self, value: impl fmt::Display) -> Result<(), E> {
        self.out.extend_from_slice(value.to_string().as_bytes());
        Ok(())
    }
}

impl<'de> Visitor<'de> for Normal<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        self.shown("null")
    }
    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.shown(value)
    }
    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.shown(value)
    }
    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.shown(value)
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        serde_json::to_writer(self.out, &value).map_err(E::custom)
    }
    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        self.text(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.out.push(b'[');
        let mut first = true;
        loop {
            let before = self.out.len();
            if !first {
                self.out.push(b',');
            }
            if seq.next_element_seed(Normal { out: &mut *self.out, without: None })?.is_none() {
                self.out.truncate(before);
                break;
            }
            first = false;
        }
        self.out.push(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut members: Vec<(Cow<'de, str>, Vec<u8>)> = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            let mut value = Vec::new();
            map.next_value_seed(Normal { out: &mut value, without: None })?;
            members.push((name, value));
        }
        members.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        if members.windows(2).any(|two| two[0].0 == two[1].0) {
            return Err(de::Error::custom("a member stands twice"));
        }
        let without = self.without.unwrap_or_default();
        self.out.push(b'{');
        let mut first = true;
        for (name, value) in members.into_iter().filter(|(name, _)| !without.contains(&&**name)) {
            if !std::mem::replace(&mut first, false) {
                self.out.push(b',');
            }
            serde_json::to_writer(&mut *self.out, &name).map_err(de::Error::custom)?;
            self.out.push(b':');
            self.out.extend_from_slice(&value);
        }
        self.out.push(b'}');
        Ok(())
    }
}

/// The name of a member, borrowed where it has no escapes.
struct Name<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(name)))
            }
            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        d.deserialize_str(Read)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e9..1e9f64).prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        let value = leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(".{0,3}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        });
        proptest::collection::btree_map(".{0,4}", value, 0..5)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
    }

    fn turned(value: &Value) -> Value {
        match value {
            Value::Object(members) => members.iter().rev().map(|(name, value)| (name.clone(), turned(value))).collect(),
            Value::Array(items) => items.iter().map(turned).collect(),
            other => other.clone(),
        }
    }

    proptest! {
        #[test]
        fn it_says_the_same_and_order_and_space_do_not_matter(value in json()) {
            let form = of(value.to_string().as_bytes(), &[]).unwrap();
            prop_assert_eq!(&serde_json::from_slice::<Value>(&form).unwrap(), &value);
            let other = serde_json::to_string_pretty(&turned(&value)).unwrap();
            prop_assert_eq!(of(other.as_bytes(), &[]).unwrap(), form.clone());
            prop_assert_eq!(of(&form, &[]).unwrap(), form);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = of(&bytes, &["user"]);
        }
    }

    #[test]
    fn only_members_at_the_top_are_left_out() {
        let form = of(br#"{"b":{"user":1},"user":2,"a":[{"user":3}]}"#, &["user"]).unwrap();
        assert_eq!(form, br#"{"a":[{"user":3}],"b":{"user":1}}"#);
        assert_eq!(of("[".repeat(100_000).as_bytes(), &[]), None, "depth has an end");
    }
}
