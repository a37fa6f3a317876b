//! A call as a Chat Completions request.

use super::super::{
    To, Why,
    call::{Asked, Block, Call, Choice, Format, Images, Role, Source, Tool, Turn},
    write::{Object, array},
};
use super::{read_turns::sound_format, write_answer::extra_content, write_signed::Signed};
use crate::{openai::request::write_json_string, provider::LimitField};
use serde_json::value::RawValue;

/// Fields that are written here, and so cannot be passed by a caller of another dialect.
const WRITTEN: &[&str] = &[
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "parallel_tool_calls",
    "response_format",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "top_p",
    "user",
];
/// Fields of Chat Completions whose answer could not be said in another dialect.
const REFUSED: &[&str] = &["audio", "function_call", "functions", "logprobs", "modalities", "n", "top_logprobs"];
/// The longest name of a user that is taken.
const MAX_USER: usize = 64;

/// The body for the provider's `/chat/completions`.
pub(in crate::translate) fn call(call: &Call<'_>, to: &To<'_>, out: &mut Vec<u8>) -> Result<(), Why> {
    if let Some(written) = WRITTEN.iter().find(|name| call.has_other(name)) {
        return Err(Why::Form(format!("`{written}`")));
    }
    if let Some(refused) = REFUSED.iter().find(|name| call.has_other(name)) {
        return Err(Why::NoCounterpart(format!("the answer to `{refused}`")));
    }
    if call.turns.0.last().is_some_and(|turn| turn.role == Role::Assistant) {
        return Err(Why::NoCounterpart("a last message of the assistant's, to be gone on with,".to_owned()));
    }
    let mut body = Object::new(out);
    body.text("model", to.model);
    messages(call, to, body.member("messages"))?;
    if let Some(limit) = call.limit {
        let field = match to.limit {
            LimitField::MaxTokens => "max_tokens",
            LimitField::MaxCompletionTokens => "max_completion_tokens",
        };
        body.number(field, limit);
    }
    if call.stream {
        body.json("stream", "true");
        if to.ask_usage {
            body.json("stream_options", "{\"include_usage\":true}");
        }
    }
    if let Some(raw) = call.temperature {
        body.json("temperature", raw.get());
    }
    if let Some(raw) = call.top_p {
        body.json("top_p", raw.get());
    }
    if !call.stop.is_empty() {
        body.array("stop", &call.stop, |out, text| write_json_string(out, text));
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
            let mut function = choice.object("function");
            function.text("name", name);
            function.end();
            choice.end();
        }
    }
    if call.one_tool && !call.tools.is_empty() {
        body.json("parallel_tool_calls", "false");
    }
    if let Some(Asked { many, .. }) = call.answers {
        body.number("n", many);
    }
    if let Some(Asked { many, .. }) = call.logprobs {
        body.json("logprobs", "true");
        if many > 0 {
            body.number("top_logprobs", many);
        }
    }
    match call.images {
        Some(Images::Too) => body.json("modalities", "[\"image\",\"text\"]"),
        Some(Images::Only) => body.json("modalities", "[\"image\"]"),
        None => {}
    }
    if let Some(format) = &call.format {
        response_format(&mut body, format);
    }
    let sampling = &call.sampling;
    for (name, raw) in [
        ("seed", sampling.seed),
        ("presence_penalty", sampling.presence_penalty),
        ("frequency_penalty", sampling.frequency_penalty),
    ] {
        if let Some(raw) = raw.filter(|_| !call.has_other(name)) {
            body.json(name, raw.get());
        }
    }
    if let Some(effort) = call.effort.filter(|_| !call.has_other("reasoning_effort")) {
        body.text("reasoning_effort", effort.word());
    }
    if let Some(user) = call.user.as_ref().filter(|user| user.chars().count() <= MAX_USER) {
        body.text("user", user);
    }
    for (name, raw) in &call.others {
        body.other(name, raw.get());
    }
    body.end();
    Ok(())
}

