//! Texts with places for variables, as `Judge this: {{text}}`: read once, filled in often.
//!
//! A value is put in as it is and never read as a text with places again, so no value can bring in another.

use std::fmt;

/// A text with places for variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

/// A part of such a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text that stands as it is.
    Text(Box<str>),
    /// The place of a variable, by its name.
    Variable(Box<str>),
}

/// Why a text cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// A `{{` without its `}}`.
    Open,
    /// What stands between `{{` and `}}` is no name of a variable.
    NoName,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "a `{{` has no `}}`",
            Self::NoName => "what stands between `{{` and `}}` is no name of a variable",
        })
    }
}

impl std::error::Error for TemplateError {}

/// Whether a variable may be called so: 1 to 64 letters, digits and `_`, of which the first is no digit.
pub fn is_variable(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=64).contains(&name.len()) && name.bytes().all(plain) && !name.as_bytes()[0].is_ascii_digit()
}

impl Template {
    /// Reads a text. `{{name}}`, with or without blanks around the name, is the place of a variable, and `{{{{` stands for
    /// `{{` itself.
    ///
    /// # Errors
    /// [`TemplateError`] where it cannot be read.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find("{{") {
            plain.push_str(&rest[..at]);
            rest = &rest[at + 2..];
            if let Some(behind) = rest.strip_prefix("{{") {
                plain.push_str("{{");
                rest = behind;
                continue;
            }
            let end = rest.find("}}").ok_or(TemplateError::Open)?;
            let name = rest[..end].trim_matches([' ', '\t']);
            if !is_variable(name) {
                return Err(TemplateError::NoName);
            }
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain).into()));
            }
            pieces.push(Piece::Variable(name.into()));
            rest = &rest[end + 2..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain.into()));
        }
        Ok(Self(pieces))
    }

    /// Its parts, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// The variables that have places in it, each as often as it has one.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Variable(name) => Some(&**name),
            Piece::Text(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn told(text: &str) -> Vec<String> {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => format!("'{text}"),
            Piece::Variable(name) => format!("${name}"),
        };
        Template::parse(text).unwrap().pieces().iter().map(piece).collect()
    }

    #[test]
    fn places_are_found_and_all_else_stays() {
        assert_eq!(told("a {{ b }}{{c_1}} } {d} }}"), ["'a ", "$b", "$c_1", "' } {d} }}"]);
        assert_eq!(told(""), [""; 0]);
        assert_eq!(told("{ {x} }"), ["'{ {x} }"]);
        assert_eq!(told("use {{{{name}} for {{name}}"), ["'use {{name}} for ", "$name"]);
        assert_eq!(told("{{ä}}".replace('ä', "x").as_str()), ["$x"]);
    }

    #[test]
    fn what_is_no_place_is_refused() {
        assert_eq!(Template::parse("a {{b"), Err(TemplateError::Open));
        for text in ["{{}}", "{{ }}", "{{a b}}", "{{1a}}", "{{a-b}}", "{{ä}}", "{{#each x}}", "{{{a}}}"] {
            assert_eq!(Template::parse(text), Err(TemplateError::NoName), "{text}");
        }
        assert_eq!(Template::parse(&format!("{{{{{}}}}}", "x".repeat(65))), Err(TemplateError::NoName));
    }
}
