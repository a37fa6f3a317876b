//! A text as a tree of values, each with its place. Knows nothing about resources.

use crate::Location;
use std::borrow::Cow;

/// One value and where it begins.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub at: Location,
    pub value: Value<'a>,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Scalar(Scalar<'a>),
    Sequence(Vec<Node<'a>>),
    Mapping(Vec<Entry<'a>>),
}

/// A key, its place, and its value.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub key: Cow<'a, str>,
    pub at: Location,
    pub value: Node<'a>,
}

/// A text as written. Unquoted text may mean a number, a truth value or nothing (YAML 1.2 core schema).
#[derive(Debug)]
pub(super) struct Scalar<'a> {
    pub text: Cow<'a, str>,
    pub quoted: bool,
}

/// What a scalar means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Meaning<'s> {
    Nothing,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(&'s str),
}

impl Scalar<'_> {
    /// The meaning under the YAML 1.2 core schema.
    pub fn meaning(&self) -> Meaning<'_> {
        let text = &*self.text;
        if self.quoted {
            return Meaning::Text(text);
        }
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Meaning::Nothing,
            "true" | "True" | "TRUE" => return Meaning::Bool(true),
            "false" | "False" | "FALSE" => return Meaning::Bool(false),
            _ => {}
        }
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        match digits.as_bytes() {
            [b'0'..=b'9', ..] | [b'.', b'0'..=b'9', ..] => {}
            [b'.', ..] if matches!(&digits[1..], "inf" | "Inf" | "INF") => return Meaning::Float(f64::INFINITY),
            [b'.', ..] if matches!(text, ".nan" | ".NaN" | ".NAN") => return Meaning::Float(f64::NAN),
            _ => return Meaning::Text(text),
        }
        let radix = |prefix: &str, radix| text.strip_prefix(prefix).and_then(|d| i128::from_str_radix(d, radix).ok());
        if let Some(number) = text.parse().ok().or_else(|| radix("0x", 16)).or_else(|| radix("0o", 8)) {
            return Meaning::Integer(number);
        }
        let number_like = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
        match text.parse() {
            Ok(number) if number_like => Meaning::Float(number),
            _ => Meaning::Text(text),
        }
    }
}

impl<'a> Node<'a> {
    /// The empty value.
    pub fn nothing(at: Location) -> Self {
        Self { at, value: Value::Scalar(Scalar { text: Cow::Borrowed(""), quoted: false }) }
    }

    /// Whether this is the empty value.
    pub fn is_nothing(&self) -> bool {
        matches!(&self.value, Value::Scalar(s) if s.meaning() == Meaning::Nothing)
    }

    /// The value under a key, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node<'a>> {
        match &self.value {
            Value::Mapping(entries) => entries.iter().find(|e| e.key == key).map(|e| &e.value),
            _ => None,
        }
    }

    /// What this is, in words that never repeat its text.
    pub fn describe(&self) -> &'static str {
        match &self.value {
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
            Value::Scalar(s) => match s.meaning() {
                Meaning::Nothing => "nothing",
                Meaning::Bool(_) => "true or false",
                Meaning::Integer(_) | Meaning::Float(_) => "a number",
                Meaning::Text(_) => "text",
            },
        }
    }
}
