//! A Chat Completions request as a Messages request.

use super::{
    ChatAnswer, Untranslatable,
    content::{Block, Turn, conversation},
    read::{Members, Text, is_empty_object, list, members, present, read},
};
use crate::openai::request::write_json_string;
use credentialflow_model::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What `max_tokens` is where the caller sets no limit: every model of Anthropic can write that much.
const DEFAULT_MAX_TOKENS: u64 = 4096;
/// The least that can be set aside for thinking.
const MIN_BUDGET: u64 = 1024;

/// The least `top_p` that can stand beside thinking.
const MIN_TOP_P: f64 = 0.95;
/// More fields of a call than this are refused.
const MAX_FIELDS: usize = 1000;
/// More tools than this are refused.
const MAX_TOOLS: usize = 10_000;
/// More texts to stop at than this are refused.
const MAX_STOPS: usize = 1000;

/// Fields that are left out: they have no counterpart, and the answer without them is still a right one.
const LEFT_OUT: &[&str] = &[
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "store",
    "metadata",
    "service_tier",
    "prediction",
    "verbosity",
    "prompt_cache_key",
    "prompt_cache_retention",
];

/// Fields that would change what the answer is: refused unless they ask for what is so anyway.
const REFUSED: &[&str] = &[
    "audio",
    "functions",
    "function_call",
    "logit_bias",
    "logprobs",
    "modalities",
    "n",
    "top_logprobs",
    "web_search_options",
];

/// Fields of the Messages API that are written here, and so cannot be passed by a caller of Chat Completions.
const WRITTEN: &[&str] = &["system", "stop_sequences"];

#[derive(Serialize)]
struct Messages<'a> {
    model: &'a str,
    max_tokens: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Block<'a>>,
    messages: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<Cow<'a, RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<Text<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ToolChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Thinking>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata<'a>>,
}

#[derive(Serialize)]
struct Tool<'a> {
    name: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<Text<'a>>,
    input_schema: Cow<'a, RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct ToolChoice<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Text<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    disable_parallel_tool_use: bool,
}

#[derive(Serialize)]
struct Thinking {
    r#type: &'static str,
    budget_tokens: u64,
}

#[derive(Serialize)]
struct OutputConfig<'a> {
    format: Format<'a>,
}

#[derive(Serialize)]
struct Format<'a> {
    r#type: &'static str,
    schema: &'a RawValue,
}

#[derive(Serialize)]
struct Metadata<'a> {
    user_id: Text<'a>,
}

#[derive(Deserialize)]
struct ChatTool<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(borrow, default)]
    function: Option<ChatFunction<'a>>,
    #[serde(borrow, default)]
    cache_control: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ChatFunction<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, default)]
    description: Option<Text<'a>>,
    #[serde(borrow, default)]
    parameters: Option<&'a RawValue>,
    #[serde(default)]
    strict: Option<bool>,
}

#[derive(Deserialize)]
struct NamedChoice<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(borrow, default)]
    function: Option<FunctionName<'a>>,
}

#[derive(Deserialize)]
struct FunctionName<'a> {
    #[serde(borrow)]
    name: Text<'a>,
}

#[derive(Deserialize)]
struct ResponseFormat<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(borrow, default)]
    json_schema: Option<JsonSchema<'a>>,
}

#[derive(Deserialize)]
struct JsonSchema<'a> {
    #[serde(borrow)]
    schema: &'a RawValue,
}

#[derive(Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}

/// What was read, before it is put together.
#[derive(Default)]
struct Chat<'a> {
    messages: Option<&'a RawValue>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    stream: bool,
    include_usage: bool,
    temperature: Option<&'a RawValue>,
    top_p: Option<&'a RawValue>,
    stop: Option<&'a RawValue>,
    tools: Option<&'a RawValue>,
    tool_choice: Option<&'a RawValue>,
    parallel: Option<bool>,
    response_format: Option<&'a RawValue>,
    effort: Option<Text<'a>>,
    user: Option<Text<'a>>,
    /// What passes as it is.
    others: Vec<(Text<'a>, &'a RawValue)>,
}

