//! Turns as the messages of a Converse request.

use super::super::{
    Why,
    call::{Block, Call, Content, Role, Source},
    write::{Object, array},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;

/// Longer names of documents are cut off.
const MAX_NAME: usize = 200;

/// Whether a model knows marks for its cache: others refuse a call with one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks(bool);

impl Marks {
    pub fn of(maker: Option<&str>) -> Self {
        Self(matches!(maker, Some("anthropic" | "amazon")))
    }
}

/// The names of a call's documents, of which no two may be the same, each with the number that follows it when it comes
/// again: a call may have very many of one name.
#[derive(Default)]
pub(super) struct Names {
    given: HashMap<String, u32>,
    /// How many names were looked at.
    #[cfg(test)]
    tried: usize,
}

impl Names {
    /// A name that may stand there: letters, digits, single spaces, `-`, `(`, `)`, `[` and `]`.
    fn next(&mut self, title: Option<&str>) -> String {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '(' | ')' | '[' | ']');
        let words = title.unwrap_or_default().split(|c| !allowed(c)).filter(|word| !word.is_empty());
        let mut name = words.collect::<Vec<_>>().join(" ");
        name.truncate(MAX_NAME - 8);
        name.truncate(name.trim_end().len());
        if name.is_empty() {
            "document".clone_into(&mut name);
        }
        let Some(mut number) = self.given.get(&name).copied() else {
            self.given.insert(name.clone(), 2);
            return name;
        };
        let free = loop {
            let numbered = format!("{name} {number}");
            number += 1;
            #[cfg(test)]
            {
                self.tried += 1;
            }
            if !self.given.contains_key(&numbered) {
                break numbered;
            }
        };
        self.given.insert(name, number);
        self.given.insert(free.clone(), 2);
        free
    }
}

/// Writes the turns of a call.
pub(super) fn messages(call: &Call<'_>, marks: Marks, out: &mut Vec<u8>) -> Result<(), Why> {
    let (mut problem, mut names) = (None, Names::default());
    array(out, &call.turns.0, |out, turn| {
        let mut message = Object::new(out);
        message.json("role", if turn.role == Role::User { "\"user\"" } else { "\"assistant\"" });
        if let Err(why) = blocks(&turn.content, marks, &mut names, message.member("content")) {
            problem.get_or_insert(why);
        }
        message.end();
    });
    problem.map_or(Ok(()), Err)
}

/// Writes blocks, with a mark behind those that have one.
pub(super) fn blocks(content: &[Block<'_>], marks: Marks, names: &mut Names, out: &mut Vec<u8>) -> Result<(), Why> {
    let parts = content.iter().flat_map(|block| {
        let mark = mark(block).filter(|_| marks.0).map(Part::Mark);
        [Some(Part::Said(block)), mark].into_iter().flatten()
    });
    let mut problem = None;
    array(out, parts, |out, part| match part {
        Part::Mark(mark) => cache_point(out, mark),
        Part::Said(block) => {
            if let Err(why) = one(block, names, out) {
                problem.get_or_insert(why);
            }
        }
    });
    problem.map_or(Ok(()), Err)
}

enum Part<'b, 'a> {
    Said(&'b Block<'a>),
    Mark(&'b RawValue),
}

const fn mark<'a>(block: &Block<'a>) -> Option<&'a RawValue> {
    match block {
        Block::Text { cache_control, .. }
        | Block::Image { cache_control, .. }
        | Block::Document { cache_control, .. } => *cache_control,
        Block::Cited(cited) => cited.cache_control,
        Block::Audio { .. }
        | Block::ToolUse { .. }
        | Block::ToolResult { .. }
        | Block::Thinking { .. }
        | Block::Redacted(_) => None,
    }
}

/// A mark of the Messages API as one of this.
pub(super) fn cache_point(out: &mut Vec<u8>, mark: &RawValue) {
    #[derive(Default, Deserialize)]
    struct Control<'a> {
        #[serde(borrow, default)]
        ttl: Option<&'a RawValue>,
    }
    let control: Control<'_> = serde_json::from_str(mark.get()).unwrap_or_default();
    let hour = control.ttl.is_some_and(|ttl| ttl.get() == "\"1h\"");
    let point: &[u8] =
        if hour { br#"{"cachePoint":{"type":"default","ttl":"1h"}}"# } else { br#"{"cachePoint":{"type":"default"}}"# };
    out.extend_from_slice(point);
}

