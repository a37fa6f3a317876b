//! Embeddings of Google's Vertex AI.
//!
//! Older models are asked with `:predict`, the newer of Gemini's with `:embedContent`, which takes one content.
//! Reference: <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api>.

use super::{
    super::{Why, read::Text, write::Object},
    embeddings::{Asked, Embeds, Vectors, none_of},
    gemini::{Embedding, Usage, write_content},
};
use crate::{
    gemini::request::Action,
    openai::usage::{Lenient, Tokens},
};
use serde::Deserialize;

/// The one of Gemini's models that is asked with `:predict`, a text at a time.
const FIRST_OF_GEMINI: &str = "gemini-embedding-001";
/// Texts of a call to another model at the most.
const MOST_TEXTS: usize = 250;
/// And bytes of several: a call may have 20,000 tokens, and a token of a text has hardly ever fewer than two.
const MOST_BYTES: usize = 40_000;

/// Whether a model is asked with `:embedContent`.
pub(super) fn takes_content(model: &str) -> bool {
    model.starts_with("gemini-") && model != FIRST_OF_GEMINI
}

/// Where a model is asked to do something of which Gemini's own callers know nothing.
pub(super) fn path(model: &str, what: &str) -> String {
    let embeds = Action::Embed.path(model);
    let place = embeds.rsplit_once(':').map_or(&*embeds, |(place, _)| place);
    format!("{place}:{what}")
}

/// `:predict`.
pub(super) struct Predict;

impl Embeds for Predict {
    fn most(&self, model: &str) -> (usize, usize) {
        if model == FIRST_OF_GEMINI { (1, usize::MAX) } else { (MOST_TEXTS, MOST_BYTES) }
    }

    fn write(&self, asked: &Asked<'_>, texts: &[Text<'_>], _: &str, out: &mut Vec<u8>) -> Result<(), Why> {
        none_of(&[("input_type", asked.input_type.is_some())])?;
        let mut call = Object::new(out);
        call.array("instances", texts, |out, text| {
            let mut one = Object::new(out);
            one.text("content", text);
            if let Some(task) = &asked.task_type {
                one.text("task_type", task);
            }
            one.end();
        });
        if let Some(dimensions) = asked.dimensions {
            let mut parameters = call.object("parameters");
            parameters.number("outputDimensionality", dimensions.into());
            parameters.end();
        }
        call.end();
        Ok(())
    }

    fn read(&self, answer: &[u8]) -> Option<Vectors> {
        let answer: Predictions = serde_json::from_slice(answer).ok()?;
        let mut read = Vectors { each: Vec::with_capacity(answer.predictions.len()), tokens: Some(0) };
        for Prediction { embeddings: Predicted { values, statistics } } in answer.predictions {
            read.tokens = read.tokens.zip(statistics.0.token_count.0).map(|(all, one)| all.saturating_add(one));
            read.each.push(values);
        }
        Some(read)
    }
}

/// `:embedContent`.
pub(super) struct Content;

impl Embeds for Content {
    fn most(&self, _: &str) -> (usize, usize) {
        (1, usize::MAX)
    }

    fn write(&self, asked: &Asked<'_>, texts: &[Text<'_>], _: &str, out: &mut Vec<u8>) -> Result<(), Why> {
        none_of(&[("input_type", asked.input_type.is_some())])?;
        let mut call = Object::new(out);
        texts.iter().for_each(|text| write_content(&mut call, text));
        if let Some(task) = &asked.task_type {
            call.text("taskType", task);
        }
        if let Some(dimensions) = asked.dimensions {
            call.number("outputDimensionality", dimensions.into());
        }
        call.end();
        Ok(())
    }

    fn read(&self, answer: &[u8]) -> Option<Vectors> {
        let answer: Embedded = serde_json::from_slice(answer).ok()?;
        Some(Vectors { each: vec![answer.embedding.values], tokens: answer.usage.0.prompt.0 })
    }
}

#[derive(Deserialize)]
struct Predictions {
    predictions: Vec<Prediction>,
}

#[derive(Deserialize)]
struct Prediction {
    embeddings: Predicted,
}

#[derive(Deserialize)]
struct Predicted {
    values: Vec<f32>,
    #[serde(default)]
    statistics: Lenient<Statistics>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Statistics {
    token_count: Tokens,
}

#[derive(Deserialize)]
struct Embedded {
    embedding: Embedding,
    #[serde(default, rename = "usageMetadata")]
    usage: Lenient<Usage>,
}
