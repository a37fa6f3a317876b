//! A call as a Messages request.

use super::super::{
    To, Why,
    call::{Block, Call, Choice, Format, Role, Source, Strict, Tool},
    read::read,
    schema::{for_claude, tool_schema},
    write::{Object, array},
};
use super::thinking::plan;
use base64::Engine as _;
use serde_json::value::RawValue;

/// The least `top_p` that can stand beside thinking.
const MIN_TOP_P: f64 = 0.95;

/// Fields that are written here, and so cannot be passed by a caller of another dialect.
const WRITTEN: &[&str] =
    &["max_tokens", "messages", "stop_sequences", "stream", "system", "temperature", "tool_choice", "top_p"];

/// The body for the provider's `/messages`.
pub(in crate::translate) fn call(call: &Call<'_>, to: &To<'_>, out: &mut Vec<u8>) -> Result<(), Why> {
    if let Some(written) = WRITTEN.iter().find(|name| call.has_other(name)) {
        return Err(Why::Form(format!("`{written}`")));
    }
    let schema = match &call.format {
        Some(_) if call.has_other("output_config") => return Err(Why::Duplicate),
        Some(Format::Json) => {
            return Err(Why::NoCounterpart("an answer that is JSON without a schema (`json_object`)".to_owned()));
        }
        Some(Format::Schema { schema, .. }) => Some(schema),
        None => None,
    };
    let plan = plan(call, to.model, to.longest)?;
    let temperature = call.temperature.filter(|_| plan.samples && !plan.thinks);
    let mut body = Object::new(out);
    body.text("model", to.model);
    body.number("max_tokens", plan.max_tokens);
    if !call.system.is_empty() {
        blocks(body.member("system"), &call.system)?;
    }
    each(body.member("messages"), &call.turns.0, |out, turn| {
        let mut message = Object::new(out);
        message.json("role", if turn.role == Role::User { "\"user\"" } else { "\"assistant\"" });
        let written = blocks(message.member("content"), &turn.content);
        message.end();
        written
    })?;
    if call.stream {
        body.json("stream", "true");
    }
    if let Some(raw) = temperature {
        body.json("temperature", at_most_one(raw)?);
    }
    let top_p = match call.top_p.filter(|_| plan.samples) {
        Some(raw) if plan.thinks => (read::<f64>(raw, "`top_p`")? >= MIN_TOP_P).then_some(raw),
        // Newer models refuse both.
        top_p => top_p.filter(|_| temperature.is_none()),
    };
    if let Some(raw) = top_p {
        body.json("top_p", raw.get());
    }
    if !call.stop.is_empty() {
        body.array("stop_sequences", &call.stop, |out, text| crate::openai::request::write_json_string(out, text));
    }
    if !call.tools.is_empty() {
        body.array("tools", &call.tools, tool);
    }
    tool_choice(call, &mut body);
    plan.write(&mut body);
    let effort = plan.effort.filter(|_| !call.has_other("output_config"));
    if effort.is_some() || schema.is_some() {
        let mut config = body.object("output_config");
        if let Some(effort) = effort {
            config.text("effort", effort);
        }
        if let Some(schema) = schema {
            let mut format = config.object("format");
            format.json("type", "\"json_schema\"");
            format.json("schema", &for_claude(schema));
            format.end();
        }
        config.end();
    }
    if let Some(user) = &call.user {
        let mut metadata = body.object("metadata");
        metadata.text("user_id", user);
        metadata.end();
    }
    let takes_top_k = plan.samples && !plan.thinks;
    if let Some(raw) = call.sampling.top_k.filter(|_| takes_top_k && !call.has_other("top_k")) {
        body.json("top_k", raw.get());
    }
    for (name, raw) in &call.others {
        if takes_top_k || &**name != "top_k" {
            body.other(name, raw.get());
        }
    }
    body.end();
    Ok(())
}

/// Other dialects go to 2, the Messages API to 1: what is more becomes 1.
pub(in crate::translate) fn at_most_one(raw: &RawValue) -> Result<&str, Why> {
    let value: f64 = read(raw, "`temperature`")?;
    Ok(if value > 1.0 { "1" } else { raw.get() })
}

fn blocks(out: &mut Vec<u8>, content: &[Block<'_>]) -> Result<(), Why> {
    each(out, content, block)
}

/// Writes an array, and tells of the first element that cannot be written.
fn each<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T) -> Result<(), Why>) -> Result<(), Why> {
    let mut written = Ok(());
    array(out, items, |out, item| {
        if let Err(why) = write(out, item) {
            written = Err(why);
        }
    });
    written
}

