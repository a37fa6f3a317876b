//! The system instruction and the contents of a Gemini request, as blocks and turns.
//!
//! Calls of functions may have ids, and so may their answers. Where they have none, an answer is that of the earliest
//! call of its function that has none yet, and ids are made up, as other dialects do not go without.

use super::super::{
    Why,
    call::{Block, MAX_MESSAGES, MAX_PARTS, Role, Source, Turns, known_media_type},
    read::{Text, members, one_or_more, present, read},
    signature::{Carried, Signer},
};
use super::write_turns::NO_SIGNATURE;
use base64::Engine as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
};

/// Among so many open calls of one function is one looked for by its id.
const MAX_LOOKED_AT: usize = 64;

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow, default)]
    role: Option<Text<'a>>,
    #[serde(borrow, default)]
    parts: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(default)]
    thought: Option<bool>,
    #[serde(borrow, default, alias = "inline_data", rename = "inlineData")]
    inline: Option<Blob<'a>>,
    #[serde(borrow, default, alias = "file_data", rename = "fileData")]
    file: Option<File<'a>>,
    #[serde(borrow, default, alias = "function_call", rename = "functionCall")]
    call: Option<FunctionCall<'a>>,
    #[serde(borrow, default, alias = "function_response", rename = "functionResponse")]
    response: Option<FunctionResponse<'a>>,
    #[serde(borrow, default, alias = "thought_signature", rename = "thoughtSignature")]
    signature: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Blob<'a> {
    #[serde(borrow, default, alias = "mime_type", rename = "mimeType")]
    mime_type: Option<Text<'a>>,
    #[serde(borrow)]
    data: Text<'a>,
    #[serde(borrow, default, alias = "display_name", rename = "displayName")]
    title: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow, default, alias = "mime_type", rename = "mimeType")]
    mime_type: Option<Text<'a>>,
    #[serde(borrow, alias = "file_uri", rename = "fileUri")]
    uri: Text<'a>,
}

#[derive(Deserialize)]
struct FunctionCall<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, default)]
    args: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct FunctionResponse<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    parts: Option<&'a RawValue>,
}

/// For so many blocks is there room in a call.
pub(super) const fn room() -> usize {
    MAX_PARTS
}

/// The texts of a system instruction.
pub(super) fn system<'a>(raw: &'a RawValue, room: &mut usize) -> Result<Vec<Block<'a>>, Why> {
    let content: Content<'_> = read(raw, "`systemInstruction`")?;
    let mut blocks = Vec::new();
    for part in parts(content.parts, "`systemInstruction`", room)? {
        match part.text {
            Some(text) => blocks.extend(said(text)),
            None => return Err(Why::NoCounterpart("a part of `systemInstruction`".to_owned())),
        }
    }
    Ok(blocks)
}

/// The turns of a conversation.
pub(super) fn turns<'a>(raw: &'a RawValue, room: &mut usize) -> Result<Turns<'a>, Why> {
    let contents: Vec<Content<'_>> = one_or_more(raw, "`contents`", MAX_MESSAGES, "contents")?;
    let (mut turns, mut calls) = (Turns::default(), Calls::default());
    // What the model said and did, which may come in pieces, as clients get it in streams.
    let mut answered = Vec::new();
    for (i, content) in contents.into_iter().enumerate() {
        let place = format!("`contents[{i}]`");
        let role = match content.role.as_deref() {
            None | Some("user" | "function" | "") => Role::User,
            Some("model") => Role::Assistant,
            Some(_) => return Err(Why::Form(format!("the role of {place}"))),
        };
        let mut said = Vec::new();
        let blocks = if role == Role::Assistant { &mut answered } else { &mut said };
        for part in parts(content.parts, &place, room)? {
            block(part, role, &place, &mut calls, room, blocks)?;
        }
        if role == Role::User {
            turns.push(Role::Assistant, std::mem::take(&mut answered));
            turns.push(Role::User, said);
        }
    }
    turns.push(Role::Assistant, answered);
    Ok(turns)
}

fn parts<'a>(raw: Option<&'a RawValue>, place: &str, room: &mut usize) -> Result<Vec<Part<'a>>, Why> {
    let Some(raw) = present(raw) else { return Ok(Vec::new()) };
    let parts: Vec<Part<'a>> = one_or_more(raw, place, *room, "parts of contents")?;
    *room -= parts.len();
    Ok(parts)
}

