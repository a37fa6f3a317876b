//! A call as a Converse request.
//!
//! What is asked of one maker's models only stands in `additionalModelRequestFields`, which those models read
//! themselves.

use super::{
    super::{
        Why,
        call::{Block, Call, Choice, Effort, Format, MAX_FIELDS, Strict, Tool},
        messages::{
            thinking::{Plan, plan},
            write_call::at_most_one,
        },
        read::{is_empty_object, members},
        schema::{for_claude, tool_schema},
        write::Object,
    },
    write_turns,
};
use crate::{bedrock::maker, openai::request::write_json_string};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Fields that are written here, or that models would read as one of these, and so cannot be passed by a caller of
/// another dialect.
const WRITTEN: &[&str] = &[
    "inferenceConfig",
    "inference_config",
    "maxTokenCount",
    "maxTokens",
    "max_completion_tokens",
    "max_gen_len",
    "max_new_tokens",
    "max_tokens",
    "max_tokens_to_sample",
    "messages",
    "model",
    "modelId",
    "outputConfig",
    "prompt",
    "promptVariables",
    "stream",
    "system",
    "textGenerationConfig",
    "toolConfig",
    "tool_choice",
    "tools",
];

/// Fields of the Converse API itself, which pass at their place.
const CONVERSE: &[&str] =
    &["additionalModelResponseFieldPaths", "guardrailConfig", "performanceConfig", "requestMetadata", "serviceTier"];

/// What models read themselves.
const ADDITIONAL: &str = "additionalModelRequestFields";

/// The body for `/model/{modelId}/converse` and `/converse-stream` of this model.
pub(in crate::translate) fn call(call: &Call<'_>, model: &str, out: &mut Vec<u8>) -> Result<(), Why> {
    let maker = maker(model);
    let plan = match maker {
        Some("anthropic") => Some(plan(call, model, None)?),
        _ => None,
    };
    let additional = Additional::of(call, maker, plan)?;
    let tools = has_tools(call)?;
    if matches!(call.format, Some(Format::Json)) {
        return Err(Why::NoCounterpart("an answer that is JSON without a schema (`json_object`)".to_owned()));
    }
    if call.system.iter().any(|block| !matches!(block, Block::Text { .. })) {
        return Err(Why::NoCounterpart("a system prompt that is no text".to_owned()));
    }
    let marks = write_turns::Marks::of(maker);
    let mut body = Object::new(out);
    if !call.system.is_empty() {
        write_turns::blocks(&call.system, marks, &mut write_turns::Names::default(), body.member("system"))?;
    }
    write_turns::messages(call, marks, body.member("messages"))?;
    inference(call, additional.plan.as_ref(), body.object("inferenceConfig"))?;
    if tools {
        let mut config = body.object("toolConfig");
        let each = call.tools.iter().flat_map(|one| {
            let mark = one.cache_control.filter(|_| maker == Some("anthropic")).map(ToolPart::Mark);
            [Some(ToolPart::Tool(one)), mark].into_iter().flatten()
        });
        config.array("tools", each, |out, part| tool(out, &part));
        choice(call.choice.as_ref(), &mut config);
        config.end();
    }
    if let Some(Format::Schema { schema, name, description, .. }) = &call.format {
        let mut config = body.object("outputConfig");
        let mut format = config.object("textFormat");
        format.json("type", "\"json_schema\"");
        let mut structure = format.object("structure");
        let mut told = structure.object("jsonSchema");
        // As a text, not as an object.
        told.text("schema", &for_claude(schema));
        told.text("name", name.as_deref().unwrap_or("answer"));
        if let Some(description) = description {
            told.text("description", description);
        }
        told.end();
        structure.end();
        format.end();
        config.end();
    }
    for (name, raw) in call.others.iter().filter(|(name, _)| CONVERSE.contains(&&**name)) {
        body.other(name, raw.get());
    }
    if !additional.is_empty() {
        additional.write(call, maker, body.object(ADDITIONAL));
    }
    body.end();
    Ok(())
}

