//! Citations of chat completions: `annotations`, and marks such as `[2]` in the text, which say where it comes from in the
//! answers of providers that send a list of what they found (Perplexity's `citations` and `search_results`).

use super::super::{
    answer::{MAX_BLOCKS, Piece, Said},
    cite::{Citation, MAX_CITATIONS, Origin, in_order},
    read::{Text, list, present},
    write::Object,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::ops::Range;

#[derive(Deserialize)]
struct Annotation<'a> {
    #[serde(borrow, default)]
    r#type: Option<Text<'a>>,
    #[serde(borrow, default)]
    url_citation: Option<UrlCitation<'a>>,
}

/// The form that Chat Completions and Responses share.
#[derive(Deserialize)]
pub(in crate::translate) struct UrlCitation<'a> {
    #[serde(borrow)]
    url: Text<'a>,
    #[serde(borrow, default)]
    title: Option<Text<'a>>,
    #[serde(default)]
    start_index: Option<u64>,
    #[serde(default)]
    end_index: Option<u64>,
}

impl<'a> UrlCitation<'a> {
    /// The citation of an answer, of whose words so many come before those that it is of.
    pub fn within(self, before: u64) -> Option<Citation<'a>> {
        let place = |index: u64| before.checked_add(index);
        let span = place(self.start_index?)?..place(self.end_index?)?;
        Citation::new(span, Origin::Web(self.url.0), self.title.map(|title| title.0), None)
    }
}

/// The citations of a message, as far as they are told as such. What is none is left out.
pub(super) fn annotations(raw: Option<&RawValue>) -> Vec<Citation<'_>> {
    let told: Vec<&RawValue> = present(raw).and_then(|raw| list(raw, "", MAX_BLOCKS, "").ok()).unwrap_or_default();
    told.into_iter().filter_map(cited).take(MAX_CITATIONS).collect()
}

fn cited(raw: &RawValue) -> Option<Citation<'_>> {
    let told: Annotation<'_> = serde_json::from_str(raw.get()).ok()?;
    told.url_citation.filter(|_| told.r#type.as_deref() == Some("url_citation"))?.within(0)
}

/// Writes the members of a citation that both of OpenAI's dialects have; `span` is of the text that it stands beside.
pub(in crate::translate) fn members(to: &mut Object<'_>, span: &Range<u64>, url: &str, title: Option<&str>) {
    to.number("start_index", span.start);
    to.number("end_index", span.end);
    to.text("url", url);
    to.text("title", title.unwrap_or_default());
}

/// One of `annotations`. In streams it has an index, by which OpenAI's SDKs join lists.
pub(super) fn annotation(out: &mut Vec<u8>, index: Option<u64>, cited: &Citation<'_>) {
    let mut to = Object::new(out);
    if let Some(index) = index {
        to.number("index", index);
    }
    to.json("type", "\"url_citation\"");
    let mut citation = to.object("url_citation");
    members(&mut citation, &cited.span, cited.url().unwrap_or_default(), cited.title.as_deref());
    citation.end();
    to.end();
}

/// What is known of the marks in a text, which may be cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// What the provider found, by number.
    found: Vec<Source>,
    /// Characters so far.
    read: u64,
    /// The last of them.
    last: Option<char>,
    /// Whether it stands between backticks, where brackets are something else.
    code: bool,
    mark: Mark,
    /// Marks that came before what was found.
    waiting: Vec<(usize, Range<u64>)>,
    /// Citations so far.
    count: usize,
    /// Citations are told otherwise.
    off: bool,
}

#[derive(Debug)]
struct Source {
    url: String,
    title: Option<String>,
}

#[derive(Debug, Default)]
enum Mark {
    #[default]
    None,
    /// A bracket at this character, and the number that begins behind it.
    Open(u64, Option<usize>),
    /// A whole one, unless it is the text of a link.
    Whole(usize, Range<u64>),
}

#[derive(Deserialize)]
struct Found<'a> {
    #[serde(borrow)]
    url: Text<'a>,
    #[serde(borrow, default)]
    title: Option<Text<'a>>,
}

