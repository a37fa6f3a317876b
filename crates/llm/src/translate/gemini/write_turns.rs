//! Turns as the contents of a Gemini request.

use super::super::{
    Why,
    call::{Block, Call, Role, Source, Turn},
    signature::Signer,
    write::{Object, array},
};
use crate::{files::is_of_the_web, openai::request::Skip};
use serde_json::value::RawValue;
use std::collections::HashMap;

/// What Google's documentation says to write where the signature of the thinking before a call is not at hand.
pub(in crate::translate) const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// Writes the turns of a call for this model.
pub(super) fn contents(call: &Call<'_>, model: &str, out: &mut Vec<u8>) -> Result<(), Why> {
    let (mut problem, mut names) = (None, HashMap::new());
    array(out, &call.turns.0, |out, turn| {
        let mut content = Object::new(out);
        content.json("role", if turn.role == Role::User { "\"user\"" } else { "\"model\"" });
        let written = match turn.role {
            Role::User => user(turn, &names, content.member("parts")),
            Role::Assistant => assistant(turn, wants_signatures(model), &mut names, content.member("parts")),
        };
        if let Err(why) = written {
            problem.get_or_insert(why);
        }
        content.end();
    });
    problem.map_or(Ok(()), Err)
}

/// Whether a model refuses calls without the signature of the thinking before them: all from the third generation on,
/// which `latest` names too.
pub(in crate::translate) fn wants_signatures(model: &str) -> bool {
    model
        .strip_prefix("models/")
        .unwrap_or(model)
        .strip_prefix("gemini-")
        .is_some_and(|version| !version.starts_with(['1', '2']))
}

fn assistant<'c>(
    turn: &'c Turn<'_>,
    signed: bool,
    names: &mut HashMap<&'c str, &'c str>,
    out: &mut Vec<u8>,
) -> Result<(), Why> {
    let (mut first, mut problem) = (true, None);
    array(out, &with_signatures(&turn.content), |out, (block, signature)| {
        let mut part = Object::new(out);
        let mut signature = *signature;
        match block {
            Block::Text { text, .. } => part.text("text", text),
            Block::Thinking { text, .. } => {
                part.text("text", text);
                if !text.is_empty() {
                    part.json("thought", "true");
                }
            }
            Block::ToolUse { id, name, input } => {
                names.insert(id, name);
                let mut call = part.object("functionCall");
                call.text("id", id);
                call.text("name", name);
                call.json("args", input.get());
                call.end();
                // Of calls that are made at the same time the first alone is signed.
                if std::mem::take(&mut first) && signed {
                    signature = signature.or(Some(NO_SIGNATURE));
                }
            }
            other => problem = media(other, &mut part).err().or(problem.take()),
        }
        if let Some(signature) = signature {
            part.text("thoughtSignature", signature);
        }
        part.end();
    });
    problem.map_or(Ok(()), Err)
}

/// The blocks that are parts, each with its signature: that of a call stands before it, that of a text behind it. What is
/// thought is a part where it is signed itself, and so is a signature of nothing that is there.
fn with_signatures<'b, 'a>(blocks: &'b [Block<'a>]) -> Vec<(&'b Block<'a>, Option<&'b str>)> {
    let mut parts: Vec<(&Block<'_>, Option<&str>)> = Vec::with_capacity(blocks.len());
    let mut of_call = None;
    for block in blocks {
        match (block, parts.last_mut()) {
            (Block::Thinking { signature: Some((Signer::GoogleCall, signature)), .. }, _) => {
                of_call = Some(&**signature)
            }
            (Block::Thinking { text, signature: Some((_, signature)) }, Some((Block::Text { .. }, of_text @ None)))
                if text.is_empty() =>
            {
                *of_text = Some(&**signature);
            }
            (Block::Thinking { signature, .. }, _) => parts.push((block, signature.as_ref().map(|(_, word)| &**word))),
            (Block::ToolUse { .. }, _) => parts.push((block, of_call.take())),
            _ => parts.push((block, None)),
        }
    }
    parts
}

/// The answers of functions, and then what the user says. An answer is an object of texts, so what else is in it is
/// said by the user.
fn user(turn: &Turn<'_>, names: &HashMap<&str, &str>, out: &mut Vec<u8>) -> Result<(), Why> {
    let mut parts: Vec<Part<'_, '_>> = Vec::with_capacity(turn.content.len());
    let mut beside = Vec::new();
    for block in &turn.content {
        let Block::ToolResult { id, content, is_error } = block else { continue };
        let name = names.get(&**id).ok_or_else(|| Why::Form("the result of a tool that was not called".to_owned()))?;
        parts.push(Part::Answer { id, name, content, is_error: *is_error });
        let mut others = content.iter().filter(|block| !matches!(block, Block::Text { .. })).peekable();
        if others.peek().is_some() {
            beside.push(Part::Own(format!("Returned by the tool call {}:", &**id)));
            beside.extend(others.map(Part::Said));
        }
    }
    parts.append(&mut beside);
    let said = turn.content.iter().filter(|block| !matches!(block, Block::ToolResult { .. }));
    parts.extend(said.map(Part::Said));
    let mut problem = None;
    array(out, &parts, |out, part| {
        let mut to = Object::new(out);
        match part {
            Part::Own(text) => to.text("text", text),
            Part::Answer { id, name, content, is_error } => answer(&mut to, (id, name), content, *is_error),
            Part::Said(Block::Text { text, .. }) => to.text("text", text),
            Part::Said(block) => problem = media(block, &mut to).err().or(problem.take()),
        }
        to.end();
    });
    problem.map_or(Ok(()), Err)
}

enum Part<'b, 'a> {
    Said(&'b Block<'a>),
    /// A text of ours.
    Own(String),
    /// What a function answered.
    Answer {
        id: &'b str,
        name: &'b str,
        content: &'b [Block<'a>],
        is_error: bool,
    },
}

