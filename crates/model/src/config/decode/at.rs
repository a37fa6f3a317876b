//! A value at its place, as serde's `Deserializer`.

use super::{
    super::node::{Meaning, Node, Value},
    super::report::shown,
    DecodeError, Path, State, Work,
    access::{Fields, Items, Map},
    address, join,
    stand_in::StandIn,
};
use crate::resource::budget::ONE_OR_SEVERAL;
use serde::de::{Deserializer, Visitor, value::StrDeserializer};

/// A value about to be decoded.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub node: &'a Node<'a>,
    pub path: &'a Path<'a>,
    pub work: &'a Work<'a>,
}

impl At<'_> {
    /// Records a problem at this value, or at a path below it.
    pub fn record(&self, below: &str, at: crate::Location, code: &str, detail: String, hint: Option<String>) {
        let path = join(&(self.work.prefix)(), &join(&self.path.text(), below));
        self.work.state.borrow_mut().found.add(self.work.file, at, path, code, detail, hint);
    }

    /// Looks at what became of this value: a new error is recorded here and a stand-in arranged.
    pub fn settle<T>(&self, outcome: Result<T, DecodeError>) -> Result<T, DecodeError> {
        let id = address(self.node);
        let mut state = self.work.state.borrow_mut();
        let unquoted = state.unquoted.take_if(|node| *node == id).is_some();
        let error = match outcome {
            Ok(value) => {
                if unquoted && state.marked.insert(id, 0).is_none() {
                    state.replaced.push(self.path.text());
                    drop(state);
                    let detail = format!("expected text, found {}", self.node.describe());
                    self.record("", self.node.at, "wrong_type", detail, Some("put it in quotes".to_owned()));
                }
                return Ok(value);
            }
            Err(error) => error,
        };
        match error {
            DecodeError::Noted => {}
            DecodeError::Missing(field) => {
                state.missing.entry(id).or_default().push((field, 0));
                state.replaced.push(join(&self.path.text(), field));
                drop(state);
                let detail = format!("the field {} is missing", shown(field));
                self.record(field, self.node.at, "missing_field", detail, Some("add it".to_owned()));
            }
            DecodeError::New { code, detail, hint } => {
                let State { marked, given_up, .. } = &mut *state;
                if let Some(stand_in) = marked.get_mut(&id) {
                    State::next(stand_in, given_up);
                } else {
                    marked.insert(id, 0);
                    state.replaced.push(self.path.text());
                    drop(state);
                    self.record("", self.node.at, code, detail, hint);
                }
            }
        }
        Err(DecodeError::Noted)
    }

    /// The stand-in for this value, if it is known to be wrong.
    fn stand_in(&self) -> Option<StandIn> {
        self.work.state.borrow().marked.get(&address(self.node)).copied().map(StandIn)
    }

    fn wrong(&self, expected: &str, hint: Option<&str>) -> DecodeError {
        DecodeError::new("wrong_type", format!("expected {expected}, found {}", self.node.describe()), hint)
    }

    fn meaning(&self) -> Option<Meaning<'_>> {
        match &self.node.value {
            Value::Scalar(scalar) => Some(scalar.meaning()),
            _ => None,
        }
    }
}

/// Answers with the stand-in where the value is known to be wrong.
macro_rules! or_stand_in {
    ($self:ident, $method:ident ( $($arg:expr),* )) => {
        if let Some(stand_in) = $self.stand_in() {
            return stand_in.$method($($arg),*);
        }
    };
}

macro_rules! integers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            self.integer(visitor)
        }
    )*};
}

