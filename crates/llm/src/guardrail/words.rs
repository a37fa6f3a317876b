//! Words and phrases of a list, and regular expressions.
//!
//! Exact for what is written: good for names of products and projects, numbers of the own house and words that a model is
//! not to hear. A list of words is no knowledge of a topic: what is said in other words passes. Patterns are built with
//! bounds on their size and matched without going back: one match takes time in proportion to the text. Where matches are to
//! be taken out, each is looked for in a stretch of the text, as all of them together take the square of it else.

use super::{Detector, Found, MOST_FOUND, Reach, after, boundary, text::Text};
use regex::{Regex, RegexBuilder};
use std::fmt::Write as _;

/// So much memory a pattern may take, in bytes.
const MOST: usize = 2 << 20;

/// A match of so many bytes is found whole; of a longer one perhaps only a part, where a part of it is a match as well.
const REACH: usize = 16 << 10;

/// So much of a streamed answer waits for a pattern whose matches have no longest one, and for any other at the most.
const REACH_OF_ENDLESS: usize = 1024;
const MOST_REACH: usize = 4096;

/// Finds what an expression matches.
pub(super) struct Expression {
    regex: Regex,
    /// No match is longer, as far as streamed answers are looked at.
    longest: usize,
}

/// Finds words and phrases.
pub(super) fn of_list(words: &[String]) -> Result<Expression, String> {
    let mut pattern = String::from("(?i)");
    // The longest first, as the first that fits is taken.
    let mut words: Vec<&str> = words.iter().map(|word| word.trim()).filter(|word| !word.is_empty()).collect();
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    if words.is_empty() {
        return Err("the list of words is empty".into());
    }
    for (i, word) in words.iter().enumerate() {
        pattern.push_str(if i == 0 { "(?:" } else { "|" });
        let edge = |c: Option<char>| c.is_some_and(has_edges);
        let inner: Vec<String> = word.split_whitespace().map(regex::escape).collect();
        let start = if edge(word.chars().next()) { r"\b" } else { "" };
        let end = if edge(word.chars().next_back()) { r"\b" } else { "" };
        let _ = write!(pattern, "{start}{}{end}", inner.join(r"\s+"));
    }
    pattern.push(')');
    // A letter and its counterpart may have other lengths, and between words there may be more than one blank.
    let longest = words.first().map_or(0, |word| 3 * word.len() + 64);
    expression(&pattern, longest)
}

/// Finds what a pattern matches.
pub(super) fn of_pattern(pattern: &str) -> Result<Expression, String> {
    if pattern.is_empty() || pattern.len() > 4096 {
        return Err("a pattern has 1 to 4096 bytes".into());
    }
    let longest = regex_syntax::parse(pattern).ok().and_then(|parsed| parsed.properties().maximum_len());
    let expression = expression(pattern, longest.map_or(REACH_OF_ENDLESS, |longest| longest.min(MOST_REACH)))?;
    if expression.regex.is_match("") {
        return Err("the pattern matches where nothing is".into());
    }
    Ok(expression)
}

fn expression(pattern: &str, longest: usize) -> Result<Expression, String> {
    let built = RegexBuilder::new(pattern).size_limit(MOST).dfa_size_limit(MOST).nest_limit(64).build();
    built.map(|regex| Expression { regex, longest }).map_err(|e| match e {
        regex::Error::CompiledTooBig(_) => "the pattern is too large".into(),
        other => other.to_string().lines().next_back().unwrap_or_default().trim().to_owned(),
    })
}

/// Whether words of this script are parted, so that a word within another is told.
fn has_edges(c: char) -> bool {
    c.is_alphanumeric() && (c as u32) < 0x0e00
}

impl Detector for Expression {
    fn find(&self, text: &str, found: &mut Vec<Found>) {
        let (mut from, mut searches) = (0, 0);
        while from <= text.len() && searches <= MOST_FOUND {
            let end = boundary(text, from.saturating_add(2 * REACH));
            let place = match self.regex.find_at(&text[..end], from) {
                // It may go on behind the stretch.
                Some(place) if end < text.len() && place.start() >= from + REACH => {
                    from = place.start();
                    continue;
                }
                // The next ends behind the stretch, or there is none.
                None if end < text.len() => self.regex.find_at(text, from),
                place => place,
            };
            let Some(place) = place else { break };
            searches += 1;
            from = place.end();
            if place.is_empty() {
                from += after(text, from).map_or(1, char::len_utf8);
            } else {
                found.push(Found { range: place.range(), placeholder: "[REDACTED]" });
            }
        }
        // What was not looked at must not stay.
        if searches > MOST_FOUND {
            found.push(Found { range: 0..text.len(), placeholder: "[REDACTED]" });
        }
    }

    fn is_in(&self, texts: &[Text<'_>]) -> bool {
        texts.iter().any(|text| self.regex.is_match(&text.text))
    }

    // With the character that follows, which may be part of no word.
    fn reach(&self) -> Reach {
        Reach { bytes: self.longest + 4, row: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(detector: Result<Expression, String>, text: &str, expect: &[&str]) {
        let mut found = Vec::new();
        detector.unwrap().find(text, &mut found);
        assert_eq!(found.into_iter().map(|f| &text[f.range]).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn words_are_whole_and_in_any_case() {
        let list = |words: &[&str]| of_list(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        check(list(&["project falcon", "über"]), "Project\n FALCON, ÜBER, übermut, c++", &["Project\n FALCON", "ÜBER"]);
        check(list(&["c++", "a.b"]), "C++ axb a.b", &["C++", "a.b"]);
        check(list(&["机密"]), "这是机密文件", &["机密"]);
        assert!(list(&[" "]).is_err());
    }

    #[test]
    fn matches_are_found_wherever_they_stand() {
        let detector = of_pattern(r"\b[A-Z]+-\d+\b|^x|y\z|\bä\b").unwrap();
        let mut text = String::from("x");
        for i in 0..2000 {
            text.push_str(&" ä.".repeat(i % 8));
            text.push_str(&format!(" PRJ-{i} x y {}", "ü".repeat(if i % 500 == 0 { 30_000 } else { i % 7 })));
        }
        text.push_str(&format!(" A-{} y", "1".repeat(REACH - 2)));
        let mut found = Vec::new();
        detector.find(&text, &mut found);
        let found: Vec<_> = found.into_iter().map(|one| one.range).collect();
        let expect: Vec<_> = detector.regex.find_iter(&text).map(|one| one.range()).collect();
        assert!(expect.len() < MOST_FOUND && found == expect);
    }

    #[test]
    fn what_is_not_looked_at_does_not_stay() {
        let text = "a ".repeat(MOST_FOUND) + "foo";
        let mut found = Vec::new();
        of_pattern(r"foo|\b").unwrap().find(&text, &mut found);
        assert_eq!((found.len(), &found[0].range), (1, &(0..text.len())));
    }

    #[test]
    fn patterns() {
        check(of_pattern(r"PRJ-\d{4}"), "see PRJ-0042 and PRJ-1", &["PRJ-0042"]);
        for wrong in ["", "x*", "(", r"\w{500}{500}", r"(a)\1"] {
            assert!(of_pattern(wrong).is_err(), "{wrong}");
        }
    }
}