fn block<'a>(
    mut part: Part<'a>,
    role: Role,
    place: &str,
    calls: &mut Calls<'a>,
    room: &mut usize,
    blocks: &mut Vec<Block<'a>>,
) -> Result<(), Why> {
    let form = || Why::Form(format!("a part of {place}"));
    let no_counterpart = || Err(Why::NoCounterpart(format!("a part of {place}")));
    let signature = part.signature.take().filter(|_| role == Role::Assistant).and_then(signature);
    match part {
        Part { thought: Some(true), call: None, response: None, text, .. } => {
            if role == Role::Assistant {
                thought(text.unwrap_or_default(), signature, blocks);
            }
        }
        Part { text: Some(text), .. } => {
            blocks.extend(said(text));
            blocks.extend(signature.and_then(|signature| beside(signature, Signer::Google)));
        }
        Part { call: Some(call), .. } if role == Role::Assistant => {
            let input = match present(call.args) {
                Some(raw) if raw.get().starts_with('{') => Cow::Borrowed(raw),
                Some(_) => return Err(form()),
                None => Cow::Owned(RawValue::from_string("{}".to_owned()).map_err(|_| form())?),
            };
            let id = calls.begin(&call.name, call.id);
            blocks.extend(signature.and_then(|signature| beside(signature, Signer::GoogleCall)));
            blocks.push(Block::ToolUse { id, name: call.name, input });
        }
        Part { response: Some(response), .. } if role == Role::User => {
            let id = calls.answer(&response.name, response.id);
            let id =
                id.ok_or_else(|| Why::Form(format!("the answer of a function that {place} has and nobody called")))?;
            let (mut content, is_error) = result(present(response.response)).ok_or_else(form)?;
            for part in parts(response.parts, place, room)? {
                match part {
                    Part { inline: Some(blob), .. } => content.push(inline(blob, place)?),
                    Part { file: Some(from), .. } => content.push(file(from, place)?),
                    _ => return no_counterpart(),
                }
            }
            blocks.push(Block::ToolResult { id, content, is_error });
        }
        Part { inline: Some(blob), .. } if role == Role::User => blocks.push(inline(blob, place)?),
        Part { file: Some(from), .. } if role == Role::User => blocks.push(file(from, place)?),
        // A signature of thinking that stands alone.
        Part { text: None, inline: None, file: None, call: None, response: None, .. } if signature.is_some() => {
            blocks.extend(signature.and_then(|signature| beside(signature, Signer::Google)));
        }
        _ => return no_counterpart(),
    }
    Ok(())
}

/// The `thoughtSignature` of a part.
fn signature(raw: &RawValue) -> Option<Text<'_>> {
    serde_json::from_str::<Text<'_>>(raw.get()).ok().filter(|told| !told.is_empty() && **told != *NO_SIGNATURE)
}

/// What was thought, as it goes on; with its signature that is over.
fn thought<'a>(text: Text<'a>, signature: Option<Text<'a>>, blocks: &mut Vec<Block<'a>>) {
    let signed = match signature.map(|told| (Carried::of(&told), told)) {
        Some((Carried::Redacted(data), _)) => return blocks.push(Block::Redacted(Text(Cow::Owned(data)))),
        Some((Carried::Signed(signer, told), _)) => Some((signer, Text(Cow::Owned(told)))),
        Some((Carried::Own, told)) => Some((Signer::Google, told)),
        None => None,
    };
    match blocks.last_mut() {
        Some(Block::Thinking { text: last, signature: last_signed @ None }) => {
            if !text.is_empty() {
                last.0.to_mut().push_str(&text);
            }
            *last_signed = signed;
        }
        _ if text.is_empty() && signed.is_none() => {}
        _ => blocks.push(Block::Thinking { text, signature: signed }),
    }
}

/// A signature that stands with what is said or called: Google's. What others signed stands with the thinking that it is of,
/// and is of no use without, but for what is encrypted.
fn beside(told: Text<'_>, signer: Signer) -> Option<Block<'_>> {
    let signature = match Carried::of(&told) {
        Carried::Own => (signer, told),
        Carried::Signed(Signer::OpenAi, told) => (Signer::OpenAi, Text(Cow::Owned(told))),
        Carried::Signed(..) | Carried::Redacted(_) => return None,
    };
    Some(Block::Thinking { text: Text::default(), signature: Some(signature) })
}

fn said(text: Text<'_>) -> Option<Block<'_>> {
    (!text.is_empty()).then_some(Block::Text { text, cache_control: None })
}

/// What is sent along: an image, a document, or a text.
fn inline<'a>(blob: Blob<'a>, place: &str) -> Result<Block<'a>, Why> {
    let Blob { mime_type, data, title } = blob;
    let (mime_type, data) = (known_media_type(mime_type.unwrap_or_default().0), standard(data.0));
    if mime_type.starts_with("text/") {
        let form = || Why::Form(format!("a text of {place}"));
        let bytes = base64::engine::general_purpose::STANDARD.decode(data.as_bytes()).map_err(|_| form())?;
        let text = String::from_utf8(bytes).map_err(|_| form())?;
        return Ok(Block::Text { text: Text(Cow::Owned(text)), cache_control: None });
    }
    let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b',' | b';'));
    if mime_type.starts_with("audio/") && is_plain(&mime_type) {
        return Ok(Block::Audio { media_type: mime_type, data });
    }
    kept(mime_type, title, place, |media_type| Source::base64(media_type, data))
}

