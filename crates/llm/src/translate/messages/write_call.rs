//! A call as a Messages request.

use super::super::{
    To, Why,
    call::{Block, Call, Choice, Format, Role, Source, Tool},
    read::read,
    write::{Object, array},
};
use super::thinking::plan;
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
        body.array("system", &call.system, block);
    }
    body.array("messages", &call.turns.0, |out, turn| {
        let mut message = Object::new(out);
        message.json("role", if turn.role == Role::User { "\"user\"" } else { "\"assistant\"" });
        message.array("content", &turn.content, block);
        message.end();
    });
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
            format.json("schema", schema.get());
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

fn block(out: &mut Vec<u8>, block: &Block<'_>) {
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
            source(&mut to, from);
            cache(&mut to, cache_control);
        }
        Block::Document { source: from, title, cache_control } => {
            to.json("type", "\"document\"");
            source(&mut to, from);
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
                array(to.member("content"), content, self::block);
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
}

fn source(to: &mut Object<'_>, source: &Source<'_>) {
    let mut to = to.object("source");
    match source {
        Source::Base64 { media_type, data } => {
            to.json("type", "\"base64\"");
            to.text("media_type", media_type);
            to.text("data", data);
        }
        Source::Url(url) => {
            to.json("type", "\"url\"");
            to.text("url", url);
        }
    }
    to.end();
}

fn tool(out: &mut Vec<u8>, tool: &Tool<'_>) {
    let mut to = Object::new(out);
    to.text("name", &tool.name);
    if let Some(description) = &tool.description {
        to.text("description", description);
    }
    to.json("input_schema", tool.schema.map_or(r#"{"type":"object","properties":{}}"#, RawValue::get));
    if tool.strict {
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
