//! SQL templates: cut into statements and filled in so that no value can leave its place.
//!
//! A placeholder is put in by where it stands: between quotes it is escaped as that quote asks, in
//! the open it gets quotes of its own. In a comment, inside a longer literal or next to other letters
//! a value could change the meaning of what surrounds it; there only harmless values are taken.

use crate::{Result, TargetError};
use zeroize::Zeroizing;

/// Whose quoting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// With `standard_conforming_strings` on, as our connections set it.
    Postgresql,
    /// Without `NO_BACKSLASH_ESCAPES`, as our connections set it.
    Mysql,
}

/// What is put in. A value that is absent makes its placeholder an error.
#[derive(Clone, Copy, Default)]
pub(crate) struct Values<'a> {
    /// `{{name}}` and `{{username}}`.
    pub(crate) name: &'a str,
    /// `{{password}}`: what may travel, clear or hashed.
    pub(crate) password: Option<&'a str>,
    /// MySQL: the native hash. `IDENTIFIED BY '{{password}}'` becomes `IDENTIFIED WITH
    /// mysql_native_password AS '<hash>'`; also `{{password_hash}}`.
    pub(crate) native_hash: Option<&'a str>,
    /// `{{expiration}}`.
    pub(crate) expiration: Option<&'a str>,
}

/// The statements of templates, filled in. Empty ones are left out.
pub(crate) fn render(templates: &[String], dialect: Dialect, values: &Values<'_>) -> Result<Vec<Zeroizing<String>>> {
    let mut statements = Vec::new();
    for template in templates {
        let mut lexer = Lexer { dialect, values, rest: template, out: Zeroizing::new(String::new()), dollar: None };
        lexer.run(&mut statements)?;
    }
    Ok(statements)
}

/// A PostgreSQL identifier in quotes.
pub(crate) fn pg_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A literal in quotes, safe under both settings of MySQL's `ANSI_QUOTES`.
pub(crate) fn mysql_literal(text: &str) -> String {
    format!("'{}'", *escape(text, '\'', true))
}

struct Lexer<'a> {
    dialect: Dialect,
    values: &'a Values<'a>,
    rest: &'a str,
    out: Zeroizing<String>,
    /// PostgreSQL: the tag of the dollar quote we are in, dollars included.
    dollar: Option<&'a str>,
}

impl<'a> Lexer<'a> {
    fn run(&mut self, statements: &mut Vec<Zeroizing<String>>) -> Result<()> {
        let postgresql = self.dialect == Dialect::Postgresql;
        while let Some(c) = self.rest.chars().next() {
            if let Some(tag) = self.dollar
                && let Some(after) = self.rest.strip_prefix(tag)
            {
                self.push(self.rest.len() - after.len());
                self.dollar = None;
            } else if self.rest.starts_with("{{") {
                self.in_the_open()?;
            } else if c == '\'' || c == '"' || (c == '`' && !postgresql) {
                self.quoted(c)?;
            } else if self.rest.starts_with("/*") {
                self.block_comment()?;
            } else if self.begins_line_comment() {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.comment(end)?;
            } else if c == '$' && postgresql && self.dollar.is_none() && !self.follows_word() {
                match dollar_tag(self.rest) {
                    Some(tag) => {
                        self.dollar = Some(tag);
                        self.push(tag.len());
                    }
                    None => self.push(1),
                }
            } else if c == ';' && self.dollar.is_none() {
                self.rest = &self.rest[1..];
                self.finish(statements);
            } else {
                self.push(c.len_utf8());
            }
        }
        if self.dollar.is_some() {
            return Err(bad("a dollar quote does not end"));
        }
        self.finish(statements);
        Ok(())
    }

    fn finish(&mut self, statements: &mut Vec<Zeroizing<String>>) {
        let statement = std::mem::replace(&mut self.out, Zeroizing::new(String::new()));
        if !statement.trim().is_empty() {
            statements.push(Zeroizing::new(statement.trim().to_owned()));
        }
    }

    fn push(&mut self, length: usize) {
        let (now, rest) = self.rest.split_at(length);
        self.out.push_str(now);
        self.rest = rest;
    }

