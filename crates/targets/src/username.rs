//! Names of logins, from templates as Vault's database engine has them.
//!
//! A template is text with expressions in `{{ }}`: `.DisplayName`, `.RoleName`, `random N`,
//! `unix_time`, `unix_time_millis`, `timestamp "2006-01-02T15:04:05Z"` (that layout only), `uuid`,
//! `printf "…%s…" a b`, a text in quotes, an expression in parentheses; piped through `truncate N`,
//! `truncate_sha256 N`, `uppercase`, `lowercase`, `replace "a" "b"`. Other functions of Vault do not
//! exist here and are an error when the template is read.

use crate::{Kind, Result, TargetError, hash::short_sha256, password};
use credentialflow_model::Timestamp;

/// A parsed template for one kind of target.
#[derive(Clone, Debug)]
pub struct Template {
    parts: Vec<Part>,
    longest: usize,
}

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Value(Expression),
}

#[derive(Clone, Debug)]
enum Expression {
    Text(String),
    DisplayName,
    RoleName,
    Random(usize),
    Time,
    Millis,
    Timestamp,
    Uuid,
    Printf(Vec<Piece>, Vec<Expression>),
    Truncate(Box<Expression>, usize),
    TruncateSha256(Box<Expression>, usize),
    Uppercase(Box<Expression>),
    Lowercase(Box<Expression>),
    Replace(Box<Expression>, String, String),
}

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Argument,
}

/// What a name is made from.
struct Facts<'a> {
    display: &'a str,
    role: &'a str,
    now: Timestamp,
}

impl Template {
    /// Vault's own default for a kind: `v-{display}-{role}-{random}-{time}`.
    pub fn of(kind: Kind) -> Self {
        let part = if kind == Kind::Mysql { 10 } else { 8 };
        // The parts before the random one leave it at least eight characters, whatever they are.
        let text = format!(
            r#"{{{{ printf "v-%s-%s-%s-%s" (.DisplayName | truncate {part}) (.RoleName | truncate {part}) (random 20) (unix_time) }}}}"#
        );
        Self::parse(&text, kind).unwrap_or_else(|_| Self {
            parts: vec![Part::Text("v-".to_owned()), Part::Value(Expression::Random(20))],
            longest: kind.longest_name(),
        })
    }

    /// Reads a template.
    pub fn parse(text: &str, kind: Kind) -> Result<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, inside)) = rest.split_once("{{") {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let mut reader = Reader { rest: inside };
            parts.push(Part::Value(reader.pipeline()?));
            rest = reader.rest.trim_start().strip_prefix("}}").ok_or_else(|| bad("an expression does not end"))?;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        let random = |part: &Part| matches!(part, Part::Value(e) if e.is_random());
        if !parts.iter().any(random) {
            return Err(bad("a username needs `random` or `uuid`, so that two logins never share one"));
        }
        Ok(Self { parts, longest: kind.longest_name() })
    }

    /// A new name, cut to what the target takes. Characters that no system takes in a name (control
    /// characters, white space) become `_`.
    pub fn make(&self, display: &str, role: &str, now: Timestamp) -> Result<String> {
        let mut name = self.filled(&Facts { display, role, now })?;
        if name.len() > self.longest && !name.is_ascii() {
            // Long foreign letters would push out what makes the name unique.
            let plain = |text: &str| text.replace(|c: char| !c.is_ascii(), "_");
            name = self.filled(&Facts { display: &plain(display), role: &plain(role), now })?;
        }
        let name = cut_bytes(&name, self.longest).to_owned();
        if name.is_empty() { Err(bad("the username is empty")) } else { Ok(name) }
    }

    fn filled(&self, facts: &Facts<'_>) -> Result<String> {
        let mut name = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Value(expression) => name.push_str(&expression.value(facts)?),
            }
        }
        Ok(name.chars().map(|c| if c.is_control() || c.is_whitespace() { '_' } else { c }).collect())
    }
}

impl Expression {
    fn is_random(&self) -> bool {
        match self {
            Self::Random(n) => *n >= 8,
            Self::Uuid => true,
            Self::Printf(_, arguments) => arguments.iter().any(Self::is_random),
            Self::Truncate(e, _)
            | Self::TruncateSha256(e, _)
            | Self::Uppercase(e)
            | Self::Lowercase(e)
            | Self::Replace(e, ..) => e.is_random(),
            _ => false,
        }
    }