fn response_format(body: &mut Object<'_>, format: &Format<'_>) {
    let mut to = body.object("response_format");
    match format {
        Format::Json => to.json("type", "\"json_object\""),
        Format::Schema { schema, name, description, strict } => {
            to.json("type", "\"json_schema\"");
            let mut named = to.object("json_schema");
            named.text("name", name.as_deref().unwrap_or("answer"));
            if let Some(description) = description {
                named.text("description", description);
            }
            named.json("strict", if strict.at_openai(Some(schema)) { "true" } else { "false" });
            named.json("schema", schema.get());
            named.end();
        }
    }
    to.end();
}

fn messages(call: &Call<'_>, to: &To<'_>, out: &mut Vec<u8>) -> Result<(), Why> {
    let mut list = List::new(out);
    if !call.system.is_empty() {
        let mut message = list.message("system");
        content(message.member("content"), call.system.iter())?;
        message.end();
    }
    for turn in &call.turns.0 {
        match turn.role {
            Role::User => user(turn, &mut list)?,
            Role::Assistant => assistant(turn, to, &mut list)?,
        }
    }
    list.end();
    Ok(())
}

/// Messages that are being written.
struct List<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> List<'o> {
    fn new(out: &'o mut Vec<u8>) -> Self {
        out.push(b'[');
        Self { out, first: true }
    }

    fn message(&mut self, role: &str) -> Object<'_> {
        if !std::mem::replace(&mut self.first, false) {
            self.out.push(b',');
        }
        let mut message = Object::new(self.out);
        message.text("role", role);
        message
    }

    fn end(self) {
        self.out.push(b']');
    }
}

/// The results of tools, each as a message, and then what the user says. A tool's message holds text alone, so what
/// else is in a result is said by the user.
fn user(turn: &Turn<'_>, list: &mut List<'_>) -> Result<(), Why> {
    let is_text = |block: &&Block<'_>| matches!(block, Block::Text { .. });
    let mut said: Vec<Part<'_, '_>> = Vec::new();
    for block in &turn.content {
        let Block::ToolResult { id, content: result, is_error } = block else { continue };
        let mut texts: Vec<Part<'_, '_>> = result.iter().filter(is_text).map(Part::Said).collect();
        if *is_error {
            match texts.first_mut() {
                Some(first) => *first = Part::Own(format!("Error: {}", first.text())),
                None => texts.push(Part::Own("Error".to_owned())),
            }
        }
        if result.iter().any(|block| !is_text(&block)) {
            texts.push(Part::Own("What else the tool returned is in the next message of the user.".to_owned()));
            said.push(Part::Own(format!("Returned by the tool call {}:", &**id)));
            said.extend(result.iter().filter(|block| !is_text(block)).map(Part::Said));
        }
        let mut message = list.message("tool");
        message.text("tool_call_id", id);
        parts(message.member("content"), &texts)?;
        message.end();
    }
    said.extend(turn.content.iter().filter(|block| !matches!(block, Block::ToolResult { .. })).map(Part::Said));
    if !said.is_empty() {
        let mut message = list.message("user");
        parts(message.member("content"), &said)?;
        message.end();
    }
    Ok(())
}

fn assistant(turn: &Turn<'_>, to: &To<'_>, list: &mut List<'_>) -> Result<(), Why> {
    let is_call = |block: &&Block<'_>| matches!(block, Block::ToolUse { .. });
    let is_thought = |block: &Block<'_>| matches!(block, Block::Thinking { .. } | Block::Redacted(_));
    let is_said = |block: &&Block<'_>| !is_call(block) && !is_thought(block);
    let (said, calls) = (turn.content.iter().any(|block| is_said(&block)), turn.content.iter().any(|b| is_call(&b)));
    if !said && !calls {
        return Ok(());
    }
    let mut message = list.message("assistant");
    match said {
        true => content(message.member("content"), turn.content.iter().filter(is_said))?,
        false => message.json("content", "null"),
    }
    let signed = Signed::of(turn, to);
    signed.beside(turn, to, &mut message);
    if calls {
        message.array("tool_calls", turn.content.iter().filter(is_call).enumerate(), |out, (i, block)| {
            let Block::ToolUse { id, name, input } = block else { return };
            let mut call = Object::new(out);
            call.text("id", id);
            call.json("type", "\"function\"");
            let mut function = call.object("function");
            function.text("name", name);
            function.text("arguments", input.get());
            function.end();
            if let Some(signature) = signed.of_call(i, to) {
                extra_content(call.member("extra_content"), signature);
            }
            call.end();
        });
    }
    message.end();
    Ok(())
}

