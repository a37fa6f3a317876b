//! The messages of a chat as turns: who says what, in blocks.

use super::super::{
    Why,
    call::{Block, MAX_MESSAGES, MAX_PARTS, Role, Source, Turns},
    read::{Text, list, present, read},
    signature::Signer,
};
use crate::openai::request::Skip;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Text<'a>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_calls: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_call_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow, default)]
    thinking_blocks: Option<&'a RawValue>,
    #[serde(borrow, default)]
    extra_content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    function_call: Option<&'a RawValue>,
    #[serde(borrow, default)]
    audio: Option<&'a RawValue>,
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
    image_url: Option<&'a RawValue>,
    #[serde(borrow, default)]
    file: Option<File<'a>>,
    #[serde(borrow, default)]
    input_audio: Option<&'a RawValue>,
    #[serde(borrow, default)]
    cache_control: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ImageUrl<'a> {
    #[serde(borrow)]
    url: Text<'a>,
}

/// The address of an image: within an object, or alone, as Mistral takes it too.
fn image_url(raw: &RawValue) -> Option<Text<'_>> {
    match raw.get().starts_with('"') {
        true => serde_json::from_str(raw.get()).ok(),
        false => serde_json::from_str::<ImageUrl<'_>>(raw.get()).ok().map(|image| image.url),
    }
}

#[derive(Deserialize)]
struct Audio<'a> {
    #[serde(borrow)]
    data: Text<'a>,
    #[serde(borrow)]
    format: Text<'a>,
}

/// The formats of sound, and their types.
const SOUNDS: &[(&str, &str)] = &[
    ("wav", "audio/wav"),
    ("mp3", "audio/mp3"),
    ("aac", "audio/aac"),
    ("aiff", "audio/aiff"),
    ("flac", "audio/flac"),
    ("ogg", "audio/ogg"),
];

/// What Chat Completions calls sound of this type.
pub(super) fn sound_format(media_type: &str) -> Option<&'static str> {
    let media_type = match media_type {
        "audio/mpeg" => "audio/mp3",
        "audio/x-wav" | "audio/wave" => "audio/wav",
        other => other,
    };
    SOUNDS.iter().find(|(_, known)| *known == media_type).map(|(format, _)| *format)
}

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow, default)]
    file_data: Option<Text<'a>>,
    #[serde(borrow, default)]
    filename: Option<Text<'a>>,
}

/// Thinking that is sent back, in the form that answers have it in and that LiteLLM gave it.
#[derive(Deserialize)]
struct Thought<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(borrow, default)]
    thinking: Option<Text<'a>>,
    #[serde(borrow, default)]
    signature: Option<Text<'a>>,
    #[serde(borrow, default)]
    data: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow, default)]
    r#type: Option<Text<'a>>,
    #[serde(borrow, default)]
    function: Option<Function<'a>>,
    #[serde(borrow, default)]
    extra_content: Option<&'a RawValue>,
}

/// Where Google's own Chat Completions API has the signatures of its models: beside a call, and beside a message.
#[derive(Deserialize)]
struct Extra<'a> {
    /// Vertex AI has another name for it.
    #[serde(borrow, default, alias = "vertex")]
    google: Option<OfGoogle<'a>>,
}

#[derive(Deserialize)]
struct OfGoogle<'a> {
    #[serde(borrow, default)]
    thought_signature: Option<Text<'a>>,
}

/// The signature of what a model of Google's said or called.
fn signed(signer: Signer, extra: Option<&RawValue>) -> Option<Block<'_>> {
    let signature = google_signature(extra)?;
    Some(Block::Thinking { text: Text::default(), signature: Some((signer, signature)) })
}

/// The signature within `extra_content`.
pub(super) fn google_signature(extra: Option<&RawValue>) -> Option<Text<'_>> {
    let extra: Extra<'_> = serde_json::from_str(present(extra)?.get()).ok()?;
    extra.google?.thought_signature.filter(|signature| !signature.is_empty())
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, default)]
    arguments: Option<Text<'a>>,
}

/// What system and developer messages say, wherever they stood, and the turns of the others.
pub(super) fn turns(raw: &RawValue) -> Result<(Vec<Block<'_>>, Turns<'_>), Why> {
    let messages: Vec<Message<'_>> = list(raw, "`messages`", MAX_MESSAGES, "messages")?;
    let mut room = MAX_PARTS;
    let (mut system, mut turns) = (Vec::new(), Turns::default());
    for (i, message) in messages.into_iter().enumerate() {
        let place = format!("`messages[{i}]`");
        let unknown = |what: &str| Err(Why::NoCounterpart(format!("{what} of {place}")));
        if present(message.function_call).is_some() {
            return unknown("`function_call`");
        }
        if present(message.audio).is_some() {
            return unknown("`audio`");
        }
        let mut said = blocks(message.content, &place, &mut room)?;
        match &*message.role {
            "system" | "developer" => system.extend(said),
            "user" => turns.push(Role::User, said),
            "assistant" => {
                if let Some(raw) = present(message.refusal) {
                    said.extend(text(read(raw, &place)?, None));
                }
                said.extend(signed(Signer::Google, message.extra_content));
                for call in parts::<ToolCall<'_>>(message.tool_calls, &place, &mut room)? {
                    said.extend(signed(Signer::GoogleCall, call.extra_content));
                    said.push(tool_use(call, &place)?);
                }
                let mut turn = thoughts(message.thinking_blocks, &place, &mut room)?;
                turn.append(&mut said);
                turns.push(Role::Assistant, turn);
            }
            "tool" => {
                let id = message.tool_call_id.ok_or_else(|| Why::Form(place.clone()))?;
                turns.push(Role::User, vec![Block::ToolResult { id, content: said, is_error: false }]);
            }
            "function" => return unknown("the role"),
            _ => return Err(Why::Form(format!("the role of {place}"))),
        }
    }
    Ok((system, turns))
}