/// The body for the provider's `/messages`, and what translates its answer. `body` is one that
/// [`ChatCall`](crate::ChatCall) has read; `created` is what the answer will say of when it was made.
///
/// # Errors
/// [`Untranslatable`] when the call cannot be said in the Messages API.
pub fn request(body: &[u8], provider_model: &str, created: Timestamp) -> Result<(Vec<u8>, ChatAnswer), Untranslatable> {
    let mut chat = sort(members(body, MAX_FIELDS)?)?;
    let all = conversation(chat.messages.ok_or_else(|| Untranslatable::Form("`messages`".to_owned()))?)?;
    let tools: Vec<Tool<'_>> = match chat.tools {
        Some(raw) => {
            let tools: Vec<ChatTool<'_>> = list(raw, "`tools`", MAX_TOOLS, "tools")?;
            tools.into_iter().map(tool).collect::<Result<_, _>>()?
        }
        None => Vec::new(),
    };
    let tool_choice = tool_choice(chat.tool_choice, chat.parallel, !tools.is_empty())?;
    let forced = tool_choice.as_ref().is_some_and(|choice| matches!(choice.r#type, "any" | "tool"));
    let limit = chat.max_completion_tokens.or(chat.max_tokens);
    // A tool that must be called leaves no room for thinking.
    let passed = chat.others.iter().any(|(name, _)| &**name == "thinking");
    let budget = match &chat.effort {
        Some(effort) => budget(effort)?.filter(|_| all.may_think() && !forced && !passed),
        None => None,
    };
    let max_tokens = limit.unwrap_or_else(|| DEFAULT_MAX_TOKENS + budget.unwrap_or(0));
    // Of a limit that the caller set, at least half is for the answer.
    let most = limit.map_or(u64::MAX, |limit| limit / 2);
    let budget = budget.map(|budget| budget.min(most)).filter(|budget| *budget >= MIN_BUDGET);
    if budget.is_some() {
        chat.others.retain(|(name, _)| &**name != "top_k");
    }
    let temperature = chat.temperature.filter(|_| budget.is_none());
    let messages = Messages {
        model: provider_model,
        max_tokens,
        system: all.system,
        messages: all.turns,
        stream: chat.stream,
        temperature: match temperature {
            Some(raw) => Some(at_most_one(raw)?),
            None => None,
        },
        top_p: match chat.top_p {
            Some(raw) if budget.is_some() => (read::<f64>(raw, "`top_p`")? >= MIN_TOP_P).then_some(raw),
            // Newer models refuse both.
            top_p => top_p.filter(|_| temperature.is_none()),
        },
        stop_sequences: match chat.stop {
            Some(raw) if raw.get().starts_with('"') => vec![read(raw, "`stop`")?],
            Some(raw) => list(raw, "`stop`", MAX_STOPS, "texts in `stop`")?,
            None => Vec::new(),
        },
        tools,
        tool_choice,
        thinking: budget.map(|budget_tokens| Thinking { r#type: "enabled", budget_tokens }),
        output_config: match chat.response_format {
            Some(raw) => output_config(raw)?,
            None => None,
        },
        metadata: chat.user.map(|user_id| Metadata { user_id }),
    };
    if messages.output_config.is_some() && chat.others.iter().any(|(name, _)| &**name == "output_config") {
        return Err(Untranslatable::Duplicate);
    }
    let mut out = Vec::with_capacity(body.len() + 256);
    // Writing to a Vec has no way to fail, and every part was JSON before.
    if serde_json::to_writer(&mut out, &messages).is_err() {
        return Err(Untranslatable::Form("the body".to_owned()));
    }
    out.pop();
    for (name, raw) in chat.others {
        out.push(b',');
        write_json_string(&mut out, &name);
        out.push(b':');
        out.extend_from_slice(raw.get().as_bytes());
    }
    out.push(b'}');
    Ok((out, ChatAnswer { created, include_usage: chat.stream && chat.include_usage }))
}

fn sort(members: Members<'_>) -> Result<Chat<'_>, Untranslatable> {
    let mut chat = Chat::default();
    for (name, raw) in members {
        if present(Some(raw)).is_none() {
            continue; // null is what absent is
        }
        let place = format!("`{}`", if is_known(&name) { &*name } else { "a field" });
        match &*name {
            "model" => {}
            "messages" => chat.messages = Some(raw),
            "max_tokens" => chat.max_tokens = Some(read(raw, &place)?),
            "max_completion_tokens" => chat.max_completion_tokens = Some(read(raw, &place)?),
            "stream" => chat.stream = read(raw, &place)?,
            "stream_options" => {
                chat.include_usage = read::<StreamOptions>(raw, &place)?.include_usage.unwrap_or(false);
            }
            "temperature" => chat.temperature = Some(raw),
            "top_p" => chat.top_p = Some(raw),
            "stop" => chat.stop = Some(raw),
            "tools" => chat.tools = Some(raw),
            "tool_choice" => chat.tool_choice = Some(raw),
            "parallel_tool_calls" => chat.parallel = Some(read(raw, &place)?),
            "response_format" => chat.response_format = Some(raw),
            "reasoning_effort" => chat.effort = Some(read(raw, &place)?),
            // The newer name of the same.
            "safety_identifier" => chat.user = Some(read(raw, &place)?),
            "user" => chat.user = Some(chat.user.take().map_or_else(|| read(raw, &place), Ok)?),
            left_out if LEFT_OUT.contains(&left_out) => {}
            refused if REFUSED.contains(&refused) => {
                if !asks_for_nothing(refused, raw) {
                    return Err(Untranslatable::NoCounterpart(place));
                }
            }
            written if WRITTEN.contains(&written) => return Err(Untranslatable::Form(place)),
            _ => chat.others.push((name, raw)),
        }
    }
    Ok(chat)
}

/// Whether a name is one of ours, so that it may be shown.
fn is_known(name: &str) -> bool {
    const READ: &[&str] = &[
        "max_tokens",
        "max_completion_tokens",
        "stream",
        "stream_options",
        "parallel_tool_calls",
        "reasoning_effort",
        "safety_identifier",
        "user",
    ];
    [READ, REFUSED, WRITTEN].iter().any(|list| list.contains(&name))
}

/// Whether a refused field asks for what is so anyway.
fn asks_for_nothing(name: &str, value: &RawValue) -> bool {
    match name {
        "n" => value.get() == "1",
        "logprobs" => value.get() == "false",
        "top_logprobs" => value.get() == "0",
        "modalities" => serde_json::from_str::<[Text<'_>; 1]>(value.get()).is_ok_and(|only| &*only[0] == "text"),
        "logit_bias" => is_empty_object(value),
        _ => false,
    }
}

fn tool(tool: ChatTool<'_>) -> Result<Tool<'_>, Untranslatable> {
    let function = match tool.function {
        Some(function) if &*tool.r#type == "function" => function,
        _ => return Err(Untranslatable::NoCounterpart("a tool that is no function".to_owned())),
    };
    let input_schema = match present(function.parameters) {
        Some(raw) => Cow::Borrowed(raw),
        None => Cow::Owned(raw(r#"{"type":"object","properties":{}}"#)?),
    };
    Ok(Tool {
        name: function.name,
        description: function.description,
        input_schema,
        strict: function.strict.filter(|strict| *strict),
        cache_control: present(tool.cache_control),
    })
}

fn raw(json: &str) -> Result<Box<RawValue>, Untranslatable> {
    RawValue::from_string(json.to_owned()).map_err(|_| Untranslatable::Form("the body".to_owned()))
}

fn tool_choice(
    choice: Option<&RawValue>,
    parallel: Option<bool>,
    tools: bool,
) -> Result<Option<ToolChoice<'_>>, Untranslatable> {
    let one = parallel == Some(false);
    let of = |kind, name, one| Some(ToolChoice { r#type: kind, name, disable_parallel_tool_use: one });
    let Some(raw) = choice else { return Ok(if one && tools { of("auto", None, true) } else { None }) };
    Ok(match raw.get() {
        "\"auto\"" => of("auto", None, one),
        "\"required\"" => of("any", None, one),
        "\"none\"" => of("none", None, false),
        _ => {
            let named: NamedChoice<'_> = read(raw, "`tool_choice`")?;
            match named.function {
                Some(function) if &*named.r#type == "function" => of("tool", Some(function.name), one),
                _ => return Err(Untranslatable::NoCounterpart("`tool_choice`".to_owned())),
            }
        }
    })
}

/// How many tokens may go into thinking; `None` for none.
fn budget(effort: &str) -> Result<Option<u64>, Untranslatable> {
    Ok(match effort {
        "none" => None,
        "minimal" => Some(1024),
        "low" => Some(2048),
        "medium" => Some(8192),
        "high" => Some(16_384),
        "xhigh" => Some(32_768),
        _ => return Err(Untranslatable::Form("`reasoning_effort`".to_owned())),
    })
}

/// Chat Completions goes to 2, the Messages API to 1: what is more becomes 1.
fn at_most_one(raw_value: &RawValue) -> Result<Cow<'_, RawValue>, Untranslatable> {
    let value: f64 = read(raw_value, "`temperature`")?;
    Ok(if value > 1.0 { Cow::Owned(raw("1")?) } else { Cow::Borrowed(raw_value) })
}

fn output_config(raw: &RawValue) -> Result<Option<OutputConfig<'_>>, Untranslatable> {
    let format: ResponseFormat<'_> = read(raw, "`response_format`")?;
    match (&*format.r#type, format.json_schema) {
        ("text", _) => Ok(None),
        ("json_schema", Some(JsonSchema { schema })) => {
            Ok(Some(OutputConfig { format: Format { r#type: "json_schema", schema } }))
        }
        ("json_object", _) => {
            Err(Untranslatable::NoCounterpart("`response_format` without a schema (`json_object`)".to_owned()))
        }
        _ => Err(Untranslatable::Form("`response_format`".to_owned())),
    }
}
