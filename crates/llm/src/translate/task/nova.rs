//! Amazon's Nova embeddings at AWS Bedrock: one text a call. Tokens are told in the head of the answer.
//! Reference: <https://docs.aws.amazon.com/nova/latest/userguide/embeddings-schema.html>.

use super::{
    super::{Why, read::Text, write::Object},
    embeddings::{Asked, Embeds, Vectors, none_of},
};
use serde::Deserialize;

pub(super) struct Nova;

impl Embeds for Nova {
    fn most(&self, _: &str) -> (usize, usize) {
        (1, usize::MAX)
    }

    fn write(&self, asked: &Asked<'_>, texts: &[Text<'_>], _: &str, out: &mut Vec<u8>) -> Result<(), Why> {
        none_of(&[("input_type", asked.input_type.is_some()), ("task_type", asked.task_type.is_some())])?;
        let mut call = Object::new(out);
        call.text("taskType", "SINGLE_EMBEDDING");
        let mut how = call.object("singleEmbeddingParams");
        how.text("embeddingPurpose", "GENERIC_INDEX");
        if let Some(dimensions) = asked.dimensions {
            how.number("embeddingDimension", dimensions.into());
        }
        for text in texts {
            let mut said = how.object("text");
            // One that is too long is an error, as it is at OpenAI.
            said.text("truncationMode", "NONE");
            said.text("value", text);
            said.end();
        }
        how.end();
        call.end();
        Ok(())
    }

    fn read(&self, answer: &[u8]) -> Option<Vectors> {
        let answer: Answer = serde_json::from_slice(answer).ok()?;
        Some(Vectors { each: answer.embeddings.into_iter().map(|one| one.embedding).collect(), tokens: None })
    }
}

#[derive(Deserialize)]
struct Answer {
    embeddings: Vec<Embedding>,
}

#[derive(Deserialize)]
struct Embedding {
    embedding: Vec<f32>,
}