    fn value(&self, facts: &Facts<'_>) -> Result<String> {
        Ok(match self {
            Self::Text(text) => text.clone(),
            Self::DisplayName => facts.display.to_owned(),
            Self::RoleName => facts.role.to_owned(),
            Self::Random(length) => String::from_utf8_lossy(&password::random_text(*length)?).into_owned(),
            Self::Time => facts.now.secs().to_string(),
            Self::Millis => (facts.now.micros() / 1000).to_string(),
            Self::Timestamp => Timestamp::from_secs(facts.now.secs()).to_string(),
            Self::Uuid => uuid()?,
            Self::Printf(pieces, arguments) => {
                let mut arguments = arguments.iter();
                let mut text = String::new();
                for piece in pieces {
                    match (piece, piece.is_argument().then(|| arguments.next()).flatten()) {
                        (Piece::Text(piece), _) => text.push_str(piece),
                        (Piece::Argument, Some(argument)) => text.push_str(&argument.value(facts)?),
                        (Piece::Argument, None) => return Err(bad("printf has fewer values than %s")),
                    }
                }
                text
            }
            Self::Truncate(e, length) => e.value(facts)?.chars().take(*length).collect(),
            Self::TruncateSha256(e, length) => {
                let value = e.value(facts)?;
                if value.chars().count() <= *length {
                    value
                } else {
                    let head: String = value.chars().take(length - 8).collect();
                    format!("{head}{}", short_sha256(&value, 8))
                }
            }
            Self::Uppercase(e) => e.value(facts)?.to_uppercase(),
            Self::Lowercase(e) => e.value(facts)?.to_lowercase(),
            Self::Replace(e, from, to) => e.value(facts)?.replace(from, to),
        })
    }
}

impl Piece {
    fn is_argument(&self) -> bool {
        matches!(self, Self::Argument)
    }
}

