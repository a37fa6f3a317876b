//! What a call asks, read with serde_json's tree from any dialect: the expectation that knows nothing of the translation.

use credentialflow_llm::provider::Dialect;
use serde_json::{Value, json};

#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    Text(String),
    /// Media type and base64.
    Image(String, String),
    /// Name and input.
    Call(String, Value),
    /// Of which call of the conversation, from 0, and its text.
    Result(usize, String),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    Auto,
    Never,
    Any,
    One(String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    pub name: String,
    pub description: String,
    pub schema: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub system: String,
    /// Turns of the user and of the assistant.
    pub turns: Vec<(bool, Vec<Part>)>,
    pub tools: Vec<Tool>,
    pub choice: Choice,
    pub limit: Option<u64>,
    pub temperature: Option<f64>,
    pub stop: Vec<String>,
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A conversation as it is read: neighbours of the same role are one turn, neighbouring texts one text.
#[derive(Default)]
struct Reading {
    system: String,
    turns: Vec<(bool, Vec<Part>)>,
    /// Id and name of each call, and whether its result was told.
    calls: Vec<(String, String, bool)>,
}

impl Reading {
    fn push(&mut self, user: bool, part: Part) {
        if matches!(&part, Part::Text(text) if text.is_empty()) {
            return;
        }
        if self.turns.last().is_none_or(|(role, _)| *role != user) {
            self.turns.push((user, Vec::new()));
        }
        let Some((_, parts)) = self.turns.last_mut() else { unreachable!("one was pushed") };
        match (parts.last_mut(), part) {
            (Some(Part::Text(before)), Part::Text(more)) => *before += &more,
            (_, part) => parts.push(part),
        }
    }

    fn call(&mut self, id: &str, name: &str, input: Value) {
        self.calls.push((id.to_owned(), name.to_owned(), false));
        self.push(false, Part::Call(name.to_owned(), input));
    }

    /// A result, of the call with this id, or of the earliest of this name that has none.
    fn result(&mut self, id: Option<&str>, name: &str, told: String) -> Option<()> {
        let of = |(own, called, told): &(String, String, bool)| match id {
            Some(id) => own == id,
            None => called == name && !told,
        };
        let at = self.calls.iter().position(of)?;
        self.calls[at].2 = true;
        // A JSON object may be written otherwise.
        let object = serde_json::from_str(&told).ok().filter(Value::is_object);
        let told = object.map_or(told, |object| object.to_string());
        self.push(true, Part::Result(at, told));
        Some(())
    }

    /// The text of a content, where it holds nothing else but marks for a cache.
    fn texts(content: &Value) -> Option<String> {
        Self::lines(content).map(|texts| texts.concat())
    }

    /// The text of a result, whose parts are lines where the provider takes but one text.
    fn told(content: &Value) -> Option<String> {
        Self::lines(content).map(|texts| texts.join("\n"))
    }

    fn lines(content: &Value) -> Option<Vec<&str>> {
        let parts = || items(content).filter(|part| !part["cachePoint"].is_object());
        match content {
            Value::String(text) => Some(vec![text]),
            _ => parts().map(|part| part["text"].as_str()).collect(),
        }
    }

    /// An image behind a `data:` URL.
    fn image(&mut self, url: &Value) -> Option<()> {
        let (media, data) = url.as_str()?.strip_prefix("data:")?.split_once(";base64,")?;
        self.push(true, Part::Image(media.to_owned(), data.to_owned()));
        Some(())
    }
}

/// What a call asks. `None` where it holds something that is not compared here.
pub fn read(dialect: Dialect, body: &[u8]) -> Option<Asked> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let body = if dialect == Dialect::Gemini { camel(body) } else { body };
    let mut reading = Reading::default();
    match dialect {
        Dialect::OpenAi => read_chat(&body, &mut reading)?,
        Dialect::Anthropic => read_messages(&body, &mut reading)?,
        Dialect::Responses => read_responses(&body, &mut reading)?,
        Dialect::Gemini => read_gemini(&body, &mut reading)?,
        _ => read_converse(&body, &mut reading)?,
    }
    let tool = |tool: &Value, schema: &Value| {
        let (name, description) = (text(&tool["name"]).to_owned(), text(&tool["description"]).to_owned());
        Tool { name, description, schema: schema.clone() }
    };
    let functions = || items(&body["tools"]).flat_map(|tool| items(&tool["functionDeclarations"]));
    let specs = || items(&body["toolConfig"]["tools"]).map(|tool| &tool["toolSpec"]).filter(|tool| tool.is_object());
    let tools: Vec<Tool> = match dialect {
        Dialect::OpenAi => items(&body["tools"]).map(|t| tool(&t["function"], &t["function"]["parameters"])).collect(),
        Dialect::Responses => items(&body["tools"]).map(|t| tool(t, &t["parameters"])).collect(),
        Dialect::Anthropic => items(&body["tools"]).map(|t| tool(t, &t["input_schema"])).collect(),
        Dialect::Gemini => functions().map(|t| tool(t, &t["parametersJsonSchema"])).collect(),
        _ => specs().map(|t| tool(t, &t["inputSchema"]["json"])).collect(),
    };
    let (chosen, config) = (&body["tool_choice"], &body["generationConfig"]);
    let calling = &body["toolConfig"]["functionCallingConfig"];
    // Google takes its words in small letters too.
    let mode = text(&calling["mode"]).to_uppercase();
    let one = |name: &Value| Choice::One(text(name).to_owned());
    let choice = match dialect {
        Dialect::OpenAi if chosen.is_object() => one(&chosen["function"]["name"]),
        Dialect::Responses if chosen.is_object() => one(&chosen["name"]),
        Dialect::OpenAi | Dialect::Responses if chosen == "required" => Choice::Any,
        Dialect::OpenAi | Dialect::Responses if chosen == "none" => Choice::Never,
        Dialect::Anthropic if chosen["type"] == "tool" => one(&chosen["name"]),
        Dialect::Anthropic if chosen["type"] == "any" => Choice::Any,
        Dialect::Anthropic if chosen["type"] == "none" => Choice::Never,
        Dialect::Gemini if calling["allowedFunctionNames"].is_array() => one(&calling["allowedFunctionNames"][0]),
        Dialect::Gemini if mode == "ANY" => Choice::Any,
        Dialect::Gemini if mode == "NONE" => Choice::Never,
        Dialect::Bedrock if body["toolConfig"]["toolChoice"]["tool"].is_object() => {
            one(&body["toolConfig"]["toolChoice"]["tool"]["name"])
        }
        Dialect::Bedrock if body["toolConfig"]["toolChoice"]["any"].is_object() => Choice::Any,
        _ => Choice::Auto,
    };
    let inference = &body["inferenceConfig"];
    let (limit, temperature, stop) = match dialect {
        Dialect::OpenAi if body["max_completion_tokens"].is_u64() => {
            (&body["max_completion_tokens"], &body["temperature"], &body["stop"])
        }
        Dialect::OpenAi => (&body["max_tokens"], &body["temperature"], &body["stop"]),
        Dialect::Responses => (&body["max_output_tokens"], &body["temperature"], &Value::Null),
        Dialect::Anthropic => (&body["max_tokens"], &body["temperature"], &body["stop_sequences"]),
        Dialect::Gemini => (&config["maxOutputTokens"], &config["temperature"], &config["stopSequences"]),
        _ => (&inference["maxTokens"], &inference["temperature"], &inference["stopSequences"]),
    };
    let stop = stop.as_str().into_iter().chain(items(stop).map(text)).map(str::to_owned).collect();
    let (limit, temperature) = (limit.as_u64(), temperature.as_f64());
    Some(Asked { system: reading.system, turns: reading.turns, tools, choice, limit, temperature, stop })
}

