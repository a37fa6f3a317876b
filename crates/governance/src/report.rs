//! Reports of secret scanners: what gitleaks and trufflehog found, and where.
//!
//! A report holds secrets. They are read straight into [`SecretValue`]s, compared in memory by whoever asked, and
//! wiped when dropped; a problem with a report tells a line and a column, never the text that stands there.
//!
//! Read are gitleaks' JSON (an array of objects with `Secret`, `Match`, `File`, `StartLine`, `Commit`, `RuleID`) and
//! trufflehog's JSON lines (objects with `Raw`, `RawV2`, `DetectorName` and `SourceMetadata`). Fields that are not
//! named here are passed over.

use credentialflow_model::{KeyToken, SecretValue, mask::masked};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};

/// Most findings read from one report.
pub const MAX_ITEMS: usize = 20_000;
/// Shorter values are not compared: they would be met by chance.
pub const MIN_LENGTH: usize = 8;
/// Longest text of a place that is kept, in bytes.
const MAX_TEXT: usize = 300;
/// Longer texts, as whole files of keys, are compared whole and not in parts.
const MAX_PARTED: usize = 4096;
/// Most parts of one text that are compared.
const MAX_PARTS: usize = 64;

/// A scanner whose reports can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// <https://github.com/gitleaks/gitleaks>
    Gitleaks,
    /// <https://github.com/trufflesecurity/trufflehog>
    Trufflehog,
}

impl Tool {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gitleaks => "gitleaks",
            Self::Trufflehog => "trufflehog",
        }
    }
}

/// One finding of a report. Cannot be printed with its secrets.
#[derive(Debug)]
pub struct Item {
    /// What may be a value of ours, in every form in which the report has it.
    pub candidates: Vec<SecretValue>,
    /// The scanner's own rule.
    pub rule: Option<String>,
    /// The file.
    pub file: Option<String>,
    /// The line in it, from 1.
    pub line: Option<u64>,
    /// The commit.
    pub commit: Option<String>,
}

/// A report that was read.
#[derive(Debug)]
pub struct Report {
    /// Which scanner made it.
    pub tool: Tool,
    /// Its findings.
    pub items: Vec<Item>,
    /// Findings whose secret the scanner had blanked already; there is nothing to compare.
    pub redacted: u64,
}

/// Why a report cannot be read. Never repeats what stands in it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReportError {
    /// Neither scanner writes such a text.
    #[error("this is no report of gitleaks or trufflehog: line {line}, column {column} is not as they write it")]
    Unreadable {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// It has more findings than are read at once.
    #[error("the report has more than {MAX_ITEMS} findings; split it")]
    TooLarge,
}

/// Reads a report; which scanner made it shows in its form.
pub fn parse(text: &[u8]) -> Result<Report, ReportError> {
    if text.trim_ascii_start().first() == Some(&b'[') { gitleaks(text) } else { trufflehog(text) }
}

/// Text that may be a secret.
#[derive(Default)]
struct Hidden(Option<SecretValue>);

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        Ok(Self(text.filter(|text| !text.is_empty()).map(SecretValue::from)))
    }
}

#[derive(Deserialize)]
struct Leak {
    #[serde(rename = "RuleID", default)]
    rule: Option<String>,
    #[serde(rename = "StartLine", default)]
    line: Option<u64>,
    #[serde(rename = "Match", default)]
    matched: Hidden,
    #[serde(rename = "Secret", default)]
    secret: Hidden,
    #[serde(rename = "File", default)]
    file: Option<String>,
    #[serde(rename = "Commit", default)]
    commit: Option<String>,
}

fn gitleaks(text: &[u8]) -> Result<Report, ReportError> {
    let leaks: Vec<Leak> = serde_json::from_slice(text).map_err(|error| unreadable(&error, 0))?;
    let mut report = Report { tool: Tool::Gitleaks, items: Vec::new(), redacted: 0 };
    for leak in leaks {
        let place = (leak.rule, leak.file, leak.line, leak.commit);
        report.add(vec![leak.secret, leak.matched], place)?;
    }
    Ok(report)
}

#[derive(Deserialize)]
struct Detected {
    #[serde(rename = "DetectorName", default)]
    detector: Option<String>,
    #[serde(rename = "Raw", default)]
    raw: Hidden,
    #[serde(rename = "RawV2", default)]
    raw_v2: Hidden,
    #[serde(rename = "SourceMetadata", default)]
    source: Option<Source>,
}

#[derive(Deserialize)]
struct Source {
    /// One member, named after the kind of source: `Git`, `Filesystem`, `Slack`, …
    #[serde(rename = "Data", default)]
    data: BTreeMap<String, Value>,
}

