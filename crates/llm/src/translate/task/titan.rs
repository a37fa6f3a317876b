//! Amazon's Titan embeddings of texts at AWS Bedrock: one text a call.
//! Reference: <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html>.

use super::{
    super::{Why, read::Text, write::Object},
    embeddings::{Asked, Embeds, Vectors, none_of},
};
use crate::{
    bedrock,
    openai::usage::{Lenient, Tokens},
};
use serde::Deserialize;

pub(super) struct Titan;

impl Embeds for Titan {
    fn most(&self, _: &str) -> (usize, usize) {
        (1, usize::MAX)
    }

    fn write(&self, asked: &Asked<'_>, texts: &[Text<'_>], model: &str, out: &mut Vec<u8>) -> Result<(), Why> {
        // The first generation has one length.
        let sized = bedrock::is_of(model, "amazon.titan-embed-text-v2");
        none_of(&[
            ("dimensions", asked.dimensions.is_some() && !sized),
            ("input_type", asked.input_type.is_some()),
            ("task_type", asked.task_type.is_some()),
        ])?;
        let mut call = Object::new(out);
        texts.iter().for_each(|text| call.text("inputText", text));
        if let Some(dimensions) = asked.dimensions {
            call.number("dimensions", dimensions.into());
        }
        call.end();
        Ok(())
    }

    fn read(&self, answer: &[u8]) -> Option<Vectors> {
        let answer: Answer = serde_json::from_slice(answer).ok()?;
        Some(Vectors { each: vec![answer.embedding], tokens: answer.tokens.0.0 })
    }
}

#[derive(Deserialize)]
struct Answer {
    embedding: Vec<f32>,
    #[serde(default, rename = "inputTextTokenCount")]
    tokens: Lenient<Tokens>,
}
