//! A call as a Responses request.

use super::super::{
    Why,
    call::{Asked, Block, Call, Choice, Effort, Format, Role, Source, Tool, Turn},
    chat::write_call::data_url,
    read::Members,
    signature::of_place,
    write::Object,
};
use super::read_call::LOGPROBS;
use crate::openai::request::write_json_string;
use serde_json::value::RawValue;

/// Fields that are written here, and so cannot be passed by a caller of another dialect.
const WRITTEN: &[&str] = &[
    "input",
    "max_output_tokens",
    "parallel_tool_calls",
    "store",
    "stream",
    "temperature",
    "text",
    "tool_choice",
    "top_p",
    "user",
];
/// Fields of Responses whose answer could not be said in another dialect, or that need what an earlier call left behind.
const REFUSED: &[&str] = &["background", "conversation", "previous_response_id", "prompt", "top_logprobs"];
/// What `include` has where a model is to tell what it thought, in a form that it alone can read.
const ENCRYPTED: &str = "reasoning.encrypted_content";
/// The longest name of a user that is taken.
const MAX_USER: usize = 64;

/// The body for the provider's `/responses`.
pub(in crate::translate) fn call(call: &Call<'_>, model: &str, out: &mut Vec<u8>) -> Result<(), Why> {
    if let Some(written) = WRITTEN.iter().find(|name| call.has_other(name)) {
        return Err(Why::Form(format!("`{written}`")));
    }
    if let Some(refused) = REFUSED.iter().find(|name| call.has_other(name)) {
        return Err(Why::NoCounterpart(format!("the answer to `{refused}`")));
    }
    if !call.stop.is_empty() {
        return Err(Why::NoCounterpart("a text to stop at".to_owned()));
    }
    if !call.counts && call.turns.0.last().is_some_and(|turn| turn.role == Role::Assistant) {
        return Err(Why::NoCounterpart("a last message of the assistant's, to be gone on with,".to_owned()));
    }
    let mut body = Object::new(out);
    body.text("model", model);
    input(call, body.member("input"));
    if let Some(limit) = call.limit {
        body.number("max_output_tokens", limit);
    }
    if call.stream {
        body.json("stream", "true");
    }
    if let Some(raw) = call.temperature {
        body.json("temperature", raw.get());
    }
    if let Some(raw) = call.top_p {
        body.json("top_p", raw.get());
    }
    if !call.tools.is_empty() {
        body.array("tools", &call.tools, tool);
    }
    match &call.choice {
        None => {}
        Some(Choice::Auto) => body.json("tool_choice", "\"auto\""),
        Some(Choice::Never) => body.json("tool_choice", "\"none\""),
        Some(Choice::Any) => body.json("tool_choice", "\"required\""),
        Some(Choice::One(name)) => {
            let mut choice = body.object("tool_choice");
            choice.json("type", "\"function\"");
            choice.text("name", name);
            choice.end();
        }
    }
    if call.one_tool && !call.tools.is_empty() {
        body.json("parallel_tool_calls", "false");
    }
    text(call, &mut body);
    if call.logprobs.is_some() && call.has_other("include") {
        return Err(Why::Duplicate);
    }
    let told = [call.logprobs.map(|_| LOGPROBS), keeps_thinking(call).then_some(ENCRYPTED)];
    if told.iter().any(Option::is_some) {
        body.array("include", told.into_iter().flatten(), write_json_string);
    }
    if let Some(Asked { many, .. }) = call.logprobs
        && many > 0
    {
        body.number("top_logprobs", many);
    }
    if let Some(effort) = call.effort.filter(|_| !call.has_other("reasoning")) {
        let mut reasoning = body.object("reasoning");
        reasoning.text("effort", effort.word());
        reasoning.end();
    }
    if let Some(user) = call.user.as_ref().filter(|user| user.chars().count() <= MAX_USER) {
        body.text("user", user);
    }
    // Other dialects keep an answer only where they are asked to.
    if of(&call.openai, "store").is_none() {
        body.json("store", "false");
    }
    for (name, raw) in call.openai.iter().filter(|(name, _)| &**name != "verbosity") {
        body.other(name, raw.get());
    }
    for (name, raw) in &call.others {
        body.other(name, raw.get());
    }
    body.end();
    Ok(())
}

/// Whether the model is to tell what it thought for the caller to send back: where the caller says how much it is to think,
/// as models that do not think refuse to be asked, and where the provider keeps nothing itself.
fn keeps_thinking(call: &Call<'_>) -> bool {
    let thinks = call.effort.is_some_and(|effort| effort != Effort::None) || call.has_other("reasoning");
    let kept = of(&call.openai, "store").is_some_and(|raw| raw.get() != "false");
    thinks && !kept && !call.counts && !call.has_other("include")
}

fn of<'a>(members: &Members<'a>, wanted: &str) -> Option<&'a RawValue> {
    members.iter().find(|(name, _)| &**name == wanted).map(|(_, raw)| *raw)
}

/// The form of the answer's text.
fn text(call: &Call<'_>, body: &mut Object<'_>) {
    let verbosity = of(&call.openai, "verbosity");
    if call.format.is_none() && verbosity.is_none() {
        return;
    }
    let mut to = body.object("text");
    if let Some(format) = &call.format {
        let mut form = to.object("format");
        match format {
            Format::Json => form.json("type", "\"json_object\""),
            Format::Schema { schema, name, description, strict } => {
                form.json("type", "\"json_schema\"");
                form.text("name", name.as_deref().unwrap_or("answer"));
                if let Some(description) = description {
                    form.text("description", description);
                }
                form.json("strict", if strict.at_openai(Some(schema)) { "true" } else { "false" });
                form.json("schema", schema.get());
            }
        }
        form.end();
    }
    if let Some(verbosity) = verbosity {
        to.json("verbosity", verbosity.get());
    }
    to.end();
}

