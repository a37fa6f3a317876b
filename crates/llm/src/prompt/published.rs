//! A prompt as an endpoint of its own: variables in, what the model made of them out, and a description of both.

use super::{
    Compiled, Unfit, Version,
    call::{Form, Written, render},
    wanted::Members,
};
use crate::{
    openai::usage,
    provider::{Dialect, LimitField},
};
use credentialflow_model::resource::{PromptVariable, VariableType};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

/// The call in Chat Completions that a request with these variables becomes; its limit stands in that field, and its texts
/// have so many bytes at most. An empty body has no variables. `streams`: its answer is wanted as it is made.
///
/// # Errors
/// [`Unfit`] where a variable is wrong, or the answer can only be given whole.
pub fn call(
    prompt: &Compiled,
    version: &Version,
    (limit, most): (LimitField, u64),
    streams: bool,
    body: &[u8],
) -> Result<Written, Unfit> {
    if streams && version.schema.is_some() {
        return Err(Unfit::new(
            "this prompt's answer has a form, which is checked when all of it is there; \
             send `Accept: application/json` in place of `text/event-stream`",
        ));
    }
    let not_json = |_| Unfit::new("the body is not one JSON object with the variables");
    let body = if body.is_empty() { b"{}" } else { body };
    let variables: &RawValue = serde_json::from_slice(body).map_err(not_json)?;
    if variables.get() == "null" {
        return Err(Unfit::new("the variables are no object"));
    }
    let form = Form { dialect: Dialect::OpenAi, limit, counts: false, most };
    let more = if streams { Members::of(br#"{"stream":true}"#) } else { None };
    render(form, prompt, version, Some(variables), &more.unwrap_or(Members::none()))
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Said,
    #[serde(default)]
    finish_reason: Option<String>,
}

/// What a model says: a message, or a piece of one.
#[derive(Deserialize)]
pub(super) struct Said {
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    refusal: Option<String>,
}

/// The content of a message: a text, or parts, as reasoning models write it that put what they think beside what they say.
#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<ContentPart>),
}

#[derive(Deserialize)]
struct ContentPart {
    r#type: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
}

impl Said {
    /// Its words, without what was thought; `None` where it has none.
    ///
    /// # Errors
    /// The model refused.
    pub(super) fn words(self) -> Result<Option<String>, Unfit> {
        let mut refusal = self.refusal;
        let words = match self.content {
            Some(Content::Text(text)) => Some(text),
            Some(Content::Parts(parts)) => {
                let mut words = String::new();
                for part in parts {
                    match &*part.r#type {
                        "text" => words.push_str(part.text.as_deref().unwrap_or_default()),
                        "refusal" => refusal = part.refusal.or(refusal),
                        _ => {}
                    }
                }
                Some(words)
            }
            None => None,
        };
        match refusal {
            Some(why) if !why.is_empty() => Err(Unfit::new("the model refused to answer")),
            _ => Ok(words),
        }
    }
}

/// What a model said in Chat Completions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its text.
    pub text: String,
    /// Why it ended, as in `stop` or `length`.
    pub finish: Option<String>,
    tokens: Option<(u64, u64)>,
}

impl Answer {
    /// Reads a whole answer.
    ///
    /// # Errors
    /// [`Unfit`] where it is none, or the model refused.
    pub fn read(body: &[u8]) -> Result<Self, Unfit> {
        let unusable = || Unfit::new("the provider answered with something that is no answer of a model");
        let Completion { choices } = serde_json::from_slice(body).map_err(|_| unusable())?;
        let Choice { message, finish_reason } = choices.into_iter().next().ok_or_else(unusable)?;
        let text = match (message.words()?, &finish_reason) {
            (Some(text), _) => text,
            // It ended before a word, as where all it may write went into thinking.
            (None, Some(_)) => String::new(),
            (None, None) => return Err(unusable()),
        };
        let tokens = usage::of(body).and_then(|used| used.tokens).map(|tokens| (tokens.input, tokens.output));
        Ok(Self { text, finish: finish_reason, tokens })
    }
}

/// The answer of the endpoint, of an answer in Chat Completions.
///
/// # Errors
/// [`Unfit`] where that is none, or not of the form that the version has a schema for.
pub fn answer(prompt: &Compiled, version: &Version, body: &[u8]) -> Result<Vec<u8>, Unfit> {
    let Answer { text, finish, tokens } = Answer::read(body)?;
    let output = match &version.schema {
        None => Value::String(text),
        Some(_) => {
            let unfit = || Unfit::new("the model's answer is not of the form that the prompt asks for");
            let value: Value = serde_json::from_str(&text).map_err(|_| unfit())?;
            match version.allows(&value) {
                Some(Err(why)) => return Err(why),
                Some(Ok(false)) => return Err(unfit()),
                Some(Ok(true)) | None => value,
            }
        }
    };
    Ok(object(prompt, version, output, finish.as_deref(), tokens).to_string().into_bytes())
}

/// The answer of the endpoint.
pub(super) fn object(
    prompt: &Compiled,
    version: &Version,
    output: Value,
    finish: Option<&str>,
    tokens: Option<(u64, u64)>,
) -> Value {
    let usage = tokens.map(|(input, output)| json!({ "input_tokens": input, "output_tokens": output }));
    json!({
        "output": output,
        "finish_reason": finish,
        "prompt": { "name": &**prompt.name(), "version": version.number() },
        "usage": usage,
    })
}