/// Gemini's names in camel case, which may come in snake case too; but for those that callers choose.
fn camel(value: Value) -> Value {
    const CHOSEN: [&str; 4] = ["args", "response", "parameters", "parametersJsonSchema"];
    let name = |name: &str| -> String {
        let mut words = name.split('_');
        let first = words.next().unwrap_or_default().to_owned();
        words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
    };
    match value {
        Value::Array(items) => items.into_iter().map(camel).collect(),
        Value::Object(members) => {
            let member = |(told, value): (String, Value)| {
                let name = name(&told);
                let value = if CHOSEN.contains(&name.as_str()) { value } else { camel(value) };
                (name, value)
            };
            Value::Object(members.into_iter().map(member).collect())
        }
        other => other,
    }
}

fn read_chat(body: &Value, reading: &mut Reading) -> Option<()> {
    for message in items(&body["messages"]) {
        let content = &message["content"];
        let user = match text(&message["role"]) {
            "system" | "developer" => {
                reading.system += &Reading::texts(content)?;
                continue;
            }
            "tool" => {
                reading.result(message["tool_call_id"].as_str(), "", Reading::told(content)?)?;
                continue;
            }
            "user" => true,
            _ => false,
        };
        reading.push(user, Part::Text(text(content).to_owned()));
        for part in items(content) {
            match text(&part["type"]) {
                "text" => reading.push(user, Part::Text(text(&part["text"]).to_owned())),
                "image_url" if part["image_url"].is_string() => reading.image(&part["image_url"])?,
                "image_url" => reading.image(&part["image_url"]["url"])?,
                _ => return None,
            }
        }
        for call in items(&message["tool_calls"]) {
            let (function, id) = (&call["function"], text(&call["id"]));
            reading.call(id, text(&function["name"]), serde_json::from_str(text(&function["arguments"])).ok()?);
        }
    }
    Some(())
}