/// The items of the input: messages, calls of tools and what they returned, in the order in which they stand.
fn input(call: &Call<'_>, out: &mut Vec<u8>) {
    let mut list = List { out, first: true };
    list.out.push(b'[');
    message(&mut list, "system", call.system.iter());
    for turn in &call.turns.0 {
        items(turn, &mut list);
    }
    list.out.push(b']');
}

/// Items that are being written.
struct List<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl List<'_> {
    fn item(&mut self) -> Object<'_> {
        if !std::mem::replace(&mut self.first, false) {
            self.out.push(b',');
        }
        Object::new(self.out)
    }
}

fn items(turn: &Turn<'_>, list: &mut List<'_>) {
    let role = if turn.role == Role::User { "user" } else { "assistant" };
    let is_item =
        |block: &Block<'_>| matches!(block, Block::ToolUse { .. } | Block::ToolResult { .. } | Block::Thinking { .. });
    // What was thought is refused without what came of it.
    let last = turn.content.iter().rposition(|block| !matches!(block, Block::Thinking { .. }));
    let mut said = &turn.content[..last.map_or(0, |last| last + 1)];
    while let Some(first) = said.first() {
        match first {
            Block::Thinking { signature, .. } => {
                if let Some((_, encrypted)) = signature.as_ref().and_then(|(_, told)| of_place(told)) {
                    reasoning(list.item(), encrypted);
                }
                said = &said[1..];
            }
            Block::ToolUse { id, name, input } => {
                let mut item = list.item();
                item.json("type", "\"function_call\"");
                item.text("call_id", id);
                item.text("name", name);
                item.text("arguments", input.get());
                item.end();
                said = &said[1..];
            }
            Block::ToolResult { id, content, is_error } => {
                let mut item = list.item();
                item.json("type", "\"function_call_output\"");
                item.text("call_id", id);
                returned(item.member("output"), content, *is_error);
                item.end();
                said = &said[1..];
            }
            _ => {
                let end = said.iter().position(is_item).unwrap_or(said.len());
                message(list, role, said[..end].iter());
                said = &said[end..];
            }
        }
    }
}

/// What the model thought. It reads that from what it encrypted alone, and nobody has looked at what a caller says was shown
/// of it.
fn reasoning(mut item: Object<'_>, encrypted: &str) {
    item.json("type", "\"reasoning\"");
    item.json("summary", "[]");
    item.text("encrypted_content", encrypted);
    item.end();
}

/// A message, unless it says nothing.
fn message<'b, 'a: 'b>(list: &mut List<'_>, role: &'static str, blocks: impl ExactSizeIterator<Item = &'b Block<'a>>) {
    if blocks.len() == 0 {
        return;
    }
    let mut message = list.item();
    message.text("role", role);
    message.array("content", blocks, |out, block| part(out, block, role == "assistant"));
    message.end();
}

/// What a tool returned: one text is written as a text, anything else as parts.
fn returned(out: &mut Vec<u8>, content: &[Block<'_>], is_error: bool) {
    match (content, is_error) {
        ([], false) => write_json_string(out, ""),
        ([], true) => write_json_string(out, "Error"),
        ([Block::Text { text, .. }], false) => write_json_string(out, text),
        ([Block::Text { text, .. }], true) => write_json_string(out, &format!("Error: {}", &**text)),
        (content, is_error) => {
            out.push(b'[');
            if is_error {
                let mut part = Object::new(out);
                part.json("type", "\"input_text\"");
                part.text("text", "Error:");
                part.end();
            }
            for (i, block) in content.iter().enumerate() {
                if i > 0 || is_error {
                    out.push(b',');
                }
                part(out, block, false);
            }
            out.push(b']');
        }
    }
}

fn part(out: &mut Vec<u8>, block: &Block<'_>, of_assistant: bool) {
    let mut to = Object::new(out);
    match block {
        Block::Text { text, .. } => {
            to.json("type", if of_assistant { "\"output_text\"" } else { "\"input_text\"" });
            to.text("text", text);
        }
        Block::Image { source, .. } => {
            to.json("type", "\"input_image\"");
            to.json("detail", "\"auto\"");
            match source {
                Source::Base64 { media_type, data } => data_url(to.member("image_url"), media_type, data),
                Source::Url(url) => to.text("image_url", url),
            }
        }
        Block::Document { source, title, .. } => {
            to.json("type", "\"input_file\"");
            match source {
                Source::Base64 { media_type, data } => {
                    to.text("filename", title.as_deref().unwrap_or("document.pdf"));
                    data_url(to.member("file_data"), media_type, data);
                }
                Source::Url(url) => to.text("file_url", url),
            }
        }
        // Items of their own.
        Block::ToolUse { .. } | Block::ToolResult { .. } | Block::Thinking { .. } | Block::Redacted(_) => {}
        // Refused before ([`super::super::call::Turns::have_sound`]), or made another.
        Block::Audio { .. } | Block::Cited(_) => {}
    }
    to.end();
}

fn tool(out: &mut Vec<u8>, tool: &Tool<'_>) {
    let mut to = Object::new(out);
    to.json("type", "\"function\"");
    to.text("name", &tool.name);
    if let Some(description) = &tool.description {
        to.text("description", description);
    }
    to.json("parameters", tool.schema.map_or(r#"{"type":"object","properties":{}}"#, RawValue::get));
    // Without a word it would be.
    to.json("strict", if tool.strict.at_openai(tool.schema) { "true" } else { "false" });
    to.end();
}
