//! A finished prediction as an answer, or an error.

use super::super::{
    answer::{Answer, Failure, Piece, Stop},
    read::Text,
};
use crate::replicate::usage;
use serde::Deserialize;
use std::borrow::Cow;

/// A prediction whose output is a text, or texts that belong together.
#[derive(Deserialize)]
struct Prediction<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    status: Text<'a>,
    #[serde(default)]
    output: Option<Output>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Output {
    Text(String),
    Texts(Vec<String>),
    Named { text: String },
}

/// A whole answer to a call of this model. `None` when it is none.
pub(in crate::translate) fn answer<'a>(body: &'a [u8], model: &'a str) -> Option<Answer<'a>> {
    let Prediction { id, status, output } = serde_json::from_slice(body).ok()?;
    let said = match output {
        _ if !matches!(&*status, "succeeded" | "successful") => return None,
        None => String::new(),
        Some(Output::Text(text) | Output::Named { text }) => text,
        Some(Output::Texts(texts)) => texts.concat(),
    };
    let pieces = if said.is_empty() { Vec::new() } else { vec![Piece::Text(Text(Cow::Owned(said)))] };
    // Nothing says why a model stopped.
    Some(Answer::new(id, Text(Cow::Borrowed(model)), pieces, Stop::Done, usage::of(body)))
}

/// An error of the provider's, whatever it sent: a problem (`title`, `detail`), or a prediction that failed (`error`).
pub(in crate::translate) fn error(body: &[u8]) -> Failure<'_> {
    #[derive(Default, Deserialize)]
    struct Problem<'a> {
        #[serde(borrow, default)]
        title: Option<Text<'a>>,
        #[serde(borrow, default)]
        detail: Option<Text<'a>>,
        #[serde(borrow, default)]
        error: Option<Text<'a>>,
        #[serde(borrow, default)]
        status: Option<&'a serde_json::value::RawValue>,
    }
    let Problem { title, detail, error, status } = serde_json::from_slice(body).unwrap_or_default();
    // That of a prediction is a word, that of a problem a number.
    let word = status.and_then(|raw| serde_json::from_str::<Text<'_>>(raw.get()).ok()).filter(|word| !word.is_empty());
    let message = error.or(detail).or(title);
    Failure { kind: word.filter(|word| word.len() <= 64), message, ..Failure::default() }
}
