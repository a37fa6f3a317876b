//! A call as a Gemini request.

use super::{
    super::{
        To, Why,
        call::{Asked, Block, Call, Choice, Effort, Format, Images, Role, Tool},
        write::Object,
    },
    write_turns,
};
use crate::openai::request::write_json_string;
use serde_json::value::RawValue;

/// Fields that are written here, and so cannot be passed by a caller of another dialect.
const WRITTEN: &[&str] = &[
    "contents",
    "generationConfig",
    "generation_config",
    "model",
    "systemInstruction",
    "system_instruction",
    "toolConfig",
    "tool_config",
    "tools",
];

/// Fields of other dialects that stand in `generationConfig` here, even where a reader does not know them.
const SAMPLING: &[&str] = &["top_k", "seed", "presence_penalty", "frequency_penalty"];

/// The least that every model takes as a budget for thinking.
const MIN_BUDGET: u64 = 512;

/// The body for the provider's `:generateContent` or `:streamGenerateContent`.
pub(in crate::translate) fn call(call: &Call<'_>, to: &To<'_>, out: &mut Vec<u8>) -> Result<(), Why> {
    if let Some(written) = WRITTEN.iter().find(|name| call.has_other(name)) {
        return Err(Why::Form(format!("`{written}`")));
    }
    if call.system.iter().any(|block| !matches!(block, Block::Text { .. })) {
        return Err(Why::NoCounterpart("a system prompt that is no text".to_owned()));
    }
    if !call.counts && call.turns.0.last().is_some_and(|turn| turn.role == Role::Assistant) {
        return Err(Why::NoCounterpart("a last message of the assistant's, to be gone on with,".to_owned()));
    }
    if call.one_tool && !call.tools.is_empty() && !matches!(call.choice, Some(Choice::Never)) {
        return Err(Why::NoCounterpart("that no two tools may be called at the same time".to_owned()));
    }
    let mut body = Object::new(out);
    if !call.system.is_empty() {
        let mut system = body.object("systemInstruction");
        write_turns::system(call, system.member("parts"));
        system.end();
    }
    write_turns::contents(call, to.model, body.member("contents"))?;
    if !call.tools.is_empty() {
        body.array("tools", [&call.tools], |out, tools| {
            let mut list = Object::new(out);
            list.array("functionDeclarations", tools, tool);
            list.end();
        });
    }
    if let Some(choice) = call.choice.as_ref().filter(|_| !call.tools.is_empty()) {
        let mut config = body.object("toolConfig");
        let mut calling = config.object("functionCallingConfig");
        let (mode, name) = match choice {
            Choice::Auto => ("AUTO", None),
            Choice::Never => ("NONE", None),
            Choice::Any => ("ANY", None),
            Choice::One(name) => ("ANY", Some(name)),
        };
        calling.text("mode", mode);
        if let Some(name) = name {
            calling.array("allowedFunctionNames", [name], |out, name| write_json_string(out, name));
        }
        calling.end();
        config.end();
    }
    config(call, body.object("generationConfig"));
    for (name, raw) in call.others.iter().filter(|(name, _)| !SAMPLING.contains(&&**name)) {
        body.other(name, raw.get());
    }
    body.end();
    Ok(())
}

fn config(call: &Call<'_>, mut config: Object<'_>) {
    let other = |name: &str| call.others.iter().find(|(other, _)| &**other == name).map(|(_, raw)| *raw);
    let sampling = &call.sampling;
    for (name, raw) in [
        ("temperature", call.temperature),
        ("topP", call.top_p),
        ("topK", sampling.top_k.or_else(|| other("top_k"))),
        ("seed", sampling.seed.or_else(|| other("seed"))),
        ("presencePenalty", sampling.presence_penalty.or_else(|| other("presence_penalty"))),
        ("frequencyPenalty", sampling.frequency_penalty.or_else(|| other("frequency_penalty"))),
    ] {
        if let Some(raw) = raw {
            config.json(name, raw.get());
        }
    }
    if let Some(limit) = call.limit {
        config.number("maxOutputTokens", limit);
    }
    if !call.stop.is_empty() {
        config.array("stopSequences", &call.stop, |out, text| write_json_string(out, text));
    }
    if let Some(format) = &call.format {
        config.json("responseMimeType", "\"application/json\"");
        if let Format::Schema { schema, .. } = format {
            config.json("responseJsonSchema", schema.get());
        }
    }
    if let Some(Asked { many, .. }) = call.answers {
        config.number("candidateCount", many);
    }
    if let Some(Asked { many, .. }) = call.logprobs {
        config.json("responseLogprobs", "true");
        if many > 0 {
            config.number("logprobs", many);
        }
    }
    match call.images {
        Some(Images::Too) => config.json("responseModalities", "[\"TEXT\",\"IMAGE\"]"),
        Some(Images::Only) => config.json("responseModalities", "[\"IMAGE\"]"),
        None => {}
    }
    if let Some(budget) = call.effort.and_then(|effort| budget(effort, call.limit)) {
        let mut thinking = config.object("thinkingConfig");
        if budget > 0 {
            thinking.json("includeThoughts", "true");
        }
        thinking.number("thinkingBudget", budget);
        thinking.end();
    }
    config.end();
}

/// How many tokens may go into thinking: what Google's own Chat Completions API makes of the words. Of a limit that the
/// caller set, at least half is for the answer; where that leaves less than every model takes, the model decides.
fn budget(effort: Effort, limit: Option<u64>) -> Option<u64> {
    let budget = match effort {
        Effort::None => return Some(0),
        Effort::Minimal | Effort::Low => 1024,
        Effort::Medium => 8192,
        Effort::High | Effort::XHigh | Effort::Max => 24_576,
    };
    Some(limit.map_or(budget, |limit| budget.min(limit / 2))).filter(|budget| *budget >= MIN_BUDGET)
}

fn tool(out: &mut Vec<u8>, tool: &Tool<'_>) {
    let mut to = Object::new(out);
    to.text("name", &tool.name);
    if let Some(description) = &tool.description {
        to.text("description", description);
    }
    if let Some(schema) = write_turns::is_some_schema(tool.schema).map(RawValue::get) {
        to.json("parametersJsonSchema", schema);
    }
    to.end();
}
