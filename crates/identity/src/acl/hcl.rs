//! Reads the part of HCL 1 that policy documents are written in, and their JSON form.
//!
//! `name = value`, `name "label" { … }`, strings, numbers, booleans, lists and objects; comments with
//! `#`, `//` and `/* */`; here-documents. Interpolation is not evaluated, functions do not exist.
//! Both forms become the same tree. Size, depth and number of items are bounded, every error names
//! its line. Nothing here knows what a policy means.

use super::PolicyError;
use serde_json::Value as Json;

/// No larger document is read.
pub(crate) const MAX_BYTES: usize = 512 * 1024;
const MAX_DEPTH: usize = 16;
const MAX_ITEMS: usize = 50_000;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Number(serde_json::Number),
    Bool(bool),
    List(Vec<Value>),
    Body(Vec<Item>),
}

/// `key "label"… = value`; the same key may come again.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    pub(crate) line: usize,
    pub(crate) key: String,
    pub(crate) labels: Vec<String>,
    pub(crate) value: Value,
}

/// Reads a document: JSON when it begins with `{`, HCL otherwise.
pub(crate) fn read(text: &str) -> Result<Vec<Item>, PolicyError> {
    if text.len() > MAX_BYTES {
        return Err(PolicyError::new(0, format!("a policy is at most {MAX_BYTES} bytes long")));
    }
    if text.trim_start().starts_with('{') {
        let json: Json = serde_json::from_str(text).map_err(|e| PolicyError::new(e.line(), "this is not JSON"))?;
        return match from_json(json, 0)? {
            Value::Body(items) => Ok(items),
            _ => Err(PolicyError::new(1, "a policy is an object")),
        };
    }
    let mut parser = Parser { rest: text, line: 1, items: 0 };
    let items = parser.body(0)?;
    parser.space();
    if parser.rest.is_empty() { Ok(items) } else { Err(parser.error("a brace is closed that was not opened")) }
}

fn from_json(json: Json, depth: usize) -> Result<Value, PolicyError> {
    if depth > MAX_DEPTH {
        return Err(PolicyError::new(0, "nested too deeply"));
    }
    Ok(match json {
        Json::Null => Value::List(Vec::new()),
        Json::Bool(b) => Value::Bool(b),
        Json::Number(n) => Value::Number(n),
        Json::String(s) => Value::Text(s),
        Json::Array(all) => Value::List(all.into_iter().map(|v| from_json(v, depth + 1)).collect::<Result<_, _>>()?),
        Json::Object(map) => Value::Body(
            map.into_iter()
                .map(|(key, v)| Ok(Item { line: 0, key, labels: Vec::new(), value: from_json(v, depth + 1)? }))
                .collect::<Result<_, _>>()?,
        ),
    })
}

struct Parser<'a> {
    rest: &'a str,
    line: usize,
    items: usize,
}

