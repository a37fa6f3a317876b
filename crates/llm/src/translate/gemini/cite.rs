//! Citations of Gemini's answers: `groundingMetadata`, which counts bytes of UTF-8.

use super::super::{
    answer::MAX_BLOCKS,
    cite::{Citation, MAX_CITATIONS, Origin, Ruler, Words, in_order},
    read::{Text, list, present},
    write::{Object, array},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow, default)]
    grounding_chunks: Option<&'a RawValue>,
    #[serde(borrow, default)]
    grounding_supports: Option<&'a RawValue>,
}

/// Where something was found: one of these, which have the same members.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chunk<'a> {
    #[serde(borrow, default)]
    web: Option<Page<'a>>,
    #[serde(borrow, default)]
    retrieved_context: Option<Page<'a>>,
    #[serde(borrow, default)]
    maps: Option<Page<'a>>,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow, default)]
    uri: Option<Text<'a>>,
    #[serde(borrow, default)]
    title: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Support<'a> {
    #[serde(borrow, default)]
    segment: Option<Segment<'a>>,
    #[serde(default)]
    grounding_chunk_indices: Option<Vec<usize>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Segment<'a> {
    #[serde(default)]
    part_index: Option<u64>,
    #[serde(default)]
    start_index: Option<u64>,
    #[serde(default)]
    end_index: Option<u64>,
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
}

/// What an answer says and of which of that it tells where it comes from, until it is over: streams tell that in the end,
/// and of what was said before.
#[derive(Debug, Default)]
pub(super) struct Grounding {
    words: Words,
    /// The bytes at which texts begin that stand apart.
    texts: Vec<usize>,
    supports: Vec<Told>,
    /// As many of these as were looked for in the words.
    tried: usize,
    seen: HashSet<Told>,
    held: usize,
}

/// Some words, in bytes, and where they come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Told {
    bytes: Range<u64>,
    /// A part behind the first.
    apart: bool,
    text: Option<String>,
    url: String,
    title: Option<String>,
}

impl Grounding {
    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        self.words.held() + self.texts.capacity() * size_of::<usize>() + self.held
    }

    /// More words.
    pub fn say(&mut self, text: &str) {
        self.words.push(text);
    }

    /// What is said next is a text of its own.
    pub fn next_text(&mut self) {
        if let Some(words) = self.words.all().filter(|_| self.texts.len() < MAX_BLOCKS) {
            self.texts.push(words.len());
        }
    }

    /// Takes `groundingMetadata`; what is not as it should be in it is left out.
    pub fn take(&mut self, raw: Option<&RawValue>) {
        let Some(raw) = present(raw) else { return };
        let Ok(Metadata { grounding_chunks: Some(chunks), grounding_supports: Some(supports) }) =
            serde_json::from_str(raw.get())
        else {
            return;
        };
        let chunks: Vec<&RawValue> = list(chunks, "", MAX_BLOCKS, "").unwrap_or_default();
        let pages: Vec<Option<Page<'_>>> = chunks.into_iter().map(page).collect();
        let supports: Vec<&RawValue> = list(supports, "", MAX_BLOCKS, "").unwrap_or_default();
        for raw in supports {
            let Ok(Support { segment: Some(segment), grounding_chunk_indices: Some(found) }) =
                serde_json::from_str::<Support<'_>>(raw.get())
            else {
                continue;
            };
            for Page { uri, title } in found.into_iter().filter_map(|at| pages.get(at)?.as_ref()) {
                self.keep(&segment, uri.as_deref().unwrap_or_default(), title.as_deref());
            }
        }
    }

    fn keep(&mut self, segment: &Segment<'_>, url: &str, title: Option<&str>) {
        let text = segment.text.as_deref();
        // Looked at before it is kept: how long each of them may be.
        let can_be = Citation::new(0..1, Origin::Web(url.into()), title.map(Into::into), None);
        let Some(cited) = can_be.filter(|_| self.seen.len() < MAX_CITATIONS) else { return };
        let told = Told {
            bytes: segment.start_index.unwrap_or(0)..segment.end_index.unwrap_or(0),
            apart: segment.part_index.is_some_and(|part| part > 0),
            text: text.map(str::to_owned),
            url: url.to_owned(),
            title: cited.title.map(std::borrow::Cow::into_owned),
        };
        let more = text.map_or(0, str::len) + url.len() + title.map_or(0, str::len) + 2 * size_of::<Told>();
        if self.held + more <= MOST_KEPT && self.seen.insert(told.clone()) {
            self.held += 2 * more;
            self.supports.push(told);
        }
    }

    /// The citations of what was said so far, as something else is said next. Each is told once.
    pub fn due(&mut self) -> Vec<Citation<'static>> {
        if self.supports.len() == self.tried {
            return Vec::new();
        }
        let found = self.found();
        self.tried = self.supports.len();
        found
    }

    /// The citations that are left, now that all is said.
    pub fn finish(mut self) -> Vec<Citation<'static>> {
        self.found()
    }

    /// Takes out those whose words are there.
    fn found(&mut self) -> Vec<Citation<'static>> {
        let Some(words) = self.words.all().filter(|_| !self.supports.is_empty()) else { return Vec::new() };
        let ruler = Ruler::new(words);
        let cited = |told: &Told| {
            let bytes = place(told, words, &self.texts)?;
            let span = ruler.character(bytes.start as u64)?..ruler.character(bytes.end as u64)?;
            Citation::new(span, Origin::Web(told.url.clone().into()), told.title.clone().map(Into::into), None)
        };
        let mut citations = Vec::new();
        self.supports.retain(|told| cited(told).map(|cited| citations.push(cited)).is_none());
        in_order(citations)
    }
}

