//! A call as a Messages request.

use super::super::{
    Why,
    call::{Block, Call, Choice, Effort, Format, Role, Source, Tool, Turns},
    read::read,
    write::{Object, array},
};
use serde_json::value::RawValue;

/// What `max_tokens` is where the caller sets no limit: every model of Anthropic can write that much.
const DEFAULT_MAX_TOKENS: u64 = 4096;
/// The least that can be set aside for thinking.
const MIN_BUDGET: u64 = 1024;
/// The least `top_p` that can stand beside thinking.
const MIN_TOP_P: f64 = 0.95;

/// Fields that are written here, and so cannot be passed by a caller of another dialect.
const WRITTEN: &[&str] =
    &["max_tokens", "messages", "stop_sequences", "stream", "system", "temperature", "tool_choice", "top_p"];

/// The body for the provider's `/messages`.
pub(in crate::translate) fn call(call: &Call<'_>, model: &str, out: &mut Vec<u8>) -> Result<(), Why> {
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
    let (budget, max_tokens) = tokens(call);
    let temperature = call.temperature.filter(|_| budget.is_none());
    let mut body = Object::new(out);
    body.text("model", model);
    body.number("max_tokens", max_tokens);
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
    let top_p = match call.top_p {
        Some(raw) if budget.is_some() => (read::<f64>(raw, "`top_p`")? >= MIN_TOP_P).then_some(raw),
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
    if let Some(budget) = budget {
        let mut thinking = body.object("thinking");
        thinking.json("type", "\"enabled\"");
        thinking.number("budget_tokens", budget);
        thinking.end();
    }
    if let Some(schema) = schema {
        let mut config = body.object("output_config");
        let mut format = config.object("format");
        format.json("type", "\"json_schema\"");
        format.json("schema", schema.get());
        format.end();
        config.end();
    }
    if let Some(user) = &call.user {
        let mut metadata = body.object("metadata");
        metadata.text("user_id", user);
        metadata.end();
    }
    if let Some(raw) = call.sampling.top_k.filter(|_| budget.is_none() && !call.has_other("top_k")) {
        body.json("top_k", raw.get());
    }
    for (name, raw) in &call.others {
        if budget.is_none() || &**name != "top_k" {
            body.other(name, raw.get());
        }
    }
    body.end();
    Ok(())
}

/// What is set aside for thinking, and the limit of all that is written.
pub(in crate::translate) fn tokens(call: &Call<'_>) -> (Option<u64>, u64) {
    // A tool that must be called leaves no room for thinking.
    let forced = matches!(call.choice, Some(Choice::Any | Choice::One(_)));
    let budget = call.effort.and_then(budget).filter(|_| may_think(&call.turns) && !forced);
    let budget = budget.filter(|_| !call.has_other("thinking"));
    let max_tokens = call.limit.unwrap_or_else(|| DEFAULT_MAX_TOKENS + budget.unwrap_or(0));
    // Of a limit that the caller set, at least half is for the answer.
    let most = call.limit.map_or(u64::MAX, |limit| limit / 2);
    (budget.map(|budget| budget.min(most)).filter(|budget| *budget >= MIN_BUDGET), max_tokens)
}

/// How many tokens may go into thinking; `None` for none.
const fn budget(effort: Effort) -> Option<u64> {
    match effort {
        Effort::None => None,
        Effort::Minimal => Some(1024),
        Effort::Low => Some(2048),
        Effort::Medium => Some(8192),
        Effort::High => Some(16_384),
        Effort::XHigh => Some(32_768),
    }
}

/// Whether thinking can begin here. Not where a turn of the assistant's is gone on with that would have to begin
/// with its thinking, which other dialects do not send back: after a tool it called, and where it spoke last.
fn may_think(turns: &Turns<'_>) -> bool {
    let last = turns.0.iter().rev().find(|turn| turn.role == Role::Assistant);
    let called = last.is_some_and(|turn| turn.content.iter().any(|block| matches!(block, Block::ToolUse { .. })));
    turns.0.last().is_none_or(|turn| turn.role != Role::Assistant) && !called
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
