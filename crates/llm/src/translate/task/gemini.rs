//! Embeddings of Gemini's API: each text is one call of a batch.
//! Reference: <https://ai.google.dev/api/embeddings>.

use super::{
    super::{Why, read::Text, write::Object},
    embeddings::{Asked, Embeds, MOST_TEXTS, Vectors, none_of},
};
use crate::{
    gemini::request::full_name,
    openai::usage::{Lenient, Tokens},
};
use serde::Deserialize;

/// `:batchEmbedContents`.
pub(super) struct Batch;

impl Embeds for Batch {
    fn most(&self, _: &str) -> (usize, usize) {
        (MOST_TEXTS, usize::MAX)
    }

    fn write(&self, asked: &Asked<'_>, texts: &[Text<'_>], model: &str, out: &mut Vec<u8>) -> Result<(), Why> {
        none_of(&[("input_type", asked.input_type.is_some())])?;
        let model = full_name(model);
        let mut all = Object::new(out);
        all.array("requests", texts, |out, text| {
            let mut one = Object::new(out);
            one.text("model", &model);
            write_content(&mut one, text);
            if let Some(task) = &asked.task_type {
                one.text("taskType", task);
            }
            if let Some(dimensions) = asked.dimensions {
                one.number("outputDimensionality", dimensions.into());
            }
            one.end();
        });
        all.end();
        Ok(())
    }

    fn read(&self, answer: &[u8]) -> Option<Vectors> {
        let answer: Answer = serde_json::from_slice(answer).ok()?;
        let each = answer.embeddings.into_iter().map(|one| one.values).collect();
        Some(Vectors { each, tokens: answer.usage.0.prompt.0 })
    }
}

/// A text as Gemini's content.
pub(super) fn write_content(one: &mut Object<'_>, text: &str) {
    let mut content = one.object("content");
    content.array("parts", [text], |out, text| {
        let mut part = Object::new(out);
        part.text("text", text);
        part.end();
    });
    content.end();
}

#[derive(Deserialize)]
struct Answer {
    embeddings: Vec<Embedding>,
    #[serde(default, rename = "usageMetadata")]
    usage: Lenient<Usage>,
}

#[derive(Deserialize)]
pub(super) struct Embedding {
    pub values: Vec<f32>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct Usage {
    #[serde(rename = "promptTokenCount")]
    pub prompt: Tokens,
}
