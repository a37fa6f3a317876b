//! A call as a caller of each dialect writes it.

use crate::call::{Asked, Choice, Part, Tool};
use credentialflow_llm::provider::Dialect;
use serde_json::{Value, json};

/// A call in a dialect that callers speak.
pub fn write(dialect: Dialect, asked: &Asked) -> Vec<u8> {
    let mut body = match dialect {
        Dialect::OpenAi => write_chat(asked),
        Dialect::Anthropic => write_messages(asked),
        Dialect::Responses => write_responses(asked),
        Dialect::Gemini => write_gemini(asked),
        _ => unreachable!("no caller speaks it"),
    };
    if asked.tools.is_empty() {
        body.as_object_mut()
            .unwrap()
            .retain(|name, _| !["tools", "tool_choice", "toolConfig"].contains(&name.as_str()));
    }
    body.to_string().into_bytes()
}

/// The turns, each call with its number in the conversation.
fn numbered(asked: &Asked) -> Vec<(bool, Vec<(usize, Part)>)> {
    let mut calls = 0;
    let mut number = |part: &Part| {
        calls += usize::from(matches!(part, Part::Call(..)));
        (calls.saturating_sub(1), part.clone())
    };
    asked.turns.iter().map(|(user, parts)| (*user, parts.iter().map(&mut number).collect())).collect()
}