/// What a provider says of an error in Chat Completions, if it can be read.
pub fn error(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let message = body.pointer("/error/message").or_else(|| body.get("message"))?.as_str()?;
    Some(message.chars().take(1000).collect())
}

/// What a stream of the endpoint is.
const EVENTS: &str = "Server-sent events, for `Accept: text/event-stream`. `delta`: the next piece of the output, as `Delta`. \
    `done`: the end, with the whole answer, as `Answer`. `error` in its place: why it does not go on, as `Problem`. Without \
    `done` an answer is not whole.";

/// The endpoint in OpenAPI 3.1. `path` is where it is, and `open` whether nobody is asked for a key there.
pub fn openapi(prompt: &Compiled, version: &Version, path: &str, open: bool) -> Value {
    let source = prompt.source();
    let name = &**prompt.name();
    let mut output = version.schema().cloned().unwrap_or_else(|| json!({ "type": "string" }));
    if let Some(schema) = output.as_object_mut()
        && version.schema().is_some()
        && !schema.contains_key("$id")
    {
        // What it refers to is within itself, and not within this document.
        schema.insert("$id".into(), format!("urn:credentialflow:prompt:{name}:{}", version.number()).into());
    }
    let properties: Map<String, Value> =
        prompt.variables().iter().map(|(name, variable)| (name.clone(), schema_of(variable))).collect();
    let required: Vec<_> =
        prompt.variables().iter().filter(|(_, v)| v.is_required()).map(|(name, _)| name.as_str()).collect();
    let problem = json!({
        "description": "A refusal, as problem details (RFC 9457)",
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
    });
    let mut content = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Answer" } } });
    if version.schema().is_none() {
        // What OpenAPI 3.1 can say of a stream: that it is one, and what stands in it.
        content["text/event-stream"] = json!({
            "schema": { "type": "string", "description": EVENTS },
            "example": format!(
                "event: delta\ndata: {{\"output\":\"…\"}}\n\nevent: done\ndata: {{\"output\":\"…\",\"finish_reason\":\"stop\",\
                 \"prompt\":{{\"name\":\"{name}\",\"version\":{}}},\"usage\":{{\"input_tokens\":9,\"output_tokens\":3}}}}\n\n",
                version.number()
            ),
        });
    }
    let mut operation = json!({
        "operationId": operation_id(name),
        "summary": source.description.as_deref().unwrap_or(name),
        "requestBody": { "required": !required.is_empty(), "content": { "application/json": {
            "schema": { "$ref": "#/components/schemas/Variables" } } } },
        "responses": {
            "200": { "description": "What the model made of it", "content": content },
            "default": problem,
        },
    });
    let mut components = json!({ "schemas": {
        "Variables": { "type": "object", "additionalProperties": false, "required": required, "properties": properties },
        "Output": output,
        "Answer": {
            "type": "object",
            "required": ["output", "prompt"],
            "properties": {
                "output": { "$ref": "#/components/schemas/Output" },
                "finish_reason": { "type": ["string", "null"], "description": "Why the model ended: `stop`, or `length` at the limit" },
                "prompt": {
                    "type": "object",
                    "required": ["name", "version"],
                    "properties": { "name": { "type": "string" }, "version": { "type": "integer" } },
                },
                "usage": {
                    "type": ["object", "null"],
                    "properties": { "input_tokens": { "type": "integer" }, "output_tokens": { "type": "integer" } },
                },
            },
        },
        "Problem": {
            "type": "object",
            "required": ["type", "title", "status", "code", "request_id"],
            "properties": {
                "type": { "type": "string" }, "title": { "type": "string" }, "status": { "type": "integer" },
                "code": { "type": "string" }, "detail": { "type": "string" }, "request_id": { "type": "string" },
                "retry": { "type": "boolean", "description": "Whether the same request may succeed later" },
            },
        },
    } });
    if version.schema().is_none() {
        components["schemas"]["Delta"] = json!({
            "type": "object",
            "required": ["output"],
            "properties": { "output": { "type": "string", "description": "The next piece of the output" } },
        });
    }
    if !open {
        operation["security"] = json!([{ "key": [] }]);
        components["securitySchemes"] = json!({ "key": { "type": "http", "scheme": "bearer" } });
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": name,
            "version": version.number().to_string(),
            "description": source.description.as_deref().unwrap_or_default(),
        },
        "paths": { path: { "post": operation } },
        "components": components,
    })
}

/// A prompt's name as the name of a function.
fn operation_id(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn schema_of(variable: &PromptVariable) -> Value {
    let mut schema = match variable.kind {
        VariableType::String => json!({ "type": "string", "maxLength": variable.most_characters() }),
        VariableType::Number => json!({ "type": "number" }),
        VariableType::Integer => json!({ "type": "integer", "format": "int64" }),
        VariableType::Boolean => json!({ "type": "boolean" }),
        VariableType::Enum => json!({ "type": "string", "enum": variable.values }),
    };
    if let Some(description) = &variable.description {
        schema["description"] = description.as_str().into();
    }
    if let Some(default) = &variable.default {
        schema["default"] = default.clone();
    }
    schema
}