/// Whether there are tools to speak of. A conversation in which tools were called must say which there are.
fn has_tools(call: &Call<'_>) -> Result<bool, Why> {
    let called = || {
        let blocks = call.turns.0.iter().flat_map(|turn| &turn.content);
        blocks.into_iter().any(|block| matches!(block, Block::ToolUse { .. } | Block::ToolResult { .. }))
    };
    let never = matches!(call.choice, Some(Choice::Never));
    match call.tools.is_empty() {
        // Without tools none is called.
        false if never && !called() => Ok(false),
        false if never => {
            Err(Why::NoCounterpart("that no tool may be called, where some were called before,".to_owned()))
        }
        false => Ok(true),
        true if called() => {
            Err(Why::NoCounterpart("a conversation with calls of tools and without `tools`".to_owned()))
        }
        true => Ok(false),
    }
}

/// What a model reads itself.
struct Additional<'a> {
    /// How Anthropic's models are asked to think; none for others.
    plan: Option<Plan<'a>>,
    /// Those models read how tools are chosen there.
    one_tool: bool,
    /// How much to think, in the words of OpenAI's and Amazon's models.
    effort: Option<&'static str>,
    top_k: Option<&'a RawValue>,
    others: Vec<(&'a str, &'a RawValue)>,
}

impl<'a> Additional<'a> {
    fn of(call: &'a Call<'_>, maker: Option<&str>, plan: Option<Plan<'a>>) -> Result<Self, Why> {
        let mut others: Vec<(&str, &RawValue)> = Vec::new();
        for (name, raw) in &call.others {
            match &**name {
                ADDITIONAL => {
                    let form = || Why::Form(format!("`{ADDITIONAL}`"));
                    for (name, raw) in members(raw.get().as_bytes(), MAX_FIELDS).map_err(|_| form())? {
                        // One with escapes might be read as another than it looks like.
                        let Cow::Borrowed(name) = name.0 else { return Err(form()) };
                        others.push((name, raw));
                    }
                }
                name if CONVERSE.contains(&name) => {}
                name => others.push((name, *raw)),
            }
        }
        for (i, (name, _)) in others.iter().enumerate() {
            if let Some(written) = WRITTEN.iter().find(|written| *written == name) {
                return Err(Why::Form(format!("`{written}`")));
            }
            if others[..i].iter().any(|(other, _)| other == name) {
                return Err(Why::Duplicate);
            }
        }
        let has = |name: &str| others.iter().any(|(other, _)| *other == name);
        let of_anthropic = maker == Some("anthropic");
        let one_tool = call.one_tool && !call.tools.is_empty() && !matches!(call.choice, Some(Choice::Never));
        if one_tool && !of_anthropic {
            return Err(Why::NoCounterpart("that no two tools may be called at the same time".to_owned()));
        }
        let told = has("thinking") || has("reasoning_config");
        let mut plan = plan.map(|plan| if told { plan.without_thinking() } else { plan });
        if let Some(plan) = plan.as_mut().filter(|_| has("output_config")) {
            plan.effort = None;
        }
        let effort = call.effort.filter(|_| !has("reasoning_effort") && !has("reasoningConfig"));
        let effort = effort.and_then(|effort| word(effort, maker));
        let takes_top_k = plan.as_ref().is_none_or(|plan| plan.samples && !plan.thinks);
        let top_k = call.sampling.top_k.filter(|_| takes_top_k && of_anthropic && !has("top_k"));
        if !takes_top_k {
            others.retain(|(name, _)| *name != "top_k");
        }
        Ok(Self { plan, one_tool, effort, top_k, others })
    }

    fn is_empty(&self) -> bool {
        let Self { plan, one_tool, effort, top_k, others } = self;
        let asks = plan.as_ref().is_some_and(|plan| plan.is_said() || plan.effort.is_some());
        !asks && !one_tool && effort.is_none() && top_k.is_none() && others.is_empty()
    }