impl Marks {
    /// Says a citation that is told in another way. From then on marks are none.
    pub fn told(&mut self, cited: &Citation<'_>, say: &mut impl FnMut(Said<'_>)) {
        if !self.off {
            *self = Self { off: true, count: self.count, ..Self::default() };
        }
        if self.count < MAX_CITATIONS {
            self.count += 1;
            say(Said::Cited(cited));
        }
    }

    /// Bytes of memory in use.
    pub fn held(&self) -> usize {
        let text = |source: &Source| source.url.capacity() + source.title.as_ref().map_or(0, String::capacity);
        let found = self.found.iter().map(text).sum::<usize>() + self.found.capacity() * size_of::<Source>();
        found + self.waiting.capacity() * size_of::<(usize, Range<u64>)>()
    }

    /// Takes what a provider found, which is told once or again and again.
    pub fn learn(&mut self, citations: Option<&RawValue>, results: Option<&RawValue>, say: &mut impl FnMut(Said<'_>)) {
        if self.off || !self.found.is_empty() || (citations.is_none() && results.is_none()) {
            return;
        }
        let results: Vec<Found<'_>> =
            present(results).and_then(|raw| list(raw, "", MAX_CITATIONS, "").ok()).unwrap_or_default();
        let urls: Vec<Text<'_>> =
            present(citations).and_then(|raw| list(raw, "", MAX_CITATIONS, "").ok()).unwrap_or_default();
        let title = |result: &Found<'_>| result.title.as_ref().map(|title| (**title).to_owned());
        self.found = match urls.is_empty() {
            true => results.iter().map(|one| Source { url: (*one.url).to_owned(), title: title(one) }).collect(),
            false => {
                let titled = |(at, url): (usize, &Text<'_>)| Source {
                    url: (**url).to_owned(),
                    title: results.get(at).filter(|one| *one.url == **url).and_then(title),
                };
                urls.iter().enumerate().map(titled).collect()
            }
        };
        if !self.found.is_empty() {
            std::mem::take(&mut self.waiting).into_iter().for_each(|(number, span)| self.cite(number, span, say));
        }
    }

    /// Says a text, and behind each mark in it what that refers to.
    pub fn text(&mut self, text: &str, say: &mut impl FnMut(Said<'_>)) {
        if self.off {
            return say(Said::Text(text));
        }
        let mut said = 0;
        for (at, c) in text.char_indices() {
            match std::mem::take(&mut self.mark) {
                Mark::Whole(number, span) if c != '(' => {
                    if at > said && self.source(number).is_some() {
                        say(Said::Text(&text[said..at]));
                        said = at;
                    }
                    self.cite(number, span, say);
                    self.open(c);
                }
                Mark::Open(begins, number) => match (c.to_digit(10), c, number) {
                    (Some(digit), ..) if number.is_none_or(|number| number < MAX_CITATIONS) => {
                        self.mark = Mark::Open(begins, Some(number.unwrap_or(0) * 10 + digit as usize));
                    }
                    (_, ']', Some(number)) => self.mark = Mark::Whole(number, begins..self.read + 1),
                    _ => self.open(c),
                },
                Mark::None | Mark::Whole(..) => self.open(c),
            }
            self.code ^= c == '`';
            self.read += 1;
            self.last = Some(c);
        }
        if said < text.len() {
            say(Said::Text(&text[said..]));
        }
    }

    /// No more text comes.
    pub fn finish(&mut self, say: &mut impl FnMut(Said<'_>)) {
        if let Mark::Whole(number, span) = std::mem::take(&mut self.mark) {
            self.cite(number, span, say);
        }
    }

    /// A mark may begin here. The second of two brackets begins the text of a link.
    fn open(&mut self, c: char) {
        if c == '[' && !self.code && self.last != Some('[') {
            self.mark = Mark::Open(self.read, None);
        }
    }

    fn source(&self, number: usize) -> Option<&Source> {
        self.found.get(number.checked_sub(1)?)
    }

    fn cite(&mut self, number: usize, span: Range<u64>, say: &mut impl FnMut(Said<'_>)) {
        if self.found.is_empty() {
            if self.waiting.len() < MAX_CITATIONS {
                self.waiting.push((number, span));
            }
            return;
        }
        let Some(Source { url, title }) = number.checked_sub(1).and_then(|at| self.found.get(at)) else { return };
        let title = title.as_deref().map(Into::into);
        if let Some(cited) =
            Citation::new(span, Origin::Web(url.into()), title, None).filter(|_| self.count < MAX_CITATIONS)
        {
            self.count += 1;
            say(Said::Cited(&cited));
        }
    }
}

/// What a provider found: its `citations` and its `search_results`.
pub(super) type Sources<'a> = (Option<&'a RawValue>, Option<&'a RawValue>);

/// The citations of a whole answer: its annotations, or where there are none its marks.
pub(super) fn citations<'a>(
    told: Option<&'a RawValue>,
    (citations, results): Sources<'a>,
    pieces: &[Piece<'_>],
) -> Vec<Citation<'a>> {
    let mut all = annotations(told);
    if !all.is_empty() {
        return in_order(all);
    }
    let mut marks = Marks::default();
    marks.learn(citations, results, &mut |_| {});
    if marks.found.is_empty() {
        return all;
    }
    let mut say = |said: Said<'_>| {
        if let Said::Cited(cited) = said {
            all.push(cited.owned());
        }
    };
    for piece in pieces {
        if let Piece::Text(text) = piece {
            marks.text(text, &mut say);
        }
    }
    marks.finish(&mut say);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    /// What is said of a text in pieces: the words, and of each citation its place and its number.
    fn said(pieces: &[&str], found: &str, late: bool) -> (String, Vec<(Range<u64>, String)>) {
        let (mut marks, mut words, mut cited) = (Marks::default(), String::new(), Vec::new());
        let mut say = |said: Said<'_>| match said {
            Said::Text(text) => words.push_str(text),
            Said::Cited(one) => cited.push((one.span.clone(), one.url().unwrap().to_owned())),
            _ => {}
        };
        if !late {
            marks.learn(Some(raw(found)), None, &mut say);
        }
        pieces.iter().for_each(|piece| marks.text(piece, &mut say));
        marks.finish(&mut say);
        if late {
            marks.learn(Some(raw(found)), None, &mut say);
        }
        (words, cited)
    }

    #[test]
    fn marks_are_found_wherever_the_text_is_cut() {
        let text = "Zürich[1][2] 日本[3]. [x] [9] [[1]](https://c) [2](https://d) `a[1]` \u{1F600}[1]";
        let expect = vec![(6..9, "1"), (9..12, "2"), (15..18, "3"), (68..71, "1")];
        let found = r#"["https://1","https://2","https://3"]"#;
        let characters: Vec<String> = text.chars().map(String::from).collect();
        let one: Vec<&str> = characters.iter().map(|c| &**c).collect();
        let split = text.find("1]").unwrap();
        for late in [false, true] {
            for pieces in [vec![text], one.clone(), vec![&text[..split], &text[split..]]] {
                let (words, cited) = said(&pieces, found, late);
                let cited: Vec<(Range<u64>, &str)> =
                    cited.iter().map(|(span, url)| (span.clone(), url.trim_start_matches("https://"))).collect();
                assert_eq!((&*words, &cited), (text, &expect), "{late}");
                for (span, number) in cited {
                    let there: String = text.chars().skip(span.start as usize).take(3).collect();
                    assert_eq!(there, format!("[{number}]"));
                }
            }
        }
    }

    #[test]
    fn a_mark_is_said_behind_its_text_and_before_what_follows() {
        let (mut marks, mut order) = (Marks::default(), Vec::new());
        let mut say = |said: Said<'_>| match said {
            Said::Text(text) => order.push(text.to_owned()),
            Said::Cited(_) => order.push("!".to_owned()),
            _ => {}
        };
        marks.learn(None, Some(raw(r#"[{"url":"https://1","title":"T"}]"#)), &mut say);
        marks.text("a [1", &mut say);
        marks.text("]", &mut say);
        marks.text(" b [1] c", &mut say);
        assert_eq!(order, ["a [1", "]", "!", " b [1]", "!", " c"]);
    }

    #[test]
    fn no_more_is_cited_than_there_may_be() {
        let text = "[1]".repeat(MAX_CITATIONS + 5);
        assert_eq!(said(&[&text], r#"["https://1"]"#, false).1.len(), MAX_CITATIONS);
        assert_eq!(said(&[&text], r#"["https://1"]"#, true).1.len(), MAX_CITATIONS);
        assert_eq!(said(&["[99999999999999999999999]"], r#"["https://1"]"#, false).1, []);
        assert_eq!(said(&["[1]"], r#"[{"no":"text"}]"#, false).1, []);
    }
}