impl At<'_> {
    fn integer<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        or_stand_in!(self, deserialize_u64(visitor));
        match self.meaning() {
            Some(Meaning::Integer(n)) => match (u64::try_from(n), i64::try_from(n)) {
                (Ok(n), _) => visitor.visit_u64(n),
                (_, Ok(n)) => visitor.visit_i64(n),
                _ => Err(DecodeError::new("invalid_value", "the number is too large", None)),
            },
            Some(Meaning::Float(_)) => Err(DecodeError::new("invalid_value", "expected a whole number", None)),
            Some(Meaning::Text(_)) => Err(self.wrong("a whole number", Some("write digits without quotes or unit"))),
            _ => Err(self.wrong("a whole number", None)),
        }
    }

    fn float<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        or_stand_in!(self, deserialize_f64(visitor));
        match self.meaning() {
            #[expect(clippy::cast_precision_loss, reason = "what a float can hold is what was asked for")]
            Some(Meaning::Integer(n)) => visitor.visit_f64(n as f64),
            Some(Meaning::Float(n)) => visitor.visit_f64(n),
            _ => Err(self.wrong("a number", None)),
        }
    }

    fn text<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        or_stand_in!(self, deserialize_str(visitor));
        match &self.node.value {
            Value::Scalar(scalar) => match scalar.meaning() {
                Meaning::Text(text) => visitor.visit_str(text),
                Meaning::Nothing => Err(self.wrong("text", Some("write a value, or remove the field"))),
                // The type's own words come first: a duration without unit should hear about units.
                _ => {
                    self.work.state.borrow_mut().unquoted = Some(address(self.node));
                    visitor.visit_str(&scalar.text)
                }
            },
            Value::Mapping(_) => Err(self.wrong("text", Some("text with braces must be in quotes"))),
            Value::Sequence(_) => Err(self.wrong("text", Some("write one value, without brackets or dashes"))),
        }
    }
}

impl<'de> Deserializer<'de> for At<'_> {
    type Error = DecodeError;
    integers!(deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128);

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Sequence(_) => self.deserialize_seq(visitor),
            Value::Mapping(_) => self.deserialize_map(visitor),
            Value::Scalar(scalar) => match scalar.meaning() {
                Meaning::Nothing => visitor.visit_unit(),
                Meaning::Bool(_) => self.deserialize_bool(visitor),
                Meaning::Integer(_) => self.integer(visitor),
                Meaning::Float(_) => self.float(visitor),
                Meaning::Text(_) => self.text(visitor),
            },
        }
    }
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        or_stand_in!(self, deserialize_bool(visitor));
        match self.meaning() {
            Some(Meaning::Bool(b)) => visitor.visit_bool(b),
            _ => Err(self.wrong("true or false", Some("write true or false, without quotes"))),
        }
    }
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.float(visitor)
    }
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.float(visitor)
    }
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.text(visitor)
    }
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.text(visitor)
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        or_stand_in!(self, deserialize_option(visitor));
        if self.node.is_nothing() { visitor.visit_none() } else { visitor.visit_some(self) }
    }
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.node.is_nothing() { visitor.visit_unit() } else { Err(self.wrong("nothing", None)) }
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, v: V) -> Result<V::Value, DecodeError> {
        v.visit_newtype_struct(self)
    }
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        or_stand_in!(self, deserialize_seq(visitor));
        match &self.node.value {
            Value::Sequence(items) => visitor.visit_seq(Items { at: self, items: items.iter().enumerate() }),
            _ => Err(self.wrong("a list", Some("write a list, as in [a, b], or one `- ` line for each"))),
        }
    }
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        or_stand_in!(self, deserialize_map(visitor));
        match &self.node.value {
            Value::Mapping(entries) => visitor.visit_map(Map { at: self, entries: entries.iter(), value: None }),
            _ => Err(self.wrong("a mapping", Some("write `name: value` lines"))),
        }
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        or_stand_in!(self, deserialize_struct(name, fields, visitor));
        match &self.node.value {
            Value::Mapping(entries) => visitor.visit_map(Fields::new(self, entries, fields)),
            Value::Sequence(_) if name == ONE_OR_SEVERAL => self.deserialize_seq(visitor),
            _ => {
                let hint = format!("write a mapping with the fields {}", fields.join(", "));
                Err(self.wrong("a mapping", Some(&hint)))
            }
        }
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        or_stand_in!(self, deserialize_enum(name, variants, visitor));
        match &self.node.value {
            Value::Scalar(scalar) => visitor.visit_enum(StrDeserializer::new(&scalar.text)),
            _ => Err(self.wrong("one word", Some(&format!("known: {}", variants.join(", "))))),
        }
    }
    serde::forward_to_deserialize_any! { char bytes byte_buf unit_struct tuple tuple_struct identifier ignored_any }
}