fn read_messages(body: &Value, reading: &mut Reading) -> Option<()> {
    reading.system += &Reading::texts(&body["system"])?;
    for message in items(&body["messages"]) {
        let user = message["role"] == "user";
        reading.push(user, Part::Text(text(&message["content"]).to_owned()));
        for block in items(&message["content"]) {
            match text(&block["type"]) {
                "text" => reading.push(user, Part::Text(text(&block["text"]).to_owned())),
                "image" => {
                    let source = &block["source"];
                    let (media, data) =
                        (source["media_type"].as_str()?.to_owned(), source["data"].as_str()?.to_owned());
                    reading.push(user, Part::Image(media, data));
                }
                "tool_use" => reading.call(text(&block["id"]), text(&block["name"]), block["input"].clone()),
                "tool_result" if block["is_error"] != true => {
                    reading.result(block["tool_use_id"].as_str(), "", Reading::told(&block["content"])?)?;
                }
                "thinking" | "redacted_thinking" => {}
                _ => return None,
            }
        }
    }
    Some(())
}

fn read_responses(body: &Value, reading: &mut Reading) -> Option<()> {
    reading.system += text(&body["instructions"]);
    reading.push(true, Part::Text(text(&body["input"]).to_owned()));
    for item in items(&body["input"]) {
        match item["type"].as_str() {
            Some("function_call") => {
                let input = serde_json::from_str(text(&item["arguments"])).ok()?;
                reading.call(text(&item["call_id"]), text(&item["name"]), input);
                continue;
            }
            Some("function_call_output") => {
                reading.result(item["call_id"].as_str(), "", Reading::told(&item["output"])?)?;
                continue;
            }
            // Only the model that thought can read it.
            Some("reasoning") => continue,
            None | Some("message") => {}
            Some(_) => return None,
        }
        let (content, user) = (&item["content"], item["role"] == "user");
        if item["role"] == "system" || item["role"] == "developer" {
            reading.system += &Reading::texts(content)?;
            continue;
        }
        reading.push(user, Part::Text(text(content).to_owned()));
        for part in items(content) {
            match text(&part["type"]) {
                "input_text" | "output_text" => reading.push(user, Part::Text(text(&part["text"]).to_owned())),
                "input_image" => reading.image(&part["image_url"])?,
                _ => return None,
            }
        }
    }
    Some(())
}

fn read_gemini(body: &Value, reading: &mut Reading) -> Option<()> {
    reading.system += &Reading::texts(&body["systemInstruction"]["parts"])?;
    for content in items(&body["contents"]) {
        let user = content["role"] != "model";
        for part in items(&content["parts"]) {
            if let Some(text) = part["text"].as_str().filter(|_| part["thought"] != true) {
                reading.push(user, Part::Text(text.to_owned()));
            } else if part["inlineData"].is_object() {
                let (media, data) = (text(&part["inlineData"]["mimeType"]), text(&part["inlineData"]["data"]));
                if !media.starts_with("image/") {
                    return None;
                }
                reading.push(user, Part::Image(media.to_owned(), data.to_owned()));
            } else if let Some(call) = part["functionCall"].as_object() {
                let id = call.get("id").map_or("", text);
                reading.call(id, text(&call["name"]), call.get("args").cloned().unwrap_or(json!({})));
            } else if let Some(result) = part["functionResponse"].as_object().filter(|told| !told.contains_key("parts"))
            {
                let told = &result["response"];
                let alone = told.as_object().filter(|told| told.len() == 1);
                let text_of = |name: &str| alone.and_then(|told| told.get(name)?.as_str());
                let said = text_of("result").or(text_of("output")).map_or_else(|| told.to_string(), str::to_owned);
                reading.result(result.get("id").and_then(Value::as_str), text(&result["name"]), said)?;
            } else {
                return None;
            }
        }
    }
    Some(())
}

fn read_converse(body: &Value, reading: &mut Reading) -> Option<()> {
    reading.system += &Reading::texts(&body["system"])?;
    for message in items(&body["messages"]) {
        let user = message["role"] == "user";
        for block in items(&message["content"]).filter(|block| !block["cachePoint"].is_object()) {
            if let Some(text) = block["text"].as_str() {
                reading.push(user, Part::Text(text.to_owned()));
            } else if block["image"].is_object() {
                let (format, data) = (text(&block["image"]["format"]), text(&block["image"]["source"]["bytes"]));
                reading.push(user, Part::Image(format!("image/{format}"), data.to_owned()));
            } else if block["reasoningContent"].is_object() {
                continue; // of the model's own, which only it can read
            } else if let Some(call) = block["toolUse"].as_object() {
                reading.call(text(&call["toolUseId"]), text(&call["name"]), call["input"].clone());
            } else if let Some(result) = block["toolResult"].as_object() {
                reading.result(result["toolUseId"].as_str(), "", Reading::told(&result["content"])?)?;
            } else {
                return None;
            }
        }
    }
    Some(())
}

impl Asked {
    /// As it is said to a provider, if it can be: Converse has no word for that no tool may be called, so it is told of none,
    /// which a conversation in which tools were called does not allow.
    pub fn told_to(&self, dialect: Dialect) -> Option<Self> {
        let mut asked = self.clone();
        if dialect == Dialect::Bedrock && asked.choice == Choice::Never && !asked.tools.is_empty() {
            let called = asked.turns.iter().flat_map(|(_, parts)| parts).any(|part| matches!(part, Part::Call(..)));
            asked.tools.clear();
            asked.choice = Choice::Auto;
            return (!called).then_some(asked);
        }
        Some(asked)
    }
}
