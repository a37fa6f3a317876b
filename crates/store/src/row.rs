//! Small helpers between rows and the model's types.

use crate::{Result, StoreError};
use credentialflow_model::{Name, Timestamp};
use serde::de::value::{Error as WordError, StrDeserializer};
use serde::{Deserialize, Serialize, de::IntoDeserializer};
use sqlx::Row;
use sqlx::any::AnyRow;
use std::fmt::Write;

/// Rows in one statement: few round trips, far below both databases' limits of parameters.
pub(crate) const CHUNK: usize = 200;

/// The word a closed list writes for a value, as serde spells it.
pub(crate) fn word<T: Serialize>(value: &T) -> Result<String> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        _ => Err(StoreError::Other("a value without a word for it".into())),
    }
}

/// The value a stored word means.
pub(crate) fn parse_word<'a, T: Deserialize<'a>>(word: &'a str, what: &'static str) -> Result<T> {
    let reader: StrDeserializer<'a, WordError> = word.into_deserializer();
    T::deserialize(reader).map_err(|_| StoreError::corrupt(format!("unknown {what}")))
}

pub(crate) fn name(row: &AnyRow, column: usize) -> Result<Name> {
    row.try_get::<&str, _>(column)?.parse().map_err(|_| StoreError::corrupt("a name"))
}

pub(crate) fn time(row: &AnyRow, column: usize) -> Result<Timestamp> {
    Ok(Timestamp::from_micros(row.try_get(column)?))
}

pub(crate) fn optional_time(row: &AnyRow, column: usize) -> Result<Option<Timestamp>> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_micros))
}

pub(crate) fn unsigned(row: &AnyRow, column: usize) -> Result<u64> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(|_| StoreError::corrupt("a negative count"))
}

pub(crate) fn version(row: &AnyRow, column: usize) -> Result<u32> {
    u32::try_from(row.try_get::<i64, _>(column)?).map_err(|_| StoreError::corrupt("a version number"))
}

pub(crate) fn optional_version(row: &AnyRow, column: usize) -> Result<Option<u32>> {
    row.try_get::<Option<i64>, _>(column)?
        .map(|v| u32::try_from(v).map_err(|_| StoreError::corrupt("a version number")))
        .transpose()
}

/// `($1, $2), ($3, $4), …` for that many rows.
pub(crate) fn values(columns: usize, rows: usize) -> String {
    let mut out = String::with_capacity(rows * columns * 6);
    for row in 0..rows {
        out.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=columns {
            let _ = write!(out, "{}${}", if column == 1 { "" } else { ", " }, row * columns + column);
        }
        out.push(')');
    }
    out
}

/// `$1, $2, …` from a first number on.
pub(crate) fn list(first: usize, count: usize) -> String {
    (first..first + count).map(|i| format!("${i}")).collect::<Vec<_>>().join(", ")
}

/// What is left of an answer that [`Driver::packed`](crate::driver::Driver::packed) made. Reading a field answers `None`
/// where there is none, and `Some(None)` for NULL.
pub(crate) struct Packed<'t>(pub(crate) &'t str);

impl<'t> Packed<'t> {
    /// Whether that was all.
    pub(crate) const fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn text(&mut self) -> Option<Option<&'t str>> {
        let Some(length) = self.number()? else { return Some(None) };
        let (text, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(Some(text))
    }

    pub(crate) fn number(&mut self) -> Option<Option<i64>> {
        let (digits, rest) = self.0.split_once(':')?;
        self.0 = rest;
        if digits == "-" { Some(None) } else { Some(Some(digits.parse().ok()?)) }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn packed_fields_are_read_as_they_were_written() {
        let mut all = super::Packed("1:a-:3:b:-0:3:ä1-7:-:");
        assert_eq!([all.text(), all.text(), all.text()], [Some(Some("a")), Some(None), Some(Some("b:-"))]);
        assert_eq!([all.text(), all.text()], [Some(Some("")), Some(Some("ä1"))]);
        assert!(!all.is_over());
        assert_eq!([all.number(), all.number(), all.number()], [Some(Some(-7)), Some(None), None]);
        assert!(all.is_over());
        for broken in ["", "1", "x:a", "2:a", "-1:a", "1:ä"] {
            assert_eq!(super::Packed(broken).text(), None, "{broken}");
        }
    }

    #[test]
    fn placeholders_count_on() {
        assert_eq!(super::values(2, 2), "($1, $2), ($3, $4)");
        assert_eq!(super::list(2, 3), "$2, $3, $4");
    }
}