fn one(block: &Block<'_>, names: &mut Names, out: &mut Vec<u8>) -> Result<(), Why> {
    let mut to = Object::new(out);
    let written = match block {
        Block::Text { text, .. } => {
            to.text("text", text);
            Ok(())
        }
        Block::Image { source, .. } => image(source, &mut to),
        Block::Document { source, title, .. } => {
            file(source).map(|of| document(of, title.as_deref(), false, names, &mut to))
        }
        Block::Cited(cited) => {
            let title = cited.title.as_deref();
            origin(&cited.content).map(|of| document(of, title, true, names, &mut to))
        }
        Block::ToolUse { id, name, input } => {
            let mut call = to.object("toolUse");
            call.text("toolUseId", id);
            call.text("name", name);
            call.json("input", input.get());
            call.end();
            Ok(())
        }
        Block::Audio { .. } => Err(Why::NoCounterpart("sound in a message".to_owned())),
        Block::Thinking { text, signature } => {
            let mut reasoning = to.object("reasoningContent");
            let mut said = reasoning.object("reasoningText");
            said.text("text", text);
            if let Some((_, signature)) = signature {
                said.text("signature", signature);
            }
            said.end();
            reasoning.end();
            Ok(())
        }
        Block::Redacted(data) => {
            let mut reasoning = to.object("reasoningContent");
            reasoning.text("redactedContent", data);
            reasoning.end();
            Ok(())
        }
        Block::ToolResult { id, content, is_error } => {
            let mut result = to.object("toolResult");
            result.text("toolUseId", id);
            let written = blocks(content, Marks(false), names, result.member("content"));
            if *is_error {
                result.json("status", "\"error\"");
            }
            result.end();
            written
        }
    };
    to.end();
    written
}

/// Images and documents are sent along: what is in the web is not fetched by AWS.
fn here<'s>(source: &'s Source<'_>, what: &str) -> Result<(&'s str, &'s str), Why> {
    match source {
        Source::Base64 { media_type, data } => Ok((media_type, data)),
        Source::Url(_) => Err(Why::NoCounterpart(format!("{what} in the web, which is not sent along,"))),
    }
}

fn image(source: &Source<'_>, to: &mut Object<'_>) -> Result<(), Why> {
    let (media_type, data) = here(source, "an image")?;
    let format = match &*media_type.to_ascii_lowercase() {
        "image/png" => "png",
        "image/jpeg" | "image/jpg" => "jpeg",
        "image/gif" => "gif",
        "image/webp" => "webp",
        _ => return Err(Why::NoCounterpart("an image that is no PNG, JPEG, GIF or WebP".to_owned())),
    };
    let mut image = to.object("image");
    image.text("format", format);
    bytes(&mut image, data);
    image.end();
    Ok(())
}

/// What a document is: its format and its source.
enum Origin<'s> {
    Bytes(&'static str, &'s str),
    Text(&'s str),
    Blocks(Vec<&'s str>),
}

fn origin<'s>(content: &'s Content<'_>) -> Result<Origin<'s>, Why> {
    match content {
        Content::File(source) => file(source),
        Content::Text(text) => Ok(Origin::Text(text)),
        Content::Blocks(blocks) => {
            let text = |block: &'s Block<'_>| match block {
                Block::Text { text, .. } => Ok(&**text),
                _ => Err(Why::NoCounterpart("a document to be cited that holds more than text".to_owned())),
            };
            Ok(Origin::Blocks(blocks.iter().map(text).collect::<Result<_, _>>()?))
        }
    }
}

fn file<'s>(source: &'s Source<'_>) -> Result<Origin<'s>, Why> {
    let (media_type, data) = here(source, "a document")?;
    let format = match &*media_type.to_ascii_lowercase() {
        "application/pdf" => "pdf",
        "text/csv" => "csv",
        "application/msword" => "doc",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => "docx",
        "application/vnd.ms-excel" => "xls",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "xlsx",
        "text/html" => "html",
        "text/plain" => "txt",
        "text/markdown" => "md",
        _ => return Err(Why::NoCounterpart("a document of this type".to_owned())),
    };
    Ok(Origin::Bytes(format, data))
}

fn document(of: Origin<'_>, title: Option<&str>, cited: bool, names: &mut Names, to: &mut Object<'_>) {
    let mut document = to.object("document");
    let format = match of {
        Origin::Bytes(format, _) => format,
        Origin::Text(_) | Origin::Blocks(_) => "txt",
    };
    document.text("format", format);
    document.text("name", &names.next(title));
    match of {
        Origin::Bytes(_, data) => bytes(&mut document, data),
        Origin::Text(text) => {
            let mut source = document.object("source");
            source.text("text", text);
            source.end();
        }
        Origin::Blocks(texts) => {
            let mut source = document.object("source");
            source.array("content", texts, |out, text| {
                let mut block = Object::new(out);
                block.text("text", text);
                block.end();
            });
            source.end();
        }
    }
    if cited {
        document.json("citations", "{\"enabled\":true}");
    }
    document.end();
}

fn bytes(to: &mut Object<'_>, data: &str) {
    let mut source = to.object("source");
    source.text("bytes", data);
    source.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_documents_have_one_name() {
        let mut names = Names::default();
        let titles = [None, Some("a"), Some("a 2"), Some("a"), Some("a"), Some("a 2"), Some("../"), Some("a.pdf")];
        let given = titles.map(|title| names.next(title));
        assert_eq!(given, ["document", "a", "a 2", "a 3", "a 4", "a 2 2", "document 2", "a pdf"]);
        let long = "a ".repeat(300);
        let (one, two) = (names.next(Some(&long)), names.next(Some(&long)));
        assert!(one != two && two.len() <= MAX_NAME, "{one} {two}");
    }

    #[test]
    fn of_very_many_documents_of_one_name_each_tries_one() {
        let mut names = Names::default();
        let last = (0..5000).map(|_| names.next(None)).last();
        assert_eq!(last.as_deref(), Some("document 5000"));
        // From 2 on for each of them it would be twelve millions.
        assert_eq!(names.tried, 4999);
    }
}
