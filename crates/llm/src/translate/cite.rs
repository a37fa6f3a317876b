//! Citations of an answer: which of its words come from where.
//!
//! A place in the words is told in characters, which are Unicode's scalar values, of all words of the answer together:
//! of what is text, and neither thinking nor the input of a tool. OpenAI counts in the same, Gemini in bytes of UTF-8, and
//! the dialects of Anthropic's models cite whole blocks of text. What no place in the words refers to is no citation.

use std::{borrow::Cow, ops::Range};

/// More citations than this are in no answer; the rest is left out.
pub(super) const MAX_CITATIONS: usize = 1000;
/// A citation with a longer address is left out.
const MAX_URL: usize = 4096;
/// A longer title or quotation is left out of its citation. Each stands once for each place.
const MAX_TITLE: usize = 1024;
const MAX_QUOTE: usize = 8192;
/// Of an answer with more words than this, in bytes, no places are told where that needs the words themselves.
const MAX_WORDS: usize = 1 << 20;

/// Some words of an answer, and where they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Citation<'a> {
    /// Characters of the answer's words. Never empty.
    pub span: Range<u64>,
    pub title: Option<Cow<'a, str>>,
    /// What stands there.
    pub quote: Option<Cow<'a, str>>,
    pub origin: Origin<'a>,
}

/// Where cited words come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin<'a> {
    /// A page in the web: its address.
    Web(Cow<'a, str>),
    /// The `index`-th document of the call.
    Document { index: u64, unit: Unit, within: Range<u64> },
    /// Blocks of the `index`-th search result of the call, which names its source.
    SearchResult { index: u64, source: Cow<'a, str>, within: Range<u64> },
}

/// What a place in a document is told in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Characters,
    Pages,
    Blocks,
}

impl<'a> Citation<'a> {
    /// These words come from there. `None` where no words do, or where that is cannot be said.
    pub fn new(
        span: Range<u64>,
        origin: Origin<'a>,
        title: Option<Cow<'a, str>>,
        quote: Option<Cow<'a, str>>,
    ) -> Option<Self> {
        let is_address =
            |url: &str| url.len() <= MAX_URL && (url.starts_with("https://") || url.starts_with("http://"));
        let can_be = match &origin {
            Origin::Web(url) => is_address(url),
            Origin::SearchResult { source, .. } => source.len() <= MAX_URL,
            Origin::Document { .. } => true,
        };
        let title = title.filter(|title| !title.is_empty() && title.len() <= MAX_TITLE);
        let quote = quote.filter(|quote| !quote.is_empty() && quote.len() <= MAX_QUOTE);
        (can_be && span.start < span.end).then_some(Self { span, title, quote, origin })
    }

    /// The address where that is, if it has one.
    pub fn url(&self) -> Option<&str> {
        match &self.origin {
            Origin::Web(url) => Some(url),
            Origin::SearchResult { source, .. } if source.starts_with("https://") || source.starts_with("http://") => {
                Some(source)
            }
            Origin::SearchResult { .. } | Origin::Document { .. } => None,
        }
    }

    /// The same, to be kept.
    pub fn owned(&self) -> Citation<'static> {
        let owned = |text: &Cow<'_, str>| Cow::Owned(text.clone().into_owned());
        Citation {
            span: self.span.clone(),
            title: self.title.as_ref().map(owned),
            quote: self.quote.as_ref().map(owned),
            origin: match &self.origin {
                Origin::Web(url) => Origin::Web(owned(url)),
                Origin::Document { index, unit, within } => {
                    Origin::Document { index: *index, unit: *unit, within: within.clone() }
                }
                Origin::SearchResult { index, source, within } => {
                    Origin::SearchResult { index: *index, source: owned(source), within: within.clone() }
                }
            },
        }
    }

    /// Bytes of memory in use.
    pub fn held(&self) -> usize {
        let source = match &self.origin {
            Origin::Web(text) | Origin::SearchResult { source: text, .. } => text.len(),
            Origin::Document { .. } => 0,
        };
        let texts = [&self.title, &self.quote].into_iter().flatten().map(|text| text.len()).sum::<usize>();
        size_of::<Self>() + source + texts
    }
}

