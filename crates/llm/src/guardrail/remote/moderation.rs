//! A moderation endpoint, as OpenAI and Mistral have them.

use super::{Said, Unusable, Verdict};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A moderation endpoint gets so many texts at the most; of more, some that follow each other become one.
pub(super) const MOST_INPUTS: usize = 100;

/// The texts that say something, for a moderation endpoint; where there are many, some that follow each other are one.
pub(super) fn inputs(said: &[Said]) -> Vec<String> {
    let words: Vec<&str> =
        said.iter().map(|said| said.text.as_str()).filter(|text| text.chars().any(char::is_alphabetic)).collect();
    words.chunks(words.len().div_ceil(MOST_INPUTS).max(1)).map(|some| some.join("\n")).collect()
}

/// What it answers for each input.
#[derive(Deserialize)]
struct Moderated {
    results: Vec<ModeratedText>,
}

#[derive(Deserialize)]
struct ModeratedText {
    flagged: Option<bool>,
    #[serde(default)]
    categories: Map<String, Value>,
    #[serde(default)]
    category_scores: Map<String, Value>,
}

/// What such an answer to so many inputs says: of these categories from their scores on; where there are none, what is
/// flagged.
pub(super) fn read(inputs: usize, wanted: &BTreeMap<String, f64>, body: &[u8]) -> Result<Verdict, Unusable> {
    let answer: Moderated =
        serde_json::from_slice(body).map_err(|_| Unusable("the answer is none of a moderation endpoint"))?;
    if answer.results.len() != inputs {
        return Err(Unusable("the answer has not one result for each text"));
    }
    let mut verdict = Verdict::default();
    for result in &answer.results {
        if wanted.is_empty() {
            if result.flagged.is_none() && result.categories.is_empty() {
                return Err(Unusable("a result says nothing"));
            }
            let flagged = result.categories.iter().filter(|(_, is)| **is == Value::Bool(true));
            flagged.for_each(|(name, _)| verdict.call(name));
            verdict.found |= result.flagged == Some(true);
        }
        for (name, least) in wanted {
            let score = result.category_scores.get(name).and_then(Value::as_f64);
            match score {
                None => return Err(Unusable("a category that a threshold is set for has no score")),
                Some(score) if score >= *least => verdict.call(name),
                Some(_) => {}
            }
        }
    }
    Ok(verdict)
}
