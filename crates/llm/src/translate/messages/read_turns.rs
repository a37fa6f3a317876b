//! The system prompt and the messages of a Messages request, as blocks and turns.

use super::super::{
    Why,
    call::{Block, Cited, Content, MAX_MESSAGES, MAX_PARTS, Role, Source, Turns},
    read::{Text, list, present, read},
    signature::Signer,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Text<'a>,
    #[serde(borrow)]
    content: &'a RawValue,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    source: Option<&'a RawValue>,
    #[serde(borrow, default)]
    title: Option<Text<'a>>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_use_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    thinking: Option<&'a RawValue>,
    #[serde(borrow, default)]
    signature: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    is_error: Option<bool>,
    #[serde(borrow, default)]
    cache_control: Option<&'a RawValue>,
    /// Of a document, whether it may be cited.
    #[serde(borrow, default)]
    citations: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Citations {
    #[serde(default)]
    enabled: Option<bool>,
}

#[derive(Deserialize)]
struct PartSource<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(borrow, default)]
    media_type: Option<Text<'a>>,
    #[serde(borrow, default)]
    data: Option<Text<'a>>,
    #[serde(borrow, default)]
    url: Option<Text<'a>>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

/// Where blocks stand, and so which may.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    System,
    User,
    Assistant,
    /// A tool's result.
    Result,
    /// The content of a document.
    Document,
}

/// For so many blocks is there room in a call.
pub(super) const fn room() -> usize {
    MAX_PARTS
}

pub(super) fn system<'a>(raw: Option<&'a RawValue>, room: &mut usize) -> Result<Vec<Block<'a>>, Why> {
    raw.map_or_else(|| Ok(Vec::new()), |raw| blocks(raw, Within::System, "`system`", room))
}

pub(super) fn turns<'a>(raw: &'a RawValue, room: &mut usize) -> Result<Turns<'a>, Why> {
    let messages: Vec<Message<'_>> = list(raw, "`messages`", MAX_MESSAGES, "messages")?;
    let mut turns = Turns::default();
    for (i, message) in messages.into_iter().enumerate() {
        let place = format!("`messages[{i}]`");
        let (role, within) = match &*message.role {
            "user" => (Role::User, Within::User),
            "assistant" => (Role::Assistant, Within::Assistant),
            _ => return Err(Why::Form(format!("the role of {place}"))),
        };
        turns.push(role, blocks(message.content, within, &place, room)?);
    }
    Ok(turns)
}

/// The blocks of a content; empty texts are left out.
fn blocks<'a>(raw: &'a RawValue, within: Within, place: &str, room: &mut usize) -> Result<Vec<Block<'a>>, Why> {
    if raw.get().starts_with('"') {
        return Ok(text(read(raw, place)?, None).into_iter().collect());
    }
    let parts: Vec<Part<'a>> = list(raw, place, *room, "parts of messages")?;
    *room -= parts.len();
    let mut blocks = Vec::with_capacity(parts.len());
    for part in parts {
        let form = || Why::Form(format!("a block of {place}"));
        let cache_control = present(part.cache_control);
        let from = || read::<PartSource<'a>>(part.source.ok_or_else(form)?, &format!("a block of {place}"));
        let media = matches!(within, Within::User | Within::Result | Within::Document);
        match &*part.r#type {
            "text" => blocks.extend(text(part.text.ok_or_else(form)?, cache_control)),
            "image" if media => {
                let source = source(from()?, "an image", place)?;
                blocks.push(Block::Image { source, cache_control });
            }
            "document" if media && within != Within::Document => {
                let told = present(part.citations).map(|raw| read::<Citations>(raw, &format!("a block of {place}")));
                let is_cited = told.transpose()?.is_some_and(|told| told.enabled == Some(true));
                let from = from()?;
                let content = match &*from.r#type {
                    "text" => Content::Text(from.data.ok_or_else(form)?),
                    "content" => {
                        let content = from.content.ok_or_else(form)?;
                        Content::Blocks(self::blocks(content, Within::Document, place, room)?)
                    }
                    _ => Content::File(source(from, "a document", place)?),
                };
                let cited = Cited { content, title: part.title, cache_control };
                match is_cited {
                    true => blocks.push(Block::Cited(Box::new(cited))),
                    false => blocks.append(&mut cited.plain()),
                }
            }
            "tool_use" if within == Within::Assistant => {
                let input = part.input.filter(|input| input.get().starts_with('{')).ok_or_else(form)?;
                let (id, name) = (part.id.ok_or_else(form)?, part.name.ok_or_else(form)?);
                blocks.push(Block::ToolUse { id, name, input: Cow::Borrowed(input) });
            }
            "tool_result" if within == Within::User => {
                let id = part.tool_use_id.ok_or_else(form)?;
                let content = match present(part.content) {
                    Some(raw) => self::blocks(raw, Within::Result, place, room)?,
                    None => Vec::new(),
                };
                blocks.push(Block::ToolResult { id, content, is_error: part.is_error.unwrap_or(false) });
            }
            "thinking" if within == Within::Assistant => {
                let word = |raw: Option<&'a RawValue>| present(raw).map(|raw| read::<Text<'a>>(raw, place)).transpose();
                // What is written here of thinking that nobody signed has an empty signature.
                let signature = word(part.signature)?.filter(|signature| !signature.is_empty());
                let signature = signature.map(Signer::of_messages);
                blocks.push(Block::Thinking { text: word(part.thinking)?.unwrap_or_default(), signature });
            }
            "redacted_thinking" if within == Within::Assistant => {
                blocks.push(Block::Redacted(read(part.data.ok_or_else(form)?, place)?));
            }
            _ => return Err(Why::NoCounterpart(format!("a block of {place}"))),
        }
    }
    Ok(blocks)
}

fn text<'a>(text: Text<'a>, cache_control: Option<&'a RawValue>) -> Option<Block<'a>> {
    (!text.is_empty()).then_some(Block::Text { text, cache_control })
}

fn source<'a>(source: PartSource<'a>, what: &str, place: &str) -> Result<Source<'a>, Why> {
    let form = || Why::Form(format!("{what} of {place}"));
    match &*source.r#type {
        "base64" => {
            let media_type = source.media_type.filter(|of| is_media_type(of)).ok_or_else(form)?.0;
            Ok(Source::base64(media_type, source.data.ok_or_else(form)?.0))
        }
        "url" => Ok(Source::Url(source.url.ok_or_else(form)?)),
        "file" => Err(Why::NoCounterpart(format!("{what} of {place} that is not sent along"))),
        _ => Err(form()),
    }
}

/// Whether it can stand in a `data:` URL without ending its own part of it.
fn is_media_type(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b',' | b';'))
}
