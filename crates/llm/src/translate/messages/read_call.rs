//! A Messages request as a call.

use super::{
    super::{
        Why,
        call::{Call, Choice, Effort, Format, MAX_FIELDS, MAX_STOPS, MAX_TOOLS, Strict, Thinks, Tool},
        read::{Text, list, members, present, read},
    },
    read_turns,
};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Fields that are left out: no other dialect has them, and the answer without them is still a right one.
const LEFT_OUT: &[&str] = &["cache_control", "context_management", "service_tier", "speed"];

/// Fields that would change what the answer is, or where it comes from.
const REFUSED: &[&str] = &["container", "inference_geo", "mcp_servers"];

/// The least budget for thinking that is `medium`, and the least that is `high`.
const MEDIUM: u64 = 8192;
const HIGH: u64 = 16_384;

#[derive(Deserialize)]
struct MessagesTool<'a> {
    #[serde(borrow, default)]
    r#type: Option<Text<'a>>,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, default)]
    description: Option<Text<'a>>,
    #[serde(borrow, default)]
    input_schema: Option<&'a RawValue>,
    #[serde(default)]
    strict: Option<bool>,
    #[serde(borrow, default)]
    cache_control: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ToolChoice<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(default)]
    disable_parallel_tool_use: Option<bool>,
}

#[derive(Deserialize)]
struct Thinking<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(default)]
    budget_tokens: Option<u64>,
    #[serde(borrow, default)]
    display: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct OutputConfig<'a> {
    #[serde(borrow, default)]
    effort: Option<Text<'a>>,
    #[serde(borrow, default)]
    format: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct OutputFormat<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(borrow, default)]
    schema: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow, default)]
    user_id: Option<Text<'a>>,
}

/// Reads a body that [`ChatCall`](crate::ChatCall) has read. Where only its tokens are counted, it needs no limit.
pub(in crate::translate) fn call(body: &[u8], counts: bool) -> Result<Call<'_>, Why> {
    // What a stream took is always told.
    let mut call = Call { include_usage: true, ..Call::default() };
    let (mut system, mut messages, mut effort) = (None, None, None);
    for (name, raw) in members(body, MAX_FIELDS)? {
        if present(Some(raw)).is_none() {
            continue; // null is what absent is
        }
        let place = format!("`{}`", if is_known(&name) { &*name } else { "a field" });
        match &*name {
            "model" => {}
            "system" => system = Some(raw),
            "messages" => messages = Some(raw),
            "max_tokens" => call.limit = Some(read(raw, &place)?),
            "stream" => call.stream = read(raw, &place)?,
            "temperature" => call.temperature = Some(raw),
            "top_p" => call.top_p = Some(raw),
            "top_k" => call.sampling.top_k = Some(raw),
            "stop_sequences" => call.stop = list(raw, &place, MAX_STOPS, "texts in `stop_sequences`")?,
            "tools" => {
                let tools: Vec<MessagesTool<'_>> = list(raw, &place, MAX_TOOLS, "tools")?;
                call.tools = tools.into_iter().map(tool).collect::<Result<_, _>>()?;
            }
            "tool_choice" => {
                let told: ToolChoice<'_> = read(raw, &place)?;
                call.one_tool = told.disable_parallel_tool_use.unwrap_or(false);
                call.choice = Some(choice(told)?);
            }
            "thinking" => call.thinks = Some(thinks(read(raw, &place)?)?),
            "output_config" => {
                let config: OutputConfig<'_> = read(raw, &place)?;
                effort = config.effort.map(|word| self::effort(&word)).transpose()?;
                if let Some(format) = present(config.format) {
                    call.format = Some(self::format(format)?);
                }
            }
            "metadata" => call.user = read::<Metadata<'_>>(raw, &place)?.user_id,
            left_out if LEFT_OUT.contains(&left_out) => {}
            refused if REFUSED.contains(&refused) => return Err(Why::NoCounterpart(place)),
            _ => call.others.push((name, raw)),
        }
    }
    if call.limit.is_none() && !counts {
        return Err(Why::Form("a call without `max_tokens`".to_owned()));
    }
    call.effort = effort.or(call.thinks.as_ref().and_then(budget));
    let mut room = read_turns::room();
    call.system = read_turns::system(system, &mut room)?;
    call.turns = read_turns::turns(messages.ok_or_else(|| Why::Form("`messages`".to_owned()))?, &mut room)?;
    Ok(call)
}

/// Whether a name is one of ours, so that it may be shown.
fn is_known(name: &str) -> bool {
    const READ: &[&str] =
        &["max_tokens", "stream", "stop_sequences", "tools", "tool_choice", "thinking", "output_config", "metadata"];
    [READ, REFUSED].iter().any(|list| list.contains(&name))
}

fn tool(tool: MessagesTool<'_>) -> Result<Tool<'_>, Why> {
    if tool.r#type.is_some_and(|kind| &*kind != "custom") {
        return Err(Why::NoCounterpart("a tool of the provider's".to_owned()));
    }
    let schema = present(tool.input_schema).ok_or_else(|| Why::Form("a tool without `input_schema`".to_owned()))?;
    Ok(Tool {
        name: tool.name,
        description: tool.description,
        schema: Some(schema),
        strict: if tool.strict == Some(true) { Strict::WhereItFits } else { Strict::Not },
        cache_control: present(tool.cache_control),
    })
}

fn choice(choice: ToolChoice<'_>) -> Result<Choice<'_>, Why> {
    Ok(match (&*choice.r#type, choice.name) {
        ("auto", _) => Choice::Auto,
        ("any", _) => Choice::Any,
        ("none", _) => Choice::Never,
        ("tool", Some(name)) => Choice::One(name),
        _ => return Err(Why::Form("`tool_choice`".to_owned())),
    })
}

fn thinks(thinking: Thinking<'_>) -> Result<Thinks<'_>, Why> {
    Ok(match (&*thinking.r#type, thinking.budget_tokens) {
        ("enabled", Some(tokens)) => Thinks::Budget(tokens),
        ("adaptive", _) => Thinks::Adaptive { shown: thinking.display },
        ("disabled" | "between_tools", _) => Thinks::Not,
        _ => return Err(Why::Form("`thinking`".to_owned())),
    })
}

/// How much thinking a budget is. What every model that thinks can do, none of the words at the ends.
const fn budget(thinks: &Thinks<'_>) -> Option<Effort> {
    match thinks {
        Thinks::Budget(HIGH..) => Some(Effort::High),
        Thinks::Budget(MEDIUM..) => Some(Effort::Medium),
        Thinks::Budget(_) => Some(Effort::Low),
        // As much as the model likes.
        Thinks::Adaptive { .. } | Thinks::Not => None,
    }
}

fn effort(word: &str) -> Result<Effort, Why> {
    Ok(match word {
        "low" => Effort::Low,
        "medium" => Effort::Medium,
        "high" => Effort::High,
        "xhigh" => Effort::XHigh,
        "max" => Effort::Max,
        _ => return Err(Why::Form("`output_config`".to_owned())),
    })
}

fn format(raw: &RawValue) -> Result<Format<'_>, Why> {
    let form = || Why::Form("`output_config`".to_owned());
    let format: OutputFormat<'_> = read(raw, "`output_config`")?;
    let schema = format.schema.filter(|_| &*format.r#type == "json_schema").ok_or_else(form)?;
    Ok(Format::Schema { schema, name: None, description: None, strict: Strict::WhereItFits })
}
