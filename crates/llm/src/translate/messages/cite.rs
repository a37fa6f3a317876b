//! Citations of the Messages API: a block of text has those of all its words.

use super::super::{
    answer::MAX_BLOCKS,
    cite::{Citation, MAX_CITATIONS, Origin, Unit},
    read::{Text, list, present},
    write::Object,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::ops::Range;

/// In place of `encrypted_index`, which clients expect and only Anthropic could have made: it is not sent there
/// ([`crate::translate::without_foreign`]).
pub(in crate::translate) const NOT_SEARCHED: &str = "not-searched-by-anthropic";

#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(borrow, default)]
    url: Option<Text<'a>>,
    #[serde(borrow, default)]
    source: Option<Text<'a>>,
    #[serde(borrow, default)]
    title: Option<Text<'a>>,
    #[serde(borrow, default)]
    cited_text: Option<Text<'a>>,
}

/// The citations of a block of which these are the words. Of those in documents no other caller's dialect can say anything.
pub(super) fn citations<'a>(raw: Option<&'a RawValue>, span: &Range<u64>) -> Vec<Citation<'a>> {
    let told: Vec<&RawValue> = present(raw).and_then(|raw| list(raw, "", MAX_BLOCKS, "").ok()).unwrap_or_default();
    told.into_iter().filter_map(|raw| citation(raw, span.clone())).take(MAX_CITATIONS).collect()
}

/// One of them.
pub(super) fn citation(raw: &RawValue, span: Range<u64>) -> Option<Citation<'_>> {
    let Told { r#type, url, source, title, cited_text } = serde_json::from_str(raw.get()).ok()?;
    let url = match &*r#type {
        "web_search_result_location" => url,
        "search_result_location" => source,
        _ => None,
    };
    Citation::new(span, Origin::Web(url?.0), title.map(|title| title.0), cited_text.map(|text| text.0))
}

/// Writes one, as it stands in a block and in an event of a stream.
pub(super) fn write(out: &mut Vec<u8>, cited: &Citation<'_>) {
    let mut to = Object::new(out);
    to.json(
        "type",
        match &cited.origin {
            Origin::Web(_) => "\"web_search_result_location\"",
            Origin::SearchResult { .. } => "\"search_result_location\"",
            Origin::Document { unit: Unit::Characters, .. } => "\"char_location\"",
            Origin::Document { unit: Unit::Pages, .. } => "\"page_location\"",
            Origin::Document { unit: Unit::Blocks, .. } => "\"content_block_location\"",
        },
    );
    to.text("cited_text", cited.quote.as_deref().unwrap_or_default());
    let title = match &cited.origin {
        Origin::Document { .. } => "document_title",
        _ => "title",
    };
    match &cited.title {
        Some(text) => to.text(title, text),
        None => to.json(title, "null"),
    }
    match &cited.origin {
        Origin::Web(url) => {
            to.text("url", url);
            to.text("encrypted_index", NOT_SEARCHED);
        }
        Origin::SearchResult { index, source, within } => {
            to.text("source", source);
            to.number("search_result_index", *index);
            to.number("start_block_index", within.start);
            to.number("end_block_index", within.end);
        }
        Origin::Document { index, unit, within } => {
            let (start, end) = match unit {
                Unit::Characters => ("start_char_index", "end_char_index"),
                Unit::Pages => ("start_page_number", "end_page_number"),
                Unit::Blocks => ("start_block_index", "end_block_index"),
            };
            to.number("document_index", *index);
            to.number(start, within.start);
            to.number(end, within.end);
            to.json("file_id", "null");
        }
    }
    to.end();
}

/// Some text of an answer, with what is cited of all of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cut<'t, 'c> {
    pub text: &'t str,
    pub cited: Vec<&'c Citation<'c>>,
}

/// Cuts a text, before which so many characters of the answer's words stand, so that what is cited stands alone. What is
/// cited of words that overlap stands together. `citations` are in the order in which their words begin.
pub(super) fn cut<'t, 'c>(text: &'t str, before: u64, citations: &'c [Citation<'c>]) -> Vec<Cut<'t, 'c>> {
    let mut spans: Vec<(Range<u64>, Vec<&Citation<'_>>)> = Vec::new();
    for cited in citations {
        match spans.last_mut() {
            Some((span, all)) if cited.span.start < span.end => {
                span.end = span.end.max(cited.span.end);
                all.push(cited);
            }
            _ => spans.push((cited.span.clone(), vec![cited])),
        }
    }
    let (mut cuts, mut at, mut rest) = (Vec::new(), before, text);
    // Takes the text up to this character; where it ends before that, all of it.
    let mut take = |to: u64| {
        let wanted = usize::try_from(to.saturating_sub(at)).unwrap_or(usize::MAX);
        let end = rest.char_indices().nth(wanted).map_or(rest.len(), |(end, _)| end);
        let (taken, left) = rest.split_at(end);
        (at, rest) = (at.max(to), left);
        taken
    };
    for (span, cited) in spans {
        let plain = take(span.start);
        if !plain.is_empty() {
            cuts.push(Cut { text: plain, cited: Vec::new() });
        }
        let text = take(span.end);
        if !text.is_empty() {
            cuts.push(Cut { text, cited });
        }
    }
    let last = take(u64::MAX);
    if !last.is_empty() || cuts.is_empty() {
        cuts.push(Cut { text: last, cited: Vec::new() });
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(spans: &[Range<u64>]) -> Vec<Citation<'static>> {
        spans
            .iter()
            .map(|span| Citation::new(span.clone(), Origin::Web("https://a".into()), None, None).unwrap())
            .collect()
    }

    fn cuts(text: &str, before: u64, spans: &[Range<u64>]) -> Vec<(String, usize)> {
        cut(text, before, &of(spans)).into_iter().map(|cut| (cut.text.to_owned(), cut.cited.len())).collect()
    }

    #[test]
    fn a_text_is_cut_where_it_is_cited() {
        let plain = |text: &str| (text.to_owned(), 0);
        let cited = |text: &str, n| (text.to_owned(), n);
        assert_eq!(cuts("héllo", 0, &[]), [plain("héllo")]);
        assert_eq!(cuts("", 0, &[0..3, 3..4]), [plain("")]);
        assert_eq!(
            cuts("aé日\u{1F600}x", 0, &[1..3, 3..4]),
            [plain("a"), cited("é日", 1), cited("\u{1F600}", 1), plain("x")]
        );
        assert_eq!(cuts("héllo", 0, &[0..5, 0..5]), [cited("héllo", 2)]);
        // Those that overlap.
        assert_eq!(cuts("abcdef", 0, &[0..3, 2..4, 4..5]), [cited("abcd", 2), cited("e", 1), plain("f")]);
        // Of words that stand in other blocks, before and behind.
        assert_eq!(cuts("héllo", 10, &[2..4, 9..12, 14..99, 120..130]), [cited("hé", 1), plain("ll"), cited("o", 1)]);
    }
}
