//! Whether a text is JSON that every reader reads alike: no name twice in an object, at whatever depth, no string that is
//! no text, and no deeper than readers follow.

use crate::json::Key;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::{cell::Cell, collections::HashSet, fmt};

/// Levels that a message may have.
pub(crate) const DEEPEST: usize = 64;

/// Why a text is not that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotStrict {
    /// It is no JSON.
    NotJson,
    /// A name stands twice in one object.
    Twice,
    /// It has too many levels.
    TooDeep,
}

/// Checks a text.
pub(crate) fn check(text: &str) -> Result<(), NotStrict> {
    let why = Cell::new(NotStrict::NotJson);
    let mut reader = serde_json::Deserializer::from_str(text);
    let walked = Walk { left: DEEPEST, why: &why }.deserialize(&mut reader).and_then(|()| reader.end());
    walked.map_err(|_| why.get())
}

#[derive(Clone, Copy)]
struct Walk<'w> {
    left: usize,
    why: &'w Cell<NotStrict>,
}

impl Walk<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Self { left, ..self }),
            None => Err(self.fail(NotStrict::TooDeep)),
        }
    }

    fn fail<E: Error>(self, why: NotStrict) -> E {
        self.why.set(why);
        E::custom("not strict")
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while list.next_element_seed(inner)?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut names = HashSet::new();
        while let Some(Key(name)) = map.next_key()? {
            if !names.insert(name) {
                return Err(self.fail(NotStrict::Twice));
            }
            map.next_value_seed(inner)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_all_readers_read_alike_is_strict() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        for good in [r#"{"a":{"a":[1,-2,1.5e3,"\ud83d\ude00",true,null]},"b":1}"#, "[]", &nested(DEEPEST)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        assert_eq!(check(r#"{"a":[{"b":1,"\u0062":2}]}"#), Err(NotStrict::Twice));
        assert_eq!(check(&nested(DEEPEST + 1)), Err(NotStrict::TooDeep));
        assert_eq!(check(&"[".repeat(100_000)), Err(NotStrict::TooDeep));
        for bad in ["", "{", "{}1", "nul", "'a'", r#""\ud83d""#, "{a:1}", "[1,]", "\u{feff}{}", "NaN", "01"] {
            assert_eq!(check(bad), Err(NotStrict::NotJson), "{bad}");
        }
    }
}
