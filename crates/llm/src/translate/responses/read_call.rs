//! A Responses request as a call.

use super::{
    super::{
        Why,
        call::{Asked, Block, Call, Choice, Effort, Format, MAX_FIELDS, MAX_STOPS, MAX_TOOLS, Strict, Tool},
        read::{Text, list, members, present, read},
    },
    read_input,
};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Fields that are left out: no other dialect has them, and the answer without them is still a right one.
const LEFT_OUT: &[&str] = &[
    "context_management",
    "max_tool_calls",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "service_tier",
    "stream_options",
    "truncation",
];

/// Fields that would change what the answer is, or need what an earlier call left with its provider: refused unless they
/// ask for what is so anyway.
const REFUSED: &[&str] = &["background", "conversation", "moderation", "previous_response_id", "prompt", "store"];

/// What `include` has where log probabilities are wanted.
pub(super) const LOGPROBS: &str = "message.output_text.logprobs";

/// What an answer repeats of its call.
const ECHOED: &[&str] = &[
    "max_output_tokens",
    "metadata",
    "parallel_tool_calls",
    "reasoning",
    "temperature",
    "text",
    "tool_choice",
    "top_p",
];
/// What is longer is not repeated, as it would stand in three events of a stream.
const MAX_ECHO: usize = 4096;

#[derive(Deserialize)]
struct ResponsesTool<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
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
    name: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Reasoning<'a> {
    #[serde(borrow, default)]
    effort: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct TextConfig<'a> {
    #[serde(borrow, default)]
    format: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct TextFormat<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(borrow, default)]
    schema: Option<&'a RawValue>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    description: Option<Text<'a>>,
    #[serde(default)]
    strict: Option<bool>,
}

/// Reads a body that [`ChatCall`](crate::ChatCall) has read.
pub(in crate::translate) fn call(body: &[u8]) -> Result<Call<'_>, Why> {
    // What a stream took is always told.
    let mut call = Call { include_usage: true, ..Call::default() };
    let (mut instructions, mut input, mut safety) = (None, None, None);
    let (mut logprobs, mut top) = (false, 0);
    for (name, raw) in members(body, MAX_FIELDS)? {
        if present(Some(raw)).is_none() {
            continue; // null is what absent is
        }
        let place = format!("`{}`", if is_known(&name) { &*name } else { "a field" });
        if let Some(echoed) = ECHOED.iter().find(|echoed| **echoed == &*name).filter(|_| raw.get().len() <= MAX_ECHO) {
            call.echo.push((echoed, raw));
        }
        match &*name {
            "model" => {}
            "instructions" => instructions = Some(read::<Text<'_>>(raw, &place)?),
            "input" => input = Some(raw),
            "max_output_tokens" => call.limit = Some(read(raw, &place)?),
            "stream" => call.stream = read(raw, &place)?,
            "temperature" => call.temperature = Some(raw),
            "top_p" => call.top_p = Some(raw),
            "tools" => {
                let tools: Vec<ResponsesTool<'_>> = list(raw, &place, MAX_TOOLS, "tools")?;
                call.tools = tools.into_iter().map(tool).collect::<Result<_, _>>()?;
            }
            "tool_choice" => call.choice = Some(choice(raw)?),
            "parallel_tool_calls" => call.one_tool = !read::<bool>(raw, &place)?,
            "text" => call.format = format(raw)?,
            "reasoning" => {
                let effort = read::<Reasoning<'_>>(raw, &place)?.effort;
                let effort = effort.map(|word| Effort::of(&word).ok_or_else(|| Why::Form(place.clone())));
                call.effort = effort.transpose()?;
            }
            // The newer name of the same.
            "safety_identifier" => safety = Some(read(raw, &place)?),
            "user" => call.user = Some(read(raw, &place)?),
            // What else can be told beside an answer no other dialect has.
            "include" => {
                let told: Vec<Text<'_>> = list(raw, &place, MAX_STOPS, "things to include")?;
                logprobs |= told.iter().any(|told| &**told == LOGPROBS);
            }
            "top_logprobs" => top = read(raw, &place)?,
            // Callers are told back what is theirs.
            "metadata" => {}
            left_out if LEFT_OUT.contains(&left_out) => {}
            refused if REFUSED.contains(&refused) => {
                if !asks_for_nothing(refused, raw) {
                    return Err(Why::NoCounterpart(place));
                }
            }
            _ => call.others.push((name, raw)),
        }
    }
    let by = if top > 0 { "top_logprobs" } else { LOGPROBS };
    call.logprobs = (logprobs || top > 0).then_some(Asked { many: top, by });
    call.user = safety.or(call.user);
    let input = input.ok_or_else(|| Why::Form("a call without `input`".to_owned()))?;
    let (mut said, turns) = read_input::turns(input)?;
    let instructions = instructions.filter(|text| !text.is_empty());
    call.system.extend(instructions.map(|text| Block::Text { text, cache_control: None }));
    call.system.append(&mut said);
    call.turns = turns;
    Ok(call)
}

/// Whether a name is one of ours, so that it may be shown.
fn is_known(name: &str) -> bool {
    const READ: &[&str] = &[
        "include",
        "instructions",
        "max_output_tokens",
        "stream",
        "tools",
        "parallel_tool_calls",
        "text",
        "top_logprobs",
        "reasoning",
        "safety_identifier",
        "user",
    ];
    [READ, REFUSED].iter().any(|list| list.contains(&name))
}

/// Whether a refused field asks for what is so anyway.
fn asks_for_nothing(name: &str, value: &RawValue) -> bool {
    match name {
        "background" | "store" => value.get() == "false",
        _ => false,
    }
}

fn tool(tool: ResponsesTool<'_>) -> Result<Tool<'_>, Why> {
    if &*tool.r#type != "function" {
        return Err(Why::NoCounterpart("a tool that is no function".to_owned()));
    }
    Ok(Tool {
        name: tool.name.ok_or_else(|| Why::Form("a tool without `name`".to_owned()))?,
        description: tool.description,
        schema: present(tool.parameters),
        strict: Strict::told(tool.strict),
        cache_control: None,
    })
}

fn choice(raw: &RawValue) -> Result<Choice<'_>, Why> {
    Ok(match raw.get() {
        "\"auto\"" => Choice::Auto,
        "\"required\"" => Choice::Any,
        "\"none\"" => Choice::Never,
        _ => {
            let named: NamedChoice<'_> = read(raw, "`tool_choice`")?;
            match named.name {
                Some(name) if &*named.r#type == "function" => Choice::One(name),
                _ => return Err(Why::NoCounterpart("`tool_choice`".to_owned())),
            }
        }
    })
}

fn format(raw: &RawValue) -> Result<Option<Format<'_>>, Why> {
    const PLACE: &str = "`text`";
    let form = || Why::Form(PLACE.to_owned());
    let Some(format) = present(read::<TextConfig<'_>>(raw, PLACE)?.format) else { return Ok(None) };
    let TextFormat { r#type, schema, name, description, strict } = read(format, PLACE)?;
    match &*r#type {
        "text" => Ok(None),
        "json_object" => Ok(Some(Format::Json)),
        "json_schema" => {
            let schema = schema.ok_or_else(form)?;
            Ok(Some(Format::Schema { schema, name, description, strict: Strict::told(strict) }))
        }
        _ => Err(form()),
    }
}
