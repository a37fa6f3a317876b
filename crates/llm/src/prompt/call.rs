//! A call with a prompt, written as an ordinary call of its dialect.
//!
//! The prompt's messages come before those of the caller, whose other fields pass byte for byte. What the caller says
//! itself (the model, a temperature) holds, and what it leaves out is as the prompt's version says.

use super::{
    Compiled, Unfit, Values, Version, filled, plain,
    wanted::Members,
    write::{Json, list, members_of},
};
use crate::provider::{Dialect, LimitField};
use credentialflow_model::{
    resource::{PromptRole, VariableType},
    template::{Piece, Template},
};
use serde_json::{json, value::RawValue};

/// How a call is to be written.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// The caller's dialect.
    pub dialect: Dialect,
    /// The field for the limit of an answer in Chat Completions, where its model's provider says which.
    pub limit: LimitField,
    /// Whether tokens are counted, and nothing is answered.
    pub counts: bool,
    /// Bytes that the prompt's texts may have together, with everything filled in.
    pub most: u64,
}

/// A call that is written.
pub struct Written {
    /// Its body.
    pub body: Vec<u8>,
    /// What its caller handed in that stands in words which are not said to be the caller's: in the system prompt, or in
    /// what the model is to have answered. Never more bytes than [`Self::body`].
    pub unseen: Vec<String>,
}

/// Writes a call.
///
/// # Errors
/// [`Unfit`] where a variable is wrong, too much would come of them, or what the caller says beside the prompt cannot stand beside it.
pub fn render(
    form: Form,
    prompt: &Compiled,
    version: &Version,
    variables: Option<&RawValue>,
    members: &Members<'_>,
) -> Result<Written, Unfit> {
    let mut values = prompt.values(variables)?;
    let texts = version.system.iter().chain(version.messages.iter().map(|(_, text)| text));
    if texts.map(|text| length(text, &values)).sum::<u64>() > form.most {
        return Err(Unfit(format!("what the prompt says with these variables has more than {} bytes", form.most)));
    }
    let said = Said::of(version, &values);
    let body = match form.dialect {
        Dialect::OpenAi => chat(form, version, &said, members),
        Dialect::Responses => responses(form, version, &said, members),
        Dialect::Anthropic => messages(form, version, &said, members),
        Dialect::Gemini => gemini(form, version, &said, members),
        Dialect::Bedrock | Dialect::Replicate => Err(Unfit::new("a prompt cannot stand in a call of this form")),
    }?;
    drop(said);
    let theirs = |(role, text)| (role != PromptRole::User).then_some(text);
    let of_messages = version.messages.iter().map(|(role, text)| (*role, text)).filter_map(theirs);
    let unseen = version.system.iter().chain(of_messages).flat_map(Template::variables);
    let handed_in = |name: &str| {
        let variable = prompt.variables().get(name).filter(|variable| variable.kind == VariableType::String)?;
        // A default is the application's own.
        values.remove(name).filter(|text| variable.default.as_ref().is_none_or(|default| plain(default) != *text))
    };
    let unseen: Vec<String> = unseen.filter_map(handed_in).filter(|text| !text.is_empty()).collect();
    Ok(Written { body, unseen })
}

/// The bytes of a text with its places filled in.
fn length(template: &Template, values: &Values<'_>) -> u64 {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.len(),
        Piece::Variable(name) => values.get(&**name).map_or(0, String::len),
    };
    template.pieces().iter().map(|one| piece(one) as u64).sum()
}

/// What the prompt says, with everything filled in.
struct Said {
    system: Option<String>,
    messages: Vec<(PromptRole, String)>,
}

impl Said {
    fn of(version: &Version, values: &Values<'_>) -> Self {
        let system = version.system.as_ref().map(|text| filled(text, values));
        let messages = version.messages.iter().map(|(role, text)| (*role, filled(text, values))).collect();
        Self { system: system.filter(|text| !text.is_empty()), messages }
    }

    /// Its messages as `{"role": …, "content": …}`, the system prompt first where that is wanted.
    fn with_roles(&self, system: bool) -> Vec<String> {
        let message = |role: &str, text: &String| json!({ "role": role, "content": text }).to_string();
        let first = self.system.iter().filter(|_| system).map(|text| message("system", text));
        let others = self.messages.iter().map(|(role, text)| message(word(*role, "assistant"), text));
        first.chain(others).collect()
    }
}

