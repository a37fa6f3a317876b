//! The input of a Responses request as turns: who says what, in blocks.

use super::super::{
    Why,
    call::{Block, MAX_MESSAGES, MAX_PARTS, Role, Turns},
    chat::read_turns::{arguments, source, text},
    read::{Text, list, present, read},
    signature::Signer,
};
use super::write_item::REDACTED;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, default)]
    r#type: Option<Text<'a>>,
    #[serde(borrow, default)]
    role: Option<Text<'a>>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    call_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, default)]
    output: Option<&'a RawValue>,
    #[serde(borrow, default)]
    summary: Option<&'a RawValue>,
    #[serde(borrow, default)]
    encrypted_content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    refusal: Option<Text<'a>>,
    #[serde(borrow, default)]
    image_url: Option<Text<'a>>,
    #[serde(borrow, default)]
    file_data: Option<Text<'a>>,
    #[serde(borrow, default)]
    file_url: Option<Text<'a>>,
    #[serde(borrow, default)]
    filename: Option<Text<'a>>,
}

/// What system and developer messages say, wherever they stood, and the turns of the others. Reasoning that only models of
/// OpenAI's can read is left out.
pub(super) fn turns<'a>(raw: &'a RawValue) -> Result<(Vec<Block<'a>>, Turns<'a>), Why> {
    let (mut system, mut turns) = (Vec::new(), Turns::default());
    if raw.get().starts_with('"') {
        turns.push(Role::User, text(read(raw, "`input`")?, None).into_iter().collect());
        return Ok((system, turns));
    }
    let items: Vec<Item<'a>> = list(raw, "`input`", MAX_MESSAGES, "items")?;
    let mut room = MAX_PARTS;
    for (i, item) in items.into_iter().enumerate() {
        let place = format!("`input[{i}]`");
        let form = || Why::Form(place.clone());
        let word = |raw: Option<&'a RawValue>| read::<Text<'a>>(raw.ok_or_else(form)?, &place);
        match (item.r#type.as_deref(), item.role.as_deref()) {
            (None | Some("message"), Some(role)) => {
                let mut said = blocks(item.content.ok_or_else(form)?, &place, &mut room)?;
                match role {
                    "system" | "developer" => system.append(&mut said),
                    "user" => turns.push(Role::User, said),
                    "assistant" => turns.push(Role::Assistant, said),
                    _ => return Err(Why::Form(format!("the role of {place}"))),
                }
            }
            (Some("function_call"), _) => {
                let (id, name) = (word(item.call_id)?, word(item.name)?);
                let told = present(item.arguments).map(|raw| word(Some(raw))).transpose()?;
                let input = Cow::Owned(arguments(told).ok_or_else(form)?);
                turns.push(Role::Assistant, vec![Block::ToolUse { id, name, input }]);
            }
            (Some("function_call_output"), _) => {
                let id = word(item.call_id)?;
                let content = match present(item.output) {
                    Some(raw) => blocks(raw, &place, &mut room)?,
                    None => Vec::new(),
                };
                turns.push(Role::User, vec![Block::ToolResult { id, content, is_error: false }]);
            }
            (Some("reasoning"), _) => {
                let encrypted = present(item.encrypted_content).map(|raw| word(Some(raw))).transpose()?;
                if let Some(signature) = encrypted.as_ref().and_then(Signer::unmarked) {
                    let parts: Vec<Part<'a>> = match present(item.summary) {
                        Some(raw) => list(raw, &place, room, "parts of items")?,
                        None => Vec::new(),
                    };
                    room -= parts.len();
                    let texts: Vec<Text<'a>> = parts.into_iter().filter_map(|part| part.text).collect();
                    let text = Text(texts.iter().map(|text| &**text).collect::<String>().into());
                    turns.push(Role::Assistant, vec![Block::Thinking { text, signature: Some(signature) }]);
                } else if let Some(data) = encrypted.as_ref().and_then(|own| own.strip_prefix(REDACTED)) {
                    turns.push(Role::Assistant, vec![Block::Redacted(Text(data.to_owned().into()))]);
                }
            }
            (Some("item_reference"), _) => {
                let what = "which refers to an item instead of holding it (SDKs hold it with `store: false`),";
                return Err(Why::NoCounterpart(format!("{place}, {what}")));
            }
            (Some(_), _) => return Err(Why::NoCounterpart(format!("the type of {place}"))),
            (None, None) => return Err(form()),
        }
    }
    Ok((system, turns))
}

/// The blocks of a content, for which there is still so much room in the call; empty texts are left out.
fn blocks<'a>(raw: &'a RawValue, place: &str, room: &mut usize) -> Result<Vec<Block<'a>>, Why> {
    if raw.get().starts_with('"') {
        return Ok(text(read(raw, place)?, None).into_iter().collect());
    }
    let parts: Vec<Part<'a>> = list(raw, place, *room, "parts of items")?;
    *room -= parts.len();
    let mut blocks = Vec::with_capacity(parts.len());
    for part in parts {
        let form = || Why::Form(format!("a part of {place}"));
        match &*part.r#type {
            "input_text" | "output_text" | "text" => blocks.extend(text(part.text.ok_or_else(form)?, None)),
            "refusal" => blocks.extend(text(part.refusal.ok_or_else(form)?, None)),
            "input_image" => {
                let by_id = || Why::NoCounterpart(format!("an image of {place} that is not sent along"));
                let source = source(part.image_url.ok_or_else(by_id)?).ok_or_else(form)?;
                blocks.push(Block::Image { source, cache_control: None });
            }
            "input_file" => {
                let by_id = || Why::NoCounterpart(format!("a file of {place} that is not sent along"));
                let from = part.file_data.or(part.file_url).ok_or_else(by_id)?;
                let source = source(from).ok_or_else(form)?;
                blocks.push(Block::Document { source, title: part.filename, cache_control: None });
            }
            _ => return Err(Why::NoCounterpart(format!("a part of {place}"))),
        }
    }
    Ok(blocks)
}
