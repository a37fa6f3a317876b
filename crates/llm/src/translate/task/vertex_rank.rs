//! Google's ranking API, below `rankingConfigs` of a project and location of Discovery Engine.
//! Reference: <https://docs.cloud.google.com/generative-ai-app-builder/docs/ranking>.

use super::{
    super::write::Object,
    rerank::{Rank, Ranking, Ranks},
};
use serde::Deserialize;

/// Where it is asked below the endpoint's base.
pub(super) const PATH: &str = "/default_ranking_config:rank";

pub(super) struct VertexRank;

impl Ranks for VertexRank {
    fn write(&self, asked: &Ranking<'_>, model: &str, out: &mut Vec<u8>) {
        let mut call = Object::new(out);
        call.text("model", model);
        call.text("query", &asked.query);
        call.array("records", asked.documents.iter().enumerate(), |out, (index, text)| {
            let mut record = Object::new(out);
            record.text("id", &index.to_string());
            record.text("content", text);
            record.end();
        });
        if let Some(top) = asked.top {
            call.number("topN", top.into());
        }
        call.json("ignoreRecordDetailsInResponse", "true");
        call.end();
    }

    fn read(&self, answer: &[u8]) -> Option<Vec<Rank>> {
        let answer: Answer = serde_json::from_slice(answer).ok()?;
        answer.records.into_iter().map(|one| Some(Rank { index: one.id.parse().ok()?, score: one.score })).collect()
    }
}

#[derive(Deserialize)]
struct Answer {
    records: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    id: String,
    score: f64,
}
