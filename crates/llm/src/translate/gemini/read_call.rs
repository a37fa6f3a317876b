//! A Gemini request as a call.

use super::{
    super::{
        Why,
        call::{Asked, Call, Choice, Effort, Format, Images, MAX_FIELDS, MAX_STOPS, MAX_TOOLS, Strict, Tool},
        chat::read_call::answers,
        read::{Text, list, members, one_or_more, present, read},
    },
    read_turns,
    schema::Schemas,
};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Fields that are left out: no other dialect has them, and the answer without them is still a right one.
const LEFT_OUT: &[&str] = &["safetySettings", "safety_settings", "labels", "store", "serviceTier", "service_tier"];
/// Fields that would change what the answer is.
const REFUSED: &[&str] = &["cachedContent", "cached_content", "generateContentRequest", "generate_content_request"];
/// The names of the field that holds a schema of Google's for the answer.
pub(super) const ANSWER: &[&str] = &["responseSchema", "response_schema"];

/// The least budget for thinking that is `medium`, and the least that is `high`.
const MEDIUM: i64 = 8192;
const HIGH: i64 = 16_384;

/// One element of `tools`: functions, or a tool of the provider's.
#[derive(Deserialize)]
pub(super) struct Declarations<'a> {
    #[serde(borrow, default, alias = "function_declarations")]
    #[serde(rename = "functionDeclarations")]
    declared: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Function<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, default)]
    description: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub parameters: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "parameters_json_schema", rename = "parametersJsonSchema")]
    json_schema: Option<&'a RawValue>,
}

impl<'a> Declarations<'a> {
    /// Its functions, for which there is still so much room.
    pub fn functions(&self, room: &mut usize) -> Result<Vec<Function<'a>>, Why> {
        let Some(raw) = present(self.declared) else { return Ok(Vec::new()) };
        let functions = one_or_more(raw, "`tools`", *room, "tools")?;
        *room -= functions.len();
        Ok(functions)
    }
}

#[derive(Deserialize)]
struct ToolConfig<'a> {
    #[serde(borrow, default, alias = "function_calling_config", rename = "functionCallingConfig")]
    calling: Option<Calling<'a>>,
}

#[derive(Deserialize)]
struct Calling<'a> {
    #[serde(borrow, default)]
    mode: Option<Text<'a>>,
    #[serde(borrow, default, alias = "allowed_function_names", rename = "allowedFunctionNames")]
    names: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Thinking<'a> {
    #[serde(default, alias = "thinking_budget", rename = "thinkingBudget")]
    budget: Option<i64>,
    #[serde(borrow, default, alias = "thinking_level", rename = "thinkingLevel")]
    level: Option<Text<'a>>,
}

/// Reads a body that [`GeminiCall`](crate::gemini::request::GeminiCall) has read; `schemas` are those of its own.
pub(in crate::translate) fn call<'a>(body: &'a [u8], schemas: &'a Schemas, stream: bool) -> Result<Call<'a>, Why> {
    // What a stream took is always told.
    let mut call = Call { include_usage: true, stream, ..Call::default() };
    let (mut system, mut contents) = (None, None);
    for (name, raw) in members(body, MAX_FIELDS)? {
        if present(Some(raw)).is_none() {
            continue; // null is what absent is
        }
        match &*name {
            // The path names it.
            "model" => {}
            "systemInstruction" | "system_instruction" => once(&mut system, raw)?,
            "contents" => contents = Some(raw),
            "tools" => call.tools = tools(raw, schemas)?,
            "toolConfig" | "tool_config" => call.choice = choice(&read(raw, "`toolConfig`")?)?,
            "generationConfig" | "generation_config" => config(raw, schemas, &mut call)?,
            left_out if LEFT_OUT.contains(&left_out) => {}
            refused if REFUSED.contains(&refused) => return Err(Why::NoCounterpart(format!("`{refused}`"))),
            _ => call.others.push((name, raw)),
        }
    }
    let mut room = read_turns::room();
    call.system = system.map_or_else(|| Ok(Vec::new()), |raw| read_turns::system(raw, &mut room))?;
    call.turns = read_turns::turns(contents.ok_or_else(|| Why::Form("`contents`".to_owned()))?, &mut room)?;
    Ok(call)
}

/// Takes a field that has two names.
fn once<'a>(place: &mut Option<&'a RawValue>, raw: &'a RawValue) -> Result<(), Why> {
    if place.replace(raw).is_some() { Err(Why::Duplicate) } else { Ok(()) }
}

fn tools<'a>(raw: &'a RawValue, schemas: &'a Schemas) -> Result<Vec<Tool<'a>>, Why> {
    let (mut tools, mut made, mut room) = (Vec::new(), schemas.tools.iter(), MAX_TOOLS);
    for raw in one_or_more::<&RawValue>(raw, "`tools`", MAX_TOOLS, "tools")? {
        // What is no list of functions is a tool of the provider's, by whatever name.
        for (name, value) in members(raw.get().as_bytes(), MAX_FIELDS)? {
            let own = matches!(&*name, "functionDeclarations" | "function_declarations");
            if !own && present(Some(value)).is_some() {
                return Err(Why::NoCounterpart("a tool of the provider's".to_owned()));
            }
        }
        for function in read::<Declarations<'_>>(raw, "`tools`")?.functions(&mut room)? {
            let made = present(function.parameters).and_then(|_| made.next()).map(|schema| &**schema);
            tools.push(Tool {
                name: function.name,
                description: function.description.filter(|text| !text.is_empty()),
                schema: present(function.json_schema).or(made),
                strict: Strict::Not,
                cache_control: None,
            });
        }
    }
    Ok(tools)
}