impl Parser<'_> {
    fn error(&self, text: impl Into<String>) -> PolicyError {
        PolicyError::new(self.line, text)
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn advance(&mut self, bytes: usize) {
        let (gone, rest) = self.rest.split_at(bytes);
        self.line += gone.bytes().filter(|b| *b == b'\n').count();
        self.rest = rest;
    }

    fn take(&mut self, token: char) -> bool {
        let found = self.peek() == Some(token);
        if found {
            self.advance(token.len_utf8());
        }
        found
    }

    /// Skips white space and comments.
    fn space(&mut self) {
        loop {
            let blank = self.rest.len() - self.rest.trim_start_matches([' ', '\t', '\r', '\n', '\u{feff}']).len();
            self.advance(blank);
            let comment = if self.rest.starts_with('#') || self.rest.starts_with("//") {
                self.rest.find('\n').unwrap_or(self.rest.len())
            } else if self.rest.starts_with("/*") {
                self.rest.find("*/").map_or(self.rest.len(), |end| end + 2)
            } else {
                return;
            };
            self.advance(comment);
        }
    }

    fn count(&mut self) -> Result<(), PolicyError> {
        self.items += 1;
        if self.items > MAX_ITEMS { Err(self.error("too many items")) } else { Ok(()) }
    }

    fn body(&mut self, depth: usize) -> Result<Vec<Item>, PolicyError> {
        if depth > MAX_DEPTH {
            return Err(self.error("nested too deeply"));
        }
        let mut items = Vec::new();
        loop {
            self.space();
            match self.peek() {
                None | Some('}') => return Ok(items),
                Some(',') => self.advance(1),
                Some(_) => {
                    self.count()?;
                    items.push(self.item(depth)?);
                }
            }
        }
    }

    fn item(&mut self, depth: usize) -> Result<Item, PolicyError> {
        let line = self.line;
        let key = self.key()?;
        let mut labels = Vec::new();
        loop {
            self.space();
            match self.peek() {
                Some('=' | ':') => {
                    self.advance(1);
                    self.space();
                    let value = self.value(depth + 1)?;
                    return Ok(Item { line, key, labels, value });
                }
                Some('{') => {
                    let value = self.value(depth + 1)?;
                    return Ok(Item { line, key, labels, value });
                }
                Some('"') => {
                    self.count()?;
                    labels.push(self.string()?);
                }
                Some(c) if word(c) => {
                    self.count()?;
                    labels.push(self.key()?);
                }
                _ => return Err(self.error(format!("after {key:?} a `=` or a `{{` is missing"))),
            }
        }
    }

    fn key(&mut self) -> Result<String, PolicyError> {
        if self.peek() == Some('"') {
            return self.string();
        }
        let end = self.rest.find(|c| !word(c)).unwrap_or(self.rest.len());
        if end == 0 {
            return Err(self.error("a name was expected here"));
        }
        let key = self.rest[..end].to_owned();
        self.advance(end);
        Ok(key)
    }

    fn value(&mut self, depth: usize) -> Result<Value, PolicyError> {
        if depth > MAX_DEPTH {
            return Err(self.error("nested too deeply"));
        }
        match self.peek() {
            Some('"') => self.string().map(Value::Text),
            Some('<') if self.rest.starts_with("<<") => self.here_document().map(Value::Text),
            Some('[') => self.list(depth),
            Some('{') => {
                self.advance(1);
                let items = self.body(depth)?;
                if self.take('}') { Ok(Value::Body(items)) } else { Err(self.error("a closing brace is missing")) }
            }
            Some(_) => self.plain(),
            None => Err(self.error("a value is missing at the end")),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, PolicyError> {
        self.advance(1);
        let mut values = Vec::new();
        loop {
            self.space();
            if self.take(']') {
                return Ok(Value::List(values));
            }
            self.count()?;
            values.push(self.value(depth + 1)?);
            self.space();
            if !self.take(',') && self.peek() != Some(']') {
                return Err(self.error("a comma or a closing bracket is missing"));
            }
        }
    }

    fn plain(&mut self) -> Result<Value, PolicyError> {
        let end = self.rest.find(|c: char| !word(c) && c != '+').unwrap_or(self.rest.len());
        let text = &self.rest[..end];
        let value = match text {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => match text.parse::<serde_json::Number>() {
                Ok(number) => Value::Number(number),
                Err(_) => return Err(self.error("a string, number, list or object was expected here")),
            },
        };
        self.advance(end);
        Ok(value)
    }

    fn string(&mut self) -> Result<String, PolicyError> {
        self.advance(1);
        let mut out = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.advance(at + 1);
                    return Ok(out);
                }
                '\n' => return Err(self.error("a string does not end on its line")),
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('r') => out.push('\r'),
                    Some(c @ ('"' | '\\' | '/')) => out.push(c),
                    Some(kind @ ('u' | 'U')) => {
                        let digits: String =
                            chars.by_ref().take(if kind == 'u' { 4 } else { 8 }).map(|(_, c)| c).collect();
                        let point = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                        out.push(point.ok_or_else(|| self.error("an escape in a string names no character"))?);
                    }
                    _ => return Err(self.error("an unknown escape in a string")),
                },
                c => out.push(c),
            }
        }
        Err(self.error("a string is not closed"))
    }

    fn here_document(&mut self) -> Result<String, PolicyError> {
        self.advance(2);
        let indented = self.take('-');
        let end = self.rest.find('\n').ok_or_else(|| self.error("a here-document is not closed"))?;
        let marker = self.rest[..end].trim().to_owned();
        if marker.is_empty() || !marker.chars().all(word) {
            return Err(self.error("a here-document needs a name"));
        }
        self.advance(end + 1);
        let mut out = String::new();
        loop {
            if self.rest.is_empty() {
                return Err(self.error("a here-document is not closed"));
            }
            let end = self.rest.find('\n').map_or(self.rest.len(), |end| end + 1);
            let line = self.rest[..end].to_owned();
            if line.trim() == marker {
                self.advance(line.trim_end_matches(['\r', '\n']).len());
                return Ok(out);
            }
            out.push_str(if indented { line.trim_start_matches([' ', '\t']) } else { &line });
            self.advance(end);
        }
    }
}

fn word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = match read(text) {
            Ok(items) => show(&Value::Body(items)),
            Err(e) => format!("line {}: {}", e.line, e.text),
        };
        assert_eq!(shown, expected, "{text}");
    }

    fn show(value: &Value) -> String {
        match value {
            Value::Text(t) => format!("{t:?}"),
            Value::Number(n) => n.to_string(),
            Value::Bool(b) => b.to_string(),
            Value::List(all) => format!("[{}]", all.iter().map(show).collect::<Vec<_>>().join(",")),
            Value::Body(items) => {
                let parts = items.iter().map(|i| format!("{}{:?}={}", i.key, i.labels, show(&i.value)));
                format!("{{{}}}", parts.collect::<Vec<_>>().join(" "))
            }
        }
    }

    #[test]
    fn blocks_attributes_and_comments() {
        check(
            "# a\npath \"secret/*\" { // b\n capabilities = [\"read\", \"list\",]\n a = 1 b = true /* c */ }",
            r#"{path["secret/*"]={capabilities[]=["read","list"] a[]=1 b[]=true}}"#,
        );
        check("a = <<EOT\nx \"y\"\nEOT\nb = \"\\u00e9\\n\"", r#"{a[]="x \"y\"\n" b[]="é\n"}"#);
        check(r#"{"path": {"a": {"capabilities": ["read"]}}}"#, r#"{path[]={a[]={capabilities[]=["read"]}}}"#);
        check("", "{}");
    }

    #[test]
    fn mistakes_name_their_line() {
        check("path \"a\" {\n  x = \n", "line 3: a value is missing at the end");
        check("path \"a\" {\n", "line 2: a closing brace is missing");
        check("}\n", "line 1: a brace is closed that was not opened");
        check("a = \"x\n\"", "line 1: a string does not end on its line");
        check("a = b", "line 1: a string, number, list or object was expected here");
        check("a", "line 1: after \"a\" a `=` or a `{` is missing");
        check(&format!("a = {}", "[".repeat(40)), "line 1: nested too deeply");
        check(&"a {".repeat(100), "line 1: nested too deeply");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\{\\}\\[\\]=\",<a-z0-9 \n\\\\#/*é]{0,80}") {
            let _ = read(&text);
        }
    }
}