/// A version 4 UUID (RFC 9562).
fn uuid() -> Result<String> {
    let mut bytes = [0u8; 16];
    password::random_bytes(&mut bytes)?;
    let bits = (u128::from_be_bytes(bytes) & !(0xF << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

/// The longest beginning of at most this many bytes that ends between two characters.
fn cut_bytes(text: &str, longest: usize) -> &str {
    let mut end = text.len().min(longest);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn pipeline(&mut self) -> Result<Expression> {
        let mut value = self.call()?;
        while self.skip("|") {
            let word = self.word();
            value = match word {
                "truncate" => Expression::Truncate(Box::new(value), self.number()?),
                "truncate_sha256" => match self.number()? {
                    length @ 9.. => Expression::TruncateSha256(Box::new(value), length),
                    _ => return Err(bad("truncate_sha256 leaves at least 9 characters")),
                },
                "uppercase" => Expression::Uppercase(Box::new(value)),
                "lowercase" => Expression::Lowercase(Box::new(value)),
                "replace" => Expression::Replace(Box::new(value), self.text()?, self.text()?),
                other => return Err(unknown(other)),
            };
        }
        Ok(value)
    }

    fn call(&mut self) -> Result<Expression> {
        self.skip_white();
        if self.rest.starts_with(['"', '(', '.', '`']) {
            return self.operand();
        }
        match self.word() {
            "random" => match self.number()? {
                length @ 1..=128 => Ok(Expression::Random(length)),
                _ => Err(bad("random takes 1 to 128 characters")),
            },
            "unix_time" => Ok(Expression::Time),
            "unix_time_millis" => Ok(Expression::Millis),
            "timestamp" => match self.text()?.as_str() {
                "2006-01-02T15:04:05Z" => Ok(Expression::Timestamp),
                _ => Err(bad("timestamp knows one layout, 2006-01-02T15:04:05Z")),
            },
            "uuid" => Ok(Expression::Uuid),
            "printf" => self.printf(),
            // `truncate 8 .DisplayName` as well as `.DisplayName | truncate 8`.
            "truncate" => {
                let length = self.number()?;
                Ok(Expression::Truncate(Box::new(self.operand()?), length))
            }
            "uppercase" => Ok(Expression::Uppercase(Box::new(self.operand()?))),
            "lowercase" => Ok(Expression::Lowercase(Box::new(self.operand()?))),
            other => Err(unknown(other)),
        }
    }

    fn printf(&mut self) -> Result<Expression> {
        let format = self.text()?;
        let mut pieces = Vec::new();
        let mut rest = format.as_str();
        while let Some((before, after)) = rest.split_once('%') {
            pieces.push(Piece::Text(before.to_owned()));
            rest = match after.chars().next() {
                Some('s' | 'v' | 'd') => {
                    pieces.push(Piece::Argument);
                    &after[1..]
                }
                Some('%') => {
                    pieces.push(Piece::Text("%".to_owned()));
                    &after[1..]
                }
                _ => return Err(bad("printf knows %s, %v, %d and %%")),
            };
        }
        pieces.push(Piece::Text(rest.to_owned()));
        let wanted = pieces.iter().filter(|p| p.is_argument()).count();
        let arguments = (0..wanted).map(|_| self.operand()).collect::<Result<Vec<_>>>()?;
        Ok(Expression::Printf(pieces, arguments))
    }

    fn operand(&mut self) -> Result<Expression> {
        self.skip_white();
        if self.rest.starts_with(['"', '`']) {
            return self.text().map(Expression::Text);
        }
        if self.skip("(") {
            let inside = self.pipeline()?;
            return if self.skip(")") { Ok(inside) } else { Err(bad("a parenthesis does not end")) };
        }
        match self.word() {
            ".DisplayName" => Ok(Expression::DisplayName),
            ".RoleName" => Ok(Expression::RoleName),
            "unix_time" => Ok(Expression::Time),
            "unix_time_millis" => Ok(Expression::Millis),
            "uuid" => Ok(Expression::Uuid),
            other => Err(unknown(other)),
        }
    }

    fn skip_white(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn skip(&mut self, token: &str) -> bool {
        self.skip_white();
        match self.rest.strip_prefix(token) {
            Some(after) => {
                self.rest = after;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> &'a str {
        self.skip_white();
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn number(&mut self) -> Result<usize> {
        let number = self.word().parse().ok().filter(|n| (1..=1024).contains(n));
        number.ok_or_else(|| bad("a number from 1 to 1024 is missing"))
    }

    fn text(&mut self) -> Result<String> {
        self.skip_white();
        let quote = self.rest.chars().next().filter(|c| matches!(c, '"' | '`'));
        let quote = quote.ok_or_else(|| bad("a text in quotes is missing"))?;
        let (text, rest) = self.rest[1..].split_once(quote).ok_or_else(|| bad("a text does not end"))?;
        if quote == '"' && text.contains('\\') {
            return Err(bad("a text in quotes takes no backslash"));
        }
        self.rest = rest;
        Ok(text.to_owned())
    }
}

fn unknown(word: &str) -> TargetError {
    let word: String = word.chars().take(40).collect();
    TargetError::BadTemplate(format!("a username template knows no `{word}`"))
}

fn bad(words: &str) -> TargetError {
    TargetError::BadTemplate(words.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KINDS;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_secs(1_793_534_400);

    fn made(template: &str, kind: Kind) -> String {
        Template::parse(template, kind).unwrap().make("alice@example.com", "read only", NOW).unwrap()
    }

    #[test]
    fn the_defaults_are_vaults() {
        let name = Template::of(Kind::Postgresql).make("token-alice", "reader", NOW).unwrap();
        assert!(name.starts_with("v-token-al-reader-"), "{name}");
        assert!(name.ends_with("-1793534400"), "{name}");
        assert_eq!(name.split('-').nth(4).map(str::len), Some(20), "{name}");
        let name = Template::of(Kind::Mysql).make("token-alice", "reader", NOW).unwrap();
        assert!(name.starts_with("v-token-alic-reader-"), "{name}");
        assert_eq!(name.len(), 32);
    }

    #[test]
    fn templates_of_vaults_documents_work() {
        let name =
            made(r#"{{ printf "V_%s_%s" (.DisplayName | truncate 5 | uppercase) (random 8) }}"#, Kind::Postgresql);
        assert!(name.starts_with("V_ALICE_"), "{name}");
        let name = made(r#"x-{{.RoleName | replace " " "-"}}-{{unix_time}}-{{random 10}}"#, Kind::Redis);
        assert!(name.starts_with("x-read-only-1793534400-"), "{name}");
        let name = made(r#"{{random 20}}{{.DisplayName | truncate_sha256 12 | lowercase}}"#, Kind::Redis);
        assert!(name[20..].starts_with("alic") && name.len() == 32, "{name}");
        let name = made("{{uuid}}", Kind::Redis);
        assert_eq!((name.len(), name.as_bytes()[14]), (36, b'4'));
        assert!(
            made("{{random 8}}-{{timestamp \"2006-01-02T15:04:05Z\"}}", Kind::Redis).ends_with("-2026-11-01T12:00:00Z")
        );
    }

    #[test]
    fn what_is_not_known_or_not_unique_is_refused() {
        for bad in [
            "",
            "v-{{.RoleName}}",
            "{{random 8",
            "{{env \"HOME\"}}{{uuid}}",
            "{{random 0}}",
            "{{random 3}}",
            "{{printf \"%s\"}}{{uuid}}",
            "{{printf \"%x\" uuid}}",
            "{{(uuid}}",
            "{{uuid}} {{.Secret}}",
        ] {
            assert!(matches!(Template::parse(bad, Kind::Redis), Err(TargetError::BadTemplate(_))), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn names_fit_and_differ(display in "\\PC{0,40}", role in "\\PC{0,40}") {
            for kind in KINDS {
                let template = Template::of(*kind);
                let (a, b) = (template.make(&display, &role, NOW).unwrap(), template.make(&display, &role, NOW).unwrap());
                prop_assert!(a.len() <= kind.longest_name());
                prop_assert!(!a.contains(char::is_whitespace) && !a.contains(char::is_control));
                prop_assert_ne!(a, b);
            }
        }

        #[test]
        fn no_template_makes_it_panic(text in "[{}a-z.|()\" %0-9_]{0,60}") {
            let _ = Template::parse(&text, Kind::Postgresql).map(|t| t.make("a", "b", NOW));
        }
    }
}