/// A part of a message.
enum Part<'b, 'a> {
    Said(&'b Block<'a>),
    /// A text of ours.
    Own(String),
}

impl Part<'_, '_> {
    fn text(&self) -> &str {
        match self {
            Self::Own(text) => text,
            Self::Said(Block::Text { text, .. }) => text,
            Self::Said(_) => "",
        }
    }
}

fn content<'b, 'a: 'b>(out: &mut Vec<u8>, blocks: impl Iterator<Item = &'b Block<'a>>) -> Result<(), Why> {
    parts(out, &blocks.map(Part::Said).collect::<Vec<_>>())
}

/// One text is written as a text, which every provider reads; anything else as parts.
fn parts(out: &mut Vec<u8>, parts: &[Part<'_, '_>]) -> Result<(), Why> {
    match parts {
        [] => write_json_string(out, ""),
        [only @ (Part::Own(_) | Part::Said(Block::Text { .. }))] => write_json_string(out, only.text()),
        parts => {
            let mut problem = None;
            array(out, parts, |out, one| {
                if let Err(why) = part(out, one) {
                    problem = Some(why);
                }
            });
            problem.map_or(Ok(()), Err)?;
        }
    }
    Ok(())
}

fn part(out: &mut Vec<u8>, part: &Part<'_, '_>) -> Result<(), Why> {
    let mut to = Object::new(out);
    match part {
        Part::Own(_) | Part::Said(Block::Text { .. }) => {
            to.json("type", "\"text\"");
            to.text("text", part.text());
        }
        Part::Said(Block::Image { source, .. }) => {
            to.json("type", "\"image_url\"");
            let mut image = to.object("image_url");
            match source {
                Source::Base64 { media_type, data } => data_url(image.member("url"), media_type, data),
                Source::Url(url) => image.text("url", url),
            }
            image.end();
        }
        Part::Said(Block::Document { source: Source::Base64 { media_type, data }, title, .. }) => {
            to.json("type", "\"file\"");
            let mut file = to.object("file");
            file.text("filename", title.as_deref().unwrap_or("document.pdf"));
            data_url(file.member("file_data"), media_type, data);
            file.end();
        }
        Part::Said(Block::Document { source: Source::Url(_), .. }) => {
            return Err(Why::NoCounterpart("a document that is not sent along".to_owned()));
        }
        Part::Said(Block::Audio { media_type, data }) => {
            let format = sound_format(media_type)
                .ok_or_else(|| Why::NoCounterpart("sound that is no WAV, MP3, AAC, AIFF, FLAC or Ogg".to_owned()))?;
            to.json("type", "\"input_audio\"");
            let mut audio = to.object("input_audio");
            audio.text("data", data);
            audio.text("format", format);
            audio.end();
        }
        // Not among the parts of a message.
        Part::Said(
            Block::ToolUse { .. }
            | Block::ToolResult { .. }
            | Block::Thinking { .. }
            | Block::Redacted(_)
            | Block::Cited(_),
        ) => {}
    }
    to.end();
    Ok(())
}

/// A `data:` URL with base64 (RFC 2397), as a JSON string.
pub(in crate::translate) fn data_url(out: &mut Vec<u8>, media_type: &str, data: &str) {
    // Writing to a Vec has no way to fail.
    let _ = serde_json::to_writer(out, &format_args!("data:{media_type};base64,{data}"));
}

fn tool(out: &mut Vec<u8>, tool: &Tool<'_>) {
    let mut to = Object::new(out);
    to.json("type", "\"function\"");
    let mut function = to.object("function");
    function.text("name", &tool.name);
    if let Some(description) = &tool.description {
        function.text("description", description);
    }
    if let Some(schema) = tool.schema.map(RawValue::get) {
        function.json("parameters", schema);
    }
    if tool.strict.at_openai(tool.schema) {
        function.json("strict", "true");
    }
    function.end();
    to.end();
}