fn trufflehog(text: &[u8]) -> Result<Report, ReportError> {
    let mut report = Report { tool: Tool::Trufflehog, items: Vec::new(), redacted: 0 };
    for (index, line) in text.split(|b| *b == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let found: Detected = serde_json::from_slice(line).map_err(|error| unreadable(&error, index))?;
        // Its own log lines stand between the findings when both go to one file.
        if found.detector.is_none() && found.raw.0.is_none() {
            continue;
        }
        let place = found.source.and_then(|source| source.data.into_values().next());
        let place = place.unwrap_or_default();
        let word = |name: &str| place.get(name).and_then(Value::as_str).map(str::to_owned);
        let line = place.get("line").and_then(Value::as_u64);
        let place = (found.detector, word("file").or_else(|| word("link")), line, word("commit"));
        report.add(vec![found.raw, found.raw_v2], place)?;
    }
    Ok(report)
}

fn unreadable(error: &serde_json::Error, lines_before: usize) -> ReportError {
    ReportError::Unreadable { line: error.line() + lines_before, column: error.column().max(1) }
}

impl Report {
    fn add(
        &mut self,
        texts: Vec<Hidden>,
        (rule, file, line, commit): (Option<String>, Option<String>, Option<u64>, Option<String>),
    ) -> Result<(), ReportError> {
        let texts: Vec<SecretValue> = texts.into_iter().filter_map(|hidden| hidden.0).collect();
        let blank = |text: &SecretValue| text.expose() == b"REDACTED" || text.expose().iter().all(|b| *b == b'*');
        if texts.is_empty() || texts.iter().take(1).all(blank) {
            self.redacted += 1;
            return Ok(());
        }
        if self.items.len() >= MAX_ITEMS {
            return Err(ReportError::TooLarge);
        }
        let candidates = candidates(&texts);
        let kept = |text: Option<String>| text.filter(|t| !t.is_empty()).map(|t| clean(&t, &candidates));
        let (rule, file, commit) = (kept(rule), kept(file), kept(commit));
        self.items.push(Item { candidates, rule, file, line, commit });
        Ok(())
    }
}

/// A place as it may be shown: without the secret itself and what looks like a key of ours, without control
/// characters, and cut.
fn clean(text: &str, secrets: &[SecretValue]) -> String {
    let mut shown = masked(text).into_owned();
    for secret in secrets.iter().filter_map(SecretValue::expose_str) {
        shown = shown.replace(secret, "***");
    }
    let mut end = shown.len().min(MAX_TEXT);
    while !shown.is_char_boundary(end) {
        end -= 1;
    }
    shown[..end].chars().filter(|c| !c.is_control()).collect()
}

/// Every form in which a value of ours may stand in these texts: whole, without quotes, after a scheme or an equals
/// sign, as the password in a URL, and every word that is a well-formed key.
fn candidates(texts: &[SecretValue]) -> Vec<SecretValue> {
    let mut seen = HashSet::new();
    let mut add = |bytes: &[u8]| {
        if bytes.len() >= MIN_LENGTH {
            seen.insert(bytes.to_vec());
        }
    };
    for text in texts {
        let text = text.expose();
        add(text);
        let quoted = |b: &u8| matches!(*b, b'"' | b'\'' | b'`' | b' ' | b'\t' | b'\r' | b'\n' | b',' | b';');
        let bare = trim(text, quoted);
        add(bare);
        if text.len() > MAX_PARTED {
            continue;
        }
        // `NAME=value`, `name: value`, `Bearer value`, `user:password`, one after the other from the right.
        let separators = (0..bare.len()).rev().filter(|at| matches!(bare[*at], b'=' | b':' | b' '));
        for at in separators.take(MAX_PARTS) {
            add(trim(&bare[at + 1..], quoted));
        }
        if let Some(password) = url_password(bare) {
            add(password);
        }
        for word in text.split(|b| !(b.is_ascii_alphanumeric() || *b == b'_')) {
            if KeyToken::parse(word).is_some() {
                add(word);
            }
        }
    }
    seen.into_iter().map(SecretValue::new).collect()
}

fn trim(mut text: &[u8], cut: impl Fn(&u8) -> bool) -> &[u8] {
    while let Some((first, rest)) = text.split_first()
        && cut(first)
    {
        text = rest;
    }
    while let Some((last, rest)) = text.split_last()
        && cut(last)
    {
        text = rest;
    }
    text
}

