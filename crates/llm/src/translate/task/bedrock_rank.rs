//! Amazon's and Cohere's models that rank, at AWS Bedrock.
//! Reference: <https://docs.aws.amazon.com/bedrock/latest/userguide/rerank-use.html> and
//! <https://docs.cohere.com/docs/amazon-bedrock>.

use super::{
    super::write::{Object, array},
    rerank::{Rank, Ranking, Ranks},
};
use crate::{bedrock, openai::request::write_json_string};
use serde::Deserialize;

pub(super) struct BedrockRank;

impl Ranks for BedrockRank {
    fn write(&self, asked: &Ranking<'_>, model: &str, out: &mut Vec<u8>) {
        let mut call = Object::new(out);
        call.text("query", &asked.query);
        array(call.member("documents"), &asked.documents, |out, text| write_json_string(out, text));
        call.number("top_n", asked.top.map_or(asked.documents.len() as u64, u64::from));
        if bedrock::is_of(model, "cohere.") {
            call.number("api_version", 2);
        }
        call.end();
    }

    fn read(&self, answer: &[u8]) -> Option<Vec<Rank>> {
        let answer: Answer = serde_json::from_slice(answer).ok()?;
        let rank = |Ranked { index, relevance_score }| Rank { index, score: relevance_score };
        Some(answer.results.into_iter().map(rank).collect())
    }
}

#[derive(Deserialize)]
struct Answer {
    results: Vec<Ranked>,
}

#[derive(Deserialize)]
struct Ranked {
    index: usize,
    relevance_score: f64,
}