fn write_chat(asked: &Asked) -> Value {
    let mut messages = vec![json!({"role": "developer", "content": asked.system})];
    for (user, parts) in numbered(asked) {
        let (mut content, mut calls) = (Vec::new(), Vec::new());
        for (number, part) in parts {
            match part {
                Part::Text(text) => content.push(json!({"type": "text", "text": text})),
                Part::Image(media, data) => {
                    content.push(
                        json!({"type": "image_url", "image_url": {"url": format!("data:{media};base64,{data}")}}),
                    );
                }
                Part::Call(name, input) => {
                    let function = json!({"name": name, "arguments": input.to_string()});
                    calls.push(json!({"id": format!("call_{number}"), "type": "function", "function": function}));
                }
                Part::Result(of, text) => {
                    messages.push(json!({"role": "tool", "tool_call_id": format!("call_{of}"), "content": text}));
                }
            }
        }
        if content.is_empty() && calls.is_empty() {
            continue;
        }
        let mut message = json!({"role": if user { "user" } else { "assistant" }, "content": content});
        if !calls.is_empty() {
            message["tool_calls"] = calls.into();
        }
        messages.push(message);
    }
    let tool = |t: &Tool| json!({"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.schema}});
    let choice = match &asked.choice {
        Choice::Auto => "auto".into(),
        Choice::Never => "none".into(),
        Choice::Any => "required".into(),
        Choice::One(name) => json!({"type": "function", "function": {"name": name}}),
    };
    json!({"model": "m", "messages": messages, "tools": asked.tools.iter().map(tool).collect::<Vec<_>>(), "tool_choice": choice,
           "max_completion_tokens": asked.limit, "temperature": asked.temperature, "stop": asked.stop})
}

fn write_messages(asked: &Asked) -> Value {
    let part = |(number, part): (usize, Part)| match part {
        Part::Text(text) => json!({"type": "text", "text": text}),
        Part::Image(media, data) => {
            json!({"type": "image", "source": {"type": "base64", "media_type": media, "data": data}})
        }
        Part::Call(name, input) => {
            json!({"type": "tool_use", "id": format!("call_{number}"), "name": name, "input": input})
        }
        Part::Result(of, text) => json!({"type": "tool_result", "tool_use_id": format!("call_{of}"), "content": text}),
    };
    let message = |(user, parts): (bool, Vec<(usize, Part)>)| {
        let content: Vec<Value> = parts.into_iter().map(part).collect();
        json!({"role": if user { "user" } else { "assistant" }, "content": content})
    };
    let messages: Vec<Value> = numbered(asked).into_iter().map(message).collect();
    let tool = |t: &Tool| json!({"name": t.name, "description": t.description, "input_schema": t.schema});
    let choice = match &asked.choice {
        Choice::Auto => json!({"type": "auto"}),
        Choice::Never => json!({"type": "none"}),
        Choice::Any => json!({"type": "any"}),
        Choice::One(name) => json!({"type": "tool", "name": name}),
    };
    json!({"model": "m", "system": asked.system, "messages": messages, "tools": asked.tools.iter().map(tool).collect::<Vec<_>>(),
           "tool_choice": choice, "max_tokens": asked.limit, "temperature": asked.temperature, "stop_sequences": asked.stop})
}

fn write_responses(asked: &Asked) -> Value {
    let mut input = Vec::new();
    for (user, parts) in numbered(asked) {
        let role = if user { "user" } else { "assistant" };
        for (number, part) in parts {
            input.push(match part {
                Part::Text(text) => {
                    let kind = if user { "input_text" } else { "output_text" };
                    json!({"type": "message", "role": role, "content": [{"type": kind, "text": text}]})
                }
                Part::Image(media, data) => {
                    let image = json!({"type": "input_image", "image_url": format!("data:{media};base64,{data}")});
                    json!({"role": role, "content": [image]})
                }
                Part::Call(name, input) => {
                    json!({"type": "function_call", "call_id": format!("call_{number}"), "name": name, "arguments": input.to_string()})
                }
                Part::Result(of, text) => json!({"type": "function_call_output", "call_id": format!("call_{of}"), "output": text}),
            });
        }
    }
    let tool = |t: &Tool| json!({"type": "function", "name": t.name, "description": t.description, "parameters": t.schema, "strict": false});
    let choice = match &asked.choice {
        Choice::Auto => "auto".into(),
        Choice::Never => "none".into(),
        Choice::Any => "required".into(),
        Choice::One(name) => json!({"type": "function", "name": name}),
    };
    json!({"model": "m", "instructions": asked.system, "input": input, "tools": asked.tools.iter().map(tool).collect::<Vec<_>>(),
           "tool_choice": choice, "max_output_tokens": asked.limit, "temperature": asked.temperature, "store": false})
}

fn write_gemini(asked: &Asked) -> Value {
    let names: Vec<&str> = asked
        .turns
        .iter()
        .flat_map(|(_, parts)| parts)
        .filter_map(|part| match part {
            Part::Call(name, _) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    let part = |part: &Part| match part {
        Part::Text(text) => json!({"text": text}),
        Part::Image(media, data) => json!({"inlineData": {"mimeType": media, "data": data}}),
        // Without ids, as its SDKs write them.
        Part::Call(name, input) => json!({"functionCall": {"name": name, "args": input}}),
        Part::Result(of, text) => json!({"functionResponse": {"name": names[*of], "response": {"result": text}}}),
    };
    let content = |(user, parts): &(bool, Vec<Part>)| json!({"role": if *user { "user" } else { "model" }, "parts": parts.iter().map(part).collect::<Vec<_>>()});
    let tool = |t: &Tool| json!({"name": t.name, "description": t.description, "parametersJsonSchema": t.schema});
    let calling = match &asked.choice {
        Choice::Auto => json!({"mode": "AUTO"}),
        Choice::Never => json!({"mode": "NONE"}),
        Choice::Any => json!({"mode": "ANY"}),
        Choice::One(name) => json!({"mode": "ANY", "allowedFunctionNames": [name]}),
    };
    json!({"systemInstruction": {"parts": [{"text": asked.system}]}, "contents": asked.turns.iter().map(content).collect::<Vec<_>>(),
           "tools": [{"functionDeclarations": asked.tools.iter().map(tool).collect::<Vec<_>>()}],
           "toolConfig": {"functionCallingConfig": calling},
           "generationConfig": {"maxOutputTokens": asked.limit, "temperature": asked.temperature, "stopSequences": asked.stop}})
}
