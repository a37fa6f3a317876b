//! Ranking in the form of Cohere and Jina: reads its calls, writes its answers.

use super::{
    super::{
        Why,
        read::{Text, list, members, present, read},
        write::Object,
    },
    MOST_FIELDS, Told,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::io::Write as _;

/// Documents of a call at the most, as many as Cohere takes.
const MOST_DOCUMENTS: usize = 1000;
/// So many documents are one search.
const DOCUMENTS_OF_SEARCH: u64 = 100;
/// A longer document, with the query, counts as several: as many bytes as 500 tokens usually have.
const BYTES_OF_DOCUMENT: u64 = 2000;

/// What a caller wants to have ranked.
pub(super) struct Ranking<'a> {
    pub query: Text<'a>,
    pub documents: Vec<Text<'a>>,
    /// How many of the best are asked for, where that is said.
    pub top: Option<u32>,
}

/// How a provider is asked to rank, and how it answers.
pub(super) trait Ranks: Sync {
    /// Writes a call.
    fn write(&self, asked: &Ranking<'_>, model: &str, out: &mut Vec<u8>);

    /// Reads an answer, the best first. `None` when it is none.
    fn read(&self, answer: &[u8]) -> Option<Vec<Rank>>;
}

/// How well a document fits.
pub(super) struct Rank {
    /// Its place in the call.
    pub index: usize,
    pub score: f64,
}

/// The call for a provider.
pub(super) fn call(body: &[u8], ranks: &dyn Ranks, model: &str) -> Result<(Vec<u8>, Told), Why> {
    let (mut query, mut documents, mut top) = (None, Vec::new(), None);
    for (name, raw) in members(body, MOST_FIELDS)? {
        let Some(raw) = present(Some(raw)) else { continue };
        match &*name {
            "model" => {}
            "query" => query = Some(read::<Text<'_>>(raw, "`query`")?),
            "documents" => documents = list(raw, "`documents`", MOST_DOCUMENTS, "documents")?,
            "top_n" => top = Some(read::<u32>(raw, "`top_n`")?),
            "return_documents" if raw.get() == "false" => {}
            "return_documents" => return Err(Why::NoCounterpart("`return_documents`".to_owned())),
            _ => return Err(Why::NoCounterpart("a field of the call".to_owned())),
        }
    }
    let missing = |field: &str| Why::Form(format!("`{field}`"));
    let query = query.ok_or_else(|| missing("query"))?;
    let documents: Vec<Text<'_>> = documents.into_iter().map(text).collect::<Result<_, _>>()?;
    if documents.is_empty() {
        return Err(missing("documents"));
    }
    let searches = searches(&query, &documents);
    let told = Told::Ranks { documents: documents.len(), searches };
    let mut out = Vec::with_capacity(body.len() + 64);
    ranks.write(&Ranking { query, documents, top }, model, &mut out);
    Ok((out, told))
}

/// How many searches that is, where the provider does not tell.
fn searches(query: &str, documents: &[Text<'_>]) -> u64 {
    let bytes = |text: &str| text.len() as u64;
    let pieces = |document: &Text<'_>| (bytes(query) + bytes(document)).div_ceil(BYTES_OF_DOCUMENT).max(1);
    documents.iter().map(pieces).sum::<u64>().div_ceil(DOCUMENTS_OF_SEARCH)
}

/// The answer.
pub(super) fn answer(ranks: &[Rank], searches: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + ranks.len() * 64);
    let mut answer = Object::new(&mut out);
    answer.array("results", ranks, |out, Rank { index, score }| {
        let _ = write!(out, "{{\"index\":{index},\"relevance_score\":{score}}}");
    });
    let mut meta = answer.object("meta");
    let mut billed = meta.object("billed_units");
    billed.number("search_units", searches);
    billed.end();
    meta.end();
    answer.end();
    out
}

/// The text of a document: it itself, or all that an object has.
fn text(document: &RawValue) -> Result<Text<'_>, Why> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Only<'a> {
        #[serde(borrow)]
        text: Text<'a>,
    }
    match document.get().starts_with('{') {
        true => read(document, "a document that is more than a text").map(|Only { text }| text),
        false => read(document, "`documents`"),
    }
}