    fn begins_line_comment(&self) -> bool {
        match self.dialect {
            Dialect::Postgresql => self.rest.starts_with("--"),
            Dialect::Mysql => {
                let dashes = self.rest.strip_prefix("--");
                self.rest.starts_with('#')
                    || dashes.is_some_and(|r| r.chars().next().is_none_or(|c| c.is_whitespace() || c.is_control()))
            }
        }
    }

    fn comment(&mut self, length: usize) -> Result<()> {
        if self.rest[..length].contains("{{") {
            return Err(bad("a placeholder stands in a comment"));
        }
        self.push(length);
        Ok(())
    }

    /// PostgreSQL's comments nest, MySQL's do not; and MySQL runs what is in `/*! */`, so that is
    /// taken as no comment to hide in either: placeholders are refused in all of them.
    fn block_comment(&mut self) -> Result<()> {
        let (mut depth, mut at) = (0u32, 0);
        loop {
            let here = &self.rest[at..];
            if here.starts_with("/*") && (depth == 0 || self.dialect == Dialect::Postgresql) {
                depth += 1;
                at += 2;
            } else if here.starts_with("*/") {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return self.comment(at);
                }
            } else {
                at += here.chars().next().ok_or_else(|| bad("a comment does not end"))?.len_utf8();
            }
        }
    }

    fn follows_word(&self) -> bool {
        self.out.chars().next_back().is_some_and(is_word)
    }

    /// Copies a quoted text, its placeholders filled in.
    fn quoted(&mut self, quote: char) -> Result<()> {
        let mysql = self.dialect == Dialect::Mysql;
        let prefix = self.string_prefix();
        let escapes = match quote {
            '`' => false,
            _ if mysql => true,
            '\'' => prefix == Prefix::Escape,
            _ => false,
        };
        self.push(1);
        let begin = self.out.len();
        let mut filled = false;
        loop {
            let Some(c) = self.rest.chars().next() else { return Err(bad("a quoted text does not end")) };
            if let Some(tag) = self.dollar
                && self.rest.starts_with(tag)
            {
                return Err(bad("a quoted text does not end before the dollar quote around it does"));
            }
            if c == '\\' && escapes {
                let next = self.rest[1..].chars().next().map_or(0, char::len_utf8);
                self.push(1 + next);
            } else if c == quote && self.rest[1..].starts_with(quote) {
                self.push(2);
            } else if c == quote {
                self.push(1);
                return Ok(());
            } else if self.rest.starts_with("{{") {
                let alone_before = self.out.len() == begin && !filled;
                let (name, after) = placeholder(self.rest)?;
                let alone = alone_before && after.starts_with(quote) && !after[1..].starts_with(quote);
                let value = self.value_between_quotes(name, quote, alone)?;
                self.check(value, alone, prefix)?;
                self.out.push_str(&escape(value, quote, escapes));
                self.rest = after;
                filled = true;
            } else {
                self.push(c.len_utf8());
            }
        }
    }

    /// A password between quotes, or any other value. Turns MySQL's `IDENTIFIED BY '…'` into the form
    /// that takes a hash.
    fn value_between_quotes(&mut self, name: &str, quote: char, alone: bool) -> Result<&'a str> {
        if let (Dialect::Mysql, "password", Some(hash)) = (self.dialect, name, self.values.native_hash)
            && alone
            && quote != '`'
        {
            let before = self.out.len() - quote.len_utf8();
            if let Some(start) = identified_by(&self.out[..before]) {
                self.out.truncate(start);
                self.out.push_str("IDENTIFIED WITH mysql_native_password AS ");
                self.out.push(quote);
                return Ok(hash);
            }
        }
        self.value(name)
    }

    /// A placeholder outside quotes gets quotes of its own.
    fn in_the_open(&mut self) -> Result<()> {
        let (name, after) = placeholder(self.rest)?;
        if self.follows_word() || after.chars().next().is_some_and(is_word) || after.starts_with("{{") {
            return Err(bad("a placeholder outside quotes touches other letters; put quotes around the whole"));
        }
        let value = self.value(name)?;
        self.check(value, true, Prefix::None)?;
        let identifier = matches!(name, "name" | "username");
        let text = match (self.dialect, identifier) {
            (Dialect::Postgresql, true) => pg_identifier(value),
            (Dialect::Postgresql, false) => format!("'{}'", *escape(value, '\'', false)),
            (Dialect::Mysql, true) => format!("`{}`", *escape(value, '`', false)),
            (Dialect::Mysql, false) => mysql_literal(value),
        };
        self.out.push_str(&Zeroizing::new(text));
        self.rest = after;
        Ok(())
    }

    fn value(&self, name: &str) -> Result<&'a str> {
        let values = self.values;
        match name {
            "name" | "username" => Ok(values.name),
            "password" => values.password.ok_or_else(|| {
                bad("{{password}} would travel in clear here; write IDENTIFIED BY '{{password}}', or use TLS")
            }),
            "password_hash" => values.native_hash.ok_or_else(|| bad("there is no {{password_hash}} here")),
            "expiration" => values.expiration.ok_or_else(|| bad("there is no {{expiration}} here")),
            _ => Err(bad("a placeholder is one of {{name}}, {{username}}, {{password}}, {{expiration}}")),
        }
    }

    fn check(&self, value: &str, alone: bool, prefix: Prefix) -> Result<()> {
        let special = |c: char| matches!(c, '\'' | '"' | '`' | '\\' | '$' | '%');
        let refused = value.contains('\0')
            || (self.dollar.is_some() && value.contains('$'))
            || (prefix == Prefix::Unicode && value.contains('\\'))
            || (!alone && value.contains(special));
        if refused {
            return Err(bad("a value has characters that cannot stand where its placeholder is"));
        }
        Ok(())
    }

    /// PostgreSQL's `E'…'` and `U&'…'`.
    fn string_prefix(&self) -> Prefix {
        if self.dialect != Dialect::Postgresql {
            return Prefix::None;
        }
        let mut before = self.out.chars().rev();
        match (before.next(), before.next(), before.next()) {
            (Some('e' | 'E'), other, _) if !other.is_some_and(is_word) => Prefix::Escape,
            (Some('&'), Some('u' | 'U'), other) if !other.is_some_and(is_word) => Prefix::Unicode,
            _ => Prefix::None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Prefix {
    None,
    Escape,
    Unicode,
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// The name of the placeholder at the start, and what comes after it.
fn placeholder(text: &str) -> Result<(&str, &str)> {
    let (inside, after) = text[2..].split_once("}}").ok_or_else(|| bad("a placeholder does not end"))?;
    Ok((inside.trim(), after))
}

/// `$$` or `$tag$` at the start.
fn dollar_tag(text: &str) -> Option<&str> {
    let end = text[1..].find('$')? + 2;
    let tag = &text[1..end - 1];
    let good = tag.chars().all(|c| c.is_alphanumeric() || c == '_') && !tag.starts_with(|c: char| c.is_ascii_digit());
    good.then(|| &text[..end])
}

/// Where `IDENTIFIED BY` begins that stands at the end of a text.
fn identified_by(text: &str) -> Option<usize> {
    let cut = |text: &str, word: &str| {
        let text = text.trim_end();
        let start = text.len().checked_sub(word.len())?;
        text.get(start..).filter(|t| t.eq_ignore_ascii_case(word)).map(|_| start)
    };
    let by = cut(text, "BY")?;
    let identified = cut(&text[..by], "IDENTIFIED")?;
    let between = text[identified + "IDENTIFIED".len()..by].chars().next();
    between.is_some_and(char::is_whitespace).then_some(identified)
}

fn escape(value: &str, quote: char, escapes: bool) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(value.len() + 8));
    for c in value.chars() {
        if c == quote || (escapes && c == '\\') {
            text.push(c);
        }
        text.push(c);
    }
    text
}

fn bad(words: &str) -> TargetError {
    TargetError::BadTemplate(words.to_owned())
}

#[cfg(test)]
#[path = "statement_tests.rs"]
mod tests;