const fn word(role: PromptRole, model: &'static str) -> &'static str {
    match role {
        PromptRole::User => "user",
        PromptRole::Assistant => model,
    }
}

fn chat(form: Form, version: &Version, said: &Said, members: &Members<'_>) -> Result<Vec<u8>, Unfit> {
    let more = list(members.one("messages")?, "messages")?;
    let mut out = Json::of(members, &["prompt", "messages"]);
    out.missing("model", || json!(version.model()));
    out.array("messages", &said.with_roles(true), more);
    let parameters = &version.parameters;
    out.may_miss("temperature", parameters.temperature);
    out.may_miss("top_p", parameters.top_p);
    out.may_miss("stop", (!parameters.stop.is_empty()).then_some(&parameters.stop));
    if !out.has("max_tokens") && !out.has("max_completion_tokens") {
        let limit = match form.limit {
            LimitField::MaxTokens => "max_tokens",
            LimitField::MaxCompletionTokens => "max_completion_tokens",
        };
        out.may_miss(limit, parameters.max_tokens);
    }
    if let Some(schema) = &version.schema {
        let schema = format!(
            r#"{{"type":"json_schema","json_schema":{{"name":"answer","strict":true,"schema":{}}}}}"#,
            schema.text
        );
        out.missing_raw("response_format", &schema);
    }
    Ok(out.end())
}

fn responses(form: Form, version: &Version, said: &Said, members: &Members<'_>) -> Result<Vec<u8>, Unfit> {
    let input = members.one("input")?;
    let text = input.filter(|raw| raw.get().starts_with('"')).map(|raw| {
        // JSON within JSON: the text stands in it as the caller wrote it.
        format!(r#"{{"role":"user","content":{}}}"#, raw.get())
    });
    let more = match &text {
        Some(text) => text.as_str(),
        None => list(input, "input")?,
    };
    let mut out = Json::of(members, &["prompt", "input"]);
    out.missing("model", || json!(version.model()));
    out.array("input", &said.with_roles(true), more);
    if form.counts {
        return Ok(out.end());
    }
    let parameters = &version.parameters;
    if !parameters.stop.is_empty() {
        return Err(Unfit::new("the prompt has texts to stop at, which Responses does not know"));
    }
    out.may_miss("temperature", parameters.temperature);
    out.may_miss("top_p", parameters.top_p);
    out.may_miss("max_output_tokens", parameters.max_tokens);
    if let Some(schema) = &version.schema {
        let schema =
            format!(r#"{{"format":{{"type":"json_schema","name":"answer","strict":true,"schema":{}}}}}"#, schema.text);
        out.missing_raw("text", &schema);
    }
    Ok(out.end())
}

fn messages(form: Form, version: &Version, said: &Said, members: &Members<'_>) -> Result<Vec<u8>, Unfit> {
    let more = list(members.one("messages")?, "messages")?;
    let theirs = members.one("system")?;
    let mut out = Json::of(members, &["prompt", "messages", "system"]);
    out.missing("model", || json!(version.model()));
    match (&said.system, theirs) {
        (None, None) => {}
        (None, Some(theirs)) => out.raw("system", theirs.get()),
        (Some(ours), None) => out.missing("system", || json!(ours)),
        (Some(ours), Some(theirs)) => {
            let ours = json!({ "type": "text", "text": ours }).to_string();
            let text = theirs.get().starts_with('"').then(|| format!(r#"{{"type":"text","text":{}}}"#, theirs.get()));
            let more = match &text {
                Some(text) => text.as_str(),
                None => list(Some(theirs), "system")?,
            };
            out.array("system", &[ours], more);
        }
    }
    out.array("messages", &said.with_roles(false), more);
    if form.counts {
        return Ok(out.end());
    }
    let parameters = &version.parameters;
    out.may_miss("temperature", parameters.temperature);
    out.may_miss("top_p", parameters.top_p);
    out.may_miss("max_tokens", parameters.max_tokens);
    out.may_miss("stop_sequences", (!parameters.stop.is_empty()).then_some(&parameters.stop));
    if let Some(schema) = &version.schema {
        let schema = format!(r#"{{"format":{{"type":"json_schema","schema":{}}}}}"#, schema.text);
        out.missing_raw("output_config", &schema);
    }
    Ok(out.end())
}

fn gemini(form: Form, version: &Version, said: &Said, members: &Members<'_>) -> Result<Vec<u8>, Unfit> {
    if form.counts {
        return Err(Unfit::new("in this dialect tokens are counted without a `prompt`; send what it says"));
    }
    let either = |one: &'static str, other: &'static str| match (members.one(one)?, members.one(other)?) {
        (Some(_), Some(_)) => Err(Unfit(format!("`{one}` stands more than once"))),
        (found, other) => Ok(found.or(other)),
    };
    let more = list(members.one("contents")?, "contents")?;
    let instruction = either("systemInstruction", "system_instruction")?;
    let config = either("generationConfig", "generation_config")?;
    let ours = ["systemInstruction", "system_instruction", "generationConfig", "generation_config"];
    let mut out = Json::of(members, &[&["prompt", "contents"], &ours[..]].concat());
    let part = |text: &String| json!({ "text": text }).to_string();
    match (&said.system, instruction) {
        (None, None) => {}
        (None, Some(theirs)) => out.raw("systemInstruction", theirs.get()),
        (Some(text), theirs) => {
            let theirs = members_of(theirs, "systemInstruction")?;
            let more = list(theirs.one("parts")?, "parts")?;
            let mut instruction = Json::of(&theirs, &["parts"]);
            instruction.array("parts", &[part(text)], more);
            out.nested("systemInstruction", instruction);
        }
    }
    let content = |(role, text): &(PromptRole, String)| {
        format!(r#"{{"role":"{}","parts":[{}]}}"#, word(*role, "model"), part(text))
    };
    out.array("contents", &said.messages.iter().map(content).collect::<Vec<_>>(), more);
    let config = members_of(config, "generationConfig")?;
    let mut config = Json::of(&config, &[]);
    let parameters = &version.parameters;
    let mut may_miss = |camel, snake, value: Option<serde_json::Value>| {
        if !config.has(snake) {
            config.may_miss(camel, value);
        }
    };
    may_miss("temperature", "temperature", parameters.temperature.map(Into::into));
    may_miss("topP", "top_p", parameters.top_p.map(Into::into));
    may_miss("maxOutputTokens", "max_output_tokens", parameters.max_tokens.map(Into::into));
    let stop = (!parameters.stop.is_empty()).then(|| json!(parameters.stop));
    may_miss("stopSequences", "stop_sequences", stop);
    let formats = ["responseMimeType", "response_mime_type", "responseSchema", "response_schema"];
    let formats = formats.iter().chain(&["responseJsonSchema", "response_json_schema"]);
    if let Some(schema) = &version.schema
        && !formats.into_iter().any(|name| config.has(name))
    {
        config.missing("responseMimeType", || json!("application/json"));
        config.missing_raw("responseJsonSchema", &schema.text);
    }
    if !config.is_empty() {
        out.nested("generationConfig", config);
    }
    Ok(out.end())
}