/// An object that a function answered is written as it is, a text under the name that Google's documentation gives it.
fn answer(to: &mut Object<'_>, (id, name): (&str, &str), content: &[Block<'_>], is_error: bool) {
    let texts: Vec<&str> = content
        .iter()
        .filter_map(|block| match block {
            Block::Text { text, .. } => Some(&**text),
            _ => None,
        })
        .collect();
    let mut response = to.object("functionResponse");
    response.text("id", id);
    response.text("name", name);
    match texts.as_slice() {
        [only] if !is_error && is_object(only) => response.json("response", only.trim()),
        texts => {
            let mut object = response.object("response");
            object.text(if is_error { "error" } else { "result" }, &texts.join("\n"));
            object.end();
        }
    }
    response.end();
}

/// Whether a text is a JSON object, held to what a body is held to.
fn is_object(text: &str) -> bool {
    text.trim_start().starts_with('{') && serde_json::from_str::<Skip>(text).is_ok()
}

/// An image or a document.
fn media(block: &Block<'_>, to: &mut Object<'_>) -> Result<(), Why> {
    match block {
        Block::Image { source: Source::Base64 { media_type, data }, .. } => inline(to, media_type, data, None),
        Block::Document { source: Source::Base64 { media_type, data }, title, .. } => {
            inline(to, media_type, data, title.as_deref());
        }
        Block::Audio { media_type, data } => inline(to, media_type, data, None),
        // Google would read what it keeps with our credential, for whoever guesses its name.
        Block::Image { source: Source::Url(url), .. } | Block::Document { source: Source::Url(url), .. }
            if !is_of_the_web(url) =>
        {
            return Err(Why::NoCounterpart("an address that is none of the web, or one of a file at Google,".into()));
        }
        Block::Image { source: Source::Url(url), .. } => file(to, url, image_type(url)),
        Block::Document { source: Source::Url(url), .. } => file(to, url, Some("application/pdf")),
        Block::Text { .. }
        | Block::ToolUse { .. }
        | Block::ToolResult { .. }
        | Block::Thinking { .. }
        | Block::Redacted(_)
        | Block::Cited(_) => {
            return Err(Why::Form("a part of a message".to_owned()));
        }
    }
    Ok(())
}

/// The name of a document is not among the fields of this API.
fn inline(to: &mut Object<'_>, media_type: &str, data: &str, _title: Option<&str>) {
    let mut blob = to.object("inlineData");
    blob.text("mimeType", media_type);
    blob.text("data", data);
    blob.end();
}

fn file(to: &mut Object<'_>, url: &str, media_type: Option<&str>) {
    let mut file = to.object("fileData");
    if let Some(media_type) = media_type {
        file.text("mimeType", media_type);
    }
    file.text("fileUri", url);
    file.end();
}

/// The type of an image in the web, as its name tells it.
fn image_type(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next()?;
    let (_, ending) = path.rsplit_once('.')?;
    Some(match &*ending.to_ascii_lowercase() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "heic" => "image/heic",
        "heif" => "image/heif",
        _ => return None,
    })
}

/// The parts of a system instruction.
pub(super) fn system(call: &Call<'_>, out: &mut Vec<u8>) {
    let texts = call.system.iter().filter_map(|block| match block {
        Block::Text { text, .. } => Some(text),
        _ => None,
    });
    array(out, texts, |out, text| {
        let mut part = Object::new(out);
        part.text("text", text);
        part.end();
    });
}

/// A schema without members says nothing of the input, and Google's servers refuse some of that form.
pub(super) fn is_some_schema(schema: Option<&RawValue>) -> Option<&RawValue> {
    schema.filter(|schema| !super::super::read::is_empty_object(schema))
}