fn block(out: &mut Vec<u8>, block: &Block<'_>) -> Result<(), Why> {
    let mut to = Object::new(out);
    let cache = |to: &mut Object<'_>, mark: &Option<&RawValue>| {
        if let Some(mark) = mark {
            to.json("cache_control", mark.get());
        }
    };
    match block {
        Block::Text { text, cache_control } => {
            to.json("type", "\"text\"");
            to.text("text", text);
            cache(&mut to, cache_control);
        }
        Block::Image { source: from, cache_control } => {
            to.json("type", "\"image\"");
            image(&mut to, from)?;
            cache(&mut to, cache_control);
        }
        Block::Document { source: from, title, cache_control } => {
            to.json("type", "\"document\"");
            document(&mut to, from)?;
            if let Some(title) = title {
                to.text("title", title);
            }
            cache(&mut to, cache_control);
        }
        // Refused before ([`super::super::call::Turns::have_sound`]), or made another.
        Block::Audio { .. } | Block::Cited(_) => {}
        Block::ToolUse { id, name, input } => {
            to.json("type", "\"tool_use\"");
            to.text("id", id);
            to.text("name", name);
            to.json("input", input.get());
        }
        Block::ToolResult { id, content, is_error } => {
            to.json("type", "\"tool_result\"");
            to.text("tool_use_id", id);
            if !content.is_empty() {
                blocks(to.member("content"), content)?;
            }
            if *is_error {
                to.json("is_error", "true");
            }
        }
        Block::Thinking { text, signature } => {
            to.json("type", "\"thinking\"");
            to.text("thinking", text);
            to.text("signature", signature.as_ref().map_or("", |(_, signature)| signature));
        }
        Block::Redacted(data) => {
            to.json("type", "\"redacted_thinking\"");
            to.text("data", data);
        }
    }
    to.end();
    Ok(())
}

/// The images that the Messages API takes (<https://platform.claude.com/docs/en/build-with-claude/vision>).
const IMAGES: &[&str] = &["image/gif", "image/jpeg", "image/png", "image/webp"];

fn image(to: &mut Object<'_>, image: &Source<'_>) -> Result<(), Why> {
    match image {
        Source::Url(url) => source(to, "url", &[("url", url)]),
        Source::Base64 { media_type, data } if IMAGES.contains(&&**media_type) => {
            source(to, "base64", &[("media_type", media_type), ("data", data)]);
        }
        Source::Base64 { .. } => {
            return Err(Why::NoCounterpart("an image that is no PNG, JPEG, GIF or WebP".to_owned()));
        }
    }
    Ok(())
}

/// A PDF, or a text: no other document is taken in base64.
fn document(to: &mut Object<'_>, document: &Source<'_>) -> Result<(), Why> {
    match document {
        Source::Url(url) => source(to, "url", &[("url", url)]),
        Source::Base64 { media_type, data } if media_type == "application/pdf" => {
            source(to, "base64", &[("media_type", media_type), ("data", data)]);
        }
        Source::Base64 { data, .. } => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(data.as_bytes());
            let text = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let text =
                text.ok_or_else(|| Why::NoCounterpart("a document that is neither a PDF nor a text".to_owned()))?;
            source(to, "text", &[("media_type", "text/plain"), ("data", &text)]);
        }
    }
    Ok(())
}

fn source(to: &mut Object<'_>, kind: &str, members: &[(&'static str, &str)]) {
    let mut to = to.object("source");
    to.text("type", kind);
    for (name, value) in members {
        to.text(name, value);
    }
    to.end();
}

fn tool(out: &mut Vec<u8>, tool: &Tool<'_>) {
    let mut to = Object::new(out);
    to.text("name", &tool.name);
    if let Some(description) = &tool.description {
        to.text("description", description);
    }
    let strict = tool.strict != Strict::Not;
    to.json("input_schema", &tool_schema(tool.schema, strict));
    if strict {
        to.json("strict", "true");
    }
    if let Some(mark) = tool.cache_control {
        to.json("cache_control", mark.get());
    }
    to.end();
}

fn tool_choice(call: &Call<'_>, body: &mut Object<'_>) {
    let (kind, name, one) = match &call.choice {
        None if call.one_tool && !call.tools.is_empty() => ("auto", None, true),
        None => return,
        Some(Choice::Auto) => ("auto", None, call.one_tool),
        Some(Choice::Never) => ("none", None, false),
        Some(Choice::Any) => ("any", None, call.one_tool),
        Some(Choice::One(name)) => ("tool", Some(name), call.one_tool),
    };
    let mut to = body.object("tool_choice");
    to.text("type", kind);
    if let Some(name) = name {
        to.text("name", name);
    }
    if one {
        to.json("disable_parallel_tool_use", "true");
    }
    to.end();
}