    fn write(&self, call: &Call<'_>, maker: Option<&str>, mut to: Object<'_>) {
        if let Some(plan) = &self.plan {
            plan.write(&mut to);
            if let Some(effort) = plan.effort {
                let mut config = to.object("output_config");
                config.text("effort", effort);
                config.end();
            }
        }
        if self.one_tool {
            let mut choice = to.object("tool_choice");
            match &call.choice {
                Some(Choice::Any) => choice.json("type", "\"any\""),
                Some(Choice::One(name)) => {
                    choice.json("type", "\"tool\"");
                    choice.text("name", name);
                }
                Some(Choice::Auto | Choice::Never) | None => choice.json("type", "\"auto\""),
            }
            choice.json("disable_parallel_tool_use", "true");
            choice.end();
        }
        match self.effort {
            Some(word) if maker == Some("amazon") => {
                let mut config = to.object("reasoningConfig");
                config.json("type", "\"enabled\"");
                config.text("maxReasoningEffort", word);
                config.end();
            }
            Some(word) => to.text("reasoning_effort", word),
            None => {}
        }
        if let Some(raw) = self.top_k {
            to.json("top_k", raw.get());
        }
        for (name, raw) in &self.others {
            to.other(name, raw.get());
        }
        to.end();
    }
}

/// How much to think, where a maker's models have three words for it. `None`: as much as they like.
fn word(effort: Effort, maker: Option<&str>) -> Option<&'static str> {
    match (maker?, effort) {
        ("amazon", Effort::None) | ("anthropic", _) => None,
        (_, Effort::None | Effort::Minimal | Effort::Low) => Some("low"),
        (_, Effort::Medium) => Some("medium"),
        (_, Effort::High | Effort::XHigh | Effort::Max) => Some("high"),
    }
}

/// `plan`: how a model of Anthropic's is asked to think.
fn inference(call: &Call<'_>, plan: Option<&Plan<'_>>, mut to: Object<'_>) -> Result<(), Why> {
    let limit = plan.filter(|plan| plan.needs_limit()).map(|plan| plan.max_tokens).or(call.limit);
    if let Some(limit) = limit {
        to.number("maxTokens", limit);
    }
    // Thinking models of Anthropic's refuse a temperature, newer ones both of these, and the newest each.
    let takes = plan.is_none_or(|plan| plan.samples && !plan.thinks);
    let temperature = call.temperature.filter(|_| takes);
    if let Some(raw) = temperature {
        to.json("temperature", at_most_one(raw)?);
    }
    if let Some(raw) = call.top_p.filter(|_| takes && (plan.is_none() || temperature.is_none())) {
        to.json("topP", raw.get());
    }
    if !call.stop.is_empty() {
        to.array("stopSequences", &call.stop, |out, text| write_json_string(out, text));
    }
    to.end();
    Ok(())
}

enum ToolPart<'t, 'a> {
    Tool(&'t Tool<'a>),
    Mark(&'t RawValue),
}

fn tool(out: &mut Vec<u8>, part: &ToolPart<'_, '_>) {
    let tool = match part {
        ToolPart::Tool(tool) => tool,
        ToolPart::Mark(mark) => return write_turns::cache_point(out, mark),
    };
    let mut to = Object::new(out);
    let mut spec = to.object("toolSpec");
    spec.text("name", &tool.name);
    if let Some(description) = tool.description.as_ref().filter(|text| !text.is_empty()) {
        spec.text("description", description);
    }
    let mut schema = spec.object("inputSchema");
    let told = tool.schema.filter(|schema| !is_empty_object(schema));
    let strict = tool.strict != Strict::Not;
    schema.json("json", &tool_schema(told, strict));
    schema.end();
    if strict {
        spec.json("strict", "true");
    }
    spec.end();
    to.end();
}

/// What the models choose from themselves is not said.
fn choice(choice: Option<&Choice<'_>>, config: &mut Object<'_>) {
    let name = match choice {
        None | Some(Choice::Never) => return,
        Some(Choice::Auto) => return config.json("toolChoice", r#"{"auto":{}}"#),
        Some(Choice::Any) => return config.json("toolChoice", r#"{"any":{}}"#),
        Some(Choice::One(name)) => name,
    };
    let mut to = config.object("toolChoice");
    let mut one = to.object("tool");
    one.text("name", name);
    one.end();
    to.end();
}