/// `scheme://user:password@host`
fn url_password(text: &[u8]) -> Option<&[u8]> {
    let at = text.windows(3).position(|w| w == b"://")?;
    let rest = &text[at + 3..];
    let end = rest.iter().rposition(|b| *b == b'@')?;
    let colon = rest[..end].iter().position(|b| *b == b':')?;
    Some(&rest[colon + 1..end])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use credentialflow_model::KeyId;
    use proptest::prelude::*;

    fn has(item: &Item, wanted: &str) -> bool {
        item.candidates.iter().any(|c| c.expose() == wanted.as_bytes())
    }

    #[test]
    fn gitleaks_reports_are_read() {
        let text = r#"[
            { "RuleID": "generic-api-key", "Description": "d", "StartLine": 12, "EndLine": 12, "StartColumn": 3,
              "Match": "token = \"up-3f0c8e1d7a\"", "Secret": "up-3f0c8e1d7a", "File": "deploy/prod.env",
              "SymlinkFile": "", "Commit": "0a1b2c", "Entropy": 3.5, "Author": "a", "Email": "b", "Tags": [] },
            { "RuleID": "x", "Secret": "REDACTED", "Match": "REDACTED", "File": "f", "StartLine": 1 }
        ]"#;
        let report = parse(text.as_bytes()).unwrap();
        assert_eq!((report.tool, report.items.len(), report.redacted), (Tool::Gitleaks, 1, 1));
        let item = &report.items[0];
        assert!(has(item, "up-3f0c8e1d7a"));
        assert_eq!((item.rule.as_deref(), item.line), (Some("generic-api-key"), Some(12)));
        assert_eq!((item.file.as_deref(), item.commit.as_deref()), (Some("deploy/prod.env"), Some("0a1b2c")));
        assert!(!format!("{report:?}").contains("3f0c8e1d7a"));
    }

    #[test]
    fn trufflehog_reports_are_read() {
        let text = concat!(
            r#"{"SourceMetadata":{"Data":{"Git":{"commit":"ff","file":"a.py","email":"x","repository":"r","line":7}}},"#,
            r#""SourceID":1,"DetectorType":1,"DetectorName":"Postgres","Verified":false,"#,
            r#""Raw":"postgres://orders:hunter2hunter2@db:5432","RawV2":"","Redacted":"r","ExtraData":null}"#,
            "\n",
            r#"{"level":"info-0","msg":"finished scanning"}"#,
            "\n\n",
        );
        let report = parse(text.as_bytes()).unwrap();
        assert_eq!((report.tool, report.items.len()), (Tool::Trufflehog, 1));
        let item = &report.items[0];
        assert!(has(item, "hunter2hunter2"));
        assert_eq!((item.file.as_deref(), item.line, item.commit.as_deref()), (Some("a.py"), Some(7), Some("ff")));
        assert_eq!(item.rule.as_deref(), Some("Postgres"));
    }

    #[test]
    fn values_are_found_in_the_forms_people_write() {
        let check = |text: &str| {
            let found = candidates(&[SecretValue::from(text)]);
            assert!(found.iter().any(|c| c.expose() == b"s3cr3t-value"), "{text}");
        };
        for text in [
            "s3cr3t-value",
            "\"s3cr3t-value\"",
            "TOKEN=s3cr3t-value",
            "TOKEN = 's3cr3t-value';",
            "token: s3cr3t-value",
            "Authorization: Bearer s3cr3t-value",
            "user:s3cr3t-value",
            "redis://u:s3cr3t-value@h/0",
        ] {
            check(text);
        }
        assert!(candidates(&[SecretValue::from("short=7")]).iter().all(|c| c.len() >= MIN_LENGTH));
    }

    #[test]
    fn long_texts_are_not_taken_apart() {
        let many = "a=".repeat(2000);
        assert!(candidates(&[SecretValue::from(many.as_str())]).len() <= MAX_PARTS + 2);
        assert!(candidates(&[SecretValue::from("a=".repeat(3000))]).len() <= 2);
    }

    #[test]
    fn a_key_is_found_in_the_middle_of_a_text_and_never_kept_as_a_place() {
        let key = KeyToken::generate("cfk", "live", KeyId::from_bits(5), |bytes| bytes.fill(7)).unwrap();
        let key = key.expose_str().unwrap();
        let text = format!("curl -H 'x-api-key:{key}' (https://a)");
        assert!(candidates(&[SecretValue::from(text)]).iter().any(|c| c.expose() == key.as_bytes()));
        let report = format!(r#"[{{"Secret":"{key}","File":"logs/{key}.txt","StartLine":1}}]"#);
        let file = parse(report.as_bytes()).unwrap().items[0].file.clone().unwrap();
        assert!(!file.contains(&key[20..]), "{file}");
    }

    #[test]
    fn what_cannot_be_read_is_told_by_its_place_alone() {
        let check = |text: &str, line| {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, ReportError::Unreadable { line: l, .. } if l == line), "{error:?}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        };
        check("[\n{ \"Secret\": hunter2 }]", 2);
        check("[{ \"Secret\": [\"hunter2\"] }]", 1);
        check("{\"Raw\":\"a\",\"DetectorName\":\"x\"}\nhunter2", 2);
        check("hunter2", 1);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_fall_over(text in "[\\[{\"a-zA-Z:,=@/ }\\]\\n]{0,200}") {
            let _ = parse(text.as_bytes());
            let _ = candidates(&[SecretValue::from(text)]);
        }
    }
}
