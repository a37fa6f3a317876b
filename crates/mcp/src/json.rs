//! The members of one JSON object, read so that nobody can read another value for a name that matters.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt, ops::Range};

/// The members of an object, in the order in which they stand.
pub(crate) struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// Why an object was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoMembers {
    /// It is no JSON object.
    NotAnObject,
    /// This name stands twice, or beside one that some readers take for it.
    Ambiguous(&'static str),
}

impl<'a> Members<'a> {
    /// Reads an object. Each of `names` may stand once, and nothing beside it that is the same name to readers which do
    /// not look at case.
    pub fn of(text: &'a str, names: &'static [&'static str]) -> Result<Self, NoMembers> {
        let members: Self = serde_json::from_str(text).map_err(|_| NoMembers::NotAnObject)?;
        for name in names {
            let mut alike = members.0.iter().filter(|(key, _)| is_alike(key, name));
            if let Some((key, _)) = alike.next()
                && (key != name || alike.next().is_some())
            {
                return Err(NoMembers::Ambiguous(name));
            }
        }
        Ok(members)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.0.iter().map(|(name, value)| (&**name, value.get()))
    }

    /// The value of a name, as it is written.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.get())
    }
}

/// Whether two names are one to readers that compare them by Unicode's simple case folding; of what is not ASCII, two
/// letters fold into it.
fn is_alike(key: &str, name: &str) -> bool {
    let folded = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    key.chars().map(folded).eq(name.chars().map(folded))
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    members.push((key, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A name or a text, borrowed where it has no escapes.
pub(crate) struct Key<'a>(pub Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// A JSON string, unescaped.
pub(crate) fn string(text: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str(text).ok().map(|Key(text)| text)
}

/// The elements of an array, as they are written.
pub(crate) fn elements(text: &str) -> Option<Vec<&RawValue>> {
    serde_json::from_str(text).ok()
}

/// Parts of a text that others come in place of.
pub(crate) struct Edits<'a> {
    whole: &'a str,
    edits: Vec<(Range<usize>, String)>,
}

impl<'a> Edits<'a> {
    pub const fn of(whole: &'a str) -> Self {
        Self { whole, edits: Vec::new() }
    }

    /// Puts a text in place of a part, which is a slice of the whole.
    pub fn replace(&mut self, part: &'a str, with: String) {
        let start = part.as_ptr() as usize - self.whole.as_ptr() as usize;
        self.edits.push((start..start + part.len(), with));
    }

    /// The text as it is then; borrowed where nothing changes.
    pub fn apply(mut self) -> Cow<'a, [u8]> {
        let whole = self.whole.as_bytes();
        if self.edits.is_empty() {
            return Cow::Borrowed(whole);
        }
        self.edits.sort_unstable_by_key(|(at, _)| at.start);
        let (mut out, mut done) = (Vec::with_capacity(whole.len() + 16 * self.edits.len()), 0);
        for (at, with) in self.edits {
            out.extend_from_slice(&whole[done..at.start]);
            out.extend_from_slice(with.as_bytes());
            done = at.end;
        }
        out.extend_from_slice(&whole[done..]);
        Cow::Owned(out)
    }
}

/// A text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// An array of these elements, as they are written.
pub(crate) fn array<'e>(elements: impl IntoIterator<Item = &'e str>) -> String {
    let mut out = String::from("[");
    for (index, element) in elements.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(element);
    }
    out.push(']');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_some_reader_takes_for_another_is_ambiguous() {
        let check = |text, expect: Result<Option<&str>, NoMembers>| {
            let read = Members::of(text, &["method", "task"]).map(|members| members.get("method"));
            assert_eq!(read, expect, "{text}");
        };
        let ambiguous = Err(NoMembers::Ambiguous("method"));
        check(r#"{"method":"a","params":{}}"#, Ok(Some(r#""a""#)));
        check(r#"{"m\u0065thod":"a"}"#, Ok(Some(r#""a""#)));
        check(r#"{"method":"a","method":"b"}"#, ambiguous);
        check(r#"{"method":"a","m\u0065thod":"b"}"#, ambiguous);
        check(r#"{"method":"a","Method":"b"}"#, ambiguous);
        check(r#"{"METHOD":"a"}"#, ambiguous);
        check(r#"{"method":"a","ta\u017fK":1}"#, Err(NoMembers::Ambiguous("task")));
        check("{\"method\":\"a\",\"tas\u{212a}\":1}", Err(NoMembers::Ambiguous("task")));
        check(r#"{"other":1,"other":2}"#, Ok(None));
        for text in ["[]", "1", "", "{", "{}{}", r#"{"a":}"#] {
            check(text, Err(NoMembers::NotAnObject));
        }
    }
}
