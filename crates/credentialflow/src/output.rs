//! What commands print: JSON unchanged for programs, aligned tables and plain sentences for people.
//!
//! Text that came from elsewhere (paths of requests, names in answers) is shown without control
//! characters, so that nothing recorded can steer a terminal.

use crate::cli::Format;
use serde_json::Value;
use std::io::Write;

/// Where results go.
#[derive(Clone, Copy, Debug)]
pub struct Output(Format);

impl Output {
    /// In this format.
    pub const fn new(format: Format) -> Self {
        Self(format)
    }

    /// Whether results are for programs.
    pub fn is_json(self) -> bool {
        self.0 == Format::Json
    }

    /// Prints one result: the value itself, or its text form.
    pub fn result(self, value: &Value, text: impl FnOnce(&Value) -> String) -> std::io::Result<()> {
        match self.0 {
            Format::Json => self.raw(&format!("{}\n", pretty(value))),
            Format::Text => self.raw(&text(value)),
        }
    }

    /// Prints one result of many, each on a line of its own in JSON.
    pub fn line(self, value: &Value, text: impl FnOnce(&Value) -> String) -> std::io::Result<()> {
        match self.0 {
            Format::Json => self.raw(&format!("{value}\n")),
            Format::Text => self.raw(&text(value)),
        }
    }

    /// Prints text as it is, whatever the format. A reader that has left is no failure.
    pub fn raw(self, text: &str) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            done => done,
        }
    }

    /// Tells a person how something goes on, beside the results; programs are told nothing.
    pub fn progress(self, text: &str) {
        if !self.is_json() {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// Tells a failure: problem details for programs, sentences for people; both on standard error.
    pub fn failure(self, value: &Value, text: &str) {
        let mut err = std::io::stderr().lock();
        let _ = match self.0 {
            Format::Json => writeln!(err, "{}", pretty(value)),
            Format::Text => writeln!(err, "{}", text.trim_end()),
        };
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// Lines of aligned columns under their headings.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let clean: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| shown(cell)).collect()).collect();
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.len()).collect();
    for row in &clean {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (cell, width) in cells.zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        format!("{}\n", line.trim_end())
    };
    let mut text = line(&mut headings.iter().copied());
    for row in &clean {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

/// A text without control characters.
pub fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The text at a path of a value, as in `/spec/name`; numbers and truth values as they are written,
/// nothing as `-`, things in a list by their names.
pub fn at(value: &Value, path: &str) -> String {
    match value.pointer(path) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) if items.is_empty() => "-".to_owned(),
        Some(Value::Array(items)) => {
            let named = |item: &Value| item.get("name").is_some_and(Value::is_string);
            let text = |item| at(item, if named(item) { "/name" } else { "" });
            items.iter().map(text).collect::<Vec<_>>().join(", ")
        }
        Some(other) => other.to_string(),
    }
}

/// The items of a list answer.
pub fn items(value: &Value) -> &[Value] {
    value.get("items").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A value as indented `field: value` lines, for one thing shown to a person.
pub fn fields(value: &Value) -> String {
    fn walk(out: &mut String, value: &Value, indent: usize) {
        let Value::Object(map) = value else { return };
        for (name, value) in map {
            out.extend(std::iter::repeat_n(' ', indent));
            match value {
                Value::Object(inner) if !inner.is_empty() => {
                    out.push_str(&format!("{}:\n", shown(name)));
                    walk(out, value, indent + 2);
                }
                Value::Array(list) if list.iter().any(Value::is_object) => {
                    out.push_str(&format!("{}:\n", shown(name)));
                    for item in list {
                        out.extend(std::iter::repeat_n(' ', indent + 2));
                        out.push_str("-\n");
                        walk(out, item, indent + 4);
                    }
                }
                Value::Object(_) => out.push_str(&format!("{}: -\n", shown(name))),
                other => out.push_str(&format!("{}: {}\n", shown(name), shown(&at(other, "")))),
            }
        }
    }
    let mut out = String::new();
    walk(&mut out, value, 0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_align_and_control_characters_go() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["b\x1b[31m".to_owned(), "-".to_owned()]];
        assert_eq!(table(&["name", "n"], &rows), "name    n\na       1\nb\u{fffd}[31m  -\n");
    }

    #[test]
    fn one_thing_reads_as_lines() {
        let value = json!({ "spec": { "name": "a", "tags": ["x", "y"], "none": {} }, "versions": [{ "n": 1 }] });
        assert_eq!(fields(&value), "spec:\n  name: a\n  tags: x, y\n  none: -\nversions:\n  -\n    n: 1\n");
        assert_eq!((at(&value, "/spec/name").as_str(), at(&value, "/absent").as_str()), ("a", "-"));
        let pool = json!({ "credentials": [{ "name": "a", "weight": 3 }, { "name": "b" }] });
        assert_eq!(at(&pool, "/credentials"), "a, b");
    }
}
