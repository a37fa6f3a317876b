//! Citations of the Converse API: a block of text has those of all its words.

use super::super::{
    answer::MAX_BLOCKS,
    cite::{Citation, MAX_CITATIONS, Origin, Unit},
    read::{Text, list, present},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{borrow::Cow, ops::Range};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    #[serde(borrow, default)]
    title: Option<Text<'a>>,
    #[serde(borrow, default)]
    source: Option<Text<'a>>,
    #[serde(borrow, default)]
    source_content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    location: Option<Location<'a>>,
}

/// One of these stands there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Location<'a> {
    #[serde(borrow, default)]
    web: Option<Web<'a>>,
    #[serde(default)]
    document_char: Option<InDocument>,
    #[serde(default)]
    document_page: Option<InDocument>,
    #[serde(default)]
    document_chunk: Option<InDocument>,
    #[serde(default)]
    search_result_location: Option<InResult>,
}

#[derive(Deserialize)]
struct Web<'a> {
    #[serde(borrow, default)]
    url: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InDocument {
    #[serde(default)]
    document_index: u64,
    #[serde(default)]
    start: u64,
    #[serde(default)]
    end: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InResult {
    #[serde(default)]
    search_result_index: u64,
    #[serde(default)]
    start: u64,
    #[serde(default)]
    end: u64,
}

#[derive(Deserialize)]
struct Quoted<'a> {
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
}

/// The citations of a block of which these are the words; those that do not say where are left out.
pub(super) fn citations<'a>(raw: Option<&'a RawValue>, span: &Range<u64>) -> Vec<Citation<'a>> {
    let told: Vec<&RawValue> = present(raw).and_then(|raw| list(raw, "", MAX_BLOCKS, "").ok()).unwrap_or_default();
    told.into_iter().filter_map(|raw| citation(raw, span.clone())).take(MAX_CITATIONS).collect()
}

/// One of them.
pub(super) fn citation(raw: &RawValue, span: Range<u64>) -> Option<Citation<'_>> {
    let Told { title, source, source_content, location } = serde_json::from_str(raw.get()).ok()?;
    let document = |unit, InDocument { document_index: index, start, end }: InDocument| Origin::Document {
        index,
        unit,
        within: start..end,
    };
    let origin = match location? {
        Location { web: Some(web), .. } => Origin::Web(web.url?.0),
        Location { document_char: Some(at), .. } => document(Unit::Characters, at),
        Location { document_page: Some(at), .. } => document(Unit::Pages, at),
        Location { document_chunk: Some(at), .. } => document(Unit::Blocks, at),
        Location { search_result_location: Some(InResult { search_result_index: index, start, end }), .. } => {
            Origin::SearchResult { index, source: source?.0, within: start..end }
        }
        _ => return None,
    };
    Citation::new(span, origin, title.map(|title| title.0), quote(source_content))
}

fn quote(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let quoted: Vec<Quoted<'_>> = list(present(raw)?, "", MAX_BLOCKS, "").ok()?;
    let mut texts = quoted.into_iter().filter_map(|quoted| quoted.text);
    let first = texts.next()?.0;
    Some(texts.fold(first, |all, more| Cow::Owned(all.into_owned() + &more)))
}