fn page(raw: &RawValue) -> Option<Page<'_>> {
    let Chunk { web, retrieved_context, maps } = serde_json::from_str(raw.get()).ok()?;
    web.or(retrieved_context).or(maps)
}

/// More than this of citations is not kept.
const MOST_KEPT: usize = 4 << 20;

/// Where these words stand in all of them. Providers count from the beginning of the part, or of all; where they tell the
/// words too, those must stand there.
fn place(told: &Told, words: &str, texts: &[usize]) -> Option<Range<usize>> {
    let (start, end) = (usize::try_from(told.bytes.start).ok()?, usize::try_from(told.bytes.end).ok()?);
    let at = |base: usize| {
        let range = base.checked_add(start)?..base.checked_add(end)?;
        let there = words.get(range.clone())?;
        told.text.as_deref().is_none_or(|text| text == there).then_some(range)
    };
    match &told.text {
        // Nobody can look.
        None if told.apart || texts.len() > 1 => None,
        None => at(0),
        Some(_) if told.apart => texts.iter().rev().chain([&0]).find_map(|base| at(*base)),
        Some(_) => [0].iter().chain(texts).find_map(|base| at(*base)),
    }
}

/// A text of an answer that is being written.
pub(super) struct Part<'t> {
    pub text: &'t str,
    /// Its place among the parts; `None` where they all together are one.
    pub index: Option<u64>,
}

/// Writes `groundingMetadata`: what is cited of these texts, which are all words of the answer.
pub(super) fn metadata(to: &mut Object<'_>, parts: &[Part<'_>], citations: &[Citation<'_>]) {
    let mut placed: Vec<(&Citation<'_>, &Part<'_>, Range<u64>)> = Vec::new();
    let mut before = 0;
    for part in parts {
        let ruler = Ruler::new(part.text);
        let end = before + ruler.characters();
        for cited in citations.iter().filter(|cited| cited.url().is_some() && (before..end).contains(&cited.span.start))
        {
            if let (Some(start), Some(end)) =
                (ruler.byte(cited.span.start - before), ruler.byte(cited.span.end - before))
            {
                placed.push((cited, part, start..end));
            }
        }
        before = end;
    }
    if placed.is_empty() {
        return;
    }
    let (mut pages, mut numbers) = (Vec::new(), HashMap::new());
    let mut supports: Vec<(&Part<'_>, Range<u64>, Vec<usize>)> = Vec::new();
    for (cited, part, bytes) in placed {
        let url = cited.url().unwrap_or_default();
        let number = *numbers.entry(url).or_insert_with(|| {
            pages.push((url, cited.title.as_deref()));
            pages.len() - 1
        });
        match supports.last_mut() {
            Some((last, range, found)) if std::ptr::eq(*last, part) && *range == bytes => found.push(number),
            _ => supports.push((part, bytes, vec![number])),
        }
    }
    let mut metadata = to.object("groundingMetadata");
    metadata.array("groundingChunks", pages, |out, (url, title)| {
        let mut chunk = Object::new(out);
        let mut web = chunk.object("web");
        web.text("uri", url);
        if let Some(title) = title {
            web.text("title", title);
        }
        web.end();
        chunk.end();
    });
    metadata.array("groundingSupports", supports, |out, (part, bytes, found)| {
        let mut support = Object::new(out);
        let mut segment = support.object("segment");
        if let Some(index) = part.index {
            segment.number("partIndex", index);
        }
        segment.number("startIndex", bytes.start);
        segment.number("endIndex", bytes.end);
        let there = usize::try_from(bytes.start).ok().zip(usize::try_from(bytes.end).ok());
        if let Some(text) = there.and_then(|(start, end)| part.text.get(start..end)) {
            segment.text("text", text);
        }
        segment.end();
        array(support.member("groundingChunkIndices"), found, |out, number| {
            out.extend_from_slice(number.to_string().as_bytes());
        });
        support.end();
    });
    metadata.end();
}