/// The blocks of a content; empty texts, which the Messages API does not take, are left out.
fn blocks<'a>(content: Option<&'a RawValue>, place: &str, room: &mut usize) -> Result<Vec<Block<'a>>, Why> {
    if let Some(raw) = present(content).filter(|raw| raw.get().starts_with('"')) {
        return Ok(text(read(raw, place)?, None).into_iter().collect());
    }
    let parts: Vec<Part<'a>> = parts(content, place, room)?;
    let mut blocks = Vec::with_capacity(parts.len());
    for part in parts {
        let form = || Why::Form(format!("a part of {place}"));
        let cache_control = present(part.cache_control);
        match &*part.r#type {
            "text" => blocks.extend(text(part.text.ok_or_else(form)?, cache_control)),
            "refusal" => blocks.extend(text(part.refusal.ok_or_else(form)?, cache_control)),
            "image_url" => {
                let url = part.image_url.and_then(image_url).ok_or_else(form)?;
                let source = source(url).ok_or_else(form)?;
                blocks.push(Block::Image { source, cache_control });
            }
            "input_audio" => {
                let Audio { data, format } = read(part.input_audio.ok_or_else(form)?, &format!("a part of {place}"))?;
                let known = SOUNDS.iter().find(|(known, _)| *known == &*format);
                let (_, media_type) =
                    known.ok_or_else(|| Why::NoCounterpart(format!("sound of {place} in this format")))?;
                blocks.push(Block::Audio { media_type: (*media_type).into(), data: data.0 });
            }
            "file" => {
                let file = part.file.ok_or_else(form)?;
                let by_id = || Why::NoCounterpart(format!("a file of {place} that is not sent along"));
                let source = source(file.file_data.ok_or_else(by_id)?).ok_or_else(form)?;
                blocks.push(Block::Document { source, title: file.filename, cache_control });
            }
            _ => return Err(Why::NoCounterpart(format!("a part of {place}"))),
        }
    }
    Ok(blocks)
}

pub(in crate::translate) fn text<'a>(text: Text<'a>, cache_control: Option<&'a RawValue>) -> Option<Block<'a>> {
    (!text.is_empty()).then_some(Block::Text { text, cache_control })
}

fn thoughts<'a>(raw: Option<&'a RawValue>, place: &str, room: &mut usize) -> Result<Vec<Block<'a>>, Why> {
    let thoughts: Vec<Thought<'a>> = parts(raw, place, room)?;
    let block = |thought: Thought<'a>| match (&*thought.r#type, thought.data) {
        ("thinking", _) => {
            let signature = thought.signature.filter(|signature| !signature.is_empty());
            let signature = signature.map(Signer::of_messages);
            Ok(Block::Thinking { text: thought.thinking.unwrap_or_default(), signature })
        }
        ("redacted_thinking", Some(data)) => Ok(Block::Redacted(data)),
        _ => Err(Why::Form(format!("`thinking_blocks` of {place}"))),
    };
    thoughts.into_iter().map(block).collect()
}

/// The parts or tool calls of a message, for which there is still so much room in the call.
fn parts<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>, place: &str, room: &mut usize) -> Result<Vec<T>, Why> {
    let Some(raw) = present(raw) else { return Ok(Vec::new()) };
    let parts = list(raw, place, *room, "parts of messages")?;
    *room -= parts.len();
    Ok(parts)
}

/// A `data:` URL with base64 (RFC 2397), or a URL of the web.
pub(in crate::translate) fn source(url: Text<'_>) -> Option<Source<'_>> {
    if let Some(rest) = url.strip_prefix("data:") {
        let (head, data) = rest.split_once(',')?;
        let media_type = head.strip_suffix(";base64")?.split(';').next()?;
        return (!media_type.is_empty()).then(|| Source::base64(media_type.to_owned().into(), data.to_owned().into()));
    }
    let web = ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme));
    web.then_some(Source::Url(url))
}

fn tool_use<'a>(call: ToolCall<'a>, place: &str) -> Result<Block<'a>, Why> {
    let place = || format!("a tool call of {place}");
    if call.r#type.is_some_and(|kind| &*kind != "function") {
        return Err(Why::NoCounterpart(place()));
    }
    let form = || Why::Form(place());
    let function = call.function.ok_or_else(form)?;
    let input = arguments(function.arguments).ok_or_else(form)?;
    Ok(Block::ToolUse { id: call.id, name: function.name, input: Cow::Owned(input) })
}

/// The arguments of a call: a text that holds a JSON object, which they become byte for byte.
pub(in crate::translate) fn arguments(text: Option<Text<'_>>) -> Option<Box<RawValue>> {
    let text = text.map_or(Cow::Borrowed("{}"), |text| text.0);
    let text = if text.trim().is_empty() { "{}" } else { text.trim() };
    // Held to what a body is held to.
    serde_json::from_str::<Skip>(text).ok()?;
    RawValue::from_string(text.to_owned()).ok().filter(|input| input.get().starts_with('{'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_behind_its_address_in_an_object_or_alone() {
        let url = |json: &str| image_url(serde_json::from_str(json).ok()?).map(|url| url.0.into_owned());
        assert_eq!(url(r#"{"url":"https://a/b.png","detail":"low"}"#).as_deref(), Some("https://a/b.png"));
        assert_eq!(url(r#""https://a/b.png""#).as_deref(), Some("https://a/b.png"));
        assert_eq!(url("7").or(url("{}")).or(url("null")), None);
    }
}