fn choice<'a>(config: &ToolConfig<'a>) -> Result<Option<Choice<'a>>, Why> {
    let Some(calling) = &config.calling else { return Ok(None) };
    let mut names: Vec<Text<'a>> = match present(calling.names) {
        Some(raw) => list(raw, "`allowedFunctionNames`", MAX_TOOLS, "tools")?,
        None => Vec::new(),
    };
    let mode = calling.mode.as_deref().unwrap_or("MODE_UNSPECIFIED").to_ascii_uppercase();
    let choice = match (&*mode, names.len()) {
        ("MODE_UNSPECIFIED", 0) => return Ok(None),
        ("AUTO" | "VALIDATED", 0) => Some(Choice::Auto),
        ("NONE", _) => Some(Choice::Never),
        ("ANY", 0) => Some(Choice::Any),
        ("ANY", 1) => names.pop().map(Choice::One),
        ("MODE_UNSPECIFIED" | "AUTO" | "VALIDATED" | "ANY", _) => {
            return Err(Why::NoCounterpart("a choice among some of the tools".to_owned()));
        }
        _ => return Err(Why::Form("`toolConfig`".to_owned())),
    };
    Ok(choice)
}

fn config<'a>(raw: &'a RawValue, schemas: &'a Schemas, call: &mut Call<'a>) -> Result<(), Why> {
    let no_counterpart = |what: &str| Err(Why::NoCounterpart(format!("`{what}`")));
    let (mut mime_type, mut answer) = (None, None);
    let (mut logprobs, mut top) = (false, 0);
    for (name, raw) in members(raw.get().as_bytes(), MAX_FIELDS)? {
        if present(Some(raw)).is_none() {
            continue;
        }
        match &*name {
            "temperature" => call.temperature = Some(raw),
            "topP" | "top_p" => call.top_p = Some(raw),
            "topK" | "top_k" => call.sampling.top_k = Some(raw),
            "seed" => call.sampling.seed = Some(raw),
            "presencePenalty" | "presence_penalty" => call.sampling.presence_penalty = Some(raw),
            "frequencyPenalty" | "frequency_penalty" => call.sampling.frequency_penalty = Some(raw),
            "maxOutputTokens" | "max_output_tokens" => call.limit = Some(read(raw, "`maxOutputTokens`")?),
            "stopSequences" | "stop_sequences" => {
                call.stop = list(raw, "`stopSequences`", MAX_STOPS, "texts in `stopSequences`")?;
            }
            "responseMimeType" | "response_mime_type" => {
                mime_type = Some(read::<Text<'_>>(raw, "`responseMimeType`")?);
            }
            schema if ANSWER.contains(&schema) => answer = answer.or(schemas.answer.as_deref()),
            "responseJsonSchema" | "response_json_schema" | "_responseJsonSchema" => answer = Some(raw),
            "thinkingConfig" | "thinking_config" => call.effort = effort(&read(raw, "`thinkingConfig`")?)?,
            "candidateCount" | "candidate_count" => {
                call.answers = answers(read(raw, "`candidateCount`")?, "candidateCount")?;
            }
            "responseModalities" | "response_modalities" => {
                let told: Vec<Text<'_>> = list(raw, "`responseModalities`", MAX_STOPS, "kinds of answers")?;
                let has = |wanted: &str| told.iter().any(|kind| kind.eq_ignore_ascii_case(wanted));
                if !told.iter().all(|kind| ["text", "image"].iter().any(|known| kind.eq_ignore_ascii_case(known))) {
                    return no_counterpart("responseModalities");
                }
                call.images = has("image").then(|| if has("text") { Images::Too } else { Images::Only });
            }
            "responseLogprobs" | "response_logprobs" => logprobs = read(raw, "`responseLogprobs`")?,
            "logprobs" => top = read(raw, "`logprobs`")?,
            "enableEnhancedCivicAnswers" | "enable_enhanced_civic_answers" => {}
            "mediaResolution" | "media_resolution" => {}
            _ => return Err(Why::NoCounterpart("a field of `generationConfig`".to_owned())),
        }
    }
    // Google refuses the number alone.
    call.logprobs = logprobs.then_some(Asked { many: top, by: "responseLogprobs" });
    let is_json = match mime_type.as_deref() {
        None | Some("text/plain" | "") => false,
        Some("application/json") => true,
        Some(_) => return no_counterpart("responseMimeType"),
    };
    call.format = match answer {
        Some(schema) => Some(Format::Schema { schema, name: None, description: None, strict: Strict::WhereItFits }),
        None => is_json.then_some(Format::Json),
    };
    Ok(())
}

/// How much thinking is asked for; what the model likes, or none, is what it does anyway.
fn effort(thinking: &Thinking<'_>) -> Result<Option<Effort>, Why> {
    if let Some(level) = &thinking.level {
        return Ok(match &*level.to_ascii_uppercase() {
            "THINKING_LEVEL_UNSPECIFIED" => None,
            "MINIMAL" => Some(Effort::Minimal),
            "LOW" => Some(Effort::Low),
            "MEDIUM" => Some(Effort::Medium),
            "HIGH" => Some(Effort::High),
            _ => return Err(Why::Form("`thinkingLevel`".to_owned())),
        });
    }
    Ok(match thinking.budget {
        None | Some(..=0) => None,
        Some(tokens) if tokens >= HIGH => Some(Effort::High),
        Some(tokens) if tokens >= MEDIUM => Some(Effort::Medium),
        Some(_) => Some(Effort::Low),
    })
}
