//! A set as YAML text that reads back equal.
//!
//! Only a small part of YAML is written: block mappings and lists, one-line lists of plain words, and
//! texts that are quoted unless nobody could take them for anything else.

use crate::{ResourceSet, resource::Resource};
use serde_json::Value;
use std::fmt::Write as _;

/// Writes a set as a YAML document, fields in the order of the reference, defaults left out where the
/// resources leave them out. Reading it gives an equal set.
pub fn export(set: &ResourceSet) -> String {
    let mut out = String::new();
    // Declared resources always serialize: plain structs with text keys.
    if let Ok(Value::Object(kinds)) = serde_json::to_value(set) {
        for (index, (kind, list)) in kinds.iter().enumerate() {
            if index > 0 {
                out.push('\n');
            }
            out.push_str(kind);
            out.push(':');
            after_key(&mut out, list, 0);
        }
    }
    if out.is_empty() {
        out.push_str("{}\n");
    }
    out
}

/// Writes one resource as a YAML document, as [`export`] writes it in its list. [`read_resource_yaml`]
/// gives an equal one.
///
/// [`read_resource_yaml`]: super::read_resource_yaml
pub fn export_resource<T: Resource>(resource: &T) -> String {
    let mut out = String::new();
    if let Ok(Value::Object(fields)) = serde_json::to_value(resource) {
        mapping(&mut out, &fields, 0, false);
    }
    out
}

/// What follows `key:`, the line's end included.
fn after_key(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            mapping(out, map, indent + 2, false);
        }
        Value::Array(items) if !items.is_empty() => {
            if let Some(line) = one_line(items) {
                let _ = writeln!(out, " {line}");
                return;
            }
            out.push('\n');
            for item in items {
                pad(out, indent + 2);
                out.push_str("- ");
                match item {
                    Value::Object(map) if !map.is_empty() => mapping(out, map, indent + 4, true),
                    other => {
                        scalar(out, other, false);
                        out.push('\n');
                    }
                }
            }
        }
        other => {
            out.push(' ');
            scalar(out, other, false);
            out.push('\n');
        }
    }
}

fn mapping(out: &mut String, map: &serde_json::Map<String, Value>, indent: usize, mut first_in_place: bool) {
    for (key, value) in map {
        if !std::mem::take(&mut first_in_place) {
            pad(out, indent);
        }
        text(out, key, true);
        out.push(':');
        after_key(out, value, indent);
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// A list of short scalars on one line.
fn one_line(items: &[Value]) -> Option<String> {
    let mut line = String::from("[");
    for (index, item) in items.iter().enumerate() {
        if item.is_array() || item.is_object() {
            return None;
        }
        if index > 0 {
            line.push_str(", ");
        }
        scalar(&mut line, item, true);
    }
    line.push(']');
    (line.len() <= 100).then_some(line)
}

/// A value without fields; a nested list becomes JSON, which is YAML too.
fn scalar(out: &mut String, value: &Value, inline: bool) {
    match value {
        Value::String(s) => text(out, s, inline),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                scalar(out, item, true);
            }
            out.push(']');
        }
        Value::Object(_) => out.push_str("{}"),
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

/// A text, quoted unless it is a plain word, a quantity or a reference.
fn text(out: &mut String, s: &str, inline: bool) {
    if is_plain(s, inline) {
        out.push_str(s);
        return;
    }
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            ' '..='~' | '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{1fff}' | '\u{2070}'..='\u{d7ff}' => out.push(c),
            c if u32::from(c) <= 0xffff => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => {
                let _ = write!(out, "\\U{:08x}", u32::from(c));
            }
        }
    }
    out.push('"');
}

fn is_plain(s: &str, inline: bool) -> bool {
    // Words that some YAML reader takes for a truth value, nothing, or a number.
    const SPECIAL: [&str; 11] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"];
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/');
    let reference = !inline
        && s.strip_prefix("${").and_then(|s| s.strip_suffix('}')).and_then(|s| s.split_once(':')).is_some_and(
            |(scheme, rest)| {
                scheme.bytes().all(|b| b.is_ascii_lowercase()) && !rest.is_empty() && rest.bytes().all(word)
            },
        );
    if reference {
        return true;
    }
    if s.is_empty() || s.len() > 200 || !s.bytes().all(word) || SPECIAL.iter().any(|w| s.eq_ignore_ascii_case(w)) {
        return false;
    }
    let digits = s.bytes().take_while(u8::is_ascii_digit).count();
    let unit = matches!(&s[digits..], "ms" | "s" | "m" | "h" | "d" | "B" | "KB" | "MB" | "GB" | "KiB" | "MiB" | "GiB");
    s.as_bytes()[0].is_ascii_alphabetic() || s.starts_with('/') || (digits > 0 && unit)
}