/// Base64 as the other dialects take it. Google takes both alphabets, padded or not (ProtoJSON), and its SDK for Python
/// writes the one that is meant for addresses.
fn standard(data: Cow<'_, str>) -> Cow<'_, str> {
    let short = |length: usize| matches!(length % 4, 2 | 3);
    if !short(data.len()) && !data.bytes().any(|b| matches!(b, b'-' | b'_')) {
        return data;
    }
    let mut data = data.replace('-', "+").replace('_', "/");
    while short(data.len()) {
        data.push('=');
    }
    Cow::Owned(data)
}

/// What is in the web. A file at Google's is nowhere else.
fn file<'a>(file: File<'a>, place: &str) -> Result<Block<'a>, Why> {
    let web = ["https://", "http://"].iter().any(|scheme| file.uri.starts_with(scheme));
    if !web || file.uri.contains("generativelanguage.googleapis.com/") {
        return Err(Why::NoCounterpart(format!("a file of {place} that is not sent along")));
    }
    let mime_type = known_media_type(file.mime_type.unwrap_or_default().0);
    kept(mime_type, None, place, |_| Source::Url(file.uri))
}

fn kept<'a>(
    media_type: Cow<'a, str>,
    title: Option<Text<'a>>,
    place: &str,
    source: impl FnOnce(Cow<'a, str>) -> Source<'a>,
) -> Result<Block<'a>, Why> {
    // It must fit into a `data:` URL without ending its own part of it.
    let fits = media_type.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b',' | b';'));
    if fits && media_type.starts_with("image/") {
        Ok(Block::Image { source: source(media_type), cache_control: None })
    } else if media_type == "application/pdf" {
        Ok(Block::Document { source: source(media_type), title, cache_control: None })
    } else {
        Err(Why::NoCounterpart(format!("a file of {place} that is neither an image nor a PDF")))
    }
}

/// What a function answered, and whether that it failed: a text that stands alone under one of the names that Google's
/// documentation gives it, else the whole object.
fn result(response: Option<&RawValue>) -> Option<(Vec<Block<'_>>, bool)> {
    let Some(raw) = response else { return Some((Vec::new(), false)) };
    if !raw.get().starts_with('{') {
        return None;
    }
    // More than one are not read one by one.
    if let Ok(members) = members(raw.get().as_bytes(), 1)
        && let [(name, value)] = members.as_slice()
        && let name @ ("result" | "output" | "error") = &**name
        && let Ok(text) = serde_json::from_str::<Text<'_>>(value.get())
    {
        return Some((said(text).into_iter().collect(), name == "error"));
    }
    Some((said(Text(Cow::Borrowed(raw.get()))).into_iter().collect(), false))
}

/// The calls of functions that have no answer yet, by function.
#[derive(Default)]
struct Calls<'a> {
    open: HashMap<Cow<'a, str>, VecDeque<Text<'a>>>,
    made: usize,
}

impl<'a> Calls<'a> {
    fn begin(&mut self, name: &Text<'a>, id: Option<Text<'a>>) -> Text<'a> {
        let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| {
            self.made += 1;
            Text(Cow::Owned(format!("call_{}", self.made)))
        });
        self.open.entry(name.0.clone()).or_default().push_back(id.clone());
        id
    }

    fn answer(&mut self, name: &Text<'a>, id: Option<Text<'a>>) -> Option<Text<'a>> {
        let open = self.open.get_mut(&*name.0);
        match id.filter(|id| !id.is_empty()) {
            Some(id) => {
                if let Some(open) = open
                    && let Some(at) = open.iter().take(MAX_LOOKED_AT).position(|other| **other == *id)
                {
                    open.remove(at);
                }
                Some(id)
            }
            None => open?.pop_front(),
        }
    }
}
