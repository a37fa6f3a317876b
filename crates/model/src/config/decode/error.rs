//! serde's errors as problems, without the text of any value.

use super::super::report::known_words;
use serde::de::{self, Expected, Unexpected};
use std::fmt::{self, Display};

/// Why a value could not be decoded.
#[derive(Debug)]
pub(super) enum DecodeError {
    /// Not yet recorded: the value around it knows the place.
    New { code: &'static str, detail: String, hint: Option<String> },
    /// A required field is not there.
    Missing(&'static str),
    /// Recorded; only unwinds.
    Noted,
}

impl DecodeError {
    pub fn new(code: &'static str, detail: impl Into<String>, hint: Option<&str>) -> Self {
        Self::New { code, detail: detail.into(), hint: hint.map(str::to_owned) }
    }
}

impl Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New { detail, .. } => detail,
            Self::Missing(field) => field,
            Self::Noted => "recorded",
        })
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    // The types of this crate word their errors without repeating the value.
    fn custom<T: Display>(message: T) -> Self {
        Self::new("invalid_value", message.to_string(), None)
    }
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "true or false",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
            Unexpected::Char(_) | Unexpected::Str(_) | Unexpected::Bytes(_) => "text",
            Unexpected::Seq => "a list",
            Unexpected::Map => "a mapping",
            _ => "nothing",
        };
        Self::new("wrong_type", format!("expected {expected}, found {found}"), None)
    }
    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = match expected.to_string().as_str() {
            "u8" => "a whole number from 0 to 255".to_owned(),
            "u16" => "a whole number from 0 to 65535".to_owned(),
            "u32" => "a whole number from 0 to 4294967295".to_owned(),
            "u64" => "a whole number that is not negative".to_owned(),
            other => other.to_owned(),
        };
        Self::new("invalid_value", format!("expected {expected}"), None)
    }
    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let hint = known_words(variant, expected);
        Self::New { code: "unknown_word", detail: "this word is not known here".to_owned(), hint: Some(hint) }
    }
    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }
}
