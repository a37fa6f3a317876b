//! A Chat Completions request as a call.

use super::{
    super::{
        Why,
        call::{
            Asked, Call, Choice, Effort, Format, Images, MAX_ANSWERS, MAX_FIELDS, MAX_STOPS, MAX_TOOLS, Strict, Tool,
        },
        read::{Text, is_empty_object, list, members, present, read},
    },
    read_turns,
};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Fields that are left out: no other dialect has them, and the answer without them is still a right one.
const LEFT_OUT: &[&str] = &["prediction"];

/// Fields that OpenAI's other dialect has too; the answer without them is still a right one.
const OPENAI: &[&str] =
    &["store", "metadata", "service_tier", "verbosity", "prompt_cache_key", "prompt_cache_retention"];

/// Fields that would change what the answer is: refused unless they ask for what is so anyway.
const REFUSED: &[&str] = &["audio", "functions", "function_call", "logit_bias", "web_search_options"];

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
    /// `huggingface_hub` leaves it out.
    #[serde(borrow, default)]
    r#type: Option<Text<'a>>,
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
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    description: Option<Text<'a>>,
    #[serde(default)]
    strict: Option<bool>,
}

#[derive(Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}

/// Reads a body that [`ChatCall`](crate::ChatCall) has read.
pub(in crate::translate) fn call(body: &[u8]) -> Result<Call<'_>, Why> {
    let mut call = Call::default();
    let mut messages = None;
    let (mut limit, mut safety) = (None, None);
    let (mut logprobs, mut top) = (false, 0);
    for (name, raw) in members(body, MAX_FIELDS)? {
        if present(Some(raw)).is_none() {
            continue; // null is what absent is
        }
        let place = format!("`{}`", if is_known(&name) { &*name } else { "a field" });
        match &*name {
            "model" => {}
            "messages" => messages = Some(raw),
            "max_tokens" => limit = Some(read(raw, &place)?),
            "max_completion_tokens" => call.limit = Some(read(raw, &place)?),
            "stream" => call.stream = read(raw, &place)?,
            "stream_options" => {
                call.include_usage = read::<StreamOptions>(raw, &place)?.include_usage.unwrap_or(false);
            }
            "temperature" => call.temperature = Some(raw),
            "top_p" => call.top_p = Some(raw),
            "stop" if raw.get().starts_with('"') => call.stop = vec![read(raw, &place)?],
            "stop" => call.stop = list(raw, &place, MAX_STOPS, "texts in `stop`")?,
            "tools" => {
                let tools: Vec<ChatTool<'_>> = list(raw, &place, MAX_TOOLS, "tools")?;
                call.tools = tools.into_iter().map(tool).collect::<Result<_, _>>()?;
            }
            "tool_choice" => call.choice = Some(choice(raw)?),
            "parallel_tool_calls" => call.one_tool = !read::<bool>(raw, &place)?,
            "frequency_penalty" => call.sampling.frequency_penalty = Some(raw),
            "presence_penalty" => call.sampling.presence_penalty = Some(raw),
            "seed" => call.sampling.seed = Some(raw),
            "response_format" => call.format = format(raw)?,
            "reasoning_effort" => call.effort = effort(&read::<Text<'_>>(raw, &place)?)?,
            // The newer name of the same.
            "safety_identifier" => safety = Some(read(raw, &place)?),
            "user" => call.user = Some(read(raw, &place)?),
            left_out if LEFT_OUT.contains(&left_out) => {}
            "modalities" => call.images = images(raw)?,
            "n" => call.answers = answers(read(raw, &place)?, "n")?,
            "logprobs" => logprobs = read(raw, &place)?,
            "top_logprobs" => top = read(raw, &place)?,
            openai if OPENAI.contains(&openai) => call.openai.push((name, raw)),
            refused if REFUSED.contains(&refused) => {
                if !asks_for_nothing(refused, raw) {
                    return Err(Why::NoCounterpart(place));
                }
            }
            _ => call.others.push((name, raw)),
        }
    }
    if top > 0 && !logprobs {
        return Err(Why::Form("`top_logprobs` without `logprobs`".to_owned()));
    }
    call.logprobs = logprobs.then_some(Asked { many: top, by: "logprobs" });
    call.limit = call.limit.or(limit);
    call.user = safety.or(call.user);
    call.include_usage &= call.stream;
    (call.system, call.turns) = read_turns::turns(messages.ok_or_else(|| Why::Form("`messages`".to_owned()))?)?;
    Ok(call)
}

