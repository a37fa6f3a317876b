//! Reading JSON without a tree: texts that are borrowed where they can be, objects as their members in order, and no
//! more elements of anything than there is memory for.

use super::Why;
use serde::{
    Deserialize, Serialize,
    de::{self, Deserializer, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::BTreeSet, fmt, marker::PhantomData, ops::Deref};

/// A text, borrowed from the body unless it has escapes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(pub Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        d.deserialize_str(V)
    }
}

/// The members of an object, in order.
pub(super) type Members<'a> = Vec<(Text<'a>, &'a RawValue)>;

/// Reads the members of a body that is one object, of which each may stand once.
pub(super) fn members(body: &[u8], most: usize) -> Result<Members<'_>, Why> {
    struct V<'p>(usize, &'p mut Option<Why>);
    impl<'de> Visitor<'de> for V<'_> {
        type Value = Members<'de>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
            let Self(most, problem) = self;
            let (mut members, mut names) = (Members::new(), BTreeSet::new());
            while let Some((name, raw)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                if members.len() == most {
                    *problem = Some(Why::TooMany("fields"));
                } else if !names.insert(name.0.clone()) {
                    *problem = Some(Why::Duplicate);
                }
                if problem.is_some() {
                    return Err(de::Error::custom("told apart"));
                }
                members.push((name, raw));
            }
            Ok(members)
        }
    }
    let (mut problem, mut de) = (None, serde_json::Deserializer::from_slice(body));
    let members = de.deserialize_map(V(most, &mut problem)).and_then(|members| de.end().map(|()| members));
    members.map_err(|_| problem.unwrap_or_else(|| Why::Form("the body".to_owned())))
}

/// Reads an array of at most so many elements; `what` they are, in the plural. Elements take many times the memory of
/// the few bytes that may tell of them, so they are counted while they are read.
pub(super) fn list<'a, T: Deserialize<'a>>(
    raw: &'a RawValue,
    place: &str,
    most: usize,
    what: &'static str,
) -> Result<Vec<T>, Why> {
    struct V<'p, T>(usize, &'p mut bool, PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for V<'_, T> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(element) = seq.next_element()? {
                if list.len() == self.0 {
                    *self.1 = true;
                    return Err(de::Error::custom("too many"));
                }
                list.push(element);
            }
            Ok(list)
        }
    }
    let (mut over, mut de) = (false, serde_json::Deserializer::from_str(raw.get()));
    de.deserialize_seq(V(most, &mut over, PhantomData)).map_err(|_| match over {
        true => Why::TooMany(what),
        false => Why::Form(place.to_owned()),
    })
}

/// The same where one object may stand in the place of a list of one, as Google takes it.
pub(super) fn one_or_more<'a, T: Deserialize<'a>>(
    raw: &'a RawValue,
    place: &str,
    most: usize,
    what: &'static str,
) -> Result<Vec<T>, Why> {
    match raw.get().starts_with('{') {
        true if most == 0 => Err(Why::TooMany(what)),
        true => Ok(vec![read(raw, place)?]),
        false => list(raw, place, most, what),
    }
}

/// Whether a value is an object without members.
pub(super) fn is_empty_object(raw: &RawValue) -> bool {
    raw.get().strip_prefix('{').is_some_and(|inside| inside.trim_ascii_start().starts_with('}'))
}

/// Reads a value; `place` is where it stands.
pub(super) fn read<'a, T: Deserialize<'a>>(raw: &'a RawValue, place: &str) -> Result<T, Why> {
    serde_json::from_str(raw.get()).map_err(|_| Why::Form(place.to_owned()))
}

/// A value that is there: neither absent nor null.
pub(super) fn present(raw: Option<&RawValue>) -> Option<&RawValue> {
    raw.filter(|raw| raw.get() != "null")
}
