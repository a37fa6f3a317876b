//! Whether an answer is what the tests of a prompt expect. The same answer has always the same verdict.

use crate::guardrail::json_schema;
use credentialflow_model::resource::PromptCheck;
use regex::RegexBuilder;

/// So large an expression may become, in bytes; the same as that of a guardrail.
const MOST: usize = 1 << 20;

/// Whether an answer passes a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What is expected, as in `contains "positive"`.
    pub expected: String,
    /// Why the answer is not so, as a sentence; `None` where it is. It tells what was expected, not what came.
    pub why: Option<String>,
}

/// The verdict of each check, in their order.
pub fn each(checks: &[PromptCheck], answer: &str) -> Vec<Verdict> {
    checks.iter().map(|check| Verdict { expected: expected(check), why: why_not(check, answer) }).collect()
}

fn expected(check: &PromptCheck) -> String {
    let PromptCheck { contains, not_contains, equals, regex, json_schema, max_length } = check;
    let texts = [("contains", contains), ("does not contain", not_contains), ("is", equals), ("matches", regex)];
    if let Some((word, text)) = texts.into_iter().find_map(|(word, text)| Some((word, text.as_deref()?))) {
        return format!("{word} {}", quoted(text));
    }
    match (json_schema, max_length) {
        (Some(_), _) => "is what the JSON Schema allows".to_owned(),
        (None, Some(most)) => format!("has at most {most} characters"),
        (None, None) => "nothing".to_owned(),
    }
}

fn why_not(check: &PromptCheck, answer: &str) -> Option<String> {
    let PromptCheck { contains, not_contains, equals, regex, json_schema, max_length } = check;
    if let Some(text) = contains.as_deref().filter(|text| !answer.contains(*text)) {
        return Some(format!("it does not contain {}", quoted(text)));
    }
    if let Some(text) = not_contains.as_deref().filter(|text| answer.contains(*text)) {
        return Some(format!("it contains {}", quoted(text)));
    }
    if let Some(text) = equals.as_deref().filter(|text| answer.trim() != text.trim()) {
        return Some(format!("it is not {}", quoted(text)));
    }
    if let Some(pattern) = regex {
        match RegexBuilder::new(pattern).size_limit(MOST).build() {
            Ok(built) if built.is_match(answer) => {}
            Ok(_) => return Some(format!("the expression {} is not found in it", quoted(pattern))),
            Err(_) => return Some(format!("the expression {} cannot be used", quoted(pattern))),
        }
    }
    if let Some(schema) = json_schema {
        let built = match json_schema::of(Some(schema)) {
            Ok(built) => built,
            Err(why) => return Some(why),
        };
        match serde_json::from_str(answer) {
            Ok(value) if built.allows(&value) => {}
            Ok(_) => return Some("it is not what the JSON Schema allows".to_owned()),
            Err(_) => return Some("it is no JSON".to_owned()),
        }
    }
    let most = (*max_length)? as usize;
    answer.chars().nth(most).map(|_| format!("it has more than {most} characters"))
}

/// A text for a sentence, cut where it is long.
fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}