/// Citations in the order in which their words begin.
pub(super) fn in_order(mut citations: Vec<Citation<'_>>) -> Vec<Citation<'_>> {
    citations.sort_by_key(|cited| cited.span.start);
    citations
}

/// The characters of a text.
pub(super) fn characters(text: &str) -> u64 {
    text.chars().count() as u64
}

/// The words of an answer that comes in pieces, as far as they are kept.
#[derive(Debug, Default)]
pub(super) struct Words {
    text: String,
    /// There were more than are kept.
    over: bool,
}

impl Words {
    pub const fn new() -> Self {
        Self { text: String::new(), over: false }
    }

    pub fn push(&mut self, more: &str) {
        self.over |= self.text.len() + more.len() > MAX_WORDS;
        match self.over {
            true => self.text = String::new(),
            false => self.text.push_str(more),
        }
    }

    /// All of them; `None` where they are too many.
    pub fn all(&self) -> Option<&str> {
        (!self.over).then_some(&*self.text)
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        self.text.capacity()
    }
}

/// Where the characters of a text are in its bytes, and the other way round.
pub(super) struct Ruler {
    /// Where characters of another length begin: the byte, the character, and that length.
    runs: Vec<(u64, u64, u64)>,
    bytes: u64,
    characters: u64,
}

impl Ruler {
    pub fn new(text: &str) -> Self {
        let (mut runs, mut bytes, mut characters) = (Vec::<(u64, u64, u64)>::new(), 0, 0);
        for c in text.chars() {
            let width = c.len_utf8() as u64;
            if runs.last().is_none_or(|(.., last)| *last != width) {
                runs.push((bytes, characters, width));
            }
            bytes += width;
            characters += 1;
        }
        Self { runs, bytes, characters }
    }

    /// How many characters there are.
    pub const fn characters(&self) -> u64 {
        self.characters
    }

    /// The character that begins at this byte. `None` where none does, and past the end.
    pub fn character(&self, byte: u64) -> Option<u64> {
        if byte == self.bytes {
            return Some(self.characters);
        }
        let run = self.runs.partition_point(|(begins, ..)| *begins <= byte).checked_sub(1)?;
        let (begins, characters, width) = self.runs[run];
        let within = byte - begins;
        (byte < self.bytes && within.is_multiple_of(width)).then_some(characters + within / width)
    }

    /// The byte at which this character begins. `None` past the end.
    pub fn byte(&self, character: u64) -> Option<u64> {
        if character == self.characters {
            return Some(self.bytes);
        }
        let run = self.runs.partition_point(|(_, begins, _)| *begins <= character).checked_sub(1)?;
        let (bytes, begins, width) = self.runs[run];
        (character < self.characters).then_some(bytes + (character - begins) * width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ruler_knows_every_character_and_every_byte() {
        for text in ["", "abc", "é", "aé日\u{1F600}bc日日x", "\u{1F600}\u{1F600}", "日本a"] {
            let ruler = Ruler::new(text);
            let mut begins: Vec<u64> = text.char_indices().map(|(at, _)| at as u64).collect();
            begins.push(text.len() as u64);
            for byte in 0..text.len() as u64 + 3 {
                let expect = begins.iter().position(|at| *at == byte).map(|at| at as u64);
                assert_eq!(ruler.character(byte), expect, "{text} at {byte}");
            }
            for character in 0..begins.len() as u64 + 2 {
                let expect = begins.get(character as usize).copied();
                assert_eq!(ruler.byte(character), expect, "{text} at {character}");
            }
        }
    }

    #[test]
    fn what_cannot_be_said_is_no_citation() {
        let web = |span, url: &'static str| Citation::new(span, Origin::Web(url.into()), None, None);
        assert!(web(0..1, "https://a").is_some() && web(0..1, "http://a").is_some());
        #[expect(clippy::reversed_empty_ranges, reason = "as a provider may tell it")]
        let none = [web(3..3, "https://a"), web(3..1, "https://a"), web(0..1, "javascript:x"), web(0..1, "gs://a")];
        assert_eq!(none, [None, None, None, None]);
        let long = format!("https://{}", "a".repeat(MAX_URL));
        assert_eq!(Citation::new(0..1, Origin::Web(long.into()), None, None), None);
        let long = Some("a".repeat(MAX_TITLE + 1).into());
        let title = Citation::new(0..1, Origin::Web("https://a".into()), long, None).map(|cited| cited.title);
        assert_eq!(title, Some(None));
    }

    #[test]
    fn words_are_kept_up_to_their_bound() {
        let mut words = Words::default();
        words.push("é");
        assert_eq!(words.all(), Some("é"));
        words.push(&"a".repeat(MAX_WORDS));
        assert_eq!((words.all(), words.held()), (None, 0));
        words.push("a");
        assert_eq!(words.all(), None);
    }
}
