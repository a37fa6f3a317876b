//! Cohere's Embed at AWS Bedrock: 96 texts a call. Tokens are told in the head of the answer.
//! Reference: <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html>.

use super::{
    super::{Why, read::Text, write::Object, write::array},
    embeddings::{Asked, Embeds, Vectors, none_of},
};
use crate::{bedrock, openai::request::write_json_string};
use serde::Deserialize;
use serde_json::value::RawValue;

/// What texts are for unless the caller says it, which Cohere wants to be told.
const USE: &str = "search_document";

pub(super) struct Cohere;

impl Embeds for Cohere {
    fn most(&self, _: &str) -> (usize, usize) {
        (96, usize::MAX)
    }

    fn write(&self, asked: &Asked<'_>, texts: &[Text<'_>], model: &str, out: &mut Vec<u8>) -> Result<(), Why> {
        let older = ["cohere.embed-english-", "cohere.embed-multilingual-"];
        let sized = !older.into_iter().any(|name| bedrock::is_of(model, name));
        none_of(&[("dimensions", asked.dimensions.is_some() && !sized), ("task_type", asked.task_type.is_some())])?;
        let mut call = Object::new(out);
        call.text("input_type", asked.input_type.as_deref().unwrap_or(USE));
        array(call.member("texts"), texts, |out, text| write_json_string(out, text));
        call.json("embedding_types", "[\"float\"]");
        if let Some(dimensions) = asked.dimensions {
            call.number("output_dimension", dimensions.into());
        }
        call.end();
        Ok(())
    }

    fn read(&self, answer: &[u8]) -> Option<Vectors> {
        let answer: Answer<'_> = serde_json::from_slice(answer).ok()?;
        let floats = answer.embeddings.get();
        let each = match floats.starts_with('[') {
            true => serde_json::from_str(floats),
            false => serde_json::from_str(floats).map(|ByType { float }| float),
        };
        Some(Vectors { each: each.ok()?, tokens: None })
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    embeddings: &'a RawValue,
}

/// As they come where their type is asked for.
#[derive(Deserialize)]
struct ByType {
    float: Vec<Vec<f32>>,
}