/// Whether a name is one of ours, so that it may be shown.
fn is_known(name: &str) -> bool {
    const READ: &[&str] = &[
        "max_tokens",
        "max_completion_tokens",
        "logprobs",
        "modalities",
        "n",
        "stream",
        "stream_options",
        "top_logprobs",
        "stop",
        "tools",
        "parallel_tool_calls",
        "reasoning_effort",
        "safety_identifier",
        "user",
    ];
    [READ, REFUSED].iter().any(|list| list.contains(&name))
}

/// More answers than one.
pub(in crate::translate) fn answers(many: u64, by: &'static str) -> Result<Option<Asked>, Why> {
    match many {
        0 => Err(Why::Form(format!("`{by}`"))),
        1 => Ok(None),
        2..=MAX_ANSWERS => Ok(Some(Asked { many, by })),
        _ => Err(Why::TooMany("answers asked for")),
    }
}

/// Whether a refused field asks for what is so anyway.
fn asks_for_nothing(name: &str, value: &RawValue) -> bool {
    match name {
        "logit_bias" => is_empty_object(value),
        _ => false,
    }
}

/// The kinds of answers that are asked for: text is what there is anyway.
fn images(raw: &RawValue) -> Result<Option<Images>, Why> {
    let kinds: Vec<Text<'_>> = list(raw, "`modalities`", MAX_STOPS, "kinds of answers")?;
    let has = |wanted: &str| kinds.iter().any(|kind| &**kind == wanted);
    if !kinds.iter().all(|kind| matches!(&**kind, "text" | "image")) {
        return Err(Why::NoCounterpart("`modalities`".to_owned()));
    }
    Ok(has("image").then(|| if has("text") { Images::Too } else { Images::Only }))
}

fn tool(tool: ChatTool<'_>) -> Result<Tool<'_>, Why> {
    let function = match tool.function {
        Some(function) if &*tool.r#type == "function" => function,
        _ => return Err(Why::NoCounterpart("a tool that is no function".to_owned())),
    };
    Ok(Tool {
        name: function.name,
        description: function.description,
        schema: present(function.parameters),
        strict: Strict::told(function.strict),
        cache_control: present(tool.cache_control),
    })
}

fn choice(raw: &RawValue) -> Result<Choice<'_>, Why> {
    Ok(match raw.get() {
        "\"auto\"" => Choice::Auto,
        "\"required\"" => Choice::Any,
        "\"none\"" => Choice::Never,
        _ => {
            let named: NamedChoice<'_> = read(raw, "`tool_choice`")?;
            match named.function {
                Some(function) if named.r#type.is_none_or(|kind| &*kind == "function") => Choice::One(function.name),
                _ => return Err(Why::NoCounterpart("`tool_choice`".to_owned())),
            }
        }
    })
}

/// None for what the model does anyway, for which Groq has a word.
fn effort(word: &str) -> Result<Option<Effort>, Why> {
    match word {
        "default" => Ok(None),
        word => Effort::of(word).map(Some).ok_or_else(|| Why::Form("`reasoning_effort`".to_owned())),
    }
}

fn format(raw: &RawValue) -> Result<Option<Format<'_>>, Why> {
    let format: ResponseFormat<'_> = read(raw, "`response_format`")?;
    match (&*format.r#type, format.json_schema) {
        ("text", _) => Ok(None),
        ("json_schema", Some(JsonSchema { schema, name, description, strict })) => {
            Ok(Some(Format::Schema { schema, name, description, strict: Strict::told(strict) }))
        }
        ("json_object", _) => Ok(Some(Format::Json)),
        _ => Err(Why::Form("`response_format`".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice_of(json: &str) -> Option<String> {
        let raw: &RawValue = serde_json::from_str(json).ok()?;
        match choice(raw).ok()? {
            Choice::One(name) => Some(name.0.into_owned()),
            _ => None,
        }
    }

    #[test]
    fn what_other_providers_sdks_write_is_read_as_what_it_means() {
        assert_eq!(choice_of(r#"{"type":"function","function":{"name":"a"}}"#).as_deref(), Some("a"));
        assert_eq!(choice_of(r#"{"function":{"name":"a"}}"#).as_deref(), Some("a"));
        assert_eq!(choice_of(r#"{"type":"custom","function":{"name":"a"}}"#), None);
        assert_eq!(choice_of(r#"{"name":"a"}"#), None);
        assert_eq!(effort("default"), Ok(None));
        assert_eq!(effort("high"), Ok(Some(Effort::High)));
        assert!(effort("more").is_err());
    }
}
